"""What a follower shard does about a signal, a report, a passed time: reads the state, yields events.

The caller applies each event before asking for the next (`for event in decide...:
shard.apply_event(event)`), so a later decision of the same frame sees the earlier ones. Commands are
decided in `engine.commands`.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.book import Book, FollowUp, OrderKey, Slot, Status
from engine.disposition import Disposition
from engine.events import (
    CancelsRequested,
    CreatorResumed,
    CreatorsLearned,
    CreatorsOpened,
    CreatorSuspended,
    FillApplied,
    FollowUpsQueued,
    InstrumentsLearned,
    InstrumentsListed,
    OrdersPlaced,
    SignalDecided,
    SubscriptionsEnded,
)
from engine.follower import FollowerShard
from engine.identity import ATTEMPT_MAX, CauseKind
from engine.legs import Leg, legs_of
from engine.masks import any_of, rows_of
from engine.orders import OrderBlock
from engine.sizing import (
    Decisions,
    Pricing,
    Terms,
    size_decrease,
    size_increase,
    size_toward_target,
    skip_suspended,
)
from engine.units import NS_PER_S

_NETTED = Disposition.NETTED
RETRY_NS_MIN = NS_PER_S
RETRY_NS_MAX = 60 * NS_PER_S


class SignalPart(NamedTuple):
    """A run of a book's rows to be decided for one leg of a fill."""

    book: Book
    fill: FillApplied
    leg: Leg
    first_row: int
    is_last_part: bool


def learn(shard: FollowerShard, creator_shard: int, event: Any) -> Iterator[Any]:
    """Take over the creators and instruments that a creator shard introduced and this shard does not know
    yet, and which creators it has suspended or resumed.
    """
    if isinstance(event, CreatorsOpened):
        new = [index for index, name in enumerate(event.ids) if (creator_shard, name) not in shard.creators]
        if new:
            yield CreatorsLearned(creator_shard, event.numbers[new], [event.ids[index] for index in new])
    elif isinstance(event, InstrumentsListed):
        new = [
            index
            for index, number in enumerate(event.numbers.tolist())
            if (creator_shard, number) not in shard.instruments
        ]
        if new:
            symbols = [event.symbols[index] for index in new]
            yield InstrumentsLearned(
                creator_shard, event.numbers[new], symbols, event.lots[new], event.min_notionals[new]
            )
    elif isinstance(event, CreatorSuspended | CreatorResumed):
        yield from shard.suspended.learn(creator_shard, event)


def position_of(signal: int, leg: int) -> int:
    """Number a leg among all of a creator shard's, for the input cursor."""
    return signal << 1 | leg


def parts_of(
    shard: FollowerShard,
    creator_shard: int,
    fill: FillApplied,
    part_rows: int,
    *,
    position: int = 0,
    row: int = 0,
) -> Iterator[SignalPart]:
    """Split a fill's signals into parts; with a cursor's `position` and `row`, only what that cursor has
    not passed.
    """
    book = shard.book_of.get((creator_shard, fill.creator))
    if book is None:
        return
    for leg in legs_of(fill):
        here = position_of(fill.signal, leg.leg)
        if here < position:
            continue
        first = row if here == position else 0
        for start in range(first, book.count, part_rows):
            yield SignalPart(book, fill, leg, start, start + part_rows >= book.count)


def decide_part(
    shard: FollowerShard, part: SignalPart, terms: Terms, part_rows: int, event_time_ns: int
) -> Iterator[Any]:
    """Decide one leg of a fill for one part of its creator's book: dispositions, orders, cancels,
    follow-ups.
    """
    book, fill, leg = part.book, part.fill, part.leg
    rows = slice(part.first_row, min(part.first_row + part_rows, book.count))
    if not book.traits.is_active and not any_of(book.subscriptions["status"][rows] < Status.ENDING):
        return
    slot = shard.slot(book, fill.instrument)
    if len(shard.suspended) and shard.suspended.skips(
        book.creator_shard, book.creator, fill.signal, is_increase=leg.is_increase
    ):
        yield _signal_decided(part, slot, rows, skip_suspended(book, slot, leg, rows), terms, event_time_ns)
        return
    if leg.is_increase:
        symbol = shard.instruments[book.creator_shard, fill.instrument].symbol
        marks = dict(zip(fill.mark_instruments.tolist(), fill.mark_prices.tolist(), strict=True))
        pricing = Pricing(fill.price, fill.equity, marks, fill.order_quantity, fill.transact_time)
        decisions = size_increase(
            book, slot, leg, pricing, terms, rows, symbol=symbol, event_time_ns=event_time_ns
        )
    else:
        decisions = size_decrease(book, slot, leg, rows)
    yield _signal_decided(part, slot, rows, decisions, terms, event_time_ns)
    netted = rows_of(decisions.disposition == _NETTED) + rows.start
    if len(netted):
        key = OrderKey(CauseKind.SIGNAL, book.creator_shard, fill.signal, leg.leg, 1)
        yield from cancel_open(shard, book, slot, netted)
        yield _queued(book, slot, key, netted, price=fill.price, transact_time=fill.transact_time, due=0)


def _signal_decided(
    part: SignalPart, slot: Slot, rows: slice, decisions: Decisions, terms: Terms, event_time_ns: int
) -> SignalDecided:
    book, fill, leg = part.book, part.fill, part.leg
    quantity = decisions.quantity
    in_lots = slot.lot == 1 or not any_of(quantity % slot.lot)
    unit = slot.lot if in_lots else 1
    residuals = decisions.target - slot.position[rows]
    residuals -= slot.open[rows]
    residuals -= quantity if decisions.side > 0 else -quantity
    return SignalDecided(
        creator_shard=book.creator_shard,
        signal=fill.signal,
        leg=leg.leg,
        creator=book.creator,
        instrument=slot.instrument,
        side=decisions.side,
        price=fill.price,
        limit_price=decisions.limit_price,
        expire_time=0 if decisions.is_exit else event_time_ns + terms.entry_window_ns,
        is_exit=int(decisions.is_exit),
        fee_rate=terms.fee_rate,
        transact_time=fill.transact_time,
        first_row=rows.start,
        is_last_part=int(part.is_last_part),
        unit=unit,
        mark_instruments=fill.mark_instruments,
        mark_prices=fill.mark_prices,
        subscriptions=book.subscriptions["subscription"][rows].astype(np.int64),
        dispositions=decisions.disposition.astype(np.int64),
        units=quantity // unit if unit > 1 else quantity,
        residuals=residuals,
    )


def _queued(
    book: Book,
    slot: Slot,
    key: OrderKey,
    rows: NDArray[np.int64],
    *,
    price: int,
    transact_time: int,
    due: int,
) -> FollowUpsQueued:
    subscriptions = book.subscriptions["subscription"][rows].astype(np.int64)
    return FollowUpsQueued(
        book.creator_shard, book.creator, slot.instrument, *key, price, transact_time, due, subscriptions
    )


def cancel_open(
    shard: FollowerShard, book: Book, slot: Slot, rows: NDArray[np.int64]
) -> Iterator[CancelsRequested]:
    """Ask for the cancel of every open order of some rows in one instrument, once each."""
    for side in (1, -1):
        for block in shard.orders.of_slot(slot, side):
            at, there = block.find(rows)
            open_at = at[there & block.is_open[at] & ~block.is_cancelling[at]]
            if len(open_at):
                subscriptions = book.subscriptions["subscription"][block.rows[open_at]].astype(np.int64)
                ones = np.ones(len(open_at), np.int64)
                kind, creator_shard, number, leg, attempt = (ones * value for value in block.key)
                yield CancelsRequested(kind, creator_shard, number, subscriptions, leg, attempt)


def has_open_entry(shard: FollowerShard, slot: Slot, row: int) -> bool:
    """Say whether a row has an order open that opens or adds."""
    if not slot.open[row]:
        # A row's open orders in one instrument are all on one side: none is open where nothing is left.
        return False
    for block in shard.orders.entries_of(slot):
        at, there = block.find(np.array([row], np.int64))
        if there[0] and block.is_open[at[0]]:
            return True
    return False


def after_reports(
    shard: FollowerShard,
    block: OrderBlock,
    rows: NDArray[np.int64],
    ended: NDArray[np.int64],
    terms: Terms,
    event_time_ns: int,
) -> Iterator[Any]:
    """Go on after reports on orders of one block: try an exit's remainder again, follow up after cancels,
    end what is over.

    `rows` are those reported on, `ended` those whose orders ended with a remainder (canceled, rejected,
    expired).
    """
    book, slot = block.book, block.slot
    waiting = slot.waiting(0, book.count)
    if block.is_exit and len(ended):
        again = ended if waiting is None else ended[~waiting[ended]]
        again = again[np.abs(slot.position[again] + slot.open[again]) > 0]
        if len(again):
            yield _next_attempt(block, again, event_time_ns)
    if waiting is not None:
        ready = rows[waiting[rows] & (slot.open[rows] == 0)]
        for follow_up in list(slot.follow_ups):
            chosen = np.intersect1d(follow_up.rows, ready)
            if not follow_up.due and len(chosen):
                yield from _follow_up(shard, book, slot, follow_up, chosen, terms, event_time_ns)
    yield from end_finished(shard, book, rows)


def _next_attempt(block: OrderBlock, rows: NDArray[np.int64], event_time_ns: int) -> FollowUpsQueued:
    attempt = min(block.key.attempt + 1, ATTEMPT_MAX)
    due = event_time_ns + min(RETRY_NS_MIN << min(block.key.attempt, 10), RETRY_NS_MAX)
    key = block.key._replace(attempt=attempt)
    return _queued(
        block.book, block.slot, key, rows, price=block.price, transact_time=block.transact_time, due=due
    )


def _follow_up(
    shard: FollowerShard,
    book: Book,
    slot: Slot,
    follow_up: FollowUp,
    rows: NDArray[np.int64],
    terms: Terms,
    event_time_ns: int,
) -> Iterator[Any]:
    symbol = shard.instruments[book.creator_shard, slot.instrument].symbol
    may_enter = follow_up.due == 0 and follow_up.key.cause_kind == CauseKind.SIGNAL
    groups = size_toward_target(
        book, slot, rows, terms, price=follow_up.price, symbol=symbol, transact_time=follow_up.transact_time,
        event_time_ns=event_time_ns, may_enter=may_enter,
    )  # fmt: skip
    done = np.concatenate([chosen for chosen, _ in groups]) if groups else rows[:0]
    idle = np.setdiff1d(rows, done)
    if len(idle):
        nothing = Decisions(
            np.zeros(0, np.uint8), np.zeros(len(idle), np.int64), slot.target[idle], 1, True, 0
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
            chosen[decisions.disposition == Disposition.NETTED] if len(decisions.disposition) else idle[:0]
        )
        if len(netted):
            key = follow_up.key._replace(attempt=max(follow_up.key.attempt, 1))
            yield from cancel_open(shard, book, slot, netted)
            yield _queued(book, slot, key, netted, price=price, transact_time=time, due=0)


def placed(
    book: Book, slot: Slot, key: OrderKey, rows: NDArray[np.int64], decisions: Decisions, terms: Terms, *,
    price: int, transact_time: int, event_time_ns: int,
) -> OrdersPlaced:  # fmt: skip
    """Make the event of orders of one side and kind."""
    return OrdersPlaced(
        book.creator_shard,
        book.creator,
        slot.instrument,
        *key,
        side=decisions.side,
        price=price,
        limit_price=decisions.limit_price,
        expire_time=0 if decisions.is_exit else event_time_ns + terms.entry_window_ns,
        is_exit=int(decisions.is_exit),
        fee_rate=terms.fee_rate,
        transact_time=transact_time,
        subscriptions=book.subscriptions["subscription"][rows].astype(np.int64),
        quantities=decisions.quantity,
        targets=decisions.target,
    )


def decide_due(
    shard: FollowerShard, terms: Terms, event_time_ns: int, *, is_full: Callable[[], bool] = lambda: False
) -> Iterator[Any]:
    """Try again the exits whose time has come, until `is_full` says that the rest must wait."""
    for book, slot in shard.slots_with_follow_ups():
        for follow_up in list(slot.follow_ups):
            if 0 < follow_up.due <= event_time_ns:
                if is_full():
                    return
                rows = np.sort(follow_up.rows)
                yield from _follow_up(shard, book, slot, follow_up, rows, terms, event_time_ns)
                yield from end_finished(shard, book, rows)


def end_finished(shard: FollowerShard, book: Book, rows: NDArray[np.int64]) -> Iterator[SubscriptionsEnded]:
    """End the ending subscriptions among some rows that hold nothing, have nothing open and wait for
    nothing.
    """
    if book.traits.is_active:
        return
    ending = np.unique(rows[book.subscriptions["status"][rows] == Status.ENDING])
    for slot in book.slots:
        if not len(ending):
            return
        queued = [follow_up.rows for follow_up in slot.follow_ups]
        busy = (slot.position[ending] != 0) | (slot.open[ending] != 0)
        if queued:
            busy |= np.isin(ending, np.concatenate(queued))
        ending = ending[~busy]
    if len(ending):
        yield SubscriptionsEnded(book.subscriptions["subscription"][ending].astype(np.int64))
