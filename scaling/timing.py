"""A process that measures how long programs take here: python -m scaling.timing DEVICE CORE [HASH=FILE.py...].

It reads a JSON line {"run": ..., "lanes": n} per program from standard input and answers with one: the fields of
`calibration.Timing`. It trains for real, a few updates, through the same code as a study, so what it compiles is in the
machine's cache of programs when the study needs it.
"""

import dataclasses
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scaling import config, extensions, folders, layout, numerics
from scaling.config import RunConfig
from scaling.data import pairs, tasks

SHORT = 4  # updates of the shorter training
LONG = 0.5  # seconds that half of the longer one should take
# On a CPU a worker has one core, and its own seconds there are not those that other programs take from it.
CLOCK = time.process_time if sys.argv[1:2] == ["cpu"] else time.monotonic


def main() -> None:
    layout.pin(sys.argv[1], int(sys.argv[2]))
    folders.keep_programs()
    numerics.without_fast_math()
    import jax

    from scaling import train

    stats = jax.devices()[0].memory_stats() or {}
    memory = 0 if sys.argv[1] == "cpu" else stats.get("bytes_limit", 0)  # that the device has for arrays
    print(json.dumps({"start": time.process_time(), "memory": memory}), flush=True)
    for word in sys.argv[3:]:
        extensions.take(word)
    for line in sys.stdin:
        asked = json.loads(line)
        run = config.from_dict(RunConfig, asked["run"])
        print(json.dumps(_measured(run, asked["lanes"], train.train)), flush=True)


def _measured(run: RunConfig, lanes: int, train: Callable[..., Any]) -> dict[str, float]:
    import jax

    cold, _ = _training(run, lanes, SHORT, train)
    warm, marks = _training(run, lanes, SHORT, train)
    short = marks[SHORT] - marks[SHORT // 2]  # an evaluation and half of the updates
    half = int(min(128, max(8, LONG / short * SHORT)))
    jax.clear_caches()
    loaded, marks = _training(run, lanes, 2 * half, train)
    update = max(1e-6, (marks[2 * half] - marks[half] - short) / (half - SHORT // 2))
    evaluation = max(0.0, short - SHORT // 2 * update)
    begin = max(0.0, warm - SHORT * update - 3 * evaluation)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "update": update,
        "evaluation": evaluation,
        "begin": begin,
        "compile": max(0.0, cold - warm),
        "load": max(0.0, loaded - begin - 2 * half * update - 3 * evaluation),
        "memory": float(stats.get("peak_bytes_in_use", memory)),
    }


def _training(run: RunConfig, lanes: int, steps: int, train: Callable[..., Any]) -> tuple[float, dict[int, float]]:
    """Seconds that a pack takes, evaluated at the start, the middle and the end; and when it reached which update."""
    program = config.program(run)  # of constant rate, evaluated as `program` has it: at 0, half and all updates
    runs = [dataclasses.replace(program, tokens=steps * run.batch_tokens, seed=seed) for seed in range(lanes)]
    rng = np.random.default_rng(0)

    def stream(n: int) -> np.ndarray:
        return rng.integers(0, run.model.n_vocab, n, np.int32)

    held_out = stream(run.model.n_ctx * run.eval.windows)
    marks: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        began = CLOCK()
        train(
            runs,
            stream(runs[0].tokens),
            held_out,
            Path(folder),
            separator=0,
            transfer_tokens={
                name: pairs.filler(name, run.eval, tasks.filler(name, run.eval, held_out)) for name in run.eval.transfer
            },
            say=lambda line: None,
            progress=lambda done: marks.update({done: CLOCK() - began}),
        )
        return CLOCK() - began, marks


if __name__ == "__main__":
    main()
