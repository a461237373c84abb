"""Learning rates by rule: a power law of N, D and the batch, read from the JSON of a sweep; ends of a grid of rates.

`analysis.tuning` finds the law and writes the JSON; configs read it. Nothing here imports more than the standard
library.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class RateLaw:
    """The best peak rate = rate (N / N_1)^n (D / D_1)^d (B / B_1)^b.

    N non-embedding parameters, D tokens processed, B tokens per update; N_1, D_1 and B_1 are the geometric means of the
    sweep. An exponent is 0 where the sweep does not vary its quantity, so the law says nothing of it.
    """

    rate: float
    N_1: float
    D_1: float
    B_1: float
    n: float
    d: float = 0.0
    b: float = 0.0

    def __call__(self, N: float, D: float | None = None, B: float | None = None) -> float:
        """The rate for N parameters; D and B are those of the sweep's middle where they are left out."""
        D, B = D or self.D_1, B or self.B_1
        return self.rate * (N / self.N_1) ** self.n * (D / self.D_1) ** self.d * (B / self.B_1) ** self.b

    @classmethod
    def from_json(cls, path: str | Path) -> "RateLaw":
        """The law in what `scaling tune TABLE --out FILE` wrote.

        Raises:
            InputError: not such a file, or its sweep identified no law.
        """
        try:
            law = json.loads(Path(path).read_text(encoding="utf-8"))["law"]
            constants = {field.name: float(law[field.name]) for field in dataclasses.fields(cls)}
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; make it with scaling tune TABLE --out {path}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} holds no law of rates ({type(error).__name__}: {error}); "
                "make it with scaling tune TABLE --out FILE"
            ) from None
        return cls(**constants)


def edge(rates: Sequence[float], losses: Sequence[float]) -> Literal["lowest", "highest"] | None:
    """The end of a grid at which its lowest loss lies, None where that lies between other rates.

    Args:
        rates: tried, above 0, in any order.
        losses: one per rate, NaN where the run diverged. A rate that diverged bounds the grid: the highest finite one
            below it is no end, for nothing is to be found beyond.
    """
    order = sorted(range(len(rates)), key=lambda i: rates[i])
    finite = [i for i in order if math.isfinite(losses[i])]
    if not finite:
        return None
    best = min(finite, key=lambda i: losses[i])
    if best == order[0]:
        return "lowest"
    return "highest" if best == order[-1] else None


def beyond(rates: Sequence[float], end: Literal["lowest", "highest"], n: int = 2) -> tuple[float, ...]:
    """The next n rates past an end of a grid, in its own mean ratio (2 where there is one rate)."""
    low, high = min(rates), max(rates)
    different = len(set(rates))
    ratio = (high / low) ** (1 / (different - 1)) if different > 1 else 2.0
    return tuple(low / ratio**k if end == "lowest" else high * ratio**k for k in range(1, n + 1))
