"""Settings of Sphinx: `make docs` builds docs/ and the lessons into build/docs, without a network."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ai4diag import __version__

HERE = Path(__file__).parent
LESSONS = HERE / "lessons"

project = "ai4diag"
author = "the ai4diag partnership"
release = __version__
root_doc = "README"
extensions = ["myst_nb"]
exclude_patterns = ["generate.py"]
html_theme = "alabaster"
html_theme_options = {
    "description": "A pipeline is a folder; a task knows how; every run ends in evidence.",
    "page_width": "72rem",
}
html_show_copyright = False
html_static_path: list[str] = []
nb_execution_mode = "off"
myst_heading_anchors = 3


def bring_lessons(app: object, config: object) -> None:
    """Put the learner's notebooks beside the pages."""
    shutil.rmtree(LESSONS, ignore_errors=True)
    LESSONS.mkdir()
    for path in sorted((HERE.parent / "notebooks").glob("m[0-9][0-9]_*.ipynb")):
        text = path.read_text(encoding="utf-8").replace("](../docs/", "](../")
        (LESSONS / path.name).write_text(text, encoding="utf-8")


def add_navigation(app: object, name: str, source: list[str]) -> None:
    """Give the first page a table of contents for each of its sections, and one of the lessons."""
    if name != root_doc:
        return
    sections = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", source[0], flags=re.DOTALL | re.MULTILINE)
    trees = {title: re.findall(r"^- \[[^\]]+\]\(([\w/-]+)\.md\)", text, flags=re.MULTILINE) for title, text in sections}
    trees["Lessons"] = [f"lessons/{path.stem}" for path in sorted(LESSONS.iterdir())]
    trees["More"] = ["benchmarks", "LOG"]
    for title, pages in trees.items():
        source[0] += "\n\n```{toctree}\n:hidden:\n:caption: " + title + "\n\n" + "\n".join(pages) + "\n```\n"


def setup(app: object) -> None:
    """Connect what happens before and while pages are read."""
    app.connect("config-inited", bring_lessons)  # type: ignore[attr-defined]
    app.connect("source-read", add_navigation)  # type: ignore[attr-defined]
