"""The next run, and its words as `scaling plan` prints them."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from analysis.digits import compute, plural, short, typed
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.jsonable import jsonable
from analysis.plan.budget import Budget
from analysis.plan.prices import Overtrained, Repeated, Served
from analysis.plan.published import Choice, Rival
from analysis.plan.recipe import Shape
from analysis.plan.rungs import LENGTHS, Rung
from analysis.table.columns import COLUMNS

UNCHECKED = "of the fit: not checked: "
HUGE = 1000.0  # times the cheapest compute: more than that is no number to plan by
INDENT = 11  # columns before the text of a line


@dataclasses.dataclass(frozen=True)
class Plan:
    """The next run. Intervals are (low, high) at `level`; nan where the fit gives none. By published constants they are
    the lowest and the highest of `choices`, without a level, as `interval` says.

    `a` is the exponent of N ~ C^a at this budget. The batch is in tokens; `batches` and `learning_rates` say by which
    rule each suggestion comes, one's own measurement first; a guess goes last. `price` is the excess compute (relative)
    of sizes that are `price.keys()` times the best one. `ladder` are sizes to train before it, each on `rungs.LENGTHS`
    times its tokens. `inputs` are the columns of the law at this run, as a forecast takes them. `warnings` say why not
    to trust the numbers; `notes` what else to know. Along an allocation there is no loss, nor what follows from it.
    """

    budget: Budget
    law: str
    target: str
    params: float
    tokens: float
    loss: float
    a: float
    intervals: Mapping[str, tuple[float, float]]  # of params, tokens, loss (of the law), a; loss of one run
    level: float
    batch: float
    steps: float
    batches: Mapping[str, float]
    shape: Shape | None
    learning_rates: Mapping[str, float]
    ladder: tuple[Rung, ...]
    price: Mapping[float, float]
    rivals: tuple[Rival, ...]
    served: Served | None
    repeated: Repeated | None
    overtrained: Overtrained | None
    inputs: Mapping[str, float]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    choices: tuple[Choice, ...] = ()  # of published fits, where the plan is by one of them
    interval: str = ""  # what intervals are, where they have no level
    loss_of: str = ""  # whose loss it is, where it is not that of the reader's text

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; infinite and missing numbers become null."""
        out = dataclasses.asdict(self)
        out["budget"]["hours"] = self.budget.hours
        out["price"] = {f"{ratio:g}": excess for ratio, excess in self.price.items()}
        out["tokens_per_param"] = self.tokens / self.params
        out["flops"] = FLOP_PER_PARAM_TOKEN * self.params * self.tokens
        for holder, part in ((out, self), *zip(out["ladder"], self.ladder, strict=True)):
            if part.shape:
                holder["shape"] |= {"d_ff": part.shape.d_ff, "params": part.shape.params}
        for name, extra in (("served", "saving"), ("repeated", "epochs"), ("overtrained", "excess")):
            if part := getattr(self, name):
                out[name][extra] = getattr(part, extra)
        return jsonable(out)

    @property
    def repeats(self) -> bool:
        """Whether the run sees its data more than once."""
        return self.repeated is not None and self.repeated.needed

    def text(self) -> str:
        """The plan as a person reads it, doubts first."""
        lines = [f"Warning: {warning}" for warning in self.warnings]
        for part in (_run, _stop, _recipe, _ladder, _prices, _demands, _rivals, _choices):
            lines += [f"{head:<{INDENT}}{told}" for head, told in part(self)]
        return "\n".join([*lines, *(f"Note: {note}" for note in _notes(self))])


def _run(plan: Plan) -> Iterator[tuple[str, str]]:
    def between(name: str, told: Callable[[float], str]) -> str:
        ends = plan.intervals.get(name, (math.nan, math.nan))
        what = plan.interval or f"{100 * plan.level:.4g}% interval"
        return f"  ({what} {told(ends[0])} to {told(ends[1])})" if all(map(math.isfinite, ends)) else ""

    unit = COLUMNS.get(plan.target, "")
    yield "Budget", plan.budget.told
    for i, line in enumerate(plan.law.split("\n")):
        yield "" if i else "Law", line
    growing = "" if plan.repeats else f", growing as C^{plan.a:.2f}"
    yield "N", f"{short(plan.params)} parameters{between('params', short)}{growing}"
    ratio = plan.tokens / plan.params
    yield "D", f"{short(plan.tokens)} tokens{between('tokens', short)}, {typed(ratio, 3)} per parameter"
    if math.isfinite(plan.loss):
        yield "Loss", f"{plan.loss:.4f} {unit}{plan.loss_of}{between('loss', '{:.4f}'.format)}"
        if of_run := between("one run", "{:.4f}".format):
            yield "", f"of one run, with the law's own error so far beyond its runs{of_run}"


def _recipe(plan: Plan) -> Iterator[tuple[str, str]]:
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


def _ladder(plan: Plan) -> Iterator[tuple[str, str]]:
    if not plan.ladder:
        return
    lengths = ", ".join(f"{length:g}" for length in LENGTHS)
    share = sum(rung.share for rung in plan.ladder)
    n = len(plan.ladder) * len(LENGTHS)
    yield "Ladder", f"to train first, each size on {lengths} x its D: {n} runs, {share:.1%} of the budget"
    for rung in plan.ladder:
        s = rung.shape
        shape = f"d_model {s.d_model}, n_layer {s.n_layer}, n_head {s.n_head}"
        batch = f"batch {short(rung.batch)} tokens, rate {rung.learning_rate:.2g}"
        yield (
            "",
            f"N {short(s.params)}, D {short(rung.tokens)}: {shape}; {batch}; {100 * rung.share:.2g}% of the budget",
        )


def _prices(plan: Plan) -> Iterator[tuple[str, str]]:
    told = [
        f"{ratio:g} x N {f'{_more(excess)} compute' if math.isfinite(excess) else 'never reaches it'}"
        for ratio, excess in plan.price.items()
    ]
    if told:
        yield "Wrong size", f"for the same loss: {', '.join(told)}"


def _demands(plan: Plan) -> Iterator[tuple[str, str]]:
    if v := plan.served:
        size = f"N {short(v.params)} on {short(v.tokens)} tokens"
        yield "Served", f"for {short(v.inference_tokens)} tokens of inference: {size}"
        cost = f"training and serving cost {compute(v.cost)}, {v.saving:.0%} less"
        price = "" if v.cost_ratio == 1 else f", a FLOP of serving at the price of {v.cost_ratio:.3g} of training"
        yield "", f"reaches the same {v.loss:.4f}; {cost}{price}"
        N, D = v.params / float(v.cheapest_to_train.params), v.tokens / float(v.cheapest_to_train.tokens)
        served = f"it serves {typed(v.inference_tokens / v.tokens, 3)} tokens for each one it is trained on"
        yield "", f"{N:.0%} of the size and {typed(D, 3)} times the tokens of the cheapest to train; {served}"
    if (r := plan.repeated) and plan.repeats:
        yield "Repeated", f"{short(r.unique_tokens)} unique tokens, {r.epochs:.3g} epochs of them"
        fresh = f"fresh tokens would give {float(r.fresh.loss):.4f}"
        left = (
            f"all of the budget would give {float(r.best.loss):.4f}" if r.best.flops > 1.01 * r.cheapest.flops else ""
        )
        yield "", "; ".join(told for told in (left, fresh) if told)
    elif r:
        yield "Unique", f"{short(r.unique_tokens)} tokens are enough for one epoch"
    if o := plan.overtrained:
        yield "Given N", f"{short(o.params)} on {short(o.tokens)} tokens reaches {o.loss:.4f}"
        yield "", f"{_more(o.excess)} compute against the cheapest way there, N {short(float(o.cheapest.params))}"


def _stop(plan: Plan) -> Iterator[tuple[str, str]]:
    """What of the budget the run takes, where it stops before its end."""
    share = FLOP_PER_PARAM_TOKEN * plan.params * plan.tokens / plan.budget.flops
    if plan.repeats and share < 0.99:
        hours = f", {plan.budget.hours * share:.3g} of {plan.budget.hours:.4g} h" if plan.budget.machine else ""
        yield "Stop", f"after {100 * share:.3g}% of the budget{hours}: the rest would lower the loss by under 0.1 %"


def _more(excess: float) -> str:
    return f"{excess:+.0%}" if excess < HUGE else f"over {HUGE:g} times the"


def _rivals(plan: Plan) -> Iterator[tuple[str, str]]:
    if not plan.rivals:
        return
    yield "Others", "would choose, and the loss that this fit expects of it:"
    width = max(len(r.name) for r in plan.rivals)
    for r in plan.rivals:
        choice = f"N {short(r.params)}, D {short(r.tokens)}, D/N {typed(r.tokens / r.params, 3)} (N {r.counts})"
        yield "", f"{r.name:<{width}}  {r.loss:.4f}  {choice}"


def _choices(plan: Plan) -> Iterator[tuple[str, str]]:
    for i, one in enumerate(plan.choices):
        yield "" if i else "Published", one.text()


def _notes(plan: Plan) -> Iterator[str]:
    unchecked = sum(note.startswith(UNCHECKED) for note in plan.notes)
    yield from (note for note in plan.notes if not note.startswith(UNCHECKED))
    if unchecked:
        things = plural(unchecked, "thing", "things")
        yield f"of the fit: {unchecked} {things} about the runs could not be checked; scaling fit names them"
