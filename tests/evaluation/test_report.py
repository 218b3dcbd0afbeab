"""The report against the estimates it shows, and against what every HTML page must satisfy."""

from __future__ import annotations

import dataclasses
import html as entities
import itertools
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.plan import Evaluate
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.report import DatasetFacts, PartLine, ReportContext, Training, render, words
from ai4diag.types import Estimate, Finding

VOID = {"meta", "br", "img", "link", "input", "hr"}
EVIL = "<script>alert(1)</script>$x^2$&\"'"


class Page(HTMLParser):
    """Elements of a page in order, with their attributes, their text and their ancestors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[dict] = []
        self.open: list[dict] = []
        self.problems: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"{tag} has an attribute twice")
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "inside": [item["tag"] for item in self.open]}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open[-1]["tag"] != tag:
            self.problems.append(f"</{tag}> closes {self.open[-1]['tag'] if self.open else 'nothing'}")
        else:
            self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]

    def rows(self):
        """Texts of the cells of every table row."""
        found: list[list[str]] = []
        for element in self.all("tr", "th", "td"):
            if element["tag"] == "tr":
                found.append([])
            else:
                found[-1].append(element["text"])
        return found


def patients(n=60, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    score = np.clip(0.3 + 0.4 * truth + rng.normal(0, 0.2, n), 0.01, 0.99)
    return pd.DataFrame(
        {
            "case_id": [f"visit-{i:03d}" for i in range(n)],
            "patient_id": [f"p{i // 2:03d}" for i in range(n)],
            "site": np.where(np.arange(n) < n - 4, "north", "south"),
            "sex": np.where(np.arange(n) // 2 % 2, "female", "male"),
            "fold": 0,
            "part": np.where(np.arange(n) % 6 < 2, "validation", "test"),
            "truth": truth,
            "score": score,
        }
    )


def images(n=18, seed=0):
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        low = rng.uniform(0, 70, (5, 2))
        truth = np.hstack([low, low + rng.uniform(10, 25, (5, 2))])
        labels = np.array([0, 0, 0, 1, 1])
        kept = rng.random(5) < 0.8
        boxes = np.vstack([truth[kept] + rng.normal(0, 1, (kept.sum(), 4)), [[1, 1, 9, 9]]])
        called = np.append(np.where(rng.random(kept.sum()) < 0.8, labels[kept], 1 - labels[kept]), 0)
        lines.append(
            {
                "case_id": f"field-{i:02d}",
                "patient_id": f"p{i // 2}",
                "site": "north",
                "stain": "pale" if i % 2 else "deep",
                "fold": 0,
                "part": "validation" if i % 3 == 0 else "test",
                "size_0": 100,
                "size_1": 120,
                "truth_boxes": truth.ravel(),
                "truth_labels": labels,
                "truth_ignore": np.array([False, False, False, False, i % 4 == 0]),
                "boxes": np.clip(boxes, 0, 100).ravel(),
                "labels": called,
                "scores": rng.uniform(0.2, 1, len(boxes)),
            }
        )
    return pd.DataFrame(lines)


def plan(**change):
    interval = {"resamples": 100}
    return Evaluate.model_validate({"primary": "auroc", "interval": interval, "subgroups": ("site", "sex"), **change})


def context(settings, **change):
    recipe = {
        "task": "tabular",
        "data": {"split": {"by": "patient_id", "contrast": "case_id"}},
        "train": {"parts": ["train"]},
    }
    facts = {
        "title": "Is it malignant?",
        "pipeline": "toy",
        "task": "tabular",
        "target": "binary",
        "primary": settings.primary,
        "classes": ("benign", "malignant"),
        "recipe": {**recipe, "evaluate": settings.model_dump(mode="json")},
        "dataset": DatasetFacts("toy", "Toy", "Made up.", "https://example.org/toy", "Nobody, 2020.", "CC0-1.0"),
        "purpose": ("Which masses are malignant?",),
        "limits": ("Made up.",),
        "parts": (PartLine("train", "north", 100, 50, (60, 40)), PartLine("test", "north", 40, 20, (20, 20))),
        "findings": (Finding("warning", "odd", "row 3", "age 200", "at most 110", "Correct it."),),
        "training": Training((1, 2, 3), (0.7, 0.5, 0.4), (0.6, math.nan, 0.8)),
        "gate": dict(settings.accept),
        "hashes": {"recipe": "ab" * 32},
        "checked": ("Something.",),
        "not_checked": ("Everything else.",),
    }
    return ReportContext(**{**facts, **change})


def tabular(table=None, settings=None, **change):
    settings = settings or plan()
    table = patients() if table is None else table
    found = evaluate(table, task="tabular", classes=("benign", "malignant"), plan=settings)
    return found, render(found, context(settings, **change))


def picture(case_id):
    rng = np.random.default_rng(len(case_id))
    return rng.integers(0, 256, (50, 60, 3), dtype=np.uint8), (0.5, 0.5)


def detection(table=None, settings=None, **change):
    settings = settings or plan(primary="map_50", subgroups=("stain",))
    found = evaluate(
        images() if table is None else table, task="detection", classes=("RBC", "Platelets"), plan=settings
    )
    change = {"task": "detection", "target": "boxes", "classes": ("RBC", "Platelets"), "picture": picture, **change}
    return found, render(found, context(settings, **change))


@pytest.fixture(scope="module", params=[tabular, detection], ids=["tabular", "detection"])
def both(request):
    return request.param()


def test_patients_are_not_counted_where_nobody_can_tell_them_apart():
    assert "40 cases of 20 patients" in tabular()[1]
    finding = Finding("info", "no-patient-ids", "table.csv", "no patient identifiers", "one per case", "Ask for them.")
    assert "40 cases of unknown patients" in tabular(findings=(finding,))[1]


def test_page_is_well_formed_and_its_ids_are_unique(both):
    page = Page(both[1])
    assert not page.problems
    assert not page.open
    ids = [element["attrs"]["id"] for element in page.elements if "id" in element["attrs"]]
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:href="#|url\(#)([^")]+)', both[1])
    assert set(targets) <= set(ids)
    said = [
        element["attrs"]["aria-labelledby"].split()
        for element in page.elements
        if "aria-labelledby" in element["attrs"]
    ]
    assert {name for names in said for name in names} <= set(ids)


def test_page_loads_nothing_and_runs_nothing(both):
    page = Page(both[1])
    for element in page.elements:
        assert element["tag"] not in ("script", "link", "iframe", "object", "base")
        for name, value in element["attrs"].items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href", "srcset", "action"):
                assert value.startswith(("#", "data:image/jpeg;base64,"))
    style = page.all("style")[0]["text"]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(e["attrs"]["content"] for e in page.all("meta") if e["attrs"].get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_everything_drawn_has_a_text_alternative(both):
    page = Page(both[1])
    drawn = [e for e in page.all("svg") if e["attrs"].get("aria-hidden") != "true"]
    assert len(drawn) >= 4
    for element in drawn:
        assert element["attrs"]["role"] == "img"
        assert element["attrs"]["aria-labelledby"]
        assert len(element["text"].strip()) > 20
    charts = [e for e in page.all("figure") if "Numbers: " in e["text"]]
    assert charts
    assert all(e["text"].count("Numbers: ") == 1 for e in charts)


def test_tables_have_captions_and_headings_with_scope(both):
    page = Page(both[1])
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(e["attrs"]["scope"] in ("col", "row") for e in page.all("th"))
    assert all(e["text"].strip() for e in page.all("th") if e["attrs"]["scope"] == "col")
    header = None
    for row, cells in zip(page.all("tr"), page.rows(), strict=True):
        header = len(cells) if "thead" in row["inside"] else header
        assert len(cells) == header


def test_landmarks_and_headings_in_order(both):
    page = Page(both[1])
    assert [len(page.all(tag)) for tag in ("main", "header", "nav", "footer", "h1")] == [1] * 5
    levels = [int(e["tag"][1]) for e in page.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    first_link = page.all("a")[0]
    assert first_link["attrs"] == {"class": "skip", "href": "#main"}
    assert page.all("html")[0]["attrs"]["lang"] == "en"


def test_numbers_are_those_of_the_estimates(both):
    found, text = both
    rows = Page(text).rows()
    for item in found.estimates:
        first = words.group(item.subgroup) if item.subgroup != "all" else words.name(item.name)
        value = "undefined" if math.isnan(item.value) else f"{item.value:.3f}".replace("-0.000", "0.000")
        limits = "none"
        if not math.isnan(item.low):
            limits = f"{item.low:.3f} to {item.high:.3f}".replace("-0.000", "0.000")
        wanted = [first, value, limits, str(item.n), str(item.n_patients)]
        assert any(row[:5] == wanted for row in rows), item
    headline = found.estimates[0]
    page = Page(text)
    shown = next(e for e in page.all("span") if e["attrs"].get("class") == "value")
    assert shown["text"] == f"{headline.value:.3f}"


def test_same_input_gives_the_same_bytes():
    assert tabular()[1] == tabular()[1]
    assert detection()[1] == detection()[1]


def test_no_date_no_path(both):
    assert not re.search(r"20[2-9]\d-\d\d-\d\d", both[1])
    assert "/home/" not in both[1]
    assert "/tmp/" not in both[1]


def test_every_text_is_escaped():
    table = patients()
    table["case_id"] = table["case_id"] + EVIL
    table.loc[table["sex"] == "male", "sex"] = EVIL
    change = dict.fromkeys(("title", "pipeline", "variant", "version"), EVIL)
    change |= dict.fromkeys(("purpose", "limits", "unmet", "checked", "not_checked"), (EVIL,))
    change["dataset"] = DatasetFacts(*[EVIL] * 8, (EVIL,))
    change["findings"] = (Finding("info", EVIL, EVIL, EVIL, EVIL, EVIL),)
    change["hashes"] = {EVIL: EVIL}
    change["parts"] = (PartLine("test", EVIL, 1, 1, (1, 0)),)
    found = evaluate(table, task="tabular", classes=("benign", EVIL), plan=plan())
    text = render(found, context(plan(), classes=("benign", EVIL), **change))
    page = Page(text)
    assert not page.problems
    assert "<script" not in text
    assert page.all("h1")[0]["text"] == EVIL
    assert any(row[0].endswith(EVIL) for row in page.rows())
    assert any(e["text"] == f"sex: {EVIL}" for e in page.all("text"))


def test_class_names_and_cases_are_escaped_in_pictures():
    table = images()
    table["case_id"] = table["case_id"] + EVIL
    found = evaluate(table, task="detection", classes=(EVIL, "b"), plan=plan(primary="map_50", subgroups=()))
    text = render(
        found, context(plan(primary="map_50"), task="detection", target="boxes", classes=(EVIL, "b"), picture=picture)
    )
    assert "<script" not in text
    assert not Page(text).problems
    assert f"missed {entities.escape(EVIL, quote=True).replace('&quot;', '&#34;').replace('&#x27;', '&#39;')}" in text


def test_masked_subgroup_is_said_and_shows_no_number():
    found, text = tabular()
    masked = [item for item in found.estimates if item.note.startswith("masked")]
    assert {item.subgroup for item in masked} == {"site=south"}
    assert "too few patients: site: south" in text
    rows = [row for row in Page(text).rows() if row[0] == "site: south"]
    assert rows
    assert all(row[1:3] == ["undefined", "none"] for row in rows)


def test_one_class_only_leaves_out_what_is_undefined():
    table = patients()
    table["truth"] = 0
    found, text = tabular(table)
    assert math.isnan(found.estimates[0].value)
    page = Page(text)
    assert not page.problems
    assert not re.search(r"\bnan\b", text, flags=re.IGNORECASE)
    assert next(e for e in page.all("span") if e["attrs"].get("class") == "value")["text"] == "undefined"
    assert "AUROC is undefined: " in text
    assert "ROC curve" not in [e["text"] for e in page.all("h3")]


def test_images_without_boxes_and_without_pictures():
    table = images()
    for name in ("truth_boxes", "truth_labels", "truth_ignore", "boxes", "labels", "scores"):
        table[name] = [np.zeros(0)] * len(table)
    _, text = detection(table, picture=None)
    page = Page(text)
    assert not page.problems
    assert "The image is not at hand." in text
    assert "0 true boxes" in text


def test_a_bare_context_makes_a_report():
    settings = plan(subgroups=())
    found = evaluate(patients(), task="tabular", classes=("benign", "malignant"), plan=settings)
    bare = dict.fromkeys(("purpose", "limits", "parts", "findings", "checked", "not_checked"), ())
    text = render(found, context(settings, training=None, hashes={}, **bare))
    page = Page(text)
    assert not page.problems
    links = {e["attrs"]["href"] for e in page.all("a")}
    assert "#training" not in links
    assert "#subgroups" not in links


def test_gate_met_and_not_met_are_said():
    met = tabular(settings=plan(accept={"auroc_low": 0.5}))[1]
    assert "Release gate met" in met
    unmet = tabular(settings=plan(accept={"auroc_low": 0.99}), unmet=("auroc_low: 0.8 is below 0.99",))[1]
    assert "Release gate not met" in unmet
    assert "auroc_low: 0.8 is below 0.99." in unmet
    assert "No release gate" in tabular()[1]


def test_contrast_says_what_the_wrong_split_claims():
    table = patients()
    wrong = table[table["part"] == "test"].assign(part="contrast")
    wrong["score"] = np.clip(wrong["score"] + (wrong["truth"] - 0.5) * 0.5, 0.01, 0.99)
    found, text = tabular(pd.concat([table, wrong], ignore_index=True))
    claimed = next(item for item in found.estimates if item.part == "contrast")
    assert claimed.value > found.estimates[0].value
    said = f"would have claimed AUROC {claimed.value:.3f}; the right one gives {found.estimates[0].value:.3f}."
    assert said in text


def test_confusion_matrix_adds_up_to_the_cases():
    found, text = tabular()
    rows = {row[0]: row[1:] for row in Page(text).rows() if row[0] in ("malignant", "benign") and len(row) == 4}
    table = patients().query("part == 'test'")
    called = table["score"] >= found.operating_point.value
    for name, truth in (("malignant", 1), ("benign", 0)):
        own = called[table["truth"] == truth]
        assert rows[name] == [str(own.sum()), str((~own).sum()), str(len(own))]


def test_report_with_full_pictures_stays_small():
    big = np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), dtype=np.uint8)  # noise compresses worst
    _, text = detection(images(40), picture=lambda case_id: (big, (15.0, 16.7)))
    assert text.count("data:image/jpeg") == 10
    assert len(text.encode()) < 3_000_000


def test_colours_of_text_reach_a_contrast_of_4_5():
    style = Page(tabular()[1]).all("style")[0]["text"]
    colour = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", style))

    def luminance(code):
        parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for name in ("ink", "quiet", "accent"):
        for ground in ("#ffffff", colour["tint"]):
            assert (luminance(ground) + 0.05) / (luminance(colour[name]) + 0.05) >= 4.5, (name, ground)


@pytest.mark.parametrize(
    ("name", "value", "low", "high", "sentence"),
    [
        (
            "auroc",
            0.9,
            0.85,
            0.94,
            "Of 100 pairs of one ill and one well case, the model ranks the ill one higher in 90",
        ),
        ("sensitivity", 0.5, 0.25, 0.75, "Of 100 ill cases, the model finds 50 (95% interval: 25 to 75)."),
        ("specificity", 1.0, 0.93, 1.0, "Of 100 well cases, the model clears 100 (95% interval: 93 to 100)."),
        ("sensitivity_at_1_fp", 0.8, 0.7, 0.9, "Of 100 objects, the model finds 80 at 1 false alarm per image"),
        ("brier", 0.125, 0.1, 0.15, "Brier score is 0.125 (95% interval: 0.100 to 0.150)."),
        ("auroc", 0.9, math.nan, math.nan, "higher in 90; there is no interval."),
        ("auroc", math.nan, math.nan, math.nan, "AUROC is undefined: no positives."),
    ],
)
def test_estimates_in_plain_words(name, value, low, high, sentence):
    note = "no positives" if math.isnan(value) else ""
    estimate = Estimate(name, value, low, high, 100, 80, note=note)
    assert sentence in words.sentence(estimate, ("well", "ill"), 0.95)


def test_context_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        context(plan()).title = "other"
