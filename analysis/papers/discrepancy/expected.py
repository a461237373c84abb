"""What the planned runs may be expected to show: losses drawn from a known law, and read as ours are.

The law is L(N + f V d, D) with equal exponents, so that the true exponent of the best size is a half where the counted
parameters are those that the loss depends on. Its scales are those of first profiles at this size on English; no figure
of the page depends on them.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis import digits
from analysis.counting import Family, progress
from analysis.laws import Chinchilla
from analysis.papers.claim import UNDECIDED, Claim
from analysis.papers.discrepancy.evidence import STEPS, Discrepancy
from analysis.papers.evidence import Experiments
from analysis.papers.paper import Planned
from analysis.records import Records
from analysis.table import Table

NOISE = 0.003  # of ln loss between seeds, the same along a run
BYTES = 2.9  # per token of English at a vocabulary of 2048; half a byte less at each halving: 1.9 at 512
PER_PARAM = 39 * BYTES  # bytes of text at the best size: N = 3.6e5 with the head on 1.4e7 tokens
WORTHS = (0.25, 0.5, 1.0)  # of a parameter of the head: between Porian et al.'s runs and Pearce and Song's assumption
ONSET = (
    300.0,
    2.4e6,
)  # tokens at the full rate over the vocabulary, and what small models add, as 1 / N: docs/discrepancy.md

LAW = Chinchilla(E=0.86, A=26.0, B=26.0 * PER_PARAM**0.35, alpha=0.35, beta=0.35)


@dataclasses.dataclass(frozen=True)
class Truth:
    """The law that losses are drawn from.

    Attributes:
        worth: f.
        law: nats per byte, of N + f V d and of the bytes of text seen at the full rate.
    """

    worth: float = 0.5
    law: Chinchilla = LAW

    def loss(self, row: Mapping[str, Any], tokens: ArrayLike) -> NDArray[np.float64]:
        """Nats per token, of a planned run after so many tokens."""
        N = row["params"] + self.worth * row["n_vocab"] * row["d_model"]
        return self.in_tokens(row["n_vocab"])(N, progress(tokens, row["warmup"] * row["tokens"]))

    def in_tokens(self, n_vocab: float) -> Chinchilla:
        """The law in nats per token, of N + f V d and of tokens at the full rate, at a vocabulary."""
        size, law = bytes_per_token(n_vocab), self.law
        return Chinchilla(size * law.E, size * law.A, size * law.B * size**-law.beta, law.alpha, law.beta)

    def onset(self, row: Mapping[str, Any]) -> float:
        """Tokens at which a planned run has had as many at the full rate as a model of its size needs."""
        warmup = row["warmup"] * row["tokens"]
        needed = row["n_vocab"] * (ONSET[0] + ONSET[1] / row["params"])
        return needed + warmup / 2 if needed > warmup / 2 else math.sqrt(2 * warmup * needed)


def bytes_per_token(n_vocab: float) -> float:
    """Of English, by the vocabulary."""
    return BYTES + 0.5 * math.log2(n_vocab / 2048)


def family(runs: Table) -> Family:
    """Of the models of a table, which share vocabulary and depth."""
    return Family.of_depth(float(runs["n_vocab"][0]), float(runs["n_layer"][0]))


def drawn(
    planned: Mapping[str, Sequence[Planned]], truth: Truth, *, noise: float = NOISE, seed: int = 0
) -> Experiments:
    """The records that planned runs would leave if the losses were those of the law.

    Args:
        noise: standard deviation of ln loss between the seeds of two arms; a size's runs in an arm share it.
    """
    rng = np.random.default_rng(seed)
    return {name: _records(name, runs, truth, noise, rng) for name, runs in planned.items()}


def _records(name: str, runs: Sequence[Planned], truth: Truth, noise: float, rng: np.random.Generator) -> Records:
    moved = {N: noise * rng.normal() for N in sorted({run.row["params"] for run in runs})}
    rows, curves = [], []
    for i, run in enumerate(runs):
        row, tokens = dict(run.row), run.step * run.row["batch_tokens"]
        loss = truth.loss(row, tokens) * math.exp(moved[row["params"]])
        onset = truth.onset(row)
        row |= {
            "run": f"{name}-{i}",
            "status": "done",
            "params_head": row["params"] + row["n_vocab"] * row["d_model"],
            "d_attn": row["d_model"],
            "flops": 6 * row["params"] * row["tokens"],
            "loss": loss[-1],
            "bytes_per_token": bytes_per_token(row["n_vocab"]),
            "onset": onset if onset < row["tokens"] else math.nan,
        }
        rows.append(row)
        of_run = {key: row[key] for key in ("run", "status", "params", "schedule", "learning_rate", "seed")}
        curves += [of_run | {"step": s, "tokens": D, "loss": L} for s, D, L in zip(run.step, tokens, loss, strict=True)]
    source = f"planned runs of {name}"
    none = Table({"run": np.array([], str)}, np.arange(0), source)
    return Records(Table.from_rows(rows, source), Table.from_rows(curves, source), none, ())


def expected(planned: Mapping[str, Sequence[Planned]], figures: Sequence[str] = ()) -> list[str]:
    """What each step may be expected to be, and how well it would be known, a sentence each."""
    truths = [Discrepancy(drawn(planned, Truth(worth))) for worth in WORTHS]
    steps = [step for step in STEPS if {step.before.arm, step.after.arm} <= set(planned)]
    return [f"{step.told}: {_said([evidence.step(step) for evidence in truths])}" for step in steps]


def _said(found: Sequence[Claim]) -> str:
    known = [claim for claim in found if claim.ours is not None]
    if len(known) < len(found):
        return f"{UNDECIDED}: {next(claim.why for claim in found if claim.ours is None)}"
    values = ", ".join(f"{claim.ours:+.3f}" for claim in known)
    half = max(claim.half for claim in known)
    return digits.minus(f"{values} for f = {', '.join(f'{worth:g}' for worth in WORTHS)}, each ±{half:.2g}")
