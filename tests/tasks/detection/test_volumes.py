"""The same learner on volumes: nothing between prepared cases and predictions knows that images have two axes."""

import numpy as np
import pandas as pd
import pytest

from ai4diag.config.detection import AnchorFree
from ai4diag.config.train import Train
from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.tasks.detection.learner import DetectionLearner
from ai4diag.training.loop import fit

SIZE = (32, 32, 64)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Four volumes with one bright block each; the originals have half as many planes."""
    folder = tmp_path_factory.mktemp("volumes")
    generator = np.random.default_rng(5)
    images = np.full((4, 1, *SIZE), 60, np.uint8)
    lines = []
    for case in range(4):
        low = generator.integers(2, (14, 14, 40))
        high = np.add(low, (12, 14, 20))
        images[case, 0, low[0] : high[0], low[1] : high[1], low[2] : high[2]] = 200
        lines.append([case, 0, low[0] / 2, low[1], low[2], high[0] / 2, high[1], high[2], False])
    edges = [f"{edge}_{axis}" for edge in ("min", "max") for axis in range(3)]
    names = [f"ct{case}" for case in range(4)]
    index = pd.DataFrame({"case_id": names, "patient_id": names, "site": "lab"})
    index[["size_0", "size_1", "size_2"]] = (16, 32, 64)
    split = pd.DataFrame({"case_id": names, "patient_id": names, "fold": 0, "part": "train", "contrast": 0})
    facts = {"task": "detection", "dataset": "blocks", "classes": ["nodule"], "channels": ["hounsfield"]}
    write_prepared(
        folder,
        facts={**facts, "image_size": list(SIZE)},
        index=index,
        split=split,
        findings=[],
        arrays={"images": images},
        tables={"boxes": pd.DataFrame(lines, columns=["case", "label", *edges, "ignore"])},
    )
    return Prepared.open(folder)


def test_a_learner_of_volumes_finds_its_blocks(volumes):
    learner = DetectionLearner(
        AnchorFree(width=4, stride=8, flips=True), volumes.classes, ["hounsfield"], SIZE, augment=("flip",), seed=1
    )
    settings = Train(epochs=30, batch_size=4, learning_rate=0.02, weight_decay=0, ema=0.8, validate_every=30, seed=1)
    fit(learner, volumes, volumes.folds()[0], settings, lambda name, fields: None)
    found = learner.predict(volumes, np.arange(4))
    truth = volumes.boxes[[f"{edge}_{axis}" for edge in ("min", "max") for axis in range(3)]].to_numpy()
    for case in range(4):
        best = found["boxes"][case].reshape(-1, 6)[0]
        np.testing.assert_allclose(best * (2, 1, 1, 2, 1, 1), truth[case] * (2, 1, 1, 2, 1, 1), atol=8)
