"""The page: its figures and its table in order."""

from collections.abc import Mapping

from analysis.papers.mixtures import figures
from analysis.papers.mixtures.evidence import Mixtures
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary
from configs.mixtures.experiments import PROPOSED

LAWS = "Ye et al., Liu et al.: the loss over the shares"
SCALES = "From small models to larger ones"
REPEATS = "From ample text to text that repeats"
TRAINED = "Proposals, trained"

BOTH, REPEATED = ("small", "large"), ("repeated", "repeated_large")

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: mixtures that were not fitted", LAWS, figures.figure_1, BOTH),
    "table1": Entry("Table 1: the laws by domain", LAWS, figures.table_1, BOTH),
    "fig2": Entry("Figure 2: a larger model, and the best mixtures", SCALES, figures.figure_2, BOTH),
    "fig3": Entry("Figure 3: parts that repeat", REPEATS, figures.figure_3, ("small", *REPEATED)),
    "table2": Entry("Table 2: the laws where parts repeat", REPEATS, figures.table_2, ("small", "repeated")),
    "fig4": Entry(
        "Figure 4: does the best mixture move", REPEATS, figures.figure_4, (*BOTH, *REPEATED, "proposed_repeated")
    ),
    "fig5": Entry("Figure 5: proposals, trained", TRAINED, figures.figure_5, ("small", "repeated", *PROPOSED)),
}

PAPER = Paper(
    title="Mixtures of texts, from our own runs",
    lede="The experiments of Ye et al. (2024), “Data Mixing Laws”, and of Liu et al. (2024), “RegMix”,",
    figures=FIGURES,
    summary=Summary(
        claims={
            "rank correlation, linear (Liu et al. (RegMix))": "a law linear in the shares orders unseen mixtures",
            "rank correlation, exponential (Liu et al. (RegMix))": "an exponential one orders them",
            "share of losses inside their interval (a 95 % interval)": "unseen losses lie inside their 95 % intervals",
            "rank correlation of two sizes (Liu et al. (RegMix))": "small models order mixtures as larger ones do",
            "price of proxies without repeats (Liu et al. (RegMix), rank invariance)": "the best mixture of "
            "ample text is best where parts repeat",
            "share of proposals inside their interval (a 95 % interval)": "what is proposed, trained, lies inside "
            "its interval",
        },
        figures=("fig1", "fig2", "fig4", "fig5"),
    ),
    evidence=Mixtures,
    scales="other texts and models forty to thousands of times as large",
    choices="none",
)
