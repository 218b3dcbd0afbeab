"""The plan of a segmentation: what the data and the memory decide, so that a recipe need not.

The *fingerprint* describes the training cases: sides, spacing, channels, classes. The *plan* follows from it by the
rules below, in the spirit of nnU-Net (Isensee et al., Nature Methods 18, 2021, section "Inferred parameters"):

1. Spacing: the median of the training cases; along an axis that is three times coarser than the others and has three
   times fewer voxels, the tenth percentile, so that thin layers are not thrown away.
2. Patch: the median sides at that spacing, shrunk evenly until a training step fits into memory.
3. Stages: each halves the axes that still have eight voxels and whose voxels are not twice as long as the shortest, so
   that voxels become cubes before all axes are halved.
4. Window of a prediction: the whole volume where the patch covers the median one, else the patch.
5. What a recipe sets is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ai4diag.config.segmentation import UNet
from ai4diag.errors import ConfigError

Sides = tuple[int, int, int]
Spacing = tuple[float, float, float]
COARSE = 3.0
LEAST_SIDE = 4
MOST_SIDE = 256
GIGA = 1e9
AXES = ("right-left", "back-front", "foot-head")


@dataclass(frozen=True)
class Fingerprint:
    """What the training cases look like, in canonical orientation (right, front, head).

    Attributes:
        cases: how many.
        spacing_mm: median spacing of the files.
        finest_mm: tenth percentile of the spacing of the files.
        sides: median sides of the files, in voxels.
        packed_mm: spacing of the packed volumes.
        packed_sides: median sides of the packed volumes.
        most_sides: largest sides of the packed volumes.
        channels: names.
        classes: names, without the background.
        shares: share of voxels of each class.
    """

    cases: int
    spacing_mm: Spacing
    finest_mm: Spacing
    sides: tuple[float, float, float]
    packed_mm: Spacing
    packed_sides: tuple[float, float, float]
    most_sides: Sides
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Fingerprint:
        """Read it from the facts of prepared cases."""
        return cls(**_tuples(facts))


@dataclass(frozen=True)
class Plan:
    """How a network is built, trained and asked.

    Attributes:
        dimensions: 2 or 3.
        spacing_mm: of the packed volumes, right, front, head.
        patch: voxels of a training step; 1 across the layers in 2D.
        batch: patches of a training step, from the recipe.
        most_batch: patches that would fit into memory.
        step_gb: memory of a training step, estimated.
        widths: channels of each stage.
        strides: by how much each stage after the first shrinks each axis of the patch.
        convolutions, residual, outputs: see the recipe.
        window: voxels that are predicted at once; None: the whole volume.
        at_once: voxels in one forward pass of a prediction, at most.
    """

    dimensions: int
    spacing_mm: Spacing
    patch: Sides
    batch: int
    most_batch: int
    step_gb: float
    widths: tuple[int, ...]
    strides: tuple[Sides, ...]
    convolutions: int
    residual: bool
    outputs: int
    window: Sides | None
    at_once: int

    @property
    def across(self) -> int | None:
        """The axis across the layers in 2D; None in 3D."""
        return None if self.dimensions == 3 else self.patch.index(1)

    @property
    def multiple(self) -> Sides:
        """What the sides of an image must be multiples of."""
        i, j, k = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return i, j, k

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Plan:
        """Read what `as_dict` wrote."""
        return cls(**_tuples(fields))


def plan_spacing(spacings_mm: np.ndarray, sides: np.ndarray) -> Spacing:
    """Return the spacing to which cases are resampled.

    Args:
        spacings_mm, sides: `(cases, 3)`, of the training cases in canonical orientation.
    """
    median = np.median(spacings_mm, axis=0)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        thick = median[axis] > COARSE * median[others].max()
        if thick and COARSE * np.median(sides[:, axis]) < np.median(sides[:, others], axis=0).min():
            median[axis] = np.percentile(spacings_mm[:, axis], 10)
    i, j, k = (float(value) for value in median.round(4))
    return i, j, k


def make_plan(fingerprint: Fingerprint, model: UNet, batch: int) -> Plan:
    """Return the plan for cases and the settings of a recipe.

    Args:
        fingerprint: what the training cases look like.
        model: the recipe's `model` block; what is set in it overrides the plan.
        batch: the recipe's `train.batch_size`.

    Raises:
        ConfigError: the recipe's patch or window does not fit its dimensions or stages, or its batch does not fit into
            memory.
    """
    across = _across(fingerprint, model)
    sides = [MOST_SIDE if side > MOST_SIDE else side for side in fingerprint.packed_sides]
    if across is not None:
        sides[across] = 1
    patch, strides = model.patch, _strides(model.patch or sides, fingerprint.packed_mm, model, across)
    if patch is None:
        patch, strides = _fitting(sides, fingerprint, model, batch, across)
    _refuse_odd("patch", patch, strides)
    if across is not None and patch[across] != 1:
        raise ConfigError(f"model.patch is {_by(patch)}; in two dimensions it is 1 along axis {across + 1}.")
    if isinstance(model.window, tuple):
        _refuse_odd("window", model.window, strides)
    widths = _widths(model, len(strides) + 1)
    one = step_bytes(patch, strides, widths, model.convolutions)
    most = int(model.memory_gb * GIGA // one)
    if batch > most:
        raise ConfigError(
            f"A step on {batch} patches of {_by(patch)} voxels takes about {batch * one / GIGA:.1f} GB; "
            f"model.memory_gb allows {model.memory_gb:g}.",
            f"Lower train.batch_size to {most}, or raise model.memory_gb." if most else "Choose a smaller model.patch.",
        )
    return Plan(
        dimensions=3 if across is None else 2,
        spacing_mm=fingerprint.packed_mm,
        patch=patch,
        batch=batch,
        most_batch=most,
        step_gb=round(batch * one / GIGA, 2),
        widths=widths,
        strides=strides,
        convolutions=model.convolutions,
        residual=model.residual,
        outputs=min(model.outputs, len(strides)),
        window=_window(model, patch, fingerprint, across),
        at_once=int(model.memory_gb * GIGA // (4 * 7 * widths[0])),
    )


def _window(model: UNet, patch: Sides, fingerprint: Fingerprint, across: int | None) -> Sides | None:
    """Return the window of a prediction, None for the whole volume.

    Instance normalisation takes mean and spread over what it sees: a network that learned from patches is wrong about
    whole volumes that show much more, or more margin (measured: `docs/LOG.md`).
    """
    if model.window == "whole":
        return None
    if model.window is not None:
        return model.window
    covered = all(patch[axis] >= fingerprint.packed_sides[axis] for axis in range(3) if axis != across)
    return None if covered else patch


def step_bytes(patch: Sequence[int], strides: Sequence[Sides], widths: Sequence[int], convolutions: int) -> float:
    """Estimate the memory of a training step on one patch: what the network keeps for its gradients, twice.

    Each convolution keeps its output and that of its normalisation; each stage on the way up also what it is joined
    with. Measured: `docs/LOG.md`.
    """
    voxels, kept = float(math.prod(patch)), 0.0
    for level, width in enumerate(widths):
        if level:
            voxels /= math.prod(strides[level - 1])
        up = level < len(widths) - 1
        kept += voxels * width * (2 * convolutions + (2 * convolutions + 3) * up)
    return 2 * 4 * kept


def page(plan: Plan, fingerprint: Fingerprint, model: UNet) -> str:
    """Return fingerprint and plan as one readable page."""
    given = model.model_fields_set
    said = fingerprint
    shares = ", ".join(f"{name} {share:.2%}" for name, share in zip(said.classes, said.shares, strict=True))
    sizes = " x ".join(f"{side:g}" for side in said.packed_sides)
    window = "the whole volume" if plan.window is None else f"{_by(plan.window)} voxels, overlap {model.overlap:g}"
    widths, each = ", ".join(map(str, plan.widths)), f"{plan.convolutions} convolutions"
    each += ", residual" if plan.residual else ""
    mirrored = ", ".join(AXES[axis] for axis in model.flips) or "not mirrored"

    def line(name: str, text: str, *keys: str) -> str:
        return f"  {name:<14}{text}" + ("  (recipe)" if given.intersection(keys) else "")

    return "\n".join(
        [
            "From the data",
            line("cases", f"{said.cases} in training"),
            line("channels", ", ".join(said.channels)),
            line("classes", f"background and {shares} of the voxels"),
            line(
                "files", f"spacing {_by(said.spacing_mm)} mm, {' x '.join(f'{side:g}' for side in said.sides)} voxels"
            ),
            line("packed", f"spacing {_by(said.packed_mm)} mm, {sizes} voxels, at most {_by(said.most_sides)}"),
            "Network",
            line("dimensions", str(plan.dimensions), "dimensions"),
            line("stages", f"{len(plan.widths)}: {widths} channels", "width", "most_width", "stages"),
            line("halved", ", ".join(_by(stride) for stride in plan.strides)),
            line("per stage", each, "convolutions", "residual"),
            line("outputs", f"{plan.outputs} resolutions compared with the truth", "outputs"),
            "Training",
            line("patch", f"{_by(plan.patch)} voxels", "patch"),
            line("batch", f"{plan.batch} (recipe); {plan.most_batch} would fit"),
            line("memory", f"about {plan.step_gb:g} GB of {model.memory_gb:g} GB a step"),
            line("intensities", f"scaled by {'each volume' if model.intensities == 'volume' else 'all foreground'}"),
            "Prediction",
            line("window", f"{window}; at most {plan.at_once:,} voxels in one pass", "window"),
            line("mirrored", mirrored, "flips"),
        ]
    )


def _across(fingerprint: Fingerprint, model: UNet) -> int | None:
    """Return the axis across the layers in 2D, None in 3D."""
    flat = [axis for axis in range(3) if fingerprint.most_sides[axis] == 1]
    if model.patch is not None and model.dimensions == 2 and 1 in model.patch:
        return model.patch.index(1)
    if flat:
        if model.dimensions == 3:
            raise ConfigError("model.dimensions is 3, but the volumes have one layer.", "Leave it out.")
        return flat[0]
    return int(np.argmax(fingerprint.packed_mm)) if model.dimensions == 2 else None


def _strides(sides: Sequence[float], spacing: Sequence[float], model: UNet, across: int | None) -> tuple[Sides, ...]:
    now, voxel = list(sides), list(spacing)
    found: list[Sides] = []
    most = model.stages or 6
    axes = [axis for axis in range(3) if axis != across]
    while len(found) < most - 1:
        large = [axis for axis in axes if now[axis] >= 2 * LEAST_SIDE or (model.stages and now[axis] >= 2)]
        short = min((voxel[axis] for axis in large), default=0.0)
        halved = [axis for axis in large if voxel[axis] < 2 * short]
        if not halved:
            break
        stride = tuple(2 if axis in halved else 1 for axis in range(3))
        found.append((stride[0], stride[1], stride[2]))
        for axis in halved:
            now[axis], voxel[axis] = now[axis] / 2, voxel[axis] * 2
    if not found:
        raise ConfigError(
            f"A patch of {_by([round(side) for side in sides])} voxels is too small for two stages.",
            "Give a larger model.patch, or a finer data.spacing_mm.",
        )
    return tuple(found)


def _fitting(
    sides: Sequence[float], fingerprint: Fingerprint, model: UNet, batch: int, across: int | None
) -> tuple[Sides, tuple[Sides, ...]]:
    """Return the largest patch, at most `sides`, for which a training step fits into memory."""
    wanted = list(sides)
    while True:
        strides = _strides(wanted, fingerprint.packed_mm, model, across)
        step = [math.prod(stride[axis] for stride in strides) for axis in range(3)]
        patch = [step[axis] * math.ceil(wanted[axis] / step[axis] - 1e-9) for axis in range(3)]
        widths = _widths(model, len(strides) + 1)
        if batch * step_bytes(patch, strides, widths, model.convolutions) <= model.memory_gb * GIGA:
            return (patch[0], patch[1], patch[2]), strides
        ratio = [patch[axis] / sides[axis] if patch[axis] > step[axis] else 0.0 for axis in range(3)]
        largest = int(np.argmax(ratio))
        if not ratio[largest]:
            return (patch[0], patch[1], patch[2]), strides
        wanted = [float(side) for side in patch]
        wanted[largest] -= step[largest]


def _widths(model: UNet, stages: int) -> tuple[int, ...]:
    return tuple(min(model.width * 2**stage, model.most_width) for stage in range(stages))


def _refuse_odd(name: str, sides: Sides, strides: Sequence[Sides]) -> None:
    for axis in range(3):
        step = math.prod(stride[axis] for stride in strides)
        if sides[axis] % step:
            raise ConfigError(
                f"model.{name} is {_by(sides)}; with {len(strides) + 1} stages side {axis + 1} must be a multiple of "
                f"{step}.",
                "Choose such sides, or fewer model.stages.",
            )
    if math.prod(sides) == math.prod(math.prod(stride) for stride in strides):
        raise ConfigError(
            f"model.{name} is {_by(sides)}; with {len(strides) + 1} stages one voxel is left of it, which has no "
            "spread to be normalised by.",
            "Choose larger sides, or fewer model.stages.",
        )


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as JSON gives them with tuples for lists, inner ones too."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, (list, tuple)) else value

    return {key: frozen(value) for key, value in fields.items()}


def _by(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
