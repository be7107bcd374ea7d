"""Executions that one follower shard applied."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.history.frames import JournalFrame
from engine.history.gather import Gathered, Gatherer, Names
from engine.history.storage import IN_MEMORY, ColumnStorage, Ints, U32s, U64s
from engine.journal.events.orders import ExecutionsApplied
from engine.messages.blocks import exec_id_of
from engine.values.order_ids import order_lows, order_tails


class Executions(NamedTuple):
    """Shapes: `subscriptions` to `sections` have one row per execution, in the order they were
    applied. All else has one row per section, which `sections` indexes. `broker_of` and `prefix_of`
    index the texts. Units: quantities 1e-8, prices and fees micros, times ns.

    An execution's id is its prefix and decimal number, or the prefix alone where the number is -1.
    """

    shard: int
    subscriptions: U32s
    numbers: Ints
    exec_types: NDArray[np.uint8]
    quantities: Ints
    prices: Ints
    fees: Ints
    sections: U32s
    cause_highs: U64s
    legs: Ints
    attempts: Ints
    broker_of: Ints
    prefix_of: Ints
    transact_times: Ints
    frames: Ints
    sequences: Ints
    event_times: Ints
    brokers: list[str]
    prefixes: list[str]

    @property
    def rows_count(self) -> int:
        """The number of executions."""
        return len(self.subscriptions)

    @property
    def tails(self) -> U64s:
        """Leg and attempt as the lower halves of order ids hold them, one per section."""
        return order_tails(self.legs, self.attempts)

    def tails_of(self, sections: U32s) -> U64s:
        """Return leg and attempt of some sections."""
        return order_tails(self.legs[sections], self.attempts[sections])

    def ids(self, rows: Ints) -> tuple[U64s, U64s]:
        """Return both halves of the order ids of some rows."""
        sections = self.sections[rows]
        lows = order_lows(self.subscriptions[rows], self.tails_of(sections))
        return self.cause_highs[sections], lows

    def exec_id(self, row: int) -> str:
        """Return an execution's id."""
        return exec_id_of(self.prefixes[self.prefix_of[self.sections[row]]], int(self.numbers[row]))


class ExecutionsGatherer:
    """Makes `Executions` of one follower shard's events."""

    def __init__(self, shard: int, storage: ColumnStorage = IN_MEMORY) -> None:
        self._shard = shard
        self._brokers, self._prefixes = Names(), Names()
        self._rows = Gatherer(
            9, (np.uint32, np.int64, np.uint8, np.int64, np.int64, np.int64), storage
        )

    @property
    def count(self) -> int:
        """The number of executions gathered."""
        return self._rows.rows_count

    def add(self, frame: JournalFrame, event: ExecutionsApplied) -> None:
        """Take the executions of one event."""
        scalars = (
            event.key.high(self._shard),
            event.key.leg,
            event.key.attempt,
            self._brokers.number(event.broker),
            self._prefixes.number(event.prefix),
            event.transact_time,
            frame.header.number,
            frame.sequence,
            frame.header.event_time_ns,
        )
        self._rows.add(
            scalars,
            event.subscriptions,
            event.numbers,
            event.exec_types,
            event.quantities,
            event.prices,
            event.fees,
        )

    def table(self) -> Executions:
        """Return the table of everything gathered."""
        return self._table(self._rows.table())

    def take(self) -> Executions:
        """Return the table of everything gathered, and forget it."""
        return self._table(self._rows.take())

    def _table(self, gathered: Gathered) -> Executions:
        highs, *scalars = gathered.scalars
        return Executions._make(
            (
                self._shard,
                *gathered.columns,
                gathered.sections,
                highs.view(np.uint64),
                *scalars,
                list(self._brokers.texts),
                list(self._prefixes.texts),
            )
        )
