"""Executions that one follower shard applied."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cluster.history.gather import Gathered, Gatherer, Ints, Names, U32s, U64s
from cluster.history.reader import JournalFrame
from cluster.history.spill import IN_MEMORY, Spill
from engine.journal.events.orders import ExecutionsApplied
from engine.values.order_ids import cause_high


class Executions(NamedTuple):
    """Shapes: `subscriptions` to `sections` one row an execution, in the order they were applied;
    all else one row a section, `sections` indexing it; `broker_of` and `prefix_of` index the texts.
    Units: quantities 1e-8, prices and fees micros, times ns.

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
        """How many executions there are."""
        return len(self.subscriptions)

    @property
    def tails(self) -> U64s:
        """Leg and attempt as they stand in the lower halves, one a section."""
        return (self.legs << 20 | self.attempts).view(np.uint64)

    def tails_of(self, sections: U32s) -> U64s:
        """Name leg and attempt of some sections."""
        return (self.legs[sections] << 20 | self.attempts[sections]).view(np.uint64)

    def ids(self, rows: Ints) -> tuple[U64s, U64s]:
        """Name both halves of some rows' order ids."""
        sections = self.sections[rows]
        lows = self.subscriptions[rows].astype(np.uint64) << np.uint64(32) | self.tails_of(sections)
        return self.cause_highs[sections], lows

    def exec_id(self, row: int) -> str:
        """Name an execution."""
        prefix, number = self.prefixes[self.prefix_of[self.sections[row]]], int(self.numbers[row])
        return prefix if number < 0 else f"{prefix}{number}"


class ExecutionsGatherer:
    """Makes `Executions` of one follower shard's events."""

    def __init__(self, shard: int, spill: Spill = IN_MEMORY) -> None:
        self._shard = shard
        self._brokers, self._prefixes = Names(), Names()
        self._rows = Gatherer(
            9, (np.uint32, np.int64, np.uint8, np.int64, np.int64, np.int64), spill
        )

    @property
    def count(self) -> int:
        """How many executions are gathered."""
        return self._rows.rows_count

    def add(self, frame: JournalFrame, event: ExecutionsApplied) -> None:
        """Take the executions of one event."""
        scalars = (
            cause_high(self._shard, event.cause_kind, event.creator_shard, event.cause_number),
            event.leg,
            event.attempt,
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
        """Make the table of everything gathered."""
        return self._table(self._rows.table())

    def take(self) -> Executions:
        """Make the table of everything gathered, and forget it."""
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
