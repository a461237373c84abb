"""What may be spent on one training run: FLOP, chips for hours, or money."""

import dataclasses
import math

from analysis.digits import typed
from scaling.chips import CHIPS, OTHER_NAMES, Chip
from scaling.counts import PF_DAY
from scaling.errors import InputError

UTILISATION = 0.4  # of the peak, in training


@dataclasses.dataclass(frozen=True)
class Budget:
    """C FLOP for one training run, and the words that say where it comes from."""

    flops: float
    told: str
    flops_per_hour: float = math.nan  # of the hardware in use, where known

    def __post_init__(self):
        if not (math.isfinite(self.flops) and self.flops > 0):
            raise InputError(f"budget of {self.flops:g} FLOP: wanted a number above 0")

    @property
    def hours(self) -> float:
        return self.flops / self.flops_per_hour

    @classmethod
    def of_flops(cls, flops: float, hardware: str | None = None, utilisation: float = UTILISATION) -> "Budget":
        """A budget in FLOP, and the hours it takes where the hardware is named."""
        told = f"{typed(flops, 3)} FLOP = {typed(flops / PF_DAY, 3)} PF-days"
        _check_share(utilisation)
        if hardware is None:
            return cls(float(flops), told)
        rate = _rate(hardware, utilisation)
        return cls(float(flops), f"{told} = {flops / rate:.4g} h of {_slice(hardware, utilisation)}", rate)

    @classmethod
    def of_hardware(cls, name: str, hours: float, utilisation: float = UTILISATION) -> "Budget":
        """Chips x hours x utilisation. Names as in v5p-128 (cores), v5e-256 or h100-8 (chips); see `chips`."""
        if not (math.isfinite(hours) and hours > 0):
            raise InputError(f"{hours:g} hours: wanted a number above 0")
        rate = _rate(name, utilisation)
        return cls(rate * hours, f"{typed(rate * hours, 3)} FLOP, {hours:g} h of {_slice(name, utilisation)}", rate)

    @classmethod
    def of_money(cls, money: float, name: str, price: float, utilisation: float = UTILISATION) -> "Budget":
        """What `money` buys of hardware that costs `price` per chip and hour, in the same currency."""
        for what, value in (("money", money), ("price per chip and hour", price)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{what} {value:g}: wanted a number above 0")
        rate = _rate(name, utilisation)
        hours = money / (price * chips(name)[1])
        bought = f"{hours:.4g} h of {_slice(name, utilisation)}"
        return cls(rate * hours, f"{typed(rate * hours, 3)} FLOP, {money:g} at {price:g} per chip-hour: {bought}", rate)


def chips(name: str) -> tuple[Chip, int]:
    """The kind and number of chips in a slice: v5p-128 has 64 (it is named by its cores), v5e-256 has 256.

    Raises:
        InputError: an unknown chip or one without a peak, or not a whole number of them.
    """
    kind, _, number = name.lower().rpartition("-")
    chip = CHIPS.get(OTHER_NAMES.get(kind, kind))
    if chip is None or math.isnan(chip.peak) or not number.isdecimal() or not int(number):
        known = ", ".join(name for name, chip in CHIPS.items() if not math.isnan(chip.peak))
        raise InputError(f"hardware '{name}': wanted a chip and a count like v5p-128 or h100-8; chips: {known}")
    if int(number) % chip.cores:
        raise InputError(
            f"hardware '{name}': {chip.name} is named by cores, {chip.cores} to a chip; wanted an even count"
        )
    return chip, int(number) // chip.cores


def _rate(name: str, utilisation: float) -> float:
    """FLOP per hour."""
    _check_share(utilisation)
    chip, number = chips(name)
    return chip.peak * number * 3600 * utilisation


def _check_share(utilisation: float) -> None:
    if not 0 < utilisation <= 1:
        raise InputError(f"utilisation {utilisation:g}: wanted a share between 0 and 1, such as {UTILISATION:g}")


def _slice(name: str, utilisation: float) -> str:
    return f"{name} ({chips(name)[1]} chips) at {utilisation:.3g} of its peak"
