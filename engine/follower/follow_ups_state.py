"""Follow-ups as columns of a state, and back: a record for each group, and the rows of all."""

import numpy as np

from engine.columns.snapshot import Records, StoredState, integers_column, required
from engine.columns.state import State
from engine.follower.book import Book
from engine.follower.follow_ups import FollowUp
from engine.follower.slot import Slot
from engine.values.order_ids import OrderKey

FOLLOW_UP_RECORDS: Records = {
    "follow_up.head": required(
        "book", "slot", *OrderKey._fields, "price", "transact_time", "due", "rows_count"
    )
}


def follow_ups_state(slots: list[tuple[Book, Slot]]) -> State:
    """Return the follow-ups of some slots, in order of book and slot, as columns."""
    ups = [(book, slot, up) for book, slot in slots for up in slot.follow_ups]
    ups.sort(key=lambda item: (item[0].index, item[1].index, item[2].key, item[2].due))
    headers = [
        (b.index, s.index, *up.key, up.price, up.transact_time, up.due, len(up.rows))
        for b, s, up in ups
    ]
    rows = [up.rows for _, _, up in ups]
    return {
        "follow_up.head": integers_column(headers),
        "follow_up.rows": np.concatenate(rows) if rows else np.zeros(0, np.int64),
    }


def restore_follow_ups(books: list[Book], stored: StoredState) -> None:
    """Take follow-ups back from a snapshot."""
    start = 0
    for header in stored.integers("follow_up.head"):
        book, slot, kind, shard, number, leg, attempt, price, time, due, count = header
        rows = np.array(stored.column("follow_up.rows")[start : start + count], np.int64)
        key = OrderKey(kind, shard, number, leg, attempt)
        books[book].slots[slot].follow_ups.add(FollowUp(key, price, time, due, rows))
        start += count
