"""Accounts and subscriptions: the events that open, pause and end them, applied."""

import numpy as np
from numpy.typing import NDArray

from engine.follower.book import SubscriptionStatus
from engine.follower.state import NOTHING, FollowerState
from engine.follower.subscription_columns import NewRows
from engine.journal.events.subscriptions import (
    AccountsOpened,
    InstrumentsLearned,
    SubscriptionsEnding,
    SubscriptionsOpened,
    SubscriptionsPaused,
    SubscriptionsResumed,
)
from engine.values.instruments import Instrument, InstrumentTerms


def apply_instruments(state: FollowerState, event: InstrumentsLearned) -> None:
    """Add instruments with their terms."""
    columns = zip(
        event.numbers.tolist(),
        event.symbols,
        event.lots.tolist(),
        event.min_notionals.tolist(),
        strict=True,
    )
    for number, symbol, lot, min_notional in columns:
        state.instruments[event.creator_shard, number] = Instrument(
            symbol, InstrumentTerms(lot, min_notional)
        )


def apply_accounts(state: FollowerState, event: AccountsOpened) -> None:
    """Add accounts, and brokers that are new."""
    assert event.first == len(state.account_ids)
    for broker in event.brokers:
        if broker not in state.brokers:
            state.brokers.append(broker)
    broker_of = np.array([state.brokers.index(broker) for broker in event.brokers], np.int64)[
        event.broker_of
    ]
    state.account_ids.add(event.ids)
    state.accounts.append(
        {
            "broker": broker_of,
            "dedicated": event.dedicated,
            "command": event.commands,
            "last_subscription": np.full(len(event.ids), NOTHING),
        }
    )


def apply_subscriptions(state: FollowerState, event: SubscriptionsOpened) -> None:
    """Add subscriptions to the books of their creators."""
    assert event.first == state.places.count
    count = len(event.accounts)
    numbers = np.arange(event.first, event.first + count, dtype=np.int64)
    state.places.append({"book": np.zeros(count, np.uint32)})
    _link(state, numbers, event.accounts)
    pairs = event.creator_shards << 32 | event.creators
    order = np.argsort(pairs, kind="stable")
    starts = np.flatnonzero(np.diff(pairs[order], prepend=-1))
    counts = np.diff(starts, append=count)
    # Books are numbered in the order in which they are first followed.
    firsts = np.argsort(order[starts])
    groups = np.stack((pairs[order[starts]], starts, starts + counts), axis=1)[firsts].tolist()
    rows = _subscription_rows(event, numbers, order)
    places = np.empty((len(starts), 2), np.int64)
    places[firsts] = [_append_rows(state, rows, *group) for group in groups]
    places[:, 1] -= starts
    state.places["book"][numbers[order]] = np.repeat(places[:, 0], counts)
    state.places["row"][numbers[order]] = np.repeat(places[:, 1], counts) + np.arange(count)


def _link(state: FollowerState, numbers: NDArray[np.int64], accounts: NDArray[np.int64]) -> None:
    """Chain new subscriptions to their accounts' earlier ones."""
    order = np.argsort(accounts, kind="stable")
    numbers, accounts = numbers[order], accounts[order]
    last = state.accounts["last_subscription"]
    previous = np.empty(len(numbers), np.uint32)
    previous[1:] = numbers[:-1]
    first = np.diff(accounts, prepend=-1) != 0
    previous[first] = last[accounts[first]]
    state.places["previous"][numbers] = previous
    last[accounts] = numbers


def _append_rows(
    state: FollowerState, rows: NewRows, pair: int, start: int, stop: int
) -> tuple[int, int]:
    """Add some of the rows to a creator's book. Returns: the book's index and the first row's
    place.
    """
    book = state.book(pair >> 32, pair & 0xFFFFFFFF)
    state.changing(book)
    return book.index, book.append(rows, slice(start, stop)).start


def apply_ending(state: FollowerState, event: SubscriptionsEnding) -> None:
    """Mark subscriptions as ending: every target is flat."""
    for book, rows, which in state.by_book(event.subscriptions):
        state.changing(book)
        book.set_status(rows, SubscriptionStatus.ENDING)
        book.subscriptions.own("until_frame")[rows] = event.until_frames[which]
        book.subscriptions.own("end_command")[rows] = event.commands[which]
        for slot in book.slots:
            slot.target[rows] = 0
    state.next_cause = max(state.next_cause, event.cause + 1)


def apply_paused(state: FollowerState, event: SubscriptionsPaused | SubscriptionsResumed) -> None:
    """Mark subscriptions as paused or as active again."""
    status, column = (
        (SubscriptionStatus.PAUSED, "pause_command")
        if isinstance(event, SubscriptionsPaused)
        else (SubscriptionStatus.ACTIVE, "resume_command")
    )
    for book, rows, which in state.by_book(event.subscriptions):
        state.changing(book)
        book.set_status(rows, status)
        book.subscriptions.own(column)[rows] = event.commands[which]


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
