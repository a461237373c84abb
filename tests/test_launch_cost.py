"""What a request is said to cost: by hand for known runs, by a study that was trained, and in money."""

import math

import pytest

from launch import cost
from launch.request import Request
from scaling import chips, cli, question
from scaling import study as studies
from scaling.config import RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer

GPT2 = transformer(768, 12, n_vocab=50_257, n_ctx=1024)


def request(accelerator: str = "h100:8", **fields) -> Request:
    return Request("configs.quickstart", chips.accelerator(accelerator), "/shared/mine", **fields)


def study(*tokens: int, seeds: int = 1) -> Study:
    runs = [RunConfig(GPT2, tokens=D, batch=512, seed=seed) for D in tokens for seed in range(seeds)]
    return Study("mine", "?", tuple(runs))


def test_the_cost_of_gpt2_on_eight_gpus_is_what_one_computes_by_hand():
    wanted = study(512 * 1024 * 4000)
    found = cost.estimate(request(), wanted, cost.assumed(request()))
    per_token = 6 * (12 * 12 * 768**2 + 50_257 * 768 + 12 * 1024 * 768)  # causal half of the attention square
    assert found.flops == pytest.approx(per_token * 512 * 1024 * 4000)
    assert found.wall_hours == pytest.approx(found.flops / (0.4 * 989e12 * 8) / 3600)
    assert found.chip_hours == pytest.approx(8 * found.wall_hours)


def test_tasks_share_the_hours_and_cost_the_same_chip_hours():
    wanted = study(512 * 1024 * 100, seeds=8)
    one = cost.estimate(request(), wanted, cost.assumed(request()))
    four = cost.estimate(request(tasks=4), wanted, cost.assumed(request(tasks=4)))
    assert four.wall_hours == pytest.approx(one.wall_hours / 4)
    assert four.chip_hours == pytest.approx(one.chip_hours)


def test_no_number_of_tasks_makes_the_longest_run_shorter():
    wanted = study(512 * 1024, 512 * 1024 * 1000)
    speed = cost.assumed(request())
    alone = cost.estimate(request(), study(512 * 1024 * 1000), speed)
    assert cost.estimate(request(tasks=2), wanted, speed).wall_hours == pytest.approx(alone.wall_hours)


def test_runs_of_one_program_are_one_line_and_lines_add_up():
    found = cost.estimate(request(), study(512 * 1024, 512 * 2048, seeds=3), cost.assumed(request()))
    [pack] = found.packs
    assert (pack.runs, pack.params) == (6, GPT2.N)
    assert found.flops == pack.flops


def test_it_is_said_that_a_share_of_the_peak_is_assumed_and_small_models_are_warned_of():
    wanted = Study("mine", "?", (RunConfig(transformer(64, 2), tokens=4096),))
    told = "\n".join(cost.estimate(request(), wanted, cost.assumed(request(), 0.3)).lines())
    assert "MFU 30%, assumed" in told
    assert "reach far less" in told
    large = Study("mine", "?", (RunConfig(transformer(1024, 24, n_ctx=1024), tokens=2**20, batch=512),))
    assert "reach far less" not in "\n".join(cost.estimate(request(), large, cost.assumed(request())).lines())


def test_hours_on_a_cpu_are_not_made_up():
    wish = request("cpu")
    found = cost.estimate(wish, study(512 * 1024), cost.assumed(wish))
    assert math.isnan(found.wall_hours)
    assert "hours unknown" in "\n".join(found.lines())


def test_prices_are_per_chip_and_hour_spot_or_not(tmp_path):
    (tmp_path / "prices.toml").write_text('currency = "USD"\n[h100]\non_demand = 3\nspot = 1.5\n')
    prices = cost.read_prices(tmp_path / "prices.toml")
    speed = cost.assumed(request())
    full = cost.estimate(request(), study(512 * 1024 * 4000), speed, prices)
    spot = cost.estimate(request(spot=True), study(512 * 1024 * 4000), speed, prices)
    assert (full.price, spot.price) == (3, 1.5)
    head, *_, total, _, _ = full.lines()
    assert head.endswith("USD")
    assert total.endswith(f" {full.chip_hours * 3:.3g}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("currency = ", "not a price list in TOML"),
        ("[h100]\non_demand = 3", "names no currency"),
        ('currency = "USD"\nh100 = 3', "wanted [h100] and under it"),
        ('currency = "USD"\n[h100]\non_demnad = 3', "wanted on_demand or spot"),
        ('currency = "USD"\n[h100]\non_demand = -3', "wanted a number above 0"),
        ('currency = "USD"\n[h100]\non_demand = "3"', "wanted a number above 0"),
        ('currency = "USD"\n[v5e]\non_demand = 3', "has no on_demand price of h100"),
    ],
)
def test_a_price_list_that_cannot_be_used_is_one_line(text, said, tmp_path):
    (tmp_path / "prices.toml").write_text(text)

    def estimate() -> None:
        prices = cost.read_prices(tmp_path / "prices.toml")
        cost.estimate(request(), study(512 * 1024), cost.assumed(request()), prices)

    with pytest.raises(InputError) as error:
        estimate()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


CONFIG = """
import dataclasses
from scaling.config import *
from scaling.ladder import transformer
def study():
    data = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    one = RunConfig(model, tokens=1024, batch=4, data=data, eval=EvalConfig(windows=4))
    return Study("mine", "?", (one, dataclasses.replace(one, tokens=2048)))
"""


@pytest.mark.slow
def test_a_study_that_was_trained_tells_the_hours_of_the_next(cache, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)

    def scaling(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(list(words))
        return int(end.value.code or 0), capsys.readouterr().out

    assert (
        scaling(
            "study", "run", "mine.py", "--out", "done", "--workers", "1", "--shard", "1/2", "--tensorboard", "board"
        )[0]
        == 0
    )
    assert all(list(pack.glob("events.out.tfevents*")) for pack in (tmp_path / "board").iterdir())
    assert list((tmp_path / "board").iterdir())
    wish = request("cpu")
    found = cost.estimate(wish, question.load("mine.py", {}), cost.measured(tmp_path / "done", wish))
    trained = studies.read(tmp_path / "done")
    [(pack, done)] = [(pack, done) for pack in trained.packs if (done := trained.done(pack))]
    ratio = found.flops / sum(map(cost.flops, pack.configs))
    assert found.wall_hours * 3600 == pytest.approx(ratio * done["seconds"])
    launch = ("launch", "mine.py", "--on", "local", "--accelerator", "cpu", "--out", "x", "--dry-run")
    code, told = scaling(*launch, "--measured", "done")
    assert code == 0
    assert "measured in done" in told
    with pytest.raises(InputError, match="measured on a cpu, h100:8 is a gpu"):
        cost.measured(tmp_path / "done", request())
