"""Early stopping: the update of the lowest held-out loss against its lower bound, eq. 5.7, and the exceptions.

S_stop >= S_c / (L(N, D) - L(N, ample)) ** (1 / alpha_S): with ample data the loss would have fallen along L(N, S_min),
and the run on D tokens is no faster. Both sides are in updates of large batches, S_min of eq. 5.4.
"""

from collections.abc import Iterator

import numpy as np

from analysis import digits, laws
from analysis.batch_size import steps_to_minimum
from analysis.laws import KaplanStop, admission
from analysis.papers.claim import NotMeasurable, Undecided
from analysis.papers.kaplan.evidence import DILUTED, Evidence
from analysis.table import Table

SIGMAS = 2.0  # seed noise of a gap below which it is no gap
NAMED = 6  # exceptions that a sentence names


def stops(evidence: Evidence) -> Table:
    """The early-stopped runs of the experiment data with columns steps_stop, loss_gap and bound.

    Runs whose gap to the loss on the most data lies within the seed noise are left out: of them the bound says nothing.
    """
    table = evidence.excesses
    if not len(table):
        raise Undecided("no run of the experiment data has one of its size on the most data beside it")
    law = evidence.steps.sure("L(N, S_min)").fit.law
    assert isinstance(law, laws.KaplanNS)
    table = table.where(table["tokens_at_min"] < table["tokens"], "its lowest held-out loss is its last")
    noise = evidence.noise
    least = SIGMAS * np.sqrt(2) * (noise.sigma if noise else admission.CONVERGED / 2) * table["loss_min"]
    table = table.where(table["loss_gap"] > least, "its gap to the loss on the most data lies within the noise")
    if not len(table):
        raise Undecided("no run stopped early at a loss clearly above that on the most data")
    B, B_crit = table["batch_tokens"], evidence.batch.fit.law(table["loss_min"])
    if np.median(B_crit / B) > DILUTED:
        ratio = digits.plain(float(np.median(B_crit / B)), 2)
        raise NotMeasurable(
            f"these runs have a batch {ratio} times below the critical one: S_min is not told by updates"
        )
    stop = steps_to_minimum(table["tokens_at_min"] / B, B, B_crit)
    bound = KaplanStop(law.S_c, law.alpha_S)(table["loss_gap"])
    return table.with_columns(steps_stop=stop, bound=np.asarray(bound, float))


def sentences(table: Table) -> Iterator[str]:
    """How many runs keep to the bound, and the exceptions with the likely reason of each.

    Raises:
        Undecided: at the end, where most runs do not.
    """
    ratio = table["steps_stop"] / table["bound"]
    below = np.flatnonzero(ratio < 1)
    middle = digits.plain(float(np.exp(np.log(ratio).mean())), 2)
    kept = f"{len(table) - len(below)} of {len(table)} early-stopped runs lie above the bound (5.7)"
    yield f"{kept}, on average at {middle} times it; the paper has its runs above it."
    if not len(below):
        return
    named = "; ".join(_exception(table, int(i), float(ratio[i])) for i in below[:NAMED])
    more = f"; and {len(below) - NAMED} more" if len(below) > NAMED else ""
    yield f"Exceptions: {named}{more}."
    yield (
        "The bound assumes that the run would have followed L(N, S_min) of the experiment steps, which has no dropout "
        "and no cooldown; and the stop is known to the nearest branch alone, that is to a factor of 2."
    )
    if len(below) > len(table) / 2:
        raise Undecided("most early-stopped runs lie below it")


def _exception(table: Table, i: int, ratio: float) -> str:
    N, D = (digits.short(float(table[name][i])) for name in ("params", "unique_tokens"))
    gap = float(table["loss_gap"][i])
    why = "few updates, where L(N, S_min) fits worst" if gap > 0.1 * table["loss_min"][i] else "a small gap"
    return f"{table['run'][i]} (N = {N}, D = {D}, {digits.plain(ratio, 2)} times the bound: {why})"


def curves_of_largest(evidence: Evidence) -> Table:
    """The learning curves of the largest model's longest branch on each number of unique tokens.

    While runs are missing, the largest of those that were trained on most data sets.
    """
    curves = evidence.curves("data")
    N = np.unique(curves["params"])
    sets = [len(np.unique(curves["unique_tokens"][curves["params"] == n])) for n in N]
    largest = N[np.flatnonzero(np.array(sets) == max(sets))[-1]]
    table = curves.where(curves["params"] == largest, "another size")
    longest = []
    for D in np.unique(table["unique_tokens"]):
        own = np.flatnonzero(table["unique_tokens"] == D)
        longest.append(table["run"][own[np.argmax(table["steps"][own])]])
    return table.where(np.isin(table["run"], longest), "a shorter branch on the same data, or another dropout")
