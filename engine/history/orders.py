"""Orders and cancels of one follower shard as its journal placed them."""

from typing import NamedTuple

import numpy as np

from engine.history.frames import JournalFrame
from engine.history.gather import Gathered, Gatherer
from engine.history.storage import IN_MEMORY, ColumnStorage, Ints, U32s, U64s
from engine.journal.events.orders import CancelsRequested, OrdersPlaced, SignalDecided
from engine.values.order_ids import order_lows, order_tails


class Orders(NamedTuple):
    """Shapes: `subscriptions`, `quantities` and `sections` have one row per order, in the journal's
    order. All else has one row per section, which `sections` indexes. Units: quantities 1e-8,
    prices micros, times ns.

    `cause_highs`, `legs` and `attempts` are everything of an order id but the subscription.
    `frames` are frame numbers, `sequences` stream sequences.
    """

    shard: int
    subscriptions: U32s
    quantities: Ints
    sections: U32s
    cause_highs: U64s
    legs: Ints
    attempts: Ints
    creator_shards: Ints
    creators: Ints
    instruments: Ints
    sides: Ints
    prices: Ints
    limit_prices: Ints
    expire_times: Ints
    fee_rates: Ints
    is_exits: Ints
    transact_times: Ints
    frames: Ints
    sequences: Ints
    event_times: Ints

    @property
    def rows_count(self) -> int:
        """The number of orders."""
        return len(self.subscriptions)

    @property
    def tails(self) -> U64s:
        """Leg and attempt as the lower halves of order ids hold them, one per section."""
        return order_tails(self.legs, self.attempts)

    def ids(self, rows: Ints) -> tuple[U64s, U64s]:
        """Return both halves of the order ids of some rows."""
        sections = self.sections[rows]
        tails = order_tails(self.legs[sections], self.attempts[sections])
        return self.cause_highs[sections], order_lows(self.subscriptions[rows], tails)


class Cancels(NamedTuple):
    """Cancels asked for. Shapes: one row per cancel; order ids as two halves."""

    shard: int
    highs: U64s
    lows: U64s
    frames: Ints


_SCALARS = 16


class OrdersGatherer:
    """Makes `Orders` of one follower shard's events."""

    def __init__(self, shard: int, storage: ColumnStorage = IN_MEMORY) -> None:
        self._shard = shard
        self._rows = Gatherer(_SCALARS, (np.uint32, np.int64), storage)

    @property
    def count(self) -> int:
        """The number of orders gathered."""
        return self._rows.rows_count

    def add_signal(self, frame: JournalFrame, event: SignalDecided) -> None:
        """Take the first attempts that a signal caused."""
        chosen = np.flatnonzero(event.units)
        if len(chosen):
            quantities = event.units[chosen] * event.unit
            self._add(frame, event, event.subscriptions[chosen], quantities)

    def add_placed(self, frame: JournalFrame, event: OrdersPlaced) -> None:
        """Take the orders of any other cause or attempt."""
        chosen = np.flatnonzero(event.quantities)
        if len(chosen):
            self._add(frame, event, event.subscriptions[chosen], event.quantities[chosen])

    def _add(
        self,
        frame: JournalFrame,
        event: SignalDecided | OrdersPlaced,
        subscriptions: Ints,
        quantities: Ints,
    ) -> None:
        header, key, terms = frame.header, event.key, event.terms
        scalars = (
            key.high(self._shard),
            key.leg,
            key.attempt,
            event.creator_shard,
            event.creator,
            event.instrument,
            terms.side,
            terms.price,
            terms.limit_price,
            terms.expire_time,
            terms.fee_rate,
            terms.is_exit,
            terms.transact_time,
            header.number,
            frame.sequence,
            header.event_time_ns,
        )
        self._rows.add(scalars, subscriptions, quantities)

    def table(self) -> Orders:
        """Return the table of everything gathered."""
        return self._table(self._rows.table())

    def take(self) -> Orders:
        """Return the table of everything gathered, and forget it."""
        return self._table(self._rows.take())

    def _table(self, gathered: Gathered) -> Orders:
        highs, *scalars = gathered.scalars
        return Orders._make(
            (self._shard, *gathered.columns, gathered.sections, highs.view(np.uint64), *scalars)
        )


class CancelsGatherer:
    """Makes `Cancels` of one follower shard's events."""

    def __init__(self, shard: int, storage: ColumnStorage = IN_MEMORY) -> None:
        self._shard = shard
        self._rows = Gatherer(1, (np.uint64, np.uint64), storage)

    def add(self, frame: JournalFrame, event: CancelsRequested) -> None:
        """Take the cancels of one event."""
        highs = np.uint64(self._shard << 50) | (
            event.cause_kinds << 48 | event.creator_shards << 36 | event.cause_numbers
        ).view(np.uint64)
        lows = (event.subscriptions << 32 | event.legs << 20 | event.attempts).view(np.uint64)
        self._rows.add((frame.header.number,), highs, lows)

    def table(self) -> Cancels:
        """Return the table of everything gathered."""
        gathered = self._rows.table()
        highs, lows = gathered.columns
        return Cancels(self._shard, highs, lows, gathered.scalars[0][gathered.sections])
