"""Messages between the skeleton's processes: a kind, fill numbers, padding."""

import struct
from typing import NamedTuple

_HEAD = struct.Struct("<BI")
SIGNALS, EXECUTIONS = 1, 2

FILL_BYTES = 170
CREATOR_BYTES_PER_FILL = 230
ROW_BYTES = 9
"""Bytes of a follower's frame, block or executions message per order."""


class Part(NamedTuple):
    """Fills of one kind in a message."""

    kind: int
    fills: tuple[int, ...]


def encode(parts: list[Part], bytes_per_fill: int) -> bytes:
    """Write parts, padded."""
    chunks = []
    for part in parts:
        count = len(part.fills)
        chunks += [_HEAD.pack(part.kind, count), struct.pack(f"<{count}I", *part.fills)]
    return (
        struct.pack("<H", len(parts))
        + b"".join(chunks)
        + bytes(bytes_per_fill * sum(len(part.fills) for part in parts))
    )


def decode(data: bytes) -> list[Part]:
    """Read parts."""
    (count,), offset, parts = struct.unpack_from("<H", data), 2, []
    for _ in range(count):
        kind, fills = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        parts.append(Part(kind, struct.unpack_from(f"<{fills}I", data, offset)))
        offset += 4 * fills
    return parts
