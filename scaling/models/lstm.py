"""The LSTM that Kaplan et al. (2020) section 3.2.1 set beside the Transformer: layers of d_model cells, one on another.

The cell is that of Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000) and without peepholes:

    i, f, g, o = x w_input + h w_recur + b_gates      d_model wide each
    c = sigmoid(f) c + sigmoid(i) tanh(g)
    h = sigmoid(o) tanh(c)

State h and c are zero where a window begins. What comes in is normed, and what a layer gives is added to what came in,
but for the first layer, whose output takes the place of the tokens. Tokens, logits and the norm before them are the
Transformer's; positions it has none. Dropout falls on the tokens and on what layers give, not on what a layer hands to
its next position (Zaremba et al. 2014, arXiv 1409.2329). So N = 8 d_model^2 n_layer.

Initialisation: matrices normal with variance 1/fan_in, the forget gates' bias 1, the other gates' 0. Kaplan et al.
(2020) state neither this nor norms or sums; without these, four layers learn little in short runs (docs/models.md).

What comes from below is multiplied with its matrix for all positions at once, before the loop over positions, and the
gradients of both matrices after it: a step of the loop is the product of b d_model numbers with w_recur.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from scaling.config import ModelConfig
from scaling.kinds.lstm import GATES
from scaling.models.pieces import dense, standardize
from scaling.models.shared import Features, Params, Remat, drop, embedding, folded, head, look_up, readout, token_scale
from scaling.sharding import gathered, over_batch

FORGET = 1  # its place among the gates


class LSTM(nn.Module):
    """Weights and forward pass; gates (four), the rest as in the Transformer."""

    model: ModelConfig
    dtype: jnp.dtype = jnp.dtype("float32")
    mesh: Mesh | None = None

    @nn.compact
    def __call__(self, tokens, dropout_key=None):
        m = self.model
        d, n_layer = m.d_model, m.n_layer

        def forget_one(key, shape, dtype):
            return jnp.zeros(shape, dtype).at[:, FORGET].set(1)

        normal, ones, zeros = nn.initializers.normal(1 / math.sqrt(d)), nn.initializers.ones, nn.initializers.zeros
        w_embed = embedding(self, m)
        g_input = self.param("g_input", ones, (n_layer, d), jnp.float32)
        b_input = self.param("b_input", zeros, (n_layer, d), jnp.float32)
        w_input = self.param("w_input", normal, (n_layer, GATES, d, d), jnp.float32)
        w_recur = self.param("w_recur", normal, (n_layer, GATES, d, d), jnp.float32)
        b_gates = self.param("b_gates", forget_one, (n_layer, GATES, d), jnp.float32)
        g_final = self.param("g_final", ones, (d,), jnp.float32)
        b_final = self.param("b_final", zeros, (d,), jnp.float32)
        w_head = readout(self, m, w_embed)

        def side_by_side(w):
            """GATES d d -> d GATES*d: one product gives all gates."""
            return w.swapaxes(0, 1).reshape(d, GATES * d)

        def layer(x, l):
            w, b = side_by_side(w_input[l]), b_gates[l].reshape(-1)
            w, b = folded(g_input[l], b_input[l], w, b, self.dtype, self.mesh)
            z = dense(standardize(x).reshape(-1, d), w, b).reshape(*x.shape[:2], GATES * d)
            h = recur(z.swapaxes(0, 1), gathered(side_by_side(w_recur[l]).astype(self.dtype), 0, self.mesh))
            return over_batch(drop(h.swapaxes(0, 1), m.dropout, dropout_key, l), self.mesh)

        x = over_batch(look_up(token_scale(m), w_embed, tokens, self.dtype, self.mesh), self.mesh)  # b t d
        x = layer(drop(x, m.dropout, dropout_key, n_layer), 0)
        for l in range(1, n_layer):
            x = x + layer(x, l)
        return head(x, g_final, b_final, w_head, self.mesh)


def cell(z: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One position: h and the new c, float32. z: b 4d, the gates' i f g o before they are squashed, c: b d."""
    i, f, g, o = jnp.split(z, GATES, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


@jax.custom_vjp
def recur(z: jax.Array, w: jax.Array) -> jax.Array:
    """The h of all positions, from zero h and c. z: t b 4d, what comes from below, w: d 4d -> t b d, in its dtype."""
    return _recur_forward(z, w)[0]


def _recur_forward(z, w):
    def step(carry, z):
        h, c = carry
        z = z + jnp.matmul(h, w, preferred_element_type=jnp.float32)
        h, after = cell(z, c)
        h = h.astype(w.dtype)
        return (h, after), (h, z, c)

    b, d = z.shape[1], w.shape[0]
    start = jnp.zeros((b, d), w.dtype), jnp.zeros((b, d), jnp.float32)
    _, (h, z, c) = jax.lax.scan(step, start, z)
    return h, (h, z, c, w)


def _recur_backward(kept, dh):
    h, z, c, w = kept  # c as it was before each position
    across = w.T

    def step(carry, now):
        dh, dc = carry
        z, c, from_above = now
        _, pull = jax.vjp(cell, z, c)
        dz, dc = pull((dh + from_above.astype(jnp.float32), dc))
        dz = dz.astype(w.dtype)
        return (jnp.matmul(dz, across, preferred_element_type=jnp.float32), dc), dz

    _, dz = jax.lax.scan(step, (jnp.zeros_like(c[0]), jnp.zeros_like(c[0])), (z, c, dh), reverse=True)
    before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
    return dz, jnp.einsum("tbi,tbo->io", before, dz)


recur.defvjp(_recur_forward, _recur_backward)


def init(model: ModelConfig, rng: jax.Array) -> Params:
    """Float32 parameters, those of the layers stacked (l first)."""
    tokens = jnp.zeros((1, model.n_ctx), jnp.int32)
    return LSTM(model).init(rng, tokens)["params"]  # pyright: ignore[reportReturnType]


def features(
    model: ModelConfig,
    params: Params,
    tokens: jax.Array,
    *,
    dtype="float32",
    dropout_key: jax.Array | None = None,
    remat: Remat = "none",
    mesh: Mesh | None = None,
) -> Features:
    """What the logits are made from. Arguments as of `scaling.models.model.apply`, which has no remat but "none"."""
    assert remat == "none"
    return LSTM(model, jnp.dtype(dtype), mesh).apply({"params": params}, tokens, dropout_key)  # pyright: ignore[reportReturnType]
