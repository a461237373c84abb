"""The experiments of configs/kaplan: what each claims about its runs, and what each budget costs."""

import math
from typing import Any, cast

import pytest

from analysis.papers.kaplan.paper import PAPER
from configs import grid
from configs.kaplan import budgets, experiments
from configs.kaplan.budgets import BUDGETS
from configs.kaplan.experiments import EXPERIMENTS
from configs.kaplan.schedule import SCHEDULES
from configs.rates import learning_rate
from scaling import calibration, config, counts, packs, question
from scaling.config import RunConfig
from scaling.errors import InputError

ON_CPUS = ("tiny", "cpu-1h", "cpu-24h")
SETS = tuple(f"set-{k}" for k in range(5))  # the five transfer sets of the English corpora cost evaluations
HOURS = {"data": 5.1, "batch": 3.0, "steps": 1.6, "context": 2.5}  # of one core, at cpu-24h
LIKE_THE_GRID = ("depth", "lstm", "universal")


def runs_of(budget: str, experiment: str) -> tuple[RunConfig, ...]:
    return EXPERIMENTS[experiment](budgets.named(budget))


def every_run(budget: str, transfer: tuple[str, ...] = ()) -> tuple[RunConfig, ...]:
    return experiments.union(budgets.named(budget, transfer=transfer), tuple(EXPERIMENTS)).runs


@pytest.mark.parametrize(("budget", "minutes"), [("tiny", 4), ("cpu-1h", 50)])
def test_two_cores_have_time_for_a_budget(budget, minutes):
    assert calibration.seconds(every_run(budget), workers=2) < 60 * minutes


def test_each_experiment_keeps_its_share_of_a_day():
    at = budgets.named("cpu-24h", transfer=SETS)
    for name, hours in HOURS.items():
        assert calibration.seconds(EXPERIMENTS[name](at), workers=1) < 3600 * hours, name
    rest = [run for name in EXPERIMENTS if name not in (*HOURS, "grid") for run in EXPERIMENTS[name](at)]
    assert calibration.seconds(rest, workers=1) < 3600 * 2


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_run_is_a_run_of_its_own(budget):
    runs = every_run(budget)
    assert len({config.identity(run, "tokens") for run in runs}) == len(runs)


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_experiment_has_runs_and_is_a_study_by_itself(budget):
    assert set(EXPERIMENTS) == {need for entry in PAPER.figures.values() for need in entry.needs}
    for name in (name for name in EXPERIMENTS if name != "grid"):
        found = question.load(f"configs.kaplan.{name}", {"budget": budget})
        assert found.name == f"kaplan-{name}"
        assert found.runs == runs_of(budget, name)


@pytest.mark.parametrize("budget", BUDGETS)
def test_the_grid_is_the_one_that_other_papers_share(budget):
    assert runs_of(budget, "grid") == grid.runs(grid.named(budget), "python")


def test_sizes_span_three_decades_in_a_day_and_six_at_the_papers_scale():
    spans = {}
    for budget in BUDGETS:
        sizes = [run.model.N for run in runs_of(budget, "grid")]
        spans[budget] = math.log10(max(sizes) / min(sizes))
    assert spans["cpu-24h"] > 3
    assert spans["gpu-1h"] > 3
    assert spans["pod"] > 5


@pytest.mark.parametrize("budget", BUDGETS)
def test_what_is_held_against_the_grid_is_trained_as_its_branches_of_one_length(budget):
    at = budgets.named(budget)
    own = [run for run in runs_of(budget, "grid") if run.tokens == at.branch]
    assert len({run.model.N for run in own}) >= 4
    for name in LIKE_THE_GRID:
        for run in runs_of(budget, name):
            # The grid's own run of the nearest size, in all but the model and what follows from its N.
            like = min(own, key=lambda branch: abs(math.log(branch.model.N / max(run.model.N, 1))))
            assert (run.tokens, run.unique_tokens, run.batch_tokens) == (
                like.tokens,
                like.unique_tokens,
                like.batch_tokens,
            )
            assert (run.optim.schedule, run.decay_steps, run.eval.windows) == (
                "wsd",
                like.decay_steps,
                like.eval.windows,
            )
            if not at.paper:
                assert run.warmup_steps * run.batch_tokens == pytest.approx(
                    max(run.model.N, 16 * run.batch_tokens), abs=run.batch_tokens
                )
    assert {run.model.kind for run in runs_of(budget, "lstm")} == {"lstm"}
    assert {run.model.kind for run in runs_of(budget, "universal")} == {"universal"}


@pytest.mark.parametrize("budget", BUDGETS)
def test_data_limited_runs_are_trunks_over_epochs_that_differ_in_their_data_alone(budget):
    by_trunk: dict = {}
    for run in runs_of(budget, "data"):
        by_trunk.setdefault((run.model, run.unique_tokens), []).append(run)
    assert {model.dropout for model, _ in by_trunk} >= {0.1}
    for (_, unique), branches in by_trunk.items():
        assert [run.tokens for run in branches] == [unique * 2**k for k in range(len(branches))]
        assert len({packs.trunk(run) for run in branches}) == 1
        assert packs.trunk(branches[0]) is not None
    for model in {model for model, _ in by_trunk}:
        own = [run for runs in by_trunk.values() for run in runs if run.model == model]
        assert len({(run.optim, run.batch) for run in own}) == 1
    fewest = min(unique for _, unique in by_trunk)
    assert all(len(runs) >= 3 for (_, unique), runs in by_trunk.items() if unique == fewest)


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


def test_the_batch_scan_of_a_day_is_long_enough_for_its_largest_batch():
    largest = [run for run in runs_of("cpu-24h", "batch") if run.batch_tokens == 2**15]
    assert min(run.steps for run in largest) >= 500
    assert all(run.warmup_steps < 0.05 * run.steps for run in largest)


def test_updates_are_measured_near_the_critical_batch_at_a_constant_rate():
    for run in runs_of("cpu-24h", "steps"):
        assert (run.batch_tokens, run.optim.schedule) == (8192, "constant")
        assert run.eval.noise
        assert run.steps >= 4000


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


def test_transfer_sets_are_measured_where_the_figures_want_them():
    budget = budgets.named("cpu-1h", transfer=SETS)
    measured = {name for name, runs in EXPERIMENTS.items() if any(run.eval.transfer for run in runs(budget))}
    assert measured == {"steps", "shape"}


def test_the_pod_is_the_papers_own_scale():
    runs = every_run("pod")
    ladder = runs_of("pod", "grid")
    assert min(run.model.N for run in runs if run.model.n_layer) == 768
    assert 1.4e9 < max(run.model.N for run in ladder) < 1.6e9
    for run in ladder:
        assert (run.model.n_ctx, run.batch_tokens, run.warmup_steps) == (1024, 2**19, 3000)
        assert run.optim.optimizer == ("adafactor" if run.model.N > 1e9 else "adam")
        peak = 0.003239 - 0.0001395 * math.log(run.model.N)  # (D.1)
        assert run.optim.learning_rate == pytest.approx(0.7 * peak)
    assert max(run.steps for run in ladder) == pytest.approx(250_000, rel=0.05)
    unique = [run.U for run in runs_of("pod", "data")]
    assert min(unique) == pytest.approx(2.2e7, rel=0.6)
    assert max(unique) == pytest.approx(2.3e10, rel=0.3)
    flops = sum(counts.flops_per_token(run.model)["flops"] * run.tokens for run in runs)
    assert 1e21 < flops < 1e23


def test_one_run_of_the_pod_can_be_picked():
    found = question.load("configs.kaplan.experiments", {"budget": "pod", "only": "grid", "N": "84934656"})
    assert {run.model.d_model for run in found.runs} == {768}
    with pytest.raises(InputError, match=r"N=5: no model of budget pod .* there are 0, 768, "):
        question.load("configs.kaplan.experiments", {"budget": "pod", "N": "5"})


def test_the_rate_of_a_batch_is_the_sweeps_and_beyond_it_grows_no_more():
    own = grid.named("cpu-24h")
    few, many, more = (own.rate(24_576, 2**20, B, "python") for B in (64, 2**14, 2**18))
    assert few == learning_rate(24_576, 2**20, 64) < many == more == learning_rate(24_576, 2**20, 2**14)
    assert own.rate(24_576, 2**20, 256, "python", "lstm") == learning_rate(24_576, 2**20, kind="lstm")
    pod = grid.named("pod")
    assert pod.rate(1e8, 2**30, 2**19, "python") == pytest.approx(6.7e-4, rel=0.01)  # (D.1), at the paper's batch
    assert pod.rate(1e8, 2**30, 2**13, "python") < 2e-4


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="budget=cpu-4h: wanted one of tiny, "):
        budgets.named("cpu-4h")
    with pytest.raises(InputError, match="rates=french: wanted one of python, english"):
        budgets.named("cpu-1h", rates=cast(Any, "french"))
    with pytest.raises(InputError, match="experiment 'sizes': wanted one of grid, "):
        experiments.union(budgets.named("tiny"), ("sizes",))
