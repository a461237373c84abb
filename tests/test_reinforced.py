"""Policies trained by policy gradients: the best policy there is is reached, and its distance is exact."""

import sys

import numpy as np
import pytest

from benchmarks.reinforced import Chain, Point, main, reached, reinforce
from scaling.data import pairs

V, T = 4, 6


@pytest.fixture(scope="module")
def first() -> Chain:
    raised = np.exp(np.random.default_rng(0).standard_normal((1 + V, V)))
    return Chain.of(raised / raised.sum(1, keepdims=True), T)


def weights() -> np.ndarray:
    """What each neighbour is worth."""
    return np.random.default_rng(1).standard_normal((V, V)) / 2


def worth(texts: np.ndarray) -> np.ndarray:
    return weights()[texts[:, :-1], texts[:, 1:]].sum(1)


def best(first: Chain, b: float) -> tuple[Chain, float]:
    """The policy p exp(r / b) / Z, which is a chain too, and its E[r] - b KL, which is b ln Z."""
    p, value = first.p, np.zeros(V)
    found = []
    for t in range(T - 1, -1, -1):
        gain = (weights() if t else 0) + value
        tilted = p[t] * np.exp(gain / b)
        value = b * np.log(tilted.sum(1))
        found.append(np.log(tilted))
    return Chain(np.array(found[::-1])), float(value[0])


def mean_worth(policy: Chain) -> float:
    at, total = policy.p[0, 0], 0.0
    for p in policy.p[1:]:
        total, at = total + float(at @ (p * weights()).sum(1)), at @ p
    return total


def test_reinforce_with_a_penalty_ends_at_the_tilted_policy(first):
    b = 0.5
    goal, most = best(first, b)
    assert mean_worth(goal) - b * goal.kl(first) == pytest.approx(most)
    policy = first
    for _, policy in reinforce(first, worth, b, updates=300, batch=256):
        assert mean_worth(policy) - b * policy.kl(first) < most + 1e-9
    assert mean_worth(policy) - b * policy.kl(first) == pytest.approx(most, abs=0.02)
    assert policy.kl(first) == pytest.approx(goal.kl(first), rel=0.1)
    assert policy.kl(goal) < 0.1


def test_without_a_penalty_the_policy_goes_on_to_the_one_best_text(first):
    *_, (_, policy) = reinforce(first, worth, 0.0, updates=300, batch=256)
    texts = np.array(list(np.ndindex(*[V] * T)), np.int8)
    assert mean_worth(policy) > 0.95 * worth(texts).max()
    assert policy.kl(first) > 3 * best(first, 0.5)[0].kl(first)


def test_kl_is_the_mean_of_the_logarithms_over_all_texts(first):
    other = Chain(first.logits + np.random.default_rng(2).standard_normal(first.logits.shape))
    other.logits[0] = other.logits[0, 0]
    texts = np.array(list(np.ndindex(*[V] * T)), np.int8)
    p = np.exp(other.log_p(texts))
    assert p.sum() == pytest.approx(1)
    assert other.kl(first) == pytest.approx((p * (other.log_p(texts) - first.log_p(texts))).sum())
    assert first.kl(first) == 0


def test_the_gradient_is_that_of_the_weighted_log_chance(first):
    rng = np.random.default_rng(3)
    texts, advantage = first.write(50, rng), rng.standard_normal(50)
    g = first.gradient(texts, advantage)
    for place in ((0, 0, 2), (1, 2, 3), (5, 1, 0)):
        moved = [first.logits.copy() for _ in range(2)]
        for sign, logits in zip((1, -1), moved, strict=True):
            logits[place] += sign * 1e-5
        up, down = ((advantage * Chain(logits).log_p(texts)).mean() for logits in moved)
        assert g[place] == pytest.approx((up - down) / 2e-5, abs=1e-6)


def test_the_first_policy_writes_as_the_pairs_are_written():
    of = pairs.parse("pairs:chain?world=2")
    theirs = of.drawn(0, 4000).reshape(-1, of.length)
    ours = Chain.of(of.chances, of.length).write(8000, np.random.default_rng(0))
    for t in (0, 1, 15):
        found, wanted = (np.bincount(texts[:, t], minlength=of.symbols) / len(texts) for texts in (ours, theirs))
        np.testing.assert_allclose(found, wanted, atol=0.025)


def test_the_first_time_that_a_reward_is_reached_lies_between_two_measurements():
    points = [Point(0.0, 0.0, 0.0), Point(1.0, 1.0, 0.0), Point(2.0, 2.0, 0.0), Point(3.0, 0.5, 0.0)]
    assert reached(points, 1.5) == pytest.approx(2.5)
    assert np.isnan(reached(points, 3.0))


def test_a_folder_without_a_study_ends_in_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["reinforced", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "no study" in capsys.readouterr().err.splitlines()[-1]
