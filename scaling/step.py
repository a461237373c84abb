"""The pure functions of training: one update and one evaluation of one run.

Where they are given a mesh, they say how weights and batches lie on it (scaling.sharding); the mathematics is the same.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from scaling import optim, parametrization, sharding
from scaling.config import RunConfig
from scaling.models import loss, model, preference
from scaling.models.shared import Params


@flax.struct.dataclass
class TrainState:
    """Everything that a run is between two updates; arrays only, so it jits, vmaps, shards and checkpoints."""

    step: jax.Array
    params: Params
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
            weight_decay=jnp.array([optim.decay(run.optim) for run in runs], jnp.float32),
        )


def token_losses(run: RunConfig, params, tokens, dropout_key=None, mesh: Mesh | None = None):
    """Cross-entropy of each next token, nats; times its weight where only answers count. i32 b t+1 -> f32 b t."""
    losses = loss.token_losses(
        run.model, params, tokens, dtype=run.dtype, dropout_key=dropout_key, remat=run.remat, mesh=mesh
    )
    weights = _weights(run, tokens)
    return losses if weights is None else losses * weights


def objective(run: RunConfig, params, tokens, dropout_key=None, mesh: Mesh | None = None):
    """What training lowers, and the mean cross-entropy in it, nats per token. tokens: i32 b t+1 -> f32, f32"""
    how = {"dtype": run.dtype, "dropout_key": dropout_key, "remat": run.remat, "mesh": mesh}
    return loss.objective(run.model, params, tokens, _weights(run, tokens), **how)


def _weights(run: RunConfig, tokens):
    return None if run.answers_after is None else loss.answer_weights(tokens, run.answers_after)


def init_state(run: RunConfig, hyper: Hyper, mesh: Mesh | None = None) -> TrainState:
    params = model.init(run.model, jax.random.key(hyper.seed))
    optimizer = optim.optimizer(run.optim, parametrization.of(run.model, params))
    state = TrainState(jnp.int32(0), params, optimizer.init(params))
    return sharding.constrain(state, mesh, params)


def train_step(
    run: RunConfig, hyper: Hyper, state: TrainState, tokens, mesh: Mesh | None = None
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One update. tokens: i32 b t+1. Dropout's mask is a function of (seed, step), so nothing else needs saving."""
    key = (
        jax.random.fold_in(jax.random.fold_in(jax.random.key(hyper.seed), 1), state.step) if run.model.dropout else None
    )
    train_loss, grads = _loss_and_gradients(run, state.params, tokens, key, mesh)
    grads = sharding.constrain(grads, mesh, state.params)
    factors = parametrization.of(run.model, state.params)
    updates, opt_state = optim.optimizer(run.optim, factors).update(grads, state.opt_state, state.params)
    params = optim.descend(state.params, updates, hyper.schedule(state.step), hyper.weight_decay, factors)
    metrics = {"train_loss": train_loss, "grad_norm": optax.tree.norm(grads)}
    return sharding.constrain(TrainState(state.step + 1, params, opt_state), mesh, params), metrics


def _loss_and_gradients(run: RunConfig, params, tokens, key, mesh: Mesh | None):
    """The mean cross-entropy over the batch and the gradients of the objective. tokens: b t+1.

    In `run.accumulate` parts one after the other.
    """
    of_objective = jax.value_and_grad(functools.partial(objective, run, mesh=mesh), has_aux=True)

    def gradient(params, tokens, key):
        (_, train_loss), grads = of_objective(params, tokens, key)
        return train_loss, grads

    if run.accumulate == 1:
        return gradient(params, tokens, key)

    def add(sums, part):
        i, tokens = part
        found = gradient(params, tokens, None if key is None else jax.random.fold_in(key, i))
        return jax.tree.map(lambda a, b: a + b / run.accumulate, sums, found), None

    # Every n-th sequence is a part, so that each has its share on every device over which the batch is spread.
    parts = tokens.reshape(-1, run.accumulate, tokens.shape[-1]).swapaxes(0, 1)
    zeros = jnp.float32(0), sharding.constrain(jax.tree.map(jnp.zeros_like, params), mesh, params)
    return jax.lax.scan(add, zeros, (jnp.arange(run.accumulate), parts))[0]


def train_steps(
    run: RunConfig, hyper: Hyper, state: TrainState, tokens, n, mesh: Mesh | None = None
) -> tuple[TrainState, dict[str, jax.Array]]:
    """The first `n` of k updates in one dispatch. tokens: i32 k b t+1; metrics: k each, the last k - n of them zero.

    `n` is traced: chunks that end early, before an evaluation say, run the same program.
    """
    metrics = {name: jnp.zeros(tokens.shape[0]) for name in ("train_loss", "grad_norm")}

    def body(i, carry):
        state, metrics = carry
        state, now = train_step(run, hyper, state, tokens[i], mesh)
        return state, {name: metrics[name].at[i].set(now[name]) for name in metrics}

    return jax.lax.fori_loop(0, n, body, (state, metrics))


def eval_step(run: RunConfig, params, windows, mesh: Mesh | None = None) -> dict[str, jax.Array]:
    """Loss without dropout, nats per token: by position, f32 t, and by window, f32 w.

    windows: i32 g b t+1, g groups evaluated in turn, w = g b windows in all.
    """

    def group(tokens):
        losses = token_losses(run, params, tokens, mesh=mesh)  # b t
        return losses.mean(0), losses.mean(1)

    positions, each = jax.lax.map(group, windows)
    return {"positions": positions.mean(0), "windows": each.reshape(-1)}


def answer_step(run: RunConfig, params, items, mesh: Mesh | None = None, *, n: int) -> dict[str, jax.Array]:
    """The answers to questions, each token given the right ones before it. items: i32 g b t+1, g groups in turn.

    Of each of the last `n` tokens, f32 n: `loss`, nats; `right`, the share of the questions in which it is the
    likeliest; `exact`, that in which it and all before it are, which a model that writes the likeliest answers without
    a fault so far; `brier`, the mean squared distance of the probabilities from the answer, summed over the vocabulary.
    Of each question, i32 g*b: `wrong`, how many of them are not the likeliest.
    """

    def group(tokens):
        logits = _logits(run, params, tokens[:, :-1], mesh)[:, -n:]  # b n v
        target = tokens[:, -n:, None]
        log_p = jax.nn.log_softmax(logits)
        at_target = jnp.take_along_axis(log_p, target, -1)[..., 0]
        right = logits.argmax(-1) == target[..., 0]
        p = jnp.exp(log_p)
        brier = (p * p).sum(-1) - 2 * jnp.exp(at_target) + 1
        found = {"loss": -at_target, "right": right, "brier": brier, "exact": jnp.cumprod(right, -1)}
        return jax.tree.map(lambda x: x.astype(jnp.float32).mean(0), found), (~right).sum(-1)

    means, wrong = jax.lax.map(group, items)
    return jax.tree.map(lambda x: x.mean(0), means) | {"wrong": wrong.reshape(-1)}


def score_step(run: RunConfig, params, windows, mesh: Mesh | None = None) -> jax.Array:
    """What a reward model says of the texts of pairs, both of each. i32 g b t+1, g groups in turn -> f32 g*b*2"""

    def group(tokens):
        return preference.scores(run.model, params, tokens, dtype=run.dtype, mesh=mesh).T  # b 2

    return jax.lax.map(group, windows).reshape(-1)


def _logits(run: RunConfig, params, tokens, mesh: Mesh | None):
    """float32 b t v. tokens: i32 b t"""
    return model.apply(run.model, params, tokens, dtype=run.dtype, mesh=mesh).astype(jnp.float32)


def frequency_step(run: RunConfig, params, windows, part, mesh: Mesh | None = None) -> jax.Array:
    """Loss without dropout by the part to which the token that is predicted belongs, nats per token. -> f32 k

    NaN of a part that has none of them. windows: i32 g b t+1, part: f32 v k, 1 where a token is of a part.
    """

    def group(tokens):
        of = part[tokens[:, 1:]]  # b t k
        weights = _weights(run, tokens)
        counted = of if weights is None else of * weights[..., None]
        return jnp.einsum("bt,btk->k", token_losses(run, params, tokens, mesh=mesh), of), counted.sum((0, 1))

    losses, counts = jax.lax.map(group, windows)
    return losses.sum(0) / counts.sum(0)  # 0 / 0 is NaN


def noise_step(run: RunConfig, params, tokens, mesh: Mesh | None = None) -> jax.Array:
    """Mean squared norm of the loss's gradient at each of `run.noise_batches`, without dropout. -> f32 levels

    tokens: i32 k b t+1, k batches. A batch's gradients are those of its smallest parts, averaged pairwise up to the
    whole, so |g|^2 at all sizes costs one backward pass over the batch: McCandlish et al. (2018) appendix A.1.
    """
    parts = run.batch // run.noise_batches[0]
    gradient = jax.grad(lambda params, tokens: objective(run, params, tokens, mesh=mesh)[0])

    def squares(batch):
        grads = jax.lax.map(functools.partial(gradient, params), batch.reshape(parts, -1, batch.shape[-1]))
        found = []
        for _ in run.noise_batches:
            norms = sum((leaf * leaf).reshape(leaf.shape[0], -1).sum(1) for leaf in jax.tree.leaves(grads))
            found.append(jnp.mean(norms))
            grads = jax.tree.map(lambda leaf: (leaf[::2] + leaf[1::2]) / 2 if len(leaf) > 1 else leaf, grads)
        return jnp.stack(found)

    return jax.lax.map(squares, tokens).mean(0)


def over_runs(function, run: RunConfig, axes, mesh: Mesh | None = None):
    """`function(run, ...)` for all runs of a pack at once: vmapped over the leading axis (r) where `axes` has 0.

    On a mesh it is spread over the axis `run`. The first argument has the lanes of the pack.
    """
    function = functools.partial(function, run, mesh=mesh)

    def pack(first, *more):
        lanes = jax.tree.leaves(first)[0].shape[0]
        return jax.vmap(function, in_axes=axes, spmd_axis_name=sharding.lanes_axis(mesh, lanes))(first, *more)

    return pack


@functools.partial(jax.jit, static_argnames="mesh")
def take(tree, lanes, mesh: Mesh | None = None):
    """The lanes of a state or of parameters, in another order and number. lanes: i32 of the new number."""
    taken = jax.tree.map(lambda leaf: leaf[lanes], tree)
    return sharding.constrain(taken, mesh, taken.params if isinstance(taken, TrainState) else taken, lanes=True)
