"""The in-memory twins pass the contracts, and their planted faults happen as named."""

import pytest

from actors.errors import OutcomeUnknownError, StreamFullError, TransientError
from actors.ports import Snapshots, journal_stream
from engine.journal.frame import ShardKey, ShardKind
from gateways.memory.bus import MemoryBus
from gateways.memory.journal import MemoryJournal
from gateways.memory.streams import MemoryStreams
from tests.gateways.conftest import Adapters, memory_server
from tests.gateways.contracts import (
    BusContract,
    JournalContract,
    SnapshotsContract,
    StreamsContract,
)

KEY = ShardKey(ShardKind.CREATOR, 0)


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def adapters(self, memory_adapters: Adapters) -> Adapters:
        return memory_adapters


class TestMemoryStreams(StreamsContract):
    @pytest.fixture
    def adapters(self, memory_adapters: Adapters) -> Adapters:
        return memory_adapters


class TestMemoryBus(BusContract):
    @pytest.fixture
    def adapters(self, memory_adapters: Adapters) -> Adapters:
        return memory_adapters


class TestMemorySnapshots(SnapshotsContract):
    @pytest.fixture
    def snapshots(self, memory_snapshots: Snapshots) -> Snapshots:
        return memory_snapshots


async def test_lost_ack_leaves_the_frame_stored() -> None:
    server = memory_server()
    journal = MemoryJournal(server)
    server.faults.acks_lost_count = 1
    with pytest.raises(OutcomeUnknownError):
        await journal.append(KEY, b"frame", message_id="a", expected_sequence=0)
    tail = await journal.tail(KEY)
    assert tail is not None
    assert tail.data == b"frame"


async def test_lost_append_leaves_nothing_and_may_be_sent_again() -> None:
    server = memory_server()
    journal = MemoryJournal(server)
    server.faults.appends_lost_count = 1
    with pytest.raises(OutcomeUnknownError):
        await journal.append(KEY, b"frame", message_id="a", expected_sequence=0)
    assert await journal.tail(KEY) is None
    assert await journal.append(KEY, b"frame", message_id="a", expected_sequence=0) == 1


async def test_full_stream_refuses_until_it_has_room() -> None:
    server = memory_server()
    server.faults.full_streams.add(journal_stream(KEY))
    journal = MemoryJournal(server)
    with pytest.raises(StreamFullError):
        await journal.append(KEY, b"frame", message_id="a", expected_sequence=0)
    server.faults.full_streams.clear()
    assert await journal.append(KEY, b"frame", message_id="a", expected_sequence=0) == 1


async def test_dropped_bus_message_never_arrives_and_its_sender_hears_nothing() -> None:
    server = memory_server()
    bus = MemoryBus(server)
    received: list[bytes] = []
    await bus.subscribe("heads.x", lambda request: received.append(request.data))
    server.faults.bus_drops_count = 2
    await bus.publish("heads.x", b"1")
    with pytest.raises(OutcomeUnknownError):
        await bus.request("heads.x", b"2", timeout_s=0.01)
    await bus.publish("heads.x", b"3")
    assert received == [b"3"]


async def test_disconnected_server_refuses_at_once() -> None:
    server = memory_server()
    server.faults.is_disconnected = True
    with pytest.raises(TransientError):
        await MemoryStreams(server).publish("executions.a.0", b"", message_id="a")
    with pytest.raises(TransientError):
        await MemoryJournal(server).tail(KEY)
