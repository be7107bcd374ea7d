"""The outside as the actors see it: one Protocol per port.

Adapters live in `gateways`. Each port has a real adapter and an in-memory twin, and both pass one
contract suite. Every method may raise `actors.errors.TransientError`. A method raises
`OutcomeUnknownError` only where its docstring says so.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple, Protocol

from actors.errors import BadInputError
from engine.columns.snapshot import STATE_LAYOUT
from engine.journal.frame import ShardKey
from engine.messages.answers import Answer
from engine.messages.blocks import Report
from engine.messages.commands import AccountCommand, CreatorCommand
from engine.messages.inputs import FillInput, MarkInput

INGRESS = "INGRESS"
EXECUTIONS = "EXECUTIONS"
DEADLETTER = "DEADLETTER"


def journal_stream(key: ShardKey) -> str:
    """Return the stream that holds a shard's journal. There is one per kind."""
    return f"JOURNAL_{key.kind.name}"


class StoredMessage(NamedTuple):
    """One message of a stream."""

    sequence: int
    subject: str
    data: bytes


class Journal(Protocol):
    """Compare-and-set appends to `journal.<kind>.<shard>`, and reads of it."""

    async def append(
        self, key: ShardKey, data: bytes, *, message_id: str, expected_sequence: int
    ) -> int:
        """Store a frame if the subject's last sequence is the expected one; 0 stands for an empty
        subject.

        Returns: the frame's stream sequence, once it is durable. Raises: OutcomeUnknownError on a
        timeout, a lost connection or no responder, and on a refused expectation too, since the
        frame stored there may be this one; StreamFullError.
        """
        ...

    async def tail(self, key: ShardKey) -> StoredMessage | None:
        """Read the subject's last frame from the stream's leader; None when there is none."""
        ...

    async def read(
        self, key: ShardKey, *, after_sequence: int, bytes_max: int = 16 << 20
    ) -> list[StoredMessage]:
        """Read the frames after a sequence, in order: as many as fit, and at least one if there is
        one.
        """
        ...


class Feed(Protocol):
    """The messages of one stream and subject filter, in order, without gaps, from a sequence on.

    The feed repairs itself after silence, a reconnect or a gap. Its buffer is bounded in bytes.
    While it is full, the server is held back.
    """

    def take(self, messages_max: int) -> list[StoredMessage]:
        """Take the messages that have arrived, without waiting.

        Raises: ChainBrokenError once the stream no longer holds the message taken last, as after a
        server came back with an older copy. A feed after it would be silent for ever.
        """
        ...

    def reset(self, after_sequence: int) -> None:
        """Drop the buffer and read again from after a sequence."""
        ...

    async def close(self) -> None:
        """Stop reading."""
        ...


class Streams(Protocol):
    """Reads of all durable streams, and appends to those that are not journals."""

    async def open_feed(
        self,
        stream: str,
        subject: str,
        *,
        after_sequence: int,
        arrived: asyncio.Event,
        bytes_max: int = 64 << 20,
    ) -> Feed:
        """Start a feed. It sets `arrived` whenever there is something to take."""
        ...

    async def last_sequence(self, stream: str) -> int:
        """Return the last sequence of a stream; 0 when nothing was ever stored in it."""
        ...

    async def last_message(self, stream: str, subject: str) -> StoredMessage | None:
        """Return the last message of a subject, as the stream's leader has it; None when there is
        none.
        """
        ...

    async def message(self, stream: str, sequence: int) -> StoredMessage | None:
        """Read one message from the stream's leader; None when there is none."""
        ...

    async def read(
        self, stream: str, *, after_sequence: int, bytes_max: int = 16 << 20
    ) -> list[StoredMessage]:
        """Read the messages after a sequence, in order: at least one unless there is none, and as
        many as fit.
        """
        ...

    async def publish(self, subject: str, data: bytes, *, message_id: str = "") -> int:
        """Append a message, at most once per message id within the stream's window. Returns: its
        sequence, once durable.

        A message without an id is stored each time. All brokers write to INGRESS and EXECUTIONS,
        so nothing there depends on an id: any of them could have taken it. Raises:
        OutcomeUnknownError when no answer came. The caller then publishes again.
        """
        ...


class Request(NamedTuple):
    """One message on the bus. `reply` does nothing when the sender wants no answer."""

    subject: str
    data: bytes
    reply: Callable[[bytes], Awaitable[None]]


class BusSubscription(Protocol):
    """A subscription on the bus."""

    async def close(self) -> None:
        """Stop receiving."""
        ...


class Bus(Protocol):
    """Messages that may be lost: requests, progress, heartbeats."""

    async def publish(self, subject: str, data: bytes) -> None:
        """Send without an answer."""
        ...

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send a request and wait for one answer. Raises: OutcomeUnknownError when none came in
        time; TransientError when nobody listens.
        """
        ...

    async def subscribe(
        self, subject: str, receive: Callable[[Request], None], *, queue: str = ""
    ) -> BusSubscription:
        """Call `receive` for each message. With a queue name, one subscriber of the group gets
        each message.
        """
        ...


class Snapshot(NamedTuple):
    """A shard's state at a frame. `sequence` is that frame's stream sequence; `chunks` joined are
    the encoded state, and `digest` is their hash (`engine.columns.snapshot`).
    """

    key: ShardKey
    epoch: int
    number: int
    sequence: int
    hash: bytes
    digest: bytes
    chunks: tuple[bytes, ...]
    layout: int = STATE_LAYOUT
    """The layout that it was stored under. A snapshot of a layout above `STATE_LAYOUT` has no
    chunks.
    """


class Snapshots(Protocol):
    """Durable states, the newest two per shard."""

    async def save(
        self, place: Snapshot, chunks: AsyncIterator[bytes], digest: Callable[[], bytes]
    ) -> bool:
        """Store a snapshot whole, then drop all but the newest two of its shard.

        The chunks are taken one by one, so that nobody holds them all. `digest` is called after
        the last one. The chunks and the hash in `place` do not count. Returns: False, without
        storing, when there is a snapshot of a higher epoch, or of the same epoch and an equal or
        higher number.
        """
        ...

    async def newest(self, key: ShardKey, *, count: int = 2) -> list[Snapshot]:
        """Read the shard's snapshots, newest first, at most `count`: of every layout that this
        version reads, and those of newer layouts without their chunks.
        """
        ...


class Broker(Protocol):
    """One broker as the gateway sees it."""

    async def submit(self, block: bytes) -> bytes:
        """Hand a block over (`engine.messages.blocks`). Returns: the answer's block, once the
        broker has it on disk. Raises: OutcomeUnknownError when no answer came.
        """
        ...


class MessageFormat(Protocol):
    """The format of other programs' messages, and of the answers to them. Every method that reads
    raises BadInputError. An iterator raises it at the first part that is wrong: then nothing of the
    message counts.
    """

    def fills(self, subject: str, data: bytes, sequence: int) -> Iterator[FillInput]:
        """Read a message on `fills.<broker>.<creator_id>`, fill by fill."""
        ...

    def marks(self, subject: str, data: bytes) -> Iterator[MarkInput]:
        """Read a message on `marks.<broker>`, mark by mark."""
        ...

    def reports(self, subject: str, data: bytes) -> Iterator[Report]:
        """Read a message on `executions.<broker>.<shard>`, JSON or a block, report by report."""
        ...

    def creator_command(self, subject: str, data: bytes) -> CreatorCommand:
        """Read a request on `commands.creator.<creator_id>`."""
        ...

    def account_command(self, subject: str, data: bytes) -> AccountCommand:
        """Read a request on `commands.account.<account_id>`."""
        ...

    def bulk(self, data: bytes) -> list[AccountCommand | BadInputError]:
        """Read a request on `commands.bulk`. An error of one command stands in its place."""
        ...

    def answer(self, command: CreatorCommand | AccountCommand, answer: Answer) -> bytes:
        """Write the answer to one command."""
        ...

    def refusal(self, reason: str, text: str) -> bytes:
        """Write a refusal."""
        ...

    def answers(self, answers: list[bytes]) -> bytes:
        """Join the answers to a bulk request."""
        ...


class Clock(Protocol):
    """The one source of wall-clock time."""

    def now_ns(self) -> int:
        """Return the time in ns since the epoch."""
        ...


class Ports(NamedTuple):
    """The outside. A host connects to it once, for all its shards."""

    journal: Journal
    streams: Streams
    bus: Bus
    snapshots: Snapshots
    message_format: MessageFormat
    clock: Clock
