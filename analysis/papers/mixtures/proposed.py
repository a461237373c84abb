"""Which mixtures laws of losses propose, where all text is new and where some of it repeats."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis import mixtures
from analysis.mixtures import MixtureFit
from analysis.mixtures.proposal import propose
from analysis.papers.claim import MISSING
from analysis.table import Table

Array = NDArray[np.float64]

ALIKE = "all alike"
# The law of Ye et al., and the same where parts repeat: the law of most constants may fit so few mixtures best and say
# anything beyond them.
AMPLE, REPEATED = "exponential", "repeats"


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """A mixture that is trained after the others.

    Attributes:
        by: what proposes it, a law of ample or of repeated text, or uniform, or proportional to what there is.
        target: the domain whose loss is to be low, or ALIKE; empty where there is none.
        repeated: whether some of its parts are short.
        shares: of the parts.
        again: whether it is trained with several seeds, and a larger model.
    """

    by: str
    target: str
    repeated: bool
    shares: Array

    @property
    def again(self) -> bool:
        return self.target in ("", ALIKE)


def targets(fit: MixtureFit) -> Mapping[str, Mapping[str, float]]:
    """Weights of domains: each alone, and all alike."""
    return {domain: {domain: 1.0} for domain in fit.runs.domains} | {ALIKE: dict.fromkeys(fit.runs.domains, 1.0)}


def short_parts(fit: MixtureFit) -> tuple[str, ...]:
    """The parts that repeat."""
    return tuple(part for part, once in zip(fit.runs.parts, fit.runs.once, strict=True) if math.isfinite(once))


def proportional(fit: MixtureFit) -> Array:
    """Shares in which each short part is read as often as the others, of which there are D tokens."""
    there = np.minimum(fit.runs.once, 1.0)
    return there / there.sum()


def follow(small: Table | None, repeated: Table | None) -> dict[str, list[Candidate]]:
    """What is trained after the mixtures, by experiment; nothing of those that are not whole, or have no such law.

    Args:
        small, repeated: the runs of these experiments, None where some are missing.
    """
    found: dict[str, list[Candidate]] = {"proposed": [], "proposed_repeated": []}
    try:
        if small is None:
            return found
        ample = mixtures.fit(small, laws=(AMPLE,))
        best = {name: propose(ample, target, law=AMPLE, draws=2).best.shares for name, target in targets(ample).items()}
        uniform = np.full(len(ample.runs.parts), 1 / len(ample.runs.parts))
        found["proposed"] = [
            *(Candidate("ample", name, False, best[name]) for name in reversed(best)),
            Candidate("uniform", "", False, uniform),
        ]
        if repeated is None:
            return found
        fit = mixtures.fit(repeated, laws=(REPEATED,))
        some = [name for name in targets(fit) if name in (ALIKE, *short_parts(fit))]
        own = {name: propose(fit, targets(fit)[name], law=REPEATED, draws=2).best.shares for name in some}
        found["proposed_repeated"] = [
            *(
                Candidate(by, name, True, s[name])
                for name in reversed(some)
                for by, s in (("ample", best), ("repeated", own))
            ),
            Candidate("uniform", "", True, uniform),
            Candidate("proportional", "", True, proportional(fit)),
        ]
    except MISSING:
        pass
    return found
