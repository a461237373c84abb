"""What interval each main exponent may expect from planned runs: losses drawn from known laws, and fitted as ours are.

The laws are the paper's (Tables 2, 3 and 5) with its exponents. Their scales are those of models of a thousand to a
million parameters on English at a vocabulary of 512: a loss of 3 at the largest planned size, what little data cost at
N = 25,000, and critical batches of some thousand tokens near a loss of 4, as trial runs had them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis import digits
from analysis.kaplan_path import KaplanPath
from analysis.laws import KaplanND
from analysis.papers.claim import UNDECIDED, Claim
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.paper import Planned
from analysis.records import Records
from analysis.reference import value
from analysis.table import Table

Array = NDArray[np.float64]

NOISE = 0.003  # of ln loss between seeds: 0.3 to 0.9 % in results/
DRAWS = 3
LEAST_LOSS = 3.0  # nats per token, of the largest planned size on ample data
EXCESS = (24_576, 2**18, 0.04)  # N, unique tokens, and what so few of them cost: trial runs on English
CRITICAL = (4.0, 6e3)  # a loss, and B_crit there in tokens: the gradient noise of the same trials
S_C = 30.0  # updates, on the axis of S_min: N = 6,144 was 0.24 nats above its end after 73 of them
MISTUNED = 0.01  # of the loss, at twice or half the best rate
TURNS = 0.8  # of ln S past where the loss stops falling: it rises from there on


@dataclasses.dataclass(frozen=True)
class Truth:
    """The laws that losses are drawn from."""

    joint: KaplanND
    path: KaplanPath

    @classmethod
    def of(cls, largest: float) -> "Truth":
        """With a loss of LEAST_LOSS at N = `largest`, and the anchors above."""
        alpha_N, alpha_D, alpha_B = value("table2_alpha_N"), value("table2_alpha_D"), value("alpha_B")
        N_c = largest * LEAST_LOSS ** (1 / alpha_N)
        N, U, excess = EXCESS
        D_c = ((1 + excess) ** (1 / alpha_D) - 1) * U * (N_c / N) ** (alpha_N / alpha_D)
        loss, B = CRITICAL
        path = KaplanPath(alpha_N, N_c, value("table3_alpha_S"), S_C, alpha_B, B * loss ** (1 / alpha_B))
        return cls(KaplanND(N_c, D_c, alpha_N, alpha_D), path)

    def ample(self, N: float, S: Array, B: float) -> Array:
        """L after S updates of B tokens with ample data: (1.6) and (5.4), by bisection, as B_crit depends on L."""
        path = self.path
        low = np.full(len(S), float(path.converged(N)))
        high = low + (path.S_c * (1 + path.B_crit(low) / B) / S) ** path.alpha_S + 1
        for _ in range(50):
            middle = (low + high) / 2
            S_min = S / (1 + path.B_crit(middle) / B)
            above = path.converged(N) + (path.S_c / S_min) ** path.alpha_S > middle
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return (low + high) / 2

    def losses(self, run: Planned) -> tuple[Array, Array]:
        """Held-out and training losses of a run: where its data limit it, it stops falling there and turns up later."""
        N, U = float(run.row["params"]), float(run.row["unique_tokens"])
        free = self.ample(N, run.step, float(run.row["batch_tokens"]))
        lowest = float(self.joint(N, U))
        if U >= run.row["tokens"] or free[-1] > lowest:
            return free, free
        past = np.maximum(np.log(run.step) - np.interp(-lowest, -free, np.log(run.step)), 0)
        return np.maximum(free, lowest) + 0.3 * lowest * np.maximum(past - TURNS, 0), free - 0.1 * lowest * past


class Expected(NamedTuple):
    """What an exponent may expect.

    Attributes:
        half: half-width of its interval, the median of the draws; None where they do not decide it.
        note: why they do not.
    """

    figure: str
    constant: str
    truth: float
    half: float | None
    note: str

    def __str__(self) -> str:
        if self.half is None:
            return f"{self.figure}: {UNDECIDED} {self.constant}: {self.note}"
        return f"{self.figure}: {self.constant} {digits.plain(self.truth)} would get ±{self.half:.1g} at best"


# Of which figures, what is fitted there, the claim, the experiments it needs.
MAIN: tuple[tuple[tuple[str, ...], str, str, tuple[str, ...]], ...] = (
    (("fig1", "fig23", "table5"), "Figure 1 (N)", "alpha_N", ("grid",)),
    (("fig1", "table5"), "Figure 1 (D)", "alpha_D", ("data",)),
    (("fig4", "fig9", "table2"), "Figure 4 left", "joint_alpha_N", ("data",)),
    (("fig4", "fig9", "table2"), "Figure 4 left", "joint_alpha_D", ("data",)),
    (("fig4", "fig11", "table3"), "Figure 4 right", "alpha_S", ("steps", "batch")),
    (("fig10", "fig18", "table5"), "Figure 10", "alpha_B", ("batch",)),
    (("fig1", "fig13", "table5"), "Figures 1 (C_min), 13", "alpha_C_min", ("grid", "batch")),
    (("fig14", "fig3", "table6"), "Figure 14", "N_opt", ("grid", "batch")),
)


def expected(
    planned: Mapping[str, Sequence[Planned]], figures: Sequence[str] = (), *, draws: int = DRAWS, noise: float = NOISE
) -> tuple[Expected, ...]:
    """The intervals that planned runs may expect.

    Args:
        planned: runs by experiment.
        figures: only of these; of all where there are none.
        draws: of the noise; each takes about a second.
        noise: standard deviation of ln loss between runs.
    """
    wanted = [
        (name, claim)
        for shown, name, claim, needs in MAIN
        if (not figures or set(shown) & set(figures)) and all(planned.get(one) for one in needs)
    ]
    # Models without layers, of which Figure 6 shows some, are in no law.
    needed = {
        name: [run for run in planned[name] if run.row["params"] > 0]
        for name in ("grid", "data", "batch", "steps")
        if planned.get(name)
    }
    if not wanted:
        return ()
    truth = Truth.of(max(float(run.row["params"]) for runs in needed.values() for run in runs))
    exact = {name: [(run, *truth.losses(run)) for run in runs] for name, runs in needed.items()}
    found: dict[str, list[Claim]] = {claim: [] for _, claim in wanted}
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        evidence = Kaplan({name: _drawn(name, runs, noise, rng) for name, runs in exact.items()})
        for claim, drawn in found.items():
            drawn.append(getattr(evidence, claim))
    return tuple(_summary(name, found[claim]) for name, claim in wanted)


def _summary(figure: str, found: Sequence[Claim]) -> Expected:
    halves = [claim.half for claim in found if claim.decided]
    name, paper = found[0].name, found[0].paper or math.nan
    if 2 * len(halves) <= len(found):
        return Expected(figure, name, paper, None, next(claim.remark for claim in found if not claim.decided))
    return Expected(figure, name, paper, float(np.median(halves)), "")


def _drawn(name: str, runs: Sequence[tuple[Planned, Array, Array]], noise: float, rng: np.random.Generator) -> Records:
    """The records that these runs would leave if their losses were those of the laws, with noise."""
    best: dict[tuple[Any, ...], list[float]] = {}
    for run, _, _ in runs:
        best.setdefault(_but_rate(run), []).append(math.log(run.row["learning_rate"]))
    rows, curves = [], []
    for i, (run, held_out, training) in enumerate(runs):
        off = (math.log(run.row["learning_rate"]) - float(np.mean(best[_but_rate(run)]))) / math.log(2)
        factor = math.exp(noise * rng.normal()) * (1 + MISTUNED * off**2)
        loss, row, step = held_out * factor, dict(run.row), run.step
        N, B, U = float(row["params"]), float(row["batch_tokens"]), float(row["unique_tokens"])
        lowest = int(np.argmin(loss))
        row |= {
            "run": f"{name}-{i}",
            "status": "done",
            "steps": step[-1],
            "epochs": row["tokens"] / U,
            "flops": 6 * N * row["tokens"],
            "loss": loss[-1],
            "loss_min": loss[lowest],
            "tokens_at_min": step[lowest] * B,
            "loss_half": float(np.interp(math.log(step[-1] / 2), np.log(step), loss)),
            "train_loss": training[-1] * factor,
        }
        rows.append(row)
        own = ("run", "status", "params", "n_layer", "steps", "unique_tokens", "batch_tokens", "learning_rate")
        curves.append(
            {name: np.full(len(step), row[name]) for name in (*own, "schedule", "warmup", "seed")}
            | {"step": step, "tokens": step * B, "epochs": step * B / U, "flops": 6 * N * step * B}
            | {"loss": loss, "train_loss": training * factor}
        )
    together = {key: np.concatenate([curve[key] for curve in curves]) for key in curves[0]}
    source = f"planned runs of {name}"
    positions = Table.from_columns({"run": ["none"], "params": [1e3], "position": [1], "loss": [1.0]}, source)
    return Records(Table.from_rows(rows, source), Table.from_columns(together, source), positions, ())


def _but_rate(run: Planned) -> tuple[Any, ...]:
    return tuple(run.row[name] for name in ("params", "n_layer", "batch_tokens", "unique_tokens", "tokens"))
