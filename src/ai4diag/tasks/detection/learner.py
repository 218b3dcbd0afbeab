"""The learner of both detectors: cases on the device, one augmented batch and its loss, answers in original pixels.

Cases are images of one size, or volumes of different sizes; only `_batch` and `_answers` know which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ai4diag.config.detection import AnchorFree, RetinaNet
from ai4diag.data.prepared import Prepared
from ai4diag.errors import ConfigError, DataError
from ai4diag.evaluation.detection import DetectionCases, mean_average_precision
from ai4diag.tasks.detection.answers import Answer
from ai4diag.tasks.detection.augment import apply, check_names, draw
from ai4diag.tasks.detection.boxes import Truth, packed_scale, truth_of
from ai4diag.tasks.detection.looks import Looker, View, rounded_up, views_of
from ai4diag.tasks.detection.truth import has_volumes, truth_columns
from ai4diag.tasks.detection.windows import volume_batch
from ai4diag.tasks.memory import fits
from ai4diag.tasks.placed import Placed
from ai4diag.tasks.stored import write_model

WEIGHTS = "model.safetensors"

Rows = npt.NDArray[np.int64]
Outputs = tuple[Tensor, ...]


class Detector(Protocol):
    """What a network must do to be trained and asked; it is an `nn.Module` as well.

    Attributes:
        divisor: sides of images must be multiples of this, or of these, one per axis.
    """

    divisor: int | Sequence[int]

    def __call__(self, images: Tensor) -> Outputs:
        """Return raw outputs for normalised images `(batch, channels, *spatial)`."""

    def loss(self, outputs: Outputs, truth: Truth) -> dict[str, Tensor]:
        """Return scalars: `loss`, which is minimised, and its parts."""

    def decode(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """Return scores `(batch, places, classes)` from 0 to 1, and boxes `(batch, places, 2 * D)` in pixels."""


def build(model: AnchorFree | RetinaNet, classes: int, channels: int, dimensions: int) -> nn.Module:
    """Return the untrained network that a recipe names, with weights from torch's default generator."""
    if model.network == "anchor_free":
        from ai4diag.tasks.detection.anchor_free import AnchorFreeNetwork

        return AnchorFreeNetwork(
            classes, channels, dimensions, model.width, model.stride, stages=model.stages, side=model.side
        )
    from ai4diag.tasks.detection.retinanet import RetinaNetwork

    return RetinaNetwork(
        classes,
        channels,
        dimensions,
        model.backbone,
        width=model.width,
        pyramid=model.pyramid,
        anchor_shapes=model.anchor_shapes,
        levels=model.levels,
        first_stride=model.first_stride,
        candidates=model.candidates,
    )


class DetectionLearner(Placed):
    """A detector for the training loop (`ai4diag.tasks.base.NetworkLearner`).

    Args:
        model: the recipe's `model` block.
        classes: class names.
        channels: names of the channels.
        size: of the packed images in pixels, in array-axis order; of volumes, that of the largest along each axis.
        augment: the recipe's `train.augment`.
        seed: of the initial weights.
        packing: how volumes were packed, `spacing_mm` and `grey`; None when the cases are images.
        preprocessed: whether the pipeline changes packed images in a hook, which new files would lack.

    Raises:
        ConfigError: an augmentation is not known, a mirrored axis does not exist, or the window does not fit.
    """

    def __init__(
        self,
        model: AnchorFree | RetinaNet,
        classes: Sequence[str],
        channels: Sequence[str],
        size: Sequence[int],
        augment: Sequence[str] | Mapping[str, object],
        seed: int,
        packing: Mapping[str, Any] | None = None,
        preprocessed: bool = False,
    ) -> None:
        check_names(augment, len(size))
        if isinstance(model.flips, tuple) and not set(model.flips) <= set(range(len(size))):
            raise ConfigError(f"model.flips is {list(model.flips)}; expected axes from 0 to {len(size) - 1}.")
        self.packing, self.preprocessed = packing, preprocessed
        self.model, self.augment = model, tuple(augment)
        self.classes, self.channels, self.size = tuple(classes), tuple(channels), tuple(size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = build(model, len(self.classes), len(self.channels), len(self.size))
        divisor = self._detector.divisor
        self.window = tuple(model.window or rounded_up(self.size, divisor))
        for name, window in (("window", self.window), ("predict_window", model.predict_window or self.window)):
            if len(window) != len(self.size) or rounded_up(window, divisor) != tuple(window):
                raise ConfigError(
                    f"model.{name} is {list(window)}; expected {len(self.size)} sides in pixels, each a multiple of "
                    f"{divisor}."
                )
        self.mean = torch.zeros(len(self.channels))
        self.spread = torch.ones(len(self.channels))

    @property
    def _detector(self) -> Any:
        """The network by its other name: what `Detector` promises."""
        return self.network

    def place(self, prepared: Prepared, train: Rows, device: torch.device) -> None:
        """Learn the mean and spread of each channel from rows `train`, and put network and truth on the device.

        Raises:
            DataError: the cases have other classes, channels or sizes than the learner, or no box to learn from.
        """
        self._refuse_others(prepared)
        self._truth = truth_of(prepared)
        if not self._truth.wanted[torch.from_numpy(train)].any():
            raise DataError(f"None of the {len(train)} training images has a box.", "Check the annotations.")
        self._stored: Any = prepared.images if self.packing is None else prepared.volumes
        sums = [_sums(self._stored[row]) for row in train]
        count = float(sum(self._stored[row][0].size for row in train))
        mean = np.sum([one for one, _ in sums], axis=0) / count
        square = np.sum([two for _, two in sums], axis=0) / count
        self.mean = torch.from_numpy(mean).float()
        self.spread = torch.from_numpy(np.sqrt(np.maximum(square - mean**2, 1.0))).float()
        self._move(device)
        self._truth = self._truth.to(device)
        self._resident: Tensor | None = None
        if device.type == "cuda" and self.packing is None and fits(prepared.images.nbytes, device):
            self._resident = torch.from_numpy(np.array(prepared.images)).to(device)

    def loss(self, rows: Tensor, generator: torch.Generator, share: slice = slice(None)) -> dict[str, Tensor]:
        """Return the losses of a share of one augmented batch; `rows` int64 `(batch,)` on the CPU."""
        images, truth = self._batch(rows, generator, share)
        losses: dict[str, Tensor] = self._detector.loss(self.network(self._normalise(images)), truth)
        return losses

    def score(self, prepared: Prepared, rows: Rows) -> dict[str, float]:
        """Return `score`, `map_50` and `map_50_95` of rows, from one view of each image."""
        self.network.eval()
        truth, found = truth_columns(prepared, rows), self._table(self._answers(prepared, rows, [((), False)]))
        cases = DetectionCases.from_lists(
            truth["truth_boxes"].tolist(),
            truth["truth_labels"].tolist(),
            truth["truth_ignore"].tolist(),
            found["boxes"].tolist(),
            found["labels"].tolist(),
            found["scores"].tolist(),
            n_classes=len(self.classes),
            dimensions=len(self.size),
        )
        figures = mean_average_precision(cases)
        return {"score": figures["map_50_95"], "map_50": figures["map_50"], "map_50_95": figures["map_50_95"]}

    def predict(self, prepared: Prepared, rows: Rows) -> pd.DataFrame:
        """Return `boxes` (flattened), `labels` and `scores`, one line per row, in pixels of the original images.

        Raises:
            DataError: the cases have other classes, channels or sizes than those that were learned from.
        """
        self._refuse_others(prepared)
        self.network.eval()
        return self._table(self._answers(prepared, rows, views_of(len(self.size), self.model)))

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json`."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        facts = {
            "model": self.model.model_dump(mode="json"),
            "classes": list(self.classes),
            "channels": list(self.channels),
            "size": list(self.size),
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
            "packing": self.packing,
            "preprocessed": self.preprocessed,
        }
        write_model(folder, "detection", WEIGHTS, save_tensors(weights), facts)

    def looker(self) -> Looker:
        """Return what asks the network, as it is now."""
        pieces, same = self.model.predict_window, self.model.same_object
        return Looker(self.network, self._normalise, self._device, self.window, pieces, same)

    def _normalise(self, images: Tensor) -> Tensor:
        ones = [1] * len(self.size)
        images = (images - self.mean.view(1, -1, *ones)) / self.spread.view(1, -1, *ones)
        return images.contiguous(memory_format=torch.channels_last) if len(self.size) == 2 else images

    def _batch(self, rows: Tensor, generator: torch.Generator, share: slice) -> tuple[Tensor, Truth]:
        """Return augmented windows on the scale 0 to 255, and the boxes in them."""
        if self.packing is not None:
            volumes, truth = [self._stored[row] for row in rows.tolist()], self._truth[rows.to(self._device)]
            near = self.model.near_boxes
            return volume_batch(volumes, truth, self.augment, self.window, near, self.mean, generator, share)
        parameters = draw(self.augment, len(rows), len(self.channels), self.size, self.window, generator)[share]
        rows = rows[share]
        if self._resident is None:
            images = torch.from_numpy(self._stored[rows.numpy()]).to(self._device)
        else:
            images = self._resident[rows.to(self._device)]
        return apply(images, self._truth[rows.to(self._device)], parameters, self.mean)

    def _answers(self, prepared: Prepared, rows: Rows, looks: Sequence[View]) -> Iterator[Answer]:
        """Yield what is found in each image, in pixels of the original."""
        looker = self.looker()
        if self.packing is None:
            found = looker.images(prepared.images, rows, looks)
        else:
            found = looker.volumes(prepared.volumes, rows, looks)
        for one, scale in zip(found, packed_scale(prepared, rows), strict=True):
            yield Answer(one.boxes / np.tile(scale, 2), one.labels, one.scores)

    @staticmethod
    def _table(answers: Iterator[Answer]) -> pd.DataFrame:
        found = list(answers)
        return pd.DataFrame(
            {
                "boxes": [one.boxes.astype(np.float32).ravel() for one in found],
                "labels": [one.labels for one in found],
                "scores": [one.scores for one in found],
            }
        )

    def _refuse_others(self, prepared: Prepared) -> None:
        own: dict[str, Any] = {"classes": self.classes, "channels": self.channels}
        given: dict[str, Any] = {"classes": prepared.classes, "channels": tuple(prepared.facts["channels"])}
        if has_volumes(prepared) != (self.packing is not None):
            kinds = ("images", "volumes")
            raise DataError(
                f"The cases are {kinds[has_volumes(prepared)]}; the model takes {kinds[self.packing is not None]}.",
                "Prepare the cases with the recipe of the model.",
            )
        if self.packing is None:
            own["size"], given["size"] = self.size, prepared.images.shape[2:]
        else:
            own["packing"], given["packing"] = dict(self.packing), prepared.facts["packing"]
        for name, expected in own.items():
            if given[name] != expected:
                raise DataError(
                    f"The cases have {name} {_words(given[name])}; the model has {_words(expected)}.",
                    "Prepare the cases with the recipe of the model.",
                )


def read_learner(model: AnchorFree | RetinaNet, facts: Mapping[str, Any], weights: bytes) -> DetectionLearner:
    """Build the learner that `DetectionLearner.save` wrote.

    Args:
        model: the `model` block it was built from.
        facts: content of `model.json`.
        weights: verified content of `model.safetensors`.

    Raises:
        DataError: the weights are not those of the network that `model.json` describes.
    """
    learner = DetectionLearner(
        model,
        facts["classes"],
        facts["channels"],
        facts["size"],
        augment=(),
        seed=0,
        packing=facts.get("packing"),
        preprocessed=facts.get("preprocessed", False),
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
    learner.mean, learner.spread = torch.tensor(facts["mean"]), torch.tensor(facts["spread"])
    learner._move(torch.device("cpu"))
    learner.network.eval()
    return learner


def _words(value: Any) -> str:
    return str(list(value) if isinstance(value, tuple) else value)


def _sums(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the sum and the sum of squares of each channel of an image `(channels, *spatial)`, exactly."""
    total, squares = np.zeros(len(image)), np.zeros(len(image))
    for plane in np.moveaxis(image, 1, 0):
        flat = plane.reshape(len(image), -1).astype(np.float64)
        total += flat.sum(1)
        squares += (flat**2).sum(1)
    return total, squares
