"""Finished packs as small files, so that results move between machines and count as done there.

    manifest.json   the study's name and question, and of each pack its runs with their configs, the checksum of its
                    history, and where and with what it was trained
    ID.npz          the history of pack ID, without parameters

In a folder or a tar file, the manifest first. What comes in is checked before anything is written: names and sizes,
checksums, that each run has the identity that its config gives, and that each history has the arrays that its configs
give. It is read twice, the second time to be kept, one history at a time: of MANIFEST_ROOM and of the largest history,
at most MEMBER_ROOM, memory is a few times. What became of a run is read from its history. Nothing is unpickled, and no
name in a file decides where something is written.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from scaling import calibration, checked, claims, folders, histories, layout, study, worker
from scaling.checked import Damaged, Field
from scaling.errors import InputError
from scaling.study import Pack, StudyFolder

FORMAT = 1
MANIFEST = "manifest.json"
MANIFEST_ROOM = checked.LARGE
MEMBER_ROOM = 2**29  # bytes of one history, where its configs ask for so much
BLOCK = 512  # bytes of a header of a tar file, and what its files are filled up to
PADDING = 2**16  # bytes of zeros that may end a tar file
ENDINGS = (".tar", ".tar.gz", ".tar.xz")
WANTED = ".tar, .tar.gz or .tar.xz"
GZIP, XZ = b"\x1f\x8b", b"\xfd7zXZ\0"  # with which such files begin
XZ_ROOM = 2**27  # bytes that unpacking may take: our own files want a tenth
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


def write(whole: StudyFolder, path: Path) -> int:
    """Writes the finished packs of a study to a new folder, or to a tar file (ENDINGS); how many runs those are.

    Raises:
        InputError: no pack is finished, or a name that is neither a folder's nor a tar file's.
    """
    if path.suffix and not path.name.endswith(ENDINGS):
        raise InputError(f"{path} ends in {path.suffix}; give a file that ends in {WANTED}, or a new folder")
    packs, files = [], {}
    with study.at_a_glance(whole):
        finished = [pack for pack in whole.packs if whole.done(pack)]
    for pack in finished:
        done = whole.done(pack)
        found = study.history(whole, pack) if done else None
        if done and found is not None:
            file = files[f"{pack.id}.npz"] = histories.packed(found)
            sha256 = hashlib.sha256(file).hexdigest()
            runs = [study.run_as_json(run) for run in pack.runs]
            origin = study.origin(Field(whole.path, "", done))
            packs.append({"id": pack.id, "runs": runs, "done": {"history": sha256, **origin}})
    if not packs:
        raise InputError(f"{whole.path}: no pack is finished, so there is nothing to export yet")
    manifest = folders.sealed({"format": FORMAT, "name": whole.name, "question": whole.question, "packs": packs})
    files = {MANIFEST: json.dumps(manifest, indent=1).encode(), **files}
    if path.name.endswith(ENDINGS):
        folders.write(path, _tar(files, path.suffix[1:] if path.suffix != ".tar" else ""))
    elif path.exists():
        raise InputError(f"{path} exists; give a new folder, or a file that ends in {WANTED}")
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
    for content, (pack, told) in _histories(path, packs):
        told |= _outcome(path, pack, content, told)
    with claims.held(folder / "planning", say, str(folder)):
        there = (folder / "study.json").exists()
        whole = study.read(folder) if there else _empty(folder, manifest, [pack for pack, _ in packs.values()])
        if whole.name != manifest["name"].value:
            name = checked.shown(manifest["name"].value)
            raise InputError(f"{path} is of study {name}, {folder} of {whole.name!r}; use another folder")
        done = {run.id for pack in whole.all_packs if whole.done(pack) for run in pack.runs}
        known = {run.id: run for pack in whole.all_packs for run in pack.runs}  # described by this machine's tokens
        new: list[Pack] = []
        for content, (pack, told) in _histories(path, packs):
            if {run.id for run in pack.runs} <= done:
                continue
            pack = Pack(pack.id, tuple(known.get(run.id, run) for run in pack.runs))
            claim = claims.take(whole.claims(pack))
            if claim is None:
                say(f"pack {pack.id} is being trained here, and stays as it is")
                continue
            with claim:
                if whole.done(pack):  # since we looked
                    continue
                checked.put(claim.folder / "history.npz", content)
                checked.write(claim.folder / "done.json", told)
                new.append(pack)
        coming, order = {pack.id for pack in new}, {id: n for n, id in enumerate(packs)}
        new.sort(key=lambda pack: order[pack.id])  # as the manifest has them
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


def _empty(folder: Path, manifest: Field, packs: Sequence[Pack]) -> StudyFolder:
    """A study without runs, laid out for this machine: what suits another tells nothing here."""
    costs = calibration.kept(layout.device(), layout.devices(layout.device()))
    lanes = max(costs.lanes(run) for pack in packs for run in pack.configs)
    return StudyFolder(
        folder,
        manifest["name"].text(),
        manifest["question"].text(),
        layout.choose(0, 0, None, lambda _: lanes),
        {},
        (),
        (),
    )


Packs = dict[str, tuple[Pack, dict[str, Any]]]  # by id: the pack, and what its done.json is to tell


def _checked(path: Path) -> tuple[Field, Packs]:
    """The manifest, and each pack with where it was trained and the checksum of its history."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; wanted what scaling study export --records wrote")
    with _refused(path):
        for name, file in _members(path):
            if name != MANIFEST:
                raise Damaged(f"{path} begins with {checked.shown(name)}, wanted {MANIFEST}")
            manifest = checked.parsed(path / MANIFEST, file(MANIFEST_ROOM))
            break
        else:
            raise Damaged(f"{path} is empty, wanted {MANIFEST}")
        if manifest["format"].value != FORMAT:
            found = checked.shown(manifest["format"].value)
            raise InputError(f"{path} has format {found}, this version reads {FORMAT}; use the version that wrote it")
        packs: Packs = {}
        for one in manifest["packs"].items():
            pack, done = study.planned_pack(one), one["done"]
            if pack.id in packs:
                raise one["id"].wrong("each pack once")
            packs[pack.id] = pack, {"history": done["history"].hex(64), **study.origin(done)}
        if not packs:
            raise manifest["packs"].wrong("at least one pack")
        manifest["name"].text()
        manifest["question"].text()
        manifest.sealed()
    return manifest, packs


def _histories(path: Path, packs: Packs) -> Iterator[tuple[bytes, tuple[Pack, dict[str, Any]]]]:
    """Each history with its pack, one at a time; all of them are there, and nothing else."""
    left = {f"{id}.npz": pack for id, pack in packs.items()}
    with _refused(path):
        for name, file in _members(path):
            if name == MANIFEST and len(left) == len(packs):
                continue
            if name not in left:
                raise Damaged(f"{path}: {checked.shown(name)} is of no pack, or there twice")
            pack, told = left.pop(name)
            content = file(min(pack.largest_history, MEMBER_ROOM))
            if hashlib.sha256(content).hexdigest() != told["history"]:
                raise Damaged(f"{path}: {name}: it is not what was written, by its checksum")
            yield content, (pack, told)
        if left:
            raise Damaged(f"{path}: {next(iter(left))} is missing")


def _outcome(path: Path, pack: Pack, content: bytes, told: Mapping[str, Any]) -> dict[str, Any]:
    """What became of a pack's runs, by their history."""
    with _refused(path):
        try:
            found = study.unpacked(content, told["history"])
            study.check_history(pack, found, finished=True)
        except Damaged:
            raise
        except ValueError as error:
            raise Damaged(f"{path}: {pack.id}.npz: {error}") from None
    return worker.outcome(pack, found)


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    """Turns what is wrong with an archive into one line with the way out."""
    way = "export again, with scaling study export --records"
    try:
        yield
    except Damaged as error:
        raise InputError(f"{error}; {way}") from None
    except UNREADABLE as error:
        said = (str(error).splitlines() or [""])[0]
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {said}), wanted a tar file; {way}") from None


Read = Callable[[int], bytes]  # the bytes of a member, which are at most so many


def _members(path: Path) -> Iterator[tuple[str, Read]]:
    """Names, and how each is read; the manifest first."""
    if path.is_dir():
        others = (file for file in sorted(path.iterdir()) if file.name != MANIFEST)
        for file in (path / MANIFEST, *others):
            if file.is_symlink() or not file.exists():
                raise Damaged(f"{path}: {checked.shown(file.name)} is {'a link' if file.is_symlink() else 'missing'}")
            yield file.name, lambda most, file=file: checked.content(file, most)
        return
    with folders.opened(path, "a tar file or a folder") as raw:
        begins = raw.read(len(XZ))
        raw.seek(0)
        if begins == XZ:
            yield from _tar_members(path, _Unpacked(raw).read)
        elif begins.startswith(GZIP):
            with gzip.GzipFile(fileobj=raw) as file:
                yield from _tar_members(path, file.read)
        else:
            yield from _tar_members(path, raw.read)


class _Unpacked:
    """What is in an xz file, without the memory that its header may ask for (Python's LZMAFile gives it)."""

    def __init__(self, file: IO[bytes]):
        self._file, self._lzma = file, lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_ROOM)

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size and not self._lzma.eof:
            some = self._file.read(io.DEFAULT_BUFFER_SIZE) if self._lzma.needs_input else b""
            if self._lzma.needs_input and not some:
                raise EOFError("it is cut short")
            found += self._lzma.decompress(some, size - len(found))
        if self._lzma.eof and (self._lzma.unused_data or self._file.read(1)):
            raise lzma.LZMAError("it goes on after its end")
        return bytes(found)


def _tar_members(path: Path, file: Read) -> Iterator[tuple[str, Read]]:
    """The members of a tar file as we write it: plain files with short names. Python's own reader takes what a header
    of an extension announces into memory, however much that is.
    """
    while (header := file(BLOCK)) != bytes(BLOCK):
        try:
            member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            raise Damaged(f"{path} is no tar file, or cut short") from None
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise Damaged(f"{path}: {checked.shown(member.name)} is a link, a folder or a device, wanted files")
        read = False

        def content(most: int, member: tarfile.TarInfo = member) -> bytes:
            nonlocal read
            if not 0 <= member.size <= most:
                raise Damaged(f"{path}: {member.name} has {member.size:,} bytes, wanted at most {most:,}")
            found, read = file(member.size), True
            if len(found) < member.size or len(file(-member.size % BLOCK)) < -member.size % BLOCK:
                raise Damaged(f"{path} is cut short")
            return found

        yield member.name, content
        if not read:
            content(MANIFEST_ROOM)
    rest = file(PADDING + 1)
    if len(rest) > PADDING or rest.strip(b"\0"):
        raise Damaged(f"{path} goes on after its last member")


def _tar(files: Mapping[str, bytes], compression: str) -> bytes:
    """The same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}" if compression else "w") as archive:  # pyright: ignore
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
