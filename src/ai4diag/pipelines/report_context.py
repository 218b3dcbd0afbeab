"""What the report says beside the estimates, gathered from the pipeline's folder, the card and the prepared cases."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ai4diag import __version__
from ai4diag.config.card import Card
from ai4diag.data.draw_signal import draw_signal
from ai4diag.data.prepared import FINAL, Prepared
from ai4diag.data.volume_shown import grey_volume, voxel_counts
from ai4diag.data.volume_store import affines_of
from ai4diag.evaluation.report import DatasetFacts, PartLine, ReportContext, Training
from ai4diag.evaluation.report.context import Picture, Scan
from ai4diag.files import read_json, sha256_file, sha256_json
from ai4diag.markdown import paragraphs, section
from ai4diag.pipelines.workspace import Pipeline
from ai4diag.types import PARTS


def report_context(pipeline: Pipeline, prepared: Prepared, unmet: Sequence[str], look: int = 0) -> ReportContext:
    """Gather everything that `render` needs beside the evaluation.

    Args:
        pipeline: the pipeline, or a variant of it.
        prepared: its prepared cases.
        unmet: what the release gate asks and is not met, in words.
        look: which look at the test part this is (`ai4diag.pipelines.looks`); 0: not known.
    """
    recipe, card = pipeline.recipe, pipeline.workspace.catalogue.card(pipeline.recipe.data.dataset)
    path = pipeline.folder / "README.md"
    readme = path.read_text(encoding="utf-8") if path.is_file() else ""
    split = prepared.split
    return ReportContext(
        title=_title(readme, pipeline.name),
        pipeline=pipeline.name,
        variant=pipeline.variant,
        task=recipe.task,
        target=prepared.target,
        purpose=paragraphs(section(readme, "Intended use")),
        limits=paragraphs(section(readme, "Limits")),
        primary=recipe.evaluate.primary,
        classes=prepared.classes,
        recipe=recipe.model_dump(mode="json", exclude={"quick"}),
        dataset=_dataset(card),
        parts=tuple(part_lines(prepared)),
        folds=int(split.loc[(split["contrast"] == 0) & (split["part"] == "test"), "fold"].nunique())
        if _folded(prepared)
        else 0,
        findings=tuple(sorted(prepared.findings, key=lambda item: ("error", "warning", "info").index(item.level))),
        training=_training(pipeline),
        gate=dict(recipe.evaluate.accept),
        unmet=tuple(unmet),
        hashes=_hashes(pipeline, card),
        version=__version__,
        checked=_checked(pipeline, prepared),
        not_checked=_not_checked(pipeline, prepared, card, look),
        look=look,
        **pictures(prepared),
    )


def pictures(prepared: Prepared) -> dict[str, Any]:
    """Return what gives the pictures of cases: `picture`, `volume`, `scan` of a `ReportContext`, None where none is."""
    return {
        "picture": _picture(prepared),
        "volume": _volumes(prepared) if prepared.target == "masks" else None,
        "scan": _scans(prepared) if prepared.target == "boxes" and "volumes.npy" in prepared.facts["files"] else None,
    }


def _title(readme: str, name: str) -> str:
    found = re.search(r"^# (.+)$", readme, flags=re.MULTILINE)
    title = found.group(1).strip() if found else name
    title = title.removeprefix(f"{name}: ")
    return title[:1].upper() + title[1:]


def _dataset(card: Card) -> DatasetFacts:
    return DatasetFacts(
        name=card.name,
        title=card.title,
        description=card.description,
        page=card.origin.page,
        citation=card.citation,
        licence=card.licence.id,
        attribution=card.licence.attribution,
        terms=card.terms,
        pitfalls=card.pitfalls,
    )


def _folded(prepared: Prepared) -> bool:
    return bool((prepared.split["fold"] == FINAL).any())


def part_lines(prepared: Prepared) -> list[PartLine]:
    """Return cases, patients and counts per class of every part and site; one pseudo-part when cross-validated."""
    index, counts = prepared.index, _class_counts(prepared)
    if _folded(prepared):
        rows_of: Mapping[str, np.ndarray] = {"every fold": np.arange(len(index))}
    else:
        fold = prepared.folds()[-1]
        rows_of = {part: getattr(fold, part) for part in PARTS}
    lines = []
    for part, rows in rows_of.items():
        sites = index["site"].to_numpy()[rows]
        for site in sorted(set(sites)):
            own = rows[sites == site]
            patients = index["patient_id"].iloc[own].nunique()
            lines.append(PartLine(part, str(site), len(own), int(patients), tuple(map(int, counts[own].sum(axis=0)))))
    return lines


def _class_counts(prepared: Prepared) -> np.ndarray:
    """Return `(cases, classes)`: one-hot truth, voxels, or boxes per class without those to ignore."""
    counts = np.zeros((len(prepared.index), len(prepared.classes)), np.int64)
    if prepared.target == "masks":
        counts = voxel_counts(prepared)
    elif prepared.target == "time_to_event":
        counts[np.arange(len(counts)), prepared.index["event"].to_numpy(np.int64)] = 1
    elif prepared.target == "multilabel":
        counts = prepared.index[[f"truth_{name}" for name in prepared.classes]].to_numpy(np.int64)
    elif "truth" in prepared.index:
        counts[np.arange(len(counts)), prepared.index["truth"].to_numpy(np.int64)] = 1
    else:
        boxes = prepared.boxes[~prepared.boxes["ignore"].to_numpy(bool)]
        np.add.at(counts, (boxes["case"].to_numpy(np.int64), boxes["label"].to_numpy(np.int64)), 1)
    return counts


def _training(pipeline: Pipeline) -> Training | None:
    """Return the history of the kept model, which is the last one; times are left out, as they differ between runs."""
    path = pipeline.out / "history.json"
    histories = read_json(path) if path.is_file() else []
    if not histories or not histories[-1]["epochs"]:
        return None
    events = histories[-1]["epochs"]
    return Training(
        epochs=tuple(int(event["epoch"]) for event in events),
        loss=tuple(_number(event.get("loss")) for event in events),
        score=tuple(_number((event.get("validation") or {}).get("score")) for event in events),
        others=len(histories) - 1,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _hashes(pipeline: Pipeline, card: Card) -> dict[str, str]:
    files = {
        "prepared cases (prepared.json)": pipeline.out / "prepared" / "prepared.json",
        "predictions (predictions.parquet)": pipeline.out / "predictions.parquet",
        "hooks (pipeline.py)": pipeline.folder / "pipeline.py",
    }
    found = {"data set card": card.sha256}
    found["recipe, defaults included"] = sha256_json(pipeline.recipe.model_dump(mode="json", exclude={"quick"}))
    return found | {name: sha256_file(path) for name, path in files.items() if path.is_file()}


def _checked(pipeline: Pipeline, prepared: Prepared) -> tuple[str, ...]:
    count = len(prepared.facts["files"])
    lines = [f"All {count} files of the prepared cases have the checksums that were recorded when they were written."]
    if not _patients_shared(prepared):
        lines.append("No patient is in two parts of a fold.")
    lines.append(
        "The data were read against the card: files, columns, units, ranges, classes; what was found is listed."
    )
    if prepared.target != "time_to_event":
        lines.append(
            "The decision threshold was fixed beforehand or on validation predictions, never on the test part."
        )
    if pipeline.recipe.evaluate.subgroups:
        lines.append(f"Subgroups by {', '.join(pipeline.recipe.evaluate.subgroups)}.")
    return tuple(lines)


def _patients_shared(prepared: Prepared) -> bool:
    """Whether a patient is in two parts of a fold that is not meant to be wrong."""
    split = prepared.split[prepared.split["contrast"] == 0]
    return bool((split.groupby(["fold", "patient_id"])["part"].nunique() > 1).any())


def _not_checked(pipeline: Pipeline, prepared: Prepared, card: Card, look: int) -> tuple[str, ...]:
    sites = sorted(set(prepared.index["site"]))
    where = "the one site" if len(sites) == 1 else f"the {len(sites)} sites"
    lines = [f"Other places, devices and times than those of {where} in the data: there is no external test."]
    if card.patient is None:
        lines.append(
            "Whether two cases are of one patient: the data name no patients, and every case counts as one. Intervals "
            "may be too narrow and estimates too high."
        )
    if _patients_shared(prepared):
        lines.append("Independence of the parts: some patients are in two of them.")
    if not pipeline.recipe.evaluate.subgroups:
        lines.append("Subgroups: the recipe names none.")
    if pipeline.seeds == 1:
        lines.append(f"Other seeds: there was one training per model, with seed {pipeline.recipe.train.seed}.")
    known = f"The ledger knows {look}, this one included; looks" if look else "Looks"
    lines.append(
        "How often the test part was looked at while the recipe was chosen: every look makes it flatter a little. "
        f"{known} outside of it nobody counted."
    )
    lines.append("Whether anybody decides better with the model: that needs a study with its users.")
    return tuple(lines)


def _volumes(prepared: Prepared) -> Callable[[str], npt.NDArray[np.uint8] | None]:
    """Return the function from a case to its grey values."""
    row_of = {case: row for row, case in enumerate(prepared.index["case_id"].astype(str))}
    return lambda case_id: grey_volume(prepared, row_of[case_id]) if case_id in row_of else None


def _scans(prepared: Prepared) -> Callable[[str], Scan | None]:
    """Return the function from a case to its packed volume, scale and spacing."""
    row_of = {case: row for row, case in enumerate(prepared.index["case_id"].astype(str))}
    spacing = np.linalg.norm(affines_of(prepared.volume_table)[:, :3, :3], axis=1)
    sizes = prepared.index[["size_0", "size_1", "size_2"]].to_numpy(np.float64)

    def scan(case_id: str) -> Scan | None:
        row = row_of.get(case_id)
        if row is None:
            return None
        array = np.asarray(prepared.volumes[row][0])
        return array, tuple((array.shape / sizes[row]).tolist()), tuple(spacing[row].tolist())

    return scan


def _picture(prepared: Prepared) -> Callable[[str], Picture | None] | None:
    """Return the function from a case to its picture, where cases are images or signals."""
    files = prepared.facts["files"]
    return _pictures(prepared) if "images.npy" in files else _lines(prepared) if "signals.npy" in files else None


def _lines(prepared: Prepared) -> Callable[[str], Picture | None]:
    """Return the function from a case to the drawing of its signal."""
    row_of = {case: row for row, case in enumerate(prepared.index["case_id"].astype(str))}
    return lambda case_id: (draw_signal(prepared.signals[row_of[case_id]]), (1.0, 1.0)) if case_id in row_of else None


def _pictures(prepared: Prepared) -> Callable[[str], Picture | None]:
    """Return the function from a case to its packed image in colour and its scale."""
    row_of = {case: row for row, case in enumerate(prepared.index["case_id"].astype(str))}

    def picture(case_id: str) -> Picture | None:
        row = row_of.get(case_id)
        if row is None or prepared.images.ndim != 4:
            return None
        image = np.moveaxis(np.asarray(prepared.images[row]), 0, -1)
        image = np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))
        sizes: Any = prepared.index[["size_0", "size_1"]].iloc[row].to_numpy(np.float64)
        return image, (image.shape[0] / float(sizes[0]), image.shape[1] / float(sizes[1]))

    return picture
