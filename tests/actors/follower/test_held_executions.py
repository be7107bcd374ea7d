"""Executions that come moments after a frame are applied at once. They share the next frame, or get
their own after a while.

None is lost, applied twice or held for ever. Nothing is published of them before their frame is
durable.
"""

import asyncio
import time

import numpy as np
from msgspec.structs import replace

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from actors.shard.snapshotter import Snapshotter
from engine.journal.cursors import Source
from engine.journal.events.orders import ExecutionsApplied, SignalDecided
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import ExecutionsReported, encode_block
from engine.messages.commands import Follow, OpenAccount
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType
from tests.actors.memory_shards import SETTINGS, START_NS, MemoryShards, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
FOR_LONG_S = 3600.0


async def executed(
    reports_wait_s: float,
) -> tuple[MemoryShards, CreatorShardActor, FollowerShardActor]:
    """A signal is decided, and its order's execution is there to be taken."""
    shards = MemoryShards(replace(SETTINGS, reports_wait_s=reports_wait_s))
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna")
    await turns(follower)
    await command(follower, OpenAccount("open", "a"), Follow("follow", "a", "anna", 10**10))
    await shards.publish("fills.paper.anna", shards.fill("AAA"))
    await turns(creator, follower)
    one = np.ones(1, np.int64)
    report = ExecutionsReported(
        0,
        "x-",
        OrderKey(0, 0, 1, 0, 0),
        START_NS,
        one,
        one - 1,
        one * ExecType.TRADE,
        one * 10**6,
        one * 10**8,
        one - 1,
    )
    await shards.publish("executions.paper.0", encode_block(report))
    return shards, creator, follower


def last_frames(shards: MemoryShards, frames: int) -> list[list[type]]:
    return [[type(event) for event in frame] for frame in shards.frames(FOLLOWER)[frames:]]


async def test_a_signal_takes_the_executions_before_it_into_its_frame() -> None:
    shards, creator, follower = await executed(FOR_LONG_S)
    frames = len(shards.frames(FOLLOWER))
    await turns(follower)
    assert last_frames(shards, frames) == []
    await shards.publish("fills.paper.anna", shards.fill("AAA"))
    await turns(creator, follower)
    assert last_frames(shards, frames) == [[ExecutionsApplied, SignalDecided]]
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_held_executions_are_neither_published_nor_in_a_snapshot() -> None:
    shards, _, follower = await executed(FOR_LONG_S)
    core, taken = follower.core, (Source.EXECUTIONS, 0)
    before = core.telling.progress()
    await turns(follower)
    after = core.telling.progress()
    core.snapshotter = Snapshotter(
        shards.ports.snapshots, core.standing.durable_copy, frames_every=1, seconds_every=FOR_LONG_S
    )
    assert core.snapshotter.is_due(core.committer, time.monotonic())
    await core.rest()
    await core.snapshotter.close()
    assert follower.state.cursors[taken].sequence == 1
    assert before.is_settled and not after.is_settled
    assert (after.number, after.cursors) == (before.number, before.cursors)
    successor = await shards.follower()
    assert successor.state.cursors.get(taken) is None
    await turns(successor)
    assert successor.core.telling.progress().is_settled
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == 1
    assert hash_of(await shards.follower()) == hash_of(successor)


async def test_a_command_takes_the_executions_before_it_into_its_frame() -> None:
    shards, _, follower = await executed(FOR_LONG_S)
    frames = len(shards.frames(FOLLOWER))
    await turns(follower)
    assert last_frames(shards, frames) == []
    await command(follower, OpenAccount("open", "b"))
    ((first, *rest),) = last_frames(shards, frames)
    assert first is ExecutionsApplied and rest
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_without_a_wait_executions_get_their_own_frame_at_once() -> None:
    shards, _, follower = await executed(0)
    frames = len(shards.frames(FOLLOWER))
    await turns(follower)
    assert last_frames(shards, frames) == [[ExecutionsApplied]]


async def test_executions_that_nothing_follows_get_their_own_frame_after_the_wait() -> None:
    shards, _, follower = await executed(0.01)
    async with asyncio.timeout(30):
        while not shards.events(FOLLOWER, ExecutionsApplied):
            await follower.core.inputs.wait()
            await follower.turn()
    await follower.core.committer.settle()
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == 1
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_executions_held_by_an_owner_that_dies_are_applied_once_by_the_next() -> None:
    shards, _, follower = await executed(FOR_LONG_S)
    await turns(follower)
    successor = await shards.follower()
    # It has made no frame since it took over, so nothing waits.
    await turns(successor)
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == 1
    assert hash_of(await shards.follower()) == hash_of(successor)


async def test_a_backlog_does_not_wait() -> None:
    accounts, settings = 3_000, replace(SETTINGS, reports_wait_s=FOR_LONG_S, part_rows=10_000)
    shards = MemoryShards(replace(settings, frame_bytes_max=1 << 16))
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna")
    await turns(follower)
    for first in range(0, accounts, 500):
        opening = [
            (OpenAccount(f"o{each}", f"a{each}"), Follow(f"f{each}", f"a{each}", "anna", 10**10))
            for each in range(first, first + 500)
        ]
        await command(follower, *(one for both in opening for one in both))
    await shards.publish("fills.paper.anna", shards.fill("AAA"))
    await turns(creator, follower, count=20)
    for first in range(0, accounts, 500):
        rows, ones = np.arange(first, first + 500), np.ones(500, np.int64)
        report = ExecutionsReported(
            0,
            "x-",
            OrderKey(0, 0, 1, 0, 0),
            START_NS,
            rows,
            rows,
            ones * ExecType.TRADE,
            ones * 10**6,
            ones * 10**8,
            ones - 1,
        )
        await shards.publish("executions.paper.0", encode_block(report))
    frames = len(shards.frames(FOLLOWER))
    await turns(follower, count=20)
    assert len(last_frames(shards, frames)) > 1
    assert (
        sum(len(event.numbers) for event in shards.events(FOLLOWER, ExecutionsApplied)) == accounts
    )
