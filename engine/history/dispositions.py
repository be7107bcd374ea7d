"""Dispositions of one follower shard: the outcome of each signal for each subscription in the
creator's book.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.history.frames import JournalFrame
from engine.history.gather import Gathered, Gatherer
from engine.history.marks import marks_digest
from engine.history.storage import Ints, U32s
from engine.journal.events.orders import SignalDecided


class Dispositions(NamedTuple):
    """Shapes: `subscriptions`, `codes`, `is_ordered` and `sections` have one row per row of a book,
    inactive ones (code 0) included. All else has one row per part, which `sections` indexes.

    `codes` are `engine.values.dispositions.Disposition`. `is_ordered` tells whether an order was
    placed with the disposition. `mark_digests` are of the marks that the part was decided at
    (`engine.history.marks`).
    """

    shard: int
    subscriptions: U32s
    codes: NDArray[np.uint8]
    is_ordered: NDArray[np.bool_]
    sections: U32s
    counts: Ints
    creator_shards: Ints
    signals: Ints
    legs: Ints
    creators: Ints
    instruments: Ints
    first_rows: Ints
    is_last_parts: Ints
    frames: Ints
    sequences: Ints
    event_times: Ints
    mark_digests: Ints


class DispositionsGatherer:
    """Makes `Dispositions` of one follower shard's events, all at once or batch by batch."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._rows = Gatherer(11, (np.uint32, np.uint8, np.bool_))

    @property
    def count(self) -> int:
        """The number of rows gathered."""
        return self._rows.rows_count

    def add(self, frame: JournalFrame, event: SignalDecided) -> None:
        """Take one part of a signal."""
        scalars = (
            event.creator_shard,
            event.signal,
            event.leg,
            event.creator,
            event.instrument,
            event.first_row,
            event.is_last_part,
            frame.header.number,
            frame.sequence,
            frame.header.event_time_ns,
            marks_digest(event),
        )
        self._rows.add(scalars, event.subscriptions, event.dispositions, event.units != 0)

    def table(self) -> Dispositions:
        """Return the table of everything gathered."""
        return self._table(self._rows.table())

    def take(self) -> Dispositions:
        """Return the table of everything gathered, and forget it."""
        return self._table(self._rows.take())

    def _table(self, gathered: Gathered) -> Dispositions:
        return Dispositions._make(
            (self._shard, *gathered.columns, gathered.sections, gathered.counts, *gathered.scalars)
        )
