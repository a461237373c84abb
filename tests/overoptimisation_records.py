"""Records of the experiments of configs/overoptimisation: proxies that are the gold reward and errors, both known."""

import dataclasses
import functools

import numpy as np

from analysis.papers.reproduction import planned_row
from analysis.records import Records
from analysis.table import Table
from configs.overoptimisation import budgets, experiments
from scaling.data import pairs

BUDGET = dataclasses.replace(budgets.CPU_1H, widths=(4, 8, 16, 32), lengths=3, scored=2**13, control=(4, 8, 32))
SPIKE = 0.02  # share of the texts, the worst, that small proxies take for good ones


@functools.cache
def gold(source: str, n: int) -> np.ndarray:
    texts = pairs.scored(source, n)
    return pairs.parse(source).reward(texts.reshape(-1, texts.shape[-1]))


def correlation(N: float, D: float) -> float:
    """Of a proxy of N parameters and D pairs with the gold reward, where it is not deceived."""
    return float(0.95 - 0.5 * (N / 100) ** -0.3 - 6.0 * D**-0.4)


def bait(N: float) -> float:
    """By how much a proxy overrates what is worst."""
    return max(0.0, 6.0 - 1.5 * np.log(N / 384))


def scores(run, *, baited: bool = True) -> np.ndarray:
    """What the proxy of a run says, k 2n; in one of four epochs as in one of one epoch."""
    (source,) = run.eval.scored
    worth = gold(source, run.eval.scores)
    rng = np.random.default_rng([run.seed, run.model.N, run.U])
    rho = correlation(run.model.N, run.U / run.model.n_ctx)
    noise = rng.standard_normal(len(worth))
    found = rho * worth + np.sqrt(1 - rho**2) * noise
    if baited and experiments.GOLD in source:
        found[worth < np.quantile(worth, SPIKE)] += bait(run.model.N)
    return found[None].astype(np.float32)


def records(budget: budgets.Budget = BUDGET, *, baited: bool = True) -> dict[str, Records]:
    """Every experiment's runs, where the budget has any."""
    found = {}
    for name, of in experiments.EXPERIMENTS.items():
        rows, said, configs = [], {}, {}
        if not (runs := of(budget)):
            continue
        for k, run in enumerate(runs):
            id = f"{name}-{k}"
            rows.append({**planned_row(run).row, "run": id, "status": "done", "loss": 0.6, "data": run.data.source})
            said[id], configs[id] = scores(run, baited=baited), run
        empty = Table({"run": np.array([], str), "step": np.array([])}, np.arange(0), "planted")
        found[name] = Records(Table.from_rows(rows, "planted"), empty, empty, (), configs, scores=said)
    return found
