"""From a lesson's source to its notebooks: the learner's copy, the solution and the trainer's copy.

The same source gives the same bytes: cells are numbered by their content, and nothing of the machine is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import nbformat

from ai4diag.config.card import Card
from ai4diag.course import lessons
from ai4diag.course.quiz import Quiz
from ai4diag.course.source import Cell, Source, for_learner, for_trainer, sources
from ai4diag.data.catalogue import Catalogue
from ai4diag.errors import ConfigError
from ai4diag.files import write_text

Copy = Literal["learner", "solution", "trainer"]
FOLDERS: dict[Copy, str] = {
    "learner": "notebooks",
    "solution": "build/course/solutions",
    "trainer": "build/course/trainer",
}
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def build(root: Path) -> dict[Path, str]:
    """Return the content of every notebook of the curriculum, by its place.

    Args:
        root: the repository's folder, with `curriculum/` and `datasets/`.

    Raises:
        ConfigError: there is no curriculum, or a source is wrong.
    """
    found = sources(root / "curriculum")
    if not found:
        raise ConfigError(f"{root / 'curriculum'} holds no lessons.", "Run this in a checkout of the repository.")
    catalogue = Catalogue(root / "datasets")
    titles = {source.lesson.id: source.lesson.title for source in found}
    return {
        root / folder / f"{source.path.stem}.ipynb": notebook(source, copy, catalogue, titles)
        for copy, folder in FOLDERS.items()
        for source in found
    }


def write(root: Path) -> list[Path]:
    """Write every notebook of the curriculum; return those that changed."""
    changed = []
    for path, content in build(root).items():
        if not path.is_file() or path.read_text(encoding="utf-8") != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, content)
            changed.append(path)
    return changed


def notebook(source: Source, copy: Copy, catalogue: Catalogue, titles: dict[str, str]) -> str:
    """Return one notebook as text.

    Args:
        source: the lesson.
        copy: for whom.
        catalogue: the dataset cards, for their licences.
        titles: lesson to title, for the prerequisites.

    Raises:
        ConfigError: exercises of the source and of its checks differ.
    """
    _compare(source)
    cells: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for cell in [Cell("markdown", _head(source, catalogue, titles)), *_cells(source, copy)]:
        seen[cell.text] = seen.get(cell.text, 0) + 1
        name = hashlib.sha256(f"{source.lesson.id}\n{seen[cell.text]}\n{cell.text}".encode()).hexdigest()[:12]
        metadata: dict[str, Any] = {"tags": list(cell.tags)} if cell.tags else {}
        made: dict[str, Any] = {"cell_type": cell.kind, "id": name, "metadata": metadata, "source": cell.text}
        cells.append(made | ({"execution_count": None, "outputs": []} if cell.kind == "code" else {}))
    metadata = {
        **KERNEL,
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        "ai4diag": source.lesson.model_dump(mode="json"),
    }
    node = nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells})
    nbformat.validate(node)
    return str(nbformat.writes(node, version=nbformat.NO_CONVERT)) + "\n"


def _cells(source: Source, copy: Copy) -> Iterator[Cell]:
    for number, cell in enumerate(source.cells):
        if "trainer" in cell.tags:
            if copy == "trainer":
                yield cell
            continue
        if "quiz" in cell.tags:
            yield from _quiz(source.lesson.id, copy)
            continue
        text = cell.text if cell.kind == "markdown" else (for_learner if copy == "learner" else for_trainer)(cell.text)
        yield Cell(cell.kind, text, cell.tags)
        following = source.cells[number + 1 :]
        if cell.exercise and all(later.exercise != cell.exercise for later in following):
            yield _check_cell(cell.exercise)


def _quiz(lesson: str, copy: Copy) -> Iterator[Cell]:
    quiz = _quiz_of(lesson)
    yield Cell("markdown", f'{quiz.markdown()}\n\nAnswer each with one letter, such as `1: "b"`.')
    yield Cell("code", quiz.blank() if copy == "learner" else quiz.solution(), (f"exercise:{quiz.id}",))
    yield _check_cell(quiz.id)


def _check_cell(exercise: str) -> Cell:
    return Cell("code", f'check("{exercise}")  # hint=2 says more, hint=3 shows a smaller case, worked out', ("check",))


def _quiz_of(lesson: str) -> Quiz:
    last = lessons.exercises(lesson)[-1]
    if not isinstance(last, Quiz):
        raise ConfigError(f"The last exercise of {lesson} is not its quiz.")
    return last


def _compare(source: Source) -> None:
    said = list(dict.fromkeys(cell.exercise for cell in source.cells if cell.exercise))
    checked = [item.id for item in lessons.exercises(source.lesson.id) if not isinstance(item, Quiz)]
    if said != checked:
        raise ConfigError(
            f"{source.path} has the exercises {said}, its checks are of {checked}.", "Make them the same."
        )
    if sum("quiz" in cell.tags for cell in source.cells) != 1:
        raise ConfigError(f"{source.path} needs one cell with the tag quiz.")


def _head(source: Source, catalogue: Catalogue, titles: dict[str, str]) -> str:
    lesson = source.lesson
    needs = ", ".join(f"{item} ({titles.get(item, 'not here')})" for item in lesson.needs) or "none"
    gpu = "not needed" if lesson.gpu == "no" else "not needed; used when there is one"
    lines = [
        f"# {int(lesson.id[1:])}. {lesson.title}",
        "",
        f"**{lesson.minutes} minutes** · badge {lesson.badge} · before it: {needs} · GPU: {gpu} · no internet needed",
        "",
        "After this lesson you can",
        "",
        *(f"- {objective}" for objective in lesson.objectives),
        "",
        "| section | minutes |",
        "|---|---|",
        *(f"| {title} | {minutes} |" for title, minutes in lesson.sections.items()),
    ]
    if lesson.data:
        lines += ["", "| data set | licence | who must be named |", "|---|---|---|"]
        lines += [_licence(catalogue.card(name)) for name in lesson.data]
    return "\n".join([*lines, "", "For learning and for evidence; not for clinical use."])


def _licence(card: Card) -> str:
    return f"| {card.title} (`{card.name}`) | {card.licence.id} | {card.licence.attribution} |"
