"""The runs of a paper's experiments: what is there, what belongs together, and what is missing, as `Undecided`."""

import dataclasses
import functools
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis.confidence import LEVEL, t_quantile
from analysis.laws.admission import IN_CONTEXT
from analysis.papers.claim import Undecided
from analysis.records import Records
from analysis.registry import Registry
from analysis.replicates import Noise, seed_noise
from analysis.table import Table

# The records of the runs of each experiment by its name. An experiment without a finished run is absent.
Experiments = Mapping[str, Records]
NO_SEEDS = "no setting has two seeds: which differences are noise is not known"


def in_context(table: Table, lacks: str = "") -> Table:
    """The runs, or readings, after the onset of context use: a law across it would measure the onset.

    Args:
        lacks: what is said where none is left; the rule's own reason where it is left out.

    Raises:
        Undecided: there are none.
    """
    table = IN_CONTEXT.admit(table)
    if not len(table):
        raise Undecided(lacks or f"every run {table.excluded[-1].reason}")
    return table


class Evidence:
    """What the figures of a paper share, each worked out once.

    Args:
        promised: dated forecasts of runs, where some were stored.
        beside: the same experiments on other texts, by text, where some were trained.
    """

    def __init__(
        self,
        experiments: Experiments,
        promised: Registry | None = None,
        beside: Mapping[str, Experiments] | None = None,
    ):
        self.experiments = experiments
        self.promised = promised
        self.beside = beside or {}

    def need(self, *names: str) -> Table:
        """The runs of these experiments that ended well, each once.

        `kind` and `reuse` are there in any case: older tables hold Transformers alone.

        Raises:
            Undecided: there are none.
        """
        table = joined([self.experiments[name].runs for name in names if name in self.experiments])
        done = np.zeros(0, bool) if table is None else np.isfinite(table["loss"])
        if table is not None and table.has("status"):
            done &= table["status"] == "done"
        if table is None or not done.any():
            raise Undecided(f"no run of the experiment {' or '.join(names)} has finished")
        if not table.has("kind"):
            table = table.with_columns(kind=np.full(len(table), "transformer"), reuse=np.ones(len(table)))
        return table.where(done, "diverged or unfinished")

    def curves_of(self, runs: Table) -> Table:
        """The learning curves of these runs."""
        return _rows_of([records.curves for records in self.experiments.values()], runs, "learning curve")

    def loss_by_position(self, runs: Table) -> tuple[np.ndarray, np.ndarray]:
        """Positions in the context, rising, and the mean last loss at each over these runs, which share one; t, t"""
        rows = _rows_of([records.positions for records in self.experiments.values()], runs, "loss by position")
        at, loss = means(rows, "position")
        if len(loss) != at[-1] - at[0] + 1:
            raise Undecided("the losses are not at every position")
        return at, loss

    @functools.cached_property
    def noise(self) -> Noise | None:
        """Seed noise, pooled over all replicated settings of all experiments."""
        try:
            return seed_noise(self.need(*self.experiments))
        except Undecided:
            return None

    @property
    def known_noise(self) -> Noise:
        """The seed noise, which a claim of a difference needs."""
        if self.noise is None:
            raise Undecided(NO_SEEDS)
        return self.noise


def split(records: Records, members: Mapping[str, Collection[str]]) -> Experiments:
    """The records of each experiment; one that has none yet is left out.

    Args:
        records: of the study of all experiments.
        members: the ids of each experiment's runs.
    """

    def of(table: Table, ids: Collection[str]) -> Table:
        return rows_alone(table, np.isin(table["run"], list(ids)))

    found = {}
    for name, ids in members.items():
        if len(runs := of(records.runs, ids)):
            curves, positions = of(records.curves, ids), of(records.positions, ids)
            answers = None if records.answers is None else of(records.answers, ids)
            found[name] = dataclasses.replace(records, runs=runs, curves=curves, positions=positions, answers=answers)
    return found


def rows_alone(table: Table, keep: np.ndarray) -> Table:
    """These rows alone: what other experiments have is not left out, it does not belong here."""
    columns = {name: column[keep] for name, column in table.columns.items()}
    return dataclasses.replace(table, columns=columns, rows=table.rows[keep])


def _rows_of(tables: list[Table], runs: Table, what: str) -> Table:
    table = joined(tables)
    own = np.zeros(0, bool) if table is None else np.isin(table["run"], runs["run"])
    if table is None or not own.any():
        raise Undecided(f"no {what} of these runs was recorded")
    return table.where(own, "another run")


def joined(tables: list[Table]) -> Table | None:
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
    return Table(columns, np.arange(1, len(columns["run"]) + 1), parts[0][0].source)


def means(table: Table, by: str = "params", of: str = "loss") -> tuple[np.ndarray, np.ndarray]:
    """The values of a column, rising, and the geometric mean of another at each of them."""
    at = np.unique(table[by])
    return at, np.array([math.exp(np.log(table[of][table[by] == value]).mean()) for value in at])


def paired_half(ln_loss: np.ndarray) -> float:
    """Half-width of the interval of the mean difference of two arms that seeds share. ln_loss: (seed, arm)

    Arms of one seed share their first weights and their examples: what a seed does to all alike is no noise. What it
    does to each by itself is pooled over the arms. Infinite with one seed or one arm.
    """
    seeds, arms = ln_loss.shape
    degrees = (seeds - 1) * (arms - 1)
    if not degrees:
        return math.inf
    residual = ln_loss - ln_loss.mean(axis=0) - ln_loss.mean(axis=1)[:, None] + ln_loss.mean()
    sigma = math.sqrt(float((residual**2).sum()) / degrees)
    return float(t_quantile(LEVEL, np.array(degrees))) * sigma * math.sqrt(2 / seeds)


def mode(values: ArrayLike) -> Any:
    """The commonest value, of equally common ones the smallest."""
    each, counts = np.unique(values, return_counts=True)
    return each[np.argmax(counts)]
