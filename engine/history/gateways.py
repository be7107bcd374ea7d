"""Tables of one broker gateway's journal: orders that never arrived at the broker (revoked), and
orders of which nobody could say whether they did (unresolved).
"""

from typing import NamedTuple

import numpy as np

from engine.history.frames import JournalFrame
from engine.history.gather import Gatherer
from engine.history.storage import Ints, U32s, U64s
from engine.journal.events.gateway import BlocksAnswered, OrdersRevoked, OrdersUnresolved
from engine.values.order_ids import order_lows, order_tails


class Revocations(NamedTuple):
    """Shapes: `subscriptions`, `numbers` and `sections` have one row per order. All else has one
    row per section, which `sections` indexes.

    The gateway reports each as an execution numbered `numbers`; `exec_types` are
    `engine.values.order_status.ExecType`.
    """

    subscriptions: U32s
    numbers: Ints
    sections: U32s
    follower_shards: Ints
    cause_highs: U64s
    legs: Ints
    attempts: Ints
    exec_types: Ints
    transact_times: Ints
    frames: Ints

    @property
    def highs(self) -> U64s:
        """The upper halves of the order ids, one per row."""
        return self.cause_highs[self.sections]

    @property
    def lows(self) -> U64s:
        """The lower halves of the order ids, one per row."""
        tails = order_tails(self.legs, self.attempts)
        return order_lows(self.subscriptions, tails[self.sections])


class Unresolved(NamedTuple):
    """Orders sent to a broker that never answered and cannot be asked. Shapes: one row per
    order.
    """

    follower_shards: Ints
    highs: U64s
    lows: U64s


class GatewayTables:
    """Tables of one gateway, filled frame by frame. `answered_sequence` is that of its ORDERS
    cursor.
    """

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.frames_count = 0
        self.last_number = 0
        self.answered_orders = 0
        self.answered_sequence = 0
        self._rows = Gatherer(7, (np.uint32, np.int64))
        self._unresolved = Gatherer(3, (np.uint32,))

    def add(self, frame: JournalFrame) -> None:
        """Take the next frame."""
        for event in frame.events:
            if isinstance(event, OrdersRevoked):
                self._take(frame, event)
            elif isinstance(event, OrdersUnresolved):
                high, tail = event.key.high(event.follower_shard), event.key.low(0)
                scalars = (event.follower_shard, high, tail)
                self._unresolved.add(scalars, event.subscriptions)
            elif isinstance(event, BlocksAnswered):
                self.answered_orders += event.orders
        for cursor in frame.header.cursors:
            self.answered_sequence = cursor.sequence
        self.frames_count += 1
        self.last_number = frame.header.number

    def _take(self, frame: JournalFrame, event: OrdersRevoked) -> None:
        scalars = (
            event.follower_shard,
            event.key.high(event.follower_shard),
            event.key.leg,
            event.key.attempt,
            event.exec_type,
            event.transact_time,
            frame.header.number,
        )
        last = event.first_number + len(event.subscriptions)
        self._rows.add(
            scalars, event.subscriptions, np.arange(event.first_number, last, dtype=np.int64)
        )

    def revocations(self) -> Revocations:
        """Return the table of every revoked order so far."""
        gathered = self._rows.table()
        shards, highs, *scalars = gathered.scalars
        return Revocations._make(
            (*gathered.columns, gathered.sections, shards, highs.view(np.uint64), *scalars)
        )

    def unresolved(self) -> Unresolved:
        """Return the table of every unresolved order so far."""
        gathered = self._unresolved.table()
        shards, highs, tails = gathered.scalars
        (subscriptions,), sections = gathered.columns, gathered.sections
        lows = order_lows(subscriptions, tails.view(np.uint64)[sections])
        return Unresolved(shards[sections], highs.view(np.uint64)[sections], lows)
