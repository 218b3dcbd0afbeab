"""Tables that are no text, Excel and Parquet, as cells of text, so that they are judged like any other table.

Import this module inside the function that needs it: openpyxl and pyarrow are only then loaded.
"""

from __future__ import annotations

import datetime
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from ai4diag.data.problems import ReadError
from ai4diag.data.tables import LARGEST_FILE_BYTES
from ai4diag.files import read_arrow

Rows = list[tuple[int, list[str]]]
BROKEN = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(zipfile.BadZipFile, zlib.error, ParseError, RuntimeError),
)
"""What openpyxl and the standard library raise of a damaged file; `RuntimeError` of one with a password."""
MOST_CELLS = 2**27
"""Cells of a Parquet file: equal ones are packed so tightly that the size of the file says nothing."""


def excel(path: Path) -> Rows:
    """Return the lines of the first sheet of an Excel file, numbered as Excel does; formulas as their stored values.

    Raises:
        ReadError: the file is missing, is no Excel file, or is too large when unpacked.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    _refuse_absent(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > LARGEST_FILE_BYTES:
            raise ReadError(path.name, f"{size} bytes unpacked", f"at most {LARGEST_FILE_BYTES}", "Divide the file.")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            filled = _filled(book.worksheets[0])
        finally:
            book.close()
    except (InvalidFileException, *BROKEN) as error:
        raise ReadError(path.name, f"no readable Excel file ({error})", "an .xlsx file", "Save it again.") from None
    width = max((max(i for i, cell in enumerate(line) if cell) + 1 for _, line in filled), default=0)
    return [(number, (line + [""] * width)[:width]) for number, line in filled]


def _filled(sheet: Any) -> Rows:
    """Return the lines of a sheet that hold anything.

    The size that a sheet gives for itself is not trusted: by it every line would be padded to that many cells.
    """
    sheet.reset_dimensions()
    found = []
    for number, line in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells = [_text(cell) for cell in line]
        if any(cells):
            found.append((number, cells))
    return found


def parquet(path: Path) -> Rows:
    """Return the names and the lines of a Parquet file; the names are line 1.

    Raises:
        ReadError: the file is missing, is no Parquet file, or has too many cells.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _refuse_absent(path)
    try:
        facts = pq.read_metadata(path)
        if (cells := facts.num_rows * facts.num_columns) > MOST_CELLS:
            raise ReadError(path.name, f"{cells} cells", f"at most {MOST_CELLS}", "Divide the file.")
        columns = read_arrow(path).to_pydict()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ReadError(path.name, f"no readable Parquet file ({error})", "a .parquet file", "Save it again.") from None
    lines = zip(*columns.values(), strict=True)
    return [
        (1, list(columns)),
        *((number, [_text(cell) for cell in line]) for number, line in enumerate(lines, start=2)),
    ]


def _refuse_absent(path: Path) -> None:
    if not path.is_file():
        raise ReadError(path.name, "no such file", "a table", "Look at its name.")
    if (size := path.stat().st_size) > LARGEST_FILE_BYTES:
        raise ReadError(path.name, f"{size} bytes", f"at most {LARGEST_FILE_BYTES}", "Divide the file.")


def _text(cell: Any) -> str:
    """Return a cell as a text file would have it: 1.0 as 1, a date as YYYY-MM-DD, nothing and NaN as nothing."""
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, bool):
        return str(int(cell))
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    return str(cell).strip()


SHEET_READERS: dict[str, Callable[[Path], Rows]] = {".xlsx": excel, ".parquet": parquet}
