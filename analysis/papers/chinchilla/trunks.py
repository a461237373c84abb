"""The runs as trunks: what branches of every length reach, between their ends, and how far luck moves them.

A trunk is the runs of one size and seed, which share their constant rate up to each cooldown. N, C and D are those of
one way of counting (`Counting`); losses in nats per token.
"""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from analysis import replicates
from analysis.papers.claim import Undecided
from analysis.papers.evidence import NO_SEEDS, in_context
from analysis.table import Table

Array = NDArray[np.float64]

CLOSE = 1e-6  # relative: two computes that are one


class Counting(NamedTuple):
    """Which parameters and which compute count, as columns of the runs."""

    words: str
    params: str
    flops: str


WHOLE = Counting("with the embedding", "params_head", "flops_head")  # as the paper counts
INNER = Counting("without the embedding", "params", "flops")


def admitted(runs: Table) -> Table:
    """The runs whose model used its context before they ended (`analysis.onset`), with the number of their `trunk`."""
    runs = in_context(runs)
    return runs.with_columns(trunk=replicates.trunks(runs, replicates.RATE, "seed").astype(float))


def counted(runs: Table, counting: Counting) -> Table:
    """The runs with N and C of one way of counting in the columns params and flops."""
    return runs.with_columns(params=runs[counting.params], flops=runs[counting.flops])


def trunks(runs: Table) -> Iterator[NDArray[np.intp]]:
    """The rows of each trunk, from its shortest branch to its longest."""
    for trunk in np.unique(runs["trunk"]):
        own = np.flatnonzero(runs["trunk"] == trunk)
        yield own[np.argsort(runs["flops"][own])]


def along(runs: Table, flops: Array, ln_loss: Array) -> tuple[Table, Array]:
    """What each trunk reaches with so much compute, between its shortest and its longest branch.

    Between the ends of branches ln loss follows a cubic in ln C that rises nowhere where they do not (PCHIP): with
    lengths a factor of two apart a straight line would lie up to 0.3 % above the curve.

    Args:
        runs: with `trunk`.
        flops: rising. c
        ln_loss: of the runs, for each draw of their luck. (run, draw)

    Returns:
        A row per trunk and compute (run, params, flops, tokens, seed, step), and its ln loss, (row, draw).
    """
    parts, losses = [], []
    for own in trunks(runs):
        C = runs["flops"][own]
        inside = flops[(C[0] * (1 - CLOSE) <= flops) & (flops <= C[-1] * (1 + CLOSE))]
        if not len(inside):
            continue
        x, at = np.log(C), np.log(np.clip(inside, C[0], C[-1]))
        y = ln_loss[own]
        losses.append(PchipInterpolator(x, y)(at) if len(own) > 1 else np.repeat(y, len(at), axis=0))
        first = own[0]
        same = {name: np.full(len(at), runs[name][first]) for name in ("params", "seed")}
        tokens = inside * runs["tokens"][first] / C[0]
        name = f"N={runs['params'][first]:.0f} seed {runs['seed'][first]:.0f}"
        parts.append({"run": np.full(len(at), name), "flops": inside, "tokens": tokens, "step": tokens, **same})
    if not parts:
        raise Undecided("no run reaches any of these computes")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Table(columns, np.arange(1, len(columns["run"]) + 1), "ends of branches"), np.concatenate(losses)


@dataclasses.dataclass(frozen=True)
class Luck:
    """Standard deviations of ln loss among seeds.

    Attributes:
        trunk: of what all branches of a trunk share.
        run: of what is a branch's own.
        degrees: of freedom of the first.
    """

    trunk: float
    run: float
    degrees: int

    @property
    def total(self) -> float:
        """Of a single run."""
        return float(np.hypot(self.trunk, self.run))

    def draws(self, runs: Table, n: int, seed: int = 0) -> Array:
        """Luck of the runs, drawn again; the first draw is none. (run, 1 + n)"""
        rng = np.random.default_rng(seed)
        # A spread that few seeds showed is itself unsure: Student's, not Gauss's.
        unsure = np.sqrt(self.degrees / rng.chisquare(self.degrees, n))
        _, trunk = np.unique(runs["trunk"], return_inverse=True)
        shared = self.trunk * rng.standard_normal((trunk.max() + 1, n))[trunk]
        moved = unsure * (shared + self.run * rng.standard_normal((len(runs), n)))
        return np.concatenate([np.zeros((len(runs), 1)), moved], axis=1)


def luck(runs: Table) -> Luck:
    """The spread among seeds, in what trunks share and what they do not: two-way analysis of variance, sizes pooled.

    Raises:
        Undecided: no size has two seeds.
    """
    between, within, lengths, degrees, rest = 0.0, 0.0, 0.0, 0, 0
    for N in np.unique(runs["params"]):
        y = _by_seed_and_length(runs.where(runs["params"] == N, "another size"))
        seeds, n = y.shape
        if seeds < 2 or not n:
            continue
        each = y.mean(axis=1)
        residual = y - y.mean(axis=0) - each[:, None] + each.mean()
        between += n * float(((each - each.mean()) ** 2).sum())
        within += float((residual**2).sum())
        lengths += n * (seeds - 1)
        degrees, rest = degrees + seeds - 1, rest + (seeds - 1) * (n - 1)
    if not degrees:
        raise Undecided(NO_SEEDS)
    run = within / rest if rest else 0.0
    return Luck(float(np.sqrt(max(between / degrees - run, 0.0) / (lengths / degrees))), float(np.sqrt(run)), degrees)


def _by_seed_and_length(runs: Table) -> Array:
    """ln loss of one size at the lengths that all of its seeds have. (seed, length)"""
    seeds = [runs["seed"] == seed for seed in np.unique(runs["seed"])]
    common = set.intersection(*(set(runs["tokens"][own].tolist()) for own in seeds))
    losses = [dict(zip(runs["tokens"][own], runs["loss"][own], strict=True)) for own in seeds]
    return np.log(np.array([[loss[D] for D in sorted(common)] for loss in losses], float).reshape(len(seeds), -1))
