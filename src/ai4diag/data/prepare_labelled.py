"""From images with labels to prepared cases.

Every image is read once, hashed, resampled if the recipe asks for it, and written to a memory map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.classification import ClassificationRecipe
from ai4diag.config.sources.arrays import Arrays
from ai4diag.config.sources.pictures import Pictures
from ai4diag.data.catalogue import verify
from ai4diag.data.check_table import duplicate_findings
from ai4diag.data.divide import divide, training_rows
from ai4diag.data.labelled import Labelled, Pixels, read_arrays, read_pictures
from ai4diag.data.leaks.gate import gate
from ai4diag.data.leaks.scan import Divided, scan_pictures
from ai4diag.data.packing import channel_moments, memory_map
from ai4diag.data.prepared import write_prepared
from ai4diag.data.problems import absent_findings
from ai4diag.data.readers.pictures import resample
from ai4diag.errors import ConfigError, DataError
from ai4diag.types import Finding

Preprocess = Callable[[Pixels], Pixels]


def prepare_labelled(
    raw: Path, card: Card, recipe: ClassificationRecipe, folder: Path, preprocess: Preprocess | None = None
) -> None:
    """Read, validate, split and pack images with labels; write prepared cases to `folder`.

    Args:
        raw: folder of the data set; its files are verified against their checksums first.
        card: what the data set shall be.
        recipe: in which size images are packed, and how cases are divided.
        folder: where the prepared cases go.
        preprocess: applied to each packed image, uint8 `(channels, *spatial)`; must keep shape and type.

    Raises:
        DataError: a file is missing, damaged or not what the card says, or the split leaks; all errors are named.
        ConfigError: the recipe asks for a size or a split that the card does not have.
    """
    verify(card, raw, size=recipe.data.size)
    source = card.arrays or card.pictures
    if source is None:
        raise DataError(f"{card.name} has no labelled images.", "Choose a data set for classification.")
    if card.arrays is not None:
        cases = read_arrays(raw, card, card.arrays, recipe.data.split, recipe.data.size)
    else:
        assert card.pictures is not None
        cases = read_pictures(raw, card, card.pictures, recipe.data.split)
    truth = truth_columns(cases.shows, card.classes, source.labels)
    index = pd.concat([cases.index, truth], axis=1)
    size = _packed_size(cases, recipe, source.dimensions)
    folder.mkdir(parents=True, exist_ok=True)
    with memory_map(folder, (len(index), len(source.channels), *size)) as packed:
        content, flat = _pack(cases, packed, preprocess)
        names = index["case_id"].tolist()
        findings = [*cases.findings, *duplicate_findings(names, content, "images"), *flat]
        findings += contradictions(names, content, truth)
        split, noticed = divide(index, _strata(index, cases.shows), content, card, recipe, cases.parts)
        said = "no case of class {name} among {count}"
        findings += noticed + absent_findings(split, index, cases.shows, card.classes, said)
        single = truth["truth"].to_numpy(np.int64) if "truth" in truth else None
        findings += scan_pictures(packed, Divided(index, split, content, single))
        findings = gate(findings, recipe.data.waive, card.name)
        facts = _facts(card, source, size, packed, training_rows(split), cases.shows)
        write_prepared(
            folder, facts=facts, index=index, split=split, findings=findings, arrays={"images": packed}, tables={}
        )


def _facts(
    card: Card,
    source: Arrays | Pictures,
    size: tuple[int, ...],
    packed: Pixels,
    train: npt.NDArray[np.int64],
    shows: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    """Return what `prepared.json` says; the target is named where it is not the usual one of the task."""
    mean, spread = channel_moments(packed, train)
    return {
        "task": "classification",
        **({"target": source.labels} if source.labels != "binary" else {}),
        "dataset": card.name,
        "card_sha256": card.sha256,
        "classes": list(card.classes),
        "channels": list(source.channels),
        "image_size": list(size),
        "statistics": {
            "part": "train",
            "cases": len(train),
            "mean": mean.tolist(),
            "std": spread.tolist(),
            "classes": dict(zip(card.classes, shows[train].sum(axis=0).tolist(), strict=True)),
        },
    }


def truth_columns(shows: npt.NDArray[np.bool_], classes: tuple[str, ...], labels: str) -> pd.DataFrame:
    """Return the truth as columns of the index: `truth`, a class number, or `truth_<class>`, 0 or 1, for each class.

    Args:
        shows: `(cases, classes)`.
        classes: class names.
        labels: `multilabel` gives one column per class, any other kind a single one.
    """
    if labels == "multilabel":
        return pd.DataFrame(shows.astype(np.int64), columns=[f"truth_{name}" for name in classes])
    return pd.DataFrame({"truth": shows.argmax(axis=1).astype(np.int64)})


def contradictions(names: list[str], content: list[str], truth: pd.DataFrame) -> list[Finding]:
    """Warn of images that are equal pixel by pixel and have different labels."""
    table = truth.assign(case=names, content=content)
    groups = table.groupby("content", sort=False)
    at_odds = (groups[list(truth.columns)].nunique() > 1).any(axis=1)
    if not at_odds.any():
        return []
    shown = "; ".join(
        " and ".join(groups.get_group(key)["case"].iloc[:2]) for key in list(at_odds[at_odds].index)[:5]
    ) + ("; ..." if at_odds.sum() > 5 else "")
    found = f"{int(at_odds.sum())} groups of equal images with different labels: {shown}"
    cure = "One of the labels is wrong; correct it, or leave the images out."
    return [Finding("warning", "contradictory-labels", "images", found, "equal labels of equal images", cure)]


def _packed_size(cases: Labelled, recipe: ClassificationRecipe, dimensions: int) -> tuple[int, ...]:
    """Return the sides of the packed images: what the recipe wants, or the one size that all have."""
    wanted = recipe.data.image_size
    if dimensions == 3:
        if wanted is not None:
            raise ConfigError("data.image_size is for pictures; volumes stay as they are.", "Leave it out.")
        return next(iter(cases.images())).shape[1:]
    if wanted is not None:
        if len(wanted) != 2 or min(wanted) < 1:
            raise ConfigError(f"data.image_size is {list(wanted)}; pictures need rows and columns.")
        return wanted
    sizes = cases.index[["size_0", "size_1"]].drop_duplicates()
    if len(sizes) > 1:
        shown = ", ".join(f"{rows} x {columns}" for rows, columns in sizes.to_numpy()[:3])
        raise DataError(f"The pictures have {len(sizes)} sizes: {shown}.", "Give data.image_size: [rows, columns].")
    return int(sizes["size_0"].iloc[0]), int(sizes["size_1"].iloc[0])


def _pack(cases: Labelled, packed: Pixels, preprocess: Preprocess | None) -> tuple[list[str], list[Finding]]:
    """Fill `packed`; return the hash of each image at its original size, and a warning of images without content."""
    names, size = cases.index["case_id"].tolist(), packed.shape[2:]
    content, flat = [], []
    for number, original in enumerate(cases.images()):
        content.append(hashlib.sha256(repr(original.shape).encode() + original.tobytes()).hexdigest())
        if original.min() == original.max():
            flat.append(names[number])
        pixels = original if original.shape[1:] == size else resample(original, (size[0], size[1]))
        result = pixels if preprocess is None else preprocess(pixels)
        if result.shape != pixels.shape or result.dtype != np.uint8:
            raise DataError(
                f"preprocess returned {result.dtype} {result.shape} for {names[number]}, expected uint8 "
                f"{pixels.shape}.",
                "Keep shape and type; sizes are set by data.image_size.",
            )
        packed[number] = result
    if not flat:
        return content, []
    found = f"{len(flat)} images of one value, such as {', '.join(flat[:5])}"
    cure = "Look at them: an empty or wrongly exported image teaches nothing."
    return content, [Finding("warning", "empty-image", "images", found, "images that show something", cure)]


def _strata(index: pd.DataFrame, shows: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Classes, and classes within site, per case."""
    sites = pd.get_dummies(index["site"]).to_numpy(np.float64)
    held = shows.astype(np.float64)
    joint = (held[:, :, None] * sites[:, None, :]).reshape(len(index), -1)
    return np.column_stack([held, joint] if sites.shape[1] > 1 else [held])
