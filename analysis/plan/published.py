"""What published constants say of a budget, to be held beside one's own plan."""

import dataclasses
import math

from analysis import frontier
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.laws import Chinchilla
from analysis.plan.routes import Route
from analysis.reference import value
from scaling.counts import PF_DAY

# Full digits: rounding alone turns Hoffmann's 58.9 tokens per parameter at Gopher's budget into 92.6.
HOFFMANN = Chinchilla(
    E=math.exp(0.5267228), A=math.exp(6.0073404), B=math.exp(6.0179186), alpha=0.33917084, beta=0.2849083
)
BESIROGLU = Chinchilla(**{name: value(name, "besiroglu2024") for name in ("E", "A", "B", "alpha", "beta")})  # printed
# The lowest summed Huber objective on the same 240 points; the printed constants lie a little above it.
BESIROGLU_OPTIMUM = Chinchilla(E=1.8172181, A=477.82587, B=2143.4174, alpha=0.3473105, beta=0.36717243)


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
    small, large, deepseek = "without embeddings", "with embeddings", "bi2024_deepseek"

    def optimum(law: Chinchilla) -> float:
        return float(frontier.chinchilla_optimum(law, C).params)

    sizes = [
        # At the batch B_crit, C = 2 C_min: Kaplan et al. (2020) eqs. 5.5 and 6.1, Table 6.
        ("Kaplan (2020)", value("N_e") * (C / 2 / PF_DAY) ** value("p_N"), small),
        ("Hoffmann (2022), 20 tokens per parameter", math.sqrt(C / (20 * FLOP_PER_PARAM_TOKEN)), large),
        ("Hoffmann (2022), approach 3", optimum(HOFFMANN), large),
        ("Besiroglu (2024), as printed", optimum(BESIROGLU), large),
        ("Besiroglu's data, exact optimum", optimum(BESIROGLU_OPTIMUM), large),
        # M_opt in FLOP per token, attention included: Bi et al. (2024) eq. 4.
        (
            "DeepSeek (2024), their own data",
            value("M_coeff", deepseek) * C ** value("M_exponent", deepseek) / FLOP_PER_PARAM_TOKEN,
            "is FLOP per token / 6",
        ),
    ]
    return tuple(Rival(name, N, C / (FLOP_PER_PARAM_TOKEN * N), way.loss(N, C), what) for name, N, what in sizes)
