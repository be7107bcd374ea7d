"""Connecting a host to the outside: one NATS connection, one Postgres pool, the JSON wire, the wall
clock.
"""

import msgspec

from actors.host.host import Connected
from actors.ports import Broker, Ports
from actors.shard.retry import retry_until_done
from gateways.clock import WallClock
from gateways.json.format import JsonFormat
from gateways.nats.broker import NatsBroker
from gateways.nats.bus import NatsBus
from gateways.nats.connection import NatsOptions, connect_nats
from gateways.nats.journal import NatsJournal
from gateways.nats.streams import NatsStreams
from gateways.postgres.snapshots import PostgresOptions, postgres_snapshots


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where a host finds the outside."""

    nats: NatsOptions
    """The engine's own login."""
    postgres: PostgresOptions
    """Where snapshots are kept."""
    brokers: tuple[str, ...] = ()
    """Names of the brokers, in the order of their gateway shards."""


async def connect(options: ConnectionOptions) -> Connected:
    """Connect, trying until NATS answers. Postgres may be away: it is connected when needed."""
    connection = await retry_until_done("connection to NATS", lambda: connect_nats(options.nats))
    snapshots = await postgres_snapshots(options.postgres)
    ports = Ports(
        journal=NatsJournal(connection),
        streams=NatsStreams(connection),
        bus=NatsBus(connection),
        snapshots=snapshots,
        wire=JsonFormat(),
        clock=WallClock(),
    )

    async def close() -> None:
        await connection.close()
        await snapshots.close()

    brokers: dict[int, tuple[str, Broker]] = {
        shard: (name, NatsBroker(connection, name)) for shard, name in enumerate(options.brokers)
    }
    return Connected(ports, brokers, close)
