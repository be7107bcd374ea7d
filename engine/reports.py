"""What a follower shard does with a broker's execution reports: each counts once, whatever comes twice,
late or out of order (P8).

A numbered execution that was applied before is dropped by its number. One for an order that is not open any
more, or for more than is left of it, is not applied: it is returned as `Unmatched`, for the caller to look
up (known: dropped) or to park. Trade cancels and corrections are decided in `engine.corrections`.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.blocks import CorrectionsReported, ExecutionsReported
from engine.decide import after_reports
from engine.events import ExecutionsApplied
from engine.follower import FollowerShard
from engine.identity import OrderKey
from engine.masks import all_of, is_rising, least, most
from engine.order_state import ExecType
from engine.orders import ENDS, OrderBlock, is_any
from engine.sizing import Terms
from engine.units import MONEY_MAX, PRICE_MAX, QUANTITY_ONE

_CASH_MAX = 1 << 60
_TRADE = ExecType.TRADE
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
    shard: FollowerShard,
    broker: str,
    report: ExecutionsReported,
    sequence: int,
    terms: Terms,
    event_time_ns: int,
) -> Iterator[Any]:
    """Decide one message of reports: yields events, and `Unmatched` for what the caller must look up or
    park.
    """
    key = OrderKey(report.cause_kind, report.creator_shard, report.cause_number, report.leg, report.attempt)
    block = _block_filled_by(shard, broker, key, report)
    if block is not None:
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
            left, "missing", "expected the execution that it corrects; see CorrectionsReported (tag 110)"
        )
    foreign = fresh & ~_is_of(shard, broker, report.subscriptions)
    if foreign.any():
        left = _select(report, np.flatnonzero(foreign))
        yield Unmatched(left, "wrong_broker", f"expected the account's own broker, found {broker}")
    while len(rest.subscriptions):
        distinct = _first_of_each(rest.subscriptions)
        now, rest = _select(rest, np.flatnonzero(distinct)), _select(rest, np.flatnonzero(~distinct))
        yield from _decide_distinct(shard, broker, key, now, sequence, terms, event_time_ns)


def _block_filled_by(
    shard: FollowerShard, broker: str, key: OrderKey, report: ExecutionsReported
) -> OrderBlock | None:
    """Find the block whose orders these are, each traded once, all new and within what is left: what nearly every message says.

    Returns: None when anything is otherwise; the rules for single rows then tell. Cost: `latency`, `sustained`.
    """
    subscriptions, numbers, count = report.subscriptions, report.numbers, len(report.subscriptions)
    if not count or int(numbers[0]) < 0 or shard.brokers != [broker]:
        return None
    if not all_of(report.exec_types == _TRADE) or not is_rising(numbers):
        return None
    if not shard.execution_ids.is_after_all(broker, report.prefix, int(numbers[0])):
        return None
    block = shard.orders.holding(key, subscriptions)
    return block if block is not None and _fits_whole(block, report) else None


def _fits_whole(block: OrderBlock, report: ExecutionsReported) -> bool:
    quantities, prices, fees = report.quantities, report.prices, report.fees
    if least(quantities) <= 0 or not all_of(block.is_open):
        return False
    if least(prices) <= 0 or most(prices) > PRICE_MAX or max(most(fees), -least(fees)) > MONEY_MAX:
        return False
    if most(quantities) * most(prices) > MONEY_MAX * QUANTITY_ONE:
        return False
    cash = block.book.subscriptions["cash"][block.run]
    if most(cash) > _CASH_MAX or least(cash) < -_CASH_MAX:
        return False
    return all_of(quantities <= block.quantity - block.filled)


def _is_of(shard: FollowerShard, broker: str, subscriptions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which subscriptions' accounts trade at a broker; ones that do not exist are nobody's, and fail later."""
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
    shard: FollowerShard,
    broker: str,
    key: OrderKey,
    report: ExecutionsReported,
    sequence: int,
    terms: Terms,
    event_time_ns: int,
) -> Iterator[Any]:
    matched = np.zeros(len(report.subscriptions), np.bool_)
    taken = np.zeros(len(report.subscriptions), np.bool_)
    touched: list[tuple[OrderBlock, NDArray[np.int64], NDArray[np.int64]]] = []
    known = (report.subscriptions >= 0) & (report.subscriptions < shard.places.count)
    for block, rows, which, leaves in _open_orders(shard, key, report.subscriptions, known):
        ended, quantities = is_any(report.exec_types[which], ENDS), report.quantities[which]
        fits = (quantities > 0) & (quantities <= leaves) & _in_range(report, which) & _has_room(block, rows)
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
        yield Unmatched(left, "unmatched_execution", "expected an open order with as much left, found none")


def _open_orders(
    shard: FollowerShard, key: OrderKey, subscriptions: NDArray[np.int64], known: NDArray[np.bool_]
) -> Iterator[tuple[OrderBlock, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
    """Find the open orders of a key. Yields: a block, rows of its book, which of the subscriptions these
    are, and the quantity that is left of each.
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


def _has_room(block: OrderBlock, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say whose cash stays within 64 bits whatever the next execution says: a broker may say anything, again and again."""
    cash = block.book.subscriptions["cash"][rows]
    return (cash <= _CASH_MAX) & (cash >= -_CASH_MAX)


def _applied(broker: str, key: OrderKey, report: ExecutionsReported, sequence: int) -> ExecutionsApplied:
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
