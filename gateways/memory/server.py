"""The server behind the in-memory adapters: deterministic, with faults on demand, for tests and
simulation.

One `MemoryServer` stands for NATS and Postgres; the adapters are views of it. A call finishes
without waiting, so a simulator decides the order of all events. `MemoryServer.faults` holds the
faults to come. Each use of a counted fault lowers its count by one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from actors.errors import OutcomeUnknownError, PermanentError, StreamFullError, TransientError
from actors.ports import Request, Snapshot, StoredMessage
from engine.journal.frame import ShardKey
from gateways.nats.subjects import matches


class Noticing(Protocol):
    """A reader that learns of each message that is stored."""

    def notice(self, subject: str) -> None: ...


@dataclass
class MemoryFaults:
    """The faults to come."""

    acks_lost_count: int = 0
    """Appends and publishes that are stored, while the writer gets no answer."""
    appends_lost_count: int = 0
    """Appends and publishes that are not stored, while the writer gets no answer."""
    bus_drops_count: int = 0
    """Bus messages, requests and replies that vanish."""
    full_streams: set[str] = field(default_factory=set)
    """Streams that refuse every message, as a full stream does."""
    is_disconnected: bool = False
    """Every call raises TransientError, and feeds give nothing."""

    def check_connected(self) -> None:
        """Raise TransientError while disconnected."""
        if self.is_disconnected:
            raise TransientError("memory server: expected a connection, found it cut by a fault")

    def takes(self, name: str) -> bool:
        """Use a counted fault once. Returns: whether any was left."""
        left: int = getattr(self, name)
        setattr(self, name, max(0, left - 1))
        return left > 0


@dataclass
class MemoryStream:
    """One stream: its messages, their ids, the last sequence of each subject."""

    name: str
    subjects: tuple[str, ...]
    messages: list[StoredMessage] = field(default_factory=list)
    sequence_of_id: dict[str, int] = field(default_factory=dict)
    last_of_subject: dict[str, int] = field(default_factory=dict)
    feeds: list["Noticing"] = field(default_factory=list)

    def store(self, subject: str, data: bytes, message_id: str) -> int:
        """Append a message. Returns: its sequence; they begin with 1 and have no gaps."""
        sequence = len(self.messages) + 1
        self.messages.append(StoredMessage(sequence, subject, bytes(data)))
        if message_id:
            self.sequence_of_id[message_id] = sequence
        self.last_of_subject[subject] = sequence
        for feed in self.feeds:
            feed.notice(subject)
        return sequence

    def lose_end(self, length: int) -> None:
        """Keep the first messages only, as a restored older copy does."""
        del self.messages[length:]
        self.last_of_subject = {each.subject: each.sequence for each in self.messages}
        self.sequence_of_id = {
            key: value for key, value in self.sequence_of_id.items() if value <= length
        }


class MemoryServer:
    """Everything that is outside the process in a real cluster."""

    def __init__(self) -> None:
        self.faults = MemoryFaults()
        self.streams: dict[str, MemoryStream] = {}
        self.snapshots: dict[ShardKey, list[Snapshot]] = {}
        self.subscriptions: list[MemorySubscription] = []
        self.queue_turns: dict[str, int] = {}

    def add_stream(self, name: str, *subjects: str) -> None:
        """Create a stream, unless there is one with these subjects. Raises: PermanentError when
        it has other subjects.
        """
        stream = self.streams.setdefault(name, MemoryStream(name, subjects))
        if stream.subjects != subjects:
            raise PermanentError(
                f"stream {name}: expected subjects {subjects}, found {stream.subjects}"
            )

    def stream(self, name: str) -> MemoryStream:
        """Return a stream by its name. Raises: PermanentError."""
        if name not in self.streams:
            raise PermanentError(f"stream {name}: expected it to exist; add it first")
        return self.streams[name]

    def stream_of(self, subject: str) -> MemoryStream:
        """Return the stream that takes a subject. Raises: TransientError when none does, as
        NATS would: nobody listens.
        """
        for stream in self.streams.values():
            if any(matches(subject_filter, subject) for subject_filter in stream.subjects):
                return stream
        raise TransientError(f"publish to {subject}: nobody listens")

    def store(self, stream: MemoryStream, subject: str, data: bytes, message_id: str) -> int:
        """Append a message once per message id, if it has one, with the faults that are due.
        Returns: its sequence.
        """
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
