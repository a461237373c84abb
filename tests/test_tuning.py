"""The best learning rate: bowls, their intervals, the law through them, what being wrong costs."""

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import tuning
from analysis.page import study_plots
from analysis.table import Table
from analysis.tuning import tune
from configs import learning_rate as sweep
from scaling import rates
from scaling.errors import InputError
from scaling.rates import RateLaw

TRUTH = RateLaw(rate=0.01, N_1=3e4, D_1=2.6e5, B_1=256, n=-0.3, d=-0.1)
SIZES, LENGTHS = (1536, 6144, 13824, 24576, 55296, 98304), (2**16, 2**18)
GRID = tuple(2e-3 * 2**k for k in range(6))


def losses(noise=0.003, bend=0.0125, skew=-0.002, seed=0, grid=GRID, law=TRUTH, seeds=1, sizes=SIZES) -> Table:
    """A sweep whose best rates follow `law`: skewed bowls with a cliff above, and Gaussian noise of ln(loss)."""
    rng = np.random.default_rng(seed)
    rows = []
    for N in sizes:
        for D in LENGTHS:
            for rate in grid:
                u = math.log(rate / law(N, D))
                above = bend * u**2 + skew * u**3 + 0.3 * max(u - 1.8, 0) ** 2
                rows += [
                    {"params": N, "tokens": D, "batch_tokens": 256, "learning_rate": rate, "seed": s, "status": "done",
                     "loss": 3.5 * (3e4 / N) ** 0.06 * (2.6e5 / D) ** 0.1 * np.exp(above + noise * rng.normal())}
                    for s in range(seeds)
                ]  # fmt: skip
    return Table.from_rows(rows)


def changed(table: Table, **changes) -> Table:
    return table.with_columns(**changes)


def test_without_noise_the_law_that_made_the_bowls_is_found():
    found = tune(losses(noise=0.0))
    assert found.law is not None
    assert found.law.law.n == pytest.approx(TRUTH.n, abs=1e-6)
    assert found.law.law.d == pytest.approx(TRUTH.d, abs=1e-6)
    for bowl in found.bowls:
        assert bowl.best == pytest.approx(TRUTH(bowl.params, bowl.tokens), rel=1e-6)
        assert bowl.skew == pytest.approx(-0.002, rel=1e-6)


def test_a_bowl_is_an_ordinary_least_squares_fit_with_a_common_skew():
    table = losses(sizes=SIZES[:2])
    found = tune(table)
    # One design matrix for all bowls, solved by NumPy.
    rows, y, places = [], [], []
    for k, bowl in enumerate(found.bowls):
        here = (table["params"] == bowl.params) & (table["tokens"] == bowl.tokens)
        here &= (table["learning_rate"] >= bowl.window[0] * 0.999) & (table["learning_rate"] <= bowl.window[1] * 1.001)
        for rate, loss in zip(table["learning_rate"][here], table["loss"][here], strict=True):
            u = math.log(rate / bowl.best)
            row = np.zeros(3 * len(found.bowls) + 1)
            row[3 * k : 3 * k + 3], row[-1] = (1, u, u**2), u**3
            rows.append(row)
            y.append(math.log(loss))
        places.append(3 * k)
    c, squares, rank, _ = np.linalg.lstsq(np.array(rows), np.array(y))
    assert rank == len(c)
    assert found.sigma == pytest.approx(math.sqrt(squares[0] / (len(y) - len(c))), rel=1e-9)
    for bowl, k in zip(found.bowls, places, strict=True):
        assert c[k + 1] == pytest.approx(0, abs=1e-9)  # no slope at the bottom
        assert math.log(bowl.loss) == pytest.approx(c[k], rel=1e-9)
        assert bowl.curvature == pytest.approx(c[k + 2], rel=1e-6)
        assert bowl.skew == pytest.approx(c[-1], rel=1e-6)


@pytest.mark.parametrize(
    ("skew", "noise", "bend"), [(-0.002, 0.003, 0.0125), (0.0, 0.003, 0.0125), (0.002, 0.001, 0.0125)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(skew, noise, bend):
    bowls, law = [], {"rate": [], "n": [], "d": []}
    for seed in range(40):
        found = tune(losses(noise, bend, skew, seed))
        bowls += [b.low <= TRUTH(b.params, b.tokens) <= b.high for b in found.bowls if b.status in ("interior", "flat")]
        if found.law is None:
            continue
        middle = TRUTH(found.law.law.N_1, found.law.law.D_1)
        for name, truth in (("rate", middle), ("n", TRUTH.n), ("d", TRUTH.d)):
            low, high = found.law.intervals[name]
            law[name].append(low <= truth <= high)
    assert 0.92 < np.mean(bowls) < 0.985
    for held in law.values():
        assert len(held) >= 36
        assert np.mean(held) > 0.9


def test_a_bowl_drowned_in_noise_is_called_flat_and_its_interval_has_no_end():
    found = tune(losses(noise=0.03, bend=0.002))
    flat = [b for b in found.bowls if b.status == "flat"]
    assert flat
    assert all(b.low == 0 or b.high == math.inf for b in flat)
    assert any("no bend is seen through the noise" in w for w in found.warnings())


def test_a_best_rate_at_the_end_of_the_grid_is_flagged_and_left_out_of_the_law():
    found = tune(losses(noise=0.0, grid=GRID[:4]))  # up to 0.016: the small sizes want more
    small = [b for b in found.bowls if TRUTH(b.params, b.tokens) > 0.016]
    assert small
    assert {b.status for b in small} == {"at the highest"}
    assert set(small) <= set(found.edges)
    assert found.law is not None
    assert found.law.bowls == len(found.bowls) - len(found.edges)
    assert any("it may lie above" in warning for warning in found.warnings())


def test_a_rate_that_diverged_bounds_the_best_one_and_is_no_end_of_the_grid():
    table = losses(noise=0.0)
    lost = table["learning_rate"] > 0.03
    status = np.where(lost, "diverged", "done")
    found = tune(changed(table, status=status, loss=np.where(lost, np.nan, table["loss"])))
    assert not found.edges
    for bowl in found.bowls:
        assert bowl.best < 0.032
        assert bowl.high <= 0.032 * (1 + 1e-9) or bowl.status != "interior"
        assert math.isnan(bowl.excess(0.06))


def test_too_few_rates_to_bend_are_said():
    table = losses(noise=0.0, grid=GRID[:3])
    lost = table["learning_rate"] < 0.003
    found = tune(changed(table, loss=np.where(lost, np.nan, table["loss"]), status=np.where(lost, "diverged", "done")))
    assert found.law is None
    with pytest.raises(InputError, match="no size was trained at 3 learning rates"):
        tune(losses(grid=GRID[:2]))


def test_settings_that_are_mixed_at_one_rate_are_warned_about():
    table = losses(seeds=2)
    found = tune(table.with_columns(weight_decay=0.1 * table["seed"]))
    assert found.mixed == len(found.bowls)
    assert "differ in more than their seed" in next(found.warnings())
    assert not tune(table).mixed


@pytest.mark.parametrize("value", [-3.0, 0.0, math.inf])
def test_a_finished_run_with_an_impossible_loss_is_named(value):
    table = losses()
    spoilt = changed(table, loss=np.where(np.arange(len(table)) == 7, value, table["loss"]))
    with pytest.raises(InputError, match=f"row 8, column loss: found {value:g}, wanted a number above 0"):
        tune(spoilt)
    assert tune(changed(spoilt, status=np.where(np.arange(len(table)) == 7, "diverged", "done"))).law


def test_a_run_without_a_loss_counts_as_diverged_and_is_told():
    table = losses()
    found = tune(changed(table, loss=np.where(np.arange(len(table)) == 7, np.nan, table["loss"])))
    assert "1 run has no loss, taken as diverged: row 8" in list(found.warnings())
    assert "no loss, taken as diverged" in found.text()


def test_labels_of_rates_do_not_overlap():
    """Eight rates over a factor of 160, in a panel per length."""
    law = RateLaw(rate=0.002, N_1=3e4, D_1=2.6e5, B_1=256, n=-0.3, d=-0.1)
    figure = study_plots.learning_rates(tune(losses(grid=tuple(np.geomspace(1e-4, 1.6e-2, 8)), law=law)))
    figure.canvas.draw()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_runs_of_an_unknown_status_have_no_say():
    table = losses()
    failed = np.arange(len(table)) == 7
    spoilt = changed(table, status=np.where(failed, "failed", "done"), loss=np.where(failed, 99.0, table["loss"]))
    found, without = tune(spoilt), tune(table.where(~failed, "failed"))
    assert [b.best for b in found.bowls] == [b.best for b in without.bowls]
    assert "1 row left out whose status is not done or diverged (failed)" in list(found.warnings())
    with pytest.raises(InputError, match=r"no run ended \(its status is completed"):
        tune(changed(table, status=np.full(len(table), "completed")))


def test_a_size_at_which_every_rate_diverged_has_no_say_and_a_figure_all_the_same():
    table = losses()
    lost = table["params"] == SIZES[0]
    found = tune(changed(table, loss=np.where(lost, np.nan, table["loss"]), status=np.where(lost, "diverged", "done")))
    assert [b.status for b in found.bowls if b.params == SIZES[0]] == ["too few rates"] * 2
    assert found.law is not None
    assert study_plots.learning_rates(found).axes


def test_seeds_narrow_the_interval():
    one, four = (tune(losses(seeds=seeds, noise=0.003)) for seeds in (1, 4))
    assert np.mean([b.error for b in four.bowls]) < 0.7 * np.nanmean([b.error for b in one.bowls])


def test_the_cost_of_being_wrong_is_what_the_bowl_says_and_in_tokens_what_they_are_worth():
    found = tune(losses(noise=0.0, skew=0.0))
    bowl = next(b for b in found.bowls if b.params == 55296)
    half, rule, double = found.costs(bowl)
    assert rule.excess == pytest.approx(0, abs=1e-6)
    assert half.excess == pytest.approx(math.expm1(0.0125 * math.log(2) ** 2), rel=1e-6)
    assert double.excess == pytest.approx(half.excess, rel=1e-6)
    # L falls as D^-0.1 along the best rates: 0.6 % of loss is 6 % of tokens.
    assert half.tokens == pytest.approx(math.exp(0.125 * math.log(2) ** 2) - 1, rel=1e-3)


def test_the_best_batch_is_found_where_several_were_tried():
    tables = []
    for batch in (128, 256, 512, 1024, 2048):
        table = losses(noise=0.0, sizes=(55296,))
        worse = np.exp(0.01 * math.log(batch / 400) ** 2)
        tables.append(changed(table, batch_tokens=np.full(len(table), float(batch)), loss=table["loss"] * worse))
    names = [name for name in tables[0] if name != "run"]
    whole = Table.from_columns({name: np.concatenate([t[name] for t in tables]) for name in names})
    found = tune(whole)
    assert [b.best for b in found.batches] == pytest.approx([400, 400], rel=1e-6)
    assert "Best batch at N = 55.3k, D = 65.5k: 400 tokens" in found.text()
    bounded = [name for name in found.law.intervals] if found.law else []
    assert "b" in bounded


def test_the_law_is_kept_and_read_by_configs(tmp_path):
    found = tune(losses())
    path = tmp_path / "rates.json"
    found.to_json(path)
    assert found.law is not None
    assert RateLaw.from_json(path) == found.law.law
    said = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert len(said["bowls"]) == len(found.bowls)
    (tmp_path / "none.json").write_text(tune(losses(sizes=SIZES[:1])).to_json())
    for name in ("none.json", "missing.json"):
        with pytest.raises(InputError, match="scaling tune TABLE --out"):
            RateLaw.from_json(tmp_path / name)


def test_one_size_at_two_lengths_makes_no_law_of_size():
    found = tune(losses(sizes=SIZES[:1], noise=0.0))
    assert found.law is None
    assert "wanted 3 or more" in found.why


@given(st.lists(st.floats(1e-5, 1.0), min_size=2, max_size=9, unique=True), st.data())
def test_an_end_is_where_the_lowest_loss_has_no_rate_beyond_it(tried, data):
    loss = data.draw(st.permutations([3.0 + k for k in range(len(tried))]))
    best = tried[loss.index(min(loss))]
    expected = "lowest" if best == min(tried) else "highest" if best == max(tried) else None
    assert rates.edge(tried, loss) == expected
    if expected:
        further = rates.beyond(tried, expected)
        assert len(further) == 2
        assert all(r < min(tried) if expected == "lowest" else r > max(tried) for r in further)


def test_the_sweep_asks_for_more_rates_only_where_the_best_lies_at_an_end():
    asked = {"n_sizes": 2, "n_data": 1, "n_rates": 4, "n_seeds": 2}
    runs = sweep.study(**asked).runs
    small = min(run.model.N for run in runs)

    def loss(run):  # the small model wants a rate above the grid
        best = 0.03 if run.model.N == small else 0.006
        return 4 + 0.02 * math.log(run.optim.learning_rate / best) ** 2

    rows = [
        {"params": run.model.N, "tokens": run.tokens, "batch_tokens": run.batch_tokens, "loss": loss(run),
         "learning_rate": run.optim.learning_rate, "seed": run.seed, "status": "done"}
        for run in runs
    ]  # fmt: skip
    added = sweep.more(Table.from_rows(rows), **asked)
    assert {run.model.N for run in added} == {small}
    assert sorted({run.optim.learning_rate for run in added}) == pytest.approx([0.032, 0.064])
    assert {run.seed for run in added} == {0, 1}
    for row in rows:
        if row["params"] == small and row["learning_rate"] > 0.015:
            row |= {"status": "diverged", "loss": math.nan}
    assert sweep.more(Table.from_rows(rows), **asked) == ()


def test_the_documented_example_runs_and_the_projects_law_is_its_result(tmp_path, monkeypatch, capsys):
    root = Path(__file__).parents[1]
    (code,) = re.findall(r"```python\n(.*?)```", (root / "docs" / "tuning.md").read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("results/", f"{root}/results/"), {})
    assert capsys.readouterr().out == (root / "results" / "learning_rate" / "tuning.txt").read_text(encoding="utf-8")
    assert (tmp_path / "rates.pdf").stat().st_size > 5_000
    made, kept = RateLaw.from_json(tmp_path / "rates.json"), RateLaw.from_json(root / "configs" / "rates.json")
    for name, value in dataclasses.asdict(kept).items():
        assert getattr(made, name) == pytest.approx(value, rel=1e-9), name


def test_the_projects_own_rates_are_inside_what_was_swept():
    from configs.rates import LAW, learning_rate

    assert learning_rate(LAW.N_1) == LAW.rate
    assert 1e-3 < learning_rate(1e6, 1e6) < learning_rate(1e4, 1e6) < 0.1
    assert tuning.WRONG == (0.5, 1.0, 2.0)
