"""The decoder-only Transformer of Kaplan et al. (2020) section 2: pre-norm, learned positions, GELU, tied embedding.

The face is functional: `init(model, rng) -> params` and `apply(model, params, tokens) -> logits`. Nothing outside this
folder knows the module system behind it. The layers' weights are stacked (l first), so 2 and 48 layers compile alike;
how far the loop over layers is unrolled is the backend's matter. The gain and bias of a LayerNorm are weights of their
own, but they meet the matrix that follows before the activations do: the same function in fewer passes over these.

Initialisation: the two matrices of a layer that write to the residual stream are zero, so that each layer begins as
the identity; the others are normal with variance 1/fan_in; embeddings are normal with standard deviation 0.02, or 2/d
in models wider than 100, since the first logit of the token just read is d times it; so the first loss is ln n_vocab.
Positions have 0.02; tokens enter the stream times sqrt(d_model) (Vaswani et al. 2017, section 3.4), which keeps them
audible in it; biases 0, norm gains 1. Kaplan et al. (2020) do not state theirs. This one makes the loss of short runs
lower, and less dependent on the learning rate, than residual matrices of variance 1/fan_in.
"""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from scaling.config import ModelConfig
from scaling.models.attention import Choice, Implementation, attend, choose
from scaling.models.pieces import dense, fold, standardize
from scaling.sharding import gathered, over_batch, per_run, platform, whole_rows

Params = dict[str, jax.Array]
Remat = Literal["none", "matmuls", "layers"]

EMBED_STD = 0.02


class Transformer(nn.Module):
    """Weights and forward pass; letters as in the house: b t d, heads h of width k, feed-forward f, vocabulary v."""

    model: ModelConfig
    dtype: jnp.dtype = jnp.dtype("float32")
    attention: Implementation = "xla"
    remat: Remat = "none"
    mesh: Mesh | None = None

    @nn.compact
    def __call__(self, tokens, dropout_key=None):
        m = self.model
        d, hk, f, n_layer = m.d_model, m.d_attn, m.d_ff, m.n_layer

        def normal(name, shape, std):
            return self.param(name, nn.initializers.normal(std), shape, jnp.float32)

        def zeros(name, *shape):
            return self.param(name, nn.initializers.zeros, shape, jnp.float32)

        def ones(name, *shape):
            return self.param(name, nn.initializers.ones, shape, jnp.float32)

        w_embed = normal("w_embed", (m.n_vocab, d), min(EMBED_STD, 2 / d))
        w_pos = normal("w_pos", (m.n_ctx, d), EMBED_STD)
        layers = {
            "g_attn": ones("g_attn", n_layer, d),
            "b_attn": zeros("b_attn", n_layer, d),
            "w_qkv": normal("w_qkv", (n_layer, 3, d, hk), 1 / math.sqrt(d)),
            "b_qkv": zeros("b_qkv", n_layer, 3, hk),
            "w_out": zeros("w_out", n_layer, hk, d),
            "b_out": zeros("b_out", n_layer, d),
            "g_ff": ones("g_ff", n_layer, d),
            "b_ff": zeros("b_ff", n_layer, d),
            "w_up": normal("w_up", (n_layer, d, f), 1 / math.sqrt(d)),
            "b_up": zeros("b_up", n_layer, f),
            "w_down": zeros("w_down", n_layer, f, d),
            "b_down": zeros("b_down", n_layer, d),
        }
        g_final, b_final = ones("g_final", d), zeros("b_final", d)

        def drop(x, *path):
            """Our own dropout: on or off is part of the program, since Flax's refuses a traced rate."""
            if dropout_key is None or not m.dropout:
                return x
            key = dropout_key
            for index in path:
                key = jax.random.fold_in(key, index)
            return jnp.where(jax.random.bernoulli(key, 1 - m.dropout, x.shape), x / (1 - m.dropout), 0)

        def block(x, layer):
            i, w = layer
            shape = x.shape
            x = x.reshape(-1, d)  # n d: one matrix product for all positions
            qkv = w["w_qkv"].swapaxes(0, 1).reshape(d, 3 * hk), w["b_qkv"].reshape(3 * hk)
            qkv = saved(dense(standardize(x), *folded(w["g_attn"], w["b_attn"], *qkv)))
            q, k, v = qkv.reshape(*shape[:2], 3, m.n_head, -1).transpose(2, 0, 1, 3, 4)  # b t h k each
            y = saved(attend(q, k, v, self.attention).reshape(-1, hk))
            y = dense(y, gathered(w["w_out"].astype(self.dtype), 1, self.mesh), w["b_out"].astype(self.dtype))
            x = saved(x + drop(y.reshape(shape), i, 1).reshape(x.shape))
            y = saved(dense(standardize(x), *folded(w["g_ff"], w["b_ff"], w["w_up"], w["b_up"])))
            y = dense(
                nn.gelu(y), gathered(w["w_down"].astype(self.dtype), 1, self.mesh), w["b_down"].astype(self.dtype)
            )
            return over_batch(x.reshape(shape) + drop(y.reshape(shape), i, 2), self.mesh), None

        def folded(*gain_bias_w_b) -> tuple[jax.Array, jax.Array]:
            """`fold` in float32, then rounded."""
            w, b = fold(*gain_bias_w_b)
            return gathered(w.astype(self.dtype), 0, self.mesh), b.astype(self.dtype)

        def saved(x):
            """What rematerialisation of the rest begins from."""
            return checkpoint_name(x, "matmul")

        unroll = n_layer if platform(self.mesh) == "cpu" else 1  # a rolled loop costs a quarter of the speed on CPU
        if self.remat != "none":
            keep = jax.checkpoint_policies.save_only_these_names("matmul") if self.remat == "matmuls" else None
            block = jax.checkpoint(block, policy=keep, prevent_cse=unroll > 1)
        x = math.sqrt(d) * jnp.take(whole_rows(w_embed.astype(self.dtype), self.mesh), tokens, axis=0)  # b t d
        x = over_batch(drop(x + w_pos[: tokens.shape[1]].astype(self.dtype), n_layer, 0), self.mesh)
        x, _ = jax.lax.scan(block, x, (jnp.arange(n_layer), layers), unroll=unroll)
        w, b = folded(g_final, b_final, w_embed.T, jnp.zeros(m.n_vocab))
        return standardize(x), w.T, b


def init(model: ModelConfig, rng: jax.Array) -> Params:
    """Float32 parameters, those of the layers stacked (l first)."""
    tokens = jnp.zeros((1, model.n_ctx), jnp.int32)
    return Transformer(model).init(rng, tokens)["params"]  # pyright: ignore[reportReturnType]


def features(
    model: ModelConfig,
    params: Params,
    tokens: jax.Array,
    *,
    dtype="float32",
    dropout_key: jax.Array | None = None,
    remat: Remat = "none",
    mesh: Mesh | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The (x, w, b) of the logits x w^T + b: b t d, v d and v. Arguments as in `apply`."""
    choice = attention(model, dtype, mesh)
    module = Transformer(model, jnp.dtype(dtype), choice.implementation, remat, mesh)
    return module.apply({"params": params}, tokens, dropout_key)  # pyright: ignore[reportReturnType]


def apply(
    model: ModelConfig,
    params: Params,
    tokens: jax.Array,
    *,
    dtype="float32",
    dropout_key: jax.Array | None = None,
    remat: Remat = "none",
    mesh: Mesh | None = None,
) -> jax.Array:
    """Logits of the next token. tokens: i32 b t, t <= n_ctx -> b t v.

    Args:
      dtype: of the computation. LayerNorm and softmax compute in float32.
      dropout_key: dropout is off without it.
      remat: what the backward pass computes again instead of finding it in memory: nothing; all but the "matmuls",
        whose results are kept (about 10 d_model values per position and layer with d_attn = d_model and
        d_ff = 4 d_model); or whole "layers", of which the input is kept.
      mesh: over which the program is partitioned.
    """
    x, w, b = features(model, params, tokens, dtype=dtype, dropout_key=dropout_key, remat=remat, mesh=mesh)
    return x @ w.T + b


def attention(model: ModelConfig, dtype="float32", mesh: Mesh | None = None) -> Choice:
    """Which attention a program of this model uses on this machine, or on the devices of a mesh, and why."""
    width = model.d_attn // model.n_head
    return choose(platform(mesh), str(jnp.dtype(dtype)), model.n_ctx, width, devices=per_run(mesh))
