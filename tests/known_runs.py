"""Tables of runs whose law is known: what a study would have measured if these constants were the truth."""

import itertools
from collections.abc import Iterable

import numpy as np

from analysis.laws import Chinchilla, KaplanND
from analysis.table import Table

SURFACE = Chinchilla(E=1.7, A=12.0, B=100.0, alpha=0.25, beta=0.35)
REPEATED = KaplanND(N_c=3e10, D_c=1e8, alpha_N=0.1, alpha_D=0.2)
SHAPES = ((8, 2), (16, 2), (24, 2), (32, 2), (48, 3), (64, 4))
LENGTHS = (2**17, 2**18, 2**19, 2**20)
RATE = 1e-2


def run(shape: tuple[int, int], tokens: int, loss: float, **changes: object) -> dict:
    """One row, as a study would write it: one epoch, decayed, finished."""
    d, layers = shape
    N = 12 * layers * d * d
    row: dict = {
        "run": "",
        "status": "done",
        "params": N,
        "params_total": N + 600 * d,
        "tokens": tokens,
        "unique_tokens": tokens,
        "batch_tokens": 1024,
        "steps": tokens // 1024,
        "flops": 6 * N * tokens,
        "loss": loss,
        "loss_min": loss,
        "tokens_at_min": tokens,
        "loss_half": 1.1 * loss,
        "bits_per_byte": loss / np.log(2) / 1.75,
        "learning_rate": RATE,
        "schedule": "cosine",
        "warmup": 0.05,
        "optimizer": "adam",
        "seed": 0,
        "d_model": d,
        "n_layer": layers,
        "n_ctx": 64,
        "n_vocab": 512,
        "data": "python",
        "bytes_per_token": 1.75,
        "seconds": tokens / 2e4,
    }
    row |= changes
    row["epochs"] = row["tokens"] / row["unique_tokens"]
    return row


def grid(noise: float = 0.003, seed: int = 0, lengths: Iterable[int] = LENGTHS) -> list[dict]:
    """Runs over all shapes and lengths in one epoch, with Gaussian noise of ln(loss)."""
    rng = np.random.default_rng(seed)
    return [
        run(shape, tokens, float(SURFACE(12 * shape[1] * shape[0] ** 2, tokens)) * np.exp(noise * rng.normal()))
        for shape, tokens in itertools.product(SHAPES, lengths)
    ]


def repeated(noise: float = 0.003, seed: int = 1) -> list[dict]:
    """Runs that repeat few unique tokens until the held-out loss turns."""
    rng = np.random.default_rng(seed)
    rows = []
    for shape, unique in itertools.product(SHAPES[1:], (2**13, 2**14, 2**15)):
        low = float(REPEATED(12 * shape[1] * shape[0] ** 2, unique)) * np.exp(noise * rng.normal())
        rows.append(run(shape, 2**19, 1.03 * low, unique_tokens=unique, loss_min=low, tokens_at_min=2**18))
    return rows


def table(rows: Iterable[dict]) -> Table:
    return Table.from_rows([row | {"run": row["run"] or f"run{i:03d}"} for i, row in enumerate(rows)], "study")


def curves(runs: Table) -> Table:
    """Losses along each run: above the end by what the law says of fewer tokens, and a little more."""
    rows = []
    for i in range(len(runs)):
        N, D, end = (float(runs[name][i]) for name in ("params", "tokens", "loss"))
        for k in range(12, -1, -2):
            tokens = D / 2 ** (k / 2)
            above = float(SURFACE(N, tokens) - SURFACE(N, D)) + 0.1 * (1 - tokens / D)
            rows.append(
                {"run": runs["run"][i], "params": N, "step": tokens // 1024, "tokens": tokens, "flops": 6 * N * tokens,
                 "loss": end + above, "train_loss": end + above}
            )  # fmt: skip
    return Table.from_rows(rows, "study")


def positions(runs: Table) -> Table:
    """Losses by position of each run."""
    return Table.from_rows(
        [
            {"run": runs["run"][i], "params": runs["params"][i], "position": t, "loss": runs["loss"][i] + t**-0.5 - 0.2}
            for i in range(len(runs))
            for t in (1, 2, 4, 8, 16, 32, 64)
        ],
        "study",
    )
