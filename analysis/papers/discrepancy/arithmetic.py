"""What arithmetic predicts of each exponent before anything is trained, from the shapes and the warm-up alone.

The law behind it has equal exponents, so that N_opt ~ C^0.5 where compute counts the parameters that the loss depends
on (`expected.Truth`); f, what a parameter of the head is worth, is left open.
"""

import numpy as np

from analysis.counting import Family, best_sizes, exponent_between
from analysis.papers.claim import Undecided
from analysis.papers.discrepancy.evidence import TUNED, TUNED_WITHOUT, Discrepancy, Station
from analysis.papers.discrepancy.expected import WORTHS, Truth, family
from analysis.recount import Count
from analysis.table import Table

ENDS = 8, 128  # d_model between which the gap of a vocabulary is told
LAYERS = 2


def share(count: Count, runs: Table) -> float:
    """The share of the head's parameters that a count adds to N; attention counts as a little more head."""
    if count is Count.KAPLAN:
        return 0.0
    context = float(runs["n_layer"][0] * runs["n_ctx"][0] / runs["n_vocab"][0])
    return 1.0 + (context if count is Count.ATTENTION else 0.0)


def predicted(evidence: Discrepancy, at: Station, worth: float) -> float:
    """The exponent at a station, over the budgets at which our own is read.

    Raises:
        Undecided: ours is not known.
    """
    runs, found = evidence.need(at.arm), evidence.best(at)
    law = Truth(worth).in_tokens(float(runs["n_vocab"][0]))
    warmup = float(np.median(runs["warmup"] * runs["tokens"]))
    best = best_sizes(family(runs), law, found.flops, count=share(at.count, runs), worth=worth, warmup=warmup)
    return float(np.polyfit(np.log(best.flops), np.log(best.params), 1)[0])


def predictions(evidence: Discrepancy, at: Station) -> list[float]:
    """`predicted` for each of WORTHS."""
    return [predicted(evidence, at, worth) for worth in WORTHS]


def ends(evidence: Discrepancy) -> tuple[tuple[float, float], tuple[float, float]]:
    """d_model of the smallest and largest best size of the tuned arm, without the head and with it; ENDS if unknown."""
    found = []
    for at in (TUNED_WITHOUT, TUNED):
        try:
            N, V = evidence.best(at).params, float(evidence.need(at.arm)["n_vocab"][0])
        except Undecided:
            return ENDS, ENDS
        # 12 LAYERS d^2 + V d = N, or without the second.
        of_head = V if at.count is Count.HEAD else 0.0
        d = (np.sqrt(of_head**2 + 48 * LAYERS * N) - of_head) / (24 * LAYERS)
        found.append((float(d.min()), float(d.max())))
    return found[0], found[1]


def gap(
    n_vocab: float, worth: float, without: tuple[float, float] = ENDS, counted: tuple[float, float] = ENDS
) -> float:
    """How much larger the exponent is without the head than with it, of models of LAYERS layers.

    Args:
        without, counted: d_model of the smallest and the largest best size under each count.
    """
    models, law = Family.of_depth(n_vocab, LAYERS), Truth(worth).law
    a, b = (
        exponent_between(models, law, *(12 * LAYERS * d**2 for d in between), count=count, worth=worth)
        for count, between in ((0.0, without), (1.0, counted))
    )
    return a - b
