"""Tokens per second of Transformers, LSTMs and universal Transformers of about equal N on one core.

python -m benchmarks.kinds

As a worker trains them: one pinned core, and its own seconds, so that what else runs beside it hardly counts.
"""

import os
import time

from scaling import layout

layout.pin("cpu", layout.cores()[-1])

import jax  # noqa: E402  # after the core is chosen
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from scaling import machine, step  # noqa: E402
from scaling.config import ModelConfig, RunConfig  # noqa: E402
from scaling.ladder import lstm, transformer, universal  # noqa: E402

UPDATES, REPEATS = 8, 6
SHAPES = ((32, ((56, 1), (40, 2), (28, 4))), (64, ((112, 1), (80, 2), (56, 4))))  # LSTMs beside 2 layers of a width
WINDOWS = ((4, 64), (8, 256))  # batch, n_ctx


def seconds(model: ModelConfig, batch: int) -> float:
    """Of an update, the best of some dispatches."""
    run = RunConfig(model, tokens=UPDATES * batch * model.n_ctx, batch=batch)
    hyper = jax.tree.map(lambda leaf: leaf[0], step.Hyper.of((run,)))
    state = jax.jit(lambda hyper: step.init_state(run, hyper))(hyper)
    shape = (UPDATES, batch, model.n_ctx + 1)
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, model.n_vocab, shape), jnp.int32)
    update = jax.jit(lambda *given: step.train_steps(run, *given))
    jax.block_until_ready(update(hyper, state, tokens, UPDATES))
    found = []
    for _ in range(REPEATS):
        began = time.process_time()
        jax.block_until_ready(update(hyper, state, tokens, UPDATES))
        found.append(time.process_time() - began)
    return min(found) / UPDATES


def main() -> None:
    print(machine.describe(), machine.versions(), f"load {os.getloadavg()[0]:.1f}")
    for batch, n_ctx in WINDOWS:
        for width, recurrent in SHAPES:
            fields = {"n_ctx": n_ctx}
            models = [transformer(width, 2, d_head=8, **fields), *(lstm(*shape, **fields) for shape in recurrent)]
            models.append(universal(width, 2, reuse=4, d_head=8, **fields))
            for model in models:
                took = seconds(model, batch)
                shape = f"{model.kind} d_model {model.d_model} n_layer {model.n_layer} reuse {model.reuse}"
                print(f"{batch} x {n_ctx}: {shape}, N {model.N}: {batch * n_ctx / took:,.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
