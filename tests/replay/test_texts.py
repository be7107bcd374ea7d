"""Columns as text: the same as one value at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cluster.replay.texts import csv_field, order_id_texts, scaled_texts
from engine.values.order_ids import format_order_id
from engine.values.units import format_scaled

HALVES = st.integers(0, 2**64 - 1)


@given(st.lists(st.integers(-(10**17), 10**17)), st.sampled_from([6, 8]))
def test_decimals_are_written_as_the_engine_writes_them(values: list[int], digits: int) -> None:
    found = scaled_texts(np.array(values, np.int64), digits)
    assert found == [format_scaled(value, digits) for value in values]


@given(st.lists(st.tuples(HALVES, HALVES)))
def test_order_ids_are_written_as_the_engine_writes_them(ids: list[tuple[int, int]]) -> None:
    highs, lows = (np.array([pair[half] for pair in ids], np.uint64) for half in (0, 1))
    assert order_id_texts(highs, lows) == [format_order_id(*pair) for pair in ids]


def test_a_symbol_is_quoted_only_where_necessary() -> None:
    assert [csv_field(text) for text in ("ACME", "A,B", 'A"B')] == ["ACME", '"A,B"', '"A""B"']
