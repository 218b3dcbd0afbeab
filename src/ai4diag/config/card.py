"""A dataset card: everything that must be known about a data set before its first byte is read.

One file per data set, `datasets/<name>.yaml`: origin, citation, licence, files with checksums, columns with units and
ranges, classes, the key that holds a patient's cases together, known pitfalls and terms of use. A data set of many
files keeps their checksums in a manifest beside the card (the format of `sha256sum`); the card holds the manifest's
own checksum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from ai4diag.config.base import Settings, parse, read_yaml
from ai4diag.errors import ConfigError, DataError
from ai4diag.files import sha256_file

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Scalar = str | int | float
TAKEN = {"case_id", "patient_id", "site", "truth", "score", "fold", "part", "size_0", "size_1"}
TAKEN |= {"boxes", "labels", "scores", "truth_boxes", "truth_labels", "truth_ignore"}
"""Columns of prepared cases and predictions; no attribute may have their names."""


def _inside(path: str) -> str:
    """Return `path` when it stays inside the folder it is relative to."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or re.search(r"[\\:\x00-\x1f]", path):
        raise ValueError(f"'{path}' must be a relative path with forward slashes that stays inside its folder")
    return path


def _pattern(text: str) -> str:
    """Return `text` when it is a regular expression with exactly one group."""
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"'{text}' is not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"'{text}' must have exactly one group, the part to keep")
    return text


RelativePath = Annotated[str, AfterValidator(_inside)]


def canonical(cell: str) -> str:
    """Return what a cell means as a level: `1`, `1.0` and ` 1` are the same.

    >>> canonical("1.0") == canonical(" 1")
    True
    """
    try:
        return repr(float(cell))
    except ValueError:
        return cell.strip()


def _one_meaning(where: str, written: Iterable[Scalar]) -> None:
    """Refuse a word of the file that stands for two levels or classes."""
    seen: set[str] = set()
    for value in written:
        meant = canonical(str(value))
        if meant in seen:
            raise ValueError(f"{where}: '{value}' stands for two levels; the file must tell them apart")
        seen.add(meant)


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
    """Checksum; only files that this machine generates may go without."""
    url: str | None = None
    """Full address, when it is not one of the card's `downloads` followed by `path`."""
    beside_card: bool = False
    """The file is kept in the repository, beside the card."""


class Manifest(Settings):
    """A list of checksums beside the card, in the format of `sha256sum`."""

    path: RelativePath
    sha256: Sha256


class Column(Settings):
    """One column of a table."""

    name: str
    kind: Literal["number", "category", "text"] = "number"
    unit: str = ""
    """Unit of a number as it stands in the file; `1` when it has none."""
    range: tuple[float, float] | None = None
    """Smallest and largest plausible value; others are reported and kept."""
    levels: Mapping[str, Scalar] = {}
    """Name of each level of a category, and how the file writes it."""
    zero_is_missing: bool = False
    """The file writes 0 where nothing was measured."""
    post_outcome: bool = False
    """Known only after the outcome: a model that sees it will not work on new patients."""
    attribute: bool = False
    """Kept in the index, so that estimates can be repeated per subgroup. A number also needs `bands`."""
    bands: tuple[float, ...] = ()
    """Limits of the bands that a number becomes as an attribute, named `<name>_band`."""
    note: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Column:
        if (self.kind == "category") != bool(self.levels):
            raise ValueError(f"column '{self.name}': levels belong to a category, and every category needs them")
        if self.kind != "number" and (self.range or self.bands or self.zero_is_missing or self.unit):
            raise ValueError(f"column '{self.name}': unit, range, bands and zero_is_missing belong to a number")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"column '{self.name}': range must be the smallest, then the largest value")
        if self.kind == "number" and not self.unit:
            raise ValueError(f"column '{self.name}': a number needs a unit; write '1' when it has none")
        if self.attribute and not (self.levels or self.bands):
            raise ValueError(f"column '{self.name}': an attribute is a category, or a number with bands")
        if self.attribute and self.name in TAKEN:
            raise ValueError(f"column '{self.name}': an attribute cannot have this name, which is in use")
        _one_meaning(f"column '{self.name}'", self.levels.values())
        if list(self.bands) != sorted(set(self.bands)):
            raise ValueError(f"column '{self.name}': bands must increase")
        return self


class Label(Settings):
    """The column that holds the truth."""

    column: str
    values: Mapping[str, tuple[Scalar, ...]]
    """For each class, how the file writes it."""

    @model_validator(mode="after")
    def _one_class_each(self) -> Label:
        _one_meaning("label.values", [value for values in self.values.values() for value in values])
        return self


class Identifier(Settings):
    """Where an identifier stands."""

    column: str
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    """Regular expression that the whole cell matches; its one group is the identifier."""


class TableFile(Settings):
    """A file of the table, and the site it comes from."""

    path: RelativePath
    site: str = "unknown"


class Table(Settings):
    """How to read a table: one or more files with the same columns."""

    files: Annotated[tuple[TableFile, ...], Field(min_length=1)]
    header: bool = True
    """Whether the first line names the columns; without it, `columns` gives their order. ARFF names its own."""
    missing: tuple[str, ...] = ("",)
    """How the file writes a missing value."""
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    label: Label
    site: str | None = None
    """Column that holds the site of each row, instead of one site per file."""


class Images(Settings):
    """How to read images with Pascal VOC boxes."""

    folder: RelativePath
    """Folder of the images; the file name without its ending is the case."""
    annotations: RelativePath
    """Folder of the annotations: one XML file per image, with the same name."""
    channels: tuple[str, ...] = ("red", "green", "blue")
    cases: RelativePath | None = None
    """CSV with one line per case: case_id, and any of patient_id, site and attributes."""
    attributes: tuple[str, ...] = ()
    """Columns of `cases` to keep in the index."""
    site: str = "unknown"
    """Site of every case, when `cases` does not say."""

    @model_validator(mode="after")
    def _attributes_need_cases(self) -> Images:
        if self.attributes and self.cases is None:
            raise ValueError("attributes are columns of cases, which is not given")
        if taken := TAKEN.intersection(self.attributes):
            raise ValueError(f"attribute '{min(taken)}' cannot have this name, which is in use")
        if len(self.channels) not in (1, 3):
            raise ValueError("channels must be one (grey) or three (red, green, blue)")
        return self


class OfficialSplit(Settings):
    """The split that the publisher, or a benchmark, gave: lists of cases, or one table."""

    source: str
    """Who made it, and how."""
    lists: Mapping[Literal["train", "validation", "test"], RelativePath] | None = None
    """Text files with one case per line."""
    table: RelativePath | None = None
    """CSV with the columns case_id and part."""
    known_duplicates: Annotated[int, Field(ge=0)] = 0
    """Groups of cases with equal content that stand in two parts of this split. More than these is a leak."""

    @model_validator(mode="after")
    def _one_form(self) -> OfficialSplit:
        if (self.lists is None) == (self.table is None):
            raise ValueError("give either lists or table")
        if self.lists is not None and not {"train", "test"} <= set(self.lists):
            raise ValueError("lists must name at least train and test")
        return self


class Card(Settings):
    """What is known about a data set."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    title: str
    description: str
    task: Literal["tabular", "detection"]
    origin: Origin
    citation: str
    licence: Licence
    terms: str
    """Terms of use beyond the licence, in words."""
    embedded: Literal["breast_cancer", "smear"] | None = None
    """What on this machine makes the files: a data set inside scikit-learn, or a generator."""
    mirror: RelativePath | None = None
    """Folder in an offline mirror; the name of the card when not given."""
    downloads: tuple[str, ...] = ()
    """Addresses to which the path of a file is added."""
    files: tuple[File, ...] = ()
    manifest: Manifest | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    """Class names in order; of a binary table the second is the positive class."""
    case: Identifier | None = None
    """Where the name of a case stands; None: tables number their rows, images are named by their file."""
    patient: Identifier | None = None
    """The grouping key: where the patient stands. None: no identifiers exist, and every case counts as a patient."""
    table: Table | None = None
    images: Images | None = None
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
        if (self.task == "tabular") != (self.table is not None) or (self.task == "detection") != (
            self.images is not None
        ):
            raise ValueError("a tabular card needs `table`, a detection card `images`, and not both")
        if not self.files and self.manifest is None and self.embedded is None:
            raise ValueError("the card names no files: give files, a manifest, or embedded")
        bare = [file.path for file in self.files if file.sha256 is None]
        if bare and self.embedded != "smear":
            raise ValueError(f"file '{bare[0]}' has no sha256")
        if self.table is not None:
            _check_table(self, self.table)
        return self

    def all_files(self) -> tuple[File, ...]:
        """Return the files of the card and of its manifest.

        Raises:
            DataError: the manifest is missing, changed or malformed.
        """
        return self.files if self.manifest is None else self.files + _read_manifest(self.folder, self.manifest)


def _check_table(card: Card, table: Table) -> None:
    names = [column.name for column in table.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"column '{twice[0]}' is given twice")
    if tuple(table.label.values) != card.classes:
        raise ValueError(f"label.values must name the classes in order: {', '.join(card.classes)}")
    if len(card.classes) != 2:
        raise ValueError("a table has two classes: negative, then positive")
    attributes = [column.name for column in table.columns if column.attribute]
    used = {"label": table.label.column}
    used |= {"table.site": table.site} if table.site is not None else {}
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
