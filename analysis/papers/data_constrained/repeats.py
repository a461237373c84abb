"""Runs on repeated tokens beside runs on new ones: what repetition costs, what it is worth, and where it turns.

A trunk is the runs of one size on one set of unique tokens; losses in nats per token, N as `params` counts it. The
column `_pool` is the tokens of the set that a run is drawn from, of which a run of less than an epoch sees a part: two
runs that see as many unique tokens may be drawn from two sets.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from analysis.laws.admission import ONE_EPOCH
from analysis.papers.claim import Undecided
from analysis.table import Table

Array = NDArray[np.float64]

SAME = 1e-6  # relative: two numbers of tokens that are one


def new(runs: Table) -> NDArray[np.bool_]:
    """Which runs see no token twice."""
    return ~(runs["tokens"] > ONE_EPOCH * runs["unique_tokens"])


def on_set(runs: Table, N: float, U: float) -> NDArray[np.intp]:
    """The rows of a size on U unique tokens: of a length that runs on this very set have, those alone."""
    own = np.flatnonzero((runs["params"] == N) & (runs["unique_tokens"] == U))
    tokens, same = runs["tokens"][own], runs["_pool"][own] == U
    return own[same | ~np.isin(tokens, tokens[same])]


def trunks(runs: Table) -> Iterator[NDArray[np.intp]]:
    """The rows of each size on each set of unique tokens that has repeats, from fewest epochs to most."""
    more = ~new(runs)
    for N, U in sorted(set(zip(runs["params"][more], runs["unique_tokens"][more], strict=True))):
        own = on_set(runs, N, U)
        _, first = np.unique(runs["tokens"][own], return_index=True)  # of two runs of one length one
        yield own[first]


def numbered(runs: Table) -> Table:
    """The runs with the number of their `trunk`; each that repeats nothing has one of its own."""
    number, first = np.zeros(len(runs)), int(new(runs).sum())
    number[new(runs)] = np.arange(first)
    for k, own in enumerate(trunks(runs)):
        number[own[~new(runs)[own]]] = first + k
    return runs.with_columns(trunk=number)


def returns(runs: Table) -> Table:
    """The runs that repeat tokens, each beside what as many new ones give the same size.

    Between the lengths of the runs on new tokens ln loss follows a cubic in ln D without bumps (PCHIP).

    Returns:
        Columns run, params, unique_tokens, tokens, epochs, loss; fresh_loss, of as many new tokens; excess, the loss
        over it less 1; worth, the new tokens that give the same loss, in U. NaN beyond the runs on new tokens.

    Raises:
        Undecided: no size has both.
    """
    fresh, rows = new(runs), []
    for N in np.unique(runs["params"]):
        own = runs["params"] == N
        D, ln_loss = _means(runs["tokens"][own & fresh], np.log(runs["loss"][own & fresh]))
        if len(D) < 2:
            continue
        curve = PchipInterpolator(np.log(D), ln_loss, extrapolate=False)
        fine = np.linspace(np.log(D[0]), np.log(D[-1]), 2000)
        # The lowest so far: where noise lets the curve rise, the first tokens that gave a loss are its price.
        falling = np.minimum.accumulate(curve(fine))
        for i in np.flatnonzero(own & ~fresh):
            tokens, U, loss = (float(runs[name][i]) for name in ("tokens", "unique_tokens", "loss"))
            inside = tokens <= D[-1] * (1 + SAME)
            there = float(np.exp(curve(min(np.log(tokens), np.log(D[-1]))))) if inside else np.nan
            reached = falling[-1] <= np.log(loss) <= falling[0]
            x = float(np.interp(-np.log(loss), -falling, fine)) if reached else np.nan
            rows.append({"run": str(runs["run"][i]), "params": float(N), "unique_tokens": U, "tokens": tokens,
                         "epochs": tokens / U, "loss": loss, "fresh_loss": there, "excess": loss / there - 1,
                         "worth": float(np.exp(x)) / U})  # fmt: skip
    if not rows:
        raise Undecided("no size was trained on new tokens and on repeated ones")
    return Table.from_columns({name: np.array([row[name] for row in rows]) for name in rows[0]})


def _means(D: Array, ln_loss: Array) -> tuple[Array, Array]:
    """Each D once, rising, and the mean there."""
    at = np.unique(D)
    return at, np.array([ln_loss[at_D].mean() for at_D in (at[:, None] == D)])


def turns(runs: Table) -> Table:
    """Where the loss of each trunk is lowest over its epochs.

    Returns:
        Columns params, unique_tokens; epochs and loss at the lowest, by a parabola in ln epochs through the lowest run
        and its neighbours; last, the epochs of the longest run; risen, its loss over the lowest run's, less 1; turned,
        1 where the lowest lies between others.

    Raises:
        Undecided: no trunk has repeats.
    """
    rows = []
    for own in trunks(runs):
        epochs, loss = runs["tokens"][own] / runs["unique_tokens"][own], runs["loss"][own]
        k = int(np.argmin(loss))
        inside = 0 < k < len(own) - 1
        x, low = float(np.log(epochs[k])), float(loss[k])
        if inside:
            a, b, c = np.polyfit(np.log(epochs[k - 1 : k + 2]), np.log(loss[k - 1 : k + 2]), 2)
            x, low = -b / (2 * a), float(np.exp(c - b * b / (4 * a)))
        rows.append({"params": float(runs["params"][own[0]]), "unique_tokens": float(runs["unique_tokens"][own[0]]),
                     "epochs": float(np.exp(x)), "loss": low, "last": float(epochs[-1]),
                     "risen": float(loss[-1] / loss[k] - 1), "turned": float(inside)})  # fmt: skip
    if not rows:
        raise Undecided("no run repeats its tokens")
    return Table.from_columns({name: np.array([row[name] for row in rows]) for name in rows[0]})
