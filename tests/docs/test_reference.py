"""The reference pages against the code: generated ones are equal, written ones name neither more nor less."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.plan import Evaluate
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.mask_scores import NAMES
from ai4diag.pipelines import stages
from ai4diag.pipelines.workspace import Workspace
from ai4diag.tasks import TASKS
from ai4diag.tracking import NoTracker
from tests.conftest import ROOT
from tests.docs.pages import code, generator, python, tables

REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("page", ["commands.md", "pipeline.md", "cards.md"])
def test_generated_pages_are_up_to_date(page):
    assert generator()["PAGES"][page]() == (REFERENCE / page).read_text(), "run `python docs/generate.py`"


def test_every_setting_has_a_meaning():
    rows = [row for row in tables(REFERENCE / "pipeline.md") if not row[-1]]
    assert rows == []


def test_hooks_are_those_of_the_tasks():
    page = REFERENCE / "hooks.md"
    header = next(line for line in page.read_text().splitlines() if line.startswith("| hook"))
    names = [cell.strip() for cell in header.split("|")[2:-1]]
    assert names == list(TASKS)
    documented = {name: {code(row[0])[0] for row in tables(page) if row[n] == "yes"} for n, name in enumerate(names, 1)}
    known = {name: set(import_module(path.partition(":")[0]).HOOKS) for name, path in TASKS.items()}
    assert documented == known
    for hook in set().union(*known.values()):
        assert f"\n## {hook}\n" in page.read_text()


def test_the_example_of_a_hook_does_what_it_says():
    example = next(block for block in python(REFERENCE / "hooks.md") if "return" in block)
    names = {}
    exec(example, names)
    table = pd.DataFrame({"case_id": ["a"], "weight_kg": [80.0], "height_m": [2.0]})
    assert names["preprocess"](table).to_dict("list") == {"case_id": ["a"], "bmi": [20.0]}


def estimates(task, table, classes, primary):
    plan = Evaluate(
        primary=primary,
        interval={"resamples": 100},
        subgroups=["site"],
        minimum_n=2,
        operating_point={"threshold": 0.5},
    )
    return evaluate(table, task=task, classes=classes, plan=plan).estimates


def binary_cases():
    rng = np.random.default_rng(5)
    truth = np.tile([0, 1], 20)
    names = [f"case-{number:02d}" for number in range(40)]
    score = np.clip(0.3 * truth + 0.7 * rng.random(40), 0, 1)
    facts = {"case_id": names, "patient_id": names, "site": ["north", "south", "south", "north"] * 10}
    return pd.DataFrame({**facts, "fold": 0, "part": "test", "truth": truth, "score": score})


def class_cases():
    """One of three classes per case."""
    table, rng = binary_cases().drop(columns="score"), np.random.default_rng(6)
    table["truth"] = np.arange(40) % 3
    score = rng.random((40, 3)) + 0.5 * (table["truth"].to_numpy()[:, None] == np.arange(3))
    score /= score.sum(axis=1, keepdims=True)
    return table.assign(**{f"score_{name}": score[:, number] for number, name in enumerate("abc")})


def finding_cases():
    """Any of two findings per case."""
    table, rng = binary_cases().drop(columns=["score", "truth"]), np.random.default_rng(7)
    for name in "ab":
        table[f"truth_{name}"], table[f"score_{name}"] = rng.integers(0, 2, 40), rng.random(40)
    return table


@pytest.mark.parametrize(
    ("target", "cases", "classes", "primary", "titles"),
    [
        ("multiclass", class_cases, ["a", "b", "c"], "auroc_macro", ["Multiclass"]),
        ("ordinal", class_cases, ["a", "b", "c"], "kappa_quadratic", ["Multiclass", "Ordinal"]),
        ("multilabel", finding_cases, ["a", "b"], "auprc_macro", ["Multilabel"]),
    ],
)
def test_estimates_of_several_classes_are_those_that_evaluation_makes(target, cases, classes, primary, titles):
    plan = Evaluate(primary=primary, interval={"resamples": 100}, subgroups=["site"], minimum_n=2)
    both = pd.concat([cases(), cases().assign(part="validation")])
    found = evaluate(both, task="classification", target=target, classes=classes, plan=plan).estimates
    documented = [code(row[0])[0] for title in titles for row in tables(REFERENCE / "estimates.md", title)]
    assert len(documented) == len(set(documented))
    assert set(documented) | {f"{primary}_difference"} == {item.name for item in found}


def box_cases():
    names = [f"image-{number}" for number in range(8)]
    facts = {"case_id": names, "patient_id": names, "site": ["north", "south"] * 4, "fold": 0, "part": "test"}
    truth = [[2.0, 2.0, 8.0, 8.0, 20.0, 20.0, 30.0, 28.0]] * 8
    found = {"boxes": truth, "labels": [[0, 1]] * 8, "scores": [[0.9, 0.1 * number] for number in range(8)]}
    flags = {"truth_labels": [[0, 1]] * 8, "truth_ignore": [[False, False]] * 8}
    return pd.DataFrame({**facts, "size_0": 64, "size_1": 64, "truth_boxes": truth, **flags, **found})


@pytest.mark.parametrize(
    ("task", "cases", "classes", "primary"),
    [
        ("tabular", binary_cases, ["healthy", "ill"], "auroc"),
        ("detection", box_cases, ["red", "white"], "map_50"),
    ],
)
def test_estimates_are_those_that_evaluation_makes(task, cases, classes, primary):
    found = estimates(task, cases(), classes, primary)
    documented = [name for row in tables(REFERENCE / "estimates.md", task.capitalize()) for name in code(row[0])]
    assert len(documented) == len(set(documented))
    assert set(documented) | {f"{primary}_difference"} == {item.name for item in found}
    keys = [key for row in tables(REFERENCE / "estimates.md", "Estimates") for key in code(row[0])]
    assert keys == list(found[0].as_dict())


def test_estimates_on_request_are_documented():
    table = pd.concat([binary_cases(), binary_cases().assign(part="validation")])
    plan = {"primary": "auroc", "interval": {"resamples": 100}}
    made = {
        name: {
            item.name for item in evaluate(table, task="tabular", classes=["a", "b"], plan=Evaluate(**more)).estimates
        }
        for name, more in (("plain", plan), ("more", {**plan, "prevalence": 0.1, "recalibrate": "platt"}))
    }
    documented = {name for row in tables(REFERENCE / "estimates.md", "On request") for name in code(row[0])}
    assert documented == (made["more"] - made["plain"])


def test_estimates_of_label_maps_are_those_that_evaluation_makes():
    documented = [name for row in tables(REFERENCE / "estimates.md", "Segmentation") for name in code(row[0])]
    assert documented == list(NAMES)


def test_estimates_per_class_are_documented():
    found = {
        item.name
        for item in estimates("detection", box_cases(), ["red", "white"], "map_50")
        if item.subgroup == "class=red"
    }
    sentence = re.search(
        r"Per class, as subgroup `class=name`: (.*?)\n\n", (REFERENCE / "estimates.md").read_text(), re.DOTALL
    )
    assert set(code(sentence.group(1))) == found


def told():
    """Return the names of all events that the library tells, from its source."""
    names = set()
    for path in (ROOT / "src" / "ai4diag").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name == "notify":
                    names.add(node.args[0].value)
    return names


def test_events_are_those_that_are_told():
    documented = [code(row[0])[0] for row in tables(REFERENCE / "events.md")]
    assert len(documented) == len(set(documented))
    assert set(documented) == told()


def test_what_a_run_tells_and_writes_is_documented(make_workspace, monkeypatch):
    """One small pipeline, end to end; every event field, file, key and column that it makes is on its page."""
    small = ["train.epochs=3", "evaluate.interval.resamples=100", "evaluate.accept.auroc_low=0"]
    pipeline = Workspace(make_workspace("breast-mass")).pipeline("breast-mass", overrides=small)
    pipeline = dataclasses.replace(pipeline, variant="")
    events = []
    stages.prepare(pipeline, notify=lambda name, fields: None)
    stages.train(pipeline, notify=lambda name, fields: events.append((name, fields)), tracker=NoTracker())
    stages.evaluate(pipeline, tracker=NoTracker())
    bundle = stages.package(pipeline)

    fields = {code(row[0])[0]: code(row[2]) for row in tables(REFERENCE / "events.md")}
    assert {name for name, _ in events} >= {"fold", "started", "step", "epoch", "finished"}
    extra = {"log_loss"}  # further losses that the task reports
    undocumented = {(name, key) for name, found in events for key in found if key not in fields[name]}
    assert {key for name, key in undocumented if name == "epoch"} <= extra
    assert {(name, key) for name, key in undocumented if name != "epoch"} == set()

    page = REFERENCE / "prepared-and-predictions.md"
    named = [word for row in tables(page) for word in code(row[0])]
    written = {path.name for path in pipeline.out.iterdir() if path.name[0] != "."}  # locks are hidden
    assert written - {word.rstrip("/") for word in named} == set()
    prepared = pipeline.out / "prepared"
    assert [path.name for path in prepared.iterdir() if path.name not in named] == []
    assert set(json.loads((prepared / "prepared.json").read_text())) <= set(named)
    assert set(pd.read_parquet(pipeline.out / "predictions.parquet").columns) <= set(named)

    page = REFERENCE / "bundle.md"
    names = {"prepared": stages.open_prepared(pipeline), "rows": np.arange(5)}
    monkeypatch.chdir(pipeline.out)
    exec(python(page)[0], names)
    assert names["metadata"]["name"] == "breast-mass"
    assert len(names["table"]) == 5
    named = {word.rstrip("/") for row in tables(page) for word in code(row[0])}
    assert {path.name for path in bundle.iterdir()} <= named
    assert set(json.loads((bundle / "metadata.json").read_text())) <= named


def test_environment_variables_are_those_of_the_code():
    said = {name for row in tables(REFERENCE / "environment.md") for name in code(row[0]) if name.startswith("AI4DIAG")}
    used = {
        name
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"AI4DIAG_[A-Z_]+", path.read_text(encoding="utf-8"))
    }
    assert said == used
