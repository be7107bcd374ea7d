"""The legs of a creator's fill, and the orders that a step asks for."""

from dataclasses import dataclass

from tests.reference import amounts
from tests.reference.book import Cause, Subscription


@dataclass(frozen=True, slots=True)
class Leg:
    """One signal: positions are |P| around it, `equity` is E."""

    cause: Cause
    symbol: str
    side: int
    quantity: int
    before: int
    after: int
    equity: int
    order_quantity: int

    @property
    def is_increase(self) -> bool:
        return self.after > self.before


@dataclass(frozen=True, slots=True)
class Ask:
    """The result of a step: an order wanted, or a reason for none."""

    side: int
    quantity: int = 0
    reason: str = ""
    is_exit: bool = False


def legs_of(held: int, change: int) -> list[tuple[int, int, int]]:
    """Split a fill into legs of (quantity, |P| before, |P| after)."""
    after = held + change
    if held * after < 0:
        return [(abs(held), abs(held), 0), (abs(after), 0, abs(after))]
    return [(abs(change), abs(held), abs(after))]


def sized(subscription: Subscription, leg: Leg, equity: int) -> int:
    """Size an increase for a subscription, in its mode."""
    if subscription.terms.mode == "proportional":
        return amounts.proportional(leg.quantity, equity, subscription.terms.ratio, leg.equity)
    if subscription.terms.mode == "multiplier":
        return amounts.multiplied(leg.quantity, subscription.terms.ratio)
    return amounts.fixed(
        subscription.terms.amount, leg.cause.price, leg.quantity, leg.order_quantity
    )
