"""Ids and their shards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.values.ids import fnv1a_32, is_id, shard_of, shards_of


@pytest.mark.parametrize(
    ("text", "value"),
    [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968), ("b", 0xE70C2DE5)],
)
def test_fnv1a_gives_the_published_values(text: str, value: int) -> None:
    assert fnv1a_32(text) == value
    assert shard_of(text, 4) == value % 4


@given(st.lists(st.text(max_size=9), max_size=9), st.sampled_from([1, 2, 8, 4096]))
def test_many_ids_get_the_same_shards_as_single_ones(ids: list[str], count: int) -> None:
    assert shards_of(ids, count) == [shard_of(each, count) for each in ids]
    assert all(
        shard == fnv1a_32(each) % count
        for each, shard in zip(ids, shards_of(ids, count), strict=True)
    )


@pytest.mark.parametrize("text", ["", "a" * 65, "a b", "a.b", "ä", "a\n", "*", ">", 5, None])
def test_texts_outside_the_alphabet_or_the_length_are_no_ids(text: object) -> None:
    assert not is_id(text)


def test_up_to_64_letters_digits_dashes_and_underscores_are_an_id() -> None:
    assert is_id("A-z_09")
    assert is_id("a" * 64)
