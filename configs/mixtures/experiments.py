"""Mixtures of some texts, one small model each, some of them again with a larger one, and what follows from them.

    scaling study run configs/mixtures/experiments.py --out studies/mixtures \\
      --set budget=cpu-3h 'source=mix:0.5*text:a/*.jsonl+0.3*text:b/*.jsonl+0.2*text:c/*.jsonl'

| experiment | what is trained |
| --- | --- |
| `small`, `large` | mixtures drawn at random; the last of them with a larger model |
| `repeated`, `repeated_large` | the same mixtures, with so little text of the last parts that it is read many times |
| `proposed`, `proposed_repeated` | the best mixtures by laws of `small` and of `repeated`, beside others |

Shares are drawn from all mixtures alike (Dirichlet), none of them below LEAST. Every model has one vocabulary and is
evaluated on the held-out text of each part. Give the texts as `source`, and not as data.source, which would be the same
for all runs.

What is proposed is known when the mixtures are trained: `study` has the mixtures, and `more` asks for the proposals.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.budget import NAME, QUESTION, runs_of
from configs.grid import GRIDS
from configs.mixtures.budgets import DEFAULT, EMBEDDED, Budget, named
from configs.rates import learning_rate
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.data import expressions, mixture
from scaling.errors import InputError
from scaling.rates import Text

if TYPE_CHECKING:
    from analysis.papers.mixtures.proposed import Candidate

GRID = GRIDS["cpu-1h"]  # its sizes, context and batch
LEAST = 0.01  # share of a part
WHOLE = 1000  # in so many parts of the whole shares are rounded
NEAR = 0.02  # of each share: a mixture that has been trained stands for one that is proposed


def study(budget: str = DEFAULT, source: str = EMBEDDED, rates: Text = "english") -> Study:
    """The mixtures drawn at random; `more` adds what they propose.

    Args:
      source: a mixture, whose parts are the texts.
      rates: the text whose learning rates the runs take.
    """
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, _budget(budget, source, rates)))


def more(table: Any, budget: str = DEFAULT, source: str = EMBEDDED, rates: Text = "english") -> tuple[RunConfig, ...]:
    """What the mixtures propose, once they are trained.

    Args:
      table: the study's runs, an `analysis.table.Table`.
    """
    found = grown(_budget(budget, source, rates), table)
    return tuple(dict.fromkeys(run for name in PROPOSED for run in found[name]))


def grown(budget: Budget, table: Any) -> Mapping[str, tuple[RunConfig, ...]]:
    """The runs of each experiment, with what the runs of a table propose, where these are all that are asked for.

    A mixture that a run of the table has to within NEAR is not trained again: what another machine proposed, or an
    earlier law, stays.
    """
    from analysis.papers.evidence import rows_alone
    from analysis.papers.mixtures import proposed

    found = {name: of(budget) for name, of in EXPERIMENTS.items()}
    rows = [_mark(*row) for row in zip(*(table[k] for k in ("data", "params", "seed")), strict=True)]
    done = {mark for mark, status in zip(rows, table["status"], strict=True) if status == "done"}

    def whole(name: str) -> Any:
        marks = {_mark(run.data.source, run.model.N, run.seed) for run in found[name]}
        return rows_alone(table, np.array([mark in marks for mark in rows])) if marks <= done else None

    there = table["data"].tolist()
    for name, candidates in proposed.follow(whole("small"), whole("repeated")).items():
        found[name] = tuple(_asked(budget, candidates, there))
    return found


def _budget(budget: str, source: str, rates: Text) -> Budget:
    return dataclasses.replace(named(budget, rates=rates), source=source)


def _mark(source: str, N: float, seed: float) -> tuple[str, int, int]:
    """What tells the runs of a study apart, wherever its texts lie."""
    return mixture.form(source), int(N), int(seed)


def _asked(budget: Budget, candidates: "Iterable[Candidate]", there: list[str]) -> Iterator[RunConfig]:
    """The runs of proposals; `there` are the mixtures that have been asked for."""
    for each in candidates:
        seeds = range(budget.seeds if each.again else 1)
        for k, seed in [(budget.size, s) for s in seeds] + [(budget.large, 0)] * (each.again and each.repeated):
            source = _drawn(budget, each.shares)
            source = scarce(budget, source) if each.repeated else source
            source = next(filter(None, (_retyped(other, source) for other in there)), source)
            there.append(source)
            yield from _trained(budget, k, [source], seed)


def _retyped(other: str, source: str) -> str | None:
    """The source with the shares of another one, as these were typed, if both are near each other."""
    if not mixture.is_one(other):
        return None
    ours, theirs = mixture.parse(source), mixture.parse(other)
    if [part.most for part in ours] != [part.most for part in theirs]:
        return None
    if any(abs(a.share - b.share) > NEAR for a, b in zip(ours, theirs, strict=True)):
        return None
    terms = map(mixture.TERM.fullmatch, expressions.split(other.removeprefix(mixture.PREFIX), mixture.NEXT))
    return mixture.PREFIX + "+".join(f"{term[1]}*{part}" for term, part in zip(terms, ours, strict=True) if term)


def small(budget: Budget) -> tuple[RunConfig, ...]:
    """Every mixture."""
    return _trained(budget, budget.size, mixtures(budget))


def large(budget: Budget) -> tuple[RunConfig, ...]:
    """Those that no law is fitted to, again with a larger model."""
    return _trained(budget, budget.large, mixtures(budget)[-budget.held :])


def repeated(budget: Budget) -> tuple[RunConfig, ...]:
    """Every mixture, of some of its parts only a little text."""
    return _trained(budget, budget.size, (scarce(budget, source) for source in mixtures(budget)))


def repeated_large(budget: Budget) -> tuple[RunConfig, ...]:
    """The mixtures of `large`, as in `repeated`."""
    return _trained(budget, budget.large, (scarce(budget, source) for source in mixtures(budget)[-budget.held :]))


PROPOSED = ("proposed", "proposed_repeated")
EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {
    "small": small,
    "large": large,
    "repeated": repeated,
    "repeated_large": repeated_large,
} | {name: lambda budget: () for name in PROPOSED}


def mixtures(budget: Budget) -> list[str]:
    """The sources: that of the budget first, and shares drawn at random.

    Raises:
        InputError: the budget's source is no mixture.
    """
    if not mixture.is_one(budget.source):
        raise InputError(f"{budget.source}: wanted several texts, each with a share, such as {EMBEDDED}")
    parts = mixture.parse(budget.source)
    draws = np.random.default_rng(len(parts)).dirichlet(np.ones(len(parts)), budget.mixtures - 1)
    return [budget.source, *(_drawn(budget, draw) for draw in draws)]


def _drawn(budget: Budget, shares: np.ndarray) -> str:
    """A mixture with LEAST of each part, and the rest in these shares."""
    parts = mixture.parse(budget.source)
    n = np.round((LEAST + (1 - len(parts) * LEAST) * shares) * WHOLE).astype(int)
    n[np.argmax(n)] += WHOLE - n.sum()
    return mixture.PREFIX + "+".join(f"{k / WHOLE:g}*{part}" for k, part in zip(n, parts, strict=True))


def scarce(budget: Budget, source: str) -> str:
    """The mixture with so little text of its last parts that at equal shares each is read `budget.repeats` times."""
    parts = mixture.parse(source)
    most = 2**budget.tokens // (len(parts) * budget.repeats)
    few = parts[len(parts) - budget.scarce :]
    short = [dataclasses.replace(part, most=min(most, part.most or most)) if part in few else part for part in parts]
    return mixture.PREFIX + "+".join(f"{part.share:.9g}*{part}" for part in short)


def held_out(budget: Budget) -> tuple[str, ...]:
    """The held-out text of each part."""
    return tuple(f"held_out({part.source})" for part in mixture.parse(budget.source))


def _trained(budget: Budget, k: int, sources: Iterable[str], seed: int = 0) -> tuple[RunConfig, ...]:
    model, tokens = GRID.model(k), 2**budget.tokens
    rate = learning_rate(model.N, tokens, GRID.batch_tokens, text=budget.rates)
    return tuple(
        RunConfig(
            model,
            tokens=tokens,
            batch=GRID.batch,
            data=DataConfig(source),
            optim=OptimConfig(learning_rate=rate),
            eval=EvalConfig(windows=budget.windows, per_octave=1, octaves=2, transfer=held_out(budget)),
            seed=seed,
        )
        for source in sources
    )
