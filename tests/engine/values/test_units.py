"""Amounts and times as text: read and written exactly, or refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
def test_money_is_read_back_from_its_text(value: int) -> None:
    text = format_micros(value)
    assert "e" not in text.lower()
    assert money_micros(text) == value
    assert money_micros(Decimal(text)) == value


@given(st.integers(-QUANTITY_MAX, QUANTITY_MAX))
def test_quantities_are_read_back_from_their_text(value: int) -> None:
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
def test_times_are_read_back_from_their_text(value: int) -> None:
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
def test_an_invalid_time_is_refused(text: str) -> None:
    with pytest.raises(UnitError, match="time: expected"):
        time_ns(text)
