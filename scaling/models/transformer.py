"""The decoder-only Transformer of Kaplan et al. (2020) section 2: pre-norm, learned positions, GELU, tied embedding.

The face is functional: `init(model, rng) -> params` and `apply(model, params, tokens) -> logits`. Nothing outside this
folder knows the module system behind it. The layers' weights are stacked (l first), so 2 and 48 layers compile alike;
how far the loop over layers is unrolled is the backend's matter.

Initialisation: the two matrices of a layer that write to the residual stream are zero, so that each layer begins as
the identity; the others are normal with variance 1/fan_in; embeddings are normal with standard deviation 0.02, or 2/d
in models wider than 100, since the first logit of the token just read is d times it; so the first loss is ln n_vocab.
Positions have 0.02; tokens enter the stream times sqrt(d_model) (Vaswani et al. 2017, section 3.4), which keeps them
audible in it; biases 0, norm gains 1. Kaplan et al. (2020) do not state theirs. This one makes the loss of short runs
lower, and less dependent on the learning rate, than residual matrices of variance 1/fan_in.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from scaling.config import ModelConfig

Params = dict[str, jax.Array]

EMBED_STD = 0.02


class Transformer(nn.Module):
    """Weights and forward pass; letters as in the house: b t d, heads h of width k, feed-forward f, vocabulary v."""

    model: ModelConfig
    dtype: jnp.dtype = jnp.dtype("float32")

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
            w = jax.tree.map(lambda leaf: leaf.astype(self.dtype), w)
            y = attend(norm(x, w["g_attn"], w["b_attn"]), w["w_qkv"], w["b_qkv"], w["w_out"], m.n_head) + w["b_out"]
            x = x + drop(y, i, 1)
            y = nn.gelu(norm(x, w["g_ff"], w["b_ff"]) @ w["w_up"] + w["b_up"]) @ w["w_down"] + w["b_down"]
            return x + drop(y, i, 2), None

        w_embed = w_embed.astype(self.dtype)
        x = math.sqrt(d) * jnp.take(w_embed, tokens, axis=0) + w_pos[: tokens.shape[1]].astype(self.dtype)  # b t d
        x = drop(x, n_layer, 0)
        unroll = n_layer if jax.default_backend() == "cpu" else 1  # a rolled loop costs a quarter of the speed on CPU
        x, _ = jax.lax.scan(block, x, (jnp.arange(n_layer), layers), unroll=unroll)
        return norm(x, g_final, b_final) @ w_embed.T  # b t v


def norm(x, gain, bias):
    """LayerNorm over d, in float32 whatever the dtype of x. x: b t d."""
    y = x.astype(jnp.float32)
    y = y - y.mean(-1, keepdims=True)
    y = y * jax.lax.rsqrt((y * y).mean(-1, keepdims=True) + 1e-5)
    return (y * gain + bias).astype(x.dtype)


def attend(x, w_qkv, b_qkv, w_out, n_head):
    """Causal self-attention. x: b t d, w_qkv: 3 d hk, b_qkv: 3 hk, w_out: hk d -> b t d."""
    qkv = jnp.einsum("btd,cdm->cbtm", x, w_qkv) + b_qkv[:, None, None]
    q, k, v = (y.reshape(*y.shape[:2], n_head, -1) for y in qkv)  # b t h k
    y = jax.nn.dot_product_attention(q, k, v, is_causal=True)  # b t h k
    return y.reshape(*y.shape[:2], -1) @ w_out


def init(model: ModelConfig, rng: jax.Array) -> Params:
    """Float32 parameters, those of the layers stacked (l first)."""
    tokens = jnp.zeros((1, model.n_ctx), jnp.int32)
    return Transformer(model).init(rng, tokens)["params"]  # pyright: ignore[reportReturnType]


def apply(model: ModelConfig, params: Params, tokens: jax.Array, *, dtype="float32", dropout_key=None) -> jax.Array:
    """Logits of the next token. tokens: i32 b t, t <= n_ctx -> b t v.

    Args:
      dtype: of the computation. LayerNorm computes in float32.
      dropout_key: dropout is off without it.
    """
    return Transformer(model, jnp.dtype(dtype)).apply({"params": params}, tokens, dropout_key)  # pyright: ignore[reportReturnType]
