"""Tables in files: CSV and Parquet to raw columns."""

import csv
from pathlib import Path
from typing import Any

from analysis.table.columns import text_of
from scaling.errors import InputError


def read_csv(path: Path) -> dict[str, list[str]]:
    """The cells of a CSV file by column, as text; a byte-order mark and any line ends will do.

    Raises:
        InputError: not UTF-8 text, empty, a column name twice, or rows of unequal length.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table in UTF-8 ({error}); export it again as plain CSV") from error
    if not lines:
        raise InputError(f"{path}: empty; wanted a header line and one row per run")
    header = [text_of(name.strip()) for name in lines[0]]
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
    return {name: [text_of(line[k]) for line in lines[1:]] for k, name in enumerate(header)}


def read_parquet(path: Path) -> dict[str, list[Any]]:
    """The values of a Parquet file by column.

    Raises:
        InputError: not such a file.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a Parquet table ({str(error).splitlines()[0]}); write it again") from error
