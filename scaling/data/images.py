"""Pictures as sources: a document is a picture, a character each of its pixels, row after row.

images:digits                        scikit-learn's 1,797 handwritten digits, 8 x 8, 17 grey levels
images:fashion-mnist@7?levels=16     Debian's package dataset-fashion-mnist, 28 x 28, mean-pooled to 7 x 7
images:FOLDER@14                     a folder with the files of MNIST, train-images-idx3-ubyte[.gz] and t10k-...
images:FILE.gz                       one IDX file
images:...?part=test                 the pictures that are held out by the set itself

A pixel is a character because a source is made of text; there is no tokenizer to choose, since the levels are the
vocabulary (`Rows.alphabet`). Every picture of a set has R^2 pixels, and the separator that ends a document begins the
next one: with n_ctx = R^2 + 1 an example is one picture, after a token that begins it.

The level of a pixel is floor(levels * mean / 256) of the mean of the bytes that are pooled into it. The digits are as
they are, and have no test part of their own: a sixth, by a hash of the picture, is.
"""

import abc
import csv
import dataclasses
import functools
import gzip
import hashlib
import importlib.util
import io
import math
import os
import re
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scaling import folders
from scaling.config import IMAGES
from scaling.data.documents import Document, File, Numbered, Part, options, stretches
from scaling.errors import InputError

Levels = NDArray[np.uint8]

FASHION = "fashion-mnist"
DEBIAN = Path("/usr/share/datasets") / FASHION  # of its package dataset-fashion-mnist
DIGITS, DIGITS_SIZE, DIGITS_LEVELS = "digits", 8, 17
DIGITS_TEST = 6  # one in so many digits, by hash
FILES = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
LEVELS = (16, 256)
MOST = 2**30  # bytes of pixels
MAGIC = 0x00000803  # of an IDX file of bytes in three dimensions
FEW = "0123456789abcdefghijklmnopqrstuvwxyz"
BRAILLE = 0x2800  # the first of 256 characters that have no case and are no white space: copies differ in neither
KEYS = {"levels": "16|256", "part": "train|test"}
WANTED = "images:digits, images:fashion-mnist@7, images:FOLDER@14 or images:FILE.gz"


class Rows(Numbered, abc.ABC):
    """A corpus whose documents are of few characters, each a token, and all of one length."""

    @property
    @abc.abstractmethod
    def alphabet(self) -> str:
        """The characters; their places are the ids of the tokens, and the separator comes after them."""

    @abc.abstractmethod
    def texts(self) -> list[str]:
        """All documents, in the order of the set."""

    def signature(self) -> str:
        return hashlib.sha256("\n".join([self.alphabet, *self.texts()]).encode()).hexdigest()[:16]

    def parts(self) -> list[Part]:
        texts = self.texts()
        return [[RowsFile(self, some.start, some.stop)] for some in stretches(range(len(texts)), len(texts[0]))]


@dataclasses.dataclass(frozen=True)
class RowsFile(File):
    """The documents start, ..., stop - 1 of a set."""

    rows: Rows
    start: int
    stop: int

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        texts = self.rows.texts()
        for k in range(self.stop - self.start) if keep is None else sorted(keep):
            text = texts[self.start + k]
            yield k, Document(f"{self.rows.source}#{self.start + k}", text, "")


@dataclasses.dataclass(frozen=True)
class ImageCorpus(Rows):
    """The pictures of one part of a set.

    Attributes:
        name: digits, fashion-mnist, or a path.
        size: pixels along a side; 0 for those that the set has.
        levels: of grey.
        part: "train" or "test".
    """

    source: str
    name: str
    size: int
    levels: int
    part: str

    @classmethod
    def of(cls, source: str) -> "ImageCorpus":
        """The pictures that a source names.

        Raises:
            InputError: an unknown option or set, or files that are none of it.
        """
        found = parse(source)
        if why := missing(source):
            raise InputError(why)
        found.texts()
        return found

    @property
    def alphabet(self) -> str:
        return alphabet(self.levels)

    def pixels(self) -> Levels:
        """The level of every pixel, u8 (picture, row, column)."""
        return _pixels(self)

    def texts(self) -> list[str]:
        return _texts(self)


def alphabet(levels: int) -> str:
    """A character for each level."""
    return FEW[:levels] if levels <= len(FEW) else "".join(map(chr, range(BRAILLE, BRAILLE + levels)))


def parse(source: str) -> ImageCorpus:
    """What a source asks for; no file is looked at.

    Raises:
        InputError: an unknown option, or a value that cannot be.
    """
    if "\0" in source:
        raise InputError(f"{source!r}: no file has a NUL in its name; wanted {WANTED}")
    name, _, query = source.removeprefix(IMAGES).partition("?")
    asked = options(source, query, KEYS)
    size = 0
    if at := re.search(r"@([0-9]{1,9})$", name):
        name, size = name[: at.start()], int(at[1])
        if not size:
            raise InputError(f"{source}: @0 pixels, wanted 1 or more along a side, such as {WANTED}")
    if not name:
        raise InputError(f"{source}: names no pictures; wanted {WANTED}")
    part = asked.get("part", "train")
    if part not in FILES:
        raise InputError(f"{source}: part={part}, wanted train or test")
    if name == DIGITS:
        if "levels" in asked or size not in (0, DIGITS_SIZE):
            raise InputError(f"{source}: the digits have {DIGITS_LEVELS} levels and 8 x 8 pixels; use {IMAGES}{DIGITS}")
        return ImageCorpus(source, DIGITS, 0, DIGITS_LEVELS, part)
    levels = asked.get("levels", str(LEVELS[0]))
    if levels not in map(str, LEVELS):
        raise InputError(f"{source}: levels={levels}, wanted {' or '.join(map(str, LEVELS))}")
    return ImageCorpus(source, name, size, int(levels), part)


def missing(source: str) -> str:
    """Why the pictures of a source are not on this machine, and the way to them; empty where they are."""
    name = parse(source).name
    if name == DIGITS and _digits_file() is None:
        return (
            f"{source}: scikit-learn, in whose package they are, is not installed; pip install "
            "'neural-scaling-laws[images]' (or scikit-learn) brings it"
        )
    if name == FASHION and not DEBIAN.is_dir():
        return (
            f"{source}: {DEBIAN} is not there; apt-get install dataset-{FASHION} brings it, or name a folder with such "
            "files, images:FOLDER"
        )
    return ""


def _digits_file() -> Path | None:
    found = importlib.util.find_spec("sklearn")  # found, not imported: its data are a file
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    return path if path.is_file() else None


@functools.lru_cache(maxsize=4)
def _pixels(corpus: ImageCorpus) -> Levels:
    if corpus.name == DIGITS:
        return _digits(corpus)
    found = read_idx(_path(corpus))
    n, side, _ = found.shape
    size = corpus.size or side
    if side % size:
        divisors = ", ".join(f"{d}" for d in range(1, side + 1) if side % d == 0)
        raise InputError(f"{corpus.source}: {side} pixels do not pool to {size}; wanted one of {divisors}")
    times = side // size
    exact = np.min_scalar_type(max(LEVELS) * corpus.levels * times * times)  # holds every sum times the levels
    total = np.zeros((n, size, size), exact)
    for row in range(times):
        for column in range(times):
            total += found[:, row::times, column::times]
    return (total * exact.type(corpus.levels) // exact.type(256 * times * times)).astype(np.uint8)


def _path(corpus: ImageCorpus) -> Path:
    path = DEBIAN if corpus.name == FASHION else Path(os.path.expanduser(corpus.name))
    if not path.is_dir():
        if corpus.part == "test":
            raise InputError(
                f"{corpus.source}: one file has no test part; name a folder with {FILES['train']} and {FILES['test']}, "
                "or leave part out: about 3 % of the pictures are held out"
            )
        return path
    for name in (FILES[corpus.part], f"{FILES[corpus.part]}.gz"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"{corpus.source}: {path} has no {FILES[corpus.part]}[.gz]; wanted {WANTED}")


def read_idx(path: Path) -> Levels:
    """The pictures of an IDX file, as it is or by gzip: u8 (picture, row, column), as many rows as columns.

    Raises:
        InputError: no such file, damaged, of another kind, or of another length than it says.
    """
    wanted = "an IDX file of square pictures in bytes, such as train-images-idx3-ubyte.gz"
    raw = folders.read_bytes(path, wanted)
    if raw[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
                raw = file.read(MOST + 17)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{path}: its gzip is damaged ({error}); wanted {wanted}") from None
    if len(raw) < 16 or int.from_bytes(raw[:4], "big") != MAGIC:
        raise InputError(f"{path}: begins with {raw[:4].hex() or 'nothing'}, not {MAGIC:08x}; wanted {wanted}")
    n, height, width = (int.from_bytes(raw[4 * k : 4 * k + 4], "big") for k in (1, 2, 3))
    if height != width or not n or not height:
        raise InputError(f"{path}: {n:,} pictures of {height} x {width} pixels; wanted {wanted}")
    if n * height * width > MOST:
        raise InputError(f"{path}: {n:,} pictures of {height} x {width} pixels are more than {MOST:,} bytes; use fewer")
    if len(raw) - 16 != n * height * width:
        raise InputError(
            f"{path}: {len(raw) - 16:,} bytes of pixels, but it says {n:,} x {height} x {width}; it is cut short, or "
            "no such file"
        )
    return np.frombuffer(raw, np.uint8, offset=16).reshape(n, height, width)


def _digits(corpus: ImageCorpus) -> Levels:
    path = _digits_file()
    assert path is not None
    with gzip.open(path, "rt") as file:
        rows = np.array([row[:-1] for row in csv.reader(file)], float)  # the last is the digit
    found = rows.astype(np.uint8).reshape(-1, DIGITS_SIZE, DIGITS_SIZE)
    held_out = [int.from_bytes(hashlib.blake2b(x.tobytes(), digest_size=8).digest(), "little") for x in found]
    test = np.array([value % DIGITS_TEST == 0 for value in held_out])
    return found[test == (corpus.part == "test")]


@functools.lru_cache(maxsize=4)
def _texts(corpus: ImageCorpus) -> list[str]:
    pixels = corpus.pixels()
    table = np.array([ord(c) for c in corpus.alphabet], "<u4")
    width = math.prod(pixels.shape[1:])
    joined = table[pixels.reshape(len(pixels), width)].tobytes().decode("utf-32-le")
    return [joined[k : k + width] for k in range(0, len(joined), width)]
