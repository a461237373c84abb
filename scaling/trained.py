"""A trained model in Python: its weights, its tokenizer, and what it expects to come next."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from scaling import checkpoints, packs, study
from scaling.config import RunConfig
from scaling.data import token_set
from scaling.data.tokenizer import Tokenizer
from scaling.errors import InputError
from scaling.models import model
from scaling.models.shared import Params
from scaling.study import Pack, StudyFolder


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run and what training made of it.

    Attributes:
        params: float32 weights by name, those of all layers in one array (l first).
        steps: updates that they have had.
    """

    id: str
    config: RunConfig
    params: Params
    steps: int
    tokenizer: Tokenizer

    def tokens(self, text: str) -> np.ndarray:
        """A text as the model reads it, i32 1 t: the separator, then its tokens; the last n_ctx of them all."""
        ids = np.array([self.tokenizer.eos, *self.tokenizer.encode(text)], np.int32)
        return ids[None, -self.config.model.n_ctx :]

    def logits(self, tokens: ArrayLike) -> jax.Array:
        """Of the next token after each. tokens: i32 b t, t <= n_ctx -> f32 b t v"""
        tokens = jnp.asarray(tokens)
        if tokens.ndim != 2 or tokens.shape[1] > self.config.model.n_ctx:
            raise InputError(f"tokens of shape {tokens.shape}: wanted b t, t at most {self.config.model.n_ctx}")
        return _apply(self.config)(self.params, tokens)


def load(folder: str | Path, run: str = "") -> Trained:
    """A run of the study in `folder`, with the weights that its newest checkpoint has.

    Args:
        run: its id, or how that begins; empty for the run that is done and has the lowest held-out loss.

    Raises:
        InputError: no such run, or its weights are not there: it has not begun, came in as a record alone, or ended in
            a pack that went on without it.
    """
    whole = study.read(Path(folder))
    id, pack = _chosen(whole, run)
    found = checkpoints.read_params(whole.pack_folder(pack))
    if found is None:
        raise InputError(f"{folder}: run {id} has no weights: it has not begun, or came in as a record alone")
    steps, params = found
    r = next(r for r, planned in enumerate(pack.runs) if planned.id == id)
    lanes = packs.at(packs.segments(pack.configs), steps).lanes
    lane = next((i for i, lane in enumerate(lanes) if r in lane.runs), None)
    if lane is None:
        raise InputError(
            f"{folder}: run {id} ended before others of its pack, which keeps the weights of those that go on; train "
            "it again in a new --out folder with --pack 1"
        )
    planned = pack.runs[r]
    tokens = token_set.open_tokens(Path(whole.tokens[planned.tokens_id]))
    weights = {name: jnp.asarray(leaf[lane]) for name, leaf in params.items()}
    return Trained(id, planned.config, weights, steps, tokens.tokenizer)


def _chosen(whole: StudyFolder, run: str) -> tuple[str, Pack]:
    if run:
        found = {each.id: pack for pack in whole.packs for each in pack.runs if each.id.startswith(run)}
        if len(found) != 1:
            raise InputError(f"{whole.path}: {len(found)} runs have ids that begin with {run!r}; wanted one")
        return next(iter(found.items()))
    losses = [
        (loss, each.id, pack)
        for pack in whole.packs
        if (done := whole.done(pack))
        for each, loss in zip(pack.runs, done["loss"], strict=True)
        if loss is not None
    ]
    if not losses:
        raise InputError(f"{whole.path}: no run is done; name one that has begun by its id")
    _, id, pack = min(losses, key=lambda one: one[0])
    return id, pack


@functools.cache
def _apply(run: RunConfig):
    return jax.jit(lambda params, tokens: model.apply(run.model, params, tokens, dtype=run.dtype).astype(jnp.float32))
