"""P9 at each kind of broker: messages and answers are lost or late, gateways die anywhere and go on
as zombies.
"""

import asyncio
import random
from collections import Counter
from typing import Literal

import msgspec
import pytest

from actors.broker_gateway.actor import BrokerGatewayShardActor
from actors.ports import Broker
from actors.settings import OrderIds
from engine.columns.section_codec import decode_section
from engine.journal.events.gateway import OrdersRevoked, OrdersUnresolved
from engine.journal.events.orders import OrdersPlaced
from engine.journal.frame import ShardKey, ShardKind
from engine.values.order_ids import OrderKey, cause_high, format_order_id
from gateways.brokers.ledger.ledger import walk_frames
from gateways.brokers.ledger.records import OrdersTaken, walk_records
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from tests.actors.broker_gateway.order_flow import OrderFlow
from tests.actors.counting import counted
from tests.actors.memory_shards import SETTINGS, MemoryShards, memory_broker
from tests.faults.adversarial.unreliable import SkippingLoop, UnreliableWay

KEY = ShardKey(ShardKind.GATEWAY, 0)
ACCOUNTS = 40
Order = tuple[OrderKey, int]
Class = Literal["refused", "looked_up", "unchecked"]


class GatewayOwners:
    """The owners of one gateway, one after the other, and the zombies among them."""

    def __init__(self, shards: MemoryShards, way: Broker) -> None:
        self._shards = shards
        self._way = way
        self._count = 0
        self._running: list[tuple[BrokerGatewayShardActor, asyncio.Task[None]]] = []

    def begin(self) -> BrokerGatewayShardActor:
        """Let another owner take over while the others go on."""
        self._count += 1
        actor = BrokerGatewayShardActor(
            0,
            f"gateway-{self._count}",
            self._shards.ports,
            self._shards.settings,
            name="paper",
            broker=self._way,
        )
        self._running.append((actor, asyncio.create_task(actor.core.run())))
        return actor

    async def kill(self, which: int) -> None:
        """End an owner where it stands; what it has handed over may still arrive."""
        actor, task = self._running.pop(which)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await actor.close()
        await actor.core.committer.close()

    async def kill_all(self) -> None:
        """End all of them."""
        while self._running:
            await self.kill(0)


class Outcome:
    """The end of every order, from the ledger and the gateway's journal."""

    def __init__(
        self, shards: MemoryShards, broker: MemoryPaperBroker, orders: list[OrdersPlaced]
    ) -> None:
        self.orders = Counter(
            (each.key, row) for each in orders for row in each.subscriptions.tolist()
        )
        self.placed: Counter[Order] = Counter()
        for frame in walk_frames(broker.ledger):
            for record in walk_records(frame.offset, frame.payload):
                if record.tag == OrdersTaken.TAG:
                    taken = decode_section(OrdersTaken, record.body)
                    self.placed.update((taken.key, row) for row in taken.subscriptions.tolist())
        self.revoked = _named(shards.events(KEY, OrdersRevoked))
        self.unresolved = _named(shards.events(KEY, OrdersUnresolved))
        letters = [
            msgspec.json.decode(message.data)
            for message in shards.server.stream("DEADLETTER").messages
        ]
        self.letters = Counter(each for letter in letters for each in letter["order_ids"])
        self.reasons = {letter["reason"] for letter in letters}

    def check(self, order_ids: Class) -> None:
        """Check that no order is placed twice, and none lost without a word."""
        for order in self.orders:
            ends = (self.placed[order], self.revoked[order], self.unresolved[order])
            assert ends in {(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1)}, (
                f"{order}: placed, revoked, unresolved {ends}"
            )
        assert (
            self.placed.keys() | self.revoked.keys() | self.unresolved.keys() <= self.orders.keys()
        )
        if order_ids != "unchecked":
            assert not self.unresolved
        assert self.letters.keys() == {_id(*order) for order in self.unresolved}
        assert self.reasons <= {"unknown_placement"}


def _named(events: list[OrdersRevoked] | list[OrdersUnresolved]) -> Counter[Order]:
    return Counter((each.key, row) for each in events for row in each.subscriptions.tolist())


def _id(key: OrderKey, subscription: int) -> str:
    high = cause_high(0, key.cause_kind, key.creator_shard, key.cause_number)
    return format_order_id(high, subscription << 32 | key.leg << 20 | key.attempt)


def run(seed: int, told: Class, broker_is: Class, *, snapshots_every: int = 10**9) -> Outcome:
    """Play a story. The gateway's configured kind of broker may differ from the real one."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(_story(random.Random(seed), told, broker_is, snapshots_every))


async def _story(
    rng: random.Random, told: Class, broker_is: Class, snapshots_every: int
) -> Outcome:
    settings = msgspec.structs.replace(
        SETTINGS,
        order_ids={"paper": OrderIds(told)},
        snapshot_frames_every=snapshots_every,
        orders_per_s_max={"paper": 20} if rng.random() < 0.3 else {},
    )
    shards = MemoryShards(settings)
    broker = memory_broker(shards.server, shards.clock, FillSettings(order_ids=broker_is))
    way = UnreliableWay(broker, rng)
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(ACCOUNTS, ["AAA", "BBB"])
    owners, orders = GatewayOwners(shards, way), list[OrdersPlaced]()
    running = [owners.begin()]
    for _ in range(rng.randint(5, 25)):
        made = [each for _ in range(rng.randint(0, 3)) for each in _orders(rng, flow)]
        orders += made
        flow.append(*made)
        if orders and rng.random() < 0.2:
            flow.append(flow.cancels(rng.choice(orders)))
        for _ in range(rng.choice((0, 1, 3, 10, 30, 100))):
            await asyncio.sleep(0)
        shards.clock.time_ns += rng.choice((0, 10**6, 10**9))
        if rng.random() < 0.3:
            await asyncio.sleep(rng.choice((0.1, 0.3, 10)))
        if rng.random() < 0.35:
            running.append(owners.begin())
            # Without a kill the former owner goes on, as a zombie.
            if rng.random() < 0.7:
                await owners.kill(0)
    await way.end_faults()
    last = owners.begin()
    await _drained(shards, last)
    await owners.kill_all()
    return Outcome(shards, broker, orders)


def _orders(rng: random.Random, flow: OrderFlow) -> list[OrdersPlaced]:
    """Make one decision's orders, now and then in two blocks with subscriptions between each
    other's.
    """
    rows = sorted(rng.sample(range(ACCOUNTS), rng.randint(1, 12)))
    is_exit = rng.random() < 0.4
    expire_time = 0 if is_exit else flow.time_ns + rng.choice((2, 5, 1000)) * 10**9
    symbol, creator = rng.choice(("AAA", "BBB")), rng.randrange(3)
    made: list[OrdersPlaced] = []
    for some in (rows[::2], rows[1::2]) if len(rows) > 1 and rng.random() < 0.3 else (rows,):
        cause = made[0].key.cause_number if made else None
        made.append(
            flow.orders(
                symbol, some, creator=creator, is_exit=is_exit, expire_time=expire_time, cause=cause
            )
        )
    return made


async def _drained(shards: MemoryShards, last: BrokerGatewayShardActor) -> None:
    end = shards.server.stream("JOURNAL_FOLLOWER").messages[-1].sequence
    for _ in range(2000):
        await asyncio.sleep(0.1)
        shards.clock.time_ns += 10**8
        counts = counted(last)
        waiting = (counts.queued_orders or 0) + (counts.outstanding_messages or 0)
        if (
            last.state.read_sequence >= end
            and not waiting
            and last.outcomes.answered_up_to() >= end
        ):
            await asyncio.sleep(5)
            return
    raise AssertionError(f"expected everything answered, found {counted(last)}, {last.core.error}")


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("order_ids", ["refused", "looked_up", "unchecked"])
def test_p9_no_order_is_placed_twice_and_none_is_lost_unreported(
    order_ids: Class, seed: int
) -> None:
    run(seed, order_ids, order_ids).check(order_ids)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order_ids", ["looked_up", "unchecked"])
def test_an_owner_that_starts_from_a_snapshot_knows_which_orders_left(
    order_ids: Class, seed: int
) -> None:
    run(seed, order_ids, order_ids, snapshots_every=2).check(order_ids)


def test_a_second_placement_would_be_seen() -> None:
    """The canary of the stories above: the broker places repeated ids, while the gateway expects it
    to refuse them.
    """
    assert any(max(run(seed, "refused", "unchecked").placed.values()) > 1 for seed in range(10))
