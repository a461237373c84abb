"""The same runs counted in several ways: N_opt(C) of each count, and of several arms, from the same redrawn losses.

An arm is a set of sizes that were trained by one rule, each with its losses after several numbers of tokens: along one
run, or at the ends of several. At a budget the losses of an arm's sizes are read between those tokens, by a cubic in ln
D; where the budget's tokens lie beyond a size's own, that size is missing. What counts as N decides which sizes meet at
a budget, and so which of them is best (`Count`).

Intervals move the whole curve of each size up or down, as another seed would, and repeat everything. The moves are
drawn once, for all arms and all counts: an exponent under one count minus that under another, or of one arm minus that
of another, is a difference between two readings of the same redrawn runs.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.confidence import LEVEL
from analysis.frontier import DRAWS, FLOP_PER_PARAM_TOKEN, percentile_interval, power_laws
from analysis.isoflop import METHODS, Profile, contrasts, redrawn_minima
from analysis.table import Table
from scaling.errors import InputError

Array = NDArray[np.float64]

STEP = 2**0.5  # from one budget at which an arm is read to the next
LEAST = 4  # sizes at a budget: a parabola and one to spare


class Count(StrEnum):
    """What counts as N, and 6 N D as C."""

    KAPLAN = "without the head"  # Kaplan et al. (2020)
    HEAD = "with the head"  # Porian et al. (2024), Hoffmann et al. (2022) nearly
    ATTENTION = "with head and attention"  # the causal half of it, as parameters: Porian et al. (2024)

    def params(self, table: Table) -> Array:
        """N of each row.

        Args:
            table: columns params, params_head; n_layer, n_ctx and d_attn for the attention.
        """
        if self is Count.KAPLAN:
            return table["params"]
        if self is Count.HEAD:
            return table["params_head"]
        return table["params_head"] + table["n_layer"] * table["n_ctx"] * table["d_attn"]


@dataclasses.dataclass(frozen=True)
class Curve:
    """The losses of one size. N by count; ln D rising and ln loss there, (p,)."""

    N: Mapping[Count, float]
    ln_D: Array
    ln_loss: Array

    @property
    def size(self) -> float:
        """N outside the vocabulary, which tells sizes apart."""
        return self.N[Count.KAPLAN]

    def at(self, ln_D: ArrayLike) -> Array:
        """ln loss at these ln D; NaN beyond its own."""
        x = np.asarray(ln_D, float)
        inside = (x >= self.ln_D[0] - 1e-9) & (x <= self.ln_D[-1] + 1e-9)
        return np.where(inside, self._spline(np.clip(x, self.ln_D[0], self.ln_D[-1])), np.nan)

    @functools.cached_property
    def _spline(self) -> Callable[[Array], Array]:
        from scipy.interpolate import make_interp_spline

        return make_interp_spline(self.ln_D, self.ln_loss, k=min(3, len(self.ln_D) - 1))


Arm = tuple[Curve, ...]  # sizes rising


def arm(table: Table, counts: Sequence[Count] = tuple(Count)) -> Arm:
    """The curves of a table, seeds of one size after as many tokens averaged in ln loss.

    Args:
        table: a row per size and number of tokens: tokens, loss, and what `Count.params` wants.

    Raises:
        InputError: a column is missing, or a cell is no number above 0.
    """
    size, tokens, loss = table.positive("params", "tokens", "loss")
    N = {count: count.params(table) for count in dict.fromkeys((Count.KAPLAN, *counts))}
    found = []
    for n in np.unique(size):
        rows = np.flatnonzero(size == n)
        D, of = np.unique(tokens[rows], return_inverse=True)
        ln_loss = np.bincount(of, np.log(loss[rows])) / np.bincount(of)
        found.append(Curve({count: float(values[rows[0]]) for count, values in N.items()}, np.log(D), ln_loss))
    return tuple(found)


def profiles(curves: Arm, count: Count) -> tuple[Profile, ...]:
    """The losses of the sizes of an arm at each budget at which LEAST of them can be read, budgets rising."""
    x = np.log([curve.N[count] for curve in curves])  # size
    ends = x[:, None] + np.array([(curve.ln_D[0], curve.ln_D[-1]) for curve in curves])
    last, first = float(ends.max()), float(ends.min())
    ln_ND = last - np.log(STEP) * np.arange(int((last - first) / np.log(STEP)) + 1)[::-1]  # budget
    y = np.array([curve.at(ln_ND - ln_N) for curve, ln_N in zip(curves, x, strict=True)])  # size budget
    found = []
    for k, budget in enumerate(ln_ND):
        there = np.isfinite(y[:, k])
        if there.sum() >= LEAST:
            C = FLOP_PER_PARAM_TOKEN * float(np.exp(budget))
            found.append(Profile(C, x[there], y[there, k], budget - x[there], int(there.sum()), 0.0))
    return tuple(found)


@dataclasses.dataclass(frozen=True, eq=False)
class Best:
    """N_opt(C) of an arm under a count.

    Attributes:
        flops, params, tokens, loss: the optima; budgets whose minimum is at an edge are missing. (n,)
        a: the exponent of N_opt in C, by a line through them.
        draws: of the exponent, one for each of the moves, NaN where too few minima were interior. (draw,)
        read: the profiles that were looked at.
    """

    count: Count
    flops: Array
    params: Array
    tokens: Array
    loss: Array
    a: float
    draws: Array
    read: tuple[Profile, ...]

    @property
    def line(self) -> tuple[float, float]:
        """(C, N) in the middle of the line, in logarithms."""
        return float(np.exp(np.log(self.flops).mean())), float(np.exp(np.log(self.params).mean()))

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        return interval(self.draws, level)


def interval(draws: Array, level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of the draws that are numbers; NaN where they are fewer than half."""
    known = draws[np.isfinite(draws)]
    return percentile_interval(known, level) if 2 * len(known) > len(draws) else (np.nan, np.nan)


def best(curves: Arm, count: Count, moves: Array | None = None, *, method: str = "parabola") -> Best:
    """N_opt(C) by IsoFLOP profiles of an arm under a count.

    Args:
        moves: what is added to the ln loss of each size, (size, draw); None for no draws.
        method: of `analysis.isoflop.METHODS`.

    Raises:
        InputError: fewer than two budgets with a minimum between their sizes.
    """
    if method not in METHODS:
        raise InputError(f"method '{method}': choose {' or '.join(METHODS)}")
    moves = np.zeros((len(curves), 0)) if moves is None else moves
    read = profiles(curves, count) if curves else ()
    if not read:
        raise InputError(f"no budget at which {LEAST} sizes can be read: train more sizes, or each of them longer")
    x = np.log([curve.N[count] for curve in curves])
    zero = [np.zeros((len(p.x), 1)) for p in read]
    own = [moves[np.argmin(np.abs(x[:, None] - p.x), axis=0)] for p in read]  # of the sizes at each budget
    (ln_N, ln_D, good), (drawn, _, kept_in_draw) = (redrawn_minima(read, moved, method) for moved in (zero, own))
    kept = good[:, 0]
    if moves.shape[1]:
        kept &= kept_in_draw.mean(axis=1) >= 0.5
    if kept.sum() < 2:
        raise InputError(
            f"{int(kept.sum())} of {len(read)} budgets have a minimum between their sizes, wanted 2: the best size "
            "lies at the smallest or the largest one"
        )
    ln_C = np.log([p.flops for p in read])
    loss = [METHODS[method](p.x, p.y[:, None])[1][0] for p in read]
    C, N, D = np.exp(ln_C[kept]), np.exp(ln_N[kept, 0]), np.exp(ln_D[kept, 0])
    _, a, *_ = power_laws(C, N, D, float(np.exp(ln_C[kept].mean())))
    draws = slopes(ln_C[kept], drawn[kept], kept_in_draw[kept])
    return Best(count, C, N, D, np.exp(np.array(loss)[kept]), a, draws, read)


def slopes(x: Array, y: Array, use: NDArray[np.bool_]) -> Array:
    """Slopes of y over x by least squares, of each draw from the points in use; NaN for fewer than half, or two.

    Args:
        x: (n,). y, use: (n, draw).
    """
    n = use.sum(axis=0)
    with np.errstate(all="ignore"):
        u = np.where(use, x[:, None] - (use * x[:, None]).sum(axis=0) / n, 0.0)
        slope = (u * np.where(use, y, 0.0)).sum(axis=0) / (u**2).sum(axis=0)
    return np.where(n >= max(2, len(x) / 2), slope, np.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class Moves:
    """Redrawn seeds of several arms: by how much the ln loss of each size moves.

    Attributes:
        sizes: N outside the vocabulary, of all arms, rising.
        sigma: standard deviation of ln loss, the same for all; NaN where it cannot be told.
        shared: the part of its square that the arms have in common at one size.
        values: of each arm, (size, draw).
    """

    sizes: Array
    sigma: float
    shared: float
    values: Mapping[str, Array]

    def of(self, name: str, curves: Arm) -> Array | None:
        """The moves of an arm's curves, (size, draw); None where the noise is not known."""
        rows = np.searchsorted(self.sizes, [curve.size for curve in curves])
        return self.values[name][rows] if np.isfinite(self.sigma) else None


def moves(arms: Mapping[str, Arm], *, sigma: float | None = None, draws: int = DRAWS, seed: int = 0) -> Moves:
    """Draws the moves of arms whose runs of one size have seed, text and order in common.

    How far they scatter is what smooth profiles leave of the losses at one budget (`analysis.isoflop.contrasts`),
    pooled over the arms; two arms share as much of it as they leave alike. A spread that few sizes showed is itself
    unsure: Student's, not Gauss's.

    Args:
        sigma: standard deviation of ln loss between seeds, nothing of it shared; None reads both off.
        draws, seed: of the noise; the draws are the same for the same seed.
    """
    sizes = np.unique([curve.size for curves in arms.values() for curve in curves])
    rng = np.random.default_rng(seed)
    shared, scale = 0.0, np.ones(draws)
    if sigma is None:
        sigma, degrees = _scatter(arms)
        shared = _shared(arms)
        if degrees:
            scale = np.sqrt(degrees / rng.chisquare(degrees, draws))
    common = np.sqrt(shared) * rng.standard_normal((len(sizes), draws))
    values = {name: sigma * scale * (common + np.sqrt(1 - shared) * rng.standard_normal(common.shape)) for name in arms}
    return Moves(sizes, sigma, shared, values)


def _scatter(arms: Mapping[str, Arm]) -> tuple[float, int]:
    """Standard deviation of ln loss about smooth profiles, over all arms, and the degrees of freedom it rests on."""
    left = [_left_by_smooth_profiles([curves]) for curves in arms.values()]
    squares = np.concatenate([own[:, 0] ** 2 for own, _ in left])
    return (float(np.sqrt(squares.mean())) if len(squares) else np.nan), sum(degrees for _, degrees in left)


def _shared(arms: Mapping[str, Arm]) -> float:
    """The mean correlation of what smooth profiles leave of two arms, where both have the same sizes."""
    left, _ = _left_by_smooth_profiles(list(arms.values()))
    n = len(arms)
    if n < 2 or not len(left):
        return 0.0
    square = left.T @ left
    every = float(np.trace(square)) / n
    return float(np.clip((square.sum() - n * every) / (n * (n - 1) * every), 0, 1)) if every else 0.0


def _left_by_smooth_profiles(arms: Sequence[Arm]) -> tuple[Array, int]:
    """The contrasts of the sizes that these arms have in common, at budgets of the first that all reach: (n, arm).

    And how many of them are independent where a whole curve moves: those of the budget with most sizes.
    """
    common = sorted(set.intersection(*({curve.size for curve in curves} for curves in arms)))
    picked = [tuple(curve for curve in curves if curve.size in common) for curves in arms]
    found, degrees = [np.empty((0, len(arms)))], 0
    read = profiles(picked[0], Count.HEAD) if common else ()
    ln_C = np.log([profile.flops / FLOP_PER_PARAM_TOKEN for profile in read])
    x = np.log([curve.N[Count.HEAD] for curve in picked[0]])
    y = [[curve.at(ln_C - ln_N) for curve, ln_N in zip(curves, x, strict=True)] for curves in picked]  # arm size budget
    for losses in np.moveaxis(np.array(y, float).reshape(len(arms), len(x), len(read)), 2, 0):  # arm size
        there = np.isfinite(losses).all(axis=0)
        weights = contrasts(x[there])
        found.append(weights @ losses[:, there].T)
        degrees = max(degrees, len(weights))
    return np.concatenate(found), degrees
