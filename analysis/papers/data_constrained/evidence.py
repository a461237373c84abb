"""What the figures share: the runs by arm, the two laws on those without dropout and weight decay, and the claims.

N counts the embedding, as Muennighoff et al. do; without it is one of the choices that estimates range over.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis import digits, frontier, reference
from analysis.confidence import LEVEL, t_quantile
from analysis.fit.estimate import Fit, Interval
from analysis.laws import Chinchilla, Lovelace
from analysis.page.canvas import Shades
from analysis.papers import evidence
from analysis.papers.chinchilla.trunks import INNER, WHOLE, Counting, counted
from analysis.papers.claim import MISSING, Claim, Undecided, those
from analysis.papers.data_constrained import fills, repeats, rivals
from analysis.papers.data_constrained.rivals import Rivals
from analysis.table import Table

T = TypeVar("T")

Array = NDArray[np.float64]

PAPER = "muennighoff2023"
EXPERIMENTS = ("grid", "repeats", "dropout", "arms")
MOST_WARMUP = 1 / 16  # of a run: a shorter one measures how it begins
LONGER_WARMUP = 1 / 4  # in a choice of rows
# 8.7e9 parameters on 4.4e10 unique tokens, the largest of the paper that repeats; its loss over that on new tokens.
RATIO, EXCESS = 0.2, 2.3512 / 2.3367 - 1
MOST_RATIO = 1.0  # N / U up to which returns follow a line in ln(N / U), within their scatter
FEWEST_SETS = 3  # of unique tokens and sizes, for a line and something to tell its error
PUBLIC = 0.01098 / 0.01581  # the penalty's sum over that of effective data on the 182 runs, base constants published
FEWEST = 4  # trunks that turn, for two exponents and something to tell their error
# Half-widths of 95 % intervals that decide.
SMALL_SHARE = 0.01  # of a loss
WORTH = {4: 0.5, 16: 3.0}  # in U, by epochs
DECAY = 5.0  # R_D
SUMS = 0.3
POWER = 0.3

TEXT = "another text, another vocabulary and models a ten-thousandth as large"
REGULAR = "these runs have neither dropout nor weight decay, those of the paper have both"
TASKS = (
    "the paper's is of tasks at 4.2e9 parameters, ours the loss on held-out text of models that have little room for a "
    "second language"
)
STEEP = (
    "the exponents of the penalty depend on the epochs and the regularisation; that of the 182 public runs has delta "
    "0.160 and kappa 0.289"
)


class Arm(NamedTuple):
    """How runs are kept from learning by heart."""

    weight_decay: float
    dropout: float

    @property
    def words(self) -> str:
        parts = [
            *([f"weight decay {self.weight_decay:g}"] if self.weight_decay else []),
            *([f"dropout {self.dropout:g}"] if self.dropout else []),
        ]
        return ", ".join(parts) or "unregularised"


PLAIN, DROPOUT = Arm(0.0, 0.0), Arm(0.0, 0.1)


class ByRatio(NamedTuple):
    """A line in ln(N / U) through sets of unique tokens and sizes, by least squares; halves are of Student's intervals.

    Attributes:
        value, half: at N / U = RATIO.
        slope, slope_half: for each factor of e in N / U.
        sets: how many.
    """

    value: float
    half: float
    slope: float
    slope_half: float
    sets: int

    @classmethod
    def of(cls, x: Array, y: Array) -> "ByRatio":
        """x: ln(N / U / RATIO). (set,)"""
        rows = np.stack([np.ones(len(x)), x], axis=1)
        found, *_ = np.linalg.lstsq(rows, y, rcond=None)
        degrees = len(x) - 2
        scatter = float(np.sum((y - rows @ found) ** 2)) / degrees
        halves = t_quantile(LEVEL, degrees) * np.sqrt(scatter * np.diag(np.linalg.inv(rows.T @ rows)))
        return cls(float(found[0]), float(halves[0]), float(found[1]), float(halves[1]), len(x))

    def at(self, ratio: Array) -> Array:
        """The line at N / U."""
        return self.value + self.slope * np.log(ratio / RATIO)


class DataConstrained(evidence.Evidence):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    # --- runs

    @functools.cached_property
    def every_run(self) -> Table:
        """The finished runs of all experiments, with `_pool` (`repeats`)."""
        runs = self.need(*EXPERIMENTS)
        there = [self.experiments[name] for name in EXPERIMENTS if name in self.experiments]
        pools = {id: run.pool for records in there for id, run in records.configs.items()}
        return runs.with_columns(_pool=np.array([float(pools[id]) for id in runs["run"].tolist()]))

    def runs_of(self, arm: Arm, counting: Counting = WHOLE, warmup: float = MOST_WARMUP) -> Table:
        """The runs of an arm that are long beside their warm-up, with `trunk`.

        Raises:
            Undecided: there are none.
        """
        runs = counted(self.every_run, counting)
        decay = runs["weight_decay"] if runs.has("weight_decay") else np.zeros(len(runs))
        own = (np.nan_to_num(decay) == arm.weight_decay) & (runs["dropout"] == arm.dropout)
        runs = runs.where(own, "another arm")
        if runs.has("warmup"):
            runs = runs.where(runs["warmup"] <= warmup, f"a warm-up of over {warmup:.2g} of the run")
        if not len(runs):
            raise Undecided(f"no finished run with {arm.words} is long beside its warm-up")
        return repeats.numbered(runs)

    @functools.cached_property
    def plain(self) -> Table:
        """Those without dropout and weight decay."""
        return self.runs_of(PLAIN)

    @functools.cached_property
    def arms(self) -> Mapping[Arm, Table]:
        """By arm, without the plain one."""
        runs = self.every_run
        decay = np.nan_to_num(runs["weight_decay"]) if runs.has("weight_decay") else np.zeros(len(runs))
        found = {}
        for arm in sorted({Arm(float(w), float(p)) for w, p in zip(decay, runs["dropout"], strict=True)} - {PLAIN}):
            try:
                found[arm] = self.runs_of(arm)
            except Undecided:
                continue
        return found

    @functools.cached_property
    def shades(self) -> Shades:
        """One colour for each N."""
        return Shades.of(counted(self.every_run, WHOLE))

    # --- what repetition costs

    @functools.cached_property
    def returns(self) -> Mapping[Arm, Table]:
        """Repeated tokens beside new ones, `repeats.returns`, of the arms that have both.

        Raises:
            Undecided: none has.
        """
        found, why = {}, Undecided("no run has finished")
        for arm in (PLAIN, DROPOUT):
            try:
                found[arm] = repeats.returns(self.runs_of(arm))
            except Undecided as error:
                why = error
        if not found:
            raise why
        return found

    def by_ratio(self, arm: Arm, epochs: float, column: str, found: Table | None = None) -> "ByRatio":
        """How a column of the returns after so many epochs moves with N / U, up to MOST_RATIO.

        Raises:
            Undecided: fewer than FEWEST_SETS have that, or none on one side of RATIO.
        """
        found = self.returns.get(arm) if found is None else found
        x = values = np.zeros(0)
        if found is not None:
            ratio = found["params"] / found["unique_tokens"]
            own = (ratio <= MOST_RATIO) & np.isclose(found["epochs"], epochs) & np.isfinite(found[column])
            x, values = np.log(ratio[own] / RATIO), found[column][own]
        if len(values) < FEWEST_SETS or not x.min() < 0 < x.max():
            raise Undecided(
                f"{len(values)} sets of unique tokens were seen {epochs:g} times with {arm.words} by models of up to "
                f"{MOST_RATIO:g} parameter a token, beside as many new tokens; wanted {FEWEST_SETS} around N / U = "
                f"{RATIO:g}"
            )
        return ByRatio.of(x, values)

    def _at_ratio(self, claim: Claim, arm: Arm, epochs: float, column: str) -> Claim:
        """At N / U = RATIO, where the paper's largest run that repeats lies."""
        try:
            line = self.by_ratio(arm, epochs, column)
        except MISSING as error:
            return claim.without(error)

        def at(runs: Table) -> float:
            return self.by_ratio(arm, epochs, column, repeats.returns(runs)).value

        return dataclasses.replace(
            claim,
            ours=line.value,
            interval=(line.value - line.half, line.value + line.half),
            others=lambda: self._by_other_rows(at, arm),
        )

    def _by_other_rows(self, value: Callable[[Table], T], arm: Arm) -> list[T]:
        """With N without the embedding, with shorter runs too, and from the runs alone that use their context."""
        return those(
            lambda: value(self.runs_of(arm, INNER)),
            lambda: value(self.runs_of(arm, warmup=LONGER_WARMUP)),
            lambda: value(repeats.numbered(evidence.in_context(self.runs_of(arm)))),
        )

    def excess(self, arm: Arm) -> Claim:
        """The loss after four epochs over that on as many new tokens, less 1."""
        claim = Claim(
            f"loss of 4 epochs over new tokens − 1, {arm.words}",
            "Muennighoff et al., Figure 4",
            EXCESS,
            enough=SMALL_SHARE,
            note=f"at N / U = {RATIO:g}; the paper's is of 8.7e9 parameters on 4.4e10 tokens, with dropout 0.1 and "
            "weight decay 0.1",
            above=TEXT if arm.dropout else REGULAR,
            below=TEXT,
        )
        return self._at_ratio(claim, arm, 4, "excess")

    def worth(self, arm: Arm, epochs: int) -> Claim:
        """The new tokens that give the same loss, in U."""
        R = reference.value("R_D_star", PAPER)
        claim = Claim(
            f"{epochs} epochs in new tokens / U, {arm.words}",
            "(5)",
            float(1 + R * -np.expm1(-(epochs - 1) / R)),
            enough=WORTH[epochs],
            note=f"at N / U = {RATIO:g}; the paper's effective data are the same at any",
            above=TEXT,
            below=TEXT if arm.dropout else REGULAR,
        )
        return self._at_ratio(claim, arm, epochs, "worth")

    # --- code in place of repeats

    @functools.cached_property
    def filled(self) -> Table:
        """Code in place of repeats, `fills.beside_repeats`, of runs without dropout and weight decay."""
        runs = fills.with_shares(counted(self.need("filled"), WHOLE))
        return fills.beside_repeats(runs, self.runs_of(PLAIN, warmup=1.0), self.known_noise)

    @functools.cached_property
    def filled_place(self) -> tuple[float, float]:
        """N and U of the filled runs whose N / U is nearest RATIO."""
        places = zip(self.filled["params"], self.filled["unique_tokens"], strict=True)
        return min(places, key=lambda place: abs(np.log(place[0] / place[1] / RATIO)))

    def half_code(self, epochs: float) -> Claim:
        """The loss with half code over that of as many tokens of text alone, less 1."""
        claim = Claim(f"loss with half code over {epochs:g} epochs − 1", "Muennighoff et al., section 7", 0.0,
                      enough=SMALL_SHARE, above=TASKS, below=TASKS)  # fmt: skip
        try:
            found, (N, U) = self.filled, self.filled_place
            own = (found["params"] == N) & (found["unique_tokens"] == U) & (found["epochs"] == epochs)
            own &= found["share"] == 0.5
            if not own.any():
                raise Undecided(f"no run with half code is as long as {epochs:g} epochs of the same text")
        except MISSING as error:
            return claim.without(error)
        change, half = float(found["change"][own][0]), float(found["half"][own][0])
        note = f"at N / U = {N / U:.2g}; the paper: up to half code does no harm to tasks in natural language"
        return dataclasses.replace(claim, ours=change, interval=(change - half, change + half), note=note)

    # --- which law

    @functools.cached_property
    def base(self) -> Fit[Chinchilla]:
        """L(N, D) of new tokens."""
        return rivals.new_tokens(self.plain)

    @functools.cached_property
    def rivals(self) -> Rivals:
        """Both laws on the runs without dropout and weight decay."""
        return rivals.fitted(self.plain, self.base)

    @functools.cached_property
    def free(self) -> Rivals:
        """Both laws with all of their constants free."""
        return rivals.fitted(self.plain, None)

    @functools.cached_property
    def drawn(self) -> Mapping[str, Array]:
        """The constants of repetition and the ratio of the sums, trunks drawn again."""
        return self.rivals.drawn()

    @functools.cached_property
    def _other_rivals(self) -> list[Rivals]:
        """By other choices of rows and of N, and with all constants free."""

        def of(runs: Table) -> Rivals:
            return rivals.fitted(runs, rivals.new_tokens(runs))

        return [*self._by_other_rows(of, PLAIN), *those(lambda: self.free)]

    def _of_rivals(self, claim: Claim, name: str, value: Callable[[Rivals], float], own: str = "") -> Claim:
        """By the draws; of a constant also as far as the profile likelihood goes of the fit `own` that it is of.

        Draws end beside the optimum that they began at: alone they tell nothing of a constant that the runs leave open.
        """
        try:
            found, draws = self.rivals, self.drawn[name]
        except MISSING as error:
            return claim.without(error)

        kept = draws[np.isfinite(draws)]
        ends = frontier.percentile_interval(kept) if len(kept) else None
        if ends is not None and own:
            profile = found.fits[own].intervals[name]
            ends = (min(ends[0], profile[0]), max(ends[1], profile[1]))
        return dataclasses.replace(
            claim, ours=value(found), interval=ends, others=lambda: list(map(value, self._other_rivals))
        )

    @functools.cached_property
    def sums(self) -> Claim:
        """Which law fits better."""
        claim = Claim(
            "sum of the penalty over that of effective data",
            "182 public runs",
            PUBLIC,
            enough=SUMS,
            note="Huber's loss, the law of new tokens fixed; the paper's runs, fitted so, have 0.01098 and 0.01581",
            above=REGULAR,
            below=REGULAR,
        )
        return self._of_rivals(claim, "ratio", lambda found: found.ratio)

    @functools.cached_property
    def decay(self) -> Claim:
        """R_D of effective data."""
        claim = Claim("R_D", "(5)", reference.value("R_D_star", PAPER), enough=DECAY, unit="epochs",
                      note="the paper's own runs identify it weakly", above=TEXT, below=REGULAR)  # fmt: skip
        return self._of_rivals(claim, "R_D", lambda found: float(found.effective.law.R_D), "effective data")

    def power(self, name: str) -> Claim:
        """delta or kappa of the penalty."""
        paper = {"delta": 1.7, "kappa": 1.3}[name]
        claim = Claim(name, "Lovelace et al. (2026)", paper, enough=POWER, above=STEEP, below=STEEP)
        return self._of_rivals(claim, name, lambda found: float(getattr(found.penalty.law, name)), "penalty")

    # --- best epochs

    @functools.cached_property
    def turns(self) -> Table:
        """Where each trunk's loss is lowest, all runs of the arm whatever their warm-up."""
        return repeats.turns(self.runs_of(PLAIN, warmup=1.0))

    @functools.cached_property
    def turning(self) -> tuple[Array, Array, float]:
        """Best epochs = exp(c_0) N ** c_1 U ** c_2 by least squares over the trunks that turn: c, its covariance, and
        degrees of freedom.

        Raises:
            Undecided: too few turn.
        """
        at = self.turns
        own = at["turned"] > 0
        N, U = np.log(at["params"][own]), np.log(at["unique_tokens"][own])
        if own.sum() < FEWEST or len(np.unique(N)) < 2 or len(np.unique(U)) < 2:
            raise Undecided(
                f"{int(own.sum())} trunks have their lowest loss between others; {FEWEST} of two sizes and two sets of "
                "unique tokens tell how it moves"
            )
        x = np.column_stack([np.ones_like(N), N, U])
        y = np.log(at["epochs"][own])
        c, *_ = np.linalg.lstsq(x, y, rcond=None)
        degrees = len(y) - x.shape[1]
        if degrees < 1 or np.linalg.matrix_rank(x) < x.shape[1]:
            raise Undecided("N and U do not vary apart among the trunks that turn")
        scatter = float(np.sum((y - x @ c) ** 2)) / degrees
        return c, scatter * np.linalg.inv(x.T @ x), float(degrees)

    def best_epochs(self, name: str) -> Claim:
        """The exponent of N or of U in the best epochs."""
        k, paper = {"N": (1, -0.70), "U": (2, 0.40)}[name]
        claim = Claim(f"best epochs over {name}", "Lovelace et al. (2026)", paper, enough=POWER,
                      note="the paper's from its form of one constant", above=STEEP, below=STEEP)  # fmt: skip
        try:
            c, covariance, degrees = self.turning
        except MISSING as error:
            return claim.without(error)
        half = float(t_quantile(LEVEL, degrees) * np.sqrt(covariance[k, k]))
        return dataclasses.replace(claim, ours=float(c[k]), interval=(float(c[k]) - half, float(c[k]) + half))

    # --- what regularisation buys

    def penalty_of(self, arm: Arm, **known: float) -> Fit[Lovelace]:
        """The penalty of an arm, the law of new tokens that of the plain runs times what an epoch of the arm costs, in
        units of that product.

        Args:
            known: constants of repetition.

        Raises:
            Undecided: no epoch of the arm is there.
        """
        runs, once = self.runs_of(arm), self.one_epoch(arm)
        if not len(once):
            raise Undecided(f"{arm.words} has no run of one epoch beside an unregularised one")
        cost = math.exp(once.mean())
        return rivals.of_law(Lovelace, runs.with_columns(loss=runs["loss"] / cost), self.base.law, **known)

    def penalty_of_its_own(self, arm: Arm) -> Fit[Lovelace]:
        """With all constants of repetition those of the arm.

        Raises:
            Undecided: it has too few trunks for two exponents.
        """
        runs = self.runs_of(arm)
        places = {(float(runs["params"][own[0]]), float(runs["unique_tokens"][own[0]])) for own in repeats.trunks(runs)}
        sizes, sets = ({place[k] for place in places} for k in (0, 1))
        if len(places) < FEWEST or len(sizes) < 2 or len(sets) < 2:
            raise Undecided(
                f"{arm.words} has {len(places)} {digits.plural(len(places), 'trunk', 'trunks')} of {len(sizes)} "
                f"{digits.plural(len(sizes), 'size', 'sizes')}; {FEWEST} of two sizes and two sets tell exponents"
            )
        return self.penalty_of(arm)

    def one_epoch(self, arm: Arm) -> Array:
        """ln loss of an arm's runs that repeat nothing over that of a plain run as large on the same tokens. (run,)"""
        keys = ("params", "_pool", "tokens")
        plain, own = (
            dict(zip(zip(*(fresh[key].tolist() for key in keys), strict=True), np.log(fresh["loss"]), strict=True))
            for fresh in (runs.chosen(repeats.new(runs)) for runs in (self.plain, self.runs_of(arm)))
        )
        return np.array([own[key] - plain[key] for key in own if key in plain])

    @functools.cached_property
    def by_decay(self) -> Claim:
        """P at a weight decay of 1 over P at 0.1."""
        claim = Claim(
            "P, weight decay 1 over 0.1",
            "Lovelace et al. (2026)",
            0.3,
            enough=0.2,
            note="the other constants those of the plain runs; with delta = kappa = 1, as in the paper, it is a choice",
            above=TEXT,
            below=TEXT,
        )
        try:
            law = self.rivals.penalty.law
            known = {name: float(getattr(law, name)) for name in ("delta", "kappa")}
            ours, ends = self._by_decay(0.0, known)
        except MISSING as error:
            return claim.without(error)

        def others() -> list[float]:
            most = max(arm.dropout for arm in self.arms)
            options = ((most, known), (0.0, {"delta": 1.0, "kappa": 1.0}))
            return [ratio for ratio, _ in those(*(functools.partial(self._by_decay, *option) for option in options))]

        return dataclasses.replace(claim, ours=ours, interval=ends, others=others)

    def _by_decay(self, dropout: float, known: Mapping[str, float]) -> tuple[float, Interval]:
        strong, weak = (self.penalty_of(Arm(decay, dropout), **known) for decay in (1.0, 0.1))
        ours = float(strong.law.P) / float(weak.law.P)
        halves = []
        for one in (strong, weak):
            low, high = one.intervals["P"]
            if not (low > 0 and np.isfinite(high)):
                raise Undecided("P of an arm has an interval without an end")
            halves.append(np.log(high / low) / 2)
        half = float(np.hypot(*halves))
        return ours, (ours * float(np.exp(-half)), ours * float(np.exp(half)))
