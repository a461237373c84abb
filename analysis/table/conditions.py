"""Conditions on the rows of a table, as --where and --hold-out take them: dataset=c4, params>1e9, 1e8<params<1e9, lr!=.

A column whose own name holds such a sign is found first.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.digits import typed
from analysis.table.columns import cell, counted, number
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.table import Table

FORMS = (
    "COLUMN=VALUE, COLUMN!=VALUE, COLUMN<NUMBER, COLUMN>=NUMBER, LOW<COLUMN<HIGH, or COLUMN!= for cells that are filled"
)
SIGNS = ("!=", "<=", ">=", "==", "<", ">", "=")
COMPARE = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
SIGN = re.compile("|".join(SIGNS))


def rows_with(table: "Table", condition: str) -> np.ndarray:
    """Which rows meet a condition; bool, one per row.

    Raises:
        InputError: not such a condition, a column that is not there, a bound on text, or no row that meets it.
    """
    keep = np.ones(len(table), bool)
    for name, sign, value in _parts(table, condition):
        keep &= _meets(table, name, sign, value, condition)
    if not keep.any():
        found = f"none of the {len(table)} rows chosen so far has" if table.not_asked else "no row has"
        raise InputError(f"{table.source}: {found} {condition}; {_there(table, condition)}")
    return keep


def check_once(table: "Table", conditions: Sequence[str]) -> None:
    """Refuses two values, or two bounds of one kind, for one column: they would not be what somebody meant."""
    given: dict[tuple[str, str], str] = {}
    for condition in conditions:
        for name, sign, _ in _parts(table, condition):
            if (name, sign) in given and sign != "!=":
                raise InputError(
                    f"conditions {given[name, sign]!r} and {condition!r}: both say {name}{sign}...; give one of them"
                )
            given[name, sign] = condition


def is_condition(table: "Table", text: str) -> bool:
    """Whether a text says more than the name of a column."""
    return table.meant(text) is None and SIGN.search(text) is not None


def _parts(table: "Table", condition: str) -> list[tuple[str, str, str]]:
    """Column, sign and value of each comparison: two of LOW<COLUMN<HIGH."""
    own = [
        name
        for name in (*table, *table.taken.values())
        if condition.startswith(name) and SIGN.match(condition[len(name) :].lstrip())  # the longest such name
    ]
    if own:
        name = max(own, key=len)
        rest = condition[len(name) :].lstrip()
        sign = next(sign for sign in SIGNS if rest.startswith(sign))
        return [(name, sign, rest[len(sign) :].strip())]
    words = [word.strip() for word in SIGN.split(condition)]
    signs = SIGN.findall(condition)
    if len(words) == 3 and all(sign in TURNED for sign in signs):
        return [(words[1], TURNED[signs[0]], words[0]), (words[1], signs[1], words[2])]
    if len(words) == 2 and words[0]:
        if table.meant(words[0]) is None and table.meant(words[1]) and signs[0] in TURNED:
            return [(words[1], TURNED[signs[0]], words[0])]
        return [(words[0], signs[0], words[1])]
    raise InputError(f"condition {condition!r}: wanted {FORMS}")


def _meets(table: "Table", name: str, sign: str, value: str, condition: str) -> np.ndarray:
    values = table[name]
    text = values.dtype.kind != "f"
    wanted = found if (found := number(value)) is not None else counted(value)
    if sign in COMPARE:
        if text:
            there = ", ".join(dict.fromkeys(values.tolist()))[:100]
            like = f"{name}={values[0]}"
            raise InputError(f'condition {condition!r}: {name} holds text ({there}); wanted one like "{like}"')
        if wanted is None or np.isnan(wanted):
            raise InputError(f"condition {condition!r}: found {value!r}, wanted a number such as 1e9 or 1B")
        return COMPARE[sign](values, wanted)
    if value == "":
        same = values == "" if text else np.isnan(values)
    elif text:
        same = values == value
    else:
        same = np.zeros(len(values), bool) if wanted is None else values == wanted
    return ~same if sign == "!=" else same


def _there(table: "Table", condition: str) -> str:
    """What the columns of a condition hold, in words."""
    said = {}
    for name, sign, _ in _parts(table, condition):
        values = table[name]
        known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if not len(known):
            said[name] = f"{name} is empty"
        elif sign in COMPARE:
            said[name] = f"{name} goes from {typed(known.min())} to {typed(known.max())}"
        else:
            said[name] = f"the values of {name} are {', '.join(dict.fromkeys(map(cell, values[:1000])))[:200]}"
    return "; ".join(said.values())
