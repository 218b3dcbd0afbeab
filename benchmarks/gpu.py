"""Training on a GPU: images a second, how busy it is, and MONAI's fast recipe on the same card; no rows without CUDA.

Ours is the library's loop with a pipeline's own recipe, a few epochs long, on its prepared cases. MONAI's fast recipe
keeps the cases on the card (CacheDataset), changes them there one by one (dictionary transforms), and loads them in
threads of its own (ThreadDataLoader), with bfloat16 autocast and the same network, batch size and optimizer. Given is
time by the clock; both sides compile and warm up in an epoch that does not count.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ai4diag.data.prepared import Fold, Prepared, write_prepared
from ai4diag.tasks import task
from ai4diag.training.loop import fit
from benchmarks import Row, Seconds, versions

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 10
GOAL = 1.0
GOAL_SMALL_PICTURES = 10.0


@dataclass(frozen=True)
class Throughput(Row):
    """A comparison of trainings; seconds are per image. A peer that was not measured has NaN.

    Attributes:
        busy: share of the time in which the device worked for us.
    """

    busy: float = float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, and images a second."""
        rates = {"images_per_s": 1 / self.ours_s, "peer_images_per_s": 1 / self.peer_s}
        compared = {} if self.peer_s == self.peer_s else {"reached": None}
        return {**super().as_dict(), **rates, **compared, "device": device_name()}


def run() -> list[Row]:
    """Measure what has been prepared; say what has not."""
    if not torch.cuda.is_available():
        print("no CUDA: nothing is measured", file=sys.stderr)
        return []
    device = torch.device("cuda")
    rows: list[Row] = []
    for name, factor in (("chest-xray", 1), ("chest-xray", 8), ("hippocampus", 1), ("blood-cells", 1)):
        folder = ROOT / "pipelines" / name / "out" / "prepared"
        if not (folder / "prepared.json").is_file():
            print(f"{name} is not prepared: ai4diag prepare {name}", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as temporary:
            prepared = enlarged(Prepared.open(folder), factor, Path(temporary))
            rows.append(measure(name, prepared, device, EPOCHS if factor == 1 else 3))
    return rows


def measure(name: str, prepared: Prepared, device: torch.device, epochs: int, most: int | None = None) -> Row:
    """Train both sides and compare; `most` limits the number of cases."""
    from ai4diag.pipelines.workspace import Workspace

    pipeline = Workspace(ROOT).pipeline(name)
    settings = pipeline.recipe.train.model_copy(update={"validate_every": 10**6, "patience": None})
    learner: Any = task(pipeline.recipe.task).learner(prepared, pipeline.recipe, pipeline.hooks())
    rows = prepared.folds()[0].train[:most]
    fold = Fold(0, rows, np.empty(0, np.int64), np.empty(0, np.int64))
    told: dict[str, Any] = {}

    def hear(event: str, fields: dict[str, Any]) -> None:
        told.update(fields.get("throughput", {}) if event == "finished" else {})

    for count in (1, epochs):
        fit(learner, prepared, fold, settings.model_copy(update={"epochs": count, "warmup_epochs": 0}), hear)
    peer = {"classification": pictures, "segmentation": volumes}.get(pipeline.recipe.task)
    theirs = float("nan")
    if peer is not None:
        loader, loss = peer(learner, prepared, rows, settings.batch_size, device)
        theirs = seconds_per_image(learner.network, loader, loss, settings, device, epochs)
    sides = prepared.images.shape[-1] if pipeline.recipe.task == "classification" else 0
    what = f"{name}, {sides} px" if sides else name
    note = "" if peer is not None else "MONAI has no fast recipe for detection: not compared."
    goal = GOAL_SMALL_PICTURES if 0 < sides < 64 else GOAL
    mine = 1 / told["samples_per_s"]
    known = versions("monai", "torch")
    return Throughput(
        f"training, {what}", "MONAI fast recipe", Seconds([mine], mine), theirs, goal, known, note, told["busy"]
    )


def pictures(
    learner: Any, prepared: Prepared, rows: np.ndarray[Any, Any], batch: int, device: torch.device
) -> tuple[Iterable[Any], Callable[[Any], Tensor]]:
    """Return MONAI's loader of pictures, and the loss of a batch."""
    from monai import transforms as mt

    from ai4diag.tasks.classification import answers
    from ai4diag.tasks.classification.truth import truth_array

    labels = truth_array(prepared)
    cases = [{"image": torch.from_numpy(np.array(prepared.images[row])), "label": int(labels[row])} for row in rows]
    changes = [
        mt.RandFlipd("image", prob=0.5, spatial_axis=1),
        mt.RandRotated("image", range_x=15 / 180 * np.pi, prob=1.0),
        mt.RandZoomd("image", min_zoom=0.83, max_zoom=1.2, prob=1.0),
        mt.RandAdjustContrastd("image", prob=1.0, gamma=(0.7, 1.5)),
        mt.RandGaussianNoised("image", prob=1.0, std=0.04),
    ]

    def loss(found: Any) -> Tensor:
        logits = learner.network(found["image"].as_tensor())
        return answers.loss(learner.target, logits, found["label"].to(device), len(learner.classes), 0.0, None)

    return resident(cases, ["image"], [mt.ScaleIntensityd("image")], changes, batch, device), loss


def volumes(
    learner: Any, prepared: Prepared, rows: np.ndarray[Any, Any], batch: int, device: torch.device
) -> tuple[Iterable[Any], Callable[[Any], Tensor]]:
    """Return MONAI's loader of patches, and the loss of a batch."""
    from monai import transforms as mt
    from monai.losses import DiceCELoss

    both, size = ["image", "mask"], tuple(learner.plan.patch)
    stores = {"image": prepared.volumes, "mask": prepared.masks}
    cases = [{key: torch.from_numpy(np.array(store[row])) for key, store in stores.items()} for row in rows]
    angle = 12 / 180 * np.pi
    changes = [
        mt.SpatialPadd(both, size),
        mt.RandCropByPosNegLabeld(both, "mask", size, num_samples=1),
        mt.RandFlipd(both, prob=0.5, spatial_axis=0),
        mt.RandAffined(
            both, prob=1.0, rotate_range=(angle,) * 3, scale_range=(0.15,) * 3, mode=("bilinear", "nearest"),
            padding_mode="zeros",
        ),
        mt.RandAdjustContrastd("image", prob=1.0, gamma=(0.8, 1.25)),
        mt.RandGaussianNoised("image", prob=1.0, std=0.02),
    ]  # fmt: skip
    compare = DiceCELoss(to_onehot_y=True, softmax=True)

    def loss(found: Any) -> Tensor:
        logits = learner.network(found["image"].as_tensor())
        value: Tensor = compare(logits[0].float(), found["mask"].as_tensor())
        return value

    return resident(cases, both, [mt.NormalizeIntensityd("image")], changes, batch, device), loss


def resident(
    cases: list[dict[str, Any]], keys: list[str], once: list[Any], changes: list[Any], batch: int, device: torch.device
) -> Iterable[Any]:
    """Return MONAI's fast loader: what is done `once` is kept on the device, `changes` are made there."""
    from monai import transforms as mt
    from monai.data import CacheDataset, ThreadDataLoader

    first = [mt.EnsureTyped(keys, dtype=torch.float32, device=device), *once]
    data = CacheDataset(cases, mt.Compose([*first, *changes]), progress=False)
    loader: Iterable[Any] = ThreadDataLoader(data, batch_size=batch, shuffle=True, num_workers=0)
    return loader


def seconds_per_image(
    network: torch.nn.Module,
    loader: Iterable[Any],
    loss: Callable[[Any], Tensor],
    settings: Any,
    device: torch.device,
    epochs: int,
) -> float:
    """Train as MONAI's fast training tutorial does, after an epoch that does not count."""
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate)
    network.to(device).train()
    start, seen = 0.0, 0
    for epoch in range(epochs + 1):
        if epoch == 1:
            start = clock(device)
        for found in loader:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                value = loss(found)
            value.backward()
            optimizer.step()
            seen += len(found["image"]) * (epoch > 0)
    return (clock(device) - start) / seen


def clock(device: torch.device) -> float:
    """Return the time when the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def enlarged(prepared: Prepared, factor: int, folder: Path) -> Prepared:
    """Return prepared pictures with every pixel repeated: what larger ones cost does not depend on what they show."""
    if factor == 1:
        return prepared
    images = np.repeat(np.repeat(prepared.images, factor, axis=2), factor, axis=3)
    facts = {key: value for key, value in prepared.facts.items() if key not in ("format", "files")}
    facts["image_size"] = list(images.shape[2:])
    write_prepared(
        folder,
        facts=facts,
        index=prepared.index,
        split=prepared.split,
        findings=[],
        arrays={"images": images},
        tables={},
    )
    return Prepared.open(folder)


def device_name() -> str:
    """Return what the measurements ran on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
