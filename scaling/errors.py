"""What a person gave that cannot be used."""

import traceback
from collections.abc import Callable

from scaling.terminal import SHOWN

LONGEST = 1000  # characters of a message


class InputError(ValueError):
    """One line for the person at the keyboard: the value found, the value wanted, the way out. Exit code 2."""


def one_line(text: object) -> str:
    """Text as one line that a terminal shows and does not obey; the middle of a very long one is left out."""
    line = "".join(c if c.isprintable() else SHOWN.get(ord(c), "?") for c in " ".join(str(text).split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"


def place(error: BaseException, *wanted: Callable[[str], bool]) -> str:
    """An exception in one line, with the place that whoever reads it can do something about: FILE:LINE: Type: message.

    Args:
        wanted: of a file's name, the first that is true of some frame chooses the innermost of these; else the last.
    """
    frames = traceback.extract_tb(error.__traceback__)
    chosen = ([frame for frame in frames if each(frame.filename)] for each in wanted)
    at = next((found[-1] for found in chosen if found), frames[-1] if frames else None)
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    words = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return one_line(f"{at.filename}:{at.lineno}: {words}" if at else words)
