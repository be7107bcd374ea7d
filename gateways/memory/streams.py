"""Streams and feeds in memory."""

import asyncio

from actors.ports import StoredMessage
from gateways.memory.server import MemoryServer, MemoryStream
from gateways.nats.lost_end import lost_end
from gateways.nats.subjects import matches


class MemoryFeed:
    """The `Feed` port: a cursor over the stream's own list. It has no buffer, so nothing
    overflows.
    """

    def __init__(
        self,
        server: MemoryServer,
        stream: MemoryStream,
        subject: str,
        after: int,
        arrived: asyncio.Event,
    ) -> None:
        self._server = server
        self._stream = stream
        self._subject = subject
        self._cursor = after
        self._last: StoredMessage | None = None
        self._arrived = arrived
        stream.feeds.append(self)
        self.reset(after)

    def notice(self, subject: str) -> None:
        """Note that a message of a subject was stored."""
        if matches(self._subject, subject):
            self._arrived.set()

    def take(self, messages_max: int) -> list[StoredMessage]:
        """Return messages that have arrived, without waiting."""
        taken: list[StoredMessage] = []
        if self._server.faults.is_disconnected:
            return taken
        messages = self._stream.messages
        self._check_end()
        while self._cursor < len(messages) and len(taken) < messages_max:
            message = messages[self._cursor]
            self._cursor += 1
            self._last = message
            if matches(self._subject, message.subject):
                taken.append(message)
        return taken

    def reset(self, after_sequence: int) -> None:
        """Read again, from the message after a sequence."""
        self._cursor = after_sequence
        self._last = None
        if after_sequence < len(self._stream.messages):
            self._arrived.set()

    def _check_end(self) -> None:
        """Check that the stream still holds what was read."""
        messages, last = self._stream.messages, self._last
        if len(messages) < self._cursor or (last and messages[last.sequence - 1] != last):
            raise lost_end(self._stream.name, self._cursor, len(messages))

    async def close(self) -> None:
        """Stop reading."""
        if self in self._stream.feeds:
            self._stream.feeds.remove(self)


class MemoryStreams:
    """The `Streams` port."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def open_feed(
        self,
        stream: str,
        subject: str,
        *,
        after_sequence: int,
        arrived: asyncio.Event,
        bytes_max: int = 64 << 20,
    ) -> MemoryFeed:
        """Start a feed. Raises: PermanentError when the stream is missing."""
        self._server.faults.check_connected()
        return MemoryFeed(
            self._server, self._server.stream(stream), subject, after_sequence, arrived
        )

    async def last_sequence(self, stream: str) -> int:
        """Return the last sequence of a stream."""
        self._server.faults.check_connected()
        return len(self._server.stream(stream).messages)

    async def last_message(self, stream: str, subject: str) -> StoredMessage | None:
        """Return the last message of a subject; None when there is none."""
        self._server.faults.check_connected()
        found = self._server.stream(stream)
        last = found.last_of_subject.get(subject, 0)
        return found.messages[last - 1] if last else None

    async def message(self, stream: str, sequence: int) -> StoredMessage | None:
        """Read one message; None when there is none."""
        self._server.faults.check_connected()
        messages = self._server.stream(stream).messages
        return messages[sequence - 1] if 0 < sequence <= len(messages) else None

    async def read(
        self, stream: str, *, after_sequence: int, bytes_max: int = 16 << 20
    ) -> list[StoredMessage]:
        """Read messages after a sequence, in order: at least one unless there is none."""
        self._server.faults.check_connected()
        found: list[StoredMessage] = []
        size = 0
        for message in self._server.stream(stream).messages[after_sequence:]:
            size += len(message.data)
            if found and size > bytes_max:
                break
            found.append(message)
        return found

    async def publish(self, subject: str, data: bytes, *, message_id: str = "") -> int:
        """Append a message, at most once per message id, if it has one."""
        self._server.faults.check_connected()
        return self._server.store(self._server.stream_of(subject), subject, data, message_id)
