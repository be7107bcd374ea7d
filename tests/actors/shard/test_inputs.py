"""A shard reads its inputs from where its state stands, and stops if a stream ends before that."""

import pytest

from actors.ports import INGRESS
from actors.shard.inputs import ShardInputs
from engine.journal.chain import ChainBrokenError
from engine.journal.frame import ShardKey, ShardKind
from tests.actors.memory_shards import MemoryShards

KEY = ShardKey(ShardKind.CREATOR, 0)


async def test_a_feed_gives_what_is_stored_after_a_sequence_and_wakes_the_loop() -> None:
    shards = MemoryShards()
    inputs = ShardInputs(KEY, shards.ports)
    for number in range(3):
        await shards.publish("fills.paper.anna", b"%d" % number)
    feed = await inputs.open_feed(INGRESS, ">", after_sequence=1, seen_sequence=1)
    await inputs.wait()
    assert [message.data for message in feed.take(10)] == [b"1", b"2"]
    assert not inputs.arrived.is_set()


async def test_a_stream_that_ends_before_the_shards_cursor_stops_the_shard() -> None:
    shards = MemoryShards()
    await shards.publish("fills.paper.anna", b"one")
    with pytest.raises(ChainBrokenError, match="the stream lost its end"):
        await ShardInputs(KEY, shards.ports).open_feed(
            INGRESS, ">", after_sequence=2, seen_sequence=2
        )


async def test_a_closed_shard_receives_no_requests() -> None:
    shards = MemoryShards()
    inputs = ShardInputs(KEY, shards.ports)
    received: list[bytes] = []
    await inputs.subscribe("asked", lambda request: received.append(request.data))
    await shards.bus.publish("asked", b"before")
    await inputs.close()
    await shards.bus.publish("asked", b"after")
    assert received == [b"before"]
