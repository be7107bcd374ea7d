"""Orders outside a signal, follow-ups and requested cancels, applied."""

import numpy as np

from engine.follower.follow_ups import FollowUp
from engine.follower.order_group import OrderGroup
from engine.follower.state import FollowerState
from engine.journal.events.orders import (
    CancelsRequested,
    FollowUpsQueued,
    OrdersPlaced,
)
from engine.values.order_ids import orders_by_key


def apply_placed(state: FollowerState, event: OrdersPlaced) -> None:
    """Move targets, end follow-ups and add orders."""
    ((book, rows, _),) = state.by_book(event.subscriptions)
    state.changing(book)
    slot = state.slot(book, event.instrument)
    slot.follow_ups.drop(rows)
    slot.target[rows] = event.targets
    chosen = np.flatnonzero(event.quantities)
    if len(chosen):
        key = event.key
        if key.attempt:
            state.orders.note_attempt(slot, key, rows[chosen])
        state.orders.add_merged(
            OrderGroup.of_new_orders(
                key, book, slot, event.terms, rows[chosen], event.quantities[chosen]
            )
        )


def apply_queued(state: FollowerState, event: FollowUpsQueued) -> None:
    """Queue the follow-ups of some rows."""
    ((book, rows, _),) = state.by_book(event.subscriptions)
    slot = state.slot(book, event.instrument)
    slot.follow_ups.add(FollowUp(event.key, event.price, event.transact_time, event.due, rows))
    state.busy_slots[book.index, slot.index] = book, slot


def apply_cancels(state: FollowerState, event: CancelsRequested) -> None:
    """Mark the orders that are being cancelled."""
    for key, subscriptions in orders_by_key(event):
        for book, rows, _ in state.by_book(subscriptions):
            for group in state.orders.of_key(key):
                if group.book is book:
                    at, there = group.find(rows)
                    group.is_cancelling[at[there]] = True
