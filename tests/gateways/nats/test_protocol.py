"""The NATS protocol's reader and writer, fed as the loop feeds them, and over a socket."""

import asyncio
import itertools
import socket
from contextlib import suppress
from urllib.parse import urlparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.nats.client import DirectClient
from gateways.nats.protocol import (
    BUFFER_BYTES,
    Deliver,
    NatsProtocol,
    NatsTransport,
    read_headers,
    write_message,
)

Message = tuple[str, str, bytes, dict[str, str] | None]

SAID = (
    b"MSG a.b 1 5\r\nhello\r\n"
    b"PING\r\n"
    b"MSG a.c 1 reply.1 0\r\n\r\n"
    b"PONG\r\n+OK\r\n"
    b"HMSG a.d 1 23 25\r\nNATS/1.0\r\nName: x:y\r\n\r\n\r\n\r\n"
    b"HMSG a.e 1 $JS.ACK.S.c.1.2.3.4.0 12 14\r\nNATS/1.0\r\n\r\nok\r\n"
    b"-ERR 'Permissions Violation for Publish to \"x\"'\r\n"
    b"MSG other 9 1\r\n?\r\n"
    b"MSG a.f 1 2\r\n\r\n\r\n"
)
HEARD: list[Message] = [
    ("a.b", "", b"hello", None),
    ("a.c", "reply.1", b"", None),
    ("a.d", "", b"\r\n", {"Name": "x:y"}),
    ("a.e", "$JS.ACK.S.c.1.2.3.4.0", b"ok", None),
    ("a.f", "", b"\r\n", None),
]


def into(heard: list[Message]) -> Deliver:
    return lambda subject, reply, data, headers: heard.append((subject, reply, data, headers))


def feed(protocol: NatsProtocol, data: bytes) -> None:
    """Hand bytes over as the loop does: as many at a time as there is room for."""
    while data:
        room = protocol.get_buffer(-1)
        taken = min(len(room), len(data))
        assert taken
        room[:taken] = data[:taken]
        protocol.buffer_updated(taken)
        data = data[taken:]


async def connected(heard: list[Message]) -> tuple[NatsProtocol, socket.socket]:
    """A protocol on one end of a socket pair, and the other end."""
    ours, theirs = socket.socketpair()
    _, protocol = await asyncio.get_running_loop().create_connection(
        lambda: NatsProtocol({1: into(heard)}), sock=ours
    )
    return protocol, theirs


@given(cuts=st.lists(st.integers(1, len(SAID) - 1), max_size=12))
def test_messages_are_read_however_the_bytes_are_split(cuts: list[int]) -> None:
    async def check() -> None:
        heard: list[Message] = []
        pongs: list[None] = []
        protocol, theirs = await connected(heard)
        protocol.start(lambda: pongs.append(None))
        places = sorted({0, len(SAID), *cuts})
        for start, end in itertools.pairwise(places):
            feed(protocol, SAID[start:end])
        assert heard == HEARD
        assert len(pongs) == 1
        assert await protocol.next_notice() == b"-ERR 'Permissions Violation for Publish to \"x\"'"
        assert protocol.transport is not None
        protocol.transport.close()
        await protocol.lost
        assert theirs.recv(100) == b"PONG\r\n"
        theirs.close()

    asyncio.run(check())


async def test_messages_larger_than_the_buffer_come_whole_and_leave_no_large_buffer() -> None:
    heard: list[Message] = []
    protocol = NatsProtocol({1: into(heard)})
    protocol.start(lambda: None)
    sizes = [BUFFER_BYTES - 30, 10, 3 * BUFFER_BYTES, BUFFER_BYTES, 0]
    for number, size in enumerate(sizes):
        feed(protocol, b"MSG a 1 %d\r\n%b\r\n" % (size, bytes([number]) * size))
    assert [data for _, _, data, _ in heard] == [
        bytes([number]) * size for number, size in enumerate(sizes)
    ]
    assert len(protocol.get_buffer(-1)) == BUFFER_BYTES


@pytest.mark.parametrize("odd", [b"a.\x0b", b"a.\x0c1\x0c2", b"a.\xff", b"a.\0", b"a.\x85\xa0"])
async def test_any_byte_in_a_subject_is_read_as_one_word(odd: bytes) -> None:
    """A server passes on any subject that a publisher wrote. An odd one must not end the
    connections of its readers.
    """
    heard: list[Message] = []
    protocol = NatsProtocol({1: into(heard)})
    protocol.start(lambda: None)
    feed(
        protocol,
        b"MSG %b 1 %b 1\r\nx\r\nHMSG %b 1 12 13\r\nNATS/1.0\r\n\r\ny\r\n" % (odd, odd, odd),
    )
    text = odd.decode("utf-8", "replace")
    assert heard == [(text, text, b"x", None), (text, "", b"y", {})]


async def test_lines_are_read_one_by_one_before_the_start_and_messages_behind_them_after_it() -> (
    None
):
    heard: list[Message] = []
    protocol, theirs = await connected(heard)
    theirs.sendall(b"INFO {}\r\nPONG\r\nMSG a 1 1\r\nx\r\n")
    assert [await protocol.read_line(), await protocol.read_line()] == [b"INFO {}\r\n", b"PONG\r\n"]
    protocol.start(lambda: None)
    theirs.close()
    assert await protocol.next_notice() == b""
    assert await protocol.read_line() == b""
    assert heard == [("a", "", b"x", None)]


@pytest.mark.parametrize(
    "wrong",
    [
        b"HELLO\r\n",
        b"MSG a\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 -15\r\n",
        b"HMSG a 1 0 -20\r\n",
        b"MSG a 1 99999999999999\r\n",
        b"\r\n",
    ],
)
async def test_bytes_that_no_server_sends_end_the_connection(wrong: bytes) -> None:
    protocol, theirs = await connected([])
    protocol.start(lambda: None)
    theirs.sendall(wrong)
    assert (await protocol.next_notice()).startswith(b"-ERR '")
    assert await protocol.next_notice() == b""
    theirs.close()


def test_status_lines_are_headers() -> None:
    assert read_headers(b"NATS/1.0 503\r\n\r\n") == {"Status": "503"}
    assert read_headers(b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\n\r\n") == {
        "Status": "100",
        "Description": "Idle Heartbeat",
        "Nats-Last-Consumer": "7",
    }


def test_message_is_written_with_its_sizes() -> None:
    assert write_message("a", "", b"xy", None) == [b"PUB a  2\r\nxy\r\n"]
    (written,) = write_message("a", "r", b"xy", {"K": "v"})
    assert written == b"HPUB a r 18 20\r\nNATS/1.0\r\nK: v\r\n\r\nxy\r\n"
    large = bytes(1 << 20)
    assert write_message("a", "", large, None)[1] is large


def test_header_value_never_begins_a_line_of_its_own() -> None:
    (written,) = write_message("a", "", b"", {"K": "one\r\nOther: two\n\nthree\0"})
    assert written.count(b"\r\n") == 5
    assert b"K: one Other: two  three \r\n" in written


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b", "a\tb"])
def test_subject_of_more_than_a_word_is_refused(subject: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        write_message(subject, "", b"", None)
    if subject:
        with pytest.raises(ValueError, match="one word"):
            write_message("a", subject, b"", None)


async def test_a_new_connection_ends_the_one_before() -> None:
    """A stopped server takes connections and sends nothing. Each attempt to reconnect would leave
    one open.
    """
    ended: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ended.put_nowait(await reader.read())
        except ConnectionError:
            ended.put_nowait(b"")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        uri = urlparse(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        transport = NatsTransport({})
        for _ in range(3):
            await transport.connect(uri, 0, 2)
        assert [await ended.get(), await ended.get()] == [b"", b""]
        transport.abort()
        assert await ended.get() == b""


@pytest.mark.parametrize(
    "odd", [b"{", b"[]", b'{"connect_urls": ["["]}', b'{"connect_urls": 1}', b"\xff"]
)
async def test_a_malformed_message_of_the_server_ends_the_connection_and_another_is_made(
    odd: bytes,
) -> None:
    """The reader once died of it and read nothing more, while the connection seemed good."""
    connections: asyncio.Queue[None] = asyncio.Queue()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.put_nowait(None)
        writer.write(b"INFO {}\r\nPONG\r\nINFO " + odd + b"\r\n")
        with suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        client = DirectClient()
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await client.connect(url, reconnect_time_wait=0, max_reconnect_attempts=-1)
        await connections.get()
        await connections.get()
        await client.close()
