"""Optimisers and schedules.

The learning rate, its schedule, the weight decay and the number of steps are arrays, so runs that differ in them share
one program. What weights of one model have in different measure (`scaling.parametrization`) is numbers of the program.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from scaling import optimizers, schedules, sharding
from scaling.config import OptimConfig, RunConfig
from scaling.parametrization import Factors, times

MOMENTUM = 0.95  # of Muon: Jordan et al. (2024)
MUON_RMS = 0.2  # about the root mean square of its updates
ALIKE: Mapping[str, Factors] = MappingProxyType({})  # factors of weights that all are treated alike


@flax.struct.dataclass
class Schedule:
    """Linear warm-up, then the rate falls over the last `falling` steps; one element per run of a pack.

    How it falls is in `scaling.schedules`.
    """

    peak: jax.Array
    warmup: jax.Array  # steps
    steps: jax.Array
    falling: jax.Array  # steps
    shape: jax.Array  # index into schedules.NAMES
    end: jax.Array  # share of the peak at which the fall ends

    @classmethod
    def of(cls, runs: tuple[RunConfig, ...]) -> "Schedule":
        return cls(
            peak=jnp.array([run.optim.learning_rate for run in runs], jnp.float32),
            warmup=jnp.array([run.warmup_steps for run in runs], jnp.float32),
            steps=jnp.array([run.steps for run in runs], jnp.float32),
            falling=jnp.array([run.falling_steps for run in runs], jnp.float32),
            shape=jnp.array([schedules.NAMES.index(run.optim.schedule) for run in runs], jnp.int32),
            end=jnp.array([run.optim.end for run in runs], jnp.float32),
        )

    def __call__(self, step: jax.Array) -> jax.Array:
        """The learning rate of update `step`, from 0: first peak/warmup, last nearly `end` unless constant."""
        over = schedules.over(step, self.steps, self.falling, jnp)
        shapes = jnp.stack([fall(over, jnp) for fall in schedules.FALLS.values()])
        left = schedules.ending(shapes[self.shape], self.end)
        return self.peak * schedules.rise(step, self.warmup, jnp) * left


def optimizer(config: OptimConfig, factors: Mapping[str, Factors] = ALIKE) -> optax.GradientTransformation:
    """Gradients to updates of unit learning rate: clipping by global norm, then the optimiser's own.

    Args:
      factors: of the weights; those without have the factor 1 throughout.
    """
    epsilons = {name: found.epsilon for name, found in factors.items() if found.epsilon != 1}
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        *([over(epsilons)] if epsilons else []),
        optimizers.of(config.optimizer).transformation(config),
    )


def over(epsilons: Mapping[str, float]) -> optax.GradientTransformation:
    """Gradients over their weight's factor: Adam then divides as if its epsilon were multiplied by that."""

    def rescaled(grads: Any, _: Any) -> Any:
        return {name: times(1 / epsilons.get(name, 1), grad) for name, grad in grads.items()}

    return optax.stateless(rescaled)


def adamw(config: OptimConfig) -> optax.GradientTransformation:
    """Adam: Kingma and Ba (2015), arXiv 1412.6980. The decay is in `descend`."""
    return optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)


def adafactor(_: OptimConfig) -> optax.GradientTransformation:
    """Adafactor without momentum: Shazeer and Stern (2018), arXiv 1804.04235, algorithms 4 and 5.

    A matrix keeps the means of its squared gradient over rows and over columns in place of one number per weight. Its
    updates have a root mean square of at most 1 and are not scaled by the weights, so that a learning rate means what
    it does for Adam. Both depend on what counts as one matrix, so each layer of a stacked weight is one by itself.
    """
    one = optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))
    layers = optax.GradientTransformation(jax.vmap(one.init), jax.vmap(one.update))  # pyright: ignore[reportArgumentType]
    return _apart(sharding.stacked, layers, one)


def muon(config: OptimConfig) -> optax.GradientTransformation:
    """Muon: Jordan et al. (2024), github.com/KellerJordan/Muon, for the matrices of layers; Adam for all else.

    The update of a matrix is its momentum (Nesterov's) with all singular values brought near to 1, by five steps of the
    quintic Newton-Schulz iteration. Each layer of a stacked weight is a matrix by itself, and so are q, k and v, and
    the gates of an LSTM. An update of i x o is multiplied by 0.2 sqrt(max(i, o)), which gives it a root mean square of
    about 0.2, as Adam's have, so that a learning rate means what it does for Adam: Liu et al. (2025), arXiv 2502.16982,
    eq. 4.
    """

    def matrices(updates: Any) -> Any:
        return dict.fromkeys(updates, MuonDimensionNumbers(-2, -1))

    def scaled(updates: Any, _: Any) -> Any:
        return {name: MUON_RMS * math.sqrt(max(update.shape[-2:])) * update for name, update in updates.items()}

    orthogonal = optax.chain(scale_by_muon(beta=MOMENTUM, weight_dimension_numbers=matrices), optax.stateless(scaled))
    return _apart(lambda name: sharding.stacked(name) and name.startswith("w_"), orthogonal, adamw(config))


TRANSFORMATIONS: Mapping[str, Callable[[OptimConfig], optax.GradientTransformation]] = {
    "adamw": adamw,
    "adafactor": adafactor,
    "muon": muon,
}


def _apart(
    chosen: Callable[[str], bool], one: optax.GradientTransformation, other: optax.GradientTransformation
) -> optax.GradientTransformation:
    """`one` for the weights whose names are chosen, `other` for the rest; the state is that of both."""

    def parts(tree: Any) -> tuple[dict, dict]:
        first = {name: leaf for name, leaf in tree.items() if chosen(name)}
        return first, {name: leaf for name, leaf in tree.items() if name not in first}

    def init(params):
        first, rest = parts(params)
        return one.init(first) if first else {}, other.init(rest)

    def update(updates, state, params=None):
        first, rest = parts(updates)
        first_params, rest_params = (None, None) if params is None else parts(params)
        found, first_state = one.update(first, state[0], first_params) if first else ({}, {})
        more, rest_state = other.update(rest, state[1], rest_params)
        return dict(found) | dict(more), (first_state, rest_state)  # pyright: ignore # Optax's trees may be anything

    return optax.GradientTransformation(init, update)


def decay(config: OptimConfig) -> float:
    """The weight decay as `descend` takes it, which multiplies it by the learning rate.

    An independent one is multiplied by the schedule alone (Wortsman et al. 2023, arXiv 2309.14322, whose printed
    updates have the sign of a growth): over the peak it is the same, run by run.
    """
    return config.weight_decay / config.learning_rate if config.independent_decay else config.weight_decay


def descend(
    params, updates, rate: jax.Array, weight_decay: jax.Array, factors: Mapping[str, Factors] = ALIKE
) -> dict[str, jax.Array]:
    """Parameters after an update, with the decoupled decay of matrices: Loshchilov and Hutter (2019), arXiv 1711.05101.

    Zero decay is Adam.
    """

    def one(name: str, p: jax.Array) -> jax.Array:
        factor = factors.get(name, Factors())
        update = updates[name] + times(factor.decay, weight_decay) * p if _decays(name) else updates[name]
        return p - times(factor.rate, rate) * update

    return {name: one(name, p) for name, p in params.items()}


def _decays(name: str) -> bool:
    """What weight decay shrinks: weights, not gains, biases (named g_ and b_) or positions."""
    return name.startswith("w_") and name != "w_pos"
