"""Events of a broker gateway's journal: the orders that are out of its hands, those that left, and
the outcome of those without an answer.
"""

from typing import ClassVar

from engine.columns.section_types import Ascending, Column, Section
from engine.values.order_ids import OrderKey


class BlocksAnswered(Section, frozen=True):
    """A broker took orders: every follower frame up to the ORDERS cursor in the frame header is out
    of the gateway's hands.
    """

    TAG: ClassVar[int] = 40
    orders: int


class OrdersRevoked(Section, frozen=True):
    """Orders of one cause that will never be at the broker: expired or cancelled while they were
    queued, or rejected. `exec_type` says which.

    The gateway reports them as executions numbered from `first_number`. `sequence` is that of their
    frame in the stream of follower journals.
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
    """Orders are about to leave for a broker that takes an order id again. The submissions are
    numbered from `first_number`, one row each.

    A row means the orders of one decision with subscriptions from `firsts` to `lasts`, without
    those revoked before. `sequences` are those of their frames in the stream of follower journals.
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


class FramesTaken(Section, frozen=True):
    """The broker's ledger, called `ledger`, has the orders of these follower frames: the highest
    frame of each shard that got a new one. Another ledger than before holds no frame of before.

    `frame_hashes` are the first 8 bytes of the frames' hashes.
    """

    TAG: ClassVar[int] = 45
    ledger: str
    follower_shards: Ascending
    frames: Column
    frame_hashes: Column


class SubmissionSettled(Section, frozen=True):
    """The outcome of submissions is settled: taken, refused, revoked or unresolved."""

    TAG: ClassVar[int] = 43
    numbers: Ascending


class OrdersUnresolved(Section, frozen=True):
    """Orders of one cause left for a broker that cannot be asked, and no answer came. They may be
    at the broker or nowhere, and are never sent again (P9).

    They stay open until executions or an operator's report end them. `sequence` is as in
    `OrdersRevoked`.
    """

    TAG: ClassVar[int] = 44
    follower_shard: int
    key: OrderKey
    sequence: int
    subscriptions: Ascending
