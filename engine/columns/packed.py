"""Packed sections: many of one type as one body, column by column, so that small ones cost by their
rows and not by their number.

A frame under load holds a hundred decisions of fifty rows each; one by one, each costs its two
dozen fields. A packed body is a count (u32), then for each field, in order of declaration, the
values of all sections:

    int                 a column of the sections' values
    group               a column of the sections' values for each of its integers
    text                a column of lengths and the joined UTF-8
    texts               a column of the sections' counts, then all texts as one text column
    column, ascending   a column of the sections' counts, a byte for the form, then
                        PLAIN     all values
                        EQUAL     each section's one value
                        RISING    each section's first value, then each value's difference from the one before it in its section

A body that ends early takes the defaults of the fields it lacks in every section; what follows the
last known field is skipped.
"""

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from itertools import accumulate
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.codec import (
    COUNT_MAX,
    ColumnError,
    decode_column,
    decode_integers,
    decode_texts,
    encode_column,
    encode_integers,
    encode_texts,
)
from engine.columns.reductions import is_same

Int64s = NDArray[np.int64]
Read = Callable[[memoryview, int, int], tuple[list[Any], int]]
Write = Callable[[list[Any]], bytes]

_COUNT = struct.Struct("<I")
SECTIONS_MAX = 1 << 16


class _Form(IntEnum):
    PLAIN = 0
    EQUAL = 1
    RISING = 2


_PLAIN, _EQUAL, _RISING = (bytes((form,)) for form in _Form)


def encode_packed(sections: Sequence[Any], layout: Sequence[tuple[str, Write, Read]]) -> bytes:
    """Encode sections of one type; `layout` says how each field is written."""
    parts = [_COUNT.pack(len(sections))]
    for name, write, _ in layout:
        parts.append(write(list(map(attrgetter(name), sections))))
    return b"".join(parts)


def decode_packed(
    section_type: Any, body: memoryview, layout: Sequence[tuple[str, Write, Read]]
) -> list[Any]:
    """Decode sections of one type. Raises: ColumnError, struct.error, TypeError when the bytes do
    not hold their fields.
    """
    (count,) = _COUNT.unpack_from(body, 0)
    if not 0 < count <= SECTIONS_MAX:
        raise ColumnError(f"packed: expected 1 to {SECTIONS_MAX} sections, found {count}")
    offset, found = _COUNT.size, []
    for _, _, read in layout:
        if offset == len(body):
            break
        values, offset = read(body, offset, count)
        found.append(values)
    return [section_type(*values) for values in zip(*found, strict=True)]


def _checked(values: Any, count: int) -> Any:
    if len(values) != count:
        raise ColumnError(f"packed: expected {count} values, found {len(values)}")
    return values


# Integers and texts.


def write_ints(values: list[int]) -> bytes:
    """Write one integer a section."""
    return encode_integers(values)


def read_ints(data: memoryview, offset: int, count: int) -> tuple[list[int], int]:
    """Read one integer a section."""
    values, offset = decode_integers(data, offset, count_max=count)
    return _checked(values, count), offset


def write_groups(values: list[tuple[int, ...]]) -> bytes:
    """Write one group of integers a section."""
    return b"".join(map(encode_integers, zip(*values, strict=True)))


def group_reader(group: type[Any]) -> Read:
    """Return a function that reads one group of integers a section."""

    def read(data: memoryview, offset: int, count: int) -> tuple[list[Any], int]:
        columns = []
        for _ in group._fields:
            column, offset = read_ints(data, offset, count)
            columns.append(column)
        return list(map(group, *columns)), offset

    return read


def read_text(data: memoryview, offset: int, count: int) -> tuple[list[str], int]:
    """Read one text a section."""
    texts, offset = decode_texts(data, offset, count_max=count)
    return _checked(texts, count), offset


def write_texts(values: list[list[str]]) -> bytes:
    """Write a list of texts a section."""
    return encode_integers(list(map(len, values))) + encode_texts(
        [text for texts in values for text in texts]
    )


def read_texts(data: memoryview, offset: int, count: int) -> tuple[list[list[str]], int]:
    """Read a list of texts a section."""
    ends, offset = _read_ends(data, offset, count)
    texts, offset = decode_texts(data, offset)
    _checked(texts, ends[-1])
    return [texts[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)], offset


# Columns.


def _read_ends(data: memoryview, offset: int, count: int) -> tuple[list[int], int]:
    counts, offset = decode_integers(data, offset, count_max=count)
    if min(_checked(counts, count)) < 0 or sum(counts) > COUNT_MAX:
        raise ColumnError(f"packed: expected counts of zero or more, at most {COUNT_MAX} in all")
    return list(accumulate(counts)), offset


def write_columns(values: list[Int64s]) -> bytes:
    """Write a column a section."""
    return _write_joined(values, rises=False)


def write_rising(values: list[Int64s]) -> bytes:
    """Write a column a section that nearly always rises."""
    return _write_joined(values, rises=True)


def _write_joined(values: list[Int64s], *, rises: bool) -> bytes:
    joined = np.concatenate(values)
    counts = list(map(len, values))
    header = encode_integers(counts)
    if not len(joined):
        return header + _PLAIN + encode_column(joined)
    if 0 in counts:
        values = [column for column in values if len(column)]
        counts = list(map(len, values))
    firsts = [int(column[0]) for column in values]
    if rises:
        steps = np.empty(len(joined), np.int64)
        np.subtract(joined[1:], joined[:-1], out=steps[1:])
        steps[[0, *accumulate(counts[:-1])]] = 0
        return header + _RISING + encode_integers(firsts) + encode_column(steps)
    if joined[-1] == firsts[-1] and is_same(joined, np.repeat(np.array(firsts, np.int64), counts)):
        return header + _EQUAL + encode_integers(firsts)
    return header + _PLAIN + encode_column(joined)


def read_columns(data: memoryview, offset: int, count: int) -> tuple[list[Int64s], int]:
    """Read a column a section: views of one array."""
    ends, offset = _read_ends(data, offset, count)
    starts = [0, *ends[:-1]]
    form, offset = bytes(data[offset : offset + 1]), offset + 1
    values, offset = decode_column(data, offset)
    if form != _PLAIN:
        filled = [
            (start, end - start) for start, end in zip(starts, ends, strict=True) if start < end
        ]
        counts = [each for _, each in filled]
        values = _checked(values, len(filled))
        if form == _RISING:
            steps, offset = decode_column(data, offset)
            rises = np.add.accumulate(_checked(steps, ends[-1]))
            values = rises + np.repeat(values - rises[[start for start, _ in filled]], counts)
        elif form == _EQUAL:
            values = np.repeat(values, counts)
        else:
            raise ColumnError(f"packed: expected a form of 0 to 2, found {form!r}")
    _checked(values, ends[-1])
    return [values[start:end] for start, end in zip(starts, ends, strict=True)], offset
