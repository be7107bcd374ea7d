"""Worlds: the same ports over the in-memory twin and over real servers."""

from collections.abc import AsyncIterator
from itertools import count

import pytest

from actors.ports import (
    DEADLETTER,
    EXECUTIONS,
    INGRESS,
    Bus,
    Journal,
    Snapshots,
    Streams,
    journal_stream,
)
from engine.journal.frame import ShardKey, ShardKind
from gateways.memory.bus import MemoryBus
from gateways.memory.journal import MemoryJournal
from gateways.memory.server import MemoryServer
from gateways.memory.snapshots import MemorySnapshots
from gateways.memory.streams import MemoryStreams
from gateways.nats.bus import NatsBus
from gateways.nats.connection import NatsConnection, NatsConnectionOptions, connect_nats
from gateways.nats.feed import FeedOptions
from gateways.nats.journal import NatsJournal
from gateways.nats.streams import NatsStreams, StreamSettings, ensure_stream
from gateways.postgres.snapshots import PostgresConnectionOptions, open_postgres_snapshots
from tests.servers import (
    ENGINE_USER,
    PASSWORD,
    NatsServer,
    PostgresServer,
    nats_server,
    own_nats_server,
    postgres_server,
)

__all__ = ["nats_server", "own_nats_server", "postgres_server"]

SUBJECTS = {
    INGRESS: ("fills.>", "marks.>"),
    EXECUTIONS: ("executions.>",),
    DEADLETTER: ("deadletter.>",),
    **{
        journal_stream(ShardKey(kind, 0)): (f"journal.{kind.name.lower()}.*",) for kind in ShardKind
    },
}
_numbers = count(1)


class Adapters:
    """The ports over one kind of server. `number` is no other test's: shards and subjects are made
    from it.
    """

    def __init__(self, journal: Journal, streams: Streams, bus: Bus) -> None:
        self.journal = journal
        self.streams = streams
        self.bus = bus
        self.number = next(_numbers)
        self.key = ShardKey(ShardKind.FOLLOWER, self.number)


def nats_options(
    server: NatsServer, user: str = ENGINE_USER, **changes: object
) -> NatsConnectionOptions:
    """Options for a user of the test server; a broker's user has its own inbox prefix."""
    prefix = "_INBOX_" + user.removeprefix("broker_")
    return NatsConnectionOptions(
        url=server.url,
        user=user,
        password=PASSWORD,
        inbox_prefix=prefix,
        **changes,  # type: ignore[arg-type]
    )


async def make_streams(connection: NatsConnection, *, bytes_max: int = 1 << 30) -> None:
    """Make every stream."""
    for name, subjects in SUBJECTS.items():
        await ensure_stream(
            connection, StreamSettings(name=name, subjects=subjects, bytes_max=bytes_max)
        )


def memory_server() -> MemoryServer:
    """A twin with every stream."""
    server = MemoryServer()
    for name, subjects in SUBJECTS.items():
        server.add_stream(name, *subjects)
    return server


@pytest.fixture
def memory_adapters() -> Adapters:
    server = memory_server()
    return Adapters(MemoryJournal(server), MemoryStreams(server), MemoryBus(server))


@pytest.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[NatsConnection]:
    connected = await connect_nats(nats_options(nats_server))
    await make_streams(connected)
    yield connected
    await connected.close()


@pytest.fixture
def nats_adapters(connection: NatsConnection) -> Adapters:
    streams = NatsStreams(connection, feed=FeedOptions(heartbeat_s=0.2))
    return Adapters(NatsJournal(connection), streams, NatsBus(connection))


@pytest.fixture
def memory_snapshots() -> Snapshots:
    return MemorySnapshots(MemoryServer())


@pytest.fixture
async def postgres_snapshots(postgres_server: PostgresServer) -> AsyncIterator[Snapshots]:
    opened = await open_postgres_snapshots(PostgresConnectionOptions(dsn=postgres_server.dsn))
    yield opened
    await opened.close()


@pytest.fixture
def shard_key() -> ShardKey:
    return ShardKey(ShardKind.FOLLOWER, next(_numbers))
