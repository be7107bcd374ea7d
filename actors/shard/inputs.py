"""The inputs of a shard: feeds of streams, requests on the bus, and the event that wakes its
loop.
"""

import asyncio
from collections.abc import Callable

from actors.ports import BusSubscription, Feed, Ports, Request
from actors.retry import retry_until_done
from engine.journal.chain import ChainBrokenError
from engine.journal.frame import ShardKey

TICK_S = 0.1
"""A turn follows at least so often, for what depends on the time alone."""


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
        self, stream: str, subject: str, *, after_sequence: int, seen_sequence: int
    ) -> Feed:
        """Read a stream from where the state stands; its actor closes the feed. Raises:
        ChainBrokenError when the stream ends before `seen_sequence`, which was taken from it.
        """
        streams = self._ports.streams
        last = await retry_until_done(f"end of {stream}", lambda: streams.last_sequence(stream))
        if last < seen_sequence:
            raise ChainBrokenError(
                f"{self._key}: expected {stream} to reach sequence {seen_sequence}, "
                f"which was taken from it, found its end at {last};"
                " the stream lost its end"
            )
        return await retry_until_done(
            f"feed of {subject} in {stream}",
            lambda: streams.open_feed(
                stream, subject, after_sequence=after_sequence, arrived=self.arrived
            ),
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
