"""Tasks of known answers: sums alone at many sizes and seeds, other tasks, and tasks mixed into text.

    scaling study run configs/emergence/experiments.py --set budget=cpu-1h --out studies/emergence

| experiment | runs |
| --- | --- |
| `sums` | sums of two numbers of three digits, every size, seed and length; the loss is that of the answer's digits |
| `others` | the same sums with the last digit first, copies of six digits, sums modulo 997 |
| `mixed` | text of which a share of the tokens is copies; the loss is that of the text |

Every question is asked of a model that was not trained on it. A run's lengths are branches of one trunk.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from configs.budget import NAME, QUESTION, runs_of
from configs.emergence.budgets import DEFAULT, Budget, named
from configs.rates import learning_rate, trunk
from scaling.config import CHARACTERS, DataConfig, EvalConfig, RunConfig, Study
from scaling.data.tasks import ALPHABET, MARK, parse
from scaling.ladder import transformer
from scaling.rates import Text, suiting

SUM, REVERSED = "task:sum?digits=3", "task:sum?digits=3&reversed=1"
OTHERS = (REVERSED, "task:copy?digits=6", "task:modsum?modulus=997")
COPY = "task:copy?digits=6"  # in text
RATE = 4e-3  # peak, of sizes from 4e2 to 6e4: one rate for all, not swept
BATCH = 64  # questions
TEXT_BATCH, TEXT_CONTEXT, TEXT_WINDOWS = 16, 64, 256
WARMUP = 100  # updates
LAYERS = 2


def study(budget: str = DEFAULT, source: str = "python", rates: Text | None = None) -> Study:
    """The runs of all experiments.

    Args:
      source: the text into which a task is mixed.
      rates: the text whose learning rates the runs on it take; that of `source` where it is left out.
    """
    at = dataclasses.replace(named(budget, rates=rates or suiting(source)), source=source)
    return Study(NAME, QUESTION, runs_of(EXPERIMENTS, at))


def sums(budget: Budget) -> tuple[RunConfig, ...]:
    """Every size, seed and length."""
    return tuple(
        run
        for width in budget.widths
        for seed in range(budget.seeds)
        for run in alone(budget, SUM, width, seed, budget.lengths)
    )


def others(budget: Budget) -> tuple[RunConfig, ...]:
    """Every other task at every size."""
    return tuple(
        run
        for task in OTHERS
        for width in budget.widths
        for seed in range(budget.others)
        for run in alone(budget, task, width, seed, 1)
    )


def mixed(budget: Budget) -> tuple[RunConfig, ...]:
    """Every share of the task in the text at every size."""
    return tuple(
        in_text(budget, share, width) for share in budget.shares if budget.mixed for width in budget.mixed_widths
    )


EXPERIMENTS: Mapping[str, Callable[[Budget], tuple[RunConfig, ...]]] = {"sums": sums, "others": others, "mixed": mixed}


def trained_on(task: str, examples: int) -> str:
    """The source of the first so many questions."""
    return f"{task}&items={examples}"


def asked(task: str, questions: int) -> str:
    """The source of the last so many questions, or of a fiftieth of them all if that is fewer: none is trained on."""
    total = parse(f"{task}&items=2").questions
    n = min(questions, total // 50)
    return f"{task}&first={total - n}&items={n}"


def heads(width: int) -> int:
    """The width of a head: two heads, or one in the narrowest models."""
    return width // 2 if width >= 8 else width


def alone(budget: Budget, task: str, width: int, seed: int, lengths: int) -> Iterator[RunConfig]:
    """Runs on a task alone: one question with its answer to a window."""
    held_out = asked(task, budget.questions)
    n_ctx = parse(held_out).width + 1
    # A multiple of all branches' batches. Where the task has fewer questions, they are asked again.
    longest = budget.examples // (BATCH * 2 ** (lengths - 1)) * 2 ** (lengths - 1) * BATCH
    there = min(longest, parse(held_out).first)
    for n in range(lengths):
        yield RunConfig(
            transformer(width, LAYERS, heads(width), n_vocab=len(ALPHABET) + 1, n_ctx=n_ctx),
            tokens=longest // 2**n * n_ctx,
            unique_tokens=there * n_ctx,
            batch=BATCH,
            answers_after=ALPHABET.index(MARK),
            data=DataConfig(trained_on(task, there), CHARACTERS + ALPHABET, held_out),
            optim=trunk(RATE, 1.0, warmup=WARMUP * BATCH * n_ctx),
            eval=EvalConfig(
                windows=min(256, parse(held_out).items),
                per_octave=1,
                octaves=3,
                transfer=(held_out,),
                answers=parse(held_out).items,
            ),
            seed=seed,
        )


def in_text(budget: Budget, share: float, width: int) -> RunConfig:
    """A run on the text with copies in it. All tokens are trained on; the held-out loss is that of the text alone."""
    held_out = asked(COPY, max(budget.questions // 10, TEXT_WINDOWS * TEXT_CONTEXT // 10))
    task = trained_on(COPY, max(2**10, round(2 * budget.mixed * max(budget.shares) / (parse(held_out).width + 1))))
    model = transformer(width, LAYERS, heads(width), n_ctx=TEXT_CONTEXT)
    return RunConfig(
        model,
        tokens=budget.mixed,
        batch=TEXT_BATCH,
        data=DataConfig(
            f"mix:{round(1 - share, 6):g}*{budget.source}+{share:g}*{task}", validation=f"held_out({budget.source})"
        ),
        optim=trunk(learning_rate(model.N, budget.mixed, TEXT_BATCH * TEXT_CONTEXT, text=budget.rates)),
        eval=EvalConfig(windows=TEXT_WINDOWS, octaves=4, transfer=(held_out,), answers=parse(held_out).items),
    )
