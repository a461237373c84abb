"""The loop: packs, interruptions, chunks, divergence."""

import dataclasses
import math
import random
from pathlib import Path

import jax
import numpy as np
import pytest

from scaling import record, step, train
from scaling.config import RunConfig, program
from scaling.data.batches import Batches


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
def whole(pair, stream, tmp_path_factory) -> tuple[Path, record.History]:
    """The pair trained in one go."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, train.train(pair, stream[:15_000], stream[15_000:], folder)


def go(runs, stream, folder, **options) -> record.History:
    return train.train(runs, stream[:15_000], stream[15_000:], folder, **options)


def saved(runs, folder: Path):
    """(step, state, history) of the newest checkpoint."""
    init, _, _ = train.compiled(program(runs[0]))
    kept = record.Record(folder)
    found = kept.restore(jax.eval_shape(init, step.Hyper.of(tuple(runs))), pytest.fail)
    kept.close()
    assert found is not None
    return found


def assert_same(found: record.History, wanted: record.History) -> None:
    """Bit for bit, wall-clock time apart."""
    assert found.keys() == wanted.keys()
    for name in found.keys() - {"seconds"}:
        assert found[name].dtype == wanted[name].dtype, name
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


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
    assert not record.diverged(history).any()


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
    init, _, _ = train.compiled(program(pair[0]))
    params = init(step.Hyper.of(tuple(still))).params
    losses = jax.jit(jax.vmap(lambda p, t: step.token_losses(pair[0], p, t).mean()))
    orders = [Batches(stream[:15_000], 16, run.U, run.seed) for run in still]
    for s in (0, 1, 23):
        tokens = np.stack([order.examples(s * 4, 4) for order in orders])
        np.testing.assert_allclose(history["train_loss"][s], losses(params, tokens), rtol=1e-5)


def test_a_run_that_becomes_nan_leaves_its_pack_mate_alone(pair, stream, whole, tmp_path):
    _, behaved = whole
    history = go(rates(pair[0], 1e-2, 1e30), stream, tmp_path)
    assert record.diverged(history).tolist() == [False, True]
    assert not np.isfinite(history["train_loss"][-1, 1])
    for name in ("train_loss", "grad_norm", "eval_loss"):
        np.testing.assert_array_equal(history[name][:, 0], behaved[name][:, 0], err_msg=name)
    assert len(history["train_loss"]) == pair[0].steps


def test_a_pack_ends_early_when_all_its_runs_are_lost(pair, stream, tmp_path):
    history = go(rates(pair[0], 1e30, 1e30), stream, tmp_path)
    assert history["finished"]
    assert len(history["train_loss"]) < pair[0].steps
    assert record.diverged(history).all()
    assert_same(go(rates(pair[0], 1e30, 1e30), stream, tmp_path), history)


def test_a_loss_that_ends_above_its_start_counts_as_diverged():
    """By the training loss of the last twentieth of the updates; a held-out loss may rise where a model over-fits."""
    n = 100
    history = record.start(4, 2) | {
        "train_loss": np.tile(np.linspace(4, 3, n, dtype=np.float32)[:, None], 4),
        "eval_loss": np.full((3, 4, 2), 4.0, np.float32),
    }
    history["train_loss"][-5:, 1] = 4.1
    history["train_loss"][50, 2] = 100  # a spike that it recovers from
    history["eval_loss"][-1, 3] = 9
    assert record.diverged(history).tolist() == [False, True, False, False]
    history["train_loss"][7, 0] = np.inf
    assert record.diverged(history).tolist() == [True, True, False, False]
    assert not record.diverged(record.start(4, 2)).any()


def test_the_number_of_updates_per_dispatch_changes_nothing(pair, stream, whole, tmp_path, monkeypatch):
    """Up to rounding: it is another program. That it does not matter where a dispatch ends is a claim of test_step."""
    monkeypatch.setattr(train, "CHUNK", 1)
    history = go(pair, stream, tmp_path)
    for name in ("train_loss", "grad_norm", "eval_loss"):
        np.testing.assert_allclose(history[name], whole[1][name], rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_interrupted_anywhere_is_the_run_uninterrupted(seed, pair, stream, whole, tmp_path, monkeypatch):
    """Checkpoints after every dispatch in half of the cases, only on leaving in the others."""
    folder, wanted = whole
    rng = random.Random(seed)
    if seed % 2:
        monkeypatch.setattr(train, "SAVE_EVERY", 0.0)
    history = go(pair, stream, tmp_path, should_stop=lambda: rng.random() < 0.6)
    while not history["finished"]:
        history = go(pair, stream, tmp_path, should_stop=lambda: rng.random() < 0.6)
    assert_same(history, wanted)
    assert_same(record.read_history(tmp_path) or {}, wanted)
    found, uninterrupted = saved(pair, tmp_path), saved(pair, folder)
    assert found[0] == uninterrupted[0] == pair[0].steps
    for a, b in zip(jax.tree.leaves(found[1]), jax.tree.leaves(uninterrupted[1]), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_leaving_before_the_first_update_leaves_nothing_behind_and_begins_again(pair, stream, whole, tmp_path):
    history = go(pair, stream, tmp_path, should_stop=lambda: True)
    assert not history["finished"]
    assert record.read_history(tmp_path) is None
    assert_same(go(pair, stream, tmp_path), whole[1])


def test_a_pack_continues_from_the_checkpoint_before_a_damaged_one(pair, stream, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "SAVE_EVERY", 0.0)
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
