"""Kaplan's compute-efficient path: appendix B's closed forms agree with each other and with the paper's figures."""

import dataclasses

import numpy as np
import pytest

from analysis import frontier, kaplan_path
from analysis.laws import Chinchilla, KaplanND
from scaling.counts import PF_DAY

REFIT = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)  # Besiroglu et al. (2024)


def exponent(law):
    return law.beta / (law.alpha + law.beta)


def chinchilla(constants, suffix=""):
    return Chinchilla(**{name: constants[name + suffix]["value"] for name in ("E", "A", "B", "alpha", "beta")})


@pytest.fixture
def path(papers):
    c = {name: papers["kaplan2020"][name]["value"] for name in ("alpha_S", "S_c", "alpha_B", "B_star")}
    return kaplan_path.KaplanPath(alpha_N=0.076, N_c=papers["kaplan2020"]["table3_N_c"]["value"], **c)


def test_exponents_of_the_path_sum_to_one(path):
    assert path.alpha_C == pytest.approx(0.05199, abs=5e-6)
    powers = [path.alpha_C / x for x in (path.alpha_N, path.alpha_B, path.alpha_S)]
    assert powers == pytest.approx([0.684, 0.248, 0.068], abs=5e-4)
    assert sum(powers) == pytest.approx(1)


def test_a_fifth_more_compute_buys_models_between_0p58_and_2p2_times_the_best_size(path):
    assert path.excess_compute([0.5770, 2.1842]) == pytest.approx([1.2, 1.2], abs=1e-4)
    assert path.excess_steps(2.2) == pytest.approx(0.5470, abs=5e-5)
    assert path.excess_compute(1.0) == pytest.approx(1)
    assert np.isinf(path.excess_compute(0.01))


def test_stopping_at_10_percent_instead_of_2_saves_two_thirds(path):
    N, S, C = path.stopping_later(0.1, 0.02)
    assert (N, S, C) == pytest.approx((2.7007, 0.1329, 0.3589), abs=5e-5)


def test_closed_forms_of_the_path_agree_with_each_other(path):
    C = np.geomspace(1e-6, 1e3, 7) * PF_DAY
    N, S, B, L = path.params(C), path.steps(C), path.batch(C), path.loss(C)
    np.testing.assert_allclose(6 * N * B * S, C, rtol=1e-9)  # C = 6 N B S
    np.testing.assert_allclose(path.converged(N) + (path.S_c / S) ** path.alpha_S, L, rtol=1e-9)  # (B.1)
    np.testing.assert_allclose(L, (1 + path.f) * path.converged(N), rtol=1e-9)  # (B.5)
    np.testing.assert_allclose(path.compute(N, L), C, rtol=1e-9)  # (B.15)
    np.testing.assert_allclose(path.loss_at(N, C), L, rtol=1e-9)  # (B.3)
    np.testing.assert_allclose(path.compute(2 * N, L) / C, path.excess_compute(2.0), rtol=1e-9)  # (B.16)
    np.testing.assert_allclose(path.tokens(C), B * S)


def test_no_other_size_does_better_than_the_path(path):
    C = 1e-2 * PF_DAY
    N = path.params(C)
    assert path.loss_at(N, C) < min(path.loss_at(0.9 * N, C), path.loss_at(1.1 * N, C))


def test_the_scale_of_compute_follows_from_tables_3_and_5(path):
    assert 1.6e8 < path.C_c / PF_DAY < 2.2e8


def test_with_half_of_S_c_the_path_meets_figure_14_on_the_C_min_axis(path):
    on_S_min = dataclasses.replace(path, S_c=path.S_c / 2, alpha_N=0.077)
    C = 1.3e-3 * PF_DAY
    assert on_S_min.params(C) == pytest.approx(1e7, rel=0.15)
    assert on_S_min.steps(C) == pytest.approx(5e3, rel=0.25)


def test_figure_14_gives_kaplans_exponent(papers):
    C, N = np.array(papers["kaplan2020_digitised"]["fig14_N_opt_of_Cmin"]["value"]).T
    slope, at_1 = np.polyfit(np.log(C), np.log(N), 1)
    assert slope == pytest.approx(0.729, abs=5e-4)
    assert np.exp(at_1) == pytest.approx(1.35e9, rel=5e-3)


def test_data_without_overfitting_is_equation_4_4(papers):
    c = papers["kaplan2020"]
    law = KaplanND(**{n: c[f"table2_{n}"]["value"] for n in ("alpha_N", "alpha_D", "N_c", "D_c")})
    assert kaplan_path.data_without_overfitting(law, 1e9) / 1e9**0.74 == pytest.approx(5.28e3, rel=1e-3)


def test_kaplans_contradiction(papers):
    k = {
        n: papers["kaplan2020"][n]["value"]
        for n in ("C_c_min", "alpha_C_min", "D_c", "alpha_D", "D_e", "p_D", "N_e", "p_N")
    }
    at = kaplan_path.contradiction(*k.values())
    assert at.flops == pytest.approx(1.12e4, rel=5e-3)
    assert at.loss == pytest.approx(1.67, abs=5e-3)
    assert at.params == pytest.approx(1.2e12, rel=0.05)
    assert at.tokens == pytest.approx(2.5e11, rel=0.02)


# --- which parameters count


def test_counting_without_embeddings_turns_chinchillas_exponent_into_kaplans(papers):
    gamma = papers["pearce2024"]["gamma_embedding"]["value"]
    refit = chinchilla(papers["besiroglu2024"])
    assert kaplan_path.non_embedding_exponent(
        chinchilla(papers["hoffmann2022"], "_unrounded"), 8e2, 1.6e9, gamma
    ) == pytest.approx(0.757, abs=2e-3)
    assert kaplan_path.non_embedding_exponent(refit, 8e2, 1.6e9, gamma) == pytest.approx(0.793, abs=2e-3)
    assert exponent(refit) == pytest.approx(0.51, abs=5e-3)


def test_the_local_exponent_of_tiny_models_is_above_and_of_huge_ones_is_chinchillas():
    tiny = kaplan_path.non_embedding_exponent(REFIT, 1e-3, 1e-2, 47491.0)
    huge = kaplan_path.non_embedding_exponent(REFIT, 1e18, 1e19, 47491.0)
    assert tiny == pytest.approx(REFIT.beta / (REFIT.beta + REFIT.alpha / 3), abs=1e-3)  # N_T ~ N^(1/3)
    assert huge == pytest.approx(exponent(REFIT), abs=1e-3)


def test_the_reconciled_size_is_the_best_one():
    gamma, N = 47491.0, 1e7
    C = kaplan_path.non_embedding_compute(REFIT, N, gamma)
    best = frontier.optimum(lambda n, D: REFIT(kaplan_path.total_params(n, gamma), D), C)
    assert best.params == pytest.approx(N, rel=1e-5)


def test_gamma_of_32000_tokens_at_aspect_39(papers):
    assert kaplan_path.embedding_gamma(32_000, 39.2) == pytest.approx(
        papers["pearce2024"]["gamma_embedding"]["value"], rel=1e-3
    )
