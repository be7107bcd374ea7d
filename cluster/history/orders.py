"""Orders and cancels of one follower shard as its journal placed them."""

from typing import NamedTuple

import numpy as np

from cluster.history.gather import Gathered, Gatherer, Ints, U32s, U64s
from cluster.history.reader import JournalFrame
from cluster.history.spill import IN_MEMORY, Spill
from engine.journal.events.orders import CancelsRequested, OrdersPlaced, SignalDecided
from engine.values.order_ids import CauseKind, cause_high


class Orders(NamedTuple):
    """Shapes: `subscriptions`, `quantities` and `sections` one row an order, in the journal's
    order; all else one row a section, `sections` indexing it. Units: quantities 1e-8, prices
    micros, times ns.

    `attempts` and `legs` stand with `cause_highs` for everything of the order ids but the
    subscription. `frames` are frame numbers, `sequences` stream sequences.
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
        """How many orders there are."""
        return len(self.subscriptions)

    @property
    def tails(self) -> U64s:
        """Leg and attempt as they stand in the lower halves, one a section."""
        return (self.legs << 20 | self.attempts).view(np.uint64)

    def ids(self, rows: Ints) -> tuple[U64s, U64s]:
        """Name both halves of some rows' order ids."""
        sections = self.sections[rows]
        tails = (self.legs[sections] << 20 | self.attempts[sections]).view(np.uint64)
        return self.cause_highs[sections], self.subscriptions[rows].astype(np.uint64) << np.uint64(
            32
        ) | tails


class Cancels(NamedTuple):
    """Cancels asked for. Shapes: one row a cancel; order ids as two halves."""

    shard: int
    highs: U64s
    lows: U64s
    frames: Ints


_SCALARS = 16


class OrdersGatherer:
    """Makes `Orders` of one follower shard's events."""

    def __init__(self, shard: int, spill: Spill = IN_MEMORY) -> None:
        self._shard = shard
        self._rows = Gatherer(_SCALARS, (np.uint32, np.int64), spill)

    @property
    def count(self) -> int:
        """How many orders are gathered."""
        return self._rows.rows_count

    def add_signal(self, frame: JournalFrame, event: SignalDecided) -> None:
        """Take the first attempts that a signal caused."""
        chosen = np.flatnonzero(event.units)
        if len(chosen):
            high = cause_high(self._shard, CauseKind.SIGNAL, event.creator_shard, event.signal)
            quantities = event.units[chosen] * event.unit
            self._add(frame, event, high, event.leg, 0, event.subscriptions[chosen], quantities)

    def add_placed(self, frame: JournalFrame, event: OrdersPlaced) -> None:
        """Take the orders of any other cause or attempt."""
        chosen = np.flatnonzero(event.quantities)
        if len(chosen):
            high = cause_high(
                self._shard, event.cause_kind, event.cause_creator_shard, event.cause_number
            )
            subscriptions, quantities = event.subscriptions[chosen], event.quantities[chosen]
            self._add(frame, event, high, event.leg, event.attempt, subscriptions, quantities)

    def _add(
        self,
        frame: JournalFrame,
        event: SignalDecided | OrdersPlaced,
        high: int,
        leg: int,
        attempt: int,
        subscriptions: Ints,
        quantities: Ints,
    ) -> None:
        header = frame.header
        scalars = (
            high,
            leg,
            attempt,
            event.creator_shard,
            event.creator,
            event.instrument,
            event.side,
            event.price,
            event.limit_price,
            event.expire_time,
            event.fee_rate,
            event.is_exit,
            event.transact_time,
            header.number,
            frame.sequence,
            header.event_time_ns,
        )
        self._rows.add(scalars, subscriptions, quantities)

    def table(self) -> Orders:
        """Make the table of everything gathered."""
        return self._table(self._rows.table())

    def take(self) -> Orders:
        """Make the table of everything gathered, and forget it."""
        return self._table(self._rows.take())

    def _table(self, gathered: Gathered) -> Orders:
        highs, *scalars = gathered.scalars
        return Orders._make(
            (self._shard, *gathered.columns, gathered.sections, highs.view(np.uint64), *scalars)
        )


class CancelsGatherer:
    """Makes `Cancels` of one follower shard's events."""

    def __init__(self, shard: int, spill: Spill = IN_MEMORY) -> None:
        self._shard = shard
        self._rows = Gatherer(1, (np.uint64, np.uint64), spill)

    def add(self, frame: JournalFrame, event: CancelsRequested) -> None:
        """Take the cancels of one event."""
        highs = np.uint64(self._shard << 50) | (
            event.cause_kinds << 48 | event.creator_shards << 36 | event.cause_numbers
        ).view(np.uint64)
        lows = (event.subscriptions << 32 | event.legs << 20 | event.attempts).view(np.uint64)
        self._rows.add((frame.header.number,), highs, lows)

    def table(self) -> Cancels:
        """Make the table of everything gathered."""
        gathered = self._rows.table()
        highs, lows = gathered.columns
        return Cancels(self._shard, highs, lows, gathered.scalars[0][gathered.sections])
