"""Snapshots that a recovery finds: it passes over a damaged one and a newer one, and one that
contradicts the journal stops the shard.
"""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from actors.creator.actor import CreatorShardActor
from engine.columns.snapshot import STATE_LAYOUT, decode_snapshot
from engine.columns.state import decode_state, encode_state, state_hash
from engine.creator.shard import CreatorShard
from engine.journal.chain import ChainBrokenError
from engine.journal.frame import ShardKey, ShardKind
from engine.values.instruments import InstrumentTerms
from tests.actors.memory_shards import MemoryShards, hash_of, turns

CREATOR = ShardKey(ShardKind.CREATOR, 0)


async def saved_twice() -> tuple[MemoryShards, str]:
    """Let a creator shard leave two snapshots and a tail. Returns: the hash of its state."""
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    for number in range(3):
        await shards.publish("fills.paper.anna", shards.fill(f"S{number}"))
        await turns(creator)
        if number < 2:
            creator.core.snapshotter.take(creator.core.committer, time.monotonic())
            await creator.core.snapshotter.close()
    return shards, hash_of(creator)


def damage(shards: MemoryShards, which: Sequence[int]) -> None:
    """Change a byte of some snapshots, the newest being 0."""
    held = shards.server.snapshots[CREATOR]
    for at in which:
        whole = bytearray(b"".join(held[at].chunks))
        whole[-1] ^= 1
        held[at] = held[at]._replace(chunks=(bytes(whole),))


@pytest.mark.parametrize("damaged", [[], [0], [1], [0, 1]])
async def test_p10_a_damaged_snapshot_is_passed_over(
    damaged: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The snapshot before it is taken, or else the journal (P6). An alarm tells the operator."""
    shards, expected = await saved_twice()
    damage(shards, damaged)
    numbers = [snapshot.number for snapshot in shards.server.snapshots[CREATOR]]
    successor = await shards.creator()
    assert hash_of(successor) == expected
    passed = {(): 0, (0,): 1, (1,): 0, (0, 1): 2}[tuple(damaged)]
    told = capsys.readouterr().out
    assert told.count("snapshot_damaged") == passed
    assert f"snapshot={[*numbers, 0][passed]}" in told.rpartition("recovered")[2]


@pytest.mark.parametrize("newer", [[], [0], [0, 1]])
async def test_p10_a_snapshot_of_a_newer_version_is_passed_over(
    newer: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """An older version takes the snapshot before it, or else the journal. The operator is told to
    upgrade.
    """
    shards, expected = await saved_twice()
    held = shards.server.snapshots[CREATOR]
    for at in newer:
        held[at] = held[at]._replace(layout=STATE_LAYOUT + 1, chunks=())
    numbers = [snapshot.number for snapshot in held]
    successor = await shards.creator()
    assert hash_of(successor) == expected
    told = capsys.readouterr().out
    assert told.count("snapshot_newer") == told.count("upgrade first") == len(newer)
    assert f"snapshot={[*numbers, 0][len(newer)]}" in told.rpartition("recovered")[2]


async def test_p10_a_snapshot_with_an_unknown_column_is_passed_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shards, expected = await saved_twice()
    held = shards.server.snapshots[CREATOR]
    columns = decode_state(b"".join(held[0].chunks)) | {"zeal": np.zeros(1, np.int64)}
    held[0] = held[0]._replace(chunks=(encode_state(columns),), digest=state_hash(columns))
    assert hash_of(await shards.creator()) == expected
    told = capsys.readouterr().out
    assert "column zeal is unknown; a newer version wrote it, upgrade first" in told
    assert f"snapshot={held[1].number}" in told.rpartition("recovered")[2]


async def test_p6_a_snapshot_of_layout_3_is_taken_and_the_tail_after_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An older version's snapshots are read for ever: no frame before one is replayed."""
    shards, expected = await saved_twice()
    held = shards.server.snapshots[CREATOR]
    older = CreatorShard({}, InstrumentTerms(1, 0))
    older.restore(decode_snapshot(b"".join(held[0].chunks), older.schema))
    columns = older.columns()
    held[:] = [
        held[0]._replace(chunks=(encode_state(columns),), digest=state_hash(columns), layout=3)
    ]
    successor = await shards.creator()
    assert hash_of(successor) == expected
    assert f"snapshot={held[0].number}" in capsys.readouterr().out.rpartition("recovered")[2]


async def test_a_snapshot_beyond_the_end_of_the_journal_stops_the_shard() -> None:
    """P6: nothing continues from a shortened history. The operator is told which one it is."""
    shards, _ = await saved_twice()
    held = shards.server.snapshots[CREATOR]
    held[0] = held[0]._replace(sequence=10_000)
    with pytest.raises(ChainBrokenError, match="found one at sequence 10000 beyond"):
        await shards.creator()
    actor = CreatorShardActor(0, "again", shards.ports, shards.settings)
    await actor.core.run()
    assert actor.core.phase.value == "failed"
    assert "restore it" in actor.core.error
