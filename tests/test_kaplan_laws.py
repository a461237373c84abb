"""Kaplan's laws from our experiments: what is recovered of a known truth, what is refused, and what is said of it."""

import dataclasses

import numpy as np
import pytest

from analysis import digits, laws, reference
from analysis.page import canvas
from analysis.papers.kaplan import batch, claims, early, fits, ghosts, joint, runs, single, tables, words
from analysis.papers.kaplan.drawn import Constant
from tests import kaplan_records as known

TRUTH = known.TRUTH
REACH = 1.5  # half-widths of the 95 % interval: so many constants at once do not all lie inside


@pytest.fixture(scope="module")
def experiments():
    return known.experiments()


def near(constant: Constant, truth: float) -> bool:
    assert constant.value is not None
    assert constant.low is not None
    assert constant.high is not None
    return abs(constant.value - truth) <= REACH * (constant.high - constant.low) / 2


@pytest.mark.parametrize(
    ("table", "name", "truth"),
    [
        (claims.joint, "alpha_N", TRUTH.alpha_N),
        (claims.joint, "alpha_D", TRUTH.alpha_D),
        (claims.joint, "alpha_N/alpha_D", TRUTH.alpha_N / TRUTH.alpha_D),
        (claims.data, "alpha_D", TRUTH.alpha_D),
        (claims.steps, "alpha_N", TRUTH.alpha_N),
        (claims.steps, "alpha_S", TRUTH.alpha_S),
        (claims.batch, "alpha_B", TRUTH.alpha_B),
        (claims.batch, "B_*", TRUTH.B_star),
    ],
)
def test_exponents_come_back_from_runs_of_a_known_law(experiments, table, name, truth):
    assert near(next(c for c in table(experiments) if c.name == name), truth)


def test_sizes_that_have_not_converged_are_flagged_and_flatten_the_law(experiments):
    alpha_N = claims.size(experiments)[0]
    assert alpha_N.value is not None
    assert alpha_N.value < TRUTH.alpha_N
    assert "not of converged runs" in alpha_N.note


def test_unconverged_sizes_are_left_out_where_enough_others_have_converged():
    runs = known.size().runs
    small = runs["params"] < 1e5
    settled = runs.with_columns(loss_half=np.where(small, 1.01, 1.2) * runs["loss"])
    found = fits._of_size(settled)
    assert found.table is not None
    assert found.table["params"].max() < 1e5
    assert "had not converged and are left out" in found.evidence


def test_a_single_layer_is_left_out_of_the_law_of_size(experiments):
    found = fits.of_size(experiments)
    assert found.table is not None
    assert found.table["n_layer"].min() == 2
    assert (experiments["size"].runs["n_layer"] == 1).any()


def test_the_largest_size_is_foretold_within_a_percent(experiments):
    drawn = joint.figure_4(experiments)
    held_out = drawn.constants[0].held_out
    assert held_out is not None
    assert held_out < joint.GOAL
    assert any("within the goal of 1.0 %" in sentence for sentence in drawn.sentences)


def test_the_excess_collapses_onto_one_curve(experiments):
    drawn = joint.figure_9(experiments)
    assert any("collapses onto the one curve" in sentence for sentence in drawn.sentences)
    data = drawn.data.where(np.isfinite(drawn.data["excess"]), "on the most data")
    assert len(data) == 16
    np.testing.assert_allclose(data["excess"], data["law"], atol=0.02)
    ratio = claims.joint(experiments)[-1].value
    np.testing.assert_allclose(data["x"], data["params"] ** ratio / data["unique_tokens"])


def test_runs_that_stop_before_the_bound_are_named(experiments):
    stops = early.stops(experiments)
    assert not isinstance(stops, str)
    fitted = fits.of_steps(experiments).fit
    assert fitted is not None
    law = fitted.law
    np.testing.assert_allclose(stops["bound"], law.S_c * stops["loss_gap"] ** (-1 / law.alpha_S))
    sooner = stops["steps_stop"].copy()
    sooner[3] = 0.5 * stops["bound"][3]
    said = " ".join(early.sentences(stops.with_columns(steps_stop=sooner)))
    assert f"{stops['run'][3]} (N = " in said
    assert "0.50 times the bound" in said


def test_a_power_law_beats_a_logarithm_where_it_is_the_truth(experiments):
    drawn = single.figure_23(experiments)
    assert drawn.decided
    assert "the power law describes our sizes better" in drawn.sentences[0]


def test_another_seed_of_a_size_is_no_further_size(experiments):
    size = experiments["size"]
    N, mean = runs.means(size.runs.where(size.runs["n_layer"] >= 2, "one layer"))
    first = size.runs.where((size.runs["seed"] == 0) & (size.runs["n_layer"] >= 2), "another seed")
    alone = dataclasses.replace(size, runs=first.with_columns(loss=mean[np.searchsorted(N, first["params"])]))
    assert single.figure_23({"size": alone}).sentences[0] == single.figure_23(experiments).sentences[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpha is -0.05 (-.2 to +0.1)", "alpha is −0.05 (−.2 to +0.1)"),
        ("cpu-3h of one-layer models, 2001-08361, size-007", "cpu-3h of one-layer models, 2001-08361, size-007"),
        ("-1e9 at N^-0.07", "−1e9 at N^−0.07"),
    ],
)
def test_a_reader_sees_one_minus_sign(text, said):
    assert digits.minus(text) == said


def test_too_few_sizes_decide_nothing():
    few = {"size": known.size(shapes=known.SHAPES[:2])}
    assert claims.size(few)[0].value is None
    drawn = single.figure_1(few)
    assert not drawn.decided
    assert all(sentence.startswith(words.UNDECIDED) for sentence in drawn.sentences[:3])


def test_an_exponent_whose_interval_is_wider_than_itself_is_not_claimed():
    wide = Constant("alpha", "(1)", 0.1, 0.1, 0.04, 0.16)
    assert words.judged(wide).value is None
    assert "0.100 (0.040 to 0.16) is too wide" in words.compared(words.judged(wide))
    assert words.judged(dataclasses.replace(wide, exponent=False)).value == 0.1
    assert words.judged(dataclasses.replace(wide, low=0.06, high=0.14)).value == 0.1
    assert words.judged(dataclasses.replace(wide, low=0.06, high=0.14), doubt="starts disagree").value is None
    flat = Constant("p_S", "(1)", 0.03, 0.0, -0.05, 0.05)
    assert words.judged(flat, enough=0.1).value == 0.0


def test_a_sentence_says_whether_the_papers_value_lies_in_our_interval():
    ours = Constant("alpha", "Table 2", 0.1, 0.12, 0.09, 0.15)
    assert (
        words.compared(ours) == "alpha (Table 2) is 0.12 (0.09 to 0.15), and the paper's 0.100 lies in that interval."
    )
    apart = dataclasses.replace(ours, low=0.11, high=0.13)
    assert "above the paper's 0.100; likely because the moon." in words.compared(apart, above="the moon")


def test_points_of_the_paper_far_from_ours_are_not_drawn():
    _, (axes,) = canvas.panels(1)
    axes.set_xlim(1, 10)
    axes.set_ylim(1, 10)
    assert not ghosts.shown(axes, [2.0, 3.0, 40.0], [2.0, 3.0, 4.0])
    assert not axes.lines
    assert ghosts.shown(axes, [2.0, 3.0, 4.0, 40.0], [2.0, 3.0, 4.0, 4.0])
    assert len(axes.lines[0].get_xdata()) == 3
    ghosts.slope(axes, [1.0, 10.0], [2.0, 2.0], -0.5)
    x, y = axes.lines[1].get_data()
    assert np.log(y[1] / y[0]) / np.log(x[1] / x[0]) == pytest.approx(-0.5)
    assert axes.get_xlim() == (1, 10)


def test_tables_2_3_and_5_hold_the_papers_numbers_beside_ours(experiments):
    for draw, constant, theirs in (
        (tables.table_2, "D_c", 1.8e13),
        (tables.table_3, "alpha_S", 0.76),
        (tables.table_5, "alpha_B", 0.21),
    ):
        data = draw(experiments).data
        row = data["constant"].tolist().index(constant)
        assert data["paper"][row] == theirs
        assert data["low"][row] < data["ours"][row] < data["high"][row]


def test_reference_numbers_are_read_from_one_file():
    assert reference.value("alpha_N") == laws.KaplanN(8.8e13, 0.076).alpha_N
    assert reference.points("fig9_L_of_N_D").shape[1] == 3
    assert min(reference.curves("fig4_learning_curves")) == 1179648


def test_points_on_a_line_by_luck_do_not_make_a_narrow_interval(experiments):
    lucky = Constant("alpha", "(1)", 0.1, 0.1, 0.0999, 0.1001)
    widened = claims.no_narrower(lucky, experiments, [1e4, 2e4, 4e4])
    assert widened.low is not None
    assert widened.high is not None
    half = (widened.high - widened.low) / 2
    # Two standard deviations of the slope of three losses, each with the noise of its seed.
    assert half == pytest.approx(2 * known.NOISE / (np.log(2) * np.sqrt(2)), rel=0.6)
    wide = dataclasses.replace(lucky, low=0.06, high=0.14)
    assert claims.no_narrower(wide, experiments, [1e4, 2e4, 4e4]) == wide


def test_alpha_B_has_one_interval_wherever_it_is_shown(experiments):
    shown = batch.figure_10(experiments).constants[0]
    assert shown.name == "alpha_B"
    for table in (tables.summary, tables.table_5):
        assert shown in table(experiments).constants


def test_the_exponent_of_the_batch_is_no_surer_than_alpha_B(experiments):
    alpha_B, p_B = claims.batch(experiments)[0], claims.path(experiments)[2]
    assert p_B.name == "B_crit exponent"
    widths = [(c.high - c.low) / c.value for c in (alpha_B, p_B) if c.high and c.low and c.value]
    assert widths[1] >= widths[0]
