"""Learning rates by rule: power laws of N, D and the batch, read from the JSON of sweeps; ends of a grid of rates.

`analysis.tuning` finds the law and writes the JSON; configs read it. Nothing here imports more than the standard
library.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from scaling import folders
from scaling.errors import InputError

Text = Literal["python", "english"]  # whose rates configs/rates.json holds
TEXTS: tuple[Text, ...] = get_args(Text)
OWN = "own"  # the name that a sweep's rates are kept under where none is given


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
    def from_json(cls, path: str | Path, name: str = "", kind: str = "transformer") -> "RateLaw":
        """The law of a kind of model in what `scaling tune TABLE --out FILE` wrote.

        Args:
            name: that it was kept under; empty where the file holds one name.

        Raises:
            InputError: not such a file, no such law in it, or its sweep identified none.
        """
        kept = read(path)
        name = name or the_one(path)
        if kind not in kept.get(name, {}):
            there = ", ".join(f"{text} {kinds}" for text, of in kept.items() for kinds in of) or "none"
            raise InputError(
                f"{path} holds no law of rates for {name or 'any text'}, {kind} (there: {there}); "
                "make it with scaling tune TABLE --out FILE"
            )
        return kept[name][kind]


def the_one(path: str | Path) -> str:
    """The name that a file keeps laws under, where it keeps them under one; empty where it has none.

    Raises:
        InputError: not such a file, or it holds several.
    """
    kept = read(path)
    if len(kept) > 1:
        raise InputError(
            f"{path} holds rates of {', '.join(kept)}; wanted a file with one: scaling tune TABLE --out FILE"
        )
    return next(iter(kept), "")


def read(path: str | Path) -> dict[str, dict[str, RateLaw]]:
    """The laws that a file of rates holds: name -> kind of model -> law. A sweep that identified none is left out.

    Raises:
        InputError: not such a file.
    """
    found: dict[str, dict[str, RateLaw]] = {}
    names = [field.name for field in dataclasses.fields(RateLaw)]
    for name, kinds in raw(path).items():
        for kind, said in kinds.items():
            if said["law"]:
                found.setdefault(name, {})[kind] = RateLaw(**{field: float(said["law"][field]) for field in names})
    return found


def raw(path: str | Path) -> dict[str, dict[str, dict[str, Any]]]:
    """All that a file of rates says: name -> kind of model -> what `analysis.tuning.Tuning.to_dict` gave.

    Raises:
        InputError: not such a file.
    """
    names = {field.name for field in dataclasses.fields(RateLaw)}
    try:
        kept = folders.read_json(Path(path), "a file of rates that scaling tune TABLE --out FILE wrote")
        for kinds in kept.values():
            for said in kinds.values():
                if said["law"] is not None:
                    {name: float(said["law"][name]) for name in names}
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} holds no laws of rates ({type(error).__name__}: {error}); "
            "make it with scaling tune TABLE --out FILE"
        ) from None
    return kept


def suiting(source: str) -> Text:
    """Whose rates a text takes where nothing else is said: those of "python" or of "english".

    Args:
        source: as `DataConfig.source`.
    """
    return "python" if source.split(":")[0] == "python" else "english"


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
