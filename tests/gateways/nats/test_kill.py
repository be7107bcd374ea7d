"""nats-server killed with -9 under a feed and appends, and started again on the same port and
directory.
"""

import asyncio
import shutil
from functools import partial

import pytest

from actors.errors import OperatingError
from actors.ports import INGRESS, StoredMessage, journal_stream
from engine.journal.chain import ChainBrokenError
from engine.journal.frame import ShardKey, ShardKind
from gateways.nats.connection import connect_nats
from gateways.nats.feed import FeedOptions
from gateways.nats.journal import NatsJournal
from gateways.nats.streams import NatsStreams
from tests.gateways.conftest import make_streams, nats_options
from tests.servers import NatsServer, until

pytestmark = pytest.mark.kill

KEY = ShardKey(ShardKind.FOLLOWER, 0)


class Writer:
    """Appends frame after frame as an owner does. An append of unknown outcome is looked up at the
    tail, then sent again or taken as stored.
    """

    def __init__(self, journal: NatsJournal) -> None:
        self.journal = journal
        self.stored: list[int] = []
        self.doubts_count = 0
        self.is_stopping = False

    async def run(self) -> None:
        """Append until told to stop; the last append is settled then, so that nothing is on its way
        any more.
        """
        while not self.is_stopping:
            await self.append(b"%d" % (len(self.stored) + 1))

    async def append(self, data: bytes) -> None:
        expected = self.stored[-1] if self.stored else 0
        while True:
            try:
                self.stored.append(
                    await self.journal.append(
                        KEY, data, message_id=f"{KEY}/1/{data!r}", expected_sequence=expected
                    )
                )
                return
            except OperatingError:
                self.doubts_count += 1
            tail = await self.tail()
            if tail is not None and tail.data == data:
                self.stored.append(tail.sequence)
                return
            assert (tail.sequence if tail else 0) == expected

    async def tail(self) -> StoredMessage | None:
        while True:
            try:
                return await self.journal.tail(KEY)
            except OperatingError:
                await asyncio.sleep(0.01)


@pytest.mark.real
async def test_killed_server_loses_nothing_and_the_feed_goes_on(
    own_nats_server: NatsServer,
) -> None:
    """P3, P10: three kills under load; each frame is stored once, in order, and the feed brings
    each once.
    """
    connection = await connect_nats(nats_options(own_nats_server))
    await make_streams(connection)
    journal = NatsJournal(connection, append_deadline_s=2)
    streams = NatsStreams(connection, feed=FeedOptions(heartbeat_s=0.2))
    arrived = asyncio.Event()
    feed = await streams.open_feed(
        journal_stream(KEY), KEY.subject, after_sequence=0, arrived=arrived
    )
    writer = Writer(journal)
    writing = asyncio.create_task(writer.run(), name="writer")
    taken: list[StoredMessage] = []

    def has_taken(count: int) -> bool:
        assert writer.is_stopping or not writing.done(), writing.result()
        taken.extend(feed.take(1000))
        return len(taken) >= count

    for kills_count in range(4):
        if kills_count:
            await asyncio.to_thread(own_nats_server.kill)
            await asyncio.to_thread(own_nats_server.start)
        await until(partial(has_taken, len(taken) + 100))
    writer.is_stopping = True
    await writing
    frames = await journal.read(KEY, after_sequence=0)
    await until(partial(has_taken, len(frames)))
    await feed.close()
    await connection.close()
    assert [frame.data for frame in frames] == [
        b"%d" % number for number in range(1, len(frames) + 1)
    ]
    assert taken == frames
    assert [frame.sequence for frame in frames][: len(writer.stored)] == writer.stored
    assert writer.doubts_count >= 3


@pytest.mark.real
async def test_p10_a_server_that_comes_back_with_an_older_stream_ends_the_feed(
    own_nats_server: NatsServer,
) -> None:
    """The store is put back to a copy taken before the last messages: the feed says so, where a
    consumer behind the end would be silent for ever.
    """
    store = own_nats_server.directory / "nats"
    connection = await connect_nats(nats_options(own_nats_server))
    await make_streams(connection)
    streams = NatsStreams(connection, feed=FeedOptions(heartbeat_s=0.2, retry_s=0.02))
    for number in range(3):
        await streams.publish("fills.paper.anna", b"%d" % number, message_id=f"{number}")
    await asyncio.to_thread(own_nats_server.stop)
    copy = await asyncio.to_thread(shutil.copytree, store, store.with_name("older"))
    await asyncio.to_thread(own_nats_server.start)
    await until(lambda: connection.is_connected)
    arrived = asyncio.Event()
    feed = await streams.open_feed(INGRESS, ">", after_sequence=0, arrived=arrived)
    for number in range(3, 5):
        await streams.publish("fills.paper.anna", b"%d" % number, message_id=f"{number}")
    taken: list[StoredMessage] = []

    def has_taken_all() -> bool:
        taken.extend(feed.take(10))
        return len(taken) == 5

    await until(has_taken_all)
    await asyncio.to_thread(own_nats_server.kill)
    await asyncio.to_thread(shutil.rmtree, store)
    await asyncio.to_thread(copy.rename, store)
    await asyncio.to_thread(own_nats_server.start)

    def has_failed() -> bool:
        try:
            taken.extend(feed.take(10))
        except ChainBrokenError as error:
            return "INGRESS to hold the message read at sequence 5" in str(error)
        return False

    await until(has_failed)
    assert [message.sequence for message in taken] == [1, 2, 3, 4, 5]
    await feed.close()
    await connection.close()
