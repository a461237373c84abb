"""Why Kaplan's exponent and Hoffmann's differ: known walks come back through the page, and what it cannot tell."""

import dataclasses
import json
from collections.abc import Mapping

import numpy as np
import pytest

from analysis.papers import page
from analysis.papers.claim import Undecided, Verdict
from analysis.papers.discrepancy import arithmetic, expected
from analysis.papers.discrepancy.evidence import (
    ARMS,
    ATTENTION,
    CONTROL_HEAD,
    CONTROL_WITHOUT,
    STEPS,
    TUNED,
    TUNED_WITHOUT,
    WALK,
    WARM_FIRST,
    Discrepancy,
)
from analysis.papers.discrepancy.paper import PAPER
from analysis.papers.paper import Planned
from analysis.papers.reproduction import planned_row
from configs.discrepancy import budgets, experiments
from scaling import calibration, counts, packs
from scaling.errors import InputError

MADE = page.Made("cpu-24h", "scaling reproduce discrepancy", "synthetic", 234)
WORTH = 0.5


def planned(budget: str) -> Mapping[str, list[Planned]]:
    at = budgets.named(budget)
    return {name: [planned_row(run) for run in runs(at)] for name, runs in experiments.EXPERIMENTS.items()}


@pytest.fixture(scope="module")
def clean() -> Discrepancy:
    """Records without noise."""
    return Discrepancy(expected.drawn(planned("cpu-24h"), expected.Truth(WORTH), noise=0.0))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Every figure from records with noise, and the page that was written of them."""
    records = expected.drawn(planned("cpu-24h"), expected.Truth(WORTH))
    found = PAPER.draw(PAPER.chosen(()), records)
    return found, page.write(tmp_path_factory.mktemp("discrepancy"), PAPER, found, records, MADE)


# --- known laws


@pytest.mark.parametrize(
    "at", [*WALK, WARM_FIRST, ATTENTION, TUNED_WITHOUT, CONTROL_HEAD, CONTROL_WITHOUT], ids=lambda at: at.told
)
def test_each_station_is_where_the_law_of_the_runs_puts_it(clean, at):
    assert clean.exponent(at).ours == pytest.approx(arithmetic.predicted(clean, at, WORTH), abs=0.035)


def test_the_gap_between_the_counts_is_the_laws_and_grows_with_the_vocabulary(clean):
    gaps = [
        clean.exponent(without).ours - clean.exponent(counted).ours
        for without, counted in ((TUNED_WITHOUT, TUNED), (CONTROL_WITHOUT, CONTROL_HEAD))
    ]
    assert gaps[0] == pytest.approx(0.172, abs=0.01)
    assert gaps[1] == pytest.approx(0.145, abs=0.015)


def test_the_sum_of_the_steps_is_the_walk_in_either_order(clean):
    step = {each.told: clean.step(each).ours for each in STEPS}
    first = [step[each.told] for each in STEPS[:2]]
    other = [step[each.told] for each in STEPS[2:4]]
    assert sum(first) == pytest.approx(sum(other))
    assert sum(first) + step[STEPS[4].told] + step[STEPS[5].told] == pytest.approx(step["all of it"])


def test_noise_leaves_the_truth_in_the_paired_intervals(clean, drawn):
    found = {claim.name: claim for one in drawn[0] for claim in one.claims}
    inside = 0
    for step in STEPS:
        low, high = found[step.told].interval
        inside += low - 0.01 <= clean.step(step).ours <= high + 0.01
    assert inside >= len(STEPS) - 2


def test_what_the_head_is_worth_comes_back_from_two_vocabularies(drawn):
    (_, both) = next(one for one in drawn[0] if one.name == "fig3").claims
    low, high = both.interval
    assert low <= WORTH <= high
    assert both.decided
    assert both.verdict is Verdict.DIFFERS


# --- the page


def test_the_page_has_four_figures_and_a_table_and_every_number_beside_it(drawn):
    found, path = drawn
    assert [one.name for one in found] == ["fig1", "table1", "fig2", "fig3", "fig4"]
    assert [one.figure is None for one in found] == [False, True, False, False, False]
    text = path.read_text(encoding="utf-8")
    assert text.count("<figure") == 4
    assert "went from 0.835 to 0.497" in text
    assert "count the head after the warm-up is shortened" in text
    constants = json.loads((path.parent / "constants.json").read_text())
    assert {step.told for step in STEPS} <= {constant["name"] for constant in constants}


def test_the_exponents_and_the_paired_gaps_follow_from_the_points_beside_the_page_by_plain_numpy(drawn):
    found, path = drawn
    rows = np.genfromtxt(path.parent / "fig4.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    claims = {claim.name: claim.ours for one in found for claim in one.claims}
    slopes = {}
    for at in (*WALK, WARM_FIRST, TUNED_WITHOUT):
        own = rows[(rows["arm"] == at.arm) & (rows["count"] == at.count.value)]
        slopes[at] = np.polyfit(np.log(own["flops"]), np.log(own["params"]), 1)[0]
        assert claims.get(f"a, {at.told}", slopes[at]) == pytest.approx(slopes[at], abs=1e-9)
    gaps = [step for step in STEPS if {step.before, step.after} <= set(slopes)]
    assert len(gaps) == 8
    for step in gaps:
        assert claims[step.told] == pytest.approx(slopes[step.after] - slopes[step.before], abs=1e-9)


def test_readings_before_the_onset_of_context_use_are_left_out_and_counted(clean, drawn):
    whole, kept = clean.every_reading("long"), clean.readings("long")
    assert (kept["tokens"] > kept["onset"]).all()
    left = len(whole) - len(kept)
    assert left > 0
    assert any(f"{left} of {len(whole)} of the arm long" in sentence for sentence in drawn[0][0].sentences)


def test_models_that_never_use_their_context_decide_nothing():
    records = expected.drawn(planned("tiny"), expected.Truth(WORTH))
    for one in PAPER.draw(PAPER.chosen(()), records):
        assert not one.decided
    evidence = Discrepancy(records)
    with pytest.raises(Undecided, match=r"had begun to use its context|sizes can be read"):
        evidence.best(TUNED)


def test_without_runs_every_figure_says_what_is_missing():
    for one in PAPER.draw(PAPER.chosen(()), {}):
        assert not one.decided
        assert all("has finished" in reason for reason in one.missing)


def test_what_may_be_expected_is_said_for_every_step_that_the_runs_are_for():
    runs = planned("cpu-24h")
    lines = list(expected.expected({"tuned": runs["tuned"]}))
    assert len(lines) == 2
    assert lines[1].startswith("count the head on tuned runs: −0.1")


# --- what is trained


@pytest.mark.parametrize("budget", budgets.BUDGETS)
def test_all_arms_read_the_same_sizes_after_the_same_tokens(budget):
    at = budgets.named(budget)
    lengths = [{(run.model.N, run.tokens) for run in experiments.EXPERIMENTS[arm](at)} for arm in ("matched", "tuned")]
    assert lengths[0] == lengths[1]
    longest = {N: max(D for n, D in lengths[0] if n == N) for N, _ in lengths[0]}
    for arm in ("long", "short"):
        assert {run.model.N: run.tokens for run in experiments.EXPERIMENTS[arm](at)} == longest


def test_an_arm_changes_one_thing_of_the_one_before():
    at = budgets.named("cpu-24h")
    long, short, matched, tuned = ([*experiments.EXPERIMENTS[arm](at)] for arm in ARMS)
    for before, after in zip(long, short, strict=True):
        optim = dataclasses.replace(before.optim, warmup_tokens=after.optim.warmup_tokens)
        assert dataclasses.replace(before, optim=optim) == after
    assert {run.optim.warmup_tokens for run in (*short, *matched, *tuned)} == {at.short}
    assert {(run.batch, run.optim.b2) for run in (*long, *short, *matched)} == {(at.batch, experiments.BETA2)}
    assert len({run.optim.learning_rate for run in tuned}) == len(at.grid.widths)


def test_the_lengths_of_a_size_are_branches_of_one_trunk():
    at = budgets.named("cpu-24h")
    for arm in ("matched", "tuned", "control"):
        trunks = {}
        for run in experiments.EXPERIMENTS[arm](at):
            trunks.setdefault(run.model.N, set()).add(packs.trunk(run))
        assert all(len(own) == 1 for own in trunks.values())


def test_batches_grow_with_the_size_as_porians():
    found = [experiments.suited_batch(N) for N in (2e4, 9e4, 2.3e5, 6.6e5, 1e8)]
    assert found == [4, 8, 16, 32, 32]


def test_five_core_hours_and_a_quarter_of_an_hour_are_enough():
    hours = {
        name: calibration.seconds(experiments.study(name).runs, workers) / 3600
        for name, workers in (("cpu-24h", 1), ("cpu-1h", 2), ("tiny", 2))
    }
    assert hours["cpu-24h"] < 5
    assert hours["cpu-1h"] < 0.27
    assert hours["tiny"] < 0.03


def test_the_head_is_most_of_the_small_models_and_little_of_the_large_ones():
    at = budgets.named("cpu-24h")
    shares = [counts.params(run.model)["params_head"] / run.model.N - 1 for run in experiments.long(at)]
    assert shares[0] == pytest.approx(5.3, abs=0.1)
    assert shares[-1] < 0.35


def test_what_cannot_be_trained_is_one_line():
    with pytest.raises(InputError, match="budget=cpu-9h: wanted one of tiny, cpu-1h, cpu-24h"):
        budgets.named("cpu-9h")
    with pytest.raises(InputError, match="--transfer: no figure of this paper measures other texts"):
        budgets.named("tiny", ("python:stdlib",))
    with pytest.raises(InputError, match="experiment 'warm': wanted one of long, short"):
        experiments.study("tiny", ("warm",))
