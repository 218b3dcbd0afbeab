"""What ai4diag adds to JupyterLab: three tiles in the launcher, and the pages behind them.

    MLflow          the training runs of this workspace, through a socket that only its owner can open
    Latest report   the report of the newest run
    Lessons         the lessons, with what each needs (its page is `ai4diag.course.page`, a layer above)

The tiles come from the entry points `jupyter_serverproxy_servers` (`launcher`), the pages from an extension of the
Jupyter server (`pages`) that a file in `etc/jupyter` switches on. Both hold for a plain `jupyter lab` too;
`ai4diag lab` (`start`) adds the settings of `config/`. Not `ai4diag.lab`, which a notebook imports: pandas would cost
each server 70 MB.
"""

from __future__ import annotations

import atexit
import signal
from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "ai4diag.jupyter"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the pages to a Jupyter server, and let it save pictures rather than views that die with their kernel."""
    from ai4diag.jupyter.pages import LatestReport, Tracking, add
    from ai4diag.jupyter.saving import register

    register(server)
    add(server, {"report": LatestReport, "mlflow": Tracking})
    _end_in_order()


def _end_in_order() -> None:
    """Leave Ctrl-C to Jupyter, which ends its kernels; what the proxy started is told to end when Jupyter has.

    With its first process the proxy would put a handler of its own in place, which leaves Jupyter in the middle of its
    work: with a notebook open it was seen to go on for 30 seconds.
    """
    from simpervisor import atexitasync

    atexitasync.signal_handler_set = True
    atexit.register(lambda: [end(signal.SIGTERM) for end in list(atexitasync._handlers)])
