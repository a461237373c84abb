"""The paper's constants beside ours: Tables 2, 3, 5 and 6, each from the fit that the figures show too.

Exponents are the claim. Scales depend on text and vocabulary and are shown. C in PF-days here, as the paper prints it.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from analysis import reference
from analysis.fit.estimate import Fit
from analysis.laws import KaplanND
from analysis.papers.kaplan import fits, runs
from analysis.papers.kaplan.drawn import Constant, Experiments
from analysis.papers.kaplan.left_out import half_of_path, left_out
from analysis.papers.kaplan.words import SHORT, UNDECIDED, compared, from_fit, judged, label
from analysis.table import Table
from scaling.counts import PF_DAY

# Why an exponent may be larger here: d ln L / d ln x = alpha (L - E) / L where the text has a floor E.
FAR = (
    "small models and little data lie far above the text's own floor, where a power law of the whole loss is steeper; "
    "others who repeated this at small scale found the same"
)
UNCONVERGED = (
    "every size saw as many tokens, so that large ones are farther from their converged loss, which flattens L(N)"
)
ENDS = (
    "where runs on ample data end before they have converged, what all of the data and the size lead to stands too "
    "high, which flattens the laws"
)
EARLY = (
    "losses fall by the warm-up and the decay too, the more the fewer the updates, and the law misses the curves most "
    "where they are early; no one reason is established"
)
FOLLOWS = (
    "by (1.8) it follows from alpha_N, alpha_S and alpha_B, and curves in the middle of their decay stand too high"
)
SAME = (
    "where the fixed batch is below the critical one C_min is nearly C, whose exponent is 0.057 in the paper; it also "
    "grows with the tokens trained"
)
INHERITED = "it is made of alpha_N, alpha_S and alpha_B, and inherits what they are off by"
FEW = "few sizes lie on the envelope, in uneven steps, and curves in the middle of their decay stand too high"
FIXED = "where the fixed batch is below the critical one the exponent is nearly that of the adjusted batch"
QUOTIENT = "it is alpha_C_min / alpha_B along the best sizes, and inherits what they are off by"


# By name, or by name and table: the likely reason where ours is larger than the paper's, and where it is smaller.
REASONS = {
    "alpha_N": (FAR, UNCONVERGED),
    "alpha_D": (FAR, ENDS),
    "alpha_N/alpha_D": (ENDS, ENDS),
    "alpha_S": (EARLY, EARLY),
    "alpha_C": (FAR, FOLLOWS),
    "alpha_C_min": (SAME, FOLLOWS),
    "alpha_N (Table 2)": (FAR, ENDS),
    "alpha_N (Table 3)": (FAR, EARLY),
    "alpha_C_min, predicted": (INHERITED, INHERITED),
    "N_opt exponent": (FEW, FEW),
    "N_opt exponent, fixed batch": (FEW, FIXED),
    "B_crit exponent": (QUOTIENT, QUOTIENT),
    "S_min exponent": (FEW, FEW),
    "D_opt exponent": (FEW, FEW),
}


def told(constants: Iterable[Constant]) -> tuple[str, ...]:
    """A sentence on each exponent among these that our runs decide, and one for each reason why they do not."""
    sentences, open_ = [], {}
    for one in constants:
        if one.exponent and one.value is not None:
            above, below = REASONS.get(label(one), REASONS.get(one.name, (SHORT, SHORT)))
            sentences.append(compared(one, above=above, below=below))
        elif one.exponent:
            open_.setdefault(one.note.rstrip("."), []).append(label(one))
    return (*sentences, *(f"{UNDECIDED} {', '.join(names)}: {why}." for why, names in open_.items()))


def no_narrower(constant: Constant, experiments: Experiments, x: ArrayLike) -> Constant:
    """An exponent whose interval is as wide at least as the seed noise of one run at each x makes it.

    Few points may lie on a line by luck, and their scatter about it then says nothing of the noise. NOISE is taken
    where no two runs differ in their seed alone.
    """
    if constant.value is None or constant.low is None or constant.high is None:
        return constant
    noise = runs.noise_of(experiments)
    ln_x = np.log(np.unique(np.asarray(x, float)))
    half = SIGMAS * (noise.sigma if noise else NOISE) / float(np.sqrt(np.sum((ln_x - ln_x.mean()) ** 2)))
    low, high = min(constant.low, constant.value - half), max(constant.high, constant.value + half)
    return judged(dataclasses.replace(constant, low=low, high=high))


def size(experiments: Experiments) -> tuple[Constant, ...]:
    """alpha_N and N_c of L(N)."""
    found = fits.of_size(experiments)
    alpha = from_fit("alpha_N", "(1.1)", found, "alpha_N", paper="alpha_N", note=found.evidence)
    return (
        no_narrower(alpha, experiments, found.table["params"]) if found.table is not None else alpha,
        from_fit("N_c", "(1.1)", found, "N_c", paper="N_c", unit="parameters", exponent=False),
    )


def data(experiments: Experiments) -> tuple[Constant, ...]:
    """alpha_D and D_c of L(D)."""
    found = fits.of_data(experiments)
    alpha = from_fit("alpha_D", "(1.2)", found, "alpha_D", paper="alpha_D", note=found.evidence)
    return (
        no_narrower(alpha, experiments, found.table["unique_tokens"]) if found.table is not None else alpha,
        from_fit("D_c", "(1.2)", found, "D_c", paper="D_c", unit="tokens", exponent=False),
    )


def joint(experiments: Experiments) -> tuple[Constant, ...]:
    """Table 2: L(N, D), and the exponent of N^(alpha_N/alpha_D) / D."""
    found = fits.of_size_and_data(experiments)
    exponents = ("alpha_N", "alpha_D")
    constants = [
        from_fit(name, "Table 2", found, name, paper=f"table2_{name}", unit=unit, exponent=name in exponents)
        for name, unit in (("alpha_N", ""), ("alpha_D", ""), ("N_c", "parameters"), ("D_c", "tokens"))
    ]
    paper = reference.value("table2_alpha_N") / reference.value("table2_alpha_D")
    ratio = Constant("alpha_N/alpha_D", "(4.3)", paper, None, note=found.why)
    if found.fit is not None:
        said = found.fit.derived(_ratio)
        value, low, high = float(said.value), float(said.low), float(said.high)
        ratio = judged(
            Constant(ratio.name, ratio.equation, paper, value, low, high), "" if found.sound else found.fit.why
        )
    return (*constants, ratio)


def _ratio(law: KaplanND) -> float:
    return law.alpha_N / law.alpha_D


def steps(experiments: Experiments) -> tuple[Constant, ...]:
    """Table 3: L(N, S_min)."""
    found = fits.of_steps(experiments)
    on_axis = "of S_min; the printed 2.1e3 is of S at the critical batch, where S = 2 S_min"
    return (
        from_fit("alpha_N", "Table 3", found, "alpha_N", paper="table3_alpha_N"),
        from_fit("alpha_S", "Table 3", found, "alpha_S", paper="table3_alpha_S"),
        from_fit("N_c", "Table 3", found, "N_c", paper="table3_N_c", unit="parameters", exponent=False),
        from_fit(
            "S_c",
            "Table 3",
            found,
            "S_c",
            paper="S_c_effective_Smin_axis",
            unit="updates",
            exponent=False,
            note=on_axis,
        ),
    )


def batch(experiments: Experiments) -> tuple[Constant, ...]:
    """alpha_B and B_* of the critical batch; losses along one run are not independent, so intervals by `left_out`."""
    found, _ = fits.of_batch(experiments)
    alpha = Constant("alpha_B", "(1.4)", reference.value("alpha_B"), None, note=found.why)
    star = Constant("B_*", "(1.4)", reference.value("B_star"), None, unit="tokens", exponent=False, note=found.why)
    curves = fits.curves_of(experiments, "batch")
    if found.fit is None or curves is None:
        return alpha, star
    if (left := left_out(curves, found.fit)) is None:
        why = "B_crit(L) cannot be fitted without one of the batch sizes"
        return dataclasses.replace(alpha, note=why), dataclasses.replace(star, note=why)
    ends, said = left.alpha_B, f"jackknife over {len(left.without)} batch sizes"
    alpha = dataclasses.replace(alpha, value=found.fit.constants["alpha_B"], low=ends[0], high=ends[1], note=said)
    ends, said = left.B_star, "the critical batch at a loss of 1 nat, far from any loss here"
    star = dataclasses.replace(star, value=found.fit.constants["B_star"], low=ends[0], high=ends[1], note=said)
    doubt = "" if found.sound else found.fit.why
    return judged(alpha, doubt), judged(star, doubt)


def fixed_batch(experiments: Experiments) -> tuple[Constant, ...]:
    """alpha_C and C_c at the batch of the experiment size."""
    found = fits.fixed_batch(experiments)
    alpha = from_fit("alpha_C", "(3.3)", found.loss, "alpha_C", paper="alpha_C")
    return (
        no_narrower(alpha, experiments, found.points["flops"]) if found.points is not None else alpha,
        from_fit("C_c", "(3.3)", found.loss, "C_c", paper="C_c", unit="PF-days", exponent=False, divide=PF_DAY),
    )


def least_compute(experiments: Experiments) -> tuple[Constant, ...]:
    """alpha_C_min and its scale."""
    found = fits.least_compute(experiments)
    alpha = from_fit("alpha_C_min", "(1.3)", found.loss, "alpha_C", paper="alpha_C_min")
    return (
        no_narrower(alpha, experiments, found.points["flops_min"]) if found.points is not None else alpha,
        from_fit("C_c_min", "(1.3)", found.loss, "C_c", paper="C_c_min", unit="PF-days", exponent=False, divide=PF_DAY),
    )


def predicted_exponent(experiments: Experiments) -> Constant:
    """alpha_C_min as (1.8) has it from alpha_S, alpha_B and alpha_N."""
    path = fits.path_of(experiments)
    paper = reference.value("alpha_C_min_predicted_eqB_7")
    if isinstance(path, str):
        return Constant("alpha_C_min, predicted", "(1.8)", paper, None, note=path)
    steps_fit, alpha_B = fits.of_steps(experiments).fit, batch(experiments)[0]
    assert steps_fit is not None
    if alpha_B.low is None or alpha_B.high is None:
        why = f"alpha_B is undecided: {alpha_B.note}"
        return Constant("alpha_C_min, predicted", "(1.8)", paper, None, note=why)
    slow = steps_fit.derived(lambda law: 1 / (1 / law.alpha_N + 1 / law.alpha_S + 1 / path.alpha_B))
    value = path.alpha_C
    ends = (1 / (1 / path.alpha_N + 1 / path.alpha_S + 1 / end) for end in (alpha_B.low, alpha_B.high))
    half = math.hypot(float(slow.high - slow.value), max(abs(end - value) for end in ends))
    return judged(Constant("alpha_C_min, predicted", "(1.8)", paper, value, value - half, value + half))


NOISE = 0.003  # of ln loss between seeds, where no seeds tell: the least that our other studies have
SIGMAS = 2.0  # half-width of an interval of known noise
FLAT = 0.1  # half-width that decides an exponent which the paper has near zero
# Column of the best sizes, name, exponent and value at one PF-day in the paper, unit: Table 6.
PATH = (
    ("params", "N_opt", "p_N", "N_e", "parameters"),
    ("batch_crit", "B_crit", "p_B", "B_e", "tokens"),
    ("steps_min", "S_min", "p_S", "S_e", "updates"),
    ("tokens_efficient", "D_opt", "p_D", "D_e", "tokens"),
)


def path(experiments: Experiments) -> tuple[Constant, ...]:
    """Table 6: how N, B, S and D of compute-efficient training grow with C_min."""
    efficient = fits.least_compute(experiments)
    found = {
        column: fits.growth(efficient.points, column) if efficient.points is not None else efficient.why
        for column, *_ in PATH
    }
    far = "at one PF-day, far beyond our runs"
    curves = fits.adjusted(experiments)
    constants = []
    for column, name, exponent, at_one, unit in PATH:
        fit, equation = found[column], "Table 6"
        power = from_fit(f"{name} exponent", equation, fit, "p", paper=exponent, enough=FLAT * (column == "steps_min"))
        if not isinstance(curves, str):
            power = along_path(power, curves, "flops_min", column)
        if column in ("batch_crit", "steps_min"):
            power = _with_alpha_B(power, found["batch_crit"], batch(experiments)[0])
        scale = from_fit(f"{name} at 1 PF-day", equation, fit, "y_1", paper=at_one, unit=unit, exponent=False, note=far)
        constants += [power, scale]
    return tuple(constants)


def along_path(power: Constant, curves: Table, compute: str, column: str) -> Constant:
    """The exponent along the best sizes, its interval as wide at least as leaving out one size at a time makes it."""
    if power.value is None or power.low is None or power.high is None:
        return power
    half = half_of_path(curves, compute, column)
    low, high = min(power.low, power.value - half), max(power.high, power.value + half)
    return judged(dataclasses.replace(power, low=low, high=high), enough=FLAT * (column == "steps_min"))


def _with_alpha_B(power: Constant, along: Fit | str, alpha_B: Constant) -> Constant:
    """The interval with the part that comes from B_crit(L), which the scatter of the best sizes knows nothing of.

    B = B_* / L^(1/alpha_B) is in both B_crit and S_min = E_min / B_crit.
    """
    if power.value is None or power.low is None or power.high is None or isinstance(along, str):
        return power
    if alpha_B.value is None or alpha_B.low is None or alpha_B.high is None:
        return judged(power, f"alpha_B is undecided: {alpha_B.note}")
    part = abs(along.law.p) * (alpha_B.high - alpha_B.low) / 2 / alpha_B.value
    half = math.hypot((power.high - power.low) / 2, part)
    enough = FLAT if power.name.startswith("S_min") else 0.0
    return judged(dataclasses.replace(power, low=power.value - half, high=power.value + half), enough=enough)
