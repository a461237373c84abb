"""What the budgets of every paper say, whatever its experiments are; `scaling reproduce` asks no more of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from scaling.config import RunConfig
from scaling.errors import InputError
from scaling.rates import TEXTS, Text

# Of the study of every paper here: they share a folder, and each run that two of them have is trained once.
NAME, QUESTION = "papers", "What do the experiments of published papers show on our own text?"


@dataclasses.dataclass(frozen=True)
class Budget:
    """What may be trained. A paper's own budgets have fields for its experiments beside these.

    Attributes:
        name: as it is typed.
        transfer: sources of held-out text of other kinds.
        rates: the text whose learning rates the runs take.
        source: the text, where experiments make sources of their own of it; else each run's is its data.source.
        accelerated: not for a CPU.
        paper: the paper's own scale, with its own learning rates.
    """

    name: str
    _: dataclasses.KW_ONLY
    transfer: tuple[str, ...] = ()
    rates: Text = "python"
    source: str = ""
    accelerated: bool = False
    paper: bool = False

    def texts(self, runs: Sequence[RunConfig]) -> list[str]:
        """The sources, as a page names them, of these runs."""
        return [self.source] if self.source else list(dict.fromkeys(run.data.source for run in runs))


Under = TypeVar("Under")
Of = TypeVar("Of", bound=Budget)


def one_of(budgets: Mapping[str, Under], name: str) -> Under:
    """What stands under the name of a budget.

    Raises:
        InputError: there is no such budget.
    """
    if name not in budgets:
        raise InputError(f"budget={name}: wanted one of {', '.join(budgets)}")
    return budgets[name]


def chosen(budgets: Mapping[str, Of], name: str, rates: Text) -> Of:
    """The budget of that name, its runs at the learning rates of that text.

    Raises:
        InputError: there is no such budget or text.
    """
    found = one_of(budgets, name)
    if rates not in TEXTS:
        raise InputError(f"rates={rates}: wanted one of {', '.join(TEXTS)}")
    return dataclasses.replace(found, rates=rates)


def of_one_text(budgets: Mapping[str, Of], name: str, transfer: tuple[str, ...] = (), rates: Text = "python") -> Of:
    """`chosen`, for a paper without a figure about texts of other kinds.

    Args:
        transfer: refused where there is some.

    Raises:
        InputError: there is no such budget or text, or held-out text of other kinds was asked for.
    """
    if transfer:
        raise InputError("--transfer: no figure of this paper measures other texts along a run; leave it out")
    return chosen(budgets, name, rates)


def runs_of(
    experiments: Mapping[str, Callable[[Of], tuple[RunConfig, ...]]],
    budget: Of,
    names: Sequence[str] = (),
    N: int | None = None,
) -> tuple[RunConfig, ...]:
    """The runs of a paper's experiments, each once.

    Args:
        names: of experiments; all where there are none.
        N: only models of so many parameters.

    Raises:
        InputError: an experiment is not known, or none has a model of N parameters.
    """
    for name in names:
        if name not in experiments:
            raise InputError(f"experiment {name!r}: wanted one of {', '.join(experiments)}")
    runs = dict.fromkeys(run for name in names or experiments for run in experiments[name](budget))
    if N is not None and not any(run.model.N == N for run in runs):
        sizes = ", ".join(map(str, sorted({run.model.N for run in runs})))
        raise InputError(f"N={N}: no model of budget {budget.name} has so many parameters; there are {sizes}")
    return tuple(run for run in runs if N in (None, run.model.N))
