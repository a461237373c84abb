"""Our designs beside those of simple-scaling-laws 0.2, from the same candidates, at the same cost, under a known law.

    python -m benchmarks.design_peer --peer PYTHON [--repeats 5] [--out results]

PYTHON is an interpreter, 3.12 or later, that has the package (`pip install simple-scaling-laws`) in an environment of
its own. Two questions: a plan before any run (its `isoflop_grid`, for 20 tokens per parameter; ours for what published
laws say), and the rest of the budget after the same pilot (its `suggest_runs` in three rounds, each fitted anew; ours
once, by the fit to the pilot). Each design is scored under the law that is true: half widths at 95 % of the law's value
at the target, which ours make small, and of N_opt at its compute, which the peer's do. Writes results/design_peer.md.
"""

import argparse
import datetime
import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

BUDGET, NOISE = 2e19, 0.005  # FLOP; of ln(loss)
N, D = 2.9e9, 5.8e10  # the target, 50 times the budget
RATIO = 20.0  # tokens per parameter, by which the peer's sweeps are centred
BUDGETS, FACTOR, POINTS = 4, 4.0, 6  # of a sweep; between them; sizes at each
PILOT = 0.1  # of the budget
ROUNDS = 3
PARTS = (2.0, 8.0)  # of what a round may spend: the budgets of its candidates
SUGGESTED, REPEATS = 8, 3  # runs of a round, and of a candidate, at most
EVALUATIONS = 4  # of a run, as the peer wants them
COLUMNS = ("model_size__n_params", "dataset_size__n_tokens")
Runs = list[tuple[float, float]]


def of_peer() -> None:
    """In the peer's interpreter: its plan, and what it suggests after each pilot; JSON in, JSON out."""
    import simple_scaling_laws as peer  # pyright: ignore[reportMissingImports]  # in an environment of its own
    from simple_scaling_laws.cost import cost_model  # pyright: ignore[reportMissingImports]
    from simple_scaling_laws.simulate import simulate_runs  # pyright: ignore[reportMissingImports]

    asked = json.load(sys.stdin)
    cost = cost_model("power", k=6.0, a=1.0, b=1.0)
    pool: Runs = [tuple(row) for row in asked["pool"]]

    def snapped(n: float, d: float) -> tuple[float, float]:
        return min(pool, key=lambda row: abs(math.log(row[0] / n)) + abs(math.log(row[1] / d)))

    def sweep(total: float) -> Runs:
        runs = BUDGETS * (POINTS + 1) if total == asked["budget"] else 2 * (POINTS + 1)
        budgets = BUDGETS if total == asked["budget"] else 2
        shares = [FACTOR**-k for k in range(budgets)]
        largest = total / (runs / budgets * sum(shares))
        while True:  # the nearest candidates may cost more than the points of the sweep
            at = [largest * share for share in shares]
            grid = peer.isoflop_grid(at, cost, centre=RATIO, points_per_budget=POINTS).select(*COLUMNS, "runs")
            found = [snapped(*row[:2]) for row in grid.rows() for _ in range(int(row[2]))]
            if sum(6 * n * d for n, d in found) <= total:
                return found
            largest *= 0.95

    def simulated(runs: Runs, seed: int) -> Any:
        truth = {"test_loss__ce": asked["truth"]}
        sd = {"run_sd": asked["noise"] * asked["middle"], "eval_sd": 0.1 * asked["noise"] * asked["middle"]}
        many = {"runs_per_config": 1, "evaluations_per_run": EVALUATIONS, "seed": seed, "reference": (1.0, 1.0)}
        return simulate_runs(truth, configurations=runs, predictors=COLUMNS, **sd, **many)

    def suggested(runs: Runs, budget: float, seed: int) -> Runs:
        for k in range(ROUNDS):
            here = budget / (ROUNDS - k)
            model = peer.fit(simulated(runs, seed), n_draws=200, seed=seed)
            parts = [here / part for part in PARTS]
            found = peer.suggest_runs(
                model, [asked["target"]], cost, n=SUGGESTED, candidate_budgets=parts, max_per_point=REPEATS
            )
            for n, d in found.select(*COLUMNS).rows():
                run = snapped(n, d)
                if 6 * run[0] * run[1] <= here:
                    runs, here, budget = [*runs, run], here - 6 * run[0] * run[1], budget - 6 * run[0] * run[1]
        return runs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pilot = sweep(PILOT * asked["budget"])
        left = asked["budget"] - sum(6 * n * d for n, d in pilot)
        after = [suggested(pilot, left, seed) for seed in range(asked["repeats"])]
        print(json.dumps({"plan": sweep(asked["budget"]), "pilot": pilot, "after": after}))


def compared(python: str, repeats: int) -> list[dict[str, Any]]:
    """Every study scored under the true law."""
    import numpy as np

    from analysis.design import CHECKS, RUNS, chosen, prior, score
    from analysis.design.criterion import Criterion, Target
    from analysis.design.pool import pool
    from analysis.design.prior import Prior
    from analysis.fit import fit
    from analysis.table import Table
    from benchmarks.design import LAWS, SIZES
    from scaling.errors import InputError

    law, candidates, target = LAWS[0], pool(SIZES, BUDGET), Target(np.array([N]), np.array([D]))
    rows = list(zip(candidates.params.tolist(), candidates.tokens.tolist(), strict=True))
    truth = {name: getattr(law, name) for name in ("E", "A", "B", "alpha", "beta")}
    middle = float(np.median(law(candidates.params, candidates.tokens)))
    asked = {"pool": rows, "budget": BUDGET, "truth": truth, "noise": NOISE, "middle": middle, "target": 6 * N * D,
             "repeats": repeats}  # fmt: skip
    words = [python, str(Path(__file__).resolve()), "--as-peer"]
    done = subprocess.run(words, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True)
    theirs = json.loads(done.stdout)

    def scored(name: str, runs: Runs) -> dict[str, Any]:
        at = np.array(runs, float)
        cost = float((6 * at[:, 0] * at[:, 1]).sum())
        (one,) = score.score([score.Written(name, at[:, 0], at[:, 1], cost)], Prior((law,), NOISE), target).scores
        return {"study": name, "runs": one.runs, "spent": cost / BUDGET, "law": one.promise.law, "best": one.best}

    def repeated(counts: Any) -> Runs:
        return [rows[i] for i in np.repeat(np.arange(len(rows)), counts)]

    planned = chosen(Criterion.of(prior.published(NOISE), candidates, target), BUDGET, CHECKS, RUNS)
    found = [scored("plan, ours", repeated(planned)), scored("plan, peer", theirs["plan"])]
    pilot = [tuple(run) for run in theirs["pilot"]]
    at = np.array(pilot, float)
    left = BUDGET - float((6 * at[:, 0] * at[:, 1]).sum())
    found.append(scored("pilot", pilot))
    for seed, runs in enumerate(theirs["after"]):
        noise = np.exp(NOISE * np.random.default_rng(seed).normal(size=len(at)))
        table = Table.from_columns({"params": at[:, 0], "tokens": at[:, 1], "loss": law(at[:, 0], at[:, 1]) * noise})
        try:
            believed = prior.of_fit(fit("chinchilla", table, loss="squared", every_run=True))
        except InputError:
            believed = prior.published(NOISE)
        ours = chosen(Criterion.of(believed, candidates, target, (at[:, 0], at[:, 1])), left, CHECKS, RUNS)
        found.append(scored(f"after pilot {seed + 1}, ours", [*pilot, *repeated(ours)]))
        found.append(scored(f"after pilot {seed + 1}, peer", [tuple(run) for run in runs]))
    return found


def written(rows: list[dict[str, Any]], repeats: int) -> str:
    from analysis.digits import percent
    from benchmarks.calibration import machine

    lines = [
        "# Our designs beside those of simple-scaling-laws 0.2",
        "",
        f"`python -m benchmarks.design_peer --peer PYTHON --repeats {repeats}`, {datetime.date.today()}, {machine()}.",
        "",
        f"{BUDGET:g} FLOP, a target of {N:g} parameters on {D:g} tokens, Chinchilla's law, runs that scatter by "
        f"{percent(NOISE)}. Half widths at 95 %, under the law that is true, of the law's value at the target (what "
        "our designs make small) and of N_opt at its compute (what the peer's do).",
        "",
        "| study | runs | of the budget | law's value ± | N_opt ± |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        told = " | ".join(percent(row[name]) for name in ("spent", "law", "best"))
        lines.append(f"| {row['study']} | {row['runs']} | {told} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has simple-scaling-laws")
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    if args.as_peer:
        of_peer()
        return
    rows = compared(args.peer or parser.error("--peer PYTHON is wanted"), args.repeats)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "design_peer.md").write_text(written(rows, args.repeats))


if __name__ == "__main__":
    main()
