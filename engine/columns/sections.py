"""Sections: a directory and the bodies that it lists, so that readers walk and skip sections.

A directory is a count (u16) and, for each body, its tag (u16), flags (u16) and length (u32). A body
is one section (`engine.columns.section_codec`), or many of one type (`engine.columns.packed`).
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

from engine.columns.codec import COUNT_MAX
from engine.columns.packed import (
    SECTIONS_MAX,
    decode_packed,
    encode_packed,
    packed_count,
    walk_packed,
)
from engine.columns.section_codec import decode_section, encode_section
from engine.columns.section_types import S, Section, SectionError

REQUIRED = 1
"""Directory flag: a reader that does not know the tag must refuse the whole, not skip the section.
"""
PACKED = 2
"""Directory flag: the body holds many sections of the tag (`engine.columns.packed`)."""
PACKED_MIN = 5
"""So many sections of one type in a row are packed. Fewer cost more packed than one by one."""

_ENTRY = struct.Struct("<HHI")
_COUNT = struct.Struct("<H")


def encode_sections(sections: Iterable[Section], *, flags: int = REQUIRED) -> bytes:
    """Encode a directory and the bodies that it lists; of one type in a row, many are packed into
    one body.
    """
    entries: list[bytes] = []
    bodies: list[bytes] = []
    for _, grouped in groupby(sections, key=type):
        alike = list(grouped)
        flags_of = flags if alike[0].IS_REQUIRED else flags & ~REQUIRED
        if len(alike) < PACKED_MIN:
            for section in alike:
                _add_body(entries, bodies, section.TAG, flags_of, encode_section(section))
            continue
        for start in range(0, len(alike), SECTIONS_MAX):
            body = encode_packed(alike[start : start + SECTIONS_MAX])
            _add_body(entries, bodies, alike[0].TAG, flags_of | PACKED, body)
    return b"".join((_COUNT.pack(len(bodies)), *entries, *bodies))


def _add_body(entries: list[bytes], bodies: list[bytes], tag: int, flags: int, body: bytes) -> None:
    entries.append(_ENTRY.pack(tag, flags, len(body)))
    bodies.append(body)


class UnknownSection(Section, frozen=True):
    """An optional section that this version does not know."""

    TAG: ClassVar[int] = 0
    tag: int


def walk_sections(
    data: memoryview,
    types: dict[int, type[Section]],
    *,
    skipped: frozenset[int] = frozenset(),
    rows_max: int = COUNT_MAX,
) -> Iterator[Any]:
    """Yield the decoded sections in order; unknown optional ones as `UnknownSection`, those with a
    skipped tag not at all. A body has at most `rows_max` rows.

    Raises: SectionError.
    """
    start, entries = _directory(data)
    for tag, flags, length in entries:
        known = types.get(tag)
        if tag in skipped:
            pass
        elif known is not None and flags & PACKED:
            yield from walk_packed(known, data[start : start + length], rows_max)
        elif known is not None:
            yield decode_section(known, data[start : start + length], rows_max)
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


def count_sections(data: memoryview) -> int:
    """Return how many sections a reader would decode, by the directory and the counts of packed
    bodies. Raises: SectionError.
    """
    return sum(packed_count(body.data) if body.is_packed else 1 for body in section_bodies(data))


def decode_body(section_type: type[S], body: Body) -> list[S]:
    """Decode the sections of a body, in order. Raises: SectionError."""
    return (
        decode_packed(section_type, body.data)
        if body.is_packed
        else [decode_section(section_type, body.data)]
    )
