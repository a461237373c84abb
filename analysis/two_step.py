"""Accuracy on a task in two steps: from size and data to the loss on the task, and from that loss to accuracy.

Bhagia et al. (2024) and Gadre et al. (2024) forecast accuracies so. Here both steps are fitted to the same runs and
drawn again together: a draw is one choice of runs, its law of the loss at the target and, at the loss that it says, its
law of accuracy. A run's own scatter and what the first law is wrong by beyond its runs are added to each draw.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.fit import fit
from analysis.fit.estimate import Fit, Prediction
from analysis.laws import law_by_name
from analysis.table import Table
from scaling.errors import InputError

DRAWS = 400
WIDE = 0.1  # half-width of the 95 % interval of an accuracy or error above which a forecast says too little


@dataclasses.dataclass(frozen=True, eq=False)
class TwoStep:
    """Two laws of one set of runs.

    Attributes:
        first: of the loss on the task, by size and data.
        second: of accuracy, or of error, by that loss, with what a model without loss reaches held at `ceiling`.
        free: the same law with all constants free; None where nothing was held.
    """

    first: Fit
    second: Fit
    free: Fit | None = None

    def predict(self, **columns: float) -> Prediction:
        """Accuracy, or error, of a run at these inputs of the first law, with the interval of one run.

        Args:
            columns: one number each.

        Raises:
            InputError: of the inputs one is missing, unknown or not positive.
        """
        x = self._inputs(columns)
        law, run = self.first.band(*x), self.first.band(*x, run=True)
        value = self._at(self.second, float(law.value))
        n = self.pairs
        if not n:
            return Prediction(value, 0.0, 1.0)
        rng = np.random.default_rng(0)
        losses = np.array([type(self.first.law)(*constants)(*x) for constants in self.first.draws[:n]], np.float64)
        beyond = [_half(run, side) ** 2 - _half(law, side) ** 2 for side in (0, 1)]
        widths = np.sqrt(np.maximum(beyond, 0)) / 1.96
        noise = rng.standard_normal(n)
        losses = np.exp(np.log(losses) + noise * np.where(noise < 0, *widths))
        own = rng.standard_normal(n) * self.second.residuals.sigma
        with np.errstate(over="ignore"):  # of a draw that is a step
            drawn = np.array([type(self.second.law)(*c)(L) for c, L in zip(self.second.draws[:n], losses, strict=True)])
        drawn = drawn * np.exp(own) if self.second.objective_kind.log else drawn + own
        tail = 50 * (1 - self.second.level)
        low, high = np.percentile(np.clip(drawn, 0, 1), [tail, 100 - tail])
        return Prediction(value, min(float(low), value), max(float(high), value))

    @property
    def pairs(self) -> int:
        """How many draws both laws have; the k-th of each is of the same runs."""
        return min(len(self.first.draws), len(self.second.draws))

    def _inputs(self, columns: Mapping[str, float]) -> list[float]:
        """In the order of the first law."""
        wanted = self.first.law.inputs
        if set(columns) != set(wanted):
            raise InputError(
                f"{self.first.law.name} predicts from {', '.join(wanted)}; found {', '.join(columns) or 'none'}"
            )
        return [columns[name] for name in wanted]

    @staticmethod
    def _at(found: Fit, loss: float) -> float:
        with np.errstate(over="ignore"):
            return float(np.clip(found.law(np.float64(loss)), 0, 1))

    def doubts(self, **columns: float) -> list[str]:
        """Why a forecast at these inputs is to be refused; none where it is not."""
        said = []
        for step, found in (("the loss", self.first), ("accuracy", self.second)):
            if not found.sound:
                said.append(f"the law of {step} is doubtful: {found.why or 'constants have no end'}")
            elif bound := [name for name, value in found.constants.items() if value == 0]:
                said.append(f"{', '.join(bound)} of the law of {step} is at its bound, 0")
        if self.pairs < (enough := math.ceil(2 / (1 - self.second.level) - 1e-9)):
            said.append(f"{self.pairs} draws hold enough different runs for both laws; wanted {enough} or more")
        low, high = self.second.ranges["loss"]
        at = self.first.band(*self._inputs(columns), run=True)
        if float(at.low) < low * (low / high):
            said.append(
                f"the loss there, {float(at.value):.3g} and down to {float(at.low):.3g}, is as far below that of any "
                f"run, {low:.3g}, as these differ"
            )
        found = self.predict(**columns)
        if self.free is not None:
            other = self._at(self.free, float(at.value))
            if not float(found.low) <= other <= float(found.high):
                said.append(
                    f"with what a model without loss reaches left free, it would be {other:.2f}: the runs do not tell "
                    "where accuracy ends"
                )
        if (half := (float(found.high) - float(found.low)) / 2) > WIDE:
            said.append(f"the interval of {self.second.target} is ± {half:.2f}, more than {WIDE:g}")
        return said


def two_step(
    table: Table,
    loss: str,
    accuracy: str,
    *,
    first: str = "chinchilla",
    second: str = "sigmoid-accuracy",
    how_first: Mapping[str, Any] | None = None,
    how_second: Mapping[str, Any] | None = None,
    ceiling: tuple[str, float] | None = ("top", 1.0),
    draws: int = DRAWS,
    seed: int = 0,
) -> TwoStep:
    """Both steps fitted to the runs that have both numbers.

    Args:
        loss: column of the loss on the task, in any unit.
        accuracy: column of the accuracy, or the error, from 0 to 1.
        first, second: names of laws; the second is one of `loss`.
        how_first, how_second: further arguments of `fit` for each.
        ceiling: the constant of the second law that a model without loss reaches, and its value: Bhagia et al. anchor
            their fits there. None leaves all constants free.

    Raises:
        InputError: a column is missing, no run has both, or the laws are to be fitted to different runs.
        FitError: a law cannot be fitted.
    """
    for name in (loss, accuracy):
        if name not in table:
            raise InputError(f"{table.source} has no column {name}; wanted a loss and an accuracy of one task")
    runs = table.where(np.isfinite(table[loss]) & np.isfinite(table[accuracy]), f"no {loss} or {accuracy}")
    most = max(len(law_by_name(first).constants()), len(law_by_name(second).constants()))
    again = {"bootstrap": draws, "seed": seed, "every_run": True, "different": most}  # the same draws of the same runs
    one = fit(first, runs, target=loss, **again | dict(how_first or {}))
    by_loss = runs.with_columns(loss=runs[loss])
    how = dict(how_second or {})
    free = fit(second, by_loss, target=accuracy, **again | how)
    if free.n_runs != one.n_runs:
        raise InputError(
            f"{first} was fitted to {one.n_runs} runs and {second} to {free.n_runs}; wanted the same rules for both, "
            "which are drawn again together"
        )
    if ceiling is None:
        return TwoStep(one, free)
    return TwoStep(one, fit(second, by_loss, target=accuracy, fixed=dict([ceiling]), **again | how), free)


def _half(found: Prediction, side: int) -> float:
    """The half-width of an interval below (0) or above (1) its value, in logarithms."""
    ends = (float(found.low), float(found.high))
    return abs(math.log(ends[side] / float(found.value))) if ends[side] > 0 else math.inf
