"""A creator's and a follower's shard of two brokers, one of which sends junk. Whatever it sends:

- no actor ends, and a frame holds a bounded number of executions;
- each of its messages is applied, refused with a dead letter, or repeats what was taken;
- the other broker's account ends as if nothing had been sent;
- a new owner has the same state.
"""

import time
from typing import Any, NamedTuple

import msgspec
import numpy as np

from actors.creator.actor import CreatorShardActor
from actors.errors import BadInputError
from actors.follower.actor import FollowerShardActor
from actors.follower.execution_feed import REPORT_ROWS_MAX
from engine.journal.events.orders import ExecutionsApplied, TradesCorrected
from engine.journal.events.shard import InputsRefused
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import ExecutionsReported, Report, encode_block
from engine.messages.commands import Follow, OpenAccount
from engine.values.order_ids import OrderKey
from engine.values.order_status import ExecType
from gateways.json.format import JsonFormat
from tests.actors.memory_shards import (
    SETTINGS,
    START_NS,
    MemoryShards,
    command,
    hash_of,
    turns,
)
from tests.faults.fuzz.making import Maker

CREATOR, FOLLOWER = ShardKey(ShardKind.CREATOR, 0), ShardKey(ShardKind.FOLLOWER, 0)
HONEST, JUNK = "paper", "other"
CREATORS = {"anna": HONEST, "zoe": JUNK}
SUBJECTS = (*[f"executions.{JUNK}.0"] * 6, f"fills.{JUNK}.zoe", f"marks.{JUNK}")
MESSAGES_EACH = 5


class Outcome(NamedTuple):
    """What became of the junk, and what the honest broker's account holds."""

    applied: int
    refused: int
    repeated: int
    honest: Any
    longest_turn_ms: float


class Fuzzed:
    """Two shards in memory."""

    def __init__(self) -> None:
        settings = msgspec.structs.replace(SETTINGS, brokers=(HONEST, JUNK))
        self.shards = MemoryShards(settings)
        self.longest_turn_s = 0.0

    async def start(self) -> None:
        """Let an account of each broker follow a creator of it, with an order open."""
        self.creator: CreatorShardActor = await self.shards.creator()
        self.follower: FollowerShardActor = await self.shards.follower()
        for creator, broker in CREATORS.items():
            await self.shards.open_creator(self.creator, creator, "10000000000", broker=broker)
        await turns(self.follower)
        for creator, broker in CREATORS.items():
            account = f"{creator}-follower"
            await command(
                self.follower,
                OpenAccount(f"o-{account}", account, broker),
                Follow(f"f-{account}", account, creator, 10**12, mode=2),
            )
            fill = self.shards.fill("JPM", quantity="1000", price="1")
            await self.shards.publish(f"fills.{broker}.{creator}", [fill])
        await self.settle()

    async def settle(self) -> None:
        """Take turns until everything that was sent is taken."""
        for _ in range(16):
            for actor in (self.creator, self.follower):
                started = time.perf_counter()
                await actor.turn()
                self.longest_turn_s = max(self.longest_turn_s, time.perf_counter() - started)
            await turns(self.creator, self.follower, count=1)

    async def trade_honestly(self, number: int) -> None:
        """Let the honest broker report one trade of its order."""
        one = np.ones(1, np.int64)
        trade = ExecutionsReported(
            *(0, "honest-", OrderKey(0, 0, 1, 0, 0), START_NS, one * number, one * 0),
            *(one * ExecType.TRADE, one * 10**8, one * 10**6, one * 0),
        )
        await self.shards.publish(f"executions.{HONEST}.0", encode_block(trade))

    def honest_account(self) -> Any:
        """What the honest broker's account holds."""
        (book,) = [each for each in self.follower.state.books if each.creator == 0]
        (slot,) = book.slots
        return slot.values[:, 0].tolist(), book.subscriptions.money(slice(0, 1)).tolist()


async def fuzzed(seed: int, messages: int) -> Outcome:
    """Send junk, and check all of the rules above."""
    maker, world = Maker(seed), Fuzzed()
    await world.start()
    shards = world.shards
    maker.stored = [
        message.data
        for name in shards.server.streams
        for message in shards.server.stream(name).messages
    ]
    for number in range(messages):
        await shards.publish(maker.random.choice(SUBJECTS), maker.message())
        if number % MESSAGES_EACH == 0:
            await world.trade_honestly(number)
            await world.settle()
    await world.settle()
    last = len(shards.server.stream("EXECUTIONS").messages)
    cursors = world.follower.state.cursors
    assert [cursor.sequence for key, cursor in cursors.items() if key[0].name == "EXECUTIONS"] == [
        last
    ]
    assert hash_of(await shards.follower()) == hash_of(world.follower)
    assert hash_of(await shards.creator()) == hash_of(world.creator)
    applied, refused, repeated = _accounted(shards)
    return Outcome(applied, refused, repeated, world.honest_account(), world.longest_turn_s * 1e3)


def _accounted(shards: MemoryShards) -> tuple[int, int, int]:
    """Count the messages of the junk broker by what became of them; each became something."""
    events = shards.events(FOLLOWER, ExecutionsApplied)
    assert max(len(event.numbers) for event in events) <= REPORT_ROWS_MAX
    applied = {event.sequence for event in (*events, *shards.events(FOLLOWER, TradesCorrected))}
    told = shards.events(FOLLOWER, InputsRefused)
    refused = {sequence for event in told for sequence in event.sequences.tolist()}
    seen: set[tuple[str, int, int]] = set()
    counts = [0, 0, 0]
    for message in shards.server.stream("EXECUTIONS").messages:
        try:
            reports = list(JsonFormat().reports(message.subject, message.data))
        except BadInputError:
            assert message.sequence in refused, message
            counts[1] += 1
            continue
        ids = {each for report in reports for each in _ids_of(report)}
        is_known = message.sequence in applied | refused
        assert is_known or ids <= seen, message
        seen |= ids
        at = 0 if message.sequence in applied else 1 if message.sequence in refused else 2
        counts[at] += message.subject.split(".")[1] == JUNK
    return counts[0], counts[1], counts[2]


def _ids_of(report: Report) -> set[tuple[str, int, int]]:
    """Return the ids of the rows that say more than `new`. A number counts once, whatever the
    order.
    """
    return {
        (report.prefix, number, subscription if number < 0 else 0)
        for number, subscription, exec_type in zip(
            report.numbers.tolist(),
            report.subscriptions.tolist(),
            report.exec_types.tolist(),
            strict=True,
        )
        if exec_type != ExecType.NEW
    }


async def undisturbed(messages: int) -> Any:
    """Return what the honest broker's account holds when nobody sends junk."""
    world = Fuzzed()
    await world.start()
    for number in range(0, messages, MESSAGES_EACH):
        await world.trade_honestly(number)
        await world.settle()
    await world.settle()
    return world.honest_account()
