"""Images with labels, whatever their raw layout: who they are, what they show, and their pixels one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ai4diag.config.card import Card
from ai4diag.config.data import Split
from ai4diag.config.sources.arrays import Arrays
from ai4diag.config.sources.pictures import Pictures
from ai4diag.data import npz
from ai4diag.data.divide import official_parts
from ai4diag.data.identify import finish_index, identifiers
from ai4diag.data.image_cases import IMAGE_ENDINGS
from ai4diag.data.problems import ReadError, stop_on_errors
from ai4diag.data.readers.pictures import image_size, read_image
from ai4diag.errors import ConfigError, DataError, did_you_mean
from ai4diag.types import Finding, Part

Pixels = npt.NDArray[np.uint8]
ARRAYS: dict[str, Part] = {"train": "train", "val": "validation", "test": "test"}
"""First word of an array's name, and the part of the official split that it stands for."""


@dataclass(frozen=True)
class Labelled:
    """Cases with their truth.

    Attributes:
        index: case_id, patient_id, site, attributes; of pictures size_0 and size_1, rows and columns.
        shows: bool `(cases, classes)`, which classes a case shows: exactly one, or any number (multilabel).
        parts: part of each case in the official split, when the recipe asks for it.
        images: yields uint8 `(channels, *spatial)` of every case in order.
        findings: what was noticed.
    """

    index: pd.DataFrame
    shows: npt.NDArray[np.bool_]
    parts: pd.Series | None
    images: Callable[[], Iterator[Pixels]]
    findings: list[Finding]


def read_arrays(raw: Path, card: Card, arrays: Arrays, split: Split, size: int | None) -> Labelled:
    """Read the arrays of an `.npz`; cases are named by array and number, such as `train-00001`.

    Raises:
        DataError: an array is missing, has another type or shape than its card says, or an unknown label.
        ConfigError: the recipe asks for an official split that the card does not name.
    """
    path = raw / arrays.files[min(arrays.files) if size is None else size]
    known = npz.headers(path)
    names, parts, shows = [], [], []
    shape: tuple[int, ...] = ()
    for word, part in ARRAYS.items():
        found = known.get(f"{word}_images")
        if found is None or f"{word}_labels" not in known:
            raise DataError(
                f"{path.name} has the arrays {', '.join(sorted(known))}; expected {word}_images and {word}_labels.",
                "Look at arrays.files of the card.",
            )
        shape = shape or found.shape[1:]
        _check_shape(f"{path.name}, {word}_images", found, shape, arrays)
        truth = npz.read(path, f"{word}_labels")
        shows.append(_shown(f"{path.name}, {word}_labels", truth, found.shape[0], card, arrays))
        names += [f"{word}-{number:05d}" for number in range(1, len(truth) + 1)]
        parts += [part] * len(truth)
    index = pd.DataFrame({"case_id": names, "site": arrays.site})
    findings = finish_index(index, card, path.name)
    if split.test == "official" and (card.official_split is None or not card.official_split.arrays):
        raise ConfigError(f"split.test is official, but the card {card.name} names no such split.", "Give a fraction.")
    if arrays.dimensions == 2:
        index["size_0"], index["size_1"] = shape[0], shape[1]

    def images() -> Iterator[Pixels]:
        for word in ARRAYS:
            for block in npz.blocks(path, f"{word}_images"):
                for image in block:
                    yield np.ascontiguousarray(image[None] if len(arrays.channels) == 1 else np.moveaxis(image, -1, 0))

    official = pd.Series(parts) if split.test == "official" else None
    return Labelled(index, np.concatenate(shows), official, images, findings)


def read_pictures(raw: Path, card: Card, pictures: Pictures, split: Split) -> Labelled:
    """Read pictures from a folder per class, or as a table names them; cases are named by the path below the folder.

    Raises:
        DataError: a file is missing, no image, or double; the table lacks a column, or holds an unknown label.
    """
    if pictures.folders:
        files, shows, table = _by_folder(raw, card, pictures)
    else:
        files, shows, table = _by_table(raw, card, pictures)
    problems: list[Finding] = []
    sizes = np.zeros((len(files), 2), np.int64)
    for row, path in enumerate(files):
        try:
            sizes[row] = image_size(path)
        except ReadError as error:
            problems.append(error.finding)
    stop_on_errors(problems, card.name)
    index = pd.DataFrame({"case_id": [_name(path, raw / pictures.folder) for path in files]})
    if card.patient is not None:
        column = card.patient.column
        cells = index["case_id"] if column == pictures.path else table.get(column)
        if cells is None:
            raise DataError(f"patient names the column '{column}'. {did_you_mean(column, map(str, table.columns))}")
        index["patient_id"] = identifiers(cells, card.patient, str(pictures.cases or pictures.folder))
    index["site"] = table[pictures.site_column].to_numpy() if pictures.site_column else pictures.site
    for name in pictures.attributes:
        index[name] = table[name].mask(table[name] == "").to_numpy()
    findings = finish_index(index, card, str(pictures.cases or pictures.folder))
    index["size_0"], index["size_1"] = sizes.T
    kept, parts, noticed = official_parts(index["case_id"], card, raw, split)
    rows = np.flatnonzero(kept)
    chosen = [files[row] for row in rows]

    def images() -> Iterator[Pixels]:
        for path in chosen:
            yield read_image(path, len(pictures.channels))

    return Labelled(index[kept].reset_index(drop=True), shows[rows], parts, images, findings + noticed)


def _check_shape(where: str, found: npz.Header, shape: tuple[int, ...], arrays: Arrays) -> None:
    sides = arrays.dimensions + (len(arrays.channels) > 1)
    wrong = found.dtype != np.uint8 or len(found.shape) != 1 + sides or found.shape[1:] != shape
    if wrong or (len(arrays.channels) > 1 and found.shape[-1] != len(arrays.channels)):
        expected = f"uint8, {arrays.dimensions} sides, {len(arrays.channels)} channel(s), all parts alike"
        raise DataError(f"{where}: found {found.dtype} {found.shape}; expected {expected}.", "Look at the card.")


def _shown(where: str, truth: npt.NDArray[np.generic], cases: int, card: Card, arrays: Arrays) -> npt.NDArray[np.bool_]:
    """Return which classes each case shows, from an array of labels."""
    classes = len(card.classes)
    expected = (cases, classes) if arrays.labels == "multilabel" else (cases, 1)
    if truth.ndim == 1 and expected[1] == 1:
        truth = truth[:, None]
    if truth.dtype.kind not in "iub" or truth.shape != expected:
        raise DataError(f"{where}: found {truth.dtype} {truth.shape}; expected whole numbers {expected}.")
    values = truth.astype(np.int64)
    highest = 1 if arrays.labels == "multilabel" else classes - 1
    wrong = np.argwhere((values < 0) | (values > highest))
    if len(wrong):
        row, column = wrong[0]
        raise DataError(f"{where}, case {row + 1}: found {values[row, column]}; expected 0 to {highest}.")
    shows: npt.NDArray[np.bool_] = values == 1 if arrays.labels == "multilabel" else values == np.arange(classes)
    return shows


def _by_folder(raw: Path, card: Card, pictures: Pictures) -> tuple[list[Path], npt.NDArray[np.bool_], pd.DataFrame]:
    files: list[Path] = []
    labels: list[int] = []
    for number, name in enumerate(card.classes):
        folder = raw / pictures.folder / pictures.folders[name]
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
        if not found:
            raise DataError(f"{folder} holds no images of class {name}.", "Look at pictures.folders of the card.")
        files += found
        labels += [number] * len(found)
    shows = np.array(labels)[:, None] == np.arange(len(card.classes))
    return files, shows, pd.DataFrame(index=range(len(files)))


def _by_table(raw: Path, card: Card, pictures: Pictures) -> tuple[list[Path], npt.NDArray[np.bool_], pd.DataFrame]:
    assert pictures.cases is not None
    assert pictures.truth is not None
    where, truth = pictures.cases, pictures.truth
    try:
        table = pd.read_csv(raw / where, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{raw / where} cannot be read as CSV: {error}.", "Look at pictures.cases.") from None
    needed = [pictures.path, *pictures.attributes, *([truth.column] if truth.column else truth.columns.values())]
    needed += [pictures.site_column] if pictures.site_column else []
    for name in needed:
        if name not in table.columns:
            raise DataError(f"{where} has no column '{name}'. {did_you_mean(name, map(str, table.columns))}")
    files = []
    for number, text in enumerate(table[pictures.path], start=1):
        path = raw / pictures.folder / text.strip()
        inside = path.resolve().is_relative_to((raw / pictures.folder).resolve())
        if not text.strip() or not inside or not path.is_file():
            raise DataError(f"{where}, row {number}: there is no image '{text}' in {pictures.folder}.")
        files.append(path)
    shows = np.zeros((len(table), len(card.classes)), bool)
    for number, name in enumerate(card.classes):
        column = truth.column or truth.columns[name]
        cells = table[column].str.strip()
        if truth.column is not None:
            shows[:, number] = cells == str(truth.values.get(name, name))
        else:
            shows[:, number] = cells.isin(["1", "1.0"])
            _refuse_label(cells, ~cells.isin(["0", "1", "0.0", "1.0"]), where, column, "0 or 1")
    if truth.column is not None:
        expected = "one of " + ", ".join(str(truth.values.get(name, name)) for name in card.classes)
        _refuse_label(table[truth.column], pd.Series(shows.sum(axis=1) != 1), where, truth.column, expected)
    return files, shows, table


def _refuse_label(cells: pd.Series, wrong: pd.Series, where: str, column: str, expected: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        more = f" ({len(rows)} such rows)" if len(rows) > 1 else ""
        raise DataError(
            f"{where}, row {rows[0] + 1}, column '{column}': found {cells.iloc[rows[0]]!r}; expected {expected}{more}."
        )


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
