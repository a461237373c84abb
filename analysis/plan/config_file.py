"""The ladder of a plan as a config file, which `scaling study show` and `scaling study run` take."""

import math
import textwrap

from analysis.digits import short, typed
from analysis.plan.accounting import N_CTX, N_VOCAB
from analysis.plan.next_run import Plan
from analysis.plan.rungs import LENGTHS
from scaling.errors import InputError

HEAD = """The ladder to train before N = {N} on {D} tokens, as scaling plan proposed it by {law}.

    scaling study show {name} --set 'data.source=text:mine/*.txt'
    scaling study run {name} --set 'data.source=text:mine/*.txt' --out studies/ladder
    scaling fit chinchilla studies/ladder --out law.json

Each size is trained on {lengths} times the tokens for which the law calls it the best one, each run with a cosine of \
its own. Batch and peak rate are those of {rule}.
"""

SEQUENCES, SHORTEST = 4, 64  # of the smallest batch at least, tokens of a sequence at least

FILE = '''"""{head}
"""

from scaling.config import OptimConfig, RunConfig, Study
from scaling.ladder import transformer

SIZES = (  # d_model, n_layer, n_head, tokens, batch in tokens, peak rate
{sizes}
)
LENGTHS = ({lengths})


def study(n_ctx: int = {n_ctx}, n_vocab: int = {n_vocab}, unique_tokens: int = {unique}) -> Study:
    """All sizes on all lengths.

    Args:
        n_ctx: tokens of a sequence.
        n_vocab: of the tokenizer.
        unique_tokens: tokens that exist, repeated where a run takes more; 0: as many as each run takes.
    """
    runs = []
    for d_model, n_layer, n_head, tokens, batch, rate in SIZES:
        model = transformer(d_model, n_layer, d_model // n_head, n_ctx=n_ctx, n_vocab=n_vocab)
        sequences = max(1, round(batch / n_ctx))
        for length in LENGTHS:
            D = max(1, round(length * tokens / (sequences * n_ctx))) * sequences * n_ctx
            U = min(D, unique_tokens // n_ctx * n_ctx) or None
            runs.append(RunConfig(model, D, U, sequences, optim=OptimConfig(learning_rate=rate)))
    return Study("ladder", "Which law do these sizes and lengths follow?", tuple(runs))
'''


def heading(text: str) -> str:
    """The docstring of a written config: its lines folded, but for commands, and nothing that could end it.

    A law's or a file's name may hold anything.
    """
    lines = [textwrap.fill(line, 118, drop_whitespace=not line.startswith(" ")) for line in text.strip().split("\n")]
    return "\n".join(lines).replace("\\", "/").replace('"', "'")


def config(plan: Plan, name: str, *, n_ctx: int | None = None, n_vocab: int = N_VOCAB) -> str:
    """The text of the file.

    Args:
        name: of the file, as its own words have it.
        n_ctx: tokens of a sequence; N_CTX, or a power of two that leaves the smallest batch SEQUENCES, where left out.

    Raises:
        InputError: the plan has no ladder.
    """
    if not plan.ladder:
        raise InputError(
            "this plan has no ladder to write: no smaller size is the best one anywhere; see docs/planning.md"
        )
    if n_ctx is None:
        least = min(rung.batch for rung in plan.ladder) / SEQUENCES
        n_ctx = min(N_CTX, max(SHORTEST, 2 ** math.floor(math.log2(least))))
    sizes = "\n".join(
        f"    ({r.shape.d_model}, {r.shape.n_layer}, {r.shape.n_head}, {r.tokens:.6g}, {typed(r.batch, 4)}, "
        f"{r.learning_rate:.3g}),  # N = {short(r.shape.params)}"
        for r in plan.ladder
    )
    lengths = ", ".join(f"{length:g}" for length in LENGTHS)
    head = HEAD.format(
        N=short(plan.params),
        D=short(plan.tokens),
        law=plan.law.replace("\n", "; "),
        name=name,
        lengths=lengths,
        rule=" and ".join(dict.fromkeys(next(iter(rules)) for rules in (plan.batches, plan.learning_rates))),
    )
    unique = int(plan.repeated.unique_tokens) if plan.repeated else 0
    return FILE.format(
        head=heading(head),
        lengths=lengths,
        sizes=sizes,
        n_ctx=n_ctx,
        n_vocab=n_vocab,
        unique=unique,
    )
