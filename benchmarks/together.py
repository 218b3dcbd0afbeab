"""Folds and seeds of a small network trained at once, beside one after the other.

195 recordings with 30 columns, five folds, five seeds: 25 networks 30-64-64-1, 60 epochs in batches of at most 32 with
a look at validation in each tenth, by the library's loop one after the other and stacked. Both sides end with the same
weights up to rounding, which is compared after two epochs: it grows with every step of Adam. Placing the cases is part
of both. With dropout each network draws its units from its own stream, as it does alone: that cannot be stacked.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ai4diag.config.tabular import Mlp
from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.tasks.tabular.networks import TabularNetwork
from ai4diag.training.loop import fit
from ai4diag.training.stacked import fit_together
from benchmarks import Row, agree, side_by_side, versions

CASES, COLUMNS, FOLDS, SEEDS, EPOCHS = 195, 30, 5, 5, 60
CLASSES = ["healthy", "ill"]


def recordings(folder: Path) -> Prepared:
    """Write prepared cases and open them."""
    rng = np.random.default_rng(7)
    features = rng.normal(size=(CASES, COLUMNS))
    names = [f"recording-{number:03d}" for number in range(CASES)]
    index = pd.DataFrame({"case_id": names, "patient_id": names, "site": "clinic"})
    index["truth"] = (features[:, 0] + rng.normal(size=CASES) > 0).astype(int)
    group, tables = np.arange(CASES) % (2 * FOLDS), []
    for fold in range(FOLDS):
        part = np.where(group % FOLDS == fold, "test", np.where(group == fold + 1, "validation", "train"))
        tables.append(index[["case_id", "patient_id"]].assign(fold=fold, part=part, contrast=0))
    columns = [{"name": f"f{i}", "kind": "number", "unit": "1", "levels": []} for i in range(COLUMNS)]
    facts = {"task": "tabular", "dataset": "toy", "classes": CLASSES, "features": columns, "statistics": {}}
    split = pd.concat(tables)
    write_prepared(folder, facts=facts, index=index, split=split, findings=[], arrays={"features": features}, tables={})
    return Prepared.open(folder)


def trained(prepared: Prepared, dropout: float, epochs: int, *, together: bool) -> list[TabularNetwork]:
    """Train the 25 networks."""
    folds = [fold for _ in range(SEEDS) for fold in prepared.folds()]
    settings = [Train(epochs=epochs, batch_size=32, validate_every=10, seed=seed) for seed in np.arange(25) // FOLDS]
    model = Mlp(hidden=(64, 64), dropout=dropout)
    learners = [TabularNetwork(model, prepared.facts["features"], CLASSES, own.seed) for own in settings]
    silent: Any = [lambda name, fields: None] * len(learners)
    if together:
        if fit_together(learners, prepared, folds, settings, silent) is None:
            raise AssertionError("they cannot be trained together")
        return learners
    for learner, fold, own in zip(learners, folds, settings, strict=True):
        fit(learner, prepared, fold, own, silent[0])
    return learners


def run() -> list[Row]:
    """Measure."""
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = recordings(Path(folder))
        everyone = np.arange(CASES)
        for name, dropout, goal in (("", 0.0, 5.0), (" with dropout", 0.1, 5.0)):
            first, second = (
                [
                    learner.predict(prepared, everyone)["score"]
                    for learner in trained(prepared, dropout, 2, together=both)
                ]
                for both in (True, False)
            )
            agree(first, second, 1e-5)
            ours_s, peer_s = side_by_side(
                lambda dropout=dropout: trained(prepared, dropout, EPOCHS, together=True),  # type: ignore[misc]
                lambda dropout=dropout: trained(prepared, dropout, EPOCHS, together=False),  # type: ignore[misc]
                rounds=3,
            )
            title = f"5 folds x 5 seeds of 30-64-64-1{name}, {EPOCHS} epochs"
            rows.append(Row(title, "one after the other", ours_s, peer_s, goal, versions("torch")))
    return rows
