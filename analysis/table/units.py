"""What follows from the columns of a table, and whether their units can be right.

Bounds are far outside anything that was ever trained, so that an honest table is never refused: the smallest model of
Kaplan et al. (2020) has 768 parameters and sees 2e8 tokens for each, their largest one 0.01.
"""

import itertools
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from analysis.digits import typed
from analysis.table import odd_rows
from analysis.table.columns import above_zero, is_share, surely, unit_in
from analysis.table.naming import Doubt, Naming
from analysis.table.odd_rows import contradiction
from scaling.errors import InputError

SMALLEST_LADDER = 100.0  # parameters: the largest model of a table has more
SMALLEST_TEXT = 1e3  # tokens: the longest run of a table has more
WHOLE = 1e5  # parameters: below that many a count is a whole number, and 70.5 stands for millions
SMALLEST_COMPUTE = 1e5  # FLOP: a thousand parameters and twenty tokens
FEWEST_TOKENS = 1e-3  # per parameter, in the row that has most
MOST_TOKENS = 1e7  # per parameter, in the row that has fewest
DOUBTFUL = 1.3
LEVEL_SLOPE = 0.02  # of ln(C / 6 N D) over ln N: below it the ratio is one number
SMALL_LOSS = 0.4  # nats/token: what no model of a text has come down to
ABOVE_GUESSING = 1.0  # nats/token over ln(vocabulary) that an honest loss stays below
BITS_WORDS = {"bpb", "bits", "bit"}  # in the name of a column that counts bits
IN_BITS = 0.03  # relative: so near to 1 / ln 2 the ratio of two losses is no accident
# What a column may count in instead; the last ones for compute alone.
UNITS: Mapping[float, str] = {
    1.0: "",
    1e3: "thousands",
    1e6: "millions",
    1e9: "billions",
    1e12: "trillions",
    1e15: "1e15 FLOP",
    1e18: "1e18 FLOP",
    8.64e19: "PF-days",
    1e21: "1e21 FLOP",
}
FACTORS: Mapping[str, tuple[float, ...]] = {
    "params": tuple(UNITS)[:4],
    "params_total": tuple(UNITS)[:4],
    "tokens": tuple(UNITS)[:5],
    "unique_tokens": tuple(UNITS)[:5],
    "flops": tuple(UNITS),
    "flops_min": tuple(UNITS),
}
DEAREST = 1.5  # of `_cost`, decades: a remedy beyond that is none
CHINCHILLA = (1.7, 406.0, 0.34, 411.0, 0.28)  # E, A, alpha, B, beta of Hoffmann et al. (2022), a text's usual losses

Columns = Mapping[str, np.ndarray]


class Wrong(NamedTuple):
    """A column whose unit cannot be right."""

    row: int
    name: str
    found: str  # in words
    factor: float = 0.0  # by which C / 6 N D is off


def completed(columns: Columns, naming: Naming) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns with those that follow from others, and a note on each of these and on what is doubtful.

    tokens = C / 6N, flops = 6ND, params = C / 6D, epochs = tokens / unique_tokens, where a column is missing.

    Raises:
        InputError: a column or a row that must be in other units, or a row whose C contradicts its N and D.
    """
    found = dict(columns)
    _check_trifle(found, naming)
    _check_quantity(found, naming)
    if wrong := _wrong(found):
        raise InputError(_said(wrong, found, naming))
    notes: list[str] = [Doubt(note) for note in _doubtful_losses(found, naming)]
    doubted = bool(notes)
    N, D, C = (above_zero(found, name) for name in ("params", "tokens", "flops"))
    given = frozenset(name for name, values in (("params", N), ("tokens", D), ("flops", C)) if values is not None)
    if N is not None and C is not None and D is None:
        found["tokens"] = D = C / (6 * N)
        notes.append(_followed("tokens", "flops / (6 params)", columns, naming))
    elif N is not None and D is not None and C is None:
        found["flops"] = 6 * N * D
        notes.append(_followed("flops", "6 params tokens", columns, naming))
    elif D is not None and C is not None and N is None and surely("params", found) is None:
        found["params"] = C / (6 * D)
        notes.append(_followed("params", "flops / (6 tokens), which counts what the FLOP count", columns, naming))
    elif N is not None and D is not None and C is not None:
        notes += map(Doubt, _doubtful_compute(N, D, C, found, naming))
    notes += map(Doubt, odd_rows.check(found, given, naming, doubted=doubted))
    U = above_zero(found, "unique_tokens")
    if D is not None and U is not None and above_zero(found, "epochs") is None:
        found["epochs"] = D / U
    return found, tuple(notes)


def _followed(name: str, how: str, columns: Columns, naming: Naming) -> str:
    """That a column followed from others, and how to say that another of the file is it."""
    meant = surely(name, columns)
    said = f"{name} was missing: taken as {how}"
    return f"{said}; if {meant} is it, say {naming.line({}, {name: meant})}" if meant else said


# --- losses


def _check_quantity(columns: Columns, naming: Naming) -> None:
    """Refuses an error or an accuracy that was taken for a loss: a law of losses would leave 0 to 1."""
    for name in ("loss", "loss_min"):
        own = naming.taken.get(name, name)
        if name in columns and columns[name].dtype.kind == "f" and is_share(own, columns[name]):
            raise InputError(
                f"{naming.source}, {naming.column(name)}: holds shares from {typed(np.nanmin(columns[name]), 3)} to "
                f"{typed(np.nanmax(columns[name]), 3)}, and {name} is in nats per token; to fit it as what it is, "
                f"say --target {shlex.quote(own)} and leave out {name}={shlex.quote(own)}"
            )


def _doubtful_losses(columns: Columns, naming: Naming) -> list[str]:
    """Losses that nats per token cannot be: perplexities, bits, or sums."""
    notes = []
    for name in ("loss", "loss_min"):
        values = above_zero(columns, name)
        if values is None:
            continue
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if low > odd_rows.GUESSING[1]:
            notes.append(
                f"{name} is {typed(low, 3)} or more in all rows: are these nats per token, and not perplexities?"
            )
        elif high < SMALL_LOSS:
            notes.append(
                f"{name} is {typed(high, 3)} or less in all rows: are these nats per token? no model of a text has "
                "come down so far"
            )
        elif BITS_WORDS & set(re.split("[^a-z0-9]+", (own := naming.taken.get(name, name)).lower())):
            notes.append(
                f"{name} is {own}, in bits by its name, where units say nats: to fit {own} itself, say "
                f"--target {shlex.quote(own)}"
            )
        elif in_bits := _bits(columns, values):
            factor = naming.line({name: math.log(2)})
            notes.append(f"{name} looks like bits per token: {in_bits}; in nats it is {factor}")
        else:
            notes += _above_guessing(columns, name, values)
    return notes


def _bits(columns: Columns, loss: np.ndarray) -> str:
    """Why the losses of a table are bits, by its own columns; empty where nothing says so."""
    per_byte, n_bytes = above_zero(columns, "bits_per_byte"), above_zero(columns, "bytes_per_token")
    if per_byte is not None and n_bytes is not None:
        ratio = float(np.nanmedian(loss / (per_byte * n_bytes)))
        if abs(ratio - 1) < IN_BITS:
            return "it is bits_per_byte times bytes_per_token"
    initial, vocabulary = above_zero(columns, "loss_initial"), above_zero(columns, "n_vocab")
    if initial is not None and vocabulary is not None:
        ratio = float(np.nanmedian(initial / np.log(vocabulary)))
        if abs(ratio * math.log(2) - 1) < IN_BITS:
            return f"loss_initial is {typed(ratio, 3)} times ln(n_vocab), and a model begins by guessing"
    return ""


def _above_guessing(columns: Columns, name: str, values: np.ndarray) -> list[str]:
    vocabulary = above_zero(columns, "n_vocab")
    if vocabulary is None:
        return []
    over = values - np.log(vocabulary)
    if "status" in columns:
        over = np.where(columns["status"] == "diverged", np.nan, over)
    if not np.any(over > ABOVE_GUESSING):
        return []
    row = int(np.nanargmax(over))
    return [
        f"{name} is {typed(values[row], 3)} in row {row + 1}, and guessing among {vocabulary[row]:.0f} tokens costs "
        f"{typed(np.log(vocabulary[row]), 3)}: are these nats per token, and not bits or perplexities?"
    ]


# --- units of whole columns


def _check_trifle(columns: Columns, naming: Naming) -> None:
    C = above_zero(columns, "flops")
    if C is not None and len(C) > 1 and np.all(C == C[0]) and C[0] < SMALLEST_COMPUTE:
        raise InputError(
            f"{naming.at([0], 'flops')}: found {typed(C[0])}, as in all {len(C)} rows; wanted the FLOP of each run; "
            "correct the column or leave it out"
        )


def _wrong(columns: Columns) -> Wrong | None:
    """The first column whose unit cannot be right in any row or, for compute, in most of them."""
    N, D, C, U = (above_zero(columns, name) for name in ("params", "tokens", "flops", "unique_tokens"))
    for name in ("params", "params_total", "flops", "flops_min"):
        values = above_zero(columns, name)
        if values is None:
            continue
        row = int(np.nanargmax(values))
        if "flops" in name:
            if values[row] < SMALLEST_COMPUTE and N is None:  # else N tells the unit
                return Wrong(row, name, f"found {typed(values[row])}, the largest; wanted FLOP")
            continue
        fractions = bool(np.any(values[np.isfinite(values)] % 1 > 0))
        if values[row] < SMALLEST_LADDER or (values[row] < WHOLE and fractions):
            return Wrong(row, name, f"found {typed(values[row])}, the largest; wanted parameters")
    for name, values in (("tokens", D), ("unique_tokens", U)):
        if values is not None and np.nanmax(values) < SMALLEST_TEXT:
            row = int(np.nanargmax(values))
            beside = "" if N is None else f" tokens for {typed(N[row], 3)} parameters"
            return Wrong(row, name, f"found {typed(values[row])}{beside}, the largest; wanted tokens")
    if N is None:
        return None
    if D is not None and C is not None:
        return _wrong_compute(N, D, C, columns)
    for name, tokens in (("tokens", D), ("flops", None if C is None else C / (6 * N)), ("unique_tokens", U)):
        if tokens is not None and (wrong := _wrong_ratio(N, tokens, name)):
            return wrong
    return None


def _wrong_ratio(N: np.ndarray, D: np.ndarray, name: str) -> Wrong | None:
    """Tokens per parameter, where nothing else can be held against the tokens. `name` is the column they come from."""
    ratio = D / N
    if not np.isfinite(ratio).any():
        return None
    if np.nanmax(ratio) < FEWEST_TOKENS:
        row = int(np.nanargmax(ratio))
        found = (
            f"found {typed(6 * N[row] * D[row])}, which makes {typed(D[row], 3)}"
            if name == "flops"
            else f"found {typed(D[row])}"
        )
        return Wrong(row, name, f"{found} tokens for {typed(N[row], 3)} parameters, and no row has more per parameter")
    if np.nanmin(ratio) > MOST_TOKENS:
        row = int(np.nanargmin(ratio))
        said = f"found {typed(N[row])} with {typed(D[row], 3)} tokens, and no row has fewer per parameter"
        return Wrong(row, "params", f"{said}; wanted parameters")
    return None


def _wrong_compute(N: np.ndarray, D: np.ndarray, C: np.ndarray, columns: Columns) -> Wrong | None:
    """C against 6 N D, which differ by what is counted, and never by orders of magnitude."""
    off, bound = contradiction(N, D, C, columns)
    if not np.isfinite(off).any() or np.nanmedian(off / bound) <= 1:
        return None
    row = int(np.nanargmax(off / bound))
    said = f"found {typed(C[row], 4)}, but 6 params tokens is {typed(6 * N[row] * D[row], 4)}"
    return Wrong(row, "flops", said, float(np.nanmedian(off)))


def _said(wrong: Wrong, columns: Columns, naming: Naming) -> str:
    """What is wrong with a unit, and the way out."""
    where = f"{naming.at([wrong.row], wrong.name)}: {wrong.found}"
    remedy = _remedy(columns, naming)
    if not remedy and wrong.factor:
        return f"{where}; one of the three is off by a factor of about {typed(wrong.factor, 2)}"
    if not remedy:
        return f"{where}; correct the column or leave it out"
    looks = " and ".join(f"{name} looks like {UNITS[factor]}" for name, factor in remedy.items())
    return f"{where}; {looks}; say {naming.line(remedy)}"


def factors(columns: Columns, naming: Naming) -> dict[str, float]:
    """The factors that put the units of columns right, where one of them cannot be; empty where none is wrong."""
    return _remedy(columns, naming) if _wrong(columns) else {}


def _remedy(columns: Columns, naming: Naming) -> dict[str, float]:
    """Factors under which no unit is wrong: those that names such as "Tokens (B)" say, else the most usual ones."""
    choices = {name: FACTORS[name] for name in FACTORS if above_zero(columns, name) is not None}
    own = {name: naming.taken.get(name, name) for name in choices}
    said = {name: (unit_in(text),) for name, text in own.items() if unit_in(text) != 1 and "*" not in text}
    by_name = _best(columns, {**choices, **said}, math.inf) if said else {}
    return by_name or _best(columns, choices, DEAREST)


def _best(columns: Columns, choices: Mapping[str, tuple[float, ...]], least: float) -> dict[str, float]:
    """Of the factors of each column those under which no unit is wrong and whose `_cost` is below `least`, lowest."""
    names, best = list(choices), {}
    for factors in itertools.product(*choices.values()):
        changed = {name: factor for name, factor in zip(names, factors, strict=True) if factor != 1}
        scaled = {**columns, **{name: factor * columns[name] for name, factor in changed.items()}}
        if changed and (cost := sum(_cost(scaled, changed))) < least and not _wrong(scaled):
            best, least = changed, cost
    return best


def _cost(columns: Columns, changed: Mapping[str, float]) -> Iterator[float]:
    """How unusual the units of a table are, in parts that add up, about in decades."""

    def middle(name: str) -> float:
        values = above_zero(columns, name)
        return math.nan if values is None else float(np.nanmedian(np.log10(values)))

    def beyond(value: float, low: float, high: float) -> float:
        return max(low - value, value - high, 0.0) if math.isfinite(value) else 0.0

    N, D, C, U, loss = map(middle, ("params", "tokens", "flops", "unique_tokens", "loss"))
    total = middle("params_total")
    for name, factor in changed.items():
        yield 0.15 + 0.1 * (factor in (1e3, 1e12 if "flops" not in name else 1e9))
    yield 3 * beyond(C - N - D - math.log10(6), -0.3, 0.3)
    yield 3 * beyond(total - N, 0.0, 1.0)
    D = D if math.isfinite(D) else C - N - math.log10(6)
    yield 0.7 * beyond(D - N, 0.3, 2.3)
    yield 0.3 * beyond(U - N, -0.5, 2.5)
    yield 0.3 * beyond(N, 6.0, 11.5) + 0.5 * beyond(D, 5.0, 13.5) + 0.3 * beyond(C, 12.0, 26.0)
    if math.isfinite(loss):
        E, A, alpha, B, beta = CHINCHILLA
        if not math.isfinite(N):
            N = (C - math.log10(6 * 20)) / 2
        D = D if math.isfinite(D) else N + math.log10(20)
        usual = E + A * 10 ** (-alpha * N) + B * 10 ** (-beta * D)
        yield 3 * min(abs(loss - math.log10(usual)), 0.3) if math.isfinite(usual) else 0.0


def _doubtful_compute(N: np.ndarray, D: np.ndarray, C: np.ndarray, columns: Columns, naming: Naming) -> list[str]:
    """What C counts beside N, where it is not 6 N D."""
    off, _ = contradiction(N, D, C, columns)
    if not np.isfinite(off).any() or np.nanmax(off) <= DOUBTFUL:
        return []
    reuse = above_zero(columns, "reuse")
    ratio = C / (6 * D * (N if reuse is None else N * np.fmax(reuse, 1.0)))
    known = np.isfinite(ratio)
    x, y = np.log(N[known]), np.log(ratio[known])
    slope = float(np.polyfit(x, y, 1)[0]) if np.ptp(x) > 0 else 0.0
    ends = sorted(float(typed(np.exp(end), 3)) for end in (y.min(), y.max()))
    span = typed(ends[0]) if ends[0] == ends[1] else f"{typed(ends[0])} to {typed(ends[1])}"
    said = f"flops are {span} times 6 params tokens (most off in {naming.rows([int(np.nanargmax(off))])})"
    if abs(slope) < LEVEL_SLOPE:
        third = (
            " (a third is what a forward pass alone takes)" if abs(float(np.median(y)) - math.log(1 / 3)) < 0.1 else ""
        )
        return [f"{said}, alike at all sizes: is one factor missing in one of them{third}?"]
    most = float(y[np.argmax(np.abs(y))])
    nearer = "nearer to it" if slope * most < 0 else "farther from it"
    if slope > 0 > most:
        why = "params seem to count embeddings that the flops leave out"
    elif slope < 0 < most:
        why = "the flops seem to count a head, embeddings or attention that params leave out"
    else:
        why = "is the same N, with or without embeddings, in both?"
    return [f"{said}, {nearer} at larger params (power {slope:+.2f} of params): {why}"]
