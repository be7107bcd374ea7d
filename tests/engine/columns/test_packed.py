"""Packed sections: many of one type share a body, and come back one by one as they went in."""

import contextlib
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.columns.section_codec import encode_section
from engine.columns.section_types import (
    Ascending,
    Column,
    Section,
    SectionError,
    Texts,
    names_of,
    tags,
)
from engine.columns.sections import PACKED_MIN, encode_sections, walk_sections
from tests.engine.samples import SECTIONS, sample

_INT64 = st.integers(-(2**63), 2**63 - 1)
_SMALL = st.integers(-3, 300)


class _Mixed(Section, frozen=True):
    TAG: ClassVar[int] = 9
    number: int
    name: str
    column: Column
    rising: Ascending
    texts: Texts


class _Longer(Section, frozen=True):
    TAG: ClassVar[int] = 9
    number: int
    name: str
    column: Column
    rising: Ascending
    texts: Texts
    later: int = 7


def _columns() -> st.SearchStrategy[Any]:
    values = st.one_of(
        st.lists(_INT64, max_size=6),
        st.lists(_SMALL, max_size=12),
        st.builds(lambda value, count: [value] * count, _INT64, st.integers(0, 5)),
        st.builds(
            lambda first, steps: np.cumsum([first, *steps]).tolist(),
            _SMALL,
            st.lists(st.integers(0, 70_000)),
        ),
    )
    return values.map(lambda each: np.array(each, np.int64))


def _sections() -> st.SearchStrategy[list[_Mixed]]:
    one = st.builds(
        _Mixed,
        st.one_of(st.just(5), _INT64),
        st.text(max_size=5),
        _columns(),
        _columns(),
        st.lists(st.text(max_size=4), max_size=3),
    )
    return st.lists(one, min_size=PACKED_MIN, max_size=3 * PACKED_MIN)


def _fields(section: Any) -> list[Any]:
    return [getattr(section, name) for name in names_of(type(section))]


def _values(section: Any) -> list[Any]:
    return [
        value.tolist() if isinstance(value, np.ndarray) else value for value in _fields(section)
    ]


@settings(max_examples=200)
@given(sections=_sections())
def test_packed_sections_are_read_one_by_one(sections: list[_Mixed]) -> None:
    data = encode_sections(sections)
    assert data[:2] == b"\x01\x00", "one entry of the directory for all of them"
    found = list(walk_sections(memoryview(data), tags(_Mixed)))
    assert [_values(each) for each in found] == [_values(each) for each in sections]
    assert encode_sections(found) == data


@pytest.mark.parametrize("section_type", SECTIONS.values(), ids=lambda each: each.__name__)
def test_every_section_can_be_packed(section_type: type[Section]) -> None:
    one = sample(section_type)
    data = memoryview(encode_sections([one] * PACKED_MIN))
    found = list(walk_sections(data, {section_type.TAG: section_type}))
    assert [_values(each) for each in found] == [_values(one)] * PACKED_MIN


def test_only_neighbouring_sections_are_packed_so_their_order_stays() -> None:
    first, second = list(SECTIONS.values())[:2]
    mixed = [*[sample(first)] * PACKED_MIN, sample(second), *[sample(first)] * PACKED_MIN]
    found = list(walk_sections(memoryview(encode_sections(mixed)), tags(first, second)))
    assert [type(each) for each in found] == [type(each) for each in mixed]


def test_packed_decisions_take_fewer_bytes_than_separate_ones() -> None:
    one = sample(next(each for each in SECTIONS.values() if each.__name__ == "SignalDecided"))
    assert len(encode_sections([one] * 100)) < 100 * len(encode_section(one)) // 4


@given(sections=_sections())
def test_a_packed_body_of_older_code_takes_the_defaults(sections: list[_Mixed]) -> None:
    found = list(walk_sections(memoryview(encode_sections(sections)), tags(_Longer)))
    assert [_values(each) for each in found] == [[*_values(each), 7] for each in sections]


@given(sections=_sections(), later=st.lists(st.sampled_from([7, 7, 7, 8, -(2**63)])))
def test_a_trailing_integer_is_left_out_where_every_section_has_its_default(
    sections: list[_Mixed], later: list[int]
) -> None:
    of_each = [*later, *[7] * len(sections)][: len(sections)]
    longer = [
        _Longer(*[*_fields(each), last]) for each, last in zip(sections, of_each, strict=True)
    ]
    data, old = encode_sections(longer), encode_sections(sections)
    assert (data == old) == (set(of_each) == {7})
    found = list(walk_sections(memoryview(data), tags(_Longer)))
    assert [_values(each) for each in found] == [_values(each) for each in longer]


@settings(max_examples=300)
@given(
    sections=_sections(),
    place=st.integers(0, 10_000),
    value=st.integers(0, 255),
    cut=st.integers(0, 60),
)
def test_garbled_packed_bytes_raise_the_one_error(
    sections: list[_Mixed], place: int, value: int, cut: int
) -> None:
    data = bytearray(encode_sections(sections))
    data[place % len(data)] = value
    for garbled in (bytes(data), bytes(data[: len(data) - cut])):
        with contextlib.suppress(SectionError):
            list(walk_sections(memoryview(garbled), tags(_Mixed)))
