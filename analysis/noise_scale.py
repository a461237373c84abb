"""The gradient noise scale, McCandlish et al. (2018): a stand-in for the critical batch, from single runs.

Batches are in tokens or in sequences, the noise scale in the same unit.
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.confidence import LEVEL, t_quantile
from scaling.errors import InputError

Array = NDArray[np.float64]


def noise_estimates(small: ArrayLike, big: ArrayLike, B_small: float, B_big: float) -> tuple[Array, Array]:
    """tr(Sigma) and |G|^2 from the squared norms of one gradient at two batch sizes: McCandlish et al. (2018) appendix
    A.1.

    Each is unbiased, step by step, and |G|^2 may come out negative. Their ratio is biased: average both over steps,
    then divide (`noise_scale`).

    Args:
        small: |G_small|^2, any shape: squared norm of a gradient over B_small; with data parallelism the mean over
            devices.
        big: |G_big|^2, same shape: squared norm of the gradient over B_big.
        B_small, B_big: batch sizes in one unit; the trace is per such unit.

    Raises:
        InputError: B_big is not above B_small.
    """
    if not B_big > B_small > 0:
        raise InputError(f"batches {B_small:g} and {B_big:g}: the second must be larger, both above 0")
    small, big = np.asarray(small, float), np.asarray(big, float)
    trace = (small - big) / (1 / B_small - 1 / B_big)
    square = (B_big * big - B_small * small) / (B_big - B_small)
    return trace, square


@dataclasses.dataclass(frozen=True)
class NoiseScale:
    """B_simple = tr(Sigma) / |G|^2 and its LEVEL interval, in the unit of the batches; the upper end may be
    infinite.
    """

    trace: float
    square: float
    B_simple: float
    interval: tuple[float, float]


def noise_scale(trace: ArrayLike, square: ArrayLike) -> NoiseScale:
    """The ratio of two means, with Fieller's interval (steps taken as independent).

    Args:
        trace, square: per-step estimates of `noise_estimates`, shape (n_steps,), over a stretch where both change
        little.

    Raises:
        InputError: fewer than two steps, or the mean |G|^2 is not above 0: more steps are needed.
    """
    trace, square = np.asarray(trace, float), np.asarray(square, float)
    n = len(trace)
    if n < 2:
        raise InputError(f"{n} step: a noise scale needs at least 2")
    S, G = float(trace.mean()), float(square.mean())
    if G <= 0:
        raise InputError(
            f"mean |G|^2 estimate {G:.3g} over {n} steps is not above 0: average more steps or use a larger big batch"
        )

    (v_S, c), (_, v_G) = np.cov(trace, square) / n
    q = t_quantile(LEVEL, n - 1) ** 2
    # All r with (S - r G)^2 <= q var(S - r G): a quadratic in r.
    a, b, k = G**2 - q * v_G, S * G - q * c, S**2 - q * v_S
    root = np.sqrt(max(b**2 - a * k, 0.0))
    interval = ((b - root) / a, (b + root) / a) if a > 0 else (0.0, np.inf)
    return NoiseScale(S, G, S / G, (float(max(interval[0], 0.0)), float(interval[1])))


def noise_scale_over_loss(loss: ArrayLike, trace: ArrayLike, square: ArrayLike, n_bins: int = 20) -> dict[str, Array]:
    """B_simple in bins of ln loss, as columns loss, batch_crit, low and high: McCandlish's stand-in for B_crit(L).

    Args:
        loss, trace, square: per step, shape (n_steps,).
        n_bins: bins of equal width in ln loss; bins with fewer than two steps or a mean |G|^2 not above 0 are left out.

    Raises:
        InputError: no bin is left.
    """
    loss, trace, square = (np.asarray(v, float) for v in (loss, trace, square))
    edges = np.linspace(np.log(loss).min(), np.log(loss).max(), n_bins + 1)[1:-1]
    which = np.digitize(np.log(loss), edges)
    rows = []
    for k in range(n_bins):
        inside = which == k
        if inside.sum() >= 2 and square[inside].mean() > 0 and trace[inside].mean() > 0:
            one = noise_scale(trace[inside], square[inside])
            rows.append((float(np.exp(np.log(loss[inside]).mean())), one.B_simple, *one.interval))
    if not rows:
        raise InputError(f"no noise scale in any of {n_bins} bins of the loss: average more steps per bin")
    return dict(zip(("loss", "batch_crit", "low", "high"), np.array(rows).T, strict=True))
