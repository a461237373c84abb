"""Which documents say the same: copies, equal but for white space and case, and near-copies, by Broder (1997), On the
resemblance and containment of documents.

A document's shingles are the SHINGLE bytes from the start of each word. Two ways to compare their sets cheaply: a
*sketch*, N_HASH minima of as many hash functions, finds near-duplicates of Python sources, which are dropped; an
*outline*, the minima of one hash function in N_HASH ranges of its values (one permutation hashing: Li, Owen and Zhang
2012; empty ranges filled as by Shrivastava and Li 2014), takes a third of the time and of every source finds held-out
documents that nearly repeat one that is trained on. Of either, two agree in about the share of shingles that the two
documents have in common (the Jaccard similarity of the sets).
"""

import hashlib
from collections.abc import Sequence

import numpy as np

N_HASH = 64  # values in a sketch or an outline
BAND = 4  # documents that agree in BAND values side by side are compared
SHINGLE = 16  # bytes
SIMILAR = 0.7  # estimated Jaccard similarity from which on two documents are near-copies
FEW = 16  # shingles below which an outline tells nothing: one changed word would decide
RIVALS = 8  # documents of one band that another is compared with, at most
CHUNK = 2**16  # documents compared at once

WHITE = b" \t\n\r\x0b\x0c"
LOWER = bytes(range(256)).lower()
SPACED = LOWER.translate(bytes.maketrans(WHITE, b" " * len(WHITE)))
EMPTY = np.uint32(2**32 - 1)  # of a range of values in which no shingle falls
RANGE = np.uint32(26)  # the bits of a hash below those that say in which of N_HASH ranges it is


def folded(text: str, encoded: bytes) -> bytes:
    """What copies have in common: the text without white space and marks of byte order, in lower case.

    Args:
        text: of the document.
        encoded: the same in UTF-8.
    """
    if len(text) == len(encoded):  # ASCII
        return encoded.translate(LOWER, WHITE)
    lower = text.casefold().encode().translate(None, WHITE)
    return lower.replace(b"\xef\xbb\xbf", b"").replace(b"\xc2\xa0", b"")  # U+FEFF, no-break space


def _shingles(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A hash of each shingle, u32 (n,), and where it starts, i64 (n,)."""
    padded = np.frombuffer(b" " + text + b" " * SHINGLE, np.uint8)
    word = padded > 32
    starts = np.flatnonzero(word[1:] > word[:-1])
    halves = (np.ndarray((len(text) + 1,), "<u8", padded, 1 + at, (1,)) for at in (0, 8))  # eight bytes from each place
    first, second = (half[starts] for half in halves)
    first *= np.uint64(0x9E3779B97F4A7C15)
    second *= np.uint64(0xD1342543DE82EF95)
    first ^= second
    first ^= first >> np.uint64(29)
    first *= np.uint64(0xBF58476D1CE4E5B9)
    return (first >> np.uint64(32)).astype(np.uint32), starts


# Sketches

_RNG = np.random.Generator(np.random.PCG64(1997))
_FACTORS = _RNG.integers(0, 2**31, N_HASH, np.uint32) * np.uint32(2) + np.uint32(1)
_MASKS = _RNG.integers(0, 2**32, N_HASH, np.uint32)


def sketch(text: bytes) -> np.ndarray:
    """MinHash of a text's shingles, u32 (N_HASH,)."""
    hashes, _ = _shingles(text)
    least = np.full(N_HASH, 2**32 - 1, np.uint32)
    for block in range(0, len(hashes), 1024):  # so that the products stay in the cache
        values = (hashes[block : block + 1024, None] ^ _MASKS) * _FACTORS
        least = np.minimum(least, values.min(axis=0))
    return least


def dissimilar(sketches: np.ndarray) -> np.ndarray:
    """Which documents to keep, i64: in order, those not similar to one kept before.

    Only of documents that share a band of values with another is anything kept in memory beside `sketches`.
    """
    shared = np.zeros((len(sketches), N_HASH // BAND), bool)
    for band in range(N_HASH // BAND):
        keys = _band_keys(sketches[:, band * BAND : (band + 1) * BAND])
        order = np.argsort(keys, kind="stable")
        same = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        shared[order[same], band] = shared[order[same + 1], band] = True
    buckets: dict[tuple[int, int], list[int]] = {}
    dropped = np.zeros(len(sketches), bool)
    for i in np.flatnonzero(shared.any(axis=1)).tolist():
        values = sketches[i]
        keys = _band_keys(values.reshape(-1, BAND)).tolist()
        bands = [(band, keys[band]) for band in np.flatnonzero(shared[i]).tolist()]
        rivals = {j for band in bands for j in buckets.get(band, ())}
        if any(np.count_nonzero(sketches[j] == values) >= SIMILAR * N_HASH for j in rivals):
            dropped[i] = True
            continue
        for band in bands:
            buckets.setdefault(band, []).append(i)
    return np.flatnonzero(~dropped)


def _band_keys(values: np.ndarray) -> np.ndarray:
    """One number for the values of a band: equal where they are, and hardly ever else. u32 (n, BAND) -> u64 (n,)."""
    key = np.zeros(len(values), np.uint64)
    for column in values.T:
        key = (key ^ column) * np.uint64(0x9E3779B97F4A7C15)
    return key


# Outlines


def outlines(texts: Sequence[bytes]) -> np.ndarray:
    """The outline of each text, u8 (n, N_HASH): all at once, as most are short.

    The low byte of each minimum is kept (b-bit minwise hashing: Li and König 2010): two minima that differ agree in it
    once in 256 times.
    """
    gap = b" " * SHINGLE
    hashes, starts = _shingles(gap.join(texts).translate(SPACED))
    ends = np.cumsum([len(text) + SHINGLE for text in texts])
    n_shingles = np.diff(np.searchsorted(starts, ends), prepend=0)
    least = np.full(len(texts) * N_HASH, EMPTY)
    of = np.repeat(np.arange(len(texts)), n_shingles)  # the text of each shingle
    np.minimum.at(least, of * N_HASH + (hashes >> RANGE), hashes)
    result = _filled(least.reshape(-1, N_HASH))
    for row in np.flatnonzero(n_shingles < FEW).tolist():  # equal to itself alone
        result[row] = np.frombuffer(hashlib.blake2b(texts[row], digest_size=N_HASH).digest(), np.uint8)
    return result


def _filled(least: np.ndarray) -> np.ndarray:
    """The low byte of each minimum; an empty range takes that of the next one that is not, changed by the distance."""
    ahead = np.concatenate([least, least], axis=1) != EMPTY
    place = np.where(ahead, np.arange(2 * N_HASH), 4 * N_HASH)
    nearest = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1][:, :N_HASH]  # the next range with a shingle
    distance = nearest - np.arange(N_HASH)
    values = np.take_along_axis(least, nearest % N_HASH, axis=1)
    return (values + distance.astype(np.uint32) * np.uint32(101)).astype(np.uint8)


def repeated(held_out: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Which held-out documents have a near-copy among those that are trained on, bool (n_held_out,).

    At similarity 0.7 it is found with probability 0.99. Where more than RIVALS held-out documents share a band of
    values, as those of one template do, some may be missed.

    Args:
        held_out, train: outlines, u8 (n, N_HASH).
    """
    found = np.zeros(len(held_out), bool)
    if not len(held_out):
        return found
    keys: np.ndarray = np.ascontiguousarray(held_out).view("<u4")  # (n_held_out, bands)
    orders = np.argsort(keys, axis=0, kind="stable")
    for start in range(0, len(train), CHUNK):
        some = np.ascontiguousarray(train[start : start + CHUNK])
        for band, theirs in enumerate(some.view("<u4").T):
            order = orders[:, band]
            ours = keys[order, band]
            low, high = np.searchsorted(ours, theirs), np.searchsorted(ours, theirs, side="right")
            for n in range(RIVALS):
                at = np.flatnonzero(low + n < high)
                if not len(at):
                    break
                rivals = order[low[at] + n]
                agree = (some[at] == held_out[rivals]).sum(axis=1)
                found[rivals[agree >= SIMILAR * N_HASH]] = True
    return found
