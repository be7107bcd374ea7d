"""The auditor's records: instruments, creators, subscriptions and their holdings. No rule of
copying lives here.
"""

from dataclasses import dataclass, field, replace

from tests.reference.amounts import reserve_of, value_of
from tests.reference.values import BUY, Order, OrderKey, SleeveTerms

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Instrument:
    """Units: `lot` in 1e-8, `min_notional` in micros."""

    lot: int
    min_notional: int

    def to_lot(self, quantity: int) -> int:
        """Round a quantity down to whole lots; a negative one is none."""
        return max(quantity, 0) // self.lot * self.lot


@dataclass(frozen=True, slots=True)
class Cause:
    """The reason for an order, with the price and time that its later attempts are decided with."""

    kind: str
    number: int
    leg: int
    price: int
    time: int


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A cause that is not done: it waits for cancels to be answered (`due` None) or for its exit's
    next attempt.
    """

    cause: Cause
    attempt: int
    due: int | None = None


@dataclass(slots=True)
class Holding:
    """One instrument in one subscription."""

    target: int = 0
    position: int = 0
    cost: int = 0
    orders: dict[OrderKey, Order] = field(default_factory=dict)
    follow_up: FollowUp | None = None

    @property
    def open(self) -> int:
        """The open orders' signed remainder."""
        return sum(order.side * order.remaining for order in self.orders.values())

    @property
    def reach(self) -> int:
        """The position once every open order is done: p+o."""
        return self.position + self.open

    @property
    def is_waiting(self) -> bool:
        """True while cancels have to be answered first."""
        return self.follow_up is not None and self.follow_up.due is None

    def cancel_all(self) -> None:
        """Ask for the cancel of every open order."""
        for key, order in self.orders.items():
            self.orders[key] = replace(order, is_cancelling=True)


@dataclass(slots=True)
class Creator:
    """One creator at a broker; `traded` lists its symbols in the order of their slots, `seen` the
    marks of its newest signal.
    """

    cash: int
    broker: str
    positions: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def traded(self) -> list[str]:
        return list(self.positions)

    def equity(self, marks: dict[str, int]) -> int:
        """Cash and the positions' values at the marks."""
        return self.cash + sum(
            value_of(held, marks[symbol]) for symbol, held in self.positions.items() if held
        )


@dataclass(slots=True)
class Subscription:
    """One account copying one creator."""

    account: str
    creator: str
    terms: SleeveTerms
    cash: int
    fee_rate: int
    status: str = "active"
    until: int | None = None
    denied: set[str] = field(default_factory=set)
    holdings: dict[str, Holding] = field(default_factory=dict)

    def is_active_at(self, signal: int) -> bool:
        """Return whether a signal counts for this subscription."""
        return self.status != "ended" and (self.until is None or signal < self.until)

    def holding(self, symbol: str) -> Holding:
        """Find what it holds of an instrument; an empty holding is made for a new one."""
        return self.holdings.setdefault(symbol, Holding())

    def equity(self, marks: dict[str, int]) -> int:
        """Cash and the positions' values at the marks."""
        held = (
            (symbol, holding.position)
            for symbol, holding in self.holdings.items()
            if holding.position
        )
        return self.cash + sum(value_of(position, marks[symbol]) for symbol, position in held)

    @property
    def reserved(self) -> int:
        """The money that open entries withhold: buys at the limit with the fee, shorts at the
        signal's price. Exits withhold nothing.
        """
        entries = (
            o
            for holding in self.holdings.values()
            for o in holding.orders.values()
            if not o.is_exit
        )
        return sum(
            reserve_of(order.remaining, order.limit_price, self.fee_rate)
            if order.side == BUY
            else reserve_of(order.remaining, order.price, 0)
            for order in entries
        )

    @property
    def available(self) -> int:
        """Cash less reservations, less shorts' proceeds and as much again held against them."""
        proceeds = sum(-holding.cost for holding in self.holdings.values() if holding.position < 0)
        return self.cash - self.reserved - 2 * proceeds


@dataclass(slots=True)
class Trade:
    """An execution on an order that moved something, or took something back; `replaced_by` is its
    cancel or correction.
    """

    exec_id: str
    quantity: int
    price: int
    fee: int
    is_cancel: bool = False
    replaced_by: "Trade | None" = None


@dataclass(slots=True)
class Placing:
    """An order as it was placed, whose it is, and everything that was executed on it; `time` is its
    cause's.
    """

    subscription: Subscription
    order: Order
    time: int
    trades: list[Trade] = field(default_factory=list)

    @property
    def filled(self) -> int:
        """The quantity that counts as filled."""
        return sum(trade.quantity for trade in self.trades if trade.replaced_by is None)


def base_of(holding: Holding, side: int) -> int:
    """Return what an increase of this side builds on: p+o, or 0 while an exit of the other side
    still has to finish.
    """
    return holding.reach if holding.reach * side > 0 else 0


def net(holding: Holding, cause: Cause, *, attempt: int) -> str:
    """Cancel the open orders for a cause that follows up once the cancels are answered."""
    holding.cancel_all()
    holding.follow_up = FollowUp(cause, attempt)
    return "netted"


def end_if_empty(subscription: Subscription) -> None:
    """End a subscription that is ending, once it holds nothing and waits for nothing."""
    held = subscription.holdings.values()
    if subscription.status == "ending" and not any(
        h.position or h.orders or h.follow_up for h in held
    ):
        subscription.status = "ended"


def pause_after(attempt: int) -> int:
    """Return the pause before an exit's next attempt."""
    pause: int = min(60 * SECOND, SECOND * 2**attempt)
    return pause
