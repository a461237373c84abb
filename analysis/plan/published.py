"""What published constants say of a budget or a run: beside one's own plan, or where there is no fit of one's own.

N as each counts it, D in tokens, C in FLOP, losses in nats per token of the text and the tokenizer of each.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from analysis import frontier
from analysis.digits import short, typed
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.jsonable import jsonable
from analysis.laws import Chinchilla, Gadre, Muennighoff
from analysis.plan import experts
from analysis.plan.prices import fresh_data, repeating, with_unique_tokens
from analysis.plan.reach import outside
from analysis.plan.routes import Route
from analysis.reference import published, value
from scaling.counts import PF_DAY
from scaling.errors import InputError

PREFIX = "published:"  # before a name, where a file with a fit could stand
FIRST = "chinchilla"  # for whoever has no reason to take another

# Full digits: rounding alone turns Hoffmann's 58.9 tokens per parameter at Gopher's budget into 92.6.
HOFFMANN = Chinchilla(
    E=math.exp(0.5267228), A=math.exp(6.0073404), B=math.exp(6.0179186), alpha=0.33917084, beta=0.2849083
)
BESIROGLU = Chinchilla(**{name: value(name, "besiroglu2024") for name in ("E", "A", "B", "alpha", "beta")})  # printed
# The lowest summed Huber objective on the same 240 points; the printed constants lie a little above it.
BESIROGLU_OPTIMUM = Chinchilla(E=1.8172181, A=477.82587, B=2143.4174, alpha=0.3473105, beta=0.36717243)

SMALL, LARGE = "without embeddings", "with embeddings"


def _kaplan(C: float) -> float:
    """At the batch B_crit, C = 2 C_min: Kaplan et al. (2020) eqs. 5.5 and 6.1, Table 6."""
    return value("N_e") * (C / 2 / PF_DAY) ** value("p_N")


def _deepseek(C: float) -> float:
    """M_opt in FLOP per token, attention included, as a number of parameters: Bi et al. (2024) eq. 4."""
    paper = "bi2024_deepseek"
    return value("M_coeff", paper) * C ** value("M_exponent", paper) / FLOP_PER_PARAM_TOKEN


def _llama3(C: float) -> float:
    """D_opt = 0.299 C^0.537: Llama Team (2024) sec. 3.2.1, Figure 3."""
    line = published()["llama3_2024"]["tokens_opt"]["value"]
    return C / (FLOP_PER_PARAM_TOKEN * line["coeff"] * C ** line["exponent"])


def _muennighoff() -> Muennighoff:
    constants = {name: value(name, "muennighoff2023") for name in ("E", "A", "B", "alpha", "beta")}
    decay = {"R_D": value("R_D_star", "muennighoff2023"), "R_N": value("R_N_star", "muennighoff2023")}
    return Muennighoff(**constants, **decay)


def _gadre(text: str) -> Gadre:
    return Gadre(**{name: value(f"{text}_{name}", "gadre2024") for name in ("E", "a", "b", "eta")})


def _gemstones() -> Chinchilla:
    found = published()["mcleish2025_gemstones"]["approach3_cooldown"]["value"]
    scales = {name: math.exp(found[f"log_{name}"]) for name in ("E", "A", "B")}
    return Chinchilla(**scales, alpha=found["alpha"], beta=found["beta"])


@dataclasses.dataclass(frozen=True)
class Published:
    """One published answer to how compute is best spent: a law L(N, D), or N_opt(C) alone.

    Attributes:
        counts, data, runs: what its N counts, the text it was fitted to, and its runs in words.
        ranges: of their `params` or `flops`.
        left_out: why it does not belong to the spread of those that can be believed; empty where it does. Those that
            disagree belong to it all the same: what is left out has a known fault.
    """

    name: str
    source: str
    counts: str
    data: str
    runs: str
    ranges: Mapping[str, tuple[float, float]]
    law: Chinchilla | Muennighoff | Gadre | None = None
    size: Callable[[float], float] | None = None
    left_out: str = ""
    repeats: bool = False  # whether the constants of repetition of Muennighoff et al. (2023) go with it

    @property
    def fresh(self) -> Chinchilla | Gadre | None:
        """The law of tokens that are seen once."""
        return fresh_data(self.law) if isinstance(self.law, Muennighoff) else self.law

    def beyond(self, **columns: float) -> list[str]:
        """Which of params and flops lie outside its runs, as `reach.beyond` says it of a fit."""
        return outside(self.ranges, columns)

    @property
    def told(self) -> str:
        return f"{PREFIX}{self.name}, {self.source}\n{self.runs}; N {self.counts}; trained on {self.data}"


PUBLISHED = {
    one.name: one
    for one in (
        Published(
            FIRST,
            "Besiroglu et al. (2024): the runs of Hoffmann et al. (2022), fitted anew",
            LARGE,
            "MassiveText",
            "240 runs, N 44M to 16B",
            {"params": (4.4e7, 1.6e10)},
            BESIROGLU,
            repeats=True,
        ),
        Published(
            "muennighoff",
            "Muennighoff et al. (2023)",
            LARGE,
            "C4",
            "54 runs of one epoch, N 7M to 8.7B",
            {"params": (7e6, 8.7e9)},
            _muennighoff(),
            repeats=True,
        ),
        *(
            Published(
                f"gadre-{text.lower()}",
                "Gadre et al. (2024), refitted from their runs",
                LARGE,
                f"{text}, loss on C4" if text != "C4" else "C4",
                "5 runs, used up to N 6.9B",
                {"params": (1.1e7, 6.9e9)},
                _gadre(text.lower()),
            )
            for text in ("C4", "RedPajama", "RefinedWeb")
        ),
        Published(
            "gemstones",
            "McLeish et al. (2025), approach 3 on cooled-down ends",
            LARGE,
            "Dolma",
            "22 shapes, N 48M to 2B, D to 100B",
            {"params": (4.8e7, 2e9)},
            _gemstones(),
        ),
        Published(
            "deepseek",
            "Bi et al. (2024) eq. 4",
            "FLOP per token / 6, attention included",
            "their own Chinese and English",
            "8 budgets, C 1e17 to 3e20",
            {"flops": (1e17, 3e20)},
            size=_deepseek,
        ),
        Published(
            "llama3",
            "Llama Team (2024), Figure 3",
            "not said",
            "their own mix",
            "C 6e18 to 1e22",
            {"flops": (6e18, 1e22)},
            size=_llama3,
        ),
        Published(
            "hoffmann",
            "Hoffmann et al. (2022), approach 3 with all digits",
            LARGE,
            "MassiveText",
            "over 400 runs, N 44M to 16B",
            {"params": (4.4e7, 1.6e10)},
            HOFFMANN,
            left_out="its optimiser stopped early (Besiroglu et al. 2024)",
            repeats=True,
        ),
        Published(
            "kaplan",
            "Kaplan et al. (2020) eq. 6.1 at the batch B_crit",
            SMALL,
            "WebText2",
            "N 768 to 1.5B",
            {"params": (768, 1.5e9)},
            size=_kaplan,
            left_out="no embeddings counted, warm-up and rate alike for all sizes (Porian et al. 2024)",
        ),
    )
}


def find(name: str) -> Published:
    """The published constants of a name, with or without `published:` before it.

    Raises:
        InputError: there are none of that name.
    """
    short_name = name.removeprefix(PREFIX).lower()
    if short_name == experts.NAME:
        raise InputError(
            f"{name} holds models of several numbers of experts beside each other: scaling plan {PREFIX}{experts.NAME} "
            f"--flops C --experts 1 8 32; without --experts take {PREFIX}{FIRST}"
        )
    if short_name not in PUBLISHED:
        raise InputError(
            f"{name}: wanted {PREFIX}NAME, of {', '.join(PUBLISHED)}; {PREFIX}{FIRST} where none is better"
        )
    return PUBLISHED[short_name]


@dataclasses.dataclass(frozen=True)
class Rival:
    """What published constants say about the same budget; `loss` is what this fit expects of their choice."""

    name: str
    params: float
    tokens: float
    loss: float
    counts: str  # what their N counts


def rivals(C: float, way: Route) -> tuple[Rival, ...]:
    """The choices of Kaplan's, Hoffmann's, Besiroglu's and DeepSeek's constants.

    Args:
        C: FLOP.
        way: by which their choices are judged, as they stand, whatever N it counts.
    """

    def optimum(law: Chinchilla) -> float:
        return float(frontier.chinchilla_optimum(law, C).params)

    sizes = [
        ("Kaplan (2020)", _kaplan(C), SMALL),
        ("Hoffmann (2022), 20 tokens per parameter", math.sqrt(C / (20 * FLOP_PER_PARAM_TOKEN)), LARGE),
        ("Hoffmann (2022), approach 3", optimum(HOFFMANN), LARGE),
        ("Besiroglu (2024), as printed", optimum(BESIROGLU), LARGE),
        ("Besiroglu's data, exact optimum", optimum(BESIROGLU_OPTIMUM), LARGE),
        ("DeepSeek (2024), their own data", _deepseek(C), "is FLOP per token / 6"),
    ]
    return tuple(Rival(name, N, C / (FLOP_PER_PARAM_TOKEN * N), way.loss(N, C), what) for name, N, what in sizes)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What one of the published fits says: of a budget its own best run, of a run its loss; nan where it tells none."""

    name: str
    params: float
    tokens: float
    loss: float  # of its own text, so not to be held against another's
    counts: str
    data: str
    left_out: str

    @property
    def outside(self) -> str:
        return ", not in the range" if self.left_out else ""

    def text(self) -> str:
        loss = f", loss {self.loss:.3f}" if math.isfinite(self.loss) else ""
        size = f"N {short(self.params)}, D {short(self.tokens)}, D/N {typed(self.tokens / self.params, 3)}"
        return f"{self.name:<16} {size}{loss} (N {self.counts}; {self.data}{self.outside})"


def choices(C: float, unique_tokens: float | None = None) -> tuple[Choice, ...]:
    """How each of the published fits would spend C FLOP.

    Args:
        unique_tokens: that exist; fits that say nothing of repeated data stay out.
    """
    found = []
    for one in PUBLISHED.values():
        if unique_tokens is not None and not one.repeats:
            continue
        if unique_tokens is not None:
            assert isinstance(one.law, Chinchilla | Muennighoff)
            best = with_unique_tokens(one.law, C, unique_tokens).cheapest
            N, D, loss = float(best.params), float(best.tokens), float(best.loss)
        elif one.size:
            N = one.size(C)
            D, loss = C / (FLOP_PER_PARAM_TOKEN * N), math.nan
        else:
            assert one.fresh
            best = frontier.best(one.fresh, C)
            N, D, loss = float(best.params), float(best.tokens), float(best.loss)
        found.append(Choice(one.name, N, D, loss, one.counts, one.data, one.left_out))
    return tuple(found)


def spread(found: tuple[Choice, ...]) -> dict[str, tuple[float, float]]:
    """Lowest and highest N and D of those that can be believed; nan where a single one is left."""
    kept = [one for one in found if not one.left_out]
    if len(kept) < 2:
        return {}
    return {
        name: (min(getattr(one, name) for one in kept), max(getattr(one, name) for one in kept))
        for name in ("params", "tokens")
    }


def reasons(found: tuple[Choice, ...]) -> list[str]:
    """Why some of them are not in the range."""
    return [f"{one.name} is not in the range: {one.left_out}" for one in found if one.left_out]


@dataclasses.dataclass(frozen=True)
class Expected:
    """The loss of one run by published constants, and by the others beside them."""

    by: Published
    params: float
    tokens: float
    unique_tokens: float | None
    loss: float
    others: tuple[Choice, ...]

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest loss of those that can be believed, each on its own text."""
        losses = [one.loss for one in self.others if not one.left_out]
        return min(losses), max(losses)

    def to_dict(self) -> dict[str, Any]:
        return jsonable(
            {
                "by": self.by.name,
                "source": self.by.source,
                "params": self.params,
                "tokens": self.tokens,
                "unique_tokens": self.unique_tokens,
                "loss": self.loss,
                "range": list(self.range),
                "others": [dataclasses.asdict(one) for one in self.others],
            }
        )

    def text(self) -> str:
        low, high = self.range
        run = f"N {short(self.params)} on {short(self.tokens)} tokens"
        if self.unique_tokens is not None:
            run += f", {short(self.unique_tokens)} of them unique"
        rows = (f"  {one.name:<16} {one.loss:.3f} ({one.data}; N {one.counts}){one.outside}" for one in self.others)
        return "\n".join(
            [
                f"Warning: {NOT_YOURS}",
                *(f"Warning: {told}" for told in self.by.beyond(params=self.params)),
                f"loss {self.loss:.3f} nats per token of {self.by.data}: {run}",
                f"by {self.by.told}",
                f"published fits, lowest to highest: {low:.3f} to {high:.3f}, each on its own text and tokenizer:",
                *rows,
                *(f"Note: {told}" for told in reasons(self.others)),
            ]
        )


NOT_YOURS = (
    "published constants, no run of yours: of your text, tokenizer and recipe they know nothing, and your loss may lie "
    "outside all of them"
)


def expect(name: str, params: float, tokens: float, unique_tokens: float | None = None) -> Expected:
    """The loss of N parameters on D tokens by published constants.

    Raises:
        InputError: unknown constants, those that tell no loss, or a number below 1.
    """
    by = find(name)
    for what, number in (("params", params), ("tokens", tokens), ("unique_tokens", unique_tokens)):
        if number is not None and not 1 <= number < math.inf:
            raise InputError(f"{what} {number:g}: wanted 1 or more")
    with_law = [one for one in PUBLISHED.values() if one.law]
    if unique_tokens is not None:
        with_law = [one for one in with_law if one.repeats]
    if by not in with_law:
        what = "of a run" if unique_tokens is None else "of repeated data"
        raise InputError(
            f"{PREFIX}{by.name} tells no loss {what}; wanted one of {', '.join(one.name for one in with_law)}"
        )

    def loss(one: Published) -> float:
        surface: Any = one.fresh if unique_tokens is None else repeating(one.law, unique_tokens)  # pyright: ignore
        return float(surface(params, tokens))

    others = tuple(Choice(one.name, params, tokens, loss(one), one.counts, one.data, one.left_out) for one in with_law)
    own = next(other.loss for other in others if other.name == by.name)
    return Expected(by, params, tokens, unique_tokens, own, others)
