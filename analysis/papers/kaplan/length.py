"""The exponent of L(N) over the tokens trained, and whether L(N) has a floor: what a short training makes of alpha_N.

Branches of the main grid end in a decay after every length, so that L(N) can be fitted at each of them. Where all sizes
see as many tokens, large ones are farther from their converged loss, and alpha_N grows with the tokens until they are
enough.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from analysis import digits, laws, reference
from analysis.fit import fit
from analysis.fit.estimate import Fit, Interval
from analysis.laws.admission import DEEP
from analysis.page.canvas import GREY, INK, LOSS, STYLE, panels, size_legend
from analysis.papers.claim import Claim, Undecided
from analysis.papers.drawing import BITS, LAW, OTHER, across, bits_per_byte, dots, legend, logarithmic
from analysis.papers.drawn import Drawn
from analysis.papers.kaplan import runs
from analysis.papers.kaplan.claims import SIGMAS, Kaplan
from analysis.papers.kaplan.evidence import DIFFERENCE
from analysis.papers.kaplan.fits import LEAST
from analysis.table import Table

LENGTHS = 3  # at which alpha_N is known, so that a change of it can be seen
KNOWN = 0.005  # half-width of the interval of a change of alpha_N that decides it


@dataclasses.dataclass(frozen=True)
class At:
    """alpha_N of the same sizes after so many tokens, by least squares in logarithms.

    Attributes:
        half: of the interval that the seed noise of each size makes.
        to_last: the same of the difference to the longest length, whose branches share their trunks' luck.
    """

    tokens: float
    alpha: float
    half: float
    to_last: float


@dataclasses.dataclass(frozen=True)
class Exponents:
    """alpha_N at each length, of the sizes that were trained to all of them.

    Attributes:
        N: these sizes.
        at: by rising tokens.
    """

    N: np.ndarray
    at: tuple[At, ...]

    @property
    def last(self) -> tuple[float, Interval]:
        """What the last doubling added, and its interval."""
        change, noise = self.at[-1].alpha - self.at[-2].alpha, self.at[-2].to_last
        return change, (change - noise, change + noise)

    @property
    def stationary(self) -> At | None:
        """The length from which alpha_N changes by no more than the noise up to the longest one; None where the noise
        does not cover the last doubling.
        """
        found = None
        for one in reversed(self.at[:-1]):
            if abs(self.at[-1].alpha - one.alpha) > one.to_last:
                return found
            found = one
        return found


def exponents(grid: Table, sigma: float) -> Exponents:
    """alpha_N at each length of the grid.

    Lengths are left out, the shortest first, until LEAST sizes were trained to all others.

    Args:
        grid: branches of two layers or more, columns params, tokens and loss.
        sigma: seed noise of ln loss.

    Raises:
        Undecided: too few sizes share LENGTHS lengths.
    """
    lengths = np.unique(grid["tokens"])
    of = {D: set(grid["params"][grid["tokens"] == D]) for D in lengths}
    for first in range(len(lengths) - LENGTHS + 1):
        shared = set.intersection(*(of[D] for D in lengths[first:]))
        if len(shared) >= LEAST:
            N = np.array(sorted(shared))
            x = np.log(N) - np.log(N).mean()
            reach = SIGMAS / math.sqrt(float(x @ x))
            table = grid.where(np.isin(grid["params"], N), "not trained to every length")
            at = []
            for D in lengths[first:]:
                _, loss = np.log(runs_of_length(table, D))
                apart = DIFFERENCE * sigma if (own := _between(table, D, lengths[-1])) is None else own
                at.append(At(float(D), -float(x @ loss / (x @ x)), reach * sigma, reach * apart))
            return Exponents(N, tuple(at))
    raise Undecided(f"no {LEAST} sizes were trained to the same {LENGTHS} lengths")


def runs_of_length(grid: Table, tokens: float) -> tuple[np.ndarray, np.ndarray]:
    """N and the mean loss of each size at a length."""
    table = runs.per_size(grid.where(grid["tokens"] == tokens, "another length"))
    return table["params"], table["loss"]


def _between(grid: Table, short: float, long: float) -> float | None:
    """Standard deviation among seeds of the difference of ln loss between branches of two lengths; None without."""
    squares, degrees = 0.0, 0
    for N in np.unique(grid["params"]):
        by_seed = []
        for seed in np.unique(grid["seed"][grid["params"] == N]) if "seed" in grid else ():
            own = (grid["params"] == N) & (grid["seed"] == seed)
            ends = [grid["loss"][own & (grid["tokens"] == D)] for D in (short, long)]
            if all(map(len, ends)):
                by_seed.append(math.log(ends[1][0] / ends[0][0]))
        if len(by_seed) > 1:
            squares += float(np.var(by_seed)) * len(by_seed)
            degrees += len(by_seed) - 1
    return math.sqrt(squares / degrees) if degrees else None


def figure(evidence: Kaplan, drawn: Drawn) -> None:
    """Left: alpha_N fitted after each number of tokens, of the same sizes throughout (filled) and of all that were
    trained so long (hollow); grey: the paper's. Right: L(N) at the longest length that all sizes share, with a power
    law, and with a floor beside it.
    """
    grid = DEEP.admit(evidence.grid)
    rows = []
    with rc_context(STYLE):
        drawn.figure, (left, right) = panels(2, beyond=BITS)
        with drawn.panel(left, "The exponent over the tokens trained", "whether alpha_N is stationary"):
            found = exponents(grid, evidence.sigma)
            every = list(_of_all_sizes(grid))
            rows += [{"sizes": "the same", "tokens": one.tokens, "alpha_N": one.alpha, "half": one.half}
                     for one in found.at]  # fmt: skip
            rows += [{"sizes": "all", "tokens": D, "alpha_N": alpha} for D, alpha in every]
            _draw_exponents(left, found, every)
            claim = _last_doubling(found)
            drawn.show(claim)
            drawn.say(_how_it_grows(found))
            drawn.say(_stationary(found))
        with drawn.panel(right, "L(N) with a floor and without", "whether L(N) has a floor"):
            table = runs.per_size(DEEP.admit(evidence.size_runs))
            power, floor = (fit(law, table, loss="squared", waived=law.about) for law in (laws.KaplanN, laws.HenighanN))
            rows += [
                {"params": n, "loss": L, "power_law": float(power.law(n)), "with_floor": float(floor.law(n))}
                for n, L in zip(table["params"], table["loss"], strict=True)
            ]
            _draw_forms(right, table, power, floor, evidence)
            bits_per_byte(right, evidence.size_runs)
            size_legend(drawn.figure, table["params"], evidence.shades)
            with drawn.part("whether L(N) has a floor"):
                drawn.say(_floor(power, floor, table, evidence.length))
        if not rows:
            drawn.figure = None
            return
    drawn.points(rows)


def _of_all_sizes(grid: Table) -> Iterator[tuple[float, float]]:
    """alpha_N of all sizes of each length."""
    for D in np.unique(grid["tokens"]):
        N, loss = runs_of_length(grid, D)
        if len(N) >= LEAST:
            yield float(D), -float(np.polyfit(np.log(N), np.log(loss), 1)[0])


def _last_doubling(found: Exponents) -> Claim:
    change, interval = found.last
    note = f"of {len(found.N)} sizes, at {digits.short(found.at[-1].tokens)} tokens; interval from the seeds"
    name = "alpha_N, change in the last doubling of the tokens"
    return Claim(name, "(1.1)", None, change, interval, enough=KNOWN, independent=False, note=note)


def _how_it_grows(found: Exponents) -> str:
    first, last = found.at[0], found.at[-1]
    sizes = f"{len(found.N)} sizes from N = {digits.short(float(found.N[0]))} to {digits.short(float(found.N[-1]))}"
    return (
        f"Of the same {sizes}, alpha_N goes from {first.alpha:.3f} ± {first.half:.3f} after "
        f"{digits.short(first.tokens)} tokens to {last.alpha:.3f} ± {last.half:.3f} after {digits.short(last.tokens)} "
        f"(from the seeds); the paper has {reference.value('alpha_N'):g}, of runs near convergence."
    )


def _stationary(found: Exponents) -> str:
    change, (low, high) = found.last
    half = (high - low) / 2
    if half > KNOWN:
        raise Undecided(f"the last doubling changed it by {change:+.3f} ± {half:.3f}; ± {KNOWN:g} would tell")
    if (at := found.stationary) is not None:
        ratio = at.tokens / float(np.exp(np.log(found.N).mean()))
        return (
            f"From {digits.short(at.tokens)} tokens on, {digits.plain(ratio, 2)} times the middle N, it is stationary "
            f"to within ± {at.to_last:.3f}: shorter trainings give another exponent."
        )
    return (
        f"It is not stationary yet: the last doubling changed it by {change:+.4f} ± {half:.4f}. An exponent of L(N) at "
        "any of these lengths is one of the length too, here and in other reproductions at small scale."
    )


def _floor(power: Fit, floor: Fit, table: Table, tokens: float) -> str:
    worse, better = (digits.percent(one.residuals.rms) for one in (power, floor))
    if not floor.sound:
        raise Undecided(f"a power law without one misses the losses by {worse} rms, and with one {floor.why}")
    E, ends = digits.constant(floor.constants["L_inf"], *floor.intervals["L_inf"])
    alpha, of_alpha = digits.constant(floor.constants["alpha"], *floor.intervals["alpha"])
    return (
        f"At {digits.short(tokens)} tokens the losses of {len(table)} sizes lie within {worse} rms of a power law, and "
        f"within {better} of one above a floor of {E} ({ends}) nats with the exponent {alpha} ({of_alpha}). The floor "
        "holds what so few tokens leave beside the text's own, and an exponent with a floor is no alpha_N."
    )


def _draw_exponents(axes: Axes, found: Exponents, every: list[tuple[float, float]]) -> None:
    D, alpha = (np.array([getattr(one, name) for one in found.at]) for name in ("tokens", "alpha"))
    half = np.array([one.half for one in found.at])
    axes.errorbar(D, alpha, yerr=half, fmt="o-", color=INK, ms=4.6, lw=1.0, elinewidth=0.9,
                  label=f"the same {len(found.N)} sizes", zorder=4)  # fmt: skip
    x, y = np.array(every).T
    axes.plot(x, y, "o", mfc="none", mec=GREY, ms=8, mew=0.9, label="all sizes of that length", zorder=3)
    paper = reference.value("alpha_N")
    axes.axhline(paper, color=GREY, lw=1.0, dashes=(5, 3), label=f"the paper's {paper:g}", zorder=1)
    logarithmic(axes, np.concatenate([D, x]), "Tokens of each run D", most=9)
    axes.set_ylim(0, 1.25 * max(float(np.max(alpha + half)), float(y.max()), paper))
    axes.set_ylabel("Exponent of N")
    legend(axes, "lower right")


def _draw_forms(axes: Axes, table: Table, power: Fit, floor: Fit, evidence: Kaplan) -> None:
    N = table["params"]
    dots(axes, N, table["loss"], [evidence.shades(float(n)) for n in N])
    logarithmic(axes, N, "params", table["loss"], most=6)
    x = across(axes, 80)
    axes.plot(x, power.law(x), color=LAW, lw=1.2, label="power law", zorder=4)
    if floor.sound:
        axes.plot(x, floor.law(x), color=OTHER, lw=1.2, dashes=(4, 2), label="with a floor", zorder=4)
    axes.set_ylabel(LOSS)
    legend(axes)
