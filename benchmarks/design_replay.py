"""Designs replayed on runs that others trained: chosen within a share of their cost, fitted, held to the largest run.

    python -m benchmarks.design_replay ../shared/reference_runs [--out results]

What may be chosen are the rows with at most a tenth of the largest run's compute, each once. Beside the design a grid
(rows nearest to points evenly apart in ln N and ln D) and IsoFLOP profiles, each the one of its kind that promises most
within the same cost. All are chosen before a loss is seen, for what published laws say, those of the same runs left
out. Writes results/design_replay.md.
"""

import argparse
import dataclasses
import datetime
import itertools
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analysis.design import CHECKS, RUNS, chosen, promised, usual
from analysis.design.criterion import Criterion, Target
from analysis.design.pool import Counts, Pool
from analysis.design.prior import Prior
from analysis.digits import minus, percent, plural
from analysis.fit import fit
from analysis.frontier import FLOP_PER_PARAM_TOKEN
from analysis.plan.published import PUBLISHED
from analysis.table import Table
from benchmarks.backtest import Set, others
from benchmarks.calibration import machine
from scaling.errors import InputError

SHARES = (0.05, 0.2)  # of the cost of all rows that may be chosen
BELOW = 10.0  # times the compute of any of them, at least, that of the largest run
ALIKE = 1.2  # rows within this factor of the largest compute are predicted too
OWN = {"besiroglu2024": "chinchilla", "gadre2024": "gadre", "muennighoff2023": "muennighoff"}  # laws of the same runs
CURVES = "porian2024"  # rows are points on learning curves, at three of four settings without a decay of their own
DESIGN, GRID, ISOFLOP, ALL = "the design", "a grid", "IsoFLOP profiles", "all rows"


@dataclasses.dataclass(frozen=True)
class Row:
    """One study of one set.

    Attributes:
        spent: share of the cost of all rows.
        promised: half width of the law's interval.
        errors, halves: ln(measured / predicted) of the rows predicted, half widths of one run's interval there.
        why: what makes the fit doubtful, or why there is none.
    """

    set: str
    share: float
    study: str
    runs: int
    spent: float
    promised: float
    errors: tuple[float, ...]
    halves: tuple[float, ...]
    why: str = ""

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(np.square(self.errors)))) if self.errors else math.nan


def believed(source: str) -> Prior:
    """What other groups' laws say."""
    laws = [
        one.fresh
        for one in PUBLISHED.values()
        if one.fresh is not None and not one.left_out and not one.name.startswith(OWN.get(source, " "))
    ]
    return Prior(tuple(laws))


def grid(criterion: Criterion, flops: float) -> Counts:
    """As `usual.grid`, of rows that lie anywhere: those nearest to the grid's points."""
    pool = criterion.pool
    logs = np.log([pool.params, pool.tokens])
    low, high = logs.min(1), logs.max(1)
    found = []
    for sizes, lengths in itertools.product(usual.SIZES, usual.LENGTHS):
        for reach in itertools.product(np.linspace(0.3, 1, 8), repeat=2):
            ends = zip(low, high, reach, (sizes, lengths), strict=True)
            at = [np.linspace(a, a + share * (b - a), n) for a, b, share, n in ends]
            points = np.array(list(itertools.product(*at)))
            counts = np.zeros(len(pool), np.int64)
            counts[np.abs(logs.T[None] - points[:, None]).sum(-1).argmin(1)] = 1
            if counts.sum() <= RUNS and pool.cost(counts) <= flops:
                found.append(counts)
    return min(found, key=lambda counts: criterion.narrow(counts)[0], default=np.zeros(len(pool), np.int64))


def replayed(one: Set, root: Path) -> Iterator[Row]:
    table = one.table(root)
    if "unique_tokens" in table:
        table = table.where(table["tokens"] <= table["unique_tokens"], "repeated data")
    C = FLOP_PER_PARAM_TOKEN * table["params"] * table["tokens"]
    far, near = table.where(C >= C.max() / ALIKE, "smaller"), table.where(C <= C.max() / BELOW, "larger")
    pool, prior = Pool(near["params"], near["tokens"]), believed(one.source)
    target = Target(far["params"], far["tokens"])
    criterion = Criterion.of(prior, pool, target)
    total = float(pool.flops.sum())
    for share in SHARES:
        flops = share * total
        studies = {
            DESIGN: chosen(criterion, flops, CHECKS, RUNS, 1),
            GRID: grid(criterion, flops),
            ISOFLOP: usual.isoflop(criterion.narrow, pool, prior, flops, RUNS),
        }
        if share == SHARES[-1]:
            studies[ALL] = np.ones(len(pool), np.int64)
        for name, counts in studies.items():
            yield measured(one.name, share if name != ALL else 1.0, name, criterion, counts, near, far)


def measured(name: str, share: float, study: str, criterion: Criterion, counts: Counts, near: Table, far: Table) -> Row:
    pool, n = criterion.pool, int(counts.sum())
    spent = float(pool.cost(counts) / pool.flops.sum())
    if n <= 5:
        return Row(name, share, study, n, spent, math.nan, (), (), f"{n} {plural(n, 'run', 'runs')}")
    law = promised(criterion, counts).law
    rows = Table.from_columns({column: near[column][counts > 0] for column in ("params", "tokens", "loss")})
    try:
        found = fit("chinchilla", rows, loss="squared", every_run=True)
    except InputError as error:
        return Row(name, share, study, n, spent, law, (), (), str(error))
    said = found.predict(run=True, params=far["params"], tokens=far["tokens"])
    errors = np.log(far["loss"] / said.value)
    halves = np.where(errors > 0, np.log(said.high / said.value), np.log(said.value / said.low))
    return Row(
        name, share, study, n, spent, law, tuple(errors), tuple(halves), "" if found.sound else str(found.status)
    )


def written(rows: list[Row]) -> str:
    lines = [
        "# Designs replayed on other groups' runs",
        "",
        f"`python -m benchmarks.design_replay ../shared/reference_runs`, {datetime.date.today()}, {machine()}.",
        "",
        f"Rows with at most 1/{BELOW:g} of the largest run's compute may be chosen, at most {RUNS}, for a share of "
        "what all of them cost; Chinchilla's law is fitted to those chosen and predicts the largest run (and others "
        f"within a factor of {ALIKE:g} of its compute). Chosen by what published laws say, those of the same runs left "
        "out, before any loss is seen. Error: rms of ln(measured / predicted). Interval: median half width of one "
        "run's at 95 %, on the side of the error. Doubtful: the fit says so itself.",
        "",
        "| runs of | budget | study | runs | spent | promised, law | error | interval | inside | doubtful |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        inside = sum(abs(e) <= h for e, h in zip(r.errors, r.halves, strict=True))
        half = percent(float(np.median(r.halves))) if r.halves else "–"
        held = f"{inside} of {len(r.errors)}" if r.errors else "–"
        lines.append(
            f"| {r.set} | {r.share:.0%} | {r.study} | {r.runs} | {r.spent:.1%} | {percent(r.promised)} | "
            f"{percent(r.rms)} | {half} | {held} | {r.why} |"
        )
    return minus("\n".join([*lines, "", *summary(rows)]) + "\n")


def summary(rows: list[Row]) -> Iterator[str]:
    """Medians over the sets where all three studies were fitted, runs apart from points on learning curves."""
    by: dict[tuple[str, float], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        by[row.set, row.share][row.study] = row
    yield "| sets | budget | study | median error | median interval | inside | better than the design in |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for share, of_curves in itertools.product(SHARES, (False, True)):
        sets = [
            own
            for (name, s), own in by.items()
            if s == share
            and name.startswith(CURVES) == of_curves
            and all(own[n].errors for n in (DESIGN, GRID, ISOFLOP))
        ]
        told = f"{len(sets)} {'of points on curves' if of_curves else 'of runs'}"
        for study in (DESIGN, GRID, ISOFLOP):
            own = [one[study] for one in sets]
            held = [abs(e) <= h for r in own for e, h in zip(r.errors, r.halves, strict=True)]
            wins = sum(one[study].rms < one[DESIGN].rms for one in sets)
            error, half = (
                float(np.median([f(r) for r in own])) for f in (lambda r: r.rms, lambda r: np.median(r.halves))
            )
            won = f"{wins} of {len(own)}" if study != DESIGN else ""
            inside = f"{sum(held)} of {len(held)}"
            yield f"| {told} | {share:.0%} | {study} | {percent(error)} | {percent(half)} | {inside} | {won} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="the folder of the tables")
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    rows = []
    for one in others():
        try:
            for row in replayed(one, args.runs):
                rows.append(row)
                print(row, flush=True)
        except InputError as error:
            print(f"{one.name}: left out: {error}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "design_replay.md").write_text(written(rows))


if __name__ == "__main__":
    main()
