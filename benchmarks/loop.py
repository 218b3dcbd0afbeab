"""The training loop on a small network, beside the bare loop of torch, MONAI's and Lightning's trainers.

A network (30-64-64-2) learns Wisconsin breast mass (scikit-learn's copy, ten times over: 4,550 training cases) in
batches of at most 32, three epochs, AdamW without decay of biases. The bare loop draws one order per epoch, gathers all
cases once, and takes `torch.optim.AdamW(fused=True)`; it looks at no loss, resumes nothing and tells nobody, and ends
with our weights to the bit. MONAI's cached data set and loader feed a plain loop, as its tutorials do it. The trainers
get a `DataLoader` without workers, the same network, optimizer and number of steps; bars, logs and checkpoints are
switched off. MONAI's SupervisedTrainer needs pytorch-ignite and is measured where that is installed.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from ai4diag.config.train import Train
from ai4diag.data.prepared import Fold
from ai4diag.training.loop import fit
from benchmarks import ROUNDS, Row, side_by_side, versions
from benchmarks.tracking import Mass

EPOCHS, CASES = 3, 4550
SETTINGS = Train(epochs=EPOCHS, batch_size=32, schedule="constant")
STEPS = math.ceil(CASES / SETTINGS.batch_size) * EPOCHS


def ours() -> torch.nn.Module:
    """Train with the library's loop."""
    nothing: Any = None
    learner = Mass()
    fold = Fold(0, np.arange(CASES), np.empty(0, np.int64), np.empty(0, np.int64))
    fit(learner, nothing, fold, SETTINGS, lambda event, fields: None)  # type: ignore[arg-type]
    return learner.network


def bare() -> torch.nn.Module:
    """Train with as little as torch needs."""
    case = Mass()
    network, optimizer = case.network, _optimizer(case.network)
    torch.manual_seed(SETTINGS.seed)
    generator = torch.Generator().manual_seed(SETTINGS.seed)
    network.train()
    for _ in range(EPOCHS):
        order = torch.randperm(CASES, generator=generator)
        batches = (torch.tensor_split(column[order], STEPS // EPOCHS) for column in (case.x, case.y))
        for x, y in zip(*batches, strict=True):
            loss = cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


class _Cases(Dataset):  # type: ignore[type-arg]
    def __init__(self, case: Mass) -> None:
        self.case = case

    def __len__(self) -> int:
        return CASES

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"image": self.case.x[row], "label": self.case.y[row]}


def monai_loader() -> torch.nn.Module:
    """Train with MONAI's cached data set and loader in a plain loop."""
    from monai.data import CacheDataset
    from monai.data import DataLoader as Loader

    case = Mass()
    optimizer = _optimizer(case.network)
    data = CacheDataset(
        [{"image": x, "label": y} for x, y in zip(case.x[:CASES], case.y[:CASES], strict=True)],
        transform=lambda item: item,
        progress=False,
    )
    loader = Loader(data, batch_size=32, shuffle=True)
    for _ in range(EPOCHS):
        for batch in loader:
            optimizer.zero_grad()
            cross_entropy(case.network(batch["image"]), batch["label"]).backward()
            optimizer.step()
    return case.network


def monai() -> torch.nn.Module:
    """Train with MONAI's SupervisedTrainer."""
    from monai.engines import SupervisedTrainer

    case = Mass()
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=EPOCHS,
        train_data_loader=DataLoader(_Cases(case), batch_size=32, shuffle=True),
        network=case.network,
        optimizer=_optimizer(case.network),
        loss_function=torch.nn.CrossEntropyLoss(),
    ).run()
    return case.network


def lightning() -> torch.nn.Module:
    """Train with Lightning's Trainer."""
    import lightning as pl

    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.ERROR)
    case = Mass()

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = case.network

        def training_step(self, batch: dict[str, torch.Tensor], number: int) -> torch.Tensor:
            return cross_entropy(self.network(batch["image"]), batch["label"])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return _optimizer(self.network)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pl.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        ).fit(Module(), DataLoader(_Cases(case), batch_size=32, shuffle=True))
    return case.network


def run() -> list[Row]:
    """Measure."""
    torch.set_num_threads(1)
    ours_is, bare_is = ours().state_dict(), bare().state_dict()
    if not all(torch.equal(ours_is[name], tensor) for name, tensor in bare_is.items()):
        raise AssertionError("the bare loop did not end with our weights")
    name = f"{STEPS} steps, 30-64-64-2"
    rows = [
        _row(name, "bare torch loop", bare, 0.95, "torch"),
        _row(name, "MONAI CacheDataset and DataLoader", monai_loader, 2.0, "monai", rounds=3),
        _row(name, "Lightning Trainer", lightning, 3.0, "lightning"),
    ]
    if find_spec("ignite") is not None:
        rows.append(_row(name, "MONAI SupervisedTrainer", monai, 3.0, "monai"))
    return rows


def _row(
    name: str, peer_name: str, peer: Callable[[], torch.nn.Module], goal: float, package: str, rounds: int = ROUNDS
) -> Row:
    expected, found = _loss(ours()), _loss(peer())
    if not 0.5 < found / expected < 2:
        raise AssertionError(f"{peer_name} ended with loss {found:.4f}, we with {expected:.4f}")
    return Row(name, peer_name, *side_by_side(ours, peer, rounds), goal=goal, versions=versions("torch", package))


def _loss(network: torch.nn.Module) -> float:
    case = Mass()
    with torch.no_grad():
        return float(cross_entropy(network.eval()(case.x), case.y))


def _optimizer(network: torch.nn.Module) -> torch.optim.Optimizer:
    split = [[p for p in network.parameters() if (p.ndim > 1) == many] for many in (True, False)]
    decay = SETTINGS.weight_decay
    groups = [{"params": split[0], "weight_decay": decay}, {"params": split[1], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=SETTINGS.learning_rate, fused=True)
