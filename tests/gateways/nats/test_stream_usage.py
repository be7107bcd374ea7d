"""Disk use of streams over a real nats-server."""

import pytest

from gateways.nats.connection import NatsConnection, connect_nats
from gateways.nats.stream_usage import read_stream_usages
from tests.gateways.conftest import SUBJECTS, make_streams, nats_options
from tests.servers import NatsServer

pytestmark = pytest.mark.real


async def test_every_stream_has_its_disk_use_and_its_limit(own_nats_server: NatsServer) -> None:
    connection = await connect_nats(nats_options(own_nats_server))
    await make_streams(connection)
    usages = await read_stream_usages(connection)
    await connection.close()
    assert [usage.name for usage in usages] == sorted(SUBJECTS)
    assert all(usage.bytes_max == 1 << 30 for usage in usages)


async def test_a_user_who_may_not_ask_for_streams_is_told_none(
    connection: NatsConnection, nats_server: NatsServer
) -> None:
    options = nats_options(nats_server, "broker_acme", request_deadline_s=0.3)
    unprivileged = await connect_nats(options)
    assert await read_stream_usages(unprivileged) == []
    await unprivileged.close()
