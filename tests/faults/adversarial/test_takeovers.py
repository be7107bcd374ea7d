"""An owner takes over at any end of a journal, and publishes what the owner before it did not."""

import asyncio
import time
from typing import Any

import pytest

from actors.creator.actor import CreatorShardActor
from actors.journal.writer import JournalWriter
from actors.ports import StoredMessage
from engine.journal.chain import Chain, ChainBrokenError
from engine.journal.events.gateway import BlocksAnswered
from engine.journal.events.shard import InputsRefused
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, encode_frame
from engine.values.units import format_time
from gateways.memory.journal import MemoryJournal
from gateways.memory.server import MemoryServer
from tests.actors.memory_shards import SETTINGS, MemoryShards, hash_of, turns

KEY = ShardKey(ShardKind.GATEWAY, 0)
CREATOR = ShardKey(ShardKind.CREATOR, 0)


async def owner(shards: MemoryShards, name: str) -> JournalWriter:
    writer = JournalWriter(shards.journal, KEY, name)
    await writer.fence(now_ns=1)
    return writer


@pytest.mark.parametrize("others", [0, 3, 500])
async def test_a_takeover_does_not_continue_from_a_superseded_owners_frame(others: int) -> None:
    """The frame slipped in behind the fence, and nobody has appended since. The chain continues
    from the fence.
    """
    shards = MemoryShards()
    old = await owner(shards, "old")
    new = await owner(shards, "new")
    stream = shards.server.stream("JOURNAL_GATEWAY")
    for number in range(others):
        stream.store("journal.gateway.7", b"another shard's", f"other-{number}")
    late = FrameHeader(KEY, old.epoch, old.number + 1, 1, old.hash, ())
    stream.store(KEY.subject, encode_frame(late, [BlocksAnswered(666)]), "late")
    third = await owner(shards, "third")
    assert (third.epoch, third.number) == (new.epoch + 1, new.number + 1)
    await third.append(third.encode([BlocksAnswered(1)], (), 1))
    chain = Chain(KEY)
    for message in await shards.journal.read(KEY, after_sequence=0):
        chain.accept(message.data)
    assert (chain.dropped, chain.hash) == (1, third.hash)


class Lagging(MemoryJournal):
    """A journal of three copies. The ones that answer reads lag behind the leader, all of them for
    some reads after each append.
    """

    def __init__(self, server: MemoryServer, reads: int) -> None:
        super().__init__(server)
        self._reads, self._left, self._behind = reads, 0, 0

    async def append(self, key: ShardKey, data: bytes, **options: Any) -> int:
        sequence = await super().append(key, data, **options)
        self._left, self._behind = self._reads, sequence
        return sequence

    async def read(
        self, key: ShardKey, *, after_sequence: int, bytes_max: int = 1 << 24
    ) -> list[StoredMessage]:
        frames = await super().read(key, after_sequence=after_sequence, bytes_max=bytes_max)
        self._left -= 1
        return (
            frames
            if self._left < 0
            else [frame for frame in frames if frame.sequence < self._behind]
        )


@pytest.mark.parametrize("reads", [1, 2, 3])
@pytest.mark.parametrize("has_snapshot", [False, True])
async def test_p10_a_recovery_goes_on_when_the_copies_it_reads_lag(
    reads: int, has_snapshot: bool
) -> None:
    """A frame that the leader holds is not lost because another copy lacks it. Else an operator
    would be called for nothing.
    """
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    if has_snapshot:
        creator.core.snapshotter.take(creator.core.committer, time.monotonic())
        await creator.core.snapshotter.close()
    shards.ports = shards.ports._replace(journal=Lagging(shards.server, reads))
    assert hash_of(await shards.creator()) == hash_of(creator)


async def test_a_takeover_finds_the_last_owners_fence_when_the_copies_it_reads_lag() -> None:
    """P5: else two owners would have one epoch."""
    shards = MemoryShards()
    old = await owner(shards, "old")
    shards.journal = Lagging(shards.server, 2)
    new = await owner(shards, "new")
    late = FrameHeader(KEY, old.epoch, old.number + 1, 1, old.hash, ())
    shards.server.stream("JOURNAL_GATEWAY").store(
        KEY.subject, encode_frame(late, [BlocksAnswered(666)]), "late"
    )
    third = await owner(shards, "third")
    assert (third.epoch, third.number) == (new.epoch + 1, new.number + 1)


class Emptied(MemoryJournal):
    """A journal that loses everything after the next append."""

    is_empty = False

    async def append(self, key: ShardKey, data: bytes, **options: Any) -> int:
        sequence = await super().append(key, data, **options)
        self.is_empty = True
        return sequence

    async def tail(self, key: ShardKey) -> StoredMessage | None:
        return None if self.is_empty else await super().tail(key)

    async def read(
        self, key: ShardKey, *, after_sequence: int, bytes_max: int = 1 << 24
    ) -> list[StoredMessage]:
        return (
            []
            if self.is_empty
            else await super().read(key, after_sequence=after_sequence, bytes_max=bytes_max)
        )


async def test_frames_that_the_leader_lacks_too_are_lost_and_end_the_recovery() -> None:
    """P6: then an operator is called, and nobody waits for ever."""
    shards = MemoryShards()
    await shards.creator()
    shards.ports = shards.ports._replace(journal=Emptied(shards.server))
    with pytest.raises(ChainBrokenError, match="found none after 0"):
        await shards.creator()


async def test_two_fences_at_once_leave_one_owner_on_a_server_that_checks_ids_first() -> None:
    """A cluster of nats-servers answers a known message id before it looks at the expectation."""
    shards = MemoryShards()

    class IdsFirst(MemoryJournal):
        async def append(
            self, key: ShardKey, data: bytes, *, message_id: str, expected_sequence: int
        ) -> int:
            known = shards.server.stream("JOURNAL_GATEWAY").sequence_of_id.get(message_id)
            if known is not None:
                return known
            return await super().append(
                key, data, message_id=message_id, expected_sequence=expected_sequence
            )

    shards.journal = IdsFirst(shards.server)
    stale: list[Any] = [await shards.journal.tail(KEY)]
    first = await owner(shards, "first")
    tail = shards.journal.tail

    async def late_tail(key: ShardKey) -> Any:
        return stale.pop() if stale else await tail(key)

    shards.journal.tail = late_tail  # type: ignore[method-assign]
    second = await owner(shards, "second")
    assert second.epoch == first.epoch + 1


async def test_dead_letters_of_the_last_frame_are_published_again_and_no_others() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    for number in range(5):
        await shards.publish("fills.paper.nobody", shards.fill(f"S{number}"))
        await turns(creator)
    letters = shards.server.stream("DEADLETTER")
    assert len(letters.messages) == 5
    letters.sequence_of_id.clear()  # the window in which the server knows message ids is over
    again = await shards.creator()
    await turns(again)
    assert len(letters.messages) <= 6


async def test_dead_letters_left_unpublished_by_two_owners_are_published_by_the_third() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    letters = shards.server.stream("DEADLETTER")
    shards.server.streams[
        "DEADLETTER"
    ].subjects = ()  # nobody listens: the owners die before they can say it
    await shards.publish("fills.paper.nobody", shards.fill("AAA"))
    await creator.turn()
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(shards.events(CREATOR, InputsRefused)) == 1
    await creator.core.committer.close()
    await shards.creator()
    shards.server.streams["DEADLETTER"].subjects = ("deadletter.>",)
    assert not letters.messages
    await turns(await shards.creator())
    assert len(letters.messages) == 1


async def test_dead_letters_are_published_even_after_an_owner_that_did_nothing() -> None:
    """Its last snapshot would hide the frame of the letters from the next owner (P10)."""
    shards = MemoryShards()
    creator = await shards.creator()
    shards.server.streams[
        "DEADLETTER"
    ].subjects = ()  # nobody listens: the owner dies before it can say it
    await shards.publish("fills.paper.nobody", shards.fill("AAA"))
    await creator.turn()
    for _ in range(3):
        await asyncio.sleep(0)
    await creator.core.committer.close()
    shards.server.streams["DEADLETTER"].subjects = ("deadletter.>",)
    stopped = CreatorShardActor(0, "stopped", shards.ports, shards.settings)
    stopped.core.stop()
    await stopped.core.run()
    assert shards.server.snapshots[CREATOR][0].number == stopped.core.committer.durable_number
    await turns(await shards.creator())
    assert len(shards.server.stream("DEADLETTER").messages) == 1


async def test_a_shard_that_always_has_a_frame_in_flight_takes_snapshots() -> None:
    shards = MemoryShards()
    shards.settings = SETTINGS.__class__(
        creator_shards=1, follower_shards=1, snapshot_frames_every=5, part_rows=64
    )
    creator = await shards.creator()
    append = shards.journal.append

    async def slow(key: ShardKey, data: bytes, **options: Any) -> int:
        for _ in range(20):
            await asyncio.sleep(0)
        return await append(key, data, **options)

    shards.journal.append = slow  # type: ignore[method-assign]
    for number in range(40):
        await shards.publish(
            "marks.paper", [{"symbol": f"S{number}", "px": "1", "time": "2023-11-14T22:13:20Z"}]
        )
        await creator.turn()
        await creator.core.rest()
    await asyncio.sleep(0.05)
    assert shards.server.snapshots


async def test_p6_a_day_that_ends_within_a_frame_replays_to_the_same_state() -> None:
    """The remembered fills must follow from the journal alone."""
    shards, day_ns = MemoryShards(), 86_400 * 10**9
    midnight_ns = shards.clock.time_ns // day_ns * day_ns + day_ns
    shards.clock.time_ns = midnight_ns - 2_500_000_000
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    for age_ns in (7 * day_ns - 10**9, 0):
        time = format_time((shards.clock.time_ns - age_ns) // 10**9 * 10**9)
        await shards.publish("fills.paper.anna", {**shards.fill("AAA"), "transact_time": time})
        if age_ns:
            await turns(creator)
    await shards.publish(
        "marks.paper", [{"symbol": "AAA", "px": "1", "time": "2023-11-14T22:13:20Z"}]
    )

    def a_second_later() -> int:
        shards.clock.time_ns += 10**9
        return shards.clock.time_ns

    shards.clock.now_ns = a_second_later  # type: ignore[method-assign]
    await creator.turn()
    assert creator.core.writer.event_time_ns > midnight_ns
    await turns(creator)
    assert hash_of(await shards.creator()) == hash_of(creator)
