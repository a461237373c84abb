"""Prepared tokens on disk, as they are read: two streams and the manifest that says what they are."""

import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from scaling import checked
from scaling.checked import Damaged, Field
from scaling.data import disk
from scaling.data.batches import validation_span
from scaling.data.documents import CHANGES, check_rules
from scaling.data.tokenizer import Tokenizer
from scaling.data.vocabularies import KINDS
from scaling.errors import InputError

PACKING = 1  # the manifest's format; raised when the way from documents to a stream changes
ID = 16  # hexadecimal digits of an id
SPLITS = ("train", "validation")
FILES = {"tokenizer.model": 2**27, "token_bytes.npy": 2**27}  # beside the streams, and their bytes at most
IMPORTED = (
    "imported"  # the kind of a tokenizer that is not known, and what the source of tokens made elsewhere begins with
)
LATER = (
    "limit",
    "piece",
    "cut",
    "copies",
    "null",
    "held_out_too",
    "held_out",
    "held_out_near_copies",
)  # not in old manifests
CUTS = ("text:", "tfds:")  # sources that take ?cut=
LARGE = 0.01, 0.1  # share of a document above which it is said: of the largest D that a stream is for, and of any
NAMED = "tokens:"  # with an id, a source: what was prepared before, whatever became of its text


class TooLittleText(InputError):
    """A source has fewer tokens to train on than were asked for; `has` says how many."""

    def __init__(self, message: str, has: int):
        super().__init__(message)
        self.has = has


@dataclasses.dataclass(frozen=True)
class TokenSet:
    """Prepared tokens. Read-only, and cheap: the streams are mapped from the disk.

    Attributes:
        folder: where they lie.
        manifest: what they are, plain JSON: `id`, source, fingerprints, tokenizer, and for "train" and "validation"
            each tokens, documents, bytes, bytes per token, hashes of the blocks, and what the whole corpus holds;
            the checksums of the other files.
    """

    folder: Path
    manifest: dict

    @property
    def id(self) -> str:
        """Names the streams: a hash of the documents, the tokenizer and the packing; not of how much is prepared."""
        return self.manifest["id"]

    @property
    def n_vocab(self) -> int:
        return self.manifest["n_vocab"]

    @property
    def separator(self) -> int:
        """The token that ends each document, and that windows begin with."""
        return self.manifest["tokenizer"]["eos"]

    @functools.cached_property
    def train(self) -> np.ndarray:
        """The training stream so far, u16 or u32 (n,)."""
        return self._stream("train")

    @functools.cached_property
    def validation(self) -> np.ndarray:
        """The validation stream so far, u16 or u32 (n,); take windows by `batches.validation_windows`."""
        return self._stream("validation")

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        if self.manifest["tokenizer"]["kind"] == IMPORTED:
            raise InputError(
                f"tokens {self.id} were imported without their tokenizer; import them again with --tokenizer FILE"
            )
        return Tokenizer(self._file("tokenizer.model", self.manifest["tokenizer"]["hash"]))

    @functools.cached_property
    def token_bytes(self) -> np.ndarray:
        """Bytes of text that each id stands for, i64 (n_vocab,); 0 for the separator."""
        kept = self.manifest.get("files", {}).get("token_bytes.npy")
        if kept is None:  # prepared by an older version, which kept no checksum
            return self.tokenizer.n_bytes
        return np.load(io.BytesIO(self._file("token_bytes.npy", kept)), allow_pickle=False)

    def _file(self, name: str, sha256: str) -> bytes:
        path = self.folder / name
        try:
            found = checked.content(path, FILES[name])
        except (FileNotFoundError, Damaged) as error:
            said = error if isinstance(error, Damaged) else f"{path} is missing"
            raise InputError(f"{said}; {_again(self.folder)}") from None
        if hashlib.sha256(found).hexdigest() != sha256:
            raise InputError(f"{path} is not what was written, by its checksum; {_again(self.folder)}")
        return found

    def bytes_of(self, tokens: np.ndarray) -> int:
        """Bytes of text that some tokens stand for: bits per byte are nats per token * tokens / bytes / ln 2."""
        return int(self.token_bytes[np.asarray(tokens)].sum())

    def verify(self, train_tokens: int | None = None) -> None:
        """Read everything and compare with the hashes in the manifest.

        Args:
            train_tokens: of the training stream only the blocks with its first so many tokens; None for all.

        Raises:
            InputError: a block differs.
        """
        for split in ("train", "validation"):
            start = 0
            for n, block in enumerate(self.manifest[split]["blocks"]):
                if split == "train" and train_tokens is not None and start >= train_tokens:
                    break
                stop = start + block["tokens"]
                if hashlib.sha256(self._stream(split)[start:stop].tobytes()).hexdigest() != block["sha256"]:
                    raise InputError(
                        f"{self.folder}: block {n} of {split} is not what was written; {_again(self.folder)}"
                    )
                start = stop

    def _stream(self, split: str) -> np.ndarray:
        path, n = self.folder / f"{split}.bin", self.manifest[split]["tokens"]
        dtype = np.dtype(self.manifest["dtype"])
        if not n:
            return np.zeros(0, dtype)
        if not path.is_file() or path.stat().st_size < n * dtype.itemsize:
            raise InputError(f"{path} is missing or cut short; {_again(self.folder)}")
        return np.memmap(path, dtype, "r", shape=(n,))


def open_tokens(folder: Path) -> TokenSet:
    """What `prepare` left in a folder; takes milliseconds.

    Raises:
        InputError: there are no prepared tokens, or what says what they are is damaged.
    """
    path = Path(folder) / "manifest.json"
    try:
        manifest = checked.read(path, checked.LARGE)
        if (found := manifest["format"].value) == PACKING:
            _check(manifest)
            return TokenSet(Path(folder), manifest.object())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} holds no prepared tokens; make them with: scaling corpus prepare") from None
    except Damaged as error:
        raise InputError(f"{error}; {_again(folder)}") from None
    raise InputError(
        f"{folder} has tokens of format {checked.shown(found)}, this version reads {PACKING}; prepare them again"
    )


def _again(folder: Path) -> str:
    return f"delete {folder} and prepare again"


def identity(train: str, validation: str, tokenizer: str) -> str:
    """The id of tokens: of the fingerprints of the two streams' documents and the hash of the tokenizer."""
    text = json.dumps([PACKING, train, validation, tokenizer])
    return hashlib.sha256(text.encode()).hexdigest()[:ID]


def _check(m: Field) -> None:
    """Raises Damaged unless a manifest is what `encoding` wrote."""
    m["source"].text()
    m["validation_source"].text()
    m["n_vocab"].whole(1)
    m["dtype"].one_of("uint16", "uint32")
    m["tokenizer"]["kind"].one_of("bytes", "characters", "bpe", *KINDS, IMPORTED)
    if not -1 <= m["tokenizer"]["eos"].whole(-1) < m["n_vocab"].value:
        raise m["tokenizer"]["eos"].wrong("a token")
    if rate := m.get("entropy_rate"):
        rate.number(least=0)
    if parts := m.get("parts"):
        for part in parts.items():
            part["source"].text()
            part["share"].number(least=0)
            part["tokens"].whole(1)
    for name in m["corpora"].object():
        corpus = m["corpora"][name]
        for count in ("documents", "duplicates", "near_duplicates", "empty"):
            corpus[count].whole()
        for count in LATER:
            if later := corpus.get(count):
                later.whole()
        for empty in corpus["empty_names"].items():
            empty.text()
        check_rules(corpus)
    prints = []
    for split in SPLITS:
        part = m[split]
        prints.append(part["fingerprint"].hex(64))
        for count in ("tokens", "documents", "bytes", "documents_in_corpus", "bytes_in_corpus", "tokens_in_corpus"):
            part[count].whole()
        part["bytes_per_token"].number(least=0)
        if longest := part.get("longest"):
            longest.whole()
        sums = {"tokens": 0, "documents": 0}
        for block in part["blocks"].items():
            block["sha256"].hex(64)
            for name in sums:
                sums[name] += block[name].whole()
        for name, total in sums.items():
            if part[name].value != total:
                raise part[name].wrong(f"{total}, the sum over its blocks")
    wanted = identity(prints[0], prints[1], m["tokenizer"]["hash"].hex(64))
    if m["id"].hex(ID) != wanted:
        raise m["id"].wrong(f"{wanted}, the hash of its fingerprints and its tokenizer")
    if files := m.get("files"):
        for name in files.object():
            files[name].hex(64)
    m.sealed()


def describe(tokens: TokenSet, asked: str = "") -> str:
    """What a person wants to know about prepared tokens, as `scaling corpus show` prints it.

    Args:
        asked: the source by which they were asked for, where it is another than the one of which they were made.
    """
    m = tokens.manifest
    lines = [
        f"{asked or m['source']}  ({tokens.id})",
        *([f"  prepared    as {m['source']}: the same documents"] if asked not in ("", m["source"]) else []),
        f"  folder      {tokens.folder}",
        f"  tokenizer   {m['tokenizer']['kind']}, {m['n_vocab']} tokens ({m['tokenizer']['hash'][:12]})",
    ]
    for split in ("train", "validation"):
        part = m[split]
        lines.append(
            f"  {split:<11} {part['tokens']:,} tokens of {part['documents']:,} documents, "
            f"{disk.size(part['bytes'])}, {part['bytes_per_token']:.3f} bytes per token; "
            + (
                "all there is"
                if part["documents"] == part["documents_in_corpus"] and (split == "validation" or not m.get("parts"))
                else f"of {part['documents_in_corpus']:,} documents, {disk.size(part['bytes_in_corpus'])}: "
                f"about {part['tokens_in_corpus']:.3g} tokens"
            )
        )
    lines += [f"  part        {p['share']:.4g} of {p['source']}, {p['tokens']:,} tokens" for p in m.get("parts", ())]
    if m["validation_source"]:
        lines.append(f"  validation from {m['validation_source']}")
    lines += [f"  repeated    {one}" for one in repeats(tokens, m["train"]["tokens"])]
    if longest := {split: m[split]["longest"] for split in SPLITS if "longest" in m[split]}:
        lines.append("  longest     " + ", ".join(f"{n:,} tokens in {split}" for split, n in longest.items()))
    lines += [f"  {line}" for line in left_out(m)]
    if m["entropy_rate"] is not None:
        lines.append(
            f"  entropy     {m['entropy_rate']:.6f} nats per byte: no model's loss can be below "
            f"{m['entropy_rate'] * m['validation']['bytes_per_token']:.4f} nats per token"
        )
    return "\n".join(lines)


def left_out(manifest: dict) -> list[str]:
    """What became of the documents of each source that are not trained on as they are; a line each, or none."""
    lines = []
    for name, summary in manifest["corpora"].items():
        counts = {
            "equal to another": summary["duplicates"],
            "equal but for white space and case": summary.get("copies", 0),
            "near-duplicates": summary["near_duplicates"],
            "held out too": summary.get("held_out_too", 0),
            "without a text": summary.get("null", 0),
            "empty": summary["empty"],
        }
        total = summary["documents"] + summary["empty"] + summary.get("null", 0)
        if any(counts.values()):
            told = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
            some = ", ".join(summary["empty_names"][:3]) + (", ..." if summary["empty"] > 3 else "")
            lines.append(f"left out of {name}: of {total:,} documents {told}" + (f" ({some})" if some else ""))
        for rule, told in summary.get("rules", {}).items():
            least, most = told.get("least"), told.get("most")
            bound = "" if least is None else f", with scores of at least {least:.4g} nats"
            bound += "" if most is None else f", at no more than {most:.4g} bits per byte"
            counts = f"{told['met']:,} of {told['documents']:,} documents that are not held out{bound}"
            lines.append(f"{CHANGES[rule.partition('(')[0]]} by {rule}: {counts}")
        if n := summary.get("cut"):
            piece = f"pieces of at most {summary['piece']:,} characters"
            lines.append(f"cut in {name}: {n:,} long document{'s' * (n > 1)}, into {piece}, each a document of its own")
        if n := summary.get("held_out_near_copies"):
            of = summary.get("held_out", manifest["validation"]["documents_in_corpus"])
            lines.append(
                f"held out of {name}: {n:,} of {of:,} documents nearly repeat one that is trained on, so part of the "
                "held-out loss is memory; remove near-copies from the text, or hold out text of another origin "
                "(--validation SOURCE, data.validation=SOURCE)"
            )
    return list(dict.fromkeys(lines))  # of a text that is held out of another, a rule is told once


@dataclasses.dataclass(frozen=True)
class Repeated:
    """A part of a mixture that is read more than once in the first D tokens."""

    source: str
    tokens: int
    share: float
    D: int

    @property
    def epochs(self) -> float:
        return self.share * self.D / self.tokens

    def __str__(self) -> str:
        return (
            f"{self.source}: its {self.tokens:,} tokens are read {self.epochs:.3g} times in {self.share:.4g} of "
            f"{self.D:,}"
        )


@dataclasses.dataclass(frozen=True)
class Crowded:
    """A text of whose first D tokens a document has a large share."""

    source: str
    share: float
    D: int

    def __str__(self) -> str:
        digits = f"{100 * self.share:.2g}" if self.share < 0.1 else f"{100 * self.share:.0f}"
        shorter = ", or cut documents shorter (?cut=CHARACTERS after the source)" * self.source.startswith(CUTS)
        return (
            f"{self.source}: its largest document, {round(self.share * self.D):,} tokens, is {digits} % of D = "
            f"{self.D:,}; what a model learns from so few documents depends on which they are: use more tokens{shorter}"
        )


def repeats(tokens: TokenSet, D: int) -> list[Repeated]:
    """The parts of a mixture that are read more than once in its first D tokens."""
    parts = (Repeated(part["source"], part["tokens"], part["share"], D) for part in tokens.manifest.get("parts", ()))
    return [part for part in parts if part.epochs > 1]


def crowding(tokens: TokenSet, sizes: Iterable[int]) -> Crowded | None:
    """Where one document is much of the text that is trained on, at one of `sizes`.

    Of a generated language there is none: one document of it is as good as another.

    Args:
        sizes: numbers D of tokens, the first D of the training stream each.
    """
    if tokens.manifest["entropy_rate"] is not None:
        return None
    shares = {D: _largest(tokens.train, D, tokens.separator) / D for D in set(sizes) if D <= len(tokens.train)}
    if not shares or (shares[max(shares)] <= LARGE[0] and max(shares.values()) <= LARGE[1]):
        return None
    D = max(shares, key=lambda D: (shares[D], D))
    return Crowded(tokens.manifest["source"], shares[D], D)


def _largest(stream: np.ndarray, D: int, separator: int) -> int:
    """Tokens of the largest document in the first D of a stream, as far as it is in them, if it is 1/200 of them; or 0.

    Looks into the stream in steps of half of that, so that few of its tokens are read.
    """
    stream = stream[:D]
    step = max(1, D // 400)
    largest = at = 0
    while at < D:
        end = _end(stream, at, separator)
        if end - at >= step:
            before = _end(stream[:at][::-1], 0, separator)  # of its tokens lie before
            largest = max(largest, before + min(end + 1, D) - at)
        at = max(end + 1, at + step)
    return largest


def _end(stream: np.ndarray, start: int, separator: int) -> int:
    """Where the first separator from `start` on is; the length of the stream where there is none."""
    size = 256
    while start < len(stream):
        found = np.flatnonzero(np.asarray(stream[start : start + size]) == separator)
        if len(found):
            return start + int(found[0])
        start, size = start + size, 2 * size
    return len(stream)


def named(
    source: str, tokenizer: str, n_vocab: int, train_tokens: int, validation_tokens: int, cache: Path
) -> TokenSet:
    """The prepared tokens that `tokens:ID` names in the cache; nothing is added to them.

    Args:
        tokenizer, n_vocab: as for `encoding.prepare`; they have to be those of these tokens.

    Raises:
        InputError: no such tokens, of another tokenizer, or fewer than asked for.
    """
    id = source.removeprefix(NAMED)
    folder = cache / "tokens" / id
    if not id.isalnum() or not (folder / "manifest.json").exists():
        there = ", ".join(sorted(path.parent.name for path in cache.glob("tokens/*/manifest.json"))) or "none at all"
        raise InputError(
            f"{source}: {cache} holds no such tokens, but {there}; make them with scaling corpus prepare, or set "
            "SCALING_CACHE to the folder that has them"
        )
    found = open_tokens(folder)
    kind = found.manifest["tokenizer"]["kind"]
    if tokenizer in ("bpe", "bytes"):  # bpe, where nothing was said: whatever it was
        same = (tokenizer == "bytes") == (kind == "bytes")
    else:
        same = Tokenizer.load(tokenizer).hash == found.manifest["tokenizer"]["hash"]
    if not same or n_vocab != found.n_vocab:
        raise InputError(
            f"{source}: {found.n_vocab} tokens of {kind} were prepared, {n_vocab} of {tokenizer} are asked for; use "
            f"model.n_vocab={found.n_vocab} and data.tokenizer={'bytes' if kind == 'bytes' else 'bpe'}"
        )
    for split, wanted in (("train", train_tokens), ("validation", validation_tokens)):
        more = f"--{'tokens' if split == 'train' else 'validation-tokens'} {wanted}"
        part = found.manifest[split]
        has = part["tokens"]
        # As of text: windows are spread over more than they hold, and other windows would be another measurement.
        spread = has < validation_span(wanted) and part["documents"] < part["documents_in_corpus"]
        if has < wanted or (split == "validation" and spread):
            text = found.manifest["source"]
            way = f"prepare more where its text is: scaling corpus prepare {text} {more}"
            if text.startswith(f"{IMPORTED}:"):
                way = "import more: scaling corpus import"
            message = f"{source} has {has} tokens for {split}, {wanted} were asked for; ask for fewer, or {way}"
            raise TooLittleText(message, has) if split == "train" else InputError(message)
    return found
