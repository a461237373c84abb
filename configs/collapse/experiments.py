"""Generations of models, each trained on what the ones before it wrote.

    scaling study run configs/collapse/experiments.py --set budget=cpu-1h 'source=text:main/train*' --out studies/mine

| experiment | the g-th generation is trained on |
| --- | --- |
| `real` | real text alone, as long as the g-th of `accumulate`; the first is that of every chain, the others a trunk |
| `replace` | what the one before wrote |
| `accumulate` | the real text of the first and all that was written since, a g-th each; g times as long as the first |
| `fixed` | the same mixture, as long as the first |

What a generation is trained on is known when the one before is trained: `study` has the real text, and `more` asks for
the next generation of each chain. All are evaluated on what is held out of the real text, and have its vocabulary.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from configs.budget import NAME, QUESTION
from configs.collapse.budgets import DEFAULT, Budget, named
from configs.grid import GRIDS
from configs.rates import learning_rate, trunk
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.data import mixture
from scaling.rates import Text, suiting

GRID = GRIDS["cpu-1h"]  # its sizes, context and batch
SEEDS = 7000  # the first: so that no other experiment's run is taken for one of these
PER_CHAIN = 100  # seeds
SPARE = 1.25  # tokens that are written, over those that are read: in the vocabulary text takes fewer than were written
EVALUATIONS = 2  # per octave

Find = Callable[[RunConfig], str | None]  # STUDY/RUN of a run that is done


def study(budget: str = DEFAULT, source: str = "python", rates: Text | None = None) -> Study:
    """The runs on real text; `more` adds the generations.

    Args:
      source: the real text.
      rates: the text whose learning rates the runs take; that of `source` where it is left out.
    """
    return Study(NAME, QUESTION, real(_budget(budget, source, rates)))


def more(table: Any, budget: str = DEFAULT, source: str = "python", rates: Text | None = None) -> tuple[RunConfig, ...]:
    """The next generation of every chain.

    Args:
      table: the study's runs, an `analysis.table.Table`.
    """
    found = grown(_budget(budget, source, rates), table)
    return tuple(dict.fromkeys(run for runs in found.values() for run in runs))


def grown(budget: Budget, table: Any) -> Mapping[str, tuple[RunConfig, ...]]:
    """The runs of each experiment up to the first generation that is not done yet, by those of a table."""
    names = zip(*(table[k] for k in ("run", "status", "data", "params", "seed", "tokens")), strict=True)
    done = {
        _mark(data, N, seed, D): f"{table.source}/{run}" for run, status, data, N, seed, D in names if status == "done"
    }

    def find(run: RunConfig) -> str | None:
        return done.get(_mark(run.data.source, run.model.N, run.seed, run.tokens))

    found = {name: tuple(of(budget, find)) for name, of in CHAINS.items()}
    return {"real": real(budget), **found}


def real(budget: Budget) -> tuple[RunConfig, ...]:
    """First generations, and runs as long as the accumulated ones after it."""
    lengths = range(2, budget.generations + 1)
    return tuple(
        run
        for chain in range(budget.chains)
        for run in (
            _first(budget, chain),
            *(
                _run(budget, budget.source, n * budget.tokens, _seed(chain), lengths[-1] * budget.tokens)
                for n in lengths
            ),
        )
    )


def _first(budget: Budget, chain: int) -> RunConfig:
    """A run of its own: the shortest of a trunk leaves no weights."""
    return _run(budget, budget.source, budget.tokens, _seed(chain), budget.tokens)


def _seed(chain: int, g: int = 0) -> int:
    return SEEDS + chain * PER_CHAIN + g


def _chains(name: str, budget: Budget, find: Find) -> Iterator[RunConfig]:
    for chain, temperature in itertools.product(range(budget.chains), budget.temperatures):
        last, written = _first(budget, chain), []
        for g in range(2, budget.generations + 1):
            if (model := find(last)) is None:
                break
            written.append(sample(model, budget, temperature, g))
            source = written[-1] if name == "replace" else mixed([budget.source, *written])
            tokens = g * budget.tokens if name == "accumulate" else budget.tokens
            last = _run(budget, source, tokens, _seed(chain, g), tokens)
            yield last


CHAINS: Mapping[str, Callable[[Budget, Find], Iterator[RunConfig]]] = {
    name: lambda budget, find, name=name: _chains(name, budget, find) for name in ("replace", "accumulate", "fixed")
}
# Nothing of a chain but its beginning is known before the first run is done.
EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {"real": real} | {
    name: lambda budget: () for name in CHAINS
}


def sample(model: str, budget: Budget, temperature: float, g: int) -> str:
    """What the model writes for the g-th generation."""
    return f"sample({model}, tokens={round(SPARE * budget.tokens)}, temperature={temperature:g}, seed={g})"


def mixed(sources: list[str]) -> str:
    """As much of each."""
    return mixture.PREFIX + "+".join(f"{1 / len(sources):.9g}*{source}" for source in sources)


def generation(seed: int) -> tuple[int, int]:
    """Of a run, by its seed: the chain, from 0, and the generation, from 1."""
    chain, g = divmod(seed - SEEDS, PER_CHAIN)
    return chain, max(g, 1)


def _mark(source: str, N: float, seed: float, tokens: float) -> tuple[str, int, int, int]:
    """What tells the runs of a study apart, wherever its folder lies."""
    return mixture.form(source), int(N), int(seed), int(tokens)


def _budget(budget: str, source: str, rates: Text | None) -> Budget:
    return dataclasses.replace(named(budget, rates=rates or suiting(source)), source=source)


def _run(budget: Budget, source: str, tokens: int, seed: int, pool: int) -> RunConfig:
    model = GRID.model(budget.size)
    middle = budget.tokens * budget.generations**0.5  # one rate serves all lengths
    rate = learning_rate(model.N, middle, GRID.batch_tokens, text=budget.rates)
    return RunConfig(
        model,
        tokens=tokens,
        unique_tokens=pool,
        batch=GRID.batch,
        data=DataConfig(source, validation=f"held_out({budget.source})"),
        optim=trunk(rate, warmup=max(model.N, 16 * GRID.batch_tokens)),
        eval=EvalConfig(windows=budget.windows, per_octave=EVALUATIONS, octaves=6, by_frequency=budget.parts),
        seed=seed,
    )
