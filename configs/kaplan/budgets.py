"""The budgets: from a minute on two cores to the paper's own scale. Hours are predictions of `scaling study show`."""

import dataclasses

from configs.budget import chosen
from configs.grid import GRIDS
from configs.kaplan.terms import (
    Base,
    Batch,
    Budget,
    Context,
    Data,
    Recurrent,
    Schedules,
    Shapes,
    Steps,
    Universal,
)
from scaling.rates import Text

# For tests: every figure finds runs to draw, and hardly any can decide.
TINY = Budget(
    "tiny",
    transfer=("python:stdlib",),
    grid=GRIDS["tiny"],
    branch=2**17,
    data=Data(
        sizes=((2, 15), (4, 14), (5, 13)),
        unique=(11, 12, 13, 15),
        epochs=4,
        without=(),
        warmup=2**10,
        per_octave=1,
        octaves=3,
        train_windows=32,
    ),
    batches=Batch(
        sizes=(2,),
        tokens=2**15,
        reference=2048,
        batches=(1, 4, 16, 64),
        factors=(0.7, 1.4),
        noisy=(16,),
        noise=2,
        warmup=1,
    ),
    steps=Steps(sizes=(2, 3, 4, 5), tokens=2**17, batch=16, per_octave=2, octaves=5, noise=2),
    depths=((16, 0), (16, 1), (16, 3)),
    shapes=Shapes(bases=(Base(24_576, 2, 8, (1, 8), (1,), (4, 16)),), tokens=2**16, seeds=1, base_seeds=2),
    recurrent=Recurrent(shapes=((16, 1), (24, 1), (32, 1)), factors=(1.0,)),
    universal=Universal(shapes=(((8, 1), 2), ((16, 1), 2), ((24, 1), 2))),
    schedules=Schedules(k=2, tokens=2**14, seeds=1),
    context=Context(
        shapes=((16, 2), (24, 2), (32, 2)),
        recurrent=(),
        factors=(1.0,),
        tokens=2**16,
        n_ctx=128,
        short=8,
        windows=64,
    ),
)

# Python, 48 minutes of two cores. An hour does not decide alpha_B either, so that the runs of the batches are short.
CPU_1H = Budget(
    "cpu-1h",
    grid=GRIDS["cpu-1h"],
    branch=2**20,
    data=Data(
        sizes=((2, 22), (4, 22), (6, 21)),
        unique=(14, 15, 16, 17, 18, 19, 21),
        epochs=32,
        without=((4, 16),),
        warmup=2**13,
        per_octave=2,
        octaves=4,
        train_windows=128,
    ),
    batches=Batch(
        sizes=(2, 4),
        tokens=2**19,
        reference=4096,
        batches=(4, 8, 16, 32, 64, 128, 256),
        factors=(0.5, 1.0, 2.0),
        noisy=(32,),
        noise=4,
        warmup=4,
    ),
    steps=Steps(sizes=(1, 2, 3, 4, 5, 6), tokens=2**21, batch=64, per_octave=2, octaves=6, noise=4),
    depths=((32, 0), (64, 0), (16, 1), (32, 1), (64, 1), (16, 6), (32, 6)),
    shapes=Shapes(bases=(Base(49_152, 2, 8, (1, 8, 16), (1, 3, 4), (4, 16)),), tokens=2**19, seeds=1, base_seeds=3),
    recurrent=Recurrent(shapes=tuple((d, depth) for depth in (1, 2) for d in (16, 32, 48)), factors=(1.0,)),
    universal=Universal(shapes=tuple(((d, 1), reuse) for d in (16, 32, 48) for reuse in (2, 4))),
    schedules=Schedules(k=2, tokens=2**19, seeds=1),
    context=Context(
        shapes=((16, 2), (32, 2), (64, 2)),
        recurrent=((28, 1), (56, 1)),
        factors=(1.0,),
        tokens=2**20,
        n_ctx=256,
        short=8,
        windows=256,
    ),
)

# English, a day of two cores with room.
CPU_24H = Budget(
    "cpu-24h",
    grid=GRIDS["cpu-24h"],
    branch=2**22,
    data=Data(
        sizes=((2, 23), (4, 24), (6, 24), (8, 23)),
        unique=(14, 15, 16, 17, 18, 19, 20, 21, 22, 24),
        epochs=64,
        without=((6, 16), (6, 18), (6, 20)),
        warmup=2**13,
        per_octave=2,
        octaves=5,
        train_windows=256,
    ),
    batches=Batch(
        sizes=(2, 4, 6),
        tokens=2**21,
        reference=4096,
        batches=(4, 8, 16, 32, 64, 128, 256, 512),
        factors=(0.5, 1.0, 2.0),
        noisy=(32, 128),
        noise=8,
        warmup=4,
    ),
    steps=Steps(sizes=(1, 2, 3, 4, 5, 6, 7), tokens=2**25, batch=128, per_octave=2, octaves=8, noise=8),
    depths=(
        *((d, 0) for d in (32, 64, 128)),
        *((d, 1) for d in (16, 32, 64, 96)),
        *((d, 3) for d in (16, 32, 64)),
        *((d, 6) for d in (16, 32, 56)),
    ),
    shapes=Shapes(
        bases=(Base(98_304, 2, 8, (0.5, 1, 2, 8, 16, 32), (1, 3, 4, 6, 8, 12), (4, 16, 32, 64)),),
        tokens=2**20,
        seeds=2,
        base_seeds=3,
    ),
    recurrent=Recurrent(
        shapes=((16, 1), (32, 1), (64, 1), (16, 2), (32, 2), (64, 2), (16, 4), (32, 4), (48, 4)),
        factors=(0.5, 1.0, 2.0),
    ),
    universal=Universal(
        shapes=(
            *(((16, 1), reuse) for reuse in (2, 4, 8)),
            *(((32, 1), reuse) for reuse in (2, 4, 8)),
            *(((48, 1), reuse) for reuse in (2, 4)),
            ((24, 1), 8),
        )
    ),
    schedules=Schedules(k=4, tokens=2**20, seeds=2),
    context=Context(
        shapes=((16, 2), (32, 2), (64, 2)),
        recurrent=((28, 1), (56, 1), (112, 1)),
        factors=(0.5, 1.0, 2.0),
        tokens=2**23,
        n_ctx=256,
        short=8,
        windows=1024,
    ),
)

# One large accelerator. 140 MB of English.
GPU_1H = Budget(
    "gpu-1h",
    grid=GRIDS["gpu-1h"],
    branch=2**25,
    data=Data(
        sizes=((4, 26), (6, 26), (8, 26), (10, 26), (12, 26)),
        unique=(17, 18, 19, 20, 21, 22, 23, 26),
        epochs=256,
        without=((8, 18), (8, 20), (8, 22)),
        warmup=2**16,
        per_octave=2,
        octaves=5,
        train_windows=256,
    ),
    batches=Batch(
        sizes=(4, 7, 10),
        tokens=2**23,
        reference=2**15,
        batches=(2, 4, 8, 16, 32, 64, 128, 256, 512),
        factors=(0.5, 1.0, 2.0),
        noisy=(32, 128),
        noise=8,
        warmup=4,
    ),
    steps=Steps(sizes=(3, 4, 5, 6, 7, 8, 9, 10, 11), tokens=2**26, batch=128, per_octave=2, octaves=8, noise=8),
    depths=(
        *((d, 0) for d in (64, 128, 256)),
        *((d, 1) for d in (32, 64, 128, 256)),
        *((d, depth) for depth in (3, 6) for d in (32, 64, 128)),
    ),
    shapes=Shapes(
        bases=(
            Base(98_304, 2, 16, (0.5, 1, 2, 8, 16, 32), (1, 3, 4, 6, 8), (8, 32, 64)),
            Base(1_572_864, 4, 32, (0.5, 1, 2, 8, 16, 32), (1, 2, 6, 8, 12, 24), (8, 16, 64)),
        ),
        tokens=2**23,
        seeds=2,
        base_seeds=3,
    ),
    recurrent=Recurrent(shapes=tuple((d, depth) for depth in (1, 2) for d in (32, 64, 128)), factors=(0.5, 1.0, 2.0)),
    universal=Universal(shapes=tuple(((d, 1), reuse) for d in (32, 64, 128) for reuse in (2, 4, 8))),
    schedules=Schedules(k=8, tokens=2**24, seeds=1),
    context=Context(
        shapes=((32, 2), (64, 2), (128, 2), (192, 4), (256, 6)),
        recurrent=((56, 1), (112, 1), (224, 1)),
        factors=(0.5, 1.0, 2.0),
        tokens=2**24,
        n_ctx=512,
        short=8,
        windows=1024,
    ),
    accelerated=True,
)

# Kaplan et al. (2020) secs. 2.2, 2.3, 4.2: 2^18 updates of 2^19 tokens, 2.2e7 to 2.2e10 unique tokens.
_MOST = 2**37
POD = Budget(
    "pod",
    grid=GRIDS["pod"],
    branch=_MOST,
    data=Data(
        sizes=((3, 37), (5, 37), (7, 37), (8, 37), (9, 37), (10, 37)),
        unique=(25, 26, 27, 28, 29, 30, 31, 34),
        epochs=64,
        without=(),
        warmup=2**24,
        per_octave=3,
        octaves=6,
        train_windows=512,
    ),
    batches=Batch(
        sizes=(5, 8),
        tokens=2**34,
        reference=2**19,
        batches=tuple(2**k for k in range(3, 13)),
        factors=(0.5, 1.0, 2.0),
        noisy=(64, 512),
        noise=8,
        warmup=300,
    ),
    steps=Steps(sizes=(3, 4, 5, 6, 7, 8, 9, 10), tokens=2**36, batch=512, per_octave=2, octaves=8, noise=8),
    depths=(
        (8, 1),
        *((d, 0) for d in (256, 512, 1024)),
        *((d, depth) for depth in (1, 3, 6) for d in (64, 128, 256, 512, 1024)),
        (768, 207),
    ),
    shapes=Shapes(
        bases=(
            Base(50_331_648, 16, 64, (0.5, 1, 2, 8, 16, 32), (2, 3, 6, 8, 24, 48, 64), (16, 32, 128, 256)),
            Base(25_165_824, 8, 64, (), (), (16, 32, 128, 256)),
            Base(273_678_336, 24, 64, (), (2, 4, 8, 48, 96), ()),
            Base(1_474_560_000, 48, 64, (), (6, 12, 24, 96, 207), ()),
        ),
        tokens=_MOST,
        seeds=1,
        base_seeds=2,
    ),
    recurrent=Recurrent(
        shapes=tuple((d, depth) for depth in (1, 2, 4) for d in (64, 128, 256, 512, 1024, 2048)), factors=(0.5, 1.0)
    ),
    universal=Universal(shapes=tuple(((d, 1), reuse) for d in (128, 256, 512, 1024, 2048) for reuse in (2, 4, 8))),
    schedules=Schedules(k=5, tokens=_MOST, seeds=1),
    context=Context(
        shapes=((128, 2), (256, 4), (512, 8), (768, 12), (1024, 24), (1280, 36)),
        recurrent=(),
        factors=(1.0,),
        tokens=_MOST,
        n_ctx=1024,
        short=8,
        windows=1024,
    ),
    accelerated=True,
    paper=True,
)

BUDGETS = {budget.name: budget for budget in (TINY, CPU_1H, CPU_24H, GPU_1H, POD)}
DEFAULT = "cpu-1h"


def named(budget: str, transfer: tuple[str, ...] = (), rates: Text = "python") -> Budget:
    """The budget of that name.

    Args:
        transfer: where there is some, in place of the budget's own.
        rates: the text whose learning rates the runs take.
    """
    found = chosen(BUDGETS, budget, rates)
    return dataclasses.replace(found, transfer=transfer) if transfer else found
