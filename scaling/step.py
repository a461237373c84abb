"""The pure functions of training: one update and one evaluation of one run."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import optax

from scaling import optim
from scaling.config import RunConfig
from scaling.models import transformer


@flax.struct.dataclass
class TrainState:
    """Everything that a run is between two updates; arrays only, so it jits, vmaps, shards and checkpoints."""

    step: jax.Array
    params: transformer.Params
    opt_state: optax.OptState


@flax.struct.dataclass
class Hyper:
    """What may differ between the runs of one program."""

    seed: jax.Array
    schedule: optim.Schedule

    @classmethod
    def of(cls, runs: tuple[RunConfig, ...]) -> "Hyper":
        """One element per run (r first)."""
        return cls(jnp.array([run.seed for run in runs], jnp.uint32), optim.Schedule.of(runs))


def token_losses(run: RunConfig, params, tokens, dropout_key=None):
    """Cross-entropy of each next token, nats. tokens: i32 b t+1 -> f32 b t."""
    logits = transformer.apply(run.model, params, tokens[:, :-1], dtype=run.dtype, dropout_key=dropout_key)
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), tokens[:, 1:])


def init_state(run: RunConfig, hyper: Hyper) -> TrainState:
    params = transformer.init(run.model, jax.random.key(hyper.seed))
    return TrainState(jnp.int32(0), params, optim.optimizer(run.optim).init(params))


def train_step(run: RunConfig, hyper: Hyper, state: TrainState, tokens) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update. tokens: i32 b t+1. Dropout's mask is a function of (seed, step), so nothing else needs saving."""
    key = (
        jax.random.fold_in(jax.random.fold_in(jax.random.key(hyper.seed), 1), state.step) if run.model.dropout else None
    )

    def mean_loss(params):
        return token_losses(run, params, tokens, key).mean()

    loss, grads = jax.value_and_grad(mean_loss)(state.params)
    updates, opt_state = optim.optimizer(run.optim).update(grads, state.opt_state, state.params)
    rate = hyper.schedule(state.step)
    params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
    metrics = {"train_loss": loss, "grad_norm": optax.tree.norm(grads)}
    return TrainState(state.step + 1, params, opt_state), metrics


def train_steps(run: RunConfig, hyper: Hyper, state: TrainState, tokens, n) -> tuple[TrainState, dict[str, jax.Array]]:
    """The first `n` of k updates in one dispatch. tokens: i32 k b t+1; metrics: k each, the last k - n of them zero.

    `n` is traced: chunks that end early, before an evaluation say, run the same program.
    """
    metrics = {name: jnp.zeros(tokens.shape[0]) for name in ("train_loss", "grad_norm")}

    def body(i, carry):
        state, metrics = carry
        state, now = train_step(run, hyper, state, tokens[i])
        return state, {name: metrics[name].at[i].set(now[name]) for name in metrics}

    return jax.lax.fori_loop(0, n, body, (state, metrics))


def eval_step(run: RunConfig, params, windows) -> jax.Array:
    """Held-out loss at each position, nats per token. windows: i32 g b t+1, g groups evaluated in turn -> f32 t."""

    def group(tokens):
        return token_losses(run, params, tokens).mean(0)

    return jax.lax.map(group, windows).mean(0)


def over_runs(function, run: RunConfig, axes):
    """`function(run, ...)` for all runs of a pack at once: vmapped over the leading axis (r) where `axes` has 0."""
    return jax.vmap(functools.partial(function, run), in_axes=axes, spmd_axis_name="run")
