"""Vocabularies that other projects made: `tokenizer.json` of Hugging Face `tokenizers`, and `.tiktoken` files.

Either becomes one string of bytes that holds all that encoding needs: a line that names the kind, a line of JSON with
the id that ends a document (and the pattern that splits text, which a .tiktoken file leaves out), and the file itself.
The packages that encode are extras, as only some need them.
"""

import base64
import binascii
import dataclasses
import functools
import importlib
import json
import types
from pathlib import Path
from typing import Any

from scaling import checked
from scaling.data.documents import first_line, options
from scaling.errors import InputError

KINDS = ("tokenizers", "tiktoken")
LOADERS = ("load_tiktoken_bpe", "data_gym_to_mergeable_bpe_ranks")  # functions of tiktoken that download
ENDS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "</s>",
    "<eos>",
    "[EOS]",
)  # how an end of text is called where nothing tells


def kind(model: bytes) -> str:
    """Of KINDS, or "" for another model than `read` gives."""
    line, _, _ = model[:32].partition(b"\n")
    return next((name for name in KINDS if line == name.encode()), "")


def opened(model: bytes) -> "HuggingFace | Tiktoken":
    """What encodes by a model of `read`.

    Raises:
        InputError: the package is not installed, or the model is damaged.
    """
    head, settings, content = model.split(b"\n", 2)
    told = json.loads(settings)
    if head == b"tokenizers":
        return HuggingFace(content.decode(), told["eos"])
    return Tiktoken(_ranks(content, "the tokenizer"), told["pattern"], told["eos"])


def read(path: str, content: bytes, query: str) -> bytes | None:
    """The model of a file; None where it is neither a tokenizer.json nor a .tiktoken file.

    Args:
        path: of the file.
        content: of the file.
        query: eos=TEXT of a tokenizer.json, encoding=NAME of a .tiktoken file; or empty.

    Raises:
        InputError: no end of text or no pattern is known, or the file is damaged.
    """
    if content[:1] == b"{":
        given = options(path, query, {"eos": "TEXT"})
        return b"\n".join([b"tokenizers", json.dumps({"eos": _end(path, content, given.get("eos"))}).encode(), content])
    try:
        token, rank = content.split(b"\n", 1)[0].split()
        _ = base64.b64decode(token, validate=True), int(rank)
    except ValueError:
        return None
    given = options(path, query, {"encoding": "NAME"})
    return b"\n".join([b"tiktoken", json.dumps(_pattern(path, content, given.get("encoding"))).encode(), content])


def _package(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"{what} needs the package {name}; install it (pip install {name})") from None


# Hugging Face


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """A tokenizer.json: byte-level BPE (GPT-2, Llama 3, ...), or a vocabulary with bytes to fall back on."""

    content: str
    eos: int

    @functools.cached_property
    def n_vocab(self) -> int:
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @functools.cached_property
    def pieces(self) -> tuple[bytes, ...]:
        told = json.loads(self.content)
        added = {token["id"]: token for token in told.get("added_tokens", ())}
        alphabet = (
            _byte_alphabet() if '"ByteLevel"' in json.dumps([told.get("decoder"), told.get("pre_tokenizer")]) else None
        )
        pieces = [b""] * self.n_vocab
        for token, id in self._tokenizer.get_vocab(with_added_tokens=True).items():
            if id in added:
                pieces[id] = b"" if added[id]["special"] else token.encode()
            elif alphabet is not None and set(token) <= alphabet.keys():
                pieces[id] = bytes(alphabet[character] for character in token)
            elif len(token) == 6 and token.startswith("<0x"):
                pieces[id] = bytes.fromhex(token[3:5])
            else:
                pieces[id] = token.replace("\u2581", " ").encode()
        return tuple(pieces)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    @functools.cached_property
    def _tokenizer(self) -> Any:
        tokenizer = _package("tokenizers", "a tokenizer.json").Tokenizer.from_str(self.content)
        tokenizer.encode_special_tokens = True  # what looks like one in a text is text
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def _byte_alphabet() -> dict[str, int]:
    """Which character stands for which byte in byte-level BPE (GPT-2): itself if printed, else from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


def _end(path: str, content: bytes, given: str | None) -> int:
    """The id that ends a document: of the token `given`, or its tokenizer_config.json's, or of a usual name."""
    tokenizers = _package("tokenizers", f"tokenizer {path}")
    try:
        tokenizer = tokenizers.Tokenizer.from_str(content.decode())
    except Exception as error:  # the package raises no other
        raise InputError(f"tokenizer {path} is not a tokenizer.json ({first_line(error)})") from None
    beside = Path(path).expanduser().with_name("tokenizer_config.json")
    named = None
    if given is None and beside.is_file() and (found := checked.read(beside).get("eos_token")) and found.value:
        named = found["content"].text() if isinstance(found.value, dict) else found.text()
    for name in [given] if given is not None else [named] if named is not None else ENDS:
        if (id := tokenizer.token_to_id(name)) is not None:
            return id
    wanted = f"it has no token {given or named!r}" if given or named else f"it has none of {', '.join(ENDS)}"
    raise InputError(f"tokenizer {path}: which token ends a text? {wanted}; name it: '{path}?eos=TOKEN'")


# tiktoken


@dataclasses.dataclass(frozen=True)
class Tiktoken:
    """Byte-level BPE by ranks, as OpenAI's encodings are."""

    ranks: dict[bytes, int]
    pattern: str
    eos: int

    @property
    def n_vocab(self) -> int:
        return max(self.eos, *self.ranks.values()) + 1

    @functools.cached_property
    def pieces(self) -> tuple[bytes, ...]:
        pieces = [b""] * self.n_vocab
        for piece, id in self.ranks.items():
            pieces[id] = piece
        return tuple(pieces)

    def encode(self, text: str) -> list[int]:
        return self._encoding.encode_ordinary(text)

    @functools.cached_property
    def _encoding(self) -> Any:
        tiktoken = _package("tiktoken", "a .tiktoken file")
        return tiktoken.Encoding("given", pat_str=self.pattern, mergeable_ranks=self.ranks, special_tokens={})


def _ranks(content: bytes, name: str) -> dict[bytes, int]:
    try:
        pairs = (line.split() for line in content.splitlines() if line)
        ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except (ValueError, binascii.Error) as error:
        raise InputError(
            f"{name} is damaged ({first_line(error)}); wanted lines of a token in base64 and a rank"
        ) from None
    if {bytes([byte]) for byte in range(256)} - ranks.keys() or len(set(ranks.values())) < len(ranks):
        raise InputError(f"{name} is damaged; wanted a rank for each of the 256 bytes, and none twice")
    return ranks


def _pattern(path: str, content: bytes, given: str | None) -> dict[str, Any]:
    """The pattern that splits text and the id that ends it, of the encoding `given`, or that the file is named for."""
    _package("tiktoken", f"tokenizer {path}")
    public = importlib.import_module("tiktoken_ext.openai_public")
    ranks = _ranks(content, path)
    name = given or Path(path).stem
    constructor = public.ENCODING_CONSTRUCTORS.get(name)
    if constructor is None:
        known = ", ".join(sorted(public.ENCODING_CONSTRUCTORS))
        raise InputError(
            f"tokenizer {path}: a .tiktoken file does not say how text is split; name an encoding that splits it so: "
            f"'{path}?encoding=NAME' ({known})"
        )
    # The package's own description of the encoding, with the file's ranks where it would download them.
    settings = vars(public) | {function: lambda *_, **__: ranks for function in LOADERS}
    told = types.FunctionType(constructor.__code__, settings)()
    last = max(ranks.values())
    end = told["special_tokens"]["<|endoftext|>"]
    return {"pattern": told["pat_str"], "eos": end if 0 < end - last < 3 else last + 1}  # of these ranks, or of others
