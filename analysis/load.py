"""A table from where it lies: a CSV or Parquet file of anybody's, or the folder of a study of our own."""

from collections.abc import Mapping
from pathlib import Path

from analysis.table import Table, algebra
from analysis.table.files import read_csv, read_parquet
from scaling.errors import InputError


def load(path: str | Path, columns: Mapping[str, str] | None = None, option: str = algebra.OPTION) -> Table:
    """A table from a .csv or .parquet file, or from the folder of a study.

    Args:
        path: the file or folder.
        columns: canonical name -> name in the file, or a formula of its columns: "1e9*name" where it counts in other
            units, "flops/(6*tokens)", "300B" in all rows (`analysis.table.algebra`).
        option: with which they are named on a command line, for messages.

    Raises:
        InputError: no such file, not a table, a named column is not there, text in a column of numbers.
    """
    path, columns = Path(path), dict(columns or {})
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; wanted a .csv or .parquet table or the folder of a study")
    if path.is_dir():
        from analysis import records  # the trainer's modules, which a file does not need

        table = records.read(path).runs
        if not columns:
            return table
        raw = dict(table.items())
    elif path.suffix.lower() == ".csv":
        raw = read_csv(path)
    elif path.suffix.lower() in (".parquet", ".pq"):
        raw = read_parquet(path)
    else:
        raise InputError(f"{path}: ends in {path.suffix or 'nothing'}; wanted .csv, .parquet or the folder of a study")
    return Table.from_columns(algebra.taken(raw, columns, path.name), path.name, columns, option)
