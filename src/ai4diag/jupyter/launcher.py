"""The tiles of JupyterLab's launcher, as jupyter-server-proxy asks for them.

They stand in the category `Notebook`, because icons of a category of one's own are not shown (jupyterlab #5822).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ai4diag.errors import Ai4diagError
from ai4diag.pipelines.workspace import Workspace

START_LIMIT_SECONDS = 90
"""MLflow was seen to take up to 23 s; the proxy's own limit is 5 s."""
ICONS = Path(__file__).parent / "icons"
PROXIED = "ai4diag-mlflow"
"""Name of the entry point, and the address under which MLflow is proxied."""


def mlflow() -> dict[str, Any]:
    """Return the tile of MLflow; the page that says that it is starting comes first."""
    return {
        "command": _command,
        "environment": _environ,
        "unix_socket": True,
        "timeout": START_LIMIT_SECONDS,
        "launcher_entry": _entry("MLflow", "mlflow"),
    }


def report() -> dict[str, Any]:
    """Return the tile of the newest report."""
    return page("Latest report", "report")


def page(title: str, name: str, extension: str = "ai4diag.jupyter") -> dict[str, Any]:
    """Return a tile that opens one of our own pages, `ai4diag/<name>`, which an extension of the server answers.

    The proxy wants something to proxy to; nothing listens at this socket, and no address leads to it.
    """
    socket = str(Path(__file__).parent / "no-such-socket")
    return {"unix_socket": socket, "launcher_entry": _entry(title, name, extension)}


def root() -> Path | None:
    """Return the workspace of the Jupyter server that runs in this process; None when its folder is in none."""
    from jupyter_server.serverapp import ServerApp

    try:
        return Workspace.find(Path(ServerApp.instance().root_dir)).root
    except Ai4diagError:
        return None


def _entry(title: str, name: str, extension: str = "ai4diag.jupyter") -> dict[str, Any]:
    """Return a line of the launcher; it is shown in a workspace, where the extension with its page is on."""
    from jupyter_server.serverapp import ServerApp

    known = ServerApp.instance().extension_manager.extensions
    return {
        "title": title,
        "path_info": f"ai4diag/{name}",
        "icon_path": str(ICONS / f"{name}.svg"),
        "category": "Notebook",
        "enabled": extension in known and known[extension].enabled and root() is not None,
    }


def _command(unix_socket: str) -> list[str]:
    from ai4diag.tracking.ui import command

    return list(command(root() or Path.cwd(), "--uds", unix_socket))


def _environ() -> dict[str, str]:
    from ai4diag.tracking.ui import environ

    return environ()
