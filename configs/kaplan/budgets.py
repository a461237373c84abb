"""The budgets: from a minute on two cores to the paper's own scale."""

import dataclasses
import functools

from configs import pod
from configs.kaplan.terms import Base, Batch, Budget, Context, Data, Recurrent, Schedules, Shapes, Size, Universal
from scaling.errors import InputError
from scaling.rates import TEXTS, Text

# On a CPU: the batch and the context of most of the sweep behind configs/rates.json.
_cpu = functools.partial(Budget, n_vocab=512, n_ctx=64, batch=4, d_head=8, windows=512)

# For tests: every figure finds runs to draw, and hardly any can decide.
TINY = _cpu(
    "tiny",
    windows=128,
    transfer=("python:stdlib",),
    size=Size(
        tokens=2**16,
        shapes=((8, 2), (16, 2), (24, 2), (32, 2), (40, 2)),
        depths=((16, 0), (16, 1), (16, 3)),
        replicated=((8, 2),),
        seeds=2,
        per_octave=2,
        octaves=5,
        noise=2,
    ),
    data=Data(
        shapes=((8, 2), (16, 2), (32, 2)),
        unique=((2**11, 24), (2**12, 16), (2**13, 12), (2**14, 8), (2**16, 1)),
        at=6144,
        longest=2**16,
        rated=2**16,
        schedule="constant",
        warmup=2**12,
        per_octave=2,
        octaves=5,
        train_windows=32,
    ),
    batches=Batch(
        shapes=((16, 2),),
        tokens=2**15,
        reference=2048,
        batches=(1, 4, 16, 64),
        factors=(0.7, 1.4),
        noisy=(16,),
        noise=2,
        warmup=2,
    ),
    shapes=Shapes(bases=(Base(98304, 2, 8, (1, 8), (1,), (4, 16, 32)),), tokens=2**14, seeds=1, base_seeds=2),
    recurrent=Recurrent(shapes=((16, 1), (24, 1), (32, 1)), factors=(1.0,)),
    universal=Universal(shapes=(((8, 1), 2), ((16, 1), 2), ((24, 1), 2))),
    schedules=Schedules(shape=(16, 2), tokens=2**14, seeds=1),
    context=Context(shapes=((8, 2), (16, 2), (24, 2)), recurrent=(), tokens=2**15, n_ctx=128, short=8, windows=64),
)

CPU_20M = _cpu(
    "cpu-20m",
    size=Size(
        tokens=2**20,
        shapes=((8, 2), (16, 2), (24, 2), (32, 2), (48, 2), (64, 2), (96, 2)),
        depths=((32, 0), (64, 0), (16, 1), (32, 1), (64, 1), (16, 6), (32, 6)),
        replicated=((8, 2), (32, 2)),
        seeds=2,
        per_octave=2,
        octaves=7,
        noise=4,
    ),
    data=Data(
        shapes=((8, 2), (16, 2), (32, 2), (64, 2)),
        unique=((2**13, 24), (2**14, 24), (2**15, 24), (2**16, 16), (2**17, 8), (2**20, 1)),
        at=24_576,
        longest=2**20,
        rated=2**20,
        schedule="constant",
        warmup=2**14,
        per_octave=3,
        octaves=5,
        train_windows=128,
    ),
    batches=Batch(
        shapes=((16, 2), (32, 2)),
        tokens=2**18,
        reference=8192,
        batches=(1, 4, 16, 64, 128),
        factors=(0.35, 0.7, 1.4),
        noisy=(16,),
        noise=4,
        warmup=16,
    ),
    shapes=Shapes(
        bases=(Base(98304, 2, 8, (1, 8, 16), (1, 3, 4, 8), (4, 16, 32)),), tokens=2**18, seeds=2, base_seeds=3
    ),
    recurrent=Recurrent(shapes=tuple((d, depth) for depth in (1, 2) for d in (16, 32, 48)), factors=(1.0,)),
    universal=Universal(shapes=tuple(((d, 1), reuse) for d in (16, 32, 48) for reuse in (2, 4))),
    schedules=Schedules(shape=(16, 2), tokens=2**19, seeds=1),
    context=Context(shapes=((16, 2), (32, 2), (64, 2)), recurrent=(), tokens=2**19, n_ctx=256, short=8, windows=512),
)

CPU_3H = _cpu(
    "cpu-3h",
    size=Size(
        tokens=2**22,
        shapes=((8, 2), (16, 2), (24, 2), (32, 2), (40, 2), (48, 2), (64, 2), (96, 2), (128, 2)),
        depths=(
            *((d, 0) for d in (32, 64, 128)),
            *((d, 1) for d in (16, 32, 64, 96)),
            *((d, 3) for d in (16, 32, 64)),
            *((d, 6) for d in (16, 32, 56)),
        ),
        replicated=((8, 2), (32, 2)),
        seeds=3,
        per_octave=2,
        octaves=9,
        noise=8,
    ),
    data=Data(
        shapes=((8, 2), (16, 2), (32, 2), (64, 2), (128, 2)),
        unique=(
            (2**14, 24),
            (2**15, 24),
            (2**16, 24),
            (2**17, 64),
            (2**18, 48),
            (2**19, 32),
            (2**20, 16),
            (2**23, 1),
        ),
        at=24_576,
        longest=2**23,
        rated=2**22,
        schedule="constant",
        warmup=2**14,
        per_octave=3,
        octaves=6,
        train_windows=256,
    ),
    batches=Batch(
        shapes=((16, 2), (64, 2)),
        tokens=2**20,
        reference=8192,
        batches=(1, 2, 4, 8, 16, 32, 64, 128, 256),
        factors=(0.35, 0.7, 1.4),
        noisy=(16, 64),
        noise=8,
        warmup=16,
    ),
    shapes=Shapes(
        bases=(Base(98304, 2, 8, (0.5, 1, 2, 8, 16, 32), (1, 3, 4, 6, 8, 12), (4, 16, 32, 64)),),
        tokens=2**20,
        seeds=2,
        base_seeds=3,
    ),
    recurrent=Recurrent(
        shapes=((16, 1), (32, 1), (64, 1), (16, 2), (32, 2), (64, 2), (16, 4), (32, 4), (48, 4)), factors=(0.5, 1.0)
    ),
    universal=Universal(
        shapes=(
            *(((16, 1), reuse) for reuse in (2, 4, 8)),
            *(((32, 1), reuse) for reuse in (2, 4, 8)),
            *(((48, 1), reuse) for reuse in (2, 4)),
            ((24, 1), 8),
        )
    ),
    schedules=Schedules(shape=(32, 2), tokens=2**20, seeds=2),
    context=Context(
        shapes=((16, 2), (32, 2), (64, 2), (128, 2)),
        recurrent=(((56, 1), 1.0), ((112, 1), 1.0)),
        tokens=2**21,
        n_ctx=256,
        short=8,
        windows=1024,
    ),
)

# One large accelerator for an hour. 100 M tokens of English at a vocabulary of 512, batches of 4096 tokens; rates of
# the sweep, two decades of N beyond it.
GPU_1H = Budget(
    "gpu-1h",
    n_vocab=512,
    n_ctx=128,
    batch=32,
    d_head=16,
    windows=512,
    size=Size(
        tokens=3 * 2**24,
        shapes=(
            (16, 2),
            (32, 2),
            (48, 2),
            (64, 2),
            (96, 2),
            (128, 2),
            (128, 4),
            (192, 4),
            (256, 4),
            (256, 6),
        ),
        depths=(
            *((d, 0) for d in (64, 128, 256)),
            *((d, 1) for d in (32, 64, 128, 256)),
            *((d, depth) for depth in (3, 6) for d in (32, 64, 128)),
        ),
        replicated=((16, 2), (64, 2)),
        seeds=3,
        per_octave=2,
        octaves=9,
        noise=8,
    ),
    data=Data(
        shapes=((32, 2), (64, 2), (128, 2), (192, 4), (384, 6)),
        unique=(
            (2**17, 24),
            (2**18, 24),
            (2**19, 24),
            (2**20, 24),
            (2**21, 16),
            (2**22, 12),
            (2**23, 8),
            (3 * 2**24, 1),
        ),
        at=393_216,
        longest=3 * 2**24,
        rated=3 * 2**24,
        schedule="constant",
        warmup=2**18,
        per_octave=3,
        octaves=6,
        train_windows=256,
    ),
    batches=Batch(
        shapes=((64, 2), (192, 4)),
        tokens=2**22,
        reference=2**15,
        batches=(2, 4, 8, 16, 32, 64, 128, 256, 512),
        factors=(0.35, 0.7, 1.4),
        noisy=(32, 128),
        noise=8,
        warmup=32,
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
    recurrent=Recurrent(shapes=tuple((d, depth) for depth in (1, 2) for d in (32, 64, 128)), factors=(0.5, 1.0)),
    universal=Universal(shapes=tuple(((d, 1), reuse) for d in (32, 64, 128) for reuse in (2, 4, 8))),
    schedules=Schedules(shape=(128, 2), tokens=2**24, seeds=1),
    context=Context(
        shapes=((32, 2), (64, 2), (128, 2), (192, 4), (256, 6)),
        recurrent=(),
        tokens=2**24,
        n_ctx=512,
        short=8,
        windows=1024,
    ),
    accelerated=True,
)

# Kaplan et al. (2020) secs. 2.2, 2.3, 4.2: 2.5e5 updates of 2^19 tokens for every run. Sizes as in their plots.
_B = 512 * 1024
_U = 21_504 * 2**10  # 2.2e7 tokens; 2^10 times as many are the whole
POD = Budget(
    "pod",
    n_vocab=pod.VOCABULARY,
    n_ctx=1024,
    batch=512,
    d_head=64,
    windows=512,
    size=Size(
        tokens=pod.STEPS * _B,
        shapes=(
            (16, 2),
            (32, 2),
            (64, 2),
            (128, 2),
            (256, 2),
            (256, 4),
            (512, 4),
            (512, 8),
            (768, 12),
            (1024, 24),
            (1280, 36),
            (1600, 48),
        ),
        depths=(
            (8, 1),
            *((d, 0) for d in (256, 512, 1024)),
            *((d, depth) for depth in (1, 3, 6) for d in (64, 128, 256, 512, 1024)),
            (768, 207),
        ),
        replicated=((128, 2), (512, 8)),
        seeds=3,
        per_octave=2,
        octaves=12,
        noise=8,
    ),
    data=Data(
        shapes=((128, 2), (256, 4), (512, 8), (768, 12), (1024, 24), (1280, 36)),
        unique=tuple((_U * 2**k, pod.STEPS) for k in (0, 1, 2, 3, 4, 5, 6, 10)),
        at=393_216,
        longest=pod.STEPS * _B,
        rated=pod.STEPS * _B,
        schedule="cosine",
        warmup=pod.WARMUP * _B,
        per_octave=3,
        octaves=12,
        train_windows=512,
    ),
    batches=Batch(
        shapes=((256, 4), (768, 12)),
        tokens=2**34,
        reference=2**19,
        batches=tuple(2**k for k in range(3, 13)),
        factors=(0.5, 1.0, 2.0),
        noisy=(64, 512),
        noise=8,
        warmup=pod.WARMUP,
    ),
    shapes=Shapes(
        bases=(
            Base(50_331_648, 16, 64, (0.5, 1, 2, 8, 16, 32), (2, 3, 6, 8, 24, 48, 64), (16, 32, 128, 256)),
            Base(25_165_824, 8, 64, (), (), (16, 32, 128, 256)),
            Base(273_678_336, 24, 64, (), (2, 4, 8, 48, 96), ()),
            Base(1_474_560_000, 48, 64, (), (6, 12, 24, 96, 207), ()),
        ),
        tokens=pod.STEPS * _B,
        seeds=1,
        base_seeds=2,
    ),
    recurrent=Recurrent(
        shapes=tuple((d, depth) for depth in (1, 2, 4) for d in (64, 128, 256, 512, 1024, 2048)), factors=(0.5, 1.0)
    ),
    universal=Universal(shapes=tuple(((d, 1), reuse) for d in (128, 256, 512, 1024, 2048) for reuse in (2, 4, 8))),
    schedules=Schedules(shape=(256, 4), tokens=pod.STEPS * _B, seeds=1),
    context=Context(
        shapes=((128, 2), (256, 4), (512, 8), (768, 12), (1024, 24), (1280, 36)),
        recurrent=(),
        tokens=pod.STEPS * _B,
        n_ctx=1024,
        short=8,
        windows=1024,
    ),
    accelerated=True,
    paper=True,
)

BUDGETS = {budget.name: budget for budget in (TINY, CPU_20M, CPU_3H, GPU_1H, POD)}
DEFAULT = "cpu-20m"


def named(budget: str, transfer: tuple[str, ...] = (), rates: Text = "python") -> Budget:
    """The budget of that name.

    Args:
        transfer: where there is some, in place of the budget's own.
        rates: the text whose learning rates the runs take.
    """
    if budget not in BUDGETS:
        raise InputError(f"budget={budget}: wanted one of {', '.join(BUDGETS)}")
    if rates not in TEXTS:
        raise InputError(f"rates={rates}: wanted one of {', '.join(TEXTS)}")
    found = dataclasses.replace(BUDGETS[budget], rates=rates)
    return dataclasses.replace(found, transfer=transfer) if transfer else found
