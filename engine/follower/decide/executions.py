"""What a follower shard does with a broker's execution reports: each counts once, whatever comes
twice, late or out of order (P8).

A numbered execution that was applied before is dropped by its number. One for an order that is not
open any more, or for more than is left of it, is not applied: it is returned as `Unmatched`, for
the caller to look up (known: dropped) or to park. Trade cancels and corrections are decided in
`engine.follower.decide.corrections`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import all_of, is_rising, least, most
from engine.follower.book import joined
from engine.follower.decide.follow_ups import after_reports
from engine.follower.order_group import ENDS, OrderGroup, is_any
from engine.follower.sizing.batch import BatchBuilder
from engine.follower.state import FollowerState
from engine.journal.events.orders import ExecutionsApplied
from engine.messages.blocks import CorrectionsReported, ExecutionsReported
from engine.values.copy_policy import CopyPolicy
from engine.values.order_ids import OrderKey, key_of
from engine.values.order_status import ExecType
from engine.values.units import MONEY_MAX, PRICE_MAX, QUANTITY_ONE

_CASH_MAX = 1 << 60
_TRADE = int(ExecType.TRADE)
_APPLIED = (_TRADE, *ENDS)


_NOT_APPLIED = (ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT)


class Unmatched(NamedTuple):
    """Reports that were not applied: `reason` for programs, `why` for people.

    An `unmatched_execution` found no open order with as much left: it may have been applied before.
    """

    report: ExecutionsReported | CorrectionsReported
    reason: str
    why: str


def decide_reports(
    shard: FollowerState,
    broker: str,
    report: ExecutionsReported,
    sequence: int,
    terms: CopyPolicy,
    event_time_ns: int,
) -> Iterator[Any]:
    """Decide one message of reports: yields events, and `Unmatched` for what the caller must look
    up or park.
    """
    key = key_of(report)
    filled = _blocks_filled_by(shard, broker, (key,), (report,))
    if filled is not None:
        (block,) = filled
        yield _applied(broker, key, report, sequence)
        yield from after_reports(shard, block, block.rows, block.rows[:0], terms, event_time_ns)
        return
    fresh = is_any(report.exec_types, _APPLIED) & ~shard.execution_ids.seen(
        broker, report.prefix, report.numbers
    )
    fresh &= _first_of_each(report.numbers) | (report.numbers < 0)
    rest = _select(report, np.flatnonzero(fresh & _is_of(shard, broker, report.subscriptions)))
    strange = is_any(report.exec_types, _NOT_APPLIED)
    if strange.any():
        left = _select(report, np.flatnonzero(strange))
        yield Unmatched(
            left,
            "missing",
            "expected the execution that it corrects; see CorrectionsReported (tag 110)",
        )
    foreign = fresh & ~_is_of(shard, broker, report.subscriptions)
    if foreign.any():
        left = _select(report, np.flatnonzero(foreign))
        yield Unmatched(left, "wrong_broker", f"expected the account's own broker, found {broker}")
    while len(rest.subscriptions):
        distinct = _first_of_each(rest.subscriptions)
        now, rest = (
            _select(rest, np.flatnonzero(distinct)),
            _select(rest, np.flatnonzero(~distinct)),
        )
        yield from _decide_distinct(shard, broker, key, now, sequence, terms, event_time_ns)


def decide_batch(
    shard: FollowerState, broker: str, reports: Sequence[ExecutionsReported], sequence: int
) -> list[ExecutionsApplied] | None:
    """Decide reports about different books at once, where each is what nearly every one is: all
    orders of a block traded, and nothing follows from that. Returns: None when one is not; then
    they are decided one after the other.
    """
    keys = [key_of(report) for report in reports]
    blocks = _blocks_filled_by(shard, broker, keys, reports)
    if blocks is None or any(
        block.slot.follow_ups or not block.book.summary.is_active for block in blocks
    ):
        return None
    return [
        _applied(broker, key, report, sequence) for key, report in zip(keys, reports, strict=True)
    ]


def next_batch(shard: FollowerState, reports: Iterable[Any]) -> list[ExecutionsReported]:
    """Name the first reports, as many as may be decided batched: each of numbered executions and
    about another book.
    """
    gathered: BatchBuilder[ExecutionsReported] = BatchBuilder()
    for report in reports:
        if not isinstance(report, ExecutionsReported):
            break
        blocks = shard.orders.blocks(key_of(report))
        rows = len(report.subscriptions)
        if (
            len(blocks) != 1
            or len(blocks[0].rows) != rows
            or not gathered.has_room(blocks[0].book, rows)
        ):
            break
        gathered.add(blocks[0].book, rows, report)
    return gathered.take()


def _blocks_filled_by(
    shard: FollowerState,
    broker: str,
    keys: Sequence[OrderKey],
    reports: Sequence[ExecutionsReported],
) -> list[OrderGroup] | None:
    """Find the blocks whose orders these are, each traded once, all new and within what is left:
    what nearly every message says.

    Returns: None when anything is otherwise; the rules for single rows then tell. Cost: `latency`,
    `sustained`.
    """
    prefix = reports[0].prefix
    if shard.brokers != [broker] or any(
        report.prefix != prefix or not len(report.subscriptions) for report in reports
    ):
        return None
    numbers = joined([report.numbers for report in reports])
    if int(numbers[0]) < 0 or not is_rising(numbers):
        return None
    if not shard.execution_ids.is_after_all(broker, prefix, int(numbers[0])):
        return None
    if not all_of(joined([report.exec_types for report in reports]) == _TRADE):
        return None
    blocks = shard.orders.holding_all(keys, [report.subscriptions for report in reports])
    return blocks if blocks is not None and _fit_whole(blocks, reports) else None


def _fit_whole(blocks: Sequence[OrderGroup], reports: Sequence[ExecutionsReported]) -> bool:
    quantities = joined([report.quantities for report in reports])
    prices = joined([report.prices for report in reports])
    fees = joined([report.fees for report in reports])
    if least(quantities) <= 0 or not all_of(joined([block.is_open for block in blocks])):
        return False
    if least(prices) <= 0 or most(prices) > PRICE_MAX or max(most(fees), -least(fees)) > MONEY_MAX:
        return False
    if most(quantities) * most(prices) > MONEY_MAX * QUANTITY_ONE:
        return False
    cash = joined([block.book.subscriptions.money(block.span) for block in blocks])[0]
    if most(cash) > _CASH_MAX or least(cash) < -_CASH_MAX:
        return False
    leaves = joined([block.quantity for block in blocks]) - joined(
        [block.filled for block in blocks]
    )
    return all_of(quantities <= leaves)


def _is_of(
    shard: FollowerState, broker: str, subscriptions: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say which subscriptions' accounts trade at a broker; ones that do not exist are nobody's, and
    fail later.
    """
    if shard.brokers == [broker]:
        return np.ones(len(subscriptions), np.bool_)
    number = shard.brokers.index(broker) if broker in shard.brokers else -1
    known = (subscriptions >= 0) & (subscriptions < shard.places.count)
    mine = ~known
    for book, rows, which in shard.by_book(subscriptions[known]):
        accounts = book.subscriptions["account"][rows]
        mine[np.flatnonzero(known)[which]] = shard.accounts["broker"][accounts] == number
    return mine


def _first_of_each(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say where each number stands first."""
    first = np.ones(len(numbers), np.bool_)
    if len(numbers) > 1 and not (np.diff(numbers) > 0).all():
        first[:] = False
        first[np.unique(numbers, return_index=True)[1]] = True
    return first


def in_slices(report: ExecutionsReported, rows_max: int) -> Iterator[ExecutionsReported]:
    """Split a long report."""
    for start in range(0, len(report.subscriptions), rows_max):
        yield _select(report, np.arange(start, min(start + rows_max, len(report.subscriptions))))


def _select(report: ExecutionsReported, which: NDArray[np.int64]) -> ExecutionsReported:
    if len(which) == len(report.subscriptions):
        return report
    return ExecutionsReported(
        report.follower_shard,
        report.prefix,
        report.cause_kind,
        report.creator_shard,
        report.cause_number,
        report.leg,
        report.attempt,
        report.transact_time,
        report.numbers[which],
        report.subscriptions[which],
        report.exec_types[which],
        report.quantities[which],
        report.prices[which],
        report.fees[which],
        report.text,
    )


def _decide_distinct(
    shard: FollowerState,
    broker: str,
    key: OrderKey,
    report: ExecutionsReported,
    sequence: int,
    terms: CopyPolicy,
    event_time_ns: int,
) -> Iterator[Any]:
    matched = np.zeros(len(report.subscriptions), np.bool_)
    taken = np.zeros(len(report.subscriptions), np.bool_)
    touched: list[tuple[OrderGroup, NDArray[np.int64], NDArray[np.int64]]] = []
    known = (report.subscriptions >= 0) & (report.subscriptions < shard.places.count)
    for block, rows, which, leaves in _open_orders(shard, key, report.subscriptions, known):
        ended, quantities = is_any(report.exec_types[which], ENDS), report.quantities[which]
        fits = (
            (quantities > 0)
            & (quantities <= leaves)
            & _in_range(report, which)
            & _has_room(block, rows)
        )
        fits |= ended
        if report.numbers[which[0]] < 0 and shard.orders.has_unnumbered(
            key, int(report.subscriptions[which[0]]), report.prefix
        ):
            matched[which] = True
            continue
        matched[which[fits]] = True
        taken[which[fits]] = True
        touched.append((block, rows[fits], rows[fits & ended]))
    if taken.any():
        yield _applied(broker, key, _select(report, np.flatnonzero(taken)), sequence)
        for block, rows, ended_rows in touched:
            yield from after_reports(shard, block, rows, ended_rows, terms, event_time_ns)
    if not matched.all():
        left = _select(report, np.flatnonzero(~matched))
        yield Unmatched(
            left, "unmatched_execution", "expected an open order with as much left, found none"
        )


def _open_orders(
    shard: FollowerState, key: OrderKey, subscriptions: NDArray[np.int64], known: NDArray[np.bool_]
) -> Iterator[tuple[OrderGroup, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Find the open orders of a key. Yields: a block, rows of its book, which of the subscriptions
    these are, and the quantity that is left of each.
    """
    positions = np.flatnonzero(known)
    blocks = shard.orders.blocks(key)
    if not blocks or not len(positions):
        return
    for book, rows, which in shard.by_book(subscriptions[positions]):
        chosen = positions[which]
        for block in blocks:
            if block.book is not book:
                continue
            at, there = block.find(rows)
            there &= block.is_open[at]
            if there.any():
                at = at[there]
                yield block, rows[there], chosen[there], block.quantity[at] - block.filled[at]


def _in_range(report: ExecutionsReported, which: NDArray[np.int64] | slice) -> NDArray[np.bool_]:
    quantities, prices, fees = report.quantities[which], report.prices[which], report.fees[which]
    fits = (prices > 0) & (prices <= PRICE_MAX) & (fees >= -MONEY_MAX) & (fees <= MONEY_MAX)
    # Far from exact, and far from where a product of two allowed numbers would exceed 64 bits.
    return fits & (quantities.astype(np.float64) * prices <= float(MONEY_MAX) * QUANTITY_ONE)


def _has_room(block: OrderGroup, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say whose cash stays within 64 bits whatever the next execution says: a broker may say
    anything, again and again.
    """
    cash = block.book.subscriptions["cash"][rows]
    return (cash <= _CASH_MAX) & (cash >= -_CASH_MAX)


def _applied(
    broker: str, key: OrderKey, report: ExecutionsReported, sequence: int
) -> ExecutionsApplied:
    return ExecutionsApplied(
        sequence,
        broker,
        report.prefix,
        *key,
        report.transact_time,
        report.numbers,
        report.subscriptions,
        report.exec_types,
        report.quantities,
        report.prices,
        report.fees,
    )
