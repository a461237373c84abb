"""Trains one pack of a kind on the mesh given in each argument, `one` for one device, and prints the losses as JSON.

python -m tests.on_meshes KIND RUNS LOGITS MESH...    (LOGITS that the loss holds at a time on one device)
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from scaling import sharding, train
from scaling.config import EvalConfig, OptimConfig, RunConfig
from scaling.ladder import llama, lstm, transformer
from scaling.models import loss, routed

STEPS = 50
MODELS = {
    "transformer": transformer(32, 2, d_head=4, n_vocab=64, n_ctx=16),
    "muon": transformer(32, 2, d_head=4, n_vocab=64, n_ctx=16, tied=False),
    "lstm": lstm(32, 2, n_vocab=64, n_ctx=16),
    "routed": transformer(32, 2, d_head=4, n_vocab=64, n_ctx=16, kind="routed", experts=4, top_k=2),
    "hash": transformer(32, 2, d_head=4, n_vocab=64, n_ctx=16, kind="routed", experts=4, routing="hash"),
    "llama": llama(32, 2, n_kv_head=4, d_head=4, n_vocab=64, n_ctx=16, z_loss=1e-3, qk_norm=True),
}


def runs(n: int, kind: str = "transformer", **fields) -> tuple[RunConfig, ...]:
    return tuple(
        RunConfig(
            MODELS[kind],
            tokens=STEPS * 8 * 16,
            batch=8,
            seed=seed,
            optim=OptimConfig(learning_rate=3e-3, optimizer="muon" if kind == "muon" else "adam", warmup=0.1),
            eval=EvalConfig(windows=16, per_octave=1, octaves=1),
            **fields,
        )
        for seed in range(n)
    )


def stream() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (np.cumsum(np.where(rng.random(20_000) < 0.7, 3, rng.integers(0, 64, 20_000))) % 64).astype(np.uint16)


def main() -> None:
    found = {}
    tokens = stream()
    kind, n, logits, *meshes = sys.argv[1:]
    loss.LOGITS = int(logits)
    routed.GROUP = 16  # tokens of one sequence, so that groups lie on different devices
    for text in meshes:
        mesh = None
        if text != "one":
            import jax

            sizes = sharding.parse(text)
            mesh = sharding.make(sizes, jax.devices()[: int(np.prod(list(sizes.values())))])
        with tempfile.TemporaryDirectory() as folder:
            history = train.train(
                runs(int(n), kind), tokens[:15_000], tokens[15_000:], Path(folder), separator=0, mesh=mesh
            )
        found[text] = {name: history[name].tolist() for name in ("train_loss", "grad_norm")}
        found[text]["eval_loss"] = history["eval_loss"].mean(-1).tolist()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
