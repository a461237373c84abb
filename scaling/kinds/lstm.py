"""The facts of the LSTM of Kaplan et al. (2020) section 3.2.1; scaling.models.lstm computes it."""

from typing import TYPE_CHECKING, ClassVar

from scaling.errors import InputError
from scaling.kinds.kind import Kept, Kind

if TYPE_CHECKING:
    from scaling.config import ModelConfig

GATES = 4  # i f g o


class LSTM(Kind):
    """Layers of d_model cells: N = 8 d_model^2 n_layer, which is what eq. 2.1 makes of the fields that it must have."""

    title = "an LSTM"
    network = "scaling.models.lstm"
    recurrent = True
    axes: ClassVar = {  # g gate, d what comes in, z its cells
        "w_embed": "v d",
        "g_input": "l d",
        "b_input": "l d",
        "w_input": "l g d z",
        "w_recur": "l g d z",
        "b_gates": "l g z",
        "g_final": "d",
        "b_final": "d",
        "w_head": "v d",
    }

    def check(self, model: "ModelConfig") -> None:
        if (model.n_head, model.d_attn, model.d_ff) != (1, model.d_model, 2 * model.d_model):
            raise InputError(
                f"model.n_head={model.n_head}, d_attn={model.d_attn}, d_ff={model.d_ff}: an LSTM has no such parts; "
                f"use scaling.ladder.lstm, or its values: n_head=1, d_attn={model.d_model}, d_ff={2 * model.d_model}"
            )

    def N(self, model: "ModelConfig") -> int:
        return model.n_layer * 2 * GATES * model.d_model**2

    def vectors(self, model: "ModelConfig") -> int:
        biases = model.n_layer * GATES * model.d_model
        norms = (model.n_layer + 1) * 2 * model.d_model  # before each layer, after the last one
        return biases + norms

    def kept(self, model: "ModelConfig", tensor: int) -> Kept:
        return Kept(16 * model.d_model, 16 * model.d_model)
