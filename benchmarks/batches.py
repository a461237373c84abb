"""How fast packed tokens become batches, on one core.

    python -m benchmarks.batches [--json FILE]

Windows are drawn in the order of a run from a memory-mapped stream of 2**28 tokens (0.5 GB), as the trainer draws them:
a few small batches at a time, or many at once. Encoding is not included.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from scaling.data.batches import Batches

STREAM = 2**28  # tokens
SECONDS = 2.0  # of processor time per measurement
SHAPES = ((64, 16), (64, 512), (256, 16), (1024, 8), (1024, 512), (8192, 8))  # n_ctx, examples per call


def tokens_per_second(stream: np.ndarray, n_ctx: int, count: int) -> float:
    """Tokens of `Batches.examples` per second of one core's time, whatever else the machine does."""
    batches = Batches(stream, n_ctx, len(stream) // n_ctx * n_ctx, seed=0, separator=1)
    batches.examples(0, count)
    calls, began = 0, time.process_time()
    while (elapsed := time.process_time() - began) < SECONDS:
        calls += 1
        batches.examples(calls * count, count)
    return calls * count * n_ctx / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.bin"
        np.random.default_rng(0).integers(0, 2**16, STREAM, np.uint16).tofile(path)
        stream = np.memmap(path, np.uint16, "r")
        rows = [
            {"n_ctx": n_ctx, "examples_per_call": count, "tokens_per_second": tokens_per_second(stream, n_ctx, count)}
            for n_ctx, count in SHAPES
        ]
    print(f"{'n_ctx':>6} {'examples per call':>18} {'million tokens/s':>17}")
    for row in rows:
        print(f"{row['n_ctx']:>6} {row['examples_per_call']:>18} {row['tokens_per_second'] / 1e6:>17.1f}")
    if arguments.json:
        result = {
            "command": "python -m benchmarks.batches --json results/batches.json",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, one used",
            "python": platform.python_version(),
            "numpy": np.__version__,
            "stream_tokens": STREAM,
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
