"""Journal frames: one group commit of one shard, as one message.

A frame is a fixed header, the input cursors that the shard had reached, and its decisions as
sections (`engine.journal.events`). Each frame carries the hash of the frame before it (BLAKE2b, 32
bytes, over all of that frame's bytes), so a rewritten or shortened history is noticed. Frame
numbers start at 1 and grow by one. Epochs grow with each change of owner (P5).
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from engine.columns.section_types import SectionError
from engine.columns.sections import encode_sections, walk_sections
from engine.journal.cursors import HASH_BYTES, Cursor, Source
from engine.journal.events import EVENT_TYPES

FORMAT_VERSION = 1
ENGINE_VERSION = 1
SHARD_MAX = (1 << 16) - 1

_MAGIC = b"LSF1"
_HEADER = struct.Struct("<4sHHHBHIQq32sH")
_CURSOR = struct.Struct("<BHQQQI32s")
_SHARD = struct.Struct("<H")
_SHARD_AT = struct.calcsize("<4sHHHB")
_PREVIOUS_AT = struct.calcsize("<4sHHHBHIQq")


class FrameError(ValueError):
    """Bytes are not a frame. The message says what was expected and what was found."""


class NoFrameError(FrameError):
    """Bytes are nothing that an owner of a journal writes: they have no whole header."""


class ShardKind(IntEnum):
    """The kind of actors that a shard belongs to."""

    CREATOR = 1
    FOLLOWER = 2
    GATEWAY = 3


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


class FrameHeader(msgspec.Struct, frozen=True):
    """A frame without its sections."""

    key: ShardKey
    epoch: int
    number: int
    event_time_ns: int
    previous_hash: bytes
    cursors: tuple[Cursor, ...]
    settings_version: int = 0
    engine_version: int = ENGINE_VERSION


def frame_mark(digest: bytes) -> int:
    """Return the first 8 bytes of a frame's hash as an integer: blocks name the frame by it."""
    return int.from_bytes(digest[:8], "little", signed=True)


def frame_hash(data: bytes | memoryview) -> bytes:
    """Hash a frame's bytes. The next frame must carry this hash."""
    return blake2b(data, digest_size=HASH_BYTES).digest()


def encode_frame(header: FrameHeader, sections: Sequence[Any]) -> bytes:
    """Encode one frame; `sections` are instances of `engine.journal.events` types."""
    fixed = _HEADER.pack(
        _MAGIC,
        FORMAT_VERSION,
        header.engine_version,
        header.settings_version,
        header.key.kind,
        header.key.shard,
        header.epoch,
        header.number,
        header.event_time_ns,
        header.previous_hash,
        len(header.cursors),
    )
    cursors = b"".join(_CURSOR.pack(*cursor) for cursor in header.cursors)
    return b"".join((fixed, cursors, encode_sections(sections)))


def shard_in(data: bytes | memoryview) -> int:
    """Read the shard number from a frame's bytes. Raises: NoFrameError."""
    if not is_frame(data):
        raise _no_frame(data)
    shard: int = _SHARD.unpack_from(data, _SHARD_AT)[0]
    return shard


def is_frame(data: bytes | memoryview) -> bool:
    """Return whether bytes begin as a frame does."""
    return len(data) >= _HEADER.size and bytes(data[:4]) == _MAGIC


def carries_hash(data: bytes | memoryview, hash: bytes) -> bool:
    """Return whether a hash stands where a frame has that of the frame before it, whatever else is
    damaged.
    """
    return bytes(data[_PREVIOUS_AT : _PREVIOUS_AT + HASH_BYTES]) == hash


def _no_frame(data: bytes | memoryview) -> NoFrameError:
    return NoFrameError(
        f"frame: expected {_MAGIC!r} and {_HEADER.size} bytes, "
        f"found {bytes(data[:4])!r} and {len(data)}"
    )


def decode_header(data: bytes | memoryview) -> tuple[FrameHeader, int]:
    """Decode a frame's header. Returns: the header and the offset of its sections. Raises:
    FrameError; NoFrameError where no owner can have written the bytes.
    """
    if not is_frame(data):
        raise _no_frame(data)
    _, version, engine, settings, kind, shard, epoch, number, time_ns, previous, count = (
        _HEADER.unpack_from(data, 0)
    )
    if version != FORMAT_VERSION:
        raise FrameError(
            f"frame: expected format version {FORMAT_VERSION}, "
            f"found {version}; upgrade before reading"
        )
    start = _HEADER.size + count * _CURSOR.size
    if len(data) < start or kind not in _KINDS:
        raise FrameError(
            f"frame: expected kind 1 to 3 and {count} cursors, "
            f"found kind {kind} and {len(data)} bytes"
        )
    cursors = []
    for source, *rest in _CURSOR.iter_unpack(memoryview(data)[_HEADER.size : start]):
        if source not in _SOURCES:
            raise FrameError(
                f"frame: expected a cursor source of 1 to {max(Source)}, found {source}"
            )
        cursors.append(Cursor(Source(source), *rest))
    key = ShardKey(ShardKind(kind), shard)
    return FrameHeader(
        key, epoch, number, time_ns, previous, tuple(cursors), settings, engine
    ), start


def decode_events(
    header: FrameHeader, data: bytes | memoryview, *, skipped: frozenset[int] = frozenset()
) -> list[Any]:
    """Decode the events of a frame whose header is decoded. Sections with a tag in `skipped` are
    left out. Raises: FrameError.
    """
    start = _HEADER.size + len(header.cursors) * _CURSOR.size
    try:
        return list(walk_sections(memoryview(data)[start:], EVENT_TYPES, skipped=skipped))
    except SectionError as error:
        raise FrameError(f"frame {header.key} number {header.number}: {error}") from error


def decode_frame(
    data: bytes | memoryview, *, skipped: frozenset[int] = frozenset()
) -> tuple[FrameHeader, list[Any]]:
    """Decode a whole frame. Sections with a tag in `skipped` are left out. Raises: FrameError."""
    header, _ = decode_header(data)
    return header, decode_events(header, data, skipped=skipped)
