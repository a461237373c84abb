"""A design as a config file, which `scaling study show` and `scaling study run` take."""

import shlex

from analysis.design import Design
from analysis.design.pool import VOCABULARY
from analysis.digits import compute, percent, short, typed
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.plan.config_file import heading
from analysis.plan.recipe import Shape, leaving_updates, published_batches, published_learning_rates
from scaling import extensions

HEAD = """The runs to train before N = {N} on {D} tokens, as scaling {verb} chose them for {flops}.

    scaling study show {name} --set 'data.source=text:mine/*.txt'
    scaling study run {name} --set 'data.source=text:mine/*.txt' --out studies/design
    scaling fit {law} studies/design --loss squared{pinned} --out law.json

Promised at {level}{beside}: the law's value there to ± {half}, one run to ± {run}. Batches are those of {batches}, \
peak rates those of {rates}: published rules, no sweep on this text.
"""

FILE = '''"""{head}
"""

from configs.rates import trunk
from scaling.config import OptimConfig, RunConfig, Study
from scaling.ladder import transformer

RUNS = (  # d_model, n_layer, n_head, tokens, seeds, batch in tokens, peak rate
{runs}
)
WARMUP = {warmup}  # tokens, of a trunk
TRUNKS = {trunks}  # whether the runs of a size are branches of one trunk, cooled over their last fifth


def study(n_ctx: int = 256, n_vocab: int = {vocabulary}, batch: float = 1.0, check_rates: bool = False) -> Study:
    """The runs of the design.

    Args:
        n_ctx: tokens of a sequence.
        n_vocab: of the tokenizer.
        batch: times the batches above.
        check_rates: whether the shortest runs of the smallest and the largest size are trained at half and double their
            rate as well, beyond the budget: a page of the study warns where one of them wins.
    """
    ends = RUNS[0], min((row for row in RUNS if row[:3] == RUNS[-1][:3]), key=lambda row: row[3])
    checks = [(*row[:4], 1, row[5], row[6] * by) for row in dict.fromkeys(ends) for by in (0.5, 2.0)]
    longest = {{row[:3]: max(other[3] for other in RUNS if other[:3] == row[:3]) for row in RUNS}}
    runs = []
    for d_model, n_layer, n_head, tokens, seeds, in_batch, rate in (*RUNS, *(checks if check_rates else ())):
        model = transformer(d_model, n_layer, d_model // n_head, n_ctx=n_ctx, n_vocab=n_vocab)
        sequences = max(1, round(batch * in_batch / n_ctx))
        D, most = (max(1, round(each / (sequences * n_ctx))) * sequences * n_ctx
                   for each in (tokens, longest[d_model, n_layer, n_head]))
        optim = trunk(rate, warmup=WARMUP) if TRUNKS else OptimConfig(rate)
        for seed in range(seeds):
            runs.append(RunConfig(model, D, most if TRUNKS else None, sequences, seed, optim=optim))
    return Study("design", "Which law do these runs follow?", tuple(runs))
'''


def config(made: Design, shapes: dict[float, Shape], name: str) -> str:
    """The text of the file.

    Args:
        shapes: of each N of the pool.
        name: of the file, as its own words have it.
    """
    runs = made.study.runs
    most = {N: max(D for size, D, _ in runs if size == N) for N, _, _ in runs}
    lines, rules = [], ("", "")
    for N, D, often in runs:
        at = most[N] if made.study.pool.trunks else D  # a trunk has one batch and one rate
        C = FLOP_PER_PARAM_TOKEN * N * at
        batches, _ = leaving_updates(published_batches(at, C, None), at)
        rates = published_learning_rates(N, at, C)
        (by_batch, in_batch), (by_rate, rate) = next(iter(batches.items())), next(iter(rates.items()))
        rules = rules if rules[0] else (by_batch, by_rate)
        s = shapes[N]
        shape = f"{s.d_model}, {s.n_layer}, {s.n_head}"
        lines.append(f"    ({shape}, {D:.6g}, {often}, {typed(in_batch, 4)}, {rate:.3g}),  # N = {short(N)}")
    p, names, prior = made.study.promise, {law.name for law in made.prior.laws}, made.prior
    first, fixed = prior.laws[0], prior.fixed[0] if len(set(prior.fixed)) == 1 else ()
    head = HEAD.format(
        N=short(float(made.target.params[0])),
        D=short(float(made.target.tokens[0])),
        flops=compute(made.budget),
        name=name,
        verb="suggest" if made.before else "design",
        beside=", fitted together with the runs that were there before" if made.before else "",
        law=shlex.quote(extensions.word_of(type(first)) or first.name) if len(names) == 1 else "chinchilla",
        pinned="".join(
            [
                f" --fix {' '.join(f'{name}={getattr(first, name):.6g}' for name in fixed)}" if fixed else "",
                f" --weights {prior.slope:g}" if prior.slope else "",
            ]
        ),
        level=percent(p.level),
        half=percent(p.law),
        run=percent(p.run),
        batches=rules[0],
        rates=rules[1],
    )
    return FILE.format(
        head=heading(head),
        runs="\n".join(lines),
        trunks=made.study.pool.trunks,
        vocabulary=VOCABULARY,
        warmup=int(min(D for _, D, _ in runs) / 20),
    )
