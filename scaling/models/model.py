"""The face of all models: `init(model, rng) -> params` and `apply(model, params, tokens) -> logits`, by `model.kind`.

Nothing outside this folder knows the module system behind it; which kinds there are stands in scaling.kinds.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from scaling import kinds
from scaling.config import ModelConfig
from scaling.models.shared import Features, Params, Remat
from scaling.parametrization import factors, times


def init(model: ModelConfig, rng: jax.Array) -> Params:
    """Float32 parameters, those of the layers stacked (l first)."""
    params = kinds.of(model).init(model, rng)
    return {name: times(factors(model, name).init, w) for name, w in params.items()}


def features(
    model: ModelConfig,
    params: Params,
    tokens: jax.Array,
    *,
    dtype: str = "float32",
    dropout_key: jax.Array | None = None,
    remat: Remat = "none",
    mesh: Mesh | None = None,
) -> Features:
    """What the logits are made from. Arguments as in `apply`."""
    params = multiplied(model, params)
    how = {"dtype": dtype, "dropout_key": dropout_key, "remat": remat, "mesh": mesh}
    return kinds.of(model).features(model, params, tokens, **how)


def stream(model: ModelConfig, params: Params, tokens: jax.Array) -> jax.Array:
    """A Transformer's stream as it enters the layers and after each of them. tokens: i32 b t -> l+1 b t d."""
    from scaling.models import transformer

    return transformer.stream(model, multiplied(model, params), tokens)


def multiplied(model: ModelConfig, params: Params) -> Params:
    """Weights as the model uses them, by its parametrisation."""
    return {name: times(factors(model, name).multiplier, w) for name, w in params.items()}


def apply(
    model: ModelConfig,
    params: Params,
    tokens: jax.Array,
    *,
    dtype: str = "float32",
    dropout_key: jax.Array | None = None,
    remat: Remat = "none",
    mesh: Mesh | None = None,
) -> jax.Array:
    """Logits of the next token. tokens: i32 b t, t <= n_ctx -> b t v.

    Args:
      dtype: of the computation. Norms and softmax compute in float32.
      dropout_key: dropout is off without it.
      remat: what the backward pass computes again instead of finding it in memory: nothing; all but the "matmuls",
        whose results are kept (about 10 d_model values per position and layer with d_attn = d_model and
        d_ff = 4 d_model); whole "layers", of which the input is kept; or to "offload" what "matmuls" keeps to the
        host's memory, from which the backward pass fetches it.
      mesh: over which the program is partitioned.
    """
    found = features(model, params, tokens, dtype=dtype, dropout_key=dropout_key, remat=remat, mesh=mesh)
    return _logits(model, found)


def cache(model: ModelConfig, b: int, dtype: str = "float32") -> Any:
    """What `continued` keeps of b texts, of which nothing was read yet: arrays."""
    return kinds.of(model).cache(model, b, dtype)


def continued(
    model: ModelConfig, params: Params, tokens: jax.Array, cache: Any, at: jax.Array | int, *, dtype: str = "float32"
) -> tuple[jax.Array, Any]:
    """Logits after further tokens of texts that were read before, and the cache with them.

    Args:
      tokens: i32 b t, at the positions at, at + 1, ..., the last of which lies within n_ctx; -> b t v.
      cache: of as many texts read up to `at`.
    """
    found, cache = kinds.of(model).continued(model, multiplied(model, params), tokens, cache, at, dtype=dtype)
    return _logits(model, found), cache


def _logits(model: ModelConfig, found: Features) -> jax.Array:
    logits = found.x @ found.w.T
    logits = logits if found.b is None else logits + found.b
    return model.softcap * jnp.tanh(logits / model.softcap) if model.softcap else logits


def attention(model: ModelConfig, dtype: str, backend: str) -> str:
    """Which attention a program of this model uses on a backend ("cpu", "gpu", "tpu"), and why, in one line."""
    return kinds.of(model).attention(model, dtype, backend)
