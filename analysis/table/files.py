"""Tables in files: CSV and Parquet to raw columns."""

import csv
import io
import re
from pathlib import Path
from typing import Any

from analysis.table import opened
from analysis.table.columns import text_of
from scaling import folders
from scaling.errors import InputError

CELLS = 20_000_000  # of a Parquet table, which tells so before it is read
SEPARATORS = ",;\t|"
DECIMAL_COMMA = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})")  # no thousands


def read_csv(path: Path) -> dict[str, list[str]]:
    """The cells of a CSV file by column, as text; a byte-order mark, any line ends and a .gz will do.

    Cells are separated by what the header has most of: commas, semicolons, tabs or bars. Beside semicolons and tabs a
    comma in a number is a decimal comma where it cannot stand for thousands.

    Raises:
        InputError: not UTF-8 text, empty, a column name twice, or rows of unequal length.
    """
    text = opened.text(path, "CSV table")
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if line]
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV table in UTF-8 ({error}); export it again as plain CSV") from error
    if not lines:
        raise InputError(f"{path}: empty; wanted a header line and one row per run")
    header = [text_of(name.strip()) for name in lines[0]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; give every column its own name")
    for i, line in enumerate(lines[1:], 1):
        if len(line) != len(header):
            inside = separator == "," and len(line) > len(header)
            more = "; a comma inside a cell, as in 1,000, needs quotes" if inside else ""
            raise InputError(
                f"{path}, row {i}: {len(line)} cells under {len(header)} column names; wanted as many{more}"
            )
    columns = {name: [text_of(line[k]) for line in lines[1:]] for k, name in enumerate(header)}
    if separator == ",":
        return columns
    return {name: _with_points(cells) for name, cells in columns.items()}


def _with_points(cells: list[str]) -> list[str]:
    """A column's cells with decimal points, where its commas are decimal commas."""
    numbers = [cell.strip() for cell in cells if "," in cell]
    if not any(DECIMAL_COMMA.fullmatch(cell) for cell in numbers) or any("." in cell for cell in numbers):
        return cells
    return [cell.replace(",", ".") if re.fullmatch(r"\s*[+-]?\d+,\d+\s*", cell) else cell for cell in cells]


def read_parquet(path: Path) -> dict[str, list[Any]]:
    """The values of a Parquet file by column.

    Raises:
        InputError: not such a file.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with folders.opened(path, "a Parquet table") as plain, pyarrow.parquet.ParquetFile(plain) as file:
            cells = file.metadata.num_rows * file.metadata.num_columns
            if cells > CELLS:
                raise InputError(f"{path}: {cells:,} cells; wanted a table of runs, of {CELLS:,} at most")
            return file.read().to_pydict()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a Parquet table ({said}); write it again") from error
