"""From a fitted law and a budget to the next model, its expected loss and the price of being wrong.

N as the fitted law counts it, D in tokens, C in FLOP, losses in nats per token (or in what the fit predicts).
"""

import math

import numpy as np

from analysis.digits import compute, typed
from analysis.fit.estimate import Fit
from analysis.frontier import Allocation, Array
from analysis.laws import Chinchilla, KaplanBCrit, KaplanNS, Muennighoff
from analysis.plan.budget import Budget
from analysis.plan.next_run import Plan
from analysis.plan.own_rates import OwnRates
from analysis.plan.prices import with_inference, with_unique_tokens
from analysis.plan.published import rivals
from analysis.plan.reach import FAR, beyond, doubt
from analysis.plan.recipe import ASPECT, Shape, leaving_updates, published_batches, published_learning_rates, shape_for
from analysis.plan.routes import LineRoute, Route, SurfaceRoute, exponent, route
from analysis.plan.rungs import rungs
from scaling.errors import InputError

PRICED = (0.5, 2.0)  # times the best size
EPOCHS = 100.0  # more repetition than that is called a guess


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
) -> Plan:
    """The compute-optimal run for a budget, by a fitted law.

    Args:
        fit: of a law of (params, tokens), of Muennighoff's, or of Kaplan's L(N, S_min), which needs `B_crit` and leads
            along his path with the batch at B_crit.
        budget: a `Budget`, or FLOP.
        B_crit: fit of B_crit(L) to one's own runs; without it the batch is a published rule's.
        rates: law of one's own sweep (`own_rates.read`); without it only published rules are listed.
        aspect: d_model / n_layer of the shapes.
        embedding_rows: n_vocab (+ n_ctx) where the law's N counts embeddings, so that the shapes do too.
        inference_tokens: tokens the model will read and write: the lifetime answer is added.
        inference_cost: what a FLOP of that costs over one of training, in money, say `prices.Money(...).cost_ratio`.
        unique_tokens: tokens that exist: the answer with repetition is added.
        params: a size that is given: the price of over-training or under-training it is added.

    Raises:
        InputError: a budget, law or argument that cannot be used.
    """
    budget = budget if isinstance(budget, Budget) else Budget.of_flops(budget)
    C, law = budget.flops, fit.law
    for what, value in (
        ("inference tokens", inference_tokens),
        ("inference cost", inference_cost),
        ("unique tokens", unique_tokens),
        ("params", params),
        ("aspect", aspect),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{what} {value:g}: wanted a number above 0; leave it out where it is not known")
    if embedding_rows < 0:
        raise InputError(f"{embedding_rows} embedding rows: wanted 0, or n_vocab (+ n_ctx) where N counts embeddings")
    own_B = _critical(B_crit)
    way = route(law, own_B)
    if inference_tokens is not None and not isinstance(way, SurfaceRoute):
        raise InputError(f"{law.name} says nothing of inference: fit a law of params, tokens, such as chinchilla")
    if unique_tokens is not None and not isinstance(law, Chinchilla | Muennighoff):
        raise InputError(f"{law.name} says nothing of repeated data: fit chinchilla or muennighoff")
    best = way.best(C)
    N, D, L = float(best.params), float(best.tokens), float(best.loss)
    inputs = way.columns(best)
    if "unique_tokens" in law.inputs:
        inputs["unique_tokens"] = D if unique_tokens is None else min(unique_tokens, D)
    warnings, notes = [*_doubts(fit, B_crit)], []
    if warnings:
        warnings.append("no intervals are given: other sizes may fit these runs as well")
        intervals = {name: (math.nan, math.nan) for name in ("params", "tokens", "loss", "a")}
    else:
        intervals, notes = _intervals(fit, B_crit, C)
        run = fit.predict(run=True, **inputs)
        intervals["one run"] = float(run.low), float(run.high)
    warnings += beyond(fit, {**inputs, "flops": C})
    if own_B:
        batches = {"your B_crit(L); twice the least steps, twice the least tokens": float(own_B(L))}
    else:
        batches = published_batches(D, C, L if fit.target in ("loss", "loss_min") else None)
        notes.append("no B_crit(L) of yours: batches are published rules, found on other data")
    batches, told = leaving_updates(batches, D)
    notes += told
    if unique_tokens is not None and isinstance(law, Chinchilla):
        notes.append("repetition by Muennighoff's R_D* = 15.4, R_N* = 5.3, borrowed; their runs identify them weakly")
    shape, told = _shape(N, aspect, embedding_rows)
    notes += told
    surface = way.law if isinstance(way, SurfaceRoute) else None
    served = None
    if surface and inference_tokens is not None:
        served = with_inference(surface, L, inference_tokens, cost_ratio=inference_cost)
    given = way.given(params, C) if params is not None else None
    repeated = (
        with_unique_tokens(law, C, unique_tokens)
        if unique_tokens is not None and isinstance(law, Chinchilla | Muennighoff)
        else None
    )
    for what, run in (("served", served), ("given N", given), ("repeated", repeated and repeated.best)):
        if run:
            outside = beyond(fit, {"params": float(run.params), "tokens": float(run.tokens)})
            notes += [f"{what}: {told}" for told in outside]
    if repeated and repeated.epochs > EPOCHS:
        notes.append(f"repeated: {repeated.epochs:.3g} epochs are over {EPOCHS:g}, so far out the law is a guess")
    batch = next(iter(batches.values()))
    body = N - embedding_rows * shape.d_model if shape else N  # laws of rates count no embeddings
    learning_rates, told = _learning_rates(rates, body, D, C, batch)
    notes += told
    return Plan(
        budget=budget,
        law=f"{law.name}, {law.source}; {fit.n_runs} runs, {fit.status}",
        target=fit.target,
        params=N,
        tokens=D,
        loss=L,
        a=exponent(way, C),
        intervals=intervals,
        level=fit.level,
        batch=batch,
        steps=D / batch,
        batches=batches,
        shape=shape,
        learning_rates=learning_rates,
        ladder=rungs(way, C, N, aspect=aspect, rows=embedding_rows),
        price=dict(zip(PRICED, map(float, way.excess(C, PRICED)), strict=True)),
        rivals=rivals(C, way),
        served=served,
        repeated=repeated,
        overtrained=given,
        inputs=inputs,
        warnings=tuple(warnings),
        notes=(*notes, *(f"of the fit: {note}" for note in fit.notes)),
    )


def along(
    line: Allocation,
    budget: Budget | float,
    *,
    rates: OwnRates | None = None,
    aspect: float = ASPECT,
    embedding_rows: int = 0,
) -> Plan:
    """The run for a budget along the lines of an allocation: as `plan`, without what follows from a loss.

    Args:
        line: by whatever approach.
    """
    budget = budget if isinstance(budget, Budget) else Budget.of_flops(budget)
    C, way = budget.flops, LineRoute(line)
    N, D = float(line.params(C)), float(line.tokens(C))
    low, high = (f([float(p.flops) for p in line.points]) for f in (min, max))
    warnings = list(line.doubts)
    if C > FAR * high or C * FAR < low:
        warnings.append(f"C = {compute(C)} is {typed(max(C / high, low / C), 3)} times outside its optima: a guess")
    shape, notes = _shape(N, aspect, embedding_rows)
    batches, too_large = leaving_updates(published_batches(D, C, None), D)
    batch = next(iter(batches.values()))
    body = N - embedding_rows * shape.d_model if shape else N
    learning_rates, told = _learning_rates(rates, body, D, C, batch)
    intervals = {"params": line.params_band(C), "tokens": line.tokens_band(C), "a": line.a_interval}
    notes += [
        *too_large,
        *told,
        "an allocation tells no loss, so no price of other sizes and no forecast: fit a law for these",
        *(
            []
            if len(line.draws)
            else ["no intervals: keep the allocation with scaling allocate --out, not with --json"]
        ),
    ]
    return Plan(
        budget=budget,
        law=f"{line.method}, {len(line.points)} optima from {typed(low, 3)} to {compute(high)}",
        target="loss",
        params=N,
        tokens=D,
        loss=math.nan,
        a=line.a,
        intervals={name: (float(ends[0]), float(ends[1])) for name, ends in intervals.items()},
        level=line.level,
        batch=batch,
        steps=D / batch,
        batches=batches,
        shape=shape,
        learning_rates=learning_rates,
        ladder=rungs(way, C, N, aspect=aspect, rows=embedding_rows),
        price={},
        rivals=(),
        served=None,
        repeated=None,
        overtrained=None,
        inputs={},
        warnings=tuple(warnings),
        notes=(*notes, *(f"of the allocation: {note}" for note in line.warnings)),
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


def _intervals(fit: Fit, B_crit: Fit | None, C: float) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Intervals of N, D, L and a: the whole chain for each bootstrap draw, or by the covariance where there are
    none.
    """
    own_B = _critical(B_crit)

    def chosen(way: Route) -> Array:
        best = way.best(C)
        return np.array([float(best.params), float(best.tokens), float(best.loss), exponent(way, C)])

    notes = []
    if len(fit.draws):
        laws = [type(fit.law)(*constants) for constants in fit.draws]
        critical = [KaplanBCrit(*constants) for constants in B_crit.draws] if B_crit else []
        rows = []
        for i, law in enumerate(laws):
            try:
                rows.append(chosen(route(law, critical[i % len(critical)] if critical else own_B)))
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
        around = fit.derived(lambda law: chosen(route(law, own_B)), log=True)
        ends = [(float(low), float(high)) for low, high in zip(around.low, around.high, strict=True)]
        complete = False
    if isinstance(fit.law, KaplanNS) and not complete:
        notes.append("intervals leave out what is unsure of B_crit(L): fit both with a bootstrap to have it in")
    return dict(zip(("params", "tokens", "loss", "a"), ends, strict=True)), notes
