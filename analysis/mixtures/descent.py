"""The mixture with the lowest loss, of many problems at once: exponentiated gradients with a bound on each share.

A share is multiplied by exp(-step x its slope), and all are scaled to add up to 1 (Kivinen and Warmuth 1997), those at
their bound left there: the mixture nearest in relative entropy. So a share falls towards 0 without an end, and slopes
that grow without one near 0, as those of powers of a share do, are harmless. Each problem has a step of its own, longer
after a step down and shorter after one up, which is not taken.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Losses = Callable[[Array], Array]  # of mixtures, (problems, m, parts) -> (problems, m)

STEPS = 600
EXACT = 1e-10  # nats per token: steps that bring less, SEVERAL times in turn, are the last
SEVERAL = 20
NEAR = 1e-3  # of a share, for its slope
LEAST, MOST = 1e-12, 5.0  # a share; the logarithm by which one moves in a step
SHORTEST = 1e-12  # a step


def descend(losses: Losses, top: Array, starts: Array) -> tuple[Array, Array]:
    """The lowest that a descent from each start reaches: mixtures (problems, parts), and losses (problems,).

    Args:
        losses: of many mixtures at once, a row for each problem.
        top: largest share of each part, (parts,).
        starts: of each problem, an allowed mixture, (problems, parts).
    """
    top = np.minimum(top, 1.0)
    r = within(np.maximum(starts, LEAST), top)
    value, slope = _slopes(losses, r)
    step, quiet = np.full(len(r), 0.1), np.zeros(len(r), int)
    for _ in range(STEPS):
        centred = slope - (slope * r).sum(1, keepdims=True)
        moved = r * np.exp(np.clip(-step[:, None] * centred, -MOST, MOST))
        tried = within(np.maximum(moved, LEAST), top)
        new, its_slope = _slopes(losses, tried)
        down = new < value
        quiet = np.where(down & (new < value - EXACT), 0, quiet + 1)
        r, slope = (np.where(down[:, None], *both) for both in ((tried, r), (its_slope, slope)))
        value = np.where(down, new, value)
        step = np.maximum(np.where(down, 1.5, 0.3) * step, SHORTEST)
        if (quiet >= SEVERAL).all():
            break
    return np.where(r <= 10 * LEAST, 0.0, r), value


def within(shares: Array, top: Array) -> Array:
    """The mixtures below `top` nearest in relative entropy to these shares, all above 0. (problems, parts)"""
    low = 1 / shares.sum(1, keepdims=True)
    if np.all(low * shares <= top):
        return low * shares
    high = (top / shares).max(1, keepdims=True)  # all at their bounds, which allow some mixture
    for _ in range(60):
        middle = np.sqrt(low * high)
        less = np.minimum(middle * shares, top).sum(1, keepdims=True) < 1
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return np.minimum(high * shares, top)


def _slopes(losses: Losses, r: Array) -> tuple[Array, Array]:
    """Losses (problems,), and their slopes in each share by differences, (problems, parts)."""
    each = np.eye(r.shape[1]) * NEAR
    around = r[:, None] * np.concatenate([np.ones((1, r.shape[1])), 1 + each, 1 - each])
    with np.errstate(all="ignore"):
        found = losses(around)
    higher, lower = np.split(found[:, 1:], 2, 1)
    return found[:, 0], (higher - lower) / (2 * NEAR * r)
