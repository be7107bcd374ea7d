"""A stream that came back shorter, or with other messages, than a shard has read: the shard stops
with a text that says so, at its start and while it runs. No acknowledged fill is lost in silence.
"""

from hashlib import blake2b

import pytest

from actors.ports import EXECUTIONS, INGRESS
from actors.shard.inputs import ShardInputs
from engine.journal.chain import ChainBrokenError
from engine.journal.cursors import NO_HASH, Source, message_digest, stream_cursor
from engine.journal.frame import ShardKey, ShardKind
from tests.actors.memory_shards import MemoryShards, turns

KEY = ShardKey(ShardKind.FOLLOWER, 0)
SUBJECTS = {INGRESS: "fills.paper.anna", EXECUTIONS: "executions.paper.0"}
SOURCES = {INGRESS: Source.INGRESS, EXECUTIONS: Source.EXECUTIONS}


async def filled(count: int) -> MemoryShards:
    """Let a creator shard take fills."""
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    for number in range(count):
        await shards.publish("fills.paper.anna", shards.fill(f"S{number}"))
    await turns(creator)
    cursor = creator.state.cursors[Source.INGRESS, 0]
    assert (cursor.sequence, cursor.hash == NO_HASH) == (count, False)
    return shards


async def test_p10_a_fill_at_a_sequence_used_again_stops_the_next_owner() -> None:
    shards = await filled(3)
    shards.server.stream(INGRESS).lose_end(2)
    await shards.publish("fills.paper.anna", shards.fill("NEW"))
    with pytest.raises(ChainBrokenError, match=r"at sequence 3 of INGRESS.*found one"):
        await shards.creator()


async def test_p10_fills_that_are_gone_stop_the_next_owner() -> None:
    shards = await filled(3)
    shards.server.stream(INGRESS).lose_end(1)
    with pytest.raises(ChainBrokenError, match="the stream lost its end"):
        await shards.creator()


@pytest.mark.parametrize("refilled", [False, True])
async def test_p10_fills_that_go_under_a_live_shard_stop_it(refilled: bool) -> None:
    shards = await filled(1)
    creator = await shards.creator()
    await shards.publish("fills.paper.anna", shards.fill("AAA"))
    await turns(creator)
    shards.server.stream(INGRESS).messages.pop()
    if refilled:
        await shards.publish("fills.paper.anna", shards.fill("NEW"))
    with pytest.raises(ChainBrokenError, match="INGRESS to hold the message read at sequence 2"):
        await creator.turn()


@pytest.mark.parametrize("stream", SUBJECTS)
@pytest.mark.parametrize("decided", [1, 2])
async def test_the_message_that_a_cursor_names_must_be_there(stream: str, decided: int) -> None:
    """Between two parts of a message, the cursor names the message under way."""
    shards = MemoryShards()
    for data in (b"before", b"read"):
        await shards.publish(SUBJECTS[stream], data)
    inputs = ShardInputs(KEY, shards.ports)
    cursor = stream_cursor(SOURCES[stream], 2, decided=decided, of=2)

    async def open_with(digest: bytes) -> None:
        after = cursor.sequence
        feed = await inputs.open_feed(
            stream,
            ">",
            after_sequence=after,
            seen_sequence=after,
            cursor=cursor._replace(hash=digest),
        )
        await feed.close()

    await open_with(message_digest(SUBJECTS[stream], b"read"))
    # A cursor of an older version carries no digest and is taken as it is, or one of BLAKE2b.
    await open_with(NO_HASH)
    await open_with(blake2b(SUBJECTS[stream].encode() + b"\0read", digest_size=32).digest())
    for other in (message_digest("fills.paper.bert", b"read"), message_digest(stream, b"before")):
        with pytest.raises(ChainBrokenError, match=f"at sequence 2 of {stream}"):
            await open_with(other)
