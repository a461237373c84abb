"""Records of the experiments of schedules as a study would give them if a law of whole curves were the truth."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from chinchilla_records import along, columns
from numpy.typing import ArrayLike

from analysis.laws.schedules import Schedules, Tissue, of_schedules
from analysis.papers.schedules import unseen
from analysis.records import Records
from analysis.table import Table
from configs.schedules import budgets, experiments
from scaling import schedules
from scaling.config import RunConfig

TRUTH = of_schedules(Tissue, Schedules.of([[1.0]]))(L_0=2.9, A=1.6, alpha=0.5, C=0.15, tau=80.0)
FLOOR = 2.0  # nats per token, of the curves that collapse
SEED, RUN = 0.003, 0.0003  # of ln loss: what a seed does to all runs alike, and what is each one's own


@functools.cache
def experiment(name: str, budget: str = "cpu-1h", law: Any = TRUTH, run: float = RUN) -> Records:
    """The finished runs of one experiment; those of `collapse` lie on one curve above FLOOR."""
    rng = np.random.default_rng(sum(map(ord, name)))
    luck = {seed: np.exp(SEED * np.random.default_rng(seed).normal()) for seed in range(9)}
    rows, curves, configs = [], [], {}
    for i, config in enumerate(experiments.EXPERIMENTS[name](budgets.named(budget))):
        row = columns(config, f"{name}-{i:03d}") | {"cooldown": config.optim.decay}
        step = np.array([s for s in config.eval_steps if s], float)
        loss = scaled(row["flops_head"], step / config.steps) if name == "collapse" else under(config, step, law)
        loss *= luck[config.seed] * np.exp(run * rng.normal())
        rows.append(row | {"loss": float(loss[-1])})
        curves += [along(row, int(t), float(L)) for t, L in zip(step, loss, strict=True)]
        configs[row["run"]] = config
    return _records(rows, curves, configs)


def under(config: RunConfig, step: ArrayLike, law: Any = TRUTH) -> np.ndarray:
    """The losses of a run's schedule by the law."""
    return unseen.losses(law, rates(config), step)


def rates(config: RunConfig) -> np.ndarray:
    """Of every update of a run."""
    shape = schedules.shape(config.optim.schedule, config.steps, config.warmup_steps, config.falling_steps)
    return config.optim.learning_rate * shape


def scaled(flops: float, share: np.ndarray) -> np.ndarray:
    """Losses after a share of a run of so much compute."""
    return FLOOR + 1.4 * (flops / 1e11) ** -0.15 * (0.4 + 0.6 * share**-0.4)


def _records(rows: list[dict], curves: list[dict], configs: Mapping[str, RunConfig]) -> Records:
    runs, along_ = (Table.from_rows(each, "known law") for each in (rows, curves))
    positions = [{"run": row["run"], "params": row["params"], "position": 1, "loss": row["loss"]} for row in rows]
    return Records(runs, along_, Table.from_rows(positions, "known law"), (), configs)
