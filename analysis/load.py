"""A table from where it lies: a file of anybody's, logs of other tools, or the folder of a study of our own."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis import logs
from analysis.table import Table, algebra
from analysis.table.columns import UNNAMED, number
from scaling import folders
from scaling.errors import InputError


def load(
    path: str | Path | Sequence[str | Path],
    columns: Mapping[str, str] | None = None,
    option: str = algebra.OPTION,
    *,
    curves: bool = False,
) -> Table:
    """A table from a file, from logs of other tools or folders of such, or from the folder of a study.

    Args:
        path: the file or folder; several are one table. docs/table.md lists what can be read.
        columns: canonical name -> name in the file, or a formula of its columns: "1e9*name" where it counts in other
            units, "flops/(6*tokens)", "300B" in all rows (`analysis.table.algebra`).
        option: with which they are named on a command line, for messages.
        curves: of logs the learning curves, a row per run and evaluation, in place of a row per run.

    Raises:
        InputError: no such file, not a table, a named column is not there, text in a column of numbers.
    """
    paths = [folders.place(one) for one in ([path] if isinstance(path, (str, Path)) else path)]
    columns = dict(columns or {})
    if len(paths) == 1 and (paths[0] / "study.json").exists():
        from analysis import records  # the trainer's modules, which a file does not need

        table = records.read(paths[0]).runs
        if not columns:
            return table
        raw, notes, source, of_logs = dict(table.items()), (), paths[0].name, False
    else:
        found = logs.read(paths)
        if curves and found.formats and not found.curves:
            raise InputError(f"{_named(paths)}: results of runs without curves; wanted logs with a row per evaluation")
        raw, notes = _without_index(found.curves if curves and found.curves else found.runs)
        notes, source = (*found.notes, *notes), _named(paths)
        of_logs = bool(found.formats)
    table = Table.from_columns(algebra.taken(raw, columns, source), source, columns, option).with_notes(*notes)
    return dataclasses.replace(table, of_logs=of_logs)


def _named(paths: Sequence[Path]) -> str:
    return (paths[0].name or str(paths[0])) if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"


def _without_index(raw: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Sequence[Any]], tuple[str, ...]]:
    """The columns but one without a name that numbers the rows; of texts it names the runs."""
    name = next((one for one in UNNAMED if one in raw and len(raw) > 1), None)
    if name is None:
        return dict(raw), ()
    rest = {one: cells for one, cells in raw.items() if one != name}
    if None not in map(number, raw[name]):
        return rest, (f"the column {name!r} numbers the rows and is left out",)
    if "run" in raw:
        return dict(raw), ()
    return {"run": raw[name], **rest}, ("the column without a name is taken as run",)
