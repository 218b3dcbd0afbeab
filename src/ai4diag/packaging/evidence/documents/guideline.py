"""One engine for every guideline: a table of items in, a checklist with a status and a pointer for each item out.

A table is `guidelines/<name>.yaml`. An item has a number, a topic in our own words, and

    answer     functions of `answers` that say what the run knows about it
    ask        keys of `questions.yaml` that only people can answer
    otherwise  keys that are asked only where one of the functions knows nothing

Its status follows from what came back, and is never written into a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from ai4diag.config.base import parse_yaml
from ai4diag.packaging.evidence.documents.answers import ANSWERS
from ai4diag.packaging.evidence.documents.markdown import cell, plain, table
from ai4diag.packaging.evidence.documents.model_card import ASKED
from ai4diag.packaging.evidence.documents.pointers import SUPPLIED as SUPPLIED_FILE
from ai4diag.packaging.evidence.documents.pointers import Pointer
from ai4diag.packaging.evidence.documents.run import Answer, Run, Skip

ANSWERED = "answered by the run"
PARTLY = "partly"
OPEN = "to be supplied by the manufacturer"
SUPPLIED = "supplied by the manufacturer"
BOTH = "answered by the run and the manufacturer"
NOT = "does not apply"
STATUSES = (ANSWERED, BOTH, SUPPLIED, PARTLY, OPEN, NOT)
HERE = "ai4diag.packaging.evidence.documents"
COLUMNS = ("Item", "Topic", "Status", "What is known, and where")


@dataclass(frozen=True)
class Item:
    """One line of a guideline; see the module."""

    number: str
    section: str
    topic: str
    answer: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guideline:
    """A table of items.

    Attributes:
        path: path of its document in the pack.
        title: heading of the document.
        about: what the guideline is, with its source.
        checked: how numbers and topics of the items were checked.
        targets, tasks: what it applies to; empty: everything.
        otherwise: why it does not apply to anything else.
        items: in order.
    """

    path: str
    title: str
    about: str
    checked: str
    targets: tuple[str, ...]
    tasks: tuple[str, ...]
    otherwise: str
    items: tuple[Item, ...]

    def applies(self, run: Run) -> bool:
        """Whether the guideline is meant for such a run."""
        return (not self.targets or run.target in self.targets) and (not self.tasks or run.task in self.tasks)


@dataclass(frozen=True)
class Row:
    """An item with what is known about it.

    Attributes:
        item: the item.
        status: one of `STATUSES`.
        answers: what the run knows.
        supplied: key to what people answered.
        open: keys of what they have not answered yet.
        why: why it does not apply.
    """

    item: Item
    status: str
    answers: tuple[Answer, ...] = ()
    supplied: tuple[tuple[str, str], ...] = ()
    open: tuple[str, ...] = ()
    why: str = ""


@lru_cache
def tables() -> tuple[Guideline, ...]:
    """Return every table of `guidelines/`, in the order of their names."""
    folder = files(HERE).joinpath("guidelines")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yaml"))
    return tuple(_guideline(_read(f"guidelines/{name}")) for name in names)


@lru_cache
def questions() -> Mapping[str, str]:
    """Return key to question, for everything that only people can answer."""
    return {key: str(text) for key, text in _read("questions.yaml").items()}


def rows(guideline: Guideline, run: Run) -> list[Row]:
    """Return the items of a guideline with what is known about each."""
    return [_row(item, run) for item in guideline.items]


def open_questions(run: Run) -> dict[str, str]:
    """Return key to question for all that the documents ask and nobody answered, in the order of the questions."""
    keys = {key for item in tables() if item.applies(run) for row in rows(item, run) for key in row.open}
    keys |= {key for key in ASKED if key not in run.supplied}
    return {key: text for key, text in questions().items() if key in keys}


def checklist(guideline: Guideline, run: Run) -> str:
    """Return a guideline, filled in for a run, as Markdown."""
    lines = [f"# {guideline.title}", "", f"{plain(run.title)} {run.named}", ""]
    lines += [guideline.about, ""]
    if not guideline.applies(run):
        return "\n".join([*lines, f"**Does not apply to this run.** {guideline.otherwise}", ""])
    found = rows(guideline, run)
    count = Counter(row.status for row in found)
    said = ", ".join(f"{status} {count[status]}" for status in STATUSES if count[status])
    lines += [
        f"Of {len(found)} items: {said}. {guideline.checked}",
        "",
        "*Answered by the run* means: by its record, its estimates, its report, the page of the pipeline or the "
        "dataset card; the pointer says where. Numbers inside quotation marks are those of page or card. Nothing "
        "here was judged by a person. This is evidence. Not for clinical use without the manufacturer's own approval.",
        "",
    ]
    return "\n".join([*lines, *_sections(found, guideline.path)]) + "\n"


def _sections(found: list[Row], document: str) -> Iterator[str]:
    section = None
    for row in found:
        if row.item.section != section:
            if section is not None:
                yield ""
            section = row.item.section
            yield from (f"## {section}", "", *table(COLUMNS, []))
        known = "<br>".join(_said(row, document))
        yield f"| {row.item.number} | {cell(row.item.topic)} | {row.status} | {known} |"


def _said(row: Row, document: str) -> Iterator[str]:
    """Yield the paragraphs of the last cell."""
    if row.why:
        yield f"{cell(row.why)}"
    for answer in row.answers:
        yield " ".join([cell(answer.text), *(pointer.link(document) for pointer in answer.at)])
    for key, text in row.supplied:
        where = Pointer(SUPPLIED_FILE, (key,)).link(document)
        yield f"**Supplied by the manufacturer** (`{key}`): {plain(text)} {where}"
    for key in row.open:
        yield f"*To be supplied by the manufacturer* (`{key}`): {cell(questions()[key])}"


def _row(item: Item, run: Run) -> Row:
    found = [ANSWERS[name](run) for name in item.answer]
    answers = tuple(part for part in found if isinstance(part, Answer))
    skips = [part.why for part in found if isinstance(part, Skip)]
    asked = item.ask + (item.otherwise if None in found else ())
    asked = tuple(dict.fromkeys(asked + tuple(key for answer in answers for key in answer.ask)))
    supplied = tuple((key, run.supplied[key]) for key in asked if key in run.supplied)
    if skips and not answers and not supplied:
        return Row(item, NOT, why=" ".join(skips))
    left = tuple(key for key in asked if key not in run.supplied)
    return Row(item, _status(answers, bool(supplied), bool(left)), answers, supplied, left)


def _status(answers: tuple[Answer, ...], supplied: bool, left: bool) -> str:
    if not answers and not supplied:
        return OPEN
    if left or not all(answer.whole for answer in answers):
        return PARTLY
    return (BOTH if supplied else ANSWERED) if answers else SUPPLIED


def _guideline(content: Mapping[str, Any]) -> Guideline:
    items = []
    for section, lines in content["items"].items():
        for line in lines:
            lists = {key: tuple(line.get(key, ())) for key in ("answer", "ask", "otherwise")}
            items.append(Item(str(line["item"]), section, line["topic"], **lists))
    texts = {key: str(content.get(key, "")) for key in ("path", "title", "about", "checked", "otherwise")}
    targets, tasks = (tuple(content.get(key, ())) for key in ("targets", "tasks"))
    return Guideline(**texts, targets=targets, tasks=tasks, items=tuple(items))


def _read(name: str) -> Mapping[str, Any]:
    path = files(HERE).joinpath(name)
    content: Mapping[str, Any] = parse_yaml(path.read_text(encoding="utf-8"), name)
    return content
