"""Pipelines that a notebook runs: bars from what the stages tell, errors in their words, and interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from ai4diag import lab
from ai4diag.errors import ConfigError, DataError, GateError, UsageError
from ai4diag.lab.execution import _Bars, _error
from ai4diag.pipelines import told


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_stages_tell_nothing_unless_asked(tmp_path, monkeypatch):
    monkeypatch.delenv(told.FILE, raising=False)
    assert told.told("train")(lambda: 3)() == 3
    assert list(tmp_path.iterdir()) == []


def test_stages_tell_how_they_begin_go_on_and_end(tmp_path, monkeypatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(told.FILE, str(path))
    heard = []

    @told.told("train")
    def train(*, notify):
        for step in range(1, 101):
            notify("step", {"step": step, "steps": 100})
        notify("epoch", {"epoch": 1, "epochs": 1, "loss": 0.5, "validation": {"score": float("nan")}})
        notify("checkpoint", {"epoch": 1})

    train(notify=lambda name, fields: heard.append(name))
    assert len(heard) == 102
    told_lines = lines(path)
    steps = [line["step"] for line in told_lines if line["event"] == "step"]
    assert steps[0] == 1
    assert steps[-1] == 100
    assert len(steps) < 10  # a hundred steps within a moment
    others = [line for line in told_lines if line["event"] != "step"]
    assert others == [
        {"stage": "train", "event": "begin"},
        {"stage": "train", "event": "epoch", "epoch": 1, "epochs": 1, "loss": 0.5},
        {"stage": "train", "event": "end", "how": "done"},
    ]

    @told.told("package")
    def package():
        raise GateError("not met")

    with pytest.raises(GateError):
        package()
    assert lines(path)[-1] == {"stage": "package", "event": "end", "how": "release gate not met"}


def test_bars_follow_what_is_told_and_leave_half_a_line_for_later(tmp_path, capsys):
    path = tmp_path / "events.jsonl"
    bars = _Bars(path, "toy")
    bars.look()
    some = [
        {"stage": "train", "event": "begin"},
        {"stage": "train", "event": "fold", "fold": 2, "folds": 3},
        {"stage": "train", "event": "step", "step": 30, "steps": 60},
        {"stage": "train", "event": "epoch", "epoch": 1, "epochs": 2, "loss": 0.25},
    ]
    text = "".join(json.dumps(line) + "\n" for line in some)
    path.write_text(text[:-20])
    bars.look()
    assert str(bars._bar).startswith("train toy: 30 of 60 (50 %)")
    path.write_text(text)
    bars.look()
    assert "fold 2 of 3, epoch 1 of 2, loss 0.25" in str(bars._bar)
    path.write_text(text + json.dumps({"stage": "train", "event": "end", "how": "done"}) + "\n")
    bars.look()
    assert bars.where == ""
    said = capsys.readouterr().err
    assert "start toy: done" in said
    assert "train toy: done, 30 of 60, fold 2 of 3, epoch 1 of 2, loss 0.25" in said


def test_an_error_is_of_the_kind_and_in_the_words_of_the_command():
    said = "prepare: 3 cases\nerror: x.csv is missing.\n       Run `ai4diag data get x`.\n"
    error = _error(DataError.exit_code, "ai4diag run toy", said)
    assert type(error) is DataError
    assert str(error) == "`ai4diag run toy` failed: x.csv is missing. Run `ai4diag data get x`."
    assert "exit code 99" in str(_error(99, "ai4diag run toy", ""))


def test_words_that_cannot_be_are_refused_before_anything_runs(make_workspace):
    root = make_workspace("breast-mass")
    with pytest.raises(UsageError, match="Did you mean 'breast-mass'"):
        lab.execute("breast-mas", folder=root)
    with pytest.raises(ConfigError, match=r"train\.epochs"):
        lab.execute("breast-mass", changes=["train.epochs=many"], folder=root)


@pytest.mark.slow
def test_a_pipeline_runs_with_a_bar_for_each_stage_and_its_run_is_returned(make_workspace, capsys):
    root = make_workspace("breast-mass")
    changes = ["train.epochs=5", "evaluate.interval.resamples=100"]
    run = lab.execute("breast-mass", quick=True, changes=changes, folder=root)
    assert run.record == lab.run(run.record.run_id, root).record
    assert run.record.facts["recipe"]["train"]["epochs"] == 5
    said = capsys.readouterr().err
    for stage in ("start", "prepare", "train", "evaluate", "package"):
        assert f"{stage} breast-mass --quick with 2 changes: done" in said
    assert "done, 5 of 5, epoch 5 of 5, loss" in said


@pytest.mark.slow
def test_an_interrupt_stops_the_stage_too_and_says_how_to_go_on(make_workspace):
    root = make_workspace("breast-mass")
    program = (
        "from ai4diag import lab\n"
        "try:\n"
        "    lab.execute('breast-mass', changes=['train.epochs=1000000', 'train.validate_every=1000'])\n"
        "except KeyboardInterrupt as error:\n"
        "    print(error)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while not list(root.glob("pipelines/breast-mass/out/set-*/checkpoint/*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert "was stopped in train" in out
    assert "training goes on from the latest checkpoint" in out
    assert "stopped at" in err
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
