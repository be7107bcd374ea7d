"""Keeping hosts alive while what starts them is being renewed."""

import asyncio
import threading

from actors.host import HostSpec
from actors.remote import HostHandle
from actors.settings import ShardSettings
from cluster.config import SupervisionOptions
from cluster.hosts import HostKeeper

WAIT_S = 20.0


async def test_suspending_waits_for_a_start_that_is_under_way() -> None:
    entered, may_end = threading.Event(), threading.Event()

    def start(spec: HostSpec) -> HostHandle:
        entered.set()
        assert may_end.wait(WAIT_S)
        raise RuntimeError("the starter is gone")

    keeper = HostKeeper(
        start,
        lambda kind, shards, incarnation: HostSpec(kind, shards, incarnation, ShardSettings(1, 2)),
        SupervisionOptions(),
        is_connected=lambda: True,
    )
    keeper.add("creator", (0,))
    assert await asyncio.to_thread(entered.wait, WAIT_S)
    suspending = asyncio.create_task(keeper.suspend())
    done, _ = await asyncio.wait([suspending], timeout=0.2)
    assert not done
    may_end.set()
    await asyncio.wait_for(suspending, WAIT_S)
