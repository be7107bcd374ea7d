"""What a recovery makes of the snapshots it finds: a damaged one is passed over, one that the
journal does not bear out stops the shard.
"""

import time
from collections.abc import Sequence

import pytest

from actors.creator.actor import CreatorShardActor
from engine.journal.chain import ChainBrokenError
from engine.journal.frame import ShardKey, ShardKind
from tests.faults.adversarial.stage import Stage, hash_of, turns

CREATOR = ShardKey(ShardKind.CREATOR, 0)


async def saved_twice() -> tuple[Stage, str]:
    """Let a creator shard leave two snapshots and a tail. Returns: the hash of its state."""
    stage = Stage()
    creator = await stage.creator()
    await stage.open_creator(creator, "anna")
    for number in range(3):
        await stage.publish("fills.paper.anna", stage.fill(f"S{number}"))
        await turns(creator)
        if number < 2:
            creator.core._snapshotter.take(creator.core.committer, time.monotonic())
            await creator.core._snapshotter.close()
    return stage, hash_of(creator)


def damage(stage: Stage, which: Sequence[int]) -> None:
    """Change a byte of some snapshots, the newest being 0."""
    held = stage.server.snapshots[CREATOR]
    for at in which:
        whole = bytearray(b"".join(held[at].chunks))
        whole[-1] ^= 1
        held[at] = held[at]._replace(chunks=(bytes(whole),))


@pytest.mark.parametrize("damaged", [[], [0], [1], [0, 1]])
async def test_p10_a_damaged_snapshot_is_passed_over(
    damaged: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """The one before it is taken, and at last the journal (P6); an alarm tells the operator."""
    stage, expected = await saved_twice()
    damage(stage, damaged)
    numbers = [snapshot.number for snapshot in stage.server.snapshots[CREATOR]]
    successor = await stage.creator()
    assert hash_of(successor) == expected
    passed = {(): 0, (0,): 1, (1,): 0, (0, 1): 2}[tuple(damaged)]
    told = capsys.readouterr().out
    assert told.count("snapshot_damaged") == passed
    assert f"snapshot={[*numbers, 0][passed]}" in told.rpartition("recovered")[2]


async def test_a_snapshot_beyond_the_end_of_the_journal_stops_the_shard() -> None:
    """P6: nothing goes on from a shortened history, and the operator is told which."""
    stage, _ = await saved_twice()
    held = stage.server.snapshots[CREATOR]
    held[0] = held[0]._replace(sequence=10_000)
    with pytest.raises(ChainBrokenError, match="found one at sequence 10000 beyond"):
        await stage.creator()
    actor = CreatorShardActor(0, "again", stage.ports, stage.settings)
    await actor.core.run(actor)
    assert actor.core.phase.value == "failed"
    assert "restore it" in actor.core.error
