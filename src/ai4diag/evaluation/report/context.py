"""What a report says beside the estimates, as plain data, so that evaluation needs to know neither data nor tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag.types import Finding

Picture = tuple[npt.NDArray[np.uint8], tuple[float, float]]
"""Image `(rows, columns, 3)` in its packed size, and packed over original size along (rows, columns)."""

Scan = tuple[npt.NDArray[np.uint8], tuple[float, float, float], tuple[float, float, float]]
"""Packed volume `(i, j, k)`, packed voxels per original voxel along each axis, and millimetres per packed voxel."""


@dataclass(frozen=True)
class DatasetFacts:
    """What the dataset card says.

    Attributes:
        name, title, description, page, citation: as on the card.
        licence: SPDX identifier.
        attribution: what must be said where results are shown.
        terms: terms of use beyond the licence.
        pitfalls: what is known to be wrong with the data, one sentence each.
    """

    name: str
    title: str
    description: str = ""
    page: str = ""
    citation: str = ""
    licence: str = ""
    attribution: str = ""
    terms: str = ""
    pitfalls: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartLine:
    """One line of the data table.

    Attributes:
        part: `train`, `validation`, `test`; in cross-validation `every fold`.
        site: where the cases come from.
        cases, patients: how many.
        counts: cases, or boxes without ignored ones, of each class, in class order.
    """

    part: str
    site: str
    cases: int
    patients: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Training:
    """How one training went.

    Attributes:
        epochs: epoch numbers, from 1.
        loss: training loss per epoch, NaN where unknown.
        score: validation figure per epoch, NaN where validation was not looked at.
        others: number of further trainings, whose models only estimate.
    """

    epochs: tuple[int, ...]
    loss: tuple[float, ...]
    score: tuple[float, ...]
    others: int = 0


@dataclass(frozen=True)
class ReportContext:
    """Everything that `render` needs beside the evaluation.

    Attributes:
        title: heading of the report.
        pipeline, variant: name of the pipeline and of its variant (empty for the pipeline itself).
        task: name of the task.
        target: what was predicted (`ai4diag.evaluation.targets`).
        purpose: paragraphs on the intended use.
        limits: paragraphs on the known limits.
        primary: name of the headline estimate.
        classes: class names; of two, the second is the positive class.
        recipe: the recipe as plain nested values.
        dataset: what the card says.
        parts: the data table.
        folds: number of folds when cross-validated, else 0.
        findings: what validation noticed.
        training: how the kept model's training went, if its history is known.
        gate: what the release gate asks: `<estimate>_low` to least lower limit.
        unmet: what the gate asks and is not met, one sentence each.
        hashes: name to SHA-256.
        version: version of the library.
        checked, not_checked: what was and was not looked at, one sentence each.
        look: how many models have been tested on this test part up to this one, itself included; 0: not known.
        outside: where predictions that were made elsewhere come from; nothing is then known of the model. Else empty.
        picture: gives the image of a case, or None when there is none.
        volume: gives the grey values of a volume, uint8 `(i, j, k)` on the grid of its label map, or None.
        scan: gives a volume in which there are boxes, or None.
    """

    title: str
    pipeline: str
    task: str
    target: str
    primary: str
    classes: tuple[str, ...]
    recipe: Mapping[str, Any]
    dataset: DatasetFacts
    variant: str = ""
    purpose: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    parts: tuple[PartLine, ...] = ()
    folds: int = 0
    findings: tuple[Finding, ...] = ()
    training: Training | None = None
    gate: Mapping[str, float] = field(default_factory=dict)
    unmet: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    checked: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    look: int = 0
    outside: str = ""
    picture: Callable[[str], Picture | None] | None = None
    volume: Callable[[str], npt.NDArray[np.uint8] | None] | None = None
    scan: Callable[[str], Scan | None] | None = None

    @property
    def positive(self) -> str:
        """Name of the positive class; the last one where there are more than two."""
        return self.classes[-1]

    @property
    def negative(self) -> str:
        """Name of the other class of two."""
        return self.classes[0]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what gives pictures is left out."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.name not in PICTURES}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReportContext:
        """Read what `as_dict` wrote, also after JSON, which has no word for NaN and none for a tuple."""
        lists = ("classes", "purpose", "limits", "unmet", "checked", "not_checked")
        known = {**values, **{name: tuple(values[name]) for name in lists}}
        dataset, training = values["dataset"], values["training"]
        known["dataset"] = DatasetFacts(**{**dataset, "pitfalls": tuple(dataset["pitfalls"])})
        known["parts"] = tuple(PartLine(**{**line, "counts": tuple(line["counts"])}) for line in values["parts"])
        known["findings"] = tuple(
            Finding(**{**item, "cases": tuple(item.get("cases", ()))}) for item in values["findings"]
        )
        known["training"] = training and Training(
            tuple(training["epochs"]), _numbers(training["loss"]), _numbers(training["score"]), training["others"]
        )
        return cls(**known)


PICTURES = ("picture", "volume", "scan")


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _numbers(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if value is None else float(value) for value in values)
