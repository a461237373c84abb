"""How often do the intervals of Hoffmann's three approaches hold the truth, on the main grid (configs/grid.py)?

    python -m benchmarks.approaches_coverage [--budget cpu-1h] [--replicates 200]

Prints what results/approaches_coverage.md keeps.
"""

import argparse
import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from analysis import frontier
from analysis.confidence import LEVEL
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.laws import Chinchilla
from analysis.papers.chinchilla import approaches, trunks
from analysis.papers.chinchilla.evidence import FIND
from analysis.papers.claim import MISSING
from analysis.table import Table
from configs import grid
from scaling import counts

# Near what the quickstart's runs gave, with the best sizes well inside the grid.
LAW = Chinchilla(E=1.7, A=12.0, B=100.0, alpha=0.25, beta=0.35)
LUCK = trunks.Luck(trunk=0.003, run=0.001, degrees=0)  # of ln loss, as among the seeds of our own runs


@dataclasses.dataclass
class Tally:
    """Of one approach: estimates of a, whether each interval held the truth, and the intervals' half-widths."""

    a: list[float] = dataclasses.field(default_factory=list)
    held: list[bool] = dataclasses.field(default_factory=list)
    half: list[float] = dataclasses.field(default_factory=list)


def runs_of(budget: str) -> Table:
    """The runs of the grid with the losses of the law; N with the embedding, as the paper counts."""
    rows = []
    for config in grid.runs(grid.named(budget), "python"):
        N = counts.params(config.model)["params_head"]
        rows.append(
            {"params": N, "tokens": float(config.tokens), "seed": config.seed}
            | {"flops": FLOP_PER_PARAM_TOKEN * N * config.tokens, "trunk": float(N * 10 + config.seed)}
            | {"loss": float(LAW(N, config.tokens))}
        )
    return Table.from_rows(rows, "known law")


def lucky(runs: Table, rng: np.random.Generator) -> Table:
    """The runs with luck of their own: one number for each trunk, one for each run."""
    _, trunk = np.unique(runs["trunk"], return_inverse=True)
    shared = LUCK.trunk * rng.standard_normal(trunk.max() + 1)[trunk]
    return runs.with_columns(loss=runs["loss"] * np.exp(shared + LUCK.run * rng.standard_normal(len(runs))))


def counted(budget: str, replicates: int) -> tuple[float, dict[int, Tally]]:
    """The true exponent a and the tally of each approach. What an approach cannot decide is in none."""
    exact = runs_of(budget)
    C = np.geomspace(exact["flops"].min(), exact["flops"].max(), 9)
    truth, tallies = frontier.surface(LAW, C).a, {number: Tally() for number in FIND}
    for replicate in range(replicates):
        runs = lucky(exact, np.random.default_rng(replicate))
        drawn = approaches.draws(runs, trunks.luck(runs))
        for number, find in FIND.items():
            try:
                found = find(runs, drawn).found
            except MISSING:
                continue
            low, high = found.a_interval
            own = tallies[number]
            own.a.append(found.a)
            own.held.append(low <= truth <= high)
            own.half.append((high - low) / 2)
    return truth, tallies


def lines(truth: float, tallies: dict[int, Tally], replicates: int) -> Iterator[str]:
    yield "| approach | intervals | hold the truth | mean of a less the truth | scatter of a | half-width, median |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for number, own in tallies.items():
        a = np.array(own.a)
        yield (
            f"| {number} | {len(a)} of {replicates} | {np.mean(own.held):.3f} | {a.mean() - truth:+.3f} "
            f"| {a.std(ddof=1):.3f} | {np.median(own.half):.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="How often do the intervals of the three approaches hold the truth?")
    parser.add_argument("--budget", default="cpu-1h", choices=tuple(grid.GRIDS))
    parser.add_argument("--replicates", type=int, default=200)
    args = parser.parse_args()
    began = time.process_time()
    truth, tallies = counted(args.budget, args.replicates)
    print(f"Nominal {LEVEL:.0%}; the true a is {truth:.3f}; {(time.process_time() - began) / 60:.0f} min of a core.\n")
    print("\n".join(lines(truth, tallies, args.replicates)))


if __name__ == "__main__":
    main()
