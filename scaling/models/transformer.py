"""The decoder-only Transformer of Kaplan et al. (2020) section 2: pre-norm, learned positions, GELU, tied embedding.

The layers' weights are stacked (l first), so 2 and 48 layers compile alike; how far the loop over layers is unrolled is
the backend's matter. The gain and bias of a LayerNorm are weights of their own, but they meet the matrix that follows
before the activations do: the same function in fewer passes over these.

Initialisation: the two matrices of a layer that write to the residual stream are zero, so that each layer begins as
the identity; the others are normal with variance 1/fan_in; positions are normal with standard deviation 0.02, tokens
as in `scaling.models.shared`; biases 0, norm gains 1. Kaplan et al. (2020) do not state theirs. This one makes the loss
of short runs lower, and less dependent on the learning rate, than residual matrices of variance 1/fan_in.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from scaling.config import ModelConfig
from scaling.models.attention import Choice, Implementation, attend, choose
from scaling.models.pieces import dense, standardize
from scaling.models.positions import rotate, rotations, sinusoids
from scaling.models.shared import (
    Features,
    Params,
    Remat,
    drop,
    embed_std,
    embedding,
    folded,
    head,
    look_up,
    readout,
    token_scale,
)
from scaling.sharding import gathered, over_batch, platform


class Transformer(nn.Module):
    """Weights and forward pass; letters as in the house: b t d, heads h of width k, feed-forward f, vocabulary v."""

    model: ModelConfig
    turns: int = 1  # through the layers; more in a universal Transformer
    dtype: jnp.dtype = jnp.dtype("float32")
    attention: Implementation = "xla"
    remat: Remat = "none"
    mesh: Mesh | None = None
    trace: bool = False  # gives the stream before and after each layer, l+1 b t d, in place of features

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

        w_embed = embedding(self, m)
        std = embed_std(m)
        w_pos = normal("w_pos", (m.n_ctx, d), std) if m.positions == "learned" else None
        layers = {}
        if n_layer:  # Orbax keeps no arrays without elements
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
        w_head = readout(self, m, w_embed)  # the last, so that the others begin alike with a head or without

        def block(x, layer):
            i, w = layer
            shape = x.shape
            x = x.reshape(-1, d)  # n d: one matrix product for all positions
            qkv = w["w_qkv"].swapaxes(0, 1).reshape(d, 3 * hk), w["b_qkv"].reshape(3 * hk)
            qkv = saved(dense(standardize(x), *normed(w["g_attn"], w["b_attn"], *qkv)))
            q, k, v = qkv.reshape(*shape[:2], 3, m.n_head, -1).transpose(2, 0, 1, 3, 4)  # b t h k each
            if m.positions == "rotary":
                q, k = rotate(q, *turned), rotate(k, *turned)
            y = saved(attend(q, k, v, self.attention, mesh=self.mesh).reshape(-1, hk))
            y = dense(y, gathered(w["w_out"].astype(self.dtype), 1, self.mesh), w["b_out"].astype(self.dtype))
            x = saved(x + drop(y.reshape(shape), m.dropout, dropout_key, i, 1).reshape(x.shape))
            y = saved(dense(standardize(x), *normed(w["g_ff"], w["b_ff"], w["w_up"], w["b_up"])))
            y = dense(
                nn.gelu(y), gathered(w["w_down"].astype(self.dtype), 1, self.mesh), w["b_down"].astype(self.dtype)
            )
            x = over_batch(x.reshape(shape) + drop(y.reshape(shape), m.dropout, dropout_key, i, 2), self.mesh)
            return x, x if self.trace else None

        def normed(gain, bias, w, b):
            return folded(gain, bias, w, b, self.dtype, self.mesh)

        def saved(x):
            """What rematerialisation of the rest begins from."""
            return checkpoint_name(x, "matmul")

        unroll = n_layer if platform(self.mesh) == "cpu" else 1  # a rolled loop costs a quarter of the speed on CPU
        if self.remat != "none":
            keep = jax.checkpoint_policies.save_only_these_names("matmul") if self.remat == "matmuls" else None
            block = jax.checkpoint(block, policy=keep, prevent_cse=unroll > 1)
        turned = rotations(m.n_ctx, hk // m.n_head, m.rotary_base) if m.positions == "rotary" else ()
        x = look_up(token_scale(m), w_embed, tokens, self.dtype, self.mesh)
        scale = token_scale(m) * m.position_scale
        if w_pos is not None:
            x = x + (scale * w_pos[: tokens.shape[1]]).astype(self.dtype)
        elif m.positions == "sinusoidal":
            x = x + sinusoids(m.n_ctx, d, scale * std)[: tokens.shape[1]].astype(self.dtype)
        x = over_batch(drop(x, m.dropout, dropout_key, self.turns * n_layer, 0), self.mesh)
        stream: list[Any] = [x[None]]
        for turn in range(self.turns if n_layer else 0):
            places = jnp.arange(turn * n_layer, (turn + 1) * n_layer)  # each turn drops by masks of its own
            x, after = jax.lax.scan(block, x, (places, layers), unroll=unroll)
            stream.append(after)
        if self.trace:
            return jnp.concatenate(stream)
        return head(x, g_final, b_final, w_head, self.mesh)


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
    turns: int = 1,
) -> Features:
    """What the logits are made from, after `turns` through the layers. Other arguments as of `model.apply`."""
    choice = attention(model, dtype, platform(mesh))
    module = Transformer(model, turns, jnp.dtype(dtype), choice.implementation, remat, mesh)
    return module.apply({"params": params}, tokens, dropout_key)  # pyright: ignore[reportReturnType]


def stream(model: ModelConfig, params: Params, tokens: jax.Array) -> jax.Array:
    """The stream as it enters the layers and after each of them. tokens: i32 b t -> l+1 b t d."""
    return Transformer(model, trace=True).apply({"params": params}, tokens)  # pyright: ignore[reportReturnType]


def attention(model: ModelConfig, dtype: str, backend: str) -> Choice:
    """Which attention a program of this model uses, and why. Arguments as of `attention.choose`."""
    return choose(backend, str(jnp.dtype(dtype)), model.n_ctx, model.d_attn // model.n_head)
