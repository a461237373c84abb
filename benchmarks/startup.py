"""How long a person waits for `scaling --help`, and for the first 16 updates of `scaling study run` to be on disk.

    python -m benchmarks.startup

The study has one run, N = 98,304. Medians of five with a cached program, each another run; and one with nothing cached.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONFIG = """
from scaling.config import DataConfig, EvalConfig, RunConfig, Study
from scaling.ladder import ladder

def study(seed: int = 0) -> Study:
    model = ladder([(64, 2)], d_head=8)[0]
    run = RunConfig(model, tokens=16 * 256, batch=4, seed=seed, eval=EvalConfig(windows=128))
    return Study("startup", "How long does it take to begin?", (run,))
"""


def until_saved(folder: Path, seed: int) -> float:
    """Seconds from the command's start to the first checkpoint."""
    out = folder / f"study-{seed}"
    began = time.monotonic()
    command = ["study", "run", str(folder / "startup.py"), "--out", str(out), "--set", f"seed={seed}"]
    process = subprocess.Popen([sys.executable, "-m", "scaling.cli", *command], stderr=subprocess.DEVNULL)
    while not any(path.name.isdigit() for path in out.glob("packs/*/*/checkpoints/*")):
        assert process.poll() is None, "the study ended before its first checkpoint"
        time.sleep(0.01)
    seconds = time.monotonic() - began
    process.terminate()  # it saves and leaves
    process.wait()
    return seconds


def until_helped() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "scaling.cli", "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SCALING_CACHE"] = str(folder / "cache")
        (folder / "startup.py").write_text(CONFIG)
        print(f"--help: {statistics.median(until_helped() for _ in range(5)):.2f} s")
        cold = until_saved(folder, 0)
        warm = [until_saved(folder, seed) for seed in range(1, 6)]
        spread = f"({min(warm):.2f} to {max(warm):.2f})"
        print(f"first 16 updates: {statistics.median(warm):.2f} s with a cached program {spread}")
        print(f"                  {cold:.2f} s with nothing cached: text read, vocabulary learnt, program compiled")


if __name__ == "__main__":
    main()
