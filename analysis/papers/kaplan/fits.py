# ruff: noqa: RUF009  (`constant` returns a dataclass field)
"""The fits that several figures share, each made once per table: Kaplan's laws from our experiments.

No estimator is here: the runs come from `analysis.laws.admission`, the constants from `analysis.fit`, the best sizes
from `analysis.envelope`, the critical batch from `analysis.batch_size`, the path from `analysis.kaplan_path`.
N in non-embedding parameters, D and B in tokens, C in FLOP, S in updates, L in nats per token.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from analysis import digits, laws
from analysis.batch_size import Critical, critical, with_minima
from analysis.envelope import envelope
from analysis.findings import study_laws
from analysis.findings.finding import Finding
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Allocation, finished
from analysis.kaplan_path import KaplanPath
from analysis.laws import admission
from analysis.laws.law import Law, Scalar, Values, constant, power
from analysis.papers.kaplan.drawn import Experiments
from analysis.table import Table
from scaling.counts import PF_DAY
from scaling.errors import InputError

LEAST = 4  # sizes that a law of one variable is fitted to
SURE = 0.1  # interval of ln B_crit below which a narrower one is luck: a hyperbola through few batches
NO_LAYERS = "no layer, and so no parameters outside the embeddings"
KEPT = 8  # tables whose fits are remembered: those of one drawing of all figures


@dataclasses.dataclass(frozen=True)
class Growth(Law):
    """y(C) = y_1 (C / PF-day) ** p: how a quantity grows along the best sizes."""

    y_1: Scalar = constant("", (1e3, 1e10))
    p: Scalar = constant("", (-0.5, 1.0), "number")

    name: ClassVar[str] = "growth"
    inputs: ClassVar[tuple[str, ...]] = ("flops",)
    source: ClassVar[str] = "Kaplan et al. (2020) eq. 1.7"

    def __call__(self, C: Values) -> Values:
        return self.y_1 * power(C / PF_DAY, self.p)


@dataclasses.dataclass(frozen=True, eq=False)
class Efficient:
    """The best sizes along the learning curves, with compute counted in one way.

    Attributes:
        found: N_opt and the tokens over C; None where `why` says so.
        points: flops, params, tokens, loss, one row per size; for C_min also batch_crit, steps_min, and
            tokens_efficient, those spent at the batch B_crit.
        loss: the power law of the loss through `points`.
    """

    found: Allocation | None
    points: Table | None
    loss: Finding
    why: str = ""


def nothing(law: type[Law], why: str) -> Finding:
    return Finding(law, None, why)


def runs_of(experiments: Experiments, name: str) -> Table | None:
    """The finished runs of an experiment, the same table at every call; None where there is none."""
    return _done(experiments[name].runs) if name in experiments else None


@functools.lru_cache(maxsize=KEPT)
def _done(runs: Table) -> Table | None:
    table = finished(_transformers(runs))
    return table if len(table) else None


def curves_of(experiments: Experiments, name: str) -> Table | None:
    """The learning curves of the finished runs of an experiment, past their warm-up and before a number is lost."""
    if name not in experiments or not len(experiments[name].curves):
        return None
    return _warm(experiments[name].curves)


def _transformers(table: Table) -> Table:
    table = table.where(table["params"] > 0, NO_LAYERS)
    return table.where(table["kind"] == "transformer", "another architecture") if "kind" in table else table


@functools.lru_cache(maxsize=KEPT)
def _warm(curves: Table) -> Table | None:
    table = finished(_transformers(curves))
    table = table.where(np.isfinite(table["loss"]), "no loss there")
    table = _ruled(table, admission.after_warmup)
    return table if len(table) else None


def _ruled(table: Table, *rules: Callable[[Table], admission.Rule]) -> Table:
    for rule in rules:
        said = rule(table)
        table = table.where(said.keep, said.reason)
    return table


# --- L(N), L(D), L(N, D)


def of_size(experiments: Experiments) -> Finding:
    """L(N) of the experiment size: ample data, two layers or more; eq. 1.1."""
    runs = runs_of(experiments, "size")
    return nothing(laws.KaplanN, "no run of the experiment size has finished") if runs is None else _of_size(runs)


def sizes(runs: Table) -> Table:
    """The runs that L(N) is about, whether they have converged or not: App. C and D.7 of the paper."""
    rules = admission.two_layers, admission.ample_data, admission.most_data_of_its_size
    return _ruled(runs, *rules)


@functools.lru_cache(maxsize=KEPT)
def _of_size(runs: Table) -> Finding:
    rows = sizes(runs)
    n = len(np.unique(rows["params"]))
    if n < LEAST:
        return nothing(laws.KaplanN, f"{n} sizes of two layers or more have finished with ample data; wanted {LEAST}")
    settled = _ruled(rows, admission.converged)
    n_settled = len(np.unique(settled["params"])) if len(settled) else 0
    if LEAST <= n_settled < n:
        evidence = (
            f"Of {n} sizes the last doubling of tokens lowered the loss of {n - n_settled} by over 2 %: these had not "
            "converged and are left out, as in the paper."
        )
        return study_laws.fitted(laws.KaplanN, settled, 0, evidence=evidence, every_run=True)
    evidence = ""
    if n_settled < n:
        evidence = (
            f"The last doubling of tokens, in which the rate decays, lowered the loss of {n - n_settled} of {n} sizes "
            f"by over 2 %: this is L(N) at {digits.short(rows['tokens'].max())} tokens, not of converged runs, and "
            "somewhat flatter than that of longer runs would be."
        )
    return study_laws.fitted(laws.KaplanN, rows, 0, evidence=evidence, every_run=True)


def of_data(experiments: Experiments) -> Finding:
    """L(D) of the experiment data: the best size for each number of unique tokens, stopped early; eq. 1.2."""
    runs = runs_of(experiments, "data")
    return nothing(laws.KaplanD, "no run of the experiment data has finished") if runs is None else _of_data(runs)


@functools.lru_cache(maxsize=KEPT)
def _of_data(runs: Table) -> Finding:
    return study_laws.law_of_data(runs, 0)


def of_size_and_data(experiments: Experiments) -> Finding:
    """L(N, D) of the experiment data; eq. 1.5."""
    runs = runs_of(experiments, "data")
    if runs is None:
        return nothing(laws.KaplanND, "no run of the experiment data has finished")
    return _of_size_and_data(runs)


@functools.lru_cache(maxsize=KEPT)
def _of_size_and_data(runs: Table) -> Finding:
    """Fitted to runs that stopped early, and to those on the most data, the paper's full data set."""
    most = runs["unique_tokens"] >= runs["unique_tokens"].max() * (1 - 1e-9)
    turned = admission.stopped_early(runs)
    rows = runs.where(turned.keep | most, f"{turned.reason}, on less than the most data")
    evidence = []
    if len(rows) < len(runs):
        evidence.append(f"{len(runs) - len(rows)} runs are left out: {turned.reason}.")
    if falling := int((most & ~turned.keep).sum()):
        evidence.append(
            f"{falling} of {int(most.sum())} runs on the most data were still falling by over 2 % per doubling when "
            "they ended: longer ones would make the excess of their sizes larger."
        )
    return study_laws.fitted(laws.KaplanND, rows, 0, evidence=" ".join(evidence), every_run=True)


def excesses(experiments: Experiments) -> Table | None:
    """The runs of L(N, D) with `loss_ample`, that of the same size on the most data, and excess = loss_min /
    loss_ample - 1, eq. 4.2; sizes without a run on the most data are left out.
    """
    found = of_size_and_data(experiments)
    runs = runs_of(experiments, "data")
    rows = found.table if found.table is not None else runs
    return None if rows is None else _excesses(rows)


@functools.lru_cache(maxsize=KEPT)
def _excesses(rows: Table) -> Table:
    top = rows["unique_tokens"].max() * (1 - 1e-9)
    ample = np.full(len(rows), np.nan)
    for N in np.unique(rows["params"]):
        same = rows["params"] == N
        at = same & (rows["unique_tokens"] >= top)
        if at.any():
            ample[same] = np.exp(np.log(rows["loss_min"][at]).mean())
    rows = rows.with_columns(loss_ample=ample, excess=rows["loss_min"] / ample - 1, loss_gap=rows["loss_min"] - ample)
    rows = rows.where(np.isfinite(ample), "no run of its size on the most data")
    return rows.where(rows["unique_tokens"] < top, "itself the run on the most data")


# --- B_crit, L(N, S_min)


def of_batch(experiments: Experiments) -> tuple[Finding, Critical | None]:
    """B_crit(L) of the experiment batch past the warm-up, eq. 1.4, and the tradeoffs that it comes from."""
    curves = curves_of(experiments, "batch")
    if curves is None:
        return nothing(laws.KaplanBCrit, "no run of the experiment batch has finished"), None
    return _of_batch(curves)


@functools.lru_cache(maxsize=KEPT)
def _of_batch(curves: Table) -> tuple[Finding, Critical | None]:
    return of_scans(curves)


def of_scans(curves: Table) -> tuple[Finding, Critical | None]:
    """B_crit(L) of these learning curves, made anew at every call."""
    try:
        found = critical(curves)
        # A loss at which few batches scatter about their hyperbola says less.
        width = np.log(found.table["high"] / found.table["low"])
        weights = 1 / (np.where(np.isfinite(width), width, np.nanmax(width, initial=1.0)) ** 2 + SURE**2)
        law = fit(laws.KaplanBCrit, found.table, loss="squared", weights=weights)
        return Finding(laws.KaplanBCrit, law, table=found.table), found
    except InputError as error:
        return nothing(laws.KaplanBCrit, str(error).rstrip(".")), None


def adjusted(experiments: Experiments) -> Table | str:
    """The learning curves of the experiment size with steps_min and flops_min, or why there are none.

    One-layer models are left out, as in the paper.
    """
    curves = curves_of(experiments, "size")
    if curves is None:
        return "no run of the experiment size has finished"
    batch, _ = of_batch(experiments)
    if batch.fit is None or not batch.sound:
        return f"the critical batch is not known: {batch.why or (batch.fit.why if batch.fit else '')}"
    return _adjusted(curves, batch.fit)


@functools.lru_cache(maxsize=KEPT)
def _adjusted(curves: Table, batch: Fit) -> Table:
    return with_minima(_ruled(curves, admission.two_layers), batch.law)


def of_steps(experiments: Experiments) -> Finding:
    """L(N, S_min) of the learning curves of the experiment size, past the warm-up; eq. 1.6. S_c is that of S_min."""
    curves = adjusted(experiments)
    return nothing(laws.KaplanNS, curves) if isinstance(curves, str) else _of_steps(curves)


@functools.lru_cache(maxsize=KEPT)
def _of_steps(curves: Table) -> Finding:
    return study_laws.fitted(laws.KaplanNS, curves, 0, clusters="run")


def path_of(experiments: Experiments) -> KaplanPath | str:
    """Appendix B's path from our L(N, S_min) and B_crit(L), or why there is none; its C is C_min."""
    steps, (batch, _) = of_steps(experiments), of_batch(experiments)
    if steps.fit is None or batch.fit is None:
        return steps.why or batch.why
    if not steps.sound:
        return f"L(N, S_min) is doubtful: {steps.fit.why}"
    law, critical_batch = steps.fit.law, batch.fit.law
    assert isinstance(law, laws.KaplanNS)
    assert isinstance(critical_batch, laws.KaplanBCrit)
    return KaplanPath(law.alpha_N, law.N_c, law.alpha_S, law.S_c, critical_batch.alpha_B, critical_batch.B_star)


# --- the best sizes over compute


def fixed_batch(experiments: Experiments) -> Efficient:
    """The best sizes over the compute spent at the batch of the experiment size; eq. 3.3."""
    curves = deep_curves(experiments)
    if curves is None:
        return Efficient(None, None, nothing(laws.KaplanC, why := "no run of the experiment size has finished"), why)
    return _efficient(curves, "flops")


def deep_curves(experiments: Experiments) -> Table | None:
    """The learning curves of the experiment size, of models of two layers or more."""
    curves = curves_of(experiments, "size")
    return None if curves is None else _deep(curves)


def least_compute(experiments: Experiments) -> Efficient:
    """The best sizes over C_min; eq. 1.3."""
    curves = adjusted(experiments)
    if isinstance(curves, str):
        return Efficient(None, None, nothing(laws.KaplanCMin, curves), curves)
    return _efficient(curves, "flops_min")


@functools.lru_cache(maxsize=KEPT)
def _deep(curves: Table) -> Table:
    return _ruled(curves, admission.two_layers)


@functools.lru_cache(maxsize=KEPT)
def _efficient(curves: Table, compute: str) -> Efficient:
    law = laws.KaplanC if compute == "flops" else laws.KaplanCMin
    try:
        found, points = best_sizes(curves, compute)
    except InputError as error:
        why = str(error).rstrip(".")
        return Efficient(None, None, nothing(law, why), why)
    if len(points) < LEAST:
        why = f"{len(points)} sizes lie on the envelope between the smallest and the largest; wanted {LEAST}"
        return Efficient(found, points, nothing(law, why))
    return Efficient(found, points, study_laws.fitted(law, points, 0, every_run=True))


def best_sizes(curves: Table, compute: str) -> tuple[Allocation, Table]:
    """The envelope of learning curves, and its sizes as the `points` of `Efficient`.

    Intervals come from elsewhere: `growth` has them from the scatter of the sizes, `left_out` from leaving some out.

    Raises:
        InputError: there is no envelope.
    """
    found = envelope(curves, compute=compute, draws=0)
    columns: dict[str, Any] = {"params": [], "tokens": [], "loss": []}
    C = np.array([float(p.flops) for p in found.points])
    for name in columns:
        columns[name] = np.array([float(getattr(p, name)) for p in found.points])
    columns |= {"flops": C, "steps": columns["tokens"] / np.median(curves["batch_tokens"])}
    if compute == "flops_min":
        # Along the path C_min / 6 N are the examples of small batches, E_min, and B_crit = E_min / S_min.
        B = np.exp(np.interp(np.log(columns["loss"]), *_by_loss(curves)))
        E_min = C / (FLOP_PER_PARAM_TOKEN * columns["params"])
        columns |= {"flops_min": C, "batch_crit": B, "steps_min": E_min / B, "tokens": E_min}
        columns["tokens_efficient"] = 2 * E_min  # at the batch B_crit: eq. 5.2
    return found, Table.from_columns(columns, f"best sizes over {compute}")


def _by_loss(curves: Table) -> tuple[np.ndarray, np.ndarray]:
    """ln B_crit over ln loss of these rows, by rising loss."""
    order = np.argsort(curves["loss"])
    return np.log(curves["loss"][order]), np.log(curves["batch_crit"][order])


@functools.lru_cache(maxsize=4 * KEPT)
def growth(points: Table, column: str) -> Fit[Growth] | str:
    """How a column of `Efficient.points` grows with compute, or why that is not known."""
    try:
        return fit(Growth, points, target=column, loss="squared", every_run=True)
    except InputError as error:
        return str(error).rstrip(".")
