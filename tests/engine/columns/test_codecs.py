"""Columns, sections, frames and blocks: every value comes back, and garbled bytes raise the one
error that says so.
"""

import contextlib
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.columns.codec import (
    ColumnError,
    decode_column,
    decode_integers,
    decode_texts,
    encode_column,
    encode_integers,
    encode_texts,
)
from engine.columns.section_codec import decode_section, encode_section
from engine.columns.section_types import Ascending, Column, Section, SectionError, Texts, tags
from engine.columns.sections import UnknownSection, encode_sections, walk_sections
from engine.columns.state import decode_state
from engine.journal.frame import FrameError, decode_frame
from engine.messages.blocks import decode_block
from tests.engine.samples import BLOCKS, FRAMES

_INT64 = st.integers(-(2**63), 2**63 - 1)
_columns = st.one_of(
    st.lists(_INT64, max_size=20),
    st.lists(st.integers(-3, 300), max_size=50),
    st.lists(
        st.sampled_from([-(2**63), 2**63 - 1, 0, -1, 255, 256, 65535, 65536, 2**32]), max_size=9
    ),
)


@settings(max_examples=300)
@given(values=_columns, is_ascending=st.booleans(), prefix=st.binary(max_size=3))
def test_columns_are_read_as_they_were_written(
    values: list[int], is_ascending: bool, prefix: bytes
) -> None:
    column = np.array(sorted(values) if is_ascending else values, np.int64)
    data = prefix + encode_column(column, ascending=is_ascending)
    found, end = decode_column(data, len(prefix))
    assert found.tolist() == column.tolist()
    assert end == len(data)


@given(values=_columns)
def test_a_falling_column_survives_being_called_ascending(values: list[int]) -> None:
    assert (
        decode_column(encode_column(np.array(values, np.int64), ascending=True))[0].tolist()
        == values
    )


@given(values=st.lists(st.integers(0, 2**64 - 1), max_size=9))
def test_unsigned_columns_keep_their_bits(values: list[int]) -> None:
    column = np.array(values, np.uint64)
    assert decode_column(encode_column(column))[0].view(np.uint64).tolist() == values


@settings(max_examples=300)
@given(values=_columns.filter(bool), repeats=st.sampled_from([1, 1, 40]))
def test_integers_are_the_bytes_of_their_column(values: list[int], repeats: int) -> None:
    values = values * repeats
    data = encode_integers(values)
    assert data == encode_column(np.array(values, np.int64))
    assert decode_integers(data) == decode_integers(memoryview(data)) == (values, len(data))


@given(texts=st.lists(st.text(max_size=20), max_size=9))
def test_texts_are_read_as_they_were_written(texts: list[str]) -> None:
    assert decode_texts(encode_texts(texts))[0] == texts


def test_equal_columns_give_equal_bytes_whatever_their_type() -> None:
    for dtype in (np.int64, np.int32, np.uint32, np.uint8):
        assert encode_column(np.array([1, 2, 200], dtype)) == encode_column(
            np.array([1, 2, 200], np.int64)
        )


class _Old(Section, frozen=True):
    TAG: ClassVar[int] = 7
    number: int
    name: str


class _New(Section, frozen=True):
    TAG: ClassVar[int] = 7
    number: int
    name: str
    later: int = 5
    texts: Texts = None  # type: ignore[assignment]


class _Other(Section, frozen=True):
    TAG: ClassVar[int] = 8
    column: Column
    ascending: Ascending


def test_an_appended_field_takes_its_default_from_old_bytes() -> None:
    new = decode_section(_New, memoryview(encode_section(_Old(3, "x"))))
    assert (new.number, new.name, new.later) == (3, "x", 5)


def test_an_old_reader_skips_appended_fields() -> None:
    old = decode_section(_Old, memoryview(encode_section(_New(3, "x", 9, ["y"]))))
    assert (old.number, old.name) == (3, "x")


class _Appended(Section, frozen=True):
    TAG: ClassVar[int] = 7
    number: int
    name: str
    first: int = 5
    second: int = 6


@pytest.mark.parametrize(
    ("section", "is_longer_by"),
    [
        (_Appended(3, "x"), 0),
        (_Appended(3, "x", 5, 6), 0),
        (_Appended(3, "x", 0), 8),
        (_Appended(3, "x", 5, 0), 16),
    ],
)
def test_trailing_integers_at_their_defaults_are_left_out(
    section: _Appended, is_longer_by: int
) -> None:
    """So the bytes are those of older code until a field has another value."""
    data = encode_section(section)
    old = encode_section(_Old(3, "x"))
    assert data[: len(old)] == old and len(data) == len(old) + is_longer_by
    found = decode_section(_Appended, memoryview(data))
    assert (found.first, found.second) == (section.first, section.second)


def test_a_text_with_a_default_is_always_written() -> None:
    """Reports have had such a text from the beginning."""

    class Told(Section, frozen=True):
        TAG: ClassVar[int] = 7
        number: int
        text: str = ""

    assert encode_section(Told(3)) == (3).to_bytes(8, "little") + b"\0\0"


def test_a_missing_field_without_default_is_refused() -> None:
    with pytest.raises(SectionError, match="name"):
        decode_section(_Old, memoryview(bytes(8)))


def test_unknown_optional_sections_are_skipped_and_required_ones_refused() -> None:
    sections: list[Any] = [_Other(np.arange(3), np.arange(3)), _Old(1, "z")]
    optional = memoryview(encode_sections(sections, flags=0))
    first, second = walk_sections(optional, tags(_Old))
    assert isinstance(first, UnknownSection)
    assert first.tag == 8
    assert second.number == 1
    with pytest.raises(SectionError, match="required tag 8"):
        list(walk_sections(memoryview(encode_sections(sections)), tags(_Old)))


_edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6)


def _garbled(data: bytes, edits: list[tuple[int, int]], cut: int) -> bytes:
    changed = bytearray(data)
    for at, value in edits:
        changed[at % len(changed)] = value
    return bytes(changed[: len(changed) - cut % len(changed)] if cut % 2 else changed)


@settings(max_examples=600)
@given(which=st.integers(0, 10**6), edits=_edits, cut=st.integers(0, 10**6))
def test_garbled_frames_and_blocks_raise_only_their_own_error(
    which: int, edits: list[tuple[int, int]], cut: int
) -> None:
    frames, blocks = list(FRAMES.values()), list(BLOCKS.values())
    with contextlib.suppress(FrameError):
        decode_frame(_garbled(frames[which % len(frames)], edits, cut))
    with contextlib.suppress(SectionError):
        decode_block(_garbled(blocks[which % len(blocks)], edits, cut))


@given(junk=st.binary(max_size=300))
def test_bytes_that_are_no_frame_are_refused(junk: bytes) -> None:
    for data in (junk, b"LSF1" + junk):
        with pytest.raises(FrameError):
            decode_frame(data)
    with pytest.raises(SectionError):
        decode_block(b"X" + junk)
    with contextlib.suppress(SectionError):
        decode_block(b"LSB1" + junk)
    for decode in (decode_column, decode_texts, decode_state):
        with contextlib.suppress(ColumnError):
            decode(junk)


def test_a_cursor_of_an_unknown_source_is_refused() -> None:
    data = bytearray(FRAMES["frame_creator"])
    at = data.index(bytes([1, 0, 0]), 60)
    data[at] = 9
    with pytest.raises(FrameError, match="source"):
        decode_frame(bytes(data))


def test_a_few_bytes_cannot_ask_for_gigabytes() -> None:
    endless = np.zeros(1, np.int64)
    body = bytearray(encode_section(_Other(endless, endless)))
    body[2:6] = (1 << 27).to_bytes(4, "little")
    with pytest.raises(SectionError, match="at most"):
        decode_section(_Other, memoryview(body))
