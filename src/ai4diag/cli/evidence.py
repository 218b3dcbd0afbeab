"""`ai4diag evidence build | verify` and `ai4diag keys make | show`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ai4diag.cli import show
from ai4diag.cli.context import workspace
from ai4diag.errors import MachineError, UsageError, VerifyError

PASSWORD = "AI4DIAG_KEY_PASSWORD"  # noqa: S105 - the name of a variable
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("build")
@click.argument("run", metavar="RUN|PIPELINE")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the pack.")
@click.option("--key", type=FILE, help="Sign with this private key (`ai4diag keys make`).")
@click.option("--supplied", type=FILE, help="YAML with what only people can say: to-supply.yaml, filled in.")
@click.option("--with-pictures", is_flag=True, help="Show cases; their images then leave with the pack.")
def build(run: str, out: Path | None, key: Path | None, supplied: Path | None, with_pictures: bool) -> None:
    """Make what a third party needs to check a run: a folder and a zip.

    RUN is the beginning of a run's id; a pipeline's name stands for its latest run. Cases and patients are replaced by
    numbers; every estimate, the report and the documents regenerate from what is in the pack.
    """
    from ai4diag.pipelines.evidence import build_pack

    here = workspace()
    built = build_pack(here, run, out=out, supplied=supplied, pictures=with_pictures, private_key=key, ask=ask_password)
    click.echo(show.relative(built.folder))
    click.echo(show.relative(built.archive))
    show.message(f"signed by   {built.signed_by}" if built.signed_by else "not signed: give --key (ai4diag keys make)")
    show.message(f"manifest    {built.manifest_sha256}")
    if built.missing:
        show.message(f"to supply   {len(built.missing)} answers only people can give: to-supply.yaml in the pack")
    if with_pictures:
        show.message("pictures    look at every image before the pack leaves: names can be burnt in")


@click.command("verify")
@click.argument("pack", type=click.Path(path_type=Path))
@click.option("--public-key", type=FILE, help="Of whoever vouches for the pack; it must then be signed by this key.")
@show.json_option
def verify(pack: Path, public_key: Path | None, as_json: bool) -> None:
    """Check a pack: is it whole, who signed it, does every number come out again?

    PACK is its folder or its zip. Needs no workspace, no data and no model. Ends with 0 when it holds, with 6 when not.
    """
    import dataclasses

    from ai4diag.packaging.evidence.verify import verify_pack

    verdict = verify_pack(pack, public_key)
    if as_json:
        show.data(dataclasses.asdict(verdict))
    else:
        click.echo(f"{verdict.pipeline or pack.name}, run {verdict.run_id or 'unknown'}")
        for mark, sentences in (("ok", verdict.checked), ("NOT", verdict.problems), ("note", verdict.remarks)):
            for sentence in sentences:
                click.echo(f"  {mark:5} {sentence}")
        if verdict.ok:
            click.echo(
                f"  {'gate':5} The release gate is {'met' if verdict.gate_met else 'not met, or there is none'}."
            )
            click.echo("The pack holds." if verdict.signed_by else "The pack holds; who made it was not checked.")
    if not verdict.ok:
        raise VerifyError(f"The pack does not hold: {len(verdict.problems)} problems.", "Do not rely on it.")


@click.command("make")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the keys.")
@click.option("--password", is_flag=True, help=f"Ask for a password; or set {PASSWORD}.")
def make(out: Path | None, password: bool) -> None:
    """Make a key pair to sign with.

    The private key stays with you; hand the public key to whoever shall check, and tell them its fingerprint by another
    way. Existing keys are never overwritten.
    """
    from ai4diag.packaging.evidence import signing

    folder = out if out is not None else default_folder()
    refuse_repository(folder)
    secret = os.environ.get(PASSWORD, "")
    if password and not secret:
        secret = click.prompt("Password of the new key", hide_input=True, confirmation_prompt=True, err=True)
    fingerprint = signing.make_keys(folder, secret)
    click.echo(f"private key  {folder / signing.PRIVATE}{' (with a password)' if secret else ''}")
    click.echo(f"public key   {folder / signing.PUBLIC}")
    click.echo(f"fingerprint  {fingerprint}")


@click.command("show")
@click.argument("key", required=False, type=FILE)
def show_key(key: Path | None) -> None:
    """Show the fingerprint of a public key, yours when none is named."""
    from ai4diag.packaging.evidence import signing

    path = key if key is not None else default_folder() / signing.PUBLIC
    click.echo(f"public key   {path}")
    click.echo(f"fingerprint  {signing.fingerprint(signing.read_public(path))}")


def default_folder() -> Path:
    """Return the folder of the user's keys."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "ai4diag" / "keys"


def ask_password() -> str:
    """Return the password of a private key: from the environment, else from whoever sits there."""
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    try:
        return str(click.prompt("Password of the key", hide_input=True, err=True))
    except click.Abort:
        raise MachineError("The key has a password, and nobody is there to give it.", f"Set {PASSWORD}.") from None


def refuse_repository(folder: Path) -> None:
    """Refuse a folder whose files git would take in: a private key must not get into a repository."""
    import subprocess

    above = next((path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir()), Path("/"))
    command = ["git", "-C", str(above), "check-ignore", "--quiet", str(folder.absolute() / "ai4diag-private.pem")]
    try:
        answer = subprocess.run(command, capture_output=True, check=False).returncode  # noqa: S603 - no shell
    except FileNotFoundError:
        return
    inside = any((path / ".git").exists() for path in (above, *above.parents))
    if answer == 1 or (answer != 0 and inside):  # not ignored, or git does not say, such as where another owns it
        raise UsageError(
            f"{folder} is in a git repository that would take the key in.", "Choose a folder outside of it: --out DIR"
        )


EVIDENCE = (build, verify)
KEYS = (make, show_key)
