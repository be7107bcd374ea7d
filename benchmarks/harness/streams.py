"""Reading streams after a run, each message with JetStream's store time.

The server takes that time when it writes the message, just before it syncs it. The run itself pays
nothing for it.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec
import numpy as np

from gateways.nats.connection import NatsConnection

BATCH_MESSAGES = 1000
BATCH_BYTES = 32 << 20


class TimedMessage(NamedTuple):
    """One stored message; `time_ns` is since the epoch."""

    sequence: int
    subject: str
    time_ns: int
    data: bytes


class _State(msgspec.Struct):
    last_seq: int = 0
    bytes: int = 0


class _Info(msgspec.Struct):
    state: _State


async def last_sequence(connection: NatsConnection, stream: str) -> int:
    """Return the sequence of a stream's last message, 0 when it has none."""
    answer = await connection.api_or_raise(f"STREAM.INFO.{stream}", {})
    return msgspec.json.decode(answer, type=_Info).state.last_seq


async def read_stream(
    connection: NatsConnection, stream: str, *, after_sequence: int, subject: str = ">"
) -> AsyncIterator[TimedMessage]:
    """Yield the messages after a sequence, up to the stream's end at the time it is reached."""
    while True:
        batch = await _batch(connection, stream, subject, after_sequence)
        if not batch:
            return
        for message in batch:
            yield message
        after_sequence = batch[-1].sequence


async def _batch(
    connection: NatsConnection, stream: str, subject: str, after_sequence: int
) -> list[TimedMessage]:
    found: list[TimedMessage] = []

    def take(data: bytes, headers: dict[str, str] | None) -> bool:
        if headers is None or "Nats-Sequence" not in headers:
            return True
        found.append(
            TimedMessage(
                int(headers["Nats-Sequence"]),
                headers["Nats-Subject"],
                _time_ns(headers["Nats-Time-Stamp"]),
                data,
            )
        )
        return False

    wanted = {
        "batch": BATCH_MESSAGES,
        "max_bytes": BATCH_BYTES,
        "seq": after_sequence + 1,
        "next_by_subj": subject,
    }
    await connection.request_many(
        f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(wanted), take, deadline_s=60.0
    )
    return found


def _time_ns(text: str) -> int:
    return int(np.datetime64(text.removesuffix("Z"), "ns").astype(np.int64))
