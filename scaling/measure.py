"""What is measured of the runs of a pack between two updates, each on its own evaluation steps."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from scaling import histories, packs, sharding, step
from scaling.config import EvalConfig, RunConfig, program
from scaling.data import pairs, tasks
from scaling.data.batches import Batches, validation_windows
from scaling.errors import InputError

EVAL_TOKENS = 2048  # per group of an evaluation and device, to bound its memory


class Functions(NamedTuple):
    """The jitted measurements of a program; lanes first in all that they take and return."""

    loss: Any  # on windows that all lanes share
    own_loss: Any  # on windows of each lane
    by_frequency: Any
    noise: Any


def compiled(run: RunConfig, mesh: Mesh | None = None) -> Functions:
    """The functions of `config.program(run)`, which are the same whatever of them is asked for."""
    return _compiled(dataclasses.replace(program(run), eval=EvalConfig()), mesh)


@functools.cache
def _compiled(run: RunConfig, mesh: Mesh | None) -> Functions:
    def jitted(function, axes):
        function = step.over_runs(function, run, axes, mesh)
        return jax.jit(lambda *args: sharding.everywhere(function(*args), mesh))

    return Functions(
        loss=jitted(step.eval_step, (0, None)),
        own_loss=jitted(step.eval_step, (0, 0)),
        by_frequency=jitted(step.frequency_step, (0, None, None)),
        noise=jitted(step.noise_step, (0, 0)),
    )


@functools.cache
def _answers(run: RunConfig, n: int, mesh: Mesh | None) -> Any:
    """The jitted measurement of answers of `n` tokens; lanes first."""
    function = step.over_runs(functools.partial(step.answer_step, n=n), run, (0, None), mesh)
    return jax.jit(lambda *args: sharding.everywhere(function(*args), mesh))


@functools.cache
def _scores(run: RunConfig, mesh: Mesh | None) -> Any:
    """The jitted scores of pairs of texts; lanes first."""
    function = step.over_runs(step.score_step, run, (0, None), mesh)
    return jax.jit(lambda *args: sharding.everywhere(function(*args), mesh))


class Measurements:
    """The windows of a pack, and the rows of its history that they give."""

    def __init__(
        self,
        runs: Sequence[RunConfig],
        examples: Sequence[Batches],
        validation_tokens: np.ndarray,
        transfer_tokens: Mapping[str, np.ndarray],
        separator: int,
        mesh: Mesh | None = None,
    ):
        """
        Args:
          runs: of one program.
          examples: of each run.
          separator: the token that ends each document.

        Raises:
          InputError: a source of `eval.transfer` has no tokens here, or a stream is too short.
        """
        self.functions, self.runs, self.examples, self.mesh = compiled(runs[0], mesh), runs, examples, mesh
        self.first, self.steps = runs[0], [frozenset(run.eval_steps) for run in runs]
        model, wanted = self.first.model, self.first.eval
        tasks.fit(self.first)
        for name in wanted.transfer:
            if name not in transfer_tokens:
                raise InputError(
                    f"eval.transfer={name} has no tokens here; there are {', '.join(transfer_tokens) or 'none'}"
                )

        def windows(tokens: np.ndarray) -> jax.Array:
            return self._put(grouped(validation_windows(tokens, model.n_ctx, wanted.windows, separator), mesh))

        self.windows = windows(validation_tokens)
        if wanted.by_frequency:
            shown = validation_windows(validation_tokens, model.n_ctx, wanted.windows, separator)[:, 1:]
            of = parts_by_frequency(np.bincount(shown.reshape(-1), minlength=model.n_vocab), wanted.by_frequency)
            self.part = jnp.asarray(np.equal.outer(of, np.arange(wanted.by_frequency)), jnp.float32)
        of_all_tokens = compiled(dataclasses.replace(self.first, answers_after=None), mesh)  # of text that is no task
        self.transfer = [
            ((self.functions if tasks.alone(name) else of_all_tokens).loss, windows(transfer_tokens[name]))
            for name in wanted.transfer
        ]
        self.questions = [
            self._put(grouped(tasks.items(name, transfer_tokens[name], wanted.answers, separator), mesh))
            for name in wanted.tasks
        ]
        bare = dataclasses.replace(program(self.first), eval=EvalConfig())
        self.answers = [_answers(bare, tasks.parse(name).answer, mesh) for name in wanted.tasks]
        self.pairs = [
            self._put(grouped(pairs.windows(name, transfer_tokens[name], wanted.scores, separator), mesh))
            for name in wanted.scored
        ]
        self.ends = {run.steps for run in runs}
        self.scores = _scores(bare, mesh) if self.pairs else None

    def _put(self, tokens: np.ndarray) -> Any:
        """Windows ... b t+1 onto the devices, where they divide over them."""
        spread = self.mesh and tokens.shape[-2] % sharding.sequences(self.mesh.shape) == 0
        spec = PartitionSpec(*[None] * (tokens.ndim - 2), sharding.BATCH) if spread else None
        return jnp.asarray(tokens) if self.mesh is None else sharding.put(tokens, self.mesh, spec)

    def start(self) -> histories.History:
        """The history before the first measurement."""
        wanted = self.first.eval
        return histories.start(
            len(self.runs),
            self.first.model.n_ctx,
            windows=wanted.windows,
            noise=len(self.first.noise_batches) if wanted.noise else 0,
            transfer=len(wanted.transfer),
            train=wanted.train_windows > 0,
            answers=tasks.answers(wanted),
            by_frequency=wanted.by_frequency,
            scores=pairs.scores(wanted),
        )

    def rows(self, segment: packs.Segment, done: int, params: Any) -> dict[str, np.ndarray]:
        """One row for each kind of measurement after `done` updates, run first; none where no run is due.

        Only the lanes of runs that are due are computed, filled up to a power of two. params: lanes first.
        """
        due = {r for r, steps in enumerate(self.steps) if done in steps}
        lanes = [i for i, lane in enumerate(segment.lanes) if due & set(lane.runs)]
        if not lanes:
            return {}
        size = packs.lanes_for(len(lanes), len(segment.lanes))
        if size < len(segment.lanes):
            lanes += [lanes[0]] * (size - len(lanes))
            params = step.take(params, np.array(lanes), self.mesh)
        else:
            lanes = list(range(size))
        order = [self.examples[segment.lanes[i].like] for i in lanes]

        def by_run(values: Any) -> np.ndarray:
            """Values of the computed lanes, one row: 1 r ..., NaN for runs that are not due."""
            values = np.asarray(values)
            row = np.full((1, len(self.runs), *values.shape[1:]), np.nan, np.float32)
            for i, value in zip(lanes, values, strict=True):
                row[0, [r for r in segment.lanes[i].runs if r in due]] = value
            return row

        batch, wanted = self.first.batch, self.first.eval
        loss = self.functions.loss(params, self.windows)
        found = {"eval_loss": by_run(loss["positions"]), "window_loss": by_run(loss["windows"])}
        if self.transfer:
            each = [np.asarray(loss(params, windows)["positions"]).mean(-1) for loss, windows in self.transfer]
            found["transfer_loss"] = by_run(np.stack(each, 1))
        if self.questions:
            found |= {name: by_run(values) for name, values in self._answered(params).items()}
        if self.scores and done in self.ends:
            found["scores"] = by_run(np.stack([np.asarray(self.scores(params, texts)) for texts in self.pairs], 1))
        if wanted.by_frequency:
            found["frequency_loss"] = by_run(self.functions.by_frequency(params, self.windows, self.part))
        if wanted.noise:
            tokens = [one.examples(done * batch, wanted.noise * batch) for one in order]
            found["noise_sq"] = by_run(
                self.functions.noise(params, self._put(np.stack(tokens).reshape(len(lanes), wanted.noise, batch, -1)))
            )
        if wanted.train_windows:
            own = np.stack([grouped(one.examples(0, wanted.train_windows), self.mesh) for one in order])
            loss = self.functions.own_loss(params, self._put(own))
            found["train_eval_loss"] = by_run(np.asarray(loss["positions"]).mean(-1))
        return found

    def _answered(self, params: Any) -> dict[str, np.ndarray]:
        """What `answer_step` finds of each task, lanes first; by token NaN beyond the end of an answer."""
        each = [jax.device_get(look(params, items)) for look, items in zip(self.answers, self.questions, strict=True)]
        _, longest, _ = tasks.answers(self.first.eval)

        def padded(x: np.ndarray) -> np.ndarray:
            return np.pad(x, ((0, 0), (0, longest - x.shape[1])), constant_values=np.nan)

        by_token = {
            name: np.stack([padded(one[name.removeprefix("answer_")]) for one in each], 1)
            for name in histories.BY_TOKEN
        }
        return by_token | {"answer_wrong": np.stack([one["wrong"] for one in each], 1)}


def parts_by_frequency(counts: np.ndarray, k: int) -> np.ndarray:
    """The part of each token, i64 v, of k parts that hold about as many occurrences each: 0 has the commonest tokens.

    A token is in the part in which the middle of its occurrences lies; so one with more than 1 / k of them may leave
    parts before and after its own empty. Those that do not occur are in the last.
    """
    order = np.argsort(-counts, kind="stable")
    middle = np.cumsum(counts[order]) - counts[order] / 2
    found = np.empty(len(counts), np.int64)
    found[order] = np.minimum(k * middle / max(counts.sum(), 1), k - 1).astype(np.int64)
    return found


def compile_ahead(run: RunConfig, params: Any) -> None:
    """Compiles the measurement of the held-out loss. params: shapes, lanes first."""
    windows = grouped(np.zeros((run.eval.windows, run.model.n_ctx + 1), np.int32))
    compiled(run).loss.lower(params, jax.ShapeDtypeStruct(windows.shape, windows.dtype)).compile()


def grouped(windows: np.ndarray, mesh: Mesh | None = None) -> np.ndarray:
    """w t+1 -> g b t+1, in the largest equal groups of at most EVAL_TOKENS tokens on a device."""
    n, width = windows.shape
    parts = sharding.sequences(mesh.shape) if mesh and n % sharding.sequences(mesh.shape) == 0 else 1
    most = min(n // parts, max(1, EVAL_TOKENS // width))
    size = parts * next(size for size in range(most, 0, -1) if n // parts % size == 0)
    return windows.reshape(n // size, size, width)
