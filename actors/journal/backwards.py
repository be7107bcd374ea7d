"""Reads of a shard's journal, newest frame first.

Each frame carries the hash of the one before it, and these hashes tell which frames count. A
superseded owner's frame is in nobody's history.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from actors.journal.reading import read_after
from actors.ports import Journal, StoredMessage
from engine.journal.chain import ChainBrokenError
from engine.journal.cursors import NO_HASH
from engine.journal.frame import ShardKey, decode_header, frame_hash

SPAN_FIRST = 64
SPAN_MAX = 1 << 16
WINDOW_BYTES_MIN = 2 << 20
WINDOW_BYTES_MAX = 16 << 20


async def frames_back(
    journal: Journal, key: ShardKey, *, sequence: int, hash: bytes
) -> AsyncIterator[bytes]:
    """Yield the frame of a hash, stored at a sequence, and every frame before it. Raises:
    ChainBrokenError.

    The journal is read in windows of the stream, which other shards share. The span of a window
    depends on the bytes of the one before.
    """
    wanted, last, span = hash, sequence, SPAN_FIRST
    while wanted != NO_HASH:
        first = max(last - span, 0)
        first, messages = await _window(journal, key, first, last)
        for message in reversed(messages):
            if frame_hash(message.data) == wanted:
                wanted = decode_header(message.data)[0].previous_hash
                yield message.data
        if not first and wanted != NO_HASH:
            raise ChainBrokenError(
                f"journal of {key}: expected a frame with hash "
                f"{wanted.hex()[:12]} before sequence {sequence}, found none;"
                " history was lost or rewritten"
            )
        span = last - first
        if sum(len(message.data) for message in messages) < WINDOW_BYTES_MIN:
            span = min(2 * span, SPAN_MAX)
        last = first


async def _window(
    journal: Journal, key: ShardKey, first: int, last: int
) -> tuple[int, deque[StoredMessage]]:
    """Read the frames after one sequence up to another; if they are too many, the last of them.
    Returns: the sequence after which they begin, and the frames.
    """
    found, size, after = deque[StoredMessage](), 0, first
    while after < last:
        messages = await read_after(journal, key, after)
        if not messages:
            break
        after = messages[-1].sequence
        for message in messages:
            if message.sequence <= last:
                found.append(message)
                size += len(message.data)
        while size > WINDOW_BYTES_MAX and len(found) > 1:
            first = found[0].sequence
            size -= len(found.popleft().data)
        # The process has a heartbeat to publish, and other shards have turns to take.
        await asyncio.sleep(0)
    return first, found
