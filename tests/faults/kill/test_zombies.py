"""A superseded owner that goes on after its successor took over: what it had decided and now sends
counts for nothing (P3, P5).
"""

import asyncio

import pytest

from engine.journal.frame import ShardKey, ShardKind, decode_header
from tests.faults.kill.checks import check
from tests.faults.kill.running import RunningCluster
from tests.faults.kill.waiting import REPLACED_S_MAX, SETTINGS, until, until_fills
from tests.faults.kill.zombie import Zombie
from tests.load import Load

pytestmark = [pytest.mark.real, pytest.mark.kill]

ZOMBIES_MAX = 5


async def test_a_zombie_of_each_kind_writes_nothing_answers_nothing_and_places_nothing(
    cluster: RunningCluster,
) -> None:
    async with Load(cluster.data, name="zombie", seed=4, settings=SETTINGS) as load:
        await load.open_all()
        load.start()
        await until_fills(load, 10)
        for kind in ("creator", "follower", "gateway"):
            await outlive(cluster, load, kind)
        await until_fills(load, 10)
        await load.stop()
        await check(cluster, load)


async def outlive(cluster: RunningCluster, load: Load, kind: str) -> None:
    """Make a zombie of shard 0, let its successor take over, let it go on, and see that nothing of
    it counts.
    """
    zombie, running = await deciding_zombie(cluster, kind)
    pause = zombie.pause

    def epoch() -> int:
        progress = load.heard.shards[kind, 0]
        return progress.epoch if progress.phase == "live" else 0

    def of_zombie() -> bool:
        return load.heard.shards[kind, 0].incarnation == f"zombie-{kind}"

    try:
        mine = zombie.host.actors[0].core.writer.epoch
        await until(
            lambda: not of_zombie() and epoch() > mine, f"a successor of the zombie of {kind}"
        )
        written = await frames_of_epoch(zombie, kind, mine)
        pause.go.set()
        if kind == "gateway":
            await until(lambda: bool(pause.refusals), "the broker's answer to the zombie")
            assert all(refusal.startswith("epoch") for refusal in pause.refusals)
            zombie.append_pause.go.set()
        ended = await asyncio.wait_for(running, 30)
        assert "lost" in ended, f"expected the zombie to find its shard lost, found {ended!r}"
        assert pause.replies == []
        assert await frames_of_epoch(zombie, kind, mine) == written
    finally:
        pause.go.set()
        zombie.append_pause.go.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def deciding_zombie(cluster: RunningCluster, kind: str) -> tuple[Zombie, asyncio.Task[str]]:
    """Make a zombie that owns its shard and has decided something. Its successor may be quicker:
    then another one is made.
    """
    for _ in range(ZOMBIES_MAX):
        zombie = Zombie(cluster, kind, 0)
        running = asyncio.create_task(zombie.host.run())
        reached = asyncio.create_task(zombie.pause.reached.wait())
        done, _ = await asyncio.wait(
            (running, reached), timeout=REPLACED_S_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        if reached in done:
            return zombie, running
        reached.cancel()
        running.cancel()
        await asyncio.gather(running, reached, return_exceptions=True)
    raise AssertionError(
        f"expected one of {ZOMBIES_MAX} zombies of {kind} to own its shard, and to have decided "
        "something, found that each was replaced before"
    )


async def frames_of_epoch(zombie: Zombie, kind: str, epoch: int) -> int:
    """Count the frames that an epoch has in the journal, its fence included."""
    connected = await zombie.connect_plainly()
    journal, key = connected.ports.journal, ShardKey(ShardKind[kind.upper()], 0)
    count = after = 0
    try:
        while messages := await journal.read(key, after_sequence=after):
            after = messages[-1].sequence
            count += sum(decode_header(message.data)[0].epoch == epoch for message in messages)
    finally:
        await connected.close()
    return count
