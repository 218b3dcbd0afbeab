"""Copies of one another among pictures, volumes and signals, although their bytes differ.

Every case is reduced to a small array without its coarse brightness, so that resizing, compression and another
brightness change little, and cases are compared by correlation, in every orientation. How alike two different patients
are depends on the data: chest X-rays of children are, blood smears are not. So a pair is judged by how much more
alike it is than the fifth most similar case is; docs/concepts/splits-and-leaks.md says how the limits were measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from ai4diag.data.leaks.align import agreement

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Turn = tuple[str, Callable[[Floats], Floats]]

SIDE = 32
"""Rows and columns to which pictures are reduced before they are compared."""
VOLUME_SIDE = 16
"""Sides to which volumes are reduced."""
COARSE = 14
"""Rows and columns on which candidates are looked for."""
RIVALS = 5
"""A copy is judged against the so many-th most similar case of another patient."""
FEW = 12
"""Under so many cases there is nothing to judge against, and no pair is certain."""
SAME_GAP = 1.0
"""Distance to the usual rival, on the scale of Fisher's z, from which two cases are one even where there are so many
copies that their own rival is one as well."""
LEAST_SAME = 0.85
"""Correlation below which this is not applied."""
ALIKE = 0.7
"""Correlation below which no two cases are copies."""
SURE_GAP, STRANGE_GAP = 0.6, 0.55
"""Distance to the rival on the scale of Fisher's z from which a pair is certainly, or perhaps, one picture twice."""
WORTH_A_LOOK = 0.4
"""Coarse correlation of a candidate that is aligned and compared."""
ROUGHLY_SAME, ROUGH_GAP = 0.9, 0.3
"""Coarse correlation after alignment, or its distance to the rival, from which pictures are compared closely."""
_BLOCK_VALUES = 1 << 25


@dataclass(frozen=True)
class Pair:
    """Two rows that look alike.

    Attributes:
        first, second: rows, in increasing order.
        similarity: correlation after alignment.
        gap: distance to the rival on the scale of Fisher's z; infinite where there are too few cases to judge.
        way: how the second was turned: empty, `mirrored`, `turned by 90 degrees`, ...
        sure: whether they are certainly copies, not only strangely alike.
    """

    first: int
    second: int
    similarity: float
    gap: float
    way: str
    sure: bool


def small_picture(image: npt.NDArray[np.uint8]) -> Floats:
    """Return uint8 `(channels, rows, columns)` as grey `(SIDE, SIDE)`; a picture smaller than that is stretched."""
    from PIL import Image

    grey = image[0] if len(image) == 1 else image.astype(np.float32).mean(axis=0)
    shrunk = Image.fromarray(grey.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(shrunk, np.float32)


def small_volume(volume: npt.NDArray[np.generic]) -> Floats:
    """Return `(i, j, k)` as three equal sides of `VOLUME_SIDE`."""
    array = np.asarray(volume, np.float32)
    for axis, length in enumerate(array.shape):
        array = np.moveaxis(np.tensordot(_areas(length, VOLUME_SIDE), array, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(array, np.float32)


def look_alikes(small: Floats, patients: Ints, rows: Ints | None = None) -> list[Pair]:
    """Find pairs of different patients that show the same thing.

    Args:
        small: `(cases, SIDE, SIDE)` pictures, or `(cases, i, j, k)` volumes; an empty one is like none.
        patients: `(cases,)`, numbers; cases of one patient are not compared.
        rows: cases for which a copy is looked for, among all; None: for all.

    Returns:
        Each pair once, the most similar first.
    """
    turns = list(_turns(small.ndim - 1))
    fine = details(small)
    coarse = details(_halved(small)) if small.ndim == 3 else fine
    queries = np.arange(len(small)) if rows is None else rows
    places = [np.ascontiguousarray(turn(coarse)).reshape(len(coarse), -1) for _, turn in turns]
    candidates, closeness = nearest(places, patients, queries)
    same = same_from(closeness[:, -1])
    kept = np.flatnonzero(closeness[:, 0] >= WORTH_A_LOOK) if len(queries) else np.zeros(0, np.int64)
    queries, candidates, strangers = queries[kept], candidates[kept], np.isfinite(closeness[kept])
    ways = _ways(places, queries, candidates)
    if small.ndim == 3:  # a rough alignment says who is worth an exact one
        rough = np.where(strangers, _aligned(coarse, turns, queries, candidates, ways), -np.inf)
        promising = _promising(rough, len(small))
        queries, candidates, ways = queries[promising], candidates[promising], ways[promising]
        strangers = strangers[promising]
    found = np.where(strangers, _aligned(fine, turns, queries, candidates, ways), -np.inf)
    named = np.array([name for name, _ in turns])[ways]
    return judged(queries, candidates, found, len(small), same, named)


def same_from(rivals: Floats) -> float:
    """Return the correlation from which two cases are one whatever their own rivals are.

    Args:
        rivals: `(queries,)`, correlation of each case with its rival.
    """
    usual = float(np.median(rivals.clip(0, 0.9999))) if len(rivals) else 0.0
    return max(LEAST_SAME, float(np.tanh(np.arctanh(usual) + SAME_GAP)))


def details(images: Floats) -> Floats:
    """Return images without their coarse brightness, with mean 0 and length 1; all zero where nothing is to be seen.

    What differs by more than one standard deviation is compressed (tanh): else a dark frame, or a marker, would make
    all pictures that have one look alike.

    Args:
        images: `(cases, *sides)`.
    """
    sides, each = images.shape[1:], (-1, *[1] * (images.ndim - 1))
    axes = tuple(range(1, images.ndim))
    fine = images - gaussian_filter(images, (0.0, *(side / COARSE for side in sides)), mode="reflect")
    spread = np.sqrt(np.square(fine).mean(axis=axes))
    seen = spread > 1e-5 * np.maximum(1, np.abs(images).max(axis=axes, initial=0))
    fine = np.tanh(fine / np.where(seen, spread, np.inf).reshape(each))
    fine -= fine.mean(axis=axes, keepdims=True)
    length = np.sqrt(np.square(fine).sum(axis=axes))
    found: Floats = (fine / np.maximum(length, 1e-6).reshape(each)).astype(np.float32)
    return found


def nearest(
    places: Sequence[Floats], patients: Ints, queries: Ints, asked: Floats | None = None
) -> tuple[Ints, Floats]:
    """Return the most similar cases of other patients, and how similar they are, blockwise.

    Args:
        places: for each orientation `(cases, values)` of unit length; the first is the upright one.
        patients: `(cases,)`.
        queries: rows to look for.
        asked: `(cases, values)` that stand for the cases as queries, where that is not `places[0]`.

    Returns:
        Rows and correlations `(queries, RIVALS)`, the largest first; -inf for cases of the same patient.
    """
    upright, count = places[0], len(places[0])
    asked = upright if asked is None else asked
    most = min(RIVALS, count)
    rows, values = np.zeros((len(queries), most), np.int64), np.zeros((len(queries), most), np.float32)
    step = max(1, _BLOCK_VALUES // count)
    for start in range(0, len(queries), step):
        block = queries[start : start + step]
        found = asked[block] @ upright.T
        for turned in places[1:]:
            np.maximum(found, turned[block] @ upright.T, out=found)
        _forget(found, patients[block], patients)
        top = np.argpartition(found, count - most, axis=1)[:, count - most :]
        own = np.take_along_axis(found, top, 1)
        order = np.argsort(-own, axis=1, kind="stable")
        rows[start : start + step] = np.take_along_axis(top, order, 1)
        values[start : start + step] = np.take_along_axis(own, order, 1)
    return rows, values


def _forget(found: Floats, own: Ints, patients: Ints) -> None:
    """Set the correlation of cases of one patient to less than any."""
    order = np.argsort(patients, kind="stable")
    left = np.searchsorted(patients[order], own, "left")
    right = np.searchsorted(patients[order], own, "right")
    for row, (low, high) in enumerate(zip(left, right, strict=True)):
        found[row, order[low:high]] = -np.inf


def _ways(places: Sequence[Floats], queries: Ints, candidates: Ints) -> Ints:
    """Return the number of the orientation in which each candidate is most similar, `(queries, candidates)`."""
    one, two = np.repeat(queries, candidates.shape[1]), candidates.ravel()
    coarse = np.stack([np.einsum("nv,nv->n", turned[one], places[0][two]) for turned in places])
    found: Ints = coarse.argmax(axis=0).reshape(candidates.shape)
    return found


def _aligned(images: Floats, turns: Sequence[Turn], queries: Ints, candidates: Ints, ways: Ints) -> Floats:
    """Return the correlation after alignment, `(queries, candidates)`."""
    one, two, which = np.repeat(queries, candidates.shape[1]), candidates.ravel(), ways.ravel()
    found = np.zeros(len(one), np.float32)
    for number, (_, turn) in enumerate(turns):
        here = np.flatnonzero(which == number)
        found[here] = agreement(np.ascontiguousarray(turn(images[one[here]])), images[two[here]])
    return found.reshape(candidates.shape)


def _promising(found: Floats, cases: int) -> npt.NDArray[np.bool_]:
    """Return whose best candidate stands out roughly, `(queries,)`."""
    best = found.max(axis=1, initial=-1)
    if cases < FEW or found.shape[1] < RIVALS:
        return np.asarray(best >= ALIKE)
    scale = np.arctanh(np.clip(found, -0.99999, 0.99999))
    return np.asarray((best >= ROUGHLY_SAME) | (scale.max(axis=1) - scale.min(axis=1) >= ROUGH_GAP))


def judged(
    queries: Ints,
    candidates: Ints,
    values: Floats,
    cases: int,
    same: float,
    ways: npt.NDArray[np.str_] | None = None,
) -> list[Pair]:
    """Return the candidates that stand out from the rival of their case, each pair once, the most similar first.

    Args:
        queries: `(queries,)` rows.
        candidates: `(queries, candidates)` rows; the least similar one is the rival.
        values: their correlations; -inf for a case of the same patient.
        cases: how many there are in all.
        same: correlation from which two cases are one, whatever the rival (`same_from`).
        ways: how each candidate was turned.
    """
    pairs: dict[tuple[int, int], Pair] = {}
    enough = cases >= FEW and candidates.shape[1] == RIVALS
    rivals = np.asarray(np.isfinite(values).all(axis=1) & enough)  # else too few other patients
    judge = rivals[:, None]
    scale = np.arctanh(np.clip(values.astype(np.float64), -0.99999, 0.99999))
    gaps = np.where(judge, scale - scale.min(axis=1, keepdims=True, initial=np.inf), -np.inf)
    certain = ((values >= same) | ((values >= ALIKE) & (gaps >= SURE_GAP))) & judge
    strange = (values >= same) | ((values >= ALIKE) & (gaps >= STRANGE_GAP))
    for query, number in np.argwhere(certain | strange).tolist():
        both = sorted((int(queries[query]), int(candidates[query, number])))
        gap = float(gaps[query, number]) if rivals[query] else float("inf")
        way = str(ways[query, number]) if ways is not None else ""
        pair = Pair(both[0], both[1], float(values[query, number]), gap, way, bool(certain[query, number]))
        known = pairs.get((pair.first, pair.second))
        if known is None or (pair.sure, pair.similarity) > (known.sure, known.similarity):
            pairs[pair.first, pair.second] = pair
    return sorted(pairs.values(), key=lambda pair: (-pair.similarity, pair.first, pair.second))


def _halved(images: Floats) -> Floats:
    """Return pictures as `(cases, COARSE, COARSE)`."""
    down, right = (_areas(side, COARSE) for side in images.shape[1:])
    return np.asarray(down @ images @ right.T, np.float32)


def _areas(before: int, after: int) -> Floats:
    """Return the matrix `(after, before)` that resamples a line: by means, or linear where it gets longer."""
    if before >= after:
        edges, cells = np.linspace(0, before, after + 1), np.arange(before)
        share = np.asarray(np.minimum.outer(edges[1:], cells + 1) - np.maximum.outer(edges[:-1], cells), np.float32)
    else:
        place = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
        share = np.asarray(1 - np.abs(np.subtract.outer(place, np.arange(before))), np.float32)
    share = np.clip(share, 0, None)
    return np.asarray(share / share.sum(axis=1, keepdims=True), np.float32)


def _turns(dimensions: int) -> Iterator[Turn]:
    """Yield name and function of every way to lay an image: pictures are mirrored and turned, volumes mirrored."""
    if dimensions == 2:
        for mirrored, quarter in product((False, True), range(4)):
            words = (["mirrored"] if mirrored else []) + ([f"turned by {90 * quarter} degrees"] if quarter else [])

            def turn(images: Floats, mirrored: bool = mirrored, quarter: int = quarter) -> Floats:
                return np.rot90(images[..., ::-1] if mirrored else images, quarter, axes=(1, 2))

            yield " and ".join(words), turn
        return
    for flips in product((False, True), repeat=dimensions):
        axes = tuple(axis + 1 for axis, flip in enumerate(flips) if flip)

        def flip(images: Floats, axes: tuple[int, ...] = axes) -> Floats:
            return np.flip(images, axes) if axes else images

        yield "mirrored" if axes else "", flip
