"""Which learning rate suits which size, length and batch: the sweep behind configs/rates.json.

    scaling study run configs/learning_rate.py --out studies/rates --set part=sizes

It costs about an hour of one core, so it comes in parts, which may share a folder: `part=all` then shows them together.

    sizes    N = 6,144 to 393,216, D = 2^17 to 2^23, batches of 256 tokens, two layers
    long     N = 98,304 at D/N = 67: does the law of the others hold there?
    batches  batches of 1,024 to 16,384 tokens
    depth    1, 4 and 6 layers at N = 98,304
    lstm     LSTMs of one layer, N = 6,272 to 100,352
    few      part of `sizes` and `batches`, for another text: whether the law holds there at another height
    all      all but `long` and `few`

A bowl is the losses of one size, length and batch at four rates, each twice the one before, about the rate that is
expected. All rates of a bowl are the same program, for the rate is an array. `more` adds two rates, once, past an end
of a bowl where its lowest loss lies at that end.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from configs.positions import learning_rate as at_two_million
from scaling import rates
from scaling.config import EvalConfig, ModelConfig, OptimConfig, RunConfig, Study
from scaling.ladder import lstm, matched, transformer

Part = Literal["all", "sizes", "long", "batches", "depth", "lstm", "few"]
Bowl = tuple[ModelConfig, int, int]  # a model, tokens, sequences of a batch

BATCH = 4  # sequences of 64 tokens
# d_model of two layers -> log2 of the lengths: the small sizes are cheap enough for the long ones.
SIZES = {16: (17, 19, 21, 23), 32: (17, 19, 21, 22), 64: (17, 19, 21), 128: (18, 20)}
LONG = 25 * 2**18  # tokens
# d_model, log2 of the length, sequences of a batch
BATCHES = (
    (32, 19, 16),
    (32, 21, 16),
    (32, 19, 64),
    (32, 21, 64),
    (32, 21, 256),
    (16, 21, 64),
    (16, 22, 256),
    (64, 20, 32),
)
DEPTHS = (1, 4, 6)  # two layers are among the sizes
DEEP_N, DEEP_D = 98_304, 2**19
CELLS = {28: (19, 21), 56: (17, 19, 21), 112: (17, 19, 20)}  # d_model of an LSTM -> log2 of the lengths
LSTM_BATCHES = ((56, 19, 64), (56, 21, 64))
FEW_SIZES = {16: (19, 21), 32: (17, 19, 21), 64: (17, 19, 21), 128: (18,)}
FEW_BATCHES = ((32, 19, 64), (32, 21, 64))


def study(part: Part = "all", n_rates: int = 4) -> Study:
    """Each bowl of a part at `n_rates` learning rates, each twice the one before."""
    runs = (_run(bowl, rate) for bowl in bowls(part) for rate in _grid(bowl, n_rates))
    return Study("learning-rate", "Which learning rate suits which size, length and batch?", tuple(runs))


def bowls(part: Part) -> tuple[Bowl, ...]:
    """The models, lengths and batches of a part."""
    parts: dict[str, Sequence[Bowl]] = {
        "sizes": [*_lengths(SIZES)],
        "batches": [(transformer(width, 2), 2**k, batch) for width, k, batch in BATCHES],
        "depth": [(matched(DEEP_N, depth), DEEP_D, BATCH) for depth in DEPTHS],
        "lstm": [
            *((lstm(width, 1), 2**k, BATCH) for width, lengths in CELLS.items() for k in lengths),
            *((lstm(width, 1), 2**k, batch) for width, k, batch in LSTM_BATCHES),
        ],
    }
    if part == "all":
        return tuple(bowl for some in parts.values() for bowl in some)
    if part == "long":
        return ((transformer(64, 2), LONG, BATCH),)
    if part == "few":
        return (*_lengths(FEW_SIZES), *((transformer(width, 2), 2**k, batch) for width, k, batch in FEW_BATCHES))
    return tuple(parts[part])


def expected(N: float, D: float, B: float) -> float:
    """About the best rate, from trial runs of both kinds of model: only the middle of what is tried."""
    return at_two_million(N) * (D / 2**21) ** -0.1 * (B / 256) ** 0.35


def more(table: Any, part: Part = "all", n_rates: int = 4) -> tuple[RunConfig, ...]:
    """Runs at two more rates wherever the lowest loss lies at an end of a bowl, once for each bowl.

    Args:
      table: the study's runs, an `analysis.table.Table`.
      part, n_rates: as given to `study`.
    """
    found = _losses(table)
    added: dict[RunConfig, None] = {}
    for bowl in bowls(part):
        losses = found.get(_key(bowl), {})
        if len(losses) > n_rates:
            continue
        end = rates.edge(list(losses), [sum(some) / len(some) for some in losses.values()])
        for rate in rates.beyond(list(losses), end) if end else ():
            added[_run(bowl, rate)] = None
    return tuple(added)


def _lengths(sizes: dict[int, tuple[int, ...]]) -> Iterator[Bowl]:
    return ((transformer(width, 2), 2**k, BATCH) for width, lengths in sizes.items() for k in lengths)


def _grid(bowl: Bowl, n_rates: int) -> Iterator[float]:
    model, tokens, batch = bowl
    middle = expected(model.N, tokens, batch * model.n_ctx)
    return (float(f"{middle * 2 ** (k - (n_rates - 1) / 2):.4g}") for k in range(n_rates))


def _run(bowl: Bowl, rate: float) -> RunConfig:
    model, tokens, batch = bowl
    return RunConfig(
        model,
        tokens=tokens,
        batch=batch,
        optim=OptimConfig(learning_rate=rate),
        eval=EvalConfig(windows=256, per_octave=1, octaves=1),
    )


def _key(bowl: Bowl) -> tuple[Any, ...]:
    model, tokens, batch = bowl
    return model.kind, float(model.N), float(model.n_layer), float(tokens), float(batch * model.n_ctx)


def _losses(table: Any) -> dict[tuple[Any, ...], dict[float, list[float]]]:
    """ln(loss) by bowl and rate, NaN of a run that diverged."""
    names = ("kind", "params", "n_layer", "tokens", "batch_tokens", "learning_rate", "loss", "status")
    found: dict[tuple[Any, ...], dict[float, list[float]]] = {}
    for kind, *numbers, status in zip(*(table[name] for name in names), strict=True):
        N, depth, D, B, rate, loss = map(float, numbers)
        bowl = found.setdefault((str(kind), N, depth, D, B), {})
        bowl.setdefault(rate, []).append(math.log(loss) if status == "done" and loss > 0 else math.nan)
    return found
