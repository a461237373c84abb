"""Reward models as proxies of a gold reward that is known: sizes times numbers of pairs, and ways to label these.

    scaling study run configs/overoptimisation/experiments.py --set budget=cpu-1h --out studies/rewards

| experiment | runs |
| --- | --- |
| `proxies` | every size, number of pairs and seed, each pair once, on a gold reward with a tail; labels without noise |
| `control` | some sizes on a gold reward without a tail |
| `repeated` | four epochs of a quarter of the pairs, and of a sixteenth |
| `soft` | every size and number of pairs on labels that are drawn: the least loss is known |

A size's numbers of pairs are branches of one trunk, but the longest of all but the largest size, which scores more
samples than they do. Pairs that are held out, and the samples of the policy, which all proxies score some or all of,
are others than those that are trained on.
"""

from collections.abc import Callable, Iterator, Mapping

from configs.budget import NAME, QUESTION, runs_of
from configs.overoptimisation.budgets import DEFAULT, Budget, named
from configs.rates import trunk
from scaling.config import CHARACTERS, DataConfig, EvalConfig, RunConfig, Study
from scaling.data.pairs import PAIRS, parse
from scaling.ladder import transformer

GOLD, CONTROL = "tail", "network"
WORLD = 2  # of the policy and the gold rewards
HELD_OUT, SCORED = 10**9, 2 * 10**9  # the first pairs that are held out, and whose texts are scored
WINDOWS = 1024  # held-out pairs
LITTLE = 4096  # pairs scored of proxies of which the accuracy alone is asked
RATE, LARGE = 4e-3, 6144  # peak, of sizes up to so many parameters; see `rate`
BATCH = 32  # pairs
WARMUP = 16  # updates
LAYERS = 2
EPOCHS = 4


def study(budget: str = DEFAULT) -> Study:
    """The runs of all experiments."""
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, named(budget)))


def proxies(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size, number of pairs and seed."""
    return tuple(
        run
        for width in budget.widths
        for seed in range(budget.seeds)
        for run in of_size(budget, width, seed=seed, scored=budget.scored, all=width == budget.widths[-1])
    )


def control(budget: Budget) -> tuple[RunConfig, ...]:
    """The longest runs of some sizes on a gold reward without a tail."""
    return tuple(
        run for width in budget.control for run in of_size(budget, width, gold=CONTROL, lengths=1, scored=budget.scored)
    )


def repeated(budget: Budget) -> tuple[RunConfig, ...]:
    """Four epochs of a quarter of the pairs, and of a sixteenth where so few are read once as well."""
    parts = [EPOCHS**k for k in range(1, min(3, budget.lengths))]
    return tuple(
        run
        for width in budget.repeated
        for part in parts
        for run in of_size(budget, width, pairs=budget.pairs * EPOCHS // part, unique=budget.pairs // part, lengths=1)
    )


def soft(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size and number of pairs, labels drawn."""
    return tuple(run for width in budget.widths if budget.soft for run in of_size(budget, width, labels="soft"))


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "proxies": proxies,
    "control": control,
    "repeated": repeated,
    "soft": soft,
}


def source(gold: str, labels: str = "hard", first: int = 0, items: int = 2) -> str:
    """Pairs of a gold reward; what is the default is left out."""
    drawn = labels if labels != "hard" else ""
    named = {"gold": gold, "labels": drawn, "world": WORLD, "first": first, "items": items}
    return f"{PAIRS}chain?" + "&".join(f"{name}={value}" for name, value in named.items() if value)


def of_size(
    budget: Budget,
    width: int,
    *,
    gold: str = GOLD,
    labels: str = "hard",
    seed: int = 0,
    pairs: int | None = None,
    unique: int | None = None,
    lengths: int | None = None,
    scored: int = LITTLE,
    all: bool = False,
) -> Iterator[RunConfig]:
    """Runs of a size, the longest first.

    Args:
        pairs: that the longest processes.
        unique: of them, those that are not the same; None: all.
        lengths: so many, each a quarter of the next.
        scored: pairs whose texts the longest scores, or `all` of them; the others score no more than LITTLE.
    """
    longest = budget.pairs if pairs is None else pairs
    there = longest if unique is None else unique
    held_out = source(gold, labels, HELD_OUT, WINDOWS)
    example = parse(held_out)
    model = transformer(
        width, LAYERS, heads(width), n_vocab=len(example.alphabet) + 1, n_ctx=example.n_ctx, kind="reward"
    )
    for n in range(budget.lengths if lengths is None else lengths):
        asked = min(scored if all or not n else LITTLE, budget.scored)
        samples = source(gold, first=SCORED, items=asked)
        yield RunConfig(
            model,
            tokens=longest // EPOCHS**n * example.n_ctx,
            unique_tokens=there * example.n_ctx,
            batch=BATCH,
            data=DataConfig(source(gold, labels, items=budget.pairs), CHARACTERS + example.alphabet, held_out),
            optim=trunk(rate(model.N), 1.0, warmup=WARMUP * BATCH * example.n_ctx),
            eval=EvalConfig(windows=WINDOWS, per_octave=1, octaves=3, transfer=(samples,), scores=asked),
            seed=seed,
        )


def rate(N: int) -> float:
    """The peak rate that suits a size, by a sweep of 65,536 pairs in factors of two, one seed.

    Of 1e-3 to 8e-3 the best is 4e-3 at N = 1.5e3 and 6.1e3, 1e-3 at 5.5e4; of 2.5e-4 to 8e-3 2e-3 at 2.5e4, 5e-4 at
    9.8e4.
    """
    return RATE * min(1.0, (LARGE / N) ** 0.75)


def heads(width: int) -> int:
    """The width of a head: two heads, or one in the narrowest models."""
    return width // 2 if width >= 8 else width
