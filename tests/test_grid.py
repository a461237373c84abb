"""The main grid: sizes and lengths that share their computes, one trunk per size and seed, and what a budget costs."""

import itertools

import pytest

from analysis import papers
from configs import grid
from configs.chinchilla import budgets, experiments
from configs.rates import learning_rate
from scaling import calibration, config, packs, question
from scaling.errors import InputError

DOUBLING = tuple(name for name in grid.GRIDS if name != "pod")  # the paper's own sizes are other ones


def trunks(budget: str):
    """The runs of each trunk, the shortest first."""
    by_trunk: dict = {}
    for run in grid.runs(grid.named(budget), "python"):
        by_trunk.setdefault((run.model.N, run.seed), []).append(run)
    return list(by_trunk.values())


@pytest.mark.parametrize(
    ("budget", "seconds", "workers"), [("tiny", 90, 2), ("cpu-1h", 1500, 2), ("cpu-24h", 32_400, 1)]
)
def test_a_budget_is_kept(budget, seconds, workers):
    assert calibration.seconds(grid.runs(grid.named(budget), "python"), workers=workers) < seconds


def test_sizes_double_to_the_last_weight_and_keep_nearly_one_shape():
    for k in range(11):
        model = grid.named("cpu-24h").model(k)
        assert model.N == 1536 * 2**k
        assert 3.3 < model.d_ff / model.d_model <= 4
        assert model.d_head == (8 if model.d_model >= 16 else 4)


@pytest.mark.parametrize("budget", DOUBLING)
def test_every_compute_but_the_extreme_ones_is_exactly_that_of_several_sizes(budget):
    sizes: dict[int, set[int]] = {}
    for run in grid.runs(grid.named(budget), "python"):
        sizes.setdefault(run.model.N * run.tokens, set()).add(run.model.N)
    counts = [len(sizes[ND]) for ND in sorted(sizes)]
    assert min(counts[2:-2]) >= 3
    assert all(b == 2 * a for a, b in itertools.pairwise(sorted(sizes)))


@pytest.mark.parametrize("budget", grid.GRIDS)
def test_the_runs_of_a_size_and_seed_are_branches_of_one_trunk(budget):
    for branches in trunks(budget):
        assert len({packs.trunk(run) for run in branches}) == 1
        assert packs.trunk(branches[0]) is not None
        assert all(b.tokens == 2 * a.tokens for a, b in itertools.pairwise(branches))
        # A branch leaves the trunk before the next one does: no more than two are trained side by side.
        assert max(len(segment.lanes) for segment in packs.segments(branches)) <= 2


@pytest.mark.parametrize("budget", DOUBLING)
def test_the_warm_up_takes_about_as_many_tokens_as_the_model_has_parameters(budget):
    for branches in trunks(budget):
        shortest, B = branches[0], branches[0].batch_tokens
        warmup = shortest.warmup_steps * B
        assert warmup == pytest.approx(max(shortest.model.N, 16 * B), abs=B)
        assert shortest.warmup_steps + shortest.decay_steps < 0.9 * shortest.steps


def test_all_runs_draw_the_same_examples_in_the_same_order():
    assert len({run.unique_tokens for run in grid.runs(grid.named("cpu-24h"), "english")}) == 1


def test_rates_are_those_of_the_sweep_for_the_middle_length():
    longest = trunks("cpu-1h")[0][-1]
    middle = (trunks("cpu-1h")[0][0].tokens * longest.tokens) ** 0.5
    assert longest.optim.learning_rate == pytest.approx(0.7 * learning_rate(1536, middle, 1024, text="python"))


def test_a_grid_is_trained_in_portions():
    small, whole = (
        question.load("configs.grid", {"budget": "cpu-24h", **more}).runs for more in ({"largest": "50000"}, {})
    )
    assert set(small) < set(whole)
    assert {run.model.N for run in small} == {1536 * 2**k for k in range(6)}
    with pytest.raises(InputError, match="largest=7: the smallest size of this grid has 1536"):
        question.load("configs.grid", {"largest": "7"})


def test_an_unknown_budget_names_the_known_ones():
    with pytest.raises(InputError, match="wanted one of tiny, cpu-1h, cpu-24h"):
        grid.named("cpu-9m")


@pytest.mark.parametrize("budget", grid.GRIDS)
def test_chinchilla_trains_the_grid_itself_and_cosines_beside_it(budget):
    at = budgets.named(budget)
    assert experiments.EXPERIMENTS["grid"](at) == grid.runs(grid.named(budget), "python")
    runs = experiments.study(budget).runs
    assert len({config.identity(run, "tokens") for run in runs}) == len(runs)


def test_papers_share_a_study_and_train_its_grid_once():
    chinchilla, kaplan = (papers.wanted(name, "tiny").study for name in ("chinchilla", "kaplan"))
    assert chinchilla.name == kaplan.name == papers.wanted("discrepancy", "tiny").study.name
    assert set(chinchilla.runs) & set(kaplan.runs) == set(grid.runs(grid.named("tiny"), "python"))


def test_cosines_begin_alike_and_are_up_to_five_times_as_long_as_the_run():
    runs = [run for run in experiments.cycles(budgets.named("cpu-1h")) if run.seed == 0]
    lengths = sorted({run.tokens / 2**19 for run in runs})
    assert lengths == pytest.approx([1, 1.1, 1.25, 1.5, 2, 5], abs=2e-3)
    assert len({(run.unique_tokens, run.warmup_steps, run.optim.schedule) for run in runs}) == 1
    assert len({run.optim.learning_rate for run in runs}) == 3  # two are tried beside the rule's, on the shortest
