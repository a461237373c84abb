"""Estimation: a law and a table of runs to a `Fit`, one engine for every law.

Residuals are taken in the logarithm of the loss, squared or weighed by Huber's function (`analysis.fit.choice`), and
summed; many starts go down at once in float64 with exact gradients (`analysis.fit.solver`, `analysis.fit.descent`). A
useless fit raises `FitError`, a doubtful one says why (`analysis.fit.doubts`).
"""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.confidence import LEVEL, t_quantile
from analysis.fit import choice, doubts, intervals, misfit, solver
from analysis.fit.descent import Optimum, descend, sensible
from analysis.fit.estimate import LEAVES_LIMITS, PART_WAYS, Ends, Fit, HeldOut, Interval, L, Residuals
from analysis.fit.floor import Floor
from analysis.fit.floor import names as floors_of
from analysis.fit.rows import Rows, left_in, select_rows
from analysis.fit.solver import Array, Objective, Problem
from analysis.fit.starts import some_of, starts_of
from analysis.laws import Law, law_by_name
from analysis.laws.admission import Admission
from analysis.table import Table
from analysis.table.columns import is_share
from scaling.errors import InputError

STARTS = 128  # spread over the law's ranges
MORE = 4  # optima met when draws are checked that all draws are refitted from
STARTS_LEFT_IN = 31  # where only what changes with the rows is asked for, or the scatter


def fit(
    law: type[L] | str,
    table: Table | Mapping[str, ArrayLike],
    *,
    target: str | None = None,
    loss: Literal["auto", "huber", "squared", "asymmetric", "absolute"] = "auto",
    delta: float | None = None,
    log: bool = True,
    asymmetry: float = 10.0,
    drop_worst: int = 0,
    weights: ArrayLike | str | None = None,
    hold_out: ArrayLike | str | None = None,
    fixed: Mapping[str, float] | None = None,
    floor: Floor | None = None,
    level: float = LEVEL,
    bootstrap: int = 0,
    different: int = 0,
    clusters: str | None = None,
    drop: Literal["suspicious"] | None = None,
    starts: ArrayLike | int = STARTS,
    every_run: bool = False,
    waived: Collection[Admission] = (),
    seed: int = 0,
) -> Fit[L]:
    """Estimates the constants of a law from the runs that it is about.

    Args:
        law: a law class or its name.
        table: runs; a mapping of columns becomes a `Table`.
        target: column to fit, the law's own by default.
        loss: "huber", "squared", "absolute", or "asymmetric" (runs above the curve weigh less); "auto" is "squared"
            for few rows, otherwise "huber" with a delta from the scatter of the rows (`analysis.fit.choice`).
        delta: residual from which Huber's loss grows linearly, in log loss: 1e-3, as published, unless "auto".
        log: residuals in the logarithm of the target; of a law that may fall below 0 (`Law.logarithmic`) never.
        drop_worst: leave out this many runs with the largest targets.
        weights: one positive number per row of `table`; a number alone, the power of N that a run's noise goes as; or
            "replicates": from the spread of runs that differ in seed.
        hold_out: runs kept out of the fit and predicted: "params" for the largest size (or another column),
            "params>1e9" or "data=c4" for a rule, or a bool per row of `table`.
        fixed: constants that are known.
        floor: where the law's floor is pinned, and by what; at 0 it is the law without one.
        bootstrap: number of refits to resampled runs. Those that hold no more different runs than constants are left
            out.
        different: also those that hold no more than this, so that fits of several laws keep the same ones.
        clusters: column whose equal values mark rows of one run, which are resampled together. None takes rows with one
            id of `run`, else branches of one trunk (`analysis.replicates.trunks`); where trunks are few, the bootstrap
            alone draws their branches together, and the profile intervals take rows to be independent.
        drop: "suspicious" leaves out the rows that `analysis.fit.suspects` doubts, which are otherwise said.
        starts: how many, or the starts themselves as constants, (s, p).
        every_run: fit all rows of the table, also those the law is not about.
        waived: rules of the law, such as `admission.CONVERGED_RUNS`, that are not applied to the runs.

    Whatever left rows out (`drop_worst`, the law's own rules, `Table.where` before), the constants with them are in
    `Fit.without_rule`.

    Raises:
        InputError: a column, a cell or an argument that cannot be used.
        FitError: too few runs or clusters, an input or a target that does not vary, an exponent not above 0, no start
            that leads anywhere.
    """
    law = cast(type[L], law_by_name(law) if isinstance(law, str) else law)
    table = table if isinstance(table, Table) else Table.from_columns({k: np.asarray(v) for k, v in table.items()})
    fixed = dict(fixed or {})
    objective = Objective.asked(loss, delta, log and law.logarithmic, asymmetry)
    _check_arguments(law, fixed, objective, drop_worst, bootstrap, level)
    fixed |= floor.pins(law) if floor else {}
    if len(fixed) == len(law.constants()):
        raise InputError(f"all constants of {law.name} are fixed; leave one to estimate")
    rows = select_rows(law, table, target, objective, drop_worst, weights, hold_out, every_run, waived, clusters, drop)
    if floor:
        floor.check(rows.target, rows.y)
    free = np.array([c.name not in fixed for c in law.constants()])
    notes = [*rows.notes, *doubts.check_design(law, rows, free)]
    few = doubts.too_few_runs(rows, free)
    if few:
        rows = dataclasses.replace(rows, clusters=None, drawn=None)
    if objective.kind == "auto":
        objective = _chosen(law, objective, rows, starts, fixed, free)
    problem = rows.problem(law, objective)

    theta0 = starts_of(problem, starts, fixed)
    spread_out = theta0 if len(theta0) <= STARTS else starts_of(problem, STARTS, fixed)
    best, low, high, kind, ends = _estimate(problem, theta0, free, rows.clusters, level)
    gone = doubts.without_effect(problem, best, free)
    unbounded = few or doubts.exchangeable(law, rows, free)
    if unbounded:
        kind, low, high = intervals.NONE, np.where(free, -np.inf, best.theta), np.where(free, np.inf, best.theta)
    moving = free & ~gone
    if gone.any() and moving.any() and not unbounded:
        # Along a constant without effect nothing rises, and a profile that follows it finds no end of any other.
        at_bound = np.where(gone, best.theta, np.vstack([best.theta, theta0]))
        best, low, high, kind, ends = _estimate(problem, at_bound, moving, rows.clusters, level)
        low, high = np.where(gone, -np.inf, low), np.where(gone, np.inf, high)
    wanted = 0 if few else bootstrap  # rows of a run drawn one by one would hide what they share
    draws, said = _bootstrap(problem, best, moving, wanted, rows.drawn, spread_out, level, seed, different)
    estimate = law(*(float(c) for c in _reported(law, best.theta)))
    named = _named(law, low, high)
    status, why = doubts.status(problem, best, free, named, unbounded)
    doubts.check_exponents(law, estimate, free, named, notes)
    sigma = best.sigma
    learnt = None
    if sigma > doubts.NOISELESS and kind != intervals.NONE:
        learnt = misfit.learn(problem, best.theta, moving, rows.clusters, spread_out)
    percentile = _named(law, *intervals.percentile(draws, level)) if len(draws) else {}
    with_rows = _left_in(law, objective, rows, spread_out, best, free)
    if sigma > doubts.NOISELESS:
        notes += doubts.check_loss(problem, best, free)
        notes += doubts.check_explained(problem, best, rows.target, free)
        if kind != intervals.NONE:
            notes += doubts.weakly_identified(law, best, moving, named, percentile, level)
        notes += doubts.check_rules(with_rows, named, estimate)
        notes += doubts.check_floor(problem, best, spread_out, moving)
        notes += doubts.check_pinned(problem, best, spread_out, moving, floor, rows.clusters) if floor else []
    residuals = _residuals(problem, best, rows.table, sigma)
    limits = (0.0, 1.0) if is_share(rows.target, rows.y) else None
    made = Fit(
        law=estimate,
        target=rows.target,
        objective_kind=objective,
        status=status,
        why=why,
        objective=best.value / objective.unit,
        gradient_norm=float(np.max(np.abs(best.gradient), initial=0.0)) / objective.unit,
        starts=len(theta0),
        share_at_optimum=best.share,
        intervals=named,
        interval_kind=kind,
        level=level,
        percentile=percentile,
        covariance=best.spread.covariance[0],
        ends=None if unbounded else ends,
        degrees=float(best.spread.degrees[0, free].min()),
        residuals=residuals,
        n_runs=len(rows.table),
        n_given=rows.table.given,
        n_clusters=0 if rows.clusters is None else len(np.unique(rows.clusters)),
        ranges={name: (float(x.min()), float(x.max())) for name, x in zip(law.inputs, problem.x, strict=True)},
        fixed=tuple(fixed),
        floor=floor,
        excluded=rows.table.excluded,
        notes=tuple(dict.fromkeys([*notes, *said])),
        without_rule=with_rows,
        misfit=learnt,
        lack_of_fit=doubts.lack_of_fit(problem, best, rows, free),
        draws=solver.to_constants(law, draws),
        limits=limits,
    )
    held_out = _held_out(made, rows)
    absurd = doubts.check_held_out(held_out, estimate, rows, limits, residuals, objective.log)
    return dataclasses.replace(made, held_out=held_out, notes=(*made.notes, *absurd))


def _check_arguments(
    law: type[Law],
    fixed: dict[str, float],
    objective: Objective,
    drop_worst: int,
    bootstrap: int,
    level: float,
) -> None:
    names = [c.name for c in law.constants()]
    for name, value in fixed.items():
        if name not in names:
            raise InputError(f"{law.name} has no constant {name} to fix; it has {', '.join(names)}")
        if name in floors_of(law):
            raise InputError(
                f"{name} is the floor of {law.name}: pin it with --floor {value:g}, which tells its source"
            )
        scale = law.constants()[names.index(name)].kind == "scale"
        if not math.isfinite(value) or (scale and value <= 0):
            raise InputError(f"{name} fixed at {value}; wanted a finite number, above 0 for a scale")
    if objective.kind not in ("auto", "huber", "squared", "asymmetric", "absolute"):
        raise InputError(f"loss {objective.kind!r}; wanted auto, huber, squared, asymmetric or absolute")
    if not objective.delta > 0 or not objective.asymmetry > 0:
        raise InputError(f"delta {objective.delta:g}, asymmetry {objective.asymmetry:g}; wanted numbers above 0")
    for name, count in (("drop_worst", drop_worst), ("bootstrap", bootstrap)):
        if count < 0:
            raise InputError(f"{name} {count}; wanted 0 or more")
    if not 0 < level < 1:
        raise InputError(f"level {level}; wanted a share between 0 and 1, such as 0.95")


def _chosen(
    law: type[Law],
    objective: Objective,
    rows: Rows,
    starts: ArrayLike | int,
    fixed: dict[str, float],
    free: NDArray[np.bool_],
) -> Objective:
    """The loss for these rows: least squares, or Huber's with a delta from their scatter."""
    squared = dataclasses.replace(objective, kind="squared")
    count = len(rows.table) if rows.clusters is None else len(np.unique(rows.clusters))
    if not choice.robust(count, int(free.sum())):
        return squared
    problem = rows.problem(law, squared)
    best = descend(problem, some_of(starts_of(problem, starts, fixed), STARTS_LEFT_IN), free)
    if best.sigma < doubts.NOISELESS:
        return squared
    problem, _ = choice.settled(problem, best.theta[None], free)
    return dataclasses.replace(problem.objective, delta=float(problem.objective.delta[0, 0]))


def _estimate(
    problem: Problem, theta0: Array, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None, level: float
) -> tuple[Optimum, Array, Array, str, Ends | None]:
    """The best optimum, both ends of its intervals, how these were found, and all constants at these ends."""
    best = descend(problem, theta0, free, clusters).sunk(problem, free, clusters)
    # A profile walks far from the optimum; where it finds a lower objective, the descent starts again from there.
    for _ in range(3):
        if best.sigma < doubts.NOISELESS or best.spread.flat[0]:
            break
        at, value = best.theta[None], np.array([best.value])
        found = intervals.profile(problem, at, value, best.spread, free, level)
        if (
            found.lowest[0, -1] >= best.value * (1 - solver.SAME)
            or not sensible(problem.law, found.lowest[:, :-1], free)[0]
        ):
            low, high = (np.where(free, end[0], best.theta) for end in (found.low, found.high))
            none = intervals.may_be_none(problem, found.low)[0] & free
            low, over = np.where(none, -np.inf, low), None
            if (none & np.isfinite(found.high[0])).any():
                over = intervals.over_floor(problem, at, value, best.spread, free, found, clusters, level)
            return best, low, high, "profile likelihood", Ends(found.ends[0], level, over)
        best = descend(problem, np.vstack([found.lowest[:, :-1], theta0]), free, clusters).sunk(problem, free, clusters)
    if best.spread.flat[0]:
        # A profile would follow one valley of many that lead off from here, and call its walls the ends.
        half = np.where(free, np.inf, 0.0)
        return best, best.theta - half, best.theta + half, intervals.NONE, None
    error = np.sqrt(np.diagonal(best.spread.covariance[0]))
    half = np.where(free, t_quantile(level, best.spread.degrees[0]) * error, 0.0)
    return best, best.theta - half, best.theta + half, "linearised", None


def _bootstrap(
    problem: Problem,
    best: Optimum,
    free: NDArray[np.bool_],
    wanted: int,
    clusters: NDArray[np.int64] | None,
    theta0: Array,
    level: float,
    seed: int,
    different: int,
) -> tuple[Array, list[str]]:
    """Refits to resampled runs in fit coordinates, (draws, p), and what is to be said of them."""
    none = np.zeros((0, len(free)))
    if not wanted:
        return none, []
    n, q = len(problem.x[0]), max(int(free.sum()), different)
    counts = intervals.resample(np.random.default_rng(seed), n, wanted, clusters)
    counts = counts[(counts > 0).sum(-1) > q]
    if not len(counts):
        return none, [f"no percentiles: none of {wanted} bootstrap draws held more than {q} different runs"]
    said = []
    if len(counts) < wanted:
        said.append(f"{wanted - len(counts)} of {wanted} bootstrap draws held too few different runs")
    enough = math.ceil(2 / (1 - level) - 1e-9)
    if len(counts) < enough:
        said.append(f"{len(counts)} bootstrap draws do not reach so far out; wanted {enough} or more")
    risen = np.where(free, solver.risen(problem, best.theta), best.theta)
    optima = np.unique(np.vstack([best.theta, risen, *best.others]), axis=0, return_index=True)[1]
    optima = np.vstack([best.theta, risen, *best.others])[np.sort(optima)]
    draws = intervals.bootstrap(problem, optima, best.spread, free, counts, seed)
    better, found = doubts.better_optima(problem, draws, counts, theta0, free)
    if len(better):
        draws = intervals.bootstrap(problem, np.vstack([optima, *better[:MORE]]), best.spread, free, counts, seed)
        still, found_ = doubts.better_optima(problem, draws, counts, theta0, free)
        said.append(f"a better optimum turned up in {found}: all draws were refitted from such optima too")
        if len(still):
            said.append(f"a better optimum turned up in {found_} even so: the bootstrap understates the spread")
    return draws, said


def _reported(law: type[Law], theta: Array) -> Array:
    """Constants as they are told: a floor that is 0 as good as is 0."""
    return np.where(solver.at_zero(law, theta), 0.0, solver.to_constants(law, theta))


def _named(law: type[Law], low: Array, high: Array) -> dict[str, Interval]:
    low, high = _reported(law, low), _reported(law, high)
    low = np.where([c.kind == "exponent" for c in law.constants()] & (high > 0), np.maximum(low, 0), low)
    return {c.name: (float(a), float(b)) for c, a, b in zip(law.constants(), low, high, strict=True)}


def _residuals(problem: Problem, best: Optimum, table: Table, sigma: float) -> Residuals:
    r = problem.y[0] - solver.predict(problem.law, best.theta, problem.x, problem.objective.log)
    if problem.objective.log:
        r = np.expm1(r)
    worst = np.argsort(-np.abs(r), kind="stable")[:3]
    degrees = float(best.spread.sigma_degrees[0])
    largest = tuple((table.label(int(i)), float(r[i])) for i in worst)
    return Residuals(math.sqrt(float(np.mean(r**2))), sigma, degrees, largest)


def _left_in(
    law: type[Law], objective: Objective, rows: Rows, theta0: Array, best: Optimum, free: NDArray[np.bool_]
) -> dict[str, dict[str, float]]:
    """The constants with the rows that were left out, one reason at a time."""
    constants = {}
    for reason, more in left_in(rows, law, objective).items():
        starts = np.vstack([best.theta[None], some_of(theta0, STARTS_LEFT_IN)])
        found = solver.solve(more.problem(law, objective), starts, free, tolerance=solver.CLOSE)
        values = solver.to_constants(law, found.theta[int(np.argmin(found.value))])
        constants[reason] = {c.name: float(v) for c, v in zip(law.constants(), values, strict=True)}
    return constants


def _held_out(found: Fit[L], rows: Rows) -> HeldOut | None:
    if rows.held is None:
        return None
    (measured,) = rows.held.positive(rows.target)
    columns = rows.held.positive(*found.law.inputs)
    bounded = found.bounded(**dict(zip(found.law.inputs, columns, strict=True)))
    law, said = (found.band(*columns, run=run).where(bounded) for run in (False, True))
    labels = tuple(rows.held.label(i) for i in range(len(rows.held)))
    parts = (measured, said.value, said.low, said.high, law.low, law.high)
    why = "" if bounded.all() else LEAVES_LIMITS if found.sound else PART_WAYS
    return HeldOut(rows.rule, labels, *(tuple(map(float, part)) for part in parts), why=why)
