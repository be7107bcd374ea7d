"""What executions led to is applied before any frame holds it: whatever comes meanwhile, and
whoever dies, the story is the one of frames made at once, each execution counts once, and nothing
is kept for ever (P3, P6, P8, P10).
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
from tests.faults.adversarial.stage import SETTINGS, TIME, Stage, command, hash_of, turns

FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
WAITING = replace(SETTINGS, reports_wait_s=3600.0)
CAP = 64 << 10
ACCOUNTS = tuple("abcde")


async def started(
    settings: Any = WAITING, accounts: tuple[str, ...] = ("a",)
) -> tuple[Stage, CreatorShardActor, FollowerShardActor]:
    """Accounts have an open entry of 10 each."""
    stage = Stage(settings)
    creator, follower = await stage.creator(), await stage.follower()
    await stage.open_creator(creator, "anna", "10000000000")
    await turns(follower)
    for account in accounts:
        await command(
            follower,
            OpenAccount("open", account),
            Follow("follow", account, "anna", 10**10, mode=2),
        )
    await fill(stage, creator)
    await turns(follower)
    assert follower.state.orders.count == len(accounts)
    return stage, creator, follower


async def fill(stage: Stage, creator: CreatorShardActor, side: str = "buy") -> None:
    await stage.publish("fills.paper.anna", stage.fill("AAA", side))
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


async def reported(stage: Stage, *actors: FollowerShardActor, **one: Any) -> None:
    """Publish a report, and let it be taken."""
    await stage.publish("executions.paper.0", report(**one))
    await turns(*actors)


async def flushed(follower: FollowerShardActor, name: str = "last") -> None:
    """Have what is kept put into a frame, a command's."""
    await command(follower, OpenAccount("open", name))
    assert follower.core.standing.is_settled


def kinds(stage: Stage, since: int) -> list[list[type]]:
    return [[type(event) for event in frame] for frame in stage.frames(FOLLOWER)[since:]]


def sizes(stage: Stage) -> list[int]:
    messages = stage.server.stream("JOURNAL_FOLLOWER").messages
    return [len(message.data) for message in messages if message.subject == FOLLOWER.subject]


def applied(stage: Stage) -> list[str]:
    """Name every execution that was applied."""
    events = stage.events(FOLLOWER, ExecutionsApplied)
    return [f"{event.prefix}{number}" for event in events for number in event.numbers.tolist()]


def letters(stage: Stage) -> int:
    return len(stage.server.stream("DEADLETTER").messages)


async def test_p8_a_trade_that_no_frame_holds_yet_is_taken_back() -> None:
    stage, _, follower = await started()
    frames = len(stage.frames(FOLLOWER))
    await reported(stage, follower, exec_id="E1")
    await reported(stage, follower, exec_id="B1", exec_type="trade_cancel", exec_ref_id="E1")
    await reported(stage, follower, exec_id="E1")
    assert kinds(stage, frames) == [] and follower.core.counts.orders_looked_up
    await flushed(follower)
    assert kinds(stage, frames)[0][:2] == [ExecutionsApplied, TradesCorrected]
    assert follower.state.books[0].slots[0].position[0] == 0
    assert len(applied(stage)) == 1 and not letters(stage)
    assert hash_of(await stage.follower()) == hash_of(follower)


async def test_p3_a_refused_execution_leaves_as_a_dead_letter_after_its_frame() -> None:
    stage, _, follower = await started()
    await reported(stage, follower, exec_id="E1", number=7)
    assert not letters(stage)
    successor = await stage.follower()
    await turns(successor)
    assert letters(stage) == len(stage.events(FOLLOWER, InputsRefused)) == 1


async def test_orders_that_executions_lead_to_do_not_wait() -> None:
    stage, creator, follower = await started()
    await reported(stage, follower, exec_id="E1")
    await fill(stage, creator, "sell")
    await turns(follower)
    assert stage.events(FOLLOWER, CancelsRequested)
    frames = len(stage.frames(FOLLOWER))
    await reported(stage, follower, exec_id="C1", exec_type="canceled")
    assert kinds(stage, frames) == [[ExecutionsApplied, OrdersPlaced]]
    assert hash_of(await stage.follower()) == hash_of(follower)


async def test_a_flood_of_small_messages_is_cut_into_frames_though_nothing_else_comes() -> None:
    stage, _, follower = await started(replace(WAITING, frame_bytes_max=CAP))
    frames, count = len(stage.frames(FOLLOWER)), 1200
    for number in range(count):
        one = (
            report(f"E{number}", last_qty="0.0001")
            if number % 2
            else report("\U0001f600" * 60, number=9)
        )
        await stage.publish("executions.paper.0", one)
        if number % 5 == 0:
            await follower.turn()
    await turns(follower)
    assert max(sizes(stage)) < 2 * CAP
    assert len(stage.frames(FOLLOWER)) > frames + 2
    await flushed(follower)
    assert len(applied(stage)) == count / 2
    assert len(stage.events(FOLLOWER, InputsRefused)) == count / 2
    assert hash_of(await stage.follower()) == hash_of(follower)


async def test_what_is_kept_goes_once_into_the_first_frame_of_commands_that_need_several() -> None:
    stage, _, follower = await started(replace(WAITING, frame_bytes_max=CAP))
    await reported(stage, follower, exec_id="E1")
    await reported(stage, follower, exec_id="E2", number=9)
    frames = len(stage.frames(FOLLOWER))
    again: list[AccountCommand] = []
    for number in range(500):
        again += Follow(f"f{number}", "b", "anna", 10**10), Unfollow(f"u{number}", "b", "anna")
    await command(follower, OpenAccount("open", "b"), *again)
    found = kinds(stage, frames)
    assert len(found) > 2
    assert found[0][:2] == [ExecutionsApplied, InputsRefused]
    assert len(stage.events(FOLLOWER, ExecutionsApplied)) == letters(stage) == 1
    await reported(stage, follower, exec_id="E3")
    await flushed(follower)
    assert applied(stage) == ["E1-1", "E3-1"]
    assert hash_of(await stage.follower()) == hash_of(follower)


async def test_a_shard_that_is_stopped_first_has_what_it_keeps_made_durable() -> None:
    stage, _, former = await started(replace(WAITING, reports_wait_s=0.1))
    taken = (Source.EXECUTIONS, 0)
    follower = FollowerShardActor(0, "stopped", stage.ports, stage.settings)
    running = asyncio.create_task(follower.core.run())
    async with asyncio.timeout(30):
        while not follower.keeps_back():
            # A frame of its own, and an execution moments after it.
            if follower.core.phase is Phase.LIVE:
                await command_to(follower)
                await stage.publish(
                    "executions.paper.0",
                    report(f"E{len(stage.frames(FOLLOWER))}", last_qty="0.001"),
                )
            for _ in range(20):
                await asyncio.sleep(0)
        follower.core.stop()
        await running
    assert follower.core.phase is Phase.STOPPED and follower.core.standing.is_settled
    last = stage.server.stream("EXECUTIONS").messages[-1].sequence
    assert follower.state.cursors[taken].sequence == last
    assert hash_of(await stage.follower()) == hash_of(follower)
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
    stage, _, follower = await started()
    await reported(stage, follower, exec_id="E1")
    assert follower.keeps_back()
    await follower.close()
    await follower.core.committer.close()
    seen = weakref.ref(follower)
    stage.server.subscriptions.clear()
    del follower
    gc.collect()
    assert seen() is None


class Story:
    """Random inputs under a seed: the same for every shard that comes to the same states."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._ids = itertools.count(1)
        self._said: list[dict[str, str]] = []

    def step(self, follower: FollowerShardActor) -> tuple[str, Any]:
        """Say what comes next."""
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
        """Report on an open order mostly; or say again what was said, take it back, or name an
        order that never was.
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
    """Name the open orders."""
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


async def begun(settings: Any) -> tuple[Stage, CreatorShardActor, FollowerShardActor]:
    return await started(replace(settings, part_rows=2), ACCOUNTS)


async def told(
    stage: Stage, creator: CreatorShardActor, follower: FollowerShardActor, what: str, of: Any
) -> None:
    """Let one step happen."""
    match what:
        case "fill":
            side, quantity = of
            await stage.publish("fills.paper.anna", stage.fill("AAA", side, quantity))
            await turns(creator)
        case "command":
            await command(follower, of)
        case "time":
            stage.clock.time_ns += of
        case "reports":
            await stage.publish("executions.paper.0", of)
        case _:
            pass
    await follower.turn()
    await follower.core.rest()
    await follower.lookup.wait_read()


@pytest.mark.parametrize("seed", range(4))
async def test_p6_a_story_is_the_same_whether_executions_wait_for_a_frame_or_not(seed: int) -> None:
    hashes, frames = [], []
    for settings in (SETTINGS, WAITING):
        story = Story(seed)
        stage, creator, follower = await begun(settings)
        for _ in range(150):
            await told(stage, creator, follower, *story.step(follower))
        await turns(creator, follower, count=20)
        await flushed(follower)
        hashes.append(hash_of(follower))
        frames.append(len(stage.frames(FOLLOWER)))
        assert hash_of(await stage.follower()) == hashes[-1]
        for kind in (SignalDecided, TradesCorrected, FollowUpsQueued, InputsRefused, OrdersPlaced):
            assert stage.events(FOLLOWER, kind), kind
    assert hashes[0] == hashes[1]
    assert frames[1] < frames[0]


@pytest.mark.parametrize("seed", range(6))
async def test_p8_owners_that_die_with_executions_kept_leave_each_to_be_applied_once(
    seed: int,
) -> None:
    story, chance = Story(seed), random.Random(seed)
    stage, creator, follower = await begun(replace(WAITING, snapshot_frames_every=5))
    died_keeping = 0
    for _ in range(150):
        await told(stage, creator, follower, *story.step(follower))
        if chance.random() < 0.25:
            died_keeping += follower.keeps_back()
            await follower.core.snapshotter.close()
            follower = await stage.follower()
    await turns(creator, follower, count=20)
    await flushed(follower)
    assert died_keeping > 2
    assert len(set(applied(stage))) == len(applied(stage)) > 20
    # One said twice in a message has one letter.
    refused = {
        (*event.sequences.tolist(), *event.excerpts)
        for event in stage.events(FOLLOWER, InputsRefused)
    }
    assert letters(stage) == len(refused)
    assert hash_of(await stage.follower()) == hash_of(follower)
    stage.server.snapshots.clear()
    assert hash_of(await stage.follower()) == hash_of(follower)


@pytest.mark.parametrize("phase", [Phase.CRASHED, Phase.FAILED, Phase.LOST])
async def test_p6_a_shard_that_broke_off_says_of_nothing_beyond_its_last_frame_that_it_is_settled(
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
