"""Studies that are written down already, side by side: what each will leave at a target, what it costs, what it bears.

A design is best for what is believed; so beside its promise stands what is left of it by the law
that expects least and the one that expects most, where the belief is wrong (the gap of the laws' exponents is half or
double), and where the law's form is (it bends as well).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis import frontier
from analysis.confidence import LEVEL
from analysis.design import WRONG, Promise, promised, wrong
from analysis.design.criterion import Criterion, Target, half_width
from analysis.design.pool import Counts, Pool
from analysis.design.prior import Prior, gap_of
from analysis.digits import compute, percent, plural, short
from analysis.fit import solver
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Array
from analysis.laws import Law
from scaling.errors import InputError

STEP = 1e-4  # of a fit coordinate, for slopes


@dataclasses.dataclass(frozen=True)
class Written:
    """A study as its config has it: N and D of each run, (n,), and what they cost, trunks trained once."""

    name: str
    params: Array
    tokens: Array
    flops: float


@dataclasses.dataclass(frozen=True)
class Score:
    """What a study will leave at a target; half widths at the promise's level, in logarithms.

    Attributes:
        runs, sizes, lengths: how many there are.
        best: of N_opt at the target's compute.
        wrong: of the law's value there, where the gap of its exponents is WRONG times what is believed: the most over
            the laws that have a gap. NaN where none has.
        bent: of the law's value, were quadratic terms in ln N and ln D to be told by the same runs.
    """

    name: str
    runs: int
    sizes: int
    lengths: int
    flops: float
    promise: Promise
    best: float
    wrong: tuple[float, ...]
    bent: float


@dataclasses.dataclass(frozen=True)
class Scores:
    """Studies side by side.

    Attributes:
        laws, gaps: how many are believed, and how many of these have two exponents that differ.
    """

    target: Target
    told: str
    laws: int
    gaps: int
    scores: tuple[Score, ...]

    def text(self) -> str:
        N, D = float(self.target.params[0]), float(self.target.tokens[0])
        p = self.scores[0].promise
        of = f", at worst of {self.gaps} laws" if self.gaps > 1 else ""
        of_exponents = list(dict.fromkeys(name for s in self.scores for name in s.promise.exponents))
        rows: list[tuple[str, list[str]]] = [
            ("", [s.name for s in self.scores]),
            ("runs", [str(s.runs) for s in self.scores]),
            ("sizes, lengths", [f"{s.sizes}, {s.lengths}" for s in self.scores]),
            ("cost", [compute(s.flops) for s in self.scores]),
            ("the law's value there ±", [percent(s.promise.law) for s in self.scores]),
            *(
                (f"  by the law believed that expects {word}", [percent(s.promise.spread[k]) for s in self.scores])
                for k, word in enumerate(("least", "most"))
                if self.laws > 1
            ),
            ("one run there ±", [percent(s.promise.run) for s in self.scores]),
            *(
                (f"exponent {name} ±", [f"{s.promise.exponents.get(name, math.nan):.2g}" for s in self.scores])
                for name in of_exponents
            ),
            ("N_opt at its compute ±", [percent(s.best) for s in self.scores]),
            *(
                (f"law ±, gap of exponents x {gap:g}{of}", [percent(s.wrong[k]) for s in self.scores])
                for k, gap in enumerate(WRONG)
                if self.gaps
            ),
            ("law ±, were it to bend", [percent(s.bent) for s in self.scores]),
        ]
        first = max(len(name) for name, _ in rows)
        widths = [max(len(row[k]) for _, row in rows) for k in range(len(self.scores))]
        lines = [
            f"target: {short(N)} parameters on {short(D)} tokens, {compute(FLOP_PER_PARAM_TOKEN * N * D)}",
            f"believed before: {self.told}; intervals at {percent(p.level)}",
        ]
        for name, row in rows:
            told = "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            lines.append(f"  {name:<{first}}  {told}")
        if self.gaps < self.laws:
            lines.append(
                f"note: of {self.laws} {plural(self.laws, 'law', 'laws')} believed {self.gaps or 'none'} "
                f"{plural(self.gaps, 'has', 'have')} two exponents that differ: where they do not, no gap can be wrong"
            )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        return {
            "target": {"params": self.target.params.tolist(), "tokens": self.target.tokens.tolist()},
            "believed": self.told,
            "laws": self.laws,
            "gaps": self.gaps,
            "studies": [dataclasses.asdict(s) for s in self.scores],
        }


def score(studies: Sequence[Written], prior: Prior, target: Target, level: float = LEVEL) -> Scores:
    """What each of these studies will leave at a target.

    Raises:
        InputError: a study has too few runs to tell the law's constants.
    """
    constants = max(len(one.constants) for one in prior.beliefs)
    if few := [f"{one.name} has {len(one.params)} runs" for one in studies if len(one.params) <= constants]:
        raise InputError(f"{few[0]}, and a law of {constants} constants and a scatter wants {constants + 1} at least")
    smallest = min(float(one.params.min()) for one in studies)
    prior = dataclasses.replace(prior, noise_at=prior.noise_at or smallest)  # the same of all
    scores = tuple(_score(one, prior, target, level) for one in studies)
    gaps = sum(gap_of(law) != 0 for law in prior.laws)
    return Scores(target, f"{prior.told}; {prior.scatter_told(smallest)}", len(prior.laws), gaps, scores)


def _score(one: Written, prior: Prior, target: Target, level: float) -> Score:
    rows, counts = np.unique(np.stack([one.params, one.tokens], -1), axis=0, return_counts=True)
    criterion = Criterion.of(prior, Pool(rows[:, 0], rows[:, 1]), target)
    return Score(
        one.name,
        len(one.params),
        len(np.unique(one.params)),
        len(np.unique(one.tokens)),
        one.flops,
        promised(criterion, counts, level),
        _best(criterion, counts, level),
        tuple(most for _, most in wrong(criterion, counts, level)) or (math.nan,) * len(WRONG),
        _bent(criterion, counts, level),
    )


def _best(criterion: Criterion, counts: Counts, level: float) -> float:
    """Half width of ln N_opt at the target's compute."""
    C = float(FLOP_PER_PARAM_TOKEN * criterion.target.params[0] * criterion.target.tokens[0])
    runs, halves = int(counts.sum()), []
    covariances = [each for form in criterion.forms for each in form.covariance(counts)]
    for one, covariance in zip(criterion.beliefs, covariances, strict=True):
        slope = _slope(one.law, C)[[c in one.constants for c in one.law.constants()]]
        halves.append(float(half_width(slope @ covariance @ slope, runs, len(slope), level)))
    return float(np.median(halves))


def _slope(law: Law, C: float) -> Array:
    """d ln N_opt(C) / d theta, (p,)."""
    theta, form = solver.theta_of(law), type(law)

    def size(at: Array) -> float:
        return math.log(float(frontier.best(form(*map(float, solver.to_constants(form, at))), C).params))

    return np.array([(size(theta + h) - size(theta - h)) / (2 * STEP) for h in STEP * np.eye(len(theta))])


def _bent(criterion: Criterion, counts: Counts, level: float) -> float:
    """Half width of the law's value at the target with quadratic terms told by the same runs."""
    runs = int(counts.sum())
    variances = np.concatenate([form.told(counts) for form in criterion.bent])
    constants = [len(one.constants) for one in criterion.beliefs]
    halves = [half_width(v, runs, p, level) for v, p in zip(variances, constants, strict=True)]
    return float(np.median(halves))
