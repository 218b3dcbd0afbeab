"""Documents of a pack: true of the run, every pointer leads somewhere, and nothing invented."""

from __future__ import annotations

import doctest
import html
import json
import math
import re
import shutil
from dataclasses import replace
from functools import cache
from io import StringIO

import pytest
from ruamel.yaml import YAML

from ai4diag.files import read_json, write_text
from ai4diag.packaging.evidence import contents
from ai4diag.packaging.evidence.contents import read
from ai4diag.packaging.evidence.documents import broken, documents, figures, markdown, missing, pointers, questions
from ai4diag.packaging.evidence.documents import run as run_module
from ai4diag.packaging.evidence.documents.answers import ANSWERS
from ai4diag.packaging.evidence.documents.guideline import ANSWERED, NOT, OPEN, PARTLY, SUPPLIED, rows, tables
from ai4diag.packaging.evidence.documents.pointers import Pointer, anchors, links
from ai4diag.packaging.evidence.documents.run import Run
from ai4diag.packaging.evidence.pack import build
from ai4diag.packaging.evidence.verify import verify_pack
from ai4diag.types import Finding
from tests.packaging.made import RUN, TARGETS, source

PAGE = """# toy: is it there?

## Intended use

**Question.** Is it there? For teaching. See [the list](list.md) | or not.

**Input.** One line per person. A missing value is filled.

**Output.** A probability.

## Trained on

The recipe was chosen on validation.

## Limits

- One place.
- **Not for** anything.
"""
PURPOSE = ("Question. Is it there?", "Input. One line. A missing value is filled.", "Output. A probability.")
LIMITS = ("One place.", "Not for anything.")
SLOW = tuple(name for name in TARGETS if name != "binary")
EVERY = pytest.mark.parametrize(
    "target", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in TARGETS]
)
TRIPOD = """
1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 18a 18b 18c 18d
18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"""
STARD = """
1 2 3 4 5 6 7 8 9 10 11 12 13 14 15a 15b 15c 15d 16a 16b 16c 17a 17b 18 19 20 21 22 23 24 25 26a 26b 27 28 29 30 31
32 33 34 35 36 37 38 39 40a 40b"""
ANNEX = """
1(a) 1(b) 1(c) 1(d) 1(e) 1(f) 1(g) 1(h) 2(a) 2(b) 2(c) 2(d) 2(e) 2(f) 2(g) 2(h)
3.1 3.2 3.3 3.4 3.5 4 5 6 7 8 9"""
NUMBERS = {
    "checklists/tripod-ai.md": TRIPOD.split(),
    "checklists/stard-ai.md": STARD.split(),
    "checklists/claim.md": [str(number) for number in range(1, 45)],
    "annex-iv.md": ANNEX.split(),
}
"""Written down from the published lists, apart from the tables."""
APPLIES = {
    "binary": {"tripod-ai", "stard-ai"},
    "multiclass": {"tripod-ai", "stard-ai", "claim"},
    "ordinal": {"tripod-ai", "stard-ai", "claim"},
    "multilabel": {"tripod-ai", "stard-ai"},
    "masks": {"claim"},
    "boxes": {"claim"},
    "time_to_event": {"tripod-ai"},
}


def made(target, **changes):
    """A source with a page that says something."""
    found = source(target, readme=PAGE, **changes)
    return replace(found, context=replace(found.context, purpose=PURPOSE, limits=LIMITS))


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """A function from a target to its pack, built once."""
    known = {}

    def pack(target):
        if target not in known:
            subgroups = ("sex",) if target in ("binary", "time_to_event") else ()
            known[target] = build(tmp_path_factory.mktemp(target) / "pack", made(target, subgroups=subgroups)).folder
        return known[target]

    return pack


def texts(pack):
    """The documents that are in a pack, by path."""
    names = ("README.md", "model-card.md", *NUMBERS)
    return {name: (pack / name).read_text() for name in names}


def written(folder, stated):
    """Write a folder like a pack, and return its facts."""
    facts = stated.facts(stated.evaluate())
    contents.write(folder, stated)
    for name, text in contents.made(stated, facts.evaluation).items():
        write_text(folder / name, text)
    write_text(folder / contents.MANIFEST, "{}")
    return facts


@cache
def facts_of(pack):
    stated = read(pack)
    curves = re.search(r'(?s)<section[^>]*id="curves".*?</section>', (pack / contents.REPORT).read_text())
    plots = re.findall(r"<h3[^>]*>([^<]*)", curves[0]) if curves else []
    return stated.facts(stated.evaluate(), tuple(map(html.unescape, plots)))


def front_matter(card):
    block = re.fullmatch(r"(?s)---\n(.*?)\n---\n.*", card)
    return YAML(typ="safe", pure=True).load(StringIO(block[1]))


def cells(text):
    """Cells of every line of a checklist, split at bars that are not escaped."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| Item")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@EVERY
def test_every_pointer_of_a_real_pack_leads_somewhere(packs, target):
    pack = packs(target)
    found = texts(pack)
    assert broken(pack, found) == []
    assert len([link for text in found.values() for link in links(text)]) > 100
    facts = facts_of(pack)
    assert documents(facts) == documents(facts) == found


@EVERY
def test_a_guideline_is_filled_in_for_what_it_is_about_and_else_says_why_not(packs, target):
    found = texts(packs(target))
    for path, numbers in NUMBERS.items():
        name = path.removeprefix("checklists/").removesuffix(".md")
        if name != "annex-iv" and name not in APPLIES[target]:
            assert "**Does not apply to this run.**" in found[path]
            assert cells(found[path]) == []
            continue
        lines = cells(found[path])
        assert [line[0] for line in lines] == numbers
        assert all(len(line) == 4 and all(line) for line in lines)
        said = re.search(r"Of (\d+) items: (.*?)\. Numbers|Of (\d+) items: (.*?)\. Headings", found[path])
        counted = [int(number) for number in re.findall(r"\d+", said[2] or said[4])]
        assert sum(counted) == int(said[1] or said[3]) == len(numbers)


def test_the_tables_have_as_many_items_as_the_guidelines_and_name_only_what_there_is():
    main = {"checklists/tripod-ai.md": 27, "checklists/stard-ai.md": 40, "checklists/claim.md": 44, "annex-iv.md": 9}
    asked, answered = set(), set()
    for table in tables():
        assert [item.number for item in table.items] == NUMBERS[table.path]
        assert len({re.match(r"\d+", item.number)[0] for item in table.items}) == main[table.path]
        for item in table.items:
            assert item.answer or item.ask, item
            asked |= {*item.ask, *item.otherwise}
            answered |= set(item.answer)
            assert len(item.topic) < 100, "a topic in our own words is short"
    assert answered <= ANSWERS.keys()
    from_code = {"threshold_rationale", "imbalance", "model_licence", "follow_up"}
    assert asked | from_code == questions().keys()
    assert all(text.endswith(("?", ".")) for text in questions().values())


@EVERY
def test_nothing_is_called_answered_that_has_an_open_question_or_no_pointer(packs, target):
    run = Run(facts_of(packs(target)))
    statuses = set()
    for table in tables():
        if not table.applies(run):
            continue
        for row in rows(table, run):
            statuses.add(row.status)
            assert all(answer.text and answer.at for answer in row.answers), row
            if row.status == ANSWERED:
                assert row.answers
                assert not row.open
                assert all(answer.whole for answer in row.answers)
            if row.status == NOT:
                assert row.why
            if row.open:
                assert row.status == (PARTLY if row.answers else OPEN)
    assert statuses >= {ANSWERED, PARTLY, OPEN}


@pytest.mark.slow
def test_what_people_supply_stands_in_its_place_marked_and_nothing_stays_open(packs, tmp_path):
    asked = missing(facts_of(packs("binary")))
    assert {"ethics_approval", "funding", "patient_involvement", "registration"} <= asked.keys()
    evil = "Yes | <b>no</b> [x](../../etc/passwd)\nsecond *line*"
    answers = {key: f"Answer to {key}." for key in asked} | {"funding": evil}
    folder = shutil.copytree(packs("binary"), tmp_path / "pack")
    facts = replace(facts_of(packs("binary")), supplied=answers)
    write_text(folder / contents.SUPPLIED, json.dumps(answers))  # JSON is YAML
    found = documents(facts)
    assert missing(facts) == {}
    assert broken(folder, found) == []
    for path, text in found.items():
        assert "To be supplied" not in text.replace("Everything that the checklists mark", ""), path
    line = next(line for line in cells(found["checklists/tripod-ai.md"]) if line[0] == "17")
    assert line[2] == SUPPLIED
    assert line[3].startswith("**Supplied by the manufacturer** (`ethics_approval`): Answer to ethics_approval.")
    assert "[supplied.yaml /ethics_approval](../supplied.yaml#/ethics_approval)" in line[3]
    line = next(line for line in cells(found["checklists/tripod-ai.md"]) if line[0] == "18a")
    assert len(line) == 4
    assert "&lt;b>" in line[3]
    assert "<br>second" in line[3]
    assert "etc/passwd" not in [address for _, address in links(found["checklists/tripod-ai.md"])]


def test_blank_answers_are_none(packs):
    facts = facts_of(packs("binary"))
    assert missing(replace(facts, supplied={"funding": "  \n"})) == missing(facts)
    assert missing(replace(facts, supplied={"funding": "Nobody."})) == {
        key: text for key, text in missing(facts).items() if key != "funding"
    }


@EVERY
def test_the_metadata_of_the_card_are_the_estimates_to_the_last_digit(packs, target):
    pack = packs(target)
    block = front_matter((pack / "model-card.md").read_text())
    assert block["library_name"] == "ai4diag"
    assert block["license"] == "other"
    assert block["license_name"] == "to-be-supplied"
    assert block["datasets"] == ["toy"]
    (result,) = block["model-index"][0]["results"]
    shown = [
        (item["type"], item["value"], item["args"].get("low"), item["args"].get("high")) for item in result["metrics"]
    ]
    recorded = [
        (item["name"], item["value"], item["low"], item["high"])
        for item in read_json(pack / "estimates.json")
        if item["part"] == "test" and item["subgroup"] == "all" and item["value"] is not None
    ]
    assert shown == recorded
    assert not any(math.isnan(value) for _, value, _, _ in shown)
    assert block["metrics"] == [name for name, *_ in recorded]


def test_a_licence_that_the_hub_knows_is_named_and_another_has_a_name_of_its_own(packs):
    facts = facts_of(packs("binary"))
    for text, licence, name in (("Apache-2.0", "apache-2.0", None), ("Ours, see LICENCE", "other", "ours-see-licence")):
        block = front_matter(documents(replace(facts, supplied={"model_licence": text}))["model-card.md"])
        assert (block["license"], block.get("license_name")) == (licence, name)


@EVERY
def test_no_document_promises_what_a_run_cannot(packs, target):
    for path, text in texts(packs(target)).items():
        assert not re.search(r"complian|conform|certif|guarantee", text, re.IGNORECASE), path
        if "**Does not apply" not in text:
            assert re.search(r"[Nn]ot for clinical\s+use without the manufacturer's own approval", text), path


def test_every_date_and_every_name_is_from_the_facts(packs):
    facts = facts_of(packs("binary"))
    known = json.dumps([dict(facts.record), facts.context.as_dict(), list(facts.verdicts)])
    for path, text in documents(facts).items():
        for date in re.findall(r"\d{4}-\d{2}-\d{2}", text):
            assert date in known, (path, date)
        assert RUN in text, path


@pytest.mark.slow
def test_a_run_that_says_nothing_of_itself_is_no_error_and_invents_nothing(packs, tmp_path):
    stated = read(packs("binary"))
    nothing = dict.fromkeys(("purpose", "limits", "parts", "findings", "checked", "not_checked"), ())
    context = replace(stated.context, **nothing, hashes={}, look=0)
    record = {**stated.record, "trained": {}, "evaluated": {}, "model": {}}
    bare = replace(stated, context=context, record=record, readme="", card={}, environment="", verdicts=())
    facts = written(tmp_path, bare)
    found = texts(tmp_path)
    assert broken(tmp_path, found) == []
    assert "intended_purpose" in missing(facts)
    card = found["model-card.md"]
    assert "*To be supplied by the manufacturer* (`intended_purpose`)" in card
    assert "That does not mean that there are none." in card
    assert "from which commit the model was trained: that was not recorded" in card
    lines = {line[0]: line for line in cells(found["checklists/tripod-ai.md"])}
    assert lines["3a"][2] == OPEN
    assert lines["20a"][2] == OPEN
    assert lines["18f"][2] == OPEN


def test_uncommitted_files_and_verdicts_are_told_as_they_are(packs):
    facts = facts_of(packs("binary"))
    clean = documents(facts)["model-card.md"]
    assert "Made again from its commit, at 2026-11-22T20:00:00+00:00: holds." in clean
    assert "not in the commit" not in clean
    record = {**facts.record, "trained": {**facts.record["trained"], "git_dirty": "true"}}
    verdict = {**facts.verdicts[-1], "verdict": "does not hold", "reason": "AUROC moved."}
    told = documents(replace(facts, record=record, verdicts=(*facts.verdicts, verdict)))
    assert "Files that are not in the commit were present" in told["model-card.md"]
    assert "does not hold. AUROC moved." in told["model-card.md"]
    before, after = (
        {line[0]: line[2] for line in cells(found["checklists/stard-ai.md"])} for found in (documents(facts), told)
    )
    assert before["15a"] == ANSWERED
    assert after["15a"] == PARTLY


@pytest.mark.slow
def test_groups_of_people_are_no_classes(packs):
    card = (packs("masks") / "model-card.md").read_text()
    assert "| class: anterior |" in card.partition("## Results")[2].partition("## Subgroups")[0]
    assert "The recipe names no subgroups of patients." in card.partition("## Subgroups")[2]
    card = (packs("binary") / "model-card.md").read_text()
    assert "| sex: female |" in card.partition("## Subgroups")[2].partition("## Limits")[0]


def test_pointers_that_lead_nowhere_are_named(packs):
    pack = packs("binary")
    cases = {
        "[a](nothing.json)": "there is no nothing.json",
        "[a](record.json#/recipe/nothing)": "nothing is at /recipe/nothing",
        "[a](estimates.json#/9999)": "nothing is at /9999",
        "[a](record.json#recipe)": "recipe is no JSON pointer",
        "[a](pipeline.md#nowhere)": "pipeline.md has no nowhere",
        "[a](report.html#nowhere)": "report.html has no nowhere",
        "[a](../outside.md)": "it leaves the pack",
    }
    for text, why in cases.items():
        (found,) = broken(pack, {"README.md": text})
        assert why in found
    right = "[a](record.json#/recipe/data) [b](pipeline.md#intended-use) [c](https://example.org/x) [d](report.html)"
    assert broken(pack, {"README.md": right}) == []
    assert broken(pack, {"checklists/x.md": "[a](../card.yaml#/licence/id)"}) == []


def test_keys_and_headings_survive_as_fragments():
    assert Pointer("a.json", ("x/y", "p~q", "with space")).fragment == "#/x~1y/p~0q/with%20space"
    assert anchors("# A\n## Same, same!\n## Same same\n```\n# no\n```\n") == {"a", "same-same", "same-same-1"}


def test_estimates_of_folds_are_not_taken_for_those_of_the_kept_model(packs):
    facts = facts_of(packs("binary"))
    folds = documents(replace(facts, context=replace(facts.context, folds=5)))
    assert "the kept model learned from all cases, and was not tested" in folds["model-card.md"]
    assert "none by the kept model" in folds["checklists/tripod-ai.md"]
    assert "the kept model learned from all cases" not in documents(facts)["model-card.md"]


def of_recipe(facts, block, **changes):
    """The facts with other settings in a block of the recipe."""
    recipe = {**facts.record["recipe"], block: {**facts.record["recipe"][block], **changes}}
    return replace(facts, record={**facts.record, "recipe": recipe}, context=replace(facts.context, recipe=recipe))


def test_no_threshold_is_said_to_be_fixed_where_there_is_none(packs):
    facts = facts_of(packs("binary"))
    for target in ("masks", "multiclass", "ordinal"):
        answer = ANSWERS["threshold"](Run(replace(facts, evaluation=replace(facts.evaluation, target=target))))
        assert "there is no threshold" in answer.why
    assert "validation fixed it" in ANSWERS["threshold"](Run(facts)).text
    point = replace(facts.evaluation.operating_point, value=math.nan, note="one class on validation")
    answer = ANSWERS["threshold"](Run(replace(facts, evaluation=replace(facts.evaluation, operating_point=point))))
    assert "one class on validation" in answer.text
    assert "validation fixed it" not in answer.text
    assert not answer.whole


@pytest.mark.parametrize(
    ("network", "said", "never"),
    [
        ("cox", "steps of Newton's method on all cases", "batches|epoch|learning rate"),
        ("gradient_boosting", "rounds of boosting, learning rate", "batches|epochs,"),
        ("mlp", "epochs, batches of", "Newton|boosting"),
    ],
)
def test_how_it_was_trained_is_told_of_the_way_that_it_is_trained(packs, network, said, never):
    run = Run(of_recipe(facts_of(packs("binary")), "model", network=network))
    text = ANSWERS["training"](run).text
    assert said in text
    assert not re.search(never, text)
    assert ("epoch" in ANSWERS["selection"](run).text) is (network != "cox")


def test_what_was_tested_in_folds_had_no_test_part(packs):
    facts = facts_of(packs("binary"))
    assert "on a test part" in ANSWERS["title"](Run(facts)).text
    text = ANSWERS["title"](Run(replace(facts, context=replace(facts.context, folds=5)))).text
    assert "evaluated in 5 folds" in text
    assert "test part" not in text


@pytest.mark.slow
def test_a_waiver_is_told_and_its_cases_are_not(packs):
    facts = facts_of(packs("boxes"))
    waiver = {"finding": "look-alike", "where": "ZZTRAIN-7", "reason": "ZZTRAIN-7 is kept."}
    recipe = {**facts.context.recipe, "data": {**facts.context.recipe["data"], "waive": [waiver]}}
    facts = replace(facts, context=replace(facts.context, recipe=recipe), record={**facts.record, "recipe": recipe})
    found = documents(facts)
    assert "Waived in the recipe, with a reason: look-alike." in found["annex-iv.md"]
    assert "[record.json /recipe/data/waive](record.json#/recipe/data/waive)" in found["annex-iv.md"]
    assert not any("ZZTRAIN" in text for text in found.values())


def test_a_model_changed_by_recalibration_only_on_paper_says_so(packs):
    facts = facts_of(packs("binary"))
    line = next(line for line in cells(documents(facts)["checklists/tripod-ai.md"]) if line[0] == "12f")
    assert line[2] == NOT
    first = facts.evaluation.estimates[0]
    again = [*facts.evaluation.estimates, replace(first, name="brier_recalibrated", value=0.125, low=0.1, high=0.15)]
    facts = replace(facts, evaluation=replace(facts.evaluation, estimates=again))
    line = next(line for line in cells(documents(facts)["checklists/tripod-ai.md"]) if line[0] == "12f")
    assert line[2] == ANSWERED
    assert "0.125 (95 % interval 0.100 to 0.150" in line[3]
    assert f"estimates.json#/{len(again) - 1}" in line[3]


@pytest.mark.slow
def test_a_waiver_that_names_a_case_is_kept_without_its_name(tmp_path):
    found = source("binary")
    case = str(found.predictions["case_id"].iloc[0])
    waivers = [
        {"finding": "look-alike", "where": case, "reason": f"As in the benchmark; without {case}, 0.1 less."},
        {"finding": "post-outcome-column", "where": "days", "reason": "It is known on the first day."},
    ]
    recipe = {**found.record["recipe"], "data": {**found.record["recipe"]["data"], "waive": waivers}}
    context = replace(found.context, recipe=recipe)
    folder = build(tmp_path / "pack", replace(found, context=context, record={**found.record, "recipe": recipe})).folder
    kept = read_json(folder / "record.json")["recipe"]["data"]["waive"]
    assert [waiver["finding"] for waiver in kept] == ["look-alike", "post-outcome-column"]
    assert kept[0]["where"] == "(a case)"
    assert kept[0]["reason"] == "As in the benchmark; without (a case), 0.1 less."
    assert kept[1] == waivers[1]
    assert verify_pack(folder).problems == []


@pytest.mark.parametrize("module", [figures, markdown, pointers, run_module], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_a_variant_is_not_taken_for_the_pipeline(packs):
    facts = facts_of(packs("binary"))
    found = documents(replace(facts, record={**facts.record, "variant": "quick"}))
    assert all("variant `quick` (not the pipeline as it is committed)" in text for text in found.values())
    assert front_matter(found["model-card.md"])["model-index"][0]["name"] == "breast-mass (quick)"
    assert not any("variant `" in text for text in documents(facts).values())


def test_where_nobody_is_named_cases_are_not_called_patients(packs):
    facts = facts_of(packs("binary"))
    assert "Counted as patients" not in documents(facts)["model-card.md"]
    finding = Finding("info", "no-patient-ids", "the data", "1 of this kind", "names", "Ask.")
    card = documents(replace(facts, context=replace(facts.context, findings=(finding,))))["model-card.md"]
    assert "| Patients |" not in card
    assert card.count("| Counted as patients |") >= 3


@pytest.mark.parametrize(
    ("target", "asked"), [pytest.param("time_to_event", True, marks=pytest.mark.slow), ("binary", False)]
)
def test_a_question_that_follows_from_an_answer_is_asked_only_then(packs, target, asked):
    assert ("follow_up" in missing(facts_of(packs(target)))) is asked
    assert ("threshold_rationale" in missing(facts_of(packs(target)))) is not asked
