"""filter(SOURCE, keep=0.1, by=perplexity(STUDY/RUN)): the share of a text that one of our own models expects best.

A document's score is the bits per byte that the model needs for it, the logarithm of its perplexity by a unit that no
vocabulary changes; of the text that is trained on, the documents with the lowest are kept until they hold the share
asked for, of equal ones those of lower hashes (Wenzek et al. 2020, CCNet, keep the third of lowest perplexity under a
model of good text); held-out text stays. A document is read as training text was: in windows of the model's context,
each after a separator. So what begins a window is foretold from little, and a short document, or the rest of a long
one, at a disadvantage.

The scores are worked out once, by a process of its own, and kept in the cache. They are known by the content of the
model's weights, its vocabulary and the text, not by the folder of the study.
"""

import bisect
import dataclasses
import functools
import importlib
from pathlib import Path

import numpy as np

from scaling import folders
from scaling.checked import Field
from scaling.data.asked import answered
from scaling.data.documents import Document, digest
from scaling.data.index import key
from scaling.data.quality import Filter, Filtered, bound, mapped, whole
from scaling.data.sampled import WRITER
from scaling.errors import InputError

VERSION = 1  # raised when scores change
KEPT = "2"  # raised when others are kept by the same scores
SCORER = "scaling.scoring"
SCORE = np.dtype(
    [("key", "<u8"), ("bits", "<f4"), ("size", "<u8")]
)  # of a text: bits per byte, bytes of all equal ones
USAGE = "by=perplexity(STUDY/RUN)"


@dataclasses.dataclass(frozen=True)
class ScoreFilter:
    """Keeps documents of less than `most` bits per byte by a file of SCORE (n_texts,), in the order of their keys; of
    those of just `most` the ones with a key of at most `last`.
    """

    path: Path
    most: float
    last: int

    @property
    def bound(self) -> dict[str, float]:
        return {"most": self.most}

    def keeps(self, document: Document) -> bool:
        scores = _read(self.path)
        keys, wanted = scores["key"], key(document.text.encode())
        at = bisect.bisect_left(keys, wanted)  # NumPy's own search would copy the column
        if at == len(keys) or keys[at] != wanted:
            raise InputError(
                f"{document.id} changed since its text was scored; delete the folder {self.path.parent} and run again"
            )
        bits = float(scores["bits"][at])
        return bits < self.most or (bits == self.most and wanted <= self.last)


@dataclasses.dataclass(frozen=True)
class FilteredByModel(Filtered):
    """A corpus of those documents that a model expects best."""

    model: str  # STUDY/RUN

    @functools.cached_property
    def scored(self) -> Path:
        """The file of scores, made where it is not there yet; its folder is named by all that they depend on."""
        mark = importlib.import_module(WRITER).mark(self.model)
        asked = digest([str(VERSION), self.signed(), str(self.cut), mark])
        kept = folders.cache() / "scores" / "asked" / f"{asked}.json"
        words = (self.model, self.of.source, str(folders.cache()))
        return answered(self.source, SCORER, words, kept, self._there)

    @staticmethod
    def _there(told: Field) -> Path | None:
        found = Path(told["scores"].text())
        return found if whole(found, SCORE) else None

    def signature(self) -> str:
        return self.signed("perplexity", KEPT, repr(self.keep), self.scored.parent.name)

    @functools.cached_property
    def filter(self) -> Filter:
        scores = _read(self.scored)
        score, last = bound(-scores["bits"], scores["key"], scores["size"], self.keep)
        return ScoreFilter(self.scored, -score, last)


def model(source: str, model: str, options: dict[str, str]) -> str:
    """The STUDY/RUN of perplexity(STUDY/RUN).

    Raises:
        InputError: there is none, or something beside it.
    """
    if options or not model:
        raise InputError(f"{source}: wanted {USAGE}, the model and nothing else")
    return model


@functools.lru_cache(4)
def _read(path: Path) -> np.ndarray:
    return mapped(path, SCORE)
