"""A message of thousands of parts is read over several turns, and whole before any of it counts. A
few bytes that say millions are refused before anything is allocated for them.
"""

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from actors.errors import BadInputError
from actors.follower.actor import FollowerShardActor
from actors.shard.core import ShardActor
from actors.shard.message_reading import PARTS_EACH
from engine.columns.section_types import column_of
from engine.journal.cursors import NO_ROW, Source
from engine.journal.events.creator import BrokerMarksUpdated, FillApplied
from engine.journal.events.orders import ExecutionsApplied
from engine.journal.events.shard import InputsRefused
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.blocks import AccountsRegistered, encode_block
from engine.values.order_ids import CauseKind, OrderId
from gateways.json.format import JsonFormat
from tests.actors.memory_shards import TIME, MemoryShards, turns
from tests.faults.adversarial.test_executions_absurd import FOLLOWER, report, started

MANY = 4 * PARTS_EACH + 10
READING_TURNS = MANY // PARTS_EACH
MILLIONS = 1 << 22
CREATOR = ShardKey(ShardKind.CREATOR, 0)


def trade(number: int) -> dict[str, str]:
    """A trade of one unit of the first order."""
    order_id = str(OrderId(0, CauseKind.SIGNAL, 0, 1, 0, 0, 0))
    plain = {"order_id": order_id, "exec_type": "trade", "transact_time": TIME}
    return {**plain, "exec_id": f"j{number}", "last_qty": "0.00000001", "last_px": "0.01"}


def sections(count: int) -> bytes:
    """A block of one trade of one unit in each section."""
    return encode_block(
        *(
            report(numbers=column_of(number), quantities=column_of(1), prices=column_of(10**4))
            for number in range(count)
        )
    )


def one_by_one(count: int) -> list[dict[str, str]]:
    return [trade(number) for number in range(count)]


async def counted(shards: MemoryShards, follower: ShardActor) -> int:
    """Take turns until nothing is left. Returns: the executions that count."""
    end = len(shards.server.stream("EXECUTIONS").messages)
    for _ in range(200):
        await turns(follower, count=1)
        cursor = follower.core.state.cursors.get((Source.EXECUTIONS, 0))
        if cursor is not None and (cursor.sequence, cursor.row) == (end, NO_ROW):
            break
    return sum(len(event.numbers) for event in shards.events(FOLLOWER, ExecutionsApplied))


@pytest.mark.parametrize("made", [one_by_one, sections])
async def test_a_long_message_is_read_over_turns_and_counts_whole(
    made: Callable[[int], Any],
) -> None:
    shards, _, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    before = len(shards.frames(FOLLOWER))
    await shards.publish("executions.paper.0", made(MANY))
    for _ in range(READING_TURNS):
        await turns(follower, count=1)
    assert len(shards.frames(FOLLOWER)) == before, "nothing counts before all is read"
    assert await counted(shards, follower) == MANY


@pytest.mark.parametrize("made", [one_by_one, sections])
async def test_an_owner_that_is_replaced_while_it_reads_leaves_nothing_half_done(
    made: Callable[[int], Any],
) -> None:
    shards, _, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    await shards.publish("executions.paper.0", made(MANY))
    await turns(follower, count=READING_TURNS - 1)
    again = await shards.follower()
    await turns(again, count=READING_TURNS + 2)
    assert await counted(shards, await shards.follower()) == MANY


async def test_the_last_part_of_a_long_message_refuses_all_of_it() -> None:
    shards, _, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    wrong = {**trade(MANY), "last_qty": "-1"}
    await shards.publish("executions.paper.0", [*one_by_one(MANY), wrong])
    assert await counted(shards, follower) == 0
    (refused,) = shards.events(FOLLOWER, InputsRefused)
    assert f"element {MANY}: last_qty" in refused.reasons[0]


async def test_a_running_shard_gives_the_loop_back_while_it_reads() -> None:
    shards, _, follower = await started(quantity="1000000", price="0.01", cash=10**13)
    await follower.close()
    await shards.publish("executions.paper.0", one_by_one(MANY))
    owner = FollowerShardActor(0, "owner", shards.ports, shards.settings)
    running = asyncio.create_task(owner.core.run())
    parts: set[int] = set()
    async with asyncio.timeout(30):
        while (Source.EXECUTIONS, 0) not in owner.state.cursors:
            reading = owner.executions._reading
            parts.add(len(reading.parts) if reading is not None else 0)
            await asyncio.sleep(0)
        owner.core.stop()
        await running
    assert {PARTS_EACH * number for number in range(1, READING_TURNS + 1)} <= parts


async def test_long_messages_of_fills_and_marks_are_read_over_turns() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna", "100000000")
    marks = [{"symbol": f"S{number}", "px": "10", "time": TIME} for number in range(MANY)]
    await shards.publish("marks.paper", marks)
    await turns(creator, count=READING_TURNS)
    assert shards.events(CREATOR, BrokerMarksUpdated) == []
    await turns(creator, count=1)
    (updated,) = shards.events(CREATOR, BrokerMarksUpdated)
    assert len(updated.prices) == MANY
    fills = [shards.fill("S1", quantity="1", price="10") for _ in range(MANY)]
    await shards.publish("fills.paper.anna", fills)
    await turns(creator, count=READING_TURNS)
    assert shards.events(CREATOR, FillApplied) == []
    await turns(creator, count=20)
    applied = [event.exec_id for event in shards.events(CREATOR, FillApplied)]
    assert applied == [fill["exec_id"] for fill in fills]


def bomb(packed: int) -> bytes:
    """A short block that says millions of executions."""
    zeros = np.zeros(MILLIONS // packed, np.int64)
    each = report(
        numbers=zeros,
        subscriptions=zeros,
        exec_types=zeros + 70,
        quantities=zeros,
        prices=zeros,
        fees=zeros,
    )
    return encode_block(*[each] * packed)


@pytest.mark.parametrize("packed", [1, 8])
def test_a_few_bytes_that_say_millions_are_refused_before_memory_is_taken(packed: int) -> None:
    data = bomb(packed)
    assert len(data) < 1_000
    tracemalloc.start()
    try:
        with pytest.raises(BadInputError, match="at most 262144"):
            list(JsonFormat().reports("executions.paper.0", data))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_sections_that_are_no_reports_are_refused_undecoded() -> None:
    data = encode_block(AccountsRegistered(0, 0, [""] * 1_000_000))
    assert len(data) < 200
    tracemalloc.start()
    try:
        with pytest.raises(BadInputError, match="expected sections 105, 110, found 101"):
            list(JsonFormat().reports("executions.paper.0", data))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
