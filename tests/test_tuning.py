"""The best learning rate: bowls, their intervals, the law through them, what being wrong costs."""

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import tuning
from analysis.page import study_plots
from analysis.table import Table
from analysis.tuning import tune
from configs import learning_rate as sweep
from configs.rates import LAWS, learning_rate
from scaling import question, rates
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
    assert "differ in more than their rate and seed (weight_decay) at" in next(found.warnings())
    one_each = losses()
    alternating = np.where(np.arange(len(one_each)) % 2, 0.1, 0.0)
    for name in ("weight_decay", "gpus"):  # of gpus a rate tells which it was, as each was tried once
        assert tune(one_each.with_columns(**{name: alternating})).mixed_in == (name,)
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


def test_a_sweep_of_several_batches_has_all_its_best_rates_beside_the_law():
    figure = study_plots.learning_rates(tune(swept().matching("kind=transformer")))
    (panel,) = (axes for axes in figure.axes if axes.get_title("left") == "Beside the law")
    legend: Any = panel.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [
        f"B = {B}" for B in ("256", "1.02k", "2.05k", "4.1k", "16.4k")
    ]


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
    assert "No law of batches: 2 bowls have a bottom between the batches tried; wanted 3 or more" in found.text()
    bounded = [name for name in found.law.intervals] if found.law else []
    assert "b" in bounded


def test_laws_are_kept_under_names_and_read_by_configs(tmp_path):
    found, path = tune(losses()), tmp_path / "rates.json"
    assert found.law is not None
    assert tuning.beside_others({"transformer": found}, path) == ()
    tuning.keep({"transformer": found}, path)
    assert RateLaw.from_json(path) == found.law.law
    said = json.loads(path.read_text(), parse_constant=pytest.fail)["own"]["transformer"]
    assert len(said["bowls"]) == len(found.bowls)
    assert said["lack_of_fit"]["p"] == found.law.lack_of_fit.p
    tuning.keep({"lstm": found}, path, "english")
    assert rates.read(path) == {"own": {"transformer": found.law.law}, "english": {"lstm": found.law.law}}
    assert RateLaw.from_json(path, "english", "lstm") == found.law.law
    with pytest.raises(InputError, match="holds rates of own, english; wanted a file with one"):
        RateLaw.from_json(path)
    with pytest.raises(InputError, match="no law of rates for english, transformer"):
        RateLaw.from_json(path, "english")


def test_a_file_without_a_law_is_refused_in_one_line(tmp_path):
    tuning.keep({"transformer": tune(losses(sizes=SIZES[:1]))}, tmp_path / "none.json")
    (tmp_path / "other.json").write_text('{"law": {"rate": 1}}')
    for name in ("none.json", "other.json", "missing.json"):
        with pytest.raises(InputError, match="scaling tune TABLE --out") as error:
            RateLaw.from_json(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="holds no laws of rates"):
        tuning.keep({"transformer": tune(losses())}, tmp_path / "other.json")


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


# --- the project's own sweep: does it fit one law, and does the law change with tokens per parameter?

SWEPT = RateLaw(rate=0.0078, N_1=24_576, D_1=2**21, B_1=256, n=-0.3, d=-0.15, b=0.4)


def swept(part: Any = "all", seed=0, noise=0.003, kink=0.0, deeper=0.0, law=SWEPT) -> Table:
    """A part of the sweep, its rates about a middle that is a little off.

    The best rates follow `law`, above D/N = 60 times (D/N / 60)^kink, with the depth times (n_layer / 2)^deeper; those
    of LSTMs are twice as high.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for model, D, batch in sweep.bowls(part):
        best = law(model.N, D, 64 * batch) * max(1.0, D / model.N / 60) ** kink
        best *= (model.n_layer / 2) ** deeper if model.kind == "transformer" else 2.0
        for k in range(4):
            u = (k - 1.5) * math.log(2) + 0.2
            rows.append(
                {"kind": model.kind, "params": model.N, "n_layer": model.n_layer, "tokens": D, "seed": 0,
                 "batch_tokens": 64 * batch, "learning_rate": best * math.exp(u), "status": "done",
                 "loss": 3.5 * (3e4 / model.N) ** 0.06 * (2.6e5 / D) ** 0.1
                 * math.exp(0.0137 * u**2 - 0.001 * u**3 + noise * rng.normal())}
            )  # fmt: skip
    return Table.from_rows(rows)


def fitted(table: Table, kind: str = "transformer") -> Any:
    """The law of a kind of model, which there must be."""
    fit = tune(table.matching(f"kind={kind}")).law
    assert fit is not None
    return fit


def test_the_sweep_tells_every_exponent_and_the_depth_and_each_kind_has_a_law_of_its_own():
    found = tuning.by_kind(swept(noise=0.0, deeper=-0.2))
    assert list(found) == ["transformer", "lstm"]
    for kind, height in (("transformer", 1.0), ("lstm", 2.0)):
        fit = found[kind].law
        assert fit is not None
        assert [fit.law.n, fit.law.d, fit.law.b] == pytest.approx([SWEPT.n, SWEPT.d, SWEPT.b], abs=1e-6)
        assert fit.law(1e5, 1e6, 512) == pytest.approx(height * SWEPT(1e5, 1e6, 512), rel=1e-6)
    layers, (exponent, *_) = fitted(swept(noise=0.0, deeper=-0.2)).depth
    assert (layers, exponent) == (2, pytest.approx(-0.2, abs=1e-6))
    assert fitted(swept(noise=0.0), "lstm").depth is None
    text = tuning.text(found)
    assert text.startswith("2 kinds of model; each has bowls, scatter and a law of its own.")
    assert "the best rate changes significantly with the depth" in text


def test_a_law_that_holds_everywhere_is_seldom_said_to_misfit_or_to_change():
    fits = [fitted(swept(seed=seed)) for seed in range(40)]
    assert sum(fit.lack_of_fit.p < 0.05 for fit in fits) <= 6
    assert sum(fit.halves.significant for fit in fits) <= 5
    for name in ("n", "d", "b"):
        held = [fit.intervals[name][0] <= getattr(SWEPT, name) <= fit.intervals[name][1] for fit in fits]
        assert np.mean(held) >= 0.85


def test_exponents_that_change_at_60_tokens_per_parameter_are_found():
    for seed in range(6):
        fit = fitted(swept(seed=seed, kink=0.4))
        assert fit.lack_of_fit.p < 0.05
        assert fit.halves.significant
        (few, *_), (many, low, high) = fit.halves.exponents["D"]
        assert few == pytest.approx(SWEPT.d, abs=0.1)
        assert low < SWEPT.d + 0.4 < high
        assert many > few + 0.2
        assert any(re.search(r"bowls\) differ \((\w: )?F =", line) for line in fit.sentences())


def test_a_batch_exponent_that_changes_alone_is_found_and_both_are_said():
    """The exponent of B is 0.13 below and 0.34 above D/N = 60, as a public sweep has it; those of N and D stay."""
    found = 0
    for seed in range(4):
        table = swept(seed=seed, law=dataclasses.replace(SWEPT, b=0.0)).matching("kind=transformer")
        N, D, B = (np.log(table[name]) for name in ("params", "tokens", "batch_tokens"))
        shift = np.where(D - N < math.log(60), 0.13, 0.34) * (B - math.log(256))
        fit = fitted(changed(table, learning_rate=table["learning_rate"] * np.exp(shift)))
        assert not isinstance(fit.halves, str)
        (few, *_), (_, low, high) = fit.halves.exponents["B"]
        assert few == pytest.approx(0.13, abs=0.08)
        assert low < 0.34 < high
        said = next(line for line in fit.sentences() if line.startswith("The exponents below and above D/N = 60"))
        assert re.search(r"of B 0\.\d+ \(.* to .*\) and 0\.\d+ \(", said)
        found += fit.halves.significant
    assert found >= 3


def test_halves_without_enough_bowls_above_60_are_divided_in_the_middle():
    fit = tune(losses()).law
    assert fit is not None
    halves: Any = fit.halves
    assert halves.limit == pytest.approx(10.7, abs=0.1)
    assert not halves.significant
    assert any("below and above D/N = 11 (6 and 4 bowls) do not differ significantly" in s for s in fit.sentences())


def test_halves_that_cannot_be_told_are_said_and_not_tested():
    fit = tune(losses(sizes=SIZES[2:4], noise=0.0)).law
    assert fit is not None
    assert isinstance(fit.halves, str)
    assert re.match(r"Whether the exponents change at D/N = 60 was not tested: \d+ bowls below", fit.halves)


def test_rates_that_lie_decades_apart_are_said():
    wide = tune(losses(grid=(8e-4, 8e-3, 8e-2)))
    assert any("rates up to 10 times apart" in w and "held 57 to 80 %" in w for w in wide.warnings())
    wider = tune(losses(grid=(8e-5, 8e-3, 8e-1))).warnings()
    assert any("rates up to 100 times apart" in w for w in wider)
    assert not any("times apart" in w for w in tune(losses()).warnings())


def test_rates_in_another_unit_are_named():
    table = losses()
    row = int(np.flatnonzero(table["learning_rate"] == GRID[2])[1])
    odd = np.where(np.arange(len(table)) == row, 1000 * table["learning_rate"], table["learning_rate"])
    with pytest.raises(InputError, match=rf"row {row + 1}, column learning_rate: found 8, where the other rows hold"):
        tune(changed(table, learning_rate=odd))
    (note,) = tune(changed(table, learning_rate=3e3 * table["learning_rate"])).notes
    assert "found 6; rates of Adam lie far below 1" in note
    assert note.endswith("if these count in units of 0.0001, say --columns learning_rate='0.0001*learning_rate'")
    # A rate of 2 that diverged is a rate that was tried.
    high = table["learning_rate"] == GRID[-1]
    tried = np.where(high, 2.4, table["learning_rate"])
    status, loss = np.where(high, "diverged", "done"), np.where(high, np.nan, table["loss"])
    (note,) = tune(changed(table, learning_rate=tried, status=status, loss=loss)).notes
    assert "found 2.4; rates of Adam lie far below 1" in note


def test_batches_under_another_name_are_said():
    table = swept().matching("kind=transformer")
    columns = {name: values for name, values in table.items() if name not in ("batch_tokens", "kind", "run")}
    renamed = Table.from_columns({**columns, "global_batch": table["batch_tokens"] / 64, "n_ctx": [64.0] * len(table)})
    assert any(
        "global_batch varies and is not taken as the batch" in note
        and "say --columns batch_tokens='global_batch*n_ctx'" in note
        for note in tune(renamed).notes
    )


def test_best_batches_make_a_law_of_size_and_length():
    tables = []
    for batch in (128, 256, 512, 1024, 2048):
        table = losses(noise=0.001, sizes=(6144, 24576, 98304))
        best = 500 * (table["tokens"] / 1.3e5) ** 0.5 * (table["params"] / 2.5e4) ** 0.1
        worse = np.exp(0.02 * np.log(batch / best) ** 2)
        tables.append(changed(table, batch_tokens=np.full(len(table), float(batch)), loss=table["loss"] * worse))
    names = [name for name in tables[0] if name != "run"]
    found = tune(Table.from_columns({name: np.concatenate([t[name] for t in tables]) for name in names}))
    assert found.batch_law is not None
    for name, truth in (("n", 0.1), ("d", 0.5)):
        low, high = found.batch_law.intervals[name]
        assert low < truth < high
        assert high - low < 0.2
    assert "B_opt = " in found.text()
    assert found.to_dict()["batch_law"]["law"]["d"] == pytest.approx(0.5, abs=0.1)


def test_another_text_keeps_the_exponents_at_another_height_or_does_not(tmp_path):
    tuning.keep(tuning.by_kind(swept()), tmp_path / "rates.json", "python")
    higher = dataclasses.replace(SWEPT, rate=1.3 * SWEPT.rate)
    few = tuning.by_kind(swept("few", seed=1, law=higher))
    (same,) = tuning.beside_others(few, tmp_path / "rates.json", "english")
    tuning.keep(few, tmp_path / "rates.json", "english")
    assert "exponents of N, D, B do not differ significantly from those of python" in same
    (height,) = re.findall(r"([\d.]+) times that of python", same)
    assert float(height) == pytest.approx(1.3, abs=0.1)
    steeper = dataclasses.replace(SWEPT, n=-0.6)
    few = tuning.by_kind(swept("few", seed=1, law=steeper))
    other, _ = tuning.beside_others(few, tmp_path / "rates.json", "steep")
    assert "exponents of N, D, B differ from those of python" in other


def test_settings_at_too_few_rates_are_counted():
    table = swept("sizes")
    few = (table["tokens"] == 2**17) & (table["learning_rate"] > np.median(table["learning_rate"]))
    kept = table.where(~few, "two rates are enough")
    lacking = sum(
        len(np.unique(kept["learning_rate"][(kept["params"] == N) & (kept["tokens"] == 2**17)])) in (1, 2)
        for N in np.unique(kept["params"])
    )
    assert lacking
    assert any(f"{lacking} setting" in note and "fewer than 3 rates" in note for note in tune(kept).notes)


def test_the_commonest_kind_is_tuned_and_the_others_are_told():
    found = tune(swept("all"))
    assert "40 runs of another kind of model than transformer left out" in found.notes


# --- the sweep itself


def test_the_sweep_asks_for_more_rates_only_where_the_best_lies_at_an_end():
    runs = sweep.study("depth").runs
    deepest = 6

    def loss(run):  # the deepest model wants a rate above its bowl
        rate, tried = run.optim.learning_rate, sweep.expected(run.model.N, run.tokens, 256)
        return 4 + 0.02 * math.log(rate / tried / (4 if run.model.n_layer == deepest else 1)) ** 2

    rows = [
        {"kind": run.model.kind, "params": run.model.N, "n_layer": run.model.n_layer, "tokens": run.tokens,
         "batch_tokens": run.batch_tokens, "learning_rate": run.optim.learning_rate, "status": "done",
         "loss": loss(run)}
        for run in runs
    ]  # fmt: skip
    added = sweep.more(Table.from_rows(rows), "depth")
    assert {run.model.n_layer for run in added} == {deepest}
    highest = max(run.optim.learning_rate for run in runs)
    assert sorted(run.optim.learning_rate for run in added) == pytest.approx([2 * highest, 4 * highest], rel=1e-3)
    for row in rows:
        if row["n_layer"] == deepest and row["learning_rate"] > 0.9 * highest:
            row |= {"status": "diverged", "loss": math.nan}
    assert sweep.more(Table.from_rows(rows), "depth") == ()


def test_the_sweep_spans_what_it_is_for():
    tried = [bowl for part in ("all", "long") for bowl in sweep.bowls(part)]
    bowls = [(model, D) for model, D, _ in tried if model.kind == "transformer"]
    above = [model.N for model, D in bowls if D / model.N > 60]
    assert len(above) >= 8
    assert len(bowls) - len(above) >= 8
    assert max(above) == 98_304
    assert {model.n_layer for model, _ in bowls} == {1, 2, 4, 6}
    assert max(D for _, D in bowls) == 2**23
    whole = {run for part in ("sizes", "batches", "depth", "lstm") for run in sweep.study(part).runs}
    assert whole == set(sweep.study("all").runs)
    assert set(sweep.study("few").runs) < whole


def test_the_documented_example_runs_and_the_projects_law_is_its_result(tmp_path, monkeypatch, capsys):
    root = Path(__file__).parents[1]
    (code,) = re.findall(r"```python\n(.*?)```", (root / "docs" / "tuning.md").read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    exec(code.replace("results/", f"{root}/results/"), {})
    assert capsys.readouterr().out == (root / "results" / "learning_rate" / "tuning.txt").read_text(encoding="utf-8")
    assert (tmp_path / "rates.pdf").stat().st_size > 5_000
    made = rates.raw(tmp_path / "rates.json")["python"]["transformer"]
    kept = rates.raw(root / "configs" / "rates.json")["python"]["transformer"]
    for name in ("rate", "N_1", "D_1", "B_1", *made["intervals"]):
        assert kept["law"][name] == pytest.approx(made["law"][name], rel=1e-9), name


def test_the_projects_own_rates_are_those_of_their_text_and_kind():
    law = LAWS["python"]["transformer"]
    assert learning_rate(law.N_1, B=law.B_1) == pytest.approx(law.rate)
    assert 1e-3 < learning_rate(1e6, 1e6) < learning_rate(1e4, 1e6) < 0.1
    assert learning_rate(1e5, 1e6) < learning_rate(1e5, 1e6, 4096)
    for kind in ("lstm", "universal"):  # a kind that was not swept has the Transformers'
        assert learning_rate(1e5, kind=kind) == LAWS["python"].get(kind, law)(1e5, B=256)
    assert tuning.WRONG == (0.5, 1.0, 2.0)


@pytest.mark.parametrize(
    "name", ["quickstart", "shapes", "isoflop", "cooldown", "architecture", "kaplan.steps", "kaplan.experiments"]
)
def test_a_study_takes_the_rates_of_its_text_unless_told_otherwise(name):
    def made(**settings):
        found = question.load(f"configs.{name}", {key.replace("__", "."): value for key, value in settings.items()})
        return [run.optim.learning_rate for run in found.runs]

    english, python = made(rates="english"), made(rates="python")
    assert made() == made(data__source="python") == python
    assert made(data__source="text:*.md") == english
    assert made(data__source="text:*.md", rates="python") == python
    assert (english == python) == ("english" not in LAWS)
