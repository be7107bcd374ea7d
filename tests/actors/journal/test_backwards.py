"""Reading a journal backwards holds only a little of it at a time."""

import tracemalloc
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from actors.journal.backwards import frames_back
from actors.journal.reading import READ_BYTES_MAX
from actors.journal.writer import JournalWriter
from actors.ports import StoredMessage
from actors.shard.crash_trail import CrashTrail
from engine.journal.events.gateway import OrdersRevoked
from engine.journal.frame import ShardKey, ShardKind, decode_frame, decode_header, frame_hash
from engine.values.order_ids import OrderKey
from gateways.memory.journal import MemoryJournal
from tests.actors.memory_shards import MemoryShards

KEY = ShardKey(ShardKind.GATEWAY, 0)
FRAMES, FRAME_ROWS, OTHERS = 120, 1 << 17, 2_000


class Copying(MemoryJournal):
    """A journal whose frames come over a wire."""

    async def read(
        self, key: ShardKey, *, after_sequence: int, bytes_max: int = READ_BYTES_MAX
    ) -> list[StoredMessage]:
        frames = await super().read(key, after_sequence=after_sequence, bytes_max=bytes_max)
        return [frame._replace(data=bytes(bytearray(frame.data))) for frame in frames]


async def busy_then_idle() -> tuple[MemoryShards, StoredMessage]:
    """Let a shard write much, others much after it, and two new owners come. Returns: the first
    one's fence.
    """
    shards, rng = MemoryShards(), np.random.default_rng(1)
    shards.journal = Copying(shards.server)
    writer = JournalWriter(shards.journal, KEY, "busy")
    await writer.fence(now_ns=1)
    for _ in range(FRAMES):
        rows = rng.integers(0, 1 << 62, FRAME_ROWS)
        await writer.append(
            writer.encode([OrdersRevoked(0, OrderKey(0, 0, 1, 0, 0), 4, 0, 1, 1, rows)], (), 1)
        )
    stream = shards.server.stream("JOURNAL_GATEWAY")
    for number in range(OTHERS):
        stream.store("journal.gateway.7", b"another shard's", f"other-{number}")
    await JournalWriter(shards.journal, KEY, "idle").fence(now_ns=1)
    tail = await shards.journal.tail(KEY)
    assert tail is not None
    return shards, tail


async def fence(shards: MemoryShards, tail: StoredMessage) -> None:
    writer = JournalWriter(shards.journal, KEY, "next")
    await writer.fence(now_ns=1)
    assert writer.epoch == 3


async def read_trail(shards: MemoryShards, tail: StoredMessage) -> None:
    trail = CrashTrail()
    trail.take(tail.sequence, *decode_frame(tail.data))
    await trail.read_back(shards.journal, KEY)
    assert trail.fences == 1


async def read_all(shards: MemoryShards, tail: StoredMessage) -> None:
    numbers = [
        decode_header(data)[0].number
        async for data in frames_back(
            shards.journal, KEY, sequence=tail.sequence, hash=frame_hash(tail.data)
        )
    ]
    assert numbers == list(range(FRAMES + 2, 0, -1))


@pytest.mark.parametrize("look_back", [fence, read_trail, read_all])
async def test_reading_backwards_over_a_long_pause_holds_little_at_a_time(
    look_back: Callable[[MemoryShards, StoredMessage], Awaitable[None]],
) -> None:
    """After a pause an owner cannot know the size of the journal before it."""
    shards, tail = await busy_then_idle()
    tracemalloc.start()
    try:
        await look_back(shards, tail)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3.5 * READ_BYTES_MAX < FRAMES * FRAME_ROWS * 8


async def test_a_crash_trail_in_a_purged_journal_counts_the_frames_that_are_left() -> None:
    """Frames before a snapshot may be purged; poison is counted in the frames that are there."""
    shards = MemoryShards()
    for number in range(4):
        await JournalWriter(shards.journal, KEY, f"owner-{number}").fence(now_ns=1)
    tail, read = await shards.journal.tail(KEY), shards.journal.read
    assert tail is not None

    async def purged(
        key: ShardKey, *, after_sequence: int, bytes_max: int = READ_BYTES_MAX
    ) -> list[StoredMessage]:
        return await read(key, after_sequence=max(after_sequence, 2), bytes_max=bytes_max)

    shards.journal.read = purged  # type: ignore[method-assign]
    trail = CrashTrail()
    trail.take(tail.sequence, *decode_frame(tail.data))
    await trail.read_back(shards.journal, KEY)
    assert trail.fences == 2
