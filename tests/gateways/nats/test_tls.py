"""NATS under TLS: the journal over it, connecting again, and servers that are not the one that was
meant.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from actors.errors import OperatingError, PermanentError
from engine.journal.frame import ShardKey, ShardKind
from gateways.nats.client import DirectClient
from gateways.nats.connection import NatsConnection, NatsConnectionOptions, connect_nats
from gateways.nats.journal import NatsJournal
from tests.gateways.conftest import make_streams
from tests.servers import ENGINE_USER, PASSWORD, NatsServer, until

pytestmark = pytest.mark.kill

KEY = ShardKey(ShardKind.FOLLOWER, 0)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The one authority that this process trusts."""
    authority = trustme.CA()
    path = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    return authority


def secured(directory: Path, authority: trustme.CA, *names: str) -> NatsServer:
    """A server with a certificate for some names."""
    certificate = authority.issue_cert(*names)
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
    server = NatsServer(directory)
    server.tls = {
        "cert_file": str(directory / "server.pem"),
        "key_file": str(directory / "server.pem"),
    }
    return server


@pytest.fixture
def tls_server(tmp_path: Path, authority: trustme.CA) -> Iterator[NatsServer]:
    with secured(tmp_path, authority, "127.0.0.1") as server:
        assert isinstance(server, NatsServer)
        yield server


def options(server: NatsServer, scheme: str = "tls") -> NatsConnectionOptions:
    url = server.url.replace("nats://", f"{scheme}://")
    return NatsConnectionOptions(
        url=url, user=ENGINE_USER, password=PASSWORD, inbox_prefix="_INBOX_engine"
    )


async def read_all(journal: NatsJournal) -> list[bytes]:
    frames: list[bytes] = []
    after = 0
    while more := await journal.read(KEY, after_sequence=after):
        frames += [message.data for message in more]
        after = more[-1].sequence
    return frames


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_frames_of_every_size_are_stored_and_read_back_before_and_after_the_server_died(
    tls_server: NatsServer, scheme: str
) -> None:
    """A server that asks for TLS gets it, also without a TLS URL."""
    connection = await connect_nats(options(tls_server, scheme))
    await make_streams(connection)
    journal = NatsJournal(connection)
    frames = [bytes([size % 251]) * size for size in (1, 16_383, 16_384, 16_385, 100_000, 5 << 20)]
    sequence = 0
    for number, data in enumerate(frames):
        sequence = await journal.append(
            KEY, data, message_id=str(number), expected_sequence=sequence
        )
    assert await read_all(journal) == frames
    tls_server.kill()
    tls_server.start()
    async with asyncio.timeout(30):
        sequence = await appended(journal, b"after", sequence)
    assert await read_all(journal) == [*frames, b"after"]
    await connection.close()


async def appended(journal: NatsJournal, data: bytes, sequence: int) -> int:
    while True:
        try:
            return await journal.append(KEY, data, message_id="after", expected_sequence=sequence)
        except OperatingError:
            # The message id makes it safe to repeat.
            await asyncio.sleep(0.01)


async def refused(server: NatsServer) -> str:
    return await refused_at(options(server))


async def refused_at(options: NatsConnectionOptions) -> str:
    async with asyncio.timeout(10):
        with pytest.raises(PermanentError) as raised:
            await NatsConnection(options).open()
    return str(raised.value)


async def test_a_certificate_of_an_unknown_authority_is_refused_at_once(
    tmp_path: Path, authority: trustme.CA
) -> None:
    with secured(tmp_path, trustme.CA(), "127.0.0.1") as server:
        assert isinstance(server, NatsServer)
        text = await refused(server)
    assert "certificate verify failed" in text
    assert "SSL_CERT_FILE" in text


async def test_a_certificate_of_another_host_is_refused_at_once(
    tmp_path: Path, authority: trustme.CA
) -> None:
    with secured(tmp_path, authority, "elsewhere.example") as server:
        assert isinstance(server, NatsServer)
        assert "127.0.0.1" in await refused(server)


async def test_with_a_tls_url_a_server_without_tls_is_sent_no_credentials(
    nats_server: NatsServer,
) -> None:
    assert "to ask for TLS" in await refused(nats_server)


async def test_a_server_that_came_back_without_tls_is_reported_and_not_used(
    tls_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await connect_nats(options(tls_server))
    tls, tls_server.tls = tls_server.tls, None
    tls_server.kill()
    tls_server.start()
    async with asyncio.timeout(30):
        await until(lambda: "to ask for TLS, found that it does not" in caplog.text)
    assert not connection.is_connected
    assert caplog.text.count("to ask for TLS") == 1
    tls_server.tls = tls
    tls_server.kill()
    tls_server.start()
    async with asyncio.timeout(30):
        await until(lambda: connection.is_connected)
    await connection.close()


@asynccontextmanager
async def speaking(authority: trustme.CA, before: bytes, after: bytes) -> AsyncIterator[str]:
    """A server that says something before TLS and something under it. Yields: its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        with contextlib.suppress(OSError):
            await writer.start_tls(context)
            writer.write(after)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_bytes_sent_before_tls_are_never_read_as_the_servers(
    authority: trustme.CA,
) -> None:
    """An attacker in between could put messages there: after a reconnect, even commands."""
    said = b'INFO {"tls_required": true, "max_payload": 1000}\r\nPONG\r\nMSG a 1 1\r\nx\r\n'
    async with speaking(authority, said, b"") as url:
        assert "no more than INFO before TLS" in await refused_at(
            NatsConnectionOptions(url=url, user="u", password="p")
        )


async def test_servers_named_before_tls_are_not_connected_to(authority: trustme.CA) -> None:
    said = (
        b'INFO {"tls_required": true, "max_payload": 1000, '
        b'"connect_urls": ["evil.example:4222"]}\r\n'
    )
    async with speaking(authority, said, b"PONG\r\n") as url, asyncio.timeout(10):
        client = DirectClient()
        await client.connect(url)
        assert client.discovered_servers == []
        await client.close()
