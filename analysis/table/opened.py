"""What a file holds, read with a bound: an endless, packed, cut or binary file ends in one line."""

import gzip
import zlib
from pathlib import Path
from typing import Any

from scaling import folders
from scaling.errors import InputError

MOST = 2**29  # bytes of a log or a table as text
PACKED = b"\x1f\x8b"  # how gzip begins


def data(path: Path, most: int = MOST) -> bytes:
    """The bytes of a file, unpacked where it is gzip's.

    Raises:
        InputError: a folder, a device or a pipe, damaged, or more than so many bytes.
    """
    found = _bytes(path, most + 1)
    if len(found) > most:
        raise InputError(f"{path}: holds more than {most / 2**20:.0f} MiB; give the part with the runs, or a .parquet")
    return found


def head(path: Path, length: int = 2**18) -> bytes:
    """The first bytes of a file, unpacked; of a damaged one those before the damage."""
    return _bytes(path, length, whole=False)


def text(path: Path, what: str = "text") -> str:
    """A file as text, without its byte-order mark. what: it should be, for messages.

    Raises:
        InputError: as `data`, or not UTF-8.
    """
    found = data(path)
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        other = " (it looks like UTF-16)" if found[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        problem = f"not a {what} in UTF-8{other}: {error.reason} at byte {error.start}"
        raise InputError(f"{path}: {problem}; save it again in UTF-8") from error


def json_in(words: str) -> Any:
    """A JSON value; whole numbers of any length become numbers.

    Raises:
        ValueError: as `folders.json_in`.
    """
    return folders.json_in(words, parse_int=lambda digits: int(digits) if len(digits) < 18 else float(digits))


def _bytes(path: Path, most: int, *, whole: bool = True) -> bytes:
    found = bytearray()
    with folders.opened(path, "a file that ends") as plain:
        try:
            packed = plain.read(2) == PACKED
            plain.seek(0)
            file = gzip.GzipFile(fileobj=plain) if packed else plain
            while len(found) < most and (block := file.read(min(most - len(found), 2**20))):
                found += block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            if whole:
                raise InputError(f"{path}: damaged as a .gz ({error}); pack or fetch it again") from error
    return bytes(found)
