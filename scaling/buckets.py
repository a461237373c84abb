"""Folders in buckets: gs://bucket/folder of Google Cloud Storage, s3://bucket/folder of S3.

A bucket has objects, and no folders, links or renames. An object is replaced in one step and is seen everywhere at
once, and one that must be new can be asked for: of two writers the second is refused (a generation of 0 on GCS,
If-None-Match on S3). On these two the rest is built (docs/buckets.md).

`Bucket` is a path of these, so that what reads and writes small files of a study need not know where it lies. What
only a disk can do raises InputError there, since such a path has no name that the system knows.

gcsfs and s3fs speak to the stores. They take the credentials that the platform gives, wait and ask again where a store
is busy (429, 503), and are imported when the first bucket is looked at.
"""

import contextlib
import errno
import functools
import io
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path, PosixPath
from typing import Any, BinaryIO, NoReturn, TypeVar

from scaling.errors import InputError, one_line

T = TypeVar("T")
R = TypeVar("R")
SCHEMES = {"gs": "gcsfs", "s3": "s3fs"}  # and what speaks to them
AT_ONCE = 16  # requests
TRIES = 8  # of a request to S3
EXTRA = ".[buckets]"


class NoStore(InputError):
    """A place in a bucket that cannot be asked about, whatever is there."""


def is_url(text: str) -> bool:
    """Whether this names a place in a bucket."""
    return re.match(r"(gs|s3):/", text) is not None


class Bucket(PosixPath):
    """gs://bucket/folder as a path: its parts, and the few things that our own files need of it."""

    def __str__(self) -> str:
        scheme, *parts = self.parts
        return f"{scheme}//{'/'.join(parts)}"

    def __repr__(self) -> str:
        return f"Bucket({str(self)!r})"

    def __fspath__(self) -> NoReturn:
        raise InputError(f"{self}: a place in a bucket, and this needs a folder or a file on a disk; name one")

    @property
    def scheme(self) -> str:
        return self.parts[0][:-1]

    @property
    def key(self) -> str:
        """As the store has it: bucket/folder/object."""
        return "/".join(self.parts[1:])

    def is_absolute(self) -> bool:
        return True

    def absolute(self) -> "Bucket":
        return self

    def resolve(self, strict: bool = False) -> "Bucket":
        return self

    def exists(self, **_: Any) -> bool:
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self, **_: Any) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return stat.S_ISDIR(self.stat().st_mode)
        return False

    def is_file(self, **_: Any) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return stat.S_ISREG(self.stat().st_mode)
        return False

    def is_symlink(self) -> bool:
        return False

    def is_fifo(self) -> bool:
        return False

    def stat(self, **_: Any) -> os.stat_result:
        """Size, and when it was written by the store's clock; `st_ino` differs for each version of an object."""
        return as_stat(remembered("info", self, lambda: _asked(self, lambda fs: fs.info(self.key))))

    lstat = stat

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Nothing: a folder is there while something is in it."""

    def read_bytes(self) -> bytes:
        return remembered("read", self, lambda: _asked(self, lambda fs: fs.cat_file(self.key)))

    def read_text(self, encoding: str | None = None, errors: str | None = None, **_: Any) -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def write_bytes(self, data: Any) -> int:
        """Replaces the object in one step."""
        _asked(self, lambda fs: fs.pipe_file(self.key, bytes(data)))
        return len(data)

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    def touch(self, *_: Any, **__: Any) -> None:
        """Writes it anew, so that its time is now by the store's clock."""
        self.write_bytes(b"1")

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            _asked(self, lambda fs: fs.rm_file(self.key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def iterdir(self) -> "Generator[Bucket]":
        yield from (self / name for name in listing(self))


def named(path: Bucket) -> Bucket:
    """The path, which has to be in a bucket. Of gs:// a file in it would be one.

    Raises:
        NoStore: it names none.
    """
    if len(path.parts) < 2:
        raise NoStore(f"{path}: no bucket is named; wanted {path.scheme}://BUCKET/FOLDER")
    return path


def create(path: Bucket, content: bytes) -> None:
    """Writes an object that is not there yet. Of several who try, one succeeds.

    Raises:
        FileExistsError: it is there.
    """
    try:
        _asked(path, lambda fs: fs.pipe_file(path.key, content, mode="create"))
    except FileNotFoundError:
        raise
    except OSError as error:  # also of a store that says it otherwise, or a second try after an answer that was lost
        try:
            there = _asked(path, lambda fs: fs.cat_file(path.key))
        except FileNotFoundError:
            raise error from None
        if there != content:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None


def listing(folder: Bucket) -> dict[str, os.stat_result]:
    """What lies in a folder itself, by name; nothing where there is no such folder."""

    def ask() -> dict[str, os.stat_result]:
        try:
            found = _asked(folder, lambda fs: fs.ls(folder.key, detail=True))
        except FileNotFoundError:
            return {}
        names = ((each["name"].rstrip("/").removeprefix(f"{folder.key}/"), each) for each in found)
        return {name: as_stat(each) for name, each in names if name and "/" not in name}

    return remembered("ls", folder, ask)


def below(folder: Bucket) -> dict[str, os.stat_result]:
    """All objects in a folder and the folders in it, by their names from there."""
    try:
        found = _asked(folder, lambda fs: fs.find(folder.key, detail=True))
    except FileNotFoundError:
        return {}
    within = f"{folder.key}/"
    return {
        name.removeprefix(within): as_stat(each)
        for name, each in found.items()
        if name.startswith(within) and each["type"] == "file" and name != within
    }


def remove(folder: Bucket, *, first: str = "") -> None:
    """Deletes all objects in a folder and below.

    Args:
        first: an object that has to be gone before any other.
    """
    names = [*below(folder)]
    if first in names:
        (folder / first).unlink(missing_ok=True)
        names.remove(first)
    each(lambda name: (folder / name).unlink(missing_ok=True), names)


def copy(folder: Bucket, to: Bucket, names: Iterable[str] | Mapping[str, str]) -> None:
    """Copies objects from one folder to another, within the store.

    Args:
        names: below the folder; a mapping also says what each is called there.

    Raises:
        FileNotFoundError: one is gone.
    """
    pairs = names.items() if isinstance(names, Mapping) else ((name, name) for name in names)
    each(lambda pair: _copied(folder / pair[0], to / pair[1]), pairs)


def _copied(path: Bucket, to: Bucket) -> None:
    _asked(path, lambda fs: fs.cp_file(path.key, to.key))


def check(folder: Bucket) -> None:
    """Finds out whether the store refuses a second writer, without which nobody could claim anything.

    Raises:
        InputError: it does not.
        OSError: it does not answer, or may not be written to.
    """
    probe = folder / f".new.{os.getpid()}.{time.time_ns()}"
    create(probe, b"1")
    try:
        create(probe, b"2")
    except FileExistsError:
        return
    finally:
        probe.unlink(missing_ok=True)
    raise InputError(
        f"{folder}: this store takes a second object of one name where a new one is asked for, so two processes could "
        "train the same runs; use another store, or one with conditional writes (docs/buckets.md)"
    )


def upload(folder: Path, to: Bucket, names: Iterable[str]) -> None:
    """Copies files of a folder on this machine into a bucket; each is there whole or not at all."""
    each(lambda name: _asked(to / name, lambda fs: fs.put_file(str(folder / name), (to / name).key)), names)


def download(folder: Bucket, to: Path, names: Iterable[str]) -> None:
    """Copies objects to a folder on this machine.

    Raises:
        FileNotFoundError: one is gone.
    """

    def one(name: str) -> None:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        _asked(folder / name, lambda fs: fs.get_file((folder / name).key, str(to / name)))

    each(one, names)


def opened(path: Bucket) -> BinaryIO:
    """An object, to be read from anywhere in it."""
    size = path.stat().st_size
    return io.BytesIO() if not size else _asked(path, lambda fs: fs.open(path.key, "rb"))


def first_bytes(path: Bucket, most: int) -> bytes:
    """As `read_bytes`, but no more than so many."""

    def ask() -> bytes:
        try:
            return _asked(path, lambda fs: fs.cat_file(path.key, start=0, end=most))
        except FileNotFoundError:
            raise
        except OSError:  # no range of an object without bytes
            if path.stat().st_size:
                raise
            return b""

    return remembered(f"read {most}", path, ask)


def each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """The answers of a function that waits for a store, several at once."""
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    memory = getattr(_local, "memory", None)

    def one(item: T) -> R:
        _local.memory = memory
        return function(item)

    with ThreadPoolExecutor(min(AT_ONCE, len(items)), "bucket") as pool:
        return list(pool.map(one, items))


# --- what was asked a moment ago

_local = threading.local()


@contextlib.contextmanager
def one_look() -> Iterator[None]:
    """While this lasts, this thread does not ask again for what it has read or looked up: a look as of now."""
    if getattr(_local, "memory", None) is not None:
        yield
        return
    _local.memory = {}
    try:
        yield
    finally:
        _local.memory = None


def remembered(what: str, path: Bucket, ask: Callable[[], T]) -> T:
    memory: dict[Any, Any] | None = getattr(_local, "memory", None)
    key = (what, str(path))
    if memory is None:
        return ask()
    if key not in memory:
        try:
            memory[key] = ask()
        except FileNotFoundError as error:
            memory[key] = error
    found = memory[key]
    if isinstance(found, FileNotFoundError):
        raise found
    return found


# --- the stores

_lock = threading.Lock()


def _store(path: Bucket) -> Any:
    with _lock:
        return _connected(path.scheme, os.getpid())


@functools.cache
def _connected(scheme: str, process: int) -> Any:
    """What speaks to the stores of a scheme. It remembers no listings: others write there too."""
    package = SCHEMES[scheme]
    logging.getLogger(package).setLevel(logging.CRITICAL)  # what fails is raised as well
    try:
        if scheme == "gs":
            from gcsfs.core import GCSFileSystem  # pyright: ignore[reportMissingImports] # optional

            local = os.environ.get("STORAGE_EMULATOR_HOST")  # where nobody asks for credentials
            return GCSFileSystem(token="anon" if local else "google_default", use_listings_cache=False)
        from s3fs import S3FileSystem  # pyright: ignore[reportMissingImports] # optional
        from s3fs.core import set_custom_error_handler  # pyright: ignore[reportMissingImports] # optional

        set_custom_error_handler(_is_busy)
        retries = {"retries": {"mode": "standard", "max_attempts": TRIES}}
        return S3FileSystem(use_listings_cache=False, config_kwargs=retries)
    except ImportError:
        raise NoStore(
            f"{scheme}:// needs the package {package}; install it in the clone with .venv/bin/pip install '{EXTRA}', "
            "or name a folder"
        ) from None


def _is_busy(error: Exception) -> bool:
    """Whether S3 wants to be asked again; an answer to HEAD has no body, and so no code that boto knows."""
    told = getattr(error, "response", None) or {}
    return told.get("ResponseMetadata", {}).get("HTTPStatusCode") in (429, 503)


def _asked(path: Bucket, ask: Callable[[Any], T]) -> T:
    """The answer of a store.

    Raises:
        FileNotFoundError, FileExistsError: with `path` as their file name.
        OSError: it gave none, or refused; why in a line.
        NoStore: its package is not installed, or the path names no bucket.
    """
    named(path)
    try:
        return ask(_store(path))
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
    except InputError:
        raise
    except Exception as error:  # of many packages: of the network, of credentials, of the store itself
        code = errno.EACCES if isinstance(error, PermissionError) or "Forbidden" in str(error) else errno.EHOSTUNREACH
        raise OSError(code, one_line(error)[:300] or type(error).__name__, str(path)) from error


def as_stat(told: dict[str, Any]) -> os.stat_result:
    if told.get("type") == "directory":
        return os.stat_result((stat.S_IFDIR, *[0] * 9))
    when = told.get("mtime") or told.get("updated") or told.get("LastModified") or 0
    seconds = _seconds(when)
    version = str(told.get("generation") or told.get("etag") or told.get("ETag") or "")
    number = int.from_bytes(version.encode()[-12:], "big")
    row = (stat.S_IFREG, number, 0, 1, 0, 0, int(told.get("size") or 0), 0, int(seconds), 0)
    return os.stat_result(row, {"st_mtime": seconds, "st_mtime_ns": int(seconds * 1e9)})


def _seconds(when: Any) -> float:
    import datetime

    if isinstance(when, str):
        when = datetime.datetime.fromisoformat(when.replace("Z", "+00:00"))
    return when.timestamp() if isinstance(when, datetime.datetime) else float(when)
