"""The facts of a Transformer whose feed-forwards are experts; scaling.models.routed computes it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from scaling.errors import InputError
from scaling.kinds.kind import Kept
from scaling.kinds.transformer import MATRICES, PARAMETRIZATION, WIDE, Transformer

if TYPE_CHECKING:
    import numpy as np

    from scaling.config import ModelConfig

OF_ROUTING = ("routing", "top_k", "capacity", "balance", "router_z")
OF = {  # which of them mean something to a routing
    "hash": ("capacity",),
    "top_k": ("top_k", "capacity", "balance", "router_z"),
    "expert_choice": ("top_k", "router_z"),
    "expert_choice_at_position": ("top_k", "router_z"),
}


class Routed(Transformer):
    """In every layer there are `experts` feed-forwards, and a token is sent to some of them.

    N is what a token meets, as in Clark et al. (2022) and Ludziejewski et al. (2025): attention, the router and top_k
    experts; `idle` are the other experts.
    """

    title = "a routed Transformer"
    network = "scaling.models.routed"
    fields = (Transformer.fields - PARAMETRIZATION) | {"experts", *OF_ROUTING}
    embedding_alone = False
    # e expert, o what a router says of one, i token: of neither all devices have all.
    axes: ClassVar = {
        **{name: dims for name, dims in Transformer.axes.items() if name[2:] not in ("gate", "up", "down")},
        "w_router": "l d o",
        "w_expert_gate": "l e d f",
        "b_expert_gate": "l e f",
        "w_expert_up": "l e d f",
        "b_expert_up": "l e f",
        "w_expert_down": "l e f d",
        "b_expert_down": "l e d",
        "b_hash": "i",
    }

    def check(self, model: "ModelConfig") -> None:
        super().check(model)
        if model.top_k > model.experts:
            raise InputError(
                f"model.top_k={model.top_k} of model.experts={model.experts}: use as many experts at least, or a "
                "smaller top_k"
            )
        for field in OF_ROUTING[1:]:
            if field not in OF[model.routing] and getattr(model, field) != getattr(type(model), field):
                raise InputError(
                    f"model.{field}={getattr(model, field)} with model.routing={model.routing}, which has none; leave "
                    f"it out, or use --set model.routing={next(name for name in OF if field in OF[name])}"
                )

    def N(self, model: "ModelConfig") -> int:
        more = (model.top_k - 1) * MATRICES[model.feed_forward] * model.d_ff + has_router(model) * model.experts
        return super().N(model) + model.n_layer * model.d_model * more

    def idle(self, model: "ModelConfig") -> int:
        others = model.experts - model.top_k
        return others * MATRICES[model.feed_forward] * model.d_ff * model.d_model * model.n_layer

    def vectors(self, model: "ModelConfig") -> int:
        wide = (MATRICES[model.feed_forward] - 1) * model.d_ff
        more = (model.experts - 1) * (wide + model.d_model) if model.bias else 0
        return super().vectors(model) + model.n_layer * more + has_table(model) * model.n_vocab

    def kept(self, model: "ModelConfig", tensor: int) -> Kept:
        dense = super().kept(model, tensor)
        f, d = model.d_ff / tensor, model.d_model
        slots = model.top_k * (model.capacity if "capacity" in OF[model.routing] else 1.0)
        router = 3 * model.experts * has_router(model)
        return Kept(
            dense.layer + (slots - 1) * WIDE[model.feed_forward] * f + 3 * slots * d + router,
            dense.products + (slots - 1) * (MATRICES[model.feed_forward] - 1) * f + slots * d + router,
        )

    def frozen(self, model: "ModelConfig", tokens: "np.ndarray") -> "Mapping[str, np.ndarray]":
        import numpy as np

        if not has_table(model):
            return {}
        return {"b_hash": balanced(np.bincount(tokens, minlength=model.n_vocab), model.experts)}

    def writing(self, model: "ModelConfig") -> "ModelConfig":
        """With a slot for every token: which tokens come before one in its group is chance, and no part of its text."""
        if model.experts == 1:
            return model
        if "capacity" not in OF[model.routing]:
            raise InputError(
                f"model.routing={model.routing} writes no text: its experts choose among tokens that are written later "
                f"or in other texts; use a model of {' or '.join(name for name in OF if 'capacity' in OF[name])}"
            )
        return dataclasses.replace(model, capacity=max(model.capacity, float(model.experts)))


def has_router(model: "ModelConfig") -> bool:
    """Whether there is something to choose, and something learned chooses."""
    return model.experts > 1 and model.routing != "hash"


def has_table(model: "ModelConfig") -> bool:
    """Whether a table says where tokens are sent."""
    return model.experts > 1 and model.routing == "hash"


def slots(model: "ModelConfig", tokens: int) -> int:
    """Tokens that an expert takes at most, of so many that share it."""
    factor = model.capacity if "capacity" in OF[model.routing] else 1.0
    return min(tokens, math.ceil(round(factor * tokens * model.top_k / model.experts, 6)))


def balanced(frequency: "np.ndarray", experts: int) -> "np.ndarray":
    """The expert of each token, such that experts are sent about as many: Roller et al. (2021), arXiv 2106.04426.

    The most frequent token first, each to the expert that has been sent the least so far.

    Args:
        frequency: of each token, (v,).

    Returns:
        Whole numbers from 0, (v,), as float32.
    """
    import numpy as np

    sent, table = np.zeros(experts), np.zeros(len(frequency), np.float32)
    for token in np.argsort(-frequency, kind="stable"):
        table[token] = expert = int(sent.argmin())
        sent[expert] += frequency[token] + 1e-9  # tokens that are never seen are spread as well
    return table
