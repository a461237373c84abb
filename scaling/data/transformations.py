"""Sources made from another by a rule with a seed, so that what was done to a text is known exactly.

corrupt(SOURCE, share=, seed=)            of a share of the documents, half of the words become random letters
duplicate(SOURCE, share=, times=, seed=)  a share of the documents is there so many times, all but once with changes
dedup(SOURCE)                             of near-duplicates one is kept
held_out(SOURCE)                          what is never trained on, alone: to evaluate on

But for the last one, what is held out stays as it is, so that losses of one text under several rules are losses on the
same words. Which documents a rule meets depends on their text and the seed, not on where they lie.
"""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Collection, Iterator

import numpy as np

from scaling.data.documents import PIECE, ChangedFile, Corpus, Document, File, Part, digest, pieces
from scaling.data.index import on_held_out_side
from scaling.errors import InputError

WORD = re.compile(r"\S+")
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
CORRUPTED = 0.5  # share of the words of a corrupted document that are replaced (Subramanyam et al. 2025)
CHANGED = 0.02  # of a near-copy
VERSION = 1  # raised when a rule gives other text
USAGE = (
    "corrupt(SOURCE, share=0.2), duplicate(SOURCE, share=0.1, times=10), dedup(SOURCE), "
    "held_out(SOURCE) or filter(SOURCE, keep=0.1, by=SOURCE), by=perplexity(STUDY/RUN)"
)


@dataclasses.dataclass(frozen=True)
class Rule:
    """What is done to the documents that are trained on.

    Attributes:
        share: of the documents that it meets.
        times: of which so many are there afterwards.
        replaced: share of the words that are random letters, in every document it meets, or in all but the first.
    """

    name: str
    share: float
    times: int
    replaced: float
    seed: int

    def made_of(self, document: Document) -> int:
        """How many documents a document becomes."""
        return self.times if self.meets(document) else 1

    def of(self, document: Document, which: Collection[int]) -> Iterator[Document]:
        """What becomes of a document, those of `made_of` numbered in `which`; nothing but its text is changed, and the
        side of the split stays.
        """
        if not self.meets(document):
            yield from [document] * len(which)
            return
        group = document.group or f"alone:{document.text}"
        draw = self._draw(document)
        for n in which:
            text = document.text
            if n or self.times == 1:
                text = _replaced(text, self.replaced, functools.partial(draw, n + 1))
            yield Document(f"{document.id}~{n}" if n else document.id, text, group)

    def meets(self, document: Document) -> bool:
        if not document.text or on_held_out_side(document):
            return False
        return bool(self._draw(document)(0, 1)[0] < self.share)

    def _draw(self, document: Document) -> Callable[[int, int], np.ndarray]:
        rule = f"{VERSION} {self.name} {self.seed}".encode()
        return functools.partial(_draws, rule, document.text.encode())


@dataclasses.dataclass(frozen=True)
class Derived:
    """A corpus made from another: what it says of itself is what the other says, but for its parts and signature."""

    source: str
    of: Corpus

    @property
    def drops_near_duplicates(self) -> bool:
        return self.of.drops_near_duplicates

    @property
    def cut(self) -> int | None:
        return self.of.cut

    @property
    def entropy_rate(self) -> float | None:
        return self.of.entropy_rate

    def signed(self, *how: str) -> str:
        """The signature of what becomes of the other corpus in this way."""
        return digest([str(VERSION), *how, self.of.source.partition(":")[0], self.of.signature()])


@dataclasses.dataclass(frozen=True)
class Changed(Derived):
    """A corpus whose documents are changed or left out one by one: a long one is cut first, so that each piece is on
    the side of the split that it has by itself.
    """

    @property
    def cut(self) -> int:
        return self.of.cut or PIECE

    @property
    def entropy_rate(self) -> None:
        return None


@dataclasses.dataclass(frozen=True)
class Transformed(Changed):
    """A corpus whose documents went through a rule."""

    rule: Rule

    def signature(self) -> str:
        return self.signed(repr(self.rule))

    def parts(self) -> list[Part]:
        return [[TransformedFile(self.source, file, self.cut, self.rule) for file in part] for part in self.of.parts()]


@dataclasses.dataclass(frozen=True)
class Deduplicated(Derived):
    """A corpus of whose near-duplicates one is kept."""

    @property
    def drops_near_duplicates(self) -> bool:
        return True

    def signature(self) -> str:
        return self.signed()

    def parts(self) -> list[Part]:
        return self.of.parts()


@dataclasses.dataclass(frozen=True)
class HeldOut(Derived):
    """What of a corpus is never trained on, to evaluate on: the held-out side of the corpus' own index."""

    def signature(self) -> str:
        return self.of.signature()

    def parts(self) -> list[Part]:
        return self.of.parts()


@dataclasses.dataclass(frozen=True)
class TransformedFile(ChangedFile):
    """A file whose documents are changed; they are numbered anew."""

    rule: Rule

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        wanted, first = None if keep is None else set(keep), 0
        self.tally.clear()
        for document in in_pieces(self.of, self.cut):
            if keep is None and document.text and not on_held_out_side(document):
                self.count(met=self.rule.meets(document))
            numbers = range(first, first := first + self.rule.made_of(document))
            some = [n for n in numbers if wanted is None or n in wanted]
            yield from zip(some, self.rule.of(document, [n - numbers.start for n in some]), strict=True)


def in_pieces(file: File, cut: int) -> Iterator[Document]:
    """The documents of a file, a long one in pieces of at most `cut` characters."""
    for _, document in file.documents(None):
        if len(document.text) <= cut:
            yield document
        else:
            for n, text in enumerate(pieces(iter([document.text]), cut), 1):
                yield Document(f"{document.id}[{n}]", text, document.group)


def root(corpus: Corpus) -> Corpus:
    """The corpus from which another is made, after however many rules."""
    return root(corpus.of) if isinstance(corpus, Derived) else corpus


def transformed(source: str, name: str, inner: Corpus, options: dict[str, str]) -> Corpus:
    """The corpus that NAME(SOURCE, KEY=VALUE, ...) means.

    Raises:
        InputError: an unknown rule or option, or a value that cannot be.
    """
    known: dict[str, dict[str, tuple[Callable[[str], float], float, float, float]]] = {
        "corrupt": {"share": (float, 0.0, 1.0, np.nan), "seed": (int, 0, 2**63 - 1, 0)},
        "duplicate": {
            "share": (float, 0.0, 1.0, np.nan),
            "times": (int, 2, 1000, np.nan),
            "seed": (int, 0, 2**63 - 1, 0),
        },
        "dedup": {},
        "held_out": {},
    }
    if name not in known:
        raise InputError(f"{source}: unknown rule {name!r}; wanted one of {USAGE}")
    if odd := options.keys() - known[name]:
        raise InputError(f"{source}: unknown option {min(odd)!r}; known: {', '.join(known[name]) or 'none'}")
    values = {}
    for option, (kind, low, high, default) in known[name].items():
        try:
            values[option] = kind(options[option]) if option in options else default
        except ValueError:
            values[option] = np.nan
        if not low <= values[option] <= high:
            given = f"{option}={options[option]}" if option in options else f"no {option}"
            raise InputError(f"{source}: {given}, wanted {option} from {low:g} to {high:g}; such as {USAGE}")
    if name == "held_out":
        return HeldOut(source, inner)
    if name == "dedup":
        return Deduplicated(source, inner)
    replaced = CORRUPTED if name == "corrupt" else CHANGED
    rule = Rule(name, values["share"], int(values.get("times", 1)), replaced, int(values["seed"]))
    return Transformed(source, inner, rule)


def _replaced(text: str, share: float, draw: Callable[[int], np.ndarray]) -> str:
    """The text with a share of its words made random letters, as many; at least one word of a text that has any."""
    words = list(WORD.finditer(text))
    if not words:
        return text
    chances = draw(len(words))
    chosen = chances < max(share, np.nextafter(chances.min(), 1))
    letters = draw(len(words) + sum(map(len, map(re.Match.group, words))))[len(words) :]
    spelled = LETTERS[(letters * len(LETTERS)).astype(int)].tobytes().decode()
    out, at, used = [], 0, 0
    for word, hit in zip(words, chosen, strict=True):
        if hit:
            n = word.end() - word.start()
            out += [text[at : word.start()], spelled[used : used + n]]
            at, used = word.end(), used + n
    return "".join([*out, text[at:]])


def _draws(rule: bytes, text: bytes, stream: int, n: int) -> np.ndarray:
    """Uniform numbers in [0, 1), f64 (n,), that depend on the rule, the text and the number of the stream alone."""
    name = hashlib.blake2b(text, digest_size=16, key=hashlib.sha256(rule + b" %d" % stream).digest()).digest()
    raw = np.random.Philox(key=np.frombuffer(name, "<u8")).random_raw(n)
    return (raw >> np.uint64(11)) * 2.0**-53
