"""What the kinds of model share: tokens in, logits out, dropout, and how a folded matrix meets the activations.

Embeddings are normal with standard deviation 0.02, or 2/d in models wider than 100, since the first logit of the token
just read is d times it; so the first loss is ln n_vocab. Tokens enter the model times sqrt(d_model) (Vaswani et al.
2017, section 3.4), which keeps them audible in it. The logits' matrix is the embedding, or, with model.tied=false, one
of its own that begins as the embedding does. Under another parametrisation than the standard one d is that of its base.
"""

import math
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from scaling.config import ModelConfig
from scaling.models.pieces import NORMS, fold
from scaling.parametrization import stream_width
from scaling.sharding import gathered, whole_rows

Params = dict[str, jax.Array]
Remat = Literal["none", "matmuls", "layers", "offload"]
EMBED_STD = 0.02


class Features(NamedTuple):
    """What the logits x w^T + b are made from, and what training lowers beside their loss."""

    x: jax.Array  # b t d
    w: jax.Array  # v d
    b: jax.Array | None  # v
    aux: jax.Array | None = None  # scalar: of a router, say, already times its coefficient


def embedding(module: nn.Module, model: ModelConfig) -> jax.Array:
    """Declares the tokens' embedding, v d."""
    return _table(module, "w_embed", model)


def readout(module: nn.Module, model: ModelConfig, w_embed: jax.Array) -> jax.Array:
    """The logits' matrix, v d: the embedding, or one that it declares."""
    return w_embed if model.tied else _table(module, "w_head", model)


def _table(module: nn.Module, name: str, model: ModelConfig) -> jax.Array:
    return module.param(name, nn.initializers.normal(embed_std(model)), (model.n_vocab, model.d_model), jnp.float32)


def embed_std(model: ModelConfig) -> float:
    """The standard deviation that the embedding begins with."""
    return min(EMBED_STD, 2 / stream_width(model))


def token_scale(model: ModelConfig) -> float:
    """What tokens are multiplied by as they enter the model."""
    return math.sqrt(stream_width(model))


def look_up(scale: float, w_embed: jax.Array, tokens: jax.Array, dtype: jnp.dtype, mesh: Mesh | None) -> jax.Array:
    """What tokens are in the model. w_embed: v d, tokens: i32 b t -> b t d."""
    return scale * jnp.take(whole_rows(w_embed.astype(dtype), mesh), tokens, axis=0)


def head(
    x: jax.Array, gain: jax.Array, bias: jax.Array | None, w_head: jax.Array, mesh: Mesh | None, norm: str = "layer"
) -> Features:
    """The last norm, and the logits. x: b t d, w_head: v d."""
    w, b = folded(gain, bias, w_head.T, None, x.dtype, mesh)
    return Features(NORMS[norm](x), w.T, b)


def folded(
    gain: jax.Array, bias: jax.Array | None, w: jax.Array, b: jax.Array | None, dtype: jnp.dtype, mesh: Mesh | None
) -> tuple[jax.Array, jax.Array | None]:
    """`fold` in float32, then rounded."""
    w, b = fold(gain, bias, w, b)
    return gathered(w.astype(dtype), 0, mesh), None if b is None else b.astype(dtype)


def drop(x: jax.Array, rate: float, key: jax.Array | None, *path: int | jax.Array) -> jax.Array:
    """Our own dropout: on or off is part of the program, since Flax's refuses a traced rate.

    Args:
      path: numbers that no other mask of the program has.
    """
    if key is None or not rate:
        return x
    for index in path:
        key = jax.random.fold_in(key, index)
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)
