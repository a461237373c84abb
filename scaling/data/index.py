"""Which documents of a corpus are used, on which side of the split, and in which order.

The order is that of a hash of the text. So it does not depend on file names, every prefix is an unbiased sample of the
corpus, and equal documents fall together, where all but one are dropped; so are copies, which differ in white space and
the case of letters alone, or of the Python sources near-duplicates.

A document of more than PIECE characters and a thousandth of the corpus' bytes (or of its training text's, where it is
held out beside one) is cut into pieces, each a document of its own: otherwise a few documents would fill a small
sample, and a loss on it would be theirs.

Reading every document once gives a scan, about 120 bytes per document, that is kept under the corpus' signature. It
is made part by part; parts that are done survive an interruption. An index is drawn from it in a moment.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scaling import checked
from scaling.data import copies, disk
from scaling.data.documents import PART, PIECE, WHOLE, Corpus, Document, Part, check_rules, pieces, read, rules
from scaling.errors import InputError

RULES = 3  # raised when the order, the split or the rules for cutting and for copies change
HELD_OUT = 0.03  # share of the groups that the validation split gets, by hash
HELD_OUT_BELOW = int(HELD_OUT * 2**64)  # the hash of a group
CUT = 1000  # a long document is cut if it has more than one in so many bytes of the corpus

ROW = np.dtype(
    [
        ("key", "<u8"),
        ("copy", "<u8"),  # the key of what copies have in common
        ("place", "<u8"),  # of the document in its part
        ("row", "<u8"),  # in the scan
        ("part", "<u4"),
        ("size", "<u4"),  # bytes of UTF-8
        ("piece", "<u4"),  # of the document, from 1; 0: all of it
    ]
)
SCAN = [*ROW.descr, ("group", "<u8"), ("of", "<u4")]  # bytes of the long document that it is, or is a piece of; or 0
SCAN_WITH = {
    True: np.dtype([*SCAN, ("sketch", "<u4", (copies.N_HASH,))]),  # by Corpus.drops_near_duplicates
    False: np.dtype([*SCAN, ("outline", "u1", (copies.N_HASH,))]),
}
TOGETHER = 2**18  # bytes of text whose outlines are drawn at once
ALWAYS = 2**32 - 1  # `of` a document that is cut whatever the corpus
COUNTS = ("documents", "cut", "duplicates", "copies", "near_duplicates", "empty", "null")


class Changed(InputError):
    """Text is not what its index says: that has to be made again."""


@dataclasses.dataclass(frozen=True)
class Index:
    """The documents of a corpus, in stream order.

    Attributes:
        folder: where all that was read of the corpus is kept.
        limit: bytes from which on a long document is cut.
        piece: characters of a piece.
        summary: counts, fingerprints and the names of empty files; plain JSON.
    """

    folder: Path
    limit: int
    piece: int
    summary: dict

    def rows(self, split: str) -> np.ndarray:
        """ROW (n_documents,) of "train" or "validation", mapped from the disk."""
        return np.load(self.folder / str(self.limit) / f"{split}.npy", mmap_mode="r")

    def outlines(self, rows: np.ndarray) -> np.ndarray | None:
        """Of `rows`, u8 (n, copies.N_HASH); None where near-copies were dropped."""
        scan = np.load(self.folder / "scan.npy", mmap_mode="r")
        return scan["outline"][rows["row"]] if "outline" in (scan.dtype.names or ()) else None


def open_index(corpus: Corpus, cache: Path, workers: int, say: disk.Say, limit: int | None = None) -> Index:
    """The corpus' index: from the cache, or by reading all of the corpus.

    Args:
        limit: bytes from which on a long document is cut; None: one in CUT of the corpus.

    Raises:
        InputError: the corpus holds no text, or text that cannot be read.
    """
    identity = json.dumps([RULES, PART, PIECE, WHOLE, corpus.source.partition(":")[0], corpus.cut, corpus.signature()])
    folder = cache / "index" / hashlib.sha256(identity.encode()).hexdigest()[:16]
    found = _summary(folder, limit)
    if found is None:
        with disk.locked(folder, say):
            if (read := _scanned(folder)) is None:
                _read(corpus, folder, workers, say)
                read = _scanned(folder)
                assert read
            if _summary(folder, limit) is None:
                _build(corpus, folder, read["limit"] if limit is None else limit, read)
        found = _summary(folder, limit)
        assert found
    return Index(folder, found["limit"], found["piece"], found)


def _scanned(folder: Path) -> dict | None:
    """What is kept of all that was read of a corpus; None where it is to be read (again)."""
    try:
        told = checked.read(folder / "scan.json")
        for name in ("rows", "limit", "empty", "null"):
            told[name].whole()
        for empty in told["empty_names"].items():
            empty.text()
        check_rules(told)
        rows = np.load(folder / "scan.npy", mmap_mode="r")
        if rows.dtype not in SCAN_WITH.values() or rows.shape != (told["rows"].value,):
            return None
    except (OSError, ValueError, EOFError):
        return None
    return told.object()


def _summary(folder: Path, limit: int | None) -> dict | None:
    """What is kept of an index; None where it is to be made, or is damaged and to be made again."""
    read = _scanned(folder)
    if read is None:
        return None
    place = folder / str(read["limit"] if limit is None else limit)
    try:
        told = checked.read(place / "summary.json")
        for name in ("limit", "piece", *COUNTS):
            told[name].whole()
        if near := told.get("held_out_near_copies"):
            near.whole()
        for empty in told["empty_names"].items():
            empty.text()
        check_rules(told)
        for split in ("train", "validation"):
            for name in ("documents", "bytes"):
                told[split][name].whole()
            told[split]["fingerprint"].hex(64)
            rows = np.load(place / f"{split}.npy", mmap_mode="r")
            if rows.dtype != ROW or rows.shape != (told[split]["documents"].value,):
                return None
    except (OSError, ValueError, EOFError):
        return None
    return told.object()


def _read(corpus: Corpus, folder: Path, workers: int, say: disk.Say) -> None:
    """Reads all of a corpus: folder/scan.npy and folder/scan.json."""
    parts = corpus.parts()
    work = folder / "parts"
    files = [work / f"{n}.npy" for n in range(len(parts))]
    todo = [n for n, file in enumerate(files) if not file.exists()]
    say(disk.begun(f"reading {corpus.source}", len(parts), len(todo)))
    tasks = [(parts[n], files[n], corpus.cut, corpus.drops_near_duplicates) for n in todo]
    disk.run(_scan, tasks, [1] * len(tasks), workers, f"reading {corpus.source}", say)

    left = [json.loads(file.with_suffix(".json").read_text()) for file in files]
    empty = [name for one in left for name in one["empty"]]
    null = sum(one["null"] for one in left)
    by_rule: dict[str, dict] = {}
    for one in left:
        for rule, met in one.get("rules", {}).items():
            total = by_rule.setdefault(rule, {**met, "documents": 0, "met": 0})
            for name in ("documents", "met"):
                total[name] += met[name]
    lengths = [len(np.load(file, mmap_mode="r")) for file in files]
    rows = np.empty(sum(lengths), SCAN_WITH[corpus.drops_near_duplicates])
    for n, (file, end) in enumerate(zip(files, np.cumsum(lengths).tolist(), strict=True)):
        some = rows[end - lengths[n] : end]
        some[:] = np.load(file)
        some["part"] = n
    if not len(rows):
        found = f"{len(empty)} empty, such as {empty[0]}" if empty else "no document at all"
        if null:
            found = f"{null} without a text"
        raise InputError(f"{corpus.source} holds no text ({found}); wanted at least one document that is not empty")
    rows["row"] = np.arange(len(rows))
    whole = (rows["piece"] == 0) | (rows["of"] == ALWAYS)
    total = int(rows["size"][whole].sum(dtype=np.int64))
    told = {"rows": len(rows), "limit": total // CUT, "empty": len(empty), "null": null, "empty_names": empty[:20]}
    told |= {"rules": by_rule}
    disk.write(folder / "scan.npy", lambda file: np.save(file, rows))
    disk.write(folder / "scan.json", lambda file: file.write(json.dumps(told, indent=1).encode()))
    shutil.rmtree(work)


def _build(corpus: Corpus, folder: Path, limit: int, read: dict) -> None:
    """Chooses, orders and splits what was read, with documents of more than `limit` bytes in pieces."""
    rows = np.load(folder / "scan.npy")
    rows = rows[(rows["of"] == 0) | ((rows["of"] <= limit) == (rows["piece"] == 0))]
    groups = rows["group"]
    held_out = groups < np.uint64(HELD_OUT_BELOW)
    if not held_out.any() and groups.min() < groups.max():  # few groups: the first by hash
        held_out = groups == groups.min()
    # Held-out documents first, so that of equal ones on both sides that one is kept.
    order = np.concatenate([np.flatnonzero(held_out), np.flatnonzero(~held_out)])
    order = order[np.argsort(rows["key"][order], kind="stable")]
    keys = rows["key"][order]
    order = order[np.concatenate([[True], keys[1:] != keys[:-1]])]
    n_distinct = len(order)
    if corpus.drops_near_duplicates:
        order = order[copies.dissimilar(rows["sketch"][order])]
        n_near = n_distinct - len(order)
    else:
        order = order[_first_of_copies(rows["copy"][order], held_out[order])]
        n_near = 0

    summary: dict = {
        "limit": limit,
        "piece": corpus.cut or PIECE,
        "documents": len(rows),
        "cut": int(np.count_nonzero(rows["piece"] == 1)),
        "duplicates": len(rows) - n_distinct,
        "copies": n_distinct - len(order) - n_near,
        "near_duplicates": n_near,
        **{name: read[name] for name in ("empty", "null", "empty_names")},
        "rules": read.get("rules", {}),
    }
    chosen = {"validation": rows[order[held_out[order]]], "train": rows[order[~held_out[order]]]}
    if not corpus.drops_near_duplicates:
        near = copies.repeated(chosen["validation"]["outline"], chosen["train"]["outline"])
        summary["held_out_near_copies"] = int(near.sum())
    for split, some in chosen.items():
        kept = some[list(ROW.names or ())].astype(ROW)
        disk.write(folder / str(limit) / f"{split}.npy", lambda file, kept=kept: np.save(file, kept))
        summary[split] = summarise(kept)
    disk.write(folder / str(limit) / "summary.json", lambda file: file.write(json.dumps(summary, indent=1).encode()))


def _first_of_copies(copy: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Which documents to keep, i64: in order, of those with one `copy` the first that is held out, or the first."""
    by_copy = np.lexsort((np.arange(len(copy)), ~held_out, copy))
    sorted_ = copy[by_copy]
    return np.sort(by_copy[np.concatenate([[True], sorted_[1:] != sorted_[:-1]])])


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


def on_held_out_side(document: Document) -> bool:
    """Whether a document, unless it is cut, is on the side that is never trained on, in a corpus of many groups."""
    return _side(document, document.text.encode()) < HELD_OUT_BELOW


def _side(document: Document, text: bytes) -> int:
    """The hash that says on which side a document or a piece of it is."""
    return key(document.group.encode("utf-8", "surrogateescape") or b"alone:" + text)


def _scan(task: tuple[Part, Path, int | None, bool]) -> None:
    """Read one part, write what an index needs to know of it."""
    part, path, cut, with_sketch = task
    scans: list[np.ndarray] = []
    rows: list[tuple] = []
    held: list[bytes] = []  # the texts of `rows`
    empty: list[str] = []
    null = 0

    def enter() -> None:
        scan = np.zeros(len(rows), SCAN_WITH[with_sketch])
        for n, name in enumerate(("key", "copy", "place", "size", "piece", "group", "of")):
            scan[name] = [row[n] for row in rows]
        if held:
            mark = "sketch" if with_sketch else "outline"
            scan[mark] = list(map(copies.sketch, held)) if with_sketch else copies.outlines(held)
        scans.append(scan)
        rows.clear()
        held.clear()

    room = TOGETHER
    for place, document in read(part):
        if document.null:
            null += 1
        elif document.text:
            for row, text in _rows(place, document, cut):
                rows.append(row)
                held.append(text)
                room -= len(text)
            if room <= 0:
                enter()
                room = TOGETHER
        else:
            empty.append(document.id)
    enter()
    left = {"empty": empty, "null": null, "rules": rules(part)}
    disk.write(path.with_suffix(".json"), lambda file: file.write(json.dumps(left).encode()))
    disk.write(path, lambda file: np.save(file, np.concatenate(scans)))


def _rows(place: int, document: Document, cut: int | None) -> Iterator[tuple[tuple, bytes]]:
    """Of one document: a row and its text; of a long one, for the whole if it may stay so, and for each piece."""
    whole = document.text
    parts = list(pieces(iter([whole]), cut or PIECE))
    if len(parts) == 1:
        numbered, of = [(0, whole)], 0
    elif cut is None and len(whole) <= WHOLE:
        numbered, of = [(0, whole), *enumerate(parts, 1)], len(whole.encode())
    else:
        numbered, of = list(enumerate(parts, 1)), ALWAYS
    for piece, text in numbered:
        raw = text.encode()
        copy = key(copies.folded(text, raw))
        yield (key(raw), copy, place, len(raw), piece, _side(document, raw), of), raw


# From rows back to text


def by_part(rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The rows of each part that has any, in the order in which the part is read."""
    order = np.lexsort((rows["piece"], rows["place"], rows["part"]))
    parts, starts = np.unique(rows["part"][order], return_index=True)
    return [(int(part), rows[chunk]) for part, chunk in zip(parts, np.split(order, starts[1:]), strict=True)]


def texts(part: Part, rows: np.ndarray, piece: int) -> Iterator[str]:
    """The text of some documents of one part, in the order of `by_part`.

    Args:
        piece: characters of a piece of a document that was cut.

    Raises:
        Changed: the text is not what it was when the index was made.
    """
    places, starts = np.unique(rows["place"], return_index=True)
    found = 0
    for (_, document), some in zip(read(part, places), np.split(rows, starts[1:]), strict=False):
        parts = [document.text, *(pieces(iter([document.text]), piece) if some["piece"].any() else ())]
        for n, expected in zip(some["piece"], some["key"], strict=True):
            text = parts[n] if n < len(parts) else ""
            if key(text.encode()) != expected:
                raise Changed(f"{document.id} changed while it was being read; leave the text alone and run again")
            yield text
            found += 1
    if found < len(rows):
        raise Changed(f"{len(rows) - found} documents vanished while they were being read; run again")
