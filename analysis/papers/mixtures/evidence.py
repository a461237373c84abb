"""What the figures share: laws of losses over shares, judged by mixtures that they have not seen, at two sizes, where
text repeats, and at what they propose."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis import mixtures
from analysis.confidence import LEVEL, t_quantile
from analysis.frontier import percentile_interval
from analysis.mixtures import MixtureFit
from analysis.mixtures.estimate import Interval, rank
from analysis.mixtures.proposal import Gap, Proposal, predict, propose
from analysis.mixtures.runs import named
from analysis.papers.claim import MISSING, Claim, Undecided, those
from analysis.papers.evidence import Evidence
from analysis.papers.mixtures.proposed import ALIKE, AMPLE, REPEATED, proportional, short_parts, targets
from analysis.table import Table
from configs.mixtures.experiments import LEAST, NEAR

Array = NDArray[np.float64]

REGMIX = "Liu et al. (RegMix)"
LAWS = ("linear", "exponential")
# On the 256 mixtures of RegMix held out at one million parameters, mean over 13 domains, recomputed from its tables.
UNSEEN = {"linear": 0.831, "exponential": 0.974}
SCALES = 0.98  # the lowest rank correlation there of the losses of 1M and of 60M parameters on the same mixtures
RANK, ORDER, COVER, PRICE = (
    0.05,
    0.1,
    0.1,
    0.01,
)  # half-widths of 95 % intervals that decide; of a price in nats per token
# What whoever asks small models with ample text takes for granted; Liu et al. state it for sizes and tokens.
PROXIES = "Liu et al. (RegMix), rank invariance"
DRAWS = 1000
JUDGED = ("linear", AMPLE, REPEATED, "additive")
KINDS = (
    "ample text",
    "ample, repeats",
    "repeats",
)  # of trained proposals: by and in ample text, in repeated, by it too
TITLES = {
    "small": "small models",
    "large": "larger ones",
    "repeated": "small ones with repeats",
    "repeated_large": "larger ones with repeats",
}
OURS = "there are few mixtures here, of texts that differ more than parts of a crawl"


class Mixtures(Evidence):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    @functools.cached_property
    def small(self) -> Table:
        """The small runs, `held` where the mixture was trained at the larger size too."""
        runs = named(self.need("small"))
        large = self.need("large") if "large" in self.experiments else None
        return runs.with_columns(held=np.isin(runs["data"], [] if large is None else large["data"]).astype(float))

    @functools.cached_property
    def fit(self) -> MixtureFit:
        """All laws, fitted to the mixtures that are not held out."""
        table = self.small
        if not table["held"].any():
            raise Undecided("no mixture was trained at the larger size")
        return mixtures.fit(table, hold_out=table["held"] == 1)

    @functools.cached_property
    def domains(self) -> tuple[str, ...]:
        return self.fit.runs.domains

    @functools.cached_property
    def laws(self) -> tuple[str, ...]:
        return tuple(fitted.law.name for fitted in self.fit.fits)

    def rank(self, law: str) -> Claim:
        """Rank correlation of predicted and measured losses of mixtures unseen, mean over domains."""
        claim = Claim(f"rank correlation, {law}", REGMIX, UNSEEN[law], enough=RANK, above=OURS, below=OURS,
                      note="recomputed from its tables: 512 mixtures, one million parameters, mean over 13 domains; "
                      "the exponential law is that of Ye et al.")  # fmt: skip

        def found(rows: NDArray[np.intp]) -> float:
            fitted = self.fit.of(law)
            assert fitted.held is not None
            assert self.fit.held is not None
            losses = self.fit.held.losses
            return _mean_rank(fitted.held[:, rows], losses[rows].T)

        return self._drawn(claim, found)

    @functools.cached_property
    def scales(self) -> Claim:
        """Rank correlation of the losses of the small and the large models on the same mixtures."""
        claim = Claim("rank correlation of two sizes", REGMIX, SCALES, enough=RANK, above=OURS, below=OURS,
                      note="recomputed from its tables: lowest of 13 domains, 1M against 60M parameters")  # fmt: skip
        return self._drawn(claim, lambda rows: _mean_rank(*(losses[rows].T for losses in self.both)))

    def _drawn(self, claim: Claim, value: Callable[[NDArray[np.intp]], float]) -> Claim:
        """With the interval over held-out mixtures drawn again."""
        try:
            return _redrawn(claim, len(self.both[0]), value)
        except MISSING as error:
            return claim.without(error)

    @functools.cached_property
    def covered(self) -> Claim:
        """The share of held-out losses inside their 95 % interval, by the exponential law."""
        claim = Claim("share of losses inside their interval", "a 95 % interval", 0.95, enough=COVER, above=OURS,
                      below=OURS, note="what such an interval promises; the papers give none")  # fmt: skip
        try:
            inside = np.array([self.fit.inside("exponential", domain) for domain in self.domains], float)
        except MISSING as error:
            return claim.without(error)
        n, share = inside.shape[1], float(inside.mean())  # losses of one mixture are not independent
        each = inside.mean(axis=0)
        rng = np.random.default_rng(0)
        drawn = np.array([rng.choice(each, n).mean() for _ in range(DRAWS)])
        low, high = percentile_interval(drawn)
        # Where all are inside, or none, redrawing them tells nothing: as of one loss a mixture (Clopper and Pearson).
        tail = (1 - LEVEL) / 2
        low = min(low, tail ** (1 / n)) if share == 1 else low
        high = max(high, 1 - tail ** (1 / n)) if share == 0 else high
        return dataclasses.replace(claim, ours=share, interval=(low, high))

    @functools.cached_property
    def both(self) -> tuple[Array, Array]:
        """Losses of the small and of the large models on the same mixtures, (mixture, domain) each."""
        small = self.small.where(self.small["held"] == 1, "not held out")
        large = named(self.need("large"))
        order = {source: i for i, source in enumerate(large["data"].tolist())}
        rows = np.array([order[source] for source in small["data"].tolist()])
        names = [name for name in small if name.startswith("loss_on_")]
        if len(rows) < 3:
            raise Undecided("fewer than three mixtures were trained at both sizes")
        return np.stack([small[n] for n in names], -1), np.stack([large[n][rows] for n in names], -1)

    @functools.cached_property
    def whole(self) -> MixtureFit:
        """The laws, fitted to all mixtures of ample text."""
        return mixtures.fit(self.small, laws=JUDGED)

    @functools.cached_property
    def repeats(self) -> MixtureFit:
        """The laws, fitted to the same mixtures where some parts are short."""
        found = mixtures.fit(named(self.need("repeated")), laws=JUDGED)
        if not short_parts(found):
            raise Undecided("no part is read more than once")
        return found

    @functools.cached_property
    def whole_of_repeats(self) -> MixtureFit:
        """`whole`, of those mixtures alone that `repeats` has: errors depend on how many mixtures are fitted."""
        runs, there = self.whole.runs, self.repeats.runs
        order = [there.parts.index(part) for part in runs.parts]
        known = {tuple(shares) for shares in np.round(there.shares[:, order], 6)}
        rows = np.array([tuple(shares) in known for shares in np.round(runs.shares, 6)])
        return self.whole if rows.all() else mixtures.fit(self.small.chosen(rows), laws=JUDGED)

    @functools.cached_property
    def proposals(self) -> Mapping[str, Proposal]:
        """The best mixture for each domain, and for all of them alike, where text is ample."""
        return {name: propose(self.whole, target, law=AMPLE) for name, target in targets(self.whole).items()}

    @functools.cached_property
    def where_parts_repeat(self) -> Mapping[str, Proposal]:
        """The same where parts repeat."""
        return {name: propose(self.repeats, target, law=REPEATED) for name, target in targets(self.repeats).items()}

    def price(self, target: str) -> Gap:
        """What the mixture that is best where text is ample costs where parts repeat, over the best one there, by the
        law of repeats; with both ends of the interval.
        """
        best = [found[target].best.shares for found in (self.where_parts_repeat, self.proposals)]
        _, (gap,) = predict(self.repeats, targets(self.repeats)[target], np.array(best), law=REPEATED)
        return gap

    @functools.cached_property
    def moved(self) -> Claim:
        """`price` for all domains alike."""
        claim = Claim("price of proxies without repeats", PROXIES, 0.0, enough=PRICE, unit="nats per token",
                      above="text that is read many times is worth less than as much new text",
                      note="for all domains alike, where parts repeat, by the law of repeats")  # fmt: skip
        try:
            value, *ends = self.price(ALIKE)
        except MISSING as error:
            return claim.without(error)
        return dataclasses.replace(claim, ours=value, interval=(ends[0], ends[1]))

    def pairs(self, one: str, other: str) -> tuple[Array, Array]:
        """Losses of two experiments on the mixtures that both have, (mixture, domain) each."""
        found, domains = [], []
        for name in (one, other):
            table = named(self.need(name))
            domains = [column for column in table if column.startswith("loss_on_")]
            parts = [column for column in table if column.startswith("share_")]
            shares = np.round(np.stack([table[p] for p in parts], -1), 6)
            found.append(
                {tuple(r): losses for r, losses in zip(shares, np.stack([table[d] for d in domains], -1), strict=True)}
            )
        both = [r for r in found[0] if r in found[1]]
        if len(both) < 3:
            raise Undecided(f"fewer than three mixtures of {one} and of {other} have finished")
        return np.array([found[0][r] for r in both]), np.array([found[1][r] for r in both])

    def order(self, one: str, other: str) -> Claim:
        """Rank correlation of the losses of two experiments on the same mixtures, mean over domains."""
        claim = Claim(f"rank correlation, {TITLES[one]} and {TITLES[other]}", PROXIES, None, enough=ORDER)
        return self._of_pairs(claim, one, other, lambda x, y: _mean_rank(x.T, y.T))

    def choice(self, one: str, other: str) -> Claim:
        """What choosing among the mixtures by one experiment costs in the other, for all domains alike."""
        # A price is never below 0, so that 0 always lies in its interval: what decides is that the upper end is below
        # PRICE, and of an interval from 0 on that is its half-width.
        claim = Claim(f"price of choosing {TITLES[other]} by {TITLES[one]}", PROXIES, 0.0, enough=PRICE / 2,
                      unit="nats per token",
                      note="all domains alike, among the mixtures that both have; luck of seeds is in it")  # fmt: skip

        def found(x: Array, y: Array) -> float:
            return float(y.mean(1)[x.mean(1).argmin()] - y.mean(1).min())

        return self._of_pairs(claim, one, other, found)

    def _of_pairs(self, claim: Claim, one: str, other: str, value: Callable[[Array, Array], float]) -> Claim:
        try:
            x, y = self.pairs(one, other)
        except MISSING as error:
            return claim.without(error)
        return _redrawn(claim, len(x), lambda rows: value(x[rows], y[rows]))

    @functools.cached_property
    def trained(self) -> "Sequence[Trained]":
        """The proposals that were trained, each beside what was promised."""

        def in_repeated() -> list[Trained]:
            return self._trained("proposed_repeated", REPEATED, self.repeats)

        def in_ample() -> list[Trained]:
            return self._trained("proposed", AMPLE, self.whole)

        found = [one for each in those(in_ample, in_repeated) for one in each]
        return found or in_ample()  # which says what is missing

    def _trained(self, experiment: str, law: str, fit: MixtureFit) -> "list[Trained]":
        runs = named(self.need(experiment))
        runs = runs.where(runs["params"] == runs["params"].min(), "a larger model")
        uniform = np.full(len(fit.runs.parts), 1 / len(fit.runs.parts))
        rivals = {"uniform": uniform} | ({"proportional": proportional(fit)} if short_parts(fit) else {})
        seen = {name: mixture for name, shares in rivals.items() if (mixture := _Mixture.of(runs, fit, shares))}
        wanted = [("ample", name, p) for name, p in self.proposals.items()]
        if short_parts(fit):
            wanted += [("repeated", name, p) for name, p in self.where_parts_repeat.items()]
        found = []
        for by, target, proposal in wanted:
            if target not in (ALIKE, *short_parts(fit)) and short_parts(fit):
                continue
            if (own := _Mixture.of(runs, fit, proposal.best.shares)) is None:
                continue
            weights = targets(fit)[target]
            every = np.array([own.shares, *(one.shares for one in seen.values())])
            (promised, *_), gaps = predict(fit, weights, every, law=law)
            d = [fit.runs.domains.index(name) for name in weights]
            losses = own.losses[:, d].mean(1)
            gains = {
                name: (gap, float(one.losses[:, d].mean() - losses.mean()), len(one.losses))
                for (name, one), gap in zip(seen.items(), gaps, strict=True)
            }
            found.append(Trained(by, target, experiment, promised, losses, gains))
        if not found:
            raise Undecided("no proposal is trained")
        return found

    @functools.cached_property
    def kept(self) -> Claim:
        """The share of trained proposals inside the interval of one run."""
        claim = Claim("share of proposals inside their interval", "a 95 % interval", 0.95, enough=COVER, above=OURS,
                      below="a law says least where no mixture was fitted", note="first seed of each")  # fmt: skip
        try:
            # Once each run that two laws propose for one target.
            own = {(one.experiment, one.target, float(one.losses[0])): one.inside[0] for one in self.trained}
            inside = list(own.values())
        except MISSING as error:
            return claim.without(error)
        ends = stats.binomtest(sum(inside), len(inside)).proportion_ci(LEVEL)
        return dataclasses.replace(claim, ours=sum(inside) / len(inside), interval=(float(ends.low), float(ends.high)))

    @functools.cached_property
    def scatter(self) -> tuple[float, int]:
        """Standard deviation of a trained loss from seed to seed, and its degrees of freedom."""
        some = [one.losses for one in self.trained if len(one.losses) > 1]
        degrees = sum(len(each) - 1 for each in some)
        if not degrees:
            raise Undecided("no proposal was trained with two seeds")
        return math.sqrt(sum(float(((each - each.mean()) ** 2).sum()) for each in some) / degrees), degrees

    def gained(self, one: "Trained", rival: str) -> Gap:
        """By how much a rival's trained loss is higher, with both ends of the interval."""
        _, gain, n = one.gains[rival]
        sigma, degrees = self.scatter
        half = float(t_quantile(LEVEL, degrees)) * sigma * math.sqrt(1 / len(one.losses) + 1 / n)
        return gain, gain - half, gain + half

    def measured_price(self, target: str = ALIKE, large: bool = False) -> tuple[float, int]:
        """What the mixture that is best where text is ample costs in training, over the one that is best where parts
        repeat; and how many runs of each there are.

        Raises:
            Undecided: one of them is not trained, or both are one mixture.
        """
        runs = named(self.need("proposed_repeated"))
        ends = runs["params"].min(), runs["params"].max()
        if large and ends[0] == ends[1]:
            raise Undecided("no proposal was trained at the larger size")
        runs = runs.where(runs["params"] == ends[large], "another size")
        fit = self.repeats
        by = [_Mixture.of(runs, fit, found[target].best.shares) for found in (self.proposals, self.where_parts_repeat)]
        if by[0] is None or by[1] is None:
            raise Undecided("both proposals are not trained yet")
        if np.array_equal(by[0].shares, by[1].shares):
            raise Undecided(f"both proposals are the same mixture, to within {NEAR:g} of each share")
        d = [fit.runs.domains.index(name) for name in targets(fit)[target]]
        losses = [one.losses[:, d].mean(1) for one in by if one]
        return float(losses[0].mean() - losses[1].mean()), min(map(len, losses))


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A proposal that was trained.

    Attributes:
        by: whether a law of ample or of repeated text proposes it.
        target: what it is best for.
        experiment: in which it was trained.
        promised: its loss by the law.
        losses: of its runs, (seeds,).
        gains: by how much a rival's loss is higher: as promised, as measured, and over how many runs.
    """

    by: str
    target: str
    experiment: str
    promised: Interval
    losses: Array
    gains: Mapping[str, tuple[Gap, float, int]]

    @property
    def kind(self) -> str:
        """Where it was trained, and what proposed it, one of KINDS."""
        return KINDS[0] if self.experiment == "proposed" else KINDS[1 + (self.by == "repeated")]

    @property
    def inside(self) -> list[bool]:
        """Whether each run lies in the interval of one run."""
        return [bool(self.promised.run_low <= loss <= self.promised.run_high) for loss in self.losses]


@dataclasses.dataclass(frozen=True, eq=False)
class _Mixture:
    """A mixture that was trained: its shares, and the losses of its runs, (seeds, domains)."""

    shares: Array
    losses: Array

    @classmethod
    def of(cls, runs: Table, fit: MixtureFit, shares: Array) -> "_Mixture | None":
        """That of some runs which is nearest to these shares; None where none is near."""
        least = np.full(len(shares), LEAST)
        wanted = least + (1 - least.sum()) * shares
        there = np.stack([runs[f"share_{part}"] for part in fit.runs.parts], -1)
        off = np.abs(there - wanted).max(1)
        if off.min() > 1.5 * NEAR:
            return None
        rows = np.flatnonzero(np.abs(there - there[off.argmin()]).max(1) < 1e-6)
        rows = rows[np.argsort(runs["seed"][rows])]
        losses = np.stack([runs[f"loss_on_{domain}"][rows] for domain in fit.runs.domains], -1)
        return cls(there[rows[0]], losses)


def _redrawn(claim: Claim, n: int, value: Callable[[NDArray[np.intp]], float]) -> Claim:
    """With the interval over n mixtures drawn again."""
    rng = np.random.default_rng(0)
    drawn = np.array([value(rng.integers(n, size=n)) for _ in range(DRAWS)])
    drawn = drawn[np.isfinite(drawn)]
    ends = percentile_interval(drawn) if len(drawn) else None
    return dataclasses.replace(claim, ours=value(np.arange(n)), interval=ends)


def short(name: str) -> str:
    """Of a source, what tells it from others: text:a/verse/train-*.jsonl.gz is verse."""
    kind, _, rest = name.partition(":")
    if kind != "text":
        return name.removeprefix("synthetic:")
    folders = [part for part in rest.split("/") if part not in ("", ".", "..")]
    return folders[-2] if len(folders) > 1 else rest


def _mean_rank(found: Array, measured: Array) -> float:
    """Spearman's rank correlation, mean over domains; NaN where one has no order. (domain, mixture) each"""
    return float(np.mean([rank(x, y) for x, y in zip(found, measured, strict=True)]))
