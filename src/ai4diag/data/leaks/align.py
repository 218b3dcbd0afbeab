"""Lay one small image over another: how far two images agree once a crop or a shift is undone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
STEPS = 6
MOST_SCALE = 0.25
"""Largest change of scale along an axis that counts as a crop of the same picture."""
MOST_SHIFT = 0.4
"""Largest shift, in half sides."""
LEAST_SHARED = 0.5
"""Share of an image that the other must show as well."""
_BLOCK_VALUES = 1 << 17


def agreement(fixed: Floats, moving: Floats) -> Floats:
    """Return the correlation of pairs of images after the second was stretched and shifted onto the first.

    A crop that was brought back to the original size is a stretch and a shift along each axis: these numbers are
    found by Gauss-Newton steps in their inverse compositional form (Baker and Matthews, IJCV 56:221, 2004). The
    correlation is that of the part that both images show, and at least that without any change.

    Args:
        fixed, moving: `(pairs, *sides)`, two or three sides, without their coarse brightness (`copies.details`).

    Returns:
        `(pairs,)`, between -1 and 1.
    """
    step = max(1, _BLOCK_VALUES // max(1, int(np.prod(fixed.shape[1:]))))
    blocks = [_agreement(fixed[at : at + step], moving[at : at + step]) for at in range(0, len(fixed), step)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _agreement(fixed: Floats, moving: Floats) -> Floats:
    count, sides = len(fixed), fixed.shape[1:]
    places = [np.linspace(-1, 1, side, dtype=np.float32) for side in sides]
    ways = []  # how the fixed image changes with the shift and the stretch along each axis
    for axis, place in enumerate(places):
        steep = np.gradient(fixed, axis=axis + 1) * np.float32((sides[axis] - 1) / 2)
        ways += [steep, steep * place.reshape([-1 if one == axis else 1 for one in range(len(sides))])]
    jacobian = np.stack(ways, axis=1).reshape(count, len(ways), -1)
    hessian = jacobian @ jacobian.transpose(0, 2, 1) + np.float32(1e-6) * np.eye(len(ways), dtype=np.float32)
    shift, scale = np.zeros((count, len(sides)), np.float32), np.ones((count, len(sides)), np.float32)
    best = _correlation(fixed, moving, np.ones_like(fixed))
    for step in range(STEPS):
        warped, inside = (moving, np.ones_like(fixed)) if step == 0 else _warp(moving, shift, scale, places)
        if step:
            shared = inside.reshape(count, -1).mean(axis=1) >= LEAST_SHARED
            best = np.maximum(best, np.where(shared, _correlation(fixed, warped, inside), -1))
        wrong = ((warped - fixed) * inside).reshape(count, -1, 1)
        change = np.linalg.solve(hessian, jacobian @ wrong)[:, :, 0]
        scale = scale / (1 + np.clip(change[:, 1::2], -0.2, 0.2))
        shift = np.clip(shift - scale * change[:, ::2], -MOST_SHIFT, MOST_SHIFT)
        scale = np.clip(scale, 1 - MOST_SCALE, 1 + MOST_SCALE)
    return best.astype(np.float32)


def _warp(images: Floats, shift: Floats, scale: Floats, places: list[Floats]) -> tuple[Floats, Floats]:
    """Return the images at `scale * place + shift`, linear, and 1 where that is inside of them."""
    number = np.arange(len(images))[:, None]
    inside = np.ones_like(images)
    for axis, place in enumerate(places, start=1):
        side = len(place)
        wanted = (scale[:, axis - 1, None] * place + shift[:, axis - 1, None] + 1) * np.float32((side - 1) / 2)
        within = (wanted > -0.5) & (wanted < side - 0.5)
        inside *= within.reshape([len(images), *(side if one == axis else 1 for one in range(1, images.ndim))])
        wanted = np.clip(wanted, 0, side - 1)
        low = np.minimum(wanted.astype(np.int64), side - 2)
        share = (wanted - low).reshape(len(images), side, *[1] * (images.ndim - 2))
        turned = np.moveaxis(images, axis, 1)
        first = turned[number, low]
        images = np.moveaxis(first + share * (turned[number, low + 1] - first), 1, axis)
    return np.ascontiguousarray(images), inside


def _correlation(one: Floats, two: Floats, inside: Floats) -> Floats:
    left, right, weight = (array.reshape(len(one), -1) for array in (one, two, inside))
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    left = (left - (left * weight).sum(axis=1, keepdims=True) / total) * weight
    right = (right - (right * weight).sum(axis=1, keepdims=True) / total) * weight
    product = np.einsum("nv,nv->n", left, right)
    size = np.sqrt(np.einsum("nv,nv->n", left, left) * np.einsum("nv,nv->n", right, right))
    found: Floats = np.where(size > 1e-12, product / np.maximum(size, 1e-12), 0).astype(np.float32)
    return found
