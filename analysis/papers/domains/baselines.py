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
        ones = np.zeros(train.shape, np.int64), np.zeros(test.shape, np.int64)
        places = (np.broadcast_to(np.arange(side * side).reshape(side, side), x.shape) for x in (train, test))
        context = left_up(train, levels), left_up(test, levels)
        by_pixel = _cost(train, test, *context, levels).mean(0)
        return cls(
            float(_cost(train, test, *ones, levels).mean()),
            float(_cost(train, test, *places, levels).mean()),
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


def _cost(train, test, context, asked, levels: int) -> Array:
    """-ln p of each test pixel, by how often its level follows its context in the training pictures."""
    n = int(context.max(initial=0)) + 1
    n = max(n, int(asked.max(initial=0)) + 1)
    counts = np.bincount((context * levels + train).ravel(), minlength=n * levels).reshape(n, levels) + PRIOR
    return -np.log(counts / counts.sum(1, keepdims=True))[asked, test]


def entropy(values: NDArray[np.uint8]) -> float:
    """Nats, of how often each value is there."""
    p = np.bincount(values.ravel()) / values.size
    return -math.fsum(p[p > 0] * np.log(p[p > 0]))
