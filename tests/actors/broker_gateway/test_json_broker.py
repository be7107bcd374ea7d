"""A gateway with a broker that takes JSON: small messages, and answers that are wrong."""

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from actors.broker_gateway.actor import BrokerGatewayShardActor
from actors.broker_gateway.histories import Histories, StatedHistory
from actors.settings import OrderIds
from engine.broker_gateway.shard import GatewayShard
from engine.columns.section_types import column_of
from engine.journal.events.gateway import OrdersRevoked, OrdersUnresolved
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import ExecutionsStated, HistoryStated
from engine.values.order_ids import OrderKey
from gateways.json.broker import JsonBroker
from gateways.json.orders import ORDERS_MAX
from tests.actors.broker_gateway.order_flow import OrderFlow
from tests.actors.broker_gateway.test_actor import gateway, turns
from tests.actors.counting import counted
from tests.actors.memory_shards import SETTINGS, MemoryShards
from tests.faults.adversarial.unreliable import SkippingLoop

KEY = ShardKey(ShardKind.GATEWAY, 0)
WRONG = [b"", b"\xff", b"[]", b'{"accepted": 3}', b'{"accepted": 1.0, "repeated": 0, "code": 0}']


class Program:
    """A broker program that takes JSON. It gives some answers in place of its own."""

    def __init__(self) -> None:
        self.wrong: list[bytes] = []
        self.messages: list[dict[str, Any]] = []
        self.taken: set[str] = set()

    async def send(self, data: bytes) -> bytes:
        message = json.loads(data)
        self.messages.append(message)
        ids = {order["order_id"] for order in message.get("orders", ())}
        repeated = len(ids & self.taken)
        self.taken |= ids
        accepted = len(ids) - repeated
        answer: dict[str, Any] = {"accepted": accepted, "repeated": repeated, "code": 0}
        if "look_ups" in message:
            answer["known"] = [each for each in message["look_ups"] if each in self.taken]
        is_wrong = self.wrong and ("orders" in message or "look_ups" in message)
        return self.wrong.pop(0) if is_wrong else json.dumps(answer).encode()

    def sizes(self, name: str) -> list[int]:
        """The lengths of one list over all messages that have it."""
        return [len(message[name]) for message in self.messages if name in message]


def json_shards(order_ids: OrderIds) -> tuple[MemoryShards, OrderFlow]:
    limits = {"paper": ORDERS_MAX}
    settings = replace(SETTINGS, order_ids={"paper": order_ids}, message_orders_max=limits)
    shards = MemoryShards(settings)
    return shards, OrderFlow(shards.server, shards.clock.time_ns)


async def answered(actor: BrokerGatewayShardActor, orders: int) -> None:
    """Take turns until so many orders are answered, within a bound."""
    for _ in range(1000):
        if counted(actor).answered_orders == orders:
            return
        await turns(actor)
        await asyncio.sleep(0.05)
    raise AssertionError(f"expected {orders} answered orders, found {counted(actor)}")


@pytest.mark.parametrize("order_ids", list(OrderIds))
async def test_a_large_section_goes_in_messages_of_a_hundred_orders(order_ids: OrderIds) -> None:
    shards, flow = json_shards(order_ids)
    program = Program()
    flow.open(1250, ["AAA", "BBB"])
    actor = await gateway(shards, JsonBroker(program.send))
    flow.append(flow.orders("AAA", range(1234)), flow.orders("BBB", range(7), is_exit=True))
    await turns(actor, 40)
    assert program.sizes("accounts") == [1000, 250]
    assert program.sizes("orders") == [100] * 12 + [41]
    assert len(program.taken) == 1241
    assert counted(actor).answered_orders == 1241
    assert not shards.events(KEY, OrdersRevoked)
    await actor.close()


def test_wrong_answers_are_asked_for_again_and_no_order_is_taken_twice() -> None:
    async def story() -> None:
        shards, flow = json_shards(OrderIds.REFUSED)
        program = Program()
        flow.open(300, ["AAA"])
        actor = await gateway(shards, JsonBroker(program.send))
        program.wrong = list(WRONG)
        flow.append(flow.orders("AAA", range(250)))
        with capture_logs() as logs:
            await answered(actor, 250)
        alarms = [each for each in logs if each.get("alarm")]
        assert {each["event"] for each in alarms} == {"answer_unreadable"}
        assert (
            alarms[0]["error"] == "answer: expected JSON, found 0 bytes: Input data was truncated"
        )
        assert len(program.taken) == 250
        assert sum(program.sizes("orders")) > 250
        await actor.close()

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(story())


def test_orders_with_a_wrong_answer_are_looked_up_until_that_answer_is_right() -> None:
    async def story() -> None:
        shards, flow = json_shards(OrderIds.LOOKED_UP)
        program = Program()
        flow.open(300, ["AAA"])
        actor = await gateway(shards, JsonBroker(program.send))
        program.wrong = [b"no", b'{"accepted": 0, "repeated": 0, "code": 0, "known": ["x"]}']
        flow.append(flow.orders("AAA", range(100)))
        await answered(actor, 100)
        assert program.sizes("orders") == [100]
        assert program.sizes("look_ups") == [100, 100]
        assert not shards.events(KEY, OrdersRevoked)
        await actor.close()

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(story())


async def test_orders_with_a_wrong_answer_are_unresolved_where_nobody_can_say() -> None:
    shards, flow = json_shards(OrderIds.UNCHECKED)
    program = Program()
    flow.open(300, ["AAA"])
    actor = await gateway(shards, JsonBroker(program.send))
    program.wrong = [b"no"]
    flow.append(flow.orders("AAA", range(150)))
    await turns(actor, 20)
    assert program.sizes("orders") == [100, 50]
    unresolved = shards.events(KEY, OrdersUnresolved)
    assert sum(len(each.subscriptions) for each in unresolved) == 100
    assert actor.state.unresolved_count == 100
    await actor.close()


@pytest.mark.parametrize(
    ("exec_id", "last", "confirmed", "text"),
    [
        ("x-6", 6, 6, ""),
        ("x-6", 5, 5, "expected its ledger to have execution x-6"),
        ("x-6", 9, 8, "expected executions.paper.0 to hold executions up to x-8"),
        ("y-6", 5, 5, ""),
        ("x-6b", 5, 5, ""),
    ],
)
async def test_a_ledger_older_than_its_executions_in_json_contradicts(
    exec_id: str, last: int, confirmed: int, text: str
) -> None:
    shards, _ = json_shards(OrderIds.REFUSED)
    execution = {
        "exec_id": exec_id,
        "order_id": str(OrderKey(0, 0, 1, 0, 0).order_id(0, 1)),
        "exec_type": "new",
        "transact_time": "2026-01-05T20:00:01Z",
    }
    await shards.publish("executions.paper.0", json.dumps(execution).encode())
    none = column_of()
    history = HistoryStated("t", 0, none, none, none, none)
    stated = StatedHistory(history, [ExecutionsStated(0, "x-", last, confirmed)])
    histories = Histories(GatewayShard(), shards.ports, "paper", accepted="")
    found = await histories.contradiction(stated)
    assert found.startswith(text)
    assert bool(found) == bool(text)
