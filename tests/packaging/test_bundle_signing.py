"""Signed bundles: whose they are, and what is refused."""

from __future__ import annotations

import shutil

import pytest

from ai4diag.errors import DataError, UsageError, VerifyError
from ai4diag.files import sha256_file, write_json
from ai4diag.packaging.bundle import sign_bundle, verify_bundle, write_bundle
from ai4diag.packaging.evidence import signing
from ai4diag.packaging.evidence.signing import PRIVATE, PUBLIC, SIGNATURE


@pytest.fixture
def bundle(tmp_path):
    """A bundle of a model of a few bytes."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "README.md").write_text("# toy\n")
    (tmp_path / "estimates.json").write_text("[]")
    folder = tmp_path / "bundle"
    write_bundle(
        folder,
        model=tmp_path / "model",
        readme=tmp_path / "README.md",
        estimates=tmp_path / "estimates.json",
        metadata={"task": "tabular"},
    )
    return folder


@pytest.fixture
def keys(tmp_path):
    for name in ("mine", "other"):
        signing.make_keys(tmp_path / name)
    return tmp_path


def sign(bundle, keys, folder="signed"):
    return sign_bundle(bundle, keys / folder, keys / "mine" / PRIVATE, lambda: "")


def test_a_signed_copy_is_that_of_its_key_and_the_bundle_stays_as_it_was(bundle, keys):
    before = {path: sha256_file(path) for path in bundle.rglob("*") if path.is_file()}
    name = sign(bundle, keys)
    assert name == signing.fingerprint(signing.read_public(keys / "mine" / PUBLIC))
    assert {path: sha256_file(path) for path in bundle.rglob("*") if path.is_file()} == before
    assert verify_bundle(keys / "signed", keys / "mine" / PUBLIC)["task"] == "tabular"
    assert verify_bundle(keys / "signed")["task"] == "tabular"
    sign(bundle, keys)  # again, in its place
    assert verify_bundle(keys / "signed", keys / "mine" / PUBLIC)["task"] == "tabular"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", '{"files": [1]}'),
        ("manifest.json", '{"files": {"README.md": 3}}'),
        ("manifest.json", "{}"),
        ("manifest.json", '"text"'),
        ("manifest.json", "[" * 100_000),
        ("metadata.json", "{}"),
        ("metadata.json", "[]"),
        ("metadata.json", None),
    ],
)
def test_a_malformed_bundle_is_refused_with_a_reason(bundle, name, content):
    if content is None:
        (bundle / name).unlink()
    else:
        (bundle / name).write_text(content)
    if name != "manifest.json":
        files = {str(path.relative_to(bundle)): sha256_file(path) for path in bundle.rglob("*") if path.is_file()}
        files.pop("manifest.json")
        write_json(bundle / "manifest.json", {"format": 1, "files": files})
    with pytest.raises(VerifyError, match="malformed"):
        verify_bundle(bundle)


def test_a_bundle_that_is_not_signed_or_by_another_key_is_refused_when_a_key_is_given(bundle, keys):
    with pytest.raises(VerifyError, match="not signed"):
        verify_bundle(bundle, keys / "mine" / PUBLIC)
    sign(bundle, keys)
    with pytest.raises(VerifyError, match="unknown key"):
        verify_bundle(keys / "signed", keys / "other" / PUBLIC)
    with pytest.raises(DataError, match="does not exist"):
        verify_bundle(keys / "signed", keys / "none.pem")


def test_other_weights_with_a_manifest_made_anew_are_found(bundle, keys, tmp_path):
    """What a forger without the key can do: everything but the signature fits."""
    sign(bundle, keys)
    shutil.copyfile(keys / "signed" / SIGNATURE, tmp_path / "kept.json")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"poison!")
    write_bundle(
        keys / "signed",
        model=tmp_path / "model",
        readme=tmp_path / "README.md",
        estimates=tmp_path / "estimates.json",
        metadata={"task": "tabular"},
    )
    shutil.copyfile(tmp_path / "kept.json", keys / "signed" / SIGNATURE)
    assert verify_bundle(keys / "signed")["task"] == "tabular"
    with pytest.raises(VerifyError, match="does not hold"):
        verify_bundle(keys / "signed", keys / "mine" / PUBLIC)


def test_a_damaged_bundle_is_not_signed(bundle, keys):
    (bundle / "README.md").write_text("# changed\n")
    with pytest.raises(VerifyError, match=r"README\.md"):
        sign(bundle, keys)
    assert not (keys / "signed").exists()


def test_what_is_no_bundle_is_not_replaced(bundle, keys):
    (keys / "signed").mkdir()
    (keys / "signed" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is no bundle"):
        sign(bundle, keys)
    assert (keys / "signed" / "thesis.txt").read_text() == "years of work"
