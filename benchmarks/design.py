"""Does a design keep its promise? Studies drawn from known laws on designed runs, fitted as the tool would, counted.

    python -m benchmarks.design [--doubt] [--replicates 500] [--out results]

Beside each design the best grid and the best IsoFLOP profiles of the same budget, from the same candidates. Believed is
the law itself, or one whose exponents are wrong: their gap is half or double the true one. Writes results/design.md.
With `--doubt`: noise that falls with size, known, in doubt and unknown; two forms in doubt, one with a floor and one
without; and a form that is wrong. Writes results/design_doubt.md.
"""

import argparse
import dataclasses
import datetime
import math
import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from analysis import design
from analysis.design import Study
from analysis.design.criterion import Criterion, Target, half_width
from analysis.design.pool import Counts, pool
from analysis.design.prior import Prior, with_gap
from analysis.digits import minus
from analysis.fit import intervals, solver
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Array
from analysis.laws import Chinchilla, KaplanOnePass, Law, QNorm
from benchmarks.calibration import ahead, fitted, held, profiles, without_interval

BUDGET = 2e19  # FLOP
TARGET = Target(np.array([2.9e9]), np.array([5.8e10]))  # 50 times the budget
SIZES = 1e6 * 2.0 ** np.arange(10)
CANDIDATES = pool(SIZES, BUDGET)
MIDDLE = [float(np.exp(np.log(x).mean())) for x in (CANDIDATES.params, CANDIDATES.tokens)]
SMALLEST = float(CANDIDATES.params.min())
NOISES = (0.002, 0.01)
FALLING = -0.25  # power of N by which noise falls: at 16 times the size it is half
DOUBTED = 0.01  # noise of the smallest size there
GAPS = (1.0, 0.5, 2.0)  # of the exponents believed, as a share of the true gap
PILOT = 0.1  # of the budget, for the cheapest runs of a design: after them it promises anew
LAWS: tuple[Law, ...] = (
    Chinchilla(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
    KaplanOnePass(6.4e13, 1.8e13, 0.076, 0.103),
)
BENT = QNorm(1.8172, 482.01, 2085.43, 0.3478, 0.3658, 0.7)  # Chinchilla's law where one term is far above the other
KNOWN, DOUBT = "design.md", "design_doubt.md"
TITLES = {
    KNOWN: "Designs: what they promise, and what fits find",
    DOUBT: "Designs where the noise or the form is in doubt",
}
TOLD = {
    KNOWN: "Believed: the law, with the gap of its exponents so many times the true one, and its two terms as they are "
    "in the middle of the candidates.",
    DOUBT: f"Noise is that of the smallest size, N = {SMALLEST:.3g}, others' as the power of N says; believed is one "
    "power or two, each as likely, and the fit weighs runs by the larger (`scaling fit --weights`). Both forms: "
    "Chinchilla's, with a floor, and Kaplan's, without, each as likely; the fit is of the true one. The q-norm is not "
    "believed: Chinchilla's law of the same constants is, and fitted.",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """What is true and what is believed.

    Attributes:
        noise: of runs of the smallest size; slope: the power of N that it goes as.
        believed: in words.
        form: what is fitted.
        rivals: whether the designs by habit are told of as well.
    """

    truth: Law
    noise: float
    slope: float
    believed: str
    prior: Prior
    form: type[Law]
    rivals: bool = True


@dataclasses.dataclass(frozen=True)
class Row:
    """One study in one case; half widths are of the law's interval at the target, of fits the medians.

    Attributes:
        spent: share of the budget.
        promised: by that belief which is the true one; where none is, at the middle of what is believed.
        ends: least and most over what is believed, the gaps of exponents as they are, half and double.
        pilot: after the runs that PILOT of the budget buys, by the fit to them; NaN of rivals.
        off: of the fits' values there, root mean square of ln to the true one.
        none: share of fits without an interval, which count in nothing else.
        own: width of the design's fits to that of this study's; equal: the same as promised, of the design that costs
            as much as this study; NaN of the design.
    """

    case: Case
    study: str
    runs: int
    spent: float
    promised: float
    ends: tuple[float, float]
    pilot: float
    found: float
    off: float
    covered: float
    none: float
    own: float
    equal: float


def gaps() -> Iterator[Case]:
    """The law is believed, with the right exponents or a wrong gap."""
    for law in LAWS:
        for noise in NOISES:
            for gap in GAPS:
                prior = Prior((with_gap(law, gap, *MIDDLE),), noise=noise, error=0.0)
                yield Case(law, noise, 0.0, f"its gap × {gap:g}", prior, type(law))


def doubts() -> Iterator[Case]:
    """The noise or the form is in doubt, or wrong."""
    for law in LAWS:
        even = Prior((law,), noise=DOUBTED, error=0.0)
        known, either = (dataclasses.replace(even, slopes=slopes) for slopes in ((FALLING,), (0.0, FALLING)))
        yield Case(law, DOUBTED, FALLING, f"N^{FALLING:g}", known, type(law))
        for slope in either.slopes:
            yield Case(law, DOUBTED, slope, f"N^0 or N^{FALLING:g}", either, type(law), rivals=False)
        yield Case(law, DOUBTED, FALLING, "N^0", even, type(law), rivals=False)
    for law in LAWS:
        yield Case(law, DOUBTED, 0.0, "both forms", Prior(LAWS, noise=DOUBTED, error=0.0), type(law))
    for noise in NOISES:
        yield Case(BENT, noise, 0.0, "chinchilla", Prior(LAWS[:1], noise=noise, error=0.0), Chinchilla)


def rows_of(case: Case, replicates: int) -> Iterator[Row]:
    """The design of a case and its rivals, each trained so many times."""
    criterion = Criterion.of(case.prior, CANDIDATES, TARGET)
    made = design.design(case.prior, CANDIDATES, TARGET, BUDGET)
    # Of a wrong form there is no variance by the truth: that of what is believed stands for it.
    judge = dataclasses.replace(case.prior, laws=(case.truth,)) if type(case.truth) is case.form else case.prior
    own = math.nan
    for study in (made.study, *(made.rivals if case.rivals else ())):
        runs = drawn(case, study, replicates)
        found, missed, covered, none = measured(case, *runs)
        pilot = equal = math.nan
        if study is made.study:
            own, pilot = found, after_pilot(case, study, *runs)
        else:
            same = design.chosen(criterion, study.flops)
            equal = float(halves(judge, case, same)[0] / halves(judge, case, study.counts)[0])
        spreads = [study.promise.spread, *design.wrong(criterion, study.counts)]
        ends = min(low for low, _ in spreads), max(high for _, high in spreads)
        promised = float(np.median(halves(case.prior, case, study.counts)))
        n, spent = int(study.counts.sum()), study.flops / BUDGET
        yield Row(case, study.name, n, spent, promised, ends, pilot, found, missed, covered, none, own / found, equal)


def halves(prior: Prior, case: Case, counts: Counts) -> Array:
    """Half widths that are promised of a study, by the beliefs that may be the true ones, or by all where none may."""
    criterion = Criterion.of(prior, CANDIDATES, TARGET)
    found = half_width(criterion.told(counts), int(counts.sum()), len(case.form.constants()))
    right = [type(one.law) is case.form and one.slope == case.slope for one in criterion.beliefs]
    return found[right] if any(right) else found


def drawn(case: Case, study: Study, replicates: int) -> tuple[tuple[Array, ...], Array, Array]:
    """Runs of a study, the cheapest first: (N, D), ln L of each replicate (replicates, n), their weights in a fit."""
    rows = np.repeat(np.arange(len(CANDIDATES)), study.counts)
    rows = rows[np.argsort(CANDIDATES.flops[rows], kind="stable")]
    x = (CANDIDATES.params[rows], CANDIDATES.tokens[rows])
    rng = np.random.default_rng([len(rows), round(case.noise * 1e6)])
    size = x[0] / SMALLEST
    noise = case.noise * size**case.slope
    y = np.log(np.asarray(case.truth(*x))) + noise * rng.normal(size=(replicates, len(rows)))
    return x, y, size ** (-2 * case.prior.slope)


def measured(case: Case, x: tuple[Array, ...], y: Array, weights: Array) -> tuple[float, float, float, float]:
    """Of fits: median half width at the target, root mean square error there, share that held the truth, and without.

    The last is the share of fits that have no interval, which count in none of the others.
    """
    problem, theta, value = fitted(case.form, x, y, len(weights), weights / weights.mean())
    found = profiles(problem, theta, value, np.ones(theta.shape[1], bool), None)
    none = without_interval(problem, found.theta, found.around)
    far = (TARGET.params, TARGET.tokens)
    said = ahead(case.form, found, far)
    missed = said.value - math.log(float(case.truth(*far)[0]))
    covered = held(missed, said.half)[~none]
    off = float(np.sqrt((missed[~none] ** 2).mean()))
    return float(np.median(said.half.mean(0)[~none])), off, float(covered.mean()), float(none.mean())


def after_pilot(case: Case, study: Study, x: tuple[Array, ...], y: Array, weights: Array) -> float:
    """Median of what the study promises once its cheapest runs, for PILOT of the budget, are fitted."""
    k = int((np.cumsum(FLOP_PER_PARAM_TOKEN * x[0] * x[1]) <= PILOT * BUDGET).sum())
    problem, theta, _ = fitted(case.form, tuple(each[:k] for each in x), y[:, :k], k, weights[:k] / weights[:k].mean())
    around = intervals.spread(problem, theta, np.ones(theta.shape[1], bool), None)
    some = theta[~without_interval(problem, theta, around)]
    laws = tuple(case.form(*map(float, row)) for row in solver.to_constants(case.form, some))
    return float(np.median(halves(dataclasses.replace(case.prior, laws=laws), case, study.counts)))


def written(name: str, rows: list[Row], replicates: int, seconds: float) -> str:
    """The table in Markdown."""
    error = 3 * math.sqrt(0.95 * 0.05 / replicates)
    doubt = " --doubt" if name == DOUBT else ""
    lines = [
        f"# {TITLES[name]}",
        "",
        f"`python -m benchmarks.design{doubt} --replicates {replicates}`, {datetime.date.today()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, jax {version('jax')}, "
        f"numpy {version('numpy')}; {seconds / 60:.0f} processor-minutes.",
        "",
        f"A target of {TARGET.params[0]:.3g} parameters on {TARGET.tokens[0]:.3g} tokens, 50 times the budget of "
        f"{BUDGET:g} FLOP; at most {design.RUNS} runs. Widths are half the 95 % interval of the law's value there, its "
        "form being right.",
        "",
        TOLD[name],
        "",
        "- `promised`: before anything is spent, by that belief which is the true one, else at the middle of all.",
        "- `over all`: least and most over what is believed, with the gap of the exponents as it is, half and double.",
        f"- `after {PILOT:.0%}`: promised anew, once the cheapest runs of the design, for {PILOT:.0%} of the budget, "
        "are fitted; the noise as believed. The median.",
        "- `found`: of the fits, the median; `off`: their value at the target against the true one, root mean square.",
        f"- `covered`: share of the fits that held the truth; three binomial errors are {error:.3f}.",
        "- `design's / its`: found of the design to found of this study, which is the best of its kind by what is "
        "believed; `of equal cost`: promised of the design that costs as much as this study to promised of this study.",
        "",
        f"Of the fits {'none' if not (most := max(r.none for r in rows)) else f'{most:.1%} at most'} had no interval.",
        "",
        f"| law | noise | believed | study | runs | spent | promised | over all | after {PILOT:.0%} | found | "
        f"found / promised | found / after {PILOT:.0%} | off | covered | design's / its | of equal cost |",
        "|" + " --- |" * 16,
    ]
    for r in rows:
        case = r.case
        noise = f"{case.noise:.1%}" + (f" N^{case.slope:g}" if case.slope else "")
        again, after = ("", "") if math.isnan(r.pilot) else (f"{r.pilot:.2%}", f"{r.found / r.pilot:.2f}")
        ratios = " | ".join("" if math.isnan(r.equal) else f"{each:.2f}" for each in (r.own, r.equal))
        lines.append(
            f"| {case.truth.name} | {noise} | {case.believed} | {r.study} | {r.runs} | {r.spent:.0%} | "
            f"{r.promised:.2%} | {r.ends[0]:.2%} to {r.ends[1]:.2%} | {again} | {r.found:.2%} | "
            f"{r.found / r.promised:.2f} | {after} | {r.off:.2%} | {r.covered:.3f} | {ratios} |"
        )
    return minus("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doubt", action="store_true", help="where the noise or the form is in doubt")
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    began = time.process_time()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in doubts() if args.doubt else gaps():
        for row in rows_of(case, args.replicates):
            rows.append(row)
            print(row.case.truth.name, row.case.believed, row.study, f"{row.promised:.2%} {row.found:.2%}", flush=True)
    name = DOUBT if args.doubt else KNOWN
    (args.out / name).write_text(written(name, rows, args.replicates, time.process_time() - began))


if __name__ == "__main__":
    main()
