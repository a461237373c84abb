"""Every figure and table of the paper in its order: what draws it, and the experiments whose runs it needs."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from analysis import digits
from analysis.papers.kaplan import (
    appendix,
    batch,
    compute,
    depth,
    efficiency,
    joint,
    lstm,
    near_position,
    position,
    reuse,
    schedules,
    shape,
    single,
    tables,
    transfer,
)
from analysis.papers.kaplan.drawn import Drawn, Experiments, undecided
from analysis.records import Records
from analysis.table import Table
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class Entry:
    """A figure or table of the paper.

    Attributes:
        section: of the paper, under which the page shows it.
        draw: gives a figure that is undecided where runs are wanting; InputError where a table lacks a column.
        needs: experiments, modules of configs/kaplan/.
    """

    section: str
    draw: Callable[[Experiments], Drawn]
    needs: tuple[str, ...]


INTRODUCTION = "1 Introduction and summary"
BACKGROUND = "2 Counting"
SHAPES = "3 Size, shape, architecture and other text"
OVERFITTING = "4 Little data, and over-fitting"
STEPS = "5 Steps and batches"
ALLOCATION = "6 The best use of compute"
APPENDIX_A = "Appendix A: the power laws in tables"
APPENDIX_B = "Appendix B: the efficient frontier"
APPENDIX_D = "Appendix D: further experiments"
SECTIONS = (
    INTRODUCTION,
    BACKGROUND,
    SHAPES,
    OVERFITTING,
    STEPS,
    ALLOCATION,
    APPENDIX_A,
    APPENDIX_B,
    APPENDIX_D,
)

_WITH_C_MIN = ("size", "batch")

FIGURES: Mapping[str, Entry] = {
    "fig1": Entry(INTRODUCTION, single.figure_1, ("size", "data", "batch")),
    "fig2": Entry(INTRODUCTION, compute.figure_2, ("size",)),
    "fig3": Entry(INTRODUCTION, compute.figure_3, _WITH_C_MIN),
    "fig4": Entry(INTRODUCTION, joint.figure_4, ("size", "data", "batch")),
    "summary": Entry(INTRODUCTION, tables.summary, ("size", "data", "batch")),
    "table1": Entry(BACKGROUND, tables.table_1, ("size",)),
    "fig5": Entry(SHAPES, shape.figure_5, ("shape", "size")),
    "fig6": Entry(SHAPES, depth.figure_6, ("size",)),
    "fig7": Entry(SHAPES, lstm.figure_7, ("lstm", "size", "context")),
    "fig8": Entry(SHAPES, transfer.figure_8, ("size",)),
    "table2": Entry(OVERFITTING, tables.table_2, ("data",)),
    "fig9": Entry(OVERFITTING, joint.figure_9, ("data",)),
    "fig10": Entry(STEPS, batch.figure_10, ("batch",)),
    "table3": Entry(STEPS, tables.table_3, _WITH_C_MIN),
    "fig11": Entry(STEPS, efficiency.figure_11, _WITH_C_MIN),
    "fig12": Entry(ALLOCATION, efficiency.figure_12, _WITH_C_MIN),
    "fig13": Entry(ALLOCATION, compute.figure_13, _WITH_C_MIN),
    "fig14": Entry(ALLOCATION, compute.figure_14, _WITH_C_MIN),
    "fig15": Entry(ALLOCATION, compute.figure_15, ("size", "data", "batch")),
    "table4": Entry(APPENDIX_A, tables.table_4, ("size", "data", "batch")),
    "table5": Entry(APPENDIX_A, tables.table_5, ("size", "data", "batch")),
    "table6": Entry(APPENDIX_A, tables.table_6, _WITH_C_MIN),
    "appendixB": Entry(APPENDIX_B, appendix.appendix_b, _WITH_C_MIN),
    "fig16": Entry(APPENDIX_D, joint.figure_16, ("data", "size", "batch")),
    "fig17": Entry(APPENDIX_D, reuse.figure_17, ("universal", "size")),
    "fig18": Entry(APPENDIX_D, batch.figure_18, ("batch",)),
    "fig19": Entry(APPENDIX_D, efficiency.figure_19, _WITH_C_MIN),
    "fig20": Entry(APPENDIX_D, position.figure_20, ("context",)),
    "fig21": Entry(APPENDIX_D, near_position.figure_21, ("context",)),
    "fig22": Entry(APPENDIX_D, schedules.figure_22, ("schedule",)),
    "fig23": Entry(APPENDIX_D, single.figure_23, ("size",)),
    "fig24": Entry(APPENDIX_D, depth.figure_24, ("shape",)),
}


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """These figures in the paper's order, all where none is named.

    Raises:
        InputError: there is no such figure.
    """
    for name in names:
        if name not in FIGURES:
            raise InputError(f"--only {name}: no such figure; there are {', '.join(FIGURES)}")
    return tuple(name for name in FIGURES if not names or name in names)


def needed(names: Sequence[str]) -> tuple[str, ...]:
    """The experiments that these figures need."""
    return tuple(dict.fromkeys(need for name in names for need in FIGURES[name].needs))


def draw(name: str, experiments: Experiments) -> Drawn:
    """A figure or table by its name, as the page shows it.

    Where a table lacks a column that it needs, or holds values that it cannot use, it is undecided and says why.
    """
    try:
        drawn = FIGURES[name].draw(experiments)
    except InputError as error:
        title = name.replace("fig", "Figure ").replace("table", "Table ").replace("appendix", "Appendix ")
        drawn = undecided(name, title[0].upper() + title[1:], f"{error}")
    # Reasons come from elsewhere, and not all of these write a minus as one.
    return dataclasses.replace(
        drawn,
        sentences=tuple(map(digits.minus, drawn.sentences)),
        constants=tuple(dataclasses.replace(one, note=digits.minus(one.note)) for one in drawn.constants),
    )


def split(records: Records, members: Mapping[str, Collection[str]]) -> Experiments:
    """The records of each experiment; one that has none yet is left out.

    Args:
        records: of the study of all experiments.
        members: the ids of each experiment's runs.
    """
    found = {}
    for name, ids in members.items():
        runs, curves, positions = (
            _rows(table, np.isin(table["run"], list(ids)))
            for table in (records.runs, records.curves, records.positions)
        )
        if len(runs):
            found[name] = dataclasses.replace(records, runs=runs, curves=curves, positions=positions)
    return found


def _rows(table: Table, keep: np.ndarray) -> Table:
    """These rows alone: what other experiments have is not left out, it does not belong here."""
    columns = {name: column[keep] for name, column in table.columns.items()}
    return dataclasses.replace(table, columns=columns, rows=table.rows[keep])
