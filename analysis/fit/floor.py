"""A floor that is known from elsewhere: the irreducible loss at which a law is pinned, and where it comes from."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from analysis.digits import typed
from analysis.fit.solver import Array
from analysis.laws import Law
from scaling.errors import InputError

if TYPE_CHECKING:
    from analysis.fit.estimate import Fit


@dataclasses.dataclass(frozen=True)
class Floor:
    """An irreducible loss at which a law is pinned.

    Attributes:
        told: where it comes from.
        low, high: how far it is known; nan where nothing says so.
        target: the column whose floor it is; empty where it is that of the fit.
    """

    value: float
    told: str = "as given"
    low: float = math.nan
    high: float = math.nan
    target: str = ""

    def __post_init__(self):
        if not (math.isfinite(self.value) and self.value >= 0):
            raise InputError(f"floor {self.value:g}: wanted a number of 0 or more, below every loss")

    @classmethod
    def of(cls, fit: "Fit", name: str) -> Self:
        """The floor of a fit, which is called `name`.

        Raises:
            InputError: the law of the fit has no floor.
        """
        floors = names(type(fit.law))
        if not floors:
            raise InputError(f"{name}: {fit.law.name} has no floor; wanted a fit of chinchilla or henighan-c")
        low, high = fit.intervals[floors[0]]
        ends = f"{typed(low, 4)} to {typed(high, 4)}"
        told = f"{floors[0]} of {fit.law.name} in {name}: {fit.n_runs} of {fit.n_given} runs, {fit.status}, {ends}"
        return cls(fit.constants[floors[0]], told, low, high, fit.target)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """From what `dataclasses.asdict` gives, null for an end that is not known."""
        ends = {name: math.nan if d[name] is None else float(d[name]) for name in ("low", "high")}
        if not isinstance(d["value"], float | int):
            raise ValueError(f"the floor is {json.dumps(d['value'])[:40]}, not a number")
        return cls(float(d["value"]), str(d["told"]), **ends, target=str(d["target"]))

    def pins(self, law: type[Law]) -> dict[str, float]:
        """The constants of a law that are fixed by it.

        Raises:
            InputError: the law has no floor.
        """
        if not (floors := names(law)):
            raise InputError(f"{law.name} has no floor to pin at {self.value:g}; choose chinchilla or henighan-c")
        return dict.fromkeys(floors, self.value)

    def check(self, target: str, y: Array) -> None:
        """Refuses a floor of another column than `target`, and one that is not below every value y (n,) of it."""
        if self.target not in ("", target):
            raise InputError(f"a floor of {self.target}, and this is a law of {target}: give --floor a number")
        if self.value >= (least := float(np.min(y))):
            raise InputError(
                f"floor {self.value:g}: wanted one below every {target}, and the lowest is {typed(least, 4)}"
            )


def names(law: type[Law]) -> list[str]:
    """The constants of a law that are floors."""
    return [c.name for c in law.constants() if c.kind == "floor"]
