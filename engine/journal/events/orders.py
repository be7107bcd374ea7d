"""Events of a follower shard's journal: its decisions for its subscriptions, and the brokers'
reports on their orders.
"""

from typing import ClassVar

from engine.columns.section_types import Ascending, Column, Section, Texts
from engine.values.order_ids import CauseKind, OrderKey
from engine.values.order_terms import OrderTerms
from engine.values.units import POSITION_UNKNOWN

_SIGNAL = int(CauseKind.SIGNAL)
RESOLVED_PREFIX = "operator\t"
"""The prefix of the executions that operators report. A broker's prefixes are printable, so none of
them is this one.
"""


class SignalDecided(Section, frozen=True):
    """The decision of one signal for one part of a book: dispositions and orders.

    Shapes: one row per subscription of the creator's book, from `first_row` on, in order of
    creation. `dispositions` are `engine.values.dispositions.Disposition` (0: not active, no
    disposition).

    An order's quantity is `units * unit`; 0 is no order. `residuals` are what the target keeps
    beyond position, open orders and this order, so target = position + open + order + residual.
    `terms` are those of the orders. Their price and time are the signal's, and so are the marks.
    `creator_position` is the creator's signed position in the instrument after the leg. Frames
    older than this field do not have it.
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
    """Orders of a cause that was decided before, or that is no signal: closings, follow-ups after a
    cancel, further attempts of an exit.

    `creator_shard` is the creator's own, `key.creator_shard` that of the cause (0 for a command).
    `targets` are the rows' targets afterwards. Shapes: one row per subscription. A quantity of 0
    places nothing and only ends the row's follow-up.
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
    """Cancels were requested, by the orders' coordinates."""

    TAG: ClassVar[int] = 28
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    subscriptions: Column
    legs: Column
    attempts: Column


class FollowUpsQueued(Section, frozen=True):
    """A cause is not done for these subscriptions: it waits until cancels are answered (`due` 0),
    or until an exit's next attempt at `due`.

    The attempt in `key` is the one that the order will have. The event replaces what was queued for
    the same subscriptions and instrument.
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
    """A broker's reports on orders of one cause, leg and attempt. Each counts once (P8).

    An execution id is `prefix` and the decimal number, or `prefix` alone where the number is -1.
    `exec_types` are `engine.values.order_status.ExecType`. `quantities`, `prices` and `fees` are
    those of the execution.
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
    """A broker cancelled or corrected trades on orders of one cause, leg and attempt. Each counts
    once (P8).

    Shapes: one row per correction, each of another subscription.

    The event has the terms with which the orders were placed, because an order may be worked again.
    `old_*` are the values of the trade that is reversed. `quantities`, `prices` and `fees` count
    instead (0 for a cancel). `order_quantities` are those of the whole orders. `filled` and
    `leaves` (0: not working) are the order's afterwards, `targets` and `costs` the position's.
    `known` are the ids of executions without a number that the reopened orders have had;
    `known_rows` has the row of each.
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
    """Later attempts were placed after orders that are now worked again: the number of the last of
    them. The next attempt comes after it, because an order id is used once (P1). Shapes: one row
    per order.
    """

    TAG: ClassVar[int] = 32
    key: OrderKey
    subscriptions: Column
    attempts: Column


class OrderResolved(Section, frozen=True):
    """An operator said what became of an order, by a command, and `text` says why.

    The `ExecutionsApplied` behind it says what that is. Its prefix is `RESOLVED_PREFIX`, and its
    one execution has this `number`.
    """

    TAG: ClassVar[int] = 33
    key: OrderKey
    subscription: int
    number: int
    command_id: str
    text: str


class OrdersUnanswered(Section, frozen=True):
    """Orders of one cause, leg and attempt on which their brokers have not reported in time. It
    asks the gateways to find out.

    `is_first` is 0 where it was asked before. `cancels` are 1 where the order is to be over: its
    cancel was requested, or it has expired. Shapes: one row per order.
    """

    TAG: ClassVar[int] = 34
    key: OrderKey
    is_first: int
    subscriptions: Ascending
    cancels: Column
