"""How serving moves the best model: its size, tokens and cost, over those of the one that is cheapest to train."""

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis import digits
from analysis.page.canvas import GREY, INK, STYLE, log_axis, panels
from analysis.plan import prices
from analysis.plan.prices import Shares

MODELS, COSTS = "The best model, by what it will serve", "What it costs, training and serving"
DEMAND = "Tokens served, over those of the cheapest training"
AROUND = 30.0  # times less and more demand than the plan's are drawn
POINTS = 25


def model_panel(axes: Axes, demand: NDArray[np.float64], shares: Shares, **style: Any) -> None:
    """Size and tokens over demand, both logarithmic: the size falls from 1, the tokens rise."""
    axes.plot(demand, shares.params, **style)
    same: dict[str, Any] = style | {"label": ""}
    axes.plot(demand, shares.tokens, **same)
    _axes(axes, demand)
    axes.set_yscale("log")
    axes.set_ylabel("Over the model that is cheapest to train")
    low, high = axes.get_ylim()
    log_axis(axes.yaxis, np.geomspace(low, high, 9), digits.plain)
    axes.axhline(1.0, color=GREY, lw=0.8, zorder=0)
    if not axes.texts:
        for told, y in (("tokens D", 0.64), ("size N", 0.24)):
            axes.text(0.98, y, told, transform=axes.transAxes, ha="right", fontsize=8, color=INK)


def cost_panel(axes: Axes, demand: NDArray[np.float64], shares: Shares, **style: Any) -> None:
    """Lifetime cost over demand."""
    axes.plot(demand, 100 * shares.cost, **style)
    _axes(axes, demand)
    axes.set_ylabel("Of the cost of the cheapest to train, %")
    axes.set_ylim(0, 105)


def _axes(axes: Axes, demand: NDArray[np.float64]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(demand[0], demand[-1])
    log_axis(axes.xaxis, np.geomspace(demand[0], demand[-1], 40), digits.plain, ((1,),), 6)
    axes.set_xlabel(DEMAND)


def figure(law: Any, served: prices.Served) -> Figure:
    """A plan's answer for a model that will be served, among those of less and of more demand at the same loss."""
    at = served.inference_tokens / float(served.cheapest_to_train.tokens)
    demand = np.geomspace(at / AROUND, at * AROUND, POINTS)
    with rc_context(STYLE):
        drawn, (left, right) = panels(2, legend=False)
        left.set_title(MODELS)
        right.set_title(COSTS)
        for ratio, told in _counted(served.cost_ratio):
            style: dict[str, Any] = {"color": INK, "label": told}
            style |= {"lw": 1.6} if ratio == served.cost_ratio else {"lw": 1.0, "dashes": (4, 2)}
            shares = _searched(law, served, demand, ratio)
            model_panel(left, demand, shares, **style)
            cost_panel(right, demand, shares, **style)
        mark: dict[str, Any] = {"ls": "", "marker": "o", "ms": 7, "color": INK, "mec": "white", "mew": 0.8, "zorder": 6}
        cheapest = served.cheapest_to_train
        left.plot(at, served.params / float(cheapest.params), **mark)
        left.plot(at, served.tokens / float(cheapest.tokens), **mark)
        told = f"this plan: {digits.short(served.inference_tokens)} tokens served"
        right.plot(at, 100 * (1 - served.saving), label=told, **mark)
        right.legend(loc="lower left")
    return drawn


def _counted(cost_ratio: float) -> list[tuple[float, str]]:
    """The costs by which the answer is worked out: FLOP alone, and where it differs the plan's own."""
    flop = (1.0, "counted in FLOP")
    return [flop] if cost_ratio == 1 else [flop, (cost_ratio, f"a FLOP of serving at {cost_ratio:.3g} times the price")]


def _searched(law: Any, served: prices.Served, demand: NDArray[np.float64], ratio: float) -> Shares:
    cheapest = served.cheapest_to_train
    N, D = float(cheapest.params), float(cheapest.tokens)
    found = [prices.with_inference(law, served.loss, r * D, cost_ratio=ratio) for r in demand]
    return Shares(
        np.array([one.params / N for one in found]),
        np.array([one.tokens / D for one in found]),
        np.array([1 - one.saving for one in found]),
    )
