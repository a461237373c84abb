"""The formulas against the papers' own numbers, and the runs that each law is about."""

import math

import jax
import numpy as np
import pytest

from analysis.laws import (
    LAWS,
    Chinchilla,
    Clark,
    Gadre,
    HenighanN,
    KaplanBCrit,
    KaplanC,
    KaplanD,
    KaplanExcess,
    KaplanLogN,
    KaplanN,
    KaplanND,
    KaplanNS,
    Muennighoff,
    law_by_name,
    lifetime_flops,
    power,
)
from analysis.rows import FitError, admitted
from analysis.table import Table
from scaling.errors import InputError

N = np.geomspace(1e6, 1e10, 5)
D = np.geomspace(1e8, 1e12, 5)


def typical(law):
    """Constants in the middle of the law's starts."""
    return law(*(math.sqrt(a * b) if c.log else (a + b) / 2 for c in law.constants() for a, b in [c.start]))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_a_law_is_the_same_in_numpy_and_jax(law):
    columns = [np.geomspace(2.0, 1e3, 7) for _ in law.inputs]
    one = typical(law)
    with jax.enable_x64(True):
        other = one(*map(jax.numpy.asarray, columns))
        assert isinstance(other, jax.Array)
        np.testing.assert_allclose(one(*columns), other, rtol=1e-12)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_a_law_says_what_it_is(law):
    assert law_by_name(law.name) is law
    assert law.__doc__
    assert law.source
    assert law.target not in law.inputs
    assert {c.kind for c in law.constants()} <= {"scale", "floor", "exponent", "number"}
    assert set(law.linear) <= {c.name for c in law.constants()}


@pytest.mark.parametrize("law", [law for law in LAWS if law.linear], ids=lambda law: law.name)
def test_a_law_is_linear_in_the_constants_it_calls_linear(law):
    columns = [np.geomspace(2.0, 1e3, 7) for _ in law.inputs]
    one = typical(law)
    values = [getattr(one, c.name) for c in law.constants()]
    tripled = law(*(3 * v if c.name in law.linear else v for c, v in zip(law.constants(), values, strict=True)))
    transform = np.log if law.linear_in_log else np.asarray
    np.testing.assert_allclose(transform(tripled(*columns)), 3 * transform(one(*columns)), rtol=1e-12)


def test_power_is_power_and_its_slope_in_the_exponent_is_exact():
    assert power(3.0, 2.5) == pytest.approx(3.0**2.5, rel=1e-15)
    with jax.enable_x64(True):
        assert jax.grad(lambda a: power(3.0, a))(2.5) == pytest.approx(math.log(3) * 3.0**2.5, rel=1e-14)


def test_kaplan_joint_law_has_its_limits(papers):
    k = {name: papers["kaplan2020"][f"table2_{name}"]["value"] for name in ("N_c", "D_c", "alpha_N", "alpha_D")}
    law = KaplanND(**k)
    np.testing.assert_allclose(law(N, 1e30), KaplanN(k["N_c"], k["alpha_N"])(N), rtol=1e-6)
    np.testing.assert_allclose(law(1e30, D), KaplanD(k["D_c"], k["alpha_D"])(D), rtol=1e-6)
    # (4.4): at a relative excess of 0.02, the seed noise, D / N ** 0.74 is about 5e3.
    assert law.excess(1e9, 5.28e3 * 1e9**0.74) == pytest.approx(0.02, rel=2e-3)
    assert law.excess(1e9, 3e10) == pytest.approx(law(1e9, 3e10) / law(1e9, 1e40) - 1, rel=1e-9)


def test_the_excess_law_is_the_excess_of_the_joint_law():
    joint = KaplanND(6.4e13, 1.8e13, 0.076, 0.103)
    ratio = 0.076 / 0.103
    excess = KaplanExcess(1.8e13 / 6.4e13**ratio, ratio, 0.103)
    np.testing.assert_allclose(excess(N, D), joint.excess(N, D), rtol=1e-9)


def test_the_critical_batch_is_what_the_paper_says(papers):
    law = KaplanBCrit(papers["kaplan2020"]["B_star"]["value"], papers["kaplan2020"]["alpha_B"]["value"])
    assert law(3.0) == pytest.approx(1.12e6, rel=5e-3)
    assert law(2.57) == pytest.approx(2.35e6, rel=5e-3)


def test_the_logarithmic_law_meets_the_power_law_inside_the_measured_range(papers):
    k = papers["kaplan2020"]
    line = KaplanLogN(-k["log_fit_slope_fig23"]["value"], k["log_fit_scale_fig23"]["value"])
    np.testing.assert_allclose(line(1e7), KaplanN(8.8e13, 0.076)(1e7), rtol=0.04)


def test_steps_at_the_critical_batch_cost_twice_the_minimum():
    """With the printed S_c on an S axis the law is what half of it gives on an S_min axis."""
    printed, halved = KaplanNS(6.5e13, 0.077, 2.1e3, 0.76), KaplanNS(6.5e13, 0.077, 1.05e3, 0.76)
    assert printed(1e8, 2e4) == pytest.approx(halved(1e8, 1e4))


def test_repetition_is_worth_less_than_fresh_data_and_one_epoch_is_chinchilla(papers):
    m = {name: papers["muennighoff2023"][name]["value"] for name in ("E", "A", "B", "alpha", "beta")}
    law = Muennighoff(**m, R_D=15.387756, R_N=5.309743)
    plain = Chinchilla(**m)
    small = 1e8  # below the compute-optimal size for these data, so that no parameter is in excess
    assert law(small, 1e10, 1e10) == pytest.approx(plain(small, 1e10), rel=1e-12)
    assert plain(small, 4e10) < law(small, 4e10, 1e10) < plain(small, 1e10)
    assert law(small, 4e10, 1e10) == pytest.approx(plain(small, 4e10), rel=5e-3)  # four epochs cost almost nothing
    assert law(small, 1e30, 1e10) == pytest.approx(plain(small, 1e10 * (1 + 15.387756)), rel=1e-9)
    # Fewer parameters than the optimum for U are worth their count; U_N = 0.0510 U with the published constants.
    assert law(0.0509e10, 1e10, 1e10) == pytest.approx(plain(0.0509e10, 1e10), rel=1e-9)
    assert law(0.10e10, 1e10, 1e10) > plain(0.10e10, 1e10)


def test_gadre_is_chinchilla_with_one_exponent():
    eta = 0.136
    one = Gadre(E=1.84, a=212.0, b=367.0, eta=eta)
    other = Chinchilla(E=1.84, A=212.0 * 6**-eta, B=367.0 * 6**-eta, alpha=2 * eta, beta=2 * eta)
    np.testing.assert_allclose(one(N, D), other(N, D), rtol=1e-12)


def test_routing_saturates_between_two_expert_counts():
    law = Clark(-0.082, -0.108, 0.009, 1.104, 1.847, 314.478)
    assert law.experts(1.0) == pytest.approx(1.847)
    assert law.experts(1e9) == pytest.approx(314.478, rel=1e-5)
    assert math.log10(law(1e9, 1.0)) == pytest.approx(
        -0.082 * 9 - 0.108 * math.log10(1.847) + 0.009 * 9 * math.log10(1.847) + 1.104
    )


def test_henighan_has_a_floor():
    assert HenighanN(2.2, 63.0, 0.13)(1e60) == pytest.approx(2.2, rel=1e-6)


def test_serving_costs_a_third_of_training_per_token():
    assert lifetime_flops(1e9, 2e10, 6e10) == 6e9 * 2e10 + 2e9 * 6e10


def test_an_unknown_law_names_the_known_ones():
    with pytest.raises(InputError, match=r"no law is called 'chinchila'; there are kaplan-n, .*chinchilla"):
        law_by_name("chinchila")


# --- The runs a law is about


def kept(law, **columns) -> list[int]:
    table = admitted(law, Table.from_columns(columns))
    return (table.rows - 1).tolist()


def test_chinchilla_leaves_out_repeated_data_undecayed_rates_and_diverged_runs():
    rows = {
        "params": np.full(5, 1e6),
        "tokens": np.array([1.0, 2.0, 4.0, 1.0, 1.1]) * 1e8,
        "unique_tokens": np.array([1.0, 2.0, 1.0, 1.0, 2.0]) * 1e8,
        "schedule": np.array(["cosine", "constant", "cosine", "cosine", "cosine"]),
        "status": np.array(["done", "done", "done", "diverged", "done"]),
        "loss": np.linspace(4, 3, 5),
    }
    assert kept(Chinchilla, **rows) == [0, 4]


def test_what_a_table_cannot_show_is_said_and_the_runs_stay():
    table = admitted(Chinchilla, Table.from_columns({"params": N, "tokens": D, "loss": np.linspace(4, 3, 5)}))
    assert len(table) == 5
    assert sum("not checked" in note for note in table.notes) == 2


def test_kaplans_data_laws_want_runs_that_went_on_until_the_loss_stopped_falling():
    rows = {
        "params": np.full(4, 1e6),
        "unique_tokens": np.full(4, 1e8),
        "tokens": np.full(4, 4e8),
        "tokens_at_min": np.array([2e8, 4e8, 4e8, 4e8]),
        "loss": np.array([4.0, 4.0, 4.0, 4.0]),
        "loss_half": np.array([3.9, 4.02, 4.4, np.nan]),
        "loss_min": np.array([3.8, 4.0, 4.0, 4.0]) + np.arange(4) * 1e-3,
    }
    assert kept(KaplanND, **rows) == [0, 1]


def test_the_size_law_wants_converged_runs_with_the_most_data_of_their_size():
    rows = {
        "params": np.array([1e6, 1e6, 1e7, 1e7]),
        "tokens": np.array([1e9, 2e9, 2e9, 2e9]),
        "loss": np.array([4.0, 3.9, 3.5, 3.4]),
        "loss_half": np.array([4.01, 3.91, 3.6, 3.42]),
    }
    assert kept(KaplanN, **rows) == [1, 3]
    with pytest.raises(FitError, match=r"kaplan-n is not identified: no run is left \(not converged"):
        kept(KaplanN, **{**rows, "loss_half": rows["loss"] * 1.1})


def test_the_data_law_wants_the_size_that_does_not_limit():
    rows = {
        "params": np.array([1e6, 1e7, 1e6, 1e7, 1e7]),
        "unique_tokens": np.array([1e8, 1e8, 1e9, 1e9, 1e9]),
        "loss_min": np.array([4.0, 4.1, 3.6, 3.5, 3.55]),
    }
    assert kept(KaplanD, **rows) == [0, 3, 4]


def test_the_compute_law_wants_runs_that_no_cheaper_run_beats():
    rows = {"flops": np.array([1e18, 1e17, 1e19, 1e18]), "loss": np.array([3.5, 4.0, 3.6, 3.7])}
    assert kept(KaplanC, **rows) == [0, 1]
