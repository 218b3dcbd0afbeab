"""What of an interactive view is saved: the picture beside it.

A view lives as long as its kernel; in a notebook that is opened again it is an error message. Where an output holds a
picture or a page beside a view, only that is written to the file. A view without either is left alone.
"""

from __future__ import annotations

from typing import Any

VIEW = "application/vnd.jupyter.widget-view+json"
LASTING = ("text/html", "image/png", "image/svg+xml")


def register(server: Any) -> None:
    """Let a Jupyter server save pictures only.

    Jupytext, where it is installed, puts another contents manager in place of the server's, which knows only what the
    settings say; a hook that somebody set there is left alone.
    """
    server.contents_manager.register_pre_save_hook(keep_pictures)
    server.config.ContentsManager.setdefault("pre_save_hook", f"{__name__}.{keep_pictures.__name__}")


def keep_pictures(model: dict[str, Any], **_: Any) -> None:
    """Take the views out of a notebook that is about to be saved; a hook of Jupyter's contents manager."""
    content = model.get("content")
    if model.get("type") != "notebook" or not isinstance(content, dict):
        return
    for cell in content.get("cells", ()):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if VIEW in data and any(kind in data for kind in LASTING):
                del data[VIEW]
