"""Events of a follower shard's journal: what it decided for its subscriptions, and what brokers
reported of their orders.
"""

from typing import ClassVar

from engine.columns.sections import Ascending, Column, Section, Texts
from engine.values.order_ids import CauseKind, OrderKey
from engine.values.order_terms import OrderTerms
from engine.values.units import POSITION_UNKNOWN

_SIGNAL = int(CauseKind.SIGNAL)


class SignalDecided(Section, frozen=True):
    """One part of a shard's subscriptions answered one signal: its dispositions and its orders.

    Shapes: one row a subscription of the creator's book, `first_row` on, in order of creation;
    `dispositions` are `engine.values.dispositions.Disposition` (0: not active, no disposition). An
    order's quantity is `units * unit`; 0 is no order. `residuals` are what the target keeps beyond
    position, open orders and this order, so target = position + open + order + residual. The terms
    are the orders'; their price and time are those of the signal, and so are the marks.
    `creator_position` is the creator's signed position in the instrument after the leg; frames
    older than the field do not say it.
    """

    TAG: ClassVar[int] = 26
    creator_shard: int
    signal: int
    leg: int
    creator: int
    instrument: int
    terms: OrderTerms
    first_row: int
    is_last_part: int
    unit: int
    mark_instruments: Ascending
    mark_prices: Column
    subscriptions: Ascending
    dispositions: Column
    units: Column
    residuals: Column
    creator_position: int = POSITION_UNKNOWN

    @property
    def key(self) -> OrderKey:
        """The key of the orders: a signal's first attempt."""
        return OrderKey(_SIGNAL, self.creator_shard, self.signal, self.leg, 0)


class OrdersPlaced(Section, frozen=True):
    """Orders whose cause was decided before or is no signal: closings, follow-ups after a cancel,
    further attempts of an exit.

    `creator_shard` is the creator's own, `key.creator_shard` that of the cause (0 for a command).
    Shapes: one row a subscription; a quantity of 0 places nothing
    and only ends the row's follow-up. `targets` are the rows' targets after it.
    """

    TAG: ClassVar[int] = 27
    creator_shard: int
    creator: int
    instrument: int
    key: OrderKey
    terms: OrderTerms
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
    key: OrderKey
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
    key: OrderKey
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
    key: OrderKey
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

    @property
    def terms(self) -> OrderTerms:
        """The orders' terms, as they were placed."""
        return OrderTerms(
            self.side,
            self.price,
            self.limit_price,
            self.expire_time,
            self.is_exit,
            self.fee_rate,
            self.order_time,
        )


class LaterAttemptsFound(Section, frozen=True):
    """Orders that are worked again had later attempts of their cause placed after them: the number
    of the last. What follows them comes after it, for an order id is used once (P1). Shapes: one
    row an order.
    """

    TAG: ClassVar[int] = 32
    key: OrderKey
    subscriptions: Column
    attempts: Column
