"""Whether a change to a recipe is promoted: its effective speed-up over the baseline, by a rule given before.

The speed-up at C FLOP is the compute that the baseline needs for the candidate's loss at C, over C: `analysis.compare`
turned from losses to budgets. C in FLOP, losses in the unit of the comparison.
"""

import dataclasses
import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from analysis.compare import Comparison, compare, compute_at, loss_at, variance, welch
from analysis.digits import compute, typed
from analysis.fit.floor import Floor
from analysis.jsonable import jsonable
from analysis.laws.admission import FINISHED
from analysis.plan.reach import FAR_FLOPS
from analysis.table import Table
from scaling.errors import InputError

BUDGETS = 4  # told besides that of the rule
TIMED = 3  # runs of a ladder with seconds, from which wall-clock is told

Interval = tuple[float, float, float]  # value, low, high


class Verdict(StrEnum):
    """What the rule says."""

    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot tell"


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a change has to show, given before it is measured.

    Attributes:
        at_least: the speed-up that the whole interval must reach; where the whole interval lies below, it fails.
        at: budget in FLOP; None is the largest that both ladders reach.
        by: in "flops", or in "seconds" of wall-clock.
    """

    at_least: float = 1.0
    at: float | None = None
    by: Literal["flops", "seconds"] = "flops"

    def __post_init__(self):
        for what, value in (("at least", self.at_least), ("at", 1.0 if self.at is None else self.at)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{what} {value:g}: wanted a number above 0")


@dataclasses.dataclass(frozen=True)
class SpeedUp:
    """At a budget: the candidate's loss there, and how many times its compute, and time, the baseline needs for it.

    Each is (value, low, high); nan, 0 and inf where the law of the baseline never reaches the loss.
    """

    budget: float
    loss: float
    flops: Interval
    seconds: Interval | None


@dataclasses.dataclass(frozen=True)
class Gate:
    """The speed-ups of a change and what its rule says of them.

    Attributes:
        speed_ups: by rising budget; `decisive` is that of the rule.
        trend: factor by which the speed-up in FLOP grows per decade of compute, with its interval.
        other_floors: the decisive speed-up in FLOP with the floor at each end of its own interval.
    """

    rule: Rule
    floor: Floor | None
    speed_ups: tuple[SpeedUp, ...]
    decisive: SpeedUp
    trend: Interval | None
    other_floors: tuple[float, ...]
    comparison: Comparison
    notes: tuple[str, ...]

    @property
    def measured(self) -> Interval:
        """The speed-up that the rule is about."""
        told = self.decisive.flops if self.rule.by == "flops" else self.decisive.seconds
        assert told is not None
        return told

    @property
    def verdict(self) -> Verdict:
        value, low, high = self.measured
        if self.comparison.doubt or not math.isfinite(value):
            return Verdict.CANNOT_TELL
        if low >= self.rule.at_least:
            return Verdict.PASS
        return Verdict.FAIL if high < self.rule.at_least else Verdict.CANNOT_TELL

    def to_dict(self) -> dict[str, Any]:
        return jsonable(
            {
                "verdict": self.verdict,
                "passed": self.verdict is Verdict.PASS,
                "rule": dataclasses.asdict(self.rule) | {"at": self.decisive.budget},
                "floor": dataclasses.asdict(self.floor) if self.floor else None,
                "law": self.comparison.A.law.name,
                "target": self.comparison.A.target,
                "level": self.comparison.A.level,
                "decisive": dataclasses.asdict(self.decisive),
                "speed_ups": [dataclasses.asdict(one) for one in self.speed_ups],
                "trend_per_decade": self.trend,
                "with_other_floors": self.other_floors,
                "baseline": self.comparison.A.to_dict(),
                "candidate": self.comparison.B.to_dict(),
                "notes": self.notes,
            }
        )

    def text(self) -> str:
        level = f"{100 * self.comparison.A.level:.4g}%"
        unit = {"flops": "FLOP", "seconds": "wall-clock"}
        floor = f"; floor pinned at {self.floor.value:.4g} ({self.floor.told})" if self.floor else ""
        lines = [
            f"Rule: a speed-up in {unit[self.rule.by]} of at least {self.rule.at_least:g} at "
            f"{compute(self.decisive.budget)}, the whole {level} interval",
            f"By {self.comparison.A.law.name}{floor}",
            f"  {'FLOP':<10} {self.comparison.A.target:<9} {'speed-up in FLOP':<26} "
            f"{'in wall-clock' if self.decisive.seconds else ''}".rstrip(),
        ]
        for one in self.speed_ups:
            seconds = _told(one.seconds) if one.seconds else ""
            lines.append(f"  {typed(one.budget, 3):<10} {one.loss:<9.4f} {_told(one.flops):<26} {seconds}".rstrip())
        if self.trend:
            lines.append(f"  per decade of compute the speed-up in FLOP changes by {_told(self.trend)}")
        if self.other_floors:
            ends = " and ".join(typed(v, 3) if math.isfinite(v) else "none" for v in self.other_floors)
            lines.append(f"  with the floor at the ends of its interval the decisive one is {ends}")
        return "\n".join([*lines, self._sentence(), *(f"Note: {note}" for note in self.notes)])

    def _sentence(self) -> str:
        told, wanted = _told(self.measured), f"{self.rule.at_least:g}"
        if self.verdict is Verdict.PASS:
            return f"PASS: {told} is at least {wanted}"
        if self.verdict is Verdict.FAIL:
            return f"FAIL: {told} is below {wanted}"
        return f"CANNOT TELL, so not passed: {self.comparison.doubt or f'{told} may be on either side of {wanted}'}"


def gate(baseline: Table, candidate: Table, rule: Rule, *, floor: Floor | None = None, law: str | None = None) -> Gate:
    """Holds a candidate against the rule.

    Args:
        baseline, candidate: ladders, one row per run, counted and evaluated alike; with a column seconds, wall-clock is
            told too, of the machines that each was trained on.
        floor: irreducible loss at which both laws are pinned; None leaves it to each ladder.
        law: as `compare` takes it.

    Raises:
        InputError: ladders that cannot be compared, or a rule about seconds that they do not tell.
    """
    found = compare(baseline, candidate, law=law, floor=floor)
    reached = [float(compute_at(found.B.law, g.loss)) for g in found.gains if not g.unreached]
    if not reached:
        raise InputError("the fitted laws end above the losses that both ladders reach: no speed-up can be told")
    ends = min(reached), max(reached)
    at = ends[1] if rule.at is None else rule.at
    prices = _price(baseline), _price(candidate)
    timed = all(price is not None for price in prices)
    if rule.by == "seconds" and not timed:
        raise InputError(f"a rule by seconds: both ladders need a column seconds in {TIMED} finished runs or more")
    told = {C: _speed_up(found, C, prices) for C in sorted({*np.geomspace(*ends, BUDGETS).tolist(), at})}
    notes = [*found.notes]
    if timed:
        notes.append("wall-clock is that of the machines on which the ladders were trained: the same, or no comparison")
    others: tuple[float, ...] = ()
    if floor and math.isfinite(floor.low) and math.isfinite(floor.high):
        known = (dataclasses.replace(floor, value=end) for end in (floor.low, floor.high))
        others = tuple(_with_floor(baseline, candidate, end, law, at) for end in known)
    if at > FAR_FLOPS * ends[1]:
        notes.append(
            f"{compute(at)} is {typed(at / ends[1], 3)} times the largest compute that both ladders reach: a guess"
        )
    elif at > 1.001 * ends[1]:
        notes.append(f"{compute(at)} is {typed(at / ends[1], 3)} times the largest compute that both ladders reach")
    trend = _trend(found, *ends) if ends[1] > 1.5 * ends[0] else None
    return Gate(rule, floor, tuple(told.values()), told[at], trend, others, found, tuple(notes))


def _with_floor(A: Table, B: Table, floor: Floor, law: str | None, C: float) -> float:
    """The speed-up in FLOP with another floor; nan where one of the ladders lies below it."""
    try:
        other = compare(A, B, law=law, floor=floor)
    except InputError:
        return math.nan
    return float(compute_at(other.A.law, loss_at(other.B.law, C)) / C)


def _speed_up(found: Comparison, C: float, prices: Sequence["_Price | None"]) -> SpeedUp:
    A, B = found.A, found.B
    loss = loss_at(B.law, C)
    needed = float(compute_at(A.law, loss))
    if not math.isfinite(needed):
        never = math.nan, 0.0, math.inf
        return SpeedUp(C, loss, never, never if all(prices) else None)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # at the floor: unbounded, as `welch` says
        parts = (
            A.derived(lambda one: np.asarray(compute_at(one, loss)), log=True),
            B.derived(lambda one: np.asarray(compute_at(A.law, loss_at(one, C))), log=True),
        )
        variances = [variance(part, fit) for part, fit in zip(parts, (A, B), strict=True)]
    degrees = [A.degrees, B.degrees]
    flops = needed / C, *welch(needed / C, variances, degrees, A.level)
    a, b = prices
    if a is None or b is None:
        return SpeedUp(C, loss, flops, None)
    seconds = needed / C * a.at(needed) / b.at(C)
    steeper = (1 + a.slope) ** 2  # a longer run of the baseline costs its own price per FLOP
    more = [steeper * v for v in variances] + [a.variance(needed), b.variance(C)]
    return SpeedUp(C, loss, flops, (seconds, *welch(seconds, more, [*degrees, a.degrees, b.degrees], A.level)))


def _trend(found: Comparison, low: float, high: float) -> Interval:
    """Factor of the speed-up in FLOP per decade of the candidate's compute, between two budgets."""
    A, B = found.A, found.B
    losses = loss_at(B.law, low), loss_at(B.law, high)
    decades = math.log10(high / low)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):

        def grown(baseline: Any, losses: Sequence[float]) -> np.ndarray:
            first, last = (compute_at(baseline, loss) for loss in losses)
            return np.asarray((last / first / (high / low)) ** (1 / decades))

        value = float(grown(A.law, losses))
        parts = (
            A.derived(lambda one: grown(one, losses), log=True),
            B.derived(lambda one: grown(A.law, (loss_at(one, low), loss_at(one, high))), log=True),
        )
        variances = [variance(part, fit) for part, fit in zip(parts, (A, B), strict=True)]
    return value, *welch(value, variances, [A.degrees, B.degrees], A.level)


@dataclasses.dataclass(frozen=True)
class _Price:
    """Seconds per FLOP of a ladder's runs over their compute: a straight line in logarithms."""

    middle: float  # of ln C
    level: float  # ln seconds per FLOP there
    slope: float
    spread: float  # sum of squares of ln C about the middle
    sigma: float
    n: int

    @property
    def degrees(self) -> float:
        return self.n - 2

    def at(self, C: float) -> float:
        return math.exp(self.level + self.slope * (math.log(C) - self.middle))

    def variance(self, C: float) -> float:
        """Of the logarithm of the line at C."""
        return self.sigma**2 * (1 / self.n + (math.log(C) - self.middle) ** 2 / self.spread)


def _price(table: Table) -> _Price | None:
    """None where too few runs tell their seconds, or all have one compute."""
    if not table.has("seconds"):
        return None
    rows = FINISHED.admit(table)
    known = np.isfinite(rows["seconds"]) & (rows["seconds"] > 0)
    C, seconds = np.log(rows["flops"][known]), np.log(rows["seconds"][known])
    if len(C) < TIMED or np.ptp(C) < 1e-3:
        return None
    y, x = seconds - C, C - C.mean()
    slope, level = np.polyfit(x, y, 1)
    rest = float(((y - level - slope * x) ** 2).sum())
    return _Price(
        float(C.mean()), float(level), float(slope), float((x**2).sum()), math.sqrt(rest / (len(C) - 2)), len(C)
    )


def _told(interval: Interval) -> str:
    value, low, high = interval
    if not math.isfinite(value):
        return "the baseline never gets there"
    ends = f"{typed(low, 3)} to {typed(high, 3)}" if math.isfinite(high) else "not bounded"
    return f"{typed(value, 3)} ({ends})"
