"""A creator shard: its creators and instruments, and the decisions about fills, marks and commands.

Deciders (`decide_*`) read the state and return events or a `Refused`. `apply` changes the state in
the same way live and on replay (P6). Fills are applied in the order of the ingress stream and
signals are numbered in that order. So each creator's signals follow the order of its fills (P4).
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from engine.columns.codec import decode_texts, encode_texts
from engine.columns.id_index import IdIndex
from engine.columns.snapshot import StoredState, integers_column
from engine.columns.state import State
from engine.columns.state_copy import StateCopy, whole_copy
from engine.columns.table import Table
from engine.creator.account import Creator
from engine.creator.fill_corrections import decide_fill_correction, note_fill
from engine.creator.fills import (
    FILL_AHEAD_NS_MAX,
    FILL_HORIZON_NS,
    FillTarget,
    cash_of,
    check_age,
    check_sender,
    decide_fill,
    refuse_ahead,
)
from engine.creator.marks import Mark, Marks
from engine.creator.seen_fills import SeenFills
from engine.creator.snapshot_schema import CREATOR_SCHEMA, INSTRUMENT_COLUMNS
from engine.creator.suspensions import Suspensions
from engine.journal.cursors import Cursor, Source, cursors_column, restored_cursors
from engine.journal.events.creator import (
    BrokerMarksUpdated,
    CreatorResumed,
    CreatorsOpened,
    CreatorSuspended,
    FillApplied,
    FillCorrected,
    InstrumentsListed,
    MarkSourceChosen,
    MarksUpdated,
)
from engine.journal.events.shard import InputAttempted, InputQuarantined, InputsRefused, OwnerFenced
from engine.journal.frame import FrameHeader
from engine.journal.quarantine import Quarantine
from engine.messages.inputs import FillInput, MarkInput
from engine.values.instruments import InstrumentTerms
from engine.values.order_status import ExecType
from engine.values.refusals import Refused


class CreatorShard:
    """The creators of one shard, and the instruments that their fills and the marks have named."""

    schema = CREATOR_SCHEMA

    def __init__(
        self, terms_of: "dict[str, InstrumentTerms]", default_terms: InstrumentTerms
    ) -> None:
        self._terms_of = terms_of
        self._default_terms = default_terms
        self.cursors: dict[tuple[Source, int], Cursor] = {}
        self.creators: list[Creator] = []
        self._ids: dict[str, int] = {}
        self._symbols = IdIndex()
        self._instruments = Table(INSTRUMENT_COLUMNS)
        self.marks = Marks(self._instruments)
        self._seen = SeenFills()
        self.next_signal = 1
        self.suspensions = Suspensions()
        self.quarantine = Quarantine()

    def number_of(self, creator_id: str) -> int | None:
        """Return the number of an open creator."""
        return self._ids.get(creator_id)

    # Deciding.

    def decide_suspend(
        self, creator_id: str, broker: str, sequence: int, position: int
    ) -> CreatorSuspended | None:
        """Return the event that suspends the creator of a quarantined fill. Returns: None if the
        fill would have been refused anyway: its creator is not open, or has another broker.
        """
        number = self._ids.get(creator_id)
        if number is None or self.creators[number].broker != broker:
            return None
        return CreatorSuspended(number, sequence, position)

    def decide_list(self, symbols: list[str]) -> InstrumentsListed | None:
        """Return the event that introduces the symbols without a number, None when there are
        none.
        """
        new = [symbol for symbol in dict.fromkeys(symbols) if self._symbols.find(symbol) is None]
        if not new:
            return None
        terms = [self._terms_of.get(symbol, self._default_terms) for symbol in new]
        first = len(self._symbols)
        return InstrumentsListed(
            np.arange(first, first + len(new), dtype=np.int64),
            new,
            np.array([term.lot for term in terms], np.int64),
            np.array([term.min_notional for term in terms], np.int64),
        )

    def decide_marks(
        self, broker: str, marks: list[MarkInput], event_time_ns: int
    ) -> MarksUpdated | BrokerMarksUpdated | Refused | None:
        """Return the event of a source's new marks of listed symbols, None when there are none. A
        mark older than the one it would replace is left out.

        A mark from the future is refused with all others: the instrument would keep it until that
        time.
        """
        for at, mark in enumerate(marks):
            if mark.time > event_time_ns + FILL_AHEAD_NS_MAX:
                field = f"element {at}: time" if len(marks) > 1 else "time"
                return refuse_ahead(field, mark.time, event_time_ns)
        newest: dict[int, Mark] = {}
        for symbol, price, time in marks:
            number = self._symbols.find(symbol)
            assert number is not None, "marks are decided after their symbols are listed"
            if number not in newest or time >= newest[number].time:
                newest[number] = Mark(price, time)
        return self.marks.decide(broker, newest)

    def decide_fill(self, fill: FillInput, event_time_ns: int) -> FillApplied | Refused | None:
        """Decide one fill, or a trade cancel or correct. Returns: None for a fill that was applied
        before.
        """
        number = self._ids.get(fill.creator_id)
        creator = None if number is None else self.creators[number]
        refused = check_sender(fill, creator)
        if refused is not None:
            return refused
        assert creator is not None
        if self._seen.find(creator.number, fill.exec_id) is not None:
            return None
        refused = check_age(fill, event_time_ns)
        if refused is not None:
            return refused
        instrument = self._symbols.find(fill.symbol)
        assert instrument is not None, "fills are decided after their symbols are listed"
        marks = self.marks.of(creator)
        target = FillTarget(creator, instrument, marks, self.next_signal)
        if fill.exec_type != ExecType.TRADE:
            return decide_fill_correction(fill, target, self._seen)
        return decide_fill(fill, target, cash_of(fill.side, fill.quantity, fill.price))

    # Applying.

    def apply(self, header: FrameHeader, events: list[Any]) -> None:
        """Change the state by a frame's events and take over its cursors."""
        for event in events:
            self.apply_event(event)
        self.cursors.update({(cursor.source, cursor.shard): cursor for cursor in header.cursors})

    def apply_frames(self, frames: Sequence[tuple[FrameHeader, list[Any]]]) -> None:
        """Change the state by frames in their order."""
        for header, events in frames:
            self.apply(header, events)

    def apply_event(self, event: Any) -> None:
        """Change the state by one event."""
        match event:
            case FillApplied():
                self._apply_fill(event)
            case MarksUpdated() | BrokerMarksUpdated() | MarkSourceChosen():
                self.marks.apply(event)
            case InstrumentsListed():
                self._symbols.add(event.symbols)
                self._instruments.append({"lot": event.lots, "min_notional": event.min_notionals})
            case CreatorsOpened():
                self._apply_opened(event)
            case CreatorSuspended() | CreatorResumed():
                self.suspensions.apply(event)
            case InputQuarantined():
                self.quarantine.apply(event)
            case OwnerFenced() | InputAttempted() | InputsRefused():
                pass
            case _:
                raise AssertionError(f"a creator shard cannot apply {type(event).__name__}")

    def _apply_opened(self, event: CreatorsOpened) -> None:
        rows = zip(
            event.numbers.tolist(),
            event.ids,
            event.brokers,
            event.cash.tolist(),
            event.commands.tolist(),
            strict=True,
        )
        for number, creator_id, broker, cash, command in rows:
            assert number == len(self.creators)
            self.creators.append(Creator(number, creator_id, broker, cash, command))
            self._ids[creator_id] = number

    def _apply_fill(self, event: FillApplied) -> None:
        creator = self.creators[event.creator]
        creator.positions[event.instrument] = event.position_after
        if isinstance(event, FillCorrected):
            creator.cash += event.cash_change
        else:
            creator.cash += cash_of(event.side, event.quantity, event.price)
            mark = Mark(event.price, event.transact_time)
            self.marks.apply_fill(creator, event.instrument, mark)
        note_fill(self._seen, event)
        # This depends on the fill alone, because a frame's event time may be later than the time at
        # which the fill was decided (P6). A fill is at most `FILL_AHEAD_NS_MAX` ahead of the
        # latter, so a fill that is forgotten here is refused for its age if it comes again.
        self._seen.forget_before(event.transact_time - FILL_AHEAD_NS_MAX - FILL_HORIZON_NS)
        self.next_signal = event.signal + 1

    # The state as columns.

    def traded_count(self, creator_id: str, symbols: Iterable[str]) -> int:
        """Count the instruments that an open creator will have traded once these symbols are traded
        too.
        """
        positions = self.creators[self._ids[creator_id]].positions
        return len(positions) + sum(
            self._symbols.find(symbol) not in positions for symbol in set(symbols)
        )

    def symbol(self, number: int) -> str:
        """The symbol of an instrument."""
        return self._symbols.text(number)

    def columns(self) -> State:
        """Return everything as columns, for the hash and the snapshot."""
        positions = [
            (c.number, key, held)
            for c in self.creators
            for key, held in sorted(c.positions.items())
        ]
        return {
            **self._symbols.state("symbol"),
            **self._instruments.state("instrument"),
            **self.marks.state(),
            "creator.id": _texts([c.creator_id for c in self.creators]),
            "creator.broker": _texts([c.broker for c in self.creators]),
            "creator.cash": np.array([c.cash for c in self.creators], np.int64),
            "creator.command": np.array([c.command for c in self.creators], np.int64),
            "position": integers_column(positions),
            **self._seen.state(),
            "next_signal": np.array([self.next_signal], np.int64),
            "cursors": cursors_column(self.cursors),
            **self.suspensions.state(),
            **self.quarantine.state(),
        }

    def copy(self) -> StateCopy:
        """Copy the state as it is now, to be encoded for a snapshot."""
        return whole_copy(self.schema, self.columns())

    def restore(self, stored: StoredState) -> None:
        """Take a state back from a snapshot."""
        columns = stored.columns
        self._symbols.restore("symbol", columns)
        self._instruments.restore("instrument", columns)
        self.marks.restore(columns)
        rows = zip(
            _untexts(stored.column("creator.id")),
            _untexts(stored.column("creator.broker")),
            stored.column("creator.cash").tolist(),
            stored.column("creator.command").tolist(),
            strict=True,
        )
        self.creators = [Creator(number, *row) for number, row in enumerate(rows)]
        self._ids = {creator.creator_id: creator.number for creator in self.creators}
        for number, key, held in stored.integers("position"):
            self.creators[number].positions[key] = held
        self._seen.restore(columns)
        self.next_signal = int(stored.column("next_signal")[0])
        self.cursors = restored_cursors(stored)
        self.suspensions.restore(stored)
        self.quarantine = Quarantine.restored(columns)


def _texts(texts: list[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(encode_texts(texts), np.uint8)


def _untexts(column: np.ndarray[Any, Any]) -> list[str]:
    return decode_texts(column.tobytes())[0]
