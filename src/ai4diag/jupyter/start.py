"""How `ai4diag lab` starts JupyterLab: for one workspace, on this machine only, asking nothing of the network."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ai4diag.errors import MachineError
from ai4diag.files import sha256_bytes
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tracking.serve import HOST
from ai4diag.tracking.ui import free_port

CONFIG = Path(__file__).parent / "config"
"""Settings beside the user's own, in the form of a folder of `jupyter --paths`."""
FIRST_PORT = 8888
WANTED = {"jupyterlab": "jupyterlab", "jupyter_server_proxy": "jupyter-server-proxy"}
"""Module to package of what must be there."""


@dataclass(frozen=True)
class Start:
    """What `ai4diag lab` becomes.

    Attributes:
        command: words of the command.
        environ: its environment.
        folder: the folder in which it runs: the workspace.
    """

    command: tuple[str, ...]
    environ: dict[str, str]
    folder: Path


def start(folder: Path, port: int | None = None, browser: bool = True) -> Start:
    """Return how to start JupyterLab.

    The token is made by the server and is in no command line. What keeps strangers out stands in the command, where no
    file of settings can undo it.

    Args:
        folder: a folder of the workspace.
        port: where to listen; None takes 8888 or the next that is free.
        browser: open one.

    Raises:
        UsageError: the folder is in no workspace.
        MachineError: JupyterLab is not installed, or the port is taken.
    """
    if absent := [package for module, package in WANTED.items() if find_spec(module) is None]:
        raise MachineError(
            f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed: the extra `lab` is missing.",
            "Run `pip install 'ai4diag[lab]'`, in a checkout `pip install -e '.[lab]'`.",
        )
    here = Workspace.find(folder).root
    ports = (f"port={FIRST_PORT}", "port_retries=99") if port is None else (_free(port), "port_retries=0")
    options = [
        *(f"--ServerApp.{item}" for item in ports),
        f"--ServerApp.ip={HOST}",
        "--ServerApp.allow_origin=",
        "--ServerApp.allow_origin_pat=",
        "--ServerApp.allow_remote_access=False",
        "--ServerApp.disable_check_xsrf=False",
        "--ServerApp.identity_provider_class=ai4diag.jupyter.identity.OwnToken",
        f"--ServerApp.root_dir={here}",
        "--Application.log_level=ERROR",
        f"--LabApp.default_url=/lab/workspaces/{layout(here)}",
        *([] if browser else ["--no-browser"]),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]
    return Start((sys.executable, "-m", "jupyterlab", *options), _environ(), here)


def layout(workspace: Path) -> str:
    """Return the name under which JupyterLab keeps the open tabs of this workspace, apart from those of others."""
    return f"ai4diag-{sha256_bytes(str(workspace).encode())[:12]}"


def _free(port: int) -> str:
    return f"port={free_port(port, FIRST_PORT, 'lab')}"


def _environ() -> dict[str, str]:
    """Return the environment: our settings are found first, and `!ai4diag` in a notebook finds this installation."""
    paths = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    before = [os.environ[name] for name in ("JUPYTER_CONFIG_PATH",) if os.environ.get(name)]
    return {
        **os.environ,
        "JUPYTER_CONFIG_PATH": os.pathsep.join([str(CONFIG), *before]),
        "PATH": os.pathsep.join(paths),
    }
