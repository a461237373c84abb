"""How often comparing two ladders finds a gain that is there, and how well its interval covers.

    python benchmarks/compare_power.py [DRAWS]

Two grids of 36 runs from a Chinchilla law with Gaussian noise of ln(loss); ladder B needs less compute by a known
factor. "equal": both from 1e7 to 1e9 parameters; "unequal": B goes on to 1e10 parameters and ten times the tokens.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np

from analysis.compare import compare
from analysis.laws import Chinchilla
from analysis.table import Table

TRUE = Chinchilla(E=1.817, A=477.8, B=2143.0, alpha=0.3473, beta=0.3672)


def ladder(gain: float, noise: float, decades: float, rng: np.random.Generator) -> Table:
    """A recipe that needs 1 / gain of the compute at every loss: N and D each count for sqrt(gain) as much."""
    N, D = (
        x.ravel()
        for x in np.meshgrid(np.geomspace(1e7, 10 ** (7 + decades), 6), np.geomspace(3e8, 3 * 10 ** (8 + decades), 6))
    )
    loss = TRUE(N * np.sqrt(gain), D * np.sqrt(gain)) * np.exp(noise * rng.standard_normal(36))
    return Table.from_columns({"params": N, "tokens": D, "loss": loss})


def main(draws: int) -> None:
    print(f"{draws} pairs each; at the lowest loss that both reach")
    print(f"{'law':<12}{'extents':<9}{'noise':>7}{'gain':>6}{'covered':>9}{'found':>7}{'bias':>8}{'half width':>12}")
    for law in (None, "kaplan-c"):
        for extents, decades in (("equal", 2.0), ("unequal", 3.0)):
            for noise, gain in ((0.003, 1.0), (0.003, 1.1), (0.01, 1.3)):
                rng = np.random.default_rng(0)
                rows = []
                for _ in range(draws):
                    last = compare(ladder(1.0, noise, 2.0, rng), ladder(gain, noise, decades, rng), law=law).last
                    if last:
                        rows.append(
                            (
                                last.low <= gain <= last.high,
                                last.low > 1,
                                np.log(last.value / gain),
                                np.log(last.high / last.value),
                            )
                        )
                covered, found, bias, half = np.mean(rows, axis=0)
                bias, half = np.expm1([bias, half])
                name = law or "default"
                print(
                    f"{name:<12}{extents:<9}{noise:>7.1%}{gain:>6}{covered:>9.3f}{found:>7.2f}{bias:>+8.1%}{half:>12.1%}",
                    flush=True,
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
