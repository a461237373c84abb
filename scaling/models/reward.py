"""The Transformer that scores texts."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from scaling.models import transformer


class Reward(transformer.Transformer):
    """As its parent, but for the logits: their matrix is the vector of the scores, one row."""

    def _readout(self, w_embed: jax.Array) -> jax.Array:
        """Zero at the start, so that no text is preferred and the loss is ln 2."""
        return self.param("w_score", nn.initializers.zeros, (1, self.model.d_model), jnp.float32)


init = functools.partial(transformer.init, network=Reward)
features = functools.partial(transformer.features, network=Reward)
attention = transformer.attention
