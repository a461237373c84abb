"""What to doubt of a fit: runs that cannot tell the constants, constants without bounds, rivals, a floor that decides.

What makes a fit useless raises `FitError`; the rest is said in a sentence.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis import digits
from analysis.confidence import LEVEL, t_quantile
from analysis.fit import choice, intervals, solver
from analysis.fit.descent import GONE, Optimum, descend
from analysis.fit.estimate import HeldOut, Interval, LackOfFit, Residuals, Status
from analysis.fit.floor import Floor
from analysis.fit.floor import names as floors_of
from analysis.fit.rows import ENOUGH, FitError, Rows
from analysis.fit.solver import Array, Problem
from analysis.fit.starts import some_of
from analysis.laws import Law
from analysis.replicates import independent, replicated
from analysis.table.columns import COLUMNS

CHECKED_DRAWS = 50  # bootstrap draws that are refitted from all over the ranges as well
CHECKED_STARTS = 64  # per such draw
BETTER = 1e-4  # share by which a refit must be lower to count as another optimum
PROPORTIONAL = 0.1  # scatter of ln D around its line in ln N below which a law cannot tell N from D
EXCHANGEABLE = 0.01  # the same, below which the exponents of two terms could change places
ENDLESS = 1e300  # a scale that goes to infinity
VANISHING = 0.01  # an exponent that goes to 0 with it
NOISELESS = 1e-9  # scatter of ln(loss) below which the data were computed, not measured
WEAK = 1.5  # ratio of an interval's ends above which a constant is called weakly identified
ABSURD, ABSURDLY = 0.2, 5.0  # error on rows held out that is told, and in residuals, beyond which only they are missed
HARDLY = (
    0.1  # share of what a constant leaves, by the objective and per degree of freedom, that a law explains at least
)
TIED = 0.9  # share of a scale's variance that follows from the exponents, above which it is no constant of its own


# --- Before the descent


def check_design(law: type[Law], rows: Rows, free: NDArray[np.bool_]) -> list[str]:
    """Whether runs like these can tell the constants at all, whatever was measured.

    Raises:
        FitError: too few runs, clusters or different inputs; an input or a target that does not vary.
    """
    n, q = len(rows.table), int(free.sum())
    notes = []
    if n <= q:
        raise FitError(f"{law.name}: {n} runs for {q} constants; wanted at least {q + 1}, better {3 * q}")
    if rows.clusters is not None:
        groups = len(np.unique(rows.clusters))
        if groups <= q and rows.asked:
            raise FitError(
                f"{law.name}: {groups} clusters for {q} constants, however many rows; wanted at least {q + 1}, "
                f"better {3 * q}"
            )
        if q < groups < ENOUGH * q:
            notes.append(
                f"{groups} clusters for {q} constants: their scatter is hardly known and the intervals may be too "
                f"short; wanted {ENOUGH * q} or more"
            )
    if np.ptp(rows.y) <= 1e-12 * np.max(np.abs(rows.y)):
        raise FitError(f"{law.name}: {rows.target} is {rows.y[0]:g} in all {n} runs; wanted losses that differ")
    x = [np.log(rows.table[name]) for name in law.inputs]
    for name, column in zip(law.inputs, x, strict=True):
        if np.ptp(column) < 1e-9 and free.all():
            raise FitError(
                f"{law.name}: {name} is {digits.typed(np.exp(column[0]))} in all {n} runs; wanted several values"
            )
    points = len(np.unique(np.round(np.column_stack(x), 9), axis=0))
    if points < q:
        raise FitError(
            f"{law.name}: {points} different {' and '.join(law.inputs)} for {q} constants; wanted at least {q}"
        )
    exponents = [c.name for c, f in zip(law.constants(), free, strict=True) if c.kind == "exponent" and f]
    for name, column in zip(law.inputs[1:], x[1:], strict=True):
        slope, scatter = _follows(x[0], column)
        if scatter < PROPORTIONAL and len(exponents) >= 2:
            notes.append(
                f"{name} follows {law.inputs[0]} in these runs (power {slope:.2f}, scatter {scatter:.1%}): "
                f"{' and '.join(exponents)} cannot be separated; vary {name} at fixed {law.inputs[0]}"
            )
    return notes


def too_few_runs(rows: Rows, free: NDArray[np.bool_]) -> str:
    """Why rows of so few runs bound no constant, or nothing: what these runs share is not seen in their scatter."""
    if rows.clusters is None:
        return ""
    groups, q = len(np.unique(rows.clusters)), int(free.sum())
    if groups > q:
        return ""
    runs = f"{groups} {digits.plural(groups, 'run', 'runs')}"
    return (
        f"{len(rows.table)} rows of {runs}, for {q} constants: nothing tells how runs differ; wanted {q + 1} runs or "
        f"more, better {ENOUGH * q}"
    )


def exchangeable(law: type[Law], rows: Rows, free: NDArray[np.bool_]) -> str:
    """Why two exponents could change places, or nothing: then no interval can say which is which."""
    exponents = [c.name for c, f in zip(law.constants(), free, strict=True) if c.kind == "exponent" and f]
    if len(law.inputs) != 2 or len(exponents) != 2:
        return ""
    one, other = law.inputs
    slope, scatter = _follows(np.log(rows.table[one]), np.log(rows.table[other]))
    if scatter > EXCHANGEABLE:
        return ""
    return (
        f"{' and '.join(exponents)} could change places: {other} is {one} to the power {slope:.2f} in all runs; "
        f"vary {other} at fixed {one}"
    )


def _follows(x: Array, y: Array) -> tuple[float, float]:
    """The power with which exp(y) follows exp(x), and the scatter around it; none where one of them does not vary."""
    if np.ptp(x) < 1e-9 or np.ptp(y) < 1e-9:
        return 0.0, math.inf
    slope, intercept = np.polyfit(x, y, 1)
    return float(slope), float(np.std(y - slope * x - intercept))


# --- The estimate


def status(
    problem: Problem, best: Optimum, free: NDArray[np.bool_], named: dict[str, Interval], unbounded: str
) -> tuple[Status, str]:
    """What became of the fit, in a word and in a sentence."""
    law = problem.law
    constants = law.constants()
    if unbounded:
        return Status.FLAT, unbounded
    gone = without_effect(problem, best, free)
    if gone.any():
        k = int(np.flatnonzero(gone)[0])
        value = digits.typed(float(solver.to_constants(law, best.theta)[k]))
        held = "" if gone.sum() == free.sum() else "; the intervals of the others hold it there"
        return (
            Status.AT_BOUND,
            f"{constants[k].name} has no effect on any prediction: it left the fit at {value}{held}",
        )
    J = _relative(problem, np.where(free, solver.risen(problem, best.theta), best.theta))
    A = J[:, free].T @ J[:, free]
    size = np.sqrt(np.maximum(np.diagonal(A), 1e-100))
    values, vectors = np.linalg.eigh(A / np.outer(size, size))
    if values[0] < intervals.FLAT:
        names = [c.name for c, f in zip(constants, free, strict=True) if f]
        together = [name for name, v in zip(names, vectors[:, 0], strict=True) if abs(v) > 0.2]
        told = f"{' and '.join(together)} can change together without changing any prediction"
        return Status.FLAT, told + _two_values(problem)
    sunk = np.flatnonzero(solver.at_zero(law, best.theta) & free)
    if sunk.size:
        name = constants[sunk[0]].name
        most = named[name][1]
        or_one = f"one of at most {digits.typed(most)} at this level" if math.isfinite(most) else "do not bound it"
        return Status.AT_BOUND, f"{name} sank to 0: the runs want no floor, or {or_one}"
    floors = {c.name for c in constants if c.kind == "floor"}  # 0 is an end as good as any for them
    open_ = [name for name, ends in named.items() if _open(ends) and not (name in floors and math.isfinite(ends[1]))]
    if open_:
        return Status.FLAT, f"{' and '.join(open_)} not identified: no bound on one side at this level"
    if len(best.others) and best.other_values[0] <= best.rival:
        other = solver.to_constants(law, best.others[0])
        values_ = ", ".join(f"{c.name} {digits.typed(v)}" for c, v, f in zip(constants, other, free, strict=True) if f)
        objective = best.other_values[0] / problem.objective.unit
        return Status.STARTS_DISAGREE, f"another optimum fits as well (objective {objective:.7g}): {values_}"
    error = np.sqrt(np.diagonal(best.spread.covariance[0]))
    slope = float(np.max(np.abs(best.gradient * error)[free]))
    if not best.converged and best.sigma > NOISELESS and slope > 1e-3 * best.value:
        return (
            Status.NOT_CONVERGED,
            f"a step of one standard error would still change the objective by {slope / best.value:.1%}",
        )
    return Status.CONVERGED, _agreement(best)


def _agreement(best: Optimum) -> str:
    """How many starts came to the optimum: exactly, or where hardly any did, as near as the runs tell."""
    exact = f"{best.share:.0%}"
    if exact != "0%":
        return f"{exact} of the starts reached this optimum"
    near = f"{best.near:.0%}" if best.near >= 0.005 else f"{best.near:.1%}"
    return f"{near} of the starts came as near to this optimum as these runs tell optima apart"


def without_effect(problem: Problem, best: Optimum, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the free constants affect no prediction: scales and exponents of terms that left the fit. p"""
    others = np.array([c.kind not in ("number", "floor") for c in problem.law.constants()])
    return free & others & (np.abs(_relative(problem, best.theta)).max(0) < GONE)


def _two_values(problem: Problem) -> str:
    """Which inputs have so few values that a floor, a scale and an exponent are one curve through them; or nothing."""
    two = [n for n, x in zip(problem.law.inputs, problem.x, strict=True) if len(np.unique(np.round(np.log(x), 9))) == 2]
    return f": {' and '.join(two)} has 2 values; wanted 3 or more, or a floor pinned by --floor" if two else ""


def _relative(problem: Problem, theta: Array) -> Array:
    """Slopes of the logarithms of the predictions in the fit coordinates. n p"""
    J = solver.jacobian(problem.law, theta, problem.x, problem.objective.log)
    J = np.nan_to_num(J, nan=0.0, posinf=0.0, neginf=0.0)
    if problem.objective.log:
        return J
    return J / np.abs(solver.predict(problem.law, theta, problem.x, False))[:, None]


def _open(ends: Interval) -> bool:
    low, high = ends
    return not math.isfinite(high) or low == 0 or not math.isfinite(low)


def check_exponents(
    law: type[Law], estimate: Law, free: NDArray[np.bool_], named: dict[str, Interval], notes: list[str]
) -> None:
    """Whether the exponents that must be above 0 are.

    Raises:
        FitError: one is not, or would not be if a scale did not stand at the largest number.
    """
    endless = any(f and getattr(estimate, c.name) > ENDLESS for c, f in zip(law.constants(), free, strict=True))
    least = VANISHING if endless else 0.0
    for c, f in zip(law.constants(), free, strict=True):
        value = getattr(estimate, c.name)
        if f and c.kind == "exponent" and not value > least:
            ends = "" if _open(named[c.name]) else f" ({_span(named[c.name])})"
            why = next(
                (note for note in notes if "cannot be separated" in note), "look at the table, or fit another form"
            )
            raise FitError(
                f"{law.name}: these runs do not show the law: its exponent {c.name} came out at "
                f"{digits.plain(value)}{ends}, and one clearly above 0 is wanted; {why}"
            )


def weakly_identified(
    law: type[Law],
    best: Optimum,
    free: NDArray[np.bool_],
    named: dict[str, Interval],
    percentile: dict[str, Interval],
    level: float,
) -> list[str]:
    """The constants that the runs leave open by more than a factor, by the intervals or by the bootstrap.

    A scale that follows from the exponents (N_c, A: the law at N = 1 or at a loss of 1, decades from any run) always
    is, and that says nothing against the law: it is left to its interval.
    """
    covariance = best.spread.covariance[0]
    exponents = np.array([c.kind == "exponent" for c in law.constants()]) & free
    inverse = np.linalg.pinv(covariance[np.ix_(exponents, exponents)], hermitian=True)
    notes = []
    for k, c in enumerate(law.constants()):
        if not free[k] or c.kind == "number":
            continue
        ends, drawn = named[c.name], percentile.get(c.name, named[c.name])
        if all(low > 0 and high / low <= WEAK for low, high in (ends, drawn)):
            continue
        explained = covariance[k, exponents] @ inverse @ covariance[exponents, k]
        if c.kind == "scale" and explained > TIED * covariance[k, k] and not _open(ends):
            continue
        by_draws = f" (bootstrap {_span(drawn)})" if percentile else ""
        notes.append(f"{c.name} is weakly identified: {100 * level:.10g} % from {_span(ends)}{by_draws}")
    return notes


def _span(ends: Interval) -> str:
    return f"{digits.plain(ends[0])} to {digits.plain(ends[1])}"


def check_rules(left_in: dict[str, dict[str, float]], named: dict[str, Interval], estimate: Law) -> list[str]:
    """Whether leaving rows out decided what came of it: constants that leave their intervals with these rows."""
    notes = []
    for reason, constants in left_in.items():
        moved = [
            f"{name} {digits.plain(value, 4)} instead of {digits.plain(getattr(estimate, name), 4)}"
            for name, value in constants.items()
            if not named[name][0] * (1 - 1e-9) <= value <= named[name][1] * (1 + 1e-9)
        ]
        if moved:
            notes.append(f"leaving rows out matters: with them ({reason}) {', '.join(moved)}")
    return notes


def check_loss(problem: Problem, best: Optimum, free: NDArray[np.bool_]) -> list[str]:
    """Whether Huber's loss is one that so few rows can bear."""
    n, q, delta = len(problem.x[0]), int(free.sum()), problem.objective.delta
    if problem.objective.kind == "squared" or choice.robust(n, q) or best.sigma < choice.TUNING * delta:
        return []
    absolute = problem.objective.kind == "absolute"
    bend = (
        "the absolute loss bends at 0" if absolute else f"delta {delta:g} is far below the scatter of {best.sigma:.2g}"
    )
    return [
        f"{bend}, and {n - q} rows beyond the constants are few: such intervals are too short; fit with squared loss"
    ]


def check_explained(problem: Problem, best: Optimum, target: str, free: NDArray[np.bool_]) -> list[str]:
    """Whether the law says more of the rows than one number for all of them would."""
    y, w, n = problem.y[0], problem.weights[0], len(problem.x[0])
    order = np.argsort(y, kind="stable")
    median = y[order][np.searchsorted(np.cumsum(w[order]), w.sum() / 2)]
    constant = min(float((w * problem.objective.terms(c - y)[0]).sum()) for c in (np.average(y, weights=w), median))
    explained = 1 - best.value / (n - free.sum()) * (n - 1) / constant
    if explained >= HARDLY:
        return []
    rising = [
        name for name, x in zip(problem.law.inputs, problem.x, strict=True) if np.corrcoef(np.log(x), y)[0, 1] > 0.5
    ]
    rises = f"; {target} rises with {' and '.join(rising)}" if rising else ""
    return [
        f"the law explains {max(explained, 0.0):.0%} of what one number for all rows leaves of {target}: it tells "
        f"nothing of these rows{rises}"
    ]


def _far(problem: Problem) -> tuple[tuple[Array, ...], str]:
    """Ten times beyond the rows, a place for each input of the law, and in words; a share stays at its largest."""
    inputs = problem.law.inputs
    grown = [COLUMNS.get(name) != "share" for name in inputs]
    far = tuple(np.array([(10 if more else 1) * column.max()]) for column, more in zip(problem.x, grown, strict=True))
    names = " and ".join(name for name, more in zip(inputs, grown, strict=True) if more)
    return far, f"ten times the largest {names}"


def check_floor(problem: Problem, best: Optimum, theta0: Array, free: NDArray[np.bool_]) -> list[str]:
    """How much a forecast ten times beyond the runs hangs on the irreducible loss: the fit again without one."""
    law = problem.law
    far, place = _far(problem)
    notes = []
    for k, c in enumerate(law.constants()):
        if c.kind != "floor" or not free[k] or free.sum() < 2 or solver.at_zero(law, best.theta)[k]:
            continue
        starts = np.vstack([best.theta[None], some_of(theta0, 31)])
        starts[:, k] = -intervals.FAR
        held = free.copy()
        held[k] = False
        without = solver.solve(problem, starts, held, tolerance=solver.CLOSE)
        i = int(np.argmin(without.value))
        if not np.isfinite(without.value[i]):
            continue
        with_, none = (float(solver.predict(law, t, far, False)[0]) for t in (best.theta, without.theta[i]))
        rise = 2 * (without.value[i] - best.value) / float(best.spread.scale[0, k])
        verdict = (
            "which these runs reject"
            if rise > t_quantile(LEVEL, best.spread.degrees[0, k]) ** 2
            else "which these runs allow"
        )
        if abs(none / with_ - 1) > 0.01:
            notes.append(
                f"at {place} the forecast is {digits.typed(with_, 4)} with {c.name} free and {digits.typed(none, 4)} "
                f"with {c.name} = 0, {verdict}"
            )
    return notes


def check_pinned(
    problem: Problem,
    best: Optimum,
    theta0: Array,
    free: NDArray[np.bool_],
    floor: Floor,
    clusters: NDArray[np.int64] | None,
) -> list[str]:
    """What the runs say of the floor at which they were pinned, and what a forecast ten times beyond them makes of it.

    Args:
        best, free: of the fit with the floor pinned.
    """
    law, name = problem.law, floors_of(problem.law)[0]
    k = [c.name for c in law.constants()].index(name)
    starts = np.vstack([best.theta[None], some_of(theta0, 31)])
    starts[:, k] = solver.lifted(problem)
    also = free.copy()
    also[k] = True
    released = descend(problem, starts, also, clusters).sunk(problem, also, clusters)
    far, place = _far(problem)
    pinned, other = (float(solver.predict(law, t, far, False)[0]) for t in (best.theta, released.theta))
    rise = 2 * (best.value - released.value) / float(released.spread.scale[0, k])
    rejected = not released.spread.flat[0] and rise > t_quantile(LEVEL, released.spread.degrees[0, k]) ** 2
    value = 0.0 if solver.at_zero(law, released.theta)[k] else float(np.exp(released.theta[k]))
    verdict = "which these runs reject" if rejected else "which these runs allow"
    return [
        f"{name} is pinned at {digits.typed(floor.value, 4)} ({floor.told}), {verdict}, and no interval doubts it: "
        f"free it is {digits.typed(value, 4)}, and at {place} the forecast is {digits.typed(other, 4)} instead of "
        f"{digits.typed(pinned, 4)}"
    ]


def check_held_out(
    held_out: HeldOut | None, estimate: Law, rows: Rows, limits: Interval | None, residuals: Residuals, log: bool
) -> list[str]:
    """Whether the law means anything where rows were held out.

    Args:
        log: residuals are relative, as of a fit in the logarithm.
    """
    if held_out is None or rows.held is None:
        return []
    notes = []
    if limits is not None:
        predicted = np.asarray(estimate(*rows.held.positive(*estimate.inputs)))
        beyond = int(np.sum((predicted < limits[0]) | (predicted > limits[1])))
        if beyond:
            notes.append(
                f"{rows.target} lies between {limits[0]:g} and {limits[1]:g}, and the law leaves that at {beyond} of "
                f"{len(predicted)} rows held out: it does not hold there"
            )
    typical = 1.0 if log else float(np.sqrt(np.mean(np.square(held_out.measured))))  # residuals are differences
    missed = held_out.rms if log else float(np.sqrt(np.mean(np.subtract(held_out.measured, held_out.predicted) ** 2)))
    missed, fitted = missed / typical, residuals.rms / typical
    if math.isfinite(missed) and missed > ABSURD:
        verdict = "it does not hold there" if missed > ABSURDLY * fitted else "it says little of either"
        notes.append(
            f"held out, the law misses by {missed:.0%} (rms), where it missed the rows fitted by {fitted:.2%}: "
            f"{verdict}"
        )
    return notes


# --- The bootstrap


def better_optima(
    problem: Problem, draws: Array, counts: NDArray[np.int64], theta0: Array, free: NDArray[np.bool_]
) -> tuple[Array, str]:
    """Refits some draws from starts all over the ranges: were the few starts of each draw enough?

    Of more than `CHECKED_STARTS` starts so many are taken, by chance.

    Returns:
        Optima better than those the draws have, the furthest below first, (k, p), and what was found, in words.
    """
    checked = min(CHECKED_DRAWS, max(1, len(draws) // 20))
    theta0 = some_of(theta0, CHECKED_STARTS)
    resampled = problem.with_data(weights=counts[:checked] * problem.weights[0])
    lanes = np.repeat(np.arange(checked), len(theta0))
    again = solver.solve(resampled, np.tile(theta0, (checked, 1)), free, lanes, tolerance=0.1 * BETTER)
    value = again.value.reshape(checked, -1)
    lowest = value.argmin(1)
    r = solver.predict(problem.law, draws[:checked], problem.x, problem.objective.log) - problem.y
    kept = (resampled.weights * problem.objective.terms(r)[0]).sum(-1)
    measured = kept > problem.y.shape[1] * NOISELESS**2  # else rounding decides
    lower = np.where(measured, 1 - value[np.arange(checked), lowest] / np.where(measured, kept, 1.0), 0.0)
    missed = np.flatnonzero(lower > BETTER)
    theta = again.theta.reshape(checked, len(theta0), -1)[np.arange(checked), lowest]
    said = f"{len(missed)} of {checked} draws refitted from {len(theta0)} starts"
    return theta[missed[np.argsort(-lower[missed])]], said


# --- Seed noise


def lack_of_fit(problem: Problem, best: Optimum, rows: Rows, free: NDArray[np.bool_]) -> LackOfFit | None:
    """The scatter around the law against that among replicates; None without replicates."""
    r = solver.predict(problem.law, best.theta, problem.x, problem.objective.log) - problem.y[0]
    w = problem.weights[0]
    groups = list(replicated(rows.table, rows.target))
    pure = sum(float((w[i] * (r[i] - np.average(r[i], weights=w[i])) ** 2).sum()) for i in groups)
    degrees = sum(len(i) - 1 for i in groups)
    lack_degrees = len(r) - int(free.sum()) - degrees
    if degrees < 1 or lack_degrees < 1 or pure <= 0:
        return None
    F = ((w * r**2).sum() - pure) / lack_degrees / (pure / degrees)
    known = int(independent(rows.table, groups)[1].sum())  # branches of one trunk share its noise
    return LackOfFit(float(F), float(special.fdtrc(lack_degrees, known, F)), (lack_degrees, known))
