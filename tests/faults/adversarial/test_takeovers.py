"""What stands at a journal's end when an owner takes over, and what the one before did not get to
say.
"""

import asyncio
import time
from typing import Any

import pytest

from actors.creator.actor import CreatorShardActor
from actors.ports import StoredMessage
from actors.shard.journal_writer import JournalWriter
from engine.journal.chain import Chain, ChainBrokenError
from engine.journal.events.gateway import BlocksAnswered
from engine.journal.events.shard import InputsRefused
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, encode_frame
from engine.values.units import format_time
from gateways.memory.journal import MemoryJournal
from gateways.memory.server import MemoryServer
from tests.faults.adversarial.stage import SETTINGS, Stage, hash_of, turns

KEY = ShardKey(ShardKind.GATEWAY, 0)
CREATOR = ShardKey(ShardKind.CREATOR, 0)


async def owner(stage: Stage, name: str) -> JournalWriter:
    writer = JournalWriter(stage.journal, KEY, name)
    await writer.fence(now_ns=1)
    return writer


@pytest.mark.parametrize("others", [0, 3, 500])
async def test_a_takeover_does_not_go_on_from_a_superseded_owners_frame(others: int) -> None:
    """The frame slipped in behind the fence and nobody has appended since: the chain goes on from
    the fence.
    """
    stage = Stage()
    old = await owner(stage, "old")
    new = await owner(stage, "new")
    stream = stage.server.stream("JOURNAL_GATEWAY")
    for number in range(others):
        stream.store("journal.gateway.7", b"another shard's", f"other-{number}")
    late = FrameHeader(KEY, old.epoch, old.number + 1, 1, old.hash, ())
    stream.store(KEY.subject, encode_frame(late, [BlocksAnswered(666)]), "late")
    third = await owner(stage, "third")
    assert (third.epoch, third.number) == (new.epoch + 1, new.number + 1)
    await third.append(third.encode([BlocksAnswered(1)], (), 1))
    chain = Chain(KEY)
    for message in await stage.journal.read(KEY, after_sequence=0):
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
    """What the leader holds is not lost because another copy does not have it yet: an operator
    would be called for nothing.
    """
    stage = Stage()
    creator = await stage.creator()
    await stage.open_creator(creator, "anna")
    if has_snapshot:
        creator.core.snapshotter.take(creator.core.committer, time.monotonic())
        await creator.core.snapshotter.close()
    stage.ports = stage.ports._replace(journal=Lagging(stage.server, reads))
    assert hash_of(await stage.creator()) == hash_of(creator)


async def test_a_takeover_finds_the_last_owners_fence_when_the_copies_it_reads_lag() -> None:
    """P5: else two owners would have one epoch."""
    stage = Stage()
    old = await owner(stage, "old")
    stage.journal = Lagging(stage.server, 2)
    new = await owner(stage, "new")
    late = FrameHeader(KEY, old.epoch, old.number + 1, 1, old.hash, ())
    stage.server.stream("JOURNAL_GATEWAY").store(
        KEY.subject, encode_frame(late, [BlocksAnswered(666)]), "late"
    )
    third = await owner(stage, "third")
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


async def test_frames_that_the_leader_does_not_hold_either_are_lost() -> None:
    """P6: then an operator is called, and nobody waits for ever."""
    stage = Stage()
    await stage.creator()
    stage.ports = stage.ports._replace(journal=Emptied(stage.server))
    with pytest.raises(ChainBrokenError, match="found none after 0"):
        await stage.creator()


async def test_two_fences_at_once_are_told_apart_where_ids_are_looked_at_first() -> None:
    """A cluster of nats-servers answers a known message id before it looks at the expectation."""
    stage = Stage()

    class IdsFirst(MemoryJournal):
        async def append(
            self, key: ShardKey, data: bytes, *, message_id: str, expected_sequence: int
        ) -> int:
            known = stage.server.stream("JOURNAL_GATEWAY").sequence_of_id.get(message_id)
            if known is not None:
                return known
            return await super().append(
                key, data, message_id=message_id, expected_sequence=expected_sequence
            )

    stage.journal = IdsFirst(stage.server)
    stale: list[Any] = [await stage.journal.tail(KEY)]
    first = await owner(stage, "first")
    tail = stage.journal.tail

    async def late_tail(key: ShardKey) -> Any:
        return stale.pop() if stale else await tail(key)

    stage.journal.tail = late_tail  # type: ignore[method-assign]
    second = await owner(stage, "second")
    assert second.epoch == first.epoch + 1


async def test_dead_letters_of_the_last_frame_are_said_again_and_no_others() -> None:
    stage = Stage()
    creator = await stage.creator()
    for number in range(5):
        await stage.publish("fills.paper.nobody", stage.fill(f"S{number}"))
        await turns(creator)
    letters = stage.server.stream("DEADLETTER")
    assert len(letters.messages) == 5
    letters.sequence_of_id.clear()  # the window in which the server knows message ids is over
    again = await stage.creator()
    await turns(again)
    assert len(letters.messages) <= 6


async def test_dead_letters_that_two_owners_died_over_are_said_by_the_third() -> None:
    stage = Stage()
    creator = await stage.creator()
    letters = stage.server.stream("DEADLETTER")
    stage.server.streams[
        "DEADLETTER"
    ].subjects = ()  # nobody listens: the owners die before they can say it
    await stage.publish("fills.paper.nobody", stage.fill("AAA"))
    await creator.turn()
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(stage.events(CREATOR, InputsRefused)) == 1
    await creator.core.committer.close()
    await stage.creator()
    stage.server.streams["DEADLETTER"].subjects = ("deadletter.>",)
    assert not letters.messages
    await turns(await stage.creator())
    assert len(letters.messages) == 1


async def test_dead_letters_are_said_although_an_owner_was_stopped_before_it_did_anything() -> None:
    """Its last snapshot would hide the frame that they belong to from the next (P10)."""
    stage = Stage()
    creator = await stage.creator()
    stage.server.streams[
        "DEADLETTER"
    ].subjects = ()  # nobody listens: the owner dies before it can say it
    await stage.publish("fills.paper.nobody", stage.fill("AAA"))
    await creator.turn()
    for _ in range(3):
        await asyncio.sleep(0)
    await creator.core.committer.close()
    stage.server.streams["DEADLETTER"].subjects = ("deadletter.>",)
    stopped = CreatorShardActor(0, "stopped", stage.ports, stage.settings)
    stopped.core.stop()
    await stopped.core.run()
    assert stage.server.snapshots[CREATOR][0].number == stopped.core.committer.durable_number
    await turns(await stage.creator())
    assert len(stage.server.stream("DEADLETTER").messages) == 1


async def test_a_shard_that_always_has_a_frame_in_flight_takes_snapshots() -> None:
    stage = Stage()
    stage.settings = SETTINGS.__class__(
        creator_shards=1, follower_shards=1, snapshot_frames_every=5, part_rows=64
    )
    creator = await stage.creator()
    append = stage.journal.append

    async def slow(key: ShardKey, data: bytes, **options: Any) -> int:
        for _ in range(20):
            await asyncio.sleep(0)
        return await append(key, data, **options)

    stage.journal.append = slow  # type: ignore[method-assign]
    for number in range(40):
        await stage.publish(
            "marks.paper", [{"symbol": f"S{number}", "px": "1", "time": "2023-11-14T22:13:20Z"}]
        )
        await creator.turn()
        await creator.core.rest()
    await asyncio.sleep(0.05)
    assert stage.server.snapshots


async def test_a_day_that_ends_within_a_frame_leaves_the_replayed_state_the_same() -> None:
    """What fills are remembered must follow from the journal alone (P6)."""
    stage, day_ns = Stage(), 86_400 * 10**9
    midnight_ns = stage.clock.time_ns // day_ns * day_ns + day_ns
    stage.clock.time_ns = midnight_ns - 2_500_000_000
    creator = await stage.creator()
    await stage.open_creator(creator, "anna")
    for age_ns in (7 * day_ns - 10**9, 0):
        time = format_time((stage.clock.time_ns - age_ns) // 10**9 * 10**9)
        await stage.publish("fills.paper.anna", {**stage.fill("AAA"), "transact_time": time})
        if age_ns:
            await turns(creator)
    await stage.publish(
        "marks.paper", [{"symbol": "AAA", "px": "1", "time": "2023-11-14T22:13:20Z"}]
    )

    def a_second_later() -> int:
        stage.clock.time_ns += 10**9
        return stage.clock.time_ns

    stage.clock.now_ns = a_second_later  # type: ignore[method-assign]
    await creator.turn()
    assert creator.core.writer.event_time_ns > midnight_ns
    await turns(creator)
    assert hash_of(await stage.creator()) == hash_of(creator)
