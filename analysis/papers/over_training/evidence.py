"""What the figures share: the runs of the main grid as the page of Hoffmann et al. (2022) reads them, and the claims.

N, M = D / N and C count the embedding, as both papers do; without it is one of the choices that estimates range over.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from analysis import frontier, reference
from analysis.fit import fit
from analysis.fit.estimate import Fit, Interval, Prediction
from analysis.laws import Chinchilla, Gadre
from analysis.papers.chinchilla import approaches, trunks
from analysis.papers.chinchilla.evidence import Chinchilla2022, wider
from analysis.papers.chinchilla.trunks import INNER
from analysis.papers.claim import MISSING, Claim, Undecided, those
from analysis.papers.over_training import lines, ratios, recipe
from analysis.papers.over_training.lines import Lines
from analysis.papers.over_training.recipe import Recipe
from analysis.plan import prices
from analysis.table import Table

Array = NDArray[np.float64]

GADRE, SARDANA, HOFFMANN = "gadre2024", "sardana2024", "hoffmann2022"
LEAST = 10.0  # tokens per parameter from which lines are read: below it Gadre et al.'s own runs leave theirs
# Half-widths of 95 % intervals that decide.
EXPONENT = 0.02  # eta
CHANGE = 0.02  # of the exponent over a decade of M
DIFFERENCE = 0.1  # between exponents of N and of D, and between fits to parts of the runs
FORECAST = 0.02  # of a loss
SHARE = 0.05  # of a size
DEMAND = 1.0  # tokens served, over those that the cheapest training takes
EQ_4 = "(4)"
TABLE_1 = "Sardana et al., Table 1"

TEXT = "another text, another vocabulary and models a thousandth as large"
RANGE = (
    "over models this small an embedding is a large part of N, and the exponents of both terms depend on the range of "
    "N and M"
)


@dataclasses.dataclass(frozen=True, eq=False)
class AtRatios:
    """What trunks reach at fixed ratios, and eq. 4 with its constants by draw."""

    table: Table
    ln_loss: Array  # (row, draw)
    fit: Fit[Gadre]
    constants: Array  # (draw, 4), the first as measured

    @functools.cached_property
    def lines(self) -> Lines:
        return lines.lines(self.table, self.ln_loss, self.constants[:, 0])


class OverTraining(Chinchilla2022):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    # --- parallel lines

    @functools.cached_property
    def at_ratios(self) -> AtRatios:
        """All sizes at LEAST tokens per parameter and more, a factor of two apart."""
        return _at_ratios(self.runs, self.draws)

    @property
    def lines(self) -> Lines:
        return self.at_ratios.lines

    @functools.cached_property
    def eta(self) -> Claim:
        """The one exponent of eq. 4."""
        claim = Claim("eta", EQ_4, reference.value("c4_eta", GADRE), enough=EXPONENT, above=TEXT, below=TEXT)
        claim = dataclasses.replace(claim, note="the paper's is for C4; 0.136 on RedPajama")
        return self._drawn(claim, lambda at: at.constants[:, 3], lambda at: at.fit.derived(lambda law: law.eta))

    @functools.cached_property
    def parallel(self) -> Claim:
        """By how much the slope of the lines changes with M."""
        claim = Claim("change of the slope", "Gadre et al., Figure 2", 0.0, enough=CHANGE, unit="per decade of M",
                      above=RANGE, below=RANGE)  # fmt: skip
        return self._drawn(claim, lambda at: at.lines.change)

    def _drawn(
        self,
        claim: Claim,
        value: Callable[[AtRatios], Array],
        by_fit: Callable[[AtRatios], Prediction] | None = None,
    ) -> Claim:
        try:
            found = value(self.at_ratios)
        except MISSING as error:
            return claim.without(error)
        ends = _interval(found) if by_fit is None else _both(found, by_fit(self.at_ratios))
        others = [lambda: _at_ratios(*self._measured(INNER)), lambda: _at_ratios(*self._few)]
        return dataclasses.replace(
            claim,
            ours=float(found[0]),
            interval=ends,
            others=lambda: [float(value(at)[0]) for at in those(*others)],
        )

    def _measured(self, counting: trunks.Counting) -> tuple[Table, Array]:
        runs = self.recounted(counting)
        return runs, np.log(runs["loss"])[:, None]

    @property
    def _few(self) -> tuple[Table, Array]:
        runs = self._other_rows["without the smallest size"]
        return runs, np.log(runs["loss"])[:, None]

    @functools.cached_property
    def one_exponent(self) -> Claim:
        """alpha - beta of L(N, D), which eq. 4 has at 0."""
        claim = Claim("alpha − beta", EQ_4, 0.0, enough=DIFFERENCE, above=RANGE, below=RANGE)
        try:
            each = self.surfaces[:, 3] - self.surfaces[:, 4]
        except MISSING as error:
            return claim.without(error)

        def others() -> list[float]:
            found = (one.fit for one in self.other_surfaces.values())
            return [fit.constants["alpha"] - fit.constants["beta"] for fit in found if fit is not None]

        by_fit = self.law.derived(lambda law: law.alpha - law.beta)
        return dataclasses.replace(claim, ours=float(each[0]), interval=_both(each, by_fit), others=others)

    @functools.cached_property
    def surfaces(self) -> Array:
        """E, A, B, alpha and beta of L(N, D) fitted to all runs, the first as measured. (draw, 5)"""
        return _refitted(self.runs, self.draws, self.law)

    # --- the largest from small ones

    @functools.cached_property
    def recipe(self) -> Recipe:
        """Eq. 4 fitted to a few small runs."""
        table = self._reached
        return recipe.fitted(table, recipe.chosen(table))

    @functools.cached_property
    def _reached(self) -> Table:
        at = lines.at_ratios(self.runs, np.log(self.runs["loss"])[:, None])
        return at[0].with_columns(loss=np.exp(at[1][:, 0]))

    @property
    def recipe_rows(self) -> Table:
        """The readings that it is fitted to."""
        return self._reached.chosen(np.isin(np.arange(len(self._reached)), self.recipe.rows))

    @functools.cached_property
    def held_out(self) -> Table:
        """The runs of sizes beyond those of the recipe."""
        largest = self.recipe_rows["params"].max()
        return self.runs.where(self.runs["params"] > largest, "a size of the recipe")

    @functools.cached_property
    def forecast(self) -> Claim:
        """How far the recipe misses the run of most compute."""
        claim = Claim("error of the largest run", "Gadre et al., section 4", 0.0073, enough=FORECAST,
                      note="the paper's is of 6.9e9 parameters on RedPajama; on C4 it was 4.3 %",
                      above=RANGE, below="the law happens to bend less here")  # fmt: skip
        try:
            runs = self.held_out
            top = int(np.argmax(runs["flops"]))
            miss = self.misses[:, top]
        except MISSING as error:
            return claim.without(error)
        signed = _interval(miss)
        if signed is not None:
            near, far = sorted(map(abs, signed))
            signed = (0.0 if signed[0] < 0 < signed[1] else near, far)
        return dataclasses.replace(claim, ours=abs(float(miss[0])), interval=signed)

    @functools.cached_property
    def misses(self) -> Array:
        """Predicted loss over measured less 1 of the held-out runs, the first draw as measured. (draw, run)"""
        _, ln_loss = lines.at_ratios(self.runs, self.draws)
        rows, law, runs, few = self.recipe.rows, self.recipe.fit.law, self.held_out, self.recipe_rows
        each = approaches.refits(few, ln_loss[np.sort(rows)][:, 1:], _in_logarithms(few))
        losses = np.exp(self.draws[np.isin(self.runs["run"], runs["run"])])  # (run, draw)
        predicted = [np.asarray(Gadre(*constants)(runs["params"], runs["tokens"])) for constants in each]
        first = np.asarray(law(runs["params"], runs["tokens"]))
        return np.stack([first, *predicted]) / losses.T - 1

    # --- which ratios are fitted

    @functools.cached_property
    def by_ratio(self) -> Mapping[float, Fit[Chinchilla]]:
        """L(N, D) of the runs of up to so many tokens per parameter."""
        return ratios.fits(self.runs, clusters="trunk")

    @functools.cached_property
    def by_ratio_drawn(self) -> Mapping[float, Array]:
        """Its constants by draw, the first as measured. (draw, 5)"""
        found = {}
        for limit, law in self.by_ratio.items():
            keep = np.isin(self.runs["run"], ratios.up_to(self.runs, limit)["run"])
            found[limit] = _refitted(self.runs.chosen(keep), self.draws[keep], law)
        return found

    def moved(self, name: str) -> Claim:
        """By how much an exponent is larger in the fit to all runs than in that to the least over-trained."""
        column = [constant.name for constant in Chinchilla.constants()].index(name)
        least, most = (reference.published()[SARDANA][key]["value"] for key in ("table1_fit_le_100", "table1_fit_all"))
        claim = Claim(f"{name}, all runs less those of M ≤ 100", TABLE_1, most[name] - least[name], enough=DIFFERENCE,
                      above=RANGE, below=RANGE)  # fmt: skip
        try:
            drawn = self.by_ratio_drawn
            if not {ratios.LIMITS[0], ratios.LIMITS[-1]} <= set(drawn):
                raise Undecided("too few runs have so few tokens per parameter")
        except MISSING as error:
            return claim.without(error)
        each = drawn[ratios.LIMITS[-1]][:, column] - drawn[ratios.LIMITS[0]][:, column]
        # Of two fits that share runs the covariances add up to no less than that of the difference.
        halves = [np.ptp(self.by_ratio[limit].intervals[name]) / 2 for limit in (ratios.LIMITS[0], ratios.LIMITS[-1])]
        half = float(np.hypot(*halves))
        by_fit = Prediction(*(np.float64(each[0] + sign * half) for sign in (0, -1, 1)))
        return dataclasses.replace(claim, ours=float(each[0]), interval=_both(each, by_fit))

    # --- models that will be served

    @functools.cached_property
    def served(self) -> Claim:
        """The best size at DEMAND, over the one that is cheapest to train."""
        theirs = self.published["Hoffmann et al. (2022)"]
        paper = float(prices.served_shares(theirs.alpha, theirs.beta, DEMAND).params)
        claim = Claim("N at a demand of 1", "Sardana et al., eq. 3", paper, enough=SHARE, above=RANGE, below=RANGE,
                      note="the paper's by the printed constants of Hoffmann et al.")  # fmt: skip
        try:
            each = np.asarray(prices.served_shares(self.surfaces[:, 3], self.surfaces[:, 4], DEMAND).params)
        except MISSING as error:
            return claim.without(error)

        def others() -> list[float]:
            found = [one.fit for one in self.other_surfaces.values() if one.fit is not None]
            laws = [fit.law for fit in (*found, *self.by_ratio.values()) if isinstance(fit.law, Chinchilla)]
            return [float(prices.served_shares(law.alpha, law.beta, DEMAND).params) for law in laws]

        by_fit = self.law.derived(lambda law: prices.served_shares(law.alpha, law.beta, DEMAND).params)
        return dataclasses.replace(claim, ours=float(each[0]), interval=_both(each, by_fit), others=others)

    @functools.cached_property
    def published(self) -> Mapping[str, Chinchilla]:
        """L(N, D) as papers print it."""
        names = ("E", "A", "B", "alpha", "beta")
        constants = reference.published()
        return {
            "Hoffmann et al. (2022)": Chinchilla(*(constants[HOFFMANN][name]["value"] for name in names)),
            "Besiroglu et al. (2024)": Chinchilla(*(constants["besiroglu2024"][name]["value"] for name in names)),
            "Sardana et al. (2024), all": Chinchilla(**constants[SARDANA]["table1_fit_all"]["value"]),
        }


def _at_ratios(runs: Table, ln_loss: Array) -> AtRatios:
    table, reached = lines.at_ratios(runs, ln_loss, [M for M in lines.RATIOS if M >= LEAST])
    table = table.with_columns(loss=np.exp(reached[:, 0]))
    found = fit("gadre", table, loss="squared", waived=Gadre.about, clusters="run")
    if not found.sound:
        raise Undecided(f"eq. 4 is doubtful: {found.why}")
    return AtRatios(table, reached, found, _refitted(table, reached, found))


def _refitted(runs: Table, ln_loss: Array, found: Fit) -> Array:
    """The constants as fitted, and those of every draw after the first. (draw, constant)"""
    return np.concatenate([[list(found.constants.values())], approaches.refits(runs, ln_loss[:, 1:], found)])


def _in_logarithms(table: Table) -> Fit[Gadre]:
    """The rows of the recipe fitted in logarithms, as draws are."""
    return fit("gadre", table, loss="squared", waived=Gadre.about)


def _interval(draws: Array) -> Interval | None:
    """The middle 95 % of the draws after the first; None where there are none."""
    kept = draws[1:][np.isfinite(draws[1:])]
    return frontier.percentile_interval(kept) if len(kept) else None


def _both(draws: Array, by_fit: Prediction) -> Interval | None:
    """The wider of the interval of redrawn luck and that of the fit, by trunk; None without the first."""
    by_luck = _interval(draws)
    return None if by_luck is None else wider(by_luck, by_fit)
