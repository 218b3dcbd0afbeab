"""Install a course pack without a network: `python3 install.py`, beside the folders `wheels` and `classroom`.

It needs nothing but Python and its standard library, and is copied into every pack.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Verify the pack, make `.venv` and install the wheels; return the exit code."""
    pack = json.loads((HERE / "pack.json").read_text(encoding="utf-8"))
    mine = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "platform": sysconfig.get_platform()}
    if mine != pack["made_on"]:
        print(f"error: this pack is for {pack['made_on']}, this is {mine}.", file=sys.stderr)
        print("       Start it with a Python of that version, or make a pack on such a machine.", file=sys.stderr)
        return 7
    sums = _sums()
    wheels = {path.relative_to(HERE).as_posix() for path in HERE.glob("wheels/*")}
    wrong = [path for path, digest in sums.items() if not _is(HERE / path, digest)] + sorted(wheels - set(sums))
    if wrong or not sums:
        first = wrong[0] if wrong else "SHA256SUMS"  # without it nothing is known
        print(f"error: {max(1, len(wrong))} files are missing, damaged or foreign, first {first}.", file=sys.stderr)
        print("       Copy the pack again.", file=sys.stderr)
        return 4
    folder = HERE / ".venv"
    print("making .venv ...", flush=True)
    done = subprocess.run([sys.executable, "-m", "venv", str(folder)])  # noqa: S603 - our own interpreter
    if done.returncode:
        print("error: no virtual environment could be made.", file=sys.stderr)
        print("       On Debian and Ubuntu it needs the package python3-venv; else check free disk.", file=sys.stderr)
        return 7
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    command = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    print(f"installing {pack['wheels']} packages ...", flush=True)
    done = subprocess.run([*command, "--find-links", str(HERE / "wheels"), "ai4diag[lab]"])  # noqa: S603
    if done.returncode:
        print("error: pip could not install the packages; it says why above.", file=sys.stderr)
        print("       Remove the folder .venv and start again.", file=sys.stderr)
        return 7
    print(f"done. Now: cd {HERE / 'classroom'} && {binaries / 'ai4diag'} lab")
    return 0


def _sums() -> dict[str, str]:
    path = HERE / "SHA256SUMS"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {line[66:]: line[:64] for line in lines}


def _is(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest() == digest


if __name__ == "__main__":
    sys.exit(main())
