"""Does a design keep its promise? Studies drawn from known laws on designed runs, fitted as the tool would, counted.

    python -m benchmarks.design [--replicates 500] [--out results]

Beside each design the best grid and the best IsoFLOP profiles of the same cost, from the same candidates. Believed is
the law itself, or one whose exponents are wrong: their gap is half or double the true one. Writes results/design.md.
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
from analysis.design.criterion import Target
from analysis.design.pool import pool
from analysis.design.prior import Prior, with_gap
from analysis.laws import Chinchilla, KaplanOnePass, Law
from benchmarks.calibration import ahead, fitted, held, profiles, without_interval

BUDGET = 2e19  # FLOP
TARGET = Target(np.array([2.9e9]), np.array([5.8e10]))  # 50 times the budget
SIZES = 1e6 * 2.0 ** np.arange(10)
NOISES = (0.002, 0.01)
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


def measured(law: Law, study: Study, noise: float, replicates: int) -> tuple[float, float, float]:
    """Median half width at the target, share that held the truth, share of fits without an interval."""
    rows = np.repeat(np.arange(len(study.pool)), study.counts)
    x = (study.pool.params[rows], study.pool.tokens[rows])
    rng = np.random.default_rng([len(rows), round(noise * 1e6)])
    y = np.log(np.asarray(law(*x))) + noise * rng.normal(size=(replicates, len(rows)))
    problem, theta, value = fitted(type(law), x, y, len(rows))
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
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    began = time.monotonic()
    rows = compared(args.replicates)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "design.md").write_text(written(rows, args.replicates, time.monotonic() - began))


if __name__ == "__main__":
    main()
