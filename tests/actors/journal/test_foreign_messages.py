"""Messages in journals that are no frames: every reader steps over them, and tells of them. A frame
of the chain that is damaged is never taken for one.
"""

import pytest

from actors.journal.reading import FENCE_WINDOW_MIN, last_that_counts
from actors.journal.writer import JournalWriter
from actors.ports import journal_stream
from engine.journal.chain import Chain, ChainBrokenError
from engine.journal.events.gateway import BlocksAnswered
from engine.journal.frame import ShardKey, ShardKind, encode_frame
from gateways.memory.journal import MemoryJournal
from gateways.memory.server import MemoryServer
from tests.actors.memory_shards import MemoryShards, hash_of, memory_server, turns
from tests.audit.memory_cluster import PLACES, SETTINGS, memory_cluster

KEY = ShardKey(ShardKind.GATEWAY, 0)
CREATOR = ShardKey(ShardKind.CREATOR, 0)
ACKNOWLEDGEMENT = b'{"stream":"INGRESS","seq":9}'


def disturb(server: MemoryServer, key: ShardKey, times: int = 1) -> None:
    """Store messages of nobody in a shard's journal."""
    stream = server.stream(journal_stream(key))
    for _ in range(times):
        stream.store(key.subject, ACKNOWLEDGEMENT, f"foreign {len(stream.messages)}")


async def writer_of(server: MemoryServer) -> JournalWriter:
    writer = JournalWriter(MemoryJournal(server), KEY, "owner")
    await writer.fence(now_ns=1)
    return writer


async def chain_of(server: MemoryServer) -> Chain:
    chain = Chain(KEY)
    for message in await MemoryJournal(server).read(KEY, after_sequence=0):
        chain.accept(message.data)
    return chain


async def test_p5_an_owner_whose_journal_a_foreign_message_moved_learns_the_new_tail(
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = memory_server()
    writer = await writer_of(server)
    for number in range(3):
        disturb(server, KEY)
        await writer.append(writer.encode([BlocksAnswered(number)], (), 1))
    chain = await chain_of(server)
    assert (chain.number, chain.hash, chain.foreign) == (4, writer.hash, 3)
    # The first and the second raise the alarm, the third does not.
    assert capsys.readouterr().out.count("message_foreign") == 2


@pytest.mark.parametrize("times", [1, FENCE_WINDOW_MIN, 20 * FENCE_WINDOW_MIN])
async def test_p5_a_fence_follows_the_last_frame_before_foreign_messages(times: int) -> None:
    server = memory_server()
    first = await writer_of(server)
    await first.append(first.encode([BlocksAnswered(1)], (), 1))
    disturb(server, KEY, times)
    second = await writer_of(server)
    chain = await chain_of(server)
    assert (second.epoch, second.number) == (2, 3)
    assert (chain.hash, chain.foreign) == (second.hash, times)


async def test_a_journal_of_foreign_messages_alone_begins_with_the_first_fence() -> None:
    server = memory_server()
    disturb(server, KEY, 3)
    journal = MemoryJournal(server)
    tail = await journal.tail(KEY)
    assert tail is not None and await last_that_counts(journal, tail, KEY) is None
    writer = await writer_of(server)
    assert (writer.epoch, writer.number, (await chain_of(server)).number) == (1, 1, 1)


async def test_p6_a_damaged_beginning_is_no_foreign_message() -> None:
    server = memory_server()
    writer = await writer_of(server)
    frame = writer.encode([BlocksAnswered(1)], (), 1)
    chain = await chain_of(server)
    with pytest.raises(ChainBrokenError, match=r"expected frame 2 .* damaged beginning"):
        chain.accept(b"\x00" + frame.data[1:])
    # Beyond recognition it is stepped over, and the frame behind it does not fit.
    assert chain.accept(b"\x00" * len(frame.data)) is None
    after = writer.encode([BlocksAnswered(2)], (), 1)
    with pytest.raises(ChainBrokenError, match=r"expected frame 2 .* found frame 3"):
        chain.accept(after.data)


async def test_p6_a_whole_frame_with_another_hash_stops_the_reader() -> None:
    server = memory_server()
    writer = await writer_of(server)
    chain = await chain_of(server)
    header = writer.encode([BlocksAnswered(1)], (), 1).header
    other = Chain(KEY, number=1, hash=b"\x01" * 32, epoch=1)
    with pytest.raises(ChainBrokenError, match="history was lost or rewritten"):
        other.accept(encode_frame(header, [BlocksAnswered(1)]))
    assert chain.accept(encode_frame(header, [BlocksAnswered(1)])) is not None


async def test_recovery_steps_over_foreign_messages() -> None:
    shards = MemoryShards()
    creator = await shards.creator()
    await shards.open_creator(creator, "anna")
    disturb(shards.server, CREATOR)
    await shards.publish("fills.paper.anna", shards.fill("AAA"))
    await turns(creator)
    disturb(shards.server, CREATOR, 2)
    successor = await shards.creator()
    assert hash_of(successor) == hash_of(creator)
    assert successor.core.counts.messages_foreign == 3


async def test_p10_a_cluster_with_foreign_messages_in_every_journal_goes_on() -> None:
    """The tail of a creator's journal is one when an account follows; and so is that of a follower
    shard that does not exist.
    """
    keys = [ShardKey(ShardKind[kind.upper()], shard) for kind, (shard,) in PLACES]
    keys.append(ShardKey(ShardKind.FOLLOWER, 77))
    async with memory_cluster(settings=SETTINGS) as cluster:
        await cluster.command("commands.creator.anna", "open_creator", cash="100000")
        await cluster.command("commands.account.a", "open_account")
        for key in keys:
            disturb(cluster.server, key)
        await cluster.follow("a", "anna", "1000")
        await cluster.fill("anna", "AAA", "buy", "100", "100")
        for key in keys:
            disturb(cluster.server, key)
        await cluster.fill("anna", "AAA", "sell", "50", "100")
        assert len(cluster.traded()) == 2
