"""What the figures share: the corrupted runs and their law, and the sizes that runs with repeated text are worth."""

import dataclasses
import functools
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from analysis import digits, frontier
from analysis.fit import fit
from analysis.fit.estimate import Fit, Interval
from analysis.laws import Subramanyam
from analysis.papers.claim import MISSING, Claim, Undecided, those
from analysis.papers.evidence import Evidence, in_context
from analysis.table import Table

Array = NDArray[np.float64]

CORRUPTED = re.compile(r"corrupt\(.*, share=([\d.]+)\)", re.DOTALL)
COPIED = re.compile(r"(dedup\()?duplicate\(.*, share=([\d.]+), times=\d+\)+", re.DOTALL)
FILTERED = re.compile(r"filter\(corrupt\(.*\), keep=([\d.]+), by=.*\)", re.DOTALL)
SLIVER = re.compile(r"mix:.*\+([\d.]+)\*first\(.*, tokens=(\d+)\)", re.DOTALL)
SUBRAMANYAM, HERNANDEZ = "Subramanyam et al.", "Hernandez et al."
# C4, eight layers: the constants as printed. Of translation gamma is 0.173 and beta 0.250.
PRINTED = {"beta": 0.396, "gamma": 0.401}
# Of a model of 8e8 parameters, the size that is as good, at the most harmful sliver: half of it at a share of 10 %
# (abstract), a tenth at 50 %.
LEAST = {0.1: 0.5, 0.5: 0.1}
EXPONENT, WORTH, ERROR, SIZE = 0.05, 0.1, 0.01, 0.1  # half-widths of 95 % intervals that decide
DRAWS = 400
TEXT = (
    "half of the words are replaced by letters here, half of the tokens there, and text, vocabulary and models differ"
)
FEW = "the paper's models are 30,000 times as large and see 1e11 tokens, of which a sliver is read thousands of times"


@dataclasses.dataclass(frozen=True, eq=False)
class Repeated:
    """Runs that read some of their text again, the most repeats last.

    Attributes:
        share: of the tokens that are read again; 1 where all of the text is.
        repeats: times that it is read.
        effective: the size that reaches the loss on the text as it is, over the run's own. (run, draw), the first as
            measured; NaN beyond the sizes.
    """

    table: Table
    share: Array
    repeats: Array
    effective: Array

    def of(self, share: float) -> "Repeated":
        keep = np.flatnonzero(self.share == share)
        keep = keep[np.argsort(self.repeats[keep])]
        rows = Table({k: v[keep] for k, v in self.table.columns.items()}, self.table.rows[keep], self.table.source)
        return Repeated(rows, self.share[keep], self.repeats[keep], self.effective[keep])


@dataclasses.dataclass(frozen=True, eq=False)
class Copies:
    """What near-copies cost, and what is left of that where they are sought and dropped.

    Attributes:
        role: of each run, "planted", "sought" (and dropped) or "own": those of the text itself sought, without others.
        worth: tokens of the text as it is that reach the mean loss of the runs of a role, over their own, (draw,), the
            first as measured. The draws move the losses as other seeds would; the law stays as it is.
        planted, found: documents; `found` without those of the text's own.
    """

    table: Table
    role: NDArray[np.str_]
    worth: dict[str, Array]
    planted: int
    found: int


@dataclasses.dataclass(frozen=True, eq=False)
class Filters:
    """Filters of several strengths on a pool of which a part is corrupted.

    Attributes:
        keep: of each run, the share of the pool that is kept.
        best: of each length, rising, the share with the lowest mean loss, (length, draw), the first as measured.
        lengths: tokens, rising.
    """

    table: Table
    keep: Array
    lengths: Array
    best: Array


class Quality(Evidence):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    # --- corrupted text

    @functools.cached_property
    def corrupted(self) -> Table:
        """The runs with the share of tokens that are of documents left as they are, `quality`, and the number of their
        trunk; of documents where `dearer` is not known.
        """
        runs = self.need("corruption")
        shortest = min(map(len, runs["data"]))  # the text as it is, whatever was done to it before
        found = [CORRUPTED.fullmatch(source) if len(source) > shortest else None for source in runs["data"]]
        clean = np.array([1 - float(match[1]) if match else 1.0 for match in found])
        quality = clean if self.dearer is None else clean / (clean + self.dearer * (1 - clean))
        trunk = np.unique([f"{q} {seed}" for q, seed in zip(quality, runs["seed"], strict=True)], return_inverse=True)[
            1
        ]
        return in_context(runs.with_columns(quality=quality, trunk=trunk.astype(float)))

    @functools.cached_property
    def dearer(self) -> float | None:
        """Tokens that a corrupted document takes, over those that it took before; None where the records do not tell.

        Tokens per byte of a text are linear in the share that is corrupted, whose bytes stay.
        """
        runs = self.need("corruption")
        if not runs.has("train_bytes_per_token"):
            return None
        found = {
            float(match[1]): 1 / size
            for source, size in zip(runs["data"], runs["train_bytes_per_token"], strict=True)
            if (match := CORRUPTED.fullmatch(source)) and np.isfinite(size)
        }
        if len(found) < 2:
            return None
        slope, clean = np.polyfit(list(found), list(found.values()), 1)
        return float(1 + slope / clean)

    @functools.cached_property
    def law(self) -> Fit[Subramanyam]:
        """L(D, Q)."""
        found = fit("subramanyam", self.corrupted, loss="squared", clusters="trunk")
        if not found.sound:
            raise Undecided(f"the law is doubtful: {found.why}")
        return found

    def exponent(self, name: str) -> Claim:
        """beta or gamma."""
        claim = Claim(name, SUBRAMANYAM, PRINTED[name], enough=EXPONENT, above=TEXT, below=TEXT,
                      note="the paper's is of C4; of translation gamma is 0.173 and beta 0.250")  # fmt: skip
        return self._by_fit(claim, lambda law: getattr(law, name))

    @functools.cached_property
    def worth(self) -> Claim:
        """gamma / beta: 1 where corrupted documents are worth nothing, 0 where as much as others."""
        claim = Claim("gamma / beta", SUBRAMANYAM, PRINTED["gamma"] / PRINTED["beta"], enough=WORTH, above=TEXT,
                      below=TEXT, independent=False, note="of translation 0.69")  # fmt: skip
        return self._by_fit(claim, lambda law: law.worth)

    def _by_fit(self, claim: Claim, value: Callable[[Subramanyam], float]) -> Claim:
        try:
            found = self.law.derived(value)
        except MISSING as error:
            return claim.without(error)
        ends = (float(found.low), float(found.high))
        interval = ends if np.isfinite(ends).all() else None
        return dataclasses.replace(
            claim,
            ours=float(found.value),
            interval=interval,
            others=lambda: [value(other.law) for other in self._others],
        )

    @functools.cached_property
    def _others(self) -> list[Fit[Subramanyam]]:
        """The law by Huber's loss, and without the shortest runs and the worst text."""
        table = self.corrupted
        options = [
            lambda: fit("subramanyam", table, loss="huber", clusters="trunk"),
            lambda: fit("subramanyam", _but(table, "tokens"), loss="squared", clusters="trunk"),
            lambda: fit("subramanyam", _but(table, "quality"), loss="squared", clusters="trunk"),
        ]
        return [other for other in those(*options) if other.sound]

    @functools.cached_property
    def extrapolated(self) -> Claim:
        """How far the law of corrupted text alone lies from the text as it is, at the most tokens."""
        claim = Claim("error at Q = 1", SUBRAMANYAM, 0.0, enough=ERROR, above=TEXT,
                      below=TEXT, note="the paper has the losses on a line through that of clean text")  # fmt: skip
        try:
            table = self.corrupted
            longest = table["tokens"].max()
            clean = table["loss"][(table["quality"] == 1) & (table["tokens"] == longest)]
            if not len(clean):
                raise Undecided("no run on clean text has finished")
            found = fit("subramanyam", table.where(table["quality"] < 1, "clean"), loss="squared", clusters="trunk")
            if not found.sound:
                raise Undecided(f"the law of corrupted text alone is doubtful: {found.why}")
            predicted = found.predict(tokens=longest, quality=1.0)
            luck = 1.96 * self.known_noise.sigma / np.sqrt(len(clean))
        except MISSING as error:
            return claim.without(error)
        mean = float(np.exp(np.log(clean).mean()))
        low, high = float(predicted.low) / mean - 1 - luck, float(predicted.high) / mean - 1 + luck
        return dataclasses.replace(claim, ours=float(predicted.value) / mean - 1, interval=(low, high))

    # --- repeated text

    @functools.cached_property
    def sizes(self) -> tuple[Array, Array, Array]:
        """N, rising; ln of the mean loss on the text as it is; and the runs of each. (size,)"""
        runs = in_context(self.need("sizes"))
        N = np.unique(runs["params"])
        logs = [np.log(runs["loss"][runs["params"] == n]) for n in N]
        if len(N) < 3:
            raise Undecided("fewer than three sizes were trained on the text as it is")
        return N, np.array([own.mean() for own in logs]), np.array([len(own) for own in logs], float)

    @functools.cached_property
    def repeated(self) -> Repeated:
        """Runs with a sliver and runs that read all of their text again."""
        slivers = in_context(self.need("repeats"))
        found = [SLIVER.fullmatch(source) for source in slivers["data"]]
        share = np.array([float(match[1]) if match else np.nan for match in found])
        tokens = np.array([float(match[2]) if match else np.nan for match in found])
        tables, shares, repeats = [slivers], [share], [share * slivers["tokens"] / tokens]
        if "whole" in self.experiments:
            whole = in_context(self.need("whole"))
            tables.append(whole)
            shares.append(np.ones(len(whole)))
            repeats.append(whole["tokens"] / whole["unique_tokens"])
        names = ("run", "params", "tokens", "loss")
        columns = {name: np.concatenate([table[name] for table in tables]) for name in names}
        table = Table(columns, np.arange(1, len(columns["run"]) + 1), slivers.source)
        return Repeated(table, np.concatenate(shares), np.concatenate(repeats), self._effective(table))

    def beyond(self, loss: float, params: float) -> str:
        """Where the loss of a model of so many parameters N is higher or lower than that of every size, in words; empty
        where it is between them."""
        N, losses, _ = self.sizes
        if np.log(loss) > losses.max():
            return f"worse than the smallest size, N / {params / N[0]:.3g}"
        return f"better than the largest size, {N[-1] / params:.3g} N" if np.log(loss) < losses.min() else ""

    def _effective(self, table: Table) -> Array:
        """N_eff / N, (run, draw): each draw moves the losses as other seeds would."""
        N, losses, counts = self.sizes
        sigma = self.known_noise.sigma
        rng = np.random.default_rng(0)
        own = np.log(table["loss"])[:, None] + sigma * rng.standard_normal((len(table), DRAWS + 1))
        theirs = losses[:, None] + sigma / np.sqrt(counts)[:, None] * rng.standard_normal((len(N), DRAWS + 1))
        own[:, 0], theirs[:, 0] = np.log(table["loss"]), losses
        found = np.empty_like(own)
        for k in range(DRAWS + 1):
            falling = np.minimum.accumulate(theirs[:, k])[::-1]  # rising, as np.interp wants them
            found[:, k] = np.exp(np.interp(own[:, k], falling, np.log(N)[::-1], left=np.nan, right=np.nan))
        return found / table["params"][:, None]

    def least(self, share: float) -> Claim:
        """N_eff / N at the most harmful sliver of a share."""
        claim = Claim(f"least N_eff / N at a share of {share:.0%}", HERNANDEZ, LEAST.get(share), enough=SIZE,
                      above=FEW, below=FEW, note="the paper's at 8e8 parameters; ours of the slivers that were tried, "
                      "between which the worst may lie")  # fmt: skip
        try:
            own = self.repeated.of(share)
            if not len(own.repeats):
                raise Undecided(f"no run has a sliver of {share:.0%}")
            if np.isnan(own.effective[:, 0]).any():
                raise Undecided("the worst runs are worse than the smallest size on the text as it is")
            worst = int(own.effective[:, 0].argmin())
            if worst in (0, len(own.repeats) - 1):
                raise Undecided(
                    f"the worst run, {own.effective[worst, 0]:.2f}, has the {'most' if worst else 'fewest'} repeats "
                    f"tried, {digits.short(own.repeats[worst])}: {'more' if worst else 'fewer'} may be worse"
                )
        except MISSING as error:
            return claim.without(error)
        draws = own.effective.min(axis=0)  # of whichever is the most harmful in a draw
        return dataclasses.replace(claim, ours=float(draws[0]), interval=interval(draws))

    # --- near-copies, and filters

    @functools.cached_property
    def copies(self) -> Copies:
        """Runs on a text with planted near-copies, and on what is left of it without them."""
        runs = in_context(self.need("copies"))
        role = np.array([_role(source) for source in runs["data"]])
        clean = self.corrupted.where(self.corrupted["quality"] == 1, "corrupted")
        if len(lengths := np.unique(runs["tokens"])) > 1 or not (own := clean["tokens"] == lengths[0]).any():
            raise Undecided("the text as it is was not trained at their length")
        as_it_is = np.log(clean["loss"][own])
        worth = {
            str(name): self._tokens_worth(np.log(runs["loss"][role == name]), as_it_is) for name in np.unique(role)
        }
        planted = found = -1
        if runs.has("train_documents") and set(role) == {"planted", "sought", "own"}:
            told = {name: runs.where(role == name, "another text") for name in ("planted", "sought", "own")}
            documents = {name: int(one["train_documents"][0]) for name, one in told.items()}
            near = {name: int(one["train_near_duplicates"][0]) for name, one in told.items()}
            planted, found = documents["planted"] - documents["own"], near["sought"] - near["own"]
        return Copies(runs, role, worth, planted, found)

    def _tokens_worth(self, own: Array, clean: Array) -> Array:
        """Tokens of the text as it is that have the mean of losses, over theirs, (draw,): by the law's fall with D.

        Args:
            own, clean: ln of the losses of as many tokens, of the text as it is the second ones.
        """
        law, rng = self.law.law, np.random.default_rng(0)
        sigma = self.known_noise.sigma * np.array([[len(own) ** -0.5], [len(clean) ** -0.5]])
        moved = sigma * rng.standard_normal((2, DRAWS + 1))
        moved[:, 0] = 0
        ours, theirs = np.exp(np.array([[own.mean()], [clean.mean()]]) + moved) - law.E
        return np.where((ours > 0) & (theirs > 0), np.abs(theirs / ours) ** (1 / law.beta), np.nan)

    @functools.cached_property
    def filters(self) -> Filters:
        """Runs on what filters leave of a pool of which a part is corrupted."""
        runs = in_context(self.need("filters"))
        found = [FILTERED.fullmatch(source) for source in runs["data"]]
        keep = np.array([float(match[1]) if match else 1.0 for match in found])
        keeps, lengths = np.unique(keep), np.unique(runs["tokens"])
        cells = [[np.log(runs["loss"][(keep == k) & (runs["tokens"] == d)]) for k in keeps] for d in lengths]
        if any(not len(cell) for row in cells for cell in row):
            raise Undecided("not every filter was trained at every length")
        means = np.array([[cell.mean() for cell in row] for row in cells])
        spread = self.known_noise.sigma / np.sqrt([[len(cell) for cell in row] for row in cells])
        drawn = means[..., None] + spread[..., None] * np.random.default_rng(0).standard_normal(
            (*means.shape, DRAWS + 1)
        )
        drawn[..., 0] = means
        return Filters(runs, keep, lengths, keeps[drawn.argmin(1)])


def _role(source: str) -> str:
    """What was done about near-copies in a text."""
    if (match := COPIED.fullmatch(source)) is None or not float(match[2]):
        return "own"
    return "sought" if match[1] else "planted"


def interval(draws: Array) -> Interval | None:
    """The middle 95 % of the draws after the first; None where any is beyond the sizes."""
    return None if np.isnan(draws).any() else frontier.percentile_interval(draws[1:])


def _but(table: Table, column: str) -> Table:
    return table.where(table[column] > table[column].min(), f"the least {column}")
