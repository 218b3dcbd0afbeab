"""What torch says is not deterministic: `put_` without adding up, which is so on every device."""

from __future__ import annotations

import warnings

import pytest
import torch

from ai4diag.errors import TrainingError
from ai4diag.training.determinism import deterministic, note, operation


def put() -> None:
    torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


def test_warnings_are_gathered_once_and_others_are_shown():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for _ in range(2):  # a second training in the same process hears as well
            with deterministic("warn") as found:
                for _ in range(3):
                    put()
                put()
                warnings.warn("something else", UserWarning, stacklevel=1)
            assert found == ["put_, on cpu"]
    assert [str(one.message) for one in shown] == ["something else"] * 2
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_strict_ends_with_an_error_that_says_what_to_do(mode):
    if mode == "auto" and torch.cuda.is_available():
        pytest.skip("auto warns on a machine with a GPU")
    said = r"^put_ has no deterministic algorithm in torch on "
    with pytest.raises(TrainingError, match=said) as caught, deterministic(mode):
        put()
    assert "train.deterministic: warn" in caught.value.cure
    assert not torch.are_deterministic_algorithms_enabled()
    put()


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="must match"), deterministic("strict"):
        torch.zeros(2) + torch.zeros(3)
    with pytest.raises(ZeroDivisionError), deterministic("warn"):
        print(1 / 0)


def test_words():
    found: list[str] = []
    note(found, "a probe")
    note(found, "a probe")
    assert len(found) == 1
    cublas = "Deterministic behavior was enabled with either `torch...` but it uses CuBLAS and you have CUDA >= 10.2."
    assert operation(cublas) == "matrix products of cuBLAS"
    assert operation("Memory Efficient attention defaults to a non-deterministic algorithm. To") == (
        "Memory Efficient attention defaults to a non-deterministic algorithm"
    )
