"""Text from files on disk: plain text, JSON Lines, and the tables of `arrow_tables`."""

import codecs
import contextlib
import dataclasses
import functools
import glob
import gzip
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Collection, Iterator
from typing import BinaryIO, cast

from scaling import folders
from scaling.data import documents
from scaling.data.arrow_tables import arrow_file, row_groups, saved_dataset
from scaling.data.documents import PIECE, Document, File, Part, cut_of, digest, first_line, gather, options, pieces
from scaling.errors import InputError

BLOCK = 2**20  # bytes read at once
LOOK = 10_000  # files of a folder that are looked at to say how its text is named
LINES = (".jsonl", ".ndjson")
TABLES = (".parquet", ".arrow", ".feather")
SUFFIXES = (".txt", ".txt.gz", ".md", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", *TABLES)
OPTIONS = {"field": "NAME", "cut": "CHARACTERS"}
QUERY = re.compile(r"\?(\w+=[^&?*/]*(&\w+=[^&?*/]*)*)$")  # a ? is also any character of a file's name


@dataclasses.dataclass(frozen=True)
class TextCorpus:
    """Files on disk, by glob patterns; ** and ~ work. ?field=NAME&cut=CHARACTERS may stand at the end."""

    source: str
    drops_near_duplicates: bool = False
    entropy_rate: None = None

    def signature(self) -> str:
        return digest([self._field, *(_stamp(path) for path in self._paths)])

    def parts(self) -> list[Part]:
        opened = (item for path in self._paths for item in _open_file(path, self._field, self.cut or PIECE))
        return gather(list(opened))

    @property
    def cut(self) -> int | None:
        given = self._given[1].get("cut")
        return None if given is None else cut_of(self.source, given)

    @property
    def _field(self) -> str:
        return self._given[1].get("field", "text")

    @functools.cached_property
    def _given(self) -> tuple[str, dict[str, str]]:
        """The patterns, and the options."""
        whole = self.source.removeprefix("text:").strip()
        asked = QUERY.search(whole)
        if asked is None or os.path.exists(os.path.expanduser(whole)):
            return whole, {}
        return whole[: asked.start()], options(self.source, asked[1], OPTIONS)

    @functools.cached_property
    def _paths(self) -> list[str]:
        whole, _ = self._given
        # A comma may belong to a name.
        is_one = os.path.exists(os.path.expanduser(whole)) or _matches(whole)
        patterns = [whole] if is_one else [pattern.strip() for pattern in whole.split(",")]
        paths: set[str] = set()
        for pattern in patterns:
            folders.on_disk(pattern, "text:")
            found = _matches(pattern)
            if not found and os.path.isdir(folder := os.path.expanduser(pattern)):
                found = saved_dataset(folder)
                if not found:
                    raise InputError(f"text:{pattern} is a folder; for the files in it write 'text:{inside(pattern)}'")
            if not found:
                raise InputError(
                    f"text:{pattern} matches no file; give a file or, in quotes, a pattern: 'text:folder/**/*.txt'"
                    + (" (a [ in a name is written [[])" if "[" in pattern else "")
                )
            paths |= found
        for path in sorted(paths):
            if not path.endswith(SUFFIXES):
                as_lines = "; JSON Lines are named .jsonl" if path.endswith((".json", ".json.gz")) else ""
                wanted = ", ".join(SUFFIXES)
                raise InputError(f"{path}: cannot read this kind of file; wanted {wanted}{as_lines}")
        return sorted(paths)


def _matches(pattern: str) -> set[str]:
    """The file of that name, whatever characters are in it; else the files that match the pattern."""
    pattern = os.path.expanduser(pattern)
    if os.path.isfile(pattern):
        return {pattern}
    return {path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}


def inside(folder: str) -> str:
    """Patterns, joined by commas, for the files in a folder that can be read; for .txt if there are none."""
    folder = glob.escape(folder.rstrip("/")).replace(",", "?")
    names = list(itertools.islice(glob.iglob(f"{os.path.expanduser(folder)}/**/*", recursive=True), LOOK))
    suffixes = [suffix for suffix in SUFFIXES if any(name.endswith(suffix) for name in names)]
    return ",".join(f"{folder}/**/*{suffix}" for suffix in suffixes or [".txt"])


def _open_file(path: str, field: str, piece: int) -> Iterator[tuple[File, int]]:
    """The parts of a file that can be read apart, each with its size in bytes on disk.

    Args:
        field: that holds the text, of files with fields; of one in another, with dots between their names.
        piece: characters of a piece of a text file that is too long to be held.
    """
    size = os.path.getsize(path)
    if path.endswith((".txt", ".txt.gz", ".md")):
        yield TextFile(path, piece), size
    elif path.endswith(LINES):
        for start in range(0, max(size, 1), documents.PART):
            yield JsonLines(path, field, start, start + documents.PART), min(documents.PART, size - start)
    elif path.endswith(".parquet"):
        yield from row_groups(path, field, size)
    elif path.endswith(TABLES):
        yield arrow_file(path, field), size
    else:
        yield JsonLines(path, field), size


@dataclasses.dataclass(frozen=True)
class TextFile:
    """A document; or, where it is longer than can be held, several."""

    path: str
    piece: int  # characters of each

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        with _reader(self.path) as file:
            blocks = _decode(self.path, file)
            held: list[str] = []
            for block in blocks:
                held.append(block)
                if sum(map(len, held)) > documents.WHOLE:
                    break
            else:
                if keep is None or 0 in keep:
                    yield 0, Document(self.path, "".join(held), "")
                return
            for k, piece in enumerate(pieces(itertools.chain(held, blocks), self.piece)):
                if keep is None or k in keep:
                    yield k, Document(f"{self.path}#{k}", piece, "")


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """One JSON object per line, with a text field and perhaps an id; of a plain file, lines that begin in a range.

    The first object has to have the field; a later one without it, or with null in it, counts as one without a text.
    """

    path: str
    field: str
    start: int = 0  # byte offsets
    stop: int | None = None

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        k = 0
        with _reader(self.path) as file:
            offset = 0
            if self.start:
                file.seek(self.start - 1)
                offset = self.start - 1 + len(file.readline())  # that line belongs to the range before
            while self.stop is None or offset < self.stop:
                line = file.readline()
                if not line:
                    break
                if line.strip():
                    if keep is None or k in keep:
                        yield k, self._document(line, k, offset)
                    k += 1
                offset += len(line)
        if not k and not self.start:
            yield 0, Document(self.path, "", "")

    def _document(self, line: bytes, k: int, offset: int) -> Document:
        line = line.removeprefix(codecs.BOM_UTF8)
        try:
            row = json.loads(line.decode())
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InputError(f"{self._where(offset)}: byte 0x{byte:02x} is not UTF-8 text; convert the file") from None
        except json.JSONDecodeError as error:
            raise InputError(
                f"{self._where(offset)}: not JSON ({error.msg}, column {error.colno}); wanted one object per line"
            ) from None
        if not isinstance(row, dict):
            raise InputError(
                f"{self._where(offset)}: no field {self.field!r} (not an object); wanted an object per line"
            )
        name = str(row.get("id", f"{self.path}#{self.start}.{k}"))
        found, text = True, row
        for key in [self.field] if self.field in row else self.field.split("."):
            found = isinstance(text, dict) and key in text
            text = text[key] if found else None
            if text is None:
                break
        if not found and not self.start and not k:
            raise InputError(
                f"{self._where(offset)}: no field {self.field!r} (it has {_fields(row)}); "
                "name the one that holds the text by ?field=NAME after the source"
            )
        if text is None:
            return Document(name, "", "", null=True)
        if not isinstance(text, str):
            raise InputError(
                f"{self._where(offset)}: field {self.field!r} holds {text!r:.40}; wanted a string, see ?field=NAME"
            )
        return Document(name, _without_surrogates(text), "")

    def _where(self, offset: int) -> str:
        """File and line number of an offset; reads the file again, as only errors need it."""
        with _reader(self.path) as file:
            number = 1
            while offset > 0 and (block := file.read(min(offset, 2**20))):
                number += block.count(b"\n")
                offset -= len(block)
        return f"{self.path}, line {number}"


def _fields(row: dict) -> str:
    """What a message says that an object has, and the objects in it."""
    names = [
        f"{name}.{inner}" if inner else name
        for name in row
        for inner in (row[name] if isinstance(row[name], dict) else [""])
    ]
    return ", ".join(map(repr, names)) or "none"


# What several kinds of file need


@contextlib.contextmanager
def _reader(path: str) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked. Damage that shows while it is read is reported with the file's name."""
    damage: tuple[type[Exception], ...] = (EOFError, gzip.BadGzipFile, zlib.error)
    try:
        if path.endswith(".gz"):
            with gzip.open(path, "rb") as file:
                yield cast(BinaryIO, file)
        elif path.endswith(".zst"):
            import pyarrow

            damage = (OSError,)
            with pyarrow.input_stream(path, compression="zstd") as file:  # unlike zstandard, it notices a cut end
                yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, file), BLOCK))
        else:
            with open(path, "rb") as file:
                yield file
    except (PermissionError, FileNotFoundError) as error:
        raise InputError(f"{path}: {error.strerror}; make it readable or leave it out") from None
    except damage as error:
        raise InputError(f"{path}: damaged or cut short ({first_line(error)}); fetch or pack it again") from None


def _decode(path: str, file: BinaryIO) -> Iterator[str]:
    """Text of a UTF-8 file, block by block."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while True:
        block = file.read(BLOCK)
        pending = len(decoder.getstate()[0])
        try:
            yield decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: byte 0x{error.object[error.start]:02x} at offset {offset - pending + error.start} is not "
                "UTF-8 text; convert the file (iconv -t utf-8) or leave it out of the pattern"
            ) from None
        if not block:
            return
        offset += len(block)


def _without_surrogates(text: str) -> str:
    """JSON can spell halves of UTF-16 pairs, which are no characters: U+FFFD stands for each."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _stamp(path: str) -> str:
    status = os.stat(path)
    # The last is when anything of the file changed, which no program can set back as it can the time of its content.
    return f"{os.path.abspath(path)} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
