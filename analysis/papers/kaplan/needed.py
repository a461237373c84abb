"""The updates that each size needs to a loss, and how far the noise of the seeds moves them."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import digits
from analysis.batch_size import steps_to_loss
from analysis.confidence import LEVEL, t_quantile
from analysis.replicates import Noise
from analysis.table import Table

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Needed:
    """Updates to each loss, n sizes and m losses.

    Attributes:
        N: rising, shape (n,).
        losses: shape (m,).
        updates: geometric mean over the runs of a size; NaN where one of them did not reach the loss, shape (n, m).
        half: half width of the interval of ln updates, infinite where nothing tells it, shape (n, m).
    """

    N: Array
    losses: Array
    updates: Array
    half: Array

    def at(self, which: NDArray[np.int64]) -> "Needed":
        """At these of the losses alone."""
        return Needed(self.N, self.losses[which], self.updates[:, which], self.half[:, which])


def needed(curves: Table, losses: ArrayLike, noise: Noise | None) -> Needed:
    """What these learning curves need, with intervals of LEVEL.

    Seeds scatter ln loss alike along a curve, as far as is known: by how much the updates change where the loss aimed
    at changes by that scatter is their interval, the wider of both ways. Two runs of one size narrow it.

    Args:
        curves: of any sizes at one batch, columns params, run, step, loss and batch_tokens.
    """
    losses = np.asarray(losses, float)
    N = np.unique(curves["params"])
    off = math.inf if noise is None else float(t_quantile(LEVEL, np.array(float(noise.degrees)))) * noise.sigma
    updates, half = (np.full((len(N), len(losses)), math.nan) for _ in range(2))
    for k, n in enumerate(N):
        own = curves["params"] == n
        runs = np.unique(curves["run"][own])
        each = [curves.where(own & (curves["run"] == run), "another run") for run in runs]
        at = _ln_updates(each, losses)
        updates[k] = np.exp(at)
        if noise is None:
            half[k] = math.inf
            continue
        ways = np.array([np.abs(_ln_updates(each, losses * math.exp(sign * off)) - at) for sign in (1, -1)])
        told = np.isfinite(ways).any(0)
        half[k] = np.where(told, np.nanmax(np.where(told, ways, 0.0), axis=0), math.inf) / math.sqrt(len(runs))
    return Needed(N, losses, updates, half)


def _ln_updates(runs: list[Table], losses: Array) -> Array:
    """Mean over the runs of one size of ln updates to each loss; NaN where one of them did not reach it."""
    return np.mean([np.log(steps_to_loss(run, losses)[1][:, 0]) for run in runs], axis=0)


@dataclasses.dataclass(frozen=True)
class Fewer:
    """How many times the updates, and so the tokens, of the largest size the smallest needs to a loss.

    Attributes:
        times: updates of the smallest over those of the largest.
        low, high: of the interval.
    """

    loss: float
    small: float  # N
    large: float
    times: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """Whether the noise leaves no doubt which of both needs fewer."""
        return self.low > 1 or self.high < 1

    def __str__(self) -> str:
        """Half a sentence: "the smallest model that gets there (1.54k) needs 19 times (15 to 22) the tokens of ..."."""
        value, ends = digits.constant(self.times, self.low, self.high)
        small, large = digits.short(self.small), digits.short(self.large)
        who = f"the smallest model that gets there ({small})"
        return f"{who} needs {value} times ({ends}) the tokens of the largest ({large})"


def fewer(found: Needed, j: int) -> Fewer | None:
    """At the j-th loss, of the sizes that reached it; None where fewer than two did."""
    seen = np.flatnonzero(np.isfinite(found.updates[:, j]))
    if len(seen) < 2:
        return None
    a, b = seen[0], seen[-1]
    ln = float(np.log(found.updates[a, j] / found.updates[b, j]))
    half = math.hypot(found.half[a, j], found.half[b, j])
    ends = (math.exp(ln - half), math.exp(ln + half) if half < 700 else math.inf)
    return Fewer(float(found.losses[j]), float(found.N[a]), float(found.N[b]), math.exp(ln), *ends)


def widest(found: Needed) -> Fewer | None:
    """At the loss that the sizes farthest apart reached, of several the lowest; None where no two reached one."""
    each = [one for j in range(len(found.losses)) if (one := fewer(found, j)) is not None]
    return max(each, key=lambda one: (one.large / one.small, -one.loss), default=None)
