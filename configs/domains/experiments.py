"""One ladder of sizes and lengths on pictures, on code, on text, and on glyphs after their names.

    scaling study run configs/domains/experiments.py --set budget=cpu-1h --out studies/domains

| experiment | runs |
| --- | --- |
| `digits` | scikit-learn's digits, 8 x 8 pixels, a token each, several epochs |
| `fashion` | Fashion-MNIST at 7 x 7 and 14 x 14 pixels, 16 levels; 28 x 28 where it is afforded |
| `code` | Python's sources, byte by byte |
| `text` | the text that `--data` names, by as many bytes |
| `glyphs` | glyphs of Unicode after their names, and after none; the loss is that of the glyph alone |
| `rates` | the smallest and the largest size on code at half and at twice the learning rate |
| `digit_rates` | the same on digits |

An example is one picture, or one glyph with its name. Its held-out pictures are those of the set's own test part. The
learning rates are those of the sweep on Python's sources, and of the text its own: `rates` and `digit_rates` say what
others give.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from configs.budget import NAME, QUESTION, runs_of
from configs.domains.budgets import DEFAULT, Budget, Ladder, named
from configs.grid import GRIDS, LEAST, WARMUP
from configs.rates import learning_rate, trunk
from scaling.config import GLYPHS, IMAGES, DataConfig, EvalConfig, RunConfig, Study
from scaling.data import glyphs as glyph_sets
from scaling.data import images
from scaling.rates import Text, suiting

GRID = GRIDS["cpu-1h"]  # its sizes
FACTORS = (0.5, 2.0)  # times the rule's rate
EVALUATIONS = 2  # per octave
MORE = 0.01  # of a ladder's glyphs: as many more than it takes may a newer font, or a newer Unicode, have
PYTHON = "python"


def study(budget: str = DEFAULT, source: str = PYTHON, rates: Text | None = None) -> Study:
    """The runs of all experiments that this machine has the pictures for.

    Args:
      source: a text beside Python's sources.
      rates: the text whose learning rates the runs take; that of `source` where it is left out.
    """
    at = dataclasses.replace(named(budget, rates=rates or suiting(source)), source=source)
    lacking = left_out(at)
    return Study(NAME, QUESTION, runs_of({k: v for k, v in EXPERIMENTS.items() if k not in lacking}, at))


def left_out(budget: Budget) -> dict[str, str]:
    """The experiments that cannot be trained on this machine, each with the reason and a way out, in a line."""
    found = {
        "digits": images.missing(budget.digits.source),
        "fashion": next(filter(None, (images.missing(one.source) for one in budget.fashion)), ""),
        "glyphs": next(filter(None, (_other_glyphs(one) for one in budget.glyphs)), ""),
        "text": "" if budget.source != PYTHON else "no text beside Python's sources; --data 'text:GLOB' names one",
    }
    found["digit_rates"] = found["digits"]
    return {name: why for name, why in found.items() if why}


def _other_glyphs(of: Ladder) -> str:
    """Why a set of glyphs is not on this machine, or not the one that the ladder takes all of; else empty."""
    if why := glyph_sets.missing(of.source):
        return why
    there = {source: len(glyph_sets.GlyphCorpus.of(source).texts()) for source in (of.source, held_out(of.source))}
    taken = dict(zip(there, (of.there, of.windows), strict=True))
    if all(taken[source] <= n <= (1 + MORE) * taken[source] for source, n in there.items()):
        return ""
    found, wanted = (" and ".join(f"{n:,}" for n in counts.values()) for counts in (there, taken))
    return (
        f"{of.source}: {glyph_sets.FONT} has {found} glyphs to train on and to hold out, wanted {wanted}, those of "
        "Unifont 15; set there and windows of its ladder in configs/domains/budgets.py"
    )


def digits(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size, length and seed."""
    return tuple(ladder(budget, budget.digits))


def fashion(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size, length and seed at every resolution."""
    return tuple(run for one in budget.fashion for run in ladder(budget, one))


def code(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size, length and seed."""
    return tuple(ladder(budget, dataclasses.replace(budget.text, source=PYTHON)))


def text(budget: Budget) -> tuple[RunConfig, ...]:
    """The same on another text; no runs where none is named."""
    if budget.source == PYTHON:
        return ()
    return tuple(ladder(budget, dataclasses.replace(budget.text, source=budget.source)))


def glyphs(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size, length and seed, with captions and without."""
    return tuple(
        run
        for one in budget.glyphs
        for source in (one.source, f"{one.source}?captions=0")
        for run in ladder(budget, dataclasses.replace(one, source=source))
    )


def rates(budget: Budget) -> tuple[RunConfig, ...]:
    """Other learning rates, and the rule's, at the longest length, on Python's sources."""
    return _rates(budget, dataclasses.replace(budget.text, source=PYTHON))


def digit_rates(budget: Budget) -> tuple[RunConfig, ...]:
    """The same on the digits."""
    return _rates(budget, budget.digits)


def _rates(budget: Budget, of: Ladder) -> tuple[RunConfig, ...]:
    return tuple(
        run
        for k in (of.sizes[0], of.sizes[-1])
        if budget.rated
        for factor in (1.0, *FACTORS)
        for run in ladder(budget, dataclasses.replace(of, sizes=(k,), lengths=1, seeds=1), factor)
    )


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "digits": digits,
    "fashion": fashion,
    "code": code,
    "text": text,
    "glyphs": glyphs,
    "rates": rates,
    "digit_rates": digit_rates,
}


def held_out(source: str) -> str:
    """The held-out source of a set that has one; empty for about 3 % of the source itself."""
    if not source.startswith((IMAGES, GLYPHS)):
        return ""
    return f"{source}{'&' if '?' in source else '?'}part=test"


def ladder(budget: Budget, of: Ladder, factor: float = 1.0) -> Iterator[RunConfig]:
    """The runs of a ladder, those of a size and a seed as branches of one trunk.

    Args:
        factor: times the rule's learning rate.
    """
    longest = of.examples * of.n_ctx
    middle = longest / 2 ** ((of.lengths - 1) / 2)  # one rate serves all lengths
    B = of.batch * of.n_ctx
    few = of.sizes[: (len(of.sizes) + 1) // 2]
    for k in of.sizes:
        model = dataclasses.replace(GRID.model(k), n_ctx=of.n_ctx, n_vocab=of.n_vocab, **_positions(of))
        rate = factor * learning_rate(model.N, middle, B, text=budget.rates if of.source == budget.source else PYTHON)
        for seed in range(of.seeds if k in few else 1):
            for n in range(of.lengths):
                if longest // 2**n < LEAST * model.N:
                    break
                yield RunConfig(
                    model,
                    tokens=longest // 2**n,
                    unique_tokens=of.there * of.n_ctx or longest,
                    batch=of.batch,
                    answers_after=glyph_sets.ALPHABET.index(glyph_sets.MARK) if of.source.startswith(GLYPHS) else None,
                    data=DataConfig(of.source, "bpe" if held_out(of.source) else "bytes", held_out(of.source)),
                    optim=trunk(rate, warmup=max(model.N, WARMUP * B)),
                    eval=EvalConfig(windows=of.windows, per_octave=EVALUATIONS, octaves=6),
                    seed=seed,
                )


def _positions(of: Ladder) -> dict[str, str]:
    return {"positions": "learned"} if held_out(of.source) else {}
