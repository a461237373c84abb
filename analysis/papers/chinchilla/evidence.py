"""What the figures share: the admitted runs, the three approaches, and the paper's constants beside ours.

N, C and D count the embedding, as the paper does; without it is one of the choices that estimates range over.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Self, TypeVar

import numpy as np

from analysis import digits, frontier, reference
from analysis.envelope import envelope
from analysis.fit.estimate import Fit, Interval, Prediction
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Allocation
from analysis.laws import Chinchilla, QNorm, admission
from analysis.page.canvas import Shades
from analysis.papers import evidence
from analysis.papers.chinchilla import approaches, trunks
from analysis.papers.chinchilla.approaches import Approach, Draws
from analysis.papers.chinchilla.trunks import INNER, WHOLE, Counting, Luck
from analysis.papers.claim import MISSING, Claim, Undecided
from analysis.papers.known import measured
from analysis.table import Table
from scaling.config import OptimConfig

T = TypeVar("T")

PAPER = "hoffmann2022"
FIND: Mapping[int, Callable[[Table, Draws], Approach]] = {
    1: approaches.by_envelope,
    2: approaches.by_profiles,
    3: approaches.by_surface,
}
NUMBERS = tuple(FIND)
# Half-widths of 95 % intervals that decide an exponent, whatever its value and the paper's.
SHARE = 0.1  # of growing compute: tells 0.5 from Kaplan's 0.73
EXPONENT = 0.1  # alpha, beta: tells 0.34 from a third more or less
HELD_OUT = 4.0  # times the compute of the fitted runs, up to which forecasts go
BESIROGLU = Chinchilla(  # the paper's runs, refitted by Besiroglu et al. (2024)
    **{
        name: float(reference.published()["besiroglu2024"]["global_optimum_240pts"]["value"][name])
        for name in ("E", "A", "B", "alpha", "beta")
    }
)
LEAST_TOKENS = 10.0  # tokens per parameter: a choice of rows without the shortest runs
MOST_WARMUP = 0.1  # of a run: a choice of rows without those that warm up for long
ONSETS = 4.0  # tokens of a run over those at its onset: a choice of rows far from the onset
ROUNDED = {"E": 3, "A": 4, "B": 4, "alpha": 2, "beta": 2}  # digits that the paper prints

SMALL = (
    "in models this small the embedding is a large part of N, and how much of it does work moves the exponent: the "
    "other count is in the range over choices"
)
LOCAL = (
    "over small models and little data the exponents of L(N, D) follow the range of the runs and the form; on another "
    "text they are others"
)
FOLLOWS = "a + b = 1, as C = 6ND"
OTHER_FORM = "the q-norm, a form of one constant more"
REFITTED = (
    "the paper's runs, refitted by Besiroglu et al. (2024), have "
    f"{digits.plain(BESIROGLU.beta / (BESIROGLU.alpha + BESIROGLU.beta))}"
)
COUNTED_ONCE = "a of approach 3 is beta / (alpha + beta): of the three, two are independent"


class Chinchilla2022(evidence.Evidence):
    """The runs, the approaches and the claims. Where something is missing, asking for it raises Undecided, or
    InputError.
    """

    # --- runs

    @functools.cached_property
    def every_run(self) -> Table:
        """The finished runs of the grid."""
        return self.need("grid")

    @functools.cached_property
    def runs(self) -> Table:
        """Those of them that are admitted, with their trunk; N and C as the paper counts."""
        return self.recounted(WHOLE)

    @functools.cached_property
    def shades(self) -> Shades:
        """One colour for each N."""
        return Shades.of(trunks.counted(self.every_run, WHOLE))

    @functools.cached_property
    def luck(self) -> Luck:
        """How far seeds move the losses."""
        return trunks.luck(self.runs)

    @property
    def _luck(self) -> Luck | None:
        try:
            return self.luck
        except Undecided:
            return None

    @functools.cached_property
    def draws(self) -> Draws:
        """ln loss of the admitted runs, as measured and as it might have been."""
        return approaches.draws(self.runs, self._luck)

    def recounted(self, counting: Counting) -> Table:
        """The admitted runs by one way of counting, by which those left out are known too."""
        return trunks.admitted(trunks.counted(self.every_run, counting))

    @functools.cached_property
    def trunk_curves(self) -> Table:
        """The learning curves of the longest branch of each trunk, from its warm-up to its cooldown.

        Raises:
            Undecided: no curve was recorded.
        """
        runs = self.runs
        longest = runs["run"][[own[-1] for own in trunks.trunks(runs)]]
        curves = self.curves_of(runs)
        curves = curves.where(np.isin(curves["run"], longest), "a shorter branch of the same trunk")
        warm = admission.after_warmup(curves)
        hold = 1 - OptimConfig.decay  # of the run: `configs.rates.trunk` leaves it as it is
        keep = warm.keep & (curves["step"] <= hold * curves["steps"]) & np.isfinite(curves["loss"])
        curves = curves.where(keep, "in the warm-up or the cooldown")
        if not len(curves):
            raise Undecided("no learning curve was measured between warm-up and cooldown")
        of = {run: i for i, run in enumerate(runs["run"])}
        rows = np.array([of[run] for run in curves["run"]])
        N, D = runs["params"][rows], curves["tokens"]
        return curves.with_columns(params=N, flops=FLOP_PER_PARAM_TOKEN * N * D, seed=runs["seed"][rows])

    # --- the three approaches

    @property
    def envelope(self) -> Approach:
        return self.approach(1)

    @property
    def profiles(self) -> Approach:
        return self.approach(2)

    @property
    def surface(self) -> Approach:
        return self.approach(3)

    @property
    def law(self) -> Fit[Chinchilla]:
        """L(N, D) of approach 3."""
        fitted = self.surface.fit
        assert fitted is not None
        return fitted

    def approach(self, number: int) -> Approach:
        """One of the three. What it lacks is remembered too: a doubtful surface is not fitted once for each figure."""
        if number not in self._tried:
            try:
                self._tried[number] = FIND[number](self.runs, self.draws)
            except MISSING as error:
                self._tried[number] = Undecided.of(error)
        outcome = self._tried[number]
        if isinstance(outcome, Undecided):
            raise outcome
        return outcome

    @functools.cached_property
    def _tried(self) -> dict[int, Approach | Undecided]:
        return {}

    def found(self, *numbers: int) -> list[Approach]:
        """Those of these approaches that the runs allow, of all three where none is named.

        Raises:
            Undecided: they allow none, for the reason that the first has.
        """
        found, reasons = [], []
        for number in numbers or NUMBERS:
            try:
                found.append(self.approach(number))
            except MISSING as error:
                reasons.append(Undecided.of(error))
        if not found:
            raise reasons[0]
        return found

    @functools.cached_property
    def smaller(self) -> Table:
        """The admitted runs of at most 1 / HELD_OUT of the largest compute that has a minimum between two sizes."""
        largest = max(point.flops for point in self.profiles.found.points)
        return self.runs.where(self.runs["flops"] <= largest / HELD_OUT * 1.01, "held out")

    # --- other analyses of the same runs: exponents a

    @functools.cached_property
    def choices(self) -> dict[int, dict[str, float]]:
        """The exponent a by other defensible analyses, by approach; one that fails is absent."""
        options: dict[int, dict[str, Callable[[], Allocation]]] = {
            number: {
                words: lambda find=find, runs=runs: find(runs, _measured(runs)).found
                for words, runs in self._other_rows.items()
            }
            for number, find in FIND.items()
            if number != 3
        }
        options[1]["learning curves at the constant rate"] = lambda: envelope(self.trunk_curves, draws=0)
        options[2]["Akima's interpolant"] = lambda: approaches.by_profiles(self.runs, self.draws[:, :1], "akima").found
        options[3] = {words: lambda one=one: one.found for words, one in self.other_surfaces.items()}
        return {number: {words: found.a for words, found in _those_found(own)} for number, own in options.items()}

    @functools.cached_property
    def other_surfaces(self) -> dict[str, Approach]:
        """Approach 3 by other defensible choices of counting, loss, form and rows; one that is not sound is absent."""
        runs = self.runs
        long = runs.where(runs["tokens"] >= LEAST_TOKENS * runs["params"], "few tokens per parameter")
        rows = {**self._other_rows, f"runs of {LEAST_TOKENS:.0f} tokens per parameter or more": long}
        options: dict[str, Callable[[], Approach]] = {
            words: lambda own=own: approaches.by_surface(own, _measured(own)) for words, own in rows.items()
        }
        options["squared error"] = lambda: approaches.by_surface(runs, _measured(runs), "squared")
        options[OTHER_FORM] = lambda: approaches.by_surface(runs, _measured(runs), law=QNorm)
        return dict(_those_found(options))

    @functools.cached_property
    def _other_rows(self) -> dict[str, Table]:
        """The runs by the other count, and those that another rule would admit."""
        runs = self.runs
        rules = {
            "without the smallest size": runs["params"] > runs["params"].min(),
            f"warm-ups of at most {digits.percent(MOST_WARMUP)} of the run": runs["warmup"] <= MOST_WARMUP,
            f"runs of {ONSETS:.0f} onsets or more": runs["tokens"] >= ONSETS * runs["onset"],
        }
        return {INNER.words: self.recounted(INNER)} | {words: runs.where(keep, words) for words, keep in rules.items()}

    # --- claims

    @functools.cached_property
    def exponents(self) -> tuple[Claim, ...]:
        """a and b of each approach: Table 2."""
        return tuple(claim for number in NUMBERS for claim in (self.a(number), self.b(number)))

    def a(self, number: int) -> Claim:
        """The exponent of N_opt(C)."""
        paper = reference.value(f"approach{number}_a", PAPER)
        reason, note = (LOCAL, REFITTED) if number == 3 else (SMALL, "")
        claim = Claim(f"a, approach {number}", "Table 2", paper, enough=SHARE, note=note, above=reason, below=reason)
        return self._of_line(claim, number, lambda found: found.a, lambda found: found.a_interval, lambda a: a)

    @functools.cached_property
    def on_texts(self) -> Mapping[str, Self]:
        """The same on each of the other texts, where studies of them were given."""
        return {text: type(self)(experiments) for text, experiments in self.beside.items()}

    def b(self, number: int) -> Claim:
        """The exponent of D_opt(C)."""
        paper = reference.value(f"approach{number}_b", PAPER)
        reason = LOCAL if number == 3 else SMALL
        claim = Claim(f"b, approach {number}", "Table 2", paper, enough=SHARE, independent=False, note=FOLLOWS,
                      above=reason, below=reason)  # fmt: skip
        return self._of_line(claim, number, lambda found: found.b, lambda found: found.b_interval, lambda a: 1 - a)

    def _of_line(
        self,
        claim: Claim,
        number: int,
        value: Callable[[Allocation], float],
        interval: Callable[[Allocation], Interval],
        of_a: Callable[[float], float],
    ) -> Claim:
        try:
            approach = self.approach(number)
        except MISSING as error:
            return claim.without(error)
        found = approach.found
        ends = interval(found)
        if approach.fit is not None:
            ends = wider(ends, approach.fit.derived(lambda law: of_a(law.beta / (law.alpha + law.beta))))
        return dataclasses.replace(
            claim,
            ours=value(found),
            interval=ends if math.isfinite(ends[0]) else None,
            others=lambda: [of_a(a) for a in self.choices[number].values()],
        )

    @functools.cached_property
    def constants(self) -> tuple[Claim, ...]:
        """The constants of L(N, D), eq. 10."""
        kinds = {"alpha": EXPONENT, "beta": EXPONENT, "E": None, "A": None, "B": None}
        units = {"E": "nats/token", "A": "nats/token", "B": "nats/token"}
        return tuple(
            self._of_law(
                Claim(name, "(10)", reference.value(name, PAPER), enough=enough, unit=units.get(name, ""),
                      independent=name != "beta", note=COUNTED_ONCE if name == "beta" else "", above=LOCAL,
                      below=LOCAL),
                name,
            )
            for name, enough in kinds.items()
        )  # fmt: skip

    def _of_law(self, claim: Claim, name: str) -> Claim:
        found = measured(claim, lambda: self.law, name)
        if found.ours is None:
            return found

        def others() -> list[float]:
            return [one.fit.constants[name] for one in self.other_surfaces.values() if one.fit is not None]

        return dataclasses.replace(found, others=others)

    @functools.cached_property
    def middle(self) -> float:
        """The geometric middle of the budgets with a minimum inside, in FLOP."""
        return self.profiles.found.C_1

    @functools.cached_property
    def ratios(self) -> tuple[Claim, ...]:
        """Tokens per parameter at the middle of our budgets."""
        claims = []
        for number in NUMBERS:
            claim = Claim(
                f"tokens per parameter, approach {number}", "Table 3", None, note="at the middle of our budgets"
            )
            try:
                approach, C = self.approach(number), self.middle
            except MISSING as error:
                claims.append(claim.without(error))
                continue
            found = approach.found
            x = np.log(C / found.C_1)
            ends = frontier.percentile_interval(np.exp(found.draws @ np.array([-1.0, -x, 1.0, x])))
            if approach.fit is not None:
                ends = wider(ends, approach.fit.derived(lambda law, C=C: _ratio(law, C), log=True))
            ours = float(found.tokens(C) / found.params(C))
            interval = ends if math.isfinite(ends[0]) else None
            claims.append(dataclasses.replace(claim, ours=ours, interval=interval))
        return tuple(claims)


def _ratio(law: Chinchilla, C: float) -> float:
    """The best tokens per parameter at this compute."""
    return float(frontier.chinchilla_optimum(law, C).tokens_per_param)


def wider(by_luck: Interval, by_fit: Prediction) -> Interval:
    """From the lower to the upper end of two intervals.

    Redrawn seeds know nothing of how far the form misses the runs; the covariance of the fit, by trunk, does. An
    interval of NaN, where no luck is known, stays one.
    """
    return float(np.minimum(by_luck[0], by_fit.low)), float(np.maximum(by_luck[1], by_fit.high))


def _measured(runs: Table) -> Draws:
    return np.log(runs["loss"])[:, None]


def _those_found(options: Mapping[str, Callable[[], T]]) -> Iterator[tuple[str, T]]:
    """What came out of these analyses, by their words; what a choice lacks is no estimate of its own."""
    for words, find in options.items():
        try:
            yield words, find()
        except MISSING:
            continue
