"""Optimisers and schedules.

The learning rate, its schedule and the number of steps are arrays, so runs that differ in them share one program.
"""

import flax.struct
import jax
import jax.numpy as jnp
import optax

from scaling.config import OptimConfig, RunConfig


@flax.struct.dataclass
class Schedule:
    """Linear warm-up, then cosine to zero or constant; one element per run of a pack."""

    peak: jax.Array
    warmup: jax.Array  # steps
    steps: jax.Array
    cosine: jax.Array  # 1: decays to zero with the last step, 0: constant

    @classmethod
    def of(cls, runs: tuple[RunConfig, ...]) -> "Schedule":
        return cls(
            peak=jnp.array([run.optim.learning_rate for run in runs], jnp.float32),
            warmup=jnp.array([run.warmup_steps for run in runs], jnp.float32),
            steps=jnp.array([run.steps for run in runs], jnp.float32),
            cosine=jnp.array([run.optim.schedule == "cosine" for run in runs], jnp.float32),
        )

    def __call__(self, step: jax.Array) -> jax.Array:
        """The learning rate of update `step`, from 0: first peak/warmup, last nearly zero with a cosine."""
        rising = jnp.minimum(1.0, (step + 1) / jnp.maximum(self.warmup, 1))
        progress = jnp.clip((step - self.warmup) / jnp.maximum(self.steps - self.warmup, 1), 0, 1)
        falling = 0.5 * (1 + jnp.cos(jnp.pi * progress))
        return self.peak * rising * jnp.where(self.cosine > 0, falling, 1.0)


def optimizer(config: OptimConfig) -> optax.GradientTransformation:
    """Gradients to updates of unit learning rate: clipping by global norm, Adam, decoupled decay of matrices."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps),
        optax.add_decayed_weights(config.weight_decay, mask=_matrices) if config.weight_decay else optax.identity(),
    )


def _matrices(params):
    """What weight decay shrinks: weights, not gains, biases (named g_ and b_) or positions."""
    return {name: name.startswith("w_") and name != "w_pos" for name in params}
