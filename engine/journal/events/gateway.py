"""Events of a broker gateway's journal: which orders are out of its hands, which left, and what
became of those without an answer.
"""

from typing import ClassVar

from engine.columns.sections import Ascending, Column, Section
from engine.values.order_ids import OrderKey


class BlocksAnswered(Section, frozen=True):
    """A broker took orders: every follower frame up to the header's ORDERS cursor is out of the
    gateway's hands.
    """

    TAG: ClassVar[int] = 40
    orders: int


class OrdersRevoked(Section, frozen=True):
    """Orders of one cause that never left for the broker: expired unsent, or cancelled while queued
    (`exec_type` says which).

    The gateway reports them as executions numbered from `first_number`. `sequence` is their frame's
    in the follower journals' stream.
    """

    TAG: ClassVar[int] = 41
    follower_shard: int
    key: OrderKey
    exec_type: int
    first_number: int
    transact_time: int
    sequence: int
    subscriptions: Ascending


class SubmissionStarted(Section, frozen=True):
    """Orders are about to leave for a broker that takes an order id again: numbered from
    `first_number`, one row a block.

    A row means the orders of a decision in a frame (`sequences`, of the follower journals' stream)
    with subscriptions from `firsts` to `lasts`, without those revoked before.
    """

    TAG: ClassVar[int] = 42
    first_number: int
    sequences: Column
    follower_shards: Column
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    legs: Column
    attempts: Column
    firsts: Column
    lasts: Column


class SubmissionSettled(Section, frozen=True):
    """It is known, or known never to be known, what became of what left: taken, refused, revoked or
    unresolved.
    """

    TAG: ClassVar[int] = 43
    numbers: Ascending


class OrdersUnresolved(Section, frozen=True):
    """Orders of one cause left for a broker that cannot be asked, and no answer came: they are at
    the broker or nowhere, and are never sent again (P9).

    They stay open until executions or an operator's report end them. `sequence` is as in
    `OrdersRevoked`.
    """

    TAG: ClassVar[int] = 44
    follower_shard: int
    key: OrderKey
    sequence: int
    subscriptions: Ascending
