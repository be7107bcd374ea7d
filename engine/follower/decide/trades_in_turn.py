"""Decisions about reports that name the same orders many times: each order's reports are taken one
after the other, without a pass over the columns for each.

The result is that of reports that come one by one. A trade counts while its order is open and has
as much left; whatever follows the end of an order is unmatched.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.follower.cost_basis import cash_change_of
from engine.follower.decide.whole_groups import CASH_MAX
from engine.follower.order_group import OrderGroup
from engine.messages.blocks import ExecutionsReported
from engine.values.order_status import ExecType

REPEATS_MAX = 8
"""Up to so many reports of one order are taken pass by pass."""

_Rows = NDArray[np.int64]


class InTurn(NamedTuple):
    """The reports that count for orders of one group: rows of the book, those of them that ended,
    and the rows of the report.
    """

    group: OrderGroup
    rows: _Rows
    ended: _Rows
    taken: list[int]


def passes_over(report: ExecutionsReported) -> int:
    """Return how often the order is named that is named most."""
    subscriptions = report.subscriptions
    if len(subscriptions) == 1 or bool((np.diff(subscriptions) > 0).all()):
        return 1
    return int(np.unique(subscriptions, return_counts=True)[1].max())


def is_repeating(report: ExecutionsReported) -> bool:
    """Return whether an order is named more often than passes over the columns are worth."""
    return len(report.subscriptions) > REPEATS_MAX and passes_over(report) > REPEATS_MAX


def take_in_turn(
    report: ExecutionsReported,
    found: Sequence[tuple[OrderGroup, _Rows, _Rows, _Rows]],
    subscriptions: _Rows,
) -> Iterator[InTurn]:
    """Take a report's rows order by order. `found` has the open orders: a group, rows of its book,
    which of the distinct `subscriptions` these are, and the quantity that is left of each.

    Cost: a microsecond or two for each row.
    """
    order = np.argsort(report.subscriptions, kind="stable")
    starts = np.searchsorted(report.subscriptions[order], subscriptions).tolist()
    starts.append(len(order))
    columns = [
        column[order].tolist()
        for column in (report.exec_types, report.quantities, report.prices, report.fees)
    ]
    places = order.tolist()
    for group, rows, which, leaves in found:
        side = group.terms.side
        cash = group.book.subscriptions["cash"][rows].tolist()
        taken: list[int] = []
        touched, ended = [], []
        for row, at, left, has in zip(
            rows.tolist(), which.tolist(), leaves.tolist(), cash, strict=True
        ):
            span = range(starts[at], starts[at + 1])
            accepted, is_ended = _accepted(side, left, has, span, *columns)
            taken += [places[each] for each in accepted]
            if accepted:
                touched.append(row)
            if is_ended:
                ended.append(row)
        if taken:
            yield InTurn(group, np.array(touched, np.int64), np.array(ended, np.int64), taken)


def _accepted(
    side: int,
    leaves: int,
    cash: int,
    span: range,
    exec_types: list[int],
    quantities: list[int],
    prices: list[int],
    fees: list[int],
) -> tuple[list[int], bool]:
    """Return which reports of one order count, and whether one of them ended it."""
    accepted = []
    for at in span:
        if exec_types[at] != ExecType.TRADE:
            accepted.append(at)
            return accepted, True
        quantity = quantities[at]
        if quantity <= leaves and abs(cash) <= CASH_MAX:
            accepted.append(at)
            leaves -= quantity
            cash += cash_change_of(side, quantity, prices[at], fees[at])
            if not leaves:
                break
    return accepted, False
