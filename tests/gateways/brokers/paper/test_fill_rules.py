"""Prices and fees against exact fractions."""

from fractions import Fraction
from math import ceil

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.values.units import MICROS, MONEY_MAX, PRICE_MAX, QUANTITY_MAX, QUANTITY_ONE
from gateways.brokers.paper.fill_rules import fees_micros, fill_price, rejected_by_ratio

prices = st.integers(1, PRICE_MAX)
rates = st.integers(0, MICROS)


@given(prices, rates, st.data())
def test_fees_are_exact_and_round_up_to_the_micro(
    price: int, rate: int, data: st.DataObject
) -> None:
    largest = min(QUANTITY_MAX, MONEY_MAX * QUANTITY_ONE // price)
    quantities = data.draw(st.lists(st.integers(1, largest), min_size=1, max_size=5))
    fees = fees_micros(np.array(quantities), price, rate)
    expected = [
        ceil(Fraction(q, QUANTITY_ONE) * price * Fraction(rate, MICROS)) for q in quantities
    ]
    assert fees.tolist() == expected


@given(st.sampled_from([1, -1]), prices, prices | st.just(0), st.integers(0, MICROS - 1))
def test_slippage_is_against_the_order_and_never_past_its_limit(
    side: int, price: int, limit: int, slip: int
) -> None:
    filled = fill_price(side, price, limit, slip)
    if limit and side * (limit - price) < 0:
        assert filled is None
        return
    assert filled is not None
    assert side * (filled - price) >= 0
    assert 1 <= filled <= PRICE_MAX
    assert not limit or side * (limit - filled) >= 0
    wanted = price + side * ceil(Fraction(price * slip, MICROS))
    reachable = side * min(side * wanted, side * limit) if limit else wanted
    assert filled == min(max(reachable, 1), PRICE_MAX)


def test_without_slippage_an_order_fills_at_its_mark() -> None:
    assert fill_price(1, 100, 101, 0) == 100
    assert fill_price(-1, 100, 0, 0) == 100


def test_seeded_rejects_take_about_their_share_whatever_the_order_of_arrival() -> None:
    subscriptions = np.arange(100_000)
    chosen = rejected_by_ratio(5 << 32, subscriptions, 100_000, 42)
    assert 9_000 < chosen.sum() < 11_000
    assert (rejected_by_ratio(5 << 32, subscriptions[500:], 100_000, 42) == chosen[500:]).all()
    assert (rejected_by_ratio(5 << 32, subscriptions, 100_000, 43) != chosen).any()
