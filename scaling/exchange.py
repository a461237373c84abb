"""Finished packs as small files, so that results move between machines and count as done there.

    manifest.json   the study's name and question, and of each pack its runs with their configs, the checksum of its
                    history, and where and with what it was trained
    ID.npz          the history of pack ID, without parameters

In a folder or a tar file. What comes in is checked before anything is written: names and sizes, checksums, that each
run has the identity that its config gives, and that each history has the arrays that its configs give. What became of a
run is read from its history. Nothing is unpickled, and no name in a file decides where something is written.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import math
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling import calibration, claims, config, folders, histories, layout, study, worker
from scaling.errors import InputError
from scaling.study import Pack, PlannedRun, StudyFolder

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST = 2**31  # bytes of one member
ORIGIN = ("machine", "versions", "code", "settings")  # of a done.json, as text
OPTIONAL = ("steps", "updates_trained", "window_loss")  # arrays that older histories lack
DAMAGED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,  # what zipfile and json say of a member that is encrypted, or nested too deeply
    MemoryError,
    OverflowError,
    OSError,
    EOFError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
)


def write(whole: StudyFolder, path: Path) -> int:
    """Writes the finished packs of a study to a new folder, or to a tar file (.tar, .tar.gz); how many runs those are.

    Raises:
        InputError: no pack is finished, or a name that is neither a folder's nor a tar file's.
    """
    if path.suffix and not path.name.endswith((".tar", ".tar.gz")):
        raise InputError(f"{path} ends in {path.suffix}; give a file that ends in .tar or .tar.gz, or a new folder")
    packs, files = [], {}
    for pack in whole.packs:
        done = whole.done(pack)
        found = study.history(whole, pack) if done else None
        if done and found is not None:
            file = io.BytesIO()
            np.savez(file, **found)  # pyright: ignore[reportArgumentType]
            files[f"{pack.id}.npz"] = file.getvalue()
            sha256 = hashlib.sha256(file.getvalue()).hexdigest()
            runs = [dataclasses.asdict(run) for run in pack.runs]
            origin = {name: done[name] for name in ORIGIN if name in done}
            packs.append({"id": pack.id, "runs": runs, "done": {"history": sha256, **origin}})
    if not packs:
        raise InputError(f"{whole.path}: no pack is finished, so there is nothing to export yet")
    manifest = {
        "format": FORMAT,
        "name": whole.name,
        "question": whole.question,
        "packs": packs,
    }
    files = {MANIFEST: json.dumps(manifest, indent=1).encode(), **files}
    if path.name.endswith((".tar", ".tar.gz")):
        folders.write(path, _tar(files, "gz" if path.suffix == ".gz" else ""))
    elif path.exists():
        raise InputError(f"{path} exists; give a new folder, or a file that ends in .tar or .tar.gz")
    else:
        for name, content in files.items():
            folders.write(path / name, content)
    return sum(len(pack["runs"]) for pack in packs)


def read(folder: Path, path: Path, say: Callable[[str], None]) -> int:
    """Takes the finished packs in a file of `write` into the study in `folder`, or makes one; how many runs are new.

    A run that is already done here, or is being trained in the very pack that comes in, stays as it is. One that waits
    here in another pack is taken from that pack, unless it has begun.

    Raises:
        InputError: not such a file, edited, of another version, or of another study.
    """
    manifest, packs = _checked(path)
    with claims.held(folder / "planning", say, str(folder)):
        there = (folder / "study.json").exists()
        whole = study.read(folder) if there else _empty(folder, manifest, [pack for pack, _, _ in packs])
        if whole.name != manifest["name"]:
            raise InputError(f"{path} is of study {manifest['name']!r}, {folder} of {whole.name!r}; use another folder")
        done = {run.id for pack in whole.all_packs if whole.done(pack) for run in pack.runs}
        known = {run.id: run for pack in whole.all_packs for run in pack.runs}  # described by this machine's tokens
        offered = [
            (Pack(pack.id, tuple(known.get(run.id, run) for run in pack.runs)), content, told)
            for pack, content, told in packs
            if not {run.id for run in pack.runs} <= done
        ]
        new: list[Pack] = []
        for pack, content, told in offered:
            claim = claims.take(whole.claims(pack))
            if claim is None:
                say(f"pack {pack.id} is being trained here, and stays as it is")
                continue
            with claim:
                if whole.done(pack):  # since we looked
                    continue
                folders.write(claim.folder / "history.npz", content)
                folders.write_json(claim.folder / "done.json", told)
                new.append(pack)
        coming = {pack.id for pack in new}
        taken = {run.id for pack in new for run in pack.runs}
        kept: list[Pack] = []
        with contextlib.ExitStack() as held:  # what is dissolved, so that nobody begins it until study.json tells
            for pack in whole.all_packs:
                if pack.id in coming:
                    continue
                left = tuple(run for run in pack.runs if run.id not in taken)
                if len(left) == len(pack.runs) or not _dissolved(whole, pack, held):
                    kept.append(pack)
                elif left:
                    kept.append(Pack(layout.pack_id(run.id for run in left), left))
            runs = dict.fromkeys((*whole.runs, *(run.id for pack in new for run in pack.runs)))
            study.write(dataclasses.replace(whole, runs=tuple(runs), all_packs=(*kept, *new)))
    return len(taken - done)


def _dissolved(whole: StudyFolder, pack: Pack, held: contextlib.ExitStack) -> bool:
    """Whether a pack has not begun, and is ours until `held` ends."""
    claim = claims.take(whole.claims(pack))
    if claim is None:
        return False
    held.enter_context(claim)
    return not whole.done(pack) and not folders.saved_steps(claim.folder)


def _empty(folder: Path, manifest: Mapping[str, Any], packs: Sequence[Pack]) -> StudyFolder:
    """A study without runs, laid out for this machine: what suits another tells nothing here."""
    costs = calibration.kept(layout.device(), layout.devices(layout.device()))
    lanes = max(costs.lanes(run) for pack in packs for run in pack.configs)
    return StudyFolder(
        folder, manifest["name"], manifest["question"], layout.choose(0, 0, None, lambda _: lanes), {}, (), ()
    )


def _checked(path: Path) -> tuple[dict[str, Any], list[tuple[Pack, bytes, dict[str, Any]]]]:
    """The manifest, and each pack with its history's bytes and its done.json."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; wanted what scaling study export --records wrote")
    try:
        files = dict(_members(path))
        manifest = json.loads(files.pop(MANIFEST))
        if manifest["format"] != FORMAT:
            raise InputError(f"{path} has format {manifest['format']}, this version reads {FORMAT}")
        packs = [_pack(one, files.pop(f"{one['id']}.npz")) for one in manifest["packs"]]
        if not packs:
            raise ValueError("it has no pack")
        if not isinstance(manifest["name"], str) or not isinstance(manifest["question"], str):
            raise ValueError("a name that is no text")
        if files:
            raise ValueError(f"{next(iter(files))} is of no pack")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except DAMAGED as error:
        said = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{path} is not what scaling study export --records writes, or was changed since "
            f"({type(error).__name__}: {said}); export again"
        ) from None
    return manifest, packs


def _pack(values: Mapping[str, Any], content: bytes) -> tuple[Pack, bytes, dict[str, Any]]:
    runs = tuple(study.planned_run(run) for run in values["runs"])
    for run in runs:
        if config.identity(run.config, run.tokens_id, run.transfer_ids, run.semantics) != run.id:
            raise ValueError(f"run {run.id} is not the run of its config, or of another version")
    if len({config.program(run.config) for run in runs}) != 1 or layout.pack_id(r.id for r in runs) != values["id"]:
        raise ValueError(f"pack {values['id']} is not the pack of its runs")
    with zipfile.ZipFile(io.BytesIO(content)) as members:
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.infolist()):
            raise ValueError("arrays that are compressed, as ours are not")
    for run in runs:
        _described(run)
    pack, done = Pack(values["id"], runs), values["done"]
    found = study.unpacked(content, done["history"])
    _complete(pack, found)
    told = {**worker.outcome(pack, found), "history": done["history"]}
    return pack, content, {**told, **_origin(done)}


def _described(run: PlannedRun) -> None:
    """Checks what is said of a run's tokens, which its identity does not cover."""
    for name, value in (("bytes_per_token", run.bytes_per_token), ("entropy_rate", run.entropy_rate)):
        known = isinstance(value, int | float) and math.isfinite(value) and value > 0
        if not known and not (name == "entropy_rate" and value in (None, 0)):
            raise ValueError(f"run {run.id} has {name} {value!r}, which is no positive number")
    if len(run.transfer_ids) != len(run.config.eval.transfer):
        raise ValueError(f"run {run.id} does not tell the tokens of its eval.transfer")


def _complete(pack: Pack, found: dict[str, np.ndarray]) -> None:
    """Checks that a history has the arrays that finished runs of these configs leave behind.

    Raises:
        ValueError: it has not, or a run stopped early and has not diverged.
    """

    configs, n = pack.configs, len(pack.runs)
    wanted, longest = configs[0].eval, pack.steps
    expected = histories.start(
        n,
        configs[0].model.n_ctx,
        windows=wanted.windows,
        noise=len(configs[0].noise_batches) if wanted.noise else 0,
        transfer=len(wanted.transfer),
        train=wanted.train_windows > 0,
    )
    expected |= {"steps": np.zeros(n, np.int64), "updates_trained": np.zeros(n)}
    rows, evaluations = len(found["train_loss"]), np.array(sorted({e for run in configs for e in run.eval_steps}))
    evaluations = evaluations[evaluations <= rows]
    for name in expected.keys() | found.keys():
        if name not in found and name in OPTIONAL:
            continue
        shape = expected[name].shape
        if shape[:1] == (0,):
            shape = (rows if name in ("train_loss", "grad_norm") else len(evaluations), *shape[1:])
        if found[name].shape != shape or found[name].dtype.kind != expected[name].dtype.kind:
            raise ValueError(f"the {name} of pack {pack.id} is not that of its runs")
    if not found["finished"]:
        raise ValueError(f"pack {pack.id} is not finished")
    if not 0 < rows <= longest or not np.array_equal(found["eval_step"], evaluations):
        raise ValueError(f"the history of pack {pack.id} is not that of its runs")
    amounts = [found[name] for name in ("seconds", "updates_trained") if name in found]
    if not all((np.isfinite(each) & (each >= 0)).all() for each in amounts):
        raise ValueError(f"the history of pack {pack.id} took a time that is none")
    steps = np.array([run.steps for run in configs])
    own = found.get("steps", np.full(n, rows))
    early = histories.steps(found) < steps
    if (own < 0).any() or (own > steps).any() or (early & ~histories.diverged(found)).any():
        raise ValueError(f"a run of pack {pack.id} is not finished")


def _origin(done: Mapping[str, Any]) -> dict[str, Any]:
    """Where and with what a pack was trained, which only its record can tell."""
    origin = {name: done[name] for name in ORIGIN if name in done}
    pairs = [pair for name in ("versions", "settings") for pair in origin.get(name, {}).items()]
    texts = (origin.get("machine", ""), origin.get("code", ""), *(text for pair in pairs for text in pair))
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a machine, a version, a code or a setting that is no text")
    return origin


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents; nothing else than plain files of the known names is looked at."""
    if path.is_dir():
        for file in path.iterdir():
            yield _name(file.name), file.read_bytes()
        return
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() and member.size <= LARGEST else None
            if file is None:
                raise ValueError(f"{member.name!r} is not a file of a sensible size")
            yield _name(member.name), file.read()


def _name(name: str) -> str:
    if name != MANIFEST and not re.fullmatch(r"[0-9a-f]{12}\.npz", name):
        raise ValueError(f"it holds {name!r}")
    return name


def _tar(files: Mapping[str, bytes], compression: str) -> bytes:
    """The same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}" if compression else "w") as archive:  # pyright: ignore
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
