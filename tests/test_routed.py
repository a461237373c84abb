"""Experts: what is sent where, and that nothing but the routing tells them from the dense model."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling import checkpoints, packs, step, train
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig
from scaling.errors import InputError
from scaling.kinds.routed import balanced, slots
from scaling.ladder import transformer
from scaling.models import loss, model, routed

DENSE = transformer(16, 2, d_head=8, n_vocab=64, n_ctx=16)
ROUTINGS = ("hash", "top_k", "expert_choice", "expert_choice_at_position")
QUICK = {"xla_backend_optimization_level": 0}  # programs that run once


def of(routing: str, experts: int = 4, **fields) -> ModelConfig:
    return dataclasses.replace(DENSE, kind="routed", routing=routing, experts=experts, **fields)


def weights(shape: ModelConfig, seed: int = 0) -> dict[str, jax.Array]:
    """As they begin, but that what layers write to the stream is something."""
    params = model.init(shape, jax.random.key(seed))
    for name in params:
        if name.endswith(("out", "down")):
            params[name] = 0.1 * jax.random.normal(jax.random.key(1), params[name].shape)
    return params


@pytest.fixture(scope="module")
def tokens() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).integers(0, 64, (8, 17)))


def loss_of(shape: ModelConfig, params: dict[str, jax.Array], tokens: jax.Array) -> jax.Array:
    return jax.jit(functools.partial(loss.token_losses, shape), compiler_options=QUICK)(params, tokens)


def as_dense(name: str) -> str:
    return name.replace("expert_", "")


@pytest.mark.parametrize("routing", ROUTINGS)
def test_one_expert_is_the_dense_model_bit_for_bit(tokens, routing):
    one = of(routing, 1)
    begun, dense = model.init(one, jax.random.key(3)), model.init(DENSE, jax.random.key(3))
    assert {as_dense(name): leaf.size for name, leaf in begun.items()} == {n: leaf.size for n, leaf in dense.items()}
    for name, leaf in begun.items():
        np.testing.assert_array_equal(leaf, dense[as_dense(name)].reshape(leaf.shape), err_msg=name)
    params = weights(DENSE)
    same = {name: params[as_dense(name)].reshape(leaf.shape) for name, leaf in begun.items()}
    np.testing.assert_array_equal(loss_of(one, same, tokens), loss_of(DENSE, params, tokens))


@pytest.mark.parametrize("shape", [of("hash", capacity=4.0), of("top_k", top_k=4)])
def test_experts_that_are_alike_are_the_dense_model(tokens, shape):
    params, own = weights(DENSE), weights(shape)
    for name, leaf in own.items():
        if as_dense(name) in params:
            like = params[as_dense(name)]
            own[name] = jnp.broadcast_to(like[:, None] if "expert" in name else like, leaf.shape)
    np.testing.assert_allclose(loss_of(shape, own, tokens), loss_of(DENSE, params, tokens), rtol=1e-5)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_in_which_order_experts_stand_does_not_matter(tokens, routing):
    shape = of(routing)
    params, order = weights(shape), np.array([2, 0, 3, 1])
    moved = dict(params)
    for name, leaf in params.items():
        if "expert" in name:
            moved[name] = leaf[:, order]
    if routing == "hash":
        moved["b_hash"] = jnp.asarray(np.argsort(order)[np.asarray(params["b_hash"]).astype(int)], jnp.float32)
    else:
        moved["w_router"] = params["w_router"][..., order]
    np.testing.assert_allclose(loss_of(shape, moved, tokens), loss_of(shape, params, tokens), rtol=1e-5)
    assert (
        np.abs(
            loss_of(shape, params | {"w_expert_up": moved["w_expert_up"]}, tokens) - loss_of(shape, params, tokens)
        ).max()
        > 1e-3
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.integers(2, 5), st.floats(0.3, 3.0))
@settings(deadline=None, max_examples=25)
def test_a_choice_has_a_slot_unless_others_before_it_have_taken_all_of_its_expert(seed, k, experts, capacity):
    """First choices of all tokens before second ones. So a token is in k slots at most, and a slot holds one choice."""
    shape = of("top_k", experts, capacity=capacity, top_k=k)
    expert = np.random.default_rng(seed).random((2, 24, experts)).argsort(-1)[..., :k]
    route = routed.assigned(shape, jnp.asarray(expert))
    slot, choice, c = np.asarray(route.slot).reshape(2, 24, k), np.asarray(route.choice), slots(shape, 24)
    for g in range(2):
        sent = [0] * experts
        for j, token in itertools.product(range(k), range(24)):
            e = expert[g, token, j]
            if sent[e] < c:
                assert slot[g, token, j] == e * c + sent[e]
                assert choice[g, slot[g, token, j]] == token * k + j
            else:
                assert slot[g, token, j] == experts * c
            sent[e] += 1
        held = choice[g][choice[g] < 24 * k]
        assert len(held) == len(set(held)) == sum(min(n, c) for n in sent)


@pytest.mark.parametrize("routing", ["expert_choice", "expert_choice_at_position"])
def test_under_expert_choice_all_slots_are_full_with_the_surest_tokens(routing):
    shape = of(routing, top_k=2)
    logits = jax.random.normal(jax.random.key(0), (3, 24, 4))
    (slot, choice, gate), _ = routed.chosen(shape, logits)
    share, token = np.asarray(jax.nn.softmax(logits)), np.asarray(choice).reshape(3, 4, -1) // 4
    assert token.shape == (3, 4, 12)
    for g in range(3):
        for e in range(4):
            assert set(token[g, e]) == set(np.argsort(-share[g, :, e])[:12])
    assert (np.asarray(slot) < 48).sum() == 3 * 48
    assert gate is not None
    np.testing.assert_allclose(gate, share.reshape(3, -1), rtol=1e-6)


@pytest.mark.parametrize("routing", ROUTINGS)
def test_only_expert_choice_over_a_whole_sequence_looks_ahead(tokens, routing):
    shape = of(routing, capacity=1.0) if routing in ("hash", "top_k") else of(routing)
    params = weights(shape)
    apply = jax.jit(functools.partial(model.apply, shape), compiler_options=QUICK)
    before = apply(params, tokens[:, :16])
    after = apply(params, tokens[:, :16].at[-1, 8:].add(7) % 64)
    assert (np.abs(after - before)[:, :8].max() > 0) == (routing == "expert_choice")


def test_the_balance_loss_is_least_where_experts_are_used_alike():
    shape = of("top_k", balance=1.0, router_z=0.0)
    alike = jnp.eye(4)[jnp.arange(24) % 4][None]
    _, least = routed.chosen(shape, alike)
    assert float(least) == pytest.approx(1.0, abs=1e-6)
    _, one = routed.chosen(shape, 9.0 * jnp.eye(4)[jnp.zeros(24, int)][None])
    assert float(one) == pytest.approx(4.0, abs=0.01)  # one expert is used, and there are four
    _, log_total = routed.chosen(of("top_k", balance=0.0, router_z=1.0), jnp.zeros((1, 24, 4)))
    assert float(log_total) == pytest.approx(math.log(4) ** 2)


def test_a_router_learns_to_use_its_experts_alike(tokens):
    """All tokens go to one expert at first, and the balance loss alone spreads them."""
    shape = of("top_k", balance=1.0, router_z=0.0, capacity=4.0)
    params = weights(shape)
    params["b_ff"] = jnp.ones_like(params["b_ff"])
    params["w_router"] = params["w_router"].at[..., 0].add(0.5)
    run = RunConfig(shape, tokens=128 * 40, batch=8, optim=OptimConfig(3e-2, schedule="constant", warmup=0.0))

    def excess(params: dict[str, jax.Array]) -> float:
        return float(loss.objective(shape, params, tokens)[0] - loss.objective(shape, params, tokens)[1])

    hyper = jax.tree.map(lambda leaf: leaf[0], step.Hyper.of((run,)))
    state = dataclasses.replace(step.init_state(run, hyper), params=params)
    many = jnp.broadcast_to(tokens, (40, *tokens.shape))
    state, _ = jax.jit(functools.partial(step.train_steps, run), compiler_options=QUICK)(hyper, state, many, 40)
    assert excess(params) > 1.3 * shape.n_layer  # summed over layers
    assert excess(state.params) < 1.1 * shape.n_layer


@given(st.integers(0, 100), st.integers(2, 16))
@settings(deadline=None, max_examples=20)
def test_a_hash_sends_experts_tokens_within_1_percent_of_balance(seed, experts):
    """Of a text whose tokens are as frequent as those of Zipf's law, none of them an expert's share by itself."""
    rng = np.random.default_rng(seed)
    frequency = rng.permutation(1e6 / (np.arange(512) + 20)).astype(int)
    sent = np.bincount(balanced(frequency, experts).astype(int), frequency, experts)
    np.testing.assert_allclose(sent, frequency.sum() / experts, rtol=0.01)


@pytest.mark.usefixtures("unoptimised")
def test_training_has_the_table_of_its_text_and_leaves_it_alone_in_every_lane(tmp_path):
    """And lanes of a pack are what each is alone, of its own pool, however much of the text is prepared."""
    shape = of("hash", capacity=2.0)
    stream = (np.random.default_rng(1).zipf(1.3, 6000) % 64).astype(np.uint16)
    runs = [
        RunConfig(
            shape, tokens=128 * 6, unique_tokens=pool, batch=8, optim=OptimConfig(1e-2, "adamw", weight_decay=0.1),
            eval=EvalConfig(windows=16, per_octave=1, octaves=1),
        )
        for pool in (None, 128)
    ]  # fmt: skip
    found = {}
    for name, pack, prepared in (("both", runs, 5000), ("first", runs[:1], 128 * 6), ("second", runs[1:], 128)):
        history = train.train(pack, stream[:prepared], stream[5000:], tmp_path / name, separator=0)
        found[name] = history["train_loss"]
    np.testing.assert_allclose(found["both"], np.hstack([found["first"], found["second"]]), rtol=1e-5)
    assert not np.allclose(found["both"][:, 0], found["both"][:, 1], rtol=1e-3)
    record = checkpoints.Record(tmp_path / "both")
    restored = record.restore(
        lambda done: train.abstract_state(runs, packs.at(packs.segments(runs), done)), print, None
    )
    record.close()
    assert restored is not None
    tables = [balanced(np.bincount(stream[:n], minlength=64), 4) for n in (128 * 6, 128)]
    assert (tables[0] != tables[1]).any()
    np.testing.assert_array_equal(restored[1].params["b_hash"], np.stack(tables))


def test_what_no_routing_has_is_refused():
    for wrong, words in (
        ({"routing": "hash", "top_k": 2}, "model.top_k=2 with model.routing=hash, which has none"),
        ({"routing": "expert_choice", "capacity": 2.0}, "use --set model.routing=hash"),
        ({"experts": 2, "top_k": 3}, "use as many experts at least"),
        ({"experts": 0}, "model.experts=0 must be positive"),
        ({"kind": "transformer", "experts": 4}, "use --set model.kind=routed"),
    ):
        with pytest.raises(InputError, match=words):
            dataclasses.replace(DENSE, **{"kind": "routed", "experts": 4} | wrong)
