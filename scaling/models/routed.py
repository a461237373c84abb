"""The Transformer whose feed-forwards are experts: in every layer a token is sent to few of several feed-forwards.

Where tokens are sent, by model.routing:

    hash                       a table from token to expert, balanced by how frequent tokens are in the text; no router
                               and no gate: Roller et al. (2021), arXiv 2106.04426
    top_k                      the experts to which the router gives the highest probability, times which they count:
                               Shazeer et al. (2017); Fedus et al. (2021), arXiv 2101.03961, at top_k 1. With a balance
                               loss, without noise
    expert_choice              each expert takes the tokens of a group that the router sends it most surely: Zhou et al.
                               (2022), arXiv 2202.09368. Which these are depends on later tokens of the sequence: its
                               loss, held out too, knows of the future what no text that is written tells
    expert_choice_at_position  the same among the sequences of a batch at one position, so that no token looks ahead;
                               its loss depends on which sequences are read together

Experts have `slots` for the tokens of a group, whole sequences of together at most GROUP tokens. Of hash and top_k a
token that finds all slots of its expert taken, by those before it in the group, passes by (and first choices go before
second ones). So nothing depends on how a batch lies on devices. What moves tokens to slots and back are gathers alone,
also in the backward pass: a choice has one slot, and a slot one choice.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scaling.config import ModelConfig
from scaling.kinds.routed import has_router, has_table, slots
from scaling.models import transformer
from scaling.models.pieces import FEED_FORWARDS, NORMS, dense, fold
from scaling.models.shared import Params, folded
from scaling.sharding import between_experts, gathered

GROUP = 2048  # tokens that share the slots of experts, or one sequence where it is longer


class Route(NamedTuple):
    """Where the tokens of groups go: k choices of each of s tokens, token first, and m slots of all experts.

    A number past the last is none: a choice that found no slot, a slot that is empty.
    """

    slot: jax.Array  # i32 g s*k: of each choice
    choice: jax.Array  # i32 g m: in each slot
    gate: jax.Array | None  # f32 g s*k: times which a choice counts; None: 1


class Routed(transformer.Transformer):
    """As its parent, but for the feed-forward."""

    def _feed_forward_weights(self) -> Params:
        m, std = self.model, 1 / math.sqrt(self.model.d_model)
        e, d, f = m.experts, m.d_model, m.d_ff
        gate = self._matrix("expert_gate", std, e, d, f) if m.feed_forward == "swiglu" else {}
        found = gate | self._matrix("expert_up", std, e, d, f) | self._matrix("expert_down", 0, e, f, d)
        if has_router(m):
            found["w_router"] = self._normal("w_router", std, m.n_layer, d, e)
        return found

    def _routed(self, tokens: jax.Array) -> Route | None:
        """The same in all layers, where the tokens alone decide. tokens: i32 b t."""
        m = self.model
        if has_router(m):
            return None
        if not has_table(m):
            return assigned(m, self._groups(jnp.zeros_like(tokens)[..., None]))
        table = self.param("b_hash", lambda _: (jnp.arange(m.n_vocab) % m.experts).astype(jnp.float32))
        expert = jax.lax.stop_gradient(table).astype(jnp.int32)[tokens]
        return assigned(m, self._groups(expert[..., None]))

    def _feed_forward(self, x, w, shape, route):
        m, e = self.model, self.model.experts
        y = NORMS[m.norm](x)
        aux = None
        if route is None:
            gain, bias = w["g_ff"], w.get("b_ff")
            matrix, b = folded(gain, bias, w["w_router"], None, jnp.dtype("float32"), self.mesh)
            logits = dense(y.astype(jnp.float32), matrix, b)
            route, aux = chosen(m, self._groups(logits.reshape(*shape, e)))
        y = self._groups(y.reshape(*shape, -1))  # g s d
        there = dispatched(y, route.slot, route.choice)  # g m d
        there = between_experts(there.reshape(len(there), e, -1, m.d_model), self.mesh, back=False)
        found = self._experts(there.swapaxes(0, 1).reshape(e, -1, m.d_model), w)
        back = found.reshape(e, len(there), -1, m.d_model).swapaxes(0, 1)  # g e c d
        back = between_experts(back, self.mesh, back=True).reshape(len(there), -1, m.d_model)
        each = collected(back, route.slot, route.choice)  # g s*k d
        each = each if route.gate is None else each * route.gate[..., None].astype(self.dtype)
        y = each if each.shape == y.shape else each.reshape(*y.shape[:2], -1, m.d_model).sum(2)
        return self._ungrouped(y, shape), aux

    def _experts(self, x: jax.Array, w: Params) -> jax.Array:
        """Each expert's feed-forward of what is in its slots, already normed. x: e n d -> e n d."""
        m = self.model
        inner, b = w["w_expert_up"], w.get("b_expert_up")
        if m.feed_forward == "swiglu":
            inner = jnp.stack([w["w_expert_gate"], inner], 2).reshape(*inner.shape[:2], 2 * m.d_ff)
            b = jnp.concatenate([w["b_expert_gate"], b], -1) if b is not None else None
        inner, b = jax.vmap(fold, (None, None, 0, 0))(w["g_ff"], w.get("b_ff"), inner, b)
        y = self._each(x, inner, b, 1)
        return self._each(
            FEED_FORWARDS[m.feed_forward](transformer.saved(y)), w["w_expert_down"], w.get("b_expert_down"), 2
        )

    def _each(self, x: jax.Array, w: jax.Array, b: jax.Array | None, d: int) -> jax.Array:
        """Every expert's product. x: e n i, w: e i o, whose dimension `d` is d_model."""
        matrix = gathered(w.astype(self.dtype), d, self.mesh)
        return jax.vmap(dense)(x, matrix, None if b is None else b.astype(self.dtype))

    def _groups(self, x: jax.Array) -> jax.Array:
        """b t ... -> g s ..., the tokens that share slots."""
        if self.model.routing == "expert_choice_at_position":
            return x.swapaxes(0, 1)
        return x.reshape(groups(*x.shape[:2]), -1, *x.shape[2:])

    def _ungrouped(self, x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """g s d, of b t -> n d."""
        if self.model.routing == "expert_choice_at_position":
            x = x.swapaxes(0, 1)
        return x.reshape(math.prod(shape), -1)


def groups(b: int, t: int) -> int:
    """How many groups b sequences of t tokens make: the fewest of equal size that GROUP allows."""
    return next(n for n in range(1, b + 1) if b % n == 0 and (n == b or b // n * t <= GROUP))


def assigned(model: ModelConfig, expert: jax.Array, gate: jax.Array | None = None) -> Route:
    """The route of tokens that are sent to these experts, first come, first served. expert: i32 g s k."""
    g, s, k = expert.shape
    e, c = model.experts, slots(model, s)
    order = expert.swapaxes(1, 2).reshape(g, -1, 1)  # first choices first
    hit = (order == jnp.arange(e)).astype(jnp.int32)  # g k*s e
    place = (hit * (jnp.cumsum(hit, 1) - 1)).sum(-1)  # how many came before
    slot = jnp.where(place < c, order[..., 0] * c + place, e * c)
    slot = slot.reshape(g, k, s).swapaxes(1, 2).reshape(g, -1)
    return Route(slot, _inverse(slot, e * c), gate)


def chosen(model: ModelConfig, logits: jax.Array) -> tuple[Route, jax.Array]:
    """The route that a router's logits say, and its auxiliary loss, times its coefficients. logits: f32 g s e."""
    g, s, e = logits.shape
    share = jax.nn.softmax(logits)  # g s e
    aux = model.router_z * (jax.nn.logsumexp(logits, -1) ** 2).mean()
    if model.routing == "top_k":
        gate, expert = jax.lax.top_k(share, model.top_k)  # g s k
        used = (expert[..., None] == jnp.arange(e)).mean((0, 1, 2))
        aux += model.balance * e * (used * share.mean((0, 1))).sum()
        return assigned(model, expert, gate.reshape(g, -1)), aux
    token = jax.lax.top_k(share.swapaxes(1, 2), slots(model, s))[1]  # g e c
    choice = (token * e + jnp.arange(e)[:, None]).reshape(g, -1)
    return Route(_inverse(choice, s * e), choice, share.reshape(g, -1)), aux


def _inverse(at: jax.Array, n: int) -> jax.Array:
    """Of places 0 to n - 1, which entry has each; past the last where none, as n is no place. at: i32 g m -> g n."""

    def one(at: jax.Array) -> jax.Array:
        return jnp.full(n, len(at), jnp.int32).at[at].set(jnp.arange(len(at)), mode="drop", unique_indices=False)

    return jax.vmap(one)(at)


def _rows(x: jax.Array, at: jax.Array) -> jax.Array:
    """Row at[g, m] of each x[g], zeros past the last. x: g s d, at: i32 g m -> g m d."""
    return jax.vmap(lambda x, at: jnp.take(x, at, axis=0, mode="fill", fill_value=0))(x, at)


@jax.custom_vjp
def dispatched(x: jax.Array, slot: jax.Array, choice: jax.Array) -> jax.Array:
    """Tokens in slots. x: g s d -> g m d."""
    return _rows(x, choice // (slot.shape[1] // x.shape[1]))


def _dispatched_backward(kept, dy):
    slot, n = kept
    dx = _rows(dy, slot)  # g s*k d
    return dx.reshape(len(dx), n, -1, dx.shape[-1]).sum(2), None, None


dispatched.defvjp(lambda x, slot, choice: (dispatched(x, slot, choice), (slot, x.shape[1])), _dispatched_backward)


@jax.custom_vjp
def collected(y: jax.Array, slot: jax.Array, choice: jax.Array) -> jax.Array:
    """What is in the slots of choices. y: g m d -> g s*k d."""
    return _rows(y, slot)


collected.defvjp(lambda y, slot, choice: (_rows(y, slot), choice), lambda choice, dx: (_rows(dx, choice), None, None))


init = functools.partial(transformer.init, network=Routed)
features = functools.partial(transformer.features, network=Routed)
attention = transformer.attention
