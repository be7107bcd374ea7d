"""Seen ids against a plain set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateways.brokers.ledger import seen
from gateways.brokers.ledger.seen import SeenOrders, order_key

blocks = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sets(st.integers(0, 40), min_size=1)
        | st.builds(range, st.integers(0, 20), st.integers(21, 40)),
    ),
    max_size=60,
)


@pytest.fixture(autouse=True)
def _small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_HOT_SPANS_MAX", 7)
    monkeypatch.setattr(seen, "_HOT_SPANS_OF_KEY_MAX", 3)


def _no_record(offset: int) -> NDArray[np.int64]:
    raise AssertionError(f"a span without gaps needs no record, asked for {offset}")


@given(blocks)
def test_p1_every_id_is_new_once_and_repeated_ever_after(
    given_blocks: list[tuple[int, set[int] | range]],
) -> None:
    records: dict[int, NDArray[np.int64]] = {}
    orders = SeenOrders(records.__getitem__)
    model: set[tuple[int, int]] = set()
    for offset, (cause, members) in enumerate(given_blocks, start=1):
        subscriptions = np.array(sorted(members), np.int64)
        key = order_key(3, 0, 1, cause, 2, 5)
        marks = orders.repeated(key, subscriptions)
        expected = [(cause, number) in model for number in subscriptions.tolist()]
        assert (marks.tolist() if marks is not None else [False] * len(subscriptions)) == expected
        fresh = subscriptions if marks is None else subscriptions[~marks]
        if len(fresh):
            records[offset] = fresh
            orders.add(key, fresh, offset)
            model |= {(cause, number) for number in fresh.tolist()}


def test_neighbouring_ranges_join_whatever_their_order() -> None:
    orders = SeenOrders(_no_record)
    key = order_key(0, 0, 0, 1, 0, 0)
    for first in (30, 10, 20, 0, 40, 50, 60):
        orders.add(key, np.arange(first, first + 10), 99)
    marks = orders.repeated(key, np.arange(0, 80))
    assert marks is not None
    assert marks.tolist() == [True] * 70 + [False] * 10
    assert orders.spans_count < 7


def test_highest_ids_are_told_apart() -> None:
    orders = SeenOrders(_no_record)
    key = order_key((1 << 14) - 1, 2, (1 << 12) - 1, (1 << 36) - 1, (1 << 12) - 1, (1 << 20) - 1)
    for step in range(4):
        orders.add(key - step, np.array([(1 << 32) - 1]), 99)
    assert orders.repeated(key, np.array([(1 << 32) - 1])) is not None
    assert orders.repeated(key, np.array([(1 << 32) - 2])) is None
    assert orders.repeated(key - 4, np.array([(1 << 32) - 1])) is None
