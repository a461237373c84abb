"""The loop: one pack from its first step to its last."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling import record, step
from scaling.config import RunConfig, program
from scaling.data.batches import Batches, validation_windows

SAVE_EVERY = 20.0  # seconds between checkpoints: what a crash may cost
CHUNK = 16  # updates per dispatch
EVAL_TOKENS = 2048  # per group of an evaluation, to bound its memory


@functools.cache
def compiled(run: RunConfig) -> tuple[Any, Any, Any]:
    """The jitted (init, train, evaluate) of a program; traced once per process, compiled once per machine."""
    init = jax.jit(step.over_runs(step.init_state, run, (0,)))
    train = jax.jit(step.over_runs(step.train_steps, run, (0, 0, 1, None)), donate_argnums=1)
    evaluate = jax.jit(step.over_runs(step.eval_step, run, (0, None)))
    return init, train, evaluate


def train(
    runs: Sequence[RunConfig],
    train_tokens: np.ndarray,
    validation_tokens: np.ndarray,
    folder: Path,
    *,
    say: Callable[[str], None] = print,
    progress: Callable[[int], None] = lambda done: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> record.History:
    """Trains the runs of one pack as one program, from the newest checkpoint in `folder` on, or from the start.

    Args:
      runs: equal up to seed, learning rate, schedule and unique tokens.
      train_tokens, validation_tokens: the packed streams.
      progress: called with the number of updates done.
      should_stop: asked between dispatches; when true, the pack is saved (once it has begun) and left.

    Returns:
      The history; its `finished` tells whether updates are left.
    """
    runs = tuple(runs)
    first = runs[0]
    assert all(program(run) == program(first) and run.eval_steps == first.eval_steps for run in runs)
    init, update, evaluate = compiled(program(first))
    hyper = step.Hyper.of(runs)
    order = [Batches(train_tokens, run.model.n_ctx, run.U, run.seed) for run in runs]
    windows = _grouped(validation_windows(validation_tokens, first.model.n_ctx, first.eval.windows))

    kept = record.Record(folder)
    try:
        restored = kept.restore(jax.eval_shape(init, hyper), say)
        done, state, history = restored or (0, init(hyper), record.start(len(runs), first.model.n_ctx))
        if history["finished"]:
            return history
        began = saved = time.monotonic()
        spent = float(history["seconds"])
        progress(done)

        def chunk(done: int) -> tuple[int, np.ndarray]:
            """How many updates the next dispatch does, and their tokens: k r b t+1."""
            n = min(CHUNK, next(at for at in (*first.eval_steps, first.steps) if at > done) - done)
            tokens = np.zeros((CHUNK, len(runs), first.batch, first.model.n_ctx + 1), np.int32)
            for r, batches in enumerate(order):
                tokens[:n, r] = batches.examples(done * first.batch, n * first.batch).reshape(n, first.batch, -1)
            return n, tokens

        ready = chunk(done) if done < first.steps else None
        while True:
            if done in first.eval_steps and done not in history["eval_step"]:
                history = _append(history, eval_step=[done], eval_loss=[evaluate(state.params, windows)])
            alive = done == 0 or bool(np.isfinite(history["train_loss"][-1]).any())
            history["finished"] = np.asarray(done >= first.steps or not alive)
            leaving = bool(history["finished"]) or should_stop()
            if done and (leaving or time.monotonic() - saved > SAVE_EVERY):
                history["seconds"] = np.asarray(spent + time.monotonic() - began)
                kept.save(done, state, history)
                saved = time.monotonic()
            if leaving:
                return history
            assert ready is not None
            n, tokens = ready
            state, metrics = update(hyper, state, tokens, n)
            done += n
            ready = chunk(done) if done < first.steps else None  # while the device works
            history = _append(history, **{name: np.asarray(values)[:, :n].T for name, values in metrics.items()})
            progress(done)
    finally:
        kept.close()


def _append(history: record.History, **new: Any) -> record.History:
    return history | {
        name: np.concatenate([history[name], np.asarray(values, history[name].dtype)]) for name, values in new.items()
    }


def _grouped(windows: np.ndarray) -> jax.Array:
    """w t+1 -> g b t+1, in the largest equal groups of at most EVAL_TOKENS tokens."""
    n, width = windows.shape
    size = next(size for size in range(min(n, max(1, EVAL_TOKENS // width)), 0, -1) if n % size == 0)
    return jnp.asarray(windows.reshape(n // size, size, width), jnp.int32)
