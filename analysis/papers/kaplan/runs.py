"""Which runs of the experiments belong together: finished ones, each once, at one setting and at their best rate."""

import math

import numpy as np

from analysis import digits
from analysis.findings import checks
from analysis.laws.admission import ONE_EPOCH
from analysis.papers.kaplan.drawn import Experiments
from analysis.replicates import Noise, seed_noise
from analysis.table import Table

SAME = ("tokens", "unique_tokens", "batch_tokens", "n_ctx", "n_vocab", "dropout", "schedule", "warmup", "tokens_id")


def finished(experiments: Experiments, *names: str) -> Table | None:
    """The runs of these experiments that ended well, each once; None where there are none.

    `kind` and `reuse` are there in any case: older tables hold Transformers alone.
    """
    table = _joined([experiments[name].runs for name in names if name in experiments])
    if table is None:
        return None
    done = np.isfinite(table["loss"])
    if table.has("status"):
        done &= table["status"] == "done"
    if not done.any():
        return None
    if not table.has("kind"):
        table = table.with_columns(kind=np.full(len(table), "transformer"), reuse=np.ones(len(table)))
    return table.where(done, "diverged or unfinished")


def curves_of(experiments: Experiments, runs: Table) -> Table | None:
    """The learning curves of these runs."""
    return _rows_of([records.curves for records in experiments.values()], runs)


def positions_of(experiments: Experiments, runs: Table) -> Table | None:
    """The last losses by position of these runs."""
    return _rows_of([records.positions for records in experiments.values()], runs)


def loss_by_position(experiments: Experiments, table: Table) -> np.ndarray | None:
    """The mean last loss at each position over these runs, which share one context; t"""
    rows = positions_of(experiments, table)
    if rows is None:
        return None
    at, loss = means(rows, "position")
    return loss if len(at) == at[-1] else None


def _rows_of(tables: list[Table], runs: Table) -> Table | None:
    table = _joined(tables)
    if table is None:
        return None
    own = np.isin(table["run"], runs["run"])
    return table.where(own, "another run") if own.any() else None


def _joined(tables: list[Table]) -> Table | None:
    """Rows under one another; of a run that is in several tables, those of the first. An absent cell is NaN or ""."""
    parts: list[tuple[Table, np.ndarray]] = []
    seen = np.array([], str)
    for table in tables:
        if len(table):
            parts.append((table, np.flatnonzero(~np.isin(table["run"], seen))))
            seen = np.union1d(seen, table["run"])
    if not parts:
        return None
    columns = {}
    for name in dict.fromkeys(name for table, _ in parts for name in table):
        text = any(name in table and table[name].dtype.kind == "U" for table, _ in parts)
        columns[name] = np.concatenate(
            [
                table[name][rows] if name in table else np.full(len(rows), "" if text else np.nan)
                for table, rows in parts
            ]
        )
    n = len(columns["run"])
    return Table(columns, np.arange(1, n + 1), parts[0][0].source) if n else None


def of_kind(table: Table, kind: str) -> Table | None:
    """The runs of one kind of model; None where there are none."""
    own = table["kind"] == kind
    return table.where(own, f"no {kind}") if own.any() else None


def transformers_like(experiments: Experiments, like: Table, layers: float | None = None) -> Table | None:
    """Transformers, of any experiment, that were trained as most runs of `like` were; one depth at each width.

    That is on the same tokens, for as long, with the same batch, context and schedule. Where several learning rates
    were tried, the best one.

    Args:
        layers: of this depth alone; without it, the `line` of models of two layers or more.
    """
    table = finished(experiments, *experiments)
    if table is None or (table := of_kind(table, "transformer")) is None:
        return None
    keep = table["n_layer"] == layers if layers else table["n_layer"] >= 2
    for name in SAME:
        if name in like and name in table:
            values, counts = np.unique(like[name], return_counts=True)
            keep &= table[name] == values[np.argmax(counts)]
    if table.has("d_ff"):  # the standard shape alone: what odd shapes cost is another question
        keep &= np.abs(table["d_ff"] / (4 * table["d_model"]) - 1) < 0.1
    return line(best_rates(table.where(keep, "trained otherwise"))) if keep.any() else None


def line(table: Table) -> Table:
    """One depth at each width, and none shallower than a narrower one: the longest such row of models there is.

    Models of other depths and nearly the same N would put teeth into the line that others are held against. Losses are
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


def ladder(experiments: Experiments) -> Table | None:
    """The data-ample Transformers of the experiment `size`: one pass, the commonest length, the rule's learning rate.

    Of all depths, 0 and 1 layers among them.
    """
    table = finished(experiments, "size")
    if table is None or (table := of_kind(table, "transformer")) is None:
        return None
    keep = table["epochs"] <= ONE_EPOCH if table.has("epochs") else np.ones(len(table), bool)
    for name in ("tokens", "n_ctx", "batch_tokens"):
        if keep.any():
            values, counts = np.unique(table[name][keep], return_counts=True)
            keep &= table[name] == values[np.flatnonzero(counts == counts.max())[-1]]
    if not keep.any():
        return None
    table = table.where(keep, "another length, batch or context")
    own, _ = checks.own_rates(table)
    return table.where(own, "another learning rate than the rule's")


def deep(table: Table | None) -> Table | None:
    """The models of two layers or more; shallower ones lie off the line (Kaplan et al. 2020, appendix C)."""
    if table is None or not (table["n_layer"] >= 2).any():
        return None
    return table.where(table["n_layer"] >= 2, "fewer than two layers")


def on_line(experiments: Experiments, curves: Table) -> Table | None:
    """The learning curves of the ladder's own `line` alone: one depth at each width; None where there are none."""
    own = deep(ladder(experiments))
    keep = np.isin(curves["run"], line(own)["run"]) if own is not None else np.zeros(len(curves), bool)
    return curves.where(keep, "off the line of sizes, of another depth") if keep.any() else None


def best_rates(table: Table) -> Table:
    """Of each setting, the runs at the learning rate with the lowest mean loss over its seeds."""
    if not table.has("learning_rate"):
        return table
    cell, rate, loss = checks.settings(table), table["learning_rate"], np.log(table["loss"])
    keep = np.ones(len(table), bool)
    for k in np.unique(cell):
        rows = cell == k
        tried = np.unique(rate[rows])
        means = [loss[rows & (rate == r)].mean() for r in tried]
        keep[rows] = rate[rows] == tried[int(np.argmin(means))]
    return table.where(keep, "another learning rate of the setting is better")


def per_size(table: Table) -> Table:
    """One row per N with the geometric mean of its losses: seeds of one size are no further sizes."""
    N, loss = means(table)
    return Table.from_columns({"params": N, "loss": loss}, table.source)


def means(table: Table, by: str = "params", of: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    """The values of a column, rising, and the geometric mean of another at each of them."""
    at = np.unique(table[by])
    return at, np.array([math.exp(np.log(table[of][table[by] == value]).mean()) for value in at])


def noise_of(experiments: Experiments) -> Noise | None:
    """Seed noise, pooled over all replicated settings of all experiments."""
    table = finished(experiments, *experiments)
    return seed_noise(table) if table is not None else None


def noise_text(noise: Noise | None) -> str:
    """The seed noise in half a sentence."""
    if noise is None:
        return "no setting has two seeds, so the seed noise is not known"
    return f"another seed changes a loss by {100 * noise.sigma:.2g} % (one standard deviation, {noise.degrees} degrees)"
