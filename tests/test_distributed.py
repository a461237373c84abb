"""Processes that train together are one training, whatever happens to them."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from conftest import QUICKLY, ROOT

from scaling import checkpoints, cli, distributed, histories, own_code, question, study
from scaling.commands import together

STEPS = 900
GLOO = 30  # seconds that its processes wait for each other when they first meet
TOLERANCE = 1e-5  # of a loss, relative, on other numbers of devices; 2.4e-7 was seen in 1500 updates


def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Processes:
    """`n` processes of one training, with `devices` each."""

    def __init__(
        self,
        n: int,
        devices: int,
        cache: Path,
        out: Path,
        mesh: str,
        log: Path,
        apart: bool = False,
        steps: int = STEPS,
        last: Mapping[str, str] = MappingProxyType({}),
        home: Path = ROOT,
        settings: Sequence[str] = (),
    ):
        """The last of them with other variables of the environment, the code in another home, and other settings."""
        address = f"127.0.0.1:{port()}"
        self.logs = [log.with_name(f"{log.name}-{i}") for i in range(n)]
        environment = os.environ | {
            "SCALING_CACHE": str(cache),
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "XLA_FLAGS": QUICKLY,
        }
        words = [sys.executable, "-m", "scaling.cli", "study", "run", str(ROOT / "tests" / "together_study.py")]
        words += ["--set", "data.tokenizer=bytes", f"steps={steps}", "--mesh", mesh, "--save-steps", "100"]
        self.all = []
        for i, path in enumerate(self.logs):
            more = ["--distributed", address, "--process-id", str(i), "--processes", str(n)] if n > 1 else []
            its, at = ({**environment, **last}, home) if i == n - 1 else (environment, ROOT)
            more += ["--set", *settings] if settings and i == n - 1 else []
            with path.open("w") as file:
                where = out.with_name(f"{out.name}-{i}") if apart else out
                own = ["--out", str(where), *more]
                self.all.append(subprocess.Popen([*words, *own], cwd=at, env=its, stdout=file, stderr=file))

    def ends(self, seconds: float = 300) -> list[int]:
        codes = [one.wait(seconds) for one in self.all]
        print(*(path.read_text() for path in self.logs))
        return codes

    def until(self, happens, seconds: float = 240) -> None:
        ends = time.monotonic() + seconds
        while not happens():
            assert time.monotonic() < ends
            assert all(one.poll() is None for one in self.all), [path.read_text() for path in self.logs]
            time.sleep(0.2)


def saved(out: Path) -> list[int]:
    return sorted(int(path.parent.name) for path in out.glob("packs/*/*/checkpoints/*/checksums.json"))


def rounding(name: str) -> float:
    """How far two values of a history lie apart at most, relative, where only its file's digits part them."""
    return 2 * 2.0 ** -histories.DIGITS[name] if name in histories.DIGITS else 0.0


def finished(out: Path) -> histories.History:
    whole = study.read(out)
    history = study.history(whole, whole.packs[0])
    assert history is not None
    assert history["finished"]
    return history


def assert_one_curve(out: Path, alone: Path) -> None:
    found, wanted = finished(out), finished(alone)
    for name in ("train_loss", "eval_loss"):
        np.testing.assert_allclose(found[name], wanted[name], rtol=TOLERANCE + rounding(name), err_msg=name)


@pytest.mark.slow
def test_preempted_killed_and_resumed_with_one_and_four_processes_it_is_one_curve(cache, tmp_path):
    alone, out = tmp_path / "alone", tmp_path / "out"
    assert Processes(1, 1, cache, alone, "data=1", tmp_path / "log-alone").ends() == [0]

    two = Processes(2, 2, cache, out, "data=2,fsdp=2", tmp_path / "log-preempted")
    two.until(lambda: saved(out))
    two.all[1].send_signal(signal.SIGTERM)  # one host is told, all save the same update
    assert two.ends() == [42, 42]
    at = saved(out)[-1]
    assert 0 < at < STEPS
    assert all(f"saved after {at} updates" in path.read_text() for path in two.logs)

    two = Processes(2, 2, cache, out, "data=2,fsdp=2", tmp_path / "log-killed")
    two.until(lambda: saved(out)[-1] > at)
    two.all[1].kill()
    two.all[1].wait()
    assert two.all[0].wait(together.HEARTBEAT) == 42
    assert "another process is gone" in two.logs[0].read_text()
    assert saved(out)[-1] < STEPS

    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    assert Processes(1, 1, cache, out, "data=1", tmp_path / "log-one").ends() == [0]
    assert Processes(4, 1, cache, copy, "data=2,fsdp=2", tmp_path / "log-four").ends() == [0] * 4
    for found in (out, copy):
        assert_one_curve(found, alone)


@pytest.mark.slow
def test_where_the_first_process_cannot_plan_none_waits_for_it(cache, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "study.json").write_text("[]")
    two = Processes(2, 1, cache, tmp_path / "out", "fsdp=2", tmp_path / "log")
    assert two.ends(together.HEARTBEAT) == [2, 2]
    first, other = (path.read_text().splitlines() for path in two.logs)
    assert [line for line in first if "study.json" in line]
    assert other[-1:] == ["scaling: the first process cannot plan the study; its own line says why"]


@pytest.mark.slow
def test_the_others_wait_however_long_the_first_process_plans(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("SCALING_CACHE", str(cache))
    config = question.load(str(ROOT / "tests" / "together_study.py"), {"data.tokenizer": "bytes", "steps": "100"})
    study.prepare(config, tmp_path / "planned", say=print)
    (manifest,) = cache.glob("tokens/*/manifest.json")
    manifest.unlink()  # its tokens are to be made again, by one process at a time
    with (manifest.parent / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        two = Processes(2, 1, cache, tmp_path / "out", "fsdp=2", tmp_path / "log", steps=100)
        two.until(lambda: "waiting: another process is preparing" in two.logs[0].read_text())
        time.sleep(GLOO + 5)
        assert all(one.poll() is None for one in two.all)
    assert two.ends() == [0, 0]


@pytest.mark.slow
def test_processes_that_see_another_folder_end_with_the_reason(cache, tmp_path):
    two = Processes(2, 1, cache, tmp_path / "out", "fsdp=2", tmp_path / "log", apart=True)
    assert two.ends(together.HEARTBEAT) == [2, 2]
    first, other = (path.read_text().splitlines()[-1] for path in two.logs)
    assert "is not a study" in other
    assert re.search(r"another process cannot read \S+; its own line says why", first)


SAID = r"scaling: process 1 {}: other than process 0, with which they would train; start the same command"


@pytest.mark.slow
def test_processes_of_other_code_packages_settings_or_runs_never_train(cache, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(ROOT / "scaling", home / "scaling")
    for name in ("analysis", "configs", "launch"):
        (home / name).symlink_to(ROOT / name)
    with (home / "scaling" / "train.py").open("a") as file:
        file.write("# edited\n")
    last = {"JAX_DEFAULT_MATMUL_PRECISION": "float32", "PYTHONPATH": ""}
    two = Processes(
        2, 1, cache, tmp_path / "out", "fsdp=2", tmp_path / "log", last=last, home=home, settings=["seed=3"]
    )
    assert two.ends(together.HEARTBEAT) == [2, 2]
    code = own_code.digest()
    differ = rf"on \S+ has code (?!{code})\w+ for {code}, study .*, jax_default_matmul_precision float32 for unset"
    for path in two.logs:
        assert re.search(SAID.format(differ), path.read_text().splitlines()[-1])
    assert not saved(tmp_path / "out")


@pytest.mark.slow
def test_processes_that_begin_with_other_weights_never_train(cache, tmp_path):
    other = "import jax\nkey = jax.random.key\njax.random.key = lambda seed, **more: key(seed + 1, **more)\n"
    (tmp_path / "sitecustomize.py").write_text(other)
    last = {"PYTHONPATH": str(tmp_path)}
    two = Processes(2, 1, cache, tmp_path / "out", "fsdp=2", tmp_path / "log", last=last)
    assert two.ends(together.HEARTBEAT) == [2, 2]
    for path in two.logs:
        assert re.search(SAID.format(r"begins with other weights \(\S+.*\)"), path.read_text().splitlines()[-1])
    assert not saved(tmp_path / "out")


@pytest.mark.slow
def test_ambient_settings_of_one_process_that_would_change_its_runs_change_nothing(cache, tmp_path):
    alone, out = tmp_path / "alone", tmp_path / "out"
    assert Processes(1, 1, cache, alone, "data=1", tmp_path / "log-alone", steps=100).ends() == [0]
    last = {"JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_THREEFRY_PARTITIONABLE": "false", "JAX_RANDOM_SEED_OFFSET": "1"}
    two = Processes(2, 1, cache, out, "fsdp=2", tmp_path / "log", steps=100, last=last)
    assert two.ends() == [0, 0]
    assert "JAX_DEFAULT_PRNG_IMPL=rbg, JAX_THREEFRY_PARTITIONABLE=false, " in two.logs[1].read_text()
    assert_one_curve(out, alone)


@pytest.mark.slow
def test_told_to_leave_while_the_compiler_works_it_leaves_within_seconds(cache, tmp_path):
    one = Processes(1, 4, tmp_path / "own", tmp_path / "out", "fsdp=4", tmp_path / "log")
    one.until(lambda: (tmp_path / "out" / "study.json").exists())
    time.sleep(2)
    one.all[0].send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert one.ends(60) == [42]
    assert time.monotonic() - began < 4 * distributed.PATIENCE  # a machine may be busy


def test_an_unreachable_coordinator_is_told_in_one_line(tmp_path, capsys):
    words = ["study", "run", "tests/together_study.py", "--out", str(tmp_path), "--processes", "2"]
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--distributed", f"127.0.0.1:{port()}", "--process-id", "1", "--wait", "1"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert re.search(r"missing: process 0, nothing answers there after 1 s \(Connection refused\); start the", error)
    assert error.count("\n") == 1


AT = ["--distributed", "127.0.0.1:1", "--process-id", "1", "--processes", "2", "--wait", "1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--distributed", "here"], "wanted auto, or HOST:PORT|wanted a number of processes"),
        (["--distributed", "h:1", "--process-id", "2", "--processes", "2"], "each its own id from 0"),
        (["--distributed", "h", "--process-id", "1", "--processes", "2"], "wanted auto, or HOST:PORT"),
        (["--distributed", "auto"], "no Slurm, Kubernetes or TPU slice that JAX knows is seen here; give HOST:PORT"),
        (["--process-id", "1"], "belong to --distributed"),
        ([*AT, "--silence", "5"], "--silence 5: a process gives a sign of life every 3 s; use 12 or more"),
        ([*AT, "--silence", "200"], "--heartbeat 100 with --silence 200: .* above 200, such as 600"),
        ([*AT, "--heartbeat", "0"], "'0' is not a whole number above 0"),
        (["--mesh", "model=2"], "wanted sizes of run, data, fsdp, expert, tensor"),
        (["--mesh", "data=2", "--workers", "2"], "leave out --workers"),
    ],
)
def test_options_that_do_not_go_together_are_told_in_one_line(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["study", "run", "tests/together_study.py", "--out", str(tmp_path), *words])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


@pytest.mark.parametrize(("words", "code"), [([], 3), (["--mesh", "data=1"], 2)])
def test_a_checkpoint_of_another_model_is_refused_in_one_line_and_kept(words, code, cache, tmp_path, capfd):
    config = ["tests/together_study.py", "--set", "data.tokenizer=bytes"]
    whole = study.prepare(question.load(config[0], {"data.tokenizer": "bytes"}), tmp_path, workers=1, say=print)
    kept = checkpoints.Record(whole.claims(whole.packs[0]))
    kept.save(5, {"params": {"w_new": np.ones((1, 8), np.float32)}}, {"train_loss": np.ones((5, 1), np.float32)})
    kept.close()
    capfd.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main(["study", "run", *config, "--out", str(tmp_path), *words])
    assert end.value.code == code
    error = [
        line for line in capfd.readouterr().err.splitlines() if not re.search(" of 1 runs |largest document", line)
    ]
    assert len(error) == 1, error
    assert "the checkpoint of step 5 is of another model, optimiser or version: " in error[0]
    assert len(list(tmp_path.glob("packs/*/*/checkpoints/5"))) == 1


def test_a_process_that_is_silent_is_named_and_one_that_left_is_not(tmp_path):
    peers = [distributed.Peers(tmp_path, i, 3, print, together.SILENCE) for i in range(3)]
    assert peers[0].silent() == []
    peers[1].own.unlink()
    old = time.time() - together.SILENCE - 5
    os.utime(peers[2].own, (old, old))
    assert peers[0].silent() == [2]
    patient = distributed.Peers(tmp_path, 0, 3, print, together.SILENCE + 60)
    assert patient.silent() == []


WAITS = """
import sys, time
from pathlib import Path
from scaling import distributed

with distributed.Peers(Path(sys.argv[1]), 0, 2, print, 12):
    time.sleep(60)
"""


def test_a_process_without_the_others_ends_and_names_the_option_that_bears_it_longer(tmp_path):
    other = tmp_path / "1"
    other.touch()
    minute_ago = time.time() - 60
    os.utime(other, (minute_ago, minute_ago))
    done = subprocess.run([sys.executable, "-c", WAITS, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 42
    assert "process 1 has been silent for 12 s; if it lives, raise --silence" in done.stdout
    assert "raise --heartbeat" in distributed.lost("UNAVAILABLE: Task 1 heartbeat timeout\nmore")
    assert "raise" not in distributed.lost("Gloo connection closed by peer")


def test_processes_do_what_any_or_the_first_wants():
    assert distributed.agree(True, False) == (True, False)
    assert distributed.agree(False, True) == (False, True)


def test_a_signal_is_a_question_and_not_an_end():
    said = []
    with distributed.Notice(said.append) as notice:
        assert not notice.should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.told.wait(5)
        assert notice.should_stop()
    assert not said
    assert threading.current_thread() is threading.main_thread()
