"""The page: its figures in order."""

from collections.abc import Mapping

from analysis.papers.collapse import figures
from analysis.papers.collapse.evidence import Collapse
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

CHAINS = "Gerstgrasser et al.: replaced or accumulated"
TAILS = "Dohmatob et al.: the tail"
ALL = ("real", "replace", "fixed", "accumulate")

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: loss over generations", CHAINS, figures.figure_1, ALL),
    "fig2": Entry("Figure 2: how the loss grows", CHAINS, figures.figure_2, ALL),
    "fig3": Entry("Figure 3: by the frequency of tokens", TAILS, figures.figure_3, ALL),
}

PAPER = Paper(
    title="Models trained on what models write, from our own runs",
    lede="The experiments of Gerstgrasser et al. (2024), “Is Model Collapse Inevitable?”, arXiv 2404.01413, and a law "
    "of Dohmatob et al. (2024), “A Tale of Tails”, arXiv 2402.07043,",
    figures=FIGURES,
    summary=Summary(
        claims={
            "(L_5 - L_1) / (L_2 - L_1), replaced (Gerstgrasser et al.)": "where text is replaced the loss rises by as "
            "much in each generation",
        },
        figures=("fig1", "fig2", "fig3"),
    ),
    evidence=Collapse,
    scales="other text and models a thousand times as large",
    choices="of no other analysis",
)
