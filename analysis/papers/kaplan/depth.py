"""Figures 6 and 24: depth matters little, for the loss and for transfer, once N leaves the embeddings out."""

import math

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import digits, reference
from analysis.findings import shapes
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.page.canvas import GREY, LOSS, STYLE, fitted_line, log_axis, log_y, margins, panels
from analysis.papers.claim import Undecided, those
from analysis.papers.drawing import BITS, beside, bits_per_byte, groups_legend, logarithmic, named, papers_curve, symbol
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import means
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.context import early
from analysis.papers.kaplan.shape import by_size
from analysis.papers.kaplan.transfer import by_verdict, on_texts, short_name, test_sets
from analysis.papers.kaplan.trend import Trend, trend
from analysis.table import Table
from scaling.errors import InputError

DEEPEST = 6  # layers: deeper models are one group, as in the paper
LEAST = 5  # models of two layers or more, and depths of one N
SLIGHT = 0.01  # change of the transfer's ratio per doubling of the depth that is of no consequence


# --- figure 6


def figure_6(evidence: Kaplan, drawn: Drawn) -> None:
    """Loss against parameters, left with embeddings and right without, models of one depth joined; grey: the law of the
    ladder's own depth with its interval, and, right, the paper's points; hollow: runs that ended before their model
    used its context.

    How far a model lies from that line is held against how much deeper it is than the ladder at its N: a line through
    all depths would follow the deeper ones part of the way.
    """
    table = evidence.ladder
    names = ("run", "n_layer", "d_model", "params", "params_embed", "loss", "seed")
    drawn.points(named(table, names))
    largest = max(those(lambda: float(evidence.size.table["params"].max())), default=math.inf)
    drawn.figure = _draw6(table, largest)
    deep = runs.deep(table)
    depths = np.unique(deep["n_layer"])
    if len(deep) < LEAST or len(depths) < 2:
        raise Undecided(f"{len(deep)} models of two layers or more, {len(depths)} depths; wanted {LEAST} and 2")
    ladder = runs.line(deep)
    own = runs.depths_text(ladder)
    counted, ladder_counted = (one.with_columns(params=one["params_embed"]) for one in (deep, ladder))
    if np.ptp(_deeper(deep, ladder)) == 0 or np.ptp(_deeper(counted, ladder_counted)) == 0:
        raise Undecided(f"all models lie on one ladder, of {own}")
    without, with_embeddings, form = _lines(ladder, ladder_counted)
    drawn.figure = _draw6(table, largest, without, with_embeddings, f"L(N) of the ladder, {own}")
    with_them = _per_doubling(counted, ladder_counted, with_embeddings)
    without_them = _per_doubling(deep, ladder, without)
    said = (
        f"relative to the ladder's {form} ({own}), a doubling of the depth (models of {depths[0]:.0f} to "
        f"{depths[-1]:.0f} layers) changes the loss by {_percents(with_them)} where N counts the embeddings, by "
        f"{_percents(without_them)} where it does not"
    )
    if with_them.flat and without_them.flat:
        raise Undecided(f"{said}. In neither count do the depths differ significantly")
    splits = _splits(with_them, without_them)
    drawn.say(f"{said}: {splits}." if splits else "", _shallow(table, without))
    if not splits:
        raise Undecided(f"{said}. One of them differs significantly from none, but is not twice the other")


def _splits(with_them: Trend, without_them: Trend) -> str:
    """Which count of N splits by depth, at least one of which does: one is a line for all where its slope is less than
    half the other's. Empty where that cannot be told.
    """
    if not with_them.flat and abs(without_them.slope) < abs(with_them.slope) / 2:
        return "the count with embeddings splits by depth, the one without is a line for all, as in the paper"
    if not with_them.flat and not without_them.flat:
        return (
            "both counts split by depth, while the paper saw one line without embeddings; of two models of one N the "
            "deeper is the narrower, and Figure 5 shows what that costs"
        )
    if without_them.flat or abs(with_them.slope) >= abs(without_them.slope) / 2:
        return ""
    return (
        "the count without embeddings splits by depth and the one with them does not, the other way round than in the "
        "paper; what embeddings are worth, in parameters, would tell why"
    )


def _lines(ladder: Table, counted: Table) -> tuple[Fit, Fit, str]:
    """A line through each count, and its form: with a floor where both show one, as equal tokens bend L(N).

    A size is one point, whatever its seeds.

    Raises:
        InputError: the runs do not tell the constants of a power law.
    """
    tables = runs.per_size(ladder), runs.per_size(counted)
    try:
        floors = [fit("henighan-n", table, loss="squared") for table in tables]
        if all(law.sound for law in floors):
            return floors[0], floors[1], "power law with a floor"
    except InputError:
        pass  # no bend is seen
    lines = [fit("kaplan-n", table, loss="squared") for table in tables]
    return lines[0], lines[1], "power law"


def _off(table: Table, law: Fit) -> np.ndarray:
    """ln of the measured loss over the law's."""
    return np.log(table["loss"] / law.band(table["params"]).value)


def _deeper(table: Table, ladder: Table) -> np.ndarray:
    """Doublings of the depth by which each model is deeper than the ladder at its N."""
    N, layers = means(ladder, of="n_layer")
    return np.log2(table["n_layer"]) - np.interp(np.log(table["params"]), np.log(N), np.log2(layers))


def _per_doubling(table: Table, ladder: Table, law: Fit) -> Trend:
    """How ln(loss) above the line changes per doubling of the depth; a model is one point, whatever its seeds."""
    models: dict[tuple[float, float], list[tuple[float, float]]] = {}
    each = zip(table["n_layer"], table["d_model"], _deeper(table, ladder), _off(table, law), strict=True)
    for n, d, deeper, off in each:
        models.setdefault((n, d), []).append((deeper, off))
    return trend(*np.array([np.mean(seeds, axis=0) for seeds in models.values()]).T)


def _shallow(table: Table, law: Fit) -> str:
    """Where models of one layer lie."""
    one = table["n_layer"] == 1
    if not one.any():
        return "No model of one layer was trained, of which the paper says that it lies off the line."
    own = table.where(one, "two layers or more")
    off = float(_off(own, law).mean())
    said = law.band(own["params"], run=True)
    outside = int(((own["loss"] < said.low) | (own["loss"] > said.high)).sum())
    return (
        f"Models of one layer lie {digits.percent(off, sign=True)} from the line of the ladder, {outside} of "
        f"{len(own)} outside the interval of a single run (the paper: models of fewer than two layers lie off it)."
    )


def _group(layers: float) -> int:
    """0, 1, 2, 3, ... up to DEEPEST; DEEPEST + 1 for all that are deeper."""
    return int(min(layers, DEEPEST + 1))


def _name(group: int) -> str:
    return f"> {DEEPEST}" if group > DEEPEST else str(group)


def _draw6(
    table: Table, largest: float, without: Fit | None = None, with_embeddings: Fit | None = None, label: str = ""
) -> Figure:
    """Both counts; the paper's points meet ours at sizes up to `largest`, the most that had converged."""
    groups = sorted({_group(n) for n in table["n_layer"]})
    with rc_context(STYLE):
        figure, grid = panels(2, beyond=BITS)
        for axes, column, law in zip(grid, ("params_embed", "params"), (with_embeddings, without), strict=True):
            shown = table.where(table[column] > 0, "no layer: no place on the axis of N")
            x, y = shown[column], shown["loss"]
            for k, group in enumerate(groups):
                rows = np.array([_group(n) == group for n in shown["n_layer"]])
                order = np.argsort(x[rows])
                axes.plot(x[rows][order], y[rows][order], lw=0.8, **symbol(k))
            x, y = _draw_early(axes, early(table), column, groups, x, y)
            if law is not None:
                line = np.geomspace(x.min() / 1.2, x.max() * 1.2, 60)
                fitted_line(axes, line, law, [line], GREY, label=label)
            logarithmic(axes, x, "params", y)
            if column == "params":
                deep = shown.where((shown["n_layer"] >= 2) & (shown["params"] <= largest), "off the line")
                papers_curve(
                    axes, deep["params"], deep["loss"], reference.points("fig1_L_of_N"), -reference.value("alpha_N")
                )
                axes.legend(loc="lower left")
                axes.set_title("Non-embedding parameters")
            else:
                axes.set_xlabel("Parameters with embeddings")
                axes.set_title("Parameters with embeddings")
        grid[0].set_ylabel(LOSS)
        bits_per_byte(grid[1], table)
        beside(figure, [(_name(group), symbol(k, lw=0)) for k, group in enumerate(groups)], "Layers")
        return figure


def _draw_early(
    axes: Axes, table: Table, column: str, groups: list[int], x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Runs that ended before their model used its context, hollow; x and y with theirs."""
    for k, group in enumerate(groups if len(table) else ()):
        rows = np.array([_group(n) == group for n in table["n_layer"]])
        if rows.any():
            own_x, own_y = table[column][rows], table["loss"][rows]
            axes.plot(own_x, own_y, **symbol(k, lw=0, mfc="white", mec=symbol(k)["color"]))
            x, y = np.append(x, own_x), np.append(y, own_y)
    return x, y


# --- figure 24


def figure_24(evidence: Kaplan, drawn: Drawn) -> None:
    """Loss on the training text and on the others against the depth, N held fixed, a point per run of the models of
    Figure 5's second panel, lines through their means.
    """
    table = evidence.need("shape")
    sets = test_sets(table)
    table = runs.best_rates(table)
    # The largest size at which the depth was changed; what N differs by within a size drops out of ratios.
    sizes = [one for one in by_size(table, 0.0) if any(panel.what == shapes.WHAT[1] for panel in one.panels)]
    if not sizes:
        raise Undecided("no size has shapes that differ from one base in their depth alone")
    found = sizes[-1]
    same = np.array([s == found.base or s.differs(found.base) == shapes.WHAT[1] for s in shapes.shapes_of(table)]) & (
        np.abs(table["params"] / math.sqrt(found.sizes[0] * found.sizes[1]) - 1) < shapes.SAME_SIZE
    )
    table = table.where(same, "differs in more than its depth")
    depth = table["n_layer"]
    drawn.points(on_texts(table, sets, "run", "params", "n_layer", "loss"))
    drawn.figure = _draw24(table, sets)
    if len(np.unique(depth)) < LEAST:
        raise Undecided(f"{len(np.unique(depth))} depths at one N; wanted {LEAST}")
    said, reach = [], 0.0
    x = np.log2(depth)
    own = trend(x, np.log(table["loss"]))
    for name in sets:
        ratio = trend(x, np.log(table[name] / table["loss"]))
        reach = max(reach, (ratio.high - ratio.low) / 2)
        verdict = (
            "No effect of the depth on transfer is seen, as in the paper"
            if ratio.flat
            else "A slight effect of the depth on transfer"
            if max(-ratio.low, ratio.high) < SLIGHT
            else "An effect of the depth on transfer, unlike in the paper"
        )
        said.append((f"{short_name(name)} {_percents(ratio)}", f"{verdict} (change of the ratio per doubling)"))
    if reach > SLIGHT:
        raise Undecided(f"an effect on transfer is known only to ± {digits.percent(reach)} per doubling of the depth")
    layers = np.unique(depth)
    drawn.say(
        f"From {layers[0]:.0f} to {layers[-1]:.0f} layers at N = {digits.short(float(np.median(table['params'])))} the "
        f"loss on the training text changes by {_percents(own)} per doubling of the depth (Figure 5, second panel). "
        "Transfer is measured by the ratio of the loss on another text to it. The paper (1.5B parameters, about 6 to "
        "207 layers) saw no effect of depth on transfer.",
        *by_verdict(said),
    )


def _percents(line: Trend) -> str:
    slope, low, high = (digits.percent(v, sign=True) for v in (line.slope, line.low, line.high))
    return f"{slope} ({low} to {high})"


def _draw24(table: Table, sets: list[str]) -> Figure:
    entries = [("training text", "loss"), *((short_name(name), name) for name in sets)]
    with rc_context(STYLE):
        figure, (axes,) = panels(1, legend=False)
        for k, (_, column) in enumerate(entries):
            axes.plot(table["n_layer"], table[column], **symbol(k, lw=0))
            axes.plot(*means(table, "n_layer", column), color=symbol(k)["color"], lw=0.8)
        losses = np.concatenate([table[column] for _, column in entries])
        axes.set_xscale("log")
        log_y(axes, losses, digits.plain)
        axes.set_ylim(top=losses.max() * (losses.max() / losses.min()) ** 0.4)
        log_axis(axes.xaxis, 2.0 ** np.arange(math.ceil(math.log2(table["n_layer"].max())) + 1))
        axes.set_xlim(*margins(table["n_layer"], 1.3))
        axes.set_xlabel("Layers, at fixed N")
        axes.set_ylabel(LOSS)
        groups_legend(axes, [(name, symbol(k, lw=0.8)) for k, (name, _) in enumerate(entries)], "upper left", ncols=2)
        axes.set_title("Transfer against depth")
        return figure
