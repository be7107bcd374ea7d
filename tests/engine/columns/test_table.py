"""Tables: they grow and keep their rows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.columns.state import decode_state, encode_state, state_hash
from engine.columns.table import Table, capacity_for


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
