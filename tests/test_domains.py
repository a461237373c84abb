"""Domains from our own runs: planted laws come back through the page's path, and the paper's numbers agree."""

import dataclasses
import math
import statistics
import zlib

import numpy as np
import pytest

from analysis import reference
from analysis.papers.claim import Undecided
from analysis.papers.domains import figures
from analysis.papers.domains.baselines import Baselines, entropy
from analysis.papers.domains.evidence import PERCENTILES, Domains, per_image, printed
from analysis.papers.domains.paper import PAPER
from analysis.papers.reproduction import planned_row
from analysis.records import Records
from analysis.table import Table
from configs.domains import budgets, experiments
from scaling.data import glyphs, images

FLOOR, ALPHA, BETA = {"pixel": 0.9, "byte": 1.2}, 0.4, 0.45
SIZE, LENGTH = (lambda run: run.model.N), (lambda run: run.tokens)
TOLD = 3.0  # nats per glyph that a name tells
SPREAD = 4.0  # nats: the standard deviation of what glyphs cost
DEAR = np.exp(0.4 * np.random.default_rng(1).standard_normal(256))  # what a picture costs over the mean
BYTES_PER_TOKEN = 0.998  # a separator in five hundred tokens is no byte


def surface(run, N_1: float, D_1: float) -> float:
    """E + A / N^alpha + B / D^beta in the unit of the domain; at the compute of N_1 and D_1 the best size is N_1."""
    E = FLOOR["byte" if run.data.tokenizer == "bytes" else "pixel"]
    return E + 0.3 * (run.model.N / N_1) ** -ALPHA + 0.3 * ALPHA / BETA * (run.tokens / D_1) ** -BETA


def loss_of(run, N_1: float, D_1: float) -> float:
    """As a record has it: nats per token."""
    if run.answers_after is not None:
        return (150 * run.model.N**-0.1 - TOLD * ("captions=0" not in run.data.source)) / 64
    if run.data.tokenizer == "bytes":
        return surface(run, N_1, D_1) * math.log(2) * BYTES_PER_TOKEN
    return surface(run, N_1, D_1) * (run.model.n_ctx - 1) / run.model.n_ctx


def records(*names: str, seed_noise: float = 0.0005) -> dict[str, Records]:
    """Of these experiments, or of all, at cpu-1h; pictures at one resolution of each set."""
    at, found = dataclasses.replace(budgets.CPU_1H, source="text:planted", fashion=(budgets.FASHION_7,)), {}
    for name in names or experiments.EXPERIMENTS:
        rows, places, windows, runs = [], [], {}, experiments.EXPERIMENTS[name](at)
        middle = {
            data: [
                statistics.geometric_mean({value(run) for run in runs if run.data == data}) for value in (SIZE, LENGTH)
            ]
            for data in {run.data for run in runs}
        }
        for run in runs:
            id = str(zlib.crc32(repr(run).encode()))
            luck = np.random.default_rng(int(id)).standard_normal()
            loss = loss_of(run, *middle[run.data]) * math.exp(seed_noise * luck)
            per_byte = loss / math.log(2) / BYTES_PER_TOKEN
            rows.append({**planned_row(run).row, "run": id, "status": "done", "loss": loss, "loss_min": loss,
                         "bits_per_byte": per_byte,
                         "epochs": run.tokens / run.U, "data": run.data.source, "steps": run.steps})  # fmt: skip
            if run.answers_after is not None:
                glyphs = np.random.default_rng(0).standard_normal(run.eval.windows)
                windows[id] = loss + SPREAD / 64 * (glyphs - glyphs.mean()) / glyphs.std(ddof=1)
            elif run.data.source.startswith("images:"):
                windows[id] = loss * DEAR
            if run.tokens == max(other.tokens for other in runs if other.data == run.data):
                places += [{"run": id, "position": float(t), "loss": loss * (1 + 0.5 / t), "params": run.model.N}
                           for t in range(1, run.model.n_ctx + 1)]  # fmt: skip
        empty = Table({"run": np.array([], str), "step": np.array([])}, np.arange(0), "planted")
        positions = Table.from_rows(places, "planted") if places else empty
        found[name] = Records(Table.from_rows(rows, "planted"), empty, positions, (), {}, windows=windows)
    return found


@pytest.fixture(scope="module")
def evidence() -> Domains:
    return Domains(records())


def test_what_was_planted_comes_back_in_every_domain(evidence):
    for one in evidence.domains.values():
        floor = FLOOR["pixel" if one.pictures else "byte"]
        beta = evidence.beta(one.name)
        assert beta.ours == pytest.approx(BETA / (ALPHA + BETA), abs=0.06), one.name
        low, high = one.compute_law.intervals["alpha"]
        assert low < ALPHA * BETA / (ALPHA + BETA) < high, one.name
        low, high = one.compute_law.intervals["L_inf"]
        assert low < floor < high, one.name
        low, high = one.size_law.intervals["alpha"]
        assert low < ALPHA < high, one.name


def test_an_exponent_is_held_against_the_papers_of_the_same_form(evidence):
    """Language has no floor in the paper: an exponent of what is above one is another quantity, and much larger."""
    for one in evidence.domains.values():
        claim, with_floor = evidence.alpha_C(one.name), one.compute_law.constants["alpha"]
        if one.pictures:
            assert claim.ours == with_floor
        else:
            assert claim.ours < with_floor / 2
            assert evidence.alpha_N(one.name).span[1] >= one.size_law.constants["alpha"]  # a choice that is told


def test_a_picture_costs_its_pixels_and_one_nat_more_at_the_compute_that_the_law_says(evidence):
    one = evidence.domains["digits 8×8"]
    assert evidence.floor(one).ours == pytest.approx(64 * one.compute_law.constants["L_inf"])
    C = evidence.one_nat(one).ours
    law = one.compute_law.law
    assert 64 * (float(law(C)) - law.L_inf) == pytest.approx(1, rel=1e-6)


def test_names_tell_what_was_planted(evidence):
    (found,) = evidence.captions
    assert found.told == pytest.approx(np.full(3, TOLD), abs=0.25)
    of_glyphs = 1.96 * SPREAD * math.sqrt(2 / 1134)  # 0.33
    assert (found.half > of_glyphs).all()
    assert (found.half < 0.5).all()
    assert found.which == pytest.approx(math.log(10_038))


def test_what_names_tell_is_not_decided_where_the_scatter_of_glyphs_is_not_known():
    planted = records("glyphs")
    (found,) = Domains({"glyphs": dataclasses.replace(planted["glyphs"], windows={})}).captions
    assert np.isinf(found.half).all()


def test_a_name_that_says_which_glyph_it_is_has_the_infogain_that_was_planted(evidence):
    (found,) = evidence.captions
    claim = evidence.told(found)
    assert claim.ours == pytest.approx(TOLD / math.log(10_038), abs=0.01)
    assert claim.interval[0] < TOLD / math.log(10_038) < claim.interval[1]


def test_easy_pictures_and_hard_ones_fall_by_the_exponent_that_was_planted(evidence):
    """Each picture costs its own multiple of the mean, floor and all, so that all percentiles fall alike."""
    for one in evidence.pictures:
        found = evidence.percentiles(one)
        for k, percentile in enumerate(PERCENTILES):
            law = found.law(k)
            low, high = law.intervals["alpha"]
            assert low < ALPHA < high, (one.name, percentile)
            mean = one.size_law.constants["L_inf"] * one.side**2
            assert law.constants["L_inf"] == pytest.approx(mean * np.percentile(DEAR, percentile), rel=0.05)


def test_percentiles_want_the_loss_of_each_picture():
    planted = records("digits")
    bare = Domains({"digits": dataclasses.replace(planted["digits"], windows={})})
    (one,) = bare.pictures
    with pytest.raises(Undecided, match="have no loss for each picture"):
        bare.percentiles(one)


def test_the_surface_of_all_lengths_finds_the_floor_and_the_exponents_of_compute_too(evidence):
    one = evidence.domains["Fashion-MNIST 7×7"]
    floor, share = one.of_surface(lambda law: law.E), one.of_surface(lambda law: law.beta / (law.alpha + law.beta))
    assert floor == pytest.approx(FLOOR["pixel"], abs=0.03)
    assert share == pytest.approx(BETA / (ALPHA + BETA), abs=0.05)
    low, high = evidence.floor(one).span
    assert low <= 49 * floor <= high
    with pytest.raises(Undecided, match="read more than 4 times"):
        evidence.domains["digits 8×8"].of_surface(lambda law: law.E)


def test_bits_per_byte_have_a_floor_with_an_interval(evidence):
    for one in evidence.texts:
        claim = evidence.least(one)
        low, high = claim.interval
        assert low < FLOOR["byte"] < high
        assert "exponent" in claim.note


def test_text_costs_bits_over_its_bytes_and_separators_are_none(evidence):
    nats_per_token = evidence.need("code")["loss"]
    expected = nats_per_token / math.log(2) / BYTES_PER_TOKEN
    assert evidence.domains["Python"].runs["loss"] == pytest.approx(expected)


def test_rates_on_code_are_tried_without_the_digits(monkeypatch):
    monkeypatch.setattr(images, "_digits_file", lambda: None)
    one_set = dataclasses.replace(budgets.CPU_1H, glyphs=())
    lacking = experiments.left_out(one_set)
    assert {"digits", "digit_rates"} <= set(lacking)
    assert "rates" not in lacking
    assert {run.data.source for run in experiments.rates(one_set)} == {"python"}
    assert {run.data.source for run in experiments.digit_rates(one_set)} == {"images:digits"}


@pytest.mark.parametrize("name", ["cpu-1h", pytest.param("cpu-3h", marks=pytest.mark.slow)])
def test_both_arms_train_on_all_glyphs_of_a_set_and_are_measured_on_all_that_are_held_out(name):
    at = budgets.BUDGETS[name]
    if why := glyphs.missing("glyphs:hangul"):
        pytest.skip(why)
    assert "glyphs" not in experiments.left_out(at)
    for run in {run.data: run for run in experiments.glyphs(at)}.values():
        trained, held_out = (glyphs.GlyphCorpus.of(name).texts() for name in (run.data.source, run.data.validation))
        assert run.U / run.model.n_ctx == pytest.approx(len(trained), rel=experiments.MORE)
        assert run.eval.windows == pytest.approx(len(held_out), rel=experiments.MORE)
    few = dataclasses.replace(budgets.HANGUL, windows=512)
    said = experiments.left_out(dataclasses.replace(at, glyphs=(few,)))["glyphs"]
    assert "10,038 and 1,134" in said
    assert "wanted 10,038 and 512" in said


def test_every_figure_has_its_points_and_says_what_it_lacks(evidence):
    for name in PAPER.figures:
        drawn = PAPER.draw_one(name, evidence)
        assert len(drawn.data) > 2, name
        assert drawn.sentences, name
        assert drawn.figure is not None or name.startswith("table")
        not_planted = "models without weights", "no run of Fashion-MNIST 14×14"
        assert all(any(what in line for what in not_planted) for line in drawn.open), (name, drawn.open)
    for name in PAPER.figures:
        assert not PAPER.draw_one(name, Domains({})).decided, name


def test_a_power_law_of_the_place_is_told_from_what_is_none():
    place = np.arange(1, 65)
    assert figures.explained(3 * place**-0.3) == pytest.approx(1)
    rows = np.tile(np.linspace(0.2, 1.5, 8), 8)
    assert figures.explained(rows) < figures.NOT_TOLD


@pytest.mark.parametrize("row", ["image_8x8", "image_16x16", "image_32x32", "image_vq_16x16", "image_vq_32x32"])
def test_the_papers_table_3_follows_from_its_table_1_but_for_a_tenfold_slip(row):
    """Of three colours a pixel, or one code: a whole image is so many tokens."""
    side = int(row.rpartition("x")[2])
    tokens = side**2 * (1 if "vq" in row else 3)
    floor, scale, exponent = printed(row, "L_of_C")
    whole, one_nat, same = per_image(row)
    assert same == exponent
    assert whole == pytest.approx(tokens * floor, rel=5e-3)
    expected = scale * tokens ** (1 / exponent)
    slip = 10 if row == "image_8x8" else 1
    assert one_nat * slip == pytest.approx(expected, rel=0.05)


def test_a_context_that_decides_a_pixel_costs_nothing_and_one_that_does_not_costs_its_entropy():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 16, (4000, 1, 1), np.uint8)
    flat = np.broadcast_to(first, (4000, 4, 4)).copy()
    found = Baselines.of(flat[:3000], flat[3000:], 16)
    assert found.unigram == pytest.approx(math.log(16), abs=0.01)
    assert found.left_up == pytest.approx(math.log(16) / 16, abs=0.01)  # the first pixel alone is not known
    noise = rng.integers(0, 4, (4000, 4, 4), np.uint8)
    found = Baselines.of(noise[:3000], noise[3000:], 4)
    assert found.left_up == pytest.approx(entropy(noise), abs=0.01)


@pytest.mark.parametrize(
    ("of", "unigram", "position", "left_up"),
    [
        ("7", 2.23, 1.97, 1.59),
        ("14", 2.06, 1.83, 1.19),
        pytest.param("28", 1.91, 1.70, 0.97, marks=pytest.mark.slow),
        pytest.param("14?levels=256", 3.76, 3.52, 2.86, marks=pytest.mark.slow),
    ],
)
def test_fashion_mnist_costs_without_weights_what_others_counted(of, unigram, position, left_up):
    """They are silent on how a mean of pixels becomes a level, and on what a level costs that was never counted."""
    source = f"images:fashion-mnist@{of}"
    if why := images.missing(source):
        pytest.skip(why)
    found = Baselines.read(source)
    assert found.unigram == pytest.approx(unigram, abs=0.02)
    assert found.position == pytest.approx(position, abs=0.03)
    assert found.left_up == pytest.approx(left_up, abs=0.05 if "levels" in of else 0.035)


@pytest.mark.parametrize("budget", budgets.BUDGETS)
def test_lengths_are_branches_of_one_trunk_and_an_example_is_one_picture(budget):
    at = budgets.named(budget)
    for name in ("digits", "fashion", "code", "glyphs"):
        runs = experiments.EXPERIMENTS[name](at)
        for run in runs:
            trunk = run.model, run.data, run.seed
            own = [other for other in runs if (other.model, other.data, other.seed) == trunk]
            assert len({(one.optim, one.unique_tokens, one.batch) for one in own}) == 1
            assert len({one.tokens for one in own}) == len(own)
            if name in ("digits", "fashion"):
                asked = images.parse(run.data.source)
                assert run.model.n_vocab == asked.levels + 1
                assert run.model.n_ctx == (asked.size or 8) ** 2 + 1
                assert images.parse(run.data.validation).part == "test"


def test_what_is_missing_is_said_with_a_way_out_and_the_rest_is_trained(monkeypatch, tmp_path):
    from analysis import papers

    monkeypatch.setattr(images, "DEBIAN", tmp_path / "none")
    wanted = papers.wanted("domains", "tiny")
    whole, lines = wanted.trainable()
    assert "fashion" in wanted.members
    assert "fashion" not in whole.members
    assert whole.members["code"]
    said = next(line for line in lines if "fashion" in line)
    assert "apt-get install dataset-fashion-mnist" in said
    assert any("--data" in line for line in lines)
    assert "images:fashion-mnist@7" in wanted.budget.texts([run for runs in wanted.members.values() for run in runs])
    drawn = PAPER.draw_one("fig1", Domains(records("code")))
    assert drawn.figure is not None


def test_equal_bytes_are_read_of_code_and_of_a_text():
    at = dataclasses.replace(budgets.CPU_1H, source="text:a")
    code, text = experiments.code(at), experiments.text(at)
    assert [(run.model, run.tokens) for run in code] == [(run.model, run.tokens) for run in text]
    assert {run.data.tokenizer for run in (*code, *text)} == {"bytes"}
    assert not experiments.text(budgets.CPU_1H)


def test_constants_of_the_paper_say_where_they_are_read():
    for name, one in reference.published()["henighan2020"].items():
        if name.endswith("per_image"):
            assert (one["level"], one["equation"]) == ("paper", "Table 3")
