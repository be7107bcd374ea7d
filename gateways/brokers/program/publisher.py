"""Publishing executions: in order within a follower shard, several shards at a time, until
JetStream holds each.

One message of a shard is in flight at a time. So a shard's numbers stand in the stream in order,
whatever fails. A message without an answer is published again; Lockstep counts each execution
once. It has no message id: another broker could have used the same one. Waiting messages keep
their bytes up to a limit; beyond it the publisher reads them from the ledger. When too many wait,
`wait_space` holds new blocks back.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Protocol

from actors.backoff import Backoff
from actors.errors import OperatingError
from actors.retry import retry_until_done
from gateways.brokers.ledger.ledger import Readable
from gateways.brokers.program.reports import Message

MESSAGES_MAX = 200_000
"""Number of waiting messages at which new blocks are held back."""
_BYTES_HELD_MAX = 64 << 20
_LANES_AT_ONCE = 16
_RETRY_S_MIN = 0.02
_RETRY_S_MAX = 1.0
_RETRIES_PER_WARNING = 20
_log = logging.getLogger(__name__)


class Publish(Protocol):
    """The part of the `Streams` port that a publisher needs."""

    async def publish(self, subject: str, data: bytes) -> int: ...


class ReportPublisher:
    """Messages on their way to JetStream. The publisher calls `confirm` for each that arrived."""

    def __init__(
        self,
        streams: Publish,
        ledger: Readable,
        *,
        broker: str,
        is_doubled: bool,
        name_message: Callable[[Message], str],
        confirm: Callable[[Message, int], None],
    ) -> None:
        self._streams = streams
        self._ledger = ledger
        self._broker = broker
        self._is_doubled = is_doubled
        self._name_message = name_message
        self._confirm = confirm
        self._lanes: dict[int, deque[Message]] = {}
        self._ready: asyncio.Queue[int] = asyncio.Queue()
        self._count = 0
        self._bytes_held = 0
        self._changed = asyncio.Event()

    @property
    def waiting_count(self) -> int:
        """Messages that JetStream has not acknowledged."""
        return self._count

    @property
    def has_space(self) -> bool:
        """True while new blocks may be taken."""
        return self._count < MESSAGES_MAX

    def add(self, messages: list[Message]) -> None:
        """Queue messages whose frame is in the ledger, in order."""
        for message in messages:
            if message.data is not None and self._bytes_held + message.length > _BYTES_HELD_MAX:
                message = message._replace(data=None)
            self._bytes_held += message.length if message.data is not None else 0
            self._count += 1
            lane = self._lanes.get(message.follower_shard)
            if lane is None:
                lane = self._lanes[message.follower_shard] = deque()
                self._ready.put_nowait(message.follower_shard)
            lane.append(message)

    async def run(self) -> None:
        """Publish until cancelled. Raises: PermanentError when NATS forbids it."""
        async with asyncio.TaskGroup() as lanes:
            for _ in range(_LANES_AT_ONCE):
                lanes.create_task(self._work())

    async def wait_space(self) -> None:
        """Return once fewer than MESSAGES_MAX wait."""
        await self._wait_below(MESSAGES_MAX)

    async def wait_published(self) -> None:
        """Return once nothing waits."""
        await self._wait_below(1)

    async def _wait_below(self, count: int) -> None:
        while self._count >= count:
            self._changed.clear()
            await self._changed.wait()

    async def _work(self) -> None:
        while True:
            shard = await self._ready.get()
            lane = self._lanes[shard]
            message = lane[0]
            sequence = await self._publish(message)
            lane.popleft()
            self._bytes_held -= message.length if message.data is not None else 0
            self._count -= 1
            if lane:
                self._ready.put_nowait(shard)
            else:
                del self._lanes[shard]
            self._confirm(message, sequence)
            self._changed.set()

    async def _publish(self, message: Message) -> int:
        """Publish a message. Returns: its sequence in the stream."""
        data = message.data
        if data is None:
            data = self._ledger.read(message.offset, message.length)
        subject = f"executions.{self._broker}.{message.follower_shard}"
        name = self._name_message(message)
        sequence = await self._publish_until_stored(subject, data, name)
        if self._is_doubled:
            sequence = await self._publish_until_stored(subject, data, name)
        return sequence

    async def _publish_until_stored(self, subject: str, data: bytes, name: str) -> int:
        failures = count()

        def warn(what: str, error: OperatingError) -> None:
            if next(failures) % _RETRIES_PER_WARNING == 0:
                _log.warning("executions %s wait: %s", name, error)

        return await retry_until_done(
            name,
            lambda: self._streams.publish(subject, data),
            backoff=Backoff(_RETRY_S_MIN, _RETRY_S_MAX),
            report=warn,
        )
