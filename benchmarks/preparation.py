"""How fast a mixture of two de-duplicated texts is prepared, beside its encoding, on one core, and in how much memory.

    python -m benchmarks.preparation [--megabytes M] [--json FILE]

Documents of words drawn by Zipf's law, of which a tenth are there twice with one word in fifty changed, are read,
hashed, sketched, freed of near-duplicates, ordered, split, mixed and written by `scaling.data.encoding.prepare`, in one
process. Time is that of the processor, whatever else the machine does, and that of encoding is taken off. The peak
memory is the whole process'; run it at several sizes to see whether it is bounded.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scaling.data.encoding import prepare
from scaling.data.tokenizer import Tokenizer

WORDS, DOCUMENT = 30_000, 400  # words of the language, and of a document
LETTERS = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
N_VOCAB = 1024
SHARES = (0.7, 0.3)
TOKENS_EACH = 2**14  # from which the vocabulary is learnt


def write(folder: Path, n_bytes: int, rng: np.random.Generator) -> str:
    """Files of about 4 MB of documents; the source that reads them without near-duplicates."""
    folder.mkdir()
    words = np.array(["".join(rng.choice(LETTERS, n)) for n in rng.integers(2, 10, WORDS)])
    chances = 1 / np.arange(1, WORDS + 1)
    chances /= chances.sum()
    while n_bytes > 0:
        drawn = rng.choice(words, (1600, DOCUMENT), p=chances)
        near = np.where(rng.random((160, DOCUMENT)) < 0.02, rng.choice(words, (160, DOCUMENT)), drawn[:160])
        rows = [" ".join(row) for row in (*drawn, *near)]
        (folder / f"{n_bytes}.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
        n_bytes -= sum(map(len, rows))
    return f"dedup(text:{folder}/*.jsonl)"


class Clock:
    """Processor time that encoding takes."""

    def __init__(self) -> None:
        self.seconds, self.encode = 0.0, Tokenizer.encode_batch

    def __enter__(self) -> "Clock":
        clock = self

        def timed(self: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
            began = time.process_time()
            try:
                return clock.encode(self, texts)
            finally:
                clock.seconds += time.process_time() - began

        Tokenizer.encode_batch = timed
        return self

    def __exit__(self, *_: object) -> None:
        Tokenizer.encode_batch = self.encode


def measure(megabytes: float) -> dict:
    """Documents and tokens of a mixture of `megabytes` of text, the processor seconds they take, and peak memory."""
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(0)
        sources = [write(folder / str(n), round(share * megabytes * 1e6), rng) for n, share in enumerate(SHARES)]
        few = {"train_tokens": TOKENS_EACH, "validation_tokens": 1000, "workers": 1, "say": lambda line: None}
        learnt = prepare(sources[1], "bpe", N_VOCAB, cache=folder / "learnt", **few)
        mixture = "mix:" + "+".join(f"{share}*{source}" for share, source in zip(SHARES, sources, strict=True))
        wanted = few | {"train_tokens": round(megabytes * 1e6 * 0.8 / learnt.manifest["train"]["bytes_per_token"])}
        began = time.process_time()
        with Clock() as encoding:
            made = prepare(
                mixture, str(learnt.folder / "tokenizer.model"), N_VOCAB, cache=folder / "cache", **wanted
            ).manifest
        seconds = time.process_time() - began
        n_documents = sum(corpus["documents"] for corpus in made["corpora"].values())
        unit = 1 if sys.platform == "darwin" else 1024
        return {
            "megabytes": megabytes,
            "documents_read": n_documents,
            "near_duplicates": sum(corpus["near_duplicates"] for corpus in made["corpora"].values()),
            "tokens": made["train"]["tokens"],
            "seconds": seconds,
            "seconds_of_encoding": encoding.seconds,
            "documents_per_second": n_documents / (seconds - encoding.seconds),
            "tokens_per_second": made["train"]["tokens"] / (seconds - encoding.seconds),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100, metavar="M", help="of text (100)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    row = measure(arguments.megabytes)
    print(f"{row['documents_read']:,} documents, {row['near_duplicates']:,} near-duplicates, {row['tokens']:,} tokens")
    print(f"{row['seconds']:.1f} s of the processor, {row['seconds_of_encoding']:.1f} of them encoding")
    tokens, documents = row["tokens_per_second"] / 1e6, row["documents_per_second"]
    print(f"beside it {tokens:.2f} million tokens/s, {documents:,.0f} documents/s")
    print(f"at most {row['peak_bytes'] / 1e6:,.0f} MB of memory")
    if arguments.json:
        result = {
            "command": f"python -m benchmarks.preparation --megabytes {arguments.megabytes:g} --json FILE",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, one used",
            "python": platform.python_version(),
            "numpy": np.__version__,
            **row,
        }
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
