"""A trained model in Python: its weights, its tokenizer, what it expects to come next, and as a file for others."""

import dataclasses
import functools
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from scaling import checkpoints, config, folders, packs, study
from scaling.config import RunConfig
from scaling.data import disk, token_set
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

    def sample(
        self, prompt: str = "", n: int = 200, *, temperature: float = 1.0, top: int = 0, seed: int = 0
    ) -> tuple[str, bool]:
        """What comes after a text, and whether the model ended its document there.

        Of a text that is longer than its context the model sees the separator and the newest tokens.

        Args:
          n: tokens at most.
          temperature: by which logits are divided; 0 takes the likeliest each time.
          top: only the so many likeliest tokens are drawn from; 0: all.

        Raises:
          InputError: a temperature or a number below 0.
        """
        if not (temperature >= 0 and n >= 0 and top >= 0):
            raise InputError(f"temperature {temperature:g}, n={n}, top={top}: wanted numbers from 0 on")
        rng, context = np.random.default_rng(seed), self.config.model.n_ctx
        end, drawn = self.tokenizer.eos, []
        before = self.tokenizer.encode(prompt).tolist()
        for _ in range(n):
            seen = [end, *[*before, *drawn][-(context - 1) :]] if context > 1 else [end]
            tokens = np.full((1, context), end, np.int32)  # what comes later is not seen: one program for all lengths
            tokens[0, : len(seen)] = seen
            logits = np.asarray(self.logits(tokens)[0, len(seen) - 1, : len(self.tokenizer.pieces)], np.float64)
            following = _drawn(logits, temperature, top, rng)
            if following == end:
                return self.tokenizer.decode(drawn), True
            drawn.append(following)
        return self.tokenizer.decode(drawn), False

    def write(self, path: Path) -> list[Path]:
        """The weights as a file of safetensors, its config in the header, and the tokenizer beside it; both files.

        The header's `config` is the run's as JSON, `id` and `steps` are those of this object.
        """
        if path.suffix != ".safetensors":
            raise InputError(f"{path}: wanted a name that ends in .safetensors")
        folders.try_file(path)
        told = {"config": json.dumps(config.to_dict(self.config)), "id": self.id, "steps": str(self.steps)}
        arrays = {name: np.ascontiguousarray(leaf, np.float32) for name, leaf in sorted(self.params.items())}
        disk.write(path, lambda file: _write_safetensors(file, arrays, {"format": "scaling", **told}))
        beside = path.with_suffix(".tokenizer")
        folders.write(beside, self.tokenizer.model)
        return [path, beside]


def load(folder: str | Path, run: str = "") -> Trained:
    """A run of the study in `folder`, with the weights that its newest checkpoint has.

    Args:
        run: its id, or how that begins; empty for the run that is done and has the lowest held-out loss.

    Raises:
        InputError: no such run, or its weights are not there: it has not begun, came in as a record alone, or ended in
            a pack that went on without it.
    """
    whole = study.read(folders.place(folder))
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


def _drawn(logits: np.ndarray, temperature: float, top: int, rng: np.random.Generator) -> int:
    """A token by its logits. logits: v"""
    if temperature == 0:
        return int(logits.argmax())
    if 0 < top < len(logits):
        logits = np.where(logits >= np.partition(logits, -top)[-top], logits, -np.inf)
    weights = np.exp((logits - logits.max()) / temperature)
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _write_safetensors(file: Any, arrays: Mapping[str, np.ndarray], told: Mapping[str, str]) -> None:
    """The format of that name: the header's length in 8 bytes, the header as JSON, then the arrays, f32, row by row."""
    header: dict[str, Any] = {"__metadata__": dict(told)}
    at = 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of 8
    file.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        file.write(array.astype("<f4", copy=False).tobytes())


@functools.cache
def _apply(run: RunConfig):
    return jax.jit(lambda params, tokens: model.apply(run.model, params, tokens, dtype=run.dtype).astype(jnp.float32))
