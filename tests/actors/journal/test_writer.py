"""The owner's side of a journal. The chain holds and one owner writes, whatever an append's outcome
(P3, P5).
"""

import pytest

from actors.errors import ShardLostError
from actors.journal.writer import JournalWriter
from actors.ports import journal_stream
from engine.journal.chain import Chain
from engine.journal.events.gateway import BlocksAnswered
from engine.journal.events.shard import OwnerFenced
from engine.journal.frame import FrameHeader, ShardKey, ShardKind, decode_frame, encode_frame
from gateways.memory.journal import MemoryJournal
from gateways.memory.server import MemoryServer

KEY = ShardKey(ShardKind.GATEWAY, 0)


@pytest.fixture
def server() -> MemoryServer:
    server = MemoryServer()
    server.add_stream(journal_stream(KEY), "journal.gateway.*")
    return server


async def owner(server: MemoryServer, name: str) -> JournalWriter:
    writer = JournalWriter(MemoryJournal(server), KEY, name)
    await writer.fence(now_ns=1)
    return writer


async def append(writer: JournalWriter, orders: int) -> None:
    await writer.append(writer.encode([BlocksAnswered(orders)], (), writer.event_time_ns))


async def counted(server: MemoryServer) -> list[int | str]:
    """Read the journal as every reader does: what counts in it, in order."""
    chain, found = Chain(KEY), list[int | str]()
    for message in await MemoryJournal(server).read(KEY, after_sequence=0):
        if chain.accept(message.data) is not None:
            _, (event,) = decode_frame(message.data)
            found.append(event.incarnation if isinstance(event, OwnerFenced) else event.orders)
    return found


async def test_frames_follow_the_fence(server: MemoryServer) -> None:
    writer = await owner(server, "a")
    await append(writer, 1)
    await append(writer, 2)
    assert await counted(server) == ["a", 1, 2]


async def test_an_acknowledgement_that_is_lost_does_not_store_twice(server: MemoryServer) -> None:
    writer = await owner(server, "a")
    server.faults.acks_lost_count = 1
    await append(writer, 1)
    await append(writer, 2)
    assert await counted(server) == ["a", 1, 2]


async def test_a_frame_that_was_not_stored_is_sent_again(server: MemoryServer) -> None:
    writer = await owner(server, "a")
    server.faults.appends_lost_count = 2
    await append(writer, 1)
    assert await counted(server) == ["a", 1]


async def test_a_fence_whose_acknowledgement_is_lost_counts(server: MemoryServer) -> None:
    server.faults.acks_lost_count = 1
    writer = await owner(server, "a")
    await append(writer, 1)
    assert (await counted(server))[-2:] == ["a", 1]


async def test_a_superseded_owner_is_lost_and_stores_nothing(server: MemoryServer) -> None:
    old = await owner(server, "old")
    await append(old, 1)
    new = await owner(server, "new")
    with pytest.raises(ShardLostError, match="epoch 2"):
        await append(old, 666)
    await append(new, 2)
    assert await counted(server) == ["old", 1, "new", 2]


async def test_a_superseded_owners_frame_that_slips_in_is_stepped_over_and_dropped(
    server: MemoryServer,
) -> None:
    """The server checks the expectation when it admits a message. A leader change can let one
    through.
    """
    old = await owner(server, "old")
    new = await owner(server, "new")
    late = FrameHeader(KEY, old.epoch, old.number + 1, 1, old.hash, ())
    stream = server.stream(journal_stream(KEY))
    server.store(stream, KEY.subject, encode_frame(late, [BlocksAnswered(666)]), "late")
    await append(new, 2)
    await append(new, 3)
    assert await counted(server) == ["old", "new", 2, 3]


async def test_two_fences_at_once_leave_one_owner(server: MemoryServer) -> None:
    first = await owner(server, "first")
    second = await owner(server, "second")
    assert second.epoch > first.epoch
    await append(second, 1)
    with pytest.raises(ShardLostError):
        await append(first, 2)
    assert await counted(server) == ["first", "second", 1]


async def test_event_time_never_goes_back_over_a_takeover(server: MemoryServer) -> None:
    first = JournalWriter(MemoryJournal(server), KEY, "first")
    await first.fence(now_ns=100)
    second = JournalWriter(MemoryJournal(server), KEY, "second")
    await second.fence(now_ns=50)
    assert second.event_time_ns == 100
