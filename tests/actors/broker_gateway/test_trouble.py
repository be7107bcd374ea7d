"""A gateway and a broker that do not agree: about who sends, about counts, about the past.

Each is an alarm and stops only this gateway, nothing trades twice, and it goes on once they agree.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from actors.broker_gateway import introduction
from actors.broker_gateway.actor import BrokerGatewayShardActor
from actors.errors import OutcomeUnknownError, ShardLostError
from actors.ports import Broker
from actors.settings import OrderIds
from engine.columns.section_codec import decode_section
from engine.journal.chain import ChainBrokenError
from engine.journal.events.gateway import FramesTaken, OrdersRevoked, OrdersUnresolved
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import (
    BlockAnswered,
    FramesSent,
    GatewayEpoch,
    OrdersSubmitted,
    RefusalCode,
    decode_block,
    encode_block,
)
from gateways.brokers.ledger.ledger import MemoryLedger
from gateways.brokers.ledger.records import OrdersTaken, walk_records
from gateways.brokers.paper.memory import MemoryPaperBroker
from gateways.brokers.paper.settings import FillSettings
from tests.actors.broker_gateway.order_flow import OrderFlow
from tests.actors.memory_shards import SETTINGS, MemoryShards

KEY = ShardKey(ShardKind.GATEWAY, 0)
CLUSTER = msgspec.structs.replace(SETTINGS, cluster_id="cluster-a")


def count_of(sections: list[Any]) -> int:
    return sum(len(each.subscriptions) for each in sections if isinstance(each, OrdersSubmitted))


class Answering:
    """A broker that answers orders as it is told, and everything else without a refusal."""

    def __init__(self, answer: Callable[[int], BlockAnswered]) -> None:
        self.answer = answer
        self.introduces: Callable[[], BlockAnswered] = lambda: BlockAnswered(0, 0, "", 0)
        self.orders: list[int] = []
        self.blocks: list[list[Any]] = []

    async def submit(self, block: bytes) -> bytes:
        sections = decode_block(block)
        self.blocks.append(sections)
        if len(sections) == 1:
            return encode_block(self.introduces())
        count = count_of(sections)
        if not count:
            return encode_block(BlockAnswered(0, 0, "", 0))
        self.orders.append(count)
        return encode_block(self.answer(count))


class Brokers:
    """A paper broker in memory that keeps its ledger, and may be started on another one."""

    def __init__(self, shards: MemoryShards, **settings: Any) -> None:
        self.ledger = MemoryLedger()
        self._shards = shards
        self._settings = FillSettings(**settings)
        self.start()

    def start(self, data: bytes | None = None, *, ledger_id: str = "first") -> None:
        """Start the program anew, on a ledger of these bytes or its own."""
        self.ledger = MemoryLedger(bytes(self.ledger.data) if data is None else data)
        executions = self._shards.server.stream("EXECUTIONS")

        def report(subject: str, data: bytes, *, message_id: str) -> None:
            if message_id not in executions.sequence_of_id:
                executions.store(subject, data, message_id)

        self.paper = MemoryPaperBroker(
            self._settings, self._shards.clock, report, ledger=self.ledger, ledger_id=ledger_id
        )

    @property
    def orders_taken(self) -> int:
        """The number of orders in the ledger."""
        frames = MemoryLedger(bytes(self.ledger.data)).replay()
        records = [each for f in frames for each in walk_records(f.offset, f.payload)]
        return sum(
            len(decode_section(OrdersTaken, each.body).subscriptions)
            for each in records
            if each.tag == OrdersTaken.TAG
        )

    async def submit(self, block: bytes) -> bytes:
        return await self.paper.submit(block)


async def gateway(shards: MemoryShards, broker: Broker) -> BrokerGatewayShardActor:
    actor = BrokerGatewayShardActor(
        0, "gateway", shards.ports, shards.settings, name="paper", broker=broker
    )
    await actor.start()
    return actor


async def until(actor: BrokerGatewayShardActor, condition: Callable[[], object]) -> None:
    """Take turns until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():
            await actor.turn()
            await asyncio.sleep(0.001)
            await actor.core.rest()


def trouble(actor: BrokerGatewayShardActor) -> str:
    return actor.core.standing.trouble


def answered(actor: BrokerGatewayShardActor) -> int:
    return actor.outcomes.answered_orders


async def close(actor: BrokerGatewayShardActor) -> None:
    await actor.core.committer.settle()
    await actor.close()
    await actor.core.committer.close()


def alarms(logs: list[Any]) -> list[str]:
    return [each["event"] for each in logs if each.get("alarm")]


# Refusals.


@pytest.mark.parametrize("code", [RefusalCode.NOT_STATED, RefusalCode.CONTENT, 99])
@pytest.mark.parametrize("text", ["epoch-making size", "round lots only"])
async def test_a_refusal_that_begins_like_another_by_chance_is_final(code: int, text: str) -> None:
    shards, broker = MemoryShards(), Answering(lambda _: BlockAnswered(0, 0, text, code))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1, 2]))
    await until(actor, lambda: answered(actor) == 2 and not trouble(actor))
    [revoked] = shards.events(KEY, OrdersRevoked)
    assert revoked.subscriptions.tolist() == [1, 2]
    assert broker.orders == [2]
    broker.answer = lambda count: BlockAnswered(count, 0, "")
    flow.append(flow.orders("AAA", [3]))
    await until(actor, lambda: answered(actor) == 3)
    await close(actor)


@pytest.mark.parametrize(
    ("code", "text"),
    [(RefusalCode.EPOCH, "too old"), (RefusalCode.NOT_STATED, "epoch: expected 9, found 1")],
)
async def test_a_broker_that_knows_a_higher_epoch_than_the_journal_is_no_new_owner(
    code: int, text: str
) -> None:
    """The gateway alarms and sends nothing. It goes on once its introduction is accepted."""
    shards, broker = MemoryShards(), Answering(lambda count: BlockAnswered(count, 0, "", 0))
    broker.introduces = lambda: BlockAnswered(0, 0, text, code)
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    flow.append(flow.orders("AAA", [1]))
    with capture_logs() as logs:
        actor = await gateway(shards, broker)
        await until(actor, lambda: len(broker.blocks) > 2)
    assert alarms(logs) == ["broker_refuses"]
    assert text in trouble(actor)
    assert actor.core.telling.progress().trouble == ""  # It is not live in this test.
    assert broker.orders == []
    broker.introduces = lambda: BlockAnswered(0, 0, "", 0)
    await until(actor, lambda: answered(actor) == 1)
    assert trouble(actor) == ""
    await close(actor)


async def test_a_refused_introduction_is_a_trouble_behind_a_foreign_message_too() -> None:
    shards, broker = MemoryShards(), Answering(lambda count: BlockAnswered(count, 0, "", 0))
    journal = shards.server.stream("JOURNAL_GATEWAY")

    def refuse() -> BlockAnswered:
        journal.store(KEY.subject, b"an answer of nobody", f"foreign {len(journal.messages)}")
        return BlockAnswered(0, 0, "too old", RefusalCode.EPOCH)

    broker.introduces = refuse
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    flow.append(flow.orders("AAA", [1]))
    actor = await gateway(shards, broker)
    await until(actor, lambda: "refuses the introduction: too old" in trouble(actor))
    assert broker.orders == []
    broker.introduces = lambda: BlockAnswered(0, 0, "", 0)
    await until(actor, lambda: answered(actor) == 1)
    assert not trouble(actor)
    await close(actor)


async def test_blocks_refused_for_their_epoch_wait_until_the_introduction_is_accepted() -> None:
    refusals = iter([BlockAnswered(0, 0, "old", RefusalCode.EPOCH)])
    shards = MemoryShards()
    broker = Answering(lambda count: next(refusals, BlockAnswered(count, 0, "", 0)))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1, 2]))
    await until(actor, lambda: answered(actor) == 2)
    assert broker.orders == [2, 2]
    assert not shards.events(KEY, OrdersRevoked) and not trouble(actor)
    await close(actor)


async def test_a_broker_that_accepts_introductions_and_no_block_is_a_trouble() -> None:
    shards = MemoryShards()
    broker = Answering(lambda _: BlockAnswered(0, 0, "old", RefusalCode.EPOCH))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1]))
    await until(actor, lambda: "refuses blocks: old" in trouble(actor))
    broker.answer = lambda count: BlockAnswered(count, 0, "", 0)
    await until(actor, lambda: answered(actor) == 1)
    assert not trouble(actor)
    await close(actor)


async def test_an_owner_whose_journal_has_a_new_owner_is_lost() -> None:
    shards = MemoryShards()
    broker = Brokers(shards)
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    zombie, successor = await gateway(shards, broker), await gateway(shards, broker)
    await until(successor, lambda: successor.sender.introduction.is_done)
    flow.append(flow.orders("AAA", [1]))
    with capture_logs() as logs, pytest.raises(ShardLostError):
        await until(zombie, lambda: answered(zombie))
    assert alarms(logs) == []
    await until(successor, lambda: answered(successor) == 1)
    await zombie.close()
    await close(successor)


async def test_a_broker_that_refuses_every_block_is_a_trouble_until_it_takes_one() -> None:
    shards, broker = MemoryShards(), Answering(lambda _: BlockAnswered(0, 0, "closed", 1))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    actor = await gateway(shards, broker)
    for number in range(3):
        flow.append(flow.orders("AAA", [number]))
        await until(actor, lambda: len(broker.orders) > number)  # noqa: B023
    await until(actor, lambda: "refuses every block: closed" in trouble(actor))
    broker.answer = lambda count: BlockAnswered(count, 0, "", 0)
    flow.append(flow.orders("AAA", [7]))
    await until(actor, lambda: answered(actor) == 4)
    assert not trouble(actor)
    await close(actor)


# Clusters.


async def test_a_ledger_of_another_cluster_gets_no_order_until_it_is_replaced() -> None:
    one, other = MemoryShards(CLUSTER), MemoryShards()
    other.settings = msgspec.structs.replace(SETTINGS, cluster_id="cluster-b")
    broker = Brokers(one)
    for shards in (one, other):
        flow = OrderFlow(shards.server, shards.clock.time_ns)
        flow.open(10, ["AAA"])
        flow.append(flow.orders("AAA", [1, 2]))
    first = await gateway(one, broker)
    await until(first, lambda: answered(first) == 2)
    taken = broker.orders_taken
    with capture_logs() as logs:
        second = await gateway(other, broker)
        await until(second, lambda: trouble(second))
    assert alarms(logs) == ["broker_refuses"]
    assert "expected cluster-a" in trouble(second) and "found cluster-b" in trouble(second)
    await until(second, lambda: second.queue.orders_count == 2)
    assert broker.orders_taken == taken == 2
    broker.start(b"", ledger_id="second")
    await until(second, lambda: answered(second) == 2)
    assert not trouble(second)
    await close(first)
    await close(second)


# Counts.


@pytest.mark.parametrize("accepted", [0, 1, 3, -2])
async def test_an_answer_that_does_not_count_its_orders_is_asked_for_again(accepted: int) -> None:
    answers = iter([BlockAnswered(accepted, 0, "", 0)])
    shards = MemoryShards()
    broker = Answering(lambda count: next(answers, BlockAnswered(0, count, "", 0)))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1, 2]))
    with capture_logs() as logs:
        await until(actor, lambda: answered(actor) == 2)
    assert alarms(logs) == ["answer_mismatch"]
    assert broker.orders == [2, 2]
    await close(actor)


async def test_orders_that_are_never_counted_are_unresolved_and_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("actors.broker_gateway.answers.AGAIN_S_MIN", 0.001)
    shards, broker = MemoryShards(), Answering(lambda count: BlockAnswered(count % 2, 0, "", 0))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA", "BBB"])
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1, 2]))
    await until(actor, lambda: broker.orders)
    flow.append(flow.orders("BBB", [3]))
    await until(actor, lambda: actor.state.unresolved_count == 2 and answered(actor) == 3)
    await until(actor, lambda: shards.events(KEY, OrdersUnresolved))
    assert broker.orders.count(2) == 6 and broker.orders.count(1) == 1
    await close(actor)


@pytest.mark.parametrize("order_ids", [OrderIds.LOOKED_UP, OrderIds.UNCHECKED])
async def test_miscounted_orders_are_never_sent_twice_where_ids_are_taken_again(
    order_ids: OrderIds,
) -> None:
    shards = MemoryShards(msgspec.structs.replace(SETTINGS, order_ids={"paper": order_ids}))
    broker = Brokers(shards, order_ids=order_ids.value)

    class Miscounting:
        sent = 0

        async def submit(self, block: bytes) -> bytes:
            first, *rest = decode_block(await broker.submit(block))
            count = count_of(decode_block(block))
            self.sent += count
            answer = BlockAnswered(0, 0, first.refusal, first.code) if count else first
            return encode_block(answer, *rest)

    way = Miscounting()
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    actor = await gateway(shards, way)
    flow.append(flow.orders("AAA", [1, 2]))
    await until(actor, lambda: answered(actor) == 2)
    assert way.sent == 2
    assert actor.state.unresolved_count == (2 if order_ids is OrderIds.UNCHECKED else 0)
    assert not shards.events(KEY, OrdersRevoked)
    await close(actor)


async def test_a_first_order_that_is_called_a_repeat_stops_the_gateway() -> None:
    shards, broker = MemoryShards(), Answering(lambda count: BlockAnswered(0, count, "", 0))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    actor = await gateway(shards, broker)
    await until(actor, lambda: actor.sender.introduction.is_done)
    flow.append(flow.orders("AAA", [1, 2]))
    with capture_logs() as logs:
        await until(actor, lambda: trouble(actor))
    flow.append(flow.orders("AAA", [3]))
    await until(actor, lambda: actor.queue.orders_count == 1)
    assert alarms(logs) == ["history_contradicted"]
    assert broker.orders == [2] and answered(actor) == 0
    await close(actor)


# Histories.


async def traded(shards: MemoryShards, broker: Brokers, flow: OrderFlow) -> None:
    """Trade two orders in two frames, and leave the gateway."""
    actor = await gateway(shards, broker)
    for number in (1, 2):
        flow.append(flow.orders("AAA", [number]))
        await until(actor, lambda: answered(actor) == number)  # noqa: B023
        shards.clock.time_ns += 10**9
        await until(actor, lambda: len(shards.events(KEY, FramesTaken)) == number)  # noqa: B023
    await close(actor)


async def story() -> tuple[MemoryShards, Brokers, OrderFlow]:
    shards = MemoryShards(CLUSTER)
    broker = Brokers(shards)
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    return shards, broker, flow


async def contradicted(shards: MemoryShards, broker: Broker, text: str) -> None:
    """Check that a new owner finds the contradiction, alarms, and sends nothing."""
    sent: list[int] = []

    class Watched:
        async def submit(self, block: bytes) -> bytes:
            sent.append(count_of(decode_block(block)))
            return await broker.submit(block)

    with capture_logs() as logs:
        actor = await gateway(shards, Watched())
        await until(actor, lambda: trouble(actor))
        await until(actor, lambda: len(sent) > 3)
    assert alarms(logs) == ["history_contradicted"]
    assert text in trouble(actor) and "copies of the same moment" in trouble(actor)
    assert sum(sent) == 0
    await close(actor)


async def test_histories_that_agree_let_the_next_owner_go_on() -> None:
    shards, broker, flow = await story()
    await traded(shards, broker, flow)
    broker.start()
    flow.append(flow.orders("AAA", [3]))
    actor = await gateway(shards, broker)
    await until(actor, lambda: answered(actor) == 1)
    assert not trouble(actor)
    await close(actor)


async def test_a_ledger_that_lost_its_end_is_contradicted() -> None:
    shards, broker, flow = await story()
    await traded(shards, broker, flow)
    flow.append(flow.orders("AAA", [3]))
    ends = [frame.end for frame in MemoryLedger(bytes(broker.ledger.data)).replay()]
    broker.start(bytes(broker.ledger.data[: ends[-3]]))
    await contradicted(shards, broker, "the ledger is older than this cluster")


async def test_a_new_ledger_is_taken_only_once_an_operator_names_it() -> None:
    shards, broker, flow = await story()
    await traded(shards, broker, flow)
    flow.append(flow.orders("AAA", [3]))
    broker.start(b"", ledger_id="second")
    await contradicted(shards, broker, "expected its ledger first, found ledger second")
    shards.settings = msgspec.structs.replace(CLUSTER, accepted_ledgers={"paper": "second"})
    actor = await gateway(shards, broker)
    await until(actor, lambda: answered(actor) == 1)
    shards.clock.time_ns += 10**9
    await until(actor, lambda: actor.state.ledger == "second")
    assert [each.number for each in actor.state.taken.values()] == [4]
    assert broker.orders_taken == 1
    await close(actor)


async def test_journals_that_are_older_than_the_ledger_are_contradicted() -> None:
    """All streams are put back to the same earlier moment."""
    shards, broker, flow = await story()
    copies = {name: len(each.messages) for name, each in shards.server.streams.items()}
    await traded(shards, broker, flow)
    for name, length in copies.items():
        shards.server.stream(name).lose_end(length)
    await contradicted(shards, broker, "the journals are older than the ledger")


async def test_a_frame_that_was_decided_anew_is_contradicted() -> None:
    """The last follower frame is lost, and another one is written in its place."""
    shards, broker, flow = await story()
    await traded(shards, broker, flow)
    shards.server.stream("JOURNAL_GATEWAY").lose_end(0)
    decide_anew(shards)
    await contradicted(shards, broker, "the journal was decided anew")


async def test_a_frame_decided_anew_stops_a_gateway_that_remembers_the_first_one() -> None:
    shards, broker, flow = await story()
    await traded(shards, broker, flow)
    decide_anew(shards)
    actor = await gateway(shards, broker)
    with pytest.raises(ChainBrokenError, match="was decided anew"):
        await until(actor, lambda: False)
    assert broker.orders_taken == 2
    await close(actor)


def decide_anew(shards: MemoryShards) -> None:
    """Write a follower journal of as many frames, whose last ones hold other orders."""
    stream = shards.server.stream("JOURNAL_FOLLOWER")
    kept = stream.messages[:]
    again = OrderFlow(shards.server, shards.clock.time_ns + 1)
    shards.server.stream("JOURNAL_FOLLOWER").lose_end(0)
    again.open(10, ["AAA"])
    again.append(again.orders("AAA", [1]))
    again.append(again.orders("AAA", [5]))
    assert len(stream.messages) == len(kept)


async def test_a_ledger_that_is_exchanged_under_a_running_gateway_gets_no_order() -> None:
    shards, broker, flow = await story()
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1]))
    await until(actor, lambda: answered(actor) == 1)
    own = bytes(broker.ledger.data)
    broker.start(b"", ledger_id="other")
    await broker.submit(encode_block(GatewayEpoch(1, 0, "cluster-b")))
    flow.append(flow.orders("AAA", [2]))
    await until(actor, lambda: "found cluster-a" in trouble(actor))
    assert broker.orders_taken == 0
    broker.start(own)
    await until(actor, lambda: answered(actor) == 2)
    assert broker.orders_taken == 2 and not trouble(actor)
    await close(actor)


async def test_an_older_ledger_under_a_running_gateway_is_found_after_a_lost_answer() -> None:
    shards, broker, flow = await story()
    older = bytes(broker.ledger.data)

    class Away:
        """The way to the broker; the program is started on an older ledger while it is cut."""

        is_cut = False

        async def submit(self, block: bytes) -> bytes:
            if self.is_cut:
                self.is_cut = False
                broker.start(older)
                raise OutcomeUnknownError("no answer")
            return await broker.submit(block)

    way = Away()
    actor = await gateway(shards, way)
    for number in (1, 2):
        flow.append(flow.orders("AAA", [number]))
        await until(actor, lambda: answered(actor) == number)  # noqa: B023
        shards.clock.time_ns += 10**9
        await until(actor, lambda: len(shards.events(KEY, FramesTaken)) == number)  # noqa: B023
    way.is_cut = True
    flow.append(flow.orders("AAA", [3]))
    await until(actor, lambda: "the ledger is older than this cluster" in trouble(actor))
    assert broker.orders_taken == 0
    await close(actor)


async def test_an_older_ledger_under_an_idle_gateway_is_found_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(introduction, "RENEWED_S", 0.01)
    shards, broker, flow = await story()
    older = bytes(broker.ledger.data)
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1]))
    await until(actor, lambda: answered(actor) == 1)
    shards.clock.time_ns += 10**9
    await until(actor, lambda: shards.events(KEY, FramesTaken))
    broker.start(older)
    await until(actor, lambda: "the ledger is older than this cluster" in trouble(actor))
    flow.append(flow.orders("AAA", [2]))
    await until(actor, lambda: actor.sender.introduction.is_done is False)
    assert broker.orders_taken == 0
    await close(actor)


async def test_executions_that_the_stream_lost_are_contradicted() -> None:
    shards, broker, flow = await story()
    await traded(shards, broker, flow)
    shards.server.stream("EXECUTIONS").lose_end(1)
    await contradicted(shards, broker, "the stream is older than the ledger")


async def test_a_program_that_states_no_history_is_not_compared() -> None:
    shards, broker = MemoryShards(CLUSTER), Answering(lambda count: BlockAnswered(count, 0, ""))
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    flow.open(10, ["AAA"])
    flow.append(flow.orders("AAA", [1]))
    with capture_logs() as logs:
        actor = await gateway(shards, broker)
        await until(actor, lambda: answered(actor) == 1)
    assert [each["event"] for each in logs].count("history_not_stated") == 1
    [sent] = [each for block in broker.blocks for each in block if isinstance(each, FramesSent)]
    assert (sent.follower_shards.tolist(), sent.frames.tolist()) == ([0], [2])
    assert actor.state.taken == {}
    await close(actor)


async def test_a_follower_journal_that_loses_its_end_stops_the_gateway_that_read_it() -> None:
    shards, broker, flow = await story()
    actor = await gateway(shards, broker)
    flow.append(flow.orders("AAA", [1]))
    await until(actor, lambda: answered(actor) == 1)
    shards.server.stream("JOURNAL_FOLLOWER").lose_end(1)
    with pytest.raises(ChainBrokenError, match="the stream lost its end"):
        await until(actor, lambda: False)
    await close(actor)
