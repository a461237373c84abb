"""A trained model in Python: its weights, its tokenizer, what it expects to come next, and as a file for others."""

import dataclasses
import functools
import json
import struct
from collections.abc import Iterator, Mapping
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
from scaling.models import model, writing
from scaling.models.shared import Params


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

        The model sees the separator and what is newest; a window that is full goes on from its newer half.

        Args:
          n: tokens at most.
          temperature: by which logits are divided; 0 takes the likeliest each time.
          top: only the so many likeliest tokens are drawn from; 0: all.

        Raises:
          InputError: a temperature or a number below 0, or a model that writes no text (`Kind.writing`).
        """
        if not (temperature >= 0 and n >= 0 and top >= 0):
            raise InputError(f"temperature {temperature:g}, n={n}, top={top}: wanted numbers from 0 on")
        written = self.written(
            np.array([self.tokenizer.encode(prompt)]), seed, temperature=temperature, top=top, stop=True
        )
        drawn = np.zeros(0, np.int32)
        while len(drawn) < n:
            drawn = np.concatenate([drawn, next(written)[0]])[:n]
            if (drawn == self.tokenizer.eos).any():
                return self.tokenizer.decode(drawn[: drawn.tolist().index(self.tokenizer.eos)]), True
        return self.tokenizer.decode(drawn), False

    def written(self, prompt: np.ndarray, seed: int, first: int = 0, **how: Any) -> Iterator[np.ndarray]:
        """What the model writes after prompts, i32 b t, some tokens at a time (`scaling.models.writing.write`).

        Args:
          seed: of what is drawn; the texts of one seed are numbered from `first` on, and each is drawn by itself.
          how: temperature, top, stop.
        """
        numbers = jnp.arange(first, first + len(prompt))
        keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(seed)))(numbers)
        vocabulary = {"end": self.tokenizer.eos, "n_pieces": len(self.tokenizer.pieces)}
        return writing.write(self.config, self.params, prompt, keys, **vocabulary, **how)

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
    id, pack = study.chosen(whole, run)
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
