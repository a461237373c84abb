"""Tables in files: CSV and Parquet to raw columns."""

import csv
import io
from pathlib import Path
from typing import Any

from scaling import folders
from scaling.errors import InputError

BOM = "\ufeff"
CELLS = 20_000_000  # of a Parquet table, which tells so before it is read


def read_csv(path: Path) -> dict[str, list[str]]:
    """The cells of a CSV file by column, as text; a byte-order mark and any line ends will do.

    Raises:
        InputError: not UTF-8 text, empty, a column name twice, or rows of unequal length.
    """
    try:
        text = folders.read_text(path, "a CSV table")
        lines = [line for line in csv.reader(io.StringIO(text.removeprefix(BOM), newline="")) if line]
    except csv.Error as error:
        raise InputError(f"{path}: not a CSV table in UTF-8 ({error}); export it again as plain CSV") from error
    if not lines:
        raise InputError(f"{path}: empty; wanted a header line and one row per run")
    header = [name.strip() for name in lines[0]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; give every column its own name")
    if len(header) == 1 and (separator := next((mark for mark in ";\t|" if mark in header[0]), "")):
        raise InputError(f"{path}: cells are separated by {separator!r}; export it again with commas")
    for i, line in enumerate(lines[1:], 1):
        if len(line) != len(header):
            more = "; a comma inside a cell, as in 1,000, needs quotes" if len(line) > len(header) else ""
            raise InputError(
                f"{path}, row {i}: {len(line)} cells under {len(header)} column names; wanted as many{more}"
            )
    return {name: [line[k] for line in lines[1:]] for k, name in enumerate(header)}


def read_parquet(path: Path) -> dict[str, list[Any]]:
    """The values of a Parquet file by column.

    Raises:
        InputError: not such a file.
    """
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise InputError(f"{path}: a device or pipe; wanted a Parquet table")
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            cells = file.metadata.num_rows * file.metadata.num_columns
            if cells > CELLS:
                raise InputError(f"{path}: {cells:,} cells; wanted a table of runs, of {CELLS:,} at most")
            return file.read().to_pydict()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, OverflowError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: not a Parquet table ({said}); write it again") from error
