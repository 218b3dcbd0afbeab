"""Keys and signatures: what is signed, by whom, and every way in which it is not."""

from __future__ import annotations

import hashlib
import json
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ai4diag.errors import DataError, MachineError, UsageError, VerifyError
from ai4diag.packaging.evidence import signing
from ai4diag.packaging.evidence.signing import PRIVATE, PUBLIC, SIGNATURE


def no_password():
    raise AssertionError("asked for a password that the key does not have")


@pytest.fixture
def keys(tmp_path):
    signing.make_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "folder"
    (made / "deep").mkdir(parents=True)
    (made / "a.txt").write_text("one")
    (made / "deep" / "b.txt").write_text("two")
    return made


def test_a_private_key_is_for_its_owner_alone_and_the_fingerprint_is_the_hash_of_the_public_file(tmp_path):
    name = signing.make_keys(tmp_path / "new" / "keys")
    made = tmp_path / "new" / "keys"
    assert stat.S_IMODE((made / PRIVATE).stat().st_mode) == 0o600
    assert name == hashlib.sha256((made / PUBLIC).read_bytes()).hexdigest()
    key = serialization.load_pem_private_key((made / PRIVATE).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"


@pytest.mark.parametrize("there", [PRIVATE, PUBLIC])
def test_a_key_is_never_overwritten(tmp_path, there):
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError, match="never overwritten"):
        signing.make_keys(tmp_path)
    assert (tmp_path / there).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_key_signed_is_known_by_it_wherever_the_folder_is(folder, keys, tmp_path):
    name = signing.sign(folder, keys / PRIVATE, no_password)
    assert signing.check(folder, keys / PUBLIC) == signing.Signed("signed", name, name)
    assert signing.check(folder.rename(tmp_path / "elsewhere"), keys / PUBLIC).state == "signed"


def test_without_a_key_a_signature_is_a_claim(folder, keys):
    name = signing.sign(folder, keys / PRIVATE, no_password)
    found = signing.check(folder, None)
    assert (found.state, found.fingerprint, found.claimed) == ("not checked", "", name)


def test_the_signature_of_another_key_is_said_to_be_one(folder, keys, tmp_path):
    signing.make_keys(tmp_path / "other")
    signing.sign(folder, tmp_path / "other" / PRIVATE, no_password)
    found = signing.check(folder, keys / PUBLIC)
    assert found.state == "unknown key"
    assert "unknown key" in found.reason


def test_a_forger_who_claims_the_key_is_found(folder, keys, tmp_path):
    signing.make_keys(tmp_path / "other")
    signing.sign(folder, tmp_path / "other" / PRIVATE, no_password)
    forged = json.loads((folder / SIGNATURE).read_text())
    forged["verificationMaterial"]["publicKey"]["hint"] = signing.fingerprint(signing.read_public(keys / PUBLIC))
    (folder / SIGNATURE).write_text(json.dumps(forged))
    assert signing.check(folder, keys / PUBLIC).state == "invalid"
    del forged["verificationMaterial"]["publicKey"]["hint"]
    (folder / SIGNATURE).write_text(json.dumps(forged))
    assert signing.check(folder, keys / PUBLIC).state == "invalid"


def test_no_signature_is_said_to_be_none(folder, keys):
    assert signing.check(folder, keys / PUBLIC).state == "not signed"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"verificationMaterial": 3}', "\x00"])
def test_a_signature_that_is_none_is_invalid(folder, keys, content):
    (folder / SIGNATURE).write_text(content)
    assert signing.check(folder, keys / PUBLIC).state == "invalid"


def _append(folder):
    (folder / "a.txt").write_text("one!")


def _extra(folder):
    (folder / "c.txt").write_text("")


def _missing(folder):
    (folder / "deep" / "b.txt").unlink()


def _hidden(folder):
    (folder / ".gitignore").write_text("x")


def _link(folder):
    (folder / "deep" / "c.txt").symlink_to("b.txt")


@pytest.mark.parametrize("change", [_append, _extra, _missing, _hidden, _link])
def test_every_change_of_a_signed_folder_is_found(folder, keys, change):
    signing.sign(folder, keys / PRIVATE, no_password)
    change(folder)
    assert signing.check(folder, keys / PUBLIC).state == "invalid"


@pytest.mark.parametrize("change", [_hidden, _link])
def test_what_would_stay_unsigned_is_not_signed(folder, keys, change):
    change(folder)
    with pytest.raises(VerifyError):
        signing.sign(folder, keys / PRIVATE, no_password)


def test_a_key_with_a_password_asks_for_it(folder, tmp_path):
    signing.make_keys(tmp_path / "keys", "correct horse")
    assert b"ENCRYPTED" in (tmp_path / "keys" / PRIVATE).read_bytes()
    signing.sign(folder, tmp_path / "keys" / PRIVATE, lambda: "correct horse")
    assert signing.check(folder, tmp_path / "keys" / PUBLIC).state == "signed"
    for wrong in ("battery", ""):
        with pytest.raises(DataError, match="password"):
            signing.sign(folder, tmp_path / "keys" / PRIVATE, lambda wrong=wrong: wrong)


def test_a_private_key_that_others_can_read_is_refused(folder, keys):
    (keys / PRIVATE).chmod(0o640)
    with pytest.raises(MachineError, match="chmod 600"):
        signing.sign(folder, keys / PRIVATE, no_password)


def test_what_is_no_key_of_the_right_kind_is_refused(keys, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        signing.read_public(tmp_path / "none.pem")
    with pytest.raises(DataError, match="is a private key"):
        signing.read_public(keys / PRIVATE)
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(DataError, match="not a public key"):
        signing.read_public(tmp_path / "text.pem")
    other = rsa.generate_private_key(65537, 2048)
    pem = other.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "rsa.pem").write_bytes(pem)
    with pytest.raises(DataError, match="curves"):
        signing.read_public(tmp_path / "rsa.pem")
