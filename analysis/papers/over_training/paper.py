"""The page: its figures and its table in order; all read the main grid."""

from collections.abc import Mapping

from analysis.papers.chinchilla import admitted
from analysis.papers.over_training import figures
from analysis.papers.over_training.evidence import OverTraining
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

LINES = "Gadre et al.: lines of equal tokens per parameter"
RATIOS = "Sardana et al.: to thousands of tokens per parameter"
DEMAND = "What a model that will be served should be"
ROWS = "The runs that count"

GRID = ("grid",)

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: loss above the floor, at fixed tokens per parameter", LINES, figures.figure_1, GRID),
    "fig2": Entry("Figure 2: larger runs from a few small ones", LINES, figures.figure_2, GRID),
    "fig3": Entry("Figure 3: how far the loss goes on falling", RATIOS, figures.figure_3, GRID),
    "table1": Entry("Table 1: the law by the runs that it is fitted to", RATIOS, figures.table_1, GRID),
    "fig4": Entry("Figure 4: the best model by what it will serve", DEMAND, figures.figure_4, GRID),
    "admitted": Entry("Which runs are admitted: the onset of context use", ROWS, admitted.figure, GRID),
}

PAPER = Paper(
    title="Over-training, from our own runs",
    lede="The experiments of Gadre et al. (2024), “Language models scale reliably with over-training and on downstream "
    "tasks”, and of Sardana et al. (2024), “Beyond Chinchilla-Optimal”, as far as losses go,",
    figures=FIGURES,
    summary=Summary(
        claims={
            "change of the slope (Gadre et al., Figure 2)": "lines of equal tokens per parameter M are parallel: their "
            "slope does not change with M",
            "eta (4)": "along each of them the loss falls towards a floor as C^(−eta)",
            "alpha − beta (4)": "the terms of N and of D have one exponent",
            "error of the largest run (Gadre et al., section 4)": "a few small runs predict the largest",
            "alpha, all runs less those of M ≤ 100 (Sardana et al., Table 1)": "the exponent of N grows with the "
            "M that is fitted",
            "beta, all runs less those of M ≤ 100 (Sardana et al., Table 1)": "the exponent of D grows with the "
            "M that is fitted",
            "N at a demand of 1 (Sardana et al., eq. 3)": "a model that serves as many tokens as the cheapest training "
            "takes should be smaller by a quarter",
        },
        figures=("fig1", "fig2", "fig3", "fig4"),
    ),
    evidence=OverTraining,
    scales="other text and models a thousand times as large",
    choices="without the embedding in N and C, without the smallest size, by another loss or form, and from runs of 10 "
    "tokens per parameter on",
)
