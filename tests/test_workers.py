"""Studies trained by real processes that are killed, stopped, doubled, and run out of room."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from analysis import records
from analysis.load import load
from scaling import checked, checkpoints, claims, exchange, folders, own_code, packs, question, status, study
from scaling.config import to_dict

CONFIG = """
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import transformer

DATA = DataConfig("synthetic:order=1,symbols=8,bytes=1e6", "bytes")

def study(n: int = 3, steps: int = 3000, worst: float = 1e-2):
    return Study("small", "Does it hold together?", tuple(
        RunConfig(
            transformer(d_model, 1, d_head=8, n_vocab=257, n_ctx=16), tokens=64 * steps, batch=4, seed=seed, data=DATA,
            optim=OptimConfig(learning_rate=worst if seed == n - 1 else 1e-2), eval=EvalConfig(windows=8),
        )
        for d_model in (8, 16) for seed in range(n)
    ))
"""

# What `scaling study run` does, without the page at its end.
RUN = """
import sys
from pathlib import Path
from scaling import question, study, workers
from scaling.commands import arguments

def run(config, out, *settings):
    retry = "--retry" in settings
    wanted = question.load(config, dict(item.split("=") for item in settings if item != "--retry"))
    whole = study.prepare(wanted, Path(out), workers=2, say=arguments.say)
    sys.exit(workers.run(whole, retry=retry, shared=True, say=arguments.say).exit_code)

run(*sys.argv[1:])
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory, cache) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.py"
    path.write_text(CONFIG)
    return path


def start(config: Path, out: Path, *settings: str, **options) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", RUN, str(config), str(out), *settings]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **options)


def finish(process: subprocess.Popen[str], timeout: float = 240) -> tuple[int, str]:
    """(exit code, what was said)"""
    _, said = process.communicate(timeout=timeout)
    assert "Traceback" not in said, said
    return process.returncode, said


def go(*args, **options) -> tuple[int, str]:
    return finish(start(*args, **options))


def children(process: subprocess.Popen) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def claimed(out: Path) -> list[tuple[Path, int]]:
    """(folder of a pack, process that has it; 0 while the claim is being written, and never to be sent a signal)"""
    packs = {path.parent for path in (out / "packs").glob("*/claim-*")}
    return [(pack, holder.pid) for pack in packs if (holder := claims.holder(pack))]


def trained(out: Path) -> list[dict[str, str]]:
    """The exported table but for the time it took."""
    text = out / "table.csv"
    records.read(out).runs.to_csv(text)
    rows = list(csv.DictReader(io.StringIO(text.read_text())))
    assert {row["status"] for row in rows} <= {"done", "diverged"}
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows]


def same(found: list[dict[str, str]], wanted: list[dict[str, str]]) -> bool:
    """Whether two tables agree; the first difference is told, as printing all of them takes an hour."""
    assert len(found) == len(wanted)
    for row, other in zip(found, wanted, strict=True):
        assert row.keys() == other.keys()
        for name in row:
            assert (row["run"], name, row[name]) == (other["run"], name, other[name])
    return True


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    code, said = go(config, out)
    assert code == 0, said
    return out


@pytest.fixture(scope="module")
def uninterrupted(finished) -> list[dict[str, str]]:
    return trained(finished)


@pytest.mark.slow
def test_a_finished_study_is_found_finished_without_a_worker(config, finished, uninterrupted):
    began = time.monotonic()
    assert go(config, finished) == (0, "")
    assert time.monotonic() - began < 20
    assert same(trained(finished), uninterrupted)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
@pytest.mark.parametrize("seed", range(2))
def test_a_study_killed_and_stopped_at_random_moments_ends_with_the_same_table(seed, config, uninterrupted, tmp_path):
    rng = random.Random(seed)
    ends = []
    for _ in range(4):
        process = start(config, tmp_path)
        wait_for(lambda p=process: p.poll() is not None or len(children(p)) == 2)
        time.sleep(rng.uniform(0, 8))
        if process.poll() is None:
            if rng.random() < 0.6:
                for pid in [process.pid, *children(process)]:  # coordinator and workers, within a moment
                    os.kill(pid, signal.SIGKILL)
            else:
                process.send_signal(rng.choice([signal.SIGINT, signal.SIGTERM]))
        ends.append(finish(process)[0])
    # 42: stopped and saved; by the signal itself: killed, or told to end after the last run was saved
    assert set(ends) <= {-signal.SIGKILL, -signal.SIGTERM, 42, 0}
    code, said = go(config, tmp_path)
    assert code == 0, (ends, said)
    assert same(trained(tmp_path), uninterrupted)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_a_killed_worker_is_replaced_and_said_so(config, uninterrupted, tmp_path):
    process = start(config, tmp_path)
    wait_for(lambda: any((tmp_path / "packs").glob("*/claim-*")))  # one of them trains
    time.sleep(1)
    os.kill(children(process)[0], signal.SIGKILL)
    code, said = finish(process)
    assert code == 0
    assert said.count("a worker ended with signal 9") == 1
    assert same(trained(tmp_path), uninterrupted)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_a_coordinator_killed_alone_leaves_no_worker_behind(config, uninterrupted, tmp_path):
    process = start(config, tmp_path)
    wait_for(lambda: any((tmp_path / "packs").glob("*/claim-*")))
    left = children(process)
    process.kill()
    finish(process)
    code, _ = go(config, tmp_path)
    assert code == 0
    assert same(trained(tmp_path), uninterrupted)
    assert not any(Path(f"/proc/{pid}").exists() for pid in left)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "after"),
    [(signal.SIGINT, "while training"), (signal.SIGTERM, "at once")],
    ids=["Ctrl-C while training", "SIGTERM at once"],
)
def test_stopping_saves_says_so_and_goes_on_later(number, after, config, uninterrupted, tmp_path):
    process = start(config, tmp_path, process_group=0)
    wait_for((tmp_path / "study.json").exists)
    if after == "while training":
        wait_for(lambda: any((own := claims.holder(pack)) and own.done for pack, pid in claimed(tmp_path) if pid))
    else:
        time.sleep(0.3)
    os.killpg(process.pid, number)
    code, said = finish(process, timeout=60)
    assert code == 42
    assert "stopping: each worker saves what it has" in said
    assert len(said.splitlines()) == 1 + said.count("packed")
    begun = [
        path.parent for path in tmp_path.glob("packs/*/*/origins.json") if not path.with_name("done.json").exists()
    ]
    begun = [folder for folder in begun if 0 < max(folders.saved_steps(folder), default=0) < 3000]  # of its updates
    for folder in begun:
        checked.write(folder / "origins.json", {"origins": [{"from": 0, "code": "0123"}]})
    assert go(config, tmp_path)[0] == 0
    assert same(trained(tmp_path), uninterrupted)
    notes = " ".join(records.read(tmp_path).runs.notes)
    if begun:
        assert f"0123 then {own_code.digest()}" in notes  # beside those of other runs, in either order
        assert "not all trained alike" in notes


@pytest.mark.slow
def test_two_runs_of_one_study_at_once_share_it_and_train_nothing_twice(config, uninterrupted, tmp_path):
    first = start(config, tmp_path)
    wait_for((tmp_path / "study.json").exists)
    second = start(config, tmp_path)
    for code, told in (finish(first), finish(second)):
        assert code == 0
        assert all("waiting for the end" in line for line in told.splitlines())
    assert same(trained(tmp_path), uninterrupted)
    workers = []
    for pack in (tmp_path / "packs").iterdir():
        said = [json.loads(claim.read_text()) for claim in pack.glob("claim-*")]
        (trainer,) = [each["pid"] for each in said if each["done"]]  # one claim of each pack trained it
        workers.append(trainer)
    assert len(set(workers)) >= 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_a_worker_frozen_beyond_its_lease_loses_its_pack_and_writes_nothing(config, uninterrupted, tmp_path):
    """Two invocations; of one, a worker sleeps over a minute, and the other takes its pack up."""
    first = start(config, tmp_path, "steps=3000")
    wait_for(lambda: any(pid for _, pid in claimed(tmp_path)))
    held, pid = next((pack, pid) for pack, pid in claimed(tmp_path) if pid)
    os.kill(pid, signal.SIGSTOP)
    second = start(config, tmp_path, "steps=3000")
    try:
        wait_for(lambda: any(held.glob("*/done.json")), 200)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert finish(second)[0] == 0
    code, said = finish(first)
    assert code == 0
    assert said.count("was taken over") == 1
    assert same(trained(tmp_path), uninterrupted)
    again = claims.holder(held)
    assert again
    assert again.number == 2


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="finds workers in /proc")
def test_what_fails_twice_is_left_alone_until_somebody_asks_for_it(config, uninterrupted, tmp_path):
    running = start(config, tmp_path, "steps=3000")

    def trainers() -> dict[int, Path]:
        held = [(pid, pack) for pack, pid in claimed(tmp_path) if pid in children(running)]
        return {pid: pack for pid, pack in held if (own := claims.holder(pack)) and not own.free}

    wait_for(trainers)
    first, bad = next(iter(trainers().items()))
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: bad in [pack for pid, pack in trainers().items() if pid != first], 200)
    os.kill(next(pid for pid, pack in trainers().items() if pack == bad), signal.SIGKILL)
    code, said = finish(running)
    assert code == 3
    assert said.count("failed and is tried once more") == said.count("failed again and is left out") == 1
    assert status.of(study.read(tmp_path)).counts == {"done": 5, "quarantined": 1}
    assert go(config, tmp_path) == (3, "")
    whole = study.read(tmp_path)
    (model,) = {pack.configs[0].model for pack in whole.packs if pack.id == bad.name}
    other = next(pack for pack in whole.packs if pack.configs[0].model != model)
    checkpoints = next(bad.glob("*/checkpoints"))
    shutil.rmtree(checkpoints)
    shutil.copytree(next((tmp_path / "packs" / other.id).glob("*/checkpoints")), checkpoints)
    code, said = go(config, tmp_path, "--retry")
    assert code == 3
    assert said.count("is of another model, optimiser or version") == said.count("\n") == 1
    shutil.rmtree(next(bad.glob("*/checkpoints")))
    assert go(config, tmp_path, "--retry") == (0, "")
    assert same(trained(tmp_path), uninterrupted)


@pytest.mark.slow
def test_tokens_that_are_not_those_of_the_study_end_it_in_one_line(config, tmp_path, cache):
    whole = study.prepare(question.load(str(config), {}), tmp_path / "out", workers=2, say=pytest.fail)
    (folder,) = (Path(path) for path in whole.tokens.values())
    stream = folder / "train.bin"
    right = stream.read_bytes()
    try:
        stream.write_bytes(right[:100] + bytes([right[100] ^ 1]) + right[101:])
        command = [sys.executable, "-m", "scaling.cli", "study", "run", str(config), "--out", str(tmp_path / "out")]
        done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, timeout=240)
    finally:
        stream.write_bytes(right)
    assert done.returncode == 2
    assert f"is not what was written; delete {folder} and prepare again" in done.stderr.splitlines()[-1]
    assert status.of(whole).counts == {"waiting": 6}


@pytest.mark.slow
def test_neither_modules_of_the_current_folder_nor_the_config_run_where_it_trains(tmp_path, cache):
    here, ran = tmp_path / "here", tmp_path / "ran"
    config = tmp_path / "small.py"
    config.write_text(f"import os\nopen({str(ran)!r}, 'a').write(f'{{os.getpid()}} ')\n{CONFIG}")
    for name in ("random", "queue", "json", "tempfile", "scaling/worker", "scaling/__init__"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / f"{name}.py").write_text("raise SystemExit('not to be run')\n")
    code, said = go(config, tmp_path / "out", "n=1", "steps=20", cwd=here)
    assert code == 0, said
    (done, _) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("packs/*/*/done.json"))
    assert done["code"] == own_code.digest()
    assert done["settings"]["device"] == "cpu"
    assert len(set(ran.read_text().split())) == 1


EDITED = """
from pathlib import Path
from scaling import own_code

assert own_code.PACKAGE == Path.cwd() / "scaling"
own_code.digest()
with (own_code.PACKAGE / "train.py").open("a") as file:
    file.write("# edited\\n")
"""


def test_a_worker_that_would_run_other_code_than_its_coordinator_ends_in_one_line(config, tmp_path):
    shutil.copytree(Path(own_code.__file__).parent, tmp_path / "scaling")
    command = [sys.executable, "-c", EDITED + RUN, str(config), str(tmp_path / "out"), "n=1"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    code, said = finish(process)
    assert code == 3
    first, *rest = (line for line in said.splitlines() if not line.startswith(("reading", "encoding")))
    assert re.match(
        r"a worker would run other code \(\w{12}\) than this process \(\w{12}\): the files in .* have changed", first
    )
    assert rest in ([], [first])  # another of the two may have begun
    assert status.of(study.read(tmp_path / "out")).counts == {"waiting": 2}


@pytest.mark.slow
def test_shards_of_a_study_in_folders_of_their_own_come_together(config, uninterrupted, tmp_path):
    def command(*words: object) -> None:
        done = subprocess.run([sys.executable, "-m", "scaling.cli", "study", *map(str, words)], capture_output=True)
        assert done.returncode == 0, done.stderr

    for part in (1, 2):
        out = tmp_path / str(part)
        command("run", config, "--out", out, "--shard", f"{part}/2", "--workers", 2)
        assert 0 < status.of(study.read(out)).counts["done"] < 6
        command("export", out, "--records", tmp_path / f"{part}.tar")
        command("import", tmp_path / "whole", tmp_path / f"{part}.tar")
    assert go(config, tmp_path / "whole") == (0, "")
    assert same(trained(tmp_path / "whole"), uninterrupted)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc")
def test_what_is_imported_while_a_study_runs_is_not_trained_and_what_is_being_trained_stays(
    config, finished, uninterrupted, tmp_path
):
    out, told = tmp_path / "here", []
    exchange.write(study.read(finished), tmp_path / "runs.tar")
    process = start(config, out)
    wait_for(lambda: any(pid for _, pid in claimed(out)))
    workers = children(process)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        whole = study.read(out)
        theirs = {pack.id for pack in whole.packs if claims.holder(whole.claims(pack))}  # begun, or even done
        n = exchange.read(out, tmp_path / "runs.tar", told.append)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    assert finish(process)[0] == 0
    assert 0 < len(theirs) < 6
    assert n == 6 - len(theirs)
    assert all("is being trained here, and stays as it is" in line for line in told)
    trainers = {
        pack.name: {json.loads(claim.read_text())["pid"] for claim in pack.glob("claim-*") if moved(claim)}
        for pack in (out / "packs").iterdir()
    }
    assert {pack for pack, pids in trainers.items() if pids & set(workers)} == theirs
    assert same(trained(out), uninterrupted)


def moved(claim: Path) -> bool:
    """Whether its holder has trained."""
    return json.loads(claim.read_text())["done"] > 0


@pytest.mark.slow
def test_the_command_trains_exports_and_ends_with_a_page(config, uninterrupted, tmp_path):
    def command(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "scaling.cli", *words], capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    out, csv_file, parquet = str(tmp_path / "out"), tmp_path / "runs.csv", tmp_path / "runs.parquet"
    page = Path(command("study", "run", str(config), "--out", out, "--workers", "2").split("The page: ")[1].strip())
    assert page.read_text().startswith("<!doctype html>")
    assert same(trained(tmp_path / "out"), uninterrupted)
    assert {row["state"] for row in json.loads(command("study", "status", out, "--json"))} == {"done"}
    command("study", "export", out, "--csv", str(csv_file), "--parquet", str(parquet))
    for exported in (load(csv_file), load(parquet)):
        np.testing.assert_array_equal(exported["loss"], records.read(out).runs["loss"])


@pytest.mark.slow
def test_a_diverged_run_is_told_and_the_others_finish(config, tmp_path):
    code, said = go(config, tmp_path, "steps=200", "worst=1e30")
    assert code == 3
    states = [row.state for row in status.of(study.read(tmp_path)).runs]
    assert states == ["done", "done", "diverged"] * 2
    assert said.count("diverged: its loss is not a number") == 2
    assert go(config, tmp_path, "steps=200", "worst=1e30") == (3, "")  # it stays so, and is not trained again


@pytest.mark.slow
def test_a_worker_that_cannot_begin_ends_the_study_and_not_as_interrupted(config, tmp_path):
    process = start(config, tmp_path, env={**os.environ, "XLA_FLAGS": "--xla_no_such_flag=1"})
    _, said = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "before it could begin" in said


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with hardly any room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system (needs root): a full disk not tested")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_goes_on_when_there_is_room(config, uninterrupted, small_disk):
    out, ballast = small_disk / "study", small_disk / "ballast"
    command = [sys.executable, "-m", "scaling.cli", "study", "run", str(config), "--out", str(out), "--workers", "2"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert refused.returncode == 2, refused.stderr
    assert "GB of disk" in refused.stderr.splitlines()[-1]  # before anything starts
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any((out / "packs").glob("*/claim-*")))
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(2**16))
    code, error = finish(process)
    assert code == 2, error
    assert error.splitlines()[-1].startswith("scaling: no room left on the disk of"), error
    assert len(error.splitlines()) == 2, error  # what it sets out to do, and why it ended
    ballast.unlink()
    assert go(config, out)[0] == 0
    assert same(trained(out), uninterrupted)


PACK = """
import json, sys
import numpy as np
from pathlib import Path
from scaling import train
from scaling.config import RunConfig, from_dict

if "save always" in sys.argv:
    train.SAVE_EVERY, train.SAVE_SHARE = 0.0, float("inf")
runs = [from_dict(RunConfig, run) for run in json.loads(sys.argv[1])]
stream = np.load(sys.argv[2])
train.train(
    runs, stream[:15_000], stream[15_000:], Path(sys.argv[3]), separator=0, say=lambda line: sys.exit(line)
)
"""


@pytest.mark.slow
def test_a_pack_that_shrinks_killed_while_it_saves_goes_on_from_the_save_before(tiny, stream, tmp_path, cache):
    """Runs of other lengths and rates. Checkpoints after every dispatch, so that most kills strike in one of them."""
    runs = [
        dataclasses.replace(
            tiny,
            tokens=dispatches * 16 * tiny.batch_tokens,
            unique_tokens=2**13,
            seed=seed,
            optim=dataclasses.replace(tiny.optim, learning_rate=2e-3 * 2**seed),
        )
        for seed, dispatches in enumerate((30, 15, 10, 10))
    ]
    plan = packs.segments(runs)
    assert [len(segment.lanes) for segment in plan] == [4, 2, 1]
    np.save(tmp_path / "stream.npy", stream)

    def session(name: str, *words: str) -> subprocess.Popen[str]:
        arguments = [json.dumps(list(map(to_dict, runs))), str(tmp_path / "stream.npy"), str(tmp_path / name), *words]
        return subprocess.Popen([sys.executable, "-c", PACK, *arguments], stderr=subprocess.PIPE, text=True)

    assert finish(session("whole")) == (0, "")
    rng = random.Random(0)

    def saved() -> int:
        return max(folders.saved_steps(tmp_path / "killed"), default=0)

    for segment in plan:  # once while it has each number of lanes
        process = session("killed", "save always")
        wait_for(lambda p=process, begin=segment.begin: p.poll() is not None or saved() > begin + 16)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        assert finish(process) == (-signal.SIGKILL, "")
        assert saved() < plan[-1].end
    assert finish(session("killed")) == (0, "")
    whole, killed = (checkpoints.read_history(tmp_path / name) for name in ("whole", "killed"))
    assert whole is not None
    assert killed is not None
    for name in whole.keys() - {"seconds"}:
        np.testing.assert_array_equal(killed[name], whole[name], err_msg=name)
