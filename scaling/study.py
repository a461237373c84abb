"""A study on disk: expand its config, pack its runs, read and write study.json, read the status of its packs.

    DIR/study.json              the study, its layout, its packs and their runs, written before the first step
    DIR/packs/ID/claim-N        who trains the pack, or did (scaling.claims)
    DIR/packs/ID/N/checkpoints  what the pack leaves behind (scaling.checkpoints)
    DIR/packs/ID/N/history.npz  the history of a finished pack by itself
    DIR/packs/ID/N/done.json    written last: what `status` shows, and the checksum of history.npz
    DIR/packs/ID/N/failed.json  how often the pack failed, and of what
    DIR/planning                held by the process that writes study.json

Nothing here imports JAX: the workers do.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling import calibration, claims, config, folders, layout, split
from scaling.config import SEMANTICS, DataConfig, RunConfig, Study
from scaling.data import batches, encoding, token_set
from scaling.errors import InputError
from scaling.layout import Layout

FORMAT = 1
ATTEMPTS = 2  # at a pack that fails, before it is left alone


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


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the config's function `more` answered, once the runs were done."""

    of: str  # a hash of those runs
    runs: tuple[RunConfig, ...]


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
        """What the finished pack left in done.json; None without it, or damaged: a worker then writes it again.

        A pack of which nothing else can be read is not done either.
        """
        folder = self.pack_folder(pack)
        done = _read(folder / "done.json")
        return None if done is None or _spoilt(folder, done) else done

    def spoilt(self, pack: Pack) -> bool:
        """Whether the pack was finished, but its history is damaged and it has no checkpoint that tells."""
        folder = self.pack_folder(pack)
        done = _read(folder / "done.json")
        return done is not None and _spoilt(folder, done)

    def failed(self, pack: Pack) -> dict[str, Any]:
        """How often the pack failed (`attempts`) and of what (`error`)."""
        return _read(self.pack_folder(pack) / "failed.json") or {"attempts": 0, "error": ""}

    def quarantined(self, pack: Pack) -> bool:
        """Whether it failed too often to be tried again unasked."""
        return self.failed(pack)["attempts"] >= ATTEMPTS

    @property
    def open_packs(self) -> list[Pack]:
        """Packs with updates left, the costliest first."""
        costs = calibration.kept(self.layout.device, self.layout.devices)
        return sorted((pack for pack in self.packs if self.done(pack) is None), key=lambda p: -costs.pack(p.configs))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _spoilt(folder: Path, done: Mapping[str, Any]) -> bool:
    if "history" not in done or folders.saved_steps(folder):
        return False
    path = folder / "history.npz"
    try:
        at = path.stat()
        return not _intact(path, done["history"], (at.st_ino, at.st_mtime_ns, at.st_size))
    except FileNotFoundError:
        return True


@functools.lru_cache(maxsize=2**16)
def _intact(path: Path, sha256: str, stamp: tuple[int, ...]) -> bool:
    """Whether a file is what was written; looked at again when its `stamp` changes."""
    return hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def history(whole: StudyFolder, pack: Pack) -> dict[str, np.ndarray] | None:
    """All that was measured of a pack's runs so far, as `scaling.histories` says; None before the first checkpoint.

    A finished pack has it in one small file; where that is not there, or not what was written, its checkpoint tells.
    """
    folder = whole.pack_folder(pack)
    done = whole.done(pack)
    if done and "history" in done:
        with contextlib.suppress(OSError, ValueError):
            return unpacked((folder / "history.npz").read_bytes(), done["history"])
    from scaling import checkpoints  # Orbax, which takes a second

    return checkpoints.read_history(folder)


def unpacked(file: bytes, sha256: str) -> dict[str, np.ndarray]:
    """The arrays in the bytes of a history.npz.

    Raises:
        ValueError: these are not the bytes that were written.
    """
    if hashlib.sha256(file).hexdigest() != sha256:
        raise ValueError("it is not what was written")
    with np.load(io.BytesIO(file), allow_pickle=False) as arrays:
        return dict(arrays)


def keep_history(folder: Path, found: Mapping[str, np.ndarray]) -> str:
    """Writes history.npz; its checksum."""
    file = io.BytesIO()
    np.savez(file, **found)  # pyright: ignore[reportArgumentType]
    folders.write(folder / "history.npz", file.getvalue())
    return hashlib.sha256(file.getvalue()).hexdigest()


def prepare(
    study: Study,
    folder: Path,
    *,
    pack: int = 0,
    workers: int = 0,
    shards_of: int = 1,
    mesh: Mapping[str, int] = calibration.ALONE,
    devices: int = 1,
    say: Callable[[str], None],
) -> StudyFolder:
    """Makes the tokens, the packs and study.json, or finds them as they are; trains nothing.

    Args:
      pack: runs per pack at most; 0: what suits the device (and, for a study already there, what it was made with).
      workers: processes; 0: one per core on a CPU, one on an accelerator.
      shards_of: into how many parts the study is divided: no pack has runs of two.
      mesh: the sizes of its axes, where devices train a pack together.
      devices: of the mesh that are this machine's.

    Raises:
      InputError: tokens cannot be made, the text has changed, memory or disk do not suffice.
    """
    there = folder.exists()
    try:
        with claims.held(folder / "planning", say, str(folder)):
            return _prepared(study, folder, pack, workers, shards_of, mesh, devices, say)
    except BaseException:
        if not there and {path.name for path in folder.glob("*")} <= {"planning"}:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _prepared(
    study: Study,
    folder: Path,
    pack: int,
    workers: int,
    shards_of: int,
    mesh: Mapping[str, int],
    devices: int,
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
    runs = (*study.runs, *(asked.runs if asked else ()))
    ready = {data: tokens_of(data, runs, say) for data in dict.fromkeys((r.data, r.model.n_vocab) for r in runs)}
    transfer = {
        (run.data, run.model.n_vocab, name): _transfer_tokens(
            name, run.data.source, ready[run.data, run.model.n_vocab], runs, say
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
        planned[id] = PlannedRun(id, run, stream.id, _bytes_per_token(stream, run), rate, ids)
    if len(planned) < len(runs):
        say(f"{len(runs) - len(planned)} of {len(runs)} runs are equal to others, and trained once")
    known = found.all_packs if found else ()
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
    for spoilt in (pack for pack in result.packs if result.spoilt(pack)):
        say(f"{folder}: the record of pack {spoilt.id} is damaged; its {len(spoilt.runs)} runs are trained again")
    return result


def answer(folder: Path, runs: Sequence[RunConfig], more: Sequence[RunConfig], say: Callable[[str], None]) -> None:
    """Writes down which runs the config of `runs` added to them; the first answer counts."""
    with claims.held(folder / "planning", say, str(folder)):
        whole = read(folder)
        if whole.asked is None or whole.asked.of != asked_of(runs):
            write(dataclasses.replace(whole, asked=Asked(asked_of(runs), tuple(more))))


def asked_of(runs: Sequence[RunConfig]) -> str:
    """What `Asked.of` is for these runs of a config."""
    return hashlib.sha256(json.dumps([config.to_dict(run) for run in runs], sort_keys=True).encode()).hexdigest()[:12]


def _unchanged(found: StudyFolder, now: Mapping[tuple[DataConfig, int], str]) -> None:
    """Refuses a text that is no longer the one that runs of this study read: under its name they would be others."""
    wanted = set(found.runs)
    for pack in found.all_packs:
        for run in pack.runs:
            id = now.get((run.config.data, run.config.model.n_vocab), run.tokens_id)
            if id != run.tokens_id and run.id in wanted:
                raise InputError(
                    f"{run.config.data.source} is not the text it was when {found.path} was begun (tokens "
                    f"{run.tokens_id}, now {id}); put the old text back, or use a new --out folder"
                )


def tokens_of(
    data: tuple[DataConfig, int], runs: Sequence[RunConfig], say: Callable[[str], None]
) -> token_set.TokenSet:
    """The prepared tokens of a source and a size of vocabulary, as many as those of the runs that use them need."""
    source, n_vocab = data
    users = [run for run in runs if (run.data, run.model.n_vocab) == data]
    return encoding.prepare(
        source.source,
        source.tokenizer,
        n_vocab,
        train_tokens=max(run.pool for run in users),
        validation_tokens=max(run.model.n_ctx * run.eval.windows for run in users),
        validation_source=source.validation,
        cache=folders.cache(),
        say=say,
    )


def _transfer_tokens(
    name: str, source: str, stream: token_set.TokenSet, runs: Sequence[RunConfig], say: Callable[[str], None]
) -> token_set.TokenSet:
    """Text of another source, all of which is held out, in the tokens of `stream`, which come from `source`."""
    kind = stream.manifest["tokenizer"]["kind"]
    return encoding.prepare(
        source,
        "bytes" if kind == "bytes" else str(stream.folder / "tokenizer.model"),
        stream.n_vocab,
        train_tokens=1,
        validation_tokens=max(run.model.n_ctx * run.eval.windows for run in runs if name in run.eval.transfer),
        validation_source=name,
        cache=folders.cache(),
        say=say,
    )


def _bytes_per_token(stream: token_set.TokenSet, run: RunConfig) -> float:
    return _window_bytes(stream.folder, run.model.n_ctx, run.eval.windows)


@functools.lru_cache(maxsize=64)
def _window_bytes(folder: Path, n_ctx: int, n_windows: int) -> float:
    stream = token_set.open_tokens(folder)
    windows = batches.validation_windows(stream.validation, n_ctx, n_windows, stream.separator)
    return stream.bytes_of(windows[:, 1:]) / windows[:, 1:].size


def _fits(whole: StudyFolder, costs: calibration.Costs, mesh: Mapping[str, int], devices: int) -> None:
    """Refuses what neither the memory nor the disk can hold."""
    work = [pack.configs for pack in whole.packs if not whole.done(pack)]
    if work:
        calibration.check(work, whole.layout, costs, whole.path, mesh, devices)


def read(folder: Path) -> StudyFolder:
    """The study in `folder`, as study.json has it."""
    path = folder / "study.json"
    if not path.exists():
        raise InputError(
            f"{folder} is not a study: it has no study.json; make one with scaling study run CONFIG --out {folder}"
        )
    try:
        values = json.loads(path.read_bytes())
        found = values["format"]
        if found == FORMAT:
            return _from_json(folder, values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {error}); use a new --out folder or put back a copy"
        ) from None
    raise InputError(f"{path} has format {found}, this version reads {FORMAT}; use a new --out folder")


def current(folder: Path) -> StudyFolder:
    """The study in `folder` as it is now; the very same object while its file is the same."""
    try:
        with (folder / "study.json").open("rb") as file:  # opened, since a network disk then asks for what is new
            at = os.fstat(file.fileno())
    except FileNotFoundError:
        return read(folder)  # which says so
    return _read_once(folder, (at.st_ino, at.st_mtime_ns, at.st_size))


@functools.lru_cache(maxsize=1)
def _read_once(folder: Path, stamp: tuple[int, ...]) -> StudyFolder:
    return read(folder)


def _from_json(folder: Path, values: dict[str, Any]) -> StudyFolder:
    packs = tuple(Pack(pack["id"], tuple(planned_run(run) for run in pack["runs"])) for pack in values["packs"])
    asked = values.get("asked")
    return StudyFolder(
        path=folder,
        name=values["name"],
        question=values["question"],
        layout=Layout(**values["layout"]),
        tokens=values["tokens"],
        runs=tuple(values["runs"]),
        all_packs=packs,
        asked=Asked(asked["of"], tuple(config.from_dict(RunConfig, run) for run in asked["runs"])) if asked else None,
    )


def planned_run(values: Mapping[str, Any]) -> PlannedRun:
    """The inverse of `dataclasses.asdict`."""
    semantics = values.get("semantics", config.semantics_of(values["config"]))
    made = {"config": config.recorded(values["config"], semantics), "semantics": semantics}
    return PlannedRun(**{**values, **made, "transfer_ids": tuple(values.get("transfer_ids", ()))})


def write(study: StudyFolder) -> None:
    """Replaces study.json; for the holder of the study's planning claim."""
    folders.write_json(
        study.path / "study.json",
        {
            "format": FORMAT,
            "name": study.name,
            "question": study.question,
            "layout": dataclasses.asdict(study.layout),
            "tokens": study.tokens,
            "runs": study.runs,
            "packs": [dataclasses.asdict(pack) for pack in study.all_packs],
            "asked": dataclasses.asdict(study.asked) if study.asked else None,
        },
    )
