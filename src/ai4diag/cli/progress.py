"""Progress of a stage: a bar with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from ai4diag.cli.show import message

LINE_SECONDS = 5.0


class Progress:
    """An observer that shows how far training or a download is.

    Args:
        label: what is being done, such as `train breast-mass`.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.fold, self.last = "", True
        self.seen = ""
        self.begin = self.spoken = time.monotonic()
        self.first_step = 0
        self.bar: Any = None

    def __call__(self, name: str, fields: dict[str, Any]) -> None:
        """Hear an event (docs/reference/events.md)."""
        handler = getattr(self, f"_on_{name}", None)
        if handler is not None:
            handler(fields)

    def _on_fold(self, fields: dict[str, Any]) -> None:
        self.last = fields["fold"] == fields["folds"]
        if fields["folds"] > 1:
            self.fold = f" fold {fields['fold']}/{fields['folds']}"
            message(f"{self.label}{self.fold}")

    def _on_resumed(self, fields: dict[str, Any]) -> None:
        message(f"{self.label}{self.fold}: resumed after epoch {fields['epoch']}")

    def _on_started(self, fields: dict[str, Any]) -> None:
        self.begin = self.spoken = time.monotonic()
        self.seen, self.first_step = "", -1
        if not self.fold:
            size = f", {fields['parameters']:,} parameters" if "parameters" in fields else ""
            message(f"{self.label}: {fields['cases']} cases{size}, on {fields.get('device', 'cpu')}")

    def _on_out_of_memory(self, fields: dict[str, Any]) -> None:
        message(f"{self.label}{self.fold}: {fields['note']}")

    def _on_step(self, fields: dict[str, Any]) -> None:
        if self.first_step < 0:
            self.first_step = fields["step"] - 1
        self._show(fields["step"], fields["steps"])

    def _on_epoch(self, fields: dict[str, Any]) -> None:
        figures = {"loss": fields["loss"], **fields.get("validation", {})} if "loss" in fields else {}
        text = " ".join(f"{key} {value:.4g}" for key, value in figures.items())
        self.seen = f"epoch {fields['epoch']}/{fields['epochs']} {text}"

    def _on_file(self, fields: dict[str, Any]) -> None:
        self._show(fields["done"], fields["total"])

    def _on_finished(self, fields: dict[str, Any]) -> None:
        self._close()
        if not self.fold:
            message(f"{self.label}: {self.seen} in {_clock(fields['seconds'])}")
        for said in fields.get("not_deterministic", ()) if self.last else ():
            message(f"{self.label}{self.fold}: not deterministic: {said}")
        if "throughput" in fields and self.last:
            message(f"{self.label}{self.fold}: {_speed(fields['throughput'])}")

    def _show(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            self._draw(done, total)
            return
        now = time.monotonic()
        if now - self.spoken < LINE_SECONDS:
            return
        self.spoken = now
        worked = done - max(self.first_step, 0)
        left = (now - self.begin) * (total - done) / worked if worked else 0
        message(f"{self.label}{self.fold}: {100 * done // total:3d} % {self.seen} ({_clock(left)} left)")

    def _draw(self, done: int, total: int) -> None:
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=max(self.first_step, 0), leave=False, dynamic_ncols=True, unit="")
        self.bar.set_description_str(f"{self.label}{self.fold}", refresh=False)
        self.bar.set_postfix_str(self.seen, refresh=False)
        self.bar.update(done - self.bar.n)
        if done == total:
            self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _speed(found: dict[str, float]) -> str:
    """Say how fast it was and where the time went.

    >>> _speed({"samples_per_s": 1234.5, "data_s": 1, "step_s": 8, "validation_s": 1, "checkpoint_s": 0, "busy": 0.97})
    '1,234 cases/s; data 10 %, steps 80 %, validation 10 %, checkpoints 0 %; device busy 97 %'
    """
    kinds = {"data": "data", "step": "steps", "validation": "validation", "checkpoint": "checkpoints"}
    whole = sum(found[f"{kind}_s"] for kind in kinds) or 1.0
    shares = ", ".join(f"{name} {found[f'{kind}_s'] / whole:.0%}".replace("%", " %") for kind, name in kinds.items())
    speed = found["samples_per_s"]
    return f"{speed:{',.0f' if speed >= 100 else '.3g'}} cases/s; {shares}; device busy {100 * found['busy']:.0f} %"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
