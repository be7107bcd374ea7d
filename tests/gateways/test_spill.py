"""Columns that outgrow memory: the same values from files, in any pieces; and nothing is left of
the files.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import DiskFullError, PermanentError
from engine.history.gather import Gatherer
from engine.history.sorting import repeated, sorted_order, taken
from gateways.spill import Spill
from tests.gateways.mapped_files import mapped_below

_keys = st.lists(st.integers(0, 30), max_size=60)
_chunks = st.integers(1, 9)
_sections = st.lists(
    st.tuples(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 99), max_size=9)), max_size=40
)


@settings(deadline=None)
@given(_keys, _chunks)
def test_any_keys_are_sorted_in_pieces_as_at_once(values: list[int], chunk_rows: int) -> None:
    spill = Spill(bytes_in_memory=0, chunk_rows=chunk_rows)
    keys = np.array(values, np.int64)
    order = sorted_order(keys, spill)
    assert order.tolist() == np.argsort(keys, kind="stable").tolist()
    ascending = taken(keys, order, spill)
    assert ascending.tolist() == sorted(values)
    seen = [row for row in range(len(values)) if values[row] in values[:row]]
    assert sorted(repeated(ascending, order, spill).tolist()) == seen


@settings(deadline=None)
@given(_sections, _chunks, st.integers(0, 200), st.integers(0, 40))
def test_sections_gathered_into_files_are_those_gathered_in_memory(
    sections: list[tuple[int, list[int]]], chunk_rows: int, bytes_in_memory: int, early: int
) -> None:
    spilled = Gatherer(
        1, (np.uint32, np.int64), Spill(bytes_in_memory=bytes_in_memory, chunk_rows=chunk_rows)
    )
    held = Gatherer(1, (np.uint32, np.int64))
    for count, (scalar, values) in enumerate(sections):
        for gatherer in (spilled, held):
            gatherer.add((scalar,), np.array(values, np.int64), np.array(values, np.int64) - 50)
        if count == early:
            assert spilled.table().sections.tolist() == held.table().sections.tolist()
    assert spilled.rows_count == held.rows_count == sum(len(values) for _, values in sections)
    tables = [gatherer.take() for gatherer in (spilled, held)]
    told = [
        [
            column.tolist()
            for column in (*table.columns, table.sections, *table.scalars, table.counts)
        ]
        for table in tables
    ]
    assert told[0] == told[1]
    assert told[1][0] == [value for _, values in sections for value in values]
    assert spilled.rows_count == len(spilled.take().sections) == 0


def test_columns_are_in_memory_up_to_a_size_and_in_a_file_without_a_name_beyond(
    tmp_path: Path,
) -> None:
    spill = Spill(tmp_path, bytes_in_memory=100)
    small = spill.columns(10, np.int64, np.uint16)
    assert mapped_below(tmp_path) == 0
    large = spill.columns(11, np.int64, np.uint16)
    assert mapped_below(tmp_path) == 1
    for columns in (small, large):
        assert [column.dtype for column in columns] == [np.int64, np.uint16]
        assert not any(column.any() for column in columns)
        columns[1][:] = 65535
        spill.release()
        assert columns[1].tolist() == [65535] * len(columns[1])
        assert not columns[0].any()
    assert list(tmp_path.iterdir()) == []
    del large, columns
    assert mapped_below(tmp_path) == 0


def test_a_full_disk_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=f"{tmp_path}: expected room for what outgrows memory"):
        Spill(tmp_path).columns(1 << 59, np.int64)
    with pytest.raises(PermanentError, match="expected room"):
        Spill(tmp_path / "missing", bytes_in_memory=0).columns(1, np.int64)


def test_spilling_leaves_the_disk_space_that_a_running_cluster_needs(tmp_path: Path) -> None:
    spill = Spill(tmp_path, bytes_in_memory=0, chunk_rows=1, bytes_free_min=1 << 60)
    with pytest.raises(
        DiskFullError, match="1,152,921,504,606,846,976 bytes that stay free, found"
    ):
        spill.columns(1, np.int64)
    with pytest.raises(DiskFullError, match="bytes that stay free"):
        Gatherer(0, (np.int64,), spill).add((), np.zeros(1, np.int64))
    spill.close()
