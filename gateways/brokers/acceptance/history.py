"""Everything the suite sent: every order with its terms, and what was answered."""

from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from engine.messages.blocks import OrdersSubmitted
from engine.values.order_ids import OrderId


class Known(Enum):
    """The state of an order as answers tell it."""

    UNKNOWN = "unknown"
    """No answer came."""
    TAKEN = "taken"
    """The program has it: accepted, repeated, or named by a look-up."""
    REFUSED = "refused"
    """The program refused its block, or did not name it in a look-up: it must never be executed."""


class Terms(NamedTuple):
    """An order's terms. Units: quantity 1e-8, limit micros, times ns."""

    account: int
    side: int
    quantity: int
    limit_price: int
    expire_time: int


class History:
    """The orders of this run, by id. Each is sent with one set of terms only."""

    def __init__(self) -> None:
        self.terms: dict[OrderId, Terms] = {}
        self.known: dict[OrderId, Known] = {}

    def note_sent(self, sections: Iterable[Any]) -> None:
        """Note the orders of a block that is about to leave."""
        for order, terms in _orders_in(sections):
            self.terms.setdefault(order, terms)
            self.known.setdefault(order, Known.UNKNOWN)

    def note_answer(self, sections: Iterable[Any], *, is_refused: bool) -> None:
        """Note the answer to a block. An order once taken stays taken."""
        for order, _ in _orders_in(sections):
            if not is_refused:
                self.known[order] = Known.TAKEN
            elif self.known[order] is Known.UNKNOWN:
                self.known[order] = Known.REFUSED

    def note_looked_up(self, order: OrderId, *, is_known: bool) -> None:
        """Note what a look-up said of an order."""
        self.known[order] = Known.TAKEN if is_known else Known.REFUSED


def ids_of(orders: OrdersSubmitted) -> list[OrderId]:
    """Return the ids of a section's orders, row by row."""
    return [order for order, _ in _orders_in([orders])]


def _orders_in(sections: Iterable[Any]) -> Iterator[tuple[OrderId, Terms]]:
    """Yield the orders of a block. A section that cannot be is read as far as it goes."""
    for section in sections:
        if not isinstance(section, OrdersSubmitted):
            continue
        columns = (section.subscriptions, section.accounts, section.quantities)
        for subscription, account, quantity in zip(
            *(column.tolist() for column in columns), strict=False
        ):
            order = section.key.order_id(section.follower_shard, subscription)
            yield (
                order,
                Terms(account, section.side, quantity, section.limit_price, section.expire_time),
            )
