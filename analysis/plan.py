"""From a fitted law and a budget to the next model, its expected loss and the price of being wrong.

N as the fitted law counts it, D in tokens, C in FLOP, losses in nats per token.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis import frontier
from analysis.fit import Fit
from analysis.frontier import FLOP_PER_PARAM_TOKEN, PF_DAY, Array, Optimum, percentile_interval
from analysis.kaplan_path import KaplanPath
from analysis.laws import Chinchilla, KaplanBCrit, KaplanNS, Law, Muennighoff
from analysis.prices import (
    Overtrained,
    Repeated,
    Served,
    fresh_data,
    overtrained,
    price_of_size,
    with_inference,
    with_unique_tokens,
)
from analysis.recipe import (
    ASPECT,
    RateRule,
    Shape,
    published_batches,
    published_learning_rates,
    shape_for,
)
from scaling.errors import InputError

# Dense bfloat16 FLOP per second and chip, from the makers' data sheets.
PEAK = {
    "v4": 275e12,
    "v5e": 197e12,
    "v5p": 459e12,
    "v6e": 918e12,
    "a100": 312e12,
    "h100": 989e12,
    "h200": 989e12,
    "b200": 2250e12,
}
CORES_PER_CHIP = {"v4": 2, "v5p": 2}  # whose slices are named by cores: v5p-128 has 64 chips
UTILISATION = 0.4  # of the peak, in training
PRICED = (0.5, 2.0)  # times the best size
FARTHEST = 100.0  # times the compute of the largest run: beyond it a plan is called a guess

# What every plan is held against. Full digits: rounding alone turns 58.9 tokens per parameter into 92.6.
HOFFMANN = Chinchilla(
    E=math.exp(0.5267228), A=math.exp(6.0073404), B=math.exp(6.0179186), alpha=0.33917084, beta=0.2849083
)
BESIROGLU = Chinchilla(E=1.81722, A=477.83, B=2143.42, alpha=0.34731, beta=0.36717)


# --- budgets


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
        hours = f"{flops / rate:.4g} h of {hardware} at {utilisation:.0%} of its peak"
        return cls(float(flops), f"{told} = {hours}", rate)

    @classmethod
    def of_hardware(cls, name: str, hours: float, utilisation: float = UTILISATION) -> "Budget":
        """Chips x hours x utilisation. Names as in v5p-128 (cores), v5e-256 or h100-8 (chips); see `chips`."""
        rate = _rate(name, utilisation)
        told = f"{rate * hours:.3g} FLOP, {name} for {hours:g} h at {utilisation:.0%} of its peak"
        return cls(rate * hours, told, rate)

    @classmethod
    def of_money(cls, money: float, name: str, price: float, utilisation: float = UTILISATION) -> "Budget":
        """What `money` buys of hardware that costs `price` per chip and hour, in the same currency."""
        if not price > 0:
            raise InputError(f"price of {price:g} per chip and hour: wanted a number above 0")
        rate = _rate(name, utilisation)
        hours = money / (price * chips(name)[1])
        bought = f"{hours:.4g} h of {name} at {utilisation:.0%}"
        return cls(rate * hours, f"{rate * hours:.3g} FLOP, {money:g} at {price:g} per chip-hour: {bought}", rate)


def chips(name: str) -> tuple[str, int]:
    """The kind and number of chips in a slice: v5p-128 has 64 (TPU v4 and v5p count cores), v5e-256 has 256.

    Raises:
        InputError: an unknown chip, or no number of them.
    """
    kind, _, number = name.lower().rpartition("-")
    if kind not in PEAK or not number.isdigit() or not int(number):
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


# --- the plan


@dataclasses.dataclass(frozen=True)
class SurfaceRoute:
    """How C is spent by a law L(N, D), D processed in at most one epoch."""

    law: Callable[..., Any]

    def best(self, C: float) -> Optimum:
        return frontier.best(self.law, C)

    def loss(self, N: float, C: float) -> float:
        return float(self.law(N, C / (FLOP_PER_PARAM_TOKEN * N)))

    def excess(self, C: float, ratios: ArrayLike) -> Array:
        return price_of_size(self.law, C, ratios)

    def given(self, N: float, C: float) -> Overtrained:
        return overtrained(self.law, N, C)


@dataclasses.dataclass(frozen=True)
class KaplanRoute:
    """How C is spent with the batch at B_crit, by L(N, S_min) and B_crit(L): C = 2 C_min and S = 2 S_min (5.4, 5.5)."""

    path: KaplanPath

    def best(self, C: float) -> Optimum:
        C_min = np.asarray(C / 2)
        return Optimum(np.asarray(C), self.path.params(C_min), 2 * self.path.tokens(C_min), self.path.loss(C_min))

    def loss(self, N: float, C: float) -> float:
        return float(self.path.loss_at(N, C / 2))

    def excess(self, C: float, ratios: ArrayLike) -> Array:
        return self.path.excess_compute(ratios) - 1

    def given(self, N: float, C: float) -> Overtrained:
        loss = self.loss(N, C)
        cheapest = self.best(2 * self.path.C_c * loss ** (-1 / self.path.alpha_C))  # (B.6) solved for C_min
        return Overtrained(float(N), C / (FLOP_PER_PARAM_TOKEN * N), loss, cheapest)


Route = SurfaceRoute | KaplanRoute


def route(law: Law, B_crit: KaplanBCrit | None = None) -> Route:
    """The way a law spends compute.

    Raises:
        InputError: L(N, S_min) without B_crit(L), or a law that says nothing of compute.
    """
    if isinstance(law, KaplanNS):
        if B_crit is None:
            raise InputError("kaplan-ns spends no compute by itself: give a fit of kaplan-bcrit beside it")
        return KaplanRoute(KaplanPath(law.alpha_N, law.N_c, law.alpha_S, law.S_c, B_crit.alpha_B, B_crit.B_star))
    if isinstance(law, Muennighoff):
        law = fresh_data(law)
    if law.inputs != ("params", "tokens"):
        raise InputError(
            f"{law.name} is a law of {', '.join(law.inputs)}: no size follows from it; fit chinchilla, muennighoff or "
            "kaplan-ns"
        )
    return SurfaceRoute(law)


@dataclasses.dataclass(frozen=True)
class Rival:
    """What published constants say about the same budget; `loss` is what this fit expects of their choice."""

    name: str
    params: float
    tokens: float
    loss: float
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The next run. Intervals are (low, high) at `level`; nan where the fit gives none.

    `a` is the exponent of N ~ C^a at this budget. The batch is in tokens; `batches` and `learning_rates` say by which
    rule each suggestion comes, one's own measurement first. `price` is the excess compute (relative) of sizes that are
    `price.keys()` times the best one.
    """

    budget: Budget
    law: str
    params: float
    tokens: float
    loss: float
    a: float
    intervals: Mapping[str, tuple[float, float]]  # of params, tokens, loss, a
    level: float
    batch: float
    steps: float
    batches: Mapping[str, float]
    shape: Shape | None
    learning_rates: Mapping[str, float]
    price: Mapping[float, float]
    rivals: tuple[Rival, ...]
    served: Served | None
    repeated: Repeated | None
    overtrained: Overtrained | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; infinite and missing numbers become null."""
        out = dataclasses.asdict(self)
        out["budget"]["hours"] = self.budget.hours
        out["price"] = {f"{ratio:g}": excess for ratio, excess in self.price.items()}
        out["tokens_per_param"] = self.tokens / self.params
        if self.shape:
            out["shape"] |= {"d_ff": self.shape.d_ff, "params": self.shape.params}
        for name, extra in (("served", "saving"), ("repeated", "epochs"), ("overtrained", "excess")):
            if part := getattr(self, name):
                out[name][extra] = getattr(part, extra)
        return plain(out)

    def text(self) -> str:
        """The plan as a person reads it."""

        def between(name: str, told: Callable[[float], str]) -> str:
            ends = self.intervals[name]
            return f"  ({self.level:.0%}: {told(ends[0])} to {told(ends[1])})" if all(map(math.isfinite, ends)) else ""

        ratio = self.tokens / self.params
        lines = [
            f"Budget     {self.budget.told}",
            f"Law        {self.law}",
            f"N          {count(self.params)} parameters{between('params', count)}, growing as C^{self.a:.3f}",
            f"D          {count(self.tokens)} tokens{between('tokens', count)}, {ratio:.3g} per parameter",
            f"Loss       {self.loss:.4f} nats/token{between('loss', '{:.4f}'.format)}",
            f"Batch      {count(self.batch)} tokens, {count(self.steps)} steps",
            *(f"             {count(B)} by {name}" for name, B in self.batches.items()),
        ]
        if s := self.shape:
            heads = f"n_head {s.n_head}, d_ff {s.d_ff}"
            lines.append(f"Shape      d_model {s.d_model}, n_layer {s.n_layer}, {heads}: N = {count(s.params)}")
        lines.append("Learning rate (peak)")
        lines += [f"             {rate:.3g} by {name}" for name, rate in self.learning_rates.items()]
        lines.append("Price of another size, for the same loss")
        for ratio, excess in self.price.items():
            told = f"{excess:+.1%} compute" if math.isfinite(excess) else "never reaches it"
            lines.append(f"             {ratio:g} x N: {told}")
        if v := self.served:
            lines += [
                f"Served     {count(v.inference_tokens)} tokens of inference: {count(v.params)} on {count(v.tokens)}",
                f"             reaches {v.loss:.4f} and saves {v.saving:.1%} of {v.cost_of_cheapest_to_train:.3g} FLOP",
            ]
        if r := self.repeated:
            b = r.best
            lines += [
                f"Repeated   {count(r.unique_tokens)} unique tokens: {count(b.params)} on {count(b.tokens)}, "
                f"{r.epochs:.3g} epochs",
                f"             reaches {float(b.loss):.4f}, against {float(r.fresh.loss):.4f} with fresh tokens",
            ]
        if o := self.overtrained:
            lines += [
                f"Given N    {count(o.params)} on {count(o.tokens)} tokens reaches {o.loss:.4f}",
                f"             {o.excess:+.1%} compute against the cheapest way there, {count(o.cheapest.params)}",
            ]
        lines.append("Others would say")
        for r in self.rivals:
            note = f" ({r.note})" if r.note else ""
            lines.append(
                f"             {r.name}: {count(r.params)} on {count(r.tokens)}, {r.tokens / r.params:.3g} per "
                f"parameter; loss {r.loss:.4f} by this fit{note}"
            )
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def plan(
    fit: Fit,
    budget: Budget | float,
    *,
    B_crit: Fit | None = None,
    rates: RateRule | None = None,
    aspect: float = ASPECT,
    embedding_rows: int = 0,
    inference_tokens: float | None = None,
    unique_tokens: float | None = None,
    params: float | None = None,
) -> Plan:
    """The compute-optimal run for a budget, by a fitted law.

    Args:
        fit: of a law of (params, tokens), of Muennighoff's, or of Kaplan's L(N, S_min), which needs `B_crit` and leads
            along his path with the batch at B_crit.
        budget: a `Budget`, or FLOP.
        B_crit: fit of B_crit(L) to one's own runs; without it the batch is a published rule's.
        rates: rule from one's own sweep (`rate_rule`); without it only published rules are listed.
        aspect: d_model / n_layer of the shape.
        embedding_rows: n_vocab (+ n_ctx) where the law's N counts embeddings, so that the shape does too.
        inference_tokens: tokens the model will read and write: the lifetime answer is added.
        unique_tokens: tokens that exist: the answer with repetition is added.
        params: a size that is given: the price of over-training or under-training it is added.

    Raises:
        InputError: a budget, law or argument that cannot be used.
    """
    budget = budget if isinstance(budget, Budget) else Budget.of_flops(budget)
    C, law = budget.flops, fit.law
    own_B = _critical(B_crit)
    way = route(law, own_B)
    if inference_tokens and not isinstance(way, SurfaceRoute):
        raise InputError(f"{law.name} says nothing of inference: fit a law of params, tokens, such as chinchilla")
    if unique_tokens and not isinstance(law, Chinchilla | Muennighoff):
        raise InputError(f"{law.name} says nothing of repeated data: fit chinchilla or muennighoff")
    best = way.best(C)
    N, D, L = float(best.params), float(best.tokens), float(best.loss)
    intervals, notes = _intervals(fit, B_crit, C)
    notes += _extrapolation(fit, C)
    if own_B:
        batches = {"your B_crit(L); twice the least steps, twice the least tokens": float(own_B(L))}
    else:
        batches = published_batches(D, C, L)
        notes.append("no B_crit(L) of yours: batches are published rules, found on other data")
    if unique_tokens and isinstance(law, Chinchilla):
        notes.append("repetition by Muennighoff's R_D* = 15.4, R_N* = 5.3, borrowed; their runs identify them weakly")
    try:
        shape = shape_for(N, aspect=aspect, rows=embedding_rows)
    except InputError as error:
        shape = None
        notes.append(f"no shape: {error}")
    doubt = [] if fit.status == "converged" else [f"the fit is doubtful, {fit.status}: {fit.why}"]
    batch = next(iter(batches.values()))
    own_rate = {"your sweep": float(rates(N))} if rates else {}
    surface = way.law if isinstance(way, SurfaceRoute) else None
    return Plan(
        budget=budget,
        law=f"{law.name}, {law.source}; {fit.n_runs} runs, {fit.status}",
        params=N,
        tokens=D,
        loss=L,
        a=_exponent(way, C),
        intervals=intervals,
        level=fit.level,
        batch=batch,
        steps=D / batch,
        batches=batches,
        shape=shape,
        learning_rates={**own_rate, **published_learning_rates(N, D, C)},
        price=dict(zip(PRICED, map(float, way.excess(C, PRICED)), strict=True)),
        rivals=rivals(C, way),
        served=with_inference(surface, L, inference_tokens) if surface and inference_tokens else None,
        repeated=with_unique_tokens(law, C, unique_tokens)
        if unique_tokens and isinstance(law, Chinchilla | Muennighoff)
        else None,
        overtrained=way.given(params, C) if params else None,
        notes=(*notes, *doubt, *(f"of the fit: {note}" for note in fit.notes)),
    )


def _critical(fit: Fit | None) -> KaplanBCrit | None:
    if fit is None:
        return None
    if not isinstance(fit.law, KaplanBCrit):
        raise InputError(f"B_crit is a fit of {fit.law.name}; wanted one of kaplan-bcrit")
    return fit.law


def rivals(C: float, way: Route) -> tuple[Rival, ...]:
    """What published constants say of a budget: Kaplan's, Hoffmann's and their refit, DeepSeek's.

    Args:
        C: FLOP.
        way: by which their choices are judged, as they stand, whatever N it counts.
    """
    small, large = "N without embeddings", "N with embeddings"
    # At the batch B_crit, C = 2 C_min: Kaplan et al. (2020) eqs. 5.5 and 6.1, Table 6.
    sizes = [("Kaplan (2020)", 1.3e9 * (C / 2 / PF_DAY) ** 0.73, small)]
    sizes.append(("Hoffmann (2022), 20 tokens per parameter", math.sqrt(C / (20 * FLOP_PER_PARAM_TOKEN)), large))
    sizes.append(("Hoffmann (2022), approach 3", float(frontier.chinchilla_optimum(HOFFMANN, C).params), large))
    sizes.append(("Besiroglu (2024), its refit", float(frontier.chinchilla_optimum(BESIROGLU, C).params), large))
    # M_opt = 0.1715 C^0.5243 FLOP per token, attention included: Bi et al. (2024) eq. 4.
    sizes.append(("DeepSeek (2024), their own data", 0.1715 * C**0.5243 / FLOP_PER_PARAM_TOKEN, "FLOP per token / 6"))
    return tuple(Rival(name, N, C / (FLOP_PER_PARAM_TOKEN * N), way.loss(N, C), note) for name, N, note in sizes)


def _exponent(way: Route, C: float) -> float:
    """d ln N_opt / d ln C over a factor of 4 around C."""
    return float(np.log(way.best(2 * C).params / way.best(C / 2).params) / np.log(4))


def _intervals(fit: Fit, B_crit: Fit | None, C: float) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Intervals of N, D, L and a: the whole chain for each bootstrap draw, or by the covariance where there are
    none.
    """
    own_B = _critical(B_crit)

    def chosen(way: Route) -> Array:
        best = way.best(C)
        return np.array([float(best.params), float(best.tokens), float(best.loss), _exponent(way, C)])

    notes = []
    if len(fit.draws):
        laws = [type(fit.law)(*constants) for constants in fit.draws]
        critical = [KaplanBCrit(*constants) for constants in B_crit.draws] if B_crit else []
        rows = []
        for i, law in enumerate(laws):
            try:
                rows.append(chosen(route(law, critical[i % len(critical)] if critical else own_B)))
            except InputError:  # this draw has no best size; counted below
                continue
        lost = len(laws) - len(rows)
        if lost > 0.05 * len(laws):
            notes.append(f"{lost} of {len(laws)} bootstrap draws have no best size: intervals are too narrow")
        ends = [percentile_interval(column) for column in np.array(rows).reshape(-1, 4).T]
        complete = bool(critical)
    else:
        around = fit.derived(lambda law: chosen(route(law, own_B)), log=True)
        ends = [(float(low), float(high)) for low, high in zip(around.low, around.high, strict=True)]
        complete = False
    if isinstance(fit.law, KaplanNS) and not complete:
        notes.append("intervals leave out what is unsure of B_crit(L): fit both with a bootstrap to have it in")
    return dict(zip(("params", "tokens", "loss", "a"), ends, strict=True)), notes


def _extrapolation(fit: Fit, C: float) -> list[str]:
    """How far the plan lies beyond the runs."""
    if not {"params", "tokens"} <= set(fit.ranges):
        return []
    largest = FLOP_PER_PARAM_TOKEN * fit.ranges["params"][1] * fit.ranges["tokens"][1]
    if C <= largest:
        return []
    guess = ": that far it is a guess" if C > FARTHEST * largest else ""
    return [f"the budget is {C / largest:.3g} times 6 N D of the largest N and D fitted{guess}"]


def plain(value: Any) -> Any:
    """Numbers, strings, lists and dicts only; null for what JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def count(x: ArrayLike) -> str:
    """1.23e9 as 1.23 B: three digits."""
    x = float(np.asarray(x))
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if 0.9995 * unit <= x < 1e15:
            return f"{x / unit:.3g} {name}"
    return f"{x:.3g}"
