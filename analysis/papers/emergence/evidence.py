"""What the figures share: the answers of every run, by digit, and what they are under each metric."""

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.confidence import LEVEL
from analysis.fit.estimate import Interval
from analysis.papers.claim import MISSING, Claim, Undecided
from analysis.papers.evidence import Evidence, rows_alone
from analysis.papers.evidence import joined as joined_tables
from analysis.table import Table

Array = NDArray[np.float64]

SCHAEFFER, ZHAO = "Schaeffer et al.", "Zhao et al., 2025"
TESTS = (50, 500, 20_000)  # questions
BETWEEN = 0.2, 0.8  # exact match of a run that is neither below nor above a step
PRODUCT, SHARE = 0.25, 0.15  # half-widths of 95 % intervals that decide
DRAWS = 2000
NEAR = 1.1  # losses are one loss within this factor
STEPS = "digits are learnt one at a time here, in the loss itself, and p is not the same for all of them"
TOGETHER = "questions that are hard in one digit are hard in another: digits are not right independently"
APART = "questions that are hard in one digit are easy in another: digits are not right independently"
METRICS = {
    "exact match": 1.0,
    "wrong digits": -1.0,
    "Brier score": -1.0,
    "log-likelihood": 1.0,
}  # each with its sign: 1 where more is better


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """The answers of runs to one task after their last update.

    Attributes:
        runs: rows of the table of runs.
        loss: nats per digit of the right answer, (run, digit).
        right: share of the questions in which a digit is the likeliest, given the right ones before, (run, digit).
        exact: share in which it and all before it are, (run, digit); the last is exact match.
        brier: (run, digit).
        wrong: how many digits of the answer to each question are not the likeliest, (run, question).
    """

    runs: Table
    loss: Array
    right: Array
    exact: Array
    brier: Array
    wrong: NDArray[np.int8]

    @property
    def N(self) -> Array:
        return self.runs["params"]

    @property
    def power(self) -> Array:
        """p^L, of the mean p over the digits: exact match by Schaeffer et al. (2023), appendix A."""
        return self.right.mean(1) ** self.right.shape[1]

    @property
    def product(self) -> Array:
        """The product of the shares of the digits: exact match, were the digits of a question right independently."""
        return self.right.prod(1)

    def metric(self, name: str, digits: int | None = None) -> Array:
        """A value per run: one of METRICS, of the first so many digits (all)."""
        n = digits or self.right.shape[1]
        match name:
            case "exact match":
                return self.exact[:, n - 1]
            case "wrong digits":
                return (1 - self.right[:, :n]).sum(1)
            case "Brier score":
                return self.brier[:, :n].mean(1)
            case _:
                return -self.loss[:, :n].sum(1)

    def where(self, keep: NDArray[np.bool_]) -> "Answers":
        arrays = (each[keep] for each in (self.loss, self.right, self.exact, self.brier))
        return Answers(rows_alone(self.runs, keep), *arrays, wrong=self.wrong[keep])


def questions(exact: float, sure: float = LEVEL) -> int:
    """How many, so that one of them is answered with that chance, each by itself with the chance `exact`."""
    return math.ceil(math.log(1 - sure) / math.log1p(-exact))


def questions_for(exact: float, error: float) -> float:
    """How many, so that the measured exact match is off by this share of itself (standard error)."""
    return (1 - exact) / exact / error**2


class Emergence(Evidence):
    """The runs and the claims. Where something is missing, asking for it raises Undecided, or InputError."""

    @functools.cached_property
    def sums(self) -> Answers:
        """All lengths of the sums."""
        return self.answers("sums")

    @functools.cached_property
    def longest(self) -> Answers:
        """The longest runs of the sums."""
        return self.sums.where(self.sums.runs["tokens"] == self.sums.runs["tokens"].max())

    def answers(self, experiment: str, task: str = "") -> Answers:
        """The answers of an experiment's runs.

        Args:
            task: only those about this, one of `tasks`.

        Raises:
            Undecided: no run has finished, or none was asked.
        """
        runs, table = self.need(experiment), self.by_token(experiment)
        last = table["step"] == table["steps"]
        wanted = last & np.array([task in ("", _subject(name)) for name in table["task"]])
        rows = {run: np.flatnonzero(wanted & (table["run"] == run)) for run in runs["run"]}
        keep = [n for n, run in enumerate(runs["run"]) if len(rows[run])]
        if not keep:
            raise Undecided(f"no run of the experiment {experiment} was asked {task or 'anything'}")
        own = [rows[runs["run"][n]] for n in keep]
        order = [at[np.argsort(table["token"][at])] for at in own]
        wrong = self.experiments[experiment].wrong
        chosen = Table({k: v[keep] for k, v in runs.columns.items()}, runs.rows[keep], runs.source)
        columns = (np.stack([table[name][at] for at in order]) for name in ("answer_loss", "right", "exact", "brier"))
        return Answers(chosen, *columns, wrong=np.stack([wrong[run][0] for run in chosen["run"]]))

    def by_token(self, experiment: str) -> Table:
        """All that was asked of an experiment's runs, at every evaluation."""
        table = self.experiments[experiment].answers if experiment in self.experiments else None
        if table is None or not len(table):
            raise Undecided(f"no run of the experiment {experiment} was asked anything")
        return table

    @functools.cached_property
    def tasks(self) -> tuple[str, ...]:
        """What the runs of `others` were asked, without what chooses the questions."""
        names = map(_subject, self.by_token("others")["task"])
        return tuple(dict.fromkeys(names))

    # --- what follows from the metric

    def ratio(self, by: str) -> Claim:
        """Measured exact match over p^L, or over the product: the run in which it is most surely not 1.

        Of the runs whose interval is narrow enough to decide, that with the most standard errors between the two. The
        intervals hold for all longest runs together (Sidak), so for whichever is chosen.
        """
        name = "exact match / p^L" if by == "power" else "exact match / product over digits"
        source, why = (SCHAEFFER, (STEPS, STEPS)) if by == "power" else ("digit by digit", (TOGETHER, APART))
        claim = Claim(f"{name}, most surely off 1", source, 1.0, enough=PRODUCT, above=why[0], below=why[1],
                      note="of all longest runs, which the interval allows for")  # fmt: skip
        try:
            ratios, intervals, errors = self.ratios(by)
        except MISSING as error:
            return claim.without(error)
        narrow = np.ptp(intervals, axis=1) <= 2 * PRODUCT
        at = int(np.where(narrow | ~narrow.any(), np.abs(errors), -1.0).argmax())
        low, high = intervals[at].tolist()
        return dataclasses.replace(claim, ours=float(ratios[at]), interval=(low, high))

    def ratios(self, by: str) -> tuple[Array, Array, Array]:
        """Of the longest runs that are predicted to be right at all: the ratios, their intervals, (run, 2), and how
        many standard errors of so many questions lie between what is measured and predicted.

        A prediction's own error is that of the same questions and goes up and down with what is measured: taking it as
        exact makes the intervals wider than they need be.
        """
        found, questions = self.longest, self.longest.wrong.shape[1]
        predicted = found.power if by == "power" else found.product
        exact, predicted = found.exact[predicted > 0, -1], predicted[predicted > 0]
        if not len(exact):
            raise Undecided("no run has all digits right anywhere")
        level = LEVEL ** (1 / len(exact))
        shares = [wilson(k, questions, level) for k in np.rint(exact * questions).astype(int).tolist()]
        error = np.sqrt(predicted * np.maximum(1 - predicted, 1 / questions) / questions)
        return exact / predicted, np.array(shares) / predicted[:, None], (exact - predicted) / error

    @functools.cached_property
    def hidden(self) -> Claim:
        """Of the longest runs with no right answer among the first TESTS[0], the share that has one among all."""
        claim = Claim(f"share of zeros of {TESTS[0]} questions that are none of {TESTS[-1]:,}", SCHAEFFER, 1.0,
                      enough=SHARE, independent=True, above="", below="the smallest models answer nothing but by "
                      "chance, which is 1e-4 here", note="of the longest runs with no right answer")  # fmt: skip
        try:
            wrong = self.longest.wrong
            zero = (wrong[:, : TESTS[0]] > 0).all(1)
            if wrong.shape[1] < TESTS[-1] or not zero.any():
                raise Undecided(f"no run has no right answer of {TESTS[0]}, or fewer than {TESTS[-1]:,} were asked")
            k, n = int((wrong[zero] == 0).any(1).sum()), int(zero.sum())
        except MISSING as error:
            return claim.without(error)
        low, high = wilson(k, n)
        return dataclasses.replace(claim, ours=k / n, interval=(low, high))

    @functools.cached_property
    def between(self) -> Claim:
        """The share of single longest runs whose exact match lies between BETWEEN, at sizes whose mean does."""
        claim = Claim("share of runs half-way at sizes that are half-way", ZHAO, None, enough=SHARE,
                      note=f"an exact match from {BETWEEN[0]} to {BETWEEN[1]}; no number is printed")  # fmt: skip
        try:
            found = self.longest
            exact = found.exact[:, -1]
            half = [n for n in np.unique(found.N) if BETWEEN[0] < exact[found.N == n].mean() < BETWEEN[1]]
            own = exact[np.isin(found.N, half)]
            if not len(own):
                raise Undecided("no size has a mean exact match half-way")
            k = int(((own > BETWEEN[0]) & (own < BETWEEN[1])).sum())
        except MISSING as error:
            return claim.without(error)
        low, high = wilson(k, len(own))
        return dataclasses.replace(claim, ours=k / len(own), interval=(low, high))

    # --- the emergence score

    def score(self, metric: str) -> Claim:
        """Of the mean over seeds against N, by Schaeffer et al. (2023) section 4, after Srivastava et al. (2022)."""
        claim = Claim(f"emergence score of {metric}", SCHAEFFER, None, independent=False,
                      note="of the mean over seeds; no number is printed for sums")  # fmt: skip
        try:
            found = self.longest
            N = np.unique(found.N)
            if len(N) < 4:
                raise Undecided("fewer than four sizes were trained")
            values = METRICS[metric] * found.metric(metric)
            rng = np.random.default_rng(0)
            draws = np.empty((DRAWS, len(N)))
            for k, n in enumerate(N):
                own = values[found.N == n]
                draws[0, k] = own.mean()
                draws[1:, k] = own[rng.integers(0, len(own), (DRAWS - 1, len(own)))].mean(1)
            scores = np.array([emergence_score(one) for one in draws])
        except MISSING as error:
            return claim.without(error)
        low, high = np.percentile(scores[1:], [2.5, 97.5])
        return dataclasses.replace(claim, ours=float(scores[0]), interval=(float(low), float(high)))

    # --- accuracy by loss

    @functools.cached_property
    def by_loss(self) -> Table:
        """Every evaluation of every run of the sums: N, tokens, loss per digit and exact match."""
        table = self.by_token("sums")
        rows = np.flatnonzero(np.isin(table["run"], self.need("sums")["run"]) & (table["step"] > 0))
        every = rows.reshape(
            -1, int(table["token"][rows].max(initial=1))
        )  # (evaluation, digit): the rows of one lie together
        at = every[:, -1]
        columns = {
            **{name: table[name][at] for name in ("run", "params", "seed", "tokens", "exact")},
            "loss": table["answer_loss"][every].mean(axis=1),
        }
        joined = joined_tables([self.experiments["sums"].runs])
        assert joined is not None
        return Table(columns, np.arange(1, len(at) + 1), joined.source)

    @functools.cached_property
    def spread(self) -> tuple[float, Array, Array]:
        """The factor by which exact match of two runs differs most at losses within a factor NEAR of one another.

        Chance is taken off: the factor is from the upper end of the smaller's 95 % interval to the lower end of the
        larger's.

        Returns:
            The factor, at least 1, and of both evaluations, the larger exact match first, the losses and exact matches.
        """
        table, questions = self.by_loss, self.sums.wrong.shape[1]
        if len(np.unique(table["run"])) < 2:
            raise Undecided("fewer than two runs were asked anything on the way")
        loss, exact = np.log(table["loss"]), table["exact"]
        ends = np.array([wilson(k, questions) for k in np.rint(exact * questions).astype(int).tolist()])
        low, high = np.log(np.maximum(ends, 1e-12)).T
        pairs = (np.abs(loss[:, None] - loss) <= math.log(NEAR)) & (table["run"][:, None] != table["run"])
        gaps = np.where(pairs, low[:, None] - high, -np.inf)
        at = list(np.unravel_index(int(gaps.argmax()), gaps.shape))
        return float(np.exp(max(gaps.max(), 0.0))), table["loss"][at], exact[at]


def _subject(task: str) -> str:
    """The name of a task without what chooses its questions."""
    return task.partition("&first=")[0]


def emergence_score(values: Array) -> float:
    """sign(argmax - argmin) (max - min) / sqrt(median of squared successive differences), of values by size."""
    fall = math.sqrt(float(np.median(np.diff(values) ** 2)))
    reach = float(values.max() - values.min())
    return math.copysign(reach / fall if fall else math.inf, int(values.argmax()) - int(values.argmin()))


def wilson(k: int, n: int, level: float = LEVEL) -> Interval:
    """The interval of a share, k of n that are independent."""
    ends = stats.binomtest(k, n).proportion_ci(level, method="wilson")
    return float(ends.low), float(ends.high)
