"""What another schedule of the learning rate would have given, and what an unfinished run will end at.

A law of whole loss curves (`analysis.laws.schedules`) is fitted to curves of one model whose rates are known. Points of
a curve share its luck, so intervals come from whole curves: each is predicted from the others as the asked one is.
"""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from analysis import digits
from analysis.confidence import LEVEL, t_quantile
from analysis.jsonable import jsonable
from analysis.laws.admission import warmup_updates
from analysis.laws.law import Constant, Values
from analysis.laws.schedules import OF_CURVES, OfSchedules, Schedules, Seen, of_schedules
from analysis.table import Table
from scaling import schedules
from scaling.config import COOLED
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.records import Records
    from scaling.config import RunConfig
    from scaling.study import Pack, PlannedRun, StudyFolder

Array = NDArray[np.float64]

LAWS: Mapping[str, type[OfSchedules]] = {law.name: law for law in OF_CURVES}
PLANNED = "planned"
POINTS = 60  # of a curve that are fitted, evenly spread over its updates
KNOTS = 100  # places of a schedule where its rate is taken to change
FEWEST = 8  # points after the warm-up that a curve needs
FALLEN = 0.9  # of the peak: a curve whose rate came below has seen a fall
LATE = 0.1  # of the updates seen: the last part, by which a run's own luck is known
MOST = 1e8  # updates of a schedule
ANOTHER = 0.05  # of the peak, by which a run's rates may differ from a schedule without a word
FAR = 1.5  # times the longest sum of rates that was fitted, beyond which a forecast is said to be far out
DELTA = 1e-3  # relative error from which Huber's loss grows linearly, as published for the multi-power law
BEYOND = 20.0  # times the range of the starts that a constant may move
SHOWN, BESIDE = 4, 3  # unfinished runs that are followed at a glance, and finished ones that each is held against
SLACK = 1e-6  # updates by which a share of them may lie above a whole number, from rounding
SAME = 0.01  # in ln of a constant, within which two descents ended at one law
EDGE = 0.01  # share by which a constant must lie off the edge of what was tried
LARGE = 50.0  # in ln: more is no interval
OFF = 0.02  # of the loss, by which the law may miss a curve on average without a word
CUTS = 0.3  # share of a run that must be seen before its own past can tell how well it predicts what follows


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """A loss curve and the learning rates of its updates.

    Attributes:
        step: updates made at each point, rising. (p,)
        loss: nats per token. (p,)
        rates: of the updates 1, 2, ..., to the end that is planned, or to the last point. (s,)
    """

    name: str
    step: Array
    loss: Array
    rates: Array

    @property
    def seen(self) -> int:
        """Updates up to the last point."""
        return int(self.step[-1])

    @property
    def unfinished(self) -> bool:
        return self.seen < len(self.rates)

    @property
    def warmup(self) -> int:
        """Updates until the rate no longer rises."""
        falls = np.flatnonzero(np.diff(self.rates) <= 0)
        return int(falls[0]) + 1 if len(falls) else 1

    @property
    def fell(self) -> bool:
        """Whether its rate came below FALLEN of the peak after the warm-up, as far as it was seen."""
        return bool(self.rates[self.warmup : self.seen].min(initial=np.inf) < FALLEN * self.rates[: self.seen].max())

    def until(self, step: float) -> "Curve":
        """What was seen of it up to an update; the plan stays."""
        keep = self.step <= step
        return dataclasses.replace(self, step=self.step[keep], loss=self.loss[keep])

    @functools.cached_property
    def fitted(self) -> NDArray[np.intp]:
        """The points that a law is fitted to: after the warm-up, POINTS at most."""
        rows = np.flatnonzero(self.step >= self.warmup)
        return rows[np.unique(np.linspace(0, len(rows) - 1, POINTS).round().astype(int))] if len(rows) else rows


@dataclasses.dataclass(frozen=True)
class Asked:
    """A schedule as it is typed: a name of `scaling.schedules`, and what differs from the curve it is held against.

    Attributes:
        steps, peak, warmup: updates, the highest rate, and updates of the rise; the curve's own where left out.
        decay: share of the updates in the cooldown, of a schedule that has one.
        end: share of the peak at the end.
        fall: the shape of the cooldown of wsd; the schedule's own where it is left out.
    """

    name: str
    steps: float | None = None
    peak: float | None = None
    warmup: float | None = None
    decay: float = 0.2
    end: float = 0.0
    fall: str = ""
    typed: str = ""

    @classmethod
    def read(cls, text: str) -> "Asked":
        """Such as "cosine", "wsd,decay=0.1,fall=linear" or "cosine,steps=72000,end=0.1".

        Raises:
            InputError: another name, key or value.
        """
        from scaling.config import parse

        name, *pairs = text.split(",")
        if name not in schedules.NAMES:
            raise InputError(f"--schedule {text}: wanted one of {', '.join((*schedules.NAMES, PLANNED))}")
        known = {"steps", "peak", "warmup", *(("decay",) if name in COOLED else ()),
                 *(("fall",) if name == "wsd" else ()),
                 *(("end",) if name != "constant" else ())}  # fmt: skip
        given: dict[str, Any] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if key not in known or not equals or key in given:
                raise InputError(
                    f"--schedule {text}: {pair!r}; wanted KEY=VALUE, each once, of {', '.join(sorted(known))}"
                )
            given[key] = value if key == "fall" else parse(key, value, float)
        asked = cls(name, **given, typed=text)
        if asked.fall and asked.fall not in FALLS:
            raise InputError(f"--schedule {text}: fall={asked.fall}; wanted one of {', '.join(FALLS)}")
        for key, low, high in (("steps", 1, MOST), ("peak", 0, 1e6), ("warmup", -1, MOST), ("decay", 0, 1)):
            value = getattr(asked, key)
            if value is not None and not low < value <= high:
                raise InputError(f"--schedule {text}: {key}={value:g}; wanted a number above {low:g} up to {high:g}")
        if not 0 <= asked.end < 1 or (asked.fall == "exponential" and not asked.end):
            raise InputError(
                f"--schedule {text}: end={asked.end:g}; wanted a share of the peak, above 0 if exponential"
            )
        return asked

    def rates(self, like: Curve) -> Array:
        """Of every update, what is left out as of a curve. (steps,)

        Raises:
            InputError: the warm-up and the fall do not fit into the updates.
        """
        steps = int(self.steps or len(like.rates))
        warmup = int(like.warmup if self.warmup is None else self.warmup)
        falling = math.ceil(self.decay * steps) if self.name in COOLED else steps - warmup
        if warmup + falling > steps or falling < 1:
            raise InputError(
                f"--schedule {self.typed}: {warmup} updates of warm-up do not fit into {steps} with the fall"
            )
        over = schedules.over(np.arange(steps), steps, falling, np)
        fall = FALLS[self.fall](over, self.end) if self.fall else schedules.FALLS[self.name](over, np)
        left = fall if self.fall == "exponential" or self.name == "constant" else self.end + (1 - self.end) * fall
        return (self.peak or float(like.rates.max())) * schedules.rise(np.arange(steps), warmup, np) * left


FALLS: Mapping[str, Callable[[Array, float], Array]] = {
    "sqrt": lambda over, end: schedules.FALLS["wsd"](over, np),
    "linear": lambda over, end: schedules.FALLS["linear"](over, np),
    "cosine": lambda over, end: schedules.FALLS["cosine"](over, np),
    "exponential": lambda over, end: end**over,
}


# --- curves


def of_table(table: Table) -> list[Curve]:
    """The curves of a table with step, loss and the learning rate at each row; `run` tells them apart.

    Between its points a rate is read along a straight line, and before the first along one from 0. Where the rate is
    the same in all rows of a run whose `schedule` is one of ours, it is the peak, as our own tables have it: the rates
    are those of the plan, from `steps`, `warmup`, `cooldown` and `learning_rate_end`, to its end.

    Raises:
        InputError: a column is missing, a curve has fewer than FEWEST points, or diverged, or they are of two models.
    """
    _of_one_model(table)
    step, loss = table["step"], table["loss"]
    rate = table["lr" if "lr" in table and "learning_rate" not in table else "learning_rate"]
    for name, column in (("step", step), ("loss", loss), ("learning_rate", rate)):
        if column.dtype.kind != "f":
            raise InputError(f"{table.source}, column {name}: holds text ({column[0]!r}); wanted numbers")
    run = table["run"].astype(str) if "run" in table else np.full(len(step), table.source)
    found = []
    for name in dict.fromkeys(run.tolist()):
        own = np.flatnonzero((run == name) & np.isfinite(step) & np.isfinite(loss) & np.isfinite(rate) & (step > 0))
        own = own[np.unique(step[own], return_index=True)[1]]
        sound = len(own) >= FEWEST and loss[own].min() > 0 and rate[own].min() >= 0 and rate[own].max() > 0
        if not sound or step[own[-1]] > MOST:
            raise InputError(
                f"{table.source}, run {name}: wanted {FEWEST} points or more with a step up to {MOST:g}, a loss above "
                f"0 and a learning rate; found {len(own)}"
            )
        rates = _planned(table, name, own, rate[own]) if np.ptp(rate[own]) == 0 else None
        if rates is None:
            at = np.arange(1, int(step[own[-1]]) + 1)
            rates = np.interp(at, np.append(0.0, step[own]), np.append(0.0, rate[own]))
        found.append(Curve(str(name), step[own], loss[own], rates))
    return found


def _of_one_model(table: Table) -> None:
    """What a law of whole curves is about, as far as the columns tell."""
    for name, one in (("params", "model"), ("batch_tokens", "batch")):
        values = np.unique(table[name][np.isfinite(table[name])]) if table.has(name) else np.zeros(0)
        if len(values) > 1:
            raise InputError(
                f"{table.source}: curves of {name} {', '.join(map(digits.short, values[:3]))}; a law of whole curves "
                f"is of one {one}: give those of one, or the folder of the study, of which each is taken by itself"
            )
    if "status" in table and (table["status"] == "diverged").any():
        run = table["run"][table["status"] == "diverged"][0] if "run" in table else "a curve"
        raise InputError(f"{table.source}: {run} diverged; leave its rows out")


def _planned(table: Table, run: str, rows: NDArray[np.intp], peak: Array) -> Array | None:
    """The rates of a run's plan by the columns of its rows; None where they name no schedule of ours.

    Raises:
        InputError: the schedule is ours, and a column that it wants is missing, or they do not fit together.
    """
    row = table.chosen(rows[-1:])
    name = str(row["schedule"][0]) if "schedule" in row else ""
    if name not in schedules.NAMES:
        return None

    def of(column: str, default: float = math.nan) -> float:
        value = float(row[column][0]) if row.has(column) else math.nan
        return value if math.isfinite(value) else default

    steps, decay = of("steps"), of("cooldown")
    made, updates = float(row["step"][0]), warmup_updates(row)
    warmup = 0.0 if updates is None or not math.isfinite(updates[0]) else math.ceil(float(updates[0]) - SLACK)
    if name == "constant" and not steps >= made:
        steps = made
    falling = math.ceil(decay * steps - SLACK) if name in COOLED and steps >= made and decay > 0 else steps - warmup
    whole = made <= steps <= MOST and (name not in COOLED or 0 < decay <= 1)
    if not whole or warmup + (falling if name != "constant" else 0) > steps:
        wanted = "steps, warmup and cooldown" if name in COOLED else "steps and warmup"
        raise InputError(
            f"{table.source}, run {run}: the learning rate is {peak[0]:g} in every row, and its schedule is {name}; "
            f"wanted the rate of each row, or columns {wanted} that make the plan (docs/table.md)"
        )
    shape = schedules.shape(name, int(steps), int(warmup), int(falling), of("learning_rate_end", 0.0))
    return float(peak[0]) * shape


def of_records(found: "Records") -> dict[str, list[Curve]]:
    """The curves of a study of our own by model and batch, each with the rates of its plan.

    A law of whole curves is about one model. Runs with fewer than FEWEST points after their warm-up are left out, and
    those that diverged.
    """
    groups: dict[tuple[Any, int], list[Curve]] = {}
    lost: collections.Counter[tuple[Any, int]] = collections.Counter()
    table = found.curves
    diverged = set(table["run"][table["status"] == "diverged"].tolist()) if "status" in table else set()
    for run in dict.fromkeys(table["run"].tolist()):
        config = found.configs[run]
        if run in diverged:
            lost[_alike(config)] += 1
            continue
        curve = of_run(table, run, config)
        if len(curve.step) and len(curve.fitted) >= FEWEST:
            groups.setdefault(_alike(config), []).append(curve)
    return {
        f"{k}: N = {digits.short(model.N)}, batches of {digits.short(B)} tokens"
        + (f", less {n} that diverged" if (n := lost[model, B]) else ""): own
        for k, ((model, B), own) in enumerate(groups.items(), 1)
    }


def of_run(curves: Table, run: str, config: "RunConfig") -> Curve:
    """The curve of one run of our own, with the rates of its plan.

    Args:
        curves: run, step, loss; rows of other runs too.
    """
    own = np.flatnonzero((curves["run"] == run) & np.isfinite(curves["loss"]))
    own = own[np.argsort(curves["step"][own])]
    o = config.optim
    shape = schedules.shape(o.schedule, config.steps, config.warmup_steps, config.falling_steps, o.end)
    return Curve(run, curves["step"][own], curves["loss"][own], o.learning_rate * shape)


# --- the law


class Found(NamedTuple):
    """A law of curves.

    rms: of its relative errors.
    ends: where the descents ended that lead to different laws, the best first: starts for most of the same curves.
    """

    law: OfSchedules
    rms: float
    ends: Array


def under(law: type[OfSchedules], curves: Sequence[Curve], more: Sequence[Array] = ()) -> Schedules:
    """The schedules of these curves and, after them, more, as the law reads them."""
    return Schedules.of([*(curve.rates for curve in curves), *more], knots=KNOTS, between=law.between)


def fitted(
    law: type[OfSchedules], curves: Sequence[Curve], all_: Schedules | None = None, starts: Array | None = None
) -> Found:
    """The law of these curves.

    The constants that a law is linear in follow from the others by least squares with none below 0; the others by
    Huber's loss on relative errors, the best of several starts.

    Args:
        all_: what it is a law for: schedules of which the first are those of the curves; no others if None.
        starts: of the constants that it is not linear in, as logarithms; spread over their ranges if None.

    Raises:
        InputError: no curve has seen its rate fall, or one has too few points after its warm-up.
    """
    for curve in curves:
        if len(curve.fitted) < FEWEST:
            raise InputError(f"{curve.name}: {len(curve.fitted)} points after the warm-up; wanted {FEWEST} or more")
    if not any(curve.fell for curve in curves):
        raise InputError("no curve has seen its learning rate fall: what a fall gains is not known; give one that has")
    all_ = all_ or under(law, curves)
    step = np.concatenate([curve.step[curve.fitted] for curve in curves])
    loss = np.concatenate([curve.loss[curve.fitted] for curve in curves])
    number = np.concatenate([np.full(len(curve.fitted), k + 1.0) for k, curve in enumerate(curves)])
    read = of_schedules(law, _Read(all_, all_.seen(step, number)))
    bent = [c for c in read.constants() if c.name not in law.linear]
    ones = dict(zip(law.linear, np.eye(len(law.linear))[..., None], strict=True))  # one constant is 1, the others 0

    def whole(theta: Array) -> tuple[dict[str, float], Array]:
        """All constants from the logarithms of those that the law is not linear in, and relative errors."""
        at = dict(zip((c.name for c in bent), np.exp(theta), strict=True))
        terms = np.asarray(read(**at, **ones)(step, number))
        best, _ = optimize.nnls((terms / loss).T, np.ones(len(loss)))
        return at | dict(zip(law.linear, best, strict=True)), best @ terms / loss - 1

    bounds = tuple(np.log([_bounds(c.start) for c in bent]).T)
    ends = [
        optimize.least_squares(
            lambda theta: whole(theta)[1],
            start,
            bounds=bounds,
            loss="huber",
            f_scale=DELTA,
            diff_step=1e-5,
            max_nfev=40,
        )
        for start in (_spread(bent) if starts is None else starts)
    ]
    ends.sort(key=lambda end: end.cost)
    different = [ends[0].x]
    for end in ends[1:]:
        if all(np.abs(end.x - other).max() > SAME for other in different):
            different.append(end.x)
    found, errors = whole(ends[0].x)
    return Found(of_schedules(law, all_)(**found), float(np.sqrt(np.mean(errors**2))), np.array(different))


def _spread(bent: Sequence[Constant]) -> Array:
    """Starts in the logarithms of the constants, a quarter of their ranges off the middle, (s, constants)."""
    ranges = np.log([c.start for c in bent])
    middle, quarter = ranges.mean(1), np.ptp(ranges, axis=1) / 4
    signs = itertools.product((-1, 1), repeat=len(bent))
    return np.array([middle + quarter * np.array(sign) for sign in signs if sign[0] == sign[-1]])


def _bounds(start: tuple[float, float]) -> tuple[float, float]:
    """Between which a constant is looked for."""
    return start[0] / BEYOND, start[1] * BEYOND


@dataclasses.dataclass(frozen=True)
class _Read(Schedules):
    """Schedules as they are seen at rows that stay the same while a law is fitted to them."""

    rows: Seen

    def __init__(self, all_: Schedules, rows: Seen):
        for field in dataclasses.fields(all_):
            object.__setattr__(self, field.name, getattr(all_, field.name))
        object.__setattr__(self, "rows", rows)

    def seen(self, t: Values, number: Values) -> Seen:
        return self.rows


@dataclasses.dataclass(frozen=True, eq=False)
class LeftOut:
    """A law without each of its curves in turn: how far its constants, and what it says of that curve, move."""

    law: type[OfSchedules]
    curves: Sequence[Curve]
    starts: Array  # from which each law is looked for: the ends of the descents with all curves

    @functools.cached_property
    def laws(self) -> "list[OfSchedules | InputError]":
        """Without each curve, for its schedule, the last; or why there is none."""
        all_ = under(self.law, self.curves)
        found: list[OfSchedules | InputError] = []
        for k in range(len(self.curves)):
            others = [i for i in range(len(self.curves)) if i != k]
            try:
                rest = [self.curves[i] for i in others]
                found.append(fitted(self.law, rest, all_.chosen([*others, k]), self.starts).law)
            except InputError as error:
                found.append(error)
        return found

    def errors(self) -> list[float]:
        """Of each curve that is at its end, predicted from the others: relative."""
        last = float(len(self.curves))
        return [
            float(law(np.array([float(len(curve.rates))]), np.array([last]))[0]) / _last(curve) - 1
            for curve, law in zip(self.curves, self.laws, strict=True)
            if isinstance(law, OfSchedules) and not curve.unfinished
        ]

    def intervals(self, whole: OfSchedules) -> dict[str, tuple[float, float]]:
        """Of the constants of the law of all curves, at LEVEL: a jackknife over curves in ln(constant), Student's t.

        Points of a curve share its luck, so whole curves are left out, which suits few of them ("CV3" of MacKinnon,
        Nielsen and Webb 2023, doi 10.1016/j.jeconom.2022.04.001). From 0 on without an end where a constant is 0, or at
        the edge of what was tried, with all curves or without one.

        Raises:
            InputError: fewer than three curves, or one without which there is no law.
        """
        G = len(self.curves)
        if G < 3:
            raise InputError(f"{digits.plural(G, 'one curve', f'{G} curves')}; wanted three or more")
        for curve, law in zip(self.curves, self.laws, strict=True):
            if isinstance(law, InputError):
                raise InputError(f"without {curve.name} there is no law: {law}")
        found = {}
        for c in whole.constants():
            value, *without = each = np.array([float(getattr(law, c.name)) for law in (whole, *self.laws)])
            found[c.name] = (0.0, math.inf)
            if inside(self.law, c, each):
                error = math.sqrt((G - 1) / G * float(np.sum(np.log(without / value) ** 2)))
                moved = math.exp(min(float(t_quantile(LEVEL, G - 1)) * error, LARGE))
                found[c.name] = (value / moved, value * moved)
        return found


def inside(law: type[OfSchedules], constant: Constant, values: Array) -> bool:
    """Whether no value of a constant is 0 or at the edge of what was tried."""
    low, high = (0.0, math.inf) if constant.name in law.linear else _bounds(constant.start)
    return bool(((values > low * (1 + EDGE)) & (values < high / (1 + EDGE))).all())


@dataclasses.dataclass(frozen=True)
class Ending:
    """What a schedule leads to.

    Attributes:
        schedule: as it was typed; run: the unfinished run that it is of, if it is one.
        steps: updates; value: loss after them.
        low, high: interval of one run at LEVEL; NaN where `why` says why there is none.
        held_out: relative errors of curves predicted like this one.
        notes: what to know.
    """

    schedule: str
    run: str
    steps: int
    value: float
    low: float
    high: float
    held_out: tuple[float, ...]
    why: str
    notes: tuple[str, ...]

    def told(self) -> str:
        """The loss, when, and its interval or why there is none."""
        held = f"{self.low:.4f} to {self.high:.4f}, {100 * LEVEL:.4g}% of one run" if math.isfinite(self.low) else ""
        return f"{self.value:.4f} after {digits.short(self.steps)} updates ({held or f'no interval: {self.why}'})"


@dataclasses.dataclass(frozen=True, eq=False)
class ScheduleForecast:
    """The answers, and the law that they are by.

    Attributes:
        points: that it was fitted to; rms: relative error.
        warnings: what speaks against one law of these curves.
    """

    law: OfSchedules
    left_out: LeftOut
    points: int
    rms: float
    warnings: tuple[str, ...]
    endings: tuple[Ending, ...]

    def text(self) -> str:
        n = len(self.left_out.curves)
        _, why = self._intervals
        lines = [
            f"Law: {self.law.name}, {self.law.source}",
            f"  fitted to {self.points} points of {digits.plural(n, 'one curve', f'{n} curves')}, missed by "
            f"{digits.percent(self.rms)} rms",
            *(f"  {c.name} {self._written(c.name)} {c.unit}".rstrip() for c in self.law.constants()),
            f"  no intervals: {why}" if why else f"  {LEVEL:.0%} intervals, leaving out a curve at a time",
            *(f"  warning: {warning}" for warning in self.warnings),
        ]
        for one in self.endings:
            whose = f"{one.run}, " if one.run else ""
            lines.append(f"{whose}{one.schedule}: {one.told()}")
            if one.held_out and not one.why:
                worst = max(one.held_out, key=abs)
                lines.append(
                    f"  {len(one.held_out)} predicted in the same way were off by "
                    f"{digits.percent(worst, sign=True)} at worst"
                )
            lines += [f"  note: {note}" for note in one.notes]
        return "\n".join(lines)

    def _written(self, name: str) -> str:
        value, (low, high) = float(getattr(self.law, name)), self._intervals[0].get(name, (math.nan, math.nan))
        if math.isnan(low):
            return digits.plain(value, 3)
        if math.isinf(high):
            return f"{digits.plain(value, 3)} (not told by these curves)"
        return "{} ({})".format(*digits.constant(value, low, high))

    @functools.cached_property
    def _intervals(self) -> tuple[dict[str, tuple[float, float]], str]:
        """Those of the constants, or why there are none."""
        try:
            return self.left_out.intervals(self.law), ""
        except InputError as error:
            return {}, str(error)

    def to_dict(self) -> dict[str, Any]:
        intervals, why = self._intervals
        return jsonable(
            {
                "law": self.law.name,
                "constants": {c.name: float(getattr(self.law, c.name)) for c in self.law.constants()},
                "intervals": intervals,
                "why_no_intervals": why,
                "curves": len(self.left_out.curves),
                "points": self.points,
                "rms": self.rms,
                "warnings": self.warnings,
                "endings": [dataclasses.asdict(one) for one in self.endings],
            }
        )


def forecast(curves: Sequence[Curve], asked: Sequence[str], *, law: str = "tissue", run: str = "") -> ScheduleForecast:
    """Where schedules lead, by the law of these curves.

    Args:
        asked: each as `Asked.read` takes it; "planned" for the rest of every run that is not at the end of its plan.
        law: a name of LAWS.
        run: the curve whose run goes on under the one schedule that is asked for.

    Raises:
        InputError: no such law, run or schedule, or curves that tell nothing of falls.
    """
    if law not in LAWS:
        raise InputError(f"--law {law}: wanted one of {', '.join(LAWS)}")
    if not curves:
        raise InputError("no curve with enough points after its warm-up")
    of = LAWS[law]
    wanted: list[tuple[str, Curve | None, Array]] = []
    for text in asked:
        if text == PLANNED:
            going_on = [curve for curve in curves if curve.unfinished]
            if not going_on:
                raise InputError("--schedule planned: no run has more of its plan before it; name a schedule")
            wanted += [(text, curve, curve.rates) for curve in going_on]
        else:
            longest = max(curves, key=lambda curve: len(curve.rates))
            own = _named(curves, run) if run else None
            wanted.append((text, own, Asked.read(text).rates(own or longest)))
    found, rms, ends = fitted(of, curves, under(of, curves, [rates for _, _, rates in wanted]))
    left_out = LeftOut(of, curves, ends)
    others = [] if all(own for _, own, _ in wanted) else left_out.errors()
    made = []
    for k, (text, own, rates) in enumerate(wanted):
        if own is None:
            value = float(found(np.array([float(len(rates))]), np.array([len(curves) + k + 1.0]))[0])
            made.append(_ending(curves, text, None, rates, value, others, []))
        else:
            made.append(_going_on(of, curves, text, own, rates, ends))
    points = sum(len(curve.fitted) for curve in curves)
    return ScheduleForecast(found, left_out, points, rms, tuple(_missed(found, curves)), tuple(made))


def _missed(found: OfSchedules, curves: Sequence[Curve]) -> Iterator[str]:
    """The curve that the law misses most, if that is more than luck is likely to do."""
    off = []
    for k, curve in enumerate(curves, 1):
        said = found(curve.step[curve.fitted], np.full(len(curve.fitted), float(k)))
        off.append(float(np.mean(np.asarray(said) / curve.loss[curve.fitted])) - 1)
    most = int(np.argmax(np.abs(off)))
    if abs(off[most]) > OFF:
        yield (
            f"it misses {curves[most].name} by {digits.percent(off[most], sign=True)} on average: are all curves of "
            "one model, text and batch?"
        )


def of_running(whole: "StudyFolder", packs: Sequence["Pack"]) -> "dict[str, Ending | str]":
    """What the runs of unfinished packs will end at, the first SHOWN of them, or why that cannot be told.

    By the annealing law of the run and of BESIDE finished ones of its model and batch, those nearest in length and with
    a rate that falls: few, so that it takes less than a second.
    """
    found: dict[str, Ending | str] = {}
    each_run = [(pack, run) for pack in packs for run in pack.runs]
    for pack, run in each_run[:SHOWN]:
        own, *beside = _curves_beside(whole, pack, run)
        if len(own.step) and not own.unfinished:
            found[run.id] = f"is at its end, at {_last(own):.4f}"
        elif not len(own.step) or len(own.fitted) < FEWEST:
            n = len(own.fitted) if len(own.step) else 0
            found[run.id] = f"cannot be told: {n} evaluations after its warm-up are saved, {FEWEST} are wanted"
        elif not any(curve.fell for curve in (own, *beside)):
            found[run.id] = "cannot be told: no finished run of its model and batch has seen its learning rate fall"
        else:
            found[run.id] = forecast([*beside, own], [PLANNED]).endings[0]
    return found


def _curves_beside(whole: "StudyFolder", pack: "Pack", run: "PlannedRun") -> list[Curve]:
    """The curve of a run, and of BESIDE finished ones of its model and batch, those that fall and are as long first."""
    from analysis.records import curves_of

    others = []
    for other in whole.packs:
        status = (whole.done(other) or {}).get("status", ())
        for each, state in zip(other.runs, status, strict=False):
            if state == "done" and _alike(each.config) == _alike(run.config) and each.id != run.id:
                constant = each.config.optim.schedule == "constant"
                others.append((constant, abs(math.log(each.config.steps / run.config.steps)), each, other))
    others.sort(key=lambda one: one[:2])
    packs = {each.id: each for each in (pack, *(other for *_, other in others[:BESIDE]))}
    table = curves_of(whole, list(packs.values()))
    own, *rest = [of_run(table, each.id, each.config) for each in (run, *(each for *_, each, _ in others[:BESIDE]))]
    return [own, *(curve for curve in rest if len(curve.step) and len(curve.fitted) >= FEWEST)]


def _alike(config: "RunConfig") -> tuple[Any, int]:
    """What a law of whole curves is of."""
    return config.model, config.batch_tokens


def _named(curves: Sequence[Curve], run: str) -> Curve:
    """The curve of that name, or the only one whose path ends so, else so without a file's ending: files of several
    folders bear their paths, those of one none."""
    found = [curve for curve in curves if curve.name == run]
    for path in (PurePath(run), PurePath(run).parent / PurePath(run).stem):
        found = found or [curve for curve in curves if _ends_alike(PurePath(curve.name), path)]
    if len(found) != 1:
        told = "there is no such curve" if not found else f"{len(found)} curves are called so"
        raise InputError(f"--run {run}: {told}; there are {', '.join(curve.name for curve in curves)}")
    return found[0]


def _ends_alike(one: PurePath, other: PurePath) -> bool:
    n = min(len(one.parts), len(other.parts))
    return n > 0 and one.parts[-n:] == other.parts[-n:]


def _going_on(
    law: type[OfSchedules], curves: Sequence[Curve], text: str, own: Curve, rates: Array, starts: Array
) -> Ending:
    """Where a run ends whose rates so far are its own and from now on those of a schedule."""
    if own.seen >= len(rates):
        raise InputError(f"{own.name}: {own.seen} updates are made, and the schedule has {len(rates)}; give steps=")
    notes = []
    off = float(np.abs(rates[: own.seen] - own.rates[: own.seen]).max() / own.rates.max())
    if off > ANOTHER:
        notes.append(f"so far the run's rate was another than this schedule's, by {digits.percent(off)} of the peak")
    rates = np.append(own.rates[: own.seen], rates[own.seen :])
    now = dataclasses.replace(own, rates=rates)
    curves = [*(curve for curve in curves if curve is not own), now]
    value, errors = _end(law, curves, now, rates, starts), _held_out(law, curves, now, rates, starts)
    return _ending(curves, text, now, rates, value, errors, notes)


def _ending(
    curves: Sequence[Curve],
    text: str,
    own: Curve | None,
    rates: Array,
    value: float,
    errors: Sequence[float],
    notes: list[str],
) -> Ending:
    if rates.sum() > FAR * max(curve.rates[: curve.seen].sum() for curve in curves):
        notes.append(f"its rates add up to over {FAR:g} times those of the longest curve: far out")
    why, half = "", math.nan
    if len(errors) < 2:
        why = "wanted two other curves, to see how well curves predict one another"
        if own is not None:
            short = own.seen < CUTS * len(rates)
            why += f", or {CUTS:.0%} of the run" if short else "; of the run's own past too little saw its rate fall"
    else:
        spread = float(np.sqrt(np.mean(np.square(errors)) * (1 + 1 / len(errors))))
        half = spread * float(t_quantile(LEVEL, len(errors)))
    return Ending(text, own.name if own else "", len(rates), value, value * (1 - half), value * (1 + half),
                  tuple(errors), why, tuple(notes))  # fmt: skip


def _end(law: type[OfSchedules], curves: Sequence[Curve], own: Curve, rates: Array, starts: Array) -> float:
    """Where a run that goes on ends by the law, moved by how far its last part lies off it."""
    found = fitted(law, curves, under(law, curves, [rates]), starts).law
    value = float(found(np.array([float(len(rates))]), np.array([len(curves) + 1.0]))[0])
    late = own.step >= (1 - LATE) * own.seen
    so_far = found(own.step[late], np.full(int(late.sum()), len(curves) + 1.0))
    return value * float(np.mean(own.loss[late] / so_far))


def _held_out(law: type[OfSchedules], curves: Sequence[Curve], own: Curve, rates: Array, starts: Array) -> list[float]:
    """Relative errors of predictions like that of a run that goes on, whose outcome is known.

    Of each other curve that is at its end, from the rest and as much of it as of the run; where fewer than two are, of
    the run itself, from its own past.
    """
    share = own.seen / len(rates)
    tried: list[tuple[Sequence[Curve], Curve, Curve]] = []
    for curve in curves:
        if curve is not own and not curve.unfinished:
            cut = curve.until(share * curve.seen)
            tried.append(([one for one in curves if one is not curve] + [cut], cut, curve))
    if len(tried) < 2 and share >= CUTS:
        rest = [curve for curve in curves if curve is not own]
        for until in (own.seen, share * own.seen):
            whole = own.until(until)
            whole = dataclasses.replace(whole, rates=own.rates[: whole.seen])
            cut = whole.until(share * whole.seen)
            tried.append(([*rest, cut], cut, whole))
    errors = []
    for given, cut, whole in tried:
        try:
            errors.append(_end(law, given, cut, whole.rates, starts) / _last(whole) - 1)
        except InputError:  # without this curve nothing tells what a fall gains
            continue
    return errors


def _last(curve: Curve) -> float:
    """The loss at the end of a curve."""
    return float(curve.loss[-1])
