"""Causal self-attention behind one call: `attend`, by XLA everywhere, cuDNN's flash kernel on GPUs, splash on TPUs.

`choose` picks the implementation of a program once and says why, `attend` runs it; all compute the same function.

XLA's version is written by hand, forward and backward, because that is half the cost of a small model on a CPU: the
exponentials are kept instead of being computed again, the division by their sum is done on the result (b h t k) rather
than on the weights (b h t t), and every product has the weights where they need no transposing. Axes are swapped first
rather than in the letters of the products ("bthgk,bshk->bhgts"): that reads better, takes 3 to 4 times as long at 256
positions (forward and backward, heads of width 16, one core of a CPU), and its last bits are others.
"""

import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from scaling.models.pieces import sum_of_products
from scaling.sharding import BATCH, SPREAD, parts

Implementation = Literal["xla", "cudnn", "splash"]

SPLASH_BLOCK = 128  # the lanes of a TPU: contexts and, in this JAX, head widths are wanted in multiples of it
MASKED = -1e30  # rather than -inf, whose difference with itself is no number


class Choice(NamedTuple):
    """An implementation and the reason for it, one line for the log."""

    implementation: Implementation
    reason: str


def choose(backend: str, dtype: str, n_ctx: int, d_head: int) -> Choice:
    """The fastest implementation that can run a program of this shape.

    Args:
      backend: "cpu", "gpu" or "tpu", as `jax.default_backend` names them.
      dtype: of the computation.
    """
    if backend in ("gpu", "cuda", "rocm"):
        if backend == "rocm":
            return Choice("xla", "XLA: cuDNN needs an NVIDIA GPU")
        if dtype not in ("bfloat16", "float16"):
            return Choice("xla", f"XLA: cuDNN's flash attention wants bfloat16 or float16, not {dtype}")
        if d_head % 8 or d_head > 128:
            return Choice("xla", f"XLA: cuDNN wants a head width in multiples of 8 up to 128, not {d_head}")
        return Choice("cudnn", f"cuDNN flash attention: {dtype}, heads of width {d_head}")
    if backend == "tpu":
        if n_ctx % SPLASH_BLOCK:
            return Choice("xla", f"XLA: splash wants a context in multiples of {SPLASH_BLOCK}, not {n_ctx}")
        if d_head % SPLASH_BLOCK and d_head != 64:
            return Choice("xla", f"XLA: splash wants heads of width 64 or multiples of {SPLASH_BLOCK}, not {d_head}")
        return Choice("splash", f"splash attention: context {n_ctx}, heads of width {d_head}")
    return Choice("xla", f"XLA: no flash kernel for {backend}")


def attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    implementation: Implementation = "xla",
    *,
    mesh: Mesh | None = None,
    interpret: bool = False,
) -> jax.Array:
    """softmax(q k^T / sqrt(d_head)) v over the present and the past. q, k, v: b t h k -> b t h k.

    k and v may have fewer heads, of which each serves as many queries' heads, side by side: grouped queries, Ainslie
    et al. (2023), arXiv 2305.13245.

    Args:
      mesh: over which the program is partitioned.
      interpret: runs splash without a TPU, slowly, for tests.

    Raises:
      ValueError, NotImplementedError, RuntimeError: a kernel that `choose` would not have chosen.
    """
    if implementation == "cudnn":
        return jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="cudnn")
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))  # b h t k
    q = q * (1 / math.sqrt(q.shape[-1]))
    if implementation == "splash":
        return _splash_each(q, k, v, mesh, interpret).swapaxes(1, 2)
    grouped = q.reshape(*k.shape[:2], -1, k.shape[-1])
    return _attend(grouped, k, v).reshape(q.shape).swapaxes(1, 2)


def attend_after(q: jax.Array, k: jax.Array, v: jax.Array, at: jax.Array | int) -> jax.Array:
    """`attend` for positions at, at + 1, ... over keys and values of the whole context, whose later ones are not seen.

    q: b t h k, k, v: b s h' k -> b t h k. No gradient of its own: it is for text that is written.
    """
    t, s = q.shape[1], k.shape[1]
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))  # b h t k
    grouped = (q * (1 / math.sqrt(q.shape[-1]))).reshape(*k.shape[:2], -1, k.shape[-1])  # b h' gt k
    future = jnp.where(jnp.arange(s) > at + jnp.arange(t)[:, None], MASKED, 0.0)
    scores = _product("bhtk,bhsk->bhts", grouped, k) + jnp.tile(future, (grouped.shape[2] // t, 1))
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    y = _product("bhts,bhsk->bhtk", weights.astype(v.dtype), v) / weights.sum(-1, keepdims=True)
    return y.astype(v.dtype).reshape(q.shape).swapaxes(1, 2)


def _splash_each(q, k, v, mesh, interpret):
    """On each device of a mesh the kernel for its sequences and heads, as XLA cannot cut one. Arguments: `_splash`."""
    kernel = functools.partial(_splash, interpret=interpret)
    k, v = (jnp.repeat(x, q.shape[1] // x.shape[1], 1) for x in (k, v))
    if mesh is None:
        return kernel(q, k, v)
    sequences = BATCH if parts(q.shape[0], mesh) > 1 else None
    heads = SPREAD["hk"] if q.shape[1] % mesh.shape[SPREAD["hk"]] == 0 else None
    spec = PartitionSpec(sequences, heads)
    # A Pallas kernel does not say over which axes its result varies, so that JAX cannot check it.
    each = jax.shard_map(kernel, mesh=mesh, in_specs=(spec, spec, spec), out_specs=spec, check_vma=False)
    return each(q, k, v)


def _splash(q, k, v, interpret):
    """The Pallas kernel, its blocks as large as they may be up to 512. q (scaled), k, v: b h t k."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash  # slow to import, and only TPUs need it

    n_head, t, width = q.shape[-3:]
    block = next(size for size in (512, 256, 128) if t % size == 0)
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    kernel = splash.make_splash_mha(
        mask=splash.MultiHeadMask([splash.CausalMask((t, t))] * n_head),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        interpret=interpret,
    )
    if width % SPLASH_BLOCK:  # zeros change neither the products nor the first `width` of the result
        padding = [(0, 0)] * 3 + [(0, -width % SPLASH_BLOCK)]
        q, k, v = (jnp.pad(x, padding) for x in (q, k, v))
    y = jnp.asarray(jax.vmap(kernel)(q, k, v))
    return y[..., :width]


@jax.custom_vjp
def _attend(q, k, v):
    """Attention by plain matrix products. q (scaled), k, v: b h t k -> b h t k.

    Queries that share keys are rows of one product: of g queries' heads per head of keys, q is b h gt k.
    """
    return _attend_forward(q, k, v)[0]


_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def _attend_forward(q, k, v):
    t = k.shape[-2]
    future = jnp.triu(jnp.full((t, t), MASKED, jnp.float32), 1)
    if q.shape[-2] > t:
        future = jnp.tile(future, (q.shape[-2] // t, 1))
    scores = _product("bhtk,bhsk->bhts", q, k) + future
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    over_sum = 1 / weights.sum(-1, keepdims=True)  # b h t 1
    weights = weights.astype(v.dtype)
    y = (_product("bhts,bhsk->bhtk", weights, v) * over_sum).astype(v.dtype)
    return y, (q, k, v, weights, over_sum, y)


def _attend_backward(kept, dy):
    q, k, v, weights, over_sum, y = kept
    dy = dy * over_sum
    along = sum_of_products(dy, y)  # the part of the gradient that a softmax, summing to one, cannot follow
    dy = dy.astype(v.dtype)
    # The narrow factor (t k) on the left: the wide one (t s) is read as it lies.
    dv = jnp.einsum("bhtk,bhts->bhks", dy, weights).swapaxes(-1, -2)
    dscores = (weights * (_product("bhtk,bhsk->bhts", dy, v) - along)).astype(q.dtype)
    dq = jnp.einsum("bhts,bhsk->bhtk", dscores, k)
    dk = jnp.einsum("bhtk,bhts->bhks", q, dscores).swapaxes(-1, -2)
    return dq, dk, dv


_attend.defvjp(_attend_forward, _attend_backward)
