"""The model, against an independent float64 reference and against what a language model must not do.

A fresh model has layers that add nothing, so most claims are about weights with noise on all of them.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.config import ModelConfig
from scaling.ladder import ladder, llama
from scaling.models import model as models
from scaling.models import transformer
from scaling.models.loss import token_losses
from scaling.models.shared import Params

MODEL = ModelConfig(d_model=12, n_layer=2, n_head=3, d_attn=6, d_ff=20, n_vocab=31, n_ctx=10)
GROUPED = dataclasses.replace(MODEL, n_head=4, d_attn=16, n_kv_head=2)
LLAMA = dataclasses.replace(GROUPED, norm="rms", feed_forward="swiglu", bias=False, tied=False)
FORMS = {
    "as by default": MODEL,
    "gpt2": dataclasses.replace(MODEL, positions="learned", position_scale=0.7),
    "llama": LLAMA,
    "grouped with biases": dataclasses.replace(GROUPED, feed_forward="swiglu", rotary_base=100.0),
    "normed queries, relu2, soft cap": dataclasses.replace(
        MODEL, qk_norm=True, feed_forward="relu2", softcap=3.0, bias=False
    ),
    "one head of keys, rms, all biases": dataclasses.replace(
        GROUPED, n_kv_head=1, qk_norm=True, norm="rms", positions="none"
    ),
}
TOKENS = np.random.default_rng(0).integers(0, MODEL.n_vocab, (3, MODEL.n_ctx))


QUICK = {"xla_backend_optimization_level": 0}  # programs that run once


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def init(model: ModelConfig, seed: int = 0) -> Params:
    return transformer.init(model, jax.random.key(seed))


@functools.partial(jax.jit, static_argnums=0, static_argnames="dtype", compiler_options=QUICK)
def apply(model: ModelConfig, params: Params, tokens, dropout_key=None, dtype="float32") -> jax.Array:
    return models.apply(model, params, tokens, dtype=dtype, dropout_key=dropout_key)


@functools.cache
def noisy(model: ModelConfig, scale: float = 0.3) -> Params:
    """Weights none of which is zero or one by construction."""
    params = init(model, 1)
    rng = np.random.default_rng(2)
    return {name: leaf + scale * rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in params.items()}


each = pytest.mark.parametrize("model", FORMS.values(), ids=FORMS.keys())


def reference(model: ModelConfig, params, tokens) -> np.ndarray:
    """Logits b t v in float64, one sequence, head and position at a time, from the module's docstrings alone."""
    w = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    k, d, n_head = model.d_attn // model.n_head, model.d_model, model.n_head
    n_kv_head = model.n_kv_head or n_head

    def linear(x, name, *index):
        return x @ w[f"w_{name}"][index] + (w[f"b_{name}"][index] if f"b_{name}" in w else 0)

    def unit(x):
        x = x - x.mean() if model.norm == "layer" else x
        return x / np.sqrt((x**2).mean() + 1e-5)

    def norm(x, name, *index):
        return unit(x) * w[f"g_{name}"][index] + (w[f"b_{name}"][index] if f"b_{name}" in w else 0)

    def turn(x, t):
        """Pairs of features as complex numbers, turned by their angles."""
        pairs = (x[: k // 2] + 1j * x[k // 2 :]) * np.exp(1j * t * model.rotary_base ** (-np.arange(0, k, 2) / k))
        return np.concatenate([pairs.real, pairs.imag])

    def ready(x, t, gain):
        """A head's query or key as it is compared."""
        x = unit(x) * gain if model.qk_norm else x
        return turn(x, t) if model.positions == "rotary" else x

    def feed_forward(x, l):
        up = linear(x, "up", l)
        if model.feed_forward == "swiglu":
            gate = linear(x, "gate", l)
            inner = gate / (1 + np.exp(-gate)) * up
        elif model.feed_forward == "relu2":
            inner = np.maximum(up, 0) ** 2
        else:
            inner = 0.5 * up * (1 + np.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3)))
        return linear(inner, "down", l)

    def attention(x, l):
        if "w_qkv" in w:
            q, key, value = (linear(x, "qkv", l, i) for i in range(3))
        else:
            q, key, value = linear(x, "q", l), linear(x, "kv", l, 0), linear(x, "kv", l, 1)
        mixed = np.zeros((len(x), model.d_attn))
        for head in range(n_head):
            mine = slice(head * k, (head + 1) * k)
            served = head * n_kv_head // n_head
            theirs = slice(served * k, (served + 1) * k)
            gains = (w["g_q"][l], w["g_k"][l]) if model.qk_norm else (1, 1)
            for t in range(len(x)):
                one = ready(q[t, mine], t, gains[0])
                scores = np.array([one @ ready(key[s, theirs], s, gains[1]) for s in range(t + 1)]) / math.sqrt(k)
                weights = np.exp(scores - scores.max())
                mixed[t, mine] = weights / weights.sum() @ value[: t + 1, theirs]
        return linear(mixed, "out", l)

    logits = np.zeros((*tokens.shape, model.n_vocab))
    for b, sequence in enumerate(tokens):
        x = math.sqrt(d) * w["w_embed"][sequence]
        if model.positions == "learned":
            x = x + math.sqrt(d) * model.position_scale * w["w_pos"][: len(sequence)]
        for l in range(model.n_layer):
            x = x + attention(np.array([norm(row, "attn", l) for row in x]), l)
            x = x + np.array([feed_forward(norm(row, "ff", l), l) for row in x])
        logits[b] = np.array([norm(row, "final") for row in x]) @ w["w_embed" if model.tied else "w_head"].T
    return model.softcap * np.tanh(logits / model.softcap) if model.softcap else logits


def loss_of(logits, tokens) -> float:
    """Mean cross-entropy of tokens[:, 1:], nats, float64."""
    logits = np.asarray(logits, np.float64)[:, :-1]
    top = logits.max(-1, keepdims=True)
    log_z = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    return float((log_z - np.take_along_axis(logits, tokens[:, 1:, None], -1)[..., 0]).mean())


@each
def test_the_forward_pass_is_that_of_a_float64_reference(model):
    params = noisy(model)
    np.testing.assert_allclose(apply(model, params, TOKENS), reference(model, params, TOKENS), rtol=1e-4, atol=1e-4)


@each
def test_gradients_are_those_of_finite_differences_of_the_reference(model):
    params = noisy(model)
    tokens = TOKENS[:2, :7]
    grads = jax.jit(
        jax.grad(lambda params: token_losses(model, params, jnp.asarray(tokens)).mean()), compiler_options=QUICK
    )(params)
    rng = np.random.default_rng(3)
    for name, leaf in params.items():
        direction = rng.normal(size=leaf.shape)
        direction /= np.linalg.norm(direction)
        h = 1e-4
        ahead, behind = (
            loss_of(reference(model, params | {name: np.asarray(leaf, np.float64) + s * direction}, tokens), tokens)
            for s in (h, -h)
        )
        slope = float((np.asarray(grads[name], np.float64) * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2 * h), rel=2e-3, abs=1e-5), name


@pytest.mark.parametrize("model", [MODEL, LLAMA], ids=["as by default", "llama"])
def test_no_token_sees_the_future_and_each_sees_all_of_its_past(model):
    params = noisy(model)
    before = np.asarray(apply(model, params, TOKENS))
    for t in range(model.n_ctx):
        changed = TOKENS.copy()
        changed[:, t] = (changed[:, t] + 1) % model.n_vocab
        after = np.asarray(apply(model, params, changed))
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (np.abs(after - before)[:, t:].max(-1) > 1e-4).all()


def test_sequences_of_a_batch_do_not_see_each_other():
    params = noisy(MODEL)
    together = np.asarray(apply(MODEL, params, TOKENS))
    for b, sequence in enumerate(TOKENS):
        np.testing.assert_allclose(apply(MODEL, params, sequence[None])[0], together[b], rtol=1e-5, atol=1e-5)


def test_a_shorter_context_gives_the_same_logits():
    params = noisy(MODEL)
    np.testing.assert_allclose(
        apply(MODEL, params, TOKENS[:, :4]),
        apply(MODEL, params, TOKENS)[:, :4],
        rtol=1e-5,
        atol=1e-5,
    )


def test_learned_positions_are_all_that_tells_repeated_tokens_apart():
    model, same_token = FORMS["gpt2"], np.full((1, MODEL.n_ctx), 5)
    params = noisy(model)
    logits = np.asarray(apply(model, params, same_token))[0]
    assert (np.abs(np.diff(logits, axis=0)).max(-1) > 1e-3).all()
    without = params | {"w_pos": jnp.zeros_like(params["w_pos"])}
    logits = np.asarray(apply(model, without, same_token))[0]
    np.testing.assert_allclose(logits, np.broadcast_to(logits[:1], logits.shape), rtol=1e-4, atol=1e-4)


def test_grouped_queries_are_a_transformer_whose_heads_have_the_same_keys_and_values():
    """And as many heads of keys as of queries are the plain form, bit for bit."""
    params = noisy(GROUPED)
    each_heads = functools.partial(np.reshape, shape=(2, 2, -1, 2, 4))  # l c d h k; biases: d = 1

    def of_every_head(name: str) -> np.ndarray:
        found = np.repeat(each_heads(np.asarray(params[f"{name}_kv"])), 2, 3)
        queries = np.asarray(params[f"{name}_q"]).reshape(2, 1, -1, 16)
        return np.concatenate([queries, found.reshape(2, 2, -1, 16)], 1)

    written_out = {name: leaf for name, leaf in params.items() if name[2:] not in ("q", "kv")}
    written_out |= {"w_qkv": of_every_head("w"), "b_qkv": of_every_head("b")[:, :, 0]}
    plain, all_heads = (dataclasses.replace(GROUPED, n_kv_head=n) for n in (None, 4))
    np.testing.assert_allclose(apply(GROUPED, params, TOKENS), apply(plain, written_out, TOKENS), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(apply(plain, written_out, TOKENS), apply(all_heads, written_out, TOKENS))


def test_a_soft_cap_far_above_the_logits_is_none_and_a_low_one_bounds_them():
    params = noisy(MODEL)
    plain = apply(MODEL, params, TOKENS)
    np.testing.assert_allclose(apply(dataclasses.replace(MODEL, softcap=1e4), params, TOKENS), plain, atol=1e-4)
    assert float(jnp.abs(plain).max()) > 1
    assert float(jnp.abs(apply(dataclasses.replace(MODEL, softcap=0.5), params, TOKENS)).max()) < 0.5


def test_the_first_loss_is_log_n_vocab_at_every_rung():
    shapes = {"n_vocab": 512, "n_ctx": 8, "d_head": 8}
    for model in (*ladder(((8, 1), (96, 1), (768, 1)), **shapes), *(llama(d, 1, **shapes) for d in (8, 96))):
        tokens = np.random.default_rng(4).integers(0, model.n_vocab, (8, model.n_ctx))
        loss = loss_of(apply(model, init(model), tokens), tokens)
        assert loss == pytest.approx(math.log(model.n_vocab), abs=0.1), model


def test_layers_begin_as_the_identity_and_can_leave_it():
    params = init(MODEL)
    deeper = dataclasses.replace(MODEL, n_layer=3)
    np.testing.assert_array_equal(
        apply(MODEL, params, TOKENS),
        apply(deeper, init(deeper), TOKENS),
    )

    def total(params):
        return models.apply(MODEL, params, jnp.asarray(TOKENS))[..., 0].sum()

    grads = jax.jit(jax.grad(total), compiler_options=QUICK)(params)
    assert all(float(jnp.abs(grads[name]).max()) > 0 for name in ("w_out", "w_down", "w_embed"))


def test_seeds_give_other_weights_and_the_same_seed_the_same():
    a, b, c = (init(MODEL, seed) for seed in (0, 0, 1))
    for name, random in (("w_embed", True), ("w_qkv", True), ("w_up", True), ("w_out", False)):
        np.testing.assert_array_equal(a[name], b[name])
        assert bool((a[name] != c[name]).any()) == random
    assert not (np.asarray(a["w_qkv"][0]) == np.asarray(a["w_qkv"][1])).any()  # nor are layers alike


def test_a_rolled_loop_over_layers_gives_what_the_unrolled_one_gives(monkeypatch):
    params = noisy(MODEL)
    unrolled = apply(MODEL, params, TOKENS)
    monkeypatch.setattr(jax, "default_backend", lambda: "an accelerator")
    rolled = jax.jit(functools.partial(models.apply, MODEL), compiler_options=QUICK)  # `apply` has its program already
    np.testing.assert_allclose(rolled(params, TOKENS), unrolled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("model", "rolled"), [(MODEL, False), (MODEL, True), (LLAMA, False)])
def test_rematerialisation_changes_what_is_kept_and_not_the_gradients(monkeypatch, model, rolled):
    params = noisy(model)
    if rolled:
        monkeypatch.setattr(jax, "default_backend", lambda: "an accelerator")

    def total(params, remat):
        return (models.apply(model, params, jnp.asarray(TOKENS), remat=remat) ** 2).mean()

    def gradients(remat):
        return jax.jit(jax.grad(functools.partial(total, remat=remat)), compiler_options=QUICK)(params)

    def kept(remat) -> int:
        """Numbers that the forward pass leaves to the backward one."""
        _, backward = jax.eval_shape(lambda params: jax.vjp(functools.partial(total, remat=remat), params), params)
        return sum(leaf.size for leaf in jax.tree.leaves(backward))

    wanted = gradients("none")
    for remat in ("matmuls", "layers", "offload"):
        found = gradients(remat)
        for name in params:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert kept("layers") < kept("matmuls") < kept("none")


def test_initialisation_is_one_program_that_can_be_spread_over_devices():
    """Its arrays exist where and as they are wanted, and never a second time: no weight is an input of it."""
    shapes = jax.eval_shape(lambda: transformer.init(MODEL, jax.random.key(0)))
    place = jax.sharding.NamedSharding(jax.make_mesh((1,), ("fsdp",)), jax.sharding.PartitionSpec("fsdp"))
    placed = jax.jit(
        lambda seed: transformer.init(MODEL, jax.random.key(seed)),
        out_shardings={name: place for name in shapes},
        compiler_options=QUICK,
    )(0)
    for name, leaf in init(MODEL).items():
        assert placed[name].sharding == place
        np.testing.assert_array_equal(placed[name], leaf)


@pytest.mark.parametrize("model", [MODEL, LLAMA], ids=["as by default", "llama"])
def test_bfloat16_computes_nearly_what_float32_does(model):
    exact = apply(model, noisy(model), TOKENS)
    rough = apply(model, noisy(model), TOKENS, dtype="bfloat16")
    assert rough.dtype == jnp.bfloat16
    assert loss_of(rough.astype(jnp.float32), TOKENS) == pytest.approx(loss_of(exact, TOKENS), rel=0.02)
    assert np.corrcoef(np.ravel(rough.astype(jnp.float32)), np.ravel(exact))[0, 1] > 0.999


# Dropout

DROPPING = dataclasses.replace(MODEL, dropout=0.25)


def test_dropout_is_off_without_a_key_and_at_rate_zero():
    params = noisy(MODEL)
    off = apply(MODEL, params, TOKENS)
    np.testing.assert_array_equal(apply(DROPPING, params, TOKENS), off)
    np.testing.assert_array_equal(apply(MODEL, params, TOKENS, dropout_key=jax.random.key(0)), off)


def test_dropout_is_a_function_of_its_key():
    params = noisy(MODEL)
    a, b, c = (apply(DROPPING, params, TOKENS, dropout_key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert float(jnp.abs(a - c).max()) > 0.1


def test_dropout_drops_its_share_of_each_branch():
    """With zero weights each branch adds its bias, which the mask then shows, one coordinate at a time."""
    d, rate = 64, 0.3
    model = ModelConfig(d, n_layer=2, n_head=1, d_attn=2, d_ff=1, n_vocab=d, n_ctx=16, dropout=rate)
    bare = jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda: transformer.init(model, jax.random.key(0))))
    bare |= {"w_embed": jnp.eye(d), "g_final": jnp.ones(d)}  # logits are the normed stream
    tokens = np.zeros((64, 16), int)
    odd = jnp.arange(d) % 2 * 1.0  # added to every second coordinate

    def kept(name: str, added: Sequence[float]) -> np.ndarray:
        """Where an odd coordinate has something, against an even one that never has. -> b t d/2-1"""
        stream = apply(model, bare | {name: jnp.array(added)[:, None] * odd}, tokens, jax.random.key(7))
        return np.asarray(stream[..., 3::2] > stream[..., 2:3])

    masks = [kept(name, added) for name in ("b_out", "b_down") for added in ([1, 0], [0, 1])]
    for mask in masks:
        assert mask.mean() == pytest.approx(1 - rate, abs=5 * math.sqrt(rate * (1 - rate) / mask.size))
        assert 0 < mask[0, 0].mean() < 1  # neither whole positions
        assert 0 < mask[:, 0, 0].mean() < 1  # nor whole coordinates
    either = kept("b_out", [1, 1])  # layers have masks of their own: both drop a coordinate with rate squared
    np.testing.assert_array_equal(either, masks[0] | masks[1])
    assert either.mean() == pytest.approx(1 - rate**2, abs=5 * rate / math.sqrt(either.size))
