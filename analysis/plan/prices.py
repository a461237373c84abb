"""What leaving the compute-optimal run costs: another size, a model that will be served, data that run out.

N as the fitted law counts it, D in tokens, C in FLOP, losses in nats per token.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from analysis import digits, frontier
from analysis.frontier import FLOP_PER_PARAM_TOKEN, Array, Optimum, golden_section
from analysis.laws import Chinchilla, Lovelace, Muennighoff, lifetime_flops
from scaling.errors import InputError

ENOUGH = 0.001  # of the loss: more than that is not worth its compute
STOPS = 17  # numbers of epochs at which training on repeated tokens may stop, at a time
Repeatable = Chinchilla | Muennighoff | Lovelace  # laws that plan for a limited number of unique tokens
MUENNIGHOFF_R_D, MUENNIGHOFF_R_N = 15.387756, 5.309743  # as published; their own runs identify them weakly


def tokens_for(law: Callable[..., Any], N: ArrayLike, loss: ArrayLike) -> Array:
    """The fewest tokens with which size N reaches a loss; infinite where it never does. Any law that falls with D."""
    N, loss = np.broadcast_arrays(np.asarray(N, float), np.asarray(loss, float))
    if isinstance(law, Chinchilla):
        room = loss - law.E - law.A * N**-law.alpha
        D = (law.B / np.where(room > 0, room, 1.0)) ** (1 / law.beta)
        return np.where(room > 0, D, np.inf)
    low, high = np.zeros(N.shape), np.full(N.shape, np.log(1e30))
    never = np.asarray(law(N, np.exp(high))) > loss
    for _ in range(60):
        middle = (low + high) / 2
        short = np.asarray(law(N, np.exp(middle))) > loss
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(never, np.inf, np.exp(high))


def compute_for(law: Callable[..., Any], loss: float) -> Optimum:
    """The cheapest training that reaches a loss.

    Raises:
        InputError: no compute up to 1e40 FLOP reaches it.
    """
    low, high = np.log(1e6), np.log(1e40)
    if float(frontier.best(law, np.exp(high)).loss) > loss:
        raise InputError(f"loss {loss:g}: this law does not reach it with any compute; ask for a higher loss")
    for _ in range(60):
        middle = (low + high) / 2
        short = float(frontier.best(law, np.exp(middle)).loss) > loss
        low, high = (middle, high) if short else (low, middle)
    return frontier.best(law, np.exp(high))


def price_of_size(law: Callable[..., Any], C: float, ratios: ArrayLike) -> Array:
    """Excess compute, relative, that sizes of `ratios` times the best one need for the best one's loss; infinite where
    they never reach it.

    Kaplan's closed form of the same is `KaplanPath.excess_compute` (B.16).
    """
    best = frontier.best(law, C)
    N = np.asarray(ratios, float) * best.params
    return N * tokens_for(law, N, best.loss) / (best.params * best.tokens) - 1


@dataclasses.dataclass(frozen=True)
class Served:
    """A model that is trained once and then reads and writes `inference_tokens`, against the model that is cheapest to
    train to the same loss.
    """

    params: float
    tokens: float
    loss: float
    inference_tokens: float
    cost_ratio: float
    cost: float  # FLOP of training and inference; inference in the FLOP of training that cost as much
    cheapest_to_train: Optimum
    cost_of_cheapest_to_train: float

    @property
    def saving(self) -> float:
        """Share of the lifetime cost that is saved."""
        return 1 - self.cost / self.cost_of_cheapest_to_train


def with_inference(law: Callable[..., Any], loss: float, inference_tokens: float, *, cost_ratio: float = 1.0) -> Served:
    """The size with the least lifetime cost 6 N D + 2 N D_inf at a given loss: Sardana et al. (2024) eq. 3, by search
    over N.

    Args:
        law: L(N, D).
        loss: the quality wanted, say what a training budget alone would reach.
        inference_tokens: tokens read and written in the model's life.
        cost_ratio: what a FLOP of inference costs over one of training: 1 counts FLOP; in money see `Money.cost_ratio`.
    """
    if inference_tokens < 0 or not cost_ratio > 0:
        raise InputError(f"inference tokens {inference_tokens:g}, cost ratio {cost_ratio:g}: wanted numbers above 0")
    cheapest = compute_for(law, loss)
    served = inference_tokens * cost_ratio

    def cost(x: Array) -> Array:
        return lifetime_flops(np.exp(x), tokens_for(law, np.exp(x), loss), served)

    # Serving only ever favours a smaller model: the search goes on downwards while its smallest size is the best.
    top = np.log(float(cheapest.params))
    grid = np.linspace(top - np.log(1e3), top, 400)
    i = int(np.argmin(cost(grid)))
    while i == 0 and grid[0] > 0:
        grid = np.linspace(max(grid[0] - np.log(1e3), 0.0), grid[1], 400)
        i = int(np.argmin(cost(grid)))
    x = golden_section(cost, grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)])
    N = float(np.exp(x))
    return Served(
        params=N,
        tokens=float(tokens_for(law, N, loss)),
        loss=float(loss),
        inference_tokens=float(inference_tokens),
        cost_ratio=float(cost_ratio),
        cost=float(cost(x)),
        cheapest_to_train=cheapest,
        cost_of_cheapest_to_train=float(cost(np.asarray(top))),
    )


@dataclasses.dataclass(frozen=True)
class Money:
    """What chips cost that train and that serve: the dollar form of Sardana et al. (2024) eq. 6.

    Attributes:
        train, serve: price of a chip for an hour, in one currency.
        train_peak, serve_peak: FLOP a second of a chip, in the arithmetic of each.
        train_use, read_use, write_use: shares of the peaks that training, reading and writing reach.
        read, written: tokens of a request.
    """

    train: float
    serve: float
    train_peak: float
    serve_peak: float
    train_use: float
    read_use: float
    write_use: float
    read: float
    written: float

    @property
    def cost_ratio(self) -> float:
        """Money for a FLOP of inference over that for one of training, the mean over the tokens of a request."""
        idle = (self.read / self.read_use + self.written / self.write_use) / (self.read + self.written)
        return self.serve / self.serve_peak * idle / (self.train / (self.train_peak * self.train_use))


# An accelerator at one price, eight-bit arithmetic for serving, requests of 70 tokens read and 215 written as in the
# paper.
USUAL = Money(2.0, 2.0, 9.89e14, 1.978e15, 0.5, 0.5, 0.01, 70, 215)


@dataclasses.dataclass(frozen=True)
class Shares:
    """The model of least lifetime cost over the one that is cheapest to train to the same loss."""

    params: Array
    tokens: Array
    cost: Array


def served_shares(alpha: ArrayLike, beta: ArrayLike, demand: ArrayLike) -> Shares:
    """How Chinchilla's law moves the best model with the demand, whatever its scales: the exponents alone decide.

    At the cheapest training alpha A / N ** alpha = beta B / D ** beta. So in n = N / N_0 and d = D / D_0 equal loss is
    (n ** -alpha - 1) / alpha + (d ** -beta - 1) / beta = 0; the least cost has n ** -alpha d ** beta = 1 + r / (3 d).

    Args:
        alpha, beta: exponents.
        demand: r, tokens of inference, times their cost ratio, over the tokens of the cheapest training.
    """
    alpha, beta, r = np.broadcast_arrays(*(np.asarray(x, float) for x in (alpha, beta, demand)))

    def ln_n(x: Array) -> Array:
        return -np.log1p(-alpha / beta * np.expm1(-beta * x)) / alpha

    low, high = np.zeros(r.shape), np.full(r.shape, 300.0)
    for _ in range(80):
        middle = (low + high) / 2
        short = -alpha * ln_n(middle) + beta * middle < np.log1p(r / 3 * np.exp(-middle))
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    n, d = np.exp(ln_n(high)), np.exp(high)
    return Shares(n, d, n * (3 * d + r) / (3 + r))


@dataclasses.dataclass(frozen=True)
class Repeated:
    """The best training on U unique tokens: the cheapest within ENOUGH of the lowest loss, all of the budget spent, and
    the loss that the same compute would reach on fresh tokens.
    """

    cheapest: Optimum
    best: Optimum
    unique_tokens: float
    fresh: Optimum

    @property
    def needed(self) -> bool:
        """Whether the best run wants more tokens than there are."""
        return float(self.fresh.tokens) > self.unique_tokens

    @property
    def epochs(self) -> float:
        """Of the cheapest."""
        return float(self.cheapest.tokens) / self.unique_tokens


def fresh_data(law: Muennighoff | Lovelace) -> Chinchilla:
    """The law without repetition: its limit of as many unique tokens as are processed."""
    return Chinchilla(law.E, law.A, law.B, law.alpha, law.beta)


def repeating(law: Repeatable, unique_tokens: float) -> frontier.Surface:
    """L(N, D) where only U unique tokens exist: Muennighoff et al. (2023), or the penalty of Lovelace et al. (2026).

    Where a penalty makes the loss rise with more epochs, training stops before: the lowest loss on up to D tokens.

    Args:
        law: either, or Chinchilla's, which then borrows R_D* = 15.4 and R_N* = 5.3 from Muennighoff et al.
        unique_tokens: U.
    """
    if not unique_tokens > 0:
        raise InputError(f"{unique_tokens:g} unique tokens: wanted a number above 0")
    if isinstance(law, Lovelace):
        return _stopped(law, unique_tokens)
    own = law
    if isinstance(own, Chinchilla):
        own = Muennighoff(**dataclasses.asdict(own), R_D=MUENNIGHOFF_R_D, R_N=MUENNIGHOFF_R_N)
    return lambda N, D: own(N, D, np.minimum(unique_tokens, D))


def _stopped(law: Lovelace, U: float) -> frontier.Surface:
    """The lowest loss on up to D tokens: two searches over ln epochs, the second beside the best of the first."""

    def surface(N: ArrayLike, D: ArrayLike) -> Array:
        unique = np.minimum(U, np.asarray(D, float))
        lowest, best = np.asarray(law(N, D, unique), float), np.ones(())  # a share of ln epochs
        low, width = np.zeros(()), 1.0
        for _ in range(2):
            for part in np.linspace(0, width, STOPS):
                share = np.minimum(low + part, 1.0)
                loss = law(N, unique * (D / unique) ** share, unique)
                lowest, best = np.minimum(loss, lowest), np.where(loss < lowest, share, best)
            step = width / (STOPS - 1)
            low, width = np.maximum(best - step, 0.0), 2 * step
        return lowest

    return surface


def with_unique_tokens(law: Repeatable, C: float, unique_tokens: float) -> Repeated:
    """The best N and D for at most C FLOP when only U unique tokens exist, by search over N.

    More compute is always a little better, or no worse, by less and less: training stops at the cheapest run whose loss
    is within ENOUGH of that of all C.

    Args:
        law, unique_tokens: as `repeating` takes them; where the best run needs fewer tokens, nothing is repeated.
        C: FLOP.
    """
    surface = repeating(law, unique_tokens)
    fresh = frontier.best(law if isinstance(law, Chinchilla) else fresh_data(law), C)
    best = frontier.optimum(surface, C)
    found = Repeated(best, best, float(unique_tokens), fresh)
    if not found.needed:
        return found
    enough = float(best.loss) * (1 + ENOUGH)
    low, high = np.log(C) - np.log(1e6), np.log(C)
    for _ in range(30):
        middle = (low + high) / 2
        reached = float(frontier.optimum(surface, np.exp(middle)).loss) <= enough
        low, high = (low, middle) if reached else (middle, high)
    return dataclasses.replace(found, cheapest=frontier.optimum(surface, np.exp(high)))


@dataclasses.dataclass(frozen=True)
class Overtrained:
    """A run of given size: its tokens and loss, and the cheapest way to that loss."""

    params: float
    tokens: float
    loss: float
    cheapest: Optimum

    @property
    def excess(self) -> float:
        """Compute spent beyond the cheapest way to the same loss, relative to it."""
        return FLOP_PER_PARAM_TOKEN * self.params * self.tokens / float(self.cheapest.flops) - 1


def overtrained(law: Callable[..., Any], N: float, C: float) -> Overtrained:
    """What a model of size N reaches with C FLOP, and what choosing N costs."""
    D = C / (FLOP_PER_PARAM_TOKEN * N)
    if not D >= 1:
        raise InputError(
            f"{digits.short(N)} parameters leave {digits.typed(D, 2)} tokens of {digits.compute(C)}: choose a smaller "
            "model or a larger budget"
        )
    loss = float(law(N, D))
    return Overtrained(float(N), D, loss, compute_for(law, loss))
