"""A design as a config file, which `scaling study show` and `scaling study run` take."""

import itertools
import shlex

from analysis.design import Design
from analysis.design.pool import VOCABULARY
from analysis.digits import compute, percent, short, typed
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.plan.config_file import heading
from analysis.plan.recipe import Shape, leaving_updates, published_batches, published_learning_rates
from scaling import extensions

AT_ONCE = 2**14  # tokens of a batch on each chip: with them the largest models that its memory holds have room

HEAD = """The runs to train before N = {N} on {D} tokens, as scaling {verb} chose them for {flops}.

    scaling study show {name} --set 'data.source=text:mine/*.txt'
    scaling study run {name} --set 'data.source=text:mine/*.txt' --out studies/design{mesh}
{fits}

Promised at {level}{beside}: {promised}. Batches are those of {batches}, \
peak rates those of {rates}: published rules, no sweep on this text.
"""

FILE = '''"""{head}
"""

import math

{imports}from configs.rates import trunk
from scaling.config import OptimConfig, RunConfig, Study
from scaling.ladder import transformer

RUNS = (  # d_model, n_layer, n_head, tokens, seeds, batch in tokens, peak rate
{runs}
)
WARMUP = {warmup}  # tokens, of a trunk
DEVICES = {chips}  # over which each part of a batch divides
TRUNKS = {trunks}  # whether the runs of a size are branches of one trunk, cooled over their last fifth


def study(
    n_ctx: int = 256,
    n_vocab: int = {vocabulary},
    batch: float = 1.0,
    at_once: int = {at_once},
    check_rates: bool = False,
) -> Study:
    """The runs of the design.

    Args:
        n_ctx: tokens of a sequence.
        n_vocab: of the tokenizer.
        batch: times the batches above.
        at_once: tokens of a batch that are computed together; larger batches part by part, the same update.
        check_rates: whether the shortest runs of the smallest and the largest size are trained at half and double their
            rate as well, beyond the budget: a page of the study warns where one of them wins.
    """
    ends = RUNS[0], min((row for row in RUNS if row[:3] == RUNS[-1][:3]), key=lambda row: row[3])
    checks = [(*row[:4], 1, row[5], row[6] * by) for row in dict.fromkeys(ends) for by in (0.5, 2.0)]
    longest = {{row[:3]: max(other[3] for other in RUNS if other[:3] == row[:3]) for row in RUNS}}
    runs = []
    for d_model, n_layer, n_head, tokens, seeds, in_batch, rate in (*RUNS, *(checks if check_rates else ())):
        model = transformer(d_model, n_layer, d_model // n_head, n_ctx=n_ctx, n_vocab=n_vocab)
        wanted = batch * in_batch / n_ctx
        parts = math.ceil(wanted * n_ctx / at_once)
        even = parts * DEVICES
        sequences = max(1, round(wanted / even)) * even
        D, most = (max(1, round(each / (sequences * n_ctx))) * sequences * n_ctx
                   for each in (tokens, longest[d_model, n_layer, n_head]))
        optim = trunk(rate, warmup=WARMUP) if TRUNKS else OptimConfig(rate)
        for seed in range(seeds):
            runs.append(
                RunConfig(model, D, most if TRUNKS else None, sequences, seed, accumulate=parts, optim=optim{fields})
            )
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
    fits, promised = _fits(made)
    head = HEAD.format(
        N=short(float(made.target.params[0])),
        D=short(float(made.target.tokens[0])),
        flops=compute(made.budget) + (f" ({typed(made.hours, 3)} hours of {made.hardware})" if made.hours else ""),
        name=name,
        mesh=f" --mesh fsdp={made.chips}" if made.chips > 1 else "",
        verb="suggest" if made.before else "design",
        beside=", fitted together with the runs that were there before" if made.before else "",
        fits=fits,
        level=percent(made.study.promise.level),
        promised=promised,
        batches=rules[0],
        rates=rules[1],
    )
    return FILE.format(
        head=heading(head),
        chips=made.chips,
        at_once=AT_ONCE * (made.chips if made.hardware else 8),
        imports="from configs.pod import remat\n" if made.hardware else "",
        fields=', dtype="bfloat16", remat=remat(model.N)' if made.hardware else "",
        runs="\n".join(lines),
        trunks=made.study.pool.trunks,
        vocabulary=VOCABULARY,
        warmup=int(min(D for _, D, _ in runs) / 20),
    )


def _fits(made: Design) -> tuple[str, str]:
    """The commands that fit what is believed, a line each, and what is promised of them."""
    p, prior = made.study.promise, made.prior
    weights = f" --weights {prior.slope:g}" if prior.slope else ""
    each = ", ".join(f"{form} ± {percent(half)}" for form, half in p.forms.items())
    run = f"one run to ± {percent(p.run)}"
    if prior.averaged:
        told = f"the law's value there by each form alone, {each}, to which the average adds how far they lie apart"
        command = f"    scaling fit --choose --average studies/design --loss squared{weights} --out law.json"
        return command, f"{told}; {run} by the middle law"
    lines = []
    for form, beliefs in itertools.groupby(prior.beliefs, lambda belief: belief.form):
        one = next(beliefs)
        word = shlex.quote(extensions.word_of(type(one.law)) or one.law.name)
        held = " ".join(f"{name}={getattr(one.law, name):.6g}" for name in one.fixed)
        out = shlex.quote(f"{form.replace(', ', '-').replace(' ', '-')}.json") if len(p.forms) > 1 else "law.json"
        fixed = f" --fix {held}" if held else ""
        lines.append(f"    scaling fit {word} studies/design --loss squared{fixed}{weights} --out {out}")
    if len(lines) > 1:
        return "\n".join(lines), f"the law's value there by form, {each}; {run} by the middle law"
    return lines[0], f"the law's value there to ± {percent(p.law)}, {run}"
