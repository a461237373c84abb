"""Rows in another unit than the rest of their table: tokens in billions, a size times 1000, a loss over 10, in bits.

Refused is what cannot be right; what is only hard to believe is a note. A row is odd where another unit puts it among
the others, and where they are the most of the table.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.digits import typed
from analysis.table import surface
from analysis.table.columns import above_zero
from analysis.table.naming import Naming
from analysis.table.surface import Surface
from scaling.errors import InputError

CONTRADICTION = 30.0  # times between C and 6 N D: what is counted explains less
LOGITS = 1e5  # over sqrt(N): so many times 6 N D are the logits of 256 thousand tokens on a single narrow layer
MINORITY = 1 / 3  # of the rows at most: more of them would be the table
SEVERAL = 3  # rows that one factor puts among the others: no accident
GAP = 10.0  # times between tokens per parameter of odd rows and those of the others
SAME = 0.01  # of the logarithm: sizes and lengths so near are one
SIZE_GAP = 3.0  # times between sizes or tokens of odd rows and those of the others
LOSS_GAP, LOSS_SURE = 3.0, 5.0  # times between losses, where no surface tells; so far below no run came
FEW, MANY = 1e-3, 1e7  # tokens per parameter that no run had
STEPS = (1e3, 1e6, 1e9, 1e12)  # from one unit of counts to another
UNIT_WORDS = {1e3: "thousands", 1e6: "millions", 1e9: "billions", 1e12: "trillions"}
LARGE_LOSS = 15.0  # nats/token: no finished run is above
GUESSING = (8.0, 13.0)  # nats/token that guessing among 3,000 to 400,000 tokens costs, where runs end that diverged
BEYOND = 5.0  # scatters: a row beyond all sizes is odd from there on
FAR, NEAR = 8.0, 3.0  # scatters of the rest: an odd row is beyond the first, within the second in its own unit
LEAST_FAR, LEAST_NEAR = 0.25, 0.1  # of ln(loss), whatever the scatter
SIZE_FAR, SIZE_NEAR = 0.03, 0.03  # the same for sizes, which change a loss by less
BITS = 1 / math.log(2)
AS_BITS = "1.44 times as much, as bits would be"
BITS_SCATTER = 0.03  # of the rest: above it 1.44 times is nothing special
BITS_NEAR, BITS_CLEAN = 0.015, 0.06  # of ln(loss): from 1.44 times, and from the surface where a row is no such

Columns = Mapping[str, np.ndarray]
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def check(columns: Columns, given: frozenset[str], naming: Naming, *, doubted: bool = False) -> list[str]:
    """Notes on the rows that are odd.

    Args:
        columns: whole, with those that followed from others.
        given: which of params, tokens and flops the table had.
        doubted: the losses as a whole, already.

    Raises:
        InputError: rows that cannot be right.
    """
    N, D, C = (above_zero(columns, name) for name in ("params", "tokens", "flops"))
    if N is not None and D is not None and C is not None and len(given) == 3:
        _check_compute(N, D, C, columns, naming)
    loss = above_zero(columns, "loss")
    if loss is not None and "status" in columns:
        loss = np.where(columns["status"] == "diverged", np.nan, loss)
    whole = inputs = tuple(x for x in (N, D) if x is not None) or tuple(x for x in (C,) if x is not None)
    usual = surface.through(inputs, loss) if loss is not None and inputs else None
    if usual is None and loss is not None and len(inputs) == 2:  # where D follows N, no surface tells them apart
        inputs = inputs[:1]
        usual = surface.through(inputs, loss)
    expected = usual(*inputs) if usual is not None else None
    odd: list[tuple[str, NDArray]] = []
    both = given == {"params", "tokens"} and len(inputs) == 2
    if N is not None and D is not None and "step" not in columns and len(given) < 3:
        if usual is not None and loss is not None and both:
            odd += _odd_among(N, D, loss, usual, naming, least=SEVERAL)
        odd = odd or _odd_ratios(N, D, loss, usual if len(inputs) == 2 else None, given, naming)
        if not odd and usual is not None and loss is not None and both:
            odd += _odd_sizes(N, D, loss, usual, naming)
    notes = [note for note, _ in odd]
    if loss is not None:
        for _, rows in odd:  # whose loss is that of another size
            loss = np.where(np.isin(np.arange(len(loss)), rows), np.nan, loss)
        of_losses = _odd_losses(loss, usual, expected, naming, begun="step" in columns)
        of_losses = of_losses or (_bits_and_nats(loss, whole, expected, naming) if whole else [])
        notes += of_losses or ([] if doubted else _beyond_guessing(loss, begun="step" in columns))
    return notes


# --- compute


def contradiction(N: Array, D: Array, C: Array, columns: Columns) -> tuple[Array, Array]:
    """How many times C and 6 N D differ in each row, and how many times what is counted explains."""
    reuse, experts = above_zero(columns, "reuse"), above_zero(columns, "experts")
    used = N if reuse is None else N * np.fmax(reuse, 1.0)  # weights of layers count once in N, each time in C
    ratio = C / (6 * used * D)
    bound = np.where(ratio > 1, np.maximum(CONTRADICTION, LOGITS / np.sqrt(N)), CONTRADICTION)
    if experts is not None:  # all of them may be counted in N, and few of them work for a token
        bound = bound * np.fmax(experts, 1.0)
    return np.maximum(ratio, 1 / ratio), bound


def _check_compute(N: Array, D: Array, C: Array, columns: Columns, naming: Naming) -> None:
    off, bound = contradiction(N, D, C, columns)
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(off > bound)
    if not rows.size:
        return
    row = int(rows[0])
    found = f"found {_n(C[row])}, but 6 params tokens is {_n(6 * N[row] * D[row])}"
    looks = ""
    rest = np.isfinite(off) & (off <= bound)
    if rest.any():
        factor = 6 * N[row] * D[row] / C[row]
        near = {name: _between(values[row] / shift, values[rest]) for name, values, shift in
                (("params", N, factor), ("tokens", D, factor), ("flops", C, 1 / factor))}  # fmt: skip
        own = {name: _between(values[row], values[rest]) for name, values in
               (("params", N), ("tokens", D), ("flops", C))}  # fmt: skip
        odd = [name for name in near if near[name] and not own[name]] or [name for name in near if near[name]]
        if len(odd) == 1:
            looks = f"; {odd[0]} looks {_n(max(factor, 1 / factor))} times too {_too(odd[0], factor)}"
    raise InputError(f"{naming.at(rows, 'flops')}: {found}{looks}; {_way_out(rows)}")


def _too(name: str, factor: float) -> str:
    return "large" if (factor > 1) == (name != "flops") else "small"


# --- sizes


def _odd_ratios(
    N: Array, D: Array, loss: Array | None, usual: Surface | None, given: frozenset[str], naming: Naming
) -> list[tuple[str, NDArray]]:
    """Rows whose tokens per parameter lie far from all others', and among them in another unit: a note, and the rows.

    Raises:
        InputError: so few or so many tokens per parameter that no run had them.
    """
    ratio = D / N
    for odd in _split_off(ratio, GAP):
        rest = np.isfinite(ratio) & ~odd
        low = bool(np.max(ratio[odd]) < np.min(ratio[rest]))
        for name, step in ((name, step) for step in STEPS for name in ("tokens", "params", "flops")):
            moved = _moved(N, D, name, step if low == (name != "params") else 1 / step, given)
            if moved is None:
                continue
            n, d = moved
            if not (_between(n[odd], N[rest]) and _between(d[odd], D[rest])):
                continue
            if not (_between(d[odd] / n[odd], ratio[rest]) or _crossing(n[odd], d[odd], N[rest], D[rest])):
                continue
            if usual is not None and loss is not None and not _loss_agrees(loss[odd], usual(n, d)[odd], usual):
                continue
            rows = np.flatnonzero(odd)
            column = {"tokens": D, "params": N, "flops": 6 * N * D}[name]
            said = (
                f"{naming.at(rows, name)}: found {_n(column[rows[0]])}, where the other rows hold "
                f"{_span(column[rest])}, and {_n(ratio[rows[0]])} tokens per parameter; "
                f"{'these look' if rows.size > 1 else 'this looks'} {_in_unit(step, column[odd], column[rest])}"
            )
            if np.min(ratio[odd]) < FEW or np.max(ratio[odd]) > MANY:
                raise InputError(f"{said}; {_way_out(rows)}")
            return [(f"{said}: is it right?", rows)]
    return []


def _crossing(n: Array, d: Array, N: Array, D: Array) -> bool:
    """Whether each n and each d is a value that N and D have in other rows: the corner of a grid lies beyond these."""
    return bool(np.all(_nearest(n, N) < SAME) and np.all(_nearest(d, D) < SAME))


def _nearest(values: Array, rest: Array) -> Array:
    """How far each value lies from the nearest of the rest, in the logarithm."""
    return np.abs(np.log(values)[:, None] - np.log(rest)).min(1)


def _moved(N: Array, D: Array, name: str, factor: float, given: frozenset[str]) -> tuple[Array, Array] | None:
    """N and D where a given column is so many times what it says; what followed from it follows."""
    if name not in given:
        return None
    if name == "params":
        return N * factor, D if "tokens" in given else D / factor
    return N, D * factor  # of FLOP the tokens follow


def _odd_sizes(N: Array, D: Array, loss: Array, usual: Surface, naming: Naming) -> list[tuple[str, NDArray]]:
    """Rows beyond the end of all other N or D with a loss that is far from the one at that end: a note, and the rows.

    Raises:
        InputError: so few or so many tokens per parameter that no run had them.
    """
    for name, values in (("params", N), ("tokens", D)):
        for odd in _split_off(values, SIZE_GAP):
            rest = np.isfinite(values) & ~odd
            high = bool(np.min(values[odd]) > np.max(values[rest]))
            end = np.clip(values, np.min(values[rest]), np.max(values[rest]))

            def off(changed: Array, name: str = name) -> Array:
                return np.log(loss / (usual(changed, D) if name == "params" else usual(N, changed)))

            at_end = off(end) if high else -off(end)
            for step in STEPS[:3]:
                factor = 1 / step if high else step
                far = np.any(at_end[odd] >= max(BEYOND * usual.scatter, SIZE_FAR))  # in its own unit one may lie there
                near = np.all(np.abs(off(values * factor))[odd] <= max(NEAR * usual.scatter, SIZE_NEAR))
                if far and near and _between(values[odd] * factor, values[rest]):
                    rows = np.flatnonzero(odd)
                    said = (
                        f"{naming.at(rows, name)}: found {_n(values[rows[0]])}, where the other rows hold "
                        f"{_span(values[rest])}, and a loss that suits {_n(values[rows[0]] * factor)}"
                    )
                    times = f"{_n(step)} times too {'large' if high else 'small'}"
                    if np.min((D / N)[odd]) < FEW or np.max((D / N)[odd]) > MANY:
                        raise InputError(f"{said}: {times}; {_way_out(rows)}")
                    return [(f"{said}: is it {times}?", rows)]
    return _odd_among(N, D, loss, usual, naming)


def _odd_among(
    N: Array, D: Array, loss: Array, usual: Surface, naming: Naming, least: int = 1
) -> list[tuple[str, NDArray]]:
    """Rows among the others whose loss is far from theirs, and suits one of their inputs over or times 1000, the same
    in all of them: a note, and the rows.

    Args:
        least: rows from which they are looked at: fewer may lie at an end, which tells more of them.

    Raises:
        InputError: so few or so many tokens per parameter that no run had them; or several losses that lie far below
            what such an input gives, and where one a thousand times larger puts them: no run is so much better.
    """
    off = np.log(loss / usual(N, D))
    odd = np.abs(off) >= max(FAR * usual.scatter, LEAST_FAR)
    if odd.sum() < least or not odd.any() or odd.mean() > MINORITY:
        return []
    rows = np.flatnonzero(odd)
    for name, values in (("params", N), ("tokens", D)):
        for step, high in itertools.product(STEPS[:3], (True, False)):
            factor = 1 / step if high else step
            changed = (values * factor, D) if name == "params" else (N, values * factor)
            near = np.abs(np.log(loss / usual(*changed)))[odd] <= max(NEAR * usual.scatter, SIZE_NEAR)
            if not (near.all() and _between(values[odd] * factor, values[~odd])):
                continue
            said = (
                f"{naming.at(rows, name)}: found {_n(values[rows[0]])}, and a loss that suits "
                f"{_n(values[rows[0]] * factor)}"
            )
            if len(rows) < SEVERAL:
                return [(f"{said}: is it {_n(step)} times too {'large' if high else 'small'}?", rows)]
            said += f"; these look {f'{_n(step)} times too large' if high else f'like {UNIT_WORDS[step]}'}"
            ratio = (D / N)[odd]
            if not high or np.min(ratio) < FEW or np.max(ratio) > MANY:
                raise InputError(f"{said}; {_way_out(rows)}")
            return [(f"{said}: is it right?", rows)]
    return []


def _loss_agrees(loss: Array, expected: Array, usual: Surface) -> bool:
    off = np.abs(np.log(loss / expected))
    off = off[np.isfinite(off)]
    return not off.size or bool(np.median(off) <= max(FAR * usual.scatter, LEAST_FAR))


def _in_unit(step: float, odd: Array, rest: Array) -> str:
    return f"like {UNIT_WORDS[step]}" if np.median(odd) < np.median(rest) else f"{_n(step)} times too large"


# --- losses


def _odd_losses(
    loss: Array, usual: Surface | None, expected: Array | None, naming: Naming, *, begun: bool
) -> list[str]:
    """Rows whose loss is that of the others over 10 or times 10, its exponential, or less than half of theirs.

    Args:
        begun: of curves, whose first losses lie far above all others: these are looked at for losses that are too low.

    Raises:
        InputError: ten times too small, or above what guessing costs.
    """
    notes = []
    for said, rows, surely in _other_units(loss, usual, expected):
        text = f"{naming.at(rows, 'loss')}: found {_n(loss[rows[0]])}, {said}"
        if begun and loss[rows[0]] > np.nanmedian(loss):
            continue
        if surely:
            raise InputError(f"{text}; {_way_out(rows)}")
        notes.append(f"{text}: are these nats per token{'' if loss[rows[0]] < GUESSING[0] else ', or did it diverge'}?")
    return notes


def _other_units(loss: Array, usual: Surface | None, expected: Array | None) -> Iterator[tuple[str, NDArray, bool]]:
    """What odd losses look like, their rows, and whether they cannot be right."""
    if usual is None or expected is None:
        for odd in _split_off(loss, LOSS_GAP):
            rest = np.isfinite(loss) & ~odd
            span = f"where the other rows hold {_span(loss[rest])}"
            low = bool(np.max(loss[odd]) < np.min(loss[rest]))
            for power in (10.0, 100.0, 1000.0):
                if _between(loss[odd] * (power if low else 1 / power), loss[rest], 1.1):
                    sure = low and bool(np.max(loss[odd]) * LOSS_SURE < np.min(loss[rest]))
                    yield f"{span}: {power:g} times too {'small' if low else 'large'}", np.flatnonzero(odd), sure
                    return
            if not low and _between(np.log(np.fmax(loss[odd], 1.0)), loss[rest], 1.1) and not _guessing(loss[odd]):
                yield f"{span}: this looks like a perplexity", np.flatnonzero(odd), False
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.log(loss / expected)
        logarithm = np.abs(np.log(np.log(np.fmax(loss, 1.0)) / expected))
    far = np.abs(off) >= max(FAR * usual.scatter, LEAST_FAR)
    near = max(NEAR * usual.scatter, LEAST_NEAR)
    few = MINORITY * np.isfinite(off).sum()
    rows = np.flatnonzero(far & (off > math.log(2)) & (logarithm <= near))
    if 0 < rows.size <= few and rows.size == np.sum(far & (off > math.log(2))) and not _guessing(loss[rows]):
        sure = bool(np.max(loss[rows]) > LARGE_LOSS)
        yield f"{_where_others(expected, rows)}: this looks like a perplexity", rows, sure
        return
    for power in (10.0, 100.0, 1000.0):
        for sign, too in ((-1, "small"), (1, "large")):
            rows = np.flatnonzero(far & (np.abs(off - sign * math.log(power)) <= 2 * near))
            if 0 < rows.size <= few:
                sure = sign < 0 or bool(np.min(loss[rows]) > LARGE_LOSS)
                yield f"{_where_others(expected, rows)}: {power:g} times too {too}", rows, sure
    rows = _in_bits(off, usual.scatter)
    if 2 <= rows.size <= few:
        yield f"{_where_others(expected, rows)}: {AS_BITS}", rows, False
    rows = np.flatnonzero(off < -math.log(2))
    if 0 < rows.size <= few:
        yield f"{_where_others(expected, rows)}: less than half of it", rows, False


def _in_bits(off: Array, scatter: float) -> NDArray:
    """The rows 1.44 times above a surface, by ln(loss / surface), where all others lie on it; none if vague."""
    bits = np.abs(off - math.log(BITS)) <= max(NEAR * scatter, BITS_NEAR)
    clean = np.nanmax(np.where(bits, 0.0, np.abs(off))) <= max(FAR * scatter, BITS_CLEAN)
    return np.flatnonzero(bits & (scatter <= BITS_SCATTER) & clean)


def _bits_and_nats(loss: Array, inputs: tuple[Array, ...], single: Array | None, naming: Naming) -> list[str]:
    """A note where so many losses are in bits, and all others in nats, that one surface describes neither.

    Args:
        single: what that surface makes one expect; None without one.
    """
    known = np.isfinite(loss)
    if single is not None and np.mean(np.abs(np.log(loss / single))[known] > LEAST_NEAR) < MINORITY:
        return []
    usual = surface.through(inputs, loss, (1.0, BITS)) or surface.through(inputs[:1], loss, (1.0, BITS))
    if usual is None:
        return []
    expected = usual(*inputs[: len(usual.constants) - 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = _in_bits(np.log(loss / expected), usual.scatter)
    if not 2 <= rows.size <= known.sum() - 2:
        return []
    found = f"{naming.at(rows, 'loss')}: found {_n(loss[rows[0]])}, {_where_others(expected, rows)}"
    return [f"{found}: {AS_BITS}: are these nats per token?"]


def _beyond_guessing(loss: Array, *, begun: bool) -> list[str]:
    """A note on losses above what guessing among any vocabulary costs; of curves, which begin there, on many."""
    rows = np.flatnonzero(loss > GUESSING[1])
    if not rows.size or (begun and rows.size <= MINORITY * np.isfinite(loss).sum()):
        return []
    row = int(rows[np.argmax(loss[rows])])
    several = f"{rows.size} rows, the most {_n(loss[row])} in " if rows.size > 1 else ""
    return [
        f"loss is above {_n(GUESSING[1])} in {several}row {row + 1}, and a guess among 440 thousand tokens costs "
        f"no more: are these nats per token, and not perplexities{'' if rows.size > 1 else ', or did it diverge'}?"
    ]


def _guessing(loss: Array) -> bool:
    return bool(np.all((loss > GUESSING[0]) & (loss < GUESSING[1])))


def _where_others(expected: Array, rows: NDArray) -> str:
    return f"where the other rows make one expect {_n(expected[rows[0]])}"


# --- groups of rows


def _split_off(values: Array, gap: float) -> Iterator[Mask]:
    """The few rows at either end that a gap divides from all others."""
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    if len(order) < 4:
        return
    steps = np.diff(np.log(values[order]))
    most = int(MINORITY * len(order))
    for cut in np.argsort(-steps, kind="stable"):
        if steps[cut] < math.log(gap):
            return
        group = order[: cut + 1] if cut + 1 <= most else order[cut + 1 :] if len(order) - cut - 1 <= most else []
        if len(group):
            yield np.isin(np.arange(len(values)), group)


def _between(values: Array | float, rest: Array, slack: float = 3.0) -> bool:
    """Whether all values lie among the others, or just beyond."""
    return bool(np.all(values >= np.min(rest) / slack) and np.all(values <= np.max(rest) * slack))


def _way_out(rows: Sequence[int] | NDArray) -> str:
    return "correct the cells, or leave the rows out" if len(rows) > 1 else "correct the row, or leave it out"


def _n(value: Any) -> str:
    return typed(float(value), 3)


def _span(values: Array) -> str:
    return f"{_n(np.min(values))} to {_n(np.max(values))}"
