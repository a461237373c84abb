"""A plan in words, as `scaling plan` prints it."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from analysis.page.digits import plural, short
from analysis.planning.rungs import LENGTHS
from analysis.tables.columns import COLUMNS

if TYPE_CHECKING:
    from analysis.plan import Plan

UNCHECKED = "of the fit: not checked: "
HUGE = 1000.0  # times the cheapest compute: more than that is no number to plan by
INDENT = 11  # columns before the text of a line


def text(plan: "Plan") -> str:
    """The whole plan, doubts first."""
    lines = [f"Warning: {warning}" for warning in plan.warnings]
    for part in (_run, _recipe, _ladder, _prices, _demands, _rivals):
        lines += [f"{head:<{INDENT}}{told}" for head, told in part(plan)]
    return "\n".join([*lines, *(f"Note: {note}" for note in _notes(plan))])


def _run(plan: "Plan") -> Iterator[tuple[str, str]]:
    def between(name: str, told: Callable[[float], str]) -> str:
        ends = plan.intervals[name]
        return (
            f"  ({100 * plan.level:.4g}% interval {told(ends[0])} to {told(ends[1])})"
            if all(map(math.isfinite, ends))
            else ""
        )

    unit = COLUMNS.get(plan.target, "")
    yield "Budget", plan.budget.told
    yield "Law", plan.law
    yield "N", f"{short(plan.params)} parameters{between('params', short)}, growing as C^{plan.a:.2f}"
    ratio = plan.tokens / plan.params
    yield "D", f"{short(plan.tokens)} tokens{between('tokens', short)}, {ratio:.3g} per parameter"
    yield "Loss", f"{plan.loss:.4f} {unit}{between('loss', '{:.4f}'.format)}"


def _recipe(plan: "Plan") -> Iterator[tuple[str, str]]:
    if s := plan.shape:
        yield (
            "Shape",
            f"d_model {s.d_model}, n_layer {s.n_layer}, n_head {s.n_head}, d_ff {s.d_ff}: N = {short(s.params)}",
        )
    for i, (name, B) in enumerate(plan.batches.items()):
        steps = f", {short(plan.tokens / B)} steps"
        yield "" if i else "Batch", f"{short(B)} tokens{steps}: {name}"
    for i, (name, rate) in enumerate(plan.learning_rates.items()):
        yield "" if i else "Peak rate", f"{rate:.2g}: {name}"


def _ladder(plan: "Plan") -> Iterator[tuple[str, str]]:
    if not plan.ladder:
        return
    lengths = ", ".join(f"{length:g}" for length in LENGTHS)
    share = sum(rung.share for rung in plan.ladder)
    n = len(plan.ladder) * len(LENGTHS)
    yield "Ladder", f"to train first, each size on {lengths} x its D: {n} runs, {share:.1%} of the budget"
    for rung in plan.ladder:
        s = rung.shape
        shape = f"d_model {s.d_model}, n_layer {s.n_layer}, n_head {s.n_head}"
        yield "", f"N {short(s.params)}, D {short(rung.tokens)}: {shape}; {100 * rung.share:.2g}% of the budget"


def _prices(plan: "Plan") -> Iterator[tuple[str, str]]:
    told = [
        f"{ratio:g} x N {f'{_more(excess)} compute' if math.isfinite(excess) else 'never reaches it'}"
        for ratio, excess in plan.price.items()
    ]
    yield "Wrong size", f"for the same loss: {', '.join(told)}"


def _demands(plan: "Plan") -> Iterator[tuple[str, str]]:
    if v := plan.served:
        size = f"N {short(v.params)} on {short(v.tokens)} tokens"
        yield "Served", f"for {short(v.inference_tokens)} tokens of inference: {size}"
        cost = f"training and serving cost {v.cost:.3g} FLOP, {v.saving:.0%} less"
        yield "", f"reaches the same {v.loss:.4f}; {cost}"
    if r := plan.repeated:
        N, D, loss = (float(x) for x in (r.best.params, r.best.tokens, r.best.loss))
        size = f"N {short(N)} on {short(D)} tokens, {r.epochs:.3g} epochs"
        yield "Repeated", f"with {short(r.unique_tokens)} unique tokens: {size}"
        yield "", f"reaches {loss:.4f}, against {float(r.fresh.loss):.4f} with fresh tokens"
    if o := plan.overtrained:
        yield "Given N", f"{short(o.params)} on {short(o.tokens)} tokens reaches {o.loss:.4f}"
        yield "", f"{_more(o.excess)} compute against the cheapest way there, N {short(float(o.cheapest.params))}"


def _more(excess: float) -> str:
    return f"{excess:+.0%}" if excess < HUGE else f"over {HUGE:g} times the"


def _rivals(plan: "Plan") -> Iterator[tuple[str, str]]:
    yield "Others", "would choose, and the loss that this fit expects of it:"
    width = max(len(r.name) for r in plan.rivals)
    for r in plan.rivals:
        choice = f"N {short(r.params)}, D {short(r.tokens)}, D/N {r.tokens / r.params:.3g} (N {r.counts})"
        yield "", f"{r.name:<{width}}  {r.loss:.4f}  {choice}"


def _notes(plan: "Plan") -> Iterator[str]:
    unchecked = sum(note.startswith(UNCHECKED) for note in plan.notes)
    yield from (note for note in plan.notes if not note.startswith(UNCHECKED))
    if unchecked:
        things = plural(unchecked, "thing", "things")
        yield f"of the fit: {unchecked} {things} about the runs could not be checked; scaling fit names them"
