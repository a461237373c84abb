"""Reducible loss over compute at fixed tokens per parameter: straight lines in logarithms, parallel or not.

By eq. 4 of Gadre et al. (2024), L - E = (a M ** eta + b M ** -eta) C ** -eta: one slope for every ratio M = D / N.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.papers.chinchilla import trunks
from analysis.papers.claim import Undecided
from analysis.table import Table

Array = NDArray[np.float64]

RATIOS = 5.0 * 2.0 ** np.arange(12)  # tokens per parameter at which lines are read
FEWEST = 4  # sizes of a line
DECADE = 3  # lines at least, over which a change of the slope is told


def at_ratios(runs: Table, ln_loss: Array, ratios: Sequence[float] = tuple(RATIOS)) -> tuple[Table, Array]:
    """What each trunk reaches after so many tokens per parameter, between its shortest and its longest branch.

    Args:
        runs: with `trunk`.
        ln_loss: of the runs, for each draw of their luck. (run, draw)

    Returns:
        A row per trunk and ratio (params, flops, tokens, ratio, ...), and its ln loss, (row, draw).

    Raises:
        Undecided: no ratio lies between two branches.
    """
    parts, losses = [], []
    for N in np.unique(runs["params"]):
        own = np.flatnonzero(runs["params"] == N)
        size = runs.chosen(np.isin(np.arange(len(runs)), own))
        per_token = float(size["flops"][0] / size["tokens"][0])
        try:
            table, ln = trunks.along(size, per_token * N * np.sort(np.asarray(ratios, float)), ln_loss[own])
        except Undecided:
            continue
        parts.append(table.with_columns(ratio=table["tokens"] / N))
        losses.append(ln)
    if not parts:
        raise Undecided("no run has so many tokens per parameter")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["ratio"] = np.array([min(ratios, key=lambda m, r=r: abs(np.log(m / r))) for r in columns["ratio"]])
    return Table(columns, np.arange(1, len(columns["ratio"]) + 1), "ends of branches"), np.concatenate(losses)


@dataclasses.dataclass(frozen=True, eq=False)
class Lines:
    """Slopes of ln(L - E) over ln C, the first draw as measured.

    Attributes:
        ratios: tokens per parameter, rising. (line,)
        sizes: of each line.
        slopes: (line, draw); NaN where a loss is not above the floor.
    """

    ratios: Array
    sizes: NDArray[np.int64]
    slopes: Array

    @property
    def change(self) -> Array:
        """By how much the exponent, the slope without its sign, grows for each factor of 10 in M. (draw,)

        Raises:
            Undecided: there are fewer than DECADE lines.
        """
        if len(self.ratios) < DECADE:
            raise Undecided(f"{len(self.ratios)} ratios have {FEWEST} sizes; {DECADE} lines show a change of the slope")
        x = np.log10(self.ratios) - np.log10(self.ratios).mean()
        return -(x @ self.slopes) / (x @ x)


def lines(table: Table, ln_loss: Array, floor: Array) -> Lines:
    """A straight line by least squares for each ratio of FEWEST sizes or more.

    Args:
        table: with params, flops and ratio.
        ln_loss: (row, draw)
        floor: E of each draw. (draw,)

    Raises:
        Undecided: no ratio has enough sizes.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.log(np.exp(ln_loss) - floor)
    ratios, sizes, slopes = [], [], []
    for M in np.unique(table["ratio"]):
        own = table["ratio"] == M
        n = len(np.unique(table["params"][own]))
        if n < FEWEST:
            continue
        x = np.log(table["flops"][own])
        x = x - x.mean()
        ratios.append(M)
        sizes.append(n)
        slopes.append(x @ y[own] / (x @ x))
    if not ratios:
        raise Undecided(f"no ratio of tokens to parameters has {FEWEST} sizes")
    return Lines(np.array(ratios), np.array(sizes), np.array(slopes))
