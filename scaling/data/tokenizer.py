"""Text to token ids and back, exactly: SentencePiece BPE with byte fallback, plain bytes, or another's vocabulary.

They give back every text, because a token is a string of bytes and the bytes of all tokens joined are the text; so do
the characters of a source that has but a few, which refuse all others. Each
document ends with one separator, `eos`, that stands for no bytes.
"""

import dataclasses
import functools
import hashlib
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scaling import folders
from scaling.config import CHARACTERS
from scaling.data import vocabularies
from scaling.data.vocabularies import HuggingFace, Tiktoken
from scaling.errors import InputError

BYTES_VOCAB = 257  # 256 bytes and the separator
MIN_BPE_VOCAB = 300  # 256 bytes, unknown (never used), separator, and some characters
COVERAGE = 0.9995  # share of the sample's characters that get a token of their own; the rest is spelled in bytes
WHITESPACE_MARK = "\u2581"  # how SentencePiece writes a space inside a token
RESERVED = "\t\u2581\u2585"  # the trainer has its own use for these: it skips sentences with them, or reads a space
MAX_SENTENCE = 4096  # characters
MODELS = "a SentencePiece model, a tokenizer.json or a .tiktoken file"
QUERY = re.compile(r"\?(\w+=.*)$")
CHARACTERS_MODEL = b"characters\n"  # what those of given characters begin with, and then these
BYTES_MODEL = b"bytes\n"  # what a saved byte tokenizer looks like


@dataclasses.dataclass(frozen=True)
class Tokenizer:
    """Ids 0, ..., n_vocab - 1, each a string of bytes.

    `model` is a serialised SentencePiece model, BYTES_MODEL, CHARACTERS_MODEL with characters, or one of
    `vocabularies`. Plain data, so that it pickles.
    """

    model: bytes

    @property
    def is_bytes(self) -> bool:
        return self.model == BYTES_MODEL

    @property
    def is_characters(self) -> bool:
        return self.model.startswith(CHARACTERS_MODEL)

    @property
    def kind(self) -> str:
        """bytes, characters, bpe (SentencePiece), tokenizers (Hugging Face) or tiktoken."""
        if self.is_characters:
            return "characters"
        return "bytes" if self.is_bytes else vocabularies.kind(self.model) or "bpe"

    @functools.cached_property
    def _others(self) -> HuggingFace | Tiktoken | None:
        return vocabularies.opened(self.model) if self.kind in vocabularies.KINDS else None

    @functools.cached_property
    def hash(self) -> str:
        return hashlib.sha256(self.model).hexdigest()

    @functools.cached_property
    def characters(self) -> dict[str, int]:
        """The id of each character, of the kind that has a token for each of a few."""
        return {c: i for i, c in enumerate(self.model.removeprefix(CHARACTERS_MODEL).decode())}

    @functools.cached_property
    def n_vocab(self) -> int:
        if self._others:
            return self._others.n_vocab
        if self.is_characters:
            return len(self.characters) + 1
        return BYTES_VOCAB if self.is_bytes else self._processor.get_piece_size()

    @functools.cached_property
    def eos(self) -> int:
        """The separator: the last token of every document."""
        if self._others:
            return self._others.eos
        if self.is_characters:
            return len(self.characters)
        return 256 if self.is_bytes else self._processor.eos_id()

    @property
    def dtype(self) -> type:
        """The narrowest unsigned type that holds every id: u16 up to 65,536 tokens, else u32."""
        return np.uint16 if self.n_vocab <= 2**16 else np.uint32

    @functools.cached_property
    def pieces(self) -> tuple[bytes, ...]:
        """The bytes that each id stands for; none for the separator."""
        if self._others:
            return self._others.pieces
        if self.is_bytes:
            return (*(bytes([i]) for i in range(256)), b"")
        if self.is_characters:
            return (*(character.encode() for character in self.characters), b"")
        model = self._processor
        return tuple(
            bytes([int(piece[3:5], 16)])  # <0x0A>
            if model.is_byte(i)
            else b""
            if model.is_control(i) or model.is_unknown(i)
            else piece.replace(WHITESPACE_MARK, " ").encode()
            for i, piece in enumerate(model.id_to_piece(list(range(self.n_vocab))))
        )

    @functools.cached_property
    def n_bytes(self) -> np.ndarray:
        """Bytes of text per id, i64 (n_vocab,): the bytes of a slice of tokens are n_bytes[slice].sum()."""
        return np.array([len(piece) for piece in self.pieces], np.int64)

    def encode(self, text: str) -> np.ndarray:
        """The ids of one text, without a separator."""
        if self.is_bytes:
            return np.frombuffer(text.encode(), np.uint8).astype(np.uint16)
        if self._others:
            return np.array(self._others.encode(text), self.dtype)
        if self.is_characters:
            try:
                return np.array([self.characters[c] for c in text], self.dtype)
            except KeyError as error:
                raise InputError(
                    f"the text has a character {error.args[0]!r}, the vocabulary is {''.join(self.characters)!r}; add "
                    "it, or use the bytes tokenizer"
                ) from None
        if WHITESPACE_MARK not in text:
            return np.array(self._processor.encode(text), self.dtype)
        # SentencePiece would give the mark back as a space: spell it in bytes.
        model = self._processor
        mark = [model.piece_to_id(f"<0x{byte:02X}>") for byte in WHITESPACE_MARK.encode()]
        first, *rest = (model.encode(part) for part in text.split(WHITESPACE_MARK))
        return np.array([*first, *itertools.chain.from_iterable(mark + ids for ids in rest)], self.dtype)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, each ended by the separator."""
        end = np.array([self.eos], self.dtype)
        return [np.concatenate([self.encode(text), end]) for text in texts]

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """The text; documents run together. Bytes of a character cut in two come out as U+FFFD."""
        pieces = self.pieces
        return b"".join([pieces[i] for i in ids]).decode("utf-8", "replace")

    def save(self, path: Path) -> None:
        path.write_bytes(self.model)

    @staticmethod
    def load(path: str) -> "Tokenizer":
        """A saved tokenizer, any SentencePiece model, a tokenizer.json, or a .tiktoken file.

        Args:
            path: of the file, or characters:THESE; ?eos=TOKEN may follow that of a tokenizer.json, ?encoding=NAME that
                of a .tiktoken file.

        Raises:
            InputError: not a model, or one that does not give every text back.
        """
        if path.startswith(CHARACTERS):
            return characters_tokenizer(path.removeprefix(CHARACTERS))
        asked = None if Path(path).expanduser().exists() else QUERY.search(path)
        name, query = (path[: asked.start()], asked[1]) if asked else (path, "")
        model = folders.read_bytes(Path(name).expanduser(), f"bpe, bytes or the path of {MODELS}")
        tokenizer = Tokenizer(model)
        if tokenizer.kind == "bpe":
            tokenizer = Tokenizer(vocabularies.read(name, model, query) or model)
        if tokenizer.kind == "bpe":
            _check_reversible(tokenizer, name)
        elif tokenizer.kind not in ("bytes", "characters"):
            _check_pieces(tokenizer, name)
        return tokenizer

    @functools.cached_property
    def _processor(self) -> Any:
        import sentencepiece  # 0.1 s, and only some commands encode

        processor = sentencepiece.SentencePieceProcessor()
        processor.load_from_serialized_proto(self.model)
        return processor

    def __getstate__(self) -> dict[str, bytes]:
        return {"model": self.model}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        object.__setattr__(self, "model", state["model"])


def bytes_tokenizer() -> Tokenizer:
    """256 bytes and a separator: no training, no vocabulary to choose."""
    return Tokenizer(BYTES_MODEL)


def characters_tokenizer(characters: str) -> Tokenizer:
    """A token for each of these characters, in their order, and a separator.

    Raises:
        InputError: none, one twice, or bytes that are no UTF-8.
    """
    if any("\ud800" <= character <= "\udfff" for character in characters):
        raise InputError(
            f"{CHARACTERS}{ascii(characters)[1:-1]}: not valid UTF-8; wanted characters, such as 0123456789+="
        )
    if not characters or len(set(characters)) < len(characters):
        raise InputError(f"{CHARACTERS}{characters}: wanted different characters, such as {CHARACTERS}0123456789+=")
    return Tokenizer(CHARACTERS_MODEL + characters.encode())


def train_bpe(sample: Iterable[str], n_vocab: int) -> Tokenizer:
    """Byte-pair encoding learnt from `sample`, the same from the same sample.

    Text is taken as it is (identity normalisation), spaces and newlines included. Rare characters are spelled in bytes:
    at most half of what the 256 bytes leave of the vocabulary goes to single characters.

    Args:
        sample: texts, a few megabytes together; all of it is held in memory.
        n_vocab: tokens in all, at least MIN_BPE_VOCAB.

    Raises:
        InputError: n_vocab is too small, or the sample too small for it.
    """
    import sentencepiece

    if n_vocab < MIN_BPE_VOCAB:
        raise InputError(
            f"a BPE vocabulary of {n_vocab} is too small: 258 tokens are bytes and marks; "
            f"use {MIN_BPE_VOCAB} or more, or the bytes tokenizer (n_vocab={BYTES_VOCAB})"
        )
    texts = list(sample)
    characters = _characters(Counter(itertools.chain.from_iterable(texts)), (n_vocab - 258) // 2)
    if not characters:
        raise InputError("no text to learn a vocabulary from; give a corpus with text, or the bytes tokenizer")
    rare = re.compile(f"[^{re.escape(characters)}]+")
    sentences = [sentence for text in texts for sentence in _sentences(text, rare)]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=n_vocab,
            character_coverage=1.0,  # of `characters`; its own rule refuses less than 0.98
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            allow_whitespace_only_pieces=True,  # indentation
            split_digits=True,
            max_sentence_length=4 * MAX_SENTENCE,  # bytes
            bos_id=-1,
            pad_id=-1,
            unk_id=0,
            eos_id=1,
            num_threads=1,  # is written into the model, and so into its hash
            minloglevel=2,
        )
    except RuntimeError as error:
        most = re.search(r"<= (\d{3,})", str(error))  # what the trainer says would do
        smaller = f"n_vocab={most[1]} or less" if most and int(most[1]) >= MIN_BPE_VOCAB else "a smaller n_vocab"
        raise InputError(
            f"{sum(len(text.encode()) for text in texts)} bytes of text do not give a BPE vocabulary of {n_vocab}; "
            f"use {smaller}, more text, or the bytes tokenizer"
        ) from None
    return Tokenizer(model.getvalue())


def _characters(counts: Counter[str], n_most: int) -> str:
    """The characters that get tokens of their own: the commonest up to COVERAGE of the text, at most `n_most`."""
    for reserved in RESERVED:
        del counts[reserved]
    wanted = COVERAGE * counts.total()
    # Ties are broken by code point, not by the order in which the characters appeared.
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:n_most]
    before = itertools.accumulate((n for _, n in common), initial=0)
    return "".join(character for (character, _), n in zip(common, before, strict=False) if n < wanted)


def _sentences(text: str, rare: re.Pattern[str]) -> Iterable[str]:
    """What the trainer is shown: lines, each with the newline before it, cut where a rare character stands."""
    first, *rest = text.split("\n")
    for line in itertools.chain([first], ("\n" + line for line in rest)):
        for part in rare.split(line):
            for start in range(0, len(part), MAX_SENTENCE):
                yield part[start : start + MAX_SENTENCE]


PROBE = " \n\n  \tA \u00c5\u212b\u2581 e\u0301 \u00bd \U0001f642\r\n"


def _check_pieces(tokenizer: Tokenizer, path: str) -> None:
    """Refuse vocabularies of other projects that lose text."""
    probe = f"{PROBE}<|endoftext|></s>{PROBE}"
    found = tokenizer.decode(tokenizer.encode(probe))
    if found != probe:
        place = next((i for i, (a, b) in enumerate(zip(found, probe, strict=False)) if a != b), len(found))
        raise InputError(
            f"tokenizer {path} does not give text back unchanged ({probe[place : place + 4]!r} becomes "
            f"{found[place : place + 4]!r}); it needs byte-level BPE or bytes to fall back on, and no normaliser"
        )


def _check_reversible(tokenizer: Tokenizer, path: str) -> None:
    """Refuse models that lose text: no separator, no byte fallback, or a normaliser that changes it."""
    try:
        reversible = tokenizer.eos >= 0 and tokenizer.decode(tokenizer.encode(PROBE)) == PROBE
    except RuntimeError:
        raise InputError(f"tokenizer {path} is not {MODELS}; give bpe, bytes or the path of one") from None
    if not reversible:
        raise InputError(
            f"tokenizer {path} does not give text back unchanged; it needs an end-of-sentence id, byte_fallback, "
            "identity normalisation, remove_extra_whitespaces=false and add_dummy_prefix=false"
        )
