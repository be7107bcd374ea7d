"""A follower shard's state, and how events change it.

Accounts and subscriptions have numbers that are never reused; a subscription stands in its
creator's book at a row that never moves. `apply` is the one way in, live and on replay alike (P6);
what to apply is decided in `engine.follower.decide.signals`, which only reads.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns.id_index import IdIndex
from engine.columns.reductions import least, most
from engine.columns.state import State
from engine.columns.state_copy import StateCopy
from engine.columns.table import Table
from engine.follower.applied_executions import AppliedExecutions
from engine.follower.book import Book, Slot, follow_ups_state, restore_follow_ups
from engine.follower.books_state import books_state, restore_books
from engine.follower.open_orders import OpenOrders
from engine.follower.suspended_entries import SuspendedEntries
from engine.journal.cursors import Cursor, Source, cursors_column, cursors_from
from engine.journal.frame import FrameHeader
from engine.journal.quarantine import Quarantine
from engine.values.instruments import Instrument, InstrumentTerms
from engine.values.order_ids import CauseKind
from engine.values.order_status import ExecType

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


class FollowerState:
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
        self.execution_ids = AppliedExecutions()
        self.next_cause = 1
        self.suspended = SuspendedEntries()
        self.quarantine = Quarantine()
        self.busy_slots: dict[tuple[int, int], tuple[Book, Slot]] = {}
        self._creators_encoded: tuple[int, bytes] = -1, b""
        self._cut: StateCopy | None = None

    def take_cursors(self, header: FrameHeader) -> None:
        """Take over how far a frame says each input is taken."""
        self.cursors.update({(cursor.source, cursor.shard): cursor for cursor in header.cursors})

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
        """Find subscriptions' rows, book by book. Returns: book, rows, and which of the
        subscriptions these are.
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
        self.busy_slots = {
            key: (book, slot) for key, (book, slot) in self.busy_slots.items() if slot.follow_ups
        }
        return [self.busy_slots[key] for key in sorted(self.busy_slots)]

    # The state as columns.

    def columns(self) -> State:
        """Name everything as columns, for the hash."""
        return {**self._columns(), **books_state(self.books)}

    def copy(self) -> StateCopy:
        """Begin to encode the state as it is now, for a snapshot; the books are copied as it goes
        on, one copy at a time.
        """
        assert self._cut is None, "one cut at a time"
        columns = self._columns()
        # The one column below a table's end that changes.
        columns["account.last_subscription"] = columns["account.last_subscription"].copy()
        self._cut = StateCopy(columns, self.books, self._cut_ended)
        return self._cut

    def _cut_ended(self, copy: StateCopy) -> None:
        if copy is self._cut:
            self._cut = None

    def changing(self, book: Book) -> None:
        """Let a copy under way have a book before it changes."""
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
            **self.quarantine.state(),
        }

    def _encoded_creators(self) -> bytes:
        """Encode the creators in order; their numbers never change, so once for as many as there
        are.
        """
        count, encoded = self._creators_encoded
        if count != len(self.creators):
            rows = sorted((shard, name, number) for (shard, name), number in self.creators.items())
            count, encoded = self._creators_encoded = len(rows), msgspec.msgpack.encode(rows)
        return encoded

    def restore(self, state: State) -> None:
        """Take a state back into a new shard."""
        known = msgspec.msgpack.decode(state["known"].tobytes())
        self.creators = {
            (shard, name): number
            for shard, name, number in msgspec.msgpack.decode(known["creators"])
        }
        self.instruments = {
            (shard, number): Instrument(symbol, InstrumentTerms(lot, least))
            for shard, number, symbol, lot, least in known["instruments"]
        }
        self.brokers = list(known["brokers"])
        self.execution_ids = AppliedExecutions.restored(known["execution_ids"])
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
        self.quarantine = Quarantine.restored(state)
        self.busy_slots = {
            (book.index, slot.index): (book, slot)
            for book in self.books
            for slot in book.slots
            if slot.follow_ups
        }
