"""What is printed is shown, and never obeyed: names, texts and messages of files may hold control characters.

A terminal takes some of them as commands: to clear itself, to write over a line, to turn the order of letters round.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, TextIO

CONTROL = [n for n in (*range(0x20), *range(0x7F, 0xA0)) if chr(n) not in "\n\t"]
TURNING = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0x2028, 0x2029]  # Unicode's bidi
SHOWN = {n: f"\\x{n:02x}" if n < 256 else f"\\u{n:04x}" for n in (*CONTROL, *TURNING)}


class _Shown:
    """A stream of text in which control characters are spelled out."""

    def __init__(self, stream: TextIO):
        self.obeyed = stream

    def write(self, text: str) -> int:
        self.obeyed.write(text.translate(SHOWN))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.obeyed, name)


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Everything that is printed meanwhile, but for what is written to `obeyed`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (stream if isinstance(stream, _Shown) else _Shown(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def obeyed(stream: TextIO) -> TextIO:
    """The stream for control characters of our own."""
    return stream.obeyed if isinstance(stream, _Shown) else stream
