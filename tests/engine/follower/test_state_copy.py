"""Copies: the state of one moment, however much changes while it is copied (P6); and the columns of
a book.
"""

import tracemalloc
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.columns.snapshot import StoredState, decode_snapshot
from engine.columns.state import State, encode_state
from engine.columns.state_copy import StateCopy, encode_copy
from engine.follower.book import Book
from engine.follower.books_state import books_state, restore_books
from engine.follower.shard import FollowerShard
from engine.follower.snapshot_schema import FOLLOWER_SCHEMA
from engine.follower.subscription_columns import HEADER_WORDS, NARROW, SHARED, WIDE, NewRows
from engine.follower.subscription_table import SubscriptionTable
from engine.journal.events.orders import ExecutionsApplied, OrdersPlaced, SignalDecided
from engine.journal.events.subscriptions import (
    AccountsOpened,
    CreatorsLearned,
    InstrumentsLearned,
    SubscriptionsEnded,
    SubscriptionsEnding,
    SubscriptionsOpened,
    SubscriptionsPaused,
    SubscriptionsResumed,
)
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType
from engine.values.order_terms import OrderTerms

BOOKS = 130


def opened(shard: FollowerShard, creators: list[int], *, mode: int = 0) -> None:
    """Open an account for each of some creators, following it."""
    first, count = len(shard.state.account_ids), len(creators)
    ones = np.ones(count, np.int64)
    ids = [f"account-{first + at}" for at in range(count)]
    shard.apply_event(AccountsOpened(first, ids, ["paper"], 0 * ones, -ones, ones))
    shard.apply_event(
        SubscriptionsOpened(
            first,
            np.arange(first, first + count),
            0 * ones,
            np.array(creators),
            mode * ones,
            ones,
            ones,
            0 * ones,
            0 * ones,
            ones,
            7 * ones,
            ones,
            ones,
        )
    )


def decided(shard: FollowerShard, creator: int, instrument: int, *, signal: int = 1) -> None:
    """Let a signal of a creator place an order for each of its subscriptions."""
    book = shard.state.book(0, creator)
    ones = np.ones(book.count, np.int64)
    shard.apply_event(
        SignalDecided(
            0,
            signal,
            0,
            creator,
            instrument,
            OrderTerms(1, 5, 5, 9, 0, 0, 9),
            0,
            1,
            1,
            np.array([instrument]),
            np.array([5]),
            book.subscriptions["subscription"].astype(np.int64),
            ones,
            3 * ones,
            ones,
        )
    )


def made() -> FollowerShard:
    """Make a shard that holds books of a few rows, and one of more than are copied in one piece."""
    shard = FollowerShard(0)
    numbers = np.arange(BOOKS + 9)
    shard.apply_event(CreatorsLearned(0, numbers, [f"creator-{number}" for number in numbers]))
    shard.apply_event(
        InstrumentsLearned(
            0, np.arange(3), ["A", "B", "C"], np.ones(3, np.int64), np.ones(3, np.int64)
        )
    )
    opened(shard, [*range(BOOKS), *[70] * 5_000])
    for creator in range(0, BOOKS, 7):
        decided(shard, creator, 0)
    return shard


@pytest.fixture
def shard() -> FollowerShard:
    return made()


def demand_whole(shard: FollowerShard) -> None:
    """Demand that a snapshot of now makes the state of now again."""
    other = FollowerShard(0)
    other.restore(decode_snapshot(encode_copy(shard.copy()), other.schema))
    assert encode_state(other.columns()) == encode_state(shard.columns())


def stored(state: State) -> StoredState:
    """Take columns as those of a snapshot of layout 3."""
    return decode_snapshot(encode_state(state), FOLLOWER_SCHEMA)


def change(shard: FollowerShard, creator: int) -> None:
    """Change everything that can change: rows, slots, positions, endings, the tables of the
    shard.
    """
    decided(shard, creator, 1)
    opened(shard, [creator, BOOKS + creator % 9], mode=2)
    row = int(shard.state.book(0, creator).subscriptions["subscription"][0])
    one = np.array([row], np.int64)
    shard.apply_event(SubscriptionsEnding(3, one, one + 99, one + 5))


@pytest.mark.parametrize("at", [0, 3, 64, 70, 75, 140, 150])
def test_changes_made_while_a_state_is_copied_are_not_in_the_copy(
    shard: FollowerShard, at: int
) -> None:
    """P6: a snapshot is the state at its frame, whichever books change before, during and after
    their turn.
    """
    expected = encode_copy(shard.copy())
    copy = shard.copy()
    pieces = copy.pieces()
    taken = list(islice(pieces, at))
    for creator in (0, 5, 69, 70, 71, 129, 70, 128):
        change(shard, creator)
        taken += islice(pieces, 3)
    taken += pieces
    assert b"".join(bytes(piece) for piece in taken) == expected
    assert encode_copy(shard.copy()) != expected
    demand_whole(shard)


class _Changes:
    """Changes a shard by one event of any kind that changes books."""

    def __init__(self, shard: FollowerShard) -> None:
        self.shard = shard
        self._signal = 1
        self._open: list[tuple[int, int]] = []

    def change(self, kind: str, creator: int, instrument: int) -> None:
        book = self.shard.state.book(0, creator)
        subscriptions = book.subscriptions["subscription"].astype(np.int64)
        ones = np.ones(book.count, np.int64)
        match kind:
            case "signal":
                self._signal += 1
                self._open.append((self._signal, creator))
                decided(self.shard, creator, instrument, signal=self._signal)
            case "trade" | "cancel" if self._open:
                signal, creator = self._open.pop()
                self._report(
                    signal, creator, ExecType.TRADE if kind == "trade" else ExecType.CANCELED
                )
            case "place":
                self._signal += 1
                self.shard.apply_event(
                    OrdersPlaced(
                        0,
                        creator,
                        instrument,
                        OrderKey(0, 0, self._signal, 0, 1),
                        OrderTerms(1, 5, 5, 9, 0, 0, 9),
                        subscriptions,
                        ones,
                        3 * ones,
                    )
                )
            case "open":
                opened(self.shard, [creator, BOOKS + creator % 9, creator], mode=instrument)
            case "pause":
                self.shard.apply_event(SubscriptionsPaused(subscriptions[:1], 7 * ones[:1]))
            case "resume":
                self.shard.apply_event(SubscriptionsResumed(subscriptions[:1], 8 * ones[:1]))
            case "ending":
                self.shard.apply_event(
                    SubscriptionsEnding(3, subscriptions[-1:], 9 * ones[:1], ones[:1])
                )
            case "ended":
                self.shard.apply_event(SubscriptionsEnded(subscriptions[-1:]))

    def _report(self, signal: int, creator: int, exec_type: ExecType) -> None:
        # Whose subscriptions came after the signal has no order.
        (group,) = self.shard.state.orders.of_key(OrderKey(0, 0, signal, 0, 0))
        subscriptions = group.subscriptions.astype(np.int64)
        ones, first = np.ones(len(subscriptions), np.int64), signal << 20
        numbers = np.arange(first, first + len(subscriptions))
        self.shard.apply_event(
            ExecutionsApplied(
                1,
                "paper",
                "x-",
                OrderKey(0, 0, signal, 0, 0),
                9,
                numbers,
                subscriptions,
                ones * exec_type,
                ones,
                5 * ones,
                ones,
            )
        )


_KINDS = (
    "signal",
    "signal",
    "trade",
    "trade",
    "cancel",
    "place",
    "open",
    "pause",
    "resume",
    "ending",
    "ended",
)
_change = st.tuples(
    st.sampled_from(_KINDS), st.sampled_from([0, 1, 63, 64, 69, 70, 70, 71, 129]), st.integers(0, 2)
)


@settings(max_examples=60)
@given(
    before=st.lists(_change, min_size=4, max_size=12),
    steps=st.lists(st.tuples(_change, st.integers(0, 40)), max_size=25),
    given_up_after=st.one_of(st.none(), st.integers(0, 160)),
)
def test_a_copy_is_the_state_of_one_moment_whatever_changes_between_its_pieces(
    before: list[tuple[str, int, int]],
    steps: list[tuple[tuple[str, int, int], int]],
    given_up_after: int | None,
) -> None:
    """P6: for every kind of event, before, within and after a large book's turn, and after a copy
    that was given up.
    """
    changes = _Changes(made())
    if given_up_after is not None:
        copy = changes.shard.copy()
        list(islice(copy.pieces(), given_up_after))
        copy.close()
    for change in before:
        changes.change(*change)
    expected = encode_copy(changes.shard.copy())
    pieces = changes.shard.copy().pieces()
    taken: list[Any] = []
    for change, count in steps:
        changes.change(*change)
        # Encoded at once, as a piece that is handed on: the state goes on after it.
        taken += map(bytes, islice(pieces, count))
    taken += map(bytes, pieces)
    assert b"".join(taken) == expected
    demand_whole(changes.shard)


def test_a_copy_given_up_leaves_room_for_the_next(shard: FollowerShard) -> None:
    copy = shard.copy()
    list(islice(copy.pieces(), 5))
    copy.close()
    demand_whole(shard)


def test_a_copy_holds_no_more_than_the_piece_it_hands_on(shard: FollowerShard) -> None:
    """Else a snapshot of a few large books would need their memory once more."""
    tracemalloc.start()
    try:
        whole = len(encode_copy(shard.copy()))
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        largest = max(
            piece.nbytes for piece in shard.copy().pieces() if not isinstance(piece, bytes)
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert largest < whole / 4
    assert peak - before < 2 * largest + whole / 8


def test_a_restored_shard_goes_on_as_the_one_it_was_copied_from(shard: FollowerShard) -> None:
    """P6, with restored columns growing and shared ones parting."""
    other = FollowerShard(0)
    other.restore(decode_snapshot(encode_copy(shard.copy()), other.schema))
    for each in (shard, other):
        for creator in (0, 70, 129):
            change(each, creator)
    assert encode_copy(other.copy()) == encode_copy(shard.copy())


_rows = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.sampled_from([0, 0, 1]) for name in SHARED},
        **{name: st.integers(0, 1 << 31) for name in (*NARROW, *WIDE)},
        "status": st.integers(0, 3),
    },
)


@given(st.lists(st.tuples(_rows, st.integers(1, 9), st.booleans()), min_size=1, max_size=8))
def test_a_books_columns_return_the_values_put_into_them(
    steps: list[tuple[dict[str, int], int, bool]],
) -> None:
    """With equal rows or not, by slices of all rows; appended or written, saved and restored."""
    book = Book(0, 1, 2)
    counts = [count for _, count, _ in steps]
    added = {
        name: np.repeat([values.get(name, 0) for values, _, _ in steps], counts)
        for name in (*WIDE, *NARROW, *SHARED, "status")
    }
    rows = NewRows.of(added)
    expected: dict[str, list[int]] = {name: [] for name in added}
    for _, count, is_written in steps:
        which = slice(book.count, book.count + count)
        assert book.append(rows, which) == which
        for name, column in expected.items():
            column += added[name][which].tolist()
        if is_written:
            book.subscriptions.own("end_command")[-1] = expected["end_command"][-1] = 5
        if len(expected["cash"]) % 2:
            (book,) = restore_books(stored(books_state([book])))
        for name, column in expected.items():
            assert book.subscriptions[name].tolist() == column, name


def test_a_column_shared_by_all_rows_cannot_be_written_by_mistake() -> None:
    table = SubscriptionTable()
    table.append(
        NewRows.of({"mode": np.array([1, 1]), "subscription": np.array([0, 1])}), slice(0, 2)
    )
    with pytest.raises(ValueError, match="read-only"):
        table["mode"][0] = 2
    table.own("mode")[0] = 2
    assert table["mode"].tolist() == [2, 1]
    assert table.header()[:2] == [2, 1] and len(table.header()) == HEADER_WORDS


def test_a_copy_of_nothing_is_the_empty_state() -> None:
    pieces: Iterator[Any] = StateCopy(FOLLOWER_SCHEMA, {}).pieces()
    assert not decode_snapshot(b"".join(map(bytes, pieces)), FOLLOWER_SCHEMA).columns
