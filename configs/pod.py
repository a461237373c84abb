"""Models of paper size, one run of each: for `scaling compile`, and to see what a slice makes of them.

    scaling compile configs/pod.py --set size=175b --topology v5p:4x8x8

Shapes of Kaplan et al. (2020) up to 1.5e9 parameters, of Brown et al. (2020) table 2.1 above (13b is 5120 wide).
1.5b-llama is one of today's, `scaling.ladder.llama` with four heads of queries to each of keys; it has about the
parameters of 1.5b. 1.5b-experts has eight experts in each layer, of which a token meets one: 1.5e9 of 8.4e9 parameters.
Adafactor above 1e9 parameters, as Kaplan et al. section 2.2 has it. The vocabulary of 50,257 is filled up to a multiple
of 128.
"""

import math
from typing import Any, Literal

from scaling.config import EvalConfig, OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import llama, transformer

Remat = Literal["none", "matmuls", "layers", "offload"]
Optimizer = Literal["adam", "adafactor"]

VOCABULARY = 50_304
# d_model, layers, width of a head, context, sequences of a batch
SHAPES: dict[str, tuple[int, int, int, int, int]] = {
    "768": (8, 1, 8, 1024, 512),
    "393k": (128, 2, 64, 1024, 512),
    "85m": (768, 12, 64, 1024, 512),
    "302m": (1024, 24, 64, 1024, 512),
    "1.5b": (1600, 48, 64, 1024, 512),
    "1.5b-llama": (2048, 29, 128, 2048, 256),
    "1.5b-experts": (1600, 48, 64, 1024, 512),
    "13b": (5120, 40, 128, 2048, 1024),
    "175b": (12288, 96, 128, 2048, 1536),
}
EXPERTS = 8  # of 1.5b-experts
STEPS = 250_000  # Kaplan et al. (2020) section 2.2
WARMUP = 3000  # steps


def study(size: str = "1.5b") -> Study:
    """One run of a size of SHAPES, or of all."""
    if size != "all" and size not in SHAPES:
        raise InputError(f"size={size}: wanted one of {', '.join(SHAPES)}, or all")
    return Study(
        "pod",
        "What do models of paper size need?",
        tuple(run(name) for name in SHAPES if size in (name, "all")),
    )


def run(size: str) -> RunConfig:
    d_model, n_layer, d_head, n_ctx, batch = SHAPES[size]
    fields: dict[str, Any] = {"d_head": d_head, "n_vocab": VOCABULARY, "n_ctx": n_ctx}
    if size.endswith("-llama"):
        model = llama(d_model, n_layer, n_kv_head=d_model // d_head // 4, **fields)
    else:
        routed = {"kind": "routed", "experts": EXPERTS} if size.endswith("-experts") else {}
        model = transformer(d_model, n_layer, **fields, **routed)
    return RunConfig(
        model,
        tokens=STEPS * batch * n_ctx,
        batch=batch,
        dtype="bfloat16",
        remat=remat(model.N),
        optim=OptimConfig(
            learning_rate=rate(model.N),
            optimizer=optimizer(model.N),
            warmup_tokens=WARMUP * batch * n_ctx,
        ),
        eval=EvalConfig(windows=512, per_octave=1),
    )


def rate(N: float) -> float:
    """Kaplan et al. (2020) eq. D.1, which they trust up to 1e10 parameters; above, its value there."""
    return 0.003239 - 0.0001395 * math.log(min(N, 1e10))


def optimizer(N: float) -> Optimizer:
    """Kaplan et al. (2020) section 2.2: Adafactor where Adam's state would be large."""
    return "adafactor" if N > 1e9 else "adam"


def remat(N: float) -> Remat:
    """How much is computed twice, so that a batch of half a million tokens fits a chip of a slice."""
    if N < 1e7:
        return "none"
    return "matmuls" if N < 1e9 else "layers"
