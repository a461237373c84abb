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
    """Of the first and of the second text of each window: the sum over its tokens. i32 b t+1 -> f32 2 b.

    That of the last token alone, as in Stiennon et al. (2020), has a ceiling in narrow models, whose last norm leaves
    it few directions: at N = 384 the best of 64 texts and the best of 16,384 had one score.

    Args:
      how: as of `model.features`.
    """
    found = features(model, params, texts(tokens), **how)
    each = found.x.astype(jnp.float32) @ found.w[0].astype(jnp.float32)  # 2b t/2
    return (each if found.b is None else each + found.b[0].astype(jnp.float32)).sum(-1).reshape(2, -1)


def pair_losses(model: ModelConfig, params: Params, tokens: jax.Array, **how: Any) -> jax.Array:
    """-ln sigmoid(r_1 - r_2), nats per pair: that the first is preferred to the second by Bradley and Terry (1952).

    Of each window, as if each of its tokens had it. i32 b t+1 -> f32 b t.
    """
    first, second = scores(model, params, tokens, **how)
    return jnp.broadcast_to(jax.nn.softplus(second - first)[:, None], (len(tokens), tokens.shape[1] - 1))
