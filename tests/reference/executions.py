"""The effects of a broker's report on the slow auditor's books."""

from dataclasses import replace

from tests.reference import amounts
from tests.reference.book import Cause, FollowUp, Holding, Subscription, base_of, pause_after
from tests.reference.values import BUY, Order


def apply_trade(
    subscription: Subscription,
    holding: Holding,
    order: Order,
    quantity: int,
    price: int,
    fee: int,
) -> None:
    """Move money and position by an execution. Raises: ValueError if it is more than is left."""
    if not 0 < quantity <= order.remaining:
        raise ValueError(
            f"expected a quantity of at most {order.remaining}, found {quantity} for {order.key}"
        )
    subscription.cash -= fee
    if order.side == BUY:
        subscription.cash -= amounts.paid(quantity, price)
    else:
        subscription.cash += amounts.received(quantity, price)
    holding.cost = amounts.cost_after(holding.cost, holding.position, order.side, quantity, price)
    holding.position += order.side * quantity
    if quantity == order.remaining:
        del holding.orders[order.key]
    else:
        holding.orders[order.key] = replace(order, remaining=order.remaining - quantity)


def apply_end(holding: Holding, order: Order, last_attempt: int, time: int) -> None:
    """End an order with its remainder. An entry's remainder lowers the target, an exit's is tried
    again.
    """
    del holding.orders[order.key]
    if not order.is_exit:
        target, base = order.side * holding.target, order.side * base_of(holding, order.side)
        holding.target = order.side * max(target - order.remaining, min(target, base))
        is_exit_left = order.side * holding.reach < 0 and holding.follow_up is None
    else:
        is_exit_left = holding.reach != 0 and not holding.is_waiting
    if is_exit_left:
        key = order.key
        cause = Cause(key.cause_kind, key.cause_number, key.leg, order.price, time)
        holding.follow_up = FollowUp(cause, last_attempt + 1, time + pause_after(last_attempt))
