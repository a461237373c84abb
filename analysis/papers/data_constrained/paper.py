"""The page: its figures and its table in order, and the experiments whose runs each needs."""

from collections.abc import Mapping

from analysis.papers.data_constrained import figures
from analysis.papers.data_constrained.evidence import DataConstrained
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

RETURNS = "Muennighoff et al.: returns on repeated tokens"
TURNS = "Lovelace et al.: when more epochs harm"
LAWS = "Which law"
HELD = "What regularisation buys"
FILLED = "Muennighoff et al.: code in place of repeats"

PLAIN = ("grid", "repeats")
ALL = (*PLAIN, "dropout", "arms")

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry("Figure 1: what repeated tokens cost", RETURNS, figures.figure_1, (*PLAIN, "dropout")),
    "fig2": Entry("Figure 2: what repeated tokens are worth", RETURNS, figures.figure_2, (*PLAIN, "dropout")),
    "fig3": Entry("Figure 3: the best number of epochs", TURNS, figures.figure_3, PLAIN),
    "fig4": Entry("Figure 4: how far two laws miss", LAWS, figures.figure_4, PLAIN),
    "table1": Entry("Table 1: the constants of two laws", LAWS, figures.table_1, PLAIN),
    "fig5": Entry("Figure 5: weight decay and dropout", HELD, figures.figure_5, ALL),
    "fig6": Entry("Figure 6: the penalty by weight decay and dropout", HELD, figures.figure_6, ALL),
    "fig7": Entry("Figure 7: code in place of repeats", FILLED, figures.figure_7, (*PLAIN, "filled")),
}

PAPER = Paper(
    title="Repeated data, from our own runs",
    lede="The experiments of Muennighoff et al. (2023), “Scaling Data-Constrained Language Models”, and the law of "
    "Lovelace et al. (2026), as far as losses go,",
    figures=FIGURES,
    summary=Summary(
        claims={
            "loss of 4 epochs over new tokens − 1, dropout 0.1 (Muennighoff et al., Figure 4)": "with dropout four "
            "epochs cost a model that is small for its data hardly more than new tokens",
            "loss of 4 epochs over new tokens − 1, unregularised (Muennighoff et al., Figure 4)": "without dropout and "
            "weight decay, too, four epochs cost such a model hardly more",
            "16 epochs in new tokens / U, dropout 0.1 (5)": "sixteen epochs of U tokens are worth some 10 U new ones",
            "sum of the penalty over that of effective data (182 public runs)": "a penalty for learning by heart has "
            "seven tenths of the misfit of effective data",
            "delta (Lovelace et al. (2026))": "the penalty grows with the repeats as R^delta",
            "loss with half code over 2 epochs − 1 (Muennighoff et al., section 7)": "half code in place of a second "
            "epoch does the loss on text no harm",
            "best epochs over N (Lovelace et al. (2026))": "the best number of epochs falls with the size as N^-0.7",
            "P, weight decay 1 over 0.1 (Lovelace et al. (2026))": "ten times the weight decay cuts the penalty, its "
            "exponents those without it, to three tenths",
        },
        figures=("fig1", "fig3", "fig4", "fig5"),
    ),
    evidence=DataConstrained,
    scales="other text and models a ten-thousandth as large",
    choices="without the embedding in N, with shorter runs too, from the runs alone that use their context, and with "
    "all constants fitted together",
)
