"""Model sizes from one rule."""

from collections.abc import Sequence

from scaling.config import ModelConfig
from scaling.errors import InputError


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


def ladder(shapes: Sequence[tuple[int, int]], **fields) -> tuple[ModelConfig, ...]:
    """Standard shapes (d_model, n_layer) in order of N."""
    return tuple(sorted((transformer(d_model, n_layer, **fields) for d_model, n_layer in shapes), key=lambda m: m.N))
