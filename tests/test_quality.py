"""The quality of text from our own runs: a known law and a known harm of repeats come back, and what is trained."""

import dataclasses

import numpy as np
import pytest
import quality_records
from quality_records import LAW

from analysis.laws import Subramanyam
from analysis.papers.claim import Verdict
from analysis.papers.quality.evidence import PRINTED, Quality, interval
from analysis.papers.quality.paper import PAPER
from configs.quality import budgets, experiments
from scaling.config import RunConfig


@pytest.fixture(scope="module")
def evidence() -> Quality:
    return Quality(quality_records.records(seed_noise=0.001))


@pytest.fixture(scope="module")
def drawn(evidence):
    return {name: PAPER.draw_one(name, evidence) for name in PAPER.figures}


def test_the_law_that_was_planted_comes_back(evidence):
    for name in ("beta", "gamma"):
        claim = evidence.exponent(name)
        assert claim.interval[0] < getattr(LAW, name) < claim.interval[1]
    assert evidence.exponent("gamma").verdict is Verdict.DIFFERS  # from the paper's
    assert evidence.worth.interval[0] < LAW.worth < evidence.worth.interval[1]


def test_clean_text_lies_on_the_law_of_corrupted_text_where_the_law_is_true_and_not_where_it_is_worse(evidence):
    assert evidence.extrapolated.interval is not None
    assert evidence.extrapolated.interval[0] < 0 < evidence.extrapolated.interval[1]
    records = quality_records.records(seed_noise=0.001)
    runs = records["corruption"].runs
    clean = np.array(["corrupt" not in source for source in runs["data"]])
    worse = runs.with_columns(loss=np.where(clean, 1.05 * runs["loss"], runs["loss"]))
    other = Quality(
        records | {"corruption": type(records["corruption"])(worse, *list(vars(records["corruption"]).values())[1:])}
    )
    assert other.extrapolated.ours == pytest.approx(-0.05, abs=0.02)
    assert other.extrapolated.interval is not None
    assert other.extrapolated.interval[1] < 0


def test_a_run_with_a_sliver_is_worth_the_size_that_has_its_loss(evidence):
    N, _, counts = evidence.sizes
    assert len(N) == len(budgets.CPU_1H.sizes)
    assert (counts == budgets.CPU_1H.seeds).all()
    found = evidence.repeated.of(0.5)
    assert (np.diff(found.repeats) > 0).all()
    harm = 1 + quality_records.harm(0.5, found.repeats)
    np.testing.assert_allclose(found.effective[:, 0], harm ** (-1 / quality_records.ALPHA), rtol=0.06)
    whole = evidence.repeated.of(1.0)
    assert whole.repeats.tolist() == sorted(budgets.CPU_1H.whole)
    np.testing.assert_allclose(whole.effective[:-1, 0], 1, rtol=0.06)
    assert np.isnan(whole.effective[-1, 0])  # beyond the sizes


def test_the_most_harmful_sliver_is_known_only_where_slivers_read_more_often_and_less_were_tried(evidence):
    least = evidence.least(0.5)  # harm turns at 256 repeats, and 1,024 were tried
    assert least.interval[0] < least.ours < least.interval[1]
    untold = evidence.least(0.1)  # 205 at most
    assert untold.ours is None
    assert untold.verdict is Verdict.CANNOT_TELL
    assert "205: more may be worse" in untold.why


def test_the_worst_run_is_told_with_its_own_size_and_as_beyond_the_sizes_where_it_is(evidence, drawn):
    told = {line.partition(", read")[0]: line for line in drawn["fig2"].sentences if ", read" in line}
    assert "+100 % at worst, read 64 times, worse than the smallest size, N / 16." in told["All of the text"]
    worst = evidence.repeated.of(0.5).effective[:, 0].min()
    assert f"read 256 times, as that of {worst:.2f} N" in told["A sliver of 50% of the tokens"]


def test_quality_counts_tokens_where_the_records_tell_what_corrupted_ones_take(evidence):
    assert evidence.dearer == pytest.approx(quality_records.DEARER, rel=1e-6)
    assert evidence.corrupted["quality"].min() == pytest.approx(quality_records.in_tokens(0.5))
    records = quality_records.records()
    untold = records["corruption"].runs.with_columns(train_bytes_per_token=np.full(63, np.nan))
    other = Quality(records | {"corruption": dataclasses.replace(records["corruption"], runs=untold)})
    assert other.dearer is None
    assert other.corrupted["quality"].min() == 0.5


def test_what_near_copies_cost_and_how_many_were_found_comes_back(evidence, drawn):
    found = evidence.copies
    assert (found.planted, found.found) == (990, 930)
    for role, worth in (("planted", 0.6), ("sought", 0.95)):
        ends = interval(found.worth[role])
        assert found.worth[role][0] == pytest.approx(worth, abs=0.05)
        assert role == "sought" or (ends and ends[0] < worth < ends[1])
    assert any("94 %" in line or "94%" in line for line in drawn["fig3"].lines)


def test_what_a_text_is_worth_is_an_extrapolation_where_it_is_beyond_the_tokens_that_the_law_was_fitted_to(drawn):
    assert not any("extrapolated" in line for line in drawn["fig3"].sentences)  # 0.6 of 4.2M, fitted from 1.05M on
    records = quality_records.records(seed_noise=0.001)
    runs = records["copies"].runs
    planted = np.array([source.startswith("duplicate") and ", share=0," not in source for source in runs["data"]])
    loss = np.where(planted, LAW(0.1 * runs["tokens"], 1.0), runs["loss"])
    copies = dataclasses.replace(records["copies"], runs=runs.with_columns(loss=loss))
    told = PAPER.draw_one("fig3", Quality(records | {"copies": copies})).findings
    assert [" extrapolated to 4" in line and "from 1.05M to 4.19M" in line for line in told] == [True, False]


def test_the_best_filter_keeps_more_when_more_is_trained_where_repeats_are_worth_little(evidence, drawn):
    assert evidence.filters.best[0, 0] == 0.5  # what is clean
    assert evidence.filters.best[-1, 0] == 1.0
    assert any("keeps more" in line for line in drawn["fig4"].sentences)


def test_every_figure_has_its_points_and_its_finding(drawn):
    for name in ("fig1", "fig2", "fig3", "fig4"):
        assert drawn[name].figure is not None
        assert len(drawn[name].data) > 10
        assert drawn[name].sentences
        assert drawn[name].decided is (name != "fig2")  # a tenth of the tokens is not read often enough
    assert drawn["table1"].data["constant"].tolist() == ["E", "B", "beta", "gamma"]


def test_without_a_run_every_figure_says_what_it_lacks():
    for name in PAPER.figures:
        found = PAPER.draw_one(name, Quality({}))
        assert not found.decided
        assert all(line.startswith("cannot decide") for line in found.open)


def test_the_papers_constants_make_corrupted_documents_worth_nothing():
    law = Subramanyam(E=3.439, B=1441.5, **PRINTED)
    assert law.worth == pytest.approx(1, abs=0.02)
    assert law(1e8, 0.5) == pytest.approx(law(0.5e8, 1.0), rel=1e-3)


@pytest.mark.parametrize("budget", budgets.BUDGETS)
def test_runs_differ_in_their_text_alone_and_the_clean_ones_are_shared(budget):
    at = dataclasses.replace(budgets.named(budget), source="text:a/*.txt")
    runs = {name: of(at) for name, of in experiments.EXPERIMENTS.items()}
    clean = [run for run in runs["corruption"] if run.data.source == at.source]
    assert len(clean) == len(runs["corruption"]) / len(at.qualities)
    assert {run for run in clean if run.tokens == 2**at.longest} <= set(runs["sizes"])

    def besides(run: RunConfig) -> tuple:
        return run.model, run.tokens, run.batch, run.optim, run.eval, run.seed

    assert {besides(run) for run in runs["corruption"]} == {besides(run) for run in clean}
    assert {run.tokens // run.U for run in runs["whole"]} == set(at.whole)
    assert {run.U for run in runs["filters"]} == {
        min(round(k * 2**at.pool), run.tokens) // 64 * 64 for k in at.keeps for run in runs["filters"]
    }
    assert len({run.data.source for run in runs["copies"]}) == 3


def test_the_text_that_is_given_is_the_one_that_is_changed():
    study = experiments.study("tiny", source="text:a/*.txt")
    assert all("text:a/*.txt" in run.data.source for run in study.runs)
