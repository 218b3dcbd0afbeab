"""Estimates of label maps against hand-made maps, scipy and MONAI; what is undefined; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_erosion, distance_transform_edt

from ai4diag.config.plan import Evaluate, OperatingPoint
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.mask_scores import NAMES, MaskScores, choose_threshold
from ai4diag.evaluation.predictions import check, read_predictions, write_predictions
from ai4diag.masks import encode

CLASSES = ("front", "back")


def line(number, truth, answer, spacing=(1.0, 1.0, 1.0), **values):
    return {
        "case_id": f"scan-{number}",
        "patient_id": f"p{number // 2}",
        "site": "lab",
        "fold": 0,
        "part": "test",
        "truth_runs": encode(truth),
        "runs": encode(answer),
        "shape": np.array(truth.shape),
        "spacing_mm": np.array(spacing),
        **values,
    }


def block(low, high, label=1, sides=(12, 11, 10)):
    mask = np.zeros(sides, np.uint8)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = label
    return mask


def both(shift=0):
    return np.maximum(block((2, 2, 2), (6, 6, 6)), block((2 + shift, 2, 6), (6 + shift, 8, 9), 2))


def value(scores, name, group="all", weights=None):
    n = len(scores.presence)
    weights = np.ones((1, n)) if weights is None else np.atleast_2d(np.asarray(weights, float))
    return scores.statistic([(name, group)])(weights)[0, 0]


def test_a_perfect_answer():
    scores = MaskScores(pd.DataFrame([line(0, both(), both())]), CLASSES)
    expected = (1, 1, 0, 0, 1, 1, 0, 0, 0, 0)
    for name, wanted in zip(NAMES, expected, strict=True):
        assert value(scores, name) == wanted
        assert value(scores, name, "class=back") == wanted


def test_a_shifted_block_by_hand():
    truth, answer = block((2, 2, 2), (6, 6, 6)), block((4, 2, 2), (8, 6, 6))
    scores = MaskScores(pd.DataFrame([line(0, truth, answer, (1.5, 1.0, 1.0))]), ("front",))
    assert value(scores, "dice") == pytest.approx(0.5)
    assert value(scores, "iou") == pytest.approx(1 / 3)
    assert value(scores, "volume_difference") == 0
    assert value(scores, "hd95_mm") == pytest.approx(3.0)  # two voxels of 1.5 mm
    larger = MaskScores(pd.DataFrame([line(0, truth, block((2, 2, 2), (8, 6, 6)))]), ("front",))
    assert value(larger, "volume_difference") == pytest.approx(0.5)


def test_volumes_by_hand():
    """Blocks of 64 and 96 voxels of 1.5 x 2 x 1 mm, that is 0.192 and 0.288 ml; then the same the other way round."""
    small, large = block((2, 2, 2), (6, 6, 6)), block((2, 2, 2), (8, 6, 6))
    rows = [line(0, small, large, (1.5, 2.0, 1.0)), line(1, large, small, (1.5, 2.0, 1.0))]
    scores = MaskScores(pd.DataFrame(rows), ("front",))
    assert value(scores, "volume_difference_ml") == pytest.approx(0)  # too large and too small cancel out
    assert value(scores, "volume_error_ml") == pytest.approx(0.096)
    assert value(scores, "volume_difference") == pytest.approx((1 / 2 - 1 / 3) / 2)
    assert value(scores, "volume_error") == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert scores.truth_voxels.tolist() == [[64], [96]]


def test_a_structure_that_is_not_there_has_millilitres_but_no_share():
    nothing = np.zeros((12, 11, 10), np.uint8)
    scores = MaskScores(pd.DataFrame([line(0, nothing, block((2, 2, 2), (6, 6, 6)))]), ("front",))
    assert value(scores, "volume_error_ml") == pytest.approx(0.064)
    assert math.isnan(value(scores, "volume_error"))
    neither = MaskScores(pd.DataFrame([line(0, nothing, nothing)]), ("front",))
    assert math.isnan(value(neither, "volume_error_ml"))


def test_an_area_has_no_millilitres():
    flat = block((2, 2, 2), (6, 6, 6))[..., 4]
    entries = MaskScores(pd.DataFrame([line(0, flat, flat, (1, 1))]), ("front",)).entries
    assert ("volume_error", "all") in entries
    assert not [name for name, _ in entries if name.endswith("_ml")]


def test_surfaces_are_those_of_scipy():
    rng = np.random.default_rng(0)
    spacing = (0.8, 1.0, 2.5)
    for _ in range(3):
        one, other = (block(rng.integers(0, 4, 3), rng.integers(6, 10, 3)) for _ in range(2))
        scores = MaskScores(pd.DataFrame([line(0, one, other, spacing)]), ("front",))
        edges = [mask.astype(bool) & ~binary_erosion(mask) for mask in (one, other)]
        far = [distance_transform_edt(~edge, spacing) for edge in edges]
        there, back = far[1][edges[0]], far[0][edges[1]]
        assert value(scores, "hd95_mm") == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
        assert value(scores, "assd_mm") == pytest.approx(np.concatenate([there, back]).mean())
        near = np.concatenate([there, back]) <= 1
        assert value(scores, "surface_dice_1_mm") == pytest.approx(near.mean())


def test_dice_is_that_of_monai():
    import torch
    from monai.metrics import compute_dice

    rng = np.random.default_rng(1)
    maps = [
        (rng.integers(0, 3, (6, 5, 4)).astype(np.uint8), rng.integers(0, 3, (6, 5, 4)).astype(np.uint8)) for _ in "abc"
    ]
    scores = MaskScores(pd.DataFrame([line(n, *pair) for n, pair in enumerate(maps)]), CLASSES)
    truth, answer = (
        torch.stack([torch.from_numpy(np.eye(3)[pair[k]]).movedim(-1, 0) for pair in maps]) for k in (0, 1)
    )
    oracle = compute_dice(answer, truth, include_background=False).numpy()
    np.testing.assert_allclose(scores.figures[0], oracle, rtol=1e-6)
    assert value(scores, "dice") == pytest.approx(oracle.mean(), rel=1e-6)


def test_two_empty_maps_are_undefined_and_counted():
    empty = np.zeros((12, 11, 10), np.uint8)
    rows = [
        line(0, both(), both(1)),
        line(1, block((2, 2, 2), (6, 6, 6)), block((2, 2, 2), (6, 6, 6))),
        line(2, empty, empty),
    ]
    scores = MaskScores(pd.DataFrame(rows), CLASSES)
    assert np.isnan(scores.figures[0]).tolist() == [[False, False], [False, True], [True, True]]
    assert value(scores, "dice", "class=front") == pytest.approx(scores.figures[0, :2, 0].mean())
    assert value(scores, "dice", "class=back") == scores.figures[0, 0, 1]
    assert scores.remark("dice", 0.9) == "undefined in 3 of 6 pairs of case and class"
    alone = MaskScores(pd.DataFrame(rows[2:]), CLASSES)
    assert all(math.isnan(value(alone, name)) for name in NAMES)
    assert "no such structure" in alone.remark("dice", math.nan)
    assert scores.presence.tolist() == [[True, True], [True, False], [False, False]]


def test_one_empty_map_is_zero_where_that_is_right():
    scores = MaskScores(
        pd.DataFrame([line(0, block((2, 2, 2), (6, 6, 6)), np.zeros((12, 11, 10), np.uint8))]), ("front",)
    )
    assert value(scores, "dice") == value(scores, "iou") == value(scores, "surface_dice_1_mm") == 0
    assert value(scores, "volume_difference") == -1
    assert math.isnan(value(scores, "hd95_mm"))
    invented = MaskScores(
        pd.DataFrame([line(0, np.zeros((12, 11, 10), np.uint8), block((2, 2, 2), (6, 6, 6)))]), ("front",)
    )
    assert value(invented, "dice") == 0
    assert math.isnan(value(invented, "volume_difference"))


def test_weights_are_copies_of_cases():
    rows = [line(n, both(), both(n)) for n in range(4)]
    scores = MaskScores(pd.DataFrame(rows), CLASSES)
    doubled = MaskScores(pd.DataFrame([rows[0], rows[2], rows[2], rows[2]]), CLASSES)
    for name in NAMES:
        for group in ("all", "class=back"):
            assert value(scores, name, group, [1, 0, 3, 0]) == pytest.approx(value(doubled, name, group))


def table(n=12):
    rng = np.random.default_rng(5)
    return pd.DataFrame([line(k, both(), both(int(rng.integers(0, 4)))) for k in range(n)])


def test_estimates_have_intervals_by_patient(tmp_path):
    plan = Evaluate.model_validate({"primary": "dice", "interval": {"resamples": 200}})
    write_predictions(tmp_path / "p.parquet", table(), {"task": "segmentation", "classes": list(CLASSES)})
    read, facts = read_predictions(tmp_path / "p.parquet")
    found = evaluate(read, task=facts["task"], classes=facts["classes"], plan=plan)
    first = found.estimates[0]
    assert (first.name, first.subgroup, first.n, first.n_patients) == ("dice", "all", 12, 6)
    assert first.low < first.value < first.high
    assert first.value == pytest.approx(MaskScores(table(), CLASSES).figures[0].mean())
    assert {item.subgroup for item in found.estimates} == {"all", "class=front", "class=back"}
    assert math.isnan(found.operating_point.value)
    assert [case["dice"][1] for case in found.curves["per_case"]] == sorted(
        case["dice"][1] for case in found.curves["per_case"]
    )


def test_flat_maps_count_as_planes():
    truth, answer = block((2, 2, 0), (6, 6, 1), sides=(12, 11, 1)), block((4, 2, 0), (8, 6, 1), sides=(12, 11, 1))
    deep = MaskScores(pd.DataFrame([line(0, truth, answer, (1, 1, 5))]), ("front",))
    flat = MaskScores(pd.DataFrame([line(0, truth[..., 0], answer[..., 0], (1, 1))]), ("front",))
    np.testing.assert_array_equal(deep.figures, flat.figures)
    assert value(flat, "hd95_mm") == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runs": encode(np.zeros(5, np.uint8))}, "line 2: Runs of 5 voxels do not fill"),
        ({"truth_runs": encode(np.full((12, 11, 10), 3))}, "class 3; expected 0 to 2"),
        ({"shape": np.array([12, 110])}, "one number per side"),
        ({"shape": np.array([1320])}, "two or three sides"),
        ({"spacing_mm": np.array([1.0, 0.0, 1.0])}, "numbers above 0"),
        ({"runs": 3}, "a list of numbers"),
    ],
)
def test_what_are_no_label_maps_is_refused(change, said):
    rows = [line(0, both(), both()), {**line(1, both(), both()), **change}]
    with pytest.raises(DataError, match=said):
        check(pd.DataFrame(rows), "masks", CLASSES)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="no column 'spacing_mm'"):
        check(table(2).drop(columns="spacing_mm"), "masks", CLASSES)


def test_label_maps_have_no_threshold():
    with pytest.raises(ConfigError, match="no threshold"):
        choose_threshold(table(2), table(2), CLASSES, OperatingPoint(threshold=0.5))
