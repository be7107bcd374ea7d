"""Order terms: the terms that the orders of one decision have in common."""

from typing import NamedTuple


class OrderTerms(NamedTuple):
    """The terms of some orders, as they were placed.

    `side` is +1 buy or -1 sell. `price` is the mark at which they were decided. `limit_price` is 0
    for a market order, `expire_time` 0 for never, `is_exit` 0 or 1. `fee_rate` is the share of the
    notional that an entry reserves for fees. `transact_time` is that of the creator's fill, or of
    the command. Units: prices micros, `fee_rate` micros of the notional, times ns.
    """

    side: int
    price: int
    limit_price: int
    expire_time: int
    is_exit: int
    fee_rate: int
    transact_time: int
