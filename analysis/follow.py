"""A run that goes on against its forecast: its loss so far, beside what the law promises of a run that ends there."""

import dataclasses
import json
import math
from typing import Any

import numpy as np

from analysis import digits
from analysis.average import Average
from analysis.fit.estimate import Fit
from analysis.forecast import Forecast
from analysis.frontier import Array
from analysis.jsonable import jsonable
from analysis.laws.admission import constant_rate
from analysis.table import Table
from scaling.errors import InputError

GROW = ("tokens", "flops", "flops_min", "step", "steps_min")  # columns of a curve that count what was done so far
SAME = 0.02  # difference, relative, of an input up to which a run is the one that was forecast
SHOWN = 12  # points of the text, evenly spread in the logarithm


@dataclasses.dataclass(frozen=True)
class Followed:
    """The loss of one run so far and what was promised at each point: arrays of one length, by rising `x`.

    Attributes:
        along: the column that grows along the run, such as tokens; x: its values.
        measured: the target; value, low, high: what the law says of a single run that ends there, with its interval.
        end: what was forecast, at the end of the run, at its own x.
    """

    name: str
    forecast: Forecast
    run: str
    along: str
    x: Array
    measured: Array
    value: Array
    low: Array
    high: Array
    end: float
    notes: tuple[str, ...]

    @property
    def above(self) -> Array:
        """Measured over promised, less 1."""
        return self.measured / self.value - 1

    def to_dict(self) -> dict[str, Any]:
        points = zip(self.x, self.measured, self.value, self.low, self.high, self.above, strict=True)
        names = (self.along, "measured", "promised", "low", "high", "above")
        return jsonable(
            {
                "name": self.name,
                "run": self.run,
                "points": [dict(zip(names, map(float, point), strict=True)) for point in points],
                "end": {self.along: self.end, "promised": self.forecast.value},
                "notes": list(self.notes),
            }
        )

    def text(self) -> str:
        f = self.forecast
        lines = [
            f"{self.name}: run {self.run or 'without a name'}, {self.x[-1] / self.end:.0%} of its {self.along}",
            f"  {self.along:<12} {f.target:<10} {'promised':<10} {'above':<9} {100 * f.level:.4g}% of one run",
        ]
        rows = np.unique(np.round(np.linspace(0, len(self.x) - 1, SHOWN)).astype(int))
        for i in rows:
            lines.append(
                f"  {digits.short(float(self.x[i])):<12} {self.measured[i]:<10.4f} {self.value[i]:<10.4f} "
                f"{self.above[i]:<+9.2%} {self.low[i]:.4f} to {self.high[i]:.4f}"
            )
        lines.append(f"  {digits.short(self.end):<12} {'':<10} {f.value:<10.4f} forecast on {f.made[:10]}")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def follow(name: str, forecast: Forecast, curves: Table, scored: bool = False) -> Followed:
    """The curve of the run that a forecast is of, against the forecast's own fit at each point.

    Args:
        name: of the forecast.
        curves: one row per (run, step): the inputs of the law so far, and its target.
        scored: whether the forecast has its score: nothing is said of how to give it one.

    Raises:
        InputError: no run fits the forecast, or several do; or the law's inputs do not grow along the run.
    """
    whole = dict(forecast.fit)
    said = Average.from_dict(whole) if "average" in whole else Fit.from_json(json.dumps(whole))
    fit = said.fits[0] if isinstance(said, Average) else said  # forms of an average share their columns
    rows = _own(forecast, curves)
    grows = [name for name in fit.law.inputs if name in GROW]
    if not grows:
        raise InputError(
            f"{name}: {forecast.law} promises nothing before the end: {', '.join(fit.law.inputs)} are the same all "
            "along a run; score it at the end with --measured"
        )
    along = grows[-1]
    seen = np.isfinite(rows[forecast.target]) & (rows[along] > 0)
    notes = [f"{(~seen).sum()} points left out: before the first update, or no {forecast.target} there"] * (
        not seen.all()
    )
    if not seen.any():
        raise InputError(f"{name}: no point of the curve has {forecast.target} and {along} yet; wait for an evaluation")
    rows = rows.where(seen, "not measured there")
    columns = rows.positive(*fit.law.inputs)
    k = fit.law.inputs.index(along)
    order = np.argsort(columns[k], kind="stable")
    columns = tuple(column[order] for column in columns)
    (measured,) = rows.positive(forecast.target)
    promised = said.predict(run=True, **dict(zip(fit.law.inputs, columns, strict=True)))
    end = forecast.inputs[along]
    last = float(measured[order][-1])
    if abs(columns[k][-1] / end - 1) <= SAME and not scored:
        notes.append(f"the run has ended: score it with --measured {name}={last:.6g}")
    notes += _caveats(fit, rows, along, columns[k], end)
    if not forecast.bounded:
        notes.append("the fit was too doubtful for an interval where the run ends")
    return Followed(
        name,
        forecast,
        str(rows["run"][0]) if rows.has("run") else "",
        along,
        columns[k],
        measured[order],
        *(np.asarray(part, float) for part in promised),
        end=end,
        notes=tuple(notes),
    )


def _own(forecast: Forecast, curves: Table) -> Table:
    """The rows of the run that was forecast: the only one whose last row does not go beyond it, at its size."""
    names = np.unique(curves["run"]) if curves.has("run") else np.array([""])
    if len(names) == 1:
        _refuse_another(forecast, curves, names[0])
        return curves
    fits = [name for name in names if _is_of(forecast, curves, curves["run"] == name)]
    if len(fits) != 1:
        at = forecast.at
        found = f"none of {len(names)} runs has" if not len(fits) else f"{len(fits)} runs may have"
        which = ", ".join(map(str, (fits if len(fits) else names)[:5]))
        raise InputError(f"{found} {at}; choose one with --where run=ID, such as {which}")
    return curves.where(curves["run"] == fits[0], "another run")


def _refuse_another(forecast: Forecast, curve: Table, name: str) -> None:
    """Refuses the only curve that there is where it is of another model than was forecast."""
    for column, wanted in forecast.inputs.items():
        if column in GROW or column not in curve or curve[column].dtype.kind != "f":
            continue
        values = curve[column][np.isfinite(curve[column])]
        seen = float(values.max()) if len(values) else wanted
        if abs(seen - wanted) > SAME * wanted:
            raise InputError(
                f"run {name or 'without a name'} has {column} {digits.short(seen)}, and the forecast is of "
                f"{forecast.at}; wanted the curve of that run"
            )


def _is_of(forecast: Forecast, curves: Table, rows: np.ndarray) -> bool:
    """Whether a run may end at the inputs that were forecast: what is fixed is equal, what grows is not beyond."""
    for name, wanted in forecast.inputs.items():
        if name not in curves or curves[name].dtype.kind != "f":
            return False
        seen = float(np.nanmax(curves[name][rows]))
        if seen > (1 + SAME) * wanted or (name not in GROW and seen < (1 - SAME) * wanted):
            return False
    return True


def _caveats(fit: Fit, rows: Table, along: str, x: Array, end: float) -> list[str]:
    low, _ = fit.ranges.get(along, (0.0, math.inf))
    below = int((x < low).sum())
    constant = constant_rate(rows).all() and len(rows)
    notes = [
        "each promise is of a run that ends there, its learning rate decayed: "
        + (
            "this run keeps its rate, and lies above all of them until it cools down"
            if constant
            else "a run whose rate has not fallen yet lies above it, and comes down as the rate falls"
        )
    ]
    if below:
        notes.append(f"{below} of {len(x)} points lie below the smallest {along} fitted, {digits.short(low)}")
    if x[-1] > (1 + SAME) * end:
        notes.append(f"the run has gone beyond the {digits.short(end)} {along} of the forecast")
    return notes
