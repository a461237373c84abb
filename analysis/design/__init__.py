"""Which runs to train: the study whose forecast at a target is narrowest for what it costs, and how narrow that is.

A design is chosen for what is believed (`prior`), from what can be trained (`pool`), by the variance of ln L at the
target (`criterion`), by exchange of whole runs (`exchange`). It notices a law that bends as well as any study for a
share of the budget would, whatever is believed. Beside it stand the designs by habit of the same cost (`usual`).
"""

import dataclasses
import math
from typing import Any

import numpy as np

from analysis.confidence import LEVEL
from analysis.design import usual
from analysis.design.criterion import LEAST, NOTHING, Criterion, Target, half_width, split_slope
from analysis.design.exchange import choose
from analysis.design.pool import VOCABULARY, Counts, Pool
from analysis.design.prior import Prior, gap_of, with_gap
from analysis.digits import compute, percent, plural, short, typed
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Array
from analysis.plan.recipe import shape_for
from scaling.errors import InputError

CHECKS = 0.1  # of the budget: as well as the best study for so much, a design notices a law that bends
CHECK_RUNS = 12  # of that study, at most
# Of a study, and of one candidate, at most. More runs bring little, and a fit of more would take Huber's loss, whose
# intervals are wider than promised where a few runs decide.
RUNS, REPEATS = 24, 3
WRONG = 0.5, 2.0  # times the gap of a law's exponents that is believed
MANY = 10**6  # runs that a spending may have: its interval is a normal one
CHOSEN_FOR = {
    "exponent": "the exponent of N_opt, not for the law's value there",
    "forms": "the power to tell that the law bends, not for its value there",
}
SPENDINGS = (0.25, 0.5, 2.0, 4.0)  # times the budget: what else is told of


@dataclasses.dataclass(frozen=True)
class Promise:
    """What a study will leave, before a run of it is trained; half widths at `level` in ln L, about shares of L.

    Attributes:
        law: of the law's value at the target, its form being right: the middle law of the prior.
        spread: the same of the laws that expect least and most.
        run: of one run there: the law's own error beyond the runs and a run's scatter in.
        exponents: of the laws' exponents by name, and of N_opt's, beta / (alpha + beta), where there are both.
        forms: `law` of the laws of each form that is believed: what a fit of that form will say.
    """

    law: float
    spread: tuple[float, float]
    run: float
    exponents: dict[str, float]
    forms: dict[str, float]
    level: float = LEVEL


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """Runs chosen from a pool: `counts` of each candidate, (m,), what they cost in FLOP, what they promise."""

    name: str
    pool: Pool
    counts: Counts
    flops: float
    promise: Promise

    @property
    def runs(self) -> list[tuple[float, float, int]]:
        """(N, D, how often), the smallest first."""
        return [(float(self.pool.params[i]), float(self.pool.tokens[i]), int(self.counts[i])) for i in self.order]

    @property
    def shares(self) -> list[float]:
        """Of the cost, by each of `runs`; of a trunk, by its longest branch."""
        return [float(x) for x in self.pool.paid(self.counts)[self.order] / self.flops]

    @property
    def order(self) -> list[int]:
        """Which candidates `runs` are."""
        there = np.flatnonzero(self.counts)
        return sorted((int(i) for i in there), key=lambda i: (self.pool.params[i], self.pool.tokens[i]))


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """The study to train, its rivals by habit, and what more or less money would buy.

    Attributes:
        adds: of each of `study.runs`, how much wider the interval of the law is without it, as a share.
        bound: half width below which no spending of the budget on these candidates comes, NaN where none is known.
        before: what the runs that are there already leave by themselves; None where there are none, or too few.
        spendings: promises at other budgets, by their FLOP.
        notes: what else to know.
        begun: N and D of the runs that are there.
        aim: of `criterion.AIMS`, what was made small; `adds` are of it.
        wrong: least and most that `study.promise.law` is by what is believed and by the same with the gap of the
            exponents WRONG; None where no law has a gap, or runs that are there say what it is.
        hours, hardware, chips: what the budget is of; None, empty and 1 where it was given in FLOP.
    """

    target: Target
    prior: Prior
    budget: float
    study: Study
    adds: tuple[float, ...]
    rivals: tuple[Study, ...]
    bound: float
    before: Promise | None
    spendings: dict[float, Promise]
    notes: tuple[str, ...]
    begun: tuple[Array, Array] = NOTHING
    aim: str = "forecast"
    wrong: tuple[float, float] | None = None
    hours: float | None = None
    hardware: str = ""
    chips: int = 1

    def spent(self, flops: float) -> str:
        """FLOP in words, and hours where the budget is in hours."""
        return compute(flops) + (f" ({typed(flops / self.budget * self.hours, 3)} hours)" if self.hours else "")

    def text(self) -> str:
        N, D = float(self.target.params[0]), float(self.target.tokens[0])
        p, study = self.study.promise, self.study
        n, smallest = int(study.counts.sum()), min([float(study.pool.params.min()), *self.begun[0]])
        near = float(FLOP_PER_PARAM_TOKEN * self.target.params[-1] * self.target.tokens[-1])
        along = f", and along the best models from {compute(near)} on" if len(self.target.params) > 1 else ""
        lines = [
            f"target: {short(N)} parameters on {short(D)} tokens, {compute(FLOP_PER_PARAM_TOKEN * N * D)}{along}, "
            f"{FLOP_PER_PARAM_TOKEN * N * D / self.budget:.3g} times the budget of {self.spent(self.budget)}",
            *([f"chosen for {CHOSEN_FOR[self.aim]}"] if self.aim in CHOSEN_FOR else []),
            f"believed before: {self.prior.told}; {self.prior.scatter_told(smallest)}",
            f"{n} {plural(n, 'run', 'runs')}{' more' if self.before else ''}, {self.spent(study.flops)}:",
            "           N            D  times  share of cost  without it",
        ]
        for (size, tokens, often), share, more in zip(study.runs, study.shares, self.adds, strict=True):
            paid, without = percent(share), percent(more, sign=True)
            lines.append(f"  {short(size):>10} {short(tokens):>12} {often:>6} {paid:>14} {without:>11}")
        lines += [
            f"promised at {percent(p.level)}: the law's value {'on average there' if along else 'there'} to ± "
            f"{percent(p.law)} "
            f"({percent(p.spread[0])} to {percent(p.spread[1])} over what is believed), one run to ± {percent(p.run)}",
            *(
                [f"by form: {', '.join(f'{name} ± {percent(half)}' for name, half in p.forms.items())}"]
                if len(p.forms) > 1
                else []
            ),
            *(
                [
                    "were the gap of the exponents half or double what is believed: "
                    f"± {percent(self.wrong[0])} to ± {percent(self.wrong[1])}"
                ]
                if self.wrong
                else []
            ),
            "exponents: " + ", ".join(f"{name} ± {half:.2g}" for name, half in p.exponents.items()),
        ]
        if math.isfinite(self.bound):
            lines.append(
                f"no spending of the budget on these candidates leaves the law less than ± {percent(self.bound)}"
            )
        for rival in self.rivals:
            lines.append(
                f"{rival.name} of {int(rival.counts.sum())} runs, {self.spent(rival.flops)}: "
                f"law ± {percent(rival.promise.law)}, one run ± {percent(rival.promise.run)}"
            )
        if self.before:
            lines.append(f"the runs that are there leave the law ± {percent(self.before.law)}")
        told = ", ".join(f"{self.spent(flops)} ± {percent(one.law)}" for flops, one in self.spendings.items())
        lines.append(f"other budgets: {told}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        def told(study: Study) -> dict[str, Any]:
            runs = [{"params": N, "tokens": D, "times": n} for N, D, n in study.runs]
            return {"runs": runs, "flops": study.flops, "promise": dataclasses.asdict(study.promise)}

        return {
            "target": {"params": self.target.params.tolist(), "tokens": self.target.tokens.tolist()},
            "believed": self.prior.told,
            "noise": self.prior.noise,
            "noise_slopes": list(self.prior.slopes),
            "aim": self.aim,
            "budget": self.budget,
            "hours": self.hours,
            **told(self.study),
            "adds": list(self.adds),
            "gap_half_or_double": self.wrong,
            "before": dataclasses.asdict(self.before) if self.before else None,
            "bound": self.bound,
            "rivals": {rival.name: told(rival) for rival in self.rivals},
            "spendings": {f"{flops:g}": dataclasses.asdict(one) for flops, one in self.spendings.items()},
            "notes": list(self.notes),
        }


def design(
    prior: Prior,
    pool: Pool,
    target: Target,
    flops: float,
    *,
    checks: float = CHECKS,
    runs: int = RUNS,
    repeats: int = REPEATS,
    level: float = LEVEL,
    begun: tuple[Array, Array] = NOTHING,
    aim: str = "forecast",
) -> Design:
    """The study of a budget whose forecast at a target is narrowest.

    Args:
        begun: N and D of runs that are there already: the study goes on from them.
        flops: the budget, FLOP of all runs together, those begun left out.
        checks: share of it, in [0, 1): the study notices a law that bends as well as the best one for so much.
        runs, repeats: of the study, and of one candidate, at most.
        aim: a name of `criterion.AIMS`: what is made small.

    Raises:
        InputError: the budget buys no study that tells the law's constants and that it is wrong.
    """
    if not 0 <= checks < 1:
        raise InputError(f"checks {checks:g}: wanted a share of the budget, from 0 to below 1")
    criterion = Criterion.of(prior, pool, target, begun)
    constants = max(len(one.constants) for one in prior.beliefs)
    if runs + len(begun[0]) < constants + 1:
        raise InputError(f"{runs} runs cannot tell {constants} constants and a scatter; allow {constants + 1} at least")

    def best(budget: float) -> Counts:
        return chosen(criterion, budget, checks, runs, repeats, aim)

    counts = best(flops)
    sizes, lengths = map(len, criterion.apart(counts))
    if counts.sum() + len(begun[0]) <= constants or min(sizes, lengths) < LEAST:
        raise InputError(
            f"{compute(flops)} buys {int(counts.sum())} runs of {sizes} sizes and {lengths} lengths; "
            f"a law of {constants} constants wants {constants + 1} runs of {LEAST} at least; allow smaller models, or "
            "spend more"
        )

    def study(name: str, counts: Counts) -> Study:
        return Study(name, pool, counts, float(pool.cost(counts)), promised(criterion, counts, level))

    small = criterion.aim(aim)
    least = max(constants + 1 - len(begun[0]), 1)
    rivals = {"a grid": usual.grid(small, pool, flops, runs, least),
              "IsoFLOP profiles": usual.isoflop(small, pool, prior, flops, runs, least)}  # fmt: skip
    made = study("the design", counts)
    whole = np.median(criterion.law(counts))
    without = [np.where(np.arange(len(pool)) == i, 0, counts) for i in made.order]
    if aim == "forecast":
        adds = [math.sqrt(np.median(criterion.law(each)) / whole) - 1 for each in without]
    else:
        adds = [math.exp(small(each)[0] - small(counts)[0]) - 1 for each in without]
    bound = math.nan
    if not (pool.trunks or len(begun[0])) and len(target.params) == 1:
        bound = float(np.median(half_width(criterion.bound(flops) ** 2, MANY, constants, level)))
    before = promised(criterion, np.zeros(len(pool), np.int64), level) if len(begun[0]) > constants else None
    spendings = {s * flops: promised(criterion, best(s * flops), level) for s in SPENDINGS}
    off = [] if len(begun[0]) else wrong(criterion, counts, level)
    ends = [*made.promise.spread, *(half for spread in off for half in spread)]
    return Design(
        target,
        prior,
        flops,
        made,
        tuple(adds),
        tuple(study(name, n) for name, n in rivals.items() if n.sum()),
        bound,
        before,
        spendings,
        (*_notes(prior, pool, counts, checks, aim, begun[0]), *_within(target, flops)),
        begun,
        aim,
        (min(ends), max(ends)) if off else None,
    )


def chosen(
    criterion: Criterion,
    flops: float,
    checks: float = CHECKS,
    runs: int = RUNS,
    repeats: int = REPEATS,
    aim: str = "forecast",
) -> Counts:
    """How often each candidate of the criterion's pool is trained: what narrows, among studies that notice a bend."""
    pool, own = criterion.pool, criterion.aim(aim)
    if not checks:
        return choose(own, pool, flops, runs, repeats)
    begin = choose(criterion.departure, pool, checks * flops, min(CHECK_RUNS, runs // 2), 1)
    return choose(criterion.noticing(own, begin), pool, flops, runs, repeats, begin)


def promised(criterion: Criterion, counts: Counts, level: float = LEVEL) -> Promise:
    """What a study of these runs will leave at the target of a criterion."""
    law, runs = criterion.told(counts), int(np.sum(counts)) + len(criterion.begun[0])
    constants = [len(one.constants) for one in criterion.beliefs]
    halves = np.array([half_width(v, runs, p, level) for v, p in zip(law, constants, strict=True)])
    both = law + criterion.error(counts)[0] + criterion.scatter
    run = np.median([half_width(v, runs, p, level) for v, p in zip(both, constants, strict=True)])
    return Promise(
        float(np.median(halves)),
        (float(halves.min()), float(halves.max())),
        float(run),
        _exponents(criterion, counts, level),
        {
            form: float(
                np.median([half for half, one in zip(halves, criterion.beliefs, strict=True) if one.form == form])
            )
            for form in dict.fromkeys(one.form for one in criterion.beliefs)
        },
    )


def wrong(criterion: Criterion, counts: Counts, level: float = LEVEL) -> list[tuple[float, float]]:
    """`Promise.spread` of the laws whose exponents differ, with their gap WRONG; empty where none has one."""
    prior, pool = criterion.prior, criterion.pool
    middle = [float(np.exp(np.log(x).mean())) for x in (pool.params, pool.tokens)]
    there = [k for k, law in enumerate(prior.laws) if gap_of(law)]
    fixed = tuple(prior.fixed[k] for k in there if prior.fixed)
    found = []
    for gap in WRONG if there else ():
        laws = tuple(with_gap(prior.laws[k], gap, *middle) for k in there)
        believed = dataclasses.replace(prior, laws=laws, fixed=fixed)
        found.append(promised(Criterion.of(believed, pool, criterion.target, criterion.begun), counts, level).spread)
    return found


def _exponents(criterion: Criterion, counts: Counts, level: float) -> dict[str, float]:
    """Half widths of the laws' exponents, and of beta / (alpha + beta) where there are both."""
    found: dict[str, list[float]] = {}
    runs = int(np.sum(counts)) + len(criterion.begun[0])
    covariances = [each for form in criterion.forms for each in form.covariance(counts)]
    for one, covariance in zip(criterion.beliefs, covariances, strict=True):
        constants = one.constants

        def half(slope: Array, constants: Any = constants, covariance: Array = covariance) -> float:
            return float(half_width(slope @ covariance @ slope, runs, len(constants), level))

        unit = {c.name: np.eye(len(constants))[k] for k, c in enumerate(constants) if c.kind == "exponent"}
        for name, slope in unit.items():
            found.setdefault(name, []).append(half(slope))
        if (slope := split_slope(one)) is not None:
            found.setdefault("N_opt's", []).append(half(slope))
    return {name: float(np.median(values)) for name, values in found.items()}


def _within(target: Target, flops: float) -> tuple[str, ...]:
    alone = float(FLOP_PER_PARAM_TOKEN * target.params[0] * target.tokens[0])
    if alone > flops:
        return ()
    return (f"the budget pays for the target itself, {compute(alone)}: trained, it needs no forecast",)


def _notes(prior: Prior, pool: Pool, counts: Counts, checks: float, aim: str, begun: Array) -> tuple[str, ...]:
    bend = [
        f"the runs notice a law that bends as well as the best study for {percent(checks)} of the budget"
        if checks
        else "no run was chosen to notice a law that bends: the promise holds if none does"
    ]
    notes = bend if checks or aim != "forms" else []  # which are chosen for nothing else
    largest = np.concatenate([pool.params[counts > 0], begun]).max()
    notes.append(
        f"fit with the largest size, {short(float(largest))}, held out first: if it is missed, no promise holds"
    )
    if prior.embeddings:
        ends = (float(pool.params.min()), float(largest))
        adds = [percent(VOCABULARY * shape_for(N).d_model / N) for N in ends]
        notes.append(
            f"sizes are without embeddings, those of the published laws with: a vocabulary of {VOCABULARY:,} "
            f"would add {adds[0]} to {short(ends[0])} and {adds[1]} to {short(ends[1])}"
        )
    if held := ", ".join(dict.fromkeys(name for fixed in prior.fixed for name in fixed)):
        notes.append(f"fitted with {held} held where it is pinned, which the runs need not tell")
    if len(prior.laws) == 1:
        notes.append("one law is believed: the promise is as good as its constants; give several, or a pilot's fit")
    return tuple(notes)
