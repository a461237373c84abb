"""The same runs under several counts: known exponents and gaps come back, with intervals of the same redrawn runs."""

import csv

import numpy as np
import pytest

from analysis import counting, recount
from analysis.counting import Family
from analysis.laws import Chinchilla
from analysis.recount import Count
from analysis.table import Table
from scaling.errors import InputError

V = 2048
LAW = Chinchilla(E=2.5, A=75.0, B=75 * 39**0.35, alpha=0.35, beta=0.35)
FAMILY = Family.of_depth(V, 2)
WIDTHS = np.array([8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128])
NOISE = 0.003


def readings(worth=0.5, noise=None, top=8e12, longest=25e6):
    """A table of sizes and tokens whose loss is LAW's; `noise` in ln loss, one of each size."""
    rows = []
    for k, d in enumerate(WIDTHS):
        N, head = 24.0 * d * d, 24.0 * d * d + V * d
        most = min(top / 6 / head, longest)
        for D in most / 2 ** np.arange(7):
            loss = float(LAW(N + worth * V * d, D)) * np.exp(0 if noise is None else noise[k])
            rows.append(
                {"params": N, "params_head": head, "tokens": D, "loss": loss, "n_layer": 2, "n_ctx": 64, "d_attn": d}
            )
    return Table.from_rows(rows)


def both(table, moves=None, **options):
    curves = recount.arm(table)
    return [recount.best(curves, count, moves, **options) for count in (Count.KAPLAN, Count.HEAD)]


@pytest.mark.parametrize("worth", [0.25, 0.5, 1.0])
def test_each_count_finds_the_exponent_of_the_law_the_runs_were_drawn_from(worth):
    for found, count in zip(both(readings(worth)), (0, 1), strict=True):
        best = counting.best_sizes(FAMILY, LAW, found.flops, count=count, worth=worth)
        np.testing.assert_allclose(found.params, best.params, rtol=0.1)
        assert found.a == pytest.approx(np.polyfit(np.log(best.flops), np.log(best.params), 1)[0], abs=0.02)


def test_the_head_alone_makes_the_known_gap():
    without, counted = both(readings(1.0))
    assert counted.a == pytest.approx(0.5, abs=0.005)
    assert without.a - counted.a == pytest.approx(0.2, abs=0.02)


def test_attention_counts_as_a_little_more_head():
    curves = recount.arm(readings())
    plain, more = (recount.best(curves, count) for count in (Count.HEAD, Count.ATTENTION))
    assert more.params.min() > plain.params.min()
    assert more.a == pytest.approx(plain.a, abs=0.005)


def test_the_exponent_is_that_of_plain_numpy():
    """One budget after the other: a cubic through the losses of each size, a parabola through the five lowest sizes."""
    table = readings(noise=NOISE * np.random.default_rng(3).normal(size=len(WIDTHS)))
    (_, found) = both(table)
    optima = []
    for C in found.flops:
        x, y = [], []
        for N in np.unique(table["params_head"]):
            rows = table["params_head"] == N
            D, loss = table["tokens"][rows][::-1], table["loss"][rows][::-1]
            if D[0] * (1 - 1e-9) <= C / 6 / N <= D[-1] * (1 + 1e-9):
                near = np.argsort(np.abs(np.log(D * 6 * N / C)))[:4]
                x.append(np.log(N))
                y.append(np.polyval(np.polyfit(np.log(D[near]), np.log(loss[near]), 3), np.log(C / 6 / N)))
        x, y = np.array(x), np.array(y)
        lowest = x[y.argmin()]
        near = np.abs(x - lowest) <= max(np.log(4), np.sort(np.abs(x - lowest))[4]) + 1e-9
        c2, c1, _ = np.polyfit(x[near] - lowest, y[near], 2)
        optima.append(lowest - c1 / 2 / c2)
    np.testing.assert_allclose(np.log(found.params), optima, atol=0.03)
    assert found.a == pytest.approx(np.polyfit(np.log(found.flops), optima, 1)[0], abs=0.01)


def test_a_reading_between_two_lengths_is_near_the_curve_and_none_is_read_beyond():
    curve = recount.arm(readings())[4]
    x = np.linspace(curve.ln_D[0], curve.ln_D[-1], 40)
    N = curve.N[Count.KAPLAN]
    np.testing.assert_allclose(np.exp(curve.at(x)), LAW(N + 0.5 * float(FAMILY.head(N)), np.exp(x)), rtol=2e-4)
    assert np.isnan(curve.at([curve.ln_D[0] - 0.1, curve.ln_D[-1] + 0.1])).all()


def test_seeds_are_averaged():
    table = readings()
    again = table.with_columns(loss=table["loss"] * 1.02)
    columns = {name: np.concatenate([table[name], again[name]]) for name in table}
    (_, one), (_, two) = both(table), both(Table(columns, np.arange(2 * len(table))))
    assert two.a == pytest.approx(one.a)
    np.testing.assert_allclose(two.loss, one.loss * np.sqrt(1.02))


def test_paired_intervals_of_the_gap_cover_it():
    without, counted = both(readings())
    true, hits, halves = without.a - counted.a, 0, []
    for seed in range(30):
        table = readings(noise=NOISE * np.random.default_rng(seed).normal(size=len(WIDTHS)))
        curves = recount.arm(table)
        moves = recount.moves({"one": curves}, draws=100, seed=seed)
        without, counted = both(table, moves.of("one", curves))
        low, high = recount.interval(without.draws - counted.draws)
        hits += low <= true <= high
        halves.append((high - low) / 2)
    assert hits >= 24  # 3 standard errors of a binomial with p = 0.95 below 28.5, and a little
    assert np.median(halves) < 0.06


def test_what_two_arms_share_does_not_widen_the_step_between_them():
    common, own = np.random.default_rng(0).normal(size=(2, len(WIDTHS)))
    halves = {}
    for told, second in (("shared", common + 0.05 * own), ("own", own)):
        arms = {name: recount.arm(readings(noise=NOISE * noise)) for name, noise in (("a", common), ("b", second))}
        moves = recount.moves(arms, draws=300)
        a, b = (recount.best(arms[name], Count.HEAD, moves.of(name, arms[name])) for name in "ab")
        low, high = recount.interval(a.draws - b.draws)
        halves[told] = (high - low) / 2
    assert halves["shared"] < halves["own"] / 2


def test_noise_that_cannot_be_told_gives_no_interval():
    curves = recount.arm(readings())[:3]
    assert recount.moves({"one": curves}).of("one", curves) is None


def test_too_few_sizes_are_refused_and_sizes_without_a_minimum_are():
    curves = recount.arm(readings())
    with pytest.raises(InputError, match="no budget at which 4 sizes can be read"):
        recount.best(curves[:3], Count.HEAD)
    with pytest.raises(InputError, match="budgets have a minimum between their sizes"):
        recount.best(curves[-5:], Count.KAPLAN)
    with pytest.raises(InputError, match="method 'spline': choose akima or parabola"):
        recount.best(curves, Count.HEAD, method="spline")


# --- Porian et al.'s own points

D_MODEL = (96, 128, 160, 224, 288, 320, 384, 480, 576, 640, 704, 832, 1024, 1120, 1312, 1504)
PORIANS_V = 50_432


@pytest.fixture(scope="module")
def porian(shared):
    """Their exponents by our functions: (dataset, hparams, warm-up, decay, count) to a."""
    text = (shared / "reference_runs" / "porian2024_isoflop" / "isoflop_points.csv").read_text()
    rows = [row for row in csv.DictReader(text.splitlines()) if row["param_count"] != "attention"]
    sizes = sorted({float(row["n_params"]) for row in rows if row["param_count"] == "kaplan"})
    of_head = {size + PORIANS_V * d: size for size, d in zip(sizes, D_MODEL, strict=True)}
    found = {}
    settings = ("dataset", "hparams", "warmup", "decay", "loss_kind")
    for setting in dict.fromkeys(tuple(row[name] for name in (*settings, "param_count")) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in (*settings, "param_count")) == setting]
        N = np.array([float(row["n_params"]) for row in own])
        if setting[-1] == "standard":
            N = np.array([of_head[n] for n in N])
        width = np.array([D_MODEL[sizes.index(n)] for n in N])
        numbers = {name: np.array([float(row[name]) for row in own]) for name in ("tokens", "loss")}
        table = Table.from_columns({"params": N, "params_head": N + PORIANS_V * width, **numbers})
        curves = recount.arm(table, (Count.HEAD,))
        for count in (Count.KAPLAN, Count.HEAD):
            found[(*setting[:4], setting[-1], count)] = recount.best(curves, count, method="akima").a
    return found


def test_porians_walk_comes_back_step_by_step(porian, papers):
    walk = {
        ("base", "long", "kaplan", "kaplan", Count.KAPLAN): "a_reproduce_kaplan",
        ("base", "long", "kaplan", "standard", Count.HEAD): "a_count_last_layer",
        ("base", "short", "kaplan", "standard", Count.HEAD): "a_correct_warmup",
        ("base", "short", "chinchilla", "standard", Count.HEAD): "a_cosine_decay",
        ("tuned", "short", "const", "standard", Count.HEAD): "a_tuned_no_decay",
        ("base", "short", "kaplan", "standard", Count.KAPLAN): "a_warmup_first",
        ("tuned", "short", "const", "standard", Count.KAPLAN): "a_tuned_without_head",
    }
    for setting, name in walk.items():
        printed = papers["porian2024"][f"refinedweb_{name}"]["value"]
        assert porian["rw", *setting] == pytest.approx(printed, abs=0.01), name


# Without the head and with it, as read off their runs elsewhere, by Akima's interpolant too.
COUNTED_TWICE = {
    ("rw", "tuned", "short", "const", "standard"): (0.627, 0.504),
    ("owt2", "tuned", "short", "const", "standard"): (0.637, 0.518),
    ("rw", "base", "short", "chinchilla", "standard"): (0.667, 0.570),
    ("rw", "base", "short", "kaplan", "standard"): (0.771, 0.606),
    ("rw", "base", "long", "kaplan", "kaplan"): (0.835, 0.706),
    ("rw", "tuned", "long", "const", "kaplan"): (0.709, 0.566),
}


@pytest.mark.parametrize(("setting", "exponents"), COUNTED_TWICE.items(), ids=lambda value: " ".join(map(str, value)))
def test_counting_alone_moves_porians_exponents_by_a_tenth_to_a_sixth(porian, setting, exponents):
    found = [porian[(*setting, count)] for count in (Count.KAPLAN, Count.HEAD)]
    assert found == pytest.approx(exponents, abs=0.02)
    assert 0.10 < found[0] - found[1] < 0.17
