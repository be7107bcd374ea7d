"""Order groups: the orders of one key in one book, as columns.

A group holds the orders that one decision placed for some rows of a book. All of them share the
key and the terms. Executions are applied to groups in `engine.follower.apply.trades`.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import Int64s, Operand, fee_ceil, notional_ceil
from engine.columns.reductions import is_same
from engine.columns.table import as_slice
from engine.follower.book import Book
from engine.follower.slot import Slot
from engine.values.order_ids import OrderKey
from engine.values.order_terms import OrderTerms

MERGED_ROWS_MAX = 4096
"""A group with more orders is not merged with a newer one."""
_OPEN = np.ones(1 << 12, np.bool_)


@dataclass(slots=True)
class OrderGroup:
    """The orders of one key and their terms. Shapes: `rows` ascend; one order a row. Units:
    quantities 1e-8 unsigned.
    """

    key: OrderKey
    book: Book
    slot: Slot
    terms: OrderTerms
    rows: NDArray[np.int64]
    quantity: Int64s
    filled: Int64s
    is_open: NDArray[np.bool_]
    is_cancelling: NDArray[np.bool_]
    last_attempts: dict[int, int] = field(default_factory=dict)
    """The last attempt placed for the cause, by row, where that is a later one than the group's. A
    correction has then reopened one of the two.
    """
    span: slice | NDArray[np.int64] = field(init=False)
    """The rows, as a slice where they follow one another."""

    def __post_init__(self) -> None:
        self.span = as_slice(self.rows)

    @classmethod
    def of_new_orders(
        cls,
        key: OrderKey,
        book: Book,
        slot: Slot,
        terms: OrderTerms,
        rows: NDArray[np.int64],
        quantity: Int64s,
    ) -> "OrderGroup":
        """Return the group of orders that were just placed: all open, nothing filled."""
        count = len(rows)
        return cls(
            key,
            book,
            slot,
            terms,
            rows,
            quantity,
            np.zeros(count, np.int64),
            _OPEN[:count].copy() if count <= len(_OPEN) else np.ones(count, np.bool_),
            np.zeros(count, np.bool_),
        )

    @classmethod
    def of_closed_orders(
        cls,
        key: OrderKey,
        book: Book,
        slot: Slot,
        terms: OrderTerms,
        rows: NDArray[np.int64],
        filled: Int64s,
    ) -> "OrderGroup":
        """Return a group of orders of which nothing is open."""
        count = len(rows)
        return cls(
            key,
            book,
            slot,
            terms,
            rows,
            quantity=filled.copy(),
            filled=filled.copy(),
            is_open=np.zeros(count, np.bool_),
            is_cancelling=np.zeros(count, np.bool_),
        )

    @property
    def subscriptions(self) -> NDArray[np.integer]:
        """The subscriptions of the orders, row by row."""
        return self.book.subscriptions["subscription"][self.span]

    def find(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Find rows of the book in the group. Returns: their positions in the group, and which of
        them are there at all.
        """
        count = len(self.rows)
        if len(rows) == count and is_same(rows, self.rows):
            return np.arange(count), np.ones(count, np.bool_)
        if not len(rows) or int(rows.max()) < self.rows[0] or int(rows.min()) > self.rows[-1]:
            return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
        if int(self.rows[-1] - self.rows[0]) == count - 1:
            at = rows - self.rows[0]
            there = (at >= 0) & (at < count)
            at[~there] = 0
            return at, there
        at = np.searchsorted(self.rows, rows)
        at[at == count] = 0
        return at, self.rows[at] == rows

    def open_rows(self, rows: NDArray[np.int64]) -> list[int]:
        """Return those of some rows of the book that have an open order in the group."""
        at, there = self.find(rows)
        at = at[there]
        found: list[int] = self.rows[at[self.is_open[at]]].tolist()
        return found

    def reservation(self, leaves: Int64s) -> Int64s:
        """Return the cash that the orders reserve for quantities still open."""
        return reservation(leaves, *reserved_at(self.terms))


def reserved_at(terms: OrderTerms) -> tuple[int, int]:
    """Return the price and the fee rate at which orders reserve cash: a buy its limit and fee, the
    opening of a short its price, an exit nothing.
    """
    if terms.is_exit:
        return 0, 0
    return (terms.price, 0) if terms.side < 0 else (terms.limit_price, terms.fee_rate)


def reservation(leaves: Int64s, price: Operand, fee_rate: Operand) -> Int64s:
    """Return the cash reserved for quantities still open. Rounds: notional and fee up."""
    if isinstance(price, int) and price == 0:
        return np.zeros(len(leaves), np.int64)
    notional = notional_ceil(leaves, price)
    if isinstance(fee_rate, int) and fee_rate == 0:
        return notional
    return notional + fee_ceil(notional, fee_rate)


def count_as_open(group: OrderGroup) -> None:
    """Count the quantities of new orders as open, and reserve their cash."""
    group.slot.open[group.span] += group.quantity if group.terms.side > 0 else -group.quantity
    if not group.terms.is_exit:
        group.book.subscriptions["reserved"][group.span] += group.reservation(group.quantity)


def can_merge(earlier: OrderGroup, later: OrderGroup) -> bool:
    """Return whether two groups can become one: all alike but for rows and expiry, and the earlier
    one small enough.
    """
    if len(earlier.rows) > min(2 * len(later.rows), MERGED_ROWS_MAX):
        return False
    terms = earlier.terms._replace(expire_time=later.terms.expire_time)
    return (
        terms == later.terms
        and earlier.key == later.key
        and earlier.book is later.book
        and earlier.slot is later.slot
        and earlier.last_attempts == later.last_attempts
    )


def merged(earlier: OrderGroup, later: OrderGroup) -> OrderGroup:
    """Return one group of the open orders of two. It has the later expiry: only the broker acts on
    it.
    """
    columns = {
        name: np.concatenate((getattr(earlier, name), getattr(later, name)))
        for name in _columns_of(earlier)
    }
    order = np.argsort(columns["rows"], kind="stable")
    order = order[columns["is_open"][order]]
    chosen: dict[str, Any] = {name: column[order] for name, column in columns.items()}
    expire_time = max(earlier.terms.expire_time, later.terms.expire_time)
    return replace(later, terms=later.terms._replace(expire_time=expire_time), **chosen)


def _columns_of(group: OrderGroup) -> list[str]:
    return [
        each.name
        for each in fields(group)
        if each.init and isinstance(getattr(group, each.name), np.ndarray)
    ]
