"""Stored measurements, and the page that is made from them: `python -m benchmarks._page` writes docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ai4diag.files import to_json, write_text

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made from `benchmarks/results.json` by `python -m benchmarks._page`. Measured by `python -m benchmarks all --store`,
one topic by `python -m benchmarks NAME`.

Both sides of a row give the same answer, which is checked before anything is timed. They run in one process, in turn,
on one thread unless the row says otherwise; given are medians of CPU seconds, and in brackets the quartiles of the
rounds. The ratio is what counts: absolute times drift with the machine. Rows that miss their goal stay.
"""
GPU_HEAD = "\n## On a GPU\n\nMeasured by `python -m benchmarks gpu --store` where CUDA is present.\n"
GPU = "gpu"
COVERAGE_HEAD = """
## Do the intervals hold what they say?

Measured by `python -m benchmarks coverage --store`: simulated test parts of patients with one to five cases each, whose
cases resemble each other; the true value is known in closed form. Asked is that 95 % intervals hold it in 93 to 97 % of
the simulations; the error behind the figure is that of the simulation. Rows that draw cases instead of patients show
what comes of taking every case for a patient of its own.
"""
COVERAGE = "coverage"


def store(found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Keep the rows of these topics with date and machine, leave those of the others, and write the page."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name, rows in found.items():
        if rows or name != GPU:
            known[name] = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "rows": rows}
    text = to_json({name: known[name] for name in sorted(known)}) + "\n"
    write_text(RESULTS, text)
    write_text(PAGE, page(json.loads(text)))


def machine() -> dict[str, Any]:
    """Return what the measurements ran on, and how busy it was."""
    words = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "processor": words[0] if words else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[2], 1),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return docs/benchmarks.md."""
    parts = [HEAD]
    topics = [(name, results[name]) for name in sorted(results) if name not in (COVERAGE, GPU)]
    parts += [f"\n## {name}\n\n{_measured(topic)}\n\n{_rows(topic['rows'])}" for name, topic in topics]
    if simulated := results.get(COVERAGE):
        parts += [COVERAGE_HEAD, f"\n{_measured(simulated)}\n\n{coverage(simulated['rows'])}"]
    parts.append(GPU_HEAD)
    found = results.get(GPU)
    parts.append(f"\n{_measured(found)}\n\n{_gpu_rows(found['rows'])}" if found else "\nNot measured.\n")
    return "".join(parts)


def _measured(topic: Mapping[str, Any]) -> str:
    where = topic["machine"]
    known = {name: number for row in topic["rows"] for name, number in row["versions"].items()}
    return (
        f"{topic['date']}, {where['processor']}, {where['cores']} cores, {where['system']}, "
        f"load {where['load']} over the last quarter of an hour; Python {where['python']}, "
        f"{', '.join(f'{name} {number}' for name, number in sorted(known.items()))}."
    )


def _rows(rows: list[dict[str, Any]]) -> str:
    lines = ["| what | beside | ours | peer | ratio | goal | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        sides = [_side(row, side) for side in ("ours", "peer")]
        verdict = "reached" if row["reached"] else "**missed**"
        lines.append(
            f"| {row['name']} | {row['peer']} | {sides[0]} | {sides[1]} | {row['ratio']:.3g} | {row['goal']:.3g} | "
            f"{verdict} |"
        )
    notes = [f"- {row['name']}, beside {row['peer']}: {row['note']}\n" for row in rows if row.get("note")]
    return "\n".join(lines) + "\n" + ("\n" + "".join(notes) if notes else "")


def _side(row: Mapping[str, Any], side: str) -> str:
    if row.get(f"{side}_rounds", 1) == 1:
        return _time(row[f"{side}_s"])
    low, high = row[f"{side}_quartiles_s"]
    return f"{_time(row[f'{side}_s'])} ({_time(low)} to {_time(high)})"


def _time(seconds: float) -> str:
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def coverage(rows: list[dict[str, Any]]) -> str:
    """Return how often intervals held the true value, as a table."""
    lines = [
        "| what | method | drawn | held the true value | all below it | all above it | mean width | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    verdicts = {True: "reached", False: "**missed**", None: ""}
    for row in rows:
        held = f"{row['covered']:.1%} ± {row['error']:.1%}"
        beside = f"{row['below']:.1%} | {row['above']:.1%} | {row['width']:.3f}"
        cells = (row["name"], row["method"], f"{row['unit']}s", held, beside, verdicts[row["reached"]])
        lines.append(f"| {' | '.join(cells)} |")
    counts = {(row["simulations"], row["resamples"]) for row in rows}
    return "\n".join([*lines, "", *(f"{s:,} simulations, {r:,} resamples each." for s, r in sorted(counts))]) + "\n"


def _gpu_rows(rows: list[dict[str, Any]]) -> str:
    lines = ["| what | card | images/s | busy | MONAI images/s | ratio | goal |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        compared = row["ratio"] is not None
        rate, ratio = (f"{row['peer_images_per_s']:,.0f}", f"{row['ratio']:.2f}") if compared else ("not compared", "")
        goal = f"{row['goal']:.3g}" if compared else ""
        cells = (row["name"], row["device"], f"{row['images_per_s']:,.0f}", f"{row['busy']:.0%}", rate, ratio, goal)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(PAGE, page(json.loads(RESULTS.read_text(encoding="utf-8"))))
