"""A generated language whose entropy is known exactly, to hold a fitted irreducible loss against the truth.

A symbol is drawn by its rank from one Zipf distribution, p(rank) ~ rank ** -zipf; which symbol has which rank depends
on what came before. Given the context every distribution is a permutation of the same one, so the entropy per symbol is
that of the Zipf distribution, whatever the contexts are.

How much context counts depends on the last symbol: after some symbols nothing, after others the last symbol, the last
two, and so on up to `order`. Hence single symbols are unevenly frequent, contexts are so too, and a model gains bit by
bit as it learns longer ones.
"""

import dataclasses
import functools
import hashlib
import math
import string
from collections.abc import Collection, Iterator

import numpy as np

from scaling.data.documents import PART, WHOLE, Document, File, Part
from scaling.errors import InputError

ALPHABET = (string.ascii_letters + string.digits + string.punctuation).encode()  # one byte per symbol, none a space
TABLES = 2**16  # permutations; more contexts than that share them, which leaves the entropy as it is
HASH = np.uint64(0x9E3779B97F4A7C15)
MAX_ORDER = 8
DEFAULTS = "order=2,symbols=64,zipf=1.2,seed=0,bytes=20e6,document=4096"


@dataclasses.dataclass(frozen=True)
class Language:
    """The language and how much of it there is."""

    order: int  # longest context, symbols
    symbols: int
    zipf: float  # exponent
    seed: int
    bytes: int  # of the whole corpus, rounded down to documents
    document: int  # bytes of each document

    def __post_init__(self):
        for name, low, high in (
            ("order", 0, MAX_ORDER),
            ("symbols", 2, len(ALPHABET)),
            ("zipf", 0.0, 10.0),
            ("seed", 0, 2**63 - 1),
            ("document", 1, 2**20),
            ("bytes", 2 * self.document, 2**50),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"synthetic: {name}={value} must lie between {low} and {high}")

    @functools.cached_property
    def p(self) -> np.ndarray:
        """Probability of each rank, f64 (symbols,)."""
        weights = np.arange(1, self.symbols + 1, dtype=np.float64) ** -self.zipf
        return weights / weights.sum()

    @property
    def entropy_rate(self) -> float:
        """Nats per byte, exact. Separators between documents cost at least nothing: a floor per token is this times
        the bytes per token."""
        return float(-(self.p * np.log(self.p)).sum())

    @functools.cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """The permutations, u8 (TABLES, symbols), and the length of context after each symbol, i64 (symbols,)."""
        rng = np.random.Generator(np.random.PCG64(self.seed))
        tables = np.tile(np.arange(self.symbols, dtype=np.uint8), (TABLES, 1))
        length = rng.permutation(np.arange(self.symbols) % (self.order + 1))
        return rng.permuted(tables, axis=1), length

    def symbols_of(self, ranks: np.ndarray) -> np.ndarray:
        """The text that ranks spell: i64 (documents, positions) -> u8, symbol numbers of the same shape."""
        tables, length = self._tables
        # Contexts by length: history[n] is a number that holds the last n symbols (all that came before the start: 0).
        base, lengths, one = np.uint64(len(ALPHABET) + 1), np.uint64(MAX_ORDER + 1), np.uint64(1)
        history = np.zeros((self.order + 1, len(ranks)), np.uint64)
        last = np.zeros(len(ranks), np.int64)
        every = np.arange(len(ranks))
        out = np.empty(ranks.T.shape, np.uint8)
        for t, rank in enumerate(np.ascontiguousarray(ranks.T)):
            n = length[last]
            # Multiplicative hashing: the upper 16 bits choose one of TABLES.
            context = (history[n, every] * lengths + n.astype(np.uint64) + one) * HASH >> np.uint64(48)
            out[t] = tables[context, rank]
            last = out[t].astype(np.int64)
            for k in range(self.order, 0, -1):
                history[k] = history[k - 1] * base + out[t] + one
        return np.ascontiguousarray(out.T)

    def texts(self, numbers: Collection[int]) -> Iterator[str]:
        """Documents by number; each is a pure function of the language and its number."""
        cdf = np.cumsum(self.p)
        ranks = np.empty((len(numbers), self.document), np.int64)
        for row, number in zip(ranks, numbers, strict=True):
            raw = np.random.Philox(key=[self.seed, number]).random_raw(self.document)
            row[:] = np.searchsorted(cdf[:-1], (raw >> np.uint64(11)) * 2.0**-53, side="right")
        letters = np.frombuffer(ALPHABET, np.uint8)
        for row in letters[self.symbols_of(ranks)]:
            yield row.tobytes().decode("ascii")


def parse(source: str) -> Language:
    """The language of "synthetic:KEY=VALUE,...", with DEFAULTS for keys not given.

    Raises:
        InputError: an unknown key or an impossible value.
    """
    kinds = {field.name: field.type for field in dataclasses.fields(Language)}
    values: dict[str, float] = {}
    given = source.partition(":")[2]
    for item in [*DEFAULTS.split(","), *(given.split(",") if given else [])]:
        name, _, text = item.strip().partition("=")
        if name not in kinds:
            raise InputError(f"synthetic: unknown key {name!r}; known, with their defaults: {DEFAULTS}")
        try:
            values[name] = float(text)
            if kinds[name] is int:
                values[name] = int(values[name]) if values[name] == int(values[name]) else math.nan
        except (ValueError, OverflowError):
            values[name] = math.nan
        if math.isnan(values[name]):
            wanted = "a whole number" if kinds[name] is int else "a number"
            raise InputError(f"synthetic: {name}={text!r} is not {wanted}; the defaults are {DEFAULTS}")
    return Language(**values)  # type: ignore[arg-type]  # whole numbers were made int above


@dataclasses.dataclass(frozen=True)
class SyntheticCorpus:
    """Documents of a generated language."""

    source: str
    drops_near_duplicates: bool = False
    cut: int = WHOLE  # its documents are as long as was asked for

    @functools.cached_property
    def language(self) -> Language:
        return parse(self.source)

    @property
    def entropy_rate(self) -> float:
        return self.language.entropy_rate

    def signature(self) -> str:
        return hashlib.sha256(repr(self.language).encode()).hexdigest()[:16]

    def parts(self) -> list[Part]:
        n = self.language.bytes // self.language.document
        step = max(1, PART // self.language.document)
        return [[SyntheticFile(self.language, start, min(start + step, n))] for start in range(0, n, step)]


@dataclasses.dataclass(frozen=True)
class SyntheticFile(File):
    """Documents start, ..., stop - 1 of a language."""

    language: Language
    start: int
    stop: int

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        chosen = range(self.stop - self.start) if keep is None else sorted(keep)
        for k, text in zip(chosen, self.language.texts([self.start + k for k in chosen]), strict=True):
            name = f"synthetic#{self.start + k}"
            yield k, Document(name, text, name)
