"""The price of a batch size: steps against examples at fixed losses, and the critical batch.

From Kaplan et al. (2020) secs. 5.1-5.2 and McCandlish et al. (2018). B and E are in tokens (McCandlish's formulas hold
in sequences as well; the two differ by n_ctx), S in updates, losses in nats per token. The gradient noise scale is in
`analysis.noise_scale`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.confidence import LEVEL, t_quantile
from analysis.digits import typed
from analysis.fit.estimate import Fit
from analysis.frontier import golden_section, learning_curves
from analysis.laws import KaplanBCrit, Law
from analysis.laws.admission import constant_rate
from analysis.table import Table
from scaling.errors import InputError

Array = NDArray[np.float64]

N_LOSSES = 8  # of a curve: neighbouring ones say the same


# --- the trade of steps for examples


@dataclasses.dataclass(frozen=True)
class Hyperbola:
    """(S/S_min - 1)(E/E_min - 1) = 1 with E = B S: Kaplan et al. (2020) eq. 5.1. One per target loss."""

    S_min: float  # updates
    E_min: float  # tokens

    @property
    def B_crit(self) -> float:
        """E_min / S_min, in tokens: (5.2). There S = 2 S_min and E = 2 E_min."""
        return self.E_min / self.S_min

    def steps(self, B: ArrayLike) -> Array:
        """Updates that a batch of B tokens needs for this loss."""
        return self.S_min + self.E_min / np.asarray(B, float)

    def examples(self, B: ArrayLike) -> Array:
        """Tokens that a batch of B tokens needs for this loss."""
        return self.E_min + self.S_min * np.asarray(B, float)


def steps_to_minimum(S: ArrayLike, B: ArrayLike, B_crit: ArrayLike) -> Array:
    """S_min, the updates a batch far above B_crit would need where a batch B took S: Kaplan et al. (2020) eq. 5.4."""
    return np.asarray(S, float) / (1 + np.asarray(B_crit, float) / np.asarray(B, float))


def compute_to_minimum(C: ArrayLike, B: ArrayLike, B_crit: ArrayLike) -> Array:
    """C_min, the FLOP a batch far below B_crit would need where a batch B took C: Kaplan et al. (2020) eq. 5.5."""
    return np.asarray(C, float) / (1 + np.asarray(B, float) / np.asarray(B_crit, float))


def with_minima(table: Table, B_crit: Callable[[Array], Array]) -> Table:
    """The table with columns batch_crit, steps_min and flops_min, each row at the B_crit of its own loss.

    Rows without a loss, of runs that diverged, are left out.

    Args:
        table: runs, or learning curves: columns batch_tokens, loss, and step, steps or flops (all so far).
        B_crit: B_crit(L) in tokens, say a fitted `KaplanBCrit`.
    """
    table = table.where(np.isfinite(table["loss"]), "no loss there: the run diverged")
    B, loss = table.positive("batch_tokens", "loss")
    critical = np.asarray(B_crit(loss), float)
    columns = {"batch_crit": critical}
    if "step" in table or "steps" in table:
        columns["steps_min"] = steps_to_minimum(table.updates(), B, critical)
    if "flops" in table:
        columns["flops_min"] = compute_to_minimum(table.positive("flops")[0], B, critical)
    return table.with_columns(**columns)


def for_law(law: type[Law], table: Table, batch: Fit | None = None) -> Table:
    """The table with the columns that a law of the critical batch wants.

    Args:
        table: learning curves for B_crit(L), of which it becomes the table of B_crit; runs or curves for other laws.
        batch: of `KaplanBCrit`; the others get their minima by it, and without it the table as it is.

    Raises:
        InputError: `batch` is of another law, or a column is missing.
    """
    if law is KaplanBCrit and not table.has("batch_crit"):
        return critical(table).table
    if batch is None:
        return table
    if not isinstance(batch.law, KaplanBCrit):
        raise InputError(f"S_min and C_min from a fit of {batch.law.name}; wanted one of {KaplanBCrit.name}")
    return with_minima(table, batch.law)


@dataclasses.dataclass(frozen=True)
class Tradeoff:
    """Runs of several batch sizes that reached one loss, and the hyperbola through them.

    `interval` is the LEVEL interval of B_crit from the scatter of ln S about the hyperbola; (nan, nan) with two
    batches. `warnings` say why B_crit may mean little, such as batches that all lie on one side of it.
    """

    loss: float
    batch: Array  # tokens, rising
    steps: Array  # updates
    curve: Hyperbola
    interval: tuple[float, float]
    warnings: tuple[str, ...]


def steps_to_loss(table: Table, losses: ArrayLike) -> tuple[Array, Array]:
    """When each batch size first reached each loss.

    The held-out loss is taken as the lowest so far and interpolated in ln S, ln L between recorded steps. Of several
    runs with one batch (other learning rates, seeds) the fastest counts, since (5.1) is about well-tuned training.

    Args:
        table: learning curves, one row per (run, step): columns run, batch_tokens, loss and step, or steps (so far).
            Runs of one model only. Rows without a loss and runs that diverged are left out.
        losses: targets, shape (n_losses,).

    Returns:
        batches rising, shape (n_batches,), and updates, shape (n_losses, n_batches), nan where a loss was not reached
        or was below the first recorded loss already.

    Raises:
        InputError: a column is missing or not positive, or the table holds models of several sizes.
    """
    table = learning_curves(table)
    (batch, loss), step = table.positive("batch_tokens", "loss"), table.updates()
    run = table["run"]
    if table.has("params") and len(sizes := np.unique(table["params"])) > 1:
        raise InputError(f"{len(sizes)} model sizes in one table: keep one, steps to a loss depend on the size")
    targets = np.log(np.asarray(losses, float))
    batches = np.unique(batch)
    steps = np.full((len(targets), len(batches)), np.nan)
    for name in np.unique(run):
        rows = np.flatnonzero(run == name)
        rows = rows[np.argsort(step[rows])]
        low = np.minimum.accumulate(np.log(loss[rows]))
        # np.interp wants rising abscissae: the lowest loss so far, negated; of a plateau its first step.
        first = np.concatenate(([True], np.diff(low) < 0))
        when = np.interp(-targets, -low[first], np.log(step[rows][first]), left=np.nan, right=np.nan)
        k = int(np.searchsorted(batches, batch[rows[0]]))
        steps[:, k] = np.fmin(steps[:, k], np.exp(when))
    return batches, steps


def fit_hyperbola(batch: ArrayLike, steps: ArrayLike, loss: float = np.nan) -> Tradeoff:
    """Least squares in ln S of S = S_min + E_min/B, both constants above 0: (5.1) solved for S.

    The residual in ln E at given B is the same, so neither axis is preferred.

    Args:
        batch: tokens, shape (n,), at least two different values.
        steps: updates to the loss, shape (n,).
        loss: the target, to be kept with the result.

    Raises:
        InputError: fewer than two batch sizes, or a value is not positive.
    """
    batch, steps = np.asarray(batch, float), np.asarray(steps, float)
    if not (np.all(np.isfinite(steps) & (steps > 0)) and np.all(np.isfinite(batch) & (batch > 0))):
        raise InputError(f"loss {loss:g}: batches {batch} and steps {steps}, wanted numbers above 0")
    order = np.argsort(batch)
    batch, steps = batch[order], steps[order]
    if len(np.unique(batch)) < 2:
        raise InputError(f"loss {loss:g}: {len(np.unique(batch))} batch sizes reached it, wanted at least 2")

    def rest(ln_B_crit: Array) -> Array:
        """ln S less ln(1 + B_crit/B), by batch (last axis): the level ln S_min is linear, so only B_crit is searched
        for.
        """
        return np.log(steps) - np.log1p(np.exp(ln_B_crit)[..., None] / batch)

    def cost(ln_B_crit: Array) -> Array:
        return np.var(rest(ln_B_crit), axis=-1) * len(batch)

    # Beyond these ends the curve is flat in S or in E to 1e-4: B_crit is only bounded from one side.
    grid = np.linspace(np.log(batch[0] / 1e4), np.log(batch[-1] * 1e4), 400)
    i = int(np.argmin(cost(grid)))
    best = float(golden_section(cost, grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]))
    ln_S_min = float(rest(np.asarray(best)).mean())
    curve = Hyperbola(float(np.exp(ln_S_min)), float(np.exp(ln_S_min + best)))
    warnings = []
    if best < np.log(batch[0]) or best > np.log(batch[-1]):
        side = "below" if best < np.log(batch[0]) else "above"
        wanted = "smaller" if side == "below" else "larger"
        warnings.append(
            f"B_crit = {typed(np.exp(best), 3)} lies {side} all batches that reached the loss: train with {wanted} ones"
        )
    freedom = len(batch) - 2
    slope = np.exp(best) / (batch + np.exp(best))  # d ln S / d ln B_crit
    spread = float(np.sum((slope - slope.mean()) ** 2))
    sigma = np.sqrt(float(cost(np.asarray(best))) / freedom / spread) if freedom > 0 and spread > 0 else np.nan
    reach = t_quantile(LEVEL, freedom) * sigma if freedom > 0 else np.nan
    with np.errstate(over="ignore"):  # of a B_crit that is hardly known the upper end is infinite
        interval = float(np.exp(best - reach)), float(np.exp(best + reach))
    return Tradeoff(float(loss), batch, steps, curve, interval, tuple(warnings))


def tradeoffs(table: Table, losses: ArrayLike) -> tuple[Tradeoff, ...]:
    """The hyperbola at each loss that at least three batch sizes reached; other losses are left out.

    Args and errors as for `steps_to_loss`.

    Raises:
        InputError: no loss was reached by three batch sizes.
    """
    batches, steps = steps_to_loss(table, losses)
    found = []
    for loss, row in zip(np.asarray(losses, float), steps, strict=True):
        reached = np.isfinite(row)
        if reached.sum() >= 3:
            found.append(fit_hyperbola(batches[reached], row[reached], float(loss)))
    if not found:
        raise InputError(
            f"none of {np.size(losses)} losses was reached by 3 of {len(batches)} batch sizes: ask for higher losses"
        )
    return tuple(found)


def critical_batches(found: Sequence[Tradeoff]) -> dict[str, Array]:
    """Columns loss, batch_crit, low and high (tokens) for fitting B_crit(L), eq. 1.4, without the losses whose B_crit
    is only bounded.
    """
    kept = [t for t in found if not t.warnings]
    if not kept:
        raise InputError(
            f"at none of {len(found)} losses does B_crit lie among the batches tried: train with other batches"
        )
    rows = [(t.loss, t.curve.B_crit, *t.interval) for t in kept]
    return dict(zip(("loss", "batch_crit", "low", "high"), np.array(rows).T, strict=True))


class Critical(NamedTuple):
    """The critical batch along learning curves.

    `table` has columns loss, batch_crit, low, high and, where known, params: what `fit("kaplan-bcrit", table)` takes.
    """

    table: Table
    tradeoffs: tuple[Tradeoff, ...]
    notes: tuple[str, ...]


def critical(
    curves: Table, losses: ArrayLike | None = None, highest: Mapping[float, float] = MappingProxyType({})
) -> Critical:
    """B_crit(L) of learning curves at several batch sizes, each model size by itself.

    Args:
        curves: as for `steps_to_loss`, of any number of model sizes.
        losses: at which to measure; None takes N_LOSSES that at least three batches, and half of them, reached.
        highest: of these, by model size; a size that is not there has no bound.

    Raises:
        InputError: no size has three batches that reached one loss, or B_crit lies outside the batches at all of them.
    """
    curves = learning_curves(curves)
    sizes = np.unique(curves.positive("params")[0]) if curves.has("params") else np.array([np.nan])
    found: list[Tradeoff] = []
    of_size: list[float] = []
    notes = [f"{len(e.rows)} rows of the curves left out: {e.reason}" for e in curves.excluded]
    few = []
    for N in sizes:
        own = curves.where(curves["params"] == N, "another size") if np.isfinite(N) else curves
        name = f"N = {typed(N)}: " if np.isfinite(N) else ""
        if len(np.unique(own.positive("batch_tokens")[0])) < 3:
            few.append(typed(N))
            continue
        try:
            here = tradeoffs(own, _common_losses(own, highest.get(float(N), np.inf)) if losses is None else losses)
        except InputError as error:
            notes.append(f"{name}left out, {error}")
            continue
        found += here
        of_size += [float(N)] * len(here)
    if few and len(few) < len(sizes):
        notes.append(f"sizes with fewer than 3 batch sizes left out: N = {', '.join(few)}")
    if not found:
        why = f"{len(few)} of {len(sizes)} sizes have fewer than 3 batch sizes" if few else notes[-1]
        raise InputError(f"{curves.source}: no size was trained at 3 batch sizes that reached one loss; {why}")
    columns = critical_batches(found)
    bounded = [t for t in found if t.warnings]
    if bounded:
        notes.append(
            f"{len(bounded)} of {len(found)} losses left out, where B_crit is only bounded: {bounded[0].warnings[0]}"
        )
    if curves.has("schedule") and not constant_rate(curves).all():
        notes.append(
            "the learning rate decays along these runs: a run that was meant to end at a loss would need fewer updates"
        )
    notes.append("losses along the same runs are not independent: the interval of a fit through them is too narrow")
    if np.isfinite(sizes).all():
        columns["params"] = np.array([N for N, t in zip(of_size, found, strict=True) if not t.warnings])
    table = Table.from_columns(columns, f"critical batches of {curves.source}").with_notes(*notes)
    return Critical(table, tuple(found), tuple(notes))


def _common_losses(curves: Table, highest: float) -> Array:
    """N_LOSSES losses, none above `highest`, that at least three batch sizes, and half of them, reached."""
    (loss,) = curves.positive("loss")
    if loss.min() > highest:
        raise InputError(f"no run reached a loss of {highest:.4g}: train longer")
    grid = np.geomspace(min(loss.max(), highest), loss.min(), 50 * N_LOSSES)
    batches, steps = steps_to_loss(curves, grid)
    reached = np.flatnonzero(np.isfinite(steps).sum(1) >= max(3, len(batches) / 2))
    if not reached.size:
        raise InputError(
            f"no loss was reached by 3 of {len(batches)} batch sizes: train longer, or at more batch sizes"
        )
    return grid[np.unique(np.linspace(reached[0], reached[-1], N_LOSSES).round().astype(int))]
