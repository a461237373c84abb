"""The paper's constants beside ours: Tables 2, 3, 5 and 6, each from the fit that the figures show too.

Exponents are compared. Scales depend on text and vocabulary and are shown. C in PF-days here, as the paper prints it.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis import reference
from analysis.laws import KaplanND, KaplanNS
from analysis.papers.claim import MISSING, Claim, Undecided, those
from analysis.papers.kaplan.evidence import NEARLY, Efficient, Evidence
from analysis.papers.kaplan.left_out import jackknife
from analysis.papers.known import Known, measured
from scaling.counts import PF_DAY

# Half-widths of 95 % intervals that decide an exponent, whatever its value and the paper's.
OF_LOSS = 0.02  # of N, D and C: tells Kaplan's 0.076 and 0.095 from a half as much again
OF_STEPS = 0.2  # alpha_S
OF_BATCH = 0.05  # alpha_B
RATIO = 0.2  # alpha_N / alpha_D, powers of the position
SHARE = 0.1  # of growing compute: tells Kaplan's 0.73 for N from Hoffmann's 0.5. Shares that add to 1 have one rule

SIGMAS = 2.0  # half-width of an interval of known noise

# The likely reasons why an exponent is another. It may be larger: d ln L / d ln x = alpha (L - E) / L where the text
# has a floor E.
FAR = (
    "small models and little data lie far above the text's own floor, where a power law of the whole loss is steeper; "
    "others who repeated this at small scale found the same"
)
UNCONVERGED = (
    "every size saw as many tokens, so that large ones are farther from their converged loss, which flattens L(N)"
)
ENDS = "runs on ample data that had not converged raise the asymptote and flatten the fit"
EARLY = (
    "S_min rests on B_crit(L), and the law misses the curves most where they are early and the warm-up still shows; no "
    "one reason is established"
)
BELOW = "few tokens were trained, and the loss of the best sizes falls more slowly there"
INHERITED = "it is made of alpha_N, alpha_S and alpha_B, and inherits what they are off by"
FEW = "few sizes lie on the envelope"
SMALL = f"{FEW}, and N without the head is a small part of the smallest, which makes the best size grow faster"
SHORT_WARMUP = (
    f"{FEW}, and the warm-up takes N tokens where the paper's takes as many for all sizes, which keeps its best sizes "
    "of little compute small"
)
ONE = "the batch is far below the critical one, so that C_min is nearly C: one measurement, which is judged once"
QUOTIENT = "it is alpha_C_min / alpha_B along the best sizes, and inherits what they are off by"
BEYOND = "at one PF-day, far beyond our runs"
ON_AXIS = "of S_min; the printed 2.1e3 is of S at the critical batch, where S = 2 S_min"


def of_law(
    name: str,
    source: str,
    find: Callable[["Kaplan"], Known],
    *,
    attribute: str = "",
    paper: str = "",
    divide: float = 1.0,
    over: str = "",
    by_batches: bool = False,
    **more: Any,
) -> functools.cached_property[Claim]:
    """A constant of a law as a claim.

    Args:
        attribute: of the law; its name where it is left out.
        paper: its name among the published constants; its own where it is left out.
        over: the column that the law is of, for an exponent whose interval is to be no narrower than the seeds make it.
        by_batches: whether the law is of S_min, which is made of B_crit(L).
    """

    def claim(evidence: "Kaplan") -> Claim:
        wanted = Claim(name, source, reference.value(paper or name), **more)
        found = measured(wanted, lambda: find(evidence), attribute or name, divide)
        if by_batches:
            found = evidence.with_batches(found, attribute or name)
        if found.ours is None or not over:
            return found
        law = find(evidence)
        return dataclasses.replace(evidence.no_narrower(found, law.table[over]), note=law.evidence)

    return functools.cached_property(claim)


class Kaplan(Evidence):
    """The evidence, and the paper's constants beside ours as claims, each by its name."""

    alpha_N = of_law("alpha_N", "(1.1)", lambda e: e.size, over="params", enough=OF_LOSS, above=FAR, below=UNCONVERGED)
    N_c = of_law("N_c", "(1.1)", lambda e: e.size, unit="parameters")
    alpha_D = of_law("alpha_D", "(1.2)", lambda e: e.data, over="unique_tokens", enough=OF_LOSS, above=FAR, below=ENDS)
    D_c = of_law("D_c", "(1.2)", lambda e: e.data, unit="tokens")

    # L(N, D)
    joint_alpha_N = of_law(
        "alpha_N", "Table 2", lambda e: e.joint, paper="table2_alpha_N", enough=OF_LOSS, above=FAR, below=ENDS
    )
    joint_alpha_D = of_law(
        "alpha_D", "Table 2", lambda e: e.joint, paper="table2_alpha_D", enough=OF_LOSS, above=FAR, below=ENDS
    )
    joint_N_c = of_law("N_c", "Table 2", lambda e: e.joint, paper="table2_N_c", unit="parameters")
    joint_D_c = of_law("D_c", "Table 2", lambda e: e.joint, paper="table2_D_c", unit="tokens")

    # L(N, S_min)
    steps_alpha_N = of_law(
        "alpha_N",
        "Table 3",
        lambda e: e.steps,
        by_batches=True,
        paper="table3_alpha_N",
        enough=OF_LOSS,
        above=FAR,
        below=EARLY,
    )
    alpha_S = of_law(
        "alpha_S",
        "Table 3",
        lambda e: e.steps,
        by_batches=True,
        paper="table3_alpha_S",
        enough=OF_STEPS,
        above=EARLY,
        below=EARLY,
    )
    steps_N_c = of_law("N_c", "Table 3", lambda e: e.steps, by_batches=True, paper="table3_N_c", unit="parameters")
    S_c = of_law(
        "S_c",
        "Table 3",
        lambda e: e.steps,
        by_batches=True,
        paper="S_c_effective_Smin_axis",
        unit="updates",
        note=ON_AXIS,
    )

    # The loss over compute
    alpha_C_min = of_law(
        "alpha_C_min", "(1.3)", lambda e: e.least_compute.loss, attribute="alpha_C", over="flops_min", enough=OF_LOSS,
        above=FAR, below=BELOW
    )  # fmt: skip
    C_c = of_law("C_c", "(3.3)", lambda e: e.fixed_batch.loss, divide=PF_DAY, unit="PF-days")
    C_c_min = of_law("C_c_min", "(1.3)", lambda e: e.least_compute.loss, attribute="C_c", divide=PF_DAY, unit="PF-days")

    @functools.cached_property
    def alpha_C(self) -> Claim:
        """The exponent of the compute spent: that of C_min at another batch, and no claim beside it where C_min is C.

        The paper's own batch was above the critical one of its small models, which its exponent shows.
        """
        claim = Claim("alpha_C", "(3.3)", reference.value("alpha_C"), enough=OF_LOSS, above=FAR, below=BELOW)
        found = measured(claim, lambda: self.fixed_batch.loss, "alpha_C")
        if found.ours is not None:
            found = self.no_narrower(found, self.fixed_batch.points["flops"])
        return self._one_measurement(found)

    def _one_measurement(self, claim: Claim) -> Claim:
        """Not compared where the compute spent is C_min all the same."""
        return dataclasses.replace(claim, paper=None, independent=False, note=ONE) if self.far_below else claim

    @functools.cached_property
    def far_below(self) -> bool:
        """Whether the grid's batch lies so far below B_crit(L) that C_min is the compute spent within a few percent."""
        try:
            curves = self.compute_curves
        except MISSING:
            return False
        return float(np.median(curves["batch_tokens"] / curves["batch_crit"])) < NEARLY

    @property
    def joint_claims(self) -> tuple[Claim, ...]:
        """Table 2."""
        return self.joint_alpha_N, self.joint_alpha_D, self.joint_N_c, self.joint_D_c

    @property
    def steps_claims(self) -> tuple[Claim, ...]:
        """Table 3."""
        return self.steps_alpha_N, self.alpha_S, self.steps_N_c, self.S_c

    def no_narrower(self, claim: Claim, x: ArrayLike) -> Claim:
        """An exponent whose interval is as wide at least as the seed noise of one run at each x makes it.

        Few points may lie on a line by luck, and their scatter about it then says nothing of the noise.
        """
        ln_x = np.log(np.unique(np.asarray(x, float)))
        return claim.widened(SIGMAS * self.sigma / float(np.sqrt(np.sum((ln_x - ln_x.mean()) ** 2))))

    def with_batches(self, claim: Claim, constant: str) -> Claim:
        """A constant of L(N, S_min) with what B_crit(L) adds to its interval and range, which its own fit cannot know.

        S_min = S / (1 + B_crit / B), and B_crit(L) is estimated. The interval by leaving out batches of its scan joins
        that of the fit, in logarithms.
        """
        if claim.ours is None or claim.interval is None:
            return claim
        try:
            left = [getattr(law, constant) for law in self.steps_without_batches]
        except Undecided as error:
            return claim.without(error)
        half = math.hypot(math.log(claim.interval[1] / claim.interval[0]) / 2, jackknife(np.log(left)))
        return dataclasses.replace(
            claim,
            interval=(claim.ours * math.exp(-half), claim.ours * math.exp(half)),
            others=lambda: [*claim.others(), *(getattr(law, constant) for law in self.steps_by_other_batches)],
        )

    @functools.cached_property
    def ratio(self) -> Claim:
        """The exponent of N^(alpha_N/alpha_D) / D."""
        paper = reference.value("table2_alpha_N") / reference.value("table2_alpha_D")
        claim = Claim("alpha_N/alpha_D", "(4.3)", paper, enough=RATIO, independent=False, above=ENDS, below=ENDS)
        return measured(claim, lambda: self.joint, _ratio)

    # --- B_crit(L); losses along one run are not independent, so intervals by leaving out batches

    @functools.cached_property
    def alpha_B(self) -> Claim:
        return self._of_batch(Claim("alpha_B", "(1.4)", reference.value("alpha_B"), enough=OF_BATCH), "alpha_B")

    @functools.cached_property
    def B_star(self) -> Claim:
        far = "the critical batch at a loss of 1 nat, far from any loss here"
        return self._of_batch(Claim("B_*", "(1.4)", reference.value("B_star"), unit="tokens", note=far), "B_star")

    def _of_batch(self, claim: Claim, attribute: str) -> Claim:
        found = measured(claim, lambda: self.batch, attribute)
        if found.ours is None:
            return found
        try:
            left = self.batches_left_out
        except Undecided as error:
            return dataclasses.replace(claim, why=error.why)
        note = found.note or f"jackknife over {len(left.without)} batch sizes"
        return dataclasses.replace(
            found,
            interval=getattr(left, attribute),
            note=note,
            others=lambda: [getattr(law, attribute) for law in self.other_batches],
        )

    @functools.cached_property
    def alpha_C_min_predicted(self) -> Claim:
        """alpha_C_min as (1.8) has it from alpha_S, alpha_B and alpha_N."""
        paper = reference.value("alpha_C_min_predicted_eqB_7")
        claim = Claim("alpha_C_min, predicted", "(1.8)", paper, enough=OF_LOSS, independent=False,
                      above=INHERITED, below=INHERITED)  # fmt: skip
        try:
            path = self.path
            if not self.alpha_B.decided or self.alpha_B.interval is None:
                raise Undecided(f"alpha_B is undecided: {self.alpha_B.remark}")
        except MISSING as error:
            return claim.without(error)

        def with_alpha_B(alpha_B: float) -> Callable[[KaplanNS], float]:
            return lambda law: 1 / (1 / law.alpha_N + 1 / law.alpha_S + 1 / alpha_B)

        slow, value = self.steps.fit.derived(with_alpha_B(path.alpha_B)), path.alpha_C
        left = zip(self.steps_without_batches, self.batches_left_out.laws, strict=True)
        part = jackknife([with_alpha_B(batch.alpha_B)(law) for law, batch in left])
        half = math.hypot(float(slow.high - slow.value), part)
        return dataclasses.replace(claim, ours=value, interval=(value - half, value + half))

    # --- the best N, B, S and D over C_min: Table 6

    @functools.cached_property
    def N_opt(self) -> Claim:
        """Its other analyses: over the compute spent, and by the ends of branches under each count of N and C."""
        found = self._share("N_opt exponent", "p_N", "params", above=SMALL, below=SHORT_WARMUP)

        def others() -> list[float]:
            along = those(lambda: self.fixed_batch.growth("params").law.p)
            return [*found.others(), *along, *(best.a for counts in those(lambda: self.counts) for best in counts)]

        return found if found.ours is None else dataclasses.replace(found, others=others)

    @functools.cached_property
    def B_opt(self) -> Claim:
        found = self._share("B_crit exponent", "p_B", "batch_crit", above=QUOTIENT, below=QUOTIENT)
        return self._with_alpha_B(found)

    @functools.cached_property
    def S_opt(self) -> Claim:
        """It follows: N, B and S share the compute. S_min is E_min / B_crit, where the updates tell it at all."""
        found = self._share("S_min exponent", "p_S", "steps_min", independent=False, above=FEW, below=FEW)
        try:
            _ = self.steps_curves
        except MISSING as error:
            return found.without(error)
        return self._with_alpha_B(found)

    @functools.cached_property
    def D_opt(self) -> Claim:
        """It follows: C_min = 3 N D at the batch B_crit, so that its exponent and that of N add to 1."""
        found = self.N_opt
        claim = dataclasses.replace(found, name="D_opt exponent", paper=reference.value("p_D"), independent=False,
                                    above=found.below, below=found.above)  # fmt: skip
        if found.ours is None:
            return claim
        ends = found.interval and (1 - found.interval[1], 1 - found.interval[0])
        return dataclasses.replace(
            claim, ours=1 - found.ours, interval=ends, others=lambda: [1 - other for other in found.others()]
        )

    @functools.cached_property
    def N_opt_fixed_batch(self) -> Claim:
        paper = reference.value("fixed_batch_N_opt_exponent")
        claim = Claim("N_opt exponent, fixed batch", "Fig. 14", paper, enough=SHARE, above=SMALL, below=SHORT_WARMUP)
        return self._one_measurement(self._along(claim, lambda: self.fixed_batch, "params"))

    @functools.cached_property
    def scales_of_path(self) -> tuple[Claim, ...]:
        """N, B, S and D at one PF-day."""
        found = []
        for column, name, paper, unit in (
            ("params", "N_opt", "N_e", "parameters"),
            ("batch_crit", "B_crit", "B_e", "tokens"),
            ("steps_min", "S_min", "S_e", "updates"),
            ("tokens_efficient", "D_opt", "D_e", "tokens"),
        ):
            claim = Claim(f"{name} at 1 PF-day", "Table 6", reference.value(paper), unit=unit, note=BEYOND)
            found.append(measured(claim, lambda column=column: self.least_compute.growth(column), "y_1"))
        return tuple(found)

    def _share(self, name: str, paper: str, column: str, **more: Any) -> Claim:
        claim = Claim(name, "Table 6", reference.value(paper), enough=SHARE, **more)
        return self._along(claim, lambda: self.least_compute, column)

    def _along(self, claim: Claim, best: Callable[[], Efficient], column: str) -> Claim:
        """An exponent along the best sizes, its interval as wide at least as leaving out a size at a time makes it."""
        found = measured(claim, lambda: best().growth(column), "p")
        return found if found.ours is None else found.widened(best().half(column))

    def _with_alpha_B(self, power: Claim) -> Claim:
        """The interval with the part that comes from B_crit(L), which the scatter of the best sizes knows nothing of.

        B = B_* / L^(1/alpha_B) is in both B_crit and S_min = E_min / B_crit.
        """
        if power.ours is None:
            return power
        alpha_B = self.alpha_B
        if not alpha_B.decided:
            return dataclasses.replace(power, ours=None, interval=None, why=f"alpha_B is undecided: {alpha_B.remark}")
        assert alpha_B.ours is not None
        part = abs(self.least_compute.growth("batch_crit").law.p) * alpha_B.half / alpha_B.ours
        half = math.hypot(power.half, part)
        return dataclasses.replace(power, interval=(power.ours - half, power.ours + half))


def _ratio(law: KaplanND) -> float:
    return law.alpha_N / law.alpha_D
