"""Intervals by leaving out: B_crit(L) without one batch size at a time, L(N, S_min) and the path without one size."""

import contextlib
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from analysis.batch_size import Critical, with_minima
from analysis.confidence import LEVEL, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Fit, Interval
from analysis.laws import KaplanBCrit, KaplanNS
from analysis.papers.claim import Undecided
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
        scans: the critical batches without each of them.
    """

    whole: np.ndarray
    without: np.ndarray
    scans: tuple[Critical, ...]

    @property
    def laws(self) -> list[KaplanBCrit]:
        """B_crit(L) without each of the batches."""
        return [KaplanBCrit(B_star=math.exp(star), alpha_B=1 / power) for power, star in self.without]

    def half(self, weights: Sequence[float]) -> float:
        """Half width of the interval of a weighted sum of 1 / alpha_B and ln B_*."""
        return jackknife(self.without @ np.asarray(weights, float))

    @property
    def alpha_B(self) -> Interval:
        power, half = float(self.whole[0]), self.half((1, 0))
        return 1 / (power + half), 1 / (power - half) if power > half else math.inf

    @property
    def B_star(self) -> Interval:
        half = self.half((0, 1))
        return math.exp(self.whole[1] - half), math.exp(self.whole[1] + half)

    def of_ln_B_crit(self, loss: float) -> float:
        """Half width of the interval of ln B_crit at a loss."""
        return self.half((-math.log(loss), 1))


def batches_left_out(curves: Table, whole: Fit, onsets: Mapping[float, float]) -> Left:
    """The chain without each batch size.

    Args:
        curves: of the experiment batch, past the warm-up.
        whole: the fit to all of them.
        onsets: by N, the loss from which on critical batches are read.

    Raises:
        Undecided: it breaks without one of them.
    """
    column = curves["batch_tokens"]
    sizes = np.unique(column)
    without, scans = [], []
    for B in sizes:
        try:
            law, scan = fits.of_scans(curves.where(column != B, f"batches of {B:.0f} tokens left out"), onsets)
        except InputError:
            break
        without.append(_powers(law.fit))
        scans.append(scan)
    if len(sizes) < 3 or len(without) < len(sizes):
        raise Undecided("B_crit(L) cannot be fitted without one of the batch sizes")
    return Left(_powers(whole), np.array(without), tuple(scans))


def _powers(law: Fit) -> np.ndarray:
    return np.array([1 / law.constants["alpha_B"], math.log(law.constants["B_star"])])


def paths_left_out(curves: Table, compute: str) -> list[dict[str, float]]:
    """The powers with which the columns of `fits.best_sizes` grow with compute, without each of the sizes.

    Which size is best where rests on single curves, which the scatter of the best sizes about their line does not tell.
    A size without which no line is left says nothing.
    """
    found = []
    for N in np.unique(curves["params"]):
        try:
            points = fits.best_sizes(curves.where(curves["params"] != N, f"N = {N:.0f} left out"), compute)
        except InputError:
            continue
        if len(points) < 3:
            continue
        C = np.log(points[compute])
        found.append({name: float(np.polyfit(C, np.log(points[name]), 1)[0]) for name in points.columns})
    return found


def sizes_left_out(curves: Table, whole: Fit) -> list[KaplanNS]:
    """L(N, S_min) without each of the sizes.

    Args:
        curves: with steps_min.
        whole: the fit to all of them, where each of the others begins.

    Raises:
        Undecided: one of these fits is not sound.
    """
    start = np.array([list(whole.constants.values())])
    found = []
    for N in np.unique(curves["params"]):
        rest = curves.where(curves["params"] != N, f"N = {N:.0f} left out")
        try:
            law = fit(KaplanNS, rest, loss="squared", clusters="run", starts=start)
        except InputError:
            break
        if not law.sound:
            break
        found.append(law.law)
    if len(found) < len(np.unique(curves["params"])):
        raise Undecided("L(N, S_min) cannot be fitted without one of the sizes")
    return found


def with_other_batches(curves: Table, whole: Fit, batches: Sequence[KaplanBCrit]) -> list[KaplanNS]:
    """L(N, S_min) with S_min by each of other laws of the critical batch; those that are not sound are left out.

    Args:
        curves: with steps_min.
        whole: the fit to all of them, where each of the others begins.
    """
    start = np.array([list(whole.constants.values())])
    found = []
    for law in batches:
        with contextlib.suppress(InputError):
            own = with_minima(curves, law)
            found.append(fit(KaplanNS, own, loss="squared", clusters="run", starts=start))
    return [one.law for one in found if one.sound]


def jackknife(values: ArrayLike) -> float:
    """Half width of a jackknife interval; infinite for fewer than three. values: without each part, shape (n)."""
    values = np.asarray(values, float)
    if len(values) < 3:
        return math.inf
    n = len(values)
    error = math.sqrt((n - 1) / n * float(((values - values.mean()) ** 2).sum()))
    return float(t_quantile(LEVEL, np.array(n - 1.0))) * error
