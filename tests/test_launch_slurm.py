"""Generated batch scripts on a real Slurm cluster of two nodes: arrays, TERM, requeueing, two processes of one run."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster

from launch import slurm, submit
from launch.request import Request
from scaling import chips, claims, study

pytestmark = pytest.mark.slow

# Says what it was called with, and on TERM takes its time to save and leaves with 42; called again it is done.
STAND_IN = """\
#!{python}
import json, os, pathlib, signal, sys, time
out = next(word.partition("=")[2] for word in sys.argv if word.startswith("--out="))
part = sys.argv[sys.argv.index("--shard") + 1].replace("/", "-of-") if "--shard" in sys.argv else "1"
here = pathlib.Path(out) / part
here.mkdir(parents=True, exist_ok=True)
calls = len(list(here.glob("call-*")))
def leave(*_):
    time.sleep(1)
    (here / "saved").touch()
    sys.exit(42)
signal.signal(signal.SIGTERM, leave)
(here / f"call-{{calls}}").write_text(json.dumps(sys.argv[1:]))
end = time.monotonic() + 600  # should the tests be killed
while not (pathlib.Path(out) / "go").exists() and not (here / "saved").exists() and time.monotonic() < end:
    time.sleep(0.1)
(here / "done").touch()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    if reason := slurm_cluster.missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        with slurm_cluster.cluster(folder):
            yield
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def shared_disk() -> Iterator[Path]:
    """A folder that Slurm's nodes have in common: not under /tmp."""
    folder = Path(tempfile.mkdtemp(prefix="scaling-test-", dir=Path.home()))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def stand_in(shared_disk) -> Path:
    program = shared_disk / "my programs" / "stand-in"  # a blank in its own name would confuse Slurm's proctrack
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    return program


def launched(request: Request, folder: Path) -> None:
    """Through the same functions as `scaling launch --on slurm`."""
    slurm.check(request)
    submit.check_client(slurm.CLIENT)
    submit.write(slurm.files(request), folder / "files")
    submit.run(slurm.commands(request, folder / "files"), print)


def over(name: str) -> bool:
    """Whether nothing is left, and nothing comes back."""
    if slurm_cluster.jobs(name):
        return False
    time.sleep(2)
    return not slurm_cluster.jobs(name)


def words_of(out: Path) -> str:
    """What the tasks said."""
    return "\n".join(f"{log.name}:\n{log.read_text()}" for log in sorted((out / "logs").iterdir()))


def hurried(name: str) -> bool:
    """Slurm holds a requeued job for two minutes, from when its last process has gone; nobody waits for that here."""
    waiting = [job for job, state in slurm_cluster.jobs(name).items() if state == "PENDING"]
    for job in waiting:
        time.sleep(1.5)  # begun in the very second of the requeueing, its credential would count as revoked
        if slurm_cluster.jobs(name).get(job) == "PENDING":
            slurm_cluster.command("scontrol", "update", f"jobid={job}", "starttime=now")
        time.sleep(2)
    return not waiting


def request(program: Path, out: Path, **fields) -> Request:
    return Request(
        fields.pop("config", "configs.quickstart"),
        chips.accelerator(fields.pop("on", "cpu")),
        str(out),
        name=fields.pop("name"),
        **fields,
        options=(("program", str(program)), ("cpus", "1")),
    )


def test_an_element_told_to_stop_saves_comes_back_and_finishes_while_the_others_go_on(cluster, shared_disk, stand_in):
    out = shared_disk / "my $tudy 'out' 100%"
    launched(request(stand_in, out, name="array", tasks=3, seconds=1200), shared_disk)
    begun = [out / f"{i}-of-3" / "call-0" for i in (1, 2, 3)]
    slurm_cluster.wait_for(lambda: all(file.exists() for file in begun), "three elements that run")
    [second] = [job for job in slurm_cluster.jobs("array") if job.endswith("_2")]
    slurm_cluster.command("scancel", "--signal=TERM", second)
    slurm_cluster.wait_for(lambda: slurm_cluster.jobs("array").get(second) == "PENDING", "requeued element")
    assert slurm_cluster.jobs("array")[second.replace("_2", "_3")] == "RUNNING"
    slurm_cluster.wait_for(lambda: hurried("array"), "start of the requeued element")
    slurm_cluster.wait_for((out / "2-of-3" / "call-1").exists, "second try")
    (out / "go").touch()
    slurm_cluster.wait_for(lambda: over("array"), "end of the array")
    assert sorted(file.name for file in (out / "2-of-3").iterdir()) == ["call-0", "call-1", "done", "saved"]
    assert all((out / f"{i}-of-3" / "done").exists() for i in (1, 2, 3))
    assert all(not (out / f"{i}-of-3" / "call-1").exists() for i in (1, 3))
    assert len(list((out / "logs").iterdir())) == 3


def test_a_cancelled_job_saves_and_stays_away(cluster, shared_disk, stand_in):
    launched(request(stand_in, shared_disk / "out", name="cancelled"), shared_disk)
    slurm_cluster.wait_for((shared_disk / "out/1/call-0").exists, "job that runs")
    slurm_cluster.command("scancel", "--name=cancelled")
    slurm_cluster.wait_for(lambda: over("cancelled"), "end of the job")
    assert (shared_disk / "out/1/saved").exists()


CONFIG = """
import dataclasses
from scaling.config import *
from scaling.ladder import transformer
def study():
    data = DataConfig("synthetic:order=1,symbols=8,bytes=3e6", "bytes")
    model = transformer(32, 2, d_head=8, n_vocab=257, n_ctx=64)
    one = RunConfig(model, tokens=2**19, batch=16, data=data, eval=EvalConfig(windows=16))
    return Study("mine", "?", tuple(dataclasses.replace(one, seed=seed) for seed in range(4)))
"""


def losses(folder: Path) -> dict[str, float]:
    """Run -> last held-out loss, of those that are done."""
    whole = study.read(folder)
    ended = [(pack, done) for pack in whole.packs if (done := whole.done(pack))]
    return {run.id: loss for pack, done in ended for run, loss in zip(pack.runs, done["loss"], strict=True)}


def test_an_array_that_was_interrupted_leaves_the_runs_that_this_machine_leaves(cluster, shared_disk, monkeypatch):
    config, here, there = shared_disk / "mine.py", shared_disk / "here", shared_disk / "there"
    config.write_text(CONFIG)
    monkeypatch.setenv("SCALING_CACHE", str(shared_disk / "cache"))
    (shared_disk / "cache").mkdir()
    program = Path(sys.executable).with_name("scaling")
    wish = request(program, there, name="real", tasks=2, config=str(config), data=str(shared_disk / "cache"))
    launched(wish, shared_disk)
    slurm_cluster.wait_for((there / "study.json").exists, "study that has begun")
    time.sleep(8)  # within the first runs, which take longer
    [second] = [job for job in slurm_cluster.jobs("real") if job.endswith("_2")]
    slurm_cluster.command("scancel", "--signal=TERM", second)
    slurm_cluster.wait_for(lambda: slurm_cluster.jobs("real").get(second) == "PENDING", "requeued element")
    slurm_cluster.wait_for(lambda: hurried("real"), "start of the requeued element")
    slurm_cluster.wait_for(lambda: over("real"), "end of the array", 900)
    for part in ("1/2", "2/2"):
        subprocess.run([program, "study", "run", config, "--out", here, "--shard", part], check=True)
    assert losses(there) == pytest.approx(losses(here), abs=1e-5), words_of(there)
    assert len(losses(there)) == 4


def test_a_run_on_two_nodes_of_four_devices_that_is_interrupted_is_the_run_on_one(cluster, shared_disk, monkeypatch):
    program = Path(sys.executable).with_name("scaling")
    config, here, there = shared_disk / "mine.py", shared_disk / "here", shared_disk / "there"
    config.write_text(CONFIG.replace("2**19", "2**18").replace("range(4)", "range(1)"))
    cache = shared_disk / "cache"
    cache.mkdir()
    monkeypatch.setenv("SCALING_CACHE", str(cache))
    subprocess.run([program, "study", "run", config, "--out", here], check=True, timeout=900)
    mesh, env = (("data", 2), ("fsdp", 4)), (("JAX_NUM_CPU_DEVICES", "4"),)
    wish = request(program, there, on="cpu:2", name="two", config=str(config), mesh=mesh, env=env, data=str(cache))
    launched(wish, shared_disk)

    def updates() -> int:
        [folder] = (there / "packs").iterdir() if (there / "packs").exists() else [there]
        found = claims.holder(folder)
        return found.done if found else 0

    slurm_cluster.wait_for(lambda: updates() or over("two"), "first updates", 600)
    [job] = slurm_cluster.jobs("two")
    assert slurm_cluster.command("squeue", "--noheader", f"--jobs={job}", "--format=%D %N") == "2 127.0.0.[1-2]"
    slurm_cluster.command("scancel", "--signal=TERM", job)
    slurm_cluster.wait_for(lambda: slurm_cluster.jobs("two").get(job) == "PENDING", "requeued job", 60)
    interrupted = updates()
    assert 0 < interrupted < 256
    slurm_cluster.wait_for(lambda: hurried("two"), "start of the requeued job")
    slurm_cluster.wait_for(lambda: over("two"), "end of the job", 300)
    assert losses(there) == pytest.approx(losses(here), abs=1e-4), words_of(there)
    assert f"saved after {interrupted} updates" in words_of(there)
