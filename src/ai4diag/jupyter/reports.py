"""The report of the newest run of a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ai4diag.errors import DataError
from ai4diag.files import read_json, sha256_bytes

RECORDS = "mlruns/records"
"""`ai4diag.pipelines.records.FOLDER`; its module would bring pandas into every Jupyter server. A test compares them."""


def newest(workspace: Path) -> str | None:
    """Return the page of the report that was made last; None when there is none.

    Raises:
        DataError: a record is damaged: it is not JSON, or its report is not the one that was kept.
    """
    records = {path.parent: _facts(path) for path in (workspace / RECORDS).glob("[!.]*/record.json")}
    if not records:
        return None
    folder, facts = max(records.items(), key=lambda item: str(item[1]["created"]))
    path = folder / "report.html"
    content = path.read_bytes() if path.is_file() else b""
    if sha256_bytes(content) != facts["files"].get("report.html"):
        raise DataError(f"{path} is not the report that was kept.", f"Run `ai4diag evaluate {facts['words']}` again.")
    return content.decode("utf-8")


def _facts(path: Path) -> dict[str, Any]:
    facts = read_json(path)
    known = isinstance(facts, dict) and {"created", "words"} <= facts.keys() and isinstance(facts.get("files"), dict)
    if not known:
        raise DataError(f"{path} is not the record of a run.", "Remove its folder, and evaluate the pipeline again.")
    return dict(facts)
