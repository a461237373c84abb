"""The parts of a study: together all of it, about equal, the same wherever they are worked out."""

import subprocess
import sys

import pytest

from configs import quickstart
from scaling import calibration, config, packs, split, study
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import ladder

RUNS = tuple(
    RunConfig(
        model, tokens=steps * 256, batch=4, unique_tokens=2**20, seed=seed, eval=EvalConfig(windows=128), optim=optim
    )
    for model in ladder([(8, 2), (16, 2), (32, 2), (64, 2)], d_head=8)
    for steps in (500, 1000, 2000)
    for seed in range(8)
    for optim in (OptimConfig(), OptimConfig(schedule="wsd", warmup_tokens=2560))
)


@pytest.mark.parametrize("n", [1, 2, 16])
def test_the_parts_are_the_study_and_their_costs_are_alike(n):
    of = split.parts(RUNS, n)
    assert set(of) == set(RUNS)
    assert set(of.values()) == set(range(1, n + 1))
    costs = calibration.Costs("cpu")
    loads = [sum(costs.pack([run]) for run in RUNS if of[run] == part) for part in range(1, n + 1)]
    assert max(loads) < 1.25 * sum(loads) / n


def test_runs_that_share_a_trunk_are_in_one_part():
    of = split.parts(RUNS, 16)
    trunks = {}
    for run in RUNS:
        if (trunk := packs.trunk(run)) is not None:
            trunks.setdefault(trunk, set()).add(of[run])
    assert len(trunks) == 32
    assert all(len(parts) == 1 for parts in trunks.values())


def test_another_process_and_another_order_come_to_the_same_parts():
    runs = quickstart.study().runs
    code = """
from configs import quickstart
from scaling import split
of = split.parts(tuple(reversed(quickstart.study().runs)), 5)
print([of[run] for run in quickstart.study().runs])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == str([split.parts(runs, 5)[run] for run in runs])


@pytest.mark.usefixtures("cache")
def test_whoever_comes_first_every_shard_finds_the_same_packs_and_its_own(tmp_path):
    data = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")
    runs = tuple(
        config.override(run, {"model.n_vocab": "257", "unique_tokens": str(2**15), "tokens": str(2**13)})
        for run in RUNS[::2]
    )
    runs = tuple(dict.fromkeys(config.from_dict(RunConfig, config.to_dict(run) | {"data": vars(data)}) for run in runs))
    wholes = [
        study.prepare(Study("s", "?", order), tmp_path / str(i), workers=1, pack=4, shards_of=5, say=lambda line: None)
        for i, order in enumerate((runs, runs[::-1]))
    ]
    parts = [[{run.id for pack in whole.part(i, 5) for run in pack.runs} for i in range(1, 6)] for whole in wholes]
    assert parts[0] == parts[1]
    assert sorted(id for part in parts[0] for id in part) == sorted(wholes[0].runs)


@pytest.mark.parametrize(
    "text", ["", "3", "0/4", "5/4", "a/b", "1/0", "-1/3", "1/2/3", "1.0/2", "²/3", "1/²", "1/" + "9" * 5000]
)
def test_a_shard_that_is_none_is_refused_in_one_line(text):
    with pytest.raises(InputError, match="wanted the part and their number") as error:
        split.parse(text)
    assert "\n" not in str(error.value)


def test_a_shard_is_read_as_it_is_written():
    assert split.parse("3/16") == (3, 16)
