"""Foreign predictions: scored as pycocotools, scikit-learn and plain numpy score them; whatever is wrong is named."""

from __future__ import annotations

import contextlib
import io
import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn import metrics

from ai4diag.cli import cli
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.pipelines.compare import compare
from ai4diag.pipelines.external import evaluate_external, read_plan

FAST = "interval: {resamples: 100}"


def score(folder, predictions, plan):
    (folder / "plan.yaml").write_text(plan)
    return evaluate_external(folder / predictions, folder / "plan.yaml")


def values(found, subgroup="all"):
    test = [item for item in found.evaluation.estimates if (item.part, item.subgroup) == ("test", subgroup)]
    return {item.name: item.value for item in test}


# Detections


def coco(seed=0, images=10):
    """Annotations, crowds included, and results, as COCO has them; patients have two images each."""
    rng = np.random.default_rng(seed)
    truth = {
        "images": [
            {"id": 7 * i + 3, "file_name": f"s{i}.png", "width": 120, "height": 100}
            | {"patient_id": f"p{i // 2}", "stain": "ab"[i % 2]}
            for i in range(images)
        ],
        "categories": [{"id": 5, "name": "white"}, {"id": 2, "name": "red"}],
        "annotations": [],
    }  # fmt: skip
    results = []
    for image in truth["images"]:
        for _ in range(int(rng.integers(1, 9))):
            x, y, w, h = (float(v) for v in (*rng.uniform(0, 70, 2), *rng.uniform(5, 28, 2)))
            category, crowd = int(rng.choice([5, 2])), int(rng.random() < 0.15)
            line = {"id": len(truth["annotations"]) + 1, "image_id": image["id"], "category_id": category}
            truth["annotations"].append({**line, "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd})
            for _ in range(int(rng.integers(0, 3))):
                box = [v + float(d) for v, d in zip((x, y, w, h), rng.normal(0, 2, 4), strict=True)]
                said = category if rng.random() < 0.8 else 7 - category
                results.append(
                    {"image_id": image["id"], "category_id": said, "bbox": box, "score": float(rng.random())}
                )
    return truth, results


def write_coco(folder, truth, results):
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(results))


BOXES = (
    f"task: detection\ntruth: truth.json\nevaluate: {{primary: map_50, {FAST}, operating_point: {{threshold: 0.5}}}}\n"
)


def pycocotools(truth, results):
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = truth
        known.createIndex()
        scorer = COCOeval(known, known.loadRes(results), "bbox")
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    return scorer.stats[:2]


@pytest.mark.parametrize("seed", range(3))
def test_detections_score_as_pycocotools_scores_them(tmp_path, seed):
    truth, results = coco(seed)
    write_coco(tmp_path, truth, results)
    found = values(score(tmp_path, "found.json", BOXES))
    both = pycocotools(truth, results)
    assert (found["map_50_95"], found["map_50"]) == pytest.approx(tuple(both), abs=1e-12)
    one_file = {**truth, "predictions": results}
    (tmp_path / "both.json").write_text(json.dumps(one_file))
    again = score(tmp_path, "both.json", BOXES.replace("truth: truth.json\n", ""))
    assert values(again) == found


def test_patients_and_attributes_come_from_the_images_or_a_table_or_the_names(tmp_path):
    truth, results = coco()
    write_coco(tmp_path, truth, results)
    found = score(tmp_path, "found.json", BOXES.replace("evaluate: {", "evaluate: {subgroups: [stain], minimum_n: 2, "))
    assert found.foreign.table["patient_id"].nunique() == 5
    assert found.foreign.classes == ("red", "white")  # in the order of the numbers
    assert found.evaluation.estimates[0].n_patients == 5
    assert {item.subgroup for item in found.evaluation.estimates} >= {"stain=a", "stain=b"}
    for image in truth["images"]:
        del image["patient_id"]
    write_coco(tmp_path, truth, results)
    alone = score(tmp_path, "found.json", BOXES)
    assert alone.evaluation.estimates[0].n_patients == 10
    assert any("of one patient is not known" in note for note in alone.evaluation.notes)
    assert any("Which cases are of one patient" in line for line in alone.context.not_checked)
    named = score(tmp_path, "found.json", BOXES + "patient_pattern: ^s(\\d)$\n")
    assert named.foreign.table["patient_id"].tolist() == list("0123456789")
    pd.DataFrame({"case_id": [f"s{i}.png" for i in range(10)], "patient_id": list("aaaaabbbbb")}).to_csv(
        tmp_path / "who.csv", index=False
    )
    assert score(tmp_path, "found.json", BOXES + "patients: who.csv\n").evaluation.estimates[0].n_patients == 2
    for plan, kind, said in (
        ("patient_pattern: ^s([0-4])\n", DataError, "does not match 5 cases: 's5'"),
        ("patient_pattern: (s)(.)\n", ConfigError, "has 2 groups; expected one"),
        ("patient_pattern: '(s'\n", ConfigError, "no regular expression"),
    ):
        with pytest.raises(kind, match=said):
            score(tmp_path, "found.json", BOXES + plan)
    (tmp_path / "who.csv").write_text("case_id,patient_id\ns0.png,a\n")
    with pytest.raises(DataError, match=r"who\.csv has no line for 9 cases: 's1', 's2', 's3' and 6 more"):
        score(tmp_path, "found.json", BOXES + "patients: who.csv\n")


def test_an_image_without_detections_counts_as_missed_unless_the_plan_says_otherwise(tmp_path):
    truth, results = coco()
    first = truth["images"][0]["id"]
    write_coco(tmp_path, truth, [item for item in results if item["image_id"] != first])
    found = score(tmp_path, "found.json", BOXES)
    assert any(
        "No detections, so that all boxes count as missed, in 1 image: 's0'" in n for n in found.evaluation.notes
    )
    fewer = score(tmp_path, "found.json", BOXES + "missing: leave_out\n")
    assert fewer.evaluation.estimates[0].n < found.evaluation.estimates[0].n == 10
    assert values(fewer)["map_50"] > values(found)["map_50"]
    with pytest.raises(DataError, match=r"no prediction for .*: 's0'"):
        score(tmp_path, "found.json", BOXES + "missing: refuse\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": 99}, r"found\.json, result 3: found image_id 99; expected one of the 10"),
        ({"image_id": True}, "found image_id True"),
        ({"category_id": 1}, r"result 3: found category_id 1; expected one of the 2 that the truth lists, such as 2"),
        ({"score": float("nan")}, "result 3: found score nan; expected a finite number"),
        ({"score": "0.5"}, "result 3: found score '0.5'"),
        ({"score": 10**400}, "result 3: found score 1000"),
        ({"bbox": [10, 10, -5, 5]}, r"result 3: found bbox \[10, 10, -5, 5\]; expected a width and a height above 0"),
        ({"bbox": [1, 2, 3]}, r"expected \[x, y, width, height\]"),
        ({"bbox": [500, 10, 20, 20]}, r"result 3: found a box \[500, 10, 20, 20\] outside 's0'.*120 x 100"),
    ],
)
def test_a_wrong_result_is_named_by_its_place(tmp_path, change, said):
    truth, results = coco()
    at = truth["images"][0]["id"]
    results = [{**item, "image_id": at} for item in results[:4]]
    results[2] |= change
    write_coco(tmp_path, truth, results)
    with pytest.raises(DataError, match=said):
        score(tmp_path, "found.json", BOXES)


def test_fractions_boxes_over_the_edge_and_other_classes(tmp_path):
    truth, results = coco()
    inside = [{**item, "bbox": [v / 128 for v in item["bbox"]]} for item in results]
    write_coco(tmp_path, truth, inside)
    with pytest.raises(DataError, match="boxes within 0 and 1; expected pixels"):
        score(tmp_path, "found.json", BOXES)
    write_coco(tmp_path, truth, [{**results[0], "bbox": [110, 50, 30, 10]}, {**results[0], "bbox": [-3, 50, 30, 10]}])
    assert "2 detections reach beyond the edge" in " ".join(score(tmp_path, "found.json", BOXES).evaluation.notes)
    with pytest.raises(DataError, match=r"truth\.json has the categories red, white; .*plan\.yaml names red, blue"):
        score(tmp_path, "found.json", BOXES + "classes: [red, blue]\n")
    with pytest.raises(ConfigError, match=r"asks for binary, and .*found\.json holds boxes"):
        score(tmp_path, "found.json", BOXES.replace("detection", "tabular"))
    (tmp_path / "found.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"expected a list of \{image_id"):
        score(tmp_path, "found.json", BOXES)


# Label maps

MASKS = f"task: segmentation\ntruth: truth\nclasses: [front, back]\nevaluate: {{primary: dice, {FAST}}}\n"
AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


def write_maps(folder, n=6, seed=0):
    """True and predicted maps; the answers of every second case are stored with the first axis reversed."""
    rng = np.random.default_rng(seed)
    for name in ("truth", "found"):
        (folder / name).mkdir(exist_ok=True)
    pairs = []
    for case in range(n):
        truth = rng.integers(0, 3, (8, 7, 5)).astype(np.uint8)
        found = np.where(rng.random(truth.shape) < 0.2, rng.integers(0, 3, truth.shape), truth).astype(np.uint8)
        nib.save(nib.Nifti1Image(truth, AFFINE), folder / "truth" / f"p{case // 2}_{case}.nii.gz")
        stored, affine = found, AFFINE
        if case % 2:
            stored, affine = found[::-1], AFFINE @ np.diag([-1.0, 1, 1, 1])
            affine[0, 3] = AFFINE[0, 0] * (truth.shape[0] - 1)
        nib.save(nib.Nifti1Image(stored, affine), folder / "found" / f"p{case // 2}_{case}.nii")
        pairs.append((truth, found))
    return pairs


def test_label_maps_score_as_numpy_and_scikit_learn_score_them(tmp_path):
    pairs = write_maps(tmp_path)
    found = score(tmp_path, "found", MASKS + "patient_pattern: ^(p\\d)_\n")
    for label, name in ((1, "front"), (2, "back")):
        dice = [2 * ((t == label) & (f == label)).sum() / ((t == label).sum() + (f == label).sum()) for t, f in pairs]
        iou = [metrics.jaccard_score((t == label).ravel(), (f == label).ravel()) for t, f in pairs]
        assert values(found, f"class={name}")["dice"] == pytest.approx(np.mean(dice), abs=1e-12)
        assert values(found, f"class={name}")["iou"] == pytest.approx(np.mean(iou), abs=1e-12)
    assert found.evaluation.estimates[0].n_patients == 3
    assert found.foreign.table["spacing_mm"].iloc[0] == pytest.approx([1.0, 1.5, 2.0])
    assert found.context.parts[0].counts == tuple(sum(int((t == k).sum()) for t, _ in pairs) for k in (1, 2))


def test_a_case_without_a_map_counts_as_an_empty_one_unless_the_plan_says_otherwise(tmp_path):
    pairs = write_maps(tmp_path)
    (tmp_path / "found" / "p0_0.nii").unlink()
    found = score(tmp_path, "found", MASKS)
    dice = [2 * ((t == 1) & (f == 1)).sum() / ((t == 1).sum() + (f == 1).sum()) for t, f in pairs]
    assert values(found, "class=front")["dice"] == pytest.approx(np.mean([0.0, *dice[1:]]), abs=1e-12)
    assert "No predicted map, which counts as an empty one, for 1 case: 'p0_0'" in " ".join(found.evaluation.notes)
    fewer = score(tmp_path, "found", MASKS + "missing: leave_out\n")
    assert values(fewer, "class=front")["dice"] == pytest.approx(np.mean(dice[1:]), abs=1e-12)
    assert fewer.evaluation.estimates[0].n == 5
    with pytest.raises(DataError, match=r"no prediction for 1 case: 'p0_0'"):
        score(tmp_path, "found", MASKS + "missing: refuse\n")


def test_wrong_maps_are_named_with_what_is_wrong(tmp_path):
    write_maps(tmp_path)

    def put(array, affine=AFFINE):
        nib.save(nib.Nifti1Image(array, affine), tmp_path / "found" / "p0_0.nii")

    good = np.ones((8, 7, 5), np.uint8)
    moved = AFFINE.copy()
    moved[0, 3] = 30
    for array, affine, said in (
        (good[:-1], AFFINE, r"found/p0_0\.nii and .*have sides \(7, 7, 5\) and \(8, 7, 5\)"),
        (good, moved, "places that differ by up to 30 mm"),
        (good, AFFINE * [[2], [2], [2], [1]], "places that differ"),
        (good * 3, AFFINE, r"280 voxels hold no class, the first 3 at \(0, 0, 0\).*from 0 to 2"),
        (good.astype(np.float32) * 0.5, AFFINE, "hold no class, the first 0.5"),
        (good.astype(np.float32) * np.nan, AFFINE, "not finite"),
    ):  # fmt: skip
        put(array, affine)
        with pytest.raises(DataError, match=said):
            score(tmp_path, "found", MASKS)
    put(good)
    nib.save(nib.Nifti1Image(good, AFFINE), tmp_path / "found" / "p9_9.nii")
    with pytest.raises(DataError, match="a prediction and no truth for 1 case: 'p9_9'"):
        score(tmp_path, "found", MASKS)
    left = score(tmp_path, "found", MASKS + "extra: leave_out\n")
    assert any("Left out, with a prediction and no truth for 1 case" in note for note in left.evaluation.notes)
    for plan, said in (
        (MASKS.replace("truth: truth\n", ""), "does not say where the truth is"),
        (MASKS.replace("classes: [front, back]\n", ""), "the classes are not known"),
    ):
        with pytest.raises(ConfigError, match=said):
            score(tmp_path, "found", plan)


# Tables

TABLE = "task: tabular\nclasses: [benign, malignant]\n"
TABLE += f"evaluate: {{primary: auroc, {FAST}, operating_point: {{threshold: 0.5}}}}\n"


def cases(n=60, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    chance = np.clip(truth * 0.3 + rng.random(n) * 0.7, 0, 1).round(3)
    names = [f"c{i}" for i in range(n)]
    return pd.DataFrame({"case_id": names, "patient_id": names, "truth": truth, "score": chance})


def test_truth_may_be_words_and_in_a_table_of_its_own(tmp_path):
    table = cases()
    expected = metrics.roc_auc_score(table["truth"], table["score"])
    words = table.assign(truth=np.where(table["truth"] == 1, "malignant", "benign"))
    words.to_csv(tmp_path / "one.csv", index=False)
    assert values(score(tmp_path, "one.csv", TABLE))["auroc"] == pytest.approx(expected)
    words.drop(columns="score").to_csv(tmp_path / "truth.csv", index=False)
    table[["case_id", "score"]].iloc[::-1].to_parquet(tmp_path / "two.parquet")
    apart = TABLE + "truth: truth.csv\n"
    assert values(score(tmp_path, "two.parquet", apart))["auroc"] == pytest.approx(expected)
    text = table[["case_id", "score"]].to_csv(index=False, sep=";", decimal=",")
    (tmp_path / "excel.csv").write_text("\ufeff" + text, "utf-8")
    assert values(score(tmp_path, "excel.csv", apart))["auroc"] == pytest.approx(expected)
    words.loc[3, "truth"] = "malignent"
    words.to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(DataError, match="'truth', line 4: found 'malignent'; expected one of benign, malignant"):
        score(tmp_path, "one.csv", TABLE)


def test_a_missing_score_stops_counts_as_the_worst_answer_or_is_left_out_as_the_plan_says(tmp_path):
    table = cases()
    lacking = [2, 5, 7]
    holes = table.assign(score=table["score"].where(~table.index.isin(lacking)))
    holes.to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(DataError, match=r"no prediction for 3 cases: 'c2', 'c5', 'c7'\. .*missing: wrong"):
        score(tmp_path, "v.csv", TABLE)
    wrong = score(tmp_path, "v.csv", TABLE + "missing: wrong\n")
    worst = table["score"].where(~table.index.isin(lacking), 1 - table["truth"])
    assert values(wrong)["auroc"] == pytest.approx(metrics.roc_auc_score(table["truth"], worst))
    assert values(wrong)["accuracy"] == pytest.approx(((worst >= 0.5) == table["truth"]).mean())
    assert "No prediction, which counts as a wrong answer as the plan says, for 3 cases" in " ".join(
        wrong.evaluation.notes
    )
    left = score(tmp_path, "v.csv", TABLE + "missing: leave_out\n")
    rest = table.drop(index=lacking)
    assert values(left)["auroc"] == pytest.approx(metrics.roc_auc_score(rest["truth"], rest["score"]))
    table.drop(columns="score").to_csv(tmp_path / "truth.csv", index=False)
    holes.dropna()[["case_id", "score"]].to_csv(tmp_path / "v.csv", index=False)
    apart = score(tmp_path, "v.csv", TABLE + "missing: wrong\ntruth: truth.csv\n")
    assert values(apart) == values(wrong)


def test_the_worst_answer_of_several_classes_is_a_wrong_class_and_of_a_scale_the_farthest(tmp_path):
    table = pd.DataFrame({"case_id": list("abcd"), "patient_id": list("abcd"), "truth": [0, 1, 2, 2]})
    table = table.assign(score_x=[None, 0.2, None, 0], score_y=[None, 0.7, None, 0], score_z=[None, 0.1, None, 1])
    table.to_csv(tmp_path / "v.csv", index=False)
    plan = "task: classification\ntarget: TARGET\nclasses: [x, y, z]\nmissing: wrong\n"
    plan += f"evaluate: {{primary: accuracy, {FAST}}}\n"
    for target, answer in (("multiclass", [1, 1, 0, 2]), ("ordinal", [2, 1, 0, 2])):
        found = score(tmp_path, "v.csv", plan.replace("TARGET", target))
        scores = found.foreign.table[["score_x", "score_y", "score_z"]].to_numpy(float)
        assert scores.argmax(axis=1).tolist() == answer
        assert values(found)["accuracy"] == 0.5
        assert values(found)["brier"] > 1
    with pytest.raises(DataError, match="missing: leave_out"):
        time = pd.DataFrame({"case_id": ["a"], "patient_id": ["a"], "time_days": [3.0], "event": [1], "score": [None]})
        time.to_csv(tmp_path / "t.csv", index=False)
        score(tmp_path, "t.csv", "task: tabular\ntarget: time_to_event\nmissing: wrong\nevaluate: {primary: c_index}\n")


def test_cases_twice_or_without_truth_are_named(tmp_path):
    table = cases(8)
    table.drop(columns="score").to_csv(tmp_path / "truth.csv", index=False)
    apart = TABLE + "truth: truth.csv\n"
    answers = table[["case_id", "score"]]
    pd.concat([answers, answers.iloc[:1]]).to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(DataError, match=r"v\.csv: case 'c0' is there twice"):
        score(tmp_path, "v.csv", apart)
    more = pd.concat([answers, pd.DataFrame({"case_id": ["x1"], "score": [0.3]})])
    more.to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(DataError, match=r"a prediction and no truth for 1 case: 'x1'.*extra: leave_out"):
        score(tmp_path, "v.csv", apart)
    assert score(tmp_path, "v.csv", apart + "extra: leave_out\n").evaluation.estimates[0].n == 8
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        score(tmp_path, "v.csv", TABLE + "truth: nowhere.csv\n")
    with pytest.raises(ConfigError, match="Did you mean 'missing'"):
        score(tmp_path, "v.csv", TABLE + "mising: wrong\n")


# Plan, report, comparison


def test_a_pipeline_is_a_plan(repository, tmp_path):
    asked = read_plan(repository / "pipelines" / "breast-mass" / "pipeline.yaml")
    assert (asked.target, asked.plan.evaluate.primary) == ("binary", "auroc")
    cases().to_csv(tmp_path / "v.csv", index=False)
    found = evaluate_external(tmp_path / "v.csv", asked.path)
    assert found.evaluation.primary == "auroc"


def test_the_report_says_plainly_what_is_not_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    truth, results = coco()
    write_coco(tmp_path, truth, results)
    write_maps(tmp_path)
    cases().to_csv(tmp_path / "v.csv", index=False)
    for name, plan in (("v.csv", TABLE), ("found.json", BOXES), ("found", MASKS)):
        (tmp_path / "plan.yaml").write_text(plan)
        words = ["evaluate", "--predictions", name, "--plan", "plan.yaml", "--out", f"out-{name}"]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
        folder = tmp_path / f"out-{name}"
        assert sorted(path.name for path in folder.iterdir()) == ["estimates.json", "report.html"]
        page = (folder / "report.html").read_text()
        assert "The model was not run here." in page
        assert "its training data are not known" in page
        assert "whether it has learned from them" in page.replace("\n", " ")
        assert "that has not learned from them" not in page
        assert "ai4diag verify" not in page
        first = json.loads((folder / "estimates.json").read_text())[0]
        assert f"{first['value']:.3f}" in done.output
    (tmp_path / "found.json").write_text(json.dumps([r for r in results if r["image_id"] != 3]))
    (tmp_path / "plan.yaml").write_text(BOXES)
    done = CliRunner().invoke(cli, ["evaluate", "--predictions", "found.json", "--plan", "plan.yaml", "--json"])
    assert json.loads(done.stdout)[0]["name"] == "map_50"
    assert "No detections, so that all boxes count as missed, in 1 image: 's0'" in done.stderr
    done = CliRunner().invoke(cli, ["evaluate", "breast-mass", "--out", "x"])
    assert "--out belongs to --predictions" in done.output


def test_pictures_of_cases_are_shown_where_the_plan_names_their_folder(tmp_path):
    truth, results = coco()
    write_coco(tmp_path, truth, results)
    (tmp_path / "seen").mkdir()
    for image in truth["images"][1:]:
        Image.fromarray(np.full((100, 120, 3), 90, np.uint8)).save(tmp_path / "seen" / image["file_name"])
    Image.fromarray(np.zeros((1000, 1200, 3), np.uint8)).save(tmp_path / "seen" / "s1.png")
    found = score(tmp_path, "found.json", BOXES + "images: seen\n")
    assert found.context.picture("s0") is None
    image, scale = found.context.picture("s2")
    assert (image.shape, scale) == ((100, 120, 3), (1.0, 1.0))
    image, scale = found.context.picture("s1")
    assert image.shape == (533, 640, 3)
    assert scale == (533 / 1000, 640 / 1200)
    found.write(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text().count("data:image") >= 5
    with pytest.raises(DataError, match="nowhere is no folder"):
        score(tmp_path, "found.json", BOXES + "images: nowhere\n")
    pairs = write_maps(tmp_path)
    (tmp_path / "scans").mkdir()
    nib.save(nib.Nifti1Image(pairs[0][0].astype(np.float32) * 10, AFFINE), tmp_path / "scans" / "p0_0.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.float32), AFFINE), tmp_path / "scans" / "p0_1.nii.gz")
    maps = score(tmp_path, "found", MASKS + "images: scans\n")
    np.testing.assert_array_equal(maps.context.volume("p0_0") > 100, pairs[0][0] > 0)
    assert maps.context.volume("p1_2") is None
    with pytest.raises(DataError, match=r"p0_1\.nii\.gz has sides \(3, 3, 3\)"):
        maps.context.volume("p0_1")


def test_foreign_detections_are_compared(tmp_path):
    truth, results = coco()
    write_coco(tmp_path, truth, results)
    poor = [item for item in results if item["image_id"] % 2]
    (tmp_path / "poor.json").write_text(json.dumps(poor))
    (tmp_path / "plan.yaml").write_text(BOXES)
    words = [str(tmp_path / "found.json"), str(tmp_path / "poor.json")]
    found = compare(words, lambda: None, plan=tmp_path / "plan.yaml").found
    assert found.comparisons[0].pairs[0].reference.value == pytest.approx(pycocotools(truth, results)[1], abs=1e-12)
    assert found.comparisons[0].pairs[0].other.value == pytest.approx(pycocotools(truth, poor)[1], abs=1e-12)
    assert found.comparisons[0].verdict.kind == "worse"
    assert any(note.startswith("B: ") and "No detections" in note for note in found.notes)


def test_external_and_internal_evaluation_are_the_same_code(tmp_path):
    table = cases()
    table.to_csv(tmp_path / "v.csv", index=False)
    found = score(tmp_path, "v.csv", TABLE)
    plan = read_plan(tmp_path / "plan.yaml").plan
    again = evaluate(
        table.assign(site="", fold=0, part="test"), task="tabular", classes=plan.classes, plan=plan.evaluate
    )
    assert [str(item) for item in found.evaluation.estimates] == [str(item) for item in again.estimates]


# Hostile tables


def test_scores_are_those_of_the_predictions_even_if_the_truth_has_some(tmp_path):
    table = cases()
    expected = metrics.roc_auc_score(table["truth"], table["score"])
    table.assign(score=1 - table["score"]).to_csv(tmp_path / "truth.csv", index=False)
    table[["case_id", "score"]].to_csv(tmp_path / "found.csv", index=False)
    found = score(tmp_path, "found.csv", TABLE + "truth: truth.csv\n")
    assert values(found)["auroc"] == pytest.approx(expected)


def test_classes_that_are_called_like_numbers_are_found_by_name(tmp_path):
    """Grades 1 to 4 of which none is 4: not the classes with these numbers from 0."""
    rng = np.random.default_rng(3)
    grade = np.arange(60) % 3 + 1
    table = cases().assign(truth=grade, **{f"score_{k}": rng.random(60) + (grade == k) for k in range(1, 5)})
    table.drop(columns="score").to_csv(tmp_path / "one.csv", index=False)
    plan = (
        f"task: tabular\ntarget: multiclass\nclasses: ['1', '2', '3', '4']\nevaluate: {{primary: accuracy, {FAST}}}\n"
    )
    expected = (table[[f"score_{k}" for k in range(1, 5)]].to_numpy().argmax(axis=1) + 1 == grade).mean()
    assert values(score(tmp_path, "one.csv", plan))["accuracy"] == pytest.approx(expected)


LINE = "x,p9,1,"


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (lambda t: t.replace("truth,score", "score,score"), "", "has two columns 'score'"),
        (lambda t: t + LINE + "\ny,p9,1,high\n", "missing: wrong\n", "found 'high'; expected a number"),
        (lambda t: t + "x,p9,ill,\n", "missing: wrong\n", "found 'ill'; expected a number"),
        (lambda t: t.split("\n")[0] + "\n" + LINE + "\n", "missing: leave_out\n", "no case has a prediction"),
        (lambda t: t.replace("case_id", "Case"), "", r"It has: Case, patient_id, truth, score\."),
    ],
)
def test_damaged_tables_end_in_one_message(tmp_path, change, more, said):
    (tmp_path / "one.csv").write_text(change(cases().to_csv(index=False)))
    with pytest.raises(DataError, match=said):
        score(tmp_path, "one.csv", TABLE + more)


def test_blanks_around_names_of_columns_and_empty_columns_do_not_matter(tmp_path):
    text = cases().to_csv(index=False).replace("patient_id,truth", " patient_id , truth ").replace("\n", ",,\n")
    (tmp_path / "one.csv").write_text(text)
    assert score(tmp_path, "one.csv", TABLE).evaluation.estimates[0].n_patients == 60


def test_a_case_without_a_name_is_not_joined(tmp_path):
    table = cases()
    (tmp_path / "truth.csv").write_text(table.drop(columns="score").to_csv(index=False) + ",p9,1\n")
    (tmp_path / "found.csv").write_text(table[["case_id", "score"]].to_csv(index=False) + ",0.3\n")
    with pytest.raises(DataError, match=r"found\.csv: column 'case_id', line 61: found None"):
        score(tmp_path, "found.csv", TABLE + "truth: truth.csv\n")


def test_a_plan_names_each_class_once(tmp_path):
    cases().to_csv(tmp_path / "one.csv", index=False)
    for names in ("[a, a]", "[]"):
        with pytest.raises(ConfigError, match="name each class once"):
            score(tmp_path, "one.csv", TABLE.replace("[benign, malignant]", names))


def test_images_may_not_call_their_attributes_like_what_was_predicted(tmp_path):
    truth, results = coco()
    write_coco(tmp_path, {**truth, "images": [{**image, "labels": 3} for image in truth["images"]]}, results)
    with pytest.raises(DataError, match="'labels' is no name for an attribute"):
        score(tmp_path, "found.json", BOXES)
    write_coco(tmp_path, truth, [])
    with pytest.raises(DataError, match="no case has a prediction"):
        score(tmp_path, "found.json", BOXES + "missing: leave_out\n")


def test_the_command_says_that_a_gate_is_not_met(tmp_path):
    cases().to_csv(tmp_path / "one.csv", index=False)
    plan = TABLE.replace("primary: auroc", "primary: auroc, accept: {auroc_low: 0.999, aurok_low: 0.1}")
    (tmp_path / "plan.yaml").write_text(plan)
    words = ["evaluate", "--predictions", tmp_path / "one.csv", "--plan", tmp_path / "plan.yaml"]
    done = CliRunner().invoke(cli, list(map(str, words)))
    assert done.exit_code == 0
    assert done.stderr.count("The gate is not met: ") == 2
    assert "is below 0.999" in done.stderr


def test_what_does_not_exist_is_named(tmp_path):
    write_coco(tmp_path, *coco())
    for name in ("nothing.csv", "nothing.json", "nothing"):
        with pytest.raises(DataError, match=f"{name} does not exist"):
            score(tmp_path, name, BOXES)
    for more in ("patients: nobody.csv\n", ""):
        plan = BOXES + more if more else BOXES.replace("truth.json", "nobody.json")
        with pytest.raises(DataError, match=r"nobody\.(csv|json) does not exist.*plan\.yaml names it"):
            score(tmp_path, "found.json", plan)


def test_attributes_that_are_no_groups_are_refused(tmp_path):
    table = cases()
    plan = TABLE.replace("primary: auroc", "primary: auroc, subgroups: [x]")
    table.assign(x=[{"a": 1}] * len(table)).to_parquet(tmp_path / "one.parquet")
    with pytest.raises(ConfigError, match="no column 'x'"):
        score(tmp_path, "one.parquet", plan)
    table.assign(x=[np.inf, *range(len(table) - 1)]).to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(DataError, match="column 'x' holds an infinite number"):
        score(tmp_path, "one.csv", plan)
