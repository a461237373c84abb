"""A law of which the runs tell the constants, and claims from it; where they do not, `Undecided` says why."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

from analysis.findings.finding import Finding
from analysis.fit.estimate import Fit
from analysis.laws.law import Law
from analysis.papers import choices
from analysis.papers.claim import MISSING, Claim, Undecided
from analysis.table import Table


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Known(Finding):
    """A finding with a fit, which may still be doubtful."""

    fit: Fit
    table: Table  # pyright: ignore[reportGeneralTypeIssues]  # without a default: a fit has rows

    @functools.cached_property
    def by_form(self) -> tuple[Law, ...]:
        return tuple(choices.by_form(self.fit, self.table))

    @functools.cached_property
    def by_count(self) -> tuple[Law, ...]:
        return tuple(choices.by_count(self.fit, self.table))

    def sure(self, name: str) -> "Known":
        """Itself, where the fit is sound; `name` is of the law.

        Raises:
            Undecided: the fit is doubtful.
        """
        if not self.sound:
            raise Undecided(f"{name} is doubtful: {self.fit.why}")
        return self

    def sentences(self) -> Iterator[str]:
        """What a reader must know of a sound fit besides its constants: evidence, held-out error, misfit."""
        if self.sound:
            yield from filter(None, (self.evidence, self.forecast(), self.misfit()))


def known(finding: Finding) -> Known:
    """The finding where the law could be fitted.

    Raises:
        Undecided: it could not.
    """
    if finding.fit is None or finding.table is None:
        raise Undecided(finding.why)
    values = {field.name: getattr(finding, field.name) for field in dataclasses.fields(finding)}
    return Known(**values)


def measured(
    claim: Claim, find: Callable[[], Known | Fit], of: str | Callable[[Any], float], divide: float = 1.0
) -> Claim:
    """The claim with ours from a fit; where there is none, or it is doubtful, with the reason.

    The range over choices holds what the same analysis gives with other runs and with other counts of N, and an
    exponent also with a floor: a scale is another quantity then.

    Args:
        of: a constant of the law, or what follows from it, say `lambda law: law.alpha_N / law.alpha_D`.
        divide: ours by this, such as `PF_DAY` for a scale in FLOP that the paper gives in PF-days.
    """
    try:
        found = find()
    except MISSING as error:
        return claim.without(error)
    fit = found.fit if isinstance(found, Known) else found
    if not fit.sound:
        return dataclasses.replace(claim, why=fit.why)
    value = operator.attrgetter(of) if isinstance(of, str) else of
    low, high = fit.intervals[of] if isinstance(of, str) else fit.derived(of)[1:]
    prediction = found.held_out_prediction if isinstance(found, Known) else None

    def others() -> list[float]:
        laws = choices.by_runs(fit)
        if isinstance(found, Known):
            laws = [*laws, *found.by_count, *(found.by_form if claim.enough is not None else ())]
        return [value(law) / divide for law in laws]

    return dataclasses.replace(
        claim,
        ours=value(fit.law) / divide,
        interval=(float(low) / divide, float(high) / divide),
        others=others,
        held_out=prediction.rms if prediction else None,
    )
