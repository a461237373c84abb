"""The collapse of normalised loss curves, Qiu et al. (2025), arXiv 2507.02119.

With tokens in proportion to N, (L(x) - L_0) / (L(1) - L_0) over the share x of the run that is done is one curve for
all sizes. A wrong L_0 parts the curves by size. A run that leaves those of its size and its neighbours was trained
otherwise, or by a rate or a length that do not suit it.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from analysis.papers.claim import Undecided
from analysis.schedule_forecast import Curve

Array = NDArray[np.float64]

FEWEST = 3  # sizes from which L_0 and the power law through the ends are known
STEEP = (0.02, 1.5)  # exponents of C between which the best one is looked for
FIRST = 0.2  # share of the run from which curves are held against one another: after the warm-up
SHARES = 24  # places between it and the end
LEAVES = 4.0  # times what is usual, some three standard deviations of one run: beyond it, it has left the trend
FLOORS = 100  # that are tried


@dataclasses.dataclass(frozen=True, eq=False)
class Collapse:
    """Curves of runs brought to one scale.

    Attributes:
        floor: L_0, nats per token.
        share: of the run that is done, from FIRST to 1. (x,)
        params: N of each run. (run,)
        curves: each run's loss above the floor over that at its end. (run, x)
    """

    floor: float
    share: Array
    params: Array
    curves: Array

    @functools.cached_property
    def trend(self) -> Array:
        """The curve that each size would have if ln of it were a line in ln N: medians of slopes, then of the rest."""
        x, y = np.log(self.params), np.log(self.curves)
        i, j = np.nonzero(x[:, None] < x)
        slope = np.median((y[j] - y[i]) / (x[j] - x[i])[:, None], axis=0) if len(i) else np.zeros(y.shape[1])
        level = np.median(y - slope * x[:, None], axis=0)
        return np.exp(level + slope * x[:, None])

    @functools.cached_property
    def departure(self) -> Array:
        """Of each run from the trend: rms over the shares of the logarithm. (run,)"""
        return np.sqrt(np.mean(np.log(self.curves / self.trend) ** 2, axis=1))

    @property
    def left(self) -> NDArray[np.intp]:
        """The runs that left the trend, the furthest first."""
        found = np.flatnonzero(self.departure > LEAVES * self.usual)
        return found[np.argsort(-self.departure[found])]

    @functools.cached_property
    def usual(self) -> float:
        """A usual departure: the median of the runs', or how far seeds part a size, its median, if that is more."""
        apart = [np.sqrt(np.mean(own.var(axis=0, ddof=1))) for own in self._several]
        return float(max(np.median(self.departure), np.median(apart) if apart else 0.0))

    @property
    def _several(self) -> list[Array]:
        """ln of the curves of each size that has several seeds. (seed, x)"""
        each = [np.log(self.curves[self.params == n]) for n in np.unique(self.params)]
        return [own for own in each if len(own) > 1]

    @functools.cached_property
    def spreads(self) -> tuple[Array, Array]:
        """Standard deviations of ln of the curves, among the means of sizes, and among seeds of one size. (x,), (x,)

        Raises:
            Undecided: one size, or none with two seeds.
        """
        found = np.log(self.curves)
        each = [found[self.params == n] for n in np.unique(self.params)]
        several = self._several
        if not several or len(each) < 2:
            raise Undecided("no size has two seeds, or there is one size")
        within = np.sqrt(np.mean([own.var(axis=0, ddof=1) for own in several], axis=0))
        return np.std([own.mean(axis=0) for own in each], axis=0, ddof=1), within

    @property
    def ratio(self) -> float:
        """Of the spread among sizes to that among seeds, over all shares."""
        among, within = self.spreads
        return float(np.sqrt(np.mean(among**2) / np.mean(within**2)))


def of(curves: Sequence[Curve], params: Array, floor: float) -> Collapse:
    """The curves of finished runs with equal tokens per parameter.

    Args:
        params: N of each. (run,)
        floor: L_0, such as `asymptote` finds.

    Raises:
        Undecided: a run lies below the floor.
    """
    share = np.geomspace(FIRST, 1, SHARES)
    seen = [np.interp(np.log(share), np.log(one.step / len(one.rates)), np.log(one.loss)) for one in curves]
    above = np.exp(seen) - floor  # (run, x)
    if (above <= 0).any():
        raise Undecided("a run lies below the floor of the power law through the ends")
    return Collapse(floor, share, params, above / above[:, -1:])


def closest(curves: Sequence[Curve], params: Array) -> Collapse:
    """With the floor, from 0 on, at which the curves of sizes lie closest for how far seeds part those of one.

    Runs that leave the others there have bent the floor, and with it the trend of their neighbours: it is that of the
    rest, where sizes and seeds are left to tell it.
    """
    least = min(float(curve.loss.min()) for curve in curves)
    floors = np.linspace(0, least, FLOORS, endpoint=False)
    found = min((of(curves, params, floor) for floor in floors), key=lambda one: one.ratio)
    rest = np.setdiff1d(np.arange(len(params)), found.left)
    if len(rest) == len(params):
        return found
    try:
        others = [curves[k] for k in rest]
        return of(curves, params, min(floors, key=lambda floor: of(others, params[rest], floor).ratio))
    except Undecided:
        return found


def asymptote(flops: Array, loss: Array) -> float:
    """L_0 of L_0 + a C^-b, by least squares of relative errors.

    Raises:
        Undecided: fewer than FEWEST computes, or no floor between 0 and the losses fits best.
    """
    if len(np.unique(flops)) < FEWEST:
        raise Undecided(f"fewer than {FEWEST} sizes with equal tokens per parameter have finished")

    def linear(b: float) -> tuple[Array, float]:
        terms = np.stack([np.ones(len(loss)), (flops / flops.min()) ** -b], axis=1) / loss[:, None]
        return optimize.nnls(terms, np.ones(len(loss)))

    grid = np.geomspace(*STEEP, 60)
    best = grid[np.argmin([linear(b)[1] for b in grid])]
    if best in (grid[0], grid[-1]):
        raise Undecided("the ends of the runs tell no floor: their power law is at the edge of what was tried")
    found = optimize.minimize_scalar(
        lambda b: linear(b)[1], bounds=(best * grid[0] / grid[1], best * grid[1] / grid[0]), method="bounded"
    )
    (floor, _), _ = linear(float(found.x))
    return float(floor)
