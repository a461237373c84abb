"""Two laws of repeated data on the same runs: effective data, and a penalty for learning by heart.

Both are Chinchilla's law where nothing is repeated. As Muennighoff et al. (2023) have it, that law is fitted first, to
runs that repeat nothing, and then what repetition does. Huber's loss with delta 1e-3 on ln loss, summed, as published.
"""

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis.fit import Floor, fit, intervals, solver
from analysis.fit.estimate import Fit
from analysis.laws import Chinchilla, Law, Lovelace, Muennighoff
from analysis.papers.claim import Undecided
from analysis.papers.data_constrained import repeats
from analysis.table import Table

Array = NDArray[np.float64]

DRAWS = 200
OF_REPETITION = ("R_D", "R_N", "P", "delta", "kappa")  # constants

L = TypeVar("L", bound=Law)


@dataclasses.dataclass(frozen=True, eq=False)
class Rivals:
    """Both laws fitted to the same runs.

    Attributes:
        runs: with `trunk`.
        base: of the law of new tokens that both share; None where each has fitted its own.
    """

    runs: Table
    base: Fit[Chinchilla] | None
    effective: Fit[Muennighoff]
    penalty: Fit[Lovelace]

    @property
    def ratio(self) -> float:
        """The penalty's sum over that of effective data: below 1 the penalty fits better."""
        return self.penalty.objective / self.effective.objective

    @property
    def fits(self) -> Mapping[str, Fit]:
        return {"effective data": self.effective, "penalty": self.penalty}

    def drawn(self, draws: int = DRAWS) -> dict[str, Array]:
        """`ratio` and the constants of repetition with trunks, and runs on new tokens, drawn again. (draw,)

        The law of new tokens is fitted to each draw, then both laws. A draw whose descent found no end is NaN.
        """
        _, clusters = np.unique(self.runs["trunk"], return_inverse=True)
        counts = intervals.resample(np.random.default_rng(0), len(self.runs), draws, clusters).astype(float)
        fresh = repeats.new(self.runs)
        once = None
        if self.base is not None:
            once, _ = _solved(self.base, self.runs.chosen(fresh), counts[:, fresh])
        found, sums = {}, {}
        for name, one in self.fits.items():
            constants, sums[name] = _solved(one, self.runs, counts, once)
            found |= {c.name: constants[:, k] for k, c in enumerate(one.law.constants()) if c.name in OF_REPETITION}
        return {"ratio": sums["penalty"] / sums["effective data"], **found}

    def held_out(self) -> dict[str, Array]:
        """By law, measured over predicted loss less 1 of the runs that repeat, their trunk left out. (run,)"""
        trunks, repeated = self.runs["trunk"], np.flatnonzero(~repeats.new(self.runs))
        each = np.unique(trunks[repeated])
        own = np.searchsorted(each, trunks[repeated])
        errors = {}
        for name, one in self.fits.items():
            law = type(one.law)
            constants, _ = _solved(one, self.runs, (trunks != each[:, None]).astype(float))
            columns = [column[repeated] for column in self.runs.positive(*law.inputs)]
            errors[name] = self.runs["loss"][repeated] / np.asarray(law(*constants[own].T)(*columns)) - 1
        return errors


def _solved(found: Fit, runs: Table, weights: Array, once: Array | None = None) -> tuple[Array, Array]:
    """The constants for each weighting of the rows, begun at those of the fit, and the objectives. (m, p), (m,)

    Args:
        once: the law of new tokens of each weighting, whose constants are known. (m, 5)
    """
    law = type(found.law)
    problem = solver.Problem(
        law, found.objective_kind, runs.positive(*law.inputs), np.log(runs["loss"])[None], np.ones((1, len(runs)))
    ).with_data(weights=weights)
    start = np.repeat(found.theta[None], len(weights), axis=0)
    known = np.array([c.name in found.fixed for c in law.constants()])
    if once is not None:
        names = [c.name for c in Chinchilla.constants()]
        known = np.array([c.name in names for c in law.constants()])
        start[:, known] = solver.to_theta(Chinchilla, once)
    ended = solver.solve(problem, start, ~known, np.arange(len(weights)), solver.CLOSE)
    # A descent that no step takes further has ended too: Huber's loss has corners, where its slope is not 0.
    met = np.isfinite(ended.value) & (ended.iterations < solver.ITERATIONS)
    constants = np.where(met[:, None], solver.to_constants(law, ended.theta), np.nan)
    return constants, np.where(met, ended.value, np.nan)


def new_tokens(runs: Table) -> Fit[Chinchilla]:
    """L(N, D) of the runs that repeat nothing.

    Raises:
        Undecided: there are none, or too few to tell the constants.
    """
    fresh = runs.where(repeats.new(runs), "repeats its tokens")
    if not len(fresh):
        raise Undecided("no run sees each of its tokens once")
    found = fit(Chinchilla, fresh, loss="huber", delta=1e-3, waived=Chinchilla.about)
    if not found.sound:
        raise Undecided(f"L(N, D) of new tokens is doubtful: {found.why}")
    return found


def fitted(runs: Table, base: Fit[Chinchilla] | None) -> Rivals:
    """Both laws fitted to the same runs.

    Args:
        base: of the law of new tokens; None where each law fits all of its constants.
    """
    law = base.law if base else None
    return Rivals(runs, base, of_law(Muennighoff, runs, law), of_law(Lovelace, runs, law))


def of_law(law: type[L], runs: Table, base: Chinchilla | None, **known: float) -> Fit[L]:
    """One of them.

    Args:
        base: the law of new tokens, whose constants are known.
        known: constants of repetition that are.
    """
    known = (dataclasses.asdict(base) if base else {}) | known
    floor = Floor(float(known.pop("E")), "the law of new tokens") if base else None
    return fit(law, runs, loss="huber", delta=1e-3, fixed=known, floor=floor, waived=law.about)
