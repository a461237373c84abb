"""Optimisers and schedules.

The learning rate, its schedule, the weight decay and the number of steps are arrays, so runs that differ in them share
one program.
"""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from scaling import sharding
from scaling.config import OptimConfig, RunConfig

SHAPES = ("constant", "cosine", "linear", "wsd")  # of the rate after the warm-up, by their number


@flax.struct.dataclass
class Schedule:
    """Linear warm-up, then the rate falls over the last `falling` steps; one element per run of a pack.

    A cosine and a straight line fall to zero from the end of the warm-up on. Of warm-up, stable, decay (wsd) the rate
    stays at its peak and falls in a cooldown as 1 - sqrt of the share of it that is over: Haegele et al. (2024),
    arXiv 2405.18392.
    """

    peak: jax.Array
    warmup: jax.Array  # steps
    steps: jax.Array
    falling: jax.Array  # steps
    shape: jax.Array  # index into SHAPES

    @classmethod
    def of(cls, runs: tuple[RunConfig, ...]) -> "Schedule":
        def falling(run: RunConfig) -> int:
            return run.decay_steps if run.optim.schedule == "wsd" else run.steps - run.warmup_steps

        return cls(
            peak=jnp.array([run.optim.learning_rate for run in runs], jnp.float32),
            warmup=jnp.array([run.warmup_steps for run in runs], jnp.float32),
            steps=jnp.array([run.steps for run in runs], jnp.float32),
            falling=jnp.array([falling(run) for run in runs], jnp.float32),
            shape=jnp.array([SHAPES.index(run.optim.schedule) for run in runs], jnp.int32),
        )

    def __call__(self, step: jax.Array) -> jax.Array:
        """The learning rate of update `step`, from 0: first peak/warmup, last nearly zero unless constant."""
        rising = jnp.minimum(1.0, (step + 1) / jnp.maximum(self.warmup, 1))
        over = jnp.clip((step - (self.steps - self.falling)) / jnp.maximum(self.falling, 1), 0, 1)
        shapes = jnp.stack([jnp.ones_like(over), 0.5 * (1 + jnp.cos(jnp.pi * over)), 1 - over, 1 - jnp.sqrt(over)])
        return self.peak * rising * shapes[self.shape]


def optimizer(config: OptimConfig) -> optax.GradientTransformation:
    """Gradients to updates of unit learning rate: clipping by global norm, then Adam or Adafactor."""
    if config.optimizer == "adafactor":
        return optax.chain(optax.clip_by_global_norm(config.clip), adafactor())
    return optax.chain(
        optax.clip_by_global_norm(config.clip), optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)
    )


def adafactor() -> optax.GradientTransformation:
    """Adafactor without momentum: Shazeer and Stern (2018), arXiv 1804.04235, algorithms 4 and 5.

    A matrix keeps the means of its squared gradient over rows and over columns in place of one number per weight. Its
    updates have a root mean square of at most 1 and are not scaled by the weights, so that a learning rate means what
    it does for Adam. Both depend on what counts as one matrix, so each layer of a stacked weight is one by itself.
    """
    one = optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0))

    def parts(tree):
        layers = {name: leaf for name, leaf in tree.items() if sharding.stacked(name)}
        return layers, {name: leaf for name, leaf in tree.items() if name not in layers}

    def init(params):
        layers, rest = parts(params)
        return jax.vmap(one.init)(layers) if layers else {}, one.init(rest)

    def update(updates, state, params=None):
        (layers, rest), (layer_params, rest_params) = parts(updates), parts(params)
        found, layer_state = jax.vmap(one.update)(layers, state[0], layer_params) if layers else ({}, {})
        more, rest_state = one.update(rest, state[1], rest_params)
        return dict(found) | dict(more), (layer_state, rest_state)  # pyright: ignore # Optax's trees may be anything

    return optax.GradientTransformation(init, update)


def descend(params, updates, rate: jax.Array, weight_decay: jax.Array):
    """Parameters after an update, with the decoupled decay of matrices: Loshchilov and Hutter (2019), arXiv 1711.05101.

    Zero decay is Adam.
    """
    return {
        name: p - rate * (updates[name] + weight_decay * p if _decays(name) else updates[name])
        for name, p in params.items()
    }


def _decays(name: str) -> bool:
    """What weight decay shrinks: weights, not gains, biases (named g_ and b_) or positions."""
    return name.startswith("w_") and name != "w_pos"
