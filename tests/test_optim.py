"""Schedules and optimisers against float64 NumPy."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scaling import optim, schedules, sharding
from scaling.config import ModelConfig, OptimConfig, RunConfig
from scaling.errors import InputError
from scaling.ladder import transformer
from scaling.models import model
from scaling.optimizers import OPTIMIZERS
from scaling.step import Hyper

pytestmark = pytest.mark.usefixtures("unoptimised")

QUICK = {"xla_backend_optimization_level": 0}  # programs that run once

MODEL = ModelConfig(d_model=4, n_layer=1, n_head=1, d_attn=4, d_ff=8, n_vocab=8, n_ctx=4)
STEPS = 40
RUN = RunConfig(MODEL, tokens=STEPS * 16 * 4, optim=OptimConfig(learning_rate=3e-3, warmup=0.2))

SHAPES = {"w_up": (2, 4, 3), "w_embed": (5, 4), "w_pos": (3, 4), "g_ff": (2, 4), "b_up": (2, 3)}


def rate(run: RunConfig, step: int) -> float:
    """The schedule, written down once more."""
    warmup = run.warmup_steps
    if step < warmup:
        return run.optim.learning_rate * (step + 1) / warmup
    left = run.steps - step
    if run.optim.schedule == "constant":
        return run.optim.learning_rate
    if run.optim.schedule == "linear":
        return run.optim.learning_rate * left / (run.steps - warmup)
    if run.optim.schedule == "wsd":
        cooldown = np.ceil(run.optim.decay * run.steps)
        return run.optim.learning_rate * (1 - np.sqrt(max(0, 1 - left / cooldown)))
    return run.optim.learning_rate * 0.5 * (1 + np.cos(np.pi * (step - warmup) / (run.steps - warmup)))


def adam(config: OptimConfig, params, gradients, rates):
    """Parameters after each update, float64."""
    w = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    m = {name: np.zeros_like(leaf) for name, leaf in w.items()}
    v = {name: np.zeros_like(leaf) for name, leaf in w.items()}
    for t, (grads, peak) in enumerate(zip(gradients, rates, strict=True), start=1):
        length = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in grads.values()))
        for name, gradient in grads.items():
            g = gradient.astype(np.float64) * min(1, config.clip / length)
            m[name] = config.b1 * m[name] + (1 - config.b1) * g
            v[name] = config.b2 * v[name] + (1 - config.b2) * g**2
            update = (m[name] / (1 - config.b1**t)) / (np.sqrt(v[name] / (1 - config.b2**t)) + config.eps)
            decay = config.weight_decay if name in ("w_up", "w_embed") else 0.0
            w[name] = w[name] - peak * (update + decay * w[name])
        yield {name: leaf.copy() for name, leaf in w.items()}


@pytest.mark.parametrize(
    "config",
    [
        OptimConfig(),
        OptimConfig(clip=0.1, b1=0.8, b2=0.95, eps=1e-3),
        OptimConfig(optimizer="adamw", weight_decay=0.3),
    ],
    ids=["adam", "clipped", "adamw"],
)
def test_updates_are_those_of_a_float64_adam(config):
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    # Lengths around the clip, so that some updates are clipped and some are not.
    gradients = [
        {name: rng.normal(size=shape).astype(np.float32) * 0.02 * 4**k for name, shape in SHAPES.items()}
        for k in (2, 0, 1, 3, -3, 2)
    ]
    run = dataclasses.replace(RUN, optim=config)
    rates = [rate(run, step) for step in range(len(gradients))]
    tx = optim.optimizer(config)
    update = jax.jit(tx.update, compiler_options=QUICK)
    found, state = {name: jnp.asarray(leaf) for name, leaf in params.items()}, tx.init(params)
    for step, wanted in enumerate(adam(config, params, gradients, rates)):
        updates, state = update(gradients[step], state, found)
        found = optim.descend(found, updates, jnp.float32(rates[step]), jnp.float32(config.weight_decay))
        for name in SHAPES:
            np.testing.assert_allclose(found[name], wanted[name], rtol=2e-6, atol=2e-7, err_msg=f"{name}, {step}")


def test_adafactor_of_stacked_layers_is_that_of_each_layer_alone():
    """Against Optax's on a tree without stacks, the gradient clipped over all layers first."""
    rng = np.random.default_rng(0)
    shapes = {
        "w_up": (3, 128, 130),
        "w_qkv": (3, 3, 128, 128),
        "b_up": (3, 130),
        "w_embed": (140, 128),
        "g_final": (8,),
    }

    def draw(scale: float) -> dict[str, np.ndarray]:
        return {name: (scale * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}

    def apart(tree: Any) -> dict:
        return {
            (name, i): leaf
            for name, leaves in tree.items()
            for i, leaf in enumerate(leaves if name in ("w_up", "w_qkv", "b_up") else [leaves])
        }

    params = draw(1)
    params["w_up"][1] *= 5  # layers of other sizes: together they would share one root mean square
    ours = optim.optimizer(OptimConfig(optimizer="adafactor", clip=0.5))
    theirs = optax.chain(
        optax.clip_by_global_norm(0.5), optax.adafactor(multiply_by_parameter_scale=False), optax.scale(-1)
    )
    state, alone = ours.init(params), theirs.init(apart(params))
    update, update_alone = (jax.jit(tx.update, compiler_options=QUICK) for tx in (ours, theirs))
    for scale in (1e-3, 0.1, 1.0):
        grads = draw(scale)
        grads["w_up"][2] *= 10
        updates, state = update(grads, state, params)
        wanted, alone = update_alone(apart(grads), alone, apart(params))
        found = apart(updates)
        for name, one in wanted.items():
            np.testing.assert_allclose(found[name], one, rtol=2e-5, atol=1e-6, err_msg=str(name))
            assert np.sqrt((np.asarray(one) ** 2).mean()) < 1 + 1e-5


def orthogonal(g: np.ndarray) -> np.ndarray:
    """Five steps of the quintic iteration of Jordan et al. (2024) on one matrix, float64."""
    x = g if g.shape[0] <= g.shape[1] else g.T
    x = x / (np.linalg.norm(x) + 1e-8)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x if g.shape[0] <= g.shape[1] else x.T


def test_muon_orthogonalises_the_momentum_of_each_matrix_by_itself_and_leaves_the_rest_to_adam():
    rng = np.random.default_rng(0)
    shapes = {"w_qkv": (2, 3, 6, 8), "w_down": (2, 12, 6), "w_embed": (9, 6), "w_head": (9, 6), "b_up": (2, 12)}
    config = OptimConfig(optimizer="muon", clip=1e9, b1=0.8)
    ours, adams = optim.optimizer(config), optim.optimizer(dataclasses.replace(config, optimizer="adam"))
    gradients = [{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(3)]
    state, other = ours.init(gradients[0]), adams.init(gradients[0])
    mean = {name: np.zeros(shapes[name]) for name in ("w_qkv", "w_down")}
    update, by_adam = (jax.jit(tx.update, compiler_options=QUICK) for tx in (ours, adams))
    for t, grads in enumerate(gradients, start=1):
        found, state = update(grads, state, grads)
        by_itself, other = by_adam(grads, other)
        for name in ("w_embed", "w_head", "b_up"):
            np.testing.assert_allclose(found[name], by_itself[name], rtol=1e-5, atol=1e-7, err_msg=name)
        for name in mean:
            mean[name] = 0.95 * mean[name] + 0.05 * grads[name]
            ahead = 0.95 * mean[name] / (1 - 0.95 ** (t + 1)) + 0.05 * grads[name] / (1 - 0.95**t)  # Nesterov's
            i, o = shapes[name][-2:]
            each = [0.2 * np.sqrt(max(i, o)) * orthogonal(m) for m in ahead.reshape(-1, i, o)]
            np.testing.assert_allclose(found[name], np.reshape(each, shapes[name]), rtol=2e-4, atol=2e-4, err_msg=name)


def test_an_update_of_muon_is_about_as_large_as_one_of_adam():
    """Root mean square 0.2, whatever the shape: then a learning rate means the same (Liu et al. 2025, eq. 4)."""
    rng = np.random.default_rng(0)
    grads = {"w_qkv": rng.normal(size=(1, 3, 64, 64)), "w_up": rng.normal(size=(1, 64, 256))}
    grads = {name: jnp.asarray(g, jnp.float32) for name, g in grads.items()}
    tx = optim.optimizer(OptimConfig(optimizer="muon"))
    updates: Any = tx.update(grads, tx.init(grads), grads)[0]
    for name, update in updates.items():
        assert np.sqrt(np.mean(np.square(update))) == pytest.approx(0.2, rel=0.2), name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_keeps_what_its_facts_say(name):
    """Adafactor keeps a little beside: means over rows and columns."""
    big = transformer(256, 2, n_vocab=512, n_ctx=16, tied=False)
    params = jax.eval_shape(lambda: model.init(big, jax.random.key(0)))
    state = jax.eval_shape(optim.optimizer(OptimConfig(optimizer=name)).init, params)
    total, matrices = (
        sum(w.size for n, w in params.items() if not layers or (n.startswith("w_") and sharding.stacked(n)))
        for layers in (False, True)
    )
    found = sum(leaf.size for leaf in jax.tree.leaves(state))
    assert found == pytest.approx(OPTIMIZERS[name].kept(matrices, total), abs=0.03 * total)


def test_adafactor_keeps_little_of_a_matrix():
    params = {"w_up": np.zeros((4, 256, 512), np.float32)}
    state = optim.optimizer(OptimConfig(optimizer="adafactor")).init(params)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 4 * (256 + 512) + 20


@pytest.mark.parametrize("peak", [1e-3, 0.1])
def test_an_independent_decay_shrinks_by_the_schedule_alone_whatever_the_peak(peak):
    """Without a gradient what is left is the product of 1 - decay * share of the peak: smaller, not larger."""
    config = OptimConfig(peak, "adamw", weight_decay=0.1, independent_decay=True)
    run = dataclasses.replace(RUN, optim=config)
    hyper = jax.tree.map(lambda leaf: leaf[0], Hyper.of((run,)))
    left = {"w_up": jnp.ones(())}
    for i in range(run.steps):
        left = optim.descend(left, {"w_up": 0.0}, hyper.schedule(i), hyper.weight_decay)
    shares = np.array([rate(run, i) / peak for i in range(run.steps)])
    assert shares.max() == pytest.approx(1)
    assert float(left["w_up"]) == pytest.approx(np.prod(1 - 0.1 * shares), rel=1e-4)


def test_decay_shrinks_matrices_and_embeddings_and_nothing_else():
    params = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
    found = optim.descend(params, jax.tree.map(jnp.zeros_like, params), jnp.float32(0.1), jnp.float32(0.5))
    assert {name for name in params if (found[name] != params[name]).any()} == {"w_up", "w_embed"}
    np.testing.assert_allclose(found["w_up"], 1 - 0.1 * 0.5)


def test_the_gradient_is_clipped_by_the_norm_of_all_leaves_together():
    grads = {"w_up": jnp.full((2, 2), 3.0), "b_up": jnp.full((4,), 4.0)}  # norm 10
    clipped: Any = optax.clip_by_global_norm(1.0).update(grads, optax.EmptyState())[0]
    first = optim.optimizer(OptimConfig(clip=1.0))
    _, state = first.update(grads, first.init(grads), grads)
    mu = optax.tree.get(state, "mu")
    for name in grads:
        np.testing.assert_allclose(mu[name], 0.1 * clipped[name], rtol=1e-6)
    assert float(optax.tree.norm(clipped)) == pytest.approx(1, rel=1e-6)


RUNS = (
    RUN,
    dataclasses.replace(RUN, optim=dataclasses.replace(RUN.optim, learning_rate=1.0, schedule="constant")),
    dataclasses.replace(RUN, optim=dataclasses.replace(RUN.optim, warmup=0.0)),
    dataclasses.replace(RUN, optim=dataclasses.replace(RUN.optim, warmup=0.99)),
    dataclasses.replace(RUN, tokens=RUN.batch_tokens),
    dataclasses.replace(RUN, optim=OptimConfig(schedule="linear", warmup_tokens=5 * RUN.batch_tokens)),
    dataclasses.replace(RUN, optim=OptimConfig(schedule="wsd", warmup_tokens=5 * RUN.batch_tokens)),
    dataclasses.replace(RUN, optim=OptimConfig(schedule="wsd", warmup=0.0, decay=1.0)),
    dataclasses.replace(RUN, optim=OptimConfig(schedule="wsd", warmup_tokens=1, decay=0.01)),
)


def test_each_run_of_a_pack_has_the_schedule_of_its_own_config():
    schedule = optim.Schedule.of(RUNS)
    found = np.array(jax.vmap(lambda s: jax.vmap(s)(jnp.arange(STEPS)))(schedule))  # r s
    for rates, run in zip(found, RUNS, strict=True):
        wanted = [rate(run, step) for step in range(run.steps)]
        np.testing.assert_allclose(rates[: run.steps], wanted, rtol=1e-5, atol=1e-6 * run.optim.learning_rate)


def test_branches_have_the_rates_of_their_trunk_to_the_last_bit():
    """Else a run on a trunk would not be the run that is trained alone."""
    cooling = OptimConfig(learning_rate=3e-3, schedule="wsd", warmup_tokens=5 * RUN.batch_tokens)
    runs = tuple(dataclasses.replace(RUN, tokens=n * RUN.batch_tokens, optim=cooling) for n in (20, 40, 97))
    found = np.array(jax.vmap(lambda s: jax.vmap(s)(jnp.arange(STEPS)))(optim.Schedule.of(runs)))  # r s
    for rates, run in zip(found, runs, strict=True):
        shared = min(run.steps - run.decay_steps, STEPS)
        np.testing.assert_array_equal(rates[:shared], found[-1, :shared])


def test_the_warm_up_rises_to_the_peak_and_the_cosine_ends_near_zero():
    found = np.array(jax.vmap(lambda s: jax.vmap(s)(jnp.arange(STEPS)))(optim.Schedule.of((RUN,))))[0]
    assert RUN.warmup_steps == 8
    np.testing.assert_allclose(found[:8], 3e-3 * np.arange(1, 9) / 8, rtol=1e-6)
    assert (np.diff(found[8:]) < 0).all()
    assert found[8] == pytest.approx(3e-3)
    assert 0 < found[-1] < 0.01 * 3e-3


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_a_fall_to_a_share_of_the_peak_ends_there_and_is_half_way_where_that_to_zero_is(name):
    ends = (0.0, 0.1, 0.5)
    runs = tuple(dataclasses.replace(RUN, optim=OptimConfig(3e-3, schedule=name, end=end)) for end in ends)
    found = np.array(jax.vmap(lambda s: jax.vmap(s)(jnp.arange(STEPS + 1)))(optim.Schedule.of(runs))) / 3e-3
    np.testing.assert_allclose(found[:, RUN.steps], ends, atol=1e-6)  # after the last update
    np.testing.assert_allclose(found.max(1), 1)
    falling = found[:, runs[0].warmup_steps :]
    np.testing.assert_allclose(falling[1], 0.1 + 0.9 * falling[0], rtol=1e-5)
    whole = schedules.shape(name, RUN.steps, runs[0].warmup_steps, runs[0].falling_steps, 0.5)
    np.testing.assert_allclose(found[2, : RUN.steps], whole, rtol=1e-5)
    with pytest.raises(InputError, match="only cosine and linear end at a share"):
        OptimConfig(schedule="constant", end=0.1)
    with pytest.raises(InputError, match=r"optim.end=1.0 is a share of the peak; use 0 to 0.99"):
        OptimConfig(schedule=name, end=1.0)
