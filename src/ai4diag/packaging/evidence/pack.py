"""Build an evidence pack: a folder and a zip of it, from a run as it was kept.

manifest.json         SHA-256 and size of every other file, and what wrote them
signature.json        OpenSSF model-signing over all files; absent when the pack is not signed
record.json           what ran, what it was bound to, the headline
predictions.parquet   pseudonymised; every number regenerates from it and plan.json
...                   docs/reference/evidence-pack.md
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from ai4diag import __version__
from ai4diag.config.plan import Evaluate
from ai4diag.errors import DataError, UsageError
from ai4diag.evaluation.evaluate import Evaluation
from ai4diag.evaluation.report import ReportContext, sections
from ai4diag.files import put_folder, read_json, sha256_bytes, sha256_file, write_json, write_text
from ai4diag.packaging.evidence import contents, limits, signing
from ai4diag.packaging.evidence.compare import compare_estimates
from ai4diag.packaging.evidence.contents import MANIFEST, Stated
from ai4diag.packaging.evidence.pictures import Pictures, kinds_of
from ai4diag.packaging.evidence.pseudonyms import (
    Pseudonyms,
    identifiers,
    masked,
    pack_context,
    pack_record,
    pack_verdicts,
    pseudonymise,
    refuse_identifiers,
    rename,
    without_paths,
)
from ai4diag.packaging.evidence.sbom import make_sbom
from ai4diag.types import Estimate

FORMAT = 1
KIND = "ai4diag evidence pack"
LIBRARIES = ("jinja2", "matplotlib", "numba", "numpy", "pandas", "scikit-learn", "scipy")
"""Packages whose version decides about numbers and about the bytes of a report."""
WRITERS = ("evaluation", "packaging/evidence", "masks.py", "types.py", "config/plan.py")
"""What of ai4diag decides about them."""


@dataclass(frozen=True)
class Source:
    """A run as it was kept, identifiers included: what a pack is made from.

    Attributes:
        record: `record.json`.
        context: what the report says; with pictures only where they shall go into the pack.
        plan: the `evaluate` block.
        predictions: as they were scored.
        estimates: as they were recorded.
        verdicts, readme, card, environment: see `PackFacts`.
        answers: what people supplied.
        paths: folders of this machine to what stands for them; must not be in a pack.
        machine: words that name machine or user; must not be in a pack either.
        cases: identifiers of cases that are not among the predictions (the training part), as far as they are known.
    """

    record: Mapping[str, Any]
    context: ReportContext
    plan: Evaluate
    predictions: pd.DataFrame = field(repr=False)
    estimates: list[Estimate] = field(repr=False)
    verdicts: tuple[Mapping[str, Any], ...] = ()
    readme: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    environment: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    machine: tuple[str, ...] = ()
    cases: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes:
        folder, archive: the pack and its zip.
        signed_by: fingerprint of the key; empty when it was not signed.
        missing: keys of what only people can say and have not said.
        manifest_sha256: names this pack.
    """

    folder: Path
    archive: Path
    signed_by: str
    missing: tuple[str, ...]
    manifest_sha256: str


def build(folder: Path, source: Source, *, private_key: Path | None = None, ask: signing.Ask = lambda: "") -> Built:
    """Build the pack of a run; it appears whole, and replaces an earlier pack in the same place.

    Args:
        folder: the pack; its zip is written beside it.
        source: the run.
        private_key: signs; None: the pack is not signed.
        ask: gives the key's password.

    Raises:
        DataError: the recorded estimates do not come out of the recorded predictions, or an identifier would be in it.
        ConfigError: an answer to what nobody asked.
        UsageError: something else than a pack is in its place.
    """
    from ai4diag.packaging.evidence import documents

    _refuse_other(folder)
    if private_key is not None:
        signing.read_private(private_key, ask)  # before the work, not after it
    contents.refuse_unknown(source.answers, documents.questions(), "The answers")
    stated, names = _stated(source)
    evaluation = stated.evaluate()
    _refuse_other_numbers(source, evaluation.estimates, names)
    stated = replace(stated, record=pack_record(stated.record, evaluation.estimates[0]))
    stated = _with_pictures(stated, evaluation, source, names)
    texts = contents.made(stated, evaluation)
    making = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(making, ignore_errors=True)
    try:
        contents.write(making, stated)
        for name, text in texts.items():
            write_text(making / name, text)
        _refuse_names(making, source, names)
        write_json(making / MANIFEST, manifest(making, stated.record))
        signed_by = signing.sign(making, private_key, ask) if private_key is not None else ""
        put_folder(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    archive = folder.with_name(f"{folder.name}.zip")
    limits.write_zip(folder, archive)
    missing = tuple(documents.missing(stated.facts(evaluation)))
    return Built(folder, archive, signed_by, missing, sha256_file(folder / MANIFEST))


def _stated(source: Source) -> tuple[Stated, Pseudonyms]:
    """Return what the pack states, names replaced; the headline is not yet in the record."""
    record = source.record
    predictions, names = pseudonymise(
        source.predictions, target=record["target"], classes=record["classes"], plan=source.plan
    )
    found = identifiers([*source.cases, *(case for finding in source.context.findings for case in finding.cases)])
    names = replace(names, hidden=names.hidden | found)
    context = pack_context(source.context, source.plan, names)

    def leaves(value: Any) -> Any:
        return masked(without_paths(value, source.paths), names.hidden)

    stated = Stated(
        record=leaves(record),
        context=ReportContext.from_dict(leaves(context.as_dict())),
        plan=source.plan,
        predictions=predictions,
        verdicts=tuple(leaves(pack_verdicts(source.verdicts))),
        readme=leaves(source.readme),
        card=leaves(source.card),
        environment=source.environment,
        sbom=make_sbom(source.environment, record),
        supplied=source.answers,
    )
    return stated, names


def _with_pictures(stated: Stated, evaluation: Evaluation, source: Source, names: Pseudonyms) -> Stated:
    """Return what is stated with the pictures that the report asks for, where the source gives any."""
    kinds = kinds_of(source.context)
    if not kinds:
        return stated
    pictures = Pictures(kinds)
    sections.cases(evaluation, pictures.taken(stated.context, source.context, names.cases))
    return replace(stated, pictures=pictures)


def _refuse_other_numbers(source: Source, again: list[Estimate], names: Pseudonyms) -> None:
    """Refuse a run whose recorded estimates do not come out of its pseudonymised predictions."""
    found = compare_estimates(rename(source.estimates, names), again, "the run record", more=True)
    if found:
        raise DataError(
            f"The estimates of run {source.record['run_id']} do not come out of its predictions: {' '.join(found[:3])}",
            f"Evaluate it again with this version: ai4diag evaluate {source.record['words']}",
        )


def _refuse_names(folder: Path, source: Source, names: Pseudonyms) -> None:
    """Refuse a pack that holds an identifier of a case, a folder, the user or the machine, in any of its texts."""
    texts = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".parquet", ".safetensors")
    }
    authored = f"{source.readme}\n{source.card}"
    apart = {name for name in names.apart if name not in authored}  # a card may say which hospital the data are from
    refuse_identifiers(texts, names.hidden | apart, [*source.paths, *source.machine])


def manifest(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of the files of a pack, itself and the signature left out."""
    return {
        "format": FORMAT,
        "kind": KIND,
        "pipeline": record["pipeline"],
        "run_id": record["run_id"],
        "created": record["created"],
        "writer": writer(),
        "files": {
            name: {"sha256": sha256_file(folder / name), "size": size}
            for name, size in sorted(limits.files_in(folder).items())
            if name not in (MANIFEST, signing.SIGNATURE)
        },
    }


@lru_cache
def writer() -> dict[str, Any]:
    """Return what decides about the bytes that are written here: version, sources, libraries."""
    root = Path(__file__).resolve().parents[2]
    files = sorted(
        path
        for name in WRITERS
        for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))
        if path.is_file() and path.suffix in (".py", ".html", ".css", ".yaml")
    )
    hashes = "".join(f"{path.relative_to(root).as_posix()} {sha256_file(path)}\n" for path in files)
    return {
        "version": __version__,
        "source_sha256": sha256_bytes(hashes.encode()),
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _refuse_other(folder: Path) -> None:
    if folder.exists() and not is_pack(folder):
        raise UsageError(f"{folder} exists and is no evidence pack.", "Choose another folder: --out DIR")


def is_pack(folder: Path) -> bool:
    """Whether a folder says that it is an evidence pack."""
    try:
        found = read_json(folder / MANIFEST)
    except (DataError, OSError):
        return False
    return isinstance(found, dict) and found.get("kind") == KIND
