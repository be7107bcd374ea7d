"""Follow-ups: what happens once a cancel is answered, an order has ended or a pause is over."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import any_of
from engine.follower.book import Book, Slot, Status
from engine.follower.follow_ups import FollowUp
from engine.follower.order_group import OrderGroup
from engine.follower.sizing.decisions import Decisions
from engine.follower.sizing.toward_target import size_toward_target
from engine.follower.state import FollowerState
from engine.journal.events.orders import CancelsRequested, FollowUpsQueued, OrdersPlaced
from engine.journal.events.subscriptions import SubscriptionsEnded
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition
from engine.values.order_ids import CauseKind, OrderKey
from engine.values.units import NS_PER_S

RETRY_NS_MIN = NS_PER_S


RETRY_NS_MAX = 60 * NS_PER_S


DUE_ROWS_MAX = 16_384


def queued(
    book: Book,
    slot: Slot,
    key: OrderKey,
    rows: NDArray[np.int64],
    *,
    price: int,
    transact_time: int,
    due: int,
) -> FollowUpsQueued:
    """Make the event of a cause that is not done for some rows."""
    subscriptions = book.subscriptions["subscription"][rows].astype(np.int64)
    return FollowUpsQueued(
        book.creator_shard,
        book.creator,
        slot.instrument,
        *key,
        price,
        transact_time,
        due,
        subscriptions,
    )


def cancel_open(
    shard: FollowerState, book: Book, slot: Slot, rows: NDArray[np.int64]
) -> Iterator[CancelsRequested]:
    """Ask for the cancel of every open order of some rows in one instrument, once each."""
    for side in (1, -1):
        for block in shard.orders.of_slot(slot, side):
            if not any_of(block.is_open & ~block.is_cancelling):
                # While a broker is away thousands wait for their cancels, and each signal passes
                # them.
                continue
            at, there = block.find(rows)
            open_at = at[there & block.is_open[at] & ~block.is_cancelling[at]]
            if len(open_at):
                subscriptions = book.subscriptions["subscription"][block.rows[open_at]].astype(
                    np.int64
                )
                ones = np.ones(len(open_at), np.int64)
                kind, creator_shard, number, leg, attempt = (ones * value for value in block.key)
                yield CancelsRequested(kind, creator_shard, number, subscriptions, leg, attempt)


def have_open_entries(
    shard: FollowerState, slot: Slot, rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say which rows have an order open that opens or adds."""
    found = np.zeros(len(rows), np.bool_)
    if slot.open[rows].any():
        for block in shard.orders.entries_of(slot):
            at, there = block.find(rows)
            found |= there & block.is_open[at]
    return found


def after_reports(
    shard: FollowerState,
    block: OrderGroup,
    rows: NDArray[np.int64],
    ended: NDArray[np.int64],
    terms: CopyPolicy,
    event_time_ns: int,
) -> Iterator[Any]:
    """Go on after reports on orders of one block: try an exit's remainder again, follow up after
    cancels, end what is over.

    `rows` are those reported on, `ended` those whose orders ended with a remainder (canceled,
    rejected, expired).
    """
    book, slot = block.book, block.slot
    again = _still_to_exit(block, ended) if len(ended) else ended
    if len(again):
        yield from _next_attempts(block, again, event_time_ns)
    if slot.follow_ups:
        for follow_up, chosen in slot.follow_ups.waiting_for(rows[slot.open[rows] == 0]):
            yield from _follow_up(shard, book, slot, follow_up, chosen, terms, event_time_ns)
    yield from end_finished(shard, book, rows)


def _still_to_exit(block: OrderGroup, ended: NDArray[np.int64]) -> NDArray[np.int64]:
    """Name the rows among those whose orders ended that have an exit to finish.

    An entry that ended may have been to buy back, or sell, what an exit of the other side had left
    when it was given up.
    """
    slot = block.slot
    held = slot.position[ended] + slot.open[ended]
    is_left: NDArray[np.bool_] = (held != 0) & ~slot.follow_ups.are_waiting(ended)
    if not block.is_exit:
        is_left = (np.sign(held) == -block.side) & ~slot.follow_ups.are_queued(ended)
    left: NDArray[np.int64] = ended[is_left]
    return left


def _next_attempts(
    block: OrderGroup, rows: NDArray[np.int64], event_time_ns: int
) -> Iterator[FollowUpsQueued]:
    """Queue the attempt after the last one that was placed for the cause: mostly, but not always,
    after this one.
    """
    book, slot, attempts = block.book, block.slot, {block.key.attempt: rows}
    if block.last_attempts:
        last = np.array([block.last_attempts.get(row, block.key.attempt) for row in rows.tolist()])
        attempts = {int(attempt): rows[last == attempt] for attempt in np.unique(last)}
    for attempt, chosen in attempts.items():
        key, due = block.key.after(attempt), event_time_ns + pause_ns(attempt)
        yield queued(
            book, slot, key, chosen, price=block.price, transact_time=block.transact_time, due=due
        )


def pause_ns(attempt: int) -> int:
    """Say how long to wait after an attempt before the next."""
    return min(RETRY_NS_MIN << min(attempt, 10), RETRY_NS_MAX)


def _follow_up(
    shard: FollowerState,
    book: Book,
    slot: Slot,
    follow_up: FollowUp,
    rows: NDArray[np.int64],
    terms: CopyPolicy,
    event_time_ns: int,
) -> Iterator[Any]:
    symbol = shard.instruments[book.creator_shard, slot.instrument].symbol
    may_enter = follow_up.due == 0 and follow_up.key.cause_kind == CauseKind.SIGNAL
    groups = size_toward_target(
        book,
        slot,
        rows,
        terms,
        price=follow_up.price,
        symbol=symbol,
        transact_time=follow_up.transact_time,
        event_time_ns=event_time_ns,
        may_enter=may_enter,
    )
    done = np.concatenate([chosen for chosen, _ in groups]) if groups else rows[:0]
    idle = np.setdiff1d(rows, done)
    if len(idle):
        nothing = Decisions(
            np.zeros(0, np.uint8), np.zeros(len(idle), np.int64), slot.target[idle], 1, True, (0,)
        )
        groups.append((idle, nothing))
    price, time = follow_up.price, follow_up.transact_time
    for chosen, decisions in groups:
        yield placed(
            book,
            slot,
            follow_up.key,
            chosen,
            decisions,
            terms,
            price=price,
            transact_time=time,
            event_time_ns=event_time_ns,
        )
        netted = (
            chosen[decisions.disposition == Disposition.NETTED]
            if len(decisions.disposition)
            else idle[:0]
        )
        if len(netted):
            key = follow_up.key._replace(attempt=max(follow_up.key.attempt, 1))
            yield from cancel_open(shard, book, slot, netted)
            yield queued(book, slot, key, netted, price=price, transact_time=time, due=0)


def placed(
    book: Book,
    slot: Slot,
    key: OrderKey,
    rows: NDArray[np.int64],
    decisions: Decisions,
    terms: CopyPolicy,
    *,
    price: int,
    transact_time: int,
    event_time_ns: int,
) -> OrdersPlaced:
    """Make the event of orders of one side and kind."""
    return OrdersPlaced(
        book.creator_shard,
        book.creator,
        slot.instrument,
        *key,
        side=decisions.side,
        price=price,
        limit_price=decisions.limit_prices[0],
        expire_time=0 if decisions.is_exit else event_time_ns + terms.entry_window_ns,
        is_exit=int(decisions.is_exit),
        fee_rate=terms.fee_rate,
        transact_time=transact_time,
        subscriptions=book.subscriptions["subscription"][rows].astype(np.int64),
        quantities=decisions.quantity,
        targets=decisions.target,
    )


def decide_due(
    shard: FollowerState,
    terms: CopyPolicy,
    event_time_ns: int,
    *,
    is_full: Callable[[], bool] = lambda: False,
) -> Iterator[Any]:
    """Try again the exits whose time has come, until `is_full` says that the rest must wait."""
    for book, slot in shard.slots_with_follow_ups():
        for follow_up in _together(slot.follow_ups.due(event_time_ns)):
            if is_full():
                return
            yield from _follow_up(
                shard, book, slot, follow_up, follow_up.rows, terms, event_time_ns
            )
            yield from end_finished(shard, book, follow_up.rows)


def _together(due: Iterable[FollowUp]) -> Iterator[FollowUp]:
    """Put what is due for one key into one, in batches that fit a frame: reports that came one by
    one shall not lead to orders one by one.
    """
    of_key: dict[tuple[OrderKey, int, int], list[FollowUp]] = {}
    for follow_up in due:
        of_key.setdefault((follow_up.key, follow_up.price, follow_up.transact_time), []).append(
            follow_up
        )
    for group in of_key.values():
        rows = np.sort(np.concatenate([follow_up.rows for follow_up in group]))
        for start in range(0, len(rows), DUE_ROWS_MAX):
            yield group[0]._replace(rows=rows[start : start + DUE_ROWS_MAX])


def end_finished(
    shard: FollowerState, book: Book, rows: NDArray[np.int64]
) -> Iterator[SubscriptionsEnded]:
    """End the ending subscriptions among some rows that hold nothing, have nothing open and wait
    for nothing.
    """
    if book.summary.is_active:
        return
    ending = np.unique(rows[book.subscriptions["status"][rows] == Status.ENDING])
    for slot in book.slots:
        if not len(ending):
            return
        busy = (slot.position[ending] != 0) | (slot.open[ending] != 0)
        ending = ending[~(busy | slot.follow_ups.are_queued(ending))]
    if len(ending):
        yield SubscriptionsEnded(book.subscriptions["subscription"][ending].astype(np.int64))
