"""One learning rate for a ladder: the factors of each weight, and what they must leave as it is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import OLD

from scaling import optim, parametrization, step
from scaling.config import ModelConfig, OptimConfig, RunConfig
from scaling.errors import InputError
from scaling.ladder import lstm, transformer
from scaling.models import model
from scaling.parametrization import Factors, factors
from scaling.step import Hyper

UPDATES = 8
# For programs that run once. By the older emitters two programs of one mathematics would differ in a last bit.
QUICK = {"xla_backend_optimization_level": 0} | ({"xla_cpu_use_fusion_emitters": True} if OLD else {})
OPTIM = OptimConfig(learning_rate=2.0**-6, optimizer="adamw", weight_decay=0.25, eps=2.0**-20, clip=1e9)


def run_of(d_model: int, n_layer: int, **fields) -> RunConfig:
    small = transformer(d_model, n_layer, 8, n_vocab=32, n_ctx=16, tied=False, **fields)
    return RunConfig(small, tokens=UPDATES * 4 * 16, batch=4, optim=OPTIM)


def hyper_of(run: RunConfig) -> Hyper:
    return jax.tree.map(lambda leaf: leaf[0], Hyper.of((run,)))


def quick(function):
    return jax.jit(function, compiler_options=QUICK)


def begun(config: ModelConfig):
    return quick(lambda: model.init(config, jax.random.key(0)))()


def examples(stream: np.ndarray) -> jax.Array:
    return jnp.asarray(stream[: UPDATES * 4 * 17].reshape(UPDATES, 4, 17), jnp.int32)


def trained(run: RunConfig, stream: np.ndarray):
    """State and losses after all updates of a run."""

    def whole(hyper):
        return step.train_steps(run, hyper, step.init_state(run, hyper), examples(stream), UPDATES)

    state, metrics = quick(whole)(hyper_of(run))
    return state, np.asarray(metrics["train_loss"])


def test_at_the_base_a_model_is_the_standard_one_to_the_last_bit(stream):
    state, _ = trained(run_of(16, 1), stream)
    for fields in ({"parametrization": "mup"}, {"parametrization": "completep", "base_depth": 1}):
        found, _ = trained(run_of(16, 1, base_width=16, **fields), stream)
        assert set(found.params) == set(state.params)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(state), strict=True):
            np.testing.assert_array_equal(a, b)


def by_hand(run: RunConfig, stream: np.ndarray, also: dict[str, Factors]) -> np.ndarray:
    """The run's losses from its parts, with factors of our own beside those of its parametrisation."""
    hyper = hyper_of(run)

    def loss(params, tokens):
        used = {name: w * also[name].multiplier for name, w in params.items()}
        return step.token_losses(run, used, tokens).mean()

    def whole(hyper):
        params = {name: w * also[name].init for name, w in model.init(run.model, jax.random.key(hyper.seed)).items()}
        table = {
            name: Factors(*(a * b for a, b in zip(factors(run.model, name), also[name], strict=True)))
            for name in params
        }
        optimizer = optim.optimizer(run.optim, table)

        def update(carry, tokens):
            params, state, i = carry
            found, grads = jax.value_and_grad(loss)(params, tokens)
            updates, state = optimizer.update(grads, state, params)
            params = optim.descend(params, updates, hyper.schedule(i), hyper.weight_decay, table)
            return (params, state, i + 1), found

        return jax.lax.scan(update, (params, optimizer.init(params), jnp.int32(0)), examples(stream))[1]

    return np.asarray(quick(whole)(hyper))


def test_a_multiplier_may_take_the_place_of_initial_values_rate_decay_and_epsilon(stream):
    """The symmetry behind every such table (Yang and Hu 2021, arXiv 2011.14522): exact for powers of two.

    Were one factor applied in the wrong place or not at all, the losses would part.
    """
    run = run_of(32, 1, parametrization="completep", base_width=16)
    assert factors(run.model, "w_down").multiplier == 2  # half as deep as the base
    names = list(jax.eval_shape(lambda: model.init(run.model, jax.random.key(0))))
    powers = dict(zip(names, np.random.default_rng(0).choice([0.25, 0.5, 2.0, 4.0, 8.0], len(names)), strict=True))
    turned = {
        name: Factors(init=1 / float(t), multiplier=float(t), rate=1 / float(t), decay=float(t), epsilon=float(t))
        for name, t in powers.items()
    }
    losses = trained(run, stream)[1]
    assert len(set(losses.tolist())) == UPDATES
    np.testing.assert_array_equal(by_hand(run, stream, turned), losses)
    without = {name: found._replace(epsilon=1.0) for name, found in turned.items()}
    assert (by_hand(run, stream, without) != losses).any()


def test_the_factors_are_those_of_the_published_table():
    """Dey et al. (2025), Table 1, at four times the width and three times the depth of the base."""
    deep = transformer(64, 6, tied=False, parametrization="completep", base_width=16)
    n, l = 4, 3
    hidden = Factors(rate=1 / n, decay=n, epsilon=1 / (n * l))
    wanted = {
        "w_embed": Factors(epsilon=1 / n),
        "g_final": Factors(epsilon=1 / n),
        "w_head": Factors(init=1 / n, rate=1 / n, decay=n),
        "w_qkv": hidden,
        "w_up": hidden,
        "w_out": hidden._replace(multiplier=1 / l),
        "w_down": hidden._replace(multiplier=1 / l),
        "b_down": Factors(multiplier=1 / l, epsilon=1 / (n * l)),
        "b_up": Factors(epsilon=1 / (n * l)),
        "g_attn": Factors(epsilon=1 / (n * l)),
    }
    wide = dataclasses.replace(deep, parametrization="mup")
    for name, found in wanted.items():
        assert factors(deep, name) == pytest.approx(found), name
        width_alone = found._replace(multiplier=1.0, epsilon=1.0 if name == "w_head" else 1 / n)
        assert factors(wide, name) == pytest.approx(width_alone), name
        assert factors(transformer(64, 6, tied=False), name) == Factors(), name


def test_first_values_are_the_base_s_but_for_the_readout_and_the_fan_in():
    def spread(**fields) -> dict[str, float]:
        wide = transformer(256, 1, n_vocab=256, n_ctx=16, tied=False, positions="learned", **fields)
        found = begun(wide)
        return {name: float(np.std(w)) for name, w in found.items() if name.startswith("w_")}

    found, standard = spread(parametrization="mup"), spread()
    for name, wanted in (("w_embed", 0.02), ("w_pos", 0.02), ("w_head", 0.02 / 4), ("w_qkv", 1 / 16), ("w_up", 1 / 16)):
        assert found[name] == pytest.approx(wanted, rel=0.03), name
    assert standard["w_embed"] == pytest.approx(2 / 256, rel=0.03)
    assert standard["w_head"] == pytest.approx(2 / 256, rel=0.03)


def test_what_a_layer_adds_to_the_stream_is_less_in_deeper_models_under_completep(stream):
    tokens = examples(stream)[0][:, :-1]
    deep = run_of(16, 4, parametrization="completep", base_width=16).model
    params = {name: w + 0.1 * jax.random.normal(jax.random.key(1), w.shape) for name, w in begun(deep).items()}

    def added(config: ModelConfig) -> jax.Array:
        """By the first attention alone."""
        silent = params | {name: jnp.zeros_like(params[name]) for name in ("w_down", "b_down")}
        stream = quick(lambda: model.stream(config, silent, tokens))()
        return stream[1] - stream[0]

    full = added(dataclasses.replace(deep, parametrization="mup"))
    np.testing.assert_allclose(added(deep), full / 2, rtol=1e-4, atol=1e-5)


def test_the_stream_ends_where_the_logits_begin(stream):
    tokens = examples(stream)[0][:, :-1]
    config = run_of(16, 2, parametrization="mup", base_width=8).model
    params = begun(config)
    last = quick(lambda: model.stream(config, params, tokens)[-1])()
    normed = (last - last.mean(-1, keepdims=True)) / jnp.sqrt(last.var(-1, keepdims=True) + 1e-5)
    logits = quick(lambda: model.apply(config, params, tokens))()
    np.testing.assert_allclose(logits, normed @ params["w_head"].T, rtol=1e-4, atol=1e-6)


def test_a_head_of_its_own_begins_like_the_embedding_and_leaves_the_other_weights_as_they_are():
    tied = transformer(32, 1, n_vocab=512, n_ctx=16)
    params, found = (begun(dataclasses.replace(tied, tied=one)) for one in (True, False))
    head = found.pop("w_head")
    assert np.std(head) == pytest.approx(float(np.std(found["w_embed"])), rel=0.03)
    assert (head != found["w_embed"]).any()
    for name, w in params.items():
        np.testing.assert_array_equal(found[name], w)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: transformer(32, 2, parametrization="mup"), "a head tied to the embedding.*--set model.tied=false"),
        (lambda: transformer(32, 2, base_width=32), "model.base_width=32 with model.parametrization=standard"),
        (
            lambda: transformer(32, 2, tied=False, parametrization="mup", base_depth=4),
            "model.base_depth=4 with model.parametrization=mup, which has no rule of depth",
        ),
        (lambda: lstm(32, 2, tied=False, parametrization="mup"), "with model.kind=lstm: it says nothing of an LSTM"),
        (lambda: transformer(32, 0, tied=False, parametrization="completep"), "with model.n_layer=0: its table"),
        (lambda: transformer(32, 2, tied=False, parametrization="mup", base_width=0), "model.base_width=0 must be"),
        (
            lambda: dataclasses.replace(run_of(32, 2, parametrization="mup"), optim=OptimConfig(optimizer="muon")),
            "model.parametrization=mup with optim.optimizer=muon: its table is about Adam",
        ),
    ],
)
def test_a_parametrisation_that_cannot_keep_its_promise_is_refused_in_one_line(make, words):
    with pytest.raises(InputError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_every_weight_of_a_model_is_in_a_column_of_the_table():
    names = jax.eval_shape(lambda: model.init(run_of(16, 1, positions="learned").model, jax.random.key(0)))
    columns = {name: parametrization.kind(name) for name in names}
    assert {name for name, column in columns.items() if column == "readout"} == {"w_head"}
    assert {name for name, column in columns.items() if column == "embedding"} == {
        *("w_embed", "w_pos", "g_final", "b_final")
    }
    assert {name for name, column in columns.items() if column == "hidden"} == {"w_qkv", "w_out", "w_up", "w_down"}
