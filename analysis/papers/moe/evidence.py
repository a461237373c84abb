"""What the figures share: how much lower the loss is with experts, and two laws of it."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from analysis import reference
from analysis.confidence import LEVEL, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Fit, Interval
from analysis.laws import Clark, Ludziejewski
from analysis.papers.claim import MISSING, Claim, Undecided, those
from analysis.papers.evidence import Evidence, in_context
from analysis.plan import experts
from analysis.table import Table

Array = NDArray[np.float64]

CLARK, JOINT = "Clark et al., Table 3", "Ludziejewski et al."
PAPER = "clark2022"
# Half-widths of 95 % intervals that decide.
SLOPE, INTERACTION, GAIN, EXPONENT = 0.02, 0.01, 0.02, 0.02
FEWEST = 3  # sizes that tell how a slope changes with N
RANGE = (
    "the paper's sizes are 15 million and more, of which every second layer is routed, on 1.3e11 tokens; a model this "
    "small has few tokens for each expert"
)
JOINT_RANGE = "the paper's models are a thousand times as large, sent by a learned router"


@dataclasses.dataclass(frozen=True, eq=False)
class Gains:
    """What experts change, in ln of the loss, at each size, number of experts above 1 and length.

    Attributes:
        params, experts, tokens: of each setting. (setting,)
        change: ln of the loss over that of the dense model, the mean over the seeds that both have.
        half: of its interval by the seed noise; infinite where that is not known.
    """

    params: Array
    experts: Array
    tokens: Array
    change: Array
    half: Array

    def at(self, **columns: float) -> NDArray[np.intp]:
        """The settings with these values."""
        keep = np.ones(len(self.change), bool)
        for name, value in columns.items():
            keep &= getattr(self, name) == value
        return np.flatnonzero(keep)


class MoE(Evidence):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    @functools.cached_property
    def runs(self) -> Table:
        """Sizes, experts and lengths, with the number of their trunk."""
        runs = in_context(self.need("experts"))
        names = [f"{n} {e} {s}" for n, e, s in zip(runs["params"], runs["experts"], runs["seed"], strict=True)]
        return runs.with_columns(trunk=np.unique(names, return_inverse=True)[1].astype(float))

    @functools.cached_property
    def longest(self) -> Table:
        """Those of the most tokens, of which Clark's law is."""
        return self.runs.where(self.runs["tokens"] == self.runs["tokens"].max(), "shorter")

    @functools.cached_property
    def gains(self) -> Gains:
        runs = self.runs
        loss = {
            key: math.log(value)
            for *key, value in zip(*(runs[c] for c in ("params", "experts", "tokens", "seed", "loss")), strict=True)
            for key in [tuple(key)]
        }
        sigma, degrees = (self.noise.sigma, self.noise.degrees) if self.noise else (math.nan, 0)
        found = []
        for N, E, D in sorted({key[:3] for key in loss if key[1] > 1}):
            each = [
                value - loss[N, 1.0, D, key[3]]
                for key, value in loss.items()
                if key[:3] == (N, E, D) and (N, 1.0, D, key[3]) in loss
            ]
            if each:
                t = float(t_quantile(LEVEL, np.array(degrees))) if degrees else math.inf
                half = t * sigma * math.sqrt(2 / len(each)) if degrees else math.inf
                found.append((N, E, D, float(np.mean(each)), half))
        if not found:
            raise Undecided("no size has a run with one expert and one with more at the same length")
        return Gains(*np.array(found).T)

    # --- Clark's law

    @functools.cached_property
    def clark(self) -> Fit[Clark]:
        """The law of the longest runs, with the paper's saturation of a hash: our E reach neither end of it."""
        return self._clark(self.longest, "squared")

    def _clark(self, table: Table, loss: str, router: str = "hash") -> Fit[Clark]:
        """router: whose saturation, of those in the paper's Table 3."""
        if len(np.unique(table["params"])) < FEWEST:
            raise Undecided(f"fewer than {FEWEST} sizes have runs with experts")
        fixed = {name: printed(name, router) for name in ("E_start", "E_max")}
        found = fit("clark", table, loss=loss, fixed=fixed)  # pyright: ignore[reportArgumentType]
        if not found.sound:
            raise Undecided(f"the law is doubtful: {found.why}")
        return found

    @functools.cached_property
    def sooner(self) -> Fit[Clark]:
        """The same with the saturation of the paper's learned router, which begins at fewer experts."""
        return self._clark(self.longest, "squared", "rlr")

    @functools.cached_property
    def _others(self) -> list[Fit[Clark]]:
        """By Huber's loss, without the smallest size, without the most experts, with another saturation."""
        runs = self.longest
        options = [
            lambda: self._clark(runs, "huber"),
            lambda: self._clark(runs.where(runs["params"] > runs["params"].min(), "smallest"), "squared"),
            lambda: self._clark(runs.where(runs["experts"] < runs["experts"].max(), "most experts"), "squared"),
            lambda: self.sooner,
        ]
        return those(*options)

    def _by_clark(self, claim: Claim, value: Callable[[Clark], float]) -> Claim:
        try:
            found = self.clark.derived(value)
        except MISSING as error:
            return claim.without(error)
        return dataclasses.replace(
            claim,
            ours=float(found.value),
            interval=_ends(float(found.low), float(found.high)),
            others=lambda: [float(value(other.law)) for other in self._others],
        )

    def slope(self) -> Claim:
        """The exponent of the loss in the saturated number of experts, at our largest size."""
        N = float(self.runs["params"].max()) if "experts" in self.experiments else math.nan
        claim = Claim("b + c log N", CLARK, printed("b") + printed("c") * math.log10(N), enough=SLOPE, above=RANGE,
                      below=RANGE, note=f"at N = {N:,.0f}, where the paper's is extrapolated")  # fmt: skip
        return self._by_clark(claim, lambda law: law.b + law.c * math.log10(N))

    def interaction(self) -> Claim:
        """By how much that exponent changes with each factor of 10 in N."""
        claim = Claim("c", CLARK, printed("c"), enough=INTERACTION, above=RANGE, below=RANGE)
        return self._by_clark(claim, lambda law: law.c)

    def most(self) -> Claim:
        """The loss with the most experts over the dense model's, at the largest size and length."""
        claim = Claim("loss with the most experts / dense", CLARK, None, enough=GAIN, above=RANGE, below=RANGE)
        try:
            gains = self.gains
            at = np.lexsort((gains.tokens, gains.experts, gains.params))[-1]
        except MISSING as error:
            return claim.without(error)
        N, E, change, half = gains.params[at], gains.experts[at], gains.change[at], gains.half[at]
        paper = hashed()
        return dataclasses.replace(
            claim,
            paper=float(paper(N, E) / paper(N, 1.0)),
            note=f"{E:.0f} experts at N = {N:,.0f}, where the paper's is extrapolated",
            ours=math.exp(change),
            interval=_ends(math.exp(change - half), math.exp(change + half)),
        )

    # --- the joint law

    @functools.cached_property
    def joint(self) -> Fit[Ludziejewski]:
        """L(N, D, E) of runs of all lengths, with the paper's saturation."""
        theirs = experts.published()
        fixed = {name: float(getattr(theirs, name)) for name in ("E_start", "E_max")}
        found = fit("ludziejewski", self.runs, loss="squared", fixed=fixed, clusters="trunk")
        if not found.sound:
            raise Undecided(f"the joint law is doubtful: {found.why}")
        return found

    def joint_constant(self, name: str) -> Claim:
        """gamma or zeta: what experts change in the exponent of N, and of D."""
        claim = Claim(name, JOINT, float(getattr(experts.published(), name)), enough=EXPONENT, above=JOINT_RANGE,
                      below=JOINT_RANGE)  # fmt: skip
        try:
            found = self.joint
        except MISSING as error:
            return claim.without(error)
        return dataclasses.replace(claim, ours=found.constants[name], interval=_ends(*found.intervals[name]))

    # --- routings and rates

    @functools.cached_property
    def routings(self) -> Mapping[str, tuple[float, float, float]]:
        """ln of the loss over the dense model's by routing, the half-width of its interval, and the experts."""
        runs = in_context(self.need("routings"))
        dense = runs["experts"] == 1
        if not dense.any() or dense.all():
            raise Undecided("the dense model, or all others, have not finished")
        half = math.inf
        if self.noise and self.noise.degrees:
            t = float(t_quantile(LEVEL, np.array(self.noise.degrees)))
            half = t * self.noise.sigma * math.sqrt(2)
        base = np.log(runs["loss"][dense]).mean()
        return {
            str(way): (float(np.log(loss) - base), half, float(E))
            for way, loss, E in zip(runs["routing"], runs["loss"], runs["experts"], strict=True)
            if E > 1
        }

    @functools.cached_property
    def rates(self) -> Mapping[float, dict[float, float]]:
        """By size, the loss at each learning rate over that at the rule's, less 1, by the rate over the rule's."""
        runs = in_context(self.need("rates"))
        found: dict[float, dict[float, float]] = {}
        for N in np.unique(runs["params"]):
            own = runs["params"] == N
            rate, loss = runs["learning_rate"][own], runs["loss"][own]
            middle = float(np.sort(rate)[len(rate) // 2])
            if len(rate) < 3:
                continue
            base = float(loss[rate == middle].mean())
            found[float(N)] = {float(r / middle): float(L / base - 1) for r, L in zip(rate, loss, strict=True)}
        if not found:
            raise Undecided("no size has finished at three learning rates")
        return found


def printed(name: str, router: str = "hash") -> float:
    """A constant of Clark et al.'s law of models that are routed so: hash, rlr or sbase."""
    return reference.value(f"{router}_{name}", PAPER)


def hashed() -> Clark:
    """That law."""
    return Clark(**{one.name: printed(one.name) for one in Clark.constants()})


def _ends(low: float, high: float) -> Interval | None:
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None
