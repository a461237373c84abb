"""Runs that differ in their mixture: shares of parts, losses on domains."""

import dataclasses
import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.digits import plural, short
from analysis.mixtures.laws import SCALES
from analysis.table import Table
from analysis.table.columns import COLUMNS
from scaling.errors import InputError

Array = NDArray[np.float64]

SHARE, LOSS, LOSS_ON, AVAILABLE = "share_", "loss_", "loss_on_", "available_"
ON_HELD_OUT = re.compile(r"loss_on_held_out\((.*)\)", re.DOTALL)
TEXT = re.compile(r"(?<=text:)[^,()+]+")  # the path of a text in a column's name
CUT = re.compile(r"share_first\((.*), tokens=(\d+)\)", re.DOTALL)
OFF = 0.02  # by which shares may miss 1: those of 17 parts to three digits do by 0.004
SAME = 1e-6  # shares, relative scales and losses nearer than this are one
ROUNDED = 1e-4  # by which shares miss 1 before a note says so


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Runs that differ in their mixture.

    Attributes:
        shares: of each part, adding up to 1, (n, parts).
        losses: on each domain, nats per token, (n, domains).
        scales: N and D where they are known, by column: (n,).
        once: of each part, the share at which it is read once; infinite where that is not known, or no row reads it
            again. (parts,)
        mixture: which of the different mixtures a row has, (n,).
        notes: what was said of the rows.
    """

    parts: tuple[str, ...]
    domains: tuple[str, ...]
    shares: Array
    losses: Array
    scales: dict[str, Array]
    given: int
    notes: tuple[str, ...] = ()
    once: tuple[float, ...] = ()

    def __post_init__(self):
        if not self.once:
            object.__setattr__(self, "once", (math.inf,) * len(self.parts))

    @property
    def mixture(self) -> NDArray[np.int64]:
        return np.unique(np.round(self.shares / SAME), axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def mixtures(self) -> int:
        return int(self.mixture.max()) + 1

    @property
    def varied(self) -> tuple[str, ...]:
        """Of N and D, those that differ among the rows."""
        return tuple(s for s in SCALES if s in self.scales and np.ptp(np.log(self.scales[s])) > SAME)

    @property
    def scale(self) -> str:
        """At which N and D the rows are, in words; empty where nothing is known."""
        told = []
        for name, letter in zip(SCALES, "ND", strict=True):
            if name in self.scales:
                low, high = self.scales[name].min(), self.scales[name].max()
                told.append(f"{letter} = {short(low)}" + (f" to {short(high)}" if name in self.varied else ""))
        return ", ".join(told)

    def columns(self, scales: tuple[str, ...]) -> tuple[Array, ...]:
        """What a law of all shares takes."""
        return (*self.shares.T, *(self.scales[s] for s in scales))

    @classmethod
    def of(cls, table: Table, *, alone: bool = True) -> "Runs":
        """The mixtures of a table with columns share_NAME and loss_NAME (loss_on_NAME, as studies write them, alike).

        Args:
            alone: the rows are to be fitted, so that shares and losses must vary.

        Raises:
            InputError: columns that are missing or empty, shares that do not add up to 1 or do not vary.
        """
        source, notes = table.source, []
        parts = [name for name in table if name.startswith(SHARE) and name != SHARE]
        losses = [name for name in table if name.startswith(LOSS) and name not in COLUMNS and name != LOSS]
        if not losses and table.has("loss"):
            losses = ["loss"]
            notes.append("no columns loss_NAME: the column loss is taken as the only domain")
        if len(parts) < 2 or not losses:
            missing = "two or more columns share_NAME" if len(parts) < 2 else "a column loss_NAME for each domain"
            raise InputError(
                f"{source}: wanted {missing}, such as --columns share_web=WEB loss_code=CODE; found {', '.join(table)}"
            )
        for name in (*parts, *losses):
            _check_numbers(table, name, positive=name in losses)
        domains = [_domain(name) for name in losses]
        if twice := next((d for d in domains if domains.count(d) > 1), None):
            raise InputError(f"{source}: two columns are the loss on {twice}; leave one of them out")
        shares = np.stack([table[name] for name in parts], -1)
        total = shares.sum(1)
        if (off := np.abs(total - 1)).max() > OFF:
            i = int(off.argmax())
            percent = "; per cent are shares with --columns share_NAME='share_NAME/100'" if total.mean() > 50 else ""
            raise InputError(
                f"{source}, {table.label(i)}: its shares add up to {total[i]:.4g}, wanted 1 within {OFF:g}{percent}; "
                "all parts want a column"
            )
        if off.max() > ROUNDED:
            notes.append(f"shares add up to {total.min():.4g} to {total.max():.4g}: each row is divided by its sum")
        shares = shares / total[:, None]
        values = np.stack([table[name] for name in losses], -1)
        scales = {}
        for name in SCALES:
            if table.has(name):
                (scales[name],) = table.positive(name)
        names = tuple(name.removeprefix(SHARE) for name in parts)
        once = tuple(
            _once(table, name, share, scales.get("tokens")) for name, share in zip(names, shares.T, strict=True)
        )
        runs = cls(names, tuple(domains), shares, values, scales, table.given, (*table.notes, *notes), once)
        if alone:
            runs._check_variation(source)
        return runs

    def _check_variation(self, source: str) -> None:
        for k, part in enumerate(self.parts):
            low, high = self.shares[:, k].min(), self.shares[:, k].max()
            if high - low <= SAME:
                out = (
                    "leave the column out"
                    if high == 0
                    else "train mixtures in which it varies, or leave it out and divide the other shares by the rest"
                )
                raise InputError(
                    f"{source}: the share of {part} is {high:.4g} in every row, so nothing tells what it does; {out}"
                )
        for d, domain in enumerate(self.domains):
            if np.ptp(self.losses[:, d]) <= SAME * self.losses[:, d].mean():
                raise InputError(
                    f"{source}: the loss on {domain} is {self.losses[0, d]:.4g} in every row, without variation; "
                    "leave the column out"
                )
        rank = np.linalg.matrix_rank(self.shares - self.shares.mean(0), tol=1e-6 * len(self.shares) ** 0.5) + 1
        if rank < len(self.parts):
            raise InputError(
                f"{source}: the shares of {len(self.parts)} parts change together as if they were {rank}, in "
                f"{self.mixtures} {plural(self.mixtures, 'mixture', 'mixtures')}; vary each by itself"
            )


def named(table: Table) -> Table:
    """The table of a study under the names of its parts: loss_on_PART of the loss on held_out(PART), and share_PART of
    the share of first(PART, tokens=n), a part that is cut, whose n tokens are available_PART then. A text that lay in
    another folder for some runs, as text:a/b.txt and text:../c/a/b.txt, has one name.
    """
    table = _at_one_path(table)
    columns = dict(table.columns)
    for name, values in table.columns.items():
        if match := CUT.fullmatch(name):
            part = SHARE + match[1]
            whole = columns.get(part, np.zeros(len(values)))
            if ((values > 0) & (whole > 0)).any() or AVAILABLE + match[1] in columns:
                continue  # some of it beside the rest, or cut in several ways: parts of their own
            del columns[name]
            columns[part] = values + whole
            columns[AVAILABLE + match[1]] = np.where(values > 0, float(match[2]), np.inf)
    for name in table:
        if (match := ON_HELD_OUT.fullmatch(name)) and SHARE + match[1] in columns:
            columns[LOSS_ON + match[1]] = columns.pop(name)
    return dataclasses.replace(table, columns=columns)


def _at_one_path(table: Table) -> Table:
    """The table with one name, the shortest, for a text whose paths end alike, where no run has two of them."""
    texts = sorted({name for column in table for name in TEXT.findall(column)}, key=lambda name: (len(name), name))
    others = {long: next(short for short in texts if long == short or long.endswith("/" + short)) for long in texts}
    columns: dict[str, NDArray[Any]] = {}
    for name, values in table.columns.items():
        own = TEXT.sub(lambda match: others[match[0]], name)
        if own not in columns:
            columns[own] = values
        elif name.startswith((SHARE, LOSS_ON)):
            both = np.nan_to_num(columns[own]), np.nan_to_num(values)
            if ((both[0] > 0) & (both[1] > 0)).any():
                return table
            empty = np.isnan(columns[own]) & np.isnan(values)
            columns[own] = np.where(empty, np.nan, both[0] + both[1])
    return dataclasses.replace(table, columns=columns)


def _once(table: Table, part: str, share: Array, D: Array | None) -> float:
    """The share at which a part is read once, where a column tells the tokens of it that there are."""
    if D is None or not table.has(AVAILABLE + part):
        return math.inf
    there = table[AVAILABLE + part]
    if there.dtype.kind != "f" or not (there > 0).all():
        table.positive(AVAILABLE + part)
    if (share * D <= there).all():
        return math.inf
    at = there / D
    if at.max() > at.min() * (1 + SAME):
        cut = f"share_first({part}, tokens={there.min():.0f})"
        which = f" '{cut}=0', or '{cut}>0'" if np.isinf(at).any() else ""
        raise InputError(
            f"{table.source}: of {part} there are {at.min():.3g} to {at.max():.3g} of D, and a law of repeats is for "
            f"one such share; choose rows with --where{which}"
        )
    return float(at[0])


def _domain(column: str) -> str:
    return column if column == "loss" else column.removeprefix(LOSS_ON if column.startswith(LOSS_ON) else LOSS)


def _check_numbers(table: Table, name: str, positive: bool) -> None:
    if positive:
        table.positive(name)
        return
    values = table[name]
    if values.dtype.kind != "f":
        raise InputError(f"{table.source}, column {name}: holds text ({values[0]!r}); wanted shares between 0 and 1")
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        found = "an empty cell or NaN" if np.isnan(values[bad[0]]) else f"{values[bad[0]]:g}"
        raise InputError(
            f"{table.source}, {table.label(int(bad[0]))}, column {name}: found {found}, wanted a share from 0 on"
        )
