"""Files of ours as they are read again: bounded, typed, and compared with the checksum that they hold.

A folder may have been edited, damaged, or come from elsewhere. What is wrong with a file is one line: the file, the
field, what was found, what was wanted. Files of older versions hold no checksum; of these the fields alone are checked.
"""

import contextlib
import dataclasses
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from scaling import folders
from scaling.buckets import NoStore
from scaling.errors import InputError

SMALL = 2**20  # bytes of a file about one pack
LARGE = 2**26  # bytes of a file about a whole study or corpus: that of 40,000 runs


class Damaged(InputError):
    """A file is not what was written."""


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A value of a JSON file, and where it stands: `packs[3].runs[0].id`; the whole file has no name."""

    file: Path
    name: str
    value: Any

    def wrong(self, wanted: str) -> Damaged:
        where = f"{self.file}: {self.name}" if self.name else f"{self.file}"
        return Damaged(f"{where} is {shown(self.value)}, wanted {wanted}")

    def object(self) -> dict[str, Any]:
        if type(self.value) is not dict:
            raise self.wrong("an object")
        return self.value

    def __getitem__(self, key: str) -> "Field":
        if key not in self.object():
            raise Damaged(f"{self.file}: {self._below(key)} is missing")
        return Field(self.file, self._below(key), self.value[key])

    def get(self, key: str) -> "Field | None":
        """The field of that name; None where it is missing or null."""
        return None if self.object().get(key) is None else self[key]

    def items(self) -> "Iterator[Field]":
        if type(self.value) is not list:
            raise self.wrong("a list")
        return (Field(self.file, f"{self.name}[{i}]", value) for i, value in enumerate(self.value))

    def texts(self) -> dict[str, str]:
        """An object of texts."""
        return {key: self[key].text() for key in self.object()}

    def only(self, known: Collection[str]) -> None:
        """Refuses fields of other names."""
        for key in self.object():
            if key not in known:
                raise Damaged(f"{self.file}: {self._below(key)} is no field that this version knows")

    def text(self) -> str:
        if type(self.value) is not str:
            raise self.wrong("text")
        return self.value

    def hex(self, n: int) -> str:
        """A hash of n letters, which is also safe as a name."""
        if type(self.value) is not str or not re.fullmatch(f"[0-9a-f]{{{n}}}", self.value):
            raise self.wrong(f"{n} hexadecimal digits")
        return self.value

    def one_of(self, *known: Any) -> Any:
        if type(self.value) not in map(type, known) or self.value not in known:
            raise self.wrong(f"one of {', '.join(map(str, known))}")
        return self.value

    def whole(self, least: int = 0) -> int:
        if type(self.value) is not int or self.value < least:
            raise self.wrong(f"a whole number from {least} on")
        return self.value

    def number(self, above: float = -math.inf, least: float = -math.inf) -> float:
        known = type(self.value) in (int, float) and math.isfinite(self.value)
        if not known or self.value <= above or self.value < least:
            limit = f" above {above:g}" if above > -math.inf else f" from {least:g} on" if least > -math.inf else ""
            raise self.wrong(f"a number{limit}")
        return self.value

    def sealed(self) -> None:
        """Compares the file with its checksum, where it has one."""
        seal = folders.SEAL
        if seal in self.object():
            rest = {key: value for key, value in self.value.items() if key != seal}
            if self[seal].hex(64) != (found := folders.checksum(rest)):
                raise Damaged(
                    f"{self.file}: {seal} is {shown(self.value[seal])}, wanted {found[:12]}... of what the file holds: "
                    "it was changed after it was written"
                )

    def _below(self, key: str) -> str:
        key = key if re.fullmatch(r"[\w.:-]{1,80}", key) else shown(key)
        return f"{self.name}.{key}" if self.name else key


def shown(value: Any) -> str:
    """A value in a message: short, on one line."""
    text = repr(value) if isinstance(value, str | bytes) else json.dumps(value) if _flat(value) else _kind(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flat(value: Any) -> bool:
    return isinstance(value, int | float | None) and not (type(value) is int and value.bit_length() > 2**10)


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a long number"


def content(path: Path, most: int) -> bytes:
    """The bytes of a plain file.

    Raises:
        FileNotFoundError: there is none.
        Damaged: a folder, a device or a pipe, or more than `most` bytes.
    """
    with _damaged():
        return folders.content(path, "a file", most)


def read(path: Path, most: int = SMALL) -> Field:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: there is none.
        Damaged: no plain file of so many bytes, or no JSON object in UTF-8.
    """
    return parsed(path, content(path, most))


def parsed(file: Path, raw: bytes) -> Field:
    """As `read`, of the bytes of a file."""
    with _damaged():
        whole = Field(file, "", folders.json_of(file, raw, "a JSON object", finite=False))
    whole.object()
    return whole


@contextlib.contextmanager
def _damaged() -> Iterator[None]:
    """What is refused of a file that somebody names is damage in one of ours."""
    try:
        yield
    except NoStore:  # which says nothing of the file
        raise
    except InputError as error:
        raise Damaged(str(error)) from None


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Replaces a JSON file by one with a checksum."""
    put(path, json.dumps(folders.sealed(values), indent=1).encode())


def put(path: Path, content: bytes) -> None:
    """`folders.write`, in a folder that may come from elsewhere: a link or a pipe is replaced itself."""
    if path.is_symlink() or path.is_fifo():
        path.unlink()
    folders.write(path, content)
