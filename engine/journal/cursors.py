"""Input cursors: how far a shard has taken each of its inputs, and their form as a state column."""

from enum import IntEnum
from typing import Any, NamedTuple

import msgspec
import numpy as np

HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)
NO_ROW = (1 << 32) - 1
"""Cursor row: everything at this position is decided, no part is pending."""


class Source(IntEnum):
    """What an input cursor points into."""

    INGRESS = 1
    CREATOR_JOURNAL = 2
    EXECUTIONS = 3
    ORDERS = 4
    """All follower journals together, by stream sequence."""


class Cursor(NamedTuple):
    """How far a shard has taken one input.

    `number` is a frame number and `hash` that frame's, for a journal; a stream has its sequence as
    number, and no hash. `sequence` is the stream sequence in both. `position` and `row` name the
    signal inside the frame and the first row not yet decided while a large shard is between two
    parts (`row` is NO_ROW otherwise).
    """

    source: Source
    shard: int
    number: int
    sequence: int
    position: int = 0
    row: int = NO_ROW
    hash: bytes = NO_HASH


def cursors_column(
    cursors: dict[tuple[Source, int], Cursor],
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Encode cursors as a state column."""
    rows = [tuple(cursors[key]) for key in sorted(cursors)]
    return np.frombuffer(msgspec.msgpack.encode(rows), np.uint8)


def cursors_from(column: np.ndarray[Any, Any]) -> dict[tuple[Source, int], Cursor]:
    """Decode cursors from a state column."""
    rows = msgspec.msgpack.decode(column.tobytes())
    cursors = [Cursor(Source(source), *rest) for source, *rest in rows]
    return {(cursor.source, cursor.shard): cursor for cursor in cursors}
