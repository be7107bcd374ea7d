"""The trail that an owner reads from the end of its journal, and the mode it goes to."""

from typing import Any

import pytest

from actors.journal.writer import JournalWriter
from actors.shard.careful import CarefulMode
from actors.shard.crash_trail import CrashTrail
from actors.shard.input_names import Input
from engine.journal.chain import Chain
from engine.journal.events.gateway import BlocksAnswered
from engine.journal.events.shard import InputAttempted
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, decode_frame, encode_frame
from tests.actors.memory_shards import MemoryShards

KEY = ShardKey(ShardKind.GATEWAY, 0)
ONE, OTHER = Input(1, 0, 7, -1, 0, "fills.paper.anna"), Input(1, 0, 8, -1, 0, "fills.paper.anna")


class Owners:
    """Owners of one shard, one after the other; `F` is the next one's fence, `P` progress, `1` and
    `2` a try of an input.
    """

    def __init__(self) -> None:
        self.shards = MemoryShards()
        self.writer: JournalWriter | None = None

    async def write(self, story: str) -> None:
        for number, letter in enumerate(story):
            if letter == "F":
                self.writer = JournalWriter(self.shards.journal, KEY, f"owner-{number}")
                await self.writer.fence(now_ns=1)
                continue
            assert self.writer is not None
            event: Any = BlocksAnswered(1)
            if letter != "P":
                event = InputAttempted(*(ONE if letter == "1" else OTHER))
            await self.writer.append(self.writer.encode([event], (), 1))

    async def trail(self, after_number: int = 0) -> CrashTrail:
        """Read the trail as an owner does that restored a snapshot at a frame."""
        chain, trail = Chain(KEY), CrashTrail()
        for message in await self.shards.journal.read(KEY, after_sequence=0):
            header = chain.accept(message.data)
            if header is not None and header.number > after_number:
                trail.take(message.sequence, *decode_frame(message.data))
        await trail.read_back(self.shards.journal, KEY)
        return trail


@pytest.mark.parametrize("snapshot", range(12))
@pytest.mark.parametrize(
    ("story", "fences", "suspect", "tries"),
    [
        ("F", 1, None, 0),
        ("FPF", 1, None, 0),
        ("FPFFF", 3, None, 0),
        ("FPFFF1F", 4, ONE, 1),
        ("FPFFF1F1F", 5, ONE, 2),
        ("FPFFF1F1FFF", 7, ONE, 2),
        ("FPFFF1PF", 1, None, 0),
        ("FPF1P2F", 1, OTHER, 1),
        ("FPFF12F12F", 4, OTHER, 2),
        ("FF2F1F", 4, ONE, 1),
    ],
)
async def test_the_trail_is_the_same_wherever_a_snapshot_was_taken(
    story: str, fences: int, suspect: Input | None, tries: int, snapshot: int
) -> None:
    owners = Owners()
    await owners.write(story)
    # A snapshot is of a frame before the new owner's fence.
    trail = await owners.trail(min(snapshot, len(story) - 1))
    assert (trail.fences, trail.suspect, trail.tries) == (fences, suspect, tries)
    assert trail.fences_after == len(story) - len(story.rstrip("F")) or not suspect


async def test_frames_of_superseded_owners_and_other_shards_are_no_part_of_a_trail() -> None:
    owners = Owners()
    await owners.write("FPF")
    old = owners.writer
    await owners.write("F")
    assert old is not None
    stream = owners.shards.server.stream("JOURNAL_GATEWAY")
    late = FrameHeader(KEY, old.epoch, old.number + 1, 1, old.hash, ())
    stream.store(KEY.subject, encode_frame(late, [BlocksAnswered(666)]), "late")
    for number in range(500):
        stream.store("journal.gateway.7", b"another shard's", f"other-{number}")
    await owners.write("F1F")
    for after in range(6):
        trail = await owners.trail(after)
        assert (trail.fences, trail.suspect, trail.tries) == (4, ONE, 1)


@pytest.mark.parametrize(
    ("story", "crashes", "is_careful", "is_poison"),
    [
        ("FPF", 3, False, False),
        ("FPFF", 3, True, False),
        ("FPFF", 4, False, False),
        ("FPF", 2, True, False),
        ("FPFF1F", 3, True, False),
        ("FPFF1F1F", 3, True, True),
        ("FPFF1F2F", 3, True, False),
        ("FPFF1P1F", 3, True, False),
    ],
)
async def test_an_owner_is_careful_after_crashes_and_quarantines_an_input_tried_twice(
    story: str, crashes: int, is_careful: bool, is_poison: bool
) -> None:
    owners = Owners()
    await owners.write(story)
    careful = CarefulMode(crashes)
    careful.begin(await owners.trail())
    assert (careful.is_on, careful.poison is not None) == (is_careful, is_poison)
