"""Decisions about reports that name the same orders many times: each order's reports are taken one
after the other, without a pass over the columns for each.

The result is that of reports that come one by one. A trade counts while its order is open and has
as much left; whatever follows the end of an order is unmatched. Of rows with one number, the first
one that fits counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.columns.reductions import has_repeats, is_rising
from engine.follower.cost_basis import cash_change_of
from engine.follower.decide.whole_groups import CASH_MAX
from engine.follower.order_group import OrderGroup
from engine.messages.blocks import ExecutionsReported
from engine.values.order_status import ExecType

REPEATS_MAX = 8
"""Up to so many reports of one order are taken pass by pass."""

_Rows = NDArray[np.int64]


class InTurn(NamedTuple):
    """The rows of a report that count, those that repeat a number that counts, and what they touch:
    for each group its book's rows, and those whose orders ended.
    """

    taken: list[int]
    repeated: list[int]
    touched: list[tuple[OrderGroup, _Rows, _Rows]]


@dataclass(slots=True)
class _Order:
    """An open order while its reports are taken."""

    side: int
    leaves: int
    cash: int
    is_touched: bool = False
    is_over: bool = False
    is_ended: bool = False

    def takes(self, exec_type: int, quantity: int, price: int, fee: int) -> bool:
        """Take a report. Returns: whether it counts."""
        if self.is_over:
            return False
        if exec_type != ExecType.TRADE:
            self.is_touched = self.is_over = self.is_ended = True
            return True
        if quantity > self.leaves or abs(self.cash) > CASH_MAX:
            return False
        self.is_touched = True
        self.leaves -= quantity
        self.cash += cash_change_of(self.side, quantity, price, fee)
        self.is_over = not self.leaves
        return True


def passes_over(report: ExecutionsReported) -> int:
    """Return how often the order is named that is named most."""
    if is_rising(report.subscriptions):
        return 1
    return int(np.unique(report.subscriptions, return_counts=True)[1].max())


def is_repeating(report: ExecutionsReported) -> bool:
    """Return whether an order is named more often than passes over the columns are worth, or a
    number stands twice.
    """
    is_long = len(report.subscriptions) > REPEATS_MAX
    return has_repeats(report.numbers) or (is_long and passes_over(report) > REPEATS_MAX)


def take_in_turn(
    report: ExecutionsReported,
    found: Sequence[tuple[OrderGroup, _Rows, _Rows, _Rows]],
    subscriptions: _Rows,
) -> InTurn:
    """Take a report's rows one after the other. `found` has the open orders: a group, rows of its
    book, which of the distinct `subscriptions` these are, and the quantity that is left of each.

    Cost: a microsecond or two for each row.
    """
    of: dict[int, _Order] = {}
    for group, rows, which, leaves in found:
        cash = group.book.subscriptions["cash"][rows].tolist()
        for subscription, left, has in zip(
            subscriptions[which].tolist(), leaves.tolist(), cash, strict=True
        ):
            of[subscription] = _Order(group.terms.side, left, has)
    taken, repeated = _taken(report, of)
    touched = []
    for group, rows, which, _ in found:
        orders = [of[subscription] for subscription in subscriptions[which].tolist()]
        is_touched = np.array([order.is_touched for order in orders], np.bool_)
        is_ended = np.array([order.is_ended for order in orders], np.bool_)
        if is_touched.any():
            touched.append((group, rows[is_touched], rows[is_ended]))
    return InTurn(taken, repeated, touched)


def _taken(report: ExecutionsReported, of: Mapping[int, _Order]) -> tuple[list[int], list[int]]:
    """Return the rows that count, and those that repeat a number that counts."""
    taken, repeated, counted = [], [], set[int]()
    columns = (
        report.numbers,
        report.subscriptions,
        report.exec_types,
        report.quantities,
        report.prices,
        report.fees,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for at, (number, subscription, exec_type, quantity, price, fee) in enumerate(rows):
        if number in counted:
            repeated.append(at)
            continue
        order = of.get(subscription)
        if order is not None and order.takes(exec_type, quantity, price, fee):
            taken.append(at)
            counted.add(number)
    return taken, repeated
