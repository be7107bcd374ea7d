"""A world in which copying happens, as a scenario acts in it and sees it. The reference is one; an
engine is another.

Units: money, prices, ratios in micros, quantities in 1e-8 units, times and ages in ns. Sides are +1
and -1.
"""

from typing import Protocol

from tests.reference.reference import Reference
from tests.reference.values import (
    CANCELED,
    TRADE,
    Decision,
    Order,
    Portfolio,
    Position,
    Sleeve,
    SleeveTerms,
)


class World(Protocol):
    """One creator shard, one broker without fees, and a clock that stands still unless it is
    moved.
    """

    def list_instrument(self, symbol: str, *, lot: int, min_notional: int) -> None:
        """Introduce an instrument before anything names it."""

    def open_creator(self, creator: str, *, cash: int, broker: str = "paper") -> None:
        """Begin a creator at a broker: `paper` or `other`."""

    def follow(self, account: str, creator: str, terms: SleeveTerms) -> None:
        """Begin a subscription, opening the account if need be; it counts from the next fill on."""

    def unfollow(self, account: str, creator: str) -> None:
        """End a subscription, from the next fill on."""

    def pause(self, account: str, creator: str, *, is_paused: bool = True) -> None:
        """Stop or resume a subscription's increases."""

    def trust(self, source: str) -> None:
        """Choose whose marks count; empty: each broker's for its own creators."""

    def mark(self, symbol: str, price: int, *, source: str = "paper", age: int = 0) -> None:
        """Mark an instrument, now or `age` ago. A source that is not trusted says nothing."""

    def fill(
        self,
        creator: str,
        symbol: str,
        side: int,
        quantity: int,
        price: int,
        *,
        age: int = 0,
        order_quantity: int = 0,
    ) -> list[Decision]:
        """Fill a creator's order, dated `age` ago, and decide it everywhere. Returns: by leg, then
        by order of following.
        """

    def open_orders(self) -> list[Order]:
        """List the open orders, ordered by cause, leg and attempt."""

    def execute(self, order: Order, quantity: int, price: int, *, fee: int = 0) -> None:
        """Let the broker fill some of an order."""

    def end(self, order: Order, exec_type: str) -> None:
        """Let the broker end an order with its remainder: `canceled` (asked for or not), `expired`
        or `rejected`.
        """

    def resolve(self, order: Order, quantity: int = 0, price: int = 0, *, fee: int = 0) -> None:
        """Let an operator say that the broker filled some of an order, or with a quantity of 0 that
        it canceled the order.
        """

    def advance(self, duration: int) -> None:
        """Move event time on and do what falls due."""

    def position(self, account: str, creator: str, symbol: str) -> Position:
        """See one holding; all zero when there is none."""

    def sleeve(self, account: str, creator: str) -> Sleeve:
        """See one subscription's money and status."""

    def portfolio(self, creator: str) -> Portfolio:
        """See one creator."""


def execute_all(world: World) -> None:
    """Fill every open order that is not being cancelled, at the price it was decided at."""
    for order in world.open_orders():
        if not order.is_cancelling:
            world.execute(order, order.remaining, order.price)


class ReferenceWorld:
    """The reference as a world."""

    def __init__(self, *, time: int = 1_700_000_000 * 10**9, fee_rate: int = 0) -> None:
        self.book = Reference(time=time, fee_rate=fee_rate)
        self.list_instrument = self.book.list_instrument
        self.open_creator = self.book.open_creator
        self.trust = self.book.trust
        self.follow = self.book.follow
        self.pause = self.book.pause
        self.open_orders = self.book.open_orders

    def unfollow(self, account: str, creator: str) -> None:
        self.book.unfollow(account, creator)

    def mark(self, symbol: str, price: int, *, source: str = "paper", age: int = 0) -> None:
        self.book.mark(symbol, price, time=self.book.time - age, source=source)

    def fill(
        self,
        creator: str,
        symbol: str,
        side: int,
        quantity: int,
        price: int,
        *,
        age: int = 0,
        order_quantity: int = 0,
    ) -> list[Decision]:
        time = self.book.time - age
        return self.book.fill(
            creator, symbol, side, quantity, price, time=time, order_quantity=order_quantity
        )

    def execute(self, order: Order, quantity: int, price: int, *, fee: int = 0) -> None:
        self.book.execution(order.key, TRADE, quantity=quantity, price=price, fee=fee)

    def end(self, order: Order, exec_type: str) -> None:
        self.book.execution(order.key, exec_type)

    def resolve(self, order: Order, quantity: int = 0, price: int = 0, *, fee: int = 0) -> None:
        exec_type = TRADE if quantity else CANCELED
        self.book.execution(order.key, exec_type, quantity=quantity, price=price, fee=fee)

    def advance(self, duration: int) -> None:
        self.book.advance(self.book.time + duration)

    def position(self, account: str, creator: str, symbol: str) -> Position:
        return self.book.state().positions.get((account, creator, symbol), Position(0, 0, 0, 0))

    def sleeve(self, account: str, creator: str) -> Sleeve:
        return self.book.state().sleeves[account, creator]

    def portfolio(self, creator: str) -> Portfolio:
        return self.book.state().creators[creator]
