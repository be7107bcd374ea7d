"""Executions are applied before a frame holds them. The story ends as with a frame for each,
whatever comes or dies meanwhile.

Each execution counts once, and none is held for ever (P3, P6, P8, P10).
"""

import asyncio
import gc
import itertools
import random
import weakref
from typing import Any

import pytest
from msgspec.structs import replace

from actors.creator.actor import CreatorShardActor
from actors.follower.actor import FollowerShardActor
from actors.follower.command_inbox import PendingCommands
from actors.shard.recovery import Phase
from engine.journal.cursors import Source
from engine.journal.events.orders import (
    CancelsRequested,
    ExecutionsApplied,
    FollowUpsQueued,
    OrdersPlaced,
    SignalDecided,
    TradesCorrected,
)
from engine.journal.events.shard import InputsRefused
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.commands import AccountCommand, Follow, OpenAccount, Unfollow
from engine.values.order_ids import CauseKind, OrderId
from tests.actors.memory_shards import SETTINGS, TIME, MemoryShards, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
WAITING = replace(SETTINGS, reports_wait_s=3600.0)
CAP = 64 << 10
ACCOUNTS = tuple("abcde")


async def started(
    settings: Any = WAITING, accounts: tuple[str, ...] = ("a",)
) -> tuple[MemoryShards, CreatorShardActor, FollowerShardActor]:
    """Accounts have an open entry of 10 each."""
    shards = MemoryShards(settings)
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna", "10000000000")
    await turns(follower)
    for account in accounts:
        await command(
            follower,
            OpenAccount("open", account),
            Follow("follow", account, "anna", 10**10, mode=2),
        )
    await fill(shards, creator)
    await turns(follower)
    assert follower.state.orders.count == len(accounts)
    return shards, creator, follower


async def fill(shards: MemoryShards, creator: CreatorShardActor, side: str = "buy") -> None:
    await shards.publish("fills.paper.anna", shards.fill("AAA", side))
    await turns(creator)


def report(
    exec_id: str, exec_type: str = "trade", signal: int = 1, number: int = 0, **other: str
) -> dict[str, str]:
    """Make a report on the order of a signal for a subscription."""
    order_id = str(OrderId(0, CauseKind.SIGNAL, 0, signal, number, 0, 0))
    trade = {"last_qty": "1", "last_px": "100"} if exec_type == "trade" else {}
    return {
        "exec_id": exec_id,
        "order_id": order_id,
        "exec_type": exec_type,
        "transact_time": TIME,
        **trade,
        **other,
    }


async def reported(shards: MemoryShards, *actors: FollowerShardActor, **one: Any) -> None:
    """Publish a report, and let it be taken."""
    await shards.publish("executions.paper.0", report(**one))
    await turns(*actors)


async def flushed(follower: FollowerShardActor, name: str = "last") -> None:
    """Put the held executions into a frame, with a command."""
    await command(follower, OpenAccount("open", name))
    assert follower.core.standing.is_settled


def kinds(shards: MemoryShards, since: int) -> list[list[type]]:
    return [[type(event) for event in frame] for frame in shards.frames(FOLLOWER)[since:]]


def sizes(shards: MemoryShards) -> list[int]:
    messages = shards.server.stream("JOURNAL_FOLLOWER").messages
    return [len(message.data) for message in messages if message.subject == FOLLOWER.subject]


def applied(shards: MemoryShards) -> list[str]:
    """Return every applied execution."""
    events = shards.events(FOLLOWER, ExecutionsApplied)
    return [f"{event.prefix}{number}" for event in events for number in event.numbers.tolist()]


def letters(shards: MemoryShards) -> int:
    return len(shards.server.stream("DEADLETTER").messages)


async def test_p8_a_trade_that_is_in_no_frame_yet_can_be_cancelled() -> None:
    shards, _, follower = await started()
    frames = len(shards.frames(FOLLOWER))
    await reported(shards, follower, exec_id="E1")
    await reported(shards, follower, exec_id="B1", exec_type="trade_cancel", exec_ref_id="E1")
    await reported(shards, follower, exec_id="E1")
    assert kinds(shards, frames) == [] and follower.core.counts.orders_looked_up
    await flushed(follower)
    assert kinds(shards, frames)[0][:2] == [ExecutionsApplied, TradesCorrected]
    assert follower.state.books[0].slots[0].position[0] == 0
    assert len(applied(shards)) == 1 and not letters(shards)
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_p3_a_refused_execution_leaves_as_a_dead_letter_after_its_frame() -> None:
    shards, _, follower = await started()
    await reported(shards, follower, exec_id="E1", number=7)
    assert not letters(shards)
    successor = await shards.follower()
    await turns(successor)
    assert letters(shards) == len(shards.events(FOLLOWER, InputsRefused)) == 1


async def test_orders_caused_by_executions_do_not_wait() -> None:
    shards, creator, follower = await started()
    await reported(shards, follower, exec_id="E1")
    await fill(shards, creator, "sell")
    await turns(follower)
    assert shards.events(FOLLOWER, CancelsRequested)
    frames = len(shards.frames(FOLLOWER))
    await reported(shards, follower, exec_id="C1", exec_type="canceled")
    assert kinds(shards, frames) == [[ExecutionsApplied, OrdersPlaced]]
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_a_flood_of_small_messages_is_split_into_frames_without_other_inputs() -> None:
    shards, _, follower = await started(replace(WAITING, frame_bytes_max=CAP))
    frames, count = len(shards.frames(FOLLOWER)), 1200
    for number in range(count):
        one = (
            report(f"E{number}", last_qty="0.0001")
            if number % 2
            else report("\U0001f600" * 60, number=9)
        )
        await shards.publish("executions.paper.0", one)
        if number % 5 == 0:
            await follower.turn()
    await turns(follower)
    assert max(sizes(shards)) < 2 * CAP
    assert len(shards.frames(FOLLOWER)) > frames + 2
    await flushed(follower)
    assert len(applied(shards)) == count / 2
    assert len(shards.events(FOLLOWER, InputsRefused)) == count / 2
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_held_executions_go_once_into_the_first_of_several_frames_of_commands() -> None:
    shards, _, follower = await started(replace(WAITING, frame_bytes_max=CAP))
    await reported(shards, follower, exec_id="E1")
    await reported(shards, follower, exec_id="E2", number=9)
    frames = len(shards.frames(FOLLOWER))
    again: list[AccountCommand] = []
    for number in range(500):
        again += Follow(f"f{number}", "b", "anna", 10**10), Unfollow(f"u{number}", "b", "anna")
    await command(follower, OpenAccount("open", "b"), *again)
    found = kinds(shards, frames)
    assert len(found) > 2
    assert found[0][:2] == [ExecutionsApplied, InputsRefused]
    assert len(shards.events(FOLLOWER, ExecutionsApplied)) == letters(shards) == 1
    await reported(shards, follower, exec_id="E3")
    await flushed(follower)
    assert applied(shards) == ["E1-1", "E3-1"]
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_a_stopped_shard_first_makes_its_held_executions_durable() -> None:
    shards, _, former = await started(replace(WAITING, reports_wait_s=0.1))
    taken = (Source.EXECUTIONS, 0)
    follower = FollowerShardActor(0, "stopped", shards.ports, shards.settings)
    running = asyncio.create_task(follower.core.run())
    async with asyncio.timeout(30):
        while not follower.keeps_back():
            # A frame of its own, and an execution moments after it.
            if follower.core.phase is Phase.LIVE:
                await command_to(follower)
                await shards.publish(
                    "executions.paper.0",
                    report(f"E{len(shards.frames(FOLLOWER))}", last_qty="0.001"),
                )
            for _ in range(20):
                await asyncio.sleep(0)
        follower.core.stop()
        await running
    assert follower.core.phase is Phase.STOPPED and follower.core.standing.is_settled
    last = shards.server.stream("EXECUTIONS").messages[-1].sequence
    assert follower.state.cursors[taken].sequence == last
    assert hash_of(await shards.follower()) == hash_of(follower)
    await former.close()


async def command_to(follower: FollowerShardActor) -> None:
    """Send a running shard a command and wait for the answer."""
    answered = asyncio.Event()

    async def reply(answers: list[Any]) -> None:
        answered.set()

    name = f"account-{len(follower.state.account_ids)}"
    assert follower.inbox.put(PendingCommands([OpenAccount("open", name)], reply))
    await answered.wait()


async def test_a_dead_shard_is_not_kept_in_memory_by_its_timer() -> None:
    shards, _, follower = await started()
    await reported(shards, follower, exec_id="E1")
    assert follower.keeps_back()
    await follower.close()
    await follower.core.committer.close()
    seen = weakref.ref(follower)
    shards.server.subscriptions.clear()
    del follower
    gc.collect()
    assert seen() is None


class RandomInputs:
    """Random inputs under a seed: the same for every shard that comes to the same states."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._ids = itertools.count(1)
        self._said: list[dict[str, str]] = []

    def step(self, follower: FollowerShardActor) -> tuple[str, Any]:
        """Choose the next input."""
        chance, number = self._chance, next(self._ids)
        match chance.randrange(12):
            case 0 | 1:
                return "fill", (
                    chance.choice(("buy", "buy", "sell")),
                    chance.choice(("3", "5", "10")),
                )
            case 2:
                account = chance.choice(ACCOUNTS)
                if chance.random() < 0.3:
                    return "command", Unfollow(f"u{number}", account, "anna")
                return "command", Follow(f"f{number}", account, "anna", 10**10, mode=2)
            case 3:
                return "turn", None
            case 4:
                return "time", chance.choice((10**6, 2 * 10**9))
            case _:
                orders = open_orders(follower)
                return "reports", [self._report(orders) for _ in range(chance.choice((1, 1, 1, 4)))]

    def _report(self, orders: list[OrderId]) -> dict[str, str]:
        """Report on an open order, usually. Otherwise repeat a report, cancel one, or name an order
        that never was.
        """
        chance, name, kind = self._chance, f"E{next(self._ids)}", self._chance.random()
        if self._said and kind < 0.1:
            return chance.choice(self._said)
        if self._said and kind < 0.2:
            told = chance.choice(self._said)
            return {
                **told,
                "exec_id": name,
                "exec_type": "trade_cancel",
                "exec_ref_id": told["exec_id"],
            }
        exec_type = chance.choice(("trade", "trade", "trade", "canceled", "rejected"))
        order = (
            chance.choice(orders)
            if orders and kind < 0.95
            else OrderId(0, CauseKind.SIGNAL, 0, 999, 0, 0, 0)
        )
        self._said.append(report(name, exec_type, order_id=str(order)))
        return self._said[-1]


def open_orders(follower: FollowerShardActor) -> list[OrderId]:
    """Return the open orders."""
    return [
        OrderId(
            0,
            CauseKind(block.key[0]),
            block.key[1],
            block.key[2],
            int(book.subscriptions["subscription"][row]),
            *block.key[3:],
        )
        for book in follower.state.books
        for slot in book.slots
        for side in (1, -1)
        for block in follower.state.orders.of_slot(slot, side)
        for row in block.open_rows(block.rows)
    ]


async def begun(settings: Any) -> tuple[MemoryShards, CreatorShardActor, FollowerShardActor]:
    return await started(replace(settings, part_rows=2), ACCOUNTS)


async def told(
    shards: MemoryShards,
    creator: CreatorShardActor,
    follower: FollowerShardActor,
    what: str,
    of: Any,
) -> None:
    """Let one step happen."""
    match what:
        case "fill":
            side, quantity = of
            await shards.publish("fills.paper.anna", shards.fill("AAA", side, quantity))
            await turns(creator)
        case "command":
            await command(follower, of)
        case "time":
            shards.clock.time_ns += of
        case "reports":
            await shards.publish("executions.paper.0", of)
        case _:
            pass
    await follower.turn()
    await follower.core.rest()
    await follower.lookup.wait_read()


@pytest.mark.parametrize("seed", range(4))
async def test_p6_a_story_ends_the_same_whether_executions_are_held_or_not(seed: int) -> None:
    hashes, frames = [], []
    for settings in (SETTINGS, WAITING):
        story = RandomInputs(seed)
        shards, creator, follower = await begun(settings)
        for _ in range(150):
            await told(shards, creator, follower, *story.step(follower))
        await turns(creator, follower, count=20)
        await flushed(follower)
        hashes.append(hash_of(follower))
        frames.append(len(shards.frames(FOLLOWER)))
        assert hash_of(await shards.follower()) == hashes[-1]
        for kind in (SignalDecided, TradesCorrected, FollowUpsQueued, InputsRefused, OrdersPlaced):
            assert shards.events(FOLLOWER, kind), kind
    assert hashes[0] == hashes[1]
    assert frames[1] < frames[0]


@pytest.mark.parametrize("seed", range(6))
async def test_p8_executions_held_by_owners_that_die_are_applied_once(
    seed: int,
) -> None:
    story, chance = RandomInputs(seed), random.Random(seed)
    shards, creator, follower = await begun(replace(WAITING, snapshot_frames_every=5))
    died_keeping = 0
    for _ in range(150):
        await told(shards, creator, follower, *story.step(follower))
        if chance.random() < 0.25:
            died_keeping += follower.keeps_back()
            await follower.core.snapshotter.close()
            follower = await shards.follower()
    await turns(creator, follower, count=20)
    await flushed(follower)
    assert died_keeping > 2
    assert len(set(applied(shards))) == len(applied(shards)) > 20
    # One said twice in a message has one letter.
    refused = {
        (*event.sequences.tolist(), *event.excerpts)
        for event in shards.events(FOLLOWER, InputsRefused)
    }
    assert letters(shards) == len(refused)
    assert hash_of(await shards.follower()) == hash_of(follower)
    shards.server.snapshots.clear()
    assert hash_of(await shards.follower()) == hash_of(follower)


@pytest.mark.parametrize("phase", [Phase.CRASHED, Phase.FAILED, Phase.LOST])
async def test_p6_a_shard_that_broke_off_reports_only_its_last_frame_and_not_as_settled(
    phase: Phase,
) -> None:
    """Its turn may have moved cursors before it broke off."""
    _, _, follower = await started(WAITING)
    assert follower.core.telling.progress().is_settled
    durable = [cursor.number for cursor in follower.core.committer.durable_cursors]
    key = next(iter(follower.state.cursors))
    follower.state.cursors[key] = follower.state.cursors[key]._replace(number=999)
    follower.core.standing.enter(phase)
    progress = follower.core.telling.progress()
    assert not progress.is_settled
    assert [cursor.number for cursor in progress.cursors] == durable
