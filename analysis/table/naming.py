"""How messages speak of a table: rows by number and run, columns by their name in the file, a remedy as it is typed."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from analysis.table import algebra

NAMED = 5  # rows that a message names


class Doubt(str):
    """A note that doubts the units of a table, for every analysis to repeat."""


@dataclasses.dataclass(frozen=True)
class Naming:
    """The names of a table.

    Attributes:
        taken: canonical name -> what of the file it was taken from, as --columns had it.
        runs: the column `run`, where there is one.
        option: with which columns are named.
    """

    source: str
    taken: Mapping[str, str] = dataclasses.field(default_factory=dict)
    runs: np.ndarray | None = None
    option: str = algebra.OPTION

    def column(self, name: str) -> str:
        own = self.taken.get(name, name)
        return f"column {name}" if own == name else f"column {name} ({own})"

    def rows(self, rows: Sequence[int] | np.ndarray) -> str:
        """Rows from 0 by their numbers from 1: row 7 (run a); rows 7, 14, 21 and 3 more."""
        if len(rows) == 1:
            run = self.runs[rows[0]] if self.runs is not None else ""
            return f"row {rows[0] + 1} (run {run})" if run else f"row {rows[0] + 1}"
        more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        return f"rows {', '.join(str(row + 1) for row in rows[:NAMED])}{more}"

    def at(self, rows: Sequence[int] | np.ndarray, name: str) -> str:
        return f"{self.source}, {self.rows(rows)}, {self.column(name)}"

    def line(self, factors: Mapping[str, float], more: Mapping[str, str] | None = None) -> str:
        """The --columns option that multiplies these columns and names more, all that was said before kept."""
        changed = {name: algebra.times(self.taken.get(name, name), factor) for name, factor in factors.items()}
        return algebra.line({**self.taken, **changed, **(more or {})}, self.option)
