"""The invariants of a follower shard's state, which hold after every step (P7, P10)."""

import numpy as np
from numpy.typing import NDArray

from engine.follower.book import Book, SubscriptionStatus
from engine.follower.slot import Slot
from engine.follower.state import FollowerState

Ints = NDArray[np.int64]


def demand_invariants(shard: FollowerState, *, has_corrections: bool = False) -> None:
    """Demand of every subscription that its columns agree with its open orders, and that nothing is
    stuck.

    A purchase may be cancelled after it was sold. With corrections, sells may therefore exceed the
    position.
    """
    for book in shard.books:
        reserved, proceeds = np.zeros(book.count, np.int64), np.zeros(book.count, np.int64)
        for slot in book.slots:
            reserved += _demand_of_orders(shard, book, slot, has_corrections=has_corrections)
            proceeds += np.maximum(-slot.cost[: book.count], 0)
            _demand_of_follow_ups(shard, book, slot)
            position, cost = slot.position[: book.count], slot.cost[: book.count]
            assert not cost[position == 0].any(), "nothing held costs nothing"
            assert (cost * np.sign(position) >= 0).all(), "a long costs, a short brings"
        table = book.subscriptions
        assert table["reserved"].tolist() == reserved.tolist(), (
            "reserved is what open entries reserve"
        )
        assert table["short_proceeds"].tolist() == proceeds.tolist()


def _demand_of_orders(
    shard: FollowerState, book: Book, slot: Slot, *, has_corrections: bool
) -> Ints:
    """Returns: what the slot's open entries reserve, by row."""
    count = book.count
    open_, reserved = np.zeros(count, np.int64), np.zeros(count, np.int64)
    sides = {side: np.zeros(count, np.bool_) for side in (1, -1)}
    for side in (1, -1):
        for group in shard.orders.of_slot(slot, side):
            assert (np.diff(group.rows) > 0).all(), "rows ascend, one order each"
            at = np.flatnonzero(group.is_open)
            rows, leaves = group.rows[at], (group.quantity - group.filled)[at]
            assert (leaves > 0).all(), "an open order has something left"
            open_[rows] += side * leaves
            reserved[rows] += group.reservation(leaves)
            sides[side][rows] = True
    assert slot.open[:count].tolist() == open_.tolist(), "open is the sum of open orders"
    assert not (sides[1] & sides[-1]).any(), "never open orders on both sides"
    # An account that may short can have an exit and an entry beyond it open, which the broker may
    # fill in either order.
    least = slot.position[:count] + np.where(sides[-1], open_, 0)
    is_long_only = book.subscriptions["allow_short"] == 0
    assert has_corrections or (least[is_long_only] >= 0).all(), "sells never exceed what is held"
    return reserved


def _demand_of_follow_ups(shard: FollowerState, book: Book, slot: Slot) -> None:
    rows = np.arange(book.count)
    waiting, queued = slot.follow_ups.are_waiting(rows), slot.follow_ups.are_queued(rows)
    cancelling = np.zeros(book.count, np.bool_)
    for side in (1, -1):
        for group in shard.orders.of_slot(slot, side):
            cancelling[group.rows[group.is_open & group.is_cancelling]] = True
    assert (cancelling | ~waiting).all(), "who waits for cancels has some under way"
    position, open_, target = (
        column[: book.count] for column in (slot.position, slot.open, slot.target)
    )
    is_over = (position != 0) & (np.sign(target) != np.sign(position))
    assert (queued | (open_ != 0) | ~is_over).all(), "a position to be left is being left"
    ended = book.subscriptions["status"] == SubscriptionStatus.ENDED
    assert not (ended & (queued | (position != 0) | (open_ != 0))).any(), (
        "what is over holds nothing"
    )
