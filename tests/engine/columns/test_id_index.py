"""The index of ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.columns import id_index
from engine.columns.id_index import IdIndex, hash_id, hash_ids
from engine.columns.state import decode_state, encode_state, state_hash


def test_ids_are_found_after_merging_and_restoring() -> None:
    index, count = IdIndex(), 150_000
    for first in range(0, count, 40_000):
        last = min(first + 40_000, count)
        assert index.add([f"account-{number}" for number in range(first, last)]) == first
    restored = IdIndex()
    restored.restore("i", decode_state(encode_state(index.state("i"))))
    for each in (index, restored):
        assert len(each) == count
        for number in (0, 1, 39_999, 40_000, 65_536, 99_999, count - 1):
            assert each.find(f"account-{number}") == number
            assert each.text(number) == f"account-{number}"
        assert each.find("account-150000") is None
        assert each.find("") is None
    assert state_hash(index.state("i")) == state_hash(restored.state("i"))


def test_equal_hashes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_index, "hash_id", lambda data: len(data))
    monkeypatch.setattr(
        id_index, "hash_ids", lambda text, starts, ends: (ends - starts).astype(np.uint32)
    )
    monkeypatch.setattr(id_index, "_RECENT_MAX", 4)
    index = IdIndex()
    names = ["aa", "ab", "b", "ba", "bb", "c", "dddd", "bc"]
    for name in names:
        index.add([name])
    assert [index.find(name) for name in names] == list(range(len(names)))
    assert index.find("zz") is None


@given(st.lists(st.text(max_size=12), max_size=20))
def test_many_ids_hash_as_one_does(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([len(data) for data in encoded], dtype=np.int64)
    starts = ends - np.array([len(data) for data in encoded], np.int64)
    hashes = hash_ids(np.frombuffer(b"".join(encoded), np.uint8), starts, ends)
    assert hashes.tolist() == [hash_id(data) for data in encoded]
