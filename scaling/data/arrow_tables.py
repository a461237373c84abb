"""Text from tables: .parquet, .arrow and .feather files, and folders that Hugging Face `datasets` saved."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from scaling import checked
from scaling.data.documents import Document, File, first_line
from scaling.errors import InputError


def saved_dataset(folder: str) -> set[str]:
    """The Arrow files of a folder that Hugging Face `datasets` saved (`save_to_disk`); none of another folder.

    Raises:
        InputError: it holds several splits, rows that were chosen and not copied, or is damaged.
    """
    splits = Path(folder) / "dataset_dict.json"
    if splits.is_file():
        names = [split.text() for split in checked.read(splits)["splits"].items()]
        raise InputError(f"text:{folder} holds the splits {', '.join(names)}; write text:{folder}/{names[0]}")
    state = Path(folder) / "state.json"
    if not state.is_file():
        return set()
    told = checked.read(state)
    for name in ("_indices_files", "_indices_data_files"):
        if (chosen := told.get(name)) and chosen.value:
            raise InputError(f"{state}: some of its rows were chosen; copy them by .flatten_indices() and save again")
    names = [file["filename"].text() for file in told["_data_files"].items()]
    for name in names:
        if os.path.basename(name) != name or not os.path.isfile(os.path.join(folder, name)):
            raise InputError(f"{state} names {name}, which is no file of {folder}; save the data set again")
    return {os.path.join(folder, name) for name in names}


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns of a table hold a document."""

    text: tuple[str, ...]  # a column, and fields in it
    has_id: bool

    @property
    def names(self) -> tuple[str, ...]:
        return self.text[:1] + (("id",) if self.has_id else ())

    def documents(
        self, batch: Any, first: int, keep: Collection[int] | None, name: Callable[[int], str]
    ) -> Iterator[tuple[int, Document]]:
        """The documents of a pyarrow.RecordBatch, numbered from `first`; of those numbered in `keep` only.

        Args:
            name: of a document without an id, by its number.
        """
        import pyarrow.compute

        texts = batch.column(self.text[0])
        for field in self.text[1:]:
            texts = pyarrow.compute.call_function("struct_field", [texts], pyarrow.compute.StructFieldOptions([field]))
        ids = batch.column("id") if self.has_id else None
        for i in range(len(texts)):
            if keep is None or first + i in keep:
                text = texts[i].as_py()
                id = name(first + i) if ids is None else str(ids[i].as_py())
                yield first + i, Document(id, text or "", "", null=text is None)


def _columns(path: str, schema: Any, field: str) -> Columns:
    """Of a pyarrow.Schema.

    Raises:
        InputError: no such column, or not one of strings.
    """
    import pyarrow

    names = [field] if field in schema.names else field.split(".")
    kind: Any = pyarrow.struct(list(schema))
    for name in names:
        if not pyarrow.types.is_struct(kind) or kind.get_field_index(name) < 0:
            structs = {
                c.name: [f"{c.name}.{f.name}" for f in c.type] for c in schema if pyarrow.types.is_struct(c.type)
            }
            there = [name for column in schema.names for name in structs.get(column, [column])]
            raise InputError(
                f"{path}: no column {field!r} (it has {', '.join(there)}); name the one that holds the text by "
                "?field=NAME after the source"
            )
        kind = kind.field(name).type
    values = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
    of_strings = (pyarrow.types.is_string, pyarrow.types.is_large_string, pyarrow.types.is_string_view)
    if not (pyarrow.types.is_null(values) or any(check(values) for check in of_strings)):
        raise InputError(f"{path}: column {field!r} holds {kind}; wanted strings, such as by ?field=NAME")
    return Columns(tuple(names), "id" in schema.names)


def row_groups(path: str, field: str, size: int) -> Iterator[tuple[File, int]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, groups = file.schema_arrow, file.num_row_groups if file.metadata.num_rows else 0
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({first_line(error)}); write it again") from None
    columns = _columns(path, schema, field)
    for group in range(max(groups, 1)):
        yield ParquetGroup(path, group if groups else None, columns), size // max(groups, 1)


@dataclasses.dataclass(frozen=True)
class ParquetGroup:
    """One row group of a Parquet file."""

    path: str
    group: int | None  # None: the file has no row
    columns: Columns

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        import pyarrow.parquet

        if self.group is None:
            yield 0, Document(self.path, "", "")
            return
        first = 0
        names = [".".join(self.columns.text), *(["id"] if self.columns.has_id else [])]
        with pyarrow.parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(256, row_groups=[self.group], columns=names):
                yield from self.columns.documents(batch, first, keep, lambda n: f"{self.path}#{self.group}.{n}")
                first += len(batch)


def arrow_file(path: str, field: str) -> "ArrowFile":
    with _batches(path, None) as (schema, _):
        columns = _columns(path, schema, field)
        return ArrowFile(path, columns, tuple(i for i, name in enumerate(schema.names) if name in columns.names))


@dataclasses.dataclass(frozen=True)
class ArrowFile:
    """An Arrow file or stream of record batches, as Feather and `datasets` write them."""

    path: str
    columns: Columns
    included: tuple[int, ...]  # which columns these are

    def documents(self, keep: Collection[int] | None) -> Iterator[tuple[int, Document]]:
        first = 0
        with _batches(self.path, self.included) as (_, batches):
            for batch in batches:
                yield from self.columns.documents(batch, first, keep, lambda n: f"{self.path}#{n}")
                first += len(batch)
        if not first:
            yield 0, Document(self.path, "", "")


@contextlib.contextmanager
def _batches(path: str, included: tuple[int, ...] | None) -> Iterator[tuple[Any, Iterator[Any]]]:
    """The pyarrow.Schema of an Arrow file, and its batches, mapped from the disk: all columns, or `included`."""
    import pyarrow

    settings = pyarrow.ipc.IpcReadOptions(included_fields=None if included is None else list(included))
    try:
        with pyarrow.memory_map(path) as file:
            try:
                reader = pyarrow.ipc.open_file(file, options=settings)
                batches = (reader.get_batch(n) for n in range(reader.num_record_batches))
            except pyarrow.ArrowInvalid:  # not with an index at its end
                file.seek(0)
                batches = reader = pyarrow.ipc.open_stream(file, options=settings)
            yield reader.schema, batches
    except (PermissionError, FileNotFoundError) as error:
        raise InputError(f"{path}: {error.strerror}; make it readable or leave it out") from None
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: not a readable Arrow file ({first_line(error)}); write it again") from None
