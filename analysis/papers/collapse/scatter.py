"""How far losses differ from chain to chain: pooled over cells, but for those that scatter more than the rest.

A cell is one generation of one way at one temperature, or the runs on real text. Two chains give it one degree of
freedom, so that cells are pooled; but noise that a chain feeds on itself is not that of the others, and pooled with it
neither would have its own interval.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis.confidence import half_width

Array = NDArray[np.float64]
Key = tuple[str, float, int]  # way, temperature, generation

REAL: Key = ("real", 1.0, 1)  # runs on real text, first generations included

UNLIKELY = 0.05  # that any of the cells would stand out so far if all scattered alike


@dataclasses.dataclass(frozen=True)
class Cell:
    """Scatter of ln L: the standard deviation of one chain, and its degrees of freedom."""

    sigma: float
    degrees: int

    @property
    def squares(self) -> float:
        return self.sigma**2 * self.degrees


@dataclasses.dataclass(frozen=True)
class Scatter:
    """That of all cells.

    Attributes:
        pooled: of the cells that scatter alike, and of every cell that is not known by itself.
        apart: cells that scatter more, each by its own chains.
    """

    pooled: Cell
    apart: Mapping[Key, Cell]

    def half(self, *means: tuple[Key, int]) -> float:
        """Half-width of the interval of a sum or difference of means: (cell, chains) of each."""
        pooled, variances, degrees = 0.0, [], []
        for key, n in means:
            if (own := self.apart.get(key)) is None:
                pooled += self.pooled.sigma**2 / n
            else:
                variances.append(own.sigma**2 / n)
                degrees.append(own.degrees)
        return half_width([pooled, *variances], [self.pooled.degrees, *degrees])

    def moved(self, keys: Sequence[Key], n: int, draws: int) -> Array:
        """How far the means of n chains may be off, (draw, cell): Student's t, of one scatter in all pooled cells."""
        rng = np.random.default_rng(0)

        def scales(cell: Cell) -> Array:
            return cell.sigma * np.sqrt(cell.degrees / rng.chisquare(cell.degrees, (draws, 1)))

        alike = scales(self.pooled)
        sigma = np.hstack([scales(self.apart[key]) if key in self.apart else alike for key in keys])
        return rng.standard_normal((draws, len(keys))) * sigma / math.sqrt(n)


def of_cells(cells: Mapping[Key, Cell]) -> Scatter | None:
    """The cells pooled, but for those that scatter more than the rest; None where there is no cell.

    The largest of them stands apart where the F test of it against the rest says so at `UNLIKELY` over the number of
    cells, and so on with those that are left.
    """
    left, apart = dict(cells), {}
    while len(left) > 1:
        key = max(left, key=lambda key: left[key].sigma)
        one, rest = left[key], _pool([cell for other, cell in left.items() if other != key])
        larger = (one.sigma / rest.sigma) ** 2 if rest.sigma else 0.0
        if special.fdtrc(one.degrees, rest.degrees, larger) * len(cells) >= UNLIKELY:
            break
        apart[key] = left.pop(key)
    return Scatter(_pool(list(left.values())), apart) if left else None


def _pool(cells: Sequence[Cell]) -> Cell:
    degrees = sum(cell.degrees for cell in cells)
    return Cell(math.sqrt(sum(cell.squares for cell in cells) / degrees), degrees)
