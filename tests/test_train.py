"""The loop: packs, interruptions, chunks, divergence."""

import contextlib
import dataclasses
import math
import random
from pathlib import Path

import jax
import numpy as np
import pytest

from scaling import checkpoints, distributed, histories, measure, packs, step, train
from scaling.config import EvalConfig, RunConfig
from scaling.data.batches import Batches, validation_windows
from scaling.errors import InputError

pytestmark = pytest.mark.usefixtures("unoptimised")


def rates(run: RunConfig, *learning_rates: float, **fields) -> list[RunConfig]:
    """Runs of one program that differ in seed and learning rate."""
    return [
        dataclasses.replace(run, seed=seed, optim=dataclasses.replace(run.optim, learning_rate=rate), **fields)
        for seed, rate in enumerate(learning_rates)
    ]


@pytest.fixture(scope="module")
def pair(tiny) -> list[RunConfig]:
    """Two runs of one program; every pack of two in this file shares it."""
    return rates(tiny, 1e-2, 3e-3)


@pytest.fixture(scope="module")
def whole(pair, stream, tmp_path_factory) -> tuple[Path, histories.History]:
    """The pair trained in one go."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train.train(pair, stream[:15_000], stream[15_000:], folder, separator=0)


def go(runs, stream, folder, **options) -> histories.History:
    return train.train(runs, stream[:15_000], stream[15_000:], folder, separator=0, **options)


def save_always(monkeypatch) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(train, "SAVE_SHARE", math.inf)


def saved(runs, folder: Path):
    """(step, state, history) of the newest checkpoint."""
    plan = packs.segments(runs)
    kept = checkpoints.Record(folder)
    found = kept.restore(lambda done: train.abstract_state(runs, packs.at(plan, done)), pytest.fail)
    kept.close()
    assert found is not None
    return found


def assert_same(found: histories.History, wanted: histories.History) -> None:
    """Bit for bit, wall-clock time apart."""
    assert found.keys() == wanted.keys()
    for name in found.keys() - {"seconds"}:
        assert found[name].dtype == wanted[name].dtype, name
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_ambient_settings_of_jax_that_would_change_what_a_run_is_change_nothing(pair, whole, stream, tmp_path):
    with contextlib.ExitStack() as ambient:
        ambient.enter_context(jax.enable_x64(True))
        ambient.enter_context(jax.default_prng_impl("rbg"))
        ambient.enter_context(jax.threefry_partitionable(False))
        ambient.enter_context(jax.numpy_dtype_promotion("strict"))
        jax.config.update("jax_random_seed_offset", 1)
        ambient.callback(jax.config.update, "jax_random_seed_offset", 0)
        assert_same(go(pair, stream, tmp_path), whole[1])
        assert jax.random.key_impl(jax.random.key(0)) == "rbg"  # as it was


def test_a_run_s_first_weights_are_known_by_two_sums_each(tiny):
    names, sums = train.beginning(tiny)
    np.testing.assert_array_equal(train.beginning(dataclasses.replace(tiny, tokens=4 * 16))[1], sums)
    other = train.beginning(dataclasses.replace(tiny, seed=1))[1]
    apart = np.abs(other - sums).max(-1) > distributed.NEAR * sums[:, 0]
    assert {name for name, differs in zip(names, apart, strict=True) if differs} >= {"w_embed", "w_qkv", "w_up"}


def test_a_pack_ends_with_a_curve_that_falls(pair, whole):
    _, history = whole
    S = pair[0].steps
    assert history["finished"]
    assert history["train_loss"].shape == history["grad_norm"].shape == (S, 2)
    assert history["eval_step"].tolist() == [0, 6, 12, 24] == list(pair[0].eval_steps)
    assert history["eval_loss"].shape == (4, 2, 16)
    loss = history["eval_loss"].mean(-1)
    np.testing.assert_allclose(loss[0], math.log(32), atol=0.05)
    assert (loss[-1] < loss[0] - 0.05).all()
    assert history["seconds"] > 0
    assert not histories.diverged(history).any()


def test_training_again_does_nothing(pair, stream, whole):
    folder, history = whole
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    again = go(pair, stream, folder)
    assert_same(again, history)
    assert again["seconds"] == history["seconds"]
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before


def test_a_pack_gives_the_losses_of_its_runs_trained_alone(pair, stream, whole, tmp_path):
    _, together = whole
    for r, run in enumerate(pair):
        alone = go([run], stream, tmp_path / str(r))
        np.testing.assert_allclose(alone["train_loss"][:, 0], together["train_loss"][:, r], rtol=1e-4)
        np.testing.assert_allclose(alone["eval_loss"][:, 0], together["eval_loss"][:, r], rtol=1e-3)


def test_runs_see_the_examples_of_their_own_seed_in_order(pair, stream, tmp_path):
    """The losses before the first update moves anything are those of examples 0, 1, ... of each run's order."""
    still = rates(pair[0], 1e-30, 1e-30)
    history = go(still, stream, tmp_path)
    params = train.compiled(pair[0]).init(step.Hyper.of(tuple(still))).params
    losses = jax.jit(jax.vmap(lambda p, t: step.token_losses(pair[0], p, t).mean()))
    orders = [Batches(stream[:15_000], 16, run.U, run.seed, separator=0) for run in still]
    for s in (0, 1, 23):
        tokens = np.stack([order.examples(s * 4, 4) for order in orders])
        np.testing.assert_allclose(history["train_loss"][s], losses(params, tokens), rtol=1e-5)


def test_a_run_that_becomes_nan_leaves_its_pack_mate_alone(pair, stream, whole, tmp_path):
    _, behaved = whole
    history = go(rates(pair[0], 1e-2, 1e30), stream, tmp_path)
    assert histories.diverged(history).tolist() == [False, True]
    assert not np.isfinite(history["train_loss"][-1, 1])
    for name in ("train_loss", "grad_norm", "eval_loss"):
        np.testing.assert_array_equal(history[name][:, 0], behaved[name][:, 0], err_msg=name)
    assert len(history["train_loss"]) == pair[0].steps


def test_a_pack_ends_early_when_all_its_runs_are_lost(pair, stream, tmp_path):
    history = go(rates(pair[0], 1e30, 1e30), stream, tmp_path)
    assert history["finished"]
    assert len(history["train_loss"]) < pair[0].steps
    assert histories.diverged(history).all()
    assert_same(go(rates(pair[0], 1e30, 1e30), stream, tmp_path), history)


def test_a_loss_that_ends_above_its_start_counts_as_diverged():
    """By the training loss of the last twentieth of the updates; a held-out loss may rise where a model over-fits."""
    n = 100
    history = histories.start(4, 2) | {
        "train_loss": np.tile(np.linspace(4, 3, n, dtype=np.float32)[:, None], 4),
        "eval_loss": np.full((3, 4, 2), 4.0, np.float32),
    }
    history["train_loss"][-5:, 1] = 4.1
    history["train_loss"][50, 2] = 100  # a spike that it recovers from
    history["eval_loss"][-1, 3] = 9
    assert histories.diverged(history).tolist() == [False, True, False, False]
    history["train_loss"][7, 0] = np.inf
    assert histories.diverged(history).tolist() == [True, True, False, False]
    assert not histories.diverged(histories.start(4, 2)).any()


def test_the_number_of_updates_per_dispatch_changes_nothing(pair, stream, whole, tmp_path, monkeypatch):
    """Up to rounding: it is another program. That it does not matter where a dispatch ends is a claim of test_step."""
    monkeypatch.setattr(train, "CHUNK", 1)
    history = go(pair, stream, tmp_path)
    for name in ("train_loss", "grad_norm", "eval_loss"):
        np.testing.assert_allclose(history[name], whole[1][name], rtol=1e-5)


@pytest.mark.parametrize("seed", range(2))
def test_a_run_interrupted_anywhere_is_the_run_uninterrupted(seed, pair, stream, whole, tmp_path, monkeypatch):
    """Once with checkpoints after every dispatch, once with those on leaving alone."""
    folder, wanted = whole
    rng = random.Random(seed)
    if seed % 2:
        save_always(monkeypatch)
    history = go(pair, stream, tmp_path, should_stop=lambda: rng.random() < 0.6)
    while not history["finished"]:
        history = go(pair, stream, tmp_path, should_stop=lambda: rng.random() < 0.6)
    assert_same(history, wanted)
    assert_same(checkpoints.read_history(tmp_path) or {}, wanted)
    found, uninterrupted = saved(pair, tmp_path), saved(pair, folder)
    assert found[0] == uninterrupted[0] == pair[0].steps
    for a, b in zip(jax.tree.leaves(found[1]), jax.tree.leaves(uninterrupted[1]), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_leaving_before_the_first_update_leaves_nothing_behind_and_begins_again(pair, stream, whole, tmp_path):
    history = go(pair, stream, tmp_path, should_stop=lambda: True)
    assert not history["finished"]
    assert checkpoints.read_history(tmp_path) is None
    assert_same(go(pair, stream, tmp_path), whole[1])


def test_a_pack_continues_from_the_checkpoint_before_a_damaged_one(pair, stream, whole, tmp_path, monkeypatch):
    save_always(monkeypatch)
    go(pair, stream, tmp_path)
    newest = tmp_path / "checkpoints" / "24"
    part = max((newest / "state").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    said: list[str] = []
    assert_same(go(pair, stream, tmp_path, say=said.append), whole[1])
    assert len(said) == 1
    assert "checkpoint of step 24 is unreadable, using the one before" in said[0]
    assert saved(pair, tmp_path)[0] == 24  # written again


def test_progress_counts_updates(pair, stream, tmp_path):
    told: list[int] = []
    go(pair, stream, tmp_path, progress=told.append)
    assert told[0] == 0
    assert told[-1] == pair[0].steps
    assert told == sorted(told)


def test_a_run_shorter_than_a_dispatch_and_a_run_of_one_update_end(tiny, stream, tmp_path):
    one = dataclasses.replace(tiny, tokens=tiny.batch_tokens)
    history = go([one], stream, tmp_path)
    assert history["finished"]
    assert history["eval_step"].tolist() == [0, 1]
    assert history["train_loss"].shape == (1, 1)


def test_repeated_tokens_are_learnt_by_heart(tiny, stream, tmp_path):
    """D processed and D available are two things: four windows again and again are learnt, the language is not."""
    few = rates(tiny, 1e-2, 1e-2)[1:]
    few = [dataclasses.replace(run, tokens=8 * tiny.tokens, unique_tokens=64) for run in few]
    history = go(few, stream, tmp_path)
    assert history["train_loss"][-1, 0] < 0.8 * history["eval_loss"][-1, 0].mean()


def wsd(run: RunConfig, steps: int, decay: float) -> RunConfig:
    optim = dataclasses.replace(run.optim, schedule="wsd", decay=decay, warmup_tokens=2 * run.batch_tokens)
    return dataclasses.replace(run, tokens=steps * run.batch_tokens, unique_tokens=30 * run.batch_tokens, optim=optim)


def linearly(run: RunConfig) -> RunConfig:
    return dataclasses.replace(run, optim=dataclasses.replace(run.optim, schedule="wsd_linear"))


@pytest.fixture(scope="module")
def several(tiny) -> list[RunConfig]:
    """Runs of one program in a pack of three, two and one lanes: two branches of a trunk, and two runs of their own."""
    adamw = dataclasses.replace(tiny.optim, optimizer="adamw", weight_decay=0.3, schedule="linear")
    return [
        wsd(tiny, 12, 0.25),  # cools down after 9 updates
        dataclasses.replace(tiny, tokens=6 * tiny.batch_tokens, seed=5, eval=EvalConfig(8, 2, 1)),
        linearly(wsd(tiny, 24, 0.25)),  # after 18
        dataclasses.replace(tiny, tokens=16 * tiny.batch_tokens, seed=6, optim=adamw),
    ]


@pytest.fixture(scope="module")
def together(several, stream, tmp_path_factory) -> tuple[Path, histories.History]:
    folder = tmp_path_factory.mktemp("several")
    return folder, go(several, stream, folder)


def test_runs_of_several_lengths_have_the_results_of_runs_trained_alone(several, stream, together, tmp_path):
    _, history = together
    assert history["finished"]
    assert history["steps"].tolist() == [12, 6, 24, 16]
    assert history["updates_trained"].tolist() == [4.5 + 3, 6, 4.5 + 15, 16]  # nine were those of two
    assert history["train_loss"].shape == history["grad_norm"].shape == (24, 4)
    assert not histories.diverged(history).any()
    for r, run in enumerate(several):
        alone = go([run], stream, tmp_path / str(r))
        assert alone.keys() == history.keys()
        for name in ("train_loss", "grad_norm"):
            np.testing.assert_allclose(history[name][: run.steps, r], alone[name][:, 0], rtol=1e-4, err_msg=name)
            assert np.isnan(history[name][run.steps :, r]).all()
        own = np.isin(history["eval_step"], run.eval_steps)
        assert history["eval_step"][own].tolist() == alone["eval_step"].tolist() == list(run.eval_steps)
        np.testing.assert_allclose(history["eval_loss"][own, r], alone["eval_loss"][:, 0], rtol=1e-3)
        assert np.isnan(history["eval_loss"][~own, r]).all()
        np.testing.assert_allclose(history["window_loss"][r], alone["window_loss"][0], rtol=1e-3)
        assert history["window_loss"][r].mean() == pytest.approx(history["eval_loss"][own, r][-1].mean(), rel=1e-5)


def test_branches_are_one_run_up_to_the_cooldown_and_two_after_it(together):
    _, history = together
    short, long = history["train_loss"][:12, 0], history["train_loss"][:12, 2]
    np.testing.assert_array_equal(short[:11], long[:11])  # the rate of update 10 is that of the trunk still
    assert short[11] != long[11]


def test_a_pack_interrupted_at_every_dispatch_and_before_a_seal_is_the_pack_uninterrupted(
    several, stream, together, tmp_path
):
    """Sessions of one dispatch each, so that every fork and every shrinking is just before or just after a restart."""
    folder, wanted = together
    session = 0
    history = histories.start(4, 16)
    while not history["finished"]:
        asked = iter((False,))
        history = go(several, stream, tmp_path, should_stop=lambda asked=asked: next(asked, True))
        session += 1
        (tmp_path / "checkpoints" / str(len(history["train_loss"])) / checkpoints.SEAL).unlink()
    assert session >= len(packs.segments(several))
    assert_same(history, wanted)
    assert_same(checkpoints.read_history(tmp_path) or {}, wanted)
    for a, b in zip(*(jax.tree.leaves(saved(several, where)[1]) for where in (tmp_path, folder)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_branch_that_becomes_nan_leaves_its_pack_mates_alone(several, stream, together, tmp_path):
    _, behaved = together
    lost = dataclasses.replace(several[3], optim=dataclasses.replace(several[3].optim, learning_rate=1e30))
    history = go([*several[:3], lost], stream, tmp_path)
    assert histories.diverged(history).tolist() == [False, False, False, True]
    assert history["steps"].tolist() == behaved["steps"].tolist()
    for name in ("train_loss", "grad_norm", "eval_loss"):
        np.testing.assert_array_equal(history[name][:, :3], behaved[name][:, :3], err_msg=name)
    np.testing.assert_array_equal(history["window_loss"][:3], behaved["window_loss"][:3])


def test_what_else_is_measured_changes_no_bit_of_the_training(pair, stream, whole, tmp_path):
    other = np.random.default_rng(1).integers(0, 32, 2_000).astype(np.uint16)
    asked = EvalConfig(8, 1, 2, noise=2, transfer=("noise", "same"), train_windows=4, by_frequency=3)
    runs = [dataclasses.replace(run, eval=asked) for run in pair]
    streams = {"same": stream[15_000:], "noise": other}
    asked_twice = iter((False, False))
    go(runs, stream, tmp_path, transfer_tokens=streams, should_stop=lambda: next(asked_twice, True))
    history = go(runs, stream, tmp_path, transfer_tokens=streams)
    extra = {"noise_sq", "transfer_loss", "train_eval_loss", "frequency_loss"}
    assert_same({name: history[name] for name in history.keys() - extra}, whole[1])
    assert history["noise_sq"].shape == (4, 2, 3)  # batches of 1, 2 and 4 sequences
    assert (np.diff(history["noise_sq"], axis=2) < 0).all()
    assert history["transfer_loss"].shape == (4, 2, 2)
    np.testing.assert_allclose(history["transfer_loss"][:, :, 1], history["eval_loss"].mean(-1), rtol=1e-5)
    assert (history["transfer_loss"][-1, :, 0] > history["transfer_loss"][-1, :, 1]).all()  # it is not like that text
    windows = validation_windows(stream[15_000:], 16, 8, 1)[:, 1:]
    counts = np.bincount(windows.reshape(-1), minlength=32)
    part = measure.parts_by_frequency(counts, 3)
    weights = [counts[part == k].sum() for k in range(3)]
    assert max(weights) - min(weights) <= counts.max()
    assert all(counts[part == k].min() >= counts[part == k + 1].max() for k in range(2))
    whole_loss = (history["frequency_loss"] * weights).sum(-1) / sum(weights)
    np.testing.assert_allclose(whole_loss, history["eval_loss"].mean(-1), rtol=1e-5)
    with pytest.raises(InputError, match=r"eval\.transfer=same has no tokens here; there are noise"):
        go(runs, stream, tmp_path / "none", transfer_tokens={"noise": other})


def test_saves_come_by_updates_where_they_are_asked_for(pair, stream, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "CHUNK", 1)

    def killed(done, metrics):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(pair, stream, tmp_path, save_steps=3, watch=killed)
    assert saved(pair, tmp_path)[0] == 6


def test_the_loss_on_training_windows_is_that_of_the_first_examples(pair, stream, tmp_path):
    still = rates(pair[0], 1e-30, 1e-30)
    history = go(
        [dataclasses.replace(run, eval=EvalConfig(8, 1, 2, train_windows=4)) for run in still], stream, tmp_path
    )
    np.testing.assert_allclose(history["train_eval_loss"], np.tile(history["train_loss"][0], (4, 1)), rtol=1e-5)


def test_nothing_that_was_compiled_ahead_is_compiled_again(tiny):
    run = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, d_ff=20))  # nobody else's program
    train.compile_ahead([run])
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration_secs, **kwargs: compiled.append(event) if "backend_compile" in event else None
    )
    hyper = train.hyper_of([run], packs.segments([run])[0])
    functions, windows = train.compiled(run), np.zeros((1, 8, 17), np.int32)
    state = functions.init(hyper)
    state, _ = functions.update(hyper, state, np.zeros((train.CHUNK, 1, 4, 17), np.int32), 3)
    measure.compiled(run).loss(state.params, windows)
    assert not compiled
    jax.jit(lambda x: x + 1)(jax.numpy.ones(7))
    assert compiled
