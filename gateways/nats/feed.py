"""A feed over NATS: an ephemeral push consumer, which the feed may drop and create again at any
time.

The feed keeps the cursor, the last sequence that it has buffered; the server keeps none. The server
holds the consumer in memory, expects no acknowledgements and pushes at full speed. Its flow-control
messages wait in the buffer among the data, and the feed answers each when `take` passes it. So a
slow reader holds the server back.

The feed replaces the consumer, from the cursor on, when

- the consumer is silent for three heartbeat intervals in a row (the server died, or forgot it),
- its delivery numbers skip (messages were lost on the way), or a heartbeat names one that never
  came,
- the connection was made again,
- the buffer was full and half of it is taken since.

Before it does so after a loss, it checks that the stream still holds the message read last. If the
server came back with an older copy, the feed has failed, and `take` says so.

    WANTED --created--> FLOWING --silence, gap, reconnect, reset--> WANTED
                           |------buffer full--> PAUSED --half taken--> WANTED
"""

import asyncio
import logging
from collections import Counter, deque
from enum import Enum, auto
from itertools import count
from typing import NamedTuple

import msgspec

from actors.deadline import came_within
from actors.errors import OperatingError, OutcomeUnknownError, PermanentError, TransientError
from actors.ports import StoredMessage
from engine.journal.chain import ChainBrokenError
from gateways.nats.connection import NatsConnection, NatsSubscription
from gateways.nats.errors import STREAM_NOT_FOUND
from gateways.nats.lost_end import lost_end
from gateways.nats.stored_message import last_sequence, stored_message

_log = logging.getLogger(__name__)
_MESSAGE_OVERHEAD_BYTES = 200
_NS_PER_S = 1_000_000_000
_names = count(1)
_DOUBTS = 20
"""The number of times, `retry_s` apart, that the stream must lack the message read last: a new
leader of a replicated stream may need a moment.
"""


class FeedOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a feed: how it watches its consumer."""

    heartbeat_s: float = 1.0
    """The server sends something at least this often. After three silent intervals the feed
    replaces the consumer.
    """
    inactive_s: float = 10.0
    """The server forgets a consumer after it had no listener for so long."""
    retry_s: float = 0.1
    """Pause before asking for a consumer again after a failure."""


class FeedStatistics(NamedTuple):
    """The content of a feed, and the number of its repairs by reason."""

    messages: int
    bytes: int
    repairs: dict[str, int]


class _State(Enum):
    WANTED = auto()
    FLOWING = auto()
    PAUSED = auto()
    CLOSED = auto()


class NatsFeed:
    """Made by `gateways.nats.streams.NatsStreams.open_feed`."""

    def __init__(
        self,
        connection: NatsConnection,
        stream: str,
        subject: str,
        *,
        after_sequence: int,
        arrived: asyncio.Event,
        bytes_max: int,
        options: FeedOptions,
    ) -> None:
        assert bytes_max > 0
        assert after_sequence >= 0
        self._connection = connection
        self._stream = stream
        self._subject = subject
        self._cursor = after_sequence
        self._last: StoredMessage | None = None
        self._doubts = 0
        self._failure: ChainBrokenError | None = None
        self._arrived = arrived
        self._bytes_max = bytes_max
        self._options = options
        self._state = _State.WANTED
        self._buffer: deque[StoredMessage | str] = deque()
        self._bytes = 0
        self._messages = 0
        self._expected = 1
        self._heard = False
        self._silent_count = 0
        self._generation = 0
        self._subscription: NatsSubscription | None = None
        self._consumer = ""
        self._owed: list[str] = []
        self._wake = asyncio.Event()
        self._repairs: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._forget = connection.on_reconnected(lambda: self._repair("reconnect"))

    async def start(self) -> None:
        """Create the first consumer, and the task that replaces it when need be. Raises:
        PermanentError when the stream is missing; TransientError.
        """
        try:
            await self._create()
        except OperatingError:
            await self.close()
            raise
        self._task = asyncio.create_task(self._keep(), name=f"feed {self._stream} {self._subject}")

    def take(self, messages_max: int) -> list[StoredMessage]:
        """Return messages that have arrived, without waiting. Raises: ChainBrokenError."""
        if self._failure is not None:
            raise self._failure
        taken: list[StoredMessage] = []
        buffer = self._buffer
        while buffer and len(taken) < messages_max:
            item = buffer.popleft()
            if isinstance(item, str):
                self._answer_flow(item)
                continue
            taken.append(item)
            self._bytes -= len(item.data) + _MESSAGE_OVERHEAD_BYTES
        while buffer and isinstance(buffer[0], str):
            self._answer_flow(str(buffer.popleft()))
        self._messages -= len(taken)
        if self._state is _State.PAUSED and self._bytes <= self._bytes_max // 2:
            self._set_wanted("buffer was full")
        return taken

    def reset(self, after_sequence: int) -> None:
        """Drop the buffer and read again, from the message after a sequence."""
        self._buffer.clear()
        self._bytes = self._messages = 0
        self._cursor, self._last = after_sequence, None
        if self._state is not _State.CLOSED:
            self._set_wanted("reset")

    def statistics(self) -> FeedStatistics:
        """Return what is buffered and how often the feed was repaired."""
        return FeedStatistics(self._messages, self._bytes, dict(self._repairs))

    async def close(self) -> None:
        """Stop reading."""
        self._state = _State.CLOSED
        self._forget()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._abandon()

    def _answer_flow(self, reply: str) -> None:
        self._owed.append(reply)
        self._wake.set()

    def _set_wanted(self, reason: str) -> None:
        self._repairs[reason] += 1
        self._state = _State.WANTED
        self._generation += 1
        self._wake.set()

    def _repair(self, reason: str) -> None:
        if self._state is _State.FLOWING:
            _log.info(
                "feed of %s %s: new consumer after sequence %d (%s)",
                self._stream,
                self._subject,
                self._cursor,
                reason,
            )
            self._doubts = _DOUBTS
            self._set_wanted(reason)

    async def _keep(self) -> None:
        """Create a consumer whenever one is wanted, answer flow control, count silent intervals."""
        loop = asyncio.get_running_loop()
        tick_at = loop.time() + self._options.heartbeat_s
        while True:
            pause_s = tick_at - loop.time()
            if self._state is _State.WANTED:
                try:
                    await self._create()
                except OperatingError as error:
                    _log.info(
                        "feed of %s %s: no consumer yet: %s", self._stream, self._subject, error
                    )
                    pause_s = min(pause_s, self._options.retry_s)
            elif self._state is _State.PAUSED:
                await self._abandon()
            await self._answer_owed()
            await came_within(self._wake.wait(), max(pause_s, 0.001))
            self._wake.clear()
            if loop.time() >= tick_at:
                tick_at = loop.time() + self._options.heartbeat_s
                self._count_silence()

    def _count_silence(self) -> None:
        # Turns of this loop are counted, not time: a loop that was busy for long has not listened,
        # so it knows of no silence.
        self._silent_count = 0 if self._heard else self._silent_count + 1
        self._heard = False
        if self._silent_count >= 3:
            self._silent_count = 0
            self._repair("silence")

    async def _answer_owed(self) -> None:
        owed, self._owed = self._owed, []
        for reply in owed:
            try:
                await self._connection.publish(reply, b"")
            except OperatingError:
                # The consumer's next heartbeat repeats the reply subject. After a loss the feed
                # creates a new consumer.
                return

    async def _abandon(self) -> None:
        subscription, self._subscription = self._subscription, None
        consumer, self._consumer = self._consumer, ""
        if subscription is not None:
            await subscription.close()
        if consumer:
            try:
                await self._connection.publish(
                    f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}", b""
                )
            except OperatingError:
                # The consumer has no listener any more, so the server forgets it after
                # `inactive_s`.
                return

    async def _check_end(self) -> None:
        """Check that the stream holds the message read last. Raises: TransientError as long as a
        new leader may not have it yet; OperatingError.
        """
        if not self._doubts:
            return
        last = await last_sequence(self._connection, self._stream)
        read = self._last
        holds = last >= self._cursor
        if holds and read is not None:
            holds = read == await stored_message(
                self._connection, self._stream, {"seq": read.sequence}
            )
        self._doubts = 0 if holds else self._doubts - 1
        if holds:
            return
        if not self._doubts:
            self._failure = lost_end(self._stream, self._cursor, last)
            self._state = _State.CLOSED
            self._arrived.set()
        raise TransientError(f"{self._stream} does not hold sequence {self._cursor}")

    async def _create(self) -> None:
        """Replace the consumer by one that starts after the cursor."""
        await self._abandon()
        await self._check_end()
        generation = self._generation
        self._expected = 1
        self._silent_count = 0
        self._owed.clear()
        inbox = self._connection.new_inbox()
        name = f"feed_{inbox.rpartition('.')[2]}_{next(_names)}"

        def deliver(subject: str, reply: str, data: bytes, headers: dict[str, str] | None) -> None:
            if generation == self._generation and self._state is not _State.PAUSED:
                self._receive(subject, reply, data, headers)

        self._subscription = await self._connection.subscribe(inbox, deliver)
        self._consumer = name
        answer = await self._connection.api(
            f"CONSUMER.CREATE.{self._stream}.{name}.{self._subject}",
            self._consumer_request(name, inbox),
        )
        if not isinstance(answer, bytes):
            kind = (
                PermanentError
                if answer.error_code == STREAM_NOT_FOUND or answer.code == 400
                else OutcomeUnknownError
            )
            raise kind(
                f"feed of {self._stream} {self._subject}: the server answered "
                f"{answer.description!r} ({answer.error_code})"
            )
        if generation == self._generation and self._state is _State.WANTED:
            self._state = _State.FLOWING

    def _consumer_request(self, name: str, inbox: str) -> dict[str, object]:
        config = {
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._cursor + 1,
            "ack_policy": "none",
            "replay_policy": "instant",
            "filter_subject": self._subject,
            "flow_control": True,
            "idle_heartbeat": int(self._options.heartbeat_s * _NS_PER_S),
            "inactive_threshold": int(self._options.inactive_s * _NS_PER_S),
            "mem_storage": True,
            "num_replicas": 1,
        }
        return {"stream_name": self._stream, "config": config, "action": "create"}

    def _receive(
        self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None
    ) -> None:
        self._heard = True
        # A publisher may put any header into a message. Only the reply subject is surely the
        # server's.
        if not reply.startswith("$JS.ACK."):
            self._receive_control(reply, headers or {})
            return
        # $JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<time>.<pending>; some servers add a
        # domain, an account hash and a last token.
        tokens = reply.split(".")
        at = 5 if len(tokens) == 9 else 7
        if len(tokens) < 9 or int(tokens[at + 1]) != self._expected:
            self._repair("gap")
            return
        self._expected += 1
        size = len(data) + _MESSAGE_OVERHEAD_BYTES
        if self._messages and self._bytes + size > self._bytes_max:
            self._pause()
            return
        self._cursor = int(tokens[at])
        self._last = StoredMessage(self._cursor, subject, data)
        self._buffer.append(self._last)
        self._bytes += size
        self._messages += 1
        self._arrived.set()

    def _pause(self) -> None:
        # A new consumer reads the messages that follow again, from the cursor.
        self._state = _State.PAUSED
        self._generation += 1
        self._wake.set()

    def _receive_control(self, reply: str, headers: dict[str, str]) -> None:
        if headers.get("Status") != "100":
            return
        if reply:
            if self._buffer:
                self._buffer.append(reply)
            else:
                self._answer_flow(reply)
            return
        if int(headers.get("Nats-Last-Consumer", "0")) >= self._expected:
            self._repair("gap")
            return
        stalled = headers.get("Nats-Consumer-Stalled")
        if stalled and not self._buffer:
            self._answer_flow(stalled)
