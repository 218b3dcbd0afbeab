"""The seam that everything hangs on: what a task must know, and what a learner must do.

A **task** knows a kind of problem: how raw files become prepared cases, and which learner a recipe asks for. A
**learner** is something that can be fitted, asked and saved. Two kinds exist, because two are needed: one that fits
itself in one call (trees), and a network, which only says what a batch and its loss are; the one loop in
`ai4diag.training` does the rest. Importing a task imports no torch; building its learner does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ai4diag.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from ai4diag.config.card import Card
    from ai4diag.config.recipe import Recipe
    from ai4diag.data.prepared import Prepared

Notify = Callable[[str, dict[str, Any]], None]
"""Called as `notify("epoch", {...})`; docs/reference/events.md lists the events and their fields."""


def check_hooks(task: str, known: Iterable[str], given: Iterable[str]) -> None:
    """Refuse functions of `pipeline.py` that the task would not call.

    Raises:
        ConfigError: the first such function is named, and the nearest hook.
    """
    for name in given:
        if name not in known:
            raise ConfigError(
                f"pipeline.py: a {task} pipeline has no hook '{name}'. {did_you_mean(name, known)}",
                "Begin the name of a function of your own with an underscore.",
            )


@runtime_checkable
class Learner(Protocol):
    """A model of one kind of problem, fitted or not."""

    def predict(self, prepared: Prepared, rows: np.ndarray) -> pd.DataFrame:
        """Return the output columns of predictions, one line per row, in the order of `rows` (int64, `(cases,)`)."""

    def save(self, folder: Path) -> None:
        """Write the weights and `model.json`, which says how to build it again. Nothing is pickled."""


class SelfFitting(Learner, Protocol):
    """A learner that fits itself in one call."""

    def fit(self, prepared: Prepared, train: np.ndarray, validation: np.ndarray, notify: Notify) -> None:
        """Fit on rows `train`; choose when to stop on rows `validation` (may be empty: never stop early)."""


class NetworkLearner(Learner, Protocol):
    """A learner that the training loop fits: it owns a network and says what a loss is."""

    network: torch.nn.Module

    def place(self, prepared: Prepared, train: np.ndarray, device: torch.device) -> None:
        """Learn statistics from rows `train` only, and put cases and network on the device; called before training."""

    def loss(self, rows: torch.Tensor, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Return the losses of one augmented batch as scalars; the loop minimises `loss` and reports the others.

        Args:
            rows: int64 `(batch,)` on the CPU, rows of the prepared index.
            generator: CPU generator; every random choice of augmentation comes from it.

        A learner may take a third argument, `share: slice = slice(None)`: the part of the batch to compute. Random
        numbers are then drawn for all `rows`, and cases `rows[share]` get theirs. A batch that is computed in parts
        (`train.accumulate`, memory that ran out, several processes) then sees what it would see in one piece.
        Without that argument each part is given as a batch of its own.

        Further things that a network learner may offer, each of them optional:

        - `balance_labels(rows) -> int64 (cases,)`: the class of each case, for `train.balance: class`.
        - `read(rows, generator, share) -> item` and `loss_of(item)`, so that `loss(rows, generator, share)` is
          `loss_of(read(rows, generator, share))`. The loop then reads the next batches in a thread while the present
          one is computed: for crops from memory maps. What is drawn must come from `generator` and be drawn in `read`.

        What helps a learner with cases that do not fit in memory: `fits(bytes, device)` says whether they do, and
        `halving(work, window)` predicts once more with half the window when memory runs out (`ai4diag.tasks.memory`);
        `Prefetch(read, keys)` reads ahead anywhere else (`ai4diag.tasks.prefetch`).
        """

    def score(self, prepared: Prepared, rows: np.ndarray) -> dict[str, float]:
        """Return validation figures; `score` is the one to maximise."""


class Task(Protocol):
    """What the library knows of one kind of problem."""

    name: str

    def prepare(self, raw: Path, card: Card, recipe: Any, folder: Path, hooks: dict[str, Callable[..., Any]]) -> None:
        """Read and validate raw files, split, scan for leaks, and write prepared cases to `folder`."""

    def truth(self, prepared: Prepared, rows: np.ndarray) -> pd.DataFrame:
        """Return the truth columns of predictions, one line per row, in the order of `rows`."""

    def learner(self, prepared: Prepared, recipe: Recipe, hooks: dict[str, Callable[..., Any]]) -> Learner:
        """Build the untrained learner that the recipe names, with weights from `recipe.train.seed`."""

    def load(self, folder: Path) -> Learner:
        """Read what `Learner.save` wrote."""

    def gather(self, inputs: Sequence[Path], learner: Learner, folder: Path) -> Prepared:
        """Read new files and pack them in `folder` as the learner expects them; their truth is not known.

        The index holds `case_id`, from the name of each file or the lines in it; split and findings are empty.

        Raises:
            DataError: a file cannot be read, or is not what the learner learned from; it is named.
        """

    def deliver(self, table: pd.DataFrame, prepared: Prepared, folder: Path) -> list[Path]:
        """Write what `Learner.predict` said about gathered cases, in forms that other programs read.

        Args:
            table: one line per case of `prepared`, in its order.
            prepared: what `gather` returned.
            folder: where to write `predictions.csv`, and one file per case where an answer is an image.

        Returns:
            The files, `predictions.csv` first.
        """
