"""Which form: several laws on the same runs, by what they predict and by an information criterion."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from analysis.fit import fit
from analysis.fit.rows import admitted, held_out_rows, weights_of
from analysis.fit.solver import Array, Objective
from analysis.laws import Law, law_by_name
from analysis.table import Table
from scaling.errors import InputError

AICC = "AICc (a difference of 10 is strong evidence)"


@dataclasses.dataclass(frozen=True)
class Score:
    """How well a form does on the same runs as its rivals: smaller is better."""

    law: str
    constants: int
    aicc: float  # -2 ln(likelihood) + 2 k + the correction for few runs; k counts the scale of the noise
    rms: float  # residual of the fit
    held_out: float  # rms error on the runs held out, NaN without any


def compare_laws(
    laws: Sequence[type[Law] | str],
    table: Table,
    hold_out: ArrayLike | str | None = None,
    *,
    weights: ArrayLike | str | None = None,
    **options: Any,
) -> list[Score]:
    """Scores of several forms on the runs that all of them are about, best held-out error (or AICc) first.

    The likelihood is the one whose maximum the fit is: Gaussian for least squares, Gaussian in the middle with
    exponential tails for Huber's function, and so with a shorter tail on one side for the asymmetric loss.

    Args:
        weights: as for `analysis.fit.fit`, one per row of `table` or "replicates".
        options: as for `analysis.fit.fit`.

    Raises:
        InputError: the laws do not predict the same column, or one of them cannot be fitted to these runs.
    """
    classes = [law_by_name(law) if isinstance(law, str) else law for law in laws]
    targets = {_target(law, table) for law in classes}
    if len(targets) > 1 and "target" not in options:
        raise InputError(f"the laws predict {', '.join(sorted(targets))}; compare laws of one column, or give target=")
    target = options.setdefault("target", targets.pop())
    held = held_out_rows(hold_out, table).astype(float)
    table = table.with_columns(_held_out=held, _own_weight=weights_of(weights, table, target))
    for law in classes:
        table = admitted(law, table)
    held = table["_held_out"] > 0
    if hold_out is not None and not held.any():
        raise InputError(f"hold_out: none of its rows is among the {len(table)} runs that all of the laws are about")
    scores = []
    for law in classes:
        found = fit(
            law,
            table,
            hold_out=held if held.any() else None,
            weights=table["_own_weight"],
            every_run=True,
            **options,
        )
        n, k = found.n_runs, len(found.constants) - len(found.fixed) + 1
        order = np.argsort(table[target][~held], kind="stable")[: found.n_runs]  # without those of drop_worst
        fitted = table["_own_weight"][~held][order]
        correction = 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf
        value = found.objective * found.objective_kind.unit
        aicc = deviance(found.objective_kind, value, fitted / fitted.mean()) + 2 * k + correction
        error = found.held_out.rms if found.held_out else math.nan
        scores.append(Score(law.name, k - 1, aicc, found.residuals.rms, error))
    return sorted(scores, key=lambda s: s.held_out if held.any() else s.aicc)


@dataclasses.dataclass(frozen=True)
class Rivalry:
    """A law beside its rivals.

    Attributes:
        scores: of all that can be compared on the same runs, the best first; none where no rival can.
        unscored: why a rival cannot be compared, by its name.
        held_out: whether the order is that of the errors on runs held out, else of AICc.
    """

    scores: tuple[Score, ...]
    unscored: Mapping[str, str]
    held_out: bool

    def to_dict(self) -> dict[str, Any]:
        return {"against": [dataclasses.asdict(score) for score in self.scores], "not_scored": dict(self.unscored)}

    def lines(self) -> list[str]:
        """The scores as a person reads them, then why other rivals have none."""
        lines = []
        if self.scores:
            by = "their error on the runs held out" if self.held_out else AICC
            lines.append(f"forms on the runs that all of them are about, best first by {by}:")
        least = min((score.aicc for score in self.scores), default=math.nan)
        for s in self.scores:
            predicted = f", held out {s.held_out:.2%}" if self.held_out else ""
            aicc = f"AICc {s.aicc - least:+.1f}" if math.isfinite(s.aicc) else "too few runs for AICc"
            lines.append(f"  {s.law:<16} {s.constants} constants, residual {s.rms:.2%}, {aicc}{predicted}")
        return [*lines, *(f"not scored: {why}" for why in self.unscored.values())]


def against(
    law: type[Law], rivals: Sequence[type[Law]], table: Table, hold_out: str | None = None, **options: Any
) -> Rivalry:
    """The scores of a law and of the rivals that can be compared with it on the same runs.

    Args:
        hold_out, options: as for `compare_laws`.
    """
    usable, unscored = list(rivals), {}
    while usable:
        try:
            scores = compare_laws([law, *usable], table, hold_out, **options)
            return Rivalry(tuple(scores), unscored, hold_out is not None)
        except InputError as joint:
            several, usable = usable, []
            for rival in several:  # which of them it was
                if why := _alone(law, rival, table, hold_out, options):
                    unscored[rival.name] = why
                else:
                    usable.append(rival)
            if len(usable) == len(several):  # each of them alone, but not together
                unscored = {rival.name: f"{rival.name}: {joint}" for rival in several}
                usable = []
    return Rivalry((), unscored, hold_out is not None)


def _alone(law: type[Law], rival: type[Law], table: Table, hold_out: str | None, options: Mapping[str, Any]) -> str:
    """Why one rival cannot be compared with the law; empty where it can."""
    try:
        compare_laws([law, rival], table, hold_out, **options)
    except InputError as error:
        why = str(error).removeprefix(f"{rival.name}: ")
        where = "of the runs that it is about, " if why.startswith(f"{law.name}: ") else ""
        return f"{rival.name}: {where}{why}"
    return ""


def deviance(objective: Objective, value: float, weights: Array) -> float:
    """-2 ln of the largest likelihood that an objective's minimum allows.

    A residual r of weight w has the density exp(-w rho(r) / tau) / Z(tau / w); tau is chosen best, by bisection of the
    slope in ln(tau). For least squares it is 2 value / n, the variance.

    Args:
        value: the summed objective at the optimum.
        weights: of the rows fitted, (n,).
    """
    n = len(weights)
    value = max(value, 1e-300)
    low, high = math.log(value / n) - 8, math.log(value / n) + 8
    delta, asymmetry = objective.shape()

    def at(log_tau: float) -> float:
        tau = math.exp(log_tau)
        return float(2 * np.log(_normaliser(tau / weights, delta, asymmetry)).sum() + 2 * value / tau)

    for _ in range(100):
        third = (high - low) / 3
        if at(low + third) < at(high - third):
            high -= third
        else:
            low += third
    return at((low + high) / 2)


def _normaliser(tau: Array, delta: float, asymmetry: float) -> Array:
    """Z(tau), the integral of exp(-rho(r) / tau) over all residuals."""

    def half(t: Array) -> Array:
        middle = np.sqrt(np.pi * t / 2) * special.erf(delta / np.sqrt(2 * t))
        with np.errstate(over="ignore"):
            return middle + t / delta * np.exp(-(delta**2) / (2 * t))

    return half(tau) + half(tau / asymmetry)


def _target(law: type[Law], table: Table) -> str:
    return law.fallback if not table.has(law.target) and law.fallback and table.has(law.fallback) else law.target
