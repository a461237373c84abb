"""The loss of a pair of texts, and the scores that it is made of."""

from typing import Any

import jax
import jax.numpy as jnp

from scaling.config import ModelConfig
from scaling.models.model import features
from scaling.models.shared import Params


def texts(tokens: jax.Array) -> jax.Array:
    """The two texts of each window, each after the separator that begins it. i32 b t+1 -> 2b t/2, all first ones first.

    A window is a separator, a text, a mark, a text as long, and a separator. What tells the place of a text in its pair
    is not read: a score is a function of the text alone.
    """
    n = (tokens.shape[1] - 1) // 2
    first, second = tokens[:, :n], tokens[:, n : 2 * n]
    return jnp.concatenate([first, jnp.concatenate([tokens[:, :1], second[:, 1:]], 1)])


def scores(model: ModelConfig, params: Params, tokens: jax.Array, **how: Any) -> jax.Array:
    """Of the first and of the second text of each window. i32 b t+1 -> f32 2 b.

    Args:
      how: as of `model.features`.
    """
    found = features(model, params, texts(tokens), **how)
    last = found.x[:, -1].astype(jnp.float32) @ found.w[0].astype(jnp.float32)
    return (last if found.b is None else last + found.b[0].astype(jnp.float32)).reshape(2, -1)


def pair_losses(model: ModelConfig, params: Params, tokens: jax.Array, **how: Any) -> jax.Array:
    """-ln sigmoid(r_1 - r_2), nats per pair: that the first is preferred to the second by Bradley and Terry (1952).

    Of each window, as if each of its tokens had it. i32 b t+1 -> f32 b t.
    """
    first, second = scores(model, params, tokens, **how)
    return jnp.broadcast_to(jax.nn.softplus(second - first)[:, None], (len(tokens), tokens.shape[1] - 1))
