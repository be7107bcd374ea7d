"""Tables, the index of ids, and the runs of execution ids."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.columns import id_index
from engine.columns.id_index import IdIndex, hash_id, hash_ids
from engine.columns.state import decode_state, encode_state, state_hash
from engine.columns.table import Table, capacity_for
from engine.follower.applied_executions import AppliedExecutions


@given(st.lists(st.integers(0, 3000), max_size=8))
def test_tables_grow_and_keep_their_rows(sizes: list[int]) -> None:
    table = Table({"a": np.int64, "b": np.uint8})
    expected: list[int] = []
    for size in sizes:
        rows = np.arange(size, dtype=np.int64) + len(expected)
        assert table.append({"a": rows}) == slice(len(expected), len(expected) + size)
        expected += rows.tolist()
    assert table["a"].tolist() == expected
    assert not table["b"].any()
    assert table.capacity >= table.count == len(expected)
    other = Table({"a": np.int64, "b": np.uint8})
    other.restore("t", decode_state(encode_state(table.state("t"))))
    assert state_hash(other.state("t")) == state_hash(table.state("t"))
    other.append({"a": np.array([5])})
    assert other["a"].tolist() == [*expected, 5]


def test_a_large_table_grows_by_a_quarter() -> None:
    assert capacity_for(100_001, 100_000) == 125_000
    assert capacity_for(9, 8) == 16
    assert capacity_for(0, 0) == 0


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


@given(st.lists(st.lists(st.integers(-1, 40), min_size=1, max_size=6), max_size=12))
@example([list(range(0, 60, 3)), list(range(60, -1, -1)), [-1, 59, 61]])
def test_execution_ids_in_any_order(messages: list[list[int]]) -> None:
    """Whatever order numbers come in, they are known afterwards, in the fewest runs (P8)."""
    ids, known = AppliedExecutions(), set[int]()
    for message in messages:
        numbers = np.array(message)
        assert ids.seen("paper", "x-", numbers).tolist() == [number in known for number in message]
        ids.add("paper", "x-", numbers)
        known |= {number for number in message if number >= 0}
    rows = ids.rows()
    runs = rows[0][2] if rows else []
    assert {number for first, last in runs for number in range(first, last + 1)} == known
    assert all(runs[at][1] + 1 < runs[at + 1][0] for at in range(len(runs) - 1))
    assert AppliedExecutions.restored(rows).rows() == rows
    assert not ids.seen("other", "x-", np.arange(40)).any()
