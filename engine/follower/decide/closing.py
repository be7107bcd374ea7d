"""Ending subscriptions, many at once: every position is closed, then they are over.

All of one batch share one cause: an order id names the subscription as well, and the leg is the
instrument's slot in its book (P1).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.follower.book import Book
from engine.follower.decide.follow_ups import (
    cancel_open,
    end_finished,
    have_open_entries,
    place_orders,
    queue_follow_up,
)
from engine.follower.deciding import Deciding
from engine.follower.sizing.toward_target import size_toward_target
from engine.follower.slot import Slot
from engine.journal.events.subscriptions import SubscriptionsEnding
from engine.values.order_ids import CauseKind, OrderKey


class Ending(NamedTuple):
    """A subscription to end: signals from `until_frame` on do not count for it; `command` is the
    hash of the command's id.
    """

    subscription: int
    until_frame: int
    command: int


def end_subscriptions(deciding: Deciding, endings: list[Ending]) -> Iterator[Any]:
    """End subscriptions that are active: one event for all, then for each instrument their cancels
    and closing orders.
    """
    state = deciding.state
    cause = state.next_cause
    columns = np.array(endings, np.int64).reshape(-1, 3)
    subscriptions = columns[np.argsort(columns[:, 0])]
    yield SubscriptionsEnding(cause, *(np.ascontiguousarray(column) for column in subscriptions.T))
    for book, rows, _ in state.by_book(subscriptions[:, 0]):
        for slot in book.slots:
            key = OrderKey(CauseKind.COMMAND, 0, cause, slot.index, 0)
            yield from _close(deciding, book, slot, rows, key)
        yield from end_finished(state, book, rows)


def _close(
    deciding: Deciding, book: Book, slot: Slot, rows: NDArray[np.int64], key: OrderKey
) -> Iterator[Any]:
    state, policy, now_ns = deciding
    rows = rows[(slot.position[rows] != 0) | (slot.open[rows] != 0)]
    open_ = np.sign(slot.open[rows])
    is_passing_flat = np.sign(slot.position[rows] + slot.open[rows]) * open_ > 0
    # What opens, or would go through flat, is cancelled first; what is held by then is closed when
    # that is answered.
    first = (
        is_passing_flat | slot.follow_ups.are_waiting(rows) | have_open_entries(state, slot, rows)
    )
    if first.any():
        yield from cancel_open(state, book, slot, rows[first])
        after = key._replace(attempt=1)
        yield queue_follow_up(
            book, slot, after, rows[first], price=slot.mark, transact_time=now_ns, due=0
        )
    now = rows[~first]
    if not len(now):
        return
    groups = size_toward_target(
        book,
        slot,
        now,
        policy,
        price=slot.mark,
        symbol="",
        transact_time=now_ns,
        event_time_ns=now_ns,
        may_enter=False,
    )
    for chosen, decisions in groups:
        yield place_orders(
            book,
            slot,
            key,
            chosen,
            decisions,
            policy,
            price=slot.mark,
            transact_time=now_ns,
            event_time_ns=now_ns,
        )
