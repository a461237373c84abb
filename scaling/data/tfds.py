"""Text from TensorFlow Datasets without TensorFlow: prepared beforehand as ArrayRecord, read without a network."""

import dataclasses
import functools
import hashlib
import importlib
import os
from collections.abc import Collection, Iterator
from typing import Any

from scaling.data.documents import PART, Document, File, Part, cut_of, first_line, options
from scaling.errors import InputError

RECORDS = 256  # read at once


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One split of a prepared data set."""

    name: str  # NAME, NAME/CONFIG or NAME/CONFIG:VERSION
    split: str
    field: str
    data_dir: str | None  # None: $TFDS_DATA_DIR, or ~/tensorflow_datasets
    cut: int | None  # characters


def parse(source: str) -> Dataset:
    """What "tfds:NAME[/CONFIG][?KEY=VALUE&...]" means; by default field `text` of split `train`.

    Raises:
        InputError: an unknown option.
    """
    name, _, query = source.removeprefix("tfds:").partition("?")
    given = options(source, query, {"split": "NAME", "field": "NAME", "data_dir": "FOLDER", "cut": "CHARACTERS"})
    data_dir = given.get("data_dir")
    return Dataset(
        name,
        given.get("split", "train"),
        given.get("field", "text"),
        None if data_dir is None else os.path.expanduser(data_dir),
        None if "cut" not in given else cut_of(source, given["cut"]),
    )


@dataclasses.dataclass(frozen=True)
class TfdsCorpus:
    """The examples of one split, each a document."""

    source: str
    drops_near_duplicates: bool = False
    entropy_rate: None = None

    @functools.cached_property
    def dataset(self) -> Dataset:
        return parse(self.source)

    @property
    def cut(self) -> int | None:
        return self.dataset.cut

    def signature(self) -> str:
        builder, _ = _open(self.dataset)
        files = [os.stat(path) for path in builder.info.splits[self.dataset.split].filepaths]
        what = [self.dataset, builder.info.full_name, [(file.st_size, file.st_mtime_ns) for file in files]]
        return hashlib.sha256(repr(what).encode()).hexdigest()[:16]

    def parts(self) -> list[Part]:
        builder, examples = _open(self.dataset)
        size = builder.info.splits[self.dataset.split].num_bytes / max(1, len(examples))
        step = max(1, int(PART / max(1, size)))
        return [
            [TfdsFile(self.dataset, n, min(n + step, len(examples)))] for n in range(0, max(1, len(examples)), step)
        ]


@dataclasses.dataclass(frozen=True)
class TfdsFile(File):
    """Examples start, ..., stop - 1 of a split."""

    dataset: Dataset
    start: int
    stop: int

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        _, examples = _open(self.dataset)
        chosen = range(self.stop - self.start) if keep is None else sorted(keep)
        for n in range(0, len(chosen), RECORDS):
            some = chosen[n : n + RECORDS]
            for k, example in zip(some, examples.__getitems__([self.start + k for k in some]), strict=True):
                name = f"{self.dataset.name}/{self.dataset.split}#{self.start + k}"
                try:
                    text = example[self.dataset.field].decode()
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"tfds:{self.dataset.name}, example {self.start + k} of {self.dataset.split}: byte "
                        f"0x{error.object[error.start]:02x} is not UTF-8 text; choose another field with ?field=NAME"
                    ) from None
                yield k, Document(name, text, name)


@functools.lru_cache(maxsize=4)
def _open(dataset: Dataset) -> tuple[Any, Any]:
    """The builder, and its examples by index."""
    tfds: Any = importlib.import_module("tensorflow_datasets")  # half a second; its types are partial

    wanted = f"tfds build {dataset.name.partition('/')[0]} --file_format=array_record"
    try:
        builder = tfds.builder(dataset.name, data_dir=dataset.data_dir, try_gcs=False)
    except (ValueError, ImportError) as error:
        where = dataset.data_dir or tfds.core.constants.DATA_DIR
        raise InputError(
            f"tfds:{dataset.name}: {first_line(error)} Nothing is prepared in {where}; prepare it with: {wanted}"
        ) from None
    splits = builder.info.splits
    if not splits:
        raise InputError(f"tfds:{dataset.name} is not prepared in {builder.data_dir}; prepare it with: {wanted}")
    if dataset.split not in splits:
        raise InputError(
            f"tfds:{dataset.name} has no split {dataset.split!r}; choose from {', '.join(splits)} by ?split="
        )
    fields = [name for name, feature in builder.info.features.items() if isinstance(feature, tfds.features.Text)]
    if dataset.field not in fields:
        found = f"text fields: {', '.join(fields)}" if fields else "it has no text field"
        raise InputError(
            f"tfds:{dataset.name} has no text field {dataset.field!r} ({found}); choose one by ?field=NAME"
        )
    try:
        return builder, builder.as_data_source(dataset.split)
    except NotImplementedError:
        raise InputError(
            f"tfds:{dataset.name} is prepared as {builder.info.file_format.value}, which needs TensorFlow; "
            f"prepare it with: {wanted}"
        ) from None
