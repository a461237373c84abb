# ruff: noqa: RUF009  (`constant` and its kin return dataclass fields)
"""The published laws: one frozen dataclass each, its constants as fields, its formula as `__call__`.

N parameters (non-embedding unless a table says otherwise), D tokens, C FLOP, S updates, B tokens per batch, L nats per
token. A formula works on floats, NumPy arrays and JAX arrays alike. Constants are named as in the paper.

Two different D are never mixed: `unique_tokens` is the data available (Kaplan's, repeated and early stopped), `tokens`
the data processed (Chinchilla's, in at most one epoch with the decay matched to the run). A law names its columns and,
in `admits`, the runs that it is about.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from analysis.table import Table
from scaling.errors import InputError

Scalar = Any  # float, or an array that broadcasts against the columns
Values = Any  # float, np.ndarray or jax.Array

# A run counts as converged when the last doubling of its tokens lowered the loss by less than this share of it: about
# the seed noise in Kaplan et al. (2020) sec. 4.2.
CONVERGED = 0.02


class Constant(NamedTuple):
    """What the estimation knows of a constant."""

    name: str
    unit: str
    kind: str  # "scale", "floor": positive, fitted as a logarithm; "exponent": must come out positive; "number": any
    start: tuple[float, float]  # starts are spread over this range, geometrically for scales and floors

    @property
    def log(self) -> bool:
        return self.kind in ("scale", "floor")


class Rule(NamedTuple):
    """Which runs a law is about."""

    keep: np.ndarray  # bool, one per row
    reason: str  # why the other rows are left out
    unchecked: str = ""  # what could not be checked for want of a column


def constant(unit: str, start: tuple[float, float], kind: str = "scale") -> Any:
    """A field of a law: the constant's unit, the range of its starts, and its `Constant.kind`."""
    return dataclasses.field(metadata={"unit": unit, "start": start, "kind": kind})


def exponent(start: tuple[float, float] = (0.05, 1.0)) -> Any:
    """A field that holds a dimensionless exponent, positive where the law makes sense."""
    return constant("", start, "exponent")


def floor() -> Any:
    """A field that holds an irreducible loss in nats per token."""
    return constant("nats/token", (0.1, 3.0), "floor")


@dataclasses.dataclass(frozen=True)
class Law:
    """What every law tells of itself. One's own needs `name`, `inputs`, fields by `constant`, and `__call__`."""

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]  # columns, in the order in which `__call__` takes them
    target: ClassVar[str] = "loss"  # the column it predicts
    fallback: ClassVar[str] = ""  # the column taken in its place, with a note, where a table lacks the target
    source: ClassVar[str] = "user's own"
    linear: ClassVar[tuple[str, ...]] = ()  # constants in which the law, or its logarithm, is linear given the others
    linear_in_log: ClassVar[bool] = False

    __call__: ClassVar[Callable[..., Values]]  # the formula, on the columns of `inputs`

    @classmethod
    def constants(cls) -> tuple[Constant, ...]:
        return tuple(Constant(f.name, **f.metadata) for f in dataclasses.fields(cls))

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return [_done(table)]


def namespace(*values: Values) -> Any:
    """The array module of the values: jax.numpy where one of them is a JAX array, else numpy."""
    for value in values:
        if hasattr(value, "__array_namespace__") and not isinstance(value, np.ndarray | np.generic):
            return value.__array_namespace__()
    return np


def power(x: Values, a: Scalar) -> Values:
    """x ** a for x > 0, as exp(a ln x): XLA runs it twice as fast as `pow`, and the slope in `a` costs nothing more."""
    xp = namespace(x, a)
    return xp.exp(a * xp.log(x))


# --- Kaplan et al. (2020), arXiv 2001.08361


@dataclasses.dataclass(frozen=True)
class KaplanN(Law):
    """L(N) = (N_c / N) ** alpha_N: converged runs with ample data."""

    N_c: Scalar = constant("parameters", (1e7, 1e16))
    alpha_N: Scalar = exponent()

    name = "kaplan-n"
    inputs = ("params",)
    source = "Kaplan et al. (2020) eq. 1.1"

    def __call__(self, N: Values) -> Values:
        return power(self.N_c / N, self.alpha_N)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return [_done(table), _most_data_of_its_size(table), _converged(table)]


@dataclasses.dataclass(frozen=True)
class KaplanD(Law):
    """L(D) = (D_c / D) ** alpha_D: D unique tokens, a model that is large enough, stopped early."""

    D_c: Scalar = constant("tokens", (1e8, 1e16))
    alpha_D: Scalar = exponent()

    name = "kaplan-d"
    inputs = ("unique_tokens",)
    target = "loss_min"
    fallback = "loss"
    source = "Kaplan et al. (2020) eq. 1.2"

    def __call__(self, D: Values) -> Values:
        return power(self.D_c / D, self.alpha_D)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return [_done(table), _stopped_early(table), _best_size_for_its_data(table)]


@dataclasses.dataclass(frozen=True)
class KaplanC(Law):
    """L(C) = (C_c / C) ** alpha_C: the best model at each compute, at one fixed batch size."""

    C_c: Scalar = constant("FLOP", (1e18, 1e32))
    alpha_C: Scalar = exponent((0.02, 0.5))

    name = "kaplan-c"
    inputs = ("flops",)
    source = "Kaplan et al. (2020) eq. 3.3"

    def __call__(self, C: Values) -> Values:
        return power(self.C_c / C, self.alpha_C)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return [_done(table), _on_the_envelope(table, "flops")]


@dataclasses.dataclass(frozen=True)
class KaplanCMin(Law):
    """L(C_min) = (C_c / C_min) ** alpha_C: compute as it would be at a batch far below the critical one (eq. 5.5)."""

    C_c: Scalar = constant("FLOP", (1e18, 1e32))
    alpha_C: Scalar = exponent((0.02, 0.5))

    name = "kaplan-cmin"
    inputs = ("flops_min",)
    source = "Kaplan et al. (2020) eq. 1.3"

    def __call__(self, C_min: Values) -> Values:
        return power(self.C_c / C_min, self.alpha_C)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return [_done(table), _on_the_envelope(table, "flops_min")]


@dataclasses.dataclass(frozen=True)
class KaplanND(Law):
    """L(N, D) = [(N_c / N) ** (alpha_N / alpha_D) + D_c / D] ** alpha_D, D unique tokens, stopped early."""

    N_c: Scalar = constant("parameters", (1e7, 1e16))
    D_c: Scalar = constant("tokens", (1e8, 1e16))
    alpha_N: Scalar = exponent((0.05, 0.6))
    alpha_D: Scalar = exponent((0.05, 0.6))

    name = "kaplan-nd"
    inputs = ("params", "unique_tokens")
    target = "loss_min"
    fallback = "loss"
    source = "Kaplan et al. (2020) eq. 1.5"

    def __call__(self, N: Values, D: Values) -> Values:
        return power(power(self.N_c / N, self.alpha_N / self.alpha_D) + self.D_c / D, self.alpha_D)

    def excess(self, N: Values, D: Values) -> Values:
        """L(N, D) / L(N, infinity) - 1, eq. 4.3."""
        return power(1 + power(N / self.N_c, self.alpha_N / self.alpha_D) * self.D_c / D, self.alpha_D) - 1

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return [_done(table), _stopped_early(table)]


@dataclasses.dataclass(frozen=True)
class KaplanExcess(Law):
    """L(N, D) / L(N, infinity) - 1 = (1 + K N ** (alpha_N / alpha_D) / D) ** alpha_D - 1.

    K = D_c / N_c ** (alpha_N / alpha_D): the excess alone cannot tell N_c and D_c apart.
    """

    K: Scalar = constant("tokens per parameter ** ratio", (1.0, 1e6))
    ratio: Scalar = exponent((0.4, 1.2))  # alpha_N / alpha_D
    alpha_D: Scalar = exponent((0.05, 0.6))

    name = "kaplan-excess"
    inputs = ("params", "unique_tokens")
    target = "excess"
    source = "Kaplan et al. (2020) eq. 4.3"

    def __call__(self, N: Values, D: Values) -> Values:
        return power(1 + self.K * power(N, self.ratio) / D, self.alpha_D) - 1


@dataclasses.dataclass(frozen=True)
class KaplanNS(Law):
    """L(N, S_min) = (N_c / N) ** alpha_N + (S_c / S_min) ** alpha_S, ample data.

    The printed S_c = 2.1e3 belongs to S counted at the critical batch, where S = 2 S_min; on an S_min axis it is half.
    """

    N_c: Scalar = constant("parameters", (1e7, 1e16))
    alpha_N: Scalar = exponent((0.03, 0.4))
    S_c: Scalar = constant("updates", (1e1, 1e6))
    alpha_S: Scalar = exponent((0.3, 1.2))

    name = "kaplan-ns"
    inputs = ("params", "steps_min")
    source = "Kaplan et al. (2020) eq. 1.6"

    def __call__(self, N: Values, S_min: Values) -> Values:
        return power(self.N_c / N, self.alpha_N) + power(self.S_c / S_min, self.alpha_S)


@dataclasses.dataclass(frozen=True)
class KaplanBCrit(Law):
    """B_crit(L) = B_star / L ** (1 / alpha_B), tokens."""

    B_star: Scalar = constant("tokens", (1e5, 1e10))
    alpha_B: Scalar = exponent((0.1, 0.6))

    name = "kaplan-bcrit"
    inputs = ("loss",)
    target = "batch_crit"
    source = "Kaplan et al. (2020) eq. 1.4"

    def __call__(self, L: Values) -> Values:
        return self.B_star / power(L, 1 / self.alpha_B)


@dataclasses.dataclass(frozen=True)
class KaplanStop(Law):
    """S_stop = S_c / gap ** (1 / alpha_S), gap = L(N, D) - L(N, infinity): early stopping comes no sooner."""

    S_c: Scalar = constant("updates", (1e1, 1e6))
    alpha_S: Scalar = exponent((0.3, 1.2))

    name = "kaplan-stop"
    inputs = ("loss_gap",)
    target = "steps_stop"
    source = "Kaplan et al. (2020) eq. 5.7"

    def __call__(self, gap: Values) -> Values:
        return self.S_c / power(gap, 1 / self.alpha_S)


@dataclasses.dataclass(frozen=True)
class KaplanPosition(Law):
    """L(T) = a + b T ** -c: the loss at token T of the context, T from 1."""

    a: Scalar = floor()
    b: Scalar = constant("nats/token", (0.5, 10.0))
    c: Scalar = exponent((0.1, 1.0))

    name = "kaplan-position"
    inputs = ("position",)
    source = "Kaplan et al. (2020) Fig. 20"
    linear = ("a", "b")

    def __call__(self, T: Values) -> Values:
        return self.a + self.b * power(T, -self.c)


@dataclasses.dataclass(frozen=True)
class KaplanLogN(Law):
    """L(N) = slope ln(N_c / N): the logarithm that a power law is held against."""

    slope: Scalar = constant("nats/token", (0.05, 1.0))
    N_c: Scalar = constant("parameters", (1e9, 1e16))

    name = "kaplan-log-n"
    inputs = ("params",)
    source = "Kaplan et al. (2020) Fig. 23"

    def __call__(self, N: Values) -> Values:
        return self.slope * namespace(self.N_c, N).log(self.N_c / N)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return KaplanN.admits(table)


# --- Henighan et al. (2020), arXiv 2010.14701: a power law with a floor


@dataclasses.dataclass(frozen=True)
class HenighanN(Law):
    """L(N) = L_inf + (N_0 / N) ** alpha."""

    L_inf: Scalar = floor()
    N_0: Scalar = constant("parameters", (1e1, 1e14))
    alpha: Scalar = exponent()

    name = "henighan-n"
    inputs = ("params",)
    source = "Henighan et al. (2020) eq. 1.1"

    def __call__(self, N: Values) -> Values:
        return self.L_inf + power(self.N_0 / N, self.alpha)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return KaplanN.admits(table)


@dataclasses.dataclass(frozen=True)
class HenighanD(Law):
    """L(D) = L_inf + (D_0 / D) ** alpha, D unique tokens, stopped early."""

    L_inf: Scalar = floor()
    D_0: Scalar = constant("tokens", (1e3, 1e15))
    alpha: Scalar = exponent()

    name = "henighan-d"
    inputs = ("unique_tokens",)
    target = "loss_min"
    fallback = "loss"
    source = "Henighan et al. (2020) eq. 1.1"

    def __call__(self, D: Values) -> Values:
        return self.L_inf + power(self.D_0 / D, self.alpha)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return KaplanD.admits(table)


@dataclasses.dataclass(frozen=True)
class HenighanC(Law):
    """L(C) = L_inf + (C_0 / C) ** alpha, the best model at each compute."""

    L_inf: Scalar = floor()
    C_0: Scalar = constant("FLOP", (1e10, 1e30))
    alpha: Scalar = exponent((0.02, 0.6))

    name = "henighan-c"
    inputs = ("flops",)
    source = "Henighan et al. (2020) eq. 1.1"

    def __call__(self, C: Values) -> Values:
        return self.L_inf + power(self.C_0 / C, self.alpha)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return KaplanC.admits(table)


# --- Hoffmann et al. (2022), arXiv 2203.15556, and what was built on it


@dataclasses.dataclass(frozen=True)
class Chinchilla(Law):
    """L(N, D) = E + A / N ** alpha + B / D ** beta, D tokens processed, at most once, the decay matched to the run."""

    E: Scalar = floor()
    A: Scalar = constant("nats/token", (1.0, 1e6))
    B: Scalar = constant("nats/token", (1.0, 1e6))
    alpha: Scalar = exponent((0.1, 1.0))
    beta: Scalar = exponent((0.1, 1.0))

    name = "chinchilla"
    inputs = ("params", "tokens")
    source = "Hoffmann et al. (2022) eq. 2"
    linear = ("E", "A", "B")

    def __call__(self, N: Values, D: Values) -> Values:
        return self.E + self.A * power(N, -self.alpha) + self.B * power(D, -self.beta)

    @classmethod
    def admits(cls, table: Table) -> list[Rule]:
        return [_done(table), _one_epoch(table), _decayed(table)]


@dataclasses.dataclass(frozen=True)
class Muennighoff(Law):
    """Chinchilla's law with the effective data and parameters of repeated epochs.

    D' = U + U R_D (1 - exp(-r_D / R_D)), r_D = D / U - 1, for U unique tokens; N' alike from U_N = min(N, N_opt(U)),
    N_opt(U) the compute-optimal size for U tokens under the same constants.
    """

    E: Scalar = floor()
    A: Scalar = constant("nats/token", (1.0, 1e6))
    B: Scalar = constant("nats/token", (1.0, 1e6))
    alpha: Scalar = exponent((0.1, 1.0))
    beta: Scalar = exponent((0.1, 1.0))
    R_D: Scalar = constant("epochs", (1.0, 100.0))
    R_N: Scalar = constant("", (0.5, 100.0))

    name = "muennighoff"
    inputs = ("params", "tokens", "unique_tokens")
    source = "Muennighoff et al. (2023) sec. 3"

    def __call__(self, N: Values, D: Values, U: Values) -> Values:
        xp = namespace(self.E, self.A, self.B, self.alpha, self.beta, self.R_D, self.R_N, N, D, U)
        # N_opt = G (C / 6) ** a and D_opt = (C / 6) ** b / G, so the size for U tokens is G (U G) ** (a / b).
        G = power(self.alpha * self.A / (self.beta * self.B), 1 / (self.alpha + self.beta))
        U_N = xp.minimum(N, G * power(U * G, self.beta / self.alpha))
        D_eff = U * (1 + self.R_D * -xp.expm1(-xp.maximum(D / U - 1, 0.0) / self.R_D))
        N_eff = U_N * (1 + self.R_N * -xp.expm1(-xp.maximum(N / U_N - 1, 0.0) / self.R_N))
        return self.E + self.A * power(N_eff, -self.alpha) + self.B * power(D_eff, -self.beta)


@dataclasses.dataclass(frozen=True)
class Gadre(Law):
    """L(C, M) = E + (a M ** eta + b M ** -eta) C ** -eta, C = 6 N D, M = D / N: one exponent for both."""

    E: Scalar = floor()
    a: Scalar = constant("nats/token", (1.0, 1e5))
    b: Scalar = constant("nats/token", (1.0, 1e5))
    eta: Scalar = exponent((0.02, 0.5))

    name = "gadre"
    inputs = ("params", "tokens")
    source = "Gadre et al. (2024) eq. 4"
    linear = ("E", "a", "b")

    def __call__(self, N: Values, D: Values) -> Values:
        C, M = 6 * N * D, D / N
        return self.E + self.a * power(C / M, -self.eta) + self.b * power(C * M, -self.eta)


@dataclasses.dataclass(frozen=True)
class GadreError(Law):
    """Err(L) = eps - k exp(-gamma L): mean error on downstream tasks from the loss."""

    eps: Scalar = constant("", (0.5, 1.0))
    k: Scalar = constant("", (0.3, 10.0))
    gamma: Scalar = constant("per nat", (0.1, 2.0), "exponent")

    name = "gadre-error"
    inputs = ("loss",)
    target = "error"
    source = "Gadre et al. (2024) eq. 5"
    linear = ("eps", "k")

    def __call__(self, L: Values) -> Values:
        return self.eps - self.k * namespace(self.eps, self.k, self.gamma, L).exp(-self.gamma * L)


@dataclasses.dataclass(frozen=True)
class Clark(Law):
    """log10 L = a log10 N + b log10 E' + c log10 N log10 E' + d: N parameters used per token, E experts saturating.

    1 / E' = 1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max.
    """

    a: Scalar = constant("", (-0.2, 0.0), "number")
    b: Scalar = constant("", (-0.3, 0.0), "number")
    c: Scalar = constant("", (0.0, 0.03), "number")
    d: Scalar = constant("log10 nats/token", (0.5, 1.5), "number")
    E_start: Scalar = constant("experts", (1.2, 8.0))
    E_max: Scalar = constant("experts", (100.0, 1000.0))

    name = "clark"
    inputs = ("params", "experts")
    source = "Clark et al. (2022) eq. 9"
    linear = ("a", "b", "c", "d")
    linear_in_log = True

    def experts(self, E: Values) -> Values:
        """The saturated expert count E'."""
        return 1 / (1 / (E - 1 + 1 / (1 / self.E_start - 1 / self.E_max)) + 1 / self.E_max)

    def __call__(self, N: Values, E: Values) -> Values:
        xp = namespace(self.a, self.b, self.c, self.d, self.E_start, self.E_max, N, E)
        x, e = xp.log10(N), xp.log10(self.experts(E))
        return xp.exp(math.log(10) * (self.a * x + self.b * e + self.c * x * e + self.d))


def lifetime_flops(N: Values, D_train: Values, D_inference: Values) -> Values:
    """FLOP to train a model and to serve it: 6 N D_train + 2 N D_inference, Sardana et al. (2024) eq. 3."""
    return 6 * N * D_train + 2 * N * D_inference


LAWS: tuple[type[Law], ...] = (
    KaplanN,
    KaplanD,
    KaplanC,
    KaplanCMin,
    KaplanND,
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
    Muennighoff,
    Gadre,
    GadreError,
    Clark,
)


def law_by_name(name: str) -> type[Law]:
    """The law of that name, as `scaling fit` takes it."""
    for law in LAWS:
        if law.name == name:
            return law
    raise InputError(f"no law is called {name!r}; there are {', '.join(law.name for law in LAWS)}")


# --- The runs that a law is about


def _all(table: Table) -> np.ndarray:
    return np.ones(len(table), bool)


def _done(table: Table) -> Rule:
    if not table.has("status"):
        return Rule(_all(table), "")
    return Rule(table["status"] == "done", "diverged or unfinished")


def _one_epoch(table: Table) -> Rule:
    if not table.has("epochs"):
        return Rule(_all(table), "", "that every run saw its data at most once (no column epochs or unique_tokens)")
    return Rule(~(table["epochs"] > 1.001), "more than one epoch: its data are repeated")


def _decayed(table: Table) -> Rule:
    if not table.has("schedule"):
        return Rule(_all(table), "", "that the learning rate decayed over exactly each run (no column schedule)")
    return Rule(~np.isin(table["schedule"], ("constant", "const")), "learning rate not decayed at the end of the run")


def _last_doubling(table: Table) -> np.ndarray:
    """Share of the loss that the last doubling of tokens took off, NaN where it is not known."""
    if not table.has("loss_half"):
        return np.full(len(table), np.nan)
    return table["loss_half"] / table["loss"] - 1


def _stopped_early(table: Table) -> Rule:
    """Trained until the held-out loss stopped falling: its minimum lies before the end, or it had become flat."""
    turned = np.zeros(len(table), bool)
    known = table.has("loss_half")
    if table.has("tokens_at_min") and table.has("tokens"):
        turned, known = table["tokens_at_min"] < table["tokens"], True
    if not known:
        return Rule(
            _all(table),
            "",
            "that every run went on until its held-out loss stopped falling (no column tokens_at_min or loss_half)",
        )
    return Rule(
        turned | (_last_doubling(table) < CONVERGED),
        "stopped while its held-out loss was still falling by over 2 % per doubling",
    )


def _converged(table: Table) -> Rule:
    if not table.has("loss_half"):
        return Rule(_all(table), "", "that doubling the data would hardly change the losses (no column loss_half)")
    return Rule(
        _last_doubling(table) < CONVERGED, "not converged: the last doubling of its tokens changed the loss by over 2 %"
    )


def _most_data_of_its_size(table: Table) -> Rule:
    """Of each size, the runs with the most unique tokens, and of these the longest."""
    keep = _all(table)
    if not table.has("params"):
        return Rule(keep, "")
    for name in ("unique_tokens", "tokens"):
        if table.has(name):
            for size in np.unique(table["params"]):
                same = keep & (table["params"] == size)
                if same.any():
                    keep &= ~same | (table[name] >= np.nanmax(table[name][same]) * (1 - 1e-9))
    return Rule(keep, "a run of the same size saw more data")


def _best_size_for_its_data(table: Table) -> Rule:
    """At each D, the runs of the size with the lowest mean loss: that size does not limit."""
    if not (table.has("params") and table.has("unique_tokens")):
        return Rule(_all(table), "", "that the model was large enough for each data set (no column params)")
    loss = table["loss_min" if table.has("loss_min") else "loss"]
    keep = np.zeros(len(table), bool)
    for tokens in np.unique(table["unique_tokens"]):
        same = table["unique_tokens"] == tokens
        sizes = np.unique(table["params"][same])
        means = [np.nanmean(loss[same & (table["params"] == size)]) for size in sizes]
        keep |= same & (table["params"] == sizes[int(np.nanargmin(means))])
    return Rule(keep, "another size reached a lower loss on the same data")


def _on_the_envelope(table: Table, compute: str) -> Rule:
    """Runs that no run with as little compute beats."""
    if not (table.has(compute) and table.has("loss")):
        return Rule(_all(table), "")
    C, L = table[compute], table["loss"]
    order = np.lexsort((L, C))
    best = np.minimum.accumulate(np.where(np.isfinite(L[order]), L[order], np.inf))
    keep = np.zeros(len(table), bool)
    keep[order] = L[order] <= best
    return Rule(keep, "another run reached a lower loss with no more compute")
