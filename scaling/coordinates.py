"""The coordinate check of a parametrisation: how far activations move in the first updates, against the width.

Yang et al. (2022), arXiv 2203.03466, section D.1: one learning rate at all widths, and after each of the first updates
the mean of |h_t - h_0| over the coordinates of the stream and of the logits, on tokens that are not trained on. Under
muP it does not depend on the width: its slope over the width, log-log, is 0. Under the standard one it rises. What
falls with the width in the first updates and is gone by the last is the part of an update that is not aligned with
the activations, of order width^-1/2.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scaling import kinds, numerics, step
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig, Study
from scaling.data import batches
from scaling.errors import InputError
from scaling.models import model
from scaling.study import tokens_of

UPDATES = 10
SEEDS = 4
PROBE = 16  # windows whose activations are followed
TOP = 3  # widths, the largest, that a slope is of: narrow models are not yet in the limit that the table is about
QUICK = {"xla_backend_optimization_level": 0}  # each program runs once


@dataclasses.dataclass(frozen=True)
class Moved:
    """How far activations moved under one parametrisation.

    Attributes:
        n_layer: of all models.
        places: "tokens", "layer 1", ..., "logits".
        widths: d_model, rising.
        distance: mean |h_t - h_0| over coordinates, positions and seeds: update from 1, width, place.
    """

    parametrization: str
    n_layer: int
    places: tuple[str, ...]
    widths: tuple[int, ...]
    distance: np.ndarray

    @property
    def slopes(self) -> np.ndarray:
        """d ln(distance) / d ln(width) over the largest widths: update, place."""
        x = np.log(self.widths[-TOP:])
        x = x - x.mean()
        return np.einsum("w,swp->sp", x / (x @ x), np.log(self.distance[:, -TOP:]))


@dataclasses.dataclass(frozen=True)
class Check:
    """The check of a study's parametrisations, all at one learning rate."""

    learning_rate: float
    found: tuple[Moved, ...]

    def text(self) -> str:
        """For a terminal: slopes after the first and the last update, and the mean over all."""
        said = [
            f"Slopes of ln mean |h_t - h_0| over ln width, {TOP} largest widths, learning rate {self.learning_rate:g}, "
            f"{SEEDS} seeds; 0 does not depend on the width.",
        ]
        form = "{:<14} {:<9} {:>9} {:>9} {:>9}"
        for moved in self.found:
            widths = ", ".join(map(str, moved.widths))
            said += ["", f"{moved.parametrization}, depth {moved.n_layer}, widths {widths}"]
            said.append(form.format("", "", "update 1", f"update {UPDATES}", "mean").rstrip())
            for k, place in enumerate(moved.places):
                slopes = moved.slopes[:, k]
                numbers = (f"{slope:+.3f}".replace("-", "−") for slope in (slopes[0], slopes[-1], slopes.mean()))
                said.append(form.format("", place, *numbers))
        return "\n".join(said)

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {
            "learning_rate": self.learning_rate,
            "parametrizations": [
                dataclasses.asdict(moved) | {"distance": moved.distance.tolist(), "slopes": moved.slopes.tolist()}
                for moved in self.found
            ],
        }


def check(study: Study, say: Callable[[str], None]) -> Check:
    """The coordinate check of each parametrisation in a study, over the widths of its models.

    The models are those of the depth that has the most widths. The learning rate is the lowest that the study tries,
    from the first update on: where some width nearly diverges, activations say nothing of the parametrisation.

    Raises:
        InputError: fewer than three widths of Transformers, or their text cannot be read.
    """
    runs = [run for run in study.runs if "parametrization" in kinds.of(run.model).fields and run.model.n_layer]
    rate = min((run.optim.learning_rate for run in runs), default=0.0)
    found = []
    for name in dict.fromkeys(run.model.parametrization for run in runs):
        of_depth: dict[int, dict[int, RunConfig]] = {}
        for run in runs:
            if run.model.parametrization == name:
                of_depth.setdefault(run.model.n_layer, {}).setdefault(run.model.d_model, run)
        ladder = max(of_depth.values(), key=len)
        if len(ladder) >= TOP:
            begun = [_beginning(ladder[width], rate) for width in sorted(ladder)]
            text = tokens_of((begun[0].data, begun[0].model.n_vocab), begun[:1], say)
            found.append(moved(begun, text.train, text.validation, separator=text.separator, say=say))
    if not found:
        raise InputError(
            f"study {study.name!r} has no {TOP} Transformers of one depth and several widths; configs/transfer.py has"
        )
    return Check(rate, tuple(found))


@numerics.pinned()
def moved(
    runs: Sequence[RunConfig],
    train_tokens: np.ndarray,
    validation_tokens: np.ndarray,
    *,
    separator: int,
    say: Callable[[str], None] = lambda line: None,
) -> Moved:
    """What the updates of runs that differ in the width of their models do, UPDATES in each.

    Args:
      runs: in order of their width; their seeds are not looked at.
      train_tokens, validation_tokens, separator: as of `train.train`; activations are followed on the latter.
    """
    distances = []
    for run in runs:
        say(f"{run.model.parametrization}, d_model={run.model.d_model}")
        probe = batches.validation_windows(validation_tokens, run.model.n_ctx, PROBE, separator)
        distances.append(_distances(run, train_tokens, probe[:, :-1], separator))
    first = runs[0].model
    places = ("tokens", *(f"layer {k + 1}" for k in range(first.n_layer)), "logits")
    widths = tuple(run.model.d_model for run in runs)
    return Moved(first.parametrization, first.n_layer, places, widths, np.stack(distances, 1))


def _beginning(run: RunConfig, rate: float) -> RunConfig:
    """The first updates of a run at a constant rate, with as many held-out windows as are followed."""
    optim = dataclasses.replace(
        run.optim, learning_rate=rate, schedule="constant", warmup=0.0, warmup_tokens=None, decay=OptimConfig.decay
    )
    probed = EvalConfig(windows=PROBE)
    return dataclasses.replace(run, tokens=UPDATES * run.batch_tokens, unique_tokens=None, optim=optim, eval=probed)


def _distances(run: RunConfig, train_tokens: np.ndarray, probe: np.ndarray, separator: int) -> np.ndarray:
    """Of one model, seeds averaged: f64 update place. probe: i32 b t."""
    seeds = [dataclasses.replace(run, seed=seed) for seed in range(SEEDS)]
    n_ctx = run.model.n_ctx
    orders = [batches.Batches(train_tokens, n_ctx, run.pool, seed.seed, separator) for seed in seeds]
    examples = np.stack([order.examples(0, UPDATES * run.batch) for order in orders])
    examples = examples.reshape(SEEDS, UPDATES, run.batch, n_ctx + 1)

    def walk(hyper: step.Hyper, examples: jax.Array) -> jax.Array:
        state = step.init_state(run, hyper)
        start = _activations(run.model, state.params, probe)

        def update(state, tokens):
            state, _ = step.train_step(run, hyper, state, tokens)
            now = _activations(run.model, state.params, probe)
            return state, jnp.stack([jnp.abs(a - b).mean() for a, b in zip(now, start, strict=True)])

        return jax.lax.scan(update, state, examples)[1]

    found = jax.jit(jax.vmap(walk), compiler_options=QUICK)(step.Hyper.of(tuple(seeds)), examples)
    return np.asarray(found, np.float64).mean(0)


def _activations(config: ModelConfig, params, tokens) -> list[jax.Array]:
    """The stream before and after each layer, and the logits."""
    return [*model.stream(config, params, tokens), model.apply(config, params, tokens)]
