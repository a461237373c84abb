"""The recurrent Transformer of Kaplan et al. (2020) section D.2, after Dehghani et al. (2018), arXiv 1807.03819.

A Transformer that goes through its n_layer layers `reuse` times with the same weights: N counts each once, C each time
that it is used. Nothing tells one turn from the next (no embedding of the turn, no halting), so that with reuse 1 it is
the Transformer, and with more it is one of reuse n_layer layers whose weights are tied.
"""

from typing import Any

import jax

from scaling.config import ModelConfig
from scaling.models import transformer
from scaling.models.shared import Features, Params

init = transformer.init


def features(model: ModelConfig, params: Params, tokens: jax.Array, **how: Any) -> Features:
    """What the logits are made from. Arguments as of `scaling.models.model.apply`."""
    return transformer.features(model, params, tokens, turns=model.reuse, **how)
