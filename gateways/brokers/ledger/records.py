"""The ledger's records, one section type per kind, and the frames that carry them.

A frame is one group commit. It begins with a header: magic `LSL1`, payload length u32, CRC-32 u32,
frame number u64, little-endian. The records follow, each a tag u16, a reserved u16, a length u32
and a body. The CRC covers number, length and payload. Frame numbers start at 1 and grow by one.

A frame is whole or torn. An order and what was executed of it at once stand in one frame, so the
ledger never has one without the other. Bodies are encoded by `engine.columns.section_codec`. The
body of MESSAGE_TAG is one published executions message, verbatim (`engine.messages.blocks`).
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from engine.columns.section_codec import encode_section
from engine.columns.section_types import Ascending, Column, Section, Texts, tags
from engine.values.order_ids import OrderKey

MAGIC = b"LSL1"
FRAME_HEADER = struct.Struct("<4sIIQ")
_CHECKED = struct.Struct("<IQ")
RECORD_HEADER = struct.Struct("<HHI")
PAYLOAD_BYTES_MAX = 512 << 20
"""Bounds a frame. It fits a turn of `turn.EXECUTIONS_PER_TURN` executions and one more block of
`check.BLOCK_ORDERS_MAX` orders in ten slices.
"""
MESSAGE_TAG = 206


class LedgerError(Exception):
    """The ledger cannot be used. The message says where, what was expected and what was found."""


class LedgerOpened(Section, frozen=True):
    """The first record: the broker whose ledger this is. `ledger_id` is part of every execution
    id, so a new ledger never repeats one.
    """

    TAG: ClassVar[int] = 200
    broker: str
    ledger_id: str


class EpochSeen(Section, frozen=True):
    """A gateway of a higher epoch spoke. The program refuses lower ones from here on (P5)."""

    TAG: ClassVar[int] = 201
    epoch: int


class AccountsFiled(Section, frozen=True):
    """Accounts of a follower shard, numbered from `first`."""

    TAG: ClassVar[int] = 202
    follower_shard: int
    first: int
    ids: Texts


class OrdersTaken(Section, frozen=True):
    """Orders accepted, none of them seen before; fields as in
    `engine.messages.blocks.OrdersSubmitted`.

    `event_time` is the block's, `taken_time` the wall clock's.
    """

    TAG: ClassVar[int] = 203
    follower_shard: int
    frame: int
    key: OrderKey
    symbol: str
    side: int
    price: int
    limit_price: int
    expire_time: int
    gateway_epoch: int
    event_time: int
    taken_time: int
    subscriptions: Ascending
    accounts: Ascending
    quantities: Column


class CancelsTaken(Section, frozen=True):
    """Cancels asked for. Executions follow for those that found their order open."""

    TAG: ClassVar[int] = 204
    follower_shard: int
    cause_kinds: Column
    creator_shards: Column
    cause_numbers: Column
    subscriptions: Column
    legs: Column
    attempts: Column


class PublishConfirmed(Section, frozen=True):
    """JetStream holds the executions of these follower shards up to these numbers. `last_sequence`
    is the highest sequence in the stream that it has given one of the ledger, 0 if not known.
    """

    TAG: ClassVar[int] = 205
    follower_shards: Column
    numbers: Column
    last_sequence: int = 0


class CorrectionTaken(Section, frozen=True):
    """An operator asked for a trade cancel or correct. The execution that reports it stands in
    the same frame.
    """

    TAG: ClassVar[int] = 207
    exec_type: int
    exec_ref_id: str
    quantity: int
    price: int
    fee: int
    is_reopened: int
    taken_time: int


class OrdersReopened(OrdersTaken, frozen=True):
    """Orders taken before that work again. `quantities` are what they work in addition."""

    TAG: ClassVar[int] = 208


class RoundSeen(Section, frozen=True):
    """A look-up began a new round of the highest epoch. The program refuses blocks of lower rounds
    from here on (P9).
    """

    TAG: ClassVar[int] = 210
    number: int


class ClusterSeen(Section, frozen=True):
    """The first cluster that stated its id. The program refuses those of other ids from here on."""

    TAG: ClassVar[int] = 211
    cluster: str


class FramesKept(Section, frozen=True):
    """The highest follower frames whose orders the ledger has, as the gateway named them: of each
    follower shard that got a higher one.
    """

    TAG: ClassVar[int] = 212
    follower_shards: Ascending
    frames: Column
    frame_hashes: Column
    frame_sequences: Column


RECORD_TYPES = tags(
    LedgerOpened,
    EpochSeen,
    AccountsFiled,
    OrdersTaken,
    CancelsTaken,
    PublishConfirmed,
    CorrectionTaken,
    OrdersReopened,
    RoundSeen,
    ClusterSeen,
    FramesKept,
)


class Record(NamedTuple):
    """One record as bytes. `offset` is its header's place in the ledger."""

    tag: int
    offset: int
    body: memoryview


class FrameDraft:
    """A frame being written. Records are added until it is sealed."""

    def __init__(self, offset: int, number: int) -> None:
        self.offset = offset
        self.number = number
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def is_empty(self) -> bool:
        return not self._parts

    def add(self, record: Section) -> int:
        """Add a record. Returns: the offset that its header will have in the ledger."""
        return self.add_body(type(record).TAG, encode_section(record))

    def add_body(self, tag: int, body: bytes) -> int:
        """Add a record already encoded. Returns: the offset that its header will have in the
        ledger.
        """
        offset = self.offset + FRAME_HEADER.size + self._size
        self._parts += (RECORD_HEADER.pack(tag, 0, len(body)), body)
        self._size += RECORD_HEADER.size + len(body)
        return offset

    def seal(self) -> bytes:
        """Return the frame's bytes."""
        assert self._size <= PAYLOAD_BYTES_MAX, (
            f"ledger frame: {self._size} bytes, at most {PAYLOAD_BYTES_MAX}"
        )
        payload = b"".join(self._parts)
        return (
            FRAME_HEADER.pack(MAGIC, len(payload), checksum(self.number, payload), self.number)
            + payload
        )


def checksum(number: int, payload: bytes | memoryview) -> int:
    """Return a frame's CRC-32."""
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(len(payload), number)))


def walk_records(offset: int, payload: memoryview) -> Iterator[Record]:
    """Yield the records of a frame that begins at `offset`. Raises: LedgerError."""
    place = 0
    while place < len(payload):
        if len(payload) < place + RECORD_HEADER.size:
            raise LedgerError(
                f"ledger frame at {offset}: expected a record header, "
                f"found {len(payload) - place} bytes"
            )
        tag, _, length = RECORD_HEADER.unpack_from(payload, place)
        start = place + RECORD_HEADER.size
        if len(payload) < start + length:
            raise LedgerError(
                f"ledger frame at {offset}: expected {length} bytes of record {tag}, found fewer"
            )
        yield Record(tag, offset + FRAME_HEADER.size + place, payload[start : start + length])
        place = start + length


def record_type(tag: int) -> type[Any]:
    """Return a record's type. Raises: LedgerError for a tag of newer code."""
    found = RECORD_TYPES.get(tag)
    if found is None:
        raise LedgerError(
            f"ledger: record tag {tag} is unknown; a newer version wrote this ledger, upgrade first"
        )
    return found
