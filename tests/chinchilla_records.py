"""Records of the main grid as a study would give them if a Chinchilla law were the truth, in N with the embedding.

The runs are those of configs/grid.py; the law has its best sizes in the middle of the grid (a = 0.58, 50 tokens per
parameter near 1e12 FLOP).
"""

import functools
import math

import numpy as np

from analysis.laws import Chinchilla
from analysis.records import Records
from analysis.table import Table
from configs import grid
from configs.chinchilla import budgets, experiments
from scaling import counts
from scaling.config import RunConfig

LAW = Chinchilla(E=1.7, A=12.0, B=100.0, alpha=0.25, beta=0.35)
TRUNK, RUN = 0.003, 0.001  # of ln loss: what the branches of a trunk share, and what is each one's own
WARM = 1.05  # times the loss: at the constant rate, before a cooldown
ONSET = 2**18  # tokens, of models of ONSET_N parameters outside the embedding; ~ N^-1/2
ONSET_N = 3e3
CYCLE = 0.01  # of the loss for each doubling of a cosine beyond the run


@functools.cache
def main_grid(budget: str = "cpu-1h", trunk: float = TRUNK, run: float = RUN, seed: int = 0) -> Records:
    """The runs of a budget's grid. Below the onset a run reports none."""
    rng = np.random.default_rng(seed)
    luck: dict[tuple[int, int], float] = {}
    rows, curves = [], []
    for i, config in enumerate(grid.runs(grid.named(budget), "python")):
        shared = luck.setdefault((config.model.N, config.seed), math.exp(trunk * rng.normal()))
        row = columns(config, f"grid-{i:03d}")
        loss = float(LAW(row["params_head"], row["tokens"])) * shared * math.exp(run * rng.normal())
        rows.append(row | {"loss": loss})
        for step in (s for s in config.eval_steps if s):
            D = step * config.batch_tokens
            cooled = 1.0 if step == config.steps else WARM
            curves.append(along(row, step, float(LAW(row["params_head"], D)) * shared * cooled))
    return _records(rows, curves)


def cycles(budget: str = "cpu-1h", noise: float = 0.001) -> Records:
    """Cosines longer than the run, each doubling of which costs CYCLE; the rule's rate is the best of those tried."""
    rng = np.random.default_rng(1)
    at = budgets.named(budget)
    D = at.cycle.tokens
    runs = experiments.cycles(at)
    rule = float(np.median([config.optim.learning_rate for config in runs]))
    rows, curves = [], []
    for i, config in enumerate(runs):
        row = columns(config, f"cycle-{i:03d}")
        off = math.log2(config.optim.learning_rate / rule)
        cost = math.exp(noise * rng.normal()) * (1 + CYCLE * math.log2(config.tokens / D) + 0.02 * off**2)
        rows.append(row | {"loss": float(LAW(row["params_head"], row["tokens"])) * cost})
        for step in (s for s in config.eval_steps if s):
            curves.append(along(row, step, float(LAW(row["params_head"], step * config.batch_tokens)) * cost))
    return _records(rows, curves)


def columns(config: RunConfig, name: str) -> dict:
    """The columns of a run that its config tells, and its onset."""
    model = config.model
    onset = ONSET * (model.N / ONSET_N) ** -0.5
    return {
        "run": name,
        "status": "done",
        **counts.params(model),
        "tokens": config.tokens,
        "unique_tokens": config.U,
        "epochs": config.tokens / config.U,
        "batch_tokens": config.batch_tokens,
        "steps": config.steps,
        **{key: config.tokens * flops for key, flops in counts.flops_per_token(model).items()},
        "onset": onset if onset <= config.tokens else math.nan,
        "learning_rate": config.optim.learning_rate,
        "schedule": config.optim.schedule,
        "warmup": config.warmup_steps / config.steps,
        "seed": config.seed,
        **{
            key: getattr(model, key)
            for key in ("kind", "reuse", "d_model", "n_layer", "n_head", "d_attn", "d_ff", "n_ctx")
        },
        "n_vocab": model.n_vocab,
        "data": "python",
        "seconds": 60.0,
    }


def along(row: dict, step: int, loss: float) -> dict:
    """A row of a learning curve."""
    D = step * row["batch_tokens"]
    kept = ("run", "status", "params", "kind", "n_layer", "steps", "unique_tokens", "batch_tokens", "learning_rate")
    so_far = {"step": step, "tokens": D, "epochs": D / row["unique_tokens"], "flops": 6 * row["params"] * D}
    return {key: row[key] for key in (*kept, "schedule", "warmup", "seed")} | so_far | {"loss": loss}


def _records(rows: list[dict], curves: list[dict]) -> Records:
    positions = [{"run": row["run"], "params": row["params"], "position": 1, "loss": row["loss"]} for row in rows]
    runs, along_, by_position = (Table.from_rows(each, "known law") for each in (rows, curves, positions))
    return Records(runs, along_, by_position, ())
