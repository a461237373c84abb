"""Records of the experiments of configs/emergence whose digits are right independently, by shares that are known."""

import numpy as np

from analysis.papers.reproduction import planned_row
from analysis.records import Records
from analysis.table import Table
from configs.emergence import budgets, experiments
from scaling.data import tasks


def shares(run, digits: int) -> np.ndarray:
    """Of right digits, from chance to nearly all with size: the last digits later than the first."""
    grown = np.log10(run.model.N * run.tokens / 1e9) - np.linspace(0, 1.5, digits) + 0.1 * (run.seed % 3)
    return 0.1 + 0.89 / (1 + np.exp(-3 * grown))


def records(budget: str = "cpu-1h") -> dict[str, Records]:
    """Every experiment's runs."""
    at, found = budgets.named(budget), {}
    for name, of in experiments.EXPERIMENTS.items():
        rows, answers, wrong = [], [], {}
        for k, run in enumerate(of(at)):
            id, task = f"{name}-{k}", run.eval.tasks[0]
            rng = np.random.default_rng(k)
            p = shares(run, tasks.parse(task).answer)
            right = rng.random((run.eval.answers, len(p))) < p
            wrong[id] = (~right).sum(1).astype(np.int8)[None]
            loss = -np.log(p)
            for step in run.eval_steps:
                answers += [
                    {"run": id, "status": "done", "params": run.model.N, "seed": run.seed, "task": task, "step": step,
                     "steps": run.steps, "tokens": step * run.batch_tokens, "loss": loss.mean(), "token": a + 1,
                     "answer_loss": loss[a], "right": right[:, a].mean(), "brier": 1 - p[a],
                     "exact": right[:, : a + 1].all(1).mean()}
                    for a in range(len(p))
                ]  # fmt: skip
            rows.append(
                {**planned_row(run).row, "run": id, "status": "done", "loss": loss.mean(), "data": run.data.source}
            )
        empty = Table({"run": np.array([], str), "step": np.array([])}, np.arange(0), "planted")
        found[name] = Records(
            Table.from_rows(rows, "planted"), empty, empty, (), {}, Table.from_rows(answers, "planted"), wrong
        )
    return found
