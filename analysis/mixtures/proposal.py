"""The mixture with the lowest loss by a fitted law, within so many passes over each part, and the price of being wrong.

Convex for the exponential law, nearly always one valley for the others; still descents begin from many mixtures.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from analysis.confidence import LEVEL
from analysis.digits import percent, short
from analysis.fit import solver
from analysis.fit.solver import Array
from analysis.jsonable import jsonable
from analysis.mixtures import Fitted, MixtureFit, descent, estimate, laws
from analysis.mixtures.estimate import Interval
from analysis.mixtures.laws import MixtureLaw
from analysis.mixtures.runs import SAME
from scaling.errors import InputError

MAX_EPOCHS = 4.0  # Muennighoff et al. (2023): up to four passes over a text are worth nearly as much as new text
STARTS = 6  # of the fitted mixtures and by chance, beside uniform, proportional and each part alone
SMOOTH = 1e-3  # nats per token: regrets below are none
BEYOND = 0.01  # of a share, by which a mixture leaves the runs
LEVELS = 3  # values of N or D from which a power of it and a floor are told apart
SOURCE = re.compile(r"python|\w+:.*|\w+\(.*\)", re.DOTALL)  # of a part that is one, as those of a study are
SHOWN = 0.0005  # a smaller share is shown as none

Gap = tuple[float, float, float]  # of two losses, with both ends of its interval


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture and its loss by the law.

    Attributes:
        higher: its loss over that of the proposal, with both ends of the interval; None of the proposal itself.
        too_often: parts that it would pass over more often than is allowed, and how often.
    """

    name: str
    shares: Array
    loss: Interval
    higher: Gap | None = None
    too_often: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Rival:
    """What another law that may be true says of the proposal.

    Attributes:
        loss: there.
        regret: over the lowest loss by that law.
        shares: of its own best mixture.
    """

    law: str
    loss: float
    regret: float
    shares: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Proposal:
    """The mixture with the lowest target loss, beside what else one might take.

    Attributes:
        parts: names of the parts.
        target: weight of each domain in the loss.
        law, verdict: by which law, and which are admissible, in words.
        best: the mixture; share_ends: both ends of each share's interval, (parts, 2).
        unsure: by how much its loss may exceed that of the best mixture, the law being right, at 95 %.
        epochs: passes over each part, by name; empty where nothing is known of what is available.
        others: mixtures to compare with.
        rivals: the other admissible laws.
        doubts: what else to know, first of all where it lies beyond the runs.
    """

    parts: tuple[str, ...]
    target: Mapping[str, float]
    law: str
    verdict: str
    best: Mixture
    share_ends: Array
    unsure: float
    tokens: float | None
    max_epochs: float
    epochs: Mapping[str, float]
    others: tuple[Mixture, ...]
    rivals: tuple[Rival, ...]
    doubts: tuple[str, ...]

    def text(self) -> str:
        target = " + ".join(d if w == 1 else f"{w:.3g} {d}" for d, w in self.target.items())
        b = self.best.loss
        lines = [
            f"the mixture with the lowest loss on {target}, by the {self.law} law ({self.verdict})"
            + (f", for D = {short(self.tokens)}" if self.tokens else ""),
        ]
        wide = max(map(len, self.parts))
        for k, part in enumerate(self.parts):
            low, high = self.share_ends[k]
            passes = ""
            if part in self.epochs:
                full = " (all that is allowed)" if self.epochs[part] > self.max_epochs * (1 - 1e-3) else ""
                passes = f", {self.epochs[part]:.2g} passes{full}"
            share = self.best.shares[k]
            lines.append(f"  {part:<{wide}}  {_share(share)} ({_share(low)} to {_share(high)}){passes}")
        if self._of_sources:
            lines.append(f"as a source: {self._told(self.best.shares)}")
        lines += [
            f"loss {b.value:.3f}: the law {b.low:.3f} to {b.high:.3f}, one run {b.run_low:.3f} to {b.run_high:.3f} "
            f"({percent(LEVEL)})",
            f"if the law is right, another mixture is better by at most {self.unsure:.3f}",
        ]
        for rival in self.rivals:
            lines.append(
                f"if the {rival.law} law is true: {rival.loss:.3f} there, {rival.regret:.3f} above its own best, "
                f"{self._told(rival.shares)}"
            )
        if not self.rivals:
            lines.append("no other law is admissible by these runs")
        lines.append("against")
        for other in self.others:
            value, low, high = other.higher or (math.nan,) * 3
            often = "; ".join(f"{n:.3g} passes over {part}" for part, n in other.too_often.items())
            lines.append(
                f"  {other.name}: {other.loss.value:.3f}, {_higher(value)} ({low:+.3f} to {high:+.3f}), "
                f"{self._told(other.shares)}" + (f"; not allowed, {often}" if often else "")
            )
        return "\n".join([*lines, *(f"note: {doubt}" for doubt in self.doubts)])

    @property
    def _of_sources(self) -> bool:
        return all(map(SOURCE.fullmatch, self.parts))

    def _told(self, shares: Array) -> str:
        """A mixture in words; where its parts are sources, as the source that is typed to train on it."""
        if self._of_sources:
            n = np.round(shares * 1000).astype(int)
            n[np.argmax(n)] += 1000 - n.sum()
            terms = [f"{k / 1000:g}*{part}" for part, k in zip(self.parts, n, strict=True) if k]
            return f"mix:{'+'.join(terms)}" if len(terms) > 1 else self.parts[int(np.argmax(n))]
        there = [(part, s) for part, s in zip(self.parts, shares, strict=True) if s >= SHOWN]
        return " + ".join(f"{s:.3f} {part}" for part, s in there)

    def to_dict(self) -> dict[str, Any]:
        def mixture(m: Mixture) -> dict[str, Any]:
            said: dict[str, Any] = {"shares": self._named(m.shares), "loss": dataclasses.asdict(m.loss)}
            if m.higher:
                said["higher"] = dict(zip(("value", "low", "high"), m.higher, strict=True))
            return said | ({"passes_beyond": dict(m.too_often)} if m.too_often else {})

        return jsonable(
            {
                "target": dict(self.target),
                "law": self.law,
                "verdict": self.verdict,
                "level": LEVEL,
                "mixture": mixture(self.best),
                "shares": {
                    part: {"low": float(low), "high": float(high)}
                    for part, (low, high) in zip(self.parts, self.share_ends, strict=True)
                },
                "better_by_at_most": self.unsure,
                "tokens": self.tokens,
                "max_epochs": self.max_epochs,
                "epochs": dict(self.epochs),
                "others": {m.name: mixture(m) for m in self.others},
                "other_laws": {
                    r.law: {"loss": r.loss, "regret": r.regret, "best": self._named(r.shares)} for r in self.rivals
                },
                "doubts": list(self.doubts),
            }
        )

    def _named(self, shares: Array) -> dict[str, float]:
        return dict(zip(self.parts, map(float, shares), strict=True))


def _share(x: float) -> str:
    return f"{x if x >= SHOWN else 0:.3f}"


def _higher(value: float) -> str:
    return f"{abs(value):.3f} {'higher' if value >= 0 else 'lower'}"


def propose(
    fit: MixtureFit,
    target: Mapping[str, float],
    *,
    tokens: float | None = None,
    params: float | None = None,
    available: Mapping[str, float] | None = None,
    max_epochs: float = MAX_EPOCHS,
    law: str | None = None,
    draws: int = estimate.DRAWS,
    seed: int = 0,
) -> Proposal:
    """The mixture with the lowest target loss by the law that is believed.

    Args:
        target: weights of domains, which are divided by their sum.
        tokens, params: D and N of the training that is planned; the largest of the runs where they are left out.
        available: tokens that there are of each part; none for no bound.
        max_epochs: passes over a part, at most.
        law: in place of the one that is believed.

    Raises:
        InputError: another domain, part or law, numbers that cannot be, or more tokens than all passes give.
    """
    runs = fit.runs
    weights = _weights(fit, target)
    _check_above(max_epochs=max_epochs, tokens=tokens, params=params)
    asked = {"params": params, "tokens": tokens}
    at = {s: float(asked[s] or x.max()) for s, x in runs.scales.items()}
    tokens = tokens if tokens is not None else at.get("tokens")
    top = _most(runs.parts, tokens, available, max_epochs)
    verdict = fit.verdict(weights)
    name = law or verdict.laws[0]
    fitted = fit.of(name)
    chosen = np.flatnonzero(weights)
    places = _places(fit, top, available)
    once = _once(runs.parts, runs.once, tokens, available)
    loss = _Loss.of(fit, fitted, weights, at, once)
    best = lowest(loss, top, places)
    rivals, others = [], {}
    if available is not None:
        others["proportional"] = _of_available(runs.parts, available)
    others["uniform"] = np.full(len(runs.parts), 1 / len(runs.parts))
    if found := _best_run(fit, weights, top):
        others[f"best of the runs, measured {found[0]:.3f}"] = found[1]
    worst = _Regret([(loss, float(loss(best[None])[0]))])
    for other in verdict.laws:
        if other != name:
            rival = _Loss.of(fit, fit.of(other), weights, at, once)
            own = lowest(rival, top, np.vstack([best, places]))
            at_best, least = map(float, rival(np.stack([best, own])))
            rivals.append(Rival(other, at_best, max(at_best - least, 0.0), own))
            worst.laws.append((rival, least))
    if any(rival.regret > SMOOTH for rival in rivals):
        hedge = lowest(worst, top, np.vstack([best, *(r.shares for r in rivals), *places]))
        others[f"least regret, {worst.sharp(hedge):.3f} at most whichever law is true"] = hedge

    drawn = _drawn(fit, fitted, loss, chosen, draws, seed)
    M, p = runs.mixtures, loss.theta.shape[1]
    every = np.vstack([best, *others.values()])
    made, gaps = _told(fit, loss, drawn, every, weights)
    compared = []
    for label, shares, its_loss, gap in zip(others, every[1:], made[1:], gaps, strict=True):
        passes = _passes(runs.parts, shares, tokens, available)
        often = {part: n for part, n in passes.items() if n > max_epochs * 1.001}
        compared.append(Mixture(label, shares, its_loss, gap, often))
    under = drawn(best[None])[:, 0]
    own, least = descent.descend(drawn, top, np.tile(best, (len(under), 1)))
    regrets = under - np.minimum(least, under)
    share_ends = np.array([np.clip(estimate.ends(float(b), own[:, k], M, p), 0.0, top[k]) for k, b in enumerate(best)])
    told = verdict.text() if name in verdict.laws else f"as asked; believed: {verdict.text()}"
    return Proposal(
        runs.parts,
        {runs.domains[i]: float(weights[i]) for i in chosen},
        name,
        f"believed: {told}" if name == verdict.best else told,
        Mixture("proposal", best, made[0]),
        share_ends,
        float(np.quantile(np.maximum(regrets, 0.0), LEVEL)),
        tokens,
        max_epochs,
        _passes(runs.parts, best, tokens, available),
        tuple(compared),
        tuple(rivals),
        (
            *_untold(fit, weights, made[0]),
            *_doubts(fit, fitted, best, at, tokens, params, available),
            *_worn(fit, fitted, _passes(runs.parts, best, tokens, available)),
        ),
    )


def predict(
    fit: MixtureFit,
    target: Mapping[str, float],
    shares: Array,
    *,
    law: str | None = None,
    draws: int = estimate.DRAWS,
    seed: int = 0,
) -> tuple[list[Interval], list[Gap]]:
    """The target losses of mixtures (m, parts) at the N and D of the runs, and how much higher each is than the first.

    Args:
        target, law, draws, seed: as of `propose`.

    Raises:
        InputError: another domain or law.
    """
    weights = _weights(fit, target)
    fitted = fit.of(law or fit.verdict(weights).laws[0])
    loss = _Loss.of(fit, fitted, weights, {s: float(x.max()) for s, x in fit.runs.scales.items()}, fit.runs.once)
    return _told(fit, loss, _drawn(fit, fitted, loss, np.flatnonzero(weights), draws, seed), shares, weights)


def _drawn(fit: MixtureFit, fitted: Fitted, loss: "_Loss", chosen: NDArray[np.intp], draws: int, seed: int) -> "_Loss":
    """The loss by constants that are refitted to mixtures drawn again."""
    runs = fit.runs
    some = dataclasses.replace(runs, domains=tuple(runs.domains[i] for i in chosen), losses=runs.losses[:, chosen])
    return loss.with_constants(estimate.redraw(fitted.law, loss.theta, some, draws, seed))


def _told(
    fit: MixtureFit, loss: "_Loss", drawn: "_Loss", shares: Array, weights: Array
) -> tuple[list[Interval], list[Gap]]:
    """The losses of mixtures with their intervals, and by how much those after the first are higher."""
    M, p, sigma = fit.runs.mixtures, loss.theta.shape[1], fit.sigma(loss.law.name, weights)
    values, under = loss(shares), drawn(shares)  # m, draws m
    made = [estimate.interval(float(v), u, sigma, M, p) for v, u in zip(values, under.T, strict=True)]
    gaps = []
    for k in range(1, len(values)):
        gap = float(values[k] - values[0])
        gaps.append((gap, *estimate.ends(gap, under[:, k] - under[:, 0], M, p)))
    return made, gaps


def _once(
    parts: tuple[str, ...],
    once: tuple[float, ...],
    tokens: float | None,
    available: Mapping[str, float] | None,
) -> tuple[float, ...]:
    """The share at which each part that repeats in the runs is read once in the training that is planned."""
    if available is None or not tokens:
        return once
    return tuple(
        available[part] / tokens if math.isfinite(share) else share for part, share in zip(parts, once, strict=True)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Loss:
    """The target loss by a law, over mixtures (m, parts), at one N and D.

    Attributes:
        theta: constants of each domain, (domains, p), or as drawn, (domains, draws, p); weights: of them.
        own: which part each domain's own is, where the law takes that alone.
        scales: N and D, as far as the law takes them.
    """

    law: type[MixtureLaw]
    theta: Array
    weights: Array
    own: tuple[int, ...] | None
    scales: tuple[float, ...]

    @classmethod
    def of(
        cls, fit: MixtureFit, fitted: Fitted, weights: Array, at: Mapping[str, float], once: tuple[float, ...]
    ) -> Self:
        chosen = np.flatnonzero(weights)
        own = tuple(fit.runs.parts.index(fit.runs.domains[i]) for i in chosen) if fitted.law.own else None
        scales = tuple(at[s] for s in fitted.law.scales)
        law = laws.repeats(len(once), once) if fitted.law.once else fitted.law
        return cls(law, fitted.theta[chosen], weights[chosen], own, scales)

    def with_constants(self, theta: Array) -> Self:
        return dataclasses.replace(self, theta=theta)

    def __call__(self, shares: Array) -> Array:
        """Of mixtures (..., m, parts), (..., m); of constants drawn so often, (draws, m)."""
        total = np.zeros(1)
        for k, (weight, t) in enumerate(zip(self.weights, self.theta, strict=True)):
            taken = np.moveaxis(shares, -1, 0)
            taken = taken if self.own is None else np.maximum(taken[[self.own[k]]], SAME)
            constants = solver.to_constants(self.law, t)
            law = self.law(*(constants[..., c, None] for c in range(constants.shape[-1])))
            total = total + weight * np.asarray(law(*taken, *self.scales), np.float64)
        return total


@dataclasses.dataclass(frozen=True, eq=False)
class _Regret:
    """The largest loss of mixtures (..., m, parts) over the least of a law, of several laws; rounded corners."""

    laws: list[tuple[_Loss, float]]

    def __call__(self, shares: Array) -> Array:
        return SMOOTH * special.logsumexp(self._over(shares) / SMOOTH, axis=0)

    def sharp(self, r: Array) -> float:
        return float(self._over(r[None]).max())

    def _over(self, shares: Array) -> Array:
        return np.stack([loss(shares) - least for loss, least in self.laws])


def _best_run(fit: MixtureFit, weights: Array, top: Array) -> tuple[float, Array] | None:
    """The lowest loss measured at the largest N and D, and its mixture, of those that are allowed."""
    runs = fit.runs
    free = np.all(runs.shares <= top + SAME, axis=1)
    for x in runs.scales.values():
        free &= np.abs(np.log(x / x.max())) < 0.01
    if not free.any():
        return None
    measured = runs.losses @ weights
    i = int(np.flatnonzero(free)[measured[free].argmin()])
    return float(measured[i]), runs.shares[i]


def _passes(
    parts: tuple[str, ...], shares: Array, tokens: float | None, available: Mapping[str, float] | None
) -> dict[str, float]:
    """Over each part; empty where nothing is known of what is available."""
    if available is None or not tokens:
        return {}
    return {part: float(r * tokens / available[part]) for part, r in zip(parts, shares, strict=True)}


def lowest(loss: Callable[[Array], Array], top: Array, starts: Array) -> Array:
    """The mixture with the lowest loss under shares of `top` at most, from all starts, (parts,).

    Args:
        loss: of many mixtures at once, (..., m, parts) -> (..., m).
        starts: mixtures that are allowed, (s, parts).
    """
    found, value = descent.descend(loss, top, starts)
    every = np.vstack([starts, found])
    return every[int(np.concatenate([loss(starts), value]).argmin())]


def allowed(shares: Array, top: Array) -> Array:
    """The mixture nearest to these shares that keeps below `top` and adds up to 1: all moved by one amount."""
    low, high = -2.0, 2.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(shares + middle, 0, top).sum() < 1 else (low, middle)
    moved = np.clip(shares + high, 0, top.clip(max=1.0))
    return np.where(moved < SAME, 0.0, moved)


def _places(fit: MixtureFit, top: Array, available: Mapping[str, float] | None) -> Array:
    """Allowed mixtures from which descents begin."""
    parts = len(top)
    rng = np.random.default_rng(0)
    some = rng.permutation(len(fit.runs.shares))[:STARTS]
    first = [np.full(parts, 1 / parts), *([] if available is None else [_of_available(fit.runs.parts, available)])]
    return np.array([
        allowed(r, top)
        for r in (*first, *np.eye(parts), *fit.runs.shares[some], *rng.dirichlet(np.ones(parts), STARTS))
    ])  # fmt: skip


def _of_available(parts: tuple[str, ...], available: Mapping[str, float]) -> Array:
    tokens = np.array([available[part] for part in parts])
    return tokens / tokens.sum()


def _weights(fit: MixtureFit, target: Mapping[str, float]) -> Array:
    domains = fit.runs.domains
    for name, weight in target.items():
        if name not in domains:
            raise InputError(
                f"no loss on {name!r} was fitted; there {'is' if len(domains) == 1 else 'are'} {', '.join(domains)}"
            )
        if not (math.isfinite(weight) and weight >= 0):
            raise InputError(f"weight of {name} {weight:g}; wanted a number from 0 on")
    weights = np.array([target.get(d, 0.0) for d in domains], np.float64)
    if not weights.sum() > 0:
        raise InputError("all weights are 0; wanted a domain, or domains with weights such as code=0.7 web=0.3")
    return weights / weights.sum()


def _check_above(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} {value:g}; wanted a number above 0")


def _most(
    parts: tuple[str, ...], tokens: float | None, available: Mapping[str, float] | None, max_epochs: float
) -> Array:
    """The largest share of each part."""
    if available is None:
        return np.ones(len(parts))
    if other := [part for part in available if part not in parts]:
        raise InputError(f"available tokens of {other[0]!r}, which is no part; there are {', '.join(parts)}")
    if missing := [part for part in parts if part not in available]:
        raise InputError(f"available tokens of {', '.join(missing)} are not given; wanted NAME=TOKENS of every part")
    _check_above(**{f"available tokens of {part}:": n for part, n in available.items()})
    if tokens is None:
        raise InputError(
            "how often a part is passed over depends on D, which the runs don't have; give the tokens planned"
        )
    top = max_epochs * np.array([available[part] for part in parts]) / tokens
    if top.sum() < 1 - SAME:
        most = max_epochs * sum(available.values())
        raise InputError(
            f"{max_epochs:g} passes over all parts are {short(most)} tokens, and D is {short(tokens)}; "
            f"allow {math.ceil(tokens / sum(available.values()))} passes, or plan fewer tokens"
        )
    return top


def _untold(fit: MixtureFit, weights: Array, loss: Interval) -> list[str]:
    """A line where the interval of the law at the proposal is wider than the losses of the runs differ."""
    spread = float(np.ptp(fit.runs.losses @ weights))
    if loss.high - loss.low <= spread:
        return []
    return [
        f"the law does not tell the loss there: its interval is {loss.high - loss.low:.3g} wide, the losses of the "
        f"runs differ by {spread:.3g}; take a law of fewer constants (--law exponential), or train near the proposal"
    ]


def _doubts(
    fit: MixtureFit,
    fitted: Fitted,
    best: Array,
    at: Mapping[str, float],
    tokens: float | None,
    params: float | None,
    available: Mapping[str, float] | None,
) -> list[str]:
    runs, said = fit.runs, []
    for k, part in enumerate(runs.parts):
        low, high = runs.shares[:, k].min(), runs.shares[:, k].max()
        if not low - BEYOND <= best[k] <= high + BEYOND:
            side = (
                f"above the largest fitted, {high:.3f}" if best[k] > high else f"below the smallest fitted, {low:.3f}"
            )
            said.append(f"beyond the runs: a share of {best[k]:.3f} {part} is {side}")
    if not said and not _within(best, runs.shares):
        said.append("beyond the runs: each share was fitted, this mixture of them lies outside all fitted ones")
    for name, letter in (("params", "N"), ("tokens", "D")):
        planned = {"params": params, "tokens": tokens}[name]
        if planned is None:
            continue
        if name not in runs.scales:
            said.append(
                f"the runs don't tell their {letter}: losses are those of the runs, not at {letter} = {short(planned)}"
            )
            continue
        x = runs.scales[name]
        if x.min() * 0.999 <= planned <= x.max() * 1.001 and name in runs.varied:
            continue
        if name in fitted.law.scales:
            if (levels := len(np.unique(np.round(np.log(x), 2)))) < LEVELS and planned > x.max():
                said.append(
                    f"runs at {levels} {letter} don't tell how the loss falls with it: losses at another are guesses"
                )
            if planned > x.max():
                said.append(
                    f"beyond the runs: {letter} = {short(planned)} is {planned / x.max():.3g} times the largest fitted"
                )
        elif abs(math.log(planned / x.max())) > 0.01:
            said.append(
                f"the law knows no {letter}: losses are those at {letter} = {short(x.max())}, and whether the best "
                f"mixture is the same at {short(planned)} is not told; runs at two {letter} would tell (the joint law)"
            )
    if fitted.law.once and available is None:
        said.append(
            "parts repeat as often at a share as in the runs; --available NAME=TOKENS tells how often they will"
        )
    if fitted.law.name == "additive" and fitted.law.scales:
        said.append("by the additive law the best mixture is the same at every N and D")
    if available is None:
        said.append("without --available NAME=TOKENS no part is bounded, and proportional is not known")
    return said


def _worn(fit: MixtureFit, fitted: Fitted, passes: Mapping[str, float]) -> list[str]:
    """A line for each part that is read again, of which the law does not know what that is worth."""
    said = []
    for part, once in zip(fit.runs.parts, fit.runs.once, strict=True):
        told = math.isfinite(once)
        if passes.get(part, 0.0) > 1 + BEYOND and not (told and fitted.law.once):
            out = "--law repeats knows better" if told else "runs that repeat it would tell (the law repeats)"
            said.append(f"{part} is read {passes[part]:.2g} times, and the law takes all of it for new text; {out}")
    return said


def _within(r: Array, shares: Array) -> bool:
    """Whether a mixture is a mean of others, within BEYOND of a share."""
    n, parts = shares.shape
    # Least deviation t with |sum_i w_i r_i - r| <= t in each part.
    A = np.vstack([np.hstack([shares.T, -np.ones((parts, 1))]), np.hstack([-shares.T, -np.ones((parts, 1))])])
    cost, total = np.append(np.zeros(n), 1.0), np.append(np.ones(n), 0.0)
    found = optimize.linprog(cost, A, np.concatenate([r, -r]), total[None], [1.0], bounds=(0, None))
    return bool(found.success and found.fun <= BEYOND)
