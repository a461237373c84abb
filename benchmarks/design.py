"""Does a design keep its promise? Studies drawn from known laws on designed runs, fitted as the tool would, counted.

    python -m benchmarks.design [--doubt] [--replicates 500] [--out results]

Beside each design the best grid and the best IsoFLOP profiles of the same cost, from the same candidates. Believed is
the law itself, or one whose exponents are wrong: their gap is half or double the true one. Writes results/design.md.
With `--doubt`: noise that falls with size, known, in doubt and unknown; and two forms in doubt, one with a floor and
one without. Writes results/design_doubt.md.
"""

import argparse
import dataclasses
import datetime
import math
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from analysis import design
from analysis.design import Study
from analysis.design.criterion import Criterion, Target, half_width
from analysis.design.pool import pool
from analysis.design.prior import Prior, with_gap
from analysis.digits import minus
from analysis.laws import Chinchilla, KaplanOnePass, Law
from benchmarks.calibration import ahead, fitted, held, profiles, without_interval

BUDGET = 2e19  # FLOP
TARGET = Target(np.array([2.9e9]), np.array([5.8e10]))  # 50 times the budget
SIZES = 1e6 * 2.0 ** np.arange(10)
NOISES = (0.002, 0.01)
FALLING = -0.25  # power of N by which noise falls: at 16 times the size it is half
DOUBTED = 0.01  # noise of the smallest size there
GAPS = (1.0, 0.5, 2.0)  # of the exponents believed, as a share of the true gap
LAWS: tuple[Law, ...] = (
    Chinchilla(1.8172, 482.01, 2085.43, 0.3478, 0.3658),
    KaplanOnePass(6.4e13, 1.8e13, 0.076, 0.103),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One study under one law."""

    law: str
    noise: float
    gap: float
    study: str
    runs: int
    spent: float  # share of the budget
    promised: float  # half width of the law's interval at the target, by what is believed
    found: float  # the same of the fits: the median
    covered: float
    none: float  # share of fits without an interval, not counted in the rest


def measured(
    law: Law, study: Study, noise: float, replicates: int, slope: float = 0.0, weighed: float = 0.0
) -> tuple[float, float, float]:
    """Median half width at the target, share that held the truth, share of fits without an interval.

    Args:
        slope: power of N that the noise goes as, `noise` that of the smallest candidate.
        weighed: the same as the fit's weights have it.
    """
    rows = np.repeat(np.arange(len(study.pool)), study.counts)
    x = (study.pool.params[rows], study.pool.tokens[rows])
    rng = np.random.default_rng([len(rows), round(noise * 1e6)])
    size = x[0] / study.pool.params.min()
    y = np.log(np.asarray(law(*x))) + noise * size**slope * rng.normal(size=(replicates, len(rows)))
    weights = size ** (-2 * weighed)
    problem, theta, value = fitted(type(law), x, y, len(rows), weights / weights.mean())
    free = np.ones(theta.shape[1], bool)
    found = profiles(problem, theta, value, free, None)
    none = without_interval(problem, found.theta, found.around)
    far = (TARGET.params, TARGET.tokens)
    said = ahead(type(law), found, far)
    covered = held(said.value - math.log(float(law(*far)[0])), said.half)[~none]
    return float(np.median(said.half.mean(0)[~none])), float(covered.mean()), float(none.mean())


def studies(law: Law, noise: float) -> list[Study]:
    """The design and its rivals, for what is believed."""
    prior = Prior((law,), noise=noise, error=0.0)
    candidates = pool(SIZES, BUDGET)
    made = design.design(prior, candidates, TARGET, BUDGET)
    return [made.study, *made.rivals]


def compared(replicates: int) -> list[Row]:
    rows = []
    middle = (math.exp(np.log(SIZES).mean()), float(TARGET.tokens[0]))
    for law in LAWS:
        for noise in NOISES:
            for gap in GAPS:
                for study in studies(with_gap(law, gap, *middle), noise):
                    found, covered, none = measured(law, study, noise, replicates)
                    n, spent = int(study.counts.sum()), study.flops / BUDGET
                    rows.append(
                        Row(law.name, noise, gap, study.name, n, spent, study.promise.law, found, covered, none)
                    )
                    print(rows[-1], flush=True)
    return rows


@dataclasses.dataclass(frozen=True)
class Doubted:
    """One study under one law, where the noise or the form is in doubt."""

    law: str
    slope: float  # of the noise
    believed: str
    weighed: float  # slope by the fit's weights
    study: str
    promised: float  # where what is true is believed, by that
    before: float  # by all that is believed
    found: float
    covered: float


def doubted(replicates: int) -> list[Doubted]:
    candidates, rows = pool(SIZES, BUDGET), []

    def add(believed: str, prior: Prior, law: Law, slope: float, rivals: bool = False) -> None:
        made = design.design(prior, candidates, TARGET, BUDGET)
        for study in (made.study, *(made.rivals if rivals else ())):
            found, covered, _ = measured(law, study, DOUBTED, replicates, slope, prior.slope)
            true = dataclasses.replace(prior, laws=(law,))
            criterion = Criterion.of(true, candidates, TARGET)
            told = half_width(criterion.told(study.counts), int(study.counts.sum()), len(true.beliefs[0].constants))
            by_slope = {one.slope: float(half) for half, one in zip(told, criterion.beliefs, strict=True)}
            before = study.promise.law
            promise = by_slope.get(slope, before)
            rows.append(Doubted(law.name, slope, believed, prior.slope, study.name, promise, before, found, covered))
            print(rows[-1], flush=True)

    for law in LAWS:
        known = Prior((law,), noise=DOUBTED, error=0.0, slopes=(FALLING,))
        either = dataclasses.replace(known, slopes=(0.0, FALLING))
        add(f"N^{FALLING:g}", known, law, FALLING, rivals=True)
        for slope in either.slopes:
            add(f"N^0 or N^{FALLING:g}", either, law, slope)
        add("N^0", dataclasses.replace(known, slopes=(0.0,)), law, FALLING)
    for law in LAWS:
        add("both forms", Prior(LAWS, noise=DOUBTED, error=0.0), law, 0.0, rivals=True)
    return rows


def written_doubts(rows: list[Doubted], replicates: int, seconds: float) -> str:
    """The table in Markdown."""
    error = 3 * math.sqrt(0.95 * 0.05 / replicates)
    lines = [
        "# Designs where the noise or the form is in doubt",
        "",
        f"`python -m benchmarks.design --doubt --replicates {replicates}`, {datetime.date.today()}, "
        f"{platform.machine()}, Python {platform.python_version()}, jax {version('jax')}, numpy {version('numpy')}; "
        f"{seconds / 60:.0f} min.",
        "",
        f"As in design.md: {TARGET.params[0]:.3g} parameters on {TARGET.tokens[0]:.3g} tokens, 50 times the budget of "
        f"{BUDGET:g} FLOP. A run of the smallest size, N = {SIZES[0]:.3g}, scatters by {DOUBTED:.1%}, others as the "
        "power of N says; believed is one power or two, each as likely, and the fit weighs runs by the larger "
        "(`scaling fit --weights`). Both forms: Chinchilla's, with a floor, and Kaplan's, without, each as likely; the "
        "fit is of the true one. Promised: the law's half width by "
        "that belief which is the true one, and at the median over all of them; where the truth is not believed, only "
        f"that. Three binomial errors of the coverage: {error:.3f}.",
        "",
        "| law | noise goes as | believed | fit's weights | study | promised | at the median | found | "
        "found / promised | covered | width / design's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    own = math.nan
    for r in rows:
        own = r.found if r.study == "the design" else own
        lines.append(
            f"| {r.law} | N^{r.slope:g} | {r.believed} | N^{r.weighed:g} | {r.study} | {r.promised:.2%} | "
            f"{r.before:.2%} | {r.found:.2%} | {r.found / r.promised:.2f} | {r.covered:.3f} | {r.found / own:.2f} |"
        )
    return minus("\n".join(lines) + "\n")


def written(rows: list[Row], replicates: int, seconds: float) -> str:
    """The table in Markdown."""
    error = 3 * math.sqrt(0.95 * 0.05 / replicates)
    lines = [
        "# Designs: what they promise, and what fits find",
        "",
        f"`python -m benchmarks.design --replicates {replicates}`, {datetime.date.today()}, {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, jax {version('jax')}, numpy {version('numpy')}; "
        f"{seconds / 60:.0f} min.",
        "",
        f"A target of {TARGET.params[0]:.3g} parameters on {TARGET.tokens[0]:.3g} tokens, 50 times the budget of "
        f"{BUDGET:g} FLOP; at most {design.RUNS} runs. Widths are half the 95 % interval of the law's value there. "
        "Believed: the law, with the gap of its exponents so many times the true one. Rivals are the best of their "
        f"kind by what is believed. Three binomial errors of the coverage: {error:.3f}.",
        "",
        "| law | noise | gap believed | study | runs | spent | promised | found | found / promised | covered | "
        "width / design's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    own = math.nan
    for r in rows:
        own = r.found if r.study == "the design" else own
        lines.append(
            f"| {r.law} | {r.noise:.1%} | {r.gap:g} | {r.study} | {r.runs} | {r.spent:.0%} | {r.promised:.2%} | "
            f"{r.found:.2%} | {r.found / r.promised:.2f} | {r.covered:.3f} | {r.found / own:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doubt", action="store_true", help="where the noise or the form is in doubt")
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    began = time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.doubt:
        doubts = doubted(args.replicates)
        (args.out / "design_doubt.md").write_text(written_doubts(doubts, args.replicates, time.monotonic() - began))
        return
    rows = compared(args.replicates)
    (args.out / "design.md").write_text(written(rows, args.replicates, time.monotonic() - began))


if __name__ == "__main__":
    main()
