"""Runs as columns: what somebody else's CSV, a Parquet file or a study of our own becomes before a law is fitted to it.

Units of the canonical columns are in `docs/table.md`; every other column is kept as it is.
"""

import csv
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.table import algebra, units
from analysis.table.columns import COLUMNS, COUNTED, cell, column, nearest, number, surely, unit_in
from analysis.table.naming import Doubt, Naming
from scaling.errors import InputError

TRIPLE = ("params", "tokens", "flops")  # two of them give the third
CORE = (*TRIPLE, "loss")  # that most laws want


@dataclasses.dataclass(frozen=True)
class Excluded:
    """Rows that were left out, and why."""

    rows: tuple[str, ...]  # run ids, or "row 7" where the table has none
    reason: str
    cells: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Columns of equal length, one row per run. `table["loss"]` is a column, `len(table)` the number of rows.

    It reads like a mapping of names to arrays, except that its length counts rows.
    """

    columns: Mapping[str, np.ndarray]
    rows: np.ndarray  # i64, row numbers in the source, the first below the header is 1
    source: str = "table"
    notes: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    derived: frozenset[str] = frozenset()  # columns that the source lacks and that followed from others
    taken: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what of the file a column was taken from
    option: str = algebra.OPTION  # with which columns are named

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], source: str = "table") -> "Table":
        """Rows as mappings of column name to value; a key that a row lacks is an empty cell."""
        rows = list(rows)
        names = list(dict.fromkeys(name for row in rows for name in row))
        return cls.from_columns({name: [row.get(name) for row in rows] for name in names}, source)

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, Sequence[Any] | np.ndarray],
        source: str = "table",
        taken: Mapping[str, str] | None = None,
        option: str = algebra.OPTION,
    ) -> "Table":
        """Columns as sequences of equal length; fills in what follows from the others (tokens, flops, epochs).

        Args:
            taken, option: canonical name -> what of the file it was taken from, and by which option, for messages.

        Raises:
            InputError: no rows, unequal lengths, text in a column of numbers, or units that cannot be right.
        """
        lengths = {name: len(values) for name, values in columns.items()}
        if not lengths or not max(lengths.values()):
            raise InputError(f"{source}: no rows; wanted one row per run below a header line")
        n = max(lengths.values())
        for name, length in lengths.items():
            if length != n:
                raise InputError(f"{source}: column {name} has {length} rows and another {n}; give each run a value")
        parsed = {name: column(name, values, source) for name, values in columns.items()}
        taken = dict(taken or {})
        whole, notes = units.completed(parsed, Naming(source, taken, parsed.get("run"), option))
        derived = frozenset(whole) - frozenset(parsed)
        table = cls(whole, np.arange(1, n + 1), source, notes, derived=derived, taken=taken, option=option)
        return _without_copies(table)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise InputError(self._missing(name))
        return self.columns[name]

    def keys(self):
        return self.columns.keys()

    def items(self):
        return self.columns.items()

    def get(self, name: str, default: np.ndarray | None = None) -> np.ndarray | None:
        return self.columns.get(name, default)

    def has(self, name: str) -> bool:
        """Whether the column is there and holds at least one value."""
        if name not in self.columns:
            return False
        column = self.columns[name]
        return bool(np.any(np.isfinite(column)) if column.dtype.kind == "f" else np.any(column != ""))

    def positive(self, *names: str) -> tuple[np.ndarray, ...]:
        """These columns, each cell a finite number above zero, as a logarithm needs.

        Raises:
            InputError: a column is missing, or a cell is not such a number (row, column and value are named).
        """
        for name in names:
            column = self[name]
            if column.dtype.kind != "f":
                raise InputError(f"{self.source}, column {name}: holds text ({column[0]!r}); wanted numbers above 0")
            bad = np.flatnonzero(~(np.isfinite(column) & (column > 0)))
            if bad.size:
                value = "an empty cell or NaN" if math.isnan(column[bad[0]]) else f"{column[bad[0]]:g}"
                more = f" (and {bad.size - 1} more rows)" if bad.size > 1 else ""
                raise InputError(
                    f"{self.source}, {self.label(int(bad[0]))}, column {name}: found {value}, wanted a number above 0; "
                    f"correct the cell or leave the row out{more}"
                )
        return tuple(self.columns[name] for name in names)

    def updates(self) -> np.ndarray:
        """Updates made when the row was measured: `step` in a table of curves, else `steps`, all of the run's."""
        return self.positive("step" if "step" in self else "steps")[0]

    def label(self, i: int) -> str:
        """What row i (from 0) is called in messages."""
        row = f"row {self.rows[i]}"
        return f"{row} (run {self.columns['run'][i]})" if "run" in self.columns and self.columns["run"][i] else row

    def where(self, keep: np.ndarray, reason: str) -> "Table":
        """The rows where `keep` (bool, one per row) holds; the others are remembered with the reason."""
        keep = np.asarray(keep, bool)
        if keep.all():
            return self
        labels = tuple(self.label(int(i)) for i in np.flatnonzero(~keep))
        left_out = Excluded(labels, reason, {name: column[~keep] for name, column in self.columns.items()})
        return dataclasses.replace(
            self,
            columns={name: column[keep] for name, column in self.columns.items()},
            rows=self.rows[keep],
            excluded=(*self.excluded, left_out),
        )

    def matching(self, name: str, value: str) -> "Table":
        """The rows with this value, a number or a text as it is written, in a column."""
        values, wanted = self[name], number(value)
        keep = values == (wanted if values.dtype.kind == "f" and wanted is not None else value)
        if not np.any(keep):
            there = ", ".join(dict.fromkeys(map(cell, values[:1000])))[:200]
            raise InputError(f"{self.source}: no row has {name}={value}; its values are {there}")
        return self.where(keep, f"{name} is not {value}")

    def with_columns(self, **columns: np.ndarray) -> "Table":
        """The same rows with columns added or replaced."""
        added = {name: column(name, values, self.source) for name, values in columns.items()}
        for name, values in added.items():
            if len(values) != len(self):
                raise InputError(f"column {name} has {len(values)} rows, the table {len(self)}")
        return dataclasses.replace(self, columns={**self.columns, **added})

    def with_notes(self, *notes: str) -> "Table":
        return dataclasses.replace(self, notes=(*self.notes, *notes))

    @property
    def doubts(self) -> tuple[str, ...]:
        """The notes that doubt its units."""
        return tuple(note for note in self.notes if isinstance(note, Doubt))

    def to_csv(self, path: str | Path) -> None:
        """Full precision; an empty cell where a number is missing."""
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(zip(*(map(cell, values) for values in self.columns.values()), strict=True))

    def to_parquet(self, path: str | Path) -> None:
        import pyarrow
        import pyarrow.parquet

        arrays = {name: pyarrow.array(column.tolist()) for name, column in self.columns.items()}
        pyarrow.parquet.write_table(pyarrow.table(arrays), path)

    def _missing(self, name: str) -> str:
        # Names that a person can give: not a fit's own columns, and not those that were worked out here.
        names = [column for column in self.columns if not column.startswith("_") and column not in self.derived]
        near = nearest(name, [one for one in names if one not in COLUMNS])  # those have a meaning of their own
        found = {name: _in_its_unit(name, near) if near else "NAME"}
        for other in CORE:  # what else the file calls by another name, so that one line names all
            if other not in self.columns and other != name and (one := surely(other, names)):
                found |= {other: _in_its_unit(other, one)} if one != near and one not in COLUMNS else {}
        if near is None and name in TRIPLE and all(one in found or one in self for one in TRIPLE if one != name):
            del found[name]  # it follows from the other two
        hint = f", nearest is {near!r}" if near else ""
        said = {**self.taken, **found}
        return (
            f"{self.source}: no column {name}{hint}; say which one it is with {algebra.line(said, self.option)}, "
            f"or load(path, {json.dumps(said)}) in Python; found {', '.join(names)}"
        )


def _in_its_unit(name: str, own: str) -> str:
    """A column of a file as it is taken for a count, times the unit that its name says."""
    return algebra.times(own, unit_in(own)) if name in COUNTED and unit_in(own) != 1 else own


def _without_copies(table: Table) -> Table:
    """Rows equal in every cell are one run written twice: the first is kept."""
    cells = [
        column + 0.0 if column.dtype.kind == "f" else np.unique(column, return_inverse=True)[1].astype(np.float64)
        for column in table.columns.values()
    ]  # 0.0 turns -0.0 into 0.0, so that equal rows have equal bytes
    seen: dict[bytes, int] = {}
    keep = np.ones(len(table), bool)
    for i, row in enumerate(np.stack(cells, axis=1)):
        keep[i] = seen.setdefault(row.tobytes(), i) == i
    table = table.where(keep, "equal in every cell to a row above")
    if table.has("run") and not (table.has("step") or table.has("position")):
        names, counts = np.unique(table["run"], return_counts=True)
        if np.any(counts > 1):
            again = ", ".join(names[counts > 1][:3])
            return table.with_notes(f"run ids that stand for more than one row, taken as separate runs: {again}")
    return table
