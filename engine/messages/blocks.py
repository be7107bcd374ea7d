"""Blocks: the messages between a gateway and a broker, many orders in one message.

A block is the magic `LSB1` and sections (`engine.columns.sections`). A section of orders holds the
orders of one follower shard, cause, leg and attempt, and of one symbol and side. So everything but
subscription and quantity stands once. Order ids are the two halves of `engine.values.order_ids`.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, ClassVar

from engine.columns.codec import COUNT_MAX
from engine.columns.section_types import (
    AppendedText,
    Ascending,
    Column,
    Section,
    SectionError,
    Texts,
    tags,
)
from engine.columns.sections import count_sections, encode_sections, section_bodies, walk_sections
from engine.values.order_ids import OrderKey

_MAGIC = b"LSB1"


class GatewayEpoch(Section, frozen=True):
    """The gateway that sends the block: the first section of each of its blocks. A broker refuses a
    block of an epoch below the highest that it has seen (P5), and one of another `cluster` than the
    first that it took a block of. An empty `cluster` is not stated.
    """

    TAG: ClassVar[int] = 100
    epoch: int
    event_time: int
    cluster: AppendedText = ""


class AccountsRegistered(Section, frozen=True):
    """The accounts of a follower shard, numbered from `first`. To register an account again changes
    nothing.
    """

    TAG: ClassVar[int] = 101
    follower_shard: int
    first: int
    ids: Texts


class OrdersSubmitted(Section, frozen=True):
    """New orders. `price` is the mark at which they were decided. `limit_price` is 0 for market
    orders, `expire_time` 0 for never. Quantities are unsigned.

    `frame` is the journal frame that decided them. `accounts` are the numbers of
    `AccountsRegistered`, one for each row of `subscriptions`.
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
    """Cancels of orders that may have been sent, by the orders' coordinates. The broker answers
    with executions (Canceled), or not at all if an order is already over.
    """

    TAG: ClassVar[int] = 103
    follower_shard: int
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    subscriptions: Column
    legs: Column
    attempts: Column


class RefusalCode(IntEnum):
    """The kind of a broker's refusal. A code that is not listed means CONTENT."""

    NOT_STATED = -1
    """The program was written before there were codes."""
    NONE = 0
    """The block is not refused."""
    CONTENT = 1
    """Something in the block. The same block would be refused again."""
    EPOCH = 2
    """The broker has taken blocks of a higher epoch."""
    ROUND = 3
    """The broker has taken blocks of a higher round of this epoch."""
    CLUSTER = 4
    """The broker's ledger belongs to another cluster."""


class BlockAnswered(Section, frozen=True):
    """The broker's one reply to a block, sent once its ledger is on disk. `refusal` is empty, or
    the reason why the whole block was refused; `code` is its `RefusalCode`.

    `accepted` counts the orders taken now, `repeated` those whose ids the broker had seen before.
    Together they are all orders of a block that is not refused. An order that is rejected by itself
    is accepted, and reported as an execution.
    """

    TAG: ClassVar[int] = 104
    accepted: int
    repeated: int
    refusal: str
    code: int = RefusalCode.NOT_STATED


class ExecutionsReported(Section, frozen=True):
    """Executions of orders of one cause, leg and attempt. The broker publishes them on
    `executions.<broker>.<follower shard>`.

    An execution id is `prefix` and the decimal number. The numbers of one prefix ascend without
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
    """The second section of each block to a broker that answers look-ups. The broker refuses a
    block of the same epoch if its round is below the highest that it has seen. So an order that it
    does not know when it is asked under a new round can never arrive later (P9).
    """

    TAG: ClassVar[int] = 106
    number: int


class OrdersLookedUp(Section, frozen=True):
    """A question: which of these orders has the broker ever taken?"""

    TAG: ClassVar[int] = 107
    follower_shard: int
    key: OrderKey
    subscriptions: Ascending


class OrdersKnown(Section, frozen=True):
    """The answer to one `OrdersLookedUp`: the subscriptions whose orders were taken."""

    TAG: ClassVar[int] = 108
    follower_shard: int
    key: OrderKey
    subscriptions: Ascending


class FramesSent(Section, frozen=True):
    """The follower frames whose orders are in the block: the highest of each follower shard. A
    broker keeps the highest of each shard with its orders, and states them in `HistoryStated`.

    `frame_hashes` are the first 8 bytes of the frames' hashes, `frame_sequences` the frames' places
    in the stream of follower journals.
    """

    TAG: ClassVar[int] = 111
    IS_REQUIRED: ClassVar[bool] = False
    follower_shards: Ascending
    frames: Column
    frame_hashes: Column
    frame_sequences: Column


class HistoryStated(Section, frozen=True):
    """The history in a broker's ledger, called `ledger`: of each follower shard, the highest frame
    whose orders it has, as `FramesSent` named it. The broker answers an introduction with it.

    `confirmed_sequence` is the highest sequence that JetStream gave an execution of the ledger, 0
    if it is not known.
    """

    TAG: ClassVar[int] = 112
    IS_REQUIRED: ClassVar[bool] = False
    ledger: str
    confirmed_sequence: int
    follower_shards: Ascending
    frames: Column
    frame_hashes: Column
    frame_sequences: Column

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, which have a row for each follower shard."""
        return self.follower_shards, self.frames, self.frame_hashes, self.frame_sequences


class ExecutionsStated(Section, frozen=True):
    """The executions of one follower shard in a broker's ledger: the highest number of `prefix`,
    and the highest that JetStream has confirmed. It follows `HistoryStated`.
    """

    TAG: ClassVar[int] = 113
    IS_REQUIRED: ClassVar[bool] = False
    follower_shard: int
    prefix: str
    last_number: int
    confirmed_number: int


class CorrectionsReported(Section, frozen=True):
    """Trade cancels and corrections of executions of one cause, leg and attempt. The broker
    publishes them on the subject of `ExecutionsReported`.

    Each has an execution id of its own, numbered with the other executions of the prefix. It also
    names the execution that it is about (FIX ExecRefID): `reference_prefix` and the decimal number,
    or the prefix alone where the number is -1. A trade correct carries the new quantity, price and
    fee. A trade cancel carries zeros, or the values that it cancels. `leaves` is the quantity that
    the order works again, 0 where the broker does not say.
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


Report = ExecutionsReported | CorrectionsReported
"""What a broker reports of orders."""
REPORT_TYPES = tags(ExecutionsReported, CorrectionsReported)


def exec_id_of(prefix: str, number: int) -> str:
    """Return an execution's id: the prefix and the number, or the prefix alone where the number is
    negative.
    """
    return prefix if number < 0 else f"{prefix}{number}"


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
    FramesSent,
    HistoryStated,
    ExecutionsStated,
)


def encode_block(*sections: Any) -> bytes:
    """Encode one block."""
    return _MAGIC + encode_sections(sections)


def is_block(data: bytes) -> bool:
    """Return whether data is a block. If not, it should be JSON."""
    return data[:4] == _MAGIC


def sections_in(data: bytes) -> int:
    """Return how many sections a block says that it holds. Raises: SectionError."""
    return count_sections(memoryview(data)[len(_MAGIC) :])


def walk_block(
    data: bytes | memoryview,
    only: dict[int, type[Section]] = BLOCK_TYPES,
    rows_max: int = COUNT_MAX,
) -> Iterator[Any]:
    """Decode one block's sections, one after the other: those of the types `only`, of at most
    `rows_max` rows in a body. Raises: SectionError, before it decodes a section of another type.
    """
    if bytes(data[:4]) != _MAGIC:
        raise SectionError(f"block: expected {_MAGIC!r}, found {bytes(data[:4])!r}")
    sections = memoryview(data)[4:]
    if only is not BLOCK_TYPES:
        for body in section_bodies(sections):
            if body.tag not in only:
                raise SectionError(
                    f"block: expected sections {', '.join(map(str, sorted(only)))}, "
                    f"found {body.tag}"
                )
    yield from walk_sections(sections, only, rows_max=rows_max)


def decode_block(data: bytes | memoryview) -> list[Any]:
    """Decode one block's sections. Raises: SectionError."""
    return list(walk_block(data))
