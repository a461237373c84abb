"""Finished packs as small files, so that results move between machines and count as done there.

    manifest.json   the study's name and question, and of each pack its runs with their configs, and its done.json
    ID.npz          the history of pack ID, without parameters

In a folder or a tar file. What comes in is checked before anything is written: names and sizes, checksums, that each
run has the identity that its config gives, and that each history has the shape that its configs give. Nothing is
unpickled, and no name in a file decides where something is written.
"""

import dataclasses
import hashlib
import io
import json
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scaling import claims, config, folders, layout, study
from scaling.errors import InputError
from scaling.study import Pack, StudyFolder

FORMAT = 1
MANIFEST = "manifest.json"
LARGEST = 2**31  # bytes of one member


def write(whole: StudyFolder, path: Path) -> int:
    """Writes the finished packs of a study to a new folder, or to a tar file (.tar, .tar.gz); how many runs those are.

    Raises:
        InputError: no pack is finished.
    """
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
            packs.append({"id": pack.id, "runs": runs, "done": {**done, "history": sha256}})
    if not packs:
        raise InputError(f"{whole.path}: no pack is finished, so there is nothing to export yet")
    manifest = {
        "format": FORMAT,
        "name": whole.name,
        "question": whole.question,
        "layout": dataclasses.asdict(whole.layout),
        "packs": packs,
    }
    files = {MANIFEST: json.dumps(manifest, indent=1).encode(), **files}
    if ".tar" in path.suffixes:
        folders.write(path, _tar(files, "gz" if path.suffix == ".gz" else ""))
    elif path.exists():
        raise InputError(f"{path} exists; give a new folder, or a file that ends in .tar or .tar.gz")
    else:
        for name, content in files.items():
            folders.write(path / name, content)
    return sum(len(pack["runs"]) for pack in packs)


def read(folder: Path, path: Path, say: Callable[[str], None]) -> int:
    """Takes the finished packs in a file of `write` into the study in `folder`, or makes one; how many runs are new.

    A run that is already done here stays as it is. One that waits here in another pack is taken from that pack, unless
    it has begun.

    Raises:
        InputError: not such a file, edited, of another version, or of another study.
    """
    manifest, packs = _checked(path)
    with claims.held(folder / "planning", say, str(folder)):
        there = (folder / "study.json").exists()
        whole = study.read(folder) if there else _empty(folder, manifest)
        if whole.name != manifest["name"]:
            raise InputError(f"{path} is of study {manifest['name']!r}, {folder} of {whole.name!r}; use another folder")
        done = {run.id for pack in whole.all_packs if whole.done(pack) for run in pack.runs}
        new = [(pack, content, told) for pack, content, told in packs if not {r.id for r in pack.runs} <= done]
        for pack, content, told in new:
            claim = claims.take(whole.claims(pack))
            if claim is None:
                raise InputError(f"pack {pack.id} is being trained here; import when that has ended")
            with claim:
                folders.write(claim.folder / "history.npz", content)
                folders.write_json(claim.folder / "done.json", told)
        coming = {pack.id for pack, _, _ in new}
        taken = {run.id for pack, _, _ in new for run in pack.runs}
        kept: list[Pack] = []
        for pack in whole.all_packs:
            if pack.id in coming:
                continue
            left = tuple(run for run in pack.runs if run.id not in taken)
            begun = whole.claims(pack).exists()
            if len(left) == len(pack.runs) or begun:
                kept.append(pack)
            elif left:
                kept.append(Pack(layout.pack_id(run.id for run in left), left))
        runs = dict.fromkeys((*whole.runs, *(run.id for pack, _, _ in new for run in pack.runs)))
        packs_now = (*kept, *(pack for pack, _, _ in new))
        study.write(dataclasses.replace(whole, runs=tuple(runs), all_packs=packs_now))
    return len(taken - done)


def _empty(folder: Path, manifest: Mapping[str, Any]) -> StudyFolder:
    spread = layout.Layout(**manifest["layout"])
    return StudyFolder(folder, manifest["name"], manifest["question"], spread, {}, (), ())


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
        layout.Layout(**manifest["layout"])
        if not isinstance(manifest["name"], str) or not isinstance(manifest["question"], str):
            raise ValueError("a name that is no text")
        if files:
            raise ValueError(f"{next(iter(files))} is of no pack")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        EOFError,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        said = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{path} is not what scaling study export --records writes, or was changed since "
            f"({type(error).__name__}: {said}); export again"
        ) from None
    return manifest, packs


def _pack(values: Mapping[str, Any], content: bytes) -> tuple[Pack, bytes, dict[str, Any]]:
    runs = tuple(study.planned_run(run) for run in values["runs"])
    for run in runs:
        if config.identity(run.config, run.tokens_id, run.transfer_ids) != run.id:
            raise ValueError(f"run {run.id} is not the run of its config, or of another version")
    if layout.pack_id(run.id for run in runs) != values["id"]:
        raise ValueError(f"pack {values['id']} is not the pack of its runs")
    with zipfile.ZipFile(io.BytesIO(content)) as members:
        if any(member.compress_type != zipfile.ZIP_STORED for member in members.infolist()):
            raise ValueError("arrays that are compressed, as ours are not")
    done = values["done"]
    found = study.unpacked(content, done["history"])
    n, longest = len(runs), max(run.config.steps for run in runs)
    rows = found["train_loss"]
    n_ctx = runs[0].config.model.n_ctx
    if rows.shape != (len(rows), n) or len(rows) > longest or found["eval_loss"].shape[1:] != (n, n_ctx):
        raise ValueError(f"the history of pack {values['id']} is not that of its runs")
    if not bool(found["finished"]) or not len(done["status"]) == len(done["loss"]) == n:
        raise ValueError(f"pack {values['id']} is not finished")
    if not set(done["status"]) <= {"done", "diverged"}:
        raise ValueError(f"pack {values['id']} has a status that does not exist")
    return Pack(values["id"], runs), content, done


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
