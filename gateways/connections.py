"""The connections of a host: one to NATS, a pool to Postgres. They become its ports, together with
the JSON message format and the wall clock.
"""

import msgspec

from actors.host.host import Connected
from actors.ports import Broker, Ports
from actors.retry import retry_until_done
from gateways.clock import WallClock
from gateways.json.broker import JsonBroker
from gateways.json.format import JsonFormat
from gateways.nats.broker import NatsBroker
from gateways.nats.bus import NatsBus
from gateways.nats.connection import NatsConnection, NatsConnectionOptions, connect_nats
from gateways.nats.journal import NatsJournal
from gateways.nats.streams import NatsStreams
from gateways.postgres.snapshots import PostgresConnectionOptions, postgres_snapshots


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses and logins that a host needs."""

    nats: NatsConnectionOptions
    """The engine's own login."""
    postgres: PostgresConnectionOptions
    """The database of the snapshots."""
    brokers: tuple[str, ...] = ()
    """The brokers' names, in the order of their gateway shards."""
    json_brokers: frozenset[str] = frozenset()
    """Those that read and write JSON."""


async def connect(options: ConnectionOptions) -> Connected:
    """Connect a host, and retry until NATS answers. Postgres may be away: the pool connects
    when it is needed.
    """
    connection = await retry_until_done("connection to NATS", lambda: connect_nats(options.nats))
    snapshots = await postgres_snapshots(options.postgres)
    ports = Ports(
        journal=NatsJournal(connection),
        streams=NatsStreams(connection),
        bus=NatsBus(connection),
        snapshots=snapshots,
        message_format=JsonFormat(),
        clock=WallClock(),
    )

    async def close() -> None:
        await connection.close()
        await snapshots.close()

    brokers = {
        shard: (name, _broker(connection, name, is_json=name in options.json_brokers))
        for shard, name in enumerate(options.brokers)
    }
    return Connected(ports, brokers, close)


def _broker(connection: NatsConnection, name: str, *, is_json: bool) -> Broker:
    broker = NatsBroker(connection, name)
    return JsonBroker(broker.submit) if is_json else broker
