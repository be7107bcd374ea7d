"""A clock that was hours ahead and is set back: exits are still tried again in time, also after a
restart (P10). Marks by a publisher's clock that is ahead.
"""

import msgspec
import pytest

from engine.journal.events.creator import BrokerMarksUpdated
from engine.journal.events.orders import OrdersPlaced
from engine.journal.frame import ShardKey, ShardKind
from engine.messages.commands import Follow, OpenAccount
from engine.values.order_ids import CauseKind, OrderId
from engine.values.units import NS_PER_S, format_time
from tests.actors.memory_shards import TIME, MemoryShards, command, hash_of, turns

CREATOR = ShardKey(ShardKind.CREATOR, 0)
FOLLOWER = ShardKey(ShardKind.FOLLOWER, 0)
HOURS = 5 * 3600 * NS_PER_S


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_exit_is_tried_again_although_event_time_is_hours_ahead(restarts: bool) -> None:
    shards = MemoryShards()
    creator, follower = await shards.creator(), await shards.follower()
    await shards.open_creator(creator, "anna")
    await turns(follower)
    await command(follower, OpenAccount("open", "a"), Follow("follow", "a", "anna", 10**10, mode=2))

    async def report(signal: int, exec_type: str, **filled: str) -> None:
        order = OrderId(0, CauseKind.SIGNAL, 0, signal, 0, 0, 0)
        body = {
            "exec_id": f"x{signal}",
            "order_id": str(order),
            "exec_type": exec_type,
            "transact_time": TIME,
        }
        await shards.publish("executions.paper.0", body | filled)
        await turns(creator, follower)

    await shards.publish("fills.paper.anna", shards.fill("AAA"))
    await turns(creator, follower)
    await report(1, "trade", last_qty="10", last_px="100")
    shards.clock.time_ns += HOURS
    await shards.publish("fills.paper.anna", shards.fill("AAA", side="sell"))
    await turns(creator, follower)
    shards.clock.time_ns -= HOURS
    if restarts:
        follower = await shards.follower()
    await report(2, "rejected")
    # One second of backoff is two at half speed; and it takes a frame to begin.
    for _ in range(6):
        shards.clock.time_ns += NS_PER_S // 2
        await turns(follower)
    (again,) = shards.events(FOLLOWER, OrdersPlaced)
    assert (again.key.attempt, again.quantities.tolist()) == (1, [10 * 10**8])
    assert hash_of(await shards.follower()) == hash_of(follower)


async def test_marks_from_the_future_are_refused_and_do_not_outlive_later_ones() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")

    async def mark(px: str, time_ns: int) -> None:
        await shards.publish(
            "marks.paper", [{"symbol": "AAA", "px": px, "time": format_time(time_ns)}]
        )

    await mark("7", shards.clock.time_ns + HOURS)
    shards.clock.time_ns += NS_PER_S
    await mark("8", shards.clock.time_ns)
    await turns(creator)
    assert [event.prices.tolist() for event in shards.events(CREATOR, BrokerMarksUpdated)] == [
        [8_000_000]
    ]
    (letter,) = shards.server.stream("DEADLETTER").messages
    assert msgspec.json.decode(letter.data)["reason"] == "time_ahead"
    assert hash_of(await shards.creator()) == hash_of(creator)
