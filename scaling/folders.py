"""Where things lie on a user's machine, how a file is replaced, and how one that somebody names is read."""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from scaling import buckets
from scaling.buckets import Bucket
from scaling.errors import InputError

MOST = 2**28  # bytes of a file that is read into memory
VALUES = 2**22  # of JSON in one file
SEAL = "sha256"  # the field of a JSON object with the checksum of the others
LAST = "checksums.json"  # of the files of a checkpoint the one that is written last
DIGITS = 300  # of a whole number, which a float of 64 bits still holds


class Changed(InputError):
    """A file was written with its checksum, and is not what was written."""


def cache() -> Path:
    """Packed tokens, tokenizers and compiled programs: $SCALING_CACHE, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return on_disk(Path(os.environ.get("SCALING_CACHE") or Path(home) / "scaling"), "SCALING_CACHE=")


def staging(of: Bucket) -> Path:
    """A new folder on this disk for what goes to a place in a bucket; those of earlier processes are deleted."""
    root, name = cache() / "staging", hashlib.sha256(str(of).encode()).hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    for before in root.glob(f"{name}-*"):
        shutil.rmtree(before, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=root))


def place(name: Path | str) -> Path:
    """The folder or file of that name, on a disk or in a bucket.

    Raises:
        InputError: a scheme that is none of a bucket, or one without a bucket.
    """
    if isinstance(name, Bucket):
        return name
    return buckets.named(Bucket(name)) if buckets.is_url(str(name)) else on_disk(name)


def on_disk(path: Path | str, option: str = "") -> Path:
    """The path, which has to lie on a disk: of gs://b/x Python would make a local folder called gs: without a word.

    Args:
        option: by which it was given.

    Raises:
        InputError: it begins with a scheme.
    """
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", str(path))  # Path makes one slash of two
    if found:
        place = f"{found[1]}://{str(path)[found.end() :]}"
        raise InputError(
            f"{option}{place}: {found[1]}: is no folder on a disk, which is wanted here; copy it or mount the bucket, "
            "see docs/buckets.md"
        )
    return Path(path)


def keep_programs() -> None:
    """Has JAX keep every compiled program in the cache folder; to be called before JAX is imported."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache() / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")  # compiled again instead


def write_json(path: Path, value: Any) -> None:
    """`write`, of a value as JSON."""
    write(path, json.dumps(value, indent=1).encode())


def write(path: Path, content: bytes | str) -> None:
    """Replaces `path` in one step, so that a reader or a crash finds the old or the new, never half of one.

    What a link leads to is replaced, not the link, and keeps its permissions. A device or a pipe is written to.

    Args:
        content: text is written as UTF-8, with a question mark for what is none, as in some file names.

    Raises:
        OSError: with `path` as its file name.
    """
    if isinstance(path, Bucket):
        path.write_bytes(_encoded(content))
        return
    with _named(on_disk(path)):
        if _is_stream(path):
            with path.open("ab") as file:
                file.write(_encoded(content))
            return
        path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _beside(path, content) as new:
            if path.is_file():
                new.chmod(stat.S_IMODE(path.stat().st_mode))
            os.replace(new, path)


def write_new(path: Path, content: bytes | str) -> None:
    """`write`, of a file that is not there yet.

    Raises:
        FileExistsError: it is.
        OSError: with `path` as its file name.
    """
    if isinstance(path, Bucket):
        buckets.create(path, _encoded(content))
        return
    with _named(on_disk(path)), _beside(path, content) as new:
        try:
            os.link(new, path)  # unlike os.replace, it refuses to replace
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links
            with path.open("xb") as file:
                file.write(_encoded(content))


def try_file(path: Path) -> None:
    """Finds out whether `write` could write a small file here, and leaves nothing behind.

    Raises:
        InputError: it could not.
    """
    if isinstance(path, Bucket):
        _try_object(path)
        return
    if on_disk(path).is_dir():
        raise InputError(f"{path}: a folder; wanted the name of a file")
    if _is_stream(path):
        return
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it, or choose another")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{path}: may not be written to; choose another file")
    try:
        with _beside(path, b"0" * 4096):
            pass
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; choose another file or folder") from None


def _try_object(path: Bucket) -> None:
    probe = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        probe.write_bytes(b"0")
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; choose another file or folder, see docs/buckets.md") from None


def _is_stream(path: Path) -> bool:
    """Whether what is written here goes to a device or a pipe, such as /dev/stdout, whatever that may be."""
    special = path.absolute().parts[1:2] in (("dev",), ("proc",))
    return path.exists() and not path.is_dir() and (special or not path.is_file())


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the system carry the name of the file that was asked for."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextlib.contextmanager
def _beside(path: Path, content: bytes | str) -> Iterator[Path]:
    """A whole file with this content in the folder of `path`, as long as nobody moves it."""
    new = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        with new.open("wb") as file:
            file.write(_encoded(content))
            file.flush()
            os.fsync(file.fileno())
        yield new
    finally:
        new.unlink(missing_ok=True)


def _encoded(content: bytes | str) -> bytes:
    return content.encode("utf-8", "replace") if isinstance(content, str) else content


@contextlib.contextmanager
def opened(path: Path, what: str) -> Iterator[BinaryIO]:
    """A plain file, opened to be read: what was looked at is what is read, and a pipe is nothing to wait for.

    Args:
        what: was wanted, for the message.

    Raises:
        FileNotFoundError: there is none.
        InputError: it is a folder, a device or a pipe, or may not be read.
    """
    if isinstance(path, Bucket):
        with buckets.opened(path) as file:
            yield file
        return
    try:
        number = os.open(on_disk(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; wanted {what}") from None
    mode = os.fstat(number).st_mode
    if not stat.S_ISREG(mode):
        os.close(number)
        raise InputError(f"{path}: {'a folder' if stat.S_ISDIR(mode) else 'a device or pipe'}; wanted {what}")
    with open(number, "rb") as file:
        yield file


def content(path: Path, what: str, most: int) -> bytes:
    """All bytes of a plain file.

    Raises:
        FileNotFoundError: there is none.
        InputError: as `opened`, or more than `most` bytes.
        OSError: of a bucket, which does not answer: that says nothing about the file.
    """
    if isinstance(path, Bucket):
        found = buckets.first_bytes(path, most + 1)
        if len(found) > most:
            raise InputError(f"{path}: more than {most:,} bytes; wanted {what} of at most so many")
        return found
    with opened(path, what) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise InputError(f"{path}: {size:,} bytes; wanted {what} of at most {most:,}")
        try:
            return file.read(size)  # of a file that grows, what it was when it was opened
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; wanted {what}") from None


def read_bytes(path: Path, what: str) -> bytes:
    """The content of a file that somebody names.

    Args:
        what: was wanted, for the message.

    Raises:
        InputError: it is not there, no file (but a device, a pipe, a folder), or longer than `MOST`.
    """
    try:
        return content(path, what, MOST)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; wanted {what}") from None


def read_text(path: Path, what: str) -> str:
    """The text of a file that somebody names.

    Raises:
        InputError: as `read_bytes`, or not UTF-8.
    """
    return _text(path, read_bytes(path, what), what)


def read_json(path: Path, what: str, *, changed: bool = False) -> Any:
    """The value in a file of JSON that somebody names, without its checksum where it has one.

    Args:
        changed: whether an object is taken that is not what was written, by its checksum.

    Raises:
        InputError: as `read_bytes` and `json_of`.
        Changed: an object that was changed after it was written.
    """
    return unsealed(json_of(path, read_bytes(path, what), what), str(path), changed=changed)


def unsealed(found: Any, name: str, *, changed: bool = False) -> Any:
    """A value of JSON without its checksum, where it has one.

    Args:
        name: what it is, or where it lies, for messages.
        changed: as `read_json` has it.

    Raises:
        Changed: an object that was changed after it was written.
    """
    if not isinstance(found, dict) or SEAL not in found:
        return found
    rest = {field: value for field, value in found.items() if field != SEAL}
    if not changed and found[SEAL] != checksum(rest):
        raise Changed(
            f"{name}: changed after it was written, by its checksum; make it again, or delete its field {SEAL!r} to "
            "have it taken as it is"
        )
    return rest


def checksum(values: Mapping[str, Any]) -> str:
    """Of the values of a JSON object, however it is laid out."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its checksum.

    Raises:
        InputError: it has a field of that name.
    """
    if SEAL in values:
        raise InputError(f"{SEAL!r} is the name of the checksum; take another")
    return {**values, SEAL: checksum(values)}


def json_of(path: Path, raw: bytes, what: str, *, finite: bool = True) -> Any:
    """The value of the JSON in the bytes of a file.

    Args:
        finite: whether NaN, numbers of no end, and whole numbers beyond what a float holds are refused.

    Raises:
        InputError: not UTF-8, or no JSON as `json_in` wants it.
    """
    limits: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite, "parse_int": _bounded}
    try:
        return json_in(_text(path, raw, what), VALUES, **(limits if finite else {}))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path}: no JSON ({error}); wanted {what}") from None


def _text(path: Path, raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {error.start}"
        raise InputError(f"{path}: no text in UTF-8 ({where}); wanted {what}") from None


def json_in(
    text: str,
    most: float = math.inf,
    parse_int: Callable[[str], Any] | None = None,
    parse_float: Callable[[str], Any] | None = None,
    parse_constant: Callable[[str], Any] | None = None,
) -> Any:
    """The value of a JSON text from elsewhere.

    Args:
        most: values that it may hold: what they take in memory is up to a hundred times their text.
        parse_int, parse_float, parse_constant: what becomes of numbers and of NaN, as `json.loads` has it.

    Raises:
        ValueError: not JSON, a name twice in an object, nesting without end, more values.
    """
    if len(text) > most and sum(map(text.count, ",[{")) > most:
        raise ValueError(f"more than {most:,} values")
    try:
        return json.loads(
            text,
            object_pairs_hook=_once,
            parse_int=parse_int,
            parse_float=parse_float,
            parse_constant=parse_constant,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{twice[:40]!r} is there twice")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant[:40]} is no finite number")


def _finite(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _refuse(text)


def _bounded(text: str) -> int:
    return int(text) if len(text) < DIGITS else _refuse(text)


def own(path: Path) -> bool:
    """Whether what lies there is a folder, or nothing; what is written below a link would land elsewhere."""
    if isinstance(path, Bucket):  # which has no links
        return True
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def saved_steps(pack: Path) -> list[int]:
    """The updates after which a pack has a checkpoint, by the names of their folders alone.

    In a bucket, where they come object by object, by those that have their last one.
    """
    root = pack / "checkpoints"
    if isinstance(root, Bucket):
        return sorted(step for step in _numbers(buckets.listing(root)) if (root / f"{step}" / LAST).exists())
    try:
        return sorted(_numbers(os.listdir(root)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _numbers(names: Iterable[str]) -> list[int]:
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def there(path: Path) -> bool:
    """Whether something lies there, be it a link to nothing."""
    return path.exists() if isinstance(path, Bucket) else os.path.lexists(path)


def move(path: Path, to: Path) -> None:
    """Renames a file or a folder to a place in a folder that need not be there yet.

    In a bucket, object by object, within the store.
    """
    if isinstance(path, Bucket):
        assert isinstance(to, Bucket)
        if names := list(buckets.below(path)):
            buckets.copy(path, to, names)
            buckets.remove(path, first=LAST)
        else:
            buckets.copy(path.parent, to.parent, {path.name: to.name})
            path.unlink()
        return
    to.parent.mkdir(exist_ok=True)
    os.replace(path, to)


def remove(path: Path) -> None:
    """Deletes a folder with all that is in it, as far as that is possible."""
    if isinstance(path, Bucket):
        with contextlib.suppress(OSError):
            buckets.remove(path)
        return
    shutil.rmtree(path, ignore_errors=True)
