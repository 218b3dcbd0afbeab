"""What a verification found, kept with the run in MLflow: three tags and `verification.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ai4diag.files import to_json
from ai4diag.tracking.record import PREFIX
from ai4diag.tracking.store import brief, connect, locate, quietly

FILE = "verification.json"


def keep_verdict(workspace: Path, run_id: str, verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Keep the verdicts of a run with it; say what became of them, one line.

    The tags `ai4diag.verified`, `ai4diag.verified_at` and `ai4diag.verified_commit` are those of the newest verdict.

    Args:
        workspace: the folder with `mlruns/`.
        run_id: MLflow's id of the run.
        verdicts: all that were found, newest last.
    """
    store = locate(workspace)
    newest = verdicts[-1]
    tags = {"verified": newest["verdict"], "verified_at": newest["when"], "verified_commit": newest["commit"]}
    try:
        with quietly():
            from mlflow.entities import RunTag

            client = connect(store)
            client.log_batch(run_id, tags=[RunTag(f"{PREFIX}{name}", str(value)) for name, value in tags.items()])
            client.log_text(run_id, to_json(list(verdicts)) + "\n", FILE)
    except Exception as error:  # whatever MLflow, a database driver or the network raise
        return f"not in {store} ({brief(error)})"
    return f"in {store}"
