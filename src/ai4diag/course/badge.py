"""Badges: a signed statement that somebody completed the lessons of Explorer, Builder or Steward.

Open Badges 3.0 (1EdTech), a verifiable credential as a signed token (JWT, Ed25519), kept inside an SVG picture and
checked offline with the issuer's public key. It names the elements of the Council Recommendation on micro-credentials
(2022/C 243/02, Annex I), and says "not stated" where nobody knows, such as the level of the European Qualifications
Framework, which only an authority can set. A badge says "completed".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai4diag import __version__
from ai4diag.course.lesson import Badge, Lesson
from ai4diag.errors import DataError, MachineError, UsageError, VerifyError
from ai4diag.files import sha256_json, write_new

if TYPE_CHECKING:
    from openbadgeslib.ob3 import OpenBadgeCredential

PRIVATE, PUBLIC = "ai4diag-badge-private.pem", "ai4diag-badge-public.pem"
LARGEST = 1_000_000
"""Bytes; no badge or key is larger."""
ASSESSMENT = (
    "Each exercise was run anew in a process of its own, without a network, on cases drawn for this check, and its "
    "answers were judged outside of it. Nobody watched the learner: it is no examination."
)
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Completed:
    """A lesson whose notebook was checked, every exercise solved.

    Attributes:
        lesson: its header.
        notebook_sha256: of the file that was checked.
        exercises: ids of its exercises, all solved.
    """

    lesson: Lesson
    notebook_sha256: str
    exercises: tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """What a badge says, once its signature was found to be right.

    Attributes:
        name: of the badge.
        learner: who completed it.
        issuer: who says so.
        issued: when, ISO 8601.
        description: workload and lessons.
        evidence: hash of what was checked.
    """

    name: str
    learner: str
    issuer: str
    issued: str
    description: str
    evidence: str


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Write an Ed25519 key pair; return the private and the public file.

    Raises:
        UsageError: there is one already; it is never overwritten.
        MachineError: the folder cannot be written to.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = folder / PRIVATE, folder / PUBLIC
    taken = next((path for path in (private, public) if path.exists()), None)
    if taken:
        raise UsageError(f"{taken} exists; keys are never overwritten.", "Choose another folder: --out DIR")
    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    shown = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_new(private, secret, 0o600)
        write_new(public, shown, 0o644)
    except OSError as error:
        raise MachineError(f"{folder} cannot be written: {error.strerror}.", "Choose another folder.") from None
    return private, public


def issue(
    badge: Badge,
    completed: Sequence[Completed],
    *,
    learner: str,
    issuer: str,
    key: Path,
    country: str = NOT_STATED,
    now: datetime | None = None,
) -> bytes:
    """Return a signed badge as SVG.

    Args:
        badge: which one.
        completed: all lessons that count for it.
        learner: the learner's name, as it shall stand there.
        issuer: the organisation's name.
        country: the organisation's country.
        key: its private key (Ed25519, PEM).
        now: date of issue.

    Raises:
        UsageError: a name is empty or cannot be shown; no lesson was completed.
        DataError: the key cannot be read.
    """
    ob3 = _library()
    if not completed or not learner.strip() or not issuer.strip():
        raise UsageError("A badge needs completed lessons, a learner's name and an issuer's name.", "Give all three.")
    if not f"{learner}{issuer}{country}".isprintable():
        raise UsageError("A name has a character that cannot be shown.", "Type it anew.")
    secret = _read(key, "key")
    signer = _explained(key, lambda: ob3.OB3Signer(secret, algorithm="EdDSA"))
    did = _explained(key, lambda: ob3.did_key_from_pem(_public_of(secret)))
    minutes = sum(item.lesson.minutes for item in completed)
    outcomes = "\n".join(f"- {text}" for item in completed for text in item.lesson.objectives)
    lessons = "\n".join(
        f"- {item.lesson.id} {item.lesson.title}: {len(item.exercises)} exercises" for item in completed
    )
    checked = sha256_json([[item.lesson.id, item.notebook_sha256, list(item.exercises)] for item in completed])
    achievement = ob3.Achievement(
        id=f"urn:ai4diag:badge:{badge.lower()}",
        name=f"ai4diag {badge}: completed",
        description=f"Completed {len(completed)} lessons, {minutes / 60:.1f} hours of workload:\n{lessons}",
        criteria_narrative=f"The learner can\n{outcomes}\n\n{_circumstances(country)}",
        achievement_type="Badge",
    )
    credential = ob3.OpenBadgeCredential(
        issuer=ob3.Issuer(id=did, name=issuer.strip()),
        recipient_id=None,
        identifiers=[ob3.IdentityObject(identity_hash=learner.strip(), identity_type="name", hashed=False)],
        achievement=achievement,
        issuance_date=now or datetime.now(UTC),
        evidence=[ob3.Evidence(name=f"sha256:{checked}", narrative=f"Checked with ai4diag {__version__}.")],
    )
    picture = _picture(badge, learner.strip(), issuer.strip(), credential.issuance_date)
    return bytes(_explained(key, lambda: signer.sign_into_svg(credential, picture)))


def verify(path: Path, public_key: Path) -> Said:
    """Check a badge with the issuer's public key, offline; return what it says.

    Raises:
        VerifyError: it is no badge, was changed, or is signed by another key.
        DataError: a file cannot be read.
    """
    ob3 = _library()
    from openbadgeslib.errors import LibOpenBadgesException

    picture, shown = _read(path, "badge"), _read(public_key, "key")
    verifier = _explained(public_key, lambda: ob3.OB3Verifier(shown))
    try:
        credential: OpenBadgeCredential = verifier.verify(verifier.extract_token_from_svg(picture))
        issuer = _explained(public_key, lambda: ob3.did_key_from_pem(shown))
        if credential.issuer.id != issuer:
            raise VerifyError(f"{path} names the issuer {credential.issuer.id}, the key is of {issuer}.", "Reject it.")
    except (LibOpenBadgesException, ob3.OB3VerificationError) as error:
        raise VerifyError(f"{path} does not hold: {error}", "Reject it, or ask the issuer for the right key.") from None
    names = [item.identity_hash for item in credential.identifiers if item.identity_type == "name"]
    return Said(
        credential.achievement.name,
        ", ".join(names),
        credential.issuer.name,
        credential.issuance_date.isoformat() if credential.issuance_date else "",
        credential.achievement.description,
        ", ".join(item.name or "" for item in credential.evidence),
    )


def _circumstances(country: str) -> str:
    """Return what the Council Recommendation asks for beside outcomes and workload."""
    elements = {
        "Country of the issuer": country,
        "Level (EQF)": NOT_STATED,
        "Type of assessment": ASSESSMENT,
        "Form of participation": "notebooks, in class or alone",
        "Quality assurance": f"the automatic tests of the lessons; beyond them {NOT_STATED}",
    }
    return "\n".join(f"{name}: {text}" for name, text in elements.items())


def _picture(badge: str, learner: str, issuer: str, issued: datetime | None) -> bytes:
    """Return the badge as people see it; what counts is the signed credential inside."""
    day = f"{issued:%Y-%m-%d}" if issued else ""
    lines = [
        ("ai4diag", 34, 96),
        (badge, 46, 160),
        ("completed", 26, 204),
        (learner, 24, 262),
        (f"{issuer}, {day}", 18, 296),
    ]
    text = "".join(
        f'<text x="200" y="{y}" font-size="{size}" text-anchor="middle" textLength="{min(340, len(line) * size)}" '
        f'lengthAdjust="spacingAndGlyphs">{escape(line)}</text>'
        if len(line) * size * 0.6 > 340
        else f'<text x="200" y="{y}" font-size="{size}" text-anchor="middle">{escape(line)}</text>'
        for line, size, y in lines
    )
    title = escape(f"ai4diag {badge}, completed by {learner}; issued by {issuer}, {day}")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 360" role="img" aria-labelledby="t">'
        f'<title id="t">{title}</title><rect x="6" y="6" width="388" height="348" rx="28" fill="#ffffff" '
        f'stroke="#1f4e79" stroke-width="8"/><g font-family="sans-serif" fill="#1b1b1b">{text}</g></svg>'
    ).encode()


def _library() -> Any:
    try:
        from openbadgeslib import ob3
    except ImportError:
        raise MachineError("Badges need openbadgeslib.", 'Install it: pip install "ai4diag[badge]"') from None
    return ob3


def _public_of(secret: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(secret, password=None)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _explained(path: Path, call: Any) -> Any:
    """Call something that reads a key; what is wrong with it is the file's fault."""
    from openbadgeslib.errors import LibOpenBadgesException
    from openbadgeslib.ob3 import OB3VerificationError

    try:
        return call()
    except (ValueError, TypeError, LibOpenBadgesException, OB3VerificationError) as error:
        raise DataError(f"{path} is no Ed25519 key in PEM: {error}", "Make one: ai4diag course badge keys") from None


def _read(path: Path, what: str) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{path} is too large for a {what}.", f"Name the {what}'s file.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", f"Name the {what}'s file.") from None
