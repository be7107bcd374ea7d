"""Outcomes of orders whose trades were cancelled or corrected: each such order is told again from
its beginning.

An order that no longer works and is not filled counts as canceled, unless something else ended it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.history.corrections import AppliedCorrection
from engine.history.executions import Executions
from engine.history.storage import ColumnStorage, Ints, rows_where
from engine.values.order_status import STATUS_OF_END, ExecType, OrdStatus

_ONE = 100_000_000


class OrderStory(NamedTuple):
    """An order after all its executions. `trades` are (quantity, price, fee) by execution id;
    `faults` are sentences about corrections that did not fit.
    """

    trades: dict[str, tuple[int, int, int]]
    leaves: int
    end: OrdStatus | None
    faults: list[str]

    @property
    def filled(self) -> int:
        """The filled quantity."""
        return sum(quantity for quantity, _, _ in self.trades.values())

    @property
    def fees(self) -> int:
        """The fees of its trades."""
        return sum(fee for _, _, fee in self.trades.values())

    def cash(self, side: int) -> int:
        """Return the cash that its trades moved, without fees: buys rounded up, sells down."""
        products = [quantity * price for quantity, price, _ in self.trades.values()]
        return sum(-product // _ONE if side > 0 else product // _ONE for product in products)

    @property
    def average_price(self) -> int:
        """The average price of its trades, rounded down; 0 without a trade."""
        return sum(quantity * price for quantity, price, _ in self.trades.values()) // max(
            self.filled, 1
        )


def stories(
    order_rows: Ints,
    quantities: Ints,
    executions: Executions,
    corrected: Sequence[tuple[int, AppliedCorrection]],
    storage: ColumnStorage,
) -> dict[int, OrderStory]:
    """Return the stories of corrected orders by row. `order_rows` are the orders of the executions,
    `corrected` the corrections with their orders' rows.
    """
    of_order: dict[int, list[AppliedCorrection]] = {}
    for row, correction in corrected:
        of_order.setdefault(row, []).append(correction)
    wanted = np.fromiter(of_order, np.int64, len(of_order))
    rows = rows_where(storage, len(order_rows), lambda here: np.isin(order_rows[here], wanted))
    executed: dict[int, list[int]] = {}
    for row in rows.tolist():
        executed.setdefault(int(order_rows[row]), []).append(row)
    return {
        order: _told(int(quantities[order]), executions, executed.get(order, []), some)
        for order, some in of_order.items()
    }


def _told(
    quantity: int, executions: Executions, rows: list[int], corrections: list[AppliedCorrection]
) -> OrderStory:
    trades: dict[str, tuple[int, int, int]] = {}
    leaves, end, faults = quantity, None, list[str]()
    events: list[tuple[int, int, int | AppliedCorrection]] = [(row, 1, row) for row in rows]
    events += [(each.after_executions, 0, each) for each in corrections]
    for _, _, event in sorted(events, key=lambda item: item[:2]):
        if isinstance(event, AppliedCorrection):
            faults += _correct(trades, event)
            leaves, end = event.leaves, None if event.leaves else end
            continue
        exec_type = ExecType(int(executions.exec_types[event]))
        if exec_type is ExecType.TRADE:
            moved = int(executions.quantities[event])
            trades[executions.exec_id(event)] = (
                moved,
                int(executions.prices[event]),
                int(executions.fees[event]),
            )
            leaves -= moved
        elif exec_type in STATUS_OF_END:
            leaves, end = 0, STATUS_OF_END[exec_type]
    return OrderStory(trades, leaves, end, faults)


def _correct(trades: dict[str, tuple[int, int, int]], correction: AppliedCorrection) -> list[str]:
    faults = []
    said = correction.old_quantity, correction.old_price, correction.old_fee
    if trades.pop(correction.reference, None) != said:
        faults.append(
            f"correction {correction.exec_id}: expected it to reverse a trade "
            f"that counts, found {correction.reference}"
            " unknown, replaced before, or of another quantity, price or fee"
        )
    if correction.exec_id in trades:
        faults.append(
            f"correction {correction.exec_id}: expected an id of its own, found it used before"
        )
    if correction.exec_type == ExecType.TRADE_CORRECT:
        trades[correction.exec_id] = correction.quantity, correction.price, correction.fee
    if sum(quantity for quantity, _, _ in trades.values()) != correction.filled:
        faults.append(
            f"correction {correction.exec_id}: expected filled to be "
            "the sum of its trades, found another"
        )
    return faults


def status_of(story: OrderStory, quantity: int, *, is_cancelling: bool) -> OrdStatus:
    """Return an order's status after its story."""
    if story.leaves > 0:
        if is_cancelling:
            return OrdStatus.PENDING_CANCEL
        return OrdStatus.PARTIALLY_FILLED if story.filled else OrdStatus.PENDING_NEW
    return OrdStatus.FILLED if story.filled >= quantity else story.end or OrdStatus.CANCELED
