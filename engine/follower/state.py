"""A follower shard's state.

Accounts and subscriptions have numbers that are never reused. A subscription stands in its
creator's book at a row that never moves. State changes only in `engine.follower.apply`, in the same
way live and on replay (P6). Deciders (`engine.follower.decide`) only read it.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns.id_index import IdIndex
from engine.columns.reductions import least, most
from engine.columns.snapshot import StoredState
from engine.columns.state import State
from engine.columns.state_copy import StateCopy
from engine.columns.table import Table
from engine.follower.applied_executions import AppliedExecutions
from engine.follower.book import Book
from engine.follower.books_state import books_state, restore_books
from engine.follower.follow_ups_state import follow_ups_state, restore_follow_ups
from engine.follower.open_orders import OpenOrders
from engine.follower.slot import Slot
from engine.follower.snapshot_schema import ACCOUNT_COLUMNS, FOLLOWER_SCHEMA, PLACE_COLUMNS
from engine.follower.suspended_entries import SuspendedEntries
from engine.journal.cursors import Cursor, Source, cursors_column, restored_cursors
from engine.journal.frame import FrameHeader
from engine.journal.quarantine import Quarantine
from engine.values.instruments import Instrument, InstrumentTerms

NOTHING = np.uint32(0xFFFFFFFF)


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
        self._copy: StateCopy | None = None

    def take_cursors(self, header: FrameHeader) -> None:
        """Take over how far a frame says each input is taken."""
        self.cursors.update({(cursor.source, cursor.shard): cursor for cursor in header.cursors})

    # Where things stand.

    def book(self, creator_shard: int, creator: int) -> Book:
        """The creator's book, made on first use."""
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
        """An instrument's slot in a book, made on first use."""
        slot = book.slot_of.get(instrument)
        if slot is None:
            terms = self.instruments[book.creator_shard, instrument].terms
            self.changing(book)
            slot = book.slot(instrument, terms.lot, terms.min_notional)
        return slot

    def slots_with_follow_ups(self) -> list[tuple[Book, Slot]]:
        """The slots in which a cause is not done."""
        self.busy_slots = {
            key: (book, slot) for key, (book, slot) in self.busy_slots.items() if slot.follow_ups
        }
        return [self.busy_slots[key] for key in sorted(self.busy_slots)]

    # The state as columns.

    def columns(self) -> State:
        """Return everything as columns, for the hash."""
        return {**self._columns(), **books_state(self.books)}

    def copy(self) -> StateCopy:
        """Begin to encode the state as it is now, for a snapshot; the books are copied as it
        goes on, one copy at a time.
        """
        assert self._copy is None, "one copy at a time"
        columns = self._columns()
        # The one column below a table's end that changes.
        columns["account.last_subscription"] = columns["account.last_subscription"].copy()
        self._copy = StateCopy(FOLLOWER_SCHEMA, columns, self.books, self._copy_ended)
        return self._copy

    def _copy_ended(self, copy: StateCopy) -> None:
        if copy is self._copy:
            self._copy = None

    def changing(self, book: Book) -> None:
        """Let a copy under way have a book before it changes."""
        if self._copy is not None:
            self._copy.keep(book)

    def _columns(self) -> State:
        """Return everything but the books. Views only of what stays as it is when more is
        added.
        """
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

    def restore(self, stored: StoredState) -> None:
        """Take a state back from a snapshot, into a new shard."""
        columns = stored.columns
        self._restore_known(stored)
        self.cursors = restored_cursors(stored)
        self.next_cause = int(stored.column("next_cause")[0])
        self.account_ids.restore("account_id", columns)
        self.accounts.restore("account", columns)
        self.places.restore("place", columns)
        self.books = restore_books(stored)
        restore_follow_ups(self.books, stored)
        self.book_of = {(book.creator_shard, book.creator): book for book in self.books}
        self.orders.restore(stored, self.books)
        self.suspended.restore(stored)
        self.quarantine = Quarantine.restored(columns)
        self.busy_slots = {
            (book.index, slot.index): (book, slot)
            for book in self.books
            for slot in book.slots
            if slot.follow_ups
        }

    def _restore_known(self, stored: StoredState) -> None:
        known = msgspec.msgpack.decode(stored.column("known").tobytes())
        creators = msgspec.msgpack.decode(known["creators"])
        self.creators = {
            (shard, name): number for shard, name, number in stored.rows("known.creators", creators)
        }
        self.instruments = {
            (shard, number): Instrument(symbol, InstrumentTerms(lot, least))
            for shard, number, symbol, lot, least in stored.rows(
                "known.instruments", known["instruments"]
            )
        }
        self.brokers = list(known["brokers"])
        runs = stored.rows("known.execution_ids", known["execution_ids"])
        self.execution_ids = AppliedExecutions.restored(runs)
