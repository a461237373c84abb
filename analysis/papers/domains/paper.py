"""The page: its figures and its tables in order."""

from collections.abc import Mapping

from analysis.papers.domains import figures
from analysis.papers.domains.evidence import LADDERS, MAIN, Domains
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

SIZES = "Loss by compute and by size: Figures 1 and 3"
BEST = "The best size: Figure 2"
PIXELS = "Along a picture: Figure 6"
CODE = "Code and text"
CAPTIONS = "Names and glyphs: Figure 12"
TABLES = "Tables 1 and 3"
ABOVE = "Above the floor: Figure 5"
EASY = "Easy pictures and hard ones: Figure 10"
LIMITS = "What this scale cannot decide"

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: loss over compute", SIZES, figures.figure_1, LADDERS),
    "fig2": Entry("Figure 2: loss over size", SIZES, figures.figure_2, LADDERS),
    "fig3": Entry("Figure 3: the best size", BEST, figures.figure_3, LADDERS),
    "fig4": Entry("Figure 4: loss by pixel", PIXELS, figures.figure_4, LADDERS),
    "fig5": Entry("Figure 5: code against text", CODE, figures.figure_5, ("code", "text")),
    "fig6": Entry("Figure 6: what a name tells of its glyph", CAPTIONS, figures.figure_6, ("glyphs",)),
    "fig7": Entry("Figure 7: what is above the floor", ABOVE, figures.figure_7, LADDERS),
    "fig8": Entry("Figure 8: easy pictures and hard ones", EASY, figures.figure_8, ("digits", "fashion")),
    "table1": Entry("Table 1: exponents", TABLES, figures.table_1, LADDERS),
    "table2": Entry("Table 2: nats of a whole picture", TABLES, figures.table_2, ("digits", "fashion")),
    "table3": Entry(
        "Table 3: what this scale cannot decide", LIMITS, figures.table_3, (*LADDERS, "rates", "digit_rates")
    ),
}

PAPER = Paper(
    title="Pictures, code and text, from our own runs",
    lede="The experiments of Henighan et al. (2020), “Scaling Laws for Autoregressive Generative Modeling”, on small "
    "grey pictures, code, text and glyphs,",
    figures=FIGURES,
    summary=Summary(
        claims={
            f"{name} of {domain} (Henighan et al., Table 1)": words.format(domain)
            for name, words in (
                ("alpha_C", "the loss of {} falls with C as fast"),
                ("beta", "the best size of {} grows as fast with C"),
            )
            for domain in MAIN
        },
        figures=("fig1", "fig2", "fig3", "fig4"),
        beyond="exponents and floors of pictures in general, nor whether a law goes on where the paper's sizes begin",
    ),
    evidence=Domains,
    scales="its pictures, their resolution and levels",
    choices="by Huber's loss, without the smallest and the largest size or compute, and by another interpolation",
)
