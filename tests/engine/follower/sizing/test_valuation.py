"""Valuation: cash and every position at its mark, exact to the micro, however rows are gathered."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.follower.book import Book
from engine.follower.sizing.valuation import ROWS_AT_ONCE, equity_of
from engine.follower.subscription_columns import NewRows
from engine.values.units import MONEY_MAX, PRICE_MAX, QUANTITY_MAX, QUANTITY_ONE

_quantity = st.one_of(
    st.just(0), st.integers(-(10**12), 10**12), st.integers(-QUANTITY_MAX, QUANTITY_MAX)
)
_price = st.one_of(st.integers(1, 10**9), st.integers(1, PRICE_MAX))
_cash = st.integers(-MONEY_MAX, MONEY_MAX)


class Held:
    """A book with positions, and the marks that it is valued at."""

    def __init__(self, cash: list[int], positions: list[list[int]], prices: list[int]) -> None:
        self.cash, self.positions, self.prices = cash, positions, prices
        self.book = Book(0, 0, 0)
        rows = NewRows.of({"cash": np.array(cash, np.int64)})
        self.book.append(rows, slice(0, len(cash)))
        for instrument, position in enumerate(positions):
            slot = self.book.slot(instrument, 1, 0)
            slot.position[: len(cash)] = position

    @property
    def marks(self) -> dict[int, int]:
        return dict(enumerate(self.prices))

    def equity(self, row: int) -> tuple[int, bool]:
        """Value a row by itself: its equity, and whether anything is out of range."""
        values = [
            position[row] * price // QUANTITY_ONE
            for position, price in zip(self.positions, self.prices, strict=True)
        ]
        equity = self.cash[row] + sum(values)
        return equity, max(abs(each) for each in [*values, equity]) > MONEY_MAX


@st.composite
def _held(draw: Any) -> tuple[Held, Any]:
    """Draw a book, and some of its rows, as a slice or one by one."""
    count, slots = draw(st.integers(1, 5)), draw(st.integers(0, 3))
    column = st.lists(_quantity, min_size=count, max_size=count)
    held = Held(
        draw(st.lists(_cash, min_size=count, max_size=count)),
        [draw(column) for _ in range(slots)],
        [draw(_price) for _ in range(slots)],
    )
    first = draw(st.integers(0, count - 1))
    rows = slice(first, draw(st.integers(first + 1, count)))
    chosen = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1)))
    return held, draw(st.sampled_from([rows, np.array(chosen, np.int64)]))


@given(st.lists(_held(), min_size=1, max_size=4))
def test_a_rows_equity_is_its_cash_and_every_position_at_its_mark(drawn: list[Any]) -> None:
    pieces = [(held.book, rows) for held, rows in drawn]
    cash = np.concatenate([held.book.subscriptions["cash"][rows] for held, rows in drawn])
    equity, beyond = equity_of(cash, pieces, [held.marks for held, _ in drawn])
    expected = [
        held.equity(row)
        for held, rows in drawn
        for row in np.arange(held.book.count)[rows].tolist()
    ]
    is_beyond = [out for _, out in expected]
    assert (beyond.tolist() if beyond is not None else [False] * len(equity)) == is_beyond
    for found, (exact, out) in zip(equity.tolist(), expected, strict=True):
        assert out or found == exact


def test_more_rows_than_are_valued_at_once_are_worth_the_same() -> None:
    count = ROWS_AT_ONCE // 2 + 1
    held = Held([5] * count, [[QUANTITY_ONE] * count, [-QUANTITY_ONE] * count], [7, 3])
    whole = slice(0, count)
    equity, beyond = equity_of(
        np.full(2 * count, 5), [(held.book, whole)] * 2, [held.marks, {0: 9, 1: 3}]
    )
    assert beyond is None
    assert equity.tolist() == [9] * count + [11] * count


def test_a_position_is_valued_down_to_the_micro_on_both_sides() -> None:
    held = Held([0, 0], [[QUANTITY_ONE // 2, -QUANTITY_ONE // 2]], [1])
    equity, _ = equity_of(np.zeros(2, np.int64), [(held.book, slice(0, 2))], [held.marks])
    assert equity.tolist() == [0, -1]


def test_the_state_is_read_only() -> None:
    held = Held([1, 2], [[3 * QUANTITY_ONE, 0]], [10])
    cash = held.book.subscriptions["cash"]
    equity, _ = equity_of(cash, [(held.book, slice(0, 2))], [held.marks])
    equity += 1
    assert cash.tolist() == [1, 2]
    assert held.book.slots[0].position[:2].tolist() == [3 * QUANTITY_ONE, 0]
