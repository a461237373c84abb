"""Approaches 1, 2 and 3: the estimators of `analysis`, each with the whole chain made again for each draw of luck.

All three see the same draws, so that they can be compared draw by draw. N, C and D by one way of counting.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analysis import frontier
from analysis.envelope import envelope
from analysis.fit import fit, solver
from analysis.fit.estimate import Fit
from analysis.frontier import Allocation, Optimum
from analysis.isoflop import isoflop
from analysis.laws import Chinchilla, QNorm
from analysis.papers.chinchilla.trunks import Luck, along
from analysis.papers.claim import Undecided
from analysis.table import Table
from scaling.errors import InputError

Array = NDArray[np.float64]
Draws = Array  # ln loss of the runs, the first draw as it was measured. (run, draw)

DRAWS = 200
PER_OCTAVE = 16  # computes at which the envelope looks between branches
BUDGETS = 400  # of the envelope
FEWEST = 3  # sizes of a profile


@dataclasses.dataclass(frozen=True, eq=False)
class Approach:
    """N_opt(C) and D_opt(C) by one of the three approaches.

    Attributes:
        found: as measured, with the draws that led to a line.
        lines: of every draw, NaN where it led to none: ln N_1, a, ln D_1, b. (draw, 4)
        fit: of the surface, for approach 3.
        redrawn: the optima of every draw that has some, for approaches 1 and 2.
    """

    number: int
    found: Allocation
    lines: Array
    fit: Fit[Any] | None = None
    redrawn: tuple[tuple[Optimum, ...], ...] = ()

    @property
    def title(self) -> str:
        return f"approach {self.number}"

    def difference(self, other: "Approach") -> tuple[float, float, float]:
        """Its exponent a less that of the other, and the interval by common draws."""
        each = (self.lines - other.lines)[:, 1]
        return (self.found.a - other.found.a, *frontier.percentile_interval(each[np.isfinite(each)]))


def draws(runs: Table, luck: Luck | None, n: int = DRAWS) -> Draws:
    """The measured ln loss of the runs, and as it might have been; as measured alone where the luck is not known."""
    measured = np.log(runs["loss"])[:, None]
    return measured if luck is None else measured + luck.draws(runs, n)


def budgets(runs: Table) -> Array:
    """Computes a factor of two apart over those of the runs."""
    low, high = runs["flops"].min(), runs["flops"].max()
    return low * 2.0 ** np.arange(np.floor(np.log2(high / low) + 1e-6) + 1)


def by_envelope(runs: Table, ln_loss: Draws) -> Approach:
    """Approach 1: at each compute the size that reaches the lowest loss, between the ends of its branches.

    Every point is the end of a run of that length, as Hoffmann et al. (2022) have it by matching each cosine.
    """
    low, high = np.log2(runs["flops"].min()), np.log2(runs["flops"].max())
    C = np.unique(np.append(2.0 ** np.arange(low, high, 1 / PER_OCTAVE), runs["flops"]))
    table, losses = along(runs, C, ln_loss)
    return _again(1, lambda loss: envelope(table.with_columns(loss=loss), draws=0, n_budgets=BUDGETS), losses)


def by_profiles(runs: Table, ln_loss: Draws, method: Literal["parabola", "akima"] = "parabola") -> Approach:
    """Approach 2: IsoFLOP profiles at computes a factor of two apart, parabolas, a line through their minima."""
    table, losses = profile_points(runs, ln_loss)
    return _again(2, lambda loss: isoflop(table.with_columns(loss=loss), method=method, sigma=0.0, draws=0), losses)


def profile_points(runs: Table, ln_loss: Draws) -> tuple[Table, Array]:
    """What each trunk reaches at each budget with FEWEST sizes or more, as `along` has it."""
    table, losses = along(runs, budgets(runs), ln_loss)
    sizes = {C: len(np.unique(table["params"][table["flops"] == C])) for C in np.unique(table["flops"])}
    keep = np.array([sizes[C] >= FEWEST for C in table["flops"]])
    if not keep.any():
        raise Undecided(f"no budget has runs of {FEWEST} sizes")
    return table.where(keep, "a budget of too few sizes"), losses[keep]


def by_surface(
    runs: Table,
    ln_loss: Draws,
    loss: Literal["huber", "squared"] = "huber",
    law: type[Chinchilla] | type[QNorm] = Chinchilla,
) -> Approach:
    """Approach 3: L(N, D) fitted to the ends of all branches, Huber's loss with delta 1e-3 as in the paper."""
    found = fit(law, runs, loss=loss, clusters="trunk")
    if not found.sound:
        raise Undecided(f"L(N, D) is doubtful: {found.why}")
    C = np.geomspace(runs["flops"].min(), runs["flops"].max(), 9)
    made = frontier.surface(found.law, C)
    lines = _refitted(runs, ln_loss[:, 1:], found, C, made.C_1)
    return Approach(3, dataclasses.replace(made, draws=lines[np.isfinite(lines).all(axis=1)]), lines, found)


def _refitted(runs: Table, ln_loss: Draws, found: Fit[Any], C: Array, C_1: float) -> Array:
    """The line of the surface fitted to each draw."""
    law, lines = type(found.law), np.full((ln_loss.shape[1], 4), np.nan)
    for k, constants in enumerate(refits(runs, ln_loss, found)):
        best = frontier.best(law(*constants), C)
        if np.all(np.isfinite(constants)) and np.all(np.isfinite(best.params) & (best.params > 0)):
            lines[k] = frontier.power_laws(C, best.params, best.tokens, C_1)
    return lines


def refits(runs: Table, ln_loss: Draws, found: Fit[Any]) -> Array:
    """The constants of a surface L(N, D) fitted to each draw, each search begun at those of the measured losses.

    NaN where it did not end. (draw, constant)
    """
    law, n = type(found.law), ln_loss.shape[1]
    if not n:
        return np.zeros((0, len(found.theta)))
    problem = solver.Problem(
        law, found.objective_kind, runs.positive("params", "tokens"), ln_loss.T, np.ones((n, len(runs)))
    )
    start = np.repeat(found.theta[None], n, axis=0)
    ended = solver.solve(problem, start, data=np.arange(n), tolerance=solver.CLOSE)
    return np.where(ended.converged[:, None], solver.to_constants(law, ended.theta), np.nan)


def _again(number: int, find: Callable[[Array], Allocation], ln_loss: Draws) -> Approach:
    """The allocation from the measured losses, and its line from each draw."""
    found = find(np.exp(ln_loss[:, 0]))
    lines = np.full((ln_loss.shape[1] - 1, 4), np.nan)
    redrawn = []
    for k, loss in enumerate(np.exp(ln_loss[:, 1:]).T):
        try:
            points = find(loss).points
        except InputError:  # this draw has too few minima
            continue
        C, N, D = (np.array([getattr(p, name) for p in points]) for name in ("flops", "params", "tokens"))
        lines[k] = frontier.power_laws(C, N, D, found.C_1)
        redrawn.append(points)
    kept = [tuple(line) for line in lines if np.isfinite(line).all()]
    kept, few = frontier.enough_draws(kept, len(lines), "a line")
    at = dataclasses.replace(found, draws=np.array(kept, float).reshape(-1, 4), warnings=(*found.warnings, *few))
    return Approach(number, at, lines, redrawn=tuple(redrawn))
