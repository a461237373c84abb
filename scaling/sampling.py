"""A trained model's text as files, for `scaling.data.sampled`, whose process this module is."""

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scaling import folders, kinds, study
from scaling.data import disk
from scaling.data.sampled import FILE, LANES, LENGTH, VERSION
from scaling.errors import InputError

if TYPE_CHECKING:
    from scaling.trained import Trained


def mark(model: str) -> str:
    """Changes when the weights of STUDY/RUN, or how they write, may have changed; no weight is read.

    Raises:
        InputError: no such run, it has no weights, or its model writes no text.
    """
    folder, run = study.place(Path(model))
    if not (folder / "study.json").exists():
        raise InputError(
            f"{model}: no study is there, as seen from this folder; if it has moved, put it back or make a link of its "
            "old name"
        )
    whole = study.read(folder)
    id, pack = study.chosen(whole, run)
    own = next(planned.config.model for planned in pack.runs if planned.id == id)
    writer = kinds.of(own).writing(own)
    at = whole.pack_folder(pack)
    steps = folders.saved_steps(at)
    if not steps:
        raise InputError(f"{model}: run {id} has no weights: it has not begun, or came in as a record alone")
    seal = at / "checkpoints" / str(steps[-1]) / folders.LAST
    sums = seal.read_text() if seal.is_file() else ""
    return hashlib.sha256(f"{id} {steps[-1]} {sums} {writer}".encode()).hexdigest()[:16]


def content(found: "Trained", asked: str) -> str:
    """A hash of what a model is, by its weights, its vocabulary and how it writes, and of what it is asked for."""
    writer = kinds.of(found.config.model).writing(found.config.model)
    content = hashlib.sha256(f"{asked} {found.tokenizer.hash} {writer}".encode())
    for name, leaf in sorted(found.params.items()):
        content.update(f"{name} {leaf.shape}".encode() + np.ascontiguousarray(leaf, np.float32).tobytes())
    return content.hexdigest()[:16]


def written(model: str, files: int, temperature: float, seed: int, cache: Path) -> dict[str, str]:
    """Writes those of the first `files` files that are not there yet; where they are, and the vocabulary."""
    from scaling import trained

    found = trained.load(*study.place(Path(model)))
    folder = cache / "samples" / content(found, f"{VERSION} {temperature!r} {seed}")

    def say(line: str) -> None:
        print(f"{model}: {line}", file=sys.stderr, flush=True)

    with disk.locked(folder, say):
        if not (folder / "tokenizer.model").exists():
            disk.write(folder / "tokenizer.model", lambda file: file.write(found.tokenizer.model))
        todo = [n for n in range(files) if not (folder / f"{n}.jsonl").exists()]
        if todo:
            say(f"writes {len(todo) * FILE:,} tokens of text")
        for n in todo:
            lines = documents(found, n, temperature, seed)
            disk.write(folder / f"{n}.jsonl", lambda file, lines=lines: file.write("".join(lines).encode()))
    return {"folder": str(folder.absolute()), "tokenizer": str((folder / "tokenizer.model").absolute())}


def documents(found: "Trained", n: int, temperature: float, seed: int) -> list[str]:
    """The n-th file, a line of JSON for each document."""
    prompt = np.zeros((LANES, 0), np.int32)
    pieces, held = [], 0
    for some in found.written(prompt, seed, n * LANES, temperature=temperature):
        pieces.append(some)
        held += some.shape[1]
        if held >= LENGTH:
            break
    lines, end = [], found.tokenizer.eos
    for lane, tokens in enumerate(np.concatenate(pieces, 1)[:, :LENGTH], n * LANES):
        ends = np.flatnonzero(tokens == end)
        for k, document in enumerate(np.split(tokens, ends + 1)):
            if len(document):
                text = found.tokenizer.decode(document[document != end])
                lines.append(json.dumps({"id": f"{lane}.{k}", "text": text}) + "\n")
    return lines


def main() -> None:
    model, files, temperature, seed, cache = sys.argv[1:]
    try:
        told = written(model, int(files), float(temperature), int(seed), Path(cache))
    except InputError as error:
        told = {"refused": str(error)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
