"""A shard whose snapshots are not saved, and the snapshots after them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import numpy as np
import pytest

from actors.creator.actor import CreatorShardActor
from actors.errors import TransientError
from actors.ports import Snapshot
from actors.shard.committer import Committer
from actors.shard.journal_writer import JournalWriter
from actors.shard.recovery import Phase
from actors.shard.snapshotter import Snapshotter
from engine.columns.snapshot import SnapshotSchema
from engine.columns.state import AnyColumn
from engine.columns.state_copy import StateCopy
from engine.journal.frame import ShardKey, ShardKind
from gateways.memory.snapshots import MemorySnapshots
from tests.faults.adversarial.stage import Stage

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


async def durable(stage: Stage) -> Committer:
    """Make a frame that a snapshot can be of."""
    writer = JournalWriter(stage.journal, CREATOR, "owner")
    await writer.fence(now_ns=1)
    committer = Committer(writer)
    committer.live(())
    return committer


async def test_p10_a_shard_that_crashed_does_not_wait_for_its_snapshot() -> None:
    """Its successor could not begin before a database that stands still is given up."""
    stage = Stage()
    stage.ports = stage.ports._replace(snapshots=Standing(stage.server))
    creator = CreatorShardActor(0, "creator", stage.ports, stage.settings)

    async def crash() -> None:
        creator.core.snapshotter.take(creator.core.committer, time.monotonic())
        await asyncio.sleep(0)
        raise RuntimeError("crash")

    creator.turn = crash  # type: ignore[method-assign]
    running = asyncio.create_task(creator.core.run())
    await asyncio.wait({running}, timeout=20)
    assert running.done() and creator.core.phase is Phase.CRASHED


async def test_a_state_that_is_not_saved_is_not_copied_all_the_time() -> None:
    stage = Stage()
    committer, ended = await durable(stage), list[StateCopy]()
    snapshotter = Snapshotter(
        Full(stage.server),
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


async def test_a_snapshot_that_a_newer_one_overtook_is_not_said_to_be_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """P5: its owner is superseded."""
    stage = Stage()
    committer = await durable(stage)
    newer = Snapshot(CREATOR, 9, 9, 9, b"h" * 32, b"s" * 32, ())
    stage.server.snapshots[CREATOR] = [newer]
    snapshotter = Snapshotter(
        stage.ports.snapshots, lambda: StateCopy(SCHEMA, {}), frames_every=1, seconds_every=1.0
    )
    snapshotter.take(committer, time.monotonic())
    await snapshotter.close()
    told = capsys.readouterr().out
    assert "snapshot_overtaken" in told and "snapshot_saved" not in told
    assert stage.server.snapshots[CREATOR] == [newer] and not snapshotter.saved


async def test_a_snapshot_that_our_own_code_fails_to_encode_is_an_alarm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It was silent: a shard whose snapshots end replays more and more."""
    stage = Stage()
    committer, ended = await durable(stage), list[StateCopy]()

    class Broken(StateCopy):
        def pieces(self) -> Iterator[bytes | AnyColumn]:
            raise IndexError("beyond the end")

    snapshotter = Snapshotter(
        stage.ports.snapshots,
        lambda: Broken(SCHEMA, {}, [], ended.append),
        frames_every=1,
        seconds_every=1.0,
    )
    snapshotter.take(committer, time.monotonic())
    await snapshotter.close()
    told = capsys.readouterr().out
    assert "snapshot_failed" in told and "alarm=True" in told
    assert ended and not snapshotter.saved
