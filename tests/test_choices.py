"""What the choices of an architecture are worth: runs whose differences are known, and laws of one architecture."""

import json
import math
from collections.abc import Mapping

import known_runs
import numpy as np
import pytest
from known_runs import SURFACE

from analysis import architecture, findings, laws, report
from analysis.findings import choices
from analysis.table import Table
from configs import architecture as config
from scaling import counts
from scaling.config import ModelConfig, RunConfig

SLOPE = -0.06  # of ln(loss) in ln(FLOP) along the base's lengths
NOISE, SEED_NOISE = 0.001, 0.004
WORTH = {"RMS norm": -0.01, "squared ReLU": 0.02, "universal Transformer, reuse 2": -0.03, "LSTM": 0.1}
PARTS = ("kind", "reuse", "positions", "norm", "feed_forward", "qk_norm", "tied", "bias", "z_loss", "softcap")
SHAPE = ("d_model", "n_layer", "n_head", "d_attn", "d_ff")


def parts(model: ModelConfig) -> dict:
    """What a record says of a model."""
    kind = (
        {"positions": "", "n_kv_head": math.nan} if model.kind == "lstm" else {"n_kv_head": model.d_kv // model.d_head}
    )
    return {name: getattr(model, name) for name in (*PARTS, *SHAPE)} | counts.params(model) | kind


def row(run: RunConfig, loss: float) -> dict:
    model = run.model
    flops = {name: run.tokens * each for name, each in counts.flops_per_token(model).items()}
    told = {"seed": run.seed, "batch_tokens": run.batch_tokens, "learning_rate": run.optim.learning_rate}
    return known_runs.run((model.d_model, model.n_layer), run.tokens, loss, **parts(model) | told | flops)


def names() -> dict[ModelConfig, str]:
    """What the study's models are called."""
    models = [model for N in config.SIZES for model in config.forms(N)]
    table = Table.from_rows([parts(model) | {"loss": 3.0} for model in models])
    what = architecture.architectures(table)
    return {model: architecture.differences(one, what[0]) for model, one in zip(models, what, strict=True)}


def studied(worth: Mapping[str, float] = WORTH, noise: float = NOISE, seed: int = 0) -> Table:
    """The study as it would be if each change were worth so much, and a seed moved all architectures alike."""
    rng, called = np.random.default_rng(seed), names()
    common = SEED_NOISE * rng.normal(size=8)
    runs = config.study().runs
    longest = max(run.tokens for run in runs)
    rows = []
    for run in runs:
        N = min(config.SIZES, key=lambda size: abs(math.log(size / run.model.N)))
        log = 1.2 - 0.08 * math.log(N / config.SIZES[0]) + SLOPE * math.log(run.tokens / longest)
        log += worth.get(called[run.model], 0.0) + common[run.seed] + noise * rng.normal()
        rows.append(row(run, math.exp(log)))
    own = max(r["learning_rate"] for r in rows) / 2
    for r in rows:  # half and double the rate are worse
        r["loss"] *= 1.01 if r["learning_rate"] in (own / 2, 2 * own) else 1
    return known_runs.table(rows)


@pytest.fixture(scope="module")
def found() -> choices.Choices:
    said = choices.find(studied())
    assert said
    return said


def test_the_architectures_of_the_study_have_one_size_within_two_percent_and_each_a_name():
    for N in config.SIZES:
        models = config.forms(N)
        assert models[0].N == N
        for model in models:
            assert abs(model.N / N - 1) < 0.02
    assert len(set(names().values())) == len(config.forms(config.SIZES[0]))
    assert {run.batch_tokens for run in config.study().runs} == {256}


def test_what_made_the_losses_is_found_and_nothing_else(found):
    assert [(place.params, place.tokens) for place in found.places] == [(24_576, 2**20), (98_304, 2**20)]
    for place in found.places:
        assert len(place.choices) == len(config.forms(24_576)) - 1
        assert {choice.name for choice in place.choices if choice.differs} == set(WORTH)
        for choice in place.choices:
            change = choice.at_tokens
            assert abs(change.share - math.expm1(WORTH.get(choice.name, 0))) < 1.5 * change.half, choice.name


def test_what_a_seed_does_to_all_architectures_is_no_noise_of_their_differences(found):
    assert found.paired
    assert found.sigma == pytest.approx(NOISE, rel=0.4)
    assert found.sigma < SEED_NOISE / 2


def test_a_choice_of_twice_the_compute_is_held_against_the_base_at_as_much_compute(found):
    for place in found.places:
        assert place.slope == pytest.approx(SLOPE, rel=0.1)
        (twice,) = (choice for choice in place.choices if choice.name.startswith("universal"))
        assert 1.6 < twice.cost < 1.8
        expected = math.expm1(-0.03 - SLOPE * math.log(twice.cost))
        assert abs(twice.at_flops.share - expected) < 1.5 * twice.at_flops.half
        same = [choice for choice in place.choices if choice.cost == 1]
        assert [choice.at_flops for choice in same] == [choice.at_tokens for choice in same]


def test_a_choice_that_wins_by_its_rate_alone_is_told():
    table = studied({"RMS norm": -0.02})
    rms, rate = table["norm"] == "rms", table["learning_rate"]
    rms &= table["feed_forward"] == "gelu"
    tried = (table["params"] == 24_576) & ~rms & (rate == rate[table["params"] == 24_576].max())
    found = choices.find(table.with_columns(loss=np.where(tried, 0.96 * table["loss"], table["loss"])))
    assert found
    text = " ".join(found.sentences())
    assert "With both at the best of the learning rates tried these turn round: RMS norm +" in text


def test_of_choices_that_do_nothing_one_table_in_twenty_names_one():
    named = total = 0
    table = studied({}, noise=0.0)
    for seed in range(60):
        noise = np.exp(0.003 * np.random.default_rng(seed).normal(size=len(table)))
        found = choices.find(table.with_columns(loss=table["loss"] * noise))
        assert found
        for place in found.places:
            total += 1
            named += any(choice.differs for choice in place.choices)
    assert named / total < 0.13


@pytest.mark.parametrize("p", [[0.01, 0.04, 0.03], [0.001, 0.5, math.nan]])
def test_holm_corrects_the_least_by_their_number_and_keeps_their_order(p):
    corrected = choices.holm(p)
    known = [k for k in range(len(p)) if math.isfinite(p[k])]
    least = min(known, key=lambda k: p[k])
    assert corrected[least] == pytest.approx(len(known) * p[least])
    assert sorted(known, key=lambda k: (corrected[k], p[k])) == sorted(known, key=lambda k: p[k])
    assert all(corrected[k] >= p[k] for k in known)


def test_with_one_seed_which_changes_are_noise_is_not_known():
    table = studied()
    found = choices.find(table.where(table["seed"] == 0, "another seed"))
    assert found
    assert not any(choice.differs for place in found.places for choice in place.choices)
    assert any("which of these changes are noise is not known" in sentence for sentence in found.sentences())


def test_where_only_the_base_has_seeds_its_scatter_is_the_noise():
    table = studied()
    table = table.where(table["tokens"] == 2**20, "shorter")
    base = np.array([what == architecture.architectures(table)[0] for what in architecture.architectures(table)])
    found = choices.find(table.where(base | (table["seed"] == 0), "another seed"))
    assert found
    assert not found.paired
    assert found.sigma > 2 * NOISE
    assert {c.name for p in found.places for c in p.choices if c.differs} >= {"LSTM"}


def test_a_ladder_of_one_architecture_and_a_table_without_parts_ask_nothing_of_choices():
    assert choices.find(known_runs.table(known_runs.grid())) is None
    table = studied()
    few = {name: table[name] for name in ("params", "tokens", "loss", "seed", "learning_rate")}
    assert choices.find(Table.from_columns(few)) is None


def test_a_table_that_tells_fewer_parts_compares_what_it_tells():
    table = studied()
    older = {name: table[name] for name in table if name not in ("norm", "qk_norm", "tied", "bias", "z_loss")}
    found = choices.find(Table.from_columns(older))
    assert found
    assert "squared ReLU" in {choice.name for choice in found.places[0].choices}


def test_laws_are_fitted_to_the_commonest_architecture_alone():
    base = parts(config.forms(24_576)[0])
    known = {name: base[name] for name in PARTS}
    grid = [r | known for r in known_runs.grid()]
    others = [r | {"norm": "rms", "loss": 1.3 * r["loss"]} for r in grid[::3]]
    alone, mixed = (findings.find(known_runs.table(rows), draws=0) for rows in (grid, [*grid, *others]))
    first, second = (found.law(laws.Chinchilla).fit for found in (alone, mixed))
    assert first
    assert second
    assert second.constants == first.constants
    assert len(mixed.everything) == len(grid) + len(others)
    (left,) = (e for e in mixed.excluded if "another architecture" in e.reason)
    assert len(left.rows) == len(others)
    assert left.reason.endswith("(RMS norm)")
    assert second.constants["E"] == pytest.approx(SURFACE.E, rel=0.3)


def test_the_page_puts_the_choices_first_and_json_holds_their_numbers():
    table = studied()
    found = findings.find(table, known_runs.curves(table), draws=0)
    page = report.page(found, known_runs.curves(table), known_runs.positions(table), name="a", question="b")
    assert "What the choices of an architecture are worth" in page
    assert 'id="figure-choices"' in page
    assert ">nan" not in page
    said = json.loads(found.to_json(), parse_constant=pytest.fail)["choices"]
    assert said["places"][0]["choices"][0]["name"] == "universal Transformer, reuse 2"
    assert "of 13 choices only these differ from it: universal Transformer, reuse 2 (−" in " ".join(
        found.text().split()
    )
