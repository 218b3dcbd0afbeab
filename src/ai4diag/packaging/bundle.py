"""A bundle is a folder: weights, how to build the model, what it is for, its estimates, and the hash of each file.

model/          weights (safetensors, or LightGBM's text) and model.json
metadata.json   task, inputs with units, outputs, classes, data set with licence, recipe
estimates.json  what was measured, with intervals
README.md       clinical purpose and limits
manifest.json   SHA-256 of every file above; a file that is not listed makes the bundle invalid
signature.json  OpenSSF model-signing over all of these; absent when the bundle is not signed
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai4diag.errors import DataError, UsageError, VerifyError
from ai4diag.files import put_folder, read_json, sha256_file, write_json
from ai4diag.packaging.evidence import signing
from ai4diag.tasks import task
from ai4diag.tasks.base import Learner

FORMAT = 1


def write_bundle(folder: Path, *, model: Path, readme: Path, estimates: Path, metadata: Mapping[str, Any]) -> None:
    """Write a bundle; it appears whole or not at all, and replaces the one that was there, which goes as a whole too.

    Args:
        folder: the bundle.
        model: folder that `Learner.save` wrote.
        readme: the pipeline's README.md.
        estimates: the pipeline's estimates.json.
        metadata: what metadata.json shall hold; must name the `task`.
    """
    making = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(model, making / "model")
    shutil.copyfile(readme, making / "README.md")
    shutil.copyfile(estimates, making / "estimates.json")
    write_json(making / "metadata.json", {"format": FORMAT, **metadata})
    write_json(making / "manifest.json", {"format": FORMAT, "files": _hashes(making)})
    put_folder(making, folder)


def sign_bundle(bundle: Path, folder: Path, private_key: Path, ask: signing.Ask) -> str:
    """Write a signed copy of a bundle; it appears whole, and replaces a bundle that was there.

    Args:
        bundle: what is signed; it stays as it is.
        folder: the signed copy.
        private_key: see `ai4diag.packaging.evidence.signing`.
        ask: gives the key's password.

    Returns:
        The fingerprint of the key.

    Raises:
        VerifyError: the bundle is not what its manifest says.
        UsageError: something else than a bundle is in its place.
        DataError, MachineError: the key cannot be used.
    """
    verify_bundle(bundle)
    if folder.exists() and not (folder / "metadata.json").is_file():
        raise UsageError(f"{folder} exists and is no bundle.", "Choose another folder.")
    making = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(making, ignore_errors=True)
    try:
        shutil.copytree(bundle, making)
        fingerprint = signing.sign(making, private_key, ask)
        put_folder(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return fingerprint


def verify_bundle(folder: Path, public_key: Path | None = None) -> dict[str, Any]:
    """Check every file of a bundle against its manifest and return the metadata.

    Args:
        folder: the bundle.
        public_key: the bundle must be signed by this key; None: a signature is not looked at.

    Raises:
        VerifyError: a file is missing, changed, extra, or a link; or there is no valid signature of the key.
        DataError: the public key cannot be used.
    """
    if not (folder / "manifest.json").is_file():
        raise VerifyError(f"{folder} is not a bundle: it has no manifest.json.")
    links = [path for path in sorted(folder.rglob("*")) if path.is_symlink()]
    if links:
        raise VerifyError(f"{links[0]} is a link; a bundle holds plain files only.")
    expected, found = _mapping(folder / "manifest.json", "files")["files"], _hashes(folder)
    if not isinstance(expected, dict) or not all(isinstance(value, str) for value in expected.values()):
        raise VerifyError(f"{folder / 'manifest.json'} is malformed.", "Get the bundle again.")
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise VerifyError(f"{folder / name} is missing from the bundle.", "Get the bundle again.")
        if name not in expected:
            raise VerifyError(
                f"{folder / name} is not in the bundle's manifest.", "Remove it, or get the bundle again."
            )
        if found[name] != expected[name]:
            raise VerifyError(
                f"{folder / name} has sha256 {found[name][:12]}..., the manifest says {expected[name][:12]}....",
                "Get the bundle again.",
            )
    if public_key is not None:
        signature = signing.check(folder, public_key)
        if signature.state != "signed":
            raise VerifyError(
                f"{folder}: {signature.reason}.", "Get the bundle, or the right public key, from its owner."
            )
    return _mapping(folder / "metadata.json", "task")


def _mapping(path: Path, key: str) -> dict[str, Any]:
    """Return the content of a JSON file that must be a mapping with this key."""
    try:
        content = read_json(path) if path.is_file() else None
    except (DataError, RecursionError):
        content = None
    if not isinstance(content, dict) or key not in content:
        raise VerifyError(f"{path} is missing or malformed: it has no '{key}'.", "Get the bundle again.")
    return content


def load_bundle(folder: Path, public_key: Path | None = None) -> Learner:
    """Verify a bundle and return its model, ready to predict; arguments and errors as `verify_bundle` has them."""
    return task(verify_bundle(folder, public_key)["task"]).load(folder / "model")


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in files
        if path not in (folder / "manifest.json", folder / signing.SIGNATURE)
    }
