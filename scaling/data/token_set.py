"""Prepared tokens on disk, as they are read: two streams and the manifest that says what they are."""

import dataclasses
import functools
import hashlib
import io
import json
from pathlib import Path

import numpy as np

from scaling import checked
from scaling.checked import Damaged, Field
from scaling.data import disk
from scaling.data.batches import validation_span
from scaling.data.tokenizer import Tokenizer
from scaling.errors import InputError

PACKING = 1  # the manifest's format; raised when the way from documents to a stream changes
ID = 16  # hexadecimal digits of an id
SPLITS = ("train", "validation")
FILES = {"tokenizer.model": 2**27, "token_bytes.npy": 2**27}  # beside the streams, and their bytes at most
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
    m["tokenizer"]["kind"].one_of("bytes", "bpe")
    if not -1 <= m["tokenizer"]["eos"].whole(-1) < m["n_vocab"].value:
        raise m["tokenizer"]["eos"].wrong("a token")
    if rate := m.get("entropy_rate"):
        rate.number(least=0)
    for name in m["corpora"].object():
        corpus = m["corpora"][name]
        for count in ("documents", "duplicates", "near_duplicates", "empty"):
            corpus[count].whole()
        for empty in corpus["empty_names"].items():
            empty.text()
    prints = []
    for split in SPLITS:
        part = m[split]
        prints.append(part["fingerprint"].hex(64))
        for count in ("tokens", "documents", "bytes", "documents_in_corpus", "bytes_in_corpus", "tokens_in_corpus"):
            part[count].whole()
        part["bytes_per_token"].number(least=0)
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


def describe(tokens: TokenSet) -> str:
    """What a person wants to know about prepared tokens, as `scaling corpus show` prints it."""
    m = tokens.manifest
    lines = [
        f"{m['source']}  ({tokens.id})",
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
                if part["documents"] == part["documents_in_corpus"]
                else f"of {part['documents_in_corpus']:,} documents, {disk.size(part['bytes_in_corpus'])}: "
                f"about {part['tokens_in_corpus']:.3g} tokens"
            )
        )
    if m["validation_source"]:
        lines.append(f"  validation from {m['validation_source']}")
    for name, summary in m["corpora"].items():
        lines.append(
            f"  left out of {name}: {summary['duplicates']:,} duplicates, "
            f"{summary['near_duplicates']:,} near-duplicates, {summary['empty']:,} empty"
            + (f" ({', '.join(summary['empty_names'][:3])}, ...)" if summary["empty"] else "")
        )
    if m["entropy_rate"] is not None:
        lines.append(
            f"  entropy     {m['entropy_rate']:.6f} nats per byte: no model's loss can be below "
            f"{m['entropy_rate'] * m['validation']['bytes_per_token']:.4f} nats per token"
        )
    return "\n".join(lines)


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
    if tokenizer in ("bpe", "bytes"):
        same = tokenizer == kind
    else:
        same = Tokenizer.load(Path(tokenizer).expanduser()).hash == found.tokenizer.hash
    if not same or n_vocab != found.n_vocab:
        raise InputError(
            f"{source}: {found.n_vocab} tokens of {kind} were prepared, {n_vocab} of {tokenizer} are asked for; use "
            f"model.n_vocab={found.n_vocab} and data.tokenizer={kind}"
        )
    for split, wanted in (("train", train_tokens), ("validation", validation_tokens)):
        more = f"--{'tokens' if split == 'train' else 'validation-tokens'} {wanted}"
        part = found.manifest[split]
        has = part["tokens"]
        # As of text: windows are spread over more than they hold, and other windows would be another measurement.
        spread = has < validation_span(wanted) and part["documents"] < part["documents_in_corpus"]
        if has < wanted or (split == "validation" and spread):
            message = (
                f"{source} has {has} tokens for {split}, {wanted} were asked for; ask for fewer, or prepare more where "
                f"its text is: scaling corpus prepare {found.manifest['source']} {more}"
            )
            raise TooLittleText(message, has) if split == "train" else InputError(message)
    return found
