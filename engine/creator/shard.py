"""A creator shard: the creators' portfolios, and what a fill, a mark or a command does to them.

Deciders (`decide_*`) read the state and return events or a `Refused`; `apply` changes the state and
is the same live and on replay (P6). Fills are applied in the order of the ingress stream and number
the signals, so each creator's signals are in its fill order (P4). A fill counts once by (broker,
creator, exec id) over `FILL_HORIZON_NS`; an older one is refused for its age.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.columns.arithmetic import value_floor
from engine.columns.codec import decode_texts, encode_texts
from engine.columns.id_index import IdIndex
from engine.columns.state import State, hash_64
from engine.columns.state_copy import StateCopy, whole_copy
from engine.columns.table import Table
from engine.creator.fill_corrections import (
    cash_change,
    cash_of,
    compensating,
    corrected,
    find_meant,
    note_fill,
)
from engine.creator.seen_fills import SeenFills
from engine.creator.suspensions import Suspensions
from engine.journal.cursors import Cursor, Source, cursors_column, cursors_from
from engine.journal.events.creator import (
    CreatorResumed,
    CreatorsOpened,
    CreatorSuspended,
    FillApplied,
    FillCorrected,
    InstrumentsListed,
    MarksUpdated,
)
from engine.journal.events.shard import InputAttempted, InputQuarantined, InputsRefused, OwnerFenced
from engine.journal.frame import FrameHeader
from engine.journal.quarantine import Quarantine
from engine.messages.inputs import FillInput, MarkInput
from engine.values.instruments import InstrumentTerms
from engine.values.order_ids import LEG_MAX
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from engine.values.units import MONEY_MAX, NS_PER_S, QUANTITY_MAX, format_quantity, format_time

FILL_HORIZON_NS = 7 * 24 * 3600 * NS_PER_S
FILL_AHEAD_NS_MAX = 5 * NS_PER_S


@dataclass(slots=True)
class Creator:
    """One creator account: `positions` by instrument, every one it ever traded, flat ones too."""

    number: int
    creator_id: str
    broker: str
    cash: int
    command: int
    positions: dict[int, int] = field(default_factory=dict)


class CreatorShard:
    """The creators of one shard and the instruments that they and the marks have named."""

    def __init__(
        self, terms_of: "dict[str, InstrumentTerms]", default_terms: InstrumentTerms
    ) -> None:
        self._terms_of = terms_of
        self._default_terms = default_terms
        self.cursors: dict[tuple[Source, int], Cursor] = {}
        self.creators: list[Creator] = []
        self._ids: dict[str, int] = {}
        self._symbols = IdIndex()
        self._instruments = Table(
            {"lot": np.int64, "min_notional": np.int64, "mark": np.int64, "mark_time": np.int64}
        )
        self._seen = SeenFills()
        self.next_signal = 1
        self.suspensions = Suspensions()
        self.quarantine = Quarantine()

    # Deciding.

    def decide_open(
        self, creator_id: str, broker: str, cash: int, command_id: str
    ) -> CreatorsOpened | Refused | int:
        """Open a creator. Returns: the number of the creator when this command has opened it
        before.
        """
        command = hash_64(command_id)
        number = self._ids.get(creator_id)
        if number is not None:
            if self.creators[number].command == command:
                return number
            return Refused(
                "creator_exists",
                f"creator {creator_id}: expected an id not yet open, "
                "found it open by another command",
            )
        if not 0 <= cash <= MONEY_MAX:
            return Refused("out_of_range", "cash: expected zero or more, found a negative amount")
        first = np.array([len(self.creators)], np.int64)
        return CreatorsOpened(
            first, [creator_id], [broker], np.array([cash], np.int64), np.array([command], np.int64)
        )

    def decide_suspend(
        self, creator_id: str, broker: str, sequence: int, position: int
    ) -> CreatorSuspended | None:
        """Suspend the creator of a quarantined fill. Returns: None when such a fill would not have
        counted.
        """
        number = self._ids.get(creator_id)
        if number is None or self.creators[number].broker != broker:
            return None
        return CreatorSuspended(number, sequence, position)

    def decide_resume(
        self, creator_id: str, command_id: str, *, is_replay: bool
    ) -> CreatorResumed | Refused | int:
        """Settle a creator's quarantined fills. Returns: how many they were when this command has
        settled them before.
        """
        number, command = self._ids.get(creator_id), hash_64(command_id)
        if number is None:
            return Refused(
                "unknown_creator", f"creator_id: expected an open creator, found {creator_id!r}"
            )
        settled = self.suspensions.settled_by(number, command)
        if settled is not None:
            return settled
        return self.suspensions.decide_resume(
            number, self.next_signal, is_replay=is_replay, command=command
        )

    def decide_list(self, symbols: list[str]) -> InstrumentsListed | None:
        """Introduce the symbols that have no number yet."""
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
        self, marks: list[MarkInput], event_time_ns: int
    ) -> MarksUpdated | Refused | None:
        """Take new marks of listed symbols; one older than the instrument's mark says nothing new
        and is left out.

        One from the future would have the instrument keep that mark until then.
        """
        latest = max((mark.time for mark in marks), default=0)
        if latest > event_time_ns + FILL_AHEAD_NS_MAX:
            return Refused(
                "time_ahead", _time_text("time", latest, "at most 5 s ahead of", event_time_ns)
            )
        newest: dict[int, tuple[int, int]] = {}
        times = self._instruments["mark_time"]
        for symbol, price, time in marks:
            number = self._symbols.find(symbol)
            assert number is not None, "marks are decided after their symbols are listed"
            if time >= newest.get(number, (0, int(times[number])))[1]:
                newest[number] = (price, time)
        if not newest:
            return None
        numbers = sorted(newest)
        return MarksUpdated(
            np.array(numbers, np.int64),
            np.array([newest[number][0] for number in numbers], np.int64),
            np.array([newest[number][1] for number in numbers], np.int64),
        )

    def decide_fill(self, fill: FillInput, event_time_ns: int) -> FillApplied | Refused | None:
        """Apply one fill to its creator and number the signal. Returns: None for a fill that was
        applied before.
        """
        number = self._ids.get(fill.creator_id)
        if number is None:
            return Refused(
                "unknown_creator",
                f"creator_id: expected an open creator, found {fill.creator_id!r}",
            )
        creator = self.creators[number]
        if creator.broker != fill.broker:
            return Refused(
                "wrong_broker",
                f"creator {fill.creator_id}: expected fills of broker "
                f"{creator.broker}, found {fill.broker}",
            )
        if self._seen.find(number, fill.exec_id) is not None:
            return None
        if fill.transact_time > event_time_ns + FILL_AHEAD_NS_MAX:
            return Refused(
                "time_ahead",
                _time_text(
                    "transact_time", fill.transact_time, "at most 5 s ahead of", event_time_ns
                ),
            )
        if fill.transact_time < event_time_ns - FILL_HORIZON_NS:
            return Refused(
                "too_old",
                _time_text(
                    "transact_time", fill.transact_time, "at most 7 days before", event_time_ns
                ),
            )
        instrument = self._symbols.find(fill.symbol)
        assert instrument is not None, "fills are decided after their symbols are listed"
        if fill.exec_type != ExecType.TRADE:
            return self._correct_fill(creator, instrument, fill)
        return self._fill_event(
            creator, instrument, fill, cash_of(fill.side, fill.quantity, fill.price)
        )

    def _correct_fill(
        self, creator: Creator, instrument: int, fill: FillInput
    ) -> FillCorrected | Refused:
        found = find_meant(self._seen, creator.number, fill, instrument)
        if isinstance(found, Refused):
            return found
        moved, cash = (
            compensating(fill, found, int(self._instruments["mark"][instrument])),
            cash_change(fill, found),
        )
        event = self._fill_event(creator, instrument, moved, cash)
        return event if isinstance(event, Refused) else corrected(event, fill, found, cash)

    def _fill_event(
        self, creator: Creator, instrument: int, fill: FillInput, cash_change: int
    ) -> FillApplied | Refused:
        before = creator.positions.get(instrument, 0)
        after = before + fill.side * fill.quantity
        if fill.position_after is not None and fill.position_after != after:
            return Refused(
                "position_mismatch",
                f"position_after: expected {format_quantity(after)}, found "
                f"{format_quantity(fill.position_after)};"
                " an earlier fill of this creator is missing or was applied by another name",
            )
        traded = sorted({*creator.positions, instrument})
        known = self._instruments["mark"]
        marks = [fill.price if key == instrument else int(known[key]) for key in traded]
        held = [creator.positions.get(key, 0) for key in traded]
        equity = creator.cash + sum(map(value_floor, held, marks))
        cash = creator.cash + cash_change
        if len(traded) > LEG_MAX + 1:
            return Refused(
                "out_of_range",
                f"creator {creator.creator_id}: expected at most {LEG_MAX + 1} "
                "instruments ever traded, found one more",
            )
        if abs(after) > QUANTITY_MAX or abs(equity) > MONEY_MAX or abs(cash) > MONEY_MAX:
            return Refused(
                "out_of_range",
                f"creator {creator.creator_id}: expected position, cash "
                "and equity in range after the fill",
            )
        return FillApplied(
            signal=self.next_signal,
            creator=creator.number,
            instrument=instrument,
            side=fill.side,
            quantity=fill.quantity,
            price=fill.price,
            transact_time=fill.transact_time,
            order_quantity=fill.order_quantity,
            equity=equity,
            position_before=before,
            position_after=after,
            sequence=fill.sequence,
            broker=fill.broker,
            exec_id=fill.exec_id,
            order_id=fill.order_id,
            mark_instruments=np.array(traded, np.int64),
            mark_prices=np.array(marks, np.int64),
        )

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
            case MarksUpdated():
                self._instruments["mark"][event.instruments] = event.prices
                self._instruments["mark_time"][event.instruments] = event.times
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
            if event.transact_time >= self._instruments["mark_time"][event.instrument]:
                self._instruments["mark"][event.instrument] = event.price
                self._instruments["mark_time"][event.instrument] = event.transact_time
        note_fill(self._seen, event)
        # Told from the fill alone, for a frame's event time may be later than the time it was
        # decided at (P6): a fill is at most so far ahead of that, so whatever is forgotten is
        # refused for its age.
        self._seen.forget_before(event.transact_time - FILL_AHEAD_NS_MAX - FILL_HORIZON_NS)
        self.next_signal = event.signal + 1

    # The state as columns.

    def traded_count(self, creator_id: str, symbols: Iterable[str]) -> int:
        """Say how many instruments an open creator has ever traded once these symbols are traded
        too.
        """
        positions = self.creators[self._ids[creator_id]].positions
        return len(positions) + sum(
            self._symbols.find(symbol) not in positions for symbol in set(symbols)
        )

    def symbol(self, number: int) -> str:
        """Name the symbol of an instrument."""
        return self._symbols.text(number)

    def columns(self) -> State:
        """Name everything as columns, for the hash and the snapshot."""
        positions = [
            (c.number, key, held)
            for c in self.creators
            for key, held in sorted(c.positions.items())
        ]
        return {
            **self._symbols.state("symbol"),
            **self._instruments.state("instrument"),
            "creator.id": _texts([c.creator_id for c in self.creators]),
            "creator.broker": _texts([c.broker for c in self.creators]),
            "creator.cash": np.array([c.cash for c in self.creators], np.int64),
            "creator.command": np.array([c.command for c in self.creators], np.int64),
            "position": np.array(positions, np.int64).reshape(-1),
            **self._seen.state(),
            "next_signal": np.array([self.next_signal], np.int64),
            "cursors": cursors_column(self.cursors),
            **self.suspensions.state(),
            **self.quarantine.state(),
        }

    def copy(self) -> StateCopy:
        """Copy the state as it is now, to be encoded for a snapshot."""
        return whole_copy(self.columns())

    def restore(self, state: State) -> None:
        """Take a state back."""
        self._symbols.restore("symbol", state)
        self._instruments.restore("instrument", state)
        ids, brokers = _untexts(state["creator.id"]), _untexts(state["creator.broker"])
        rows = zip(
            ids,
            brokers,
            state["creator.cash"].tolist(),
            state["creator.command"].tolist(),
            strict=True,
        )
        self.creators = [Creator(number, *row) for number, row in enumerate(rows)]
        self._ids = {creator.creator_id: creator.number for creator in self.creators}
        for number, key, held in state["position"].reshape(-1, 3).tolist():
            self.creators[number].positions[key] = held
        self._seen.restore(state)
        self.next_signal = int(state["next_signal"][0])
        self.cursors = cursors_from(state["cursors"])
        self.suspensions.restore(state)
        self.quarantine = Quarantine.restored(state)


def _time_text(what: str, time_ns: int, expected: str, event_time_ns: int) -> str:
    return f"{what}: expected {expected} {format_time(event_time_ns)}, found {format_time(time_ns)}"


def _texts(texts: list[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(encode_texts(texts), np.uint8)


def _untexts(column: np.ndarray[Any, Any]) -> list[str]:
    return decode_texts(column.tobytes())[0]
