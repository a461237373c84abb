"""The page: its figures and its table in order."""

from collections.abc import Mapping

from analysis.papers.emergence import figures
from analysis.papers.emergence.evidence import TESTS, Emergence
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

METRIC = "The metric: Wei et al. and Schaeffer et al."
LOSS = "The loss: Du et al."
SEEDS = "Single runs"
TASKS = "Other tasks, and tasks in text"

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: four metrics of the same answers", METRIC, figures.figure_1, ("sums",)),
    "table1": Entry("Table 1: emergence scores", METRIC, figures.table_1, ("sums",)),
    "fig2": Entry("Figure 2: how many questions are asked", METRIC, figures.figure_2, ("sums",)),
    "fig5": Entry("Figure 5: exact match from its digits", METRIC, figures.figure_5, ("sums",)),
    "fig3": Entry("Figure 3: exact match by the loss", LOSS, figures.figure_3, ("sums",)),
    "fig4": Entry("Figure 4: exact match over seeds", SEEDS, figures.figure_4, ("sums",)),
    "fig6": Entry("Figure 6: other tasks", TASKS, figures.figure_6, ("others",)),
    "fig7": Entry("Figure 7: copies mixed into text", TASKS, figures.figure_7, ("mixed",)),
}

PAPER = Paper(
    title="Emergence, from our own runs",
    lede="Both sides of a debate on the same outputs: Wei et al. (2022), “Emergent Abilities of Large Language "
    "Models”, Schaeffer et al. (2023), “Are Emergent Abilities of Large Language Models a Mirage?”, and Du et al. "
    "(2024), “Understanding Emergent Abilities of Language Models from the Loss Perspective”,",
    figures=FIGURES,
    summary=Summary(
        claims={
            f"share of zeros of {TESTS[0]} questions that are none of {TESTS[-1]:,} (Schaeffer et al.)": "what a "
            "model seemed unable to do it does once more questions are asked",
            "exact match / p^L, most surely off 1 (Schaeffer et al.)": "exact match is the share of right digits to "
            "the power of their number",
            "exact match / product over digits, most surely off 1 (digit by digit)": "it is the product of the shares "
            "of each digit",
            "share of runs half-way at sizes that are half-way (Zhao et al., 2025)": "at a size in between, runs are "
            "in between",
        },
        figures=("fig1", "fig2", "fig4", "fig5"),
        beyond="whether abilities of large models on text appear so: a skill is a digit of a sum here, chance is a "
        "tenth for each, and nobody wrote the questions of a benchmark",
    ),
    evidence=Emergence,
    scales="tasks, metrics and models of its own",
    choices="of no other analysis",
)
