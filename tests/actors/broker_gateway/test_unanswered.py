"""A gateway asks again about orders that its broker took and does not report on, and tells an
operator of them: once for many, and never of each order of a broker that is away (P9, P10).
"""

from typing import Any

import msgspec
import numpy as np
import pytest
import structlog

from actors.broker_gateway.actor import BrokerGatewayShardActor
from actors.errors import TransientError
from actors.settings import OrderIds
from engine.journal.events.gateway import OrdersRevoked
from engine.journal.events.orders import OrdersPlaced, OrdersUnanswered
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import (
    BlockAnswered,
    CancelsSubmitted,
    OrdersKnown,
    OrdersLookedUp,
    OrdersSubmitted,
    decode_block,
    encode_block,
)
from engine.values.units import NS_PER_S
from tests.actors.broker_gateway.order_flow import OrderFlow
from tests.actors.broker_gateway.test_actor import gateway, turns
from tests.actors.memory_shards import SETTINGS, MemoryShards

KEY = ShardKey(ShardKind.GATEWAY, 0)
ANSWER_S = 10


class Mute:
    """A broker that takes orders and never reports. It knows those of some subscriptions."""

    def __init__(self) -> None:
        self.knows = {0, 1, 2}
        self.is_there = True
        self.sections: list[Any] = []

    async def submit(self, block: bytes) -> bytes:
        if not self.is_there:
            raise TransientError("nobody listens")
        sections = decode_block(block)
        self.sections += sections
        known = [
            OrdersKnown(0, each.key, each.subscriptions[np.isin(each.subscriptions, [*self.knows])])
            for each in sections
            if isinstance(each, OrdersLookedUp)
        ]
        orders = [each for each in sections if isinstance(each, OrdersSubmitted)]
        count = sum(len(each.subscriptions) for each in orders)
        return encode_block(BlockAnswered(count, 0, ""), *known)

    def taken(self, kind: Any) -> list[list[int]]:
        """The subscriptions of each section of a kind."""
        return [each.subscriptions.tolist() for each in self.sections if isinstance(each, kind)]


class Told:
    """One gateway of a mute broker, and what an operator hears of it."""

    def __init__(self, order_ids: OrderIds) -> None:
        settings = msgspec.structs.replace(
            SETTINGS, order_ids={"paper": order_ids}, answer_s_max={"paper": ANSWER_S}
        )
        self.shards, self.broker = MemoryShards(settings), Mute()
        self.flow = OrderFlow(self.shards.server, self.shards.clock.time_ns)
        self.flow.open(10, ["AAA"])
        self.alarms: list[Any] = []
        self.actor: BrokerGatewayShardActor

    async def start(self) -> None:
        self.actor = await gateway(self.shards, self.broker)
        await self.pass_s(0)

    async def pass_s(self, seconds: int) -> list[str]:
        """Let time pass. Returns: the alarms."""
        self.shards.clock.time_ns += seconds * NS_PER_S
        with structlog.testing.capture_logs() as logs:
            await turns(self.actor, 20)
        told = [log for log in logs if log.get("alarm")]
        self.alarms += told
        return [log["event"] for log in told]

    async def place(self, *subscriptions: int) -> OrdersPlaced:
        orders = self.flow.orders("AAA", subscriptions)
        self.flow.append(orders)
        await self.pass_s(0)
        return orders

    async def ask(
        self, orders: OrdersPlaced, *, is_first: bool = True, cancels: int = 1
    ) -> list[str]:
        rows = orders.subscriptions
        asked = OrdersUnanswered(orders.key, int(is_first), rows, np.full(len(rows), cancels))
        self.flow.append(asked)
        return await self.pass_s(0)

    def letters(self) -> list[dict[str, Any]]:
        return [
            msgspec.json.decode(message.data)
            for message in self.shards.server.stream("DEADLETTER").messages
        ]


async def told_of(order_ids: OrderIds = OrderIds.REFUSED) -> Told:
    told = Told(order_ids)
    await told.start()
    return told


async def test_the_cancels_go_again_and_one_alarm_names_the_orders() -> None:
    told = await told_of()
    orders = await told.place(0, 1, 2)
    assert await told.ask(orders) == ["order_unanswered"]
    assert told.broker.taken(CancelsSubmitted) == [[0, 1, 2]]
    assert told.broker.taken(OrdersSubmitted) == [[0, 1, 2]]
    (alarm,), (letter,) = told.alarms, told.letters()
    ids = [str(orders.key.order_id(0, number)) for number in (0, 1, 2)]
    assert (alarm["broker"], alarm["orders"], alarm["first"]) == ("paper", 3, ids[0])
    assert (letter["reason"], letter["order_ids"]) == ("order_unanswered", ids)
    await told.actor.close()


async def test_an_exit_that_may_rest_is_not_cancelled() -> None:
    told = await told_of()
    assert await told.ask(await told.place(0), cancels=0) == ["order_unanswered"]
    assert told.broker.taken(CancelsSubmitted) == []
    await told.actor.close()


async def test_many_questions_make_one_alarm_a_minute_and_repeated_ones_one_a_day() -> None:
    told = await told_of()
    orders = [await told.place(number) for number in range(5)]
    assert await told.ask(orders[0]) == ["order_unanswered"]
    for each in orders[1:]:
        assert await told.ask(each) == []
    assert await told.pass_s(60) == ["order_unanswered"]
    assert told.alarms[-1]["orders"] == 4
    for _ in range(20):
        assert await told.ask(orders[0], is_first=False) == []
        assert await told.pass_s(3600) == []
    await told.pass_s(4 * 3600)
    assert await told.ask(orders[0], is_first=False) == ["order_unanswered"]
    assert told.alarms[-1]["orders"] == 1
    assert len(told.broker.taken(CancelsSubmitted)) == 5 + 21
    await told.actor.close()


async def test_p9_an_order_that_the_broker_does_not_know_is_over() -> None:
    told = await told_of(OrderIds.LOOKED_UP)
    told.broker.knows = {0, 2}
    orders = await told.place(0, 1, 2)
    assert await told.ask(orders) == ["order_unanswered"]
    assert told.broker.taken(OrdersLookedUp) == [[0, 1, 2]]
    (revoked,) = told.shards.events(KEY, OrdersRevoked)
    assert (revoked.key, revoked.subscriptions.tolist()) == (orders.key, [1])
    assert told.alarms[-1]["orders"] == 2
    assert len(told.shards.server.stream("EXECUTIONS").messages) == 1
    await told.actor.close()


async def test_nothing_is_told_of_orders_that_a_look_up_ends() -> None:
    told = await told_of(OrderIds.LOOKED_UP)
    told.broker.knows = set()
    assert await told.ask(await told.place(0, 1)) == []
    (revoked,) = told.shards.events(KEY, OrdersRevoked)
    assert revoked.subscriptions.tolist() == [0, 1]
    assert told.letters() == []
    # Orders go on as before.
    await told.place(3)
    assert told.broker.taken(OrdersSubmitted) == [[0, 1], [3]]
    await told.actor.close()


@pytest.mark.parametrize("order_ids", [OrderIds.REFUSED, OrderIds.LOOKED_UP])
async def test_p10_a_broker_that_is_away_is_told_of_once_and_not_order_by_order(
    order_ids: OrderIds,
) -> None:
    told = await told_of(order_ids)
    answered = [await told.place(number) for number in range(3)]
    told.broker.is_there = False
    await told.place(5)
    assert await told.pass_s(ANSWER_S) == []
    assert await told.pass_s(1) == ["broker_silent"]
    for each in answered:
        assert await told.ask(each) == []
    assert await told.pass_s(3600) == []
    assert not told.letters()
    await told.actor.close()


async def test_an_order_in_the_gateways_hands_is_not_asked_about() -> None:
    told = await told_of(OrderIds.LOOKED_UP)
    told.broker.is_there = False
    orders = await told.place(0)
    assert await told.ask(orders) == []
    assert not told.shards.events(KEY, OrdersRevoked)
    await told.actor.close()
