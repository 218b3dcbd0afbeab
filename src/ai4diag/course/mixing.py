"""Cases in a drawn order: whoever answers by counting the calls, not by reading the case, is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def mix(random: np.random.Generator, cases: Sequence[Any]) -> dict[str, Any]:
    """Return `{"cases": the cases in a drawn order, "places": where each of them went}`; plain values."""
    order = [int(number) for number in random.permutation(len(cases))]
    return {"cases": [cases[number] for number in order], "places": [order.index(i) for i in range(len(cases))]}


def unmix(given: Mapping[str, Any], answers: Sequence[Any]) -> list[Any]:
    """Return the answers to mixed cases in the order in which the cases were before.

    Raises:
        ValueError: there is not one answer for each case.
    """
    places = given["places"]
    if len(answers) != len(places):
        raise ValueError(f"{len(answers)} answers to {len(places)} cases")
    return [answers[place] for place in places]


def labels(random: np.random.Generator, form: str, count: int) -> list[str]:
    """Return different labels, such as "Claim 417" for the form "Claim {}", that do not tell which case they name."""
    return [form.format(100 + int(number)) for number in random.choice(900, count, replace=False)]
