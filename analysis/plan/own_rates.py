"""The law of learning rates of one's own sweep, and how far from that sweep a run lies."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

from analysis.digits import short, typed
from analysis.load import load
from analysis.tuning import tune
from analysis.tuning.bowls import INTERIOR
from scaling import rates
from scaling.errors import InputError, one_line
from scaling.rates import RateLaw

SWEPT = {"params": "N", "tokens": "D", "batch_tokens": "B"}
FAR = 10.0  # times the largest that was swept: beyond it a rate is called a guess


@dataclasses.dataclass(frozen=True)
class OwnRates:
    """LR(N, D, B) of a sweep.

    Attributes:
        ranges: lowest and highest N, D and B (`params`, `tokens`, `batch_tokens`) of the bowls behind the law.
        warnings: what `scaling tune` warned about.
    """

    law: RateLaw
    ranges: Mapping[str, tuple[float, float]]
    warnings: tuple[str, ...] = ()

    def beyond(self, params: float, tokens: float, batch_tokens: float) -> tuple[str, bool]:
        """Which of N, D and B lie outside the sweep, by what factor (empty where none), and whether that is a guess."""
        told, farthest = [], 1.0
        for name, value in (("params", params), ("tokens", tokens), ("batch_tokens", batch_tokens)):
            low, high = self.ranges.get(name, (0.0, math.inf))
            if value > 1.001 * high:
                told.append(f"{SWEPT[name]} is {typed(value / high, 2)} times the largest swept, {short(high)}")
            elif value < low / 1.001:
                told.append(f"{SWEPT[name]} is {typed(low / value, 2)} times below the smallest swept, {short(low)}")
            farthest = max(farthest, value / high, low / value)
        guess = farthest > FAR
        return "; ".join([*told, *(["its rate is a guess"] if guess else [])]), guess


def read(path: str | Path) -> OwnRates:
    """The law in what `scaling tune --out` wrote (.json), or that of a table of runs: a file or a study's folder.

    Raises:
        InputError: neither of these, or the sweep identifies no law.
    """
    path = Path(path)
    if path.suffix == ".json":
        law = RateLaw.from_json(path)
        said = rates.raw(path)[rates.the_one(path)]["transformer"]
    else:
        found = tune(load(path))
        if found.law is None:
            raise InputError(f"{path}: no law of learning rates: {found.why}")
        law, said = found.law.law, found.to_dict()
    ranges = {}
    try:
        bowls = [bowl for bowl in said.get("bowls", []) if bowl["status"] == INTERIOR]
        for name in SWEPT:
            values = [float(bowl[name]) for bowl in bowls if bowl[name] is not None]
            if values:
                ranges[name] = (min(values), max(values))
        warnings = tuple(said.get("warnings", []))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"a bowl has no {error}" if isinstance(error, KeyError) else one_line(error)
        raise InputError(f"{path}: {what}; wanted what scaling tune --out wrote") from None
    return OwnRates(law, ranges, warnings)
