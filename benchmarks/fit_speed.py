"""How long the fit of Besiroglu et al. takes: 4,500 starts and 4,000 bootstrap refits, on one core, against SciPy.

    python benchmarks/fit_speed.py RUNS.csv [--out results/fit_speed.md]

RUNS.csv has the columns "Model Size", "Training FLOP" and "loss" (the 245 runs read off Hoffmann et al. Fig. 4). SciPy
does the job in two ways: as the replication's notebook does (L-BFGS-B with finite differences from each start, BFGS
with the exact gradient from one vector for each draw), and like for like, with exact slopes and tolerances as tight as
ours, by L-BFGS-B and by `least_squares`. It does a share of the job, stated in the output, scaled up.
"""

import argparse
import dataclasses
import datetime
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from analysis.fit import fit
from analysis.laws import Chinchilla
from analysis.load import load
from analysis.table import Table

GRID = [
    np.arange(-1, 1.1, 0.5),
    np.arange(0, 26, 5.0),
    np.arange(0, 26, 5.0),
    np.arange(0, 2.1, 0.5),
    np.arange(0, 2.1, 0.5),
]
DRAWS = 4000
SCIPY_STARTS, SCIPY_DRAWS = 90, 40  # measured, of 4,500 and 4,000
SAME = 1e-6  # relative difference of objectives within which a start has ended at the optimum
DELTA = 1e-3
LIBRARIES = ("jax", "numpy", "scipy")
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
    found = fit("chinchilla", runs(path), loss="huber", drop_worst=5, bootstrap=DRAWS, starts=starts)
    print(f"{found.objective:.9g} {found.share_at_optimum:.3f}")


def minimize(*args: Any, **options: Any) -> Any:
    from scipy import optimize  # a quarter of a second that our own job must not pay

    return optimize.minimize(*args, **options)


Columns = tuple[np.ndarray, ...]  # ln N, ln D, ln L


def residuals(theta: np.ndarray, ln_N: np.ndarray, ln_D: np.ndarray, ln_L: np.ndarray) -> np.ndarray:
    e, a, b, alpha, beta = theta
    parts = np.stack([np.full_like(ln_N, e), a - alpha * ln_N, b - beta * ln_D])
    return np.logaddexp.reduce(parts) - ln_L


def slopes(theta: np.ndarray, ln_N: np.ndarray, ln_D: np.ndarray, ln_L: np.ndarray) -> np.ndarray:
    """Of the residuals, (n, 5)."""
    e, a, b, alpha, beta = theta
    parts = np.stack([np.full_like(ln_N, e), a - alpha * ln_N, b - beta * ln_D])
    share = np.exp(parts - np.logaddexp.reduce(parts))
    return np.stack([share[0], share[1], share[2], -ln_N * share[1], -ln_D * share[2]], 1)


def huber(theta: np.ndarray, *columns: np.ndarray) -> float:
    size = np.abs(residuals(theta, *columns))
    return float(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)).sum())


def huber_and_slope(theta: np.ndarray, *columns: np.ndarray) -> tuple[float, np.ndarray]:
    psi = np.clip(residuals(theta, *columns), -DELTA, DELTA)
    return huber(theta, *columns), psi @ slopes(theta, *columns)


def by_notebook(start: np.ndarray, columns: Columns) -> float:
    return minimize(huber, start, args=columns, method="L-BFGS-B").fun


def draw_by_notebook(columns: Columns) -> float:
    return minimize(huber_and_slope, np.array(HOFFMANN), args=columns, jac=True, method="BFGS").fun


def by_lbfgs(start: np.ndarray, columns: Columns) -> float:
    options = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-11}
    return minimize(huber_and_slope, start, args=columns, jac=True, method="L-BFGS-B", options=options).fun


def by_least_squares(start: np.ndarray, columns: Columns) -> float:
    from scipy.optimize import least_squares

    try:
        x = least_squares(
            residuals,
            start,
            slopes,  # pyright: ignore[reportArgumentType] - a function, though a stub wants its name
            args=columns,
            loss="huber",
            f_scale=DELTA,
            x_scale="jac",
            ftol=1e-12,
            xtol=1e-12,
            gtol=1e-12,
        ).x
    except (ValueError, np.linalg.LinAlgError):  # the residuals of some starts are not finite
        return np.inf
    return huber(x, *columns)


@dataclasses.dataclass(frozen=True)
class Way:
    """One way of doing the job with SciPy, scaled to the whole of it."""

    name: str
    starts: float  # processor seconds
    draws: float
    lowest: float
    share: float  # of the starts measured that end at the optimum


def scipy_ways(table: Table, optimum: float) -> list[Way]:
    keep = table["loss"] < np.sort(table["loss"])[-5]
    columns = tuple(np.log(table[name][keep]) for name in ("params", "tokens", "loss"))
    rng = np.random.default_rng(0)
    starts = hoffmanns_grid()[rng.choice(4500, SCIPY_STARTS, replace=False)]
    n = len(columns[0])
    drawn = [tuple(column[rows] for column in columns) for rows in rng.integers(0, n, (SCIPY_DRAWS, n))]
    best = minimize(huber_and_slope, np.array(HOFFMANN), args=columns, jac=True, method="BFGS").x
    ways = []
    for name, descend, refit in (
        ("SciPy as in the notebook", by_notebook, draw_by_notebook),
        ("SciPy like for like, L-BFGS-B", by_lbfgs, lambda rows: by_lbfgs(best, rows)),
        ("SciPy like for like, least_squares", by_least_squares, lambda rows: by_least_squares(best, rows)),
    ):
        values: list[float] = []
        with np.errstate(all="ignore"):
            _, for_starts = seconds(lambda d=descend, v=values: v.extend(d(start, columns) for start in starts), 1)
            _, for_draws = seconds(lambda r=refit: [r(rows) for rows in drawn], 1)
        share = float(np.mean(np.array(values) <= optimum * (1 + SAME)))
        scaled = for_starts * 4500 / SCIPY_STARTS, for_draws * DRAWS / SCIPY_DRAWS
        ways.append(Way(name, *scaled, min(values), share))
    return ways


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


def by_hand(path: Path, root: Path, more: list[str]) -> tuple[float, float]:
    """The command as it is typed, on the clock and in processor time, its programs kept by a run before."""
    columns = ["--columns", "params=Model Size", "flops=Training FLOP"]
    command = [sys.executable, "-m", "scaling", "fit", "chinchilla", str(path), *columns, *more]
    subprocess.run(command, check=True, cwd=root, capture_output=True)
    return seconds(lambda: subprocess.run(command, check=True, cwd=root, capture_output=True))


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
    job = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    objective, share = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    with tempfile.TemporaryDirectory() as folder:
        kept = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": folder,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        subprocess.run(command, check=True, capture_output=True, env=kept)
        again = seconds(lambda: subprocess.run(command, check=True, capture_output=True, env=kept))
    plain = (
        "import sys; from pathlib import Path; from analysis.fit import fit; from benchmarks.fit_speed import runs; "
        "fit('chinchilla', runs(Path(sys.argv[1])), loss='huber', drop_worst=5)"
    )
    root = Path(__file__).resolve().parents[1]
    plain_command = [sys.executable, "-c", plain, str(args.runs.resolve())]
    once = seconds(lambda: subprocess.run(plain_command, check=True, cwd=root))
    typed = [by_hand(args.runs.resolve(), root, more) for more in ([], ["--bootstrap", str(DRAWS)])]
    fit("chinchilla", table, loss="huber", drop_worst=5)
    warm = seconds(lambda: fit("chinchilla", table, loss="huber", drop_worst=5, bootstrap=200))
    ways = scipy_ways(table, float(objective))
    lines = [
        "# How long a fit takes",
        "",
        f"`python benchmarks/fit_speed.py RUNS.csv`, {datetime.date.today()}, one core of {platform.machine()},",
        f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}; best of",
        f"three, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores. On a busy machine the clock counts",
        "the others too, and even processor seconds grow.",
        "",
        "Besiroglu's table (245 runs, the 5 worst dropped), 4,500 starts and 4,000 bootstrap refits:",
        "",
        "| | seconds | processor seconds | lowest objective | starts at the optimum |",
        "| --- | --- | --- | --- | --- |",
        "| this project: new process, imports, compilation, fit, profile intervals, bootstrap, checks "
        f"| {job[0]:.1f} | {job[1]:.1f} | {objective} | {float(share):.0%} |",
        "| the same with the compiled program kept from an earlier process, as the command line keeps it "
        f"| {again[0]:.1f} | {again[1]:.1f} | | |",
        *(
            f"| {way.name}: {way.starts:.0f} s for the starts, {way.draws:.0f} s for the draws "
            f"| | {way.starts + way.draws:.0f} | {way.lowest:.9g} | {way.share:.0%} |"
            for way in ways
        ),
        "",
        f"SciPy was measured on {SCIPY_STARTS} of the 4,500 starts and {SCIPY_DRAWS} of the 4,000 draws and scaled.",
        f"A start is at the optimum when its objective is within {SAME:g} of the lowest, relatively. Like for like:",
        "exact slopes, tolerances of 1e-15 of the objective (L-BFGS-B) and 1e-12 (least_squares, Huber's loss),",
        "draws from the optimum of all runs.",
        "",
        f"A fit from the defaults in a new process: {once[0]:.1f} s ({once[1]:.1f} s of the processor). Warm, with 200",
        f"bootstrap refits: {warm[0]:.2f} s ({warm[1]:.2f}).",
        "",
        f"The whole command `scaling fit chinchilla RUNS.csv`, {len(table)} rows, defaults, programs kept from",
        f"an earlier one: {typed[0][0]:.1f} s by the clock, {typed[0][1]:.2f} s of the processor;",
        f"with `--bootstrap {DRAWS}` {typed[1][0]:.1f} s, {typed[1][1]:.2f} s.",
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
        by_starts = seconds(lambda k=k: fit("chinchilla", table, loss="huber", drop_worst=5, starts=grid[:k]), 1)
        lines.append(f"| {k:,} | {by_rows[1]:.2f} | | {k:,} | {by_starts[1]:.2f} |")
    text = "\n".join(lines) + "\n"
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
