"""Rows that may spoil a law, by how they were made: too short a cooldown, a rate at the edge of its sweep, a transition
inside the range, over-fitting, a long warm-up, another batch. A check whose columns are missing finds nothing.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis import mixed
from analysis.digits import typed
from analysis.laws.admission import updates_made, warmup_updates
from analysis.linear import gain
from analysis.replicates import RATE, trunks
from analysis.table import Table

Mask = NDArray[np.bool_]

SHORT = 0.05  # of the updates: a shorter cooldown gains far less than one of a fifth (Haegele et al. 2024 Fig. 5)
LONG = 0.1  # of the updates: a longer warm-up costs a share of the tokens (Porian et al. 2024)
MOST = 0.8  # of the rows have one batch: the others are odd
SWEPT = 3  # rates from which a sweep has an inside
POINTS = 8  # most along a line of equal other inputs: checkpoints nearer than that are averaged
STEEPER = 1.25  # times: behind a break the loss falls so much faster. Sums of powers only ever flatten
SURE = 0.005  # that a law without a break would show one in this table: three checks in a hundred tables are too many
FEWEST = 3  # lines that show a break, and bends beyond it, from which its scatter is told
BEATEN = 0.02  # of the loss, above which a run that had less of everything and ended lower is no luck of a seed
TRIED = 64  # places of a break on one line at most
ENOUGH = 5  # degrees of freedom beside a break on one line or two, from which its scatter is told
SHOWN = 6  # rows that are named one by one
RANGES = 30  # of more rows


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """Rows (bool, one per row of the table) and why they are suspicious."""

    rows: Mask
    reason: str


def suspicions(table: Table, inputs: Sequence[str], target: str) -> list[Suspicion]:
    """What every check finds among the rows that a law of these inputs is fitted to."""
    found = [check(table, inputs, target) for check in CHECKS]
    return [s for s in itertools.chain.from_iterable(found) if s.rows.any()]


def told(table: Table, found: Sequence[Suspicion]) -> list[str]:
    """A line per suspicious row, or one for all rows of a check where they are many."""
    lines = []
    for s in found:
        rows = np.flatnonzero(s.rows)
        many = len(rows) > SHOWN
        named = [f"{len(rows)} rows ({_ranges(table.rows[rows])})"] if many else [table.label(int(i)) for i in rows]
        lines += [f"suspicious: {row}: {s.reason}" for row in named]
    return lines


def _ranges(rows: np.ndarray) -> str:
    """Numbers of rows, rising: rows 1-4, 9, 27; the first RANGES of them where they are many."""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    said = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:RANGES]]
    left = sum(map(len, runs[RANGES:]))
    return f"rows {', '.join(said)}{f' and {left} more' if left else ''}"


# --- The checks


def short_cooldown(table: Table, inputs: Sequence[str], target: str) -> Iterator[Suspicion]:
    """A cooldown over less than SHORT of the updates."""
    name = mixed.named(table, "cooldown")
    if name is None or not table.has(name):
        return
    share = table[name]
    if np.nanmax(share) > 1:  # a number of updates
        made = _updates_of_the_run(table)
        if made is None:
            return
        share = share / made
    with np.errstate(invalid="ignore"):
        yield Suspicion((share > 0) & (share < SHORT), f"a cooldown of less than {SHORT:.0%} of its updates")


def edge_of_the_sweep(table: Table, inputs: Sequence[str], target: str) -> Iterator[Suspicion]:
    """The best rate of its place is the least or the largest that was tried there; of whole runs, for curves cross."""
    rate = mixed.named(table, RATE)
    along = len(np.unique(table["run"])) < len(table) if table.has("run") else table.has("step")
    if rate is None or along or not all(table.has(name) for name in inputs):
        return
    edge = np.zeros(len(table), bool)
    for sweep in mixed.swept(table, [rate], target):
        if len(sweep.tried) >= SWEPT and sweep.at_the_edge:
            edge[sweep.rows[sweep.value == sweep.tried[sweep.best]]] = True
    yield Suspicion(edge, "its rate is the best of its sweep and at the edge of it: the best may lie beyond")


def long_warmup(table: Table, inputs: Sequence[str], target: str) -> Iterator[Suspicion]:
    """A warm-up over more than LONG of the run's updates."""
    made, warmup = _updates_of_the_run(table), warmup_updates(table)
    if made is None or warmup is None:
        name = mixed.named(table, "warmup")
        if name and table.has(name) and np.nanmax(table[name]) < 1:
            yield Suspicion(table[name] > LONG, f"a warm-up of more than {LONG:.0%} of its updates")
        return
    with np.errstate(invalid="ignore"):
        yield Suspicion(warmup > LONG * made * (1 + 1e-9), f"a warm-up of more than {LONG:.0%} of its updates")


def _updates_of_the_run(table: Table) -> np.ndarray | None:
    """All updates of each row's run, as far as its rows tell; None if unknown."""
    made = updates_made(table)
    if table.has("steps"):
        return table["steps"]
    if made is not None and table.has("run"):
        of = np.unique(table["run"], return_inverse=True)[1]
        most = np.zeros(len(of))
        np.maximum.at(most, of, np.nan_to_num(made))
        return most[of]
    return made


def other_batch(table: Table, inputs: Sequence[str], target: str) -> Iterator[Suspicion]:
    """A batch that few rows have, where most have another, and which follows no size or length."""
    name = mixed.named(table, "batch_tokens")
    if name is None or "steps_min" in inputs or mixed.follows_a_scale(table, table[name]):
        return
    values, counts = np.unique(table[name], return_counts=True)
    common = values[int(np.argmax(counts))]
    if counts.max() < MOST * len(table):
        return
    odd = np.isfinite(table[name]) & (table[name] != common)
    yield Suspicion(odd, f"another batch than {common:.6g}, which most rows have")


def before_the_onset(table: Table, inputs: Sequence[str], target: str) -> Iterator[Suspicion]:
    """Rows before their model used its context, by a column `onset`, where they are the fewer."""
    if not table.has("onset") or table["onset"].dtype.kind != "f" or not _is_loss(target):
        return
    before = np.isnan(table["onset"])
    if table.has("tokens"):
        before |= table["tokens"] < table["onset"]
    if 2 * before.sum() <= len(table):
        yield Suspicion(before, "before its model used its context (column onset)")


def _is_loss(target: str) -> bool:
    return "loss" in target.lower()


def transition(table: Table, inputs: Sequence[str], target: str) -> Iterator[Suspicion]:
    """A place from which on the loss falls much faster, along one input at equal others.

    Sums of powers are convex in the logarithms: they flatten, and the slope of ln(target) never grows steeper. Where it
    does, by STEEPER and beyond its scatter among lines of equal other inputs, is a transition, such as the onset of
    context use, and rows before it, where they are the fewer, follow another law than rows behind it. Lines whose rows
    are those of the same runs share the luck of these, and are as one. Inputs that all rise together make one ladder:
    of that, and of two lines, the scatter is what straight lines with a break leave.
    """
    if not all(table.has(name) for name in (*inputs, target)) or not np.all(table[target] > 0):
        return
    if any(np.any(table[name] <= 0) for name in inputs):
        return  # no logarithm; whoever fits them says so
    together = _rise_together(table, inputs)
    for name in inputs[:1] if together else inputs:
        others = [] if together else [other for other in inputs if other != name]
        line, x, y = mixed.places(table, others), np.log(table[name]), np.log(table[target])
        if line.max(initial=0) + 1 >= FEWEST:
            at = _break(x, y, line, len(inputs), shared=_of_one_run(table, name))
        else:
            at = -math.inf if _few_runs(table) else _hinge(x, y, line, len(inputs))
        before = table[name] <= np.exp(at) * (1 + 1e-6)
        if before.any() and 2 * before.sum() <= len(table):
            yield Suspicion(
                before, f"before a transition: from {name} {typed(np.exp(at), 3)} on the loss falls much faster"
            )


def _rise_together(table: Table, inputs: Sequence[str]) -> bool:
    """Whether no input falls where another rises."""
    order = np.lexsort([table[name] for name in reversed(inputs)])
    return all(np.all(np.diff(table[name][order]) >= 0) for name in inputs)


def _few_runs(table: Table) -> bool:
    """Whether rows are points of runs, or branches of trunks, two of one or more on average: they share its luck."""
    return 2 * min(table.n_runs, len(np.unique(trunks(table, RATE, "seed")))) <= len(table)


def _hinge(x: np.ndarray, y: np.ndarray, line: np.ndarray, tests: int) -> float:
    """The x from which on one line, or two, fall much faster, with a fall between or without; -inf where none is sure.

    Straight lines against such with a break, by F: a law of powers bends the other way, and never shows one by itself.
    """
    own = np.eye(int(line.max()) + 1)[line]
    straight = np.hstack([own, own * x[:, None]])
    places = np.unique(x)
    if len(places) < 4:
        return -math.inf
    inner = np.unique(np.linspace(2, len(places) - 2, min(len(places) - 3, TRIED)).astype(int))
    best, found = SURE, -math.inf
    for i, fall in itertools.product(inner, (False, True)):
        k = places[i]
        behind = [np.maximum(x - k, 0.0), *([(x >= k) * 1.0] if fall else [])]
        model = gain(straight, np.stack(behind, axis=1), y)
        if model.left < ENOUGH:
            continue
        c = model.constants
        before, bend = float(np.mean(c[own.shape[1] : 2 * own.shape[1]])), float(c[straight.shape[1]])
        steep = before + bend < STEEPER * min(before, 0.0) and (not fall or c[-1] < 0)
        p = model.p * 2 * len(inner) * tests
        if steep and p < best:
            best, found = p, float(places[i - 1] if fall else k)
    return found


def _of_one_run(table: Table, name: str) -> bool:
    """Whether rows of one run, or branches of one trunk, have one value of a column, two of them or more on average."""
    value = mixed.places(table, [name])
    units = [trunks(table, RATE, "seed")]
    if table.has("run"):
        units.append(np.unique(table["run"], return_inverse=True)[1])
    return any(2 * len(np.unique(unit * (value.max() + 1) + value)) <= len(table) for unit in units)


def _break(x: np.ndarray, y: np.ndarray, line: np.ndarray, tests: int, *, shared: bool) -> float:
    """The x from which on the slope is much steeper, of all places the surest; -inf where none is sure.

    Args:
        shared: whether all lines hold the same runs, and count as one.
    """
    x, y, line = _averaged(x, y, line)
    if len(x) < 3:
        return -math.inf
    inner = np.flatnonzero(line[2:] == line[:-2]) + 1  # points with a neighbour on both sides
    step = np.where(line[1:] == line[:-1], np.diff(x), 1.0)  # none leads from one line to the next
    slope = np.diff(y) / step
    before, behind = slope[inner - 1], slope[inner]
    one, other = 1 / step[inner - 1], 1 / step[inner]
    bend = (behind - before) / np.sqrt(one**2 + other**2 + (one + other) ** 2)  # of equal scatter, whatever the steps
    if len(bend) <= FEWEST:
        return -math.inf
    place = mixed.levels(x[inner], max(float(np.median(step)) / 4, 1e-6))
    count = np.bincount(place)
    mean = np.bincount(place, bend) / count
    best, found = 0.0, -math.inf
    for k in np.flatnonzero(mean < 0):
        own = place == k
        if count.max() > 1 and not shared:
            degrees = len(bend) - len(count)
            if min(degrees, count[k]) < FEWEST:
                continue
            scatter = np.sqrt(((bend - mean[place]) ** 2).sum() / degrees)
        else:
            rest = mean[np.abs(np.arange(len(mean)) - k) > 1]
            degrees = len(rest) - 1
            if degrees < FEWEST:
                continue
            scatter = np.std(rest, ddof=1)
        t = mean[k] * (1.0 if shared else np.sqrt(count[k])) / max(float(scatter), 1e-12)
        sure = float(special.stdtr(degrees, t)) * len(count) * tests < SURE
        steep = np.median(behind[own]) < STEEPER * min(float(np.median(before[own])), 0.0)
        if sure and steep and t < best:
            best, found = t, float(x[inner][own].mean())
    return found


def _averaged(x: np.ndarray, y: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points along each line, rising: seeds averaged, and neighbours of which a line has more than POINTS."""
    longest = max(len(np.unique(np.round(x[line == k], 6))) for k in np.unique(line))
    wide = float(np.ptp(x)) / POINTS if longest > POINTS else 0.0
    bin_ = np.floor((x - x.min()) / wide) if wide else np.round(x, 6)
    _, group = np.unique(np.stack([line, bin_]), axis=1, return_inverse=True)
    group = group.ravel()
    count = np.bincount(group)
    x, y = np.bincount(group, x) / count, np.bincount(group, y) / count
    return x, y, np.round(np.bincount(group, line) / count).astype(np.int64)


def beaten_with_less(table: Table, inputs: Sequence[str], target: str) -> Iterator[Suspicion]:
    """A run on repeated data that ended above one with no more parameters, tokens and unique tokens.

    Laws of repeated data let its worth sink to nothing, never below: none of them follows a loss that rises.
    """
    if "unique_tokens" not in inputs or len(inputs) < 2 or not all(table.has(name) for name in (*inputs, target)):
        return
    order = np.lexsort([table[name] for name in inputs])
    x, y = np.stack([table[name][order] for name in inputs]), table[target][order]
    rows = np.zeros(len(table), bool)
    for i in range(len(y)):  # the last key leads the sort: no row behind this one has less of everything
        less = np.all(x[:, :i] <= x[:, i : i + 1], axis=0)
        rows[order[i]] = less.any() and y[i] > (1 + BEATEN) * np.min(y[:i][less])
    less = f"{', '.join(inputs[:-1])} and {inputs[-1]}"
    yield Suspicion(rows, f"another run with no more {less} ended {BEATEN:.0%} or more lower: over-fitted?")


CHECKS: tuple[Callable[[Table, Sequence[str], str], Iterator[Suspicion]], ...] = (
    short_cooldown,
    edge_of_the_sweep,
    before_the_onset,
    transition,
    beaten_with_less,
    long_warmup,
    other_batch,
)
