"""Batches of stored messages, read without a consumer."""

import msgspec

from actors.errors import OutcomeUnknownError, TransientError
from actors.ports import StoredMessage
from gateways.nats.connection import NatsConnection

_BATCH_MAX = 1000


async def read_batch(
    connection: NatsConnection,
    stream: str,
    subject: str,
    *,
    after_sequence: int,
    bytes_max: int,
    deadline_s: float,
) -> list[StoredMessage]:
    """Return a subject's messages after a sequence, in order: at least one unless there is none,
    and as many as fit. `subject` may have wildcards. Raises: TransientError.

    On a replicated stream a copy that lags behind the leader may answer. The next batch has what it
    lacked.
    """
    body = msgspec.json.encode(
        {
            "batch": _BATCH_MAX,
            "max_bytes": bytes_max,
            "seq": after_sequence + 1,
            "next_by_subj": subject,
        }
    )
    found: list[StoredMessage] = []

    def take(data: bytes, headers: dict[str, str] | None) -> bool:
        return _take(found, after_sequence, data, headers or {})

    try:
        await connection.request_many(
            f"$JS.API.DIRECT.GET.{stream}", body, take, deadline_s=deadline_s
        )
    except OutcomeUnknownError as error:
        what = f"read of {subject} in {stream} after {after_sequence}"
        raise TransientError(f"{what}: {error}") from error
    return _fitting(found, bytes_max)


def _fitting(found: list[StoredMessage], bytes_max: int) -> list[StoredMessage]:
    """Return the messages within the limit: the server stops only after it has passed it."""
    size = 0
    for index, message in enumerate(found):
        size += len(message.data)
        if index and size > bytes_max:
            return found[:index]
    return found


def _take(
    found: list[StoredMessage], after_sequence: int, data: bytes, headers: dict[str, str]
) -> bool:
    """Add one reply of a batch. Returns: whether it was the last."""
    status = headers.get("Status", "")
    if "Nats-Sequence" not in headers:
        if status in ("204", "404"):
            return True
        raise TransientError(
            "direct get: expected a message, found status "
            f"{status!r} {headers.get('Description', '')!r}"
        )
    sequence = int(headers["Nats-Sequence"])
    previous = found[-1].sequence if found else after_sequence
    if sequence <= previous:
        raise TransientError(f"direct get: expected a sequence above {previous}, found {sequence}")
    found.append(StoredMessage(sequence, headers["Nats-Subject"], data))
    return False
