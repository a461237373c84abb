"""What may be spent on one training run: FLOP, chips for hours, or money."""

import dataclasses
import math

from analysis.digits import plural, typed
from scaling import chips
from scaling.counts import PF_DAY
from scaling.errors import InputError

UTILISATION = 0.4  # of the peak, in training


@dataclasses.dataclass(frozen=True)
class Machine:
    """Chips at work on one training run.

    Attributes:
        number: of chips.
        peak: FLOP/s of one.
        power: watts of one at most; nan where nobody says.
        memory: bytes of one; nan likewise.
        utilisation: share of the peak that training reaches.
    """

    name: str
    number: int
    peak: float
    power: float = math.nan
    memory: float = math.nan
    utilisation: float = UTILISATION

    def __post_init__(self):
        if not (math.isfinite(self.peak) and self.peak > 0):
            raise InputError(f"a peak of {self.peak:g} FLOP/s: wanted a number above 0, such as 989e12")
        if self.number < 1:
            raise InputError(f"{self.number} chips: wanted 1 or more")
        _check_share(self.utilisation)
        if not (math.isnan(self.power) or 0 < self.power < math.inf):
            raise InputError(f"a power of {self.power:g} W: wanted a number above 0")

    @classmethod
    def named(cls, text: str, utilisation: float = UTILISATION, power: float | None = None) -> "Machine":
        """The hardware that `chips.named` understands: h100:8, rtx4090:2, v5p-128.

        Raises:
            InputError: unknown hardware, or a CPU, whose peak is anybody's guess.
        """
        found = chips.named(text)
        if math.isnan(found.chip.peak):
            raise InputError(
                f"accelerator {text!r}: a {found.chip.name} has no peak on a data sheet; give --peak FLOP/s"
            )
        watts = found.chip.power if power is None else power
        return cls(text, found.number, found.chip.peak, watts, found.chip.hbm, utilisation)

    @property
    def flops_per_hour(self) -> float:
        return self.peak * self.number * self.utilisation * 3600

    @property
    def told(self) -> str:
        return (
            f"{self.name} ({self.number} {plural(self.number, 'chip', 'chips')} of {self.peak / 1e12:.4g} TFLOP/s) at "
            f"{self.utilisation:.3g} of its peak"
        )


@dataclasses.dataclass(frozen=True)
class Budget:
    """C FLOP for one training run, the words that say where it comes from, and on what it is spent, where known."""

    flops: float
    told: str
    machine: Machine | None = None

    def __post_init__(self):
        if not (math.isfinite(self.flops) and self.flops > 0):
            raise InputError(f"budget of {self.flops:g} FLOP: wanted a number above 0")

    @property
    def hours(self) -> float:
        return self.flops / self.machine.flops_per_hour if self.machine else math.nan

    @classmethod
    def of_flops(
        cls, flops: float, hardware: str | Machine | None = None, utilisation: float = UTILISATION
    ) -> "Budget":
        """A budget in FLOP, and the hours it takes where the hardware is known."""
        told = f"{typed(flops, 3)} FLOP = {typed(flops / PF_DAY, 3)} PF-days"
        _check_share(utilisation)
        if hardware is None:
            return cls(float(flops), told)
        machine = _machine(hardware, utilisation)
        return cls(float(flops), f"{told} = {flops / machine.flops_per_hour:.4g} h of {machine.told}", machine)

    @classmethod
    def of_hardware(cls, hardware: str | Machine, hours: float, utilisation: float = UTILISATION) -> "Budget":
        """Chips x hours x utilisation; names as in h100:8, rtx4090:2 or v5p-128 (cores), see `scaling.chips.named`."""
        if not (math.isfinite(hours) and hours > 0):
            raise InputError(f"{hours:g} hours: wanted a number above 0")
        machine = _machine(hardware, utilisation)
        C = machine.flops_per_hour * hours
        return cls(C, f"{typed(C, 3)} FLOP, {hours:g} h of {machine.told}", machine)

    @classmethod
    def of_money(
        cls, money: float, hardware: str | Machine, price: float, utilisation: float = UTILISATION
    ) -> "Budget":
        """What `money` buys of hardware that costs `price` per chip and hour, in the same currency."""
        for what, value in (("money", money), ("price per chip and hour", price)):
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{what} {value:g}: wanted a number above 0")
        machine = _machine(hardware, utilisation)
        hours = money / (price * machine.number)
        C, bought = machine.flops_per_hour * hours, f"{hours:.4g} h of {machine.told}"
        return cls(C, f"{typed(C, 3)} FLOP, {money:g} at {price:g} per chip-hour: {bought}", machine)


def _machine(hardware: str | Machine, utilisation: float) -> Machine:
    return hardware if isinstance(hardware, Machine) else Machine.named(hardware, utilisation)


def _check_share(utilisation: float) -> None:
    if not 0 < utilisation <= 1:
        raise InputError(f"utilisation {utilisation:g}: wanted a share between 0 and 1, such as {UTILISATION:g}")
