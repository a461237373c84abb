"""What each choice of an architecture is worth: its loss beside that of one base, at equal N and D and at equal FLOP.

At one place (N, D, batch) ln(loss) is taken as the sum of what the architecture and the seed do, and noise: runs of
one seed see the same examples in the same order, so what all of them owe to it drops out of a difference. Changes are
shares of the base's loss. N is in non-embedding parameters, D in tokens.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from analysis import architecture, digits
from analysis.architecture import Architecture, architectures
from analysis.confidence import LEVEL, t_quantile
from analysis.findings.checks import APART, own_rates
from analysis.findings.shapes import SAME_SIZE
from analysis.laws.admission import ONE_PASS
from analysis.replicates import settings
from analysis.table import Table

MOST = 0.5  # of the runs that must have another architecture beside them
SAME_COST = 0.01  # FLOP that differ by less than this are equal

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Change:
    """Of the loss, as a share of the base's, with the half width of its interval of level LEVEL."""

    share: float
    half: float  # NaN where the noise is not known

    def __str__(self) -> str:
        half = f" ± {digits.percent(self.half)}" if math.isfinite(self.half) else ""
        return digits.percent(self.share, sign=True) + half


@dataclasses.dataclass(frozen=True)
class Choice:
    """One architecture beside the base, at one place.

    Attributes:
        name: what it has other than the base.
        params, cost: N, and its FLOP over the base's for as many tokens, every matrix product counted.
        at_tokens, at_flops: the change at equal D, and at equal FLOP; NaN where the base was trained at one length.
        p: that seeds alone make such a change at equal D, corrected for all choices at the place (Holm 1979).
        at_best: the change where both are at the best learning rate of those tried, NaN where fewer than two were.
    """

    name: str
    params: float
    cost: float
    seeds: int
    at_tokens: Change
    at_flops: Change
    p: float
    at_best: float

    @property
    def differs(self) -> bool:
        return self.p < 1 - LEVEL


@dataclasses.dataclass(frozen=True)
class Place:
    """Architectures of about one N after as many tokens, in batches of one size.

    Attributes:
        loss: of the base, the geometric mean of its seeds.
        slope: of ln(loss) in ln(FLOP) along the base's lengths, from the one next to this; NaN where there is none.
        choices: by rising loss.
    """

    params: float
    tokens: float
    loss: float
    seeds: int
    slope: float
    choices: tuple[Choice, ...]

    def __str__(self) -> str:
        return f"N = {digits.short(self.params)}, D = {digits.short(self.tokens)}"

    def sentences(self) -> Iterator[str]:
        known = [choice for choice in self.choices if math.isfinite(choice.p)]
        if known:
            n = len(known)
            text = "; ".join(f"{choice.name} ({choice.at_tokens})" for choice in known if choice.differs)
            those = digits.plural(n, "choice", "choices")
            yield (
                f"{self}: the base has a loss of {self.loss:.4f}; "
                + (f"of {n} {those} only these differ from it: {text}." if text else f"none of {n} {those} differs.")
            )
        dear = [c for c in self.choices if abs(c.cost - 1) > SAME_COST and math.isfinite(c.at_flops.share)]
        if dear:
            text = "; ".join(f"{c.name}, of {digits.plain(c.cost)} times the FLOP, {c.at_flops}" for c in dear)
            yield f"At the FLOP of each, where the base's loss falls as C^{digits.plain(self.slope, 2)}: {text}."
        won = [c for c in known if c.differs and c.at_tokens.share * c.at_best < 0]
        if won:
            text = "; ".join(f"{c.name} {digits.percent(c.at_best, sign=True)}" for c in won)
            yield f"With both at the best of the learning rates tried these turn round: {text}."


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the choices of an architecture are worth.

    Attributes:
        base: the architecture that most runs have at the rates of their own, in words.
        sigma: standard deviation of ln(loss) of a run, beside what its seed does to all architectures alike; of
            `degrees`, pooled over all places.
        paired: whether what the seed does to all was taken out.
    """

    base: str
    places: tuple[Place, ...]
    sigma: float
    degrees: int
    paired: bool

    def sentences(self) -> Iterator[str]:
        yield f"The base is this architecture, which most runs have: {self.base}."
        if self.degrees:
            noise = "beside what the seed does to all of them alike " if self.paired else ""
            yield (
                f"Single runs scatter by {digits.percent(self.sigma)} of the loss {noise}(one standard deviation, "
                f"{self.degrees} degrees of freedom). A choice is said to differ where that explains its change in "
                f"under {digits.percent(1 - LEVEL)} of cases, the number of choices allowed for (Holm)."
            )
        else:
            yield "No architecture was trained with several seeds: which of these changes are noise is not known."
        for place in self.places:
            yield from place.sentences()

    def rows(self) -> list[tuple[str, ...] | str]:
        """What HEAD names, under a heading for each place."""
        found: list[tuple[str, ...] | str] = []
        for place in self.places:
            found.append(f"{place}: the base's loss is {place.loss:.4f}, from {place.seeds} seeds")
            found += [
                (
                    choice.name,
                    f"{choice.params:,.0f}",
                    digits.plain(choice.cost),
                    str(choice.seeds),
                    str(choice.at_tokens),
                    digits.plain(choice.p, 2) if math.isfinite(choice.p) else "–",
                    str(choice.at_flops),
                    digits.percent(choice.at_best, sign=True),
                )
                for choice in place.choices
            ]
        return found

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"sentences": list(self.sentences())}


HEAD = (
    "Choice", "N", ("FLOP", "over the base's"), "Seeds", ("Loss", "at equal N and D"), ("p", "Holm"),
    ("Loss", "at equal FLOP"), ("Loss", "at the best rates"),
)  # fmt: skip


def find(runs: Table) -> Choices | None:
    """The choices in a table of finished runs, where most have another architecture beside them; None where not.

    Args:
        runs: at all learning rates.
    """
    if not len(runs) or not all(runs.has(name) for name in ("params", "tokens", "loss")):
        return None
    table = runs.where(np.isfinite(runs["loss"]), "no loss")
    table = ONE_PASS.admit(table)
    if not len(table):
        return None
    study = _Runs.of(table)
    bases = [place for place in study.bases() if len(set(study.what[i] for i in place.beside)) > 1]
    covered = {i for place in bases for i in place.beside}
    if len(covered) <= MOST * len(runs):
        return None
    designs, paired = [_Design.of(study, place, paired=True) for place in bases], True
    if not any(design.degrees for design in designs):
        designs, paired = [_Design.of(study, place, paired=False) for place in bases], False
    degrees = sum(design.degrees for design in designs)
    sigma = math.sqrt(sum(design.squares for design in designs) / degrees) if degrees else math.nan
    return Choices(
        architecture.described(study.base),
        tuple(design.compared(sigma, degrees) for design in designs),
        sigma,
        degrees,
        paired,
    )


@dataclasses.dataclass(frozen=True)
class _Base:
    """A place: the base's own setting there, the rows beside it at all rates, and the base at its next length."""

    params: float
    tokens: float
    beside: tuple[int, ...]  # rows of about this N, of this D and batch, the base's own among them
    other: tuple[int, ...]  # rows of the base at the length next to this


@dataclasses.dataclass(frozen=True, eq=False)
class _Runs:
    """A table with what its rows are."""

    table: Table
    what: list[Architecture]
    base: Architecture
    cell: NDArray[np.int64]  # of equal settings
    own: NDArray[np.bool_]  # at the setting's own rate
    seed: list[float]
    flops: Array  # per token

    @classmethod
    def of(cls, table: Table) -> "_Runs":
        what, own = architectures(table), own_rates(table)[0]
        flops = next(
            (table[name] for name in ("flops_total", "flops") if table.has(name)), 6 * table["params"] * table["tokens"]
        )
        return cls(
            table,
            what,
            architecture.commonest([one for one, mine in zip(what, own, strict=True) if mine]),
            settings(table),
            own,
            table["seed"].tolist() if table.has("seed") else [0.0] * len(table),
            flops / table["tokens"],
        )

    def bases(self) -> Iterator[_Base]:
        """The places at which the base was trained, by N and D."""
        table = self.table
        N, D = table["params"], table["tokens"]
        B = table["batch_tokens"] if table.has("batch_tokens") else np.zeros(len(table))
        mine = np.array([what == self.base for what in self.what])
        for size, length, batch in sorted({(n, d, b) for n, d, b in zip(N[mine], D[mine], B[mine], strict=True)}):
            same = (np.abs(N / size - 1) < SAME_SIZE) & (B == batch)
            lengths = np.unique(D[same & mine & (N == size)])
            apart = np.abs(np.log(lengths / length))
            far = apart > math.log(APART)
            near = lengths[far][np.argmin(apart[far])] if far.any() else math.nan
            yield _Base(
                float(size),
                float(length),
                tuple(np.flatnonzero(same & (D == length)).tolist()),
                tuple(np.flatnonzero(same & mine & (N == size) & (D == near)).tolist()),
            )

    def rows(self, rows: Sequence[int], what: Architecture) -> tuple[int, ...]:
        """Those of an architecture, of the setting that most of them have, at all rates."""
        mine = [i for i in rows if self.what[i] == what]
        setting = Counter(int(self.cell[i]) for i in mine).most_common(1)[0][0]
        return tuple(i for i in mine if self.cell[i] == setting)

    def log_loss(self, rows: Sequence[int]) -> Array:
        return np.log(self.table["loss"][list(rows)])

    def best(self, *levels: Sequence[int]) -> float:
        """ln of the first loss over the second, both at the best of their rates, on seeds that all of these have."""
        if not self.table.has("learning_rate"):
            return math.nan
        rate = self.table["learning_rate"]
        tried = [[[i for i in rows if rate[i] == one] for one in np.unique(rate[list(rows)])] for rows in levels]
        common = set.intersection(*({self.seed[i] for i in rows} for rates in tried for rows in rates))
        if not common or min(map(len, tried)) < 2:
            return math.nan
        first, second = (
            min(float(self.log_loss([i for i in rows if self.seed[i] in common]).mean()) for rows in rates)
            for rates in tried
        )
        return first - second


@dataclasses.dataclass(frozen=True, eq=False)
class _Design:
    """The least squares of one place: ln(loss) is that of a level, plus that of a seed.

    Levels are the base, then the base at its other length where there is one, then each other architecture.
    """

    study: _Runs
    place: _Base
    levels: tuple[tuple[int, ...], ...]  # rows at all rates
    own: tuple[tuple[int, ...], ...]  # rows at the own rate
    effects: Array  # of levels, then of seeds
    normal: Array  # matrix of the normal equations
    inverse: Array  # its
    squares: float  # sum of those left
    degrees: int

    @classmethod
    def of(cls, study: _Runs, place: _Base, *, paired: bool) -> "_Design":
        others = [what for what in dict.fromkeys(study.what[i] for i in place.beside) if what != study.base]
        levels = [study.rows(place.beside, study.base), *([place.other] if place.other else [])]
        levels += [study.rows(place.beside, what) for what in others]
        own = [tuple(i for i in rows if study.own[i]) for rows in levels]
        rows = [i for some in own for i in some]
        level = np.repeat(np.arange(len(own)), [len(some) for some in own])
        seed = np.array([study.seed[i] for i in rows])
        X = np.column_stack(
            [level[:, None] == np.arange(len(own)), *([seed[:, None] == np.unique(seed)] if paired else [])]
        ).astype(float)
        y = study.log_loss(rows)
        inverse = np.linalg.pinv(X.T @ X, hermitian=True)
        effects = inverse @ X.T @ y
        degrees = len(y) - int(np.linalg.matrix_rank(X))
        squares = float(((y - X @ effects) ** 2).sum()) if degrees else 0.0
        return cls(study, place, tuple(levels), tuple(own), effects, X.T @ X, inverse, squares, degrees)

    @property
    def span(self) -> float:
        """ln of this length over the other one; NaN without."""
        if not self.place.other:
            return math.nan
        return math.log(self.place.tokens / self.study.table["tokens"][self.place.other[0]])

    def compared(self, sigma: float, degrees: int) -> Place:
        """What the place shows, given the noise of all places."""
        first = 2 if self.place.other else 1
        found = [self._choice(level, sigma, degrees) for level in range(first, len(self.levels))]
        corrected = holm([choice.p for choice in found])
        found = [dataclasses.replace(choice, p=p) for choice, p in zip(found, corrected, strict=True)]
        return Place(
            self.place.params,
            self.place.tokens,
            math.exp(float(np.mean(self.study.log_loss(self.own[0])))),
            len(self.own[0]),
            self._contrast({0: 1.0, 1: -1.0})[0] / self.span if self.place.other else math.nan,
            tuple(sorted(found, key=lambda choice: choice.at_tokens.share)),
        )

    def _choice(self, level: int, sigma: float, degrees: int) -> Choice:
        study, row = self.study, self.levels[level][0]
        cost = float(study.flops[row] / study.flops[self.levels[0][0]])
        at_tokens = self._contrast({level: 1.0, 0: -1.0})
        at_flops = at_tokens if cost == 1 else (math.nan, math.nan)
        if self.place.other:  # the base is carried on by this share of the way from its other length
            share = math.log(cost) / self.span
            at_flops = self._contrast({level: 1.0, 0: -1.0 - share, 1: share})
        return Choice(
            architecture.differences(study.what[row], study.base) or "parts that the table does not tell",
            float(study.table["params"][row]),
            cost,
            len(self.own[level]),
            _change(*at_tokens, sigma, degrees),
            _change(*at_flops, sigma, degrees),
            _p(*at_tokens, sigma, degrees),
            math.expm1(study.best(self.levels[level], self.levels[0])),
        )

    def _contrast(self, weights: dict[int, float]) -> tuple[float, float]:
        """A sum of effects of levels and its error in units of sigma; NaN where no seed joins them."""
        c = np.zeros(len(self.effects))
        c[list(weights)] = list(weights.values())
        if not np.allclose(self.normal @ self.inverse @ c, c, atol=1e-6):
            return math.nan, math.nan
        return float(c @ self.effects), math.sqrt(float(c @ self.inverse @ c))


def holm(p: Sequence[float]) -> list[float]:
    """Each p corrected for the others (Holm 1979), so that under 5 % of tables have one below 0.05 by chance."""
    order = sorted((k for k in range(len(p)) if math.isfinite(p[k])), key=lambda k: p[k])
    found, highest = list(p), 0.0
    for place, k in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * p[k]))
        found[k] = highest
    return found


def _change(value: float, error: float, sigma: float, degrees: int) -> Change:
    t = float(t_quantile(LEVEL, np.array(float(degrees)))) if degrees else math.nan
    return Change(math.expm1(value), t * sigma * error)


def _p(value: float, error: float, sigma: float, degrees: int) -> float:
    if not degrees or not sigma * error > 0:
        return math.nan
    return 2 * float(special.stdtr(degrees, -abs(value) / (sigma * error)))
