"""Two ladders held against each other: how much more compute the one needs for the loss of the other."""

import dataclasses
import math
from typing import Any

import numpy as np

from analysis.fit import Fit, fit
from analysis.frontier import percentile_interval
from analysis.laws import Law
from analysis.prices import compute_for
from analysis.table import Table
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class Gain:
    """Compute that ladder A needs over what B needs for one loss, with its interval."""

    loss: float
    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Compute-equivalent gain of ladder B over ladder A along the losses that both reach, highest loss first.

    Above 1, B is the better recipe: A would need `value` times its compute. `gains[-1]` is at the lowest loss both
    reached, the end that matters for larger runs.
    """

    gains: tuple[Gain, ...]
    A: Fit
    B: Fit
    notes: tuple[str, ...]

    def text(self) -> str:
        lines = [
            f"loss {g.loss:.4f}: B saves a factor {g.value:.3f} ({g.low:.3f} to {g.high:.3f}) in compute"
            for g in self.gains
        ]
        last = self.gains[-1]
        verdict = "B is better" if last.low > 1 else "A is better" if last.high < 1 else "no difference is shown"
        return "\n".join(
            [
                *lines,
                f"At the lowest loss both reach, {verdict} ({self.A.level:.0%} interval).",
                *(f"Note: {n}" for n in self.notes),
            ]
        )


def compare(
    A: Table, B: Table, *, law: type[Law] | str = "kaplan-c", n_losses: int = 3, bootstrap: int = 400, seed: int = 0
) -> Comparison:
    """How much compute ladder B saves against ladder A, by the law fitted to each; intervals from bootstraps of the
    runs of both.

    Args:
        A, B: ladders, one row per run, counted and evaluated alike.
        law: a law of compute (kaplan-c, henighan-c), fitted to each ladder's envelope, or of (params, tokens), whose
            optimum is taken.
        n_losses: losses at which to compare, over the range that both ladders reach.

    Raises:
        InputError: the ladders share no losses.
    """
    fits = [fit(law, table, loss="squared", bootstrap=bootstrap, seed=seed + i) for i, table in enumerate((A, B))]
    seen = [np.asarray(table.positive(f.target)[0], float) for table, f in zip((A, B), fits, strict=True)]
    high, low = min(s.max() for s in seen), max(s.min() for s in seen)
    if low > high:
        raise InputError(
            f"the ladders share no losses: one ends at {low:.4g}, the other begins at {high:.4g}; train them further"
        )
    gains = []
    for loss in np.geomspace(high, low, n_losses):
        value = _compute_of(fits[0].law, loss) / _compute_of(fits[1].law, loss)
        draws = [[_compute_of(type(f.law)(*c), loss) for c in f.draws] for f in fits]
        n = min(map(len, draws))
        ratio = np.array(draws[0][:n]) / np.array(draws[1][:n])
        low_end, high_end = percentile_interval(ratio[np.isfinite(ratio)])
        gains.append(Gain(float(loss), float(value), low_end, high_end))
    notes = [f"{name}: {f.status}, {f.why}" for name, f in zip("AB", fits, strict=True) if f.status != "converged"]
    notes += _unlike(A, B)
    return Comparison(tuple(gains), fits[0], fits[1], tuple(notes))


def _compute_of(law: Any, loss: float) -> float:
    """C at which a law reaches a loss: of compute by bisection, of (params, tokens) at its optimum; nan where it never
    does.
    """
    if law.inputs != ("flops",):
        try:
            return float(compute_for(law, loss).flops)
        except InputError:
            return math.nan
    low, high = math.log(1e3), math.log(1e40)
    if float(law(math.exp(high))) > loss:
        return math.nan
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if float(law(math.exp(middle))) > loss else (low, middle)
    return math.exp(high)


def _unlike(A: Table, B: Table) -> list[str]:
    """What differs between the tables that would make their losses or FLOP incomparable."""
    notes = []
    for column, what in (
        ("n_vocab", "vocabularies, so their losses per token do not compare: use bits per byte"),
        ("n_ctx", "contexts"),
    ):
        if column in A and column in B and set(A[column]) != set(B[column]):
            notes.append(f"the ladders have different {what}")
    return notes
