"""Frames of a creator shard's journal are read as they are taken."""

import pytest

from actors.follower.signal_reader import SignalReader
from actors.ports import StoredMessage
from engine.journal.chain import ChainBrokenError
from engine.journal.frame import ShardKey, ShardKind
from tests.actors.memory_shards import MemoryShards, turns


async def test_a_frame_is_decoded_when_its_turn_comes() -> None:
    """A gap in the chain stops only the frames behind it."""
    shards = MemoryShards()
    creator = await shards.creator()
    for name in ("anna", "bert", "carla"):
        await shards.open_creator(creator, name)
    await turns(creator)
    messages = await shards.journal.read(ShardKey(ShardKind.CREATOR, 0), after_sequence=0)
    del messages[2]

    class Backlog:
        def take(self, messages_max: int) -> list[StoredMessage]:
            return [messages.pop(0) for _ in range(min(messages_max, len(messages)))]

    reader = SignalReader(0, None)
    reader.open(Backlog())  # type: ignore[arg-type]
    taken = [reader.next_frame() for _ in range(2)]
    assert [frame and frame.header.number for frame in taken] == [1, 2]
    with pytest.raises(ChainBrokenError):
        reader.next_frame()
