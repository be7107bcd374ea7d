"""A shard reads its inputs from where its state stands, and stops if a stream ends before that."""

import pytest

from actors.ports import INGRESS
from actors.shard.inputs import ShardInputs
from engine.journal.chain import ChainBrokenError
from engine.journal.frame import ShardKey, ShardKind
from tests.faults.adversarial.stage import Stage

KEY = ShardKey(ShardKind.CREATOR, 0)


async def test_a_feed_gives_what_is_stored_after_a_sequence_and_wakes_the_loop() -> None:
    stage = Stage()
    inputs = ShardInputs(KEY, stage.ports)
    for number in range(3):
        await stage.publish("fills.paper.anna", b"%d" % number)
    feed = await inputs.open_feed(INGRESS, ">", after_sequence=1, seen_sequence=1)
    await inputs.wait()
    assert [message.data for message in feed.take(10)] == [b"1", b"2"]
    assert not inputs.arrived.is_set()


async def test_a_stream_that_ends_before_what_was_taken_from_it_stops_the_shard() -> None:
    stage = Stage()
    await stage.publish("fills.paper.anna", b"one")
    with pytest.raises(ChainBrokenError, match="the stream lost its end"):
        await ShardInputs(KEY, stage.ports).open_feed(
            INGRESS, ">", after_sequence=2, seen_sequence=2
        )


async def test_a_closed_shard_receives_no_requests() -> None:
    stage = Stage()
    inputs = ShardInputs(KEY, stage.ports)
    received: list[bytes] = []
    await inputs.subscribe("asked", lambda request: received.append(request.data))
    await stage.bus.publish("asked", b"before")
    await inputs.close()
    await stage.bus.publish("asked", b"after")
    assert received == [b"before"]
