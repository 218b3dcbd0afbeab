"""One prepared case as it shows itself: a table row, a signal, an image or a volume, with truth and answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.data.prepared import FINAL, Prepared
from ai4diag.errors import UsageError
from ai4diag.lab.answers import Answers, shown_boxes
from ai4diag.lab.drawing import Picture
from ai4diag.lab.row import feature_rows
from ai4diag.lab.said import answer_words, truth_words
from ai4diag.shown import Shown, columns, html_table
from ai4diag.tasks import task

if TYPE_CHECKING:
    from ai4diag.lab.interactive import Interactive
    from ai4diag.lab.volume import Shown3d

OWN = ("case_id", "patient_id", "site", "truth", "event", "time_days", "size_0", "size_1", "size_2")
"""Columns of the index that are shown elsewhere."""


@dataclass(frozen=True, repr=False)
class Case(Shown):
    """A prepared case.

    Attributes:
        words: the pipeline, as a command names it.
        prepared: its prepared cases.
        row: which of them, as row of the index.
        answers: what its model answered; None when nothing was trained on these cases.
    """

    words: str
    prepared: Prepared
    row: int
    answers: Answers | None

    @property
    def case_id(self) -> str:
        """Name of the case."""
        return str(self.index["case_id"])

    @property
    def patient_id(self) -> str:
        """Whose it is."""
        return str(self.index["patient_id"])

    @property
    def site(self) -> str:
        """Where it is from."""
        return str(self.index["site"])

    @property
    def index(self) -> pd.Series[Any]:
        """Its line of the index: identifiers and attributes."""
        return self.prepared.index.iloc[self.row]

    @cached_property
    def part(self) -> str:
        """`train`, `validation` or `test`; in cross-validation the fold in which it is tested; empty if left out."""
        return parts_of(self.prepared).get(self.case_id, "")

    @cached_property
    def truth(self) -> dict[str, Any]:
        """What is true of it: the truth columns of the table of predictions, by name."""
        rows = np.array([self.row], np.int64)
        table = task(str(self.prepared.facts["task"])).truth(self.prepared, rows)
        return {str(name): value for name, value in table.iloc[0].items()}

    @property
    def answer(self) -> dict[str, Any] | None:
        """Its line of the table of predictions; None when the model was never asked about it."""
        line = self.answers.lines.get(self.case_id) if self.answers is not None else None
        return None if line is None else dict(line)

    @property
    def array(self) -> npt.NDArray[Any]:
        """What was packed, read-only: features `(features,)`, signal `(channels, samples)`, image `(channels, rows,
        columns)` or volume `(channels, i, j, k)`, whose axes grow to the patient's right, front and head."""
        files = self.prepared.facts["files"]
        for name in ("signals", "images", "volumes", "features"):
            if f"{name}.npy" in files:
                found: npt.NDArray[Any] = getattr(self.prepared, name)[self.row]
                return found
        raise UsageError(f"{self.words}: a case of these holds no array.")

    @cached_property
    def features(self) -> pd.DataFrame:
        """Its features, one per line, with unit and where the training part lies; empty where it has none."""
        return feature_rows(self.prepared, self.row)

    @cached_property
    def picture(self) -> Picture | None:
        """Its picture; None of a table row."""
        files, said = self.prepared.facts["files"], f"Truth: {self.said_truth}. Answer: {self.said_answer}."
        if "signals.npy" in files:
            return self._signal(said)
        if "images.npy" in files and self.prepared.images.ndim == 4:
            return self._image(said)
        return self._volume(said) if {"images.npy", "volumes.npy"} & files.keys() else None

    @property
    def png(self) -> bytes:
        """Its picture as a file.

        Raises:
            UsageError: a table row has none.
        """
        if self.picture is None:
            raise UsageError(f"{self.case_id} of {self.words} is a table row and has no picture.", "See `features`.")
        return self.picture.png

    def interactive(self) -> Interactive:
        """Return its volume in a view that can be scrolled, with the picture beside it for when there is no kernel.

        Raises:
            UsageError: it is no volume, or one of which the orientation is not known.
            MachineError: ipyniivue is not installed.
        """
        from ai4diag.lab.interactive import Interactive
        from ai4diag.lab.scan import affine_of

        if "volumes.npy" not in self.prepared.facts["files"]:
            raise UsageError(f"{self.case_id} of {self.words} is no volume in millimetres.", "Its picture shows it.")
        return Interactive(self, self._shown_volume, affine_of(self.prepared, self.row))

    @property
    def said_truth(self) -> str:
        """Its truth in words."""
        return truth_words(self.truth, self.prepared.target, self.prepared.classes)

    @property
    def said_answer(self) -> str:
        """The model's answer in words."""
        if self.answers is not None and self.answer is None and self.part != "train":
            return "none: the model was not asked about it"
        return answer_words(self.answer, self.answers, self.prepared.target, self.prepared.classes)

    def __str__(self) -> str:
        lines = [self._title, *(f"  {key}: {text}" for key, text in self._facts)]
        if self.picture is not None:
            lines.append(f"  Picture: {self.picture.caption}")
        if self._features:
            lines += [f"  {line}" for line in columns([tuple(self.features.columns), *self._features])]
        return "\n".join(lines)

    def html(self) -> str:
        """Return facts, and picture or features."""
        shown = html_table(self._title, (), self._facts)
        if self.picture is not None:
            shown += self.picture.html()
        if self._features:
            shown += html_table("Features", list(self.features.columns), self._features)
        return shown

    @property
    def _title(self) -> str:
        return f"Case {self.case_id} of {self.words}"

    @property
    def _features(self) -> list[tuple[str, ...]]:
        return [tuple(map(str, row)) for row in self.features.itertuples(index=False)]

    @property
    def _facts(self) -> list[tuple[str, str]]:
        others = [(str(name), value) for name, value in self.index.items() if name not in OWN]
        return [
            ("Patient", self.patient_id),
            ("Site", self.site),
            ("Part", self.part or "none: left out of the split"),
            *((name, _short(value)) for name, value in others if not name.startswith("truth_")),
            ("Truth", self.said_truth),
            ("Model's answer", self.said_answer),
        ]

    def _signal(self, said: str) -> Picture:
        from ai4diag.lab.signal import draw_signal

        facts = self.prepared.facts
        rate, window = float(facts["sample_rate_hz"]), facts["cutting"]["window"] or {}
        before = round(float(window["before_s"]) * rate) / rate if window.get("around") else None
        leads = [str(name) for name in facts["channels"]]
        if window.get("compare"):
            own = [str(self.index.get("lead", leads[0]))] if len(leads) == 2 else leads[: len(leads) // 2]
            leads = own + [f"{lead}, from the usual" for lead in own]
        return draw_signal(np.asarray(self.array), rate, str(facts["unit"]), leads, before, said)

    def _image(self, said: str) -> Picture:
        from ai4diag.lab.image import draw_image

        image = np.moveaxis(np.asarray(self.array), 0, -1)
        image = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
        boxes = self._boxes if self.prepared.target == "boxes" else None
        size = int(self.index["size_0"]), int(self.index["size_1"])
        return draw_image(image, size, boxes, self.prepared.classes, said)

    def _volume(self, said: str) -> Picture:
        from ai4diag.lab.volume import draw_volume

        return draw_volume(self._shown_volume, said)

    @cached_property
    def _shown_volume(self) -> Shown3d:
        from ai4diag.lab import scan

        if self.prepared.target == "masks":
            return scan.with_masks(self.prepared, self.row, self.truth, self.answer)
        if self.prepared.target == "boxes":
            return scan.with_boxes(self.prepared, self.row, self._boxes)
        return scan.with_class(self.prepared, self.row)

    @property
    def _boxes(self) -> dict[str, Any]:
        """True boxes, and those of the answer from the operating point on."""
        boxes = {name: self.truth[name] for name in ("truth_boxes", "truth_labels", "truth_ignore")}
        if self.answer is not None and self.answers is not None:
            found = shown_boxes(self.answer, self.answers.at(self.answer))
            boxes |= {name: found[name] for name in ("boxes", "labels", "scores")}
        return boxes


def parts_of(prepared: Prepared) -> dict[str, str]:
    """Return the part of each case of the split, as `Case.part` has it."""
    split = prepared.split[prepared.split["contrast"] == 0]
    if not (split["fold"] == FINAL).any():
        return dict(zip(split["case_id"], split["part"], strict=True))
    tested = split[(split["part"] == "test") & (split["fold"] != FINAL)]
    return {case: f"test of fold {fold}" for case, fold in zip(tested["case_id"], tested["fold"], strict=True)}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
