"""The arithmetic of copying, each formula once, exact over `Fraction` and rounded once where it
says so.

Units: money, prices, ratios, weights and rates in micros, quantities in 1e-8 units.
"""

from fractions import Fraction
from math import ceil, floor

MICRO = 1_000_000
ONE = 100_000_000


def value_of(position: int, mark: int) -> int:
    """Value a signed position. Rounds: toward minus infinity."""
    return floor(Fraction(position * mark, ONE))


def paid(quantity: int, price: int) -> int:
    """Return the cost of a buy. Rounds: up."""
    return ceil(Fraction(quantity * price, ONE))


def received(quantity: int, price: int) -> int:
    """Return the proceeds of a sell. Rounds: down."""
    return floor(Fraction(quantity * price, ONE))


def afforded(money: int, price: int) -> int:
    """Return the quantity that money buys at a price, 0 for no money. Rounds: down."""
    return floor(Fraction(max(money, 0)) / Fraction(price, ONE))


def proportional(quantity: int, equity: int, ratio: int, creator_equity: int) -> int:
    """Take a leg over in proportion of the equities. Rounds: down, once."""
    return floor(Fraction(quantity) * Fraction(equity, creator_equity) * Fraction(ratio, MICRO))


def multiplied(quantity: int, ratio: int) -> int:
    """Take a leg over times a ratio. Rounds: down."""
    return floor(Fraction(quantity) * Fraction(ratio, MICRO))


def fixed(amount: int, price: int, quantity: int, order_quantity: int) -> int:
    """Take an amount's worth, or the fill's share of it when the fill names its order. Rounds:
    down, once.
    """
    whole = Fraction(amount) / Fraction(price, ONE)
    return floor(whole * Fraction(quantity, order_quantity) if order_quantity else whole)


def removed(target: int, quantity: int, before: int) -> int:
    """Return the part of a target's size that a decrease removes. Rounds: down."""
    return floor(abs(target) * Fraction(quantity, abs(before)))


def weighted(weight: int, equity: int, price: int) -> int:
    """Return the quantity of an instrument that a weight of the equity allows. Rounds: down, money
    first.
    """
    return afforded(floor(Fraction(weight, MICRO) * equity), price)


def limit_of(price: int, side: int, slippage: int) -> int:
    """Price a marketable limit. Rounds: toward the signal's price; never below 1."""
    exact = price * (1 + side * Fraction(slippage, MICRO))
    return max(1, floor(exact) if side > 0 else ceil(exact))


def reserve_of(quantity: int, limit_price: int, fee_rate: int) -> int:
    """Return the money that an open buy withholds: its cost at the limit and the fee on that.
    Rounds: both up.
    """
    cost = paid(quantity, limit_price)
    return cost + ceil(cost * Fraction(fee_rate, MICRO))


def reservable(money: int, limit_price: int, fee_rate: int, lot: int) -> int:
    """Find the most whole lots whose reserve the money covers."""
    unrounded = Fraction(max(money, 0)) / (
        Fraction(limit_price, ONE) * (1 + Fraction(fee_rate, MICRO))
    )
    lots = floor(unrounded / lot)
    while lots > 0 and reserve_of(lots * lot, limit_price, fee_rate) > money:
        lots -= 1
    return lots * lot


def cost_after(cost: int, position: int, side: int, quantity: int, price: int) -> int:
    """Move a signed cost basis by one execution.

    A reduction takes its share toward zero. An increase adds the execution's notional (shorts:
    proceeds, negative). An execution across zero does both; its increase counts the part beyond
    zero.
    """
    closing = min(quantity, abs(position)) if position * side < 0 else 0
    if closing:
        share = floor(abs(cost) * Fraction(closing, abs(position)))
        cost = 0 if closing == abs(position) else cost - (share if cost > 0 else -share)
    opening = quantity - closing
    return cost + (paid(opening, price) if side > 0 else -received(opening, price))
