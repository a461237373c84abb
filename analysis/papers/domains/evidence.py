"""What the figures share: the runs of each domain, its laws with a floor, its best sizes, and what captions tell."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis import digits, isoflop, reference
from analysis.confidence import LEVEL, t_quantile
from analysis.fit import fit
from analysis.fit.estimate import Fit, Interval
from analysis.frontier import Allocation
from analysis.laws import Chinchilla, HenighanC, HenighanN, KaplanC, KaplanN, Law, law_by_name
from analysis.papers.claim import MISSING, Claim, Undecided, those
from analysis.papers.domains.baselines import Baselines
from analysis.papers.evidence import Evidence
from analysis.replicates import Noise, seed_noise
from analysis.table import Table
from scaling.config import GLYPHS, IMAGES
from scaling.counts import PF_DAY
from scaling.data.glyphs import PICTURE
from scaling.data.images import parse

Array = NDArray[np.float64]
L = TypeVar("L", bound=Law)

PAPER, TABLE_1, TABLE_3 = "henighan2020", "Henighan et al., Table 1", "Henighan et al., Table 3"
LADDERS = ("digits", "fashion", "code", "text")  # experiments
# The resolution of the paper that is nearest in tokens: RGB has three tokens a pixel.
NEAREST = {7: "image_8x8", 8: "image_8x8", 14: "image_16x16", 28: "image_32x32"}
LANGUAGE = "language"
# What every page states claims of, whether it was trained or left out: the row of Table 1 beside each.
MAIN = {
    "digits 8×8": "image_8x8",
    "Fashion-MNIST 7×7": "image_8x8",
    "Fashion-MNIST 14×14": "image_16x16",
    "Python": LANGUAGE,
}
EXPONENT, BETA, FLOOR = 0.05, 0.1, 0.1  # half-widths of 95 % intervals that decide; the floor's relative
SMALL = (
    "the paper's smallest models have 1e4 to 1e5 parameters and see pictures once, of colour, from a set of 1e8; ours "
    "are smaller, grey, and of a set of few kinds"
)
BYTE_TEXT = "ours are small models of single bytes in 128 of them, the paper's are of 50,257 tokens in 2,048"
FEWEST = 4  # sizes, and budgets, that a law with a floor is fitted to
EPOCHS = 4  # up to which data read again are nearly worth new ones: Muennighoff et al. (2023)
PERCENTILES = (5, 25, 50, 75, 95)  # of the held-out pictures by their loss


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """The runs of one domain on one kind of example.

    Attributes:
        name: for people, such as "Fashion-MNIST 7×7".
        source: of its training text.
        runs: all lengths; `loss` in `unit`, FLOP by C = 6ND.
        unit: nats per pixel, or bits per byte.
        side: pixels along a side; 0 of a text.
        paper: the row of Table 1 that it is held against.
    """

    name: str
    source: str
    runs: Table
    unit: str
    side: int
    paper: str

    @property
    def pictures(self) -> bool:
        return self.side > 0

    @property
    def longest(self) -> Table:
        """Those of the most tokens."""
        return self.runs.where(self.runs["tokens"] == self.runs["tokens"].max(), "shorter")

    @functools.cached_property
    def noise(self) -> Noise | None:
        """Of ln loss, between seeds."""
        return seed_noise(self.runs)

    @functools.cached_property
    def size_law(self) -> Fit[HenighanN]:
        """L(N) of the longest runs."""
        self._enough()
        return fit("henighan-n", self.longest, loss="squared", every_run=True)

    def _enough(self) -> None:
        if len(np.unique(self.longest["params"])) < FEWEST:
            raise Undecided(f"fewer than {FEWEST} sizes of {self.name} have finished")

    @functools.cached_property
    def power_of_size(self) -> Fit[KaplanN]:
        """L(N) of the longest runs without a floor."""
        self._enough()
        return fit("kaplan-n", self.longest, loss="squared", every_run=True)

    @functools.cached_property
    def best(self) -> Table:
        """At each compute the size with the lowest mean loss, where a smaller and a larger one were trained too."""
        runs = self.runs
        C = np.round(np.log2(runs["flops"]), 3)
        rows = []
        for c in np.unique(C):
            own = np.flatnonzero(C == c)
            N = np.unique(runs["params"][own])
            mean = [np.exp(np.log(runs["loss"][own][runs["params"][own] == n]).mean()) for n in N]
            k = int(np.argmin(mean))
            if 0 < k < len(N) - 1:
                tokens = float(runs["tokens"][own][runs["params"][own] == N[k]][0])
                rows.append({"flops": float(runs["flops"][own][0]), "loss": mean[k], "params": N[k], "tokens": tokens})
        if len(rows) < FEWEST:
            raise Undecided(
                f"at {len(rows)} of {len(np.unique(C))} computes is the best size of {self.name} between a smaller and "
                f"a larger one, wanted {FEWEST}"
            )
        return Table.from_rows([{"run": f"{self.name} {k}", **row} for k, row in enumerate(rows)], self.name)

    @functools.cached_property
    def compute_law(self) -> Fit[HenighanC]:
        """L(C) of the best sizes."""
        return fit("henighan-c", self.best, loss="squared", every_run=True)

    @functools.cached_property
    def power_of_compute(self) -> Fit[KaplanC]:
        """L(C) of the best sizes without a floor."""
        return fit("kaplan-c", self.best, loss="squared", every_run=True)

    def of_surface(self, constant: Callable[[Chinchilla], float]) -> float:
        """What follows from L(N, D) = E + A / N^alpha + B / D^beta of all lengths.

        Raises:
            Undecided: it is doubtful, or the examples were read more than EPOCHS times.
        """
        if (self.runs["tokens"] > EPOCHS * self.runs["unique_tokens"]).any():
            raise Undecided(f"L(N, D) is of new examples, and those of {self.name} were read more than {EPOCHS} times")
        return constant(_sound(self._surface).law)

    @functools.cached_property
    def _surface(self) -> Fit[Chinchilla]:
        return fit("chinchilla", self.runs, loss="squared", every_run=True)

    @functools.cached_property
    def allocation(self) -> Allocation:
        """N_opt(C), by the parabola at each compute."""
        sigma = self.noise.sigma if self.noise and self.noise.degrees else None
        return isoflop.isoflop(self.runs, sigma=sigma)


@dataclasses.dataclass(frozen=True, eq=False)
class Percentiles:
    """What pictures cost that are easy, and that are hard.

    Attributes:
        params: sizes, rising.
        tokens: that they were trained on.
        nats: of a whole picture, at each of PERCENTILES of all that are held out. (size, percentile)
    """

    name: str
    params: Array
    tokens: float
    nats: Array

    def law(self, k: int) -> Fit[HenighanN]:
        """L(N) of a percentile."""
        if len(self.params) < FEWEST:
            raise Undecided(f"fewer than {FEWEST} sizes of {self.name} have finished")
        rows = [{"run": f"{n:.0f}", "params": n, "tokens": self.tokens, "loss": v}
                for n, v in zip(self.params, self.nats[:, k], strict=True)]  # fmt: skip
        return fit("henighan-n", Table.from_rows(rows, self.name), loss="squared", every_run=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Captions:
    """Glyphs after their names and after none.

    Attributes:
        params: sizes, rising.
        without, after: nats per glyph, the mean over seeds of the longest runs. (size,)
        half: of the interval of their difference: of seeds, and of other held-out glyphs, as if each arm had its own,
            which is too wide where what is hard after a name is hard after none; infinite where no seeds tell.
        pairs: that were trained on. Where no two are alike, a name that says which has ln(pairs) of mutual information
            with its glyph; a difference of two models' losses is not bounded by it.
    """

    name: str
    params: Array
    without: Array
    after: Array
    half: Array
    pairs: float

    @property
    def which(self) -> float:
        """ln(pairs), nats: the least loss of names that are all alike likely."""
        return math.log(self.pairs)

    @property
    def told(self) -> Array:
        """Nats per glyph that the name tells these models; what each lacks of the best one is in it."""
        return self.without - self.after


class Domains(Evidence):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    @functools.cached_property
    def domains(self) -> Mapping[str, Domain]:
        """By name, those of which runs have finished.

        Raises:
            Undecided: there are none.
        """
        found = {}
        for experiment in LADDERS:
            try:
                table = self.need(experiment)
            except MISSING:
                continue
            for source in dict.fromkeys(table["data"].tolist()):
                own = table.where(table["data"] == source, "another source")
                one = domain(source, own)
                found[one.name] = one
        if not found:
            raise Undecided("no run of any domain has finished")
        return found

    @property
    def pictures(self) -> list[Domain]:
        found = [one for one in self.domains.values() if one.pictures]
        if not found:
            raise Undecided("no run on pictures has finished")
        return found

    @property
    def texts(self) -> list[Domain]:
        found = [one for one in self.domains.values() if not one.pictures]
        if not found:
            raise Undecided("no run on text or code has finished")
        return found

    # --- exponents beside Table 1

    @property
    def names(self) -> list[str]:
        """The domains that claims are about: the main ones, and what else has finished."""
        try:
            return list(dict.fromkeys([*MAIN, *self.domains]))
        except MISSING:
            return list(MAIN)

    def of(self, name: str) -> Domain:
        """The domain of that name.

        Raises:
            Undecided: none of its runs has finished.
        """
        if name not in self.domains:
            raise Undecided(f"no run of {name} has finished")
        return self.domains[name]

    def alpha_N(self, name: str) -> Claim:
        """The exponent of L(N): with a floor of pictures, without one of text, as the paper has them."""
        claim = self._claim("alpha_N", name, "L_of_N", 2, EXPONENT)
        law, constant = ("henighan-n", "alpha") if self._row(name) != LANGUAGE else ("kaplan-n", "alpha_N")

        def find() -> Fit:
            return self.of(name).size_law if law == "henighan-n" else self.of(name).power_of_size

        def others() -> list[float]:
            found = _others(self.of(name).longest, law, "params")
            return found if law == "henighan-n" else found + those(lambda: with_floor(self.of(name)))

        def with_floor(of: Domain) -> float:
            return _sound(of.size_law).constants["alpha"]

        return _by_fit(claim, find, constant, others)

    def alpha_C(self, name: str) -> Claim:
        """The exponent of L(C): with a floor of pictures, without one of text, as the paper has them."""
        claim = self._claim("alpha_C", name, "L_of_C", 2, EXPONENT)
        law, constant = ("henighan-c", "alpha") if self._row(name) != LANGUAGE else ("kaplan-c", "alpha_C")

        def find() -> Fit:
            return self.of(name).compute_law if law == "henighan-c" else self.of(name).power_of_compute

        def others() -> list[float]:
            found = _others(self.of(name).best, law, "flops")
            return found if law != "henighan-c" else found + those(lambda: self.of(name).of_surface(_of_compute))

        return _by_fit(claim, find, constant, others)

    def beta(self, name: str) -> Claim:
        """The exponent of the best size in compute."""
        claim = self._claim("beta", name, "N_opt", 1, BETA)
        try:
            found = self.of(name).allocation
        except MISSING as error:
            return claim.without(error)

        def others() -> list[float]:
            by_akima = those(lambda: isoflop.isoflop(self.of(name).runs, method="akima", draws=0).a)
            return by_akima + those(lambda: self.of(name).of_surface(lambda law: law.beta / (law.alpha + law.beta)))

        return dataclasses.replace(claim, ours=found.a, interval=_ends(*found.a_interval), others=others)

    def _row(self, name: str) -> str:
        return MAIN.get(name) or self.domains[name].paper

    def _claim(self, constant: str, name: str, column: str, place: int, enough: float) -> Claim:
        """What the row of Table 1 beside a domain says of a constant."""
        row = self._row(name)
        why = BYTE_TEXT if row == LANGUAGE else SMALL
        value = printed(row, column)[place]
        return Claim(f"{constant} of {name}", TABLE_1, value, enough=enough, above=why, below=why)

    # --- nats of a whole picture, beside Table 3

    def floor(self, of: Domain) -> Claim:
        """L_inf of L(C), per picture."""
        pixels = of.side**2
        claim = Claim(f"irreducible nats per picture of {of.name}", TABLE_3, per_image(of.paper)[0], unit="nats",
                      note=f"the paper's is of {words(of.paper)}, three colours of 256 levels")  # fmt: skip
        others = functools.partial(those, lambda: pixels * of.of_surface(lambda law: law.E))
        claim = _by_fit(claim, lambda: of.compute_law, "L_inf", others, times=pixels)
        lowest = pixels * float(of.runs["loss"].min())
        if claim.ours is None or lowest >= max((claim.ours, *(claim.interval or ()))):
            return claim
        what = "it" if lowest < claim.ours else "the interval's end"
        note = f"{claim.note}; the lowest run, {digits.plain(lowest, 4)}, lies below {what}"
        return dataclasses.replace(claim, note=note)

    def least(self, of: Domain) -> Claim:
        """L_inf of L(C), bits per byte."""
        claim = Claim(f"irreducible bits per byte of {of.name}", "none", None, unit="bits per byte")
        for found in those(lambda: _sound(of.compute_law)):
            claim = dataclasses.replace(claim, note=f"what is above it falls with exponent {said(found, 'alpha')}")
        return _by_fit(claim, lambda: of.compute_law, "L_inf", lambda: those(lambda: of.of_surface(lambda law: law.E)))

    def one_nat(self, of: Domain) -> Claim:
        """The compute at which one nat per picture is left above the floor."""
        claim = Claim(f"C of 1 nat per picture of {of.name}", TABLE_3, per_image(of.paper)[1] * PF_DAY, unit="FLOP",
                      note="extrapolated far beyond any run")  # fmt: skip
        try:
            said = _sound(of.compute_law).derived(lambda law: law.C_0 * (of.side**2) ** (1 / law.alpha), log=True)
        except MISSING as error:
            return claim.without(error)
        return dataclasses.replace(claim, ours=float(said.value), interval=_ends(float(said.low), float(said.high)))

    # --- what is exact

    @functools.cached_property
    def _baselines(self) -> dict[str, Baselines]:
        return {}

    def baselines(self, of: Domain) -> Baselines:
        """Models without weights on the same pictures.

        Raises:
            InputError: the pictures are not on this machine.
        """
        if of.source not in self._baselines:
            self._baselines[of.source] = Baselines.read(of.source)
        return self._baselines[of.source]

    def by_place(self, of: Domain) -> Array:
        """Nats at each place of an example of the largest longest runs, the mean over them; (n_ctx,)."""
        runs = of.longest
        runs = runs.where(runs["params"] == runs["params"].max(), "smaller")
        return self.loss_by_position(runs)[1]

    def percentiles(self, of: Domain) -> Percentiles:
        """Of the longest runs at each size; what a picture costs is the mean over seeds.

        Raises:
            Undecided: a run has no loss for each picture.
        """
        runs, known = of.longest, {}
        for records in self.experiments.values():
            known |= records.windows
        if lacking := [run for run in runs["run"].tolist() if run not in known]:
            raise Undecided(f"{len(lacking)} of {len(runs)} runs of {of.name} have no loss for each picture")
        N, each = np.unique(runs["params"]), float(runs["n_ctx"][0])
        nats = [
            np.percentile(each * np.mean([known[run] for run in runs["run"][runs["params"] == n]], 0), PERCENTILES)
            for n in N
        ]
        return Percentiles(of.name, N, float(runs["tokens"][0]), np.array(nats))

    # --- captions

    @functools.cached_property
    def captions(self) -> list[Captions]:
        """Each set of glyphs whose runs with captions and without have finished."""
        table = self.need("glyphs")
        table = table.where(table["tokens"] > 0, "not begun")
        found = []
        for source in dict.fromkeys(name.partition("?")[0] for name in table["data"].tolist()):
            own = table["data"] == source, table["data"] == f"{source}?captions=0"
            if not own[0].any() or not own[1].any():
                continue
            found.append(self._captions(source, *(table.where(keep, "another source") for keep in own)))
        if not found:
            raise Undecided("no set of glyphs has been trained with captions and without")
        return found

    def _captions(self, source: str, after: Table, without: Table) -> Captions:
        tables = [one.where(one["tokens"] == one["tokens"].max(), "shorter") for one in (without, after)]
        sizes = np.intersect1d(tables[0]["params"], tables[1]["params"])
        if not len(sizes):
            raise Undecided(f"no size of {source} was trained with captions and without")
        each = [[PICTURE * one["loss"][one["params"] == n] for n in sizes] for one in tables]
        means = [np.array([x.mean() for x in of]) for of in each]
        squares = sum(float(((x - x.mean()) ** 2).sum()) for of in each for x in of)
        degrees = sum(len(x) - 1 for of in each for x in of)
        counts = sum(np.array([1 / len(x) for x in of]) for of in each)
        half = np.full(len(sizes), np.inf)
        if degrees:
            half = t_quantile(LEVEL, np.array(degrees)) * np.sqrt(squares / degrees * counts)
            half = np.hypot(half, [self._of_glyphs(*(one["run"][one["params"] == n] for one in tables)) for n in sizes])
        pairs = float(after["unique_tokens"].max() / after["n_ctx"].max())
        name = source.removeprefix(GLYPHS)
        return Captions(name, sizes, *means, half=half, pairs=pairs)

    def _of_glyphs(self, *arms: NDArray[np.str_]) -> float:
        """Half the interval that glyphs leave to the difference of two arms, nats per glyph; the mean over their runs.

        Infinite where a run has no loss for each window, or one window alone.
        """
        losses, square, fewest = self.experiments["glyphs"].windows, 0.0, 2**31
        for arm in arms:
            each = [PICTURE * losses[run].astype(float) for run in arm.tolist() if run in losses]
            if len(each) < len(arm) or len(each[0]) < 2:
                return math.inf
            mean = np.mean(each, axis=0)
            square, fewest = square + float(mean.var(ddof=1)) / len(mean), min(fewest, len(mean))
        return float(t_quantile(LEVEL, np.array(fewest - 1))) * math.sqrt(square)

    def told(self, of: Captions) -> Claim:
        """What a name tells of its glyph at the largest size, over ln of how many were trained on.

        Infogain is mutual information over the loss of the text. No model of text is trained here; names of which none
        is likelier cost ln(pairs) at least, so that this is the most that Infogain can be.
        """
        claim = Claim(f"Infogain at most, {of.name}", "mutual information", None, enough=0.1,
                      note="what a name tells our largest model, over ln(pairs), the least loss of the names; the "
                      "paper's is about 10 % of the text")  # fmt: skip
        value, half = float(of.told[-1] / of.which), float(of.half[-1] / of.which)
        return dataclasses.replace(claim, ours=value, interval=_ends(value - half, value + half))

    # --- rates

    @functools.cached_property
    def rates(self) -> Mapping[tuple[str, float], dict[float, float]]:
        """By source and size, the loss at each learning rate over that at the rule's, less 1, by the factor."""
        runs = self.need("rates", "digit_rates")
        found: dict[tuple[str, float], dict[float, float]] = {}
        for source in dict.fromkeys(runs["data"].tolist()):
            for N in np.unique(runs["params"][runs["data"] == source]):
                own = (runs["data"] == source) & (runs["params"] == N)
                rate, loss = runs["learning_rate"][own], runs["loss"][own]
                if len(rate) < 3:
                    continue
                middle = float(np.sort(rate)[len(rate) // 2])
                base = float(loss[rate == middle].mean())
                found[source, float(N)] = {
                    float(r / middle): float(L / base - 1) for r, L in zip(rate, loss, strict=True)
                }
        if not found:
            raise Undecided("no size has finished at three learning rates")
        return found


def domain(source: str, runs: Table) -> Domain:
    """The runs on a source in the unit that its domain is measured in.

    Of pictures the loss is all that a picture costs over its pixels: the separator that ends it is in it, which costs
    next to nothing once a model can count. Of sets that are read several times it is the lowest on the way. Of text it
    is all that a text costs over its bytes, which are fewer than the tokens: separators are none.
    """
    keep = ("run", "status", "params", "tokens", "unique_tokens", "epochs", "steps", "learning_rate", "seed", "n_ctx")
    columns = {name: runs[name] for name in keep if runs.has(name)}
    side = math.isqrt(int(runs["n_ctx"][0]) - 1) if source.startswith(IMAGES) else 0
    loss = runs["loss"]
    if side:
        lowest = runs["loss_min"] if runs.has("loss_min") else loss
        loss = np.where(np.isfinite(lowest), lowest, loss) * (side**2 + 1) / side**2
    else:
        loss = runs["bits_per_byte"]
    table = Table(
        columns | {"flops": 6 * runs["params"] * runs["tokens"], "loss": loss}, np.arange(1, len(runs) + 1), runs.source
    )
    if side:
        name = f"{_set(source)} {side}×{side}"
        return Domain(name, source, table, "nats per pixel", side, NEAREST.get(side, "image_32x32"))
    return Domain("Python" if source == "python" else "text", source, table, "bits per byte", 0, LANGUAGE)


def _set(source: str) -> str:
    name = parse(source).name
    return {"digits": "digits", "fashion-mnist": "Fashion-MNIST"}.get(name, name)


def printed(paper: str, what: str) -> list[float]:
    """A row of Table 1: [L_inf, scale, exponent] of L_of_N and L_of_C, [scale, exponent] of N_opt; C in PF-days."""
    return reference.published()[PAPER][f"{paper}_{what}"]["value"]


def per_image(paper: str) -> list[float]:
    """A row of Table 3: irreducible nats per image, PF-days for 1 nat above them, exponent."""
    return reference.published()[PAPER][f"{paper}_per_image"]["value"]


def words(paper: str) -> str:
    """A row of Table 1 for people."""
    return "language" if paper == LANGUAGE else paper.replace("_", " ").replace("image", "images of")


def said(found: Fit, name: str) -> str:
    """A constant with its interval, for people."""
    return "{} ({})".format(*digits.constant(found.constants[name], *found.intervals[name]))


def _sound(found: Fit[L]) -> Fit[L]:
    """The fit, where nothing makes it doubtful."""
    if not found.sound:
        raise Undecided(f"the law is doubtful: {found.why}")
    return found


def _of_compute(law: Chinchilla) -> float:
    """The exponent of what is above the floor in C = 6ND, of the best sizes."""
    return law.alpha * law.beta / (law.alpha + law.beta)


def _by_fit(
    claim: Claim, find: Callable[[], Fit], name: str, others: Callable[[], list[float]] = list, times: float = 1.0
) -> Claim:
    try:
        found = _sound(find())
    except MISSING as error:
        return claim.without(error)
    low, high = found.intervals[name]
    return dataclasses.replace(
        claim, ours=times * found.constants[name], interval=_ends(times * low, times * high), others=others
    )


def _others(table: Table, law: str, column: str) -> list[float]:
    """The exponent by Huber's loss, and without the smallest and the largest of a column."""
    ends = np.array([table[column].min(), table[column].max()])
    options = [
        lambda: fit(law, table, loss="huber", every_run=True),
        lambda: fit(law, table.where(table[column] > ends[0], "smallest"), loss="squared", every_run=True),
        lambda: fit(law, table.where(table[column] < ends[1], "largest"), loss="squared", every_run=True),
    ]
    name = next(one.name for one in law_by_name(law).constants() if one.kind == "exponent")
    return [found.constants[name] for found in those(*options) if found.sound]


def _ends(low: float, high: float) -> Interval | None:
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None
