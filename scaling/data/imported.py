"""Tokens that were made elsewhere, as prepared tokens: .npy arrays, and .bin files of nothing but ids.

The ids stay in their order. Without a file of their own, about 3 % of the documents are held out, by a hash of their
tokens, so that equal documents are on one side.
"""

import dataclasses
import functools
import glob
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling import folders
from scaling.data import disk
from scaling.data.documents import first_line
from scaling.data.encoding import write_manifest
from scaling.data.index import HELD_OUT
from scaling.data.token_set import IMPORTED, PACKING, SPLITS, TokenSet, identity, open_tokens
from scaling.data.tokenizer import Tokenizer
from scaling.errors import InputError

TYPES = {"u16": np.dtype("<u2"), "u32": np.dtype("<u4"), "i32": np.dtype("<i4"), "i64": np.dtype("<i8")}
HEADER = 1024  # bytes before the ids in files of llm.c
MAGIC = {20240520: "u16", 20240801: "u32"}  # with which that header begins
CHUNK = 2**22  # ids at once
LOOK = 2**16  # ids that are looked at to say whether they are of another type


def import_tokens(
    train: str,
    *,
    n_vocab: int,
    eos: int | None = None,
    dtype: str = "",
    validation: str = "",
    tokenizer: str = "",
    bytes_per_token: float | None = None,
    cache: Path,
    say: disk.Say,
) -> TokenSet:
    """Files of ids as a token set in the cache.

    Args:
        train: a file, or a pattern for several, read in the order of their names.
        n_vocab: of the vocabulary; every id is below.
        eos: the id that ends a document; None for that of `tokenizer`.
        dtype: of .bin files, one of TYPES; may be left out where a file says it itself.
        validation: files that are held out.
        tokenizer: that made the ids, see `Tokenizer.load`; says what bytes each stands for.
        bytes_per_token: in its place, their average, end of text not counted.

    Raises:
        InputError: files that cannot be read, ids that are no such ids, or nothing to hold out.
    """
    coder = Tokenizer.load(tokenizer) if tokenizer else None
    if coder is None and not bytes_per_token:
        raise InputError(
            "how much text a token stands for is not known; give --tokenizer FILE, or --bytes-per-token X (about 4.4 "
            "for English and 50,000 tokens; bits per byte depend on it, losses do not)"
        )
    if eos is None and coder is None:
        raise InputError("which id ends a document? give --eos ID, or the tokenizer")
    end = coder.eos if eos is None and coder is not None else int(eos or 0)
    if not 0 <= end < n_vocab:
        raise InputError(f"--eos {end} is no id of a vocabulary of {n_vocab}; wanted 0 to {n_vocab - 1}")
    if coder is not None and coder.n_vocab > n_vocab:
        has = coder.n_vocab
        raise InputError(f"--n-vocab {n_vocab}, but {tokenizer} has {has} tokens; use --n-vocab {has} or more")
    files = {"train": _opened(train, dtype), "validation": _opened(validation, dtype) if validation else []}
    with disk.room(cache):
        names = {"train": train, "validation": validation}
        return _Import(names, files, n_vocab, end, coder, bytes_per_token, cache, say).made()


def _opened(pattern: str, dtype: str) -> list[np.ndarray]:
    """The ids of each file, mapped from the disk."""
    name = os.path.expanduser(pattern)
    folders.on_disk(name)
    paths = [name] if os.path.isfile(name) else sorted(filter(os.path.isfile, glob.glob(name, recursive=True)))
    if not paths:
        raise InputError(f"{pattern} matches no file; give a .npy or .bin file, or a pattern in quotes")
    return [_ids(path, dtype) for path in paths]


def _ids(path: str, dtype: str) -> np.ndarray:
    if path.endswith(".npy"):
        try:
            ids = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: not a readable array ({first_line(error)}); save it by numpy.save") from None
        if ids.dtype.kind not in "iu":
            raise InputError(f"{path} holds {ids.dtype}; wanted whole numbers, an id each")
        return ids.reshape(-1)
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            head = [int.from_bytes(file.read(4), "little") for _ in range(3)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); wanted a .npy or .bin file") from None
    told = MAGIC.get(head[0], "") if size >= HEADER else ""
    start = HEADER if told else 0
    if told and dtype not in ("", told):
        raise InputError(f"{path} says that it holds {told}, not {dtype}; leave out --dtype")
    if not (told or dtype):
        raise InputError(f"{path} does not say of what type its ids are; give --dtype {' | '.join(TYPES)}")
    kind = TYPES[told or dtype]
    if (size - start) % kind.itemsize or (told and (size - start) // kind.itemsize != head[2]):
        wanted = f"{head[2]:,} ids, as it says" if told else f"a multiple of {kind.itemsize} bytes, as {dtype} has"
        raise InputError(f"{path} has {size:,} bytes; wanted {wanted}: it is cut short, or of another type")
    if size == start:
        return np.zeros(0, kind)
    ids = np.memmap(path, kind, "r", offset=start)
    some = np.asarray(ids[: LOOK // 2 * 2])
    if kind.itemsize == 2 and len(some) > 2 and not some[1::2].any():
        raise InputError(f"{path}: every second id is 0, so it holds four bytes per id; use --dtype u32")
    return ids


@dataclasses.dataclass
class _Import:
    """One call of `import_tokens`."""

    names: dict[str, str]
    files: dict[str, list[np.ndarray]]
    n_vocab: int
    eos: int
    coder: Tokenizer | None
    bytes_per_token: float | None
    cache: Path
    say: disk.Say

    @functools.cached_property
    def dtype(self) -> np.dtype:
        return np.dtype("<u2" if self.n_vocab <= 2**16 else "<u4")

    @functools.cached_property
    def n_bytes(self) -> np.ndarray:
        """Bytes that each id stands for, (n_vocab,)."""
        if self.coder is None:
            n_bytes = np.full(self.n_vocab, float(self.bytes_per_token or 0))
        else:
            n_bytes = np.zeros(self.n_vocab, np.int64)
            n_bytes[: self.coder.n_vocab] = self.coder.n_bytes
        n_bytes[self.eos] = 0
        return n_bytes

    def made(self) -> TokenSet:
        found = {split: self._look(split) for split in SPLITS}
        for split, one in found.items():
            if not one["tokens"]:
                way = "; give ids to hold out by --validation FILE" if split == "validation" else ""
                raise InputError(f"{self.names['train']}: nothing is left for {split}{way}")
        model = self.coder.model if self.coder else json.dumps([IMPORTED, self.n_vocab, self.eos]).encode()
        told = hashlib.sha256(model).hexdigest()
        name = identity(found["train"]["fingerprint"], found["validation"]["fingerprint"], told)
        folder = self.cache / "tokens" / name
        with disk.locked(folder, self.say):
            if not (folder / "manifest.json").exists():
                self._write(folder, name, found, model, told)
        made = open_tokens(folder)
        self._compare(made)
        return made

    def _write(self, folder: Path, name: str, found: dict[str, dict], model: bytes, told: str) -> None:
        wanted = sum(one["tokens"] for one in found.values()) * self.dtype.itemsize
        disk.want(folder, wanted)
        for split in SPLITS:
            disk.write(folder / f"{split}.bin", lambda file, split=split: self._copy(file, split))
        disk.write(folder / "token_bytes.npy", lambda file: np.save(file, self.n_bytes))
        kept = ["token_bytes.npy"]
        if self.coder:
            disk.write(folder / "tokenizer.model", lambda file: file.write(model))
            kept.append("tokenizer.model")
        source = {split: f"{IMPORTED}:{pattern}" if pattern else "" for split, pattern in self.names.items()}
        documents = sum(one["documents"] for one in found.values())
        none = {"duplicates": 0, "near_duplicates": 0, "empty": 0, "empty_names": []}
        manifest = {
            "format": PACKING,
            "id": name,
            "source": source["train"],
            "validation_source": source["validation"],
            "n_vocab": self.n_vocab,
            "dtype": self.dtype.name,
            "tokenizer": {"kind": self.coder.kind if self.coder else IMPORTED, "hash": told, "eos": self.eos},
            "files": {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in kept},
            "entropy_rate": None,
            "corpora": {source["train"]: {"documents": documents, **none}},
        }
        write_manifest(folder, manifest | found)

    def _copy(self, file: Any, split: str) -> None:
        for ids in self._stream(split):
            file.write(ids.tobytes())

    def _look(self, split: str) -> dict[str, Any]:
        """A split of the manifest: every id is checked and hashed."""
        n_tokens = n_documents = longest = held = 0
        n_bytes = 0.0
        whole, blocks = hashlib.sha256(), []
        for ids in self._stream(split):
            whole.update(ids.astype("<u4").tobytes())
            ends = np.flatnonzero(ids == self.eos)
            if len(ends):
                longest = max(longest, held + int(ends[0]) + 1, int(np.diff(ends).max(initial=0)))
                held = len(ids) - 1 - int(ends[-1])
            else:
                held += len(ids)
            blocks.append(
                {"tokens": len(ids), "documents": len(ends), "sha256": hashlib.sha256(ids.tobytes()).hexdigest()}
            )
            n_tokens, n_documents = n_tokens + len(ids), n_documents + len(ends)
            n_bytes += float(self.n_bytes[ids].sum())
        if held:
            longest, n_documents = max(longest, held), n_documents + 1
            blocks[-1]["documents"] += 1
        return {
            "tokens": n_tokens,
            "documents": n_documents,
            "bytes": round(n_bytes),
            "bytes_per_token": n_bytes / max(1, n_tokens),
            "fingerprint": whole.hexdigest(),
            "documents_in_corpus": n_documents,
            "bytes_in_corpus": round(n_bytes),
            "tokens_in_corpus": n_tokens,
            "longest": longest,
            "blocks": blocks,
        }

    def _stream(self, split: str) -> Iterator[np.ndarray]:
        """The ids of a split, checked, about CHUNK at a time."""
        if self.names["validation"]:
            yield from self._checked(self.files[split], self.names[split])
            return
        held: list[np.ndarray] = []
        room = CHUNK
        for document in self._documents():
            digest = hashlib.blake2b(document.tobytes(), digest_size=8).digest()
            if (int.from_bytes(digest, "little") < HELD_OUT * 2**64) == (split == "validation"):
                held.append(document)
                room -= len(document)
                if room <= 0:
                    yield np.concatenate(held)
                    held, room = [], CHUNK
        if held:
            yield np.concatenate(held)

    def _documents(self) -> Iterator[np.ndarray]:
        begun: list[np.ndarray] = []
        for ids in self._checked(self.files["train"], self.names["train"]):
            first, *rest = np.split(ids, np.flatnonzero(ids == self.eos) + 1)
            begun.append(first)
            for document in rest:
                yield np.concatenate(begun)
                begun = [document]
        if sum(map(len, begun)):
            yield np.concatenate(begun)

    def _checked(self, files: Sequence[np.ndarray], name: str) -> Iterator[np.ndarray]:
        """The ids of files one after the other, as they are kept."""
        at = 0
        for ids in files:
            for start in range(0, len(ids), CHUNK):
                some = np.asarray(ids[start : start + CHUNK])
                low, high = some.min(), some.max()
                if low < 0 or high >= self.n_vocab:
                    wrong = int(np.flatnonzero((some < 0) | (some >= self.n_vocab))[0])
                    raise InputError(
                        f"{name}: id {at + start + wrong:,} is {some[wrong]}, wanted 0 to {self.n_vocab - 1}; the "
                        "vocabulary is larger, or the ids are of another type (--dtype)"
                    )
                yield some.astype(self.dtype)
            at += len(ids)

    def _compare(self, made: TokenSet) -> None:
        """Says what looks wrong about ids that are possible."""
        if self.coder is not None and len(made.train):
            some = np.asarray(made.train[:4096])
            ends = np.flatnonzero(some == self.eos)
            whole = [part for part in np.split(some, ends) if (part != self.eos).any()][: len(ends)]
            document = whole[0][whole[0] != self.eos] if whole else some[:0]
            if not np.array_equal(self.coder.encode(self.coder.decode(document)), document):
                self.say("the first document's text gives other ids by this tokenizer; is it the one that made them?")
        if made.manifest["train"]["documents"] == 1:
            self.say(f"the end of text, id {self.eos}, is nowhere inside the ids, so they count as one document")
