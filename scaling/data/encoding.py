"""Packed tokens on disk: one long stream for training, one for validation, and a manifest that says what they are.

A stream is every document of its split in the order of the index, each ended by a separator. Exactly D unique tokens
are its first D tokens: nested for growing D, the same on every machine. Only as much is encoded as was asked for;
asking for more later extends the files and leaves what is there untouched.

Encoding is a sort that does not fit in memory: each part of the corpus is encoded by itself into runs sorted by key (in
parallel; finished parts survive an interruption), then the runs are merged block by block, and each finished block is
appended and entered in the manifest in one stroke.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from scaling import folders
from scaling.data import disk, mixture, token_set
from scaling.data.batches import validation_span
from scaling.data.copies import repeated
from scaling.data.corpora import open_corpus
from scaling.data.documents import Corpus, Part
from scaling.data.images import Rows
from scaling.data.index import Changed, Index, by_part, open_index, summarise, texts
from scaling.data.mixture import Share
from scaling.data.sampled import SampledCorpus
from scaling.data.token_set import FILES, NAMED, PACKING, SPLITS, TokenSet, TooLittleText, identity, named, open_tokens
from scaling.data.tokenizer import Tokenizer, bytes_tokenizer, characters_tokenizer, train_bpe
from scaling.data.transformations import Derived, HeldOut, root
from scaling.errors import InputError

SAMPLE = 2**22  # bytes of text from which a vocabulary is learnt
LEARNT = "bpe:"  # what a tokenizer begins with that is learnt from another source
RUN = 2**24  # tokens that a process holds before it writes them down
BLOCK = 2**26  # bytes of text that are merged at a time
TOGETHER = 2**10  # documents that are written at once
FEW_PARTS = 64  # from which no more than a sample is wanted: read by this process
RUN_ROW = np.dtype([("key", "<u8"), ("length", "<u4")])  # of a document in a run; length in tokens
IN_PROCESS = 2**24  # bytes of text below which starting processes takes longer than the work


def prepare(
    source: str,
    tokenizer: str,
    n_vocab: int,
    *,
    train_tokens: int,
    validation_tokens: int,
    validation_source: str = "",
    cache: Path,
    workers: int = 0,
    say: Callable[[str], None],
) -> TokenSet:
    """Tokens for training on the first `train_tokens` and evaluating on `validation_tokens`: from the cache, or made.

    For evaluation as much is prepared as `batches.validation_windows` may spread its windows over.

    Args:
        source: a corpus, see `corpora`; several of them, see `mixture`; or tokens:ID, prepared before and taken as
            they are.
        tokenizer: "bpe" (trained on a sample of `source`; of a mixture, on as much of each part), "bpe:SOURCE" (on one
            of another source), "bytes", or the path of one (`Tokenizer.load`).
        n_vocab: of the vocabulary; 257 for bytes, and what a given model has.
        validation_source: another corpus to evaluate on; empty for about 3 % of `source`, which is never trained on.
            Of tokens:ID it is the tokens:ID that were prepared with it.
        cache: folder; may be shared by processes, of which one prepares while the others wait.
        workers: processes; 0 for one per core, where there is enough to do.
        say: gets a line about each stage.

    Raises:
        InputError: unreadable text, too little of it, no tokens asked for, a full disk, a cache that cannot be made.
    """
    cache = Path(cache)
    for name, n_tokens in (("train_tokens", train_tokens), ("validation_tokens", validation_tokens)):
        if n_tokens < 1:
            raise InputError(f"{name}={n_tokens}: wanted at least 1")
    asked = [source, validation_source] if validation_source else [source]
    if all(name.startswith(NAMED) for name in asked):
        return named(asked[-1], tokenizer, n_vocab, train_tokens, validation_tokens, cache)
    if any(name.startswith(NAMED) for name in asked):
        raise InputError(
            f"{source} and {validation_source}: one is text, the other was prepared apart from it; give both as text, "
            "or both as tokens:ID"
        )
    if mixture.is_one(validation_source):
        raise InputError(f"{validation_source}: a mixture is trained on; hold out a source of its own, or none")
    parts = mixture.parse(source)
    with disk.room(cache):
        for again in (True, False):
            makers = [_Maker(part.source, validation_source, cache, workers or disk.cores(), say) for part in parts]
            try:
                if len(parts) == 1:
                    return makers[0].extend(_tokenizer(tokenizer, n_vocab, makers), train_tokens, validation_tokens)
                return _Mixer.of(source, parts, makers, tokenizer, n_vocab).extend(train_tokens, validation_tokens)
            except Changed as changed:  # with the size and the times that it had: its content decides
                if not again:
                    raise
                say(f"{source} is not the text of its index, and is read anew ({str(changed).split(';')[0]})")
                for maker in (*makers, *(maker.sampler() for maker in makers)):
                    for index in maker.indices.values():
                        shutil.rmtree(index.folder, ignore_errors=True)
        raise AssertionError


def _tokenizer(kind: str, n_vocab: int, makers: Sequence["_Maker"]) -> Tokenizer:
    """The tokenizer asked for; BPE is trained on the first documents of the training streams, once.

    Of a text that rules changed it is that of the text as it was, so that losses under several rules can be compared;
    where a model writes the text, or one of several, it is the model's, and that of pictures is their levels.
    """
    if kind.startswith(LEARNT):
        parts = mixture.parse(kind.removeprefix(LEARNT))
        makers = [dataclasses.replace(makers[0], source=part.source, limit=None, _parts={}) for part in parts]
        kind = "bpe"
    own = {maker.vocabulary for maker in makers} - {b""} if kind == "bpe" else set()
    if len(own) > 1:
        raise InputError("the texts have several vocabularies of their own; name one with data.tokenizer=FILE")
    if own:
        tokenizer = Tokenizer(own.pop())
    elif kind == "bytes":
        tokenizer = bytes_tokenizer()
    elif kind != "bpe":
        tokenizer = Tokenizer.load(kind)
    else:
        sampled = list({maker.root: maker.sampler() for maker in makers}.values())
        for maker in sampled:
            maker.sampled = SAMPLE // len(sampled)
        rows = np.concatenate([maker.sample_rows for maker in sampled])
        name = hashlib.sha256(rows["key"].tobytes() + f" {PACKING} {n_vocab}".encode()).hexdigest()[:16]
        folder, say = makers[0].cache / "tokenizers" / name, makers[0].say
        path = folder / "tokenizer.model"
        if not path.exists():
            with disk.locked(folder, say):
                if not path.exists():
                    say(f"learning a vocabulary of {n_vocab} from {disk.size(rows['size'].sum())}")
                    model = train_bpe(itertools.chain.from_iterable(maker.sample for maker in sampled), n_vocab).model
                    disk.write(path, lambda file: file.write(model))
        tokenizer = Tokenizer(path.read_bytes())
    if tokenizer.n_vocab != n_vocab:
        raise InputError(
            f"n_vocab={n_vocab}, but the tokenizer {kind} has {tokenizer.n_vocab} tokens; "
            f"use n_vocab={tokenizer.n_vocab}"
        )
    return tokenizer


@dataclasses.dataclass
class _Maker:
    """One source in a call of `prepare`."""

    source: str
    validation_source: str
    cache: Path
    workers: int
    say: Callable[[str], None]
    limit: int | None = None  # bytes from which on a long document is cut; None: as it suits the source
    sampled: int = SAMPLE  # bytes of text from which a vocabulary is learnt
    _parts: dict[str, list[Part]] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def corpora(self) -> dict[str, Corpus]:
        corpora = {self.source: open_corpus(self.source)}
        if isinstance(corpora[self.source], HeldOut):
            raise InputError(
                f"{self.source} is to evaluate on (eval.transfer, or a validation source), not to train on"
            )
        if self.validation_source:
            corpora[self.validation_source] = open_corpus(self.validation_source)
        return corpora

    @functools.cached_property
    def indices(self) -> dict[str, Index]:
        index = open_index(self.corpora[self.source], self.cache, self.workers, self.say, self.limit)
        indices = {self.source: index}
        if self.validation_source:
            held_out = self.corpora[self.validation_source]
            if isinstance(held_out, HeldOut):  # what is held out of it where it is trained on
                found = open_index(held_out.of, self.cache, self.workers, self.say, self.limit)
            else:  # what both hold is cut alike, and so found
                found = open_index(held_out, self.cache, self.workers, self.say, index.limit)
            indices[self.validation_source] = found
        return indices

    @property
    def root(self) -> str:
        """The source before all rules."""
        return root(self.corpora[self.source]).source

    @property
    def vocabulary(self) -> bytes:
        """That of the model by which the text is written, or of a source of few characters; empty of another text."""
        corpus = root(self.corpora[self.source])
        if isinstance(corpus, Rows):
            return characters_tokenizer(corpus.alphabet).model
        return corpus.written.tokenizer.read_bytes() if isinstance(corpus, SampledCorpus) else b""

    def sampler(self) -> "_Maker":
        """Of the source before all rules, whose vocabulary is learnt."""
        if self.root == self.source and self.limit is None:
            return self
        return dataclasses.replace(self, source=self.root, limit=None, _parts={})

    def parts(self, source: str) -> list[Part]:
        if source not in self._parts:
            self._parts[source] = self.corpora[source].parts()
        return self._parts[source]

    def rows(self, split: str) -> np.ndarray:
        """The documents of a split, in stream order. A validation source is evaluated on, and never trained on."""
        if not self.validation_source:
            return self.indices[self.source].rows(split)
        return self._all_rows[split]

    @functools.cached_property
    def _all_rows(self) -> dict[str, np.ndarray]:
        def both(source: str) -> np.ndarray:
            index = self.indices[source]
            rows = np.concatenate([index.rows("train"), index.rows("validation")])
            return rows[np.argsort(rows["key"])]

        source, held_out = self.corpora[self.source], self.corpora[self.validation_source]
        # No rule changes what a text holds out, and so that is not trained on beside what it changed.
        train = self.indices[self.source].rows("train") if isinstance(source, Derived) else both(self.source)
        validation = (
            self.indices[self.validation_source].rows("validation")
            if isinstance(held_out, HeldOut)
            else both(self.validation_source)
        )
        return {"train": train[~np.isin(train["copy"], validation["copy"])], "validation": validation}

    def extend(self, tokenizer: Tokenizer, train_tokens: int, validation_tokens: int) -> TokenSet:
        """The token set, with at least as many tokens as asked for."""
        tokens = self.open(tokenizer, {"train": train_tokens, "validation": validation_span(validation_tokens)})
        for split, n_tokens in (("train", train_tokens), ("validation", validation_tokens)):
            has = tokens.manifest[split]["tokens"]
            if has < n_tokens:
                raise self.too_small(split, n_tokens, has)
        return tokens

    def open(self, tokenizer: Tokenizer, wanted: Mapping[str, int]) -> TokenSet:
        """The token set, with at least so many tokens of each split, or all there are."""
        prints = {split: self._described[split]["fingerprint"] for split in SPLITS}
        name = identity(prints["train"], prints["validation"], tokenizer.hash)
        folder = self.cache / "tokens" / name
        if not (folder / "manifest.json").exists() or not _enough(open_tokens(folder), wanted):
            with disk.locked(folder, self.say):
                if not (folder / "manifest.json").exists():
                    rate = self.corpora[self.validation_source or self.source].entropy_rate
                    begun = {"source": self.source, "entropy_rate": rate, "corpora": self.left_out}
                    _begin(
                        folder, name, tokenizer, begun | {"validation_source": self.validation_source}, self._described
                    )
                    for line in token_set.left_out(open_tokens(folder).manifest):
                        self.say(line)
                for split, n_tokens in wanted.items():
                    self._extend(folder, split, n_tokens, tokenizer)
                for work in folder.glob("work-*"):  # of a call that was interrupted, and had asked for more
                    shutil.rmtree(work)
                for left in folder.glob(".*.*"):  # a file that was being written when its process was killed
                    left.unlink()
        return open_tokens(folder)

    @property
    def fingerprint(self) -> str:
        """Of the documents to train on."""
        return self._described["train"]["fingerprint"]

    @functools.cached_property
    def _described(self) -> dict[str, dict]:
        if not self.validation_source:
            return self.indices[self.source].summary
        return {split: summarise(rows) for split, rows in self._all_rows.items()}

    @property
    def sample_rows(self) -> np.ndarray:
        rows = self.rows("train")
        if not len(rows):
            raise InputError(
                f"{self.source} has no text to train on that is not held out too; give another or more text"
            )
        ends = np.cumsum(rows["size"][: self.sampled // 16], dtype=np.int64)
        return np.array(rows[: max(1, np.searchsorted(ends, self.sampled))])

    @functools.cached_property
    def sample(self) -> list[str]:
        parts = self.parts(self.source)
        piece = self.indices[self.source].piece
        tasks = [(parts[part], rows, piece) for part, rows in by_part(self.sample_rows)]
        workers = self.workers if len(tasks) > FEW_PARTS else 1
        found = disk.run(_texts_of, tasks, [1] * len(tasks), workers, "sampling", self.say)
        return list(itertools.chain.from_iterable(found))

    @functools.cached_property
    def left_out(self) -> dict[str, dict]:
        """What became of the documents of each source that are in no stream, or in one that they should not be in."""
        found = {
            source: {k: v for k, v in index.summary.items() if k not in ("train", "validation")}
            for source, index in self.indices.items()
        }
        if self.validation_source:
            source, held_out = self.indices[self.source], self.indices[self.validation_source]
            n_all = sum(len(source.rows(split)) for split in ("train", "validation"))
            found[self.source]["held_out_too"] = n_all - len(self.rows("train"))
            outlines = source.outlines(self.rows("train")), held_out.outlines(self.rows("validation"))
            for summary in found.values():
                summary.pop("held_out_near_copies", None)  # of splits that are not these
            if outlines[0] is not None and outlines[1] is not None:
                found[self.validation_source]["held_out_near_copies"] = int(repeated(outlines[1], outlines[0]).sum())
        return found

    def _extend(self, folder: Path, split: str, target: int, tokenizer: Tokenizer) -> None:
        """Append documents to a stream until it has `target` tokens, or there are no more documents."""
        rows = self.rows(split)
        while True:
            part = open_tokens(folder).manifest[split]
            if part["tokens"] >= target or part["documents"] == len(rows):
                return
            rate = part["bytes_per_token"] if part["tokens"] else self._rate(tokenizer)
            start = part["documents"]
            n_bytes = (target - part["tokens"]) * rate * 1.02 + 2**16
            ends = np.cumsum(rows["size"][start:], dtype=np.int64)
            stop = min(start + int(np.searchsorted(ends, n_bytes)) + 1, len(rows))
            expected = int(2 * np.dtype(tokenizer.dtype).itemsize * ends[stop - start - 1] / rate)  # runs and stream
            disk.want(folder, expected)
            self._encode(folder, split, rows, start, stop, tokenizer)

    def _rate(self, tokenizer: Tokenizer) -> float:
        """Bytes per token, measured on a little text unless it is known."""
        if tokenizer.is_bytes:
            train = self._described["train"]
            return train["bytes"] / (train["bytes"] + train["documents"])
        ends = np.cumsum([len(text.encode()) for text in self.sample])
        n = min(int(np.searchsorted(ends, SAMPLE // 8)) + 1, len(ends))
        return float(ends[n - 1]) / sum(map(len, tokenizer.encode_batch(self.sample[:n])))

    def _encode(self, folder: Path, split: str, rows: np.ndarray, start: int, stop: int, tokenizer: Tokenizer) -> None:
        """Append the documents rows[start:stop], or a little fewer if that was begun and not finished."""
        source = self.validation_source if split == "validation" and self.validation_source else self.source
        # The runs in a work folder hold the documents from where the stream ends, or before, to the number in its name.
        prefix = f"work-{split}-{self.indices[source].folder.name}-"
        begun = [int(work.name.removeprefix(prefix)) for work in folder.glob(f"{prefix}*")]
        stop = max((end for end in begun if start < end <= stop), default=stop)
        work = folder / f"{prefix}{stop}"
        work.mkdir(exist_ok=True)
        rows = np.array(rows[start:stop])
        parts = self.parts(source)
        self.say(f"encoding {disk.size(rows['size'].sum(dtype=np.int64))} for {split}")
        try:
            chosen = by_part(rows)
            piece = self.indices[source].piece
            todo = [(n, some) for n, some in chosen if not (work / f"{n}.done").exists()]
            tasks = [(work, n, parts[n], some, piece, tokenizer) for n, some in todo]
            weights = [int(some["size"].sum(dtype=np.int64)) for _, some in todo]
            workers = self.workers if sum(weights) > IN_PROCESS else 1
            disk.run(_encode_part, tasks, weights, workers, f"encoding {split}", self.say)
            _merge(folder, split, rows, work, np.dtype(tokenizer.dtype))
        except OSError as error:
            if error.errno in disk.NO_ROOM:
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work)

    def too_small(self, split: str, n_tokens: int, has: int) -> InputError:
        if split == "train":
            return TooLittleText(
                f"{self.source} has {has} tokens to train on, {n_tokens} were asked for; ask for fewer or give more "
                "text",
                has,
            )
        if self.validation_source:
            return InputError(
                f"{self.validation_source} has {has} tokens, {n_tokens} were asked for; ask for fewer "
                "(--set eval.windows=N; corpus prepare --validation-tokens N) or give more text"
            )
        return InputError(
            f"the held-out 3 % of {self.source} have {has} tokens, {n_tokens} were asked for; "
            "ask for fewer, give more text, or name a corpus of its own for validation "
            "(--set data.validation=SOURCE or eval.windows=N; corpus prepare --validation or --validation-tokens)"
        )


@dataclasses.dataclass
class _Mixer:
    """A mixture in a call of `prepare`: the streams of its parts as one."""

    source: str
    parts: Sequence[Share]
    makers: Sequence[_Maker]
    tokenizer: Tokenizer

    @classmethod
    def of(
        cls, source: str, parts: Sequence[Share], makers: Sequence[_Maker], tokenizer: str, n_vocab: int
    ) -> "_Mixer":
        """The parts in an order of their text, however they are typed. All are cut at one length, but for those that
        have their own."""
        free = [maker for maker in makers if maker.corpora[maker.source].cut is None] or makers
        limit = min(maker.indices[maker.source].limit for maker in free)
        alike = [dataclasses.replace(maker, limit=limit, _parts={}) for maker in makers]
        order = sorted(range(len(parts)), key=lambda n: (alike[n].fingerprint, parts[n].share, parts[n].most or 0))
        parts, alike = [parts[n] for n in order], [alike[n] for n in order]
        return cls(source, parts, alike, _tokenizer(tokenizer, n_vocab, alike))

    def extend(self, train_tokens: int, validation_tokens: int) -> TokenSet:
        """The token set, with at least as many tokens as asked for."""
        first = self.makers[0]
        prints = {split: self._described[split]["fingerprint"] for split in SPLITS}
        name = identity(prints["train"], prints["validation"], self.tokenizer.hash)
        folder = first.cache / "tokens" / name
        wanted = {"train": train_tokens, "validation": validation_span(validation_tokens)}
        if not (folder / "manifest.json").exists() or not self._enough(open_tokens(folder), wanted):
            streams = {split: self._streams(split, n_tokens) for split, n_tokens in wanted.items()}
            with disk.locked(folder, first.say):
                if not (folder / "manifest.json").exists():
                    begun = {"source": self.source, "validation_source": first.validation_source}
                    begun |= {"entropy_rate": None, "corpora": self._left_out, "parts": []}
                    _begin(folder, name, self.tokenizer, begun, self._described)
                manifest = open_tokens(folder).manifest
                manifest["parts"] = [
                    {"source": str(part), "share": part.share, "tokens": stream.available}
                    for part, stream in zip(self.parts, streams["train"], strict=True)
                ]
                write_manifest(folder, manifest)
                for split, some in streams.items():
                    self._extend(folder, split, some, wanted[split])
        tokens = open_tokens(folder)
        if (has := tokens.manifest["validation"]["tokens"]) < validation_tokens:
            if first.validation_source:
                raise first.too_small("validation", validation_tokens, has)
            raise InputError(
                f"{self.source}: held out in these shares are {has} tokens, {validation_tokens} were asked for; ask "
                "for fewer (--validation-tokens N, eval.windows=N), or hold out another corpus (--validation SOURCE, "
                "data.validation=SOURCE)"
            )
        return tokens

    @staticmethod
    def _enough(tokens: TokenSet, wanted: Mapping[str, int]) -> bool:
        return tokens.manifest["train"]["tokens"] >= wanted["train"] and _enough(
            tokens, {"validation": wanted["validation"]}
        )

    @functools.cached_property
    def _kept(self) -> list[dict[str, np.ndarray]]:
        """Of each part and split, which of its documents are in the mixture: none to train on that is held out."""
        held_out = [maker.rows("validation")["copy"] for maker in self.makers]
        kept = []
        for n, maker in enumerate(self.makers):
            others = np.concatenate([copy for m, copy in enumerate(held_out) if m != n])
            train = ~np.isin(maker.rows("train")["copy"], others)
            if not train.any():
                raise InputError(f"{self.source}: {maker.source} has no text to train on that is not held out too")
            if dropped := np.count_nonzero(~train):
                maker.say(f"{maker.source}: {dropped:,} documents are held out of another part, and not trained on")
            if not len(held_out[n]):
                raise InputError(
                    f"{self.source}: {maker.source} is too little to hold any of it out; give more of it, or hold out "
                    "another corpus (--validation SOURCE, data.validation=SOURCE)"
                )
            kept.append({"train": train, "validation": np.ones(len(held_out[n]), bool)})
        return kept

    @functools.cached_property
    def _described(self) -> dict[str, dict]:
        """As of a corpus, of the documents of all parts; the fingerprint is of the parts' and of their shares."""
        found = {}
        for split in SPLITS:
            if split == "validation" and self.makers[0].validation_source:
                found[split] = summarise(self.makers[0].rows(split))
                continue
            each = [
                summarise(maker.rows(split)[kept[split]]) for maker, kept in zip(self.makers, self._kept, strict=True)
            ]
            marks = [
                [one["fingerprint"], part.share, *([part.most] if part.most and split == "train" else [])]
                for one, part in zip(each, self.parts, strict=True)
            ]  # in the order of the parts, which is that of equal times in a stream
            mark = hashlib.sha256(json.dumps(marks).encode()).hexdigest()
            found[split] = {"fingerprint": mark, **{k: sum(one[k] for one in each) for k in ("documents", "bytes")}}
        return found

    @property
    def _left_out(self) -> dict[str, dict]:
        """As of one source, of each; what is held out is compared with what any part trains on."""
        found: dict[str, dict] = {}
        trained = [
            maker.indices[maker.source].outlines(maker.rows("train")[kept["train"]])
            for maker, kept in zip(self.makers, self._kept, strict=True)
        ]
        outlines = [some for some in trained if some is not None]
        for maker, kept in zip(self.makers, self._kept, strict=True):
            if maker.source in found:
                continue
            found |= {source: dict(left) for source, left in maker.left_out.items()}
            too = found[maker.source].get("held_out_too", 0)
            found[maker.source]["held_out_too"] = too + int((~kept["train"]).sum())
            held_out = maker.validation_source or maker.source
            rows = maker.rows("validation")
            own = maker.indices[held_out].outlines(rows)
            if own is not None and outlines:
                found[held_out]["held_out_near_copies"] = int(repeated(own, np.concatenate(outlines)).sum())
                found[held_out]["held_out"] = len(rows)
        return found

    def _streams(self, split: str, wanted: int) -> list["_Stream"]:
        """Of each part, the documents that fill its share of `wanted` tokens, or all."""
        if split == "validation" and self.makers[0].validation_source:
            return [self._stream(0, split, wanted)]
        return [self._stream(n, split, math.ceil(part.share * wanted)) for n, part in enumerate(self.parts)]

    def _stream(self, n: int, split: str, wanted: int) -> "_Stream":
        maker, kept = self.makers[n], self._kept[n][split]
        most = self.parts[n].most if split == "train" else None
        wanted = asked = wanted if most is None else min(wanted, most)
        while True:
            tokens = maker.open(self.tokenizer, {split: asked})
            stream = _Stream.of(tokens, split, kept, most)
            if stream.lengths.sum() >= wanted or stream.whole:
                return stream
            asked = int(tokens.manifest[split]["tokens"]) + wanted - int(stream.lengths.sum())

    def _extend(self, folder: Path, split: str, streams: Sequence["_Stream"], wanted: int) -> None:
        """Append documents to a split of the mixture until it has `wanted` tokens; of held-out text, each once."""
        shares = [part.share for part in self.parts] if len(streams) > 1 else [1.0]
        ends = [int(s.lengths.sum() / share) for s, share in zip(streams, shares, strict=True) if s.whole]
        all_there_is = split == "validation" and any(end <= wanted for end in ends)
        if all_there_is:
            wanted = min(ends)
        made = open_tokens(folder).manifest[split]
        there = made["documents"]
        disk.want(folder, (wanted - made["tokens"]) * np.dtype(self.tokenizer.dtype).itemsize)
        parts, documents = mixture.order([stream.lengths for stream in streams], shares, wanted)
        block: list[np.ndarray] = []
        held = 0
        for part, document in zip(parts[there:].tolist(), documents[there:].tolist(), strict=True):
            block.append(streams[part].document(document))
            held += len(block[-1])
            if held >= RUN:
                self._append(folder, split, block)
                block, held = [], 0
        if block:
            self._append(folder, split, block)
        if all_there_is:
            manifest = open_tokens(folder).manifest
            held_out = manifest[split]
            for what in ("documents", "bytes", "tokens"):
                held_out[f"{what}_in_corpus"] = held_out[what]
            write_manifest(folder, manifest)

    def _append(self, folder: Path, split: str, documents: Sequence[np.ndarray]) -> None:
        n_bytes = sum(int(self.tokenizer.n_bytes[document].sum()) for document in documents)
        _append(folder, split, documents, n_bytes)


@dataclasses.dataclass(frozen=True)
class _Stream:
    """Those documents of a stream that are in a mixture.

    Attributes:
        starts, lengths: i64 (n_documents,), in tokens.
        whole: that these are all there are.
        available: tokens of all there are, about as many where these are not all.
    """

    tokens: np.ndarray
    separator: int
    starts: np.ndarray
    lengths: np.ndarray
    whole: bool
    available: int

    @classmethod
    def of(cls, tokens: TokenSet, split: str, kept: np.ndarray, most: int | None) -> "_Stream":
        stream = getattr(tokens, split)
        at = range(0, len(stream), RUN)
        each = [np.flatnonzero(np.asarray(stream[n : n + RUN]) == tokens.separator) + n + 1 for n in at]
        ends = np.concatenate([np.zeros(0, np.int64), *each])
        lengths = np.diff(ends, prepend=0)
        some = kept[: len(ends)]
        whole = len(ends) == len(kept)
        starts, lengths = (ends - lengths)[some], lengths[some]
        if most is not None and lengths.sum() >= most:
            last = int(np.searchsorted(np.cumsum(lengths), most))
            lengths[last] -= lengths[: last + 1].sum() - most
            starts, lengths, whole = starts[: last + 1], lengths[: last + 1], True
        has = int(lengths.sum())
        available = has if whole else round(tokens.manifest[split]["tokens_in_corpus"] * float(kept.mean()))
        available = available if most is None else min(available, most)
        return cls(stream, tokens.separator, starts, lengths, whole, available)

    def document(self, n: int) -> np.ndarray:
        found = np.array(self.tokens[self.starts[n] : self.starts[n] + self.lengths[n]])
        found[-1] = self.separator  # of one that was cut, as of all others
        return found


def _enough(tokens: TokenSet, wanted: Mapping[str, int]) -> bool:
    return all(
        tokens.manifest[split]["tokens"] >= n_tokens
        or tokens.manifest[split]["documents"] == tokens.manifest[split]["documents_in_corpus"]
        for split, n_tokens in wanted.items()
    )


def _begin(folder: Path, name: str, tokenizer: Tokenizer, begun: Mapping[str, object], described: Mapping) -> None:
    """An empty token set.

    Args:
        begun: what its manifest says beside this.
        described: of each split, the documents and bytes of the corpus and their fingerprint.
    """
    disk.write(folder / "tokenizer.model", lambda file: file.write(tokenizer.model))
    disk.write(folder / "token_bytes.npy", lambda file: np.save(file, tokenizer.n_bytes))
    manifest = {
        "format": PACKING,
        "id": name,
        **begun,
        "n_vocab": tokenizer.n_vocab,
        "dtype": np.dtype(tokenizer.dtype).name,
        "tokenizer": {"kind": tokenizer.kind, "hash": tokenizer.hash, "eos": tokenizer.eos},
        "files": {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES},
    }
    for split in SPLITS:
        manifest[split] = {
            "tokens": 0,
            "documents": 0,
            "bytes": 0,
            "bytes_per_token": 0.0,
            "fingerprint": described[split]["fingerprint"],
            "documents_in_corpus": described[split]["documents"],
            "bytes_in_corpus": described[split]["bytes"],
            "tokens_in_corpus": 0,
            "longest": 0,
            "blocks": [],
        }
    write_manifest(folder, manifest)


def write_manifest(folder: Path, manifest: dict) -> None:
    """Puts the manifest of a token set into its folder, sealed."""
    values = folders.sealed({name: value for name, value in manifest.items() if name != folders.SEAL})
    disk.write(folder / "manifest.json", lambda file: file.write(json.dumps(values, indent=1).encode()))


def _texts_of(task: tuple[Part, np.ndarray, int]) -> list[str]:
    return list(texts(*task))


def _encode_part(task: tuple[Path, int, Part, np.ndarray, int, Tokenizer]) -> None:
    """Encode some documents of one part into runs sorted by key: WORK/<part>-<run>.npy and .bin."""
    work, n, part, rows, piece, tokenizer = task
    for unfinished in work.glob(f"{n}-*"):
        unfinished.unlink()
    documents: list[np.ndarray] = []
    held = first = run = 0
    for i, text in enumerate(texts(part, rows, piece), 1):
        documents += tokenizer.encode_batch([text])
        held += len(documents[-1])
        if held >= RUN or i == len(rows):
            keys = rows["key"][first:i]
            order = np.argsort(keys)
            lengths = [len(documents[j]) for j in order]
            table = np.array(list(zip(keys[order], lengths, strict=True)), RUN_ROW)
            tokens = np.concatenate([documents[j] for j in order])
            disk.write(work / f"{n}-{run}.bin", lambda file, tokens=tokens: file.write(tokens.data))
            disk.write(work / f"{n}-{run}.npy", lambda file, table=table: np.save(file, table))
            documents, held, first, run = [], 0, i, run + 1
    disk.write(work / f"{n}.done", lambda file: file.write(b""))


def _merge(folder: Path, split: str, rows: np.ndarray, work: Path, dtype: np.dtype) -> None:
    """Append the documents of all runs to the stream in the order of `rows`, block by block."""
    runs = [(path.with_suffix(".bin"), np.load(path)) for path in work.glob("*.npy")]
    blocks = np.cumsum(rows["size"], dtype=np.int64) // BLOCK
    for some in np.split(rows, np.flatnonzero(np.diff(blocks)) + 1):
        low, high = some["key"][0], some["key"][-1]
        keys, documents = [], []
        for path, table in runs:
            first, last = np.searchsorted(table["key"], low), np.searchsorted(table["key"], high, side="right")
            if first < last:
                skipped = table["length"][:first].sum(dtype=np.int64)
                ends = np.cumsum(table["length"][first:last], dtype=np.int64)
                tokens = np.fromfile(path, dtype, ends[-1], offset=skipped * dtype.itemsize)
                keys.append(table["key"][first:last])
                documents += np.split(tokens, ends[:-1])
        order = np.argsort(np.concatenate(keys))
        assert len(order) == len(some)
        _append(folder, split, [documents[i] for i in order], int(some["size"].sum(dtype=np.int64)))


def _append(folder: Path, split: str, documents: Sequence[np.ndarray], n_bytes: int) -> None:
    """Add a block to a stream: first the tokens, then the manifest, so that a crash between leaves the old state.

    Args:
        n_bytes: of the documents' text.
    """
    manifest = open_tokens(folder).manifest
    part = manifest[split]
    path, digest = folder / f"{split}.bin", hashlib.sha256()
    path.touch()
    with open(path, "r+b") as file:
        begin = part["tokens"] * documents[0].itemsize
        file.truncate(begin)  # what a crash may have left
        try:
            file.seek(0, 2)
            for n in range(0, len(documents), TOGETHER):
                tokens = np.concatenate(documents[n : n + TOGETHER])
                file.write(tokens.data)
                digest.update(tokens.data)
            disk.sync(file)
        except OSError:
            file.truncate(begin)
            raise
    n_tokens = sum(map(len, documents))
    part["tokens"] += n_tokens
    part["documents"] += len(documents)
    if "longest" in part:  # else begun by an older version, which did not look
        part["longest"] = max(part["longest"], *map(len, documents))
    part["bytes"] += n_bytes
    part["bytes_per_token"] = part["bytes"] / part["tokens"]
    part["tokens_in_corpus"] = round(part["bytes_in_corpus"] / part["bytes_per_token"])
    part["blocks"].append({"tokens": n_tokens, "documents": len(documents), "sha256": digest.hexdigest()})
    write_manifest(folder, manifest)
