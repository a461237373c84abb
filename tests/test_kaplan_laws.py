"""Kaplan's laws from our experiments: what is recovered of a known truth, what is refused, and what is said of it."""

import dataclasses
import itertools

import numpy as np
import pytest

from analysis import digits, laws, reference
from analysis.page import canvas
from analysis.papers import drawing
from analysis.papers.claim import Claim, Undecided, Verdict, tally
from analysis.papers.evidence import means
from analysis.papers.kaplan import early, fits, joint, length
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.paper import PAPER
from analysis.papers.known import measured
from analysis.table import Table
from tests import kaplan_records as known

TRUTH = known.TRUTH
REACH = 1.5  # half-widths of the 95 % interval: so many constants at once do not all lie inside


@pytest.fixture(scope="module")
def evidence() -> Kaplan:
    return Kaplan(known.experiments())


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("joint_alpha_N", TRUTH.alpha_N),
        ("joint_alpha_D", TRUTH.alpha_D),
        ("ratio", TRUTH.alpha_N / TRUTH.alpha_D),
        ("alpha_D", TRUTH.alpha_D),
        ("steps_alpha_N", TRUTH.alpha_N),
        ("alpha_S", TRUTH.alpha_S),
        ("alpha_B", TRUTH.alpha_B),
        ("B_star", TRUTH.B_star),
    ],
)
def test_exponents_come_back_from_runs_of_a_known_law(evidence, name, truth):
    claim = getattr(evidence, name)
    assert abs(claim.ours - truth) <= REACH * claim.half


def test_sizes_that_have_not_converged_are_flagged_and_flatten_the_law(evidence):
    alpha_N = evidence.alpha_N
    assert alpha_N.ours is not None
    assert alpha_N.ours < TRUTH.alpha_N
    assert "not of converged runs" in alpha_N.note


def test_unconverged_sizes_are_left_out_where_enough_others_have_converged(evidence):
    runs = evidence.size_runs
    small = runs["params"] < 1e5
    found = fits.of_size(runs.with_columns(loss_half=np.where(small, 1.01, 1.2) * runs["loss"]))
    assert found.table["params"].max() < 1e5
    assert "had not converged and are left out" in found.evidence


def test_the_range_over_choices_holds_the_exponent_with_the_rows_that_a_rule_left_out(evidence):
    runs = evidence.size_runs
    one = runs.with_columns(n_layer=np.where(runs["params"] < 3000, 1.0, 2.0), loss_half=1.01 * runs["loss"])
    found = fits.of_size(one)
    assert found.table["params"].min() > 3000
    claim = measured(evidence.alpha_N, lambda: found, "alpha_N")
    with_shallow = [constants["alpha_N"] for why, constants in found.fit.without_rule.items() if "layer" in why]
    assert claim.span is not None
    assert claim.ours is not None
    low, high = claim.span
    assert low <= claim.ours <= high
    assert all(low <= alpha <= high for alpha in with_shallow)
    assert with_shallow


def test_runs_that_ended_before_their_model_used_its_context_are_in_no_law(evidence):
    grid = evidence.experiments["grid"]
    late = np.where(grid.runs["params"] < 3000, np.nan, grid.runs["onset"])
    some = Kaplan({"grid": dataclasses.replace(grid, runs=grid.runs.with_columns(onset=late))})
    assert some.size.table["params"].min() > 3000
    assert some.grid_curves["params"].min() > 3000
    assert any("used its context" in left.reason for left in some.grid.excluded)


def test_what_branches_of_a_trunk_share_is_one_learning_curve(evidence):
    curves = evidence.grid_curves
    assert len(set(curves["run"])) == len(known.SHAPES) + 4  # the corners have two more seeds
    assert len({*zip(curves["run"], curves["step"], strict=True)}) == len(curves)
    assert np.all(curves["step"] <= 0.8 * curves["steps"])


def test_of_a_trunk_over_epochs_the_lowest_branch_counts_and_a_longer_one_shows_that_it_had_stopped(evidence):
    stops, every = evidence.data_runs, evidence.every_data_run
    few = stops["unique_tokens"] < known.AMPLE
    assert np.sum(stops["tokens_at_min"][few] < stops["tokens"][few]) >= 14  # of 16
    assert len(stops) == len({*zip(every["params"], every["unique_tokens"], strict=True)})
    first = every.where(every["tokens"] <= 2 * every["unique_tokens"], "more than two epochs")
    data = evidence.experiments["data"]
    short = Kaplan({"data": dataclasses.replace(data, runs=first)})
    assert len(short.joint.table) <= 8  # ample data, and what had not begun to learn
    assert "nothing shows that the loss had stopped falling" in short.joint.evidence


def far_below(factor: float) -> Kaplan:
    """The experiments grid and steps at batches so many times smaller, with the same losses."""
    all_ = known.experiments()
    smaller = {
        name: dataclasses.replace(
            all_[name], curves=all_[name].curves.with_columns(batch_tokens=all_[name].curves["batch_tokens"] / factor)
        )
        for name in ("grid", "steps")
    }
    return Kaplan({**all_, **smaller})


def test_far_below_the_critical_batch_what_rests_on_least_updates_is_not_measurable_rather_than_undecided():
    small = far_below(64.0)
    for claim in (*small.steps_claims[:2], small.alpha_C_min_predicted, small.S_opt):
        assert claim.verdict is Verdict.NOT_MEASURABLE
        assert claim.ours is None
        assert "S_min" in claim.why
    # C_min is of the grid, and there it is the compute spent: one measurement, judged once.
    assert small.alpha_C_min.ours is not None
    assert small.alpha_C.ours == pytest.approx(small.alpha_C_min.ours, rel=0.02)
    assert not small.alpha_C.independent
    assert small.alpha_C.verdict is Verdict.NOT_COMPARED
    for name in ("fig12", "table3"):
        assert any("not measurable here" in sentence for sentence in PAPER.draw_one(name, small).open), name


def test_the_largest_size_is_predicted_within_a_percent(evidence):
    drawn = PAPER.draw_one("fig4", evidence)
    held_out = evidence.joint_alpha_N.held_out
    assert held_out is not None
    assert held_out < joint.GOAL
    assert any("within the goal of 1.0 %" in sentence for sentence in drawn.sentences)


def test_the_excess_collapses_onto_one_curve(evidence):
    drawn = PAPER.draw_one("fig9", evidence)
    assert any("collapses onto the one curve" in sentence for sentence in drawn.sentences)
    data = drawn.data.where(np.isfinite(drawn.data["excess"]), "on the most data")
    assert len(data) >= 14
    np.testing.assert_allclose(data["excess"], data["law"], atol=0.02)
    ratio = evidence.ratio.ours
    np.testing.assert_allclose(data["x"], data["params"] ** ratio / data["unique_tokens"])


def test_runs_that_stop_before_the_bound_are_named(evidence):
    stops, law = early.stops(evidence), evidence.steps.fit.law
    np.testing.assert_allclose(stops["bound"], law.S_c * stops["loss_gap"] ** (-1 / law.alpha_S))
    sooner = stops["steps_stop"].copy()
    sooner[3] = 0.5 * stops["bound"][3]
    said = " ".join(early.sentences(stops.with_columns(steps_stop=sooner)))
    assert f"{stops['run'][3]} (N = " in said
    assert "0.50 times the bound" in said


def test_the_exponent_grows_with_the_tokens_until_it_is_stationary():
    alpha = {2**18: 0.05, 2**19: 0.06, 2**20: 0.07, 2**21: 0.0755, 2**22: 0.076, 2**23: 0.076}
    rng = np.random.default_rng(0)
    rows = [
        {"params": N, "tokens": D, "seed": seed, "loss": (1e11 / N) ** alpha[D] * np.exp(1e-4 * rng.normal())}
        for N, D, seed in itertools.product(np.geomspace(1e3, 1e5, 6), alpha, (0, 1))
    ]
    found = length.exponents(Table.from_rows(rows), sigma=0.003)
    np.testing.assert_allclose([one.alpha for one in found.at], list(alpha.values()), atol=2e-4)
    assert found.stationary is not None
    assert found.stationary.tokens == 2**22
    early = length.exponents(Table.from_rows([row for row in rows if row["tokens"] <= 2**20]), sigma=0.003)
    assert early.stationary is None


def test_a_power_law_beats_a_logarithm_where_it_is_the_truth(evidence):
    drawn = PAPER.draw_one("fig23", evidence)
    assert drawn.decided
    assert "the power law describes our sizes better" in drawn.sentences[0]


def test_another_seed_of_a_size_is_no_further_size(evidence):
    grid = evidence.experiments["grid"]
    first = grid.runs.where(grid.runs["seed"] == 0, "another seed")
    mean = {D: means(grid.runs.where(grid.runs["tokens"] == D, "another length"))[1] for D in known.LENGTHS}
    place = np.searchsorted(np.unique(first["params"]), first["params"])
    loss = np.array([mean[int(D)][i] for D, i in zip(first["tokens"], place, strict=True)])
    alone = dataclasses.replace(grid, runs=first.with_columns(loss=loss))
    of_first, of_all = (PAPER.draw_one("fig23", one).sentences[0] for one in (Kaplan({"grid": alone}), evidence))
    assert of_first == of_all


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha is -0.05 (-.2 to +0.1)", "alpha is −0.05 (−.2 to +0.1)"),
        ("cpu-1h of one-layer models, 2001-08361, size-007", "cpu-1h of one-layer models, 2001-08361, size-007"),
        ("-1e9 at N^-0.07", "−1e9 at N^−0.07"),
    ],
)
def test_a_reader_sees_one_minus_sign(text, said):
    assert digits.minus(text) == said


def test_too_few_sizes_decide_nothing():
    few = Kaplan({"grid": known.grid(shapes=known.SHAPES[:2])})
    assert few.alpha_N.verdict is Verdict.CANNOT_TELL
    drawn = PAPER.draw_one("fig1", few)
    assert not drawn.decided
    assert not any("paper" in sentence for sentence in drawn.sentences)
    assert len(drawn.open) == 3


def exponent(ours: float, low: float, high: float, paper: float = 0.1, enough: float = 0.05) -> Claim:
    return Claim("alpha", "Table 2", paper, ours, (low, high), enough=enough)


def test_whether_ours_is_decided_does_not_depend_on_the_papers_value():
    for paper in (0.01, 0.1, 10.0):
        assert exponent(0.1, 0.06, 0.14, paper).decided
        wide = exponent(0.1, 0.04, 0.16, paper)
        assert wide.verdict is Verdict.CANNOT_TELL
        assert "0.10 (0.040 to 0.16) is too wide" in wide.doubt
        with pytest.raises(Undecided, match="is too wide"):
            wide.sentence()
    assert exponent(0.0, -0.04, 0.04).decided  # nor on ours: an exponent near zero is one


def test_exponents_that_add_to_one_are_decided_alike(evidence):
    assert evidence.N_opt.half == pytest.approx(evidence.D_opt.half, rel=1e-3)
    assert evidence.N_opt.decided == evidence.D_opt.decided


def test_a_sentence_says_whether_the_papers_value_lies_in_our_interval():
    ours = exponent(0.12, 0.09, 0.15)
    assert ours.verdict is Verdict.HOLDS
    assert ours.sentence() == "alpha (Table 2) is 0.12 (0.09 to 0.15), and the paper's 0.100 lies in that interval."
    apart = dataclasses.replace(ours, interval=(0.11, 0.13), above="the moon")
    assert apart.verdict is Verdict.DIFFERS
    assert "above the paper's 0.100; likely because the moon." in apart.sentence()


def test_a_scale_is_shown_and_not_judged():
    scale = Claim("N_c", "(1.1)", 8.8e13, 1e9, (1e8, 1e10))
    assert scale.decided
    assert scale.verdict is Verdict.NOT_COMPARED


def test_the_tally_counts_independent_exponents_once(evidence):
    summary = PAPER.draw_one("summary", evidence)
    found = tally(summary.claims)
    names = [claim.label for claims in found.values() for claim in claims]
    assert len(names) == len(set(names)) == 10
    assert summary.sentences[0].startswith("Of 10 independent exponents")
    assert not any("independent" in sentence for sentence in PAPER.draw_one("table5", evidence).sentences)
    assert not {evidence.D_opt.label, evidence.S_opt.label, evidence.ratio.label, evidence.N_c.label} & set(names)


def test_points_of_the_paper_far_from_ours_are_not_drawn():
    _, (axes,) = canvas.panels(1)
    axes.set_xlim(1, 10)
    axes.set_ylim(1, 10)
    assert not drawing.papers_points(axes, [2.0, 3.0, 40.0], [2.0, 3.0, 4.0])
    assert not axes.lines
    assert drawing.papers_points(axes, [2.0, 3.0, 4.0, 40.0], [2.0, 3.0, 4.0, 4.0])
    assert len(axes.lines[0].get_xdata()) == 3
    drawing.papers_slope(axes, [1.0, 10.0], [2.0, 2.0], -0.5)
    x, y = axes.lines[1].get_data()
    assert np.log(y[1] / y[0]) / np.log(x[1] / x[0]) == pytest.approx(-0.5)
    assert axes.get_xlim() == (1, 10)


def test_tables_2_3_and_5_hold_the_papers_numbers_beside_ours(evidence):
    for table, constant, theirs in (
        ("table2", "D_c", 1.8e13),
        ("table3", "alpha_S", 0.76),
        ("table5", "alpha_B", 0.21),
    ):
        data = PAPER.draw_one(table, evidence).data
        row = data["name"].tolist().index(constant)
        assert data["paper"][row] == theirs
        assert data["low"][row] < data["value"][row] < data["high"][row]


def test_reference_numbers_are_read_from_one_file():
    assert reference.value("alpha_N") == laws.KaplanN(8.8e13, 0.076).alpha_N
    assert reference.points("fig9_L_of_N_D").shape[1] == 3
    assert min(reference.curves("fig4_learning_curves")) == 1179648


def test_points_on_a_line_by_luck_do_not_make_a_narrow_interval(evidence):
    lucky = exponent(0.1, 0.0999, 0.1001)
    # Two standard deviations of the slope of three losses, each with the noise of its seed.
    half = evidence.no_narrower(lucky, [1e4, 2e4, 4e4]).half
    assert half == pytest.approx(2 * known.NOISE / (np.log(2) * np.sqrt(2)), rel=0.6)
    wide = exponent(0.1, 0.06, 0.14)
    assert evidence.no_narrower(wide, [1e4, 2e4, 4e4]) == wide


def test_alpha_B_has_one_interval_wherever_it_is_shown(evidence):
    for name in ("fig10", "summary", "table5"):
        assert evidence.alpha_B in PAPER.draw_one(name, evidence).claims


def test_alpha_S_is_no_surer_than_the_critical_batches_that_S_min_is_made_of(evidence):
    fit, claim = evidence.steps.fit, evidence.alpha_S
    assert claim.half > (fit.intervals["alpha_S"][1] - fit.intervals["alpha_S"][0]) / 2
    others = [law.alpha_S for law in evidence.steps_by_other_batches]
    assert claim.span[0] <= min(others) < max(others) <= claim.span[1]


def test_the_exponent_of_the_batch_is_no_surer_than_alpha_B(evidence):
    alpha_B, p_B = evidence.alpha_B, evidence.B_opt
    assert alpha_B.ours is not None
    assert p_B.ours is not None
    assert p_B.half / p_B.ours >= alpha_B.half / alpha_B.ours
