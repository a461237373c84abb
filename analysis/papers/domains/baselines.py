"""What pixels cost without a Transformer: counted in the training pictures, measured on the test pictures."""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from scaling.data.images import ImageCorpus, parse
from scaling.errors import InputError

Array = NDArray[np.float64]
PRIOR = 0.5  # of every level in every context, beside what was counted


@dataclasses.dataclass(frozen=True)
class Baselines:
    """Nats per pixel of three models that have no weights.

    Attributes:
        unigram: by how frequent a level is.
        position: by how frequent it is at each pixel.
        left_up: by the pixels at the left and above; one beyond the edge is a level of its own.
        by_pixel: of left_up, (row, column).
    """

    unigram: float
    position: float
    left_up: float
    by_pixel: Array

    @classmethod
    def of(cls, train: NDArray[np.uint8], test: NDArray[np.uint8], levels: int) -> "Baselines":
        """Pictures as levels, (picture, row, column)."""
        side = train.shape[1]
        everywhere, pixel = np.zeros((1, 1), np.int64), np.arange(side * side).reshape(side, side)

        def cost(of_train: NDArray[np.int64], of_test: NDArray[np.int64]) -> Array:
            return _cost(train, test, of_train, of_test, levels)

        by_pixel = cost(left_up(train, levels), left_up(test, levels)).mean(0)
        return cls(
            float(cost(everywhere, everywhere).mean()),
            float(cost(pixel, pixel).mean()),
            float(by_pixel.mean()),
            by_pixel,
        )

    @classmethod
    def read(cls, source: str) -> "Baselines":
        """Of a set of pictures.

        Raises:
            InputError: it is not on this machine, or has no test part.
        """
        asked = parse(source)
        if asked.part != "train":
            raise InputError(f"{source}: wanted the part that is trained on")
        test = ImageCorpus.of(f"{source}{'&' if '?' in source else '?'}part=test")
        return cls.of(ImageCorpus.of(source).pixels(), test.pixels(), asked.levels)


def left_up(pixels: NDArray[np.uint8], levels: int) -> NDArray[np.int64]:
    """The number of each pixel's context: its left neighbour times (levels + 1), and the one above."""
    left = np.full(pixels.shape, levels, np.int64)
    up = left.copy()
    left[:, :, 1:], up[:, 1:] = pixels[:, :, :-1], pixels[:, :-1]
    return left * (levels + 1) + up


def _cost(
    train: NDArray[np.uint8],
    test: NDArray[np.uint8],
    of_train: NDArray[np.int64],
    of_test: NDArray[np.int64],
    levels: int,
) -> Array:
    """-ln p of each test pixel, by how often its level follows its context in the training pictures.

    Args:
        of_train, of_test: the number of each pixel's context, of the shape of the pictures or one that broadcasts.
    """
    n = int(max(of_train.max(), of_test.max())) + 1
    counts = np.bincount((of_train * levels + train).ravel(), minlength=n * levels).reshape(n, levels) + PRIOR
    return -np.log(counts / counts.sum(1, keepdims=True))[np.broadcast_to(of_test, test.shape), test]


def entropy(values: NDArray[np.uint8]) -> float:
    """Nats, of how often each value is there."""
    p = np.bincount(values.ravel()) / values.size
    return -math.fsum(p[p > 0] * np.log(p[p > 0]))
