"""Figures 11, 12 and 19: what a model of the wrong size costs, at fixed compute, at fixed updates, at a fixed loss."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis import digits, reference
from analysis.batch_size import compute_to_minimum, steps_to_minimum
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.isoflop import akima_minima
from analysis.kaplan_path import KaplanPath
from analysis.page.canvas import GREY, LABELS, LOSS, STYLE, panels
from analysis.papers.claim import Undecided
from analysis.papers.drawing import BITS, LAW, beside, bits_per_byte, dots, legend, logarithmic, tints
from analysis.papers.drawn import Drawn, points
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.left_out import jackknife
from analysis.papers.kaplan.needed import Needed, needed, widest
from analysis.papers.kaplan.trend import between
from analysis.table import Table

Array = NDArray[np.float64]

SLICES = 5  # budgets, updates or losses that a panel shows
PAPER = "the paper's exponents"
SIZES = 4  # that a slice compares at least
EXTRA = 1.2  # times the least compute: the paper's 20 % more
HALF = 0.5  # of ln of a size: the widest half-interval that decides it
MORE = digits.percent(EXTRA - 1)


def figure_11(evidence: Kaplan, drawn: Drawn) -> None:
    """Loss against N, left at fixed C_min, of the main grid, and right at fixed S_min, of runs near the critical batch,
    a colour each; lines by L(N, S_min).
    """
    # Where L(N, S_min) is doubtful the measured losses stand alone.
    predict: dict[str, Callable[[Array, float], Array]] = {}
    with drawn.part("how well L(N, S_min) describes the losses"):
        predict = {"flops_min": evidence.path.loss_at, "steps_min": evidence.steps.fit.law}
    rows = []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, legend=False, beyond=BITS)
        for axes, column, find, title, shape in (
            (left, "flops_min", lambda: evidence.compute_curves, "At fixed least compute", _minima),
            (right, "steps_min", lambda: evidence.steps_curves, "At fixed least updates", _falls),
        ):
            with drawn.panel(axes, title):
                N, at, loss = _slices(find(), column)
                rows += _slice_panel(axes, column, predict.get(column), N, at, loss)
                if axes is right:
                    bits_per_byte(right, evidence.steps_runs)
                with drawn.part("the best size" if column == "flops_min" else ""):
                    drawn.say(shape(N, at, loss))
        left.set_ylabel(LOSS)
    if not rows:
        drawn.figure = None
        return
    drawn.points(rows)
    if predict:
        off = np.array([row["loss"] / row["law"] - 1 for row in rows])
        drawn.say(f"L(N, S_min) misses these points by {digits.percent(float(np.sqrt(np.mean(off**2))))} rms.")


def _slice_panel(
    axes: Axes, column: str, predict: Callable[[Array, float], Array] | None, N: Array, at: Array, loss: Array
) -> list[dict[str, Any]]:
    """The losses over N at each of the fixed values, and the law where it is sound; the points."""
    tint, rows, shown = tints(at), [], [loss[np.isfinite(loss)]]
    for k, x in enumerate(at):
        seen = np.isfinite(loss[k])
        dots(axes, N[seen], loss[k][seen], [tint(x)] * int(seen.sum()))
        line = np.geomspace(N[seen].min(), N[seen].max(), 80)
        label = digits.ten(float(x)) if column == "flops_min" else digits.short(float(x))
        if predict:
            axes.plot(line, law := predict(line, x), color=tint(x), lw=1.0, zorder=3)
            shown.append(law)
        axes.plot([], [], color=tint(x), marker="o", ms=4.6, lw=1.0 if predict else 0.0, label=label)
        law = predict(N[seen], x) if predict else np.full(int(seen.sum()), np.nan)
        rows += [
            {"fixed": column, "at": x, "params": n, "loss": measured, "law": predicted}
            for n, measured, predicted in zip(N[seen], loss[k][seen], law, strict=True)
        ]
    logarithmic(axes, N, "params", np.concatenate(shown), most=6)
    axes.legend(title="C_min, FLOP" if column == "flops_min" else "S_min", loc="best", alignment="left")
    return rows


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
        raise Undecided(f"no {column} was passed by {SIZES} sizes")
    chosen = np.unique(wanted[np.linspace(0, len(wanted) - 1, SLICES).round().astype(int)])
    return N, grid[chosen], loss[chosen]


def _minima(N: Array, at: Array, loss: Array) -> str:
    """Whether the size with the lowest loss moves."""
    best = []
    for row in loss:
        seen = np.flatnonzero(np.isfinite(row))
        low = seen[np.argmin(row[seen])]
        if low not in (seen[0], seen[-1]):
            best.append(float(N[low]))
    if not best:
        raise Undecided(f"at none of {len(at)} budgets does it lie between two other sizes")
    many = f"at {len(best)} of {len(at)} budgets the losses have a minimum between two other sizes"
    if best[0] == best[-1]:
        raise Undecided(f"{many}, N = {digits.short(best[0])}: whether it moves is not seen")
    return (
        f"{many}; it moves from N = {digits.short(best[0])} to {digits.short(best[-1])}; in the paper it moves to "
        "larger models."
    )


def _falls(_: Array, at: Array, loss: Array) -> str:
    """Whether the loss falls with N."""
    falls = [np.all(np.diff(row[np.isfinite(row)]) < 0) for row in loss]
    return (
        f"At fixed updates the loss falls with every step in N in {sum(falls)} of {len(at)} cases; the paper's fall "
        "throughout, with the worst fit at few updates."
    )


def reached(evidence: Kaplan) -> tuple[Needed, Table]:
    """Updates, tokens and compute of each size to many losses.

    The table has a row per size and loss: loss, params, steps_min, tokens_min (E_min) and flops_min. Losses, falling,
    are those that at least SIZES sizes of the experiment steps reached.
    """
    curves = evidence.steps_curves
    grid = np.geomspace(curves["loss"].max(), curves["loss"].min(), 120)
    found = needed(curves, grid, evidence.noise)
    wanted = np.flatnonzero(np.isfinite(found.updates).sum(0) >= SIZES)
    if not len(wanted):
        raise Undecided(f"no loss was reached by {SIZES} sizes")
    found = found.at(wanted)
    B = float(np.median(curves["batch_tokens"]))
    rows = []
    for loss, updates in zip(found.losses, found.updates.T, strict=True):
        B_crit = float(evidence.batch.fit.law(loss))
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


def figure_12(evidence: Kaplan, drawn: Drawn) -> None:
    """What a size N takes to a loss, over what the best size N_eff takes: left compute, dotted the paper's 20 % more,
    right updates. Dots are measured, a colour for each loss; red by our exponents, grey by the paper's.
    """
    _, table = reached(evidence)
    path = evidence.path
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
    drawn.points(rows)
    drawn.figure = _draw12(drawn.data, path)
    with drawn.part(f"what sizes {MORE} more compute buys"):
        drawn.say(_bought(path, [_exponents(law.alpha_N, law.alpha_S) for law in evidence.sizes_left_out]))
    with drawn.part("by measurement"):
        if not rows:
            raise Undecided("at no loss does the best size lie between two others")
        drawn.say(*_what_it_costs(path, drawn.data))
    with drawn.part("whether larger models need fewer updates"):
        if rows:
            drawn.say(_fewer_updates(drawn.data))


def _exponents(alpha_N: float, alpha_S: float, alpha_B: float = 1.0) -> KaplanPath:
    """The path as far as (B.16) and (B.17) depend on it."""
    return KaplanPath(alpha_N, 1.0, alpha_S, 1.0, alpha_B, 1.0)


def _draw12(data: Table, path: KaplanPath) -> Figure:
    theirs = _exponents(*map(reference.value, ("table3_alpha_N", "table3_alpha_S", "alpha_B")))
    ratios = data["ratio"] if len(data) else np.array([1.0])
    x = np.geomspace(max(min(float(ratios.min()), 0.4), 0.1), min(max(float(ratios.max()), 6.0), 20.0), 300)
    with rc_context(STYLE):
        figure, (left, right) = panels(2)
        for axes, column, ours, paper, label, equation in (
            (left, "compute", path.excess_compute, theirs.excess_compute, "C(N) / C(N_eff)", "(B.16)"),
            (right, "updates", path.excess_steps, theirs.excess_steps, "S(N) / S(N_eff)", "(B.17)"),
        ):
            if len(data):
                tint = tints(data["loss"])
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
        if len(data):
            _losses(figure, data["loss"])
        return figure


def _losses(figure: Figure, losses: Array) -> None:
    """A legend of losses at the right of a figure, the highest first."""
    tint, look = tints(losses), {"ls": "", "marker": "o", "ms": 4.6}
    entries = [(f"{loss:.2f}", look | {"color": tint(loss)}) for loss in np.unique(losses)[::-1]]
    beside(figure, entries, "loss, nats")


def _bought(path: KaplanPath, others: Sequence[KaplanPath]) -> str:
    """What sizes EXTRA compute buys, with the interval of each.

    Args:
        others: the path without each of the sizes.
    """
    ends = np.log(around_best(path))
    halves = [jackknife(each) for each in np.log([around_best(one) for one in others]).T]
    said = [
        "{} ({})".format(*digits.constant(math.exp(ln), math.exp(ln - half), math.exp(ln + half)))
        for ln, half in zip(ends, halves, strict=True)
    ]
    theirs = [reference.value(f"suboptimal_N_{end}_20pct") for end in ("low", "high")]
    sizes = f"from {said[0]} to {said[1]} times the best (jackknife over {len(others)} sizes)"
    paper = f"the paper has {theirs[0]:g} to {theirs[1]:g}"
    if not all(half <= HALF * abs(ln) for ln, half in zip(ends, halves, strict=True)):
        raise Undecided(f"{sizes} is too wide; {paper}")
    return f"By our exponents {MORE} more compute buys any size {sizes}; {paper}."


def _what_it_costs(path: KaplanPath, data: Table) -> Iterator[str]:
    """How the measured excesses lie to the closed forms."""
    low, high = around_best(path)
    inside = (data["ratio"] > low) & (data["ratio"] < 3 * high)
    if not inside.any():
        raise Undecided(f"no size lies from {low:.2f} to {3 * high:.1f} times the best")
    near = data.where(inside, "far from the best size")
    off = np.log(near["compute"] / path.excess_compute(near["ratio"]))
    rms = digits.percent(float(np.sqrt(np.mean(off**2))))
    mean, below, above = (
        digits.percent(math.expm1(min(x, 700.0)), sign=True) for x in _of_sizes(near["params"], off, np.mean)
    )
    yield (
        f"The {len(off)} measured excesses from {low:.2f} to {3 * high:.1f} times the best size lie within {rms} rms "
        f"of (B.16), on average {mean} ({below} to {above}, leaving out one size at a time) from it."
    )
    if (small := data["ratio"] <= low).any():
        cost, free = data["compute"][small], ~np.isfinite(path.excess_compute(data["ratio"][small]))
        yield (
            f"{small.sum()} measurements of smaller sizes reached the loss at {cost.min():.2g} to {cost.max():.2g} "
            "times the least compute"
            + (
                f", {free.sum()} of them where by (B.16) none suffices with our exponents: L(N, S_min) fails there, or "
                "they are off."
                if free.any()
                else "."
            )
        )


def _fewer_updates(data: Table) -> str:
    x, y = np.log(data["ratio"]), np.log(data["updates"])
    power = _of_sizes(data["params"], np.stack([x, y], -1), lambda xy: float(np.polyfit(xy[:, 0], xy[:, 1], 1)[0]))
    value, interval = digits.constant(*power)
    updates = f"the updates to a loss grow as the size to the power {value} ({interval})"
    if power[2] < 0:
        return f"Larger models need fewer updates, as (B.17) has it: {updates}."
    if power[1] > 0:
        return f"Larger models do not need fewer updates here: {updates}."
    raise Undecided(updates)


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


def figure_19(evidence: Kaplan, drawn: Drawn) -> None:
    """The least updates, left, and the least tokens, right, that each size needs to a loss, a colour for each loss."""
    found, table = reached(evidence)
    found = found.at(np.unique(np.linspace(0, len(found.losses) - 1, SLICES).round().astype(int)))
    drawn.data = table = table.where(np.isin(table["loss"], found.losses), "another loss")
    tint = tints(table["loss"])
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2)
        for axes, column, label in (
            (left, "steps_min", LABELS["steps_min"]),
            (right, "tokens_min", "Least tokens E_min"),
        ):
            for loss in np.unique(table["loss"])[::-1]:
                own = table["loss"] == loss
                axes.plot(table["params"][own], table[column][own], color=tint(loss), lw=1.0)
                dots(axes, table["params"][own], table[column][own], [tint(loss)] * int(own.sum()))
            logarithmic(axes, table["params"], "params", table[column], write_y=digits.short, most=6)
            axes.set_ylabel(label)
        _losses(drawn.figure, table["loss"])
    most = widest(found)
    assert most is not None  # SIZES sizes reached each of these losses
    paper = "the paper saw almost a hundred times, over sizes three decades apart"
    said = f"to {most.loss:.2f} nats {most}"
    with drawn.part("whether larger models need fewer tokens"):
        if not most.told:
            raise Undecided(f"{said}, as far as the seeds tell; {paper}")
        if len(found.losses) < 2:
            raise Undecided("one loss alone was reached by enough sizes")
        drawn.say(f"{said}, and as many times the updates (interval from the seeds); {paper}.")
