"""Pairs of texts as sources, the preferred one first: pairs:POLICY?KEY=VALUE&KEY=VALUE.

pairs:chain?gold=tail               texts by a random chain of symbols, the better one by a known reward first
pairs:chain?gold=tail&labels=soft   the better one first with the probability sigmoid(difference of their rewards)
pairs:chain?gold=network               by another reward

Who writes the texts is the policy, what they are worth says a gold reward (GOLDS), of mean 0 and variance 1 over what
the policy writes. A document is the preferred text, MARK, and the other: `abcabcabcabcabca>dddddddddddddddd`. A reward
model (scaling.kinds.reward) is trained to tell which is which, and is a proxy of the gold reward.

Pairs of a source are counted from `first`; those of another range, or of another seed, are others. `world` draws the
policy and the gold reward. Texts are as long as each other, and every character is a token of its own in each of our
vocabularies.
"""

import abc
import dataclasses
import functools
import hashlib
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from scaling import kinds
from scaling.config import PAIRS, EvalConfig, RunConfig
from scaling.data.batches import mix
from scaling.data.documents import Document, File, Numbered, Part, options, stretches
from scaling.data.index import key
from scaling.errors import InputError

Texts = NDArray[np.int8]  # n t: symbols from 0
Array = NDArray[np.float64]

VERSION = 1  # raised when a source has other pairs
MARK = ">"  # between the two texts
LETTERS = (
    "abcdefghijklmnopqrstuvwxyz"  # in lower case alone: texts that differ in case are copies (scaling.data.copies)
)
EXAMPLE = "pairs:chain?gold=tail&items=100000"
LABELS = ("hard", "soft")
HELD_OUT = 1024  # pairs that are proposed to be held out
LONGEST = 18  # digits of a value
DISTINCT = 2**40  # texts that there must be at least, so that hardly any is drawn twice: copies are left out
MEASURED = 2**16  # texts from which the mean and the variance of a gold reward are known
FREE = 3  # times that the symbol 0 may stand in a text and cost nothing


class Gold(abc.ABC):
    """What texts are worth. One of one's own is a class with `name` and `score`, and a line in GOLDS."""

    name: ClassVar[str]

    @abc.abstractmethod
    def __init__(self, n_symbol: int, length: int, rng: np.random.Generator):
        """Draws its constants. length: of the texts."""

    @abc.abstractmethod
    def score(self, texts: Texts) -> Array:
        """In units of its own. n t -> n"""


class Tail(Gold):
    """Weights of neighbouring symbols, a random one each, and m - 3 (m - 3)^1.5 (beyond 3), where m is how often the
    symbol 0 stands in the text.

    It is good up to three times. Few of the texts that the policy writes have it more often: a proxy sees little of
    that, and the best by a proxy that only knows that it is good are the worst.
    """

    name = "tail"

    def __init__(self, n_symbol: int, length: int, rng: np.random.Generator):
        self.weights = rng.standard_normal((n_symbol, n_symbol)) / 4

    def score(self, texts: Texts) -> Array:
        m = (texts == 0).sum(1)
        return self.weights[texts[:, :-1], texts[:, 1:]].sum(1) + m - 3 * np.maximum(m - FREE, 0) ** 1.5


class Network(Gold):
    """A random network of one hidden layer, tanh, on which symbol is where: no tail, the control."""

    name = "network"
    hidden = 32

    def __init__(self, n_symbol: int, length: int, rng: np.random.Generator):
        self.inner = rng.standard_normal((length, n_symbol, self.hidden)) / np.sqrt(length)
        self.outer = rng.standard_normal(self.hidden) / np.sqrt(self.hidden)

    def score(self, texts: Texts) -> Array:
        summed = sum(self.inner[t][texts[:, t]] for t in range(texts.shape[1]))
        return np.tanh(summed) @ self.outer


GOLDS: dict[str, type[Gold]] = {gold.name: gold for gold in (Tail, Network)}


@dataclasses.dataclass(frozen=True)
class Pairs:
    """A policy, a reward and pairs. Its fields are the keys of its source.

    Attributes:
        gold: a name in GOLDS.
        labels: how the preferred text is found: hard, by the larger reward; soft, drawn by the difference.
        symbols, length: of a text.
        world: draws the policy and the gold reward.
        seed, first, items: which pairs.
    """

    gold: str = "tail"
    labels: str = "hard"
    symbols: int = 16
    length: int = 16
    world: int = 0
    seed: int = 0
    first: int = 0
    items: int = 100_000

    @property
    def width(self) -> int:
        """Characters of a document, and tokens but for the separator that ends it."""
        return 2 * self.length + 1

    @property
    def n_ctx(self) -> int:
        """Of the model that reads them: a window is a document."""
        return self.width + 1

    @property
    def alphabet(self) -> str:
        """data.tokenizer=characters:ALPHABET has a token for each."""
        return LETTERS[: self.symbols] + MARK

    @property
    def chances(self) -> Array:
        """The policy: of the first symbol, and after each symbol. 1+symbols symbols"""
        return np.diff(_policy(self.symbols, self.world), axis=1, prepend=0)

    def drawn(self, start: int, stop: int) -> Texts:
        """Both texts of the pairs start, ..., stop - 1 from `first` on, as the policy writes them. n 2 t"""
        steps = self.length + 1  # numbers that a text takes: its symbols, and in the second one of a pair the label
        at = np.arange((self.first + start) * 2 * steps, (self.first + stop) * 2 * steps, dtype=np.uint64)
        uniform = _uniform(at, self.seed).reshape(stop - start, 2, steps)
        return _written(_policy(self.symbols, self.world), uniform[..., :-1])

    def labelled(self, start: int, stop: int) -> Texts:
        """The same, the preferred text first. n 2 t"""
        texts = self.drawn(start, stop)
        first, second = self.reward(texts[:, 0]), self.reward(texts[:, 1])
        if self.labels == "hard":
            swap = second > first
        else:
            steps = self.length + 1
            at = (np.arange(self.first + start, self.first + stop, dtype=np.uint64) * 2 + 2) * steps - 1
            swap = _uniform(at, self.seed) >= 1 / (1 + np.exp(second - first))
        return np.where(swap[:, None, None], texts[:, ::-1], texts)

    def reward(self, texts: Texts) -> Array:
        """The gold reward, of mean 0 and variance 1 over what the policy writes. n t -> n"""
        world = self.gold, self.symbols, self.length, self.world
        mean, std = _scale(*world)
        return (_gold(*world).score(texts) - mean) / std

    def text(self, pair: Texts) -> str:
        """The document of a pair. 2 t"""
        return MARK.join("".join(LETTERS[symbol] for symbol in text) for text in pair)

    def alike(self, other: "Pairs") -> bool:
        """Whether both draw from the same pairs: texts of one policy, whichever their labels."""
        fields = ("symbols", "length", "world", "seed")
        return all(getattr(self, name) == getattr(other, name) for name in fields)

    def check(self, source: str) -> None:
        """Raises InputError for values that cannot be."""
        for name, value, choices in (("gold", self.gold, tuple(GOLDS)), ("labels", self.labels, LABELS)):
            if value not in choices:
                raise InputError(f"{source}: {name}={value}, wanted one of {', '.join(choices)}")
        for name, low, high in (
            ("symbols", 2, len(LETTERS)),
            ("length", 2, 512),
            ("world", 0, 2**32 - 1),
            ("seed", 0, 2**32 - 1),
            ("first", 0, 2**40),
            ("items", 2, 2**32),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise InputError(f"{source}: {name}={value}, wanted {low} to {high}")
        if self.symbols**self.length < DISTINCT:
            raise InputError(
                f"{source}: symbols={self.symbols} and length={self.length} make {self.symbols**self.length:,} texts, "
                f"of which many would be drawn twice; wanted {DISTINCT:,} at least, such as length=16"
            )


@functools.lru_cache(maxsize=32)
def _policy(n_symbol: int, world: int) -> Array:
    """The chance of a symbol up to each: of the first one, and after each symbol, (1 + n_symbol, n_symbol)."""
    logits = np.random.default_rng([world, 0]).standard_normal((1 + n_symbol, n_symbol))
    logits[0] = 0  # the first is any
    p = np.exp(logits)
    return np.cumsum(p / p.sum(1, keepdims=True), -1)


@functools.lru_cache(maxsize=32)
def _gold(name: str, n_symbol: int, length: int, world: int) -> Gold:
    return GOLDS[name](n_symbol, length, np.random.default_rng([world, 1]))


@functools.lru_cache(maxsize=32)
def _scale(name: str, n_symbol: int, length: int, world: int) -> tuple[float, float]:
    """The mean and the standard deviation of a gold reward over what the policy writes."""
    uniform = np.random.default_rng([world, 2]).random((MEASURED, length))
    worth = _gold(name, n_symbol, length, world).score(_written(_policy(n_symbol, world), uniform))
    return float(worth.mean()), float(worth.std())


def _written(policy: Array, uniform: Array) -> Texts:
    """Texts by numbers in [0, 1), one a symbol. ... t -> ... t"""
    texts = np.empty(uniform.shape, np.int8)
    last = np.full(uniform.shape[:-1], -1)
    for t in range(uniform.shape[-1]):
        last = np.minimum((uniform[..., t, None] >= policy[1 + last]).sum(-1), policy.shape[1] - 1)
        texts[..., t] = last
    return texts


def entropy(gap: Array) -> float:
    """Of labels drawn by these differences of rewards, the mean in nats: the loss of the best reward model there is."""
    gap = np.abs(gap)
    return float((np.log1p(np.exp(-gap)) + gap / (1 + np.exp(gap))).mean())


def _uniform(at: NDArray[np.uint64], seed: int) -> Array:
    """A number in [0, 1) for each place, a function of (seed, place)."""
    bits = mix(mix(np.array([seed], np.uint64)) + at) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def parse(source: str) -> Pairs:
    """The pairs that a source names.

    Raises:
        InputError: an unknown policy or key, or a value that cannot be.
    """
    policy, _, query = source.removeprefix(PAIRS).partition("?")
    if policy != "chain":
        raise InputError(f"{source}: unknown policy {policy!r}; wanted chain, such as {EXAMPLE}")
    known = {field.name: field.default for field in dataclasses.fields(Pairs)}
    values: dict[str, Any] = {}
    for name, text in options(source, query, {name: f"{default}" for name, default in known.items()}).items():
        if isinstance(known[name], str):
            values[name] = text
        elif text.isascii() and text.isdecimal() and len(text) <= LONGEST:
            values[name] = int(text)
        else:
            raise InputError(f"{source}: {name}={text[:LONGEST]}, wanted a whole number; such as {EXAMPLE}")
    found = Pairs(**values)
    found.check(source)
    return found


def check(run: RunConfig) -> None:
    """Checks what a reward model is trained on and scores, before anything is trained.

    Raises:
        InputError: a text that is no pairs, or of another length than the model's windows, pairs that are trained on
            would be held out, or fewer than are to be scored.
    """
    if not kinds.of(run.model).of_pairs:
        return
    sources = {"data.source": run.data.source, "data.validation": run.data.validation}
    sources |= {f"eval.transfer={name}": name for name in run.eval.transfer}
    if not run.data.validation and run.data.source.startswith(PAIRS):
        raise InputError(
            f"no data.validation: of pairs no share is held out unasked; name others than those of data.source="
            f"{run.data.source}, such as --set 'data.validation={_after(parse(run.data.source))}'"
        )
    for label, source in sources.items():
        if not source.startswith(PAIRS):
            raise InputError(
                f"{label.partition('=')[0]}={source} with model.kind={run.model.kind}, which reads pairs of texts; "
                f"wanted {PAIRS}..., such as {EXAMPLE}"
            )
    trained = parse(run.data.source)
    for source in sources.values():
        other = parse(source)
        if other.n_ctx != run.model.n_ctx:
            raise InputError(
                f"model.n_ctx={run.model.n_ctx}, but a pair of {source} is a window of {other.n_ctx} tokens; use "
                f"--set model.n_ctx={other.n_ctx}"
            )
        if source != run.data.source and trained.alike(other) and _overlap(trained, other):
            raise InputError(
                f"{source} has pairs of data.source={run.data.source}, on which the model is trained; hold out others, "
                f"&first={trained.first + trained.items}"
            )
    for source in run.eval.scored:
        if (has := parse(source).items) < run.eval.scores:
            raise InputError(f"eval.scores={run.eval.scores}: {source} has {has} pairs; ask for as many at most")


def _after(pairs: Pairs) -> str:
    """A source of the pairs that follow."""
    values = {field.name: getattr(pairs, field.name) for field in dataclasses.fields(pairs)}
    kept = [f"{name}={value}" for name, value in values.items() if value != getattr(Pairs, name)]
    kept = [text for text in kept if not text.startswith(("first=", "items="))]
    return f"{PAIRS}chain?" + "&".join([*kept, f"first={pairs.first + pairs.items}", f"items={HELD_OUT}"])


def _overlap(one: Pairs, other: Pairs) -> bool:
    return one.first < other.first + other.items and other.first < one.first + one.items


@functools.lru_cache(maxsize=8)
def scored(source: str, n: int) -> Texts:
    """The first n pairs of a source, in the order of their scores in a record, the preferred text first. n 2 t

    That is the order of a stream (scaling.data.index), whose beginning they are.
    """
    pairs = parse(source)
    texts = pairs.labelled(0, pairs.items)
    keys = np.array([key(pairs.text(pair).encode()) for pair in texts], np.uint64)
    _, order = np.unique(keys, return_index=True)  # equal ones are one document
    return texts[order[:n]]


def scores(wanted: EvalConfig) -> tuple[int, int]:
    """How many sources have their texts scored, and how many texts of each."""
    return len(wanted.scored), 2 * wanted.scores if wanted.scored else 0


def wanted(source: str, by: EvalConfig) -> int:
    """Tokens of a source of `eval.transfer` in which the pairs lie whose texts are scored."""
    return by.scores * parse(source).n_ctx if source in by.scored else 0


def filler(source: str, by: EvalConfig, held_out: np.ndarray) -> np.ndarray:
    """Tokens in place of those of a source of `eval.transfer`, as many as are scored, to measure times with."""
    return np.resize(held_out, max(len(held_out), wanted(source, by)))


def windows(source: str, tokens: np.ndarray, n: int, separator: int) -> np.ndarray:
    """The first pairs of a stream, each after a separator, i32 (n, 1 + n_ctx).

    Raises:
        InputError: there are fewer.
    """
    width = parse(source).n_ctx
    if len(tokens) < n * width:
        raise InputError(f"eval.scores={n}: {source} has {len(tokens) // width} pairs; ask for fewer, or give it more")
    rows = np.asarray(tokens[: n * width], np.int32).reshape(n, width)
    return np.concatenate([np.full((n, 1), separator, np.int32), rows], 1)


@dataclasses.dataclass(frozen=True)
class PairCorpus(Numbered):
    """Pairs of texts, a document each."""

    source: str
    pairs: Pairs

    @classmethod
    def of(cls, source: str) -> "PairCorpus":
        return cls(source, parse(source))

    def signature(self) -> str:
        return hashlib.sha256(f"{VERSION} {self.pairs!r}".encode()).hexdigest()[:16]

    def parts(self) -> list[Part]:
        some = stretches(range(self.pairs.items), self.pairs.width)
        return [[PairFile(self.pairs, numbers.start, numbers.stop)] for numbers in some]


@dataclasses.dataclass(frozen=True)
class PairFile(File):
    """The pairs start, ..., stop - 1 of a source."""

    pairs: Pairs
    start: int
    stop: int

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        for k, pair in enumerate(self.pairs.labelled(self.start, self.stop)):
            if keep is None or k in keep:
                text = self.pairs.text(pair)
                yield k, Document(text, text, "")
