"""The loss of each token: cross-entropy of the next one, with logits that never dominate memory; or of its pair."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from scaling import kinds
from scaling.config import ModelConfig
from scaling.models import preference
from scaling.models.model import features
from scaling.models.pieces import weight_gradient
from scaling.models.shared import Features, Params, Remat
from scaling.sharding import apart, parts, per_run

LOGITS = 2**26  # elements at a time on one device, a quarter of a gigabyte in float32


def token_losses(
    model: ModelConfig,
    params: Params,
    tokens: jax.Array,
    *,
    dtype="float32",
    dropout_key: jax.Array | None = None,
    remat: Remat = "none",
    mesh: Mesh | None = None,
) -> jax.Array:
    """Cross-entropy of each next token, nats; of a reward model the loss of its pair. tokens: i32 b t+1 -> f32 b t.

    Args:
      dtype, dropout_key, remat, mesh: as in `model.apply`. The loss is float32.
    """
    how: dict[str, Any] = {"dtype": dtype, "dropout_key": dropout_key, "remat": remat, "mesh": mesh}
    if kinds.of(model).of_pairs:
        return preference.pair_losses(model, params, tokens, **how)
    return _predicted(model, features(model, params, tokens[:, :-1], **how), tokens, mesh)[0]


def answer_weights(tokens: jax.Array, mark: int) -> jax.Array:
    """Of each next token its weight in the loss of answers alone, of mean 1. tokens: i32 b t+1 -> f32 b t.

    Answers are the tokens after `mark`, up to the separator, which begins the window. A window without any weighs 0.
    """
    separator, x, target = tokens[:, :1], tokens[:, :-1], tokens[:, 1:]
    place = jnp.arange(x.shape[1])

    def last(where: jax.Array) -> jax.Array:
        return jax.lax.cummax(jnp.where(where, place, -1), axis=1)

    own = (last(x == mark) > last(x == separator)) & (target != separator)
    return own * (x.shape[1] / jnp.maximum(own.sum(1, keepdims=True), 1))


def objective(
    model: ModelConfig, params: Params, tokens: jax.Array, weights: jax.Array | None = None, **how: Any
) -> tuple[jax.Array, jax.Array]:
    """What training lowers, and the mean cross-entropy in it, nats per token. Arguments as of `token_losses`.

    Args:
      weights: of the cross-entropy of each next token, of mean 1, f32 b t; None: all alike.

    The rest are the model's own auxiliary loss, and z_loss times the mean of log^2 Z, Z the sum of the exponentials of
    the logits: Wortsman et al. (2023), arXiv 2309.14322, section 3.1.
    """
    if kinds.of(model).of_pairs:
        return (loss := preference.pair_losses(model, params, tokens, **how).mean()), loss
    found = features(model, params, tokens[:, :-1], **how)
    losses, log_total = _predicted(model, found, tokens, how.get("mesh"))
    mean = whole = (losses if weights is None else losses * weights).mean()
    if model.z_loss:
        whole = whole + model.z_loss * (log_total**2).mean()
    return (whole if found.aux is None else whole + found.aux), mean


def _predicted(
    model: ModelConfig, found: Features, tokens: jax.Array, mesh: Mesh | None
) -> tuple[jax.Array, jax.Array]:
    more: dict[str, Any] = {"softcap": model.softcap, "limit": LOGITS * per_run(mesh), "mesh": mesh}
    return cross_entropy(found.x, found.w, found.b, tokens[:, 1:], **more)


def cross_entropy(
    x: jax.Array,
    w: jax.Array,
    b: jax.Array | None,
    targets: jax.Array,
    *,
    softcap: float = 0.0,
    limit: int = LOGITS,
    mesh: Mesh | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Of logits x w^T + b, nats, and log Z, of the sum of their exponentials. x: b t d, w: v d, b: v -> f32 b t twice.

    Args:
      targets: i32 b t.
      softcap: above 0, the logits are softcap tanh((x w^T + b) / softcap).

    Up to `limit` logits at a time: the positions are then cut into equal chunks, as few as will do, of every sequence
    (so that a batch that is spread over devices stays so), and the backward pass computes each chunk's logits again.
    On a mesh each part of the batch sums up its own gradient of w over the chunks, and they are added up once.
    """
    t = x.shape[1]
    per_position = x.shape[0] * w.shape[0]
    chunks = next(n for n in range(1, t + 1) if t % n == 0 and (n == t or t // n * per_position <= limit))
    if chunks == 1:
        found: Any = _at_once(softcap, x.reshape(-1, x.shape[-1]), w, b, targets.reshape(-1))
        return found[0].reshape(targets.shape), found[1].reshape(targets.shape)
    return _in_chunks(softcap, chunks, mesh, x, w, b, targets)


def _logits(softcap, x, w, b):
    """float32, whatever the dtype of x and w; and their slope in what they would be without softcap, None if that."""
    logits = jnp.einsum("nd,vd->nv", x, w, preferred_element_type=jnp.float32)
    logits = logits if b is None else logits + b
    if not softcap:
        return logits, None
    share = jnp.tanh(logits / softcap)
    return softcap * share, 1 - share * share


def _losses(logits, targets):
    """-> losses, log Z (n), and for the gradient exp(logits - maximum) (n v) and their sum (n 1)."""
    top = logits.max(-1, keepdims=True)
    weights = jnp.exp(logits - top)
    total = weights.sum(-1, keepdims=True)
    at_target = jnp.take_along_axis(logits, targets[:, None], -1)
    log_total = jnp.log(total) + top
    return (log_total - at_target)[:, 0], log_total[:, 0], (weights, total)


def _gradients(x, w, b, targets, slope, weights, total, dloss, dlog_total):
    """The gradients in x (its dtype), w and b (float32). weights / total: the probabilities."""
    hit = targets[:, None] == jnp.arange(w.shape[0])
    dlogits = weights * ((dloss + dlog_total)[:, None] / total) - jnp.where(hit, dloss[:, None], 0)
    dlogits = dlogits if slope is None else dlogits * slope
    rounded = dlogits.astype(x.dtype)
    return rounded @ w, weight_gradient(rounded, x, jnp.float32), None if b is None else dlogits.sum(0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _at_once(softcap, x, w, b, targets):
    """x: n d, targets: n -> n, n."""
    return _at_once_forward(softcap, x, w, b, targets)[0]


def _at_once_forward(softcap, x, w, b, targets):
    logits, slope = _logits(softcap, x, w, b)
    losses, log_total, (weights, total) = _losses(logits, targets)
    return (losses, log_total), (x, w, b, targets, slope, weights, total)


def _at_once_backward(softcap, kept, cotangents):
    _, w, b, *_ = kept
    dx, dw, db = _gradients(*kept, *cotangents)
    return dx, dw.astype(w.dtype), None if db is None else db.astype(b.dtype), None


_at_once.defvjp(_at_once_forward, _at_once_backward)


def _cut(chunks, x):
    """b t ... -> chunks b*t/chunks ..., each chunk a stretch of positions of all sequences."""
    pieces = x.reshape(x.shape[0], chunks, -1, *x.shape[2:]).swapaxes(0, 1)
    return pieces.reshape(chunks, -1, *x.shape[2:])


def _joined(x, b):
    """The inverse of `_cut` for b sequences."""
    pieces = x.reshape(x.shape[0], b, -1, *x.shape[2:]).swapaxes(0, 1)
    return pieces.reshape(b, -1, *x.shape[2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _in_chunks(softcap, chunks, mesh, x, w, b, targets):
    return _in_chunks_forward(softcap, chunks, mesh, x, w, b, targets)[0]


def _in_chunks_forward(softcap, chunks, mesh, x, w, b, targets):
    def one(piece):
        x, targets = piece
        losses, log_total, _ = _losses(_logits(softcap, x, w, b)[0], targets)
        return losses, log_total

    found = jax.lax.map(one, (_cut(chunks, x), _cut(chunks, targets)))
    losses, log_total = jax.tree.map(lambda y: _joined(y, x.shape[0]), found)
    return (losses, log_total), (x, w, b, targets, log_total)


def _in_chunks_backward(softcap, chunks, mesh, kept, cotangents):
    x, w, b, targets, log_total = kept
    n = parts(x.shape[0], mesh)  # a sum over the whole batch would be one over all devices, in each chunk

    def one(sums, piece):
        dx, *more = jax.vmap(gradients)(*(part.reshape(n, -1, *part.shape[1:]) for part in piece))
        return apart(jax.tree.map(jnp.add, sums, tuple(more)), mesh), dx.reshape(piece[0].shape)

    def gradients(x, targets, log_total, *cotangents):
        logits, slope = _logits(softcap, x, w, b)
        return _gradients(x, w, b, targets, slope, jnp.exp(logits - log_total[:, None]), 1.0, *cotangents)

    zeros = apart(jax.tree.map(lambda leaf: jnp.zeros((n, *leaf.shape), jnp.float32), (w, b)), mesh)
    pieces = tuple(_cut(chunks, part) for part in (x, targets, log_total, *cotangents))
    (dw, db), dx = jax.lax.scan(one, zeros, pieces)
    dw, db = jax.tree.map(lambda found, like: found.sum(0).astype(like.dtype), (dw, db), (w, b))
    return _joined(dx, x.shape[0]), dw, db, None


_in_chunks.defvjp(_in_chunks_forward, _in_chunks_backward)
