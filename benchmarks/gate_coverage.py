"""How often the interval of a gate's speed-up holds the true one, and how often a change passes.

    python -m benchmarks.gate_coverage [PAIRS]

Pairs of ladders of 8 runs each over three decades of compute, L = E + 2.2 (g C / 1e17) ^ -0.15 with 0.3 % noise of
ln(loss); the candidate's g is the speed-up at every budget. Told at the largest compute that both reach, about 1e20,
and at 1e21.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np

from analysis.fit.floor import Floor
from analysis.gate import Rule, gate
from analysis.table import Table

NOISE, RUNS, FLOOR = 0.003, 8, 1.6


def ladder(speed_up: float, floor: float, rng: np.random.Generator) -> Table:
    C = np.geomspace(1e17, 1e20, RUNS)
    loss = floor + 2.2 * (C * speed_up / 1e17) ** -0.15
    return Table.from_columns({"flops": C, "loss": loss * np.exp(NOISE * rng.standard_normal(RUNS))})


def main(pairs: int) -> None:
    print(f"{pairs} pairs a line, {RUNS} runs a ladder, {NOISE:.1%} noise; rule: at least 1")
    print(f"{'fitted':<22}{'floor':>6}{'true':>6}{'FLOP':>7}{'covered':>9}{'passed':>8}{'bias':>8}{'half width':>12}")
    cases = (
        ("floor pinned, right", "henighan-c", FLOOR, FLOOR),
        ("floor pinned, 0.1 low", "henighan-c", FLOOR - 0.1, FLOOR),
        ("floor free", "henighan-c", None, FLOOR),
        ("straight line", "kaplan-c", None, FLOOR),
        ("straight line", "kaplan-c", None, 0.0),
    )
    for name, law, pinned, floor in cases:
        for speed_up in (1.0, 1.1):
            rng, rows = np.random.default_rng(0), {"1e20": [], "1e21": []}
            for _ in range(pairs):
                ladders = ladder(1.0, floor, rng), ladder(speed_up, floor, rng)
                told = gate(*ladders, Rule(1.0, 1e21), floor=None if pinned is None else Floor(pinned), law=law)
                for found, one in zip(rows.values(), told.speed_ups[-2:], strict=True):
                    value, low, high = one.flops
                    half = np.log(high / value) if np.isfinite(high) else np.nan
                    found.append((low <= speed_up <= high, low >= 1, np.log(value / speed_up), half))
            for at, found in rows.items():
                covered, passed = np.mean([row[:2] for row in found], axis=0)
                bias, half = np.expm1(np.nanmedian([row[2:] for row in found], axis=0))
                print(
                    f"{name:<22}{floor:>6g}{speed_up:>6}{at:>7}{covered:>9.3f}{passed:>8.2f}{bias:>+8.1%}{half:>12.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
