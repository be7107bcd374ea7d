"""Follow-ups: what is decided once a cancel is answered, an order has ended or a pause is over."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import any_of
from engine.follower.book import Book, SubscriptionStatus
from engine.follower.deciding import Deciding
from engine.follower.follow_ups import FollowUp
from engine.follower.order_group import OrderGroup
from engine.follower.sizing.decisions import Decisions
from engine.follower.sizing.toward_target import size_toward_target
from engine.follower.slot import Slot
from engine.follower.state import FollowerState
from engine.journal.events.orders import CancelsRequested, FollowUpsQueued, OrdersPlaced
from engine.journal.events.subscriptions import SubscriptionsEnded
from engine.values.copy_policy import CopyPolicy
from engine.values.dispositions import Disposition
from engine.values.order_ids import CauseKind, OrderKey
from engine.values.order_terms import OrderTerms
from engine.values.units import NS_PER_S

RETRY_NS_MIN = NS_PER_S
RETRY_NS_MAX = 60 * NS_PER_S
DUE_ROWS_MAX = 16_384
"""Rows of one key that are tried again at once: their orders must fit a frame."""


def queue_follow_up(
    book: Book,
    slot: Slot,
    key: OrderKey,
    rows: NDArray[np.int64],
    *,
    price: int,
    transact_time: int,
    due: int,
) -> FollowUpsQueued:
    """Return the event that queues a follow-up of some rows. `key` is that of the order to come."""
    subscriptions = book.subscriptions["subscription"][rows].astype(np.int64)
    return FollowUpsQueued(
        book.creator_shard,
        book.creator,
        slot.instrument,
        key,
        price,
        transact_time,
        due,
        subscriptions,
    )


def place_orders(
    book: Book,
    slot: Slot,
    key: OrderKey,
    rows: NDArray[np.int64],
    decisions: Decisions,
    policy: CopyPolicy,
    *,
    price: int,
    transact_time: int,
    event_time_ns: int,
) -> OrdersPlaced:
    """Return the event that places orders of one side and kind."""
    terms = OrderTerms(
        side=decisions.side,
        price=price,
        limit_price=decisions.limit_prices[0],
        expire_time=0 if decisions.is_exit else event_time_ns + policy.entry_window_ns,
        is_exit=int(decisions.is_exit),
        fee_rate=policy.fee_rate,
        transact_time=transact_time,
    )
    return OrdersPlaced(
        book.creator_shard,
        book.creator,
        slot.instrument,
        key,
        terms,
        subscriptions=book.subscriptions["subscription"][rows].astype(np.int64),
        quantities=decisions.quantity,
        targets=decisions.target,
    )


def cancel_open(
    state: FollowerState, book: Book, slot: Slot, rows: NDArray[np.int64]
) -> Iterator[CancelsRequested]:
    """Request the cancel of every open order of some rows in one instrument, once each."""
    for side in (1, -1):
        for group in state.orders.of_slot(slot, side):
            if not any_of(group.is_open & ~group.is_cancelling):
                # While a broker is away, thousands of groups wait for their cancels, and each
                # signal passes them.
                continue
            at, there = group.find(rows)
            open_at = at[there & group.is_open[at] & ~group.is_cancelling[at]]
            if len(open_at):
                yield request_cancels(book, group.key, group.rows[open_at])


def request_cancels(book: Book, key: OrderKey, rows: NDArray[np.int64]) -> CancelsRequested:
    """Return the event that requests the cancels of orders of one key."""
    subscriptions = book.subscriptions["subscription"][rows].astype(np.int64)
    kind, creator_shard, number, leg, attempt = key.columns(len(rows))
    return CancelsRequested(kind, creator_shard, number, subscriptions, leg, attempt)


def have_open_entries(
    state: FollowerState, slot: Slot, rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which rows have an open order that opens or adds."""
    found = np.zeros(len(rows), np.bool_)
    if slot.open[rows].any():
        for group in state.orders.entries_of(slot):
            at, there = group.find(rows)
            found |= there & group.is_open[at]
    return found


def follow_reports(
    deciding: Deciding, group: OrderGroup, rows: NDArray[np.int64], ended: NDArray[np.int64]
) -> Iterator[Any]:
    """Follow reports on orders of one group: queue the next attempt of an exit's remainder, carry
    out what waited for cancels, end what is over.

    `rows` are those reported on, `ended` those whose orders ended with a remainder (canceled,
    rejected, expired).
    """
    book, slot = group.book, group.slot
    again = _still_to_exit(group, ended) if len(ended) else ended
    if len(again):
        yield from _queue_next_attempts(group, again, deciding.now_ns)
    if slot.follow_ups:
        for follow_up, chosen in slot.follow_ups.waiting_for(rows[slot.open[rows] == 0]):
            yield from _carry_out(deciding, book, slot, follow_up, chosen)
    yield from end_finished(deciding.state, book, rows)


def _still_to_exit(group: OrderGroup, ended: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those rows among the ended ones that have an exit to finish.

    An entry that ended may have closed what an exit of the other side had left when it was given
    up: the rest is then an exit too.
    """
    slot = group.slot
    held = slot.position[ended] + slot.open[ended]
    is_left: NDArray[np.bool_] = (held != 0) & ~slot.follow_ups.are_waiting(ended)
    if not group.terms.is_exit:
        is_left = (np.sign(held) == -group.terms.side) & ~slot.follow_ups.are_queued(ended)
    left: NDArray[np.int64] = ended[is_left]
    return left


def _queue_next_attempts(
    group: OrderGroup, rows: NDArray[np.int64], now_ns: int
) -> Iterator[FollowUpsQueued]:
    """Queue the attempt after the last one that was placed for the cause. A correction may have
    reopened an order that later attempts were placed after.
    """
    terms, attempts = group.terms, {group.key.attempt: rows}
    if group.last_attempts:
        last = np.array([group.last_attempts.get(row, group.key.attempt) for row in rows.tolist()])
        attempts = {int(attempt): rows[last == attempt] for attempt in np.unique(last)}
    for attempt, chosen in attempts.items():
        yield queue_follow_up(
            group.book,
            group.slot,
            group.key.after(attempt),
            chosen,
            price=terms.price,
            transact_time=terms.transact_time,
            due=now_ns + pause_ns(attempt),
        )


def pause_ns(attempt: int) -> int:
    """Return how long to wait after an attempt before the next one."""
    return min(RETRY_NS_MIN << min(attempt, 10), RETRY_NS_MAX)


def decide_due(deciding: Deciding, *, is_full: Callable[[], bool] = lambda: False) -> Iterator[Any]:
    """Try again the exits whose time has come, until `is_full` says that the rest must wait."""
    for book, slot in deciding.state.slots_with_follow_ups():
        for follow_up in _merged(slot.follow_ups.due(deciding.now_ns)):
            if is_full():
                return
            yield from _carry_out(deciding, book, slot, follow_up, follow_up.rows)
            yield from end_finished(deciding.state, book, follow_up.rows)


def _merged(due: Iterable[FollowUp]) -> Iterator[FollowUp]:
    """Merge what is due for one key, in batches that fit a frame: reports that came one by one must
    not lead to orders one by one.
    """
    of_key: dict[tuple[OrderKey, int, int], list[FollowUp]] = {}
    for follow_up in due:
        of_key.setdefault((follow_up.key, follow_up.price, follow_up.transact_time), []).append(
            follow_up
        )
    for alike in of_key.values():
        rows = np.sort(np.concatenate([follow_up.rows for follow_up in alike]))
        for start in range(0, len(rows), DUE_ROWS_MAX):
            yield alike[0]._replace(rows=rows[start : start + DUE_ROWS_MAX])


def _carry_out(
    deciding: Deciding, book: Book, slot: Slot, follow_up: FollowUp, rows: NDArray[np.int64]
) -> Iterator[Any]:
    """Move rows of a follow-up toward their targets as they stand now. A row with nothing to do
    places an order of 0, which ends its follow-up.
    """
    state, policy, now_ns = deciding
    price, time = follow_up.price, follow_up.transact_time
    groups = size_toward_target(
        book,
        slot,
        rows,
        policy,
        price=price,
        symbol=state.instruments[book.creator_shard, slot.instrument].symbol,
        transact_time=time,
        event_time_ns=now_ns,
        may_enter=follow_up.due == 0 and follow_up.key.cause_kind == CauseKind.SIGNAL,
    )
    done = np.concatenate([chosen for chosen, _ in groups]) if groups else rows[:0]
    idle = np.setdiff1d(rows, done)
    if len(idle):
        groups.append((idle, _nothing(slot.target[idle])))
    for chosen, decisions in groups:
        yield place_orders(
            book,
            slot,
            follow_up.key,
            chosen,
            decisions,
            policy,
            price=price,
            transact_time=time,
            event_time_ns=now_ns,
        )
        netted = (
            chosen[decisions.disposition == Disposition.NETTED]
            if len(decisions.disposition)
            else idle[:0]
        )
        if len(netted):
            key = follow_up.key._replace(attempt=max(follow_up.key.attempt, 1))
            yield from cancel_open(state, book, slot, netted)
            yield queue_follow_up(book, slot, key, netted, price=price, transact_time=time, due=0)


def _nothing(targets: NDArray[np.int64]) -> Decisions:
    """Return decisions that order nothing."""
    none, zeros = np.zeros(0, np.uint8), np.zeros(len(targets), np.int64)
    return Decisions(none, zeros, targets, 1, True, (0,))


def end_finished(
    state: FollowerState, book: Book, rows: NDArray[np.int64]
) -> Iterator[SubscriptionsEnded]:
    """End the ending subscriptions among some rows that hold nothing, have nothing open and wait
    for nothing.
    """
    if book.summary.is_active:
        return
    ending = np.unique(rows[book.subscriptions["status"][rows] == SubscriptionStatus.ENDING])
    for slot in book.slots:
        if not len(ending):
            return
        busy = (slot.position[ending] != 0) | (slot.open[ending] != 0)
        ending = ending[~(busy | slot.follow_ups.are_queued(ending))]
    if len(ending):
        yield SubscriptionsEnded(book.subscriptions["subscription"][ending].astype(np.int64))
