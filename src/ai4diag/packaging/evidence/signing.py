"""Keys and signatures: who says that a folder is as it is. OpenSSF model-signing with an elliptic-curve key, offline.

A key pair is two PEM files. The private one signs and never leaves its owner; the public one is handed to whoever shall
check. A key is called by its fingerprint: the SHA-256 of the public PEM file, as model-signing calls it too. No
certificate says to whom a key belongs: learn the fingerprint from its owner, not from the folder that it signed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai4diag.errors import DataError, MachineError, UsageError, VerifyError
from ai4diag.files import write_new

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

PRIVATE, PUBLIC = "ai4diag-private.pem", "ai4diag-public.pem"
SIGNATURE = "signature.json"
CURVES = ("secp256r1", "secp384r1", "secp521r1")
LONGEST_KEY = 64 * 1024
"""Bytes; no PEM file of a key is longer."""
Ask = Callable[[], str]
"""Gives the password of a private key; asked only where there is one."""


@dataclass(frozen=True)
class Signed:
    """What a signature turned out to be.

    Attributes:
        state: `signed` by the key, `not signed`, `unknown key`, `invalid` (the key is right, the content is not, or the
            signature cannot be read), or `not checked` (no key was given).
        fingerprint: of the key that signed; only where that was proven.
        claimed: fingerprint that the signature names; a claim, as long as no key proved it.
        reason: why it is not `signed`, in words.
    """

    state: str
    fingerprint: str = ""
    claimed: str = ""
    reason: str = ""


def make_keys(folder: Path, password: str = "") -> str:
    """Write a new key pair (curve P-256) and return its fingerprint.

    Args:
        folder: where `ai4diag-private.pem` (mode 0600) and `ai4diag-public.pem` are written.
        password: encrypts the private key; empty: it is not encrypted.

    Raises:
        UsageError: there is a key already; it is never overwritten.
        MachineError: the folder cannot be written to.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    for name in (PRIVATE, PUBLIC):
        if (folder / name).exists() or (folder / name).is_symlink():
            raise UsageError(
                f"{folder / name} exists already, and a key is never overwritten.",
                "Choose another folder: ai4diag keys make --out DIR",
            )
    key = ec.generate_private_key(ec.SECP256R1())
    secret = (
        serialization.BestAvailableEncryption(password.encode("utf-8")) if password else serialization.NoEncryption()
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_new(folder / PRIVATE, private, 0o600)
        write_new(folder / PUBLIC, _pem(key.public_key()), 0o644)
    except OSError as error:
        raise MachineError(
            f"Cannot write keys to {folder}: {error.strerror or error}.", "Choose another folder with --out."
        ) from None
    return fingerprint(key.public_key())


def fingerprint(key: EllipticCurvePublicKey) -> str:
    """Return what a key is called: the SHA-256 of its public PEM, in hexadecimal."""
    return hashlib.sha256(_pem(key)).hexdigest()


def _pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_public(path: Path) -> EllipticCurvePublicKey:
    """Read a public key.

    Raises:
        DataError: there is none, or it is no elliptic-curve key that model-signing knows.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = _read(path)
    if b"PRIVATE KEY" in content:
        raise DataError(f"{path} is a private key; whoever checks needs the public one.", f"Give {PUBLIC} instead.")
    try:
        key = serialization.load_pem_public_key(content)
    except Exception as error:
        raise DataError(
            f"{path} is not a public key in PEM form ({type(error).__name__}).", f"Give the owner's {PUBLIC}."
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise DataError(f"{path} is not a key on one of the curves {', '.join(CURVES)}.", "Make one: ai4diag keys make")
    return key


def read_private(path: Path, ask: Ask) -> tuple[EllipticCurvePrivateKey, bytes | None]:
    """Read a private key; return it with its password, which is asked for only where there is one.

    Raises:
        DataError: there is none, the password is wrong, or it is no elliptic-curve key that model-signing knows.
        MachineError: others may read it.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    content = _read(path)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise MachineError(f"{path} can be read by others; a private key must not.", f"Run: chmod 600 {path}")
    password = ask().encode("utf-8") if b"ENCRYPTED" in content else None
    try:
        key = serialization.load_pem_private_key(content, password)
    except ValueError as error:
        wrong = "its password is wrong, or it is damaged" if password is not None else f"{error}"
        raise DataError(f"{path} cannot be read as a private key: {wrong}.", "Try again.") from None
    except TypeError:
        raise DataError(f"{path} needs its password.", "Give it when asked, or in AI4DIAG_KEY_PASSWORD.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise DataError(f"{path} is not a key on one of the curves {', '.join(CURVES)}.", "Make one: ai4diag keys make")
    return key, password


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path} does not exist.", "Make a key pair: ai4diag keys make")
    with path.open("rb") as stream:
        return stream.read(LONGEST_KEY)


def sign(folder: Path, private_key: Path, ask: Ask) -> str:
    """Sign every file of a folder into `signature.json` in it; return the fingerprint of the key.

    Raises:
        VerifyError: the folder holds a link, or a name that begins with `.git`.
        DataError, MachineError: the key cannot be used.
    """
    from model_signing import signing

    refuse_unsignable(folder)
    key, password = read_private(private_key, ask)
    config: Any = signing.Config()  # type: ignore[no-untyped-call]
    config.use_elliptic_key_signer(private_key=private_key, password=password)
    (folder / SIGNATURE).unlink(missing_ok=True)
    config.set_hashing_config(_hashing()).sign(folder, folder / SIGNATURE)
    return fingerprint(key.public_key())


def check(folder: Path, public_key: Path | None) -> Signed:
    """Return what the signature of a folder is worth.

    Args:
        folder: what was signed; `signature.json` in it is the signature.
        public_key: the key that is trusted; None: nothing can be proven.

    Raises:
        DataError: the public key itself cannot be used.
    """
    from model_signing import verifying

    trusted = fingerprint(read_public(public_key)) if public_key is not None else ""
    if not (folder / SIGNATURE).is_file():
        return Signed("not signed", reason="not signed")
    claimed = _claimed(folder / SIGNATURE)
    if public_key is None:
        return Signed("not checked", claimed=claimed, reason="signed, but not checked: no public key was given")
    if claimed and claimed != trusted:
        reason = f"signed by an unknown key, which calls itself {claimed[:16]}..., not by {trusted[:16]}..."
        return Signed("unknown key", claimed=claimed, reason=reason)
    try:
        refuse_unsignable(folder)
        config: Any = verifying.Config()  # type: ignore[no-untyped-call]
        config.use_elliptic_key_verifier(public_key=public_key)
        config.set_hashing_config(_hashing()).verify(folder, folder / SIGNATURE)
    except VerifyError as error:
        return Signed("invalid", claimed=claimed, reason=error.message)
    except Exception as error:  # the library raises whatever a malformed signature runs into
        return Signed("invalid", claimed=claimed, reason=f"the signature does not hold: {_short(error)}")
    return Signed("signed", fingerprint=trusted, claimed=claimed)


def refuse_unsignable(folder: Path) -> None:
    """Refuse links, and names that begin with `.git`, which model-signing leaves out of what it signs.

    Raises:
        VerifyError: there is one.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise VerifyError(f"{name} is a link; what is signed holds plain files only.")
        if path.name.lower().startswith(".git"):
            raise VerifyError(f"{name}: names that begin with .git would stay unsigned, and are refused.")


def _hashing() -> Any:
    from model_signing import hashing

    config: Any = hashing.Config()  # type: ignore[no-untyped-call]
    return config.set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _claimed(path: Path) -> str:
    """Return the fingerprint that a signature names; empty when it names none."""
    try:
        hint = json.loads(path.read_bytes())["verificationMaterial"]["publicKey"]["hint"]
    except (ValueError, KeyError, TypeError):
        return ""
    is_hash = isinstance(hint, str) and len(hint) == 64 and set(hint) <= set("0123456789abcdef")
    return hint if is_hash else ""


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (text[:200] + "..." if len(text) > 200 else text) or type(error).__name__
