"""What is said: the loss over the size, and the exponent and the scale of its law beside the paper's."""

import functools

import numpy as np
from matplotlib import rc_context

from analysis import reference
from analysis.findings.study_laws import fitted
from analysis.laws import KaplanN
from analysis.laws.admission import CONVERGED_RUNS
from analysis.page.canvas import LOSS, STYLE, Shades, fitted_line, panels
from analysis.papers.claim import Claim
from analysis.papers.drawing import LAW, dots, legend, logarithmic, papers_slope
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import Evidence
from analysis.papers.known import Known, known, measured
from analysis.papers.paper import Entry, Paper
from analysis.papers.summary import Summary

ALPHA_N = reference.value("alpha_N", "kaplan2020")


class Skeleton(Evidence):
    """The law of the paper, and its constants beside ours."""

    @functools.cached_property
    def law(self) -> Known:
        """L(N) of runs of one length, converged or not."""
        return known(fitted(KaplanN, self.need("size"), 0, waived=(CONVERGED_RUNS,)))

    @functools.cached_property
    def alpha_N(self) -> Claim:
        return measured(Claim("alpha_N", "(1.1)", ALPHA_N, enough=0.02), lambda: self.law, "alpha_N")

    @functools.cached_property
    def N_c(self) -> Claim:
        return measured(
            Claim("N_c", "(1.1)", reference.value("N_c", "kaplan2020"), unit="parameters"), lambda: self.law, "N_c"
        )


def figure_1(evidence: Skeleton, drawn: Drawn) -> None:
    """Loss over size, with our law and the paper's exponent."""
    drawn.tell(evidence.alpha_N, evidence.N_c)
    with rc_context(STYLE):
        drawn.figure, (axes,) = panels(1, legend=False)
        with drawn.panel(axes, "Loss over size"):
            table = evidence.law.table
            N, loss, shades = table["params"], table["loss"], Shades.of(table)
            dots(axes, N, loss, [shades(float(n)) for n in N])
            logarithmic(axes, N, "params", loss)
            x = np.geomspace(N.min(), N.max(), 60)
            fitted_line(axes, x, evidence.law.fit, [x], LAW, label="our law")
            papers_slope(axes, N, loss, -ALPHA_N)
            axes.set_ylabel(LOSS)
            legend(axes)
            drawn.points({"params": n, "loss": L} for n, L in zip(N, loss, strict=True))


PAPER = Paper(
    title="A paper in miniature, from our own runs",
    lede="The one experiment of a paper that there is not",
    figures={"fig1": Entry("Figure 1: the loss over the size", "1 The law", figure_1, ("size",))},
    summary=Summary({"alpha_N (1.1)": "the loss falls as N^(−alpha_N)"}, ("fig1",)),
    evidence=Skeleton,
)
