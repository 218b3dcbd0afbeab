"""Verify an evidence pack: is it whole, who signed it, and does every number come out of its predictions again?

For whoever was handed a pack: nothing is needed but ai4diag and the public key of whoever vouches for it. What is
proven is that the numbers follow from the predictions and the plan, and that nothing was changed since it was signed;
not that the predictions are those of the model. That is what `ai4diag verify` of the run looks at, and its verdicts are
in the pack.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai4diag import __version__
from ai4diag.errors import Ai4diagError, VerifyError
from ai4diag.evaluation.evaluate import Evaluation
from ai4diag.evaluation.gate import check_gate
from ai4diag.files import sha256_bytes, sha256_file, to_json
from ai4diag.packaging.evidence import contents, limits, pack, signing
from ai4diag.packaging.evidence.compare import TOLERANCE, compare_estimates, compare_texts, compare_versions
from ai4diag.packaging.evidence.contents import ESTIMATES, MANIFEST, RECORD, Stated
from ai4diag.packaging.evidence.sbom import listed, packages
from ai4diag.types import Estimate

NOT_REGENERATED = (
    "Not regenerated, because they do not follow from the predictions: how the model was trained, how many cases it "
    "learned from, findings, verdicts of verifications, hashes, commit, machine and pictures; and what pipeline.md, "
    "card.yaml and supplied.yaml say. They are stated by whoever made the pack."
)
ACTIVE = re.compile(r"<(?:script|iframe|object|embed|form|base|link)\b|<[^>]*\son\w+\s*=|javascript:", re.IGNORECASE)
"""What makes a page do something."""
WORD = re.compile(r"[\w.-]{1,100}")
"""A name or an identifier; whatever else a manifest could hold would be shown to whoever verifies."""


@dataclass
class PackVerdict:
    """What was found.

    Attributes:
        ok: whether the pack holds; with a public key that includes its signature.
        signed_by: fingerprint of the key that signed it; empty unless the public key proved it.
        checked: what was checked and holds, one sentence each.
        problems: what does not hold, one sentence each.
        remarks: what to mind, though nothing is wrong: no signature, another version.
        run_id, pipeline: of the run, as the pack says.
        gate_met: whether the release gate of the plan is met by the regenerated estimates; False where it asks nothing.
        manifest_sha256: SHA-256 of the manifest, which names the pack.
    """

    ok: bool = False
    signed_by: str = ""
    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    run_id: str = ""
    pipeline: str = ""
    gate_met: bool = False
    manifest_sha256: str = ""


def verify_pack(path: Path, public_key: Path | None = None) -> PackVerdict:
    """Verify a pack; whatever is wrong with it is a problem of the verdict, not an error.

    Args:
        path: its folder, or its zip.
        public_key: of whoever vouches for it; a pack that this key did not sign then fails. None: numbers only.

    Raises:
        DataError: the public key cannot be used.
        VerifyError: there is no such folder or file.
    """
    if public_key is not None:
        signing.read_public(public_key)
    path = Path(path)
    if path.is_dir():
        return _verify_folder(path, public_key)
    if not path.is_file():
        raise VerifyError(f"{path} does not exist.", "Give the folder of a pack, or its zip.")
    with tempfile.TemporaryDirectory(prefix="ai4diag-pack-") as scratch:
        try:
            folder = limits.unpack(path, Path(scratch))
        except VerifyError as error:
            return PackVerdict(problems=[printable(error.message)])
        return _verify_folder(folder, public_key)


def _verify_folder(folder: Path, public_key: Path | None) -> PackVerdict:
    verdict = PackVerdict()
    try:
        sizes = limits.files_in(folder)
        listing = _manifest(folder)
    except VerifyError as error:
        verdict.problems.append(printable(error.message))
        return verdict
    verdict.run_id, verdict.pipeline = str(listing.get("run_id")), str(listing.get("pipeline"))
    verdict.manifest_sha256 = sha256_file(folder / MANIFEST)
    _check_files(folder, listing["files"], sizes, verdict)
    _check_signature(folder, public_key, verdict)
    _check_numbers(folder, listing, verdict)
    verdict.ok = not verdict.problems
    for name in ("checked", "problems", "remarks"):  # what a pack says must not write over what is said of it
        setattr(verdict, name, [printable(sentence) for sentence in getattr(verdict, name)])
    return verdict


def printable(text: str) -> str:
    """Return a text of somebody else in one line, without what a terminal would obey.

    >>> printable("x\\nThe pack holds.\\x1b[2K")
    'x?The pack holds.?[2K'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def _manifest(folder: Path) -> dict[str, Any]:
    import json

    if not (folder / MANIFEST).is_file():
        raise VerifyError(f"{folder.name} is no evidence pack: it has no {MANIFEST}.")
    try:
        listing = json.loads(limits.read_text(folder / MANIFEST))
        entries = listing["files"].items()
        whole = all(isinstance(entry["sha256"], str) and isinstance(entry["size"], int) for _, entry in entries)
        kind, number = listing["kind"], listing["format"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise VerifyError(f"{MANIFEST} is malformed ({type(error).__name__}).", "Get the pack again.") from None
    named = all(WORD.fullmatch(str(listing.get(name))) for name in ("run_id", "pipeline"))
    if not whole or not named or kind != pack.KIND or number != pack.FORMAT:
        raise VerifyError(f"{MANIFEST} is not that of an evidence pack of format {pack.FORMAT}.", "Get the pack again.")
    for name in listing["files"]:
        limits.refuse_name(name)
    return dict(listing)


def _check_files(folder: Path, listed_files: Mapping[str, Any], sizes: Mapping[str, int], verdict: PackVerdict) -> None:
    """Compare what is there with the manifest: sizes first, then hashes."""
    before = len(verdict.problems)
    own = {MANIFEST, signing.SIGNATURE}
    for name in sorted(listed_files.keys() - sizes.keys()):
        verdict.problems.append(f"{name} is missing from the pack.")
    for name in sorted(sizes.keys() - listed_files.keys() - own):
        verdict.problems.append(f"{name} is not in the manifest.")
    for name in sorted(listed_files.keys() & sizes.keys()):
        size, stated = sizes[name], listed_files[name]
        if size != stated["size"]:
            verdict.problems.append(f"{name} was changed: {size:,} bytes, the manifest says {stated['size']:,}.")
        elif sha256_file(folder / name) != stated["sha256"]:
            verdict.problems.append(f"{name} was changed: its SHA-256 is not that of the manifest.")
    if len(verdict.problems) == before:
        verdict.checked.append(
            f"All {len(listed_files)} files have the size and the SHA-256 of the manifest; no other."
        )


def _check_signature(folder: Path, public_key: Path | None, verdict: PackVerdict) -> None:
    found = signing.check(folder, public_key)
    if found.state == "signed":
        verdict.signed_by = found.fingerprint
        verdict.checked.append(f"Signed by the key {found.fingerprint}.")
    elif public_key is not None:
        verdict.problems.append(f"Signature: {found.reason}.")
    else:
        verdict.remarks.append(f"Signature: {found.reason}. Anybody can have made this pack.")


def _check_numbers(folder: Path, listing: Mapping[str, Any], verdict: PackVerdict) -> None:
    """Make everything again that follows from what the pack states, and compare."""
    import json

    here = listing.get("writer") == pack.writer()
    if not here:
        told = listing.get("writer")
        version = told.get("version") if isinstance(told, dict) else None
        verdict.remarks.append(
            f"Written by ai4diag {version} in another state or environment than this {__version__}: its estimates and "
            "decimals are compared; its words, counts and drawings are not."
        )
    verdict.remarks.append(NOT_REGENERATED)
    try:
        stated = contents.read(folder)
        evaluation = stated.evaluate()
        found = [Estimate.from_dict(item) for item in json.loads(limits.read_text(folder / ESTIMATES))]
        verdict.gate_met = bool(stated.plan.accept) and not check_gate(evaluation.estimates, stated.plan.accept)
        verdict.problems += _contradictions(stated, listing, evaluation)
        _check_estimates(stated, found, evaluation, here, verdict)
        _check_texts(folder, stated, found, evaluation, here, verdict)
        if listed(stated.sbom) == packages(stated.environment):
            verdict.checked.append(f"The bill of materials lists the {len(packages(stated.environment))} packages.")
        else:
            verdict.problems.append(f"{contents.SBOM} does not list the packages of {contents.ENVIRONMENT}.")
    except Ai4diagError as error:
        verdict.problems.append(f"The numbers cannot be regenerated: {error.message}")
    except Exception as error:  # a malformed pack can be malformed in any way; that is a finding, not a crash
        text = " ".join(str(error).split())[:200]
        verdict.problems.append(f"The numbers cannot be regenerated: {type(error).__name__}: {text}")


def _contradictions(stated: Stated, listing: Mapping[str, Any], evaluation: Evaluation) -> list[str]:
    """Return where what the pack states contradicts itself."""
    record, context = stated.record, stated.context
    plan = to_json(stated.plan.model_dump(mode="json"))
    recipe = to_json(type(stated.plan).model_validate(record["recipe"]["evaluate"]).model_dump(mode="json"))
    said = {
        "plan.json and the recipe in record.json": plan == recipe,
        "context.json and record.json about the recipe": to_json(context.recipe) == to_json(record["recipe"]),
        "context.json and plan.json about the release gate": dict(context.gate) == dict(stated.plan.accept),
        "context.json and the estimates about the release gate": list(context.unmet)
        == check_gate(evaluation.estimates, stated.plan.accept),
        "record.json and manifest.json about the run": all(
            record[name] == listing[name] for name in ("run_id", "pipeline", "created")
        ),
        "context.json and record.json about what was predicted": (context.task, context.target, list(context.classes))
        == (record["task"], record["target"], list(record["classes"]))
        and context.primary == record["primary"] == stated.plan.primary,
        "context.json and record.json about the pipeline": (context.pipeline, context.variant or "full")
        == (record["pipeline"], record.get("variant") or "full"),
        "context.json and record.json about the look at the test part": context.look == record.get("look", 0),
        "context.json and card.yaml about the data set": (context.dataset.name, context.dataset.title)
        == (stated.card["name"], stated.card["title"])
        and context.dataset.licence == stated.card["licence"]["id"],
        "context.json and predictions.parquet about the cases of the test part": _same_cases(stated),
        "environment.txt and record.json about the software": record["evaluated"].get("environment_sha256")
        in (None, sha256_bytes(stated.environment.encode("utf-8"))),
    }
    return [f"{names} contradict each other." for names, agree in said.items() if not agree]


def _same_cases(stated: Stated) -> bool:
    """Whether the data table of the report counts what the predictions hold: cases, patients, cases of each class."""
    part = "every fold" if stated.context.folds else "test"
    lines = [line for line in stated.context.parts if line.part == part]
    rows = stated.predictions[stated.predictions["part"] == "test"].drop_duplicates("case_id")
    patients, most = rows["patient_id"].nunique(), max((line.patients for line in lines), default=0)
    if not lines:
        return True
    if sum(line.cases for line in lines) != len(rows) or not most <= patients <= sum(line.patients for line in lines):
        return False
    if len(lines) == 1 and patients != most:
        return False
    label = {"binary": "truth", "multiclass": "truth", "ordinal": "truth", "time_to_event": "event"}.get(
        stated.record["target"]
    )
    counts = tuple(sum(line.counts[k] for line in lines) for k in range(len(stated.context.classes)))
    return label is None or counts == tuple(int((rows[label] == k).sum()) for k in range(len(counts)))


def _check_estimates(
    stated: Stated, found: list[Estimate], evaluation: Evaluation, here: bool, verdict: PackVerdict
) -> None:
    before = len(verdict.problems)
    verdict.problems += compare_estimates(found, evaluation.estimates, ESTIMATES, more=not here)
    headline = Estimate.from_dict(dict(stated.record["headline"]))
    verdict.problems += compare_estimates([headline], evaluation.estimates[:1], RECORD, more=not here)
    if not found or found[0].name != headline.name:
        verdict.problems.append(f"{ESTIMATES} does not begin with the headline of {RECORD}.")
    if len(verdict.problems) > before:
        return
    if len(found) < len(evaluation.estimates):
        left = dict.fromkeys(item.name for item in evaluation.estimates if item.name not in {one.name for one in found})
        verdict.remarks.append(
            f"{len(evaluation.estimates) - len(found)} estimates come out now that the pack does not state"
            f"{': ' if left else ''}{', '.join(left)}."
        )
    again = {to_json(item.as_dict()) for item in evaluation.estimates}
    identical = all(to_json(item.as_dict()) in again for item in found)
    how = "to the last bit" if identical else f"within {TOLERANCE:g}"
    cases = len(stated.predictions)
    verdict.checked.append(f"All {len(found)} estimates come out of the {cases:,} predictions again, {how}.")


def _check_texts(
    folder: Path,
    stated: Stated,
    found: list[Estimate],
    evaluation: Evaluation,
    here: bool,
    verdict: PackVerdict,
) -> None:
    """Compare report and documents with those made again; of another version only the numbers must be the same."""
    if not compare_estimates(found, evaluation.estimates, ESTIMATES):
        evaluation = contents.with_estimates(evaluation, found)  # the digits of the pack, which were found to agree
    before = len(verdict.problems)
    made = contents.made(stated, evaluation)
    for name in sorted(limits.files_in(folder).keys() - made.keys() - {*contents.STATED, MANIFEST, signing.SIGNATURE}):
        verdict.problems.append(f"{name} is nothing that a pack holds, and nothing in it was checked.")
    for name, text in made.items():
        if name == ESTIMATES:
            continue
        if not (folder / name).is_file():
            (verdict.problems if here else verdict.remarks).append(f"{name} is not in the pack, and should be.")
            continue
        shown = limits.read_text(folder / name)
        if here:
            differences = compare_texts(shown, text, name)
            verdict.problems += differences.numbers + differences.texts
        else:
            differences = compare_versions(shown, text, name, evaluation.estimates)
            verdict.problems += differences.numbers
            verdict.remarks += differences.texts
            if ACTIVE.search(shown):
                verdict.problems.append(f"{name} holds what a browser would run; no version writes that.")
    if len(verdict.problems) == before:
        what = "number of" if here else "estimate in"
        verdict.checked.append(f"Every {what} report and documents comes out again.")
