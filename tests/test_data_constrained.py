"""Repeated data from our own runs: a known law comes back, and the public runs give what is known of them."""

import functools
import math

import chinchilla_records
import numpy as np
import pytest

from analysis import reference
from analysis.laws import Chinchilla, Law, Lovelace, Muennighoff
from analysis.load import load
from analysis.papers.claim import Verdict
from analysis.papers.data_constrained import repeats, rivals
from analysis.papers.data_constrained.evidence import DataConstrained
from analysis.papers.data_constrained.paper import PAPER
from analysis.records import Records
from analysis.table import Table
from configs.data_constrained import budgets, experiments
from configs.kaplan import budgets as kaplan_budgets
from configs.kaplan import data as kaplan_data

BASE = Chinchilla(E=1.7, A=12.0, B=100.0, alpha=0.25, beta=0.35)
PENALTY = Lovelace(1.7, 12.0, 100.0, 0.25, 0.35, P=0.02, delta=0.7, kappa=0.6)
EFFECTIVE = Muennighoff(1.7, 12.0, 100.0, 0.25, 0.35, R_D=12.0, R_N=4.0)
CUT = {0.0: 1.0, 0.1: 0.6, 1.0: 0.18}  # of the penalty, by weight decay
NOISE = 0.002  # of ln loss


@functools.cache
def records(law: Law, seed: int = 0) -> dict[str, Records]:
    """The runs of an hour's budget as a study would give them if a law were the truth, in N with the embedding."""
    rng, found, budget = np.random.default_rng(seed), {}, budgets.named("cpu-1h")
    for name, runs in experiments.EXPERIMENTS.items():
        rows = []
        for i, config in enumerate(runs(budget)):
            row = chinchilla_records.columns(config, f"{name}-{i:03d}")
            decay = config.optim.weight_decay
            held = law
            if isinstance(law, Lovelace):
                held = Lovelace(**{**vars(law), "P": law.P * CUT[decay]})
            loss = float(held(row["params_head"], row["tokens"], row["unique_tokens"])) * math.exp(NOISE * rng.normal())
            rows.append(row | {"dropout": config.model.dropout, "weight_decay": decay, "loss": loss})
        none = Table.from_rows(rows[:1], "known law").chosen(np.zeros(1, bool))
        found[name] = Records(Table.from_rows(rows, "known law"), none, none, ())
    return found


def evidence(law: Law) -> DataConstrained:
    made = DataConstrained(records(law))
    made.drawn = made.rivals.drawn(40)
    return made
