"""Single messages of a stream, and its end, as the stream's leader has them."""

import base64
from typing import Any

import msgspec

from actors.errors import OutcomeUnknownError, TransientError
from actors.ports import StoredMessage
from gateways.nats.connection import JetStreamError, NatsConnection
from gateways.nats.errors import NO_MESSAGE_FOUND, api_error


class _Stored(msgspec.Struct):
    seq: int
    subject: str
    data: str = ""


class _GetAnswer(msgspec.Struct):
    message: _Stored


class _StreamState(msgspec.Struct):
    last_seq: int


class _StateAnswer(msgspec.Struct):
    state: _StreamState


_decode_get = msgspec.json.Decoder(_GetAnswer).decode


async def stored_message(
    connection: NatsConnection, stream: str, wanted: dict[str, Any], *, deadline_s: float = 5.0
) -> StoredMessage | None:
    """Read the message that a request names; None when there is none. Raises: OperatingError."""
    what = f"STREAM.MSG.GET.{stream}"
    try:
        answer = await connection.api(what, wanted, deadline_s=deadline_s)
    except OutcomeUnknownError as error:
        raise TransientError(f"message {wanted} of {stream}: {error}") from error
    if isinstance(answer, JetStreamError):
        if answer.error_code == NO_MESSAGE_FOUND:
            return None
        raise api_error(*answer, f"message {wanted} of {stream}")
    stored = _decode_get(answer).message
    return StoredMessage(stored.seq, stored.subject, base64.b64decode(stored.data))


async def last_sequence(connection: NatsConnection, stream: str) -> int:
    """Return the last sequence of a stream. Raises: OperatingError."""
    answer = await connection.api_or_raise(f"STREAM.INFO.{stream}", {})
    return msgspec.json.decode(answer, type=_StateAnswer).state.last_seq
