"""What holds for every kind of model, weights with noise on all of them, and for its training in packs.

Of Transformers with layers: test_transformer and test_train.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling import step, train
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig
from scaling.ladder import llama, lstm, transformer, universal
from scaling.models import model as models
from scaling.models.loss import token_losses
from scaling.models.shared import Params

pytestmark = pytest.mark.usefixtures("unoptimised")

FIELDS = {"n_vocab": 32, "n_ctx": 10}
KINDS = {
    "no layers": transformer(8, 0, d_head=4, **FIELDS),
    "universal": universal(8, 1, reuse=2, d_head=4, **FIELDS),
    "lstm": lstm(8, 2, tied=False, **FIELDS),
    "llama": llama(8, 2, n_kv_head=1, d_head=4, qk_norm=True, z_loss=1e-3, softcap=20.0, **FIELDS),
}
TOKENS = np.random.default_rng(0).integers(0, 32, (3, 10))
QUICK = {"xla_backend_optimization_level": 0}  # programs that run once

each = pytest.mark.parametrize("model", KINDS.values(), ids=KINDS.keys())


@functools.partial(jax.jit, static_argnums=0, static_argnames="dtype", compiler_options=QUICK)
def apply(model: ModelConfig, params: Params, tokens, dropout_key=None, dtype="float32") -> jax.Array:
    return models.apply(model, params, tokens, dtype=dtype, dropout_key=dropout_key)


@functools.partial(jax.jit, static_argnums=0, compiler_options=QUICK)
def init(model: ModelConfig, seed: int) -> Params:
    return models.init(model, jax.random.key(seed))


@functools.cache
def noisy(model: ModelConfig) -> Params:
    params = init(model, 1)
    rng = np.random.default_rng(2)
    return {name: leaf + 0.3 * rng.normal(size=leaf.shape).astype(np.float32) for name, leaf in params.items()}


@each
def test_no_token_sees_the_future_and_each_sees_its_past(model):
    before = np.asarray(apply(model, noisy(model), TOKENS))
    for t in (0, 4, 9):
        changed = TOKENS.copy()
        changed[:, t] = (changed[:, t] + 1) % model.n_vocab
        after = np.asarray(apply(model, noisy(model), changed))
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        moved = np.abs(after - before)[:, t:].max(-1)
        assert (moved[:, 0] > 1e-3).all()
        assert (moved[:, 1:] > 1e-7).all() if model.n_layer else not moved[:, 1:].any()


@each
def test_sequences_of_a_batch_do_not_see_each_other(model):
    together = np.asarray(apply(model, noisy(model), TOKENS))
    np.testing.assert_allclose(apply(model, noisy(model), TOKENS[1:2])[0], together[1], rtol=1e-4, atol=1e-5)


@each
def test_the_first_loss_is_log_n_vocab(model):
    loss = jax.jit(functools.partial(token_losses, model), compiler_options=QUICK)(init(model, 0), jnp.asarray(TOKENS))
    assert float(loss.mean()) == pytest.approx(math.log(model.n_vocab), abs=0.1)


@each
def test_dropout_is_a_function_of_its_key_and_off_without(model):
    dropping = dataclasses.replace(model, dropout=0.25)
    off = apply(model, noisy(model), TOKENS)
    np.testing.assert_array_equal(apply(dropping, noisy(model), TOKENS), off)
    a, b, c = (apply(dropping, noisy(model), TOKENS, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert float(jnp.abs(a - c).max()) > 0.1


@each
def test_bfloat16_computes_nearly_what_float32_does(model):
    exact, rough = (apply(model, noisy(model), TOKENS, dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert rough.dtype == jnp.bfloat16
    assert np.corrcoef(np.ravel(rough.astype(jnp.float32)), np.ravel(exact))[0, 1] > 0.999


@each
def test_an_update_of_adafactor_lowers_the_loss_of_its_batch(model):
    """Of Adam: the training of packs below."""
    run = RunConfig(model, tokens=120, batch=3, optim=OptimConfig(3e-3, "adafactor", "constant", warmup=0.0))
    hyper = jax.tree.map(lambda leaf: leaf[0], step.Hyper.of((run,)))
    tokens = jnp.broadcast_to(np.random.default_rng(3).integers(0, 32, (3, 11)), (4, 3, 11))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def losses(hyper):
        state = step.init_state(run, hyper)
        return step.train_steps(run, hyper, state, tokens, 4)[1]["train_loss"]

    found = np.asarray(losses(hyper))
    assert (np.diff(found) < 0).all()


def go(runs, stream, folder, **options):
    return train.train(runs, stream[:15_000], stream[15_000:], folder, separator=0, **options)


@pytest.mark.parametrize("kind", ["universal", "lstm", "llama"])
def test_a_pack_has_the_losses_of_its_runs_alone_and_goes_on_where_it_was_interrupted(kind, stream, tmp_path):
    runs = [
        RunConfig(
            KINDS[kind],
            tokens=24 * 40,
            batch=4,
            seed=seed,
            optim=OptimConfig(learning_rate=rate),
            eval=EvalConfig(windows=8, per_octave=1, octaves=1),
        )
        for seed, rate in enumerate((1e-2, 3e-3))
    ]
    together = go(runs, stream, tmp_path / "together")
    assert together["train_loss"].shape == (24, 2)
    assert (together["eval_loss"][-1].mean(-1) < together["eval_loss"][0].mean(-1)).all()
    alone = go(runs[1:], stream, tmp_path / "alone")
    np.testing.assert_allclose(alone["train_loss"][:, 0], together["train_loss"][:, 1], rtol=1e-4)
    stops = iter([True, False, False])
    parts = go(runs, stream, tmp_path / "parts", should_stop=lambda: next(stops, False))
    assert not parts["finished"]
    parts = go(runs, stream, tmp_path / "parts")
    assert parts["finished"]
    for name in ("train_loss", "eval_loss", "grad_norm"):
        np.testing.assert_array_equal(parts[name], together[name], err_msg=name)
