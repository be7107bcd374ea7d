"""A creator journal's feed that gives nothing is opened again after a while and not before, even by
a busy shard.
"""

from actors.follower.signal_reader import BEHIND_S_MAX, SignalReader
from tests.actors.memory_shards import MemoryShards, turns


async def test_a_silent_feed_is_opened_again_after_a_time_whatever_the_number_of_turns() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    await turns(creator)

    class Silent:
        def __init__(self) -> None:
            self.resets: list[int] = []

        def take(self, messages_max: int) -> list[object]:
            return []

        def reset(self, after_sequence: int) -> None:
            self.resets.append(after_sequence)

    reader, feed = SignalReader(0, None), Silent()
    reader.open(feed)  # type: ignore[arg-type]
    reader.told_number = 2
    for _ in range(1000):
        assert reader.next_frame() is None
        reader.watch(100.0)
    assert feed.resets == []
    reader.watch(100.1 + BEHIND_S_MAX)
    assert feed.resets == [0]
