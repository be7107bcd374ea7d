"""Events of a follower shard's journal: what it decided for its subscriptions, and what brokers
reported of their orders.
"""

from typing import ClassVar

from engine.columns.sections import Ascending, Column, Section, Texts


class SignalDecided(Section, frozen=True):
    """One part of a shard's subscriptions answered one signal: its dispositions and its orders.

    Shapes: one row a subscription of the creator's book, `first_row` on, in order of creation;
    `dispositions` are `engine.values.dispositions.Disposition` (0: not active, no disposition). An
    order's quantity is `units * unit`; 0 is no order. `residuals` are what the target keeps beyond
    position, open orders and this order, so target = position + open + order + residual. `side` is
    the orders' side, `price` the signal's, `limit_price` 0 for a market order, `expire_time` 0 for
    never, `is_exit` 0 or 1. Marks are the signal's. `fee_rate` (micros of notional) is what an
    entry reserves above its limit; `transact_time` is the creator's fill's.
    """

    TAG: ClassVar[int] = 26
    creator_shard: int
    signal: int
    leg: int
    creator: int
    instrument: int
    side: int
    price: int
    limit_price: int
    expire_time: int
    is_exit: int
    fee_rate: int
    transact_time: int
    first_row: int
    is_last_part: int
    unit: int
    mark_instruments: Ascending
    mark_prices: Column
    subscriptions: Ascending
    dispositions: Column
    units: Column
    residuals: Column


class OrdersPlaced(Section, frozen=True):
    """Orders whose cause was decided before or is no signal: closings, follow-ups after a cancel,
    further attempts of an exit.

    Scalars as in `SignalDecided`. Shapes: one row a subscription; a quantity of 0 places nothing
    and only ends the row's follow-up. `targets` are the rows' targets after it.
    """

    TAG: ClassVar[int] = 27
    creator_shard: int
    creator: int
    instrument: int
    cause_kind: int
    cause_creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    side: int
    price: int
    limit_price: int
    expire_time: int
    is_exit: int
    fee_rate: int
    transact_time: int
    subscriptions: Ascending
    quantities: Column
    targets: Column


class CancelsRequested(Section, frozen=True):
    """Open orders are to be cancelled: their coordinates."""

    TAG: ClassVar[int] = 28
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    subscriptions: Column
    legs: Column
    attempts: Column


class FollowUpsQueued(Section, frozen=True):
    """A cause is not done for some subscriptions: it waits for cancels to be answered (`due` 0), or
    for an exit's next attempt at `due`.

    `attempt` is the one that the order will have. It replaces what was queued for the same
    subscriptions and instrument.
    """

    TAG: ClassVar[int] = 29
    creator_shard: int
    creator: int
    instrument: int
    cause_kind: int
    cause_creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    price: int
    transact_time: int
    due: int
    subscriptions: Ascending


class ExecutionsApplied(Section, frozen=True):
    """A broker's reports on orders of one cause, leg and attempt, each counted once (P8).

    An execution id is `prefix` and the decimal `numbers`, or `prefix` alone where the number is -1.
    `exec_types` are `engine.values.order_status.ExecType`; `quantities`, `prices` and `fees` are of
    this execution.
    """

    TAG: ClassVar[int] = 30
    sequence: int
    broker: str
    prefix: str
    cause_kind: int
    creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    transact_time: int
    numbers: Column
    subscriptions: Ascending
    exec_types: Column
    quantities: Column
    prices: Column
    fees: Column


class TradesCorrected(Section, frozen=True):
    """A broker cancelled or corrected trades on orders of one cause, leg and attempt, each counted
    once (P8).

    An order's terms are as they were placed, for one that is worked again. Shapes: one row a
    correction, each of another subscription. `old_*` is what the reference had moved and is
    reversed, `quantities`, `prices` and `fees` what counts instead (0 for a cancel);
    `order_quantities` are the whole orders'. After it: `filled` and `leaves` of the order (0: not
    working), `targets` and `costs` of the position. `known` are the ids of executions without a
    number that reopened orders have had, by `known_rows`.
    """

    TAG: ClassVar[int] = 31
    cause_kind: int
    cause_creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    creator_shard: int
    creator: int
    instrument: int
    side: int
    is_exit: int
    price: int
    limit_price: int
    expire_time: int
    fee_rate: int
    order_time: int
    transact_time: int
    sequence: int
    broker: str
    prefix: str
    reference_prefix: str
    numbers: Column
    reference_numbers: Column
    subscriptions: Column
    exec_types: Column
    order_quantities: Column
    old_quantities: Column
    old_prices: Column
    old_fees: Column
    quantities: Column
    prices: Column
    fees: Column
    filled: Column
    leaves: Column
    targets: Column
    costs: Column
    known_rows: Column
    known: Texts


class LaterAttemptsFound(Section, frozen=True):
    """Orders that are worked again had later attempts of their cause placed after them: the number
    of the last. What follows them comes after it, for an order id is used once (P1). Shapes: one
    row an order.
    """

    TAG: ClassVar[int] = 32
    cause_kind: int
    cause_creator_shard: int
    cause_number: int
    leg: int
    attempt: int
    subscriptions: Column
    attempts: Column
