"""The LSTM, against a float64 one that takes a position at a time as the textbook has it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import ModelConfig
from scaling.ladder import lstm
from scaling.models import model as models
from scaling.models.loss import token_losses
from scaling.models.shared import Params

MODEL = lstm(6, 3, n_vocab=31, n_ctx=7)
TOKENS = np.random.default_rng(0).integers(0, MODEL.n_vocab, (2, MODEL.n_ctx + 1))
QUICK = {"xla_backend_optimization_level": 0}  # programs that run once


@functools.partial(jax.jit, compiler_options=QUICK)
def init(seed: int) -> Params:
    return models.init(MODEL, jax.random.key(seed))


@functools.partial(jax.jit, compiler_options=QUICK)
def apply(params: Params, tokens) -> jax.Array:
    return models.apply(MODEL, params, tokens)


@pytest.fixture(scope="module")
def params() -> Params:
    """Weights none of which is zero or one by construction."""
    rng = np.random.default_rng(2)
    return {name: leaf + 0.3 * rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in init(1).items()}


def norm(x, gain, bias):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * gain + bias


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(model: ModelConfig, params, tokens) -> np.ndarray:
    """Logits b t v in float64, one sequence and position at a time, from the module's docstring alone."""
    w = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    logits = np.zeros((*tokens.shape, model.n_vocab))
    for b, sequence in enumerate(tokens):
        h, c = np.zeros((2, model.n_layer, model.d_model))
        for t, token in enumerate(sequence):
            x = np.sqrt(model.d_model) * w["w_embed"][token]
            for l in range(model.n_layer):
                below = norm(x, w["g_input"][l], w["b_input"][l])
                i, f, g, o = (
                    below @ w["w_input"][l, gate] + h[l] @ w["w_recur"][l, gate] + w["b_gates"][l, gate]
                    for gate in range(4)
                )
                c[l] = sigmoid(f) * c[l] + sigmoid(i) * np.tanh(g)
                h[l] = sigmoid(o) * np.tanh(c[l])
                x = h[l] + (x if l else 0)
            logits[b, t] = norm(x, w["g_final"], w["b_final"]) @ w["w_embed"].T
    return logits


def loss_of(params) -> float:
    logits = reference(MODEL, params, TOKENS[:, :-1])
    top = logits.max(-1, keepdims=True)
    log_z = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    return float((log_z - np.take_along_axis(logits, TOKENS[:, 1:, None], -1)[..., 0]).mean())


def test_every_position_is_that_of_a_float64_step_from_the_textbook(params):
    tokens = TOKENS[:, :-1]
    np.testing.assert_allclose(apply(params, tokens), reference(MODEL, params, tokens), rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_finite_differences_of_the_reference(params):
    def loss(params):
        return token_losses(MODEL, params, jnp.asarray(TOKENS)).mean()

    grads = jax.jit(jax.grad(loss), compiler_options=QUICK)(params)
    rng = np.random.default_rng(3)
    for name, leaf in params.items():
        direction = rng.normal(size=leaf.shape)
        direction /= np.linalg.norm(direction)
        ahead, behind = (loss_of(params | {name: np.asarray(leaf, np.float64) + s * direction}) for s in (1e-4, -1e-4))
        slope = float((np.asarray(grads[name], np.float64) * direction).sum())
        assert slope == pytest.approx((ahead - behind) / 2e-4, rel=2e-3, abs=1e-6), name


def test_it_begins_with_gates_that_remember():
    np.testing.assert_array_equal(init(0)["b_gates"], np.broadcast_to([[[0], [1], [0], [0]]], (3, 4, 6)))


def test_a_shorter_window_gives_the_same_logits_and_the_next_window_begins_anew(params):
    whole = apply(params, TOKENS[:, :6])
    first, second = (apply(params, TOKENS[:, part]) for part in (slice(0, 3), slice(3, 6)))
    np.testing.assert_allclose(first, whole[:, :3], rtol=1e-5, atol=1e-5)
    assert float(jnp.abs(second - whole[:, 3:]).max()) > 1e-2
