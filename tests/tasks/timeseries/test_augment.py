"""Augmentation of signals: identity, closed forms, independence of the batch and of each other."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch

from ai4diag.errors import ConfigError
from ai4diag.tasks.timeseries.augment import NAMES, SCALE, SHIFT, STRETCH, apply, check_names, draw

SHAPE = (64, 3, 100)


def drawn(*names: str, seed: int = 1, shape: tuple[int, int, int] = SHAPE):
    return draw(names, shape, torch.Generator().manual_seed(seed))


@pytest.fixture
def signals() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def test_without_names_nothing_changes(signals) -> None:
    assert torch.equal(apply(signals, drawn()), signals)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'wander'"):
        check_names(["noise", "wonder"])


@pytest.mark.parametrize("name", NAMES)
def test_one_name_changes_its_own_parameters_only(name: str) -> None:
    own = {"invert": "scale", "drop": "scale", "stretch": "speed"}.get(name, name)
    alone, nothing, both = drawn(name), drawn(), drawn(name, "shift", "scale", "wander")
    for item in fields(alone):
        same = torch.equal(getattr(alone, item.name), getattr(nothing, item.name))
        assert same == (item.name != own), item.name
    if own not in ("scale", "shift", "wander"):
        assert torch.equal(getattr(alone, own), getattr(both, own))


def test_the_same_seed_gives_the_same_changes(signals) -> None:
    names = tuple(NAMES)
    assert torch.equal(apply(signals, drawn(*names)), apply(signals, drawn(*names)))
    assert not torch.equal(apply(signals, drawn(*names)), apply(signals, drawn(*names, seed=2)))


def test_a_batch_is_changed_as_its_signals_one_by_one(signals) -> None:
    parameters = drawn(*NAMES)
    whole = apply(signals, parameters)
    for row in (0, 17, 63):
        one = replace(parameters, **{item.name: getattr(parameters, item.name)[[row]] for item in fields(parameters)})
        torch.testing.assert_close(apply(signals[[row]], one)[0], whole[row])


def test_amounts_stay_within_their_limits() -> None:
    found = drawn("scale", "shift", "stretch")
    assert found.scale.log().abs().max() <= SCALE
    assert found.shift.abs().max() <= SHIFT
    assert found.speed.log().abs().max() <= STRETCH
    turned = drawn("invert", shape=(4000, 1, 10)).scale
    assert set(turned.unique().tolist()) == {-1.0, 1.0}
    assert float((turned < 0).float().mean()) == pytest.approx(0.2, abs=0.03)


def test_shift_and_stretch_of_a_slope_are_known(signals) -> None:
    steps = torch.arange(100.0).expand(SHAPE)
    parameters = replace(drawn(), shift=torch.full((64, 1), 0.05), speed=torch.full((64, 1), 1.1))
    expected = (49.5 + (torch.arange(100.0) - 49.5) * 1.1 + 5).clamp(0, 99)
    torch.testing.assert_close(apply(steps, parameters), expected.expand(SHAPE))
    whole = replace(drawn(), shift=torch.full((64, 1), 0.07))
    torch.testing.assert_close(apply(signals, whole)[..., :93], signals[..., 7:], atol=1e-4, rtol=1e-4)


def test_the_slow_wave_is_a_sine() -> None:
    parameters = replace(
        drawn(), wander=torch.full((64, 3, 1), 0.5), waves=torch.ones(64, 3, 1), phase=torch.zeros(64, 3, 1)
    )
    expected = 0.5 * torch.sin(2 * math.pi * torch.linspace(0, 1, 100))
    torch.testing.assert_close(apply(torch.zeros(SHAPE), parameters), expected.expand(SHAPE))


def test_a_dropped_channel_is_silent_and_one_is_always_left(signals) -> None:
    parameters = drawn("drop", "noise", "wander", shape=(2000, 3, 10))
    silent = parameters.scale[..., 0] == 0
    assert not silent.all(dim=1).any()
    assert float(silent.float().mean()) == pytest.approx(0.1, abs=0.02)
    assert (apply(torch.randn(2000, 3, 10), parameters)[silent] == 0).all()
    assert not (drawn("drop", shape=(2000, 1, 10)).scale == 0).any()
