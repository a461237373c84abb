"""Which runs belong together: at one setting, at their best rate, of one depth at each width, branches of one trunk."""

import dataclasses
import math

import numpy as np

from analysis import digits, replicates
from analysis.laws.admission import DEEP, FINISHED, IN_CONTEXT, WARM
from analysis.papers.claim import Undecided
from analysis.papers.evidence import means
from analysis.replicates import Noise, settings
from analysis.table import Table
from scaling.config import OptimConfig

COOLDOWN = OptimConfig.decay  # share of a branch: `configs.rates.trunk` leaves it as it is


def of_kind(table: Table, kind: str) -> Table:
    """The runs of one kind of model.

    Raises:
        Undecided: there are none.
    """
    own = table["kind"] == kind
    if not own.any():
        raise Undecided(f"no run of the kind {kind} has finished")
    return table.where(own, f"no {kind}")


def line(table: Table) -> Table:
    """One depth at each width, and none shallower than a narrower one: the longest such row of models there is.

    Models of other depths and nearly the same N would make the line jagged that others are held against. Losses are
    not looked at: of equally long rows the shallowest counts.
    """
    shapes = sorted(set(zip(table["d_model"].tolist(), table["n_layer"].tolist(), strict=True)))
    best: list[tuple[int, float, tuple[tuple[float, float], ...]]] = []  # the best row that ends with each shape
    for d, n in shapes:
        before = [row for row in best if row[2][-1][0] < d and row[2][-1][1] <= n]
        length, layers, row = max(before, key=lambda r: r[:2], default=(0, 0.0, ()))
        best.append((length + 1, layers - n, (*row, (d, n))))
    row = max(best, key=lambda r: r[:2])[2]
    own = [shape in row for shape in zip(table["d_model"].tolist(), table["n_layer"].tolist(), strict=True)]
    return table.where(np.array(own), "off the line of sizes, of another depth")


def depths_text(table: Table) -> str:
    """The depths of these models: "2 layers", "2 to 6 layers"."""
    low, high = (int(end(table["n_layer"])) for end in (np.min, np.max))
    return f"{low} {digits.plural(low, 'layer', 'layers')}" if low == high else f"{low} to {high} layers"


def deep(table: Table) -> Table:
    """The models of two layers or more; shallower ones lie off the line (Kaplan et al. 2020, appendix C).

    Raises:
        Undecided: there are none.
    """
    table = DEEP.admit(table)
    if not len(table):
        raise Undecided("no model of two layers or more has finished")
    return table


def best_rates(table: Table) -> Table:
    """Of each setting, the runs at the learning rate with the lowest mean loss over its seeds."""
    if not table.has("learning_rate"):
        return table
    cell, rate, loss = settings(table), table["learning_rate"], np.log(table["loss"])
    keep = np.ones(len(table), bool)
    for k in np.unique(cell):
        rows = cell == k
        tried = np.unique(rate[rows])
        mean = [loss[rows & (rate == r)].mean() for r in tried]
        keep[rows] = rate[rows] == tried[int(np.argmin(mean))]
    return table.where(keep, "another learning rate of the setting is better")


def constant_part(runs: Table, curves: Table) -> Table:
    """The learning curves of trunks between warm-up and cooldown and past the onset of context use, each update once.

    Branches of a trunk share it, and are no several curves of it: all rows are called those of its longest branch.

    Args:
        runs: branches, of schedule wsd.
        curves: of them, among others.

    Raises:
        Undecided: no curve was measured there.
    """
    trunk = replicates.trunks(runs, replicates.RATE, "seed")
    row = {run: i for i, run in enumerate(runs["run"])}
    longest = {t: max(np.flatnonzero(trunk == t), key=lambda i: runs["tokens"][i]) for t in np.unique(trunk)}
    curves = FINISHED.admit(curves.where(np.isin(curves["run"], runs["run"]), "another run"))
    curves = WARM.admit(curves)
    hold = curves["step"] <= curves["steps"] - np.ceil(COOLDOWN * curves["steps"])
    curves = curves.where(hold & np.isfinite(curves["loss"]), "in the cooldown, or no loss there")
    of = np.array([longest[trunk[row[run]]] for run in curves["run"]], int)
    _, once = np.unique(np.stack([of, curves["step"]], 1), axis=0, return_index=True)
    curves = curves.where(np.isin(np.arange(len(curves)), once), "measured on another branch of the same trunk")
    of = of[np.sort(once)]
    same = {name: runs[name][of] for name in ("run", "steps", "unique_tokens", "warmup", "onset") if name in runs}
    curves = IN_CONTEXT.admit(curves.with_columns(**same))
    if not len(curves):
        raise Undecided("no learning curve was measured between warm-up and cooldown, past the onset of context use")
    return curves


def stopped(runs: Table, noise: float) -> Table:
    """Of each trunk over epochs the branch with the lowest held-out loss: early stopping, with a decay at the stop.

    `loss_min` is that loss, `tokens` those of the longest branch, and `tokens_at_min` those of the shortest whose loss
    is the lowest within the noise: a run had stopped where a longer branch does not lower the loss by more.

    Args:
        noise: of a difference of ln loss.
    """
    trunk = replicates.trunks(runs, replicates.RATE, "seed", "unique_tokens")
    found = []
    for t in np.unique(trunk):
        own = np.flatnonzero(trunk == t)
        own = own[np.argsort(runs["tokens"][own])]
        loss, tokens = runs["loss"][own], runs["tokens"][own]
        first = int(np.flatnonzero(loss <= loss.min() * math.exp(noise))[0])
        found.append((own[int(np.argmin(loss))], loss.min(), tokens[-1], tokens[first]))
    kept, lowest, most, at = np.array(sorted(found)).T
    table = runs.where(np.isin(np.arange(len(runs)), kept), "another branch of its trunk ended lower")
    return table.with_columns(loss_min=lowest, tokens=most, tokens_at_min=at, loss_half=np.full(len(table), np.nan))


def left_by_law(table: Table, offered: Table) -> Table:
    """The runs of a law, and of those left out the ones that the law left out of the runs that it was offered."""
    return dataclasses.replace(table, excluded=table.excluded[len(offered.excluded) :])


def per_size(table: Table) -> Table:
    """One row per N with the geometric mean of its losses: seeds of one size are no further sizes."""
    N, loss = means(table)
    return Table.from_columns({"params": N, "loss": loss}, table.source)


def noise_text(noise: Noise) -> str:
    """The seed noise in half a sentence."""
    return f"another seed changes a loss by {100 * noise.sigma:.2g} % (one standard deviation, {noise.degrees} degrees)"
