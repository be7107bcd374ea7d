"""Journal frames: one group commit of one shard, as one message.

A frame is a fixed head, the input cursors that the shard had reached, and the sections of what it decided
(`engine.events`). Each carries the hash of the frame before it (BLAKE2b, 32 bytes, over the previous
frame's whole bytes), so a rewritten or shortened history is noticed. Frame numbers start at 1 and grow by
one; epochs grow with each change of owner (P5).
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from engine.events import EVENT_TYPES
from engine.sections import SectionError, encode_sections, walk_sections

FORMAT_VERSION = 1
ENGINE_VERSION = 1
HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)
NO_ROW = (1 << 32) - 1
"""Cursor row: everything at this position is decided, no part is pending."""

_MAGIC = b"LSF1"
_HEAD = struct.Struct("<4sHHHBHIQq32sH")
_CURSOR = struct.Struct("<BHQQQI32s")
_SHARD = struct.Struct("<H")
_SHARD_AT = struct.calcsize("<4sHHHB")


class FrameError(ValueError):
    """Bytes are not a frame: says what was expected and what was found."""


class ShardKind(IntEnum):
    """Which actors a shard belongs to."""

    CREATOR = 1
    FOLLOWER = 2
    GATEWAY = 3


class Source(IntEnum):
    """What an input cursor points into."""

    INGRESS = 1
    CREATOR_JOURNAL = 2
    EXECUTIONS = 3
    ORDERS = 4
    """All follower journals together, by stream sequence."""


_KINDS = frozenset(map(int, ShardKind))
_SOURCES = frozenset(map(int, Source))


class ShardKey(NamedTuple):
    """One shard of one kind."""

    kind: ShardKind
    shard: int

    @property
    def subject(self) -> str:
        """The journal subject of the shard."""
        return f"journal.{self.kind.name.lower()}.{self.shard}"

    def __str__(self) -> str:
        return f"{self.kind.name.lower()}/{self.shard}"


class Cursor(NamedTuple):
    """How far a shard has taken one input.

    `number` is a frame number and `hash` that frame's, for a journal; a stream has its sequence as number,
    and no hash. `sequence` is the stream sequence in both. `position` and `row` name the signal inside the
    frame and the first row not yet decided while a large shard is between two parts (`row` is NO_ROW
    otherwise).
    """

    source: Source
    shard: int
    number: int
    sequence: int
    position: int = 0
    row: int = NO_ROW
    hash: bytes = NO_HASH


class FrameHead(msgspec.Struct, frozen=True):
    """Everything of a frame but its sections."""

    key: ShardKey
    epoch: int
    number: int
    event_time_ns: int
    previous_hash: bytes
    cursors: tuple[Cursor, ...]
    settings_version: int = 0
    engine_version: int = ENGINE_VERSION


def frame_hash(data: bytes | memoryview) -> bytes:
    """Hash a frame's bytes: what the next frame must carry."""
    return blake2b(data, digest_size=HASH_BYTES).digest()


def encode_frame(head: FrameHead, sections: Sequence[Any]) -> bytes:
    """Encode one frame; `sections` are instances of `engine.events` types."""
    fixed = _HEAD.pack(
        _MAGIC,
        FORMAT_VERSION,
        head.engine_version,
        head.settings_version,
        head.key.kind,
        head.key.shard,
        head.epoch,
        head.number,
        head.event_time_ns,
        head.previous_hash,
        len(head.cursors),
    )
    cursors = b"".join(_CURSOR.pack(*cursor) for cursor in head.cursors)
    return b"".join((fixed, cursors, encode_sections(sections)))


def shard_in(data: bytes | memoryview) -> int:
    """Read which shard a frame is of. Raises: FrameError."""
    if len(data) < _HEAD.size:
        raise FrameError(f"frame: expected {_HEAD.size} bytes, found {len(data)}")
    shard: int = _SHARD.unpack_from(data, _SHARD_AT)[0]
    return shard


def decode_head(data: bytes | memoryview) -> tuple[FrameHead, int]:
    """Decode a frame's head. Returns: the head and the offset of its sections. Raises: FrameError."""
    if len(data) < _HEAD.size or bytes(data[:4]) != _MAGIC:
        raise FrameError(
            f"frame: expected {_MAGIC!r} and {_HEAD.size} bytes, found {bytes(data[:4])!r} and {len(data)}"
        )
    _, version, engine, settings, kind, shard, epoch, number, time_ns, previous, count = _HEAD.unpack_from(
        data, 0
    )
    if version != FORMAT_VERSION:
        raise FrameError(
            f"frame: expected format version {FORMAT_VERSION}, found {version}; upgrade before reading"
        )
    start = _HEAD.size + count * _CURSOR.size
    if len(data) < start or kind not in _KINDS:
        raise FrameError(
            f"frame: expected kind 1 to 3 and {count} cursors, found kind {kind} and {len(data)} bytes"
        )
    cursors = []
    for source, *rest in _CURSOR.iter_unpack(memoryview(data)[_HEAD.size : start]):
        if source not in _SOURCES:
            raise FrameError(f"frame: expected a cursor source of 1 to {max(Source)}, found {source}")
        cursors.append(Cursor(Source(source), *rest))
    key = ShardKey(ShardKind(kind), shard)
    return FrameHead(key, epoch, number, time_ns, previous, tuple(cursors), settings, engine), start


def decode_events(
    head: FrameHead, data: bytes | memoryview, *, skipped: frozenset[int] = frozenset()
) -> list[Any]:
    """Decode the events of a frame whose head is decoded, but for sections of the skipped tags. Raises: FrameError."""
    start = _HEAD.size + len(head.cursors) * _CURSOR.size
    try:
        return list(walk_sections(memoryview(data)[start:], EVENT_TYPES, skipped=skipped))
    except SectionError as error:
        raise FrameError(f"frame {head.key} number {head.number}: {error}") from error


def decode_frame(
    data: bytes | memoryview, *, skipped: frozenset[int] = frozenset()
) -> tuple[FrameHead, list[Any]]:
    """Decode a whole frame, but for sections of the skipped tags. Raises: FrameError."""
    head, _ = decode_head(data)
    return head, decode_events(head, data, skipped=skipped)
