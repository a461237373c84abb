"""One update and one evaluation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from analysis.noise_scale import noise_estimates
from scaling import measure, optim, step
from scaling.config import RunConfig, program
from scaling.data.batches import Batches
from scaling.step import Hyper, TrainState

QUICK = {"xla_backend_optimization_level": 0}  # programs that run once


def quick(function):
    return jax.jit(function, compiler_options=QUICK)


def one(tree):
    """The first run of a pack."""
    return jax.tree.map(lambda leaf: leaf[0], tree)


@pytest.fixture(scope="module")
def update(tiny):
    return quick(lambda hyper, state, tokens: step.train_step(tiny, hyper, state, tokens))


@pytest.fixture(scope="module")
def begun(tiny) -> TrainState:
    return quick(lambda hyper: step.init_state(tiny, hyper))(one(Hyper.of((tiny,))))


def examples(run: RunConfig, stream: np.ndarray, n: int) -> np.ndarray:
    batches = Batches(stream, run.model.n_ctx, run.U, run.seed, separator=0)
    return batches.examples(0, n * run.batch).reshape(n, run.batch, -1)


def test_parts_that_a_common_token_leaves_empty_have_no_loss(tiny, begun):
    """Seven of ten tokens are one, whose middle lies in the second of five parts."""
    windows = np.zeros((1, 10, tiny.model.n_ctx + 1), np.int32)
    windows[:, 7:] = np.arange(3)[:, None] + 1
    of = measure.parts_by_frequency(np.bincount(windows[..., 1:].reshape(-1), minlength=tiny.model.n_vocab), 5)
    part = jnp.asarray(np.equal.outer(of, np.arange(5)), jnp.float32)
    found = np.asarray(quick(lambda p: step.frequency_step(tiny, p, windows, part))(begun.params))
    there = np.isin(np.arange(5), of[:4])
    assert there.tolist() == [False, True, False, True, True]
    np.testing.assert_array_equal(np.isnan(found), ~there)
    assert (found[there] > 0).all()


def test_an_update_follows_the_gradient_of_the_mean_loss_at_the_rate_of_its_step(tiny, stream, update, begun):
    hyper = one(Hyper.of((tiny,)))
    loss_and_grads = quick(jax.value_and_grad(lambda p, tokens: step.token_losses(tiny, p, tokens).mean()))
    adam = quick(optim.optimizer(tiny.optim).update)
    state = begun
    for tokens in examples(tiny, stream, 4):
        loss, grads = loss_and_grads(state.params, tokens)
        updates, _ = adam(grads, state.opt_state, state.params)
        new, metrics = update(hyper, state, tokens)
        rate = float(hyper.schedule(state.step))
        assert float(metrics["train_loss"]) == pytest.approx(float(loss), rel=1e-5)
        norm = np.sqrt(sum(float((np.asarray(g, np.float64) ** 2).sum()) for g in jax.tree.leaves(grads)))
        assert float(metrics["grad_norm"]) == pytest.approx(norm, rel=1e-4)
        for name, p in state.params.items():
            # Adam divides by the root of the second moment, which magnifies rounding where the gradient is nearly zero.
            np.testing.assert_allclose(new.params[name], p - rate * updates[name], rtol=1e-4, atol=0.05 * rate)
        assert int(new.step) == int(state.step) + 1
        state = new


def test_the_loss_is_that_of_the_next_token(tiny, stream, begun):
    tokens = examples(tiny, stream, 1)[0]
    token_losses = quick(lambda p, tokens: step.token_losses(tiny, p, tokens))
    losses = np.asarray(token_losses(begun.params, tokens))
    assert losses.shape == (tiny.batch, tiny.model.n_ctx)
    other = tokens.copy()
    other[:, -1] = (other[:, -1] + 1) % 32  # the last token is only predicted
    changed = np.asarray(token_losses(begun.params, other)) != losses
    assert not changed[:, :-1].any()
    assert changed[:, -1].all()


def test_the_state_is_arrays_only_with_float32_weights(tiny):
    state = jax.eval_shape(lambda: step.init_state(dataclasses.replace(tiny, dtype="bfloat16"), one(Hyper.of((tiny,)))))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.params))
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype("float32"), jnp.dtype("int32")}


def test_a_dispatch_of_many_updates_does_the_first_n_of_them(tiny, stream, update, begun):
    hyper = one(Hyper.of((tiny,)))
    tokens = examples(tiny, stream, 5)
    many = quick(lambda hyper, state, tokens, n: step.train_steps(tiny, hyper, state, tokens, n))
    for n in (0, 3, 5):
        state = begun
        losses = []
        for batch in tokens[:n]:
            state, metrics = update(hyper, state, batch)
            losses.append(float(metrics["train_loss"]))
        found, metrics = many(hyper, begun, tokens, n)
        assert int(found.step) == n
        np.testing.assert_allclose(metrics["train_loss"], losses + [0] * (5 - n), rtol=1e-5)
    parts, _ = many(hyper, begun, tokens, 2)
    parts, _ = many(hyper, parts, np.roll(tokens, -2, 0), 3)
    for a, b in zip(jax.tree.leaves(parts), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(a, b)  # where a dispatch ends does not matter


@pytest.mark.parametrize("change", [{"accumulate": 2}, {"accumulate": 4, "remat": "layers"}, {"remat": "offload"}])
def test_a_batch_in_parts_or_computed_twice_is_the_same_update(tiny, stream, update, begun, change):
    """In a pack, beside a lane of another batch."""
    tokens, run = examples(tiny, stream, 2), dataclasses.replace(tiny, **change)
    state, metrics = update(one(Hyper.of((tiny,))), begun, tokens[0])
    lanes = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), begun)
    found, other = one(quick(step.over_runs(step.train_step, run, (0, 0, 0)))(Hyper.of((tiny, tiny)), lanes, tokens))
    for name in metrics:
        np.testing.assert_allclose(other[name], metrics[name], rtol=1e-6)
    for name, leaf in optax.tree.get(state.opt_state, "mu").items():  # a tenth of the clipped gradient
        mu = optax.tree.get(found.opt_state, "mu")[name]
        np.testing.assert_allclose(mu, leaf, rtol=1e-4, atol=1e-7, err_msg=name)


def test_parts_of_a_batch_have_masks_of_their_own(tiny, stream, begun):
    """With dropout, the same sequences in both parts of a batch are not the same work twice."""
    run = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, dropout=0.5), accumulate=2)
    tokens = np.repeat(examples(tiny, stream, 1)[0][:2], 2, axis=0)
    halves = dataclasses.replace(run, accumulate=1, batch=2)
    hyper = one(Hyper.of((tiny,)))
    both = quick(lambda h, s: step.train_step(run, h, s, tokens)[1]["train_loss"])(hyper, begun)
    half = quick(lambda h, s: step.train_step(halves, h, s, tokens[::2])[1]["train_loss"])(hyper, begun)
    assert abs(both - half) > 1e-6


def test_the_held_out_loss_is_the_mean_over_windows_however_they_are_grouped(tiny, stream, begun):
    windows = stream[: 12 * 17].reshape(12, 17).astype(np.int32)
    whole = np.asarray(quick(lambda p, w: step.token_losses(tiny, p, w))(begun.params, windows))
    for groups in (1, 4):
        found = quick(lambda p, w: step.eval_step(tiny, p, w))(begun.params, windows.reshape(groups, 12 // groups, 17))
        assert found["positions"].shape == (16,)
        np.testing.assert_allclose(found["positions"], whole.mean(0), rtol=1e-5)
        np.testing.assert_allclose(found["windows"], whole.mean(1), rtol=1e-5)


def test_dropout_is_a_function_of_seed_and_step_and_off_in_evaluation(tiny, stream, begun):
    run = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, dropout=0.5))
    tokens = examples(tiny, stream, 1)[0]
    drop = quick(lambda hyper, state: step.train_step(run, hyper, state, tokens)[1]["train_loss"])
    a, b = (one(Hyper.of((dataclasses.replace(run, seed=seed),))) for seed in (0, 1))
    later = begun.replace(step=begun.step + 1)
    assert drop(a, begun) == drop(a, begun)
    assert len({float(x) for x in (drop(a, begun), drop(b, begun), drop(a, later))}) == 3
    windows = stream[: 4 * 17].reshape(1, 4, 17).astype(np.int32)
    on, off = (quick(lambda p, w, r=r: step.eval_step(r, p, w))(begun.params, windows) for r in (run, tiny))
    np.testing.assert_array_equal(on["windows"], off["windows"])


def test_seeds_are_arrays_of_a_program(tiny):
    runs = tuple(dataclasses.replace(tiny, seed=seed) for seed in (0, 1, 2**32 - 1))
    assert len({program(run) for run in runs}) == 1
    embeddings = quick(jax.vmap(lambda hyper: step.init_state(tiny, hyper).params["w_embed"]))(Hyper.of(runs))
    assert len({leaf.tobytes() for leaf in np.asarray(embeddings)}) == 3


def test_the_gradient_noise_is_that_of_per_example_gradients(tiny, stream, begun):
    """Against squared norms of means of per-example gradients, in float64: each level, averaged over three batches."""
    run = dataclasses.replace(tiny, batch=8, tokens=8 * 16)
    assert run.noise_batches == (1, 2, 4, 8)
    tokens = examples(run, stream, 1).reshape(1, 8, -1)
    tokens = np.concatenate([tokens, np.roll(tokens, 5, axis=2), np.roll(tokens, 9, axis=2)])  # k b t+1
    found = np.asarray(quick(lambda p, t: step.noise_step(run, p, t))(begun.params, tokens))
    gradient = jax.grad(lambda p, one: step.token_losses(tiny, p, one[None]).mean())
    each = quick(jax.vmap(gradient, (None, 0)))(begun.params, tokens.reshape(24, -1))
    vectors = np.concatenate([np.asarray(leaf, np.float64).reshape(24, -1) for leaf in jax.tree.leaves(each)], 1)
    wanted = [(vectors.reshape(-1, size, vectors.shape[1]).mean(1) ** 2).sum(1).mean() for size in (1, 2, 4, 8)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_the_noise_scale_from_halves_of_batches_is_that_of_the_examples(tiny, stream, begun):
    """tr(Sigma) and |G|^2 over a population of 128 windows, from batches of 8 drawn from it and their eighths.

    Batches are drawn with replacement, so that the estimators of McCandlish et al. (2018) appendix A.1 are unbiased.
    """
    run = dataclasses.replace(tiny, batch=8, tokens=8 * 16)
    population = examples(dataclasses.replace(tiny, batch=128, tokens=128 * 16), stream, 1)[0]  # w t+1
    gradient = jax.grad(lambda p, one: step.token_losses(tiny, p, one[None]).mean())
    each = quick(jax.vmap(gradient, (None, 0)))(begun.params, population)
    vectors = np.concatenate([np.asarray(leaf, np.float64).reshape(128, -1) for leaf in jax.tree.leaves(each)], 1)
    square = (vectors.mean(0) ** 2).sum()
    trace = vectors.var(0).sum()

    batches = population[np.random.default_rng(0).integers(0, 128, (40, 50, 8))]
    measure = quick(lambda p, t: jax.lax.map(lambda batch: step.noise_step(run, p, batch[None]), t))
    found = np.concatenate([np.asarray(measure(begun.params, some)) for some in batches])  # 2000 levels
    for small in range(3):
        traces, squares = noise_estimates(found[:, small], found[:, 3], run.noise_batches[small], 8)
        for estimates, truth in ((traces, trace), (squares, square)):
            error = estimates.std() / np.sqrt(len(estimates))
            assert abs(estimates.mean() - truth) < 4 * error
            assert error < 0.1 * truth
