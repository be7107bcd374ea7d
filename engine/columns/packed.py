"""Packed sections: many sections of one type as one body, column by column. So small sections cost
by their rows and not by their number.

Under load a frame holds a hundred decisions of fifty rows each. Written one by one, each of them
costs two dozen fields. A packed body is a count (u32) and then, for each field in order of
declaration, the values of all sections:

    int                 a column of the sections' values
    group               a column of the sections' values for each of its integers
    text                a column of lengths and the joined UTF-8
    texts               a column of the sections' counts, then all texts as one text column
    column, ascending   a column of the sections' counts, a byte for the form, then
                        PLAIN     all values
                        EQUAL     each section's one value
                        RISING    each section's first value, then the difference of each value
                                  from the one before it in its section

If a body ends early, every section takes the defaults of the missing fields. Bytes after the last
known field are skipped.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import cache
from itertools import accumulate, starmap
from operator import attrgetter
from typing import Any, get_type_hints

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
from engine.columns.section_types import (
    S,
    Section,
    SectionError,
    group_of,
    is_ascending,
    is_text,
    left_out_count,
    names_of,
    trailing_defaults,
)

Int64s = NDArray[np.int64]
Read = Callable[[memoryview, int, int, int], tuple[Iterable[Any], int]]
"""From the body, an offset, the count of sections and the most rows of all of them, to the fields
and the offset past them.
"""
Write = Callable[[list[Any]], bytes]

_COUNT = struct.Struct("<I")
SECTIONS_MAX = 1 << 16


class _Form(IntEnum):
    PLAIN = 0
    EQUAL = 1
    RISING = 2


_PLAIN, _EQUAL, _RISING = (bytes((form,)) for form in _Form)


def encode_packed(sections: Sequence[Section]) -> bytes:
    """Encode sections of one type."""
    section_type = type(sections[0])
    layout = _layout(section_type)
    left_out = min(map(left_out_count, sections)) if trailing_defaults(section_type) else 0
    parts = [_COUNT.pack(len(sections))]
    for name, write, _ in layout[:-left_out] if left_out else layout:
        parts.append(write(list(map(attrgetter(name), sections))))
    return b"".join(parts)


def packed_count(body: memoryview) -> int:
    """Return how many sections a packed body says that it holds. Raises: SectionError."""
    if len(body) < _COUNT.size:
        raise SectionError(f"packed: expected a count of sections, found {len(body)} bytes")
    return int(_COUNT.unpack_from(body, 0)[0])


def decode_packed(section_type: type[S], body: memoryview, rows_max: int = COUNT_MAX) -> list[S]:
    """Decode sections of one type, of at most `rows_max` rows in all. Raises: SectionError when the
    bytes do not hold their fields.
    """
    return list(walk_packed(section_type, body, rows_max))


def walk_packed(section_type: type[S], body: memoryview, rows_max: int = COUNT_MAX) -> Iterator[S]:
    """Decode sections as they are asked for: their columns at once, then each section. Raises:
    SectionError before the first one.
    """
    try:
        (count,) = _COUNT.unpack_from(body, 0)
        if not 0 < count <= SECTIONS_MAX:
            raise ColumnError(f"packed: expected 1 to {SECTIONS_MAX} sections, found {count}")
        offset, found = _COUNT.size, list[Iterable[Any]]()
        for _, _, read in _layout(section_type):
            if offset == len(body):
                break
            values, offset = read(body, offset, count, rows_max)
            found.append(values)
        if not found:
            raise ColumnError(f"packed: expected the fields of {count} sections, found none")
        sections = zip(*found, strict=True)
        yield section_type(*next(sections))
    except (ColumnError, struct.error, TypeError) as error:
        raise SectionError(f"sections {section_type.__name__}: {error}") from error
    yield from starmap(section_type, sections)


def _checked(values: Any, count: int) -> Any:
    if len(values) != count:
        raise ColumnError(f"packed: expected {count} values, found {len(values)}")
    return values


# Integers and texts.


def write_ints(values: list[int]) -> bytes:
    """Write one integer per section."""
    return encode_integers(values)


def read_ints(
    data: memoryview, offset: int, count: int, rows_max: int = COUNT_MAX
) -> tuple[list[int], int]:
    """Read one integer per section."""
    values, offset = decode_integers(data, offset, count_max=count)
    return _checked(values, count), offset


def write_groups(values: list[tuple[int, ...]]) -> bytes:
    """Write one group of integers per section."""
    return b"".join(map(encode_integers, zip(*values, strict=True)))


def group_reader(group: type[Any]) -> Read:
    """Return a function that reads one group of integers per section."""

    def read(
        data: memoryview, offset: int, count: int, rows_max: int = COUNT_MAX
    ) -> tuple[list[Any], int]:
        columns = []
        for _ in group._fields:
            column, offset = read_ints(data, offset, count)
            columns.append(column)
        return list(map(group, *columns)), offset

    return read


def read_text(
    data: memoryview, offset: int, count: int, rows_max: int = COUNT_MAX
) -> tuple[list[str], int]:
    """Read one text per section."""
    texts, offset = decode_texts(data, offset, count_max=count)
    return _checked(texts, count), offset


def write_texts(values: list[list[str]]) -> bytes:
    """Write one list of texts per section."""
    return encode_integers(list(map(len, values))) + encode_texts(
        [text for texts in values for text in texts]
    )


def read_texts(
    data: memoryview, offset: int, count: int, rows_max: int = COUNT_MAX
) -> tuple[list[list[str]], int]:
    """Read one list of texts per section."""
    ends, offset = _read_ends(data, offset, count, rows_max)
    texts, offset = decode_texts(data, offset, ends[-1])
    _checked(texts, ends[-1])
    return [texts[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)], offset


# Columns.


def _read_ends(data: memoryview, offset: int, count: int, rows_max: int) -> tuple[list[int], int]:
    counts, offset = decode_integers(data, offset, count_max=count)
    if min(_checked(counts, count)) < 0 or sum(counts) > rows_max:
        raise ColumnError(f"packed: expected counts of zero or more, at most {rows_max} in all")
    return list(accumulate(counts)), offset


def write_columns(values: list[Int64s]) -> bytes:
    """Write one column per section."""
    return _write_joined(values, rises=False)


def write_rising(values: list[Int64s]) -> bytes:
    """Write one column per section. The columns nearly always rise."""
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


def read_columns(
    data: memoryview, offset: int, count: int, rows_max: int = COUNT_MAX
) -> tuple[Iterator[Int64s], int]:
    """Read one column per section. The columns are views of one array, made when asked for."""
    ends, offset = _read_ends(data, offset, count, rows_max)
    starts = [0, *ends[:-1]]
    form, offset = bytes(data[offset : offset + 1]), offset + 1
    values, offset = decode_column(data, offset, ends[-1])
    if form != _PLAIN:
        filled = [
            (start, end - start) for start, end in zip(starts, ends, strict=True) if start < end
        ]
        counts = [each for _, each in filled]
        values = _checked(values, len(filled))
        if form == _RISING:
            steps, offset = decode_column(data, offset, ends[-1])
            rises = np.add.accumulate(_checked(steps, ends[-1]))
            values = rises + np.repeat(values - rises[[start for start, _ in filled]], counts)
        elif form == _EQUAL:
            values = np.repeat(values, counts)
        else:
            raise ColumnError(f"packed: expected a form of 0 to 2, found {form!r}")
    _checked(values, ends[-1])
    return map(values.__getitem__, map(slice, starts, ends)), offset


# The layout of a type.


@cache
def _layout(
    section_type: type[Section],
) -> tuple[tuple[str, Write, Read], ...]:
    hints = get_type_hints(section_type, include_extras=True)
    found: list[tuple[str, Write, Read]] = []
    for name in names_of(section_type):
        hint = hints[name]
        if hint is int:
            found.append((name, write_ints, read_ints))
        elif is_text(hint):
            found.append((name, encode_texts, read_text))
        elif hint == list[str]:
            found.append((name, write_texts, read_texts))
        elif (group := group_of(hint)) is not None:
            found.append((name, write_groups, group_reader(group)))
        else:
            write = write_rising if is_ascending(hint) else write_columns
            found.append((name, write, read_columns))
    return tuple(found)
