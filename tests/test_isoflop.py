"""IsoFLOP profiles: known exponents come back, published ones are met, useless grids are refused."""

import csv

import numpy as np
import pytest

from analysis import frontier, isoflop
from analysis.laws import Chinchilla
from analysis.table import Table
from scaling.errors import InputError

PORIAN = ("dataset", "hparams", "warmup", "decay", "param_count", "loss_kind")
REFIT = Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)  # Besiroglu et al. (2024)


def exponent(law):
    return law.beta / (law.alpha + law.beta)


def ladder(law, budgets, spread, noise=0.0, seed=0):
    """IsoFLOP runs: every budget at the sizes `spread` around its optimum."""
    C = np.repeat(budgets, len(spread))
    N = (frontier.chinchilla_optimum(law, budgets).params[:, None] * spread).ravel()
    wobble = np.exp(noise * np.random.default_rng(seed).standard_normal(len(N)))
    return Table.from_columns({"params": N, "flops": C, "loss": law(N, C / 6 / N) * wobble})


BUDGETS = np.geomspace(1e18, 1e20, 6)
AROUND = np.geomspace(1 / 6, 6, 9)


def test_akimas_wide_intervals_are_told():
    table = ladder(REFIT, BUDGETS, AROUND, noise=0.002)
    akima, parabola = (isoflop.isoflop(table, method=m, sigma=0.002, draws=50) for m in ("akima", "parabola"))
    assert any("intervals are wide" in note for note in akima.warnings)
    assert not any("intervals are wide" in note for note in parabola.warnings)


@pytest.mark.parametrize(("method", "tolerance"), [("parabola", 1e-3), ("akima", 5e-3)])
def test_isoflop_finds_the_exponents_of_the_surface_it_was_drawn_from(method, tolerance):
    found = isoflop.isoflop(ladder(REFIT, BUDGETS, AROUND), method=method, sigma=0.0, draws=0)
    assert found.a == pytest.approx(exponent(REFIT), abs=tolerance)
    assert found.b == pytest.approx(1 - exponent(REFIT), abs=tolerance)
    np.testing.assert_allclose([p.params for p in found.points], frontier.best(REFIT, BUDGETS).params, rtol=0.03)
    assert found.warnings == ()


@pytest.mark.parametrize("known", [0.003, None])
def test_the_isoflop_interval_covers(known):
    hits = []
    for seed in range(60):
        table = ladder(REFIT, BUDGETS, AROUND, noise=0.003, seed=seed)
        low, high = isoflop.isoflop(table, sigma=known, draws=200, seed=seed).a_interval
        hits.append(low <= exponent(REFIT) <= high)
    assert sum(hits) >= 51  # 3 standard errors of a binomial with p = 0.95 below 57, and a little


def test_the_scatter_about_smooth_profiles_is_the_noise():
    found, _ = isoflop.profiles(ladder(REFIT, np.geomspace(1e18, 1e21, 40), AROUND, noise=0.004))
    assert isoflop.profile_scatter(found) == pytest.approx(0.004, rel=0.15)


def test_akima_meets_porians_exponents_in_all_15_settings(shared):
    folder = shared / "reference_runs" / "porian2024_isoflop"
    rows, settings = (
        list(csv.DictReader((folder / name).read_text().splitlines()))
        for name in ("isoflop_points.csv", "published_fits.csv")
    )
    assert len(settings) == 15
    for setting in settings:
        own = [row for row in rows if all(row[key] == setting[key] for key in PORIAN)]
        table = Table.from_columns(
            {
                name: [float(row[column]) for row in own]
                for name, column in {"params": "n_params", "flops": "flops", "tokens": "tokens", "loss": "loss"}.items()
            }
        )
        found = isoflop.isoflop(table, method="akima", sigma=0.002, draws=0)
        assert found.a == pytest.approx(float(setting["n_exponent_unweighted"]), abs=0.005)


def test_a_minimum_at_the_edge_is_flagged_and_left_out():
    good = ladder(REFIT, BUDGETS, AROUND)
    edge = ladder(REFIT, np.array([1e21]), np.geomspace(0.02, 0.3, 8))
    table = Table.from_columns({c: np.concatenate([good[c], edge[c]]) for c in ("params", "flops", "loss")})
    found = isoflop.isoflop(table, sigma=0.0, draws=0)
    assert [m.status for m in found.minima if not m.interior] == ["at the largest size"]
    assert len(found.points) == len(BUDGETS)
    assert "left out: at the largest size at 1 budget (8 sizes, 1e21 FLOP)" in found.text()


def test_losses_that_bend_the_wrong_way_are_refused():
    N = np.tile(np.geomspace(1e6, 1e8, 7), 2)
    C = np.repeat([1e17, 1e18], 7)
    table = Table.from_columns({"params": N, "flops": C, "loss": np.exp(1 - 0.01 * np.log(N / 1e7) ** 2)})
    with pytest.raises(InputError, match=r"0 budgets with a minimum.*a maximum"):
        isoflop.isoflop(table, sigma=0.0, draws=0)


def test_two_sizes_per_budget_are_too_few():
    with pytest.raises(InputError, match=r"too few sizes at 6 budgets \(2 sizes"):
        isoflop.isoflop(ladder(REFIT, BUDGETS, np.array([0.5, 2.0])))


def test_an_off_centre_grid_is_warned_about_and_its_bias_can_be_had():
    skewed = Chinchilla(E=1.8172, alpha=0.2, beta=0.45, A=40.0, B=9000.0)
    C = np.repeat(np.geomspace(1e18, 1e21, 6), 9)
    # A grid that stays where it is while the optimum moves through it.
    N = np.tile(np.geomspace(3e8, 3e11, 9), 6)
    table = Table.from_columns({"params": N, "flops": C, "loss": skewed(N, C / 6 / N)})
    warnings = " ".join(isoflop.isoflop(table, sigma=0.0, draws=0).warnings)
    assert "off centre" in warnings
    assert "span over 100x" in warnings
    assert "grid_bias" in warnings
    found, true = isoflop.grid_bias(table, skewed)
    assert true == pytest.approx(exponent(skewed), abs=1e-6)
    assert abs(found - true) > 0.005


def test_a_narrow_centred_grid_has_no_bias():
    found, true = isoflop.grid_bias(ladder(REFIT, BUDGETS, AROUND), REFIT)
    assert found == pytest.approx(true, abs=1e-3)


def test_of_several_runs_at_one_point_seeds_are_averaged_and_the_best_rate_kept():
    table = Table.from_columns(
        {
            "params": [1e6] * 4,
            "flops": [1e15] * 4,
            "loss": [3.0, 3.2, 3.05, 3.01],
            "learning_rate": [1e-3, 1e-3, 2e-3, 2e-3],
            "seed": [0, 1, 0, 1],
        }
    )
    (profile,), warnings = isoflop.profiles(table)
    assert np.exp(profile.y).tolist() == pytest.approx([np.sqrt(3.05 * 3.01)])
    assert "seeds were averaged" in warnings[0]


def test_runs_within_a_tenth_of_a_budget_share_it():
    table = Table.from_columns({"params": [1e6, 2e6, 1e6], "flops": [1e15, 1.05e15, 2e15], "loss": [3.0, 2.9, 2.8]})
    found, _ = isoflop.profiles(table)
    assert [len(p.x) for p in found] == [2, 1]
