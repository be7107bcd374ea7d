"""JetStream streams: creating and checking them, publishing at most once per message id, opening
feeds.

Streams are created by raw API JSON, so no setting is a client library's default. They have file
storage, a size limit and no other limit, and `discard: new`: a full stream refuses messages and
never drops old ones.
"""

import asyncio
from typing import Any

import msgspec

from actors.errors import PermanentError
from actors.ports import StoredMessage
from gateways.nats.batch import read_batch
from gateways.nats.connection import JetStreamError, NatsConnection
from gateways.nats.errors import (
    STREAM_NAME_IN_USE,
    STREAM_NOT_FOUND,
    api_error,
)
from gateways.nats.feed import FeedOptions, NatsFeed
from gateways.nats.stored_message import last_sequence, stored_message

_NS_PER_MS = 1_000_000
CLUSTER_KEY = "lockstep_cluster"
"""The name of the cluster's id in a stream's metadata."""


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a stream."""

    name: str
    subjects: tuple[str, ...]
    bytes_max: int
    """The stream refuses messages beyond this size."""
    replicas: int = 1
    """Copies on different servers; the durability profile says how many."""
    duplicate_window_ms: int = 120_000
    """The time for which the stream remembers a message id; NATS takes no less than 100 ms."""
    cluster_id: str = ""
    """The cluster that the stream belongs to, written into a new stream's metadata."""

    def config(self) -> dict[str, Any]:
        """The settings as the JetStream API names them."""
        return {
            "name": self.name,
            "subjects": list(self.subjects),
            "retention": "limits",
            "storage": "file",
            "discard": "new",
            "max_bytes": self.bytes_max,
            "max_msgs": -1,
            "max_msgs_per_subject": -1,
            "max_age": 0,
            "max_consumers": -1,
            "allow_direct": True,
            "duplicate_window": self.duplicate_window_ms * _NS_PER_MS,
            "num_replicas": self.replicas,
        }

    def config_of_new(self) -> dict[str, Any]:
        """The settings with which the stream is made."""
        made = self.config()
        return made | {"metadata": {CLUSTER_KEY: self.cluster_id}} if self.cluster_id else made


class _StreamAnswer(msgspec.Struct):
    config: dict[str, Any]


class _PubAck(msgspec.Struct):
    seq: int = 0
    error: dict[str, Any] | None = None


_GROWS = "max_bytes"
_CHANGES = "duplicate_window"
"""Settings that a stream takes over from the configuration after it was made. A limit may only
grow: messages beyond a smaller one are there already.
"""
READ_DEADLINE_S = 30.0
_decode_ack = msgspec.json.Decoder(_PubAck).decode


async def ensure_stream(
    connection: NatsConnection, settings: StreamSettings, *, is_known: bool = False
) -> None:
    """Create the stream, or check the settings of the one that exists: a larger size limit and
    another time for message ids are taken over. `is_known` says that it was made before. Raises:
    PermanentError when others differ, when the stream is another cluster's, or when a known one is
    missing.
    """
    answer = await connection.api(f"STREAM.INFO.{settings.name}", {})
    if isinstance(answer, JetStreamError) and answer.error_code == STREAM_NOT_FOUND:
        if is_known:
            raise PermanentError(
                f"stream {settings.name}: expected the one that this cluster made, found none; "
                "restore the data of NATS from a copy, together with the brokers' ledgers; or "
                "begin with a new data directory and new ledgers"
            )
        answer = await connection.api(f"STREAM.CREATE.{settings.name}", settings.config_of_new())
        if isinstance(answer, JetStreamError) and answer.error_code == STREAM_NAME_IN_USE:
            # Another process created it between our two calls.
            answer = await connection.api(f"STREAM.INFO.{settings.name}", {})
    if isinstance(answer, JetStreamError):
        raise api_error(*answer, f"stream {settings.name}")
    found = msgspec.json.decode(answer, type=_StreamAnswer).config
    _check_settings(settings, found)
    wanted = settings.config()
    if any(found.get(field) != wanted[field] for field in (_GROWS, _CHANGES)):
        changed = found | {field: wanted[field] for field in (_GROWS, _CHANGES)}
        await connection.api_or_raise(f"STREAM.UPDATE.{settings.name}", changed)


async def hold_stream(connection: NatsConnection, name: str, *, is_held: bool) -> None:
    """Let a stream refuse whatever is published, or take it again. What it holds stays.

    A held stream takes messages of one byte at most. A smaller `max_bytes` would refuse too, but
    NATS then deletes what is beyond it. Raises: OperatingError.
    """
    answer = await connection.api_or_raise(f"STREAM.INFO.{name}", {})
    config = msgspec.json.decode(answer, type=_StreamAnswer).config
    message_bytes_max = 1 if is_held else -1
    if config.get("max_msg_size", -1) != message_bytes_max:
        changed = config | {"max_msg_size": message_bytes_max}
        await connection.api_or_raise(f"STREAM.UPDATE.{name}", changed)


def _check_settings(settings: StreamSettings, found: dict[str, Any]) -> None:
    owner = (found.get("metadata") or {}).get(CLUSTER_KEY, "")
    if owner and settings.cluster_id and owner != settings.cluster_id:
        raise PermanentError(
            f"stream {settings.name}: expected cluster {settings.cluster_id} to have made it, "
            f"found cluster {owner}; start the cluster on its own data directory and its own NATS"
        )
    for field, expected in settings.config().items():
        is_found = found.get(field, 0 if expected == 0 else None)
        if field == _CHANGES or (field == _GROWS and 0 < (is_found or 0) < expected):
            continue
        if isinstance(expected, list):
            expected, is_found = sorted(expected), sorted(is_found or [])
        if is_found != expected:
            raise PermanentError(
                f"stream {settings.name}: expected {field} {expected!r}, found {is_found!r}; "
                "use the settings it was made with, or another data directory"
            )


def stored_sequence(answer: bytes, what: str) -> int:
    """Return the sequence in a publish acknowledgement. Raises: the error of ours for an error
    in it.
    """
    ack = _decode_ack(answer)
    if ack.error is not None:
        error = ack.error
        raise api_error(
            error.get("code", 0), error.get("err_code", 0), error.get("description", ""), what
        )
    return ack.seq


class NatsStreams:
    """The `Streams` port."""

    def __init__(
        self,
        connection: NatsConnection,
        *,
        publish_deadline_s: float = 5.0,
        feed: FeedOptions | None = None,
    ) -> None:
        self._connection = connection
        self._publish_deadline_s = publish_deadline_s
        self._feed = feed or FeedOptions()

    async def open_feed(
        self,
        stream: str,
        subject: str,
        *,
        after_sequence: int,
        arrived: asyncio.Event,
        bytes_max: int = 64 << 20,
    ) -> NatsFeed:
        """Start a feed. Raises: PermanentError when the stream is missing; TransientError without a
        connection.
        """
        feed = NatsFeed(
            self._connection,
            stream,
            subject,
            after_sequence=after_sequence,
            arrived=arrived,
            bytes_max=bytes_max,
            options=self._feed,
        )
        await feed.start()
        return feed

    async def last_sequence(self, stream: str) -> int:
        """Return the last sequence of a stream, as its leader has it."""
        return await last_sequence(self._connection, stream)

    async def message(self, stream: str, sequence: int) -> StoredMessage | None:
        """Read one message from the stream's leader; None when there is none."""
        return await stored_message(self._connection, stream, {"seq": sequence})

    async def last_message(self, stream: str, subject: str) -> StoredMessage | None:
        """Return the last message of a subject, as the stream's leader has it; None when there is
        none.
        """
        return await stored_message(self._connection, stream, {"last_by_subj": subject})

    async def read(
        self, stream: str, *, after_sequence: int, bytes_max: int = 16 << 20
    ) -> list[StoredMessage]:
        """Read messages after a sequence, in order: at least one unless there is none."""
        return await read_batch(
            self._connection,
            stream,
            ">",
            after_sequence=after_sequence,
            bytes_max=bytes_max,
            deadline_s=READ_DEADLINE_S,
        )

    async def publish(self, subject: str, data: bytes, *, message_id: str = "") -> int:
        """Append a message, at most once per message id within the stream's window, if it has an
        id. Returns: its sequence, once durable.
        """
        headers = {"Nats-Msg-Id": message_id} if message_id else None
        answer = await self._connection.request(
            subject, data, headers=headers, deadline_s=self._publish_deadline_s
        )
        return stored_sequence(answer.data, f"publish to {subject}")
