"""Where what a pack shows differs from what its predictions give: file, number found, number regenerated."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field

from ai4diag.types import Estimate

TOLERANCE = 1e-6
"""Largest difference, relative where numbers exceed 1, at which an estimate counts as the same on another machine."""
DRAWN = 0.005
"""Largest difference of a coordinate in a drawing, in its own units, that is no difference."""
MOST_NAMED = 5
"""Differences of a file that are named; the others are counted."""
AROUND = 60
"""Characters of a text that are quoted."""
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:[eE][-+]?\d+)?")
DECIMAL = re.compile(r"\d+\.\d{2,}")
"""A number as estimates are shown."""
TAG = re.compile(r"(?=<)|\n")
WORD = re.compile(r"[^\W\d_]{3,}")
ONE_LINE = re.compile(r"<style.*?</style>|<[^>]*>", re.DOTALL)
PLACES = re.compile(r'\s(?:d|points|x|y|x1|x2|y1|y2|cx|cy|r|rx|ry|width|height|transform)="[^"]*"')
"""Attributes of a drawing that hold coordinates; whatever else stands in it, labels above all, is text."""
DRAWING = re.compile(r"<(?:path|use|line|rect|circle|g|polyline|polygon|text|svg|defs|clipPath|/g|/text|/svg|/defs)\b")


@dataclass
class Differences:
    """What differs.

    Attributes:
        numbers: sentences that name file, number found and number regenerated.
        texts: sentences about words.
    """

    numbers: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def same(first: float, second: float, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers are equal, or both undefined, or nearer than the tolerance."""
    if math.isnan(first) or math.isnan(second):
        return math.isnan(first) and math.isnan(second)
    return first == second or abs(first - second) <= tolerance * max(1.0, abs(first), abs(second))


def compare_estimates(
    found: Sequence[Estimate], again: Sequence[Estimate], where: str, *, more: bool = False
) -> list[str]:
    """Return where estimates differ from those made again.

    Args:
        found: as they are stated.
        again: as they come out.
        where: the file, named in the sentences.
        more: more may come out than is stated, because a newer version estimates more and defines more.
    """
    known = {(item.name, item.part, item.subgroup): item for item in again}
    sentences = []
    for key, count in Counter((item.name, item.part, item.subgroup) for item in found).items():
        if count > 1 or key not in known:
            sentences.append(
                f"{where}: {_called(key)} is stated{' twice' if count > 1 else ''}, and does not come out."
            )
    for item in found:
        key = (item.name, item.part, item.subgroup)
        made = known.get(key)
        if made is None:
            continue
        for name in ("value", "low", "high", "n", "n_patients"):
            stated, right = float(getattr(item, name)), float(getattr(made, name))
            if not same(stated, right) and not (more and math.isnan(stated)):
                sentences.append(f"{where}: {_called(key)}, {name}: found {stated!r}, regenerated {right!r}.")
        if item.note != made.note and not more:
            sentences.append(f"{where}: {_called(key)}, note: found '{item.note}', regenerated '{made.note}'.")
    if not more:
        stated_keys = {(item.name, item.part, item.subgroup) for item in found}
        sentences += [f"{where}: {_called(key)} is missing." for key in known if key not in stated_keys]
    return sentences


def _called(key: tuple[str, str, str]) -> str:
    name, part, subgroup = key
    return f"{name} ({part}{'' if subgroup == 'all' else ', ' + subgroup})"


def compare_texts(found: str, again: str, where: str) -> Differences:
    """Return where a text differs from the one that the same code makes again.

    Pieces (lines; tags of HTML) that stand at the same place are compared word by word; where the number of pieces
    differs, pieces that occur in one text alone are matched by their words. A piece with the same words and other
    numbers is a difference in numbers, and so is one with other words and a decimal that is regenerated nowhere;
    coordinates of drawings may differ by what no eye sees.
    """
    result = Differences()
    if found == again:
        return result
    pieces, made = (_pieces(text) for text in (found, again))
    if len(pieces) == len(made):
        pairs: list[tuple[str, str | None]] = [(a, b) for a, b in zip(pieces, made, strict=True) if a != b]
        missing: list[str] = []
    else:
        pairs, missing = _matched(pieces, made)
    known = set(DECIMAL.findall(again))
    for piece, other in pairs:
        foreign = [] if _no_estimates(piece) else sorted(set(DECIMAL.findall(piece)) - known)
        if other is not None and _words(piece) == _words(other):
            if not _drawn_alike(piece, other):
                result.numbers.append(_numbers_differ(piece, other, where))
        elif foreign:
            result.numbers.append(_nowhere(foreign[0], piece, where))
        else:
            made_again = f"regenerated '{_short(other)}'" if other is not None else "nothing of the kind is regenerated"
            result.texts.append(f"{where}: found '{_short(piece)}', {made_again}.")
    result.texts += [f"{where}: '{_short(piece)}' is missing." for piece in missing]
    if not (result.numbers or result.texts or len(pieces) == len(made)):
        result.texts.append(f"{where}: the order of its content differs.")
    result.numbers, result.texts = _few(result.numbers, where), _few(result.texts, where)
    return result


def compare_versions(found: str, again: str, where: str, estimates: Sequence[Estimate]) -> Differences:
    """Return where the numbers of a text that another version wrote are not those that come out now.

    Words, drawings and counts may differ, since the other version may say other things. A sentence with the same words
    and another decimal, where no other has these words, is a difference in numbers, and so is a decimal that neither
    stands anywhere in the text made again nor is an estimate or a limit, rounded.
    """
    result = Differences()
    pieces, made = (Counter(piece for piece in _pieces(text) if not _no_estimates(piece)) for text in (found, again))
    known = set(DECIMAL.findall(again))
    values = [value for item in estimates for value in (item.value, item.low, item.high)]
    lacking, other_words = list((made - pieces).elements()), list((pieces - made).elements())
    twins = _alone(lacking, {key for key in _alone(other_words) if len(WORD.findall(key)) > 1})
    for piece in other_words:
        twin = twins.get(_words(piece), "")
        foreign = [text for text in DECIMAL.findall(piece) if text not in known and not _rounded(text, values)]
        if twin and DECIMAL.findall(piece) != DECIMAL.findall(twin):
            result.numbers.append(_numbers_differ(piece, twin, where))
        elif foreign:
            result.numbers.append(_nowhere(foreign[0], piece, where))
    if other_words:
        count = f"{len(other_words)} passage{'s are' if len(other_words) > 1 else ' is'}"
        result.texts.append(f"{where}: {count} worded otherwise now, such as '{_short(other_words[0])}'.")
    elif found != again:
        result.texts.append(f"{where}: drawings or order are other ones now.")
    result.numbers = _few(result.numbers, where)
    return result


def _pieces(text: str) -> list[str]:
    """Return lines and tags, each in one line; a style sheet is one piece."""
    text = ONE_LINE.sub(lambda part: part[0].replace("\n", " "), text)
    return [piece for piece in TAG.split(text) if piece.strip()]


def _no_estimates(piece: str) -> bool:
    """Whether a piece is a style sheet, or drawn and without words; ticks of an axis are numbers alone."""
    label = piece.partition(">")[2]
    return piece.startswith("<style") or (bool(DRAWING.match(piece)) and not WORD.search(label))


def _alone(pieces: Sequence[str], among: Container[str] | None = None) -> dict[str, str]:
    """Return the pieces whose words no other of them has, by these words."""
    count = Counter(map(_words, pieces))
    found = {_words(piece): piece for piece in pieces if count[_words(piece)] == 1}
    return {key: piece for key, piece in found.items() if among is None or key in among}


def _rounded(text: str, values: Sequence[float]) -> bool:
    """Whether a decimal is one of these numbers, or a hundred times it, rounded."""
    digits, number = len(text.partition(".")[2]), float(text)
    near = 0.5000001 * 10.0**-digits
    return any(abs(abs(value) - number) <= near or abs(100 * abs(value) - number) <= near for value in values)


def _nowhere(number: str, piece: str, where: str) -> str:
    return f"{where}: found {number}, which is regenerated nowhere, in '{_short(piece)}'."


def _matched(pieces: list[str], made: list[str]) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Pair the pieces that only one text has, by their words; return the pairs, and what was not paired."""
    extra, lacking = Counter(pieces) - Counter(made), Counter(made) - Counter(pieces)
    waiting: dict[str, list[str]] = {}
    for piece in lacking.elements():
        waiting.setdefault(_words(piece), []).append(piece)
    pairs: list[tuple[str, str | None]] = []
    for piece in extra.elements():
        same_words = waiting.get(_words(piece))
        pairs.append((piece, same_words.pop(0) if same_words else None))
    return pairs, [piece for rest in waiting.values() for piece in rest]


def _words(piece: str) -> str:
    return NUMBER.sub("#", piece)


def _drawn_alike(piece: str, other: str) -> bool:
    if not DRAWING.match(piece) or PLACES.sub("", piece) != PLACES.sub("", other):
        return False
    return all(
        abs(_number(a) - _number(b)) <= DRAWN for a, b in zip(NUMBER.findall(piece), NUMBER.findall(other), strict=True)
    )


def _number(text: str) -> float:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return math.inf


def _numbers_differ(piece: str, other: str, where: str) -> str:
    pairs = zip(NUMBER.finditer(piece), NUMBER.finditer(other), strict=True)
    first, second = next((a, b) for a, b in pairs if a[0] != b[0])
    begin = max(0, first.start() - AROUND // 2)
    return f"{where}: found {first[0]}, regenerated {second[0]}, in '{_short(piece[begin:])}'."


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= AROUND else f"{line[:AROUND]}..."


def _few(sentences: list[str], where: str) -> list[str]:
    more = len(sentences) - MOST_NAMED
    return sentences if more <= 0 else [*sentences[:MOST_NAMED], f"{where}: {more} more differences of this kind."]
