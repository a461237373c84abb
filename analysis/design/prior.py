"""What is believed of a law before the runs: draws of its constants, of one form or more, and how runs scatter."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.average import Average
from analysis.digits import percent, plural, short
from analysis.fit import misfit, solver
from analysis.fit.estimate import Fit
from analysis.frontier import Array
from analysis.laws import Chinchilla, KaplanND, KaplanOnePass, Law, QNorm
from analysis.laws.law import Constant
from analysis.plan.published import LARGE, PUBLISHED
from scaling.errors import InputError

NOISE = 0.005  # of ln(loss) of one run: seeds move small models by this much (results/README.md, The main grid)
DRAWS = 24  # of a fit
SHARE = 0.9  # of the sum of two exponents, that their gap is at most
FLOORLESS = KaplanOnePass(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103)  # Kaplan et al. (2020) Table 2


class Belief(NamedTuple):
    """One law that may be the true one, and how noise changes with size if it is.

    Attributes:
        fixed: constants that are known, such as a floor that was pinned: no fit will estimate them.
        slope: of ln(noise) in ln(N).
    """

    law: Law
    fixed: tuple[str, ...]
    slope: float

    @property
    def constants(self) -> list[Constant]:
        """Those that fits estimate."""
        return [c for c in self.law.constants() if c.name not in self.fixed]

    @property
    def form(self) -> str:
        """What a fit is of, in words."""
        return " with ".join([self.law.name, *([f"{', '.join(self.fixed)} held"] if self.fixed else [])])


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """Laws that may be the true one.

    Attributes:
        laws: each with its constants; one weight each.
        noise: standard deviation of ln(loss) of a run around the law, at `noise_at`.
        error: of the law itself at a distance of 1 beyond its runs, in ln(loss): `analysis.fit.misfit`.
        told: where they come from, in words.
        fixed: of each law, constants that are known; () where none of any.
        embeddings: whether their N counts those, which that of shapes does not.
        slopes: of ln(noise) in ln(N), each as likely: 0 where all sizes scatter alike, below it where large ones less.
        noise_at: N whose runs scatter by `noise`, as a fit measured it; None for the smallest that a study may have.
        averaged: whether they are the forms of an average, which is what will be fitted.
    """

    laws: tuple[Law, ...]
    noise: float = NOISE
    error: float = misfit.USUAL
    told: str = ""
    fixed: tuple[tuple[str, ...], ...] = ()
    embeddings: bool = False
    slopes: tuple[float, ...] = (0.0,)
    noise_at: float | None = None
    averaged: bool = False

    @property
    def beliefs(self) -> list[Belief]:
        """Each law with each slope of the noise, those of one form together."""
        known = zip(self.laws, self.fixed or ((),) * len(self.laws), strict=True)
        found = [Belief(law, fixed, slope) for law, fixed in known for slope in self.slopes]
        return sorted(found, key=lambda one: (one.law.name, one.fixed))

    @property
    def slope(self) -> float:
        """By which fits weigh their runs: where several are believed, the one by which large runs gain least.

        Weights by a fall that is not there make intervals beyond the runs too narrow, the other error makes them wide.
        """
        return max(self.slopes)

    def scatter_told(self, smallest: float) -> str:
        """How runs scatter, in words; smallest is N of the smallest that a study may have."""
        told = f"a run scatters by {percent(self.noise)}"
        if not any(self.slopes):
            return told
        ways = " or ".join(f"N^{slope:g}" for slope in self.slopes)
        weighed = f", as --weights {self.slope:g} has it in a fit" if self.slope else ""
        return f"{told} at {short(self.noise_at or smallest)} parameters, and as {ways} beyond{weighed}"

    def scatter(self, N: Array, slope: float, smallest: float) -> Array:
        """Standard deviation of ln(loss) of runs of N parameters, smallest that of a study."""
        return np.asarray(self.noise * (np.asarray(N, float) / (self.noise_at or smallest)) ** slope, np.float64)


def of_fit(fit: Fit, draws: int = DRAWS, seed: int = 0) -> Prior:
    """What a fit to a pilot leaves open: its bootstrap draws, or draws of its covariance, around its constants.

    Raises:
        InputError: the law is none of size and data, or the fit is doubtful.
    """
    law = type(fit.law)
    if law.inputs != ("params", "tokens"):
        raise InputError(f"{law.name} is a law of {', '.join(law.inputs)}; a design wants one of params, tokens")
    if not fit.sound:
        raise InputError(f"the fit is doubtful ({fit.why}), so it says nothing of what other runs would; begin from "
                         "published constants, with scaling design")  # fmt: skip
    if len(fit.draws):
        rows = fit.draws[np.linspace(0, len(fit.draws) - 1, min(draws, len(fit.draws))).astype(int)]
    else:
        rng = np.random.default_rng(seed)
        none = solver.at_zero(law, fit.theta)  # of a floor of 0 the covariance says nothing
        covariance = np.where(none | none[:, None], 0.0, np.nan_to_num(fit.covariance))
        theta = rng.multivariate_normal(fit.theta, covariance, draws, method="eigh")
        rows = solver.to_constants(law, theta)
    laws = [law(*map(float, row)) for row in rows if np.isfinite(row).all()]
    kept = tuple(
        one
        for one in laws
        if all(getattr(one, c.name) > 0 or (c.kind == "floor" and getattr(one, c.name) == 0) for c in law.constants())
    )
    if not kept:
        raise InputError(f"no draw of the fit of {law.name} is a law that falls with size and data")
    error = fit.misfit.error if fit.misfit else misfit.USUAL
    told = f"{len(kept)} {plural(len(kept), 'draw', 'draws')} of the fit of {law.name} to {fit.n_runs} runs"
    middle = math.sqrt(math.prod(fit.ranges["params"]))
    return Prior(kept, fit.residuals.sigma, error, told, (fit.fixed,) * len(kept), noise_at=middle)


def joined(priors: Sequence[Prior]) -> Prior:
    """All laws of several, each as likely; scatter and the law's own error are the geometric means of the fits'.

    Of all, where none is a fit: what was measured is not mixed with what is usual.
    """
    if len(priors) == 1:
        return priors[0]
    fixed = tuple(each for one in priors for each in one.fixed or ((),) * len(one.laws))
    measured = [one for one in priors if one.noise_at is not None]
    at = [one.noise_at for one in measured if one.noise_at is not None]
    return Prior(
        tuple(law for one in priors for law in one.laws),
        _middle([one.noise for one in measured or priors]),
        _middle([one.error for one in measured or priors]),
        "; ".join(one.told for one in priors),
        fixed,
        any(one.embeddings for one in priors),
        noise_at=_middle(at) if at else None,
        averaged=all(one.averaged for one in priors),
    )


def of_average(found: Average, draws: int = DRAWS) -> Prior:
    """What the fits of several forms leave open, each with draws by its weight.

    Raises:
        InputError: as `of_fit`.
    """
    each = zip(found.fits, found.weights, strict=True)
    whole = joined([of_fit(fit, max(1, round(draws * weight))) for fit, weight in each])
    return dataclasses.replace(whole, averaged=True)


def _middle(values: Sequence[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(np.maximum(values, 1e-300)))))


def without_floor(noise: float = NOISE) -> Prior:
    """The published law that falls to nothing, of Kaplan et al. (2020); its N counts no embeddings."""
    return Prior((FLOORLESS,), noise, told="L(N, D) of Kaplan et al. (2020), which has no floor")


def gap_of(law: Law) -> float:
    """The second exponent less the first; 0 of a law that has not two."""
    exponents = [getattr(law, c.name) for c in law.constants() if c.kind == "exponent"]
    return exponents[1] - exponents[0] if len(exponents) == 2 else 0.0


def with_gap(law: Law, gap: float, N: float, D: float) -> Law:
    """The law with the gap of its two exponents so many times as wide, and its terms at N and D as they were.

    So that both exponents stay above 0, it is made no wider than SHARE of their sum. A law that has not two stays as it
    is. Of a law of other terms than those of Chinchilla, Kaplan and the q-norm the scales stay.
    """
    names = [c.name for c in law.constants() if c.kind == "exponent"]
    if len(names) != 2:
        return law
    first, second = (float(getattr(law, name)) for name in names)
    middle, half = (first + second) / 2, (second - first) / 2 * gap
    half = math.copysign(min(abs(half), max(SHARE * middle, abs(second - first) / 2)), half)
    own = {names[0]: middle - half, names[1]: middle + half}
    if isinstance(law, Chinchilla | QNorm):
        own |= {"A": law.A * N ** (own["alpha"] - first), "B": law.B * D ** (own["beta"] - second)}
    elif isinstance(law, KaplanND):
        own |= {"N_c": N * (law.N_c / N) ** (first / own["alpha_N"])}
        own |= {"D_c": D * (law.D_c / D) ** (second / own["alpha_D"])}
    return dataclasses.replace(law, **own)


def published(noise: float = NOISE, form: str | None = None) -> Prior:
    """The laws of several groups, each as likely: their spread is what a group without runs of its own knows.

    Args:
        form: the name of a law, where those of other forms are left out.

    Raises:
        InputError: none is of that form.
    """
    known = [one for one in PUBLISHED.values() if one.fresh is not None and not one.left_out]
    kept = [one for one in known if form is None or (one.fresh is not None and one.fresh.name == form)]
    if not kept:
        forms = dict.fromkeys(one.fresh.name for one in known if one.fresh is not None)
        raise InputError(f"no published law is of the form {form}; they are of {', '.join(forms)}")
    laws = tuple(one.fresh for one in kept if one.fresh is not None)
    told = f"the published laws of {', '.join(one.name for one in kept)}, N as each counts it"
    return Prior(laws, noise, told=told, embeddings=any(one.counts == LARGE for one in kept))
