"""Several sources as one, each with its share of the tokens: mix:0.7*SOURCE+0.3*SOURCE.

The stream of a mixture is the documents of its parts' streams, each as a whole, in the order in which the parts fill
their shares: a document before which lie c tokens of a part of share s comes at c / s. So of the first D tokens s D are
of that part, to within a document, for every D, and what was mixed for a smaller D is where it was. A part that ends
begins again; how often it was read is its epochs. first(SOURCE, tokens=1e5) is a part of the first so many tokens of
a stream, the last document cut to them.
"""

import dataclasses
import math
import re
from collections.abc import Sequence

import numpy as np

from scaling.config import PAIRS, TASK
from scaling.data import expressions
from scaling.errors import InputError

PREFIX = "mix:"
TERM = re.compile(r"\s*([-+\w.]+)\s*\*\s*(.+?)\s*", re.DOTALL)
NEXT = re.compile(r"\+(?=\s*[-+\w.]+\s*\*)")  # what stands between two terms; a + may belong to a name
EXAMPLE = "mix:0.7*text:a/*.txt+0.3*python"
MOST = 64  # parts


@dataclasses.dataclass(frozen=True)
class Share:
    """A part of a mixture.

    Attributes:
        share: of the tokens.
        most: tokens of the source that are read, again and again; None for all of it.
    """

    source: str
    share: float
    most: int | None = None

    def __str__(self) -> str:
        return self.source if self.most is None else f"first({self.source}, tokens={self.most})"


def is_one(source: str) -> bool:
    """Whether a source is a mixture."""
    return source.startswith(PREFIX)


def plain(source: str) -> bool:
    """Whether a source is a text as it is: neither a mixture nor changed by a rule."""
    return not is_one(source) and expressions.call(source) is None


def parse(source: str) -> tuple[Share, ...]:
    """The parts of a mixture, whose shares add up to 1; of another source, itself.

    Raises:
        InputError: a share is no number above 0, they do not add up to 1, or a source comes twice.
    """
    if not is_one(source):
        return (Share(source, 1.0),)
    found = []
    for term in expressions.split(source.removeprefix(PREFIX), NEXT):
        match = TERM.fullmatch(term)
        try:
            share = float(match[1]) if match else math.nan
        except ValueError:
            share = math.nan
        if match is None or not 0 < share <= 1:
            raise InputError(
                f"{source}: {term.strip()!r} is not SHARE*SOURCE with a share in (0, 1]; such as {EXAMPLE}"
            )
        found.append(_part(source, match[2], share))
    if not 2 <= len(found) <= MOST:
        raise InputError(f"{source}: {len(found)} sources, wanted 2 to {MOST}; such as {EXAMPLE}")
    total = math.fsum(part.share for part in found)
    if abs(total - 1) > 1e-6:
        raise InputError(f"{source}: the shares add up to {total:.6g}, wanted 1")
    for n, part in enumerate(found):
        if part in [dataclasses.replace(other, share=part.share) for other in found[:n]]:
            raise InputError(f"{source}: {part} comes twice; give it one share")
        for prefix in (PREFIX, "tokens:"):
            if part.source.startswith(prefix):
                raise InputError(f"{source}: {part.source} cannot be a part of a mixture; wanted text")
    return tuple(dataclasses.replace(part, share=part.share / total) for part in found)


def _part(source: str, part: str, share: float) -> Share:
    call = expressions.call(part)
    if call is None or call[0] != "first":
        return Share(part, share)
    _, inner, options = call
    try:
        most = float(options.pop("tokens", ""))
    except ValueError:
        most = math.nan
    if options or not 1 <= most < 2**62:
        raise InputError(f"{source}: {part} wants a number of tokens, such as first({inner}, tokens=1e5)")
    return Share(inner, share, round(most))


def form(source: str, names: dict[str, str] | None = None) -> str:
    """How a source is made of others, whatever these are called: "corrupt(A, share=0.5)", "filter(A, keep=0.5, by=B)",
    and "A" for a plain one. A task, and pairs, are what they are called."""
    names = {} if names is None else names
    if is_one(source):
        return PREFIX + "+".join(
            f"{term[1]}*{form(term[2], names)}"
            for term in map(TERM.fullmatch, expressions.split(source.removeprefix(PREFIX), NEXT))
            if term
        )
    if (call := expressions.call(source)) is not None:
        name, inner, options = call
        told = [form(inner, names), *(f"{k}={form(v, names) if k == 'by' else v}" for k, v in options.items())]
        return f"{name}({', '.join(told)})"
    return source if source.startswith((TASK, PAIRS)) else names.setdefault(source, chr(ord("A") + len(names)))


def order(lengths: Sequence[np.ndarray], shares: Sequence[float], upto: float) -> tuple[np.ndarray, np.ndarray]:
    """Which documents make the first `upto` tokens of a mixture, and the rest of the last ones.

    Args:
        lengths: of each part, tokens of its documents i64 (n_documents,); of a part with fewer than its share all of
            them, which are then read again.
        shares: of each part.
        upto: tokens.

    Returns:
        part, document: i64 (n,) each.
    """
    times, parts, documents = [], [], []
    for n, (length, share) in enumerate(zip(lengths, shares, strict=True)):
        epochs = max(1, math.ceil(share * upto / length.sum()))
        document = np.tile(np.arange(len(length)), epochs)
        before = np.cumsum(length[document]) - length[document]
        time = before / share
        k = int(np.searchsorted(time, upto))
        times.append(time[:k])
        documents.append(document[:k])
        parts.append(np.full(k, n))
    first = np.lexsort((np.concatenate(parts), np.concatenate(times)))
    return np.concatenate(parts)[first], np.concatenate(documents)[first]
