"""In-memory twins of the ports: for tests and simulation, deterministic, with faults on demand.

One `MemoryServer` stands for NATS and Postgres; the adapters are views of it. A call finishes
without waiting, so a simulator decides every order. Faults are taken from `MemoryServer.faults`,
each count falling by one with each use.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from actors.errors import OutcomeUnknownError, PermanentError, StreamFullError, TransientError
from actors.ports import Request, Snapshot, StoredMessage
from engine.journal.frame import ShardKey
from gateways.nats.subjects import matches


class Noticing(Protocol):
    """A reader that is told when a message of a subject was stored."""

    def notice(self, subject: str) -> None: ...


@dataclass
class MemoryFaults:
    """What goes wrong next."""

    acks_lost_count: int = 0
    """Appends and publishes that are stored while the writer hears nothing."""
    appends_lost_count: int = 0
    """Appends and publishes that are not stored while the writer hears nothing."""
    bus_drops_count: int = 0
    """Bus messages, requests and replies that vanish."""
    full_streams: set[str] = field(default_factory=set)
    """Streams that take nothing."""
    is_disconnected: bool = False
    """Every call raises TransientError; feeds stand still."""

    def check_connected(self) -> None:
        """Raise TransientError while disconnected."""
        if self.is_disconnected:
            raise TransientError("memory server: expected a connection, found it cut by a fault")

    def takes(self, name: str) -> bool:
        """Use one of a counted fault, if any is left."""
        left: int = getattr(self, name)
        setattr(self, name, max(0, left - 1))
        return left > 0


@dataclass
class MemoryStream:
    """One stream: everything stored, message ids, the last sequence of each subject."""

    name: str
    subjects: tuple[str, ...]
    messages: list[StoredMessage] = field(default_factory=list)
    sequence_of_id: dict[str, int] = field(default_factory=dict)
    last_of_subject: dict[str, int] = field(default_factory=dict)
    feeds: list["Noticing"] = field(default_factory=list)

    def store(self, subject: str, data: bytes, message_id: str) -> int:
        """Append. Returns: the sequence, from 1 without gaps."""
        sequence = len(self.messages) + 1
        self.messages.append(StoredMessage(sequence, subject, bytes(data)))
        self.sequence_of_id[message_id] = sequence
        self.last_of_subject[subject] = sequence
        for feed in self.feeds:
            feed.notice(subject)
        return sequence


class MemoryServer:
    """All that would be outside the process."""

    def __init__(self) -> None:
        self.faults = MemoryFaults()
        self.streams: dict[str, MemoryStream] = {}
        self.snapshots: dict[ShardKey, list[Snapshot]] = {}
        self.subscriptions: list[MemorySubscription] = []
        self.queue_turns: dict[str, int] = {}

    def add_stream(self, name: str, *subjects: str) -> None:
        """Make a stream; the same again changes nothing. Raises: PermanentError when it exists with
        other subjects.
        """
        stream = self.streams.setdefault(name, MemoryStream(name, subjects))
        if stream.subjects != subjects:
            raise PermanentError(
                f"stream {name}: expected subjects {subjects}, found {stream.subjects}"
            )

    def stream(self, name: str) -> MemoryStream:
        """Find a stream. Raises: PermanentError."""
        if name not in self.streams:
            raise PermanentError(f"stream {name}: expected it to exist; add it first")
        return self.streams[name]

    def stream_of(self, subject: str) -> MemoryStream:
        """Find the stream that takes a subject. Raises: TransientError when none does, as nobody
        listens.
        """
        for stream in self.streams.values():
            if any(matches(subject_filter, subject) for subject_filter in stream.subjects):
                return stream
        raise TransientError(f"publish to {subject}: nobody listens")

    def store(self, stream: MemoryStream, subject: str, data: bytes, message_id: str) -> int:
        """Append with the faults that are due."""
        if stream.name in self.faults.full_streams:
            raise StreamFullError(f"publish to {subject}: stream {stream.name} is full")
        if self.faults.takes("appends_lost_count"):
            raise OutcomeUnknownError(f"publish to {subject}: no answer")
        sequence = stream.sequence_of_id.get(message_id) or stream.store(subject, data, message_id)
        if self.faults.takes("acks_lost_count"):
            raise OutcomeUnknownError(f"publish to {subject}: no answer")
        return sequence


class MemorySubscription:
    """One subscriber of the bus."""

    def __init__(
        self, server: MemoryServer, subject: str, receive: Callable[[Request], None], queue: str
    ) -> None:
        self._server = server
        self.subject = subject
        self.receive = receive
        self.queue = queue
        server.subscriptions.append(self)

    async def close(self) -> None:
        """Stop receiving."""
        if self in self._server.subscriptions:
            self._server.subscriptions.remove(self)
