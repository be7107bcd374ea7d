"""Order ids: the coordinates of an order in 128 bits, and their text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.values.ids import is_id
from engine.values.order_ids import (
    CauseKind,
    OrderId,
    format_order_id,
    order_lows,
    order_tails,
    parse_order_id,
    unpack_order_id,
)

_order_ids = st.builds(
    OrderId,
    st.integers(0, (1 << 14) - 1),
    st.sampled_from(CauseKind),
    st.integers(0, (1 << 12) - 1),
    st.integers(0, (1 << 36) - 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 12) - 1),
    st.integers(0, (1 << 20) - 1),
)


@given(_order_ids)
def test_p1_an_order_id_is_its_coordinates(order_id: OrderId) -> None:
    """The id holds exactly these numbers, as does its text."""
    assert unpack_order_id(order_id.high, order_id.low) == order_id
    text = str(order_id)
    assert len(text) == 26
    assert is_id(text)
    assert parse_order_id(text) == (order_id.high, order_id.low)
    tails = order_tails(np.array([order_id.leg]), np.array([order_id.attempt]))
    lows = order_lows(np.array([order_id.subscription], np.uint32), tails)
    assert lows.tolist() == [order_id.low]


@given(_order_ids)
def test_a_key_and_a_subscription_make_the_order_id(order_id: OrderId) -> None:
    key = order_id.key
    assert tuple(key) == (*order_id[1:4], *order_id[5:])
    assert (key.high(order_id.shard), key.low(order_id.subscription)) == (
        order_id.high,
        order_id.low,
    )


@given(_order_ids, _order_ids)
def test_order_ids_sort_like_their_coordinates(one: OrderId, other: OrderId) -> None:
    assert (one < other) == (str(one) < str(other))


@pytest.mark.parametrize(
    "text", ["", "0" * 25, "0" * 27, "Z" * 26, "8" + "0" * 25, "I" + "0" * 25, "0" * 25 + "u"]
)
def test_an_invalid_order_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="order id: expected"):
        parse_order_id(text)


def test_the_largest_order_id_has_128_bits() -> None:
    assert format_order_id(2**64 - 1, 2**64 - 1) == "7" + "Z" * 25
