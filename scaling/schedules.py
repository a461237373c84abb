"""The schedules of the learning rate: what is left of its peak after the warm-up, on NumPy and JAX arrays alike.

A cosine and a straight line fall from the end of the warm-up on, to zero or to a share of the peak (`ending`).
Of warm-up, stable, decay (wsd) the rate
stays at its peak and falls in a cooldown as 1 - sqrt of the share of it that is over: Haegele et al. (2024), arXiv
2405.18392.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Array = Any  # of NumPy or of JAX

# By name: from the share of the fall that is over, and the array module, to the share of the peak.
FALLS: Mapping[str, Callable[[Array, Any], Array]] = {
    "constant": lambda over, xp: xp.ones_like(over),
    "cosine": lambda over, xp: 0.5 * (1 + xp.cos(xp.pi * over)),
    "linear": lambda over, xp: 1 - over,
    "wsd": lambda over, xp: 1 - xp.sqrt(over),
}
NAMES = tuple(FALLS)  # a schedule's number is its place here


def rise(step: Array, warmup: Array, xp: Any) -> Array:
    """The share of the peak that the warm-up allows at update `step`, from 0."""
    return xp.minimum(1.0, (step + 1) / xp.maximum(warmup, 1))


def over(step: Array, steps: Array, falling: Array, xp: Any) -> Array:
    """The share of the fall, the last `falling` of `steps` updates, that is over before update `step`."""
    return xp.clip((step - (steps - falling)) / xp.maximum(falling, 1), 0, 1)


def ending(left: Array, end: Array) -> Array:
    """What is `left` of the peak in a fall to zero, of the same fall to the share `end` of it."""
    return end + (1 - end) * left


def shape(name: str, steps: int, warmup: int, falling: int, end: float = 0.0) -> np.ndarray:
    """The share of the peak at every update of a run, the first to the last. (steps,)"""
    step = np.arange(steps)
    return rise(step, warmup, np) * ending(FALLS[name](over(step, steps, falling, np), np), end)
