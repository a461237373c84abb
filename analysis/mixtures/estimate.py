"""Estimation of mixture laws: constants of all domains at once, rows left out by mixture, redrawn mixtures.

Least squares of the loss itself, in nats per token, as the papers of these laws take it. Rows of one mixture, such as
its seeds or sizes, are left out and drawn together.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.confidence import LEVEL, t_quantile
from analysis.fit import held_out, intervals, solver
from analysis.fit.solver import Array, Objective, Problem
from analysis.mixtures import laws
from analysis.mixtures.laws import MixtureLaw
from analysis.mixtures.runs import Runs
from scaling.errors import InputError

FOLDS = 10  # of the mixtures
DRAWS = 200
SQUARED = Objective("squared", log=False)
NAMES = ("exponential", "repeats", "additive", "joint", "bimix", "linear")


def law_of(name: str, runs: Runs) -> type[MixtureLaw]:
    """The law of that name for these parts, with terms in N and D where they vary.

    Raises:
        InputError: these rows cannot be of such a law; there is no such law.
    """
    parts, varied = len(runs.parts), runs.varied
    if name == "additive":
        return laws.additive(parts, varied)
    if name == "joint":
        if not varied:
            raise InputError("without rows that differ in N or D it is the additive law")
        return laws.joint(parts, varied)
    if name not in NAMES:
        raise InputError(f"no mixture law is called {name!r}; there are {', '.join(NAMES)}")
    known = ("tokens",) if name == "bimix" else ()
    if others := [s for s in varied if s not in known]:
        raise InputError(
            f"it is a law at one {' and '.join(map(_letter, others))}, and the rows have several; choose with --where"
        )
    if name == "repeats":
        if not np.isfinite(runs.once).any():
            raise InputError("no part is read more than once, as far as columns available_NAME and tokens tell")
        return laws.repeats(parts, runs.once)
    if name != "bimix":
        return laws.exponential(parts) if name == "exponential" else laws.linear(parts)
    check_own(runs)
    return laws.bimix(varied)


def check_own(runs: Runs) -> None:
    """Refuses rows of which a law by the domain's own share says nothing."""
    for domain in runs.domains:
        if domain not in runs.parts:
            raise InputError(f"there is no share of {domain} for the loss on it; it wants one name for both")
        if (zero := int((runs.shares[:, runs.parts.index(domain)] <= 0).sum())) > 0:
            raise InputError(f"{zero} {'row has' if zero == 1 else 'rows have'} no {domain}, of which it says nothing")


def _letter(scale: str) -> str:
    return {"params": "N", "tokens": "D"}[scale]


def columns(law: type[MixtureLaw], runs: Runs, domain: str) -> tuple[Array, ...]:
    """What the law of a domain takes."""
    if not law.own:
        return runs.columns(law.scales)
    return (runs.shares[:, runs.parts.index(domain)], *(runs.scales[s] for s in law.scales))


def wanted(law: type[MixtureLaw]) -> int:
    """Mixtures from which a law can be judged by mixtures left out."""
    return held_out.wanted(len(law.constants()))


def estimate(
    law: type[MixtureLaw], runs: Runs, weights: Array, theta0: Mapping[str, Array], *, warm: bool = False
) -> Array:
    """Optima in fit coordinates, (domains, m, p), of m sets of weights (m, n).

    Args:
        theta0: starts of each domain, (s, p).
        warm: they are optima, or nearly.
    """
    m, found = len(weights), []
    groups = [(d,) for d in runs.domains] if law.own else [tuple(theta0)]
    for group in groups:
        y = np.repeat([runs.losses[:, runs.domains.index(d)] for d in group], m, 0)
        problem = Problem(law, SQUARED, columns(law, runs, group[0]), y, np.tile(weights, (len(group), 1)))
        starts = np.concatenate([np.tile(theta0[d], (m, 1)) for d in group])  # each set of a domain has all of its own
        s = len(starts) // len(y)
        solved = solver.solve(problem, starts, None, np.repeat(np.arange(len(y)), s), solver.CLOSE, warm=warm)
        best = solved.value.reshape(-1, s).argmin(1)
        found.append(solved.theta.reshape(len(y), s, -1)[np.arange(len(y)), best].reshape(len(group), m, -1))
    return np.concatenate(found)


def starts(law: type[MixtureLaw], runs: Runs) -> dict[str, Array]:
    """Starts of each domain, in fit coordinates."""
    return {
        d: solver.to_theta(law, law.starts(columns(law, runs, d), runs.losses[:, i]))
        for i, d in enumerate(runs.domains)
    }


def predict(law: type[MixtureLaw], theta: Array, runs: Runs) -> Array:
    """Losses on the domains at the mixtures of the runs: theta (domains, ..., p) gives (domains, ..., n)."""
    return np.stack(
        [solver.predict(law, t, columns(law, runs, d), log=False) for d, t in zip(runs.domains, theta, strict=True)]
    )


def unseen(law: type[MixtureLaw], theta: Array, runs: Runs) -> Array:
    """Losses predicted by fits to the other mixtures, (domains, n)."""
    m = runs.mixtures
    fold = np.random.default_rng(0).permutation(m) % min(FOLDS, m)
    fold = fold[runs.mixture]
    left = np.arange(fold.max() + 1)[:, None] != fold  # folds n
    near = {d: t[None] for d, t in zip(runs.domains, theta, strict=True)}
    fitted = estimate(law, runs, left.astype(float), near, warm=True)
    return predict(law, fitted, runs)[:, fold, np.arange(len(fold))]


def redraw(law: type[MixtureLaw], theta: Array, runs: Runs, draws: int = DRAWS, seed: int = 0) -> Array:
    """Constants refitted to mixtures drawn with replacement, the same of all domains, (domains, draws, p).

    Raises:
        InputError: too few mixtures to draw from.
    """
    counts = intervals.resample(np.random.default_rng(seed), len(runs.shares), draws, runs.mixture)
    different = np.array([len(np.unique(runs.mixture[c > 0])) for c in counts])
    counts = counts[different > theta.shape[-1]]
    if len(counts) < draws / 2:
        raise InputError(
            f"{law.name}: {runs.mixtures} mixtures are too few for intervals of {theta.shape[-1]} constants by redrawn "
            "mixtures; train more of them"
        )
    near = {d: t[None] for d, t in zip(runs.domains, theta, strict=True)}
    return estimate(law, runs, counts.astype(float), near, warm=True)


@dataclasses.dataclass(frozen=True)
class Interval:
    """A loss, the interval of the law there and that of one run, at 95 %."""

    value: float
    low: float
    high: float
    run_low: float
    run_high: float


def interval(value: float, drawn: Array, sigma: float, mixtures: int, constants: int) -> Interval:
    """The interval of a prediction from its values under redrawn mixtures, (draws,).

    Draws spread as the residuals do, which a fit of so many constants has shrunk, and know them no better than so many
    mixtures tell: both are made good as in least squares.

    Args:
        sigma: scatter of a run around the law.
    """
    low, high = ends(value, drawn, mixtures, constants)
    own = float(t_quantile(LEVEL, mixtures - constants)) * sigma
    return Interval(value, low, high, value - math.hypot(value - low, own), value + math.hypot(high - value, own))


def ends(value: float, drawn: Array, mixtures: int, constants: int) -> tuple[float, float]:
    """Both ends of the interval of the law alone."""
    rest = max(mixtures - constants, 1)
    wider = math.sqrt(mixtures / rest) * float(t_quantile(LEVEL, rest) / t_quantile(LEVEL, math.inf))
    low, high = (wider * (q - value) for q in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    return value + min(low, 0.0), value + max(high, 0.0)


def rank(found: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Spearman's rank correlation; NaN where one of them is the same in all rows."""
    if len(found) < 3 or not np.ptp(found) or not np.ptp(measured):
        return math.nan
    return float(np.corrcoef(stats.rankdata(found), stats.rankdata(measured))[0, 1])
