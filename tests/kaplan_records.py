"""Records of the experiments grid, data, batch and steps as a study would give them if Kaplan et al.'s laws were true.

The exponents are the paper's (Tables 2, 3 and 5, one alpha_N for all); the scales are chosen so that models of a
thousand to half a million parameters have losses near 3 and critical batches of a few thousand tokens.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.kaplan_path import KaplanPath
from analysis.laws import KaplanND
from analysis.records import Records
from analysis.reference import value
from analysis.table import Table

Array = NDArray[np.float64]

N_CTX, N_VOCAB = 64, 512
SHAPES = ((8, 2), (12, 2), (16, 2), (24, 2), (32, 2), (48, 3), (64, 3), (96, 4), (104, 4))  # d_model, n_layer
TOKENS = 2**22
LENGTHS = tuple(2**k for k in range(18, 23))  # tokens of the branches of the grid
WARMUP = 2**14  # tokens
AMPLE = 2**28  # unique tokens, so many that the loss of every size has become flat
BATCH = 256  # tokens
NOISE = 0.003  # of ln loss between seeds


@dataclasses.dataclass(frozen=True)
class Truth:
    """The laws that the runs are drawn from. S_c is on the axis of S_min."""

    alpha_N: float = value("alpha_N")
    alpha_D: float = value("table2_alpha_D")
    alpha_S: float = value("alpha_S")
    alpha_B: float = value("alpha_B")
    N_c: float = 1e5 * 3 ** (1 / 0.076)  # a loss of 3 at N = 1e5
    D_c: float = 3e5 * 3 ** (1 / 0.103)  # and at D = 3e5
    S_c: float = 370.0
    B_star: float = 2e3 * 3 ** (1 / 0.21)  # B_crit(3) = 2,000 tokens

    @property
    def path(self) -> KaplanPath:
        return KaplanPath(self.alpha_N, self.N_c, self.alpha_S, self.S_c, self.alpha_B, self.B_star)

    @property
    def joint(self) -> KaplanND:
        return KaplanND(self.N_c, self.D_c, self.alpha_N, self.alpha_D)

    def loss(self, N: float, S: Array, B: float) -> Array:
        """L after S updates of B tokens with ample data: (1.6) with (5.4), by bisection, as B_crit depends on L."""
        path = self.path
        low = np.full_like(S, float(path.converged(N)))
        high = low + (self.S_c * (1 + float(path.B_crit(low[0])) / B) / S) ** self.alpha_S + 1
        for _ in range(80):
            middle = (low + high) / 2
            S_min = S / (1 + path.B_crit(middle) / B)
            above = path.converged(N) + (self.S_c / S_min) ** self.alpha_S > middle
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.minimum((low + high) / 2, math.log(N_VOCAB))


TRUTH = Truth()


@dataclasses.dataclass(frozen=True)
class Trained:
    """One run: its row, and its losses at the evaluations `step`."""

    row: dict[str, Any]
    step: Array
    loss: Array
    train_loss: Array


NEAR = 4096  # tokens: the batch of the experiment steps
DATA = 1024  # of data


def evaluations(steps: int, per_octave: int = 2, octaves: int = 9) -> Array:
    return np.unique(np.round(steps / 2 ** (np.arange(per_octave * octaves + 1) / per_octave)))


def trained(
    shape: tuple[int, int], step: Array, loss: Array, train_loss: Array | None = None, **changes: Any
) -> Trained:
    """A run with these losses at these updates, and every column that a study writes."""
    d, layers = shape
    N = 12 * layers * d * d
    train_loss = loss if train_loss is None else train_loss
    row: dict[str, Any] = {
        "run": "",
        "status": "done",
        "kind": "transformer",
        "reuse": 1,
        "params": N,
        "params_head": N + N_VOCAB * d,
        "params_embed": N + (N_VOCAB + N_CTX) * d,
        "params_total": N + (N_VOCAB + N_CTX) * d + layers * 9 * d + (2 * layers + 1) * 2 * d,
        "batch_tokens": BATCH,
        "learning_rate": 0.01,
        "schedule": "cosine",
        "warmup": 0.01,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "seed": 0,
        "d_model": d,
        "n_layer": layers,
        "n_head": d // 8,
        "d_attn": d,
        "d_ff": 4 * d,
        "n_ctx": N_CTX,
        "n_vocab": N_VOCAB,
        "dropout": 0.0,
        "dtype": "float32",
        "data": "english",
        "tokens_id": "tokens",
        "bytes_per_token": 1.75,
        "loss_floor": math.nan,
        "seconds": 60.0,
    }
    row.update(changes)
    tokens = float(step[-1]) * float(row["batch_tokens"])
    row.setdefault("unique_tokens", tokens)
    lowest = int(np.argmin(loss))
    per_token = {"flops": 6 * N, "flops_attention": 6 * N + 6 * layers * N_CTX * d, "flops_head": 6 * (N + N_VOCAB * d)}
    row |= {
        "tokens": tokens,
        "epochs": tokens / row["unique_tokens"],
        "steps": step[-1],
        **{name: tokens * flops for name, flops in per_token.items()},
        "flops_total": tokens * (per_token["flops_head"] + 12 * layers * N_CTX * d),
        "flops_trained": tokens * 6 * N,
        "loss": loss[-1],
        "loss_min": loss[lowest],
        "tokens_at_min": step[lowest] * row["batch_tokens"],
        "loss_half": float(np.interp(math.log(step[-1] / 2), np.log(step), loss)),
        "loss_initial": math.log(N_VOCAB),
        "bits_per_byte": loss[-1] / math.log(2) / 1.75,
        "train_loss": train_loss[-1],
    }
    return Trained(row, step, loss, train_loss)


def records(runs: Iterable[Trained], name: str = "study") -> Records:
    """The tables of a study with these runs."""
    rows, curves, positions = [], [], []
    for i, run in enumerate(runs):
        row: dict[str, Any] = run.row | {"run": run.row["run"] or f"{name}-{i:03d}"}
        rows.append(row)
        kept = ("run", "status", "params", "n_layer", "steps", "unique_tokens", "batch_tokens", "learning_rate")
        more = {k: row[k] for k in (*kept, "schedule", "warmup", "seed")}
        for step, loss, train_loss in zip(run.step, run.loss, run.train_loss, strict=True):
            tokens = step * row["batch_tokens"]
            so_far = {"step": step, "tokens": tokens, "epochs": tokens / row["unique_tokens"]}
            losses = {"loss": loss, "train_loss": train_loss}
            noise: dict[str, float] = {}
            if row["schedule"] == "constant":  # the experiment batch measures the noise of the gradient
                noise = {"noise_trace": float(TRUTH.path.B_crit(loss)), "grad_square": 1.0}
            curves.append(more | so_far | losses | noise | {"flops": tokens * 6 * row["params"]})
        for t in 2 ** np.arange(7):
            at = {"position": t, "loss": row["loss"] - 0.2 + 1.2 * t**-0.5}
            positions.append({k: row[k] for k in ("run", "status", "params")} | at)
    return Records(Table.from_rows(rows, name), Table.from_rows(curves, name), Table.from_rows(positions, name), ())


def grid(noise: float = NOISE, seed: int = 0, shapes: Sequence[tuple[int, int]] = SHAPES) -> Records:
    """Ample data, one epoch: branches of every length for each size, the corners with two more seeds."""
    rng = np.random.default_rng(seed)
    plans = [*((shape, 0) for shape in shapes), *((shape, s) for shape in (shapes[0], shapes[-1]) for s in (1, 2))]
    runs = []
    for shape, s in plans:
        N, luck = 12 * shape[1] * shape[0] ** 2, np.exp(noise * rng.normal())
        for tokens in LENGTHS:
            step = evaluations(tokens // BATCH)
            loss = TRUTH.loss(N, step, BATCH) * luck
            own = {"schedule": "wsd", "warmup": WARMUP / tokens, "onset": 2.0**13}
            runs.append(trained(shape, step, loss, tokens=tokens, unique_tokens=tokens, seed=s, **own))
    return records(runs, "grid")


def steps(noise: float = NOISE, seed: int = 4, shapes: Sequence[tuple[int, int]] = SHAPES) -> Records:
    """Each size once at a batch near the critical one, constant rate, one epoch."""
    rng = np.random.default_rng(seed)
    runs = []
    for shape in shapes:
        step = evaluations(4 * TOKENS // NEAR, per_octave=4, octaves=5)
        loss = TRUTH.loss(12 * shape[1] * shape[0] ** 2, step, NEAR) * np.exp(noise * rng.normal())
        own = {"schedule": "constant", "onset": 2.0**13}
        runs.append(trained(shape, step, loss, batch_tokens=NEAR, tokens=4 * TOKENS, unique_tokens=AMPLE, **own))
    return records(runs, "steps")


def data(noise: float = NOISE, seed: int = 1, shapes: Sequence[tuple[int, int]] = SHAPES[2::2]) -> Records:
    """Unique tokens from few to ample, with dropout: trunks over 1, 2, 4, ... epochs until the loss has turned."""
    rng = np.random.default_rng(seed)
    runs = []
    for shape, U in itertools.product(shapes, (*(2**14 * 4**k for k in range(4)), AMPLE)):
        N, luck = 12 * shape[1] * shape[0] ** 2, np.exp(noise * rng.normal())
        own: dict[str, Any] = {"unique_tokens": U, "dropout": 0.1, "schedule": "wsd", "batch_tokens": DATA}
        if U == AMPLE:
            step = evaluations(U // DATA, octaves=12)
            runs.append(trained(shape, step, TRUTH.loss(N, step, DATA) * luck, tokens=U, warmup=WARMUP / U, **own))
            continue
        lowest = float(TRUTH.joint(N, U))
        # The first branch that ends where ample data had that loss is the lowest; shorter and longer ones lie above.
        every = evaluations(2**27 // DATA, octaves=13)
        stop = float(np.interp(-lowest, -TRUTH.loss(N, every, DATA), np.log(every)))
        epochs = [2**k for k in range(14) if U * 2**k <= 2**27]
        best = next((e for e in epochs if math.log(e * U / DATA) >= stop), epochs[-1])
        for e in (e for e in epochs if e <= 4 * best):
            tokens = e * U
            step = evaluations(tokens // DATA, octaves=4)
            before, past = np.maximum(TRUTH.loss(N, step, DATA), lowest), np.maximum(np.log(step * DATA / U / best), 0)
            loss = before + 0.1 * lowest * past
            if e == best:
                loss = loss - (loss[-1] - lowest)
            elif e < best:
                loss = np.maximum(loss, (1 + 0.02 * math.log2(best / e)) * lowest)
            train = np.maximum(before - 0.1 * lowest * past, 0.05)
            runs.append(trained(shape, step, loss * luck, train, tokens=tokens, warmup=2**12 / tokens, **own))
    return records(runs, "data")


def batch(
    noise: float = NOISE,
    seed: int = 2,
    shapes: Sequence[tuple[int, int]] = (SHAPES[3], SHAPES[6]),
    law: Callable[[float, Array, float], Array] = TRUTH.loss,
    warmup: float = 0.01,
) -> Records:
    """Two sizes at batches from far below to far above the critical one, constant rates of which one is the best.

    Args:
        law: the loss of N parameters after S updates of B tokens.
        warmup: share of the updates.
    """
    rng = np.random.default_rng(seed)
    runs = []
    for shape, sequences, worse in itertools.product(shapes, (1, 4, 16, 64, 256), (1.0, 1.03)):
        B, N = sequences * N_CTX, 12 * shape[1] * shape[0] ** 2
        step = evaluations(max(2**12, 2**21 // B), octaves=10)
        loss = np.minimum(worse * law(N, step, B) * np.exp(noise * rng.normal()), math.log(N_VOCAB))
        rate = 0.01 * worse
        runs.append(trained(shape, step, loss, batch_tokens=B, schedule="constant", learning_rate=rate, warmup=warmup))
    return records(runs, "batch")


@functools.cache
def experiments(noise: float = NOISE) -> dict[str, Records]:
    """The experiments: the same tables at every call, so that their fits are made once."""
    return {"grid": grid(noise), "data": data(noise), "batch": batch(noise), "steps": steps(noise)}
