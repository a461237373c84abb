"""Which runs belong together: at one setting, at their best rate, of one depth at each width."""

import numpy as np

from analysis import digits
from analysis.laws.admission import DEEP
from analysis.papers.claim import Undecided
from analysis.papers.evidence import means
from analysis.replicates import Noise, settings
from analysis.table import Table


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


def per_size(table: Table) -> Table:
    """One row per N with the geometric mean of its losses: seeds of one size are no further sizes."""
    N, loss = means(table)
    return Table.from_columns({"params": N, "loss": loss}, table.source)


def noise_text(noise: Noise) -> str:
    """The seed noise in half a sentence."""
    return f"another seed changes a loss by {100 * noise.sigma:.2g} % (one standard deviation, {noise.degrees} degrees)"
