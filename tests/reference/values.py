"""The values that a book of copying shows: decisions, orders, positions, cash. Every `World` shares
them.

Units: money, prices and ratios in micros, quantities in 1e-8 units, times in ns. Sides are +1 buy
and -1 sell.
"""

from dataclasses import dataclass
from typing import NamedTuple

BUY, SELL = 1, -1
SIGNAL, COMMAND = "signal", "command"
TRADE, CANCELED, EXPIRED, REJECTED = "trade", "canceled", "expired", "rejected"


class OrderKey(NamedTuple):
    """The name of an order: its cause, subscription, leg and attempt (P1). There is one order for
    each, ever.
    """

    cause_kind: str
    cause_number: int
    account: str
    creator: str
    leg: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Order:
    """One copy order as it stands: `limit_price` is 0 for a market order, `price` the one it was
    decided at.
    """

    key: OrderKey
    symbol: str
    side: int
    quantity: int
    price: int
    limit_price: int
    is_exit: bool
    remaining: int
    is_cancelling: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of one leg of one signal for one subscription: `ordered`, `netted`, or `skipped`
    with a reason.
    """

    account: str
    creator: str
    symbol: str
    leg: int
    outcome: str
    reason: str = ""
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """One instrument in one subscription: target t, position p, open orders' signed remainder o,
    signed cost basis.
    """

    target: int
    position: int
    open: int
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SleeveTerms:
    """The terms of a subscription: its cash, its mode, its limits. 0 is no limit."""

    cash: int
    mode: str = "proportional"
    ratio: int = 1_000_000
    amount: int = 0
    max_order_notional: int = 0
    max_position_weight: int = 0
    allow_short: bool = False


@dataclass(frozen=True, slots=True)
class Sleeve:
    """One subscription's money and whether it is `active`, `paused`, `ending` or `ended`."""

    status: str
    cash: int
    reserved: int
    equity: int


@dataclass(frozen=True, slots=True)
class Portfolio:
    """One creator: cash, signed positions by symbol, equity at the newest marks."""

    cash: int
    positions: dict[str, int]
    equity: int


@dataclass(frozen=True, slots=True)
class State:
    """Everything a book holds; positions by (account, creator, symbol), sleeves by (account,
    creator).
    """

    positions: dict[tuple[str, str, str], Position]
    sleeves: dict[tuple[str, str], Sleeve]
    creators: dict[str, Portfolio]
