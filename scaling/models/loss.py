"""The loss of each token: cross-entropy of the next one, with logits that never dominate memory."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from scaling.config import ModelConfig
from scaling.models.model import features
from scaling.models.pieces import weight_gradient
from scaling.models.shared import Params, Remat
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
    """Cross-entropy of each next token, nats. tokens: i32 b t+1 -> f32 b t.

    Args:
      dtype, dropout_key, remat, mesh: as in `model.apply`. The loss is float32.
    """
    x, w, b = features(model, params, tokens[:, :-1], dtype=dtype, dropout_key=dropout_key, remat=remat, mesh=mesh)
    return cross_entropy(x, w, b, tokens[:, 1:], limit=LOGITS * per_run(mesh), mesh=mesh)


def cross_entropy(
    x: jax.Array, w: jax.Array, b: jax.Array, targets: jax.Array, *, limit: int = LOGITS, mesh: Mesh | None = None
) -> jax.Array:
    """Of logits x w^T + b, nats. x: b t d, w: v d, b: v, targets: i32 b t -> f32 b t.

    Up to `limit` logits at a time: the positions are then cut into equal chunks, as few as will do, of every sequence
    (so that a batch that is spread over devices stays so), and the backward pass computes each chunk's logits again.
    On a mesh each part of the batch sums up its own gradient of w over the chunks, and they are added up once.
    """
    t = x.shape[1]
    per_position = x.shape[0] * w.shape[0]
    chunks = next(n for n in range(1, t + 1) if t % n == 0 and (n == t or t // n * per_position <= limit))
    if chunks == 1:
        losses = _at_once(x.reshape(-1, x.shape[-1]), w, b, targets.reshape(-1))
        return losses.reshape(targets.shape)
    return _in_chunks(chunks, mesh, x, w, b, targets)


def _logits(x, w, b):
    """float32, whatever the dtype of x and w."""
    return jnp.einsum("nd,vd->nv", x, w, preferred_element_type=jnp.float32) + b


def _losses(logits, targets):
    """-> losses (n), and for the gradient exp(logits - maximum) (n v), their sum (n 1) and the maximum (n 1)."""
    top = logits.max(-1, keepdims=True)
    weights = jnp.exp(logits - top)
    total = weights.sum(-1, keepdims=True)
    at_target = jnp.take_along_axis(logits, targets[:, None], -1)
    return (jnp.log(total) + top - at_target)[:, 0], (weights, total, top)


def _gradients(x, w, targets, weights, total, dloss):
    """The gradients in x (its dtype), w and b (float32)."""
    hit = targets[:, None] == jnp.arange(w.shape[0])
    dlogits = weights * (dloss[:, None] / total) - jnp.where(hit, dloss[:, None], 0)
    rounded = dlogits.astype(x.dtype)
    return rounded @ w, weight_gradient(rounded, x, jnp.float32), dlogits.sum(0)


@jax.custom_vjp
def _at_once(x, w, b, targets):
    """x: n d, targets: n -> n."""
    return _losses(_logits(x, w, b), targets)[0]


def _at_once_forward(x, w, b, targets):
    losses, (weights, total, _) = _losses(_logits(x, w, b), targets)
    return losses, (x, w, b, targets, weights, total)


def _at_once_backward(kept, dlosses):
    x, w, b, targets, weights, total = kept
    dx, dw, db = _gradients(x, w, targets, weights, total, dlosses)
    return dx, dw.astype(w.dtype), db.astype(b.dtype), None


_at_once.defvjp(_at_once_forward, _at_once_backward)


def _cut(chunks, x):
    """b t ... -> chunks b*t/chunks ..., each chunk a stretch of positions of all sequences."""
    pieces = x.reshape(x.shape[0], chunks, -1, *x.shape[2:]).swapaxes(0, 1)
    return pieces.reshape(chunks, -1, *x.shape[2:])


def _joined(x, b):
    """The inverse of `_cut` for b sequences."""
    pieces = x.reshape(x.shape[0], b, -1, *x.shape[2:]).swapaxes(0, 1)
    return pieces.reshape(b, -1, *x.shape[2:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _in_chunks(chunks, mesh, x, w, b, targets):
    return _in_chunks_forward(chunks, mesh, x, w, b, targets)[0]


def _in_chunks_forward(chunks, mesh, x, w, b, targets):
    def one(piece):
        x, targets = piece
        losses, (_, total, top) = _losses(_logits(x, w, b), targets)
        return losses, (top + jnp.log(total))

    losses, log_total = jax.lax.map(one, (_cut(chunks, x), _cut(chunks, targets)))
    return _joined(losses, x.shape[0]), (x, w, b, targets, log_total)


def _in_chunks_backward(chunks, mesh, kept, dlosses):
    x, w, b, targets, log_total = kept
    n = parts(x.shape[0], mesh)  # a sum over the whole batch would be one over all devices, in each chunk

    def one(sums, piece):
        dx, *more = jax.vmap(gradients)(*(part.reshape(n, -1, *part.shape[1:]) for part in piece))
        return apart(jax.tree.map(jnp.add, sums, tuple(more)), mesh), dx.reshape(piece[0].shape)

    def gradients(x, targets, log_total, dlosses):
        return _gradients(x, w, targets, jnp.exp(_logits(x, w, b) - log_total), 1.0, dlosses)

    zeros = apart((jnp.zeros((n, *w.shape), jnp.float32), jnp.zeros((n, *b.shape), jnp.float32)), mesh)
    (dw, db), dx = jax.lax.scan(one, zeros, (_cut(chunks, x), _cut(chunks, targets), log_total, _cut(chunks, dlosses)))
    return _joined(dx, x.shape[0]), dw.sum(0).astype(w.dtype), db.sum(0).astype(b.dtype), None


_in_chunks.defvjp(_in_chunks_forward, _in_chunks_backward)
