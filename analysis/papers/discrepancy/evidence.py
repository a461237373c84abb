"""What the page's figures share: the arms as they were read, N_opt(C) of each under each count, the steps between."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from analysis import digits, recount, reference
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.laws import Counted
from analysis.papers import evidence
from analysis.papers.claim import Claim, Undecided
from analysis.papers.known import measured
from analysis.recount import Arm, Best, Count, Moves
from analysis.registry import Registry
from analysis.table import Table
from scaling.errors import InputError

ARMS = ("long", "short", "matched", "tuned")
CONTROL = "control"
OF_MODEL = ("params_head", "n_layer", "n_ctx", "n_vocab", "d_attn", "onset")  # columns of runs that curves lack
OF_LAW = ("params", "params_head", "tokens", "loss", "bytes_per_token", "n_vocab")

# Half-widths of 95 % intervals that decide, whatever the value and the paper's.
EXPONENT = 0.1  # tells Kaplan's 0.73 from Hoffmann's 0.5
STEP = 0.05  # tells a step of 0.1 from none
WORTH = 0.25  # of f: tells 1 from a half

SOURCE = "Table 1"
SPAN = "our budgets span little more than one decade, and the exponent of models so small depends on where they lie"
FORM = "one power of N + f V d need not be right for models that are nearly all head"


@dataclasses.dataclass(frozen=True)
class Station:
    """A place on the walk: an arm under a count.

    Attributes:
        told: how the page names it.
        porian: the name of Porian et al.'s exponent there (RefinedWeb), in the published constants; empty for none.
    """

    told: str
    arm: str
    count: Count
    porian: str = ""

    @property
    def exponent(self) -> float | None:
        return reference.value(f"refinedweb_{self.porian}", "porian2024") if self.porian else None


KAPLAN = Station("Kaplan's way", "long", Count.KAPLAN, "a_reproduce_kaplan")
HEAD = Station("head counted", "long", Count.HEAD, "a_count_last_layer")
WARM = Station("short warm-up", "short", Count.HEAD, "a_correct_warmup")
DECAY = Station("matched decay", "matched", Count.HEAD, "a_cosine_decay")
TUNED = Station("tuned by size", "tuned", Count.HEAD, "a_tuned_no_decay")
WALK = (KAPLAN, HEAD, WARM, DECAY, TUNED)
WARM_FIRST = Station("short warm-up first", "short", Count.KAPLAN, "a_warmup_first")
ATTENTION = Station("attention counted too", "tuned", Count.ATTENTION, "attention_flops_a_tuned_no_decay")
TUNED_WITHOUT = Station("tuned, without the head", "tuned", Count.KAPLAN, "a_tuned_without_head")
CONTROL_HEAD = Station("control, head counted", CONTROL, Count.HEAD)
CONTROL_WITHOUT = Station("control, without the head", CONTROL, Count.KAPLAN)


@dataclasses.dataclass(frozen=True)
class Step:
    """What one change does to the exponent."""

    told: str
    before: Station
    after: Station

    @property
    def paper(self) -> float | None:
        """What it does to Porian et al.'s exponent."""
        before, after = self.before.exponent, self.after.exponent
        return None if before is None or after is None else round(after - before, 4)


STEPS = (
    Step("count the head", KAPLAN, HEAD),
    Step("shorten the warm-up", HEAD, WARM),
    Step("shorten the warm-up before the head is counted", KAPLAN, WARM_FIRST),
    Step("count the head after the warm-up is shortened", WARM_FIRST, WARM),
    Step("match the decay to each length", WARM, DECAY),
    Step("tune rate, batch and beta2", DECAY, TUNED),
    Step("count the attention too", TUNED, ATTENTION),
    Step("count the head on tuned runs", TUNED_WITHOUT, TUNED),
    Step("count the head at the control's vocabulary", CONTROL_WITHOUT, CONTROL_HEAD),
    Step("all of it", KAPLAN, TUNED),
)


class Discrepancy(evidence.Evidence):
    """The arms and what they say. Where something is missing, asking for it raises Undecided."""

    def __init__(
        self,
        experiments: evidence.Experiments,
        promised: Registry | None = None,
        beside: Mapping[str, evidence.Experiments] | None = None,
    ):
        super().__init__(experiments, promised, beside)
        self._best: dict[tuple[str, Count], Best] = {}
        self._choices: dict[tuple[str, Count], dict[str, float]] = {}
        self._laws: dict[tuple[str, ...], Fit[Counted]] = {}

    # --- runs

    def every_reading(self, arm: str) -> Table:
        """Every size of an arm after every number of tokens, whether its model used its context by then or not.

        At the ends of its runs where each has a decay of its own, else along its learning curves.
        """
        runs = self.need(arm)
        if (runs["schedule"] == "wsd").all():
            return runs
        curves = self.curves_of(runs)
        place = {run: i for i, run in enumerate(runs["run"])}
        at = np.array([place[run] for run in curves["run"]])
        curves = curves.with_columns(**{name: runs[name][at] for name in OF_MODEL if name in runs})
        return curves.where(np.isfinite(curves["loss"]), "no loss there")

    @functools.cached_property
    def _readings(self) -> dict[str, Table | Undecided]:
        found: dict[str, Table | Undecided] = {}
        for arm in (*ARMS, CONTROL):
            try:
                lacks = f"no model of the arm {arm} had begun to use its context when it was read"
                found[arm] = evidence.in_context(self.every_reading(arm), lacks)
            except Undecided as why:
                found[arm] = why
        return found

    def readings(self, arm: str) -> Table:
        """The readings of an arm after the onset of context use; the others are remembered with the reason."""
        found = self._readings[arm]
        if isinstance(found, Undecided):
            raise found
        return found

    @functools.cached_property
    def arms(self) -> Mapping[str, Arm]:
        """The curves of the arms that have readings."""
        return {arm: recount.arm(table) for arm, table in self._readings.items() if isinstance(table, Table)}

    @functools.cached_property
    def moves(self) -> Mapping[str, Moves]:
        """Of each arm: those of the arms are drawn together, the control's by itself."""
        together = {arm: self.arms[arm] for arm in ARMS if arm in self.arms}
        alone = {CONTROL: self.arms[CONTROL]} if CONTROL in self.arms else {}
        drawn = {group: recount.moves(curves) for group, curves in (("arms", together), (CONTROL, alone)) if curves}
        return {arm: drawn[CONTROL if arm == CONTROL else "arms"] for arm in self.arms}

    # --- N_opt(C)

    def best(self, at: Station) -> Best:
        """N_opt(C) there."""
        key = at.arm, at.count
        if key not in self._best:
            self.readings(at.arm)  # or it says why there are none
            curves = self.arms[at.arm]
            try:
                self._best[key] = recount.best(curves, at.count, self.moves[at.arm].of(at.arm, curves))
            except InputError as error:
                raise Undecided(f"arm {at.arm}, {at.count}: {error}; {_there(curves)}") from None
        return self._best[key]

    def choices(self, at: Station) -> dict[str, float]:
        """The exponent by other analyses of the same readings, by what is different; those that fail are missing."""
        key = at.arm, at.count
        if key not in self._choices:
            self._choices[key] = self._tried(at)
        return self._choices[key]

    def _tried(self, at: Station) -> dict[str, float]:
        curves, found = self.arms[at.arm], {"": self.best(at).a}
        for what, own, method in (
            ("by Akima's interpolant", curves, "akima"),
            ("without the smallest size", curves[1:], "parabola"),
            ("without the largest size", curves[:-1], "parabola"),
        ):
            with contextlib.suppress(InputError):
                found[what] = recount.best(own, at.count, method=method).a
        return found

    def exponent(self, at: Station) -> Claim:
        """The exponent of N_opt there, beside Porian et al.'s."""
        claim = Claim(f"a, {at.told}", SOURCE, at.exponent, enough=EXPONENT, above=SPAN, below=SPAN)
        try:
            found, others = self.best(at), self.choices(at).values()
        except Undecided as why:
            return claim.without(why)
        return _with(claim, found.a, found.interval(), (min(others), max(others)))

    def step(self, step: Step) -> Claim:
        """What a step does to the exponent: both sides from the same redrawn runs."""
        claim = Claim(step.told, SOURCE, step.paper, enough=STEP, independent=False, above=SPAN, below=SPAN)
        try:
            before, after = self.best(step.before), self.best(step.after)
            own = [self.choices(step.before), self.choices(step.after)]
        except Undecided as why:
            return claim.without(why)
        changes = [own[1][what] - own[0][what] for what in own[0] if what in own[1]]
        between = recount.interval(after.draws - before.draws)
        return _with(claim, after.a - before.a, between, (min(changes), max(changes)))

    # --- which count is right

    def law(self, *arms: str) -> Fit[Counted]:
        """L(N + f V d, D) of arms whose runs each have their own decay; in bytes of text where they are several."""
        if arms not in self._laws:
            self._laws[arms] = _fitted([self.readings(arm) for arm in arms])
        return self._laws[arms]

    def worth(self, told: str, *arms: str) -> Claim:
        """f, what a parameter of the head is worth, by the runs of these arms."""
        claim = Claim(f"f, {told}", "Pearce and Song (2024)", 1.0, enough=WORTH, above=FORM, below=FORM)
        return measured(claim, lambda: self.law(*arms), "f")


def _there(curves: Arm) -> str:
    """Which sizes of an arm have readings."""
    N = [curve.N[Count.KAPLAN] for curve in curves]
    sizes = f"N = {digits.short(min(N))}" + (f" to {digits.short(max(N))}" if len(N) > 1 else "")
    return f"so far {len(N)} {digits.plural(len(N), 'size has', 'sizes have')} readings, {sizes}"


def _fitted(tables: Sequence[Table]) -> Fit[Counted]:
    """A size's runs share a trunk, and are one cluster."""
    columns = {name: np.concatenate([table[name] for table in tables]) for name in OF_LAW}
    vocabulary = columns.pop("n_vocab")
    if len(tables) > 1:
        for name, power in (("loss", -1), ("tokens", 1)):
            columns[name] = columns[name] * columns["bytes_per_token"] ** power
    trunk = np.char.add(vocabulary.astype(str), columns["params"].astype(str))
    try:
        return fit(Counted, Table(columns | {"trunk": trunk}, np.arange(len(trunk))), loss="squared", clusters="trunk")
    except InputError as error:
        raise Undecided(error) from None


def _with(claim: Claim, ours: float, interval: tuple[float, float], over_choices: tuple[float, float]) -> Claim:
    known = interval if math.isfinite(interval[0]) else None
    return dataclasses.replace(claim, ours=ours, interval=known, over_choices=over_choices)
