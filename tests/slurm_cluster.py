"""A Slurm cluster of two nodes on this machine: munged, slurmctld and two slurmd, started and stopped by the tests.

Debian's packages slurm-wlm and munge, as root and without systemd. The nodes are called by loopback addresses, so that
their names can be reached as those of real nodes can, and claim more processors than there are.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel", "setpriv")

CONF = """
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
SchedulerParameters=batch_sched_delay=1,sched_interval=5
NodeName=127.0.0.1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=8 State=UNKNOWN
NodeName=127.0.0.2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=8 State=UNKNOWN
PartitionName=main Nodes=127.0.0.1,127.0.0.2 Default=YES MaxTime=60 State=UP
"""


def missing() -> str:
    """What there is not, for the reason of a skip; empty where all is there."""
    if os.geteuid() != 0:
        return "slurmd runs as root only"
    lost = [name for name in NEEDED if not shutil.which(name)]
    return f"no {', '.join(lost)}: apt-get install slurm-wlm munge" if lost else ""


def command(*words: str) -> str:
    """Runs a command -> its output."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def jobs(name: str) -> dict[str, str]:
    """Element of the array (or the job) -> state, of the jobs of that name that are not over."""
    lines = command("squeue", "--noheader", "--array", f"--name={name}", "--format=%i %T").splitlines()
    return {line.split()[0]: line.split()[1] for line in lines}


def wait_for(condition, what: str, seconds: float = 120.0):
    """The first value of `condition()` that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.25)
    raise AssertionError(f"no {what} within {seconds:g} s")


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """The cluster runs, and SLURM_CONF says where, while this lasts."""
    host = socket.gethostname().split(".")[0]
    folder.chmod(0o755)
    (folder / "state").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(host=host, folder=folder, ports=_free_ports(3)))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    started: list[subprocess.Popen] = []

    def start(*words: str) -> None:
        with (folder / "daemons.log").open("a") as log:
            quiet = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            mortal = ["setpriv", "--pdeathsig", "TERM", *words]  # leaves with the tests, should those be killed
            started.append(subprocess.Popen(mortal, **quiet, start_new_session=True))

    try:
        files = [f"--{what}={folder}/munge.{end}" for what, end in _MUNGE.items()]
        start("munged", "--foreground", "--force", "--num-threads=2", *files)
        wait_for((folder / "munge.socket").exists, "munged", 20)
        start("slurmctld", "-D", "-i", "-f", str(conf))
        for node in ("127.0.0.1", "127.0.0.2"):
            start("slurmd", "-D", "-N", node, "-f", str(conf))
        wait_for(lambda: _idle() == 2, "two idle nodes", 60)
        yield
    except AssertionError as error:
        logs = "\n".join(f"{log.name}:\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log")))
        raise AssertionError(f"{error}\n{logs}") from None
    finally:
        _cancel_all()
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(started):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def _cancel_all() -> None:
    """So that no job outlives the cluster: what is still there is told to stop, and later killed."""
    for words in (["--user=root"], ["--user=root", "--signal=KILL", "--full"]):
        subprocess.run(["scancel", *words], capture_output=True, timeout=30)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            if not subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, timeout=30).stdout.strip():
                return
            time.sleep(0.5)


_MUNGE = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}


def _idle() -> int:
    done = subprocess.run(["sinfo", "--noheader", "-N", "--format=%T"], capture_output=True, text=True, timeout=30)
    return done.stdout.split().count("idle")


def _free_ports(n: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
