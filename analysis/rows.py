"""Which rows of a table a fit uses: the runs its law is about, weights, and what is held out."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.laws import Law
from analysis.replicates import replicates
from analysis.solver import Array, Objective, Problem
from analysis.table import Table
from scaling.errors import InputError


class FitError(InputError):
    """The runs cannot tell the constants of this law."""


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """The runs that a fit is about."""

    table: Table
    target: str
    y: Array  # of the target, as measured
    weights: Array  # mean 1
    clusters: NDArray[np.int64] | None
    held: Table | None
    rule: str
    worst: Table | None  # `table` with the rows of drop_worst
    notes: tuple[str, ...]

    def problem(self, law: type[Law], objective: Objective) -> Problem:
        y = np.log(self.y) if objective.log else self.y
        return Problem(law, objective, self.table.positive(*law.inputs), y[None], self.weights[None])


def admitted(law: type[Law], table: Table) -> Table:
    """The rows that the law is about. The others are in `excluded`; what could not be checked is in `notes`."""
    for k in range(len(law.admits(table))):
        rule = law.admits(table)[k]
        if rule.unchecked:
            table = table.with_notes(f"not checked: {rule.unchecked}")
        table = table.where(rule.keep, rule.reason)
        if not len(table):
            raise FitError(f"{law.name} is not identified: no run is left ({rule.reason})")
    return table


def select_rows(
    law: type[Law],
    table: Table,
    target: str | None,
    objective: Objective,
    drop_worst: int,
    weights: ArrayLike | str | None,
    hold_out: ArrayLike | str | None,
    every_run: bool,
    clusters: str | None,
) -> Rows:
    table = table.with_columns(_weight=_weights(weights, table), _held=held_out_rows(hold_out, table).astype(float))
    if not every_run:
        table = admitted(law, table)
    name = target or law.target
    if target is None and not table.has(name) and law.fallback and table.has(law.fallback):
        table = table.with_notes(f"no column {law.target}: {law.fallback} taken in its place")
        name = law.fallback
    (y,) = table.positive(name) if objective.log else (_finite_column(table, name),)
    table.positive(*law.inputs)
    held = table["_held"] > 0
    rule = hold_out if isinstance(hold_out, str) else "chosen rows"
    held_table = table.where(held, "fitted") if held.any() else None
    if held_table is not None:
        table = table.where(~held, f"held out ({rule})")
        y = table[name]
    worst = None
    if drop_worst:
        if drop_worst >= len(table):
            raise InputError(f"drop_worst {drop_worst} of {len(table)} runs; wanted fewer")
        worst = table
        keep = np.ones(len(table), bool)
        keep[np.argsort(y, kind="stable")[-drop_worst:]] = False
        table = table.where(keep, f"among the {drop_worst} largest {name} (drop_worst)")
    w = table["_weight"]
    index = None
    if clusters is not None:
        index = np.unique(table[clusters], return_inverse=True)[1]
    return Rows(table, name, table[name], w / w.mean(), index, held_table, str(rule), worst, table.notes)


def _finite_column(table: Table, name: str) -> Array:
    column = table[name]
    bad = np.flatnonzero(~np.isfinite(column)) if column.dtype.kind == "f" else np.array([0])
    if bad.size:
        found = column[bad[0]]
        raise InputError(f"{table.source}, {table.label(int(bad[0]))}, column {name}: found {found}, wanted a number")
    return column


def _weights(weights: ArrayLike | str | None, table: Table) -> Array:
    if weights is None:
        return np.ones(len(table))
    if isinstance(weights, str):
        if weights != "replicates":
            raise InputError(f'weights {weights!r}; wanted "replicates" or one number per row')
        found = replicates(table)
        if found is None:
            raise InputError(f"{table.source}: no two runs differ in their seed alone; weights need a number per row")
        return 1 / found.per_row(table) ** 2
    w = np.asarray(weights, np.float64)
    if w.shape != (len(table),) or not np.all(np.isfinite(w) & (w > 0)):
        raise InputError(f"weights of shape {w.shape}; wanted {len(table)} numbers above 0, one per row")
    return w


def held_out_rows(rule: ArrayLike | str | None, table: Table) -> NDArray[np.bool_]:
    """Which rows are held out."""
    if rule is None:
        return np.zeros(len(table), bool)
    if isinstance(rule, str):
        name, above, bound = rule.partition(">")
        column = table[name.strip()]
        if not above:
            return column >= np.nanmax(column) * (1 - 1e-9)
        try:
            return column > float(bound)
        except ValueError:
            raise InputError(f'hold_out {rule!r}; wanted a column, or a rule like "params>1e9"') from None
    mask = np.asarray(rule)
    if mask.shape != (len(table),) or mask.dtype != bool:
        raise InputError(
            f"hold_out of shape {mask.shape}; wanted a column, a rule, or {len(table)} times true or false"
        )
    return mask
