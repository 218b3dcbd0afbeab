"""The page of lessons in JupyterLab: what each takes, whether what it needs is in place, and a link that opens it."""

from __future__ import annotations

import asyncio
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.utils import url_path_join

from ai4diag.course import lesson as headers
from ai4diag.course.lesson import Lesson
from ai4diag.course.place import lacking
from ai4diag.errors import Ai4diagError
from ai4diag.jupyter.launcher import page
from ai4diag.jupyter.pages import Page, add
from ai4diag.jupyter.start import layout
from ai4diag.pipelines.workspace import Workspace
from ai4diag.shown import code_marked

EXTENSION = "ai4diag.course.page"
COLUMNS = (
    '<th scope="col">Lesson</th><th scope="col" class="number">Minutes</th>'
    '<th scope="col">Badge</th><th scope="col">Ready?</th>'
)


def tile() -> dict[str, Any]:
    """Return the tile of the launcher."""
    return page("Lessons", "lessons", EXTENSION)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": EXTENSION}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the page to a Jupyter server."""
    add(server, {"lessons": Lessons})


class Lessons(Page):
    """The lessons of the workspace."""

    async def answer(self, workspace: Path) -> None:
        """Show them as a table, in the order in which they are taught."""
        opener = url_path_join(self.base_url, "lab/workspaces", layout(workspace), "tree")
        rows = await asyncio.to_thread(table_rows, Workspace(workspace), opener)
        if not rows:
            self.show(
                "No lessons here",
                "<p>The folder <code>notebooks</code> has none. In a checkout, <code>ai4diag course build</code> "
                "makes them; a course pack has them.</p>",
            )
            return
        self.show(
            "Lessons",
            "<p>A lesson opens in JupyterLab, in this tab of the browser.</p>"
            f"<table><thead><tr>{COLUMNS}</tr></thead><tbody>{''.join(rows)}</tbody></table>",
        )


def table_rows(workspace: Workspace, opener: str) -> list[str]:
    """Return a line of the table for each lesson.

    Args:
        workspace: where the lessons are.
        opener: the address that opens a file in JupyterLab, without the file.
    """
    rows = []
    for name, path in headers.notebooks(workspace.root).items():
        try:
            lesson = headers.in_notebook(path)
            rows.append(_row(lesson, f"{opener}/{quote(path.relative_to(workspace.root).as_posix())}", workspace))
        except Ai4diagError as error:
            rows.append(f'<tr><th scope="row">{escape(name)}</th><td colspan="3">{escape(str(error))}</td></tr>')
    return rows


def _row(lesson: Lesson, address: str, workspace: Workspace) -> str:
    state = "✓ ready"
    try:
        if needs := lacking(workspace, lesson):
            listed = "".join(f"<li>{code_marked(item)}</li>" for item in needs)
            state = f"✗ not yet: <code>ai4diag course catch-up {lesson.id}</code><ul>{listed}</ul>"
    except Ai4diagError as error:  # a pipeline that it needs is not in this workspace, or is wrong
        state = f"✗ not here: {code_marked(str(error))}"
    return (
        f'<tr><th scope="row"><a href="{escape(address)}">{escape(lesson.id)} {escape(lesson.title)}</a></th>'
        f'<td class="number">{lesson.minutes}</td><td>{escape(lesson.badge)}</td><td>{state}</td></tr>'
    )
