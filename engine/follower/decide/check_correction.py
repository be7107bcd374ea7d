"""The check of one trade cancel or correction: what it makes of its order and position, or why it
is not applied.
"""

from typing import NamedTuple

from engine.follower.book import Book
from engine.follower.cost_basis import cash_change_of, cost_with, cost_without
from engine.follower.order_histories import OrderHistories
from engine.follower.order_history import (
    OrderHistory,
    PastExecution,
    Placing,
    find_corrected,
)
from engine.follower.slot import Slot
from engine.follower.state import FollowerState
from engine.messages.blocks import CorrectionsReported, exec_id_of
from engine.values.order_status import ExecType
from engine.values.refusals import Refused
from engine.values.units import MONEY_MAX, PRICE_MAX, QUANTITY_MAX, QUANTITY_ONE

_CASH_MAX = 1 << 60


class Repeated(NamedTuple):
    """A correction that was applied before: dropped."""

    row: int


class Rejected(NamedTuple):
    """A correction that is not applied, and why."""

    row: int
    refused: Refused


class CheckedCorrection(NamedTuple):
    """One correction that is applied: the order and the position after it.

    Positions are signed. An unwanted order is reopened by the broker against open orders of the
    other side: it is to be cancelled.
    """

    row: int
    book: Book
    slot: Slot
    book_row: int
    placed: Placing
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


def check_correction(
    state: FollowerState,
    broker: str,
    report: CorrectionsReported,
    row: int,
    histories: OrderHistories,
) -> CheckedCorrection | Rejected | Repeated:
    """Check one correction of a report: find its order, the trade meant, and its effect."""
    history = histories.get(report.key, int(report.subscriptions[row]))
    if history is None or history.placed is None:
        return Rejected(
            row,
            Refused(
                "unknown_execution",
                "expected a trade on an order of this shard, found no such order",
            ),
        )
    if _was_applied(state, broker, report, row, history):
        return Repeated(row)
    ((book, rows, _),) = state.by_book(report.subscriptions[row : row + 1])
    account = int(book.subscriptions["account"][rows[0]])
    if state.brokers[int(state.accounts["broker"][account])] != broker:
        return Rejected(
            row, Refused("wrong_broker", f"expected the account's own broker, found {broker}")
        )
    reference = exec_id_of(report.reference_prefix, int(report.reference_numbers[row]))
    old = find_corrected(history, reference)
    if isinstance(old, Refused):
        return Rejected(row, old)
    refused = _check_values(report, row, old)
    if refused is not None:
        return Rejected(row, refused)
    slot = state.slot(book, history.placed.instrument)
    working = state.orders.open_quantity(report.key, book, int(rows[0]))
    order = _Order(book, slot, int(rows[0]), history.placed, history, working)
    found = _work_out(report, row, order, old)
    return Rejected(row, found) if isinstance(found, Refused) else found


def _was_applied(
    state: FollowerState, broker: str, report: CorrectionsReported, row: int, history: OrderHistory
) -> bool:
    own = exec_id_of(report.prefix, int(report.numbers[row]))
    if history.has(own):
        return True
    numbers = report.numbers[row : row + 1]
    return bool(state.execution_ids.seen(broker, report.prefix, numbers)[0])


def _check_values(report: CorrectionsReported, row: int, old: PastExecution) -> Refused | None:
    """Refuse values out of range, and a cancel that names another quantity or price."""
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


class _Order(NamedTuple):
    """The order that a correction is about; `working` is how much of it is open."""

    book: Book
    slot: Slot
    book_row: int
    placed: Placing
    history: OrderHistory
    working: int

    @property
    def side(self) -> int:
        return self.placed.terms.side


def _work_out(
    report: CorrectionsReported, row: int, order: _Order, old: PastExecution
) -> CheckedCorrection | Refused:
    """Work out the order and the position after a correction."""
    quantity, price, fee = _counting_now(report, row)
    history = order.history
    filled = history.filled - old.quantity + quantity
    if filled > history.quantity:
        return Refused("overfill", "expected at most the order's quantity filled, found more")
    said = int(report.leaves[row])
    if not 0 <= said <= history.quantity - filled:
        return Refused(
            "leaves_qty", "leaves_qty: expected at most what is not filled of the order, found more"
        )
    leaves = _leaves(order, said, old.quantity - quantity)
    moved = _move_position(order, old, PastExecution("", 0, quantity, price, fee, True))
    target = _move_target(order, moved.position, filled, leaves)
    if (
        abs(moved.cash) > _CASH_MAX
        or abs(moved.cost) > MONEY_MAX
        or max(abs(moved.position), abs(target)) > QUANTITY_MAX
    ):
        return Refused(
            "out_of_range", "expected cash and position in range after it, found one beyond"
        )
    return CheckedCorrection(
        row,
        order.book,
        order.slot,
        order.book_row,
        order.placed,
        history,
        old,
        quantity,
        price,
        fee,
        filled,
        leaves,
        target,
        moved.cost,
        is_reopened=not order.working and leaves > 0,
        is_unwanted=not order.working and said > leaves,
    )


def _counting_now(report: CorrectionsReported, row: int) -> tuple[int, int, int]:
    """Return quantity, price and fee that count instead of the trade's: zeros for a cancel."""
    if report.exec_types[row] == ExecType.TRADE_CANCEL:
        return 0, 0, 0
    return int(report.quantities[row]), int(report.prices[row]), int(report.fees[row])


def _leaves(order: _Order, said: int, taken_back: int) -> int:
    """Return what the order works after a correction, given what the broker says it works."""
    if order.working:
        return said or max(order.working + taken_back, 0)
    is_against = int(order.slot.open[order.book_row]) * order.side < 0
    return 0 if is_against else said


class _Moved(NamedTuple):
    """Position, cost and cash after a correction."""

    position: int
    cost: int
    cash: int


def _move_position(order: _Order, old: PastExecution, new: PastExecution) -> _Moved:
    """Undo the old trade and count the new one."""
    side, slot, row = order.side, order.slot, order.book_row
    position = int(slot.position[row])
    cost = cost_without(int(slot.cost[row]), position, side, old.quantity, old.price)
    cost = cost_with(cost, position - side * old.quantity, side, new.quantity, new.price)
    cash = int(order.book.subscriptions["cash"][row])
    cash += cash_change_of(side, new.quantity, new.price, new.fee)
    cash -= cash_change_of(side, old.quantity, old.price, old.fee)
    return _Moved(position + side * (new.quantity - old.quantity), cost, cash)


def _move_target(order: _Order, position: int, filled: int, leaves: int) -> int:
    """Move an entry's target by what it fills and works more, or less, than before. An exit's
    target stays.
    """
    slot, row, side = order.slot, order.book_row, order.side
    target = int(slot.target[row])
    if order.placed.terms.is_exit:
        return target
    gained = filled + leaves - order.history.filled - order.working
    along = side * target
    if gained >= 0:
        return side * (along + gained) if along > 0 else target
    reach = side * (position + int(slot.open[row]) + side * (leaves - order.working))
    return side * max(along + gained, min(along, max(reach, 0)))
