"""A bowl of losses over the learning rate (or the batch): its bottom, with an interval, and when it has none.

Over ln(rate), ln(loss) is close to a parabola near its lowest point, with one side steeper than the other and a cliff
where training begins to diverge. So each bowl is a parabola through the runs near the lowest, with a skew u^3 that all
bowls share: one bowl is too few runs to tell it, and a parabola alone puts the bottom beside the truth. The interval of
the bottom is the profile-likelihood one: all rates at which the slope is not significantly different from 0 (for a
parabola Fieller's), without an end where the runs do not show a bend at all. Losses are in nats per token, N in
non-embedding parameters, D and B in tokens.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.confidence import LEVEL, t_quantile
from scaling.rates import edge

Array = NDArray[np.float64]

WINDOW = 4.0  # a parabola sees the rates within this factor of the best one ...
LIFT = 0.05  # ... whose ln(loss) is less than this above the lowest
CLIFF = 0.1  # a ln(loss) so far above the lowest is beyond the cliff, where no parabola holds
SKEWED = 4  # degrees of freedom that the bowls leave together before they are asked for their skew
NEAREST = 4  # rates it sees at least, where there are so many: three fix it and leave nothing to judge it by

INTERIOR, FLAT, MAXIMUM, FEW, BESIDE = "interior", "flat", "a maximum", "too few rates", "beside divergence"


@dataclasses.dataclass(frozen=True)
class Bowl:
    """Losses over the learning rate (or the batch) at one size and length, and the bottom of the parabola through them.

    Attributes:
        batch_tokens: NaN where it is the batch that was tried.
        tried: rates, rising; `losses` at them, means of ln(loss) over seeds taken back, NaN where a run diverged.
        window: the lowest and the highest of those that the parabola was drawn through.
        status: "interior"; "at the lowest" or "at the highest" of what was tried; "beside divergence": the lowest loss
            is next to a rate that diverged, and the parabola has its bottom there or beyond; "flat": no bend is seen
            through the noise; "a maximum"; "too few rates".
        best, low, high: the bottom and its interval, 0 to infinity where the runs do not bound it. Where the status is
            not "interior" or "flat", `best` is the one of the lowest loss.
        loss: at the bottom.
        curvature, skew: c and s of ln(loss) = ln(loss at the bottom) + c u^2 + s u^3, u = ln(rate / best).
        error: standard error of ln(best).
        shared: the part of it that comes from the skew, with its sign: it moves all bowls together.
        n_layer: NaN where it is not known.
    """

    params: float
    tokens: float
    batch_tokens: float
    tried: tuple[float, ...]
    losses: tuple[float, ...]
    window: tuple[float, float]
    status: str
    best: float
    low: float
    high: float
    loss: float
    curvature: float
    skew: float
    error: float
    shared: float
    n_layer: float = math.nan

    @property
    def interior(self) -> bool:
        return self.status == INTERIOR

    @property
    def spacing(self) -> float:
        """Times between the rate of the lowest loss and the next one that was tried; 0 where it has none beside it."""
        if not any(map(math.isfinite, self.losses)):
            return 0.0
        at = min((k for k, loss in enumerate(self.losses) if math.isfinite(loss)), key=lambda k: self.losses[k])
        beside = [self.tried[k] for k in (at - 1, at + 1) if 0 <= k < len(self.tried)]
        return max((max(rate / self.tried[at], self.tried[at] / rate) for rate in beside), default=0.0)

    def excess(self, rate: float) -> float:
        """Loss at this rate as a share above the bottom; NaN beyond what was tried or beside what diverged.

        From the parabola inside its window, from straight lines between the measured ln(loss) outside it.
        """
        if self.status in (INTERIOR, FLAT) and self.window[0] <= rate <= self.window[1]:
            u = math.log(rate / self.best)
            return math.expm1(self.curvature * u**2 + self.skew * u**3)
        if not self.tried[0] <= rate <= self.tried[-1]:
            return math.nan
        line = np.interp(math.log(rate), np.log(self.tried), np.log(self.losses))
        return math.expm1(float(line) - math.log(self.loss))


class Draft(NamedTuple):
    """A parabola y = c_0 + c_1 u + c_2 u^2, u = x - centre, before noise and skew are known."""

    x: Array  # all rates tried, ln, rising
    y: Array  # mean ln(loss) at each, nan where a run diverged
    centre: float
    window: tuple[float, float]  # ln
    c: Array  # 3, nan where fewer than three rates are left
    inverse: Array  # 3 3, of the normal equations: the covariance of c over sigma^2
    cube: Array  # 3, the parabola through u^3
    rest: tuple[Array, Array]  # what the parabolas leave of y and of u^3, one entry per run each
    degrees: int


class Noise(NamedTuple):
    """What all bowls share: the scatter of a run about them, and their skew with its standard error."""

    sigma: float
    degrees: float
    skew: float
    skew_error: float


def parabola(x: Array, y: Array) -> Draft:
    """The parabola through the runs near the lowest. x, y: ln(rate) and ln(loss) of each run, NaN if it diverged."""
    at = np.unique(x)
    mean = np.array([y[x == v].mean() for v in at])  # nan if one of the seeds diverged
    finite = np.isfinite(mean)
    if finite.sum() < 3:
        unknown, none = np.full(3, np.nan), np.zeros(0)
        return Draft(
            at, mean, math.nan, (math.nan, math.nan), unknown, np.full((3, 3), np.nan), unknown, (none, none), 0
        )
    lowest = int(np.nanargmin(mean))
    centre = float(at[lowest])
    near = finite & (np.abs(at - centre) <= math.log(WINDOW) * (1 + 1e-9)) & (mean <= mean[lowest] + LIFT)
    if near.sum() < NEAREST:
        before = finite & (mean <= mean[lowest] + CLIFF)
        usable = before if before.sum() >= 3 else finite
        away = np.where(usable, np.abs(at - centre), np.inf)
        near = usable & (away <= np.sort(away)[min(NEAREST, usable.sum()) - 1] + 1e-9)
    runs = np.isin(x, at[near])
    u = x[runs] - centre
    basis = np.vander(u, 3, increasing=True)
    inverse = np.asarray(np.linalg.inv(basis.T @ basis), np.float64)
    c, cube = inverse @ basis.T @ y[runs], inverse @ basis.T @ u**3
    window = (float(at[near][0]), float(at[near][-1]))
    return Draft(at, mean, centre, window, c, inverse, cube, (y[runs] - basis @ c, u**3 - basis @ cube), len(u) - 3)


def common_noise(drafts: Sequence[Draft], sigma: float | None) -> Noise:
    """Scatter and skew from what the parabolas leave, all bowls together; a scatter that is known is taken as it is."""
    bent = [d for d in drafts if d.c[2] > 0]
    degrees = sum(d.degrees for d in bent)
    y, cube = (np.concatenate([np.zeros(0), *(d.rest[k] for d in bent)]) for k in (0, 1))
    skew, weight = 0.0, float(cube @ cube)
    if degrees >= SKEWED and weight > 0:
        skew, degrees = float(cube @ y) / weight, degrees - 1
        y = y - skew * cube
    if sigma is None:
        sigma, known = (math.sqrt(float(y @ y) / degrees) if degrees else math.nan), float(degrees)
    else:
        known = math.inf
    return Noise(sigma, known, skew, sigma / math.sqrt(weight) if skew else 0.0)


def bottom(N: float, D: float, B: float, draft: Draft, noise: Noise, n_layer: float = math.nan) -> Bowl:
    tried, losses = tuple(np.exp(draft.x).tolist()), tuple(np.exp(draft.y).tolist())
    window = (math.exp(draft.window[0]), math.exp(draft.window[1]))
    lowest = int(np.nanargmin(draft.y)) if np.isfinite(draft.y).any() else 0

    def doubtful(status: str) -> Bowl:
        ends = (0.0, math.inf)
        bottom = (losses[lowest], *(math.nan,) * 4)
        return Bowl(N, D, B, tried, losses, window, status, tried[lowest], *ends, *bottom, n_layer=n_layer)

    end = edge(tried, losses)
    if end:
        return doubtful(f"at the {end}")
    if not math.isfinite(draft.c[2]):
        return doubtful(FEW)
    s = noise.skew
    c = draft.c - s * draft.cube
    root = c[1] ** 2 if not s else c[2] ** 2 - 3 * s * c[1]  # of the slope c_1 + 2 c_2 v + 3 s v^2
    if c[2] <= 0 or root < 0:
        return doubtful(MAXIMUM)
    v = -c[1] / (c[2] + math.sqrt(c[2] ** 2 - 3 * s * c[1]))
    diverged = draft.x[(~np.isfinite(draft.y)) & (draft.x > draft.x[lowest])]
    ceiling = float(diverged.min()) if len(diverged) else math.inf  # the best rate is below
    if not draft.x[0] < draft.centre + v < min(ceiling, float(draft.x[-1])):
        return doubtful(BESIDE if len(diverged) else f"at the {'lowest' if v < 0 else 'highest'}")
    # The slope at v is a sum of c_1, c_2 and the skew, whose errors go together.
    u, V = noise.skew_error**2, draft.inverse * noise.sigma**2
    joint = np.block([[V + u * np.outer(draft.cube, draft.cube), -u * draft.cube[:, None]], [-u * draft.cube, u]])
    low, high = _flat_slopes(np.append(c, s), joint, float(v), draft, noise.degrees)
    curvature = c[2] + 3 * s * v
    slope = np.array([0.0, 1.0, 2 * v, 3 * v**2])
    shared = -noise.skew_error * float(slope @ np.append(-draft.cube, 1.0)) / (2 * curvature)
    error = math.sqrt(max(float(slope @ joint @ slope), 0.0)) / (2 * curvature)
    bottom = c[0] + c[1] * v + c[2] * v**2 + s * v**3
    return Bowl(
        *(N, D, B, tried, losses, window),
        status=INTERIOR if (math.isfinite(low) and math.isfinite(high)) or not math.isfinite(noise.sigma) else FLAT,
        best=math.exp(draft.centre + v),
        low=math.exp(draft.centre + low),
        high=min(math.exp(draft.centre + high), math.exp(ceiling)),
        loss=math.exp(bottom),
        curvature=float(curvature),
        skew=s,
        error=error,
        shared=shared,
        n_layer=n_layer,
    )


def _flat_slopes(c: Array, V: Array, v: float, draft: Draft, degrees: float) -> tuple[float, float]:
    """The v around the bottom at which the slope is not significantly different from 0; an end may be infinite.

    Looked for as far from the runs as these reach: beyond that a cubic says nothing.
    """
    if not np.isfinite(V).all():
        return -math.inf, math.inf
    t = float(t_quantile(LEVEL, np.array(float(min(degrees, 1e9)))))
    reach = draft.x[-1] - draft.x[0]

    def doubt(w: Array) -> Array:
        g = np.stack([np.zeros_like(w), np.ones_like(w), 2 * w, 3 * w**2])  # 4 w
        return (c @ g) ** 2 - t**2 * np.einsum("iw,ij,jw->w", g, V, g)

    ends = []
    for side in (-1, 1):
        steps = v + side * np.linspace(0, reach, 400)
        out = np.flatnonzero(doubt(steps) > 0)
        ends.append(float(steps[out[0]]) if len(out) else side * math.inf)
    return ends[0], ends[1]
