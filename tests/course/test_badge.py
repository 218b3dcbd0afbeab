"""A badge holds with the issuer's key, and with nothing else."""

from __future__ import annotations

import base64
import json
import re

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from ai4diag.course import badge
from ai4diag.course.lesson import in_notebook, notebooks
from ai4diag.errors import DataError, UsageError, VerifyError
from tests.conftest import ROOT


@pytest.fixture
def keys(tmp_path):
    """A key pair."""
    return badge.make_keys(tmp_path / "keys")


@pytest.fixture(scope="module")
def completed():
    """The first lesson, completed."""
    header = in_notebook(notebooks(ROOT)["m01"])
    return [badge.Completed(header, "0" * 64, ("m01.change", "m01.quiz"))]


@pytest.fixture
def picture(tmp_path, keys, completed):
    """A badge of it."""
    path = tmp_path / "badge.svg"
    path.write_bytes(badge.issue("Explorer", completed, learner="Ada <Example>", issuer="Hospital & Co", key=keys[0]))
    return path


def token(picture):
    """The signed token inside a badge."""
    return re.search(r'verify="([^"]+)"', picture.read_text()).group(1)


def test_it_says_who_completed_what(picture, keys, completed):
    said = badge.verify(picture, keys[1])
    assert (said.name, said.learner, said.issuer) == ("ai4diag Explorer: completed", "Ada <Example>", "Hospital & Co")
    assert completed[0].lesson.title in said.description
    assert f"{completed[0].lesson.minutes / 60:.1f} hours" in said.description


def test_another_library_verifies_the_signature(picture, keys):
    key = load_pem_public_key(keys[1].read_bytes())
    payload = jwt.decode(token(picture), key, algorithms=["EdDSA"])
    assert payload["type"] == ["VerifiableCredential", "OpenBadgeCredential"]
    assert payload["credentialSubject"]["achievement"]["name"].endswith("completed")
    assert jwt.get_unverified_header(token(picture))["alg"] == "EdDSA"


def test_it_never_says_certified(picture):
    payload = token(picture).split(".")[1]
    text = base64.urlsafe_b64decode(payload + "==").decode() + picture.read_text()
    assert "completed" in text
    assert not re.search(r"certif|complian", text.lower().replace("http://www.w3.org", ""))


def test_a_changed_name_is_noticed(picture, keys):
    head, payload, signature = token(picture).split(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=="))
    content["credentialSubject"]["identifier"][0]["identityHash"] = "Eve"
    forged = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    picture.write_text(picture.read_text().replace(f"{head}.{payload}.{signature}", f"{head}.{forged}.{signature}"))
    with pytest.raises(VerifyError, match="does not hold"):
        badge.verify(picture, keys[1])


def test_another_key_does_not_fit(picture, tmp_path):
    _, other = badge.make_keys(tmp_path / "other")
    with pytest.raises(VerifyError, match="does not hold"):
        badge.verify(picture, other)


def test_a_token_without_a_signature_is_refused(picture, keys):
    payload = token(picture).split(".")[1]
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    picture.write_text(picture.read_text().replace(token(picture), f"{head}.{payload}."))
    with pytest.raises(VerifyError):
        badge.verify(picture, keys[1])


def test_a_picture_without_a_badge_is_refused(tmp_path, keys):
    path = tmp_path / "plain.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    with pytest.raises(VerifyError, match="No openbadges"):
        badge.verify(path, keys[1])


def test_keys_are_never_overwritten_and_private(keys):
    assert keys[0].stat().st_mode & 0o077 == 0
    with pytest.raises(UsageError, match="never overwritten"):
        badge.make_keys(keys[0].parent)


def test_a_wrong_key_is_named(tmp_path, completed, keys):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no key")
    with pytest.raises(DataError, match=r"wrong\.pem"):
        badge.issue("Explorer", completed, learner="Ada", issuer="X", key=wrong)
    with pytest.raises(DataError, match=r"absent\.pem"):
        badge.verify(wrong, tmp_path / "absent.pem")


def test_nobody_gets_a_badge_without_lessons(keys):
    with pytest.raises(UsageError, match="completed lessons"):
        badge.issue("Explorer", [], learner="Ada", issuer="X", key=keys[0])


def test_a_name_that_would_do_something_to_a_terminal_is_refused(completed, keys):
    with pytest.raises(UsageError, match="cannot be shown"):
        badge.issue("Explorer", completed, learner="Ada\x1b[2J", issuer="X", key=keys[0])


@pytest.mark.parametrize("text", [b"", b"<svg", b"\xff\xfe", b'<svg xmlns="http://www.w3.org/2000/svg"><a>'])
def test_a_file_that_is_no_picture_is_refused(text, tmp_path, keys):
    path = tmp_path / "broken.svg"
    path.write_bytes(text)
    with pytest.raises((VerifyError, DataError), match="broken"):
        badge.verify(path, keys[1])
