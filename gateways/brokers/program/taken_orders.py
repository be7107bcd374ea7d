"""Orders a program has ever taken: which rows of a block are new, and answers to look-ups."""

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import is_rising
from engine.columns.section_codec import decode_section
from engine.messages.blocks import (
    GatewayEpoch,
    OrdersKnown,
    OrdersLookedUp,
    OrdersSubmitted,
)
from gateways.brokers.ledger.ledger import Readable, record_at
from gateways.brokers.ledger.records import OrdersTaken
from gateways.brokers.ledger.seen import SeenOrders, key_of


class TakenOrders:
    """The ids of all orders taken; the ledger holds them, memory holds spans of them."""

    def __init__(self, ledger: Readable, *, refuses_repeats: bool) -> None:
        self._ledger = ledger
        self._refuses_repeats = refuses_repeats
        self._seen = SeenOrders(self._load_subscriptions)
        self._uncommitted: dict[int, NDArray[np.int64]] = {}
        self.count = 0

    @property
    def spans_count(self) -> int:
        """Number of spans kept. Memory grows with it."""
        return self._seen.spans_count

    def fresh_rows(self, orders: OrdersSubmitted) -> NDArray[np.bool_] | None:
        """Mark the rows to place: those never seen, and the first of equal ones. None when all
        are.
        """
        subscriptions = orders.subscriptions
        if not len(subscriptions):
            return None
        if is_rising(subscriptions):
            repeated = self._repeated(orders, subscriptions)
            return None if repeated is None else ~repeated
        first_of_equal = np.concatenate(([True], subscriptions[1:] != subscriptions[:-1]))
        repeated = self._repeated(orders, subscriptions[first_of_equal])
        if repeated is None:
            return first_of_equal
        fresh = np.zeros(len(subscriptions), np.bool_)
        fresh[np.flatnonzero(first_of_equal)[~repeated]] = True
        return fresh

    def add(self, taken: OrdersTaken, offset: int) -> None:
        """Remember orders whose record will stand at an offset of the ledger."""
        self._uncommitted[offset] = taken.subscriptions
        self.replay(taken, offset)

    def replay(self, taken: OrdersTaken, offset: int) -> None:
        """Remember orders whose record stands at an offset of the ledger."""
        self._seen.add(key_of(taken), taken.subscriptions, offset)
        self.count += len(taken.subscriptions)

    def committed(self) -> None:
        """Note that the ledger holds every record added."""
        self._uncommitted.clear()

    def look_up(self, asked: OrdersLookedUp) -> OrdersKnown:
        """Return which of some orders were ever taken."""
        known = asked.subscriptions[:0]
        if len(asked.subscriptions):
            marks = self._seen.repeated(key_of(asked), asked.subscriptions)
            known = asked.subscriptions[marks] if marks is not None else known
        return OrdersKnown(
            asked.follower_shard,
            asked.key,
            np.ascontiguousarray(known),
        )

    def _repeated(
        self, orders: OrdersSubmitted, distinct: NDArray[np.int64]
    ) -> NDArray[np.bool_] | None:
        """Mark the ids that are not placed again, None when there are none."""
        return self._seen.repeated(key_of(orders), distinct) if self._refuses_repeats else None

    def _load_subscriptions(self, offset: int) -> NDArray[np.int64]:
        waiting = self._uncommitted.get(offset)
        if waiting is not None:
            return waiting
        return decode_section(OrdersTaken, record_at(self._ledger, offset).body).subscriptions


def taken_of(
    orders: OrdersSubmitted, header: GatewayEpoch, now_ns: int, rows: NDArray[np.bool_] | None
) -> OrdersTaken:
    """Make the record of the orders in some rows, of all when `rows` is None."""
    columns = (orders.subscriptions, orders.accounts, orders.quantities)
    if rows is not None:
        columns = (columns[0][rows], columns[1][rows], columns[2][rows])
    return OrdersTaken(
        orders.follower_shard,
        orders.frame,
        orders.key,
        orders.symbol,
        orders.side,
        orders.price,
        orders.limit_price,
        orders.expire_time,
        header.epoch,
        header.event_time,
        now_ns,
        *columns,
    )
