"""What the rows of a table differ in besides what a law takes: another setting or another condition has another law.

At equal inputs (params and tokens, say) every decision that differs counts, number or text. Elsewhere those count
that a ladder keeps: its data, vocabulary, context, decay, batch, device. What only names a run or its size does not.
"""

import itertools
import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.digits import typed
from analysis.linear import CHANCE, MISFIT, gain, polynomial
from analysis.replicates import NOT_SETTINGS, RATE
from analysis.table import ENDED, Table, algebra
from analysis.table.columns import COLUMNS, cell, meaning
from scaling.errors import InputError

Codes = NDArray[np.int64]

MIXED = 10  # values of a column that divide a table into conditions; more are names, remarks or measurements
GRADES = 3  # of a text that only grades sizes or lengths; two may be two conditions
KEPT = ("n_vocab", "n_ctx", "dropout", "weight_decay", "batch_tokens", "experts", "bytes_per_token")  # along a ladder
RULED = ("weight_decay", "batch_tokens")  # of these, such as may follow the size or the length by a rule
TUNED = (RATE, "batch_tokens", "weight_decay", "warmup", "dropout")  # of which the best may be taken
SCALES = ("parameters", "tokens", "FLOP", "updates", "epochs")  # units of what says how large or long a run is
DECIDED = ("n_vocab", "n_ctx", "batch_tokens")  # decisions in such units
OUTCOMES = frozenset(  # words in the names of columns that say what came of a run
    (
        *("loss", "losses", "nll", "bpb", "ppl", "perplexity", "acc", "accuracy", "err", "error", "score", "eval"),
        *("metric", "metrics", "rank", "time", "hours", "seconds", "date", "wall"),
    )
)
NAMES = ("_", "run", "name", "id", "seed", "status", "time", "date")  # texts that only say which run it is
TOLD = 6  # columns that a note names
SHORT = 40  # characters of the values of a column that a note tells
WIDE = 300.0  # times the smallest N: over so wide a ladder the best rate falls to a third or less
SCALED = ("mup", "completep")  # parametrisations under which one rate serves all sizes
SPREAD = 2  # places of each input at which a number of few values must have each of them
LEFT = 8  # degrees of freedom beside a smooth law, from which a shift is told
SAME = 0.01  # of the logarithm: sizes and lengths nearer than this are one


def notes(table: Table, inputs: Sequence[str], target: str) -> list[str]:
    """What a reader of a law of these inputs should know of the rows behind it."""
    if not len(table) or not all(table.has(name) for name in inputs):
        return []
    equal, place, codes = _equal(table, inputs, target)
    at_equal = _varying(codes, place)
    said = []
    if at_equal:
        names = [f"{name} ({k} values at {n} of {place.max() + 1})" for name, (k, n) in at_equal.items()]
        more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
        tuned = [name for name in at_equal if meaning(name) in TUNED and table[name].dtype.kind == "f"]
        tuned.sort(key=lambda name: TUNED.index(meaning(name)))
        best = f", or take the best with --best-of {tuned[0]}" if tuned else ""
        told = f"{', '.join(names[:TOLD])}{more}{_following(codes, at_equal, place)}"
        said.append(f"at equal {' and '.join(equal)} the rows differ in {told}: choose with --where{best}")
    kept = _kept(table, codes, inputs, target)
    along = [name for name in _varying(kept, np.zeros(len(table), np.int64)) if name not in at_equal]
    if along:
        kept = {name: code for name, code in kept.items() if name not in at_equal}
        told = f"{', '.join(_told(table, name) for name in along)}{_following(kept, along)}"
        said.append(f"the rows mix {told}: another condition has another law, choose one with --where")
    return said + _states(table) + _one_rate(table, inputs)


def at_equal(table: Table, inputs: Sequence[str], target: str) -> tuple[str, ...]:
    """The columns in which rows of equal inputs differ."""
    _, place, codes = _equal(table, inputs, target)
    return tuple(_varying(codes, place))


def _equal(table: Table, inputs: Sequence[str], target: str) -> tuple[list[str], Codes, dict[str, Codes]]:
    """What is equal at one place, the place of each row, and the decisions beside it.

    A law of compute alone, say, takes rows of several sizes, and what follows from a size is no other setting.
    """
    equal = [*inputs, *(name for name in ("params", "tokens") if name not in inputs and table.has(name))]
    return equal, places(table, equal), dict(_decisions(table, {*equal, target}))


class Sweep(NamedTuple):
    """Rows that differ in some columns alone, seeds apart: a number per value tried, rising, and the best of them."""

    rows: NDArray[np.intp]
    value: Codes  # of each of these rows
    tried: Codes  # the values, rising
    best: int  # of `tried`, by the mean of the logarithm of the target

    @property
    def at_the_edge(self) -> bool:
        return self.best in (0, len(self.tried) - 1)


def swept(table: Table, columns: Sequence[str], target: str) -> Iterator[Sweep]:
    """Every place at which several values of these columns were tried and one of them came out."""
    tried = _joint([_code(table[name])[0] for name in columns], len(table))
    scales = [name for name in ("params", "tokens", "unique_tokens") if table.has(name)]
    place = places(table, scales)
    others = [
        code
        for name, code in _decisions(table, {*columns, *scales, target})
        if table[name].dtype.kind != "f" or _spread(code, _joint([place, tried], len(table)))[1]
    ]  # a number that follows from these columns is one of them under another name
    alike = _joint([place, *others], len(table))
    loss = np.log(np.where(table.ended() & (table[target] > 0), table[target], np.nan))
    for rows in np.split(np.argsort(alike, kind="stable"), np.cumsum(np.bincount(alike))[:-1]):
        values = np.unique(tried[rows])
        mean = np.array([float(np.mean(loss[rows][tried[rows] == v])) for v in values])
        if len(values) > 1 and np.isfinite(mean).any():
            yield Sweep(rows, tried[rows], values, int(np.nanargmin(mean)))


def best_of(table: Table, columns: Sequence[str], target: str = "loss") -> Table:
    """Of rows that differ in these columns alone, seeds apart, those with the value whose mean loss is lowest.

    Raises:
        InputError: a column is missing, or the target is text.
    """
    if not columns:
        return table
    if table[target].dtype.kind != "f":
        raise InputError(f"{table.source}, column {target}: holds text; wanted numbers, of which to take the lowest")
    keep = np.ones(len(table), bool)
    sweeps = list(swept(table, columns, target))
    for sweep in sweeps:
        keep[sweep.rows] = sweep.value == sweep.tried[sweep.best]
    edges = sum(sweep.at_the_edge for sweep in sweeps) if len(columns) == 1 else 0
    note = f"the best {' and '.join(columns)} of {len(sweeps)} places: {keep.sum()} rows of {len(table)}"
    edge = f"; at {edges} of these it is the least or the largest that was tried" if edges else ""
    return table.chosen(keep).with_notes(note + edge)


# --- Which columns are decisions


def _decisions(table: Table, known: set[str]) -> Iterator[tuple[str, Codes]]:
    """The columns that hold what was decided of a run, with a number per value (-1 where empty): known ones first, then
    those of few values first.
    """
    scales = _scales(table)
    found = []
    for name, values in table.items():
        canonical = meaning(name)
        text = values.dtype.kind != "f"
        naming = name.lower().startswith(NAMES) or canonical in ("run", "status")
        idle = naming if text else _is_outcome(name) or _is_scale(canonical)
        if name in known or canonical in known or idle:
            continue
        if name == "warmup" and not text and table.has("steps"):  # a share of more updates is a longer one
            values = np.round(np.where(values < 1, values * table["steps"], values))
        code, count = _code(values)
        filled = code >= 0
        few = count <= MIXED and 3 * count <= filled.sum()
        if count < 2 or 2 * filled.sum() < len(table):
            continue
        if text:
            graded = canonical not in COLUMNS and count >= GRADES
            label = 2 * count > filled.sum() or any(
                _one_to_one(code, scale) or (graded and _in_blocks(code, scale)) for scale in scales
            )
        else:
            label = canonical not in COLUMNS and (not few or any(_one_to_one(code, scale) for scale in scales))
        if not label:
            found.append((canonical not in COLUMNS, count, name, code))
    for _, _, name, code in sorted(found, key=lambda one: one[:2]):
        yield name, code


def named(table: Table, canonical: str) -> str | None:
    """The column of numbers that has this meaning, under its own name or one of others; None without one."""
    names = [name for name, values in table.items() if meaning(name) == canonical and values.dtype.kind == "f"]
    return canonical if canonical in names else next(iter(names), None)


def _is_outcome(name: str) -> bool:
    plain = name.lower()
    return plain.startswith((*NOT_SETTINGS, "learning_rate_sum")) or bool(
        OUTCOMES.intersection(re.split("[^a-z0-9]+", plain))
    )


def _is_scale(canonical: str) -> bool:
    return COLUMNS.get(canonical) in SCALES and canonical not in DECIDED


def _code(values: np.ndarray) -> tuple[Codes, int]:
    """A number per value, rising with it, -1 where the cell is empty; and how many values there are."""
    empty = np.isnan(values) if values.dtype.kind == "f" else values == ""
    there, code = np.unique(values[~empty], return_inverse=True)
    out = np.full(len(values), -1)
    out[~empty] = code
    return out, len(there)


def _scales(table: Table) -> list[Codes]:
    """What says how large or long each row's run is, as levels: sizes, lengths, compute, and tokens per parameter."""
    there = {
        name: np.log(table[name]) for name in ("params", "tokens", "unique_tokens", "flops") if _positive(table, name)
    }
    scales = [levels(x) for x in there.values()]
    if "params" in there and "tokens" in there:
        scales += [levels(there["tokens"] - there["params"], 0.03), places(table, ("params", "tokens"))]
    return scales


def _positive(table: Table, name: str) -> bool:
    return table.has(name) and table[name].dtype.kind == "f" and bool(np.all(table[name] > 0))


def levels(x: np.ndarray, gap: float = SAME) -> Codes:
    """A number per value, from the smallest up; values within a gap of the next are one."""
    order = np.argsort(x, kind="stable")
    out = np.empty(len(x), np.int64)
    with np.errstate(invalid="ignore"):  # of two infinite values: no step
        out[order] = np.cumsum(np.diff(x[order], prepend=x[order][:1]) > gap)
    return out


def places(table: Table, inputs: Sequence[str]) -> Codes:
    """A number per row, equal where these inputs are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = [levels(np.nan_to_num(np.log(table[name]), nan=-math.inf), 1e-6) for name in inputs]
    return _joint(each, len(table))


def _joint(codes: Sequence[Codes], n: int) -> Codes:
    """A number per row, from 0, equal where all of the codes are."""
    out = np.zeros(n, np.int64)
    for code in codes:
        out = np.unique(out * (code.max(initial=0) + 2) + code + 1, return_inverse=True)[1]
    return out


def _one_to_one(a: Codes, b: Codes) -> bool:
    """Whether either follows from the other."""
    there = a >= 0
    pairs = len(np.unique(a[there] * (b.max(initial=0) + 1) + b[there]))
    return pairs == len(np.unique(a[there])) == len(np.unique(b[there]))


def _in_blocks(code: Codes, scale: Codes) -> bool:
    """Whether each value stands for a range of the scale, as small, medium and large do."""
    along = code[np.argsort(scale, kind="stable")]
    return not _spread(code, scale)[1] and int((np.diff(along) != 0).sum()) == len(np.unique(code)) - 1


# --- What differs


def _spread(code: Codes, place: Codes) -> tuple[int, int]:
    """Most values of a column at one place, and at how many places there are several."""
    there, several = code >= 0, int(code.max(initial=0)) + 1
    counts = np.bincount(np.unique(place[there] * several + code[there]) // several)
    return int(counts.max(initial=0)), int((counts > 1).sum())


def _varying(codes: dict[str, Codes], place: Codes) -> dict[str, tuple[int, int]]:
    """The columns that differ at equal place, each unless it follows from those before: most values, places."""
    found, told = {}, place
    for name, code in codes.items():
        if _spread(code, told)[1]:
            found[name] = _spread(code, place)
            told = _joint([told, code], len(place))
    return found


def _kept(table: Table, codes: dict[str, Codes], inputs: Sequence[str], target: str) -> dict[str, Codes]:
    """The columns that a ladder keeps: texts, numbers that are decided once for all sizes, and those that it should
    have kept by what the target owes to them.
    """
    kept = {}
    for name, code in codes.items():
        canonical = meaning(name)
        if int(code.max()) + 1 > MIXED:
            continue
        if table[name].dtype.kind == "f" and canonical not in KEPT:
            if not _shifts(table, code, inputs, target, len(codes)):
                continue
        elif canonical in RULED and follows_a_scale(table, table[name]):
            continue
        kept[name] = code
    return kept


def _shifts(table: Table, code: Codes, inputs: Sequence[str], target: str, tests: int) -> bool:
    """Whether the target differs by a number of two or three values, each at several places of every input, by more
    than it scatters about a smooth law of the inputs.
    """
    columns = [table[name] for name in (*inputs, target)]
    rows = np.all([np.isfinite(values) & (values > 0) for values in columns], axis=0) & (code >= 0) & table.ended()
    code = np.unique(code[rows], return_inverse=True)[1]
    several, n = int(code.max(initial=-1)) + 1, int(rows.sum())
    *x, y = (np.log(values[rows]) for values in columns)
    if not 1 < several <= GRADES or any(
        len(np.unique(levels(values)[code == k])) < SPREAD for values in x for k in range(several)
    ):
        return False
    for degree in (3, 2):
        terms = polynomial(x, degree)
        if n >= terms.shape[1] + several + LEFT:
            found = gain(terms, np.eye(several)[code], y, MISFIT)
            return found.p * tests < CHANCE and float(np.ptp(found.constants[-several:])) > found.scatter
    return False


def _following(codes: dict[str, Codes], told: Collection[str], place: Codes | None = None) -> str:
    """The columns that differ (at equal place) and follow from those told, in words; empty without one."""
    n = len(next(iter(codes.values())))
    place = np.zeros(n, np.int64) if place is None else place
    rest = [name for name, code in codes.items() if name not in told and _spread(code, place)[1]]
    rest = [name for name in rest if not _spread(codes[name], _joint([place, *(codes[one] for one in told)], n))[1]]
    more = f" and {len(rest) - TOLD} more" if len(rest) > TOLD else ""
    return f", and with {'it' if len(told) == 1 else 'them'} in {', '.join(rest[:TOLD])}{more}" if rest else ""


def follows_a_scale(table: Table, values: np.ndarray) -> bool:
    """Whether a number of three values or more only rises, or only falls, with the size, the length or the compute."""
    if len(np.unique(values[np.isfinite(values)])) < GRADES:
        return False
    for name in ("params", "tokens", "flops"):
        if not _positive(table, name):
            continue
        scale = levels(np.log(table[name]))
        if _spread(_code(values)[0], scale)[1]:
            continue
        steps = np.diff(values[np.argsort(scale, kind="stable")])
        if np.all(steps >= 0) or np.all(steps <= 0):
            return True
    return False


def _told(table: Table, name: str) -> str:
    """A condition in words: how many values, and whether one of them is that of one end of the ladder alone."""
    values = [v for v in np.unique(table[name]).tolist() if v != "" and v == v]
    text = f"{len(values)} values of {name}"
    for value, end in itertools.product(values if _positive(table, "params") else (), ("largest", "smallest")):
        own = table[name] == value
        inside, outside = table["params"][own], table["params"][~own]
        if len(outside) and (inside.min() > outside.max() if end == "largest" else inside.max() < outside.min()):
            return f"{text} ({name} {cell(value)} at the {end} params alone)"
    there = ", ".join(map(cell, values))
    return f"{text} ({there})" if len(there) <= SHORT else text


def _states(table: Table) -> list[str]:
    """A note where a column says how runs ended that is not taken as their status, and not all of them ended well."""
    for name, values in table.items():
        if name == "status" or meaning(name) != "status" or values.dtype.kind == "f" or table.has("status"):
            continue
        others = [value for value in np.unique(values).tolist() if value and value.lower() not in ENDED]
        if others and len(np.unique(values)) <= MIXED:
            said = algebra.line({**table.taken, "status": name}, table.option)
            counts = ", ".join(f"{cell(value)} in {int((values == value).sum())} rows" for value in others)
            return [f"{name} is {counts}: {said} leaves runs out that did not end well"]
    return []


def _one_rate(table: Table, inputs: Sequence[str]) -> list[str]:
    """A note where one learning rate served sizes of very different best rates."""
    rate = named(table, RATE)
    if rate is None or "params" not in inputs or not _positive(table, "params"):
        return []
    wide = float(table["params"].max() / table["params"].min())
    if len(np.unique(table[rate])) > 1 or not np.isfinite(table[rate]).all() or wide < WIDE:
        return []
    if table.has("parametrization") and np.all(np.isin(np.char.lower(table["parametrization"]), SCALED)):
        return []
    return [
        f"{rate} is {typed(table[rate][0])} at every size, and params differ {typed(wide, 2)} times: the best rate "
        "falls with size, so exponents take in how far each size is from its own; scaling tune finds rates per size"
    ]
