"""The published laws: one frozen dataclass each, its constants as fields, its formula as `__call__`.

N parameters (non-embedding unless a table says otherwise), D tokens, C FLOP, S updates, B tokens per batch, L nats per
token. A formula works on floats, NumPy arrays and JAX arrays alike. Constants are named as in the paper.

Two different D are never mixed: `unique_tokens` is the data available (Kaplan's, repeated and early stopped), `tokens`
the data processed (Chinchilla's, in at most one epoch with the decay matched to the run). A law names its columns and,
in `about`, the runs that it is about (`analysis.laws.admission`). `analysis.laws.law.describe` says all of it in words.
"""

import difflib
import inspect
import re
from pathlib import Path

from analysis.laws.chinchilla import (
    Chinchilla,
    Counted,
    Gadre,
    GadreError,
    Gemstones,
    Lovelace,
    Muennighoff,
    SigmoidAccuracy,
    lifetime_flops,
)
from analysis.laws.curves import M3, M4, broken
from analysis.laws.experts import Abnar, Clark, Krajewski, Ludziejewski
from analysis.laws.kaplan import (
    HenighanC,
    HenighanD,
    HenighanN,
    KaplanBCrit,
    KaplanC,
    KaplanCMin,
    KaplanD,
    KaplanExcess,
    KaplanLogN,
    KaplanN,
    KaplanND,
    KaplanNS,
    KaplanOnePass,
    KaplanPosition,
    KaplanStop,
)
from analysis.laws.law import Law, constant
from analysis.laws.quality import Subramanyam
from analysis.laws.rewards import BestOfN, Reinforced
from analysis.laws.schedules import OF_CURVES
from analysis.laws.surfaces import Farseer, QNorm, Rosenfeld
from scaling import extensions
from scaling.errors import InputError

__all__ = [
    "LAWS",
    "M3",
    "M4",
    "OF_CURVES",
    "Abnar",
    "BestOfN",
    "Chinchilla",
    "Clark",
    "Counted",
    "Farseer",
    "Gadre",
    "GadreError",
    "Gemstones",
    "HenighanC",
    "HenighanD",
    "HenighanN",
    "KaplanBCrit",
    "KaplanC",
    "KaplanCMin",
    "KaplanD",
    "KaplanExcess",
    "KaplanLogN",
    "KaplanN",
    "KaplanND",
    "KaplanNS",
    "KaplanOnePass",
    "KaplanPosition",
    "KaplanStop",
    "Krajewski",
    "Law",
    "Lovelace",
    "Ludziejewski",
    "Muennighoff",
    "QNorm",
    "Reinforced",
    "Rosenfeld",
    "SigmoidAccuracy",
    "Subramanyam",
    "broken",
    "constant",
    "law_by_name",
    "lifetime_flops",
    "own",
]

LAWS: tuple[type[Law], ...] = (
    KaplanN,
    KaplanD,
    KaplanC,
    KaplanCMin,
    KaplanND,
    KaplanOnePass,
    KaplanExcess,
    KaplanNS,
    KaplanBCrit,
    KaplanStop,
    KaplanPosition,
    KaplanLogN,
    HenighanN,
    HenighanD,
    HenighanC,
    Chinchilla,
    Counted,
    Muennighoff,
    Lovelace,
    Gadre,
    GadreError,
    SigmoidAccuracy,
    Gemstones,
    Clark,
    Ludziejewski,
    Krajewski,
    Abnar,
    QNorm,
    Rosenfeld,
    Farseer,
    Subramanyam,
    BestOfN,
    Reinforced,
    M3,
    M4,
    broken(0),
    broken(1),
    broken(2),
)


_OWN: dict[str, type[Law]] = {}  # by name, of this process


def own(text: str) -> type[Law]:
    """The law FILE.py:Name, a class in a file of the user's, which is run; `law_by_name` knows it from then on.

    Raises:
        InputError: there is none, it lacks what every law has, or a published one has its name.
    """
    file, _, name = text.rpartition(":")
    law = extensions.load(Path(file), name, Law, text)
    said = [each for each in ("name", "inputs") if not hasattr(law, each)]
    said += [] if "__call__" in vars(law) else ["__call__ of its own"]
    if said or not law.constants():
        raise InputError(
            f"{text}: it has no {said[0] if said else 'field by constant()'}; wanted what docs/extending.md has"
        )
    columns = list(inspect.signature(law.__call__).parameters)[1:]
    if len(columns) != len(law.inputs):
        raise InputError(f"{text}: its formula takes {', '.join(columns)}, and its inputs are {', '.join(law.inputs)}")
    if law.name in {each.name for each in LAWS}:
        raise InputError(f"{text}: a published law is called {law.name!r} already; choose another name")
    _OWN[law.name] = law
    return law


def law_by_name(name: str) -> type[Law]:
    """The law of that name, as `scaling fit` takes it."""
    for law in (*LAWS, *_OWN.values()):
        if law.name == name:
            return law
    if breaks := re.fullmatch(r"bnsl-([0-9])", name):
        return broken(int(breaks[1]))
    if name in {law.name for law in OF_CURVES}:
        raise InputError(
            f"{name} is a law of whole loss curves, made for their schedules: scaling predict CURVES --schedule cosine "
            f"--law {name} fits it, prints its constants, and says where a schedule leads"
        )
    names = [law.name for law in LAWS]
    near = difflib.get_close_matches(name, names, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise InputError(
        f"no law is called {name!r}{meant}; there are {', '.join(names)}; one of your own is FILE.py:Name, and with a "
        "fit that was kept --law FILE.py:Name"
    )
