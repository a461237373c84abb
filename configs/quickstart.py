"""The quickstart: L(N, D) on whatever text there is, within minutes of CPU time."""

import dataclasses

from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.ladder import ladder

SHAPES = ((8, 2), (16, 2), (24, 2), (32, 2), (48, 2), (64, 2), (96, 2))


def study(minutes: float = 5, data: str = "python") -> Study:
    models = ladder(SHAPES[:6], d_head=8)
    base = RunConfig(models[0], tokens=2**17, data=DataConfig(source=data), eval=EvalConfig(per_octave=1, octaves=5))
    runs = [
        dataclasses.replace(base, model=m, tokens=D, optim=OptimConfig(learning_rate=1e-2))
        for m in models
        for D in (2**17, 2**18)
    ]
    return Study("quickstart", "How does the loss depend on N and D?", tuple(runs))
