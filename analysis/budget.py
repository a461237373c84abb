"""What may be spent on one training run: FLOP, chips for hours, or money."""

import dataclasses
import math
from collections.abc import Mapping

from analysis.frontier import PF_DAY
from scaling.errors import InputError

# Dense bfloat16 FLOP per second and chip, from the makers' data sheets (float16 for v100).
PEAK = {
    "v2": 45e12,
    "v3": 123e12,
    "v4": 275e12,
    "v5e": 197e12,
    "v5litepod": 197e12,  # v5e, as its accelerator type is written
    "v5p": 459e12,
    "v6e": 918e12,
    "tpu7x": 2307e12,
    "v100": 125e12,
    "l4": 121e12,
    "a100": 312e12,
    "h100": 989e12,
    "h200": 989e12,
    "b200": 2250e12,
}
CORES_PER_CHIP: Mapping[str, int] = dict.fromkeys(("v2", "v3", "v4", "v5p", "tpu7x"), 2)  # v5p-128 has 64 chips
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
        told = f"{flops:.3g} FLOP = {flops / PF_DAY:.3g} PF-days"
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
        return cls(rate * hours, f"{rate * hours:.3g} FLOP, {hours:g} h of {_slice(name, utilisation)}", rate)

    @classmethod
    def of_money(cls, money: float, name: str, price: float, utilisation: float = UTILISATION) -> "Budget":
        """What `money` buys of hardware that costs `price` per chip and hour, in the same currency."""
        for what, value in (("money", money), ("price per chip and hour", price)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{what} {value:g}: wanted a number above 0")
        rate = _rate(name, utilisation)
        hours = money / (price * chips(name)[1])
        bought = f"{hours:.4g} h of {_slice(name, utilisation)}"
        return cls(rate * hours, f"{rate * hours:.3g} FLOP, {money:g} at {price:g} per chip-hour: {bought}", rate)


def chips(name: str) -> tuple[str, int]:
    """The kind and number of chips in a slice: v5p-128 has 64 (it is named by its cores), v5e-256 has 256.

    Raises:
        InputError: an unknown chip, or no number of them.
    """
    kind, _, number = name.lower().rpartition("-")
    if kind not in PEAK or not number.isdecimal() or not int(number):
        raise InputError(
            f"hardware '{name}': wanted a chip and a count like v5p-128 or h100-8; chips: {', '.join(PEAK)}"
        )
    return kind, max(int(number) // CORES_PER_CHIP.get(kind, 1), 1)


def _rate(name: str, utilisation: float) -> float:
    """FLOP per hour."""
    if not 0 < utilisation <= 1:
        raise InputError(f"utilisation {utilisation:g}: wanted a share between 0 and 1, such as {UTILISATION:g}")
    kind, number = chips(name)
    return PEAK[kind] * number * 3600 * utilisation


def _slice(name: str, utilisation: float) -> str:
    return f"{name} ({chips(name)[1]} chips) at {utilisation:.3g} of its peak"
