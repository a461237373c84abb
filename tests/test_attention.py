"""Attention's implementations compute one function; the plain one here is their reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models.attention import attend, choose

QUICK = {"xla_backend_optimization_level": 0}  # programs that run once


def plain(q, k, v):
    """As in Vaswani et al. (2017) section 3.2.1, gradients by JAX."""
    t = q.shape[1]
    scores = jnp.einsum("bthk,bshk->bhts", q, k) / np.sqrt(q.shape[-1])
    weights = jax.nn.softmax(jnp.where(np.tri(t, dtype=bool), scores, -jnp.inf))
    return jnp.einsum("bhts,bshk->bthk", weights, v)


def value_and_gradients(function, *arguments):
    """Of a sum in which every element counts differently."""
    shape = arguments[0].shape
    count = jnp.asarray(np.random.default_rng(9).normal(size=shape), jnp.float32)

    def total(*arguments):
        y = function(*arguments)
        return (y.astype(jnp.float32) * count).sum(), y

    (_, y), grads = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True), compiler_options=QUICK)(*arguments)
    return y, *grads


def queries_keys_values(b, t, h, k, dtype="float32", scale=1.0):
    rng = np.random.default_rng(0)
    return [jnp.asarray(scale * rng.normal(size=(b, t, h, k)), dtype) for _ in range(3)]


@pytest.mark.parametrize(("b", "t", "h", "k"), [(2, 7, 3, 5), (1, 1, 1, 1)])
def test_attention_by_hand_is_the_plain_one_in_value_and_gradient(b, t, h, k):
    qkv = queries_keys_values(b, t, h, k)
    for found, wanted in zip(value_and_gradients(attend, *qkv), value_and_gradients(plain, *qkv), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def repeated(attention):
    """Each head of keys and values written out for every head of queries that it serves."""

    def each(q, k, v):
        return attention(q, *(jnp.repeat(x, q.shape[2] // x.shape[2], 2) for x in (k, v)))

    return each


@pytest.mark.parametrize("n_kv_head", [1, 2])
def test_heads_that_share_keys_attend_as_if_each_had_a_copy(n_kv_head):
    q, k, v = queries_keys_values(2, 7, 6, 4)
    given = q, k[:, :, :n_kv_head], v[:, :, :n_kv_head]
    for found, wanted in zip(
        value_and_gradients(attend, *given), value_and_gradients(repeated(plain), *given), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-5)


def test_splash_of_heads_that_share_keys_gives_what_xla_gives():
    q, k, v = queries_keys_values(1, 128, 2, 64)
    splash = functools.partial(attend, implementation="splash", interpret=True)
    given = q, k[:, :, :1], v[:, :, :1]
    np.testing.assert_allclose(splash(*given), attend(*given), rtol=2e-4, atol=2e-4)


def test_scores_of_thousands_overflow_nowhere():
    qkv = queries_keys_values(1, 8, 2, 4, scale=60.0)
    for found, wanted in zip(value_and_gradients(attend, *qkv), value_and_gradients(plain, *qkv), strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-2)


def test_attention_of_a_pack_is_that_of_its_runs():
    q, k, v = (jnp.stack([x, 2 * x]) for x in queries_keys_values(2, 6, 2, 4))
    packed = value_and_gradients(jax.vmap(attend), q, k, v)
    for r in (0, 1):
        alone = jax.jit(attend, compiler_options=QUICK)(q[r], k[r], v[r])
        np.testing.assert_allclose(packed[0][r], alone, rtol=1e-5, atol=1e-6)
    for found, wanted in zip(packed, value_and_gradients(jax.vmap(plain), q, k, v), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=5e-6)


def test_bfloat16_attention_is_near_the_float32_one():
    qkv = queries_keys_values(2, 16, 2, 8, "bfloat16")
    exact = value_and_gradients(plain, *(x.astype(jnp.float32) for x in qkv))
    for found, wanted in zip(value_and_gradients(attend, *qkv), exact, strict=True):
        assert found.dtype == jnp.bfloat16
        np.testing.assert_allclose(found.astype(jnp.float32), wanted, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("width", [64, pytest.param(128, marks=pytest.mark.slow)])
def test_splash_of_a_pack_gives_what_xla_gives(width):
    qkv = queries_keys_values(1, 128, 1, width)
    splash = jax.vmap(functools.partial(attend, implementation="splash", interpret=True))
    found = value_and_gradients(lambda *x: splash(*(y[None] for y in x))[0], *qkv)
    for a, b in zip(found, value_and_gradients(attend, *qkv), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("packed", [False, True])
def test_cudnn_gives_what_xla_gives(packed):
    if jax.default_backend() != "gpu":
        pytest.skip("no GPU: cuDNN's attention not tested")
    qkv = queries_keys_values(2, 128, 4, 64, "bfloat16")
    wrap = (lambda f: lambda *x: jax.vmap(f)(*(y[None] for y in x))[0]) if packed else lambda f: f
    found = value_and_gradients(wrap(functools.partial(attend, implementation="cudnn")), *qkv)
    for a, b in zip(found, value_and_gradients(attend, *qkv), strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b.astype(jnp.float32), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("program", "wanted", "because"),
    [
        (("cpu", "float32", 128, 16), "xla", "no flash kernel for cpu"),
        (("gpu", "bfloat16", 1024, 64), "cudnn", "width 64"),
        (("gpu", "float32", 1024, 64), "xla", "not float32"),
        (("gpu", "bfloat16", 1024, 12), "xla", "not 12"),
        (("tpu", "bfloat16", 1024, 128), "splash", "context 1024"),
        (("tpu", "bfloat16", 1000, 128), "xla", "not 1000"),
        (("tpu", "bfloat16", 1024, 48), "xla", "not 48"),
    ],
)
def test_the_choice_is_what_the_shape_allows_and_says_why(program, wanted, because):
    choice = choose(*program)
    assert choice.implementation == wanted
    assert because in choice.reason
    assert "\n" not in choice.reason
