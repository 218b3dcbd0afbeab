"""Which random changes there are, how far they go, and how often: from `train.augment` to a `Plan`.

Units: a length is in millimetres of `spacing_mm` (in pixels where images have no spacing), an angle in degrees, an
intensity in shares of full scale, which `apply` defines.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ai4diag.config.train import Change
from ai4diag.errors import ConfigError, did_you_mean

Setting = float | Sequence[float] | Change


@dataclass(frozen=True)
class Kind:
    """One kind of change.

    Attributes:
        meaning: what it does; `a` stands for the amount.
        amount: default.
        chance: default share of the images that are changed.
        per_axis: whether the amount may differ between axes.
        most: largest amount allowed.
    """

    meaning: str
    amount: float
    chance: float = 1.0
    per_axis: bool = False
    most: float = float("inf")


KINDS = {
    "flip": Kind("mirror along each axis with probability a", 0.5, per_axis=True, most=1),
    "turn": Kind(
        "turn by 0, 90, 180 or 270 degrees in the plane of the last two axes, up to a quarter turns", 3, most=3
    ),
    "rotate": Kind("turn by up to a degrees (3D: about each axis)", 15.0, per_axis=True, most=180),
    "zoom": Kind("enlarge by a factor between 1/a and a", 1.2, most=4),
    "stretch": Kind("enlarge each axis by a factor of its own between exp(-a) and exp(a)", 0.1, per_axis=True, most=1),
    "shift": Kind("move by up to a sides of the window along each axis", 0.1, per_axis=True, most=1),
    "crop": Kind("place the window anywhere in the image, up to the share a of the room there is", 1.0, most=1),
    "elastic": Kind("bend smoothly: no place moves by more than a mm along an axis", 2.0, chance=0.5),
    "gamma": Kind("raise intensities to a power between exp(-a) and exp(a)", 0.25, most=3),
    "gain": Kind("multiply each channel by a factor of its own between exp(-a) and exp(a)", 0.1, most=3),
    "contrast": Kind("multiply the difference to the mean by a factor between exp(-a) and exp(a)", 0.25, most=3),
    "brightness": Kind("add up to a", 0.1, most=1),
    "blur": Kind("Gaussian blur with a standard deviation of up to a mm", 1.0, chance=0.2),
    "resolution": Kind("sample again with pixels up to a times as long", 2.0, chance=0.25, most=16),
    "bias": Kind(
        "multiply by a smooth field between exp(-a) and exp(a), as the coils of MR leave it", 0.3, chance=0.5, most=3
    ),
    "noise": Kind("normal noise with a standard deviation of up to a", 0.03, most=1),
}
"""Every change, in the order in which they are applied."""

GROUPS = {
    "scale": ("zoom", "stretch"),
    "intensity": ("gamma", "gain", "contrast", "brightness"),
}
"""Names that stand for several changes with their defaults."""

AT_LEAST_ONE = ("zoom", "resolution")
"""Changes whose amount is a factor, with 1 for nothing."""


@dataclass(frozen=True)
class Plan:
    """The changes that are switched on, completed and checked.

    Attributes:
        amounts: of each kind that is on: one number per axis where the kind knows axes, else one.
        chances: of each kind that is on.
    """

    amounts: Mapping[str, tuple[float, ...]]
    chances: Mapping[str, float]

    def __contains__(self, name: str) -> bool:
        return name in self.amounts

    @property
    def resamples(self) -> bool:
        """Whether places between pixels are looked up; if not, pixels only change their places."""
        return any(name in self for name in ("rotate", "zoom", "stretch", "elastic"))


def plan(
    augment: Sequence[str] | Mapping[str, Setting], dimensions: int, known: Collection[str] = tuple(KINDS)
) -> Plan:
    """Complete `train.augment` with defaults.

    Args:
        augment: names of `KINDS` and `GROUPS`, or a mapping of names of `KINDS` to amounts or `Change`.
        dimensions: number of spatial axes, 2 or 3.
        known: kinds that make sense for the task.

    Raises:
        ConfigError: a name is unknown (the nearest known one is named), or an amount cannot be.

    >>> plan({"rotate": 10, "blur": Change(chance=0.1)}, 2)
    Plan(amounts={'rotate': (10.0,), 'blur': (1.0,)}, chances={'rotate': 1.0, 'blur': 0.1})
    """
    names = [*known, *(group for group, members in GROUPS.items() if set(members) <= set(known))]
    settings: dict[str, Change] = {}
    for name in augment:
        if name not in names:
            raise ConfigError(f"train.augment: '{name}' is not a change of images. {did_you_mean(name, names)}")
        value = augment[name] if isinstance(augment, Mapping) else Change()
        if name in GROUPS and value != Change():
            raise ConfigError(f"train.augment.{name} has no amount of its own.", f"Name {', '.join(GROUPS[name])}.")
        change = value if isinstance(value, Change) else Change(amount=value)
        settings |= {member: change for member in GROUPS.get(name, (name,)) if member not in settings or member == name}
    amounts = {name: _amount(name, change, dimensions) for name, change in settings.items()}
    chances = {
        name: KINDS[name].chance if change.chance is None else change.chance for name, change in settings.items()
    }
    return Plan(amounts, chances)


def _amount(name: str, change: Change, dimensions: int) -> tuple[float, ...]:
    """Return the amount of a kind: one number per axis (about each axis for `rotate`), or one."""
    kind, given = KINDS[name], change.amount
    count = 1 if not kind.per_axis or (name == "rotate" and dimensions == 2) else dimensions
    values = (kind.amount,) if given is None else tuple(given) if isinstance(given, Sequence) else (given,)
    least = 1.0 if name in AT_LEAST_ONE else 0.0
    if len(values) not in (1, count) or not all(least <= value <= kind.most for value in values):
        numbers = "one number" if count == 1 else f"one number, or {count}"
        raise ConfigError(
            f"train.augment.{name}: found {given}; expected {numbers} between {least:g} and {kind.most:g} "
            f"({kind.meaning})."
        )
    return tuple(float(value) for value in values) * (count // len(values))
