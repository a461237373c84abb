"""The page: its figures in order."""

from collections.abc import Mapping

from analysis.papers.overoptimisation import figures
from analysis.papers.overoptimisation.evidence import FEW, KNOWN, Overoptimisation
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

BEST = "The best of n"
MODELS = "Reward models"
BESIDE = "Beside it"

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: gold reward of the best of n", BEST, figures.figure_1, ("proxies",)),
    "fig2": Entry("Figure 2: α and β", BEST, figures.figure_2, ("proxies",)),
    "fig3": Entry("Figure 3: how many comparisons", MODELS, figures.figure_3, ("proxies", "repeated")),
    "fig4": Entry("Figure 4: the loss of reward models", MODELS, figures.figure_4, ("soft",)),
    "fig5": Entry("Figure 5: a gold reward without a tail", BESIDE, figures.figure_5, ("proxies", "control")),
    "fig6": Entry("Figure 6: policies tilted by a proxy", BESIDE, figures.figure_6, ("proxies",)),
}

PAPER = Paper(
    title="Reward over-optimisation, from our own runs",
    lede="Gao, Schulman and Hilton (2022), “Scaling Laws for Reward Model Overoptimization”, with a gold reward that "
    "is known and a policy of random chains,",
    figures=FIGURES,
    summary=Summary(
        claims={
            "sign of alpha's slope in ln N (Gao et al.)": "the larger the proxy, the larger α",
            "sign of beta's slope in ln N (Gao et al.)": "the larger the proxy, the smaller β",
            f"gold at the largest n less the law of n <= {KNOWN} (Gao et al.)": "the law d (α − β d) of 6 nats holds "
            "beyond",
            f"accuracy with at most {FEW:,} pairs (Gao et al.)": "proxies of few comparisons are near chance",
            "accuracy of four epochs less that of one (Gao et al.)": "four epochs of the same pairs change nothing",
        },
        figures=("fig1", "fig2", "fig3", "fig5"),
        beyond="how steep the tail of what people want is, which decides where a proxy turns and was chosen here, nor "
        "what larger or trained policies do",
    ),
    evidence=Overoptimisation,
    scales="gold reward and policy of its own",
    choices="of no other analysis",
)
