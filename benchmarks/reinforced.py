"""Policies that policy gradients train against proxies of a gold reward, beside the best of n by the same proxies.

    scaling study run configs/overoptimisation/experiments.py --out STUDY
    python -m benchmarks.reinforced STUDY [--out FILE]

STUDY has reward models with their weights; of each size that with the most pairs and the first seed is the proxy. A
policy is a chain whose chances depend on the place in the text and on the symbol before. It begins as the chain that
wrote the pairs, and KL between chains is exact. It climbs E[r - b ln(p / p_0)] by REINFORCE (Williams 1992) with the
mean of a batch as the baseline, r the proxy in standard deviations over the first policy; Gao et al. (2022) use PPO,
with b = 0 in most runs.
"""

import argparse
import datetime
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from analysis import digits, records
from analysis.fit import fit
from analysis.papers.overoptimisation.best_of_n import best_of, kl
from benchmarks.calibration import machine
from scaling import folders
from scaling.data import pairs
from scaling.errors import InputError
from scaling.models import preference
from scaling.trained import Trained, load

Array = NDArray[np.float64]
Texts = NDArray[np.int8]  # n t

BATCH = 512  # texts of an update
UPDATES = 400
RATE = 0.05  # of Adam, on logits
EVERY = 10  # updates between two measurements
SAMPLES = 4096  # texts of a measurement
FIRST = 2**15  # texts of the first policy: the best of n is taken of these
FORMS = "d (α − β d), d (α − β ln d)"
PENALTIES = (0.0, 0.2)  # b, standard deviations of the proxy per nat


class Point(NamedTuple):
    """A policy on its way: its distance sqrt(KL) from the first one, and the mean rewards of its texts."""

    distance: float
    gold: float
    proxy: float


class Chain:
    """A policy: the logits of the symbol at each place after each symbol, t v v; of the first place, row 0 alone."""

    def __init__(self, logits: Array):
        self.logits = logits

    @classmethod
    def of(cls, chances: Array, length: int) -> "Chain":
        """chances: of a first symbol, and after each symbol, 1+v v."""
        first, after = np.broadcast_to(chances[0], chances[1:].shape), chances[1:]
        return cls(np.log(np.stack([first, *[after] * (length - 1)])))

    @property
    def p(self) -> Array:
        raised = np.exp(self.logits - self.logits.max(-1, keepdims=True))
        return raised / raised.sum(-1, keepdims=True)

    def write(self, n: int, rng: np.random.Generator) -> Texts:
        up_to, texts = self.p.cumsum(-1), np.zeros((n, len(self.logits)), np.int8)
        last = np.zeros(n, int)
        for t in range(texts.shape[1]):
            last = np.minimum((rng.random(n)[:, None] >= up_to[t, last]).sum(1), up_to.shape[2] - 1)
            texts[:, t] = last
        return texts

    def log_p(self, texts: Texts) -> Array:
        """Of whole texts. n"""
        before, t = _before(texts), np.arange(texts.shape[1])
        return np.log(self.p)[t, before, texts].sum(1)

    def kl(self, other: "Chain") -> float:
        """KL(self || other), nats per text: exact, as symbols depend on the one before alone."""
        p, apart = self.p, (self.p * (np.log(self.p) - np.log(other.p))).sum(-1)  # t v
        at, total = np.eye(len(p[0]))[0], 0.0
        for here, away in zip(p, apart, strict=True):
            total, at = total + float(at @ away), at @ here
        return total

    def gradient(self, texts: Texts, advantage: Array) -> Array:
        """Of E[advantage ln p(text)] in the logits."""
        before, t = _before(texts), np.broadcast_to(np.arange(texts.shape[1]), texts.shape)
        weight = np.broadcast_to(advantage[:, None] / len(texts), texts.shape)
        found = np.zeros_like(self.logits)
        np.add.at(found, (t, before, texts), weight)
        return found - found.sum(-1, keepdims=True) * self.p


def _before(texts: Texts) -> Texts:
    """The symbol before each; before the first, 0, the row that stands for none."""
    return np.concatenate([np.zeros_like(texts[:, :1]), texts[:, :-1]], 1)


def reinforce(
    first: Chain,
    reward: Callable[[Texts], Array],
    penalty: float,
    *,
    updates: int = UPDATES,
    batch: int = BATCH,
    rate: float = RATE,
    seed: int = 0,
) -> Iterator[tuple[int, Chain]]:
    """The policy before the first update and after each: the same object, changed in place.

    Args:
        reward: of texts, n t -> n.
        penalty: b of E[reward - b ln(p / p_0)].
        rate: of Adam; it falls to 0 along a line.
    """
    rng, policy = np.random.default_rng(seed), Chain(first.logits.copy())
    m, v = np.zeros_like(policy.logits), np.zeros_like(policy.logits)
    yield 0, policy
    for k in range(1, updates + 1):
        texts = policy.write(batch, rng)
        gained = reward(texts) - penalty * (policy.log_p(texts) - first.log_p(texts))
        g = policy.gradient(texts, gained - gained.mean())
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        step = m / (1 - 0.9**k) / (np.sqrt(v / (1 - 0.99**k)) + 1e-8)
        policy.logits += rate * (1 - (k - 1) / updates) * step
        yield k, policy


def proxies(study: Path) -> Iterator[tuple[float, pairs.Pairs, Callable[[Texts], Array]]]:
    """N, the pairs that it was trained on and what it says of texts, of the proxies of a study.

    Raises:
        InputError: no study, or none of reward models with weights.
    """
    runs = records.read(study).runs
    chosen = (runs["tokens"] == runs["tokens"].max()) & (runs["seed"] == 0) & (runs["status"] == "done")
    if not chosen.any():
        raise InputError(f"{study}: no run of seed 0 on the most tokens is done; wanted reward models, with weights")
    for k in np.flatnonzero(chosen)[np.argsort(runs["params"][chosen])]:
        model = load(study, str(runs["run"][k]))
        if model.config.model.kind != "reward":
            raise InputError(f"{study}: found a model of kind {model.config.model.kind}, wanted reward models")
        yield float(runs["params"][k]), pairs.parse(model.config.data.source), scores_of(model)


def scores_of(model: Trained) -> Callable[[Texts], Array]:
    """What a reward model says of texts, an even number of them, BATCH at a time."""
    said = jax.jit(functools.partial(preference.scores, model.config.model))
    mark, separator = model.tokenizer.characters[pairs.MARK], model.tokenizer.eos

    def score(texts: Texts) -> Array:
        found = []
        for some in np.split(texts, range(BATCH, len(texts), BATCH)):
            first, second = np.split(some.astype(np.int32), 2)
            ends, marks = (np.full((len(first), 1), token, np.int32) for token in (separator, mark))
            windows = np.concatenate([ends, first, marks, second, ends], 1)
            found.append(np.asarray(said(model.params, jnp.asarray(windows)), np.float64).ravel())
        return np.concatenate(found)

    return score


def course(of: pairs.Pairs, score: Callable[[Texts], Array], penalty: float, scale: tuple[float, float]) -> list[Point]:
    """How one policy goes. scale: the mean and the standard deviation of the proxy over the first policy."""
    first, rng = Chain.of(of.chances, of.length), np.random.default_rng(1)

    def reward(texts: Texts) -> Array:
        return (score(texts) - scale[0]) / scale[1]

    found = []
    for k, policy in reinforce(first, reward, penalty):
        if k % EVERY == 0:
            texts = policy.write(SAMPLES, rng)
            found.append(
                Point(math.sqrt(policy.kl(first)), float(of.reward(texts).mean()), float(reward(texts).mean()))
            )
    return found


def compare(study: Path) -> Iterator[str]:
    """The rows of the tables."""
    heads = "N", "way", "gold at its highest", "KL there, nats", "KL, gold and proxy at the end", "rms off " + FORMS
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' * len(heads)}"
    spent = []
    for N, of, score in proxies(study):
        texts = Chain.of(of.chances, of.length).write(FIRST, np.random.default_rng(0))
        said, gold = score(texts), of.reward(texts)
        scale = float(said.mean()), float(said.std())
        n = 2 ** np.arange(1, int(math.log2(FIRST)))
        best = zip(np.sqrt(kl(n)), best_of(said, gold, n), best_of(said, (said - scale[0]) / scale[1], n), strict=True)
        ways = {"best of n": [Point(0.0, 0.0, 0.0), *(Point(*map(float, point)) for point in best)]}
        for penalty in PENALTIES:
            ways[f"REINFORCE, b = {penalty:g}"] = course(of, score, penalty, scale)
        for way, points in ways.items():
            yield row(N, way, points)
        bon, free = list(ways.values())[:2]
        level = 0.9 * min(max(point.gold for point in some) for some in (bon, free))
        spent.append(f"| {digits.short(N)} | {level:.2f} | {reached(bon, level):.2f} | {reached(free, level):.2f} |")
    yield "\nKL that it takes to reach 0.9 of the lower of both highest gold rewards, nats:\n"
    yield "| N | gold | best of n | REINFORCE, b = 0 |"
    yield "| --- | --- | --- | --- |"
    yield from spent


def row(N: float, way: str, points: list[Point]) -> str:
    top, end = max(points, key=lambda point: point.gold), points[-1]
    moved = [point for point in points if point.distance > 0.1]
    table = {"distance": [p.distance for p in moved], "gold": [p.gold for p in moved]}
    off = ", ".join(f"{fit(law, table, loss='absolute').residuals.rms:.2f}" for law in ("best-of-n", "reinforced"))
    return (
        f"| {digits.short(N)} | {way} | {top.gold:.2f} | {top.distance**2:.1f} | "
        f"{end.distance**2:.1f}, {end.gold:.2f}, {end.proxy:.2f} | {off} |"
    )


def reached(points: list[Point], gold: float) -> float:
    """KL at which the gold reward first is so high, between two measurements along a line."""
    for one, two in itertools.pairwise(points):
        if one.gold < gold <= two.gold:
            share = (gold - one.gold) / (two.gold - one.gold)
            return one.distance**2 + share * (two.distance**2 - one.distance**2)
    return math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the tables, in place of the terminal")
    args = parser.parse_args()
    try:
        rows = list(compare(args.study))
    except InputError as error:
        parser.error(str(error))
    lines = [
        "# Policies trained against proxies\n",
        f"`python -m benchmarks.reinforced STUDY`, {datetime.date.today():%Y-%m-%d}, {machine()}.\n",
        f"Gold and proxy in standard deviations over the first policy; {UPDATES} updates of {BATCH} texts, measured "
        f"every {EVERY} with {SAMPLES:,}; the best of n of {FIRST:,} texts.\n",
        *rows,
    ]
    if args.out is None:
        print("\n".join(lines))
        return
    try:
        folders.write(args.out, "\n".join(lines) + "\n")
    except OSError as error:
        parser.error(f"--out {args.out}: {error.strerror}; the tables:\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
