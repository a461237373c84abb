"""Model sizes from one rule, and shapes of one size."""

import dataclasses
import math
from collections.abc import Sequence

from scaling.config import ModelConfig
from scaling.errors import InputError
from scaling.kinds.transformer import MATRICES

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


def gpt2(d_model: int, n_layer: int, d_head: int = 16, **fields) -> ModelConfig:
    """The standard shape as GPT-2 has it: learned positions, LayerNorm, GELU, biases, a tied head.

    Radford et al. (2019) section 2.3; Kaplan et al. (2020) section 2.1. `fields` are those of ModelConfig.
    """
    return transformer(d_model, n_layer, d_head, **{"positions": "learned"} | fields)


def llama(d_model: int, n_layer: int, n_kv_head: int | None = None, d_head: int = 16, **fields) -> ModelConfig:
    """As the Llama models have it: rotary positions, RMSNorm, SwiGLU, no biases, a head of its own, grouped queries.

    Touvron et al. (2023), arXiv 2302.13971, section 2.2. d_attn = d_model. d_ff is near 8/3 d_model, more where grouped
    queries leave room, so that N is that of the standard shape, 12 n_layer d_model^2, within TOLERANCE from
    d_model = 14 on. It is a multiple of the largest power of two up to 128 that allows this. `fields` are those of
    ModelConfig.
    """
    own = {"norm": "rms", "feed_forward": "swiglu", "bias": False, "tied": False, "n_kv_head": n_kv_head}
    model = transformer(d_model, n_layer, d_head, **own | fields)
    step = 2 ** max(0, min(7, math.floor(math.log2(8 * TOLERANCE * d_model))))
    ideal = (12 * d_model - 2 * model.d_attn - 2 * model.d_kv) / MATRICES[model.feed_forward]
    return dataclasses.replace(model, d_ff=max(1, round(ideal / step)) * step)


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
    """A Transformer of N non-embedding parameters within TOLERANCE: `n_layer` deep, d_ff near ff_ratio * d_model.

    d_attn = d_model. The width is a multiple of `d_head` (times n_kv_head), the one whose d_ff comes nearest to the
    ratio; d_ff takes up what the steps of the width leave, so that shapes of very different ratios have nearly the
    same N. `fields` are those of ModelConfig.

    Raises:
        InputError: no such shape, for the model would be narrower than a head, or too small for N to be met.
    """

    if min(N, n_layer, ff_ratio, d_head) <= 0:
        raise InputError(f"N={N}, n_layer={n_layer}, ff_ratio={ff_ratio} and d_head={d_head} must all be above 0")

    matrices = MATRICES[fields.get("feed_forward", ModelConfig.feed_forward)]
    n_kv_head = fields.get("n_kv_head")

    def ff(width: int) -> int:
        """N = d_model n_layer (2 d_attn + 2 d_kv + matrices d_ff)."""
        d_kv = width if n_kv_head is None else n_kv_head * d_head
        return round((N / (n_layer * width) - 2 * width - 2 * d_kv) / matrices)

    widest = int((N / (2 * n_layer)) ** 0.5) // d_head * d_head
    each = d_head * (n_kv_head or 1)
    widths = [width for width in range(each, widest + 1, each) if ff(width) > 0]
    if not widths:
        raise InputError(f"{N} parameters in {n_layer} layers are narrower than a head of {d_head}; use fewer layers")
    d_model = min(widths, key=lambda width: abs(math.log(ff(width) / (ff_ratio * width))))
    model = ModelConfig(d_model, n_layer, d_model // d_head, d_model, ff(d_model), **fields)
    if abs(model.N / N - 1) > TOLERANCE:
        raise InputError(f"{N} parameters in {n_layer} layers: the nearest has {model.N}; use fewer layers")
    return model
