"""Which form: several laws on the same runs, by the rows that each has not seen, or by an information criterion."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from analysis.fit import STARTS, doubts, fit, held_out, solver
from analysis.fit.misfit import outward
from analysis.fit.rows import Rows, admitted, held_out_rows, select_rows, weights_of
from analysis.fit.solver import Array, Objective
from analysis.fit.starts import starts_of
from analysis.laws import M3, M4, Chinchilla, KaplanOnePass, Law, QNorm, broken, law_by_name
from analysis.table import Table
from scaling.errors import InputError

LUCK = math.log(20)  # a true law falls this far behind another in one case of 20 at most


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
        n, k = found.n_clusters or found.n_runs, len(found.constants) - len(found.fixed) + 1
        order = np.argsort(table[target][~held], kind="stable")[: found.n_runs]  # without those of drop_worst
        fitted = table["_own_weight"][~held][order]
        correction = 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf
        value = found.objective * found.objective_kind.unit
        own = deviance(found.objective_kind, value, fitted / fitted.mean())
        aicc = own * n / found.n_runs + 2 * k + correction  # rows of one run count as one
        error = found.held_out.rms if found.held_out else math.nan
        scores.append(Score(law.name, k - 1, aicc, found.residuals.rms, error))
    return sorted(scores, key=lambda s: s.held_out if held.any() else s.aicc)


@dataclasses.dataclass(frozen=True)
class Form:
    """How a form predicted the rows held out, beside its rivals."""

    law: str
    constants: int
    rms: float  # residual of all rows
    held_out: float  # rms error of the rows held out
    score: float  # ln of the density that it gave them (`analysis.fit.held_out`)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which form, by the rows that each had not seen.

    Attributes:
        best: the law chosen, or empty: cannot tell.
        forms: of all that could be judged on the same rows, the best score first.
        unscored: why a law could not be judged, by its name.
        rows, held: how many rows, and how many of them were predicted.
        steps: how many refits predicted them; one where a rule says which rows are held out.
    """

    best: str
    forms: tuple[Form, ...]
    unscored: Mapping[str, str]
    rows: int
    held: int
    steps: int

    @property
    def open(self) -> tuple[str, ...]:
        """The laws that may be as good as the best: luck explains what they lie behind."""
        return tuple(form.law for form in self.forms if form.score > self.forms[0].score - LUCK)

    def to_dict(self) -> dict[str, Any]:
        return {
            "best": self.best or None,
            "open": list(self.open),
            "forms": [dataclasses.asdict(form) for form in self.forms],
            "not_scored": dict(self.unscored),
            "rows": self.rows,
            "held_out": self.held,
            "steps": self.steps,
        }

    def lines(self) -> list[str]:
        """The verdict and the scores as a person reads them, then why other laws have none."""
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        lines = [self.verdict() + (f"; {self.held} of {self.rows} rows held out in {steps}:" if self.forms else "")]
        for form in self.forms:
            behind = self.forms[0].score - form.score
            lines.append(
                f"  {form.law:<16} {form.constants} constants, residual {form.rms:.2%}, held out {form.held_out:.2%}, "
                + ("best score" if form is self.forms[0] else f"score {behind:.1f} lower")
            )
        return [*lines, *(f"not scored: {why}" for why in self.unscored.values())]

    def verdict(self) -> str:
        if self.best:
            return f"form: {self.best} (rows held out are 20 times less probable under the others, or these are wider)"
        if not self.forms:
            return "form: cannot tell: fewer than two of the laws can be judged on these rows"
        if len(self.open) > 1:
            return f"form: cannot tell {', '.join(self.open)}: a difference in score below {LUCK:.1f} may be luck"
        return f"form: cannot tell: {self.forms[0].law} has the best score, {self._nearest()} the least error held out"

    def _nearest(self) -> str:
        return min(self.forms, key=lambda form: form.held_out).law


def choose(
    laws: Sequence[type[Law] | str],
    table: Table,
    hold_out: ArrayLike | str | None = None,
    *,
    target: str | None = None,
    loss: Literal["auto", "huber", "squared", "asymmetric", "absolute"] = "auto",
    delta: float | None = None,
    asymmetry: float = 10.0,
    log: bool = True,
    drop_worst: int = 0,
    weights: ArrayLike | str | None = None,
    clusters: str | None = None,
    drop: Literal["suspicious"] | None = None,
    every_run: bool = False,
) -> Choice:
    """The form that predicts best what it has not seen, if the difference is beyond luck.

    Every law is fitted to the nearer rows and predicts those further out, step by step. If one of two laws is true, the
    other gives the held-out rows 20 times its density in one case of 20 at most: so a law is chosen where each rival
    lies that far behind, in score, and behind in the error itself. A rival that holds the law as a special case need
    only be no further ahead than luck.

    Args:
        laws: the first are kept where the laws cannot all be judged on the same rows.
        hold_out: as for `analysis.fit.fit`: one step, to the rows that it names.

    Raises:
        InputError: an argument that cannot be used, or a table that none of the laws can, all for one reason; else a
            law that cannot be judged is in `Choice.unscored`.
    """
    classes = [law_by_name(law) if isinstance(law, str) else law for law in laws]
    name = target or _target(classes[0], table)
    objective = Objective.asked(loss, delta, log and all(law.logarithmic for law in classes), asymmetry)
    rule = held_out_rows(hold_out, table).astype(float)
    table = table.with_columns(_held_out=rule, _own_weight=weights_of(weights, table, name))

    def selected(law: type[Law], rows: Table) -> Rows:
        weight = rows["_own_weight"]
        return select_rows(law, rows, name, objective, drop_worst, weight, None, True, (), clusters, drop)

    judged: list[type[Law]] = []
    unscored: dict[str, str] = {}
    reasons: set[str] = set()
    for law in dict.fromkeys(classes):
        try:
            if not target and (other := _target(law, table)) != name:
                raise InputError(f"it predicts {other}, not {name}")
            rows = table if every_run else admitted(law, table)
            for one in (*judged, law):
                _check(one, selected(one, rows), hold_out)
        except InputError as error:
            why = str(error).removeprefix(f"{law.name}: ")
            where = "of the runs that it is about, " if any(why.startswith(f"{one.name}: ") for one in judged) else ""
            unscored[law.name] = f"{law.name}: {where}{why}"
            reasons.add(str(error))
        else:
            judged.append(law)
            table = rows
    if not judged and len(reasons) == 1:  # the table's fault, not that of any law
        raise InputError(reasons.pop())
    if len(judged) < 2:
        return Choice("", (), unscored, len(table), 0, 0)
    most = max(len(law.constants()) for law in judged)
    rows = selected(judged[0], table)
    held = (rows.table["_held_out"] > 0)[None]
    if hold_out is None:
        held = held_out.folds(_distance(judged, rows.table), most, rows.clusters)
    if not len(held):
        why = f"of {len(rows.table)} rows too few lie nearer than the rest; wanted {most + held_out.SPARE} or more"
        return Choice("", (), {law.name: f"{law.name}: {why}" for law in judged} | unscored, len(rows.table), 0, 0)
    forms = [_form(law, selected(law, table), objective, held) for law in judged]
    forms.sort(key=lambda form: -form.score)
    return Choice(best_of(forms), tuple(forms), unscored, len(rows.table), int(held.sum()), len(held))


def candidates(table: Table) -> tuple[type[Law], ...]:
    """The forms to choose from where none is named: surfaces of N and D, or curves of D alone."""
    if table.has("params") and np.ptp(table["params"]) > 0:
        return Chinchilla, KaplanOnePass, QNorm
    return broken(0), M3, M4, broken(1)


def _check(law: type[Law], rows: Rows, hold_out: ArrayLike | str | None) -> None:
    """Refuses rows on which a law cannot be fitted, or cannot be judged."""
    doubts.check_design(law, rows, np.ones(len(law.constants()), bool))
    n, k = len(rows.table), len(law.constants())
    if hold_out is not None:
        held = rows.table["_held_out"] > 0
        if not held.any():
            raise InputError(f"{law.name}: hold_out: none of its rows is among the {n} runs that all laws are about")
        if n - held.sum() < k + held_out.SPARE:
            raise InputError(
                f"{law.name}: {n - held.sum()} rows are left to fit {k} constants; wanted {k + held_out.SPARE} or more"
            )
    independent = n if rows.clusters is None else len(np.unique(rows.clusters))
    if hold_out is None and independent < held_out.wanted(k):
        runs = "rows" if rows.clusters is None else "clusters"
        raise InputError(
            f"{law.name}: {independent} {runs} are too few to judge {k} constants by rows held out; "
            f"wanted {held_out.wanted(k)} or more"
        )


def _form(law: type[Law], rows: Rows, objective: Objective, held: NDArray[np.bool_]) -> Form:
    problem = rows.problem(law, objective)
    whole, optimum = held_out.refit(problem, starts_of(problem, STARTS, {}))
    starts = np.vstack([optimum, starts_of(problem, held_out.STARTS, {})])
    density, off = held_out.all_folds(problem, held, starts)
    share = 1.0 if rows.clusters is None else len(np.unique(rows.clusters)) / len(rows.table)  # rows of one run are one
    r = problem.y[0] - solver.predict(law, optimum[0], problem.x, objective.log)

    def rms(r: Array) -> float:
        return math.sqrt(float(np.nanmean((np.expm1(r) if whole.objective.log else r) ** 2)))

    return Form(law.name, len(law.constants()), rms(r), rms(off), share * float(density.sum()))


def best_of(forms: Sequence[Form]) -> str:
    """The law that the scores choose, or nothing: cannot tell."""
    return next((form.law for form in forms if _chosen(form, forms)), "")


def _chosen(form: Form, forms: Sequence[Form]) -> bool:
    """Whether every rival is behind beyond luck, or is a wider form that is not ahead beyond luck."""
    for rival in forms:
        if form.law in law_by_name(rival.law).holds:
            if rival.score > form.score + LUCK:
                return False
        elif rival is not form and (rival.score > form.score - LUCK or rival.held_out < form.held_out):
            return False
    return True


def _distance(laws: Sequence[type[Law]], table: Table) -> Array:
    """How far out a row lies, by all inputs."""
    names = tuple(dict.fromkeys(name for law in laws for name in law.inputs))
    return outward(names, [table[name] for name in names])


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
