"""The loop: one pack from its first step to its last."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from scaling import checkpoints, histories, kinds, measure, numerics, packs, sharding, step
from scaling.config import EvalConfig, ModelConfig, RunConfig, program
from scaling.data.batches import Batches
from scaling.models import model

if TYPE_CHECKING:
    from scaling.goodput import Session

SAVE_EVERY = 20.0  # seconds between checkpoints: what a crash may cost
SAVE_SHARE = 0.02  # of the time at most is spent in them, so where saving is slow they are further apart
CHUNK = 16  # updates per dispatch
COUNTED = 2**22  # tokens of a run's pool in which their frequencies are counted, at most
HASH = (2654435761, 2246822519, 3266489917, 668265263)  # odd, without a pattern: one for each axis of a weight


class Functions(NamedTuple):
    """The jitted functions of a program; traced once per process and number of lanes, compiled once per machine."""

    init: Any
    update: Any


def compiled(run: RunConfig, mesh: Mesh | None = None) -> Functions:
    """The functions of `config.program(run)`, which are the same whatever it measures on the way."""
    return _compiled(dataclasses.replace(program(run), eval=EvalConfig()), mesh)


@functools.cache
def _compiled(run: RunConfig, mesh: Mesh | None) -> Functions:
    train_steps = step.over_runs(step.train_steps, run, (0, 0, 1, None), mesh)

    def update(hyper, state, tokens, n):
        state, metrics = train_steps(hyper, state, tokens, n)
        return state, sharding.everywhere(metrics, mesh)

    return Functions(
        init=jax.jit(step.over_runs(step.init_state, run, (0,), mesh)), update=jax.jit(update, donate_argnums=1)
    )


@numerics.pinned()
def train(
    runs: Sequence[RunConfig],
    train_tokens: np.ndarray,
    validation_tokens: np.ndarray,
    folder: Path,
    *,
    separator: int,
    transfer_tokens: Mapping[str, np.ndarray] = MappingProxyType({}),
    mesh: Mesh | None = None,
    save_steps: int | None = None,
    say: Callable[[str], None] = print,
    progress: Callable[[int], None] = lambda done: None,
    should_stop: Callable[[], bool] = lambda: False,
    agree: Callable[[bool, bool], tuple[bool, bool]] = lambda stop, save: (stop, save),
    watch: Callable[[int, Mapping[str, np.ndarray]], None] = lambda done, metrics: None,
    session: "Session | None" = None,
) -> histories.History:
    """Trains the runs of one pack as one program, from the newest checkpoint in `folder` on, or from the start.

    Args:
      runs: of one program (`config.program`).
      train_tokens, validation_tokens: the packed streams.
      separator: the token that ends each document of them.
      transfer_tokens: the streams of the sources in `eval.transfer`, by their names there.
      mesh: the devices to use together (scaling.sharding); None: one.
      save_steps: save also every so many updates, at the end of the dispatch that reaches them.
      progress: called with the number of updates done, of the longest run.
      should_stop: asked between dispatches; when true, the pack is saved (once it has begun) and left.
      agree: called between dispatches with whether to stop and whether to save, and returns what is done: where
        several processes train together, the same in all (scaling.distributed).
      watch: told of each dispatch the updates done and the rows of its metrics, n r (scaling.watch).
      session: told what takes the time (scaling.goodput).

    Returns:
      The history; its `finished` tells whether updates are left.

    Raises:
      InputError: the mesh does not divide the pack, or the checkpoint in `folder` is of another one.
    """
    runs = tuple(runs)
    assert len({program(run) for run in runs}) == 1
    if mesh:
        sharding.check(runs, mesh.shape)
    functions = compiled(runs[0], mesh)
    plan = packs.segments(runs)
    last = plan[-1].end
    stops = sorted({at for run in runs for at in run.eval_steps} | {segment.end for segment in plan})
    examples = [Batches(train_tokens, run.model.n_ctx, run.pool, run.seed, separator) for run in runs]
    measured = measure.Measurements(runs, examples, validation_tokens, transfer_tokens, separator, mesh)

    at = session.at if session else lambda cause: contextlib.nullcontext()
    if session:
        session.started()
    kept = checkpoints.Record(folder, say)
    try:
        with at("restore"):
            restored = kept.restore(
                lambda done: abstract_state(runs, packs.at(plan, done), mesh), say, measured.start()
            )
        if restored and restored[2]["finished"]:
            return restored[2]
        segment = packs.at(plan, restored[0] if restored else 0)
        hyper = sharding.put(hyper_of(runs, segment), mesh)
        with at("compile"):
            done, state, history = restored or (
                0,
                _with_frozen(functions.init(hyper), runs, segment, train_tokens, mesh),
                measured.start(),
            )
        curve = histories.Curve(history)
        measured_at = max(history["eval_step"], default=-1)
        began = saved = time.monotonic()
        pause, saved_at = SAVE_EVERY, done
        spent = float(history["seconds"])
        known: set[int] = set()  # numbers of lanes whose program is there
        progress(done)
        ready = _chunk(runs, examples, plan, stops, done, mesh)
        while True:
            if done > measured_at and (rows := measured.rows(segment, done, state.params)):
                measured_at = done
                ended = [r for r, run in enumerate(runs) if run.steps == done]
                for name in histories.ENDS & rows.keys():
                    curve.replace(name, ended, rows.pop(name)[0, ended])
                curve.append(eval_step=np.array([done]), **rows)
            alive = done == 0 or np.isfinite(curve.last("train_loss")).any()
            finished = done >= last or not alive
            due = save_steps is not None and done // save_steps > saved_at // save_steps
            stop, save = agree(should_stop(), due or time.monotonic() - saved > pause)
            leaving, begun = finished or stop, False
            if leaving or (done and save):
                curve.set(
                    steps=np.array([min(done, run.steps) for run in runs]),
                    updates_trained=np.array(packs.trained(runs, done)),
                    seconds=np.asarray(spent + time.monotonic() - began),
                    finished=np.asarray(finished),
                )
                if done:
                    saving = time.monotonic()
                    with at("save"):
                        begun = kept.begin(done, state, curve.history(), last=leaving)
                    saved, saved_at = time.monotonic(), done
                    pause = max(SAVE_EVERY, (saved - saving) / SAVE_SHARE)
            with at("save"):
                kept.settle(wait=leaving)
            if session and begun:
                session.write()
            if leaving:
                return curve.history()
            following, n, tokens = ready
            if following != segment:
                segment, hyper = following, sharding.put(hyper_of(runs, following), mesh)
                state = step.take(state, np.array([lane.parent for lane in segment.lanes]), mesh)
            first = len(segment.lanes) not in known  # of this shape: it is compiled before it is begun
            known.add(len(segment.lanes))
            with at("compile") if first else contextlib.nullcontext():
                state, metrics = functions.update(hyper, state, tokens, n)
            done += n
            if done < last:
                ready = _chunk(runs, examples, plan, stops, done, mesh)  # while the device works
            rows = {name: _by_run(np.asarray(rows)[:, :n].T, segment, len(runs)) for name, rows in metrics.items()}
            curve.append(**rows)
            progress(done)
            watch(done, rows)
    finally:
        kept.close()


@numerics.pinned()
def compile_ahead(runs: Sequence[RunConfig]) -> None:
    """Compiles what training these runs will need, into the machine's cache of programs; nothing is trained.

    For another thread or process than the one that trains: XLA compiles without Python's lock.
    """
    runs = tuple(runs)
    first, functions = runs[0], compiled(runs[0])
    for segment in {len(segment.lanes): segment for segment in packs.segments(runs)}.values():
        hyper, state = hyper_of(runs, segment), abstract_state(runs, segment)
        tokens = (CHUNK, len(segment.lanes), first.batch, first.model.n_ctx + 1)
        functions.update.lower(hyper, state, jax.ShapeDtypeStruct(tokens, np.int32), 1).compile()
        measure.compile_ahead(first, state.params)
    functions.init.lower(hyper_of(runs, packs.segments(runs)[0])).compile()


@numerics.pinned()
def beginning(run: RunConfig) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of a run's weights, and two sums over each before the first update: sqrt(sum x^2), sum c x. -> f32 w 2

    c are numbers in [-1/2, 1/2) that depend on the place. Computed on one device, which need not hold the weights.
    """
    sums = _beginning(program(run).model)(np.uint32(run.seed))
    names = tuple(jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in jax.tree.leaves_with_path(sums))
    return names, np.stack([np.asarray(each) for each in jax.tree.leaves(sums)])


@functools.cache
def _beginning(config: ModelConfig) -> Any:
    def sums(x):
        at = jnp.zeros(x.shape, np.uint32)
        for k in range(x.ndim):
            at += jax.lax.broadcasted_iota(np.uint32, x.shape, k) * np.uint32(HASH[k])
        c = (at >> 16).astype(np.float32) / 2**16 - 0.5
        return jnp.stack([jnp.sqrt(jnp.sum(x * x)), jnp.sum(c * x)])

    return jax.jit(lambda seed: jax.tree.map(sums, model.init(config, jax.random.key(seed))))


def hyper_of(runs: Sequence[RunConfig], segment: packs.Segment) -> step.Hyper:
    return step.Hyper.of(tuple(runs[lane.like] for lane in segment.lanes))


def abstract_state(runs: Sequence[RunConfig], segment: packs.Segment, mesh: Mesh | None = None) -> Any:
    """The shapes of the state of a segment's lanes, and on a mesh how they lie there."""
    shapes = jax.eval_shape(compiled(runs[0], mesh).init, hyper_of(runs, segment))
    if mesh is None:
        return shapes
    return jax.tree.map(
        lambda leaf, lies: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=lies),
        shapes,
        sharding.shardings(shapes, mesh, shapes.params, lanes=True),
    )


def _with_frozen(
    state: step.TrainState, runs: Sequence[RunConfig], segment: packs.Segment, tokens: np.ndarray, mesh: Mesh | None
) -> step.TrainState:
    """A state at the start with the weights that the text decides and training leaves alone.

    Each lane has those of its own run's pool: neither what is prepared beyond it nor the rest of the pack matters.
    """
    model = runs[0].model
    counted = [min(COUNTED, runs[lane.like].pool) for lane in segment.lanes]
    frozen = {n: kinds.of(model).frozen(model, tokens[:n]) for n in sorted(set(counted))}
    own = {}
    for name in frozen[counted[0]]:
        leaf = state.params[name]
        lies = getattr(leaf.sharding, "spec", None)
        own[name] = sharding.put(np.stack([frozen[n][name] for n in counted]).astype(leaf.dtype), mesh, lies)
    return dataclasses.replace(state, params=state.params | jax.tree.map(jnp.asarray, own)) if own else state


def _chunk(
    runs: Sequence[RunConfig],
    examples: Sequence[Batches],
    plan: Sequence[packs.Segment],
    stops: Sequence[int],
    done: int,
    mesh: Mesh | None,
) -> tuple[packs.Segment, int, Any]:
    """The segment of the next dispatch, how many updates it does, and their tokens: i32 k lanes b t+1."""
    batch, n_ctx = runs[0].batch, runs[0].model.n_ctx
    segment = packs.at(plan, done + 1)
    n = min(CHUNK, next(stop for stop in stops if stop > done) - done)

    def rows(k: int, lanes: range, sequences: range) -> np.ndarray:
        """Of the batches of some lanes these sequences."""
        tokens = np.zeros((k, len(lanes), len(sequences), n_ctx + 1), np.int32)
        for at, i in enumerate(lanes):
            order = examples[segment.lanes[i].like]
            if len(sequences) == batch:
                tokens[:n, at] = order.examples(done * batch, n * batch).reshape(n, batch, -1)
            else:
                for j in range(n):
                    tokens[j, at] = order.examples((done + j) * batch + sequences.start, len(sequences))
        return tokens

    shape = (CHUNK, len(segment.lanes), batch, n_ctx + 1)
    if mesh is None:
        return segment, n, rows(CHUNK, range(shape[1]), range(batch))
    return segment, n, sharding.put_rows(shape, np.int32, mesh, rows)


def _by_run(rows: np.ndarray, segment: packs.Segment, n_run: int) -> np.ndarray:
    """Rows of lanes as rows of runs, NaN for those that are not trained. n lanes -> f32 n r"""
    found = np.full((len(rows), n_run), np.nan, np.float32)
    for i, lane in enumerate(segment.lanes):
        found[:, lane.runs] = rows[:, i, None]
    return found
