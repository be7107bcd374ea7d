"""Sections: structs of scalars and columns as bytes, and directories of them that readers walk.

A section is a frozen struct with a `TAG`; its fields are written in order of declaration: `int` as
8 bytes (i64), `str` as a length and UTF-8, `Column` and `Ascending` with the column codec, `Texts`
as a text column. A field may be a group, a NamedTuple of integers such as `OrderKey`: its integers
are written in line, as if each were a field of the section.

Fields are only ever appended, with a default. A body that ends early takes the defaults; the rest
of a longer body is from newer code and is skipped. The last integers and groups are left out where
they hold their defaults, so an appended one changes no bytes until it has a value. Tags are never
reused.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import (
    Annotated,
    Any,
    ClassVar,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns import packed
from engine.columns.codec import (
    ColumnError,
    decode_column,
    decode_texts,
    encode_column,
    encode_texts,
)

Column = NDArray[np.int64]
"""Any integers, one dimension."""
Ascending = Annotated[NDArray[np.int64], "ascending"]
"""Integers that never fall: stored as differences where that is smaller."""
Texts = list[str]

REQUIRED = 1
"""Directory flag: a reader that does not know the tag must refuse the whole, not skip the section.
"""
PACKED = 2
"""Directory flag: the body holds many sections of the tag (`engine.columns.packed`)."""
PACKED_MIN = 5
"""So many sections of one type in a row are packed: fewer cost more together than apart."""

ROWS_MAX = 1 << 22
"""Longest column of a section: a constant one costs its reader memory without costing its writer
bytes.
"""

_ENTRY = struct.Struct("<HHI")
_COUNT = struct.Struct("<H")
_I64 = struct.Struct("<q")
_TEXT = struct.Struct("<H")


class SectionError(ValueError):
    """Bytes are not the sections they claim to be: says what was expected and what was found."""


class Section(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The base of all sections. A struct, for one is made at every hop of a signal, and a struct
    costs a tenth of a dataclass.
    """

    TAG: ClassVar[int]


S = TypeVar("S", bound=Section)


def names_of(section_type: type[Section]) -> tuple[str, ...]:
    """Return the names of a section's fields, in order of declaration."""
    return section_type.__struct_fields__


def group_of(hint: Any) -> type[Any] | None:
    """Return the NamedTuple of integers that a field's type is, or None for any other type."""
    if not (isinstance(hint, type) and issubclass(hint, tuple)):
        return None
    assert set(get_type_hints(hint).values()) == {int}, f"{hint.__name__}: expected only integers"
    return hint


def flat_fields(section_type: type[Section]) -> list[tuple[str, Any]]:
    """List the name and type of each field as it is written: `key.leg` for an integer of the group
    `key`.
    """
    hints = get_type_hints(section_type, include_extras=True)
    found: list[tuple[str, Any]] = []
    for name in names_of(section_type):
        group = group_of(hints[name])
        if group is None:
            found.append((name, hints[name]))
        else:
            found += [(f"{name}.{each}", int) for each in group._fields]
    return found


def _read_int(data: memoryview, offset: int) -> tuple[int, int]:
    return _I64.unpack_from(data, offset)[0], offset + 8


def _read_text(data: memoryview, offset: int) -> tuple[str, int]:
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


def _read_column(data: memoryview, offset: int) -> tuple[NDArray[np.int64], int]:
    return decode_column(data, offset, count_max=ROWS_MAX)


def _read_texts(data: memoryview, offset: int) -> tuple[list[str], int]:
    return decode_texts(data, offset, count_max=ROWS_MAX)


_Writer = Callable[[Any], bytes]
_Reader = Callable[[memoryview, int], tuple[Any, int]]


class _Step(NamedTuple):
    """Fields that are written and read in one go: a run of integers, or one field of another
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
    run: list[str] = []
    defaulted = dict(_defaults(section_type))
    for name in names_of(section_type):
        hint = hints[name]
        if hint is int and name not in defaulted:
            run.append(name)
            continue
        if run:
            steps.append(_integers(run))
            run = []
        if hint is int:
            # A step of its own, for it may be left out.
            steps.append(_integers([name]))
            continue
        if get_origin(hint) is Annotated and "ascending" in get_args(hint):
            steps.append(_single(name, _write_ascending, decode_column))
        elif hint is str:
            steps.append(_single(name, _write_text, _read_text))
        elif (group := group_of(hint)) is not None:
            steps.append(_group(name, group))
        elif hint == list[str]:
            steps.append(_single(name, encode_texts, decode_texts))
        else:
            assert hint == Column, f"{section_type.__name__}.{name}: no encoding for {hint}"
            steps.append(_single(name, encode_column, decode_column))
    return (*steps, _integers(run)) if run else tuple(steps)


@cache
def _packed_layout(
    section_type: type[Section],
) -> tuple[tuple[str, packed.Write, packed.Read], ...]:
    hints = get_type_hints(section_type, include_extras=True)
    found: list[tuple[str, packed.Write, packed.Read]] = []
    for name in names_of(section_type):
        hint = hints[name]
        if hint is int:
            found.append((name, packed.write_ints, packed.read_ints))
        elif hint is str:
            found.append((name, encode_texts, packed.read_text))
        elif hint == list[str]:
            found.append((name, packed.write_texts, packed.read_texts))
        elif (group := group_of(hint)) is not None:
            found.append((name, packed.write_groups, packed.group_reader(group)))
        else:
            rises = get_origin(hint) is Annotated and "ascending" in get_args(hint)
            write = packed.write_rising if rises else packed.write_columns
            found.append((name, write, packed.read_columns))
    return tuple(found)


def _single(name: str, write: _Writer, read: _Reader) -> _Step:
    return _Step((name,), attrgetter(name), None, write, read)


def _group(name: str, group: type[Any]) -> _Step:
    integers = struct.Struct(f"<{len(group._fields)}q")
    unpack, size, make = integers.unpack_from, integers.size, tuple.__new__

    def read(data: memoryview, offset: int) -> tuple[Any, int]:
        return make(group, unpack(data, offset)), offset + size

    return _single(name, lambda values: integers.pack(*values), read)


def _integers(names: list[str]) -> _Step:
    get = attrgetter(*names) if len(names) > 1 else lambda section: (getattr(section, names[0]),)
    return _Step(tuple(names), get, struct.Struct(f"<{len(names)}q"), _I64.pack, _read_int)


@cache
def _defaults(section_type: type[Section]) -> tuple[tuple[str, Any], ...]:
    """Return the last integers and groups that have a default, the last one first."""
    found = []
    pairs = zip(
        reversed(names_of(section_type)), reversed(section_type.__struct_defaults__), strict=False
    )
    for name, default in pairs:
        if not isinstance(default, int | tuple):
            break
        found.append((name, default))
    return tuple(found)


def _left_out_count(section: Section) -> int:
    """Count the last integers and groups that hold their default."""
    defaults = _defaults(type(section))
    for count, (name, default) in enumerate(defaults):
        if getattr(section, name) != default:
            return count
    return len(defaults)


def encode_section(section: Section) -> bytes:
    """Encode one section's body."""
    parts = []
    steps = _layout(type(section))
    left_out = _left_out_count(section)
    for _, get, integers, write, _ in steps[:-left_out] if left_out else steps:
        parts.append(write(get(section)) if integers is None else integers.pack(*get(section)))
    return b"".join(parts)


def decode_section(section_type: type[S], body: memoryview) -> S:
    """Decode one section's body. Raises: SectionError when the bytes do not hold its fields."""
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
                value, offset = read(body, offset)
                values.append(value)
        return section_type(*values)
    except (ColumnError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise SectionError(f"section {section_type.__name__}: {error}") from error


def encode_sections(sections: Iterable[Section], *, flags: int = REQUIRED) -> bytes:
    """Encode a directory and the bodies that it lists; of one type in a row, many are packed into
    one body.
    """
    entries: list[bytes] = []
    bodies: list[bytes] = []
    for section_type, grouped in groupby(sections, key=type):
        run = list(grouped)
        if len(run) < PACKED_MIN:
            for section in run:
                _add_body(entries, bodies, section.TAG, flags, encode_section(section))
            continue
        layout = _packed_layout(section_type)
        for start in range(0, len(run), packed.SECTIONS_MAX):
            some = run[start : start + packed.SECTIONS_MAX]
            left_out = min(map(_left_out_count, some)) if _defaults(section_type) else 0
            body = packed.encode_packed(some, layout[:-left_out] if left_out else layout)
            _add_body(entries, bodies, run[0].TAG, flags | PACKED, body)
    return b"".join((_COUNT.pack(len(bodies)), *entries, *bodies))


def _add_body(entries: list[bytes], bodies: list[bytes], tag: int, flags: int, body: bytes) -> None:
    entries.append(_ENTRY.pack(tag, flags, len(body)))
    bodies.append(body)


def _decode_packed(section_type: type[Section], body: memoryview) -> list[Any]:
    try:
        return packed.decode_packed(section_type, body, _packed_layout(section_type))
    except (ColumnError, struct.error, TypeError) as error:
        raise SectionError(f"sections {section_type.__name__}: {error}") from error


class UnknownSection(Section, frozen=True):
    """An optional section that this version does not know."""

    TAG: ClassVar[int] = 0
    tag: int


def walk_sections(
    data: memoryview, types: dict[int, type[Section]], *, skipped: frozenset[int] = frozenset()
) -> Iterator[Any]:
    """Yield the decoded sections in order; unknown optional ones as `UnknownSection`, those with a
    skipped tag not at all.

    Raises: SectionError.
    """
    start, entries = _directory(data)
    for tag, flags, length in entries:
        known = types.get(tag)
        if tag in skipped:
            pass
        elif known is not None and flags & PACKED:
            yield from _decode_packed(known, data[start : start + length])
        elif known is not None:
            yield decode_section(known, data[start : start + length])
        elif flags & REQUIRED:
            raise SectionError(
                f"sections: required tag {tag} is unknown; a newer "
                "version wrote this, upgrade first"
            )
        else:
            yield UnknownSection(tag)
        start += length


def _directory(data: memoryview) -> tuple[int, list[tuple[int, int, int]]]:
    """Read a directory. Returns: where the bodies begin, and tag, flags and length of each. Raises:
    SectionError.
    """
    if len(data) < _COUNT.size:
        raise SectionError(f"sections: expected a directory, found {len(data)} bytes")
    (count,) = _COUNT.unpack_from(data, 0)
    start = _COUNT.size + count * _ENTRY.size
    if len(data) < start:
        raise SectionError(f"sections: expected {count} directory entries, found {len(data)} bytes")
    entries = [
        _ENTRY.unpack_from(data, _COUNT.size + index * _ENTRY.size) for index in range(count)
    ]
    if start + sum(length for _, _, length in entries) != len(data):
        raise SectionError(f"sections: directory and length {len(data)} disagree")
    return start, entries


class Body(NamedTuple):
    """An entry of a directory: one section, or where `is_packed` many of its type."""

    tag: int
    is_packed: bool
    data: memoryview


def section_bodies(data: memoryview) -> list[Body]:
    """Return the bodies in order, nothing decoded. Raises: SectionError."""
    start, entries = _directory(data)
    bodies = []
    for tag, flags, length in entries:
        bodies.append(Body(tag, bool(flags & PACKED), data[start : start + length]))
        start += length
    return bodies


def decode_body(section_type: type[S], body: Body) -> list[S]:
    """Decode the sections of a body, in order. Raises: SectionError."""
    return (
        _decode_packed(section_type, body.data)
        if body.is_packed
        else [decode_section(section_type, body.data)]
    )


def tags(*section_types: type[Section]) -> dict[int, type[Section]]:
    """Index section types by tag; a tag stands for one type only."""
    index = {section_type.TAG: section_type for section_type in section_types}
    assert len(index) == len(section_types), "two section types share a tag"
    return index


def column_of(*values: int) -> Column:
    """Make a column of a few values."""
    return np.array(values, np.int64)
