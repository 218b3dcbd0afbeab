"""Whatever the bytes are, a reader gives data or one clear error, never anything else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ai4diag.config.sources.table import Column
from ai4diag.data.problems import ReadError
from ai4diag.data.readers.pictures import image_size, read_image
from ai4diag.data.tables import numbers, read_table
from ai4diag.data.voc import read_annotation
from tests.data.helpers import BOTH, voc

fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
T = TypeVar("T")
CELLS = st.lists(st.lists(st.sampled_from(["1", "2,5", "", "?", '"', "=A1", " x", "\t3", "1e400", "é"]), max_size=4))


def or_refused(read: Callable[[], T]) -> T | None:
    """Return what `read` gives, or None when it refuses as it should: naming the file and the cure."""
    try:
        return read()
    except ReadError as error:
        refusal = error
    assert "a." in refusal.message
    assert refusal.cure
    return None


def damaged(content: bytes, place: float, change: bytes) -> bytes:
    start = int(place * len(content))
    return content[:start] + change + content[start + len(change) :]


@fuzz
@given(CELLS, st.sampled_from(",;\t|"), st.sampled_from(["csv", "data", "arff"]))
def test_any_table(tmp_path: Path, rows: list[list[str]], separator: str, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_text("\n".join(separator.join(row) for row in [["a", "b"], *rows]), encoding="utf-8")
    read = or_refused(lambda: read_table(path, ["a", "b"], header=True))
    if read is None:
        return
    table, _ = read
    values, findings = numbers(table, Column(name="a", unit="1"), ("", "?"))
    assert len(values) == len(table.lines)
    assert not np.isinf(values).any() or any(finding.level == "error" for finding in findings)


@fuzz
@given(st.binary(max_size=200))
def test_any_bytes_as_a_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    read = or_refused(lambda: read_table(tmp_path / "a.csv", ["a"], header=False))
    assert read is None or len(read[0].cells) > 0


@fuzz
@given(st.floats(0, 0.99), st.binary(min_size=1, max_size=12))
def test_any_damage_to_an_annotation(tmp_path: Path, place: float, change: bytes) -> None:
    (tmp_path / "a.xml").write_bytes(damaged(voc(BOTH).encode(), place, change))
    found = or_refused(lambda: read_annotation(tmp_path / "a.xml"))
    assert found is None or np.isfinite(found.boxes).all()


def encoded(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
@fuzz
@given(st.floats(0, 0.99), st.binary(min_size=1, max_size=8), st.booleans())
def test_any_damage_to_an_image(tmp_path: Path, kind: str, place: float, change: bytes, cut: bool) -> None:
    content = encoded(kind)
    content = content[: int(place * len(content))] if cut else damaged(content, place, change)
    (tmp_path / "a.img").write_bytes(content)
    size = or_refused(lambda: image_size(tmp_path / "a.img"))
    image = or_refused(lambda: read_image(tmp_path / "a.img", 3))
    assert image is None or image.shape == (3, *(size or ()))
