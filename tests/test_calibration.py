"""What a study will cost: the rule, measurements kept per machine, and how they come together."""

import dataclasses
import math

import pytest

from configs import pod, quickstart
from scaling import calibration, config, counts, layout, packs
from scaling.calibration import Costs, Timing
from scaling.config import EvalConfig, OptimConfig, RunConfig
from scaling.errors import InputError
from scaling.ladder import ladder, transformer

pytestmark = pytest.mark.usefixtures("unoptimised")

SMALL, LARGE = (
    RunConfig(model, tokens=1024 * 256, batch=4, eval=EvalConfig(windows=128))
    for model in ladder([(16, 2), (64, 2)], d_head=8)
)
FOUND = Timing(update=0.01, evaluation=0.1, begin=0.2, compile=8.0, load=2.0, memory=1e9)


def measured(*what: tuple[RunConfig, int, Timing], device: str = "cpu") -> Costs:
    found = {calibration.key(config.program(run), lanes): (config.program(run), lanes, t) for run, lanes, t in what}
    return Costs(device, 3.0, found)


def test_a_measured_program_costs_what_was_measured():
    costs = measured((SMALL, 1, FOUND))
    busy = 0.2 + 1024 * 0.01 + len(SMALL.eval_steps) * 0.1
    assert costs.pack([SMALL]) == pytest.approx(busy * (1 + calibration.SAVING / calibration.SAVED))
    assert costs.makespan([[SMALL]], 1) == pytest.approx(3.0 + 2.0 + costs.pack([SMALL]))
    assert costs.knows(dataclasses.replace(SMALL, seed=7, tokens=512))
    assert not costs.knows(LARGE)


def test_what_was_not_measured_follows_the_rule_as_its_neighbours_correct_it():
    rule = calibration.predicted(SMALL, 1, "cpu")
    twice = dataclasses.replace(rule, update=2 * rule.update, compile=0.5 * rule.compile)
    other = measured((SMALL, 1, twice)).timing(LARGE, 1)
    plain = calibration.predicted(LARGE, 1, "cpu")
    assert other.update == pytest.approx(2 * plain.update)
    assert other.compile == pytest.approx(0.5 * plain.compile)
    assert other.evaluation == pytest.approx(plain.evaluation)


def test_two_workers_take_half_as_long_when_there_is_enough_to_share():
    runs = [[dataclasses.replace(SMALL, seed=seed)] for seed in range(64)]
    costs = measured((SMALL, 1, FOUND))
    one, two = (costs.makespan(runs, workers) - 5.0 for workers in (1, 2))  # without start and load
    assert one == pytest.approx(2 * two)
    assert two == pytest.approx(32 * costs.pack(runs[0]))


def test_a_trunk_that_is_shared_is_paid_once():
    optim = OptimConfig(schedule="wsd", warmup_tokens=256 * 50)
    runs = [dataclasses.replace(SMALL, tokens=256 * n, unique_tokens=2**20, optim=optim) for n in (500, 1000, 2000)]
    costs = measured(*((SMALL, lanes, dataclasses.replace(FOUND, evaluation=0.0)) for lanes in (1, 2, 4)))
    together, apart = costs.pack(runs), sum(costs.pack([run]) for run in runs)
    assert packs.updates(runs) < sum(run.steps for run in runs)
    assert together < 0.75 * apart


def test_lanes_are_those_that_were_measured_to_pay():
    def of(updates: dict[int, float], device: str) -> int:
        timings = ((SMALL, n, dataclasses.replace(FOUND, update=seconds)) for n, seconds in updates.items())
        return measured(*timings, device=device).lanes(SMALL)

    assert of({}, "cpu") == 1
    assert of({1: 0.01, 8: 0.09}, "cpu") == 1
    assert of({1: 0.01, 8: 0.04}, "cpu") == 8
    assert of({}, "gpu") == 16
    assert of({1: 0.01, 4: 0.01, 16: 0.012, 64: 0.048}, "gpu") == 16


def test_on_an_accelerator_as_many_runs_are_one_program_as_its_memory_holds():
    large = dataclasses.replace(LARGE, model=transformer(768, 12, d_head=64, n_vocab=32_000, n_ctx=1024), tokens=2**20)
    rule = calibration.predicted(large, 1, "gpu").memory
    for GiB, lanes in ((1e6, 16), (8 * rule / 2**30, 8), (rule / 2**30, 1), (0.1, 1)):
        assert Costs("gpu", told=GiB * 2**30).lanes(large) == lanes
    assert Costs("gpu", told=2.0**30).lanes(SMALL) == 16


def test_what_an_accelerator_cannot_hold_is_refused_in_one_line(tmp_path):
    large = dataclasses.replace(LARGE, model=transformer(4096, 32, d_head=128), tokens=2**20)
    one = layout.Layout("gpu", 1, 1)
    room = calibration.predicted(large, 1, "gpu").memory
    small = dataclasses.replace(SMALL, tokens=256)  # the disk is another matter
    work = [[dataclasses.replace(small, seed=seed) for seed in range(16)]]
    with pytest.raises(
        InputError, match=r"16 runs of N = .* of each gpu's memory, which has 0.1; use a smaller --pack"
    ) as e:
        calibration.check(work, one, Costs("gpu", told=1e8), tmp_path)
    assert "\n" not in str(e.value)
    calibration.check(work, one, Costs("gpu", told=8e10), tmp_path)
    with pytest.raises(InputError, match="GiB of each gpu's memory"):
        calibration.check([[large]], one, Costs("gpu", told=room / 3), tmp_path)
    # The rule may be wrong by some; what was measured is not.
    wanted = calibration.predicted(small, 16, "gpu").memory
    calibration.check(work, one, Costs("gpu", told=wanted / 1.5), tmp_path)
    known = dataclasses.replace(
        measured((small, 16, dataclasses.replace(FOUND, memory=wanted)), device="gpu"), told=wanted / 1.5
    )
    with pytest.raises(InputError, match="GiB of each gpu's memory"):
        calibration.check(work, one, known, tmp_path)


PODS = [  # the peaks in results/compile.md, GiB per chip
    ("768", {"data": 1}, 3.25),
    ("393k", {"fsdp": 8}, 2.89),
    ("85m", {"fsdp": 8}, 24.71),
    ("302m", {"fsdp": 16}, 23.01),
    ("1.5b", {"fsdp": 64}, 4.04),
    ("13b", {"fsdp": 128}, 23.37),
    ("175b", {"fsdp": 256}, 72.21),
]


@pytest.mark.parametrize(("size", "mesh", "peak"), PODS)
def test_the_memory_of_a_share_is_about_what_the_compiler_says(size, mesh, peak):
    assert 0.65 < calibration.held(pod.run(size), 1, mesh) / 2**30 / peak < 1


def test_a_mesh_cuts_the_model_by_fsdp_and_tensor_and_what_it_keeps_of_a_batch_by_data():
    run = RunConfig(transformer(512, 4, d_head=64, n_ctx=128), tokens=2**20, batch=64)
    alone, weights = calibration.held(run, 1, {}), 5 * 4 * counts.params(run.model)["params_total"]
    cut = {axis: calibration.held(run, 1, {axis: 8}) for axis in ("run", "data", "fsdp", "tensor")}
    assert cut["run"] == alone  # one run is on every device of that axis
    assert calibration.held(run, 8, {"run": 8}) == pytest.approx(alone)
    assert cut["data"] == pytest.approx(weights + (alone - weights) / 8)
    assert cut["fsdp"] == pytest.approx(alone / 8)
    assert weights / 8 < cut["tensor"] < alone
    for changed in (dataclasses.replace(run, accumulate=8), dataclasses.replace(run, dtype="bfloat16")):
        assert calibration.held(changed, 1, {}) < alone
    adafactor = dataclasses.replace(run, optim=OptimConfig(optimizer="adafactor"))
    assert calibration.held(adafactor, 1, {}) == pytest.approx(alone - 2 / 5 * weights)


def test_what_a_mesh_does_not_cut_is_refused_and_what_it_cuts_is_not(tmp_path):
    """A model that takes six times the memory of a device."""
    large = RunConfig(transformer(4096, 32, d_head=128), tokens=2**10, batch=8)
    small_disk = [[dataclasses.replace(large, tokens=512)]]
    room = calibration.predicted(large, 1, "gpu").memory / 6
    one, costs = layout.Layout("gpu", 1, 1), Costs("gpu", told=room)
    with pytest.raises(InputError, match=r"GiB of each gpu's memory, which has .* or more fsdp in --mesh") as error:
        calibration.check(small_disk, one, costs, tmp_path, {"data": 8}, 8)
    assert "\n" not in str(error.value)
    assert costs.needs(large, 1, {"fsdp": 8}, 1) < room
    assert costs.needs(large, 1, {"data": 2, "fsdp": 4}, 1) < 2 * room
    with pytest.raises(InputError, match=r"^512 devices of --mesh would need about .*; use fewer, more fsdp in --mesh"):
        calibration.check(small_disk, layout.Layout("cpu", 1, 1), Costs("cpu"), tmp_path, {"data": 512}, 512)


def test_recomputing_and_a_loss_in_pieces_are_part_of_the_rule():
    model = transformer(512, 12, d_head=64, n_vocab=32_000, n_ctx=1024)
    runs = [RunConfig(model, tokens=2**20, batch=16, remat=remat) for remat in ("none", "matmuls", "layers")]
    none, matmuls, layers = (calibration.predicted(run, 1, "gpu").memory for run in runs)
    assert layers < matmuls < none
    wide = dataclasses.replace(runs[2], model=dataclasses.replace(model, n_vocab=256_000))
    more = calibration.predicted(wide, 1, "gpu").memory - layers
    weights = 5 * 4 * (counts.params(wide.model)["params_total"] - counts.params(model)["params_total"])
    assert more == pytest.approx(weights)


def test_memory_is_what_the_task_was_given_and_not_what_the_machine_has(tmp_path):
    own, mounts = tmp_path / "cgroup", tmp_path / "sys"
    machines = calibration._memory(own, mounts)

    def limit(path: str, text: str) -> None:
        (mounts / path).parent.mkdir(parents=True, exist_ok=True)
        (mounts / path).write_text(text)

    own.write_text("0::/slurm/job_1/task_0\n")
    limit("slurm/job_1/task_0/memory.max", "max\n")
    assert calibration._memory(own, mounts) == machines
    limit("slurm/job_1/memory.max", "300000000\n")  # of the task's parent
    assert calibration._memory(own, mounts) == 3e8
    own.write_text("5:cpu:/\n4:memory:/docker/a\n0::/\n")
    limit("memory/memory.limit_in_bytes", "9223372036854771712\n")
    limit("memory/docker/a/memory.limit_in_bytes", "200000000\n")
    assert calibration._memory(own, mounts) == 2e8
    own.write_text("nonsense")
    assert calibration._memory(own, mounts) == machines


def test_what_was_measured_is_kept_for_this_machine_and_these_versions(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    costs = dataclasses.replace(measured((SMALL, 1, FOUND)), told=7e9)
    calibration.keep(costs)
    again = calibration.kept("cpu")
    assert (again.start, again.measured, again.told) == (costs.start, costs.measured, 7e9)
    assert not calibration.kept("gpu").measured
    monkeypatch.setattr(calibration.machine, "versions", lambda: {"jax": "another"})
    assert not calibration.kept("cpu").measured


def test_a_damaged_or_older_file_is_as_good_as_none(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    calibration.keep(measured((SMALL, 1, FOUND)))
    (path,) = (tmp_path / "calibration").iterdir()
    for text in ("", "{", "[]", '{"start": 1, "programs": {"a": {"run": {}, "lanes": 1, "timing": {}}}}'):
        path.write_text(text)
        assert not calibration.kept("cpu").measured


def test_the_disk_that_is_predicted_is_about_what_a_checkpoint_takes(tiny, stream, tmp_path):
    from scaling import train

    run = dataclasses.replace(tiny, model=transformer(64, 2, d_head=8, n_vocab=32, n_ctx=16))
    train.train([run], stream[:15_000], stream[15_000:], tmp_path, separator=0, say=pytest.fail)
    took = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert took < calibration.disk([run]) < 4 * took  # room for the second checkpoint


def test_the_quickstart_takes_what_it_is_given_and_grows_with_it():
    sizes = []
    for minutes in (5, 20, 160, 400, 1500):
        runs = quickstart.study(minutes).runs
        sizes.append(sum(run.tokens for run in runs))
        assert calibration.seconds(runs) / 60 < minutes
    assert sizes == sorted(set(sizes))


def test_many_large_models_at_few_tokens_cost_their_compiling():
    runs = [dataclasses.replace(LARGE, tokens=256, model=transformer(d, 4, d_head=8)) for d in range(64, 144, 8)]
    assert calibration.seconds(runs) > 10 * 6 / 2  # ten programs on two workers
    assert math.isfinite(calibration.seconds(runs))


@pytest.mark.slow
def test_measuring_tells_the_order_of_what_programs_cost(cache):
    costs = calibration.calibrate([SMALL, LARGE], Costs("cpu"), 1, lambda line: None)
    small, large = costs.timing(SMALL, 1), costs.timing(LARGE, 1)
    assert 0 < small.update < large.update < 1
    assert small.load < small.compile
    assert calibration.kept("cpu").knows(LARGE)
    assert calibration.calibrate([SMALL, LARGE], costs, 1, pytest.fail) is costs  # nothing is measured twice
