"""The collapse of normalised loss curves, Qiu et al. (2025), arXiv 2507.02119.

With tokens in proportion to N, (L(x) - L_0) / (L(1) - L_0) over the share x of the run that is done is one curve for
all sizes. A run that leaves it was trained otherwise, or by a rate or a length that do not suit its size.
"""

import dataclasses
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
LEAVES = 3.0  # times the median departure: a run beyond it has left the curve


@dataclasses.dataclass(frozen=True, eq=False)
class Collapse:
    """Curves of runs brought to one scale.

    Attributes:
        floor: L_0, nats per token.
        share: of the run that is done, from FIRST to 1. (x,)
        curves: each run's loss above the floor over that at its end. (run, x)
        common: their median. (x,)
        departure: rms over the share of ln(curve / common). (run,)
    """

    floor: float
    share: Array
    curves: Array
    common: Array
    departure: Array

    @property
    def left(self) -> NDArray[np.intp]:
        """The runs that left the common curve, the furthest first."""
        found = np.flatnonzero(self.departure > LEAVES * np.median(self.departure))
        return found[np.argsort(-self.departure[found])]


def of(curves: Sequence[Curve], flops: Array, floor: float | None = None) -> Collapse:
    """The curves of finished runs with equal tokens per parameter.

    Args:
        flops: of each. (run,)
        floor: L_0; that of L_0 + a C^-b through the ends where it is left out.

    Raises:
        Undecided: too few sizes, or a run that ends below the floor.
    """
    ends = np.array([curve.loss[-1] for curve in curves])
    if floor is None:
        floor = asymptote(flops, ends)
    share = np.geomspace(FIRST, 1, SHARES)
    seen = [np.interp(np.log(share), np.log(one.step / len(one.rates)), np.log(one.loss)) for one in curves]
    above = np.exp(seen) - floor  # (run, x)
    if (above <= 0).any():
        raise Undecided("a run lies below the floor of the power law through the ends")
    scaled = above / above[:, -1:]
    common = np.median(scaled, axis=0)
    return Collapse(floor, share, scaled, common, np.sqrt(np.mean(np.log(scaled / common) ** 2, axis=1)))


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
