"""Tables of one creator shard's journal: creators, instruments and fills; and the shard's state
after its last frame.
"""

import sys
from array import array
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from engine.creator.shard import CreatorShard
from engine.follower.sizing.legs import legs_of
from engine.history.frames import JournalFrame
from engine.history.marks import marks_digest
from engine.history.storage import Ints
from engine.journal.cursors import Cursor, Source
from engine.journal.events.creator import (
    CreatorsOpened,
    FillApplied,
    FillCorrected,
    InstrumentsListed,
)
from engine.journal.events.shard import InputQuarantined, InputsRefused
from engine.values.instruments import InstrumentTerms


class Fills(NamedTuple):
    """Shapes: one row per fill, in the order they were applied. Units: quantities and positions
    1e-8, money and prices micros, times ns.

    `legs_counts` are the numbers of signals that the fills broadcast. A row that cancels or
    corrects an earlier fill is the compensation; `corrections` has the correction, by row. `frames`
    are frame numbers, `sequences` stream sequences. `mark_digests` are of the marks that the fill
    was valued at (`engine.history.marks`). `input_sequences` are those of the messages in INGRESS.
    """

    shard: int
    signals: Ints
    creators: Ints
    instruments: Ints
    sides: Ints
    quantities: Ints
    prices: Ints
    transact_times: Ints
    equities: Ints
    positions_before: Ints
    positions_after: Ints
    legs_counts: Ints
    frames: Ints
    sequences: Ints
    event_times: Ints
    mark_digests: Ints
    input_sequences: Ints
    order_quantities: Ints
    exec_ids: list[str]
    order_ids: list[str]
    brokers: list[str]
    corrections: dict[int, FillCorrected]

    @property
    def rows_count(self) -> int:
        """The number of fills."""
        return len(self.signals)


class CreatorTables:
    """Tables of one creator shard, filled frame by frame."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.frames_count = 0
        self.last_number = 0
        self.ids: list[str] = []
        self.initial_cash: list[int] = []
        self.symbols: list[str] = []
        self.lots: list[int] = []
        self.min_notionals: list[int] = []
        self.refused_count = 0
        self.refused_at: Counter[int] = Counter()
        """The refused inputs, by the sequences of their messages in INGRESS."""
        self.poison: list[InputQuarantined] = []
        self.cursors: dict[tuple[Source, int], Cursor] = {}
        self.state = CreatorShard({}, InstrumentTerms(1, 0))
        self._rows = array("q")
        self._texts: list[tuple[str, str, str]] = []
        self._corrections: dict[int, FillCorrected] = {}

    def add(self, frame: JournalFrame, *, replays: bool = True) -> None:
        """Take the next frame. It changes `state` too, unless `replays` is false."""
        for event in frame.events:
            self._take(frame, event)
        self.cursors.update(
            {(cursor.source, cursor.shard): cursor for cursor in frame.header.cursors}
        )
        self.frames_count += 1
        self.last_number = frame.header.number
        if replays:
            self.state.apply(frame.header, frame.events)

    def _take(self, frame: JournalFrame, event: Any) -> None:
        match event:
            case FillApplied():
                self._take_fill(frame, event)
            case CreatorsOpened():
                self.ids += event.ids
                self.initial_cash += event.cash.tolist()
            case InstrumentsListed():
                self.symbols += event.symbols
                self.lots += event.lots.tolist()
                self.min_notionals += event.min_notionals.tolist()
            case InputsRefused():
                self.refused_count += len(event.reasons)
                self.refused_at.update(event.sequences.tolist())
            case InputQuarantined():
                self.poison.append(event)
            case _:
                pass

    def _take_fill(self, frame: JournalFrame, event: FillApplied) -> None:
        header = frame.header
        if isinstance(event, FillCorrected):
            self._corrections[self.fills_count] = event
        self._rows.extend(
            (
                event.signal,
                event.creator,
                event.instrument,
                event.side,
                event.quantity,
                event.price,
                event.transact_time,
                event.equity,
                event.position_before,
                event.position_after,
                len(legs_of(event)),
                header.number,
                frame.sequence,
                header.event_time_ns,
                marks_digest(event),
                event.sequence,
                event.order_quantity,
            )
        )
        self._texts.append((event.exec_id, event.order_id, sys.intern(event.broker)))

    @property
    def fills_count(self) -> int:
        """The number of fills so far."""
        return len(self._texts)

    def fills(self) -> Fills:
        """Return the table of every fill so far."""
        columns = np.ascontiguousarray(np.array(self._rows, np.int64).reshape(-1, 17).T)
        exec_ids, order_ids, brokers = ([row[index] for row in self._texts] for index in range(3))
        return Fills._make((self.shard, *columns, exec_ids, order_ids, brokers, self._corrections))
