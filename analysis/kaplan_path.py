"""The compute-efficient path of Kaplan et al. (2020) appendix B, and what follows from their laws together.

And the arithmetic that turns Hoffmann's exponent into Kaplan's by counting parameters as he did: Pearce & Song (2024).
"""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from analysis.frontier import FLOP_PER_PARAM_TOKEN, Array, Optimum
from analysis.laws import Chinchilla, KaplanND
from scaling.errors import InputError


@dataclasses.dataclass(frozen=True)
class KaplanPath:
    """Compute-efficient training with the batch at B_crit(L): Kaplan et al. (2020) secs. 5, 6 and appendix B.

    From L(N, S) = (N_c/N)^alpha_N + (S_c/S)^alpha_S (B.1) and B_crit(L) = B_*/L^(1/alpha_B) (B.2). N_c, B_* in
    parameters and tokens, S_c in updates. The axis of S_c is the axis of C: with S_c for updates at the batch B_crit
    (2.1e3 in the paper's Table 3), C is the compute spent at that batch; with S_c for S_min (half of it), C is C_min,
    the compute of a batch far below B_crit.
    """

    alpha_N: float
    N_c: float
    alpha_S: float
    S_c: float
    alpha_B: float
    B_star: float

    @property
    def alpha_C(self) -> float:
        """Exponent of L(C): (1.8), (B.7)."""
        return 1 / (1 / self.alpha_S + 1 / self.alpha_B + 1 / self.alpha_N)

    @property
    def f(self) -> float:
        """How far above its converged loss a model stops, relative: alpha_N / alpha_S (B.5)."""
        return self.alpha_N / self.alpha_S

    @property
    def C_c(self) -> float:
        """Scale of L(C), in FLOP: (B.8)."""
        scale = FLOP_PER_PARAM_TOKEN * self.N_c * self.B_star * self.S_c
        return scale * (1 + self.f) ** (1 / self.alpha_S + 1 / self.alpha_N) * self.f ** (-1 / self.alpha_S)

    def loss(self, C: ArrayLike) -> Array:
        """L(C) of the best model: (B.6)."""
        return (self.C_c / np.asarray(C, float)) ** self.alpha_C

    def params(self, C: ArrayLike) -> Array:
        """N(C): (B.9)."""
        growth = (np.asarray(C, float) / self.C_c) ** (self.alpha_C / self.alpha_N)
        return self.N_c * growth * (1 + self.f) ** (1 / self.alpha_N)

    def steps(self, C: ArrayLike) -> Array:
        """S(C), updates at the batch B_crit (or S_min): (B.10)."""
        growth = (np.asarray(C, float) / self.C_c) ** (self.alpha_C / self.alpha_S)
        scale = self.C_c / (FLOP_PER_PARAM_TOKEN * self.N_c * self.B_star)
        return scale * (1 + self.f) ** (-1 / self.alpha_N) * growth

    def batch(self, C: ArrayLike) -> Array:
        """B_crit at the loss that C reaches, in tokens: (B.2)."""
        return self.B_crit(self.loss(C))

    def tokens(self, C: ArrayLike) -> Array:
        """D(C) = B S, in tokens: (1.7)."""
        return self.batch(C) * self.steps(C)

    def B_crit(self, loss: ArrayLike) -> Array:
        """(1.4), (B.2), in tokens."""
        return self.B_star / np.asarray(loss, float) ** (1 / self.alpha_B)

    def converged(self, N: ArrayLike) -> Array:
        """L(N, inf)."""
        return (self.N_c / np.asarray(N, float)) ** self.alpha_N

    def compute(self, N: ArrayLike, loss: ArrayLike) -> Array:
        """C that a model of size N needs for a loss, FLOP; infinite where it never reaches it: (B.15)."""
        N, loss = np.asarray(N, float), np.asarray(loss, float)
        room = loss - self.converged(N)
        steps = np.where(room > 0, np.where(room > 0, room, 1.0) ** (-1 / self.alpha_S), np.inf) * self.S_c
        return FLOP_PER_PARAM_TOKEN * N * self.B_crit(loss) * steps

    def loss_at(self, N: ArrayLike, C: ArrayLike) -> Array:
        """L(N, C), where the batch depends on the loss itself: (B.3), by bisection on (B.15)."""
        N, C = np.broadcast_arrays(np.asarray(N, float), np.asarray(C, float))
        low = self.converged(N)
        high = low + 1.0
        # The compute falls as the loss rises, so the loss is bracketed once high needs less than C.
        while np.any(self.compute(N, high) > C):
            high = np.where(self.compute(N, high) > C, 2 * high, high)
        for _ in range(200):
            middle = (low + high) / 2
            dear = self.compute(N, middle) > C
            low, high = np.where(dear, middle, low), np.where(dear, high, middle)
        return (low + high) / 2

    def excess_compute(self, ratio: ArrayLike) -> Array:
        """C(N) / C(N_eff) for the same loss, ratio = N / N_eff: (B.16); infinite where N is too small to reach it."""
        ratio = np.asarray(ratio, float)
        return ratio * self.excess_steps(ratio)

    def excess_steps(self, ratio: ArrayLike) -> Array:
        """S(N) / S(N_eff) for the same loss: (B.17)."""
        room = 1 + (1 - np.asarray(ratio, float) ** -self.alpha_N) / self.f
        return np.where(room > 0, np.where(room > 0, room, 1.0) ** (-1 / self.alpha_S), np.inf)

    def stopping_later(self, f: float, f_later: float) -> tuple[float, float, float]:
        """N_f/N_f', S_f/S_f' and C_f/C_f' of stopping a relative f above the converged loss instead of f' = f_later:
        (B.12)-(B.14).
        """
        N = ((1 + f) / (1 + f_later)) ** (1 / self.alpha_N)
        S = ((1 + 1 / f) / (1 + 1 / f_later)) ** (1 / self.alpha_S)
        return N, S, N * S


def data_without_overfitting(law: KaplanND, N: ArrayLike, excess: float = 0.02) -> Array:
    """Unique tokens that keep L(N, D) within a relative excess of L(N, inf): Kaplan et al. (2020) eqs. 4.3, 4.4."""
    N_term = (np.asarray(N, float) / law.N_c) ** (law.alpha_N / law.alpha_D)
    return N_term * law.D_c / ((1 + excess) ** (1 / law.alpha_D) - 1)


def contradiction(
    C_c: float, alpha_C: float, D_c: float, alpha_D: float, D_1: float, p_D: float, N_1: float, p_N: float
) -> Optimum:
    """Where compute-efficient training would need more data than L(D) allows: Kaplan et al. (2020) sec. 6.3, eq. 6.8.

    L(C) = (C_c/C)^alpha_C meets L(D) = (D_c/D)^alpha_D along D = D_1 C^p_D; N = N_1 C^p_N. C in whatever unit C_c has
    (printed: PF-days).

    Raises:
        InputError: L(C) does not fall faster than L(D(C)), so they never meet.
    """
    if alpha_C <= alpha_D * p_D:
        raise InputError(f"alpha_C={alpha_C:g} is not above alpha_D p_D={alpha_D * p_D:g}: the two laws never cross")
    ln_C = (alpha_C * np.log(C_c) - alpha_D * np.log(D_c / D_1)) / (alpha_C - alpha_D * p_D)
    C = np.exp(ln_C)
    return Optimum(C, N_1 * C**p_N, D_1 * C**p_D, (C_c / C) ** alpha_C)


# --- which parameters count


def total_params(N: ArrayLike, gamma: float) -> Array:
    """All parameters from the non-embedding ones, N + gamma N^(1/3): Pearce & Song (2024); gamma is 47 491 for 32 000
    tokens, 39.2 d/l.
    """
    N = np.asarray(N, float)
    return N + gamma * N ** (1 / 3)


def embedding_gamma(n_vocab: int, aspect: float) -> float:
    """gamma of `total_params`: n_vocab d_model embeddings with d_model = aspect n_layer and N = 12 n_layer
    d_model^2.
    """
    return n_vocab * (aspect / 12) ** (1 / 3)


def non_embedding_compute(law: Chinchilla, N: ArrayLike, gamma: float) -> Array:
    """C = 6 N D (N non-embedding) at which N is the best size under a Chinchilla law in total parameters: Pearce & Song
    (2024).

    The condition is alpha A N_T^-(alpha+1) N dN_T/dN = beta B D^-beta.
    """
    N = np.asarray(N, float)
    N_T = total_params(N, gamma)
    slope = N + gamma * N ** (1 / 3) / 3  # N dN_T/dN
    D = (law.beta * law.B / (law.alpha * law.A) * N_T ** (law.alpha + 1) / slope) ** (1 / law.beta)
    return FLOP_PER_PARAM_TOKEN * N * D


def non_embedding_exponent(law: Chinchilla, N_low: float, N_high: float, gamma: float) -> float:
    """The exponent a of N ~ C^a that someone finds who counts non-embedding N and C between two sizes: Pearce & Song
    (2024).

    Args:
        law: Chinchilla's form in total parameters.
        gamma: of `total_params`.
    """
    N = np.geomspace(N_low, N_high, 200)
    return float(np.polyfit(np.log(non_embedding_compute(law, N, gamma)), np.log(N), 1)[0])
