"""Which rows of a table a fit uses: the runs its law is about, weights, and what is held out."""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import mixed
from analysis.digits import plural, typed
from analysis.fit import suspects
from analysis.fit.solver import Array, Objective, Problem
from analysis.laws import Law
from analysis.laws.admission import UNDER_WAY, Admission
from analysis.replicates import RATE, seed_noise, trunks
from analysis.table import Table
from analysis.table.conditions import is_condition, rows_with
from scaling.errors import InputError

STEEP = 1.0  # a power of N by which noise may change, at most
FAR = 1.5  # times the largest input that a rule keeps: what it takes away beyond is said
ENOUGH = 3  # times as many clusters as constants, from which their scatter is known


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
    asked: bool  # whether somebody named the column of the clusters; else run ids repeat, or runs share a trunk
    drawn: NDArray[np.int64] | None  # the cluster of each row in the bootstrap
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
    if not len(table):
        raise FitError(f"{law.name} is not identified: the table has no rows")
    given = table
    for admission in (UNDER_WAY, *law.about):
        if admission not in waived:
            table = admission.admit(table)
        if not len(table):
            out = [e for e in table.excluded[len(given.excluded) :] if e.rows]
            why = "; ".join(f"{len(e.rows)} {e.reason}" for e in out) if len(out) > 1 else out[-1].reason
            all_ = "the only run is" if len(given) == 1 else f"all {len(given)} runs are"
            raise FitError(
                f"{law.name} is not identified: {all_} left out ({why}); this law wants runs that {admission.runs}"
            )
    return table.with_notes(*_beyond_the_kept(law, given, table))


def _beyond_the_kept(law: type[Law], given: Table, kept: Table) -> list[str]:
    """A note where a rule takes away one end of a ladder: the law is then told by the other end alone."""
    notes = []
    for e in kept.excluded[len(given.excluded) :]:
        for name in law.inputs:
            gone = e.cells.get(name)
            if gone is None or gone.dtype.kind != "f" or not kept.has(name) or not np.isfinite(gone).any():
                continue
            largest = float(np.nanmax(kept[name]))
            beyond = int((gone > largest * (1 + 1e-9)).sum())
            if beyond > 1 and float(np.nanmax(gone)) > FAR * largest:
                notes.append(
                    f"what is left out ({e.reason}) is all there was of {name} above {typed(largest, 4)}: {beyond} "
                    f"rows, up to {typed(float(np.nanmax(gone)), 4)}"
                )
    return notes


def broken(law: type[Law], table: Table, waived: Collection[Admission] = ()) -> list[str]:
    """A note on the rows that `admitted` would leave out, where every run is fitted."""
    left, out = table, []
    for admission in (UNDER_WAY, *law.about):
        if admission not in waived and len(left):
            rule = admission.rule(left)
            if not rule.keep.all():
                out.append(f"{int((~rule.keep).sum())} {rule.reason}")
                left = left.where(rule.keep, rule.reason)
    if not out:
        return []
    return [f"every run is fitted, also {len(table) - len(left)} rows that {law.name} is not about: {'; '.join(out)}"]


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
    drop: str | None,
) -> Rows:
    name = target or law.target
    if target is None and not table.has(name) and law.fallback and table.has(law.fallback):
        table = table.with_notes(f"no column {law.target}: {law.fallback} taken in its place")
        name = law.fallback
    table = table.with_columns(
        _weight=weights_of(weights, table, name), _held=held_out_rows(hold_out, table).astype(float)
    )
    table = table.with_notes(*_weighed(weights, table["_weight"]))
    table = table.with_notes(*broken(law, table, waived)) if every_run else admitted(law, table, waived)
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
    found = suspects.suspicions(table, law.inputs, name)
    if drop not in (None, "suspicious"):
        raise InputError(f'drop {drop!r}; wanted "suspicious"')
    if drop is None:
        table = table.with_notes(*suspects.told(table, found))
    else:
        table = _without(table, found)
        y = table[name]
    if drop_worst:
        if drop_worst >= len(table):
            raise InputError(f"drop_worst {drop_worst} of {len(table)} runs; wanted fewer")
        keep = np.ones(len(table), bool)
        keep[np.argsort(y, kind="stable")[-drop_worst:]] = False
        table = table.where(keep, f"among the {drop_worst} largest {name} (drop_worst)")
    table = table.with_notes(*mixed.notes(table, law.inputs, name))
    w = table["_weight"]
    index, drawn, notes = clustered(law, table, clusters)
    notes += _split_runs(table, held_table)
    table = table.with_notes(*notes)
    return Rows(
        table, name, table[name], w / w.mean(), index, clusters is not None, drawn, held_table, rule, table.notes
    )


def _without(table: Table, found: Sequence[suspects.Suspicion]) -> Table:
    """The rows that are not suspicious; the others are in `excluded`, by reason."""
    if np.any([s.rows for s in found], axis=0).all():
        raise FitError(f"drop suspicious: all {len(table)} rows are suspicious; leave it out and read the notes")
    left = np.arange(len(table))
    for s in found:
        keep = ~s.rows[left]
        table, left = table.where(keep, f"suspicious: {s.reason}"), left[keep]
    return table


def clustered(
    law: type[Law], table: Table, clusters: str | None = None
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None, list[str]]:
    """The cluster of each row, that of each row in the bootstrap, and notes; None where rows are independent.

    Without a column that somebody names, rows of one run are one cluster (its positions apart, which a law of them is
    about), and so are branches of one trunk where the trunks are many; where they are few, the bootstrap alone draws
    them together.
    """
    if clusters is not None:
        index = _clusters(table, clusters)
        return index, index, []
    runs = _runs(table)
    if runs is not None and "position" not in law.inputs:
        count = len(np.unique(runs))
        of = f"{count} {plural(count, 'run', 'runs')} (column run)"
        return runs, runs, [f"{len(table)} rows of {of}: the rows of a run are one cluster"]
    shared = _clusters(table, "_trunk") if "_trunk" in table else trunks(table, RATE, "seed")
    count = len(np.unique(shared))
    if count == len(table):
        return None, None, []
    enough = count >= ENOUGH * len(law.constants())
    alone = "branches of one are drawn together by the bootstrap, and taken as independent by the profile"
    how = "branches of one are one cluster" if enough else alone
    return shared if enough else None, shared, [f"{len(table)} rows are branches of {count} trunks: {how}"]


def _runs(table: Table) -> NDArray[np.int64] | None:
    """The run of each row, one without an id by itself; None where no id repeats."""
    if not table.has("run"):
        return None
    run = np.where(table["run"] == "", np.char.add("row ", table.rows.astype(str)), table["run"])
    index = np.unique(run, return_inverse=True)[1]
    return index if len(np.unique(index)) < len(table) else None


def _split_runs(table: Table, held: Table | None) -> list[str]:
    """A note where rows are held out whose runs are fitted by other rows."""
    if held is None or not (held.has("run") and table.has("run")):
        return []
    both = set(table["run"]) & set(held["run"]) - {""}
    if not both:
        return []
    return [f"{len(both)} runs have rows held out and others fitted: these are not predicted unseen"]


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
        found[label] = dataclasses.replace(
            rows, table=table, y=table[rows.target], weights=w / w.mean(), clusters=None, drawn=None
        )
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
    """One weight per row, as 1 / variance of its noise: a number is the power of N that the noise goes as."""
    if weights is None:
        return np.ones(len(table))
    if isinstance(weights, int | float):
        if not abs(weights) <= STEEP:
            raise InputError(f"weights {weights:g}: wanted a power of N, from -{STEEP:g} to {STEEP:g}, as noise has it")
        (size,) = table.positive("params")
        return (size / np.exp(np.log(size).mean())) ** (-2 * weights)
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


def _weighed(weights: ArrayLike | str | None, w: Array) -> list[str]:
    """What the weights are, in words."""
    if weights is None:
        return []
    how = "by the noise that replicates show at their size" if isinstance(weights, str) else "as given"
    if isinstance(weights, int | float):
        how = f"by a noise that goes as N^{weights:g}"
    most = float(w.max() / w.min())
    each = f"the heaviest {most:.3g} times the lightest" if most > 1.005 else "all alike"
    return [f"rows are weighed {how}: {each}"]


def held_out_rows(rule: ArrayLike | str | None, table: Table) -> NDArray[np.bool_]:
    """Which rows are held out: "column" its largest value, a condition as "column>number", or a bool per row.

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
    if is_condition(table, rule):
        return rows_with(table, rule)
    column = table[rule]
    if column.dtype.kind != "f":
        there = ", ".join(dict.fromkeys(column.tolist()))[:100]
        raise InputError(f'hold_out {rule!r}: {rule} holds text ({there}); wanted a rule like "{rule}={column[0]}"')
    if not np.isfinite(column).any():
        raise InputError(f"hold_out {rule!r}: {rule} holds no number; wanted a column whose largest value to hold out")
    return column >= np.nanmax(column) * (1 - 1e-9)
