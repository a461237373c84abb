"""The law of a fit by other defensible choices: which runs are fitted, with or without a floor, what N counts.

Each choice departs from the fit in one thing. One that does not identify the constants says nothing.
"""

import math
from collections.abc import Iterator

from analysis.fit import fit
from analysis.fit.estimate import Fit, Status
from analysis.laws.law import Law, with_floor
from analysis.table import Table
from scaling.errors import InputError

COUNTS = ("params_head", "params_embed")  # what others call N: with the output projection, with all embeddings
LOSSES = ("loss", "loss_min")  # targets that may have a floor


def by_runs(found: Fit) -> Iterator[Law]:
    """With the runs that a rule left out, one rule at a time."""
    law = type(found.law)
    for constants in found.without_rule.values():
        yield law(**constants)


def by_form(found: Fit, table: Table) -> Iterator[Law]:
    """With a floor, where the law has none.

    Args:
        table: the runs that it was fitted to.
    """
    law = type(found.law)
    if found.target in LOSSES and all(constant.kind != "floor" for constant in law.constants()):
        yield from _told(with_floor(law), table, found.target)


def by_count(found: Fit, table: Table) -> Iterator[Law]:
    """With other counts of N, where the table has them."""
    for count in COUNTS:
        if "params" in found.law.inputs and table.has(count):
            yield from _told(type(found.law), table.with_columns(params=table[count]), found.target)


def _told(law: type[Law], table: Table, target: str) -> Iterator[Law]:
    """The law where its exponents have intervals with two ends; a floor may be as low as zero."""
    try:
        found = fit(law, table, target=target, loss="squared", waived=law.about)
    except InputError:
        return
    if found.status is not Status.STARTS_DISAGREE and all(
        0 < found.intervals[constant.name][0] and math.isfinite(found.intervals[constant.name][1])
        for constant in law.constants()
        if constant.kind == "exponent"
    ):
        yield found.law
