"""Example i of a run is a pure function of (seed, i), and the held-out windows are the same for every run.

There is no iterator and so no iterator state: a run that has consumed `examples_seen` examples goes on with
`examples(examples_seen, batch)` after a restart, on another number of hosts, or with another batch size, and sees the
same sequence. Each epoch visits every window once, in an order of its own.

Speed, one core: `python -m benchmarks.batches` (the result is in results/batches.json).
"""

import dataclasses
import math

import numpy as np

from scaling.errors import InputError

ROUNDS = 8  # of the Feistel network: with random rounds, four look random from both sides (Luby & Rackoff 1988)
INCREMENT = np.uint64(0x9E3779B97F4A7C15)
ROUND_KEYS = np.arange(1, ROUNDS + 1, dtype=np.uint64) * np.uint64(0xD1342543DE82EF95)
ROUND_KEYS = ROUND_KEYS[:, None]  # (ROUNDS, 1), far apart: rounds must differ
FACTOR, FACTOR_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
HALF = np.uint64(32)
SPAN = 2**20  # tokens of the validation stream over which the held-out windows are spread, at least


@dataclasses.dataclass(frozen=True)
class Batches:
    """Training examples: windows of the first `unique_tokens` tokens of a stream, reshuffled every epoch.

    Window w is the separator and tokens[w * n_ctx : (w + 1) * n_ctx]: the separator begins every window as it begins
    every document, so the first token is predicted without context (T = 1 of Kaplan et al. 2020, section D.5), and the
    predicted tokens of one epoch are tokens[:unique_tokens], each exactly once.

    Args:
        tokens: the training stream, 1-d, of any integer type; may be a memory map.
        n_ctx: predicted tokens per example.
        unique_tokens: U, a multiple of n_ctx.
        seed: of the order.
        separator: the token that ends each document of the stream.

    Raises:
        InputError: U is not a multiple of n_ctx, or the stream has fewer than U tokens.
    """

    tokens: np.ndarray
    n_ctx: int
    unique_tokens: int
    seed: int
    separator: int

    def __post_init__(self):
        U = self.unique_tokens
        if U <= 0 or U % self.n_ctx:
            nearest = max(1, round(U / self.n_ctx)) * self.n_ctx
            raise InputError(f"unique_tokens={U} is not a multiple of n_ctx={self.n_ctx}; the nearest is {nearest}")
        if len(self.tokens) < U:
            raise InputError(
                f"unique_tokens={U}, but the training stream has {len(self.tokens)}; prepare more or ask for less"
            )

    @property
    def n_windows(self) -> int:
        """Examples per epoch."""
        return self.unique_tokens // self.n_ctx

    def examples(self, start: int, count: int) -> np.ndarray:
        """Examples start, ..., start + count - 1 of the run, i32 (count, n_ctx + 1), the separator first."""
        i = np.arange(start, start + count, dtype=np.uint64)
        epoch, position = np.divmod(i, np.uint64(self.n_windows))
        w = permute(position, self.n_windows, mix(mix(np.array([self.seed], np.uint64)) + epoch))
        return _windows(self.tokens, self.n_ctx, w.astype(np.int64) * self.n_ctx, self.separator)


def validation_span(n_tokens: int) -> int:
    """Over how many tokens of the validation stream `n_tokens` held-out tokens are spread, where there are as many."""
    return max(SPAN, 4 * n_tokens)


def validation_windows(tokens: np.ndarray, n_ctx: int, n_windows: int, separator: int) -> np.ndarray:
    """The held-out windows, i32 (n_windows, n_ctx + 1), the separator first, the same for every run.

    They do not overlap and are evenly spread over the first `validation_span(n_ctx * n_windows)` tokens of the stream,
    or over all of it where it is shorter. A stream that was later prepared further has therefore the same windows.

    Args:
        tokens: the validation stream, 1-d.
        separator: the token that ends each document of the stream.

    Raises:
        InputError: the stream is too short.
    """
    return _windows(tokens, n_ctx, _validation_starts(len(tokens), n_ctx, n_windows), separator)


def validation_documents(tokens: np.ndarray, n_ctx: int, n_windows: int, separator: int) -> np.ndarray:
    """Which document of the stream each held-out window begins in, i64 (n_windows,), from 0.

    Args:
        tokens, n_ctx, n_windows: those of `validation_windows`, with its errors.
        separator: the token that ends each document.
    """
    starts = _validation_starts(len(tokens), n_ctx, n_windows)
    ends = np.flatnonzero(np.asarray(tokens[: starts[-1]]) == separator)
    return np.searchsorted(ends, starts)


def _validation_starts(n_tokens: int, n_ctx: int, n_windows: int) -> np.ndarray:
    span = min(n_tokens, validation_span(n_ctx * n_windows))
    if span < n_ctx * n_windows:
        raise InputError(
            f"{n_windows} held-out windows of {n_ctx} tokens need {n_ctx * n_windows} tokens, "
            f"the validation stream has {n_tokens}; use fewer windows or a validation source with more text"
        )
    # In whole windows, so that neighbouring starts are at least n_ctx apart after rounding.
    return np.arange(n_windows) * (span // n_ctx) // n_windows * n_ctx


def permute(x: np.ndarray, n: int, key: np.ndarray) -> np.ndarray:
    """Where a pseudo-random permutation of 0, ..., n - 1 sends each x, in O(1) memory per element.

    A Feistel network on pairs (x // b, x % b) of a grid a x b that barely exceeds n; what lands outside 0, ..., n - 1
    is sent on until it lands inside (cycle walking), which keeps the map one-to-one.

    Args:
        x: u64 (k,), below n.
        n: size of the domain.
        key: u64 (k,) or (1,); each key is another permutation.
    """
    a = math.isqrt(n - 1) + 1  # smallest a with a * a >= n
    b = -(-n // a)
    a, b = np.uint64(a), np.uint64(b)
    key = np.broadcast_to(key, x.shape) + ROUND_KEYS  # (ROUNDS, k)
    left, right = np.divmod(x, b)
    outside = np.arange(len(x))
    out = np.empty_like(x)
    while outside.size:
        for i in range(0, ROUNDS, 2):
            left = (left + _scramble(right + key[i])) % a
            right = (right + _scramble(left + key[i + 1])) % b
        y = left * b + right
        out[outside] = y
        again = y >= np.uint64(n)
        outside, key, left, right = outside[again], key[:, again], left[again], right[again]
    return out


def mix(x: np.ndarray) -> np.ndarray:
    """A bijection of u64 whose output bits look random: the finaliser of SplitMix64 (Steele et al. 2014).

    Arithmetic is modulo 2 ** 64, which NumPy does silently on arrays; x has at least one dimension.
    """
    x = x + INCREMENT
    x = (x ^ (x >> np.uint64(30))) * FACTOR
    x = (x ^ (x >> np.uint64(27))) * FACTOR_2
    return x ^ (x >> np.uint64(31))


def _scramble(x: np.ndarray) -> np.ndarray:
    """Like `mix` with fewer steps, which many rounds make up for; below 2 ** 32. Overwrites x."""
    x *= FACTOR
    x ^= x >> HALF
    x *= FACTOR_2
    x >>= HALF
    return x


def _windows(tokens: np.ndarray, n_ctx: int, starts: np.ndarray, separator: int) -> np.ndarray:
    """The separator and tokens[s : s + n_ctx] for each start s, as i32."""
    stream = np.asarray(tokens).view(np.ndarray)  # a memmap's own indexing is slow
    windows = np.empty((len(starts), n_ctx + 1), np.int32)
    windows[:, 0] = separator
    windows[:, 1:] = np.lib.stride_tricks.sliding_window_view(stream, n_ctx)[starts]
    return windows
