"""Model sizes from one rule, and shapes of one size."""

import math
from collections.abc import Sequence

from scaling.config import ModelConfig
from scaling.errors import InputError

TOLERANCE = 0.01  # of N, among shapes that are to be of one size


def transformer(d_model: int, n_layer: int, d_head: int = 16, **fields) -> ModelConfig:
    """The standard shape: d_attn = d_model, d_ff = 4 d_model, so that N = 12 n_layer d_model^2.

    Heads are `d_head` wide, or as wide as the model where it is narrower. `fields` are those of ModelConfig.
    """
    d_head = min(d_head, d_model)
    if d_model % d_head:
        raise InputError(
            f"d_model={d_model} is not a multiple of d_head={d_head}; the nearest is {-(-d_model // d_head) * d_head}"
        )
    return ModelConfig(d_model, n_layer, d_model // d_head, d_model, 4 * d_model, **fields)


def universal(d_model: int, n_layer: int, reuse: int, d_head: int = 16, **fields) -> ModelConfig:
    """The standard shape, its layers used `reuse` times: N = 12 n_layer d_model^2, C = 6 N reuse per token."""
    return transformer(d_model, n_layer, d_head, kind="universal", reuse=reuse, **fields)


def lstm(d_model: int, n_layer: int, **fields) -> ModelConfig:
    """An LSTM of n_layer layers with d_model cells each: N = 8 n_layer d_model^2, C = 6 N per token.

    It has no heads and no feed-forward. The one value that their fields may have gives N by the Transformer's formula.
    """
    return ModelConfig(d_model, n_layer, 1, d_model, 2 * d_model, kind="lstm", **fields)


def ladder(shapes: Sequence[tuple[int, int]], **fields) -> tuple[ModelConfig, ...]:
    """Standard shapes (d_model, n_layer) in order of N."""
    return tuple(sorted((transformer(d_model, n_layer, **fields) for d_model, n_layer in shapes), key=lambda m: m.N))


def matched(N: int, n_layer: int, *, ff_ratio: float = 4.0, d_head: int = 16, **fields) -> ModelConfig:
    """A shape of N non-embedding parameters within TOLERANCE: `n_layer` deep, d_ff near ff_ratio * d_model.

    d_attn = d_model. The width is a multiple of `d_head`, the one whose d_ff comes nearest to the ratio; d_ff takes up
    what the steps of the width leave, so that shapes of very different ratios have nearly the same N. `fields` are
    those of ModelConfig.

    Raises:
        InputError: no such shape, for the model would be narrower than a head, or too small for N to be met.
    """

    if min(N, n_layer, ff_ratio, d_head) <= 0:
        raise InputError(f"N={N}, n_layer={n_layer}, ff_ratio={ff_ratio} and d_head={d_head} must all be above 0")

    def ff(width: int) -> int:
        return round(N / (2 * n_layer * width)) - 2 * width  # N = 2 d_model n_layer (2 d_attn + d_ff)

    widest = int((N / (4 * n_layer)) ** 0.5) // d_head * d_head
    widths = [width for width in range(d_head, widest + 1, d_head) if ff(width) > 0]
    if not widths:
        raise InputError(f"{N} parameters in {n_layer} layers are narrower than a head of {d_head}; use fewer layers")
    d_model = min(widths, key=lambda width: abs(math.log(ff(width) / (ff_ratio * width))))
    model = ModelConfig(d_model, n_layer, d_model // d_head, d_model, ff(d_model), **fields)
    if abs(model.N / N - 1) > TOLERANCE:
        raise InputError(f"{N} parameters in {n_layer} layers: the nearest has {model.N}; use fewer layers")
    return model
