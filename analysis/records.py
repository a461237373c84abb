"""The records of a study as tables: its runs, their learning curves and their losses by position, in one reading."""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from analysis.noise_scale import noise_estimates
from analysis.onset import BEYOND, onset
from analysis.table import Table
from scaling import counts, folders, histories, kinds, schedules, study
from scaling.checked import Damaged
from scaling.config import COOLED, SEMANTICS, DataConfig, ModelConfig, RunConfig
from scaling.data import mixture
from scaling.errors import InputError
from scaling.histories import BY_TOKEN, History
from scaling.study import Made, Pack, PlannedRun, StudyFolder

OTHERS = (
    "noise_sq",
    "transfer_loss",
    "train_eval_loss",
    *BY_TOKEN,
    "frequency_loss",
)  # of a history, measured where a config asks for them


class Origin(NamedTuple):
    """Where and with what packs were trained; each empty where their records do not tell."""

    machine: str
    versions: Mapping[str, str]  # package to version
    code: str = ""  # scaling.own_code.digest
    settings: Mapping[str, str] = MappingProxyType({})  # scaling.numerics.settings

    def __str__(self) -> str:
        """All but the machine, for people."""
        pairs = {**self.versions, **({"code": self.code} if self.code else {}), **self.settings}
        return ", ".join(f"{name} {value}" for name, value in pairs.items())


@dataclasses.dataclass(frozen=True)
class Records:
    """What the packs of a study left behind. Columns are described in docs/table.md.

    Attributes:
        runs: one row per run.
        curves: one row per run and evaluation after the first update. `step`, `tokens`, `epochs` and `flops` are those
            so far, `steps` and `unique_tokens` those of the run, `train_loss` the mean since the evaluation before.
        positions: the last held-out loss of each run by position in the context: 1 has no token before it, and is not
            there in runs of the older model, whose windows began with a token that was an input only.
        answers: where `eval.answers` asks for them, one row per run, task, evaluation and token of the answer: its
            `answer_loss`, `right`, `brier` and `exact`, which is of the answer up to it (scaling.histories).
        wrong: of these runs by their id, for each task of `eval.tasks` and question, how many tokens of the answer are
            not the likeliest in the trained model. i8 k i
        scores: where `eval.scores` asks for them, of these runs by their id, what the trained model says of the texts
            of each source of `eval.scored`, as `scaling.data.pairs.scored` gives them. f32 k 2n
        windows: of these runs by their id, the loss of the trained model on each held-out window. f32 w
        origins: the different machines, versions, code and settings that trained them, in the order of the packs.
        configs: of every run of the study by its id, with or without a record; of data that are the same by two names
            the name of the first.
    """

    runs: Table
    curves: Table
    positions: Table
    origins: tuple[Origin, ...]
    configs: Mapping[str, RunConfig] = dataclasses.field(default_factory=dict, repr=False)
    answers: Table | None = dataclasses.field(default=None, repr=False)
    wrong: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)
    scores: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)
    windows: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True)
class _Run:
    """A run, and what of the history of its pack is its own."""

    plan: PlannedRun
    status: str
    train_loss: np.ndarray  # s
    eval_step: np.ndarray  # e
    eval_loss: np.ndarray  # e t
    seconds: float
    updates_trained: float  # computed for it: of a trunk that several runs share, a part
    others: Mapping[str, np.ndarray]  # what else was measured, by its name in the history. e ...
    wrong: np.ndarray | None = None  # tokens of each answer, after the last update. k i
    scores: np.ndarray | None = None  # of each text, after the last update. k i
    windows: np.ndarray | None = None  # loss of each held-out window, after the last update. w

    @property
    def loss(self) -> np.ndarray:
        """The held-out loss at each evaluation. e"""
        return self.eval_loss.mean(-1, dtype=np.float64)

    @property
    def first(self) -> int:
        """The position of the first loss: 1 is predicted from nothing, which no token of the older windows was."""
        return 2 if self.plan.semantics == 1 else 1


def _runs_of(pack: Pack, history: History) -> Iterator[_Run]:
    """The runs of a pack. They may differ in length: rows after a run's end, and evaluations of others, are not its."""
    steps, lost = histories.steps(history), histories.diverged(history)
    work = history.get("updates_trained", steps).astype(np.float64)
    share = work / work.sum() if work.sum() else np.full(len(work), 1 / len(work))
    for r, run in enumerate(pack.runs):
        own = np.isin(history["eval_step"], run.config.eval_steps) & (history["eval_step"] <= steps[r])
        train_loss, eval_loss = history["train_loss"][: steps[r], r], history["eval_loss"][own, r]
        if history["finished"] or steps[r] == run.config.steps:
            status = "diverged" if lost[r] else "done"
        else:
            # Before the end a loss above the first may still fall: only one that is not a number is lost already.
            status = "running" if np.isfinite(train_loss).all() and np.isfinite(eval_loss).all() else "diverged"
        others = {name: history[name][own, r] for name in OTHERS if name in history}
        seconds = float(history["seconds"] * share[r])
        ends = [
            history[name][r] if name in history and status == "done" else None
            for name in ("answer_wrong", "scores", "window_loss")
        ]
        yield _Run(
            run, status, train_loss, history["eval_step"][own], eval_loss, seconds, float(work[r]), others, *ends
        )


def read(path: str | Path) -> Records:
    """The records of the study in a folder; the history of each pack is read once.

    Raises:
        InputError: not the folder of a study, or no run has a record yet.
    """
    whole = study.current(folders.place(path))
    with study.at_a_glance(whole):
        return _read(whole, path)


def _read(whole: StudyFolder, path: str | Path) -> Records:
    wanted = set(whole.runs)
    damaged: dict[str, str] = {pack.id: damage for pack in whole.packs if (damage := whole.damage(pack))}
    found: dict[str, _Run] = {}
    trained: list[tuple[list[Origin], int]] = []  # in which order by what, and how many runs
    for pack in whole.packs:
        history = _history(whole, pack, damaged)
        if history is not None and len(history["eval_step"]):
            found |= {run.plan.id: run for run in _runs_of(pack, history)}
        done = whole.done(pack) or study.origin_so_far(whole.pack_folder(pack))
        trained.append(
            ([_origin(told) for told in (*done.get("earlier", ()), done)], sum(run.id in wanted for run in pack.runs))
        )
    runs = [found[id] for id in whole.runs if id in found]
    if not runs and damaged:
        first = next(iter(damaged.values()))
        raise InputError(f"{first}; no run has another record, and scaling study run trains them again")
    if not runs:
        raise InputError(f"{path}: no run has a record yet; continue with scaling study run")
    waiting = len(whole.runs) - len(runs)
    older = sum(run.plan.semantics < SEMANTICS for run in runs)
    notes = (
        *((f"{waiting} runs of the study have no record yet",) if waiting else ()),
        *((f"{older} of {len(runs)} runs are of an older model",) if older else ()),
        *(
            f"the record of pack {pack.id} is damaged, "
            + ("its checkpoint tells" if any(run.id in found for run in pack.runs) else "its runs are left out")
            + f"; scaling study run mends it: {damaged[pack.id]}"
            for pack in whole.packs
            if pack.id in damaged
        ),
        *unlike(trained),
    )
    curves = _joined([_curve(run) for run in runs])
    positions = _joined([_positions(run) for run in runs])
    answers = _joined([_answers(run, k) for run in runs for k in range(len(run.plan.config.eval.tasks))])
    origins = [origin for by, _ in trained for origin in by if any(origin)]
    return Records(
        Table.from_rows(
            [_row(run) | more for run, more in zip(runs, _of_texts(runs), strict=True)], str(path), recorded=True
        ).with_notes(*notes),
        # Before the first update no run has a curve, which is no mistake in a table.
        Table.from_columns(curves, str(path), recorded=True).with_notes(*notes)
        if len(curves["step"])
        else _empty(curves, str(path)),
        Table.from_columns(positions, str(path), recorded=True).with_notes(*notes)
        if len(positions["loss"])
        else _empty(positions, str(path)),
        tuple(origin for i, origin in enumerate(origins) if origin not in origins[:i]),
        _by_one_name([run for pack in whole.all_packs for run in pack.runs if run.id in wanted]),
        Table(answers, np.arange(1, len(answers["run"]) + 1), str(path)) if answers else None,
        {run.plan.id: run.wrong for run in runs if run.wrong is not None},
        {run.plan.id: run.scores for run in runs if run.scores is not None},
        {run.plan.id: run.windows for run in runs if run.windows is not None},
    )


def _by_one_name(runs: Sequence[PlannedRun]) -> dict[str, RunConfig]:
    names: dict[str, DataConfig] = {}
    for run in runs:
        names.setdefault(run.tokens_id, run.config.data)
    return {run.id: dataclasses.replace(run.config, data=names[run.tokens_id]) for run in runs}


def curves_of(whole: StudyFolder, packs: Sequence[Pack]) -> Table:
    """The learning curves of some packs alone, of unfinished ones as far as they are saved; nothing of damaged ones."""
    runs: dict[str, _Run] = {}
    for pack in packs:
        history = _history(whole, pack, {})
        if history is not None and len(history["eval_step"]):
            runs |= {run.plan.id: run for run in _runs_of(pack, history)}
    if not any((run.eval_step > 0).any() for run in runs.values()):
        return _empty({"run": np.array([], str), "step": np.zeros(0), "loss": np.zeros(0)}, str(whole.path))
    return Table.from_columns(_joined([_curve(run) for run in runs.values()]), str(whole.path), recorded=True)


def unlike(trained: Sequence[tuple[Sequence[Origin], int]]) -> list[str]:
    """One line where other code, another JAX, device or setting trained some of the runs, as far as records tell.

    Args:
        trained: by what in turn, and how many runs that were.
    """
    said = []
    for name in ("code", "jax", "jaxlib", "settings"):
        runs: collections.Counter[str] = collections.Counter()
        for by, n in trained:
            values = [_value(origin, name) for origin in by]
            if any(values):  # not told by older records
                runs[" then ".join(value or "unknown" for value, _ in itertools.groupby(values))] += n
        if len(runs) > 1 or any(" then " in value for value in runs):
            values = ", ".join(f"{value} ({n} {'run' if n == 1 else 'runs'})" for value, n in runs.items())
            said.append(f"{name} {values}" if name != "settings" else values)
    return [f"the runs were not all trained alike: {'; '.join(said)}"] if said else []


def _value(origin: Origin, name: str) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in origin.settings.items())
    return {"code": origin.code, "settings": settings}.get(name, origin.versions.get(name, ""))


def _origin(told: Mapping[str, Any]) -> Origin:
    return Origin(told.get("machine", ""), told.get("versions", {}), told.get("code", ""), told.get("settings", {}))


def _history(whole: StudyFolder, pack: Pack, damaged: dict[str, str]) -> History | None:
    """A pack's history; what is wrong with it becomes an entry of `damaged`."""
    try:
        return study.history(whole, pack)
    except Damaged as error:
        damaged[pack.id] = str(error)
        return None


def _empty(columns: dict[str, np.ndarray], source: str) -> Table:
    return Table(columns, np.arange(0), source)


def _joined(parts: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Columns of many runs under one another; what is not an array is that of all rows of its run."""
    lengths = [next(len(values) for values in part.values() if isinstance(values, np.ndarray)) for part in parts]
    return {
        name: np.concatenate(
            [np.broadcast_to(part.get(name, math.nan), n) for part, n in zip(parts, lengths, strict=True)]
        )
        for name in dict.fromkeys(name for part in parts for name in part)
    }


def _row(run: _Run) -> dict[str, Any]:
    config, model = run.plan.config, run.plan.config.model
    step, loss = run.eval_step, run.loss
    finite = np.where(np.isfinite(loss), loss, np.inf)
    done = len(run.train_loss)
    tokens = done * config.batch_tokens
    half = np.flatnonzero(step == round(done / 2))
    per_token = counts.flops_per_token(model)
    bytes_per_token, entropy_rate = run.plan.bytes_per_token, run.plan.entropy_rate
    last = run.train_loss[-max(1, done // 20) :]
    warmup_tokens = config.optim.warmup_tokens
    transfer = run.others["transfer_loss"][-1] if config.eval.transfer else ()
    onset_at, first = _onset(run), step[step > 0][:1]
    return {
        "run": run.plan.id,
        "status": run.status,
        **counts.params(model),
        "tokens": tokens,
        "unique_tokens": config.U,
        "epochs": tokens / config.U,
        "batch_tokens": config.batch_tokens,
        "steps": done,
        **{name: tokens * flops for name, flops in per_token.items()},
        "flops_trained": run.updates_trained * config.batch_tokens * per_token["flops"],
        "loss": loss[-1],
        "loss_min": finite.min(),
        "tokens_at_min": step[finite.argmin()] * config.batch_tokens,
        "loss_half": loss[half[0]] if half.size else math.nan,
        "loss_initial": loss[0],
        # The bytes are those of all tokens, the loss may be of answers alone, or of pairs.
        "bits_per_byte": loss[-1] / math.log(2) / bytes_per_token if config.by_token else math.nan,
        "train_loss": last.mean(dtype=np.float64) if done else math.nan,
        **{f"loss_on_{name}": float(loss) for name, loss in zip(config.eval.transfer, transfer, strict=True)},
        **({"loss_on_train": float(run.others["train_eval_loss"][-1])} if "train_eval_loss" in run.others else {}),
        **{f"loss_of_part_{k + 1}": float(loss) for k, loss in enumerate(run.others.get("frequency_loss", [()])[-1])},
        "onset": onset_at,
        "onset_is_first": float(onset_at <= first[0] * config.batch_tokens) if len(first) else math.nan,
        "learning_rate": config.optim.learning_rate,
        "learning_rate_sum": rate_sum(config),
        "schedule": config.optim.schedule,
        "cooldown": config.optim.decay if config.optim.schedule in COOLED else math.nan,
        "warmup": config.optim.warmup if warmup_tokens is None else config.warmup_steps / config.steps,
        "optimizer": config.optim.optimizer,
        "weight_decay": config.optim.weight_decay,
        "independent_decay": float(config.optim.independent_decay),
        "parametrization": model.parametrization,
        "seed": config.seed,
        **{
            name: getattr(model, name)
            for name in ("kind", "reuse", "d_model", "n_layer", "n_head", "d_attn", "d_ff", "n_ctx", "n_vocab")
        },
        "experts": model.experts,
        "routing": model.routing if model.experts > 1 else "",
        "capacity": model.capacity if model.experts > 1 else math.nan,
        "active_share": model.top_k / model.experts,
        **_parts(model),
        "dropout": model.dropout,
        "dtype": config.dtype,
        "data": config.data.source,
        "tokens_id": run.plan.tokens_id,
        "bytes_per_token": bytes_per_token,
        "loss_floor": entropy_rate * bytes_per_token if entropy_rate else math.nan,
        "seconds": run.seconds,
    }


def _of_texts(runs: Sequence[_Run]) -> list[dict[str, float]]:
    """Of each run, what is known of its text, where any run's is made of others."""
    if not any(run.plan.made for run in runs):
        return _shares(runs)
    none = dict.fromkeys(Made._fields, math.nan)
    made = [
        {f"train_{name}": value for name, value in (run.plan.made._asdict() if run.plan.made else none).items()}
        for run in runs
    ]
    return [shares | of for shares, of in zip(_shares(runs), made, strict=True)]


def _shares(runs: Sequence[_Run]) -> list[dict[str, float]]:
    """Of each run, the share that it has of each source, where any run is trained on a mixture."""
    sources = [run.plan.config.data.source for run in runs]
    if not any(map(mixture.is_one, sources)):
        return [{} for _ in runs]
    each = [{str(part): part.share for part in mixture.parse(source)} for source in sources]
    names = dict.fromkeys(name for shares in each for name in shares)
    return [{f"share_{name}": shares.get(name, 0.0) for name in names} for shares in each]


def _parts(model: ModelConfig) -> dict[str, Any]:
    """The parts that a model is put together from; a kind without attention has none of those."""
    parts = {
        "norm": model.norm,
        "feed_forward": model.feed_forward,
        **{name: float(getattr(model, name)) for name in ("qk_norm", "tied", "bias")},
        **{name: getattr(model, name) for name in ("z_loss", "softcap")},
    }
    if "positions" not in kinds.of(model).fields:
        none = dict.fromkeys(("d_head", "n_kv_head", "rotary_base", "position_scale"), math.nan)
        return parts | none | {"positions": ""}
    return parts | {
        "d_head": model.d_head,
        "n_kv_head": model.d_kv // model.d_head,
        "positions": model.positions,
        "rotary_base": model.rotary_base if model.positions == "rotary" else math.nan,
        "position_scale": model.position_scale if model.positions in ("learned", "sinusoidal") else math.nan,
    }


def _onset(run: _Run) -> float:
    """The tokens after which the run's model began to use its context; NaN where it did not."""
    later = run.eval_step > 0
    loss = run.eval_loss[later].astype(np.float64)  # e t
    if not run.plan.config.by_token:  # no loss is of the context alone
        return math.nan
    near, far = 2 - run.first, BEYOND + 1 - run.first  # places of the positions 2 and BEYOND + 1
    if loss.shape[1] <= far:
        return math.nan
    at = onset(run.eval_step[later] * run.plan.config.batch_tokens, loss[:, near], loss[:, far:].mean(-1))
    return float(np.round(at))


def rate_sum(config: RunConfig) -> float:
    """The learning rates of all updates of the run, added up."""
    o = config.optim
    return o.learning_rate * _sum_of_shape(o.schedule, config.steps, config.warmup_steps, config.falling_steps, o.end)


@functools.cache  # the runs of a study have few schedules
def _sum_of_shape(schedule: str, steps: int, warmup: int, falling: int, end: float) -> float:
    """What `scaling.optim.Schedule` adds up to at a peak of 1; in NumPy, as reading records need not wait for Optax."""
    return float(schedules.shape(schedule, steps, warmup, falling, end).sum())


def _curve(run: _Run) -> dict[str, Any]:
    config = run.plan.config
    later = run.eval_step > 0
    ends = run.eval_step[later]
    tokens = ends * config.batch_tokens
    # Sums up to each evaluation; a loss that is not a number spoils the later ones, of a run that is lost anyway.
    total = np.concatenate(([0.0], np.cumsum(run.train_loss, dtype=np.float64)))
    since = np.concatenate(([0], ends[:-1]))
    return {
        "run": run.plan.id,
        "status": run.status,
        "params": config.model.N,
        **{name: getattr(config.model, name) for name in ("kind", "reuse", "n_layer")},
        "step": ends,
        "steps": config.steps,
        "tokens": tokens,
        "unique_tokens": config.U,
        "epochs": tokens / config.U,
        "batch_tokens": config.batch_tokens,
        "flops": tokens * counts.flops_per_token(config.model)["flops"],
        "loss": run.loss[later],
        "train_loss": (total[ends] - total[since]) / (ends - since),
        **({"loss_on_train": run.others["train_eval_loss"][later]} if "train_eval_loss" in run.others else {}),
        "learning_rate": config.optim.learning_rate,
        "schedule": config.optim.schedule,
        "warmup": config.warmup_steps / config.steps,
        "cooldown": config.decay_steps / config.steps if config.decay_steps else math.nan,
        "learning_rate_end": config.optim.end,
        "seed": config.seed,
        **{f"loss_on_{name}": run.others["transfer_loss"][later, k] for k, name in enumerate(config.eval.transfer)},
        **({} if not config.by_token else _by_octave(run.eval_loss[later], run.first)),
        **(_noise(run, later) if "noise_sq" in run.others else {}),
    }


def _by_octave(loss: np.ndarray, first: int) -> dict[str, np.ndarray]:
    """Losses e t as columns `loss_at_T`, T = 1, 2, 4, ...: the mean over the positions above T/2, up to T.

    Args:
        first: the position of the first loss.
    """
    last = loss.shape[1] + first - 1
    ends = [T for k in range(last.bit_length()) if (T := 2**k) >= first]
    return {
        f"loss_at_{T}": loss[:, max(T // 2 + 1 - first, 0) : T + 1 - first].mean(-1, dtype=np.float64) for T in ends
    }


def _noise(run: _Run, rows: np.ndarray) -> dict[str, np.ndarray]:
    """tr(Sigma), per token, and |G|^2 of the gradient at the evaluations `rows`, from the finest parts of the batch and
    the whole: as `noise_scale.noise_scale` wants them.
    """
    config = run.plan.config
    squares = run.others["noise_sq"][rows].astype(np.float64)  # e levels
    small, big = (batch * config.model.n_ctx for batch in (config.noise_batches[0], config.batch))
    trace, square = noise_estimates(squares[:, 0], squares[:, -1], small, big)
    return {"noise_trace": trace, "grad_square": square}


def _answers(run: _Run, k: int) -> dict[str, Any]:
    """The answers to the k-th task, by evaluation and token."""
    config = run.plan.config
    own = np.isfinite(run.others["answer_loss"][-1, k])  # tokens of its answers
    e, a = np.indices((len(run.eval_step), int(own.sum()))).reshape(2, -1)
    found = {name: run.others[name][e, k, a].astype(np.float64) for name in BY_TOKEN}
    return {
        "run": run.plan.id,
        "status": run.status,
        "params": config.model.N,
        "seed": config.seed,
        "task": config.eval.tasks[k],
        "step": run.eval_step[e],
        "steps": config.steps,
        "tokens": run.eval_step[e] * config.batch_tokens,
        "loss": run.loss[e],
        "token": a + 1,
        **{name.removeprefix("answer_") if name != "answer_loss" else name: found[name] for name in BY_TOKEN},
    }


def _positions(run: _Run) -> dict[str, Any]:
    loss = run.eval_loss[-1].astype(np.float64)  # t
    if not run.plan.config.by_token:
        loss = loss[:0]  # weighed, and 0 in the questions; or of a pair
    return {
        "run": run.plan.id,
        "status": run.status,
        "params": run.plan.config.model.N,
        "kind": run.plan.config.model.kind,
        "position": np.arange(run.first, run.first + len(loss)),
        "loss": loss,
    }
