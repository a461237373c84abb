"""What is believed of a law before the runs: draws of its constants, of one form or more, and how runs scatter."""

import dataclasses

import numpy as np

from analysis.fit import misfit, solver
from analysis.fit.estimate import Fit
from analysis.laws import Chinchilla, Law
from analysis.laws.law import Constant
from analysis.plan.published import LARGE, PUBLISHED
from scaling.errors import InputError

NOISE = 0.005  # of ln(loss) of one run: seeds move small models by this much (results/README.md, The main grid)
DRAWS = 24  # of a fit


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """Laws that may be the true one.

    Attributes:
        laws: each with its constants; one weight each.
        noise: standard deviation of ln(loss) of a run around the law.
        error: of the law itself at a distance of 1 beyond its runs, in ln(loss): `analysis.fit.misfit`.
        told: where they come from, in words.
        fixed: constants that are known, such as a floor that was pinned: no fit will estimate them.
        embeddings: whether their N counts those, which that of shapes does not.
    """

    laws: tuple[Law, ...]
    noise: float = NOISE
    error: float = misfit.USUAL
    told: str = ""
    fixed: tuple[str, ...] = ()
    embeddings: bool = False

    def free(self, law: type[Law]) -> list[Constant]:
        """The constants of a law that its fits estimate."""
        return [c for c in law.constants() if c.name not in self.fixed]


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
    told = f"{len(kept)} draws of the fit to {fit.n_runs} runs"
    return Prior(kept, fit.residuals.sigma, error, told, fit.fixed)


def gap_of(law: Law) -> float:
    """The second exponent less the first; 0 of a law that has not two."""
    exponents = [getattr(law, c.name) for c in law.constants() if c.kind == "exponent"]
    return exponents[1] - exponents[0] if len(exponents) == 2 else 0.0


def with_gap(law: Law, gap: float, N: float, D: float) -> Law:
    """The law with the gap of its two exponents so many times as wide, and its terms at N and D as they were.

    Where it has not two exponents, as it is. Of a law that is no sum of terms the scales stay.
    """
    names = [c.name for c in law.constants() if c.kind == "exponent"]
    if len(names) != 2:
        return law
    first, second = (getattr(law, name) for name in names)
    middle, half = (first + second) / 2, (second - first) / 2 * gap
    changed = dataclasses.replace(law, **{names[0]: middle - half, names[1]: middle + half})
    if not (isinstance(law, Chinchilla) and isinstance(changed, Chinchilla)):
        return changed
    A, B = law.A * N ** (changed.alpha - law.alpha), law.B * D ** (changed.beta - law.beta)
    return dataclasses.replace(changed, A=A, B=B)


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
