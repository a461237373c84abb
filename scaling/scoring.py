"""How well a trained model expects each document of a text, for `scaling.data.perplexity`, whose process this is."""

import json
import sys
import time
from array import array
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np

from scaling import kinds, sampling, study, trained
from scaling.data import disk
from scaling.data.corpora import open_corpus
from scaling.data.documents import PIECE, Part
from scaling.data.index import key
from scaling.data.perplexity import SCORE, VERSION
from scaling.data.quality import to_train_on, whole
from scaling.errors import InputError
from scaling.models import loss
from scaling.trained import Trained

BATCH = 2**13  # tokens that the model reads at once
SHORTEST = 16  # tokens of a window: longer ones are as long as a power of two, or as the context


def bits_per_byte(found: Trained, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """What a model needs for each text, bits per byte f64 (n_texts,), and its bytes i64 (n_texts,).

    A text is read in windows of n_ctx tokens, each after a separator; the end of the text is no part of it. Windows of
    about one length are read together, so that the program is compiled for few shapes.

    Raises:
        InputError: the model writes no text (`Kind.writing`), or its vocabulary lacks a character.
    """
    run, end = found.config, found.tokenizer.eos
    own, n_ctx = kinds.of(run.model).writing(run.model), run.model.n_ctx
    losses = jax.jit(lambda params, tokens: loss.token_losses(own, params, tokens, dtype=run.dtype))
    nats, sizes = array("d"), array("q")
    waiting: dict[int, list[tuple[int, np.ndarray]]] = {}

    def read(length: int) -> None:
        windows = waiting.pop(length)
        tokens = np.full((max(1, BATCH // length), length + 1), end, np.int32)
        for row, (_, window) in enumerate(windows):
            tokens[row, 1 : len(window) + 1] = window
        each = np.asarray(losses(found.params, tokens), np.float64)
        for row, (n, window) in enumerate(windows):
            nats[n] += float(each[row, : len(window)].sum())

    for n, text in enumerate(texts):
        nats.append(0.0)
        sizes.append(len(text.encode()))
        tokens = found.tokenizer.encode(text)
        for start in range(0, len(tokens), n_ctx):
            window = tokens[start : start + n_ctx]
            length = min(n_ctx, max(SHORTEST, 1 << (len(window) - 1).bit_length()))
            waiting.setdefault(length, []).append((n, window))
            if len(waiting[length]) >= BATCH // length:
                read(length)
    for length in list(waiting):
        read(length)
    size = np.array(sizes, np.int64)
    return np.array(nats) / size / np.log(2), size


def scored(model: str, source: str, cache: Path) -> dict[str, str]:
    """Scores the documents of a source that may be trained on, those that are not scored yet; where the scores are.

    Files of scores that are damaged are written again.
    """
    corpus = open_corpus(source)
    found = trained.load(*study.place(Path(model)))
    content = sampling.content(found, f"{VERSION} {corpus.cut} {corpus.source.partition(':')[0]} {corpus.signature()}")
    folder = cache / "scores" / content
    path = folder / "scores.npy"

    def say(line: str) -> None:
        print(f"{model}: {line}", file=sys.stderr, flush=True)

    with disk.room(cache), disk.locked(folder, say):
        if not whole(path, SCORE):
            parts = corpus.parts()
            files = [folder / f"{n}.npy" for n in range(len(parts))]
            todo = [n for n, file in enumerate(files) if not whole(file, SCORE)]
            say(disk.begun(f"scores {source}", len(parts), len(todo)))
            last = time.monotonic()
            for done, n in enumerate(todo):
                if time.monotonic() - last > disk.PROGRESS:
                    last = time.monotonic()
                    say(f"scores {source}: {done} of {len(todo)} parts")
                rows = _of_part(found, parts[n], corpus.cut or PIECE)
                disk.write(files[n], lambda file, rows=rows: np.save(file, rows))
            rows = np.concatenate([np.load(file) for file in files])
            if not len(rows):
                raise InputError(f"{source} holds no text to train on")
            rows = rows[np.argsort(rows["key"])]
            first = np.flatnonzero(np.concatenate([[True], rows["key"][1:] != rows["key"][:-1]]))
            sizes = np.add.reduceat(rows["size"], first)
            rows = rows[first]
            rows["size"] = sizes
            disk.write(path, lambda file: np.save(file, rows))
            for file in files:
                file.unlink()
    return {"scores": str(path.absolute())}


def _of_part(found: Trained, part: Part, cut: int) -> np.ndarray:
    """SCORE (n_documents,)"""
    keys = array("Q")

    def texts() -> Iterable[str]:
        for document in to_train_on(part, cut):
            keys.append(key(document.text.encode()))
            yield document.text

    bits, sizes = bits_per_byte(found, texts())
    if not np.isfinite(bits).all():
        raise InputError("the model gives texts no probability, as one that diverged; use another run")
    rows = np.empty(len(keys), SCORE)
    rows["key"], rows["bits"], rows["size"] = keys, bits, sizes
    return rows


def main() -> None:
    model, source, cache = sys.argv[1:]
    try:
        told = scored(model, source, Path(cache))
    except InputError as error:
        told = {"refused": str(error)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
