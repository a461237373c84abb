"""Every figure and table of the paper in its order: what draws it, and the experiments whose runs it needs."""

from collections.abc import Mapping

from analysis.papers.kaplan import (
    appendix,
    batch,
    compute,
    depth,
    efficiency,
    joint,
    length,
    lstm,
    near_position,
    position,
    power,
    reuse,
    schedules,
    shape,
    single,
    tables,
    transfer,
)
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.summary import SUMMARY
from analysis.papers.paper import Entry, Paper

INTRODUCTION = "1 Introduction and summary"
BACKGROUND = "2 Counting"
SHAPES = "3 Size, shape, architecture and other text"
OVERFITTING = "4 Little data, and over-fitting"
STEPS = "5 Steps and batches"
ALLOCATION = "6 The best use of compute"
APPENDIX_A = "Appendix A: the power laws in tables"
APPENDIX_B = "Appendix B: the efficient frontier"
APPENDIX_D = "Appendix D: further experiments"

_COMPUTE = ("grid", "batch")
_UPDATES = ("steps", "batch")
_BOTH = ("grid", "batch", "steps")

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry(
        "Figure 1: the loss over compute, data and size", INTRODUCTION, single.figure_1, ("grid", "data", "batch")
    ),
    "length": Entry("The exponent over the tokens trained", INTRODUCTION, length.figure, ("grid",)),
    "fig2": Entry("Figure 2: larger models need fewer tokens", INTRODUCTION, compute.figure_2, ("grid",)),
    "fig3": Entry("Figure 3: where growing compute goes", INTRODUCTION, compute.figure_3, _BOTH),
    "fig4": Entry(
        "Figure 4: size with data, and size with updates", INTRODUCTION, joint.figure_4, ("data", "steps", "batch")
    ),
    "summary": Entry(
        "Section 1.2: the scaling laws in summary", INTRODUCTION, tables.summary, ("grid", "data", "batch", "steps")
    ),
    "table1": Entry("Table 1: parameters and compute by operation", BACKGROUND, tables.table_1, ("grid",)),
    "fig5": Entry("Figure 5: shape at fixed N", SHAPES, shape.figure_5, ("shape", "grid")),
    "fig6": Entry("Figure 6: N with and without embeddings, by depth", SHAPES, depth.figure_6, ("grid", "depth")),
    "fig7": Entry("Figure 7: LSTM and Transformer", SHAPES, lstm.figure_7, ("lstm", "grid", "context")),
    "fig8": Entry("Figure 8: transfer to other texts", SHAPES, transfer.figure_8, ("steps",)),
    "table2": Entry("Table 2: L(N, D)", OVERFITTING, tables.table_2, ("data",)),
    "fig9": Entry("Figure 9: over-fitting depends on one number", OVERFITTING, joint.figure_9, ("data",)),
    "fig10": Entry("Figure 10: the critical batch against the loss", STEPS, batch.figure_10, ("batch",)),
    "table3": Entry("Table 3: L(N, S_min)", STEPS, tables.table_3, _UPDATES),
    "fig11": Entry(
        "Figure 11: the loss over size at fixed compute, and at fixed updates", STEPS, efficiency.figure_11, _BOTH
    ),
    "fig12": Entry("Figure 12: models of another than the best size", ALLOCATION, efficiency.figure_12, _UPDATES),
    "fig13": Entry("Figure 13: loss over compute, spent and least", ALLOCATION, compute.figure_13, _BOTH),
    "fig14": Entry("Figure 14: the best size, and its updates", ALLOCATION, compute.figure_14, _BOTH),
    "fig15": Entry(
        "Figure 15: where the laws contradict each other", ALLOCATION, compute.figure_15, ("grid", "data", "batch")
    ),
    "table4": Entry("Table 4: what each law is about", APPENDIX_A, tables.table_4, ("grid", "data", "batch", "steps")),
    "table5": Entry("Table 5: exponents and scales", APPENDIX_A, tables.table_5, ("grid", "data", "batch", "steps")),
    "table6": Entry("Table 6: compute-efficient training", APPENDIX_A, tables.table_6, _BOTH),
    "appendixB": Entry("Appendix B: closed forms against direct optimisation", APPENDIX_B, appendix.appendix_b, _BOTH),
    "fig16": Entry("Figure 16: when runs on little data stop", APPENDIX_D, joint.figure_16, ("data", "steps", "batch")),
    "fig17": Entry(
        "Figure 17: recurrent Transformers, with and without counting the reuse",
        APPENDIX_D,
        reuse.figure_17,
        ("universal", "grid"),
    ),
    "fig18": Entry("Figure 18: tokens against steps at fixed losses", APPENDIX_D, batch.figure_18, ("batch",)),
    "fig19": Entry("Figure 19: updates and tokens to a loss, by size", APPENDIX_D, efficiency.figure_19, _UPDATES),
    "fig20": Entry("Figure 20: loss along the context", APPENDIX_D, position.figure_20, ("context",)),
    "fig21": Entry(
        "Figure 21: loss at early and late positions against N", APPENDIX_D, near_position.figure_21, ("context",)
    ),
    "fig22": Entry("Figure 22: learning-rate schedules", APPENDIX_D, schedules.figure_22, ("schedule",)),
    "fig23": Entry("Figure 23: a power law or a logarithm of N", APPENDIX_D, single.figure_23, ("grid",)),
    "fig24": Entry("Figure 24: transfer against depth at fixed N", APPENDIX_D, depth.figure_24, ("shape",)),
}

PAPER = Paper(
    title="Kaplan et al. (2020), figure by figure, from our own runs",
    lede="The experiments of “Scaling Laws for Neural Language Models”",
    figures=FIGURES,
    summary=SUMMARY,
    evidence=Kaplan,
    scales="WebText2 and 50,257 tokens",
    expected=power.expected,
)
