"""What the most of a table's rows say of the loss of each: a surface that a few wrong rows do not bend."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST = 8  # rows
LOOKED_AT = 256  # rows that choose among the surfaces
EXPONENTS = (0.1, 0.2, 0.35, 0.5)  # of N and of D, or of C: near enough to any table's for a look at its rows
DRAWS = 100  # of as few rows as make a surface; a third of the rows may be wrong
SMALLEST = 0.003  # scatter, relative: below it seeds differ
LARGEST = 0.05  # above it the rows follow no surface that would tell one that does not


class Surface(NamedTuple):
    """L = E + A x_1^-a + B x_2^-a, and the scatter of ln(loss) of the most rows about it."""

    exponent: float
    constants: Array
    scatter: float

    def __call__(self, *inputs: Array) -> Array:
        """Losses; NaN where the surface falls to 0."""
        loss = _features(inputs, self.exponent) @ self.constants
        return np.where(loss > 0, loss, np.nan)


def through(inputs: tuple[Array, ...], loss: Array, levels: tuple[float, ...] = (1.0,)) -> Surface | None:
    """The surface with the smallest median |ln(loss / surface)|, drawn through few rows at a time; None without one.

    Args:
        inputs: columns of positive numbers, (n,) each; rows that lack one do not count.
        loss: (n,).
        levels: times the surface, at the nearest of which a row may lie: of losses in several units.
    """
    usable = np.isfinite(loss) & np.all(np.isfinite(np.stack(inputs)), axis=0)
    inputs, loss = tuple(column[usable] for column in inputs), loss[usable]
    n, k = len(loss), 1 + len(inputs)
    if n < LEAST:
        return None
    rng = np.random.default_rng(0)
    draws = rng.integers(n, size=(DRAWS, k))  # a row drawn twice makes no surface
    some = rng.permutation(n)[:LOOKED_AT]
    best: Surface | None = None
    for exponent in EXPONENTS:
        X = _features(inputs, exponent)
        X_scaled = X / np.abs(X).max(0)
        sets = X_scaled[draws]  # DRAWS k k
        sound = np.abs(np.linalg.det(sets)) > 1e-9
        if not sound.any():
            continue
        c = np.linalg.solve(sets[sound], loss[draws[sound]][..., None])[..., 0]
        c = c[(c[:, 1:] >= 0).all(1)]  # a loss falls with each input
        if not len(c):
            continue
        off, _ = _off(loss[some], c @ X_scaled[some].T, levels)
        chosen = c[np.median(off, axis=1).argmin()]
        near, level = _off(loss, X_scaled @ chosen, levels)
        inside = near <= max(3 * 1.4826 * float(np.median(near)), SMALLEST)
        refined = np.linalg.lstsq(X_scaled[inside], (loss / level)[inside])[0]
        rest, _ = _off(loss, X_scaled @ refined, levels)
        scatter = max(1.4826 * float(np.median(rest)), SMALLEST)
        if best is None or scatter < best.scatter:
            best = Surface(exponent, refined / np.abs(X).max(0), scatter)
    return best if best is not None and best.scatter <= LARGEST else None


def _features(inputs: tuple[Array, ...], exponent: float) -> Array:
    return np.stack([np.ones_like(inputs[0]), *(column**-exponent for column in inputs)], axis=-1)


def _off(loss: Array, surface: Array, levels: tuple[float, ...]) -> tuple[Array, Array]:
    """|ln(loss / surface)| at the nearest level of each row, and that level."""
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(surface > 0, np.log(loss / surface), np.inf)
    each = np.stack([np.abs(off - np.log(level)) for level in levels])
    return each.min(0), np.asarray(levels)[each.argmin(0)]
