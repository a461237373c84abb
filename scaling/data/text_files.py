"""Text from files on disk: .txt[.gz], .md, .jsonl[.gz|.zst], .parquet."""

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
import zlib
from collections.abc import Collection, Iterator
from typing import BinaryIO, cast

from scaling.data import documents
from scaling.data.documents import Document, File, Part, digest, first_line, gather, pieces
from scaling.errors import InputError

BLOCK = 2**20  # bytes read at once
LOOK = 10_000  # files of a folder that are looked at to say how its text is named
SUFFIXES = (".txt", ".txt.gz", ".md", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")


@dataclasses.dataclass(frozen=True)
class TextCorpus:
    """Files on disk, by glob patterns; ** and ~ work."""

    source: str
    drops_near_duplicates: bool = False
    cut: None = None
    entropy_rate: None = None

    def signature(self) -> str:
        return digest([_stamp(path) for path in self._paths])

    def parts(self) -> list[Part]:
        return gather([item for path in self._paths for item in _open_file(path)])

    @functools.cached_property
    def _paths(self) -> list[str]:
        whole = self.source.removeprefix("text:").strip()
        # A comma may belong to a name.
        is_one = os.path.exists(os.path.expanduser(whole)) or _matches(whole)
        patterns = [whole] if is_one else [pattern.strip() for pattern in whole.split(",")]
        paths: set[str] = set()
        for pattern in patterns:
            found = _matches(pattern)
            if not found and os.path.isdir(os.path.expanduser(pattern)):
                raise InputError(f"text:{pattern} is a folder; for the files in it write 'text:{inside(pattern)}'")
            if not found:
                raise InputError(
                    f"text:{pattern} matches no file; give a file or, in quotes, a pattern: 'text:folder/**/*.txt'"
                    + (" (a [ in a name is written [[])" if "[" in pattern else "")
                )
            paths |= found
        for path in sorted(paths):
            if not path.endswith(SUFFIXES):
                raise InputError(f"{path}: cannot read this kind of file; wanted {', '.join(SUFFIXES)}")
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


def _open_file(path: str) -> Iterator[tuple[File, int]]:
    """The independent pieces of a file, each with its size in bytes on disk."""
    size = os.path.getsize(path)
    if path.endswith((".txt", ".txt.gz", ".md")):
        yield TextFile(path), size
    elif path.endswith(".jsonl"):
        for start in range(0, max(size, 1), documents.PART):
            yield JsonLines(path, start, start + documents.PART), min(documents.PART, size - start)
    elif path.endswith((".jsonl.gz", ".jsonl.zst")):
        yield JsonLines(path), size
    else:
        yield from _row_groups(path, size)


@dataclasses.dataclass(frozen=True)
class TextFile:
    """A document, or several if it is long: each piece is then split by itself, so that one book can be split."""

    path: str

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        with _reader(self.path) as file:
            found = pieces(_decode(self.path, file))
            first, second = next(found, ""), next(found, None)
            if second is None:
                if keep is None or 0 in keep:
                    yield 0, Document(self.path, first, "")
                return
            for k, piece in enumerate(itertools.chain([first, second], found)):
                if keep is None or k in keep:
                    yield k, Document(f"{self.path}#{k}", piece, "")


@dataclasses.dataclass(frozen=True)
class JsonLines:
    """One JSON object per line, with a text field and perhaps an id; of a plain file, lines that begin in a range."""

    path: str
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
        try:
            row = json.loads(line)
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InputError(f"{self._where(offset)}: byte 0x{byte:02x} is not UTF-8 text; convert the file") from None
        except json.JSONDecodeError as error:
            raise InputError(
                f"{self._where(offset)}: not JSON ({error.msg}, column {error.colno}); wanted one object per line"
            ) from None
        if not isinstance(row, dict) or "text" not in row:
            found = f"it has {', '.join(map(repr, row)) or 'no field'}" if isinstance(row, dict) else "not an object"
            raise InputError(f"{self._where(offset)}: no field 'text' ({found}); rename the field that holds the text")
        if not isinstance(row["text"], str):
            raise InputError(f"{self._where(offset)}: field 'text' holds {row['text']!r:.40}; wanted a string")
        name = str(row.get("id", f"{self.path}#{self.start}.{k}"))
        return Document(name, _without_surrogates(row["text"]), "")

    def _where(self, offset: int) -> str:
        """File and line number of an offset; reads the file again, as only errors need it."""
        with _reader(self.path) as file:
            number = 1
            while offset > 0 and (block := file.read(min(offset, 2**20))):
                number += block.count(b"\n")
                offset -= len(block)
        return f"{self.path}, line {number}"


def _row_groups(path: str, size: int) -> Iterator[tuple[File, int]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, groups = file.schema_arrow, file.num_row_groups if file.metadata.num_rows else 0
    except pyarrow.ArrowException as error:
        raise InputError(f"{path}: not a readable Parquet file ({first_line(error)}); write it again") from None
    if "text" not in schema.names:
        raise InputError(
            f"{path}: no column 'text' (it has {', '.join(schema.names)}); rename the one that holds the text"
        )
    kind = schema.field("text").type
    if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise InputError(f"{path}: column 'text' holds {kind}; wanted strings")
    for group in range(max(groups, 1)):
        yield ParquetGroup(path, group if groups else None, "id" in schema.names), size // max(groups, 1)


@dataclasses.dataclass(frozen=True)
class ParquetGroup:
    """One row group of a Parquet file: a text column, perhaps an id column."""

    path: str
    group: int | None  # None: the file has no row
    has_id: bool

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        import pyarrow.parquet

        if self.group is None:
            yield 0, Document(self.path, "", "")
            return
        k = 0
        columns = ["text", "id"] if self.has_id else ["text"]
        with pyarrow.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(256, row_groups=[self.group], columns=columns):
                texts = batch.column("text")
                ids = batch.column("id") if self.has_id else None
                for i in range(len(texts)):
                    if keep is None or k in keep:
                        name = str(ids[i].as_py()) if ids is not None else f"{self.path}#{self.group}.{k}"
                        yield k, Document(name, texts[i].as_py() or "", "")
                    k += 1


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
