"""The page: its figures and its table in order."""

from collections.abc import Mapping

from analysis.papers.paper import Entry, Paper
from analysis.papers.quality import figures
from analysis.papers.quality.evidence import Quality
from analysis.papers.summary import Summary

CORRUPTION = "Subramanyam et al.: corrupted documents"
COPIES = "Near-copies, and what it is worth to drop them"
FILTERS = "Goyal et al.: a filter, against the number of epochs"
REPEATS = "Hernandez et al.: a sliver that is read again and again"

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: loss over the share of clean documents", CORRUPTION, figures.figure_1, ("corruption",)),
    "table1": Entry("Table 1: the law", CORRUPTION, figures.table_1, ("corruption",)),
    "fig2": Entry("Figure 2: repeated text", REPEATS, figures.figure_2, ("sizes", "repeats", "whole")),
    "fig3": Entry("Figure 3: near-copies", COPIES, figures.figure_3, ("corruption", "copies")),
    "fig4": Entry("Figure 4: filters", FILTERS, figures.figure_4, ("corruption", "filters")),
}

PAPER = Paper(
    title="The quality of text, from our own runs",
    lede="The experiments of Subramanyam et al. (2025), arXiv 2510.03313, and of Hernandez et al. (2022), “Scaling "
    "Laws and Interpretability of Learning from Repeated Data”, with near-copies and filters (Goyal et al. 2024, arXiv "
    "2404.07177),",
    figures=FIGURES,
    summary=Summary(
        claims={
            "gamma (Subramanyam et al.)": "the loss rises with the share of corrupted documents as Q^(−gamma)",
            "error at Q = 1 (Subramanyam et al.)": "the law of corrupted text holds up to clean text",
            "beta (Subramanyam et al.)": "with D it falls as D^(−beta)",
            "least N_eff / N at a share of 10% (Hernandez et al.)": "a tenth of the tokens, read from a sliver, makes "
            "a model as bad as one of half its size",
            "least N_eff / N at a share of 50% (Hernandez et al.)": "half of the tokens, read from a sliver, "
            "makes a model as bad as one of a tenth of its size",
        },
        figures=("fig1", "fig2", "fig4"),
    ),
    evidence=Quality,
    scales="other text and models thousands of times as large",
    choices="by another loss, without the shortest runs and without the worst text",
)
