"""Orders outside a signal: those placed for follow-ups and commands, causes queued, and cancels
requested, applied.
"""

import numpy as np

from engine.follower.follow_ups import FollowUp
from engine.follower.order_group import OrderGroup
from engine.follower.state import FollowerState
from engine.journal.events.orders import (
    CancelsRequested,
    FollowUpsQueued,
    OrdersPlaced,
)
from engine.values.order_ids import OrderKey, key_of_cause


def apply_placed(shard: FollowerState, event: OrdersPlaced) -> None:
    ((book, rows, _),) = shard.by_book(event.subscriptions)
    shard.changing(book)
    slot = shard.slot(book, event.instrument)
    slot.follow_ups.drop(rows)
    slot.target[rows] = event.targets
    chosen = np.flatnonzero(event.quantities)
    if len(chosen):
        key = key_of_cause(event)
        if key.attempt:
            shard.orders.note_attempt(slot, key, rows[chosen])
        shard.orders.add_gathered(
            OrderGroup.placed(key, book, slot, event, rows[chosen], event.quantities[chosen])
        )


def apply_queued(shard: FollowerState, event: FollowUpsQueued) -> None:
    ((book, rows, _),) = shard.by_book(event.subscriptions)
    slot = shard.slot(book, event.instrument)
    key = key_of_cause(event)
    slot.follow_ups.add(FollowUp(key, event.price, event.transact_time, event.due, rows))
    shard.busy_slots[book.index, slot.index] = book, slot


def apply_cancels(shard: FollowerState, event: CancelsRequested) -> None:
    columns = (
        event.cause_kinds,
        event.creator_shards,
        event.cause_numbers,
        event.legs,
        event.attempts,
    )
    keys, which = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    for index, key in enumerate(keys.tolist()):
        for book, rows, _ in shard.by_book(event.subscriptions[which == index]):
            for block in shard.orders.blocks(OrderKey(*key)):
                if block.book is book:
                    at, there = block.find(rows)
                    block.is_cancelling[at[there]] = True
