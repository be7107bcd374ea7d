"""Texts, times, ids and the order state table: exact or refused."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.values.ids import fnv1a_32, is_id, shard_of, shards_of
from engine.values.order_ids import (
    CauseKind,
    OrderId,
    format_order_id,
    order_lows,
    parse_order_id,
    unpack_order_id,
)
from engine.values.order_status import OPEN, TERMINAL, ExecType, OrdStatus, next_status
from engine.values.units import (
    MONEY_MAX,
    PRICE_MAX,
    QUANTITY_MAX,
    RATIO_MAX,
    TIME_MAX_NS,
    UnitError,
    format_micros,
    format_quantity,
    format_time,
    money_micros,
    price_micros,
    quantity_e8,
    ratio_micros,
    signed_quantity_e8,
    time_ns,
    weight_micros,
)


@given(st.integers(-MONEY_MAX, MONEY_MAX))
def test_money_comes_back_from_its_text(value: int) -> None:
    text = format_micros(value)
    assert "e" not in text.lower()
    assert money_micros(text) == value
    assert money_micros(Decimal(text)) == value


@given(st.integers(-QUANTITY_MAX, QUANTITY_MAX))
def test_quantities_come_back_from_their_text(value: int) -> None:
    assert signed_quantity_e8(format_quantity(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1_000_000),
        ("0.000001", 1),
        ("-0.000001", -1),
        ("1e3", 1_000_000_000),
        ("1E-6", 1),
        ("1.2300000000", 1_230_000),
        ("10e-7", 1),
        ("100000000000", MONEY_MAX),
        ("0e99", 0),
        ("0.00000000", 0),
        ("+5", 5_000_000),
        (7, 7_000_000),
    ],
)
def test_money_is_read_exactly(text: str | int, value: int) -> None:
    assert money_micros(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "1e-7",
        "0.0000001",
        "1.0000001",
        "100000000000.000001",
        "1e999999999",
        "1e-999999999",
        "-1e12",
        "NaN",
        "inf",
        "",
        "x",
        "1,5",
    ],
)
def test_money_that_is_not_exact_or_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="money: expected"):
        money_micros(text)


@pytest.mark.parametrize("text", ["0", "-1", "-0.000001", str(PRICE_MAX // 10**6 + 1)])
def test_prices_are_above_zero_and_within_range(text: str) -> None:
    with pytest.raises(UnitError):
        price_micros(text)


def test_the_ends_of_the_ranges_are_allowed() -> None:
    assert price_micros(format_micros(PRICE_MAX)) == PRICE_MAX
    assert quantity_e8(format_quantity(QUANTITY_MAX)) == QUANTITY_MAX
    assert (
        ratio_micros(format_micros(RATIO_MAX))
        == weight_micros(format_micros(RATIO_MAX))
        == RATIO_MAX
    )
    assert weight_micros("0e0") == 0
    for read, text in (
        (quantity_e8, "0"),
        (quantity_e8, "0.000000001"),
        (ratio_micros, "1000.000001"),
        (ratio_micros, "0"),
        (weight_micros, "1000.000001"),
        (weight_micros, "-0.000001"),
    ):
        with pytest.raises(UnitError):
            read(text)


@given(st.integers(0, TIME_MAX_NS - 1))
def test_times_come_back_from_their_text(value: int) -> None:
    assert time_ns(format_time(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("2026-01-31T20:00:00Z", 1_769_889_600_000_000_000),
    ],
)
def test_times_are_read_exactly(text: str, value: int) -> None:
    assert time_ns(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T20:00:00",
        "2026-01-31T20:00:00.0000000001Z",
        "2026-13-01T00:00:00Z",
        "",
        "now",
        "2200-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-01-31T20:00:00.Z",
    ],
)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="time: expected"):
        time_ns(text)


# Identities.

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
def test_order_ids_come_back(order_id: OrderId) -> None:
    """The id is the coordinates (P1)."""
    assert unpack_order_id(order_id.high, order_id.low) == order_id
    text = str(order_id)
    assert len(text) == 26
    assert is_id(text)
    assert parse_order_id(text) == (order_id.high, order_id.low)
    lows = order_lows(np.array([order_id.subscription], np.uint32), order_id.leg, order_id.attempt)
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
def test_order_ids_sort_as_their_coordinates(one: OrderId, other: OrderId) -> None:
    assert (one < other) == (str(one) < str(other))


@pytest.mark.parametrize(
    "text", ["", "0" * 25, "0" * 27, "Z" * 26, "8" + "0" * 25, "I" + "0" * 25, "0" * 25 + "u"]
)
def test_a_text_that_is_no_order_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="order id: expected"):
        parse_order_id(text)


def test_the_largest_order_id_has_128_bits() -> None:
    assert format_order_id(2**64 - 1, 2**64 - 1) == "7" + "Z" * 25


@pytest.mark.parametrize(
    ("text", "value"),
    [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968), ("b", 0xE70C2DE5)],
)
def test_fnv1a_known_values(text: str, value: int) -> None:
    assert fnv1a_32(text) == value
    assert shard_of(text, 4) == value % 4


@given(st.lists(st.text(max_size=9), max_size=9), st.sampled_from([1, 2, 8, 4096]))
def test_many_ids_are_hashed_as_each_alone(ids: list[str], count: int) -> None:
    assert shards_of(ids, count) == [shard_of(each, count) for each in ids]
    assert all(
        shard == fnv1a_32(each) % count
        for each, shard in zip(ids, shards_of(ids, count), strict=True)
    )


@pytest.mark.parametrize("text", ["", "a" * 65, "a b", "a.b", "ä", "a\n", "*", ">", 5, None])
def test_what_is_no_id(text: object) -> None:
    assert not is_id(text)


def test_what_is_an_id() -> None:
    assert is_id("A-z_09")
    assert is_id("a" * 64)


# The life of an order.


def _expected(status: OrdStatus, exec_type: ExecType, leaves: int) -> OrdStatus | None:
    if status in TERMINAL or exec_type in (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT):
        return None
    if exec_type is ExecType.TRADE:
        if leaves == 0:
            return OrdStatus.FILLED
        return (
            OrdStatus.PENDING_CANCEL
            if status is OrdStatus.PENDING_CANCEL
            else OrdStatus.PARTIALLY_FILLED
        )
    if exec_type is ExecType.NEW:
        return OrdStatus.NEW if status is OrdStatus.PENDING_NEW else status
    return OrdStatus[exec_type.name]


@pytest.mark.parametrize("status", OrdStatus)
@pytest.mark.parametrize("exec_type", ExecType)
@pytest.mark.parametrize("leaves", [0, 1])
def test_every_report_on_every_status(status: OrdStatus, exec_type: ExecType, leaves: int) -> None:
    found = next_status(status, exec_type, leaves_quantity=leaves)
    assert found == _expected(status, exec_type, leaves)
    assert (status in OPEN) != (status in TERMINAL)
