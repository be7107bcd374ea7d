"""The journal over JetStream: one subject per shard. Every append is conditional on the sequence of
the frame before it (P5).

An unknown outcome is never resolved here. A timeout, a lost connection, a missing responder and a
refused expectation all raise `OutcomeUnknownError`. The caller then reads the tail, which the
stream's leader answers.
"""

from actors.errors import OutcomeUnknownError, StreamFullError, TransientError
from actors.ports import StoredMessage, journal_stream
from engine.journal.frame import ShardKey
from gateways.nats.batch import read_batch
from gateways.nats.connection import NatsConnection, Reply
from gateways.nats.stored_message import stored_message
from gateways.nats.streams import stored_sequence


class NatsJournal:
    """The `Journal` port."""

    def __init__(
        self,
        connection: NatsConnection,
        *,
        append_deadline_s: float = 5.0,
        read_deadline_s: float = 30.0,
    ) -> None:
        self._connection = connection
        self._append_deadline_s = append_deadline_s
        self._read_deadline_s = read_deadline_s

    async def append(
        self, key: ShardKey, data: bytes, *, message_id: str, expected_sequence: int
    ) -> int:
        """Store a frame if the subject's last sequence is the expected one (0: the subject is
        empty).

        Returns: its sequence, once durable. Raises: StreamFullError; TransientError when there was
        no connection to send on; else OutcomeUnknownError.
        """
        subject = key.subject
        headers = {
            "Nats-Msg-Id": message_id,
            "Nats-Expected-Last-Subject-Sequence": str(expected_sequence),
        }
        answer = await self._send(subject, data, headers)
        return stored_sequence(answer.data, f"append to {subject} after {expected_sequence}")

    async def _send(self, subject: str, data: bytes, headers: dict[str, str]) -> Reply:
        if not self._connection.is_connected:
            raise TransientError(f"append to {subject}: no connection; nothing was sent")
        try:
            return await self._connection.request(
                subject, data, headers=headers, deadline_s=self._append_deadline_s
            )
        except StreamFullError:
            raise
        except TransientError as error:
            # Nobody listens while a server starts. The frame of an earlier attempt may still be
            # stored.
            raise OutcomeUnknownError(f"append to {subject}: {error}") from error

    async def tail(self, key: ShardKey) -> StoredMessage | None:
        """Return the subject's last frame as the stream's leader has it; None when there is
        none.
        """
        return await stored_message(
            self._connection,
            journal_stream(key),
            {"last_by_subj": key.subject},
            deadline_s=self._append_deadline_s,
        )

    async def read(
        self, key: ShardKey, *, after_sequence: int, bytes_max: int = 16 << 20
    ) -> list[StoredMessage]:
        """Return the frames after a sequence, in order: at least one unless there is none, and as
        many as fit.

        On a replicated stream a copy that lags behind the leader may answer. The next read returns
        what it lacked.
        """
        return await read_batch(
            self._connection,
            journal_stream(key),
            key.subject,
            after_sequence=after_sequence,
            bytes_max=bytes_max,
            deadline_s=self._read_deadline_s,
        )
