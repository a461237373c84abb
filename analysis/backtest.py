"""Back-tests: a law walks forward through a table, and its forecasts are held against what the larger runs gave.

Each step fits the runs up to a size, as `fit` does, and predicts the larger ones. An interval that holds 95 % of what
happens is calibrated; of two that do, the narrower is the better. Both together is the interval score, the width plus
2 / (1 - level) times what lies outside, in ln(target) (Gneiting and Raftery 2007, eq. 43).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis import average, forms
from analysis.average import AVERAGE, Average
from analysis.confidence import LEVEL
from analysis.digits import plural, short
from analysis.fit import fit, suspects
from analysis.fit.estimate import LEAVES_LIMITS, Fit, percent
from analysis.fit.misfit import APART, FURTHEST, furthest, steps_of
from analysis.fit.rows import admitted, clustered
from analysis.laws import Law, law_by_name
from analysis.table import Table
from scaling.errors import InputError

Array = NDArray[np.float64]

FEWEST = 3  # times as many rows as constants that a step fits
STEPS = 6  # along the product of the inputs, and along the first of them
TOO_FEW = 0.9  # of the runs inside their intervals: fewer is said
LEVELS = (0.5, 0.8, 0.95)
BANDS = ((1.0, 2.0), (2.0, 8.0), (8.0, math.exp(FURTHEST)), (math.exp(FURTHEST), math.inf))  # times the largest runs


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One fit to the smaller runs and what it said of the larger ones; arrays have one entry per run predicted.

    Attributes:
        fitted: rows of the fit.
        largest: the largest product of its inputs.
        far: distance of the runs beyond the fit's, in ln.
        half_of_law, half_of_run: half widths in ln(target) on the side of what was measured, at each of `LEVELS`,
            (levels, rows).
    """

    fitted: int
    largest: float
    far: Array
    measured: Array
    predicted: Array
    half_of_law: Array
    half_of_run: Array

    @property
    def missed(self) -> Array:
        """ln(measured / predicted)."""
        return np.log(self.measured / self.predicted)


@dataclasses.dataclass(frozen=True, eq=False)
class Backtest:
    """What came of all steps.

    Attributes:
        rows, given: that could be walked through, and of how many the table was read with.
        runs: into which the rows fall that are no runs of their own; 0 where each row is one.
        refused: steps whose fit is doubtful, or finds no law: no forecast would be made from it.
    """

    law: str
    target: str
    inputs: tuple[str, ...]
    rows: int
    given: int
    runs: int
    steps: tuple[Step, ...]
    refused: int
    notes: tuple[str, ...]

    def covered(self, level: float = LEVEL, *, run: bool = True, least: float = 1.0, most: float = math.inf) -> float:
        """Share of the predicted runs inside the intervals, of runs so many times beyond; each step counts alike."""
        k = LEVELS.index(level)
        return self._mean(
            [np.abs(s.missed) <= (s.half_of_run if run else s.half_of_law)[k] for s in self.steps], least, most
        )

    def half_width(self, least: float = 2.0, most: float = 8.0) -> float:
        """Median half width of the 95 % intervals of one run in ln(target)."""
        k = LEVELS.index(LEVEL)
        halves = [s.half_of_run[k][_within(s.far, least, most)] for s in self.steps]
        return float(np.median(np.concatenate(halves))) if sum(map(len, halves)) else math.nan

    def reach(self, least: float = 2.0, most: float = 8.0) -> float:
        """How far intervals of one width, chosen afterwards, would have to reach to hold 95 % of the predicted runs."""
        missed = [np.abs(s.missed)[_within(s.far, least, most)] for s in self.steps]
        return float(np.quantile(np.concatenate(missed), LEVEL)) if sum(map(len, missed)) else math.nan

    def score(self) -> float:
        """Mean interval score of the 95 % intervals of one run."""
        k, heavy = LEVELS.index(LEVEL), 2 / (1 - LEVEL)
        halves = [s.half_of_run[k] for s in self.steps]
        return self._mean(
            [2 * h + heavy * np.maximum(np.abs(s.missed) - h, 0) for s, h in zip(self.steps, halves, strict=True)],
            1.0,
            math.inf,
        )

    def rms(self, least: float = 1.0, most: float = math.inf) -> float:
        """Root mean square of ln(measured / predicted)."""
        return math.sqrt(self._mean([s.missed**2 for s in self.steps], least, most))

    def inside(self) -> int:
        """How many of the predicted runs lie inside their 95 % intervals of one run."""
        k = LEVELS.index(LEVEL)
        return sum(int((np.abs(s.missed) <= s.half_of_run[k]).sum()) for s in self.steps)

    def predictions(self, least: float = 1.0, most: float = math.inf) -> int:
        return sum(int(_within(s.far, least, most).sum()) for s in self.steps)

    def _mean(self, values: list[Array], least: float, most: float) -> float:
        parts = [v[_within(s.far, least, most)] for v, s in zip(values, self.steps, strict=True)]
        parts = [part.mean() for part in parts if len(part)]
        return float(np.mean(parts)) if parts else math.nan

    @property
    def doubt(self) -> str:
        """That the intervals held too few of the runs; empty where they held enough."""
        if self.covered() >= TOO_FEW:
            return ""
        return (
            f"the intervals of {self.law} hold {self.covered():.0%} where they say {percent(LEVEL)}: on such runs its "
            "forecasts are too sure of themselves; scaling fit --choose tells whether another form does better"
        )

    def summary(self) -> dict[str, Any]:
        """All but the single steps."""
        return {
            "law": self.law,
            "target": self.target,
            "inputs": list(self.inputs),
            "rows": self.rows,
            "given": self.given,
            "runs": self.runs or self.rows,
            "refused": self.refused,
            "predictions": self.predictions(),
            "inside": self.inside(),
            "covered": {f"{level:g}": self.covered(level) for level in LEVELS},
            "covered_of_law": {f"{level:g}": self.covered(level, run=False) for level in LEVELS},
            "half_width": self.half_width(),
            "reach": self.reach(),
            "score": self.score(),
            "rms": self.rms(),
            "doubt": self.doubt,
            "notes": list(self.notes),
        }

    def to_dict(self) -> dict[str, Any]:
        return self.summary() | {
            "steps": [
                {
                    "fitted": s.fitted,
                    "largest": s.largest,
                    "beyond": np.exp(s.far).tolist(),
                    "measured": s.measured.tolist(),
                    "predicted": s.predicted.tolist(),
                    "half_width_of_run": s.half_of_run[LEVELS.index(LEVEL)].tolist(),
                    "half_width_of_law": s.half_of_law[LEVELS.index(LEVEL)].tolist(),
                }
                for s in self.steps
            ],
        }

    def text(self) -> str:
        product = " x ".join(self.inputs)
        of = f" ({self.runs} {plural(self.runs, 'run', 'runs')})" if self.runs else ""
        lines = [
            f"{self.law}: {self.rows} of {self.given} rows{of}, {len(self.steps)} fits to the smaller ones, "
            f"{self.predictions()} predictions of larger ones",
            f"  {'fitted':>6}  {'up to ' + product:<24} {'predicted':>9}  {'rms error':>9}  {'inside':>6}  half-width",
        ]
        k = LEVELS.index(LEVEL)
        for s in self.steps:
            held = np.abs(s.missed) <= s.half_of_run[k]
            lines.append(
                f"  {s.fitted:>6}  {short(s.largest):<24} {len(s.far):>9}  "
                f"{math.sqrt(float(np.mean(s.missed**2))):>9.2%}  {held.mean():>6.0%}  "
                f"{np.median(s.half_of_run[k]):.2%}"
            )
        lines.append(
            f"inside the {percent(LEVEL)} interval of one run: {self.covered():.1%} of a step, {self.inside()} of "
            f"{self.predictions()} in all (of the law alone: {self.covered(run=False):.1%}); interval score "
            f"{self.score():.3f}"
        )
        for least, most in BANDS:
            if count := self.predictions(least, most):
                far = f"{least:g} to {most:.0f}" if math.isfinite(most) else f"over {least:.0f}"
                some = "1 prediction" if count == 1 else f"{count} predictions"
                lines.append(
                    f"  {far} times beyond: {some}, {self.covered(least=least, most=most):.0%} inside, "
                    f"median half-width {self.half_width(least, most):.2%}, rms error {self.rms(least, most):.2%}"
                )
        nominal = ", ".join(f"{level:.0%} holds {self.covered(level):.0%}" for level in LEVELS)
        lines.append(f"calibration: {nominal}")
        warning = [f"warning: {self.doubt}"] if self.doubt else []
        return "\n".join([*warning, *lines, *(f"note: {note}" for note in self.notes)])


def backtest(
    law: type[Law] | str,
    table: Table,
    *,
    target: str | None = None,
    clusters: str | None = None,
    steps: int = STEPS,
    every_run: bool = False,
) -> Backtest:
    """Fits the law to the smaller runs of the table, step by step, and predicts the larger ones.

    Args:
        law: a law, its name, or "average": the forms that suit the table, by their held-out weight.
        clusters: as `fit` has it; a run is either fitted or predicted.
        steps: at most, along the product of the law's inputs and along the first of them.
        every_run: as `fit` has it.

    Raises:
        InputError: too few runs for two sizes of fit, or no step whose fit finds a law.
    """
    averaged = law == AVERAGE
    tried = forms.candidates(table) if averaged else (law_by_name(law) if isinstance(law, str) else law,)
    law = max(tried, key=lambda one: len(one.constants()))
    rows = table if every_run else admitted(law, table)
    name = target or (law.fallback if law.fallback and not rows.has(law.target) else law.target)
    rows.positive(name)
    x = rows.positive(*law.inputs)
    index, *_ = clustered(law, rows, clusters)
    least = FEWEST * len(law.constants())
    parts = steps_of(law, x, least, steps, index)
    if not parts:
        form = f"{law.name}, of all forms averaged the one with most constants," if averaged else law.name
        count = len(rows) if index is None else len(np.unique(index))
        runs = f"{len(rows)} rows of {count} {plural(count, 'run', 'runs')}" if index is not None else f"{count} runs"
        raise InputError(
            f"{table.source}: {runs} are too few to walk {form} forward: {_below_the_largest(x, index)} lie "
            f"below the largest, and a step fits {least} or more ({FEWEST} for each of {len(law.constants())} "
            "constants), at three values of each input"
        )
    told, refused, why, beyond = [], 0, "", 0
    given = {"target": name, "clusters": clusters, "every_run": True}
    for part in parts:
        smaller = rows.where(part, "larger: predicted")
        try:
            found = _averaged(tried, smaller, given) if averaged else fit(law, smaller, **given)
        except InputError as error:
            refused, why = refused + 1, str(error)
            continue
        if isinstance(found, Fit) and not found.sound:  # no forecast would be made from it
            refused, why = refused + 1, f"{found.status}: {found.why}"
            continue
        larger = rows.where(~part, "fitted")
        bounded = found.bounded(**{column: larger[column] for column in law.inputs})
        if bounded.any():
            told.append(_step(found, larger.where(bounded, "no interval is given"), int(part.sum())))
            beyond += int((~bounded).sum())
        else:
            refused, why = refused + 1, LEAVES_LIMITS
    if not told:
        raise InputError(f"{table.source}: none of {len(parts)} steps finds {law.name}: {why}")
    notes = [f"left out: {len(e.rows)} ({e.reason})" for e in rows.excluded]
    notes += suspects.told(rows, suspects.suspicions(rows, law.inputs, name))
    if refused:
        notes.append(f"{refused} of {len(parts)} fits are doubtful and predict nothing, such as: {why}")
    if beyond:
        notes.append(f"{beyond} predictions are not counted: {LEAVES_LIMITS}")
    form = AVERAGE if averaged else law.name
    runs = 0 if index is None else len(np.unique(index))
    return Backtest(form, name, tuple(law.inputs), len(rows), rows.given, runs, tuple(told), refused, tuple(notes))


def _below_the_largest(x: Sequence[Array], clusters: NDArray[np.int64] | None) -> int:
    """Rows, or clusters of them, that the largest step could fit."""
    far = np.round(np.sum([np.log(column) for column in x], 0) / APART)
    if clusters is None:
        return int((far < far.max()).sum())
    far = furthest(far, clusters)
    return len(np.unique(clusters[far < far.max()]))


def _averaged(tried: Sequence[type[Law]], table: Table, options: Mapping[str, Any]) -> Average:
    return average.average(forms.choose(tried, table, **options), list(tried), table, **options)


def _step(found: Fit | Average, held: Table, fitted: int) -> Step:
    heaviest = found.fits[0] if isinstance(found, Average) else found
    columns: dict[str, Any] = dict(zip(heaviest.law.inputs, held.positive(*heaviest.law.inputs), strict=True))
    (measured,) = held.positive(found.target)

    def halves(run: bool) -> Array:
        said = [_at(found, level).predict(run=run, **columns) for level in LEVELS]
        return np.array(
            [np.log(np.where(measured > s.value, s.high / s.value, s.value / np.maximum(s.low, 1e-300))) for s in said]
        )

    far, largest = np.zeros(len(held)), math.nan
    if (own := heaviest.misfit) is not None:
        far = own.distance(tuple(columns.values()), [heaviest.ranges[name] for name in columns])
        largest = math.exp(own.largest)
    value = np.asarray(found.predict(**columns).value)
    return Step(fitted, largest, far, measured, value, halves(False), halves(True))


def _at(found: Fit | Average, level: float) -> Fit | Average:
    return found.at_level(level) if isinstance(found, Average) else dataclasses.replace(found, level=level)


def _within(far: Array, least: float, most: float) -> NDArray[np.bool_]:
    return (far >= math.log(least) - 1e-9) & (far < math.log(most))
