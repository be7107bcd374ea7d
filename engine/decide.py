"""What a follower shard does about a signal, a report, a passed time: reads the state, yields events.

The caller applies each event before asking for the next (`for event in decide...:
shard.apply_event(event)`), so a later decision of the same frame sees the earlier ones. Signals of different
books are decided together: none sees another, and their events are applied together too. Commands are
decided in `engine.commands`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.arithmetic import Int64s
from engine.book import Book, Slot, Status
from engine.disposition import Disposition
from engine.events.creator import (
    CreatorResumed,
    CreatorsOpened,
    CreatorSuspended,
    FillApplied,
    InstrumentsListed,
)
from engine.events.orders import CancelsRequested, FollowUpsQueued, OrdersPlaced, SignalDecided
from engine.events.subscriptions import CreatorsLearned, InstrumentsLearned, SubscriptionsEnded
from engine.follow_ups import FollowUp
from engine.follower import FollowerShard
from engine.identity import CauseKind, OrderKey
from engine.legs import Leg, legs_of
from engine.masks import any_of, rows_of
from engine.orders import OrderBlock
from engine.runs import Piece, Run, spread
from engine.sizing import (
    Decisions,
    Pricing,
    Signal,
    Terms,
    size_decrease,
    size_increase,
    size_toward_target,
    skip_suspended,
)
from engine.units import NS_PER_S

_NETTED = int(Disposition.NETTED)
_SIGNAL = int(CauseKind.SIGNAL)
RETRY_NS_MIN = NS_PER_S
RETRY_NS_MAX = 60 * NS_PER_S
DUE_ROWS_MAX = 16_384


class SignalPart(NamedTuple):
    """A run of a book's rows to be decided for one leg of a fill."""

    book: Book
    fill: FillApplied
    leg: Leg
    first_row: int
    is_last_part: bool


LEARNED = (CreatorsOpened, InstrumentsListed, CreatorSuspended, CreatorResumed)
"""What a follower shard takes over from a creator shard's journal, the signals apart."""


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


def decide_parts(
    shard: FollowerShard, parts: Sequence[SignalPart], terms: Terms, part_rows: int, event_time_ns: int
) -> list[Any]:
    """Decide one leg of a fill each for parts of different creators' books: dispositions, orders, cancels, follow-ups.

    Returns: the events of all parts in their order, none applied. No part's decision depends on another's, for no two are of one book;
    what they have in common is asked in one pass (`engine.runs`).
    """
    decided: dict[int, list[Any]] = {}
    for kind, group in _by_kind(shard, parts, part_rows).items():
        run = Run([each.piece for each in group], kind.side if kind.is_increase else -kind.side)
        decisions = _sized(shard, kind, group, run, terms, event_time_ns)
        events = _events(shard, [each.part for each in group], run, decisions, terms, event_time_ns)
        for each, of_part in zip(group, events, strict=True):
            decided[each.place] = of_part
    return [event for place in sorted(decided) for event in decided[place]]


class _Kind(NamedTuple):
    """What signals must have in common to be sized in one pass."""

    is_increase: bool
    side: int
    is_skipped: bool


class _Chosen(NamedTuple):
    """A part that has rows to decide, where it stands among all, and these rows."""

    place: int
    part: SignalPart
    piece: Piece


def _by_kind(shard: FollowerShard, parts: Sequence[SignalPart], part_rows: int) -> dict[_Kind, list[_Chosen]]:
    groups: dict[_Kind, list[_Chosen]] = {}
    for index, part in enumerate(parts):
        book, leg = part.book, part.leg
        rows = slice(part.first_row, min(part.first_row + part_rows, book.count))
        if not book.traits.is_active and not any_of(book.subscriptions["status"][rows] < Status.ENDING):
            continue
        is_skipped = len(shard.suspended) > 0 and shard.suspended.skips(
            book.creator_shard, book.creator, part.fill.signal, is_increase=leg.is_increase
        )
        piece = Piece(book, shard.slot(book, part.fill.instrument), rows)
        kind = _Kind(leg.is_increase, leg.side, is_skipped)
        groups.setdefault(kind, []).append(_Chosen(index, part, piece))
    return groups


def _sized(
    shard: FollowerShard, kind: _Kind, group: Sequence[_Chosen], run: Run, terms: Terms, event_time_ns: int
) -> Decisions:
    if kind.is_skipped:
        return skip_suspended(run, is_increase=kind.is_increase)
    if kind.is_increase:
        signals = [_signal(shard, each.part, each.piece) for each in group]
        return size_increase(signals, run, terms, event_time_ns)
    return size_decrease([each.part.leg for each in group], run)


def _signal(shard: FollowerShard, part: SignalPart, piece: Piece) -> Signal:
    fill = part.fill
    marks = dict(zip(fill.mark_instruments.tolist(), fill.mark_prices.tolist(), strict=True))
    pricing = Pricing(fill.price, fill.equity, marks, fill.order_quantity, fill.transact_time)
    symbol = shard.instruments[part.book.creator_shard, fill.instrument].symbol
    return Signal(piece, part.leg, pricing, symbol)


def _events(
    shard: FollowerShard, parts: Sequence[SignalPart], run: Run, decisions: Decisions, terms: Terms, event_time_ns: int
) -> list[list[Any]]:  # fmt: skip
    """Make the events of each part of a run."""
    events: list[list[Any]] = [
        [event] for event in _signals_decided(parts, run, decisions, terms, event_time_ns)
    ]
    netted = decisions.disposition == _NETTED
    if any_of(netted):
        for part, piece, where, of_part in zip(parts, run.pieces, run.ranges, events, strict=True):
            rows = rows_of(netted[where]) + part.first_row
            if len(rows):
                book, fill = part.book, part.fill
                key = OrderKey(_SIGNAL, book.creator_shard, fill.signal, part.leg.leg, 1)
                of_part += cancel_open(shard, book, piece.slot, rows)
                of_part.append(
                    queued(book, piece.slot, key, rows, price=fill.price, transact_time=fill.transact_time, due=0)
                )  # fmt: skip
    return events


def _signals_decided(
    parts: Sequence[SignalPart], run: Run, decisions: Decisions, terms: Terms, event_time_ns: int
) -> Iterator[SignalDecided]:
    quantity, side = decisions.quantity, decisions.side
    units = _units(run, quantity)
    in_units = quantity // spread(units, run.counts) if any(unit > 1 for unit in units) else quantity
    held = run.position + run.open
    residuals = decisions.target - (held if run.side > 0 else -held)
    residuals -= quantity if side > 0 else -quantity
    subscriptions = run.column("subscription").astype(np.int64)
    dispositions = decisions.disposition.astype(np.int64)
    expire_time = 0 if decisions.is_exit else event_time_ns + terms.entry_window_ns
    for part, piece, unit, limit_price, where in zip(
        parts, run.pieces, units, decisions.limit_prices, run.ranges, strict=True
    ):
        fill = part.fill
        yield SignalDecided(
            part.book.creator_shard,
            fill.signal,
            part.leg.leg,
            part.book.creator,
            piece.slot.instrument,
            side,
            fill.price,
            limit_price,
            expire_time,
            int(decisions.is_exit),
            terms.fee_rate,
            fill.transact_time,
            part.first_row,
            int(part.is_last_part),
            unit,
            fill.mark_instruments,
            fill.mark_prices,
            subscriptions[where],
            dispositions[where],
            in_units[where],
            residuals[where],
        )


def _units(run: Run, quantity: Int64s) -> list[int]:
    """Say in what each piece's quantities are written: in lots, where all are whole ones."""
    rest = quantity % run.lot
    if not any_of(rest):
        return [piece.slot.lot for piece in run.pieces]
    in_lots = [not any_of(rest[where]) for where in run.ranges]
    return [piece.slot.lot if whole else 1 for piece, whole in zip(run.pieces, in_lots, strict=True)]


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
        book.creator_shard, book.creator, slot.instrument, *key, price, transact_time, due, subscriptions
    )


def cancel_open(
    shard: FollowerShard, book: Book, slot: Slot, rows: NDArray[np.int64]
) -> Iterator[CancelsRequested]:
    """Ask for the cancel of every open order of some rows in one instrument, once each."""
    for side in (1, -1):
        for block in shard.orders.of_slot(slot, side):
            if not any_of(block.is_open & ~block.is_cancelling):
                # While a broker is away thousands wait for their cancels, and each signal passes them.
                continue
            at, there = block.find(rows)
            open_at = at[there & block.is_open[at] & ~block.is_cancelling[at]]
            if len(open_at):
                subscriptions = book.subscriptions["subscription"][block.rows[open_at]].astype(np.int64)
                ones = np.ones(len(open_at), np.int64)
                kind, creator_shard, number, leg, attempt = (ones * value for value in block.key)
                yield CancelsRequested(kind, creator_shard, number, subscriptions, leg, attempt)


def have_open_entries(shard: FollowerShard, slot: Slot, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which rows have an order open that opens or adds."""
    found = np.zeros(len(rows), np.bool_)
    if slot.open[rows].any():
        for block in shard.orders.entries_of(slot):
            at, there = block.find(rows)
            found |= there & block.is_open[at]
    return found


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
    again = _still_to_exit(block, ended) if len(ended) else ended
    if len(again):
        yield from _next_attempts(block, again, event_time_ns)
    if slot.follow_ups:
        for follow_up, chosen in slot.follow_ups.waiting_for(rows[slot.open[rows] == 0]):
            yield from _follow_up(shard, book, slot, follow_up, chosen, terms, event_time_ns)
    yield from end_finished(shard, book, rows)


def _still_to_exit(block: OrderBlock, ended: NDArray[np.int64]) -> NDArray[np.int64]:
    """Name the rows among those whose orders ended that have an exit to finish.

    An entry that ended may have been to buy back, or sell, what an exit of the other side had left when it was given up.
    """
    slot = block.slot
    held = slot.position[ended] + slot.open[ended]
    is_left: NDArray[np.bool_] = (held != 0) & ~slot.follow_ups.are_waiting(ended)
    if not block.is_exit:
        is_left = (np.sign(held) == -block.side) & ~slot.follow_ups.are_queued(ended)
    left: NDArray[np.int64] = ended[is_left]
    return left


def _next_attempts(
    block: OrderBlock, rows: NDArray[np.int64], event_time_ns: int
) -> Iterator[FollowUpsQueued]:
    """Queue the attempt after the last one that was placed for the cause: mostly, but not always, after this one."""
    book, slot, attempts = block.book, block.slot, {block.key.attempt: rows}
    if block.last_attempts:
        last = np.array([block.last_attempts.get(row, block.key.attempt) for row in rows.tolist()])
        attempts = {int(attempt): rows[last == attempt] for attempt in np.unique(last)}
    for attempt, chosen in attempts.items():
        key, due = block.key.after(attempt), event_time_ns + pause_ns(attempt)
        yield queued(book, slot, key, chosen, price=block.price, transact_time=block.transact_time, due=due)


def pause_ns(attempt: int) -> int:
    """Say how long to wait after an attempt before the next."""
    return min(RETRY_NS_MIN << min(attempt, 10), RETRY_NS_MAX)


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
            chosen[decisions.disposition == Disposition.NETTED] if len(decisions.disposition) else idle[:0]
        )
        if len(netted):
            key = follow_up.key._replace(attempt=max(follow_up.key.attempt, 1))
            yield from cancel_open(shard, book, slot, netted)
            yield queued(book, slot, key, netted, price=price, transact_time=time, due=0)


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
    shard: FollowerShard, terms: Terms, event_time_ns: int, *, is_full: Callable[[], bool] = lambda: False
) -> Iterator[Any]:
    """Try again the exits whose time has come, until `is_full` says that the rest must wait."""
    for book, slot in shard.slots_with_follow_ups():
        for follow_up in _together(slot.follow_ups.due(event_time_ns)):
            if is_full():
                return
            yield from _follow_up(shard, book, slot, follow_up, follow_up.rows, terms, event_time_ns)
            yield from end_finished(shard, book, follow_up.rows)


def _together(due: Iterable[FollowUp]) -> Iterator[FollowUp]:
    """Put what is due for one key into one, in runs that fit a frame: reports that came one by one shall not lead to orders one by one."""
    of_key: dict[tuple[OrderKey, int, int], list[FollowUp]] = {}
    for follow_up in due:
        of_key.setdefault((follow_up.key, follow_up.price, follow_up.transact_time), []).append(follow_up)
    for group in of_key.values():
        rows = np.sort(np.concatenate([follow_up.rows for follow_up in group]))
        for start in range(0, len(rows), DUE_ROWS_MAX):
            yield group[0]._replace(rows=rows[start : start + DUE_ROWS_MAX])


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
        busy = (slot.position[ending] != 0) | (slot.open[ending] != 0)
        ending = ending[~(busy | slot.follow_ups.are_queued(ending))]
    if len(ending):
        yield SubscriptionsEnded(book.subscriptions["subscription"][ending].astype(np.int64))
