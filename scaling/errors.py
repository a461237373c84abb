"""What a person gave that cannot be used."""

from scaling.terminal import SHOWN

LONGEST = 1000  # characters of a message


class InputError(ValueError):
    """One line for the person at the keyboard: the value found, the value wanted, the way out. Exit code 2."""


def one_line(text: object) -> str:
    """Text as one line that a terminal shows and does not obey; the middle of a very long one is left out."""
    line = "".join(c if c.isprintable() else SHOWN.get(ord(c), "?") for c in " ".join(str(text).split()))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
