"""Pipelines whose data must be brought by hand: what `run` says, what `check` takes instead, what `new` leaves."""

from __future__ import annotations

import pytest

from ai4diag.data.catalogue import get
from ai4diag.errors import ConfigError, DataError
from ai4diag.pipelines.check import reachable
from ai4diag.pipelines.new import new_pipeline
from ai4diag.pipelines.reproduce import reproduce
from ai4diag.pipelines.workspace import Workspace

PARAMS = """\
# Those that wait.
waiting:
  lung-nodules: {task: detection, dataset: luna16}
# Those that run.
pipelines:
  breast-mass: {task: tabular, dataset: wdbc}
"""


@pytest.fixture
def workspace(make_workspace):
    root = make_workspace("breast-mass", "lung-nodules")
    (root / "params.yaml").write_text(PARAMS)
    return Workspace(root)


def test_run_says_what_to_fetch_and_what_runs_without_it(workspace):
    with pytest.raises(DataError, match="luna16 must be brought by hand") as caught:
        reproduce(workspace.pipeline("lung-nodules"))
    assert "zenodo.org" in str(caught.value)
    assert "--quick" in str(caught.value)
    assert workspace.pipeline("lung-nodules", quick=True).recipe.data.dataset == "phantom-nodules"


def test_check_takes_the_quick_variant_only_while_the_data_are_away(workspace):
    pipeline = workspace.pipeline("lung-nodules")
    assert reachable(pipeline).recipe.data.dataset == "phantom-nodules"
    folder = workspace.data / "luna16"
    folder.mkdir(parents=True)
    (folder / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
    get(workspace.catalogue.card("luna16"), workspace.data)
    assert reachable(pipeline) is pipeline
    assert reachable(workspace.pipeline("breast-mass")).variant == ""


def test_dvc_knows_only_those_that_do_not_wait(workspace):
    assert set(workspace.table) == {"breast-mass"}
    assert set(workspace.waiting) == {"lung-nodules"}


def test_a_new_pipeline_goes_to_those_that_run(workspace):
    new_pipeline(workspace, "second-opinion", "tabular", "wdbc")
    again = Workspace(workspace.root)
    assert list(again.table) == ["breast-mass", "second-opinion"]
    assert list(again.waiting) == ["lung-nodules"]
    assert "# Those that run.\npipelines:" in (workspace.root / "params.yaml").read_text()


def test_a_malformed_list_is_refused(workspace):
    (workspace.root / "params.yaml").write_text(PARAMS.replace("{task: detection, dataset: luna16}", "luna16"))
    with pytest.raises(ConfigError, match="waiting must map"):
        workspace.pipeline("breast-mass")
