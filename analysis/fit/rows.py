"""Which rows of a table a fit uses: the runs its law is about, weights, and what is held out."""

import dataclasses
from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.fit.solver import Array, Objective, Problem
from analysis.laws import Law
from analysis.laws.admission import Admission
from analysis.replicates import seed_noise
from analysis.table import Table
from scaling.errors import InputError

MIXED = 10  # values of a text column that divide a table into settings; more are names or remarks


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
    notes: tuple[str, ...]

    def problem(self, law: type[Law], objective: Objective) -> Problem:
        y = np.log(self.y) if objective.log else self.y
        return Problem(law, objective, self.table.positive(*law.inputs), y[None], self.weights[None])


def admitted(law: type[Law], table: Table, waived: Collection[Admission] = ()) -> Table:
    """The rows that the law is about. The others are in `excluded`; what could not be checked is in `notes`.

    Args:
        waived: rules of the law that are not applied.
    """
    for admission in law.about:
        if admission not in waived:
            table = admission.admit(table)
        if not len(table):
            why = table.excluded[-1].reason if table.excluded else "the table has no rows"
            raise FitError(f"{law.name} is not identified: no run is left ({why})")
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
    waived: Collection[Admission],
    clusters: str | None,
) -> Rows:
    name = target or law.target
    if target is None and not table.has(name) and law.fallback and table.has(law.fallback):
        table = table.with_notes(f"no column {law.target}: {law.fallback} taken in its place")
        name = law.fallback
    table = table.with_columns(
        _weight=weights_of(weights, table, name), _held=held_out_rows(hold_out, table).astype(float)
    )
    if not every_run:
        table = admitted(law, table, waived)
    (y,) = table.positive(name) if objective.log else (_finite_column(table, name),)
    table.positive(*law.inputs)
    held = table["_held"] > 0
    rule = hold_out if isinstance(hold_out, str) else "chosen rows"
    if hold_out is not None and not held.any():
        raise InputError(f"hold_out {rule}: none of its rows is among the {len(table)} runs that {law.name} is about")
    if held.all():
        raise InputError(f"hold_out {rule}: the rule holds out all {len(table)} runs; leave some to fit")
    held_table = table.where(held, "fitted") if held.any() else None
    if held_table is not None:
        table = table.where(~held, f"held out ({rule})")
        y = table[name]
    if drop_worst:
        if drop_worst >= len(table):
            raise InputError(f"drop_worst {drop_worst} of {len(table)} runs; wanted fewer")
        keep = np.ones(len(table), bool)
        keep[np.argsort(y, kind="stable")[-drop_worst:]] = False
        table = table.where(keep, f"among the {drop_worst} largest {name} (drop_worst)")
    table = table.with_notes(*mixed(table))
    w = table["_weight"]
    index = None if clusters is None else _clusters(table, clusters)
    return Rows(table, name, table[name], w / w.mean(), index, held_table, rule, table.notes)


def mixed(table: Table) -> list[str]:
    """A note where rows differ in a text: another data set or recipe has another law."""
    several = []
    for name, values in table.items():
        if values.dtype.kind == "U" and name not in ("run", "status"):
            there = len(set(values) - {""})
            if 1 < there <= MIXED:
                several.append(f"{there} values of {name}")
    return [f"the rows mix {', '.join(several)}: choose one of each with --where"] if several else []


def left_in(rows: Rows, law: type[Law], objective: Objective) -> dict[str, Rows]:
    """The rows as they would be if those left out for one reason were fitted too, by the reason.

    Rows that a fit cannot use, for want of a number, stay out, and so do those held out. A row that was left out before
    the fit had a weight for it weighs as much as the others do on average.
    """
    found: dict[str, Rows] = {}
    for reason in dict.fromkeys(e.reason for e in rows.table.excluded):
        parts = [e.cells for e in rows.table.excluded if e.reason == reason]
        if not all(name in cells for cells in parts for name in (*law.inputs, rows.target)):
            continue
        columns = {
            name: np.concatenate([rows.table[name], *(cells[name] for cells in parts)])
            for name in (*law.inputs, rows.target)
        }
        mean = float(rows.table["_weight"].mean())
        new = [np.broadcast_to(np.asarray(cells.get("_weight", mean)), len(cells[rows.target])) for cells in parts]
        held = [np.broadcast_to(np.asarray(cells.get("_held", 0.0)), len(cells[rows.target])) for cells in parts]
        weights = np.concatenate([rows.table["_weight"], *new])
        usable = np.concatenate([np.zeros(len(rows.table)), *held]) == 0
        if any(column.dtype.kind != "f" for column in columns.values()):
            continue
        with np.errstate(invalid="ignore"):
            for name, column in columns.items():
                usable &= np.isfinite(column) & ((column > 0) | (name == rows.target and not objective.log))
        more = int(usable[len(rows.table) :].sum())
        if not more:
            continue
        table = Table({name: column[usable] for name, column in columns.items()}, np.arange(1, usable.sum() + 1))
        w = weights[usable]
        missing = len(usable) - len(rows.table) - more
        label = reason + (f"; {missing} of these cannot be fitted" if missing else "")
        found[label] = dataclasses.replace(rows, table=table, y=table[rows.target], weights=w / w.mean(), clusters=None)
    return found


def _clusters(table: Table, name: str) -> NDArray[np.int64]:
    """Index of the cluster of each row."""
    column = table[name]
    empty = np.flatnonzero(np.isnan(column) if column.dtype.kind == "f" else column == "")
    if empty.size:
        raise InputError(
            f"{table.source}, {table.label(int(empty[0]))}, column {name}: empty, but its values say which rows are of "
            "one run; fill it in"
        )
    return np.unique(column, return_inverse=True)[1]


def _finite_column(table: Table, name: str) -> Array:
    column = table[name]
    bad = np.flatnonzero(~np.isfinite(column)) if column.dtype.kind == "f" else np.array([0])
    if bad.size:
        found = column[bad[0]]
        raise InputError(f"{table.source}, {table.label(int(bad[0]))}, column {name}: found {found}, wanted a number")
    return column


def weights_of(weights: ArrayLike | str | None, table: Table, target: str) -> Array:
    """One weight per row."""
    if weights is None:
        return np.ones(len(table))
    if isinstance(weights, str):
        if weights != "replicates":
            raise InputError(f'weights {weights!r}; wanted "replicates" or one number per row')
        found = seed_noise(table, target)
        if found is None:
            raise InputError(f"{table.source}: no two runs differ in their seed alone; weights need a number per row")
        return 1 / found.per_row(table) ** 2
    w = np.asarray(weights, np.float64)
    if w.shape != (len(table),) or not np.all(np.isfinite(w) & (w > 0)):
        raise InputError(f"weights of shape {w.shape}; wanted {len(table)} numbers above 0, one per row")
    return w


def held_out_rows(rule: ArrayLike | str | None, table: Table) -> NDArray[np.bool_]:
    """Which rows are held out: "column" its largest value, "column>number", "column=value", or a bool per row.

    Raises:
        InputError: not such a rule, a column that is not there or holds text, or no row that the rule names.
    """
    if rule is None:
        return np.zeros(len(table), bool)
    if not isinstance(rule, str):
        mask = np.asarray(rule)
        if mask.shape != (len(table),) or mask.dtype != bool:
            raise InputError(
                f"hold_out of shape {mask.shape}; wanted a column, a rule, or {len(table)} times true or false"
            )
        return mask
    name, sign, bound = _parts(rule, table)
    if sign == "=":
        return np.isin(table.rows, table.matching(name, bound).rows)
    column = table[name]
    if column.dtype.kind != "f":
        there = ", ".join(dict.fromkeys(column.tolist()))[:100]
        raise InputError(f'hold_out {rule!r}: {name} holds text ({there}); wanted a rule like "{name}={column[0]}"')
    if not sign:
        if not np.isfinite(column).any():
            raise InputError(
                f"hold_out {rule!r}: {name} holds no number; wanted a column whose largest value to hold out"
            )
        return column >= np.nanmax(column) * (1 - 1e-9)
    try:
        held = column > float(bound)
    except ValueError:
        raise InputError(f'hold_out {rule!r}; wanted a column, or a rule like "params>1e9" or "data=c4"') from None
    if not held.any():
        raise InputError(f"hold_out {rule!r}: no row; {name} goes up to {np.nanmax(column, initial=-np.inf):g}")
    return held


def _parts(rule: str, table: Table) -> tuple[str, str, str]:
    """Column, sign and bound of a rule; a column of just that name goes before."""
    if rule in table:
        return rule, "", ""
    for sign in (">", "="):
        name, found, bound = rule.partition(sign)
        if found:
            return name.strip(), sign, bound.strip()
    return rule.strip(), "", ""
