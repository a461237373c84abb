"""Every figure by its name: whatever is missing, it ends in a sentence."""

import dataclasses

import kaplan_ablation_records as known
import kaplan_records
import numpy as np
import pytest

from analysis.papers.evidence import Experiments
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.paper import PAPER
from analysis.records import Records
from analysis.table import Table


@pytest.fixture(scope="module")
def experiments() -> dict[str, Records]:
    return {**known.experiments(), "data": kaplan_records.data()}


def each_says_something(experiments: Experiments) -> None:
    evidence = Kaplan(experiments)
    for name in PAPER.figures:
        drawn = PAPER.draw_one(name, evidence)
        assert drawn.sentences or drawn.open, name


def without(table: Table, column: str) -> Table:
    return dataclasses.replace(table, columns={name: values for name, values in table.items() if name != column})


def first(table: Table, run: str) -> Table:
    return table.where(table["run"] == run, "another run")


def test_one_run_of_each_experiment_ends_in_a_sentence(experiments):
    each_says_something(
        {
            name: dataclasses.replace(
                records,
                **{
                    part: first(getattr(records, part), records.runs["run"][0])
                    for part in ("runs", "curves", "positions")
                },
            )
            for name, records in experiments.items()
        }
    )


MISSING = {"runs": "d_model", "curves": "step", "positions": "position"}


@pytest.mark.parametrize(
    "parts", [tuple(MISSING), *(pytest.param((part,), marks=pytest.mark.slow) for part in MISSING)]
)
def test_missing_columns_end_in_a_sentence(experiments, parts):
    each_says_something(
        {
            name: dataclasses.replace(
                records, **{part: without(getattr(records, part), MISSING[part]) for part in parts}
            )
            for name, records in experiments.items()
        }
    )


def test_records_without_curves_or_positions_end_in_a_sentence(experiments):
    def none(table: Table) -> Table:
        empty = np.zeros(len(table), bool)
        return dataclasses.replace(
            table, columns={name: values[empty] for name, values in table.items()}, rows=table.rows[empty]
        )

    each_says_something(
        {
            name: dataclasses.replace(records, curves=none(records.curves), positions=none(records.positions))
            for name, records in experiments.items()
        }
    )
