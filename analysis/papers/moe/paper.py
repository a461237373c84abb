"""The page: its figures and its table in order."""

from collections.abc import Mapping

from analysis.papers.moe import figures
from analysis.papers.moe.evidence import MoE
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

HASH = "Clark et al.: loss by the number of experts"
ROUTED = "How tokens are sent, and how long is trained"
JOINT = "Ludziejewski et al.: size, tokens and experts"

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: loss over the number of experts", HASH, figures.figure_1, ("experts",)),
    "fig2": Entry("Figure 2: over tokens, and by routing", ROUTED, figures.figure_2, ("experts", "routings", "rates")),
    "table1": Entry("Table 1: the joint law", JOINT, figures.table_1, ("experts",)),
    "fig3": Entry("Figure 3: dense and routed models by the joint law", JOINT, figures.figure_3, ()),
}

PAPER = Paper(
    title="Mixtures of experts, from our own runs",
    lede="The experiments of Clark et al. (2022), “Unified Scaling Laws for Routed Language Models”, and of "
    "Ludziejewski et al. (2025), “Joint MoE Scaling Laws”,",
    figures=FIGURES,
    summary=Summary(
        claims={
            "loss with the most experts / dense (Clark et al., Table 3)": "experts lower the loss at equal compute as "
            "far",
            "b + c log N (Clark et al., Table 3)": "the loss falls as fast with the number of experts",
            "c (Clark et al., Table 3)": "the larger the model, the less",
            "gamma (Ludziejewski et al.)": "with experts the loss falls more slowly with N",
            "zeta (Ludziejewski et al.)": "and faster with D",
        },
        figures=("fig1", "fig2", "fig3"),
        beyond="what experts give models of many millions of parameters with many tokens for each expert, nor, with so "
        "small a vocabulary, whether a learned router overtakes a hash",
    ),
    evidence=MoE,
    scales="other text and models a thousand times as large",
    choices="by Huber's loss, without the smallest size, without the most experts, and with the saturation of the "
    "paper's learned router",
)
