"""Evidence packs: what is in them, what is not, and every way in which one can be wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest

from ai4diag.errors import ConfigError, DataError, UsageError, VerifyError
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.files import read_json, sha256_file, write_json
from ai4diag.packaging.evidence import signing
from ai4diag.packaging.evidence.documents import broken, questions
from ai4diag.packaging.evidence.pack import build
from ai4diag.packaging.evidence.verify import verify_pack
from tests.packaging.made import RUN, SECRETS, TARGETS, source

ANSWER = "Radiographers of two hospitals; 12.75 hours of training."


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    signing.make_keys(folder / "mine")
    signing.make_keys(folder / "other")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, keys):
    """A signed pack of a run with subgroups and an answer; tests work on copies."""
    run = source("ordinal", ("sex",), answers={next(iter(questions())): ANSWER})
    return build(tmp_path_factory.mktemp("packs") / "toy", run, private_key=keys / "mine" / signing.PRIVATE)


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole.folder, tmp_path / "toy")


def public(keys, name="mine"):
    return keys / name / signing.PUBLIC


def forge(folder):
    """Make the manifest anew, as somebody without the key can."""
    listing = read_json(folder / "manifest.json")
    (folder / signing.SIGNATURE).unlink(missing_ok=True)
    for name in [*listing["files"]]:
        path = folder / name
        if path.is_file():
            listing["files"][name] = {"sha256": sha256_file(path), "size": path.stat().st_size}
    write_json(folder / "manifest.json", listing)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_pack_holds_and_names_its_key(whole, keys):
    for path in (whole.folder, whole.archive):
        found = verify_pack(path, public(keys))
        assert found.problems == []
        assert found.ok
        assert found.gate_met
        assert found.signed_by == whole.signed_by == signing.fingerprint(signing.read_public(public(keys)))
        assert (found.run_id, found.pipeline) == (RUN, "chest-xray")
        assert found.manifest_sha256 == whole.manifest_sha256 == sha256_file(whole.folder / "manifest.json")
        assert any("to the last bit" in sentence for sentence in found.checked)


def test_documents_point_to_what_is_there_and_hold_the_answer(whole):
    texts = {path.relative_to(whole.folder).as_posix(): path.read_text() for path in whole.folder.rglob("*.md")}
    assert {"model-card.md", "annex-iv.md", "pipeline.md"} <= set(texts)
    assert any(ANSWER in text for text in texts.values())
    assert next(iter(questions())) not in whole.missing
    assert not broken(whole.folder, {name: text for name, text in texts.items() if name != "pipeline.md"})


def test_the_plan_and_the_predictions_alone_give_the_same_estimates(whole):
    """Independent of the pack's own code: what `ai4diag evaluate --predictions --plan` says."""
    from ai4diag.pipelines.external import evaluate_external

    found = evaluate_external(whole.folder / "predictions.parquet", whole.folder / "plan.json")
    stated = read_json(whole.folder / "estimates.json")
    assert (
        json.loads(json.dumps([item.as_dict() for item in found.evaluation.estimates]).replace("NaN", "null")) == stated
    )


def test_without_a_public_key_numbers_hold_and_nothing_is_said_about_who(whole, copy):
    found = verify_pack(copy)
    assert found.ok
    assert found.signed_by == ""
    assert "not checked" in found.remarks[0]
    (copy / signing.SIGNATURE).unlink()
    found = verify_pack(copy)
    assert found.ok
    assert "not signed" in found.remarks[0]


@pytest.mark.slow
def test_with_a_public_key_the_signature_must_be_there_and_of_that_key(copy, keys):
    found = verify_pack(copy, public(keys, "other"))
    assert not found.ok
    assert found.signed_by == ""
    assert any("unknown key" in problem for problem in found.problems)
    (copy / signing.SIGNATURE).unlink()
    found = verify_pack(copy, public(keys))
    assert not found.ok
    assert found.problems == ["Signature: not signed."]


def _estimate(folder):
    stated = read_json(folder / "estimates.json")
    stated[0]["value"] += 0.01
    write_json(folder / "estimates.json", stated)
    return "estimates.json", "kappa_quadratic (test), value: found"


def _limit_of_a_subgroup(folder):
    stated = read_json(folder / "estimates.json")
    row = next(item for item in stated if item["subgroup"] == "sex=female" and item["low"] is not None)
    row["low"] += 0.001
    write_json(folder / "estimates.json", stated)
    return "estimates.json", f"{row['name']} (test, sex=female), low: found {row['low']}"


def _headline(folder):
    record = read_json(folder / "record.json")
    record["headline"]["high"] = 0.9999
    write_json(folder / "record.json", record)
    return "record.json", "kappa_quadratic (test), high: found 0.9999, regenerated 0."


def _shown(folder, name):
    value = f"{read_json(folder / 'estimates.json')[0]['value']:.3f}"
    edit(folder / name, f"{value} ", "0.999 ")
    return name, f"found 0.999, regenerated {value}"


def _report(folder):
    return _shown(folder, "report.html")


def _card(folder):
    return _shown(folder, "model-card.md")


def _answer(folder):
    edit(folder / "supplied.yaml", "12.75", "99.75")
    return "model-card.md", "found 12.75, regenerated 99.75"


def _score(folder):
    from ai4diag.evaluation.predictions import read_predictions, write_predictions

    table, facts = read_predictions(folder / "predictions.parquet")
    test = table.index[table["part"] == "test"]
    for number, name in enumerate(("none", "mild", "severe")):
        table.loc[test, f"score_{name}"] = (table.loc[test, "truth"] == number).astype(float)
    write_predictions(folder / "predictions.parquet", table, facts)
    return "estimates.json", "regenerated 1.0"


def _gate(folder):
    edit(folder / "plan.json", '"kappa_quadratic_low": 0.2', '"kappa_quadratic_low": 0.1')
    return "plan.json", "and the recipe in record.json contradict each other"


def _primary(folder):
    record = read_json(folder / "record.json")
    record["run_id"] = "f" * 32
    write_json(folder / "record.json", record)
    return "record.json", "manifest.json about the run contradict"


def _licence(folder):
    card = read_json(folder / "card.yaml")
    write_json(folder / "card.yaml", card | {"licence": card["licence"] | {"id": "MIT"}})
    return "card.yaml", "about the data set contradict"


def _classes(folder):
    plan = read_json(folder / "plan.json")
    write_json(folder / "plan.json", plan | {"classes": plan["classes"][::-1]})
    return "plan.json", "contradict each other about what was predicted"


def _more_cases(folder):
    context = read_json(folder / "context.json")
    next(line for line in context["parts"] if line["part"] == "test")["cases"] += 1000
    write_json(folder / "context.json", context)
    return "predictions.parquet", "about the cases of the test part contradict"


def _more_patients(folder):
    return _other_lines(folder, "patients", lambda value: value + 1000)


def _more_ill(folder):
    return _other_lines(folder, "counts", lambda value: [value[0] + 3, *value[1:]])


def _other_lines(folder, key, change):
    context = read_json(folder / "context.json")
    line = next(line for line in context["parts"] if line["part"] == "test")
    line[key] = change(line[key])
    write_json(folder / "context.json", context)
    return "predictions.parquet", "about the cases of the test part contradict"


def _other_name(folder):
    context = read_json(folder / "context.json")
    write_json(folder / "context.json", context | {"pipeline": "better"})
    return "record.json", "about the pipeline contradict"


def _label(folder):
    import re

    text = (folder / "report.html").read_text()
    found = re.search(r"<text[^>]*>(0\.\d+)", text)
    (folder / "report.html").write_text(f"{text[: found.start(1)]}0.01{text[found.end(1) :]}")
    return "report.html", f"found 0.01, regenerated {found[1]}"


def _one_more_file(folder):
    (folder / "results.md").write_text("AUROC 0.999")
    listing = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", listing | {"files": {**listing["files"], "results.md": {}}})
    return "results.md", "is nothing that a pack holds"


CHANGES = (_report, _score, _one_more_file)
MORE_CHANGES = (
    _estimate,
    _headline,
    _card,
    _limit_of_a_subgroup,
    _answer,
    _gate,
    _primary,
    _more_cases,
    _licence,
    _classes,
    _more_patients,
    _more_ill,
    _other_name,
    _label,
)


def _found(folder, change):
    name, said = change(folder)
    forge(folder)
    found = verify_pack(folder)
    assert not found.ok
    assert not any("was changed" in problem for problem in found.problems)
    assert any(name in problem and said in problem for problem in found.problems), found.problems


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_number_is_named_even_by_a_forger_with_a_manifest_of_his_own(copy, change):
    _found(copy, change)


@pytest.mark.slow
@pytest.mark.parametrize("change", MORE_CHANGES)
def test_so_is_any_other(copy, change):
    _found(copy, change)


def test_without_a_new_manifest_the_changed_file_is_named_beside_the_number(copy, keys):
    _, said = _estimate(copy)
    found = verify_pack(copy, public(keys))
    problems = " ".join(found.problems)
    assert "estimates.json was changed" in problems
    assert said in problems
    assert "the signature does not hold" in problems


def test_files_that_are_changed_missing_or_extra_are_named(copy, keys):
    edit(copy / "environment.txt", "numpy==", "numpy==9")
    (copy / "sbom.cdx.json").unlink()
    (copy / "extra.txt").write_text("hello")
    found = verify_pack(copy, public(keys))
    assert not found.ok
    said = " ".join(found.problems)
    assert "environment.txt was changed" in said
    assert "sbom.cdx.json is missing" in said
    assert "extra.txt is not in the manifest" in said
    assert "the signature does not hold" in said


def _link(folder):
    (folder / "card.yaml").unlink()
    (folder / "card.yaml").symlink_to("/etc/hostname")


def _collide(folder):
    (folder / "Report.html").write_text("other")


def _git(folder):
    (folder / ".gitattributes").write_text("*")


def _escape(folder):
    listing = read_json(folder / "manifest.json")
    listing["files"]["../../etc/passwd"] = {"sha256": "0" * 64, "size": 1}
    write_json(folder / "manifest.json", listing)


def _no_manifest(folder):
    (folder / "manifest.json").unlink()


def _odd_manifest(folder):
    (folder / "manifest.json").write_text('{"kind": "ai4diag evidence pack", "format": 1, "files": [3]}')


def _deep_manifest(folder):
    (folder / "manifest.json").write_text("[" * 100_000)


@pytest.mark.parametrize("change", [_link, _collide, _git, _escape, _no_manifest, _odd_manifest, _deep_manifest])
def test_a_hostile_folder_is_a_verdict_and_not_a_crash(copy, keys, change):
    change(copy)
    found = verify_pack(copy, public(keys))
    assert not found.ok
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("record.json", "{}"),
        ("plan.json", '{"task": "tabular", "target": "binary", "classes": ["a"], "evaluate": {"primary": "auroc"}}'),
        ("context.json", "[1, 2"),
        ("predictions.parquet", "nothing"),
        ("supplied.yaml", "a: [1, 2]"),
    ],
)
def test_a_malformed_file_is_a_verdict_and_not_a_crash(copy, name, content):
    (copy / name).write_text(content)
    forge(copy)
    found = verify_pack(copy)
    assert not found.ok
    assert any("cannot be regenerated" in problem for problem in found.problems)


def test_a_plan_that_would_keep_the_machine_busy_is_refused(copy):
    edit(copy / "plan.json", '"resamples": 100', '"resamples": 1000000000')
    forge(copy)
    found = verify_pack(copy)
    assert any("1,000,000,000 resamples" in problem for problem in found.problems)


def test_what_is_no_pack_is_refused(tmp_path):
    with pytest.raises(VerifyError, match="does not exist"):
        verify_pack(tmp_path / "none")
    (tmp_path / "none.zip").write_text("hello")
    assert "is not a zip" in verify_pack(tmp_path / "none.zip").problems[0]


def test_a_zip_that_was_packed_by_another_tool_holds_too(whole, tmp_path, keys):
    path = tmp_path / "again.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in whole.folder.rglob("*"):
            archive.write(item, item.relative_to(whole.folder))
    assert verify_pack(path, public(keys)).ok


def test_of_another_version_words_may_differ_and_numbers_may_not(copy):
    listing = read_json(copy / "manifest.json")
    listing["writer"]["version"] = "0.0.9"
    write_json(copy / "manifest.json", listing)
    edit(copy / "model-card.md", "\n## ", "\nIn the words of another version.\n\n## ")
    forge(copy)
    found = verify_pack(copy)
    assert found.ok, found.problems
    said = " ".join(found.remarks)
    assert "model-card.md: 1 passage is worded otherwise" in said
    assert "0.0.9" in said
    name, said = _card(copy)
    forge(copy)
    found = verify_pack(copy)
    assert not found.ok
    assert any(name in problem and said in problem for problem in found.problems)


def of_another_version(folder):
    listing = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", listing | {"writer": {"version": "0.0.9"}})


@pytest.mark.slow
def test_who_claims_another_version_hides_no_estimate_and_runs_nothing(copy):
    of_another_version(copy)
    stated = read_json(copy / "estimates.json")
    write_json(copy / "estimates.json", stated[:1])
    forge(copy)
    found = verify_pack(copy)
    assert found.problems == []
    assert any(
        f"{len(stated) - 1} estimates come out now that the pack does not state: " in one for one in found.remarks
    )
    edit(copy / "report.html", "</body>", "<script>1</script></body>")
    write_json(copy / "estimates.json", [])
    forge(copy)
    said = " ".join(verify_pack(copy).problems)
    assert "estimates.json does not begin with the headline" in said
    assert "report.html holds what a browser would run" in said


@pytest.mark.parametrize("key", ["run_id", "pipeline"])
def test_a_manifest_cannot_write_over_the_verdict(copy, key):
    listing = read_json(copy / "manifest.json")
    write_json(copy / "manifest.json", listing | {key: "toy\nThe pack holds.\x1b[2K"})
    found = verify_pack(copy)
    assert not found.ok
    assert (found.run_id, found.pipeline) == ("", "")
    write_json(copy / "manifest.json", listing | {"files": {**listing["files"], "a\x1b[2K": {}}})
    assert all(sentence.isprintable() for sentence in verify_pack(copy).problems)


def test_nothing_that_names_a_patient_a_person_or_a_machine_is_in_any_byte(whole, tmp_path):
    with zipfile.ZipFile(whole.archive) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    contents["the zip itself"] = whole.archive.read_bytes()
    table = pd.read_parquet(whole.folder / "predictions.parquet")
    contents["predictions, decoded"] = table.to_csv().encode() + str(table.attrs).encode()
    for name, content in contents.items():
        for secret in SECRETS:
            assert secret.encode() not in content, (name, secret)
            assert secret.encode() not in name.encode()
    assert len(contents) > 15
    assert "look-alike" in contents["toy/report.html"].decode()  # that there was a finding is said


@pytest.mark.slow
def test_what_would_name_somebody_is_not_written(tmp_path):
    run = source("ordinal")
    case = run.predictions["case_id"].iloc[0]
    for change in (
        {"answers": {next(iter(questions())): f"Ask about {case}."}},
        {"readme": f"{run.readme}\nTrained on ZZHOST.\n"},
    ):
        with pytest.raises(DataError, match="of the evidence pack would name"):
            build(tmp_path / "toy", dataclasses.replace(run, **change))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_waiver_keeps_its_reason_but_not_the_cases_that_it_names(tmp_path):
    run = source("ordinal")
    one, other = run.context.findings
    plain = dataclasses.replace(one, waived="Looked at by two readers.")
    naming = dataclasses.replace(other, waived="ZZTRAIN-8 and ZZTRAIN-8x are one patient.", cases=("ZZTRAIN-8",))
    context = dataclasses.replace(run.context, findings=(plain, naming))
    made = build(tmp_path / "toy", dataclasses.replace(run, context=context))
    reasons = [item["waived"] for item in read_json(made.folder / "context.json")["findings"]]
    assert reasons == ["Looked at by two readers.", "(a case) and ZZTRAIN-8x are one patient."]
    assert "(a case) and ZZTRAIN-8x" in (made.folder / "report.html").read_text()


@pytest.mark.slow
def test_a_case_that_a_card_or_a_readme_names_is_replaced(tmp_path):
    run = source("ordinal")
    case, patient = run.predictions["case_id"].iloc[0], run.predictions["patient_id"].iloc[0]
    card = {**run.card, "pitfalls": [f"{case}.png is empty."]}
    readme = f"{run.readme}\nSee `{case}` of {patient} in /zz/home/ZZUSER/scans.\n"
    made = build(tmp_path / "toy", dataclasses.replace(run, card=card, readme=readme))
    assert "See `(a case)` of (a case) in ~/scans." in (made.folder / "pipeline.md").read_text()
    assert read_json(made.folder / "card.yaml")["pitfalls"] == ["(a case) is empty."]
    assert verify_pack(made.folder).ok


def test_a_case_of_the_training_part_is_not_named_either(tmp_path):
    run = source("ordinal", cases=frozenset({"ZZTRAIN-55"}), answers={next(iter(questions())): "See ZZTRAIN-55."})
    with pytest.raises(DataError, match="of the evidence pack would name"):
        build(tmp_path / "toy", run)


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes_and_a_pack_is_replaced_whole(tmp_path):
    run = source("ordinal")
    first = build(tmp_path / "toy", run).archive.read_bytes()
    (tmp_path / "toy" / "left-over").write_text("x")
    second = build(tmp_path / "toy", run)
    assert second.archive.read_bytes() == first
    assert second.signed_by == ""
    assert not (tmp_path / "toy" / "left-over").exists()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["toy", "toy.zip"]


def test_what_is_no_pack_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="is no evidence pack"):
        build(tmp_path / "mine", source("ordinal"))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_record_whose_numbers_do_not_come_out_is_not_packed(tmp_path):
    run = source("ordinal")
    run.estimates[0] = dataclasses.replace(run.estimates[0], value=0.999)
    with pytest.raises(DataError, match=r"do not come out .* found 0.999"):
        build(tmp_path / "toy", run)


def test_an_answer_to_what_nobody_asked_names_the_nearest_question(tmp_path):
    key = next(iter(questions()))
    with pytest.raises(ConfigError, match=key):
        build(tmp_path / "toy", source("ordinal", answers={key + "x": "yes"}))


def test_every_target_there_is_is_tried():
    from ai4diag.evaluation.targets import TARGETS as KNOWN

    assert set(TARGETS) == set(KNOWN)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_packed_and_regenerates(target, tmp_path):
    """Independent: the estimates are those of the predictions before names were replaced."""
    run = source(target, ("sex",))
    made = build(tmp_path / "toy", run)
    found = verify_pack(made.archive)
    assert found.problems == []
    before = evaluate(
        run.predictions, task=run.record["task"], target=target, classes=run.record["classes"], plan=run.plan
    ).estimates
    stated = read_json(made.folder / "estimates.json")
    plain = json.loads(json.dumps([item.as_dict() for item in before]).replace("NaN", "null"))
    assert stated == plain
    for item in made.folder.rglob("*"):
        if item.is_file():
            assert not any(secret.encode() in item.read_bytes() for secret in SECRETS), item


@pytest.mark.slow
def test_pictures_are_in_the_pack_when_asked_for_and_the_report_regenerates_with_them(tmp_path):
    from PIL import Image

    grey = np.asarray(Image.radial_gradient("L").resize((64, 64)))
    image = np.repeat(grey[:, :, None], 3, axis=2)
    asked = []

    def picture(case):
        asked.append(case)
        return None if len(asked) == 2 else (image, (1.0, 1.0))

    run = source("boxes")
    plain = build(tmp_path / "plain", run)
    shown = build(
        tmp_path / "shown", dataclasses.replace(run, context=dataclasses.replace(run.context, picture=picture))
    )
    assert set(asked) <= set(run.predictions["case_id"])
    assert not (plain.folder / "pictures.safetensors").exists()
    assert "data:image/jpeg" not in (plain.folder / "report.html").read_text()
    assert (shown.folder / "report.html").read_text().count("data:image/jpeg") == len(asked) - 1
    assert verify_pack(shown.archive).problems == []
    content = (shown.folder / "pictures.safetensors").read_bytes()
    (shown.folder / "pictures.safetensors").write_bytes(content[:-5] + b"\x00\x01\x02\x03\x04")
    forge(shown.folder)
    assert not verify_pack(shown.folder).ok
