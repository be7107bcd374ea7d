"""The inputs of a shard: feeds of streams, requests on the bus, and the event that wakes its
loop.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from actors.ports import BusSubscription, Feed, Ports, Request, StoredMessage
from actors.retry import retry_until_done
from engine.journal.chain import ChainBrokenError
from engine.journal.cursors import (
    NO_HASH,
    Cursor,
    Source,
    hashed_sequence,
    is_digest_of,
    message_digest,
    stream_cursor,
)
from engine.journal.frame import ShardKey

TICK_S = 0.1
"""A turn follows at least so often, for what depends on the time alone."""


class HasCursors(Protocol):
    """A state with the cursors of its inputs."""

    cursors: dict[tuple[Source, int], Cursor]


class StreamPlace:
    """How far a shard has taken one stream. Its cursor moves with each message, and gets the digest
    of its message once before a frame, however many messages were taken.
    """

    def __init__(self, state: HasCursors, source: Source) -> None:
        self._state = state
        self._key = (source, 0)
        self._unsealed: StoredMessage | None = None

    @property
    def cursor(self) -> Cursor | None:
        """The cursor, None before the first message."""
        return self._state.cursors.get(self._key)

    def move(self, message: StoredMessage, *, decided: int, of: int) -> None:
        """Move the cursor behind the first `decided` of a message's parts, `of` in all. It must be
        sealed before a frame.
        """
        self._unsealed = message
        self._state.cursors[self._key] = stream_cursor(
            self._key[0], message.sequence, decided=decided, of=of
        )

    def seal(self) -> None:
        """Give the cursor the digest of its message."""
        message, self._unsealed = self._unsealed, None
        if message is not None:
            digest = message_digest(message.subject, message.data)
            self._state.cursors[self._key] = self._state.cursors[self._key]._replace(hash=digest)


class ShardInputs:
    """The inputs of one shard."""

    def __init__(self, key: ShardKey, ports: Ports) -> None:
        self.arrived = asyncio.Event()
        """Set whenever a turn has something to do."""
        self._key = key
        self._ports = ports
        self._subscriptions: list[BusSubscription] = []

    async def subscribe(self, subject: str, receive: Callable[[Request], None]) -> None:
        """Receive requests until the shard is closed."""
        bus = self._ports.bus
        self._subscriptions.append(
            await retry_until_done(
                f"subscription to {subject}", lambda: bus.subscribe(subject, receive)
            )
        )

    async def open_feed(
        self,
        stream: str,
        subject: str,
        *,
        after_sequence: int,
        seen_sequence: int,
        cursor: Cursor | None = None,
    ) -> Feed:
        """Read a stream from where the state stands; its actor closes the feed. Raises:
        ChainBrokenError when the stream ends before `seen_sequence`, which was taken from it, or
        lacks the message that its cursor names.
        """
        streams = self._ports.streams
        last = await retry_until_done(f"end of {stream}", lambda: streams.last_sequence(stream))
        if last < seen_sequence:
            raise ChainBrokenError(
                f"{self._key}: expected {stream} to reach sequence {seen_sequence}, "
                f"which was taken from it, found its end at {last}; "
                "the stream lost its end or is an older copy: restore the newer one"
            )
        if cursor is not None and cursor.hash != NO_HASH:
            await self._check_message(stream, hashed_sequence(cursor), cursor.hash)
        return await retry_until_done(
            f"feed of {subject} in {stream}",
            lambda: streams.open_feed(
                stream, subject, after_sequence=after_sequence, arrived=self.arrived
            ),
        )

    async def _check_message(self, stream: str, sequence: int, digest: bytes) -> None:
        """Check that the message that was read at a sequence is there. Raises: ChainBrokenError."""
        streams = self._ports.streams
        message = await retry_until_done(
            f"message {sequence} of {stream}", lambda: streams.message(stream, sequence)
        )
        if message is None or not is_digest_of(digest, message.subject, message.data):
            shown = (
                "none"
                if message is None
                else f"one with {message_digest(message.subject, message.data).hex()[:12]}"
            )
            raise ChainBrokenError(
                f"{self._key}: expected the message with digest {digest.hex()[:12]} at sequence "
                f"{sequence} of {stream}, which was taken from it, found {shown}; "
                "the stream lost its end or is an older copy: restore the newer one"
            )

    async def wait(self) -> None:
        """Wait until something has arrived, or a tick has passed."""
        await self.arrived.wait()
        self.arrived.clear()

    async def tick(self) -> None:
        """Wake the loop every `TICK_S`, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.arrived.set()

    async def close(self) -> None:
        """End the subscriptions."""
        await asyncio.gather(
            *(subscription.close() for subscription in self._subscriptions), return_exceptions=True
        )
