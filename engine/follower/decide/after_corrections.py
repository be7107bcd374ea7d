"""Follow-up of applied corrections: what is on its way beyond the target is cancelled, what is
held beyond it is exited, and what is over is ended.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.follower.book import Book
from engine.follower.decide.check_correction import CheckedCorrection
from engine.follower.decide.follow_ups import (
    cancel_open,
    follow_reports,
    pause_ns,
    queue_follow_up,
    request_cancels,
)
from engine.follower.deciding import Deciding
from engine.follower.order_group import OrderGroup
from engine.follower.slot import Slot
from engine.values.order_ids import OrderKey


def follow_corrections(
    deciding: Deciding, key: OrderKey, corrections: list[CheckedCorrection]
) -> Iterator[Any]:
    """Follow applied corrections of one book: cancel what is not wanted, exit what is too much, end
    what is over.
    """
    book, slot = corrections[0].book, corrections[0].slot
    unwanted = [each for each in corrections if each.is_unwanted]
    if unwanted:
        yield request_cancels(book, key, _rows(unwanted))
    is_waiting = slot.follow_ups.are_waiting(_in_order(corrections)).tolist()
    pairs = list(zip(corrections, is_waiting, strict=True))
    late = [each for each, waits in pairs if waits and each.is_reopened]
    yield from cancel_open(deciding.state, book, slot, _rows(late))
    free = [each for each, waits in pairs if not waits]
    yield from _exit_excess(deciding, key, book, slot, free)
    rows = _rows(corrections)
    none_filled = np.zeros(len(rows), np.int64)
    group = OrderGroup.of_closed_orders(
        key, book, slot, corrections[0].placed.terms, rows, none_filled
    )
    yield from follow_reports(deciding, group, rows, rows[:0])


def _rows(corrections: list[CheckedCorrection]) -> NDArray[np.int64]:
    """Return the rows of the book, ascending."""
    return np.sort(_in_order(corrections))


def _in_order(corrections: Iterable[CheckedCorrection]) -> NDArray[np.int64]:
    """Return the rows of the book, one per correction."""
    return np.fromiter((each.book_row for each in corrections), np.int64)


def _exit_excess(
    deciding: Deciding, key: OrderKey, book: Book, slot: Slot, corrections: list[CheckedCorrection]
) -> Iterator[Any]:
    """Exit what is held, or on its way, beyond the target: cancel what is on its way, else queue a
    further attempt after its pause.
    """
    for (attempt, is_coming), some in _group_excess(slot, corrections):
        terms, due = some[0].placed.terms, 0
        if is_coming:
            yield from cancel_open(deciding.state, book, slot, _rows(some))
        else:
            due = deciding.now_ns + pause_ns(attempt)
        yield queue_follow_up(
            book,
            slot,
            key.after(attempt),
            _rows(some),
            price=terms.price,
            transact_time=terms.transact_time,
            due=due,
        )


def _group_excess(
    slot: Slot, corrections: list[CheckedCorrection]
) -> list[tuple[tuple[int, bool], list[CheckedCorrection]]]:
    """Group the corrections that leave too much, by the last attempt and by whether orders for more
    are on their way.
    """
    is_queued = slot.follow_ups.are_queued(_in_order(corrections)).tolist()
    groups: dict[tuple[int, bool], list[CheckedCorrection]] = {}
    for each, has_queued in zip(corrections, is_queued, strict=True):
        open_ = int(slot.open[each.book_row])
        held = int(slot.position[each.book_row]) + open_
        is_coming = held * open_ > 0
        is_too_much = _is_beyond(held, int(slot.target[each.book_row]), slot.lot)
        if is_too_much and (is_coming or not has_queued):
            groups.setdefault((each.history.attempt_last, is_coming), []).append(each)
    return sorted(groups.items(), key=lambda group: group[0])


def _is_beyond(held: int, target: int, lot: int) -> bool:
    """Return whether a holding is beyond its target by a lot, or at all where that is flat."""
    side = 1 if held > 0 else -1
    goal = max(side * target, 0)
    excess = side * held - goal
    return excess > 0 and (excess >= lot or goal == 0)
