"""Records of the experiments of configs/quality with a known law."""

import zlib

import numpy as np

from analysis.laws import Subramanyam
from analysis.papers.quality.evidence import SLIVER
from analysis.papers.reproduction import planned_row
from analysis.records import Records
from analysis.table import Table
from configs.quality import budgets, experiments

LAW = Subramanyam(E=2.0, B=100.0, beta=0.4, gamma=0.3)
ALPHA = 0.2  # of the sizes: their loss on new text is LAW's at their own N
HARM = 0.05  # of the loss at 100 repeats of half of the tokens


def loss(run, seed_noise: float, rng: np.random.Generator) -> float:
    quality = 1.0 - float(run.data.source.split("share=")[1].rstrip(")")) if "corrupt" in run.data.source else 1.0
    found = float(LAW(run.tokens, quality)) * (run.model.N / 24576) ** -ALPHA
    if match := SLIVER.fullmatch(run.data.source):
        share, repeats = float(match[1]), float(match[1]) * run.tokens / float(match[2])
        found *= 1 + HARM * share / 0.5 * np.log1p(repeats) / np.log1p(100)
    return found * float(np.exp(seed_noise * rng.standard_normal()))


def records(budget: str = "cpu-1h", seed_noise: float = 0.003) -> dict[str, Records]:
    """Every experiment's runs."""
    at, found = budgets.named(budget), {}
    for name, of in experiments.EXPERIMENTS.items():
        rows = []
        for run in of(at):
            name_of = f"{run.model.N}-{run.data.source}-{run.tokens}-{run.unique_tokens}-{run.seed}"
            rng = np.random.default_rng(zlib.crc32(name_of.encode()))
            rows.append(
                {
                    **planned_row(run).row,
                    "run": name_of,
                    "status": "done",
                    "loss": loss(run, seed_noise, rng),
                    "epochs": run.tokens / run.U,
                    "data": run.data.source,
                    "onset": 0.1 * run.tokens,
                    "steps": run.steps,
                }
            )
        table = Table.from_rows(rows, "planted")
        empty = Table({"run": np.array([], str), "step": np.array([])}, np.arange(0), "planted")
        found[name] = Records(table, empty, empty, (), {})
    return found
