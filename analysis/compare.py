"""Two ladders held against each other: how much more compute the one needs for the loss of the other."""

import dataclasses
import math
from typing import Any

import numpy as np

from analysis.fit import Fit, fit
from analysis.frontier import finished
from analysis.intervals import t_quantile
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

    @property
    def verdict(self) -> str:
        last = self.gains[-1]
        return "B is better" if last.low > 1 else "A is better" if last.high < 1 else "no difference is shown"

    def to_dict(self) -> dict[str, Any]:
        return {
            "gains": [dataclasses.asdict(gain) for gain in self.gains],
            "level": self.A.level,
            "verdict": self.verdict,
            "A": self.A.to_dict(),
            "B": self.B.to_dict(),
            "notes": list(self.notes),
        }

    def text(self) -> str:
        lines = [f"Compute that A needs over what B needs, by {self.A.law.name} ({self.A.level:.0%} intervals)"]
        lines += [f"  loss {g.loss:.4f}   {g.value:.3f}  ({g.low:.3f} to {g.high:.3f})" for g in self.gains]
        lines.append(f"At the lowest loss that both reach, {self.verdict}.")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def compare(A: Table, B: Table, *, law: type[Law] | str = "kaplan-c", n_losses: int = 3) -> Comparison:
    """The compute-equivalent gain of ladder B over ladder A.

    The law is fitted to each by least squares in ln L. The interval of the ratio of computes is Student's t in its
    logarithm, the variances of the two fits added and their degrees of freedom joined as Welch does.

    Args:
        A, B: ladders, one row per run, counted and evaluated alike.
        law: of compute (kaplan-c, henighan-c), fitted to each ladder's envelope, or of (params, tokens), whose optimum
            is taken.
        n_losses: losses at which to compare, evenly spread over the range that both ladders reach.

    Raises:
        InputError: the ladders share no losses.
    """
    A, B = finished(A), finished(B)
    fits = fit(law, A, loss="squared"), fit(law, B, loss="squared")
    seen = [table.positive(f.target)[0] for table, f in zip((A, B), fits, strict=True)]
    high, low = min(s.max() for s in seen), max(s.min() for s in seen)
    if low > high:
        raise InputError(
            f"the ladders share no losses: one ends at {low:.4g}, the other begins at {high:.4g}; extend one"
        )
    losses = np.geomspace(high, low, n_losses)
    parts = [f.derived(lambda one: np.array([compute_at(one, loss) for loss in losses]), log=True) for f in fits]
    centre = np.log(parts[0].value / parts[1].value)
    variances = [
        (np.log(part.high / part.value) / t_quantile(f.level, np.asarray(f.degrees))) ** 2
        for part, f in zip(parts, fits, strict=True)
    ]
    total = variances[0] + variances[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        degrees = total**2 / sum(v**2 / f.degrees for v, f in zip(variances, fits, strict=True))
    half = t_quantile(fits[0].level, np.nan_to_num(np.asarray(degrees), nan=1.0)) * np.sqrt(total)
    gains = tuple(
        Gain(*map(float, row)) for row in zip(losses, *np.exp([centre, centre - half, centre + half]), strict=True)
    )
    notes = [f"{name}: {f.status}, {f.why}" for name, f in zip("AB", fits, strict=True) if f.status != "converged"]
    return Comparison(gains, *fits, notes=(*notes, *_unlike(A, B)))


def compute_at(law: Any, loss: float) -> float:
    """The C at which a law reaches a loss: of compute itself, or of (params, tokens) at its optimum; nan where it never
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
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(law(math.exp(middle))) > loss else (low, middle)
    return math.exp((low + high) / 2)


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
