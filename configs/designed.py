"""A study that designs itself: it trains a pilot, asks which runs narrow a forecast most, trains them, and asks again.

    scaling study run configs/designed.py --out studies/designed --set minutes=30
    scaling study run configs/designed.py --out studies/designed --set minutes=60 until=0.01 target=1e6,1e7

The pilot is three sizes by three lengths, for at most PILOT of the budget. Its law is what is believed from then on;
while it is doubtful, what published laws say is. The first answer has only the cheaper runs of a design, up to HALF of
the budget; what is left is designed anew from what they show. The study ends when the law's interval at the target is
narrow enough, `until`, or when the budget is spent; whether it can be reached at all is said each time.

What is next follows from the runs that are there and from nothing else: after any interruption the same command
goes on to the same runs. With another target, `until` or budget in the same folder it is asked anew: `began`, the
budget that the folder was begun with, keeps its pilot where that of the new budget is another.

    scaling study run configs/designed.py --out studies/designed --set minutes=120 began=30

Runs that ended before their model used its context tell nothing of the law: they are in no fit, no promise, and what is
asked for next is longer. Costs are seconds of a core by the rule of `scaling.calibration`, the same on every machine;
each program is taken to serve SERVES runs. Runs are one epoch each, with a cosine of their own (docs/design.md).
"""

import dataclasses
import itertools
import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from configs.rates import learning_rate
from scaling import calibration
from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer
from scaling.rates import Text

if TYPE_CHECKING:
    from analysis.design.pool import Pool
    from analysis.design.prior import Prior

WIDTHS = (32, 48, 64, 96, 128, 192, 256, 384)  # of two layers: N = 24 width^2
SHORTEST = 2**18  # tokens; twice as many below ONSET, where a model begins late to use its context (configs/quickstart)
ONSET = 64  # width
DOUBLINGS = 8  # of the length of a size at most
RATIO = 1000.0  # tokens per parameter at most
BATCH = 4  # sequences of 64 tokens
PILOT, HALF = 0.35, 0.5  # of the budget
LARGEST = 0.2  # of the budget: no run costs more
SERVES = 3  # runs that a compiled program serves
BEYOND, TOKENS_PER_PARAM = 10.0, 20.0  # the target, where none is given: times the largest run's compute
SHARES = (0.25, 0.5, 1.0)  # of what is left, tried in turn where an interval is asked for
QUIET = 1e-3  # least scatter of a run that is believed: that of a few runs may come out as nothing


class Candidate(NamedTuple):
    width: int
    tokens: int

    @property
    def N(self) -> int:
        return 24 * self.width**2


def study(
    minutes: float = 30.0,
    target: str = "",
    until: float = 0.0,
    seed: int = 0,
    shortest: int = SHORTEST,
    rates: Text = "python",
    began: float = 0.0,
) -> Study:
    """The pilot; `more` adds the rest.

    Args:
      minutes: the budget, of one core: two cores take half of it.
      target: N,D of the forecast, such as 1e6,1e7; where left out, 10 times the compute of the largest run here.
      until: half width of the law's interval at the target that is enough, such as 0.01; 0: the budget is spent.
      seed: of the first run of each kind; the next have the next ones.
      shortest: tokens of the shortest run; fewer only to try things out.
      rates: the text whose learning rates the runs take; that of data.source where it is left out.
      began: the budget with which the folder was begun, whose pilot stays; 0: this one.
    """
    target_of(target, minutes, shortest)
    if until < 0:
        raise InputError(f"until={until:g}: wanted a half width such as 0.01, or 0")
    runs = tuple(run(each, seed, rates) for each in pilot(began or minutes, shortest))
    return Study("designed", "Which law do these runs follow, and what does it say of the target?", runs)


def more(
    table: Any,
    minutes: float = 30.0,
    target: str = "",
    until: float = 0.0,
    seed: int = 0,
    shortest: int = SHORTEST,
    rates: Text = "python",
    began: float = 0.0,
) -> tuple[RunConfig, ...]:
    """The next runs by what those of the table show; none where the interval is reached or the budget spent.

    Args:
      table: the study's runs, an `analysis.table.Table`.
      minutes, target, until, seed, shortest, rates, began: as given to `study`.
    """
    import numpy as np

    from analysis.design import chosen, promised
    from analysis.design.criterion import Criterion, Target
    from analysis.digits import percent

    there = [_candidate(N, D) for N, D in zip(table["params"], table["tokens"], strict=True)]
    told = admitted(table)
    if early := len(there) - len(told):
        _say(f"{early} of {len(there)} runs diverged or ended before their model used its context: in no fit")
    left = 60 * minutes - sum(map(seconds, there))
    some = _late_enough(candidates(minutes, shortest), table)
    open_ = [each for each in some if seconds(each) <= left]
    prior, doubtful = _believed(told)
    asked = Target(*(np.array([x]) for x in target_of(target, minutes, shortest)))
    criterion = Criterion.of(prior, pool(open_ or some), asked, (told["params"], told["tokens"]))
    now = promised(criterion, np.zeros(len(criterion.pool), np.int64)).law
    _say(f"{len(there)} runs leave the law's value at the target ± {percent(now)}, by {prior.told}")
    if (reached := now <= until and not doubtful) or not open_:
        more = f"--set minutes={2 * minutes:g} began={began or minutes:g} in the same folder goes on"
        _say("that is what was asked for" if reached else f"the budget buys no more runs; {more}")
        return ()
    shares = SHARES if until else SHARES[-1:]
    studies = (chosen(criterion, share * left * calibration.SPEED["cpu"]) for share in shares)
    told = [(counts, promised(criterion, counts).law) for counts in studies]
    counts, then = next((one for one in told if one[1] <= until), told[-1])
    cost = sum(n * seconds(each) for each, n in zip(open_, counts, strict=True)) / 60
    can = f"; ± {percent(until)} {'will' if then <= until else 'cannot'} be reached with this budget" if until else ""
    _say(f"{counts.sum()} runs more, {cost:.3g} minutes of a core, would leave ± {percent(then)}{can}")
    wanted = sorted((open_[i] for i in np.repeat(np.arange(len(open_)), counts)), key=seconds)
    if len(there) == len(pilot(began or minutes, shortest)):
        paid = 60 * minutes - left + np.cumsum([seconds(each) for each in wanted])
        wanted = wanted[: int((paid <= HALF * 60 * minutes).sum())] or wanted
    runs = []
    for each in wanted:
        runs.append(run(each, seed + there.count(each), rates))
        there.append(each)
    return tuple(runs)


def admitted(table: Any) -> Any:
    """The runs that a fit is to: those which Chinchilla's law is about, of models that used their context."""
    from analysis.laws import Chinchilla
    from analysis.laws.admission import IN_CONTEXT

    rows = IN_CONTEXT.admit(table)
    for admission in Chinchilla.about:
        rows = admission.admit(rows)
    return rows


def _late_enough(some: list[Candidate], table: Any) -> list[Candidate]:
    """Without those that, by a run of a size as large, would end before their model uses its context."""
    from analysis.laws.admission import IN_CONTEXT

    early = table.where(~IN_CONTEXT.rule(table).keep & (table["status"] == "done"), "")
    ends = [_candidate(N, D) for N, D in zip(early["params"], early["tokens"], strict=True)]
    return [each for each in some if not any(each.width <= end.width and each.tokens <= end.tokens for end in ends)]


def _candidate(N: float, D: float) -> Candidate:
    return Candidate(math.isqrt(round(N / 24)), round(D))


def candidates(minutes: float, shortest: int = SHORTEST) -> list[Candidate]:
    """What may be trained: sizes by lengths in factors of two, none for more than a share of the budget."""
    found = []
    for width in WIDTHS:
        least = shortest * (2 if width < ONSET else 1)
        lengths = (Candidate(width, least * 2**k) for k in range(DOUBLINGS))
        found += [each for each in lengths if each.tokens <= RATIO * each.N and seconds(each) <= 60 * LARGEST * minutes]
    return found


def pilot(minutes: float, shortest: int = SHORTEST) -> list[Candidate]:
    """Three sizes by three lengths of each, from the smallest on, as far apart as their share of the budget allows."""
    by_size = [list(own) for _, own in itertools.groupby(candidates(minutes, shortest), key=lambda each: each.width)]
    blocks = [
        ((a + b, a), [own[k * b] for own in by_size[: 2 * a + 1 : a] for k in range(3)])
        for a in range(1, len(by_size))
        for b in range(1, DOUBLINGS)
        if len(by_size) > 2 * a and all(len(own) > 2 * b for own in by_size[: 2 * a + 1 : a])
    ]
    fits = [(apart, block) for apart, block in blocks if sum(map(seconds, block)) <= 60 * PILOT * minutes]
    if not fits:
        raise InputError(f"minutes={minutes:g} of a core buy no pilot of three sizes by three lengths; give more")
    return max(fits, key=lambda each: each[0])[1]


def pool(some: list[Candidate]) -> "Pool":
    """Candidates for `analysis.design`: costs in FLOP that the core of the rule would do meanwhile."""
    import numpy as np

    from analysis.design.pool import Pool
    from analysis.frontier import FLOP_PER_PARAM_TOKEN

    N, D, cost = np.array([(each.N, each.tokens, seconds(each) * calibration.SPEED["cpu"]) for each in some], float).T
    return Pool(N, D, overhead=cost - FLOP_PER_PARAM_TOKEN * N * D)


def _believed(table: Any) -> "tuple[Prior, bool]":
    """What these runs say of the law, or, where that is doubtful, what published laws do; whether it is."""
    from analysis.design import prior
    from analysis.fit import fit

    try:
        found = prior.of_fit(fit("chinchilla", table, loss="squared"))
    except InputError as error:
        _say(f"{error}")
        return prior.published(), True
    return dataclasses.replace(found, noise=max(found.noise, QUIET)), False


def target_of(text: str, minutes: float, shortest: int) -> tuple[float, float]:
    """N and D of the forecast."""
    if not text:
        C = BEYOND * max((6.0 * each.N * each.tokens for each in candidates(minutes, shortest)), default=1.0)
        N = math.sqrt(C / (6 * TOKENS_PER_PARAM))
        return N, TOKENS_PER_PARAM * N
    try:
        N, D = (float(part) for part in text.split(","))
    except ValueError:
        N = D = math.nan
    if not (0 < N < math.inf and 0 < D < math.inf):
        raise InputError(f"target={text}: wanted parameters and tokens, such as 1e6,1e7")
    return N, D


def _say(text: str) -> None:
    print(f"designed: {text}", file=sys.stderr, flush=True)


def seconds(each: Candidate) -> float:
    """Of a core, by rule: training, evaluating, and a share of compiling."""
    one = run(each, 0, "python")
    costs = calibration.Costs("cpu")
    timing = costs.timing(one, 1)
    return costs.pack([one]) + timing.load + timing.compile / SERVES


def run(each: Candidate, seed: int, rates: Text) -> RunConfig:
    model = transformer(each.width, 2, d_head=8)
    return RunConfig(
        model,
        tokens=each.tokens,
        batch=BATCH,
        seed=seed,
        optim=OptimConfig(learning_rate=learning_rate(model.N, each.tokens, text=rates)),
        eval=EvalConfig(windows=512, per_octave=1, octaves=1),
    )
