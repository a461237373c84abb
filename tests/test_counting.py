"""What counting does to the best size, from arithmetic alone: the numbers of Pearce & Song (2024) and of our design."""

import numpy as np
import pytest

from analysis import counting
from analysis.counting import PEARCE, Family
from analysis.laws import Chinchilla, Counted

EQUAL = Chinchilla(E=1.7, A=1.0, B=39**0.35, alpha=0.35, beta=0.35)
HOFFMANN = Chinchilla(E=1.6934, A=406.4, B=410.7, alpha=0.3392, beta=0.2849)
REFIT = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)  # Besiroglu et al. (2024)
KAPLANS_SIZES = np.geomspace(790, 1.58e9, 20)  # N
WORTHS = (1, 0.5, 0.25)

# Two layers, d_model 8 to 128: without the head for f = 1, 1/2, 1/4, then with it for the same f and f = 0.
BETWEEN = {
    257: (0.586, 0.552, 0.530, 0.500, 0.472, 0.453, 0.427),
    512: (0.625, 0.585, 0.552, 0.500, 0.468, 0.441, 0.399),
    1024: (0.664, 0.625, 0.585, 0.500, 0.470, 0.438, 0.372),
    2048: (0.690, 0.664, 0.625, 0.500, 0.479, 0.448, 0.351),
    4096: (0.699, 0.690, 0.664, 0.500, 0.493, 0.470, 0.338),
    8192: (0.694, 0.699, 0.690, 0.500, 0.504, 0.496, 0.332),
}


def between(n_vocab, count, worth, law=EQUAL, widths=(8, 128)):
    first, last = (24 * d**2 for d in widths)
    return counting.exponent_between(Family.of_depth(n_vocab, 2), law, first, last, count=count, worth=worth)


@pytest.mark.parametrize(("n_vocab", "exponents"), BETWEEN.items())
def test_the_exponent_follows_from_the_vocabulary_the_count_and_what_the_head_is_worth(n_vocab, exponents):
    found = [between(n_vocab, 0, f) for f in WORTHS] + [between(n_vocab, 1, f) for f in (*WORTHS, 0)]
    np.testing.assert_allclose(found, exponents, atol=6e-4)


def test_counting_what_the_loss_depends_on_gives_a_half():
    assert between(2048, 0, 0) == pytest.approx(0.5)
    assert between(2048, 1, 1) == pytest.approx(0.5)


@pytest.mark.parametrize(("n_vocab", "exponent"), [(512, 0.664), (2048, 0.803), (8192, 0.880)])
def test_models_of_one_aspect_have_steeper_exponents(n_vocab, exponent):
    first, last = (12 * d**3 / 16 for d in (16, 128))
    found = counting.exponent_between(Family.of_aspect(n_vocab, 16), EQUAL, first, last, count=0, worth=1)
    assert found == pytest.approx(exponent, abs=6e-4)


@pytest.mark.parametrize(("n_vocab", "hoffmann", "refit"), [(512, 0.586, 0.638), (2048, 0.655, 0.701)])
def test_published_constants_move_the_level(n_vocab, hoffmann, refit):
    found = [between(n_vocab, 0, 1, law) for law in (HOFFMANN, REFIT)]
    np.testing.assert_allclose(found, (hoffmann, refit), atol=6e-4)
    with_head = [between(n_vocab, 1, 1, law) for law in (HOFFMANN, REFIT)]
    np.testing.assert_allclose(with_head, (0.456, 0.513), atol=6e-4)


def test_twice_the_width_at_twice_the_vocabulary_is_the_same():
    for count in (0, 1):
        assert between(1024, count, 1, widths=(16, 256)) == pytest.approx(between(512, count, 1))


def test_half_the_worth_at_twice_the_vocabulary_is_the_same_without_the_head():
    assert between(4096, 0, 0.5) == pytest.approx(between(2048, 0, 1))


@pytest.mark.parametrize(
    ("family", "limit", "peak"), [(Family.of_depth(2048, 2), 2 / 3, 0.71), (Family.of_aspect(2048, 16), 3 / 4, 0.98)]
)
def test_models_that_are_nearly_all_head_have_a_limit_and_a_peak_follows(family, limit, peak):
    found = counting.local_exponent(family, EQUAL, np.geomspace(1e-8, 1e14, 4000), count=0, worth=1)
    assert found[0] == pytest.approx(limit, abs=1e-6)
    assert found.max() == pytest.approx(peak, abs=0.005)
    assert found[-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("law", "without", "counted"), [(HOFFMANN, 0.748, 0.456), (REFIT, 0.786, 0.513)])
def test_pearce_and_songs_exponents_over_kaplans_sizes(law, without, counted):
    for count, exponent in ((0, without), (1, counted)):
        N = PEARCE.counted(KAPLANS_SIZES, count)
        C = 6 * N * counting.best_tokens(PEARCE, law, KAPLANS_SIZES, count=count, worth=1)
        assert np.polyfit(np.log(C), np.log(N), 1)[0] == pytest.approx(exponent, abs=1e-3)


@pytest.mark.parametrize(("law", "power"), [(HOFFMANN, -0.066), (REFIT, -0.069)])
def test_a_power_of_compute_without_a_floor_falls_over_kaplans_sizes_as_pearce_and_song_simulate(law, power):
    D = counting.best_tokens(PEARCE, law, KAPLANS_SIZES, count=0, worth=1)
    loss = law(PEARCE.counted(KAPLANS_SIZES, 1), D)
    assert np.polyfit(np.log(6 * KAPLANS_SIZES * D), np.log(loss), 1)[0] == pytest.approx(power, abs=1.5e-3)


def test_pearce_and_songs_embeddings_are_those_of_their_vocabulary_and_shape():
    assert Family.of_aspect(32_000, 39.2).omega == pytest.approx(PEARCE.omega, rel=3e-4)


@pytest.mark.parametrize("law", [HOFFMANN, REFIT])
def test_the_loss_above_its_floor_falls_with_compute_as_chinchillas(law):
    C = np.geomspace(1e18, 1e24, 9)
    best = counting.best_sizes(PEARCE, law, C, count=1, worth=1)
    slope = np.polyfit(np.log(C), np.log(best.loss - law.E), 1)[0]
    assert -slope == pytest.approx(law.alpha * law.beta / (law.alpha + law.beta), abs=1e-4)


@pytest.mark.parametrize("count", [0, 1])
def test_the_closed_form_is_the_best_size(count):
    family, N = Family.of_depth(2048, 2), np.geomspace(2e3, 4e5, 5)
    D = counting.best_tokens(family, EQUAL, N, count=count, worth=0.5)
    C = 6 * family.counted(N, count) * D
    best = counting.best_sizes(family, EQUAL, C, count=count, worth=0.5)
    np.testing.assert_allclose(best.params, family.counted(N, count), rtol=1e-5)
    slope = np.gradient(np.log(best.params), np.log(C))
    found = counting.local_exponent(family, EQUAL, N, count=count, worth=0.5)
    np.testing.assert_allclose(slope[1:-1], found[1:-1], atol=0.02)


@pytest.mark.parametrize(
    ("warmup", "counted", "without"),
    [(0, 0.473, 0.674), (1e5, 0.509, 0.689), (3e5, 0.555, 0.718), (6e5, 0.597, 0.737), (1.2e6, 0.640, 0.764)],
)
def test_a_longer_warm_up_raises_the_exponent_under_either_count(warmup, counted, without):
    """Over budgets of 1e11 to 3e13 FLOP with the head, and those without it between which the same runs have minima."""
    for count, exponent, C in ((1, counted, np.geomspace(1e11, 3e13, 6)), (0, without, np.geomspace(2e10, 1e13, 6))):
        best = counting.best_sizes(Family.of_depth(2048, 2), EQUAL, C, count=count, worth=0.5, warmup=warmup)
        assert np.polyfit(np.log(C), np.log(best.params), 1)[0] == pytest.approx(exponent, abs=0.02)


def test_progress_is_the_summed_rate():
    rate = np.minimum(np.arange(1, 3001) / 1000, 1)
    for D in (500, 1000, 3000):
        assert counting.progress(D, 1000) == pytest.approx(rate[:D].sum(), rel=3e-3)
    assert counting.progress(700, 0) == 700


def test_the_law_with_f_is_chinchillas_of_the_size_that_f_makes():
    N, head, D = 1e5, 3e5, 1e7
    constants = {"E": 1.7, "A": 20.0, "B": 300.0, "alpha": 0.3, "beta": 0.4}
    for f, size in ((0.0, N), (0.25, 1.5e5), (1.0, head)):
        assert Counted(**constants, f=f)(N, head, D) == pytest.approx(Chinchilla(**constants)(size, D))
