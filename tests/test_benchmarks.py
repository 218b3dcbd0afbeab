"""Benchmarks: their frame, one of them for real, and the page of stored measurements."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys

import benchmarks
import numpy as np
import pytest
from benchmarks import Row, Seconds, _page, agree, bound, repeat, side_by_side
from benchmarks.__main__ import TOPICS, first_line, table

from ai4diag.files import to_json
from tests.conftest import ROOT

NUMBERS = {"ours_s", "peer_s", "goal", "ratio"}
TEXTS = {"name", "peer", "note"}


def stored():
    return json.loads(_page.RESULTS.read_text())


def row(ours, peer, goal):
    return Row("work", "other", ours, peer, goal, {"ai4diag": "0"})


@pytest.mark.parametrize("name", TOPICS)
def test_every_topic_says_what_it_compares_and_can_be_run(name):
    assert 20 < len(first_line(name)) < 120
    assert callable(importlib.import_module(f"benchmarks.{name}").run)


@pytest.mark.slow
def test_one_topic_for_real():
    from benchmarks.boxes import free_response

    found = free_response().as_dict()
    assert (found["ours_rounds"], found["peer_rounds"]) == (benchmarks.ROUNDS,) * 2
    for side in ("ours", "peer"):
        low, high = found[f"{side}_quartiles_s"]
        assert 0 < low <= found[f"{side}_s"] <= high
    assert found["ratio"] == found["peer_s"] / found["ours_s"]
    assert {"ai4diag", "monai"} <= set(found["versions"])


def test_stored_rows_hold_what_they_must():
    for topic, measured in stored().items():
        assert set(measured) == {"date", "machine", "rows"}
        assert {"processor", "cores", "system", "python", "load"} <= set(measured["machine"])
        for found in measured["rows"] if topic != _page.COVERAGE else ():
            assert all(isinstance(found[key], str) for key in TEXTS)
            if found["reached"] is None:  # nothing to compare with
                assert topic == _page.GPU
                continue
            assert all(isinstance(found[key], (int, float)) for key in NUMBERS), (topic, found)
            assert found["ratio"] == pytest.approx(found["peer_s"] / found["ours_s"])
            assert found["reached"] == (found["ratio"] >= found["goal"])
            assert found["versions"]


def test_stored_topics_exist_and_their_rows_have_names_of_their_own():
    timed = [measured for topic, measured in stored().items() if topic != _page.COVERAGE]
    names = [(found["name"], found["peer"]) for measured in timed for found in measured["rows"]]
    assert len(names) == len(set(names))
    assert set(stored()) <= set(TOPICS)


def test_page_is_made_from_the_stored_rows():
    assert _page.PAGE.read_text(encoding="utf-8") == _page.page(stored())


def test_page_says_when_a_goal_is_missed_and_when_there_was_no_gpu():
    machine = {"processor": "p", "cores": 2, "system": "s", "python": "3", "load": 0.1}
    rows = [row(2.0, 1.0, 3.0).as_dict(), row(1.0, 5.0, 3.0).as_dict()]
    page = _page.page({"toy": {"date": "2026-01-01", "machine": machine, "rows": rows}})
    assert "| work | other | 2 s | 1 s | 0.5 | 3 | **missed** |" in page
    assert "| work | other | 1 s | 5 s | 5 | 3 | reached |" in page
    assert "Not measured." in page


def test_page_shows_what_a_gpu_did_also_without_a_peer():
    from benchmarks.gpu import Throughput, device_name

    machine = {"processor": "p", "cores": 2, "system": "s", "python": "3", "load": 0.1}
    rows = [Throughput(name, "MONAI", 0.001, peer, 1.5, {"torch": "2"}, busy=0.9) for name, peer in
            (("with", 0.002), ("without", float("nan")))]  # fmt: skip
    found = json.loads(to_json([row.as_dict() for row in rows]))
    page = _page.page({"gpu": {"date": "2026-01-01", "machine": machine, "rows": found}})
    assert f"| with | {device_name()} | 1,000 | 90% | 500 | 2.00 | 1.5 |" in page
    assert f"| without | {device_name()} | 1,000 | 90% | not compared |  |  |" in page


def test_a_median_remembers_its_rounds():
    rounds = [0.4, 0.1, 0.2, 0.9, 0.3]
    seconds = Seconds(rounds, 0.05)
    assert seconds == np.median(rounds)
    assert seconds.quartiles == pytest.approx(tuple(np.quantile(rounds, [0.25, 0.75])))
    assert seconds.times(10) == pytest.approx(3)
    assert seconds.times(10).wall == pytest.approx(0.5)
    assert Seconds([2.0], 2.0).quartiles == (2, 2)


def test_sides_take_turns_and_the_first_round_does_not_count():
    order = []
    mine, theirs = side_by_side(lambda: order.append("ours"), lambda: order.append("peer"), rounds=3)
    assert order == ["ours", "peer", "peer", "ours"] * 2
    assert len(mine.rounds) == len(theirs.rounds) == 3


@pytest.mark.slow
def test_time_is_that_of_the_processor_and_grows_with_the_work():
    values = np.random.default_rng(0).random(200_000)
    once, ten = side_by_side(lambda: np.sort(values), repeat(lambda: np.sort(values), 10), rounds=3)
    assert 4 < ten / once < 25
    taken, limit = bound(3.0, lambda: np.sort(values))
    assert taken < limit == 3


def test_sides_that_differ_are_not_timed():
    agree([1.0, np.nan], [1 + 1e-12, np.nan])
    for other in ([1.1, np.nan], [1.0], [1.0, 2.0]):
        with pytest.raises(RuntimeError, match="must give the same"):
            agree([1.0, np.nan], other)


def test_a_topic_that_fails_does_not_take_the_others_with_it(tmp_path):
    copy = tmp_path / "benchmarks"
    copy.mkdir()
    for name in ("__init__.py", "__main__.py", "_page.py"):
        shutil.copy(ROOT / "benchmarks" / name, copy)
    good = "from benchmarks import Row\n\ndef run():\n    return [Row('a', 'b', 1.0, 2.0, {goal}, {{'c': '1'}})]\n"
    (copy / "good.py").write_text('"""A topic."""\n' + good.format(goal=1.5))
    (copy / "slow.py").write_text('"""A topic whose goal is missed."""\n' + good.format(goal=9))
    (copy / "broken.py").write_text('"""A topic that fails."""\n\ndef run():\n    raise RuntimeError\n')

    def ask(*words):
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", *words], cwd=tmp_path, capture_output=True, text=True
        )

    both = ask("broken", "good", "--json")
    assert both.returncode == 1
    assert [found["name"] for found in json.loads(both.stdout)] == ["a"]
    assert "broken did not come to an end" in both.stderr
    assert (ask("good").returncode, ask("slow").returncode) == (0, 1)
    assert "A topic that fails." in ask().stdout
    assert ask("unknown").returncode == 2


def test_table_for_the_terminal_shows_every_row():
    text = table([row(2.0, 1.0, 3.0).as_dict(), row(1.0, 5.0, 3.0).as_dict()])
    assert (text.count("MISSED"), text.count("reached")) == (1, 1)
