"""Which kind of study a table is, seen from its runs alone, and what shapes and cooldowns say."""

import json
import math

import known_runs
import numpy as np
import pytest
from known_runs import SURFACE, run
from matplotlib.figure import Figure

from analysis import findings, frontier, report
from analysis.findings import Findings, answers, cooldowns, shapes
from analysis.page import study_plots, svg
from analysis.table import Table
from scaling import ladder

N = 98_304


def sweep() -> Table:
    rows = [
        run(shape, D, float(SURFACE(12 * 2 * shape[0] ** 2, D)) * math.exp(0.02 * math.log(rate / best) ** 2 + e),
            learning_rate=rate)
        for k, shape in enumerate(((8, 2), (16, 2), (24, 2), (32, 2)))
        for D in (2**16, 2**18)
        for best in [0.01 * 1.4**-k]
        for e, rate in zip(np.random.default_rng(k).normal(0, 1e-3, 6), 0.002 * 2.0 ** np.arange(6), strict=True)
    ]  # fmt: skip
    return known_runs.table(rows)


def profiles(noise: float = 0.001) -> Table:
    rng, rows = np.random.default_rng(0), []
    for C in (1e10, 3e10, 1e11):
        best = float(frontier.best(SURFACE, np.array([C])).params[0])
        for size in (best * 4.0 ** np.linspace(-1, 1, 7)).round():
            loss = float(SURFACE(size, C / 6 / size)) * math.exp(noise * rng.normal())
            rows.append(run((8, 2), round(C / 6 / size), loss, params=size, flops=C, loss_half=math.nan))
    return known_runs.table(rows)


def shaped(noise: float = 0.002, seeds: int = 3) -> Table:
    """Shapes of one N whose loss has its minimum at d_ff / d_model = 4 and an aspect of 32, whatever the heads."""
    rng, rows = np.random.default_rng(1), []
    models = [
        *(ladder.matched(N, 2, ff_ratio=ratio, d_head=8) for ratio in (0.5, 1, 2, 4, 8, 16, 32)),
        *(ladder.matched(N, layers, d_head=8) for layers in (1, 3, 4, 6, 8, 12)),
        *(ladder.matched(N, 2, d_head=width) for width in (4, 16, 32)),
    ]
    for model in models:
        ratio, aspect = model.d_ff / model.d_model / 4, model.d_model / model.n_layer / 32
        off = 0.004 * (math.log(ratio) ** 2 if model.n_layer == 2 else math.log(aspect) ** 2)
        rows += [
            run((model.d_model, model.n_layer), 2**18, 3.5 * math.exp(off + noise * rng.normal()), params=model.N,
                n_head=model.n_head, d_attn=model.d_attn, d_ff=model.d_ff, seed=seed)
            for seed in range(seeds)
        ]  # fmt: skip
    return known_runs.table(rows)


def branched(change: float = 0.003) -> Table:
    rows = []
    for shape in ((16, 2), (32, 2)):
        for D in (2**17, 2**18, 2**19):
            loss = float(SURFACE(12 * 2 * shape[0] ** 2, D))
            rows += [
                run(
                    shape,
                    D,
                    loss * math.exp(change),
                    schedule="wsd",
                    warmup=2**13 / D,
                    flops_trained=144 * shape[0] ** 2 * D / 2,
                ),
                run(shape, D, loss, flops_trained=144 * shape[0] ** 2 * D),
            ]
    return known_runs.table(rows)


KINDS = {"tuning": sweep, "profiles": profiles, "shapes": shaped, "cooldowns": branched}


@pytest.fixture(scope="module")
def found() -> dict[str, Findings]:
    return {kind: findings.find(table := make(), known_runs.curves(table), draws=0) for kind, make in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_is_recognised_by_its_runs_alone(found, kind):
    said = found[kind].answers
    assert {name for name in KINDS if getattr(said, name) is not None} == {kind}


def test_a_ladder_is_none_of_these_kinds():
    table = known_runs.table([*known_runs.grid(), *known_runs.repeated()])
    assert answers.find(table) == answers.compared(table) == answers.Answers()
    tried = [run((8, 2), 2**20, 4.1, learning_rate=rate) for rate in (2e-2, 5e-3, 2e-3)]
    assert answers.sweep(known_runs.table([*known_runs.grid(), *tried])) is None


def test_a_sweep_of_rates_asks_for_no_law_of_size_and_warns_of_no_rate(found):
    swept = found["tuning"]
    assert not any(finding.fit for finding in swept.laws)
    assert not swept.warnings
    assert not swept.excluded
    assert "No laws: these runs differ in their learning rate" in swept.text()
    assert "LR = " in swept.text()


def test_a_sweep_that_has_only_begun_is_no_sweep_yet():
    table = sweep()
    begun = table.with_columns(status=np.where(table["learning_rate"] > 0.01, "running", "done"))
    assert answers.sweep(begun) is None
    assert answers.sweep(table.with_columns(status=np.full(len(table), "running"))) is None


def test_the_best_sizes_of_known_profiles_are_found(found):
    low, high = found["profiles"].answers.profiles.allocation.a_interval
    budgets = np.array([1e10, 1e11])
    truth = float(np.diff(np.log(frontier.best(SURFACE, budgets).params))[0] / np.log(10))
    assert low < truth < high


def test_the_figure_of_profiles_shows_the_parabolas_whose_minima_it_marks(found, figures):
    said = found["profiles"].answers.profiles
    left = figures["profiles"].axes[0]
    curves = [line for line in left.lines if len(line.get_xdata()) == 60]
    assert len(curves) == len(said.profiles)
    for minimum, line in zip(said.allocation.minima, curves, strict=True):
        lowest = np.argmin(line.get_ydata())
        assert line.get_ydata()[lowest] == pytest.approx(minimum.loss, rel=1e-3)
        assert line.get_xdata()[lowest] == pytest.approx(minimum.params, rel=0.1)
    (growth, *_) = said.sentences()
    assert "e+" not in growth
    assert "×10" in growth


def test_the_shape_that_made_the_losses_is_the_base_and_its_ratios_the_best():
    found = shapes.find(shaped())
    assert found is not None
    assert (found.base.d_model, found.base.n_layer, found.base.n_head) == (64, 2, 8)
    assert [panel.what for panel in found.panels] == list(shapes.WHAT)
    ff, aspect, heads = found.panels
    assert ff.ratio[int(np.argmin(np.abs(ff.change)))] == 4.0
    for panel in (ff, aspect):
        off = np.log(np.array(panel.ratio) / (4 if panel is ff else 32))
        np.testing.assert_allclose(panel.change, np.expm1(0.004 * off**2), atol=0.004)
    assert max(map(abs, heads.change)) < found.half(3)  # heads do nothing but noise here
    assert 0.001 < found.sigma < 0.003
    assert found.sizes[1] / found.sizes[0] < 1.01


def test_seeds_alone_exceed_the_noise_of_shapes_as_often_as_it_says():
    inside, table = [], shaped(seeds=2)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = shapes.find(table.with_columns(loss=3.5 * np.exp(0.003 * rng.normal(size=len(table)))))
        assert found is not None
        inside += [abs(c) < found.half(k) for p in found.panels for c, k in zip(p.change, p.seeds, strict=True) if c]
    assert 0.93 < np.mean(inside) < 0.97


def test_without_seeds_the_noise_of_shapes_is_said_to_be_unknown():
    found = shapes.find(shaped(seeds=1))
    assert found is not None
    assert math.isnan(found.half(1))
    assert any("which of these changes are noise is not known" in s for s in found.sentences())


def test_branches_are_held_against_runs_of_their_own_length_and_the_saving_is_told():
    found = cooldowns.find(branched())
    assert found is not None
    assert [t.params for t in found.trunks] == [6144, 24576]
    np.testing.assert_allclose(found.changes, math.expm1(0.003), rtol=1e-9)
    text = " ".join(found.sentences())
    assert "50 % less" in text
    assert "They end 0.30 %" in text
    alone = branched().where(branched()["schedule"] == "wsd", "cosine")
    assert cooldowns.find(alone) is None  # a study that uses trunks and asks something else


def test_branches_of_one_trunk_are_no_independent_evidence():
    """The error of their mean holds the truth as often as it says only if it is taken among trunks."""
    rng, trunks, branches = np.random.default_rng(0), 12, 4
    near = []
    found = cooldowns.Cooldowns((), math.nan, math.nan)
    for _ in range(300):
        changes = 0.01 + 0.003 * rng.normal(size=(trunks, 1)) + 0.001 * rng.normal(size=(trunks, branches))
        found = cooldowns.Cooldowns(
            tuple(
                cooldowns.Trunk(1.0, 0.0, tuple(cooldowns.Branch("a", 1.0, 4 * (1 + c), 4.0) for c in row))
                for row in changes.tolist()
            ),
            math.nan,
            math.nan,
        )
        mean, error = found.mean_change
        assert mean == pytest.approx(changes.mean())
        assert error == pytest.approx(changes.mean(1).std(ddof=1) / math.sqrt(trunks))  # of equally many each
        near.append(abs(mean - 0.01) < 2.2 * error)  # Student's t of 11 degrees at 95 %
    assert np.mean(near) > 0.92
    alone = cooldowns.Cooldowns(found.trunks[:1], math.nan, math.nan)
    assert math.isnan(alone.mean_change[1])
    assert "(mean of 4 branches of one trunk; from" in " ".join(alone.sentences())


def test_a_branch_is_not_held_against_a_run_of_another_seed_or_batch():
    table = branched()
    cosine = table["schedule"] == "cosine"
    for column in ("seed", "batch_tokens"):
        other = table.with_columns(**{column: np.where(cosine, 7.0, table[column])})
        assert cooldowns.find(other) is None, column


@pytest.fixture(scope="module")
def figures(found) -> dict[str, Figure]:
    tuning, isoflop, shape, cooldown = (getattr(found[kind].answers, kind) for kind in KINDS)
    return {
        "tuning": study_plots.learning_rates(tuning),
        "profiles": study_plots.isoflop(isoflop.profiles, isoflop.allocation),
        "profiles alone": study_plots.isoflop(isoflop.profiles, None),
        "shapes": study_plots.shapes(shape),
        "cooldowns": study_plots.cooldowns(cooldown, known_runs.curves(branched())),
    }


def test_every_axis_of_these_figures_has_a_name(figures):
    for name, figure in figures.items():
        for axes in figure.axes:
            assert axes.get_xlabel(), name
            assert axes.get_ylabel() or axes.get_title(loc="left") or name == "shapes", name
        assert svg.drawings(figure, "a").count("<text") > 10


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_shows_the_figure_of_its_kind_and_json_holds_its_numbers(found, kind):
    table = KINDS[kind]()
    page = report.page(found[kind], known_runs.curves(table), known_runs.positions(table), name="a", question="b")
    names = {"tuning": "rates", "profiles": "isoflop"}
    for other in KINDS:
        assert (f'id="figure-{names.get(other, other)}"' in page) == (other == kind)
    said = json.loads(found[kind].to_json(), parse_constant=pytest.fail)
    assert said[{"profiles": "isoflop"}.get(kind, kind)]
    assert "nan" not in found[kind].text()
    assert ">nan" not in page
