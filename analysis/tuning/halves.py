"""Whether a law of rates changes between few and many tokens per parameter, and whether two laws have one slope."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis import digits
from analysis.confidence import LEVEL, t_quantile
from analysis.tuning import line
from analysis.tuning.bowls import Array
from analysis.tuning.line import Test

LIMIT = 60.0  # tokens per parameter between the halves: published sweeps on either side of it find other exponents
SURE = 0.05  # a difference that chance alone makes less often is called significant

Ends = tuple[float, float, float]  # an estimate and its interval


class Halves(NamedTuple):
    """The exponents of a law below and above LIMIT tokens per parameter.

    Attributes:
        bowls: below, above.
        exponents: letter -> below, above.
        differ: whether they do.
    """

    bowls: tuple[int, int]
    exponents: dict[str, tuple[Ends, Ends]]
    differ: Test

    @property
    def significant(self) -> bool:
        return self.differ.p < SURE

    def sentence(self) -> str:
        limit, (few, many) = f"D/N = {LIMIT:.0f}", self.bowls
        if not self.significant:
            return (
                f"The exponents below and above {limit} ({few} and {many} bowls) do not differ significantly "
                f"({said(self.differ)})."
            )
        each = "; ".join(
            f"of {letter} {_said(below)} and {_said(above)}" for letter, (below, above) in self.exponents.items()
        )
        return f"The exponents below and above {limit} ({few} and {many} bowls) differ ({said(self.differ)}): {each}."


def split(X: Array, letters: Sequence[str], y: Array, error: Array, shared: Array, ratio: Array) -> Halves | str:
    """Both halves by one line whose exponents may change at LIMIT, or why that cannot be asked.

    Args:
        X: n 1+k and more, ones first, then ln of what `letters` name, k; columns beyond them are common to both halves.
        y, error, shared: as `line.through` takes them, n.
        ratio: D/N, n.
    """
    above = ratio >= LIMIT
    counts = int((~above).sum()), int(above.sum())
    where = [
        k for k in range(1, len(letters) + 1) if all(np.ptp(X[half, k]) > 0 for half in (~above, above) if half.any())
    ]
    many = above.astype(np.float64)
    both = np.column_stack([X, many, X[:, where] * many[:, None]])
    if min(counts) < 3 or not where or not line.identified(both):
        return (
            f"Whether the exponents change at D/N = {LIMIT:.0f} was not tested: {counts[0]} bowls below and "
            f"{counts[1]} above do not tell both halves' constants."
        )
    found = line.through(both, y, error, shared)
    n, k = X.shape[1] + 1, len(where)
    half = float(t_quantile(LEVEL, np.array(float(found.degrees))))

    def ends(pick: Array) -> Ends:
        value, wide = float(pick @ found.beta), half * float(pick @ found.covariance @ pick) ** 0.5
        return value, value - wide, value + wide

    exponents = {}
    for place, column in enumerate(where, n):
        pick = np.zeros(len(found.beta))
        pick[column] = 1.0
        below = ends(pick)
        pick[place] = 1.0
        exponents[letters[column - 1]] = below, ends(pick)
    differ = line.nonzero(found.beta[n : n + k], found.covariance[n : n + k, n : n + k], found.degrees)
    return Halves(counts, exponents, differ)


def said(test: Test) -> str:
    """A test in a few words: F = 3.2, p = 0.012."""
    p = f"p = {test.p:.2g}" if test.p >= 1e-4 else "p < 0.0001"
    return f"F = {test.F:.2g}, {p}"


def _said(ends: Ends) -> str:
    value, interval = digits.constant(*ends)
    return f"{value} ({interval})"
