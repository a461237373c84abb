"""The face of all models: `init(model, rng) -> params` and `apply(model, params, tokens) -> logits`, by `model.kind`.

Nothing outside this folder knows the module system behind it, or which kinds there are.
"""

from collections.abc import Mapping
from typing import Protocol

import jax
from jax.sharding import Mesh

from scaling.config import ModelConfig
from scaling.models import lstm, transformer, universal
from scaling.models.shared import Features, Params, Remat
from scaling.parametrization import factors, times


class Kind(Protocol):
    """What a module of this folder has that is a kind of model."""

    def init(self, model: ModelConfig, rng: jax.Array, /) -> Params: ...

    def features(
        self,
        model: ModelConfig,
        params: Params,
        tokens: jax.Array,
        /,
        *,
        dtype: str,
        dropout_key: jax.Array | None,
        remat: Remat,
        mesh: Mesh | None,
    ) -> Features: ...


KINDS: Mapping[str, Kind] = {"transformer": transformer, "universal": universal, "lstm": lstm}


def init(model: ModelConfig, rng: jax.Array) -> Params:
    """Float32 parameters, those of the layers stacked (l first)."""
    params = KINDS[model.kind].init(model, rng)
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
    """The (x, w, b) of the logits x w^T + b: b t d, v d and v. Arguments as in `apply`."""
    params = multiplied(model, params)
    how = {"dtype": dtype, "dropout_key": dropout_key, "remat": remat, "mesh": mesh}
    return KINDS[model.kind].features(model, params, tokens, **how)


def stream(model: ModelConfig, params: Params, tokens: jax.Array) -> jax.Array:
    """A Transformer's stream as it enters the layers and after each of them. tokens: i32 b t -> l+1 b t d."""
    assert model.kind == "transformer"
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
      dtype: of the computation. LayerNorm and softmax compute in float32.
      dropout_key: dropout is off without it.
      remat: what the backward pass computes again instead of finding it in memory: nothing; all but the "matmuls",
        whose results are kept (about 10 d_model values per position and layer with d_attn = d_model and
        d_ff = 4 d_model); or whole "layers", of which the input is kept.
      mesh: over which the program is partitioned.
    """
    x, w, b = features(model, params, tokens, dtype=dtype, dropout_key=dropout_key, remat=remat, mesh=mesh)
    return x @ w.T + b


def attention(model: ModelConfig, dtype: str, backend: str) -> str:
    """Which attention a program of this model uses on a backend ("cpu", "gpu", "tpu"), and why, in one line."""
    return "none" if model.kind == "lstm" else transformer.attention(model, dtype, backend).reason
