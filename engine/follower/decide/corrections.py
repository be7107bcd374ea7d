"""Trade cancels and corrections of executions (FIX ExecType H and G): what a broker takes back is
reversed exactly (P7), once (P8).

What the trade had moved is found in the order's history (`engine.follower.order_history`), not in
the state, and stands in the event, so a replay needs no history. Rules:

- Cash goes back by the same rounded notional and the same fee, and a correction's new trade counts as any other.
- Cost: `cost_without`. A trade undone before anything else happened leaves the cost as it was.
- An open order stays open and works what was taken back again, or what the broker says; a closed order is worked again only when the
  broker says so, and not against open orders of the other side: then it is to be cancelled.
- What an entry had filled and works no more lowers its target as an unfilled remainder does; what it fills or works beyond that raises a
  target of its side. What is then on its way beyond the target is cancelled, what is held beyond it exited after the pause of a further
  attempt; both follow up as the attempt after the last one.
- An ended subscription that holds something again is ending again.
- What follows an order that is worked again is the attempt after the last one, too, whichever ends first (P1).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.columns.arithmetic import value_ceil, value_floor
from engine.follower.apply.corrections import closed_group
from engine.follower.book import Book, Slot
from engine.follower.decide.follow_ups import after_reports, cancel_open, pause_ns, queued
from engine.follower.order_history import (
    OrderHistories,
    OrderHistory,
    OrderTerms,
    PastExecution,
    exec_id_of,
)
from engine.follower.state import FollowerState
from engine.journal.events.orders import CancelsRequested, LaterAttemptsFound, TradesCorrected
from engine.messages.blocks import CorrectionsReported
from engine.values.copy_policy import CopyPolicy
from engine.values.order_ids import OrderKey, key_of
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from engine.values.units import MONEY_MAX, PRICE_MAX, QUANTITY_MAX, QUANTITY_ONE

_CASH_MAX = 1 << 60
TRADES = (ExecType.TRADE, ExecType.TRADE_CORRECT)


class Repeated(NamedTuple):
    """A correction that was applied before: dropped."""

    row: int


class Rejected(NamedTuple):
    """A correction that was not applied, and why."""

    row: int
    refused: Refused


class _Correction(NamedTuple):
    """One correction, worked out: positions are signed, `leaves` and `filled` are the order's after
    it.
    """

    row: int
    book: Book
    slot: Slot
    book_row: int
    placed: OrderTerms
    history: OrderHistory
    old: PastExecution
    quantity: int
    price: int
    fee: int
    filled: int
    leaves: int
    target: int
    cost: int
    is_reopened: bool
    is_unwanted: bool


def decide_corrections(
    shard: FollowerState,
    broker: str,
    report: CorrectionsReported,
    sequence: int,
    histories: OrderHistories,
    terms: CopyPolicy,
    event_time_ns: int,
) -> Iterator[Any]:
    """Decide corrections of one key, at most one a subscription. Yields: events to apply at once,
    `Repeated` and `Rejected`.

    Each order's history was asked for. Cost: about 20 us a row: brokers correct few trades.
    """
    key = key_of(report)
    groups: dict[tuple[int, OrderTerms], list[_Correction]] = {}
    for row in range(len(report.subscriptions)):
        found = _decide_row(shard, broker, key, report, row, histories)
        if isinstance(found, _Correction):
            groups.setdefault((found.book.index, found.placed), []).append(found)
        else:
            yield found
    for corrections in groups.values():
        yield _corrected(broker, key, report, sequence, corrections)
        again = [
            each
            for each in corrections
            if each.is_reopened and each.history.attempt_last > key.attempt
        ]
        if again:
            yield _later_attempts(key, again)
    for corrections in groups.values():
        yield from _after(shard, key, corrections, terms, event_time_ns)


def in_distinct_slices(report: CorrectionsReported, rows_max: int) -> Iterator[CorrectionsReported]:
    """Split a report into slices of at most so many rows, each of another subscription, in
    order.
    """
    start, seen = 0, set[int]()
    subscriptions = report.subscriptions.tolist()
    for row, subscription in enumerate(subscriptions):
        if subscription in seen or row - start == rows_max:
            yield _sliced(report, slice(start, row))
            start, seen = row, set()
        seen.add(subscription)
    yield _sliced(report, slice(start, len(subscriptions)))


_COLUMNS = (
    "numbers",
    "reference_numbers",
    "subscriptions",
    "exec_types",
    "quantities",
    "prices",
    "fees",
    "leaves",
)


def _sliced(report: CorrectionsReported, rows: slice) -> CorrectionsReported:
    if rows == slice(0, len(report.subscriptions)):
        return report
    return msgspec.structs.replace(
        report, **{name: getattr(report, name)[rows] for name in _COLUMNS}
    )


def _decide_row(
    shard: FollowerState,
    broker: str,
    key: OrderKey,
    report: CorrectionsReported,
    row: int,
    histories: OrderHistories,
) -> "_Correction | Rejected | Repeated":
    subscription = int(report.subscriptions[row])
    history = histories.get(key, subscription)
    if history is None or history.placed is None:
        return Rejected(
            row,
            Refused(
                "unknown_execution",
                "expected a trade on an order of this shard, found no such order",
            ),
        )
    own = exec_id_of(report.prefix, int(report.numbers[row]))
    if history.has(own) or bool(
        shard.execution_ids.seen(broker, report.prefix, report.numbers[row : row + 1])[0]
    ):
        return Repeated(row)
    ((book, rows, _),) = shard.by_book(report.subscriptions[row : row + 1])
    account = int(book.subscriptions["account"][rows[0]])
    if shard.brokers[int(shard.accounts["broker"][account])] != broker:
        return Rejected(
            row, Refused("wrong_broker", f"expected the account's own broker, found {broker}")
        )
    reference = exec_id_of(report.reference_prefix, int(report.reference_numbers[row]))
    old = meant(history, reference)
    if isinstance(old, Refused):
        return Rejected(row, old)
    refused = _unfit(report, row, old)
    if refused is not None:
        return Rejected(row, refused)
    slot = shard.slot(book, history.placed.instrument)
    found = _worked_out(shard, key, report, row, book, slot, int(rows[0]), history, old)
    return Rejected(row, found) if isinstance(found, Refused) else found


def meant(history: OrderHistory, reference: str) -> PastExecution | Refused:
    """Find the trade that a reference means."""
    found, replaced = history.find(reference), history.replaced_by(reference)
    if found is None:
        return Refused(
            "unknown_execution",
            f"exec_ref_id: expected a trade on this order, found none named {reference}",
        )
    if found.exec_type not in TRADES:
        kind = ExecType(found.exec_type).name.lower()
        return Refused(
            "not_a_trade", f"exec_ref_id: expected a trade or its correction, found a {kind}"
        )
    if replaced is None:
        return found
    if replaced.exec_type == ExecType.TRADE_CANCEL:
        return Refused(
            "already_canceled",
            f"exec_ref_id: expected a trade that counts, found it cancelled by {replaced.exec_id}",
        )
    return Refused(
        "already_corrected",
        f"exec_ref_id: expected its latest correction, {replaced.exec_id}, found {reference}",
    )


def _unfit(report: CorrectionsReported, row: int, old: PastExecution) -> Refused | None:
    quantity, price, fee = (
        int(column[row]) for column in (report.quantities, report.prices, report.fees)
    )
    if report.exec_types[row] == ExecType.TRADE_CANCEL:
        if quantity not in (0, old.quantity) or price not in (0, old.price):
            return Refused(
                "mismatch",
                "expected the whole quantity at the price of the "
                "trade, found another; correct it instead",
            )
        return None
    fits = 0 < quantity <= QUANTITY_MAX and 0 < price <= PRICE_MAX and abs(fee) <= MONEY_MAX
    if not fits or quantity * price > MONEY_MAX * QUANTITY_ONE:
        return Refused(
            "out_of_range", "expected quantity, price and fee in range, found one beyond"
        )
    return None


def _worked_out(
    shard: FollowerState,
    key: OrderKey,
    report: CorrectionsReported,
    row: int,
    book: Book,
    slot: Slot,
    book_row: int,
    history: OrderHistory,
    old: PastExecution,
) -> _Correction | Refused:
    placed, side = history.placed, history.placed.side if history.placed else 0
    assert placed is not None
    is_cancel = report.exec_types[row] == ExecType.TRADE_CANCEL
    quantity, price, fee = (
        0 if is_cancel else int(column[row])
        for column in (report.quantities, report.prices, report.fees)
    )
    working, before = _working(shard, key, book, book_row), history.filled
    filled = before - old.quantity + quantity
    if filled > history.quantity:
        return Refused("overfill", "expected at most the order's quantity filled, found more")
    said = int(report.leaves[row])
    if not 0 <= said <= history.quantity - filled:
        return Refused(
            "leaves_qty", "leaves_qty: expected at most what is not filled of the order, found more"
        )
    is_against = int(slot.open[book_row]) * side < 0
    if working:
        leaves = said or max(working + old.quantity - quantity, 0)
    else:
        leaves = 0 if is_against else said
    position, cost = int(slot.position[book_row]), int(slot.cost[book_row])
    cost = cost_without(cost, position, side, old.quantity, old.price)
    cost = cost_with(cost, position - side * old.quantity, side, quantity, price)
    position += side * (quantity - old.quantity)
    cash = int(book.subscriptions["cash"][book_row])
    cash += _cash(side, quantity, price, fee) - _cash(side, old.quantity, old.price, old.fee)
    target = int(slot.target[book_row])
    if not placed.is_exit:
        reach = position + int(slot.open[book_row]) + side * (leaves - working)
        target = side * _target(side * target, side * reach, filled + leaves - before - working)
    if (
        abs(cash) > _CASH_MAX
        or abs(cost) > MONEY_MAX
        or max(abs(position), abs(target)) > QUANTITY_MAX
    ):
        return Refused(
            "out_of_range", "expected cash and position in range after it, found one beyond"
        )
    return _Correction(
        row,
        book,
        slot,
        book_row,
        placed,
        history,
        old,
        quantity,
        price,
        fee,
        filled,
        leaves,
        target,
        cost,
        is_reopened=not working and leaves > 0,
        is_unwanted=not working and said > leaves,
    )


def _working(shard: FollowerState, key: OrderKey, book: Book, row: int) -> int:
    """Say how much of an order is open."""
    one = np.array([row], np.int64)
    for block in shard.orders.blocks(key):
        if block.book is book:
            at, there = block.find(one)
            if there[0] and block.is_open[at[0]]:
                return int(block.quantity[at[0]] - block.filled[at[0]])
    return 0


def is_working(shard: FollowerState, key: OrderKey, subscription: int) -> bool:
    """Say whether an order is open."""
    if not 0 <= subscription < shard.places.count:
        return False
    book = shard.books[int(shard.places["book"][subscription])]
    return _working(shard, key, book, int(shard.places["row"][subscription])) > 0


def _target(target: int, reach: int, gained: int) -> int:
    """Move an entry's target, along its side, by what it fills and works more (or less) than
    before.
    """
    if gained < 0:
        return max(target + gained, min(target, max(reach, 0)))
    return target + gained if target > 0 else target


def _cash(side: int, quantity: int, price: int, fee: int) -> int:
    return (-value_ceil(quantity, price) if side > 0 else value_floor(quantity, price)) - fee


def _notional(side: int, quantity: int, price: int) -> int:
    return value_ceil(quantity, price) if side > 0 else value_floor(quantity, price)


def cost_without(cost: int, position: int, side: int, quantity: int, price: int) -> int:
    """Undo a trade in a signed cost basis, whatever has happened since.

    What the trade built and is still held loses the trade's own notional, but never more than the
    whole cost. What the trade had reduced comes back at the average cost of what is held of that
    side, and where nothing is held at the trade's own price.
    """
    held = position * side
    after = position - side * quantity
    if after == 0:
        return 0
    if held > quantity:
        return side * max(side * cost - _notional(side, quantity, price), 0)
    if held > 0:
        return -side * _notional(side, quantity - held, price)
    if held == 0:
        return -side * _notional(side, quantity, price)
    share = abs(cost) * quantity // -held
    return cost - side * share


def cost_with(cost: int, position: int, side: int, quantity: int, price: int) -> int:
    """Move a signed cost basis by a trade, as `engine.follower.order_group.trade` does."""
    held = -position * side
    closing = min(max(held, 0), quantity)
    if position + side * quantity == 0:
        return 0
    if closing:
        share = abs(cost) * closing // held
        cost -= share if cost > 0 else -share
    return cost + side * _notional(side, quantity - closing, price)


# Events.


def _corrected(
    broker: str, key: OrderKey, report: CorrectionsReported, sequence: int, rows: list[_Correction]
) -> TradesCorrected:
    placed, at = rows[0].placed, [each.row for each in rows]
    reopened = [(index, each) for index, each in enumerate(rows) if each.is_reopened]
    known = [(index, exec_id) for index, each in reopened for exec_id in each.history.unnumbered]
    return TradesCorrected(
        *key,
        placed.creator_shard,
        placed.creator,
        placed.instrument,
        placed.side,
        placed.is_exit,
        placed.price,
        placed.limit_price,
        placed.expire_time,
        placed.fee_rate,
        placed.transact_time,
        report.transact_time,
        sequence,
        broker,
        report.prefix,
        report.reference_prefix,
        report.numbers[at],
        report.reference_numbers[at],
        report.subscriptions[at],
        report.exec_types[at],
        order_quantities=_column(each.history.quantity for each in rows),
        old_quantities=_column(each.old.quantity for each in rows),
        old_prices=_column(each.old.price for each in rows),
        old_fees=_column(each.old.fee for each in rows),
        quantities=_column(each.quantity for each in rows),
        prices=_column(each.price for each in rows),
        fees=_column(each.fee for each in rows),
        filled=_column(each.filled for each in rows),
        leaves=_column(each.leaves for each in rows),
        targets=_column(each.target for each in rows),
        costs=_column(each.cost for each in rows),
        known_rows=_column(index for index, _ in known),
        known=[exec_id for _, exec_id in known],
    )


def _later_attempts(key: OrderKey, again: list[_Correction]) -> LaterAttemptsFound:
    subscriptions = again[0].book.subscriptions["subscription"]
    return LaterAttemptsFound(
        *key,
        _column(int(subscriptions[each.book_row]) for each in again),
        _column(each.history.attempt_last for each in again),
    )


def _column(values: Iterator[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64)


def _after(
    shard: FollowerState,
    key: OrderKey,
    corrections: list[_Correction],
    terms: CopyPolicy,
    event_time_ns: int,
) -> Iterator[Any]:
    """Go on from applied corrections of one book: cancel what is not wanted, exit what is too much,
    end what is over.
    """
    book, slot = corrections[0].book, corrections[0].slot
    unwanted = [each.book_row for each in corrections if each.is_unwanted]
    if unwanted:
        yield _cancels(book, key, _column(iter(unwanted)))
    is_waiting = slot.follow_ups.are_waiting(
        _column(each.book_row for each in corrections)
    ).tolist()
    late = [
        each
        for each, waits in zip(corrections, is_waiting, strict=True)
        if waits and each.is_reopened
    ]
    yield from cancel_open(shard, book, slot, _rows(late))
    free = [each for each, waits in zip(corrections, is_waiting, strict=True) if not waits]
    yield from _exit_excess(shard, key, book, slot, free, event_time_ns)
    rows = _rows(corrections)
    block = closed_group(
        key, book, slot, corrections[0].placed, rows, np.zeros(len(rows), np.int64)
    )
    yield from after_reports(shard, block, rows, rows[:0], terms, event_time_ns)


def _rows(corrections: list[_Correction]) -> NDArray[np.int64]:
    return np.sort(_column(each.book_row for each in corrections))


def _exit_excess(
    shard: FollowerState,
    key: OrderKey,
    book: Book,
    slot: Slot,
    corrections: list[_Correction],
    event_time_ns: int,
) -> Iterator[Any]:
    """Exit what is held, or on its way, beyond the target: by cancelling what is on its way, else
    by a further attempt after its pause.
    """
    is_queued = slot.follow_ups.are_queued(_column(each.book_row for each in corrections)).tolist()
    groups: dict[tuple[int, bool], list[_Correction]] = {}
    for each, has_queued in zip(corrections, is_queued, strict=True):
        held, open_ = (
            int(slot.position[each.book_row] + slot.open[each.book_row]),
            int(slot.open[each.book_row]),
        )
        is_coming = held * open_ > 0
        if _is_beyond(held, int(slot.target[each.book_row]), slot.lot) and (
            is_coming or not has_queued
        ):
            groups.setdefault((each.history.attempt_last, is_coming), []).append(each)
    for (attempt, is_coming), some in sorted(groups.items(), key=lambda group: group[0]):
        placed, due = some[0].placed, 0
        if is_coming:
            yield from cancel_open(shard, book, slot, _rows(some))
        else:
            due = event_time_ns + pause_ns(attempt)
        yield queued(
            book,
            slot,
            key.after(attempt),
            _rows(some),
            price=placed.price,
            transact_time=placed.transact_time,
            due=due,
        )


def _is_beyond(held: int, target: int, lot: int) -> bool:
    side = 1 if held > 0 else -1
    goal = max(side * target, 0)
    excess = side * held - goal
    return excess > 0 and (excess >= lot or goal == 0)


def _cancels(book: Book, key: OrderKey, rows: NDArray[np.int64]) -> CancelsRequested:
    subscriptions = book.subscriptions["subscription"][np.sort(rows)].astype(np.int64)
    ones = np.ones(len(rows), np.int64)
    kind, creator_shard, number, leg, attempt = (ones * value for value in key)
    return CancelsRequested(kind, creator_shard, number, subscriptions, leg, attempt)
