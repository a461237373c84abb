"""TensorBoard: event files, and the CSV and JSON that its page exports.

An event file is TFRecords: u64 length, u32 checksum of the length, the record, u32 checksum of the record, all little
endian. A record is a protobuf `Event` (tensorboard/compat/proto/event.proto): step = 2, summary = 5; a summary holds
values = 1, a value tag = 1, simple_value = 2 (f32) and tensor = 8; a tensor dtype = 1, tensor_content = 4,
float_val = 5, double_val = 6.
"""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.logs.log import Log, curve_of, run_of
from analysis.table import opened
from scaling.errors import InputError

CSV = ("Wall time", "Step", "Value")
POLYNOMIAL = 0x82F63B78  # of CRC-32C, reflected
FLOAT, DOUBLE = 1, 2  # DataType of a tensor
LARGEST = 2**30  # bytes of a record


def is_events(head: bytes) -> bool:
    """Whether a file begins with a TFRecord whose length has the right checksum."""
    return len(head) >= 12 and struct.unpack("<I", head[8:12])[0] == _checksum(head[:8])


def events(path: Path, root: Path) -> Log:
    """The scalars of an event file.

    Raises:
        InputError: no event file, or without scalars.
    """
    steps: list[int] = []
    tags: dict[str, dict[int, float]] = {}  # tag to row to value
    found = opened.data(path)
    left = len(found)
    for record, end in _records(found):
        step, values, left = *_event(record), len(found) - end
        for tag, value in values:
            tags.setdefault(tag, {})[len(steps)] = value
            steps.append(step)
    if not tags:
        raise InputError(f"{path}: an event file without scalars; wanted one with losses by step")
    columns: dict[str, Any] = {"step": steps}
    for tag, by_row in tags.items():
        values = np.full(len(steps), None)
        for row, value in by_row.items():
            values[row] = value
        columns[tag] = values.tolist()
    curve, settings, notes = curve_of(columns, "step")
    cut = (f"{path.name}: {left} bytes at its end are no whole record",) if left else ()
    # The Trainer keeps its event files in runs/DATE_HOST beside its checkpoints.
    trainer = path.parent.parent.name == "runs" and any(path.parents[2].glob("checkpoint-*/trainer_state.json"))
    folder = path.parents[2] if trainer else path.parent
    return Log(run_of(folder / "log", root), "TensorBoard's event files", curve, settings, (*notes, *cut))


def exported(columns: Mapping[str, Sequence[Any]], path: Path, root: Path) -> Log:
    """One tag of one run, as the page exports it: run-NAME-tag-TAG.csv, or a name of the user's own."""
    stem = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    named = re.fullmatch(r"run-(.+?)-tag-(.+)", stem)
    run, tag = (named[1], named[2]) if named else (run_of(path.parent / "log", root), stem)
    curve, settings, notes = curve_of({"step": columns["Step"], tag: columns["Value"]}, "step")
    return Log(run, "TensorBoard's CSV", curve, settings, notes)


def _records(found: bytes) -> Iterator[tuple[bytes, int]]:
    """The whole records up to the first that is none, each with the place of its end."""
    at = 0
    while at + 12 <= len(found):
        (length,) = struct.unpack_from("<Q", found, at)
        if length > LARGEST or struct.unpack_from("<I", found, at + 8)[0] != _checksum(found[at : at + 8]):
            return
        end = at + 12 + length + 4
        if end > len(found):
            return
        yield found[at + 12 : end - 4], end
        at = end


def _event(record: bytes) -> tuple[int, list[tuple[str, float]]]:
    """The step of an event, and its scalars by tag."""
    step, values = 0, []
    for field, value in _fields(record):
        if field == 2 and isinstance(value, int):
            step = value if value < 2**63 else value - 2**64
        elif field == 5 and isinstance(value, bytes):
            values += [
                scalar
                for inner, one in _fields(value)
                if inner == 1 and isinstance(one, bytes) and (scalar := _scalar(one))
            ]
    return step, values


def _scalar(value: bytes) -> tuple[str, float] | None:
    tag, number = "", None
    for field, part in _fields(value):
        if field == 1 and isinstance(part, bytes):
            tag = part.decode("utf-8", "replace")
        elif field == 2 and isinstance(part, bytes) and len(part) == 4:
            (number,) = struct.unpack("<f", part)
        elif field == 8 and isinstance(part, bytes):
            number = _tensor(part)
    return None if number is None or not tag else (tag, number)


def _tensor(tensor: bytes) -> float | None:
    """The number of a tensor that holds one."""
    fields = dict(_fields(tensor))
    size, form = (8, "<d") if fields.get(1) == DOUBLE else (4, "<f")
    if fields.get(1) not in (FLOAT, DOUBLE):
        return None
    packed = fields.get(4) or fields.get(6 if fields[1] == DOUBLE else 5)
    return struct.unpack(form, packed)[0] if isinstance(packed, bytes) and len(packed) == size else None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: varints as numbers, all others as bytes. A damaged rest is left out."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind, width = key & 7, {1: 8, 5: 4}.get(key & 7, 0)
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            width, at = _varint(message, at)
        elif not width:
            return
        if at + width > end:
            return
        yield key >> 3, message[at : at + width]
        at += width


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
    return value, at


def _checksum(part: bytes) -> int:
    """CRC-32C of a few bytes, masked as TFRecords mask it."""
    crc = 0xFFFFFFFF
    for byte in part:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
