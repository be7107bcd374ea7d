"""Groups: a NamedTuple of integers in a section is written as if each of them were a field."""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.columns.section_codec import decode_section, encode_section
from engine.columns.section_types import Column, Section, SectionError, flat_fields, tags
from engine.columns.sections import PACKED_MIN, encode_sections, walk_sections

_INT64 = st.integers(-(2**63), 2**63 - 1)
_NUMBERS = st.lists(st.tuples(_INT64, _INT64, _INT64, _INT64), min_size=1, max_size=2 * PACKED_MIN)


class _Place(NamedTuple):
    row: int
    line: int


class _Grouped(Section, frozen=True):
    TAG: ClassVar[int] = 9
    number: int
    place: _Place
    time: int
    column: Column
    last: _Place


class _Flat(Section, frozen=True):
    TAG: ClassVar[int] = 9
    number: int
    row: int
    line: int
    time: int
    column: Column
    last_row: int
    last_line: int


def _pairs(numbers: list[tuple[int, int, int, int]]) -> tuple[list[_Grouped], list[_Flat]]:
    column = np.arange(3)
    grouped = [_Grouped(a, _Place(b, c), d, column, _Place(d, a)) for a, b, c, d in numbers]
    return grouped, [_Flat(a, b, c, d, column, d, a) for a, b, c, d in numbers]


@given(numbers=_NUMBERS)
def test_a_group_is_written_as_its_integers_alone_and_packed(
    numbers: list[tuple[int, int, int, int]],
) -> None:
    grouped, flat = _pairs(numbers)
    assert encode_section(grouped[0]) == encode_section(flat[0])
    assert encode_sections(grouped) == encode_sections(flat)


@given(numbers=_NUMBERS)
def test_groups_are_read_as_they_were_written(numbers: list[tuple[int, int, int, int]]) -> None:
    grouped, _ = _pairs(numbers)
    found: list[Any] = list(walk_sections(memoryview(encode_sections(grouped)), tags(_Grouped)))
    assert [(each.place, each.last) for each in found] == [
        (each.place, each.last) for each in grouped
    ]
    assert all(type(each.place) is _Place for each in found)


class _Old(Section, frozen=True):
    TAG: ClassVar[int] = 9
    number: int
    column: Column


class _Appended(Section, frozen=True):
    TAG: ClassVar[int] = 9
    number: int
    column: Column
    last: _Place = _Place(3, 4)


@pytest.mark.parametrize("count", [1, PACKED_MIN])
def test_a_group_missing_in_old_bytes_takes_its_default(count: int) -> None:
    old = encode_sections([_Old(1, np.arange(3))] * count)
    found: list[Any] = list(walk_sections(memoryview(old), tags(_Appended)))
    assert [each.last for each in found] == [_Place(3, 4)] * count


@pytest.mark.parametrize("count", [1, PACKED_MIN])
def test_an_appended_group_that_holds_its_default_changes_no_bytes(count: int) -> None:
    old = encode_sections([_Old(1, np.arange(3))] * count)
    assert encode_sections([_Appended(1, np.arange(3))] * count) == old
    changed = _Appended(1, np.arange(3), _Place(3, 5))
    assert decode_section(_Appended, memoryview(encode_section(changed))).last == _Place(3, 5)


@pytest.mark.parametrize("missing", [1, 8, 9])
def test_bytes_that_end_inside_a_group_are_refused(missing: int) -> None:
    (section,), _ = _pairs([(1, 2, 3, 4)])
    data = encode_section(section)
    with pytest.raises(SectionError, match="_Grouped"):
        decode_section(_Grouped, memoryview(data)[:-missing])


def test_packed_bytes_that_end_inside_a_group_are_refused() -> None:
    grouped, _ = _pairs([(1, 2, 3, 4)] * PACKED_MIN)
    data = bytearray(encode_sections(grouped))
    # The last integer of the last group is a column of 14 bytes, for it is the same throughout.
    del data[-14:]
    data[6:10] = (len(data) - 10).to_bytes(4, "little")
    with pytest.raises(SectionError, match="_Grouped"):
        list(walk_sections(memoryview(data), tags(_Grouped)))


def test_the_fields_of_a_section_are_listed_as_they_are_written() -> None:
    assert flat_fields(_Grouped) == [
        ("number", int),
        ("place.row", int),
        ("place.line", int),
        ("time", int),
        ("column", Column),
        ("last.row", int),
        ("last.line", int),
    ]
