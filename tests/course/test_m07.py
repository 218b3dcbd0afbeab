"""Lesson 7: right answers pass under any seed, typical wrong ones fail with the expectation that names them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.spatial.distance import cdist
from sklearn.metrics import f1_score

from ai4diag.course import lessons
from ai4diag.course.checking import examine
from ai4diag.data.volume import same_grid
from ai4diag.evaluation.predictions import write_predictions
from ai4diag.files import sha256_file, write_json
from ai4diag.masks import encode
from ai4diag.pipelines.records import NEEDED
from ai4diag.types import Estimate

SEEDS = range(4)
LAST = "every voxel is covered, the last ones too"
LOWER = "one above it whose lower limit is below is not: the lower limit decides"


def verdict(exercise, seed=1, root=None, **names):
    """Return the names of expectations that are not met."""
    found = examine(lessons.find(f"m07.{exercise}"), names, root or Path(), seed)
    assert len(found) > 1 or not found[0].met
    return [item.name for item in found if not item.met]


def says(words, exercise, **names):
    """Whether an answer fails with an expectation that has these words."""
    return any(words in name for name in verdict(exercise, **names))


def padded(sides, strides):
    """Halve on paper: count up until every stage divides what the one before left."""
    found = []
    for axis, side in enumerate(sides):
        while True:
            left = side
            for stride in strides:
                if left % stride[axis]:
                    break
                left //= stride[axis]
            else:
                break
            side += 1
        found.append(side)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_sides_that_can_be_halved(seed):
    assert verdict("padded", seed, padded=padded) == []


def test_wrong_sides_are_told_what_is_wrong():
    def all_axes_alike(sides, strides):
        step = 2 ** len(strides)
        return [math.ceil(side / step) * step for side in sides]

    def one_more(sides, strides):
        steps = np.prod(strides, axis=0)
        return [int((side // step + 1) * step) for side, step in zip(sides, steps, strict=True)]

    def downwards(sides, strides):
        steps = np.prod(strides, axis=0)
        return [int(side // step * step) for side, step in zip(sides, steps, strict=True)]

    def steps_added(sides, strides):
        steps = np.sum(strides, axis=0)
        return [int(-(-side // step) * step) for side, step in zip(sides, steps, strict=True)]

    assert all(says("fit already stay", "padded", seed=seed, padded=all_axes_alike) for seed in SEEDS)
    assert not says("every axis halved", "padded", padded=all_axes_alike)
    assert says("fit already stay", "padded", padded=one_more)
    assert says("every axis halved", "padded", padded=downwards)
    assert all(verdict("padded", seed, padded=steps_added) for seed in SEEDS)


def start_around(voxel, patch, sides):
    """Try every place and take the one whose middle is nearest."""
    return [
        min(range(side - size + 1), key=lambda first: abs(first + (size - 1) / 2 - at))
        for at, size, side in zip(voxel, patch, sides, strict=True)
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_patch_around_a_voxel_either_way_of_rounding(seed):
    assert verdict("patch", seed, start_around=start_around) == []

    def other_half(voxel, patch, sides):
        return np.clip(np.array(voxel) - np.array(patch) // 2 + 1, 0, np.array(sides) - patch).tolist()

    assert verdict("patch", seed, start_around=other_half) == []


def test_wrong_patches_are_told_what_is_wrong():
    def not_moved_inside(voxel, patch, sides):
        return [at - size // 2 for at, size in zip(voxel, patch, strict=True)]

    def voxel_first(voxel, patch, sides):
        return np.clip(voxel, 0, np.array(sides) - patch).tolist()

    def only_the_near_edge(voxel, patch, sides):
        return [max(0, at - size // 2) for at, size in zip(voxel, patch, strict=True)]

    assert says("no patch begins before", "patch", start_around=not_moved_inside)
    assert says("no patch ends after", "patch", start_around=only_the_near_edge)
    assert says("in the middle of the volume", "patch", start_around=voxel_first)
    assert says("every patch shows its voxel", "patch", start_around=lambda *_: [0, 0, 0])
    assert says("three whole numbers", "patch", start_around=lambda voxel, *_: [at / 3 for at in voxel])


def starts(side, window, overlap):
    """Put each window as far on as is allowed, and the last one at the end."""
    found, last = [0], max(0, side - window)
    while found[-1] < last:
        found.append(min(found[-1] + max(1, int(window * (1 - overlap))), last))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_windows_by_another_rule(seed):
    assert verdict("windows", seed, starts=starts) == []


def test_wrong_windows_are_told_what_is_wrong():
    def step(window, overlap):
        return max(1, int(window * (1 - overlap)))

    def tail_left_out(side, window, overlap):
        return list(range(0, max(1, side - window + 1), step(window, overlap)))

    def beyond(side, window, overlap):
        return list(range(0, side, step(window, overlap)))

    def overlap_for_step(side, window, overlap):
        return starts(side, window, 1 - overlap)

    def everywhere(side, window, overlap):
        return list(range(max(0, side - window) + 1))

    assert verdict("windows", starts=tail_left_out) == [LAST]
    assert says("no window reaches beyond", "windows", starts=beyond)
    assert says("overlap at least as asked", "windows", starts=overlap_for_step)
    assert says("no more windows", "windows", starts=everywhere)
    assert says("a list of whole numbers", "windows", starts=lambda *_: None)


def lies_on(image, answer):
    """Compare all eight corners by hand."""
    sides = image.array.shape[1:]
    if sides != answer.array.shape[1:]:
        return False
    for index in np.ndindex(2, 2, 2):
        corner = [at * (side - 1) for at, side in zip(index, sides, strict=True)] + [1]
        if np.linalg.norm((image.affine @ corner - answer.affine @ corner)[:3]) >= 0.1:
            return False
    return True


@pytest.mark.parametrize("seed", SEEDS)
def test_grids_as_corners_and_as_the_library_say(seed):
    assert verdict("grid", seed, lies_on=lies_on) == []
    assert verdict("grid", seed, lies_on=lambda image, answer: same_grid(image, answer) == "") == []


def test_wrong_grids_are_told_what_is_wrong():
    def shape_alone(image, answer):
        return image.array.shape == answer.array.shape

    def exactly(image, answer):
        return shape_alone(image, answer) and bool((image.affine == answer.affine).all())

    def origin(image, answer):
        return shape_alone(image, answer) and bool(np.allclose(image.affine[:3, 3], answer.affine[:3, 3], atol=1e-3))

    def loosely(image, answer):
        return shape_alone(image, answer) and bool(np.allclose(image.affine, answer.affine, atol=0.02))

    assert says("axis reversed", "grid", lies_on=shape_alone)
    assert says("half a voxel", "grid", lies_on=shape_alone)
    assert verdict("grid", lies_on=exactly) == ["... also when numbers differ by rounding, 0.000001 mm"]
    assert says("longer by 1 %", "grid", lies_on=origin)
    assert says("turned", "grid", lies_on=loosely)
    assert says("one slice less", "grid", lies_on=lambda image, answer: bool(np.allclose(image.affine, answer.affine)))


@pytest.fixture
def root(tmp_path):
    """A workspace with the record of a run of three test cases and one for validation."""
    random, lines = np.random.default_rng(0), []
    for number in range(4):
        truth = random.choice([0, 0, 0, 1, 2], (5, 6, 7)).astype(np.uint8)
        answer = np.where(random.random(truth.shape) < 0.8, truth, random.integers(0, 3, truth.shape)).astype(np.uint8)
        lines.append(
            {
                "case_id": f"c{number}",
                "patient_id": f"p{number}",
                "site": "here",
                "fold": 0,
                "part": "validation" if number == 3 else "test",
                "truth_runs": encode(truth),
                "shape": np.array(truth.shape),
                "spacing_mm": np.ones(3),
                "runs": encode(answer),
                "pair": (truth, answer),
            }
        )
    table = pd.DataFrame(lines)
    table.attrs["scores"] = {
        line["case_id"]: f1_score(line["pair"][0].ravel(), line["pair"][1].ravel(), labels=[1, 2], average="macro")
        for line in lines
    }
    mean = float(np.mean([table.attrs["scores"][f"c{number}"] for number in range(3)]))
    folder = tmp_path / "mlruns" / "records" / "abcd1234"
    folder.mkdir(parents=True)
    facts = {"task": "segmentation", "classes": ["front", "back"]}
    write_predictions(folder / "predictions.parquet", table.drop(columns="pair"), facts)
    write_json(folder / "estimates.json", [Estimate("dice", mean, mean - 0.1, mean + 0.1, 3, 3).as_dict()])
    files = {name: sha256_file(folder / name) for name in ("predictions.parquet", "estimates.json")}
    said = {"run_id": "abcd1234", "pipeline": "hippocampus", "words": "hippocampus --quick", "created": "2026-01-01"}
    write_json(folder / "record.json", {**dict.fromkeys(NEEDED, ""), **said, "format": 1, "files": files})
    (tmp_path / "pipelines").mkdir()
    return tmp_path, table


def releases(estimate, floor):
    """Not below, and defined."""
    return not (math.isnan(estimate.low) or estimate.low < floor)


@pytest.mark.parametrize("seed", SEEDS)
def test_dice_of_cases_as_scikit_learn_counts_it(seed, root):
    folder, table = root
    scores = {case: table.attrs["scores"][case] for case in ("c0", "c1", "c2")}
    assert verdict("dice", seed, folder, scores=scores, releases=releases) == []


def test_wrong_dice_is_told_what_is_wrong(root):
    folder, table = root
    right = {case: table.attrs["scores"][case] for case in ("c0", "c1", "c2")}
    pairs = dict(zip(table["case_id"], table["pair"], strict=True))
    with_background = {case: f1_score(*(part.ravel() for part in pairs[case]), average="macro") for case in right}

    def wrong(scores=right, rule=releases):
        return verdict("dice", 1, folder, scores=scores, releases=rule)

    assert "each is the mean of front and back part, without the background" in wrong(with_background)
    assert "one number for each of the 3 test cases" in wrong(table.attrs["scores"])
    assert wrong(rule=lambda estimate, floor: estimate.value >= floor)[0] == LOWER
    assert wrong(rule=lambda estimate, floor: estimate.low > floor) == [
        "one whose lower limit is the floor is released"
    ]
    assert wrong(rule=lambda estimate, floor: not estimate.low < floor) == ["one without an interval is not"]
    assert LOWER in wrong(rule=lambda estimate, floor: estimate.high >= floor)


def hd95_mm(truth_surface, answer_surface, spacing_mm):
    """Look distances up in distance maps of a grid."""
    if not len(truth_surface) or not len(answer_surface):
        return float("nan")
    sides = np.vstack([truth_surface, answer_surface]).max(axis=0) + 1
    found = []
    for points, others in ((truth_surface, answer_surface), (answer_surface, truth_surface)):
        free = np.ones(sides, bool)
        free[tuple(np.array(others).T)] = False
        distance = distance_transform_edt(free, sampling=spacing_mm)
        found.append(float(np.percentile(distance[tuple(np.array(points).T)], 95)))
    return max(found)


@pytest.mark.parametrize("seed", SEEDS)
def test_hd95_as_distance_maps_give_it(seed):
    assert verdict("hd95", seed, hd95_mm=hd95_mm) == []


def test_wrong_distances_are_told_what_is_wrong():
    def table(a, b, spacing):
        return cdist(a * np.array(spacing), b * np.array(spacing))

    def one_way(a, b, spacing):
        return float(np.percentile(table(a, b, spacing).min(axis=1), 95)) if len(a) and len(b) else float("nan")

    def largest(a, b, spacing):
        if not len(a) or not len(b):
            return float("nan")
        return float(max(table(a, b, spacing).min(axis=1).max(), table(a, b, spacing).min(axis=0).max()))

    assert says("with the spacing of each axis", "hd95", hd95_mm=lambda a, b, _: hd95_mm(a, b, (1, 1, 1)))
    assert says("with the spacing of each axis", "hd95", hd95_mm=lambda a, b, s: hd95_mm(a, b, s[::-1]))
    assert verdict("hd95", hd95_mm=one_way) == [
        "an extra piece in the answer counts: distances from the answer to the truth"
    ]
    other = verdict("hd95", hd95_mm=lambda a, b, s: one_way(b, a, s))
    assert other == ["a missing piece counts: distances from the truth to the answer"]
    assert says("not the largest", "hd95", hd95_mm=largest)
    zero = verdict("hd95", hd95_mm=lambda a, b, s: hd95_mm(a, b, s) if len(b) else 0.0)
    assert zero == ["without a surface it is undefined"]
