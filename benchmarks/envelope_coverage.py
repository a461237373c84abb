"""How often the interval of approach 1 holds the true exponent, on learning curves whose law is known.

    python benchmarks/envelope_coverage.py [TABLES]

Curves of Hoffmann's law with the constants that they print, N from 1e6 to 1e9, 30 losses each between 2 and 200 tokens
per parameter; the noise between runs moves each curve as a whole, as a seed does.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np

from analysis.envelope import envelope
from analysis.laws import Chinchilla
from analysis.table import Table

TRUE = Chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28)
NOISE = 0.003


def curves(sizes: int, seeds: int, noise: float, rng: np.random.Generator) -> Table:
    """Learning curves of so many sizes and seeds."""
    N = np.repeat(np.geomspace(1e6, 1e9, sizes), seeds)[:, None]
    D = np.geomspace(2, 200, 30) * N
    loss = TRUE(N, D) * np.exp(noise * rng.standard_normal(N.shape))
    run, seed = np.arange(len(N))[:, None], np.tile(np.arange(seeds), sizes)[:, None]
    columns = {
        "run": run.astype(str),
        "params": N,
        "flops": 6 * N * D,
        "loss": loss,
        "seed": seed,
        "schedule": "constant",
    }
    return Table.from_columns({name: np.broadcast_to(column, D.shape).ravel() for name, column in columns.items()})


def main(tables: int) -> None:
    a = TRUE.beta / (TRUE.alpha + TRUE.beta)
    print(f"{tables} tables a line, {NOISE:.1%} noise between runs, truth {a:.4f}")
    print("| sizes x seeds | sigma | a without noise | interval holds the truth | width / 4 | scatter | no interval |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for sizes, seeds in ((6, 1), (10, 1), (8, 3), (16, 2)):
        rng = np.random.default_rng(0)
        given = NOISE if seeds == 1 else None
        held, widths, found = [], [], []
        for _ in range(tables):
            one = envelope(curves(sizes, seeds, NOISE, rng), sigma=given)
            found.append(one.a)
            low, high = one.a_interval
            if np.isfinite(high - low):
                held.append(low < a < high)
                widths.append(high - low)
        quiet = envelope(curves(sizes, seeds, 0.0, rng), draws=0).a
        print(
            f"| {sizes} x {seeds} | {'given' if given else 'read off'} | {quiet:.4f} | {np.mean(held):.3f} | "
            f"{np.median(widths) / 4:.4f} | {np.std(found):.4f} | {tables - len(held)} |",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
