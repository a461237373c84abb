"""Tokens per second of training small models on CPU cores, against PyTorch on the same models in the same minutes.

    python -m benchmarks.cpu_training --torch PYTHON [--layouts pinned pair threads] [--rounds 9] [--seconds 1]

PYTHON is an interpreter that has PyTorch, in an environment of its own. Two layers, 64 positions, vocabulary 512, in
the form of GPT-2 and in that of the Llama models. Ours is the program that studies run: a pack of one run, 16 updates
per dispatch. PyTorch's models and update are in `benchmarks/torch_models.py`: eager, with its fused or plain attention
and its fused or grouped optimiser, and compiled (`torch.compile`), with either attention, the fastest of each. A third
comparison is ours alone: rotary positions against learned ones. Everything is warm, no data is read. All take turns,
with a product of two matrices 1,024 wide among them as the peak; figures are medians over the rounds, ratios medians of
each round's ratio.
"""

import argparse
import dataclasses
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

N_LAYER, UPDATES = 2, 16  # of a dispatch
WIDTHS, BATCHES = (64, 128), (4, 32)  # sequences of 64 tokens
# form -> what it is compared with
FORMS = {"gpt2": ("eager", "compiled"), "llama": ("eager", "compiled"), "rotary": ("learned",)}
LAYOUTS = {"threads": "one process, two threads", "pinned": "one pinned process", "pair": "two pinned processes"}
WHO = ("ours", "eager", "compiled", "learned")
PEAK = 1024  # rows and columns of the matrices whose product is the peak
# Fused attention, fused update. Compiling takes long, and the fused update is the faster one there.
WAYS = {
    "eager": ((True, True), (True, False), (False, True), (False, False)),
    "compiled": ((True, True), (False, True)),
}

Update = Callable[[], None]  # `UPDATES` updates, waited for


@dataclasses.dataclass(frozen=True)
class Case:
    """One model and batch. `batch` is in sequences."""

    form: str
    d_model: int
    batch: int

    def model(self, form: str) -> Any:
        from scaling import ladder

        return {"gpt2": ladder.gpt2, "llama": ladder.llama, "rotary": ladder.transformer}[form](self.d_model, N_LAYER)


def ours(model: Any, batch: int) -> Update:
    """As studies train it."""
    import jax
    import numpy as np

    from scaling import step, train
    from scaling.config import RunConfig

    run = RunConfig(model, tokens=10_000 * batch * model.n_ctx, batch=batch)
    functions = train.compiled(run)
    hyper = step.Hyper.of((run,))
    state = functions.init(hyper)
    shape = (UPDATES, 1, batch, model.n_ctx + 1)
    tokens = np.random.default_rng(0).integers(0, model.n_vocab, shape, np.int32)

    def update() -> None:
        nonlocal state
        state, metrics = functions.update(hyper, state, tokens, UPDATES)
        jax.block_until_ready(metrics)

    return update


def peak() -> Update:
    """`UPDATES` products of two square matrices."""
    import jax
    import jax.numpy as jnp

    a = jax.random.normal(jax.random.key(0), (PEAK, PEAK))
    product = jax.jit(jnp.matmul)

    def update() -> None:
        for _ in range(UPDATES):
            product(a, a).block_until_ready()

    return update


def pytorch(who: str, case: Case, d_ff: int) -> Update:
    """The fastest of PyTorch's ways."""
    import torch  # pyright: ignore[reportMissingImports]  # in an environment of its own

    from benchmarks.torch_models import N_CTX, N_VOCAB, Model, Shape, Trainer

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    tokens = torch.randint(0, N_VOCAB, (UPDATES, case.batch, N_CTX + 1))
    shape = Shape(case.d_model, N_LAYER, case.d_model // 16, d_ff, case.form == "llama")

    def updates(trainer: Trainer) -> Update:
        def update() -> None:
            for i in range(UPDATES):
                trainer.update(tokens[i])

        return update

    ways: dict[float, Update] = {}
    for fused_attention, fused_update in WAYS[who]:
        torch.compiler.reset()
        update = updates(Trainer(Model(shape, fused_attention), who == "compiled", fused_update))
        update()
        ways[min(timed(update, 1) for _ in range(5))] = update
    return ways[min(ways)]


def timed(update: Update, n: int) -> float:
    """Seconds of n calls."""
    start = time.perf_counter()
    for _ in range(n):
        update()
    return time.perf_counter() - start


def serve(who: str, case: Case, d_ff: int, core: int | None) -> None:
    """A worker: reads numbers of calls, one a line, and answers each with its seconds."""
    if core is not None:
        os.sched_setaffinity(0, {core})  # before JAX or PyTorch count the cores
    if who in WAYS:
        update = pytorch(who, case, d_ff)
    elif who == "peak":
        update = peak()
    else:
        update = ours(case.model("gpt2" if who == "learned" else case.form), case.batch)
    update()
    print("ready", flush=True)
    for line in sys.stdin:
        print(timed(update, int(line)), flush=True)


class Team:
    """One or more workers that are asked at the same time."""

    def __init__(self, who: str, python: str, case: Case, cores: tuple[int | None, ...], work: float):
        self.work = work  # of a call, in tokens or FLOP
        self.workers = []
        for core in cores:
            command = [python, "-m", "benchmarks.cpu_training", "--serve", who, json.dumps(dataclasses.asdict(case))]
            command += [str(case.model(case.form).d_ff)] + ([] if core is None else [str(core)])
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            assert worker.stdin is not None
            assert worker.stdout is not None
            self.workers.append((worker, worker.stdin, worker.stdout))
            if worker.stdout.readline() != "ready\n":
                raise SystemExit(f"the worker of {who} did not start; see above")
        self.calls = 1

    def speed(self) -> float:
        """Work per second, of all workers together."""
        for _, ask, _ in self.workers:
            ask.write(f"{self.calls}\n")
            ask.flush()
        seconds = [float(answer.readline()) for _, _, answer in self.workers]
        return sum(self.calls * self.work / spent for spent in seconds)

    def settle(self, seconds: float) -> None:
        """Chooses how many calls take about as long."""
        self.calls = max(1, math.ceil(seconds * self.speed() / self.work / len(self.workers)))

    def close(self) -> None:
        for worker, ask, _ in self.workers:
            ask.close()
            worker.wait()


def compare(torch_python: str, case: Case, layout: str, rounds: int, seconds: float) -> dict[str, Any]:
    """One row of the table."""
    from scaling import counts

    model = case.model(case.form)
    cores = sorted(os.sched_getaffinity(0))
    placed = {"threads": (None,), "pinned": (cores[-1],), "pair": (*cores[:2],)}[layout]
    tokens = UPDATES * case.batch * model.n_ctx
    names = ("ours", "peak", *FORMS[case.form])
    teams = {}
    for who in names:
        python = torch_python if who in WAYS else sys.executable
        teams[who] = Team(who, python, case, placed, UPDATES * 2.0 * PEAK**3 if who == "peak" else tokens)
    for team in teams.values():
        team.settle(seconds)
    found = []
    for i in range(rounds):
        turn = names if i % 2 else names[::-1]
        speeds = {who: teams[who].speed() for who in turn}
        found.append(speeds)
    for team in teams.values():
        team.close()
    flops = counts.flops_per_token(model)["flops_total"]
    return {
        "median": {who: statistics.median(one[who] for one in found) for who in names},
        "ratios": [one["ours"] / max(one[who] for who in FORMS[case.form]) for one in found],
        "gflops": statistics.median(one["ours"] * flops for one in found) / 1e9,
        "share": statistics.median(one["ours"] * flops / one["peak"] for one in found),
    }


def rows(torch_python: str, layouts: list[str], forms: list[str], rounds: int, seconds: float) -> Iterator[str]:
    """Lines of the table, each as soon as it is measured."""
    for form, d_model, batch, layout in itertools.product(forms, WIDTHS, BATCHES, layouts):
        found = compare(torch_python, Case(form, d_model, batch), layout, rounds, seconds)
        median = found["median"]
        speeds = (f"{median[who] / 1000:.1f}" if who in median else "–" for who in WHO)
        low, middle, high = statistics.quantiles(found["ratios"])
        rate, top, share = found["gflops"], median["peak"] / 1e9, 100 * found["share"]
        cells = (form, d_model, f"{64 * batch:,}", LAYOUTS[layout], *speeds)
        ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        yield f"| {' | '.join(map(str, cells))} | {ratio} | {rate:.0f} of {top:.0f} ({share:.0f} %) |"


def main() -> None:
    if sys.argv[1:2] == ["--serve"]:
        _, _, who, case, d_ff, *core = sys.argv
        return serve(who, Case(**json.loads(case)), int(d_ff), int(core[0]) if core else None)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", required=True, help="an interpreter that has PyTorch")
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=["pinned"])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1, help="of each turn, about")
    arguments = parser.parse_args()
    if not Path(arguments.torch).exists():
        parser.error(f"--torch {arguments.torch}: wanted the path of a Python that has PyTorch")
    print(f"| form | d_model | tokens of a batch | layout | {' | '.join(WHO)} | ratio | GFLOP/s |")
    print("| --- " * 10 + "|")
    for row in rows(arguments.torch, arguments.layouts, arguments.forms, arguments.rounds, arguments.seconds):
        print(row, flush=True)
    return None


if __name__ == "__main__":
    main()
