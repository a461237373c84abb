"""What a source of text is: a corpus of parts, a part of files, and a file of documents.

Files (or pieces of files) know how to yield their documents; a part is a few of them. Files pickle, so that parts can
be read by several processes, and a document is found again by its place in its part.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from scaling.checked import Field
from scaling.errors import InputError

PIECE = 2**14  # characters of a piece of a document that is cut, at the end of a paragraph where there is one
WHOLE = 2**24  # characters: a longer document is cut whatever else is in the corpus, so that memory stays bounded
LEAST_CUT = 64  # characters
CHANGES = {"corrupt": "corrupted", "duplicate": "repeated with changes", "filter": "kept"}  # by each rule
PART = 2**22  # bytes on disk that one part should hold, and at which plain .jsonl files are cut


class Document(NamedTuple):
    """Text with a name, and the group that a split into training and validation must not tear apart; "": itself alone.

    A document that stands alone is split by its text, so that the same files in another folder give the same tokens.
    `null`: there was no text where its text should be.
    """

    id: str
    text: str
    group: str
    null: bool = False


class File(Protocol):
    """Something that holds documents. A file of no text yields one empty document, so that it can be counted."""

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        """Documents with their number in the file, in order; of those numbered in `keep` only, unless it is None."""
        ...


Part = Sequence[File]


@dataclasses.dataclass(frozen=True)
class ChangedFile(File):
    """A file whose documents, and pieces of documents, went through a rule.

    Attributes:
        source: the rule with what it is applied to, as it is typed.
        cut: characters above which a document is cut before.
        tally: after all of it was read: "documents" that are not held out, and those that the rule "met".
    """

    source: str
    of: File
    cut: int
    tally: Counter[str] = dataclasses.field(default_factory=Counter, init=False, compare=False)

    @property
    def bound(self) -> dict[str, float]:
        """Of a rule that goes by a score, what a document is kept by: "least", nats, or "most", bits per byte."""
        return {}

    def count(self, *, met: bool) -> None:
        self.tally.update(documents=1, met=int(met))


def rules(part: Part) -> dict[str, dict]:
    """What each rule did to the documents of a part that was read, the innermost first."""
    found: dict[str, dict] = {}
    for file in part:
        chain = []
        while isinstance(file, ChangedFile):
            chain.insert(0, file)
            file = file.of
        for changed in chain:
            one = found.setdefault(changed.source.strip(), {"documents": 0, "met": 0, **changed.bound})
            for name in ("documents", "met"):
                one[name] += changed.tally[name]
    return found


def check_rules(told: Field) -> None:
    """Raises Damaged unless what is told of a corpus tells of its rules what `rules` finds, or, as once, nothing."""
    if every := told.get("rules"):
        for rule in every.object():
            if rule.partition("(")[0] not in CHANGES:
                raise every.wrong(f"rules among {', '.join(CHANGES)}")
            for name in ("documents", "met"):
                every[rule][name].whole()
            for name in ("least", "most"):
                if bound := every[rule].get(name):
                    bound.number()


class Corpus(Protocol):
    """A source of text."""

    @property
    def source(self) -> str: ...

    @property
    def drops_near_duplicates(self) -> bool:
        """Whether near-duplicates are removed, beside exact ones."""
        ...

    @property
    def cut(self) -> int | None:
        """Characters above which a document is cut, and of a piece; None where that depends on all of the corpus."""
        ...

    @property
    def entropy_rate(self) -> float | None:
        """The least loss that a model can reach, nats per byte, where it is known."""
        ...

    def signature(self) -> str:
        """Changes when the text may have changed; cheap, as no text is read."""
        ...

    def parts(self) -> list[Part]: ...


class Numbered:
    """What corpora share whose documents are made by their number, all of one length."""

    source: str
    drops_near_duplicates: bool = False
    cut: int = WHOLE
    entropy_rate: None = None  # of labels and answers alone it would say nothing of the text


def stretches(numbers: range, width: int) -> list[range]:
    """The numbers of the documents of each part.

    Args:
        width: characters of a document; what it costs to make one is reckoned as eight bytes each.
    """
    step = max(1, PART // (8 * width))
    return [numbers[n : n + step] for n in range(0, len(numbers), step)]


def read(part: Part, places: Iterable[int] | None = None) -> Iterator[tuple[int, Document]]:
    """The documents of a part with their places: file number * 2**32 + number in the file.

    Args:
        places: only these; files without any of them are not opened.
    """
    wanted: dict[int, set[int]] | None = None
    if places is not None:
        wanted = {}
        for place in places:
            wanted.setdefault(int(place) >> 32, set()).add(int(place) & 0xFFFFFFFF)
    for n, file in enumerate(part):
        if wanted is not None and n not in wanted:
            continue
        for k, document in file.documents(None if wanted is None else wanted[n]):
            yield n << 32 | k, document


def pieces(blocks: Iterator[str], size: int = PIECE) -> Iterator[str]:
    """The same text in pieces of at most `size` characters, cut after a paragraph, else a line, else anywhere."""
    held = ""
    for block in blocks:
        held += block
        start = 0
        while len(held) - start > size:
            low, high = start + size // 2, start + size
            cut = held.rfind("\n\n", low, high) + 2
            if cut < low + 2:
                cut = held.rfind("\n", low, high) + 1
            if cut < low + 1:
                cut = high
            yield held[start:cut]
            start = cut
        held = held[start:]
    if held:
        yield held


def gather(files: Sequence[tuple[File, int]]) -> list[Part]:
    """Files in parts of about PART bytes; what is larger is a part of its own."""
    parts: list[list[File]] = []
    room = 0
    for file, size in files:
        if not parts or size > room:
            parts.append([])
            room = PART
        parts[-1].append(file)
        room -= size
    return list(parts)


def options(source: str, query: str, known: Mapping[str, str]) -> dict[str, str]:
    """The options that end a source, KEY=VALUE&KEY=VALUE.

    Args:
        known: the keys, each with how its value is shown.

    Raises:
        InputError: another key, one that is there twice, or no value.
    """
    found = {}
    for item in filter(None, query.split("&")):
        key, _, value = item.partition("=")
        if key not in known or not value:
            shown = ", ".join(f"{key}={value}" for key, value in known.items())
            raise InputError(f"{source}: unknown option {item!r}; known: {shown}")
        if key in found:
            raise InputError(f"{source}: {key} is there twice, {key}={found[key]} and {item}; give it once")
        found[key] = value
    return found


def cut_of(source: str, value: str) -> int:
    """The characters that the option `cut` asks for."""
    try:
        cut = round(float(value))
    except (ValueError, OverflowError):
        cut = 0
    if not LEAST_CUT <= cut:
        raise InputError(
            f"{source}: cut={value}, wanted a number of characters, at least {LEAST_CUT}, such as cut=16384"
        )
    return min(cut, WHOLE)


def digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
