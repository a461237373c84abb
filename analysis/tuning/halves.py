"""Whether a law of rates changes between few and many tokens per parameter, and whether two laws have one slope."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis import digits
from analysis.confidence import LEVEL, t_quantile
from analysis.tuning import line
from analysis.tuning.bowls import Array
from analysis.tuning.line import Test

LIMIT = 60.0  # tokens per parameter between the halves: published sweeps on either side of it find other exponents
SURE = 0.05  # a difference that chance alone makes less often is called significant

Ends = tuple[float, float, float]  # an estimate and its interval


class Halves(NamedTuple):
    """The exponents of a law below and above a number of tokens per parameter.

    Attributes:
        bowls: below, above.
        exponents: letter -> below, above.
        differ: whether they do, all together.
        each: letter -> whether its exponent does.
        limit: tokens per parameter between the halves: LIMIT, or the middle of the table where that lies to one side.
    """

    bowls: tuple[int, int]
    exponents: dict[str, tuple[Ends, Ends]]
    differ: Test
    each: dict[str, Test]
    limit: float = LIMIT

    @property
    def chance(self) -> float:
        """How often exponents that do not change look so different, all together or one of them."""
        tests = [self.differ.p] if len(self.each) < 2 else [self.differ.p, len(self.each) * self._most.p]
        return min(1.0, len(tests) * min(tests))

    @property
    def _most(self) -> Test:
        return min(self.each.values(), key=lambda test: test.p)

    @property
    def significant(self) -> bool:
        return self.chance < SURE

    def sentence(self) -> str:
        """Whether they differ, and both exponents in either case."""
        few, many = self.bowls
        each = "; ".join(
            f"of {letter} {_said(below)} and {_said(above)}" for letter, (below, above) in self.exponents.items()
        )
        alone = len(self.each) > 1 and len(self.each) * self._most.p < self.differ.p
        letter = next(letter for letter, test in self.each.items() if test is self._most)
        why = f"{letter}: {said(self._most)}" if alone else said(self.differ)
        differ = "differ" if self.significant else "do not differ significantly"
        return (
            f"The exponents below and above D/N = {digits.short(float(f'{self.limit:.2g}'))} ({few} and {many} bowls) "
            f"{differ} ({why}): {each}."
        )


def split(X: Array, letters: Sequence[str], y: Array, error: Array, shared: Array, ratio: Array) -> Halves | str:
    """Both halves by one line whose exponents may change between them, or why that cannot be asked.

    They are divided at LIMIT, else at the middle of the table. Where the bowls tell not all exponents of both halves,
    each may change by itself.

    Args:
        X: n 1+k and more, ones first, then ln of what `letters` name, k; columns beyond them are common to both halves.
        y, error, shared: as `line.through` takes them, n.
        ratio: D/N, n.
    """
    found = _at(LIMIT, X, letters, y, error, shared, ratio)
    if isinstance(found, Halves):
        return found
    middle = float(np.exp(np.median(np.log(ratio))))
    other = _at(middle, X, letters, y, error, shared, ratio)
    return other if isinstance(other, Halves) else found


def _at(
    limit: float, X: Array, letters: Sequence[str], y: Array, error: Array, shared: Array, ratio: Array
) -> Halves | str:
    above = ratio >= limit
    counts = int((~above).sum()), int(above.sum())
    where = [
        k for k in range(1, len(letters) + 1) if all(np.ptp(X[half, k]) > 0 for half in (~above, above) if half.any())
    ]
    groups = [where, *([k] for k in where)] if len(where) > 1 else [where]
    if min(counts) >= 3:
        whole = [_changing(X, group, y, error, shared, above) for group in groups]
        told = [one for one in (whole[:1] if whole[0] else whole[1:]) if one]
        if told:
            exponents = {letters[k - 1]: ends for one in told for k, ends in one[0].items()}
            each = {letters[k - 1]: test for one in told for k, test in one[2].items()}
            differ = told[0][1] if whole[0] else _one_of(each.values())
            return Halves(counts, exponents, differ, each, limit)
    return (
        f"Whether the exponents change at D/N = {limit:.0f} was not tested: {counts[0]} bowls below and "
        f"{counts[1]} above do not tell both halves' constants."
    )


def _one_of(tests: Iterable[Test]) -> Test:
    """The clearest of several tests, its p that of any of them."""
    tests = list(tests)
    clearest = min(tests, key=lambda test: test.p)
    return clearest._replace(p=min(1.0, len(tests) * clearest.p))


def _changing(
    X: Array, where: Sequence[int], y: Array, error: Array, shared: Array, above: NDArray[np.bool_]
) -> tuple[dict[int, tuple[Ends, Ends]], Test, dict[int, Test]] | None:
    """Exponents of columns of X below and above, whether they differ together, and each; None where unidentified."""
    many = above.astype(np.float64)
    both = np.column_stack([X, many, X[:, where] * many[:, None]])
    if not where or not line.identified(both):
        return None
    found = line.through(both, y, error, shared)
    n = X.shape[1] + 1
    half = float(t_quantile(LEVEL, np.array(float(found.degrees))))

    def ends(pick: Array) -> Ends:
        value, wide = float(pick @ found.beta), half * float(pick @ found.covariance @ pick) ** 0.5
        return value, value - wide, value + wide

    exponents, each = {}, {}
    for place, column in enumerate(where, n):
        pick = np.zeros(len(found.beta))
        pick[column] = 1.0
        below = ends(pick)
        pick[place] = 1.0
        exponents[column] = below, ends(pick)
        at = slice(place, place + 1)
        each[column] = line.nonzero(found.beta[at], found.covariance[at, at], found.degrees)
    at = slice(n, n + len(where))
    return exponents, line.nonzero(found.beta[at], found.covariance[at, at], found.degrees), each


def said(test: Test) -> str:
    """A test in a few words: F = 3.2, p = 0.012."""
    p = f"p = {test.p:.2g}" if test.p >= 1e-4 else "p < 0.0001"
    return f"F = {digits.typed(test.F, 2)}, {p}"


def _said(ends: Ends) -> str:
    value, interval = digits.constant(*ends)
    return f"{value} ({interval})"
