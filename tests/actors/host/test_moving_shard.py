"""A shard moves between two processes, on a real Ray and real servers."""

import asyncio
import json

import msgspec
import pytest

from gateways.connections import ConnectionOptions
from gateways.nats.connection import connect_nats
from gateways.postgres.snapshots import PostgresConnectionOptions
from tests.actors.host.ray_program import printed
from tests.gateways.conftest import make_streams, nats_options
from tests.servers import NatsServer, PostgresServer, own_nats_server, own_postgres_server

pytestmark = pytest.mark.real

__all__ = ["own_nats_server", "own_postgres_server"]


async def test_a_released_shard_goes_on_in_another_process(
    own_nats_server: NatsServer, own_postgres_server: PostgresServer
) -> None:
    """P5 and P6: one owner after the other, and the second knows all that the first answered."""
    options = ConnectionOptions(
        nats=nats_options(own_nats_server),
        postgres=PostgresConnectionOptions(dsn=own_postgres_server.dsn),
    )
    connection = await connect_nats(options.nats)
    await make_streams(connection)
    await connection.close()
    text = msgspec.json.encode(options).decode()
    line = await asyncio.to_thread(printed, "tests.actors.host.moving_shard", text)
    owners, ended, before, after = json.loads(line)
    assert owners == [["first", "second"], ["first"]]
    assert ended == {"0": "stopped"}
    assert after == before
