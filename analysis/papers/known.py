"""A law of which the runs tell the constants, and claims from it; where they do not, `Undecided` says why."""

import dataclasses
from collections.abc import Callable, Iterator

from analysis.findings.finding import Finding
from analysis.fit.estimate import Fit
from analysis.papers.claim import Claim, Undecided
from analysis.table import Table
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Known(Finding):
    """A finding with a fit, which may still be doubtful."""

    fit: Fit
    table: Table  # pyright: ignore[reportGeneralTypeIssues]  # without a default: a fit has rows

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


def measured(claim: Claim, find: Callable[[], Known | Fit], attribute: str, divide: float = 1.0) -> Claim:
    """The claim with ours from a constant of a fit; where there is none, or it is doubtful, with the reason.

    The choices that it ranges over are those of the rows: each rule that left some out is dropped by itself.

    Args:
        divide: ours by this, such as `PF_DAY` for a scale in FLOP that the paper gives in PF-days.
    """
    try:
        found = find()
    except (Undecided, InputError) as error:
        return dataclasses.replace(claim, why=Undecided(error).why)
    fit, held_out = found, None
    if isinstance(found, Known):
        fit, held_out = found.fit, found.held_out_prediction.rms if found.held_out_prediction else None
    assert isinstance(fit, Fit)
    if not fit.sound:
        return dataclasses.replace(claim, why=fit.why)
    low, high = fit.intervals[attribute]
    value = fit.constants[attribute]
    others = [constants[attribute] for constants in fit.without_rule.values() if attribute in constants]
    choices = (min(value, *others) / divide, max(value, *others) / divide) if others else None
    return dataclasses.replace(
        claim, ours=value / divide, interval=(low / divide, high / divide), over_choices=choices, held_out=held_out
    )
