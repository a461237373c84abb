"""The facts of the decoder-only Transformer; scaling.models.transformer computes it."""

import importlib
from typing import TYPE_CHECKING, ClassVar

from scaling.errors import InputError
from scaling.kinds.kind import Kept, Kind

if TYPE_CHECKING:
    from scaling.config import ModelConfig

# Matrices d_model d_ff of a feed-forward, and vectors d_ff wide that it keeps for the backward pass.
MATRICES = {"gelu": 2, "relu2": 2, "swiglu": 3}
WIDE = {"gelu": 2, "relu2": 2, "swiglu": 3}
PARAMETRIZATION = frozenset({"parametrization", "base_width", "base_depth"})  # whose rules are of layers used once


class Transformer(Kind):
    """N is eq. 2.1 of Kaplan et al. (2020), 2 d_model n_layer (2 d_attn + d_ff), where no field changes it."""

    title = "a Transformer"
    network = "scaling.models.transformer"
    fields = frozenset(
        (
            *("positions", "rotary_base", "position_scale"),
            *("norm", "feed_forward", "qk_norm", "n_kv_head", "bias"),
            *PARAMETRIZATION,
        )
    )
    embedding_alone = True
    remat = True
    # l layer, c query key value, or key value, or whatever else lies side by side, d d_model, hk d_attn, kv width of
    # the keys of all heads, k width of a head, f d_ff, v vocabulary, t position.
    axes: ClassVar = {
        "w_embed": "v d",
        "w_pos": "t d",
        "g_attn": "l d",
        "b_attn": "l d",
        "w_qkv": "l c d hk",
        "b_qkv": "l c hk",
        "w_q": "l d hk",
        "b_q": "l hk",
        "w_kv": "l c d kv",
        "b_kv": "l c kv",
        "g_q": "l k",
        "g_k": "l k",
        "w_out": "l hk d",
        "b_out": "l d",
        "g_ff": "l d",
        "b_ff": "l d",
        "w_gate": "l d f",
        "b_gate": "l f",
        "w_up": "l d f",
        "b_up": "l f",
        "w_down": "l f d",
        "b_down": "l d",
        "g_final": "d",
        "b_final": "d",
        "w_head": "v d",
    }

    def check(self, model: "ModelConfig") -> None:
        if model.d_attn % model.n_head:
            raise InputError(
                f"model.n_head={model.n_head} does not divide model.d_attn={model.d_attn}; choose a divisor"
            )
        if model.n_kv_head is not None and (model.n_kv_head < 1 or model.n_head % model.n_kv_head):
            raise InputError(
                f"model.n_kv_head={model.n_kv_head} does not divide model.n_head={model.n_head}; choose a divisor, "
                "or none for keys and values of every head's own"
            )
        for field, having in (("rotary_base", ("rotary",)), ("position_scale", ("learned", "sinusoidal"))):
            if model.positions not in having and getattr(model, field) != getattr(type(model), field):
                raise InputError(
                    f"model.{field}={getattr(model, field)} with model.positions={model.positions}, which has none; "
                    f"leave it out, or use --set model.positions={having[0]}"
                )
        if model.positions == "rotary" and model.n_layer and model.d_head % 2:
            raise InputError(
                f"model.positions=rotary turns pairs, and heads are d_attn / n_head = {model.d_head} wide; use an even "
                "width, or --set model.positions=learned"
            )

    def N(self, model: "ModelConfig") -> int:
        attention = 2 * model.d_attn + 2 * model.d_kv
        return model.d_model * model.n_layer * (attention + MATRICES[model.feed_forward] * model.d_ff)

    def vectors(self, model: "ModelConfig") -> int:
        d, wide = model.d_model, (MATRICES[model.feed_forward] - 1) * model.d_ff
        biases = model.d_attn + 2 * model.d_kv + d + wide + d if model.bias else 0
        norms = (2 * model.n_layer + 1) * (1 + norm_bias(model)) * d  # before attention and feed-forward, and the last
        return model.n_layer * (biases + 2 * model.d_head * model.qk_norm) + norms

    def positions(self, model: "ModelConfig") -> int:
        return model.n_ctx * model.d_model if model.positions == "learned" else 0

    def context(self, model: "ModelConfig") -> int:
        return self.depth(model) * model.n_ctx * model.d_attn

    def kept(self, model: "ModelConfig", tensor: int) -> Kept:
        d, projected = model.d_model, model.d_attn + 2 * model.d_kv
        wide = projected + WIDE[model.feed_forward] * model.d_ff + 2 * model.n_head * model.n_ctx
        products = projected + model.d_attn + (MATRICES[model.feed_forward] - 1) * model.d_ff
        return Kept(14 * d + wide / tensor, 2 * d + products / tensor)

    def cut(self, model: "ModelConfig") -> dict[str, int]:
        heads = {"model.n_head": model.n_head} | ({"model.n_kv_head": model.n_kv_head} if model.n_kv_head else {})
        return heads | {"model.d_ff": model.d_ff, "model.n_vocab": model.n_vocab}

    def attention(self, model: "ModelConfig", dtype: str, backend: str) -> str:
        return importlib.import_module(self.network).attention(model, dtype, backend).reason


class Universal(Transformer):
    """The recurrent Transformer of Kaplan et al. (2020) section D.2, after Dehghani et al. (2018), arXiv 1807.03819.

    A Transformer that goes through its n_layer layers `reuse` times with the same weights: N counts each once, C each
    time that it is used. Nothing tells one turn from the next (no embedding of the turn, no halting), so that with
    reuse 1 it is the Transformer, and with more it is one of reuse n_layer layers whose weights are tied.
    """

    title = "a universal Transformer"
    fields = (Transformer.fields - PARAMETRIZATION) | {"reuse"}
    embedding_alone = False

    def active(self, model: "ModelConfig") -> int:
        return model.reuse * self.N(model)

    def depth(self, model: "ModelConfig") -> int:
        return model.reuse * model.n_layer


def norm_bias(model: "ModelConfig") -> bool:
    """Whether norms have a bias beside their gain: root mean squares leave the mean alone, and so do these."""
    return model.bias and model.norm == "layer"
