"""The pure functions of training: one update and one evaluation of one run."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import optax

from scaling import optim
from scaling.config import RunConfig
from scaling.models import loss, transformer


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
    weight_decay: jax.Array

    @classmethod
    def of(cls, runs: tuple[RunConfig, ...]) -> "Hyper":
        """One element per run (r first)."""
        return cls(
            seed=jnp.array([run.seed for run in runs], jnp.uint32),
            schedule=optim.Schedule.of(runs),
            weight_decay=jnp.array([run.optim.weight_decay for run in runs], jnp.float32),
        )


def token_losses(run: RunConfig, params, tokens, dropout_key=None):
    """Cross-entropy of each next token, nats. tokens: i32 b t+1 -> f32 b t."""
    return loss.token_losses(run.model, params, tokens, dtype=run.dtype, dropout_key=dropout_key)


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

    train_loss, grads = jax.value_and_grad(mean_loss)(state.params)
    updates, opt_state = optim.optimizer(run.optim).update(grads, state.opt_state, state.params)
    params = optim.descend(state.params, updates, hyper.schedule(state.step), hyper.weight_decay)
    metrics = {"train_loss": train_loss, "grad_norm": optax.tree.norm(grads)}
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


def eval_step(run: RunConfig, params, windows) -> dict[str, jax.Array]:
    """Loss without dropout, nats per token: by position, f32 t, and by window, f32 w.

    windows: i32 g b t+1, g groups evaluated in turn, w = g b windows in all.
    """

    def group(tokens):
        losses = token_losses(run, params, tokens)  # b t
        return losses.mean(0), losses.mean(1)

    positions, each = jax.lax.map(group, windows)
    return {"positions": positions.mean(0), "windows": each.reshape(-1)}


def noise_step(run: RunConfig, params, tokens) -> jax.Array:
    """Mean squared norm of the loss's gradient at each of `run.noise_batches`, without dropout. -> f32 levels

    tokens: i32 k b t+1, k batches. A batch's gradients are those of its smallest parts, averaged pairwise up to the
    whole, so |g|^2 at all sizes costs one backward pass over the batch: McCandlish et al. (2018) appendix A.1.
    """
    parts = run.batch // run.noise_batches[0]
    gradient = jax.grad(lambda params, tokens: token_losses(run, params, tokens).mean())

    def squares(batch):
        grads = jax.lax.map(functools.partial(gradient, params), batch.reshape(parts, -1, batch.shape[-1]))
        found = []
        for _ in run.noise_batches:
            norms = sum((leaf * leaf).reshape(leaf.shape[0], -1).sum(1) for leaf in jax.tree.leaves(grads))
            found.append(jnp.mean(norms))
            grads = jax.tree.map(lambda leaf: (leaf[::2] + leaf[1::2]) / 2 if len(leaf) > 1 else leaf, grads)
        return jnp.stack(found)

    return jax.lax.map(squares, tokens).mean(0)


def over_runs(function, run: RunConfig, axes):
    """`function(run, ...)` for all runs of a pack at once: vmapped over the leading axis (r) where `axes` has 0."""
    return jax.vmap(functools.partial(function, run), in_axes=axes, spmd_axis_name="run")


@jax.jit
def take(tree, lanes):
    """The lanes of a state, parameters or the like, in another order and number. lanes: i32 of the new number."""
    return jax.tree.map(lambda leaf: leaf[lanes], tree)
