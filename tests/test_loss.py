"""The loss over the vocabulary, at once and in chunks."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.models.loss import cross_entropy

QUICK = {"xla_backend_optimization_level": 0}  # programs that run once
B, T, D, V = 3, 12, 5, 17
ONE_POSITION = B * V  # logits of one position of every sequence


def inputs(dtype="float32"):
    rng = np.random.default_rng(0)
    x, w, b = (jnp.asarray(rng.normal(size=shape), dtype) for shape in ((B, T, D), (V, D), (V,)))
    return x, w, b, jnp.asarray(rng.integers(0, V, (B, T)), jnp.int32)


def plain(x, w, b, targets):
    return -jnp.take_along_axis(jax.nn.log_softmax(x @ w.T + b), targets[..., None], -1)[..., 0]


def value_and_gradients(function, x, w, b, targets, wrap=lambda f: f):
    """Of a sum in which every token counts differently."""
    count = 1 + jnp.arange(B * T, dtype=jnp.float32).reshape(B, T) / 10

    def total(x, w, b):
        losses = function(x, w, b, targets)
        return (losses * count).sum(), losses

    (_, losses), grads = jax.jit(wrap(jax.value_and_grad(total, (0, 1, 2), has_aux=True)), compiler_options=QUICK)(
        x, w, b
    )
    return losses, *grads


def limited(limit):
    return lambda *arguments: cross_entropy(*arguments, limit=limit)


@pytest.mark.parametrize("limit", [10**9, 5 * ONE_POSITION, 1])  # 1, 3 and 12 chunks
def test_the_loss_is_the_plain_one_in_value_and_gradient_however_it_is_cut(limit):
    found = value_and_gradients(limited(limit), *inputs())
    for one, two in zip(found, value_and_gradients(plain, *inputs()), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("limit", [10**9, ONE_POSITION])
def test_logits_of_thousands_overflow_nowhere(limit):
    x, w, b, targets = inputs()
    found = value_and_gradients(limited(limit), 1000 * x, w, b, targets)
    for one, two in zip(found, value_and_gradients(plain, 1000 * x, w, b, targets), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("limit", [10**9, ONE_POSITION])
def test_the_loss_of_a_pack_is_that_of_its_runs(limit):
    x, w, b, targets = inputs()
    pack = jnp.stack([x, 2 * x]), jnp.stack([w, -w]), jnp.stack([b, b])
    found = value_and_gradients(limited(limit), *pack, targets, wrap=jax.vmap)
    for one, two in zip(found, value_and_gradients(plain, *pack, targets, wrap=jax.vmap), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-5, atol=5e-5)


@pytest.mark.parametrize("limit", [10**9, ONE_POSITION])
def test_a_bfloat16_model_has_a_float32_loss(limit):
    exact = value_and_gradients(plain, *inputs())
    found = value_and_gradients(limited(limit), *inputs("bfloat16"))
    assert [leaf.dtype for leaf in found] == ["float32", "bfloat16", "bfloat16", "bfloat16"]
    for one, two in zip(found, exact, strict=True):
        np.testing.assert_allclose(one.astype(jnp.float32), two, rtol=0.1, atol=0.3)


def test_no_more_logits_than_the_limit_exist_at_a_time():
    """In the compiled program, whose largest arrays are otherwise far smaller than all logits."""
    x, w, b, targets = inputs()
    whole, cut = (
        jax.jit(jax.grad(lambda x, n=n: cross_entropy(x, w, b, targets, limit=n).sum()), compiler_options=QUICK)
        .lower(x)
        .compile()
        .as_text()
        or ""
        for n in (10**9, 2 * ONE_POSITION)
    )
    largest = [
        max(np.prod([int(n) for n in shape.split(",")]) for shape in re.findall(r"f32\[([\d,]+)\]", text))
        for text in (whole, cut)
    ]
    assert largest == [B * T * V, max(B * T * D, 2 * ONE_POSITION)]
