"""A shard whose snapshots are not saved, and the snapshots after them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import pytest

from actors.counters import Counters
from actors.creator.actor import CreatorShardActor
from actors.errors import TransientError
from actors.journal.writer import JournalWriter
from actors.ports import Snapshot
from actors.shard.committer import Committer
from actors.shard.recovery import Phase
from actors.shard.snapshotter import FAILURES_ALARMED, Snapshotter
from engine.columns.snapshot import SnapshotSchema
from engine.columns.state import AnyColumn
from engine.columns.state_copy import StateCopy
from engine.journal.frame import ShardKey, ShardKind
from gateways.memory.snapshots import MemorySnapshots
from tests.actors.memory_shards import MemoryShards

CREATOR = ShardKey(ShardKind.CREATOR, 0)
SCHEMA = SnapshotSchema(["a"], {}, {})


class Standing(MemorySnapshots):
    """A database that stands still."""

    async def save(
        self, place: Snapshot, chunks: AsyncIterator[bytes], digest: Callable[[], bytes]
    ) -> bool:
        return await asyncio.Event().wait()


class Full(MemorySnapshots):
    """A database that takes all of a state before it refuses it."""

    async def save(
        self, place: Snapshot, chunks: AsyncIterator[bytes], digest: Callable[[], bytes]
    ) -> bool:
        assert [chunk async for chunk in chunks]
        raise TransientError("save: DiskFullError")


async def durable(shards: MemoryShards) -> Committer:
    """Make a frame that a snapshot can be of."""
    writer = JournalWriter(shards.journal, CREATOR, "owner")
    await writer.fence(now_ns=1)
    committer = Committer(writer)
    committer.live(())
    return committer


async def test_p10_a_shard_that_crashed_does_not_wait_for_its_snapshot() -> None:
    """Else its successor could only begin once a hanging database is given up."""
    shards = MemoryShards()
    shards.ports = shards.ports._replace(snapshots=Standing(shards.server))
    creator = CreatorShardActor(0, "creator", shards.ports, shards.settings)

    async def crash() -> None:
        creator.core.snapshotter.take(creator.core.committer, time.monotonic())
        await asyncio.sleep(0)
        raise RuntimeError("crash")

    creator.turn = crash  # type: ignore[method-assign]
    running = asyncio.create_task(creator.core.run())
    await asyncio.wait({running}, timeout=20)
    assert running.done() and creator.core.phase is Phase.CRASHED


async def test_a_state_that_cannot_be_saved_is_not_copied_again_and_again() -> None:
    shards = MemoryShards()
    committer, ended = await durable(shards), list[StateCopy]()
    snapshotter = Snapshotter(
        Full(shards.server),
        lambda: StateCopy(SCHEMA, {"a": np.zeros(9, np.int64)}, [], ended.append),
        frames_every=1,
        seconds_every=1.0,
    )
    now_s = time.monotonic()
    assert snapshotter.is_due(committer, now_s)
    snapshotter.take(committer, now_s)
    await snapshotter.close()
    snapshotter.begin(0)
    assert ended and not snapshotter.saved
    assert not snapshotter.is_due(committer, now_s)
    assert snapshotter.is_due(committer, now_s + 600.0)


async def test_a_snapshot_overtaken_by_a_newer_one_is_not_reported_as_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """P5: its owner is superseded."""
    shards = MemoryShards()
    committer = await durable(shards)
    newer = Snapshot(CREATOR, 9, 9, 9, b"h" * 32, b"s" * 32, ())
    shards.server.snapshots[CREATOR] = [newer]
    snapshotter = Snapshotter(
        shards.ports.snapshots, lambda: StateCopy(SCHEMA, {}), frames_every=1, seconds_every=1.0
    )
    snapshotter.take(committer, time.monotonic())
    await snapshotter.close()
    told = capsys.readouterr().out
    assert "snapshot_overtaken" in told and "snapshot_saved" not in told
    assert shards.server.snapshots[CREATOR] == [newer] and not snapshotter.saved


async def test_a_snapshot_that_cannot_be_encoded_is_an_alarm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A shard without new snapshots replays more and more, so the operator must know."""
    shards = MemoryShards()
    committer, ended = await durable(shards), list[StateCopy]()

    class Broken(StateCopy):
        def pieces(self) -> Iterator[bytes | AnyColumn]:
            raise IndexError("beyond the end")

    snapshotter = Snapshotter(
        shards.ports.snapshots,
        lambda: Broken(SCHEMA, {}, [], ended.append),
        frames_every=1,
        seconds_every=1.0,
    )
    snapshotter.take(committer, time.monotonic())
    await snapshotter.close()
    told = capsys.readouterr().out
    assert "snapshot_failed" in told and "alarm=True" in told
    assert ended and not snapshotter.saved


async def test_saves_that_fail_again_and_again_raise_an_alarm_and_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A damaged page of the database fails every save, while its server goes on."""
    shards = MemoryShards()
    committer, counts = await durable(shards), Counters()
    snapshotter = Snapshotter(
        Full(shards.server),
        lambda: StateCopy(SCHEMA, {"a": np.zeros(9, np.int64)}),
        frames_every=1,
        seconds_every=1.0,
        counts=counts,
    )
    for failures in range(1, FAILURES_ALARMED + 1):
        snapshotter.take(committer, time.monotonic())
        await snapshotter.close()
        assert counts.snapshots_failing == failures
        assert ("alarm=True" in capsys.readouterr().out) == (failures == FAILURES_ALARMED)
