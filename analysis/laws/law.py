"""What a law is: a frozen dataclass, its constants as fields, its formula as `__call__`, and the runs it is about."""

import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from analysis.laws.admission import FINISHED, Admission
from analysis.table.columns import COLUMNS

Scalar = Any  # float, or an array that broadcasts against the columns
Values = Any  # float, np.ndarray or jax.Array


class Constant(NamedTuple):
    """What the estimation knows of a constant."""

    name: str
    unit: str
    kind: str  # "scale", "floor": positive, fitted as a logarithm; "exponent": must come out positive; "number": any
    start: tuple[float, float]  # starts are spread over this range, geometrically for scales and floors
    within: str = ""  # an input: starts are spread over what it covers of that range

    @property
    def log(self) -> bool:
        return self.kind in ("scale", "floor")


def constant(unit: str, start: tuple[float, float], kind: str = "scale", within: str = "") -> Any:
    """A field of a law: the constant's unit, the range of its starts, its `Constant.kind` and `Constant.within`."""
    return dataclasses.field(metadata={"unit": unit, "start": start, "kind": kind, "within": within})


def exponent(start: tuple[float, float] = (0.05, 1.0)) -> Any:
    """A field that holds a dimensionless exponent, positive where the law makes sense."""
    return constant("", start, "exponent")


def floor() -> Any:
    """A field that holds an irreducible loss in nats per token."""
    return constant("nats/token", (0.1, 3.0), "floor")


@dataclasses.dataclass(frozen=True)
class Law:
    """What every law tells of itself. One's own needs `name`, `inputs`, fields by `constant`, and `__call__`.

    Its docstring is the formula, as `describe` shows it.
    """

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]  # columns, in the order in which `__call__` takes them
    target: ClassVar[str] = "loss"  # the column it predicts
    logarithmic: ClassVar[bool] = True  # residuals are in the logarithm of the target, which is above 0
    fallback: ClassVar[str] = ""  # the column taken in its place, with a note, where a table lacks the target
    source: ClassVar[str] = "user's own"
    linear: ClassVar[tuple[str, ...]] = ()  # constants in which the law, or its logarithm, is linear given the others
    linear_in_log: ClassVar[bool] = False
    holds: ClassVar[tuple[str, ...]] = ()  # names of laws that are this one with some constants at a value
    about: ClassVar[tuple[Admission, ...]] = (FINISHED,)  # the runs it is about; each rule sees what the last one left

    __call__: ClassVar[Callable[..., Values]]  # the formula, on the columns of `inputs`

    @classmethod
    def constants(cls) -> tuple[Constant, ...]:
        return tuple(Constant(f.name, **f.metadata) for f in dataclasses.fields(cls))


@functools.cache
def with_floor(law: type[Law]) -> type[Law]:
    """L_inf + the law: the same constants, and an irreducible loss, as in Henighan et al. (2020) eq. 1.1."""

    @functools.wraps(law.__call__)
    def total(self: Any, *columns: Values) -> Values:
        return self.L_inf + law.__call__(self, *columns)

    return dataclasses.make_dataclass(
        f"{law.__name__}WithFloor",
        [("L_inf", Scalar, floor())],
        bases=(law,),
        namespace={"name": f"{law.name}-floor", "__call__": total},
        frozen=True,
    )


def namespace(*values: Values) -> Any:
    """The array module of the values: jax.numpy where one of them is a JAX array, else numpy."""
    for value in values:
        if hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray | np.generic):
            return value.__array_namespace__()
    return np


def held(x: Values) -> Values:
    """The same value without its slopes, for what an iteration starts from."""
    if namespace(x) is np:
        return x
    import jax

    return jax.lax.stop_gradient(x)


def power(x: Values, a: Scalar) -> Values:
    """x ** a for x > 0, as exp(a ln x): XLA runs it twice as fast as `pow`, and the slope in `a` costs nothing more."""
    xp = namespace(x, a)
    return xp.exp(a * xp.log(x))


def to_dict(law: type[Law]) -> dict[str, Any]:
    """A law for JSON: its name, columns, source, constants with their units, and `describe`."""
    return {
        "name": law.name,
        "target": law.target,
        "inputs": law.inputs,
        "source": law.source,
        "constants": {c.name: c.unit for c in law.constants()},
        "text": describe(law),
    }


def describe(law: type[Law]) -> str:
    """A law in words, over several lines: formula, columns and constants with their units, runs it admits, source."""

    def with_unit(name: str, unit: str) -> str:
        return f"{name} ({unit})" if unit else name

    letters = list(inspect.signature(law.__call__).parameters)[1:]  # as the formula has them; without self
    target = with_unit(law.target, COLUMNS.get(law.target, ""))
    parts = {
        "predicts": target + (f"; {law.fallback} where a table has none" if law.fallback else ""),
        "from": ", ".join(
            f"{letter} = {with_unit(name, COLUMNS.get(name, ''))}"
            for letter, name in zip(letters, law.inputs, strict=True)
        ),
        "constants": ", ".join(with_unit(c.name, c.unit) for c in law.constants()),
        "runs that": "; ".join(admission.runs for admission in law.about),
        "source": law.source,
    }
    formula = " ".join(inspect.cleandoc(law.__doc__ or "").split())
    lines = [law.name, textwrap.fill(formula, 100, initial_indent="  ", subsequent_indent="  ")]
    for name, text in parts.items():
        lines.append(textwrap.fill(text, 100, initial_indent=f"  {name:<11}", subsequent_indent=" " * 13))
    return "\n".join(lines)
