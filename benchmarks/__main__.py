"""`python -m benchmarks [NAME...|all] [--json] [--store]`."""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import benchmarks
from ai4diag.files import to_json
from benchmarks import _page

TOPICS = sorted(found.name for found in pkgutil.iter_modules(benchmarks.__path__) if not found.name.startswith("_"))
LIMIT_S = 600
"""Seconds after which a topic is given up."""


def main() -> int:
    """Run the named topics and print their rows; return 1 when a goal is missed or a topic fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*TOPICS, "all", []], help=", ".join(TOPICS))
    parser.add_argument("--json", action="store_true", help="print a list of rows as JSON")
    parser.add_argument("--store", action="store_true", help="keep them in benchmarks/results.json, write the page")
    arguments = parser.parse_args()
    if not arguments.names:
        for name in TOPICS:
            print(f"{name:16} {first_line(name)}")
        return 0
    names = TOPICS if "all" in arguments.names else arguments.names
    found = run(names)
    failed = [name for name in names if found[name] is None]
    rows = [row for name in names for row in found[name] or []]
    if arguments.json:
        print(to_json(rows))
    else:
        print(table(rows))
    if arguments.store:
        _page.store({name: rows for name, rows in found.items() if rows is not None})
    for name in failed:
        print(f"{name} did not come to an end", file=sys.stderr)
    return 1 if failed or any(row["reached"] is False for row in rows) else 0


def first_line(name: str) -> str:
    """Return what a topic is about, without importing it."""
    text = (Path(benchmarks.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")
    return text.removeprefix('"""').splitlines()[0]


def run(names: Sequence[str]) -> dict[str, list[dict[str, Any]] | None]:
    """Return the rows of each topic; of several, each runs in a process of its own, and None stands for a failure."""
    if len(names) == 1:
        return {names[0]: [row.as_dict() for row in import_module(f"benchmarks.{names[0]}").run()]}
    found: dict[str, list[dict[str, Any]] | None] = {}
    for name in names:
        start = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks", name, "--json"]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
            found[name] = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, json.JSONDecodeError):
            found[name] = None
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a table for the terminal."""
    if rows and "covered" in rows[0]:
        return _page.coverage(list(rows))
    lines = [f"{'what':52} {'peer':40} {'ours s':>10} {'peer s':>10} {'ratio':>8} {'goal':>6}"]
    for row in rows:
        verdict = {True: "reached", False: "MISSED", None: "not compared"}[row["reached"]]
        numbers = f"{row['ours_s']:10.5f} {row['peer_s']:10.5f} {row['ratio']:8.2f} {row['goal']:6.2f}"
        lines.append(f"{row['name']:52} {row['peer']:40} {numbers} {verdict}")
    known = {name: number for row in rows for name, number in row["versions"].items()}
    return "\n".join([*lines, ", ".join(f"{name} {number}" for name, number in known.items())])


if __name__ == "__main__":
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    sys.exit(main())
