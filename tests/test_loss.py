"""The loss over the vocabulary, at once and in chunks."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.ladder import llama
from scaling.models import model as models
from scaling.models.loss import cross_entropy, objective, token_losses

QUICK = {"xla_backend_optimization_level": 0}  # programs that run once
B, T, D, V = 3, 12, 5, 17
ONE_POSITION = B * V  # logits of one position of every sequence


def inputs(dtype="float32"):
    rng = np.random.default_rng(0)
    x, w, b = (jnp.asarray(rng.normal(size=shape), dtype) for shape in ((B, T, D), (V, D), (V,)))
    return x, w, b, jnp.asarray(rng.integers(0, V, (B, T)), jnp.int32)


def plain(x, w, b, targets, softcap=0.0):
    """Losses and log Z, gradients by JAX."""
    logits = x @ w.T if b is None else x @ w.T + b
    logits = softcap * jnp.tanh(logits / softcap) if softcap else logits
    at_target = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
    log_total = jax.nn.logsumexp(logits, -1)
    return log_total - at_target, log_total


def value_and_gradients(function, x, w, b, targets, wrap=lambda f: f):
    """Of a sum in which every token counts differently, and the square of its log Z too."""
    count = 1 + jnp.arange(B * T, dtype=jnp.float32).reshape(B, T) / 10

    def total(x, w, b):
        losses, log_total = function(x, w, b, targets)
        return (losses * count + 0.3 * (log_total * count) ** 2).sum(), (losses, log_total)

    (_, values), grads = jax.jit(wrap(jax.value_and_grad(total, (0, 1, 2), has_aux=True)), compiler_options=QUICK)(
        x, w, b
    )
    return [*values, *(grad for grad in grads if grad is not None)]


def limited(limit, softcap=0.0):
    return lambda *arguments: cross_entropy(*arguments, limit=limit, softcap=softcap)


@pytest.mark.parametrize(("softcap", "biased"), [(0.0, True), (0.0, False), (2.0, True)])
@pytest.mark.parametrize("limit", [10**9, 5 * ONE_POSITION, 1])  # 1, 3 and 12 chunks
def test_the_loss_is_the_plain_one_in_value_and_gradient_however_it_is_cut(limit, softcap, biased):
    x, w, b, targets = inputs()
    given = x, w, b if biased else None, targets
    found = value_and_gradients(limited(limit, softcap), *given)
    for one, two in zip(found, value_and_gradients(functools.partial(plain, softcap=softcap), *given), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("limit", [10**9, ONE_POSITION])
def test_logits_of_thousands_overflow_nowhere(limit):
    x, w, b, targets = inputs()
    found = value_and_gradients(limited(limit), 1000 * x, w, b, targets)
    for one, two in zip(found, value_and_gradients(plain, 1000 * x, w, b, targets), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1)  # of gradients of 1e7


@pytest.mark.parametrize("limit", [10**9, ONE_POSITION])
def test_the_loss_of_a_pack_is_that_of_its_runs(limit):
    x, w, b, targets = inputs()
    pack = jnp.stack([x, 2 * x]), jnp.stack([w, -w]), jnp.stack([b, b])
    found = value_and_gradients(limited(limit), *pack, targets, wrap=jax.vmap)
    for one, two in zip(found, value_and_gradients(plain, *pack, targets, wrap=jax.vmap), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-5, atol=5e-4)


@pytest.mark.parametrize("limit", [10**9, ONE_POSITION])
def test_a_bfloat16_model_has_a_float32_loss(limit):
    exact = value_and_gradients(plain, *inputs())
    found = value_and_gradients(limited(limit), *inputs("bfloat16"))
    assert [leaf.dtype for leaf in found] == ["float32", "float32", "bfloat16", "bfloat16", "bfloat16"]
    for one, two in zip(found, exact, strict=True):
        np.testing.assert_allclose(one.astype(jnp.float32), two, rtol=0.1, atol=0.05 * float(jnp.abs(two).max()))


def test_no_more_logits_than_the_limit_exist_at_a_time():
    """In the compiled program, whose largest arrays are otherwise far smaller than all logits."""
    x, w, b, targets = inputs()
    whole, cut = (
        jax.jit(jax.grad(lambda x, n=n: cross_entropy(x, w, b, targets, limit=n)[0].sum()), compiler_options=QUICK)
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


def test_training_lowers_the_z_loss_too_and_the_loss_that_is_told_is_without_it():
    """Wortsman et al. (2023) section 3.1: a coefficient times the mean of log^2 Z."""
    plain, with_z = (llama(8, 1, d_head=4, n_vocab=V, n_ctx=T, z_loss=z) for z in (0.0, 0.25))
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, V, (B, T + 1)), jnp.int32)
    params = jax.jit(functools.partial(models.init, plain), compiler_options=QUICK)(jax.random.key(0))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def found(params):
        logits = models.apply(plain, params, tokens[:, :-1])
        z = (jax.nn.logsumexp(logits, -1) ** 2).mean()
        told = [token_losses(model, params, tokens).mean() for model in (plain, with_z)]
        return z, told, objective(plain, params, tokens), objective(with_z, params, tokens)

    z, told, without, beside = found(params)
    assert float(without[0]) == float(without[1]) == float(beside[1]) == float(told[0]) == float(told[1])
    assert float(beside[0] - beside[1]) == pytest.approx(0.25 * float(z), rel=1e-5)
