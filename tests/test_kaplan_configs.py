"""The experiments of configs/kaplan: what each claims about its runs, and what each budget costs."""

import math
from typing import Any, cast

import pytest

from analysis.papers.kaplan.paper import PAPER
from configs.kaplan import budgets, experiments
from configs.kaplan.budgets import BUDGETS
from configs.kaplan.experiments import EXPERIMENTS
from configs.kaplan.schedule import SCHEDULES
from configs.rates import learning_rate
from scaling import calibration, config, counts, question
from scaling.config import RunConfig
from scaling.errors import InputError

ON_CPUS = ("tiny", "cpu-20m", "cpu-3h")
SETS = tuple(f"set-{k}" for k in range(5))  # the five transfer sets of the English corpora cost evaluations


def runs_of(budget: str, experiment: str) -> tuple[RunConfig, ...]:
    return EXPERIMENTS[experiment](budgets.named(budget))


def every_run(budget: str, transfer: tuple[str, ...] = ()) -> tuple[RunConfig, ...]:
    return experiments.union(budgets.named(budget, transfer=transfer), tuple(EXPERIMENTS)).runs


@pytest.mark.parametrize(("budget", "minutes"), [("tiny", 3), ("cpu-20m", 20), ("cpu-3h", 180)])
def test_two_cores_have_time_for_a_budget(budget, minutes):
    transfer = () if budget == "tiny" else SETS  # tiny has one of its own
    seconds = calibration.seconds(every_run(budget, transfer), workers=2)
    assert seconds < 60 * minutes
    assert seconds > 60 * minutes / 2 or budget == "tiny"  # and it is made use of


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_run_is_a_run_of_its_own(budget):
    runs = every_run(budget)
    assert len({config.identity(run, "tokens") for run in runs}) == len(runs)


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_experiment_has_runs_and_is_a_study_by_itself(budget):
    assert set(EXPERIMENTS) == {need for entry in PAPER.figures.values() for need in entry.needs}
    for name in EXPERIMENTS:
        found = question.load(f"configs.kaplan.{name}", {"budget": budget})
        assert found.name == f"kaplan-{name}"
        assert found.runs == runs_of(budget, name)


@pytest.mark.parametrize("budget", BUDGETS)
def test_sizes_differ_in_nothing_but_their_shape_and_seed(budget):
    runs = runs_of(budget, "size")
    shared = {(r.tokens, r.unique_tokens, r.batch, r.optim.schedule, r.warmup_steps, r.eval) for r in runs}
    assert len(shared) == 1
    assert {run.optim.schedule for run in runs} == {"cosine"}
    assert {run.model.n_layer for run in runs} >= {1, 2}
    assert len({run.seed for run in runs}) > 1


def test_sizes_span_two_decades_in_three_hours_and_more_where_there_is_an_accelerator():
    spans = {}
    for budget in BUDGETS:
        sizes = [run.model.N for run in runs_of(budget, "size") if run.model.n_layer]
        spans[budget] = math.log10(max(sizes) / min(sizes))
    assert spans["cpu-3h"] > 2.4
    assert spans["gpu-1h"] > 2.8
    assert spans["pod"] > 6


@pytest.mark.parametrize("budget", BUDGETS)
def test_data_limited_runs_of_a_size_differ_in_their_data_alone(budget):
    runs = runs_of(budget, "data")
    assert {run.model.dropout for run in runs} == {0.1}
    for N in {run.model.N for run in runs}:
        own = [run for run in runs if run.model.N == N]
        assert len({(run.optim, run.batch) for run in own}) == 1
        most = max(own, key=lambda run: run.U)
        assert all(run.tokens <= most.tokens for run in own)
        fewest = min(own, key=lambda run: run.U)
        assert fewest.tokens >= 2 * fewest.U  # seen again and again
    if not budgets.named(budget).paper:
        assert all(run.tokens == run.U for run in runs if max(r.U for r in runs) == run.U)  # ample: seen once


@pytest.mark.parametrize("budget", BUDGETS)
def test_batches_span_the_critical_one_each_at_several_constant_rates(budget):
    runs = runs_of(budget, "batch")
    assert {run.optim.schedule for run in runs} == {"constant"}
    by_batch: dict[int, set[float]] = {}
    for run in runs:
        if run.model.N == runs[0].model.N:
            by_batch.setdefault(run.batch_tokens, set()).add(run.optim.learning_rate)
    assert len(by_batch) >= 3
    assert max(by_batch) >= 16 * min(by_batch)
    assert min(map(len, by_batch.values())) >= 2
    assert any(run.eval.noise for run in runs)
    assert len({run.warmup_steps for run in runs}) == 1


@pytest.mark.parametrize("budget", BUDGETS)
def test_shapes_of_a_base_agree_in_size_within_a_percent(budget):
    part = budgets.named(budget).shapes
    for base in part.bases:
        own = [run.model.N for run in runs_of(budget, "shape") if abs(run.model.N / base.N - 1) < 0.2]
        assert len(own) >= 3
        assert max(abs(N / base.N - 1) for N in own) < 0.01
    assert part.base_seeds > part.seeds or part.base_seeds > 1


@pytest.mark.parametrize("budget", BUDGETS)
def test_at_least_twelve_schedules_are_tried(budget):
    assert len(SCHEDULES) >= 12
    optims = {run.optim for run in runs_of(budget, "schedule")}
    assert len(optims) == len(SCHEDULES)
    assert {optim.schedule for optim in optims} == {"cosine", "linear", "constant", "wsd"}


@pytest.mark.parametrize("budget", BUDGETS)
def test_long_and_short_contexts_have_as_many_tokens_in_a_batch(budget):
    runs = runs_of(budget, "context")
    assert len({run.batch_tokens for run in runs}) == 1
    assert len({run.model.n_ctx for run in runs}) == 2
    assert min(run.model.n_ctx for run in runs) == 8
    assert len({run.eval.windows * run.model.n_ctx for run in runs}) == 1  # held-out tokens


def test_lstms_and_universal_transformers_see_what_the_ladder_sees():
    (ladder,) = {(run.tokens, run.batch_tokens, run.model.n_ctx) for run in runs_of("cpu-3h", "size")}
    for name, kind in (("lstm", "lstm"), ("universal", "universal")):
        runs = runs_of("cpu-3h", name)
        assert {run.model.kind for run in runs} == {kind}
        assert {(run.tokens, run.batch_tokens, run.model.n_ctx) for run in runs} == {ladder}
    assert {run.model.n_layer for run in runs_of("cpu-3h", "lstm")} == {1, 2, 4}
    assert {run.model.reuse for run in runs_of("cpu-3h", "universal")} == {2, 4, 8}


def test_transfer_sets_are_measured_where_the_figures_want_them():
    budget = budgets.named("cpu-20m", transfer=SETS)
    measured = {name for name, runs in EXPERIMENTS.items() if any(run.eval.transfer for run in runs(budget))}
    assert measured == {"size", "shape"}


def test_the_pod_is_the_papers_own_scale():
    runs = every_run("pod")
    ladder = [run for run in runs_of("pod", "size") if run.model.n_layer]  # without layers there is no N
    sizes = [run.model.N for run in ladder]
    assert min(sizes) == 768
    assert 1.4e9 < max(sizes) < 1.6e9
    for run in ladder:
        assert (run.model.n_ctx, run.batch_tokens, run.steps, run.warmup_steps) == (1024, 2**19, 250_000, 3000)
        assert run.optim.optimizer == ("adafactor" if run.model.N > 1e9 else "adam")
        assert run.optim.learning_rate == pytest.approx(0.003239 - 0.0001395 * math.log(run.model.N))  # (D.1)
    unique = [run.U for run in runs_of("pod", "data")]
    assert min(unique) == pytest.approx(2.2e7, rel=0.01)
    assert max(unique) == pytest.approx(2.3e10, rel=0.03)
    flops = sum(counts.flops_per_token(run.model)["flops"] * run.tokens for run in runs)
    assert 1e21 < flops < 1e23


def test_one_run_of_the_pod_can_be_picked():
    found = question.load("configs.kaplan.experiments", {"budget": "pod", "only": "size", "N": "84934656"})
    assert [run.model.d_model for run in found.runs] == [768]
    with pytest.raises(InputError, match=r"N=5: no model of budget pod .* there are 0, 768, "):
        question.load("configs.kaplan.experiments", {"budget": "pod", "N": "5"})


def test_the_rate_of_a_batch_is_the_sweeps_and_beyond_it_grows_no_more():
    budget = budgets.named("cpu-3h")
    few, many, more = (budget.rate(24_576, 2**20, B) for B in (64, 2**14, 2**18))
    assert few == learning_rate(24_576, 2**20, 64) < many == more == learning_rate(24_576, 2**20, 2**14)
    assert budget.rate(24_576, 2**20, 256, "lstm") == learning_rate(24_576, 2**20, kind="lstm")
    pod = budgets.named("pod")
    assert pod.rate(1e8, 2**30, 2**19) == pytest.approx(6.7e-4, rel=0.01)  # (D.1), at the paper's batch
    assert pod.rate(1e8, 2**30, 2**13) < 2e-4


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="budget=cpu-4h: wanted one of tiny, "):
        budgets.named("cpu-4h")
    with pytest.raises(InputError, match="rates=french: wanted one of python, english"):
        budgets.named("cpu-3h", rates=cast(Any, "french"))
    with pytest.raises(InputError, match="experiment 'sizes': wanted one of size, "):
        experiments.union(budgets.named("tiny"), ("sizes",))
