"""Names that MLflow accepts: parameters from a recipe, metrics from estimates and from the training loop."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from ai4diag.files import sha256_bytes
from ai4diag.types import Estimate

LIMITS = ("", "_low", "_high", "_n", "_patients")
LONGEST = 200
"""Characters; MLflow allows 250, and suffixes are added."""


def params(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten a recipe: `{"train": {"epochs": 3}}` becomes `{"train.epochs": "3"}`; lists become JSON.

    >>> params({"task": "tabular", "train": {"epochs": 3, "augment": ["flip"]}})
    {'task': 'tabular', 'train.epochs': '3', 'train.augment': '["flip"]'}
    """
    flat: dict[str, str] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            flat |= params(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=list, ensure_ascii=False)
            flat[legal(f"{prefix}{key}")] = text
    return flat


def estimate_metrics(estimate: Estimate) -> dict[str, float]:
    """Return the metrics of an estimate: value and limits, and for the whole test part also the counts.

    >>> sorted(estimate_metrics(Estimate("auroc", 0.9, 0.8, 0.95, 100, 90)))
    ['auroc', 'auroc_high', 'auroc_low', 'auroc_n', 'auroc_patients']
    >>> list(estimate_metrics(Estimate("auroc", 0.9, 0.8, 0.95, 9, 9, part="validation", subgroup="site=va")))
    ['validation/auroc/site.va', 'validation/auroc_low/site.va', 'validation/auroc_high/site.va']
    """
    values = (estimate.value, estimate.low, estimate.high, float(estimate.n), float(estimate.n_patients))
    part = "" if estimate.part == "test" else f"{estimate.part}/"
    group = "" if estimate.subgroup == "all" else f"/{estimate.subgroup.replace('=', '.', 1)}"
    count = len(LIMITS) if not part and not group else 3
    return {
        legal(f"{part}{estimate.name}{suffix}{group}"): value
        for suffix, value in zip(LIMITS[:count], values[:count], strict=True)
    }


def curve_metrics(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Give the numbers of an event of training as `train/<name>`, those of validation as `train/validation.<name>`.

    >>> list(curve_metrics({"epoch": 3, "epochs": 9, "loss": 0.5, "validation": {"score": 0.8}}, "fold_1/"))
    [('fold_1/train/loss', 0.5), ('fold_1/train/validation.score', 0.8)]
    """
    for key, value in fields.items():
        if key in ("epoch", "epochs"):
            continue
        if isinstance(value, Mapping):
            yield from ((legal(f"{prefix}train/{key}.{name}"), float(number)) for name, number in value.items())
        elif isinstance(value, (int, float)):
            yield legal(f"{prefix}train/{key}"), float(value)


@lru_cache(maxsize=10_000)
def legal(name: str) -> str:
    """Return a name that MLflow takes on every platform; names that had to change get a hash, so that they stay apart.

    >>> legal("auroc_low/site.va"), legal("auroc/age.≥65")
    ('auroc_low/site.va', 'auroc/age._65-cf5790')
    """
    clean = re.sub(r"[^/\w.\- ]", "_", name)
    clean = "/".join(step if step.strip(". ") else f"_{step}" for step in clean.split("/"))[:LONGEST]
    return clean if clean == name else f"{clean}-{sha256_bytes(name.encode())[:6]}"
