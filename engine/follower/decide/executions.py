"""Decisions about execution reports of a broker: each counts once, whatever comes twice, late or
out of order (P8).

A numbered execution that was applied before is dropped by its number. An execution of an order that
is not open any more, or of more than is left of it, is not applied. It is returned as `Unmatched`,
and the caller looks it up: a known one is dropped, any other refused. Trade cancels and corrections
are decided in `engine.follower.decide.corrections`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import is_any, is_rising
from engine.follower.decide.check_reports import Implausible, implausible, wrong_numbers
from engine.follower.decide.follow_ups import follow_reports
from engine.follower.decide.trades_in_turn import is_repeating, take_in_turn
from engine.follower.decide.whole_groups import CASH_MAX, applied, find_traded_whole
from engine.follower.deciding import Deciding
from engine.follower.order_group import OrderGroup
from engine.follower.state import FollowerState
from engine.messages.blocks import ExecutionsReported, Report
from engine.values.order_ids import OrderKey
from engine.values.order_status import CORRECTIONS, ENDS, ExecType

_APPLIED = (int(ExecType.TRADE), *ENDS)

_Rows = NDArray[np.int64]


class Unmatched(NamedTuple):
    """Reports that were not applied: `reason` for programs, `why` for people.

    An `unmatched_execution` found no open order with as much left: it may have been applied before.
    """

    report: Report
    reason: str
    why: str


def decide_reports(
    deciding: Deciding,
    broker: str,
    report: ExecutionsReported,
    sequence: int,
    doubts: list[Implausible] | None = None,
) -> Iterator[Any]:
    """Decide one message of reports. Yields: events, and `Unmatched` for what the caller must look
    up or refuse. `doubts` gets what counts, but can hardly be right.
    """
    state = deciding.state
    traded = find_traded_whole(state, broker, (report,))
    if traded is not None:
        (group,) = traded
        yield applied(broker, report, sequence)
        yield from follow_reports(deciding, group, group.rows, group.rows[:0])
        return
    fresh = is_any(report.exec_types, _APPLIED) & ~state.execution_ids.seen(
        broker, report.prefix, report.numbers
    )
    is_own = _is_of(state, broker, report.subscriptions)
    yield from _unmatched_kinds(report, broker, fresh & ~is_own)
    is_right = np.ones(len(fresh), np.bool_)
    for wrong in wrong_numbers(report, fresh & is_own):
        is_right[wrong.rows] = False
        yield Unmatched(select(report, wrong.rows), wrong.reason, wrong.why)
    rest = select(report, np.flatnonzero(fresh & is_own & is_right))
    if len(rest.numbers) and is_repeating(rest) and int(rest.numbers.min()) >= 0:
        yield from _decide_in_turn(deciding, broker, rest, sequence, doubts)
        return
    while len(rest.subscriptions):
        distinct = _first_of_each(rest.subscriptions)
        now, rest = (
            select(rest, np.flatnonzero(distinct)),
            select(rest, np.flatnonzero(~distinct)),
        )
        yield from _decide_distinct(deciding, broker, now, sequence, doubts)


def _unmatched_kinds(
    report: ExecutionsReported, broker: str, is_foreign: NDArray[np.bool_]
) -> Iterator[Unmatched]:
    """Yield the rows that no order can take: corrections in the wrong section, and rows of accounts
    that trade elsewhere.
    """
    is_correction = is_any(report.exec_types, CORRECTIONS)
    if is_correction.any():
        yield Unmatched(
            select(report, np.flatnonzero(is_correction)),
            "missing",
            "expected the execution that it corrects; see CorrectionsReported (tag 110)",
        )
    if is_foreign.any():
        yield Unmatched(
            select(report, np.flatnonzero(is_foreign)),
            "wrong_broker",
            f"expected the account's own broker, found {broker}",
        )


def _is_of(
    state: FollowerState, broker: str, subscriptions: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which subscriptions' accounts trade at a broker. A subscription that does not exist
    counts as the broker's, and finds no order later.
    """
    if state.brokers == [broker]:
        return np.ones(len(subscriptions), np.bool_)
    number = state.brokers.index(broker) if broker in state.brokers else -1
    known = (subscriptions >= 0) & (subscriptions < state.places.count)
    mine = ~known
    for book, rows, which in state.by_book(subscriptions[known]):
        accounts = book.subscriptions["account"][rows]
        mine[np.flatnonzero(known)[which]] = state.accounts["broker"][accounts] == number
    return mine


def _first_of_each(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return where each number stands first."""
    first = np.ones(len(numbers), np.bool_)
    if not is_rising(numbers):
        first[:] = False
        first[np.unique(numbers, return_index=True)[1]] = True
    return first


def in_slices(report: ExecutionsReported, rows_max: int) -> Iterator[ExecutionsReported]:
    """Split a long report."""
    for start in range(0, len(report.subscriptions), rows_max):
        yield select(report, np.arange(start, min(start + rows_max, len(report.subscriptions))))


def select(report: ExecutionsReported, which: NDArray[np.int64]) -> ExecutionsReported:
    """Return the report of some of its rows."""
    if len(which) == len(report.subscriptions):
        return report
    return ExecutionsReported(
        report.follower_shard,
        report.prefix,
        report.key,
        report.transact_time,
        report.numbers[which],
        report.subscriptions[which],
        report.exec_types[which],
        report.quantities[which],
        report.prices[which],
        report.fees[which],
        report.text,
    )


def _decide_in_turn(
    deciding: Deciding,
    broker: str,
    report: ExecutionsReported,
    sequence: int,
    doubts: list[Implausible] | None,
) -> Iterator[Any]:
    """Decide numbered reports that name some orders many times."""
    subscriptions = np.unique(report.subscriptions)
    found = list(_open_orders(deciding.state, report.key, subscriptions))
    taken, repeated, touched = take_in_turn(report, found, subscriptions)
    if taken:
        counted = select(report, np.array(taken))
        yield from _counted(deciding, broker, counted, touched, sequence, doubts)
    left = np.ones(len(report.subscriptions), np.bool_)
    left[taken] = left[repeated] = False
    if left.any():
        yield _unmatched(select(report, np.flatnonzero(left)))


def _counted(
    deciding: Deciding,
    broker: str,
    report: ExecutionsReported,
    touched: Sequence[tuple[OrderGroup, _Rows, _Rows]],
    sequence: int,
    doubts: list[Implausible] | None,
) -> Iterator[Any]:
    """Yield the event of reports that count, then what follows. `touched` has, for each group, its
    book's rows, and those whose orders ended.
    """
    if doubts is not None:
        doubts += implausible(report, touched[0][0].terms)
    yield applied(broker, report, sequence)
    for group, rows, ended in touched:
        yield from follow_reports(deciding, group, rows, ended)


def _unmatched(report: ExecutionsReported) -> Unmatched:
    return Unmatched(
        report, "unmatched_execution", "expected an open order with as much left, found none"
    )


def _decide_distinct(
    deciding: Deciding,
    broker: str,
    report: ExecutionsReported,
    sequence: int,
    doubts: list[Implausible] | None,
) -> Iterator[Any]:
    """Decide reports that are each of another subscription."""
    state = deciding.state
    matched = np.zeros(len(report.subscriptions), np.bool_)
    taken = np.zeros(len(report.subscriptions), np.bool_)
    touched: list[tuple[OrderGroup, _Rows, _Rows]] = []
    for group, rows, which, leaves in _open_orders(state, report.key, report.subscriptions):
        if report.numbers[which[0]] < 0 and state.orders.has_unnumbered(
            report.key, int(report.subscriptions[which[0]]), report.prefix
        ):
            matched[which] = True
            continue
        ended = is_any(report.exec_types[which], ENDS)
        fits = _fits(report, group, rows, which, leaves) | ended
        matched[which[fits]] = True
        taken[which[fits]] = True
        touched.append((group, rows[fits], rows[fits & ended]))
    if taken.any():
        counted = select(report, np.flatnonzero(taken))
        yield from _counted(deciding, broker, counted, touched, sequence, doubts)
    if not matched.all():
        yield _unmatched(select(report, np.flatnonzero(~matched)))


def _open_orders(
    state: FollowerState, key: OrderKey, subscriptions: NDArray[np.int64]
) -> Iterator[tuple[OrderGroup, _Rows, _Rows, _Rows]]:
    """Find the open orders of a key. Yields: a group, rows of its book, which of the subscriptions
    these are, and the quantity that is left of each.
    """
    is_known = (subscriptions >= 0) & (subscriptions < state.places.count)
    positions = np.flatnonzero(is_known)
    groups = state.orders.of_key(key)
    if not groups or not len(positions):
        return
    for book, rows, which in state.by_book(subscriptions[positions]):
        chosen = positions[which]
        for group in groups:
            if group.book is not book:
                continue
            at, there = group.find(rows)
            there &= group.is_open[at]
            if there.any():
                at = at[there]
                yield group, rows[there], chosen[there], group.quantity[at] - group.filled[at]


def _fits(
    report: ExecutionsReported, group: OrderGroup, rows: _Rows, which: _Rows, leaves: _Rows
) -> NDArray[np.bool_]:
    """Return which trades are within their orders, and leave cash in range."""
    fits: NDArray[np.bool_] = report.quantities[which] <= leaves
    # A broker may say anything, again and again: cash must stay within 64 bits.
    cash = group.book.subscriptions["cash"][rows]
    fits &= (cash <= CASH_MAX) & (cash >= -CASH_MAX)
    return fits
