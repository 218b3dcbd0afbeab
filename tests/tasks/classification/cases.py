"""Small prepared cases of every target: images in which brightness, a bright side or a grade can be learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ai4diag.config.classification import ClassificationRecipe
from ai4diag.data.prepared import Prepared, write_prepared
from ai4diag.data.split import make_split

CLASSES = {
    "binary": ["normal", "pneumonia"],
    "multiclass": ["upper", "lower", "neither"],
    "multilabel": ["upper", "lower"],
    "ordinal": ["grade 0", "grade 1", "grade 2", "grade 3"],
}


def images_of(target: str, count: int, size: tuple[int, ...], channels: int, rng: np.random.Generator):
    """Return uint8 images `(count, channels, *size)` and the classes that each shows, bool `(count, classes)`."""
    images = rng.normal(100, 25, (count, channels, *size))
    half = size[0] // 2
    if target == "multilabel":
        shows = rng.random((count, 2)) < 0.5
        images[:, :, :half] += 60 * shows[:, 0].reshape(-1, *[1] * (1 + len(size)))
        images[:, :, half:] += 60 * shows[:, 1].reshape(-1, *[1] * (1 + len(size)))
    else:
        classes = len(CLASSES[target])
        truth = rng.permutation(np.arange(count) % classes)
        shows = truth[:, None] == np.arange(classes)
        if target == "multiclass":
            images[truth == 0, :, :half] += 60
            images[truth == 1, :, half:] += 60
        else:
            images += 35 * truth.reshape(-1, *[1] * (1 + len(size))) - 20
    return np.clip(images, 0, 255).astype(np.uint8), shows


def write(
    folder: Path,
    target: str = "binary",
    count: int = 60,
    size: tuple[int, ...] = (10, 12),
    channels: int = 1,
    shuffled: bool = False,
    seed: int = 1,
) -> Prepared:
    """Write prepared cases; `shuffled` takes the truth away from the images."""
    rng = np.random.default_rng(seed)
    images, shows = images_of(target, count, size, channels, rng)
    if shuffled:
        shows = shows[rng.permutation(count)]
    names = [f"case-{number:03d}" for number in range(count)]
    index = pd.DataFrame({"case_id": names, "patient_id": names, "site": "north"})
    if target == "multilabel":
        for k, name in enumerate(CLASSES[target]):
            index[f"truth_{name}"] = shows[:, k].astype(int)
    else:
        index["truth"] = shows.argmax(axis=1)
    chosen = recipe().data.split
    split = make_split(index, shows.astype(float), names, chosen)
    facts = {"task": "classification", "target": target, "dataset": "toy", "classes": CLASSES[target]}
    facts |= {"channels": ["grey"] if channels == 1 else ["red", "green", "blue"], "image_size": list(size)}
    folder.mkdir(parents=True, exist_ok=True)
    write_prepared(folder, facts=facts, index=index, split=split, findings=[], arrays={"images": images}, tables={})
    return Prepared.open(folder)


def recipe(primary: str = "auroc", model: dict | None = None, **train) -> ClassificationRecipe:
    """A recipe that learns such cases in a second."""
    settings = {"epochs": 6, "batch_size": 16, "learning_rate": 0.01, "seed": 3, **train}
    return ClassificationRecipe.model_validate(
        {
            "task": "classification",
            "data": {"dataset": "toy", "split": {"test": 0.3, "validation": 0.2}},
            "model": {"network": "small_resnet", "width": 4, "blocks": 1, "dropout": 0, **(model or {})},
            "train": settings,
            "evaluate": {"primary": primary},
        }
    )
