"""The best learning rate from runs at several: a bowl per size, length and batch, and LR(N, D, B) through the bottoms.

Over ln(rate), ln(loss) is close to a parabola near its lowest point, with one side steeper than the other and a cliff
where training begins to diverge. So each bowl is a parabola through the runs near the lowest, with a skew u^3 that all
bowls share: one bowl is too few runs to tell it, and a parabola alone puts the bottom beside the truth. The interval of
the bottom is the profile-likelihood one: all rates at which the slope is not significantly different from 0 (for a
parabola Fieller's), without an end where the runs do not show a bend at all. Losses are in nats per token, N in
non-embedding parameters, D and B in tokens.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from analysis import digits
from analysis.checks import settings
from analysis.intervals import t_quantile
from analysis.jsonable import jsonable
from analysis.table import Table
from scaling.errors import InputError
from scaling.rates import RateLaw, edge

Array = NDArray[np.float64]

WINDOW = 4.0  # a parabola sees the rates within this factor of the best one ...
LIFT = 0.05  # ... whose ln(loss) is less than this above the lowest
SKEWED = 4  # degrees of freedom that the bowls leave together before they are asked for their skew
NEAREST = 4  # rates it sees at least, where there are so many: three fix it and leave nothing to judge it by
LEVEL = 0.95
WRONG = (0.5, 1.0, 2.0)  # times the rule's rate: where the cost of being wrong is shown

NAMES = {"rate": "rate there", "n": "exponent of N", "d": "exponent of D", "b": "exponent of B"}
INTERIOR, FLAT, MAXIMUM, FEW, BESIDE = "interior", "flat", "a maximum", "too few rates", "beside divergence"


@dataclasses.dataclass(frozen=True)
class Bowl:
    """Losses over the learning rate (or the batch) at one size and length, and the bottom of the parabola through them.

    Attributes:
        batch_tokens: NaN where it is the batch that was tried.
        tried: rates, rising; `losses` at them, means of ln(loss) over seeds taken back, NaN where a run diverged.
        window: the lowest and the highest of those that the parabola was drawn through.
        status: "interior"; "at the lowest" or "at the highest" of what was tried; "beside divergence": the lowest loss
            is next to a rate that diverged, and the parabola has its bottom there or beyond; "flat": no bend is seen
            through the noise; "a maximum"; "too few rates".
        best, low, high: the bottom and its interval, 0 to infinity where the runs do not bound it. Where the status is
            not "interior" or "flat", `best` is the one of the lowest loss.
        loss: at the bottom.
        curvature, skew: c and s of ln(loss) = ln(loss at the bottom) + c u^2 + s u^3, u = ln(rate / best).
        error: standard error of ln(best).
        shared: the part of it that comes from the skew, with its sign: it moves all bowls together.
    """

    params: float
    tokens: float
    batch_tokens: float
    tried: tuple[float, ...]
    losses: tuple[float, ...]
    window: tuple[float, float]
    status: str
    best: float
    low: float
    high: float
    loss: float
    curvature: float
    skew: float
    error: float
    shared: float

    @property
    def interior(self) -> bool:
        return self.status == INTERIOR

    def excess(self, rate: float) -> float:
        """Loss at this rate as a share above the bottom; NaN beyond what was tried or beside what diverged.

        From the parabola inside its window, from straight lines between the measured ln(loss) outside it.
        """
        if self.status in (INTERIOR, FLAT) and self.window[0] <= rate <= self.window[1]:
            u = math.log(rate / self.best)
            return math.expm1(self.curvature * u**2 + self.skew * u**3)
        if not self.tried[0] <= rate <= self.tried[-1]:
            return math.nan
        line = np.interp(math.log(rate), np.log(self.tried), np.log(self.losses))
        return math.expm1(float(line) - math.log(self.loss))


@dataclasses.dataclass(frozen=True)
class RateFit:
    """LR(N, D, B) through the bottoms of bowls, with intervals of its constants.

    Attributes:
        intervals: of rate (at N_1, D_1, B_1) and of the exponents that the bowls identify.
        scatter: standard deviation of ln(best rate) about the law beyond the errors of the bowls.
        degrees: bowls minus constants.
    """

    law: RateLaw
    intervals: dict[str, tuple[float, float]]
    scatter: float
    degrees: int
    bowls: int

    @property
    def formula(self) -> str:
        """The law with its numbers; exponents follow a caret."""
        parts = [digits.plain(self.law.rate)]
        for name, letter in (("n", "N"), ("d", "D"), ("b", "B")):
            if name in self.intervals:
                value, _ = digits.constant(getattr(self.law, name), *self.intervals[name])
                parts.append(f"({letter} / {digits.short(getattr(self.law, f'{letter}_1'))})^{value}")
        return f"LR = {' '.join(parts)}"

    def sentence(self) -> str:
        ends = "; ".join(
            f"{NAMES[name]} {digits.constant(getattr(self.law, name), *ends)[1]}"
            for name, ends in self.intervals.items()
        )
        return f"{digits.percent(LEVEL)} intervals: {ends}; from {self.bowls} bowls."


class Cost(NamedTuple):
    """What a factor away from the rule's rate costs at one bowl."""

    factor: float  # times the rate of the rule
    rate: float
    excess: float  # share of the loss above the bottom, NaN where it was not tried
    tokens: float  # share of tokens more that reach the same loss as the best rate, NaN where their worth is not known


@dataclasses.dataclass(frozen=True)
class Tuning:
    """All bowls of a table, the law through their bottoms, and the best batches where several were tried.

    Attributes:
        sigma: scatter of ln(loss) of single runs about the bowls, pooled; seed noise and misfit together.
        degrees: of sigma.
        law: None where the bowls identify none; `why` says it.
        batches: bowls over the batch, each of the losses at the best rates.
        mixed: sizes, lengths and batches at which runs of one rate differ in more than their seed.
    """

    bowls: tuple[Bowl, ...]
    sigma: float
    degrees: float
    law: RateFit | None
    why: str
    batches: tuple[Bowl, ...] = ()
    mixed: int = 0

    @property
    def edges(self) -> tuple[Bowl, ...]:
        """The bowls whose lowest loss lies at an end of what was tried."""
        return tuple(b for b in self.bowls if b.status.startswith("at the"))

    def costs(self, bowl: Bowl) -> tuple[Cost, ...]:
        """What half the rule's rate, the rate itself and its double cost here; the bowl's own best where no law is."""
        rule = self.law.law(bowl.params, bowl.tokens, bowl.batch_tokens) if self.law else bowl.best
        worth = self._worth_of_tokens(bowl)
        found = []
        for factor in WRONG:
            excess = bowl.excess(factor * rule)
            tokens = math.expm1(math.log1p(excess) / worth) if worth > 0 else math.nan
            found.append(Cost(factor, factor * rule, excess, tokens))
        return tuple(found)

    def _worth_of_tokens(self, bowl: Bowl) -> float:
        """-d ln(loss) / d ln(D) at this size and batch at the best rates, between the neighbouring lengths."""
        same = [b for b in self.bowls if (b.params, b.batch_tokens) == (bowl.params, bowl.batch_tokens)]
        near = sorted(same, key=lambda b: abs(math.log(b.tokens / bowl.tokens)))[:2]
        if len(near) < 2:
            return math.nan
        a, b = near
        return -math.log(a.loss / b.loss) / math.log(a.tokens / b.tokens)

    def warnings(self) -> Iterator[str]:
        if self.mixed:
            yield (
                f"runs of one size, length, batch and rate differ in more than their seed at {self.mixed} "
                f"{digits.plural(self.mixed, 'bowl', 'bowls')}: a bowl through several settings says nothing of either"
            )
        for end in ("lowest", "highest"):
            there = [b for b in self.edges if b.status == f"at the {end}"]
            if there:
                yield (
                    f"the best rate is the {end} that was tried at {_places(there)}: "
                    f"it may lie {'below' if end == 'lowest' else 'above'}, and the law leaves these out"
                )
        for status, text in (
            (FLAT, "no bend is seen through the noise"),
            (MAXIMUM, "the losses bend the wrong way"),
            (FEW, f"fewer than {NEAREST - 1} rates that did not diverge"),
            (BESIDE, "the best rate is next to one that diverged"),
        ):
            there = [b for b in self.bowls if b.status == status]
            if there:
                yield f"{text} at {_places(there)}: the law leaves these out"

    def law_lines(self) -> tuple[str, ...]:
        """The law and its intervals, or why there is none."""
        return (self.law.formula, self.law.sentence()) if self.law else (f"No law of rates: {self.why}.",)

    def text(self) -> str:
        """The tuning for a terminal."""
        form = "{:>8} {:>8} {:>7} {:>10} {:>20} {:>8} {:>9} {:>9} {:>9}  {}"
        head = ("N", "D", "B", "best rate", f"{digits.percent(LEVEL)} interval", "loss", "rule / 2", "rule", "rule x 2")
        lines = [form.format(*head, "")]
        for b in self.bowls:
            paid = (digits.percent(cost.excess, sign=True) for cost in self.costs(b))
            size = (digits.short(b.params), digits.short(b.tokens), digits.short(b.batch_tokens))
            ends = f"{_end(b.low)} to {_end(b.high)}" if b.interior else "–"
            note = "" if b.interior else b.status
            lines.append(form.format(*size, digits.plain(b.best), ends, f"{b.loss:.4f}", *paid, note).rstrip())
        if math.isfinite(self.sigma):
            lines += ["", f"Scatter of single runs about the bowls: {digits.percent(self.sigma)} of the loss."]
        lines += ["", *(self.law_lines())]
        for b in self.batches:
            ends = f" ({_end(b.low)} to {_end(b.high)})" if b.interior else f", {b.status}"
            where = f"N = {digits.short(b.params)}, D = {digits.short(b.tokens)}"
            lines.append(f"Best batch at {where}: {digits.short(b.best)} tokens{ends}.")
        lines += [f"Warning: {warning}." for warning in self.warnings()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: `law` holds the constants that `scaling.rates.RateLaw` reads."""
        said = {
            "law": dataclasses.asdict(self.law.law) if self.law else None,
            "intervals": self.law.intervals if self.law else {},
            "scatter": self.law.scatter if self.law else None,
            "degrees": self.law.degrees if self.law else None,
            "why": self.why,
            "level": LEVEL,
            "sigma": self.sigma,
            "sigma_degrees": self.degrees,
            "bowls": [
                dataclasses.asdict(b) | {"costs": [cost._asdict() for cost in self.costs(b)]} for b in self.bowls
            ],
            "batches": [dataclasses.asdict(b) for b in self.batches],
            "warnings": list(self.warnings()),
        }
        return jsonable(said)

    def to_json(self, path: str | Path | None = None) -> str:
        """JSON text, written to `path` where one is given; `scaling.rates.RateLaw.from_json` reads the law from it."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text


def tune(table: Table, *, sigma: float | None = None) -> Tuning:
    """The best learning rate at each size, length and batch, and the law through them.

    Args:
        table: columns params, tokens, learning_rate and loss, batch_tokens and status where known; three rates or more
            somewhere. Runs of a size, length, batch and rate should differ in their seed alone.
        sigma: standard deviation of ln(loss) of a single run, where it is known from elsewhere; None takes the scatter
            about the bowls.

    Raises:
        InputError: a column is missing, or nowhere were three rates tried.
    """
    if sigma is not None and not 0 < sigma < 1:
        raise InputError(f"sigma={sigma:g}: wanted the seed noise as a share of the loss, such as 0.003")
    table = _ended(table)
    params, tokens, rate = table.positive("params", "tokens", "learning_rate")
    batch = table["batch_tokens"] if table.has("batch_tokens") else np.full(len(table), np.nan)
    loss = _losses(table)
    cell = settings(table)
    drafts, mixed = [], 0
    for N, D, B in dict.fromkeys(zip(params, tokens, np.nan_to_num(batch), strict=True)):
        rows = (params == N) & (tokens == D) & (np.nan_to_num(batch) == B)
        if len(np.unique(rate[rows])) >= NEAREST - 1:
            drafts.append((float(N), float(D), float(B) or math.nan, _draft(np.log(rate[rows]), np.log(loss[rows]))))
            mixed += len(np.unique(cell[rows])) > 1
    if not drafts:
        raise InputError(
            f"{table.source}: no size was trained at {NEAREST - 1} learning rates; "
            "scaling study run configs/learning_rate.py makes such runs"
        )
    drafts.sort(key=lambda d: d[:3])
    noise = _noise([d for *_, d in drafts], sigma)
    bowls = tuple(_bowl(N, D, B, draft, noise) for N, D, B, draft in drafts)
    law, why = _law(bowls)
    return Tuning(bowls, noise.sigma, noise.degrees, law, why, tuple(_batches(bowls, noise)), mixed)


# --- one bowl


class _Draft(NamedTuple):
    """A parabola y = c_0 + c_1 u + c_2 u^2, u = x - centre, before noise and skew are known."""

    x: Array  # all rates tried, ln, rising
    y: Array  # mean ln(loss) at each, nan where a run diverged
    centre: float
    window: tuple[float, float]  # ln
    c: Array  # 3, nan where fewer than three rates are left
    inverse: Array  # 3 3, of the normal equations: the covariance of c over sigma^2
    cube: Array  # 3, the parabola through u^3
    rest: tuple[Array, Array]  # what the parabolas leave of y and of u^3, one entry per run each
    degrees: int


class _Noise(NamedTuple):
    """What all bowls share: the scatter of a run about them, and their skew with its standard error."""

    sigma: float
    degrees: float
    skew: float
    skew_error: float


def _draft(x: Array, y: Array) -> _Draft:
    """The parabola through the runs near the lowest. x, y: ln(rate) and ln(loss) of each run, NaN if it diverged."""
    at = np.unique(x)
    mean = np.array([y[x == v].mean() for v in at])  # nan if one of the seeds diverged
    finite = np.isfinite(mean)
    if finite.sum() < 3:
        unknown, none = np.full(3, np.nan), np.zeros(0)
        return _Draft(
            at, mean, math.nan, (math.nan, math.nan), unknown, np.full((3, 3), np.nan), unknown, (none, none), 0
        )
    lowest = int(np.nanargmin(mean))
    centre = float(at[lowest])
    near = finite & (np.abs(at - centre) <= math.log(WINDOW) * (1 + 1e-9)) & (mean <= mean[lowest] + LIFT)
    if near.sum() < NEAREST:
        away = np.where(finite, np.abs(at - centre), np.inf)
        near = finite & (away <= np.sort(away)[min(NEAREST, finite.sum()) - 1] + 1e-9)
    runs = np.isin(x, at[near])
    u = x[runs] - centre
    basis = np.vander(u, 3, increasing=True)
    inverse = np.asarray(np.linalg.inv(basis.T @ basis), np.float64)
    c, cube = inverse @ basis.T @ y[runs], inverse @ basis.T @ u**3
    window = (float(at[near][0]), float(at[near][-1]))
    return _Draft(at, mean, centre, window, c, inverse, cube, (y[runs] - basis @ c, u**3 - basis @ cube), len(u) - 3)


def _noise(drafts: Sequence[_Draft], sigma: float | None) -> _Noise:
    """Scatter and skew from what the parabolas leave, all bowls together; a scatter that is known is taken as it is."""
    bent = [d for d in drafts if d.c[2] > 0]
    degrees = sum(d.degrees for d in bent)
    y, cube = (np.concatenate([np.zeros(0), *(d.rest[k] for d in bent)]) for k in (0, 1))
    skew, weight = 0.0, float(cube @ cube)
    if degrees >= SKEWED and weight > 0:
        skew, degrees = float(cube @ y) / weight, degrees - 1
        y = y - skew * cube
    if sigma is None:
        sigma, known = (math.sqrt(float(y @ y) / degrees) if degrees else math.nan), float(degrees)
    else:
        known = math.inf
    return _Noise(sigma, known, skew, sigma / math.sqrt(weight) if skew else 0.0)


def _bowl(N: float, D: float, B: float, draft: _Draft, noise: _Noise) -> Bowl:
    tried, losses = tuple(np.exp(draft.x).tolist()), tuple(np.exp(draft.y).tolist())
    window = (math.exp(draft.window[0]), math.exp(draft.window[1]))
    lowest = int(np.nanargmin(draft.y)) if np.isfinite(draft.y).any() else 0

    def doubtful(status: str) -> Bowl:
        ends = (0.0, math.inf)
        bottom = (losses[lowest], *(math.nan,) * 4)
        return Bowl(N, D, B, tried, losses, window, status, tried[lowest], *ends, *bottom)

    end = edge(tried, losses)
    if end:
        return doubtful(f"at the {end}")
    if not math.isfinite(draft.c[2]):
        return doubtful(FEW)
    s = noise.skew
    c = draft.c - s * draft.cube
    root = c[1] ** 2 if not s else c[2] ** 2 - 3 * s * c[1]  # of the slope c_1 + 2 c_2 v + 3 s v^2
    if c[2] <= 0 or root < 0:
        return doubtful(MAXIMUM)
    v = -c[1] / (c[2] + math.sqrt(c[2] ** 2 - 3 * s * c[1]))
    diverged = draft.x[(~np.isfinite(draft.y)) & (draft.x > draft.x[lowest])]
    ceiling = float(diverged.min()) if len(diverged) else math.inf  # the best rate is below
    if not draft.x[0] < draft.centre + v < min(ceiling, float(draft.x[-1])):
        return doubtful(BESIDE if len(diverged) else f"at the {'lowest' if v < 0 else 'highest'}")
    # The slope at v is a sum of c_1, c_2 and the skew, whose errors go together.
    u, V = noise.skew_error**2, draft.inverse * noise.sigma**2
    joint = np.block([[V + u * np.outer(draft.cube, draft.cube), -u * draft.cube[:, None]], [-u * draft.cube, u]])
    low, high = _flat_slopes(np.append(c, s), joint, float(v), draft, noise.degrees)
    curvature = c[2] + 3 * s * v
    slope = np.array([0.0, 1.0, 2 * v, 3 * v**2])
    shared = -noise.skew_error * float(slope @ np.append(-draft.cube, 1.0)) / (2 * curvature)
    error = math.sqrt(max(float(slope @ joint @ slope), 0.0)) / (2 * curvature)
    bottom = c[0] + c[1] * v + c[2] * v**2 + s * v**3
    return Bowl(
        *(N, D, B, tried, losses, window),
        status=INTERIOR if (math.isfinite(low) and math.isfinite(high)) or not math.isfinite(noise.sigma) else FLAT,
        best=math.exp(draft.centre + v),
        low=math.exp(draft.centre + low),
        high=min(math.exp(draft.centre + high), math.exp(ceiling)),
        loss=math.exp(bottom),
        curvature=float(curvature),
        skew=s,
        error=error,
        shared=shared,
    )


def _flat_slopes(c: Array, V: Array, v: float, draft: _Draft, degrees: float) -> tuple[float, float]:
    """The v around the bottom at which the slope is not significantly different from 0; an end may be infinite.

    Looked for as far from the runs as these reach: beyond that a cubic says nothing.
    """
    if not np.isfinite(V).all():
        return -math.inf, math.inf
    t = float(t_quantile(LEVEL, np.array(float(min(degrees, 1e9)))))
    reach = draft.x[-1] - draft.x[0]

    def doubt(w: Array) -> Array:
        g = np.stack([np.zeros_like(w), np.ones_like(w), 2 * w, 3 * w**2])  # 4 w
        return (c @ g) ** 2 - t**2 * np.einsum("iw,ij,jw->w", g, V, g)

    ends = []
    for side in (-1, 1):
        steps = v + side * np.linspace(0, reach, 400)
        out = np.flatnonzero(doubt(steps) > 0)
        ends.append(float(steps[out[0]]) if len(out) else side * math.inf)
    return ends[0], ends[1]


# --- the law


def _law(bowls: Sequence[Bowl]) -> tuple[RateFit | None, str]:
    """ln(best rate) on ln N, ln D and ln B, weighed by the errors of the bowls and the scatter about the law."""
    kept = [b for b in bowls if b.interior and math.isfinite(b.error)]
    names = [
        name
        for name, column in (("n", "params"), ("d", "tokens"), ("b", "batch_tokens"))
        if len({getattr(b, column) for b in kept if math.isfinite(getattr(b, column))}) > 1
    ]
    if len(kept) < 3 or not names:
        what = digits.plural(len(kept), "bowl has", "bowls have")
        return None, f"{len(kept)} {what} a bottom between the rates tried; wanted 3 or more, of different sizes"
    columns = {"n": "params", "d": "tokens", "b": "batch_tokens"}
    logs = {name: np.log([getattr(b, column) for b in kept]) for name, column in columns.items()}
    middle = {name: float(values.mean()) for name, values in logs.items()}
    X = np.column_stack([np.ones(len(kept)), *(logs[name] - middle[name] for name in names)])
    degrees = len(kept) - X.shape[1]
    scaled = X / np.linalg.norm(X, axis=0)
    if degrees < 1 or np.linalg.svd(scaled, compute_uv=False)[-1] < 1e-2:
        return None, f"{len(kept)} bowls do not tell the {X.shape[1]} constants apart; add sizes or lengths"
    y = np.log([b.best for b in kept])
    error, shared = (np.array([getattr(b, name) for b in kept]) for name in ("error", "shared"))
    own = np.maximum(error**2 - shared**2, 0.0)

    def solve(tau: float) -> tuple[Array, Array, float]:
        w = 1 / np.maximum(own + tau**2, 1e-18)
        covariance = np.linalg.inv((X.T * w) @ X)
        beta = covariance @ (X.T * w) @ y
        moved = covariance @ (X.T * w) @ shared
        return beta, covariance + np.outer(moved, moved), float(np.sum(w * (y - X @ beta) ** 2))

    # Paule & Mandel (1982): the scatter that makes the weighted squares what their degrees of freedom expect.
    tau = 0.0
    if solve(0.0)[2] > degrees:
        root: Any = optimize.brentq(lambda s: solve(s)[2] - degrees, 0.0, 10 * float(np.ptp(y)) + 1.0)
        tau = float(root)
    beta, covariance, _ = solve(tau)
    half = float(t_quantile(LEVEL, np.array(float(degrees)))) * np.sqrt(np.diag(covariance))
    exponents = dict(zip(names, beta[1:].tolist(), strict=True))
    law = RateLaw(
        rate=math.exp(beta[0]),
        N_1=math.exp(middle["n"]),
        D_1=math.exp(middle["d"]),
        B_1=math.exp(middle["b"]) if math.isfinite(middle["b"]) else 1.0,
        **({"n": 0.0} | exponents),
    )
    intervals = {"rate": (math.exp(beta[0] - half[0]), math.exp(beta[0] + half[0]))}
    intervals |= {name: (beta[k] - half[k], beta[k] + half[k]) for k, name in enumerate(names, 1)}
    return RateFit(law, {k: (float(a), float(b)) for k, (a, b) in intervals.items()}, tau, degrees, len(kept)), ""


def _batches(bowls: Sequence[Bowl], noise: _Noise) -> Iterator[Bowl]:
    """Bowls over the batch: of each size and length tried at three batches or more, the losses at their best rates."""
    for N, D in dict.fromkeys((b.params, b.tokens) for b in bowls):
        same = [b for b in bowls if (b.params, b.tokens) == (N, D) and math.isfinite(b.batch_tokens)]
        if len(same) >= NEAREST - 1:
            draft = _draft(np.log([b.batch_tokens for b in same]), np.log([b.loss for b in same]))
            yield _bowl(N, D, math.nan, draft, noise._replace(skew=0.0, skew_error=0.0))  # that of rates is another


# --- words and rows


def _ended(table: Table) -> Table:
    return table.where(table["status"] != "running", "not finished yet") if "status" in table else table


def _losses(table: Table) -> Array:
    """NaN where a run diverged or has none."""
    loss = np.where(table["loss"] > 0, table["loss"], np.nan)
    return np.where(table["status"] == "diverged", np.nan, loss) if "status" in table else loss


def _places(bowls: Sequence[Bowl]) -> str:
    return "; ".join(f"N = {digits.short(b.params)}, D = {digits.short(b.tokens)}" for b in bowls)


def _end(x: float) -> str:
    return digits.plain(x, 2)
