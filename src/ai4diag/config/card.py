"""A dataset card: everything that must be known about a data set before its first byte is read.

One file per data set, `datasets/<name>.yaml`: origin, citation, licence, files with checksums, columns with units and
ranges, classes, the key that holds a patient's cases together, known pitfalls and terms of use. A data set of many
files keeps their checksums in a manifest beside the card (the format of `sha256sum`); the card holds the manifest's
own checksum.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from ai4diag.config.base import Settings, parse, read_yaml
from ai4diag.config.sources.arrays import Arrays
from ai4diag.config.sources.common import Identifier, RelativePath
from ai4diag.config.sources.images import Images
from ai4diag.config.sources.pictures import Pictures
from ai4diag.config.sources.scans import Scans
from ai4diag.config.sources.signals import Signals
from ai4diag.config.sources.table import DAYS, Table
from ai4diag.config.sources.volumes import Volumes
from ai4diag.errors import ConfigError, DataError
from ai4diag.files import sha256_file

SOURCES: dict[str, tuple[str, ...]] = {
    "tabular": ("table",),
    "detection": ("images", "scans"),
    "timeseries": ("signals",),
    "classification": ("arrays", "pictures"),
    "segmentation": ("volumes",),
    "none": (),
}
"""For each task, the blocks of a card that can hold its raw files; a card has exactly one, that of no task none."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Licence(Settings):
    """Under which terms the data may be used."""

    id: str
    """SPDX identifier, such as `CC-BY-4.0`."""
    commercial: bool
    """Whether commercial use is allowed."""
    attribution: str
    """What must be said, and about whom, where the data or results from it are shown."""


class Origin(Settings):
    """Where the data come from."""

    page: str
    """Address of the page that describes them."""
    commit: str | None = None
    """Commit of the repository that holds the files, when the downloads point to one."""
    note: str = ""


class File(Settings):
    """One raw file."""

    path: RelativePath
    sha256: Sha256 | None = None
    """Checksum; only files that this machine generates, and those with an `md5`, may go without."""
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    """Checksum of a publisher who gives no other: against a broken transfer, not against forgery."""
    url: str | None = None
    """Full address, when it is not one of the card's `downloads` followed by `path`."""
    beside_card: bool = False
    """The file is kept in the repository, beside the card."""

    @property
    def checksum(self) -> str | None:
        """What the content must hash to: a SHA-256, or an MD5 with `md5:` before it."""
        return f"md5:{self.md5}" if self.sha256 is None and self.md5 is not None else self.sha256


class Manifest(Settings):
    """A list of checksums beside the card, in the format of `sha256sum`."""

    path: RelativePath
    sha256: Sha256


class OfficialFolds(Settings):
    """A column that numbers the folds into which the publisher divided the cases."""

    path: RelativePath
    """CSV with one line per case."""
    case: str
    """Column that names the case."""
    column: str
    """Column that numbers the fold."""
    test: Annotated[tuple[int, ...], Field(min_length=1)]
    """Folds of the test part; those of no part are for training."""
    validation: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> OfficialFolds:
        if set(self.test) & set(self.validation):
            raise ValueError("a fold is of one part")
        return self


class OfficialSplit(Settings):
    """The split that the publisher, or a benchmark, gave: lists of cases, or one table."""

    source: str
    """Who made it, and how."""
    lists: Mapping[Literal["train", "validation", "test"], RelativePath] | None = None
    """Text files with one case per line."""
    table: RelativePath | None = None
    """CSV with one line per case; the column of its part holds train, validation or test."""
    case: str = "case_id"
    """Column of `table` that names the case."""
    part: str = "part"
    """Column of `table` that names its part."""
    folds: OfficialFolds | None = None
    """A column of one of the data set's own tables."""
    folders: Mapping[Literal["train", "validation", "test"], tuple[RelativePath, ...]] | None = None
    """The folders in which the volumes lie say it."""
    arrays: Literal[True] | None = None
    """The names of the arrays say it: train_images, val_images, test_images."""
    known_duplicates: Annotated[int, Field(ge=0)] | Literal["uncounted"] = 0
    """Groups of cases with equal content that stand in two parts of this split. More than these is a leak; where
    nobody has counted them (`uncounted`), they are reported as a warning."""

    @model_validator(mode="after")
    def _one_form(self) -> OfficialSplit:
        if sum(form is not None for form in (self.lists, self.table, self.folds, self.folders, self.arrays)) != 1:
            raise ValueError("give exactly one of lists, table, folds, folders, arrays")
        if self.lists is not None and not {"train", "test"} <= set(self.lists):
            raise ValueError("lists must name at least train and test")
        return self


class Card(Settings):
    """What is known about a data set."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    title: str
    description: str
    task: Literal["tabular", "detection", "timeseries", "classification", "segmentation", "none"]
    """What the data set is for; `none`: files that are looked at, and that no pipeline reads."""
    origin: Origin
    citation: str
    licence: Licence
    terms: str
    """Terms of use beyond the licence, in words."""
    embedded: Literal["breast_cancer", "smear", "phantom", "ecg"] | None = None
    """What on this machine makes the files: a data set inside scikit-learn, or a generator."""
    by_hand: str = ""
    """For files that no address gives one by one: what to fetch, and how to lay it out in the folder of the set."""
    mirror: RelativePath | None = None
    """Folder in an offline mirror; the name of the card when not given."""
    downloads: tuple[str, ...] = ()
    """Addresses to which the path of a file is added."""
    files: tuple[File, ...] = ()
    manifest: Manifest | None = None
    classes: tuple[str, ...] = ()
    """Class names in order, at least one where there is a task; of a binary table the second is the positive class."""
    case: Identifier | None = None
    """Where the name of a case stands; None: tables number their rows, images are named by their file."""
    patient: Identifier | None = None
    """The grouping key: where the patient stands. None: no identifiers exist, and every case counts as a patient."""
    table: Table | None = None
    images: Images | None = None
    signals: Signals | None = None
    arrays: Arrays | None = None
    pictures: Pictures | None = None
    volumes: Volumes | None = None
    scans: Scans | None = None
    official_split: OfficialSplit | None = None
    pitfalls: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    """Published or measured results that a correct system reaches."""

    _path: Path = PrivateAttr(default=Path())
    _sha256: str = PrivateAttr(default="")

    @property
    def folder(self) -> Path:
        """Folder of the card."""
        return self._path.parent

    @property
    def sha256(self) -> str:
        """SHA-256 of the card's text; it covers the manifest, whose hash the card holds."""
        return self._sha256

    @model_validator(mode="after")
    def _is_consistent(self) -> Card:
        given = [name for names in SOURCES.values() for name in names if getattr(self, name) is not None]
        if self.task == "none":
            if given or self.classes or self.official_split:
                raise ValueError("a card without a task has no source, no classes and no split")
        elif len(set(given)) != 1 or given[0] not in SOURCES[self.task]:
            needed = " or ".join(f"`{name}`" for name in SOURCES[self.task])
            raise ValueError(f"a {self.task} card needs {needed}, and no other source")
        elif not self.classes:
            raise ValueError(f"a {self.task} card needs classes: give at least one")
        if not self.files and self.manifest is None and self.embedded is None and not self.by_hand:
            raise ValueError("the card names no files: give files, a manifest, embedded, or by_hand")
        bare = [file.path for file in self.files if file.checksum is None]
        if bare and self.embedded not in ("smear", "phantom", "ecg"):
            raise ValueError(f"file '{bare[0]}' has no sha256")
        if self.table is not None:
            _check_table(self, self.table)
        if self.signals is not None:
            _check_signals(self, self.signals)
        if self.arrays is not None or self.pictures is not None:
            _check_labels(self)
        if self.volumes is not None and tuple(self.volumes.numbers) != self.classes:
            raise ValueError(f"volumes.numbers must name the classes in order: {', '.join(self.classes)}")
        maps = self.scans.label_maps if self.scans is not None else None
        if maps is not None and tuple(maps.numbers) != self.classes:
            raise ValueError(f"label_maps.numbers must name the classes in order: {', '.join(self.classes)}")
        return self

    def all_files(self) -> tuple[File, ...]:
        """Return the files of the card and of its manifest.

        Raises:
            DataError: the manifest is missing, changed or malformed.
        """
        return self.files if self.manifest is None else self.files + _read_manifest(self.folder, self.manifest)

    def files_of(self, size: int | None = None) -> tuple[File, ...]:
        """Return the files that are needed: where there is one for each of several sizes, only that of one size.

        Args:
            size: side of the images in pixels; None: the smallest.

        Raises:
            ConfigError: the card has no files of this size.
        """
        files = self.all_files()
        if self.arrays is None:
            return files
        known = self.arrays.files
        if size is not None and size not in known:
            raise ConfigError(f"{self.name} has no images of size {size}.", f"It has: {', '.join(map(str, known))}.")
        wanted = known[min(known) if size is None else size]
        others = set(known.values()) - {wanted}
        return tuple(file for file in files if file.path not in others)


def _check_table(card: Card, table: Table) -> None:
    names = [column.name for column in table.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"column '{twice[0]}' is given twice")
    if tuple(table.label.values) != card.classes:
        raise ValueError(f"label.values must name the classes in order: {', '.join(card.classes)}")
    if len(card.classes) != 2:
        raise ValueError("a table has two classes: negative, then positive")
    units = {column.name: column.unit for column in table.columns}
    if table.time is not None and units.get(table.time, "d") not in DAYS:
        raise ValueError(f"table.time: '{table.time}' has the unit '{units[table.time]}'; known: {', '.join(DAYS)}")
    attributes = [column.name for column in table.columns if column.attribute]
    used = {"label": table.label.column}
    used |= {"table.time": table.time} if table.time is not None else {}
    used |= {"table.site": table.site.column} if table.site is not None else {}
    used |= {key: item.column for key, item in (("case", card.case), ("patient", card.patient)) if item is not None}
    for key, name in used.items():
        if name not in names:
            raise ValueError(f"{key} names the column '{name}', which is not among the columns")
        if name in attributes:
            raise ValueError(f"{key} names the column '{name}', which therefore is no attribute")
    for name in sorted({"case_id", "patient_id", "site"}.intersection(names) - set(used.values())):
        if next(column.kind for column in table.columns if column.name == name) != "text":
            key = {"case_id": "case", "patient_id": "patient", "site": "table.site"}[name]
            raise ValueError(f"column '{name}' is no measurement: name it in `{key}`, or make it text")


def _check_signals(card: Card, signals: Signals) -> None:
    named = signals.symbols or (signals.labels.values if signals.labels is not None else {})
    if named and tuple(named) != card.classes:
        raise ValueError(f"signals must name the classes in order: {', '.join(card.classes)}")
    if len(card.classes) < (1 if signals.labels is not None and signals.labels.multilabel else 2):
        raise ValueError("signals have at least two classes")
    if signals.table is None:
        for key, item in (("case", card.case), ("patient", card.patient)):
            if item is not None and item.column != "record":
                raise ValueError(f"{key} names the column '{item.column}'; without a table there is only 'record'")


def _check_labels(card: Card) -> None:
    source = card.arrays or card.pictures
    assert source is not None
    if len(set(card.classes)) != len(card.classes):
        raise ValueError("two classes have the same name")
    if source.labels == "binary" and len(card.classes) != 2:
        raise ValueError("binary labels need two classes: negative, then positive")
    if source.labels in ("multiclass", "ordinal") and len(card.classes) < 3:
        raise ValueError(f"{source.labels} labels need three classes or more; two are binary")
    if card.arrays is not None:
        absent = set(card.arrays.files.values()) - {file.path for file in card.files}
        if absent and card.manifest is None:
            raise ValueError(f"arrays.files names '{min(absent)}', which is not among the files")
        if card.case is not None or card.patient is not None:
            raise ValueError("arrays hold no identifiers: leave out case and patient")
    if card.official_split is not None and card.official_split.arrays and card.arrays is None:
        raise ValueError("official_split.arrays belongs to arrays")
    if card.pictures is not None:
        given = card.pictures.folders or (
            card.pictures.truth and (card.pictures.truth.columns or card.pictures.truth.values)
        )
        if given and tuple(given) != card.classes:
            raise ValueError(f"pictures must name the classes in order: {', '.join(card.classes)}")


def _read_manifest(folder: Path, manifest: Manifest) -> tuple[File, ...]:
    path = folder / manifest.path
    if not path.is_file():
        raise DataError(f"The manifest {path} is missing.", "Restore it from the repository.")
    found = sha256_file(path)
    if found != manifest.sha256:
        raise DataError(
            f"The manifest {path} has sha256 {found[:12]}..., the card expects {manifest.sha256[:12]}....",
            "Restore it from the repository.",
        )
    files = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        digest, _, name = line.partition("  ")
        files.append(parse(File, {"path": name, "sha256": digest}, f"{path}:{number}"))
    return tuple(files)


def load_card(path: Path) -> Card:
    """Read a card.

    Raises:
        ConfigError: names the file, the key, what was found and the nearest known key; or the card's `name` is not
            the name of its file.
    """
    path = Path(path)
    values = read_yaml(path)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} holds no card.", "See docs/reference/cards.md.")
    card = parse(Card, values, str(path))
    if card.name != path.stem:
        raise ConfigError(f"{path}: name: found '{card.name}', expected '{path.stem}', the name of the file.")
    card._path = path.resolve()
    card._sha256 = sha256_file(path)
    return card
