"""Lesson 10: right answers pass whatever is drawn, and each misconception fails with the expectation that names it."""

from __future__ import annotations

import copy
import subprocess

import numpy as np
import pytest

from ai4diag.course import lessons
from ai4diag.course.checking import examine
from ai4diag.course.lessons.m10.publishing import LEAVES, STAYS
from ai4diag.course.lessons.m10.reading import VERDICTS
from ai4diag.evaluation.compare import compare_estimates
from ai4diag.types import Estimate
from tests.conftest import ROOT

SEEDS = range(5)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def unmet(exercise, names, root, seed=0):
    """Return the names of the expectations that are not met."""
    return [item.name for item in examine(lessons.find(exercise), names, root, seed) if not item.met]


def published(paths):
    """Return what leaves, by suffix and depth: another way than the lesson's own."""
    at_top = {"dvc.lock", "dvc.yaml", "params.yaml"}
    cards = {path for path in paths if path.startswith("datasets/") and path.endswith(".yaml")}
    ends = ("/pipeline.yaml", "/pipeline.py", "/README.md", "/looks.csv", "/out/estimates.json")
    own = {path for path in paths if path.startswith("pipelines/") and path.endswith(ends) and "/quick/" not in path}
    return [path for path in paths if path in at_top | cards | own]


@pytest.mark.parametrize("seed", SEEDS)
def test_publish_is_right_for_a_list_of_what_leaves(seed, tmp_path):
    assert unmet("m10.publish", {"published": published}, tmp_path, seed) == []


def test_publish_agrees_with_the_gitignore_but_for_what_nobody_thought_of(tmp_path):
    """What the lesson keeps back is ignored by git, all but a key and a table that lie in unusual places."""
    drawn = lessons.find("m10.publish").draw(np.random.default_rng(0), tmp_path)
    git = ["git", "-c", "core.excludesFile=/dev/null", "-C", str(ROOT), "check-ignore", "--no-index"]
    asked = subprocess.run([*git, *drawn["paths"]], capture_output=True, text=True, check=False)
    ignored = set(asked.stdout.split())
    every = {group: [path.format(**drawn["words"]) for path in paths] for group, paths in {**LEAVES, **STAYS}.items()}
    assert not ignored & {path for group in LEAVES for path in every[group]}
    stays = {path for group in STAYS for path in every[group]}
    assert {path.rsplit("/", 1)[1] for path in stays - ignored} == {"ai4diag-private.pem", "patients.csv"}


def test_publish_names_what_a_list_of_what_stays_forgets(tmp_path):
    def all_but_known(paths):
        return [path for path in paths if not path.startswith(("data/", "mlruns/")) and "/out/" not in path]

    assert unmet("m10.publish", {"published": all_but_known}, tmp_path) == [
        "the estimates are published, so that somebody can compare",
        "a private key stays",
        "a table that somebody left in the pipeline's folder stays",
        "a table beside the dataset cards stays",
    ]


def test_publish_names_estimates_of_variants_and_records(tmp_path):
    def any_estimates(paths):
        return [*published(paths), *(path for path in paths if path.endswith("estimates.json"))]

    assert unmet("m10.publish", {"published": any_estimates}, tmp_path) == [
        "what can be made again stays: model, report, variants",
        "run records stay: they hold predictions",
    ]


def fields_of(page):
    """Return the fields of a page and what stands there, line by line."""
    found, heading = {}, ""
    for line in page.splitlines():
        text = line.removeprefix("- ")
        if line.startswith("## "):
            heading = line[3:]
            found[heading] = ""
        elif text.startswith("**"):
            name, _, rest = text[2:].partition("**")
            found[name.rstrip(".")], heading = rest.strip(), ""
        elif heading and not found[heading]:
            found[heading] = text
    return found


def open_fields(page, placeholders=("TODO", "...", "*Not written yet")):
    """Return the open fields."""
    found = fields_of(page)
    names = ("Question", "Input", "Output", "Trained on", "Limits", "Not for")
    return [name for name in names if not found.get(name) or found[name].startswith(placeholders)]


@pytest.mark.parametrize("seed", SEEDS)
def test_card_is_right_also_for_the_shipped_page(seed):
    assert unmet("m10.card", {"open_fields": open_fields}, ROOT, seed) == []


def test_card_names_each_kind_of_open_field(tmp_path):
    no_template = {"open_fields": lambda page: open_fields(page, ("TODO", "..."))}
    assert unmet("m10.card", no_template, tmp_path) == ["the template's *Not written yet* is no answer"]

    def missing_only(page):
        found = fields_of(page)
        return [
            name for name in ("Question", "Input", "Output", "Trained on", "Limits", "Not for") if name not in found
        ]

    missed = unmet("m10.card", {"open_fields": missing_only}, tmp_path)
    assert "a field that is missing is open" not in missed
    assert {"a field with nothing behind it is open", "TODO is no answer", "three dots are no answer"} <= set(missed)


@pytest.fixture
def pulled(tmp_path):
    """Return the folder of a clone of the partner's repository."""
    refs = tmp_path / ".git/refs/heads"
    refs.mkdir(parents=True)
    (refs / "main").write_text(f"{COMMIT}\n", encoding="ascii")
    return tmp_path


VERDICT = {"subject": "breast-mass", "verdict": "holds", "commit": COMMIT, "compared": 15, "identical": 15}
VERDICT |= {"tolerance": 0.01, "machine": {"threads": "2"}}


def test_reproduce_is_right_for_a_verdict_on_the_pulled_commit(pulled):
    assert unmet("m10.reproduce", {"code": 0, "verdict": VERDICT, "partner": pulled}, pulled) == []


@pytest.mark.parametrize(
    ("code", "change", "name"),
    [
        (6, {}, "the exit code says so too"),
        (False, {}, "the exit code says so too"),
        (0, {"verdict": "cannot be verified"}, "the numbers hold"),
        (0, {"machine": {}}, "something was run again"),
        (0, {"commit": COMMIT[::-1]}, "it is the commit that was pulled"),
        (0, {"tolerance": 0.5}, "the tolerance is that of the recipe"),
        (0, {"subject": "run 0123 (breast-mass --quick)"}, "the verdict is on the pipeline breast-mass"),
    ],
)
def test_reproduce_names_what_is_wrong(pulled, code, change, name):
    assert unmet("m10.reproduce", {"code": code, "verdict": VERDICT | change, "partner": pulled}, pulled) == [name]


def test_reproduce_needs_a_clone(tmp_path):
    names = {"code": 0, "verdict": VERDICT, "partner": tmp_path}
    assert unmet("m10.reproduce", names, tmp_path) == ["it is the commit that was pulled"]


def estimates(table):
    """Return estimates as ai4diag knows them."""
    nan = float("nan")
    return [
        Estimate(
            name, *(nan if item[key] is None else item[key] for key in ("value", "low", "high")), item["n"], item["n"]
        )
        for name, item in table.items()
    ]


def exit_code(stated, found, tolerance, known):
    """Ask what `ai4diag verify` asks."""
    if not known:
        return 9
    return 6 if compare_estimates(estimates(stated), estimates(found), tolerance) else 0


@pytest.mark.parametrize("seed", SEEDS)
def test_verdict_is_that_of_the_product(seed, tmp_path):
    assert unmet("m10.verdict", {"exit_code": exit_code}, tmp_path, seed) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_verdict_names_misconceptions(seed, tmp_path):
    def headline_only(stated, found, tolerance, known):
        first = next(iter(stated))
        return exit_code({first: stated[first]}, {first: found[first]}, tolerance, known)

    assert unmet("m10.verdict", {"exit_code": headline_only}, tmp_path, seed) == [
        "an estimate that is not the headline counts as well",
        "an upper limit of an interval counts as well",
        "an estimate that is missing does not hold",
        "an estimate that nobody stated does not hold",
        "undefined before and a number now does not hold",
        "0 before and undefined now does not hold: 0 is a number",
    ]

    def values_only(stated, found, tolerance, known):
        found = copy.deepcopy(found)
        for name, item in found.items():
            item |= {key: stated[name][key] for key in ("low", "high", "n") if name in stated}
        return exit_code(stated, found, tolerance, known)

    assert unmet("m10.verdict", {"exit_code": values_only}, tmp_path, seed) == [
        "a lower limit of an interval counts as well",
        "an upper limit of an interval counts as well",
        "another number of cases does not hold, however close the values",
    ]

    def zero_is_nothing(stated, found, tolerance, known):
        emptied = [
            {name: {key: item[key] or None for key in item} for name, item in table.items()}
            for table in (stated, found)
        ]
        return exit_code(*emptied, tolerance, known)

    missed = unmet("m10.verdict", {"exit_code": zero_is_nothing}, tmp_path, seed)
    assert missed == ["0 before and undefined now does not hold: 0 is a number"]
    numbers_first = {"exit_code": lambda known, **case: exit_code(known=True, **case) or (0 if known else 9)}
    assert unmet("m10.verdict", numbers_first, tmp_path, seed) == list(VERDICTS)[-1:]
    to_the_bit = {"exit_code": lambda tolerance, **case: exit_code(tolerance=0.0, **case)}
    assert unmet("m10.verdict", to_the_bit, tmp_path, seed) == ["numbers within the tolerance hold"]


def causes(mine, theirs):
    """Walk the stages in order; a difference is a cause where nothing before it has written the name."""
    written, found, other = set(), [], False
    for stage in ("prepare", "train", "evaluate"):
        for name, value in mine[stage]["inputs"].items():
            if value != theirs[stage]["inputs"][name] and name not in written | set(found):
                found.append(name)
        other |= mine[stage]["outputs"] != theirs[stage]["outputs"]
        written |= set(mine[stage]["outputs"])
    return found or (["machine"] if other else [])


@pytest.mark.parametrize("seed", SEEDS)
def test_lock_is_right_for_a_walk_through_the_stages(seed, tmp_path):
    assert unmet("m10.lock", {"causes": causes}, tmp_path, seed) == []


def test_lock_names_effects_taken_for_causes(tmp_path):
    def all_inputs(mine, theirs):
        pairs = [(name, mine[s]["inputs"][name], theirs[s]["inputs"][name]) for s in mine for name in mine[s]["inputs"]]
        return sorted({name for name, was, now in pairs if was != now})

    missed = unmet("m10.lock", {"causes": all_inputs}, tmp_path)
    assert "another recipe is the cause, not what followed from it" in missed
    assert "equal inputs and other outputs: the machine" in missed
    assert "equal locks: nothing to explain" not in missed


@pytest.mark.parametrize("exercise", ["publish", "card", "verdict", "lock"])
def test_an_empty_answer_fails(exercise, tmp_path):
    names = lessons.find(f"m10.{exercise}").names
    assert unmet(f"m10.{exercise}", {name: lambda *given, **named: None for name in names}, tmp_path)


@pytest.mark.parametrize("exercise", ["card", "verdict", "lock"])
def test_answers_by_the_number_of_the_call_fail_under_another_seed(exercise, tmp_path):
    right = {"card": open_fields, "verdict": exit_code, "lock": causes}[exercise]
    (name,) = lessons.find(f"m10.{exercise}").names
    drawn = lessons.find(f"m10.{exercise}").draw(np.random.default_rng(0), tmp_path)
    told = [right(**case) if isinstance(case, dict) else right(case) for case in drawn["cases"]]

    def counting(kept):
        return lambda *given, **named: kept.pop(0)

    assert unmet(f"m10.{exercise}", {name: counting(list(told))}, tmp_path, seed=0) == []
    assert unmet(f"m10.{exercise}", {name: counting(list(told))}, tmp_path, seed=1)
