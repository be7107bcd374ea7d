"""One gateway over the in-memory server, with orders written by hand: messages, refusals,
snapshots, rates.
"""

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.broker_gateway.actor import QUEUED_ENTRIES_MAX, BrokerGatewayShardActor
from actors.broker_gateway.outcomes import SUBMISSIONS_COMMIT_NS_EVERY
from actors.errors import OutcomeUnknownError, TransientError
from actors.ports import Broker
from actors.rate_limit import RateLimit
from actors.settings import OrderIds
from engine.broker_gateway.shard import MARK_FRAMES, GatewayShard
from engine.columns.snapshot import decode_snapshot
from engine.columns.state import encode_state
from engine.journal.events.gateway import OrdersRevoked, OrdersUnresolved, SubmissionStarted
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import (
    BlockAnswered,
    OrdersLookedUp,
    OrdersSubmitted,
    decode_block,
    encode_block,
)
from engine.values.order_ids import parse_order_id
from gateways.brokers.paper.settings import FillSettings
from tests.actors.broker_gateway.order_flow import OrderFlow
from tests.actors.counting import counted
from tests.actors.memory_shards import SETTINGS, START_NS, MemoryShards, memory_broker
from tests.faults.adversarial.unreliable import SkippingLoop

KEY = ShardKey(ShardKind.GATEWAY, 0)


class Recorder:
    """A broker that answers, once it is let, and remembers the sections of every message. It
    refuses whole messages with one symbol.
    """

    def __init__(self, *, refused: str = "") -> None:
        self.messages: list[list[Any]] = []
        self.is_there = True
        self._refused = refused

    async def submit(self, block: bytes) -> bytes:
        if not self.is_there:
            raise TransientError("broker paper: nobody listens")
        sections = decode_block(block)[1:]
        orders = [each for each in sections if isinstance(each, OrdersSubmitted)]
        if any(each.symbol == self._refused for each in orders):
            return encode_block(BlockAnswered(0, 0, "orders: symbol: not traded here"))
        self.messages.append(sections)
        return encode_block(BlockAnswered(sum(len(each.subscriptions) for each in orders), 0, ""))

    @property
    def causes(self) -> list[int]:
        """The causes of all orders taken, in order."""
        return [
            each.key.cause_number
            for message in self.messages
            for each in message
            if isinstance(each, OrdersSubmitted)
        ]


async def gateway(shards: MemoryShards, broker: Broker) -> BrokerGatewayShardActor:
    """Start the gateway anew."""
    actor = BrokerGatewayShardActor(
        0, "gateway", shards.ports, shards.settings, name="paper", broker=broker
    )
    await actor.start()
    async with asyncio.timeout(10):
        await actor.sender.introduction.wait()
    return actor


async def turns(actor: BrokerGatewayShardActor, count: int = 8) -> None:
    for _ in range(count):
        await actor.turn()
        await asyncio.sleep(0)
        await actor.core.rest()


async def test_the_blocks_of_a_frame_go_in_one_message_exits_first() -> None:
    shards, broker = MemoryShards(), Recorder()
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(100, ["AAA", "BBB"])
    actor = await gateway(shards, broker)
    await turns(actor)
    broker.messages.clear()
    blocks = [flow.orders("AAA", range(n * 10, n * 10 + 10)) for n in range(6)]
    flow.append(*blocks, flow.orders("BBB", range(10), is_exit=True))
    await turns(actor)
    assert len(broker.messages) == 1
    assert broker.causes == [7, 1, 2, 3, 4, 5, 6]
    await actor.close()


async def test_a_refused_block_leaves_the_others_of_its_message_accepted() -> None:
    shards, broker = MemoryShards(), Recorder(refused="BBB")
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(100, ["AAA", "BBB"])
    actor = await gateway(shards, broker)
    await turns(actor)
    flow.append(flow.orders("AAA", [1]), flow.orders("BBB", [2, 3]), flow.orders("AAA", [4]))
    await turns(actor)
    assert broker.causes == [1, 3]
    [revoked] = shards.events(KEY, OrdersRevoked)
    assert revoked.subscriptions.tolist() == [2, 3]
    assert counted(actor).answered_orders == 4
    await actor.close()


@pytest.mark.parametrize("frames", [3, MARK_FRAMES * 2 + 7])
async def test_a_snapshot_is_taken_with_orders_in_hand_and_its_owner_sends_them(
    frames: int,
) -> None:
    """While the broker is down, snapshots go on and exits behind the orders are read. Nothing is
    lost by either (P6, P10).
    """
    shards, broker = (
        MemoryShards(msgspec.structs.replace(SETTINGS, snapshot_frames_every=1)),
        Recorder(),
    )
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(100, ["AAA"])
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1]))
    await turns(actor)
    shards.clock.time_ns += 10**9
    broker.is_there = False
    flow.append(flow.orders("AAA", [2]))
    for _ in range(frames - 2):
        flow.append()
    # One that waits and expires makes a frame, and so a snapshot due, while an exit is in hand.
    expire_time = shards.clock.time_ns + 1
    flow.append(
        flow.orders("AAA", [2], expire_time=expire_time), flow.orders("AAA", [4], is_exit=True)
    )
    await turns(actor, frames // 16 + 8)
    shards.clock.time_ns += 10**9
    await turns(actor)
    assert counted(actor).queued_exits or counted(actor).outstanding_messages
    flow.open(7, ["BBB"])
    await turns(actor)
    shards.clock.time_ns += 10**9
    actor.on_snapshot()
    snapshot = actor.core.standing.durable_state()
    await actor.close()
    restored = GatewayShard()
    restored.restore(decode_snapshot(encode_state(snapshot), restored.schema))
    assert encode_state(restored.columns()) == encode_state(snapshot)
    assert restored.read_sequence <= restored.answered_sequence <= 2
    assert shards.server.snapshots
    again, taken = Recorder(), broker.causes
    successor = await gateway(shards, again)
    await turns(successor, frames // 16 + 8)
    assert taken == [1]
    assert sorted(again.causes) == [2, 4]
    assert (
        successor.state.view(0).accounts.count == successor.state.view(0).subscriptions.count == 107
    )
    await successor.close()


async def test_entries_beyond_the_queue_are_revoked_and_exits_behind_them_are_sent() -> None:
    shards, broker = MemoryShards(), Recorder()
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(100, ["AAA"])
    actor = await gateway(shards, broker)
    await turns(actor)
    actor.queue.entries_count = QUEUED_ENTRIES_MAX - 1
    flow.append(
        flow.orders("AAA", [1, 2]), flow.orders("AAA", [3], is_exit=True), flow.orders("AAA", [4])
    )
    await turns(actor)
    assert broker.causes == [2, 3]
    [revoked] = shards.events(KEY, OrdersRevoked)
    assert revoked.subscriptions.tolist() == [1, 2]
    assert len(shards.server.stream("EXECUTIONS").messages) == 1
    await actor.close()


class Silent:
    """A paper broker that, while silent, answers no orders; `takes` says whether it takes them all
    the same.
    """

    def __init__(self, shards: MemoryShards, order_ids: OrderIds, *, takes: bool) -> None:
        settings = FillSettings(order_ids=order_ids.value)
        self.broker = memory_broker(shards.server, shards.clock, settings)
        self.is_silent = True
        self.blocks: list[str] = []
        self.journaled: list[int] = []
        self.taken: list[int] = []
        self._shards = shards
        self._takes = takes

    async def submit(self, block: bytes) -> bytes:
        sections = decode_block(block)
        is_orders = any(isinstance(each, OrdersSubmitted) for each in sections)
        self.blocks += [
            type(each).__name__
            for each in sections
            if isinstance(each, OrdersSubmitted | OrdersLookedUp)
        ]
        if is_orders:
            self.journaled.append(len(self._shards.events(KEY, SubmissionStarted)))
        if not is_orders:
            return await self.broker.submit(block)
        if self._takes or not self.is_silent:
            answer = await self.broker.submit(block)
            for each in sections:
                self.taken += (
                    each.subscriptions.tolist() if isinstance(each, OrdersSubmitted) else []
                )
            if not self.is_silent:
                return answer
        raise OutcomeUnknownError("no answer")


async def silent_shards(
    order_ids: OrderIds, *, takes: bool
) -> tuple[MemoryShards, Silent, OrderFlow]:
    """Prepare orders for a gateway whose broker is silent."""
    shards = MemoryShards(msgspec.structs.replace(SETTINGS, order_ids={"paper": order_ids}))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10_000, ["AAA"])
    return shards, Silent(shards, order_ids, takes=takes), flow


@pytest.mark.parametrize("takes", [True, False])
async def test_orders_without_an_answer_are_looked_up_once_and_never_sent_again(
    takes: bool,
) -> None:
    """They are journaled before they leave. Orders that the broker has are answered; the others are
    reported as rejected (P3, P9).
    """
    shards, broker, flow = await silent_shards(OrderIds.LOOKED_UP, takes=takes)
    actor = await gateway(shards, broker)
    await turns(actor)
    flow.append(flow.orders("AAA", [1, 2]), flow.orders("AAA", [3]))
    await turns(actor, 16)
    assert broker.blocks == ["OrdersSubmitted"] * 2 + ["OrdersLookedUp"] * 2
    assert broker.journaled == [1]
    revoked = shards.events(KEY, OrdersRevoked)
    assert [each.subscriptions.tolist() for each in revoked] == ([] if takes else [[1, 2], [3]])
    assert counted(actor).outstanding_messages == 0
    assert counted(actor).answered_orders == 3
    await actor.close()


@pytest.mark.parametrize("is_answered", [True, False])
@pytest.mark.parametrize("order_ids", [OrderIds.LOOKED_UP, OrderIds.UNCHECKED])
async def test_of_two_interleaved_blocks_only_the_one_that_was_sent_counts_as_sent(
    order_ids: OrderIds, is_answered: bool
) -> None:
    """One decision may make several blocks in a frame, as its cancels are answered. The next owner
    sends the orders that did not leave (P9).
    """
    shards, broker, flow = await silent_shards(order_ids, takes=True)
    broker.is_silent = not is_answered
    actor = await gateway(shards, broker)
    await turns(actor)
    actor.sender._rate = RateLimit(2, burst=2)
    decision = flow.orders("AAA", [1, 5])
    flow.append(decision, flow.orders("AAA", [3, 7], cause=decision.key.cause_number))
    while not broker.journaled:
        await actor.turn()
        await asyncio.sleep(0)
    if is_answered:
        await turns(actor)
        shards.clock.time_ns += SUBMISSIONS_COMMIT_NS_EVERY
        await turns(actor)
    await actor.core.committer.settle()
    await actor.close()
    broker.is_silent = False
    successor = await gateway(shards, broker)
    await turns(successor, 16)
    assert broker.taken == [1, 5, 3, 7]
    assert not shards.events(KEY, OrdersRevoked)
    unresolved = [each.subscriptions.tolist() for each in shards.events(KEY, OrdersUnresolved)]
    assert unresolved == ([] if is_answered or order_ids is OrderIds.LOOKED_UP else [[1, 5]])
    await successor.close()


class Busy:
    """A paper broker that, while busy, refuses messages of a higher epoch than the first's: whole,
    so without having heard of it.
    """

    def __init__(self, shards: MemoryShards) -> None:
        self.broker = memory_broker(shards.server, shards.clock, FillSettings())
        self.is_busy = True
        self.answers: list[BlockAnswered] = []

    async def submit(self, block: bytes) -> bytes:
        is_refused = self.is_busy and decode_block(block)[0].epoch > 1
        busy = encode_block(BlockAnswered(0, 0, "busy: ask again later"))
        answer = busy if is_refused else await self.broker.submit(block)
        self.answers += decode_block(answer)
        return answer


async def test_an_owner_unknown_to_the_broker_revokes_nothing_that_a_zombie_may_send() -> None:
    shards = MemoryShards()
    flow, broker = OrderFlow(shards.server, shards.clock.time_ns), Busy(shards)
    flow.open(10, ["AAA"])
    zombie = await gateway(shards, broker)
    await turns(zombie)
    successor = BrokerGatewayShardActor(
        0, "next", shards.ports, shards.settings, name="paper", broker=broker
    )
    await successor.start()
    await turns(successor)
    assert broker.answers[-1].refusal
    flow.append(flow.orders("AAA", [1], expire_time=shards.clock.time_ns + 1))
    for _ in range(4):
        await zombie.turn()
    assert broker.answers[-1].accepted == 1
    shards.clock.time_ns += 10**9
    await turns(successor)
    broker.is_busy = False
    await successor.sender.introduction.wait()
    await turns(successor)
    assert not shards.events(KEY, OrdersRevoked)
    assert broker.answers[-1].repeated == 1
    await zombie.close()
    await zombie.core.committer.close()
    await successor.close()


async def test_orders_that_cannot_be_looked_up_are_unresolved_and_each_is_named() -> None:
    shards, broker, flow = await silent_shards(OrderIds.UNCHECKED, takes=False)
    actor = await gateway(shards, broker)
    await turns(actor)
    orders = flow.orders("AAA", range(2500))
    flow.append(orders)
    await turns(actor, 16)
    letters = [
        msgspec.json.decode(message.data) for message in shards.server.stream("DEADLETTER").messages
    ]
    assert [len(letter["order_ids"]) for letter in letters] == [1000, 1000, 500]
    assert {letter["reason"] for letter in letters} == {"unknown_placement"}
    named = {parse_order_id(each)[1] >> 32 for letter in letters for each in letter["order_ids"]}
    assert named == set(range(2500))
    assert counted(actor).unresolved_orders == 2500
    await actor.close()
    broker.is_silent = False
    successor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [3000]))
    await turns(successor, 16)
    assert broker.blocks == ["OrdersSubmitted"] * 2
    assert counted(successor).unresolved_orders == 2500
    assert counted(successor).answered_orders == 1
    await successor.close()


async def test_orders_for_a_broker_that_refuses_repeated_ids_leave_without_a_frame_first() -> None:
    shards, broker, flow = await silent_shards(OrderIds.REFUSED, takes=True)
    broker.is_silent = False
    actor = await gateway(shards, broker)
    await turns(actor)
    flow.append(flow.orders("AAA", [1, 2]))
    await turns(actor)
    assert broker.blocks == ["OrdersSubmitted"]
    assert shards.events(KEY, SubmissionStarted) == []
    await actor.close()


async def test_a_rate_limit_lets_exits_go_first_and_keeps_the_total() -> None:
    settings = msgspec.structs.replace(SETTINGS, orders_per_s_max={"paper": 100})
    shards, broker = MemoryShards(settings), Recorder()
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(1000, ["AAA"])
    actor = await gateway(shards, broker)
    await turns(actor)
    flow.append(*(flow.orders("AAA", np.arange(n * 100, n * 100 + 100)) for n in range(5)))
    flow.append(flow.orders("AAA", np.arange(900, 950), is_exit=True))
    await turns(actor)
    assert counted(actor).answered_orders == 100
    shards.clock.time_ns += 500_000_000
    await turns(actor)
    assert 6 in broker.causes
    for _ in range(5):
        shards.clock.time_ns += 10**9
        await turns(actor)
    assert counted(actor).answered_orders == 550
    await actor.close()


class LoopClock:
    """The time of the loop that runs, which a `SkippingLoop` skips on with."""

    def now_ns(self) -> int:
        return START_NS + int(asyncio.get_running_loop().time() * 10**9)


def test_unanswered_orders_are_sent_again_at_the_brokers_rate() -> None:
    """Orders of several seconds that waited for an absent broker are not sent all at once."""

    async def story() -> list[tuple[int, int]]:
        shards, broker = (
            MemoryShards(msgspec.structs.replace(SETTINGS, orders_per_s_max={"paper": 100})),
            Recorder(),
        )
        clock, arrived = LoopClock(), list[tuple[int, int]]()
        shards.ports = shards.ports._replace(clock=clock)
        flow = OrderFlow(shards.server, clock.now_ns())
        flow.open(1000, ["AAA"])
        actor = await gateway(shards, broker)
        await turns(actor)
        broker.is_there = False
        flow.append(*(flow.orders("AAA", range(n * 100, n * 100 + 100)) for n in range(10)))
        for second in range(40):
            broker.is_there = second > 12
            await turns(actor)
            orders = [
                each
                for message in broker.messages
                for each in message
                if isinstance(each, OrdersSubmitted)
            ]
            arrived.append((clock.now_ns(), sum(len(each.subscriptions) for each in orders)))
            await asyncio.sleep(1)
        await actor.close()
        await actor.core.committer.close()
        return arrived

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        arrived = runner.run(story())
    assert (arrived[12][1], arrived[-1][1]) == (0, 1000)
    back_ns = arrived[12][0]
    assert all(orders <= 100 + (now_ns - back_ns) // 10**7 for now_ns, orders in arrived[13:]), (
        arrived
    )
