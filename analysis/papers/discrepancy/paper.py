"""The page: its four figures and its table in order, and the arms whose runs each needs."""

from collections.abc import Mapping

from analysis.papers.discrepancy import expected, figures
from analysis.papers.discrepancy.evidence import ARMS, CONTROL, Discrepancy
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

WALK = "The walk from Kaplan's exponent to Hoffmann's"
COUNTING = "What counts"
TRAINING = "How runs are trained"

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: the exponent, one change after the other", WALK, figures.figure_1, (*ARMS, CONTROL)),
    "table1": Entry("Table 1: what each change is worth", WALK, figures.table_1, (*ARMS, CONTROL)),
    "fig2": Entry("Figure 2: the same runs, counted twice", COUNTING, figures.figure_2, ("tuned",)),
    "fig3": Entry(
        "Figure 3: what the head is worth, and the vocabulary", COUNTING, figures.figure_3, ("tuned", CONTROL)
    ),
    "fig4": Entry("Figure 4: the best size over compute, by arm", TRAINING, figures.figure_4, ARMS),
}

PAPER = Paper(
    title="Why Kaplan et al. (2020) and Hoffmann et al. (2022) disagree, from our own runs",
    lede="The experiments of Porian et al. (2024), “Resolving Discrepancies in Compute-Optimal Scaling of Language "
    "Models”",
    figures=FIGURES,
    summary=Summary(
        claims={
            "a, Kaplan's way (Table 1)": "counted and trained as by Kaplan et al. the best size grows as C^a",
            "count the head (Table 1)": "counting the head lowers this exponent",
            "shorten the warm-up (Table 1)": "a short warm-up then lowers it",
            "match the decay to each length (Table 1)": "a decay matched to each length lowers it a little",
            "tune rate, batch and beta2 (Table 1)": "rate, batch and beta2 tuned for each size lower it once more",
            "a, tuned by size (Table 1)": "after all of this the best size grows as C^a",
            "all of it (Table 1)": "all of it together lowers the exponent",
            "f, both vocabularies (Pearce and Song (2024))": "a parameter of the head is worth as much as any other, "
            "f = 1",
        },
        figures=("fig1", "fig2", "fig3", "fig4"),
    ),
    evidence=Discrepancy,
    scales="other text and models a thousand times as large",
    choices="by Akima's interpolant, and without the smallest or the largest size",
    expected=expected.expected,
)
