"""What follows from the columns of a table, and whether their units can be right.

Bounds are far outside anything that was ever trained, so that an honest table is never refused: the smallest model of
Kaplan et al. (2020) has 768 parameters and sees 2e8 tokens for each, their largest one 0.01.
"""

from collections.abc import Mapping

import numpy as np

from scaling.errors import InputError

SMALLEST_LADDER = 100.0  # parameters: the largest model of a table has more
WHOLE = 1e5  # parameters: below that many a count is a whole number, and 70.5 stands for millions
SMALLEST_COMPUTE = 1e5  # FLOP: a thousand parameters and twenty tokens
FEWEST_TOKENS = 1e-3  # per parameter, in the row that has most
MOST_TOKENS = 1e7  # per parameter, in the row that has fewest
CONTRADICTION = 30.0  # times between C and 6 N D: what is counted explains less
LOGITS = 1e5  # over sqrt(N): so many times 6 N D are the logits of 256 thousand tokens on a single narrow layer
DOUBTFUL = 3.0
LARGE_LOSS = 15.0  # nats/token: a guess among three million tokens, more than any vocabulary has
ABOVE_GUESSING = 1.0  # nats/token over ln(vocabulary) that an honest loss stays below
# What a column may count in instead, with the factor as one would write it; the last ones for compute alone.
UNITS = {
    "thousands": "1e3",
    "millions": "1e6",
    "billions": "1e9",
    "trillions": "1e12",
    "1e15 FLOP": "1e15",
    "1e18 FLOP": "1e18",
    "PF-days": "8.64e19",
    "1e21 FLOP": "1e21",
}

Columns = Mapping[str, np.ndarray]


def completed(columns: Columns, source: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The columns with those that follow from others, and a note on each of these and on what is doubtful.

    tokens = C / 6N, flops = 6ND, epochs = tokens / unique_tokens, where a column is missing.

    Raises:
        InputError: a column that must be in other units, or a row whose C contradicts its N and D.
    """
    found = dict(columns)
    _check_each(found, source)
    notes = _doubtful_losses(found)
    N, D, C = (_positive(found, name) for name in ("params", "tokens", "flops"))
    if N is not None and C is not None and D is None:
        found["tokens"] = D = C / (6 * N)
        notes.append("tokens was missing: taken as flops / (6 params)")
        _check_ratio(N, D, "flops", source)
    elif N is not None and D is not None and C is None:
        found["flops"] = 6 * N * D
        notes.append("flops was missing: taken as 6 params tokens")
        _check_ratio(N, D, "tokens", source)
    elif N is not None and D is not None and C is not None:
        reuse = _positive(found, "reuse")  # of layers: their parameters count once in N, each time in C
        used = N if reuse is None else N * np.fmax(reuse, 1.0)
        notes += _check_compute(used, D, C, _positive(found, "experts"), source)
    U = _positive(found, "unique_tokens")
    if N is not None and U is not None:
        _check_ratio(N, U, "unique_tokens", source)
    if D is not None and U is not None and _positive(found, "epochs") is None:
        found["epochs"] = D / U
    return found, tuple(notes)


def _positive(columns: Columns, name: str) -> np.ndarray | None:
    """The column with NaN for cells that are no numbers above 0; None where none is left."""
    values = columns.get(name)
    if values is None or values.dtype.kind != "f":
        return None
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    return values if np.isfinite(values).any() else None


def _doubtful_losses(columns: Columns) -> list[str]:
    """Losses that nats per token cannot be: perplexities, bits, or sums."""
    notes = []
    for name in ("loss", "loss_min"):
        values = _positive(columns, name)
        if values is None:
            continue
        low = float(np.nanmin(values))
        if low > LARGE_LOSS:
            notes.append(f"{name} is {low:.3g} or more in all rows: are these nats per token, and not perplexities?")
            continue
        vocabulary = _positive(columns, "n_vocab")
        if vocabulary is None:
            continue
        over = values - np.log(vocabulary)
        if "status" in columns:
            over = np.where(columns["status"] == "diverged", np.nan, over)
        if np.any(over > ABOVE_GUESSING):
            row = int(np.nanargmax(over))
            notes.append(
                f"{name} is {values[row]:.3g} in row {row + 1}, and guessing among {vocabulary[row]:.0f} tokens costs "
                f"{np.log(vocabulary[row]):.3g}: are these nats per token, and not bits or perplexities?"
            )
    return notes


def _check_each(columns: Columns, source: str) -> None:
    """Columns that are wrong by themselves."""
    C = _positive(columns, "flops")
    if C is not None and len(C) > 1 and np.all(C == C[0]) and C[0] < SMALLEST_COMPUTE:
        raise InputError(
            f"{source}, row 1, column flops: found {C[0]:g}, as in all {len(C)} rows; wanted the FLOP of each run; "
            "correct the column or leave it out"
        )
    for name in ("params", "params_total", "flops", "flops_min"):
        values = _positive(columns, name)
        if values is None:
            continue
        row = int(np.nanargmax(values))
        found = f"{source}, row {row + 1}, column {name}: found {values[row]:g}, the largest"
        if "flops" in name:
            if values[row] < SMALLEST_COMPUTE and "params" not in columns:  # else N tells the unit
                raise InputError(
                    f'{found}; wanted FLOP, this looks like PF-days or 1e18 FLOP; say {name}="8.64e19*{name}", or 1e18'
                )
            continue
        known = values[np.isfinite(values)]
        if values[row] < SMALLEST_LADDER or (values[row] < WHOLE and np.any(known % 1 > 0)):
            tokens = _positive(columns, "tokens")
            also = ' tokens="1e9*tokens"' if tokens is not None and np.nanmax(tokens) < 1e6 else ""
            raise InputError(
                f"{found}; wanted parameters, this looks like billions or millions; "
                f'say {name}="1e9*{name}"{also}, or 1e6'
            )


def _check_ratio(N: np.ndarray, D: np.ndarray, name: str, source: str) -> None:
    """Tokens per parameter, where nothing else can be held against the tokens. `name` is the column they come from."""
    ratio = D / N
    if np.nanmax(ratio) < FEWEST_TOKENS:
        row = int(np.nanargmax(ratio))
        unit, factor = _unit(20 / float(np.nanmedian(ratio)), compute=name == "flops")
        found = f"found {6 * N[row] * D[row]:g}, which makes {D[row]:.3g}" if name == "flops" else f"found {D[row]:g}"
        raise InputError(
            f"{source}, row {row + 1}, column {name}: {found} tokens for {N[row]:.3g} parameters, and no row has more "
            f'per parameter; this looks like {unit}; say {name}="{factor}*{name}"'
        )
    if np.nanmin(ratio) > MOST_TOKENS:
        row = int(np.nanargmin(ratio))
        unit, factor = _unit(float(np.nanmedian(ratio)) / 20, compute=False)
        raise InputError(
            f"{source}, row {row + 1}, column params: found {N[row]:g} with {D[row]:.3g} tokens, and no row has fewer "
            f'per parameter; wanted parameters, this looks like {unit}; say params="{factor}*params"'
        )


def _check_compute(N: np.ndarray, D: np.ndarray, C: np.ndarray, experts: np.ndarray | None, source: str) -> list[str]:
    """C against 6 N D, which differ by what is counted, and never by orders of magnitude."""
    ratio = C / (6 * N * D)
    off = np.maximum(ratio, 1 / ratio)
    if not np.isfinite(off).any():
        return []
    bound = np.where(ratio > 1, np.maximum(CONTRADICTION, LOGITS / np.sqrt(N)), CONTRADICTION)
    if experts is not None:  # all of them may be counted in N, and few of them work for a token
        bound = bound * np.fmax(experts, 1.0)
    row = int(np.nanargmax(off / bound))
    where = f"{source}, row {row + 1}, column flops"
    says = f"found {C[row]:.4g}, but 6 params tokens is {6 * N[row] * D[row]:.4g}"
    if off[row] > bound[row]:
        if np.nanmedian(off / bound) <= 1:
            raise InputError(f"{where}: {says}; correct the row, or leave it out")
        if np.nanmedian(ratio) < 1:
            unit, factor = _unit(1 / float(np.nanmedian(ratio)), compute=True)
            raise InputError(f'{where}: {says}; wanted FLOP, this looks like {unit}; say flops="{factor}*flops"')
        factor, ratio_DN = float(np.nanmedian(ratio)), float(np.nanmedian(D / N))
        if FEWEST_TOKENS <= ratio_DN <= MOST_TOKENS:
            if np.nanmax(N) >= WHOLE:
                raise InputError(f"{where}: {says}; one of the three is off by a factor of about {factor:.2g}")
            unit, each = _unit(factor**0.5, compute=False)
            raise InputError(
                f'{where}: {says}; N and D look like {unit}; say params="{each}*params" tokens="{each}*tokens"'
            )
        name = "params" if ratio_DN > MOST_TOKENS else "tokens"
        unit, each = _unit(factor, compute=False)
        raise InputError(f'{where}: {says}; {name} looks like {unit}; say {name}="{each}*{name}"')
    row = int(np.nanargmax(off))
    if off[row] > DOUBTFUL:
        return [
            f"flops and 6 params tokens differ by up to {off[row]:.3g} times (row {row + 1}): is the same N, with or "
            "without embeddings, in both?"
        ]
    return []


def _unit(factor: float, *, compute: bool) -> tuple[str, str]:
    """The unit nearest to a factor that is missing, and what to multiply by."""
    names = UNITS if compute else dict(list(UNITS.items())[:4])
    name = min(names, key=lambda one: abs(np.log(float(names[one]) / factor)))
    return name, names[name]
