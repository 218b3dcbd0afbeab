import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ai4diag.errors import MachineError, UsageError
from ai4diag.tracking import track
from ai4diag.tracking.query import compare_runs, list_runs, show_run
from ai4diag.tracking.reader import from_client, from_database
from ai4diag.tracking.store import locate
from ai4diag.types import Estimate
from tests.tracking.conftest import RECIPE, Begin, epochs

AUROC = Estimate("auroc", 0.99, 0.98, 0.999, 114, 110)
BRIER = Estimate("brier", 0.03, float("nan"), float("nan"), 114, 110)
SITE = Estimate("auroc", 0.7, 0.6, 0.8, 40, 40, subgroup="site=va")


@pytest.fixture
def three_runs(begin: Begin) -> list[str]:
    """A finished run with estimates; one of another pipeline that failed; one of the first with other settings."""
    with begin() as first:
        epochs(first, range(1, 4), 3)
        first.estimates([AUROC, BRIER, SITE])
    second = begin("heart-disease")
    second.finish("FAILED")
    changed = {**RECIPE, "train": {**RECIPE["train"], "epochs": 9}}
    with begin(recipe=changed, variant="quick", data_sha256="e" * 64) as third:
        third.estimates([Estimate("auroc", 0.95, 0.9, 0.97, 114, 110)])
    return [first.run_id, second.run_id, third.run_id]


def test_runs_are_listed_newest_first_with_their_headline(workspace: Path, three_runs: list[str]) -> None:
    found = list_runs(workspace)
    assert [run.run_id for run in found] == three_runs[::-1]
    third, second, first = found
    assert first.headline == AUROC
    assert str(first.headline) == "auroc 0.990 [0.980, 0.999] (n = 114, patients = 110)"
    assert second.headline is None
    assert [run.status for run in found] == ["FINISHED", "FAILED", "FINISHED"]
    assert [run.pipeline for run in found] == ["breast-mass", "heart-disease", "breast-mass"]
    assert (third.variant, first.variant) == ("quick", "full")
    assert first.commit.startswith("none")
    assert first.dirty is None
    assert 0 <= first.seconds < 60
    assert abs(first.started - datetime.now(UTC)) < timedelta(minutes=2)


def test_a_list_can_be_of_one_pipeline_and_of_some_length(workspace: Path, three_runs: list[str]) -> None:
    assert [run.run_id for run in list_runs(workspace, "heart-disease")] == [three_runs[1]]
    assert [run.run_id for run in list_runs(workspace, limit=1)] == [three_runs[2]]
    assert list_runs(workspace, "no-such-pipeline") == []


def test_a_listed_killed_run_is_not_running(workspace: Path, killed_run: str) -> None:
    assert [(run.run_id, run.status) for run in list_runs(workspace)] == [(killed_run, "KILLED")]


def test_without_a_store_there_are_no_runs_and_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert list_runs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_found_by_the_beginning_of_its_id(workspace: Path, three_runs: list[str]) -> None:
    run = show_run(workspace, three_runs[0][:10])
    assert run.run_id == three_runs[0]
    assert set(run.estimates) == {"auroc", "brier"}
    assert run.params["train.epochs"] == "3"
    assert run.tags["data_sha256"] == "d" * 64
    assert show_run(workspace, three_runs[0]).as_dict()["headline"]["low"] == 0.98


@pytest.mark.parametrize(("run_id", "says"), [("abc", "too short"), ("ffff_no", "no run"), ("%%%%", "no run")])
def test_an_id_that_fits_no_run_is_an_error(workspace: Path, three_runs: list[str], run_id: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        show_run(workspace, run_id)


def test_a_comparison_shows_what_differs(workspace: Path, three_runs: list[str]) -> None:
    found = compare_runs(workspace, [three_runs[0], three_runs[2]])
    assert found.params == {"train.epochs": ("3", "9")}
    assert found.tags == {"data_sha256": ("d" * 64, "e" * 64), "variant": ("full", "quick")}
    assert [estimate and estimate.value for estimate in found.estimates["auroc"]] == [0.99, 0.95]
    assert found.estimates["brier"][1] is None
    assert found.as_dict()["estimates"]["brier"][1] is None
    with pytest.raises(UsageError, match="two runs"):
        compare_runs(workspace, three_runs[:1])


def test_reading_the_database_directly_gives_what_mlflow_gives(workspace: Path, three_runs: list[str]) -> None:
    store = locate(workspace)
    start = three_runs[2][:8]
    for wanted in [("", "", "", 10), ("breast-mass", "", "", 10), ("", "FAILED", "", 10), ("", "", start, 10)]:
        ours, theirs = from_database(store, *wanted), from_client(store, *wanted)
        assert ours
        for one, other in zip(ours, theirs, strict=True):
            assert (one.run_id, one.experiment, one.status) == (other.run_id, other.experiment, other.status)
            assert (one.started_ms, one.ended_ms) == (other.started_ms, other.ended_ms)
            assert one.params == other.params
            assert one.tags == other.tags
            assert one.metrics == pytest.approx(other.metrics, nan_ok=True, abs=0)


def test_a_store_that_is_not_the_workspaces_own_is_read_through_mlflow(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", locate(workspace).uri)
    words = {"recipe": RECIPE, "data_sha256": "d", "seed": 1, "primary": "auroc"}
    with track(workspace, "demo", **words) as run:
        run.estimates([AUROC])
    assert [found.headline for found in list_runs(workspace)] == [AUROC]


def test_listing_runs_does_not_import_mlflow(workspace: Path, three_runs: list[str]) -> None:
    program = (
        "import sys; from pathlib import Path; from ai4diag.tracking.query import list_runs; "
        "assert len(list_runs(Path(sys.argv[1]))) == 3; assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, workspace], check=True)


@pytest.mark.parametrize("content", [b"garbage" * 500, b"SQLite format 3\0" + b"\1" * 5000])
def test_a_damaged_database_is_named_with_its_cure(workspace: Path, content: bytes) -> None:
    (workspace / "mlruns" / "mlflow.db").write_bytes(content)
    with pytest.raises(MachineError, match=r"mlruns cannot be used.*mlflow\.db is damaged, move it away"):
        list_runs(workspace)
    with pytest.raises(MachineError, match="mlruns cannot be used"):
        show_run(workspace, "abcdef")


def test_a_server_that_is_not_there_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(MachineError, match="MLFLOW_TRACKING_URI"):
        list_runs(workspace)
