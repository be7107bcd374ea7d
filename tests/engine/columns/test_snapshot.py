"""Snapshots by name: fields may come, go and move. An unknown one is refused unless its writer says
that it may be skipped.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.columns.codec import ColumnError
from engine.columns.snapshot import (
    STATE_LAYOUT,
    NewerSnapshotError,
    SnapshotSchema,
    StoredState,
    decode_snapshot,
    integers_column,
    required,
)
from engine.columns.state import State, encode_state
from engine.columns.state_copy import copy_digest, encode_copy, whole_copy
from engine.columns.table import Table

LAYOUT_3 = {"pair": ("id", "amount")}
SCHEMA = SnapshotSchema(
    ["pair", "table.#.a", "table.#.b"], {"pair": {**required("id"), "amount": 7}}, LAYOUT_3
)
ROWS = [[1, 10], [2, 20]]


def written(
    state: State,
    fields: Mapping[str, Sequence[str]],
    *,
    optional: Sequence[str] = (),
    layout: int = STATE_LAYOUT,
) -> bytes:
    """Write a snapshot as some version might."""
    schema = msgspec.json.encode({"layout": layout, "fields": fields, "optional": optional})
    return encode_state({".schema": np.frombuffer(schema, np.uint8), **state})


def pairs(rows: list[list[int]], *fields: str, optional: Sequence[str] = ()) -> list[Sequence[int]]:
    data = written({"pair": integers_column(rows)}, {"pair": fields}, optional=optional)
    return decode_snapshot(data, SCHEMA).integers("pair")


def test_a_snapshot_of_today_is_read_as_it_was_written() -> None:
    copy = whole_copy(SCHEMA, {"pair": integers_column(ROWS)})
    stored = decode_snapshot(encode_copy(copy), SCHEMA)
    assert stored.integers("pair") == ROWS
    assert SCHEMA.is_of(stored)


def test_a_field_that_is_missing_takes_its_default() -> None:
    assert pairs([[1], [2]], "id") == [[1, 7], [2, 7]]


def test_fields_are_found_by_name_wherever_they_stand() -> None:
    assert pairs([[10, 1], [20, 2]], "amount", "id") == ROWS


def test_a_field_without_a_default_must_be_there() -> None:
    with pytest.raises(ColumnError, match=r"expected a field pair.id, found none"):
        pairs([[1]], "amount")


def test_an_unknown_field_is_refused_unless_it_may_be_skipped() -> None:
    rows = [[1, 5, 10], [2, 5, 20]]
    with pytest.raises(NewerSnapshotError, match=r"field pair.fee is unknown.*upgrade first"):
        pairs(rows, "id", "fee", "amount")
    assert pairs(rows, "id", "fee", "amount", optional=["pair.fee"]) == ROWS


def test_an_unknown_column_is_refused_unless_it_may_be_skipped() -> None:
    state: State = {"pair": integers_column(ROWS), "table.3.c": np.zeros(2, np.uint8)}
    with pytest.raises(NewerSnapshotError, match=r"column table.3.c is unknown.*upgrade first"):
        decode_snapshot(written(state, LAYOUT_3), SCHEMA)
    stored = decode_snapshot(written(state, LAYOUT_3, optional=["table.#.c"]), SCHEMA)
    assert stored.integers("pair") == ROWS


def test_a_newer_layout_is_refused_whatever_its_schema_says() -> None:
    schema = np.frombuffer(b'{"layout":5,"fields":"in another form"}', np.uint8)
    with pytest.raises(NewerSnapshotError, match=r"layout 4 or below, found 5.*upgrade"):
        decode_snapshot(encode_state({".schema": schema}), SCHEMA)


@pytest.mark.parametrize("schema", [b"", b"{}", b'{"layout":4}', b"\xff", b'{"layout":"4"}'])
def test_an_unreadable_schema_is_damage(schema: bytes) -> None:
    with pytest.raises(ColumnError):
        decode_snapshot(encode_state({".schema": np.frombuffer(schema, np.uint8)}), SCHEMA)


def test_a_snapshot_without_a_schema_is_of_layout_3() -> None:
    stored = decode_snapshot(encode_state({"pair": integers_column(ROWS)}), SCHEMA)
    assert (stored.layout, stored.integers("pair")) == (3, ROWS)
    assert not SCHEMA.is_of(stored)


def test_missing_fields_at_the_end_of_a_row_take_defaults() -> None:
    stored = decode_snapshot(encode_state({}), SCHEMA)
    assert stored.rows("pair", [[1], [2, 20]]) == [[1, 7], [2, 20]]


def test_a_missing_column_has_no_rows_and_a_needed_one_is_an_error() -> None:
    stored = decode_snapshot(encode_state({}), SCHEMA)
    assert stored.integers("pair") == []
    with pytest.raises(ColumnError, match="expected a column pair, found none"):
        stored.column("pair")


@given(
    st.permutations(["id", "amount", "fee", "note"]),
    st.integers(1, 4),
    st.lists(st.lists(st.integers(-9, 9), min_size=4, max_size=4), max_size=3),
)
def test_older_rows_and_columns_become_those_of_today(
    order: list[str], count: int, rows: list[list[int]]
) -> None:
    fields = [name for name in order[:count] if name != "id"] + ["id"]
    data = written({}, {"pair": fields}, optional=["pair.fee", "pair.note"])
    stored = decode_snapshot(data, SCHEMA)
    cut = [row[: len(fields)] for row in rows]
    expected = [[row[fields.index("id")], _amount(row, fields)] for row in cut]
    assert stored.rows("pair", cut) == expected
    matrix = np.array(cut, np.int64).reshape(len(cut), len(fields)).T
    assert stored.picks["pair"].matrix(matrix).T.tolist() == expected


def _amount(row: list[int], fields: list[str]) -> int:
    return row[fields.index("amount")] if "amount" in fields else 7


def _table(defaults: dict[str, int], stored: StoredState) -> dict[str, Any]:
    table = Table({"a": np.int64, "b": np.uint8}, defaults)
    table.restore("table.3", stored.columns)
    return {"count": table.count, "a": table["a"].tolist(), "b": table["b"].tolist()}


def test_a_tables_missing_column_takes_its_default() -> None:
    stored = decode_snapshot(encode_state({"table.3.a": np.arange(3)}), SCHEMA)
    assert _table({}, stored) == {"count": 3, "a": [0, 1, 2], "b": [0, 0, 0]}
    assert _table({"b": 5}, stored) == {"count": 3, "a": [0, 1, 2], "b": [5, 5, 5]}
    assert _table({}, decode_snapshot(b"", SCHEMA)) == {"count": 0, "a": [], "b": []}


def test_a_tables_columns_are_of_one_length() -> None:
    uneven: State = {"table.3.a": np.arange(3), "table.3.b": np.zeros(2, np.uint8)}
    with pytest.raises(ColumnError, match=r"one length in table.3, found \[2, 3\]"):
        _table({}, decode_snapshot(encode_state(uneven), SCHEMA))


def test_the_digest_covers_what_no_hash_does() -> None:
    """P6: the schema, and so every name in it, is part of the bytes."""
    other = SnapshotSchema(["pair"], {"pair": required("id", "price")}, LAYOUT_3)
    state: State = {"pair": integers_column(ROWS)}
    assert copy_digest(whole_copy(SCHEMA, state)) != copy_digest(whole_copy(other, state))
