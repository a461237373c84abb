"""How far the best learning rate moves over the sizes of a ladder, by parametrisation.

Bowls over the rate, as `analysis.tuning` has them, for each width at one depth and for each depth at one width; and a
line through ln(best rate) against ln(size), whose fall from the smallest to the largest size is the movement, in
octaves. A rate that is tuned at one size serves the others where that is near 0 (Yang et al. 2022, arXiv 2203.03466).
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis import digits, tuning
from analysis.confidence import LEVEL, t_quantile
from analysis.jsonable import jsonable
from analysis.table import Table
from analysis.tuning.bowls import Bowl
from scaling.errors import InputError

ALONG = {"width": ("d_model", "n_layer"), "depth": ("n_layer", "d_model")}  # what varies, what is held
STANDARD = "standard"


@dataclasses.dataclass(frozen=True)
class Shift:
    """The bowls of one parametrisation along its widths or its depths.

    Attributes:
        along: "width" or "depth".
        held: the depth or the width that all have.
        sizes: widths or depths, rising; `bowls` are theirs.
        octaves, low, high: log2 of what the best rate is multiplied by from the smallest size to the largest, by the
            line through the bottoms; NaN where fewer than two are bounded by the rates tried, no ends where two are.
        cost: share of the loss that the best rate of the middle size costs at the largest; NaN where it was not tried.
        warnings: of the bowls.
    """

    parametrization: str
    along: str
    held: int
    sizes: tuple[int, ...]
    bowls: tuple[Bowl, ...]
    octaves: float
    low: float
    high: float
    cost: float
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.parametrization}, {self.along} {self.sizes[0]} to {self.sizes[-1]}"

    def sentence(self) -> str:
        if not math.isfinite(self.octaves):
            return f"{self.name}: fewer than two bowls have a bottom between the rates tried; try other rates."
        ends = f"{_signed(self.low)} to {_signed(self.high)}" if math.isfinite(self.low) else "two sizes bound nothing"
        middle = self.sizes[len(self.sizes) // 2]
        cost = digits.percent(self.cost, sign=True) if math.isfinite(self.cost) else "more than was tried"
        return (
            f"{self.name}: the best rate moves by {_signed(self.octaves)} octaves ({digits.percent(LEVEL)} interval "
            f"{ends}); at {self.sizes[-1]}, the best rate of {middle} costs {cost} of the loss."
        )


@dataclasses.dataclass(frozen=True)
class Transfer:
    """All movements that a table shows."""

    shifts: tuple[Shift, ...]

    def text(self) -> str:
        """For a terminal."""
        form = "{:>6} {:>10} {:>20} {:>8}  {}"
        lines: list[str] = []
        for shift in self.shifts:
            lines += [
                shift.name,
                form.format(shift.along, "best rate", f"{digits.percent(LEVEL)} interval", "loss", ""),
            ]
            for size, b in zip(shift.sizes, shift.bowls, strict=True):
                ends = f"{digits.plain(b.low, 2)} to {digits.plain(b.high, 2)}" if b.interior else "–"
                note = "" if b.interior else b.status
                lines.append(form.format(size, digits.plain(b.best), ends, f"{b.loss:.4f}", note).rstrip())
            lines.append("")
        lines += [shift.sentence() for shift in self.shifts]
        lines += [f"Warning: {shift.name}: {warning}." for shift in self.shifts for warning in shift.warnings]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return jsonable({"level": LEVEL, "shifts": [dataclasses.asdict(shift) for shift in self.shifts]})


def asked(table: Table) -> bool:
    """Whether the runs compare parametrisations, or try another than the standard one at several widths or depths."""
    if not table.has("parametrization"):
        return False
    names = np.unique(table["parametrization"])
    several = any(len(np.unique(table[varied])) > 1 for varied, _ in ALONG.values())
    return len(names) > 1 or (names.tolist() != [STANDARD] and several)


def transfer(table: Table, *, sigma: float | None = None) -> Transfer:
    """How far the best rate moves over the widths and over the depths, for each parametrisation.

    Args:
        table: columns parametrization, d_model, n_layer, and those that `tuning.tune` wants; one length and batch.
        sigma: as in `tuning.tune`.

    Raises:
        InputError: nowhere were three rates tried at two sizes.
    """
    found = tuple(_shifts(table, sigma))
    if not found:
        raise InputError(
            f"{table.source}: no parametrisation has two widths or depths with three learning rates each; "
            "scaling study run configs/transfer.py makes such runs"
        )
    return Transfer(found)


def _shifts(table: Table, sigma: float | None) -> Iterator[Shift]:
    for name in dict.fromkeys(table["parametrization"].tolist()):
        mine = table.matching(f"parametrization={name}")
        for along, (varied, fixed) in ALONG.items():
            held = _commonest(mine, varied, fixed)
            one = mine.matching(f"{fixed}={held}")
            if len(np.unique(one[varied])) > 1:
                yield _shift(one, name, along, held, sigma)


def _commonest(table: Table, varied: str, fixed: str) -> int:
    """The value of a column at which most values of the other were tried."""
    values = np.unique(table[fixed])
    return int(max(values, key=lambda value: len(np.unique(table[varied][table[fixed] == value]))))


def _shift(table: Table, name: str, along: str, held: int, sigma: float | None) -> Shift:
    varied = ALONG[along][0]
    size_of = dict(zip(table["params"].tolist(), table[varied].tolist(), strict=True))
    found = tuning.tune(table, sigma=sigma)
    bowls = sorted(found.bowls, key=lambda b: size_of[b.params])
    sizes = tuple(int(size_of[b.params]) for b in bowls)
    if len(set(sizes)) < len(sizes):
        raise InputError(
            f"{table.source}: several lengths, batches or shapes at one {varied}; take one with --where, such as "
            f"--where tokens={bowls[0].tokens:g}"
        )
    middle = bowls[len(bowls) // 2]
    cost = bowls[-1].excess(middle.best) if middle.interior and bowls[-1].interior else math.nan
    return Shift(name, along, held, sizes, tuple(bowls), *_movement(sizes, bowls), cost, tuple(found.warnings()))


def _movement(sizes: tuple[int, ...], bowls: list[Bowl]) -> tuple[float, float, float]:
    """Octaves from the smallest to the largest size with their interval, by a line weighed by the bowls' errors.

    Where the bottoms scatter about it by more than these errors, the interval is wider in proportion.
    """
    kept = [(size, b) for size, b in zip(sizes, bowls, strict=True) if b.interior and b.error > 0]
    if len(kept) < 2:
        return math.nan, math.nan, math.nan
    x = np.log2([size for size, _ in kept])
    y = np.log2([b.best for _, b in kept])
    own = np.array([max(b.error**2 - b.shared**2, 1e-18) for _, b in kept]) / math.log(2) ** 2  # the rest moves all
    w = 1 / own
    x = x - (w @ x) / w.sum()
    slope = float((w * x) @ y / ((w * x) @ x))
    rest = y - (w @ y) / w.sum() - slope * x
    degrees = len(kept) - 2
    reach = math.log2(sizes[-1] / sizes[0])
    if not degrees:
        return slope * reach, -math.inf, math.inf
    scatter = max(1.0, float(w @ rest**2) / degrees)
    half = float(t_quantile(LEVEL, np.array(float(degrees)))) * math.sqrt(scatter / float((w * x) @ x)) * reach
    return slope * reach, slope * reach - half, slope * reach + half


def _signed(octaves: float) -> str:
    return f"{octaves:+.2f}".replace("-", "−")
