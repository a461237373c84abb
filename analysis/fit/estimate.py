"""What an estimation returns: a law with its constants, intervals and doubts, to read, to store and to predict with."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.confidence import t_quantile
from analysis.digits import typed
from analysis.fit import intervals, solver
from analysis.fit.floor import Floor, names
from analysis.fit.intervals import OverFloor
from analysis.fit.misfit import Misfit
from analysis.fit.solver import Array, Objective
from analysis.jsonable import jsonable
from analysis.laws import Law, law_by_name
from analysis.table import Excluded
from analysis.table.columns import COLUMNS
from scaling import extensions, folders
from scaling.errors import InputError

Interval = tuple[float, float]
FURTHER = 4  # times the largest runs: where the law's own error is told
SLACK = 1.005  # a value typed to three digits, half a unit off, is still the largest one
PART_WAYS = "no interval is given: other constants that suit the runs part ways beyond them"
LEAVES_LIMITS = "no interval is given: the law leaves what the target lies between"


class Status(StrEnum):
    """What became of a fit."""

    CONVERGED = "converged"
    AT_BOUND = "at a bound"
    FLAT = "flat direction"
    STARTS_DISAGREE = "starts disagree"
    NOT_CONVERGED = "not converged"


L = TypeVar("L", bound=Law)

_PLAIN = (  # fields that JSON holds as they are
    "why",
    "objective",
    "gradient_norm",
    "starts",
    "share_at_optimum",
    "interval_kind",
    "level",
    "degrees",
    "n_runs",
)


class Prediction(NamedTuple):
    """A law's value with an interval, of the law or of one run: floats, or arrays of equal shape."""

    value: Any
    low: Any
    high: Any

    def where(self, bounded: ArrayLike) -> "Prediction":
        """The same with ends of 0 and infinity where nothing is bounded."""
        return Prediction(self.value, np.where(bounded, self.low, 0.0)[()], np.where(bounded, self.high, math.inf)[()])


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How well the law predicted runs that it had not seen, and whether its intervals of one run held them.

    The ends are 0 and infinity where no interval is given; `why` tells the reason.
    """

    rule: str
    rows: tuple[str, ...]
    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    low: tuple[float, ...]  # of the interval of one run
    high: tuple[float, ...]
    law_low: tuple[float, ...]  # of that of the law
    law_high: tuple[float, ...]
    why: str = ""

    @property
    def errors(self) -> Array:
        """measured / predicted - 1; below 0 the law is too pessimistic. Infinite where it predicts 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array(self.measured) / np.array(self.predicted) - 1

    @property
    def bounded(self) -> NDArray[np.bool_]:
        """Which have an interval at all; none of the others is inside."""
        return np.isfinite(self.high)

    @property
    def inside(self) -> NDArray[np.bool_]:
        measured = np.array(self.measured)
        return self.bounded & (np.array(self.low) <= measured) & (measured <= np.array(self.high))

    @property
    def inside_law(self) -> NDArray[np.bool_]:
        measured = np.array(self.measured)
        return self.bounded & (np.array(self.law_low) <= measured) & (measured <= np.array(self.law_high))

    @property
    def mean(self) -> float:
        return float(self.errors.mean())

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(self.errors**2)))

    @property
    def worst(self) -> float:
        return float(np.abs(self.errors).max())

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {
            "mean": self.mean,
            "rms": self.rms,
            "worst": self.worst,
            "bounded": int(self.bounded.sum()),
            "inside": int(self.inside.sum()),
            "inside_law": int(self.inside_law.sum()),
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        names = ("rows", "measured", "predicted", "low", "high", "law_low", "law_high")
        none = {"low": 0.0, "law_low": 0.0, "high": math.inf, "law_high": math.inf}  # JSON has null for infinity
        lists: dict[str, Any] = {name: tuple(none.get(name) if x is None else x for x in d[name]) for name in names}
        return cls(rule=d["rule"], why=d.get("why", ""), **lists)


@dataclasses.dataclass(frozen=True)
class Residuals:
    """measured / predicted - 1 over the rows fitted, or the difference where the fit was not logarithmic.

    Above 0 a run is worse than the law has it, as in the figure of a fit.
    """

    rms: float
    sigma: float  # scatter of ln(measured), or of the difference
    degrees: float  # of freedom behind sigma
    largest: tuple[tuple[str, float], ...]  # the worst rows, worst first


@dataclasses.dataclass(frozen=True)
class LackOfFit:
    """F test of the scatter around the law against the scatter between replicates."""

    F: float
    p: float
    degrees: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Ends:
    """Where the walks along the profiles ended.

    Attributes:
        theta: the constants at each end of each interval, the others refitted, in fit coordinates, (k, p).
        level: of these intervals.
        over_floor: where the floor may be 0, the others refitted with it held: what follows is profiled over it.
    """

    theta: Array
    level: float
    over_floor: OverFloor | None = None  # of one data set

    def to_dict(self) -> dict[str, Any]:
        over = {name: part[0].tolist() for name, part in self.over_floor._asdict().items()} if self.over_floor else None
        return {"theta": self.theta.tolist(), "level": self.level, "over_floor": over}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], p: int) -> Self:
        """From what `to_dict` gives, of a law of p constants."""
        over = _over_floor(d["over_floor"], p) if d.get("over_floor") else None
        return cls(_numbers(d["theta"], "ends"), _number(d["level"], "ends"), over)


@dataclasses.dataclass(frozen=True, eq=False)
class Fit(Generic[L]):
    """A law with its constants estimated, and how far they can be trusted.

    Attributes:
        law: the law; call it with columns in the order of `law.inputs`.
        status, why: what became of it, and a sentence.
        objective: summed over rows, weights of mean 1.
        gradient_norm: largest slope of the objective in a fit coordinate, in units of the objective.
        starts, share_at_optimum: how many starts were tried, and which share reached this optimum.
        intervals: of each constant, by the method `interval_kind` at `level`; a fixed constant's has no width.
        percentile: the same by bootstrap percentiles, which cover less than they say with few runs.
        covariance: of the fit coordinates (logarithms of scales and floors), in the order of the law's fields.
        ends: of the profiles, which predictions hold too; None where there are none.
        n_given: rows that the table was read with, those left out and those not chosen included.
        n_clusters: into which the rows fall that are no runs of their own; 0 where each row is one.
        degrees: of freedom of predictions: rows minus constants estimated; fewer where a few rows or clusters decide.
        notes: everything a reader should know before trusting a number.
        without_rule: by the reason for which rows were left out, the constants with these rows left in.
        draws: constants of each bootstrap refit, (draws, p).
        limits: what the target cannot leave, 0 and 1 of an error or an accuracy: predictions stop there.
    """

    law: L
    target: str
    objective_kind: Objective
    status: Status
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
    ends: Ends | None = None
    misfit: Misfit | None = None  # the law's own error beyond them; None where it was not asked for
    n_given: int = 0
    n_clusters: int = 0
    fixed: tuple[str, ...] = ()
    floor: Floor | None = None  # at which the law was pinned
    excluded: tuple[Excluded, ...] = ()
    notes: tuple[str, ...] = ()
    without_rule: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    held_out: HeldOut | None = None
    lack_of_fit: LackOfFit | None = None
    draws: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
    limits: Interval | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing makes the constants doubtful; a floor of 0, with its interval on one side, does not."""
        bounded = all(math.isfinite(high) for _, high in self.intervals.values())
        return self.status is Status.CONVERGED or (self.status is Status.AT_BOUND and bounded)

    @property
    def constants(self) -> dict[str, float]:
        return {c.name: float(getattr(self.law, c.name)) for c in self.law.constants()}

    @property
    def units(self) -> dict[str, str]:
        """Of the constants: what counts in units of the law's own target counts in those of the column fitted."""
        own, fitted = COLUMNS.get(self.law.target, ""), COLUMNS.get(self.target, "")
        return {c.name: fitted if own and c.unit == own else c.unit for c in self.law.constants()}

    @property
    def theta(self) -> Array:
        """The constants in fit coordinates."""
        return solver.theta_of(self.law)

    @property
    def stderr(self) -> dict[str, float]:
        """Standard errors of the constants themselves, from the covariance."""
        error = np.sqrt(np.maximum(np.diagonal(self.covariance), 0))
        return {
            c.name: float(e * value if c.log else e)
            for c, e, value in zip(
                self.law.constants(), error, solver.to_constants(type(self.law), self.theta), strict=True
            )
        }

    def predict(self, *, run: bool = False, **columns: ArrayLike) -> Prediction:
        """The law at these inputs, `fit.predict(params=1e9, tokens=2e10)`, with an interval.

        Args:
            run: the interval of one run, which holds what happens: wider than that of the law by the scatter of a run
                around it and, beyond the runs, by the law's own error. Otherwise that of the law's value, were its form
                the true one.
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

        def at(theta: Array) -> Array:
            return solver.predict(type(self.law), theta, flat, log)

        def slopes(theta: Array) -> Array:
            return solver.jacobian(type(self.law), theta, flat, log)  # n p

        centre, variance = self._variances(at, slopes)
        degrees = np.array(self.degrees)
        if self.ends:
            variance = intervals.reach(centre, variance, at(self.ends.theta), degrees, self.ends.level)  # 2 n
        if run:
            own = np.array(self.residuals.sigma**2)
            degrees = intervals.joint_degrees(variance, degrees, own, np.array(self.residuals.degrees))
            variance = variance + own
            if self.misfit is not None:
                far = self.misfit.distance(flat, [self.ranges[name] for name in self.law.inputs])
                wrong = self.misfit.variance(far)
                degrees = intervals.joint_degrees(variance, degrees, wrong, np.array(self.misfit.degrees))
                variance = variance + wrong
        half = np.broadcast_to(t_quantile(self.level, degrees) * np.sqrt(variance), (2, len(centre)))
        with np.errstate(over="ignore"):
            parts = [np.exp(part) if log else part for part in (centre, centre - half[0], centre + half[1])]
        if self.limits is not None:
            parts = self._within(self.limits, parts, flat)
        return Prediction(*(part.reshape(x[0].shape)[()] for part in parts))

    def _within(self, limits: Interval, parts: Sequence[Array], x: tuple[Array, ...]) -> list[Array]:
        """Value and ends of a band within limits; where the law falls below 0, which has no logarithm, from its own."""
        law = type(self.law)
        value, J = (of(law, self.theta, x, False) for of in (solver.predict, solver.jacobian))
        error = np.sqrt(np.maximum(np.einsum("np,pq,nq->n", J, self.covariance, J), 0))
        half = t_quantile(self.level, np.array(self.degrees)) * error
        own = (value, value - half, value + half)
        return [np.clip(np.where(value > 0, part, other), *limits) for part, other in zip(parts, own, strict=True)]

    def bounded(self, **columns: ArrayLike) -> NDArray[np.bool_]:
        """Where an interval is given: within the target's limits, and of a doubtful fit within its runs alone.

        Several sets of constants suit the runs of a doubtful fit and part ways beyond them.
        """
        x = np.broadcast_arrays(*(np.asarray(columns[name], np.float64) for name in self.law.inputs))
        ends = [self.ranges.get(name, (0.0, math.inf)) for name in self.law.inputs]
        within = [(low <= c * SLACK) & (c <= high * SLACK) for c, (low, high) in zip(x, ends, strict=True)]
        bounded = self.sound | np.all(within, 0)
        if self.limits is not None:
            value = solver.predict(type(self.law), self.theta, tuple(c.ravel() for c in x), False).reshape(x[0].shape)
            bounded &= (self.limits[0] <= value) & (value <= self.limits[1])
        return bounded

    def beyond_limits(self, **columns: float) -> str:
        """That the law leaves its target's limits at these inputs, in words; empty where it does not."""
        value = float(self.law(*(columns[name] for name in self.law.inputs)))
        if self.limits is None or self.limits[0] <= value <= self.limits[1]:
            return ""
        low, high = self.limits
        return (
            f"the law says {value:.3g} there, and {self.target} lies between {low:g} and {high:g}: it does not hold so "
            "far out, and no interval is given"
        )

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

        def slopes(theta: Array) -> Array:
            columns = []
            for k in range(len(theta)):
                h = np.zeros_like(theta)
                h[k] = 1e-5 * max(1.0, abs(theta[k]))
                columns.append((at(theta + h) - at(theta - h)) / (2 * h[k]))
            return np.stack(columns, -1)

        centre, variance = self._variances(at, slopes)
        half = np.broadcast_to(t_quantile(self.level, np.array(self.degrees)) * np.sqrt(variance), (2, *centre.shape))
        parts = (centre, centre - half[0], centre + half[1])
        return Prediction(*(np.exp(part)[()] if log else part[()] for part in parts))

    def _variances(self, at: Callable[[Array], Array], slopes: Callable[[Array], Array]) -> tuple[Array, Array]:
        """What follows from the constants, (...), and its variance, linearised; of each side where the floor may be 0.

        Args:
            at, slopes: of constants in fit coordinates (p,) the value (...) and its slopes (..., p).
        """

        def around(theta: Array, covariance: Array) -> Array:
            g = slopes(theta)
            return np.maximum(np.einsum("...p,pq,...q->...", g, covariance, g), 0)

        value = at(self.theta)
        if self.ends is None or (over := self.ends.over_floor) is None:
            return value, around(self.theta, self.covariance)
        there = np.stack([at(theta) for theta in over.theta[0]], -1)
        variances = np.stack([around(*each) for each in zip(over.theta[0], over.covariance[0], strict=True)], -1)
        degrees = np.array([self.degrees])
        sides = over.variances(value[..., None], there[..., None, :], variances[..., None, :], degrees, self.ends.level)
        return value, sides[..., 0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the constants stand beside `law`, `objective`, `intervals`, `status` and the rest."""
        return {
            "law": self.law.name,
            **({"code": code} if (code := extensions.hash_of(type(self.law))) else {}),
            "source": self.law.source,
            "inputs": list(self.law.inputs),
            "target": self.target,
            **self.constants,
            "units": self.units,
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
            "ends": self.ends.to_dict() if self.ends else None,
            "residuals": dataclasses.asdict(self.residuals),
            "n_runs": self.n_runs,
            "n_given": self.n_given,
            "n_clusters": self.n_clusters,
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
            "fixed": list(self.fixed),
            "floor": dataclasses.asdict(self.floor) if self.floor else None,
            "excluded": [{"rows": list(e.rows), "reason": e.reason} for e in self.excluded],
            "notes": list(self.notes),
            "without_rule": {reason: dict(constants) for reason, constants in self.without_rule.items()},
            "misfit": dataclasses.asdict(self.misfit) if self.misfit else None,
            "held_out": self.held_out.to_dict() if self.held_out else None,
            "lack_of_fit": dataclasses.asdict(self.lack_of_fit) if self.lack_of_fit else None,
            "draws": self.draws.tolist(),
            "limits": list(self.limits) if self.limits else None,
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, written to `path` where one is given. Infinite ends become null."""
        text = json.dumps(folders.sealed(jsonable(self.to_dict())), indent=1, allow_nan=False)
        if path is not None:
            folders.write(Path(path), text + "\n")
        return text

    @classmethod
    def from_json(cls, source: str | Path, law: type[Law] | None = None) -> Self:
        """A fit from JSON text or from a file. A law of one's own is given as `law`.

        Raises:
            InputError: not the JSON of a fit, or changed after it was written, by its checksum.
        """
        try:
            if isinstance(source, str) and source.lstrip().startswith("{"):
                return cls._from_dict(folders.unsealed(json.loads(source), "the JSON of the fit"), law)
            return cls._from_dict(folders.read_json(Path(source), WANTED), law)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found = f"no {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
            raise InputError(
                f"not the JSON of a fit ({found}); wanted what `scaling fit LAW TABLE --json` prints"
            ) from error

    @classmethod
    def _from_dict(cls, d: dict[str, Any], law: type[Law] | None) -> Self:
        if "average" in d:
            raise InputError(
                "an average of forms, which scaling predict takes; a best size, a gain or a floor follows from the "
                "constants of one form: scaling fit LAW TABLE --out FILE"
            )
        law = cast(type[L], law or law_by_name(d["law"]))
        code, here = d.get("code", ""), extensions.hash_of(law)
        if code and here and code != here:
            raise InputError(
                f"the fit is of a law {law.name!r} whose file said something else (hash {code}, now {here}); put the "
                "old file back, or fit again"
            )
        log = {c.name: c.log for c in law.constants()}

        def interval(ends: Sequence[float | None], name: str) -> Interval:
            low, high = ends
            return (
                (0.0 if log.get(name) else -math.inf) if low is None else _number(low, f"the interval of {name}"),
                math.inf if high is None else _number(high, f"the interval of {name}"),
            )

        covariance = _numbers(d["covariance"], "covariance")
        if covariance.shape != (len(log), len(log)):
            raise ValueError(f"covariance of shape {covariance.shape} for {len(log)} constants")
        if not np.allclose(covariance, covariance.T, rtol=1e-6, atol=0):
            raise ValueError("covariance that is not symmetric")
        missing = sorted(set(log) - set(d["intervals"]))
        if missing:
            raise ValueError(f"no interval of {missing[0]}")
        for name, ends in d["ranges"].items():
            if not isinstance(ends, list) or len(ends) != 2:
                raise ValueError(f"the range of {name} is no pair of numbers")
        below = [
            c.name
            for c in law.constants()
            if c.log and not (_number(d[c.name], c.name) > 0 or (c.kind == "floor" and d[c.name] == 0))
        ]
        below += [
            name for name, ends in d["ranges"].items() for end in ends if d.get("misfit") and not _number(end, name) > 0
        ]
        if below:
            raise ValueError(f"{below[0]} is not above 0")
        for name in ("level", "degrees", "objective", "starts", "n_runs"):
            _number(d[name], name)
        residuals = d["residuals"]
        lack, held = d["lack_of_fit"], d["held_out"]
        return cls(
            law=law(**{name: _number(d[name], name) for name in log}),
            target=d["target"],
            objective_kind=Objective(**d["objective_kind"]),
            intervals={name: interval(ends, name) for name, ends in d["intervals"].items()},
            percentile={name: interval(ends, name) for name, ends in d["percentile"].items()},
            covariance=covariance,
            residuals=Residuals(
                _number(residuals["rms"], "rms"),
                _number(residuals["sigma"], "sigma"),
                _number(residuals.get("degrees", d["degrees"]), "degrees"),
                tuple(
                    (_text(r, "largest residuals"), _number(v, "largest residuals")) for r, v in residuals["largest"]
                ),
            ),
            ranges={name: (_number(low, name), _number(high, name)) for name, (low, high) in d["ranges"].items()},
            fixed=tuple(_text(name, "fixed") for name in d["fixed"]),
            floor=Floor.from_dict(d["floor"]) if d.get("floor") else None,
            excluded=tuple(Excluded(tuple(e["rows"]), _text(e["reason"], "excluded")) for e in d["excluded"]),
            notes=tuple(_text(note, "notes") for note in d["notes"]),
            without_rule={
                reason: {name: math.inf if value is None else _number(value, name) for name, value in constants.items()}
                for reason, constants in d["without_rule"].items()
            },
            ends=Ends.from_dict(d["ends"], len(log)) if d.get("ends") else None,
            misfit=_misfit(d["misfit"]) if d.get("misfit") else None,
            held_out=HeldOut.from_dict(held) if held else None,
            lack_of_fit=LackOfFit(lack["F"], lack["p"], tuple(lack["degrees"])) if lack else None,
            draws=_numbers(d["draws"], "draws", missing=math.nan).reshape(-1, len(log)),
            n_given=d.get("n_given", d["n_runs"]),
            n_clusters=d.get("n_clusters", 0),
            limits=(float(d["limits"][0]), float(d["limits"][1])) if d.get("limits") else None,
            status=Status(d["status"]),
            **{name: d[name] for name in _PLAIN},
        )

    def summary(self) -> str:
        """The fit as text for a person."""
        units = self.units
        formula = (type(self.law).__doc__ or "").split(":")[0].splitlines()[0]
        lines = [f"{self.law.name}: {formula} ({self.law.source})"]
        lines.append(f"{self.n_runs} of {self.n_given} rows; {self.status}: {self.why}")
        for name, value in self.constants.items():
            low, high = self.intervals[name]
            ends = f"{percent(self.level)} {typed(low)} to {typed(high)}"
            if name in self.fixed:
                ends = f"pinned: {self.floor.told}" if self.floor and name in names(type(self.law)) else "fixed"
            elif self.interval_kind == intervals.NONE:
                ends = "no interval"
            if name in self.percentile and name not in self.fixed:
                low, high = self.percentile[name]
                ends += f" (percentiles of {len(self.draws)} refits {typed(low)} to {typed(high)})"
            lines.append(f"  {name:<8} {typed(value):>12} {units[name]:<12} {ends}")
        if self.interval_kind == intervals.NONE:
            lines.append("intervals: none, for the reason above")
        else:
            lines.append(f"intervals: {self.interval_kind}, {self.degrees:.3g} degrees of freedom")
        r, kind = self.residuals, self.objective_kind
        rule = kind.kind if kind.kind in ("squared", "absolute") else f"{kind.kind}, delta {kind.delta:.3g}"
        if kind.kind == "asymmetric":
            rule += f", {kind.asymmetry:g} times as heavy above a run"
        if self.misfit and self.objective_kind.log:
            m = self.misfit
            there = math.sqrt(m.variance(np.array(math.log(FURTHER))))
            by = (
                f"{m.steps} step{'s' if m.steps > 1 else ''} inside the table and what is usual"
                if m.steps
                else "what is usual: the table is short"
            )
            lines.append(f"the law's own error at {FURTHER} times its largest runs: {there:.1%}, by {by}")
        lines.append(f"objective {self.objective:.9g} ({rule}, {'log ' if kind.log else ''}{self.target}, summed)")
        lines.append(
            f"residuals, {'measured / law - 1' if kind.log else 'measured - law'}: "
            f"rms {_size(r.rms, kind.log)}; worst {', '.join(f'{name} {_share(v, kind.log)}' for name, v in r.largest)}"
        )
        if self.held_out:
            lines += _told(self.held_out, self.level)
        if self.lack_of_fit:
            t = self.lack_of_fit
            lines.append(f"lack of fit against replicates: F{t.degrees} = {t.F:.2f}, p = {typed(t.p, 2)}")
        lines += [f"left out: {len(e.rows)} ({e.reason})" for e in self.excluded]
        for reason, constants in self.without_rule.items():
            values = ", ".join(f"{name} {typed(value)}" for name, value in constants.items())
            lines.append(f"with these left in ({reason}): {values}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


# --- Words and numbers

WANTED = "the JSON of a fit, as `scaling fit LAW TABLE --json` prints it"
LISTED = 10  # held-out rows at most


def _told(h: HeldOut, level: float) -> list[str]:
    """What became of the rows held out: all together, then the first of them."""
    off = f"measured / law - 1 is {h.rms:.2%} rms, {h.mean:+.2%} mean, {h.worst:.2%} at worst"
    if not math.isfinite(h.rms):  # the law falls to 0 there
        apart = np.array(h.measured) - np.array(h.predicted)
        worst = np.abs(apart).max()
        off = f"measured - law is {np.sqrt(np.mean(apart**2)):.3g} rms, {apart.mean():+.3g} mean, {worst:.3g} at worst"
    n, said = h.bounded.sum(), ""
    if n:
        said = (
            f"{h.inside.sum()} of {n} inside {percent(level)} of one run, {h.inside_law.sum()} inside that of the law; "
        )
    if n < len(h.rows):
        said += f"{f'of the other {len(h.rows) - n} ' if n else ''}{h.why}; "
    lines = [f"held out ({h.rule}): {said}{off}"]
    cells = zip(h.rows, h.measured, h.predicted, h.low, h.high, h.inside, strict=True)
    for row, measured, predicted, low, high, inside in list(cells)[:LISTED]:
        ends = f"{typed(low, 4)} to {typed(high, 4)}" if math.isfinite(high) else "no interval"
        outside = "" if inside or not math.isfinite(high) else ", outside"
        lines.append(f"  {row}: {typed(measured, 4)}, predicted {typed(predicted, 4)} ({ends}){outside}")
    return [*lines, *([f"  and {len(h.rows) - LISTED} more"] if len(h.rows) > LISTED else [])]


def percent(level: float) -> str:
    """A level in per cent, to as many digits as it has: 0.95 is 95%, 0.999 is 99.9%."""
    return f"{100 * level:.10g}%"


def _size(value: float, log: bool) -> str:
    return f"{value:.2%}" if log else typed(value, 4)


def _share(value: float, log: bool) -> str:
    return f"{value:+.2%}" if log else f"{value:+.4g}"


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {json.dumps(value)[:40]}, not a number")
    return value


def _numbers(rows: Sequence[Sequence[float | None]], name: str, missing: float = math.inf) -> Array:
    """A matrix, with `missing` where JSON has null."""
    return np.array([[missing if value is None else _number(value, name) for value in row] for row in rows], float)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {json.dumps(value)[:40]}, not a text")
    return value


def _over_floor(said: Mapping[str, Any], p: int) -> OverFloor:
    theta = _numbers(said["theta"], "over_floor")
    (spent,) = _numbers([said["spent"]], "over_floor")
    covariance = np.array([_numbers(each, "over_floor") for each in said["covariance"]])
    if theta.shape != (len(spent), p) or covariance.shape != (len(spent), p, p):
        raise ValueError(f"over_floor of shapes {theta.shape}, {spent.shape}, {covariance.shape} for {p} constants")
    return OverFloor(theta[None], spent[None], covariance[None])


def _misfit(said: Mapping[str, Any]) -> Misfit:
    return Misfit(**{name: _number(value, name) for name, value in said.items()})  # pyright: ignore
