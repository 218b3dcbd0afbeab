"""Run lengths of label maps: there and back, and what is no run length."""

import numpy as np
import pytest

from ai4diag.errors import DataError
from ai4diag.masks import decode, encode, vote


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 4), (5, 1, 6), (8, 9, 10)])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_a_mask_comes_back(shape, classes):
    generator = np.random.default_rng(len(shape) + classes)
    for mask in (generator.integers(0, classes, shape).astype(np.uint8), np.full(shape, classes - 1, np.uint8)):
        runs = encode(mask)
        assert runs.dtype == np.int32
        np.testing.assert_array_equal(decode(runs, shape, classes), mask)
        assert (np.diff(runs[0::2]) != 0).all()  # neighbouring runs differ: as short as can be
        assert runs[1::2].sum() == mask.size


def test_any_memory_order_is_read_in_c_order():
    mask = np.asfortranarray(np.arange(24).reshape(2, 3, 4) % 3)
    np.testing.assert_array_equal(encode(mask), encode(np.ascontiguousarray(mask)))


def test_no_voxels_have_no_runs():
    assert encode(np.zeros((0, 3), np.uint8)).tolist() == []


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([0, 5], "5 voxels do not fill"),
        ([0, 7], "7 voxels do not fill"),
        ([0, 6, 1], "pairs"),
        ([[0, 6]], "pairs"),
        ([0, 7, 1, -1], "do not fill"),
        ([3, 6], "class 3; expected 0 to 2"),
        ([-1, 6], "class -1"),
        ([0.0, 6.0], "float64"),
    ],
)
def test_what_is_no_mask_is_refused(runs, said):
    with pytest.raises(DataError, match=said):
        decode(runs, (2, 3), 3)


def test_shares_are_no_mask():
    with pytest.raises(DataError, match="float64"):
        encode(np.zeros(3))


def test_most_votes_win_and_ties_go_to_the_smaller_number():
    maps = np.random.default_rng(0).integers(0, 4, (5, 3, 4, 6)).astype(np.uint8)
    counts = (maps[None] == np.arange(4)[:, None, None, None, None]).sum(axis=1)
    np.testing.assert_array_equal(decode(vote([encode(one) for one in maps]), maps.shape[1:]), counts.argmax(axis=0))
    np.testing.assert_array_equal(vote([encode(maps[0])]), encode(maps[0]))
    with pytest.raises(DataError, match="one size"):
        vote([[0, 3], [0, 4]])


def test_models_answer_together():
    import pandas as pd

    from ai4diag.tasks.ensemble import join

    tables = [pd.DataFrame({"runs": [np.array(runs, np.int32)]}) for runs in ([0, 4], [0, 2, 1, 2], [1, 4])]
    assert join(tables, 2)["runs"][0].tolist() == [0, 2, 1, 2]
