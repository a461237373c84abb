"""Figures 7, 17, 20, 21 and 22: architectures, positions and schedules, from planted truths."""

import dataclasses
import math
import re

import kaplan_ablation_records as known
import numpy as np
import pytest

from analysis.papers.claim import Undecided
from analysis.papers.drawn import Drawn
from analysis.papers.evidence import Evidence, Experiments
from analysis.papers.kaplan.claims import Kaplan
from analysis.papers.kaplan.context import onsets
from analysis.papers.kaplan.paper import PAPER
from analysis.records import Records
from analysis.table import Table
from scaling import optim
from scaling.config import OptimConfig

FIGURES = ("fig5", "fig6", "fig7", "fig8", "fig17", "fig20", "fig21", "fig22", "fig24")


def draw(name: str, experiments: Experiments) -> Drawn:
    return PAPER.draw_one(name, Kaplan(experiments))


def said(found: Drawn) -> str:
    return "\n".join([*found.sentences, *found.open])


def some(records: Records, n: int) -> Records:
    """The first n runs alone, as a study leaves them that has just begun."""
    kept = records.runs["run"][:n]
    return dataclasses.replace(
        records,
        **{name: (table := getattr(records, name)).where(np.isin(table["run"], kept), "not yet trained")
           for name in ("runs", "curves", "positions")},
    )  # fmt: skip


@pytest.fixture(scope="module")
def experiments() -> dict[str, Records]:
    return known.experiments()


def test_no_figure_falls_for_want_of_runs(experiments):
    for figure in FIGURES:
        nothing = draw(figure, {})
        assert not nothing.decided
        assert not nothing.sentences
        for n in (2, 5):
            begun = draw(figure, {name: some(records, n) for name, records in experiments.items()})
            assert begun.decided or begun.open, figure


def test_runs_that_diverged_or_go_on_count_for_nothing(experiments):
    size = experiments["grid"]
    status = np.where(np.arange(len(size.runs)) < 3, "diverged", "running")
    lost = dataclasses.replace(size, runs=size.runs.with_columns(status=status))
    with pytest.raises(Undecided, match="no run of the experiment grid has finished"):
        Evidence({"grid": lost}).need("grid")
    assert not draw("fig6", known.ladder(lost)).decided


def test_a_table_from_before_the_architectures_holds_transformers(experiments):
    size = experiments["grid"]
    columns = {name: column for name, column in size.runs.items() if name not in ("kind", "reuse")}
    old = dataclasses.replace(size, runs=dataclasses.replace(size.runs, columns=columns))
    assert set(Evidence({"grid": old}).need("grid")["kind"]) == {"transformer"}
    assert said(draw("fig6", known.ladder(old))) == said(draw("fig6", known.ladder(size)))


def test_a_run_of_two_experiments_is_counted_once(experiments):
    size = experiments["grid"]
    assert len(Evidence({"grid": size, "lstm": size}).need("grid", "lstm")) == len(size.runs)


# --- figure 7


def test_an_lstm_planted_above_and_shallower_is_seen_so(experiments):
    found = draw("fig7", experiments)
    assert found.decided
    assert said(found).count("it is higher, as in the paper") == 3
    assert "it gains less from N, as in the paper" in said(found)
    assert said(found).count("it falls behind along the context, as in the paper") == 3
    assert set(found.data["kind"]) == {"lstm", "transformer"}


def test_of_the_learning_rates_of_an_lstm_the_best_counts(experiments):
    found = draw("fig7", experiments)
    rates = found.data["learning_rate"][(found.data["kind"] == "lstm") & np.isnan(found.data["position"])]
    assert set(rates) == {0.01}
    assert "lies inside those tried" in said(found)
    two = experiments["lstm"].runs["learning_rate"] < 0.02
    fewer = dataclasses.replace(experiments["lstm"], runs=experiments["lstm"].runs.where(two, "left out"))
    assert "the highest for 9" in said(draw("fig7", {**experiments, "lstm": fewer}))


@pytest.mark.parametrize("seed", range(2))
def test_where_the_transformer_overtakes_and_whom_other_rates_would_help_is_as_planted(experiments, seed):
    lstm = known.lstm(lambda N: 0.02 * math.log(N / 49e3), seed=seed)
    two = dataclasses.replace(lstm, runs=lstm.runs.where(lstm.runs["learning_rate"] < 0.02, "left out"))
    text = said(draw("fig7", {**experiments, "lstm": two}))
    crossings = re.findall(r"the Transformer overtakes the LSTM at N = ([\d.]+)k \(([\d.]+)k to ([\d.]+)k", text)
    assert len(crossings) == 3
    for at, low, high in crossings:
        assert float(low) < 49 < float(high)
        assert float(at) == pytest.approx(49, rel=0.5)
    assert "3 of these are behind the Transformer, and the gap would shrink" in text
    assert "6 of these are ahead of the Transformer, and the lead would grow" in text


def test_runs_that_ended_before_their_onset_are_hollow_and_in_no_line(experiments):
    """The smallest Transformers are far off the law here, and end before they use their context."""

    def with_onset(runs: Table) -> Table:
        early = (runs["params"] == 6144) & (runs["kind"] == "transformer")
        return runs.with_columns(onset=np.where(early, np.nan, 1e5), loss=np.where(early, 9.0, runs["loss"]))

    found = draw("fig7", {k: dataclasses.replace(r, runs=with_onset(r.runs)) for k, r in experiments.items()})
    assert "3 runs are left out, and hollow: ended before its model used its context" in said(found)
    alpha = re.search(r"Exponents of N: Transformer ([\d.]+)", said(found))
    assert alpha is not None
    assert float(alpha[1]) == pytest.approx(0.07, abs=0.015)


def test_an_lstm_as_good_as_the_transformer_is_not_called_worse(experiments):
    alike = {**experiments, "lstm": known.lstm(lambda N: 0.0), "context": known.context(behind=0.0)}
    found = draw("fig7", alike)
    assert "as in the paper" not in said(found)
    assert said(found).count("no growth of the gap is seen") == 3


def test_the_transformers_beside_an_lstm_are_one_ladder(experiments):
    uneven = {**experiments, **known.ladder(deeper=0.05)}
    with_depths, alone = (draw("fig7", one) for one in (uneven, experiments))
    data = with_depths.data
    shown = np.unique(data["params"][(data["kind"] == "transformer") & np.isnan(data["position"])])
    np.testing.assert_array_equal(shown, [12 * layers * d * d for d, layers in known.LADDER])
    assert said(with_depths) == said(alone)


# --- figure 17


def test_reuse_is_held_against_the_same_layers_used_once():
    """One layer costs or gains something by itself here: that is no merit of using it again."""
    for factor in (0.96, 1.04):
        size = known.size(shallow=factor)
        found = draw("fig17", {**known.ladder(size), "universal": known.universal(0.0, 0.001, layers=1, factor=factor)})
        assert said(found).count("per parameter, against Transformers of 1 layer,") == 3
        assert said(found).count("no significant difference; per parameter and use") == 3


def test_reuse_worth_nothing_is_worse_per_flop_alone():
    found = draw("fig17", {**known.ladder(), "universal": known.universal(worth=0.0, noise=0.001)})
    assert found.decided
    assert said(found).count("no significant difference; per parameter and use") == 3
    assert said(found).count(", worse.") == 3


def test_reuse_worth_half_is_better_per_parameter_and_worse_per_flop():
    found = draw("fig17", {**known.ladder(), "universal": known.universal(worth=0.5, noise=0.001)})
    assert said(found).count(", better; per parameter and use") == 3
    assert "; so do we." in said(found)


# --- figures 20 and 21


def test_a_context_that_compute_leaves_out_is_named(experiments):
    beyond = sum(12 * d < 128 for d, _ in known.LADDER[:-1])
    assert beyond == 0
    assert "No context exceeds 12 d_model" in said(draw("fig20", experiments))
    assert "No context exceeds 12 d_model" in said(draw("table1", experiments))
    runs = experiments["context"].runs
    longer = dataclasses.replace(experiments["context"], runs=runs.with_columns(d_model=runs["d_model"] / 2))
    narrow = draw("fig20", {**experiments, "context": longer})
    assert "exceeds 12 d_model for 1 of 5 sizes (N up to 6.14k)" in said(narrow)


def test_positions_that_are_averaged_are_named(experiments):
    found = draw("fig21", experiments)
    assert found.figure is not None
    (legend,) = found.figure.legends
    positions = ["1", "2", "3–4", "6–8", "12–16", "46–64", "91–128"]
    assert [t.get_text() for t in legend.get_texts()] == positions
    assert "mean loss over the positions T/√2 to T" in said(found)


def test_the_power_of_the_position_is_that_of_each_size(experiments):
    found = draw("fig20", experiments)
    assert found.decided
    for N in np.unique(found.data["params"]):
        c = found.data["c"][found.data["params"] == N][0]
        assert c == pytest.approx(0.45 + 0.05 * math.log10(N / 1e4), abs=0.03)
    assert "it grows with N, as in the paper" in said(found)
    (claim,) = found.claims
    assert claim.interval is not None
    assert claim.interval[0] < 0.45 + 0.05 * math.log10(9.8304) < claim.interval[1]


def test_short_range_is_learnt_before_long_range_where_it_was_planted(experiments):
    assert "short range is learnt first, long range later, as in the paper" in said(draw("fig20", experiments))


def test_N_helps_at_all_positions_but_the_first(experiments):
    found = draw("fig21", experiments)
    assert "At T = 1, which is predicted from nothing, N does not help; N helps at all others" in said(found)
    assert "they are better at early tokens, as in the paper" in said(found)


def test_windows_that_begin_with_an_input_have_no_token_that_is_predicted_from_nothing(experiments):
    old = experiments["context"]
    moved = old.positions.with_columns(position=old.positions["position"] + 1)
    found = draw("fig21", {**experiments, "context": dataclasses.replace(old, positions=moved)})
    assert "At T = 1" not in said(found)
    assert found.data["position"].min() == 2


def test_the_onset_goes_with_N_as_planted(experiments):
    N = np.array([1e4, 4e4, 1.6e5, 6.4e5])
    columns = {"params": N, "tokens": np.full(4, 1e6), "onset": np.where(N > 5e5, np.nan, 3e6 * N**-0.3)}
    (text,) = onsets(Table.from_columns(columns, "known"))
    assert "after 189k tokens at N = 10k, " in text
    assert "but not before the end at N = 640k (1M tokens)" in text
    assert "the onset goes as N^−0.3 " in text


def test_a_size_that_ended_before_its_onset_of_context_use_is_in_no_exponent(experiments):
    """The smallest one has the same loss everywhere here, far below what its N would give."""
    context = experiments["context"]
    loss = np.where(context.positions["params"] == 6144, 2.0, context.positions["loss"])
    flat = context.positions.with_columns(loss=loss)
    found = draw("fig21", {**experiments, "context": dataclasses.replace(context, positions=flat)})
    assert "are left out, and hollow: N = 6.14k" in said(found)
    assert "N does not help; N helps at all others" in said(found)


def test_a_short_context_that_gives_nothing_is_not_called_better(experiments):
    none = {**experiments, "context": known.context(early=0.0, seed=6)}
    assert "whether they do better at early tokens, as in the paper, cannot be decided" in said(draw("fig21", none))


# --- figure 22


def test_schedules_of_too_small_a_sum_are_told_from_the_others(experiments):
    found = draw("fig22", experiments)
    assert found.decided
    assert "Too small a sum costs, as in the paper" in said(found)
    assert "the shape of the schedule does not matter" in said(found)


def test_schedules_without_any_difference_are_alike(experiments):
    found = draw("fig22", {**experiments, "schedule": known.schedule(short=0.0)})
    assert "Whether too small a sum costs, as in the paper, cannot be decided" in said(found)
    assert "Worse than the lowest are 0 of 8 schedules with less and 0 of 11 with enough" in said(found)


def test_what_sum_is_enough_is_fixed_by_the_default_schedule_and_by_no_loss(experiments):
    truths = (known.schedule(), known.schedule(short=0.0), known.schedule(short=0.3, enough=100.0))
    for truth in (*truths, known.schedule(constant=0.1)):
        found = draw("fig22", {**experiments, "schedule": truth})
        assert "the default schedule (cosine from 0.0039, sum 32)" in said(found)
        assert found.figure is not None
        (axes,) = found.figure.axes
        legend = axes.get_legend()
        assert legend is not None
        assert {"no significant difference from the lowest", "2/3 of the default's sum"} <= {
            t.get_text() for t in legend.get_texts()
        }
        (line,) = (line for line in axes.lines if line.get_label() == "2/3 of the default's sum")
        np.testing.assert_allclose(np.asarray(line.get_xdata()), 2 / 3 * 32)


def test_a_constant_rate_that_costs_is_named(experiments):
    found = draw("fig22", {**experiments, "schedule": known.schedule(constant=0.04)})
    (exceptions,) = (text for text in found.sentences if text.startswith("With enough these do worse"))
    assert "constant from 0.016" in exceptions
    assert "cosine" not in exceptions
    assert "Constant rates end +4" in said(found)


@pytest.mark.parametrize(
    ("schedule", "fields"),
    [("constant", {}), ("cosine", {"warmup": 0.3}), ("linear", {"warmup": 0.0}), ("wsd", {"decay": 0.4})],
)
def test_the_sum_of_a_schedule_is_that_of_the_rates_that_train(tiny, schedule, fields):
    from analysis.records import rate_sum

    config = dataclasses.replace(tiny, optim=OptimConfig(learning_rate=3e-3, schedule=schedule, **fields))
    rates = optim.Schedule.of((config,))(np.arange(config.steps))
    assert rate_sum(config) == pytest.approx(float(rates.sum()), rel=1e-5)
