"""The journal in memory: each append is conditional on the frame before it."""

from actors.errors import OutcomeUnknownError
from actors.ports import StoredMessage, journal_stream
from engine.journal.frame import ShardKey
from gateways.memory.server import MemoryServer


class MemoryJournal:
    """The `Journal` port."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def append(
        self, key: ShardKey, data: bytes, *, message_id: str, expected_sequence: int
    ) -> int:
        """Store a frame if the subject's last sequence is the expected one. As in a single
        nats-server, this is tested before the message id.
        """
        self._server.faults.check_connected()
        stream = self._server.stream(journal_stream(key))
        last = stream.last_of_subject.get(key.subject, 0)
        if last != expected_sequence:
            raise OutcomeUnknownError(
                f"append to {key.subject}: expected last sequence {expected_sequence}, found {last}"
            )
        return self._server.store(stream, key.subject, data, message_id)

    async def tail(self, key: ShardKey) -> StoredMessage | None:
        """Return the subject's last frame; None when there is none."""
        self._server.faults.check_connected()
        stream = self._server.stream(journal_stream(key))
        last = stream.last_of_subject.get(key.subject, 0)
        return stream.messages[last - 1] if last else None

    async def read(
        self, key: ShardKey, *, after_sequence: int, bytes_max: int = 16 << 20
    ) -> list[StoredMessage]:
        """Return the frames after a sequence, in order: at least one unless there is none, and
        as many as fit.
        """
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
