"""What a request will cost before anybody commits to it: FLOP, hours, chip-hours and, with a price list, money.

Hours come from one of two places, and it is always said from which: an assumed share of the chips' peak, or the
throughput of a finished study on the same kind of task, taken at the nearest model sizes. FLOP count every matrix
product with the causal half of the attention and the output head, the convention of model FLOP utilisation.
"""

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from launch.request import Request
from scaling import config, counts, folders, split, study
from scaling.config import RunConfig, Study
from scaling.errors import InputError

ASSUMED = 0.4  # of the peak: what well-run large models reach
SMALL = 10**8  # parameters below which that is out of reach


@dataclasses.dataclass(frozen=True)
class Speed:
    """FLOP per second of one task's hardware, by model size."""

    told: str
    rate: Callable[[float], float]  # of N; nan where nothing is known


def assumed(request: Request, share: float = ASSUMED) -> Speed:
    """A share of the peak of all the task's chips."""
    if not 0 < share <= 1:
        raise InputError(f"MFU {share:g}: wanted a share between 0 and 1, such as {ASSUMED:g}")
    chip = request.accelerator.chip
    if math.isnan(chip.peak):
        what = "a CPU has no peak" if chip.kind == "cpu" else f"no peak of a {chip.name} was given"
        return Speed(f"hours unknown: {what} to take a share of; --measured STUDY tells", lambda N: math.nan)
    told = f"MFU {share:.0%}, assumed, of {request.chips} x {chip.peak / 1e12:g} TFLOP/s"
    return Speed(told, lambda N: share * chip.peak * request.chips)


def measured(folder: Path, request: Request) -> Speed:
    """The throughput of the finished packs of a study that ran on what one task here has.

    Raises:
      InputError: no study, nothing finished, another kind of device.
    """
    found = study.read(folder)
    kind = request.accelerator.chip.kind
    if found.layout.device != kind:
        raise InputError(f"{folder} was measured on a {found.layout.device}, {request.accelerator.name} is a {kind}")
    points: dict[float, list[float]] = {}
    for pack in found.packs:
        done = found.done(pack)
        if done and done["seconds"] > 0:
            configs = [run.config for run in pack.runs]
            N = float(np.mean([run.model.N for run in configs]))
            points.setdefault(N, []).append(sum(map(flops, configs)) / done["seconds"] * found.layout.workers)
    if not points:
        raise InputError(f"{folder} has no finished pack to measure by; wait for one, or leave --measured out")
    sizes = np.array(sorted(points))
    rates = np.array([np.median(points[N]) for N in sizes])
    peak = request.accelerator.chip.peak * request.chips
    share = "" if math.isnan(peak) else f", MFU {rates.min() / peak:.1%} to {rates.max() / peak:.1%}"
    told = f"measured in {folder}: {rates.min():.3g} to {rates.max():.3g} FLOP/s per task{share}"
    return Speed(told, lambda N: float(np.exp(np.interp(math.log(N), np.log(sizes), np.log(rates)))))


def flops(run: RunConfig) -> float:
    """FLOP of one training run."""
    each = counts.flops_per_token(run.model)
    return float((each["flops_attention"] + each["flops_head"] - each["flops"]) * run.tokens)


@dataclasses.dataclass(frozen=True)
class Pack:
    """The runs of one program, which are trained together."""

    params: int
    runs: int
    tokens: int
    flops: float
    hours: float  # of one task


@dataclasses.dataclass(frozen=True)
class Prices:
    """Money per chip and hour, by chip, and by chip and "spot"."""

    source: Path
    currency: str
    per_chip_hour: Mapping[str, Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Cost:
    """Per pack and in total."""

    packs: tuple[Pack, ...]
    tasks: int
    wall_hours: float  # of the longest part
    chips: int  # of one task
    speed: Speed
    price: float  # per chip and hour; nan where no list was given
    currency: str

    @property
    def flops(self) -> float:
        return sum(pack.flops for pack in self.packs)

    @property
    def hours(self) -> float:
        """Of one task, if it did everything."""
        return sum(pack.hours for pack in self.packs)

    @property
    def chip_hours(self) -> float:
        return self.chips * self.hours

    def lines(self) -> list[str]:
        """A table for the terminal."""
        form = "{:>14} {:>5} {:>16} {:>10} {:>10} {:>11} {:>12}"
        money = "" if math.isnan(self.price) else self.currency
        lines = [form.format("pack: N", "runs", "tokens", "FLOP", "hours", "chip-hours", money).rstrip()]

        def row(name: str, runs: int, tokens: int, flops: float, hours: float, chip_hours: float) -> str:
            paid = "" if math.isnan(self.price) else _short(chip_hours * self.price)
            cells = (f"{flops:.3g}", _short(hours), _short(chip_hours), paid)
            return form.format(name, runs, f"{tokens:,}", *cells).rstrip()

        for pack in self.packs:
            chip_hours = pack.hours * self.chips
            lines.append(row(f"{pack.params:,}", pack.runs, pack.tokens, pack.flops, pack.hours, chip_hours))
        runs, tokens = sum(pack.runs for pack in self.packs), sum(pack.tokens for pack in self.packs)
        lines.append(row("in total", runs, tokens, self.flops, self.hours, self.chip_hours))
        if self.tasks > 1 and not math.isnan(self.wall_hours):
            lines.append(f"the longest of {self.tasks} parts takes {_short(self.wall_hours)} hours")
        lines.append(f"{self.speed.told}; start-up, compilation and waiting in the queue come on top")
        if "assumed" in self.speed.told and any(pack.params < SMALL for pack in self.packs):
            lines.append(
                f"models below N = {SMALL:.0e} reach far less than that: --measured STUDY, after a few of them"
            )
        return lines


def estimate(request: Request, wanted: Study, speed: Speed, prices: Prices | None = None) -> Cost:
    """The cost of all runs of `wanted`.

    Raises:
      InputError: a price list without this chip.
    """
    groups: dict[RunConfig, list[RunConfig]] = {}
    for run in dict.fromkeys(wanted.runs):
        groups.setdefault(config.program(run), []).append(run)
    packs = [_pack(runs, speed) for runs in groups.values()]
    parts = split.parts(wanted.runs, request.tasks)
    each = [0.0] * request.tasks
    for run, part in parts.items():
        each[part - 1] += _hours(run, speed)
    price = _price(prices, request) if prices else math.nan
    return Cost(
        packs=tuple(sorted(packs, key=lambda pack: pack.flops)),
        tasks=request.tasks,
        wall_hours=max(each),
        chips=request.chips,
        speed=speed,
        price=price,
        currency=prices.currency if prices else "",
    )


def _pack(runs: Sequence[RunConfig], speed: Speed) -> Pack:
    hours = sum(_hours(run, speed) for run in runs)
    return Pack(runs[0].model.N, len(runs), sum(run.tokens for run in runs), sum(map(flops, runs)), hours)


def _hours(run: RunConfig, speed: Speed) -> float:
    return flops(run) / speed.rate(run.model.N) / 3600


def read_prices(path: Path) -> Prices:
    """A price list in TOML: `currency`, and per chip what an hour costs, on demand and spot.

        currency = "USD"
        [v5e]
        on_demand = 1.20
        spot = 0.60

    Raises:
      InputError: no such file, not TOML, not a number above 0.
    """
    try:
        values = tomllib.loads(folders.read_text(path, "a price list, as docs/launch/README.md shows one"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not a price list in TOML: {error}; docs/launch/README.md shows one") from None
    currency = values.pop("currency", "")
    if not isinstance(currency, str) or not currency:
        raise InputError(f'{path} names no currency; add a line such as currency = "USD"')
    for chip, kinds in values.items():
        if not isinstance(kinds, dict) or not kinds:
            raise InputError(f"{path}: {chip} = {kinds!r}; wanted [{chip}] and under it on_demand = 1.20")
        for kind, price in kinds.items():
            if kind not in ("on_demand", "spot"):
                raise InputError(f"{path}: {chip}.{kind}; wanted on_demand or spot")
            if isinstance(price, bool) or not isinstance(price, int | float) or not 0 < price < math.inf:
                raise InputError(f"{path}: {chip}.{kind} = {price!r}; wanted a number above 0")
    return Prices(path, currency, values)


def _price(prices: Prices, request: Request) -> float:
    chip, kind = request.accelerator.chip.name, "spot" if request.spot else "on_demand"
    try:
        return prices.per_chip_hour[chip][kind]
    except KeyError:
        raise InputError(f"{prices.source} has no {kind} price of {chip}; add [{chip}] and {kind} = ...") from None


def _short(value: float) -> str:
    if math.isnan(value):
        return "?"
    if value < 0.005:
        return "<0.01"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
