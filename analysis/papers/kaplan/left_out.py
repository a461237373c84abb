"""Intervals by leaving out: B_crit(L) without one batch size at a time, L(N, S_min) and the path without one size."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from analysis.confidence import LEVEL, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.laws import KaplanNS
from analysis.papers.kaplan import fits
from analysis.table import Table
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class Left:
    """B_crit(L) = B_* / L^(1 / alpha_B) from all batches and without each of them.

    The losses along a run are not independent and share their batches, so the scatter of B_crit about the law is no
    measure of its error; leaving batches out is. Intervals by the jackknife.

    Attributes:
        whole: 1 / alpha_B and ln B_* from all batches.
        without: the same without each of them, shape (n, 2).
    """

    whole: np.ndarray
    without: np.ndarray

    def half(self, weights: Sequence[float]) -> float:
        """Half width of the interval of a weighted sum of 1 / alpha_B and ln B_*."""
        return jackknife(self.without @ np.asarray(weights, float))

    @property
    def alpha_B(self) -> tuple[float, float]:
        power, half = float(self.whole[0]), self.half((1, 0))
        return 1 / (power + half), 1 / (power - half) if power > half else math.inf

    @property
    def B_star(self) -> tuple[float, float]:
        half = self.half((0, 1))
        return math.exp(self.whole[1] - half), math.exp(self.whole[1] + half)

    def of_ln_B_crit(self, loss: float) -> float:
        """Half width of the interval of ln B_crit at a loss."""
        return self.half((-math.log(loss), 1))


@functools.lru_cache(maxsize=fits.KEPT)
def left_out(curves: Table, whole: Fit) -> Left | None:
    """The chain without each batch size; None where it breaks without one of them.

    Args:
        curves: of the experiment batch, as `fits.curves_of` gives them.
        whole: the fit to all of them.
    """
    column = curves["batch_tokens"]
    sizes = np.unique(column)
    if len(sizes) < 3:
        return None
    without = []
    for B in sizes:
        finding, _ = fits.of_scans(curves.where(column != B, f"batches of {B:.0f} tokens left out"))
        if finding.fit is None:
            return None
        without.append(_powers(finding.fit))
    return Left(_powers(whole), np.array(without))


def _powers(law: Fit) -> np.ndarray:
    return np.array([1 / law.constants["alpha_B"], math.log(law.constants["B_star"])])


def half_of_path(curves: Table, compute: str, column: str) -> float:
    """Half width of the interval of the power with which a column of `fits.best_sizes` grows with compute.

    Which size is best where rests on single curves, which the scatter of the best sizes about their line does not tell.
    A size without which no line is left says nothing; 0 where fewer than three can be left out.
    """
    powers = np.array([each[column] for each in _paths(curves, compute)])
    return jackknife(powers) if len(powers) > 2 else 0.0


@functools.lru_cache(maxsize=fits.KEPT)
def _paths(curves: Table, compute: str) -> tuple[dict[str, float], ...]:
    """The powers of all columns, without each of the sizes."""
    found = []
    for N in np.unique(curves["params"]):
        try:
            _, points = fits.best_sizes(curves.where(curves["params"] != N, f"N = {N:.0f} left out"), compute)
        except InputError:
            continue
        if len(points) < 3:
            continue
        C = np.log(points[compute])
        found.append({name: float(np.polyfit(C, np.log(points[name]), 1)[0]) for name in points.columns})
    return tuple(found)


@functools.lru_cache(maxsize=fits.KEPT)
def without_sizes(curves: Table, whole: Fit) -> tuple[KaplanNS, ...]:
    """L(N, S_min) without each of the sizes; none at all where one of these fits is not sound.

    Args:
        curves: with steps_min, as `fits.adjusted` gives them.
        whole: the fit to all of them, where each of the others begins.
    """
    start = np.array([list(whole.constants.values())])
    found = []
    for N in np.unique(curves["params"]):
        rest = curves.where(curves["params"] != N, f"N = {N:.0f} left out")
        try:
            law = fit(KaplanNS, rest, loss="squared", clusters="run", starts=start)
        except InputError:
            return ()
        if law.status != "converged":
            return ()
        found.append(law.law)
    return tuple(found)


def jackknife(values: ArrayLike) -> float:
    """Half width of a jackknife interval; infinite for fewer than three. values: without each part, shape (n)."""
    values = np.asarray(values, float)
    if len(values) < 3:
        return math.inf
    n = len(values)
    error = math.sqrt((n - 1) / n * float(((values - values.mean()) ** 2).sum()))
    return float(t_quantile(LEVEL, np.array(n - 1.0))) * error
