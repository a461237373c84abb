# ruff: noqa: RUF009  (`constant` returns a dataclass field)
"""Kaplan's laws from tables of our runs: what the paper adds to what each law itself says of its runs.

No estimator is here: the constants come from `analysis.fit`, the best sizes from `analysis.envelope`, the critical
batch from `analysis.batch_size`.
N in non-embedding parameters, D and B in tokens, C in FLOP, S in updates, L in nats per token.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from analysis import digits, laws
from analysis.batch_size import Critical, critical
from analysis.envelope import envelope
from analysis.findings import study_laws
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.fit.rows import admitted
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.laws import admission
from analysis.laws.law import Law, Scalar, Values, constant, power
from analysis.papers.claim import Undecided
from analysis.papers.known import Known, known
from analysis.table import Table
from scaling.counts import PF_DAY

LEAST = 4  # sizes that a law of one variable is fitted to
SURE = 0.1  # interval of ln B_crit below which a narrower one is luck: a hyperbola through few batches
UNSETTLED = (admission.CONVERGED_RUNS,)  # the rule of L(N) that is waived where too few sizes have converged


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


def growth(points: Table, column: str) -> Fit[Growth]:
    """How a column of the best sizes grows with compute.

    Raises:
        InputError: the points do not tell.
    """
    return fit(Growth, points, target=column, loss="squared")


def of_size(runs: Table) -> Known:
    """L(N), eq. 1.1, of the runs that it is about; where too few of these have converged, of all, which is said.

    Args:
        runs: of one length, `loss_half` of branches of half of it.
    """
    law = laws.KaplanN
    rows = admitted(law, runs, UNSETTLED)
    settled = rows["params"][admission.converged(rows).keep]
    n, n_settled = len(np.unique(rows["params"])), len(np.unique(settled))
    if n < LEAST:
        raise Undecided(f"{n} sizes of two layers or more have finished with ample data; wanted {LEAST}")
    length = f"After {digits.short(rows['tokens'].max())} tokens"
    if n_settled == n:
        evidence = (
            f"{length} the last doubling had lowered the loss of no size by over 2 %, by branches of half as many."
        )
        return known(study_laws.fitted(law, runs, 0, evidence=evidence))
    if n_settled >= LEAST:
        evidence = (
            f"{length} the last doubling had lowered the loss of {n - n_settled} of {n} sizes by over 2 %, by branches "
            "of half as many: these had not converged and are left out, as in the paper."
        )
        return known(study_laws.fitted(law, runs, 0, evidence=evidence))
    evidence = (
        f"{length} the last doubling had lowered the loss of {n - n_settled} of {n} sizes by over 2 %, by branches of "
        "half as many: this is L(N) at that length, not of converged runs, and flatter than that of longer ones."
    )
    return known(study_laws.fitted(law, runs, 0, evidence=evidence, waived=UNSETTLED))


def of_size_and_data(runs: Table) -> Known:
    """L(N, D), eq. 1.5, of runs that stopped early, and of those on the most data, the paper's full data set.

    Args:
        runs: of `analysis.papers.kaplan.runs.stopped`.
    """
    most = runs["unique_tokens"] >= runs["unique_tokens"].max() * (1 - 1e-9)
    turned = admission.stopped_early(runs)
    rows = runs.where(turned.keep | most, "not known to have stopped: the longest branch is the lowest")
    evidence = []
    if len(rows) < len(runs):
        evidence.append(
            f"{len(runs) - len(rows)} of {len(runs)} data sets and sizes are left out: the branch of the most epochs "
            "ended lowest, so that nothing shows that the loss had stopped falling."
        )
    if falling := int((most & ~turned.keep).sum()):
        evidence.append(
            f"{falling} of {int(most.sum())} sizes were on the most data when their longest branch ended lowest: more "
            "tokens would make the excess of these sizes larger."
        )
    said = " ".join(evidence)
    return known(study_laws.fitted(laws.KaplanND, rows, 0, evidence=said, waived=(admission.STOPPED_EARLY,)))


def excesses(rows: Table) -> Table:
    """The runs of L(N, D) with `loss_ample`, that of the same size on the most data, and excess = loss_min /
    loss_ample - 1, eq. 4.2; sizes without a run on the most data are left out.
    """
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


def of_scans(curves: Table, onsets: Mapping[float, float] = MappingProxyType({})) -> tuple[Known, Critical]:
    """B_crit(L) of these learning curves, eq. 1.4, and the tradeoffs that it comes from.

    Args:
        onsets: by N, the loss from which on critical batches are read, whatever the curves have before; from their
            beginning on where there are none.

    Raises:
        InputError: the batches do not tell.
    """
    found = critical(curves, highest=onsets)
    law = fit(laws.KaplanBCrit, found.table, loss="squared", weights=sureness(found.table))
    return Known(law=laws.KaplanBCrit, fit=law, table=found.table), found


def sureness(scans: Table) -> np.ndarray:
    """Weights of critical batches: a loss at which few batches scatter about their hyperbola says less."""
    width = np.log(scans["high"] / scans["low"])
    return 1 / (np.where(np.isfinite(width), width, np.nanmax(width, initial=1.0)) ** 2 + SURE**2)


def best_sizes(curves: Table, compute: str) -> Table:
    """The envelope of learning curves: flops, params, tokens, loss, steps, one row per size.

    For C_min also flops_min, batch_crit, steps_min, and tokens_efficient, those spent at the batch B_crit. Intervals
    come from elsewhere: from the scatter of the sizes, and from leaving some out.

    Raises:
        InputError: there is no envelope.
    """
    found = envelope(curves, compute=compute, draws=0)
    columns: dict[str, Any] = {
        name: np.array([float(getattr(p, name)) for p in found.points])
        for name in ("params", "tokens", "loss", "flops")
    }
    C = columns["flops"]
    columns["steps"] = columns["tokens"] / np.median(curves["batch_tokens"])
    if compute == "flops_min":
        # Along the path C_min / 6 N are the examples of small batches, E_min, and B_crit = E_min / S_min.
        B = np.exp(np.interp(np.log(columns["loss"]), *_by_loss(curves)))
        E_min = C / (FLOP_PER_PARAM_TOKEN * columns["params"])
        columns |= {"flops_min": C, "batch_crit": B, "steps_min": E_min / B, "tokens": E_min}
        columns["tokens_efficient"] = 2 * E_min  # at the batch B_crit: eq. 5.2
    # Sizes between two of the grid are no whole numbers, which tables of runs refuse.
    return Table(columns, np.arange(1, len(found.points) + 1), f"best sizes over {compute}")


def _by_loss(curves: Table) -> tuple[np.ndarray, np.ndarray]:
    """ln B_crit over ln loss of these rows, by rising loss."""
    order = np.argsort(curves["loss"])
    return np.log(curves["loss"][order]), np.log(curves["batch_crit"][order])
