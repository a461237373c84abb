"""The best use of compute from our experiments, appendix B, and that no figure of the laws ever raises."""

import dataclasses
import re

import numpy as np
import pytest

from analysis import reference
from analysis.kaplan_path import KaplanPath
from analysis.papers.claim import Claim
from analysis.papers.kaplan import appendix, efficiency, fits
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.needed import needed, widest
from analysis.papers.kaplan.paper import PAPER
from analysis.recount import Count
from analysis.table import Table
from scaling.counts import PF_DAY
from tests import kaplan_records as known

PATH = known.TRUTH.path
# Of other texts there are tests of their own.
FIGURES = [
    name
    for name, entry in PAPER.figures.items()
    if set(entry.needs) <= {"grid", "data", "batch", "steps"} and name != "fig8"
]


@pytest.fixture(scope="module")
def evidence() -> Kaplan:
    return Kaplan(known.experiments())


def papers_path() -> KaplanPath:
    """Tables 3 and 5 with the alpha_N of Table 5, as appendix B's numbers come out."""
    names = ("alpha_N", "table3_N_c", "alpha_S", "S_c", "alpha_B", "B_star")
    return KaplanPath(*(reference.value(name) for name in names))


def holds(claim: Claim, truth: float) -> bool:
    """Whether the truth lies in the interval."""
    assert claim.interval is not None
    return claim.interval[0] < truth < claim.interval[1]


def test_sizes_and_batches_grow_with_compute_as_the_truth_has_it(evidence):
    assert holds(evidence.N_opt, PATH.alpha_C / PATH.alpha_N)
    assert holds(evidence.B_opt, PATH.alpha_C / PATH.alpha_B)


def test_the_exponent_of_compute_is_that_of_the_other_three(evidence):
    assert holds(evidence.alpha_C_min_predicted, PATH.alpha_C)
    assert abs(evidence.alpha_C_min.ours - PATH.alpha_C) < 1.5 * evidence.alpha_C_min.half


def test_the_least_compute_is_below_what_was_spent(evidence):
    curves = evidence.compute_curves
    assert np.all(curves["flops_min"] < curves["flops"])
    assert np.all(curves["steps_min"] < curves["step"])
    # C_min = 6 N E_min and E_min = B_crit S_min: the three columns are one.
    np.testing.assert_allclose(6 * curves["params"] * curves["batch_crit"] * curves["steps_min"], curves["flops_min"])


def test_the_best_sizes_of_figure_14_give_the_papers_line():
    C, N = reference.points("fig14_N_opt_of_Cmin").T
    found = fits.growth(Table.from_columns({"flops": PF_DAY * C, "params": N}), "params")
    assert found.law.p == pytest.approx(0.729, abs=5e-4)
    assert found.law.y_1 == pytest.approx(1.35e9, rel=5e-3)


def test_closed_forms_are_what_direct_optimisation_finds():
    rows = appendix.compared(papers_path(), np.geomspace(1e-6, 1, 4) * PF_DAY)
    assert max(abs(row["difference"]) for row in rows) < 1e-5
    by_equation = {row["equation"]: row for row in rows}
    for equation, number in (("(B.12)", 2.7007), ("(B.13)", 0.1329), ("(B.14)", 0.3589), ("(B.7)", 0.05199)):
        assert by_equation[equation]["direct"] == pytest.approx(number, abs=5e-5)


def test_a_fifth_more_compute_buys_these_sizes():
    assert efficiency.around_best(papers_path()) == pytest.approx((0.5770, 2.1842), rel=1e-3)


def test_measured_excess_compute_follows_the_closed_form(evidence):
    data = PAPER.draw_one("fig12", evidence).data
    near = (data["ratio"] > 0.7) & (data["ratio"] < 6)
    assert near.sum() >= 8
    off = np.log(data["compute"][near] / PATH.excess_compute(data["ratio"][near]))
    assert np.sqrt(np.mean(off**2)) < 0.08
    assert data["compute"][near].min() > 0.99


def test_what_a_wrong_size_costs_comes_with_intervals_that_hold_the_truth(evidence):
    drawn = PAPER.draw_one("fig12", evidence)
    assert drawn.decided
    said = re.findall(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)", drawn.sentences[0])
    ends = np.array(said, float)
    assert np.all(ends[:, 1] <= ends[:, 0])
    assert np.all(ends[:, 0] <= ends[:, 2])
    np.testing.assert_allclose(ends[:, 0], efficiency.around_best(PATH), rtol=0.03)
    assert "leaving out one size at a time" in drawn.sentences[1]
    assert "of smaller sizes reached the loss" in drawn.sentences[2]
    assert "none suffices" not in drawn.sentences[2]
    assert drawn.sentences[3].startswith("Larger models need fewer updates")


def test_how_many_times_fewer_tokens_a_large_model_needs_lies_in_the_interval():
    S = np.geomspace(1, known.TOKENS // known.BATCH, 100_000)
    inside = 0
    for seed in range(6):
        one = Kaplan({"grid": known.grid(seed=seed)})
        curves = one.grid_curves
        found = widest(needed(curves, np.geomspace(5.0, 3.0, 60), one.noise))
        assert found is not None
        small, large = (
            S[np.argmax(known.TRUTH.loss(N, S, known.BATCH) < found.loss)] for N in (found.small, found.large)
        )
        inside += found.low < small / large < found.high
    assert inside >= 5


def test_seeds_of_one_size_are_averaged_and_narrow_the_interval():
    grid = Kaplan({"grid": known.grid()})
    noise, curves = grid.noise, grid.grid_curves
    one = curves.where(curves["seed"] == 0, "another seed")
    few, more = (needed(table, [4.0], noise) for table in (one, curves))
    replicated = np.isin(few.N, (few.N[0], few.N[-1]))
    assert np.all(more.half[~replicated] == few.half[~replicated])
    assert np.all(
        more.half[replicated & np.isfinite(more.half[:, 0])] < few.half[replicated & np.isfinite(more.half[:, 0])]
    )


def test_noise_as_large_as_the_claim_decides_nothing():
    loud = Kaplan(known.experiments(0.1))
    for name in ("fig2", "fig12"):
        drawn = PAPER.draw_one(name, loud)
        assert not drawn.decided
        assert drawn.open[0].startswith("cannot decide")


def test_without_a_second_seed_fewer_tokens_are_not_claimed(evidence):
    grid = evidence.experiments["grid"]
    first = grid.runs.where(grid.runs["seed"] == 0, "another seed")
    drawn = PAPER.draw_one("fig2", Kaplan({"grid": dataclasses.replace(grid, runs=first)}))
    assert not drawn.decided
    assert "no setting has two seeds" in drawn.open[0]
    assert PAPER.draw_one("fig2", Kaplan({"grid": grid})).decided


def test_losses_at_fixed_compute_have_a_minimum_that_moves(evidence):
    data = PAPER.draw_one("fig11", evidence).data
    best = []
    for C in np.unique(data["at"][data["fixed"] == "flops_min"]):
        rows = np.flatnonzero((data["at"] == C) & (data["fixed"] == "flops_min"))
        best.append(data["params"][rows[np.argmin(data["loss"][rows])]])
    assert np.all(np.diff(best) >= 0)
    assert best[-1] > 10 * best[0]


def test_the_same_branches_counted_with_the_head_give_a_slower_growth_of_the_best_size(evidence):
    data = PAPER.draw_one("fig14", evidence).data
    slopes = []
    for count in Count:
        rows = data["compute"] == f"6ND, {count}"
        slopes.append(np.polyfit(np.log(data["flops"][rows]), np.log(data["params"][rows]), 1)[0])
    assert slopes[0] > slopes[1] + 0.1
    assert slopes[1] == pytest.approx(slopes[2], abs=0.05)


@pytest.fixture(scope="module")
def figure_1(evidence):
    return PAPER.draw_one("fig1", evidence)


def test_the_exponents_of_figure_1_are_slopes_of_its_points_by_plain_numpy(evidence, figure_1):
    for panel, claim in (("N", evidence.alpha_N), ("D", evidence.alpha_D), ("C_min", evidence.alpha_C_min)):
        own = figure_1.data["panel"] == panel
        slope = np.polyfit(np.log(figure_1.data["x"][own]), np.log(figure_1.data["loss"][own]), 1)[0]
        assert -slope == pytest.approx(claim.ours, rel=1e-6)


def test_figure_1_says_how_far_both_losses_fall_over_the_sizes_that_both_have(evidence, figure_1):
    said = " ".join(figure_1.sentences)
    ours, theirs = map(
        float, re.findall(r"From N = 6.14k to 519k our .* of ([\d.]+), the paper's by ([\d.]+)\.", said)[0]
    )
    runs, (N, L) = evidence.size_runs, reference.points("fig1_L_of_N").T
    ends = [np.exp(np.log(runs["loss"][runs["params"] == n]).mean()) for n in (6_144, runs["params"].max())]
    assert ours == pytest.approx(ends[0] / ends[1], abs=1e-3)
    # As read off Figure 1: 5.913 at N = 6.1k, and between 4.321 at 332k and 4.103 at 590k.
    last = np.exp(np.interp(np.log(runs["params"].max()), np.log(N), np.log(L)))
    assert 4.103 < last < 4.321
    assert theirs == pytest.approx(5.913 / last, abs=1e-3)


def test_figure_9_shows_hollow_the_runs_that_are_not_known_to_have_stopped_alone(evidence):
    drawn = PAPER.draw_one("fig9", evidence)
    assert drawn.figure is not None
    hollow = [line for line in drawn.figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert f"{len(hollow)} of 20 data sets and sizes are left out" in " ".join(drawn.sentences)


def test_the_laws_cross_where_both_give_the_same_loss(evidence):
    sure = Kaplan(evidence.experiments)
    vars(sure).update(vars(evidence))
    for name in ("alpha_C_min", "alpha_D", "N_opt"):  # as if their intervals were narrow enough
        setattr(sure, name, dataclasses.replace(getattr(evidence, name), enough=1.0))
    drawn = PAPER.draw_one("fig15", sure)
    assert drawn.decided
    gap = np.log(drawn.data["L_of_C_min"] / drawn.data["L_of_D"])
    assert gap[0] > 0 > gap[-1]


def test_laws_whose_crossing_is_undecided_are_not_drawn_to_cross(evidence):
    drawn = PAPER.draw_one("fig15", evidence)
    assert not drawn.decided
    assert drawn.figure is not None
    (axes,) = drawn.figure.axes
    assert not axes.texts
    assert not any("cross at" in sentence for sentence in drawn.sentences)
    assert drawn.data["flops_min"].max() / drawn.data["flops_min"].min() < 1e5  # as far as our runs go


def test_table_1_adds_up_to_what_a_run_counts(evidence):
    drawn = PAPER.draw_one("table1", evidence)
    assert drawn.decided
    assert "Of the whole forward FLOP 2N is 23 % at N = 1.54k" in " ".join(drawn.sentences)
    assert drawn.data["parameters"][-1] == evidence.experiments["grid"].runs["params"].max()


def test_without_a_batch_scan_nothing_is_said_of_the_least_compute(evidence):
    alone = Kaplan({"grid": evidence.experiments["grid"]})
    assert alone.alpha_C_min.ours is None
    assert "no run of the experiment batch has finished" in alone.alpha_C_min.remark
    assert alone.alpha_C.ours is not None


@pytest.mark.parametrize(
    "there",
    [
        *((), ("grid",), ("data",), ("batch",), ("steps",)),
        *(pytest.param(pair, marks=pytest.mark.slow) for pair in (("grid", "data"), ("grid", "batch"))),
    ],
)
def test_no_figure_raises_for_want_of_an_experiment(evidence, there):
    some = Kaplan({name: evidence.experiments[name] for name in there})
    for name in FIGURES:
        drawn = PAPER.draw_one(name, some)
        assert there or not drawn.decided, name


def test_no_figure_raises_on_the_first_runs_of_a_study():
    """Two sizes, one amount of data, one batch; one run diverged, one is not finished."""
    rng = np.random.default_rng(0)
    few = {
        "grid": known.grid(shapes=known.SHAPES[:2]),
        "steps": known.steps(shapes=known.SHAPES[:2]),
        "data": known.data(shapes=known.SHAPES[2:3]),
        "batch": known.batch(shapes=known.SHAPES[3:4]),
    }
    cut = {}
    for name, records in few.items():
        status = np.array(["done"] * len(records.runs), dtype="<U8")
        status[0], status[-1] = "diverged", "running"
        loss = np.where(status == "diverged", np.nan, records.runs["loss"])
        of_run = dict(zip(records.runs["run"], status, strict=True))
        curve = np.array([of_run[run] for run in records.curves["run"]])
        lost = np.where(curve == "diverged", np.nan, records.curves["loss"])
        cut[name] = type(records)(
            records.runs.with_columns(status=status, loss=loss),
            records.curves.with_columns(status=curve, loss=lost * np.exp(0.01 * rng.normal(size=len(lost)))),
            records.positions,
            (),
        )
    begun = Kaplan(cut)
    for name in FIGURES:
        PAPER.draw_one(name, begun)


def test_every_figure_of_a_whole_study_is_decided_or_says_why(evidence):
    for name in FIGURES:
        drawn = PAPER.draw_one(name, evidence)
        assert drawn.sentences or drawn.open, name
        assert len(drawn.data), name
        if drawn.figure is not None:
            drawn.figure.canvas.draw()
