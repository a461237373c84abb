"""Loss curves under schedules that a law has not seen: what it says of them, and how far it is off."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.laws.schedules import OfSchedules, Schedules, of_schedules
from analysis.schedule_forecast import KNOTS, LAWS, Curve, fitted

Array = NDArray[np.float64]


class Errors(NamedTuple):
    """How far predicted losses lie off measured ones, as Luo et al. (2025) count it."""

    R2: float
    mean: float  # absolute, nats per token
    rms: float
    relative: float  # mean
    worst: float  # relative: of a curve; over several curves, the mean of theirs
    most: float  # relative: of all points of all curves

    @classmethod
    def of(cls, predicted: Array, measured: Array) -> Self:
        """Of one curve."""
        off = predicted - measured
        share = np.abs(off) / measured
        R2 = 1 - np.sum(off**2) / np.sum((measured - measured.mean()) ** 2)
        return cls(
            *map(float, (R2, np.abs(off).mean(), np.sqrt(np.mean(off**2)), share.mean(), share.max(), share.max()))
        )

    @classmethod
    def mean_of(cls, each: Sequence[Self]) -> Self:
        """The mean of each number over curves, but for `most`, which is the most over them."""
        mean = cls(*(float(np.mean(values)) for values in zip(*each, strict=True)))
        return mean._replace(most=max(one.most for one in each))


def known(law: str, curves: Sequence[Curve]) -> OfSchedules:
    """The law of these curves, for any schedule (`losses`)."""
    return fitted(LAWS[law], curves).law


def losses(found: OfSchedules, rates: ArrayLike, step: ArrayLike) -> Array:
    """What a law with these constants says of a schedule after so many updates. rates: of every update; step: (p,)"""
    law, step = LAWS[found.name], np.asarray(step, float)
    of = of_schedules(law, Schedules.of([rates], knots=KNOTS, between=law.between))
    constants = {constant.name: getattr(found, constant.name) for constant in law.constants()}
    return np.asarray(of(**constants)(step, np.ones(len(step))))


def errors(found: OfSchedules, curves: Sequence[Curve]) -> Errors:
    """Of what a law says of these curves, the mean over them; their warm-up is left out."""
    each = []
    for curve in curves:
        late = curve.step >= curve.warmup
        each.append(Errors.of(losses(found, curve.rates, curve.step[late]), curve.loss[late]))
    return Errors.mean_of(each)
