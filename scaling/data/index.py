"""Which documents of a corpus are used, on which side of the split, and in which order.

The order is that of a hash of the text. So it does not depend on file names, every prefix is an unbiased sample of the
corpus, and equal documents fall together, where all but one are dropped.

Reading every document once gives an index, about 24 bytes per document, that is kept under the corpus' signature. It
is made part by part; parts that are done survive an interruption.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scaling import checked
from scaling.data import disk
from scaling.data.documents import PART, PIECE, Corpus, Part, read
from scaling.errors import InputError

RULES = 2  # raised when the order, the split or the rule for duplicates changes
HELD_OUT = 0.03  # share of the groups that the validation split gets, by hash
ROW = np.dtype([("key", "<u8"), ("place", "<u8"), ("part", "<u4"), ("size", "<u4")])  # size in bytes of UTF-8

N_HASH = 64  # values in a sketch of a document
BAND = 4  # documents that agree in BAND values side by side are compared
SHINGLE = 16  # bytes, from the start of each word
SIMILAR = 0.7  # estimated Jaccard similarity from which on two documents are near-duplicates

SCAN = np.dtype([*ROW.descr, ("group", "<u8")])
SCAN_WITH_SKETCH = np.dtype([*SCAN.descr, ("sketch", "<u4", (N_HASH,))])


class Changed(InputError):
    """Text is not what its index says: that has to be made again."""


@dataclasses.dataclass(frozen=True)
class Index:
    """The documents of a corpus, in stream order.

    Attributes:
        folder: where it is kept.
        summary: counts, fingerprints and the names of empty files; plain JSON.
    """

    folder: Path
    summary: dict

    def rows(self, split: str) -> np.ndarray:
        """ROW (n_documents,) of "train" or "validation", mapped from the disk."""
        return np.load(self.folder / f"{split}.npy", mmap_mode="r")


def open_index(corpus: Corpus, cache: Path, workers: int, say: disk.Say) -> Index:
    """The corpus' index: from the cache, or by reading all of the corpus.

    Raises:
        InputError: the corpus holds no text, or text that cannot be read.
    """
    identity = json.dumps([RULES, PART, PIECE, corpus.source.partition(":")[0], corpus.signature()])
    folder = cache / "index" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    if (summary := _summary(folder)) is None:
        with disk.locked(folder, say):
            if _summary(folder) is None:
                _build(corpus, folder, workers, say)
        summary = _summary(folder)
        assert summary
    return Index(folder, summary)


def _summary(folder: Path) -> dict | None:
    """What is kept of an index; None where it is to be made, or is damaged and to be made again."""
    try:
        told = checked.read(folder / "summary.json")
        for name in ("documents", "duplicates", "near_duplicates", "empty"):
            told[name].whole()
        for empty in told["empty_names"].items():
            empty.text()
        for split in ("train", "validation"):
            for name in ("documents", "bytes"):
                told[split][name].whole()
            told[split]["fingerprint"].hex(64)
            rows = np.load(folder / f"{split}.npy", mmap_mode="r")
            if rows.dtype != ROW or rows.shape != (told[split]["documents"].value,):
                return None
    except (OSError, ValueError, EOFError):
        return None
    return told.object()


def _build(corpus: Corpus, folder: Path, workers: int, say: disk.Say) -> None:
    parts = corpus.parts()
    work = folder / "parts"
    files = [work / f"{n}.npy" for n in range(len(parts))]
    todo = [n for n, file in enumerate(files) if not file.exists()]
    say(f"reading {corpus.source}: {len(parts)} parts" + (f", {len(todo)} to go" if len(todo) < len(parts) else ""))
    tasks = [(parts[n], files[n], corpus.drops_near_duplicates) for n in todo]
    disk.run(_scan, tasks, [1] * len(tasks), workers, f"reading {corpus.source}", say)

    empty = [name for file in files for name in json.loads(file.with_suffix(".json").read_text())]
    scans = [np.load(file) for file in files]
    for n, scan in enumerate(scans):
        scan["part"] = n
    rows = np.concatenate(scans)
    if not len(rows):
        found = f"{len(empty)} empty, such as {empty[0]}" if empty else "no document at all"
        raise InputError(f"{corpus.source} holds no text ({found}); give at least one document that is not empty")

    groups = rows["group"]
    held_out = groups < np.uint64(HELD_OUT * 2**64)
    if not held_out.any() and groups.min() < groups.max():  # few groups: the first by hash
        held_out = groups == groups.min()
    # Held-out documents first, so that of equal ones on both sides that one is kept.
    order = np.concatenate([np.flatnonzero(held_out), np.flatnonzero(~held_out)])
    order = order[np.argsort(rows["key"][order], kind="stable")]
    keys = rows["key"][order]
    order = order[np.concatenate([[True], keys[1:] != keys[:-1]])]
    n_distinct = len(order)
    if corpus.drops_near_duplicates:
        order = order[_dissimilar(rows["sketch"][order])]

    summary: dict = {
        "documents": len(rows),
        "duplicates": len(rows) - n_distinct,
        "near_duplicates": n_distinct - len(order),
        "empty": len(empty),
        "empty_names": empty[:20],
    }
    for split, mask in (("validation", held_out[order]), ("train", ~held_out[order])):
        chosen = rows[list(ROW.names or ())][order[mask]].astype(ROW)
        disk.write(folder / f"{split}.npy", lambda file, chosen=chosen: np.save(file, chosen))
        summary[split] = summarise(chosen)
    disk.write(folder / "summary.json", lambda file: file.write(json.dumps(summary, indent=1).encode()))
    shutil.rmtree(work)


def summarise(rows: np.ndarray) -> dict:
    """Counts of documents and bytes, and a fingerprint of their text and order."""
    return {
        "documents": len(rows),
        "bytes": int(rows["size"].sum(dtype=np.int64)),
        "fingerprint": hashlib.sha256(rows["key"].tobytes()).hexdigest(),
    }


def key(text: bytes) -> int:
    """The place of a document in the order of all documents."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _scan(task: tuple[Part, Path, bool]) -> None:
    """Read one part, write what the index needs to know of it."""
    part, path, with_sketch = task
    rows, empty = [], []
    for place, document in read(part):
        text = document.text.encode()
        if text:
            group = key(document.group.encode("utf-8", "surrogateescape") or b"alone:" + text)
            rows.append((key(text), place, 0, len(text), group, *([sketch(text)] if with_sketch else [])))
        else:
            empty.append(document.id)
    scan = np.array(rows, SCAN_WITH_SKETCH if with_sketch else SCAN)
    disk.write(path.with_suffix(".json"), lambda file: file.write(json.dumps(empty).encode()))
    disk.write(path, lambda file: np.save(file, scan))


# Near-duplicates: Broder (1997), On the resemblance and containment of documents.

_RNG = np.random.Generator(np.random.PCG64(1997))
_FACTORS = _RNG.integers(0, 2**31, N_HASH, np.uint32) * np.uint32(2) + np.uint32(1)
_MASKS = _RNG.integers(0, 2**32, N_HASH, np.uint32)


def sketch(text: bytes) -> np.ndarray:
    """MinHash of a text's shingles, u32 (N_HASH,): two sketches agree in about the Jaccard similarity of the sets."""
    padded = np.frombuffer(text + b" " * SHINGLE, np.uint8)
    space = padded <= 32
    starts = np.flatnonzero(~space & np.concatenate([[True], space[:-1]]))
    windows = np.lib.stride_tricks.sliding_window_view(padded, SHINGLE)[starts].view("<u8")  # (n, 2)
    hashes = windows[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ windows[:, 1] * np.uint64(0xD1342543DE82EF95)
    hashes = ((hashes ^ hashes >> np.uint64(29)) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(32)).astype(np.uint32)
    least = np.full(N_HASH, 2**32 - 1, np.uint32)
    for block in range(0, len(hashes), 1024):  # so that the products stay in the cache
        values = (hashes[block : block + 1024, None] ^ _MASKS) * _FACTORS
        least = np.minimum(least, values.min(axis=0))
    return least


def _dissimilar(sketches: np.ndarray) -> np.ndarray:
    """Which documents to keep, i64: in order, those not similar to one kept before."""
    kept: list[int] = []
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for i, values in enumerate(sketches):
        bands = [(b, values[b : b + BAND].tobytes()) for b in range(0, N_HASH, BAND)]
        rivals = {j for band in bands for j in buckets.get(band, ())}
        if any(np.count_nonzero(sketches[j] == values) >= SIMILAR * N_HASH for j in rivals):
            continue
        kept.append(i)
        for band in bands:
            buckets.setdefault(band, []).append(i)
    return np.array(kept, np.int64)


# From rows back to text


def by_part(rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The rows of each part that has any, in the order in which the part is read."""
    order = np.lexsort((rows["place"], rows["part"]))
    parts, starts = np.unique(rows["part"][order], return_index=True)
    return [(int(part), rows[chunk]) for part, chunk in zip(parts, np.split(order, starts[1:]), strict=True)]


def texts(part: Part, rows: np.ndarray) -> Iterator[str]:
    """The text of some documents of one part, in the order of `by_part`.

    Raises:
        Changed: the text is not what it was when the index was made.
    """
    found = 0
    for (_, document), expected in zip(read(part, rows["place"]), rows["key"], strict=False):
        if key(document.text.encode()) != expected:
            raise Changed(f"{document.id} changed while it was being read; leave the text alone and run again")
        yield document.text
        found += 1
    if found < len(rows):
        raise Changed(f"{len(rows) - found} documents vanished while they were being read; run again")
