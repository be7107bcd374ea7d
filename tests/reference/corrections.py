"""The slow auditor's trade cancels and corrections, worked out one at a time.

- A trade is named by its execution id, a corrected one by its correction's id.
- Rejected, in the words below: an execution that was cancelled or corrected before, one that is no
  trade or unknown, and a correction beyond the order's quantity.
- The trade is undone: money, fee and position go back, the cost by `cost_without`. Then the new
  trade, if any, counts as usual.
- An open order goes on with what was taken back, or with what `leaves` says. A closed one works
  again only as `leaves` says, unless there are open orders of the other side.
- While a cause waits for cancels, an order that works again is to be cancelled too.
- An entry that fills and works less than before lowers its target like a remainder. One that does
  more raises a target of its side.
- A position beyond the target by a lot, or with a target of nothing, is an excess. Open orders that
  lead there are cancelled, and the cause's next attempt follows up. If there are none and nothing
  is queued, the position is exited as that attempt, after its pause.
- A subscription that had ended and holds something again is ending.
- A creator's fill is cancelled, or brought to another quantity, by a fill of the difference at the
  current mark. The creator's cash goes by the original's amount and the one that counts instead.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from tests.reference.amounts import cost_after, paid, received
from tests.reference.book import Cause, FollowUp, Holding, Placing, Trade, base_of, pause_after
from tests.reference.reference import Reference
from tests.reference.values import BUY, Decision, OrderKey


def correct(
    reference: Reference,
    key: OrderKey,
    exec_ref_id: str,
    *,
    exec_id: str,
    quantity: int = 0,
    price: int = 0,
    fee: int = 0,
    leaves: int = 0,
    is_cancel: bool,
) -> str:
    """Cancel or correct a trade. Returns: the reason of a rejection, or an empty text."""
    placing = reference.orders.placings[key]
    found = next((trade for trade in placing.trades if trade.exec_id == exec_ref_id), None)
    if any(trade.exec_id == exec_id for trade in placing.trades):
        return "repeated"
    if found is None:
        return "unknown_execution"
    if found.is_cancel:
        return "not_a_trade"
    if found.replaced_by is not None:
        return "already_canceled" if found.replaced_by.is_cancel else "already_corrected"
    filled_before = placing.filled
    unfilled = placing.order.quantity - (filled_before - found.quantity + quantity)
    if unfilled < 0:
        return "overfill"
    if leaves > unfilled:
        return "leaves_qty"
    holding = placing.subscription.holdings[placing.order.symbol]
    found.replaced_by = Trade(exec_id, quantity, price, fee, is_cancel)
    placing.trades.append(found.replaced_by)
    _undo(placing, holding, found)
    if not is_cancel:
        _redo(placing, holding, found.replaced_by)
    _work(placing, holding, filled_before, found.quantity - quantity, leaves)
    if placing.subscription.status == "ended" and (holding.position or holding.orders):
        placing.subscription.status = "ending"
    _exit_excess(reference, placing, holding)
    reference.go_on(placing.subscription, placing.order.symbol)
    return ""


def _undo(placing: Placing, holding: Holding, trade: Trade) -> None:
    side = placing.order.side
    moved = (
        -paid(trade.quantity, trade.price) if side == BUY else received(trade.quantity, trade.price)
    )
    placing.subscription.cash += trade.fee - moved
    holding.cost = cost_without(holding.cost, holding.position, side, trade.quantity, trade.price)
    holding.position -= side * trade.quantity


def _redo(placing: Placing, holding: Holding, trade: Trade) -> None:
    side = placing.order.side
    moved = (
        -paid(trade.quantity, trade.price) if side == BUY else received(trade.quantity, trade.price)
    )
    placing.subscription.cash += moved - trade.fee
    holding.cost = cost_after(holding.cost, holding.position, side, trade.quantity, trade.price)
    holding.position += side * trade.quantity


def cost_without(cost: int, position: int, side: int, quantity: int, price: int) -> int:
    """Move a signed cost basis by the undoing of one trade.

    A trade that built the position takes back its own notional, at most all of the cost. A trade
    that reduced it comes back at the holding's average; where the holding is empty or on the
    trade's side, at the trade's own price.
    """

    def worth(some: int) -> int:
        return side * (paid(some, price) if side == BUY else received(some, price))

    if position == side * quantity:
        return 0
    if position * side < 0:
        return cost - side * floor(Fraction(abs(cost), abs(position)) * quantity)
    if abs(position) > quantity:
        return cost - worth(quantity) if abs(worth(quantity)) < abs(cost) else 0
    return -worth(quantity - abs(position))


def _work(
    placing: Placing, holding: Holding, filled_before: int, taken_back: int, leaves: int
) -> None:
    """Bring the order and its target to what it has filled and works now."""
    order, old = placing.order, holding.orders.get(placing.order.key)
    before = old.remaining if old else 0
    is_against = any(other.side != order.side for other in holding.orders.values())
    if old is not None:
        after = leaves or max(before + taken_back, 0)
    else:
        after = 0 if is_against else leaves
    if after:
        works = replace(order, quantity=placing.filled + after, remaining=after)
        is_cancelling = old.is_cancelling if old is not None else holding.is_waiting
        holding.orders[order.key] = replace(works, is_cancelling=is_cancelling)
    else:
        holding.orders.pop(order.key, None)
    if order.is_exit:
        return
    more = placing.filled + after - filled_before - before
    target, base = order.side * holding.target, order.side * base_of(holding, order.side)
    if more < 0:
        holding.target = order.side * max(target + more, min(target, base))
    elif target > 0:
        holding.target = order.side * (target + more)


def _exit_excess(reference: Reference, placing: Placing, holding: Holding) -> None:
    reach, order = holding.reach, placing.order
    goal = holding.target if holding.target * reach > 0 else 0
    excess = abs(reach) - abs(goal)
    if (
        reach == 0
        or excess <= 0
        or (goal and excess < reference.instruments[order.symbol].lot)
        or holding.is_waiting
    ):
        return
    last = reference.orders.last_attempt(order.key)
    cause = Cause(
        order.key.cause_kind, order.key.cause_number, order.key.leg, order.price, placing.time
    )
    if reach * holding.open > 0:
        holding.cancel_all()
        holding.follow_up = FollowUp(cause, last + 1)
    elif holding.follow_up is None:
        holding.follow_up = FollowUp(cause, last + 1, reference.time + pause_after(last))


@dataclass(slots=True)
class Fill:
    """A creator's fill as it stands; `standing` is why it cannot be corrected, empty while it
    can.
    """

    symbol: str
    side: int
    quantity: int
    price: int
    standing: str = ""


def difference(fill: Fill, quantity: int) -> tuple[int, int]:
    """Return the side and the quantity that bring a fill to another quantity."""
    more = quantity - fill.quantity
    return (fill.side if more > 0 else -fill.side), abs(more)


def correct_fill(
    reference: Reference,
    fills: dict[tuple[str, str], Fill],
    creator: str,
    exec_ref_id: str,
    *,
    exec_id: str,
    quantity: int,
    price: int,
    is_cancel: bool,
) -> tuple[str, list[Decision]]:
    """Cancel or correct a creator's fill. Returns: the reason of a rejection, or an empty text, and
    what the followers decided.
    """
    fill = fills.get((creator, exec_ref_id))
    if (creator, exec_id) in fills:
        return "repeated", []
    if fill is None:
        return "unknown_execution", []
    if fill.standing:
        return fill.standing, []
    side, moved = difference(fill, quantity)
    worth = [
        -paid(some, at) if fill.side == BUY else received(some, at)
        for some, at in ((fill.quantity, fill.price), (quantity, price))
    ]
    mark = reference.marks_of(creator)[fill.symbol]
    decisions = reference.fill(creator, fill.symbol, side, moved, mark, cash=worth[1] - worth[0])
    fill.standing = "already_canceled" if is_cancel else "already_corrected"
    fills[creator, exec_id] = Fill(
        fill.symbol, fill.side, quantity, price, "not_a_trade" if is_cancel else ""
    )
    return "", decisions
