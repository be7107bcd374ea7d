"""The barrier passes only when every shard reports everything earlier as applied and journaled, and
no order is open.
"""

import asyncio

import pytest

from actors.counters import Counters
from actors.shard.progress import CursorProgress, ShardProgress
from cluster.replay.barrier import ProgressBarrier
from cluster.replay.errors import ReplayError
from engine.journal.cursors import NO_ROW
from gateways.nats.heard import Heard


def creator(sequence: int, number: int, *, epoch: int = 1, settled: bool = True) -> ShardProgress:
    cursor = CursorProgress("ingress", 0, sequence, sequence, NO_ROW)
    return progress("creator", 0, number, (cursor,), Counters(), epoch=epoch, settled=settled)


def follower(
    shard: int,
    creator_number: int,
    *,
    row: int = NO_ROW,
    open_orders: int = 0,
    follow_ups: int = 0,
    settled: bool = True,
    dedicated: tuple[int, ...] = (),
) -> ShardProgress:
    cursor = CursorProgress("creator_journal", 0, creator_number, 1, row)
    counts = Counters(open_orders=open_orders, follow_ups=follow_ups)
    return progress("follower", shard, 5, (cursor,), counts, settled=settled, dedicated=dedicated)


def progress(
    kind: str,
    shard: int,
    number: int,
    cursors: tuple[CursorProgress, ...],
    counts: Counters,
    *,
    epoch: int = 1,
    settled: bool = True,
    dedicated: tuple[int, ...] = (),
    phase: str = "live",
) -> ShardProgress:
    return ShardProgress(
        kind, shard, "host-1", phase, epoch, number, 1, 0, settled, cursors, counts, dedicated
    )


def barrier(*told: ShardProgress) -> ProgressBarrier:
    made = ProgressBarrier(
        Heard(), creator_shards=1, follower_shards=2, gateways=1, stuck_s_max=0.0
    )
    hear(made, *told)
    return made


def hear(made: ProgressBarrier, *told: ShardProgress) -> None:
    for one in told:
        made.heard.take_progress(one)


async def is_passed(made: ProgressBarrier, sequence: int = 10) -> bool:
    waiting = asyncio.create_task(made.wait_applied(sequence))
    for _ in range(3):
        await asyncio.sleep(0)
    passed = waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return passed


DONE = (creator(10, 4), follower(0, 4), follower(1, 4))


async def test_the_barrier_passes_once_everything_is_applied() -> None:
    assert await is_passed(barrier(*DONE))


@pytest.mark.parametrize(
    "lacking",
    [
        creator(9, 4),
        creator(10, 5),
        creator(10, 4, settled=False),
        follower(1, 3),
        follower(1, 4, row=7),
        follower(1, 4, open_orders=1),
        follower(1, 4, follow_ups=1),
        follower(1, 4, settled=False),
        follower(1, 4, dedicated=(3,)),
        progress("follower", 1, 5, (), Counters(), phase="replaying"),
    ],
)
async def test_one_missing_shard_holds_the_barrier(lacking: ShardProgress) -> None:
    assert not await is_passed(barrier(*DONE, lacking))


async def test_a_dedicated_shard_counts_once_its_home_shard_reports_it() -> None:
    home = follower(1, 4, dedicated=(3,))
    assert await is_passed(barrier(*DONE, home, follower(3, 4)))
    assert not await is_passed(barrier(*DONE, home, follower(3, 4, open_orders=2)))


async def test_a_superseded_owners_progress_is_ignored() -> None:
    made = barrier(*DONE, creator(9, 5, epoch=2))
    hear(made, creator(10, 4, epoch=1))
    assert not await is_passed(made)


async def test_the_next_progress_wakes_the_barrier() -> None:
    made = barrier(*DONE[:2])
    waiting = asyncio.create_task(made.wait_applied(10))
    await asyncio.sleep(0)
    hear(made, DONE[2])
    async with asyncio.timeout(0.5):
        await waiting


async def test_draining_waits_for_the_gateway_too() -> None:
    made = barrier(*DONE, progress("gateway", 0, 1, (), Counters(queued_orders=1)))
    waiting = asyncio.create_task(made.wait_drained(10))
    await asyncio.sleep(0)
    assert not waiting.done()
    hear(made, progress("gateway", 0, 1, (), Counters(queued_orders=0, outstanding_messages=0)))
    async with asyncio.timeout(0.5):
        await waiting


async def test_a_failed_shard_ends_the_replay() -> None:
    with pytest.raises(ReplayError, match="follower shard 1 failed in host-1"):
        await barrier(
            *DONE, progress("follower", 1, 5, (), Counters(), phase="failed")
        ).wait_applied(10)


async def test_an_exit_due_at_a_later_time_is_reported_and_not_waited_for() -> None:
    with pytest.raises(
        ReplayError, match="no order left to place in follower shard 1, found 3 waiting"
    ):
        await barrier(*DONE, follower(1, 4, follow_ups=3)).wait_applied(10)
