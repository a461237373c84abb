"""What the figures share: the losses of each chain of generations, and by the frequency of tokens."""

import dataclasses
import functools
import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis import digits
from analysis.confidence import LEVEL
from analysis.papers.claim import MISSING, Claim, Undecided
from analysis.papers.collapse import exact
from analysis.papers.collapse.scatter import REAL, Cell, Key, Scatter, of_cells
from analysis.papers.evidence import Evidence
from analysis.replicates import seed_noise
from analysis.table import Table
from configs.collapse.experiments import generation

Array = NDArray[np.float64]

TEMPERATURE = re.compile(r"temperature=([\d.]+)")
GERSTGRASSER = "Gerstgrasser et al."
ARMS = {"replace": "replaced", "fixed": "accumulated, as long as the first", "accumulate": "accumulated"}
RISE, RATIO = 0.01, 0.5  # half-widths of 95 % intervals that decide
DRAWS = 20_000
OTHER = "a Transformer on text is no linear regression, and its error has parts that more samples do not lower"


@dataclasses.dataclass(frozen=True, eq=False)
class Chains:
    """The chains of one way at one temperature.

    Attributes:
        losses: ln of the loss on real text, (chain, generation); NaN where a generation is not there.
        parts: the same by the frequency of the token, (chain, generation, part); no parts where none was measured.
        runs: ids, (chain, generation); "" where there is none.
    """

    losses: Array
    parts: Array
    runs: NDArray[np.str_]

    @property
    def generations(self) -> int:
        return self.losses.shape[1]

    @functools.cached_property
    def mean(self) -> Array:
        """Of the chains that are whole, (generation,)."""
        return self.whole.mean(0)

    @property
    def whole(self) -> Array:
        """The losses of the chains that are whole.

        Raises:
            Undecided: none is.
        """
        found = self.losses[np.isfinite(self.losses).all(1)]
        if not len(found):
            raise Undecided("no chain of generations is whole")
        return found


class Collapse(Evidence):
    """The chains and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    @functools.cached_property
    def first(self) -> Table:
        """The first generations: the shortest runs on real text."""
        runs = self.need("real")
        return runs.where(runs["tokens"] == runs["tokens"].min(), "longer")

    @functools.cached_property
    def chains(self) -> Mapping[tuple[str, float], Chains]:
        """By way and temperature."""
        found, first = {}, self.first
        for arm in ARMS:
            if arm not in self.experiments:
                continue
            runs = self.need(arm)
            at = np.array([float(match[1]) if (match := TEMPERATURE.search(s)) else np.nan for s in runs["data"]])
            for temperature in np.unique(at)[::-1]:
                found[arm, float(temperature)] = _chains(first, runs.where(at == temperature, "another temperature"))
        if not found:
            raise Undecided("no generation after the first has finished")
        return found

    def of(self, arm: str, temperature: float | None = None) -> Chains:
        """Those of one way, at the highest temperature where none is given."""
        there = [t for a, t in self.chains if a == arm]
        if not there:
            raise Undecided(f"no generation after the first has finished, {ARMS[arm]}")
        return self.chains[arm, max(there) if temperature is None else temperature]

    @functools.cached_property
    def real(self) -> Mapping[float, Array]:
        """ln of the losses on as much real text as the accumulated generations read, by tokens."""
        runs = self.need("real")
        return {float(d): np.log(runs["loss"][runs["tokens"] == d]) for d in np.unique(runs["tokens"])}

    @functools.cached_property
    def scatter(self) -> Scatter:
        """How far ln L differs from chain to chain, by way, temperature and generation."""
        cells: dict[Key, Cell] = {}
        if (noise := seed_noise(self.need("real"))) is not None:
            cells[REAL] = Cell(noise.sigma, noise.degrees)
        for (arm, t), one in self.chains.items():
            for g, losses in enumerate(one.losses[:, 1:].T, 2):
                there = losses[np.isfinite(losses)]
                if len(there) > 1:
                    cells[arm, t, g] = Cell(float(there.std(ddof=1)), len(there) - 1)
        if (found := of_cells(cells)) is None:
            raise Undecided("no setting has two chains: which differences are noise is not known")
        return found

    def rise(self, arm: str, temperature: float | None = None, since: int = 1) -> tuple[float, float]:
        """ln of the last generation's loss over that of generation `since`, and the half-width of its interval."""
        found = self.of(arm, temperature)
        keys, n = self._cells(arm, temperature), len(found.whole)
        half = self.scatter.half((keys[-1], n), (keys[since - 1], n))
        return float(found.mean[-1] - found.mean[since - 1]), half

    def _cells(self, arm: str, temperature: float | None = None) -> list[Key]:
        """Of the generations of one way, as `scatter` knows them."""
        found = self.of(arm, temperature)
        t = next(t for (_, t), one in self.chains.items() if one is found)
        return [REAL, *((arm, t, g) for g in range(2, found.generations + 1))]

    def growth(self, arm: exact.Way) -> Claim:
        """How much further the loss rises after the second generation: (L_n - L_1) / (L_2 - L_1)."""
        try:
            n = self.of(arm).generations
        except MISSING:
            n = 5
        law = exact.LAWS[arm](n)
        theirs = float((law[-1] - 1) / (law[1] - 1))
        name = f"(L_{n} - L_1) / (L_2 - L_1), {ARMS[arm]}"
        if arm == "replace":
            claim = Claim(name, GERSTGRASSER, theirs, enough=RATIO, above=OTHER, below=OTHER,
                          note="the paper's of the errors of linear regression")  # fmt: skip
        else:
            claim = Claim(name, "of no paper", None, enough=RATIO, independent=False,
                          note=f"of the squared error of a mean it is {digits.plain(theirs)}, exactly")  # fmt: skip
        try:
            found = self.of(arm)
            if n < 3:
                raise Undecided("there are two generations")
            mean = np.exp(found.mean)
            drawn = np.exp(found.mean + self.scatter.moved(self._cells(arm), len(found.whole), DRAWS))
            second = drawn[:, 1] - drawn[:, 0]
            if np.quantile(second, 0.025) <= 0:
                raise Undecided("the second generation is not worse than the first beyond the noise")
            ratios = (drawn[:, -1] - drawn[:, 0]) / second
        except MISSING as error:
            return claim.without(error)
        ends = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        value = float((mean[-1] - mean[0]) / (mean[1] - mean[0]))
        return dataclasses.replace(claim, ours=value, interval=(float(ends[0]), float(ends[1])))

    def against_real(self) -> Claim:
        """ln of the last accumulated loss over that on as much real text."""
        claim = Claim("ln L over that on as much real text, accumulated", GERSTGRASSER, None, enough=RISE,
                      note="the paper has no such run")  # fmt: skip
        try:
            found = self.of("accumulate")
            tokens = found.generations * min(self.real)
            if (theirs := self.real.get(tokens)) is None:
                raise Undecided("no run on as much real text has finished")
            half = self.scatter.half((self._cells("accumulate")[-1], len(found.whole)), (REAL, len(theirs)))
            value = float(found.mean[-1] - theirs.mean())
        except MISSING as error:
            return claim.without(error)
        return dataclasses.replace(claim, ours=value, interval=(value - half, value + half))

    def by_part(self, arm: str, temperature: float) -> Array:
        """ln of the last generation's loss over the first's, by the frequency of the token: (chain, part)."""
        found = self.chains[arm, temperature]
        if not found.parts.shape[-1]:
            raise Undecided("the losses by frequency were not measured")
        whole = found.parts[np.isfinite(found.losses).all(1)]
        if not len(whole):
            raise Undecided("no chain of generations is whole")
        return whole[:, -1] - whole[:, 0]


def _chains(first: Table, later: Table) -> Chains:
    """Of one way: the first generations, which all ways share, and those after it."""
    places = [
        (table, row, *generation(int(seed))) for table in (first, later) for row, seed in enumerate(table["seed"])
    ]
    n_chains, n = (1 + max(chain for *_, chain, _ in places)), max(g for *_, g in places)
    names = [name for name in first if re.fullmatch(r"loss_of_part_\d+", name)]
    losses = np.full((n_chains, n), np.nan)
    parts = np.full((n_chains, n, len(names)), np.nan)
    runs = np.full((n_chains, n), "", "U64")
    for table, row, chain, g in places:
        losses[chain, g - 1] = np.log(table["loss"][row])
        parts[chain, g - 1] = [np.log(table[name][row]) if table[name][row] > 0 else np.nan for name in names]
        runs[chain, g - 1] = table["run"][row]
    return Chains(losses, parts, runs)
