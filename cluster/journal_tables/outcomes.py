"""Finding orders by id without a set of ids, and what became of each: status, filled quantity, average price, cash and fees.

An order id's cause, leg and attempt stand once in a section; numbered densely and joined with the subscription they make one sortable
64-bit key an order.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster.journal_tables.corrected_outcomes import OrderStory, status_of, stories
from cluster.journal_tables.corrections import Correction
from cluster.journal_tables.exact import notionals
from cluster.journal_tables.executions import Executions
from cluster.journal_tables.gather import Ints, U32s, U64s
from cluster.journal_tables.orders import Cancels, Orders
from engine.order_state import ExecType, OrdStatus

_ONE = 100_000_000
_SMALL = 1 << 35
"""Notionals (micros) whose products with 10**8 surely fit 64 bits, the remainders of all executions included."""
_SUBSCRIPTION_BITS = np.uint64(32)
_TAIL_MASK = np.uint64(0xFFFFFFFF)
ENDED = {
    ExecType.CANCELED: OrdStatus.CANCELED,
    ExecType.REJECTED: OrdStatus.REJECTED,
    ExecType.EXPIRED: OrdStatus.EXPIRED,
}


def sorted_order(keys: U64s | Ints) -> Ints:
    """Say in which order keys ascend, equal ones as they come. Cost: one pass where they already do."""
    if len(keys) < 2 or bool((keys[1:] >= keys[:-1]).all()):
        return np.arange(len(keys))
    return np.argsort(keys, kind="stable")


def positions(have: U64s | Ints, wanted: U64s | Ints) -> Ints:
    """Find values in an ascending column that is not empty. Returns: where each stands if it is there, else anywhere inside.

    Cost: one comparison a value where the same run of values is asked for, else a binary search each.
    """
    if len(wanted):
        first = int(np.searchsorted(have, wanted[0]))
        if np.array_equal(have[first : first + len(wanted)], wanted):
            return np.arange(first, first + len(wanted))
    at = np.searchsorted(have, wanted)
    at[at == len(have)] = 0
    return at


class CauseIndex:
    """Numbers (upper half, leg and attempt) pairs densely, in order."""

    def __init__(self, highs: U64s, tails: U64s) -> None:
        self._highs = np.unique(highs)
        self._pairs = np.unique(self._pair(highs, tails))

    def _pair(self, highs: U64s, tails: U64s) -> U64s:
        at: U64s = np.searchsorted(self._highs, highs).astype(np.uint64)
        return at << np.uint64(32) | tails

    def find(self, highs: U64s, tails: U64s) -> Ints:
        """Name the numbers of pairs, -1 for one that is not there."""
        if not len(self._highs):
            return np.full(len(highs), -1, np.int64)
        at = np.searchsorted(self._highs, highs)
        at[at == len(self._highs)] = 0
        is_known = self._highs[at] == highs
        pairs = at.astype(np.uint64) << np.uint64(32) | tails
        found = np.searchsorted(self._pairs, pairs)
        found[found == len(self._pairs)] = 0
        is_known &= self._pairs[found] == pairs
        numbers: Ints = np.where(is_known, found, -1)
        return numbers


class OrderIndex:
    """The orders of one follower shard by id. Shapes: `keys` ascend, `rows` are the orders' rows. Cost: 16 B an order."""

    def __init__(self, orders: Orders) -> None:
        self.causes = CauseIndex(orders.cause_highs, orders.tails)
        causes = self.causes.find(orders.cause_highs, orders.tails).astype(np.uint64)
        keys = causes[orders.sections] << _SUBSCRIPTION_BITS | orders.subscriptions
        self.rows = sorted_order(keys)
        self.keys: U64s = keys[self.rows]

    def repeated(self) -> Ints:
        """Name the rows whose order id stands in an earlier row too."""
        again: Ints = self.rows[1:][self.keys[1:] == self.keys[:-1]]
        return again

    def find_sections(self, cause_highs: U64s, tails: U64s, sections: U32s, subscriptions: U32s) -> Ints:
        """Find orders whose cause, leg and attempt stand in sections. Returns: rows, -1 where there is no such order."""
        causes = self.causes.find(cause_highs, tails)[sections]
        return self._rows_of(causes, subscriptions)

    def find(self, highs: U64s, lows: U64s) -> Ints:
        """Find orders by the two halves of their ids. Returns: rows, -1 where there is no such order."""
        if not len(highs):
            return np.zeros(0, np.int64)
        tails = lows & _TAIL_MASK
        # Orders of one cause stand together: each run is looked up once.
        changes = np.flatnonzero((highs[1:] != highs[:-1]) | (tails[1:] != tails[:-1])) + 1
        starts = np.concatenate((np.zeros(1, np.int64), changes))
        causes = np.repeat(self.causes.find(highs[starts], tails[starts]), np.diff(starts, append=len(highs)))
        return self._rows_of(causes, (lows >> _SUBSCRIPTION_BITS).astype(np.uint32))

    def _rows_of(self, causes: Ints, subscriptions: U32s) -> Ints:
        if not len(self.keys):
            return np.full(len(causes), -1, np.int64)
        keys = causes.astype(np.uint64) << _SUBSCRIPTION_BITS | subscriptions
        at = positions(self.keys, keys)
        is_there = (self.keys[at] == keys) & (causes >= 0)
        rows: Ints = np.where(is_there, self.rows[at], -1)
        return rows


class Outcomes(NamedTuple):
    """Shapes: one row an order, but `order_rows`, which says for each execution its order's row (-1: no such order).

    `filled` and `leaves` in 1e-8; `leaves` is 0 once an order has ended. `cash` is what the fills moved in the subscription, without
    fees: buys rounded up and negative, sells rounded down. `average_prices` in micros, rounded down, 0 without a fill. `status` are FIX
    OrdStatus. Trades cancelled or corrected count as they are now.
    """

    order_rows: Ints
    status: NDArray[np.uint8]
    filled: Ints
    leaves: Ints
    cash: Ints
    fees: Ints
    average_prices: Ints
    executions_counts: Ints


def rows_of_corrections(index: OrderIndex, corrections: Sequence[Correction]) -> list[int]:
    """Find the orders of corrections. Returns: rows, -1 where there is no such order."""
    highs = np.array([each.high for each in corrections], np.uint64)
    rows: list[int] = index.find(highs, np.array([each.low for each in corrections], np.uint64)).tolist()
    return rows


def order_outcomes(
    orders: Orders,
    index: OrderIndex,
    executions: Executions,
    cancels: Cancels | None = None,
    corrections: Sequence[Correction] = (),
) -> Outcomes:
    """Say what became of every order. Raises: OverflowError when an amount does not fit 64 bits."""
    outcomes = _of_executions(orders, index, executions, cancels)
    if corrections:
        rows = rows_of_corrections(index, corrections)
        pairs = [(row, each) for row, each in zip(rows, corrections, strict=True) if row >= 0]
        for row, story in stories(outcomes.order_rows, orders.quantities, executions, pairs).items():
            _correct(outcomes, orders, row, story)
    return outcomes


def _correct(outcomes: Outcomes, orders: Orders, row: int, story: OrderStory) -> None:
    is_cancelling = outcomes.status[row] == OrdStatus.PENDING_CANCEL
    outcomes.status[row] = status_of(story, int(orders.quantities[row]), is_cancelling=bool(is_cancelling))
    outcomes.filled[row], outcomes.leaves[row] = story.filled, story.leaves
    outcomes.cash[row] = story.cash(int(orders.sides[orders.sections[row]]))
    outcomes.fees[row], outcomes.average_prices[row] = story.fees, story.average_price
    outcomes.executions_counts[row] = len(story.trades)


def _of_executions(
    orders: Orders, index: OrderIndex, executions: Executions, cancels: Cancels | None
) -> Outcomes:
    e, count = executions, orders.rows_count
    rows = index.find_sections(e.cause_highs, e.tails, e.sections, e.subscriptions)
    is_trade = (e.exec_types == ExecType.TRADE) & (rows >= 0)
    at, quantities, prices, fees = rows, e.quantities, e.prices, e.fees
    if not is_trade.all():
        at, quantities, prices, fees = (column[is_trade] for column in (at, quantities, prices, fees))
    filled, floors, rests, cash, paid, times = (np.zeros(count, np.int64) for _ in range(6))
    values = notionals(quantities, prices)
    is_buy = (orders.sides > 0)[orders.sections[at]]
    np.add.at(filled, at, quantities)
    np.add.at(floors, at, values.floors)
    np.add.at(rests, at, values.rests)
    np.add.at(cash, at, np.where(is_buy, -values.ceils, values.floors))
    np.add.at(paid, at, fees)
    np.add.at(times, at, 1)
    last_price = np.zeros(count, np.int64)
    last_price[at] = prices
    average = _average(filled, floors, rests, last_price, times)
    status = _status(orders, index, e, rows, filled, cancels)
    is_open = np.isin(status, (OrdStatus.PENDING_NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.PENDING_CANCEL))
    leaves = np.where(is_open, orders.quantities - filled, 0)
    return Outcomes(rows, status, filled, leaves, cash, paid, average, times)


def _average(filled: Ints, floors: Ints, rests: Ints, last_price: Ints, times: Ints) -> Ints:
    average = last_price
    several = times > 1
    small = several & (floors < _SMALL)
    average[small] = (floors[small] * _ONE + rests[small]) // np.maximum(filled[small], 1)
    # (floors * 1e8 + rests) / filled has no 64-bit form for large amounts, so one exact division each.
    for row in np.flatnonzero(several & ~small).tolist():
        average[row] = (int(floors[row]) * _ONE + int(rests[row])) // max(int(filled[row]), 1)
    return average


def _status(
    orders: Orders,
    index: OrderIndex,
    executions: Executions,
    rows: Ints,
    filled: Ints,
    cancels: Cancels | None,
) -> NDArray[np.uint8]:
    status = np.full(orders.rows_count, OrdStatus.PENDING_NEW, np.uint8)
    status[filled > 0] = OrdStatus.PARTIALLY_FILLED
    if cancels is not None and len(cancels.highs):
        asked = index.find(cancels.highs, cancels.lows)
        status[asked[asked >= 0]] = OrdStatus.PENDING_CANCEL
    for exec_type, end in ENDED.items():
        ended = rows[(executions.exec_types == exec_type) & (rows >= 0)]
        status[ended] = end
    status[(filled >= orders.quantities) & (orders.quantities > 0)] = OrdStatus.FILLED
    return status
