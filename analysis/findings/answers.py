"""What kinds of study a table of runs is, seen from the runs alone, and what each kind says.

A table can be several kinds at once, or none: then its laws are all there is to say (`analysis.findings`).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from analysis import allocation, digits, tuning
from analysis.findings import choices, cooldowns, positions, shapes
from analysis.findings.choices import Choices
from analysis.findings.cooldowns import Cooldowns
from analysis.findings.positions import Positions
from analysis.findings.shapes import Shapes
from analysis.findings.study_laws import LEAST
from analysis.frontier import Allocation
from analysis.isoflop import Profile, isoflop, profiles
from analysis.jsonable import jsonable
from analysis.laws.admission import ONE_PASS
from analysis.replicates import settings
from analysis.table import Table
from analysis.tuning import Tuning
from scaling.errors import InputError

RATES = 4  # that a setting must have been trained at to be a sweep: three fix a parabola and show no error
MOST = 0.5  # of the runs that must belong to a kind of study, for the table to be of that kind


@dataclasses.dataclass(frozen=True)
class Profiles:
    """IsoFLOP profiles, and N_opt(C) from them or the reason why there is none."""

    profiles: tuple[Profile, ...]
    allocation: Allocation | None
    why: str

    def sentences(self) -> Iterator[str]:
        if self.allocation is None:
            yield f"No best size by budget: {self.why}."
            return
        a, (low, high) = self.allocation, self.allocation.a_interval
        interval = f" (95 % {low:.2f} to {high:.2f})" if np.isfinite(low) else ""
        yield (
            f"The best size grows as C^{a.a:.2f}{interval}: N = {digits.short(a.N_1)} "
            f"(C / {digits.ten(a.C_1)} FLOP)^{a.a:.2f}, and D as C^{a.b:.2f}, from {len(a.points)} budgets."
        )
        yield from (f"{warning[0].upper()}{warning[1:]}." for warning in a.warnings)


@dataclasses.dataclass(frozen=True)
class Answers:
    """One field per kind of study, None where the table is not of that kind.

    Attributes:
        tuning: settings were trained at RATES learning rates or more.
        profiles: most runs lie on a few clear budgets, each with several sizes.
        shapes: most runs differ in their shape at one size and length.
        cooldowns: runs are branches of common trunks.
        positions: most runs have others beside them that differ in their kind of positions; then no other field is set.
        choices: most runs have others beside them that differ in their architecture; the other fields are then about
            the commonest architecture alone.
    """

    tuning: Tuning | None = None
    profiles: Profiles | None = None
    shapes: Shapes | None = None
    cooldowns: Cooldowns | None = None
    positions: Positions | None = None
    choices: Choices | None = None

    @property
    def no_laws(self) -> str:
        """Why no law of size and data is asked of such runs; empty where it is."""
        if self.tuning:
            return "these runs differ in their learning rate to find the best; a law wants each size at one rate"
        if self.shapes:
            return "these runs differ in their shape at one size and one length"
        if self.positions:
            return "these runs differ in their kind of positions; a law wants models of one kind"
        if self.choices and len({place.params for place in self.choices.places}) < LEAST:
            return f"these runs differ in their architecture, at fewer than {LEAST} sizes"
        return ""

    def sentences(self) -> Iterator[str]:
        """What they say, for the terminal."""
        if self.tuning:
            first, *more = self.tuning.law_lines()
            yield f"Best learning rates: {first}"
            yield from more
            yield from (f"Warning: {warning}." for warning in self.tuning.warnings())
        for kind in (self.positions, self.choices, self.profiles, self.shapes, self.cooldowns):
            if kind:
                yield from kind.sentences()

    def to_dict(self) -> dict[str, Any]:
        return {
            "tuning": self.tuning.to_dict() if self.tuning else None,
            "isoflop": self.profiles.allocation.to_dict() if self.profiles and self.profiles.allocation else None,
            "shapes": jsonable(self.shapes.to_dict()) if self.shapes else None,
            "cooldowns": jsonable(self.cooldowns.to_dict()) if self.cooldowns else None,
            "positions": jsonable(self.positions.to_dict()) if self.positions else None,
            "choices": jsonable(self.choices.to_dict()) if self.choices else None,
        }


def compared(table: Table) -> Answers:
    """What finished runs of several architectures say of these, at all learning rates."""
    if schemes := positions.find(table):
        return Answers(positions=schemes)
    return Answers(choices=choices.find(table))


def find(table: Table, *, sigma: float | None = None) -> Answers:
    """What kinds of study these finished runs are, all of one architecture and each setting at one learning rate.

    Args:
        sigma: seed noise of ln(loss), None where it is not known.
    """
    if not len(table):
        return Answers()
    return Answers(profiles=_profiles(table, sigma), shapes=shapes.find(table), cooldowns=cooldowns.find(table))


def sweep(table: Table) -> Tuning | None:
    """The best learning rates, where most runs are of settings that were trained at RATES of them or more."""
    if "status" in table:
        table = table.where(table["status"] != "running", "not finished yet")
    if not (len(table) and table.has("learning_rate") and table.has("params") and table.has("tokens")):
        return None
    cell = settings(table)
    keep = np.zeros(len(table), bool)
    for k in np.unique(cell):
        rows = cell == k
        keep |= rows & (len(np.unique(table["learning_rate"][rows])) >= RATES)
    if keep.sum() <= MOST * len(table):
        return None
    # One setting per size, length and batch: where shapes differ as well, rates of one are not those of another.
    names = [name for name in ("params", "tokens", "batch_tokens", "n_layer") if name in table]
    places: dict[tuple[Any, ...], set[int]] = {}
    for i in np.flatnonzero(keep):
        places.setdefault(tuple(table[name][i] for name in names), set()).add(int(cell[i]))
    if any(len(cells) > 1 for cells in places.values()):
        return None
    return tuning.tune(table.where(keep, "its setting was trained at few learning rates"))


def _profiles(table: Table, sigma: float | None) -> Profiles | None:
    wanted: Sequence[str] = ("params", "flops", "tokens", "loss")
    if not all(table.has(name) for name in wanted):
        return None
    table = ONE_PASS.admit(table)
    if not len(table) or allocation.suited(table)[0] != "isoflop":
        return None
    found, _ = profiles(table)
    try:
        return Profiles(found, isoflop(table, sigma=sigma), "")
    except InputError as error:
        return Profiles(found, None, str(error))
