"""The gate: findings that would flatter the test result stop `prepare`, unless the recipe waives them with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ai4diag.config.waive import WAIVABLE, Waiver
from ai4diag.data.problems import stop_on_errors
from ai4diag.types import Finding

SHOWN = 10


def gate(findings: Sequence[Finding], waivers: Sequence[Waiver], what: str) -> list[Finding]:
    """Apply the waivers, gather what is alike, and stop when an error is left.

    Args:
        findings: all that validation noticed. Those about certain cases come one by one, so that one can be waived.
        waivers: of the recipe.
        what: the data set, named in the error.

    Returns:
        The findings: waived errors are warnings that say so, those of one kind are one finding that names the first
        cases and holds all. A waiver that waives nothing is a warning `waiver-unused`.

    Raises:
        DataError: an error is left; all are named.
    """
    used: set[int] = set()
    judged = [_waived(finding, waivers, used) for finding in findings]
    unused = [_unused(waiver) for number, waiver in enumerate(waivers) if number not in used]
    gathered = _gathered([*judged, *unused])
    stop_on_errors(gathered, what)
    return gathered


def _waived(finding: Finding, waivers: Sequence[Waiver], used: set[int]) -> Finding:
    if finding.code not in WAIVABLE:
        return finding
    for number, waiver in enumerate(waivers):
        if waiver.finding == finding.code and _is_there(finding, waiver.where):
            used.add(number)
            if finding.level == "error":
                return replace(finding, level="warning", waived=waiver.reason)
    return finding


def _is_there(finding: Finding, where: str | None) -> bool:
    return where is None or where in finding.cases or finding.where in (where, f"column '{where}'")


def _unused(waiver: Waiver) -> Finding:
    where = f"data.waive, {waiver.finding}" + (f" at {waiver.where}" if waiver.where else "")
    found, expected = "a waiver that waives nothing", "a leak that it lets pass"
    return Finding("warning", "waiver-unused", where, found, expected, "Remove it: the leak is gone, or elsewhere.")


def _gathered(findings: Sequence[Finding]) -> list[Finding]:
    """Join findings that differ in their cases only."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        alike = (finding.level, finding.code, finding.where, finding.expected, finding.cure, finding.waived)
        groups.setdefault(alike if finding.cases else (str(len(groups)),), []).append(finding)
    return [_joined(group) for group in groups.values()]


def _joined(group: Sequence[Finding]) -> Finding:
    first = group[0]
    found = first.found
    if first.cases:
        shown = "; ".join(finding.found for finding in group[:SHOWN])
        more = f"; and {len(group) - SHOWN} more" if len(group) > SHOWN else ""
        found = f"{len(group)} such: {shown}{more}" if len(group) > 1 else shown
    if first.waived:
        found += f"; waived: {first.waived}"
    cases = tuple(dict.fromkeys(case for finding in group for case in finding.cases))
    return replace(first, found=found, cases=cases)
