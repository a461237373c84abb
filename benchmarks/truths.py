"""What forms make of surfaces whose exponents are known, and how often the chooser between forms is right.

    python benchmarks/truths.py [--draws 60] [--out results]

Writes results/truths.md, which says how long it took.
"""

import argparse
import dataclasses
import datetime
import math
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from analysis import truths
from analysis.fit import held_out, solver
from analysis.fit.solver import Array, Objective, Problem
from analysis.fit.starts import starts_of
from analysis.forms import Form, best_of, candidates
from analysis.laws import Law
from analysis.table import Table
from analysis.truths import Grid, Truth

FAR = 30.0  # times the largest of each input
NOISE = 0.01
STARTS = 128  # without noise
FEW_STARTS = 15  # of each draw, beside the optimum without noise
SLOW = 4  # times fewer draws of a surface than of the ladders to choose on
LANES = 256
# Which constants, summed, are the exponents of the limits.
EXPONENTS = {
    "chinchilla": {"alpha": ("alpha",), "beta": ("beta",)},
    "kaplan-one-pass": {"alpha": ("alpha_N",), "beta": ("alpha_D",)},
    "q-norm": {"alpha": ("alpha",), "beta": ("beta",)},
    "bnsl-0": {"beta": ("c_0",)},
    "m3": {"beta": ("c",)},
    "m4": {"beta": ("c",)},
    "bnsl-1": {"beta": ("c_0", "c_1")},
}
GRIDS = ((4, 3), (4, 4), (5, 5), (7, 7))  # values of N and D of the ladders to choose on
NOISES = (0.002, 0.01, 0.04)


@dataclasses.dataclass(frozen=True)
class Recovered:
    """A form fitted to a surface: without noise, and the median and the spread of draws with it."""

    surface: str
    form: str
    true: dict[str, float]
    exponents: dict[str, Array]  # (1 + draws,), the first without noise
    rms: Array
    far: Array  # law / truth - 1 at `FAR` times the size
    chosen: int  # draws in which the rows held out choose this form
    draws: int

    def row(self) -> str:
        middle, half = np.median(self.far[1:]), np.std(self.far[1:])
        names = [name for name in ("alpha", "beta") if name in self.true]
        noiseless = ", ".join(f"{self.exponents[name][0]:.3f}" for name in names)
        noisy = ", ".join(
            f"{np.median(self.exponents[n][1:]):.3f} ± {np.std(self.exponents[n][1:]):.3f}" for n in names
        )
        true = ", ".join(f"{self.true[name]:.3f}" for name in names)
        return (
            f"| {self.surface} | {self.form} | {true} | {noiseless} | {self.rms[0]:.2%} | {self.far[0]:+.1%} "
            f"| {noisy} | {middle:+.1%} ± {half:.1%} | {self.chosen} of {self.draws} |"
        )


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Ladders drawn from one law, and how often rows held out chose it."""

    truth: str
    grid: tuple[int, int]
    noise: float
    right: int
    wrong: int
    draws: int

    def row(self) -> str:
        open_ = self.draws - self.right - self.wrong
        grid = " x ".join(map(str, self.grid))
        return f"| {self.truth} | {grid} | {self.noise:.1%} | {self.right} | {open_} | {self.wrong} |"


def forms_of(laws: Sequence[type[Law]], x: tuple[Array, ...], y: Array) -> list[str]:
    """Which of the laws each of the data sets y (m, n) chooses by rows held out, or nothing."""
    most = max(len(law.constants()) for law in laws)
    held = held_out.folds(sum((np.log(column) for column in x), np.zeros(len(x[0]))), most)
    forms: list[list[Form]] = [[] for _ in y]
    for law in laws:
        problem = Problem(law, Objective("auto"), x, y, np.ones(y.shape))
        density, off = held_out.all_folds(problem, held, lanes=LANES)
        for i, found in enumerate(forms):
            error = math.sqrt(float(np.nanmean(np.expm1(off[i]) ** 2)))
            found.append(Form(law.name, len(law.constants()), math.nan, error, float(density[i].sum())))
    return [best_of(found) for found in forms]


def recovered(name: str, truth: Truth, grids: dict[str, Grid], draws: int) -> Iterator[Recovered]:
    columns = truths.drawn(truth, grids)
    x = tuple(columns[column] for column in truth.inputs)
    laws = candidates(Table.from_columns(columns))
    scatter = NOISE * np.random.default_rng(0).normal(size=(draws, len(x[0])))
    y = np.log(columns["loss"]) + np.vstack([np.zeros(len(x[0])), scatter])
    best = forms_of(laws, x, y[1:])
    far = tuple(np.array([FAR * column.max()]) for column in x)
    at_far = float(np.ravel(truth(*far))[0])
    for law in laws:
        problem = Problem(law, Objective("squared"), x, y, np.ones(y.shape))
        noiseless, noisy = problem.with_data(y[:1], problem.weights[:1]), problem.with_data(y[1:], problem.weights[1:])
        _, first = held_out.refit(noiseless, starts_of(problem, STARTS, {}), LANES)
        _, rest = held_out.refit(noisy, np.vstack([first, starts_of(problem, FEW_STARTS, {})]), LANES)
        theta = np.vstack([first, rest])
        constants = solver.to_constants(law, theta)
        index = {c.name: k for k, c in enumerate(law.constants())}
        off = y - solver.predict(law, theta, x, True)
        yield Recovered(
            name,
            law.name,
            truth.exponents,
            {
                letter: constants[:, [index[constant] for constant in summed]].sum(-1)
                for letter, summed in EXPONENTS[law.name].items()
            },
            np.sqrt((np.expm1(off) ** 2).mean(-1)),
            np.exp(solver.predict(law, theta, far, True)[:, 0]) / at_far - 1,
            best.count(law.name),
            draws,
        )


def chosen(truth: Truth, own: str, grid: tuple[int, int], noise: float, draws: int) -> Chosen:
    """How often rows held out tell Chinchilla's form from Kaplan's, without a wider form to fall back on."""
    ranges = truths.SURFACES["chinchilla"][1]
    grids = {c: ranges[c]._replace(points=k) for c, k in zip(("params", "tokens"), grid, strict=True)}
    columns = truths.drawn(truth, grids)
    x = columns["params"], columns["tokens"]
    laws = candidates(Table.from_columns(columns))[:2]
    scatter = noise * np.random.default_rng([*grid, round(1e4 * noise)]).normal(size=(draws, len(x[0])))
    best = forms_of(laws, x, np.log(columns["loss"]) + scatter)
    right, none = best.count(own), best.count("")
    return Chosen(own, grid, noise, right, draws - right - none, draws)


def report(rows: list[Recovered], choices: list[Chosen], args: argparse.Namespace, seconds: float) -> str:
    wrong = max(c.wrong / c.draws for c in choices)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("jax", "numpy", "scipy"))
    lines = [
        "# Forms on surfaces whose exponents are known",
        "",
        f"`python benchmarks/truths.py --draws {args.draws}`, {datetime.date.today()}, {seconds / 60:.1f} minutes of",
        f"one processor, {platform.machine()}, Python {platform.python_version()}, {libraries}.",
        "",
        "Surfaces as `scaling table synthetic:NAME` gives them (docs/fitting.md), least squares in ln(loss). Error far",
        f"out: law / truth - 1 at {FAR:g} times the largest of each input. With noise: {NOISE:.0%} on each loss,",
        f"{args.draws // SLOW} draws, median and standard deviation. Chosen: how often `scaling fit --choose` takes",
        'the form on these draws; the rest is "cannot tell".',
        "",
        "| surface | form | true exponents | found | rms | error far out | with noise | error far out | chosen |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(r.row() for r in rows),
        "",
        "## Chinchilla's form or Kaplan's",
        "",
        "Ladders over three decades of N and of D drawn from each of the two laws; the chooser has both to choose",
        f"from. It may be wrong in 5 % of the draws; it was in {wrong:.0%} at most.",
        "",
        "| drawn from | N x D | noise | right | cannot tell | wrong |",
        "| --- | --- | --- | --- | --- | --- |",
        *(c.row() for c in choices),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="What forms make of surfaces whose exponents are known.")
    parser.add_argument("--draws", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began, rows, choices = time.time(), [], []
    for name, (_, grids) in truths.SURFACES.items():
        for row in recovered(name, truths.surface(name, {}), dict(grids), args.draws // SLOW):
            rows.append(row)
            print(f"{time.time() - began:5.0f} s {row.row()}", file=sys.stderr, flush=True)
    for grid in GRIDS:
        for noise in NOISES:
            for truth, own in ((truths.OfChinchilla(), "chinchilla"), (truths.OfKaplan(), "kaplan-one-pass")):
                choices.append(chosen(truth, own, grid, noise, args.draws))
                print(f"{time.time() - began:5.0f} s {choices[-1].row()}", file=sys.stderr, flush=True)
    args.out.mkdir(exist_ok=True)
    (args.out / "truths.md").write_text(report(rows, choices, args, time.process_time()), encoding="utf-8")


if __name__ == "__main__":
    main()
