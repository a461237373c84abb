"""Records of the experiments on shape, architecture, schedule and context, drawn from planted truths.

The columns are those that a study writes, with losses at every position and, along training, on other texts. Every
truth is an argument: what a figure claims is held against what was planted.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import kaplan_records
import numpy as np
from kaplan_records import BATCH, NOISE, TOKENS, TRUTH, Trained, evaluations, trained

from analysis.records import Records
from analysis.table import Table

TEXTS = ("books", "wiki")  # other texts
LADDER = ((16, 2), (24, 2), (32, 2), (48, 2), (64, 2), (96, 3))  # d_model, n_layer
STEP = evaluations(TOKENS // BATCH)
DEFAULT = 2.0**-8  # peak rate; a cosine's rates add up to 32
FIRST = 6.0  # loss of the first position
POSITION = (3.0, 0.5)  # b and c of L(T) = a + b T^-c


def at_positions(loss: float, n_ctx: int, b: float = POSITION[0], c: float = POSITION[1]) -> np.ndarray:
    """Losses a + b T^-c whose mean is `loss`; t"""
    T = np.arange(1, n_ctx + 1)
    return loss + b * (T**-c - np.mean(T**-c))


def study(runs: Iterable[Trained], name: str, along: Callable[[Trained], np.ndarray] | None = None) -> Records:
    """The tables of these runs, positions and octaves included, and the texts of `loss_on_NAME` along training.

    Args:
        along: the last losses at each position of a run, t; at_positions of its last loss by default.
    """
    runs = [dataclasses.replace(r, row=r.row | {"run": r.row["run"] or f"{name}-{i:03d}"}) for i, r in enumerate(runs)]
    base = kaplan_records.records(runs, name)
    rows: list[dict[str, Any]] = []
    positions: dict[str, list[Any]] = {"run": [], "status": [], "params": [], "position": [], "loss": []}
    for run in runs:
        n_ctx = int(run.row["n_ctx"])
        last = along(run) if along else at_positions(run.row["loss"], n_ctx)
        for key, values in (("run", [run.row["run"]] * n_ctx), ("status", ["done"] * n_ctx),
                            ("params", [run.row["params"]] * n_ctx), ("position", range(1, n_ctx + 1)),
                            ("loss", last)):  # fmt: skip
            positions[key] += list(values)
        for step, loss in zip(run.step, run.loss, strict=True):
            now = {f"loss_on_{t}": loss * run.row[f"loss_on_{t}"] / run.row["loss"] for t in TEXTS
                   if f"loss_on_{t}" in run.row}  # fmt: skip
            # Position T is learnt after about 20 sqrt(T) updates.
            for T in 2 ** np.arange(int(math.log2(n_ctx)) + 1):
                share = 1 / (1 + step / (20 * math.sqrt(T)))
                now[f"loss_at_{T}"] = last[T // 2 : T].mean() + share * (6.2 - last[T // 2 : T].mean())
            rows.append(now)
    names = dict.fromkeys(key for row in rows for key in row)
    more = {key: np.array([row.get(key, math.nan) for row in rows]) for key in names}
    return dataclasses.replace(
        base, curves=base.curves.with_columns(**more), positions=Table.from_columns(positions, name)
    )


def learnt(N: float, factor: float = 1.0) -> np.ndarray:
    """The losses of a size along its training, by Kaplan's law, times a factor."""
    return TRUTH.loss(N, STEP, BATCH) * factor


def run(shape: tuple[int, int], factor: float, *, n_ctx: int = 64, uses: int = 1, **changes: Any) -> Trained:
    """A run of that shape whose losses are the law's of `uses` N, times a factor."""
    N = changes.get("params", 12 * shape[1] * shape[0] ** 2)
    return trained(shape, STEP, learnt(N * uses, factor), n_ctx=n_ctx, **changes)


def size(
    noise: float = NOISE,
    seed: int = 0,
    *,
    depths: Sequence[int] = (1, 2, 3, 6),
    shallow: float = 1.04,
    deeper: float = 0.0,
    embeddings_count: bool = False,
    offsets: Mapping[str, float] | None = None,
    transfer_noise: float = 0.001,
) -> Records:
    """A ladder, and depths at three widths; corners in three seeds; the other texts a fixed share above the loss.

    Args:
        deeper: of ln loss per doubling of the depth beyond two layers, of models off the ladder.
        shallow: times the law, where a model has one layer.
        embeddings_count: whether the law is one of N with embeddings, and not of N.
        offsets: of each text, loss there over loss - 1.
    """
    rng = np.random.default_rng(seed)
    shapes = dict.fromkeys([*LADDER, *((d, n) for d in (16, 32, 64) for n in depths)])
    plans = [*((s, 0) for s in shapes), *((s, k) for s in (LADDER[0], LADDER[-1]) for k in (1, 2))]
    runs = []
    for shape, k in plans:
        layers = shape[1]
        factor = math.exp(noise * rng.normal()) * (shallow if layers == 1 else 1.0)
        if layers > 2 and shape not in LADDER:
            factor *= math.exp(deeper * math.log2(layers / 2))
        own = run(shape, factor, seed=k)
        if embeddings_count:
            own = trained(shape, STEP, learnt(own.row["params_embed"], factor), seed=k)
        texts = {
            f"loss_on_{t}": own.row["loss"] * (1 + (offsets or {"books": 0.1, "wiki": 0.2})[t])
            * math.exp(transfer_noise * rng.normal()) for t in TEXTS
        }  # fmt: skip
        runs.append(dataclasses.replace(own, row=own.row | texts))
    return study(runs, "size")


def shape(
    effect: Callable[[str, float], float] = lambda what, ratio: 0.0,
    noise: float = NOISE,
    seed: int = 1,
    seeds: int = 3,
    of_depth: float = 0.0,
) -> Records:
    """Three panels of shapes at N = 98,304, about; `effect` is the change of the loss at a ratio of a panel.

    Args:
        of_depth: change of ln of the other texts' loss over the loss, per doubling of the depth.
    """
    rng = np.random.default_rng(seed)
    base = {"d_model": 64, "n_layer": 2, "d_ff": 256, "n_head": 8, "d_attn": 64}
    shapes = [("", 1.0, base)]
    shapes += [("ff", f, base | {"d_ff": int(f * 64)}) for f in (1, 2, 8, 16)]
    shapes += [("aspect", d / n, base | {"d_model": d, "d_attn": d, "n_layer": n, "d_ff": 4 * d, "n_head": d // 8})
               for d, n in ((88, 1), (48, 4), (40, 5), (32, 8))]  # fmt: skip
    shapes += [("head", 64 / h, base | {"n_head": h}) for h in (1, 2, 4, 16)]
    runs = []
    for what, ratio, fields in shapes:
        for k in range(seeds):
            factor = (1 + effect(what, ratio)) * math.exp(noise * rng.normal())
            own = run((64, 2), factor, params=98304, seed=k, **fields)
            on = own.row["loss"] * math.exp(of_depth * math.log2(fields["n_layer"] / 2) + 0.001 * rng.normal())
            runs.append(dataclasses.replace(own, row=own.row | {f"loss_on_{t}": on * 1.1 for t in TEXTS}))
    return study(runs, "shape")


def lstm(
    above: Callable[[float], float] = lambda N: 0.02 * (N / 1e3) ** 0.25, noise: float = NOISE, seed: int = 2
) -> Records:
    """LSTMs of 1, 2 and 4 layers at three rates, of which the middle one is the best; `above` the Transformer's ln."""
    rng = np.random.default_rng(seed)
    runs = []
    for layers, N, rate in itertools.product((1, 2, 4), (6144, 24576, 98304), (0.003, 0.01, 0.03)):
        d = max(8, round(math.sqrt(N / (8 * layers))))
        factor = math.exp(above(N) + 0.03 * (rate != 0.01) + noise * rng.normal())
        runs.append(run((d, layers), factor, params=N, kind="lstm", learning_rate=rate))
    return study(runs, "lstm")


def universal(
    worth: float = 1.0,
    noise: float = NOISE,
    seed: int = 3,
    reuses: Sequence[int] = (2, 4, 8),
    *,
    layers: int = 2,
    factor: float = 1.0,
) -> Records:
    """Sizes at each reuse, with the loss of N reuse^worth parameters: worth 0 is nothing, 1 as much as new ones.

    Args:
        layers: distinct ones.
        factor: times the law, as `shallow` of `size` has it for Transformers of one layer.
    """
    rng = np.random.default_rng(seed)
    runs = []
    for d, reuse in itertools.product((16, 24, 32, 48), reuses):
        own = run((d, layers), factor * math.exp(noise * rng.normal()), kind="universal", reuse=reuse)
        gain = (reuse**worth) ** -TRUTH.alpha_N
        runs.append(trained((d, layers), STEP, own.loss * gain, kind="universal", reuse=reuse))
    return study(runs, "universal")


def schedule(
    short: float = 0.05, constant: float = 0.0, noise: float = NOISE, seed: int = 4, enough: float = 20.0
) -> Records:
    """Three kinds of schedule at six peaks; a sum of the rates below `enough` costs `short` per factor of e.

    A fourth kind has one peak alone, DEFAULT, which most schedules have therefore.
    """
    rng = np.random.default_rng(seed)
    runs = []
    plans = itertools.product(("cosine", "linear", "constant"), 2.0 ** -np.arange(6, 12))
    for kind, peak in (*plans, ("wsd", DEFAULT)):
        total = peak * STEP[-1] * (1.0 if kind == "constant" else 0.5)
        cost = short * max(0.0, math.log(enough / total)) + (constant if kind == "constant" else 0.0)
        factor = math.exp(cost + noise * rng.normal())
        runs.append(run((32, 2), factor, schedule=kind, learning_rate=peak, learning_rate_sum=total))
    return study(runs, "schedule")


def context(
    noise: float = NOISE,
    seed: int = 5,
    *,
    powers: Callable[[float], float] = lambda N: 0.45 + 0.05 * math.log10(N / 1e4),
    behind: float = 0.04,
    early: float = -0.05,
    text: float = 0.01,
) -> Records:
    """Transformers of 128 and 8 tokens of context, and LSTMs of 128.

    Args:
        powers: the exponent c of a size.
        behind: what the LSTM's loss is above at the last position, from nothing at the first, growing with ln T.
        early: of the short context's ln loss above the long one's at its positions.
        text: of each position's text, on ln of its loss; the same for all models of a context.
    """
    rng = np.random.default_rng(seed)
    of_text = {n: np.exp(text * rng.normal(size=n)) for n in (128, 8)}
    runs = []
    for shape in LADDER[:-1]:
        for n_ctx in (128, 8):
            runs.append(run(shape, math.exp(noise * rng.normal()), n_ctx=n_ctx))
        N = runs[-1].row["params"]
        runs.append(run(shape, math.exp(noise * rng.normal()), n_ctx=128, params=1.1 * N, kind="lstm"))

    def along(one: Trained) -> np.ndarray:
        n_ctx, N = int(one.row["n_ctx"]), float(one.row["params"])
        # The mean is the run's loss, and the first position, with nothing to go by, has the same for all.
        T = np.arange(1, 129) ** -powers(N)
        a = (one.row["loss"] - FIRST * T.mean()) / (1 - T.mean())
        long = a + (FIRST - a) * T
        if one.row["kind"] == "lstm":
            return long * of_text[128] * np.exp(behind * np.log(np.arange(1, 129)) / math.log(128))
        change = np.exp(early * np.minimum(np.arange(n_ctx), 1)) if n_ctx == 8 else 1.0
        return long[:n_ctx] * change * of_text[n_ctx]

    return study(runs, "context", along)


def ladder(of: Records | None = None, **fields: Any) -> dict[str, Records]:
    """The runs of `size` as those of the experiments that the figures take Transformers from."""
    return dict.fromkeys(("grid", "depth", "steps"), of or size(**fields))


def experiments() -> dict[str, Records]:
    """All of them, as the paper has it."""
    return {
        **ladder(),
        "shape": shape(),
        "lstm": lstm(),
        "universal": universal(0.8),
        "schedule": schedule(),
        "context": context(),
        "batch": kaplan_records.batch(),
    }
