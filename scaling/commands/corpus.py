"""scaling corpus: text to packed tokens."""

import argparse
from typing import TYPE_CHECKING

from scaling import folders
from scaling.commands import arguments

if TYPE_CHECKING:
    from scaling.data.token_set import TokenSet


def add(verbs: arguments.Verbs) -> None:
    corpus = verbs.add_parser("corpus", help="text to packed tokens").add_subparsers(
        metavar="prepare|show|import", required=True
    )
    take = arguments.verb(
        corpus,
        "import",
        _corpus_import,
        "tokens made elsewhere, as a source",
        "scaling corpus import train.bin --validation val.bin --dtype u16 --n-vocab 50257 --eos 50256 "
        "--bytes-per-token 4.4",
    )
    take.add_argument("train", metavar="FILE", help="ids, .npy or .bin; or a pattern in quotes")
    take.add_argument("--validation", default="", metavar="FILE", help="ids to hold out (3 %% of the documents)")
    take.add_argument("--dtype", default="", choices=["u16", "u32", "i32", "i64"], help="of the ids in a .bin file")
    take.add_argument("--n-vocab", type=arguments.count, required=True, help="size of the vocabulary")
    take.add_argument("--eos", type=arguments.count, default=None, metavar="ID", help="that ends a document")
    take.add_argument("--tokenizer", default="", metavar="FILE", help="that made the ids")
    take.add_argument("--bytes-per-token", type=arguments.number, default=None, metavar="X", help="in its place")
    take.add_argument("--json", action="store_true", help="the manifest")
    for name, run, text in (
        ("prepare", _corpus_prepare, "make packed tokens, or find them made"),
        ("show", _corpus_show, "what a source holds, with its first tokens"),
    ):
        verb = arguments.verb(corpus, name, run, text, f"scaling corpus {name} python --tokens 1e6 --n-vocab 512")
        verb.add_argument("source", help="python | text:GLOB | tfds:NAME | mix:0.7*A+0.3*B | ..., see docs/data.md")
        verb.add_argument("--tokens", type=arguments.count, default=2**20, help="for training (1e6 is understood)")
        verb.add_argument("--validation-tokens", type=arguments.count, default=2**14)
        verb.add_argument("--validation", default="", metavar="SOURCE", help="a source of its own for held-out text")
        verb.add_argument("--tokenizer", default="bpe", help="bpe, bpe:SOURCE, bytes, or a file, see docs/data.md")
        verb.add_argument(
            "--n-vocab",
            type=arguments.count,
            default=None,
            help="size of the vocabulary (512; bytes: 257; a file, or pictures: what they have)",
        )
        verb.add_argument("--json", action="store_true", help="the manifest")


def _corpus_import(args: argparse.Namespace) -> int:
    from scaling.data import imported

    made = imported.import_tokens(
        args.train,
        n_vocab=args.n_vocab,
        eos=args.eos,
        dtype=args.dtype,
        validation=args.validation,
        tokenizer=args.tokenizer,
        bytes_per_token=args.bytes_per_token,
        cache=folders.cache(),
        say=arguments.say,
    )
    _show(args, made)
    if not args.json:
        print(f"\nTrain on it with: --set data.source=tokens:{made.id} model.n_vocab={made.n_vocab}")
    return 0


def _corpus_prepare(args: argparse.Namespace) -> int:
    _show(args, _tokens(args), args.source)
    return 0


def _show(args: argparse.Namespace, stream: "TokenSet", asked: str = "") -> None:
    from scaling.data import token_set

    if args.json:
        arguments.print_json(stream.manifest)
    else:
        print(token_set.describe(stream, asked))


def _corpus_show(args: argparse.Namespace) -> int:
    from scaling.data import token_set

    stream = _tokens(args)
    _show(args, stream, args.source)
    if args.json:
        return 0
    first = stream.train[:160]
    if stream.manifest["tokenizer"]["kind"] == token_set.IMPORTED:
        print("\nIts first tokens; which text they stand for is not known:\n")
        print(" ".join(map(str, first)))
    else:
        print("\nIts first tokens, one per bar:\n")
        print("|".join(stream.tokenizer.decode([id]) for id in first))
    return 0


def _tokens(args: argparse.Namespace) -> "TokenSet":
    from scaling.data import encoding, token_set

    stream = encoding.prepare(
        args.source,
        args.tokenizer,
        args.n_vocab or _n_vocab(args.source, args.tokenizer),
        train_tokens=args.tokens,
        validation_tokens=args.validation_tokens,
        validation_source=args.validation,
        cache=folders.cache(),
        say=arguments.say,
    )
    if crowded := token_set.crowding(stream, [args.tokens]):
        arguments.say(str(crowded))
    return stream


def _n_vocab(source: str, tokenizer: str) -> int:
    """The size of the vocabulary where none is given: what a tokenizer or prepared tokens have."""
    from scaling.data import corpora, encoding, token_set
    from scaling.data.tokenizer import Tokenizer

    if source.startswith(token_set.NAMED):
        folder = folders.cache() / "tokens" / source.removeprefix(token_set.NAMED)
        if (folder / "manifest.json").is_file():
            return token_set.open_tokens(folder).n_vocab
    if tokenizer == "bpe" or tokenizer.startswith(encoding.LEARNT):
        return corpora.vocabulary(tokenizer.partition(":")[2] or source) or 512
    return 257 if tokenizer == "bytes" else Tokenizer.load(tokenizer).n_vocab
