"""A study on disk: expand its config, pack its runs, read and write study.json, read the status of its packs.

    DIR/study.json              the study, its layout, its packs and their runs, written before the first step
    DIR/packs/ID/claim-N        who trains the pack, or did (scaling.claims)
    DIR/packs/ID/N/checkpoints  what the pack leaves behind (scaling.checkpoints)
    DIR/packs/ID/N/origins.json where and with what it has been trained, from which update on each
    DIR/packs/ID/N/history.npz  the history of a finished pack by itself
    DIR/packs/ID/N/done.json    written last: what `status` shows, and the checksum of history.npz
    DIR/packs/ID/N/failed.json  how often the pack failed, and of what
    DIR/packs/ID/N/unreadable   what of these was damaged, set aside
    DIR/sources/HASH.py         the user's own code that runs are of: kept, never run
    DIR/planning                held by the process that writes study.json

What is read is checked as an archive's is (scaling.checked): types and bounds, ids against what they are hashes of,
checksums. A damaged study.json is refused; a damaged pack is said, and the others go on.

Nothing here imports JAX: the workers do.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from scaling import buckets, calibration, checked, claims, config, extensions, folders, histories, kinds, layout, split
from scaling.buckets import Bucket
from scaling.checked import Damaged, Field
from scaling.config import SEMANTICS, DataConfig, RunConfig, Study
from scaling.data import batches, encoding, mixture, pairs, sampled, tasks, token_set
from scaling.errors import InputError
from scaling.layout import Layout

T = TypeVar("T")
FORMAT = 1
ATTEMPTS = 2  # at a pack that fails, before it is left alone
ID = 12  # hexadecimal digits of the ids of runs and packs
TOKENS_ID = 16
MOST_COUNTED = 10**18  # parameters that a record may say a model has
OPTIONAL = ("steps", "updates_trained", "window_loss")  # arrays that older histories lack
DIRECTORY = 2**14  # bytes of the list of arrays in a history.npz, generously
BELOW = ("packs", "planning", "report", "sources")  # folders of a study's folder, which are no links to elsewhere
UNPACKING = (  # what NumPy and zipfile raise for a file that is not what it seems
    *(ValueError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError, OverflowError, OSError, EOFError),
    *(zlib.error, zipfile.BadZipFile),
)


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a study with its identity and what its tokens are."""

    id: str
    config: RunConfig
    tokens_id: str
    bytes_per_token: float  # of the held-out windows
    entropy_rate: float | None  # nats per byte, where the source knows it
    transfer_ids: tuple[str, ...] = ()  # of the tokens of `eval.transfer`, in its order
    semantics: int = SEMANTICS  # under which it was planned, and is trained
    counted: kinds.Counted | None = None  # of a model whose kind is the user's own (scaling.extensions)
    made: "Made | None" = None  # of a text that rules changed, or that is several


class Made(NamedTuple):
    """What is known of a text that is made of others."""

    bytes_per_token: float  # of the training stream
    documents: int  # read, with those left out
    near_duplicates: int  # left out


@dataclasses.dataclass(frozen=True)
class Pack:
    """Runs that are trained as one program."""

    id: str
    runs: tuple[PlannedRun, ...]

    @property
    def configs(self) -> tuple[RunConfig, ...]:
        return tuple(run.config for run in self.runs)

    @property
    def steps(self) -> int:
        """Updates of its longest run."""
        return max(run.config.steps for run in self.runs)

    @functools.cached_property
    def evaluations(self) -> np.ndarray:
        """Updates after which some run is evaluated, in order."""
        return np.array(sorted({step for run in self.runs for step in run.config.eval_steps}))

    @functools.cached_property
    def largest_history(self) -> int:
        """Bytes that its history.npz has at most."""
        room = DIRECTORY
        for name, values in _first_arrays(self).items():
            rows = self.steps if name in ("train_loss", "grad_norm") else len(self.evaluations)
            n = math.prod(n for n in values.shape if n) * (rows if values.shape[:1] == (0,) else 1)
            room += n * values.itemsize + 2**11
        return room


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the config's function `more` has answered so far, each time when all runs were done.

    Attributes:
        of: a hash of the runs of the config itself.
        runs: of all answers.
        closed: whether the last answer had none that was new: with the same settings it is not asked again.
        settings: of the config, as they were typed, with which it was asked last; older folders lack them.
    """

    of: str
    runs: tuple[RunConfig, ...]
    closed: bool = True
    settings: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class StudyFolder:
    """What study.json says."""

    path: Path
    name: str
    question: str
    layout: Layout
    tokens: dict[str, str]  # id -> folder of packed tokens
    runs: tuple[str, ...]  # ids that the study consists of now, in its order
    all_packs: tuple[Pack, ...]  # with those of an earlier form of the study: kept, not shown
    asked: Asked | None = None

    @property
    def packs(self) -> list[Pack]:
        """The packs that hold runs of the study as it is now, but those whose runs are all done in other packs."""
        wanted = set(self.runs)
        of: dict[str, list[Pack]] = {}
        for pack in self.all_packs:
            for run in pack.runs:
                if run.id in wanted:
                    of.setdefault(run.id, []).append(pack)
        twice = {pack.id for packs in of.values() if len(packs) > 1 for pack in packs}
        done = {pack.id for packs in of.values() for pack in packs if pack.id in twice and self.done(pack)}
        there = {run for run, packs in of.items() if any(pack.id in done for pack in packs)}
        found = {
            pack.id: pack
            for run, packs in of.items()
            for pack in packs
            if pack.id not in twice or pack.id in done or any(r.id in wanted - there for r in pack.runs)
        }
        return list(found.values())

    def part(self, part: int, of: int) -> list[Pack]:
        """The packs of one part; one made before the study was divided belongs to the part of its first run."""
        wanted = set(self.runs)
        mine = [next(run.config for run in pack.runs if run.id in wanted) for pack in self.packs]
        parts = split.parts([run.config for p in self.packs for run in p.runs if run.id in wanted], of)
        return [pack for pack, run in zip(self.packs, mine, strict=True) if parts[run] == part]

    def claims(self, pack: Pack) -> Path:
        """Where it is settled who trains the pack."""
        return self.path / "packs" / pack.id

    def pack_folder(self, pack: Pack) -> Path:
        """Where the newest that the pack has left lies."""
        return claims.data(self.claims(pack))

    def pack(self, id: str) -> Pack | None:
        """The pack of that id, which an import may have dissolved."""
        return next((pack for pack in self.all_packs if pack.id == id), None)

    def done(self, pack: Pack) -> dict[str, Any] | None:
        """What the finished pack left in done.json; None without it, or damaged.

        A pack of which nothing else can be read is not done either.
        """
        told, damage = self._told(pack)
        return None if damage else told

    def damage(self, pack: Pack) -> str:
        """What of the record of a finished pack is damaged, or of its folder; empty for nothing.

        A checkpoint that tells the same makes up for a damaged history.
        """
        return self._told(pack)[1]

    def _told(self, pack: Pack) -> tuple[dict[str, Any] | None, str]:
        above, folder = self.claims(pack), self.pack_folder(pack)
        for path in (above, folder, folder / "checkpoints"):
            if not folders.own(path):
                return None, f"{path} is a link or a file, wanted a folder"
        path = folder / "done.json"
        try:
            at = path.stat()
        except FileNotFoundError:
            return None, ""
        except OSError as error:  # a link to itself
            if isinstance(path, Bucket):  # which does not answer: that is no damage
                raise
            return None, f"{path} cannot be read ({error.strerror}), wanted a file"
        told, damage = _done(path, len(pack.runs), (at.st_ino, at.st_mtime_ns, at.st_size))
        return told, damage or ("" if told is None else _spoilt(folder, pack, told))

    def failed(self, pack: Pack) -> dict[str, Any]:
        """How often the pack failed (`attempts`) and of what (`error`)."""
        try:
            told = checked.read(self.pack_folder(pack) / "failed.json")
            return {"attempts": told["attempts"].whole(), "error": told["error"].text()}
        except FileNotFoundError:
            return {"attempts": 0, "error": ""}
        except Damaged as error:
            return {"attempts": 0, "error": str(error)}

    def quarantined(self, pack: Pack) -> bool:
        """Whether it failed too often to be tried again unasked."""
        return self.failed(pack)["attempts"] >= ATTEMPTS

    @property
    def open_packs(self) -> list[Pack]:
        """Packs with updates left, the costliest first."""
        costs = calibration.kept(self.layout.device, self.layout.devices)
        with at_a_glance(self):
            found = [pack for pack in self.packs if self.done(pack) is None]
        return sorted(found, key=lambda p: -costs.pack(p.configs))


def of_packs(whole: StudyFolder, function: Callable[[Pack], T]) -> list[T]:
    """What a function says of each pack, in their order; of a study in a bucket several are asked for at once."""
    return buckets.each(function, whole.packs) if isinstance(whole.path, Bucket) else [*map(function, whole.packs)]


@contextlib.contextmanager
def at_a_glance(whole: StudyFolder) -> Iterator[None]:
    """While this lasts, the packs of a study in a bucket are as they were when it began, and asked for at once."""
    if not isinstance(whole.path, Bucket):
        yield
        return
    with buckets.one_look():
        buckets.each(lambda pack: whole.done(pack) or whole.failed(pack), whole.all_packs)
        yield


@functools.lru_cache(maxsize=2**16)
def _done(path: Path, n_runs: int, stamp: tuple[int, ...]) -> tuple[dict[str, Any] | None, str]:
    """What a done.json says, or what is wrong with it; read again when its `stamp` changes."""
    try:
        return _done_of(checked.read(path), n_runs), ""
    except FileNotFoundError:
        return None, ""
    except Damaged as error:
        return None, str(error)


def _done_of(told: Field, n_runs: int) -> dict[str, Any]:
    for name in ("steps", "status", "loss"):
        if (name != "steps" or type(told[name].value) is not int) and len(list(told[name].items())) != n_runs:
            raise told[name].wrong(f"as many values as its pack has runs, {n_runs}")
    for steps in [told["steps"]] if type(told["steps"].value) is int else told["steps"].items():
        steps.whole()
    told["seconds"].number(least=0)
    for status in told["status"].items():
        status.one_of("done", "diverged")
    for loss in told["loss"].items():
        if loss.value is not None:
            loss.number()
    if "history" in told.object():
        told["history"].hex(64)
    origin(told)
    told.sealed()
    return told.object()


def origin(told: Field) -> dict[str, Any]:
    """Where and with what a pack was trained, which only its record can tell.

    Of a pack that was begun with something else that is said in `earlier`, each with the update at which it ended.
    """
    found = _origin(told)
    if earlier := told.get("earlier"):
        found["earlier"] = [{"until": one["until"].whole(1), **_origin(one)} for one in earlier.items()]
    return found


def _origin(told: Field) -> dict[str, Any]:
    found: dict[str, Any] = {name: field.text() for name in ("machine", "code") if (field := told.get(name))}
    return found | {name: field.texts() for name in ("versions", "settings") if (field := told.get(name))}


def origin_so_far(folder: Path) -> dict[str, Any]:
    """As `origin`, of a pack that is being trained in this folder; empty where nothing tells."""
    *earlier, last = _origins(folder) or [{"from": 0}]
    ends = [one["from"] for one in (*earlier, last)][1:]
    told = [{"until": end, **_without(one, "from")} for end, one in zip(ends, earlier, strict=True)]
    return _without(last, "from") | ({"earlier": told} if told else {})


def goes_on(folder: Path, done: int, origin: Mapping[str, Any]) -> None:
    """Writes down where and with what a pack is trained from the update `done` on, before any of it is saved."""
    kept = [one for one in _origins(folder) if one["from"] < done]  # what came after was lost, and is done again
    if done and not kept:
        kept = [{"from": 0}]  # unknown
    if not kept or _without(kept[-1], "from") != origin:
        kept.append({"from": done, **origin})
    checked.write(folder / "origins.json", {"origins": kept})


def _origins(folder: Path) -> list[dict[str, Any]]:
    try:
        told = checked.read(folder / "origins.json")
        found = [{"from": one["from"].whole(), **_origin(one)} for one in told["origins"].items()]
        told.sealed()
        return found
    except (FileNotFoundError, Damaged):  # then they count as unknown
        return []


def _without(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != key}


def _spoilt(folder: Path, pack: Pack, done: Mapping[str, Any]) -> str:
    """What is wrong with the history of a finished pack that has no checkpoint to tell instead."""
    if "history" not in done or folders.saved_steps(folder):
        return ""
    path = folder / "history.npz"
    try:
        at = path.stat()
        return _changed(path, done["history"], pack.largest_history, (at.st_ino, at.st_mtime_ns, at.st_size))
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:  # a link to itself
        if isinstance(path, Bucket):
            raise
        return f"{path} cannot be read ({error.strerror}), wanted a file"


@functools.lru_cache(maxsize=2**16)
def _changed(path: Path, sha256: str, most: int, stamp: tuple[int, ...]) -> str:
    """How a file differs from what was written; looked at again when its `stamp` changes."""
    try:
        found = hashlib.sha256(checked.content(path, most)).hexdigest()
    except Damaged as error:
        return str(error)
    return "" if found == sha256 else f"{path} is not what was written, by its checksum"


def history(whole: StudyFolder, pack: Pack) -> histories.History | None:
    """All that was measured of a pack's runs so far, as `scaling.histories` says; None before the first checkpoint.

    A finished pack has it in one small file; where that is not there, or not what was written, its checkpoint tells.

    Raises:
        Damaged: neither tells, or what they tell is not of this pack.
    """
    folder = whole.pack_folder(pack)
    done = whole.done(pack)
    path, wrong = folder / "history.npz", ""
    if done and "history" in done:
        try:
            found = unpacked(checked.content(path, pack.largest_history), done["history"])
            check_history(pack, found, finished=True)
            return found
        except FileNotFoundError:
            wrong = f"{path} is missing"
        except ValueError as error:
            wrong = str(error) if isinstance(error, Damaged) else f"{path}: {error}"
    if wrong and not folders.saved_steps(folder):
        raise Damaged(wrong)
    from scaling import checkpoints  # Orbax, which takes a second

    found = checkpoints.read_history(folder)
    if found is not None:
        try:
            check_history(pack, found)
        except ValueError as error:
            raise Damaged(f"{folder / 'checkpoints'}: {error}") from None
    return found


def unpacked(file: bytes, sha256: str) -> histories.History:
    """The arrays in the bytes of a history.npz.

    Raises:
        ValueError: these are not the bytes that were written, or hold something else.
    """
    if hashlib.sha256(file).hexdigest() != sha256:
        raise ValueError("it is not what was written, by its checksum")
    end = file[-22:]  # NumPy's zip files end in this record, without a comment, and are not of 64 bits
    if end[:4] != b"PK\5\6" or file[-42:-38] == b"PK\6\7" or int.from_bytes(end[12:16], "little") > DIRECTORY:
        raise ValueError("it is no file of a few arrays")
    try:
        with np.load(io.BytesIO(file), allow_pickle=False) as arrays:
            if any(member.compress_type != zipfile.ZIP_STORED for member in arrays.zip.infolist()):
                raise ValueError("it holds arrays that are compressed, as ours are not")
            return {k: x.astype(np.float32) if x.dtype == np.float16 else x for k, x in arrays.items()}
    except UNPACKING as error:
        said = (str(error).splitlines() or [""])[0]
        raise ValueError(said if type(error) is ValueError else f"{type(error).__name__}: {said}") from None


@functools.lru_cache(maxsize=256)
def _arrays(
    n_run: int,
    n_ctx: int,
    windows: int,
    noise: int,
    transfer: int,
    train: bool,
    answers: tuple[int, int, int],
    by_frequency: int,
    scores: tuple[int, int],
) -> histories.History:
    """What a history of such runs has before the first update, and once it is done."""
    asked = {"windows": windows, "noise": noise, "transfer": transfer, "train": train}
    arrays = histories.start(n_run, n_ctx, **asked, answers=answers, by_frequency=by_frequency, scores=scores)
    return arrays | {"steps": np.zeros(n_run, np.int64), "updates_trained": np.zeros(n_run)}


def _first_arrays(pack: Pack) -> histories.History:
    first, wanted = pack.runs[0].config, pack.runs[0].config.eval
    noise = len(first.noise_batches) if wanted.noise else 0
    sizes = len(pack.runs), first.model.n_ctx, wanted.windows, noise, len(wanted.transfer)
    more = tasks.answers(wanted), wanted.by_frequency, pairs.scores(wanted)
    return _arrays(*sizes, wanted.train_windows > 0, *more)


def check_history(pack: Pack, found: histories.History, finished: bool = False) -> None:
    """Checks that a history has the arrays that runs of these configs leave behind.

    Raises:
        ValueError: it has not; or it is to be finished, and a run stopped early and has not diverged.
    """
    expected, n = _first_arrays(pack), len(pack.runs)
    for name in (*expected, *found):
        if name not in found and name in OPTIONAL:
            continue
        if name not in expected or not isinstance(found.get(name), np.ndarray):
            raise ValueError(f"{checked.shown(name)} is {'no' if name in found else 'a missing'} array of its runs")
    rows = len(found["train_loss"]) if found["train_loss"].ndim else 0
    evaluations = pack.evaluations
    evaluations = evaluations[evaluations <= rows]
    if not finished:  # it may have been saved between an update and its evaluation
        evaluations = evaluations[: found["eval_step"].size]
    for name, values in found.items():
        shape = expected[name].shape
        if shape[:1] == (0,):
            shape = (rows if name in ("train_loss", "grad_norm") else len(evaluations), *shape[1:])
        if values.shape != shape or values.dtype.kind != expected[name].dtype.kind:
            raise ValueError(f"{name} is {values.dtype}{list(values.shape)}, wanted {list(shape)} of its runs")
    if not finished <= rows <= pack.steps or not np.array_equal(found["eval_step"], evaluations):
        raise ValueError(f"eval_step and the {rows} updates are not those of its runs")
    for name in ("seconds", "updates_trained"):
        if name in found and not (np.isfinite(found[name]) & (found[name] >= 0)).all():
            raise ValueError(f"{name} is {checked.shown(found[name].tolist())}, wanted a number from 0 on")
    steps = np.array([run.steps for run in pack.configs])
    own = found.get("steps", np.full(n, rows))
    if (own < 0).any() or (own > steps).any():
        raise ValueError("steps are more than those of its runs")
    if finished and not found["finished"]:
        raise ValueError("it is not finished")
    early = histories.steps(found) < steps
    if finished and early.any() and (early & ~histories.diverged(found)).any():
        raise ValueError("a run of it is not finished")


def keep_history(folder: Path, found: Mapping[str, np.ndarray]) -> str:
    """Writes history.npz; its checksum."""
    file = histories.packed(found)
    checked.put(folder / "history.npz", file)
    return hashlib.sha256(file).hexdigest()


def prepare(
    study: Study,
    folder: Path,
    *,
    pack: int = 0,
    workers: int = 0,
    shards_of: int = 1,
    mesh: Mapping[str, int] = calibration.ALONE,
    devices: int = 1,
    settings: Mapping[str, str] | None = None,
    say: Callable[[str], None],
) -> StudyFolder:
    """Makes the tokens, the packs and study.json, or finds them as they are; trains nothing.

    Args:
      pack: runs per pack at most; 0: what suits the device (and, for a study already there, what it was made with).
      workers: processes; 0: one per core on a CPU, one on an accelerator.
      shards_of: into how many parts the study is divided: no pack has runs of two.
      mesh: the sizes of its axes, where devices train a pack together.
      devices: of the mesh that are this machine's.
      settings: with which the config's function `more` will be asked; None: it will not be. Where they are not those of
        the last time, it is asked anew, and the runs that it has asked for stay.

    Raises:
      InputError: tokens cannot be made, the text has changed, memory or disk do not suffice.
    """
    there = folder.exists()
    if isinstance(folder, Bucket):
        buckets.check(folder)
    try:
        with claims.held(folder / "planning", say, str(folder)):
            return _prepared(study, folder, pack, workers, shards_of, mesh, devices, settings, say)
    except BaseException:
        if not there and folder.exists() and {path.name for path in folder.iterdir()} <= {"planning"}:
            folders.remove(folder)
        raise


def _prepared(
    study: Study,
    folder: Path,
    pack: int,
    workers: int,
    shards_of: int,
    mesh: Mapping[str, int],
    devices: int,
    settings: Mapping[str, str] | None,
    say: Callable[[str], None],
) -> StudyFolder:
    found = read(folder) if (folder / "study.json").exists() else None
    if found and found.name != study.name:
        raise InputError(f"{folder} holds the study {found.name!r}, not {study.name!r}; use another --out folder")
    kind = found.layout.device if found else layout.device()
    costs = calibration.kept(kind, 1 if mesh else layout.devices(kind))  # a mesh spreads lanes as it says itself
    chosen = layout.choose(
        pack, workers, found.layout if found else None, lambda _: max(costs.lanes(run) for run in study.runs)
    )
    asked = found.asked if found and found.asked and found.asked.of == asked_of(study.runs) else None
    if asked and settings is not None and asked.settings != settings:
        asked = dataclasses.replace(asked, closed=False, settings=dict(settings))
    elif found and found.asked and not asked and found.asked.runs:
        say(
            f"{folder}: the runs that the config begins with are others than those whose results its `more` saw "
            f"({' '.join(f'{key}={text}' for key, text in found.asked.settings.items()) or 'no settings'}); it is "
            "asked from the beginning"
        )
    runs = (*study.runs, *(asked.runs if asked else ()))
    for run in runs:
        if not run.data.source.startswith(token_set.NAMED):
            tasks.check(run)
            pairs.check(run)
    known = [run for pack in found.all_packs for run in pack.runs if run.semantics == SEMANTICS] if found else []
    before = {run.config: run for run in known}
    ready = {
        data: tokens_of(data, runs, say, before) for data in dict.fromkeys((r.data, r.model.n_vocab) for r in runs)
    }
    for run in runs:  # of which the text, or the vocabulary, is known by now alone
        if run.data.source.startswith(token_set.NAMED) or run.answers_after is not None:
            stream = ready[run.data, run.model.n_vocab]
            tasks.check(_of_text(run, stream), None if run.answers_after is None else stream.tokenizer)
            pairs.check(_of_text(run, stream))
    _say_of_texts(ready, runs, say)
    transfer = {
        (run.data, run.model.n_vocab, name): _transfer_tokens(
            name, run.data.source, ready[run.data, run.model.n_vocab], runs, say, before
        )
        for run in runs
        for name in run.eval.transfer
    }
    if found:
        _unchanged(found, {data: stream.id for data, stream in ready.items()})
    planned: dict[str, PlannedRun] = {}
    for run in runs:
        stream = ready[run.data, run.model.n_vocab]
        ids = tuple(transfer[run.data, run.model.n_vocab, name].id for name in run.eval.transfer)
        id = config.identity(run, stream.id, ids)
        rate = stream.manifest.get("entropy_rate")
        counted = kinds.of(run.model).counted(run.model) if extensions.kept(run.model.kind) else None
        size, made = _bytes_per_token(stream, run), _made(stream, run.data.source)
        planned[id] = PlannedRun(id, run, stream.id, size, rate, ids, counted=counted, made=made)
    if len(planned) < len(runs):
        say(f"{len(runs) - len(planned)} of {len(runs)} runs are equal to others, and trained once")
    known = tuple(_named_now(pack, planned) for pack in found.all_packs) if found else ()
    if found and (dropped := set(found.runs) - planned.keys()):
        say(f"{folder}: {len(dropped)} runs are no longer of this study; what they left is kept, and not shown")
        if older := len(dropped & {run.id for pack in known for run in pack.runs if run.semantics < SEMANTICS}):
            say(
                f"{folder}: {older} of them are of an older model, which this version shows and fits but does not "
                "train; a new --out folder leaves these in sight"
            )
    begun = {run.id for pack in known for run in pack.runs}  # a run stays in the pack in which it was begun
    new = [run for run in planned.values() if run.id not in begun]
    part = split.parts([run.config for run in planned.values()], shards_of)
    grouped = layout.packed(
        new,
        lambda run: run.config,
        lambda run: (run.tokens_id, run.transfer_ids, part[run.config]),
        lambda run: pack or min(chosen.runs_per_pack, costs.lanes(run)),
        costs.devices,
        lambda run: pack or costs.lanes(run) // costs.devices,
    )
    streams = (*ready.values(), *transfer.values())
    result = StudyFolder(
        path=folder,
        name=study.name,
        question=study.question,
        layout=chosen,
        tokens={**(found.tokens if found else {}), **{stream.id: str(stream.folder) for stream in streams}},
        runs=tuple(planned),
        all_packs=(*known, *(Pack(layout.pack_id(r.id for r in group), tuple(group)) for group in grouped)),
        asked=asked,
    )
    _fits(result, costs, mesh, devices)
    if result != found:
        write(result)
    _keep_sources(result)
    with at_a_glance(result):
        damaged = [(each, damage) for each in result.packs if (damage := result.damage(each))]
    for each, damage in damaged:
        _set_aside(result, each)
        again = "its checkpoint tells" if folders.saved_steps(result.pack_folder(each)) else "are trained again"
        say(f"{folder}: the record of pack {each.id} is damaged; its {len(each.runs)} runs {again} ({damage})")
    return result


def place(model: Path) -> tuple[Path, str]:
    """The folder and the run, "" for none, that STUDY[/RUN] names."""
    if not (model / "study.json").exists() and (model.parent / "study.json").exists():
        return model.parent, model.name
    return model, ""


def chosen(whole: StudyFolder, run: str) -> tuple[str, Pack]:
    """The run whose id begins so, and its pack; with "" the run that is done and has the lowest held-out loss.

    Raises:
        InputError: there is none, or several.
    """
    if run:
        found = {each.id: pack for pack in whole.packs for each in pack.runs if each.id.startswith(run)}
        if len(found) != 1:
            raise InputError(f"{whole.path}: {len(found)} runs have ids that begin with {run!r}; wanted one")
        return next(iter(found.items()))
    losses = [
        (loss, each.id, pack)
        for pack in whole.packs
        if (done := whole.done(pack))
        for each, loss in zip(pack.runs, done["loss"], strict=True)
        if loss is not None
    ]
    if not losses:
        raise InputError(f"{whole.path}: no run is done; name one that has begun by its id")
    _, id, pack = min(losses, key=lambda one: one[0])
    return id, pack


def extended(packs: Sequence[Pack]) -> list[str]:
    """The names in the configs of packs that are of the user's own code."""
    return config.extended(run.config for pack in packs for run in pack.runs)


def _keep_sources(whole: StudyFolder) -> None:
    """A copy of the user's own code that its runs are of: to be read, for nothing runs it."""
    for hash, text in filter(None, map(extensions.text_of, extended(whole.packs))):
        if not folders.there(path := whole.path / "sources" / f"{hash}.py"):
            checked.put(path, text.encode())


def _set_aside(whole: StudyFolder, pack: Pack) -> None:
    """Moves what is damaged of a pack out of the way, unless somebody has the pack; nothing is deleted."""
    above = whole.claims(pack)
    if not folders.own(above):
        os.replace(above, above.with_name(f".unreadable-{pack.id}"))
        return
    claim = claims.take(above)
    if claim is None:
        return
    with claim:
        links = [] if folders.own(claim.folder / "checkpoints") else ["checkpoints"]
        for name in ("done.json", "history.npz", "failed.json", *links):
            if folders.there(claim.folder / name):
                folders.move(claim.folder / name, claim.folder / "unreadable" / f"{name}-{claim.number}")


def answer(
    folder: Path,
    runs: Sequence[RunConfig],
    before: Asked | None,
    more: Sequence[RunConfig],
    settings: Mapping[str, str],
    say: Callable[[str], None],
) -> bool:
    """Writes down which runs the config of `runs` added to them and to those of its answers before.

    Of two processes that asked for the same answer, the first counts.

    Args:
      settings: with which it was asked.

    Returns:
        Whether it added any.
    """
    there = before.runs if before else ()
    new = tuple(run for run in dict.fromkeys(more) if run not in {*runs, *there})
    with claims.held(folder / "planning", say, str(folder)):
        whole = read(folder)
        if whole.asked == before:
            write(dataclasses.replace(whole, asked=Asked(asked_of(runs), (*there, *new), not new, dict(settings))))
    return bool(new)


def asked_of(runs: Sequence[RunConfig]) -> str:
    """What `Asked.of` is for these runs of a config."""
    return hashlib.sha256(json.dumps([config.to_dict(run) for run in runs], sort_keys=True).encode()).hexdigest()[:12]


def _named_now(pack: Pack, planned: Mapping[str, PlannedRun]) -> Pack:
    """The pack, its texts under the names that the planned runs give them: the ids tell that these are the same texts.

    One that is asked for by the id of its tokens keeps the name it has.
    """
    now = {run.id: planned[run.id].config if run.id in planned else run.config for run in pack.runs}
    runs = (
        run if now[run.id].data.source.startswith(token_set.NAMED) else dataclasses.replace(run, config=now[run.id])
        for run in pack.runs
    )
    return dataclasses.replace(pack, runs=tuple(runs))


def _unchanged(found: StudyFolder, now: Mapping[tuple[DataConfig, int], str]) -> None:
    """Refuses a text that is no longer the one that runs of this study read: under its name they would be others."""
    wanted = set(found.runs)
    for pack in found.all_packs:
        for run in pack.runs:
            id = now.get((run.config.data, run.config.model.n_vocab), run.tokens_id)
            if id != run.tokens_id and run.id in wanted:
                way = "put the old text back, or use a new --out folder"
                kept = folders.cache() / "tokens" / run.tokens_id
                if (kept / "manifest.json").exists() and not run.config.data.validation:
                    way += f", or go on with the old tokens, which are there: --set data.source=tokens:{run.tokens_id}"
                raise InputError(
                    f"{run.config.data.source} is not the text it was when {found.path} was begun (tokens "
                    f"{run.tokens_id}, now {id}); {way}"
                )


def tokens_of(
    data: tuple[DataConfig, int],
    runs: Sequence[RunConfig],
    say: Callable[[str], None],
    before: Mapping[RunConfig, PlannedRun] = MappingProxyType({}),
) -> token_set.TokenSet:
    """The prepared tokens of a source and a size of vocabulary, as many as those of the runs that use them need.

    Args:
      before: runs that are planned. What a model wrote for them is not looked for where it was: its study may have
        moved.
    """
    source, n_vocab = data
    users = [run for run in runs if (run.data, run.model.n_vocab) == data]
    return _tokens(
        [before[run].tokens_id if run in before else "" for run in users],
        source.source,
        source.tokenizer,
        n_vocab,
        train_tokens=max(run.pool for run in users),
        validation_tokens=max(run.model.n_ctx * run.eval.windows for run in users),
        validation_source=source.validation,
        say=say,
    )


def _say_of_texts(
    ready: Mapping[tuple[DataConfig, int], token_set.TokenSet], runs: Sequence[RunConfig], say: Callable[[str], None]
) -> None:
    """Says which texts are read again, and of which one document is much: of several the worst, and how many more."""
    pools: dict[tuple[DataConfig, int], set[int]] = {}
    for run in runs:
        pools.setdefault((run.data, run.model.n_vocab), set()).add(run.pool)
    parts: dict[str, list[token_set.Repeated]] = {}
    for data, stream in ready.items():
        for part in token_set.repeats(stream, max(pools[data])):
            parts.setdefault(part.source, []).append(part)
    for again in parts.values():
        worst = max(again, key=lambda part: part.epochs)
        say(f"{worst}" + (f", and fewer times in {len(again) - 1} other mixtures" if len(again) > 1 else ""))
    found = [one for data, stream in ready.items() if (one := token_set.crowding(stream, pools[data]))]
    if found:
        others = f" ({len(found) - 1} of the study's other texts are alike)" if len(found) > 1 else ""
        say(f"{max(found, key=lambda one: one.share)}{others}")


def _tokens(
    before: Sequence[str], source: str, tokenizer: str, n_vocab: int, *, validation_source: str, **wanted: Any
) -> token_set.TokenSet:
    """As `encoding.prepare`; but what a model wrote or chose is not asked for again where its tokens are in the cache.

    Args:
      before: the ids of the tokens that the runs had when they were planned, empty of a new one.
    """
    wanted["cache"] = folders.cache()
    [id, *others] = set(before)
    if id and not others and (sampled.needs_model(source) or sampled.needs_model(validation_source)):
        with contextlib.suppress(InputError):  # not there, or fewer than there were
            return encoding.prepare(f"{token_set.NAMED}{id}", tokenizer, n_vocab, **wanted)
    return encoding.prepare(source, tokenizer, n_vocab, validation_source=validation_source, **wanted)


def _transfer_tokens(
    name: str,
    source: str,
    stream: token_set.TokenSet,
    runs: Sequence[RunConfig],
    say: Callable[[str], None],
    before: Mapping[RunConfig, PlannedRun],
) -> token_set.TokenSet:
    """Text of another source, all of which is held out, in the tokens of `stream`, which come from `source`."""
    users = [run for run in runs if name in run.eval.transfer]
    if name.startswith("held_out(") and (own := next((r.data.validation for r in users if r.data.validation), "")):
        raise InputError(
            f"eval.transfer={name}: with held-out text of its own (data.validation={own}) all of a text is trained on; "
            "leave data.validation out, or evaluate on other text"
        )
    had = [before.get(run) for run in users if run.data.source == source]
    return _tokens(
        [
            dict(zip(run.config.eval.transfer, run.transfer_ids, strict=False)).get(name, "") if run else ""
            for run in had
        ],
        source,
        "bytes" if stream.tokenizer.is_bytes else str(stream.folder / "tokenizer.model"),
        stream.n_vocab,
        train_tokens=1,
        validation_tokens=max(
            max(run.model.n_ctx * run.eval.windows, tasks.wanted(name, run.eval), pairs.wanted(name, run.eval))
            for run in users
        ),
        validation_source=name,
        say=say,
    )


def _of_text(run: RunConfig, stream: token_set.TokenSet) -> RunConfig:
    """The run with the text of which tokens:ID were made in their place."""
    if not run.data.source.startswith(token_set.NAMED):
        return run
    source, validation = stream.manifest["source"], stream.manifest["validation_source"]
    return dataclasses.replace(run, data=dataclasses.replace(run.data, source=source, validation=validation))


def _made(stream: token_set.TokenSet, source: str) -> Made | None:
    """Of tokens that a rule or several sources gave."""
    if mixture.plain(source):
        return None
    train, texts = stream.manifest["train"], stream.manifest["corpora"].values()
    counts = (sum(text[name] for text in texts) for name in ("documents", "near_duplicates"))
    return Made(train["bytes_per_token"], *counts)


def _bytes_per_token(stream: token_set.TokenSet, run: RunConfig) -> float:
    return _window_bytes(stream.folder, run.model.n_ctx, run.eval.windows)


@functools.lru_cache(maxsize=64)
def _window_bytes(folder: Path, n_ctx: int, n_windows: int) -> float:
    stream = token_set.open_tokens(folder)
    windows = batches.validation_windows(stream.validation, n_ctx, n_windows, stream.separator)
    return stream.bytes_of(windows[:, 1:]) / windows[:, 1:].size


def _fits(whole: StudyFolder, costs: calibration.Costs, mesh: Mapping[str, int], devices: int) -> None:
    """Refuses what neither the memory nor the disk can hold."""
    with at_a_glance(whole):
        work = [pack.configs for pack in whole.packs if not whole.done(pack)]
    if work:
        calibration.check(work, whole.layout, costs, whole.path, mesh, devices)


def read(folder: Path) -> StudyFolder:
    """The study in `folder`, as study.json has it.

    Raises:
        InputError: not the folder of a study, of a format to come, or damaged: the field, found and wanted.
    """
    path = folder / "study.json"
    for name in BELOW:
        if not folders.own(folder / name):
            raise InputError(f"{folder / name} is a link or a file, wanted a folder of the study's own; move it away")
    try:
        told = checked.read(path, checked.LARGE)
        if (found := told["format"].value) == FORMAT:
            return _from_json(folder, told)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{folder} is not a study: it has no study.json; make one with scaling study run CONFIG --out {folder}"
        ) from None
    except Damaged as error:
        raise InputError(
            f"{error}; put back a copy, or move it away and give scaling study run CONFIG --out {folder} again, which "
            "finds what its packs have"
        ) from None
    raise InputError(f"{path} has format {checked.shown(found)}, this version reads {FORMAT}; use a new --out folder")


def current(folder: Path) -> StudyFolder:
    """The study in `folder` as it is now; the very same object while its file is the same."""
    if isinstance(folder, Bucket):
        at = (folder / "study.json").stat() if (folder / "study.json").exists() else None
        return _read_once(folder, (at.st_ino, at.st_mtime_ns, at.st_size)) if at else read(folder)
    try:  # opened, since a network disk then asks for what is new
        file = os.open(folder / "study.json", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return read(folder)  # which says so
    with open(file, "rb"):
        at = os.fstat(file)
    return _read_once(folder, (at.st_ino, at.st_mtime_ns, at.st_size))


@functools.lru_cache(maxsize=1)
def _read_once(folder: Path, stamp: tuple[int, ...]) -> StudyFolder:
    return read(folder)


def _from_json(folder: Path, told: Field) -> StudyFolder:
    packs = tuple(planned_pack(pack) for pack in told["packs"].items())
    known = {run.id for pack in packs for run in pack.runs}
    if len({pack.id for pack in packs}) < len(packs):
        raise told["packs"].wrong("each pack once")
    runs = tuple(run.hex(ID) for run in told["runs"].items())
    for run in told["runs"].items():
        if run.value not in known:
            raise run.wrong("a run of one of its packs")
    if not runs or len(set(runs)) < len(runs):
        raise told["runs"].wrong("runs, each once")
    tokens = told["tokens"].texts()
    for id in tokens:
        Field(told.file, "tokens", id).hex(TOKENS_ID)
    spread = told["layout"].object()
    try:
        chosen = Layout(**spread)
    except (TypeError, ValueError) as error:
        raise Damaged(f"{told.file}: layout: {error}") from None
    asked = told.get("asked")
    found = StudyFolder(
        path=folder,
        name=told["name"].text(),
        question=told["question"].text(),
        layout=chosen,
        tokens=tokens,
        runs=runs,
        all_packs=packs,
        asked=_asked(asked) if asked else None,
    )
    told.sealed()
    return found


def _asked(told: Field) -> Asked:
    closed = told.get("closed")  # older folders lack it: their configs were asked once
    runs = tuple(map(_config, told["runs"].items()))
    settings = told.get("settings")
    return Asked(
        told["of"].hex(ID),
        runs,
        closed.one_of(True, False) if closed else True,
        settings.texts() if settings else {},
    )


def planned_pack(told: Field) -> Pack:
    """A pack as a file has it: each run is that of its id, and the pack that of its runs.

    Raises:
        Damaged: it is not.
    """
    pack = Pack(told["id"].hex(ID), tuple(_planned_run(run) for run in told["runs"].items()))
    if not pack.runs:
        raise told["runs"].wrong("at least one run")
    if pack.id != (wanted := layout.pack_id(run.id for run in pack.runs)):
        raise told["id"].wrong(f"{wanted}, the hash of its runs' ids")
    if len(pack.runs) > 1 and len({config.program(run) for run in pack.configs}) > 1:
        raise Damaged(f"{told.file}: {told.name}.runs have several programs, wanted one")
    return pack


_RUN = tuple(field.name for field in dataclasses.fields(PlannedRun))


def _planned_run(told: Field) -> PlannedRun:
    """The inverse of `dataclasses.asdict`, for which the id vouches but for what is said of the tokens."""
    told.only(_RUN)
    semantics = told["semantics"].whole(1) if "semantics" in told.object() else None
    transfer, rate = told.get("transfer_ids"), told.get("entropy_rate")
    run = PlannedRun(
        id=told["id"].hex(ID),
        config=_config(told["config"], semantics),
        tokens_id=told["tokens_id"].hex(TOKENS_ID),
        bytes_per_token=told["bytes_per_token"].number(above=0),
        entropy_rate=rate.number(least=0) if rate else None,
        transfer_ids=tuple(id.hex(TOKENS_ID) for id in transfer.items()) if transfer else (),
        semantics=semantics or config.semantics_of(told["config"].object()),
        counted=_counted(told["counted"]) if told.get("counted") else None,
        made=_made_of(told["made"]) if told.get("made") else None,
    )
    if run.counted and not extensions.kept(run.config.model.kind):
        raise told["counted"].wrong(f"nothing, of model.kind={run.config.model.kind}")
    if run.counted:
        kinds.tell(run.config.model, run.counted)
    wanted = config.identity(run.config, run.tokens_id, run.transfer_ids, run.semantics)
    if run.id != wanted:
        raise told["id"].wrong(f"{wanted}, the hash of its config, tokens_id, transfer_ids and semantics")
    if len(run.transfer_ids) != len(run.config.eval.transfer):
        raise Damaged(f"{told.file}: {told.name}.transfer_ids are not those of the config's eval.transfer")
    return run


def _made_of(told: Field) -> Made:
    told.only(Made._fields)
    size = told["bytes_per_token"].number(above=0)
    return Made(size, *(told[name].whole() for name in ("documents", "near_duplicates")))


def _counted(told: Field) -> kinds.Counted:
    told.only(kinds.Counted._fields)
    for name in kinds.Counted._fields:
        if told[name].whole() > MOST_COUNTED:
            raise told[name].wrong(f"at most {MOST_COUNTED:.0e}")
    return kinds.Counted(**told.object())


def _config(told: Field, semantics: int | None = SEMANTICS) -> RunConfig:
    """A run's config.

    Args:
        semantics: under which it was trained; None where nothing but the config tells.
    """
    try:
        values = told.object()
        for name, value in told["data"].object().items() if "data" in values else ():
            if not isinstance(value, str):
                raise Field(told.file, f"{told.name}.data.{name}", value).wrong("text")
        return config.recorded(values, semantics or config.semantics_of(values))
    except Damaged:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise Damaged(f"{told.file}: {told.name}: {kind}{error}") from None


def run_as_json(run: PlannedRun) -> dict[str, Any]:
    """What `planned_pack` reads of a run."""
    values = dataclasses.asdict(run)
    own = {name: found for name in ("counted", "made") if (found := values.pop(name))}
    return values | {name: found._asdict() for name, found in own.items()}


def write(study: StudyFolder) -> None:
    """Replaces study.json; for the holder of the study's planning claim."""
    checked.write(
        study.path / "study.json",
        {
            "format": FORMAT,
            "name": study.name,
            "question": study.question,
            "layout": dataclasses.asdict(study.layout),
            "tokens": study.tokens,
            "runs": study.runs,
            "packs": [{"id": pack.id, "runs": [run_as_json(run) for run in pack.runs]} for pack in study.all_packs],
            "asked": dataclasses.asdict(study.asked) if study.asked else None,
        },
    )
