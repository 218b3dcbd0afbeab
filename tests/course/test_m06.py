"""Checks of lesson 6: right answers pass, and each misconception meets the expectation that names it."""

from __future__ import annotations

import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from ai4diag.course.checking import examine
from ai4diag.course.lessons import m06
from ai4diag.course.lessons.m06.maps import likeness
from ai4diag.files import write_json
from tests.conftest import ROOT

NORMALISE, CURVE, FINETUNE, RESUME, OCCLUSION, SANITY, _ = m06.EXERCISES
SEEDS = (0, 1, 7)


def unmet(exercise, names, seed=0, root=ROOT):
    """Return the names of what is not met."""
    return [item.name for item in examine(exercise, names, root, seed) if not item.met]


def normalise(train, images):
    return (images - train.mean()) / train.std()


@pytest.mark.parametrize("seed", SEEDS)
def test_normalise_with_the_training_part_passes(seed):
    assert unmet(NORMALISE, {"normalise": normalise}, seed) == []


def test_normalise_with_the_pictures_own_mean_is_named():
    wrong = unmet(NORMALISE, {"normalise": lambda train, images: (images - images.mean()) / images.std()})
    assert "new pictures keep their distance from the training pictures: their mean is not made 0" in wrong
    each = unmet(
        NORMALISE,
        {"normalise": lambda train, images: (images - images.mean((1, 2), keepdims=True)) / train.std()},
    )
    assert "new pictures keep their distance from the training pictures: their mean is not made 0" in each


def test_dividing_by_255_is_no_normalisation():
    assert "the training pictures themselves get a mean of 0" in unmet(
        NORMALISE, {"normalise": lambda train, images: images / 255}
    )


def read_curve(epochs):
    scores = {e["epoch"]: e["validation"]["score"] for e in epochs if e["validation"]}
    if not scores:
        return {"best": None, "looks": 0, "still_better": False}
    best = min(epoch for epoch, score in scores.items() if score == max(scores.values()))
    return {"best": best, "looks": len(scores), "still_better": best == max(scores)}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_curve_is_read(seed):
    assert unmet(CURVE, {"read_curve": read_curve}, seed) == []


def test_the_last_of_equal_epochs_is_not_the_first():
    def last(epochs):
        scores = {e["epoch"]: e["validation"]["score"] for e in epochs if e["validation"]}
        if not scores:
            return read_curve(epochs)
        best = max(scores, key=lambda epoch: (scores[epoch], epoch))
        return {"best": best, "looks": len(scores), "still_better": best == max(scores)}

    assert unmet(CURVE, {"read_curve": last}) == ["of equally good epochs the first is the best"]


def test_counting_all_epochs_as_looks_is_named():
    wrong = unmet(CURVE, {"read_curve": lambda epochs: {**read_curve(epochs), "looks": len(epochs)}})
    assert "only epochs that were validated are counted as looks" in wrong


@pytest.fixture
def place(tmp_path):
    """A workspace with chest-xray and a file of weights."""
    for name in ("params.yaml", "pipelines/chest-xray/pipeline.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    weights = tmp_path / "pipelines/chest-xray/out/quick/model/model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    return tmp_path


CHANGES = [
    "model.weights=pipelines/chest-xray/out/quick/model/model.safetensors",
    "train.epochs=3",
    "train.learning_rate=0.001",
    "train.warmup_epochs=1",
]


def test_settings_for_fine_tuning_pass(place):
    assert unmet(FINETUNE, {"changes": CHANGES}, root=place) == []


@pytest.mark.parametrize(
    ("instead", "expected"),
    [
        ({0: "train.seed=8"}, "training begins with the weights of the finished run"),
        ({0: "model.weights=out/model.safetensors"}, "training begins with the weights of the finished run"),
        (
            {0: "model.weights=pipelines/chest-xray/pipeline.yaml"},
            "training begins with the weights of the finished run",
        ),
        ({0: "train.seed=" + "[" * 100}, "the recipe knows every setting"),
        ({0: "train.seed=[" + "&a [x, x], &b [*a, *a]" * 9 + "]"}, "there are at most 20 settings"),
        ({2: "train.learning_rate=0.003"}, "the learning rate is at most a third of the recipe's"),
        ({1: "train.epochs=30"}, "there are 2 to 4 epochs"),
        ({3: "train.warmup_epochs=2"}, "warming up takes no longer than half of the training"),
        ({3: "train.warmup=1"}, "the recipe knows every setting"),
        ({3: "model.width=8"}, "the network is the one that the weights are of"),
    ],
)
def test_other_settings_are_named(place, instead, expected):
    changes = [instead.get(number, change) for number, change in enumerate(CHANGES)]
    assert any(name.startswith(expected) for name in unmet(FINETUNE, {"changes": changes}, root=place))


def resumed_in(folder, epochs=(1, 2), run="a" * 32):
    """Return the names that the notebook holds after a training was resumed in a workspace."""
    out = folder / "pipelines/chest-xray/out/quick-set-1"
    write_json(out / "run.json", {"run_id": run})
    write_json(out / "history.json", [{"epochs": [{"epoch": number} for number in epochs]}])
    facts = {"recipe": {"train": {"epochs": 2}, "model": {"weights": "w"}}}
    record = SimpleNamespace(run_id=run, facts=facts, folder=folder / "mlruns" / "records" / run)
    return {
        "first_step": lambda epoch, cases, batch_size: epoch * math.ceil(cases / batch_size) + 1,
        "stopped": SimpleNamespace(run_id="a" * 32, status="KILLED"),
        "saved": {"epoch": 1},
        "resumed": SimpleNamespace(record=record),
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_resumed_run_passes(tmp_path, seed):
    assert unmet(RESUME, resumed_in(tmp_path), seed, tmp_path) == []


@pytest.mark.parametrize("planned", [10**15, 1, "2", None])
def test_a_training_of_any_length_is_judged_at_once(tmp_path, planned):
    names = resumed_in(tmp_path)
    names["resumed"].record.facts["recipe"]["train"]["epochs"] = planned
    assert unmet(RESUME, names, root=tmp_path) == ["the fine-tuning has 2 to 4 epochs"]


def test_a_rest_of_cases_is_a_step(tmp_path):
    names = resumed_in(tmp_path) | {"first_step": lambda epoch, cases, batch_size: epoch * (cases // batch_size) + 1}
    assert unmet(RESUME, names, 0, tmp_path) == ["first step after a checkpoint, where a rest of cases is a step too"]


def test_a_new_run_is_not_a_resumed_one(tmp_path):
    assert unmet(RESUME, resumed_in(tmp_path, run="b" * 32), 0, tmp_path) == [
        "the resumed run is the run that was interrupted"
    ]
    again = resumed_in(tmp_path, epochs=(1, 1, 2))
    assert unmet(RESUME, again, 0, tmp_path) == ["its history counts every epoch once"]
    finished = resumed_in(tmp_path) | {"saved": {"epoch": 2}}
    assert unmet(RESUME, finished, 0, tmp_path) == ["the checkpoint was written in the middle of the training"]


def occlusion(score, image, size, fill, sign=1):
    many = []
    for row in range(0, image.shape[0], size):
        for column in range(0, image.shape[1], size):
            covered = np.array(image)
            covered[row : row + size, column : column + size] = fill
            many.append(covered)
    fall = score(np.array([image]))[0] - score(np.array(many))
    return sign * fall.reshape(image.shape[0] // size, -1)


@pytest.mark.parametrize("seed", SEEDS)
def test_occlusion_passes(seed):
    assert unmet(OCCLUSION, {"occlusion": occlusion}, seed) == []


def test_a_picture_that_was_painted_over_is_named():
    def in_place(score, image, size, fill):
        whole, fall = score(image[None])[0], np.zeros((image.shape[0] // size, image.shape[1] // size))
        for row, column in np.ndindex(fall.shape):
            image[row * size : (row + 1) * size, column * size : (column + 1) * size] = fill
            fall[row, column] = whole - score(image[None])[0]
        return fall

    assert "the picture that was given is unchanged: patches are covered on a copy" in unmet(
        OCCLUSION, {"occlusion": in_place}
    )


def test_a_wrong_sign_and_a_wrong_filling_are_named():
    wrong = unmet(OCCLUSION, {"occlusion": lambda *given: occlusion(*given, sign=-1)})
    assert "a patch that speaks for pneumonia has a positive value: the score falls when it is covered" in wrong
    black = unmet(OCCLUSION, {"occlusion": lambda score, image, size, fill: occlusion(score, image, size, 0)})
    assert "every patch has the right value: it alone is covered, with `fill`" in black
    turned = unmet(OCCLUSION, {"occlusion": lambda *given: occlusion(*given).T})
    assert turned == ["the map has one value for each patch: (rows, columns)"]


def explains(trained, random, limit=0.5):
    pairs = zip(trained, random, strict=True)
    likeness = np.mean([spearmanr(np.abs(a).ravel(), np.abs(b).ravel())[0] for a, b in pairs])
    return bool(likeness < limit)


def maps():
    """Return maps that change with the weights, and maps that do not."""
    random = np.random.default_rng(3)
    same = random.uniform(size=(4, 8, 8))
    return {
        "occlusion": {"trained": random.normal(size=(4, 5, 5)), "random": random.normal(size=(4, 5, 5))},
        "edges": {"trained": same, "random": same.copy()},
    }


RIGHT = {"explains": explains, "maps": maps(), "verdict": {"occlusion": True, "edges": False}}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sanity_test_passes(seed):
    assert unmet(SANITY, RIGHT, seed) == []


def pooled(trained, random, limit=0.5):
    return bool(spearmanr(np.abs(trained).ravel(), np.abs(random).ravel())[0] < limit)


def signed(trained, random, limit=0.5):
    return bool(np.mean([spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(trained, random, strict=True)]) < limit)


def by_value(trained, random, limit=0.5):
    pairs = zip(np.abs(trained), np.abs(random), strict=True)
    return bool(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]) < limit)


def forgiving(trained, random, limit=0.5):
    return explains(trained, random, limit) or bool(np.ptp(random) == 0)


def worst(trained, random, limit=0.5):
    return all(explains([first], [second], limit) for first, second in zip(trained, random, strict=True))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (pooled, "bright pictures do not make maps alike: compare picture by picture"),
        (signed, "the same map with the other sign explains nothing either"),
        (by_value, "nor does the same map in other units: ranks are compared, not values"),
        (forgiving, "a likeness that is undefined (a flat map) explains nothing"),
        (worst, "four pictures with likeness 1, two with -1: their mean, 0.33, counts"),
        (lambda *given: True, "maps that look the same on random weights explain nothing"),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_other_comparisons_are_named(function, expected, seed):
    assert expected in unmet(SANITY, RIGHT | {"explains": function}, seed)


def test_a_verdict_that_does_not_follow_from_the_maps_is_named():
    believer = RIGHT | {"verdict": {"occlusion": True, "edges": True}}
    assert "edges of the picture explain nothing of the network" in unmet(SANITY, believer)
    same = maps()
    same["occlusion"]["random"] = same["occlusion"]["trained"]
    assert "the maps of occlusion come from two networks: trained and random weights" in unmet(
        SANITY, RIGHT | {"maps": same}
    )


def test_likeness_is_spearmans():
    random = np.random.default_rng(5)
    first, second = random.integers(0, 6, (2, 3, 7, 7)).astype(float)  # many ties
    expected = np.mean([spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(first, second, strict=True)])
    assert likeness(first, second) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(likeness(first, np.ones_like(second)))
