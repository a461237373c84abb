"""Published papers, figure by figure, from our own runs.

A paper NAME is two folders: `analysis/papers/NAME/`, whose module `paper` has a `PAPER`, and `configs/NAME/`, which
says what to train, by `experiments.EXPERIMENTS` and `budgets.named`; over-training is the folder over_training.
Whatever of these there are can be reproduced.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from analysis.papers.folders import module, named, names
from scaling.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from analysis.papers.reproduction import Reproduction, Wanted
    from analysis.records import Records

__all__ = ["module", "named", "names", "reproduce", "wanted"]


def wanted(
    paper: str,
    budget: str = "",
    only: Sequence[str] = (),
    *,
    transfer: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> "Wanted":
    """What a paper's figures need at a budget: the study to train. Arguments as of `reproduce`."""
    if paper not in names():
        raise InputError(f"no paper is called {paper!r}; there are {', '.join(names())}")
    # Matplotlib and JAX: a second that the names of the papers need not wait for.
    from analysis.papers import reproduction

    return reproduction.wanted(paper, budget, only, transfer=transfer, settings=settings)


def reproduce(
    paper: str,
    records: "Records",
    budget: str = "",
    only: Sequence[str] = (),
    *,
    transfer: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
    forecasts: "str | Path | None" = None,
    beside: Sequence["Records"] = (),
) -> "Reproduction":
    """A paper's figures and tables from the records of our own runs.

        >>> from analysis import papers, records
        >>> found = papers.reproduce("kaplan", records.read("studies/papers-cpu-1h"), "cpu-1h")  # doctest: +SKIP
        >>> found.write("page")  # doctest: +SKIP

    Args:
        paper: one of `names`.
        records: of the study that `wanted(...).study` is, or of one that holds its runs.
        budget: its name, of configs/NAME/budgets.py; that module's DEFAULT where it is left out.
        only: figures and tables, such as "fig5"; all where there are none.
        transfer: sources of held-out text of other kinds, where the runs were not given the budget's own.
        settings: fields of every run that differ from the experiments' own, such as {"data.source": "text:*.txt"};
            `rates` is the text whose learning rates the runs take.
        forecasts: folder of dated forecasts (`scaling predict --store`), which a page holds against what came.
        beside: of studies of the same experiments on other texts, at any budget, for Table A2 of chinchilla.

    Raises:
        InputError: no such paper, budget, figure or forecast, or a study has none of these runs.
    """
    return wanted(paper, budget, only, transfer=transfer, settings=settings).drawn_from(records, forecasts, beside)
