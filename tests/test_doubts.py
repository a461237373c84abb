"""Doubt: fits that mean nothing are refused, doubtful ones say why."""

import dataclasses
import math

import numpy as np
import pytest
from drawn import TRUTH, grid, noisy

from analysis.fit import doubts, fit, intervals
from analysis.fit.descent import descend
from analysis.fit.floor import Floor
from analysis.fit.rows import FitError
from analysis.fit.solver import Objective, Problem
from analysis.fit.starts import starts_of
from analysis.laws import Chinchilla, HenighanN, KaplanN, Law, constant
from scaling.errors import InputError


def test_one_row_cannot_be_fitted():
    with pytest.raises(FitError, match="1 runs for 2 constants; wanted at least 3"):
        fit(KaplanN, {"params": [1e6], "loss": [4.0]})


def test_an_input_that_does_not_vary_cannot_be_fitted():
    with pytest.raises(FitError, match="params is 1e6 in all 6 runs"):
        fit(Chinchilla, {"params": np.full(6, 1e6), "tokens": np.geomspace(1e8, 1e9, 6), "loss": np.linspace(4, 3, 6)})


def test_a_loss_that_rises_with_size_is_no_law():
    with pytest.raises(
        FitError, match=r"exponent alpha_N came out at 0\.0018\d* \(0\.00\d+ to 0\.00\d+\), and one clearly above 0"
    ):
        fit(KaplanN, {"params": np.geomspace(1e5, 1e9, 8), "loss": np.linspace(3, 4, 8)})


def test_tokens_in_proportion_to_parameters_cannot_tell_alpha_from_beta():
    N = np.geomspace(1e7, 1e10, 12)
    table = noisy(Chinchilla(*TRUTH["chinchilla"]), {"params": N, "tokens": 20 * N}, 0.005)
    found = fit("chinchilla", table, loss="squared")
    assert any("tokens follows params" in note and "alpha and beta cannot be separated" in note for note in found.notes)
    assert found.status != "converged"


def test_a_floor_that_leaves_the_fit_is_at_a_bound():
    table = noisy(KaplanN(8.8e13, 0.15), {"params": np.geomspace(1e5, 1e7, 12)}, 1e-4, seed=2)
    table["loss"] = table["loss"] * (1 - 0.002 * np.linspace(-1, 1, 12) ** 2)  # bent the wrong way for a floor
    found = fit(HenighanN, table, loss="squared")
    assert found.status == "at a bound"
    assert found.law.L_inf == 0
    low, high = found.intervals["L_inf"]
    assert low == 0
    assert found.why == f"L_inf sank to 0: the runs want no floor, or one of at most {high:.6g} at this level"


def test_whether_a_floor_sinks_to_0_is_no_matter_of_chance():
    """L(N) without a floor, ten draws of 12 sizes: the floor is 0 or not, and its interval begins there."""
    N = np.geomspace(1e5, 1e7, 12)
    for seed in range(10):
        found = fit(HenighanN, noisy(KaplanN(8.8e13, 0.1), {"params": N}, 0.003, seed=seed), loss="squared")
        low, high = found.intervals["L_inf"]
        assert (found.status == "at a bound") == (found.law.L_inf == 0)
        assert found.status in ("at a bound", "converged")
        assert 0 == low <= found.law.L_inf <= high < math.inf
        assert all(0 < ends[0] < ends[1] < math.inf for name, ends in found.intervals.items() if name != "L_inf")


def test_at_a_bound_the_other_constants_have_the_intervals_of_the_law_without_it():
    """A size added to N that comes out at 0: the rest is the law that never had it."""

    @dataclasses.dataclass(frozen=True)
    class Shifted(HenighanN):
        """L = L_inf + (N_0 / (N + M)) ** alpha."""

        M: float = constant("parameters", (1e1, 1e5))
        name = "shifted"

        def __call__(self, N):
            return super().__call__(N + self.M)

    N = np.geomspace(1e5, 1e8, 16)
    noise = 2e-4 * np.random.default_rng(1).normal(size=16)
    table = {"params": N, "loss": HenighanN(1.5, 1e7, 0.3)(N - 3e4) * np.exp(noise)}  # M would have to be below 0
    shifted, plain = (fit(law, table, loss="squared", every_run=True) for law in (Shifted, HenighanN))
    assert shifted.status == "at a bound"
    assert "M has no effect" in shifted.why
    assert "the intervals of the others hold it there" in shifted.why
    assert shifted.intervals["M"] == (0.0, math.inf)
    for name, ends in plain.intervals.items():
        assert shifted.intervals[name] == pytest.approx(ends, rel=5e-3), name


def test_two_optima_that_fit_alike_are_both_named():
    @dataclasses.dataclass(frozen=True)
    class Folded(Law):
        """L = A (a - 1) ** 2, which two values of a satisfy."""

        a: float = constant("", (-3.0, 5.0), "number")
        name = "folded"
        inputs = ("n_layer",)

        def __call__(self, n_layer):
            return n_layer * (self.a - 1) ** 2

    N = np.linspace(1, 2, 9)
    found = fit(Folded, noisy(Folded(3.0), {"n_layer": N}, 0.01), loss="squared")
    assert found.status == "starts disagree"
    assert "another optimum fits as well" in found.why


def checkpoints(groups: int, rows: int = 10) -> dict[str, np.ndarray]:
    """Rows of a few runs each, which share their run's offset."""
    rng = np.random.default_rng(3)
    run = np.repeat(np.arange(groups), rows)
    N = np.repeat(np.geomspace(1e5, 1e9, groups), rows) * np.tile(np.geomspace(1, 2, rows), groups)
    offset = 0.01 * rng.normal(size=groups)[run] + 0.0005 * rng.normal(size=groups * rows)
    return {"params": N, "loss": KaplanN(8.8e13, 0.076)(N) * np.exp(offset), "group": run.astype(float)}


def test_two_runs_with_many_checkpoints_cannot_tell_two_constants():
    with pytest.raises(FitError, match="2 clusters for 2 constants, however many rows; wanted at least 3, better 6"):
        fit(KaplanN, checkpoints(2), clusters="group", every_run=True)


def test_few_clusters_are_said_to_be_few():
    few, many = (fit(KaplanN, checkpoints(k), clusters="group", every_run=True, loss="squared") for k in (4, 7))
    assert any("4 clusters for 2 constants" in note for note in few.notes)
    assert not any("clusters" in note for note in many.notes)


def test_losses_that_are_all_equal_are_refused():
    with pytest.raises(FitError, match="loss is 3 in all 8 runs; wanted losses that differ"):
        fit(KaplanN, {"params": np.geomspace(1e5, 1e9, 8), "loss": np.full(8, 3.0)})


def test_a_constant_that_runs_leave_open_is_called_weakly_identified():
    truth = HenighanN(2.0, 1e5, 0.3)
    narrow = noisy(truth, {"params": np.geomspace(1e6, 1e7, 12)}, 0.01)
    wide = noisy(truth, {"params": np.geomspace(1e4, 1e12, 40)}, 0.001)
    assert any("alpha is weakly identified: 95 % from" in note for note in fit(HenighanN, narrow, loss="squared").notes)
    assert not any("weakly" in note for note in fit(HenighanN, wide, loss="squared").notes)


def test_a_scale_that_follows_from_the_exponent_is_not_called_weakly_identified():
    found = fit(KaplanN, noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.01), loss="squared")
    low, high = found.intervals["N_c"]
    assert high / low > doubts.WEAK
    assert not any("weakly" in note for note in found.notes)


def test_draws_are_checked_from_all_over_the_ranges_and_better_optima_are_taken_along():
    """A draw kept at a bad optimum is found out, and the better one is handed back."""
    columns = grid(Chinchilla)
    table = noisy(Chinchilla(*TRUTH["chinchilla"]), columns, 0.01)
    x, y = (columns["params"], columns["tokens"]), np.log(table["loss"])[None]
    problem = Problem(Chinchilla, Objective("squared"), x, y, np.ones((1, 36)))
    counts = intervals.resample(np.random.default_rng(0), 36, 40)
    free, starts = np.ones(5, bool), starts_of(problem, 128, {})
    best = descend(problem, starts, free)
    good = intervals.bootstrap(problem, best.theta[None], best.spread, free, counts, 0)
    none, said = doubts.better_optima(problem, good, counts, starts, free)
    assert (len(none), said) == (0, "0 of 2 draws refitted from 64 starts")
    bad = good.copy()
    bad[1] += [1.0, 0, 0, 0, 0]
    better, said = doubts.better_optima(problem, bad, counts, starts, free)
    assert said.startswith("1 of 2")
    np.testing.assert_allclose(better[0], good[1], rtol=1e-3)


def test_a_bootstrap_without_a_usable_draw_is_a_note_not_a_crash():
    N = np.geomspace(1e5, 1e9, 6)
    table = noisy(HenighanN(1.5, 1e7, 0.3), {"params": np.append(N[:3], N[3])}, 0.001)
    found = fit(HenighanN, table, loss="squared", bootstrap=1, seed=2)
    assert found.percentile == {}
    assert any("none of 1 bootstrap draws held more than 3 different runs" in note for note in found.notes)
    assert "percentiles" not in "\n".join(found.summary().splitlines()[:6])


def test_too_few_draws_for_the_level_are_said_to_be_too_few():
    table = noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.01)
    assert any("wanted 40 or more" in note for note in fit(KaplanN, table, bootstrap=10).notes)
    assert not any("wanted 40" in note for note in fit(KaplanN, table, bootstrap=60).notes)


@pytest.mark.parametrize("kind", ["huber", "squared"])
@pytest.mark.parametrize("seed", [3, 5])
def test_exponents_that_could_change_places_have_no_interval_for_one_reason(kind, seed):
    """Tokens in proportion to parameters: L = E + A / N^alpha + B' / N^beta, whichever is which."""
    N = np.geomspace(1e7, 1e9, 12)
    table = noisy(Chinchilla(*TRUTH["chinchilla"]), {"params": N, "tokens": 20 * N}, 0.003, seed=seed)
    found = fit("chinchilla", table, loss=kind)
    assert found.status == "flat direction"
    assert found.why.startswith("alpha and beta could change places: tokens is params to the power 1.00 in all runs")
    assert found.interval_kind == "none"
    assert found.intervals["E"] == (0, math.inf)
    assert found.intervals["alpha"] == (0, math.inf)
    assert "no interval" in found.summary()
    assert not any("weakly identified" in note for note in found.notes)


@pytest.mark.parametrize("seed", range(2))
def test_intervals_hold_their_estimates_and_exponents_go_no_lower_than_0(seed):
    """Few runs over few sizes, 5 % noise: they tell little, but nothing below 0."""
    columns = {"params": np.tile([1e7, 3e7, 1e8], 3), "tokens": np.repeat([1e9, 3e9, 1e10], 3)}
    found = fit("chinchilla", noisy(Chinchilla(*TRUTH["chinchilla"]), columns, 0.05, seed=seed))
    for name, value in found.constants.items():
        low, high = found.intervals[name]
        assert 0 <= low <= value <= high
        assert found.stderr[name] >= 0


@pytest.mark.parametrize("seed", [1, 7])
def test_a_descent_that_stops_on_its_way_up_from_a_floor_of_0_is_no_other_optimum(seed):
    """Chinchilla's law without a floor, 1 % noise: one draw in four was 'starts disagree', which bounds no forecast."""
    truth = Chinchilla(0.0, 400.0, 2000.0, 0.2, 0.22)
    N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 20), np.geomspace(1e9, 1e12, 10), indexing="ij"))
    noise = np.random.default_rng(seed).normal(0, 0.01, len(N))
    found = fit("chinchilla", {"params": N, "tokens": D, "loss": truth(N, D) * np.exp(noise)})
    assert found.sound, found.why
    assert found.intervals["E"][0] == 0
    said = found.predict(params=1e11, tokens=1e13)
    assert said.low < truth(1e11, 1e13) < said.high


def test_two_values_of_an_input_leave_a_floor_a_scale_and_an_exponent_one_curve():
    N, D = (x.ravel() for x in np.meshgrid([1e7, 1e10], np.geomspace(1e9, 1e12, 8)))
    truth = Chinchilla(1.8, 482.0, 2085.0, 0.35, 0.37)
    table = {"params": N, "tokens": D, "loss": truth(N, D) * np.exp(0.01 * np.random.default_rng(0).normal(size=16))}
    free, pinned = fit("chinchilla", table), fit("chinchilla", table, floor=Floor(1.8))
    assert (free.status, free.interval_kind, free.sound) == ("flat direction", "none", False)
    assert free.why.startswith("E and A and alpha can change together")
    assert "params has 2 values; wanted 3 or more, or a floor pinned" in free.why
    low, high = pinned.intervals["alpha"]
    assert low < 0.35 < high
    assert pinned.sound


def test_a_delta_far_below_the_scatter_of_few_runs_is_said_to_give_short_intervals():
    columns = {"params": np.tile([1e7, 1e8, 1e9], 3), "tokens": np.repeat([1e9, 1e10, 1e11], 3)}
    table = noisy(Chinchilla(*TRUTH["chinchilla"]), columns, 0.04)
    assert any("such intervals are too short" in note for note in fit("chinchilla", table, loss="huber").notes)
    assert not any("too short" in note for note in fit("chinchilla", table).notes)


def test_an_argument_below_zero_is_named_alone():
    table = noisy(KaplanN(8.8e13, 0.076), {"params": np.geomspace(1e5, 1e9, 12)}, 0.01)
    with pytest.raises(InputError, match=r"^bootstrap -1; wanted 0 or more$"):
        fit(KaplanN, table, bootstrap=-1)


def test_an_exponent_that_runs_away_is_doubted_by_name():
    position = np.arange(1.0, 65.0)
    loss = np.where(position == 1, 5.0, 4.0) * np.exp(1e-3 * np.random.default_rng(0).standard_normal(64))
    found = fit("kaplan-position", {"position": position, "loss": loss}, loss="squared", every_run=True)
    assert found.status == "at a bound"
    assert found.why.startswith("c has no effect on any prediction")
