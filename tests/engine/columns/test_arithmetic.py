"""Exact products and quotients against Python's integers, up to the ends of the declared ranges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.columns.arithmetic import (
    entry_limit_price,
    fee_ceil,
    floor_to,
    mul_div,
    mul_div_within,
    mul_mul_div,
    notional_ceil,
    notional_floor,
    value_ceil,
    value_floor,
)
from engine.values.units import MICROS, MONEY_MAX, PRICE_MAX, QUANTITY_MAX, QUANTITY_ONE, RATIO_MAX

_LIMIT = 10**17
_factors = st.one_of(
    st.integers(0, _LIMIT),
    st.sampled_from(
        [0, 1, 2, 3, _LIMIT, _LIMIT - 1, 2**53, 2**53 + 1, 2**56 - 1, MICROS, QUANTITY_ONE]
    ),
    st.builds(lambda power, less: max(10**power - less, 0), st.integers(0, 17), st.integers(0, 3)),
)
_divisors = _factors.map(lambda value: max(value, 1))
_signed = st.tuples(_factors, st.sampled_from([1, -1])).map(lambda pair: pair[0] * pair[1])


@settings(max_examples=500)
@given(a=_signed, b=_factors, c=_divisors)
def test_mul_div_is_exact(a: int, b: int, c: int) -> None:
    exact = a * b // c
    found, beyond = mul_div_within(np.array([a]), b, c, _LIMIT)
    columns, beyond_columns = mul_div_within(np.array([a]), np.array([b]), np.array([c]), _LIMIT)
    if abs(exact) > _LIMIT:
        assert beyond is not None
        assert beyond_columns is not None
        assert (found.tolist(), beyond.tolist()) == ([0], [True])
        return
    assert beyond is None
    assert beyond_columns is None
    assert found.tolist() == columns.tolist() == [exact]
    assert mul_div(np.array([a]), b, c).tolist() == [exact]


@settings(max_examples=500)
@given(quotient=st.integers(-_LIMIT, _LIMIT), b=_divisors, off=st.integers(-2, 2))
def test_mul_div_is_exact_beside_whole_numbers(quotient: int, b: int, off: int) -> None:
    """a * b / c lies just below, at and just above a whole number, where an estimate would slip."""
    c = b - off if b - off > 0 else b
    a = quotient * c // b
    for near in (a - 1, a, a + 1):
        exact = near * b // c
        if abs(near) <= _LIMIT and abs(exact) <= _LIMIT:
            assert mul_div(np.array([near]), b, c).tolist() == [exact]


@settings(max_examples=500)
@given(
    leg=st.integers(1, QUANTITY_MAX),
    rows=st.lists(
        st.tuples(_factors, st.one_of(st.integers(1, RATIO_MAX), st.just(MICROS))),
        min_size=1,
        max_size=5,
    ),
    equity=_divisors,
)
def test_a_proportion_is_floored_once(leg: int, rows: list[tuple[int, int]], equity: int) -> None:
    b, ratio = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found, beyond = mul_mul_div(leg, b, ratio, equity, QUANTITY_MAX)
    for index, (owned, times) in enumerate(rows):
        exact = leg * owned * times // (equity * MICROS)
        is_beyond = beyond is not None and bool(beyond[index])
        assert is_beyond == (exact > QUANTITY_MAX)
        assert found[index] == (0 if is_beyond else exact)


@settings(max_examples=500)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, QUANTITY_MAX),
            _factors,
            st.one_of(st.integers(1, RATIO_MAX), st.just(MICROS)),
            _divisors,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_a_proportion_with_its_own_factors_per_row_is_floored_once(
    rows: list[tuple[int, int, int, int]],
) -> None:
    leg, owned, ratio, equity = (np.array(column) for column in zip(*rows, strict=True))
    found, beyond = mul_mul_div(leg, owned, ratio, equity, QUANTITY_MAX)
    exact = [a * b * times // (c * MICROS) for a, b, times, c in rows]
    assert found.tolist() == [0 if each > QUANTITY_MAX else each for each in exact]
    is_beyond = [False] * len(rows) if beyond is None else beyond.tolist()
    assert is_beyond == [each > QUANTITY_MAX for each in exact]


@given(quantity=st.integers(0, QUANTITY_MAX), price=st.integers(1, PRICE_MAX))
def test_notionals_round_up_when_paid_and_down_when_received(quantity: int, price: int) -> None:
    if quantity * price // QUANTITY_ONE > MONEY_MAX:
        return
    column = np.array([quantity])
    assert notional_floor(column, price).tolist() == [value_floor(quantity, price)]
    assert notional_ceil(column, price).tolist() == [value_ceil(quantity, price)]
    assert value_floor(quantity, price) == quantity * price // QUANTITY_ONE
    assert value_ceil(quantity, price) == -(-quantity * price // QUANTITY_ONE)


@given(notional=st.integers(0, MONEY_MAX), rate=st.integers(0, MICROS))
def test_fees_round_up(notional: int, rate: int) -> None:
    exact = [-(-notional * rate // MICROS)]
    assert fee_ceil(np.array([notional]), rate).tolist() == exact
    assert fee_ceil(np.array([notional]), np.array([rate])).tolist() == exact


@given(value=st.integers(-QUANTITY_MAX, QUANTITY_MAX), step=st.integers(1, QUANTITY_MAX))
def test_lots_round_down(value: int, step: int) -> None:
    assert floor_to(np.array([value]), step).tolist() == [value // step * step]
    assert floor_to(np.array([value]), np.array([step])).tolist() == [value // step * step]


@pytest.mark.parametrize(
    ("price", "side", "cap", "limit"),
    [
        (100, 1, 5_000, 100),
        (1_000_150, 1, 5_000, 1_005_150),
        (1_000_150, -1, 5_000, 995_150),
        (1, -1, 999_999, 1),
        (PRICE_MAX, 1, 5_000, PRICE_MAX + PRICE_MAX // 200),
    ],
)
def test_limits_round_toward_the_price(price: int, side: int, cap: int, limit: int) -> None:
    assert entry_limit_price(price, side, cap) == limit


def test_empty_columns_stay_empty() -> None:
    none = np.zeros(0, np.int64)
    assert len(mul_div(none, 3, 2)) == 0
    assert mul_div_within(none, 3, 2, 10)[1] is None
    assert len(mul_mul_div(3, none, none, 2, 10)[0]) == 0
