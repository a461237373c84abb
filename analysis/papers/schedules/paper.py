"""The page: its figures and its table in order."""

from collections.abc import Mapping

from analysis.papers.paper import Entry, Paper
from analysis.papers.schedules import figures
from analysis.papers.schedules.evidence import FIG_A1, HAEGELE_3, HAEGELE_5, LUO, Schedules
from analysis.papers.summary import Summary

CURVES = "Tissue et al., Luo et al., Li et al.: curves under unseen schedules"
COOLDOWNS = "Haegele et al.: cooldowns in place of a cosine"
CYCLES = "Hoffmann et al.: cosines longer than the run"
COLLAPSE = "Qiu et al.: one curve for all sizes"

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: six schedules from three", CURVES, figures.figure_1, ("nine",)),
    "table1": Entry("Table 1: how far laws are off unseen schedules", CURVES, figures.table_1, ("nine",)),
    "table2": Entry("Table 2: constants of laws of three schedules", CURVES, figures.table_2, ("nine",)),
    "fig2": Entry("Figure 2: cooldowns against a cosine", COOLDOWNS, figures.figure_2, ("nine", "gentle")),
    "fig3": Entry("Figure 3: cosines longer than the run", CYCLES, figures.figure_3, ("cycle", "slow", "nine")),
    "fig4": Entry("Figure 4: curves of sizes on one scale", COLLAPSE, figures.figure_4, ("collapse",)),
}

PAPER = Paper(
    title="Schedules of the learning rate, from our own runs",
    lede="The experiments of Hoffmann et al. (2022), Figure A1, Haegele et al. (2024), “Scaling Laws and "
    "Compute-Optimal Training Beyond Fixed Training Durations”, Tissue et al. (2024), “Scaling Law with Learning Rate "
    "Annealing”, Luo et al. (2025), “A Multi-Power Law for Loss Curve Prediction”, "
    "and Qiu et al. (2025), “Scaling Collapse”, as far as "
    "losses go,",
    figures=FIGURES,
    summary=Summary(
        claims={
            f"mean relative error, multi-power law ({LUO})": "a law of whole curves, fitted to three schedules, "
            "misses six others on average by as little as the paper's",
            f"worst relative error of a curve, multi-power law ({LUO})": "the worst point of a curve lies as close to "
            "such a law as in the paper",
            f"20 % cooldown over the cosine ({HAEGELE_3})": "a constant rate with a cooldown of a fifth ends where the "
            "tuned cosine does",
            f"40 % cooldown over one of 20 % ({HAEGELE_5})": "a longer cooldown gains no more",
            f"length of the best cosine at the tuned rate ({FIG_A1})": "the cosine should be as long as the run",
        },
        figures=("fig1", "fig2", "fig3", "fig4"),
    ),
    evidence=Schedules,
    scales="other text and models a thousand times as large",
    choices="from the other constant rate",
)
