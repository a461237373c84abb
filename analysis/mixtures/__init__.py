"""Laws of losses over the shares of a mixture: fits of several, which of them to believe, kept as a file.

Every law is judged by mixtures that it has not seen. One is believed where each rival's error on them is larger beyond
its noise; else all that are not larger are admissible, and which is true cannot be told.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.confidence import LEVEL, t_quantile
from analysis.digits import plural, typed
from analysis.fit import solver
from analysis.fit.rows import held_out_rows
from analysis.fit.solver import Array
from analysis.jsonable import jsonable
from analysis.mixtures import estimate
from analysis.mixtures.estimate import NAMES
from analysis.mixtures.laws import MixtureLaw
from analysis.mixtures.runs import Runs, named
from analysis.table import Table
from scaling import folders
from scaling.checked import Damaged, Field
from scaling.errors import InputError

FORMAT = "mixture_fit"  # the field by which a file is known as such a fit, with its version
VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
    """A law of all domains.

    Attributes:
        theta: constants in fit coordinates, (domains, p).
        unseen: losses at the fitted rows by fits to the other mixtures, (domains, n).
        held: losses at the rows held out, (domains, rows); None without any.
    """

    law: type[MixtureLaw]
    theta: Array
    unseen: Array
    held: Array | None = None

    @property
    def constants(self) -> Array:
        return solver.to_constants(self.law, self.theta)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Which law to believe for a loss: the first of those that may be it, best error on unseen mixtures first."""

    laws: tuple[str, ...]

    @property
    def best(self) -> str:
        """The law, or empty: cannot tell."""
        return self.laws[0] if len(self.laws) == 1 else ""

    def text(self) -> str:
        return self.best or f"cannot tell {', '.join(self.laws)}"


@dataclasses.dataclass(frozen=True, eq=False)
class MixtureFit:
    """Fits of mixture laws to runs.

    Attributes:
        fits: of each law that could be judged.
        unscored: why another could not, by its name.
        held: the rows held out, which no law was fitted to, and the rule.
    """

    runs: Runs
    fits: tuple[Fitted, ...]
    unscored: Mapping[str, str]
    held: Runs | None = None
    rule: str = ""

    def of(self, name: str) -> Fitted:
        """The fit of a law.

        Raises:
            InputError: it was not fitted.
        """
        for fitted in self.fits:
            if fitted.law.name == name:
                return fitted
        why = f": {self.unscored[name]}" if name in self.unscored else ""
        raise InputError(
            f"no fit of {name} is here{why}; there {plural(len(self.fits), 'is', 'are')} "
            f"{', '.join(f.law.name for f in self.fits)}"
        )

    def error(self, name: str, domain: str, held: bool = False) -> float:
        """Root mean square of measured less predicted, nats per token: of mixtures unseen, or of rows held out."""
        found, measured = self._beside(name, domain, held)
        return math.sqrt(float(np.mean((measured - found) ** 2)))

    def rank(self, name: str, domain: str, held: bool = False) -> float:
        """Spearman's rank correlation of the same."""
        return estimate.rank(*self._beside(name, domain, held))

    def _beside(self, name: str, domain: str, held: bool) -> tuple[Array, Array]:
        fitted, i = self.of(name), self.runs.domains.index(domain)
        if not held:
            return fitted.unseen[i], self.runs.losses[:, i]
        if fitted.held is None or self.held is None:
            raise InputError("no rows were held out")
        return fitted.held[i], self.held.losses[:, i]

    def verdict(self, weights: ArrayLike | None = None) -> Verdict:
        """Which law to believe for the losses weighed so, (domains,), taken together; for each of them if None.

        The score of a law at a mixture is the logarithm of the density that it gives to what was measured there,
        unseen, normal with the scatter of all its errors. Laws are compared mixture by mixture, as Vuong (1989) does.
        """
        m, mixture = self.runs.mixtures, self.runs.mixture
        scores = {}
        for fitted in self.fits:
            off = fitted.unseen.T - self.runs.losses  # n domains
            off = off if weights is None else (off @ np.asarray(weights))[:, None]
            sigma = np.maximum(np.sqrt((off**2).mean(0)), 1e-12)
            density = -((off / sigma) ** 2 / 2 + np.log(sigma)).sum(1)  # ln, but for a constant
            scores[fitted.law.name] = np.bincount(mixture, density) / np.bincount(mixture)
        names = sorted(scores, key=lambda name: -scores[name].mean())
        bound = float(t_quantile(LEVEL, m - 1)) / math.sqrt(m)
        behind = {name: scores[names[0]] - scores[name] for name in names[1:]}
        same = [name for name, d in behind.items() if d.mean() <= bound * d.std(ddof=1)]
        return Verdict((names[0], *same))

    def sigma(self, name: str, weights: Array) -> float:
        """Scatter of a run's losses weighed so, (domains,), around the law."""
        fitted = self.of(name)
        off = (estimate.predict(fitted.law, fitted.theta, self.runs).T - self.runs.losses) @ weights
        return math.sqrt(float((off**2).sum() / max(len(off) - fitted.theta.shape[1], 1)))

    def inside(self, name: str, domain: str) -> NDArray[np.bool_]:
        """Which of the rows held out lie in the 95 % interval of one run."""
        fitted, i = self.of(name), self.runs.domains.index(domain)
        if self.held is None:
            raise InputError("no rows were held out")
        one, held = _one_domain(self.runs, i), _one_domain(self.held, i)
        drawn = estimate.predict(fitted.law, estimate.redraw(fitted.law, fitted.theta[[i]], one), held)[0]  # draws n
        sigma = self.sigma(name, np.eye(len(self.runs.domains))[i])
        found = [
            estimate.interval(float(value), each, sigma, one.mixtures, fitted.theta.shape[1])
            for value, each in zip(self._beside(name, domain, True)[0], drawn.T, strict=True)
        ]
        return np.array([f.run_low <= y <= f.run_high for f, y in zip(found, held.losses[:, 0], strict=True)])

    def ranks_alone(self, fitted: Fitted) -> bool:
        """Whether the rows held out lie at another N or D than a law without it was fitted at."""
        if self.held is None:
            return False
        both = {s: np.concatenate([self.runs.scales[s], self.held.scales[s]]) for s in self.runs.scales}
        return any(s not in fitted.law.scales and np.ptp(np.log(x)) > 1e-6 for s, x in both.items())

    def text(self) -> str:
        runs = self.runs
        at = f", {runs.scale}" if runs.scale else ""
        lines = [
            f"{len(runs.parts)} parts, {len(runs.domains)} {plural(len(runs.domains), 'domain', 'domains')}, "
            f"{runs.mixtures} mixtures in {len(runs.shares)} of {runs.given} rows{at}",
            f"error on mixtures that a fit has not seen, {min(estimate.FOLDS, runs.mixtures)} folds: root mean square "
            "in nats (rank correlation)",
            *self._scores(held=False),
            f"law: {self.verdict().text()}"
            + ("" if self.verdict().best else ": their errors differ by no more than their noise"),
        ]
        if self.held is not None:
            lines += [f"{len(self.held.shares)} rows held out ({self.rule}):", *self._scores(held=True)]
            if any(map(self.ranks_alone, self.fits)):
                lines.append(
                    "  –: these rows are at another N or D, of which the law says nothing; the ranks alone tell"
                )
        lines += [f"not scored: {name}: {why}" for name, why in self.unscored.items()]
        return "\n".join([*lines, *(f"note: {note}" for note in runs.notes)])

    def _scores(self, held: bool) -> list[str]:
        """A table: a row per domain, a column per law, and the law to believe or the runs inside its interval."""
        named = max(len(d) for d in ("domain", *self.runs.domains))
        first = [f.law.name for f in self.fits]
        shown = [[*first, "inside 95 %" if held else "believed"]]
        for d in self.runs.domains:
            cells = [self._score(f, d, held) for f in self.fits]
            shown.append([*cells, self._inside(d) if held else self._of_domain(d).text()])
        if len(self.runs.domains) > 1:
            shown.append([*(self._mean(f, held) for f in self.fits), ""])
        wide = [max(map(len, column)) for column in zip(*shown, strict=True)]
        labels = ["domain", *self.runs.domains, "mean"]
        return [
            f"  {label:<{named}}  " + "  ".join(f"{cell:<{w}}" for cell, w in zip(row, wide, strict=True)).rstrip()
            for label, row in zip(labels, shown, strict=False)
        ]

    def _score(self, fitted: Fitted, domain: str, held: bool) -> str:
        rms = math.nan if held and self.ranks_alone(fitted) else self.error(fitted.law.name, domain, held)
        return _cell(rms, self.rank(fitted.law.name, domain, held))

    def _mean(self, fitted: Fitted, held: bool) -> str:
        name, domains = fitted.law.name, self.runs.domains
        alone = held and self.ranks_alone(fitted)
        rms = math.nan if alone else float(np.mean([self.error(name, d, held) for d in domains]))
        return _cell(rms, float(np.mean([self.rank(name, d, held) for d in domains])))

    def _inside(self, domain: str) -> str:
        name = self._of_domain(domain).laws[0]
        if self.held is None or self.ranks_alone(self.of(name)):
            return "–"
        return f"{int(self.inside(name, domain).sum())} of {len(self.held.shares)}, {name}"

    def _of_domain(self, domain: str) -> Verdict:
        return self.verdict(np.eye(len(self.runs.domains))[self.runs.domains.index(domain)])

    def to_dict(self) -> dict[str, Any]:
        runs = self.runs
        return {
            FORMAT: VERSION,
            "parts": list(runs.parts),
            "domains": list(runs.domains),
            "believed": self.verdict().best or None,
            "admissible": list(self.verdict().laws),
            "laws": [
                {
                    "law": f.law.name,
                    "formula": f.law.__doc__,
                    "source": f.law.source,
                    "constants": {
                        d: dict(zip(f.law.labels(runs.parts), map(float, c), strict=True))
                        for d, c in zip(runs.domains, f.constants, strict=True)
                    },
                    "rms": {d: self.error(f.law.name, d) for d in runs.domains},
                    "rank_correlation": {d: self.rank(f.law.name, d) for d in runs.domains},
                    "unseen": f.unseen.tolist(),
                    "held_out": self._held_dict(f),
                }
                for f in self.fits
            ],
            "not_scored": dict(self.unscored),
            "shares": runs.shares.tolist(),
            "losses": runs.losses.tolist(),
            "scales": {name: x.tolist() for name, x in runs.scales.items()},
            "read_once": [x if math.isfinite(x) else None for x in runs.once],
            "given": runs.given,
            "notes": list(runs.notes),
        }

    def _held_dict(self, fitted: Fitted) -> dict[str, Any] | None:
        if fitted.held is None or self.held is None:
            return None
        name, domains = fitted.law.name, self.runs.domains
        said: dict[str, Any] = {"rank_correlation": {d: self.rank(name, d, True) for d in domains}}
        if not self.ranks_alone(fitted):
            said["rms"] = {d: self.error(name, d, True) for d in domains}
        return said | {"rows": len(self.held.shares), "rule": self.rule}

    def to_json(self, path: str | Path) -> None:
        folders.write(Path(path), json.dumps(jsonable(self.to_dict()), indent=1, allow_nan=False) + "\n")

    @classmethod
    def from_json(cls, path: Path) -> Self:
        """A fit that was kept; what was held out stays behind.

        Raises:
            InputError: no such file, or something else in it.
        """
        if not path.exists():
            raise InputError(f"{path}: no such file; make it with scaling mix fit TABLE --out {path}")
        said = folders.read_json(path, "a mixture fit")
        if not isinstance(said, dict) or said.get(FORMAT) != VERSION:
            raise InputError(f"{path}: not a fit of mixtures; wanted what scaling mix fit TABLE --out FILE wrote")
        whole = Field(path, "", said)
        parts, domains = (tuple(f.text() for f in whole[name].items()) for name in ("parts", "domains"))
        if len(parts) < 2 or not domains or len({*parts}) < len(parts) or len({*domains}) < len(domains):
            raise Damaged(f"{path}: wanted two parts and a domain or more, each once")
        shares, losses = _numbers(whole["shares"], len(parts), 0.0), _numbers(whole["losses"], len(domains), 1e-300)
        if len(losses) != len(shares) or not np.allclose(shares.sum(1), 1):
            raise Damaged(f"{path}: shares and losses want a row each per run, and shares that add up to 1")
        scales = {
            s: _row(whole["scales"][s], len(shares)) for s in whole["scales"].object() if s in ("params", "tokens")
        }
        if any((x <= 0).any() for x in scales.values()):
            raise Damaged(f"{path}: scales want numbers above 0")
        notes = tuple(f.text() for f in whole["notes"].items())
        once = _once(whole.get("read_once"), len(parts))
        runs = Runs(parts, domains, shares, losses, scales, whole["given"].whole(), notes, once)
        fits = []
        for each in whole["laws"].items():
            law = estimate.law_of(each["law"].one_of(*NAMES), runs)
            constants = np.array(
                [[each["constants"][d][label].number() for label in law.labels(parts)] for d in domains]
            )
            log = np.array([c.log for c in law.constants()])
            if (constants[:, log] < 0).any():
                raise Damaged(f"{path}: constants of {law.name} below 0, wanted a fit that was written here")
            unseen = _numbers(each["unseen"], len(shares))
            if len(unseen) != len(domains):
                raise Damaged(f"{path}: {each.name}.unseen wants a row per domain")
            fits.append(
                Fitted(law, solver.to_theta(law, np.maximum(constants, np.where(log, 1e-300, -np.inf))), unseen)
            )
        if not fits or runs.mixtures < 2:
            raise Damaged(f"{path}: wanted a law or more, of two mixtures or more")
        return cls(runs, tuple(fits), whole["not_scored"].texts())


def fit(table: Table, *, laws: Sequence[str] = NAMES, hold_out: ArrayLike | str | None = None) -> MixtureFit:
    """Fits mixture laws to runs, each judged by mixtures that it has not seen.

    Args:
        table: with columns share_NAME, loss_NAME, and params, tokens and available_NAME where they are known.
        laws: names, of `NAMES`.
        hold_out: rows that are predicted and not fitted, as of `analysis.fit.fit`.

    Raises:
        InputError: a table that cannot be used, or of which no law can be judged.
    """
    table = named(table)
    held_rows = held_out_rows(hold_out, table)
    if held_rows.all():
        raise InputError(f"hold_out {hold_out}: the rule holds out all {len(table)} rows; leave some to fit")
    runs = Runs.of(table.chosen(~held_rows) if held_rows.any() else table)
    held = Runs.of(table.chosen(held_rows), alone=False) if held_rows.any() else None
    fits, unscored, few = [], {}, {}
    for name in dict.fromkeys(laws):
        if name not in NAMES:
            raise InputError(f"no mixture law is called {name!r}; there are {', '.join(NAMES)}")
        try:
            law = estimate.law_of(name, runs)
            if runs.mixtures < (least := estimate.wanted(law)):
                few[name] = least
                raise InputError(
                    f"{runs.mixtures} {plural(runs.mixtures, 'mixture is', 'mixtures are')} too few to judge "
                    f"{len(law.constants())} constants by mixtures left out; wanted {least} or more"
                )
            if held is not None and law.own:
                estimate.check_own(held)
        except InputError as error:
            unscored[name] = str(error)
            continue
        ones = np.ones((1, len(runs.shares)))
        theta = estimate.estimate(law, runs, ones, estimate.starts(law, runs))[:, 0]
        unseen = estimate.unseen(law, theta, runs)
        fits.append(Fitted(law, theta, unseen, None if held is None else estimate.predict(law, theta, held)))
    if not fits and few:
        name = min(few, key=few.__getitem__)
        raise InputError(
            f"{table.source}: {runs.mixtures} {plural(runs.mixtures, 'mixture is', 'mixtures are')} too few to judge a "
            f"law by mixtures left out; wanted {few[name]} or more ({name})"
        )
    if not fits:
        raise InputError(
            f"{table.source}: no law can be judged: {'; '.join(f'{n}: {why}' for n, why in unscored.items())}"
        )
    rule = hold_out if isinstance(hold_out, str) else "chosen rows"
    return MixtureFit(runs, tuple(fits), unscored, held, rule)


def _cell(rms: float, rank: float) -> str:
    """An error, as a dash where it is not told, and the rank correlation beside it."""
    told = "–" if math.isnan(rms) else f"{rms:.4f}" if rms < 1000 else typed(rms, 3)
    return f"{told} ({rank:.3f})" if math.isfinite(rank) else told


def _one_domain(runs: Runs, i: int) -> Runs:
    return dataclasses.replace(runs, domains=(runs.domains[i],), losses=runs.losses[:, [i]])


def _once(field: Field | None, n: int) -> tuple[float, ...]:
    if field is None:  # of an older file
        return ()
    found = tuple(math.inf if f.value is None else f.number(least=1e-300) for f in field.items())
    if len(found) != n:
        raise field.wrong(f"{n} numbers or null")
    return found


def _row(field: Field, n: int) -> Array:
    found = np.array([f.number() for f in field.items()], np.float64)
    if len(found) != n:
        raise field.wrong(f"{n} numbers")
    return found


def _numbers(field: Field, n: int, least: float = -math.inf) -> Array:
    """Rows of n numbers each."""
    found = np.array([[cell.number(least=least) for cell in row.items()] for row in field.items()], np.float64)
    if found.ndim != 2 or found.shape[1] != n:
        raise field.wrong(f"rows of {n} numbers")
    return found
