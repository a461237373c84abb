"""Columns worked out from those of a file, as --columns has them: `D`, `1e9*D (B)`, `params + params_embed`, `300B`.

    sum     = product (("+" | "-") product)*
    product = factor (("*" | "/") factor)*
    factor  = "-" factor | "(" sum ")" | number | column of the file

A number may end in k, M, B or T. A column's name may hold blanks and signs: the longest name that stands at a place is
meant, and a text that is a column's name as a whole is that column.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.digits import count_of, typed
from analysis.table.columns import COLUMNS, column, nearest
from scaling.errors import InputError

NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[kKMmBbTt]?(?![\w.])")
SIGNS = "+-*/()"
DEEPEST = 100  # brackets and leading signs in one another
OPTION = "--columns"
SCALED = re.compile(rf"(?P<number>{NUMBER.pattern})\s*\*\s*(?P<rest>.+)")

Array = NDArray[np.float64]


def taken(raw: Mapping[str, Any], columns: Mapping[str, str], source: str) -> dict[str, Any]:
    """The columns of a file, those asked for under their canonical names, in place of the file's own of such a name.

    A column that is taken alone, or times a number, no longer stands under the name that the file gave it.

    Args:
        columns: canonical name -> what it is of the file, such as "Model Size", "1e9*D" or "flops/(6*tokens)".

    Raises:
        InputError: a column that is not there, no such formula, or text in one.
    """
    out, worked_out = dict(raw), {}
    for canonical, text in columns.items():
        text = text.strip()
        if text in raw:
            worked_out[canonical], alone = raw[text], text
        else:
            formula = _Formula(canonical, text, raw, source)
            worked_out[canonical] = formula.values()
            alone = formula.names[0] if len(formula.names) == 1 else ""
        if alone not in COLUMNS:
            out.pop(alone, None)
    return {**out, **worked_out}


def line(said: Mapping[str, str], option: str = OPTION) -> str:
    """All of an option that names columns, as it is typed in a shell. said: as `taken` takes it."""
    return " ".join([option, *(f"{name}={shlex.quote(text)}" for name, text in said.items())])


def times(text: str, factor: float) -> str:
    """What a column was taken from, times a factor: 1e9*D by 1e3 is 1e12*D."""
    found = SCALED.fullmatch(text)
    if found and not set("+-/") & set(found["rest"]):
        factor, text = factor * count_of(found["number"]), found["rest"]
    elif set("+-/") & set(text) and not re.fullmatch(r"\(.*\)", text):
        text = f"({text})"
    return text if factor == 1 else f"{typed(factor)}*{text}"


class _Formula:
    """One formula, read from left to right.

    Attributes:
        names: the file's columns that it holds.
        depth: brackets and leading signs that are open.
    """

    def __init__(self, canonical: str, text: str, raw: Mapping[str, Any], source: str):
        self.canonical, self.text, self.raw, self.source = canonical, text, raw, source
        self.at = self.depth = 0
        self.names: list[str] = []
        self.by_length = sorted(raw, key=len, reverse=True)

    def values(self) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = self._sum()
        if self.at < len(self.text):
            raise self._no_formula(f"{self.text[self.at :]!r} is left over")
        n = len(next(iter(self.raw.values()), ()))
        return np.broadcast_to(found, (n,)).astype(np.float64)

    def _sum(self) -> Array:
        found = self._product()
        while sign := self._sign("+-"):
            other = self._product()
            found = found + other if sign == "+" else found - other
        return found

    def _product(self) -> Array:
        found = self._factor()
        while sign := self._sign("*/"):
            other = self._factor()
            found = found * other if sign == "*" else found / other
        return found

    def _factor(self) -> Array:
        if self._sign("-"):
            return -self._inside(self._factor)
        rest = self.text[self.at :].lstrip()
        self.at = len(self.text) - len(rest)
        if name := next((name for name in self.by_length if name and self._stands(name, rest)), ""):
            self.at += len(name)
            if name not in self.names:
                self.names.append(name)
            return self._numbers(name)
        if found := NUMBER.match(rest):
            self.at += found.end()
            return np.asarray(count_of(found[0]))
        if self._sign("("):
            inside = self._inside(self._sum)
            if not self._sign(")"):
                raise self._no_formula("a bracket is left open")
            return inside
        raise self._no_formula("it ends where a column or a number is wanted") if not rest else self._unknown(rest)

    def _inside(self, read: Callable[[], Array]) -> Array:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._no_formula(f"more than {DEEPEST} brackets or signs in one another")
        found = read()
        self.depth -= 1
        return found

    def _sign(self, signs: str) -> str:
        """The next sign where it is one of these, which is then behind us; else nothing."""
        rest = self.text[self.at :].lstrip()
        if not rest or rest[0] not in signs:
            return ""
        self.at = len(self.text) - len(rest) + 1
        return rest[0]

    def _stands(self, name: str, rest: str) -> bool:
        after = rest[len(name) :].lstrip()
        return rest.startswith(name) and (not after or after[0] in SIGNS)

    def _numbers(self, name: str) -> Array:
        found = column(self.canonical, self.raw[name], self.source)
        if found.dtype.kind != "f":
            raise InputError(f"{self.source}: column {name!r} holds text, and {self.text!r} wants numbers")
        return found

    def _unknown(self, rest: str) -> InputError:
        name = re.split(r"[-+*/()]", rest)[0].strip() or rest
        near = nearest(name, self.raw)
        hint = f"; nearest is {near!r}" if near else ""
        return InputError(
            f"{self.source}: no column {name!r} to take as {self.canonical}{hint}; found {', '.join(self.raw)}"
        )

    def _no_formula(self, why: str) -> InputError:
        return InputError(
            f"{self.source}: {self.canonical}={self.text}: {why}; wanted a column of the file, or a formula of columns "
            f"and numbers with + - * / ( ), such as 1e9*D"
        )
