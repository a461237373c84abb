"""How far a fit reaches: what makes it doubtful, and how far beyond its runs a question lies."""

import math
from collections.abc import Mapping

from analysis.digits import short, typed
from analysis.fit.estimate import SLACK, Fit

FAR = 10.0  # times the largest N, D, ... fitted: beyond it an answer is called a guess
FAR_FLOPS = 100.0  # the same of compute, which is their product

NAMES = {"params": "N", "tokens": "D", "unique_tokens": "unique tokens", "flops": "C", "steps_min": "S_min"}


def doubt(fit: Fit) -> str:
    """Why the constants of a fit are not to be trusted; empty where they are."""
    return "" if fit.sound else f"the fit is doubtful, {fit.status}: {fit.why}"


def unprofiled(fit: Fit) -> str:
    """That a fit's file is older than predictions profiled over a floor that may be 0; empty where it is not."""
    if fit.ends is None or fit.ends.over_floor is not None:
        return ""
    floors = [c.name for c in fit.law.constants() if c.kind == "floor" and c.name not in fit.fixed]
    if not any(fit.intervals[name][0] == 0 and math.isfinite(fit.intervals[name][1]) for name in floors):
        return ""
    return "fitted before predictions were profiled over the floor; fit again"


def beyond(fit: Fit, columns: Mapping[str, float]) -> list[str]:
    """Which of the columns lie outside the runs that were fitted, by what factor, and whether that is a guess."""
    return outside(fit.ranges, columns)


def outside(ranges: Mapping[str, tuple[float, float]], columns: Mapping[str, float]) -> list[str]:
    """The same of runs whose ranges are known.

    Args:
        columns: values to ask about; of those without a range nothing is said.
    """
    told, guess = [], False
    for name, value in columns.items():
        low, high = ranges.get(name, (0.0, math.inf))
        times = value / high if value > high * SLACK else low / value if value * SLACK < low else 1.0
        if times == 1.0:
            continue
        label, told_value = NAMES.get(name, name), _amount(name, value)
        if value > high:
            told.append(f"{label} = {told_value} is {typed(times, 3)} times the largest fitted, {_amount(name, high)}")
        else:
            told.append(
                f"{label} = {told_value} is {typed(times, 3)} times below the smallest fitted, {_amount(name, low)}"
            )
        guess |= times > (FAR_FLOPS if name == "flops" else FAR)
    return [*told, *(["that far beyond the runs it is a guess"] if guess else [])]


def _amount(name: str, value: float) -> str:
    return typed(value, 3) if name == "flops" or value < 1 else short(value)
