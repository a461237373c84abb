"""What the figures share: the runs as curves, differences that seeds share, laws of three schedules, claims."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis import digits, schedule_forecast
from analysis.confidence import mean_interval
from analysis.laws.schedules import OfSchedules
from analysis.papers.chinchilla import cycles
from analysis.papers.chinchilla.growth import joined_words
from analysis.papers.claim import MISSING, Claim, Undecided
from analysis.papers.evidence import Evidence, paired_half
from analysis.papers.schedules import collapse, unseen
from analysis.papers.schedules.collapse import Collapse
from analysis.papers.schedules.unseen import Errors
from analysis.schedule_forecast import Curve
from configs.schedules.experiments import FITTED, GENTLE, SCHEDULES, SHARES, SLOW
from scaling.config import OptimConfig, RunConfig

Array = NDArray[np.float64]

LAWS = {"tissue": "annealing", "luo": "multi-power", "functional": "functional"}  # as the page calls them
UNSEEN = tuple(name for name in SCHEDULES if name not in FITTED)
FIFTH = SHARES.index(0.2)
# Half-widths of 95 % intervals that decide.
ERROR = 0.003  # of a loss, mean over curves
WORST = 0.01
CHANGE = 0.005  # of a loss
LENGTH = 0.25  # of the run
SEEDS = 3  # from which an interval of a mean over them is told
LENGTHS = 4  # of cosines, from which a best one is told
EARLY = 0.25  # of the tokens, by which a model must use its context: else its curve shows when that begins
LUO, FIG_A1, HAEGELE_3, HAEGELE_5 = (
    "Luo et al., test curves of 25M",
    "Hoffmann et al., Figure A1",
    "Haegele et al., Figure 3",
    "Haegele et al., Figure 5",
)
SHORT = "our runs are short and of models a thousandth as large, and the law is fitted to points of three of them"
SHAPE = (
    "our cooldowns fall as 1 − sqrt of the time, and theirs is the better of two constant rates, where the cosine has "
    "one rate of another sweep"
)
RATE = "our cosines fall to zero, the paper's to a tenth of the peak, and our peak rates are those of another sweep"


class Trained(NamedTuple):
    """A finished run."""

    config: RunConfig
    curve: Curve

    @property
    def loss(self) -> float:
        return float(self.curve.loss[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class Cosines:
    """Cosines as long as the run and longer, after the tokens of the shortest.

    Attributes:
        rate: peak.
        steps: updates of the shortest.
        cycle: lengths in those of the run. (c,)
        ln_loss: of each seed that has all. (seed, c)
    """

    rate: float
    steps: int
    cycle: Array
    ln_loss: Array

    @property
    def change(self) -> Array:
        """Of ln loss against the cosine of the run's own length. (seed, c)"""
        return self.ln_loss - self.ln_loss[:, :1]

    def best(self) -> Array:
        """The length of the least loss by a parabola in ln length through the lengths up to 2, of each seed. (seed,)"""
        near = self.cycle <= 2.0
        x = np.log(self.cycle[near])
        found = []
        for y in self.change[:, near]:
            curved, slope, _ = np.polyfit(x, y, 2)
            found.append(float(np.exp(np.clip(-slope / (2 * curved), 0, x[-1]))) if curved > 0 else np.nan)
        return np.array(found)


class Schedules(Evidence):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    # --- the runs

    def trained(self, experiment: str) -> list[Trained]:
        """The finished runs of an experiment."""
        table, records = self.need(experiment), self.experiments[experiment]
        return [
            Trained(records.configs[run], schedule_forecast.of_run(records.curves, run, records.configs[run]))
            for run in table["run"].tolist()
        ]

    def arms(self, experiment: str, arms: Mapping[str, Callable[[OptimConfig], bool]]) -> dict[str, dict[int, Trained]]:
        """Runs by arm and seed."""
        found: dict[str, dict[int, Trained]] = {name: {} for name in arms}
        for run in self.trained(experiment):
            for name, is_of in arms.items():
                if is_of(run.config.optim):
                    found[name][run.config.seed] = run
        return found

    @functools.cached_property
    def nine(self) -> dict[str, dict[int, Trained]]:
        """The runs of the nine schedules, by name and seed; a schedule may have none yet."""
        return self.arms("nine", {name: functools.partial(_has, fields) for name, fields in SCHEDULES.items()})

    @functools.cached_property
    def seeds(self) -> tuple[int, ...]:
        """Seeds with all of the nine."""
        common = set.intersection(*(set(own) for own in self.nine.values()))
        if not common:
            lacking = [name for name, own in self.nine.items() if not own]
            raise Undecided(f"no seed has all nine schedules; without a run: {', '.join(lacking) or 'none'}")
        return tuple(sorted(common))

    def curves_of_nine(self, names: Sequence[str], seed: int) -> list[Curve]:
        return [self.nine[name][seed].curve for name in names]

    @functools.cached_property
    def ln_ends(self) -> Array:
        """ln loss at the end of the nine. (seed, schedule)"""
        return np.log([[self.nine[name][seed].loss for name in SCHEDULES] for seed in self.seeds])

    # --- laws of three schedules

    @functools.cached_property
    def _known(self) -> dict[str, list[OfSchedules]]:
        return {}

    def known(self, law: str) -> list[OfSchedules]:
        """A law of the three schedules, of each seed."""
        if law not in self._known:
            self._known[law] = [unseen.known(law, self.curves_of_nine(FITTED, seed)) for seed in self.seeds]
        return self._known[law]

    def errors(self, law: str) -> list[Errors]:
        """Of a law on the six schedules that it has not seen, for each seed."""
        return [
            unseen.errors(found, self.curves_of_nine(UNSEEN, seed))
            for seed, found in zip(self.seeds, self.known(law), strict=True)
        ]

    def constants(self, law: str) -> list[Claim]:
        """Those of a law of three schedules; the intervals are of their logarithms over seeds.

        Raises:
            Undecided: no seed has all nine schedules.
        """
        found, at_edge = self.known(law), self.at_edge(law)
        claims = []
        for one in found[0].constants():
            claim = Claim(f"{one.name}, {LAWS[law]} law", "three schedules", None, unit=one.unit)
            each = np.array([float(getattr(own, one.name)) for own in found])
            if one.name in at_edge:
                claims.append(claim.without(Undecided("of a seed it is 0, or at the edge of what was tried")))
            else:
                claims.append(self._of_seeds(claim, each))
        return claims

    def at_edge(self, law: str) -> list[str]:
        """Constants of a law of three schedules that are 0, or at the edge of what was tried, of a seed."""
        found, kind = self.known(law), schedule_forecast.LAWS[law]
        values = {one: np.array([float(getattr(own, one.name)) for own in found]) for one in found[0].constants()}
        return [one.name for one, each in values.items() if not schedule_forecast.inside(kind, one, each)]

    def ends(self, law: str) -> Array:
        """Predicted over measured loss at the end of the nine, less 1. (seed, schedule)"""
        rows = []
        for seed, found in zip(self.seeds, self.known(law), strict=True):
            runs = [self.nine[name][seed] for name in SCHEDULES]
            rows.append([_end(found, run.curve.rates) / run.loss - 1 for run in runs])
        return np.array(rows)

    def predicted(self, law: str, rates: Array, step: int | None = None) -> float:
        """ln loss after so many updates of a schedule, or at its end, the mean over the laws of all seeds."""
        return float(np.mean([np.log(_end(found, rates, step)) for found in self.known(law)]))

    def error(self, law: str, name: str, paper: float | None, enough: float) -> Claim:
        """A number of `Errors`, as a claim."""
        words = {"relative": "mean relative error", "worst": "worst relative error of a curve"}[name]
        note = "the mean over six curves of the worst of each" if name == "worst" else ""
        claim = Claim(f"{words}, {LAWS[law]} law", LUO, paper, enough=enough, above=SHORT, below=SHORT, note=note)
        if paper is None:
            claim = dataclasses.replace(claim, source="six unseen schedules", enough=None)
        try:
            each = np.array([getattr(one, name) for one in self.errors(law)])
        except MISSING as error:
            return claim.without(error)
        return self._of_seeds(claim, each)

    # --- cooldowns

    @functools.cached_property
    def cooldowns(self) -> Mapping[float, Array]:
        """ln loss of cooldowns over SHARES against the tuned cosine, by the share of its peak. (seed, share)"""
        names = ("wsd 5 %", "wsd 10 %", "wsd 20 %", "wsd 40 %")
        found = {}
        arms = {1.0: [self.nine[name] for name in names]}
        try:
            own = self.arms(
                "gentle",
                {f"{share:g}": functools.partial(_has, {"schedule": "wsd", "decay": share}) for share in SHARES},
            )
            arms[GENTLE] = list(own.values())
        except Undecided:
            pass
        for factor, each in arms.items():
            seeds = sorted(set.intersection(set(self.nine["cosine"]), *(set(one) for one in each)))
            if seeds:
                cosine = np.log([[self.nine["cosine"][seed].loss] for seed in seeds])
                found[factor] = np.log([[one[seed].loss for one in each] for seed in seeds]) - cosine
        if not found:
            raise Undecided("no seed has a cosine and the cooldowns of one rate")
        return found

    @functools.cached_property
    def matched(self) -> Claim:
        """A fifth of cooldown against the cosine."""
        claim = Claim("20 % cooldown over the cosine", HAEGELE_3, 0.0, enough=CHANGE, above=SHAPE, below=SHAPE,
                      note="relative loss")  # fmt: skip
        return self._cooldown(claim, lambda change: change[:, FIFTH])

    @functools.cached_property
    def plateau(self) -> Claim:
        """What a cooldown of two fifths gains over one of a fifth."""
        claim = Claim("40 % cooldown over one of 20 %", HAEGELE_5, 0.0, enough=CHANGE, above=SHAPE, below=SHAPE,
                      note="relative loss; in the paper the gain no longer grows beyond about 20 %")  # fmt: skip
        return self._cooldown(claim, lambda change: change[:, SHARES.index(0.4)] - change[:, FIFTH])

    @property
    def better(self) -> float:
        """The constant rate, as a share of the cosine's peak, whose cooldowns of a fifth end lowest."""
        return min(self.cooldowns, key=lambda factor: float(self.cooldowns[factor][:, FIFTH].mean()))

    def cooldown_luck(self, factor: float) -> float:
        """Half-width of the interval of a difference of two of one rate; with one seed, by those of the other rate."""
        if len(self.cooldowns[factor]) > 1:
            return half_of_changes(self.cooldowns[factor])
        several = [change for change in self.cooldowns.values() if len(change) > 1]
        return min((half_of_changes(one) * float(np.sqrt(len(one))) for one in several), default=np.inf)

    def _cooldown(self, claim: Claim, value: Callable[[Array], Array]) -> Claim:
        """From the better constant rate; others are choices."""
        try:
            cooldowns, better = self.cooldowns, self.better
        except MISSING as error:
            return claim.without(error)
        claim = dataclasses.replace(claim, note=f"{claim.note}; from {better:g} times the cosine's peak")
        half = self.cooldown_luck(better)
        others = [float(np.expm1(value(each).mean())) for factor, each in cooldowns.items() if factor != better]
        return _within(claim, float(np.expm1(value(cooldowns[better]).mean())), half, others)

    # --- cosines longer than the run

    def cosines(self, experiment: str) -> Cosines:
        """Those of `cycle`, at the rule's rate, or of `slow`.

        Raises:
            Undecided: too few lengths have finished, or no seed has all that have.
        """
        runs = self.need(experiment)
        D = float(runs["tokens"].min())
        rate = float(np.median(runs["learning_rate"]))
        own = runs.where(np.isclose(runs["learning_rate"], rate), "another peak rate")
        table = cycles.at(self.curves_of(own), own, D)
        by = dict(zip(zip(table["seed"].tolist(), table["cycle"].tolist(), strict=True), table["loss"], strict=True))
        lengths = np.unique(table["cycle"])
        seeds = [seed for seed in np.unique(table["seed"]).tolist() if all((seed, c) in by for c in lengths.tolist())]
        if not seeds or len(lengths) < 2 or not np.isclose(lengths[0], 1):
            raise Undecided(
                f"no seed has all of the {len(lengths)} lengths of the cosine that have finished; wanted that of the "
                "run and another"
            )
        steps = round(float(D / runs["batch_tokens"][0]))
        return Cosines(rate, steps, lengths, np.log([[by[seed, c] for c in lengths.tolist()] for seed in seeds]))

    def luck(self, found: Cosines) -> float:
        """Half-width of the interval of a difference of two of them; with one seed, by the seeds of `cycle`."""
        if len(found.ln_loss) > 1:
            return paired_half(found.ln_loss)
        try:
            several = self.cosines("cycle").ln_loss
        except MISSING:
            return np.inf
        return paired_half(several) * float(np.sqrt(len(several) / len(found.ln_loss)))

    def best_length(self, experiment: str) -> Claim:
        """The length of the cosine with the least loss after the run's tokens."""
        at = "the tuned rate" if experiment == "cycle" else f"{SLOW:g} of it"
        claim = Claim(f"length of the best cosine at {at}", FIG_A1, 1.0, enough=LENGTH, above=RATE, below=RATE,
                      unit="of the run")  # fmt: skip
        if experiment != "cycle":
            claim = dataclasses.replace(claim, paper=None, enough=None)
        try:
            found = self.cosines(experiment)
        except MISSING as error:
            return claim.without(error)
        if len(found.cycle) < LENGTHS:
            return claim.without(Undecided(f"{len(found.cycle)} lengths have finished; wanted {LENGTHS}"))
        each = found.best()
        if not np.isfinite(each).all():
            return claim.without(Undecided("the losses have no least value between 1 and 2 lengths of the run"))
        return self._of_seeds(claim, each)

    # --- one curve for all sizes

    @functools.cached_property
    def _sizes(self) -> tuple[list[Trained], Array]:
        """The finished runs with equal tokens per parameter that use their context early, and their compute."""
        runs = self.need("collapse")
        early = runs["onset"] <= EARLY * runs["tokens"]
        if not early.any():
            raise Undecided(f"every run of the experiment collapse has its onset beyond {EARLY:.0%} of its tokens")
        return [run for run, keep in zip(self.trained("collapse"), early, strict=True) if keep], runs["flops_head"][
            early
        ]

    @property
    def sizes(self) -> list[Trained]:
        return self._sizes[0]

    @functools.cached_property
    def collapse(self) -> Collapse:
        """Their curves on one scale, by the floor of the power law through their ends."""
        runs, flops = self._sizes
        floor = collapse.asymptote(flops, np.array([run.loss for run in runs]))
        return collapse.of([run.curve for run in runs], self._params, floor)

    @functools.cached_property
    def closest(self) -> Collapse:
        """The same by the floor at which they lie closest."""
        return collapse.closest([run.curve for run in self.sizes], self._params)

    @property
    def suited(self) -> Collapse:
        """By that floor, or by the other where it is not known: by which runs that leave are named."""
        try:
            return self.closest
        except Undecided:
            return self.collapse

    @property
    def _params(self) -> Array:
        return np.array([float(run.config.model.N) for run in self.sizes])

    @functools.cached_property
    def collapse_spread(self) -> Claim:
        """The spread of the curves of sizes over that of seeds."""
        claim = Claim("spread among sizes over that among seeds", "Qiu et al., supercollapse", 1.0,
                      note="the paper's is below 1")  # fmt: skip
        try:
            return dataclasses.replace(claim, ours=self.collapse.ratio)
        except MISSING as error:
            return claim.without(error)

    def _of_seeds(self, claim: Claim, each: Array) -> Claim:
        """A mean over seeds of a number above 0, and its interval: Student's, of the logarithms."""
        if len(each) < SEEDS:
            told = joined_words([digits.plain(float(value), 2) for value in each])
            seeds = f"{digits.plural(len(each), 'the one seed has', f'{len(each)} seeds have')} {told}"
            return claim.without(Undecided(f"{seeds}; {SEEDS} are wanted for an interval"))
        middle, low, high = np.exp(mean_interval(np.log(each)))
        return dataclasses.replace(claim, ours=float(middle), interval=(float(low), float(high)))


def _within(claim: Claim, value: float, half: float, others: Sequence[float]) -> Claim:
    interval = (value - half, value + half) if np.isfinite(half) else None
    return dataclasses.replace(claim, ours=value, interval=interval, others=lambda: others)


def half_of_changes(change: Array) -> float:
    """`paired_half` of arms whose changes against one more arm are known. change: (seed, arm)"""
    return paired_half(np.concatenate([change, np.zeros((len(change), 1))], axis=1))


def _has(fields: Mapping[str, object], optim: OptimConfig) -> bool:
    """Whether a run has this schedule."""
    wanted = {"schedule": OptimConfig.schedule, "decay": OptimConfig.decay, **fields}
    return all(getattr(optim, name) == value for name, value in wanted.items())


def _end(found: OfSchedules, rates: Array, step: int | None = None) -> float:
    return float(unseen.losses(found, rates, [float(step or len(rates))])[0])
