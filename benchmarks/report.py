"""Evaluation of a detector: all estimates with their intervals and the report, for 1,000 test images.

Each image holds 20 truth boxes of three classes and some 22 detections; 500 more images are for validation. Two sites
are told apart. The recipe's defaults are kept (number of resamples, level).
"""

from __future__ import annotations

import cProfile
import pstats
from typing import Any

import numpy as np
import pandas as pd

from ai4diag.config.plan import Evaluate
from ai4diag.evaluation.evaluate import evaluate
from ai4diag.evaluation.report import DatasetFacts, ReportContext, render
from benchmarks import Row, bound, versions

TEST, VALIDATION, BOXES, SIZE = 1000, 500, 20, 512
CLASSES = ("red cell", "white cell", "platelet")
LIMIT_S = 20.0


def run() -> list[Row]:
    """Measure on one thread; the note says where the time goes."""
    table = images(np.random.default_rng(0))
    plan = Evaluate(primary="map_50", subgroups=("site",))
    recipe = {"task": "detection", "data": {}, "train": {"parts": ["train"]}, "evaluate": plan.model_dump(mode="json")}
    context = ReportContext(
        "Which cells?",
        "toy",
        "detection",
        "boxes",
        plan.primary,
        CLASSES,
        recipe,
        DatasetFacts("toy", "Toy"),
        picture=picture,
    )

    def ours() -> str:
        found = evaluate(table, task="detection", classes=CLASSES, plan=plan)
        return render(found, context)

    ours()
    profile = cProfile.Profile()
    page = profile.runcall(ours)
    note = (
        f"{plan.interval.resamples:,} resamples; report of {len(page) / 1e6:.1f} MB; most time in {slowest(profile)}."
    )
    seconds = bound(LIMIT_S, ours)
    name = f"estimates and report of a detector, {TEST:,} images"
    return [Row(name, "limit", *seconds, 1.0, versions("numba", "matplotlib"), note)]


def slowest(profile: cProfile.Profile, most: int = 3) -> str:
    """Return the functions that took most time of their own."""
    stats: Any = pstats.Stats(profile)
    ranked = sorted(stats.stats.items(), key=lambda entry: -entry[1][2])[:most]
    return ", ".join(f"{name.strip('<>')} ({own / stats.total_tt:.0%})" for (_, _, name), (_, _, own, *_) in ranked)


def picture(case_id: str) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], tuple[float, float]]:
    """Return an image for a case."""
    generator = np.random.default_rng(int(case_id.removeprefix("field-")))
    return generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8), (1.0, 1.0)


def images(generator: np.random.Generator) -> pd.DataFrame:
    """Return a table of predictions: nine of ten boxes are found, shifted; a fifth of the detections are false."""
    lines = []
    for number in range(TEST + VALIDATION):
        truth, labels = boxes(generator, BOXES), generator.integers(0, 3, BOXES)
        kept = generator.random(BOXES) < 0.9
        near = truth[kept] + generator.normal(0, 2, (int(kept.sum()), 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        found = np.vstack([near, boxes(generator, 4)])
        lines.append(
            {
                "case_id": f"field-{number}",
                "patient_id": f"p{number // 2}",
                "site": "north" if number % 2 else "south",
                "fold": 0,
                "part": "test" if number < TEST else "validation",
                "size_0": SIZE,
                "size_1": SIZE,
                "truth_boxes": truth.ravel(),
                "truth_labels": labels,
                "truth_ignore": np.zeros(BOXES, bool),
                "boxes": found.ravel(),
                "labels": np.append(labels[kept], generator.integers(0, 3, 4)),
                "scores": np.append(generator.uniform(0.3, 1, len(near)), generator.uniform(0, 0.7, 4)),
            }
        )
    return pd.DataFrame(lines)


def boxes(generator: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    """Return boxes of 20 to 60 pixels."""
    low = generator.uniform(0, SIZE - 64, (n, 2))
    return np.hstack([low, low + generator.uniform(20, 60, (n, 2))])
