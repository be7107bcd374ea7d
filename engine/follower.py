"""A follower shard's state, and how events change it.

Accounts and subscriptions have numbers that are never reused; a subscription stands in its creator's book
at a row that never moves. `apply` is the one way in, live and on replay alike (P6); what to apply is
decided in `engine.decide`, which only reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.book import Book, Slot, Status, follow_ups_state, restore_follow_ups
from engine.book_table import NewRows
from engine.creator import InstrumentTerms, cursors_column, cursors_from
from engine.cut import Cut, books_state, restore_books
from engine.decided import apply_signals
from engine.events.orders import (
    CancelsRequested,
    ExecutionsApplied,
    FollowUpsQueued,
    LaterAttemptsFound,
    OrdersPlaced,
    SignalDecided,
    TradesCorrected,
)
from engine.events.shard import InputAttempted, InputParked, InputsRefused, OwnerFenced
from engine.events.subscriptions import (
    AccountsOpened,
    CreatorsLearned,
    EntriesResumed,
    EntriesSuspended,
    InstrumentsLearned,
    SubscriptionsEnded,
    SubscriptionsEnding,
    SubscriptionsOpened,
    SubscriptionsPaused,
    SubscriptionsResumed,
)
from engine.execution_ids import ExecutionIds
from engine.follow_ups import FollowUp
from engine.frame import Cursor, FrameHead, Source
from engine.id_index import IdIndex
from engine.identity import CauseKind, OrderKey, key_of_cause
from engine.masks import least, most
from engine.order_state import ExecType
from engine.orders import OpenOrders, OrderBlock
from engine.parking import Parking, SuspendedEntries
from engine.reworked import apply_corrections, apply_later_attempts
from engine.runs import together
from engine.tables import State, Table
from engine.traded import apply_executions
from engine.waves import Waves

NOTHING = np.uint32(0xFFFFFFFF)
_SIGNAL = CauseKind.SIGNAL
_TRADE = ExecType.TRADE

ACCOUNT_COLUMNS = {
    "broker": np.uint8,
    "dedicated": np.int32,
    "command": np.int64,
    "last_subscription": np.uint32,
}
PLACE_COLUMNS = {"book": np.uint32, "row": np.uint32, "previous": np.uint32}


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument as a creator shard introduced it."""

    symbol: str
    terms: InstrumentTerms


class FollowerShard:
    """Every account, subscription, position and open order of one follower shard."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.cursors: dict[tuple[Source, int], Cursor] = {}
        self.creators: dict[tuple[int, str], int] = {}
        self.instruments: dict[tuple[int, int], Instrument] = {}
        self.brokers: list[str] = []
        self.account_ids = IdIndex()
        self.accounts = Table(ACCOUNT_COLUMNS)
        self.places = Table(PLACE_COLUMNS)
        self.books: list[Book] = []
        self.book_of: dict[tuple[int, int], Book] = {}
        self.orders = OpenOrders()
        self.execution_ids = ExecutionIds()
        self.next_cause = 1
        self.suspended = SuspendedEntries()
        self.parking = Parking()
        self._busy_slots: dict[tuple[int, int], tuple[Book, Slot]] = {}
        self._creators_encoded: tuple[int, bytes] = -1, b""
        self._cut: Cut | None = None

    def apply(self, head: FrameHead, events: list[Any]) -> None:
        """Change the state by a frame's events and take over its cursors."""
        self.apply_events(events)
        self.cursors.update({(cursor.source, cursor.shard): cursor for cursor in head.cursors})

    def apply_frames(self, frames: Sequence[tuple[FrameHead, list[Any]]]) -> None:
        """Change the state by frames in their order, in fewer passes than one by one."""
        waves = Waves(self)
        for head, events in frames:
            waves.add(events)
            self.cursors.update({(cursor.source, cursor.shard): cursor for cursor in head.cursors})
        waves.apply()

    def apply_events(self, events: Sequence[Any]) -> None:
        """Change the state by events in their order; neighbours that are about different books are applied in one pass."""
        if len(events) == 1:
            self.apply_event(events[0])
            return
        for event_type, grouped in groupby(events, key=type):
            if event_type is SignalDecided:
                items = (((e.creator_shard, e.creator), len(e.dispositions), e) for e in grouped)
                for run in together(items):
                    apply_signals(self, run)
            elif event_type is ExecutionsApplied:
                apply_executions(self, list(grouped))
            else:
                for event in grouped:
                    self.apply_event(event)

    def apply_event(self, event: Any) -> None:
        """Change the state by one event."""
        match event:
            case SignalDecided():
                apply_signals(self, (event,))
            case ExecutionsApplied():
                apply_executions(self, (event,))
            case OrdersPlaced():
                self._apply_placed(event)
            case FollowUpsQueued():
                self._apply_queued(event)
            case AccountsOpened():
                self._apply_accounts(event)
            case SubscriptionsOpened():
                self._apply_subscriptions(event)
            case SubscriptionsEnding():
                self._apply_ending(event)
            case SubscriptionsPaused() | SubscriptionsResumed():
                self._apply_paused(event)
            case SubscriptionsEnded():
                for book, rows, _ in self.by_book(event.subscriptions):
                    self.changing(book)
                    book.set_status(rows, Status.ENDED)
            case CreatorsLearned():
                for number, creator_id in zip(event.numbers.tolist(), event.ids, strict=True):
                    self.creators[event.creator_shard, creator_id] = number
            case InstrumentsLearned():
                self._apply_instruments(event)
            case CancelsRequested():
                self._apply_cancels(event)
            case EntriesSuspended() | EntriesResumed():
                self.suspended.apply(event)
            case InputParked():
                self.parking.apply(event)
            case TradesCorrected():
                for book, _, _ in self.by_book(event.subscriptions):
                    self.changing(book)
                apply_corrections(self, event)
            case LaterAttemptsFound():
                apply_later_attempts(self, event)
            case OwnerFenced() | InputAttempted() | InputsRefused():
                pass
            case _:
                raise AssertionError(f"a follower shard cannot apply {type(event).__name__}")

    # Where things stand.

    def book(self, creator_shard: int, creator: int) -> Book:
        """Name a creator's book; the first use makes it."""
        book = self.book_of.get((creator_shard, creator))
        if book is None:
            book = Book(len(self.books), creator_shard, creator)
            self.books.append(book)
            self.book_of[creator_shard, creator] = book
        return book

    def by_book(
        self, subscriptions: NDArray[np.int64]
    ) -> list[tuple[Book, NDArray[np.int64], NDArray[np.int64] | slice]]:
        """Find subscriptions' rows, book by book. Returns: book, rows, and which of the subscriptions these
        are.
        """
        books = self.places["book"][subscriptions]
        rows = self.places["row"][subscriptions].astype(np.int64)
        if len(books) and least(books) == most(books):
            return [(self.books[int(books[0])], rows, slice(None))]
        chosen = [(index, np.flatnonzero(books == index)) for index in np.unique(books).tolist()]
        return [(self.books[index], rows[which], which) for index, which in chosen]

    def slot(self, book: Book, instrument: int) -> Slot:
        """Name an instrument's slot in a book; the first use makes it."""
        slot = book.slot_of.get(instrument)
        if slot is None:
            terms = self.instruments[book.creator_shard, instrument].terms
            self.changing(book)
            slot = book.slot(instrument, terms.lot, terms.min_notional)
        return slot

    def slots_with_follow_ups(self) -> list[tuple[Book, Slot]]:
        """Name the slots in which a cause is not done."""
        self._busy_slots = {
            key: (book, slot) for key, (book, slot) in self._busy_slots.items() if slot.follow_ups
        }
        return [self._busy_slots[key] for key in sorted(self._busy_slots)]

    # Applying.

    def _apply_instruments(self, event: InstrumentsLearned) -> None:
        columns = zip(
            event.numbers.tolist(),
            event.symbols,
            event.lots.tolist(),
            event.min_notionals.tolist(),
            strict=True,
        )
        for number, symbol, lot, min_notional in columns:
            self.instruments[event.creator_shard, number] = Instrument(
                symbol, InstrumentTerms(lot, min_notional)
            )

    def _apply_accounts(self, event: AccountsOpened) -> None:
        assert event.first == len(self.account_ids)
        for broker in event.brokers:
            if broker not in self.brokers:
                self.brokers.append(broker)
        broker_of = np.array([self.brokers.index(broker) for broker in event.brokers], np.int64)[
            event.broker_of
        ]
        self.account_ids.add(event.ids)
        self.accounts.append(
            {
                "broker": broker_of,
                "dedicated": event.dedicated,
                "command": event.commands,
                "last_subscription": np.full(len(event.ids), NOTHING),
            }
        )

    def _apply_subscriptions(self, event: SubscriptionsOpened) -> None:
        assert event.first == self.places.count
        count = len(event.accounts)
        numbers = np.arange(event.first, event.first + count, dtype=np.int64)
        self.places.append({"book": np.zeros(count, np.uint32)})
        self._link(numbers, event.accounts)
        pairs = event.creator_shards << 32 | event.creators
        order = np.argsort(pairs, kind="stable")
        starts = np.flatnonzero(np.diff(pairs[order], prepend=-1))
        counts = np.diff(starts, append=count)
        # Books are numbered in the order in which they are first followed.
        firsts = np.argsort(order[starts])
        groups = np.stack((pairs[order[starts]], starts, starts + counts), axis=1)[firsts].tolist()
        rows = _subscription_rows(event, numbers, order)
        places = np.empty((len(starts), 2), np.int64)
        places[firsts] = [self._append_rows(rows, *group) for group in groups]
        places[:, 1] -= starts
        self.places["book"][numbers[order]] = np.repeat(places[:, 0], counts)
        self.places["row"][numbers[order]] = np.repeat(places[:, 1], counts) + np.arange(count)

    def _link(self, numbers: NDArray[np.int64], accounts: NDArray[np.int64]) -> None:
        """Chain new subscriptions to their accounts' earlier ones."""
        order = np.argsort(accounts, kind="stable")
        numbers, accounts = numbers[order], accounts[order]
        last = self.accounts["last_subscription"]
        previous = np.empty(len(numbers), np.uint32)
        previous[1:] = numbers[:-1]
        first = np.diff(accounts, prepend=-1) != 0
        previous[first] = last[accounts[first]]
        self.places["previous"][numbers] = previous
        last[accounts] = numbers

    def _append_rows(self, rows: NewRows, pair: int, start: int, stop: int) -> tuple[int, int]:
        """Add some of the rows to a creator's book. Returns: the book's index and the first row's place."""
        book = self.book(pair >> 32, pair & 0xFFFFFFFF)
        self.changing(book)
        return book.index, book.append(rows, slice(start, stop)).start

    def _apply_ending(self, event: SubscriptionsEnding) -> None:
        for book, rows, which in self.by_book(event.subscriptions):
            self.changing(book)
            book.set_status(rows, Status.ENDING)
            book.subscriptions.own("until_frame")[rows] = event.until_frames[which]
            book.subscriptions.own("end_command")[rows] = event.commands[which]
            for slot in book.slots:
                slot.target[rows] = 0
        self.next_cause = max(self.next_cause, event.cause + 1)

    def _apply_paused(self, event: SubscriptionsPaused | SubscriptionsResumed) -> None:
        status, column = (
            (Status.PAUSED, "pause_command")
            if isinstance(event, SubscriptionsPaused)
            else (Status.ACTIVE, "resume_command")
        )
        for book, rows, which in self.by_book(event.subscriptions):
            self.changing(book)
            book.set_status(rows, status)
            book.subscriptions.own(column)[rows] = event.commands[which]

    def _apply_placed(self, event: OrdersPlaced) -> None:
        ((book, rows, _),) = self.by_book(event.subscriptions)
        self.changing(book)
        slot = self.slot(book, event.instrument)
        slot.follow_ups.drop(rows)
        slot.target[rows] = event.targets
        chosen = np.flatnonzero(event.quantities)
        if len(chosen):
            key = key_of_cause(event)
            if key.attempt:
                self.orders.note_attempt(slot, key, rows[chosen])
            self.orders.add_gathered(
                OrderBlock.placed(key, book, slot, event, rows[chosen], event.quantities[chosen])
            )

    def _apply_queued(self, event: FollowUpsQueued) -> None:
        ((book, rows, _),) = self.by_book(event.subscriptions)
        slot = self.slot(book, event.instrument)
        key = key_of_cause(event)
        slot.follow_ups.add(FollowUp(key, event.price, event.transact_time, event.due, rows))
        self._busy_slots[book.index, slot.index] = book, slot

    def _apply_cancels(self, event: CancelsRequested) -> None:
        columns = (event.cause_kinds, event.creator_shards, event.cause_numbers, event.legs, event.attempts)
        keys, which = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        for index, key in enumerate(keys.tolist()):
            for book, rows, _ in self.by_book(event.subscriptions[which == index]):
                for block in self.orders.blocks(OrderKey(*key)):
                    if block.book is book:
                        at, there = block.find(rows)
                        block.is_cancelling[at[there]] = True

    # The state as columns.

    def state(self) -> State:
        """Name everything as columns, for the hash."""
        return {**self._columns(), **books_state(self.books)}

    def cut(self) -> Cut:
        """Begin to encode the state as it is now, for a snapshot; the books are copied as it goes on, one cut at a time."""
        assert self._cut is None, "one cut at a time"
        columns = self._columns()
        # The one column below a table's end that changes.
        columns["account.last_subscription"] = columns["account.last_subscription"].copy()
        self._cut = Cut(columns, self.books, self._cut_ended)
        return self._cut

    def _cut_ended(self, cut: Cut) -> None:
        if cut is self._cut:
            self._cut = None

    def changing(self, book: Book) -> None:
        """Let a cut under way have a book before it changes."""
        if self._cut is not None:
            self._cut.keep(book)

    def _columns(self) -> State:
        """Name everything but the books. Views only of what stays as it is when more is added."""
        known = {
            "creators": self._encoded_creators(),
            "instruments": [
                (*key, value.symbol, *value.terms)
                for key, value in sorted(self.instruments.items(), key=lambda item: item[0])
            ],
            "brokers": self.brokers,
            "execution_ids": self.execution_ids.rows(),
        }
        return {
            "known": np.frombuffer(msgspec.msgpack.encode(known), np.uint8),
            "cursors": cursors_column(self.cursors),
            "next_cause": np.array([self.next_cause], np.int64),
            **self.account_ids.state("account_id"),
            **self.accounts.state("account"),
            **self.places.state("place"),
            **follow_ups_state(self.slots_with_follow_ups()),
            **self.orders.state(),
            **self.suspended.state(),
            **self.parking.state(),
        }

    def _encoded_creators(self) -> bytes:
        """Encode the creators in order; their numbers never change, so once for as many as there are."""
        count, encoded = self._creators_encoded
        if count != len(self.creators):
            rows = sorted((shard, name, number) for (shard, name), number in self.creators.items())
            count, encoded = self._creators_encoded = len(rows), msgspec.msgpack.encode(rows)
        return encoded

    def restore(self, state: State) -> None:
        """Take a state back into a new shard."""
        known = msgspec.msgpack.decode(state["known"].tobytes())
        self.creators = {
            (shard, name): number for shard, name, number in msgspec.msgpack.decode(known["creators"])
        }
        self.instruments = {
            (shard, number): Instrument(symbol, InstrumentTerms(lot, least))
            for shard, number, symbol, lot, least in known["instruments"]
        }
        self.brokers = list(known["brokers"])
        self.execution_ids = ExecutionIds.restored(known["execution_ids"])
        self.cursors = cursors_from(state["cursors"])
        self.next_cause = int(state["next_cause"][0])
        self.account_ids.restore("account_id", state)
        self.accounts.restore("account", state)
        self.places.restore("place", state)
        self.books = restore_books(state)
        restore_follow_ups(self.books, state)
        self.book_of = {(book.creator_shard, book.creator): book for book in self.books}
        self.orders.restore(state, self.books)
        self.suspended.restore(state)
        self.parking = Parking.restored(state)
        self._busy_slots = {
            (book.index, slot.index): (book, slot)
            for book in self.books
            for slot in book.slots
            if slot.follow_ups
        }


def _subscription_rows(
    event: SubscriptionsOpened, numbers: NDArray[np.int64], order: NDArray[np.int64]
) -> NewRows:
    """Gather the columns of new subscriptions, in some order."""
    columns = {
        "subscription": numbers,
        "account": event.accounts,
        "mode": event.modes,
        "allow_short": event.allow_short,
        "ratio": event.ratios,
        "amount": event.amounts,
        "max_order_notional": event.max_order_notionals,
        "max_weight": event.max_weights,
        "cash": event.cash,
        "from_frame": event.from_frames,
        "command": event.commands,
    }
    return NewRows.of({name: column[order] for name, column in columns.items()})
