"""The decoder-only Transformer: pre-norm, its layers' parts chosen by the fields of `ModelConfig`.

With their defaults it is that of Kaplan et al. (2020) section 2 but for its rotary positions: LayerNorm, GELU, biases
and a tied embedding. `scaling.ladder` has the choices of GPT-2 and of the Llama models.

The layers' weights are stacked (l first), so 2 and 48 layers compile alike; how far the loop over layers is unrolled is
the backend's matter. The gain and bias of a norm are weights of their own, but they meet the matrix that follows before
the activations do: the same function in fewer passes over these. Queries, keys and values are one matrix product, gate
and up of a gated feed-forward another.

Initialisation: the two matrices of a layer that write to the residual stream are zero, so that each layer begins as
the identity; the others are normal with variance 1/fan_in; learned positions, tokens and an untied head as in
`scaling.models.shared`; biases 0, gains 1. Kaplan et al. (2020) do not state theirs. This one makes the loss of short
runs lower, and less dependent on the learning rate, than residual matrices of variance 1/fan_in.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from scaling.config import ModelConfig
from scaling.kinds.transformer import norm_bias
from scaling.models.attention import Choice, Implementation, attend, attend_after, choose
from scaling.models.pieces import FEED_FORWARDS, NORMS, dense, unstack
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


class Cache(NamedTuple):
    """The keys and values of what was read, for each turn and layer; those of later positions are not looked at."""

    k: jax.Array  # turns l b n_ctx h' k
    v: jax.Array


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
    def __call__(self, tokens, dropout_key=None, cache=None, at=0):
        """With a cache also what it is afterwards: tokens are then those at the positions from `at` on."""
        m = self.model
        d, n_layer, std, t = m.d_model, m.n_layer, embed_std(m), tokens.shape[1]
        w_embed = embedding(self, m)
        w_pos = self._normal("w_pos", std, m.n_ctx, d) if m.positions == "learned" else None
        layers = self._layers() if n_layer else {}  # Orbax keeps no arrays without elements
        g_final = self._ones("g_final", d)
        b_final = self._zeros("b_final", d) if norm_bias(m) else None
        w_head = self._readout(w_embed)  # the last, so that the others begin alike with a head or without
        turned = rotations(m.n_ctx, m.d_head, m.rotary_base) if m.positions == "rotary" and n_layer else ()
        route = self._routed(tokens)

        def here(table):
            """Its rows for the positions of the tokens. n_ctx ... -> t ..."""
            return table[:t] if cache is None else jax.lax.dynamic_slice_in_dim(jnp.asarray(table), at, t)

        turned = tuple(map(here, turned))

        def block(x, layer):
            i, w, *seen = layer
            shape = x.shape
            x = x.reshape(-1, d)  # n d: one matrix product for all positions
            y, seen = self._attend(x, w, shape[:2], turned, seen, at)
            x = saved(x + drop(y.reshape(shape), m.dropout, dropout_key, i, 1).reshape(x.shape))
            y, aux = self._feed_forward(x, w, shape[:2], route)
            x = over_batch(x.reshape(shape) + drop(y.reshape(shape), m.dropout, dropout_key, i, 2), self.mesh)
            return x, (seen if seen else x if self.trace else None, aux)

        unroll = n_layer if platform(self.mesh) == "cpu" else 1  # a rolled loop costs a quarter of the speed on CPU
        if self.remat != "none":
            block = jax.checkpoint(block, policy=KEPT[self.remat], prevent_cse=unroll > 1)
        x = look_up(token_scale(m), w_embed, tokens, self.dtype, self.mesh)
        scale = token_scale(m) * m.position_scale
        if w_pos is not None:
            x = x + (scale * here(w_pos)).astype(self.dtype)
        elif m.positions == "sinusoidal":
            x = x + here(sinusoids(m.n_ctx, d, scale * std)).astype(self.dtype)
        x = over_batch(drop(x, m.dropout, dropout_key, self.turns * n_layer, 0), self.mesh)
        stream: list[Any] = [x[None]]
        aux = None
        for turn in range(self.turns if n_layer else 0):
            places = jnp.arange(turn * n_layer, (turn + 1) * n_layer)  # each turn drops by masks of its own
            seen = [] if cache is None else [part[turn] for part in cache]
            x, (after, aux) = jax.lax.scan(block, x, (places, layers, *seen), unroll=unroll)
            stream.append(after)
        if self.trace:
            return jnp.concatenate(stream)
        found = head(x, g_final, b_final, w_head, self.mesh, m.norm)
        if aux is not None:
            found = found._replace(aux=aux.sum())
        if cache is None:
            return found
        return found, Cache(*map(jnp.stack, zip(*stream[1:], strict=True))) if n_layer else cache

    def _readout(self, w_embed: jax.Array) -> jax.Array:
        return readout(self, self.model, w_embed)

    def _normal(self, name: str, std: float, *shape: int) -> jax.Array:
        return self.param(name, nn.initializers.normal(std), shape, jnp.float32)

    def _zeros(self, name: str, *shape: int) -> jax.Array:
        return self.param(name, nn.initializers.zeros, shape, jnp.float32)

    def _ones(self, name: str, *shape: int) -> jax.Array:
        return self.param(name, nn.initializers.ones, shape, jnp.float32)

    def _layers(self) -> Params:
        """Declares the weights of the layers: those that this model's fields give it."""
        m = self.model
        l, d, hk, kv, std = m.n_layer, m.d_model, m.d_attn, m.d_kv, 1 / math.sqrt(m.d_model)
        found = {}

        def norm(name: str) -> None:
            found[f"g_{name}"] = self._ones(f"g_{name}", l, d)
            if norm_bias(m):
                found[f"b_{name}"] = self._zeros(f"b_{name}", l, d)

        norm("attn")
        if kv == hk:
            found |= self._matrix("qkv", std, 3, d, hk)
        else:
            found |= self._matrix("q", std, d, hk) | self._matrix("kv", std, 2, d, kv)
        if m.qk_norm:
            found |= {name: self._ones(name, l, m.d_head) for name in ("g_q", "g_k")}
        found |= self._matrix("out", 0, hk, d)
        norm("ff")
        return found | self._feed_forward_weights()

    def _matrix(self, name: str, std: float, *shape: int) -> Params:
        """A matrix of every layer and its bias, which has all its dimensions but the one that is summed over, the last
        but one."""
        l = self.model.n_layer
        w = self._normal(f"w_{name}", std, l, *shape) if std else self._zeros(f"w_{name}", l, *shape)
        bias = {f"b_{name}": self._zeros(f"b_{name}", l, *shape[:-2], shape[-1])} if self.model.bias else {}
        return {f"w_{name}": w} | bias

    def _feed_forward_weights(self) -> Params:
        d, f, std = self.model.d_model, self.model.d_ff, 1 / math.sqrt(self.model.d_model)
        gate = self._matrix("gate", std, d, f) if self.model.feed_forward == "swiglu" else {}
        return gate | self._matrix("up", std, d, f) | self._matrix("down", 0, f, d)

    def _routed(self, tokens: jax.Array) -> Any:
        """What the feed-forwards of all layers know of the tokens, i32 b t; these here nothing."""

    def _attend(
        self, x: jax.Array, w: Params, shape: tuple[int, ...], turned: tuple, seen: list, at: jax.Array | int
    ) -> tuple[jax.Array, list]:
        """The attention of one layer. x: n d, of b t -> n d; and the keys and values seen with those of x, if any."""
        m, norm = self.model, NORMS[self.model.norm]
        q, k, v = self._queries_keys_values(x, w, shape)
        if m.qk_norm:
            q, k = (norm(y) * w[name].astype(self.dtype) for y, name in ((q, "g_q"), (k, "g_k")))
        if m.positions == "rotary":
            q, k = rotate(q, *turned), rotate(k, *turned)
        if seen:
            k, v = (jax.lax.dynamic_update_slice_in_dim(old, new, at, 1) for old, new in zip(seen, (k, v), strict=True))
            y, seen = attend_after(q, k, v, at), [k, v]
        else:
            y = attend(q, k, v, self.attention, mesh=self.mesh)
        return self._out(saved(y.reshape(-1, m.d_attn)), w, "out"), seen

    def _queries_keys_values(self, x: jax.Array, w: Params, shape: tuple[int, ...]) -> tuple[jax.Array, ...]:
        """By one matrix product. x: n d, of b t -> b t h k, and twice b t h' k with the heads of keys and values."""
        m = self.model
        d, hk, k = m.d_model, m.d_attn, m.d_head
        if "w_qkv" in w:
            b = w["b_qkv"].reshape(3 * hk) if m.bias else None
            y = self._normed(x, w, "attn", w["w_qkv"].swapaxes(0, 1).reshape(d, 3 * hk), b)
            return unstack(y.reshape(*shape, 3, m.n_head, k).transpose(2, 0, 1, 3, 4))
        each, groups = m.n_head * m.d_head // m.d_kv, m.d_kv // k  # heads that share keys, and their groups

        def by_group(q, keys_values):
            """The queries of each group beside its keys and values, so that tensor cuts groups. ... hk, c ... kv."""
            lead = q.shape[:-1]
            parts = [part.reshape(*lead, groups, -1, k) for part in (q, *keys_values)]
            return jnp.concatenate(parts, -2).reshape(*lead, -1)

        b = by_group(w["b_q"], w["b_kv"]) if m.bias else None
        y = self._normed(x, w, "attn", by_group(w["w_q"], w["w_kv"]), b).reshape(*shape, groups, each + 2, k)
        return y[..., :each, :].reshape(*shape, m.n_head, k), y[..., each, :], y[..., each + 1, :]

    def _feed_forward(
        self, x: jax.Array, w: Params, shape: tuple[int, ...], route: Any
    ) -> tuple[jax.Array, jax.Array | None]:
        """The feed-forward part of one layer, and a loss of its own. x: n d, of b t (`shape`) -> n d, scalar."""
        m = self.model
        d, f = m.d_model, m.d_ff
        inner, b = w["w_up"], w.get("b_up")
        if m.feed_forward == "swiglu":
            inner = jnp.stack([w["w_gate"], inner], 1).reshape(d, 2 * f)
            b = jnp.concatenate([w["b_gate"], b]) if b is not None else None
        y = self._normed(x, w, "ff", inner, b)
        return self._out(FEED_FORWARDS[m.feed_forward](y), w, "down"), None

    def _normed(self, x: jax.Array, w: Params, norm: str, inner: jax.Array, b: jax.Array | None) -> jax.Array:
        """A norm and the matrix after it, whose one product has the norm's gain and bias. x: n i, inner: i o -> n o."""
        gain, bias = w[f"g_{norm}"], w.get(f"b_{norm}")
        return saved(dense(NORMS[self.model.norm](x), *folded(gain, bias, inner, b, self.dtype, self.mesh)))

    def _out(self, x: jax.Array, w: Params, name: str) -> jax.Array:
        """What a part of a layer writes to the stream. x: n i -> n d."""
        b = w.get(f"b_{name}")
        matrix = gathered(w[f"w_{name}"].astype(self.dtype), 1, self.mesh)
        return dense(x, matrix, None if b is None else b.astype(self.dtype))


def saved(x: jax.Array) -> jax.Array:
    """What rematerialisation of the rest begins from."""
    return checkpoint_name(x, "matmul")


KEPT = {  # of a layer, for the backward pass
    "matmuls": jax.checkpoint_policies.save_only_these_names("matmul"),
    "layers": None,  # but for what goes into it
    "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=["matmul"],
        offload_src="device",
        offload_dst="pinned_host",
    ),
}


def init(model: ModelConfig, rng: jax.Array, network: type[Transformer] = Transformer) -> Params:
    """Float32 parameters, those of the layers stacked (l first)."""
    tokens = jnp.zeros((1, model.n_ctx), jnp.int32)
    return network(model).init(rng, tokens)["params"]  # pyright: ignore[reportReturnType]


def features(
    model: ModelConfig,
    params: Params,
    tokens: jax.Array,
    *,
    dtype="float32",
    dropout_key: jax.Array | None = None,
    remat: Remat = "none",
    mesh: Mesh | None = None,
    network: type[Transformer] = Transformer,
) -> Features:
    """What the logits are made from, after model.reuse turns through the layers. Arguments as of `model.apply`."""
    choice = attention(model, dtype, platform(mesh))
    module = network(model, model.reuse, jnp.dtype(dtype), choice.implementation, remat, mesh)
    return module.apply({"params": params}, tokens, dropout_key)  # pyright: ignore[reportReturnType]


def cache(model: ModelConfig, b: int, dtype="float32") -> Cache:
    """Of b texts of which nothing was read."""
    shape = (
        model.reuse,
        model.n_layer,
        b,
        model.n_ctx,
        model.d_kv // model.d_head if model.n_layer else 0,
        model.d_head,
    )
    return Cache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def continued(
    model: ModelConfig, params: Params, tokens: jax.Array, cache: Cache, at: jax.Array | int, *, dtype="float32"
) -> tuple[Features, Cache]:
    """What the logits after further tokens are made from. Arguments as of `model.continued`."""
    module = Transformer(model, model.reuse, jnp.dtype(dtype))
    return module.apply({"params": params}, tokens, cache=cache, at=at)  # pyright: ignore[reportReturnType]


def stream(model: ModelConfig, params: Params, tokens: jax.Array) -> jax.Array:
    """The stream as it enters the layers and after each of them. tokens: i32 b t -> l+1 b t d."""
    return Transformer(model, trace=True).apply({"params": params}, tokens)  # pyright: ignore[reportReturnType]


def attention(model: ModelConfig, dtype: str, backend: str) -> Choice:
    """Which attention a program of this model uses, and why. Arguments as of `attention.choose`."""
    return choose(backend, str(jnp.dtype(dtype)), model.n_ctx, model.d_head)
