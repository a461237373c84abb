"""What one training costs: FLOP by every convention of counting, hours, money, energy, carbon, and what laws ask of it.

N in parameters, D in tokens, C in FLOP.
"""

import dataclasses
import math
from typing import Any

from analysis.digits import compute, short, typed
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.jsonable import jsonable
from analysis.plan.budget import Machine
from analysis.plan.recipe import ASPECT, Shape, shape_for
from scaling import counts
from scaling.errors import InputError
from scaling.ladder import transformer

N_CTX, N_VOCAB = 2048, 32_000  # of a model of which nothing else is said

THRESHOLDS_OF = "November 2026"
THRESHOLDS = {  # FLOP of training, and who asks for more from there on
    1e23: "EU, Commission guidelines of July 2025: indicates a general-purpose AI model",
    1e25: "EU AI Act art. 51(2): presumed to have systemic risk",
    1e26: "California SB 53, New York RAISE Act: a frontier model",
}


@dataclasses.dataclass(frozen=True)
class Way:
    """C by one convention, and what follows from it; nan where no hardware, price or power is known."""

    name: str
    flops: float
    hours: float
    money: float
    energy: float  # kWh, of chips and what PUE adds


@dataclasses.dataclass(frozen=True)
class Account:
    """What training N parameters on D tokens costs, by convention, the plain 6 N D first.

    `pue` is the power of the whole centre over that of its chips, `grid` the grams of CO2 of one kWh.
    """

    params: float
    tokens: float
    shape: Shape | None
    n_ctx: int
    n_vocab: int
    machine: Machine | None
    price: float
    pue: float
    grid: float
    ways: tuple[Way, ...]

    @property
    def carbon(self) -> float:
        """kg of CO2 of the plain 6 N D, where the grid burns what it does on average: location-based."""
        return self.ways[0].energy * self.grid / 1000

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; missing numbers become null."""
        return jsonable(
            dataclasses.asdict(self)
            | {
                "carbon": self.carbon,
                "thresholds": [
                    {"flops": at, "of": of, "factors": [way.flops / at for way in self.ways]}
                    for at, of in THRESHOLDS.items()
                ],
                "thresholds_of": THRESHOLDS_OF,
            }
        )

    def text(self) -> str:
        """The account as a person reads it."""
        each = typed(self.tokens / self.params, 3)
        head = f"N {short(self.params)} on {short(self.tokens)} tokens, {each} per parameter"
        lines = [head, *([f"on {self.machine.told}"] if self.machine else []), *self.lines()]
        if self.machine:
            lines.append("Note: the utilisation is assumed; a model of under 1e8 parameters reaches far less")
        return "\n".join(lines)

    def lines(self) -> list[str]:
        """A table of the conventions, then energy and thresholds."""
        width = max(len(way.name) for way in self.ways)
        columns = ["FLOP", "hours", "money", "kWh"]
        cells = [[typed(way.flops, 3), *(_amount(x) for x in (way.hours, way.money, way.energy))] for way in self.ways]
        told = [k for k in range(4) if any(row[k] for row in cells)]
        lines = [" ".join([" " * width, *(f"{columns[k]:>9}" for k in told)])]
        lines += [
            " ".join([f"{way.name:<{width}}", *(f"{row[k]:>9}" for k in told)])
            for way, row in zip(self.ways, cells, strict=True)
        ]
        if s := self.shape:
            shape = f"{s.n_layer} layers of {s.d_model}, n_ctx {self.n_ctx}, n_vocab {self.n_vocab}"
            lines.append(f"({shape}; MFU is usually told with attention, its causal half, and logits)")
        return [*lines, *self.energy_lines(), *self.threshold_lines()]

    def energy_lines(self) -> list[str]:
        way, m = self.ways[0], self.machine
        if m is None or math.isnan(way.energy):
            return []
        whole = "the chips alone, PUE 1" if self.pue == 1 else f"PUE {self.pue:g}"
        told = f"{_amount(way.energy)} kWh: {_amount(way.hours * m.number)} chip-hours of {m.power:g} W, {whole}"
        if not math.isnan(self.grid):
            told += f"; {_amount(self.carbon)} kg CO2 at {self.grid:g} g per kWh"
        return [f"Energy     {told}"]

    def threshold_lines(self) -> list[str]:
        low, high = (f(way.flops for way in self.ways) for f in (min, max))
        return [
            *(f"{typed(at):<10} {distance(low, high, at)} ({of})" for at, of in THRESHOLDS.items()),
            f"(thresholds as of {THRESHOLDS_OF}; laws count later training and data made for it too: not legal advice)",
        ]


def account(
    params: float,
    tokens: float,
    machine: Machine | None = None,
    *,
    price: float = math.nan,
    pue: float = 1.0,
    grid: float = math.nan,
    n_ctx: int = N_CTX,
    n_vocab: int = N_VOCAB,
    aspect: float = ASPECT,
    embedding_rows: int = 0,
) -> Account:
    """What training costs.

    Args:
        params: N; with the embeddings where `embedding_rows` says so, else without.
        tokens: D.
        price: of a chip for an hour, in any currency.
        pue: power usage effectiveness, 1 or more.
        grid: g of CO2 per kWh.
        n_ctx, n_vocab: of the model, whose standard shape is the one nearest to N; without one there is 6 N D alone.

    Raises:
        InputError: a number that is none of these.
    """
    for what, value in (("params", params), ("tokens", tokens), ("aspect", aspect)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{what} {value:g}: wanted a number above 0")
    if embedding_rows < 0:
        raise InputError(f"{embedding_rows} embedding rows: wanted 0, or n_vocab (+ n_ctx) where N counts embeddings")
    for what, value, least in (("price", price, 0.0), ("grid", grid, 0.0)):
        if not (math.isnan(value) or least < value < math.inf):
            raise InputError(f"{what} {value:g}: wanted a number above 0")
    if not 1 <= pue < math.inf:
        raise InputError(f"PUE {pue:g}: wanted 1 or more, such as 1.1; it multiplies the energy of the chips")
    try:
        shape = shape_for(params, aspect=aspect, rows=embedding_rows)
    except InputError:
        shape = None

    def way(name: str, flops: float) -> Way:
        hours = flops / machine.flops_per_hour if machine else math.nan
        chip_hours = hours * machine.number if machine else math.nan
        watts = machine.power if machine else math.nan
        return Way(name, flops, hours, chip_hours * price, chip_hours * watts / 1000 * pue)

    ways = tuple(
        way(name, flops) for name, flops in conventions(params, tokens, shape, n_ctx=n_ctx, n_vocab=n_vocab).items()
    )
    return Account(params, tokens, shape, n_ctx, n_vocab, machine, price, pue, grid, ways)


def conventions(N: float, D: float, shape: Shape | None, *, n_ctx: int, n_vocab: int) -> dict[str, float]:
    """C of N parameters on D tokens by convention: 6 N D first, then what a shape adds (`counts.flops_per_token`)."""
    C = {"6 N D": FLOP_PER_PARAM_TOKEN * N * D}
    if shape is None:
        return C
    model = transformer(shape.d_model, shape.n_layer, shape.d_model // shape.n_head, n_ctx=n_ctx, n_vocab=n_vocab)
    by = counts.flops_per_token(model)
    if shape.rows:
        N = N - shape.rows * shape.d_model
        C["6 N D without embeddings"] = FLOP_PER_PARAM_TOKEN * N * D
    body = FLOP_PER_PARAM_TOKEN * N
    return C | {
        "with attention": (body + by["flops_attention"] - by["flops"]) * D,
        "with attention and logits": (body + counts.mfu_flops_per_token(model) - by["flops"]) * D,
        "every matrix product": (body + by["flops_total"] - by["flops"]) * D,
    }


def distance(low: float, high: float, at: float) -> str:
    """How far C, between `low` and `high` by convention, is from a threshold, as factors."""

    def factor(x: float) -> str:
        return short(x) if x >= 100 else f"{x:.3g}"

    ends = [factor(x) for x in (at / high, at / low)]
    if low >= at:
        ends = [factor(x) for x in (low / at, high / at)]
        return f"passed, {_range(*ends)} times over"
    if high >= at:
        return f"passed by some ways to count: {compute(low)} to {compute(high)}"
    return f"{_range(*ends)} times above this"


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _amount(x: float) -> str:
    return "" if math.isnan(x) else f"{x:,.0f}" if x >= 1000 else f"{x:.3g}"
