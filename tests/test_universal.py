"""The recurrent Transformer, against the Transformer that it is when nothing, or every turn, is written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import ModelConfig
from scaling.ladder import transformer, universal
from scaling.models import model as models
from scaling.models.loss import token_losses
from scaling.models.shared import Params

FIELDS = {"d_head": 4, "n_vocab": 32, "n_ctx": 10, "dropout": 0.2}
PLAIN = transformer(8, 2, **FIELDS)
TOKENS = np.random.default_rng(0).integers(0, 32, (3, 11))
QUICK = {"xla_backend_optimization_level": 0}  # programs that run once
LAYERED = ("attn", "qkv", "out", "ff", "up", "down")


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def init(model: ModelConfig) -> Params:
    return models.init(model, jax.random.key(1))


def noisy(model: ModelConfig) -> Params:
    params = init(model)
    rng = np.random.default_rng(2)
    return {name: leaf + 0.3 * rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in params.items()}


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def loss_and_gradients(model: ModelConfig, params: Params, key=None):
    return jax.value_and_grad(lambda params: token_losses(model, params, jnp.asarray(TOKENS), dropout_key=key).mean())(
        params
    )


def test_reuse_1_is_the_transformer_bit_for_bit():
    once = universal(8, 2, reuse=1, **FIELDS)
    params, key = noisy(PLAIN), jax.random.key(5)
    jax.tree.map(np.testing.assert_array_equal, noisy(once), params)
    jax.tree.map(
        np.testing.assert_array_equal, loss_and_gradients(once, params, key), loss_and_gradients(PLAIN, params, key)
    )


def test_layers_used_again_are_a_deeper_transformer_whose_weights_are_tied():
    """Its masks too are those of the deeper one: no turn drops what another does."""
    again, deeper = universal(8, 2, reuse=2, **FIELDS), transformer(8, 4, **FIELDS)
    params, key = noisy(again), jax.random.key(5)
    layered = {name for name in params if name.partition("_")[2] in LAYERED}
    assert len(layered) == 12
    written_out = {name: jnp.tile(leaf, (2,) + (1,) * (leaf.ndim - 1)) if name in layered else leaf
                   for name, leaf in params.items()}  # fmt: skip
    loss, grads = loss_and_gradients(again, params, key)
    wanted, parts = loss_and_gradients(deeper, written_out, key)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    for name, grad in grads.items():
        of_all = parts[name].reshape(2, *grad.shape).sum(0) if name in layered else parts[name]
        np.testing.assert_allclose(grad, of_all, rtol=1e-3, atol=1e-6, err_msg=name)
