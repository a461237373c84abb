"""How initialisation, learning rate, decay and Adam's epsilon follow from width and depth, so that one rate serves all.

`standard` is the project's own: matrices of layers begin with variance 1/fan_in, and one learning rate is for all
weights, whose best value depends on the size. `mup` (Yang et al. 2022, arXiv 2203.03466) and `completep` (Dey et al.
2025, arXiv 2505.01618) change what a rate means, weight by weight, so that the best one stays where it was at a base:
the standard model of width `base_width` and, for completep, of depth `base_depth`. At the base they are the standard
model itself. With m_N = d_model / base_width and m_L = n_layer / base_depth, for Adam, relative to the base:

                      embedding   hidden               gains, biases        readout
    variance          1           1/m_N                -                    1/m_N^2
    learning rate     1           m_L^(a-1) / m_N      m_L^(a-1)            1/m_N
    decay             1           m_N                  1                    m_N
    epsilon           1/m_N       1 / (m_N m_L^a)      1 / (m_N m_L^a)      1

and what a layer adds to the stream is multiplied by m_L^-a. completep has a = 1; mup has no rule of depth, which is
m_L = 1. The decay is multiplied by the learning rate, so that what is left of both is 1. The final norm's gain and bias
lie outside of the layers, and follow the embedding.

The table is about widths whose heads stay as wide as they are, and whose d_ff / d_model and d_attn / d_model are the
base's. It wants a head of its own (`tied=False`): a matrix that is embedding and readout at once has two rules.
"""

from collections.abc import Iterable
from typing import NamedTuple

from scaling.config import ModelConfig
from scaling.sharding import stacked

ALPHA = 1.0  # a of completep
TO_THE_STREAM = ("w_out", "b_out", "w_down", "b_down")  # what a layer adds is linear in these


class Factors(NamedTuple):
    """What a weight's entries are multiplied by, relative to the standard model of the same width and depth."""

    init: float = 1.0  # its first values
    multiplier: float = 1.0  # its values in the model
    rate: float = 1.0
    decay: float = 1.0  # beside the rate's
    epsilon: float = 1.0


def stream_width(model: ModelConfig) -> int:
    """The width whose embedding this model has: its standard deviation, and what tokens and positions are times."""
    return model.d_model if model.parametrization == "standard" else model.base_width


def factors(model: ModelConfig, name: str) -> Factors:
    """Those of one weight. All are 1 in a standard model, and in any at its base."""
    if model.parametrization == "standard":
        return Factors()
    deep = model.parametrization == "completep"
    m_N = model.d_model / model.base_width
    m_L = model.n_layer / model.base_depth if deep else 1.0
    branch = m_L**-ALPHA
    part = kind(name)
    if part == "embedding":
        return Factors(epsilon=1 / m_N)
    if part == "readout":  # it begins as small as the base's embedding, which is the base's readout
        return Factors(init=1 / m_N, rate=1 / m_N, decay=m_N)
    multiplier = branch if name in TO_THE_STREAM else 1.0
    rate = m_L ** (ALPHA - 1)
    if part == "vector":
        return Factors(multiplier=multiplier, rate=rate, epsilon=branch / m_N)
    # Variance 1/fan_in, as the standard model has it, is the base's times 1/m_N.
    return Factors(multiplier=multiplier, rate=rate / m_N, decay=m_N, epsilon=branch / m_N)


def of(model: ModelConfig, names: Iterable[str]) -> dict[str, Factors]:
    """Those of several weights."""
    return {name: factors(model, name) for name in names}


def kind(name: str) -> str:
    """The column of the table that a weight is in: embedding, hidden, vector (gains and biases of layers), readout."""
    if name == "w_head":
        return "readout"
    if not stacked(name):
        return "embedding"
    return "hidden" if name.startswith("w_") else "vector"


def times(factor: float, x):
    """factor * x, and x itself where the factor is 1, so that a standard model's program is left alone."""
    return x if factor == 1 else factor * x
