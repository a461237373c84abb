"""From a fitted law and a budget to the next model, its expected loss and the price of being wrong.

N as the fitted law counts it, D in tokens, C in FLOP, losses in nats per token (or in what the fit predicts).
"""

import contextlib
import dataclasses
import math

import numpy as np

from analysis.digits import compute, short, typed
from analysis.fit.estimate import Fit
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Allocation, Array, Optimum
from analysis.laws import Chinchilla, KaplanBCrit, KaplanNS, Lovelace
from analysis.laws.admission import ONE_EPOCH
from analysis.laws.law import Law
from analysis.plan import published
from analysis.plan.budget import Budget
from analysis.plan.next_run import Plan
from analysis.plan.own_rates import OwnRates
from analysis.plan.prices import Repeatable, Repeated, repeating, with_inference, with_unique_tokens
from analysis.plan.reach import FAR, beyond, doubt, unprofiled
from analysis.plan.recipe import ASPECT, Shape, leaving_updates, published_batches, published_learning_rates, shape_for
from analysis.plan.routes import LineRoute, Route, SurfaceRoute, exponent, route
from analysis.plan.rungs import rungs
from scaling.errors import InputError

PRICED = (0.5, 2.0)  # times the best size
EPOCHS = 100.0  # more repetition than that is called a guess
ADAM_BYTES = 16  # per parameter: weights, gradients and two moments in float32


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What shapes and suits a plan, whatever spends its budget."""

    rates: OwnRates | None
    aspect: float
    embedding_rows: int
    B_crit: KaplanBCrit | None = None
    inference_tokens: float | None = None
    inference_cost: float = 1.0
    unique_tokens: float | None = None
    params: float | None = None
    nats: bool = True  # whether losses are in nats per token

    def __post_init__(self):
        for what, value in (
            ("inference tokens", self.inference_tokens),
            ("inference cost", self.inference_cost),
            ("unique tokens", self.unique_tokens),
            ("params", self.params),
            ("aspect", self.aspect),
        ):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{what} {value:g}: wanted a number above 0; leave it out where it is not known")
        if self.embedding_rows < 0:
            raise InputError(
                f"{self.embedding_rows} embedding rows: wanted 0, or n_vocab (+ n_ctx) where N counts embeddings"
            )

    def batches(self, D: float, C: float, L: float) -> dict[str, float]:
        """Batches in tokens by rule, the own one alone where there is one."""
        if self.B_crit:
            return {"your B_crit(L); twice the least steps, twice the least tokens": float(self.B_crit(L))}
        return published_batches(D, C, L if self.nats and math.isfinite(L) else None)

    def rate(self, N: float, D: float, L: float) -> tuple[float, float]:
        """Batch and peak rate by the first rules, of N parameters without embeddings."""
        C = FLOP_PER_PARAM_TOKEN * N * D
        batches, _ = leaving_updates(self.batches(D, C, L), D)
        batch = next(iter(batches.values()))
        learning_rates, _ = _learning_rates(self.rates, N, D, C, batch)
        return batch, next(iter(learning_rates.values()))


def plan(
    fit: Fit,
    budget: Budget | float,
    *,
    B_crit: Fit | None = None,
    rates: OwnRates | None = None,
    aspect: float = ASPECT,
    embedding_rows: int = 0,
    inference_tokens: float | None = None,
    inference_cost: float = 1.0,
    unique_tokens: float | None = None,
    params: float | None = None,
    despite_doubts: bool = False,
) -> Plan:
    """The compute-optimal run for a budget, by a fitted law.

    Args:
        fit: of a law of (params, tokens), of Muennighoff's or Lovelace's, or of Kaplan's L(N, S_min), which needs
            `B_crit` and leads along his path with the batch at B_crit.
        budget: a `Budget`, or FLOP.
        B_crit: fit of B_crit(L) to one's own runs; without it the batch is a published rule's.
        rates: law of one's own sweep (`own_rates.read`); without it only published rules are listed.
        aspect: d_model / n_layer of the shapes.
        embedding_rows: n_vocab (+ n_ctx) where the law's N counts embeddings, so that the shapes do too.
        inference_tokens: tokens the model will read and write: the lifetime answer is added.
        inference_cost: what a FLOP of that costs over one of training, in money, say `prices.Money(...).cost_ratio`.
        unique_tokens: tokens that exist: where the best run wants more, the plan is of one that repeats them, and stops
            where more compute hardly helps (`prices.with_unique_tokens`).
        params: a size that is given: the price of over-training or under-training it is added.
        despite_doubts: plan by a fit that is doubtful too, without intervals.

    Raises:
        InputError: a doubtful fit, or a budget, law or argument that cannot be used.
    """
    budget, law = _of(budget), fit.law
    asked = _Asked(
        rates,
        aspect,
        embedding_rows,
        _critical(B_crit),
        inference_tokens,
        inference_cost,
        unique_tokens,
        params,
        fit.target in ("loss", "loss_min"),
    )
    way, best, repeated = _spent(law, budget.flops, asked)
    inputs = route(law, asked.B_crit).columns(best)
    if "unique_tokens" in law.inputs:
        D = float(best.tokens)
        inputs["unique_tokens"] = D if unique_tokens is None else min(unique_tokens, D)
    warnings, notes = [*_doubts(fit, B_crit), *_unbounded(fit, repeated)], []
    _refuse(warnings, despite_doubts)
    if warnings:
        warnings.append("no intervals are given: other sizes may fit these runs as well")
        intervals = {name: (math.nan, math.nan) for name in ("params", "tokens", "loss", "a")}
    else:
        U = unique_tokens if repeated and repeated.needed else None
        intervals, notes = _intervals(fit, B_crit, float(best.flops), asked.B_crit, U)
        if U is None or "unique_tokens" in law.inputs:
            run = fit.predict(run=True, **inputs)
            intervals["one run"] = float(run.low), float(run.high)
    warnings += [unprofiled(fit)] if unprofiled(fit) else []
    warnings += beyond(fit, {**inputs, "flops": float(best.flops)})
    made = _made(
        way,
        best,
        repeated,
        budget,
        asked,
        law=f"{law.name}, {law.source}; {fit.n_runs} of {fit.n_given} runs, {fit.status}",
        target=fit.target,
        intervals=intervals,
        level=fit.level,
        rivals=published.rivals(float(best.flops), way),
        inputs=inputs,
        warnings=warnings,
        notes=[*notes, *_borrowed(law, repeated)],
        fresh=route(law, asked.B_crit),
    )
    outside = []
    for what, run in (("served", made.served), ("given N", made.overtrained)):
        if run:
            told = beyond(fit, {"params": float(run.params), "tokens": float(run.tokens)})
            outside += [f"{what}: {one}" for one in told]
    return dataclasses.replace(made, notes=(*made.notes, *outside, *(f"of the fit: {note}" for note in fit.notes)))


def by_published(
    name: str,
    budget: Budget | float,
    *,
    rates: OwnRates | None = None,
    aspect: float = ASPECT,
    embedding_rows: int = 0,
    inference_tokens: float | None = None,
    inference_cost: float = 1.0,
    unique_tokens: float | None = None,
    params: float | None = None,
) -> Plan:
    """The run for a budget by published constants, for whoever has no runs yet: as `plan`.

    Intervals are the spread of the published fits. Of those that tell N_opt(C) alone there is no loss, nor what follows
    from it.

    Args:
        name: one of `published.PUBLISHED`, with or without `published:` before it.
    """
    one, budget = published.find(name), _of(budget)
    asked = _Asked(
        rates, aspect, embedding_rows, None, inference_tokens, inference_cost, unique_tokens, params, nats=False
    )
    if one.law is None:
        assert one.size
        wanted = {"inference_tokens": inference_tokens, "unique_tokens": unique_tokens, "params": params}
        given = " ".join(f"--{name.replace('_', '-')}" for name, value in wanted.items() if value is not None)
        if given:
            told = ", ".join(other.name for other in published.PUBLISHED.values() if other.law)
            raise InputError(f"published:{one.name} tells no loss: leave out {given}, or take one of {told}")
        C = budget.flops
        way, repeated = LineRoute.of_size(one.size), None
        best = way.best(C)
    else:
        way, best, repeated = _spent(one.law, budget.flops, asked)
    found = published.choices(budget.flops, unique_tokens if repeated and repeated.needed else None)
    made = _made(
        way,
        best,
        repeated,
        budget,
        asked,
        law=one.told,
        target="loss",
        intervals=published.spread(found),
        level=math.nan,
        inputs={},
        warnings=[published.NOT_YOURS, *one.beyond(params=float(best.params), flops=float(best.flops))],
        notes=[
            "train a ladder on your text and fit it: a plan by your own law has an interval of its own",
            *(
                ["N counts embeddings, the shapes do not: --embeddings ROWS, of your vocabulary, counts them in"]
                if one.counts == published.LARGE and not embedding_rows
                else []
            ),
            *published.reasons(found),
            *(_borrowed(one.law, repeated) if one.law else []),
        ],
        fresh=route(one.law) if one.law else None,
    )
    loss_of = "" if one.law is None else f" of {one.data}, not of your text"
    return dataclasses.replace(made, choices=found, interval="published fits, lowest to highest:", loss_of=loss_of)


def along(
    line: Allocation,
    budget: Budget | float,
    *,
    rates: OwnRates | None = None,
    aspect: float = ASPECT,
    embedding_rows: int = 0,
    despite_doubts: bool = False,
) -> Plan:
    """The run for a budget along the lines of an allocation: as `plan`, without what follows from a loss.

    Args:
        line: by whatever approach.
    """
    budget = _of(budget)
    C, way = budget.flops, LineRoute.of(line)
    low, high = (f([float(p.flops) for p in line.points]) for f in (min, max))
    warnings = list(line.doubts)
    _refuse(warnings, despite_doubts)
    if C > FAR * high or C * FAR < low:
        warnings.append(f"C = {compute(C)} is {typed(max(C / high, low / C), 3)} times outside its optima: a guess")
    intervals = {"params": line.params_band(C), "tokens": line.tokens_band(C), "a": line.a_interval}
    notes = ["an allocation tells no loss, so no price of other sizes and no forecast: fit a law for these"]
    if not len(line.draws):
        notes.append("no intervals: keep the allocation with scaling allocate --out, not with --json")
    made = _made(
        way,
        way.best(C),
        None,
        budget,
        _Asked(rates, aspect, embedding_rows),
        law=f"{line.method}, {len(line.points)} optima from {typed(low, 3)} to {compute(high)}",
        target="loss",
        intervals={name: (float(ends[0]), float(ends[1])) for name, ends in intervals.items()},
        level=line.level,
        inputs={},
        warnings=warnings,
        notes=[*notes, *(f"of the allocation: {note}" for note in line.warnings)],
    )
    return dataclasses.replace(made, a=line.a)


def _of(budget: Budget | float) -> Budget:
    return budget if isinstance(budget, Budget) else Budget.of_flops(budget)


def _refuse(doubts: list[str], despite_doubts: bool) -> None:
    if doubts and not despite_doubts:
        raise InputError(
            f"{doubts[0]}; no plan by it: fit more runs or another law, or plan all the same with --despite-doubts"
        )


def _spent(law: Law, C: float, asked: _Asked) -> tuple[Route, Optimum, Repeated | None]:
    """How a law spends C FLOP, its best run, and what repeating the data does where the run wants more than exist."""
    way = route(law, asked.B_crit)
    if asked.inference_tokens is not None and not isinstance(way, SurfaceRoute):
        raise InputError(f"{law.name} says nothing of inference: fit a law of params, tokens, such as chinchilla")
    if asked.unique_tokens is None:
        return way, way.best(C), None
    if not isinstance(law, Repeatable):
        raise InputError(f"{law.name} says nothing of repeated data: fit chinchilla, muennighoff or lovelace")
    found = with_unique_tokens(law, C, asked.unique_tokens)
    if not found.needed:
        return way, found.fresh, found
    return SurfaceRoute(repeating(law, asked.unique_tokens)), found.cheapest, found


def _unbounded(fit: Fit, repeated: Repeated | None) -> list[str]:
    """That a penalty of repeats leads to a size which nothing bounds: it is none before the text repeats."""
    if repeated is None or not repeated.needed or not isinstance(fit.law, Lovelace) or repeated.epochs > ONE_EPOCH:
        return []
    N, largest = float(repeated.cheapest.params), fit.ranges["params"][1]
    if N <= largest:
        return []
    return [
        f"{fit.law.name} leads to one epoch of N = {short(N)}, {typed(N / largest, 3)} times its largest run: no "
        f"penalty acts before text repeats, so nothing in it bounds a size on {short(repeated.unique_tokens)} unique "
        "tokens (muennighoff does)"
    ]


def _borrowed(law: Law, repeated: Repeated | None) -> list[str]:
    """That what repetition does was not fitted together with the law, or by the form that fits worse."""
    if repeated is None or not repeated.needed or isinstance(law, Lovelace):
        return []
    better = "effective data know no over-fitting; lovelace does and fits better (docs/data-constrained.md)"
    if isinstance(law, Chinchilla):
        return [
            "repetition by Muennighoff's R_D* = 15.4, R_N* = 5.3, borrowed; their runs identify them weakly",
            better,
        ]
    return [better]


def _made(
    way: Route | LineRoute,
    best: Optimum,
    repeated: Repeated | None,
    budget: Budget,
    asked: _Asked,
    *,
    law: str,
    target: str,
    intervals: dict[str, tuple[float, float]],
    level: float,
    inputs: dict[str, float],
    warnings: list[str],
    notes: list[str],
    rivals: tuple[published.Rival, ...] = (),
    fresh: Route | None = None,
) -> Plan:
    """The plan around the best run of a route; `fresh` is that of tokens that are seen once, where it is another."""
    C, N, D, L = (float(x) for x in (best.flops, best.params, best.tokens, best.loss))
    rows, aspect = asked.embedding_rows, asked.aspect
    shape, told = _shape(N, aspect, rows)
    batches, too_large = leaving_updates(asked.batches(D, C, L), D)
    batch = next(iter(batches.values()))
    body = N - rows * shape.d_model if shape else N  # laws of rates count no embeddings
    learning_rates, of_rates = _learning_rates(asked.rates, body, D, C, batch)
    if not asked.B_crit:
        notes.append("no B_crit(L) of yours: batches are published rules, found on other data")
    notes += [*told, *too_large, *of_rates]
    surface = way.law if isinstance(way, SurfaceRoute) else None
    if repeated and repeated.epochs > EPOCHS:
        notes.append(f"repeated: {repeated.epochs:.3g} epochs are over {EPOCHS:g}, so far out the law is a guess")
    machine = budget.machine
    if machine and ADAM_BYTES * N > machine.memory * machine.number:
        notes.append(
            f"weights, gradients and Adam's moments take {ADAM_BYTES * N / 2**30:.3g} GiB in float32, and the "
            f"{machine.number} x {machine.memory / 2**30:.3g} GiB of the chips hold less"
        )
    served = None
    if surface and asked.inference_tokens is not None:
        served = with_inference(surface, L, asked.inference_tokens, cost_ratio=asked.inference_cost)
    return Plan(
        budget=budget,
        law=law,
        target=target,
        params=N,
        tokens=D,
        loss=L,
        a=exponent(way, C),
        intervals=intervals,
        level=level,
        batch=batch,
        steps=D / batch,
        batches=batches,
        shape=shape,
        learning_rates=learning_rates,
        # Of fresh tokens also where the run repeats its own: what repetition does is no matter of N and D alone.
        ladder=rungs(fresh or way, C, N, aspect=aspect, rows=rows, recipe=asked.rate),
        price={} if isinstance(way, LineRoute) else dict(zip(PRICED, map(float, way.excess(C, PRICED)), strict=True)),
        rivals=rivals,
        served=served,
        repeated=repeated,
        overtrained=None
        if isinstance(way, LineRoute) or asked.params is None
        else way.given(asked.params, budget.flops),
        inputs=inputs,
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def _shape(N: float, aspect: float, rows: int) -> tuple[Shape | None, list[str]]:
    """The standard shape nearest to N, or a note that says why there is none."""
    try:
        return shape_for(N, aspect=aspect, rows=rows), []
    except InputError as error:
        return None, [f"no shape: {error}"]


def _learning_rates(
    rates: OwnRates | None, N: float, D: float, C: float, batch: float
) -> tuple[dict[str, float], list[str]]:
    """Peak rates by rule, the own sweep's first unless it is a guess there, and notes. N counts no embeddings."""
    published = published_learning_rates(N, D, C)
    if rates is None:
        return published, [
            "no sweep of yours: learning rates are published rules, for other batches and initialisations"
        ]
    outside, guess = rates.beyond(N, D, batch)
    own = {"your sweep": rates.law(N, D, batch)}
    told = [f"of your sweep: {told}" for told in (outside, *rates.warnings) if told]
    return (published | own if guess else own | published), told


def _critical(fit: Fit | None) -> KaplanBCrit | None:
    if fit is None:
        return None
    if not isinstance(fit.law, KaplanBCrit):
        raise InputError(f"B_crit is a fit of {fit.law.name}; wanted one of kaplan-bcrit")
    return fit.law


def _doubts(fit: Fit, B_crit: Fit | None) -> list[str]:
    """Why the law, or the critical batch where the path hangs on it, is not to be trusted."""
    fits = [fit, B_crit] if isinstance(fit.law, KaplanNS) and B_crit else [fit]
    return [told for one in fits if (told := doubt(one))]


def _intervals(
    fit: Fit, B_crit: Fit | None, C: float, own_B: KaplanBCrit | None, unique_tokens: float | None
) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Intervals of N, D, L and a at C FLOP: the whole chain for each bootstrap draw, or by the covariance where there
    are none.

    Args:
        unique_tokens: that are repeated; None where none are. Borrowed constants of repetition are not doubted.
    """

    def chosen(law: Law, own_B: KaplanBCrit | None, draws: tuple[int, ...] = ()) -> Array:
        way = route(law, own_B)
        if unique_tokens is not None:
            assert isinstance(law, Repeatable)
            way = SurfaceRoute(repeating(law, unique_tokens))
        best = way.best(np.broadcast_to(C * np.array([1.0, 0.5, 2.0]), (*draws, 3)))  # as `exponent` has it
        a = np.log(best.params[..., 2] / best.params[..., 1]) / np.log(4)
        return np.stack([best.params[..., 0], best.tokens[..., 0], best.loss[..., 0], a], -1)

    notes = []
    if len(fit.draws):
        laws = [type(fit.law)(*constants) for constants in fit.draws]
        critical = [KaplanBCrit(*constants) for constants in B_crit.draws] if B_crit else []
        rows = []
        if unique_tokens is not None:  # all draws at once: each is a search over N
            with contextlib.suppress(InputError):
                rows = list(chosen(type(fit.law)(*fit.draws.T[:, :, None]), None, (len(laws),)))
        else:
            for i, law in enumerate(laws):
                try:
                    rows.append(chosen(law, critical[i % len(critical)] if critical else own_B))
                except InputError:  # this draw has no best size; counted below
                    continue
        lost = len(laws) - len(rows)
        if lost > 0.05 * len(laws):
            notes.append(f"{lost} of {len(laws)} bootstrap draws have no best size: intervals are too narrow")
        percents = 50 * (1 - fit.level), 50 * (1 + fit.level)
        low_high = np.percentile(np.array(rows), percents, axis=0) if rows else np.full((2, 4), math.nan)
        ends = [(float(low), float(high)) for low, high in low_high.T]
        complete = bool(critical)
    else:
        around = fit.derived(lambda law: chosen(law, own_B), log=True)
        ends = [(float(low), float(high)) for low, high in zip(around.low, around.high, strict=True)]
        complete = False
    if isinstance(fit.law, KaplanNS) and not complete:
        notes.append("intervals leave out what is unsure of B_crit(L): fit both with a bootstrap to have it in")
    return dict(zip(("params", "tokens", "loss", "a"), ends, strict=True)), notes
