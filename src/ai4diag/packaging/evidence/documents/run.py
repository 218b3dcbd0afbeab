"""A run as the documents ask for it: facts by name, each with the place in the pack where it stands."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ai4diag.evaluation.evaluate import Evaluation
from ai4diag.evaluation.report import ReportContext, sections, words
from ai4diag.evaluation.report.parts import plain
from ai4diag.markdown import paragraphs, section
from ai4diag.packaging.evidence.documents.figures import said
from ai4diag.packaging.evidence.documents.pointers import CARD, CONTEXT, ESTIMATES, PAGE, RECORD, REPORT, Pointer
from ai4diag.packaging.evidence.facts import PackFacts
from ai4diag.types import Estimate

TITLES = ("Intended use", "Trained on", "Limits")
"""Sections of a pipeline's page."""


@dataclass(frozen=True)
class Answer:
    """What the run knows about an item.

    Attributes:
        text: one or a few sentences, plain text.
        at: where in the pack it stands.
        whole: False where it answers only a part; the text says which part is open.
        ask: keys of what has to be asked because of this answer.
    """

    text: str
    at: tuple[Pointer, ...]
    whole: bool = True
    ask: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skip:
    """Why an item does not apply to the run."""

    why: str


def settings(values: Mapping[str, Any]) -> str:
    """Return settings of a recipe for a reader; those that are not set are left out.

    >>> settings({"width": 24, "flips": True, "patch": [32, 48], "drop": ["a", "b"], "grey": {"values": None, "by": 1}})
    'width 24; flips yes; patch 32, 48; drop 2 columns; grey (by 1)'
    """
    found = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = settings(value)
            value = f"({inner})" if inner else None
        elif isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
            value = words.counted(len(value), "column") if key == "drop" else ", ".join(value)
        if value not in (None, [], (), ""):
            found[key] = value if isinstance(value, str) else plain(value)
    return "; ".join(f"{key} {value}" for key, value in found.items())


class Run:
    """Facts of a run.

    Args:
        facts: what the pack holds.
    """

    def __init__(self, facts: PackFacts) -> None:
        self.facts = facts
        self.record: Mapping[str, Any] = facts.record
        self.context: ReportContext = facts.context
        self.evaluation: Evaluation = facts.evaluation
        self.card: Mapping[str, Any] = facts.card
        self.recipe: Mapping[str, Any] = facts.context.recipe
        self.target = facts.evaluation.target
        self.task = facts.evaluation.task
        self.name = facts.context.pipeline
        self.plots = facts.plots
        self.supplied = {key: text.strip() for key, text in facts.supplied.items() if text.strip()}
        self.run_id = str(self.record.get("run_id", "unknown"))

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        return sections.level(self.context)

    @property
    def title(self) -> str:
        """The question of the run as a sentence."""
        return self.context.title if self.context.title.endswith((".", "?", "!")) else f"{self.context.title}."

    @property
    def named(self) -> str:
        """The pipeline, its variant where it is one, and the run, as the head of a document says it."""
        variant = str(self.record.get("variant") or "full")
        which = "" if variant == "full" else f", variant `{variant}` (not the pipeline as it is committed)"
        return f"Pipeline `{self.name}`{which}, run `{self.run_id}`."

    @property
    def waived(self) -> list[str]:
        """Codes of the findings that the recipe waives."""
        return list(dict.fromkeys(str(item["finding"]) for item in self.recipe["data"].get("waive") or ()))

    @property
    def headline(self) -> Estimate:
        """The headline estimate."""
        return self.evaluation.estimates[0]

    def estimates(self, part: str = "test") -> list[tuple[int, Estimate]]:
        """Return estimates of a part over all its cases, with their place in estimates.json."""
        listed = enumerate(self.evaluation.estimates)
        return [(i, item) for i, item in listed if item.part == part and item.subgroup == "all"]

    def grouped(self, of_people: bool = True) -> list[tuple[int, Estimate]]:
        """Return estimates on the test part in the groups that the recipe names, or in all others, such as classes."""
        named = tuple(self.recipe["evaluate"].get("subgroups") or ())
        listed = [(i, item) for i, item in enumerate(self.evaluation.estimates) if item.part == "test"]
        groups = [(i, item) for i, item in listed if item.subgroup != "all"]
        return [(i, item) for i, item in groups if (item.subgroup.partition("=")[0] in named) == of_people]

    def say(self, names: Sequence[str]) -> Answer | None:
        """Return the named estimates on the test part that are there, with their places; None when none is."""
        found = [(i, item) for i, item in self.estimates() if item.name in names]
        if not found:
            return None
        text = "; ".join(said(item, self.level) for _, item in found)
        return Answer(f"{text}.", tuple(Pointer(ESTIMATES, (i,)) for i, _ in found))

    @cached_property
    def parts(self) -> dict[str, tuple[int, int, tuple[int, ...]]]:
        """Cases, patients and counts per class of each part, over all sites."""
        found: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        for line in self.context.parts:
            cases, patients, counts = found.get(line.part, (0, 0, (0,) * len(line.counts)))
            summed = tuple(a + b for a, b in zip(counts, line.counts, strict=True))
            found[line.part] = (cases + line.cases, patients + line.patients, summed)
        return found

    @cached_property
    def sites(self) -> list[str]:
        """Names of the sites that the data table knows."""
        return sorted({line.site for line in self.context.parts})

    @cached_property
    def anonymous(self) -> bool:
        """Whether the data name no patients, so that every case counts as one."""
        return any(finding.code == "no-patient-ids" for finding in self.context.findings)

    def found(self, *codes: str) -> list[str]:
        """Return which of these codes are among the findings; what was found may name cases, and stays where it is."""
        return list(dict.fromkeys(item.code for item in self.context.findings if item.code in codes))

    @property
    def settled(self) -> bool:
        """Whether one commit settles which code ran."""
        return bool(self.record.get("trained")) and bool(self.bound.get("git_commit")) and not self.dirty

    def purpose(self, word: str) -> str:
        """Return the paragraph on the intended use that begins with this word and a full stop; else empty."""
        start = f"{word}."
        return next((text.removeprefix(start).strip() for text in self.context.purpose if text.startswith(start)), "")

    def quote(self, text: str) -> str:
        """Return words of the pipeline's page as a quotation."""
        return f"The pipeline's page says: \u201c{text}\u201d"

    def told(self, *words: str, titles: Sequence[str] = TITLES) -> Answer | None:
        """Return the sentences of the page in which one of the words stands, as a quotation; None without any."""
        found = {title: self._sentences(title, words) for title in titles}
        told = [text for texts in found.values() for text in texts]
        if not told:
            return None
        at = tuple(Pointer(PAGE, (title,)) for title, texts in found.items() if texts)
        return Answer(self.quote(" ".join(told)), at, whole=False)

    def _sentences(self, title: str, words: Sequence[str]) -> list[str]:
        wanted = re.compile("|".join(words), flags=re.IGNORECASE)
        text = paragraphs(section(self.facts.readme, title))
        every = [part.strip() for paragraph in text for part in re.split(r"(?<=[.?!]) (?=[A-Z0-9])", paragraph)]
        return [part for part in every if wanted.search(part)]

    def of_card(self, *keys: str) -> Pointer | None:
        """Return the place of a fact on the dataset card; None when the card does not have it."""
        content: Any = self.card
        for key in keys:
            if not isinstance(content, Mapping) or not content.get(key):
                return None
            content = content[key]
        return Pointer(CARD, keys)

    def page(self, title: str) -> tuple[Pointer, ...]:
        """Return the place of a section of the pipeline's page; nothing when there is none."""
        return (Pointer(PAGE, (title,)),) if section(self.facts.readme, title) else ()

    def of_record(self, *keys: str) -> tuple[Pointer, ...]:
        """Return the place of a fact in record.json; nothing when it is not there, or empty."""
        content: Any = self.record
        for key in keys:
            if not isinstance(content, Mapping) or content.get(key) in (None, "", {}, []):
                return ()
            content = content[key]
        return (Pointer(RECORD, keys),)

    def of_context(self, *keys: str) -> tuple[Pointer, ...]:
        """Return the place of a fact in context.json."""
        return (Pointer(CONTEXT, keys),)

    def report(self, place: str) -> tuple[Pointer, ...]:
        """Return the place of a section of the report."""
        return (Pointer(REPORT, (place,)),)

    @cached_property
    def masked(self) -> list[str]:
        """Subgroups that are too small to be shown."""
        every = self.grouped()
        return sorted({words.group(item.subgroup) for _, item in every if item.note.startswith("masked")})

    @cached_property
    def undefined(self) -> list[str]:
        """Names of estimates on the whole test part that are undefined."""
        return [words.name(item.name) for _, item in self.estimates() if math.isnan(item.value)]

    @cached_property
    def bound(self) -> Mapping[str, str]:
        """What the training was bound to; what the evaluation was, where the training is not known."""
        return self.record.get("trained") or self.record.get("evaluated") or {}

    @property
    def dirty(self) -> bool:
        """Whether files that are not in the commit took part, or may have."""
        known = [self.record.get(stage) or {} for stage in ("trained", "evaluated")]
        return any(str(stage.get("git_dirty", "")).lower() == "true" for stage in known)
