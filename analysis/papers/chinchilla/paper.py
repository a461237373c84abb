"""Every figure and table of the paper in its order: what draws it, and the experiments whose runs it needs."""

from collections.abc import Mapping

from analysis.papers.chinchilla import (
    admitted,
    cycles,
    envelopes,
    forecasts,
    predictions,
    profiles,
    published,
    surfaces,
    tables,
)
from analysis.papers.chinchilla.evidence import Chinchilla2022
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

INTRODUCTION = "1 Introduction"
ROWS = "The runs that count"
APPROACHES = "3 Three approaches to the best split of compute"
ALLOCATION = "3.4 What they say, and how well they forecast"
APPENDIX_B = "Appendix B: the length of the cosine"
APPENDIX_C = "Appendix C: other texts"
APPENDIX_D = "Appendix D: details of the approaches"
APPENDIX_E = "Appendix E: whether the frontier bends"
APPENDIX_F = "Appendices F and J: counting, and what becomes of the constants"

GRID = ("grid",)

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: the best size over compute, three times", INTRODUCTION, predictions.figure_1, GRID),
    "admitted": Entry("Which runs are admitted: the onset of context use", ROWS, admitted.figure, GRID),
    "fig2": Entry("Figure 2: approach 1, the envelope of training curves", APPROACHES, envelopes.figure_2, GRID),
    "fig3": Entry("Figure 3: approach 2, IsoFLOP profiles", APPROACHES, profiles.figure_3, GRID),
    "fig4": Entry("Figure 4: approach 3, a fitted surface", APPROACHES, surfaces.figure_4, GRID),
    "table2": Entry("Table 2: the exponents of the three approaches", ALLOCATION, tables.table_2, GRID),
    "table3": Entry("Table 3: when a size is the best, by approach 1", ALLOCATION, predictions.table_3, GRID),
    "forecast": Entry("Forecasts: four times the compute, held out", ALLOCATION, forecasts.forecast, GRID),
    "promised": Entry("A predicted run: dated forecasts, and what came", ALLOCATION, forecasts.promised, GRID),
    "figA1": Entry("Figure A1: cosines longer than the run", APPENDIX_B, cycles.figure_a1, ("cycle",)),
    "tableA2": Entry("Figure A2 and Table A2: other texts", APPENDIX_C, tables.table_a2, GRID),
    "figA3": Entry("Figure A3: the best number of tokens over the size", APPENDIX_D, predictions.figure_a3, GRID),
    "tableA3": Entry(
        "Table A3: when a size is the best, by approaches 2 and 3", APPENDIX_D, predictions.table_a3, GRID
    ),
    "figA5": Entry("Figure A5: thirds of the frontier", APPENDIX_E, envelopes.figure_a5, GRID),
    "tableA9": Entry("Table A9: which parameters count", APPENDIX_F, tables.table_a9, GRID),
    "constants": Entry("Rounded, miscounted and off-centre constants", APPENDIX_F, published.constants, GRID),
}

PAPER = Paper(
    title="Hoffmann et al. (2022), figure by figure, from our own runs",
    lede="The experiments of “Training Compute-Optimal Large Language Models”",
    figures=FIGURES,
    summary=Summary(
        claims={
            "a, approach 1 (Table 2)": "by the envelope of training curves the best size grows as C^a",
            "a, approach 2 (Table 2)": "by profiles at equal compute the best size grows as C^a",
            "a, approach 3 (Table 2)": "by a surface fitted to all runs the best size grows as C^a",
            "alpha (10)": "with more parameters the loss falls towards a floor as N^(−alpha)",
            "beta (10)": "with more tokens the loss falls towards a floor as D^(−beta)",
            "tokens per parameter, approach 1 (Table 3)": "tokens per parameter at the middle compute, by the envelope",
            "tokens per parameter, approach 2 (Table 3)": "tokens per parameter at the middle compute, by profiles",
            "tokens per parameter, approach 3 (Table 3)": "tokens per parameter at the middle compute, by the surface",
        },
        figures=("fig1", "fig3", "fig4"),
    ),
    evidence=Chinchilla2022,
    scales="MassiveText and 32,000 tokens",
    beside=("tableA2",),
    choices="without the embedding, with other rows, and by other interpolants, losses and forms; Table 2 names each",
)
