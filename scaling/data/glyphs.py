"""Names with what they name: the glyphs of GNU Unifont after their Unicode names, as pairs of text and picture.

glyphs:hangul                 11,172 syllables; the name composes exactly as the glyph does
glyphs:ideographs             CJK unified ideographs; the name is a number
glyphs:others                 all others with a name of at most LONGEST characters
glyphs:hangul?captions=0      the same without what the name says
glyphs:hangul?part=test       one in ten, by a hash of the name, that the other part has not

Of names whose glyphs are equal the first in the font stands for all: with captions and without, the pairs are the same.

A document is the caption, with spaces before it so that all are of one length, MARK, and 64 characters: the glyph's 16
rows of 16 pixels, four pixels a character, a for none of them set to p for all. What all names of a set begin with is
left out of the caption. Half-width glyphs fill the left half. With `answers_after` the id of MARK the loss is that of
the picture alone.
"""

import dataclasses
import functools
import hashlib
import os
import re
import unicodedata
from pathlib import Path

from scaling import folders
from scaling.config import GLYPHS
from scaling.data.documents import options
from scaling.data.images import Rows
from scaling.errors import InputError

FONT = Path("/usr/share/unifont/unifont.hex")  # of Debian's package unifont
MARK = "="  # between a caption and its glyph
NIBBLES = "abcdefghijklmnop"
ALPHABET = " -0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" + MARK + NIBBLES
PICTURE = 64  # characters of a glyph
LONGEST = 40
CODE, BITS, LAST = re.compile("[0-9A-Fa-f]{1,8}"), re.compile("[0-9A-Fa-f]+"), 0x10FFFF  # of a line CODE:BITS
TEST = 10  # one in so many pairs
KINDS = {
    "hangul": ("HANGUL SYLLABLE ", 7),
    "ideographs": ("CJK UNIFIED IDEOGRAPH-", 4),
    "others": ("", LONGEST),
}  # what the names begin with, and the characters of the longest caption
KEYS = {"captions": "0|1", "part": "train|test", "font": "FILE.hex"}
WANTED = f"{GLYPHS}{'|'.join(KINDS)}, such as {GLYPHS}hangul?captions=0"


@dataclasses.dataclass(frozen=True)
class GlyphCorpus(Rows):
    """The pairs of one part of a set.

    Attributes:
        kind: of KINDS.
        captions: whether a caption says the name.
        part: "train" or "test".
        font: the .hex file.
    """

    source: str
    kind: str
    captions: bool
    part: str
    font: Path

    @classmethod
    def of(cls, source: str) -> "GlyphCorpus":
        """The pairs that a source names.

        Raises:
            InputError: an unknown set or option, or a file that is no such font.
        """
        found = parse(source)
        if why := missing(source):
            raise InputError(why)
        if not found.texts():
            raise InputError(f"{source}: {found.font} has no glyph of this set; wanted unifont.hex")
        return found

    @property
    def alphabet(self) -> str:
        return ALPHABET

    @property
    def width(self) -> int:
        """Characters of a document."""
        return KINDS[self.kind][1] + len(MARK) + PICTURE

    def texts(self) -> list[str]:
        return _texts(self)


def parse(source: str) -> GlyphCorpus:
    """What a source asks for; no file is looked at.

    Raises:
        InputError: an unknown set or option, or a value that cannot be.
    """
    if "\0" in source:
        raise InputError(f"{source!r}: no file has a NUL in its name; wanted {WANTED}")
    kind, _, query = source.removeprefix(GLYPHS).partition("?")
    asked = options(source, query, KEYS)
    if kind not in KINDS:
        raise InputError(f"{source}: unknown set {kind!r}; wanted {WANTED}")
    for key, wanted in (("captions", ("0", "1")), ("part", ("train", "test"))):
        if asked.get(key, wanted[0]) not in wanted:
            raise InputError(f"{source}: {key}={asked[key]}, wanted {' or '.join(wanted)}")
    font = Path(os.path.expanduser(asked.get("font", str(FONT))))
    return GlyphCorpus(source, kind, asked.get("captions", "1") == "1", asked.get("part", "train"), font)


def missing(source: str) -> str:
    """Why the glyphs are not on this machine, and the way to them; empty where they are."""
    font = parse(source).font
    if font.is_file():
        return ""
    return f"{source}: {font} is not there; apt-get install unifont brings it, or name one by font=FILE.hex"


@functools.lru_cache(maxsize=2)
def _glyphs(font: Path) -> dict[int, str]:
    """The bits of each glyph by its code point, 64 hexadecimal digits."""
    wanted = "a font as hexadecimal text, such as unifont.hex"
    found: dict[int, str] = {}
    for n, line in enumerate(folders.read_text(font, wanted).splitlines(), 1):
        code, _, bits = line.strip().partition(":")
        hexadecimal = CODE.fullmatch(code) and BITS.fullmatch(bits)
        if not hexadecimal or (point := int(code, 16)) > LAST or len(bits) not in (PICTURE // 2, PICTURE):
            raise InputError(f"{font}: line {n} is {line[:20]!r}, wanted CODE:BITS with 32 or 64 digits; give {wanted}")
        if len(bits) == PICTURE // 2:  # 8 pixels wide
            bits = "".join(f"{bits[k : k + 2]}00" for k in range(0, len(bits), 2))
        found[point] = bits.lower()
    return found


@functools.lru_cache(maxsize=4)
def _texts(corpus: GlyphCorpus) -> list[str]:
    begins, width = KINDS[corpus.kind]
    others = tuple(begin for begin, _ in KINDS.values() if begin)
    to_nibbles = str.maketrans("0123456789abcdef", NIBBLES)
    found, seen = [], set()
    for point, bits in _glyphs(corpus.font).items():
        name = unicodedata.name(chr(point), "")
        caption = name.removeprefix(begins)
        if not name.startswith(begins) or not 0 < len(caption) <= width or (not begins and name.startswith(others)):
            continue
        if bits in seen:  # without captions they would be one document, with captions two
            continue
        seen.add(bits)
        hashed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
        if (hashed % TEST == 0) == (corpus.part == "test"):
            shown = caption if corpus.captions else ""
            found.append(f"{shown:>{width}}{MARK}{bits.translate(to_nibbles)}")
    return found
