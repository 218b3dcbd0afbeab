"""What is said at the end of a training."""

from __future__ import annotations

from ai4diag.cli.progress import Progress, _speed

FOUND = {"samples_per_s": 1234.5, "data_s": 1, "step_s": 8, "validation_s": 1, "checkpoint_s": 0, "busy": 0.97}


def test_speed_in_one_line():
    said = "1,234 cases/s; data 10 %, steps 80 %, validation 10 %, checkpoints 0 %; device busy 97 %"
    assert _speed(FOUND) == said
    nothing = dict.fromkeys(FOUND, 0.0)
    assert _speed(nothing).startswith("0 cases/s; data 0 %")
    assert _speed({**FOUND, "samples_per_s": 2.345}).startswith("2.35 cases/s")


def test_a_run_says_it_once(capsys):
    progress = Progress("train x")
    for fold in (1, 2):
        progress("fold", {"fold": fold, "folds": 2})
        progress("started", {"cases": 3, "epochs": 1, "epoch": 0})
        note = "memory ran out: batches of 8 are computed in 2 parts from here on"
        progress("out_of_memory", {"epoch": 1, "cases": 8, "parts": 2, "note": note})
        progress("finished", {"epochs": 1, "best_epoch": 0, "seconds": 1.0, "throughput": FOUND})
    said = capsys.readouterr().err
    assert said.count("cases/s") == 1
    assert "fold 2/2: 1,234 cases/s" in said
    assert said.count("memory ran out") == 2
