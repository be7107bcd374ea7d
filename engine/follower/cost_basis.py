"""The cost basis of one position, with and without a trade. Units: costs signed micros."""

from engine.columns.arithmetic import value_ceil, value_floor


def notional_of(side: int, quantity: int, price: int) -> int:
    """Return the notional of a trade. Rounds: a buy up, a sell down."""
    return value_ceil(quantity, price) if side > 0 else value_floor(quantity, price)


def cash_change_of(side: int, quantity: int, price: int, fee: int) -> int:
    """Return what a trade adds to cash."""
    return -side * notional_of(side, quantity, price) - fee


def cost_without(cost: int, position: int, side: int, quantity: int, price: int) -> int:
    """Undo a trade in a signed cost basis, whatever has happened since.

    What the trade built and is still held loses the trade's own notional, but never more than the
    whole cost. What the trade had reduced comes back at the average cost of the quantity held on
    that side. If nothing is held there, it comes back at the trade's own price.
    """
    held = position * side
    after = position - side * quantity
    if after == 0:
        return 0
    if held > quantity:
        return side * max(side * cost - notional_of(side, quantity, price), 0)
    if held > 0:
        return -side * notional_of(side, quantity - held, price)
    if held == 0:
        return -side * notional_of(side, quantity, price)
    share = abs(cost) * quantity // -held
    return cost - side * share


def cost_with(cost: int, position: int, side: int, quantity: int, price: int) -> int:
    """Move a signed cost basis by a trade, as `engine.follower.apply.trades` does for columns."""
    held = -position * side
    closing = min(max(held, 0), quantity)
    if position + side * quantity == 0:
        return 0
    if closing:
        share = abs(cost) * closing // held
        cost -= share if cost > 0 else -share
    return cost + side * notional_of(side, quantity - closing, price)
