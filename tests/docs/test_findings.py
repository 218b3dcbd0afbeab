"""The page of findings against the source: it names neither more nor less."""

from __future__ import annotations

import ast
import re

from ai4diag.config.waive import WAIVABLE
from tests.conftest import ROOT
from tests.docs.pages import code, tables

PAGE = ROOT / "docs" / "reference" / "findings.md"
MADE = {
    f"{one}-without-{other}"  # image_cases.py and scan_cases.py put these together
    for pair in (("image", "annotation"), ("image", "label-map"))
    for one, other in (pair, pair[::-1])
}


def in_source() -> set[str]:
    """Return all strings that look like a code, of the modules of the data layer that make findings."""
    found = set()
    for path in (ROOT / "src" / "ai4diag" / "data").rglob("*.py"):
        text = path.read_text()
        if "Finding" in text or "Notice" in text:
            words = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
            found |= {word for word in words if isinstance(word, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+", word)}
    return found | MADE | {"unreadable", "saturated"}


def test_every_finding_is_on_the_page_and_no_other():
    documented = [name for row in tables(PAGE) for name in code(row[0])]
    assert len(documented) == len(set(documented))
    assert set(documented) == in_source()


def test_the_page_says_what_can_be_waived():
    assert {code(row[0])[0] for row in tables(PAGE, "Leaks") if row[-1] == "yes"} == set(WAIVABLE)
