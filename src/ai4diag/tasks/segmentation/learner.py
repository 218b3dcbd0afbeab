"""The learner of the U-Net: patches and their loss in training, whole volumes in prediction."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ai4diag.config.segmentation import UNet as Model
from ai4diag.data.prepared import Prepared
from ai4diag.data.volume_plan import Plan
from ai4diag.data.volume_store import SIDES, affines_of
from ai4diag.errors import ConfigError, DataError, did_you_mean
from ai4diag.evaluation.overlap import confusion, dice
from ai4diag.files import read_parquet
from ai4diag.masks import encode
from ai4diag.tasks.augment import Moves, Parameters, apply, draw
from ai4diag.tasks.augment import plan as plan_changes
from ai4diag.tasks.memory import halving
from ai4diag.tasks.segmentation.answers import keep_largest, label_map
from ai4diag.tasks.segmentation.loss import losses
from ai4diag.tasks.segmentation.network import UNet
from ai4diag.tasks.segmentation.patches import Cutter, Intensities, foreground_levels, scaled
from ai4diag.tasks.segmentation.windows import slide
from ai4diag.tasks.stored import write_model

log = logging.getLogger("ai4diag.segmentation")
WEIGHTS = "model.safetensors"
SMALL = 96**3
"""Voxels below which a CPU answers two copies of a volume sooner than one: its convolutions are fast for batches."""
Rows = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float32]


class SegmentationLearner:
    """A U-Net for the training loop (`ai4diag.tasks.base.NetworkLearner`).

    Args:
        model: the recipe's `model` block.
        plan: what follows from it and the data.
        classes: class names, without the background.
        numbers: how the files write them.
        channels: names of the channels.
        crop: the recipe's `data.crop`, for new files.
        augment: the recipe's `train.augment`.
        seed: of the initial weights.

    Raises:
        ConfigError: a class of `largest_component`, or a random change, is unknown.
    """

    def __init__(
        self,
        model: Model,
        plan: Plan,
        classes: Sequence[str],
        numbers: Sequence[int],
        channels: Sequence[str],
        crop: bool,
        augment: Any,
        seed: int,
    ) -> None:
        for name in model.largest_component:
            if name not in classes:
                raise ConfigError(f"model.largest_component: there is no class '{name}'. {did_you_mean(name, classes)}")
        self.model, self.plan, self.crop = model, plan, crop
        self.classes, self.numbers, self.channels = tuple(classes), tuple(numbers), tuple(channels)
        self.changes = plan_changes(augment, plan.dimensions)
        self.intensities = Intensities()
        self.at_once = plan.at_once
        """Voxels in one forward pass of a prediction, at most; halved when memory runs out."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: torch.nn.Module = UNet(
                plan.dimensions,
                len(channels),
                len(classes) + 1,
                plan.widths,
                [self._flat(stride) for stride in plan.strides],
                plan.convolutions,
                plan.residual,
                plan.outputs,
            )

    def place(self, prepared: Prepared, train: Rows, device: torch.device) -> None:
        """Learn the scale of intensities from rows `train`, and put the network on the device.

        Raises:
            DataError: the cases have other classes, channels or spacing than the learner.
        """
        self._refuse_others(prepared)
        fixed = foreground_levels(prepared, train) if self.model.intensities == "absolute" else None
        self.intensities = Intensities(fixed)
        self.network.to(device)
        self._cutter = Cutter(prepared, self.plan.patch, self.intensities, self.model.foreground)

    def read(
        self, rows: Tensor, generator: torch.Generator, share: slice = slice(None)
    ) -> tuple[Tensor, Tensor, Parameters | None]:
        """Return patches and masks of a share of a batch, and what is to be changed in them; all on the CPU.

        Args:
            rows: int64 `(batch,)`, rows of the prepared index.
            generator: CPU generator; numbers are drawn for the whole batch.
            share: the part of the batch.

        Where the network is on the CPU and volumes are only moved and brightened, that is done while they are read,
        and nothing remains to be changed: None.
        """
        places = self._cutter.places(rows.tolist(), generator, share)
        across, patch = self.plan.across, self.plan.patch
        each = 1 if across is None else patch[across]  # layers of a volume
        size, spacing = self._flat(patch), self._flat(self.plan.spacing_mm)
        parameters = draw(self.changes, len(rows) * each, len(self.channels), size, size, spacing, generator)
        first, last, _ = share.indices(len(rows))
        parameters = parameters[first * each : last * each]
        if self._device.type == "cpu" and (moves := Moves.of(parameters)) is not None:
            return *self._cutter.moved(places, moves), None
        images, masks = (self._layers(part) for part in self._cutter.fill(places))
        return images, masks, parameters

    def loss(self, rows: Tensor, generator: torch.Generator, share: slice = slice(None)) -> dict[str, Tensor]:
        """Return the losses of a share of one augmented batch; `rows` int64 `(batch,)` on the CPU."""
        return self.loss_of(self.read(rows, generator, share))

    def loss_of(self, item: tuple[Tensor, Tensor, Parameters | None]) -> dict[str, Tensor]:
        """Return the losses of what `read` gave."""
        (images, masks), parameters = (part.to(self._device) for part in item[:2]), item[2]
        if parameters is not None:
            images, moved = apply(images, parameters, 0.0, masks)
            assert moved is not None
            masks = moved
        return losses(self.network(images), masks, [self._flat(stride) for stride in self.plan.strides])

    def score(self, prepared: Prepared, rows: Rows) -> dict[str, float]:
        """Return `score`, the mean Dice over cases and classes on the packed grid, and that of each class.

        A class that neither truth nor answer of a case holds is left out of the means; NaN where that leaves nothing.
        """
        self.network.eval()
        table = np.full((len(rows), len(self.classes)), np.nan)
        for number, shares in self._answers(prepared, rows, [()]):
            counts = confusion(prepared.masks[rows[number]][0], shares.argmax(0), len(self.classes) + 1)
            table[number] = dice(counts)[1:]
        each = {f"dice_{name}": _mean(line) for name, line in zip(self.classes, table.T, strict=True)}
        return {"score": _mean(table), **each}

    def predict(self, prepared: Prepared, rows: Rows) -> pd.DataFrame:
        """Return `runs` (`ai4diag.masks`), one line per row: the label map on the grid of the file, canonical axes.

        Raises:
            DataError: the cases have other classes, channels or spacing than those that were learned from.
        """
        self._refuse_others(prepared)
        self.network.eval()
        grids = read_parquet(prepared.folder / "grids.parquet")
        own, packed = affines_of(grids), affines_of(prepared.volume_table)
        sides = grids[list(SIDES)].to_numpy(np.int64)
        kept = [1 + self.classes.index(name) for name in self.model.largest_component]
        runs: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)] * len(rows)
        for number, shares in self._answers(prepared, rows, _mirrorings(self.model.flips)):
            row = int(rows[number])
            mask = label_map(shares, packed[row], own[row], sides[row].tolist())
            runs[number] = encode(keep_largest(mask, kept) if kept else mask)
        return pd.DataFrame({"runs": runs})

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json`."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        facts = {
            "model": self.model.model_dump(mode="json"),
            "plan": self.plan.as_dict(),
            "classes": list(self.classes),
            "numbers": list(self.numbers),
            "channels": list(self.channels),
            "crop": self.crop,
            "intensities": None if self.intensities.fixed is None else self.intensities.fixed.tolist(),
        }
        write_model(folder, "segmentation", WEIGHTS, save_tensors(weights), facts)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _flat(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return values per axis of a volume for the axes that the network has."""
        return tuple(value for axis, value in enumerate(values) if axis != self.plan.across)

    def _layers(self, volumes: Tensor) -> Tensor:
        """Return `(batch, channels, i, j, k)` as the network takes it: in 2D the layers of all volumes as a batch."""
        if self.plan.across is None:
            return volumes
        return volumes.movedim(2 + self.plan.across, 1).flatten(0, 1)

    def _volumes(self, layers: Tensor, count: int) -> Tensor:
        """Undo `_layers` for `count` volumes."""
        if self.plan.across is None:
            return layers
        return layers.reshape(count, -1, *layers.shape[1:]).movedim(1, 2 + self.plan.across)

    def _answers(
        self, prepared: Prepared, rows: Rows, mirrorings: Sequence[tuple[int, ...]]
    ) -> Iterator[tuple[int, Shares]]:
        """Yield position in `rows` and shares of classes `(classes, i, j, k)` on the packed grid, in any order.

        Volumes that have the same size with their margins are answered together: on a CPU, a convolution of a single
        small volume takes ten times as long (docs/LOG.md, 2026-11-22).
        """
        if self.model.intensities == "volume":
            self.intensities = Intensities()  # row numbers may be those of other cases
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, row in enumerate(rows):
            groups.setdefault(self._padded(prepared.volumes[int(row)].shape[1:]), []).append(number)
        for size, members in groups.items():
            most = max(1, self.at_once // int(np.prod(size)))
            for first in range(0, len(members), most):
                chosen = members[first : first + most]
                found = self._answer(
                    [prepared.volumes[int(rows[number])] for number in chosen],
                    [int(rows[number]) for number in chosen],
                    size,
                    mirrorings,
                )
                yield from zip(chosen, found, strict=True)

    @torch.inference_mode()
    def _answer(
        self,
        volumes: Sequence[npt.NDArray[Any]],
        rows: Sequence[int],
        size: Sequence[int],
        mirrorings: Sequence[tuple[int, ...]],
    ) -> list[Shares]:
        """Return shares of classes of volumes that get the same size."""
        batch = torch.zeros((len(volumes), len(self.channels), *size))
        boxes = []
        for number, (row, volume) in enumerate(zip(rows, volumes, strict=True)):
            before = [(wanted - side) // 2 for wanted, side in zip(size, volume.shape[1:], strict=True)]
            box = tuple(slice(low, low + side) for low, side in zip(before, volume.shape[1:], strict=True))
            batch[number][(slice(None), *box)] = torch.from_numpy(scaled(volume, self.intensities.of(row, volume)))
            boxes.append(box)
        batch = batch.to(self._device)
        total: Tensor | None = None
        for axes in mirrorings:
            turned = [2 + axis for axis in axes]
            shares = self._shares(batch.flip(turned)).flip(turned)
            total = shares if total is None else total + shares
        assert total is not None
        total = (total / len(mirrorings)).cpu()
        return [one[(slice(None), *box)].numpy() for one, box in zip(total, boxes, strict=True)]

    def _shares(self, batch: Tensor) -> Tensor:
        """Return shares of classes of `(batch, channels, i, j, k)`; when memory runs out, from half as many voxels.

        Raises:
            MachineError: memory ran out a second time.
        """

        def attempt(voxels: int) -> Tensor:
            self.at_once = voxels
            return self._passes(batch)

        return halving(attempt, self.at_once, changed=self._say)

    @staticmethod
    def _say(voxels: int) -> None:
        log.warning("Memory ran out: predicting at most %s voxels at once from here on.", f"{voxels:,}")

    def _passes(self, batch: Tensor) -> Tensor:
        """Return shares of classes of `(batch, channels, i, j, k)`: in one pass, or window by window."""
        window = self.plan.window
        if window is None and np.prod(self._flat(batch.shape[2:])) > self.at_once:
            window = self.plan.patch
        if window is None:
            return self._volumes(self._forward(self._layers(batch)), len(batch))

        def forward(parts: Tensor) -> Tensor:
            return self._volumes(self._forward(self._layers(parts)), len(parts))

        at_once = max(1, self.at_once // int(np.prod(window)))
        return torch.stack([slide(image, window, self.model.overlap, forward, at_once) for image in batch])

    def _forward(self, images: Tensor) -> Tensor:
        """Return shares of classes of what the network takes, in passes that fit into memory."""
        most = max(1, self.at_once // int(np.prod(images.shape[2:])))
        found = []
        for part in torch.split(images, most):
            alone = len(part) == 1 and part.device.type == "cpu" and part[0, 0].numel() < SMALL
            logits = self.network(part.expand(2, *part.shape[1:]).contiguous() if alone else part)[0]
            found.append(F.softmax(logits[: len(part)].float(), 1))
        return torch.cat(found)

    def _padded(self, sides: Sequence[int]) -> tuple[int, ...]:
        """Return the size that a volume gets: at least the patch, or window, and what the strides divide."""
        least = self.plan.window or self.plan.patch
        return tuple(
            max(part, -(-side // step) * step)
            for part, side, step in zip(least, sides, self.plan.multiple, strict=True)
        )

    def _refuse_others(self, prepared: Prepared) -> None:
        own = {"classes": self.classes, "channels": self.channels, "spacing_mm": self.plan.spacing_mm}
        for name, expected in own.items():
            given = tuple(prepared.facts[name])
            if given != tuple(expected):
                raise DataError(
                    f"The cases have {name} {list(given)}; the model has {list(expected)}.",
                    "Prepare the cases with the recipe of the model.",
                )


def read_learner(facts: Mapping[str, Any], weights: bytes) -> SegmentationLearner:
    """Build the learner that `SegmentationLearner.save` wrote.

    Args:
        facts: content of `model.json`.
        weights: verified content of `model.safetensors`.

    Raises:
        DataError: the weights are not those of the network that `model.json` describes.
    """
    learner = SegmentationLearner(
        Model.model_validate(facts["model"]),
        Plan.from_dict(facts["plan"]),
        facts["classes"],
        facts["numbers"],
        facts["channels"],
        facts["crop"],
        augment=(),
        seed=0,
    )
    stored, own = load_tensors(weights), learner.network.state_dict()
    for name in sorted(stored.keys() | own.keys()):
        found, expected = (tuple(table[name].shape) if name in table else None for table in (stored, own))
        if found != expected:
            raise DataError(
                f"Weight '{name}' has shape {found}; the network of model.json has {expected}.",
                "Restore the folder, or train again.",
            )
    learner.network.load_state_dict(stored)
    if facts["intensities"] is not None:
        learner.intensities = Intensities(np.array(facts["intensities"], np.float32))
    learner.network.eval()
    return learner


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Return the mean of what is defined, NaN where nothing is."""
    return float("nan") if np.isnan(values).all() else float(np.nanmean(values))


def _mirrorings(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return every combination of axes to mirror, none first.

    >>> _mirrorings([0, 2])
    [(), (0,), (2,), (0, 2)]
    """
    return [chosen for count in range(len(axes) + 1) for chosen in combinations(axes, count)]
