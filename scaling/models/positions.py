"""How a Transformer knows where a token stands: four ways, by `model.positions`.

- rotary (Su et al. 2021, arXiv 2104.09864): queries and keys are turned by angles that grow with the position, so that
  their product depends on the distance. Pairs of one head's features turn together; pair i of k/2 by
  position * base^(-2i/k). Nothing is added to the stream and nothing is learned.
- learned (Kaplan et al. 2020 section 2.1): a vector for each position is added to the token's. It begins as small as
  the tokens' embedding and is multiplied like it, by sqrt(d_model), times `position_scale`.
- sinusoidal (Vaswani et al. 2017 section 3.5): the vectors are fixed sines and cosines, with the root mean square that
  tokens begin with, times `position_scale`.
- none: the causal mask alone tells positions apart.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np


def angles(n_ctx: int, width: int, base: float) -> np.ndarray:
    """position * base^(-2i/width) for i = 0, ..., width/2 - 1: f32 t width/2."""
    rates = base ** (-np.arange(0, width, 2) / width)
    return np.outer(np.arange(n_ctx), rates).astype(np.float32)


def rotations(n_ctx: int, d_head: int, base: float) -> tuple[np.ndarray, np.ndarray]:
    """The (cos, sin) that `rotate` takes, f32 t k each; feature i turns together with feature i + k/2."""
    found = angles(n_ctx, d_head, base)
    cos, sin = np.cos(found), np.sin(found)
    return np.concatenate([cos, cos], 1), np.concatenate([-sin, sin], 1)


def rotate(x: jax.Array, cos: jax.Array | np.ndarray, sin: jax.Array | np.ndarray) -> jax.Array:
    """Each head's features turned by their position. x: b t h k, cos, sin: t k -> b t h k."""
    t, width = x.shape[1], x.shape[-1]
    swapped = jnp.concatenate([x[..., width // 2 :], x[..., : width // 2]], -1)
    cos, sin = (jnp.asarray(part[:t], x.dtype)[:, None] for part in (cos, sin))
    return x * cos + swapped * sin


def sinusoids(n_ctx: int, d_model: int, rms: float) -> np.ndarray:
    """Vaswani et al. (2017) section 3.5 with a root mean square of `rms`: f32 t d, sines first."""
    found = angles(n_ctx, d_model + d_model % 2, 10_000.0)
    return math.sqrt(2) * rms * np.concatenate([np.sin(found), np.cos(found)], 1)[:, :d_model].astype(np.float32)
