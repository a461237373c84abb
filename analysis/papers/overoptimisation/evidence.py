"""What the figures share: what every proxy says of samples of the policy, what these are worth, and laws of both."""

import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis import digits
from analysis.confidence import LEVEL, half_width, mean_interval, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Interval
from analysis.laws import BestOfN, Reinforced
from analysis.papers.claim import MISSING, Claim, Undecided
from analysis.papers.evidence import Evidence
from analysis.papers.known import measured
from analysis.papers.overoptimisation.best_of_n import kl, ranked, weights
from analysis.table import Table
from scaling.data import pairs

Array = NDArray[np.float64]

GAO = "Gao et al."
DRAWS = 200
SPARE = 4  # samples for each text of the best of n that a law is fitted to, at least: the last few are chance
SURE = 16  # the same, for a claim of one n alone: of fewer the draws do not show the tail that no sample reached
KNOWN = 1000  # n up to which the law is fitted that is held against larger n, as in the paper: 6 nats
FEW = 2000  # comparisons below which proxies are near chance
LAW = 0.05  # standard deviations that a law is off in any case
MISFIT = 0.2  # standard deviations off at which a law is no form of what it is fitted to
LEFT = 100  # samples that must carry a tilted policy
NEAR, SAME, BEYOND, FLOOR, POWER = 0.05, 0.02, 0.3, 0.02, 0.02  # half-widths of 95 % intervals that decide
TASK = (
    "sums of random weights are learnt from few pairs by a model that reads sixteen symbols, unlike preferences of text"
)
FRESH = "our small proxies are far from having learnt their pairs by heart, and four epochs are four times the updates"
TAIL = (  # the gold reward beyond what was fitted is then lower
    "the tail of this gold reward is rare and steep: where the best of n reaches it, the gold reward falls faster than "
    "a parabola"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Proxy:
    """A reward model, by what it says of samples of the policy.

    Attributes:
        run: its id.
        samples: the source of the pairs that it scored.
        N: parameters; pairs: that it processed; unique: of them.
        score, gold: of each sample, both texts of a pair side by side, the better one first. (samples,)
    """

    run: str
    samples: str
    N: float
    pairs: int
    unique: int
    seed: int
    score: Array
    gold: Array

    @property
    def accuracy(self) -> float:
        """The share of pairs in which it prefers the better text."""
        return self.accuracy_on(slice(None))

    def accuracy_on(self, some: NDArray[np.bool_] | slice) -> float:
        """The same, of some of the pairs."""
        first, second = self.score[0::2][some], self.score[1::2][some]
        return float((first > second).mean() + 0.5 * (first == second).mean())

    @property
    def correlation(self) -> float:
        return float(np.corrcoef(self.score, self.gold)[0, 1])

    def loss(self, soft: bool) -> float:
        """On all these pairs, nats per pair; with labels that are drawn, its mean over them."""
        gap, gold = (x[0::2] - x[1::2] for x in (self.score, self.gold))
        right = np.logaddexp(0, -gap)
        if not soft:
            return float(right.mean())
        p = 1 / (1 + np.exp(-gold))
        return float((p * right + (1 - p) * np.logaddexp(0, gap)).mean())

    @functools.cached_property
    def ranked(self) -> Array:
        """What the samples are worth, in the order of the scores."""
        return ranked(self.score, self.gold)

    @functools.cached_property
    def best_gold(self) -> Array:
        """What the best of n is worth, n of `grid`."""
        return _weights(len(self.gold)) @ self.ranked

    @functools.cached_property
    def best_proxy(self) -> Array:
        """What the proxy says of it, in its own standard deviations."""
        score = np.sort(self.score)
        return _weights(len(score)) @ ((score - score.mean()) / score.std())

    @functools.cached_property
    def law(self) -> BestOfN:
        """Of all n of which many samples tell."""
        return BestOfN(*(_of_law(len(self.gold)) @ self.ranked).tolist())

    @functools.cached_property
    def early(self) -> BestOfN:
        """Of n up to KNOWN."""
        return BestOfN(*(_of_law(len(self.gold), KNOWN) @ self.ranked).tolist())

    @property
    def misfit(self) -> float:
        """How far `law` is off the n that it is fitted to, rms, in standard deviations of the gold reward."""
        fitted = grid(len(self.gold)) <= len(self.gold) // SPARE
        gap = self.best_gold - self.law(distance(len(self.gold)))
        return math.sqrt(float((gap[fitted] ** 2).mean()))

    def drawn(self, counts: NDArray[np.int64], vectors: Array) -> Array:
        """Numbers that are linear in `ranked`, of samples drawn so many times each. vectors: k samples -> k"""
        return vectors @ np.repeat(self.ranked, counts[self.order])

    @functools.cached_property
    def order(self) -> NDArray[np.int64]:
        """Of the samples, the lowest score first."""
        return np.argsort(self.score, kind="stable")


class Slope(NamedTuple):
    """How a constant changes with a logarithm."""

    value: float
    interval: Interval


class Overoptimisation(Evidence):
    """The proxies and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    def proxies(self, experiment: str = "proxies") -> list[Proxy]:
        """Of an experiment, by size, pairs and seed.

        Raises:
            Undecided: no run has finished, or none scored any text.
        """
        return self._proxies[experiment] if experiment in self._proxies else self._read(experiment)

    @functools.cached_property
    def _proxies(self) -> dict[str, list[Proxy]]:
        return {}

    def _read(self, experiment: str) -> list[Proxy]:
        runs, records = self.need(experiment), self.experiments[experiment]
        found = []
        names = ("run", "params", "tokens", "unique_tokens", "n_ctx", "seed")
        for id, N, D, U, n_ctx, seed in zip(*(runs[name] for name in names), strict=True):
            if id not in records.scores:
                continue
            wanted = records.configs[id].eval
            (source,) = wanted.scored
            gold = _gold(source, wanted.scores)
            score = records.scores[id][0].astype(np.float64)
            found.append(Proxy(str(id), source, float(N), round(D / n_ctx), round(U / n_ctx), int(seed), score, gold))
        if not found:
            raise Undecided(f"no run of the experiment {experiment} scored any text")
        found.sort(key=lambda one: (one.N, one.pairs, one.seed))
        self._proxies[experiment] = found
        return found

    def most(self, experiment: str = "proxies") -> list[Proxy]:
        """Those with the most pairs."""
        found = self.judged(experiment)
        return [one for one in found if one.pairs == max(other.pairs for other in found)]

    def largest(self) -> list[Proxy]:
        """The largest ones, with every number of pairs."""
        found = self.judged()
        return [one for one in found if one.N == found[-1].N]

    def judged(self, experiment: str = "proxies") -> list[Proxy]:
        """Those that scored all samples, of which laws are: the longest of every size, and all of the largest size."""
        found = self.proxies(experiment)
        samples = max(len(one.gold) for one in found)
        return [one for one in found if len(one.gold) == samples]

    @functools.cached_property
    def draws(self) -> list[dict[str, Array]]:
        """Of each draw of the samples, alpha, beta, and gold less the law of KNOWN, as in `beyond`, of each proxy that
        is judged. All score the same samples, so a draw is the same for all."""
        found, rng = self.judged(), np.random.default_rng(0)
        n = len(found[0].gold)
        vectors = np.concatenate([_of_law(n), _beyond(n)[None]])
        drawn = []
        for _ in range(DRAWS):
            counts = 2 * [rng.multinomial(n // 2, np.full(n // 2, 2 / n))]
            both = np.stack(counts, 1).reshape(-1)  # the texts of a pair together
            drawn.append({one.run: one.drawn(both, vectors) for one in found})
        return drawn

    def interval(self, of: Callable[[Mapping[str, Array]], float]) -> Interval:
        """Of a number that follows from the draws of each proxy."""
        return ends([of(values) for values in self.draws])

    def missed(self) -> list[float]:
        """The sizes whose curves with the most pairs the parabola misses by more than MISFIT, the mean over seeds."""
        off: dict[float, list[float]] = {}
        for one in self.most():
            off.setdefault(one.N, []).append(one.misfit)
        return [N for N, some in sorted(off.items()) if np.mean(some) > MISFIT]

    def slope(self, k: int, without: Collection[float] = ()) -> Slope:
        """How alpha (k 0) or beta (1) changes per ln N with the most pairs.

        Its interval is of other samples of the policy, the same for all proxies, and of other seeds (`with_seeds`).

        Args:
            without: sizes to leave out.

        Raises:
            Undecided: fewer than three sizes, or no two seeds of any.
        """
        found = [one for one in self.most() if one.N not in without]
        x = np.array([one.N for one in found])
        at = np.unique(x)
        if len(at) < 3:
            raise Undecided(f"fewer than three sizes were trained{' whose curves a parabola fits' if without else ''}")
        groups = [np.flatnonzero(x == value) for value in at]
        if min(len(rows) for rows in groups) < 2:
            raise Undecided("some were trained with one seed: how far seeds scatter is not known")
        constants = np.array([dataclasses.astuple(one.law)[k] for one in found])
        each = np.array([[values[one.run][k] for one in found] for values in self.draws])
        slopes = [slope_of(at, [values[rows].mean() for rows in groups]) for values in each]
        return with_seeds(at, [constants[rows] for rows in groups], float(np.var(slopes, ddof=1)))

    # --- claims

    def sign(self, k: int, paper: float) -> Claim:
        """Whether alpha rises, or beta falls, with the size: +1 or -1.

        It is decided where the sizes whose curves the parabola fits say so as well: another's are no constants of it.
        """
        name = ("alpha", "beta")[k]
        claim = Claim(f"sign of {name}'s slope in ln N", GAO, paper, enough=0.5, above="", below="")
        try:
            found, missed = self.slope(k), self.missed()
            slopes = [found, *([self.slope(k, without=missed)] if missed else [])]
        except MISSING as error:
            return claim.without(error)
        told = [f"{one.value:.3f} ({one.interval[0]:.3f} to {one.interval[1]:.3f})" for one in slopes]
        note = f"the slope is {told[0]}"
        if missed:
            sizes = ", ".join(map(digits.short, missed))
            note += f", without the sizes whose curves the parabola misses (N = {sizes}) {told[1]}"
        sign = float(np.sign(found.value))
        if (np.sign([one.interval for one in slopes]) != sign).any():
            return claim.without(Undecided(digits.minus(f"an interval has both signs: {note}")))
        return dataclasses.replace(claim, ours=sign, interval=(sign, sign), note=digits.minus(note))

    @functools.cached_property
    def beyond(self) -> Claim:
        """How much more the best of n is worth than the law of n up to KNOWN says, over the proxies: of the largest n
        for which there are SURE samples each."""
        claim = Claim(f"gold at the largest n less the law of n <= {KNOWN}", GAO, 0.0, enough=BEYOND, above="",
                      below=TAIL, unit="standard deviations")  # fmt: skip
        try:
            found = self.most()
            n = len(found[0].gold)
            at = _last(n, SURE)
            if grid(n)[at] < 2 * KNOWN:
                raise Undecided(f"{n:,} samples tell of no n of {2 * KNOWN:,} or more well enough")
            note = f"mean over the proxies with the most pairs, n = {grid(n)[at]:,}"
            value = float(np.mean([one.best_gold[at] - one.early(distance(n)[at]) for one in found]))
            ends = self.interval(lambda values: float(np.mean([values[one.run][2] for one in found])))
        except MISSING as error:
            return claim.without(error)
        return dataclasses.replace(claim, ours=value, interval=ends, note=note)

    @functools.cached_property
    def few(self) -> Claim:
        """The accuracy of proxies of at most FEW pairs: the mean over sizes and seeds."""
        claim = Claim(f"accuracy with at most {FEW:,} pairs", GAO, 0.5, enough=NEAR, above=TASK, below="",
                      note="mean over the sizes")  # fmt: skip
        try:
            found = [one.accuracy for one in self.proxies() if one.pairs <= FEW]
            if len(found) < 2:
                raise Undecided(f"no proxies of at most {FEW:,} pairs were trained")
        except MISSING as error:
            return claim.without(error)
        return about(claim, found)

    @functools.cached_property
    def epochs(self) -> Claim:
        """The accuracy after four epochs less that after one of the same number of pairs, of sizes that have both."""
        claim = Claim("accuracy of four epochs less that of one", GAO, 0.0, enough=SAME, above=FRESH, below="",
                      note="the same number of pairs, each once or four times")  # fmt: skip
        try:
            gaps = list(self.by_epochs().values())
            if len(gaps) < 2:
                raise Undecided("fewer than two proxies of four epochs have one of one epoch beside them")
        except MISSING as error:
            return claim.without(error)
        return about(claim, gaps)

    def by_epochs(self) -> dict[tuple[float, int], float]:
        """By size and unique pairs, how much more accurate four epochs make a proxy than one of those pairs does, on
        the pairs that both scored."""
        once = self.proxies()
        found = {}
        for one in self.proxies("repeated"):
            beside = [other for other in once if other.N == one.N and other.pairs == one.unique]
            gaps = [one.accuracy_on(_shared(one, other)) - other.accuracy_on(_shared(other, one)) for other in beside]
            if gaps:
                found[one.N, one.unique] = float(np.mean(gaps))
        return found

    @functools.cached_property
    def control(self) -> Claim:
        """Without a tail: how far gold falls from its highest to the largest n, where nothing but noise is selected."""
        claim = Claim("fall of gold from its highest to the largest n, no tail", "regression to the mean", 0.0,
                      enough=BEYOND, above="errors of these proxies grow where their scores are high", below="",
                      unit="standard deviations", note="mean over the proxies of the control")  # fmt: skip
        try:
            found = self.most("control")
            if len(found) < 2:
                raise Undecided("fewer than two proxies of the control were trained")
            at = _last(len(found[0].gold))
            falls = [float(one.best_gold[: at + 1].max() - one.best_gold[at]) for one in found]
        except MISSING as error:
            return claim.without(error)
        return about(claim, falls)

    # --- the loss of reward models

    @functools.cached_property
    def soft(self) -> tuple[Table, float]:
        """The runs whose labels are drawn, with the exact loss on their pairs, and the least there can be."""
        runs, found = self.need("soft"), {one.run: one for one in self.proxies("soft")}
        keep = np.array([id in found for id in runs["run"]])
        runs = runs.where(keep, "it scored no text")
        first = next(iter(found.values()))
        floor = pairs.entropy(first.gold[0::2] - first.gold[1::2])
        return runs.with_columns(loss=np.array([found[id].loss(soft=True) for id in runs["run"]])), floor

    @functools.cached_property
    def floor(self) -> Claim:
        """The floor that L(N, D) gives, beside the entropy of the labels."""
        claim = Claim("floor of the reward model's L(N, D)", "entropy of the labels", None, enough=FLOOR,
                      unit="nats/pair", above="sizes and pairs that would show the last of the fall were not trained",
                      below="the fall over these sizes and pairs is no sum of two power laws")  # fmt: skip
        try:
            table, floor = self.soft
        except MISSING as error:
            return claim.without(error)
        claim = dataclasses.replace(claim, paper=floor)
        return measured(claim, lambda: fit("chinchilla", table, loss="squared"), "E")

    def above(self, by: Literal["size", "pairs"]) -> Claim:
        """The exponent, in sizes or in pairs, of the loss above the entropy of the labels, which is known: by least
        squares, ln(loss - entropy) = a - x ln N - y ln pairs."""
        what = f"exponent in {'N' if by == 'size' else 'pairs'} of the reward model's loss above its floor"
        claim = Claim(what, "entropy of the labels", None, enough=POWER, note="of a product of powers, the floor known")
        try:
            table, floor = self.soft
            x = np.log(np.stack([table["params"], table["tokens"]], 1))
            if min(len(np.unique(x[:, k])) for k in (0, 1)) < 3 or len(x) < 6:
                raise Undecided("fewer than three sizes, or numbers of pairs, were trained on drawn labels")
        except MISSING as error:
            return claim.without(error)
        design = np.column_stack([np.ones(len(x)), -x])
        y = np.log(table["loss"] - floor)
        constants = np.linalg.lstsq(design, y, rcond=None)[0]
        degrees = len(y) - design.shape[1]
        variance = np.linalg.inv(design.T @ design) * float(((y - design @ constants) ** 2).sum()) / degrees
        k = 1 if by == "size" else 2
        half = float(t_quantile(LEVEL, degrees)) * math.sqrt(variance[k, k])
        return dataclasses.replace(claim, ours=constants[k], interval=(constants[k] - half, constants[k] + half))

    # --- policies that are tilted

    def tilted(self, one: Proxy) -> tuple[Array, Array]:
        """Distance and gold reward of the policies that have the highest proxy at their KL: p exp(b proxy) / Z(b).

        That is where reinforcement learning with a KL penalty 1 / b would end; as far as LEFT samples carry it.
        """
        score = (one.score - one.score.mean()) / one.score.std()
        found = []
        for b in np.geomspace(0.05, 50, 60):
            w = np.exp(b * (score - score.max()))
            w /= w.sum()
            if 1 / (w**2).sum() < LEFT:
                break
            found.append((math.sqrt(max(float((w[w > 0] * np.log(w[w > 0] * len(w))).sum()), 0)), float(w @ one.gold)))
        d, gold = np.array(found).T
        return d, gold

    def forms(self) -> dict[str, float]:
        """How far both forms are from the tilted policies, rms over all of them, in standard deviations."""
        off: dict[str, list[float]] = {law.name: [] for law in (BestOfN, Reinforced)}
        for one in self.most():
            d, gold = self.tilted(one)
            for law in (BestOfN, Reinforced):
                x = np.stack([d, -d * (d if law is BestOfN else np.log(d))], 1)
                constants = np.linalg.lstsq(x, gold, rcond=None)[0]
                off[law.name] += ((x @ constants - gold) ** 2).tolist()
        return {name: math.sqrt(float(np.mean(squares))) for name, squares in off.items()}


def about(claim: Claim, values: Sequence[float]) -> Claim:
    """The claim with the mean of some values, and its interval by their scatter."""
    mean, *interval = mean_interval(values)
    return dataclasses.replace(claim, ours=mean, interval=tuple(interval))


def slope_of(x: Array, y: Sequence[float]) -> float:
    """Of y over ln x, by least squares."""
    return float(np.polyfit(np.log(x), y, 1)[0])


def with_seeds(x: Array, values: Sequence[Array], variance: float = 0.0) -> Slope:
    """The slope over ln x of means over seeds, whose scatter may differ from one x to another.

    Args:
        values: of the seeds at each x, two or more each.
        variance: of the slope, of what all seeds share.
    """
    weight = np.log(x) - np.log(x).mean()
    weight /= (weight**2).sum()
    parts = weight**2 * np.array([np.var(some, ddof=1) / len(some) for some in values])
    value = slope_of(x, [float(np.mean(some)) for some in values])
    half = half_width([*parts, variance], [*(len(some) - 1 for some in values), math.inf])
    return Slope(value, (value - half, value + half))


def ends(values: Sequence[float]) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@functools.lru_cache(maxsize=8)
def grid(samples: int) -> NDArray[np.int64]:
    """n of the best of n of so many samples: powers of 2 up to half of them."""
    return 2 ** np.arange(1, int(math.log2(samples)))


def distance(samples: int) -> Array:
    """sqrt(KL) of these n."""
    return np.sqrt(kl(grid(samples)))


@functools.lru_cache(maxsize=4)
def _weights(samples: int) -> Array:
    return weights(samples, grid(samples))


def _last(samples: int, spare: int = SPARE) -> int:
    """The place of the largest n of which there are so many samples each; without `spare`, that a law is fitted to."""
    return int(np.flatnonzero(grid(samples) <= samples // spare)[-1])


@functools.lru_cache(maxsize=8)
def _of_law(samples: int, most: int | None = None) -> Array:
    """The constants of BestOfN by least squares over n, up to `most`, are these times what samples are worth in their
    order: (2, samples).

    The best of n is known as well as samples / n independent texts are; a law that is off by LAW is not known better.
    """
    fitted = grid(samples) <= min(samples // SPARE, most or samples)
    d, n = distance(samples)[fitted], grid(samples)[fitted]
    sure = 1 / np.sqrt(LAW**2 + n / samples)
    return np.linalg.pinv(sure[:, None] * np.stack([d, -d * d], 1)) @ (sure[:, None] * _weights(samples)[fitted])


def _beyond(samples: int) -> Array:
    """What the best of the largest n of which many samples tell is worth less the law of n up to KNOWN, as such a
    vector."""
    at = _last(samples, SURE)
    d = distance(samples)[at]
    return _weights(samples)[at] - np.array([d, -d * d]) @ _of_law(samples, KNOWN)


def _shared(one: Proxy, other: Proxy) -> NDArray[np.bool_]:
    """Of the pairs that one scored, which the other scored as well."""
    return _among(one.samples, len(one.gold) // 2, other.samples, len(other.gold) // 2)


@functools.lru_cache(maxsize=8)
def _among(source: str, n: int, other: str, n_other: int) -> NDArray[np.bool_]:
    """Of the first n pairs of a source, which are among the first of another."""
    there = {pair.tobytes() for pair in pairs.scored(other, n_other)}
    return np.array([pair.tobytes() in there for pair in pairs.scored(source, n)])


@functools.lru_cache(maxsize=8)
def _gold(source: str, n: int) -> Array:
    """What the texts of a source of pairs are worth, in the order of their scores."""
    texts = pairs.scored(source, n)
    return pairs.parse(source).reward(texts.reshape(-1, texts.shape[-1]))
