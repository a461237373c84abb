"""The loss of each token: cross-entropy of the next one."""

import jax
import jax.numpy as jnp
import optax

from scaling.config import ModelConfig
from scaling.models import transformer
from scaling.models.transformer import Params


def token_losses(
    model: ModelConfig, params: Params, tokens: jax.Array, *, dtype="float32", dropout_key: jax.Array | None = None
) -> jax.Array:
    """Cross-entropy of each next token, nats. tokens: i32 b t+1 -> f32 b t."""
    logits = transformer.apply(model, params, tokens[:, :-1], dtype=dtype, dropout_key=dropout_key)
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), tokens[:, 1:])
