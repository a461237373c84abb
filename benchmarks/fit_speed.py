"""How long the fit of Besiroglu et al. takes: 4,500 starts and 4,000 bootstrap refits, on one core, against SciPy.

    python benchmarks/fit_speed.py RUNS.csv [--out results/fit_speed.md]

RUNS.csv has the columns "Model Size", "Training FLOP" and "loss" (the 245 runs read off Hoffmann et al. Fig. 4). The
SciPy version does as the replication's notebook does: L-BFGS-B with finite differences from each start, BFGS with the
exact gradient from one vector for each bootstrap draw. It does a share of the job, stated in the output, scaled up.
"""

import argparse
import datetime
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from analysis.fit import fit
from analysis.laws import Chinchilla
from analysis.table import Table, load

GRID = [
    np.arange(-1, 1.1, 0.5),
    np.arange(0, 26, 5.0),
    np.arange(0, 26, 5.0),
    np.arange(0, 2.1, 0.5),
    np.arange(0, 2.1, 0.5),
]
DRAWS = 4000
SCIPY_STARTS, SCIPY_DRAWS = 90, 40  # measured, of 4,500 and 4,000
HOFFMANN = (0.5267228, 6.0073404, 6.0179186, 0.33917084, 0.2849083)  # e, a, b, alpha, beta: where bootstraps begin


def hoffmanns_grid() -> np.ndarray:
    """The 4,500 starts of Hoffmann et al. as ln E, ln A, ln B, alpha, beta, (4500, 5)."""
    return np.stack([axis.ravel() for axis in np.meshgrid(*GRID, indexing="ij")], 1)


def runs(path: Path) -> Table:
    return load(path, {"params": "Model Size", "flops": "Training FLOP"})


def whole_job(path: Path) -> None:
    """What a new process does."""
    starts = hoffmanns_grid()
    starts[:, :3] = np.exp(starts[:, :3])
    found = fit("chinchilla", runs(path), drop_worst=5, bootstrap=DRAWS, starts=starts)
    print(f"{found.objective:.9g} {found.share_at_optimum:.3f}")


def huber(theta: np.ndarray, ln_N: np.ndarray, ln_D: np.ndarray, ln_L: np.ndarray) -> tuple[float, np.ndarray]:
    """Summed Huber objective and its gradient, NumPy."""
    e, a, b, alpha, beta = theta
    parts = np.stack([np.full_like(ln_N, e), a - alpha * ln_N, b - beta * ln_D])
    top = parts.max(0)
    terms = np.exp(parts - top)
    total = terms.sum(0)
    r = top + np.log(total) - ln_L
    size, share = np.abs(r), terms / total
    psi = np.clip(r, -1e-3, 1e-3)
    value = np.where(size <= 1e-3, 0.5 * r * r, 1e-3 * (size - 0.5e-3)).sum()
    slope = psi * np.stack([share[0], share[1], share[2], -ln_N * share[1], -ln_D * share[2]])
    return float(value), slope.sum(1)


def scipy_job(table: Table) -> tuple[float, float, float, float]:
    """Seconds for the starts and for the draws, scaled to the whole job, processor time of both, lowest objective."""
    keep = table["loss"] < np.sort(table["loss"])[-5]
    columns = tuple(np.log(table[name][keep]) for name in ("params", "tokens", "loss"))
    rng = np.random.default_rng(0)
    starts = hoffmanns_grid()[rng.choice(4500, SCIPY_STARTS, replace=False)]
    values = []

    def descend() -> None:
        values.extend(minimize(lambda t: huber(t, *columns)[0], start, method="L-BFGS-B").fun for start in starts)

    def resample() -> None:
        n = len(columns[0])
        for _ in range(SCIPY_DRAWS):
            rows = rng.integers(0, n, n)
            drawn = tuple(column[rows] for column in columns)
            minimize(huber, np.array(HOFFMANN), args=drawn, jac=True, method="BFGS")

    (a, a_cpu), (b, b_cpu) = seconds(descend, 1), seconds(resample, 1)
    more, again = 4500 / SCIPY_STARTS, DRAWS / SCIPY_DRAWS
    return a * more, b * again, a_cpu * more + b_cpu * again, min(values)


def cpu() -> float:
    """Seconds of processor time of this process and of the children that have ended."""
    mine, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + children.ru_utime + children.ru_stime


def seconds(job: Callable[[], object], repeat: int = 3) -> tuple[float, float]:
    """The best of a few, on the clock and in processor time: on a busy machine the clock counts the others too."""
    times = []
    for _ in range(repeat):
        began, used = time.perf_counter(), cpu()
        job()
        times.append((time.perf_counter() - began, cpu() - used))
    return min(clock for clock, _ in times), min(used for _, used in times)


def synthetic(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows)
    N, D = 10 ** rng.uniform(7, 10, rows), 10 ** rng.uniform(9, 12, rows)
    loss = Chinchilla(1.8172, 482.01, 2085.43, 0.3478, 0.3658)(N, D)
    return {"params": N, "tokens": D, "loss": loss * np.exp(0.005 * rng.normal(size=rows))}


def main() -> None:
    parser = argparse.ArgumentParser(description="How long the fit takes, against SciPy, on one core.")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/fit_speed.md"))
    parser.add_argument("--job-only", action="store_true", help="do the whole job once and print objective and share")
    args = parser.parse_args()
    if args.job_only:
        whole_job(args.runs)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # children inherit it
    table = runs(args.runs)
    command = [sys.executable, __file__, str(args.runs), "--job-only"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    cold = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    plain = (
        "import sys; from pathlib import Path; from analysis.fit import fit; from benchmarks.fit_speed import runs; "
        "fit('chinchilla', runs(Path(sys.argv[1])), drop_worst=5)"
    )
    root = Path(__file__).resolve().parents[1]
    plain_command = [sys.executable, "-c", plain, str(args.runs.resolve())]
    once = seconds(lambda: subprocess.run(plain_command, check=True, cwd=root))
    warm = seconds(lambda: fit("chinchilla", table, drop_worst=5, bootstrap=200))
    for_starts, for_draws, scipy_cpu, lowest = scipy_job(table)
    lines = [
        "# How long a fit takes",
        "",
        f"`python benchmarks/fit_speed.py RUNS.csv`, {datetime.date.today()}, one core of {platform.machine()}, Python",
        f"{platform.python_version()}, jax {version('jax')}, numpy {version('numpy')}, scipy {version('scipy')};",
        "best of three.",
        "",
        "Besiroglu's table (245 runs, the 5 worst dropped), 4,500 starts and 4,000 bootstrap refits:",
        "",
        "| | seconds | processor seconds | lowest objective |",
        "| --- | --- | --- | --- |",
        "| this project: new process, imports, compilation, fit, profile intervals, bootstrap, checks "
        f"| {cold[0]:.1f} | {cold[1]:.1f} | {printed[0]} |",
        f"| SciPy as in the replication's notebook: starts {for_starts:.0f} s, draws {for_draws:.0f} s "
        f"| {for_starts + for_draws:.0f} | {scipy_cpu:.0f} | {lowest:.9g} |",
        "",
        f"SciPy was measured on {SCIPY_STARTS} of the 4,500 starts and {SCIPY_DRAWS} of the 4,000 draws and scaled.",
        "",
        f"Share of the 4,500 starts that end at the optimum: {float(printed[1]):.0%}.",
        f"A fit from the defaults in a new process: {once[0]:.1f} s ({once[1]:.1f} s of the processor). Warm, with 200",
        f"bootstrap refits: {warm[0]:.2f} s ({warm[1]:.2f}).",
        "",
        "Processor seconds by rows (128 starts, warm, least squares) and by starts (240 rows):",
        "",
        "| rows | processor seconds | | starts | processor seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    grid = np.array([[1.8, 480.0, 2000.0, 0.35, 0.36]]) * np.exp(
        0.5 * np.random.default_rng(0).normal(size=(100_000, 5))
    )
    for k in (100, 1_000, 10_000, 100_000):
        data = Table.from_columns(synthetic(k))
        fit("chinchilla", data, loss="squared")
        by_rows = seconds(lambda data=data: fit("chinchilla", data, loss="squared"), 1)
        by_starts = seconds(lambda k=k: fit("chinchilla", table, drop_worst=5, starts=grid[:k]), 1)
        lines.append(f"| {k:,} | {by_rows[1]:.2f} | | {k:,} | {by_starts[1]:.2f} |")
    text = "\n".join(lines) + "\n"
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
