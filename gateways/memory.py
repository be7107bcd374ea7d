"""In-memory twins of the ports: for tests and simulation, deterministic, with faults on demand.

One `MemoryServer` stands for NATS and Postgres; the adapters are views of it. A call finishes without waiting, so a simulator decides every
order. Faults are taken from `MemoryServer.faults`, each count falling by one with each use.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from actors.errors import OutcomeUnknownError, PermanentError, StreamFullError, TransientError
from actors.ports import Request, Snapshot, StoredMessage, journal_stream
from engine.frame import ShardKey
from gateways.subjects import matches


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
    feeds: list["MemoryFeed"] = field(default_factory=list)

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
        """Make a stream; the same again changes nothing. Raises: PermanentError when it exists with other subjects."""
        stream = self.streams.setdefault(name, MemoryStream(name, subjects))
        if stream.subjects != subjects:
            raise PermanentError(f"stream {name}: expected subjects {subjects}, found {stream.subjects}")

    def stream(self, name: str) -> MemoryStream:
        """Find a stream. Raises: PermanentError."""
        if name not in self.streams:
            raise PermanentError(f"stream {name}: expected it to exist; add it first")
        return self.streams[name]

    def stream_of(self, subject: str) -> MemoryStream:
        """Find the stream that takes a subject. Raises: TransientError when none does, as nobody listens."""
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


class MemoryJournal:
    """The `Journal` port."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def append(self, key: ShardKey, data: bytes, *, message_id: str, expected_sequence: int) -> int:
        """Store a frame if the subject's last sequence is the expected one, tested before the message id as one nats-server does."""
        self._server.faults.check_connected()
        stream = self._server.stream(journal_stream(key))
        last = stream.last_of_subject.get(key.subject, 0)
        if last != expected_sequence:
            raise OutcomeUnknownError(
                f"append to {key.subject}: expected last sequence {expected_sequence}, found {last}"
            )
        return self._server.store(stream, key.subject, data, message_id)

    async def tail(self, key: ShardKey) -> StoredMessage | None:
        """Read the subject's last frame."""
        self._server.faults.check_connected()
        stream = self._server.stream(journal_stream(key))
        last = stream.last_of_subject.get(key.subject, 0)
        return stream.messages[last - 1] if last else None

    async def read(
        self, key: ShardKey, *, after_sequence: int, bytes_max: int = 16 << 20
    ) -> list[StoredMessage]:
        """Read the frames after a sequence, in order: at least one unless there is none, then as many as fit."""
        self._server.faults.check_connected()
        frames: list[StoredMessage] = []
        size = 0
        for message in self._server.stream(journal_stream(key)).messages[after_sequence:]:
            if message.subject == key.subject:
                size += len(message.data)
                if frames and size > bytes_max:
                    break
                frames.append(message)
        return frames


class MemoryFeed:
    """The `Feed` port: a cursor over the stream's own list, so nothing is buffered and nothing overflows."""

    def __init__(
        self, server: MemoryServer, stream: MemoryStream, subject: str, after: int, arrived: asyncio.Event
    ) -> None:
        self._server = server
        self._stream = stream
        self._subject = subject
        self._cursor = after
        self._arrived = arrived
        stream.feeds.append(self)
        self.reset(after)

    def notice(self, subject: str) -> None:
        """Hear that something was stored."""
        if matches(self._subject, subject):
            self._arrived.set()

    def take(self, messages_max: int) -> list[StoredMessage]:
        """Take what has arrived, without waiting."""
        taken: list[StoredMessage] = []
        if self._server.faults.is_disconnected:
            return taken
        messages = self._stream.messages
        while self._cursor < len(messages) and len(taken) < messages_max:
            message = messages[self._cursor]
            self._cursor += 1
            if matches(self._subject, message.subject):
                taken.append(message)
        return taken

    def reset(self, after_sequence: int) -> None:
        """Read again from after a sequence."""
        self._cursor = after_sequence
        if after_sequence < len(self._stream.messages):
            self._arrived.set()

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
        return MemoryFeed(self._server, self._server.stream(stream), subject, after_sequence, arrived)

    async def last_sequence(self, stream: str) -> int:
        """Tell where a stream ends."""
        self._server.faults.check_connected()
        return len(self._server.stream(stream).messages)

    async def publish(self, subject: str, data: bytes, *, message_id: str) -> int:
        """Append a message, at most once per message id."""
        self._server.faults.check_connected()
        return self._server.store(self._server.stream_of(subject), subject, data, message_id)


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


class MemoryBus:
    """The `Bus` port. Members of a queue group take turns."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def publish(self, subject: str, data: bytes) -> None:
        """Send without an answer."""
        self._server.faults.check_connected()

        async def nowhere(answer: bytes) -> None:
            return None

        self._deliver(Request(subject, data, nowhere))

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """Send and wait for one answer. Raises: OutcomeUnknownError when none came in time; TransientError when nobody listens."""
        self._server.faults.check_connected()
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def reply(answer: bytes) -> None:
            if not answered.done() and not self._server.faults.takes("bus_drops_count"):
                answered.set_result(answer)

        if not self._deliver(Request(subject, data, reply)):
            raise TransientError(f"request to {subject}: nobody listens")
        try:
            async with asyncio.timeout(timeout_s):
                return await answered
        except TimeoutError:
            raise OutcomeUnknownError(f"request to {subject}: no answer within {timeout_s} s") from None

    async def subscribe(
        self, subject: str, receive: Callable[[Request], None], *, queue: str = ""
    ) -> MemorySubscription:
        """Call `receive` for each message; with a queue name, one subscriber of the group gets each."""
        self._server.faults.check_connected()
        return MemorySubscription(self._server, subject, receive, queue)

    def _deliver(self, request: Request) -> bool:
        """Hand a message to all plain subscribers and to one of each group. Returns: whether anybody listens."""
        groups: dict[str, list[MemorySubscription]] = {}
        for index, subscription in enumerate(self._server.subscriptions):
            if matches(subscription.subject, request.subject):
                groups.setdefault(subscription.queue or f"\n{index}", []).append(subscription)
        if groups and self._server.faults.takes("bus_drops_count"):
            return True
        for queue, members in groups.items():
            turn = self._server.queue_turns.get(queue, 0)
            self._server.queue_turns[queue] = turn + 1
            members[turn % len(members)].receive(request)
        return bool(groups)


class MemorySnapshots:
    """The `Snapshots` port."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def save(
        self, place: Snapshot, chunks: AsyncIterator[bytes], state_hash: Callable[[], bytes]
    ) -> bool:
        """Store a snapshot unless one as new is there; keep the newest two."""
        self._server.faults.check_connected()
        whole = tuple([chunk async for chunk in chunks])
        held = self._server.snapshots.setdefault(place.key, [])
        if held and (held[0].epoch, held[0].number) >= (place.epoch, place.number):
            return False
        snapshot = place._replace(chunks=whole, state_hash=state_hash())
        self._server.snapshots[place.key] = [snapshot, *held][:2]
        return True

    async def newest(self, key: ShardKey, *, count: int = 2) -> list[Snapshot]:
        """Read the shard's snapshots, newest first, at most `count`."""
        self._server.faults.check_connected()
        return self._server.snapshots.get(key, [])[:count]
