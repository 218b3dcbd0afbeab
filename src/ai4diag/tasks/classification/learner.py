"""The learner of all classifiers: cases on the device, one augmented batch and its loss, scores of new images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ai4diag.config.classification import ClassificationModel
from ai4diag.data.packing import channel_moments
from ai4diag.data.prepared import Prepared
from ai4diag.errors import DataError
from ai4diag.evaluation.targets import scored_by
from ai4diag.files import sha256_file
from ai4diag.tasks.augment import Plan, apply, draw
from ai4diag.tasks.classification import answers
from ai4diag.tasks.classification.networks import build, load_initial
from ai4diag.tasks.classification.truth import truth_array, truth_columns
from ai4diag.tasks.memory import fits
from ai4diag.tasks.placed import Placed
from ai4diag.tasks.stored import write_model

WEIGHTS = "model.safetensors"
PIXELS_AT_ONCE = 1_000_000
"""Pixels of all images in one forward pass of a prediction."""

Rows = npt.NDArray[np.int64]


class ClassificationLearner(Placed):
    """A classifier for the training loop (`ai4diag.tasks.base.NetworkLearner`).

    Args:
        model: the recipe's `model` block.
        target: `binary`, `multiclass`, `multilabel` or `ordinal`.
        classes: class names.
        channels: names of the channels.
        size: of the packed images in pixels, in array-axis order.
        changes: how training images are changed at random.
        seed: of the initial weights.
        initial: whether to read `model.weights`, if it is given.
        preprocessed: whether the pipeline changes packed images in a hook, which new files would lack.

    Raises:
        ConfigError: the images are too small for the network, or `model.weights` fits nowhere.
        DataError: `model.weights` cannot be read.
    """

    def __init__(
        self,
        model: ClassificationModel,
        target: str,
        classes: Sequence[str],
        channels: Sequence[str],
        size: Sequence[int],
        changes: Plan,
        seed: int,
        *,
        initial: bool = True,
        preprocessed: bool = False,
    ) -> None:
        self.preprocessed = preprocessed
        self.model, self.target, self.changes = model, target, changes
        self.classes, self.channels, self.size = tuple(classes), tuple(channels), tuple(size)
        outputs = answers.outputs(target, len(self.classes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = build(model, outputs, len(self.channels), self.size)
        self.started_from: dict[str, Any] = {}
        if initial and model.weights is not None:
            path = Path(model.weights)
            self.started_from = {"tensors": load_initial(self.network, path), "sha256": sha256_file(path)}
        self.mean = torch.zeros(len(self.channels))
        self.spread = torch.ones(len(self.channels))

    def place(self, prepared: Prepared, train: Rows, device: torch.device) -> None:
        """Learn mean and spread of each channel from rows `train`, and put network, truth and images on the device.

        Raises:
            DataError: the cases have other classes, channels or sizes than the learner.
        """
        self._refuse_others(prepared)
        mean, spread = channel_moments(prepared.images, train)
        self.mean = torch.from_numpy(mean).float()
        self.spread = torch.from_numpy(np.maximum(spread, 1.0)).float()
        self._move(device)
        truth = torch.from_numpy(truth_array(prepared))
        self._truth = truth.to(device)
        self._weights = None
        if self.model.balanced:
            learned = truth[torch.from_numpy(train)]
            self._weights = answers.class_weights(self.target, learned, len(self.classes)).to(device)
        self._images = prepared.images
        self._resident = self._on_device(device)

    def loss(self, rows: Tensor, generator: torch.Generator, share: slice = slice(None)) -> dict[str, Tensor]:
        """Return the loss of one augmented batch.

        Args:
            rows: int64 `(batch,)` on the CPU.
            generator: what is drawn for the whole batch comes from it.
            share: the part of the batch that is computed.
        """
        images = self._changed(rows, generator, share)
        logits = self.network(self._normalise(images))
        truth = self._truth[rows[share].to(self._device)]
        value = answers.loss(self.target, logits, truth, len(self.classes), self.model.label_smoothing, self._weights)
        return {"loss": value}

    def balance_labels(self, rows: Rows) -> npt.NDArray[np.int64]:
        """Return the class of each case; of several findings the rarest that it shows, one more class for none."""
        truth = self._truth.cpu().numpy()
        if self.target != "multilabel":
            return np.asarray(truth[rows], np.int64)
        count = truth[rows].sum(axis=0)
        order = np.argsort(count, kind="stable")
        shown = truth[rows][:, order] == 1
        return np.where(shown.any(axis=1), order[shown.argmax(axis=1)], len(self.classes)).astype(np.int64)

    def score(self, prepared: Prepared, rows: Rows) -> dict[str, float]:
        """Return `score` and the figures it is made of, from one view of each image.

        `score` is the area under the ROC curve (mean over classes); for a scale quadratic kappa; minus the log loss
        where neither is defined.
        """
        from ai4diag.evaluation.classification import Threshold

        found = answers.table(self.target, self._scores(prepared, rows, [()]), self.classes)
        lines = pd.concat([truth_columns(prepared, rows), found], axis=1).assign(
            fold=0, part="validation", patient_id=""
        )
        scoring = scored_by(self.target)
        at = Threshold(0.5, "") if self.target != "multilabel" else _half(self.classes)
        cases = scoring.scores(lines, self.classes, at)
        main = {"binary": "auroc", "ordinal": "kappa_quadratic"}.get(self.target, "auroc_macro")
        names = [(name, "all") for name in (main, "accuracy", "log_loss")]
        values = cases.statistic(names)(np.ones((1, len(rows))))[0].tolist()
        figures = dict(zip((main, "accuracy", "log_loss"), values, strict=True))
        return {"score": -figures["log_loss"] if np.isnan(figures[main]) else figures[main], **figures}

    def predict(self, prepared: Prepared, rows: Rows) -> pd.DataFrame:
        """Return `score` of the positive class, or `score_<class>` of each, one line per row, from 0 to 1.

        Raises:
            DataError: the cases have other classes, channels or sizes than those that were learned from.
        """
        self._refuse_others(prepared)
        scores = self._scores(prepared, rows, _views(self.model.views, len(self.size)))
        return answers.table(self.target, scores, self.classes)

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `model.json`."""
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        facts = {
            "model": self.model.model_dump(mode="json"),
            "target": self.target,
            "classes": list(self.classes),
            "channels": list(self.channels),
            "size": list(self.size),
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
            **({"started_from": self.started_from} if self.started_from else {}),
            **({"preprocessed": True} if self.preprocessed else {}),
        }
        write_model(folder, "classification", WEIGHTS, save_tensors(weights), facts)

    def _on_device(self, device: torch.device) -> Tensor | None:
        """Return all images on a GPU that has room for them; None where they are read from their memory map."""
        if device.type != "cuda" or not fits(self._images.nbytes, device):
            return None
        return torch.from_numpy(np.array(self._images)).to(device)

    def _take(self, rows: Tensor) -> Tensor:
        if self._resident is not None:
            return self._resident[rows.to(self._device)]
        return torch.from_numpy(self._images[rows.numpy()]).to(self._device)

    def _changed(self, rows: Tensor, generator: torch.Generator, share: slice = slice(None)) -> Tensor:
        """Return a part of a batch as float32, most of its images changed at random."""
        parameters = draw(self.changes, len(rows), len(self.channels), self.size, self.size, None, generator)
        chosen = torch.ones(len(rows), dtype=torch.bool)
        if self.model.untouched:
            chosen = torch.rand(len(rows), generator=generator) >= self.model.untouched
        images, chosen = self._take(rows[share]), chosen[share]
        parameters = parameters[torch.arange(len(rows))[share]]
        if chosen.all():
            return apply(images, parameters, self.mean)[0]
        result = images.float()
        if chosen.any():
            place = chosen.to(images.device)
            result[place] = apply(images[place], parameters[chosen], self.mean)[0]
        return result

    def _normalise(self, images: Tensor) -> Tensor:
        ones = [1] * len(self.size)
        images = (images - self.mean.view(1, -1, *ones)) / self.spread.view(1, -1, *ones)
        return images.contiguous(memory_format=torch.channels_last) if len(self.size) == 2 else images

    @torch.inference_mode()
    def _scores(self, prepared: Prepared, rows: Rows, views: Sequence[tuple[int, ...]]) -> npt.NDArray[np.float32]:
        """Return the mean probability over members and views, `(cases, classes)`, or `(cases, 1)` of two classes."""
        self.network.eval()
        at_once = max(1, PIXELS_AT_ONCE // int(np.prod(self.size)))
        found = []
        for start in range(0, len(rows), at_once):
            images = torch.from_numpy(prepared.images[rows[start : start + at_once]]).to(self._device)
            normal = self._normalise(images.float())
            each = [answers.probabilities(self.target, self.network(_seen(normal, view))).mean(dim=0) for view in views]
            found.append(torch.stack(each).mean(dim=0).cpu().numpy())
        columns = 1 if self.target == "binary" else len(self.classes)
        return np.concatenate(found) if found else np.empty((0, columns), np.float32)

    def _refuse_others(self, prepared: Prepared) -> None:
        own = {"target": self.target, "classes": self.classes, "channels": self.channels, "size": self.size}
        given = {"target": prepared.target, "classes": prepared.classes, "size": prepared.images.shape[2:]}
        given["channels"] = tuple(prepared.facts["channels"])
        for name, expected in own.items():
            if given[name] != expected:
                found, needed = (list(item) if isinstance(item, tuple) else item for item in (given[name], expected))
                raise DataError(
                    f"The cases have {name} {found}; the model has {needed}.",
                    "Prepare the cases with the recipe of the model.",
                )


def read_learner(model: ClassificationModel, facts: Mapping[str, Any], weights: bytes) -> ClassificationLearner:
    """Build the learner that `ClassificationLearner.save` wrote.

    Args:
        model: the `model` block it was built from.
        facts: content of `model.json`.
        weights: verified content of `model.safetensors`.

    Raises:
        DataError: the weights are not those of the network that `model.json` describes.
    """
    learner = ClassificationLearner(
        model, facts["target"], facts["classes"], facts["channels"], facts["size"], Plan({}, {}), 0, initial=False
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
    learner.preprocessed = facts.get("preprocessed", False)
    learner._move(torch.device("cpu"))
    learner.network.eval()
    return learner


def _views(names: Sequence[str], dimensions: int) -> list[tuple[int, ...]]:
    """Return the views in which an image is predicted: whether mirrored, and pixels to shift along each axis.

    >>> _views(["flip"], 2)
    [(0, 0, 0), (1, 0, 0)]
    >>> len(_views(["flip", "shift"], 2))
    10
    """
    still = (0,) * dimensions
    shifts = [still]
    if "shift" in names:
        for axis, step in product(range(dimensions), (-1, 1)):
            shifts.append(tuple(step if axis == other else 0 for other in range(dimensions)))
    return [(flip, *shift) for flip in ((0, 1) if "flip" in names else (0,)) for shift in shifts]


def _seen(images: Tensor, view: Sequence[int]) -> Tensor:
    """Return a view of normalised images; what a shift uncovers repeats the edge."""
    if not any(view):
        return images
    seen = images.flip(-1) if view[0] else images
    for axis, step in enumerate(view[1:], start=2):
        if step:
            length = seen.shape[axis]
            places = (torch.arange(length, device=seen.device) - step).clamp(0, length - 1)
            seen = seen.index_select(axis, places)
    return seen.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else seen


def _half(classes: Sequence[str]) -> Any:
    from ai4diag.evaluation.classification import Threshold
    from ai4diag.evaluation.multilabel_scores import ThresholdPerClass

    return ThresholdPerClass(0.5, "", {}, "", tuple(Threshold(0.5, "") for _ in classes))
