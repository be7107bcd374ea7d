"""What cannot be an answer is asked for again, and costs the gateway's process next to nothing."""

from typing import Any

import numpy as np
import pytest

from actors.broker_gateway.histories import stated_in
from engine.columns.section_types import SectionError
from engine.messages.blocks import (
    BlockAnswered,
    ExecutionsStated,
    FramesSent,
    HistoryStated,
    OrdersSubmitted,
    decode_block,
    encode_block,
)
from tests.actors.broker_gateway.order_flow import OrderFlow
from tests.actors.broker_gateway.test_actor import gateway, turns
from tests.actors.memory_shards import MemoryShards

ONE, TWO = np.arange(1), np.arange(2)
MANY = np.zeros(1 << 22, np.int64)
ACCEPTED = BlockAnswered(0, 0, "", 0)


class Scripted:
    """A broker that gives some answers first. Then it takes every order, and counts `repeated` in
    blocks without orders.
    """

    def __init__(self, *first: bytes, repeated: int = 0) -> None:
        self.first = list(first)
        self.asked_count = self.orders_count = 0
        self._repeated = repeated

    async def submit(self, block: bytes) -> bytes:
        self.asked_count += 1
        if self.first:
            return self.first.pop(0)
        sections = decode_block(block)
        orders = [each for each in sections if isinstance(each, OrdersSubmitted)]
        count = sum(len(each.subscriptions) for each in orders)
        self.orders_count += count
        is_introduction = len(sections) == 1
        return encode_block(
            BlockAnswered(count, 0 if count or is_introduction else self._repeated, "", 0)
        )


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ([HistoryStated("t", 0, ONE, ONE, ONE, TWO)], "columns of one length"),
        ([HistoryStated("t", 0, MANY, MANY, MANY, MANY)], "at most 262144 (rows|values)"),
        ([ExecutionsStated(0, "", 0, 0)] * ((1 << 15) + 1), "at most 32768 sections"),
        ([FramesSent(ONE, ONE, ONE, ONE)], "found FramesSent"),
    ],
)
async def test_an_introduction_answered_with_what_cannot_be_is_repeated(
    sections: list[Any], text: str
) -> None:
    answer = encode_block(ACCEPTED, *sections)
    assert len(answer) < 300
    broker, shards = Scripted(answer), MemoryShards()
    actor = await gateway(shards, broker)
    await turns(actor)
    assert broker.asked_count == 2
    broker.first.append(answer)
    with pytest.raises(SectionError, match=text):
        stated_in(await actor.sender.line.ask(b""))
    await actor.close()


async def test_an_executions_message_of_nothing_does_not_hinder_an_introduction() -> None:
    shards = MemoryShards()
    await shards.publish("executions.paper.0", encode_block())
    none = np.zeros(0, np.int64)
    stated = [HistoryStated("t", 0, none, none, none, none), ExecutionsStated(0, "x-", 5, 0)]
    broker = Scripted(encode_block(ACCEPTED, *stated))
    actor = await gateway(shards, broker)
    assert broker.asked_count == 1
    await actor.close()


@pytest.mark.parametrize("sequence", [0, -1, -(1 << 63)])
async def test_a_stated_frame_that_no_stream_can_hold_contradicts_without_a_read(
    sequence: int,
) -> None:
    shards = MemoryShards()
    read, asked = shards.journal.read, list[int]()

    async def noted(*args: Any, after_sequence: int, **options: Any) -> Any:
        asked.append(after_sequence)
        return await read(*args, after_sequence=after_sequence, **options)

    shards.journal.read = noted  # type: ignore[method-assign]
    frames = HistoryStated("t", 0, ONE, ONE, ONE, np.array([sequence]))
    broker = Scripted(*[encode_block(ACCEPTED, frames)] * 2)
    actor = await gateway(shards, broker)
    assert broker.asked_count == 3
    assert min(asked, default=0) >= 0
    await actor.close()


async def test_repeated_accounts_are_not_taken_for_repeated_orders() -> None:
    """A block of accounts alone has no orders that could be repeated."""
    shards, broker = MemoryShards(), Scripted(repeated=3)
    flow = OrderFlow(shards.server, shards.clock.time_ns)
    actor = await gateway(shards, broker)
    flow.open(3, ["AAA"])
    await turns(actor)
    flow.append(flow.orders("AAA", [0, 1, 2]))
    await turns(actor)
    assert broker.orders_count == 3
    await actor.close()
