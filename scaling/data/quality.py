"""filter(SOURCE, keep=0.1, by=SOURCE): the share of a text that is most like another.

Another kind of filter goes by a trained model (`scaling.data.perplexity`); what they share is here.

A document's score is the mean over its pairs of neighbouring words of the logarithm of how much likelier the pair is in
the text `by` than in the source itself, both counted (Moore and Lewis 2010, on a bag of pairs). What is counted in `by`
is mixed with PRIOR pairs of the source (a Dirichlet prior: MacKay and Peto 1995), so that every pair that `by` does
not have counts against a document, by the same amount, however rare it is in the source and however short `by` is.
Pairs are counted by their hash, and a bin that no pair of the source falls into counts as met once: so shares of the
source are of its pairs and its empty bins together, smaller than those of its pairs alone, by much where it holds few.
Two things make random letters, whose pairs fall into all bins, less like a long text. Of a long `by` no more than a
sample is counted, so that few bins hold a pair of `by` that is not theirs. And the smaller shares raise what a pair
that `by` has is worth (`log_ratios`), and not the others. Of the text that is trained on, the documents with the
highest scores are kept until they hold the share asked for; held-out text stays.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from scaling import folders
from scaling.data import disk
from scaling.data.documents import PIECE, ChangedFile, Corpus, Document, Part
from scaling.data.index import key, on_held_out_side
from scaling.data.transformations import Changed, in_pieces
from scaling.errors import InputError

BINS = 2**22  # of the hash of a pair
SAMPLE = BINS // 8  # pairs of `by` that are counted: those of the documents whose hashes are lowest
PRIOR = 1e4  # pairs
SCORES = "3"  # raised when they change
FACTOR, FACTOR_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1342543DE82EF95)
USAGE = "filter(SOURCE, keep=0.1, by=SOURCE), or by=perplexity(STUDY/RUN)"


class Filter(Protocol):
    """What is kept of a text, by a score of each document."""

    @property
    def bound(self) -> dict[str, float]:
        """As of `documents.ChangedFile`."""
        ...

    def keeps(self, document: Document) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Filtered(Changed):
    """A corpus of a share of its documents' bytes, those that a filter scores best; what is held out stays."""

    keep: float

    @functools.cached_property
    def filter(self) -> Filter:
        raise NotImplementedError

    def parts(self) -> list[Part]:
        model = Lazy(self)
        return [[FilteredFile(self.source, file, self.cut, model) for file in part] for part in self.of.parts()]


@dataclasses.dataclass(frozen=True)
class PairFilter:
    """Keeps documents of more than `least` by a file of the score of a pair by its bin, f32 (BINS,); of those of just
    `least`, as all are that hold no pair of `by`, the ones with a hash of at most `last`.
    """

    path: Path
    least: float
    last: int

    @property
    def bound(self) -> dict[str, float]:
        return {"least": self.least} if np.isfinite(self.least) else {}

    def score(self, text: str) -> float:
        found = pairs(text)
        return float(_ratios(self.path)[found].mean(dtype=np.float64)) if len(found) else -np.inf

    def keeps(self, document: Document) -> bool:
        score = self.score(document.text)
        return score > self.least or (score == self.least and key(document.text.encode()) <= self.last)


@dataclasses.dataclass(frozen=True)
class FilteredByText(Filtered):
    """A corpus of those documents that are most like another's."""

    by: Corpus

    def signature(self) -> str:
        return self.signed(SCORES, repr(self.keep), self.by.source.partition(":")[0], self.by.signature())

    @functools.cached_property
    def filter(self) -> Filter:
        """Reads the text `by` once and the source twice."""
        wanted = _counts(_sample(_trained_on(self.by)))
        if not wanted.any():
            raise InputError(f"{self.source}: {self.by.source} holds no text to be like")
        there = _counts(pairs(document.text) for document in _trained_on(self.of))
        if not there.any():
            raise InputError(f"{self.source}: {self.of.source} holds no text to train on")
        scored = PairFilter(_kept(log_ratios(wanted, there).astype(np.float32)), -np.inf, 2**64)
        found = [(scored.score(text), key(raw := text.encode()), len(raw)) for _, text, *_ in _trained_on(self.of)]
        scores, keys, sizes = (
            np.array(column, kind) for column, kind in zip(zip(*found, strict=True), "dQq", strict=True)
        )
        least, last = bound(scores, keys, sizes, self.keep)
        return dataclasses.replace(scored, least=least, last=last)


@dataclasses.dataclass
class Lazy:
    """A corpus' filter, worked out when it is first needed, or before it goes to another process."""

    of: Filtered

    def __getstate__(self) -> dict:
        self.of.filter  # noqa: B018  (worked out once, here)
        return self.__dict__


@dataclasses.dataclass(frozen=True)
class FilteredFile(ChangedFile):
    """A file without the documents that are not kept; they are numbered before."""

    by: Lazy

    @property
    def bound(self) -> dict[str, float]:
        return self.by.of.filter.bound

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        self.tally.clear()
        for n, document in enumerate(in_pieces(self.of, self.cut)):
            kept = True
            if keep is not None:  # chosen before
                kept = n in keep
            elif document.text and not on_held_out_side(document):
                kept = self.by.of.filter.keeps(document)
                self.count(met=kept)
            if kept:
                yield n, document


def share(source: str, keep: str) -> float:
    """The share that keep= asks for.

    Raises:
        InputError: a share that cannot be.
    """
    try:
        found = float(keep)
    except ValueError:
        found = np.nan
    if not 0 < found <= 1:
        raise InputError(f"{source}: keep={keep}, wanted a share in (0, 1]; such as {USAGE}")
    return found


def bound(scores: np.ndarray, keys: np.ndarray, sizes: np.ndarray, keep: float) -> tuple[float, int]:
    """The last of the best documents that hold a share `keep` of the bytes, or just more: its score and its key.

    Args:
        scores, keys, sizes: of each document, (n_documents,); of equal scores lower keys come first; sizes in bytes.
    """
    best = np.lexsort((keys, -scores))
    last = best[min(int(np.searchsorted(np.cumsum(sizes[best]), keep * sizes.sum())), len(best) - 1)]
    return float(scores[last]), int(keys[last])


def log_ratios(wanted: np.ndarray, there: np.ndarray) -> np.ndarray:
    """How much likelier each bin is in the text `by` than in the source, nats, f64 (BINS,).

    A bin counts as met once where it is not met: q, its share of the source, is of the source's pairs and empty bins.
    For as many times as that is more than the pairs alone, at most the logarithm is added to what a bin of `by` scores
    by the share of the pairs, and nothing to a bin that `by` does not have, which is -log(1 + pairs of `by` / PRIOR).

    Args:
        wanted, there: how often each bin is met in `by` and in the source, f64 (BINS,).
    """
    q = np.maximum(there, 1) / np.maximum(there, 1).sum()
    return np.log((wanted + PRIOR * q) / (wanted.sum() + PRIOR)) - np.log(q)


def pairs(text: str) -> np.ndarray:
    """The bin of each pair of neighbouring words, i64 (n,): of their first eight bytes, in lower case."""
    padded = np.frombuffer(b" " + text.encode().lower() + b" " * 9, np.uint8)
    word = padded > 32
    starts = np.flatnonzero(word[1:] > word[:-1]) + 1
    if len(starts) < 2:
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(word[:-1] > word[1:]) + 1
    n_bytes = np.minimum(ends - starts, 8).astype(np.uint64)
    eight = np.ndarray((len(padded) - 8,), "<u8", padded, 0, (1,))[starts]
    words = eight & (~np.uint64(0) >> (np.uint64(64) - np.uint64(8) * n_bytes))
    mixed = (words[:-1] * FACTOR) ^ (words[1:] * FACTOR_2 + FACTOR)
    mixed ^= mixed >> np.uint64(29)
    return ((mixed * FACTOR) >> np.uint64(42)).astype(np.int64)


def mapped(path: Path, kind: np.dtype) -> np.ndarray:
    """The array of a file in the cache, of a kind (n,), mapped from the disk.

    Raises:
        InputError: it is not there, or damaged.
    """
    try:
        found = np.lib.format.open_memmap(path, mode="r")
    except (FileNotFoundError, ValueError):
        found = None
    if found is None or found.dtype != kind or found.ndim != 1:
        raise InputError(f"{path} is not there, or damaged; delete the folder {path.parent} and run again")
    return np.asarray(found)


def whole(path: Path, kind: np.dtype) -> bool:
    """Whether a file in the cache can be `mapped`."""
    try:
        mapped(path, kind)
    except InputError:
        return False
    return True


def to_train_on(part: Part, cut: int) -> Iterator[Document]:
    """The documents of a part, long ones in pieces of at most `cut` characters, that are not held out."""
    every = (document for file in part for document in in_pieces(file, cut))
    return (document for document in every if document.text and not on_held_out_side(document))


def _trained_on(corpus: Corpus) -> Iterator[Document]:
    return (document for part in corpus.parts() for document in to_train_on(part, corpus.cut or PIECE))


def _kept(ratios: np.ndarray) -> Path:
    """The file of ratios, known by its content, in the cache: processes that filter map it."""
    name = hashlib.sha256(ratios.tobytes()).hexdigest()[:16]
    path = folders.cache().absolute() / "ratios" / name / "ratios.npy"
    with disk.room(folders.cache()):
        if not whole(path, ratios.dtype):
            disk.write(path, lambda file: np.save(file, ratios))
    return path


@functools.lru_cache(4)
def _ratios(path: Path) -> np.ndarray:
    return mapped(path, np.dtype(np.float32))


def _sample(documents: Iterator[Document]) -> list[np.ndarray]:
    """The pairs of each document; of many, of those with the lowest hashes, until they hold SAMPLE pairs."""
    held: list[tuple[int, np.ndarray]] = []
    n_pairs, most = 0, 2**64  # of what is held; hashes below which a document may belong to the sample

    def cut() -> None:
        nonlocal held, n_pairs, most
        held.sort(key=lambda one: one[0])
        ends = np.cumsum([len(found) for _, found in held])
        held = held[: int(np.searchsorted(ends, SAMPLE)) + 1]
        n_pairs, most = int(ends[len(held) - 1]), held[-1][0]

    for document in documents:
        mark = key(document.text.encode())
        if mark < most:
            held.append((mark, pairs(document.text)))
            n_pairs += len(held[-1][1])
            if n_pairs > 2 * SAMPLE:
                cut()
    if n_pairs > SAMPLE:
        cut()
    return [found for _, found in held]


def _counts(found: Iterable[np.ndarray]) -> np.ndarray:
    """How often each bin is met by pairs, f64 (BINS,)."""
    counts = np.zeros(BINS)
    for some in found:
        np.add.at(counts, some, 1)
    return counts
