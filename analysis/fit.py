"""Estimation: a law and a table of runs to a `Fit`, one engine for every law.

Residuals are taken in the logarithm of the loss, weighed by Huber's function, and summed; many starts go down at once
in float64 with exact gradients (`analysis.solver`). A useless fit raises `FitError`, a doubtful one says why.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from analysis import intervals, solver
from analysis.intervals import Spread
from analysis.laws import Law, law_by_name
from analysis.replicates import same_settings
from analysis.rows import FitError, Rows, admitted, held_out_rows, select_rows
from analysis.solver import Array, Objective, Problem
from analysis.starts import starts_of
from analysis.table import Excluded, Table
from scaling.errors import InputError

STARTS = 128  # spread over the law's ranges
SAME = 1e-6  # relative difference of objectives below which two starts ended in one optimum
RIVAL = 0.1  # of the rise that bounds a 95 % interval: an optimum this near is as good as the best
CHECKED_DRAWS = 50  # bootstrap draws that are refitted from all over the ranges as well
CHECKED_STARTS = 32
PROPORTIONAL = 0.1  # scatter of ln D around its line in ln N below which a law cannot tell N from D
FLAT = 1e-9  # smallest eigenvalue of the scaled curvature below which a direction is flat
NOISELESS = 1e-9  # scatter of ln(loss) below which the data were computed, not measured
GONE = 1e-4  # share of every prediction below which a term of the law has left the fit

Interval = tuple[float, float]
L = TypeVar("L", bound=Law)

_PLAIN = (  # fields that JSON holds as they are
    "status",
    "why",
    "objective",
    "gradient_norm",
    "starts",
    "share_at_optimum",
    "interval_kind",
    "level",
    "degrees",
    "n_runs",
    "without_rule",
)


class Prediction(NamedTuple):
    """A law's value with the interval of its mean: floats, or arrays of equal shape."""

    value: Any
    low: Any
    high: Any


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How well the law foretold runs that it had not seen."""

    rule: str
    rows: tuple[str, ...]
    mean: float  # of ln(predicted / measured); above 0 the law is too pessimistic
    rms: float
    worst: float  # largest |ln(predicted / measured)|


@dataclasses.dataclass(frozen=True)
class Residuals:
    """ln(predicted / measured) over the rows fitted, or the difference where the fit was not logarithmic."""

    rms: float
    sigma: float  # from n - p degrees of freedom
    largest: tuple[tuple[str, float], ...]  # the worst rows, worst first


@dataclasses.dataclass(frozen=True)
class LackOfFit:
    """F test of the scatter around the law against the scatter between replicates."""

    F: float
    p: float
    degrees: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Fit(Generic[L]):
    """A law with its constants estimated, and how far they can be trusted.

    Attributes:
        law: the law; call it with columns in the order of `law.inputs`.
        status, why: "converged", "at a bound", "flat direction", "starts disagree" or "not converged", and a sentence.
        objective: summed over rows, weights of mean 1.
        gradient_norm: largest slope of the objective in a fit coordinate, in units of the objective.
        starts, share_at_optimum: how many starts were tried, and which share reached this optimum.
        intervals: of each constant, by the method `interval_kind` at `level`; a fixed constant's has no width.
        percentile: the same by bootstrap percentiles, which cover less than they say with few runs.
        covariance: of the fit coordinates (logarithms of scales and floors), in the order of the law's fields.
        degrees: rows (or clusters) minus constants estimated.
        notes: everything a reader should know before trusting a number.
        without_rule: constants with the rows of `drop_worst` left in.
        draws: constants of each bootstrap refit, (draws, p).
    """

    law: L
    target: str
    objective_kind: Objective
    status: str
    why: str
    objective: float
    gradient_norm: float
    starts: int
    share_at_optimum: float
    intervals: Mapping[str, Interval]
    interval_kind: str
    level: float
    percentile: Mapping[str, Interval]
    covariance: Array
    degrees: float
    residuals: Residuals
    n_runs: int
    ranges: Mapping[str, Interval]  # of the columns the law was fitted over
    fixed: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()
    without_rule: Mapping[str, float] = dataclasses.field(default_factory=dict)
    held_out: HeldOut | None = None
    lack_of_fit: LackOfFit | None = None
    draws: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def constants(self) -> dict[str, float]:
        return {c.name: float(getattr(self.law, c.name)) for c in self.law.constants()}

    @property
    def theta(self) -> Array:
        """The constants in fit coordinates."""
        return solver.to_theta(type(self.law), np.array(list(self.constants.values())))

    @property
    def stderr(self) -> dict[str, float]:
        """Standard errors of the constants themselves, from the covariance."""
        error = np.sqrt(np.diagonal(self.covariance))
        return {
            c.name: float(e * self.constants[c.name] if c.log else e)
            for c, e in zip(self.law.constants(), error, strict=True)
        }

    def predict(self, *, run: bool = False, **columns: ArrayLike) -> Prediction:
        """The law at these inputs, `fit.predict(params=1e9, tokens=2e10)`, with the interval of its mean.

        Args:
            run: widen the interval by the scatter of a single run around the law.
            columns: one for each of `law.inputs`, floats or arrays that broadcast.

        Raises:
            InputError: a column is missing, unknown or not positive.
        """
        unknown = sorted(set(columns) - set(self.law.inputs))
        missing = [name for name in self.law.inputs if name not in columns]
        if unknown or missing:
            raise InputError(
                f"{self.law.name} predicts {self.target} from {', '.join(self.law.inputs)}; "
                + (f"missing {', '.join(missing)}" if missing else f"it does not take {', '.join(unknown)}")
            )
        return self.band(*(columns[name] for name in self.law.inputs), run=run)

    def band(self, *columns: ArrayLike, run: bool = False) -> Prediction:
        """As `predict`, columns in the order of `law.inputs`."""
        x = np.broadcast_arrays(*(np.asarray(column, np.float64) for column in columns))
        for name, column in zip(self.law.inputs, x, strict=True):
            if not np.all(column > 0):
                raise InputError(f"{name}: found {column[~(column > 0)].flat[0]:g}, wanted a number above 0")
        flat = tuple(column.ravel() for column in x)
        log = self.objective_kind.log
        centre = solver.predict(type(self.law), self.theta, flat, log)
        J = solver.jacobian(type(self.law), self.theta, flat, log)  # n p
        variance = np.einsum("np,pq,nq->n", J, self.covariance, J) + (self.residuals.sigma**2 if run else 0.0)
        half = intervals.t_quantile(self.level, np.array(self.degrees)) * np.sqrt(np.maximum(variance, 0))
        with np.errstate(over="ignore"):
            parts = (np.exp(part) if log else part for part in (centre, centre - half, centre + half))
            return Prediction(*(part.reshape(x[0].shape)[()] for part in parts))

    def derived(self, quantity: Callable[[Any], Any], *, log: bool = False) -> Prediction:
        """A quantity that follows from the constants, say `lambda law: law.alpha / law.beta`, with its interval.

        Args:
            quantity: of a law whose constants are floats.
            log: work out the interval in the logarithm, for quantities that span decades.
        """
        law = type(self.law)
        transform = np.log if log else np.asarray

        def at(theta: Array) -> Array:
            return transform(np.asarray(quantity(law(*solver.to_constants(law, theta))), np.float64))

        theta = self.theta
        centre, slopes = at(theta), []
        for k in range(len(theta)):
            h = np.zeros_like(theta)
            h[k] = 1e-5 * max(1.0, abs(theta[k]))
            slopes.append((at(theta + h) - at(theta - h)) / (2 * h[k]))
        g = np.stack(slopes, -1)
        half = intervals.t_quantile(self.level, np.array(self.degrees)) * np.sqrt(
            np.einsum("...p,pq,...q->...", g, self.covariance, g)
        )
        parts = (centre, centre - half, centre + half)
        return Prediction(*(np.exp(part)[()] if log else part[()] for part in parts))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the constants stand beside `law`, `objective`, `intervals`, `status` and the rest."""
        return {
            "law": self.law.name,
            "source": self.law.source,
            "inputs": list(self.law.inputs),
            "target": self.target,
            **self.constants,
            "units": {c.name: c.unit for c in self.law.constants()},
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "interval_kind": self.interval_kind,
            "level": self.level,
            "percentile": {name: list(ends) for name, ends in self.percentile.items()},
            "stderr": self.stderr,
            "status": self.status,
            "why": self.why,
            "objective": self.objective,
            "objective_kind": dataclasses.asdict(self.objective_kind),
            "gradient_norm": self.gradient_norm,
            "starts": self.starts,
            "share_at_optimum": self.share_at_optimum,
            "covariance": self.covariance.tolist(),
            "degrees": self.degrees,
            "residuals": dataclasses.asdict(self.residuals),
            "n_runs": self.n_runs,
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "fixed": list(self.fixed),
            "excluded": [{"rows": list(e.rows), "reason": e.reason} for e in self.excluded],
            "notes": list(self.notes),
            "without_rule": dict(self.without_rule),
            "held_out": dataclasses.asdict(self.held_out) if self.held_out else None,
            "lack_of_fit": dataclasses.asdict(self.lack_of_fit) if self.lack_of_fit else None,
            "draws": self.draws.tolist(),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, written to `path` where one is given. Infinite ends become null."""
        text = json.dumps(_finite(self.to_dict()), indent=1, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, source: str | Path, law: type[Law] | None = None) -> Self:
        """A fit from JSON text or from a file. A law of one's own is given as `law`.

        Raises:
            InputError: not the JSON of a fit.
        """
        text = source if isinstance(source, str) and source.lstrip().startswith("{") else _read(Path(source))
        try:
            return cls._from_dict(json.loads(text), law)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(
                f"not the JSON of a fit ({error}); wanted what `scaling fit LAW TABLE --json` prints"
            ) from error

    @classmethod
    def _from_dict(cls, d: dict[str, Any], law: type[Law] | None) -> Self:
        law = cast(type[L], law or law_by_name(d["law"]))
        log = {c.name: c.log for c in law.constants()}

        def interval(ends: Sequence[float | None], name: str) -> Interval:
            low, high = ends
            return ((0.0 if log.get(name) else -math.inf) if low is None else low, math.inf if high is None else high)

        covariance = np.array([[math.inf if v is None else v for v in row] for row in d["covariance"]], float)
        residuals = d["residuals"]
        lack, held = d["lack_of_fit"], d["held_out"]
        return cls(
            law=law(**{c.name: d[c.name] for c in law.constants()}),
            target=d["target"],
            objective_kind=Objective(**d["objective_kind"]),
            intervals={name: interval(ends, name) for name, ends in d["intervals"].items()},
            percentile={name: interval(ends, name) for name, ends in d["percentile"].items()},
            covariance=covariance,
            residuals=Residuals(residuals["rms"], residuals["sigma"], tuple((r, v) for r, v in residuals["largest"])),
            ranges={name: (low, high) for name, (low, high) in d["ranges"].items()},
            fixed=tuple(d["fixed"]),
            excluded=tuple(Excluded(tuple(e["rows"]), e["reason"]) for e in d["excluded"]),
            notes=tuple(d["notes"]),
            held_out=HeldOut(**{**held, "rows": tuple(held["rows"])}) if held else None,
            lack_of_fit=LackOfFit(lack["F"], lack["p"], tuple(lack["degrees"])) if lack else None,
            draws=np.array(d["draws"], float).reshape(-1, len(log)),
            **{name: d[name] for name in _PLAIN},
        )

    def summary(self) -> str:
        """The fit as text for a person."""
        units = {c.name: c.unit for c in self.law.constants()}
        formula = (type(self.law).__doc__ or "").split(":")[0].splitlines()[0]
        lines = [f"{self.law.name}: {formula} ({self.law.source})"]
        lines.append(f"{self.n_runs} runs; {self.status}: {self.why}")
        for name, value in self.constants.items():
            low, high = self.intervals[name]
            ends = "fixed" if name in self.fixed else f"{self.level:.0%} {_digits(low)} to {_digits(high)}"
            if name in self.percentile and name not in self.fixed:
                low, high = self.percentile[name]
                ends += f" (percentiles of {len(self.draws)} refits {_digits(low)} to {_digits(high)})"
            lines.append(f"  {name:<8} {_digits(value):>12} {units[name]:<12} {ends}")
        r, kind = self.residuals, self.objective_kind
        rule = kind.kind if kind.kind == "squared" else f"{kind.kind}, delta {kind.delta:g}"
        lines.append(f"objective {self.objective:.9g} ({rule}, {'log ' if kind.log else ''}{self.target}, summed)")
        lines.append(
            f"residuals rms {_share(r.rms, kind.log)}; "
            f"worst {', '.join(f'{name} {_share(v, kind.log)}' for name, v in r.largest)}"
        )
        if self.held_out:
            h = self.held_out
            lines.append(
                f"held out ({h.rule}, {len(h.rows)} runs): "
                f"off by {h.rms:.2%} rms, {h.mean:+.2%} mean, {h.worst:.2%} worst"
            )
        if self.lack_of_fit:
            t = self.lack_of_fit
            lines.append(f"lack of fit against replicates: F{t.degrees} = {t.F:.2f}, p = {t.p:.2g}")
        lines += [f"left out: {len(e.rows)} ({e.reason})" for e in self.excluded]
        if self.without_rule:
            values = ", ".join(f"{name} {_digits(value)}" for name, value in self.without_rule.items())
            lines.append(f"with drop_worst left in: {values}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def fit(
    law: type[L] | str,
    table: Table | Mapping[str, ArrayLike],
    *,
    target: str | None = None,
    loss: Literal["huber", "squared", "asymmetric"] = "huber",
    delta: float = 1e-3,
    log: bool = True,
    asymmetry: float = 10.0,
    drop_worst: int = 0,
    weights: ArrayLike | str | None = None,
    hold_out: ArrayLike | str | None = None,
    fixed: Mapping[str, float] | None = None,
    level: float = 0.95,
    bootstrap: int = 0,
    clusters: str | None = None,
    starts: ArrayLike | int = STARTS,
    every_run: bool = False,
    seed: int = 0,
) -> Fit[L]:
    """Estimates the constants of a law from the runs that it is about.

    Args:
        law: a law class or its name.
        table: runs; a mapping of columns becomes a `Table`.
        target: column to fit, the law's own by default.
        loss: "huber" (delta in log loss), "squared", or "asymmetric" (runs above the curve weigh less than others).
        log: residuals in the logarithm of the target.
        drop_worst: leave out this many runs with the largest targets (and show the constants with them).
        weights: one positive number per row of `table`, or "replicates": from the spread of runs that differ in seed.
        hold_out: runs kept out of the fit and foretold: "params" for the largest size (or another column), "params>1e9"
            for a rule, or a bool per row of `table`.
        fixed: constants that are known.
        bootstrap: number of refits to resampled runs.
        clusters: column whose equal values mark rows of one run, which are resampled together.
        starts: how many, or the starts themselves as constants, (s, p).
        every_run: fit all rows of the table, also those the law is not about.

    Raises:
        InputError: a column, a cell or an argument that cannot be used.
        FitError: too few runs, an input that does not vary, an exponent not above 0, no start that leads anywhere.
    """
    law = cast(type[L], law_by_name(law) if isinstance(law, str) else law)
    table = table if isinstance(table, Table) else Table.from_columns({k: np.asarray(v) for k, v in table.items()})
    fixed = dict(fixed or {})
    objective = Objective(loss, float(delta), log, float(asymmetry))
    _check_arguments(law, fixed, objective, drop_worst, bootstrap, level)
    rows = select_rows(law, table, target, objective, drop_worst, weights, hold_out, every_run, clusters)
    problem = rows.problem(law, objective)
    free = np.array([c.name not in fixed for c in law.constants()])
    notes = [*rows.notes, *_check_design(law, rows, free)]

    theta0 = starts_of(problem, starts, fixed)
    spread_out = theta0 if isinstance(starts, int) else starts_of(problem, STARTS, fixed)
    best = _descend(problem, theta0, free, rows.clusters)
    low, high = _linear_interval(best, free, level)
    # A profile walks far from the optimum; where it finds a lower objective, the descent starts again from there.
    for _ in range(3):
        if best.sigma(problem) < NOISELESS:
            break
        low_, high_, lowest = intervals.profile(problem, best.theta[None], best.value[None], best.spread, free, level)
        if lowest[0, -1] >= best.value * (1 - SAME) or not _sensible(law, lowest[:, :-1], free)[0]:
            low, high = np.where(free, low_[0], best.theta), np.where(free, high_[0], best.theta)
            break
        best = _descend(problem, np.vstack([lowest[:, :-1], theta0]), free, rows.clusters)
        low, high = _linear_interval(best, free, level)

    draws = np.zeros((0, len(free)))
    percentile: dict[str, Interval] = {}
    if bootstrap:
        counts = intervals.resample(np.random.default_rng(seed), len(rows.table), bootstrap, rows.clusters)
        counts = counts[(counts > 0).sum(-1) > free.sum()]
        if len(counts) < bootstrap:
            notes.append(f"{bootstrap - len(counts)} of {bootstrap} bootstrap draws held too few different runs")
        draws = intervals.bootstrap(problem, np.vstack([best.theta, *best.others]), best.spread, free, counts, seed)
        notes += _check_draws(problem, draws, counts, spread_out, free)
        percentile = _named(law, *intervals.percentile(draws, level))

    estimate = law(*(float(c) for c in solver.to_constants(law, best.theta)))
    named = _named(law, low, high)
    status, why = _status(problem, best, free, named)
    _check_estimate(law, estimate, free, named, notes)
    sigma = best.sigma(problem)
    if sigma > NOISELESS:
        notes += _check_floor(problem, best, spread_out, free)
    return Fit(
        law=estimate,
        target=rows.target,
        objective_kind=objective,
        status=status,
        why=why,
        objective=float(best.value),
        gradient_norm=float(np.max(np.abs(best.gradient), initial=0.0)),
        starts=len(theta0),
        share_at_optimum=best.share,
        intervals=named,
        interval_kind="profile likelihood",
        level=level,
        percentile=percentile,
        covariance=best.spread.covariance[0],
        degrees=float(best.spread.degrees[0]),
        residuals=_residuals(problem, best, rows.table, sigma),
        n_runs=len(rows.table),
        ranges={name: (float(x.min()), float(x.max())) for name, x in zip(law.inputs, problem.x, strict=True)},
        fixed=tuple(fixed),
        excluded=rows.table.excluded,
        notes=tuple(dict.fromkeys(notes)),
        without_rule=_with_all(law, objective, rows, spread_out, best, free) if drop_worst else {},
        held_out=_held_out(estimate, rows, objective),
        lack_of_fit=_lack_of_fit(problem, best, rows, free),
        draws=solver.to_constants(law, draws),
    )


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
        if not math.isfinite(value) or (law.constants()[names.index(name)].log and value <= 0):
            raise InputError(f"{name} fixed at {value}; wanted a finite number, above 0 for a scale")
    if len(fixed) == len(names):
        raise InputError(f"all constants of {law.name} are fixed; leave one to estimate")
    if objective.kind not in ("huber", "squared", "asymmetric"):
        raise InputError(f"loss {objective.kind!r}; wanted huber, squared or asymmetric")
    if not objective.delta > 0 or not objective.asymmetry > 0:
        raise InputError(f"delta {objective.delta:g}, asymmetry {objective.asymmetry:g}; wanted numbers above 0")
    if drop_worst < 0 or bootstrap < 0:
        raise InputError(f"drop_worst {drop_worst}, bootstrap {bootstrap}; wanted 0 or more")
    if not 0 < level < 1:
        raise InputError(f"level {level}; wanted a share between 0 and 1, such as 0.95")


def _check_design(law: type[Law], rows: Rows, free: NDArray[np.bool_]) -> list[str]:
    """Whether runs like these can tell the constants at all, whatever was measured."""
    n, q = len(rows.table), int(free.sum())
    if n <= q:
        raise FitError(f"{law.name}: {n} runs for {q} constants; wanted at least {q + 1}, better {3 * q}")
    x = [np.log(rows.table[name]) for name in law.inputs]
    for name, column in zip(law.inputs, x, strict=True):
        if np.ptp(column) < 1e-9 and free.all():
            raise FitError(f"{law.name}: {name} is {np.exp(column[0]):g} in all {n} runs; wanted several values")
    points = len(np.unique(np.round(np.column_stack(x), 9), axis=0))
    if points < q:
        raise FitError(
            f"{law.name}: {points} different {' and '.join(law.inputs)} for {q} constants; wanted at least {q}"
        )
    notes = []
    exponents = [c.name for c, f in zip(law.constants(), free, strict=True) if c.kind == "exponent" and f]
    for name, column in zip(law.inputs[1:], x[1:], strict=True):
        if np.ptp(x[0]) < 1e-9 or np.ptp(column) < 1e-9 or len(exponents) < 2:
            continue
        slope, intercept = np.polyfit(x[0], column, 1)
        scatter = float(np.std(column - slope * x[0] - intercept))
        if scatter < PROPORTIONAL:
            notes.append(
                f"{name} follows {law.inputs[0]} in these runs (power {slope:.2f}, scatter {scatter:.1%}): "
                f"{' and '.join(exponents)} cannot be told apart; vary {name} at fixed {law.inputs[0]}"
            )
    return notes


# --- Going down


@dataclasses.dataclass(frozen=True, eq=False)
class _Optimum:
    theta: Array  # (p,)
    value: Array  # ()
    gradient: Array  # (p,)
    converged: bool
    share: float  # of the starts that ended here
    others: Array  # (k, p) other optima, nearly as good, best first
    other_values: Array  # (k,)
    spread: Spread

    def sigma(self, problem: Problem) -> float:
        """Scatter of a run around the law."""
        r = solver.predict(problem.law, self.theta, problem.x, problem.objective.log) - problem.y[0]
        return math.sqrt(float((problem.weights[0] * r**2).sum()) / max(float(self.spread.degrees[0]), 1.0))


def _descend(problem: Problem, theta0: Array, free: NDArray[np.bool_], clusters: NDArray[np.int64] | None) -> _Optimum:
    found = solver.solve(problem, theta0, free, tolerance=solver.CLOSE)
    if not np.isfinite(found.value).any():
        raise FitError(
            f"{problem.law.name}: no start gives a finite prediction; are the columns in the units of docs/table.md?"
        )
    order = np.argsort(found.value)

    def look(i: int) -> tuple[int, solver.Solutions, Spread, float]:
        exact = solver.solve(problem, found.theta[[i]], free)
        spread = intervals.spread(problem, exact.theta, free, clusters)
        # As good as another: inside a tenth of the rise that bounds a 95 % interval.
        rise = 0.5 * np.median(spread.scale[0][free]) * intervals.t_quantile(0.95, spread.degrees)[0] ** 2
        return i, exact, spread, RIVAL * float(rise)

    best, exact, spread, rise = look(int(order[0]))
    sensible = _sensible(problem.law, found.theta, free) & np.isfinite(found.value)
    if not sensible[best] and sensible.any():
        # A law with an exponent below 0 is no law: an optimum as good with all of them above 0 goes before.
        other = look(int(order[sensible[order]][0]))
        if other[1].value[0] - other[3] <= exact.value[0]:
            best, exact, spread, rise = other
    value = exact.value[0]
    same = np.abs(found.value - value) <= SAME * value + 1e-24
    error = np.sqrt(np.diagonal(spread.covariance[0]))[free]
    others: list[int] = []
    for i in order[order != best]:
        if not found.value[i] <= max(value + rise, 1.05 * value) or len(others) == 2:
            break
        # Two places are two optima when they lie over half a standard error apart, and not by rounding alone.
        apart = all(
            np.any(np.abs(found.theta[i] - found.theta[j])[free] > 0.5 * error + 1e-6 * np.abs(found.theta[j][free]))
            for j in (best, *others)
        )
        if found.converged[i] and (sensible[i] or not sensible[best]) and apart:
            others.append(int(i))
    return _Optimum(
        exact.theta[0],
        value,
        exact.gradient[0],
        bool(exact.converged[0]),
        float(same.mean()),
        found.theta[others],
        found.value[others],
        spread,
    )


def _sensible(law: type[Law], theta: Array, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the optima (s, p) have all exponents above 0."""
    exponents = np.array([c.kind == "exponent" for c in law.constants()]) & free
    return np.all(theta[:, exponents] > 0, axis=1)


# --- What the estimate is worth


def _linear_interval(best: _Optimum, free: NDArray[np.bool_], level: float) -> tuple[Array, Array]:
    error = np.sqrt(np.diagonal(best.spread.covariance[0]))
    half = np.where(free, intervals.t_quantile(level, best.spread.degrees)[0] * error, 0.0)
    return best.theta - half, best.theta + half


def _named(law: type[Law], low: Array, high: Array) -> dict[str, Interval]:
    low, high = solver.to_constants(law, low), solver.to_constants(law, high)
    return {c.name: (float(a), float(b)) for c, a, b in zip(law.constants(), low, high, strict=True)}


def _status(problem: Problem, best: _Optimum, free: NDArray[np.bool_], named: dict[str, Interval]) -> tuple[str, str]:
    """What became of the fit, in a word and in a sentence."""
    law = problem.law
    constants = law.constants()
    J = solver.jacobian(law, best.theta, problem.x, problem.objective.log)
    if not problem.objective.log:
        J = J / np.abs(solver.predict(law, best.theta, problem.x, False))[:, None]
    for k, c in enumerate(constants):
        if free[k] and c.log and np.max(np.abs(J[:, k])) < GONE:
            return (
                "at a bound",
                f"{c.name} has no effect on any prediction: it left the fit at {_digits(np.exp(best.theta[k]))}",
            )
    A = J[:, free].T @ J[:, free]
    size = np.sqrt(np.diagonal(A))
    values, vectors = np.linalg.eigh(A / np.outer(size, size))
    if values[0] < FLAT:
        names = [c.name for c, f in zip(constants, free, strict=True) if f]
        together = [name for name, v in zip(names, vectors[:, 0], strict=True) if abs(v) > 0.2]
        return "flat direction", f"{' and '.join(together)} can change together without changing any prediction"
    open_ = [name for name, (a, b) in named.items() if not math.isfinite(b) or a == 0 or not math.isfinite(a)]
    if open_:
        return "flat direction", f"{' and '.join(open_)} not identified: no bound on one side at this level"
    if len(best.others) and best.other_values[0] <= _rival(best):
        other = solver.to_constants(law, best.others[0])
        values_ = ", ".join(f"{c.name} {_digits(v)}" for c, v, f in zip(constants, other, free, strict=True) if f)
        return "starts disagree", f"another optimum fits as well (objective {best.other_values[0]:.7g}): {values_}"
    error = np.sqrt(np.diagonal(best.spread.covariance[0]))
    slope = float(np.max(np.abs(best.gradient * error)[free]))
    if not best.converged and best.sigma(problem) > NOISELESS and slope > 1e-3 * float(best.value):
        return (
            "not converged",
            f"a step of one standard error would still change the objective by {slope / best.value:.1%}",
        )
    return "converged", f"{best.share:.0%} of the starts reached this optimum"


def _rival(best: _Optimum) -> float:
    """An objective as good as the best one."""
    rise = 0.5 * np.median(best.spread.scale[0]) * intervals.t_quantile(0.95, best.spread.degrees)[0] ** 2
    return float(best.value + RIVAL * rise)


def _check_estimate(
    law: type[Law], estimate: Law, free: NDArray[np.bool_], named: dict[str, Interval], notes: list[str]
) -> None:
    for c, f in zip(law.constants(), free, strict=True):
        value = getattr(estimate, c.name)
        if f and c.kind == "exponent" and not value > 0:
            low, high = named[c.name]
            why = next(
                (note for note in notes if "cannot be told apart" in note), "look at the table, or fit another form"
            )
            raise FitError(
                f"{law.name}: the exponent {c.name} came out at {value:.3g} ({low:.3g} to {high:.3g}), not above 0: "
                f"these runs do not show the law; {why}"
            )


def _check_draws(
    problem: Problem, draws: Array, counts: NDArray[np.int64], theta0: Array, free: NDArray[np.bool_]
) -> list[str]:
    """Refits some draws from starts all over the ranges: were the few starts of each draw enough?"""
    checked = min(CHECKED_DRAWS, len(draws) // 20)
    if not checked:
        return []
    resampled = problem.with_data(weights=counts[:checked] * problem.weights[0])
    theta0 = theta0[:CHECKED_STARTS]
    lanes = np.repeat(np.arange(checked), len(theta0))
    again = solver.solve(resampled, np.tile(theta0, (checked, 1)), free, lanes, tolerance=solver.CLOSE)
    lowest = again.value.reshape(checked, -1).min(1)
    r = solver.predict(problem.law, draws[:checked], problem.x, problem.objective.log) - problem.y
    kept = (resampled.weights * problem.objective.terms(r)[0]).sum(-1)
    missed = int((lowest < kept * (1 - 1e-4)).sum())
    if not missed:
        return []
    return [
        f"in {missed} of {checked} bootstrap draws refitted from {len(theta0)} starts a better optimum turned up: "
        "the bootstrap understates the spread"
    ]


def _check_floor(problem: Problem, best: _Optimum, theta0: Array, free: NDArray[np.bool_]) -> list[str]:
    """How much a forecast ten times beyond the runs hangs on the irreducible loss: the fit again without one."""
    law = problem.law
    far = tuple(np.array([10 * column.max()]) for column in problem.x)
    notes = []
    for k, c in enumerate(law.constants()):
        if c.kind != "floor" or not free[k] or free.sum() < 2:
            continue
        starts = np.vstack([best.theta[None], theta0[:31]])
        starts[:, k] = -intervals.FAR
        held = free.copy()
        held[k] = False
        without = solver.solve(problem, starts, held)
        i = int(np.argmin(without.value))
        if not np.isfinite(without.value[i]):
            continue
        with_, none = (float(solver.predict(law, t, far, False)[0]) for t in (best.theta, without.theta[i]))
        rise = 2 * (without.value[i] - best.value) / float(best.spread.scale[0, k])
        verdict = (
            "which these runs reject"
            if rise > intervals.t_quantile(0.95, best.spread.degrees)[0] ** 2
            else "which these runs allow"
        )
        if abs(none / with_ - 1) > 0.01:
            notes.append(
                f"at ten times the largest {' and '.join(law.inputs)} the forecast is {with_:.4g} with {c.name} free "
                f"and {none:.4g} with {c.name} = 0, {verdict}"
            )
    return notes


def _residuals(problem: Problem, best: _Optimum, table: Table, sigma: float) -> Residuals:
    r = solver.predict(problem.law, best.theta, problem.x, problem.objective.log) - problem.y[0]
    worst = np.argsort(-np.abs(r), kind="stable")[:3]
    return Residuals(math.sqrt(float(np.mean(r**2))), sigma, tuple((table.label(int(i)), float(r[i])) for i in worst))


def _with_all(
    law: type[Law], objective: Objective, rows: Rows, theta0: Array, best: _Optimum, free: NDArray[np.bool_]
) -> dict[str, float]:
    """The constants with the rows of drop_worst left in."""
    assert rows.worst is not None
    w = rows.worst["_weight"]
    everything = dataclasses.replace(rows, table=rows.worst, y=rows.worst[rows.target], weights=w / w.mean())
    found = solver.solve(everything.problem(law, objective), np.vstack([best.theta[None], theta0]), free)
    values = solver.to_constants(law, found.theta[int(np.argmin(found.value))])
    return {c.name: float(v) for c, v in zip(law.constants(), values, strict=True)}


def _held_out(law: Law, rows: Rows, objective: Objective) -> HeldOut | None:
    if rows.held is None:
        return None
    predicted = np.asarray(law(*rows.held.positive(*law.inputs)))
    r = np.log(predicted / rows.held.positive(rows.target)[0])
    labels = tuple(rows.held.label(i) for i in range(len(rows.held)))
    return HeldOut(rows.rule, labels, float(r.mean()), math.sqrt(float(np.mean(r**2))), float(np.max(np.abs(r))))


def _lack_of_fit(problem: Problem, best: _Optimum, rows: Rows, free: NDArray[np.bool_]) -> LackOfFit | None:
    if not rows.table.has("seed"):
        return None
    r = solver.predict(problem.law, best.theta, problem.x, problem.objective.log) - problem.y[0]
    group, w = same_settings(rows.table), problem.weights[0]
    pure, degrees = 0.0, 0
    for g in np.unique(group):
        i = group == g
        if i.sum() > 1:
            pure += float((w[i] * (r[i] - np.average(r[i], weights=w[i])) ** 2).sum())
            degrees += int(i.sum()) - 1
    lack_degrees = len(r) - int(free.sum()) - degrees
    if degrees < 1 or lack_degrees < 1 or pure <= 0:
        return None
    F = ((w * r**2).sum() - pure) / lack_degrees / (pure / degrees)
    return LackOfFit(float(F), float(special.fdtrc(lack_degrees, degrees, F)), (lack_degrees, degrees))


# --- Which form


@dataclasses.dataclass(frozen=True)
class Score:
    """How well a form does on the same runs as its rivals: smaller is better."""

    law: str
    constants: int
    aicc: float  # n ln(sum r^2 / n) + 2 k + the correction for few runs, k counts the noise
    rms: float  # residual of the fit
    held_out: float  # rms error on the runs held out, NaN without any


def compare_laws(
    laws: Sequence[type[Law] | str], table: Table, hold_out: ArrayLike | str | None = None, **options: Any
) -> list[Score]:
    """Scores of several forms on the runs that all of them are about, best held-out error (or AICc) first.

    Raises:
        InputError: the laws do not predict the same column.
    """
    classes = [law_by_name(law) if isinstance(law, str) else law for law in laws]
    targets = {law.target for law in classes}
    if len(targets) > 1 and "target" not in options:
        raise InputError(f"the laws predict {', '.join(sorted(targets))}; compare laws of one column, or give target=")
    held = held_out_rows(hold_out, table)
    table = table.with_columns(_held_out=held.astype(float))
    for law in classes:
        table = admitted(law, table)
    held = table["_held_out"] > 0
    scores = []
    for law in classes:
        found = fit(law, table, hold_out=held if held.any() else None, every_run=True, **options)
        n, k = found.n_runs, len(found.constants) - len(found.fixed) + 1
        correction = 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf
        aicc = n * math.log(max(found.residuals.rms, 1e-300) ** 2) + 2 * k + correction
        error = found.held_out.rms if found.held_out else math.nan
        scores.append(Score(law.name, k - 1, aicc, found.residuals.rms, error))
    return sorted(scores, key=lambda s: s.held_out if held.any() else s.aicc)


# --- Words and numbers


def _digits(value: float) -> str:
    return f"{value:.6g}"


def _share(value: float, log: bool) -> str:
    return f"{value:+.2%}" if log else f"{value:+.4g}"


def _finite(value: Any) -> Any:
    """The same with null for what JSON cannot say."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _read(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such file; wanted the JSON of a fit, as `scaling fit LAW TABLE --json` prints it")
    return path.read_text(encoding="utf-8")
