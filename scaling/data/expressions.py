"""Sources within sources, as they are typed: what is in brackets stays together."""

import re

from scaling.errors import InputError

DEEPEST = 16  # brackets
CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
BEGUN = re.compile(r"\w+\(")
OPTION = re.compile(r",\s+(?=\w+=)")  # what stands before an option; commas without a space belong to the source


def split(text: str, between: re.Pattern[str]) -> list[str]:
    """The text at each match of `between` that is in no brackets."""
    found, start = [], 0
    for match in between.finditer(text):
        if text.count("(", start, match.start()) == text.count(")", start, match.start()):
            found.append(text[start : match.start()])
            start = match.end()
    return [*found, text[start:]]


def call(text: str) -> tuple[str, str, dict[str, str]] | None:
    """NAME(SOURCE, KEY=VALUE, ...) as name, source and options; None where it is no such thing.

    Raises:
        InputError: an option twice, too many brackets, or one that is not closed.
    """
    match = CALL.fullmatch(text.strip())
    if match is None:
        opened, closed = text.count("("), text.count(")")
        if BEGUN.match(text.strip()) and opened > closed:
            raise InputError(
                f"{text}: a bracket is not closed ({opened} opened, {closed} closed); wanted NAME(SOURCE, KEY=VALUE)"
            )
        return None
    if text.count("(") > DEEPEST:
        raise InputError(f"{text[:60]}...: {text.count('(')} brackets, wanted at most {DEEPEST}")
    source, *typed = split(match[2], OPTION)
    options = dict(option.strip().split("=", 1) for option in typed)
    if len(options) < len(typed):
        raise InputError(f"{text}: an option is given twice")
    return match[1], source.strip(), options
