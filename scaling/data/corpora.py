"""Where text comes from. Every source is an iterator of documents, read in independent parts.

    python                the .py files of this project's own dependencies: always there, no download
    python:stdlib         the standard library: another distribution of the same language, for transfer
    text:GLOB[,GLOB...]   .txt[.gz], .md, .jsonl[.gz|.zst], .parquet
    tfds:NAME[/CONFIG]    TensorFlow Datasets, prepared beforehand; ?split=..., ?field=..., ?data_dir=...
    synthetic:...         a generated language of known entropy (`scaling.data.synthetic`)

A corpus consists of files (or pieces of files) that know how to yield their documents; a part is a few of them. Files
pickle, so that parts can be read by several processes, and a document is found again by its place in its part.
"""

import codecs
import contextlib
import dataclasses
import functools
import glob
import gzip
import hashlib
import importlib.metadata
import io
import itertools
import json
import os
import re
import sys
import sysconfig
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple, Protocol, cast

from scaling.errors import InputError

PIECE = 2**14  # characters: longer text and Python files are cut, at the end of a paragraph where there is one
BLOCK = 2**20  # bytes read at once
PART = 2**22  # bytes on disk that one part should hold, and at which plain .jsonl files are cut
LOOK = 10_000  # files of a folder that are looked at to say how its text is named
SUFFIXES = (".txt", ".txt.gz", ".md", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
STDLIB_WITHOUT = {"test", "tests", "idle_test", "encodings", "idlelib", "lib2to3", "site-packages", "dist-packages"}
LATER = {"markupsafe"}  # dependencies that came after the first runs on source python, whose text must stay as it was
USAGE = "python, python:stdlib, text:GLOB, tfds:NAME, synthetic:KEY=VALUE,... or tokens:ID"


class Document(NamedTuple):
    """Text with a name, and the group that a split into training and validation must not tear apart; "": itself alone.

    A document that stands alone is split by its text, so that the same files in another folder give the same tokens.
    """

    id: str
    text: str
    group: str


class File(Protocol):
    """Something that holds documents. A file of no text yields one empty document, so that it can be counted."""

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        """Documents with their number in the file, in order; of those numbered in `keep` only, unless it is None."""
        ...


Part = Sequence[File]


class Corpus(Protocol):
    """A source of text."""

    @property
    def source(self) -> str: ...

    @property
    def drops_near_duplicates(self) -> bool:
        """Whether near-duplicates are removed, beside exact ones."""
        ...

    @property
    def entropy_rate(self) -> float | None:
        """The least loss that a model can reach, nats per byte, where it is known."""
        ...

    def signature(self) -> str:
        """Changes when the text may have changed; cheap, as no text is read."""
        ...

    def parts(self) -> list[Part]: ...


def open_corpus(source: str) -> Corpus:
    """The corpus that `source` names.

    Raises:
        InputError: an unknown kind of source, or nothing there.
    """
    kind, _, rest = source.partition(":")
    match kind:
        case "python" if rest in ("", "stdlib"):
            return PythonCorpus(source)
        case "text" if rest:
            return TextCorpus(source)
        case "tfds" if rest:
            from scaling.data.tfds import TfdsCorpus

            return TfdsCorpus(source)
        case "synthetic":
            from scaling.data.synthetic import SyntheticCorpus

            return SyntheticCorpus(source)
    if os.path.exists(os.path.expanduser(source)):
        hint = _inside(source) if os.path.isdir(os.path.expanduser(source)) else source
        raise InputError(f"unknown source {source!r}; for files on disk write text:{hint}")
    raise InputError(f"unknown source {source!r}; wanted {USAGE}")


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


# Python sources


@dataclasses.dataclass(frozen=True)
class PythonCorpus:
    """Python source code: of the project's dependencies, or of the standard library.

    The dependencies are those of this project as installed, with theirs and so on, without optional extras. They are
    pinned, so that two installations from the same lock file on the same platform hold the same text.
    """

    source: str
    drops_near_duplicates: bool = True
    entropy_rate: None = None

    def signature(self) -> str:
        if self.source == "python:stdlib":
            return _hash(["stdlib", sys.version])
        return _hash([d.read_text("RECORD") or d.version for d in _dependencies("scaling")])

    def parts(self) -> list[Part]:
        files = self._stdlib() if self.source == "python:stdlib" else self._installed()
        return _gather([(file, os.path.getsize(file.path)) for file in files])

    def _installed(self) -> Iterator["PythonFile"]:
        for distribution in _dependencies("scaling"):
            name = distribution.metadata["Name"]
            for record in sorted(distribution.files or (), key=str):
                path = str(distribution.locate_file(record))
                if record.suffix == ".py" and os.path.isfile(path):
                    yield PythonFile(path, str(record), f"{name}/{record.parent}")

    def _stdlib(self) -> Iterator["PythonFile"]:
        root = sysconfig.get_paths()["stdlib"]
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(set(folders) - STDLIB_WITHOUT)
            for name in sorted(names):
                if name.endswith(".py"):
                    path = os.path.join(folder, name)
                    relative = os.path.relpath(path, root)
                    yield PythonFile(path, f"stdlib/{relative}", os.path.dirname(f"stdlib/{relative}"))


@dataclasses.dataclass(frozen=True)
class PythonFile:
    """A module. Installed packages hold a few files that are not UTF-8; they count as empty."""

    path: str
    name: str
    group: str

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        try:
            with open(self.path, "rb") as file:
                text = file.read().decode()
        except UnicodeDecodeError:
            text = ""
        for k, piece in enumerate(_pieces(iter([text])) if text else [""]):
            if keep is None or k in keep:
                yield k, Document(f"{self.name}#{k}" if k or len(piece) < len(text) else self.name, piece, self.group)


def _dependencies(project: str) -> list[importlib.metadata.Distribution]:
    """Every installed distribution that `project` needs, directly or not, in order of name: not itself, not `LATER`."""
    from packaging.requirements import Requirement

    found: dict[str, importlib.metadata.Distribution] = {}
    todo = [project]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise InputError(
                f"source python: {name} is not installed; install this project with its dependencies"
            ) from None
        requirements = map(Requirement, found[name].requires or ())
        todo += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [found[name] for name in sorted(found.keys() - {project, *LATER})]


# Files of text


@dataclasses.dataclass(frozen=True)
class TextCorpus:
    """Files on disk, by glob patterns; ** and ~ work."""

    source: str
    drops_near_duplicates: bool = False
    entropy_rate: None = None

    def signature(self) -> str:
        return _hash([_stamp(path) for path in self._paths])

    def parts(self) -> list[Part]:
        return _gather([item for path in self._paths for item in _open_file(path)])

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
                raise InputError(f"text:{pattern} is a folder; for the files in it write 'text:{_inside(pattern)}'")
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


def _inside(folder: str) -> str:
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
        for start in range(0, max(size, 1), PART):
            yield JsonLines(path, start, start + PART), min(PART, size - start)
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
            pieces = _pieces(_decode(self.path, file))
            first, second = next(pieces, ""), next(pieces, None)
            if second is None:
                if keep is None or 0 in keep:
                    yield 0, Document(self.path, first, "")
                return
            for k, piece in enumerate(itertools.chain([first, second], pieces)):
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


def _pieces(blocks: Iterator[str]) -> Iterator[str]:
    """The same text in pieces of at most PIECE characters, cut after a paragraph, else a line, else anywhere."""
    held = ""
    for block in blocks:
        held += block
        start = 0
        while len(held) - start > PIECE:
            low, high = start + PIECE // 2, start + PIECE
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


def _without_surrogates(text: str) -> str:
    """JSON can spell halves of UTF-16 pairs, which are no characters: U+FFFD stands for each."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _gather(files: Sequence[tuple[File, int]]) -> list[Part]:
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


def _stamp(path: str) -> str:
    status = os.stat(path)
    return f"{os.path.abspath(path)} {status.st_size} {status.st_mtime_ns}"


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
