"""Figures 11, 12 and 19: what a model of the wrong size costs, at fixed compute, at fixed updates, at a fixed loss."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import rc_context
from numpy.typing import NDArray

from analysis import digits, reference
from analysis.batch_size import compute_to_minimum, steps_to_minimum
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.isoflop import akima_minima
from analysis.kaplan_path import KaplanPath
from analysis.page.canvas import GREY, STYLE, panels
from analysis.papers.kaplan import fits, runs
from analysis.papers.kaplan.drawn import Drawn, Experiments, points, undecided
from analysis.papers.kaplan.left_out import jackknife, without_sizes
from analysis.papers.kaplan.marks import beside
from analysis.papers.kaplan.needed import Needed, needed, widest
from analysis.papers.kaplan.panels import LABELS, LAW, Tints, dots, legend, logarithmic, losses
from analysis.papers.kaplan.trend import between
from analysis.papers.kaplan.words import HALF, UNDECIDED
from analysis.table import Table

Array = NDArray[np.float64]

SLICES = 5  # budgets, updates or losses that a panel shows
PAPER = "the paper's exponents"
SIZES = 4  # that a slice compares at least
EXTRA = 1.2  # times the least compute: the paper's 20 % more
MORE = digits.percent(EXTRA - 1)
OFF_LINE = "no run of the ladder has finished"


def figure_11(experiments: Experiments) -> Drawn:
    """Loss against N at fixed C_min and at fixed S_min, measured and by L(N, S_min)."""
    name, title = "fig11", "Figure 11: the loss over size at fixed compute, and at fixed updates"
    curves, steps, path = fits.adjusted(experiments), fits.of_steps(experiments), fits.path_of(experiments)
    if isinstance(curves, str):
        return undecided(name, title, curves)
    if (curves := runs.on_line(experiments, curves)) is None:
        return undecided(name, title, OFF_LINE)
    # Where L(N, S_min) is doubtful the measured losses stand alone.
    predict: dict[str, Callable[[Array, float], Array]] = {}
    if not isinstance(path, str) and steps.fit is not None:
        predict = {"flops_min": path.loss_at, "steps_min": steps.fit.law}
    rows, sentences = [], []
    with rc_context(STYLE):
        figure, (left, right) = panels(2, legend=False)
        for axes, column in ((left, "flops_min"), (right, "steps_min")):
            N, at, loss = _slices(curves, column)
            if not len(at):
                return undecided(name, title, f"no {column} was passed by {SIZES} sizes")
            tint = Tints.of(at)
            for k, x in enumerate(at):
                seen = np.isfinite(loss[k])
                dots(axes, N[seen], loss[k][seen], [tint(x)] * int(seen.sum()))
                line = np.geomspace(N[seen].min(), N[seen].max(), 80)
                label = digits.ten(float(x)) if column == "flops_min" else digits.short(float(x))
                if predict:
                    axes.plot(line, predict[column](line, x), color=tint(x), lw=1.0, zorder=3)
                axes.plot([], [], color=tint(x), marker="o", ms=4.6, lw=1.0 if predict else 0.0, label=label)
                law = predict[column](N[seen], x) if predict else np.full(int(seen.sum()), np.nan)
                rows += [
                    {"fixed": column, "at": x, "params": n, "loss": measured, "law": predicted}
                    for n, measured, predicted in zip(N[seen], loss[k][seen], law, strict=True)
                ]
            shown = [row["loss"] for row in rows if row["fixed"] == column]
            logarithmic(axes, N, LABELS["params"], shown, most=6)
            axes.legend(title="C_min, FLOP" if axes is left else "S_min", loc="best", alignment="left")
            sentences.append(_shape(N, at, loss, column))
        left.set_title("At fixed least compute")
        right.set_title("At fixed least updates")
        losses(left)
    off = np.array([row["loss"] / row["law"] - 1 for row in rows])
    sentences.append(
        f"L(N, S_min) misses these points by {digits.percent(float(np.sqrt(np.mean(off**2))))} rms."
        if predict
        else f"{UNDECIDED} how well L(N, S_min) describes them: {steps.why or path}."
    )
    settled = not any(sentence.startswith(UNDECIDED) for sentence in sentences)
    return Drawn(name, title, figure, tuple(sentences), (), points(name, rows), settled)


def _slices(curves: Table, column: str) -> tuple[Array, Array, Array]:
    """Sizes, SLICES values of a column that many sizes passed, and the loss of each size there, (slice, size); NaN
    where it was not measured. Runs of one size are averaged.
    """
    N = np.unique(curves["params"])
    grid = np.geomspace(curves[column].min(), curves[column].max(), 200)
    loss = np.full((len(grid), len(N)), np.nan)
    for k, n in enumerate(N):
        of_size = curves["params"] == n
        each = [
            np.log(between(curves[column][rows], curves["loss"][rows], grid))
            for run in np.unique(curves["run"][of_size])
            if (rows := of_size & (curves["run"] == run)).sum() >= 2
        ]
        if each:
            loss[:, k] = np.exp(np.mean(each, axis=0))
    wanted = np.flatnonzero(np.isfinite(loss).sum(1) >= min(SIZES, len(N)))
    if not len(wanted):
        return N, np.array([]), loss[:0]
    chosen = np.unique(wanted[np.linspace(0, len(wanted) - 1, SLICES).round().astype(int)])
    return N, grid[chosen], loss[chosen]


def _shape(N: Array, at: Array, loss: Array, column: str) -> str:
    """What the slices look like: minima that move, or losses that fall with N."""
    if column == "flops_min":
        best = []
        for row in loss:
            seen = np.flatnonzero(np.isfinite(row))
            low = seen[np.argmin(row[seen])]
            if low not in (seen[0], seen[-1]):
                best.append(float(N[low]))
        if not best:
            return f"{UNDECIDED} the best size: at none of {len(at)} budgets does it lie between two other sizes."
        many = f"At {len(best)} of {len(at)} budgets the losses have a minimum between two other sizes"
        if best[0] == best[-1]:
            return f"{UNDECIDED} whether the best size moves: {many[0].lower()}{many[1:]}, N = {digits.short(best[0])}."
        return (
            f"{many}; it moves from N = {digits.short(best[0])} to {digits.short(best[-1])}; in the paper it moves to "
            "larger models."
        )
    falls = [np.all(np.diff(row[np.isfinite(row)]) < 0) for row in loss]
    return (
        f"At fixed updates the loss falls with every step in N in {sum(falls)} of {len(at)} cases; the paper's fall "
        "throughout, with the worst fit at few updates."
    )


def reached(experiments: Experiments) -> tuple[Needed, Table] | str:
    """Updates, tokens and compute of each size to many losses, or why there are none.

    The table has a row per size and loss: loss, params, steps_min, tokens_min (E_min) and flops_min. Losses, falling,
    are those that at least SIZES sizes of the ladder reached.
    """
    curves, (batch, _) = fits.adjusted(experiments), fits.of_batch(experiments)
    if isinstance(curves, str) or batch.fit is None:
        return curves if isinstance(curves, str) else batch.why
    if (curves := runs.on_line(experiments, curves)) is None:
        return OFF_LINE
    if len(np.unique(curves["params"])) < SIZES:
        return f"no loss was reached by {SIZES} sizes"
    grid = np.geomspace(curves["loss"].max(), curves["loss"].min(), 120)
    found = needed(curves, grid, runs.noise_of(experiments))
    wanted = np.flatnonzero(np.isfinite(found.updates).sum(0) >= SIZES)
    if not len(wanted):
        return f"no loss was reached by {SIZES} sizes"
    found = found.at(wanted)
    B = float(np.median(curves["batch_tokens"]))
    rows = []
    for loss, updates in zip(found.losses, found.updates.T, strict=True):
        B_crit = float(batch.fit.law(loss))
        for n, S in zip(found.N, updates, strict=True):
            if math.isfinite(S):
                S_min = float(steps_to_minimum(S, B, B_crit))
                C = FLOP_PER_PARAM_TOKEN * n * B * S
                rows.append(
                    {
                        "loss": loss,
                        "params": n,
                        "steps_min": S_min,
                        "tokens_min": S_min * B_crit,  # E_min, eq. 5.2
                        "flops_min": float(compute_to_minimum(C, B, B_crit)),
                    }
                )
    return found, points("reached", rows)


def figure_12(experiments: Experiments) -> Drawn:
    """Excess compute and fewer updates of models larger or smaller than the best, for the same loss."""
    name, title = "fig12", "Figure 12: models of another than the best size"
    found, path = reached(experiments), fits.path_of(experiments)
    if isinstance(found, str) or isinstance(path, str):
        return undecided(name, title, found if isinstance(found, str) else str(path))
    _, table = found
    rows = []
    for loss in _inside(table):
        own = table.where(table["loss"] == loss, "another loss")
        x, C = np.log(own["params"]), np.log(own["flops_min"])
        at, lowest, _ = akima_minima(x, C[:, None])
        N_eff, C_eff = math.exp(float(at[0])), math.exp(float(lowest[0]))
        S_eff = float(between(own["params"], own["steps_min"], N_eff))
        rows += [
            {"loss": loss, "params": n, "N_eff": N_eff, "ratio": n / N_eff, "compute": c / C_eff, "updates": s / S_eff}
            for n, c, s in zip(own["params"], own["flops_min"], own["steps_min"], strict=True)
        ]
    theirs = KaplanPath(
        reference.value("table3_alpha_N"), 1.0, reference.value("table3_alpha_S"), 1.0, reference.value("alpha_B"), 1.0
    )
    data = points(name, rows)
    ratios = data["ratio"] if rows else np.array([1.0])
    x = np.geomspace(max(min(float(ratios.min()), 0.4), 0.1), min(max(float(ratios.max()), 6.0), 20.0), 300)
    with rc_context(STYLE):
        figure, (left, right) = panels(2, legend=False)
        for axes, column, ours, paper, label, equation in (
            (left, "compute", path.excess_compute, theirs.excess_compute, "C(N) / C(N_eff)", "(B.16)"),
            (right, "updates", path.excess_steps, theirs.excess_steps, "S(N) / S(N_eff)", "(B.17)"),
        ):
            if rows:
                tint = Tints.of(data["loss"])
                dots(axes, data["ratio"], data[column], [tint(float(L)) for L in data["loss"]])
            with np.errstate(invalid="ignore"):
                top, y, z = 4.0, ours(x), paper(x)
                logarithmic(axes, x, "N / N_eff", [min(1.0, float(y.min())), top], write=digits.plain, most=6)
                axes.plot(x, np.where(np.isfinite(y), y, np.nan), color=LAW, lw=1.3, label=f"{equation}, our exponents")
                axes.plot(x, np.where(np.isfinite(z), z, np.nan), color=GREY, lw=1.0, dashes=(4, 2), label=PAPER)
            axes.set_ylabel(label)
            legend(axes, "upper center")
        left.axhline(EXTRA, color=GREY, lw=0.7, dashes=(1, 2))
        left.set_title("Compute for the same loss")
        right.set_title("Updates for the same loss")
    sentences = _what_it_costs(path, _without_sizes(experiments), data if rows else None)
    settled = not any(sentence.startswith(UNDECIDED) for sentence in sentences)
    return Drawn(name, title, figure, tuple(sentences), (), data, settled)


def _without_sizes(experiments: Experiments) -> list[KaplanPath]:
    """The path without each of the sizes, as far as (B.16) and (B.17) depend on it."""
    curves, steps = fits.adjusted(experiments), fits.of_steps(experiments)
    if isinstance(curves, str) or steps.fit is None:
        return []
    return [KaplanPath(law.alpha_N, 1.0, law.alpha_S, 1.0, 1.0, 1.0) for law in without_sizes(curves, steps.fit)]


def _what_it_costs(path: KaplanPath, others: Sequence[KaplanPath], data: Table | None) -> list[str]:
    """What EXTRA compute buys, and how the measured excesses lie to the closed forms, each with its interval.

    Args:
        others: the path without each of the sizes.
        data: of the figure; None where no excess was measured.
    """
    ends = np.log(around_best(path))
    halves = [jackknife(each) for each in np.log([around_best(one) for one in others]).reshape(-1, 2).T]
    low, high = np.exp(ends)
    said = [
        "{} ({})".format(*digits.constant(math.exp(ln), math.exp(ln - half), math.exp(ln + half)))
        for ln, half in zip(ends, halves, strict=True)
    ]
    theirs = [reference.value(f"suboptimal_N_{end}_20pct") for end in ("low", "high")]
    sizes = f"from {said[0]} to {said[1]} times the best (jackknife over {len(others)} sizes)"
    paper = f"the paper has {theirs[0]:g} to {theirs[1]:g}"
    if all(half <= HALF * abs(ln) for ln, half in zip(ends, halves, strict=True)):
        sentences = [f"By our exponents {MORE} more compute buys any size {sizes}; {paper}."]
    elif others:
        sentences = [f"{UNDECIDED} what sizes {MORE} more compute buys: {sizes} is too wide; {paper}."]
    else:
        why = "L(N, S_min) cannot be fitted without one of the sizes"
        sentences = [f"{UNDECIDED} what sizes {MORE} more compute buys: {why}; {paper}."]
    if data is None:
        return [*sentences, f"{UNDECIDED} by measurement: at no loss does the best size lie between two others."]
    inside = (data["ratio"] > low) & (data["ratio"] < 3 * high)
    if not inside.any():
        return [
            *sentences,
            f"{UNDECIDED} by measurement: no size lies from {low:.2f} to {3 * high:.1f} times the best.",
        ]
    near = data.where(inside, "far from the best size")
    off = np.log(near["compute"] / path.excess_compute(near["ratio"]))
    rms = digits.percent(float(np.sqrt(np.mean(off**2))))
    mean, below, above = (
        digits.percent(math.expm1(min(x, 700.0)), sign=True) for x in _of_sizes(near["params"], off, np.mean)
    )
    sentences.append(
        f"The {len(off)} measured excesses from {low:.2f} to {3 * high:.1f} times the best size lie within {rms} rms "
        f"of (B.16), on average {mean} ({below} to {above}, leaving out one size at a time) from it."
    )
    if (small := data["ratio"] <= low).any():
        cost, free = data["compute"][small], ~np.isfinite(path.excess_compute(data["ratio"][small]))
        sentences.append(
            f"{small.sum()} measurements of smaller sizes reached the loss at {cost.min():.2g} to {cost.max():.2g} "
            "times the least compute"
            + (
                f", {free.sum()} of them where by (B.16) none suffices with our exponents: L(N, S_min) fails there, or "
                "they are off."
                if free.any()
                else "."
            )
        )
    x, y = np.log(data["ratio"]), np.log(data["updates"])
    power = _of_sizes(data["params"], np.stack([x, y], -1), lambda xy: float(np.polyfit(xy[:, 0], xy[:, 1], 1)[0]))
    value, interval = digits.constant(*power)
    updates = f"the updates to a loss grow as the size to the power {value} ({interval})"
    if power[2] < 0:
        sentences.append(f"Larger models need fewer updates, as (B.17) has it: {updates}.")
    elif power[1] > 0:
        sentences.append(f"Larger models do not need fewer updates here: {updates}.")
    else:
        sentences.append(f"{UNDECIDED} whether larger models need fewer updates: {updates}.")
    return sentences


def _of_sizes(N: Array, values: Array, statistic: Callable[[Array], float]) -> tuple[float, float, float]:
    """A statistic of values, one per row and of a size each, and the ends of its interval by leaving out sizes.

    Values of one size come from one curve, and are no independent points.
    """
    whole = float(statistic(values))
    left = [N != n for n in np.unique(N)]
    half = jackknife([float(statistic(values[rows])) for rows in left]) if len(left) > 2 else math.inf
    return whole, whole - half, whole + half


def _inside(table: Table) -> list[float]:
    """SLICES of the losses at which the best size lies between two others, that is with less compute than both."""
    found = []
    for loss in np.unique(table["loss"]):
        own = table["loss"] == loss
        N, C = table["params"][own], np.log(table["flops_min"][own])
        if 0 < int(np.argmin(C)) < len(C) - 1 and akima_minima(np.log(N), C[:, None])[2][0] == "interior":
            found.append(float(loss))
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, SLICES).round().astype(int))] if found else []


def around_best(path: KaplanPath) -> tuple[float, float]:
    """The sizes, as parts of the best one, at which EXTRA times its compute reaches the same loss."""
    x = np.geomspace(0.05, 50, 20_001)
    inside = x[path.excess_compute(x) <= EXTRA]
    return float(inside.min()), float(inside.max())


def figure_19(experiments: Experiments) -> Drawn:
    """Least updates and least tokens to fixed losses, against N."""
    name, title = "fig19", "Figure 19: updates and tokens to a loss, by size"
    both = reached(experiments)
    if isinstance(both, str):
        return undecided(name, title, both)
    found, table = both
    found = found.at(np.unique(np.linspace(0, len(found.losses) - 1, SLICES).round().astype(int)))
    table = table.where(np.isin(table["loss"], found.losses), "another loss")
    tint = Tints.of(table["loss"])
    with rc_context(STYLE):
        figure, (left, right) = panels(2)
        for axes, column, label in (
            (left, "steps_min", LABELS["steps_min"]),
            (right, "tokens_min", "Least tokens E_min"),
        ):
            for loss in np.unique(table["loss"])[::-1]:
                own = table["loss"] == loss
                axes.plot(table["params"][own], table[column][own], color=tint(loss), lw=1.0)
                dots(axes, table["params"][own], table[column][own], [tint(loss)] * int(own.sum()))
            logarithmic(axes, table["params"], LABELS["params"], table[column], write_y=digits.short, most=6)
            axes.set_ylabel(label)
        look = {"ls": "", "marker": "o", "ms": 4.6}
        beside(figure, [(f"{L:.2f}", look | {"color": tint(L)}) for L in np.unique(table["loss"])], "loss, nats")
    most = widest(found)
    assert most is not None  # SIZES sizes reached each of these losses
    paper = "the paper saw almost a hundred times, over sizes three decades apart"
    sentence = (
        f"To {most.loss:.2f} nats {most}, and as many times the updates (interval from the seeds); {paper}."
        if most.told
        else f"{UNDECIDED} whether larger models need fewer tokens: to {most.loss:.2f} nats {most}, as far as the "
        f"seeds tell; {paper}."
    )
    return Drawn(name, title, figure, (sentence,), (), table, most.told and len(found.losses) >= 2)
