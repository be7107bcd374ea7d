"""The NATS protocol on one TCP connection: the part that handles every message, without a task,
without a queue and with one copy.

The event loop reads the socket into our buffer, and its read callback parses the buffer in place.
Each message goes from there straight to its subscriber. While the connection is made, nats-py reads
line by line, until `start`. Lines that need more than a reply (`INFO`, `-ERR`, the end of the
connection) become notices for a task that may wait (`next_notice`).

    CONNECTING   read_line
        | start
    FLOWING      messages, PING and PONG at once; notices wait
        | the connection ends
    LOST
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import ParseResult

import nats.errors
from nats.aio.transport import Transport

Deliver = Callable[[str, str, bytes, dict[str, str] | None], None]
"""Takes the subject, reply subject, data and headers of one message. It must not block or raise."""

BUFFER_BYTES = 2 << 20
"""The buffer's size. A frame fits. A larger message gets a buffer of its own size while it
arrives (`fanout`).
"""
ROOM_BYTES = 64 << 10
"""Free space that a read always finds."""
LINE_BYTES_MAX = 1 << 20
"""No NATS server sends a longer line."""
MESSAGE_BYTES_MAX = 128 << 20
"""The buffer grows to the size that a message announces. No server takes larger messages."""
JOINED_BYTES_MAX = 64 << 10
"""Messages up to this size are written in one piece. Larger ones are not copied."""
CLOSE_S_MAX = 2.0
NOTICES_MAX = 1_000
"""When more notices wait, the oldest is dropped. A lost notice costs time only: a deadline
finds the same later.
"""
LINE_END = b"\r\n"
DELIVERED = "$JS.ACK."
"""The start of the reply subject of each stored message that a consumer delivers. Its headers
are not read, since nobody uses them.
"""

_NO_SPACE = re.compile(r"[^\s\0]+")
_VERSION = b"NATS/1.0"


class TlsError(nats.errors.Error):
    """A server is not the expected one, or cannot prove it."""

    def __str__(self) -> str:
        return str(self.args[0])


class ProtocolError(Exception):
    """Bytes do not follow the NATS protocol."""


def read_headers(raw: bytes) -> dict[str, str]:
    """Return the headers in a block. The status in its first line becomes `Status` and
    `Description`, nats-py's names.
    """
    first, *lines = raw.split(b"\r\n")
    headers: dict[str, str] = {}
    status, _, description = first[len(_VERSION) :].strip().partition(b" ")
    if status:
        headers["Status"] = status.decode("ascii", "replace")
    if description:
        headers["Description"] = description.decode("utf-8", "replace")
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().decode("ascii", "replace")] = value.strip().decode(
                "utf-8", "replace"
            )
    return headers


def write_message(
    subject: str, reply: str, data: bytes, headers: dict[str, str] | None
) -> list[bytes]:
    """Return the pieces of a message, in the order in which to write them. Raises: ValueError
    when a subject is empty or has white space.
    """
    if not _NO_SPACE.fullmatch(subject) or (reply and not _NO_SPACE.fullmatch(reply)):
        raise ValueError(f"subject: expected one word, found {subject[:100]!r} and {reply[:100]!r}")
    if headers is None:
        begin = f"PUB {subject} {reply} {len(data)}\r\n".encode()
    else:
        # A line end in a value would begin another header, or the message.
        lines = [f"{name}: {_one_line(value)}\r\n" for name, value in headers.items()]
        block = f"NATS/1.0\r\n{''.join(lines)}\r\n".encode()
        begin = b"HPUB %b %b %d %d\r\n%b" % (
            subject.encode(),
            reply.encode(),
            len(block),
            len(block) + len(data),
            block,
        )
    if len(data) <= JOINED_BYTES_MAX:
        return [begin + data + b"\r\n"]
    return [begin, data, b"\r\n"]


def _one_line(value: str) -> str:
    return value if value.isprintable() else " ".join(value.splitlines()).replace("\0", " ")


class NatsProtocol(asyncio.BufferedProtocol):
    """The bytes of one connection. `deliveries` holds the subscriber of each subscription
    number.
    """

    def __init__(self, deliveries: dict[int, Deliver]) -> None:
        self._deliveries = deliveries
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._missing = 0
        self._pong: Callable[[], None] | None = None
        self._notices: deque[bytes] = deque(maxlen=NOTICES_MAX)
        self._changed = asyncio.Event()
        self.transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # Calls of the event loop.

    def connection_made(self, transport: Any) -> None:
        """Keep the transport of the new connection."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is over."""
        if not self.lost.done():
            self.lost.set_result(None)
        self._changed.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the free part of the buffer, for the next read."""
        if len(self._buffer) - self._end < max(ROOM_BYTES, self._missing):
            self._make_room()
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the bytes that were read."""
        self._end += nbytes
        if self._pong is None:
            self._changed.set()
        else:
            self._take_all()

    def _make_room(self) -> None:
        """Move bytes that are not parsed yet to the buffer's front. A large message gets a
        buffer of its own size.
        """
        kept = bytes(self._view[self._start : self._end])
        size = max(BUFFER_BYTES, len(kept) + max(ROOM_BYTES, self._missing))
        if size != len(self._buffer):
            self._buffer = bytearray(size)
            self._view = memoryview(self._buffer)
        self._buffer[: len(kept)] = kept
        self._start, self._end = 0, len(kept)

    # Making the connection.

    async def read_line(self) -> bytes:
        """Return the next line, with its end; empty when the connection is over."""
        while (line_end := self._buffer.find(LINE_END, self._start, self._end)) < 0:
            if self.lost.done():
                return b""
            self._changed.clear()
            await self._changed.wait()
        line = bytes(self._view[self._start : line_end + 2])
        self._start = line_end + 2
        return line

    @property
    def has_unread(self) -> bool:
        """True while the buffer holds bytes that were not read."""
        return self._start < self._end

    def start(self, pong: Callable[[], None]) -> None:
        """Deliver messages from now on. `pong` is called for each answered PING."""
        self._pong = pong
        self._take_all()

    async def next_notice(self) -> bytes:
        """Return the next line that is no message, PING or PONG, once there is one; empty when
        the connection is over.
        """
        while not self._notices and not self.lost.done():
            self._changed.clear()
            await self._changed.wait()
        return self._notices.popleft() if self._notices else b""

    # Reading.

    def _take_all(self) -> None:
        """Parse every whole message and line in the buffer."""
        self._missing = 0
        try:
            while self._start < self._end and self._take_next():
                pass
        except (ProtocolError, ValueError, IndexError) as error:
            self._note(f"-ERR '{error}'".encode())
            assert self.transport is not None
            self.transport.abort()
            self._start = self._end
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) != BUFFER_BYTES:
                self._make_room()

    def _take_next(self) -> bool:
        """Parse one message or line. Returns: False when it is not complete yet. Raises:
        ProtocolError, ValueError, IndexError.
        """
        start, end = self._start, self._end
        line_end = self._buffer.find(LINE_END, start, end)
        if line_end < 0:
            if end - start > LINE_BYTES_MAX:
                raise ProtocolError(
                    f"expected a line of at most {LINE_BYTES_MAX} bytes, found a longer one"
                )
            return False
        # Split at spaces only: a publisher may put any other byte into a subject, and that must not
        # end the connection of every reader.
        words = self._buffer[start:line_end].split(b" ")
        kind = words[0]
        if kind != b"MSG" and kind != b"HMSG":
            self._start = line_end + 2
            self._take_line(kind, bytes(self._view[start:line_end]))
            return True
        data_start = line_end + 2
        size = int(words[-1])
        if not 0 <= size <= MESSAGE_BYTES_MAX:
            raise ProtocolError(
                f"expected a message of at most {MESSAGE_BYTES_MAX} bytes, found one of {size}"
            )
        data_end = data_start + size
        if data_end + 2 > end:
            self._missing = data_end + 2 - end
            return False
        self._start = data_end + 2
        deliver = self._deliveries.get(int(words[2]))
        if deliver is None:
            return True
        headers = None
        # MSG subject number [reply] size; HMSG subject number [reply] size of headers, size of
        # both.
        reply = (
            words[3].decode("utf-8", "replace")
            if len(words) == (5 if kind == b"MSG" else 6)
            else ""
        )
        if kind == b"HMSG":
            headers_start, data_start = data_start, data_start + int(words[-2])
            if not reply.startswith(DELIVERED):
                headers = read_headers(bytes(self._view[headers_start:data_start]))
        subject = words[1].decode("utf-8", "replace")
        deliver(subject, reply, bytes(self._view[data_start:data_end]), headers)
        return True

    def _take_line(self, kind: bytes | bytearray, line: bytes) -> None:
        if kind == b"PING":
            assert self.transport is not None
            self.transport.write(b"PONG\r\n")
        elif kind == b"PONG":
            assert self._pong is not None
            self._pong()
        elif kind == b"-ERR" or kind == b"INFO":
            self._note(line)
        elif kind != b"+OK":
            raise ProtocolError(f"expected a NATS message, found {line[:100]!r}")

    def _note(self, line: bytes) -> None:
        self._notices.append(line)
        self._changed.set()


class NatsTransport(Transport):
    """The transport that nats-py uses: one `NatsProtocol` after another.

    Its truth value is always True; else nats-py would replace it with a transport of its own.
    """

    def __init__(self, deliveries: dict[int, Deliver]) -> None:
        self._deliveries = deliveries
        self._transport: asyncio.Transport | None = None
        self.protocol: NatsProtocol | None = None
        self.is_secure = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connect over TCP. An earlier connection that failed is ended here, since its peer may
        never end it.
        """
        assert uri.hostname is not None and uri.port is not None
        self.abort()
        self.is_secure = False
        async with asyncio.timeout(connect_timeout):
            self._transport, self.protocol = await asyncio.get_running_loop().create_connection(
                lambda: NatsProtocol(self._deliveries), uri.hostname, uri.port
            )

    async def connect_tls(
        self,
        uri: str | ParseResult,
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        """Switch to TLS. Raises: TlsError when further bytes came before it: anyone may have
        sent them, and they would count as the server's.
        """
        assert self._transport is not None and self.protocol is not None
        host = uri if isinstance(uri, str) else uri.hostname
        if self.protocol.has_unread:
            raise TlsError(
                f"expected {host} to say no more than INFO before TLS, found that it does"
            )
        async with asyncio.timeout(connect_timeout):
            self._transport = await asyncio.get_running_loop().start_tls(
                self._transport, self.protocol, ssl_context, server_hostname=host
            )
        self.protocol.transport = self._transport
        self.is_secure = True

    def write(self, payload: bytes) -> None:
        """Write bytes at once, or as soon as the socket takes more (uvloop)."""
        if self._transport is not None:
            self._transport.write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        """Write several pieces."""
        if self._transport is not None:
            self._transport.writelines(payload)

    async def read(self, buffer_size: int) -> bytes:
        """Fail: nats-py must not read, since the protocol delivers."""
        raise AssertionError("expected the protocol to deliver, found a read")

    async def readline(self) -> bytes:
        """Return the next line while the connection is made."""
        assert self.protocol is not None
        return await self.protocol.read_line()

    async def drain(self) -> None:
        """Do nothing: the event loop writes."""

    async def wait_closed(self) -> None:
        """Wait until the connection is over, at most `CLOSE_S_MAX`: the peer may take nothing
        more.
        """
        if self.protocol is not None:
            await asyncio.wait((self.protocol.lost,), timeout=CLOSE_S_MAX)
            self.abort()

    def close(self) -> None:
        """End the connection after all bytes are written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection and drop the bytes that are not sent yet."""
        if self._transport is not None:
            # asyncio's TLS transport allows no further call once it is over.
            transport, self._transport = self._transport, None
            transport.abort()

    def at_eof(self) -> bool:
        """Return whether the connection is over."""
        return self.protocol is None or self.protocol.lost.done()

    def __bool__(self) -> bool:
        return True
