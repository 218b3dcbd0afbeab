"""The plain-language summary against numbers counted by hand; it says when it does not know, and invents nothing."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.plan import Evaluate
from ai4diag.evaluation.evaluate import Evaluation, evaluate
from ai4diag.evaluation.report import DatasetFacts, PartLine, ReportContext, frequencies, render
from ai4diag.evaluation.report.summary import Summary, summary
from ai4diag.masks import encode
from ai4diag.types import Estimate, Finding

ALWAYS = "That anybody decides better with it: that needs a study with its users."


def frame(count: int, **columns: object) -> pd.DataFrame:
    names = [f"case-{n}" for n in range(count)]
    return pd.DataFrame({"case_id": names, "patient_id": names, "site": "north", "fold": 0, "part": "test", **columns})


def scored(table: pd.DataFrame, task: str, target: str, classes: list[str], primary: str, **plan: object) -> Evaluation:
    asked = Evaluate.model_validate({"primary": primary, "interval": {"resamples": 100}, **plan})
    return evaluate(table, task=task, target=target, classes=classes, plan=asked)


def context(found: Evaluation, **change: object) -> ReportContext:
    facts: dict = {
        "title": "Toy",
        "pipeline": "toy",
        "task": found.task,
        "target": found.target,
        "primary": found.primary,
        "classes": found.classes,
        "recipe": {"evaluate": {"interval": {"level": 0.95, "unit": "patient_id"}}, "train": {"parts": ["train"]}},
        "dataset": DatasetFacts("toy", "Toy"),
        "parts": (PartLine("test", "north", 1, 1, (1,) * len(found.classes)),),
    }
    return ReportContext(**{**facts, **change})


def said(found: Evaluation, **change: object) -> Summary:
    return summary(found, context(found, **change), 0.95)


@pytest.fixture(scope="module")
def hundred() -> Evaluation:
    """80 ill of whom 60 are found, 40 well of whom 30 are cleared, at a threshold that was fixed beforehand."""
    truth = np.repeat([1, 1, 0, 0], [60, 20, 30, 10])
    score = np.repeat([0.9, 0.2, 0.1, 0.8], [60, 20, 30, 10])
    return scored(
        frame(120, truth=truth, score=score), "tabular", "binary", ["well", "ill"], "auroc",
        operating_point={"threshold": 0.5},
    )  # fmt: skip


def test_natural_frequencies_by_hand(hundred):
    finds, clears, right = said(hundred).answers
    assert re.fullmatch(
        r"Of 100 ill cases, the model finds about 75 \(between \d\d and \d\d; tested on 80\); it misses the others\.",
        finds,
    )
    assert re.search(r"Of 100 well cases, it clears about 75 \(between \d\d and \d\d; tested on 40\)", clears)
    assert re.search(
        r"that it calls ill, about 86 \(between .*; tested on 70\) are\. This holds where 67 of 100", right
    )
    assert said(hundred).when == "A score of at least 0.5 counts as a yes. Then:"


def test_a_stated_prevalence_by_hand(hundred):
    """Where one of ten is ill, 7.5 of 100 are found and 22.5 called in vain: a quarter of the alarms is right."""
    truth = np.repeat([1, 1, 0, 0], [60, 20, 30, 10])
    score = np.repeat([0.9, 0.2, 0.1, 0.8], [60, 20, 30, 10])
    plan = {"operating_point": {"threshold": 0.5}, "prevalence": 0.1}
    found = scored(frame(120, truth=truth, score=score), "tabular", "binary", ["well", "ill"], "auroc", **plan)
    last = said(found).answers[-1]
    assert last.startswith(
        "Where 10 of 100 cases are ill, as the recipe states for its use, of 100 that it calls so about 25 (between "
    )
    assert len(said(hundred).answers) == 3
    assert [frequencies.frequency(share) for share in (0.5, 0.001, 0.0333)] == [
        "50 of 100",
        "1 of 1,000",
        "333 of 10,000",
    ]


def test_limits_are_those_of_the_estimates(hundred):
    item = frequencies.known(hundred, "sensitivity")
    text = said(hundred).answers[0]
    assert f"between {100 * item.low:.0f} and {100 * item.high:.0f};" in text


def test_shares_in_words():
    def share(value, low=math.nan, high=math.nan, tested=0):
        return frequencies.of_hundred(Estimate("ppv", value, low, high, 9, 9), tested)

    assert share(1.0, 0.9, 1.0) == "all (between 90 and 100)"
    assert share(0.0) == "none (no interval)"
    assert share(0.99996, 0.999, 1.0) == "more than 99.9 (between 99.9 and 100)"
    assert share(0.5, 0.25, 0.75, 1234) == "about 50 (between 25 and 75; tested on 1,234)"
    other = frequencies.complement(Estimate("specificity", 0.75, 0.625, 0.875, 9, 9))
    assert (other.value, other.low, other.high) == (0.25, 0.125, 0.375)


@pytest.mark.parametrize(("share", "full"), [(0.809, 81), (1.0, 100), (0.9999, 99), (0.0, 0), (0.0001, 1), (0.5, 50)])
def test_dots_show_the_share(share, full):
    (item,) = frequencies.dots(Estimate("ppv", share, 0.0, 1.0, 9, 9), "{} of 100 found")
    yes, no, hole = re.findall(r' d="([^"]*)"', str(item.svg))
    assert (yes.count("M"), no.count("M")) == (full, 100 - full)
    assert no == hole
    assert len(set(re.findall(r"M\d+ \d+", yes + no))) == 100
    assert item.text == f"{full} of 100 found"
    assert frequencies.dots(None, "{}") == ()


def test_dots_of_two_classes(hundred):
    assert [item.text for item in said(hundred).dots] == ["75 of 100 ill cases found", "75 of 100 well cases cleared"]
    braces = dataclasses.replace(hundred, classes=("well", "{ill}"))
    assert said(braces).dots[0].text == "75 of 100 {ill} cases found"


def test_without_a_class_nothing_is_claimed():
    found = scored(frame(60, truth=0, score=0.3), "tabular", "binary", ["well", "ill"], "auroc")
    plain = said(found)
    assert plain.value == "undefined"
    assert plain.sentence.startswith("AUROC is undefined")
    assert plain.answers == ()
    assert plain.never[0] == "Anything about how good the model is: the headline estimate is undefined."
    assert "AUROC has no interval: how far chance could have moved it is not known." in plain.sure


def test_chance_in_the_interval_is_said(hundred):
    assert "The whole interval lies above chance (0.5)." in said(hundred).sure
    rng = np.random.default_rng(0)
    guess = frame(80, truth=np.arange(80) % 2, score=rng.random(80))
    found = scored(guess, "tabular", "binary", ["well", "ill"], "auroc")
    assert "The interval holds 0.5, which is chance: the model may know nothing." in said(found).sure
    wrong = scored(
        guess.assign(score=guess["score"] / 2 + 0.4 * (guess["truth"] == 0)),
        "tabular",
        "binary",
        ["well", "ill"],
        "auroc",
    )
    assert any("the wrong way round" in line for line in said(wrong).sure)


@pytest.mark.parametrize(("patients", "words"), [(6, "is a hint at most"), (30, "tends to be too narrow")])
def test_few_patients_come_first(patients, words):
    rng = np.random.default_rng(1)
    table = frame(patients, truth=np.arange(patients) % 2, score=rng.random(patients))
    found = scored(table, "tabular", "binary", ["well", "ill"], "auroc")
    assert said(found).sure[0].startswith(f"Only {patients} patients: an interval from so few {words}")
    unknown = Finding("info", "no-patient-ids", "table.csv", "none", "one per case", "Ask.")
    plain = said(found, findings=(unknown,))
    assert plain.sure[0].startswith(f"Only {patients} cases of unknown patients")
    assert "Nobody knows which cases are of one patient. If some are, the interval is too narrow." in plain.sure


def test_the_margin_of_the_gate_by_hand(hundred):
    low = hundred.estimates[0].low
    met = said(hundred, gate={"auroc_low": low - 0.0123})
    assert "The release gate would not be met if the lower limit of AUROC were 0.012 lower than it is." in met.sure
    unmet = said(hundred, gate={"auroc_low": 0.99}, unmet=("auroc_low: too low",))
    assert not any("release gate would" in line for line in unmet.sure)
    assert "That the model is fit to leave: its own release gate is not met." in unmet.never


def test_looks_are_counted(hundred):
    assert ("Models tested on these cases", "not counted") in said(hundred).facts
    assert ("Models tested on these cases", "by the ledger, this one alone") in said(hundred, look=1).facts
    plain = said(hundred, look=3)
    assert ("Models tested on these cases", "3 by the ledger, this one included") in plain.facts
    assert "3 models were tested on these cases; to choose the best flatters it a little." in plain.sure
    assert not any("were tested on these cases" in line for line in said(hundred, look=1).sure)


def test_other_sites_are_other_sites(hundred):
    learned = PartLine("train", "north", 5, 5, (2, 3)), PartLine("test", "north", 5, 5, (2, 3))
    both = (*learned, PartLine("test", "south", 5, 5, (2, 3)))
    assert "all test cases are from north, from which it also learned." in said(hundred, parts=learned).never[0]
    assert said(hundred, parts=both).never[0] == "That it is as good elsewhere: all test cases are from north, south."
    assert "does not know where these cases come from" in said(hundred, parts=()).never[0]
    many = tuple(PartLine("test", f"s{n}", 5, 5, (2, 3)) for n in range(7))
    assert "the 7 sites named below" in said(hundred, parts=many).never[0]
    assert dict(said(hundred, parts=many).facts)["From"] == "7 sites"
    assert said(hundred).never[-1] == ALWAYS


def test_subgroups_masked_poorest_and_missing():
    rng = np.random.default_rng(2)
    truth = np.arange(120) % 2
    site = np.repeat(["good", "bad", "few"], [60, 56, 4])
    score = np.where(site == "bad", rng.random(120), truth * 0.5 + 0.4 * rng.random(120))
    table = frame(120, truth=truth, score=score).assign(site=site)
    plain = said(scored(table, "tabular", "binary", ["well", "ill"], "auroc", subgroups=["site"]))
    assert any(line.startswith("Poorest of 2 subgroups: site: bad, ") for line in plain.sure)
    assert any("excludes 0: site: bad." in line for line in plain.sure)
    assert "Anything about site: few: too few patients." in plain.never
    without = said(scored(table, "tabular", "binary", ["well", "ill"], "auroc"))
    assert "That it is equally good for everybody: no subgroup was looked at." in without.never


def test_scores_that_are_no_probabilities_are_said():
    chance = np.repeat(np.arange(1, 20) / 20, 20)  # of 20 cases with a score of 0.05 one is ill, of 0.1 two, ...
    truth = np.concatenate([np.arange(20) < ill for ill in range(1, 20)]).astype(int)
    right = frame(380, truth=truth, score=chance)
    extreme = right.assign(score=np.where(chance > 0.5, 1 - 0.2 * (1 - chance) ** 2, 0.2 * chance**2))
    classes = ["well", "ill"]
    assert not any("score of 0.3" in line for line in said(scored(right, "tabular", "binary", classes, "auroc")).never)
    found = said(scored(extreme, "tabular", "binary", classes, "auroc")).never
    assert any(line.startswith("That a score of 0.3 means 30 of 100: the scores are too extreme") for line in found)
    far = said(scored(right.assign(score=chance * 5), "tabular", "binary", classes, "auroc")).never
    assert "That a score is a probability: some lie outside 0 to 1." in far


def steps(target: str, primary: str) -> Evaluation:
    """Of a: 8 right, 2 called c; of b: 5 right, 5 called a; of c: all 10 right."""
    truth = np.repeat([0, 0, 1, 1, 2], [8, 2, 5, 5, 10])
    called = np.repeat([0, 2, 1, 0, 2], [8, 2, 5, 5, 10])
    score = 0.1 + 0.7 * np.eye(3)[called]
    columns = {f"score_{name}": score[:, k] for k, name in enumerate("abc")}
    return scored(frame(30, truth=truth, **columns), "classification", target, list("abc"), primary)


def test_classes_by_hand():
    right, least, mistake = said(steps("multiclass", "auroc_macro")).answers
    assert right.startswith("Of 100 cases, the model calls about 77 (between ")
    assert least.startswith("Found least often is b: of 100 such cases, the model finds about 50 (between ")
    assert "tested on 10)" in least
    assert mistake == "The commonest mistake: b is called a, in 5 of its 10 cases."
    assert len(said(steps("multiclass", "accuracy")).answers) == 2  # the headline says the first already


def test_steps_by_hand():
    assert "28 of 30 cases are called rightly or one step off." in said(steps("ordinal", "kappa_quadratic")).answers


def test_findings_by_hand():
    truth = {"truth_x": np.repeat([1, 0], 20), "truth_y": np.tile([1, 0], 20)}
    score = {"score_x": np.repeat([0.9, 0.1, 0.2], [15, 5, 20]), "score_y": np.tile([0.9, 0.1], 20)}
    score["score_y"][[1, 3, 5]] = 0.8
    table = frame(40, **truth, **score)
    both = pd.concat([table.assign(part="validation"), table], ignore_index=True)
    both["patient_id"] = both["part"] + both["patient_id"]
    found = scored(both, "classification", "multilabel", ["x", "y"], "auroc_macro", operating_point={"threshold": 0.5})
    _, least, loudest = said(found).answers
    assert least.startswith("Found least often is x: of 100 cases that show it, about 75 (between")
    assert loudest.startswith("Most false alarms are of y: of 100 cases without it, about 15 (between")
    assert "tested on 20)" in loudest


def test_boxes_by_hand():
    truth = np.array([0, 0, 10, 10, 20, 20, 30, 30], float)
    lines = [
        {
            "size_0": 60, "size_1": 60, "truth_boxes": truth, "truth_labels": np.array([0, 1]),
            "truth_ignore": np.array([False, False]), "boxes": np.array([*truth[:4], 40, 40, 50, 50.0]),
            "labels": np.array([0, 1]), "scores": np.array([0.9, 0.8]),
        }
        for _ in range(12)
    ]  # fmt: skip
    table = pd.concat([frame(12), pd.DataFrame(lines)], axis=1)
    plan = {"operating_point": {"threshold": 0.5}}
    hit, right, least = said(scored(table, "detection", "boxes", ["cell", "clot"], "map_50", **plan)).answers
    assert hit.startswith("Of 100 true boxes, the model finds about 50 (")
    assert "tested on 24)" in hit
    assert right.endswith("In 12 cases 12 boxes are false: 1 each.")
    assert least == "Found least often is clot: 0 of 12."


def test_outlines_by_hand():
    small, large = np.zeros((8, 8, 8), np.uint8), np.zeros((8, 8, 8), np.uint8)
    small[2:6, 2:6, 2:4] = 1
    large[2:6, 2:6, 2:5] = 1
    line = {
        "truth_runs": encode(small),
        "runs": encode(large),
        "shape": np.array(small.shape),
        "spacing_mm": np.ones(3),
    }
    table = pd.concat([frame(3), pd.DataFrame([line] * 3)], axis=1)
    answers = said(scored(table, "segmentation", "masks", ["liver"], "dice")).answers
    assert any(text.startswith("On average, the volume of the answer is 50.0 % larger") for text in answers)
    assert answers[-1] == "The poorest of 3 cases has a mean Dice of 0.800 (case-0)."  # 2 x 32 / (32 + 48)


def test_times_by_hand():
    """Nobody is lost: of 20 at high risk 15 die within a year, of 20 at low risk none."""
    days = np.array([365.0])
    table = frame(
        40,
        time_days=np.repeat([100.0, 800.0], [15, 25]),
        event=np.repeat([1, 0], [15, 25]),
        score=np.repeat([2.0, 1.0], 20),
        risk_group=np.repeat([3, 1], 20),
    )
    table["survival"] = [np.array([0.4])] * 20 + [np.array([0.9])] * 20
    table["survival_days"], table["horizons_days"] = [days] * 40, [days] * 40
    found = scored(table, "tabular", "time_to_event", ["alive", "died"], "c_index")
    high, low = said(found).answers
    assert re.fullmatch(
        r"Of 100 cases at high risk, about 75 died within 1 year \(between \d\d and \d\d; the model expected 60; "
        r"20 such cases were followed\)\.",
        high,
    )
    assert low.startswith("Of 100 cases at low risk, none died within 1 year (the model expected 10; 20 such")


def test_waived_findings_have_a_place_of_their_own(hundred):
    waived = Finding(
        "warning", "twin-images", "images", "2 alike", "none", "Keep one.", ("a",), "a phantom, no patient"
    )
    other = Finding("info", "odd", "row 3", "an age of 200", "110", "Correct it.")
    plain = said(hundred, findings=(waived, other))
    assert plain.waived == (("twin-images", "a phantom, no patient"),)
    html = render(hundred, context(hundred, findings=(waived, other), recipe=recipe(hundred)))
    top, rest = html.split('<section id="estimates"')
    assert "a phantom, no patient" in top
    own, findings = rest.split('id="waived"')[1].split("Findings of the checks")
    assert "a phantom, no patient" in own
    assert "twin-images" not in findings.split("Known pitfalls")[0]
    assert "an age of 200" in findings
    assert 'href="#waived"' not in render(hundred, context(hundred, findings=(other,), recipe=recipe(hundred)))


def recipe(found: Evaluation) -> dict:
    plan = Evaluate.model_validate({"primary": found.primary})
    return {"evaluate": plan.model_dump(mode="json"), "train": {"parts": ["train"]}, "data": {"split": {}}}


def test_no_name_leaves_the_style_of_printed_pages(hundred):
    evil = 'x"; } </style><script>alert(1)</script>\n'
    bare = context(hundred, recipe=recipe(hundred))
    html = render(hundred, dataclasses.replace(bare, pipeline=evil, version=evil))
    assert html.count("</style>") == 1
    assert "<script" not in html
    heads = html[html.index("@page {@top-left") : html.index("</style>")]
    assert heads.count("}") == 5  # four places and the rule itself
    assert "\n" not in heads.strip()


def test_rare_cases_are_not_called_none_of_a_hundred():
    """3 ill of 1,200: a quarter of one in a hundred, not 0 of 100."""
    truth = np.repeat([1, 0], [3, 1197])
    table = frame(1200, truth=truth, score=np.where(np.arange(1200) < 100, 0.9, 0.1))
    found = scored(table, "tabular", "binary", ["well", "ill"], "auroc", operating_point={"threshold": 0.5})
    assert "This holds where 0.2 of 100 cases are ill, as here" in said(found).answers[2]


def test_of_a_headline_without_a_better_side_no_subgroup_is_the_poorest():
    table = frame(60, truth=np.tile([0, 1], 30), score=np.linspace(0.2, 0.8, 60)).assign(site=["a"] * 30 + ["b"] * 30)
    found = scored(table, "tabular", "binary", ["well", "ill"], "brier", subgroups=["site"])
    assert any(line.startswith("Poorest of 2 subgroups") for line in said(found).sure)
    shifted = dataclasses.replace(found, primary="calibration_intercept")
    assert not any(line.startswith("Poorest") for line in said(shifted).sure)
