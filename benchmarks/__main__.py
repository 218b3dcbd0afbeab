"""`python -m benchmarks [NAME...] [--json]`."""

from __future__ import annotations

import argparse
import json
import pkgutil
import sys
from importlib import import_module

import benchmarks

KNOWN = sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name != "__main__")


def main() -> int:
    """Run the named benchmarks and print their rows; return 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*KNOWN, []], help=", ".join(KNOWN))
    parser.add_argument("--json", action="store_true", help="print a list of rows as JSON")
    arguments = parser.parse_args()
    if not arguments.names:
        for name in KNOWN:
            print(f"{name:16} {(import_module(f'benchmarks.{name}').__doc__ or '').splitlines()[0]}")
        return 0
    rows = [row.as_dict() for name in arguments.names for row in import_module(f"benchmarks.{name}").run()]
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"{'what':44} {'peer':36} {'ours s':>9} {'peer s':>9} {'ratio':>8} {'goal':>6}")
        for row in rows:
            verdict = "reached" if row["reached"] else "MISSED"
            numbers = f"{row['ours_s']:9.4f} {row['peer_s']:9.4f} {row['ratio']:8.3f} {row['goal']:6.2f}"
            print(f"{row['name']:44} {row['peer']:36} {numbers} {verdict}")
        print(", ".join(f"{name} {number}" for name, number in rows[0]["versions"].items()))
    return 0 if all(row["reached"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
