"""Blocks: what the gateway and a broker say to each other, many orders in one message.

A block is the magic `LSB1` and sections (`engine.columns.sections`). One orders block holds orders
of one follower shard, one cause, leg and attempt, one symbol and side, so that everything but
subscription and quantity stands once. Order ids are the two halves of `engine.values.order_ids`.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

from engine.columns.sections import (
    Ascending,
    Column,
    Section,
    SectionError,
    Texts,
    encode_sections,
    tags,
    walk_sections,
)
from engine.values.order_ids import OrderKey

_MAGIC = b"LSB1"


class GatewayEpoch(Section, frozen=True):
    """The gateway that speaks: the first section of each of its blocks. A broker refuses blocks of
    an epoch below the highest it saw (P5).
    """

    TAG: ClassVar[int] = 100
    epoch: int
    event_time: int


class AccountsRegistered(Section, frozen=True):
    """Names the accounts of a follower shard numbered from `first`; registering one again changes
    nothing.
    """

    TAG: ClassVar[int] = 101
    follower_shard: int
    first: int
    ids: Texts


class OrdersSubmitted(Section, frozen=True):
    """New orders. `price` is the mark they were decided at, `limit_price` 0 for market,
    `expire_time` 0 for never; quantities unsigned.

    `frame` is the journal frame that decided them. `accounts` are the numbers given in
    AccountsRegistered, row by row with `subscriptions`.
    """

    TAG: ClassVar[int] = 102
    follower_shard: int
    frame: int
    key: OrderKey
    symbol: str
    side: int
    price: int
    limit_price: int
    expire_time: int
    subscriptions: Ascending
    accounts: Ascending
    quantities: Column


class CancelsSubmitted(Section, frozen=True):
    """Cancels of orders that may have been sent, by order coordinates; answered by executions
    (Canceled), or not at all if already done.
    """

    TAG: ClassVar[int] = 103
    follower_shard: int
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    subscriptions: Column
    legs: Column
    attempts: Column


class BlockAnswered(Section, frozen=True):
    """The broker's one reply to a block, after its ledger is on disk. `refusal` is empty, or why
    the whole block was refused.

    `accepted` and `repeated` count orders taken now and orders whose ids it had seen. Orders
    refused one by one are reported as executions.
    """

    TAG: ClassVar[int] = 104
    accepted: int
    repeated: int
    refusal: str


class ExecutionsReported(Section, frozen=True):
    """Executions of orders of one cause, leg and attempt: the message on
    `executions.<broker>.<follower shard>`.

    Execution ids are `prefix` and the decimal `numbers`; the numbers of one prefix ascend without
    gaps over the messages of one follower shard. `exec_types` are
    `engine.values.order_status.ExecType`.
    """

    TAG: ClassVar[int] = 105
    follower_shard: int
    prefix: str
    key: OrderKey
    transact_time: int
    numbers: Ascending
    subscriptions: Ascending
    exec_types: Column
    quantities: Column
    prices: Column
    fees: Column
    text: str = ""


class SendingRound(Section, frozen=True):
    """Second section of each block to a broker that is looked up. It refuses blocks of the same
    epoch and a lower round than the highest it saw: so what it does not know when it is asked under
    a new round can never arrive any more (P9).
    """

    TAG: ClassVar[int] = 106
    number: int


class OrdersLookedUp(Section, frozen=True):
    """Asks which of some orders the broker has taken, ever."""

    TAG: ClassVar[int] = 107
    follower_shard: int
    key: OrderKey
    subscriptions: Ascending


class OrdersKnown(Section, frozen=True):
    """Answers one OrdersLookedUp: the subscriptions of those taken."""

    TAG: ClassVar[int] = 108
    follower_shard: int
    key: OrderKey
    subscriptions: Ascending


class CorrectionsReported(Section, frozen=True):
    """Trade cancels and corrections of executions of one cause, leg and attempt, on the subject of
    `ExecutionsReported`.

    Each has an execution id of its own, numbered with the other executions of the prefix, and names
    the execution meant (FIX ExecRefID): `reference_prefix` and the decimal `reference_numbers`, or
    the prefix alone where the number is -1. A trade correct carries the new quantity, price and
    fee; a trade cancel zeros, or what it cancels. `leaves` is what the order works again; 0 where
    the broker does not say.
    """

    TAG: ClassVar[int] = 110
    follower_shard: int
    prefix: str
    reference_prefix: str
    key: OrderKey
    transact_time: int
    numbers: Ascending
    reference_numbers: Column
    subscriptions: Column
    exec_types: Column
    quantities: Column
    prices: Column
    fees: Column
    leaves: Column
    text: str = ""


BLOCK_TYPES = tags(
    GatewayEpoch,
    AccountsRegistered,
    OrdersSubmitted,
    CancelsSubmitted,
    BlockAnswered,
    ExecutionsReported,
    SendingRound,
    OrdersLookedUp,
    OrdersKnown,
    CorrectionsReported,
)


def encode_block(*sections: Any) -> bytes:
    """Encode one block."""
    return _MAGIC + encode_sections(sections)


def is_block(data: bytes) -> bool:
    """Return whether data is a block, not JSON."""
    return data[:4] == _MAGIC


def walk_block(data: bytes | memoryview) -> Iterator[Any]:
    """Decode one block's sections, one after the other. Raises: SectionError."""
    if bytes(data[:4]) != _MAGIC:
        raise SectionError(f"block: expected {_MAGIC!r}, found {bytes(data[:4])!r}")
    yield from walk_sections(memoryview(data)[4:], BLOCK_TYPES)


def decode_block(data: bytes | memoryview) -> list[Any]:
    """Decode one block's sections. Raises: SectionError."""
    return list(walk_block(data))
