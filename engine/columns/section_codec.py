"""The section codec: one section as bytes.

Fields are written in order of declaration: `int` as 8 bytes (i64), `str` as a length and UTF-8,
`Column` and `Ascending` with the column codec, `Texts` as a text column. The integers of a group
are written in line, as if each were a field of the section.

A body that ends early takes the defaults. The rest of a longer body is from newer code and is
skipped. The last integers, groups and appended texts are left out if they hold their defaults, so
an appended field changes no bytes until it has a value.
"""

import struct
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, get_type_hints

import numpy as np
from numpy.typing import NDArray

from engine.columns.codec import (
    COUNT_MAX,
    ColumnError,
    decode_column,
    decode_texts,
    encode_column,
    encode_texts,
)
from engine.columns.section_types import (
    Column,
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

_I64 = struct.Struct("<q")
_TEXT = struct.Struct("<H")

_Writer = Callable[[Any], bytes]
_Reader = Callable[[memoryview, int, int], tuple[Any, int]]
"""From the body, an offset and the most values of a column, to the field and the offset past it."""


def _read_int(data: memoryview, offset: int, count_max: int) -> tuple[int, int]:
    return _I64.unpack_from(data, offset)[0], offset + 8


def _read_text(data: memoryview, offset: int, count_max: int) -> tuple[str, int]:
    (length,) = _TEXT.unpack_from(data, offset)
    offset += _TEXT.size
    if len(data) < offset + length:
        raise SectionError(f"text: expected {length} bytes, found {len(data) - offset}")
    return str(data[offset : offset + length], "utf-8"), offset + length


def _write_text(text: str) -> bytes:
    encoded = text.encode()
    return _TEXT.pack(len(encoded)) + encoded


def _write_ascending(values: NDArray[np.int64]) -> bytes:
    return encode_column(values, ascending=True)


class _Step(NamedTuple):
    """Fields that are written and read in one go: integers in a row, or one field of another
    type.
    """

    names: tuple[str, ...]
    get: Callable[[Any], Any]
    integers: struct.Struct | None
    write: _Writer
    read: _Reader


@cache
def _layout(section_type: type[Section]) -> tuple[_Step, ...]:
    hints = get_type_hints(section_type, include_extras=True)
    steps: list[_Step] = []
    in_a_row: list[str] = []
    defaulted = dict(trailing_defaults(section_type))
    for name in names_of(section_type):
        hint = hints[name]
        if hint is int and name not in defaulted:
            in_a_row.append(name)
            continue
        if in_a_row:
            steps.append(_integers(in_a_row))
            in_a_row = []
        if hint is int:
            # A step of its own, because it may be left out.
            steps.append(_integers([name]))
            continue
        if is_ascending(hint):
            steps.append(_single(name, _write_ascending, decode_column))
        elif is_text(hint):
            steps.append(_single(name, _write_text, _read_text))
        elif (group := group_of(hint)) is not None:
            steps.append(_group(name, group))
        elif hint == list[str]:
            steps.append(_single(name, encode_texts, decode_texts))
        else:
            assert hint == Column, f"{section_type.__name__}.{name}: no encoding for {hint}"
            steps.append(_single(name, encode_column, decode_column))
    return (*steps, _integers(in_a_row)) if in_a_row else tuple(steps)


def _single(name: str, write: _Writer, read: _Reader) -> _Step:
    return _Step((name,), attrgetter(name), None, write, read)


def _group(name: str, group: type[Any]) -> _Step:
    integers = struct.Struct(f"<{len(group._fields)}q")
    unpack, size, make = integers.unpack_from, integers.size, tuple.__new__

    def read(data: memoryview, offset: int, count_max: int) -> tuple[Any, int]:
        return make(group, unpack(data, offset)), offset + size

    return _single(name, lambda values: integers.pack(*values), read)


def _integers(names: list[str]) -> _Step:
    get = attrgetter(*names) if len(names) > 1 else lambda section: (getattr(section, names[0]),)
    return _Step(tuple(names), get, struct.Struct(f"<{len(names)}q"), _I64.pack, _read_int)


def encode_section(section: Section) -> bytes:
    """Encode one section's body."""
    parts = []
    steps = _layout(type(section))
    left_out = left_out_count(section)
    for _, get, integers, write, _ in steps[:-left_out] if left_out else steps:
        parts.append(write(get(section)) if integers is None else integers.pack(*get(section)))
    return b"".join(parts)


def decode_section(section_type: type[S], body: memoryview, rows_max: int = COUNT_MAX) -> S:
    """Decode one section's body, of at most `rows_max` rows. Raises: SectionError when the bytes do
    not hold its fields.
    """
    values: list[Any] = []
    offset, size = 0, len(body)
    try:
        for names, _, integers, _, read in _layout(section_type):
            if offset == size:
                break
            if integers is not None and offset + integers.size <= size:
                values += integers.unpack_from(body, offset)
                offset += integers.size
                continue
            # One by one: a body of older code may end between two integers.
            for _ in names:
                if offset == size:
                    break
                value, offset = read(body, offset, rows_max)
                values.append(value)
        return section_type(*values)
    except (ColumnError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise SectionError(f"section {section_type.__name__}: {error}") from error
