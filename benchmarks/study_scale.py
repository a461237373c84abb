"""How long a study of a thousand runs takes to plan, to look at, and to load as a table.

    python -m benchmarks.study_scale --out results/study_scale.md

Every run is given a record of 200 updates and 15 evaluations without being trained; medians of three. Seconds
of a core are those that other programs do not take.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from scaling import claims, folders, machine, status, study
from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import ladder

ROWS = 200


def config(n: int) -> Study:
    models = ladder([(8, 2), (16, 2), (24, 2), (32, 2)], d_head=8)
    return Study(
        "scale",
        "How long do a thousand runs take to look at?",
        tuple(
            RunConfig(
                models[i % len(models)],
                tokens=ROWS * 256,
                batch=4,
                seed=i,
                optim=OptimConfig(learning_rate=1e-2),
                eval=EvalConfig(windows=16),
            )
            for i in range(n)
        ),
    )


def finish(whole: study.StudyFolder) -> None:
    """Gives every pack a record, as `scaling.worker` would."""
    rng = np.random.default_rng(0)
    for pack in whole.packs:
        (run,) = pack.runs
        at = np.array(run.config.eval_steps)
        falling = 3 + rng.random() + 3 * np.exp(-np.arange(ROWS + 1) / 50)
        history = {
            "train_loss": falling[1:, None].astype(np.float32),
            "grad_norm": np.ones((ROWS, 1), np.float32),
            "steps": np.array([ROWS]),
            "updates_trained": np.array([float(ROWS)]),
            "eval_step": at,
            "eval_loss": np.repeat(falling[at][:, None, None], run.config.model.n_ctx, 2).astype(np.float32),
            "window_loss": np.full((1, 16), falling[-1], np.float32),
            "seconds": np.float64(1.0),
            "finished": np.bool_(True),
        }
        with claims.take(whole.claims(pack)) or sys.exit("taken") as claim:
            sha256 = study.keep_history(claim.folder, history)
            told = {"steps": [ROWS], "seconds": 1.0, "status": ["done"], "loss": [float(falling[-1])]}
            folders.write_json(claim.folder / "done.json", {**told, "history": sha256})


def timed(what: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall clock and of a core, medians of three."""
    walls, cores = [], []
    for _ in range(3):
        wall, core = time.monotonic(), sum(os.times()[:4])
        what()
        walls.append(time.monotonic() - wall)
        cores.append(sum(os.times()[:4]) - core)
    return statistics.median(walls), statistics.median(cores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "study"
        os.environ["SCALING_CACHE"] = str(Path(name) / "cache")

        def plan() -> study.StudyFolder:
            return study.prepare(config(args.runs), folder, workers=1, say=lambda line: None)

        study.prepare(config(1), Path(name) / "text", workers=1, say=lambda line: None)

        def anew() -> study.StudyFolder:
            shutil.rmtree(folder, ignore_errors=True)
            return plan()

        first = timed(anew)
        whole = study.read(folder)
        table = "import sys; from analysis import records; print(len(records.read(sys.argv[1]).runs))"
        rows = [
            (f"plan {args.runs} runs", first),
            ("plan them again", timed(plan)),
            ("read study.json", timed(lambda: study.read(folder))),
            ("status, nothing trained", timed(lambda: status.of(study.read(folder)))),
        ]
        finish(whole)
        command = [sys.executable, "-m", "scaling.cli", "study", "status", str(folder), "--json"]
        rows += [
            ("status, all done", timed(lambda: status.of(study.read(folder)))),
            (
                "the command `study status`",
                timed(lambda: json.loads(subprocess.run(command, capture_output=True, check=True).stdout)),
            ),
            ("histories", timed(lambda: [study.history(whole, pack) for pack in whole.packs])),
            (
                f"table of {args.runs} runs x {ROWS} rows, in a new process",
                timed(lambda: subprocess.run([sys.executable, "-c", table, str(folder)], check=True, stdout=-3)),
            ),
        ]
    lines = [
        "# A thousand runs",
        "",
        f"`python -m benchmarks.study_scale --runs {args.runs}`, {time.strftime('%Y-%m-%d')}, {machine.describe()}, "
        f"load {os.getloadavg()[0]:.0f}",
        "",
        "| | seconds | of a core |",
        "| --- | --- | --- |",
        *(f"| {what} | {wall:.2f} | {core:.2f} |" for what, (wall, core) in rows),
    ]
    print("\n".join(lines))
    if args.out:
        folders.write(args.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
