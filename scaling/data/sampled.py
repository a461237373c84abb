"""sample(STUDY/RUN, tokens=1e6, temperature=1, seed=0): text that one of our own trained models writes.

It is written once and kept in the cache, and is then text as any other. It is known by the content of the model's
weights, its vocabulary, the temperature and the seed, not by the folder of the study, and is read in the vocabulary of
the model.

The model writes FILE tokens at a time, LANES texts of LENGTH tokens side by side, each as training text was read:
documents one after the other, with no other beginning than a separator, each ended by the model; what a text of LENGTH
tokens ends in is a document that is cut there. More tokens are more of such files, and leave the others as they are.
"""

import dataclasses
import functools
import importlib
import math
from pathlib import Path
from typing import NamedTuple

from scaling import folders
from scaling.checked import Field
from scaling.data import expressions, mixture
from scaling.data.asked import answered
from scaling.data.documents import PIECE, Part, digest
from scaling.data.text_files import JsonLines
from scaling.errors import InputError

VERSION = 1  # raised when a model writes otherwise
LANES, LENGTH = 64, 2048
FILE = LANES * LENGTH  # tokens
WRITER = "scaling.sampling"
BY_MODELS = ("sample", "perplexity")  # rules of which a trained model is part
USAGE = "sample(STUDY/RUN, tokens=1e6, temperature=1, seed=0)"
OPTIONS = {"tokens": (1.0, 2.0**40, math.nan), "temperature": (0.0, 100.0, 1.0), "seed": (0.0, 2.0**32 - 1, 0.0)}


class Written(NamedTuple):
    """Where the text of a model is, and the vocabulary in which it was written."""

    folder: Path  # named by what the text depends on
    tokenizer: Path


@dataclasses.dataclass(frozen=True)
class SampledCorpus:
    """Documents that a model writes, at least so many tokens of them as it wrote them."""

    source: str
    model: str  # STUDY/RUN
    tokens: int
    temperature: float
    seed: int
    drops_near_duplicates: bool = False
    cut: int = PIECE
    entropy_rate: None = None

    @property
    def files(self) -> int:
        return math.ceil(self.tokens / FILE)

    @functools.cached_property
    def written(self) -> Written:
        """Writes what is not there yet, in a process of its own."""
        asked = [VERSION, self.temperature, self.seed, importlib.import_module(WRITER).mark(self.model)]
        kept = folders.cache() / "samples" / "asked" / f"{digest(map(str, asked))}.json"
        words = (self.model, str(self.files), repr(self.temperature), str(self.seed), str(folders.cache()))
        return answered(self.source, WRITER, words, kept, self._there)

    def _there(self, told: Field) -> Written | None:
        """What was written before; None where it is not there, or not as much."""
        found = Written(Path(told["folder"].text()), Path(told["tokenizer"].text()))
        there = found.tokenizer.is_file() and all(path.is_file() for path in self._paths(found.folder))
        return found if there else None

    def _paths(self, folder: Path) -> list[Path]:
        return [folder / f"{n}.jsonl" for n in range(self.files)]

    def signature(self) -> str:
        return digest([self.written.folder.name, str(self.files)])

    def parts(self) -> list[Part]:
        return [[JsonLines(str(path), "text")] for path in self._paths(self.written.folder)]


def needs_model(source: str) -> bool:
    """Whether a source, or a part of it, is made by a trained model: written, or chosen, or like what one writes."""
    return any(_needs_model(part.source) for part in mixture.parse(source))


def _needs_model(source: str) -> bool:
    call = expressions.call(source)
    if call is None:
        return False
    name, inner, options = call
    return name in BY_MODELS or _needs_model(inner) or _needs_model(options.get("by", ""))


def sampled(source: str, model: str, options: dict[str, str]) -> SampledCorpus:
    """The corpus that sample(STUDY/RUN, ...) means.

    Raises:
        InputError: an option that is not known, or a number that cannot be.
    """
    if odd := options.keys() - OPTIONS.keys():
        raise InputError(f"{source}: unknown option {min(odd)!r}; wanted {USAGE}")
    values = {}
    for name, (low, high, default) in OPTIONS.items():
        try:
            values[name] = float(options[name]) if name in options else default
        except ValueError:
            values[name] = math.nan
        if not low <= values[name] <= high or (name == "seed" and values[name] % 1):
            given = f"{name}={options[name]}" if name in options else f"no {name}"
            raise InputError(f"{source}: {given}, wanted {name} from {low:g} to {high:g}; such as {USAGE}")
    return SampledCorpus(source, model, math.ceil(values["tokens"]), values["temperature"], int(values["seed"]))
