"""What the figures share: laws of losses over shares, judged by mixtures that they have not seen, at two sizes."""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from analysis import mixtures
from analysis.confidence import LEVEL
from analysis.frontier import percentile_interval
from analysis.mixtures import MixtureFit
from analysis.mixtures.estimate import rank
from analysis.mixtures.proposal import Proposal, propose
from analysis.papers.claim import MISSING, Claim, Undecided
from analysis.papers.evidence import Evidence
from analysis.table import Table

Array = NDArray[np.float64]

REGMIX = "Liu et al. (RegMix)"
LAWS = ("linear", "exponential")
# On the 256 mixtures of RegMix held out at one million parameters, mean over 13 domains, recomputed from its tables.
UNSEEN = {"linear": 0.831, "exponential": 0.974}
SCALES = 0.98  # the lowest rank correlation there of the losses of 1M and of 60M parameters on the same mixtures
HELD_OUT = re.compile(r"loss_on_held_out\((.*)\)", re.DOTALL)
RANK, COVER = 0.05, 0.1  # half-widths of 95 % intervals that decide
DRAWS = 1000
OURS = "there are few mixtures here, of texts that differ more than parts of a crawl"


class Mixtures(Evidence):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    @functools.cached_property
    def small(self) -> Table:
        """The small runs, `held` where the mixture was trained at the larger size too."""
        runs = _named(self.need("small"))
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
            n = len(self.both[0])
            every = value(np.arange(n))
        except MISSING as error:
            return claim.without(error)
        rng = np.random.default_rng(0)
        drawn = np.array([value(rng.integers(n, size=n)) for _ in range(DRAWS)])
        drawn = drawn[np.isfinite(drawn)]
        ends = percentile_interval(drawn) if len(drawn) else None
        return dataclasses.replace(claim, ours=every, interval=ends)

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
        large = _named(self.need("large"))
        order = {source: i for i, source in enumerate(large["data"].tolist())}
        rows = np.array([order[source] for source in small["data"].tolist()])
        names = [name for name in small if name.startswith("loss_on_")]
        if len(rows) < 3:
            raise Undecided("fewer than three mixtures were trained at both sizes")
        return np.stack([small[n] for n in names], -1), np.stack([large[n][rows] for n in names], -1)

    @functools.cached_property
    def proposals(self) -> Mapping[str, Proposal]:
        """The best mixture for each domain, and for all of them alike, by the law of Ye et al.: the law of most
        constants may fit so few mixtures best and say anything beyond them.
        """
        targets = {domain: {domain: 1.0} for domain in self.domains} | {"all alike": dict.fromkeys(self.domains, 1.0)}
        return {name: propose(self.fit, target, law="exponential") for name, target in targets.items()}


def _named(table: Table) -> Table:
    """With the losses on the held-out text of each part under the name of the part."""
    columns = {
        f"loss_on_{match[1]}" if (match := HELD_OUT.fullmatch(name)) else name: values
        for name, values in table.columns.items()
    }
    return dataclasses.replace(table, columns=columns)


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
