"""scaling corpus: text to packed tokens."""

import argparse
from typing import TYPE_CHECKING

from scaling import folders
from scaling.commands import arguments

if TYPE_CHECKING:
    from scaling.data.token_set import TokenSet


def add(verbs: arguments.Verbs) -> None:
    corpus = verbs.add_parser("corpus", help="text to packed tokens").add_subparsers(
        metavar="prepare|show", required=True
    )
    for name, run, text in (
        ("prepare", _corpus_prepare, "make packed tokens, or find them made"),
        ("show", _corpus_show, "what a source holds, with its first tokens"),
    ):
        verb = arguments.verb(corpus, name, run, text, f"scaling corpus {name} python --tokens 1e6 --n-vocab 512")
        verb.add_argument("source", help="python | text:GLOB | tfds:NAME | synthetic:... | tokens:ID, see docs/data.md")
        verb.add_argument("--tokens", type=arguments.count, default=2**20, help="for training (1e6 is understood)")
        verb.add_argument("--validation-tokens", type=arguments.count, default=2**14)
        verb.add_argument("--validation", default="", metavar="SOURCE", help="a source of its own for held-out text")
        verb.add_argument("--tokenizer", default="bpe", help="bpe, bytes, or the path of a SentencePiece model")
        verb.add_argument(
            "--n-vocab", type=arguments.count, default=None, help="size of the vocabulary (512; bytes: 257)"
        )
        verb.add_argument("--json", action="store_true", help="the manifest")


def _corpus_prepare(args: argparse.Namespace) -> int:
    from scaling.data import token_set

    stream = _tokens(args)
    if args.json:
        arguments.print_json(stream.manifest)
    else:
        print(token_set.describe(stream))
    return 0


def _corpus_show(args: argparse.Namespace) -> int:
    code = _corpus_prepare(args)
    if not args.json:
        stream = _tokens(args)
        print("\nIts first tokens, one per bar:\n")
        print("|".join(stream.tokenizer.decode(stream.train[i : i + 1]) for i in range(min(160, len(stream.train)))))
    return code


def _tokens(args: argparse.Namespace) -> "TokenSet":
    from scaling.data import encoding, token_set

    stream = encoding.prepare(
        args.source,
        args.tokenizer,
        args.n_vocab or (257 if args.tokenizer == "bytes" else 512),
        train_tokens=args.tokens,
        validation_tokens=args.validation_tokens,
        validation_source=args.validation,
        cache=folders.cache(),
        say=arguments.say,
    )
    if crowded := token_set.crowding(stream, [args.tokens]):
        arguments.say(crowded)
    return stream
